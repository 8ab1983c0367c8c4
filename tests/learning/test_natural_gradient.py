"""The natural gradient and its estimate by simultaneous perturbation, against closed forms."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning.natural_gradient import natural_direction, spsa_fisher

FloatArray = npt.NDArray[np.float64]


def product_fidelity(point: FloatArray, others: FloatArray) -> FloatArray:
    """|psi> = RZ(b) RY(a) |0>: cos^2 and sin^2 of half the polar angle, and the azimuth."""

    def bloch(angles: FloatArray) -> FloatArray:
        a, b = angles[..., 0], angles[..., 1]
        return np.stack([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)], axis=-1)

    return np.asarray((1 + bloch(others) @ bloch(point)) / 2)


def test_directions_solve_the_damped_system() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    fisher, gradient = root @ root.T, rng.normal(size=(3, 5))
    direction = natural_direction(fisher, gradient, damping=0.3)
    np.testing.assert_allclose(direction @ (fisher + 0.3 * np.eye(5)), gradient, atol=1e-12)
    # Without information the step is the gradient over the damping; negative eigenvalues count as none.
    np.testing.assert_allclose(natural_direction(np.zeros((5, 5)), gradient, damping=0.5), 2 * gradient)
    np.testing.assert_allclose(natural_direction(-np.eye(5), gradient, damping=0.5), 2 * gradient)


@pytest.mark.parametrize("shots", [None, 400])
def test_the_estimate_is_the_closed_form(shots: int | None) -> None:
    """F = diag(1, sin^2 a). 20,000 samples, bias below c^2; 6 standard errors are a false alarm of 1e-8 in all."""
    theta, step = np.array([0.9, 0.4]), 0.05
    found = spsa_fisher(
        product_fidelity, theta, n_samples=20_000, step=step, rng=np.random.default_rng(1), shots_per_circuit=shots
    )
    truth = np.diag([1.0, np.sin(0.9) ** 2])
    assert np.all(np.abs(found.matrix - truth) < 6 * found.standard_error + step**2)
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    assert found.circuits == 80_000
    assert found.shots == 80_000 * (shots or 0)


def test_standard_errors_are_those_of_repeated_estimates() -> None:
    """400 estimates of 50 samples; chi-square of the variance, two-sided, false alarm 1e-6."""
    theta, rng = np.array([0.9, 0.4]), np.random.default_rng(2)
    found = [spsa_fisher(product_fidelity, theta, n_samples=50, step=0.1, rng=rng) for _ in range(400)]
    entries = np.array([one.matrix[0, 1] for one in found])
    claimed = np.mean([one.standard_error[0, 1] ** 2 for one in found])
    statistic = 399 * entries.var(ddof=1) / claimed
    low, high = scipy.stats.chi2.ppf([5e-7, 1 - 5e-7], 399)
    assert low < statistic < high


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="`damping` must"):
        natural_direction(np.eye(2), np.ones(2), damping=0.0)
    with pytest.raises(DomainError, match="shape"):
        natural_direction(np.eye(2), np.ones(3), damping=1.0)
    for changed in ({"n_samples": 0}, {"step": 0.0}, {"shots_per_circuit": 0}):
        arguments = {"n_samples": 1, "step": 0.1, "shots_per_circuit": None} | changed
        with pytest.raises(DomainError, match="positive"):
            spsa_fisher(product_fidelity, np.zeros(2), rng=np.random.default_rng(0), **arguments)  # type: ignore[arg-type]
