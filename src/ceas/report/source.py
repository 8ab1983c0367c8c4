"""What a report reads: runs and comparisons from their directories, as columns with a few ways to look at them."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.errors import RunDirectoryError
from ceas.experiments.comparison_store import read_comparison
from ceas.experiments.results import read_run
from ceas.experiments.schedule_store import is_schedule, read_schedule

__all__ = [
    "BENCHMARK_FILE",
    "REPRODUCTION_FILE",
    "Benchmark",
    "Comparison",
    "Run",
    "Table",
    "is_benchmark",
    "is_comparison",
    "is_reproduction",
    "is_schedule",
    "known_mean",
    "load_benchmark",
    "load_comparison",
    "load_reproduction",
    "load_run",
    "read_schedule",
]

BENCHMARK_FILE = "rows.json"
REPRODUCTION_FILE = "reproduction.json"
_COMPARISON_FILE = "compare.parquet"


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one result table, by name."""

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as float64; what is missing is not a number."""
        return self.columns[column].astype(np.float64)

    def integers(self, column: str) -> NDArray[np.int64]:
        """Return a column of whole numbers, exactly."""
        return self.columns[column].astype(np.int64)

    def truths(self, column: str) -> NDArray[np.bool_]:
        """Return a column of booleans."""
        return self.columns[column].astype(np.bool_)

    def texts(self, column: str) -> list[str]:
        """Return a column of texts."""
        return [str(value) for value in self.columns[column]]

    def where(self, chosen: NDArray[np.bool_]) -> "Table":
        """Return the rows that are chosen."""
        return Table({name: values[chosen] for name, values in self.columns.items()})

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """Return the rows at some places, in their order."""
        return Table({name: values[rows] for name, values in self.columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run: its summary, its scenario as a mapping and as text, its tables and, if any, its certificate."""

    result: Mapping[str, Any]
    scenario: Mapping[str, Any]
    scenario_text: str
    rounds: Table
    learners: Table
    links: Table
    nodes: Table
    pairs: Table
    certificate: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison.

    Attributes:
        rows: One row a run of the scenario that was compared last.
        curves: Accuracy curves of these runs.
        methods: Methods that have rows, in the order in which they were asked for.
        attacks: Attacks, likewise.
        scenario_name: Name of that scenario.
        scenario_id: Its identity, before methods and attacks were filled in.
        command: Latest command that compared it, empty where none did.
        n_elsewhere: Rows of other scenarios, which are not comparable and are left out.
    """

    rows: Table
    curves: Table
    methods: tuple[str, ...]
    attacks: tuple[str, ...]
    scenario_name: str
    scenario_id: str
    command: str
    n_elsewhere: int


def is_benchmark(directory: Path) -> bool:
    """Tell whether a directory holds the rows of a benchmark."""
    return (directory / BENCHMARK_FILE).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What a benchmark measured.

    Attributes:
        name: `"scheduling"`, `"learning"` or `"reference"`.
        rows: Its rows, of which `table` says where each belongs.
        is_quick: Whether it was a short one.
    """

    name: str
    rows: list[dict[str, Any]]
    is_quick: bool


def load_benchmark(directory: Path) -> Benchmark:
    """Read the rows of a benchmark.

    Raises:
        RunDirectoryError: The file cannot be read, or holds no such rows.
    """
    path = directory / BENCHMARK_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "table" in row for row in rows):
        raise RunDirectoryError(f"{path}: must hold the rows of a benchmark")
    name = document.get("benchmark", "scheduling")
    if name not in ("scheduling", "learning", "reference"):
        allowed = "scheduling, learning or reference"
        raise RunDirectoryError(f"{path}: must be of the benchmark {allowed}, but is of {name!r}")
    return Benchmark(name=name, rows=rows, is_quick=document.get("is_quick") is True)


def is_comparison(directory: Path) -> bool:
    """Tell whether a directory holds a comparison rather than a run."""
    return (directory / _COMPARISON_FILE).is_file()


def load_run(directory: Path) -> Run:
    """Read a run directory.

    Raises:
        RunDirectoryError: The directory is not one, its run is not finished, or a file does not fit this version.
    """
    found = read_run(directory)
    text = found.scenario.to_toml()
    return Run(
        result=found.summary,
        scenario=tomllib.loads(text),
        scenario_text=text,
        rounds=Table(found.rounds),
        learners=Table(found.learners),
        links=Table(found.links),
        nodes=Table(found.nodes),
        pairs=Table(found.pairs),
        certificate=found.certificate,
    )


def load_comparison(directory: Path) -> Comparison:
    """Read a comparison directory.

    Raises:
        RunDirectoryError: A file is missing, unreadable or of another version.
    """
    found = read_comparison(directory)
    if not found.compared:
        raise RunDirectoryError(
            f"{directory}: an earlier version did not note which rows share a scenario; repeat its `ceas compare` "
            "command, which keeps finished runs and notes it"
        )
    latest, rows, curves = found.compared[-1], Table(found.rows), Table(found.curves)
    kept = rows.where(latest.rows_of(rows.columns))
    if not len(kept):
        raise RunDirectoryError(f"{directory}: the comparison of {latest.name} holds no finished run")
    return Comparison(
        rows=kept,
        curves=curves.where(latest.rows_of(curves.columns)),
        methods=_asked_for([method for method, _ in latest.variants], kept.texts("method")),
        attacks=_asked_for([attack for _, attack in latest.variants], kept.texts("attack")),
        scenario_name=latest.name,
        scenario_id=latest.scenario_id,
        command=latest.command,
        n_elsewhere=len(rows) - len(kept),
    )


def _asked_for(names: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    present = set(found)
    return tuple(name for name in dict.fromkeys(names) if name in present)


def known_mean(values: NDArray[np.float64]) -> float | None:
    """Return the mean of what is known, or None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def is_reproduction(directory: Path) -> bool:
    """Tell whether a directory holds a reproduction of the published claims."""
    return (directory / REPRODUCTION_FILE).is_file()


def load_reproduction(directory: Path) -> Mapping[str, Any]:
    """Read the document of a reproduction.

    Raises:
        RunDirectoryError: It cannot be read, or is of another version.
    """
    path = directory / REPRODUCTION_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("kind") != "reproduction":
        raise RunDirectoryError(f"{path}: not a reproduction")
    return document
