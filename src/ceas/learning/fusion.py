"""A circuit as few operations on pure states: products of one-qubit gates, ZZ rotations and sign flips.

- Consecutive one-qubit gates of a qubit are one 2 x 2 matrix; on a qubit in |0> they prepare its part of a product
  state. RXX and RYY are RZZ between one-qubit gates, which join the neighbouring products.
- CNOT and SWAP move nothing: the bits of an index of amplitudes are relabelled over GF(2). Bit q of the circuit is the
  parity of the index on a mask, and flipping it flips the bits of another mask.

Phases of the whole state are dropped.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ceas.learning.circuits import Circuit, Gate
from ceas.learning.state_vectors import CZ, PRODUCT, RELAXATION, ZZ, FusedProgram

__all__ = ["fuse"]

# Axes of rotations; the last is that of the Hadamard gate, between X and Z.
_X, _Y, _Z, _H = range(4)
_AXES = {"rx": _X, "ry": _Y, "rz": _Z}
_FIXED: dict[str, tuple[int, float]] = {
    "x": (_X, np.pi),
    "y": (_Y, np.pi),
    "z": (_Z, np.pi),
    "h": (_H, np.pi),
    "s": (_Z, np.pi / 2),
    "sdg": (_Z, -np.pi / 2),
    "sx": (_X, np.pi / 2),
    "sxdg": (_X, -np.pi / 2),
}
# The rotation that takes Z to the operator of the gate.
_TILTS: dict[str, tuple[int, float]] = {"rxx": (_Y, np.pi / 2), "ryy": (_X, -np.pi / 2)}


class _Turn(NamedTuple):
    """A rotation about an axis by the angle of a rotation of the circuit, or by a fixed angle where that is -1."""

    axis: int
    rotation: int
    fixed: float


class _Fusion:
    """Collects turns per qubit until an operation of another kind needs the qubit."""

    def __init__(self, circuit: Circuit, *, has_start: bool, has_relaxation: bool) -> None:
        self.circuit, self.has_relaxation = circuit, has_relaxation
        n = circuit.n_qubits
        self.x, self.z = [1 << q for q in range(n)], [1 << q for q in range(n)]
        self.pending: list[list[_Turn]] = [[] for _ in range(n)]
        self.is_untouched = [has_start] * n
        self.turns: list[_Turn] = []
        self.start = np.zeros((n, 2), dtype=np.int64)
        self.operations: list[tuple[int, int, int, int, int]] = []

    def run(self) -> FusedProgram:
        rotation = n_relaxations = 0
        for index, gate in enumerate(self.circuit.gates):
            self._apply(gate, rotation)
            rotation += gate.is_rotation
            if self.has_relaxation and self.circuit.has_error[index]:
                for qubit in gate.qubits:
                    self._flush(qubit)
                    self.operations.append((RELAXATION, self.x[qubit], self.z[qubit], n_relaxations, 0))
                    n_relaxations += 1
        for qubit in range(self.circuit.n_qubits):
            self._flush(qubit)
        return FusedProgram(
            n_qubits=self.circuit.n_qubits,
            start=self.start,
            operations=np.array(self.operations, dtype=np.int64).reshape(-1, 5),
            axis=np.array([turn.axis for turn in self.turns], dtype=np.int64),
            rotation=np.array([turn.rotation for turn in self.turns], dtype=np.int64),
            fixed=np.array([turn.fixed for turn in self.turns], dtype=np.float64),
            outcome=np.array(self.z, dtype=np.int64),
        )

    def _apply(self, gate: Gate, rotation: int) -> None:
        first, last = gate.qubits[0], gate.qubits[-1]
        if gate.kind in _FIXED:
            axis, angle = _FIXED[gate.kind]
            self.pending[first].append(_Turn(axis, -1, angle))
        elif gate.kind in _AXES:
            self.pending[first].append(_Turn(_AXES[gate.kind], rotation, 0.0))
        elif gate.kind == "cnot":
            self._flush(first)
            self._flush(last)
            self.x[first] ^= self.x[last]
            self.z[last] ^= self.z[first]
        elif gate.kind == "swap":
            tables: tuple[list[Any], ...] = (self.x, self.z, self.pending, self.is_untouched)
            for rows in tables:
                rows[first], rows[last] = rows[last], rows[first]
        else:
            self._phase(gate, rotation)

    def _phase(self, gate: Gate, rotation: int) -> None:
        """Add a CZ, or a rotation about ZZ between the turns that tilt it."""
        axis, angle = _TILTS.get(gate.kind, (_Z, 0.0))
        for qubit in gate.qubits:
            if angle:
                self.pending[qubit].append(_Turn(axis, -1, -angle))
            self._flush(qubit)
        masks = [self.z[qubit] for qubit in gate.qubits]
        if gate.kind == "cz":
            self.operations.append((CZ, masks[0], masks[1], 0, 0))
            return
        self.turns.append(_Turn(_Z, rotation, 0.0))
        self.operations.append((ZZ, 0, masks[0] ^ masks[1], len(self.turns) - 1, len(self.turns)))
        for qubit in gate.qubits:
            if angle:
                self.pending[qubit].append(_Turn(axis, -1, angle))

    def _flush(self, qubit: int) -> None:
        first = len(self.turns)
        self.turns.extend(self.pending[qubit])
        self.pending[qubit] = []
        if self.is_untouched[qubit]:
            # No other gate has used the qubit, so its two masks are still one bit.
            self.start[self.x[qubit].bit_length() - 1] = first, len(self.turns)
        elif len(self.turns) > first:
            self.operations.append((PRODUCT, self.x[qubit], self.z[qubit], first, len(self.turns)))
        self.is_untouched[qubit] = False


@lru_cache(maxsize=64)
def fuse(circuit: Circuit, *, has_start: bool = True, has_relaxation: bool = False) -> FusedProgram:
    """Write a circuit as few operations on pure states.

    Args:
        circuit: The circuit.
        has_start: Whether all qubits start in |0>.
        has_relaxation: Whether relaxation follows gates where errors do.
    """
    return _Fusion(circuit, has_start=has_start, has_relaxation=has_relaxation).run()
