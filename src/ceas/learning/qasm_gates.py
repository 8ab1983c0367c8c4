"""OpenQASM's standard gates, their inverses, powers and controlled versions, as rotations and Clifford gates.

A gate is a list of operations in the order in which they act: Clifford gates, and turns exp(-i angle P / 2) about a
Pauli string P of any length. The turn about the empty string is the global phase, which matters once there is a
control. Controlling a turn gives turns with smaller angles, for the projector on |1...1> of the controls is a sum of Z
strings.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from math import pi
from typing import NamedTuple

from ceas.errors import DomainError
from ceas.learning.angle_sums import AngleSum, sum_terms
from ceas.learning.circuits import CLIFFORDS, GateKind
from ceas.learning.imported import Step

__all__ = [
    "GATES",
    "MOST_CONTROLS",
    "Angle",
    "GateRule",
    "Operation",
    "control",
    "global_phase",
    "invert",
    "is_one_turn",
    "power",
    "to_steps",
]

Angle = AngleSum | float

MOST_CONTROLS = 6  # a turn becomes 2^controls of them
_INVERSE: dict[GateKind, GateKind] = {"s": "sdg", "sdg": "s", "sx": "sxdg", "sxdg": "sx"}
_TURN_KINDS: dict[str, GateKind] = {"X": "rx", "Y": "ry", "Z": "rz", "XX": "rxx", "YY": "ryy", "ZZ": "rzz"}
_SHORT: dict[GateKind, GateKind] = {"x": "cnot", "z": "cz"}
# A Clifford gate of one qubit is a phase exp(i phase) and turns; h is ry(pi/2), then x.
_AS_TURNS: dict[GateKind, tuple[float, tuple[tuple[str, float], ...]]] = {
    "x": (pi / 2, (("X", pi),)),
    "y": (pi / 2, (("Y", pi),)),
    "z": (pi / 2, (("Z", pi),)),
    "s": (pi / 4, (("Z", pi / 2),)),
    "sdg": (-pi / 4, (("Z", -pi / 2),)),
    "sx": (pi / 4, (("X", pi / 2),)),
    "sxdg": (-pi / 4, (("X", -pi / 2),)),
    "h": (pi / 2, (("Y", pi / 2), ("X", pi))),
}


class Operation(NamedTuple):
    """A Clifford gate, or a turn about a Pauli string, which has no kind."""

    qubits: tuple[int, ...]
    kind: GateKind | None = None
    pauli: str = ""
    angle: Angle = 0.0


# These are the inner gate between another and its inverse, of which the inner one alone need be controlled.
_CONJUGATED: dict[GateKind, tuple[GateKind, Operation]] = {
    "y": ("x", Operation((), "sdg")),
    "h": ("z", Operation((), None, "Y", -pi / 4)),
    "swap": ("cnot", Operation((), "cnot")),
}


class GateRule(NamedTuple):
    """Number of a gate's angles and qubits, and what it does."""

    n_angles: int
    n_qubits: int
    expand: Callable[[Sequence[Angle], Sequence[int]], list[Operation]]


def global_phase(angle: Angle) -> Operation:
    """Return exp(i angle), which matters to a control alone."""
    return Operation((), angle=-2 * angle)


def invert(operations: Sequence[Operation]) -> list[Operation]:
    """Return the inverse of a gate."""
    return [_inverse(operation) for operation in reversed(operations)]


def is_one_turn(operations: Sequence[Operation]) -> bool:
    """Tell whether a gate is a single turn, whose powers are turns."""
    return len(operations) == 1 and operations[0].kind is None


def power(operations: Sequence[Operation], exponent: int) -> list[Operation]:
    """Return an integer power of a gate; a single turn is scaled, others are repeated."""
    if is_one_turn(operations):
        return [operations[0]._replace(angle=operations[0].angle * exponent)]
    return (list(operations) if exponent >= 0 else invert(operations)) * abs(exponent)


