"""Clifford gates and Pauli errors of a circuit, worked out before any state exists.

With U the product of the Clifford gates so far, the state is kept as U^-1 |psi>. A rotation about P then turns about
U^-1 P U, which is again a Pauli string with a sign (a stabiliser tableau of 2 n rows). Errors are pulled back the same
way and never touch the state: an error flips the sign of each later angle whose Pauli string anticommutes with it, and
finally outcomes. Every random bit of noise may add several errors, as that of a shared copy does, and which signs flip
stays linear over GF(2) in those bits.

The measured strings U^-1 Z_q U commute, but need not be diagonal after gates other than CNOTs. Quarter turns make them
so: a string M that anticommutes with the diagonal D is turned about i M D into -D, and the strings that are diagonal
already stay as they are. As many turns are needed as the X parts of the strings have rank.

Sources: Aaronson and Gottesman, PRA 70, 052328, 2004 (tableau); Knill, Nature 434, 39, 2005 (Pauli frame).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import ROTATIONS, Circuit, Gate
from ceas.learning.partition import Partition, Teledata, Telegate

__all__ = ["FrameProgram", "PauliString", "Step", "Tableau", "compile_frame"]


class PauliString(NamedTuple):
    """The operator i^phase X^x Z^z, with a bit per qubit in the masks."""

    x: int
    z: int
    phase: int = 0

    def times(self, other: "PauliString") -> "PauliString":
        """Return the product self * other."""
        swaps = (self.z & other.x).bit_count()
        return PauliString(self.x ^ other.x, self.z ^ other.z, (self.phase + other.phase + 2 * swaps) % 4)

    def anticommutes(self, other: "PauliString") -> bool:
        """Tell whether self * other = -other * self."""
        return ((self.x & other.z).bit_count() + (self.z & other.x).bit_count()) % 2 == 1


class Tableau:
    """The images U^-1 X_q U and U^-1 Z_q U of a growing product U of Clifford gates."""

    def __init__(self, n_qubits: int) -> None:
        self.x = [PauliString(1 << qubit, 0) for qubit in range(n_qubits)]
        self.z = [PauliString(0, 1 << qubit) for qubit in range(n_qubits)]

    def image(self, letters: str, qubits: Sequence[int]) -> PauliString:
        """Return U^-1 P U for the product P of a Pauli operator (I, X, Y or Z) on each of the qubits."""
        product = PauliString(0, 0)
        for letter, qubit in zip(letters, qubits, strict=True):
            if letter == "Y":  # Y = i X Z
                product = product.times(PauliString(0, 0, 1))
            if letter in "XY":
                product = product.times(self.x[qubit])
            if letter in "YZ":
                product = product.times(self.z[qubit])
        return product

    def apply(self, gate: Gate) -> None:
        """Let a Clifford gate act after U."""
        changed = [(image, self.image(letters, gate.qubits), sign) for image, letters, sign in _CONJUGATES[gate.kind]]
        for (letter, place), image, sign in changed:
            rows = self.x if letter == "X" else self.z
            rows[gate.qubits[place]] = image._replace(phase=(image.phase + (0 if sign > 0 else 2)) % 4)


# What G^-1 P G is for each generator P that G changes: (P and its place among the gate's qubits), string, sign.
_CONJUGATES: dict[str, tuple[tuple[tuple[str, int], str, int], ...]] = {
    "x": ((("Z", 0), "Z", -1),),
    "y": ((("X", 0), "X", -1), (("Z", 0), "Z", -1)),
    "z": ((("X", 0), "X", -1),),
    "h": ((("X", 0), "Z", 1), (("Z", 0), "X", 1)),
    "s": ((("X", 0), "Y", -1),),
    "sdg": ((("X", 0), "Y", 1),),
    "sx": ((("Z", 0), "Y", 1),),
    "sxdg": ((("Z", 0), "Y", -1),),
    "cnot": ((("X", 0), "XX", 1), (("Z", 1), "ZZ", 1)),
    "cz": ((("X", 0), "XZ", 1), (("X", 1), "ZX", 1)),
    "swap": ((("X", 0), "IX", 1), (("X", 1), "XI", 1), (("Z", 0), "IZ", 1), (("Z", 1), "ZI", 1)),
}


class Step(NamedTuple):
    """What happens to the stored state.

    Attributes:
        rotation: Rotation of the circuit, or -1 for a quarter turn that makes outcomes diagonal, or -2 for relaxation.
        pauli: String that the rotation turns about; for relaxation, the image of Z of the qubit.
        flip: Error bits that change its sign, shape (bits,).
        raising: For relaxation, the image of X of the qubit.
        place: For relaxation, the QPU and 0 or 1 for a gate of one or of two qubits.
    """

    rotation: int
    pauli: PauliString
    flip: npt.NDArray[np.bool_]
    raising: PauliString = PauliString(0, 0)
    place: tuple[int, int] = (0, 0)


class FrameProgram(NamedTuple):
    """A circuit whose Clifford gates and errors have moved into strings and signs.

    An event is a place where X, Y or Z may strike. Error bits are the x bits of all E events, their z bits, and a
    dephasing bit for each relaxation.

    Attributes:
        n_qubits: Number of qubits; bit q of an index of amplitudes is qubit q.
        start: For each qubit, the rotation RY that prepares it from |0>, or -1 when it starts in |0>.
        steps: What happens to the state after that.
        event_source: Where the probabilities of each event stand: first one-qubit errors by QPU, then two-qubit errors
            by QPU, then pairs, shape (E,).
        outcome: For each qubit, the diagonal string that is measured.
        outcome_flip: Error bits that flip the outcome of each qubit, shape (n, bits).
    """

    n_qubits: int
    start: tuple[int, ...]
    steps: tuple[Step, ...]
    event_source: npt.NDArray[np.int32]
    outcome: tuple[PauliString, ...]
    outcome_flip: npt.NDArray[np.bool_]

    @property
    def relaxations(self) -> tuple[Step, ...]:
        """The steps that are relaxations."""
        return tuple(step for step in self.steps if step.rotation == -2)


class _Bits:
    """The random bits of noise, each with the product of the errors that it has added so far, pulled back."""

    def __init__(self) -> None:
        self.strings: list[PauliString] = []

    def add(self, string: PauliString) -> int:
        self.strings.append(string)
        return len(self.strings) - 1

    def extend(self, bit: int, string: PauliString) -> None:
        self.strings[bit] = self.strings[bit].times(string)

    def flips(self, pauli: PauliString) -> npt.NDArray[np.bool_]:
        """Tell which bits anticommute with a string at this moment."""
        x = np.array([string.x for string in self.strings], dtype=np.uint64)
        z = np.array([string.z for string in self.strings], dtype=np.uint64)
        counts = np.bitwise_count(x & np.uint64(pauli.z)) + np.bitwise_count(z & np.uint64(pauli.x))
        return np.asarray(counts & 1, dtype=bool)


class _Compiler:
    """Walks through a circuit once and notes down the program."""

    def __init__(self, circuit: Circuit, partition: Partition, *, has_start: bool, has_relaxation: bool) -> None:
        self.circuit, self.partition, self.has_relaxation = circuit, partition, has_relaxation
        self.tableau, self.bits = Tableau(circuit.n_qubits), _Bits()
        self.start = [-1] * circuit.n_qubits
        # Qubits that something has happened to, which a later RY can then not prepare.
        self.touched = set() if has_start else set(range(circuit.n_qubits))
        self.steps: list[Step] = []
        self.sources: list[int] = []
        self.events: list[tuple[int, int]] = []  # x bit and z bit
        self.dephasings: list[int] = []
        self.copies: dict[int, int] = {}  # x bit of the copies by pair

    def run(self) -> FrameProgram:
        rotation = 0
        for index, gate in enumerate(self.circuit.gates):
            self._open_pairs(index)
            served = [pair for pair, use in enumerate(self.partition.uses) if _serves(use, index)]
            if gate.is_rotation:
                self._rotate(gate, rotation, served)
                rotation += 1
            else:
                self.tableau.apply(gate)
                for pair in served:
                    self.bits.extend(self.copies[pair], self._added_error(gate, self.partition.uses[pair]))
            self.touched.update(gate.qubits)
            if self.circuit.has_error[index]:
                self._gate_errors(gate, self.partition.gate_qpus[index])
        self._open_pairs(len(self.circuit.gates))
        outcomes = [self.tableau.z[qubit] for qubit in range(self.circuit.n_qubits)]
        flips = [self.bits.flips(outcome) for outcome in outcomes]
        turns, diagonal = _diagonalise(outcomes)
        nothing = np.zeros(0, dtype=bool)
        self.steps.extend(Step(-1, turn, nothing) for turn in turns)
        return FrameProgram(
            n_qubits=self.circuit.n_qubits,
            start=tuple(self.start),
            steps=tuple(step._replace(flip=self._in_order(step.flip)) for step in self.steps),
            event_source=np.array(self.sources, dtype=np.int32),
            outcome=tuple(diagonal),
            outcome_flip=np.array([self._in_order(flip) for flip in flips]),
        )

    def _rotate(self, gate: Gate, rotation: int, served: list[int]) -> None:
        pauli = self.tableau.image(ROTATIONS[gate.kind], gate.qubits)
        if gate.kind == "ry" and gate.qubits[0] not in self.touched:
            self.start[gate.qubits[0]] = rotation
            return
        flip = self.bits.flips(pauli)
        for pair in served:
            flip[self.copies[pair]] ^= True
        self.steps.append(Step(rotation, pauli, flip))

    def _event(self, source: int, x: PauliString, z: PauliString) -> None:
        self.sources.append(source)
        self.events.append((self.bits.add(x), self.bits.add(z)))

    def _open_pairs(self, index: int) -> None:
        for pair, use in enumerate(self.partition.uses):
            source = 2 * self.partition.n_qpus + pair
            if isinstance(use, Teledata):
                if use.before == index:
                    self._event(source, self.tableau.x[use.qubit], self.tableau.z[use.qubit])
                    self.touched.add(use.qubit)
            elif use.gates[0] == index:
                # A wrong copy does nothing by itself; the gates that it serves add to its x bit.
                self._event(source, PauliString(0, 0), self.tableau.image(use.basis, (use.root,)))
                self.copies[pair] = self.events[-1][0]
                self.touched.add(use.root)

    def _added_error(self, gate: Gate, use: Telegate | Teledata) -> PauliString:
        assert isinstance(use, Telegate)
        other = next(qubit for qubit in gate.qubits if qubit != use.root)
        return self.tableau.image("X" if gate.kind == "cnot" and use.basis == "Z" else "Z", (other,))

    def _gate_errors(self, gate: Gate, qpus: tuple[int, ...]) -> None:
        is_double = len(gate.qubits) == 2
        for qubit, qpu in zip(gate.qubits, qpus, strict=True):
            x, z = self.tableau.x[qubit], self.tableau.z[qubit]
            self._event(qpu + is_double * self.partition.n_qpus, x, z)
            if self.has_relaxation:
                self.steps.append(Step(-2, z, self.bits.flips(z), x, (qpu, int(is_double))))
                self.dephasings.append(self.bits.add(z))

    def _in_order(self, flip: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Fill up with the bits that came later, and sort into x bits, z bits and dephasing bits."""
        full = np.pad(flip, (0, len(self.bits.strings) - flip.size))
        order = [x for x, _ in self.events] + [z for _, z in self.events] + self.dephasings
        return full[np.array(order, dtype=np.int64)]


