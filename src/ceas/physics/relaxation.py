"""Memories that relax: amplitude damping towards |0> with T1, and dephasing such that coherence lasts T2 <= 2 T1.

A stored half's Bloch vector goes from (x, y, z) to (e2 x, e2 y, e1 z + 1 - e1) with e1 = exp(-t/T1), e2 = exp(-t/T2).
The last term is no Pauli error: a pair whose halves both relax ends in |00>, not in the maximally mixed state. So

    rho = (II + c_x e2 e2' XX - c_y e2 e2' YY + (c_z e1 e1' + d d') ZZ + d ZI + d' IZ)/4,   d = 1 - e1,
    F = (1 + (c_x + c_y) e2 e2' + c_z e1 e1' + d d')/4,

with a prime for the second half. For Phi+ with one half stored F = (1 + e1 + 2 e2)/4; with two alike halves
F = (1 - e1 + e1^2 + e2^2)/2, which tends to 1/2 and not to 1/4.

Two Bell-diagonal forms are offered. `relax_bell_diagonal` gives the exact state's Bell-diagonal weights, which is the
state after both ends apply one random Pauli at the end of storage. `pauli_rates_hz` gives the Pauli memory that each
memory becomes when its qubit is Pauli-twirled all the time: it drops d, is never better, composes over any sequence of
storage and swaps, and fits `pauli_memory` and `pauli_cutoff_s`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import ROUNDING, require_between, require_non_negative, require_positive
from ceas.physics.states import bell_diagonal_to_correlators, correlators_to_bell_diagonal

__all__ = ["RelaxingMemory", "relax_bell_diagonal", "relax_density_matrix", "relaxation_cutoff_s"]

_BISECTIONS = 100
_SCAN = 512

# Rows and columns |00>, |01>, |10>, |11>.
_XX = np.fliplr(np.eye(4))
_MINUS_YY = np.fliplr(np.diag([1.0, -1.0, -1.0, 1.0]))
_ZZ, _ZI, _IZ = np.diag([1.0, -1.0, -1.0, 1.0]), np.diag([1.0, 1.0, -1.0, -1.0]), np.diag([1.0, -1.0, 1.0, -1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxingMemory:
    """One memory, or many where the times are arrays.

    Attributes:
        relaxation_time_s: T1 (s), positive, may be infinite.
        dephasing_time_s: T2 (s), positive, at most 2 T1, may be infinite.
    """

    relaxation_time_s: float | NDArray[np.float64] = np.inf
    dephasing_time_s: float | NDArray[np.float64] = np.inf

    def __post_init__(self) -> None:
        t1 = require_positive("relaxation_time_s", self.relaxation_time_s, finite=False)
        t2 = require_positive("dephasing_time_s", self.dephasing_time_s, finite=False)
        if np.any(t2 > 2.0 * t1 * (1.0 + ROUNDING)):
            raise DomainError("Argument `dephasing_time_s` must be at most twice `relaxation_time_s`, but is more.")

    @property
    def rates_hz(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """1/T1 and 1/T2 (1/s), of one shape."""
        t1, t2 = np.broadcast_arrays(
            np.asarray(self.relaxation_time_s, dtype=np.float64), np.asarray(self.dephasing_time_s, dtype=np.float64)
        )
        return 1.0 / t1, 1.0 / t2

    @property
    def pauli_rates_hz(self) -> NDArray[np.float64]:
        """Pauli rates `(..., 3)` of the Pauli-twirled memory: X and Y at 1/(4 T1), Z at 1/(2 T2) - 1/(4 T1)."""
        relaxation, dephasing = self.rates_hz
        flip = relaxation / 4.0
        return np.stack([flip, flip, np.maximum(dephasing / 2.0 - flip, 0.0)], axis=-1)

    @property
    def correlator_rates_hz(self) -> NDArray[np.float64]:
        """Rates `(..., 3)` at which the Pauli-twirled memory of one half lowers c_x, c_y and c_z: 1/T2, 1/T2, 1/T1."""
        relaxation, dephasing = self.rates_hz
        return np.stack([dephasing, dephasing, relaxation], axis=-1)

    @property
    def depolarising_time_s(self) -> NDArray[np.float64]:
        """Time 3 / (1/T1 + 2/T2) of the depolarising memory in which a pair loses fidelity as fast at first (s)."""
        relaxation, dephasing = self.rates_hz
        with np.errstate(divide="ignore"):
            return np.asarray(3.0 / (relaxation + 2.0 * dephasing))


def relax_bell_diagonal(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, memory_a: RelaxingMemory, memory_b: RelaxingMemory
) -> NDArray[np.float64]:
    """Return the exact Bell-diagonal weights `(..., 4)` after `elapsed_s` in two memories that relax.

    The first weight is the exact fidelity. The state has ZI and IZ terms besides, see `relax_density_matrix`.

    Args:
        bell_diagonal: Weights `(..., 4)` before storage, in the order (I, X, Y, Z).
        elapsed_s: Storage time (s), at least 0.
        memory_a: The first half's memory.
        memory_b: The second half's.
    """
    c, lost_a, lost_b = _relaxed(bell_diagonal, elapsed_s, memory_a, memory_b)
    c[..., 2] += lost_a * lost_b
    return correlators_to_bell_diagonal(c)


def relax_density_matrix(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, memory_a: RelaxingMemory, memory_b: RelaxingMemory
) -> NDArray[np.float64]:
    """Return the exact density matrix `(..., 4, 4)`, rows |00>, |01>, |10>, |11>; arguments as above."""
    c, lost_a, lost_b = _relaxed(bell_diagonal, elapsed_s, memory_a, memory_b)
    terms = [c[..., 0], c[..., 1], c[..., 2] + lost_a * lost_b, lost_a, lost_b]
    matrices = [_XX, _MINUS_YY, _ZZ, _ZI, _IZ]
    total = sum((term[..., None, None] * matrix for term, matrix in zip(terms, matrices, strict=True)), start=np.eye(4))
    return np.asarray(total / 4.0)


def relaxation_cutoff_s(
    bell_diagonal: ArrayLike, minimum_fidelity: ArrayLike, memory_a: RelaxingMemory, memory_b: RelaxingMemory
) -> NDArray[np.float64]:
    """Return when a pair's exact fidelity first falls below `minimum_fidelity` in two memories that relax.

    The fidelity need not fall for ever: relaxation of both halves takes an anticorrelated part into |00>, half of which
    is Phi+. So the first crossing is looked for on a fine geometric grid and then met by bisection.

    Args:
        bell_diagonal: Weights `(..., 4)` before storage.
        minimum_fidelity: Lowest fidelity that is still of use, in [1/2, 1].
        memory_a: The first half's memory.
        memory_b: The second half's.

    Returns:
        Time (s) of the broadcast shape: 0 for a pair already below, infinite for one that never falls below.
    """
    minimum = require_between("minimum_fidelity", minimum_fidelity, 0.5, 1.0)

    def fidelity(elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(relax_bell_diagonal(bell_diagonal, elapsed, memory_a, memory_b)[..., 0])

    rates = np.stack(np.broadcast_arrays(*memory_a.rates_hz, *memory_b.rates_hz), axis=-1)
    shape = np.broadcast_shapes(fidelity(np.zeros(())).shape, minimum.shape)
    fastest, slowest = rates.max(axis=-1), np.min(np.where(rates > 0.0, rates, np.inf), axis=-1)
    keeps_for_ever = fastest == 0.0
    start = np.broadcast_to(1e-6 / np.where(keeps_for_ever, 1.0, fastest), shape)
    stop = np.broadcast_to(40.0 / np.where(keeps_for_ever, 1.0, slowest), shape)
    grid = np.concatenate([np.zeros((1, *shape)), np.geomspace(start, stop, _SCAN)])
    below = fidelity(grid) < minimum
    first = np.argmax(below, axis=0)[None]
    high = np.take_along_axis(grid, first, axis=0)[0]
    low = np.take_along_axis(grid, np.maximum(first - 1, 0), axis=0)[0]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        stays = fidelity(middle) >= minimum
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return np.asarray(np.where(below.any(axis=0), (low + high) / 2.0, np.inf))


def _relaxed(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, memory_a: RelaxingMemory, memory_b: RelaxingMemory
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the damped correlators `(..., 3)` and what either half has lost, d and d'."""
    c = bell_diagonal_to_correlators(bell_diagonal)
    elapsed = require_non_negative("elapsed_s", elapsed_s)
    (relax_a, dephase_a), (relax_b, dephase_b) = memory_a.rates_hz, memory_b.rates_hz
    coherence = np.exp(-elapsed * (dephase_a + dephase_b))
    population = np.exp(-elapsed * (relax_a + relax_b))
    damped = c * np.stack([coherence, coherence, population], axis=-1)
    lost_a, lost_b = -np.expm1(-elapsed * relax_a), -np.expm1(-elapsed * relax_b)
    shape = damped.shape[:-1]
    return damped, np.broadcast_to(lost_a, shape), np.broadcast_to(lost_b, shape)
