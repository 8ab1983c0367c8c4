"""Tuning by common random numbers, and what is learned of chances and rates that drift."""

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.scheduling.drift import DriftMonitor, run_with_monitor
from ceas.scheduling.tuning import tune


def test_tuning_finds_the_best_point_of_a_separable_objective():
    calls = []

    def objective(point):
        calls.append(dict(point))
        return -((point["a"] - 3.0) ** 2) - (point["b"] - 1.0) ** 2, 1.0

    best, tried = tune(objective, {"a": (0.0, 1.0, 3.0, 5.0), "b": (0.0, 1.0)}, budget=7)
    assert best.parameters == {"a": 3.0, "b": 1.0}
    assert len(tried) == len(calls) == len({tuple(one.items()) for one in calls})
    assert calls[0] == {"a": 0.0, "b": 0.0}


def test_a_small_grid_is_tried_as_a_whole_and_what_does_not_matter_keeps_its_default():
    best, tried = tune(lambda point: (point["a"], 0.5), {"a": range(8), "b": range(8)}, budget=64)
    assert len(tried) == 64
    assert best.parameters == {"a": 7, "b": 0}
    assert tune(lambda _: (1.0, float("nan")), {}, budget=3)[0].parameters == {}


def test_points_without_pairs_or_value_can_be_passed_over():
    values = {0: (float("nan"), float("nan")), 1: (0.0, float("nan")), 2: (0.5, 0.5)}
    best, _ = tune(lambda point: values[point["a"]], {"a": (0, 1, 2)}, budget=3)
    assert best.parameters == {"a": 2}
    best, _ = tune(lambda point: values[point["a"]], {"a": (0, 1, 2)}, budget=3, least_utilisation=0.9)
    assert best.parameters == {"a": 2}


def test_tuning_keeps_within_its_budget_and_to_the_utilisation_asked_for():
    def objective(point):
        return point["a"], 1.0 - 0.2 * point["a"]

    best, tried = tune(objective, {"a": (4.0, 0.0, 1.0, 2.0)}, budget=3)
    assert len(tried) == 3
    assert best.parameters == {"a": 4.0}
    frugal, _ = tune(objective, {"a": (4.0, 0.0, 1.0, 2.0)}, budget=4, least_utilisation=0.7)
    assert frugal.parameters == {"a": 1.0}
    unattainable, _ = tune(objective, {"a": (4.0, 1.0)}, budget=4, least_utilisation=0.95)
    assert unattainable.parameters == {"a": 1.0}


def test_tuning_refuses_nothing_to_try():
    with pytest.raises(DomainError, match="budget"):
        tune(lambda _: (0.0, 0.0), {"a": (1.0,)}, budget=0)
    with pytest.raises(DomainError, match="grid"):
        tune(lambda _: (0.0, 0.0), {"a": ()}, budget=1)


def believed(n_links, chance, rate):
    network = SlottedNetwork(
        edges=np.array([[at, at + 1] for at in range(n_links)]),
        success_probability=np.full(n_links, chance),
        initial_werner=np.full(n_links, 0.9),
        claimed_werner=np.full(n_links, 0.9),
        coherence_slots=np.full(n_links, 40.0),
        lifetime_slots=np.full(n_links, 10),
        memory_slots=np.full(n_links + 1, 2),
        attempts_per_slot=np.full(n_links + 1, 1),
    )
    forecast = Forecast(
        rate=np.full((n_links, 1), rate),
        minimum_fidelity=np.array([0.7]),
        weight=np.array([1.0]),
        kind=np.array([0]),
        patience_slots=np.array([3]),
        n_pairs=np.array([1]),
    )
    return network, forecast


def drawn_counts(rng, chances, rates, n_slots, attempts_share=0.5):
    """Cumulative counts after each chunk of 25 slots, of links with the given chances and rates by chunk."""
    n_chunks, n_links = chances.shape
    counts = [np.zeros(n_links, dtype=np.int64), np.zeros(n_links, dtype=np.int64), np.zeros((n_links, 1), np.int64)]
    for chunk in range(n_chunks):
        attempts = rng.binomial(n_slots, attempts_share, n_links)
        counts[0] = counts[0] + attempts
        counts[1] = counts[1] + rng.binomial(attempts, chances[chunk])
        counts[2] = counts[2] + rng.poisson(rates[chunk] * n_slots)[:, None]
        yield tuple(counts)


def test_drops_are_found_and_the_rest_is_left_alone():
    """A fifth of 50 links fall to 0.3 of their chance at mid-run of 800 slots.

    A chunk of 12 attempts differs by 1.6 standard deviations, so that about 7 of the 16 chunks show the change, and the
    others leave a standard error of 0.02. Of the others none may move by 0.12, over 4 standard errors of 100 attempts.
    """
    rng = np.random.default_rng(3)
    network, forecast = believed(50, 0.3, 0.2)
    degraded = np.arange(50) < 10
    late = np.arange(32)[:, None] >= 16
    chances = np.where(late & degraded, 0.09, 0.3)
    monitor = DriftMonitor(network, forecast)
    for chunk, counts in enumerate(drawn_counts(rng, chances, np.full((32, 50), 0.2), 25), 1):
        monitor.observe(counts, 25 * chunk)
    now, _ = monitor.knowledge()
    assert np.mean(np.abs(now.success_probability[degraded] - 0.09)) < 0.06
    assert (np.abs(now.success_probability[~degraded] - 0.3) < 0.12).all()
    assert monitor.n_changes >= 5


def test_rates_that_rise_are_found():
    """One link's requests become three times as many: 15 a chunk in place of 5, over 4 standard errors at once."""
    rng = np.random.default_rng(4)
    network, forecast = believed(3, 0.5, 0.2)
    rates = np.full((20, 3), 0.2)
    rates[10:, 1] = 0.6
    monitor = DriftMonitor(network, forecast)
    for chunk, counts in enumerate(drawn_counts(rng, np.full((20, 3), 0.5), rates, 25), 1):
        monitor.observe(counts, 25 * chunk)
    _, now = monitor.knowledge()
    assert now.rate[1, 0] == pytest.approx(0.6, abs=0.2)
    assert now.rate[[0, 2], 0] == pytest.approx([0.2, 0.2], abs=0.1)


def test_a_policy_is_built_anew_only_when_a_change_is_seen():
    network, forecast = believed(1, 0.5, 0.2)
    built = []

    def build(known, _):
        built.append(float(known.success_probability[0]))

    counts = [np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, 1), np.int64)]

    def advance(_, until):
        counts[0] = counts[0] + 25
        counts[1] = counts[1] + (12 if until <= 100 else 0)
        counts[2] = counts[2] + 5
        return tuple(counts)

    n_built = run_with_monitor(DriftMonitor(network, forecast), build, advance, n_slots=390)
    assert n_built == len(built) >= 2
    assert built[0] == 0.5
    assert built[1] < 0.2
    with pytest.raises(DomainError, match="chunk_slots"):
        run_with_monitor(DriftMonitor(network, forecast), build, advance, n_slots=10, chunk_slots=0)


def test_the_monitor_refuses_to_go_back_in_time():
    monitor = DriftMonitor(*believed(1, 0.5, 0.2))
    counts = (np.array([5]), np.array([2]), np.array([[1]]))
    monitor.observe(counts, 25)
    with pytest.raises(DomainError, match="slot"):
        monitor.observe(counts, 25)