def control(operations: Iterable[Operation], controls: Sequence[int], on: Sequence[bool]) -> list[Operation]:
    """Return the gate that acts where each control is 1, or 0 where `on` is false.

    Raises:
        DomainError: There are more than six controls, or a qubit occurs twice.
    """
    if len(controls) > MOST_CONTROLS:
        raise DomainError(f"a gate must have at most {MOST_CONTROLS} controls, but has {len(controls)}")
    flips = [Operation((qubit,), kind="x") for qubit, is_on in zip(controls, on, strict=True) if not is_on]
    return [*flips, *(part for operation in operations for part in _controlled(operation, controls)), *flips]


def to_steps(operations: Iterable[Operation]) -> list[Step]:
    """Return the gates of a circuit; turns about longer strings go by CNOTs, global phases are dropped."""
    steps = []
    for qubits, kind, pauli, angle in operations:
        if kind is not None:
            steps.append(Step(kind, qubits))
        elif qubits and angle:
            steps.extend(_turn_steps(pauli, qubits, angle))
    return steps


def _inverse(operation: Operation) -> Operation:
    if operation.kind is None:
        return operation._replace(angle=-operation.angle)
    return operation._replace(kind=_INVERSE.get(operation.kind, operation.kind))


def _controlled(operation: Operation, controls: Sequence[int]) -> list[Operation]:
    qubits, kind, pauli, angle = operation
    if set(qubits) & set(controls):
        raise DomainError("a gate must act on distinct qubits, but has one twice")
    if kind is not None:
        return _controlled_clifford(kind, qubits, controls)
    return [
        Operation((*chosen, *qubits), None, "Z" * size + pauli, angle * (-1) ** size / 2 ** len(controls))
        for size in range(len(controls) + 1)
        for chosen in itertools.combinations(controls, size)
    ]


def _controlled_clifford(kind: GateKind, qubits: tuple[int, ...], controls: Sequence[int]) -> list[Operation]:
    """Use a short circuit where there is a usual one, else turns."""
    if kind in ("cnot", "cz"):
        return _controlled(Operation(qubits[1:], "x" if kind == "cnot" else "z"), [*controls, qubits[0]])
    if kind in _SHORT and len(controls) == 1:
        return [Operation((*controls, *qubits), _SHORT[kind])]
    if kind in _SHORT and len(controls) == 2:
        toffoli = _toffoli(*controls, *qubits)
        return toffoli if kind == "x" else _around(Operation(qubits, "h"), toffoli)
    if kind not in _CONJUGATED:
        return [part for turn in _turns_of_clifford(kind, qubits) for part in _controlled(turn, controls)]
    inner, first = _CONJUGATED[kind]
    conjugating = first._replace(qubits=qubits[::-1])
    return _around(conjugating, _controlled(Operation(qubits, inner), controls))


def _turns_of_clifford(kind: GateKind, qubits: tuple[int, ...]) -> list[Operation]:
    phase, turns = _AS_TURNS[kind]
    return [global_phase(phase), *(Operation(qubits, None, pauli, angle) for pauli, angle in turns)]


def _around(first: Operation, operations: list[Operation]) -> list[Operation]:
    return [first, *operations, _inverse(first)]


def _toffoli(a: int, b: int, target: int) -> list[Operation]:
    """Return the usual six CNOTs and seven T, exactly with its phase; Nielsen and Chuang, figure 4.9."""

    def t(qubit: int, sign: int = 1) -> list[Operation]:
        return [global_phase(sign * pi / 8), Operation((qubit,), None, "Z", sign * pi / 4)]

    def cnot(source: int, goal: int) -> Operation:
        return Operation((source, goal), "cnot")

    half = [cnot(b, target), *t(target, -1), cnot(a, target), *t(target)]
    corner = [*t(b), cnot(a, b), *t(a), *t(b, -1), cnot(a, b)]
    return _around(Operation((target,), "h"), [*half, *half, *corner])


def _turn_steps(pauli: str, qubits: tuple[int, ...], angle: Angle) -> list[Step]:
    terms = sum_terms(angle)
    if pauli in _TURN_KINDS:
        return [Step(_TURN_KINDS[pauli], qubits, terms)]
    # Make the string Z...Z, and all but its last two qubits a parity in the last but one.
    changes = [Step(kind, (q,)) for p, q in zip(pauli, qubits, strict=True) for kind in _TO_Z[p]]
    undone = [Step(_INVERSE.get(kind, kind), (q,)) for p, q in zip(pauli, qubits, strict=True) for kind in _TO_Z[p]]
    parity = [Step("cnot", pair) for pair in itertools.pairwise(qubits[:-1])]
    return [*changes, *parity, Step("rzz", qubits[-2:], terms), *reversed(parity), *undone]


