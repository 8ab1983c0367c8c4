"""The noise that a qubit or a gate suffers when it is teleported through a Bell-diagonal pair.

Pauli errors of the pair, of local gates (depolarising) and of readout all stay Pauli errors on the delivered qubits, so
the channels are exact probabilities of Paulis. Corrections are taken as perfect: they are noted, not applied.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_bell_diagonal, require_count, unit_interval
from ceas.physics.operations import PERFECT_OPERATIONS, LocalOperations
from ceas.physics.states import bell_diagonal_to_correlators, correlators_to_bell_diagonal
from ceas.physics.swapping import bell_measurement_correlators

__all__ = [
    "average_channel_fidelity",
    "teleported_cnot_channel",
    "teleported_cnot_pauli_channel",
    "teleported_qubit_channel",
]

_PAULI_PRODUCT_16 = np.bitwise_xor.outer(np.arange(16), np.arange(16))


def teleported_qubit_channel(
    bell_diagonal: ArrayLike, operations: LocalOperations = PERFECT_OPERATIONS
) -> NDArray[np.float64]:
    """Return the probabilities `(..., 4)` of the Pauli errors (I, X, Y, Z) on a teleported qubit.

    With a perfect Bell measurement they are the pair's own weights: a Pauli on one half of Phi+ is carried over to the
    teleported qubit. The sender's Bell measurement adds the same errors as in a swap, see `ceas.physics.swapping`.

    Args:
        bell_diagonal: The pair's weights `(..., 4)`.
        operations: The sender's gates and readout.

    Source:
        Bowen and Bose, PRL 87, 267901, 2001.
    """
    if operations is PERFECT_OPERATIONS:
        return require_bell_diagonal("bell_diagonal", bell_diagonal).copy()
    factors = bell_measurement_correlators(operations)
    return correlators_to_bell_diagonal(bell_diagonal_to_correlators(bell_diagonal) * factors)


def teleported_cnot_channel(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the probabilities `(..., 4)` of the errors (II, X_target, Z_control X_target, Z_control) after a CNOT.

    The gate is teleported with one pair: CNOT from the control to its half, a Z measurement there that corrects X on
    the other half, CNOT from that half to the target, an X measurement that corrects Z on the control. An X error of
    the pair flips what the target sees, a Z error flips the X measurement, and a Y error does both. Local gates and
    measurements are perfect here.

    Source:
        Eisert, Jacobs, Papadopoulos and Plenio, PRA 62, 052317, 2000 for the protocol; errors derived here.
    """
    return require_bell_diagonal("bell_diagonal", bell_diagonal).copy()


def teleported_cnot_pauli_channel(
    bell_diagonal: ArrayLike,
    operations_control: LocalOperations = PERFECT_OPERATIONS,
    operations_target: LocalOperations | None = None,
) -> NDArray[np.float64]:
    """Return the probabilities `(..., 16)` of the Paulis on (control, target) after a teleported CNOT, all noise in.

    The index is 4 times the control's Pauli plus the target's, each in the order (I, X, Y, Z). Noise by cause:

    * the pair: as in `teleported_cnot_channel`;
    * the control node's CNOT, depolarised: any Pauli on the control, and a wrong bit, which is X on the target, half of
      the time;
    * the target node's CNOT, depolarised: any Pauli on the target, and Z on the control half of the time;
    * a misread bit at the control node: X on the target; at the target node: Z on the control. The Hadamard gate before
      the latter, depolarised, makes the bit random.

    Args:
        bell_diagonal: The pair's weights `(..., 4)`.
        operations_control: Gates and readout of the control's node.
        operations_target: Those of the target's node; the same when left out.
    """
    target = operations_control if operations_target is None else operations_target
    pair = require_bell_diagonal("bell_diagonal", bell_diagonal)
    gate_control, misread_control = _gate_and_readout(operations_control)
    gate_target, misread_target = _gate_and_readout(target)
    hadamard = np.asarray(target.one_qubit_depolarising, dtype=np.float64)
    misread_target = misread_target * (1.0 - hadamard) + hadamard / 2.0

    x_target, z_control = 1, 12
    channel = _pauli_mixture(pair, [0, x_target, z_control + x_target, z_control])
    any_control = _uniform([4 * control + x for control in range(4) for x in (0, x_target)])
    any_target = _uniform([z + pauli for z in (0, z_control) for pauli in range(4)])
    for probability, error in (
        (gate_control, any_control),
        (gate_target, any_target),
        (misread_control, _uniform([x_target])),
        (misread_target, _uniform([z_control])),
    ):
        struck = np.einsum("...i,ki->...k", channel, error[_PAULI_PRODUCT_16])
        channel = (1.0 - probability[..., None]) * channel + probability[..., None] * struck
    return channel


def average_channel_fidelity(process_fidelity: ArrayLike, n_qubits: int) -> NDArray[np.float64]:
    """Return the fidelity averaged over pure inputs, (d F + 1)/(d + 1) with d = 2^n, of a process fidelity F.

    A Pauli channel's process fidelity is its probability of no error: teleportation has (2F + 1)/3, a CNOT (4F + 1)/5.

    Source:
        Horodecki, Horodecki and Horodecki, PRA 60, 1888, 1999.
    """
    dimension = 2.0 ** require_count("n_qubits", n_qubits)
    return np.asarray((dimension * unit_interval("process_fidelity", process_fidelity) + 1.0) / (dimension + 1.0))


def _gate_and_readout(operations: LocalOperations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a node's two-qubit depolarising probability and its readout error."""
    return (
        np.asarray(operations.two_qubit_depolarising, dtype=np.float64),
        np.asarray(operations.readout_error, dtype=np.float64),
    )


def _pauli_mixture(probabilities: NDArray[np.float64], paulis: list[int]) -> NDArray[np.float64]:
    """Return probabilities `(..., 16)` with the given ones `(..., n)` at the given two-qubit Paulis."""
    mixture = np.zeros((*probabilities.shape[:-1], 16))
    mixture[..., paulis] = probabilities
    return mixture


def _uniform(paulis: list[int]) -> NDArray[np.float64]:
    """Return the uniform mixture `(16,)` of two-qubit Paulis."""
    mixture = np.zeros(16)
    mixture[paulis] = 1.0 / len(paulis)
    return mixture
