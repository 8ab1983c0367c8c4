import importlib.util
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ceas.errors import CapacityError, DomainError
from ceas.network.slot_engine import run_slotted
from ceas.network.slots import Forecast, RequestTable, SlottedNetwork, draw_sample_path
from ceas.scheduling.bounds_dual import dual_bound, fluid_bound, utilisation_frontier
from ceas.scheduling.one_link import OneLinkProblem, solve_one_link, step_value, werner_squared_value

_spec = importlib.util.spec_from_file_location("slotted_sketches", Path(__file__).with_name("slotted_sketches.py"))
assert _spec is not None
assert _spec.loader is not None
sketches = importlib.util.module_from_spec(_spec)
sys.modules["slotted_sketches"] = sketches
_spec.loader.exec_module(sketches)

# Chance of a false alarm of each statistical test: normal, one-sided.
SIGMAS = 5.2


def link_network(*, memory: int, attempts: int = 1, success: float = 0.3, lifetime: int = 13) -> SlottedNetwork:
    return SlottedNetwork(
        edges=np.array([[0, 1]]),
        success_probability=np.array([success]),
        initial_werner=np.array([2.8 / 3.0]),
        claimed_werner=np.array([2.8 / 3.0]),
        coherence_slots=np.array([40.0]),
        lifetime_slots=np.array([lifetime]),
        memory_slots=np.full(2, memory),
        attempts_per_slot=np.full(2, attempts),
    )


def forecast_of(
    rate: list[list[float]],
    *,
    minimum: list[float],
    weight: list[float],
    kind: list[int],
    patience: list[int] | None = None,
    pairs: list[int] | None = None,
) -> Forecast:
    return Forecast(
        rate=np.array(rate),
        minimum_fidelity=np.array(minimum),
        weight=np.array(weight),
        kind=np.array(kind),
        patience_slots=np.array(patience or [0] * len(weight)),
        n_pairs=np.array(pairs or [1] * len(weight)),
    )


def draw_requests(
    rng: np.random.Generator, forecast: Forecast, routes: list[list[int]], classes: list[int], n_slots: int
) -> RequestTable:
    """Return Poisson requests of one class a route, whose rate is the forecast's on its first link."""
    rates = np.array([forecast.rate[route[0], label] for route, label in zip(routes, classes, strict=True)])
    arrival, route = np.nonzero(rng.poisson(rates, (n_slots, len(routes))))
    label = np.array(classes)[route]
    return RequestTable(
        route_first=np.concatenate([[0], np.cumsum([len(routes[r]) for r in route])]).astype(np.int64),
        route_link=np.concatenate([np.array(routes[r]) for r in route]).astype(np.int64),
        announced=arrival,
        arrival=arrival,
        deadline=arrival + forecast.patience_slots[label],
        n_pairs=forecast.n_pairs[label],
        minimum_fidelity=forecast.minimum_fidelity[label],
        weight=forecast.weight[label],
        kind=forecast.kind[label],
        request_class=label,
        user=np.zeros(len(arrival), dtype=np.int64),
    )


@pytest.mark.parametrize("memory", [1, 2, 3])
def test_one_link_without_limits_is_the_exact_optimum(memory: int) -> None:
    """Nothing to share: the best prices are 0, and the bound is the gain of the independent solver."""
    forecast = forecast_of([[0.1, 0.3]], minimum=[0.9, 0.0], weight=[3.0, 1.0], kind=[0, 0])
    bound = dual_bound(link_network(memory=memory), forecast, arrivals="one", accuracy=1e-6)
    value = np.stack([step_value(weight=3.0, max_age=2, lifetime=13), step_value(weight=1.0, max_age=13, lifetime=13)])
    problem = OneLinkProblem(
        success_probability=0.3,
        memory_slots=memory,
        request_probability=[0.1, 0.3],
        value=value,
        may_replace=True,
    )
    assert bound.value == pytest.approx(solve_one_link(problem).gain, rel=1e-4)
    smooth = forecast_of([[0.4]], minimum=[0.0], weight=[1.0], kind=[1])
    curve = werner_squared_value(weight=1.0, initial_werner=2.8 / 3.0, memory_time=40.0, lifetime=13)
    problem = replace(problem, request_probability=[0.4], value=curve[None])
    bound = dual_bound(link_network(memory=memory), smooth, arrivals="one", accuracy=1e-6)
    assert bound.value == pytest.approx(solve_one_link(problem).gain, rel=1e-4)


