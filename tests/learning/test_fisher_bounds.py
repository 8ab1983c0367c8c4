"""Closed forms of Fisher information against dense matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning.fisher_bounds import depolarised_fisher_factor


@pytest.mark.parametrize(("contraction", "dimension", "expected"), [(0.9, 2, 0.81), (0.5, 4, 1 / 3), (0.2, 8, 0.1)])
def test_known_values(contraction: float, dimension: int, expected: float) -> None:
    assert depolarised_fisher_factor(contraction, dimension) == pytest.approx(expected, abs=1e-12)


@given(contraction=st.floats(0.01, 1.0), n_qubits=st.integers(1, 3), seed=st.integers(0, 1000))
def test_it_is_the_information_of_the_mixed_state(contraction: float, n_qubits: int, seed: int) -> None:
    """The symmetric logarithmic derivative in double precision, for a random state and direction."""
    rng, size = np.random.default_rng(seed), 2**n_qubits
    psi = rng.normal(size=size) + 1j * rng.normal(size=size)
    psi /= np.linalg.norm(psi)
    change = rng.normal(size=size) + 1j * rng.normal(size=size)
    change -= psi * np.vdot(psi, change).real
    pure = 4 * (np.vdot(change, change).real - abs(np.vdot(psi, change)) ** 2)
    density = contraction * np.outer(psi, psi.conj()) + (1 - contraction) * np.eye(size) / size
    slope = contraction * (np.outer(change, psi.conj()) + np.outer(psi, change.conj()))
    eigenvalues, vectors = np.linalg.eigh(density)
    sums = eigenvalues[:, None] + eigenvalues[None, :]
    rotated = vectors.conj().T @ slope @ vectors
    seen = sums > 1e-12
    mixed = float((2 * np.abs(rotated[seen]) ** 2 / sums[seen]).sum())
    assert mixed == pytest.approx(pure * depolarised_fisher_factor(contraction, size), rel=1e-8)


def test_limits() -> None:
    lam = np.linspace(0, 1, 11)
    np.testing.assert_allclose(depolarised_fisher_factor(lam, 2), lam**2, atol=1e-15)
    np.testing.assert_allclose(depolarised_fisher_factor(lam, 2.0**40), lam, atol=1e-11)


@pytest.mark.parametrize("arguments", [(1.1, 2), (-0.1, 2), (0.5, 1)])
def test_arguments_outside_their_range(arguments: tuple[float, int]) -> None:
    with pytest.raises(DomainError):
        depolarised_fisher_factor(*arguments)
