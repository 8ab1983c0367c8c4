"""Quantum neural network circuits as hashable values.

Every circuit starts with the data encoding RY(x_q) on each qubit q, applied to |0...0>; `gates` holds what follows.
RY(t) = exp(-i t Y / 2), RZ(t) = exp(-i t Z / 2).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ceas.errors import DomainError, UnknownNameError

__all__ = ["Circuit", "Entangler", "Gate", "GateKind", "hardware_efficient"]

GateKind = Literal["ry", "rz", "cnot"]
Entangler = Literal["ring", "chain"]

_ENTANGLERS = ("ring", "chain")
_ARITY = {"ry": 1, "rz": 1, "cnot": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate of a circuit.

    Attributes:
        kind: `"ry"` or `"rz"` (rotation by a parameter) or `"cnot"`.
        qubits: The rotated qubit, or control and target.
        parameter: Index of the rotation angle in the flat parameter vector; -1 for a CNOT.
        layer: Layer the gate belongs to; one-qubit errors follow a qubit's last rotation of each layer.
    """

    kind: GateKind
    qubits: tuple[int, ...]
    parameter: int = -1
    layer: int

    @property
    def is_rotation(self) -> bool:
        """Whether the gate turns one qubit by a parameter."""
        return self.kind != "cnot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A parametrised circuit; frozen and hashable, so that it can be a static argument of a compiled function.

    Attributes:
        n_qubits: Number of qubits.
        gates: Gates in the order in which they act, after the data encoding.
        n_parameters: Length of the flat parameter vector; each parameter drives exactly one rotation, which is what
            makes the two-term parameter-shift rule exact.
    """

    n_qubits: int
    gates: tuple[Gate, ...]
    n_parameters: int

    def __post_init__(self) -> None:
        if self.n_qubits < 1:
            raise DomainError(f"Argument `n_qubits` must be at least 1, but is {self.n_qubits}.")
        for gate in self.gates:
            _check_gate(gate, self.n_qubits)
        used = Counter(gate.parameter for gate in self.gates if gate.is_rotation)
        if used != Counter(range(self.n_parameters)):
            raise DomainError(
                f"Argument `gates` must use each parameter 0..{self.n_parameters - 1} in exactly one rotation, "
                f"but uses {sorted(used.elements())}."
            )

    @property
    def cnots(self) -> tuple[tuple[int, int], ...]:
        """Control and target of every CNOT, in order."""
        return tuple((gate.qubits[0], gate.qubits[1]) for gate in self.gates if gate.kind == "cnot")

    @property
    def has_error(self) -> tuple[bool, ...]:
        """For each gate, whether gate errors follow it: after a CNOT and after a qubit's last rotation of a layer."""
        last = {(gate.layer, gate.qubits[0]): index for index, gate in enumerate(self.gates) if gate.is_rotation}
        ends = set(last.values())
        return tuple(not gate.is_rotation or index in ends for index, gate in enumerate(self.gates))


def hardware_efficient(n_qubits: int, n_layers: int, entangler: Entangler = "ring") -> Circuit:
    """Build the hardware-efficient ansatz: per layer RY and RZ on every qubit, then CNOTs.

    Args:
        n_qubits: Number of qubits, at least 1.
        n_layers: Number of layers, at least 1.
        entangler: `"ring"`: CNOTs q -> q+1 mod n in order. `"chain"`: (0,1), (2,3), ..., then (1,2), (3,4), ...

    Returns:
        Circuit whose flat parameters are an array (n_layers, n_qubits, 2) raveled, the last axis being (RY, RZ).

    Raises:
        DomainError: A number is below 1.
        UnknownNameError: `entangler` is not known.

    Source:
        Kandala et al., Nature 549, 242, 2017.
    """
    if n_layers < 1:
        raise DomainError(f"Argument `n_layers` must be at least 1, but is {n_layers}.")
    if entangler not in _ENTANGLERS:
        raise UnknownNameError("entangler", entangler, _ENTANGLERS)
    pairs = _entangled_pairs(n_qubits, entangler)
    gates: list[Gate] = []
    for layer in range(n_layers):
        gates.extend(_rotations(n_qubits, layer))
        gates.extend(Gate(kind="cnot", qubits=pair, layer=layer) for pair in pairs)
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=2 * n_qubits * n_layers)


def _rotations(n_qubits: int, layer: int) -> Iterator[Gate]:
    for qubit in range(n_qubits):
        first = 2 * (layer * n_qubits + qubit)
        yield Gate(kind="ry", qubits=(qubit,), parameter=first, layer=layer)
        yield Gate(kind="rz", qubits=(qubit,), parameter=first + 1, layer=layer)


def _entangled_pairs(n_qubits: int, entangler: Entangler) -> tuple[tuple[int, int], ...]:
    if entangler == "ring":
        return tuple((q, (q + 1) % n_qubits) for q in range(n_qubits)) if n_qubits > 1 else ()
    return tuple((q, q + 1) for start in (0, 1) for q in range(start, n_qubits - 1, 2))


def _check_gate(gate: Gate, n_qubits: int) -> None:
    if len(gate.qubits) != _ARITY[gate.kind] or len(set(gate.qubits)) != len(gate.qubits):
        raise DomainError(f"Argument `gates` must act on distinct qubits, but {gate.kind} has {gate.qubits}.")
    if not all(0 <= qubit < n_qubits for qubit in gate.qubits):
        raise DomainError(f"Argument `gates` must act on qubits below {n_qubits}, but {gate.kind} has {gate.qubits}.")
    if not gate.is_rotation and gate.parameter != -1:
        raise DomainError(f"Argument `gates` must give a CNOT parameter -1, but has {gate.parameter}.")
