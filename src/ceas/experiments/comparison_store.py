"""The rows of comparisons on disk: keyed, appended as runs finish, never repeated.

A directory may hold comparisons of several scenarios. A row's own scenario has a method and an attack filled in, so the
rows alone do not tell which of them share everything else; the file says beside them which were compared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import RunDirectoryError
from ceas.experiments.result_tables import TABLE_COLUMNS, Columns, read_metadata, read_table, write_table
from ceas.experiments.results import RunResult
from ceas.experiments.statistics import MeanInterval, mean_interval

__all__ = [
    "REFERENCES",
    "ROW_KEY",
    "ComparedScenario",
    "ComparisonTables",
    "add_run",
    "finished_keys",
    "note_compared",
    "read_comparison",
    "reference_intervals",
]

# What names one row; a curve has one row for each of its evaluated rounds.
ROW_KEY = ("scenario_id", "method", "attack", "seed")
_ROWS, _CURVES = "compare", "compare_curves"
_COMPARED = "compared"
# Columns of what else reaches on the features of a seed's data, whatever the method and the attack.
REFERENCES = ("test_accuracy_logistic", "test_accuracy_separable")

RowKey = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedScenario:
    """A scenario that was compared, and the scenarios of its rows.

    Attributes:
        scenario_id: Identity of what was given to compare, before methods and attacks were filled in.
        name: Its name.
        command: Latest command that compared it, empty if it was not the command line.
        variants: Identity of its rows by method and attack, over all commands that compared it.
    """

    scenario_id: str
    name: str
    command: str = ""
    variants: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def rows_of(self, columns: Columns) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which rows of a table of rows or curves belong to this scenario."""
        keys = _row_keys(columns)
        return np.array([self.variants.get((method, attack)) == name for name, method, attack, _ in keys], bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTables:
    """What a comparison directory holds.

    Attributes:
        rows: One row per run, columns `TABLE_COLUMNS["compare"]`.
        curves: One row per run and evaluated round, columns `TABLE_COLUMNS["compare_curves"]`.
        compared: Scenarios that were compared here, the latest last; empty if the file does not say.
    """

    rows: Columns
    curves: Columns
    compared: tuple[ComparedScenario, ...]


def read_comparison(directory: Path) -> ComparisonTables:
    """Read the rows and curves of a comparison.

    Raises:
        RunDirectoryError: The directory holds none, or a file does not fit this version.
    """
    if not _path(directory, _ROWS).is_file():
        raise RunDirectoryError(f"{directory}: not a comparison, it has no {_path(directory, _ROWS).name}")
    return ComparisonTables(
        rows=read_table(_path(directory, _ROWS), _ROWS),
        curves=read_table(_path(directory, _CURVES), _CURVES),
        compared=_compared(directory),
    )


def finished_keys(directory: Path) -> set[RowKey]:
    """Return the keys of the runs that are on disk; empty when there is no comparison yet."""
    return _keys(_read_or_empty(directory, _ROWS))


def note_compared(directory: Path, scenario: ComparedScenario) -> None:
    """Note that a scenario is the latest one compared; its methods and attacks join those compared before.

    Rows that are there already then belong to it too, without being computed again.
    """
    directory.mkdir(parents=True, exist_ok=True)
    known = {one.scenario_id: one for one in _compared(directory)}
    before = known.pop(scenario.scenario_id, None)
    merged = replace(scenario, variants={**(before.variants if before else {}), **scenario.variants})
    listed = json.dumps([_listed(one) for one in (*known.values(), merged)])
    # Read both first: a file that does not fit this version is refused before anything is written.
    curves, rows = _read_or_empty(directory, _CURVES), _read_or_empty(directory, _ROWS)
    _write(directory, _CURVES, curves, {})
    _write(directory, _ROWS, rows, {_COMPARED: listed})


def add_run(directory: Path, result: RunResult, *, method: str | None = None, attack: str | None = None) -> None:
    """Add a finished run under its method and attack, by default the names of its rule and attack.

    A run whose key is there already is left out.

    The curve is written before the row: the row is what says that a run is complete.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = _read_or_empty(directory, _ROWS)
    row = _row(result, method, attack)
    key: RowKey = (row["scenario_id"], row["method"], row["attack"], row["seed"])
    if key in _keys(rows):
        return
    curves = _read_or_empty(directory, _CURVES)
    # A curve without its row is what an interrupted write left.
    kept = np.array([other != key for other in _row_keys(curves)], bool)
    curves = {name: column[kept] for name, column in curves.items()}
    _write(directory, _CURVES, _joined(_CURVES, curves, _curve(result, key)), {})
    single = {name: np.array([value], dtype=rows[name].dtype) for name, value in row.items()}
    _write(directory, _ROWS, _joined(_ROWS, rows, single), _metadata(directory))


def reference_intervals(rows: Columns) -> dict[str, MeanInterval]:
    """Return the mean over the seeds, with its 95 % interval, of each of `REFERENCES` that every row has.

    Args:
        rows: Rows of one compared scenario. Those of a seed then share their data and with it their references, so a
            seed counts once, however many methods and attacks it has.
    """
    seeds = np.unique(rows["seed"])
    known = {name: rows[name] for name in REFERENCES if len(seeds) and np.isfinite(rows[name]).all()}
    return {
        name: mean_interval([values[rows["seed"] == seed].mean() for seed in seeds]) for name, values in known.items()
    }


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.parquet"


def _metadata(directory: Path) -> dict[str, str]:
    path = _path(directory, _ROWS)
    return read_metadata(path) if path.is_file() else {}


def _compared(directory: Path) -> tuple[ComparedScenario, ...]:
    path = _path(directory, _ROWS)
    try:
        return tuple(
            ComparedScenario(
                scenario_id=one["scenario_id"],
                name=one["name"],
                command=one["command"],
                variants={(method, attack): scenario_id for method, attack, scenario_id in one["variants"]},
            )
            for one in json.loads(_metadata(directory).get(_COMPARED, "[]"))
        )
    except (ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(
            f"{path}: what it says was compared cannot be read; choose another directory"
        ) from error


def _listed(scenario: ComparedScenario) -> dict[str, Any]:
    head = {"scenario_id": scenario.scenario_id, "name": scenario.name, "command": scenario.command}
    return {**head, "variants": [[*key, scenario_id] for key, scenario_id in scenario.variants.items()]}


def _row(result: RunResult, method: str | None, attack: str | None) -> dict[str, Any]:
    derived = {
        "method": method or result.summary["method"],
        "attack": attack or result.summary["attack"],
        "n_byzantine": result.summary["byzantine"]["n"],
        "tolerated_byzantine": result.summary["byzantine"]["tolerated"],
        "value_learning": result.summary["delivered_value_by_class"]["learning"],
        "byzantine_weight": _known_mean(result.rounds["byzantine_weight"]),
    }
    return {name: derived.get(name, result.summary.get(name)) for name in TABLE_COLUMNS[_ROWS]}


def _curve(result: RunResult, key: RowKey) -> dict[str, np.ndarray[Any, Any]]:
    accuracy = result.rounds["test_accuracy"].astype(np.float64)
    evaluated = np.isfinite(accuracy)
    count = int(evaluated.sum())
    named = {name: np.array([value] * count, dtype=object) for name, value in zip(ROW_KEY, key, strict=True)}
    # What comes after the last evaluation has no row.
    stretches = np.split(result.rounds["byzantine_weight"], np.flatnonzero(evaluated) + 1)[:count]
    return {
        **named,
        "round": result.rounds["round"][evaluated],
        "test_accuracy": accuracy[evaluated],
        "byzantine_weight": np.array([_known_mean(stretch) for stretch in stretches]),
    }


def _known_mean(values: np.ndarray[Any, Any]) -> float:
    known = values.astype(np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")


def _read_or_empty(directory: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    if _path(directory, name).is_file():
        return read_table(_path(directory, name), name)
    return {
        column: np.array([], dtype=object if kind == "string" else kind) for column, kind in TABLE_COLUMNS[name].items()
    }


def _joined(name: str, first: Columns, second: Columns) -> dict[str, np.ndarray[Any, Any]]:
    return {column: np.concatenate([first[column], second[column]]) for column in TABLE_COLUMNS[name]}


def _write(directory: Path, name: str, columns: Columns, metadata: Mapping[str, str]) -> None:
    write_table(_path(directory, name), name, columns, metadata)


def _row_keys(columns: Columns) -> list[RowKey]:
    return [
        (str(scenario_id), str(method), str(attack), int(seed))
        for scenario_id, method, attack, seed in zip(*(columns[name] for name in ROW_KEY), strict=True)
    ]


def _keys(columns: Columns) -> set[RowKey]:
    return set(_row_keys(columns))
