import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from ceas.errors import DomainError
from ceas.learning import ansatz
from ceas.learning.angle_fit import fit_angles
from ceas.learning.circuits import Circuit, Term
from ceas.learning.import_pennylane import from_pennylane
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit


@pytest.fixture
def density(oracle_density: Callable[..., Any]) -> Callable[..., Any]:
    def run(circuit: Circuit, theta: Any, inputs: Any) -> Any:
        partition = partition_circuit(circuit)
        return oracle_density(circuit, partition, theta, inputs, noiseless(partition), learner=0)

    return run


def pennylane_density(function: Callable[..., Any], n_qubits: int, *arrays: Any) -> Any:
    tape = qml.tape.make_qscript(function)(*arrays)
    state = qml.matrix(tape, wire_order=range(n_qubits))[:, 0]
    return np.outer(state, state.conj())


def scramble(n_qubits: int) -> None:
    """Make a state on which two unitaries that differ by more than a phase differ."""
    rng = np.random.default_rng(11)
    for _ in range(2):
        for qubit in range(n_qubits):
            qml.Rot(*rng.uniform(-3, 3, 3), wires=qubit)
        for qubit in range(n_qubits - 1):
            qml.CNOT([qubit, qubit + 1])


OPERATIONS: list[Callable[[Any, Any], Any]] = [
    lambda w, _: qml.RX(w[0], wires=0),
    lambda _, x: qml.RY(x[0], wires=1),
    lambda w, x: qml.RZ(w[0] * x[0] + w[1], wires=2),
    lambda w, x: qml.Rot(w[0], x[0], 0.3, wires=1),
    lambda w, _: qml.PhaseShift(w[0], wires=0),
    lambda w, _: qml.U1(w[0], wires=0),
    lambda w, x: qml.U2(w[0], x[1], wires=0),
    lambda w, x: qml.U3(w[0], w[1] * x[0], x[1], wires=0),
    lambda *_: [gate(wires=[2, 0]) for gate in (qml.CNOT, qml.CZ, qml.CY, qml.CH, qml.SWAP, qml.ISWAP, qml.ECR)],
    lambda *_: [gate(1) for gate in (qml.H, qml.X, qml.Y, qml.Z, qml.S, qml.T, qml.SX)],
    lambda *_: [qml.adjoint(gate)(1) for gate in (qml.H, qml.S, qml.T, qml.SX)],
    lambda w, _: qml.adjoint(qml.RX)(w[0], wires=1),
    lambda w, _: qml.CRX(w[0], wires=[0, 1]),
    lambda w, x: qml.CRY(w[0] * x[1], wires=[2, 0]),
    lambda w, _: qml.CRZ(w[0], wires=[0, 1]),
    lambda w, x: qml.CRot(w[0], w[1], x[0], wires=[0, 1]),
    lambda w, _: qml.ControlledPhaseShift(w[0], wires=[0, 1]),
    lambda w, _: qml.IsingXX(w[0], wires=[0, 1]),
    lambda w, _: qml.IsingYY(w[0], wires=[2, 1]),
    lambda _, x: qml.IsingZZ(x[0] * x[1], wires=[0, 2]),
    lambda w, _: qml.IsingXY(w[0], wires=[0, 1]),
    lambda w, _: [qml.MultiRZ(w[0], wires=range(k)) for k in (1, 2, 3)],
    lambda w, _: qml.PauliRot(w[0], "XYZ", wires=[0, 1, 2]),
    lambda w, _: qml.PauliRot(w[0], "XY", wires=[0, 2]),
    lambda w, _: qml.ctrl(qml.RY, control=[0, 1])(w[0], wires=2),
    lambda w, _: qml.ctrl(qml.PhaseShift, control=[0, 1], control_values=[1, 0])(w[0], wires=2),
    lambda w, x: qml.ctrl(qml.Rot, control=[2, 1])(w[0], w[1], x[0], wires=0),
    lambda w, _: qml.ctrl(qml.U3, control=[2, 1])(w[0], w[1], 0.3, wires=0),
    lambda w, x: qml.ctrl(qml.IsingXX, control=1)(w[0] * x[0], wires=[2, 0]),
    lambda w, _: qml.ctrl(qml.IsingYY, control=1, control_values=0)(w[0], wires=[2, 0]),
    lambda w, _: qml.PSWAP(w[0], wires=[1, 2]),
    lambda *_: [qml.Toffoli([0, 1, 2]), qml.CSWAP([2, 0, 1])],
    lambda w, _: qml.pow(qml.RZ(w[0], wires=0), 3),
    lambda w, _: qml.SingleExcitation(w[0], wires=[0, 1]),
    lambda w, _: qml.evolve(qml.X(0) @ qml.Z(1), w[0]),
    lambda *_: qml.QubitUnitary(np.array([[1, 1j], [1j, 1]]) / np.sqrt(2), wires=0),
    lambda *_: qml.QFT(wires=range(3)),
    lambda _, x: qml.IQPEmbedding(x, wires=range(2), n_repeats=2),
    lambda w, x: qml.IsingZZ(w[0] * (np.pi - x[0]) * (np.pi - x[1]), wires=[0, 1]),
    lambda w, _: qml.StronglyEntanglingLayers(w[:9].reshape(1, 3, 3), wires=range(3)),
    lambda w, _: qml.BasicEntanglerLayers(w[:6].reshape(2, 3), wires=range(3)),
    lambda w, _: [qml.GlobalPhase(w[0], wires=0), qml.Identity(0), qml.Barrier([0, 1])],
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_are_what_pennylane_simulates(density: Callable[..., Any], operation: Callable[..., Any]) -> None:
    """Global phases aside; the parameters all have a use after the operation."""

    def function(w: Any, x: Any) -> None:
        scramble(3)
        operation(w, x)
        for k in range(9):
            qml.RX(w[k], wires=k % 3)

    imported = from_pennylane(function, parameters={"w": 9}, inputs={"x": (2,)})
    rng = np.random.default_rng(5)
    for _ in range(2):
        w, x = rng.uniform(-4, 4, 9), rng.uniform(-4, 4, 2)
        np.testing.assert_allclose(density(imported.circuit, w, x), pennylane_density(function, 3, w, x), atol=1e-9)


def test_templates_become_the_very_gates_of_the_ansatz() -> None:
    def function(weights: Any, x: Any) -> Any:
        qml.AngleEmbedding(x, wires=range(4), rotation="Y")
        for layer in weights:
            qml.Barrier()
            qml.StronglyEntanglingLayers(layer[None], wires=range(4), ranges=[1])
        return [qml.expval(qml.Z(3)), qml.expval(qml.Z(0))]

    imported = from_pennylane(function, parameters={"weights": (2, 4, 3)}, inputs={"x": 4}, first_layer=-1)
    assert imported.circuit == ansatz.strongly_entangling(4, 2, ranges=[1, 1])
    assert imported.observables == (3, 0)
    assert imported.parameter_names[:2] == ("weights[0, 0, 0]", "weights[0, 0, 1]")
    assert imported.input_names == ("x[0]", "x[1]", "x[2]", "x[3]")


def test_many_parameters_take_group_tests() -> None:
    """60 + 60 parameters and 6 inputs: the re-uploading circuit's angles are found exactly."""
    expected = ansatz.data_reuploading(2, 10, 6)

    def function(biases: Any, weights: Any, x: Any) -> None:
        for layer in range(10):
            for qubit in range(2):
                qml.Rot(*(biases[layer, qubit] + weights[layer, qubit] * x.reshape(2, 3)[qubit]), wires=qubit)
            if layer < 9 and layer % 2 == 0:
                qml.CZ([0, 1])

    shape = (10, 2, 3)
    imported = from_pennylane(function, parameters={"biases": shape, "weights": shape}, inputs={"x": 6})
    flat = tuple(dataclasses.replace(gate, layer=0) for gate in expected.gates)
    assert imported.circuit.gates == flat


def test_a_node_has_its_devices_wires_and_its_own_transforms(density: Callable[..., Any]) -> None:
    @qml.transforms.merge_rotations
    @qml.qnode(qml.device("default.qubit", wires=["b", "spare", "a"]))
    def node(w: Any, x: float, twice: bool = False) -> Any:
        qml.RX(w[0], wires="a")
        qml.RX(x, wires="a")
        if twice:
            qml.CRX(w[0], wires=["a", "b"])
        return qml.expval(qml.Z("a")), qml.expval(qml.Z("b"))

    imported = from_pennylane(node, parameters={"w": 1}, inputs={"x": ()}, constants={"twice": True})
    assert imported.qubit_names == ("b", "a")
    assert imported.observables == (1, 0)
    assert imported.input_names == ("x",)
    assert imported.circuit.gates[0].angle == (Term(1.0, -1, (0,)), Term(1.0, 0))
    rho = density(imported.circuit, [0.7], [0.4])
    z_b, z_a = (float(np.real(np.trace(rho @ z))) for z in (np.diag([1, 1, -1, -1]), np.diag([1, -1, 1, -1])))
    np.testing.assert_allclose([z_a, z_b], node(np.array([0.7]), 0.4, twice=True), atol=1e-12)


def test_angles_may_be_computed_with_jax_in_double_precision() -> None:
    def function(w: Any, x: Any) -> None:
        qml.RX(jnp.dot(w, jnp.array([0.1, 0.3])) + jnp.pi * x / 3, wires=0)

    imported = from_pennylane(function, parameters={"w": np.int64(2)}, inputs={"x": ()})  # type: ignore[dict-item]
    assert imported.circuit.gates[0].angle == (Term(np.pi / 3, -1, (0,)), Term(0.1, 0), Term(0.3, 1))


def test_a_tapes_trainable_numbers_are_its_parameters() -> None:
    operations = [qml.RX(0.3, wires=0), qml.RY(0.5, wires=1), qml.CRZ(0.7, wires=[0, 1])]
    tape = qml.tape.QuantumScript(operations, [qml.probs(wires=0)], trainable_params=[0, 2])
    imported = from_pennylane(tape)
    assert imported.parameter_names == ("theta_0", "theta_1")
    assert imported.observables is None
    assert next(gate.angle for gate in imported.circuit.gates if not gate.parameters) == (Term(0.5),)


def sine_of_input(w: Any, x: Any) -> None:
    qml.RX(np.sin(x[0]) + w[0], wires=0)


def product_of_parameters(w: Any, x: Any) -> None:
    qml.RY(w[0] * w[1], wires=1)


def mid_circuit(w: Any, x: Any) -> None:
    qml.RX(w[0] * w[1], wires=0)
    qml.cond(qml.measure(0), qml.X)(1)


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (sine_of_input, r"`RX` on wires \(0,\) has not"),
    (product_of_parameters, r"`RY` on wires \(1,\) has not"),
    (mid_circuit, "measure at the end only, but has `MidMeasureMP`"),
    (lambda *_: qml.AmplitudeDamping(0.1, wires=0), "no noise of its own, but has `AmplitudeDamping`"),
    (lambda _, x: qml.AmplitudeEmbedding(x, wires=0, normalize=True), r"start from \|0...0>.*`AmplitudeEmbedding`"),
    (lambda *_: qml.BasisState(np.array([1]), wires=0), r"start from \|0...0>.*`BasisState`"),
    (lambda w, _: [qml.RX(w[0], wires=0)], r"w\[1\] do nothing"),
    (lambda *_: qml.Displacement(0.1, 0.2, wires=0), "`Displacement`"),
]


