"""The tables of a schedule study, in memory or on disk as well: keyed rows, added as runs finish, never repeated.

`schedule` has one row per policy and seed, `schedule_trials` one per policy, tried parameters and tuning seed;
`schedule_links`, `schedule_nodes` and `schedule_pairs` tell more of the first seed's runs. A row names by its
`study_id` all that decided its numbers, so that rows of other scenarios, rounds or programs may lie beside it.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
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
from ceas.experiments.schedule_study import SCHEDULE_METRICS, PolicyResult, ScheduleStudy, Trial, study_document

__all__ = [
    "STUDY_TABLES",
    "StudyTables",
    "gather_study",
    "is_schedule",
    "parameters_text",
    "read_schedule",
    "selected",
    "study_id_of",
    "write_study",
]

STUDY_TABLES = ("schedule", "schedule_trials", "schedule_links", "schedule_nodes", "schedule_pairs")
_RESULT, _SCENARIO = "result.json", "scenario.toml"
_ROOMS = ("network", "physics", "scheduling")


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
    for path in (*(path for room in _ROOMS for path in sorted((package / room).glob("*.py"))), own):
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
            study_ids={row["policy"]: row["study_id"] for row in document["rows"]},
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
    study_ids: Mapping[str, str],
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
        study_ids: What names the rows of each policy.
        seeds: Seeds of the study.
        rounds: Rounds of a run.
        tuning_rounds: Rounds of a trial.
        bound_rounds: Rounds whose value is compared with a bound.
        command: Command that repeats the study.

    Raises:
        RunDirectoryError: A row is missing.
    """
    results = [
        _policy_result(tables, policy, study_id, seeds=seeds, rounds=rounds, tuning_rounds=tuning_rounds)
        for policy, study_id in study_ids.items()
    ]
    details = {
        name: _of_studies(selected(tables.tables[f"schedule_{name}"], seed=seeds[0]), set(study_ids.values()))
        for name in ("links", "nodes", "pairs")
    }
    return ScheduleStudy(
        scenario=scenario,
        rounds=rounds,
        tuning_rounds=tuning_rounds,
        bound_rounds=bound_rounds,
        seeds=seeds,
        policies=tuple(results),
        command=command,
        **details,
    )


def _of_studies(table: Columns, study_ids: set[str]) -> Columns:
    chosen = np.isin(table["study_id"].astype(str), sorted(study_ids))
    return {column: values[chosen] for column, values in table.items()}


def _policy_result(
    tables: StudyTables, policy: str, study_id: str, *, seeds: tuple[int, ...], rounds: int, tuning_rounds: int
) -> PolicyResult:
    key = {"study_id": study_id, "policy": policy}
    rows = selected(tables.tables["schedule"], **key)
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
    parameters = str(rows["parameters"][order[0]])
    trials = selected(tables.tables["schedule_trials"], **key)
    return PolicyResult(
        policy=policy,
        study_id=study_id,
        parameters=json.loads(parameters),
        trials=tuple(
            _trial(selected(trials, trial=index), parameters, tuning_rounds) for index in np.unique(trials["trial"])
        ),
        figures=figures,
    )


def _trial(rows: Columns, chosen: str, rounds: int) -> Trial:
    text = str(rows["parameters"][0])
    return Trial(
        parameters=json.loads(text),
        utilisation=float(rows["utilisation"].mean()),
        value_per_round=float(rows["delivered_value"].mean()) / rounds,
        fraction_of_bound=float(_ratio(rows["bounded_value"].sum(), rows["bound"].sum())),
        is_chosen=text == chosen,
    )


def _ratio(parts: Any, wholes: Any) -> NDArray[np.float64]:
    """Return quotients, NaN where there is nothing to divide by."""
    whole = np.asarray(wholes, np.float64)
    return np.divide(parts, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
