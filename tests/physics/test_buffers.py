"""Buffers and perishable stocks against simulations, Markov chains and golden values."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import UnknownNameError

repeatable = settings(deadline=None, derandomize=True)


def test_golden_purified_buffer() -> None:
    """Gamma .2, F_new .9, lambda 1, mu .5, q .5, s .8, m .85, n .12: A .62500, F .74186."""
    buffer = physics.buffer_purified(
        1.0,
        0.5,
        0.2,
        0.9,
        purify_probability=0.5,
        purify_success_probability=0.8,
        jump_slope=0.85,
        jump_offset=0.12,
    )
    np.testing.assert_allclose(buffer.availability, 0.625, atol=5e-6)
    np.testing.assert_allclose(buffer.consumed_fidelity, 0.74186, atol=5e-6)


def test_one_slot_buffer_closed_form() -> None:
    buffer = physics.buffer_one_slot(2.0, [0.5, 1.0], 0.3, 0.95)
    mu = np.array([0.5, 1.0])
    np.testing.assert_allclose(buffer.availability, 2.0 / (2.0 + mu))
    np.testing.assert_allclose(buffer.consumed_fidelity, 0.25 + 0.7 * mu / (mu + 0.3))


def test_purified_buffer_against_simulation() -> None:
    """4,000 independent buffers of 100 events each after a start of 60; bands of 6 standard errors over buffers."""
    rate, mu, decay, fresh, q, s, m, n = 1.0, 0.5, 0.2, 0.9, 0.5, 0.8, 0.85, 0.12
    rng, runs = np.random.default_rng(11), 4000
    fidelity = np.full(runs, np.nan)
    occupied, time = np.zeros(runs), np.zeros(runs)
    taken, number = np.zeros(runs), np.zeros(runs)
    for event in range(160):
        step = rng.exponential(1 / (rate + mu), runs)
        full = ~np.isnan(fidelity)
        fidelity = 0.25 + (fidelity - 0.25) * np.exp(-decay * step)
        if event >= 60:
            occupied += full * step
            time += step
        generated = rng.random(runs) < rate / (rate + mu)
        used = full & ~generated
        if event >= 60:
            taken += np.where(used, fidelity, 0.0)
            number += used
        purified = full & generated & (rng.random(runs) < q)
        passed = rng.random(runs) < s
        fidelity = np.where(purified, np.where(passed, m * fidelity + n, np.nan), fidelity)
        fidelity = np.where(used, np.nan, np.where(~full & generated, fresh, fidelity))
    buffer = physics.buffer_purified(
        rate,
        mu,
        decay,
        fresh,
        purify_probability=q,
        purify_success_probability=s,
        jump_slope=m,
        jump_offset=n,
    )
    for numerator, denominator, expected in (
        (occupied, time, buffer.availability),
        (taken, number, buffer.consumed_fidelity),
    ):
        ratio = numerator.sum() / denominator.sum()
        error = np.std(numerator - ratio * denominator) / np.sqrt(runs) / denominator.mean()
        assert abs(ratio - expected) < 6 * error


BUFFER = {"purify_probability": 0.0, "decay_per_slot": 0.02, "consumption_probability": 0.3}


@pytest.mark.parametrize(
    ("q", "rule", "availability", "fidelity"),
    [
        (0.0, "dejmps", 0.71429, 0.85899),
        (0.5, "linear", 0.69147, 0.88696),
        (1.0, "linear", 0.67257, 0.90071),
        (1.0, "replace", 0.71429, 0.88446),
        (0.5, "dejmps", 0.69133, 0.88546),
        (1.0, "dejmps", 0.67216, 0.89847),
    ],
)
def test_golden_one_good_and_many_bad_memories(q: float, rule: str, availability: float, fidelity: float) -> None:
    """n 2, p .5, F_new .9, Gamma .02, c .3. `linear` is a purification with b = 1/9, a little above DEJMPS's 13/120."""
    pair = physics.werner_bell_diagonal(physics.fidelity_to_werner(0.9))
    dejmps = physics.dejmps_coefficients(pair, 2)
    coefficients = {
        "dejmps": dejmps,
        "linear": replace(dejmps, b=np.full(2, 1 / 9)),
        "replace": physics.replacement_coefficients(0.9, 2),
    }[rule]
    buffer = physics.buffer_one_stored_many_generated(
        0.5, 0.9, coefficients=coefficients, **BUFFER | {"purify_probability": q}
    )
    np.testing.assert_allclose(buffer.availability, availability, atol=5e-6)
    np.testing.assert_allclose(buffer.consumed_fidelity, fidelity, atol=5e-6)


