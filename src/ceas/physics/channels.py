"""The noise that a qubit or a gate suffers when it is teleported through a Bell-diagonal pair.

Local gates and measurements are taken as ideal here; their own errors belong to the circuit that uses the pair.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_bell_diagonal

__all__ = ["teleported_cnot_channel", "teleported_qubit_channel"]


def teleported_qubit_channel(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the probabilities `(..., 4)` of the Pauli errors (I, X, Y, Z) on a teleported qubit.

    They are the pair's own weights: a Pauli on one half of Phi+ is carried over to the teleported qubit.

    Source:
        Bowen and Bose, PRL 87, 267901, 2001.
    """
    return require_bell_diagonal("bell_diagonal", bell_diagonal).copy()


def teleported_cnot_channel(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the probabilities `(..., 4)` of the errors (II, X_target, Z_control X_target, Z_control) after a CNOT.

    The gate is teleported with one pair: CNOT from the control to its half, a Z measurement there that corrects X on
    the other half, CNOT from that half to the target, an X measurement that corrects Z on the control. An X error of
    the pair flips what the target sees, a Z error flips the X measurement, and a Y error does both.

    Source:
        Eisert, Jacobs, Papadopoulos and Plenio, PRA 62, 052317, 2000 for the protocol; errors derived here.
    """
    return require_bell_diagonal("bell_diagonal", bell_diagonal).copy()
