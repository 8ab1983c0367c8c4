"""Estimates of constants on problems whose constants are known, and variances of weights in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas.aggregation import constants
from ceas.aggregation.constants import (
    CONFIDENCE,
    blue_weights,
    circuit_smoothness,
    contraction_fisher,
    curvature_by_power_iteration,
    dissimilarity_envelope,
    dissimilarity_fit,
    gradient_spread,
    kappa_of_rounds,
    minimax_weights,
    pl_constant,
    random_effects_weights,
    shot_noise_variance,
    split_half_limits,
    split_half_variance,
    variance_over_blue,
    weighted_variance,
)
from ceas.aggregation.convergence import objective_shift
from ceas.aggregation.resilience import deviation_ratio
from ceas.errors import DomainError

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def test_every_estimate_says_on_which_side_it_is() -> None:
    for name, confidence in CONFIDENCE.items():
        assert callable(getattr(constants, name))
        assert not (confidence.is_safe and confidence.side != "upper")
    assert not CONFIDENCE["pl_constant"].is_safe


# --- Dissimilarity -----------------------------------------------------------------------------------------------


def test_fit_and_envelope_recover_known_constants() -> None:
    """Gradients (1 + d_i) g_t - c_i, d and c centred and uncorrelated: G^2 = mean |c|^2, B^2 = mean d^2 everywhere."""
    rng = np.random.default_rng(0)
    tilts = np.repeat([0.5, -0.5], 5)
    offsets = rng.normal(size=(10, 4))
    for half in (slice(0, 5), slice(5, 10)):
        offsets[half] -= offsets[half].mean(axis=0)
    points = rng.normal(size=(30, 1, 4)) * rng.exponential(size=(30, 1, 1))
    spread, squares = gradient_spread((1 + tilts)[:, None] * points - offsets)
    np.testing.assert_allclose(squares, np.sum(points[:, 0] ** 2, axis=1), rtol=1e-9)
    for found in (dissimilarity_fit(spread, squares), dissimilarity_envelope(spread, squares)):
        assert found.offset == pytest.approx(np.mean(np.sum(offsets**2, axis=1)), rel=1e-6)
        assert found.slope == pytest.approx(0.25, rel=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    points=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=12),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_no_point_is_above_the_envelope(points: list[tuple[float, float]], scale: float) -> None:
    spread, squares = (np.array(column) * scale for column in zip(*points, strict=True))
    found = dissimilarity_envelope(spread, squares)
    assert found.offset >= 0
    assert found.slope >= -1e-12
    assert np.all(spread <= found.offset + found.slope * squares + 1e-9 * scale)
    # No flat line does better: it would have to lie as high as the highest point.
    assert np.mean(found.offset + found.slope * squares) <= spread.max() * (1 + 1e-6) + 1e-9 * scale
    fitted = dissimilarity_fit(spread, squares)
    residual = np.sum((fitted.offset + fitted.slope * squares - spread) ** 2)
    assert residual <= np.sum((spread.mean() - spread) ** 2) * (1 + 1e-6) + 1e-6 * scale**2


def test_gradient_spread_with_weights() -> None:
    gradients = np.random.default_rng(1).normal(size=(3, 4, 2))
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    spread, squares = gradient_spread(gradients, weights)
    doubled = np.repeat(gradients, [1, 2, 0, 3], axis=1)
    expected = gradient_spread(doubled)
    np.testing.assert_allclose((spread, squares), expected, rtol=1e-12)


# --- Noise -------------------------------------------------------------------------------------------------------


def test_split_halves_give_the_variance_of_their_mean_and_limits_that_cover_it() -> None:
    """400 nodes, 20 rounds, noise with correlated parameters. Mean over nodes: relative standard error 0.016 at most.

    Coverage of 95 % limits: at least 0.95 of 400 nodes expected; fewer than 0.87 has probability below 1e-8.
    """
    rng = np.random.default_rng(4)
    mixing = np.diag([3.0, 1.0, 0.3]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    gradient = rng.normal(size=(20, 1, 3))
    first, second = (gradient + math.sqrt(2) * rng.normal(size=(20, 400, 3)) @ mixing for _ in range(2))
    truth = float(np.sum(mixing**2))
    assert split_half_variance(first, second).mean() == pytest.approx(truth, rel=0.1)
    limits = split_half_limits(first, second)
    assert np.mean((limits.lower <= truth) & (truth <= limits.upper)) >= 0.87
    assert np.all(limits.lower <= split_half_variance(first, second))
    assert np.all(limits.upper >= split_half_variance(first, second))


def test_limits_at_their_least_degrees_of_freedom_are_exact() -> None:
    """One noisy parameter: 4000 nodes, 5 rounds; coverage 0.90 has standard error 0.0047; 6 of them allowed."""
    rng = np.random.default_rng(5)
    first, second = (math.sqrt(2) * rng.normal(size=(5, 4000, 1)) for _ in range(2))
    limits = split_half_limits(first, second, level=0.9)
    assert np.mean((limits.lower <= 1) & (limits.upper >= 1)) == pytest.approx(0.9, abs=0.0285)


def test_shot_noise_variance_against_drawn_shots() -> None:
    """40 000 gradients of 50 shots a circuit; relative standard error of the variance 0.0071; 6 of them allowed."""
    rng = np.random.default_rng(6)
    contraction, shots, high, low = 0.6, 50, 0.8, -0.3
    halves = [2 * rng.binomial(shots, (1 + contraction * f) / 2, size=40_000) / shots - 1 for f in (high, low)]
    gradient = (halves[0] - halves[1]) / 2 / contraction
    expected = shot_noise_variance(contraction, shots, (high**2 + low**2) / 2)
    assert gradient.mean() == pytest.approx((high - low) / 2, abs=6 * math.sqrt(expected / 40_000))
    assert gradient.var() == pytest.approx(float(expected), rel=0.043)
    assert float(shot_noise_variance(contraction, shots, 0.2, n_parameters=3)) == pytest.approx(
        3 * float(shot_noise_variance(contraction, shots, 0.2))
    )


# --- Smoothness --------------------------------------------------------------------------------------------------

PAULIS: list[ComplexArray] = [np.array(rows, dtype=complex) for rows in (
    [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]
)]  # fmt: skip


def expectations(angles: FloatArray, seed: int) -> FloatArray:
    """<Z> of two qubits after rotations of random two-qubit Paulis, from a random real state."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=4).astype(complex)
    state /= np.linalg.norm(state)
    for angle in angles:
        pauli = np.kron(*(PAULIS[kind] for kind in rng.integers(0, 3, 2)))
        state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * (pauli @ state)
    probability = np.abs(state) ** 2
    return np.array([probability @ [1, 1, -1, -1], probability @ [1, -1, 1, -1]])


