"""Bounds on pairs that were not tested: exact enumeration, limits, and the steering bound against random states."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from ceas import physics
from ceas.errors import DomainError
from ceas.physics.untested import _least_mean, _relative_entropy


def pass_distribution(chances: np.ndarray) -> np.ndarray:
    """Distribution of the number of passes of independent tests."""
    total = np.ones(1)
    for chance in chances:
        total = np.convolve(total, [1 - chance, chance])
    return total


def failure(chances: np.ndarray, n_tests: int, delta: float) -> tuple[float, float]:
    """Exact probability that the lower bound, or the estimate less its radius, is above the untested pairs' mean."""
    n_pairs = len(chances)
    lower = physics.untested_pass_lower_bound(np.arange(n_tests + 1), n_tests, n_pairs, delta)
    radius = physics.untested_fidelity_radius(n_pairs, n_tests, delta) / 1.5
    sets = list(itertools.combinations(range(n_pairs), n_tests))
    of_bound = of_radius = 0.0
    for tested in sets:
        mask = np.isin(np.arange(n_pairs), tested)
        law, truth = pass_distribution(chances[mask]), chances[~mask].mean()
        of_bound += law[lower > truth + 1e-12].sum() / len(sets)
        of_radius += law[np.arange(n_tests + 1) / n_tests > truth + radius + 1e-12].sum() / len(sets)
    return float(of_bound), float(of_radius)


@pytest.mark.parametrize("n_tests", [2, 4, 6])
@pytest.mark.parametrize("delta", [0.25, 0.05])
def test_exact_failure_of_every_small_mixture_stays_below_delta(n_tests: int, delta: float) -> None:
    """All blocks of 9 pairs with chances from three values, every set of tests: no chance, no seed."""
    for counts in itertools.product(range(0, 10, 3), repeat=2):
        if sum(counts) <= 9:
            chances = np.repeat([0.5, 0.8, 1.0], [*counts, 9 - sum(counts)])
            assert max(failure(chances, n_tests, delta)) <= delta


@pytest.mark.parametrize(("n_pairs", "n_tests"), [(4096, 1024), (2000, 100), (1000, 900)])
def test_exact_failure_of_large_blocks_of_perfect_and_useless_pairs(n_pairs: int, n_tests: int) -> None:
    """Pairs that always or never pass, the widest spread there is: tests are a hypergeometric sample.

    That is wider than [1/2, 1], for which the radius is made, so only the bound is held against it."""
    lower = physics.untested_pass_lower_bound(np.arange(n_tests + 1), n_tests, n_pairs, 0.01)
    worst = 0.0
    for share in (0.5, 0.75, 0.9, 0.99):
        good = round(n_pairs * share)
        passed = np.arange(n_tests + 1)
        truth = (good - passed) / (n_pairs - n_tests)
        failed = hypergeom.pmf(passed, n_pairs, good, n_tests)[lower > truth].sum()
        assert failed <= 0.01
        worst = max(worst, failed)
    # Not idle, unless most pairs are tested, for which the bound is loose.
    assert worst > 1e-5 or n_tests > n_pairs / 2


def test_equal_pairs_fail_about_as_often_as_chernoff_allows() -> None:
    """2,000 of 10^6 equal pairs, by the binomial law: below delta, and within an order of magnitude of it."""
    lower = physics.untested_pass_lower_bound(np.arange(2001), 2000, 10**6, 0.01)
    for chance in (0.6, 0.9, 0.97):
        failed = binom.pmf(np.arange(2001), 2000, chance)[lower > chance].sum()
        assert 1e-4 < failed <= 0.01


