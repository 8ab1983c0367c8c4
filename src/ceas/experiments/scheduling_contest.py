"""A contest of policies on one setting: each tuned with the same budget, then run on the same instances as all others.

A policy is tuned by common random numbers: all its candidates run on the same tuning instances, and the one with the
largest mean delivered value is kept. Every policy may try equally many candidates. One policy more is entered for ours:
the best candidate among those whose utilisation, on the tuning instances, was at least `HIGH_UTILISATION`.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import Phase, SchedulingCase
from ceas.experiments.scheduling_settings import Setting
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import SlottedRecord
from ceas.streams import stream

__all__ = ["HIGH_UTILISATION", "METRICS", "Entrant", "contest", "run_case"]

HIGH_UTILISATION = 0.9
METRICS = ("U", "V", "S", "F_mean", "F_p05", "wait_p99", "fairness", "ms_per_slot")

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


def candidates_of(entrant: Entrant, budget: int) -> list[dict[str, Any]]:
    """Return at most `budget` points of an entrant's grid: its default first, the others drawn without repetition."""
    points = [dict(zip(entrant.grid, values, strict=True)) for values in itertools.product(*entrant.grid.values())]
    if len(points) <= budget:
        return points
    others = stream(0, f"scheduling benchmark candidates {entrant.name}").permutation(len(points) - 1)[: budget - 1]
    return [points[0], *(points[1 + int(at)] for at in sorted(others))]


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
    tried = []
    for parameters in candidates_of(entrant, budget):
        figures = [_measured(entrant, case, parameters, measure, None)[0] for case in tuning]
        means = {name: float(np.mean([one[name] for one in figures])) for name in ("U", "V")}
        tried.append({"parameters": parameters, **means})
    return tried


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


def normalised(figures: Sequence[float], bound: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return values as fractions of their instances' bounds."""
    return np.asarray(figures, dtype=np.float64) / np.asarray(bound, dtype=np.float64)
