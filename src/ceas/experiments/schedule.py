"""The network and its schedule alone: policies side by side, without learning.

Every policy meets the same links, demands and random numbers for each seed, and is tuned with the same effort on seeds
of its own. Runs are kept as they finish; the same study again does only what is missing, with more seeds it adds them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import DomainError, ScenarioError
from ceas.experiments.assemble import assemble_world
from ceas.experiments.result_tables import Columns
from ceas.experiments.scenario import Scenario
from ceas.experiments.schedule_runs import bound_of, links_of, nodes_of, run_policy
from ceas.experiments.schedule_store import (
    StudyTables,
    gather_study,
    parameters_text,
    study_id_of,
    trials_of,
    write_study,
)
from ceas.experiments.schedule_study import ScheduleStudy, chosen_trials
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.runtime.world import World
from ceas.scheduling import TUNING_GRIDS

__all__ = ["BOUND_ROUNDS", "TUNING_SEEDS", "schedule_policies"]

# Root seeds on which policies are tuned.
TUNING_SEEDS = (900_001, 900_002)
# The bound of more rounds takes longer and hardly differs.
BOUND_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entrant:
    """A policy in a study: the scenario that has it, the parameters to try, and what names its rows."""

    variant: Scenario
    trials: Sequence[Mapping[str, Any]]
    study_id: str

    @property
    def policy(self) -> str:
        return self.variant.schedule.policy

    @property
    def key(self) -> dict[str, Any]:
        return {"study_id": self.study_id, "policy": self.policy}


@dataclass(slots=True, kw_only=True)
class _Session:
    """What runs of one call share: worlds and bounds by seed, and who is told of the progress."""

    scenario: Scenario
    progress: Progress | None
    n_runs: int = 0
    done: int = 0
    worlds: dict[int, World] = field(default_factory=dict)
    bounds: dict[tuple[int, int], float] = field(default_factory=dict)

    def tell(self, phase: str) -> None:
        """Say that the next run begins."""
        if self.progress is not None:
            self.progress(ProgressEvent(phase=phase, training_round=self.done, rounds=self.n_runs))
        self.done += 1

    def world(self, seed: int) -> World:
        """Return the world of a seed, drawn when it is first needed."""
        if seed not in self.worlds:
            self.worlds[seed] = assemble_world(self.scenario, seed)
        return self.worlds[seed]

    def bound(self, seed: int, rounds: int) -> float:
        """Return the bound for the first rounds of a seed; NaN for no rounds."""
        if (seed, rounds) not in self.bounds:
            known = bound_of(self.world(seed), seed=seed, rounds=rounds) if rounds else float("nan")
            self.bounds[seed, rounds] = known
        return self.bounds[seed, rounds]


def _check_arguments(
    policies: Sequence[str], seeds: Sequence[int], rounds: int, tuning_rounds: int, bound_rounds: int
) -> None:
    for name, values in (("policies", policies), ("seeds", seeds)):
        if not values:
            raise DomainError(f"Argument `{name}` must not be empty.")
    for name, count, least in (
        ("rounds", rounds, 1),
        ("tuning_rounds", tuning_rounds, 0),
        ("bound_rounds", bound_rounds, 0),
    ):
        if count < least:
            raise DomainError(f"Argument `{name}` must be at least {least}, but is {count}.")
    if tuning_rounds and set(seeds) & set(TUNING_SEEDS):
        raise DomainError(f"Argument `seeds` must not hold {TUNING_SEEDS}, on which policies are tuned.")


def schedule_policies(
    scenario: Scenario,
    *,
    policies: Sequence[str],
    seeds: Sequence[int],
    rounds: int | None = None,
    tuning_rounds: int = 0,
    bound_rounds: int = BOUND_ROUNDS,
    out: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> ScheduleStudy:
    """Run the network under every policy, on the same links, demands and random numbers for each seed.

    Args:
        scenario: What all runs share; its own policy keeps the scenario's parameters, the others have defaults.
        policies: Names of scheduling policies.
        seeds: Root seeds.
        rounds: Training rounds to simulate; default: the scenario's.
        tuning_rounds: 0 for no tuning. Otherwise every policy whose parameters the scenario does not set takes those of
            its grid that deliver most in this many rounds on `TUNING_SEEDS`, which no run reports. If those use less
            than `LEAST_UTILISATION` of the pairs they make, the best among those that use more are reported as well.
        bound_rounds: The value of the first so many rounds is compared with a bound; 0 for no bound.
        out: Directory that keeps the runs, and the document of the study when it is finished; runs that are there are
            not repeated. Default: nothing is kept.
        progress: Told before every run; its rounds count runs.
        command: Command that repeats the study.

    Raises:
        ScenarioError: A policy does not fit the scenario; nothing was run.
        DomainError: There is no policy or seed, a seed is one of `TUNING_SEEDS` while tuning, or a count is negative.
        RunDirectoryError: The directory cannot be written, or holds what does not fit this version.
    """
    n_rounds = scenario.clock.rounds if rounds is None else rounds
    _check_arguments(policies, seeds, n_rounds, tuning_rounds, bound_rounds)
    plan = {
        "rounds": n_rounds,
        "tuning_rounds": tuning_rounds,
        "bound_rounds": min(bound_rounds, n_rounds),
    }
    chosen_seeds = tuple(dict.fromkeys(seeds))
    entrants = _entrants(scenario, policies, **plan)
    tables = StudyTables(out)
    _run_missing(entrants, tables, chosen_seeds, _Session(scenario=scenario, progress=progress), **plan)
    study = gather_study(
        tables,
        scenario=scenario,
        entries=[
            (entrant.policy, entrant.study_id, parameters)
            for entrant in entrants
            for parameters in _chosen_parameters(entrant, tables)
        ],
        seeds=chosen_seeds,
        command=command,
        **{**plan, "tuning_rounds": tuning_rounds if any(entrant.trials for entrant in entrants) else 0},
    )
    if out is not None:
        write_study(out, study)
    return study


def _entrants(
    scenario: Scenario, policies: Sequence[str], *, rounds: int, tuning_rounds: int, bound_rounds: int
) -> list[_Entrant]:
    """Return the policies, each once, and report all mistakes together."""
    found: list[_Entrant] = []
    mistakes: list[str] = []
    for policy in dict.fromkeys(policies):
        try:
            variant = scenario.with_policy(policy)
        except ScenarioError as error:
            mistakes += error.mistakes
            continue
        trials = [] if variant.schedule.parameters or not tuning_rounds else TUNING_GRIDS.get(policy, ())
        name = study_id_of(
            variant, rounds=rounds, tuning_rounds=tuning_rounds if trials else 0, bound_rounds=bound_rounds
        )
        found.append(_Entrant(variant=variant, trials=trials, study_id=name))
    if mistakes:
        raise ScenarioError(scenario.name, list(dict.fromkeys(mistakes)))
    return found


# ---- running ---------------------------------------------------------------------------------------------------------


def _run_missing(
    entrants: Sequence[_Entrant],
    tables: StudyTables,
    seeds: Sequence[int],
    session: _Session,
    *,
    rounds: int,
    tuning_rounds: int,
    bound_rounds: int,
) -> None:
    """Run what the tables lack: for each policy its trials, then its seeds."""
    tried = tables.keys("schedule_trials", ("study_id", "policy", "trial", "seed"))
    missing = [
        [(i, s) for i in range(len(one.trials)) for s in TUNING_SEEDS if (one.study_id, one.policy, i, s) not in tried]
        for one in entrants
    ]
    session.n_runs = sum(map(len, missing)) + sum(
        len(_missing_runs(one, tables, seeds)) for one, trials in zip(entrants, missing, strict=True) if not trials
    )
    # What tuning will choose is not known yet: one set of parameters is expected, and corrected later.
    session.n_runs += len(seeds) * sum(1 for trials in missing if trials)
    for entrant, trials in zip(entrants, missing, strict=True):
        for index, seed in trials:
            session.tell(f"{entrant.policy}, tuning")
            _add_trial(tables, session, entrant, index, seed, tuning_rounds, bound_rounds)
        runs = _missing_runs(entrant, tables, seeds)
        session.n_runs += len(runs) - len(seeds) if trials else 0
        for parameters, seed in runs:
            session.tell(f"{entrant.policy}, seed {seed}")
            _add_run(tables, session, entrant, parameters, seed, rounds, bound_rounds, is_detailed=seed == seeds[0])


def _missing_runs(entrant: _Entrant, tables: StudyTables, seeds: Sequence[int]) -> list[tuple[Mapping[str, Any], int]]:
    """Return the parameters and seeds that a tuned policy has no runs of."""
    columns = ("study_id", "policy", "parameters", "seed")
    finished = tables.keys("schedule", columns)
    # The first seed is told in more detail, and may have been run before as another than the first.
    detailed = tables.keys("schedule_links", columns)
    missing = []
    for parameters in _chosen_parameters(entrant, tables):
        key = (entrant.study_id, entrant.policy, parameters_text(parameters))
        missing += [
            (parameters, seed)
            for seed in seeds
            if (*key, seed) not in finished or (seed == seeds[0] and (*key, seed) not in detailed)
        ]
    return missing


def _add_trial(  # noqa: PLR0917 - what to run, and where to
    tables: StudyTables, session: _Session, entrant: _Entrant, index: int, seed: int, rounds: int, bound_rounds: int
) -> None:
    parameters, bounded = entrant.trials[index], min(bound_rounds, rounds)
    run = run_policy(entrant.policy, parameters, session.world(seed), seed=seed, rounds=rounds, bounded_rounds=bounded)
    columns: dict[str, list[Any]] = {
        name: [run.figures[name]] for name in ("utilisation", "delivered_value", "bounded_value")
    }
    columns |= {"parameters": [parameters_text(parameters)], "bound": [session.bound(seed, bounded)]}
    tables.add("schedule_trials", {**entrant.key, "trial": index, "seed": seed}, _arrays(columns))


def _add_run(  # noqa: PLR0917 - what to run, and where to
    tables: StudyTables,
    session: _Session,
    entrant: _Entrant,
    parameters: Mapping[str, Any],
    seed: int,
    rounds: int,
    bound_rounds: int,
    *,
    is_detailed: bool,
) -> None:
    from ceas import __version__  # noqa: PLC0415 - the front door imports this module

    world = session.world(seed)
    run = run_policy(
        entrant.policy,
        parameters,
        world,
        seed=seed,
        rounds=rounds,
        bounded_rounds=bound_rounds,
        is_traced=is_detailed,
    )
    key = {**entrant.key, "parameters": parameters_text(parameters), "seed": seed}
    if is_detailed:
        tables.add("schedule_nodes", key, nodes_of(world, run))
        tables.add("schedule_pairs", key, run.pairs)
        tables.add("schedule_waits", key, run.waits)
        tables.add("schedule_links", key, links_of(world, run))
    columns: dict[str, list[Any]] = {name: [value] for name, value in run.figures.items()}
    columns |= {"bound": [session.bound(seed, bound_rounds)], "ceas_version": [__version__]}
    # Last, for this row is what says that a run is complete.
    tables.add("schedule", key, _arrays(columns))


def _chosen_parameters(entrant: _Entrant, tables: StudyTables) -> list[Mapping[str, Any]]:
    """Return the parameters to report: one or two choices of a tuned policy, the scenario's of any other."""
    trials = trials_of(tables, entrant.policy, entrant.study_id, rounds=1)
    return [trials[index].parameters for index in chosen_trials(trials)] or [entrant.variant.schedule.parameters]


def _arrays(columns: Mapping[str, list[Any]]) -> Columns:
    return {name: np.array(values) for name, values in columns.items()}
