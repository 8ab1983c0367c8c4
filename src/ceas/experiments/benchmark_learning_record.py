"""What processes of the learning benchmark measured, kept as it comes, so that an interrupted benchmark goes on."""

import hashlib
import json
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceas.experiments.benchmark_learning_work import Measured
from ceas.experiments.limited_process import Outcome
from ceas.experiments.result_tables import write_atomically
from ceas.experiments.roofline import Rates

__all__ = ["ProcessRecord"]

_CLASSES: Mapping[str, Callable[..., Any]] = {one.__name__: one for one in (Outcome, Measured, Rates)}


class ProcessRecord:
    """Outcomes of processes, a JSON file each.

    The n-th process that does the same work in one call of the benchmark is told from the first, and all of them from
    those of another program, another machine or other limits.
    """

    def __init__(self, directory: Path, identity: object) -> None:
        """Keep outcomes in a folder.

        Args:
            directory: The folder; made with the first outcome.
            identity: What outcomes depend on besides the work and this program: machine, libraries, limits. Its `repr`
                counts.
        """
        self._directory = directory
        self._identity = f"{_program()} {identity!r}".encode()
        self._processes: Counter[str] = Counter()

    def outcome(self, work: object, run: Callable[[], Outcome]) -> Outcome:
        """Return the outcome that is kept of the next process that does some work, or run it and keep what comes of it.

        A process that failed is not kept, as whoever repeats the benchmark will have mended what made it fail; one that
        used up its time would do so again.

        Args:
            work: What the process does, such as can be pickled.
            run: Starts it and waits.
        """
        digest = hashlib.sha256(self._identity + pickle.dumps(work)).hexdigest()[:16]
        self._processes[digest] += 1
        path = self._directory / f"{digest}-{self._processes[digest]}.json"
        kept = _read(path)
        if kept is not None:
            return kept
        found = run()
        if not found.failure or found.is_too_slow:
            text = json.dumps(_plain(found))
            self._directory.mkdir(exist_ok=True)
            write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8"))
        return found


def _program() -> str:
    """Hash the code that is measured and that measures."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    own = ("benchmark_learning*.py", "limited_process.py", "processes.py", "roofline.py")
    measuring = [path for pattern in own for path in sorted((package / "experiments").glob(pattern))]
    for path in (*sorted((package / "learning").glob("*.py")), package / "streams.py", *measuring):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Outcome | None:
    """Return a kept outcome; None if there is none, or no whole one."""
    try:
        outcome = _revived(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return outcome if isinstance(outcome, Outcome) else None


def _plain(value: Any) -> Any:
    """Turn what processes return into JSON that tells tuples from arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        members = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, "members": members}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    return value


def _revived(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        return _CLASSES[value["class"]](**{name: _revived(member) for name, member in value["members"].items()})
    if "tuple" in value:
        return tuple(_revived(item) for item in value["tuple"])
    return np.asarray(value["array"], dtype=np.float64)
