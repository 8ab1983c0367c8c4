"""The benchmark's repeater: closed forms, batch means, and the same repeater in other programs."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments.benchmark_network_peers import run_sequence, run_simqn, run_simqn_skipping
from ceas.experiments.repeater_benchmark import (
    Estimate,
    Repeater,
    RepeaterRun,
    Timing,
    batch_estimates,
    one_memory_expectation,
)

INSTANT = Timing(wall_s=0.0, cpu_s=0.0)


def by_hand(repeater: Repeater) -> tuple[float, float]:
    """The one-memory repeater's rate and fidelity, summed over its outcomes instead of in closed form."""
    p, tau = repeater.success_probability, repeater.cutoff_attempts or 10_000
    q, period_s = 1.0 - p, repeater.attempt_period_ns / 1e9
    decay = math.exp(-repeater.decay_rate_hz * period_s)
    one = 2.0 * p * q
    some = one + p * p
    delivered = p * p / some + sum(one / some * p * q ** (k - 1) for k in range(1, tau + 1))
    werner = p * p / some + sum(one / some * p * q ** (k - 1) * decay**k for k in range(1, tau + 1))
    waited = sum(one / some * p * q ** (k - 1) * k for k in range(1, tau + 1)) + one / some * q**tau * tau
    attempts = (1.0 / some + waited) / delivered
    idle = math.ceil(repeater.latency_ns / repeater.attempt_period_ns)
    news = math.exp(-repeater.decay_rate_hz * repeater.latency_ns / 1e9)
    return 1.0 / ((attempts + idle) * period_s), 0.25 + 0.75 * repeater.initial_werner**2 * news * werner / delivered


@pytest.mark.parametrize("cutoff", [1, 5, 40, None])
@pytest.mark.parametrize("link_km", [5.0, 20.0, 50.0])
def test_the_closed_form_is_the_sum_over_outcomes(cutoff: int | None, link_km: float) -> None:
    repeater = Repeater(memories=1, cutoff_attempts=cutoff, link_km=link_km)
    np.testing.assert_allclose(one_memory_expectation(repeater), by_hand(repeater), rtol=1e-9)


def test_the_closed_form_without_cutoff_has_the_known_number_of_attempts() -> None:
    """Collins et al.: (3 - 2 p) / (p (2 - p)) attempts until both links have a pair."""
    repeater = Repeater(memories=1)
    p, period_s = repeater.success_probability, repeater.attempt_period_ns / 1e9
    rate, _ = one_memory_expectation(repeater)
    assert 1.0 / (rate * period_s) - 1.0 == pytest.approx((3.0 - 2.0 * p) / (p * (2.0 - p)), rel=1e-12)


def test_parameters_follow_from_the_hardware() -> None:
    repeater = Repeater()
    assert repeater.success_probability == pytest.approx(0.5 * (0.75 * 0.9 * 10**-0.2) ** 2)
    assert (repeater.latency_ns, repeater.attempt_period_ns) == (100_000, 200_000)
    assert repeater.initial_werner == pytest.approx(2.8 / 3.0)
    assert Repeater(link_km=1.0).attempt_period_ns == 50_000
    assert Repeater(memories=7).attempt_period_ns == 200_004


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"link_km": 0.0}, "link_km"),
        ({"memories": 0}, "memories"),
        ({"memory_efficiency": 0.0}, "memory_efficiency"),
        ({"detector_efficiency": 1.1}, "detector_efficiency"),
        ({"coherence_time_s": -1.0}, "coherence_time_s"),
        ({"memories": 1, "cutoff_attempts": 0}, "cutoff_attempts"),
        ({"memories": 2, "cutoff_attempts": 3}, "cutoff_attempts"),
    ],
)
def test_impossible_repeaters_are_refused(change: dict[str, float], name: str) -> None:
    with pytest.raises(DomainError, match=f"Argument `{name}` must be "):
        Repeater(**change)  # type: ignore[arg-type]


def test_only_one_memory_has_a_closed_form() -> None:
    with pytest.raises(DomainError, match="`memories` must be 1"):
        one_memory_expectation(Repeater())


