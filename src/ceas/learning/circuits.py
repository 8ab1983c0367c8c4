"""Quantum neural network circuits as hashable values.

A circuit is a list of gates on |0...0>: rotations about Pauli operators and Clifford gates, which together are
universal. The angle of a rotation is a sum of terms, each a coefficient times at most one parameter times a product of
features (the sample's inputs), so that data encoding, re-uploading with trained weights and shared parameters are all
the same thing. RX(t) = exp(-i t X / 2), RZZ(t) = exp(-i t Z Z / 2) and so on.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from ceas.errors import DomainError

__all__ = ["CLIFFORDS", "ROTATIONS", "Circuit", "Gate", "GateKind", "Term", "without_encoding"]

GateKind = Literal[
    "rx", "ry", "rz", "rxx", "ryy", "rzz", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cnot", "cz", "swap"
]
ROTATIONS: dict[str, str] = {"rx": "X", "ry": "Y", "rz": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ"}
"""What each rotation turns about: a Pauli operator for each of its qubits."""
CLIFFORDS: dict[str, int] = dict.fromkeys(("x", "y", "z", "h", "s", "sdg", "sx", "sxdg"), 1) | dict.fromkeys(
    ("cnot", "cz", "swap"), 2
)
"""Clifford gates and the number of their qubits; the first qubit of a CNOT is its control."""

_ARITY = {kind: len(pauli) for kind, pauli in ROTATIONS.items()} | CLIFFORDS


class Term(NamedTuple):
    """One term of a rotation's angle: `coefficient * theta[parameter] * prod(inputs[f] for f in features)` (rad).

    Attributes:
        coefficient: Factor.
        parameter: Index into the flat parameter vector, or -1 for none.
        features: Indices of the inputs that are multiplied, possibly none.
    """

    coefficient: float = 1.0
    parameter: int = -1
    features: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate of a circuit.

    Attributes:
        kind: A rotation (`ROTATIONS`) or a Clifford gate (`CLIFFORDS`).
        qubits: The qubits it acts on; control, then target for a CNOT.
        angle: Terms of a rotation's angle, no two with the same parameter and inputs; empty for a Clifford gate.
        layer: Layer the gate belongs to, which tells where gate errors strike, see `Circuit.has_error`. Gates of layer
            -1 encode data without errors.
    """

    kind: GateKind
    qubits: tuple[int, ...]
    angle: tuple[Term, ...] = ()
    layer: int

    @property
    def is_rotation(self) -> bool:
        """Whether the gate turns its qubits by an angle."""
        return self.kind in ROTATIONS

    @property
    def parameters(self) -> tuple[int, ...]:
        """Parameters that its angle depends on."""
        return tuple(term.parameter for term in self.angle if term.parameter >= 0)

    @property
    def features(self) -> tuple[int, ...]:
        """Inputs that its angle depends on, in increasing order."""
        return tuple(sorted({feature for term in self.angle for feature in term.features}))


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A parametrised circuit; frozen and hashable, so that it can be a static argument of a compiled function.

    Attributes:
        n_qubits: Number of qubits.
        gates: Gates in the order in which they act on |0...0>.
        n_parameters: Length of the flat parameter vector; every parameter occurs in some angle.
        n_features: Length of a sample's inputs; some may be unused.
    """

    n_qubits: int
    gates: tuple[Gate, ...]
    n_parameters: int
    n_features: int

    def __post_init__(self) -> None:
        if self.n_qubits < 1:
            raise DomainError(f"Argument `n_qubits` must be at least 1, but is {self.n_qubits}.")
        for gate in self.gates:
            _check_gate(gate, self.n_qubits, self.n_features)
        used = {parameter for gate in self.gates for parameter in gate.parameters}
        if used != set(range(self.n_parameters)):
            raise DomainError(
                f"Argument `gates` must use exactly the parameters 0..{self.n_parameters - 1}, but uses {sorted(used)}."
            )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Gates are many, and a circuit is looked up in the compilation caches on every call.
        return hash((self.n_qubits, self.gates, self.n_parameters, self.n_features))

    @cached_property
    def rotations(self) -> tuple[int, ...]:
        """Indices in `gates` of the rotations; rotation r of the circuit is gate `rotations[r]`."""
        return tuple(index for index, gate in enumerate(self.gates) if gate.is_rotation)

    @cached_property
    def has_error(self) -> tuple[bool, ...]:
        """For each gate, whether gate errors follow it on all its qubits.

        They follow every gate of two qubits, and the last of each run of one-qubit gates on a qubit; a run ends where a
        gate of two qubits or another layer comes next, because hardware does a run as one pulse. Layer -1 has none.
        """
        following: dict[int, Gate] = {}
        errors = []
        for gate in reversed(self.gates):
            after = following.get(gate.qubits[0])
            ends_run = after is None or len(after.qubits) == 2 or after.layer != gate.layer
            errors.append(gate.layer >= 0 and (len(gate.qubits) == 2 or ends_run))
            following.update(dict.fromkeys(gate.qubits, gate))
        return tuple(reversed(errors))

    @cached_property
    def depth(self) -> int:
        """Number of moments when every gate acts as early as its qubits are free."""
        busy_until = [0] * self.n_qubits
        for gate in self.gates:
            moment = 1 + max(busy_until[qubit] for qubit in gate.qubits)
            for qubit in gate.qubits:
                busy_until[qubit] = moment
        return max(busy_until)

    @property
    def n_two_qubit_gates(self) -> int:
        """Number of gates that act on two qubits."""
        return sum(len(gate.qubits) == 2 for gate in self.gates)

    @cached_property
    def is_shift_exact(self) -> tuple[bool, ...]:
        """For each parameter, whether shifting it by +-pi/2 gives its derivative, as half the difference.

        So it is where the parameter turns one rotation by itself or its negative. For others, shift each rotation in
        turn, for which the rule is always exact, and add the derivatives with the factors of the chain rule.

        Source:
            Mitarai et al., PRA 98, 032309, 2018; Schuld et al., PRA 99, 032331, 2019.
        """
        terms = [term for gate in self.gates for term in gate.angle if term.parameter >= 0]
        occurrences = Counter(term.parameter for term in terms)
        plain = {term.parameter for term in terms if abs(term.coefficient) == 1 and not term.features}
        return tuple(p in plain and occurrences[p] == 1 for p in range(self.n_parameters))


def without_encoding(circuit: Circuit) -> Circuit:
    """Return the circuit without its noise-free encoding (layer -1), for samples that are states themselves.

    Raises:
        DomainError: A later gate depends on inputs.
    """
    gates = tuple(gate for gate in circuit.gates if gate.layer >= 0)
    if any(gate.features for gate in gates):
        raise DomainError("Argument `circuit` must use its inputs in the encoding alone where samples are states.")
    return Circuit(n_qubits=circuit.n_qubits, gates=gates, n_parameters=circuit.n_parameters, n_features=0)


def check_sizes(**sizes: int) -> None:
    """Raise `DomainError` where a size is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {size}.")


