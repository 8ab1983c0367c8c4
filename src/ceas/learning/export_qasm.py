"""Circuits as OpenQASM 3 programs, to take elsewhere."""

from collections.abc import Iterator, Sequence

from ceas.learning.circuits import Circuit, Gate, Term

__all__ = ["to_qasm"]

# The standard library lacks these. Readers may not know modifiers, so sxdg is spelt out up to its phase.
_DEFINITIONS = {
    "sxdg": "gate sxdg a { s a; h a; s a; }",
    "rxx": "gate rxx(t) a, b { h a; h b; cx a, b; rz(t) b; cx a, b; h a; h b; }",
    "ryy": "gate ryy(t) a, b { sx a; sx b; cx a, b; rz(t) b; cx a, b; sxdg a; sxdg b; }",
    "rzz": "gate rzz(t) a, b { cx a, b; rz(t) b; cx a, b; }",
}
_NEEDS = {"ryy": ("sxdg",)}


def to_qasm(circuit: Circuit, observables: Sequence[int] = ()) -> str:
    """Write a circuit as an OpenQASM 3 program.

    Parameters are the inputs `theta_0`, `theta_1`, ..., a sample's inputs `x_0`, `x_1`, ... A barrier stands wherever
    the layer changes. `from_qasm(text, parameters=["theta_*"], inputs=["x_*"], first_layer=...)` gives the circuit
    back if its layers rise by one.

    Args:
        circuit: The circuit.
        observables: Qubits to measure at the end, in this order, distinct.

    Returns:
        The program; it uses gates of `stdgates.inc` and defines rxx, ryy, rzz and sxdg where they occur.
    """
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', *_definitions(circuit)]
    lines += [f"input float[64] theta_{index};" for index in range(circuit.n_parameters)]
    lines += [f"input float[64] x_{index};" for index in range(circuit.n_features)]
    lines += [f"qubit[{circuit.n_qubits}] q;", *_gate_lines(circuit)]
    if observables:
        lines += [f"bit[{len(observables)}] c;"]
        lines += [f"c[{place}] = measure q[{qubit}];" for place, qubit in enumerate(observables)]
    return "\n".join(lines) + "\n"


def _definitions(circuit: Circuit) -> list[str]:
    kinds: set[str] = {gate.kind for gate in circuit.gates}
    needed = kinds | {name for kind in kinds for name in _NEEDS.get(kind, ())}
    return [text for name, text in _DEFINITIONS.items() if name in needed]


def _gate_lines(circuit: Circuit) -> Iterator[str]:
    layer = circuit.gates[0].layer if circuit.gates else 0
    for gate in circuit.gates:
        if gate.layer != layer:
            layer = gate.layer
            yield "barrier q;"
        yield _gate_line(gate)


def _gate_line(gate: Gate) -> str:
    name = "cx" if gate.kind == "cnot" else gate.kind
    angle = f"({' + '.join(map(_term, gate.angle))})" if gate.is_rotation else ""
    return f"{name}{angle} {', '.join(f'q[{qubit}]' for qubit in gate.qubits)};"


def _term(term: Term) -> str:
    factors = [f"theta_{term.parameter}"] if term.parameter >= 0 else []
    factors += [f"x_{feature}" for feature in term.features]
    if not factors or term.coefficient != 1:
        factors.insert(0, repr(float(term.coefficient)))
    return "*".join(factors)
