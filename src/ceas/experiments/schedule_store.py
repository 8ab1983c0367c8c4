"""The tables of a schedule study, in memory or on disk as well: keyed rows, added as runs finish, never repeated.

`schedule` has one row per policy and seed, `schedule_trials` one per policy, tried parameters and tuning seed;
`schedule_links`, `schedule_nodes`, `schedule_pairs` and `schedule_waits` tell more of the first seed's runs. A row
names by its `study_id` all that decided its numbers, so that rows of other scenarios, rounds or programs may lie
beside it.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.errors import RunDirectoryError, ScenarioError
from ceas.experiments import registry
from ceas.experiments.result_tables import TABLE_COLUMNS, Columns, read_table, write_atomically, write_table
from ceas.experiments.results import write_json
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.experiments.scenario_text import content_hash
from ceas.experiments.schedule_study import (
    SCHEDULE_METRICS,
    PolicyResult,
    ScheduleStudy,
    Trial,
    study_document,
)

__all__ = [
    "STUDY_TABLES",
    "StudyTables",
    "gather_study",
    "is_schedule",
    "parameters_text",
    "read_schedule",
    "selected",
    "study_id_of",
    "trials_of",
    "write_study",
]

_DETAILS = ("links", "nodes", "pairs", "waits")
STUDY_TABLES = ("schedule", "schedule_trials", *(f"schedule_{name}" for name in _DETAILS))
_RESULT, _SCENARIO = "result.json", "scenario.toml"
# Code that decides a run's numbers: whole rooms, and what makes a world of a scenario and figures of a run.
_ROOMS = ("network", "physics", "scheduling")
_MODULES = (
    "streams.py",
    "learning/pair_weights.py",
    "runtime/world.py",
    "runtime/route_world.py",
    "experiments/assemble.py",
    "experiments/schedule_runs.py",
)


class StudyTables:
    """The tables of a study; with a directory, every change is written there at once.

    Attributes:
        tables: Columns by table.
    """

    def __init__(self, directory: Path | None) -> None:
        """Read what is there; an empty study if there is nothing.

        Raises:
            RunDirectoryError: The directory cannot be made, or a file in it does not fit this version.
        """
        self._directory = directory
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunDirectoryError(f"{directory}: cannot be written: {error.strerror}") from error
        self.tables: dict[str, Columns] = {name: self._read(name) for name in STUDY_TABLES}

    def keys(self, name: str, columns: Iterable[str]) -> set[tuple[Any, ...]]:
        """Return the values of some columns, row by row."""
        return set(zip(*(self.tables[name][column].tolist() for column in columns), strict=True))

    def add(self, name: str, key: Mapping[str, Any], columns: Columns) -> None:
        """Add rows that share a key, in place of those that an interrupted addition left with it."""
        kinds, present = TABLE_COLUMNS[name], self.tables[name]
        n_rows = len(next(iter(columns.values())))
        added = {**columns, **{column: [value] * n_rows for column, value in key.items()}}
        stays = ~np.logical_and.reduce([present[column] == value for column, value in key.items()])
        self.tables[name] = {
            column: np.concatenate([present[column][stays], np.asarray(added[column], dtype=_type_of(kind))])
            for column, kind in kinds.items()
        }
        if self._directory is not None:
            write_table(self._directory / f"{name}.parquet", name, self.tables[name])

    def _read(self, name: str) -> Columns:
        if self._directory is not None and (path := self._directory / f"{name}.parquet").is_file():
            return read_table(path, name)
        return {column: np.array([], dtype=_type_of(kind)) for column, kind in TABLE_COLUMNS[name].items()}


def _type_of(kind: str) -> Any:
    return object if kind == "string" else kind


def selected(table: Columns, **wanted: Any) -> Columns:
    """Return the rows of a table in which the columns have the wanted values."""
    chosen = np.logical_and.reduce([table[column] == value for column, value in wanted.items()])
    return {column: values[chosen] for column, values in table.items()}


def study_id_of(variant: Scenario, *, rounds: int, tuning_rounds: int, bound_rounds: int) -> str:
    """Return the identity of a policy's rows: the network, the policy as the scenario sets it, the effort, the code."""
    return content_hash(
        {
            "network": variant.network_id,
            "rounds": rounds,
            "tuning_rounds": tuning_rounds,
            "bound_rounds": bound_rounds,
            "program": _program(variant.schedule.policy),
        }
    )


@cache
def _program(policy: str) -> str:
    """Hash the code that decides a run: a changed scheduler must not find the rows of its predecessor."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    maker = registry.resolve("policy", policy)
    own = Path(inspect.getfile(maker if inspect.isroutine(maker) or inspect.isclass(maker) else type(maker)))
    rooms = [path for room in _ROOMS for path in sorted((package / room).glob("*.py"))]
    for path in (*rooms, *(package / name for name in _MODULES), own):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Write parameters into a cell of a table."""
    return json.dumps(dict(parameters), sort_keys=True)


# ---- a study as a whole ----------------------------------------------------------------------------------------------


def is_schedule(directory: Path) -> bool:
    """Tell whether a directory holds a schedule study, finished or not."""
    return (directory / "schedule.parquet").is_file() or (directory / "schedule_trials.parquet").is_file()


def write_study(directory: Path, study: ScheduleStudy) -> None:
    """Write what says that a study is finished, beside its tables."""
    text = study.scenario.to_toml()
    write_atomically(directory / _SCENARIO, lambda temporary: temporary.write_text(text, "utf-8"))
    write_json(directory / _RESULT, study_document(study))