def _check_gate(gate: Gate, n_qubits: int, n_features: int) -> None:
    if gate.kind not in _ARITY:
        raise DomainError(f"Argument `gates` must have kinds {', '.join(get_args(GateKind))}, but has `{gate.kind}`.")
    if len(gate.qubits) != _ARITY[gate.kind] or len(set(gate.qubits)) != len(gate.qubits):
        raise DomainError(f"Argument `gates` must act on distinct qubits, but {gate.kind} has {gate.qubits}.")
    if not all(0 <= qubit < n_qubits for qubit in gate.qubits):
        raise DomainError(f"Argument `gates` must act on qubits below {n_qubits}, but {gate.kind} has {gate.qubits}.")
    if gate.layer < -1:
        raise DomainError(f"Argument `gates` must have layers of at least -1, but {gate.kind} has {gate.layer}.")
    if bool(gate.angle) != gate.is_rotation:
        needed = "an angle for a rotation and none for a Clifford gate"
        raise DomainError(f"Argument `gates` must have {needed}, but {gate.kind} has {gate.angle}.")
    _check_angle(gate.angle, n_features)


def _check_angle(angle: Sequence[Term], n_features: int) -> None:
    parameters = [term.parameter for term in angle if term.parameter >= 0]
    if any(term.parameter < -1 for term in angle):
        raise DomainError(f"Argument `gates` must name parameters of at least -1, but has the angle {tuple(angle)}.")
    if not all(math.isfinite(term.coefficient) for term in angle):
        raise DomainError(f"Argument `gates` must have finite coefficients, but has the angle {tuple(angle)}.")
    # Two terms of one parameter are one term unless they multiply different inputs.
    if len({(term.parameter, term.features) for term in angle if term.parameter >= 0}) != len(parameters):
        raise DomainError(f"Argument `gates` must name each term once, but has the angle {tuple(angle)}.")
    if not all(0 <= feature < n_features for term in angle for feature in term.features):
        raise DomainError(f"Argument `gates` must use inputs below {n_features}, but has the angle {tuple(angle)}.")
