import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit, Gate, hardware_efficient
from ceas.learning.engine import (
    enable_compilation_cache,
    encode_features,
    expectations,
    heisenberg_coefficients,
    loss_and_gradient,
    parameter_shift_jacobian,
    pauli_state,
)
from ceas.learning.fisher import density_matrix
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit

Density = Callable[..., npt.NDArray[np.complex128]]
Expectation = Callable[[npt.NDArray[np.complex128], int, float], float]


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def random_noise(partition: Partition, n_learners: int, rng: np.random.Generator) -> NoiseTable:
    shape = (n_learners, len(partition.owner))
    return NoiseTable(
        jnp.asarray(rng.uniform(0, 0.1, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.15, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.2, shape), dtype=float),
        jnp.asarray(rng.uniform(0.3, 1, (n_learners, partition.pairs_per_shot)), dtype=float),
    )


def teleported_cnot_kraus(werner: float) -> list[npt.NDArray[np.complex128]]:
    x, z, one = np.array([[0, 1], [1, 0]]), np.diag([1, -1]), np.eye(2)
    fidelity = (1 + 3 * werner) / 4
    paulis = [np.kron(one, one), np.kron(one, x), np.kron(z, one), np.kron(z, x)]
    weights = [fidelity] + [(1 - fidelity) / 3] * 3
    return [np.sqrt(weight) * pauli.astype(complex) for weight, pauli in zip(weights, paulis, strict=True)]


def pennylane_expectations(
    circuit: Circuit,
    partition: Partition,
    theta: npt.NDArray[np.float64],
    angles: npt.NDArray[np.float64],
    noise: NoiseTable,
) -> list[float]:
    one, two, readout, werner = (np.asarray(array[0], dtype=float) for array in noise)

    @qml.qnode(qml.device("default.mixed", wires=circuit.n_qubits))  # type: ignore[untyped-decorator]
    def run() -> list[qml.measurements.ExpectationMP]:
        for q, angle in enumerate(angles):
            qml.RY(angle, wires=q)
        for gate, pair in zip(circuit.gates, partition.pair_index, strict=True):
            if gate.kind == "ry":
                qml.RY(theta[gate.parameter], wires=gate.qubits[0])
            elif gate.kind == "rz":
                qml.RZ(theta[gate.parameter], wires=gate.qubits[0])
                qml.DepolarizingChannel(one[gate.qubits[0]], wires=gate.qubits[0])
            else:
                qml.CNOT(wires=gate.qubits)
                if pair >= 0:
                    qml.QubitChannel(teleported_cnot_kraus(werner[pair]), wires=gate.qubits)
                for q in gate.qubits:
                    qml.DepolarizingChannel(two[q], wires=q)
        for q in range(circuit.n_qubits):
            qml.BitFlip(readout[q], wires=q)
        return [qml.expval(qml.PauliZ(q)) for q in range(circuit.n_qubits)]

    return [float(value) for value in run()]


