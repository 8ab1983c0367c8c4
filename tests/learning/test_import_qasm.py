import itertools
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag, expm

from ceas.errors import DomainError
from ceas.learning import ansatz
from ceas.learning.circuits import CLIFFORDS, ROTATIONS, Circuit, Gate, Term
from ceas.learning.drawing import draw_circuit
from ceas.learning.export_qasm import to_qasm
from ceas.learning.import_qasm import from_qasm
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\n'
SCRAMBLE = "".join(
    f"ry({0.4 + 0.3 * k}) q[{k}]; rz({0.9 - 0.5 * k}) q[{k}];\n" for k in range(3)
) + "cx q[0], q[1]; cx q[1], q[2]; rx(0.7) q[0]; rx(-0.4) q[1]; ry(0.2) q[2];\n"  # fmt: skip

ID, X, Y, Z = np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
H, S = (X + Z) / np.sqrt(2), np.diag([1, 1j])
T, SX = np.diag([1, np.exp(0.25j * np.pi)]), expm(-0.25j * np.pi * (X - ID))
SWAP = np.eye(4)[[0, 2, 1, 3]]


def turn(pauli: Any, angle: float) -> Any:
    return expm(-0.5j * angle * pauli)


def phase(angle: float) -> Any:
    return np.diag([1, np.exp(1j * angle)])


def u(theta: float, phi: float, lam: float) -> Any:
    """The specification's built-in gate."""
    a, b = 1 + np.exp(1j * theta), 1 - np.exp(1j * theta)
    return np.array([[a, -1j * np.exp(1j * lam) * b], [1j * np.exp(1j * phi) * b, np.exp(1j * (phi + lam)) * a]]) / 2


def old_u(theta: float, phi: float, lam: float) -> Any:
    """OpenQASM 2's, with real first entry, as Qiskit's."""
    return np.exp(-0.5j * theta) * u(theta, phi, lam)


def ctrl(matrix: Any, n_controls: int = 1) -> Any:
    return block_diag(np.eye(len(matrix) * (2**n_controls - 1)), matrix)


def negctrl(matrix: Any) -> Any:
    return block_diag(matrix, np.eye(len(matrix)))


def density(circuit: Circuit, oracle: Callable[..., Any], theta: Any = (), x: Any = ()) -> Any:
    partition = partition_circuit(circuit)
    return oracle(circuit, partition, theta, x, noiseless(partition), learner=0)


ON_ONE = {
    "x": X, "y": Y, "z": Z, "h": H, "s": S, "sdg": S.conj(), "t": T, "tdg": T.conj(), "sx": SX, "sxdg": SX.conj().T,
    "id": ID, "rx(0.3)": turn(X, 0.3), "ry(0.3)": turn(Y, 0.3), "rz(0.3)": turn(Z, 0.3), "p(0.3)": phase(0.3),
    "phase(0.3)": phase(0.3), "u1(0.3)": phase(0.3), "u2(0.3, 0.8)": old_u(np.pi / 2, 0.3, 0.8),
    "u3(0.3, 0.8, -0.4)": old_u(0.3, 0.8, -0.4), "u(0.3, 0.8, -0.4)": old_u(0.3, 0.8, -0.4), "u0(3)": ID,
    "U(0.3, 0.8, -0.4)": u(0.3, 0.8, -0.4),
}  # fmt: skip


@pytest.fixture(scope="module")
def scrambled(oracle_density: Callable[..., Any]) -> Any:
    return density(from_qasm(HEAD + SCRAMBLE).circuit, oracle_density)