def difference_gradient(function: object, theta: FloatArray, step: float = 1e-5) -> FloatArray:
    call = function if callable(function) else None
    assert call is not None
    rows = step * np.eye(len(theta))
    return np.array([(call(theta + row) - call(theta - row)) / (2 * step) for row in rows])


@pytest.mark.parametrize("seed", range(4))
def test_no_curvature_of_a_circuit_exceeds_its_smoothness(seed: int) -> None:
    """6 rotations by 3 parameters (1, 2 and 3 each); a bare value, and cross-entropy of a softmax with scale 2."""
    uses = np.array([1, 2, 3])
    rng = np.random.default_rng([seed, 9])

    def value(theta: FloatArray) -> float:
        return float(expectations(np.repeat(theta, uses), seed)[0])

    def loss(theta: FloatArray) -> float:
        scores = 2 * expectations(np.repeat(theta, uses), seed)
        return float(np.logaddexp(*scores) - scores[0])

    bare = circuit_smoothness(uses)
    composed = circuit_smoothness(uses, n_observables=2, loss_slope=4, loss_curvature=2)
    for _ in range(3):
        theta = rng.uniform(-np.pi, np.pi, 3)
        for function, bound in ((value, bare), (loss, composed)):
            curvature = curvature_by_power_iteration(
                lambda at, f=function: difference_gradient(f, at), theta, rng=rng, n_iterations=10, difference=1e-3
            )
            assert 0 < curvature <= bound


def test_smoothness_is_attained() -> None:
    """|0> turned about one axis by all rotations: the value is the cosine of the sum, its Hessian has norm sum m^2."""
    uses = np.array([1.0, 2.0, 3.0])
    assert circuit_smoothness(uses) == 14

    def gradient(theta: FloatArray) -> FloatArray:
        return -np.sin(uses @ theta) * uses

    found = curvature_by_power_iteration(gradient, np.zeros(3), rng=np.random.default_rng(0))
    assert found == pytest.approx(14, rel=1e-6)