@pytest.mark.parametrize(("entangler", "kind"), list(itertools.product(["ring", "chain"], ["data", "qubit"])))
def test_expectations_are_pennylanes(entangler: str, kind: str) -> None:
    """Every kind of noise, four qubits, float32, against PennyLane's density-matrix simulator."""
    rng = np.random.default_rng(11)
    circuit = hardware_efficient(4, 2, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, kind)  # type: ignore[arg-type]
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-np.pi, np.pi, (1, 4))
    noise = random_noise(partition, 1, rng)
    ours = expectations(
        circuit, partition, jnp.asarray(theta), encode_features(angles), noise, observables=(0, 1, 2, 3)
    )
    assert ours.dtype == jnp.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PennyLane's own
        theirs = pennylane_expectations(circuit, partition, theta, angles[0], noise)
    np.testing.assert_allclose(ours[0, 0], theirs, atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("n_qubits", "entangler", "kind"),
    [(1, "ring", "data"), (3, "ring", "qubit"), (4, "chain", "qubit"), (5, "ring", "data")],
)
def test_expectations_and_states_are_the_dense_ones(
    n_qubits: int,
    *,
    entangler: str,
    kind: str,
    oracle_density: Density,
    oracle_expectation: Expectation,
    oracle_pauli_expectations: Callable[[npt.NDArray[np.complex128]], npt.NDArray[np.float64]],
) -> None:
    rng = np.random.default_rng(5)
    circuit = hardware_efficient(n_qubits, 2, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, kind)  # type: ignore[arg-type]
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-np.pi, np.pi, (2, 2, n_qubits))
    noise, features = random_noise(partition, 2, rng), encode_features(angles)
    observables = tuple(range(n_qubits))
    values = expectations(circuit, partition, jnp.asarray(theta), features, noise, observables=observables)
    states = pauli_state(circuit, partition, jnp.asarray(theta), features, noise)
    assert values.dtype == jnp.float64
    for learner, sample in itertools.product(range(2), range(2)):
        rho = oracle_density(circuit, partition, theta, angles[learner, sample], noise, learner=learner)
        flips = noise.readout_error[learner]
        expected = [oracle_expectation(rho, q, float(flips[q])) for q in observables]
        np.testing.assert_allclose(values[learner, sample], expected, atol=1e-10)
        np.testing.assert_allclose(density_matrix(states[learner, sample]), rho, atol=1e-10)
        np.testing.assert_allclose(states[learner, sample], oracle_pauli_expectations(rho), atol=1e-10)


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Any order of gates: leading CNOTs, rotations between CNOTs of a layer, several layers without CNOTs."""
    n_qubits = draw(st.integers(1, 3))
    kinds = st.sampled_from(["ry", "rz", "cnot"] if n_qubits > 1 else ["ry", "rz"])
    gates: list[Gate] = []
    n_parameters = layer = 0
    for kind in draw(st.lists(kinds, min_size=0, max_size=8)):
        layer += draw(st.integers(0, 1))
        qubits = draw(st.permutations(range(n_qubits)))
        if kind == "cnot":
            gates.append(Gate(kind="cnot", qubits=tuple(qubits[:2]), layer=layer))
        else:
            gates.append(Gate(kind=kind, qubits=(qubits[0],), parameter=n_parameters, layer=layer))  # type: ignore[arg-type]
            n_parameters += 1
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters)


def sum_of_squares(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.sum((values - targets) ** 2)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(circuit=circuits(), seed=st.integers(0, 1000))
def test_any_circuit_is_the_dense_one_and_its_gradient_the_shift_rule(
    circuit: Circuit, seed: int, oracle_density: Density, oracle_expectation: Expectation
) -> None:
    rng = np.random.default_rng(seed)
    n = circuit.n_qubits
    partition = partition_circuit(circuit, "qubit" if n > 1 else "data")
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-3, 3, (1, n))
    # The compiled program would be used once: evaluating operation by operation is faster.
    with jax.enable_x64(True), jax.disable_jit():
        noise, targets = random_noise(partition, 1, rng), jnp.ones((1, 1, n))
        loss, gradient = loss_and_gradient(
            circuit,
            partition,
            jnp.asarray(theta),
            encode_features(angles),
            noise,
            targets=targets,
            observables=tuple(range(n)),
            loss=sum_of_squares,
        )

    def dense(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rho = oracle_density(circuit, partition, parameters, angles[0], noise, learner=0)
        return np.array([oracle_expectation(rho, q, float(noise.readout_error[0, q])) for q in range(n)])

    values, shifts = dense(theta), np.pi / 2 * np.eye(circuit.n_parameters)
    slopes = [(dense(theta + shift) - dense(theta - shift)) / 2 @ (2 * (values - 1)) for shift in shifts]
    np.testing.assert_allclose(loss[0], np.sum((values - 1) ** 2), atol=1e-10)
    np.testing.assert_allclose(gradient[0], slopes, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n_qubits", "n_layers"), [(4, 3), (3, 1)])
def test_adjoint_gradient_is_that_of_jax_and_of_the_shift_rule(n_qubits: int, n_layers: int) -> None:
    rng = np.random.default_rng(3)
    circuit = hardware_efficient(n_qubits, n_layers)
    partition = partition_circuit(circuit, "qubit")
    noise = random_noise(partition, 3, rng)
    features = encode_features(rng.uniform(-2, 2, (3, 4, n_qubits)))
    theta, targets = jnp.asarray(rng.normal(size=circuit.n_parameters)), jnp.asarray(rng.normal(size=(3, 4, 2)))

    def losses(parameters: jax.Array) -> jax.Array:
        values = expectations(circuit, partition, parameters, features, noise, observables=(0, 2))
        return jax.vmap(sum_of_squares)(values, targets)

    found, gradient = loss_and_gradient(
        circuit, partition, theta, features, noise, targets=targets, observables=(0, 2), loss=sum_of_squares
    )
    values = expectations(circuit, partition, theta, features, noise, observables=(0, 2))
    jacobian = parameter_shift_jacobian(circuit, partition, theta, features, noise, observables=(0, 2))
    np.testing.assert_allclose(found, losses(theta), atol=1e-10)
    np.testing.assert_allclose(gradient, jax.jacrev(losses)(theta), atol=1e-10)
    np.testing.assert_allclose(gradient, jnp.einsum("lsk,lskp->lp", 2 * (values - targets), jacobian), atol=1e-10)


def test_float32_gradient_is_close_to_float64() -> None:
    rng = np.random.default_rng(8)
    circuit = hardware_efficient(4, 3, "chain")
    partition = partition_circuit(circuit, "qubit")
    theta, angles, targets = rng.normal(size=24), rng.uniform(-2, 2, (50, 4)), rng.normal(size=(1, 50, 4))

    def gradient() -> npt.NDArray[np.float64]:
        _, found = loss_and_gradient(
            circuit,
            partition,
            jnp.asarray(theta),
            encode_features(angles),
            random_noise(partition, 1, np.random.default_rng(0)),
            targets=jnp.asarray(targets),
            observables=(0, 1, 2, 3),
            loss=mean_square,
        )
        return np.asarray(found, dtype=np.float64)

    single = gradient()
    with jax.enable_x64(True):
        double = gradient()
    np.testing.assert_allclose(single, double, atol=2e-6)


def mean_square(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean((values - targets) ** 2)


def test_one_ideal_learner_serves_the_samples_of_all() -> None:
    """Shared noise, shared samples and batches of parameters are the same numbers as spelt out."""
    rng = np.random.default_rng(2)
    circuit = hardware_efficient(3, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    thetas = jnp.asarray(rng.normal(size=(2, 12)), dtype=float)
    features = encode_features(rng.uniform(-2, 2, (4, 5, 3)))
    targets = jnp.zeros((4, 5, 1))
    one, four = noiseless(partition), noiseless(partition, 4)
    batch = expectations(circuit, partition, thetas, features, one, observables=(1,))
    single = [expectations(circuit, partition, theta, features, four, observables=(1,)) for theta in thetas]
    assert batch.shape == (2, 4, 5, 1)
    np.testing.assert_allclose(batch, jnp.stack(single), atol=1e-6)
    gradients = [
        loss_and_gradient(
            circuit, partition, thetas[0], features, noise, targets=targets, observables=(1,), loss=mean_square
        )[1]
        for noise in (one, four)
    ]
    assert gradients[0].shape == (4, 12)
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-6)
    shared = expectations(circuit, partition, thetas[0], features[2], four, observables=(1,))
    np.testing.assert_allclose(shared, jnp.broadcast_to(single[0][2], shared.shape), atol=1e-6)


@pytest.mark.parametrize("broken", ["one_qubit_error", "two_qubit_error", "readout_error", "pair_werner"])
def test_complete_noise_of_any_kind_leaves_no_signal(broken: str) -> None:
    """Two qubits, ring: Z_0 passes the remote CNOT 1 -> 0, so that each kind of noise can erase it alone."""
    circuit = hardware_efficient(2, 1, "ring")
    partition = partition_circuit(circuit, "qubit")
    ideal = noiseless(partition)
    worst = {"one_qubit_error": 0.75, "two_qubit_error": 0.75, "readout_error": 0.5, "pair_werner": 0.0}[broken]
    noise = ideal._replace(**{broken: jnp.full_like(getattr(ideal, broken), worst)})
    features = encode_features(np.array([[0.3, 0.4], [1.0, -0.5]]))
    theta = jnp.array([0.2, 0.1, -0.4, 0.3])
    clean = expectations(circuit, partition, theta, features, ideal, observables=(0,))
    noisy = expectations(circuit, partition, theta, features, noise, observables=(0,))
    assert float(jnp.abs(clean).max()) > 0.1
    np.testing.assert_allclose(noisy, jnp.zeros_like(noisy), atol=1e-7)


def test_layer_without_angles_returns_the_encoded_cosines() -> None:
    circuit = hardware_efficient(3, 1, "chain")
    partition = partition_circuit(circuit)
    angles = np.array([[0.3, 1.1, -0.7]])
    values = expectations(
        circuit, partition, jnp.zeros(6), encode_features(angles), noiseless(partition), observables=(0, 1, 2)
    )
    cosines = np.cumprod(np.cos(angles[0]))  # CNOTs make Z_q the product of all Z up to q
    np.testing.assert_allclose(values[0, 0], cosines, atol=1e-6)


def test_features_are_products_of_one_sine_and_cosine() -> None:
    a, b = 0.3, -1.2
    first, second = [1, np.sin(a), np.cos(a)], [1, np.sin(b), np.cos(b)]
    np.testing.assert_allclose(encode_features(np.array([a, b])), np.outer(first, second).ravel(), rtol=1e-6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    circuit = hardware_efficient(2, 1)
    partition = partition_circuit(circuit, "qubit")
    theta, noise = jnp.zeros(4), noiseless(partition)
    wrong = noise._replace(pair_werner=jnp.ones((1, 1)))
    with pytest.raises(DomainError, match="`theta`"):
        heisenberg_coefficients(circuit, partition, jnp.zeros(5), noise, observables=(0,))
    with pytest.raises(DomainError, match="`noise`"):
        heisenberg_coefficients(circuit, partition, theta, wrong, observables=(0,))
    with pytest.raises(DomainError, match="`observables`"):
        heisenberg_coefficients(circuit, partition, theta, noise, observables=(2,))
    with pytest.raises(DomainError, match="`partition`"):
        heisenberg_coefficients(hardware_efficient(2, 2), partition, jnp.zeros(8), noise, observables=(0,))


def test_compilation_cache_holds_programs(tmp_path: Path) -> None:
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        )
    }
    try:
        enable_compilation_cache(tmp_path)
        jax.jit(lambda x: jnp.sin(x) * 3.25)(jnp.arange(7.0)).block_until_ready()
        assert any(tmp_path.iterdir())
    finally:
        for name, value in before.items():
            jax.config.update(name, value)  # type: ignore[no-untyped-call]
