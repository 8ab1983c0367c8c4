import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pennylane as qml
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning import ansatz
from ceas.learning.circuits import Circuit
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit

Density = Callable[[Circuit, npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.complex128]]


@pytest.fixture
def density(oracle_density: Callable[..., Any]) -> Density:
    def run(circuit: Circuit, theta: npt.NDArray[np.float64], inputs: npt.NDArray[np.float64]) -> Any:
        partition = partition_circuit(circuit)
        return oracle_density(circuit, partition, theta, inputs, noiseless(partition), learner=0)

    return run


def random_values(*sizes: int) -> list[npt.NDArray[np.float64]]:
    rng = np.random.default_rng(7)
    return [rng.uniform(-3, 3, size) for size in sizes]


def pennylane_density(n_qubits: int, apply: Callable[[], None]) -> npt.NDArray[np.complex128]:
    tape = qml.tape.make_qscript(apply)()
    state = qml.matrix(tape, wire_order=range(n_qubits))[:, 0]
    return np.outer(state, state.conj())


def brickwork(n_qubits: int, layer: int) -> None:
    for qubit in range(layer % 2, n_qubits - 1, 2):
        qml.CZ([qubit, qubit + 1])


PAIRS: dict[str, Callable[[int, int], list[tuple[int, int]]]] = {
    "ring": lambda n, _: [(q, (q + 1) % n) for q in range(n)],
    "chain": lambda n, _: [(q, q + 1) for q in [*range(0, n - 1, 2), *range(1, n - 1, 2)]],
    "brickwork": lambda n, layer: [(q, q + 1) for q in range(layer % 2, n - 1, 2)],
    "all_to_all": lambda n, _: list(itertools.combinations(range(n), 2)),
}


@pytest.mark.parametrize("gate", ["cnot", "cz"])
@pytest.mark.parametrize("entangler", PAIRS)
def test_hardware_efficient_is_what_pennylane_simulates(density: Density, entangler: Any, gate: Any) -> None:
    n, n_layers = 4, 3
    theta, x = random_values(2 * n * n_layers, n)

    def apply() -> None:
        qml.AngleEmbedding(x, wires=range(n), rotation="Y")
        for layer, weights in enumerate(theta.reshape(n_layers, n, 2)):
            for qubit in range(n):
                qml.RY(weights[qubit, 0], wires=qubit)
                qml.RZ(weights[qubit, 1], wires=qubit)
            for pair in PAIRS[entangler](n, layer):
                (qml.CNOT if gate == "cnot" else qml.CZ)(pair)

    circuit = ansatz.hardware_efficient(n, n_layers, entangler, gate=gate)
    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


@pytest.mark.parametrize(("n", "n_layers", "ranges"), [(4, 4, None), (3, 2, [2, 1]), (2, 2, None), (1, 2, None)])
def test_strongly_entangling_is_the_template(density: Density, n: int, n_layers: int, ranges: Any) -> None:
    theta, x = random_values(3 * n * n_layers, n)

    def apply() -> None:
        qml.AngleEmbedding(x, wires=range(n), rotation="Y")
        qml.StronglyEntanglingLayers(theta.reshape(n_layers, n, 3), wires=range(n), ranges=ranges)

    circuit = ansatz.strongly_entangling(n, n_layers, ranges=ranges)
    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


@pytest.mark.parametrize("n_features", [5, 6, 7])
def test_benchmark_reuploading_is_the_benchmarks_circuit(density: Density, n_features: int) -> None:
    """The benchmark's circuit pads inputs and weights with zeros."""
    n_layers, n = 3, -(-n_features // 3)
    circuit = ansatz.benchmark_reuploading(n_features, n_layers)
    assert circuit.n_qubits == n
    theta, x = random_values(circuit.n_parameters, n_features)
    biases = theta[: (n_layers + 1) * 3 * n].reshape(n_layers + 1, n, 3)
    padding = ((0, 0), (0, 3 * n - n_features))
    weights = np.pad(theta[biases.size :].reshape(n_layers + 1, n_features), padding)
    uploads = (weights * np.pad(x, padding[1])).reshape(n_layers + 1, n, 3)

    def apply() -> None:
        for layer in range(n_layers):
            for qubit in range(n):
                qml.Rot(*uploads[layer, qubit], wires=qubit)
                qml.Rot(*biases[layer, qubit], wires=qubit)
            brickwork(n, layer)
        for qubit in range(n):
            qml.Rot(*(uploads[-1, qubit] + biases[-1, qubit]), wires=qubit)

    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


DEALT = {
    (2, 6): [[0], [1]],
    (2, 5): [[0], [1]],
    (3, 2): [[0], [0], [0]],
    (3, 4): [[0], [1], [0]],
    (2, 14): [[0, 2, 4], [1, 3]],
}


@pytest.mark.parametrize(("n", "n_features"), DEALT)
def test_data_reuploading_deals_groups_of_three_inputs(density: Density, n: int, n_features: int) -> None:
    n_layers, dealt = 2, DEALT[n, n_features]
    circuit = ansatz.data_reuploading(n, n_layers, n_features)
    theta, x = random_values(circuit.n_parameters, n_features)
    n_rotations = sum(map(len, dealt))
    biases = iter(theta[: 3 * n_rotations * n_layers].reshape(-1, 3))
    weights = iter(theta[3 * n_rotations * n_layers :])

    def apply() -> None:
        for layer in range(n_layers):
            for qubit, groups in enumerate(dealt):
                for group in groups:
                    angles = next(biases).copy()
                    for place, feature in enumerate(range(3 * group, min(3 * group + 3, n_features))):
                        angles[place] += next(weights) * x[feature]
                    qml.Rot(*angles, wires=qubit)
            if layer < n_layers - 1:
                brickwork(n, layer)

    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)
    assert next(weights, None) is None