_TO_Z: dict[str, tuple[GateKind, ...]] = {"X": ("h",), "Y": ("sx",), "Z": ()}


def _clifford(kind: GateKind) -> GateRule:
    return GateRule(0, CLIFFORDS[kind], lambda _, q: [Operation(tuple(q), kind)])


def _turn(pauli: str) -> GateRule:
    return GateRule(1, len(pauli), lambda a, q: [Operation(tuple(q), None, pauli, a[0])])


def _phase(qubit: int, angle: Angle) -> list[Operation]:
    return [global_phase(angle / 2), Operation((qubit,), None, "Z", angle)]


def _euler(qubit: int, theta: Angle, phi: Angle, lam: Angle) -> list[Operation]:
    """RZ(phi) RY(theta) RZ(lam) as a matrix product, of determinant 1."""
    return [Operation((qubit,), None, pauli, angle) for pauli, angle in (("Z", lam), ("Y", theta), ("Z", phi))]


def _builtin_u(qubit: int, theta: Angle, phi: Angle, lam: Angle) -> list[Operation]:
    """OpenQASM 3's U, whose phase is that of the specification: (1 + exp(i theta)) / 2 stands first."""
    return [global_phase((theta + phi + lam) / 2), *_euler(qubit, theta, phi, lam)]


def _controlled_rule(rule: GateRule, n_controls: int = 1) -> GateRule:
    def expand(angles: Sequence[Angle], qubits: Sequence[int]) -> list[Operation]:
        return control(rule.expand(angles, qubits[n_controls:]), qubits[:n_controls], [True] * n_controls)

    return GateRule(rule.n_angles, rule.n_qubits + n_controls, expand)


def _cu(qubits: Sequence[int], theta: Angle, phi: Angle, lam: Angle, gamma: Angle) -> list[Operation]:
    controlled = control(_builtin_u(qubits[1], theta, phi, lam), qubits[:1], [True])
    return [*_phase(qubits[0], gamma - theta / 2), *controlled]


def _library() -> dict[str, GateRule]:
    rules = {kind: _clifford(kind) for kind in ("x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cz", "swap")}
    rules |= {kind: _turn(pauli) for pauli, kind in _TURN_KINDS.items()}
    phase = GateRule(1, 1, lambda a, q: _phase(q[0], a[0]))
    rules |= dict.fromkeys(("p", "phase", "u1"), phase) | dict.fromkeys(("cx", "CX"), _clifford("cnot"))
    rules |= {
        "id": GateRule(0, 1, lambda _, __: []),
        "t": GateRule(0, 1, lambda _, q: _phase(q[0], pi / 4)),
        "tdg": GateRule(0, 1, lambda _, q: _phase(q[0], -pi / 4)),
        "U": GateRule(3, 1, lambda a, q: _builtin_u(q[0], *a)),
        "u2": GateRule(2, 1, lambda a, q: _euler(q[0], pi / 2, *a)),
        "u3": GateRule(3, 1, lambda a, q: _euler(q[0], *a)),
        "cu": GateRule(4, 2, lambda a, q: _cu(q, *a)),
        "cu3": GateRule(3, 2, lambda a, q: _cu(q, a[0], a[1], a[2], 0.0)),
    }
    rules |= dict.fromkeys(("cp", "cphase", "cu1"), _controlled_rule(phase))
    rules |= {"u": rules["u3"], "u0": GateRule(1, 1, lambda _, __: [])}
    single = ("y", "h", "sx", "rx", "ry", "rz", "swap")
    rules |= {f"c{name}": _controlled_rule(rules[name]) for name in single}
    for name, inner, n_controls in (("ccx", "x", 2), ("c3x", "x", 3), ("c4x", "x", 4), ("c3sqrtx", "sx", 3)):
        rules[name] = _controlled_rule(rules[inner], n_controls)
    return rules


GATES: dict[str, GateRule] = _library()
"""Gates of `stdgates.inc`, the usual ones of `qelib1.inc`, and rxx, ryy, rzz, by name."""
