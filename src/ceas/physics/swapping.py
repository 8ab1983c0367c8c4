"""Entanglement swapping with an imperfect Bell measurement, for two pairs and for chains.

The middle node applies a CNOT between its halves, a Hadamard gate, reads both bits, and tells an end node which Pauli
correction makes the long pair Phi+. Of these steps

* the CNOT, with probability p2, leaves both halves maximally mixed: then the outer halves are as well;
* the Hadamard gate, with probability p1, makes the bit of the X parity random: it is wrong with probability p1/2;
* each bit is read wrongly with probability e.

A wrong bit of the Z parity is an X error on the long pair, a wrong bit of the X parity a Z error. So the correlators of
the product are multiplied by

    c_x: (1 - p2)(1 - p1)(1 - 2e),   c_y: (1 - p2)(1 - p1)(1 - 2e)^2,   c_z: (1 - p2)(1 - 2e)

and Werner pairs, with p1 = 0, become one of `(1 - p2) (4 m^2 - 1)/3 w_1 w_2` with m = 1 - e after twirling. The
correction is taken as perfect; in practice it is only noted.

A two-qubit gate that depolarises each of its qubits on its own, with probability p2 each, keeps (1 - p2)^2 of c_y and
1 - p2 of the others: an error on one qubit then spares the other's bit. `two_qubit_noise` says which of the two a gate
has. Published gate fidelities do not tell; the circuits of the learners have the second, see `ceas.learning.noise`.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_bell_diagonal, require_positive, unit_interval
from ceas.physics.operations import PERFECT_OPERATIONS, LocalOperations
from ceas.physics.states import bell_diagonal_to_correlators, correlators_to_bell_diagonal

TwoQubitNoise = Literal["joint", "independent"]

__all__ = ["bell_measurement_correlators", "chain_success_probability", "swap_chain", "swap_noisy"]


def bell_measurement_correlators(
    operations: LocalOperations = PERFECT_OPERATIONS, *, two_qubit_noise: TwoQubitNoise = "joint"
) -> NDArray[np.float64]:
    """Return by what factors `(..., 3)` a Bell measurement at a node multiplies the correlators (x, y, z).

    Args:
        operations: The node's gates and readout.
        two_qubit_noise: Whether the CNOT depolarises both qubits together or each on its own.
    """
    gate = 1.0 - np.asarray(operations.two_qubit_depolarising, dtype=np.float64)
    readout = 1.0 - 2.0 * np.asarray(operations.readout_error, dtype=np.float64)
    # An X error, from the Z parity, spares c_x; a Z error, from the X parity, spares c_z.
    z_parity = gate * readout
    x_parity = z_parity * (1.0 - np.asarray(operations.one_qubit_depolarising, dtype=np.float64))
    both = x_parity * (readout if two_qubit_noise == "joint" else z_parity)
    return np.stack(np.broadcast_arrays(x_parity, both, z_parity), axis=-1)


def swap_noisy(a: ArrayLike, b: ArrayLike, operations: LocalOperations = PERFECT_OPERATIONS) -> NDArray[np.float64]:
    """Return the weights `(..., 4)` of the pair that the middle node's Bell measurement makes of two pairs.

    Args:
        a: Bell-diagonal weights `(..., 4)` of the first pair.
        b: Bell-diagonal weights `(..., 4)` of the second pair, broadcast against the first.
        operations: The middle node's gates and readout.

    Source:
        Briegel, Dür, Cirac and Zoller, PRL 81, 5932, 1998 for Werner pairs; Bell-diagonal pairs derived here.
    """
    first, second = bell_diagonal_to_correlators(a), bell_diagonal_to_correlators(b)
    return correlators_to_bell_diagonal(first * second * bell_measurement_correlators(operations))


def swap_chain(pairs: ArrayLike, operations: LocalOperations = PERFECT_OPERATIONS) -> NDArray[np.float64]:
    """Return the weights `(..., 4)` of the pair that swapping makes of a chain of pairs `(..., n, 4)`.

    The order of the swaps does not matter. Array fields of `operations` have a last axis for the n - 1 middle nodes.

    Raises:
        DomainError: There is no pair, or a last axis of `operations` does not fit.
    """
    links = require_bell_diagonal("pairs", pairs)
    if links.ndim < 2 or links.shape[-2] == 0:
        raise DomainError(f"Argument `pairs` must have shape (..., n, 4) with n at least 1, but has {links.shape}.")
    n_swaps = links.shape[-2] - 1
    factors = bell_measurement_correlators(operations)
    if factors.ndim > 1 and factors.shape[-2] not in (1, n_swaps):
        raise DomainError(f"Argument `operations` must have {n_swaps} middle nodes, but has {factors.shape[-2]}.")
    factors = np.broadcast_to(factors, (*factors.shape[:-2], n_swaps, 3))
    product = bell_diagonal_to_correlators(links).prod(axis=-2) * factors.prod(axis=-2)
    return correlators_to_bell_diagonal(product)


def chain_success_probability(success_probability: ArrayLike, n_links: ArrayLike) -> NDArray[np.float64]:
    """Return s^(n-1), the chance that all Bell measurements of a chain of n links succeed, each with probability s.

    A Bell measurement by linear optics with two detected photons succeeds with s = 1/2 at most (Calsamiglia and
    Lütkenhaus, Appl. Phys. B 72, 67, 2001); one by gates with s = 1.
    """
    success = unit_interval("success_probability", success_probability)
    return np.asarray(success ** (require_positive("n_links", n_links) - 1.0))