def test_power_iteration_finds_the_largest_magnitude() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    matrix = basis * np.array([-4.0, 3.0, 1.0, 0.5, 0.0]) @ basis.T
    for iterations in (1, 3, 40):
        found = curvature_by_power_iteration(
            lambda theta: matrix @ theta, np.ones(5), rng=np.random.default_rng(1), n_iterations=iterations
        )
        assert found <= 4 * (1 + 1e-9)
    assert found == pytest.approx(4, rel=1e-6)
    flat = curvature_by_power_iteration(lambda theta: 0 * theta, np.ones(5), rng=np.random.default_rng(1))
    assert flat == 0


def test_pl_constant_of_a_quadratic() -> None:
    """Never below the least eigenvalue, which it attains along that eigenvector."""
    eigenvalues = np.array([0.2, 1.0, 3.0])
    points = np.concatenate([np.random.default_rng(0).normal(size=(50, 3)), [[2.0, 0.0, 0.0]]])
    squares, losses = np.sum((points * eigenvalues) ** 2, axis=1), np.sum(eigenvalues * points**2, axis=1) / 2 + 7
    assert pl_constant(squares, losses, 7) == pytest.approx(0.2, rel=1e-12)
    assert pl_constant(squares[:-1], losses[:-1], 7) > 0.2
    assert pl_constant(squares, losses, 6.9) < 0.2


def test_kappa_of_rounds_is_the_deviation_ratio_of_each() -> None:
    rng = np.random.default_rng(0)
    aggregates, updates, weights = rng.normal(size=(4, 3)), rng.normal(size=(4, 6, 3)), rng.exponential(size=(4, 6))
    expected = [deviation_ratio(*row) for row in zip(aggregates, updates, weights, strict=True)]
    np.testing.assert_allclose(kappa_of_rounds(aggregates, updates, weights), expected, rtol=1e-12)
    same = np.ones((2, 6, 3))
    np.testing.assert_array_equal(kappa_of_rounds([[1.0] * 3, [2.0] * 3], same), [0, math.inf])


# --- Weights -----------------------------------------------------------------------------------------------------

QUANTILES = (np.arange(50) + 0.5) / 50
PROFILES = {
    "uniform .6 to .95": 0.6 + 0.35 * QUANTILES,
    "uniform .3 to .95": 0.3 + 0.65 * QUANTILES,
    "half .9, half .2": np.repeat([0.9, 0.2], 25),
    "45 at .95, 5 at .05": np.repeat([0.95, 0.05], [45, 5]),
}
TABULATED = {
    "uniform .6 to .95": (1.11, 1.04, 1.03, 1.04, 1.006),
    "uniform .3 to .95": (1.69, 1.21, 1.12, 1.17, 1.011),
    "half .9, half .2": (7.84, 2.05, 1.30, 1.69, 1.006),
    "45 at .95, 5 at .05": (51.3, 1.78, 1.01, 1.16, 1.000),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_variance_over_blue_as_tabulated(profile: str) -> None:
    """Weights 1, fidelity, Fisher information, l and l^2; n = 50, d = 16. Drawn profiles there, quantiles here.

    The mean square of shifted values was not recorded; m = 0.38 reproduces all twenty entries within 2.2 %.
    """
    survival = PROFILES[profile]
    variances = shot_noise_variance(survival, 1000, 0.38)
    fidelity = survival + (1 - survival) / 16
    choices = (np.ones(50), fidelity, contraction_fisher(survival, 16), survival, survival**2)
    found = [variance_over_blue(weights, variances) for weights in choices]
    np.testing.assert_allclose(found, TABULATED[profile], rtol=0.022)


def test_variance_over_blue_of_two_groups_by_hand() -> None:
    """Equal groups with variances 1 and 25: mean of v times mean of 1/v, 13 * 0.52 = 6.76."""
    variances = np.repeat([1.0, 25.0], 25)
    assert variance_over_blue(np.ones(50), variances) == pytest.approx(6.76, rel=1e-12)
    assert weighted_variance(blue_weights(variances), variances) == pytest.approx(1 / np.sum(1 / variances), rel=1e-12)


VARIANCES = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=10)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(variances=VARIANCES, between=st.floats(0, 100), seed=st.integers(0, 10**6))
def test_weights_minimise_what_they_claim(variances: list[float], between: float, seed: int) -> None:
    noise, other = np.array(variances), np.random.default_rng(seed).exponential(size=len(variances))
    assert variance_over_blue(other, noise) >= 1 - 1e-12

    def random_effects_error(weights: FloatArray) -> float:
        return weighted_variance(weights, noise + between)

    def worst_error(weights: FloatArray) -> float:
        return weighted_variance(weights, noise) + objective_shift(weights, between)

    assert random_effects_error(random_effects_weights(noise, between)) <= random_effects_error(other) * (1 + 1e-9)
    assert worst_error(minimax_weights(noise, between)) <= worst_error(other) * (1 + 1e-9)


