"""How well a node's own gates and measurements work.

A depolarising probability p says that, with probability p, a gate leaves its qubits maximally mixed. It is 4/3 of the
gate's Pauli error probability on one qubit, and of the marginal Pauli error on each of two qubits; for a two-qubit gate
of average fidelity F it is 4(1 - F)/3, for a one-qubit gate 2(1 - F).

A readout error is the chance that a bit is reported flipped. In every protocol of this room the bits that are read are
uniformly random and the corrected state is the same for either value, so where 0 and 1 are misread with different
probabilities their mean is exact.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ceas.physics.domain import require_between

__all__ = ["PERFECT_OPERATIONS", "LocalOperations", "depolarising_from_gate_fidelity"]

Numbers: TypeAlias = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOperations:
    """Errors of one node's operations; arrays, broadcast against the pairs, describe many nodes at once.

    Attributes:
        one_qubit_depolarising: Chance that a one-qubit gate leaves its qubit maximally mixed.
        two_qubit_depolarising: Chance that a two-qubit gate leaves both its qubits maximally mixed.
        readout_error: Chance that a measured bit is reported flipped, in [0, 1/2].
    """

    one_qubit_depolarising: Numbers = 0.0
    two_qubit_depolarising: Numbers = 0.0
    readout_error: Numbers = 0.0

    def __post_init__(self) -> None:
        require_between("one_qubit_depolarising", self.one_qubit_depolarising, 0.0, 1.0)
        require_between("two_qubit_depolarising", self.two_qubit_depolarising, 0.0, 1.0)
        require_between("readout_error", self.readout_error, 0.0, 0.5)


PERFECT_OPERATIONS = LocalOperations()


def depolarising_from_gate_fidelity(average_fidelity: float, n_qubits: int) -> float:
    """Return the depolarising probability (1 - F) d/(d - 1), d = 2^n, of a gate of average fidelity F."""
    dimension = 2**n_qubits
    lowest = 1.0 / dimension
    fidelity = float(require_between("average_fidelity", average_fidelity, lowest, 1.0))
    return float((1.0 - fidelity) * dimension / (dimension - 1.0))
