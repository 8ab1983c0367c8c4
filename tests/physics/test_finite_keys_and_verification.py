"""Asymptotic and finite keys, sampling bounds, and tests of pairs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import DomainError
from ceas.physics import KeySecurity

Weights = NDArray[np.float64]
repeatable = settings(deadline=None, derandomize=True)
PAULIS = [
    np.array(m, dtype=complex) for m in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])
]
BELL = [np.kron(PAULIS[0], pauli) @ np.array([1, 0, 0, 1]) / np.sqrt(2) for pauli in PAULIS]


def density_matrix(weights: Weights) -> NDArray[np.complex128]:
    return np.asarray(sum(w * np.outer(b, b.conj()) for w, b in zip(weights, BELL, strict=True)))


@st.composite
def states(draw: st.DrawFn) -> Weights:
    raw = np.array(draw(st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4)))
    return np.asarray(raw / raw.sum())


@repeatable
@given(states())
def test_error_rates_are_measurement_statistics(weights: Weights) -> None:
    rho = density_matrix(weights)
    expected = [(1 - s * np.trace(rho @ np.kron(p, p)).real) / 2 for s, p in zip((1, -1, 1), PAULIS[1:], strict=True)]
    np.testing.assert_allclose(physics.pauli_error_rates(weights), expected, atol=1e-12)
    passed = np.mean([1 - error for error in expected])
    found = physics.joint_test_pass_probability(physics.bell_diagonal_to_werner(weights))
    np.testing.assert_allclose(found, passed, atol=1e-12)
    np.testing.assert_allclose(physics.fidelity_from_pass_rate(passed), weights[0], atol=1e-12)


@pytest.mark.parametrize(
    ("fidelity", "bbm92", "hashing"),
    [
        (0.99, 0.88444, 0.90336),
        (0.97, 0.71712, 0.75806),
        (0.95, 0.57832, 0.63435),
        (0.90, 0.29328, 0.37251),
        (0.85, 0.06201, 0.15242),
    ],
)
def test_golden_key_rates_of_werner_pairs(fidelity: float, bbm92: float, hashing: float) -> None:
    pair = physics.werner_bell_diagonal(physics.fidelity_to_werner(fidelity))
    np.testing.assert_allclose(physics.bbm92_key_fraction(pair), bbm92, atol=5e-6)
    np.testing.assert_allclose(physics.secret_key_fraction(physics.fidelity_to_werner(fidelity)), bbm92, atol=5e-6)
    np.testing.assert_allclose(physics.hashing_fraction(pair), hashing, atol=5e-6)
    np.testing.assert_allclose(physics.six_state_key_fraction(pair), hashing, atol=5e-6)


def test_rates_vanish_at_the_known_fidelities() -> None:
    for function, threshold in ((physics.bbm92_key_fraction, 0.834958), (physics.hashing_fraction, 0.810710)):
        below, above = (
            function(physics.werner_bell_diagonal(physics.fidelity_to_werner(threshold + shift)))
            for shift in (-1e-6, 1e-6)
        )
        assert below == 0.0 < above
    np.testing.assert_allclose(
        physics.quantum_bit_error_rate(physics.fidelity_to_werner(0.810710)), 0.126193, atol=1e-6
    )


@repeatable
@given(states())
def test_hashing_is_one_minus_the_states_entropy_and_never_below_bbm92(weights: Weights) -> None:
    spectrum = np.linalg.eigvalsh(density_matrix(weights))
    entropy = -sum(x * np.log2(x) for x in spectrum if x > 0)
    np.testing.assert_allclose(physics.hashing_fraction(weights), max(0.0, 1 - entropy), atol=1e-9)
    assert physics.hashing_fraction(weights) >= physics.bbm92_key_fraction(weights) - 1e-12


def test_dephased_pairs_keep_their_key_where_twirled_ones_lose_it() -> None:
    dephased = np.array([0.8, 0.0, 0.0, 0.2])
    np.testing.assert_allclose(physics.bbm92_key_fraction(dephased), 1 - physics.binary_entropy(0.2), atol=1e-12)
    assert physics.bbm92_key_fraction(physics.werner_bell_diagonal(physics.bell_diagonal_to_werner(dephased))) == 0.0


@repeatable
@given(st.integers(10, 10**7), st.integers(10, 10**7), st.floats(0.0, 0.1), st.floats(0.0, 0.1))
def test_finite_length_is_theorem_two(n: int, k: int, tested: float, key: float) -> None:
    """Written out a second time from the theorem: q = 1, logarithms to base 2 but for the one under the root."""
    security = KeySecurity(secrecy=1e-9, correctness=1e-12, correction_inefficiency=1.16)
    mu = np.sqrt((n + k) / (n * k) * (k + 1) / k * np.log(4 / 1e-9))
    phase = min(tested + mu, 0.5)

    def h(x: float) -> float:
        return 0.0 if x in (0.0, 1.0) else -x * np.log2(x) - (1 - x) * np.log2(1 - x)

    length = n * (1 - h(phase)) - 1.16 * n * h(key) - np.log2(2 / (1e-9**2 * 1e-12))
    np.testing.assert_allclose(
        physics.finite_key_length(n, k, tested, key, security), max(0.0, length), rtol=1e-9, atol=1e-6
    )


def test_serflings_bound_holds_for_random_subsets() -> None:
    """Exact hypergeometric tails, over all numbers of errors among 60 pairs, stay below delta."""
    from scipy.stats import hypergeom

    n, k, delta = 40, 20, 0.05
    deviation = float(physics.sampling_deviation(n, k, delta))
    worst = 0.0
    for errors in range(n + k + 1):
        tested = np.arange(min(errors, k) + 1)
        excess = (errors - tested) / n - tested / k
        worst = max(worst, hypergeom.pmf(tested, n + k, errors, k)[excess > deviation].sum())
    assert 0.0 < worst <= delta
    np.testing.assert_allclose(deviation, np.sqrt(60 * 21 * np.log(20) / (2 * 40 * 400)))


@repeatable
@given(st.integers(100, 30_000), st.floats(0.0, 0.08))
def test_the_best_split_is_that_of_brute_force(pairs: int, error_rate: float) -> None:
    split = physics.optimal_key_split(pairs, error_rate)
    k = np.arange(1, pairs)
    best = physics.finite_key_length(pairs - k, k, error_rate).max()
    assert split.n_test + split.n_key == pairs
    assert np.floor(best) - 1 <= split.key_bits <= best


def test_finite_keys_grow_towards_the_asymptotic_rate() -> None:
    """At F = 0.95 10^3 pairs give nothing; 10^12 come within 0.3 % of 1 - 2 h(Q) with ideal correction."""
    pair = physics.werner_bell_diagonal(physics.fidelity_to_werner(0.95))
    table = physics.finite_key_table(
        pair, [10**3, 10**4, 10**5, 10**6, 10**12], KeySecurity(correction_inefficiency=1.0)
    )
    fractions = table.key_fraction
    assert fractions[0] == 0.0
    assert np.all(np.diff(fractions) > 0)
    assert fractions[-1] < physics.bbm92_key_fraction(pair)
    np.testing.assert_allclose(fractions[-1], physics.bbm92_key_fraction(pair), rtol=3e-3)
    assert np.all(np.diff(table.n_test / (table.n_test + table.n_key))[1:] < 0)


def test_the_better_basis_makes_the_key() -> None:
    """A pair that is mostly dephased has few errors in Z: both assignments are tried, and shapes broadcast."""
    weights = np.array([[0.93, 0.01, 0.0, 0.06], [0.93, 0.06, 0.0, 0.01]])
    table = physics.finite_key_table(weights, [10**5, 10**6])
    assert table.key_bits.shape == (2, 2)
    np.testing.assert_array_equal(table.key_bits[:, 0], table.key_bits[:, 1])
    x, z = physics.pauli_error_rates(weights[0])[[0, 2]]
    both = [physics.optimal_key_split(10**5, *order).key_bits for order in itertools.permutations((x, z))]
    assert table.key_bits[0, 0] == max(both)


def test_margin_costs_key_and_bad_arguments_are_refused() -> None:
    strict = physics.finite_key_length(10**5, 10**4, 0.02)
    assert physics.finite_key_length(10**5, 10**4, 0.02, security=KeySecurity(error_rate_margin=0.01)) < strict
    for bad in ({"secrecy": 0.0}, {"correctness": 1.0}, {"correction_inefficiency": 0.9}):
        with pytest.raises(DomainError, match=next(iter(bad))):
            KeySecurity(**bad)
    with pytest.raises(DomainError, match="n_pairs"):
        physics.optimal_key_split(1, 0.02)


def test_golden_sample_sizes() -> None:
    np.testing.assert_array_equal(physics.certification_sample_size([0.01, 0.02, 0.05, 0.1], 0.01), [689, 344, 136, 67])
    np.testing.assert_array_equal(physics.estimation_sample_size([0.05, 0.02], 0.01), [2385, 14902])


def test_certification_size_is_the_smallest_that_suffices() -> None:
    """The chance that n tests pass at the limiting fidelity is (1 - 2 epsilon/3)^n."""
    n = physics.certification_sample_size(0.03, 1e-3)
    assert (1 - 2 * 0.03 / 3) ** n <= 1e-3 < (1 - 2 * 0.03 / 3) ** (n - 1)


def test_estimation_keeps_its_promise() -> None:
    """Exact binomial tails where Hoeffding is tightest, at P = 1/2: failure is below, and not far below, 0.05."""
    from scipy.stats import binom

    n = int(physics.estimation_sample_size(0.1, 0.05))
    passed = np.arange(n + 1)
    wrong = np.abs((3 * passed / n - 1) / 2 - 0.25) > 0.1
    failure = binom.pmf(passed, n, 0.5)[wrong].sum()
    assert 1e-3 < failure <= 0.05


def test_golden_sequential_test() -> None:
    """F 0.95 against 0.80 at 1 %: KL 0.0902 and 0.0593 nats; ln(1/delta)/KL = 51 and 78 tests."""
    test = physics.sequential_test(0.95, 0.80, 0.01, 0.01)
    np.testing.assert_allclose(test.divergence_bad_nats, 0.0902, atol=5e-5)
    np.testing.assert_allclose(test.divergence_good_nats, 0.0593, atol=5e-5)
    np.testing.assert_allclose(np.log(100) / test.divergence_bad_nats, 51, atol=0.5)
    np.testing.assert_allclose(np.log(100) / test.divergence_good_nats, 78, atol=0.5)
    # Wald's numbers are a little smaller, since an error ends a test as well.
    np.testing.assert_allclose(test.mean_tests_if_bad, np.log(99) * 0.98 / test.divergence_bad_nats, rtol=1e-12)
    with pytest.raises(DomainError, match="bad_fidelity"):
        physics.sequential_test(0.8, 0.9, 0.01, 0.01)
    with pytest.raises(DomainError, match="missed"):
        physics.sequential_test(0.95, 0.8, [0.01, 0.5], [0.98, 0.5])


def test_sequential_test_against_simulation() -> None:
    """20,000 runs a side. Wald's means ignore overshoot of at most one step, so the true mean may exceed them by up to
    `fail_step/KL` tests; the band adds 6 standard errors (false alarm 2e-9). Errors stay below alpha/(1 - beta)."""
    test = physics.sequential_test(0.95, 0.80, 0.01, 0.01)
    rng, runs = np.random.default_rng(3), 20_000
    for fidelity, mean, divergence, wrong_side in (
        (0.95, test.mean_tests_if_good, test.divergence_good_nats, 1),
        (0.80, test.mean_tests_if_bad, test.divergence_bad_nats, -1),
    ):
        total, tests, active = np.zeros(runs), np.zeros(runs), np.ones(runs, dtype=bool)
        while active.any():
            passed = rng.random(active.sum()) < (1 + 2 * fidelity) / 3
            total[active] += np.where(passed, test.pass_step, test.fail_step)
            tests[active] += 1
            active = (total < test.reject_above) & (total > test.accept_below)
        error = 6 * tests.std() / np.sqrt(runs)
        assert mean - error <= tests.mean() <= mean + test.fail_step / divergence + error
        share_wrong = np.mean(np.sign(total) == wrong_side)
        limit = 0.01 / 0.99
        assert share_wrong <= limit + 6 * np.sqrt(limit / runs)


def test_chsh_is_the_largest_value_over_settings() -> None:
    """Brute force over measurement directions on a grid of 5 degrees in the best plane, and the threshold 0.780330."""
    weights = np.array([0.75, 0.03, 0.02, 0.2])
    rho = density_matrix(weights)
    correlation = np.array([[np.trace(rho @ np.kron(p, q)).real for q in PAULIS[1:]] for p in PAULIS[1:]])
    values = []
    for one, other in itertools.combinations(range(3), 2):
        block = correlation[np.ix_([one, other], [one, other])]
        angles = np.radians(np.arange(0, 360, 5))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        # Bob's best answers to Alice's directions a and a' are along T(a + a') and T(a - a').
        plus = directions[:, None] + directions[None]
        minus = directions[:, None] - directions[None]
        values.append((np.linalg.norm(plus @ block, axis=-1) + np.linalg.norm(minus @ block, axis=-1)).max())
    chsh = float(physics.chsh_value(weights))
    assert chsh * (1 - 5e-3) <= max(values) <= chsh * (1 + 1e-12)
    np.testing.assert_allclose(physics.CHSH_WERNER_FIDELITY, 0.780330, atol=5e-7)
    edge = physics.werner_bell_diagonal(physics.fidelity_to_werner(physics.CHSH_WERNER_FIDELITY))
    np.testing.assert_allclose(physics.chsh_value(edge), 2.0, atol=1e-12)
    np.testing.assert_allclose(physics.chsh_value([1, 0, 0, 0]), 2 * np.sqrt(2), atol=1e-12)
