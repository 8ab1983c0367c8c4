"""A contest of policies on one setting: each tuned with the same budget, then run on the same instances as all others.

A policy is tuned by common random numbers: all its candidates run on the same tuning instances, and the one with the
largest mean delivered value is kept. Every policy is searched for in the same way, and may try equally many candidates.
A setting may have a goal besides value; then every policy is tuned once more for that, with the same budget.
Every policy, ours or not, is entered once more as thrifty, if that is another candidate: as the best among those whose
utilisation, on the tuning instances, was at least `HIGH_UTILISATION`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import Phase, SchedulingCase
from ceas.experiments.scheduling_settings import Setting
from ceas.experiments.scheduling_verdicts import HIGH_UTILISATION, THRIFTY
from ceas.network.slot_policy import SlotPolicy
from ceas.scheduling.tuning import tune

__all__ = ["METRICS", "Entrant", "Figures", "Measure", "Run", "contest", "run_case"]

# What every scenario reports; `total` is the delivered value, to be held against the bound of the instance.
METRICS = ("U", "V", "S", "F_mean", "F_p05", "wait_p99", "fairness", "total", "purified", "ms_per_slot")

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A policy in the contest.

    Attributes:
        name: Its name.
        build: Binds it to a case, with parameters of its grid.
        grid: Values of each parameter that may be tried; the first of each is its default.
        is_ours: Whether it is ours, and not a baseline.
        run: Runs it on a case.
        tuning_run: Runs it on tuning instances; default: as `run`.
        scalars: Parameters of the grid that are tuned again when something has changed; empty for all.
    """

    name: str
    build: Callable[[SchedulingCase, Mapping[str, Any]], SlotPolicy]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    is_ours: bool = False
    run: Callable[["Entrant", SchedulingCase, Mapping[str, Any]], "Run"] | None = None
    tuning_run: Callable[["Entrant", SchedulingCase, Mapping[str, Any]], "Run"] | None = None
    scalars: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what happened, and the time that building and running took.

    Attributes:
        record: What happened: a `SlottedRecord`, or on the event kernel its rounds.
        build_s: Time to build the policy.
        run_s: Time to run it.
        extra: Figures that only this way of running has.
    """

    record: Any
    build_s: float
    run_s: float
    extra: Figures = field(default_factory=dict)


Measure = Callable[[Any, Any], Figures]


def run_case(entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any]) -> Run:
    """Build an entrant's policy for a case and run it."""
    if entrant.run is not None:
        return entrant.run(entrant, case, parameters)
    from ceas.network.slot_engine import run_slotted  # noqa: PLC0415 (compiled when first used)

    start = time.perf_counter()
    policy = entrant.build(case, parameters)
    middle = time.perf_counter()
    record = run_slotted(case.network, case.requests, case.path, policy)
    return Run(record=record, build_s=middle - start, run_s=time.perf_counter() - middle)