def read_schedule(directory: Path) -> ScheduleStudy:
    """Read the study that was finished last in a directory.

    Raises:
        RunDirectoryError: The directory holds none, or a file does not fit this version.
    """
    path = directory / _RESULT
    if not path.is_file():
        raise RunDirectoryError(f"{directory}: the study is not finished; repeat its command to go on")
    try:
        document = json.loads(path.read_text("utf-8"))
        scenario = load_scenario(directory / _SCENARIO)
    except ScenarioError as error:
        raise RunDirectoryError(f"{directory / _SCENARIO} does not fit this version of ceas:\n{error}") from error
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    try:
        return gather_study(
            StudyTables(directory),
            scenario=scenario,
            entries=[(row["policy"], row["study_id"], row["parameters"]) for row in document["rows"]],
            seeds=tuple(document["seeds"]),
            command=document["command"],
            **{name: int(document[name]) for name in ("rounds", "tuning_rounds", "bound_rounds")},
        )
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path}: must be the document of a schedule study, but lacks {error}") from error


def gather_study(
    tables: StudyTables,
    *,
    scenario: Scenario,
    entries: Sequence[tuple[str, str, Mapping[str, Any]]],
    seeds: tuple[int, ...],
    rounds: int,
    tuning_rounds: int,
    bound_rounds: int,
    command: str,
) -> ScheduleStudy:
    """Make a study of the rows in its tables.

    Args:
        tables: The tables, which may hold other rows as well.
        scenario: What all runs share.
        entries: For each result the policy, the identity of its rows, and its parameters.
        seeds: Seeds of the study.
        rounds: Rounds of a run.
        tuning_rounds: Rounds of a trial.
        bound_rounds: Rounds whose value is compared with a bound.
        command: Command that repeats the study.

    Raises:
        RunDirectoryError: A row is missing.
    """
    results = _labelled(
        [_policy_result(tables, *entry, seeds=seeds, rounds=rounds, tuning_rounds=tuning_rounds) for entry in entries]
    )
    study_ids = {study_id for _, study_id, _ in entries}
    details = {
        name: _of_studies(selected(tables.tables[f"schedule_{name}"], seed=seeds[0]), study_ids) for name in _DETAILS
    }
    return ScheduleStudy(
        scenario=scenario,
        rounds=rounds,
        tuning_rounds=tuning_rounds,
        bound_rounds=bound_rounds,
        seeds=seeds,
        policies=results,
        ceas_version=str(_of_studies(tables.tables["schedule"], study_ids)["ceas_version"][-1]),
        command=command,
        **details,
    )


def _of_studies(table: Columns, study_ids: set[str]) -> Columns:
    chosen = np.isin(table["study_id"].astype(str), sorted(study_ids))
    return {column: values[chosen] for column, values in table.items()}


def _labelled(results: Sequence[PolicyResult]) -> tuple[PolicyResult, ...]:
    """Tell apart two results of one policy: the second was chosen among parameters that use most of their pairs."""
    labels: list[str] = []
    for one in results:
        labels.append(one.label if one.label not in labels else f"{one.label} (thrifty)")
    return tuple(replace(one, label=label) for one, label in zip(results, labels, strict=True))


def _policy_result(
    tables: StudyTables,
    policy: str,
    study_id: str,
    parameters: Mapping[str, Any],
    *,
    seeds: tuple[int, ...],
    rounds: int,
    tuning_rounds: int,
) -> PolicyResult:
    rows = selected(tables.tables["schedule"], study_id=study_id, policy=policy, parameters=parameters_text(parameters))
    places = {int(seed): place for place, seed in enumerate(rows["seed"])}
    lacking = [seed for seed in seeds if seed not in places]
    if lacking:
        raise RunDirectoryError(f"no row for {policy}, seed {lacking[0]}; repeat the command to add it")
    order = [places[seed] for seed in seeds]
    figures: dict[str, NDArray[np.float64]] = {
        "value_per_round": rows["delivered_value"][order] / rounds,
        "fraction_of_bound": _ratio(rows["bounded_value"][order], rows["bound"][order]),
    }
    figures |= {name: rows[name][order].astype(np.float64) for name in SCHEDULE_METRICS if name not in figures}
    return PolicyResult(
        policy=policy,
        label=policy,
        study_id=study_id,
        parameters=dict(parameters),
        trials=trials_of(tables, policy, study_id, rounds=tuning_rounds),
        figures=figures,
    )


def trials_of(tables: StudyTables, policy: str, study_id: str, *, rounds: int) -> tuple[Trial, ...]:
    """Return what tuning tried for a policy, in order.

    Args:
        tables: The tables.
        policy: The policy.
        study_id: Identity of its rows.
        rounds: Rounds of a trial, by which value is divided.
    """
    trials = selected(tables.tables["schedule_trials"], study_id=study_id, policy=policy)
    runs = selected(tables.tables["schedule"], study_id=study_id, policy=policy)
    chosen = {str(text) for text in runs["parameters"]}
    return tuple(_trial(selected(trials, trial=index), chosen, rounds) for index in np.unique(trials["trial"]))


def _trial(rows: Columns, chosen: set[str], rounds: int) -> Trial:
    text = str(rows["parameters"][0])
    return Trial(
        parameters=json.loads(text),
        utilisation=float(rows["utilisation"].mean()),
        value_per_round=float(rows["delivered_value"].mean()) / rounds,
        fraction_of_bound=float(_ratio(rows["bounded_value"].sum(), rows["bound"].sum())),
        is_chosen=text in chosen,
    )


def _ratio(parts: Any, wholes: Any) -> NDArray[np.float64]:
    """Return quotients, NaN where there is nothing to divide by."""
    whole = np.asarray(wholes, np.float64)
    quotients: NDArray[np.float64] = np.divide(parts, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return quotients
