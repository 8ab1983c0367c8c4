"""The natural gradient: steps measured by how far the state moves, not by how far the parameters do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from ceas.errors import DomainError

__all__ = ["SpsaFisher", "natural_direction", "spsa_fisher"]

FloatArray = npt.NDArray[np.float64]


def natural_direction(fisher: npt.ArrayLike, gradient: npt.ArrayLike, *, damping: float) -> FloatArray:
    """Return the solution x of (F + damping I) x = g.

    Args:
        fisher: Quantum Fisher information matrix F (four times the metric tensor), symmetric and positive up to
            rounding or sampling, shape (P, P).
        gradient: g, shape (P,) or (..., P).
        damping: Positive; it bounds the step where a parameter hardly moves the state.

    Returns:
        Shape of the gradient.

    Raises:
        DomainError: The damping is not positive, or shapes do not fit.

    Source:
        Stokes, Izaac, Killoran and Carleo, Quantum 4, 269, 2020, eq. (7), whose metric tensor is F / 4.
    """
    matrix, slope = np.asarray(fisher, dtype=np.float64), np.asarray(gradient, dtype=np.float64)
    if not 0 < damping < np.inf:
        raise DomainError(f"Argument `damping` must be positive and finite, but is {damping}.")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or slope.shape[-1:] != matrix.shape[:1]:
        raise DomainError(f"Arguments must be F of shape (P, P) and g (..., P), but are {matrix.shape}, {slope.shape}.")
    # An estimate may have negative eigenvalues; they say no more than that the state hardly moves.
    eigenvalues, vectors = scipy.linalg.eigh((matrix + matrix.T) / 2)
    scaled = (slope @ vectors) / (np.maximum(eigenvalues, 0.0) + damping)
    direction: FloatArray = scaled @ vectors.T
    return direction


@dataclass(frozen=True, slots=True, kw_only=True)
class SpsaFisher:
    """An estimate of the quantum Fisher information of pure states.

    Attributes:
        matrix: Mean over the samples, symmetric, shape (P, P); it may have negative eigenvalues.
        standard_error: Of each entry, shape (P, P); NaN for one sample.
        circuits: Fidelity circuits that it took, 4 a sample.
        shots: Shots that it took; 0 for exact fidelities.
    """

    matrix: FloatArray
    standard_error: FloatArray
    circuits: int
    shots: int


def spsa_fisher(
    fidelity: Callable[[FloatArray, FloatArray], FloatArray],
    theta: npt.ArrayLike,
    *,
    n_samples: int,
    step: float,
    rng: np.random.Generator,
    shots_per_circuit: int | None = None,
) -> SpsaFisher:
    """Estimate the quantum Fisher information by simultaneous perturbation, with a cost that knows no P.

    One sample draws two directions of random signs, d1 and d2, and takes four fidelities |<psi(t)|psi(t')>|^2, at
    t' - t = c d1 + c d2, c d1, -c d1 + c d2 and -c d1: F = 4 * metric has the estimate
    -(f1 - f2 - f3 + f4) / (2 c^2) * (d1 d2^T + d2 d1^T).

    Args:
        fidelity: Returns the fidelities of the states at parameters (P,) and at each of (B, P), shape (B,).
        theta: Parameters, shape (P,).
        n_samples: Samples that are averaged, at least 1.
        step: c (rad), positive; the bias is of order c^2.
        rng: Generator of the directions and of the shots.
        shots_per_circuit: Shots of each fidelity circuit (a fidelity is the chance to find |0...0> after running t and
            then t' backwards); None for exact fidelities.

    Raises:
        DomainError: A number is outside its range.

    Source:
        Gacon, Zoufal, Carleo and Woerner, Quantum 5, 567, 2021, eqs. (10) to (14).
    """
    point = np.asarray(theta, dtype=np.float64)
    if n_samples < 1 or not 0 < step < np.inf or (shots_per_circuit is not None and shots_per_circuit < 1):
        found = f"{n_samples}, {step} and {shots_per_circuit}"
        raise DomainError(f"Arguments must be samples, step and shots that are positive, but are {found}.")
    first, second = rng.choice([-1.0, 1.0], (2, n_samples, point.size))
    moves = step * np.stack([first + second, first, second - first, -first], axis=1)
    values = fidelity(point, point + moves.reshape(-1, point.size)).reshape(n_samples, 4)
    if shots_per_circuit is not None:
        values = rng.binomial(shots_per_circuit, np.clip(values, 0.0, 1.0)) / shots_per_circuit
    curvature = -(values @ np.array([1.0, -1.0, -1.0, 1.0])) / (2 * step**2)
    outer = np.einsum("np,nq->npq", first, second)
    samples = curvature[:, None, None] * (outer + outer.swapaxes(1, 2))
    spread = samples.std(axis=0, ddof=1) / np.sqrt(n_samples) if n_samples > 1 else np.full(samples.shape[1:], np.nan)
    return SpsaFisher(
        matrix=samples.mean(axis=0),
        standard_error=spread,
        circuits=4 * n_samples,
        shots=4 * n_samples * (shots_per_circuit or 0),
    )