def test_weights_go_to_uniform_where_data_differ_more_than_noise() -> None:
    noise = np.array([1.0, 10.0, 100.0])
    for weights in (random_effects_weights(noise, 1e9), minimax_weights(noise, 1e9)):
        np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(random_effects_weights(noise, 0), blue_weights(noise), rtol=1e-12)


@pytest.mark.parametrize(("survival", "dimension", "factor"), [(0.9, 2, 0.81), (0.5, 4, 1 / 3), (0.2, 8, 0.1)])
def test_contraction_of_fisher_information(survival: float, dimension: int, factor: float) -> None:
    """Against the symmetric logarithmic derivative of a depolarised pure state, turned about a random generator."""
    rng = np.random.default_rng(dimension)
    generator = rng.normal(size=(dimension, dimension)) + 1j * rng.normal(size=(dimension, dimension))
    generator = generator + generator.conj().T
    pure = np.zeros((dimension, dimension), dtype=complex)
    pure[0, 0] = 1

    def fisher(state: ComplexArray) -> float:
        values, vectors = np.linalg.eigh(state)
        derivative = vectors.conj().T @ (-1j * (generator @ state - state @ generator)) @ vectors
        totals = values[:, None] + values
        return float(np.sum(2 * np.abs(derivative) ** 2 / np.where(totals > 1e-12, totals, np.inf)))

    mixed = survival * pure + (1 - survival) * np.eye(dimension) / dimension
    found = float(contraction_fisher(survival, dimension))
    assert found == pytest.approx(factor, rel=1e-12)
    assert found == pytest.approx(fisher(mixed) / fisher(pure), rel=1e-9)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="gradients"):
        gradient_spread(np.ones((3, 2)))
    with pytest.raises(DomainError, match="weights"):
        gradient_spread(np.ones((3, 2, 1)), [1.0, 1.0, 1.0])
    with pytest.raises(DomainError, match="columns"):
        dissimilarity_fit([1.0, -1.0], [1.0, 1.0])
    with pytest.raises(DomainError, match="halves"):
        split_half_variance(np.ones((1, 2, 3)), np.ones((1, 2, 4)))
    with pytest.raises(DomainError, match="level"):
        split_half_limits(np.ones((1, 2, 3)), np.ones((1, 2, 3)), level=1.0)
    with pytest.raises(DomainError, match="smoothness"):
        circuit_smoothness([1.0, -1.0])
    with pytest.raises(DomainError, match="n_iterations"):
        curvature_by_power_iteration(lambda x: x, [1.0], rng=np.random.default_rng(0), n_iterations=0)
    with pytest.raises(DomainError, match="least_loss"):
        pl_constant([1.0], [1.0], 1.0)
    with pytest.raises(DomainError, match="Shapes"):
        kappa_of_rounds(np.ones((2, 3)), np.ones((2, 4, 2)))
    with pytest.raises(DomainError, match="any round"):
        kappa_of_rounds(np.ones((2, 3)), np.ones((2, 4, 3)), np.zeros(4))
    with pytest.raises(DomainError, match="positive together"):
        blue_weights([0.0, 1.0])
    with pytest.raises(DomainError, match="contraction"):
        shot_noise_variance(1.2, 10, 0.5)
    with pytest.raises(DomainError, match="mean_square"):
        shot_noise_variance(0.5, 10, 1.5)
    with pytest.raises(DomainError, match="dimension"):
        contraction_fisher(0.5, 1)
    with pytest.raises(DomainError, match="shape"):
        weighted_variance([1.0], [1.0, 2.0])