def check(oracle: Callable[..., Any], scrambled: Any, statements: str, matrix: Any, definitions: str = "") -> None:
    """The matrix acts on the first of three qubits."""
    whole = np.kron(matrix, np.eye(8 // len(matrix)))
    got = density(from_qasm(HEAD + definitions + SCRAMBLE + statements).circuit, oracle)
    np.testing.assert_allclose(got, whole @ scrambled @ whole.conj().T, atol=1e-12)


@pytest.mark.parametrize("gate", ON_ONE)
def test_gates_of_one_qubit(oracle_density: Callable[..., Any], scrambled: Any, gate: str) -> None:
    check(oracle_density, scrambled, f"{gate} q[0];", ON_ONE[gate])


@pytest.mark.parametrize("gate", [gate for gate in ON_ONE if not gate.startswith(("u2", "u3", "u("))])
def test_controls_see_the_phase_of_their_gate(oracle_density: Callable[..., Any], scrambled: Any, gate: str) -> None:
    check(oracle_density, scrambled, f"ctrl @ {gate} q[0], q[1];", ctrl(ON_ONE[gate]))
    check(oracle_density, scrambled, f"ctrl(2) @ {gate} q[0], q[1], q[2];", ctrl(ON_ONE[gate], 2))


@pytest.mark.parametrize("gate", ["u2(0.3, 0.8)", "u3(0.3, 0.8, -0.4)"])
def test_compatibility_gates_have_determinant_one(
    oracle_density: Callable[..., Any], scrambled: Any, gate: str
) -> None:
    matrix = ON_ONE[gate] / np.sqrt(np.linalg.det(ON_ONE[gate]))
    assert matrix[0, 0].real > 0
    check(oracle_density, scrambled, f"ctrl @ {gate} q[0], q[1];", ctrl(matrix))


CU = np.kron(phase(0.5), ID) @ ctrl(old_u(0.3, 0.8, -0.4))
ON_MORE = {
    "cx q[0], q[1]": ctrl(X),
    "CX q[0], q[1]": ctrl(X),
    "cy q[0], q[1]": ctrl(Y),
    "cz q[0], q[1]": ctrl(Z),
    "ch q[0], q[1]": ctrl(H),
    "csx q[0], q[1]": ctrl(SX),
    "swap q[0], q[1]": SWAP,
    "cp(0.3) q[0], q[1]": ctrl(phase(0.3)),
    "cphase(0.3) q[0], q[1]": ctrl(phase(0.3)),
    "cu1(0.3) q[0], q[1]": ctrl(phase(0.3)),
    "crx(0.3) q[0], q[1]": ctrl(turn(X, 0.3)),
    "cry(0.3) q[0], q[1]": ctrl(turn(Y, 0.3)),
    "crz(0.3) q[0], q[1]": ctrl(turn(Z, 0.3)),
    "cu(0.3, 0.8, -0.4, 0.5) q[0], q[1]": CU,
    "cu3(0.3, 0.8, -0.4) q[0], q[1]": ctrl(old_u(0.3, 0.8, -0.4)),
    "rxx(0.3) q[0], q[1]": turn(np.kron(X, X), 0.3),
    "ryy(0.3) q[0], q[1]": turn(np.kron(Y, Y), 0.3),
    "rzz(0.3) q[0], q[1]": turn(np.kron(Z, Z), 0.3),
    "ccx q[0], q[1], q[2]": ctrl(X, 2),
    "cswap q[0], q[1], q[2]": ctrl(SWAP),
    "ctrl @ cz q[0], q[1], q[2]": ctrl(Z, 2),
    "ctrl @ rxx(0.3) q[0], q[1], q[2]": ctrl(turn(np.kron(X, X), 0.3)),
    "ctrl @ ryy(0.3) q[0], q[1], q[2]": ctrl(turn(np.kron(Y, Y), 0.3)),
    "ctrl @ gphase(0.3) q[0]": phase(0.3),
    "ctrl(2) @ gphase(0.3) q[0], q[1]": ctrl(phase(0.3)),
    "gphase(0.3)": ID,
    "negctrl @ h q[0], q[1]": negctrl(H),
    "negctrl @ ctrl @ rx(0.3) q[0], q[1], q[2]": negctrl(ctrl(turn(X, 0.3))),
    "inv @ U(0.3, 0.8, -0.4) q[0]": u(0.3, 0.8, -0.4).conj().T,
    "inv @ ctrl @ sx q[0], q[1]": ctrl(SX).conj().T,
    "ctrl @ inv @ pow(3) @ t q[0], q[1]": ctrl(np.linalg.matrix_power(T.conj(), 3)),
    "pow(-2) @ U(0.3, 0.8, -0.4) q[0]": np.linalg.matrix_power(u(0.3, 0.8, -0.4), -2),
    "pow(0) @ h q[0]": ID,
    "inv @ mine(0.3) q[0], q[1]": (np.kron(ID, H) @ ctrl(turn(X, 0.6)) @ np.kron(phase(0.3), ID)).conj().T,
    "ctrl @ mine(0.3) q[0], q[1], q[2]": ctrl(
        np.exp(0.1j) * np.kron(ID, H) @ ctrl(turn(X, 0.6)) @ np.kron(phase(0.3), ID)
    ),
}
MINE = "gate inner(a) u, v { ctrl @ rx(a) u, v; h v; }\ngate mine(a) u, v { gphase(0.1); p(a) u; inner(2*a) u, v; }\n"


@pytest.mark.parametrize("statement", ON_MORE)
def test_gates_of_more_qubits(oracle_density: Callable[..., Any], scrambled: Any, statement: str) -> None:
    check(oracle_density, scrambled, statement + ";", ON_MORE[statement], MINE)


def test_many_controls_are_exact(oracle_density: Callable[..., Any]) -> None:
    prepared = "OPENQASM 3.0;\nqubit[4] q;\nfor int k in [0:3] { ry(0.3 + 0.4 * k) q[k]; rz(k - 0.7) q[k]; }\n"
    before = density(from_qasm(prepared).circuit, oracle_density)
    for name, matrix in (("x", X), ("ry(0.4)", turn(Y, 0.4)), ("z", Z)):
        whole = ctrl(matrix, 3)
        after = density(from_qasm(prepared + f"ctrl(3) @ {name} q[0], q[1], q[2], q[3];").circuit, oracle_density)
        np.testing.assert_allclose(after, whole @ before @ whole.conj().T, atol=1e-12)
    for name, matrix in (("ctrl @ ccx", X), ("c3x", X), ("c3sqrtx", SX)):
        after = density(from_qasm(prepared + f"{name} q[0], q[1], q[2], q[3];").circuit, oracle_density)
        np.testing.assert_allclose(after, ctrl(matrix, 3) @ before @ ctrl(matrix, 3).conj().T, atol=1e-12)


def test_four_controls_of_the_old_library(oracle_density: Callable[..., Any]) -> None:
    """A NOT with four controls is its own inverse, and turns |11110> into |11111> alone."""
    head = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[5];\n'
    for states in ("11110", "01111", "11011"):
        flips = "".join(f"x q[{k}];" for k, bit in enumerate(states) if bit == "1")
        rho = density(from_qasm(head + flips + "c4x q[0], q[1], q[2], q[3], q[4];").circuit, oracle_density)
        place = int(states, 2) ^ (states[:4] == "1111")
        assert rho[place, place].real == pytest.approx(1.0)


PROGRAM = """OPENQASM 3.0;
include "stdgates.inc";
const int n = 3;
const float third = 2 * pi / (n + 3);
input array[float[64], n, 2] theta;
input angle[32] x_0;
input float x_1;
qubit[n] q;
qubit spare;
bit[2] c;
for uint k in [0:n - 1] {
  ry(theta[k][0] * x_0 + third) q[k];
  rz(-theta[k, 1] / 2 + x_1 ** 2) q[k];
}
let pair = q[{0, 2}] ++ spare;
cx q[0:1], pair[1:2];
barrier q, spare;
crx(theta[0][1] - x_0) q[-1], spare;
c[1] = measure spare;
c[0] = measure q[0];
"""


def test_a_program_with_inputs_is_read_symbolically(oracle_density: Callable[..., Any]) -> None:
    imported = from_qasm(PROGRAM, parameters=["theta"], inputs=["x_*"])
    assert imported.qubit_names == ("q[0]", "q[1]", "q[2]", "spare")
    assert imported.parameter_names[:3] == ("theta[0][0]", "theta[0][1]", "theta[1][0]")
    assert imported.input_names == ("x_0", "x_1")
    assert imported.observables == (3, 0)
    assert [gate.layer for gate in imported.circuit.gates].count(1) == 4
    theta, x = np.random.default_rng(2).uniform(-2, 2, (3, 2)), np.array([0.8, -1.3])

    def expected() -> None:
        for k in range(3):
            qml.RY(theta[k, 0] * x[0] + np.pi / 3, wires=k)
            qml.RZ(-theta[k, 1] / 2 + x[1] ** 2, wires=k)
        qml.CNOT([0, 2])
        qml.CNOT([1, 3])
        qml.CRX(theta[0, 1] - x[0], wires=[2, 3])

    state = qml.matrix(qml.tape.make_qscript(expected)(), wire_order=range(4))[:, 0]
    rho = density(imported.circuit, oracle_density, theta.ravel(), x)
    np.testing.assert_allclose(rho, np.outer(state, state.conj()), atol=1e-12)


def test_pennylane_reads_the_same_program(oracle_density: Callable[..., Any]) -> None:
    # It knows neither includes nor registers.
    text = SCRAMBLE + "h q[1]; cry(0.4) q[0], q[2]; ccx q[2], q[1], q[0]; inv @ s q[1]; swap q[0], q[2];"
    text = "OPENQASM 3.0;\nqubit a0; qubit a1; qubit a2;\n" + re.sub(r"q\[(\d)\]", r"a\1", text)
    tape = qml.tape.make_qscript(qml.from_qasm3(text, {f"a{k}": k for k in range(3)}))()
    state = qml.matrix(tape, wire_order=range(3))[:, 0]
    rho = density(from_qasm(text).circuit, oracle_density)
    np.testing.assert_allclose(rho, np.outer(state, state.conj()), atol=1e-12)


def test_openqasm_2_is_read() -> None:
    text = """OPENQASM 2.0;
    include "qelib1.inc";
    gate bell a, b { h a; cx a, b; }
    qreg q[2];
    creg c[2];
    bell q[0], q[1];
    CX q[1], q[0];
    measure q -> c;"""
    imported = from_qasm(text)
    assert [(gate.kind, gate.qubits) for gate in imported.circuit.gates] == [
        ("h", (0,)),
        ("cnot", (0, 1)),
        ("cnot", (1, 0)),
    ]
    assert imported.observables == (0, 1)


def test_usual_definitions_are_the_gates_themselves() -> None:
    text = """OPENQASM 3.0;
    gate rzz(a) u, v { cx u, v; rz(a) v; cx u, v; }
    gate rxx(a) u, v { h u; h v; cx u, v; rz(a) v; cx u, v; h u; h v; }
    gate sxdg u { inv @ sx u; }
    gate ryy(a) u, v { cx u, v; rz(a) v; cx u, v; }
    qubit[2] q;
    rzz(0.1) q[0], q[1]; rxx(0.2) q[1], q[0]; sxdg q[0]; ryy(0.3) q[0], q[1];"""
    kinds = [gate.kind for gate in from_qasm(text).circuit.gates]
    assert kinds == ["rzz", "rxx", "sxdg", "cnot", "rz", "cnot"]  # the last is no ryy


ROUND_TRIPS = {
    "hardware_efficient": (ansatz.hardware_efficient(4, 2, "brickwork", gate="cz"), -1),
    "iqp": (ansatz.iqp(3, 2, n_repeats=2), 0),
    "data_reuploading": (ansatz.data_reuploading(2, 2, 5), 0),
    "dressed_core": (ansatz.dressed_core(3, 2), -1),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_written_program_reads_back_as_the_very_circuit(name: str) -> None:
    circuit, first_layer = ROUND_TRIPS[name]
    text = to_qasm(circuit, observables=[1, 0])
    imported = from_qasm(text, parameters=["theta_*"], inputs=["x_*"], first_layer=first_layer)
    assert imported.circuit == circuit
    assert imported.observables == (1, 0)


def test_every_kind_of_gate_reads_back(oracle_density: Callable[..., Any]) -> None:
    """Every kind of rotation and Clifford gate, and coefficients that are no short decimals."""
    gates = [Gate(kind=k, qubits=(0,), layer=0) for k in ("x", "y", "z", "h", "s", "sdg", "sx", "sxdg")]  # type: ignore[arg-type]
    angle = (Term(-np.pi / 3, 0, (0, 0)), Term(1 / 3, 1), Term(0.1, -1))
    for kind in ("rx", "ry", "rz"):
        gates.append(Gate(kind=kind, qubits=(1,), angle=angle, layer=1))  # type: ignore[arg-type]
    for kind in ("rxx", "ryy", "rzz"):
        gates.append(Gate(kind=kind, qubits=(1, 0), angle=angle[:1], layer=2))  # type: ignore[arg-type]
    gates += [Gate(kind=k, qubits=(0, 1), layer=3) for k in ("cnot", "cz", "swap")]  # type: ignore[arg-type]
    circuit = Circuit(n_qubits=2, gates=tuple(gates), n_parameters=2, n_features=2)
    text = to_qasm(circuit)
    imported = from_qasm(text, parameters=["theta_*"], inputs=["x_*"])
    theta, x = [0.3, -1.1], [0.7, 0.0]
    expected = density(circuit, oracle_density, theta, x)
    np.testing.assert_allclose(density(imported.circuit, oracle_density, theta, x), expected, atol=1e-12)
    assert [gate.kind for gate in imported.circuit.gates] == [gate.kind for gate in gates]
    values = {**{f"theta_{k}": v for k, v in enumerate(theta)}, **{f"x_{k}": v for k, v in enumerate(x)}}
    no_inputs = re.sub(r"input .*\n", "", text)
    numbers = re.sub(r"(theta|x)_\d", lambda name: f"({values[name.group()]})", no_inputs)
    np.testing.assert_allclose(density(from_qasm(numbers).circuit, oracle_density), expected, atol=1e-12)


REFUSED = {
    "qubit q\nh q;": "line 2: the program cannot be parsed at `h`",
    "qubit q;\nh q; }": "line 2: the program cannot be parsed at `}`",
    "qubit q; § h q;": "line 1: token recognition error",
    "qubit[2": "line 1: the program cannot be parsed at the end",
    "qubit q;\nif (true) { x q; }": "line 2: a circuit must do without BranchingStatement",
    "qubit q;\nwhile (true) { x q; }": "line 2: a circuit must do without WhileLoop",
    "qubit q;\nh q;\nreset q;": "line 3: `reset` must come before",
    "qubit q;\nbit c = measure q;\nh q;": "line 3: q must be measured last",
    "qubit q;\nfoo q;": "line 2: gate `foo` must be defined",
    "gate a u { b u; }\ngate b u { h u; }\nqubit q;\na q;": "line 1: gate `b` must be defined",
    "gate a u { a u; }\nqubit q;\na q;": "line 1: gate `a` must be defined",
    "qubit[2] q;\ncx q[0], q[0];": "line 2: a gate must act on distinct qubits",
    "qubit[2] q;\nctrl @ x q[0], q[0];": "line 2: a gate must act on distinct qubits",
    "qubit[2] q;\nh q[2];": "line 2: an index must be inside its register of 2, but is 2",
    "qubit[2] q; qubit[3] r;\ncx q, r;": "line 2: a gate must act on registers of one length",
    "qubit q;\nrx q;": "line 2: gate `rx` must have 1 angles and 1 qubits, but has 0 and 1",
    "qubit q;\nrx(1 / 0) q;": "line 2: the right side of `/` must not be 0, but is",
    "qubit q;\nrx(sqrt(-1)) q;": "line 2: `sqrt` must be defined",
    "qubit q;\nrx(a) q;": "line 2: `a` must be declared",
    "qubit q;\npow(0.5) @ x q;": "line 2: a size, an index or an exponent must be a constant integer",
    "qubit q;\nctrl(2) @ x q;": "line 2: a gate with 2 controls must have a qubit for each, but has 1 in all",
    'include "mine.inc";': "line 1: only stdgates.inc and qelib1.inc can be included",
    "input int k;\nqubit q;": "line 1: an input must be a float",
    "": "line 1: the program is empty",
    "// nothing\n": "line 1: the program is empty",
    "qubit q;\nconst int k = 7 / 2;\nrx(k) q;": "line 2: a value must be an integer as declared, but is 3.5",
    "qubit q;\nuint k = -1;\nrx(k) q;": "line 2: a value must be an integer of at least 0 as declared, but is -1",
    "qubit q;\nfor int k in {1, 0.5} { rx(k) q; }": "line 2: a value must be an integer as declared, but is 0.5",
    "qubit q;\nrx(bool(2)) q;": "line 2: a number must be a float, an angle, an int or a uint, but is BoolType",
    "qubit[2] q;\nqubit q;\nh q;": "line 2: `q` must be declared once, but is declared again",
    "qubit q;\nctrl(0) @ x q;": "line 2: `ctrl` must be by at least 1 qubit, but is by 0",
    "qubit q;\nrx(1 < 2) q;": "line 2: an expression must have the operators + - * / ** %, but has `<`",
    "qubit[0] q;": "line 1: a register must have at least one qubit, but has 0",
    "input array[float, 2, 0] a;\nqubit q;": "line 1: an array must have at least one element in each dimension",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_names_its_line(text: str) -> None:
    with pytest.raises(DomainError, match=re.escape("OpenQASM " + REFUSED[text])):
        from_qasm(text)


def gates_of_gates(n_levels: int, body: str, first: str) -> str:
    """Each gate calls the one before; with two calls each, the last one is 2^levels of the first."""
    return f"gate g0 u {{ {first} }}\n" + "".join(
        f"gate g{k} u {{ {body.format(k - 1)} }}\n" for k in range(1, n_levels)
    )


NOT_FINITE = "a number must be finite and at most 1.8e+308 in size, but one is not"
DEEPER = "expressions and gates must be nested less deeply than these"
ENDLESS = {
    "rx(10**400*a) q[0];": f"OpenQASM line 3: {NOT_FINITE}: 10 to the power of 400",
    "rx(9**9**9**9) q[0];": f"OpenQASM line 3: {NOT_FINITE}: 9 to the power of 387420489",
    "rx(2**1024) q[0];": f"OpenQASM line 3: {NOT_FINITE}",
    "rx(int(1e308*10)) q[0];": f"OpenQASM line 3: {NOT_FINITE}",
    "rx((1e308*10-1e308*10)*a) q[0];": f"OpenQASM line 3: {NOT_FINITE}",
    "\nrx(1e308*a*10) q[0];": f"OpenQASM line 4: {NOT_FINITE}",
    "rx(a/1e-320) q[0];": f"OpenQASM line 3: {NOT_FINITE}",
    "rx(1e999) q[0];": f"OpenQASM line 3: {NOT_FINITE}",
    "pow(1000000000000) @ rx(1e300*a) q[0];": "OpenQASM line 3: an angle must have finite coefficients, but has inf",
    f"rx({'9' * 5000}) q[0];": "OpenQASM line 3: a number must have fewer digits to be read",
    f"\nrx({'(' * 3000}1{')' * 3000}) q[0];": "OpenQASM line 4: brackets must be at most 100 deep, but are deeper",
    f"\nrx({'1+' * 3000}1) q[0];": f"OpenQASM line 4: {DEEPER}",
    "inv @ " * 3000 + "x q[0];": f"OpenQASM line 3: {DEEPER}",
    gates_of_gates(400, "g{0} u;", "x u;") + "g399 q[0];": DEEPER,
    gates_of_gates(60, "g{0} u; g{0} u;", "x u;")
    + "g59 q[0];": "must have at most 100000 calls of gates, but has more",
    gates_of_gates(60, "g{0} u; g{0} u;", "") + "g59 q[0];": "must have at most 100000 calls of gates, but has more",
    "for int i in [0:1000000000] { x q[0]; }": "OpenQASM line 3: a program must have at most 100000 turns of loops",
    "for int i in [0:10**100] { x q[0]; }": "OpenQASM line 3: a program must have at most 100000 turns of loops",
    "for int i in [0:999] { for int j in [0:999] { } }": "a program must have at most 100000 turns of loops",
    "for int i in [0:9999] { ccx q[0], q[1], q[2]; }": "OpenQASM line 3: a program must have at most 100000 gates",
    "pow(1000000000) @ x q[0];": "OpenQASM line 3: a program must have at most 100000 operations of powers",
    "pow(-1000000000) @ x q[0];": "OpenQASM line 3: a program must have at most 100000 operations of powers",
    "ctrl @ " * 29 + "rx(1) " + ", ".join(f"q[{k}]" for k in range(30)) + ";": "at most 100000 operations of powers",
    "qubit[1000000000] r;": "OpenQASM line 3: a program must have at most 100000 qubits",
    "let b0 = q;"
    + "".join(f"let b{k} = b{k - 1} ++ b{k - 1};" for k in range(1, 50)): "at most 100000 qubits of aliases",
    "float y0 = a;" + "".join(f"float y{k} = y{k - 1} * y{k - 1};" for k in range(1, 50)): (
        "OpenQASM line 3: a product must have at most 64 parameters or inputs, but has 128"
    ),
    "float y0 = 1 + a;" + "".join(f"float y{k} = y{k - 1} * y{k - 1};" for k in range(1, 50)): (
        "OpenQASM line 3: a product must have at most 64 parameters or inputs, but has "
    ),
}


@pytest.mark.parametrize("statement", ENDLESS, ids=range(len(ENDLESS)))
def test_what_is_too_large_is_refused_at_once_with_its_line(statement: str) -> None:
    text = "input float a;\nqubit[30] q; ry(a) q[0];\n" + statement
    start = time.process_time()
    with pytest.raises(DomainError, match=r"^(?=OpenQASM line \d+: ).*" + re.escape(ENDLESS[statement])):
        from_qasm(text, parameters=["a"])
    # Some are limited after 100000 turns, which takes a second; none of them would end in an hour.
    assert time.process_time() - start < 20


def test_sums_of_many_terms_are_refused_and_large_programs_are_not() -> None:
    many = "input array[float, 101] a;\nqubit q;\nfloat s = " + " + ".join(f"a[{k}]" for k in range(101)) + ";\n"
    with pytest.raises(DomainError, match="line 4: a product of sums must have at most 10000 terms, but has 10201"):
        from_qasm(many + "rx(s * s) q;", inputs=["a"])
    deep = (
        f"qubit q; rx({'(' * 90}1{')' * 90}) q; rx(2**1023) q; rx((-1)**(9**9)) q; rx({'1+' * 99}1) q; // {'(' * 200}"
    )
    angles = [gate.angle[0].coefficient for gate in from_qasm(deep).circuit.gates]
    assert angles == [1, 2.0**1023, -1, 100]
    # Powers of a single turn scale it, so that they may be any.
    assert from_qasm("qubit q; pow(10**9) @ rx(0.5) q;").circuit.gates[0].angle == (Term(5e8),)
    assert len(from_qasm("qubit q; for int k in [1:20000] { x q; }").circuit.gates) == 20_000


SYMBOLIC = "input float a;\ninput float b;\nqubit q;\nrx({}) q;\nry(a) q; rz(b) q;"


@pytest.mark.parametrize(
    ("angle", "message"),
    [
        ("a * b", "at most one parameter"),
        ("sin(a)", "`sin`"),
        ("1 / a", "the right side of `/` must be a constant, but depends on inputs"),
        ("a / 0", "the right side of `/` must not be 0, but is"),
        ("a % 2", "the left side of `%` must be a constant, but depends on inputs"),
        ("a ** 4", "the exponent of what depends on inputs must be 1, 2 or 3, but is 4"),
    ],
)
def test_angles_that_are_no_sums_are_refused(angle: str, message: str) -> None:
    with pytest.raises(DomainError, match=f"line 4: .*{message}"):
        from_qasm(SYMBOLIC.format(angle), parameters=["a", "b"])


def test_roles_of_inputs_are_checked() -> None:
    text = SYMBOLIC.format("a * b")
    for roles, message in (
        ({"parameters": ["a"]}, "must name all inputs, but lack b"),
        ({"parameters": ["a", "b"], "inputs": ["b"]}, "`b` has two"),
        ({"parameters": ["a", "c"]}, "`c` must name a declared input of the program, which has a, b"),
        ({"parameters": "ab"}, "Argument `parameters` must be a list of names, but is 'ab'"),
        ({"parameters": True}, "Argument `parameters` must be a list of names, but is True"),
        ({"parameters": ["a", 1]}, "Argument `parameters` must be a list of names, but is .'a', 1."),
        ({"parameters": ["a"], "inputs": 3}, "Argument `inputs` must be a list of names, but is 3"),
        ({"inputs": ["a", "b"], "first_layer": -2}, "`first_layer`"),
    ):
        with pytest.raises(DomainError, match=message):
            from_qasm(text, **roles)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="a do nothing"):
        from_qasm("input float a; qubit q; rx(a - a) q;", parameters=["a"])
    with pytest.raises(DomainError, match="`a` must be declared once"):
        from_qasm("input float a; input float a; qubit q; rx(a) q;", parameters=["a"])


def test_a_loop_over_values_and_steps() -> None:
    text = "qubit[4] q;\nfor int k in [3:-2:0] { x q[k]; }\nfor float a in {0.1, pi} { rx(a) q[0]; }\ny q[0:2:3];"
    gates = from_qasm(text).circuit.gates
    assert [gate.qubits for gate in gates] == [(3,), (1,), (0,), (0,), (0,), (2,)]
    assert [gate.angle for gate in gates if gate.angle] == [(Term(0.1),), (Term(np.pi),)]


def test_casts_to_integers_truncate_towards_zero() -> None:
    text = "qubit q; const int k = int(7 / 2); rx(k) q; rx(int(-2.7)) q; rx(uint[8](2.2)) q; rx(float[32](0.5)) q;"
    assert [gate.angle[0].coefficient for gate in from_qasm(text).circuit.gates] == [3, -2, 2, 0.5]
    with pytest.raises(DomainError, match="only a constant can be made an integer"):
        from_qasm("input float a; qubit q; rx(int(a)) q;", parameters=["a"])


def test_algebra_of_angles_agrees_with_numbers() -> None:
    """Polynomials of two inputs at a point are the numbers that Python computes."""
    a, b = 0.7, -1.9
    for text in ("(a + 2) * (b - a) / 4 - 3", "-(a - 1) ** 3 + a * a * b", "2 - (1 - a) * 2 * (b + b)"):
        program = f"input float a; input float b; qubit q; rx({text}) q;"
        (gate,) = from_qasm(program, inputs=["a", "b"]).circuit.gates
        value = sum(term.coefficient * np.prod([(a, b)[f] for f in term.features]) for term in gate.angle)
        assert value == pytest.approx(eval(text, {"a": a, "b": b}), abs=1e-12)


def test_names_are_in_the_order_that_the_caller_gives() -> None:
    text = "input float c;\ninput float[64] a;\nqubit q;\nrx(a) q; ry(c) q;"
    for order in itertools.permutations(["a", "c"]):
        imported = from_qasm(text, parameters=order)
        assert imported.parameter_names == order
        assert imported.circuit.gates[0].parameters == (order.index("a"),)


def random_gate(draw: Any, n_qubits: int) -> Gate:
    kind = draw(st.sampled_from(sorted({*ROTATIONS, *CLIFFORDS})))
    arity = len(ROTATIONS[kind]) if kind in ROTATIONS else CLIFFORDS[kind]
    qubits = tuple(draw(st.permutations(range(n_qubits)))[:arity])
    if kind in CLIFFORDS:
        return Gate(kind=kind, qubits=qubits, layer=0)
    names = st.tuples(st.sampled_from([-1, 0]), st.lists(st.integers(0, 1), max_size=2).map(lambda x: tuple(sorted(x))))
    sizes = st.floats(0.01, 10).flatmap(lambda size: st.sampled_from([size, -size]))
    monomials = sorted(draw(st.dictionaries(names, sizes, min_size=1, max_size=3)).items())
    return Gate(kind=kind, qubits=qubits, angle=tuple(Term(size, *name) for name, size in monomials), layer=0)


@st.composite
def random_circuits(draw: Any) -> Circuit:
    gates = [random_gate(draw, 3) for _ in range(draw(st.integers(1, 6)))]
    gates.append(Gate(kind="rx", qubits=(0,), angle=(Term(1.0, 0),), layer=0))
    return Circuit(n_qubits=3, gates=tuple(gates), n_parameters=1, n_features=2)


@settings(max_examples=40, deadline=None)
@given(random_circuits())
def test_any_circuit_of_one_layer_reads_back(circuit: Circuit) -> None:
    imported = from_qasm(to_qasm(circuit), parameters=["theta_*"], inputs=["x_*"])
    assert imported.circuit == circuit
    assert draw_circuit(circuit, width=10_000).count("\n") == 2
