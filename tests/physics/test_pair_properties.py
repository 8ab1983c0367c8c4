"""Golden values, limits and algebraic properties of states, memories and keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import DomainError

Weights = NDArray[np.float64]

repeatable = settings(deadline=None, derandomize=True)
werners = st.floats(-1 / 3, 1.0)
times = st.floats(1e-3, 1e3)
durations = st.floats(0.0, 10.0)


@st.composite
def bell_diagonals(draw: st.DrawFn) -> Weights:
    raw = np.array(draw(st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4)))
    return np.asarray(raw / raw.sum())


@repeatable
@given(bell_diagonals(), bell_diagonals(), bell_diagonals())
def test_swapping_is_commutative_and_associative_and_keeps_probability(a: Weights, b: Weights, c: Weights) -> None:
    swap = physics.swap_bell_diagonal
    np.testing.assert_allclose(swap(a, b), swap(b, a), atol=1e-14)
    np.testing.assert_allclose(swap(swap(a, b), c), swap(a, swap(b, c)), atol=1e-14)
    assert swap(a, b).min() >= 0.0
    np.testing.assert_allclose(swap(a, b).sum(), 1.0, atol=1e-14)


@repeatable
@given(bell_diagonals())
def test_swapping_with_a_perfect_pair_changes_nothing(a: Weights) -> None:
    np.testing.assert_allclose(physics.swap_bell_diagonal(a, [1.0, 0.0, 0.0, 0.0]), a, atol=1e-15)


@pytest.mark.parametrize(
    ("first", "second", "product"), [(1, 2, 3), (1, 3, 2), (2, 3, 1), (1, 1, 0), (2, 2, 0), (3, 3, 0)]
)
def test_swapping_multiplies_pauli_errors(first: int, second: int, product: int) -> None:
    swapped = physics.swap_bell_diagonal(np.eye(4)[first], np.eye(4)[second])
    np.testing.assert_array_equal(swapped, np.eye(4)[product])


@repeatable
@given(werners, werners)
def test_werner_swap_is_the_bell_diagonal_swap(a: float, b: float) -> None:
    swapped = physics.swap_bell_diagonal(physics.werner_bell_diagonal(a), physics.werner_bell_diagonal(b))
    np.testing.assert_allclose(swapped, physics.werner_bell_diagonal(physics.swap_werner(a, b)), atol=1e-14)


def test_swap_golden_value() -> None:
    werner = physics.swap_werner(physics.fidelity_to_werner(0.95), physics.fidelity_to_werner(0.9))
    np.testing.assert_allclose(physics.werner_to_fidelity(werner), 0.95 * 0.9 + 0.05 * 0.1 / 3, atol=1e-15)


@repeatable
@given(werners)
def test_fidelity_and_werner_parameter_are_inverse(werner: float) -> None:
    np.testing.assert_allclose(physics.fidelity_to_werner(physics.werner_to_fidelity(werner)), werner, atol=1e-15)


@repeatable
@given(werners, durations, durations, times, times)
def test_werner_decay_composes_and_is_the_depolarised_bell_diagonal(
    werner: float, first: float, second: float, time_a: float, time_b: float
) -> None:
    once = physics.decay_werner(werner, first + second, time_a, time_b)
    twice = physics.decay_werner(physics.decay_werner(werner, first, time_a, time_b), second, time_a, time_b)
    np.testing.assert_allclose(once, twice, atol=1e-12)
    full = physics.depolarise_bell_diagonal(physics.werner_bell_diagonal(werner), first + second, time_a, time_b)
    np.testing.assert_allclose(full, physics.werner_bell_diagonal(once), atol=1e-12)


@repeatable
@given(bell_diagonals(), durations, durations, times, times)
def test_bell_diagonal_decays_compose_and_keep_probability(
    weights: Weights, first: float, second: float, time_a: float, time_b: float
) -> None:
    for decay in (physics.depolarise_bell_diagonal, physics.dephase_bell_diagonal):
        once = decay(weights, first + second, time_a, time_b)
        np.testing.assert_allclose(
            once, decay(decay(weights, first, time_a, time_b), second, time_a, time_b), atol=1e-12
        )
        assert once.min() >= 0.0
        np.testing.assert_allclose(once.sum(), 1.0, atol=1e-12)


def test_decay_limits() -> None:
    weights = np.array([0.7, 0.15, 0.05, 0.1])
    np.testing.assert_allclose(physics.depolarise_bell_diagonal(weights, 1e6, 1.0, 2.0), np.full(4, 0.25), atol=1e-15)
    np.testing.assert_allclose(physics.dephase_bell_diagonal(weights, 1e6, 1.0, 2.0), [0.4, 0.1, 0.1, 0.4], atol=1e-15)
    np.testing.assert_array_equal(physics.decay_werner(0.9, 5.0, np.inf, np.inf), 0.9)
    np.testing.assert_allclose(physics.decay_werner(0.9, 1.0, 2.0, 2.0), 0.9 * np.exp(-1.0), rtol=1e-15)
    np.testing.assert_allclose(physics.decay_werner(0.9, 1.0, 1.0, np.inf), 0.9 * np.exp(-1.0), rtol=1e-15)


@repeatable
@given(st.floats(0.5, 1.0), st.floats(0.26, 0.99), times, times)
def test_storage_cutoff_is_when_the_fidelity_reaches_the_minimum(
    fidelity: float, minimum: float, time_a: float, time_b: float
) -> None:
    werner = physics.fidelity_to_werner(fidelity)
    cutoff = float(physics.storage_cutoff_s(werner, minimum, time_a, time_b))
    if fidelity < minimum:
        assert cutoff == 0.0
    else:
        reached = physics.werner_to_fidelity(physics.decay_werner(werner, cutoff, time_a, time_b))
        np.testing.assert_allclose(reached, minimum, atol=1e-12)


def test_storage_cutoff_limits() -> None:
    cutoff = physics.storage_cutoff_s([0.9, 0.9, 0.0, -0.2, 0.9], [0.25, 0.8, 0.2, 0.5, 0.1], 1.0, [1, np.inf, 1, 1, 1])
    expected_second = np.log((0.925 - 0.25) / (0.8 - 0.25))
    np.testing.assert_allclose(cutoff, [np.inf, expected_second, np.inf, 0.0, np.inf], rtol=1e-14)
    assert physics.storage_cutoff_s(0.9, 0.8, np.inf, np.inf) == np.inf


@pytest.mark.parametrize(
    ("fidelity", "fraction"), [(0.99, 0.88444), (0.97, 0.71712), (0.95, 0.57832), (0.9, 0.29328), (0.85, 0.06201)]
)
def test_key_fraction_golden_values(fidelity: float, fraction: float) -> None:
    np.testing.assert_allclose(physics.secret_key_fraction(physics.fidelity_to_werner(fidelity)), fraction, atol=5.1e-6)


def test_key_fraction_vanishes_at_the_known_fidelity() -> None:
    above, below = physics.secret_key_fraction(physics.fidelity_to_werner([0.834959, 0.834957]))
    assert 0.0 < above < 1e-5
    assert below == 0.0
    np.testing.assert_allclose(
        physics.quantum_bit_error_rate(physics.fidelity_to_werner(0.834958)), 0.110028, atol=5e-7
    )


def test_key_fraction_limits() -> None:
    np.testing.assert_array_equal(physics.secret_key_fraction([1.0, 0.0, -1 / 3]), [1.0, 0.0, 0.0])


@repeatable
@given(st.floats(0.0, 1.0))
def test_binary_entropy_is_symmetric_and_bounded(p: float) -> None:
    entropy = physics.binary_entropy(p)
    np.testing.assert_allclose(entropy, physics.binary_entropy(1.0 - p), atol=1e-12)
    assert -1e-15 <= entropy <= 1.0


def test_binary_entropy_golden_values() -> None:
    np.testing.assert_allclose(
        physics.binary_entropy([0.0, 0.5, 1.0, 0.25]), [0.0, 1.0, 0.0, 0.811278124459133], atol=1e-15
    )


@repeatable
@given(werners)
def test_joint_test_and_error_rate_in_terms_of_fidelity(werner: float) -> None:
    fidelity = physics.werner_to_fidelity(werner)
    np.testing.assert_allclose(physics.joint_test_pass_probability(werner), (1 + 2 * fidelity) / 3, atol=1e-15)
    np.testing.assert_allclose(physics.quantum_bit_error_rate(werner), 2 * (1 - fidelity) / 3, atol=1e-15)


def test_functions_broadcast() -> None:
    werner = np.array([[0.9], [0.5]])
    assert physics.decay_werner(werner, [0.0, 1.0, 2.0], 1.0, 1.0).shape == (2, 3)
    assert physics.storage_cutoff_s(werner, [0.3, 0.4, 0.5], 1.0, 1.0).shape == (2, 3)
    assert physics.werner_bell_diagonal(werner).shape == (2, 1, 4)
    pairs = physics.werner_bell_diagonal(werner)
    assert physics.swap_bell_diagonal(pairs, pairs[0]).shape == (2, 1, 4)
    assert physics.depolarise_bell_diagonal(pairs, [0.0, 1.0, 2.0], 1.0, 1.0).shape == (2, 3, 4)
    assert physics.dephase_bell_diagonal(pairs, [0.0, 1.0, 2.0], 1.0, 1.0).shape == (2, 3, 4)


def test_channels_do_not_share_memory_with_their_argument() -> None:
    weights = np.array([0.7, 0.1, 0.1, 0.1])
    for channel in (physics.teleported_qubit_channel, physics.teleported_cnot_channel):
        assert not np.shares_memory(channel(weights), weights)


@pytest.mark.parametrize("bad", [1.001, -0.34, np.nan, np.inf])
def test_werner_parameters_outside_their_range_are_refused(bad: float) -> None:
    for function in (
        physics.werner_to_fidelity,
        physics.werner_bell_diagonal,
        physics.secret_key_fraction,
        physics.quantum_bit_error_rate,
        physics.joint_test_pass_probability,
    ):
        with pytest.raises(DomainError, match=r"Argument `werner` must be in \[-0.333333, 1\], but is .* at index 1"):
            function([0.5, bad])
    with pytest.raises(DomainError, match="`b` must be in"):
        physics.swap_werner(0.5, bad)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.5, 0.1, -0.1], r"must be in \[0, 1\], but is -0.1 at index 3"),
        ([0.5, 0.1, 0.1, 0.1], "must sum to 1 over its last axis, but is 0.8"),
        ([0.5, 0.5, 0.0], r"must have shape \(..., 4\)"),
    ],
)
def test_bell_diagonals_that_are_no_probabilities_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        physics.teleported_qubit_channel(weights)


def test_bad_times_are_refused_by_their_own_name() -> None:
    with pytest.raises(DomainError, match="`elapsed_s` must be non-negative and finite"):
        physics.decay_werner(0.9, -1.0, 1.0, 1.0)
    with pytest.raises(DomainError, match="`coherence_time_b_s` must be positive"):
        physics.storage_cutoff_s(0.9, 0.5, 1.0, 0.0)
    with pytest.raises(DomainError, match="`dephasing_time_a_s` must be positive"):
        physics.dephase_bell_diagonal([1, 0, 0, 0], 1.0, np.nan, 1.0)
