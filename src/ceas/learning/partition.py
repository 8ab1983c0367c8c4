"""How a circuit is spread over the learner's own quantum processor (QPU) and a lender's."""

from dataclasses import dataclass
from typing import Literal

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit

__all__ = ["Partition", "PartitionKind", "partition_circuit"]

PartitionKind = Literal["data", "qubit"]

_KINDS = ("data", "qubit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Which QPU holds each qubit, and which gates cross; hashable, like the circuit.

    Attributes:
        kind: `"data"` or `"qubit"`.
        owner: For each qubit, 0 for the learner's own QPU and 1 for the lender's.
        pair_index: For each gate of the circuit, which of the shot's Bell pairs it consumes; -1 for a local gate.
    """

    kind: PartitionKind
    owner: tuple[int, ...]
    pair_index: tuple[int, ...]

    @property
    def remote_gates(self) -> tuple[int, ...]:
        """Indices in `circuit.gates` of the teleported gates; the i-th of them consumes pair i of the shot."""
        return tuple(gate for gate, pair in enumerate(self.pair_index) if pair >= 0)

    @property
    def pairs_per_shot(self) -> int:
        """Bell pairs that one shot consumes: one per teleported CNOT."""
        return len(self.remote_gates)


def partition_circuit(circuit: Circuit, kind: PartitionKind = "data") -> Partition:
    """Spread a circuit over QPUs.

    `"data"`: each learner runs the whole circuit on its own QPU; no pairs. `"qubit"`: the first half of the qubits (the
    larger half, when odd) is on the learner's QPU and the rest on the lender's; each CNOT across is teleported with one
    pair.

    Args:
        circuit: The circuit.
        kind: `"data"` or `"qubit"`.

    Raises:
        UnknownNameError: `kind` is not known.
        DomainError: A circuit of one qubit cannot be cut.

    Source:
        Eisert, Jacobs, Papadopoulos and Plenio, PRA 62, 052317, 2000 (one pair per teleported CNOT).
    """
    if kind not in _KINDS:
        raise UnknownNameError("partition", kind, _KINDS)
    if kind == "data":
        return Partition(kind=kind, owner=(0,) * circuit.n_qubits, pair_index=(-1,) * len(circuit.gates))
    if circuit.n_qubits < 2:
        raise DomainError("Argument `circuit` must have at least 2 qubits for the partition `qubit`, but has 1.")
    n_own = (circuit.n_qubits + 1) // 2
    owner = tuple(int(qubit >= n_own) for qubit in range(circuit.n_qubits))
    return Partition(kind=kind, owner=owner, pair_index=_pair_indices(circuit, owner))


def _pair_indices(circuit: Circuit, owner: tuple[int, ...]) -> tuple[int, ...]:
    indices: list[int] = []
    used = 0
    for gate in circuit.gates:
        is_remote = len({owner[qubit] for qubit in gate.qubits}) > 1
        indices.append(used if is_remote else -1)
        used += is_remote
    return tuple(indices)