@given(st.integers(2, 3000), st.data(), st.floats(1e-9, 0.25))
def test_bounds_are_ordered_monotone_and_tighten(n_pairs: int, data: st.DataObject, delta: float) -> None:
    n_tests = data.draw(st.integers(1, n_pairs - 1))
    passed = np.arange(n_tests + 1)
    lower, upper = physics.untested_fidelity_bounds(passed, n_tests, n_pairs, delta)
    estimate = np.clip((3 * passed / n_tests - 1) / 2, 0, 1)
    assert np.all(np.diff(lower) >= 0)
    assert np.all(np.diff(upper) >= -1e-9)
    assert np.all(lower <= estimate + 1e-9)
    assert np.all(estimate <= upper + 1e-9)
    looser, _ = physics.untested_fidelity_bounds(passed, n_tests, n_pairs, delta / 2)
    assert np.all(looser <= lower + 1e-9)


def test_radius_by_hand() -> None:
    """Few of many: Hoeffding's 1.5 sqrt(ln(1/delta)/2k), 1,521 tests for 0.05 in P at 1e-3, both ways."""
    assert physics.untested_fidelity_radius(10**9, 1521, 1e-3, two_sided=True) == pytest.approx(1.5 * 0.05, rel=1e-3)
    ratio = 1024 / 3072
    joint = (1 + ratio / 2) ** 2
    apart = 1 + 0.25 * 4096 * 3073 / 3072**2
    wanted = 1.5 * np.sqrt(min(joint, apart) * np.log(100) / 2048)
    assert physics.untested_fidelity_radius(4096, 1024, 0.01) == pytest.approx(wanted)


@given(st.floats(0.001, 0.999), st.floats(1e-6, 1.0))
def test_the_least_mean_is_on_the_edge(w: float, limit: float) -> None:
    found = _least_mean(np.array([w]), np.array([limit]))
    assert 0 <= found[0] <= w
    assert found[0] < 1e-12 or _relative_entropy(np.array([w]), found)[0] == pytest.approx(limit, rel=1e-6)


def random_pure_pairs(count: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    states = rng.normal(size=(count, 2, 2)) + 1j * rng.normal(size=(count, 2, 2))
    return np.asarray(states / np.linalg.norm(states, axis=(1, 2), keepdims=True))


PAULIS = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def best_pass(state: np.ndarray) -> float:
    """Best chance of the second end to name the first one's outcome, by Helstrom's bound, mean of three bases."""
    marginals = [np.einsum("ab,ac,cd->bd", state.conj(), pauli, state) for pauli in PAULIS]
    return float(0.5 + np.mean([np.abs(np.linalg.eigvalsh(one)).sum() for one in marginals]) / 2)


def test_no_pure_pair_proves_more_than_its_end_can_make_of_it() -> None:
    """500 random pure pairs: by local operations of one end at most (1 + concurrence)/2."""
    for state in random_pure_pairs(500):
        concurrence = 2 * abs(np.linalg.det(state))
        assert physics.one_sided_fidelity(best_pass(state)) <= (1 + concurrence) / 2 + 1e-12


def test_the_steering_bound_is_reached() -> None:
    """A state along (1, 1, 1) at the honest end; and the perfect pair."""
    vector = np.array([np.cos(np.arccos(3**-0.5) / 2), np.exp(0.25j * np.pi) * np.sin(np.arccos(3**-0.5) / 2)])
    product = np.outer(vector, [1, 0])
    assert best_pass(product) == pytest.approx((1 + 3**-0.5) / 2)
    assert physics.one_sided_fidelity(best_pass(product)) == pytest.approx(0.5)
    assert physics.one_sided_fidelity(1.0) == 1.0
    # The formula for two honest ends would have it well entangled.
    assert physics.fidelity_from_pass_rate(best_pass(product)) > 0.68


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((10, 10, 0.1), "n_tests"), ((10, 0, 0.1), "n_tests"), ((10, 5, 0.3), "failure_probability")],
)
def test_arguments_outside_their_domain(arguments: tuple[int, int, float], name: str) -> None:
    with pytest.raises(DomainError, match=name):
        physics.untested_fidelity_radius(*arguments)
    with pytest.raises(DomainError, match="passed"):
        physics.untested_pass_lower_bound(6, 5, 10, 0.1)
