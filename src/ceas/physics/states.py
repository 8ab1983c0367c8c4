"""Bell pairs as numbers: Werner parameters, Bell-diagonal weights, and entanglement swapping.

A Bell-diagonal pair is an array `(..., 4)` of probabilities in the order (I, X, Y, Z) of the Pauli error on a perfect
Phi+ pair: weights of Phi+, Psi+, Psi-, Phi-. A Werner pair has one parameter w: weights (1+3w)/4 and three times
(1-w)/4.

The same pair is also its three correlators `c = (c_x, c_y, c_z)`, the diagonal of its error's Pauli transfer matrix:
`c_x = <XX>`, `c_y = -<YY>`, `c_z = <ZZ>`, all 1 for Phi+ and all w for a Werner pair. Pauli i keeps its own correlator
and flips the two others, so Pauli memories and swaps multiply correlators elementwise, and F = (1 + c_x + c_y + c_z)/4.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_bell_diagonal, require_between, require_correlators

__all__ = [
    "bell_diagonal_to_correlators",
    "bell_diagonal_to_werner",
    "correlators_to_bell_diagonal",
    "fidelity_to_werner",
    "swap_bell_diagonal",
    "swap_werner",
    "werner_bell_diagonal",
    "werner_to_fidelity",
]

LOWEST_WERNER = -1.0 / 3.0

# Up to a phase, Pauli i times Pauli j is Pauli i XOR j in the order (I, X, Y, Z).
_PAULI_PRODUCT = np.bitwise_xor.outer(np.arange(4), np.arange(4))

# Row j: what (I, X, Y, Z) do to the j-th of (identity, c_x, c_y, c_z). Symmetric, and its own inverse up to a factor 4.
_SIGNS = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0], [1.0, -1.0, -1.0, 1.0]])


def werner_to_fidelity(werner: ArrayLike) -> NDArray[np.float64]:
    """Return the fidelity F = (1 + 3w)/4 of Werner parameters in [-1/3, 1]."""
    return (1.0 + 3.0 * require_between("werner", werner, LOWEST_WERNER, 1.0)) / 4.0


def fidelity_to_werner(fidelity: ArrayLike) -> NDArray[np.float64]:
    """Return the Werner parameter w = (4F - 1)/3 of fidelities in [0, 1]."""
    return (4.0 * require_between("fidelity", fidelity, 0.0, 1.0) - 1.0) / 3.0


def werner_bell_diagonal(werner: ArrayLike) -> NDArray[np.float64]:
    """Return the Bell-diagonal weights `(..., 4)` of Werner parameters in [-1/3, 1]."""
    fidelity = werner_to_fidelity(werner)
    error = (1.0 - fidelity) / 3.0
    return np.stack([fidelity, error, error, error], axis=-1)


def bell_diagonal_to_werner(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the Werner parameter of equal fidelity, which is the state after twirling."""
    return fidelity_to_werner(require_bell_diagonal("bell_diagonal", bell_diagonal)[..., 0])


def bell_diagonal_to_correlators(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the correlators `(..., 3)`, in the order (x, y, z), of Bell-diagonal weights `(..., 4)`."""
    return np.asarray(require_bell_diagonal("bell_diagonal", bell_diagonal) @ _SIGNS[:, 1:])


def correlators_to_bell_diagonal(correlators: ArrayLike) -> NDArray[np.float64]:
    """Return the weights `(..., 4)` of correlators `(..., 3)` in the order (x, y, z).

    Raises:
        DomainError: The correlators are not those of a state: a weight would be negative.
    """
    c = require_correlators("correlators", correlators)
    return np.asarray(np.clip((1.0 + c @ _SIGNS[1:, :]) / 4.0, 0.0, 1.0))


def swap_bell_diagonal(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the weights of the pair that an ideal Bell measurement makes of two pairs.

    Pauli errors multiply, so the weights are convolved over the Pauli group modulo phases: c_k = sum_i a_i b_(i XOR k).

    Args:
        a: Bell-diagonal weights `(..., 4)` of the first pair.
        b: Bell-diagonal weights `(..., 4)` of the second pair, broadcast against the first.

    Returns:
        Bell-diagonal weights `(..., 4)` of the end-to-end pair after its Pauli correction.
    """
    first = require_bell_diagonal("a", a)
    second = require_bell_diagonal("b", b)
    return np.asarray(np.einsum("...i,...ki->...k", first, second[..., _PAULI_PRODUCT]))


def swap_werner(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the Werner parameter w_a w_b of the pair that an ideal Bell measurement makes of two Werner pairs."""
    return require_between("a", a, LOWEST_WERNER, 1.0) * require_between("b", b, LOWEST_WERNER, 1.0)