def value_dependent(w: Any, x: Any) -> None:
    (qml.RX if x[0] > 0.9 else qml.RY)(w[0] * w[1], wires=0)


FAR_AWAY: list[Callable[..., Any]] = [
    lambda w, x: qml.RX(np.clip(x[0], -3, 3) + w[0], wires=0),
    lambda w, x: qml.RX(np.pi * np.round(x[0] / 4) + w[0], wires=0),
    lambda w, x: qml.RX(w[0] * (x[0] > -3), wires=0),
    lambda _, x: qml.RX(np.pi * (x[1] > 2), wires=0),
]


@pytest.mark.parametrize("function", FAR_AWAY)
def test_angles_that_change_their_law_far_away_are_refused(function: Callable[..., Any]) -> None:
    """Near the points of the fit each of them is a sum of terms."""

    def named(w: Any, x: Any) -> None:
        function(w, x)
        qml.RY(w[0], wires=0)

    with pytest.raises(DomainError, match=r"`RX` on wires \(0,\) has not"):
        from_pennylane(named, parameters={"w": 1}, inputs={"x": 2})


@pytest.mark.parametrize(("function", "message"), REFUSED)
def test_what_is_not_supported_is_named(function: Callable[..., Any], message: str) -> None:
    def named(w: Any, x: Any) -> None:
        function(w, x)

    with pytest.raises(DomainError, match=message):
        from_pennylane(named, parameters={"w": 2}, inputs={"x": 2})


