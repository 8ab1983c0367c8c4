"""The trainings of a reproduction on disk: one pair of files for each batch, so that none is ever written twice.

A training is named by its scenario's identity and its seed; what it was trained for stands beside it. A file is written
whole or not at all, and the curves before the rows: a row says that its training is complete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import RunDirectoryError
from ceas.experiments.code_identity import code_identity
from ceas.experiments.reproduce_plan import Training
from ceas.experiments.result_tables import TABLE_COLUMNS, Columns, read_table, write_table
from ceas.experiments.scenario_text import content_hash

__all__ = ["Trained", "finished_trainings", "read_curves", "read_trainings", "write_trainings"]

_ROWS, _CURVES = "reproduce", "reproduce_curves"
_FOLDER = "trainings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training and what came of it.

    Attributes:
        training: What was trained.
        scenario_id: Identity of its scenario.
        ceas_version: Version that trained.
        code: `code_identity` of what trained.
        rounds: Training rounds.
        test_accuracy: Mean of the last five evaluations on the test part.
        validation_accuracy: The same on the validation part.
        train_loss: Loss of the honest learners at the end.
        byzantine_weight: Attackers' part of the weight, mean over the rounds; NaN without weights.
        core_s: Processor time that it took (s).
        curve_rounds: Evaluated rounds.
        curve_accuracy: Test accuracy there.
        curve_weight: Attackers' part of the weight there.
    """

    training: Training
    scenario_id: str
    ceas_version: str
    code: str
    rounds: int
    test_accuracy: float
    validation_accuracy: float
    train_loss: float
    byzantine_weight: float
    core_s: float
    curve_rounds: Sequence[int]
    curve_accuracy: Sequence[float]
    curve_weight: Sequence[float]


def write_trainings(directory: Path, batch: Sequence[Trained]) -> None:
    """Write a batch of finished trainings."""
    folder = directory / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = content_hash({"trainings": [[one.scenario_id, one.training.seed] for one in batch]})
    curves: dict[str, list[Any]] = {column: [] for column in TABLE_COLUMNS[_CURVES]}
    for one in batch:
        count = len(one.curve_rounds)
        curves["scenario_id"] += [one.scenario_id] * count
        curves["seed"] += [one.training.seed] * count
        curves["round"] += list(one.curve_rounds)
        curves["test_accuracy"] += list(one.curve_accuracy)
        curves["byzantine_weight"] += list(one.curve_weight)
    write_table(folder / f"curves-{name}.parquet", _CURVES, _typed(_CURVES, curves))
    rows = [_row(one) for one in batch]
    columns = {column: [row[column] for row in rows] for column in TABLE_COLUMNS[_ROWS]}
    write_table(folder / f"rows-{name}.parquet", _ROWS, _typed(_ROWS, columns))


def read_trainings(directory: Path) -> Columns:
    """Read the finished trainings of the present code, each once, columns `TABLE_COLUMNS["reproduce"]`.

    What other code trained stays on disk and is left out.

    Raises:
        RunDirectoryError: A file does not fit this version, or one training has two outcomes.
    """
    rows = _read(directory, _ROWS, "rows")
    first: dict[tuple[str, int], int] = {}
    for index in np.flatnonzero(rows["code"] == code_identity()).tolist():
        key = str(rows["scenario_id"][index]), int(rows["seed"][index])
        same = first.setdefault(key, index)
        if rows["test_accuracy"][same] != rows["test_accuracy"][index]:
            raise RunDirectoryError(f"{directory}: the training {key[0]}, seed {key[1]}, has two outcomes")
    chosen = np.array(list(first.values()), np.int64)
    return {name: column[chosen] for name, column in rows.items()}


def read_curves(directory: Path) -> Columns:
    """Read the evaluated rounds of all trainings, columns `TABLE_COLUMNS["reproduce_curves"]`."""
    return _read(directory, _CURVES, "curves")


def finished_trainings(directory: Path) -> set[tuple[str, int]]:
    """Return the scenario's identity and the seed of every finished training."""
    rows = read_trainings(directory)
    return {(str(name), int(seed)) for name, seed in zip(rows["scenario_id"], rows["seed"], strict=True)}


def _row(one: Trained) -> dict[str, Any]:
    training = one.training
    named = {key: getattr(training, key) for key in Training.__dataclass_fields__ if key != "overrides"}
    measured = {key: getattr(one, key) for key in TABLE_COLUMNS[_ROWS] if hasattr(one, key)}
    return {**named, **measured, "overrides": " ".join(training.overrides)}


def _read(directory: Path, table: str, prefix: str) -> Columns:
    if not directory.exists():
        return _typed(table, {column: [] for column in TABLE_COLUMNS[table]})
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory}: not a directory")
    files = sorted((directory / _FOLDER).glob(f"{prefix}-*.parquet"))
    parts = [read_table(file, table) for file in files]
    joined: dict[str, Any] = {
        column: np.concatenate([part[column] for part in parts]) if parts else [] for column in TABLE_COLUMNS[table]
    }
    return _typed(table, joined)


def _typed(table: str, columns: dict[str, Any]) -> Columns:
    return {
        name: np.array(columns[name], dtype=object if kind == "string" else kind)
        for name, kind in TABLE_COLUMNS[table].items()
    }
