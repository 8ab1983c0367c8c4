"""Circuits from OpenQASM 3 programs, and from OpenQASM 2 programs that do without classical control.

The reference parser (`openqasm3`) makes the syntax tree; this module walks it, unrolls loops and gate definitions, and
keeps declared inputs as symbols.
"""

import contextlib
import io
import itertools
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import pi, prod
from typing import Any

from ceas.errors import DomainError
from ceas.learning.angle_sums import input_sum, parameter_sum
from ceas.learning.circuits import GateKind
from ceas.learning.imported import ImportedCircuit, Step, build_circuit
from ceas.learning.qasm_expressions import CONSTANTS, Value, as_declared, evaluate, evaluate_integer, evaluate_range
from ceas.learning.qasm_gates import (
    GATES,
    MOST_CONTROLS,
    Angle,
    Operation,
    control,
    global_phase,
    invert,
    is_one_turn,
    power,
    to_steps,
)

__all__ = ["from_qasm"]

_LIBRARIES = ("stdgates.inc", "qelib1.inc")
# How programs usually define these: by the gates before an RZ between CNOTs, and by the gates themselves.
_USUAL_CHANGES: dict[str, tuple[GateKind, ...]] = {"rxx": ("h",), "ryy": ("sx",), "rzz": (), "sxdg": ("s", "h", "s")}
# Of each kind, more than any engine computes; loops, registers and gates of gates are next to endless otherwise.
_MOST_PARTS = 100_000
_MOST_BRACKETS = 100  # one within another; the parser calls itself several times for each
_EXPANDED = "operations of powers and controlled gates"
_TOO_DEEP = "expressions and gates must be nested less deeply than these"


@dataclass
class _Program:
    """What the statements so far have declared and done; a block sees a copy with its own names."""

    names: dict[str, Value] = field(default_factory=lambda: dict(CONSTANTS))
    registers: dict[str, tuple[int, ...] | int] = field(default_factory=dict)  # one qubit is a bare number
    definitions: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    qubit_names: list[str] = field(default_factory=list)
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    input_values: dict[str, Value] = field(default_factory=dict)
    measured: list[int] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, what: str, number: int) -> None:
        """Count parts before they are made, and refuse too many of a kind."""
        self.counts[what] += number
        if self.counts[what] > _MOST_PARTS:
            raise DomainError(f"a program must have at most {_MOST_PARTS} {what}, but has more from here on")


def from_qasm(
    text: str, *, parameters: Sequence[str] = (), inputs: Sequence[str] = (), first_layer: int = 0
) -> ImportedCircuit:
    """Import an OpenQASM 3 or 2 program.

    Taken are: qubits and registers with broadcasting, slices and `let`; the gates of `stdgates.inc` and `qelib1.inc`
    whether included or not; `U`, `gphase`, the program's own `gate`s; `ctrl`, `negctrl`, `inv` and integer `pow`
    modifiers; `const` and other initialised numbers; `for` over constants; expressions of numbers and inputs that make
    angles sums of coefficient * (at most one parameter) * (inputs); `barrier`, which begins a new layer of gates (for
    noise alone); `reset` of untouched qubits; measurements at the end. Global phases are dropped. A program's own
    definition of rxx, ryy, rzz or sxdg by its usual circuit is taken to be that gate. Numbers are finite,
    and there are at most 100000 qubits, elements of inputs, turns of loops and gates.

    Args:
        text: The program.
        parameters: Names of the declared inputs that are trained, in the order of the flat parameter vector; arrays are
            raveled. A name may be a pattern such as `theta_*`, which stands for all that match as declared.
        inputs: The same for a sample's inputs.
        first_layer: Layer of the gates before the first barrier; -1 says that they encode data without errors.

    Returns:
        The circuit with names. Qubits are in the order of declaration; observables are the measured qubits in order of
        measurement, None if there are none.

    Raises:
        DomainError: The program cannot be parsed or has something else in it; the message names the line.
        ModuleNotFoundError: The parser is not installed.
    """
    _check_names(parameters=parameters, inputs=inputs)
    program = _Program()
    tree = _parse(text)
    _declare_inputs(program, tree, parameters, inputs)
    _run(program, tree.statements)
    parameter_names, input_names = (
        [element for name in _matching(program, patterns) for element in _element_names(program, name)]
        for patterns in (parameters, inputs)
    )
    circuit = build_circuit(
        program.steps,
        n_qubits=len(program.qubit_names),
        parameter_names=parameter_names,
        n_features=len(input_names),
        first_layer=first_layer,
    )
    names = (tuple(program.qubit_names), tuple(parameter_names), tuple(input_names))
    return ImportedCircuit(circuit, tuple(program.measured) or None, *names)


