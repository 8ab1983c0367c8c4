"""Waiting times in slots against exact Markov chains, small simulations and golden values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas import physics
from ceas.errors import DomainError

repeatable = settings(deadline=None, derandomize=True)


def two_links_by_chain(p: float, cutoff: int, swap: float) -> tuple[float, float]:
    """Mean slots from the chain over states (no pair, one pair of age 0 ... cutoff - 1), and one-round success."""
    n = cutoff + 1
    stay = np.zeros((n, n))
    done = np.zeros(n)
    stay[0, 0] = (1 - p) ** 2
    done[0] = p**2
    if cutoff == 0:
        stay[0, 0] += 2 * p * (1 - p)
    else:
        stay[0, 1] = 2 * p * (1 - p)
    for age in range(cutoff):
        done[1 + age] = p
        stay[1 + age, 2 + age if age + 1 < cutoff else 0] += 1 - p
    # A failed swap starts over.
    stay[:, 0] += done * (1 - swap)
    slots = np.linalg.solve(np.eye(n) - stay, np.ones(n))
    first = done[0] / (1 - (1 - p) ** 2)
    later = 2 * p * (1 - p) / (1 - (1 - p) ** 2) * (1 - (1 - p) ** cutoff)
    return float(slots[0]), float(first + later)


@pytest.mark.parametrize("swap", [1.0, 0.5])
@pytest.mark.parametrize("cutoff", [0, 1, 2, 7])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.9, 1.0])
def test_two_links_are_their_markov_chain(p: float, cutoff: int, swap: float) -> None:
    links = physics.two_links_with_cutoff(p, cutoff, swap_success_probability=swap)
    slots, success = two_links_by_chain(p, cutoff, swap)
    np.testing.assert_allclose(links.mean_slots, slots, rtol=1e-12)
    np.testing.assert_allclose(links.attempt_success_probability, success, rtol=1e-12)


def test_golden_two_links() -> None:
    """Three nodes: p .5 t 2: 2.8; p .2 t 2: 10.154639; p .9 t 2: 1.212305; p .1 t 5: 20.75117, 0.440588."""
    p, cutoff, slots = np.array([0.5, 0.2, 0.9, 0.1]), np.array([2, 2, 2, 5]), [2.8, 10.154639, 1.212305, 20.75117]
    links = physics.two_links_with_cutoff(p, cutoff)
    np.testing.assert_allclose(links.mean_slots, slots, atol=5e-6)
    np.testing.assert_allclose(links.attempt_success_probability[3], 0.440588, atol=5e-7)
    published = (2 * p**3 - 6 * p**2 + 4 * p + 1) / (2 * p**4 - 6 * p**3 + 5 * p**2)
    np.testing.assert_allclose(links.mean_slots[:3], published[:3], rtol=1e-12)


def test_storage_loss_of_two_links_is_its_sum() -> None:
    """Waits: 0 with probability p^2, d with 2 p q q^(d-1) p, up to the cutoff, given success."""
    p, cutoff, kept = 0.2, 9, 0.93
    waits = np.arange(1, cutoff + 1)
    chances = np.concatenate([[p**2], 2 * p * (1 - p) * (1 - p) ** (waits - 1) * p])
    expected = np.sum(chances * kept ** np.arange(cutoff + 1)) / chances.sum()
    links = physics.two_links_with_cutoff(p, cutoff, retained_per_slot=kept)
    np.testing.assert_allclose(links.retained, expected, rtol=1e-12)


def test_two_links_without_cutoff_and_without_loss() -> None:
    endless = physics.two_links_with_cutoff(0.1, np.inf)
    np.testing.assert_allclose(endless.mean_slots, (3 - 0.2) / (0.1 * 1.9), rtol=1e-12)
    np.testing.assert_allclose([endless.attempt_success_probability, endless.retained], 1.0, rtol=1e-12)
    certain = physics.two_links_with_cutoff(1.0, 3, retained_per_slot=0.5)
    np.testing.assert_allclose([certain.mean_slots, certain.retained], 1.0)
    with pytest.raises(DomainError, match="cutoff_slots"):
        physics.two_links_with_cutoff(0.1, -1)


def test_two_links_against_simulation() -> None:
    """200,000 runs of p = .3, t = 4, r = .9: two-sided 6 standard errors (false alarm 2e-9) on slots and on loss."""
    p, cutoff, kept, runs = 0.3, 4, 0.9, 200_000
    rng = np.random.default_rng(5)
    slots, factor, active = np.zeros(runs), np.zeros(runs), np.ones(runs, dtype=bool)
    while active.any():
        a, b = rng.geometric(p, active.sum()), rng.geometric(p, active.sum())
        wait = np.abs(a - b)
        good = wait <= cutoff
        slots[active] += np.where(good, np.maximum(a, b), np.minimum(a, b) + cutoff)
        factor[active] = np.where(good, kept**wait, 0.0)
        active[np.flatnonzero(active)[good]] = False
    links = physics.two_links_with_cutoff(p, cutoff, retained_per_slot=kept)
    for sample, expected in ((slots, links.mean_slots), (factor, links.retained)):
        assert abs(sample.mean() - expected) < 6 * sample.std() / np.sqrt(runs)


@pytest.mark.parametrize(
    ("links", "p", "slots", "tolerance"),
    [(4, 0.1, 20.2734, 5e-5), (50, 0.1, 43.203, 5e-4), (50, 0.3, 13.114, 5e-4), (250, 0.1, 58.403, 5e-4)],
)
def test_golden_waits_for_all_links(links: int, p: float, slots: float, tolerance: float) -> None:
    assert abs(physics.expected_slots_all_links(p, links) - slots) < tolerance


@repeatable
@given(st.integers(1, 12), st.floats(0.05, 0.95))
def test_waiting_for_all_links_is_inclusion_and_exclusion(links: int, p: float) -> None:
    from math import comb

    exact = sum((-1) ** (k + 1) * comb(links, k) / (1 - (1 - p) ** k) for k in range(1, links + 1))
    np.testing.assert_allclose(physics.expected_slots_all_links(p, links), exact, rtol=1e-9)
    np.testing.assert_allclose(physics.expected_slots_all_links(p, 1), 1 / p, rtol=1e-9)


def test_a_quorum_waits_shorter() -> None:
    """34 of 50 links at small p: H_50 - H_16 = 1.12 instead of H_50 = 4.50, and the exact sum joins the limit."""
    for needed, harmonic in ((50, 4.4992), (34, 1.1185)):
        summed = physics.expected_slots_all_links(1.001e-4, 50, needed)
        limit = physics.expected_slots_all_links(0.999e-4, 50, needed)
        np.testing.assert_allclose(summed * 1.001e-4, limit * 0.999e-4, rtol=1e-5)
        np.testing.assert_allclose(limit * 0.999e-4, harmonic, rtol=1e-3)
    rng = np.random.default_rng(7)
    sample = np.sort(rng.geometric(0.2, (40_000, 10)), axis=1)[:, 6]
    expected = physics.expected_slots_all_links(0.2, 10, 7)
    # Two-sided 6 standard errors, false alarm 2e-9.
    assert abs(sample.mean() - expected) < 6 * sample.std() / np.sqrt(len(sample))
    assert physics.expected_slots_all_links(1.0, 10) == 1.0
    with pytest.raises(DomainError, match="needed"):
        physics.expected_slots_all_links(0.1, 3, 4)


@pytest.mark.parametrize(("p", "window"), [(0.1, 2), (0.1, 5), (0.4, 3)])
def test_two_pairs_in_a_window_are_their_markov_chain(p: float, window: int) -> None:
    """States: slots since the last success, up to the window."""
    stay = np.zeros((window, window))
    stay[0, 0], stay[0, 1] = 1 - p, p
    for since in range(1, window):
        # A success now ends it; a failure ages the last one, beyond the window it is as if there were none.
        stay[since, since + 1 if since + 1 < window else 0] += 1 - p
    slots = np.linalg.solve(np.eye(window) - stay, np.ones(window))
    np.testing.assert_allclose(physics.expected_slots_two_in_window(p, window), slots[0], rtol=1e-12)


def test_barrier_readiness_and_its_golden_windows() -> None:
    """50 links ready at 90 %: about 17.3 slots at p = .3 and 58.5 at p = .1, so 18 and 59 are the first whole ones."""
    for p, enough in ((0.3, 18), (0.1, 59)):
        assert physics.barrier_ready_probability(p, enough - 1, 1, 50) < 0.9
        assert physics.barrier_ready_probability(p, enough, 1, 50) >= 0.9
    from math import comb

    tail = sum(comb(6, k) * 0.3**k * 0.7 ** (6 - k) for k in range(2, 7))
    np.testing.assert_allclose(physics.barrier_ready_probability(0.3, 6, 2, 3), tail**3, rtol=1e-12)
    assert physics.barrier_ready_probability(0.3, 2, 3, 1) == 0.0


def test_the_nested_estimate_is_as_wrong_as_it_says() -> None:
    """Exact at one level for small p; 8 % high at two without swap failures, by the exact waits of 2 and 4 links."""
    p = 1e-5
    two, four = physics.expected_slots_all_links(p, 2), physics.expected_slots_all_links(p, 4)
    np.testing.assert_allclose(physics.nested_swap_slots_estimate(p, 1.0, 1), two, rtol=1e-4)
    np.testing.assert_allclose(physics.nested_swap_slots_estimate(p, 1.0, 2) / four, 1.08, atol=1e-3)
    np.testing.assert_allclose(physics.nested_swap_slots_estimate(p, 0.5, 1), 2 * two, rtol=1e-4)
    np.testing.assert_allclose(physics.nested_swap_slots_estimate(p, 0.5, 0), 1 / p)