def value_dependent_far_away(w: Any, x: Any) -> None:
    qml.RX(w[0] + w[1], wires=0)
    if x[0] < -2:
        qml.X(0)


@pytest.mark.parametrize("function", [value_dependent, value_dependent_far_away])
def test_gates_that_depend_on_values_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(DomainError, match="depend on values"):
        from_pennylane(function, parameters={"w": 2}, inputs={"x": 2})


def test_other_things_are_refused() -> None:
    with pytest.raises(DomainError, match="must be a QNode, a function or a tape"):
        from_pennylane(3)
    with pytest.raises(DomainError, match="must be absent for a tape"):
        from_pennylane(qml.tape.QuantumScript([qml.X(0)]), inputs={"x": 1})
    with pytest.raises(DomainError, match="`first_layer` must be at least -1"):
        from_pennylane(lambda: qml.X(0), first_layer=-2)


def test_a_dense_angle_among_many_variables_is_found() -> None:
    """An angle of 90 inputs and one of three parameters among 200 variables."""
    weights = np.linspace(-1, 1, 90)

    def angles(point: Any) -> Any:
        return np.array([weights @ point[110:] / 7 + np.pi / 3, point[[3, 50, 109]] @ [0.1, 0.2, 0.3], 0.25])

    dense, sparse, constant = fit_angles(angles, 110, 90)
    assert dense is not None
    np.testing.assert_allclose([t.coefficient for t in dense], [np.pi / 3, *weights / 7], atol=1e-11)
    assert sparse == [Term(0.1, 3), Term(0.2, 50), Term(0.3, 109)]
    assert constant == [Term(0.25)]
