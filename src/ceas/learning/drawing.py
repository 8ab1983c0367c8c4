"""Circuits as text for a terminal: one line a qubit, time to the right."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import pi
from typing import NamedTuple

from ceas.learning.circuits import ROTATIONS, Circuit, Gate, Term
from ceas.learning.partition import Partition, Teledata, Telegate

__all__ = ["draw_circuit", "first_qpus"]

_ENDS = {"cnot": ("●", "⊕"), "cz": ("●", "●"), "swap": ("×", "×")}
_NAMES = {"sdg": "S†", "sx": "√X", "sxdg": "√X†"}


class _Symbol(NamedTuple):
    """What one column shows of a gate or of a move: text by qubit, and the span of qubits that it occupies."""

    text: dict[int, str]
    low: int
    high: int


def draw_circuit(circuit: Circuit, partition: Partition | None = None, *, width: int = 120) -> str:
    """Draw a circuit as plain text.

    `θ3` is parameter 3, `x0` input 0; ● a control or an end of a CZ, ⊕ the target of a CNOT, × an end of a SWAP. A gate
    of two qubits runs from ╭ to ╰. With a partition, lines begin with the QPU that holds the qubit first, and pairs are
    numbered in the order in which they are taken: `«2»` after a symbol says that pair 2 serves the gate, `→1 «2»` that
    pair 2 moves the qubit to QPU 1; what each pair does is listed below.

    Args:
        circuit: The circuit.
        partition: Its partition, if the pairs are to be shown.
        width: Columns before the drawing goes on below; a single wider symbol stays whole.

    Returns:
        Lines, without a newline at the end.
    """
    labels = _labels(circuit, partition)
    columns = _columns(_symbols(circuit, partition), circuit.n_qubits)
    drawn = [_draw_column(column, circuit.n_qubits) for column in columns]
    blocks = _wrap(drawn, width - len(labels[0]) - 1)
    lines = []
    for number, block in enumerate(blocks):
        lines += [""] if number else []
        for qubit, label in enumerate(labels):
            lines.append(label + "".join(column[qubit] for column in block) + "─")
    if partition is not None and partition.uses:
        lines += ["", *_legend(partition)]
    return "\n".join(lines)


def _labels(circuit: Circuit, partition: Partition | None) -> list[str]:
    names = [f"q{qubit}" for qubit in range(circuit.n_qubits)]
    if partition is not None:
        names = [f"{name} @ QPU {qpu}" for name, qpu in zip(names, first_qpus(circuit, partition), strict=True)]
    longest = max(map(len, names))
    return [name.ljust(longest) + ": " for name in names]


def first_qpus(circuit: Circuit, partition: Partition) -> list[int]:
    """Return the QPU that holds each qubit at the start, by taking back what moved it."""
    places = list(partition.readout_qpus)
    moves = defaultdict(list)
    for use in partition.uses:
        if isinstance(use, Teledata):
            moves[use.before].append(use)
    for index in range(len(circuit.gates), -1, -1):
        gate = circuit.gates[index] if index < len(circuit.gates) else None
        if gate is not None and gate.kind == "swap":
            # A SWAP across has exchanged the qubits' names.
            first, second = gate.qubits
            places[first], places[second] = places[second], places[first]
        for use in reversed(moves[index]):
            places[use.qubit] = use.link[0]
    return places


def _symbols(circuit: Circuit, partition: Partition | None) -> Iterable[_Symbol]:
    moves, served = defaultdict(list), defaultdict(list)
    for number, use in enumerate(partition.uses if partition else ()):
        if isinstance(use, Teledata):
            moves[use.before].append((number, use))
        else:
            for index in use.gates:
                served[index].append(number)
    for index, gate in enumerate([*circuit.gates, None]):
        for number, use in moves[index]:
            yield _Symbol({use.qubit: f"→{use.link[1]} «{number}»"}, use.qubit, use.qubit)
        if gate is not None:
            yield _gate_symbol(gate, served[index])


def _gate_symbol(gate: Gate, pairs: Sequence[int]) -> _Symbol:
    mark = f"«{','.join(map(str, pairs))}»" if pairs else ""
    low, high = min(gate.qubits), max(gate.qubits)
    if gate.is_rotation:
        angle = f"({_angle(gate.angle)})"
        names = [f"R{pauli}" for pauli in ROTATIONS[gate.kind]]
        if len(gate.qubits) == 1:
            return _Symbol({low: names[0] + angle}, low, high)
        names = ["R" + ROTATIONS[gate.kind]] * 2
        return _Symbol({low: "╭" + names[0] + angle + mark, high: "╰" + names[1]}, low, high)
    if len(gate.qubits) == 1:
        return _Symbol({low: _NAMES.get(gate.kind, gate.kind.upper())}, low, high)
    ends = dict(zip(gate.qubits, _ENDS[gate.kind], strict=True))
    return _Symbol({low: "╭" + ends[low] + mark, high: "╰" + ends[high]}, low, high)


def _columns(symbols: Iterable[_Symbol], n_qubits: int) -> list[list[_Symbol]]:
    """Put each symbol into the first column in which all qubits of its span are free from there on."""
    columns: list[list[_Symbol]] = []
    free = [0] * n_qubits
    for symbol in symbols:
        span = range(symbol.low, symbol.high + 1)
        place = max(free[qubit] for qubit in span)
        columns.extend([] for _ in range(place + 1 - len(columns)))
        columns[place].append(symbol)
        for qubit in span:
            free[qubit] = place + 1
    return columns


def _draw_column(column: Sequence[_Symbol], n_qubits: int) -> list[str]:
    cells = [""] * n_qubits
    for symbol in column:
        for qubit in range(symbol.low, symbol.high + 1):
            cells[qubit] = symbol.text.get(qubit, "│")
    longest = max(map(len, cells))
    return ["─" + cell.ljust(longest, "─") for cell in cells]


def _wrap(columns: Sequence[list[str]], room: int) -> list[list[list[str]]]:
    blocks: list[list[list[str]]] = [[]]
    used = 0
    for column in columns:
        if blocks[-1] and used + len(column[0]) > room:
            blocks.append([])
            used = 0
        blocks[-1].append(column)
        used += len(column[0])
    return blocks


def _angle(terms: Sequence[Term]) -> str:
    text = "".join(_term(term) for term in terms)
    return text.removeprefix("+")


def _term(term: Term) -> str:
    factors = [f"θ{term.parameter}"] if term.parameter >= 0 else []
    factors += [f"x{feature}" for feature in term.features]
    size = abs(term.coefficient)
    if not factors or size != 1:
        factors.insert(0, _number(size))
    return ("-" if term.coefficient < 0 else "+") + "·".join(factors)


def _number(size: float) -> str:
    """Write simple fractions and multiples of pi as such, other numbers with four digits."""
    for unit, name in ((pi, "π"), (1.0, "")):
        fraction = Fraction(size / unit).limit_denominator(64)
        if fraction and abs(size - float(fraction) * unit) < 1e-12 * size and (name or fraction.denominator > 1):
            top = f"{fraction.numerator}{name}" if fraction.numerator != 1 or not name else name
            return top if fraction.denominator == 1 else f"{top}/{fraction.denominator}"
    return f"{size:.4g}"


def _legend(partition: Partition) -> list[str]:
    return [f"pair {number}: {_said(use)}" for number, use in enumerate(partition.uses)]


def _said(use: Telegate | Teledata) -> str:
    link = f"from QPU {use.link[0]} to QPU {use.link[1]}"
    if isinstance(use, Teledata):
        return f"moves q{use.qubit} {link}"
    gates = "1 gate" if len(use.gates) == 1 else f"{len(use.gates)} gates"
    return f"copies q{use.root} in {use.basis} {link} for {gates}"