def test_batch_means_have_honest_errors() -> None:
    """Poisson deliveries: 400 runs of 16 batches, errors against the known spread.

    The mean of 400 estimated variances has a relative standard deviation of about sqrt(2 / 15 / 400) = 1.8 %; the bound
    of 11 % is six of them, a false alarm in fewer than 1e-8 of all runs.
    """
    rng, squares = np.random.default_rng(3), []
    for _ in range(400):
        count = rng.poisson(50.0, 17).astype(np.float64)
        run = RepeaterRun(count=count, fidelity_sum=0.9 * count, batch_s=0.5, events=None, timing=INSTANT)
        rate, fidelity = batch_estimates(run)
        squares.append((rate.error**2, fidelity.error))
        assert fidelity.mean == pytest.approx(0.9)
    assert np.mean([square for square, _ in squares]) == pytest.approx(50.0 / 0.25 / 16, rel=0.11)
    assert max(error for _, error in squares) < 1e-12


def test_batches_without_deliveries_are_refused() -> None:
    nothing = RepeaterRun(count=np.zeros(5), fidelity_sum=np.zeros(5), batch_s=1.0, events=None, timing=INSTANT)
    with pytest.raises(DomainError, match="2 batches with deliveries"):
        batch_estimates(nothing)


def test_deviations_are_in_standard_errors() -> None:
    assert Estimate(mean=1.0, error=3.0).deviation(Estimate(mean=11.0, error=4.0)) == pytest.approx(2.0)
    assert Estimate(mean=1.0, error=0.0).deviation(Estimate(mean=1.0, error=0.0)) == 0.0
    assert Estimate(mean=1.0, error=0.0).deviation(Estimate(mean=2.0, error=0.0)) == math.inf


def agree(run: RepeaterRun, reference: tuple[Estimate, Estimate]) -> None:
    """Six standard errors with at least 31 degrees of freedom: a false alarm in about 1e-6 of all runs."""
    for found, expected in zip(batch_estimates(run), reference, strict=True):
        assert found.deviation(expected) < 6.0, (found, expected)


def exactly(repeater: Repeater) -> tuple[Estimate, Estimate]:
    rate, fidelity = one_memory_expectation(repeater)
    return Estimate(mean=rate, error=0.0), Estimate(mean=fidelity, error=0.0)


def test_the_second_writing_follows_the_closed_form(second_writing: Callable[..., RepeaterRun]) -> None:
    repeater = Repeater(memories=1)
    agree(second_writing(repeater, 33, 2.0, 1), exactly(repeater))


@pytest.mark.parametrize("run", [run_simqn, run_simqn_skipping])
@pytest.mark.parametrize("cutoff", [None, 5])
def test_simqn_follows_the_closed_form(run: object, cutoff: int | None) -> None:
    pytest.importorskip("qns")
    repeater = Repeater(memories=1, cutoff_attempts=cutoff)
    agree(run(repeater, 33, 0.5, 5), exactly(repeater))  # type: ignore[operator]


@pytest.mark.parametrize("run", [run_simqn, run_simqn_skipping])
def test_simqn_agrees_with_the_second_writing(run: object, second_writing: Callable[..., RepeaterRun]) -> None:
    pytest.importorskip("qns")
    agree(run(Repeater(), 33, 0.1, 5), batch_estimates(second_writing(Repeater(), 33, 0.5, 2)))  # type: ignore[operator]


def test_sequence_delivers_what_its_swap_says() -> None:
    """Its swap multiplies the fidelities at birth and a fixed 0.95, whatever the storage."""
    pytest.importorskip("sequence")
    run = run_sequence(Repeater(memories=2), 4, 0.05, 1)
    assert run.count.sum() > 10
    assert run.fidelity_sum.sum() / run.count.sum() == pytest.approx(0.95**3)
    with pytest.raises(DomainError, match="`cutoff_attempts` must be None for SeQUeNCe"):
        run_sequence(Repeater(memories=1, cutoff_attempts=3), 4, 0.05, 1)