@repeatable
@given(st.floats(0.3, 1.0), st.lists(st.floats(1e-3, 1.0), min_size=4, max_size=4))
def test_dejmps_coefficients_are_dejmps_on_a_werner_pair(stored: float, raw: list[float]) -> None:
    fresh = np.array(raw) / np.sum(raw)
    step = physics.purify(physics.werner_bell_diagonal(physics.fidelity_to_werner(stored)), fresh)
    coefficients, x = physics.dejmps_coefficients(fresh, 3), stored - 0.25
    success = coefficients.c[1] * x + coefficients.d[1]
    np.testing.assert_allclose(success, step.success_probability, atol=1e-12)
    output = (coefficients.a[1] * x + coefficients.b[1]) / success + 0.25
    np.testing.assert_allclose(output, step.bell_diagonal[0], atol=1e-12)


def test_many_bad_memories_against_simulation() -> None:
    """4,000 buffers of 300 slots after a start of 60, with a non-Werner fresh pair; 6 standard errors over buffers."""
    fresh = np.array([0.85, 0.08, 0.02, 0.05])
    p, n, q, decay, consume = 0.3, 3, 0.7, 0.05, 0.2
    coefficients = physics.dejmps_coefficients(fresh, n)
    rng, runs = np.random.default_rng(13), 4000
    x = np.full(runs, np.nan)
    found, slots, taken, number = (np.zeros(runs) for _ in range(4))
    for slot in range(360):
        x = x * np.exp(-decay)
        full = ~np.isnan(x)
        used = full & (rng.random(runs) < consume)
        if slot >= 60:
            found += full
            slots += 1
            taken += np.where(used, x, 0.0)
            number += used
        x[used] = np.nan
        arrived = rng.binomial(n, p, runs) > 0
        meets = arrived & full & ~used & (rng.random(runs) < q)
        success = coefficients.c[0] * x + coefficients.d[0]
        output = (coefficients.a[0] * x + coefficients.b[0]) / success
        x = np.where(meets, np.where(rng.random(runs) < success, output, np.nan), x)
        x = np.where(arrived & ~full, fresh[0] - 0.25, x)
    buffer = physics.buffer_one_stored_many_generated(
        p, 0.85, purify_probability=q, decay_per_slot=decay, consumption_probability=consume, coefficients=coefficients
    )
    # A pair taken in a slot leaves it empty to the next, so the simulated stock at a slot's start is the availability.
    for numerator, denominator, expected in (
        (found, slots, buffer.availability),
        (taken, number, buffer.consumed_fidelity - 0.25),
    ):
        ratio = numerator.sum() / denominator.sum()
        error = np.std(numerator - ratio * denominator) / np.sqrt(runs) / denominator.mean()
        assert abs(ratio - expected) < 6 * error


@repeatable
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 6))
def test_continuous_distribution_is_its_markov_chain(p: float, c: float, slots: int) -> None:
    """Generate with probability p unless full, then take one with probability c if there is one."""
    chain = np.zeros((slots + 1, slots + 1))
    for held in range(slots + 1):
        for made, chance in ((1, p), (0, 1 - p)):
            after = min(held + made, slots)
            if after:
                chain[held, after - 1] += chance * c
                chain[held, after] += chance * (1 - c)
            else:
                chain[held, 0] += chance
    balance = np.vstack([chain.T - np.eye(slots + 1), np.ones(slots + 1)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(slots + 1), 1.0), rcond=None)[0]
    np.testing.assert_allclose(
        physics.continuous_distribution_availability(p, c, slots), 1 - stationary[0], rtol=1e-8, atol=1e-10
    )


