"""Runs of the scheduling benchmark in which a policy learns what has changed, and may be tuned again for it.

A policy that learns is bound anew, to estimated chances and rates, whenever the counts of attempts and requests show a
change. One that is also tuned again first tries a few of its parameters on imagined instances, drawn from the
estimates: the same ones for all candidates, none of them what is to come. Every policy may learn, and be tuned again
with the same budget.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ceas.experiments.scheduling_cases import RequestClass, SchedulingCase, request_table
from ceas.experiments.scheduling_contest import Entrant, Run
from ceas.network.slots import Forecast, SlottedNetwork, ValueKind, draw_sample_path
from ceas.scheduling.drift import Counts, DriftMonitor, run_with_monitor
from ceas.scheduling.tuning import tune
from ceas.streams import stream

__all__ = ["drift_entrants", "imagined_case", "run_learning", "tuned_again"]

# Imagined instances, their slots, and candidates that are tried on them.
IMAGINED, IMAGINED_SLOTS, RETUNING_BUDGET = 2, 200, 6


def drift_entrants(entrants: list[Entrant]) -> list[Entrant]:
    """Return every entrant three times: learning, learning and tuned again, and believing what it was told at first.

    Nothing changes in the instances that policies are tuned on, so there those that are tuned again only learn.
    """
    learning = [replace(one, name=f"{one.name}, learning", run=run_learning) for one in entrants]
    again = [
        replace(one, name=f"{one.name}, tuned again", run=partial(run_learning, retunes=True), tuning_run=run_learning)
        for one in entrants
    ]
    return learning + again + entrants


def run_learning(
    entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any], *, retunes: bool = False
) -> Run:
    """Run in chunks of slots, and bind the policy anew whenever a change is seen.

    Args:
        entrant: The policy.
        case: The case.
        parameters: Its parameters, as tuned at first.
        retunes: Whether parameters are tuned again before the policy is bound anew.
    """
    from ceas.network.slot_engine import advance_slots, slotted_record, start_slotted  # noqa: PLC0415
    from ceas.network.slot_policy import SlotPolicy  # noqa: PLC0415

    state = start_slotted(case.network, case.requests, case.path)
    build_s = run_s = 0.0
    n_built = 0
    now = dict(parameters)

    def build(network: SlottedNetwork, forecast: Forecast) -> SlotPolicy:
        nonlocal build_s, n_built, now
        start = time.perf_counter()
        believed = replace(case, network=network, forecast=forecast)
        if retunes and n_built > 0:
            now = tuned_again(entrant, believed, now, n_built)
        policy = entrant.build(believed, now)
        n_built += 1
        build_s += time.perf_counter() - start
        return policy

    def advance(policy: SlotPolicy, until_slot: int) -> Counts:
        nonlocal run_s
        start = time.perf_counter()
        advance_slots(state, policy, until_slot)
        run_s += time.perf_counter() - start
        so_far = slotted_record(state)
        return so_far.attempts, so_far.generated, state.n_requested.copy()

    monitor = DriftMonitor(case.network, case.forecast)
    n_builds = run_with_monitor(monitor, build, advance, n_slots=case.n_slots)
    return Run(record=slotted_record(state), build_s=build_s, run_s=run_s, extra={"builds": float(n_builds)})


def tuned_again(entrant: Entrant, believed: SchedulingCase, parameters: Mapping[str, Any], turn: int) -> dict[str, Any]:
    """Return the best of a few points around `parameters` on imagined instances."""
    from ceas.network.slot_engine import run_slotted  # noqa: PLC0415
    from ceas.scheduling.slotted_metrics import slotted_metrics  # noqa: PLC0415

    cases = [imagined_case(believed, f"{turn} {index}") for index in range(IMAGINED)]
    grid = {}
    for name, values in entrant.grid.items():
        present = parameters.get(name, values[0])
        is_tried = not entrant.scalars or name in entrant.scalars
        grid[name] = (present, *(value for value in values if value != present)) if is_tried else (present,)

    def objective(point: dict[str, Any]) -> tuple[float, float]:
        policy = entrant.build(cases[0], point)
        found = [
            slotted_metrics(one.network, one.requests, run_slotted(one.network, one.requests, one.path, policy))
            for one in cases
        ]
        return float(np.mean([one.value for one in found])), float(np.mean([one.utilisation for one in found]))

    best, _ = tune(objective, grid, budget=RETUNING_BUDGET)
    return {**parameters, **best.parameters}


def imagined_case(believed: SchedulingCase, label: str) -> SchedulingCase:
    """Return an instance of what is believed: requests over single links, and coins, from a stream of its own.

    Args:
        believed: A case with the estimated network and forecast; its requests and coins are not looked at.
        label: Name of the stream.
    """
    network = replace(believed.network, initial_werner=believed.network.claimed_werner)
    forecast = believed.forecast
    rng = stream(int(believed.path.swap_seed), f"scheduling benchmark imagined {label}")
    counts = rng.poisson(forecast.rate, (IMAGINED_SLOTS, *forecast.rate.shape))
    slot, link, label_of = (np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(3, -1))
    order = np.lexsort((rng.random(len(slot)), slot))
    slot, link, label_of = slot[order], link[order], label_of[order]
    classes = [
        RequestClass(
            share=1.0,
            minimum_fidelity=float(forecast.minimum_fidelity[one]),
            weight=float(forecast.weight[one]),
            patience_slots=int(forecast.patience_slots[one]),
            kind=ValueKind(int(forecast.kind[one])),
            n_pairs=int(forecast.n_pairs[one]),
        )
        for one in range(len(forecast.weight))
    ]
    routes = [[one] for one in range(network.n_links)]
    return replace(
        believed,
        network=network,
        requests=request_table(routes, classes, route=link, label=label_of, arrival=slot, user=link),
        path=draw_sample_path(network, IMAGINED_SLOTS, rng),
    )