def _check_names(**roles: Any) -> None:
    for role, names in roles.items():
        is_list = isinstance(names, Sequence) and not isinstance(names, str)
        if not is_list or not all(isinstance(name, str) for name in names):
            raise DomainError(f"Argument `{role}` must be a list of names, but is {names!r}.")


def _check_brackets(text: str) -> None:
    """Refuse brackets so deep that the parser would take very long to give up; those of comments do not count."""
    depth = 0
    for found in re.finditer(r"//[^\n]*|/\*.*?\*/|[(\[{]|[)\]}]", text, re.DOTALL):
        depth += (found[0] in "([{") - (found[0] in ")]}")
        if depth > _MOST_BRACKETS:
            line = text.count("\n", 0, found.start()) + 1
            raise DomainError(f"OpenQASM line {line}: brackets must be at most {_MOST_BRACKETS} deep, but are deeper.")


def _deepest_line(error: Exception) -> int:
    """Return the line that the parser had come to; its functions hold their part of the program as a context."""
    contexts = [
        frame.f_locals.get("ctx") or frame.f_locals.get("localctx")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    starts = [getattr(context, "start", None) for context in contexts]
    lines: list[int] = [start.line for start in starts if start is not None]
    return lines[-1] if lines else 1


def _parse(text: str) -> Any:
    _check_brackets(text)
    try:
        from openqasm3 import parser  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("The parser is not installed (pip install 'ceas[qasm]').") from error
    try:
        # The parser prints what it raises.
        with contextlib.redirect_stderr(io.StringIO()):
            return parser.parse(text)
    except parser.QASM3ParsingError as error:
        raise DomainError(_syntax_message(error)) from None
    except RecursionError as error:
        raise DomainError(f"OpenQASM line {_deepest_line(error)}: {_TOO_DEEP}.") from None
    except ValueError as error:
        # Python reads no decimal integer of more than some thousand digits.
        told = "a number must have fewer digits to be read, but one has more"
        raise DomainError(f"OpenQASM line {_deepest_line(error)}: {told}.") from None
    except AttributeError:
        # This is what the parser makes of a text without a single statement.
        raise DomainError("OpenQASM line 1: the program is empty.") from None


def _syntax_message(error: Exception) -> str:
    """Word a syntax error, of which the parser tells `L1:C9: what` or only the token in the error's cause."""
    cause = error.__cause__
    inner = cause.args[0] if cause is not None and cause.args else cause
    token = getattr(inner, "offendingToken", None)
    place, _, rest = str(error).partition(": ")
    if token is None:
        return f"OpenQASM line {place.partition(':')[0].removeprefix('L')}: {rest}."
    shown = "the end" if token.text == "<EOF>" else f"`{token.text}`"
    return f"OpenQASM line {token.line}: the program cannot be parsed at {shown}."


def _declare_inputs(program: _Program, tree: Any, parameters: Sequence[str], inputs: Sequence[str]) -> None:
    """Make every element of the declared inputs a parameter or an input, in the order that the caller gives."""
    early = replace(program, names=dict(program.names))
    for node in tree.statements:
        kind = type(node).__name__
        if kind == "ConstantDeclaration":
            _at(node, _declare_number, early, node)
        elif kind == "IODeclaration" and node.io_identifier.name == "input":
            _at(node, _note_shape, early, node)
    roles = ((parameters, parameter_sum), (inputs, input_sum))
    for patterns, symbol in roles:
        counter = itertools.count()
        for name in _matching(program, patterns):
            if name in program.input_values:
                raise DomainError(f"Arguments must give each declared input one role, but `{name}` has two.")
            program.input_values[name] = _symbols(program.input_shapes[name], counter, symbol)
    without = [name for name in program.input_shapes if name not in program.input_values]
    if without:
        raise DomainError(f"Arguments `parameters` and `inputs` must name all inputs, but lack {', '.join(without)}.")


def _note_shape(program: _Program, node: Any) -> None:
    kind = type(node.type).__name__
    if kind not in ("FloatType", "AngleType", "ArrayType"):
        raise DomainError(f"an input must be a float, an angle or an array of them, but is {kind}")
    if node.identifier.name in program.input_shapes:
        raise DomainError(f"`{node.identifier.name}` must be declared once, but is declared again")
    sizes = node.type.dimensions if kind == "ArrayType" else []
    shape = tuple(evaluate_integer(size, program.names) for size in sizes)
    if any(size < 1 for size in shape):
        raise DomainError(f"an array must have at least one element in each dimension, but has {min(shape)}")
    program.count("elements of inputs", prod(shape))
    program.input_shapes[node.identifier.name] = shape


def _matching(program: _Program, patterns: Iterable[str]) -> list[str]:
    names = []
    for pattern in patterns:
        found = [name for name in program.input_shapes if fnmatchcase(name, pattern)]
        if not found:
            declared = ", ".join(program.input_shapes) or "none"
            raise DomainError(f"`{pattern}` must name a declared input of the program, which has {declared}.")
        names.extend(found)
    return names


def _symbols(shape: tuple[int, ...], counter: Any, symbol: Callable[[int], Value]) -> Value:
    if not shape:
        return symbol(next(counter))
    return tuple(_symbols(shape[1:], counter, symbol) for _ in range(shape[0]))


def _element_names(program: _Program, name: str) -> list[str]:
    shape = program.input_shapes[name]
    places = itertools.product(*map(range, shape))
    return [name + "".join(f"[{index}]" for index in place) for place in places]


def _at(node: Any, act: Callable[..., Any], *arguments: Any) -> Any:
    """Act, and name the line of the node in the message of an error that has none yet."""
    try:
        return act(*arguments)
    except RecursionError:
        raise DomainError(f"OpenQASM line {node.span.start_line}: {_TOO_DEEP}.") from None
    except DomainError as error:
        message = str(error)
        if message.startswith("OpenQASM line"):
            raise
        raise DomainError(f"OpenQASM line {node.span.start_line}: {message}.") from None


def _run(program: _Program, statements: Iterable[Any]) -> None:
    for node in statements:
        _at(node, _STATEMENTS.get(type(node).__name__, _refuse), program, node)


def _refuse(_: _Program, node: Any) -> None:
    raise DomainError(f"a circuit must do without {type(node).__name__}")


def _include(_: _Program, node: Any) -> None:
    if node.filename not in _LIBRARIES:
        raise DomainError(f"only {' and '.join(_LIBRARIES)} can be included, not `{node.filename}`")


def _declare_qubits(program: _Program, node: Any) -> None:
    name, first = node.qubit.name, len(program.qubit_names)
    if name in program.registers:
        raise DomainError(f"`{name}` must be declared once, but is declared again")
    if node.size is None:
        program.registers[name] = first
        program.qubit_names.append(name)
        return
    size = evaluate_integer(node.size, program.names)
    if size < 1:
        raise DomainError(f"a register must have at least one qubit, but has {size}")
    program.count("qubits", size)
    program.registers[name] = tuple(range(first, first + size))
    program.qubit_names.extend(f"{name}[{index}]" for index in range(size))


def _declare_number(program: _Program, node: Any) -> None:
    if type(node.type).__name__ == "BitType":
        initial = node.init_expression
        if initial is not None and type(initial).__name__ == "QuantumMeasurement":
            _measure_qubits(program, initial)
        return
    if node.init_expression is None:
        raise DomainError(f"`{node.identifier.name}` must have a value where it is declared, but has none")
    program.names[node.identifier.name] = as_declared(node.type, evaluate(node.init_expression, program.names))


def _declare_input(program: _Program, node: Any) -> None:
    if node.io_identifier.name == "input":
        program.names[node.identifier.name] = program.input_values[node.identifier.name]


def _define_gate(program: _Program, node: Any) -> None:
    if node.name.name in program.definitions:
        raise DomainError(f"gate `{node.name.name}` must be defined once, but is defined again")
    program.definitions[node.name.name] = node


def _alias(program: _Program, node: Any) -> None:
    parts = [node.value]
    while type(parts[0]).__name__ == "Concatenation":
        parts = [parts[0].lhs, parts[0].rhs, *parts[1:]]
    resolved = [_qubits_of(program, part) for part in parts]
    is_one = len(parts) == 1 and isinstance(resolved[0], int)
    program.count("qubits of aliases", sum(1 if isinstance(part, int) else len(part) for part in resolved))
    qubits = tuple(q for part in resolved for q in ((part,) if isinstance(part, int) else part))
    program.registers[node.target.name] = qubits[0] if is_one else qubits


def _loop(program: _Program, node: Any) -> None:
    domain = node.set_declaration
    kind = type(domain).__name__
    if kind == "RangeDefinition":
        values: Sequence[Value] = evaluate_range(domain, program.names)
    elif kind == "DiscreteSet":
        values = [evaluate(value, program.names) for value in domain.values]
    else:
        raise DomainError(f"a loop must be over constants, but is over {kind}")
    # A range may be longer than what has a length.
    program.count("turns of loops", len(values[: _MOST_PARTS + 1]))
    for value in [as_declared(node.type, value) for value in values]:
        inner = replace(program, names=program.names | {node.identifier.name: value}, registers=dict(program.registers))
        _run(inner, node.block)


def _barrier(program: _Program, _: Any) -> None:
    program.steps.append(Step(None))


def _reset(program: _Program, node: Any) -> None:
    resolved = _qubits_of(program, node.qubits)
    if program.touched & set((resolved,) if isinstance(resolved, int) else resolved):
        raise DomainError("`reset` must come before all gates on its qubits, but comes after one")


def _measure(program: _Program, node: Any) -> None:
    _measure_qubits(program, node.measure)


def _measure_qubits(program: _Program, measurement: Any) -> None:
    resolved = _qubits_of(program, measurement.qubit)
    qubits = (resolved,) if isinstance(resolved, int) else resolved
    if set(qubits) & set(program.measured):
        raise DomainError("a qubit must be measured once, but is measured twice")
    program.measured.extend(qubits)


def _apply_gate(program: _Program, node: Any) -> None:
    """Apply a gate to qubits, or to registers element by element."""
    resolved = [_qubits_of(program, qubit) for qubit in node.qubits]
    lengths = {len(qubits) for qubits in resolved if not isinstance(qubits, int)}
    if len(lengths) > 1:
        raise DomainError(f"a gate must act on registers of one length, but has lengths {sorted(lengths)}")
    for place in range(lengths.pop() if lengths else 1):
        qubits = tuple(register if isinstance(register, int) else register[place] for register in resolved)
        late = set(qubits) & set(program.measured)
        if late:
            raise DomainError(f"{program.qubit_names[min(late)]} must be measured last, but has a gate after it")
        program.touched.update(qubits)
        steps = to_steps(_modified(program, node, program.names, qubits))
        program.count("gates", len(steps))
        program.steps.extend(steps)


def _modified(program: _Program, node: Any, names: dict[str, Value], qubits: tuple[int, ...]) -> list[Operation]:
    """Return what a gate with modifiers does; the one that is written first acts last and has the first qubits."""
    if len(set(qubits)) != len(qubits):
        raise DomainError("a gate must act on distinct qubits, but has one twice")
    return _with_modifiers(program, node, list(node.modifiers), names, qubits)


def _with_modifiers(
    program: _Program, node: Any, modifiers: list[Any], names: dict[str, Value], qubits: tuple[int, ...]
) -> list[Operation]:
    if not modifiers:
        return _plain(program, node, names, qubits)
    outer, inner = modifiers[0], modifiers[1:]
    kind, argument = outer.modifier.name, outer.argument
    if kind == "inv":
        return invert(_with_modifiers(program, node, inner, names, qubits))
    number = 1 if argument is None else evaluate_integer(argument, names)
    if kind == "pow":
        operations = _with_modifiers(program, node, inner, names, qubits)
        if not is_one_turn(operations):
            program.count(_EXPANDED, len(operations) * abs(number))
        return power(operations, number)
    if number < 1:
        raise DomainError(f"`{kind}` must be by at least 1 qubit, but is by {number}")
    if number > len(qubits):
        raise DomainError(f"a gate with {number} controls must have a qubit for each, but has {len(qubits)} in all")
    operations = _with_modifiers(program, node, inner, names, qubits[number:])
    program.count(_EXPANDED, len(operations) * 2 ** min(number, MOST_CONTROLS))
    return control(operations, qubits[:number], [kind == "ctrl"] * number)


def _plain(program: _Program, node: Any, names: dict[str, Value], qubits: tuple[int, ...]) -> list[Operation]:
    program.count("calls of gates", 1)
    if type(node).__name__ == "QuantumPhase":
        if qubits:
            raise DomainError("`gphase` must have a qubit for each control, but has more")
        return [global_phase(_angle(node.argument, names))]
    name, angles = node.name.name, [_angle(argument, names) for argument in node.arguments]
    definition = program.definitions.get(name)
    if definition is None and name not in GATES:
        raise DomainError(f"gate `{name}` must be defined before its use, but is not")
    if definition is None:
        rule = GATES[name]
        _check_counts(name, (rule.n_angles, rule.n_qubits), (len(angles), len(qubits)))
        return rule.expand(angles, qubits)
    _check_counts(name, (len(definition.arguments), len(definition.qubits)), (len(angles), len(qubits)))
    return _expand_definition(program, definition, angles, qubits)


def _angle(node: Any, names: dict[str, Value]) -> Angle:
    value = evaluate(node, names)
    if isinstance(value, tuple):
        raise DomainError("an angle must be a number, but is an array")
    return value


def _check_counts(name: str, needed: tuple[int, int], given: tuple[int, int]) -> None:
    if needed != given:
        wanted = f"{needed[0]} angles and {needed[1]} qubits"
        raise DomainError(f"gate `{name}` must have {wanted}, but has {given[0]} and {given[1]}")


def _expand_definition(
    program: _Program, definition: Any, angles: list[Angle], qubits: tuple[int, ...]
) -> list[Operation]:
    formal = {argument.name: angle for argument, angle in zip(definition.arguments, angles, strict=True)}
    places = {formal_qubit.name: qubit for formal_qubit, qubit in zip(definition.qubits, qubits, strict=True)}
    # A gate sees the gates that are defined before it, so it cannot call itself.
    earlier = dict(itertools.takewhile(lambda item: item[1] is not definition, program.definitions.items()))
    inner = replace(program, names=program.names | formal, registers=dict(places), definitions=earlier)
    operations: list[Operation] = _at(definition, _body, inner, definition.body)
    return _as_native(definition.name.name, operations, angles, qubits)


def _body(program: _Program, statements: Iterable[Any]) -> list[Operation]:
    operations: list[Operation] = []
    for node in statements:
        kind = type(node).__name__
        if kind in ("QuantumGate", "QuantumPhase"):
            qubits = [_at(node, _qubits_of, program, qubit) for qubit in node.qubits]
            operations.extend(_at(node, _modified, program, node, program.names, tuple(qubits)))
        elif kind != "QuantumBarrier":
            _at(node, _refuse, program, node)
    return operations


def _as_native(name: str, operations: list[Operation], angles: list[Angle], qubits: tuple[int, ...]) -> list[Operation]:
    """Return a gate that the standard library lacks as one operation, if it is defined as usual."""
    if name not in _USUAL_CHANGES:
        return operations
    phases = [operation for operation in operations if not operation.qubits]
    rest = [operation for operation in operations if operation.qubits]
    if name == "sxdg":  # S H S is sxdg times exp(i pi / 4)
        is_usual = rest == [Operation(qubits, kind) for kind in _USUAL_CHANGES[name]]
        return [*phases, global_phase(pi / 4), Operation(qubits, "sxdg")] if is_usual else operations
    changes = [Operation((qubit,), kind) for qubit in qubits for kind in _USUAL_CHANGES[name]]
    cnot = Operation(qubits, "cnot")
    back = [undone for change in changes for undone in invert([change])]
    usual = [*changes, cnot, Operation(qubits[1:], None, "Z", angles[0]), cnot, *back]
    return [*phases, *GATES[name].expand(angles, qubits)] if rest == usual else operations


def _qubits_of(program: _Program, node: Any) -> tuple[int, ...] | int:
    """Return one qubit, or those of a register or a slice."""
    kind = type(node).__name__
    if kind == "Identifier":
        if node.name not in program.registers:
            raise DomainError(f"`{node.name}` must be a declared qubit or register, but is not")
        return program.registers[node.name]
    if kind == "IndexedIdentifier" and len(node.indices) == 1:
        return _slice(_qubits_of(program, node.name), node.indices[0], program)
    if kind == "IndexExpression":
        return _slice(_qubits_of(program, node.collection), node.index, program)
    raise DomainError(f"qubits must be given by name, index or slice, but are by {kind}")


def _slice(register: tuple[int, ...] | int, index: Any, program: _Program) -> tuple[int, ...] | int:
    if isinstance(register, int):
        raise DomainError("only a register can be indexed, not a single qubit")
    if type(index).__name__ == "DiscreteSet":
        return tuple(_pick(register, evaluate_integer(value, program.names)) for value in index.values)
    (part,) = index if len(index) == 1 else (None,)
    if part is None:
        raise DomainError("a register must have one index, but has several")
    if type(part).__name__ == "RangeDefinition":
        return tuple(_pick(register, place) for place in evaluate_range(part, program.names, len(register)))
    return _pick(register, evaluate_integer(part, program.names))


def _pick(register: tuple[int, ...], place: int) -> int:
    if not -len(register) <= place < len(register):
        raise DomainError(f"an index must be inside its register of {len(register)}, but is {place}")
    return register[place]


_STATEMENTS: dict[str, Callable[[_Program, Any], None]] = {
    "AliasStatement": _alias,
    "ClassicalDeclaration": _declare_number,
    "ConstantDeclaration": _declare_number,
    "ForInLoop": _loop,
    "IODeclaration": _declare_input,
    "Include": _include,
    "QuantumBarrier": _barrier,
    "QuantumGate": _apply_gate,
    "QuantumGateDefinition": _define_gate,
    "QuantumMeasurementStatement": _measure,
    "QuantumPhase": _apply_gate,
    "QuantumReset": _reset,
    "QubitDeclaration": _declare_qubits,
}