def contest(
    setting: Setting,
    entrants: Sequence[Entrant],
    *,
    measure: Measure,
    tuning_seeds: int,
    seeds: int,
    budget: int,
    is_quick: bool = False,
    extra: Measure | None = None,
) -> list[dict[str, Any]]:
    """Tune all entrants on one setting and run them on its reporting instances.

    Args:
        setting: The setting.
        entrants: Policies, with different names.
        measure: Figures of a run, all of `METRICS` but the time.
        tuning_seeds: Instances that every candidate is tried on.
        seeds: Instances that are reported.
        budget: Candidates that every entrant may try.
        is_quick: Whether instances are shortened.
        extra: Figures of a run that only this scenario has.

    Returns:
        One document per entrant and goal, and one per entrant as thrifty: `policy`, `is_ours`, `goal`, `is_thrifty`
        (whether it is the entrant's best candidate among those of high utilisation), `parameters`, `candidates` (each
        with `parameters`, `U`, `V` and the goal on the tuning instances), `build_ms`, and `figures`, with one value
        per reporting instance for each metric.

    Raises:
        DomainError: A number is below 1, or two entrants have one name.
    """
    for name, value in (("tuning_seeds", tuning_seeds), ("seeds", seeds), ("budget", budget)):
        if value < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {value}.")
    if len({entrant.name for entrant in entrants}) < len(entrants):
        raise DomainError("Argument `entrants` must have different names, but has not.")
    tuning = [setting.case(seed, Phase.TUNING, is_quick=is_quick) for seed in range(tuning_seeds)]
    goals = ("V", setting.goal) if setting.goal else ("V",)

    def measured(case: Any, record: Any) -> Figures:
        return {**measure(case, record), **({} if extra is None else extra(case, record))}

    chosen = {one.label: one for entrant in entrants for one in _tuned(entrant, tuning, goals, budget, measured)}
    figures, build_s = _reported(setting, chosen, seeds, is_quick, measured)
    return [
        {
            "policy": label,
            "is_ours": one.entrant.is_ours,
            "goal": one.goal,
            "is_thrifty": one.is_thrifty,
            "parameters": one.parameters,
            "candidates": one.candidates,
            "build_ms": 1e3 * float(np.median(build_s[label])),
            "figures": {name: [row[name] for row in figures[label]] for name in figures[label][0]},
        }
        for label, one in chosen.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What is run under a label: the best candidate of an entrant for a goal, or also of those of high utilisation."""

    label: str
    entrant: Entrant
    goal: str
    is_thrifty: bool
    parameters: dict[str, Any]
    candidates: list[dict[str, Any]]


def _tuned(
    entrant: Entrant, tuning: Sequence[SchedulingCase], goals: Sequence[str], budget: int, measure: Measure
) -> list[_Chosen]:
    """Return the best candidate for each goal, and the one of best value at high utilisation if it is another one."""
    seen: dict[str, Figures] = {}
    tried = replace(entrant, run=entrant.tuning_run or entrant.run)

    def figures_at(parameters: Mapping[str, Any]) -> Figures:
        key = repr(sorted(parameters.items()))
        if key not in seen:
            runs = [_measured(tried, case, parameters, measure)[0] for case in tuning]
            seen[key] = {name: float(np.mean([one[name] for one in runs])) for name in ("U", *goals)}
        return seen[key]

    chosen: list[_Chosen] = []
    for goal in goals:

        def objective(parameters: dict[str, Any], goal: str = goal) -> tuple[float, float]:
            return figures_at(parameters)[goal], figures_at(parameters)["U"]

        best, trials = tune(objective, entrant.grid, budget=budget)
        points: list[dict[str, Any]] = [
            {"parameters": dict(one.parameters), **figures_at(one.parameters)} for one in trials
        ]
        label = entrant.name if goal == "V" else f"{entrant.name}, for {goal}"
        kept: dict[str, Any] = {"entrant": entrant, "goal": goal, "candidates": points}
        frugal = [point for point in points if point["U"] >= HIGH_UTILISATION] if goal == "V" else []
        thrifty = max(frugal, key=_value)["parameters"] if frugal else None
        is_both = thrifty == dict(best.parameters)
        chosen.append(_Chosen(label=label, is_thrifty=is_both, parameters=dict(best.parameters), **kept))
        if thrifty is not None and not is_both:
            chosen.append(_Chosen(label=f"{entrant.name}{THRIFTY}", is_thrifty=True, parameters=thrifty, **kept))
    return chosen


def _value(point: Mapping[str, Any]) -> float:
    return float(point["V"])


def _reported(
    setting: Setting, chosen: Mapping[str, _Chosen], seeds: int, is_quick: bool, measure: Measure
) -> tuple[dict[str, list[Figures]], dict[str, list[float]]]:
    """Return what is run under each label on each reporting instance: its figures, and the time to build it."""
    figures: dict[str, list[Figures]] = {label: [] for label in chosen}
    build_s: dict[str, list[float]] = {label: [] for label in chosen}
    for seed in range(seeds):
        case = setting.case(seed, Phase.REPORTING, is_quick=is_quick)
        # Policies with the same parameters are one run.
        done: dict[str, tuple[Figures, float]] = {}
        for label, one in chosen.items():
            key = f"{one.entrant.name} {one.parameters}"
            if key not in done:
                done[key] = _measured(one.entrant, case, one.parameters, measure)
            figures[label].append(done[key][0])
            build_s[label].append(done[key][1])
    return figures, build_s


def _measured(
    entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any], measure: Measure
) -> tuple[Figures, float]:
    run = run_case(entrant, case, parameters)
    figures = {**measure(case, run.record), "ms_per_slot": 1e3 * run.run_s / case.n_slots, **run.extra}
    return figures, run.build_s
