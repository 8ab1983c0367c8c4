"""What faulty pairs leave of a circuit's signal where all its rotations are quarter turns, in closed form.

There the measured Z is, before each gate, one string of Pauli operators, and a pair multiplies the expectation value by
at most one of its three correlators: 1 - 2 * (weight of its errors that turn the string's sign). Between such points
values are sums over strings, for which the exact engines are there.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ceas.errors import DomainError
from ceas.learning.circuits import ROTATIONS, Circuit, Gate
from ceas.learning.partition import Partition, Teledata, Telegate

__all__ = ["correlators_met", "ideal_is_certain"]

Correlator = Literal["x", "y", "z"]


class _String(NamedTuple):
    """A product of Paulis without its sign: bit q of `x` and of `z` tells whether X and Z of qubit q are in it."""

    x: int
    z: int

    def times(self, other: "_String") -> "_String":
        return _String(self.x ^ other.x, self.z ^ other.z)

    def anticommutes(self, other: "_String") -> bool:
        return ((self.x & other.z).bit_count() + (self.z & other.x).bit_count()) % 2 == 1


def correlators_met(
    circuit: Circuit, partition: Partition, quarter_turns: Sequence[int], qubit: int
) -> tuple[Correlator | None, ...]:
    """Return for each pair the correlator that multiplies <Z> of a qubit, or None where the pair does not matter.

    The value with faulty pairs is the ideal one times the product of these correlators of the pairs; gate errors apart.

    Args:
        circuit: The circuit.
        partition: How it is cut.
        quarter_turns: Angle of each rotation of the circuit in units of pi/2.
        qubit: The measured qubit.

    Raises:
        DomainError: The number of angles is not that of the rotations, or the qubit is not one of the circuit's.
    """
    turns = _turns(circuit, quarter_turns, qubit)
    serving = {gate: n for n, use in enumerate(partition.uses) if isinstance(use, Telegate) for gate in use.gates}
    is_flipped = [False] * len(partition.uses)
    met: list[Correlator | None] = [None] * len(partition.uses)
    string = _paulis("Z", (qubit,))
    _meet(partition, len(circuit.gates), string, is_flipped, met)
    for index in reversed(range(len(circuit.gates))):
        gate, turn = circuit.gates[index], turns.get(index, 0)
        if index in serving:
            use = partition.uses[serving[index]]
            assert isinstance(use, Telegate)
            is_flipped[serving[index]] ^= string.anticommutes(_error_of_wrong_copy(gate, use, turn))
        string = _before(gate, string, turn)
        _meet(partition, index, string, is_flipped, met)
    return tuple(met)


def ideal_is_certain(circuit: Circuit, quarter_turns: Sequence[int], qubit: int) -> bool:
    """Return whether <Z> of a qubit is +1 or -1 without errors; otherwise it is 0. Arguments as above."""
    turns = _turns(circuit, quarter_turns, qubit)
    string = _paulis("Z", (qubit,))
    for index in reversed(range(len(circuit.gates))):
        string = _before(circuit.gates[index], string, turns.get(index, 0))
    return string.x == 0


def _turns(circuit: Circuit, quarter_turns: Sequence[int], qubit: int) -> dict[int, int]:
    """Return the quarter turns of the gates that are rotations."""
    if len(quarter_turns) != len(circuit.rotations):
        needed = len(circuit.rotations)
        raise DomainError(f"Argument `quarter_turns` must have {needed} numbers, but has {len(quarter_turns)}.")
    if not 0 <= qubit < circuit.n_qubits:
        raise DomainError(f"Argument `qubit` must be in 0..{circuit.n_qubits - 1}, but is {qubit}.")
    return dict(zip(circuit.rotations, quarter_turns, strict=True))


def _meet(
    partition: Partition,
    index: int,
    string: _String,
    is_flipped: Sequence[bool],
    met: list[Correlator | None],
) -> None:
    """Note the correlators of the pairs that are taken before a gate."""
    for number, use in enumerate(partition.uses):
        if isinstance(use, Teledata) and use.before == index:
            has_x, has_z = string.x >> use.qubit & 1, string.z >> use.qubit & 1
            met[number] = _correlator(bool(has_x), bool(has_z))
        elif isinstance(use, Telegate) and use.gates[0] == index:
            # Z of the pair is the basis on the root, X a wrong copy.
            met[number] = _correlator(string.anticommutes(_paulis(use.basis, (use.root,))), is_flipped[number])


def _correlator(turned_by_z: bool, turned_by_x: bool) -> Correlator | None:
    if turned_by_z:
        return "y" if turned_by_x else "x"
    return "z" if turned_by_x else None


def _error_of_wrong_copy(gate: Gate, use: Telegate, turn: int) -> _String:
    """Return the Pauli that a wrong copy adds to a gate."""
    if gate.is_rotation:
        # A turn the other way differs by a half turn if it is an odd number of quarters.
        return _paulis(ROTATIONS[gate.kind], gate.qubits) if turn % 2 else _String(0, 0)
    (other,) = set(gate.qubits) - {use.root}
    return _paulis("X" if (gate.kind, use.basis) == ("cnot", "Z") else "Z", (other,))


def _before(gate: Gate, string: _String, turn: int) -> _String:
    """Return the string before a gate, whose inverse turns it."""
    turned = (ROTATIONS[gate.kind],) if gate.is_rotation and turn % 2 else ()
    for paulis in _QUARTERS.get(gate.kind, turned):
        axis = _paulis(paulis, gate.qubits)
        if string.anticommutes(axis):
            string = string.times(axis)
    return string


# Clifford gates as quarter turns about these Paulis, up to signs; each list reads the same both ways or commutes.
_QUARTERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("x", "y", "z"), ()),
    "h": ("Z", "X", "Z"),
    **dict.fromkeys(("s", "sdg"), ("Z",)),
    **dict.fromkeys(("sx", "sxdg"), ("X",)),
    "cnot": ("ZX", "ZI", "IX"),
    "cz": ("ZZ", "ZI", "IZ"),
    "swap": ("XX", "YY", "ZZ"),
}


def _paulis(paulis: str, qubits: Sequence[int]) -> _String:
    x = sum(1 << qubit for pauli, qubit in zip(paulis, qubits, strict=True) if pauli in "XY")
    z = sum(1 << qubit for pauli, qubit in zip(paulis, qubits, strict=True) if pauli in "YZ")
    return _String(x, z)
