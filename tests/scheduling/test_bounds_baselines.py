"""All baselines of the slotted network against both bounds, on single pairs, tuples and routes together."""

import numpy as np
import pytest

from ceas.network.slot_engine import run_slotted
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork, draw_sample_path
from ceas.scheduling.bounds_dual import dual_bound
from ceas.scheduling.bounds_hindsight import hindsight_bound
from ceas.scheduling.slotted_baselines import BASELINES

N_SLOTS, N_RUNS = 300, 12
# Standard errors by which a normal mean exceeds its expectation with chance 1e-7.
SIGMAS = 5.2
RING = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 0]])
ROUTES = [[link] for link in range(6)] * 2 + [[0, 1], [2, 3], [4, 5]] + [[link] for link in range(6)]
# Class of each route: impatient and patient single pairs, routes of two links, pairs of two.
CLASSES = [0] * 6 + [1] * 6 + [2] * 3 + [3] * 6


def ring_network() -> SlottedNetwork:
    return SlottedNetwork(
        edges=RING,
        success_probability=np.full(6, 0.4),
        initial_werner=np.full(6, 0.95),
        claimed_werner=np.full(6, 0.97),
        coherence_slots=np.full(6, 30.0),
        lifetime_slots=np.full(6, 9),
        memory_slots=np.full(6, 3),
        attempts_per_slot=np.ones(6, dtype=np.int64),
        swap_success_probability=0.75,
        swap_werner=0.99,
    )


def ring_forecast() -> Forecast:
    return Forecast(
        rate=np.tile([0.05, 0.04, 0.06, 0.03], (6, 1)),
        minimum_fidelity=np.array([0.85, 0.0, 0.6, 0.6]),
        weight=np.array([3.0, 1.0, 2.0, 4.0]),
        kind=np.array([0, 1, 1, 0]),
        patience_slots=np.array([0, 6, 3, 4]),
        n_pairs=np.array([1, 1, 1, 2]),
    )


def ring_requests(rng: np.random.Generator) -> RequestTable:
    forecast = ring_forecast()
    rates = forecast.rate[0, np.array(CLASSES)]
    counts = rng.poisson(rates, (N_SLOTS, len(ROUTES)))
    arrival, route = (np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(2, -1))
    label = np.array(CLASSES)[route]
    return RequestTable(
        route_first=np.concatenate([[0], np.cumsum([len(ROUTES[r]) for r in route])]).astype(np.int64),
        route_link=np.concatenate([np.array(ROUTES[r]) for r in route]).astype(np.int64),
        announced=arrival,
        arrival=arrival,
        deadline=arrival + forecast.patience_slots[label],
        n_pairs=forecast.n_pairs[label],
        minimum_fidelity=forecast.minimum_fidelity[label],
        weight=forecast.weight[label],
        kind=forecast.kind[label],
        request_class=label,
        user=label,
    )


@pytest.fixture(scope="module")
def instances() -> list[tuple[RequestTable, SamplePath, float, float]]:
    rng = np.random.default_rng(11)
    network, found = ring_network(), []
    for _ in range(N_RUNS):
        requests, path = ring_requests(rng), draw_sample_path(network, N_SLOTS, rng)
        seen = hindsight_bound(network, requests, path).value
        expected = hindsight_bound(network, requests, path, swaps="expected").value
        found.append((requests, path, seen, expected))
    return found


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_passes_a_bound(name: str, instances: list[tuple[RequestTable, SamplePath, float, float]]) -> None:
    """Every run against the clairvoyant; the mean of 12 against the expected swaps and the dual, false alarm 1e-7."""
    network, forecast = ring_network(), ring_forecast()
    policy = BASELINES[name](network, forecast)
    dual = dual_bound(network, forecast, hops=np.array([1, 1, 2, 1]), most_evaluations=10)
    above_expected, above_dual = [], []
    for requests, path, seen, expected in instances:
        record = run_slotted(network, requests, path, policy)
        value = float(record.served_value.sum())
        assert record.purified.sum() == 0
        assert 0.0 < value <= seen + 1e-6
        assert expected <= seen + 1e-6
        above_expected.append(value - expected)
        above_dual.append(value - N_SLOTS * dual.value - dual.transient)
    for above in (above_expected, above_dual):
        assert np.mean(above) <= SIGMAS * np.std(above) / np.sqrt(N_RUNS)