def test_golden_continuous_distribution() -> None:
    """(p, c, r) = (.2, .3, 3): .5198; (.3, .2, 5): .9663; and the published fraction where it is not 0/0."""
    p, c, r = np.array([0.2, 0.3]), np.array([0.3, 0.2]), np.array([3, 5])
    found = physics.continuous_distribution_availability(p, c, r)
    np.testing.assert_allclose(found, [0.5198, 0.9663], atol=5e-5)
    top = p ** (r + 1) * (1 - c) ** r - p * (1 - p) ** (r - 1) * c**r * (1 - c)
    np.testing.assert_allclose(found, top / (p ** (r + 1) * (1 - c) ** r - (1 - p) ** r * c ** (r + 1)), rtol=1e-12)


def test_use_before_a_cutoff() -> None:
    """mu tau = 2: 0.864665, and 0.9 at mu tau = 2.303."""
    np.testing.assert_allclose(physics.use_before_cutoff(1.0, [2.0, np.log(10)]), [0.864665, 0.9], atol=5e-7)


@pytest.mark.parametrize(
    ("lifetime", "fifo", "lifo", "decay_fifo", "decay_lifo"),
    [(9.0, 0.9000, 0.8133, 0.6594, 0.8737), (3.0, 0.7500, 0.6813, 0.8639, 0.9264)],
)
def test_golden_perishable_stock(
    lifetime: float, fifo: float, lifo: float, decay_fifo: float, decay_lifo: float
) -> None:
    """lambda = mu = 1, decay .1."""
    for discipline, expected, decay in (("fifo", fifo, decay_fifo), ("lifo", lifo, decay_lifo)):
        found = physics.utilisation(1.0, 1.0, lifetime, discipline)
        kept = physics.mean_decay_at_use(1.0, 1.0, lifetime, 0.1, discipline)
        np.testing.assert_allclose([found, kept], [expected, decay], atol=5e-5)


@pytest.mark.parametrize(
    ("ratio", "fifo", "lifo", "digits"),
    [
        (0.9, np.inf, np.inf, 0.1),
        (1.0, 9.0, 31.7, 0.1),
        (1.1, 5.98, 15.9, 0.1),
        (1.25, 4.12, 8.75, 0.01),
        (1.5, 2.77, 4.84, 0.01),
        (2.0, 1.71, 2.47, 0.01),
        (3.0, 0.97, 1.22, 0.01),
        (5.0, 0.53, 0.60, 0.01),
    ],
)
def test_golden_pairs_per_lifetime_for_nine_tenths(ratio: float, fifo: float, lifo: float, digits: float) -> None:
    found = [physics.pairs_per_lifetime_needed(ratio, 0.9, discipline) for discipline in ("fifo", "lifo")]
    if np.isfinite(fifo):
        # The values needed are given rounded up or to the nearest.
        assert np.all(np.subtract(found, [fifo, lifo]) < digits / 2)
        assert np.all(np.subtract(found, [fifo, lifo]) > -digits)
        np.testing.assert_allclose(physics.utilisation(1.0, ratio, found[0], "fifo"), 0.9, atol=1e-9)
        np.testing.assert_allclose(physics.utilisation(1.0, ratio, found[1], "lifo"), 0.9, atol=1e-9)
    else:
        assert found == [np.inf, np.inf]


