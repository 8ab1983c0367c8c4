"""The reference benchmark: evidence that the physics and the accuracy of the learning room are right.

Five parts: accuracies that others published, pairs that partitions need, what faulty pairs cost, the statistics of
finite shots, and Fisher information with its bounds. Each is held beside a closed form, an exact engine or a published
number, in the same table.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.results import output_folder, plain_json, write_json
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["PARTS", "benchmark"]

Document = dict[str, Any]
Row = dict[str, Any]

QUICK_SEEDS = 2
LEAST_SEEDS = 2


def benchmark(
    *, only: str = "", seeds: int = 5, quick: bool = False, out: str = "", progress: Progress | None = None
) -> list[Row]:
    """Run the reference benchmark.

    Args:
        only: Parts, comma-separated, for example `"partitions,fisher"`; default: all.
        seeds: Seeds that are reported where something is trained, at least 2; the short benchmark has 2.
        quick: Whether to train and repeat little. Its figures show that everything works; they are no measurement.
        out: Folder that keeps each part's results as soon as it is finished; a later call with the same parameters and
            the same program does not repeat them. At the end `rows.json` there holds all rows, and `ceas report` makes
            a page of it. Default: nothing is kept.
        progress: Told at the start and after every part.

    Returns:
        The rows of all tables; `table` says which.

    Raises:
        UnknownNameError: There is no such part.
        DomainError: `seeds` or `out` is wrong.
    """
    parts = _chosen(only)
    if seeds < LEAST_SEEDS or seeds != int(seeds):
        raise DomainError(f"Argument `seeds` must be a whole number of at least {LEAST_SEEDS}, but is {seeds}.")
    n_seeds = QUICK_SEEDS if quick else int(seeds)
    directory = output_folder(out)
    rows: list[Row] = []
    for index, name in enumerate(parts):
        if progress is not None:
            progress(ProgressEvent(phase=name, training_round=index, rounds=len(parts)))
        rows += _part(name, n_seeds, quick, directory)["rows"]
    if progress is not None:
        progress(ProgressEvent(phase="done", training_round=len(parts), rounds=len(parts)))
    if directory is not None:
        write_json(directory / "rows.json", {"benchmark": "reference", "rows": rows, "is_quick": quick})
    return rows


def _chosen(only: str) -> list[str]:
    parts = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    if only and not parts:
        raise DomainError(f"Argument `only` must list parts, but is {only!r}.")
    for name in parts:
        if name not in PARTS:
            raise UnknownNameError("part", name, tuple(PARTS))
    return parts or list(PARTS)


def _part(name: str, seeds: int, is_quick: bool, directory: Path | None) -> Document:
    """Return a part's document, from disk where it is there, else measured and kept."""
    fingerprint = _fingerprint(name, seeds, is_quick)
    path = None if directory is None else directory / f"{name}.json"
    kept = _read(path, fingerprint)
    if kept is not None:
        return kept
    start = time.perf_counter()
    rows = PARTS[name](seeds=seeds, is_quick=is_quick)
    document = {"fingerprint": fingerprint, "rows": rows, "wall_s": time.perf_counter() - start}
    if path is not None:
        write_json(path, document)
    # As if read back from disk, so that a resumed benchmark prints the same rows.
    found: Document = json.loads(json.dumps(plain_json(document)))
    return found


def _read(path: Path | None, fingerprint: str) -> Document | None:
    """Return a kept document; None if there is none, or one of other parameters, another program or half a file."""
    if path is None or not path.is_file():
        return None
    try:
        document: Document = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    return document if document.get("fingerprint") == fingerprint else None


def _fingerprint(name: str, seeds: int, is_quick: bool) -> str:
    """Hash what a part's results depend on: its parameters and the program."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    own = package / "experiments" / f"benchmark_reference_{name}.py"
    for path in (*sorted((package / "learning").glob("*.py")), package / "streams.py", own):
        digest.update(path.read_bytes())
    digest.update(repr((name, seeds, is_quick)).encode())
    return digest.hexdigest()[:16]


# The parts are loaded when they run, because they load what they compile.


def _published(*, seeds: int, is_quick: bool) -> list[Row]:
    from ceas.experiments.benchmark_reference_published import published_part  # noqa: PLC0415

    return published_part(seeds=seeds, is_quick=is_quick)


def _partitions(*, seeds: int, is_quick: bool) -> list[Row]:  # noqa: ARG001 - nothing is drawn
    from ceas.experiments.benchmark_reference_partitions import partitions_part  # noqa: PLC0415

    return partitions_part(is_quick=is_quick)


def _fidelity(*, seeds: int, is_quick: bool) -> list[Row]:
    from ceas.experiments.benchmark_reference_fidelity import fidelity_part  # noqa: PLC0415

    return fidelity_part(seeds=seeds, is_quick=is_quick)


def _shots(*, seeds: int, is_quick: bool) -> list[Row]:  # noqa: ARG001 - repetitions are many whatever the seeds
    from ceas.experiments.benchmark_reference_shots import shots_part  # noqa: PLC0415

    return shots_part(is_quick=is_quick)


def _fisher(*, seeds: int, is_quick: bool) -> list[Row]:  # noqa: ARG001
    from ceas.experiments.benchmark_reference_fisher import fisher_part  # noqa: PLC0415

    return fisher_part(is_quick=is_quick)


PARTS: Mapping[str, Callable[..., list[Row]]] = {
    "published": _published,
    "partitions": _partitions,
    "fidelity": _fidelity,
    "shots": _shots,
    "fisher": _fisher,
}