def test_a_priced_star_lies_between_its_parts() -> None:
    """Three equal links at one node that makes one attempt a slot: less than three free links, more than one."""
    one = link_network(memory=2)
    star = SlottedNetwork(
        edges=np.array([[0, 1], [0, 2], [0, 3]]),
        success_probability=np.full(3, 0.3),
        initial_werner=np.full(3, 2.8 / 3.0),
        claimed_werner=np.full(3, 2.8 / 3.0),
        coherence_slots=np.full(3, 40.0),
        lifetime_slots=np.full(3, 13),
        memory_slots=np.array([2, 2, 2, 2]),
        attempts_per_slot=np.ones(4, dtype=np.int64),
    )
    rates = [[0.05, 0.15]]
    classes = {"minimum": [0.9, 0.0], "weight": [3.0, 1.0], "kind": [0, 0]}
    single = dual_bound(one, forecast_of(rates, **classes)).value
    together = dual_bound(star, forecast_of(rates * 3, **classes))
    assert single < together.value < 3.0 * single * (1.0 - 1e-3)
    assert together.attempt_price[0] > 0.0 or together.memory_price[0] > 0.0
    grouped = dual_bound(star, forecast_of(rates * 3, **classes), groups=np.zeros(4, dtype=np.int64))
    assert grouped.value >= together.value * (1.0 - 2e-3)
    assert together.lower_value <= together.value * (1.0 + 1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_no_policy_passes_the_dual_in_the_mean(seed: int) -> None:
    """20 runs of 500 slots; tuples, routes with failing swaps, patient and impatient requests; false alarm 1e-7."""
    rng = np.random.default_rng(seed)
    network = replace(
        sketches.sketch_network(rng, 6, 6, memory=3),
        edges=np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 0]]),
        swap_success_probability=0.7 if seed % 2 else 1.0,
    )
    patience = [0, 0, 0, 3] if seed < 4 else [2, 2, 2, 2]
    # Classes: single, pairs of two, routes of two links, single.
    routes = [[link] for link in range(6)] * 2 + [[0, 1], [2, 3], [4, 5]] + [[link] for link in range(6)]
    classes = [0] * 6 + [1] * 6 + [2] * 3 + [3] * 6
    rate = np.tile(rng.uniform(0.02, 0.2, 4), (6, 1))
    forecast = forecast_of(
        rate.tolist(),
        minimum=[0.0, 0.6, 0.6, 0.85],
        weight=[1.0, 4.0, 2.0, 3.0],
        kind=[1, 0, 1, 0],
        patience=patience,
        pairs=[1, 2, 1, 1],
    )
    bound = dual_bound(network, forecast, hops=np.array([1, 1, 2, 1]), most_evaluations=12)
    n_slots, n_runs = 500, 20
    policy = sketches.any_policy(network, 1.0, 0.1, 1.0, 0.0)
    values = []
    for _ in range(n_runs):
        requests = draw_requests(rng, forecast, routes, classes, n_slots)
        record = run_slotted(network, requests, draw_sample_path(network, n_slots, rng), policy)
        values.append(record.served_value.sum())
    most = n_slots * bound.value + bound.transient
    assert np.mean(values) > 0.2 * most  # the test would fail if the policy did nothing
    assert np.mean(values) <= most + SIGMAS * np.std(values) / np.sqrt(n_runs)


def test_holding_each_pair_is_on_the_frontier() -> None:
    """One slot of memory and one class: a pair waits at most 6 slots for a request, used with chance 1 - 0.8^6.

    Nothing makes its use surer, so a policy with more utilisation makes no pairs.
    """
    network = link_network(memory=1, lifetime=5)
    forecast = forecast_of([[0.2]], minimum=[0.0], weight=[1.0], kind=[0])
    reached = 1.0 - 0.8**6
    free, at_reached, above = utilisation_frontier(
        network, forecast, np.array([0.0, reached, reached + 0.05]), arrivals="one", accuracy=1e-5
    )
    # A cycle: 1 / 0.3 slots to a new pair, of which the last also sees the pair's first request; then it waits.
    cycle = 1.0 / 0.3 - 1.0 + sum(0.8**age for age in range(6))
    assert free.value >= at_reached.value * (1.0 - 1e-4)
    assert at_reached.value >= reached / cycle * (1.0 - 1e-4)
    assert above.value == pytest.approx(0.0, abs=1e-6)