def stock_by_simulation(
    supply: float, demand: float, lifetime: float, decay: float, discipline: str, *, events: int, seed: int
) -> tuple[NDArray[np.float64], int]:
    """exp(-decay age) of every served pair, and the number of pairs made."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / (supply + demand), events))
    is_supply = rng.random(events) < supply / (supply + demand)
    stock: deque[float] = deque()
    ages = []
    for now, supplied in zip(times, is_supply, strict=True):
        while stock and now - stock[0] >= lifetime:
            stock.popleft()
        if supplied:
            stock.append(now)
        elif stock:
            ages.append(now - (stock.popleft() if discipline == "fifo" else stock.pop()))
    return np.exp(-decay * np.array(ages)), int(is_supply.sum())


@pytest.mark.parametrize("discipline", ["fifo", "lifo"])
@pytest.mark.parametrize(("supply", "demand", "lifetime"), [(1.0, 1.5, 4.0), (1.0, 0.6, 3.0)])
def test_perishable_stock_against_simulation(supply: float, demand: float, lifetime: float, discipline: str) -> None:
    """20 batches of 20,000 events: two-sided bands of 8 standard errors over batches, Student t with 19 degrees of
    freedom, so a false alarm has probability below 2e-7 each."""
    served, kept = [], []
    for seed in range(20):
        factors, made = stock_by_simulation(supply, demand, lifetime, 0.3, discipline, events=20_000, seed=seed)
        served.append(len(factors) / made)
        kept.append(factors.mean())
    for sample, expected in (
        (served, physics.utilisation(supply, demand, lifetime, discipline)),
        (kept, physics.mean_decay_at_use(supply, demand, lifetime, 0.3, discipline)),
    ):
        assert abs(np.mean(sample) - expected) < 8 * np.std(sample, ddof=1) / np.sqrt(20)


@repeatable
@given(st.floats(0.05, 20.0), st.floats(0.05, 20.0), st.floats(0.01, 50.0))
def test_oldest_first_serves_more_and_freshest_first_younger(supply: float, demand: float, lifetime: float) -> None:
    fifo, lifo = (physics.utilisation(supply, demand, lifetime, d) for d in ("fifo", "lifo"))
    assert 0.0 < lifo <= fifo + 1e-9
    assert fifo <= min(1.0, demand / supply) + 1e-9
    fifo_kept, lifo_kept = (
        physics.mean_decay_at_use(supply, demand, lifetime, 0.5 / lifetime, d) for d in ("fifo", "lifo")
    )
    assert lifo_kept >= fifo_kept - 1e-9
    # Oldest first, in closed form.
    growth = supply - demand
    if abs(growth * lifetime) > 1e-3 and growth * lifetime < 500:
        empty = 1 / (1 + supply * np.expm1(growth * lifetime) / growth)
        np.testing.assert_allclose(fifo, 1 - empty * np.exp(growth * lifetime), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(fifo * supply / demand, 1 - empty, rtol=1e-7)


@pytest.mark.parametrize("discipline", ["fifo", "lifo"])
def test_served_ages_integrate_to_the_utilisation(discipline: str) -> None:
    """Trapezoidal rule with 200,001 points, good to 1e-8 here."""
    ages = np.linspace(0.0, 6.0, 200_001)
    density = physics.served_age_density(ages, 1.3, 0.9, 6.0 + 1e-12, discipline)
    np.testing.assert_allclose(
        np.trapezoid(density, ages),
        physics.utilisation(1.3, 0.9, 6.0, discipline),
        rtol=1e-7,
    )
    assert physics.served_age_density(7.0, 1.3, 0.9, 6.0, discipline) == 0.0


def test_endless_stocks_neither_overflow_nor_lose_demand() -> None:
    for discipline in ("fifo", "lifo"):
        full = physics.utilisation([1.0, 2.0], [2.0, 1.0], 1e5, discipline)
        np.testing.assert_allclose(full, [1.0, 0.5], rtol=1e-4)
    with pytest.raises(UnknownNameError, match="lifo"):
        physics.utilisation(1.0, 1.0, 1.0, "lfio")


def test_exponential_lifetimes() -> None:
    """lambda = mu = 1: gamma .1 .7692, gamma .3 .6280; and the stationary law of a truncated birth-death chain."""
    np.testing.assert_allclose(
        [physics.exponential_lifetime_utilisation(1.0, 1.0, gamma) for gamma in (0.1, 0.3)],
        [0.7692, 0.6280],
        atol=5e-5,
    )
    supply, demand, loss, size = 3.0, 0.7, 0.4, 80
    generator = np.zeros((size, size))
    for k in range(size - 1):
        generator[k, k + 1] += supply
        generator[k + 1, k] += demand + (k + 1) * loss
    generator -= np.diag(generator.sum(axis=1))
    balance = np.vstack([generator.T, np.ones(size)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(size), 1.0), rcond=None)[0]
    np.testing.assert_allclose(
        physics.exponential_lifetime_utilisation(supply, demand, loss), demand * (1 - stationary[0]) / supply, rtol=1e-9
    )
    assert physics.exponential_lifetime_utilisation(1e4, 1.0, 1.0) < 1e-3
