"""A contest of policies on one setting: each tuned with the same budget, then run on the same instances as all others.

A policy is tuned by common random numbers: all its candidates run on the same tuning instances, and the one with the
largest mean delivered value is kept. Every policy is searched for in the same way, and may try equally many candidates.
One policy more is entered for ours: the best candidate among those whose utilisation, on the tuning instances, was at
least `HIGH_UTILISATION`.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import Phase, SchedulingCase
from ceas.experiments.scheduling_settings import Setting
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import SlottedRecord

__all__ = ["HIGH_UTILISATION", "METRICS", "Entrant", "Figures", "Measure", "Run", "contest", "run_case", "search_grid"]

HIGH_UTILISATION = 0.9
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
    """

    name: str
    build: Callable[[SchedulingCase, Mapping[str, Any]], SlotPolicy]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    is_ours: bool = False
    run: Callable[["Entrant", SchedulingCase, Mapping[str, Any]], "Run"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what happened, and the time that building and running took.

    Attributes:
        record: What happened.
        build_s: Time to build the policy.
        run_s: Time to run it.
        extra: Figures that only this way of running has.
    """

    record: SlottedRecord
    build_s: float
    run_s: float
    extra: Figures = field(default_factory=dict)


Measure = Callable[[SchedulingCase, SlottedRecord], Figures]


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


def search_grid(
    grid: Mapping[str, Sequence[Any]], evaluate: Callable[[dict[str, Any]], Figures], budget: int
) -> list[dict[str, Any]]:
    """Look for the largest `V` on a grid with at most `budget` evaluations, from its defaults.

    A grid of at most `budget` points is tried as a whole. Else one parameter after another is swept while the others
    keep their best values so far, again and again, until a round changes nothing or the budget is spent.

    Args:
        grid: Values of each parameter, the default first.
        evaluate: Returns the figures at a point.
        budget: Evaluations, at least 1.

    Returns:
        What was tried, in order: `parameters`, `U` and `V`.
    """
    tried: dict[tuple[Any, ...], dict[str, Any]] = {}

    def value_at(point: tuple[Any, ...]) -> float:
        if point not in tried and len(tried) < budget:
            parameters = dict(zip(grid, point, strict=True))
            figures = evaluate(parameters)
            tried[point] = {"parameters": parameters, "U": figures["U"], "V": figures["V"]}
        return float(tried[point]["V"]) if point in tried else -math.inf

    if math.prod(len(values) for values in grid.values()) <= budget:
        for point in itertools.product(*grid.values()):
            value_at(point)
        return list(tried.values())
    best, previous = tuple(values[0] for values in grid.values()), None
    while best != previous and len(tried) < budget:
        previous = best
        for at, values in enumerate(grid.values()):
            sweep = [(*best[:at], value, *best[at + 1 :]) for value in values]
            # The first of equals, so that a parameter that does not matter keeps its value.
            best = max([best, *sweep], key=value_at)
    return list(tried.values())


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
        One document per entrant: `policy`, `is_ours`, `parameters`, `candidates` (each with `parameters`, `U` and `V`
        on the tuning instances), `build_ms`, and `figures`, with one value per reporting instance for each metric.

    Raises:
        DomainError: A number is below 1, or two entrants have one name.
    """
    for name, value in (("tuning_seeds", tuning_seeds), ("seeds", seeds), ("budget", budget)):
        if value < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {value}.")
    if len({entrant.name for entrant in entrants}) < len(entrants):
        raise DomainError("Argument `entrants` must have different names, but has not.")
    tuning = [setting.case(seed, Phase.TUNING, is_quick=is_quick) for seed in range(tuning_seeds)]
    tried = {entrant.name: _try_all(entrant, tuning, measure, budget) for entrant in entrants}
    chosen = _choose(entrants, tried)
    figures: dict[str, list[Figures]] = {label: [] for label in chosen}
    build_s: dict[str, list[float]] = {label: [] for label in chosen}
    for seed in range(seeds):
        case = setting.case(seed, Phase.REPORTING, is_quick=is_quick)
        # Policies with the same parameters are one run.
        done: dict[str, tuple[Figures, float]] = {}
        for label, (entrant, parameters) in chosen.items():
            key = f"{entrant.name} {parameters}"
            if key not in done:
                done[key] = _measured(entrant, case, parameters, measure, extra)
            figures[label].append(done[key][0])
            build_s[label].append(done[key][1])
    return [
        {
            "policy": label,
            "is_ours": entrant.is_ours,
            "parameters": parameters,
            "candidates": tried[entrant.name],
            "build_ms": 1e3 * float(np.median(build_s[label])),
            "figures": {name: [one[name] for one in figures[label]] for name in figures[label][0]},
        }
        for label, (entrant, parameters) in chosen.items()
    ]


def _try_all(entrant: Entrant, tuning: Sequence[SchedulingCase], measure: Measure, budget: int) -> list[dict[str, Any]]:
    def evaluate(parameters: dict[str, Any]) -> Figures:
        figures = [_measured(entrant, case, parameters, measure, None)[0] for case in tuning]
        return {name: float(np.mean([one[name] for one in figures])) for name in ("U", "V")}

    return search_grid(entrant.grid, evaluate, budget)


def _choose(
    entrants: Sequence[Entrant], tried: Mapping[str, list[dict[str, Any]]]
) -> dict[str, tuple[Entrant, dict[str, Any]]]:
    """Return what is run under each label: the best candidate, and for ours also the best of high utilisation."""
    chosen: dict[str, tuple[Entrant, dict[str, Any]]] = {}
    for entrant in entrants:
        points = tried[entrant.name]
        chosen[entrant.name] = (entrant, max(points, key=_value)["parameters"])
        frugal = [point for point in points if point["U"] >= HIGH_UTILISATION]
        if entrant.is_ours and frugal:
            label = f"{entrant.name}, U >= {HIGH_UTILISATION:g}"
            chosen[label] = (entrant, max(frugal, key=_value)["parameters"])
    return chosen


def _value(point: Mapping[str, Any]) -> float:
    return float(point["V"])


def _measured(
    entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any], measure: Measure, extra: Measure | None
) -> tuple[Figures, float]:
    run = run_case(entrant, case, parameters)
    figures = {**measure(case, run.record), "ms_per_slot": 1e3 * run.run_s / case.n_slots, **run.extra}
    if extra is not None:
        figures |= extra(case, run.record)
    return figures, run.build_s