def test_the_frontier_falls_and_holds() -> None:
    """One run of 20,000 slots of a policy that reaches a utilisation: its value a slot is below the bound at it."""
    rng = np.random.default_rng(1)
    network = link_network(memory=2)
    forecast = forecast_of([[0.1, 0.3]], minimum=[0.9, 0.0], weight=[3.0, 1.0], kind=[0, 0])
    frontier = [point.value for point in utilisation_frontier(network, forecast, np.array([0.0, 0.5, 0.9, 0.97]))]
    assert all(a >= b * (1.0 - 2e-3) for a, b in pairwise(frontier))
    requests = draw_requests(rng, forecast, [[0], [0]], [0, 1], 20_000)
    policy = sketches.any_policy(network, 1.0, 0.0, 1.0, 0.0)
    record = run_slotted(network, requests, draw_sample_path(network, 20_000, rng), policy)
    reached = float(record.used.sum() / record.generated.sum())
    bound = dual_bound(network, forecast, utilisation=reached).value
    value = record.served_value.sum() / 20_000
    assert 0.7 < reached < 1.0
    # A standard error of the value is below 1 % of it: about 7,000 services of standard deviation below 1.
    assert value <= bound * 1.05


def test_patient_requests_have_the_fluid_bound() -> None:
    """With patience the bound is the least of what can be made and what is asked, through pairs just born."""
    forecast = forecast_of([[0.2]], minimum=[0.0], weight=[1.0], kind=[1], patience=[5])
    value = (2.8 / 3.0) ** 2
    assert dual_bound(link_network(memory=2), forecast).value == pytest.approx(0.2 * value, rel=1e-3)
    scarce = link_network(memory=2, success=0.1)
    assert dual_bound(scarce, forecast).value == pytest.approx(0.1 * value, rel=1e-3)
    for network in (link_network(memory=2), scarce):
        fluid = fluid_bound(
            network,
            route_first=np.array([0, 1]),
            route_link=np.array([0]),
            rate=np.array([0.2]),
            n_pairs=np.array([1]),
            value=np.array([value]),
        )
        assert fluid == pytest.approx(min(0.2, network.success_probability[0]) * value)


def test_the_fluid_bound_of_a_chain_charges_failed_swaps() -> None:
    """Two links at a node with one attempt a slot: each makes p / 2 pairs, of which half are lost."""
    chain = SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.full(2, 0.4),
        initial_werner=np.ones(2),
        claimed_werner=np.ones(2),
        coherence_slots=np.full(2, 40.0),
        lifetime_slots=np.full(2, 13),
        memory_slots=np.full(3, 4),
        attempts_per_slot=np.ones(3, dtype=np.int64),
        swap_success_probability=0.5,
    )
    route = {"route_first": np.array([0, 2]), "route_link": np.array([0, 1]), "n_pairs": np.ones(1, dtype=np.int64)}
    assert fluid_bound(chain, **route, rate=np.array([9.0]), value=np.ones(1)) == pytest.approx(0.1)
    assert fluid_bound(chain, **route, rate=np.array([0.05]), value=np.ones(1)) == pytest.approx(0.05)


def test_arguments_are_checked() -> None:
    network = link_network(memory=2)
    forecast = forecast_of([[0.1]], minimum=[0.0], weight=[1.0], kind=[0])
    with pytest.raises(DomainError, match="rates for 1 links"):
        dual_bound(network, replace(forecast, rate=np.zeros((2, 1))))
    with pytest.raises(DomainError, match="hops"):
        dual_bound(network, forecast, hops=np.array([0]))
    with pytest.raises(DomainError, match="groups"):
        dual_bound(network, forecast, groups=np.array([0]))
    with pytest.raises(DomainError, match="utilisation"):
        dual_bound(network, forecast, utilisation=1.5)
    with pytest.raises(CapacityError, match="more than 10"):
        dual_bound(network, forecast, most_states=10)
    silent = dual_bound(network, replace(forecast, rate=np.zeros((1, 1))))
    assert silent.value == 0.0
    assert np.isnan(silent.normalised)