def _serves(use: Telegate | Teledata, index: int) -> bool:
    return isinstance(use, Telegate) and index in use.gates


def _diagonalise(strings: Sequence[PauliString]) -> tuple[list[PauliString], list[PauliString]]:
    """Return the strings to turn about by a quarter, exp(-i pi P / 4), and what commuting strings become by that."""
    turns: list[PauliString] = []
    done = list(strings)
    for row in range(len(done)):
        if done[row].x:
            lowest = done[row].x & -done[row].x
            turn = PauliString(0, 0, 1).times(done[row]).times(PauliString(0, lowest))
            turns.append(turn)
            minus_i = PauliString(0, 0, 3).times(turn)
            done = [minus_i.times(string) if string.anticommutes(turn) else string for string in done]
    return turns, done


@lru_cache(maxsize=64)
def compile_frame(
    circuit: Circuit, partition: Partition, *, has_start: bool = True, has_relaxation: bool = False
) -> FrameProgram:
    """Move the Clifford gates and the errors of a circuit out of the way of the state.

    Args:
        circuit: The circuit.
        partition: How it is spread over QPUs.
        has_start: Whether the qubits start in |0>, so that first rotations RY are a product state.
        has_relaxation: Whether relaxation follows gates where errors do.
    """
    return _Compiler(circuit, partition, has_start=has_start, has_relaxation=has_relaxation).run()
