"""Measures of schedules: against sums over the full trace."""

import math
from collections.abc import Callable

import numpy as np
import pytest

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import Fate, NetworkModel, advance_round, initial_state
from ceas.network.records import FIDELITY_BINS
from ceas.scheduling.metrics import fidelity_mean, fidelity_quantile, schedule_metrics

BIN = 0.75 / FIDELITY_BINS


def test_measures_equal_sums_over_the_trace(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model()
    state = initial_state(model, seed=1, trace_every=1)
    policy = policies.random(model, pairs_per_link=0)
    records = [advance_round(state, model, policy) for _ in range(3)]
    pairs = np.concatenate([record.pairs for record in records])
    metrics = schedule_metrics(records)
    assert metrics.generated == len(pairs) + state.links["n_stored"].sum()
    assert metrics.fates[Fate.ALIVE] == state.links["n_stored"].sum()
    for fate in list(Fate)[1:]:
        assert metrics.fates[fate] == np.sum(pairs["fate"] == fate)
    used = np.isin(pairs["fate"], (Fate.LEARNING, Fate.KEY, Fate.TEST))
    assert metrics.utilisation == used.mean()
    assert metrics.utilisation_without_tests == np.mean(np.isin(pairs["fate"], (Fate.LEARNING, Fate.KEY)))
    fidelity = (1 + 3 * pairs["werner_at_end"].astype(np.float64)) / 4
    for row, fate in enumerate((Fate.LEARNING, Fate.KEY, Fate.TEST)):
        own = fidelity[pairs["fate"] == fate]
        assert abs(metrics.fidelity_at_use_mean[row] - own.mean()) < BIN / 2
        assert abs(metrics.fidelity_at_use_p05[row] - np.quantile(own, 0.05)) < BIN
    assert metrics.n_shots == np.sum(pairs["fate"] == Fate.LEARNING)
    assert metrics.key_served == np.sum(pairs["fate"] == Fate.KEY)
    assert metrics.key_requested == metrics.key_served + metrics.key_dropped + records[-1].key_waiting.sum()
    assert metrics.key_served_fraction == metrics.key_served / (metrics.key_served + metrics.key_dropped)
    assert 0 < metrics.key_wait_mean_s <= model.demand.key_deadline_ns * 1e-9
    assert 0 < metrics.shot_wait_mean_s < model.clock.learning_ns * 1e-9
    assert 0 < metrics.blocked_fraction < 1
    delivered = sum(record.delivered_value for record in records)
    np.testing.assert_allclose(metrics.delivered_value, [*delivered, 0.0])


def test_idle_qpu_time_is_window_less_busy_and_last_wait(small_model: Callable[..., NetworkModel]) -> None:
    """With one pair a shot: from the start of the window to the last shot a QPU either runs a shot or waits for one."""
    model = small_model()
    record = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    for learner in range(model.n_learners):
        times = record.shot_time_ns[record.shot_learner == learner]
        busy_ns = (len(times) - 1) * model.demand.shot_duration_ns[learner]
        assert record.shot_wait_ns[learner] == times[-1] - record.start_ns - busy_ns


def test_quantiles_interpolate_within_a_bin() -> None:
    histogram = np.zeros((2, FIDELITY_BINS), dtype=np.int64)
    histogram[0, 10], histogram[0, 20] = 3, 1
    assert fidelity_quantile(histogram, 0.375)[0] == pytest.approx(0.25 + 10.5 * BIN)
    assert fidelity_quantile(histogram, 0.75)[0] == pytest.approx(0.25 + 11 * BIN)
    assert fidelity_quantile(histogram, 1.0)[0] == pytest.approx(0.25 + 21 * BIN)
    assert fidelity_quantile(histogram, 0.0)[0] == pytest.approx(0.25 + 10 * BIN)
    assert fidelity_mean(histogram)[0] == pytest.approx(0.25 + 13 * BIN)
    assert math.isnan(fidelity_quantile(histogram, 0.5)[1])
    assert math.isnan(fidelity_mean(histogram)[1])


def test_perfect_pairs_fall_into_the_last_bin() -> None:
    histogram = np.zeros(FIDELITY_BINS, dtype=np.int64)
    histogram[-1] = 5
    assert fidelity_quantile(histogram, 1.0) == pytest.approx(1.0)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="records"):
        schedule_metrics([])
    with pytest.raises(DomainError, match="quantile"):
        fidelity_quantile(np.zeros(FIDELITY_BINS, dtype=np.int64), 1.5)


def test_run_without_pairs_has_no_ratios(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model(keys=0.0, shot_s=0.15)
    record = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    metrics = schedule_metrics([record])
    assert math.isnan(metrics.key_served_fraction)
    assert math.isnan(metrics.key_wait_mean_s)