def test_benchmark_separable_is_the_benchmarks_circuit(density: Density) -> None:
    n, n_layers = 3, 2
    circuit = ansatz.benchmark_separable(n, n_layers)
    theta, x = random_values(circuit.n_parameters, n)
    weights = theta.reshape(n_layers + 1, n, 3)

    def apply() -> None:
        for qubit in range(n):
            for layer in range(n_layers):
                qml.Rot(*weights[layer, qubit], wires=qubit)
                qml.RY(x[qubit], wires=qubit)
            qml.Rot(*weights[-1, qubit], wires=qubit)

    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


@pytest.mark.parametrize("n_repeats", [1, 2])
def test_iqp_is_the_benchmarks_circuit(density: Density, n_repeats: int) -> None:
    n, n_layers = 3, 2
    circuit = ansatz.iqp(n, n_layers, n_repeats=n_repeats)
    theta, x = random_values(circuit.n_parameters, n)

    def apply() -> None:
        qml.IQPEmbedding(x, wires=range(n), n_repeats=n_repeats)
        qml.StronglyEntanglingLayers(theta.reshape(n_layers, n, 3), wires=range(n), imprimitive=qml.CZ)

    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


def test_iqp_takes_hardware_efficient_layers_after_its_own() -> None:
    circuit = ansatz.iqp(3, 2, n_repeats=2, block="hardware_efficient", entangler="chain", gate="cnot")
    plain = ansatz.hardware_efficient(3, 2, "chain")
    trained = [g for g in circuit.gates if g.layer >= 2]
    assert [(g.kind, g.qubits, g.angle, g.layer - 2) for g in trained] == [
        (g.kind, g.qubits, g.angle, g.layer) for g in plain.gates if g.layer >= 0
    ]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_dressed_core_is_the_benchmarks_circuit(density: Density, n: int) -> None:
    n_layers = 2
    circuit = ansatz.dressed_core(n, n_layers)
    theta, x = random_values(circuit.n_parameters, n)
    ring: Sequence[tuple[int, int]] = {1: [], 2: [(0, 1)], 3: [(0, 1), (1, 2), (2, 0)]}[n]

    def apply() -> None:
        for qubit in range(n):
            qml.Hadamard(qubit)
            qml.RY(x[qubit], wires=qubit)
        for weights in theta.reshape(n_layers, n):
            for qubit in range(n):
                qml.RY(weights[qubit], wires=qubit)
            for pair in ring:
                qml.CNOT(pair)

    np.testing.assert_allclose(density(circuit, theta, x), pennylane_density(n, apply), atol=1e-12)


def test_separable_is_hardware_efficient_without_entanglers() -> None:
    whole, parts = ansatz.hardware_efficient(3, 2), ansatz.separable(3, 2)
    assert parts.gates == tuple(gate for gate in whole.gates if len(gate.qubits) == 1)
    assert parts.n_parameters == whole.n_parameters


def test_angle_encodings_are_free_of_errors() -> None:
    for circuit in (ansatz.hardware_efficient(3, 1), ansatz.strongly_entangling(3, 1), ansatz.separable(3, 1)):
        assert [(g.kind, g.features, g.layer) for g in circuit.gates[:3]] == [("ry", (q,), -1) for q in range(3)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ansatz.strongly_entangling(3, 2, ranges=[1, 3]), "2 integers in [1, 2]"),
        (lambda: ansatz.strongly_entangling(3, 2, ranges=[1]), "2 integers in [1, 2]"),
        (lambda: ansatz.data_reuploading(2, 1, 0), "`n_features`"),
        (lambda: ansatz.benchmark_reuploading(3, 0), "`n_layers`"),
        (lambda: ansatz.iqp(3, 1, n_repeats=0), "`n_repeats`"),
        (lambda: ansatz.dressed_core(0, 1), "`n_qubits`"),
    ],
)
def test_sizes_outside_their_ranges_are_refused(build: Callable[[], Circuit], message: str) -> None:
    with pytest.raises(DomainError, match=re.escape(message)):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: ansatz.hardware_efficient(3, 1, "rings"),  # type: ignore[arg-type]
        lambda: ansatz.hardware_efficient(3, 1, gate="cx"),  # type: ignore[arg-type]
        lambda: ansatz.iqp(3, 1, block="hardware"),  # type: ignore[arg-type]
    ],
)
def test_unknown_names_are_refused(build: Callable[[], Circuit]) -> None:
    with pytest.raises(UnknownNameError):
        build()
