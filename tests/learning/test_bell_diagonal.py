"""Circuits whose CNOTs are teleported through Bell-diagonal pairs, against density matrices and PennyLane.

Statistical tests use fixed seeds; each states its number of shots and a false-alarm rate of at most 1e-6.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pennylane as qml
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import Entangler, hardware_efficient
from ceas.learning.circuits import Circuit
from ceas.learning.encoding import encode_inputs
from ceas.learning.engine import expectations, loss_and_gradient, parameter_shift_jacobian, pauli_state
from ceas.learning.fisher import effective_contraction, quantum_fisher_diagonal
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.pair_weights import correlator_weights
from ceas.learning.partition import Partition, Telegate, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes
from ceas.physics import bell_diagonal_to_correlators, correlators_to_bell_diagonal, teleported_cnot_channel

Density = Callable[..., npt.NDArray[np.complex128]]
Expectation = Callable[[npt.NDArray[np.complex128], int, float], float]


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def build(n_qubits: int, n_layers: int, entangler: Entangler = "ring") -> tuple[Circuit, Partition]:
    circuit = hardware_efficient(n_qubits, n_layers, entangler)
    return circuit, partition_circuit(circuit, "qubit")


def random_noise(partition: Partition, n_learners: int, rng: np.random.Generator) -> NoiseTable:
    """Draw noise with pairs from all over the simplex of states: some correlators are negative."""
    shape = (n_learners, partition.n_qpus)
    weights = rng.dirichlet([2.0, 0.7, 0.7, 0.7], (n_learners, partition.pairs_per_shot))
    return NoiseTable(
        jnp.asarray(rng.uniform(0, 0.1, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.15, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.2, shape), dtype=float),
        jnp.asarray(bell_diagonal_to_correlators(weights), dtype=float),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n_qubits", "n_layers", "entangler"), [(4, 2, "chain"), (3, 3, "ring"), (2, 2, "ring")])
def test_exact_values_and_states_are_those_of_density_matrices(
    n_qubits: int, n_layers: int, entangler: Entangler, oracle_density: Density, oracle_expectation: Expectation
) -> None:
    circuit, partition = build(n_qubits, n_layers, entangler)
    rng = np.random.default_rng(1)
    noise = random_noise(partition, 3, rng)
    assert float(noise.pair_werner.min()) < 0.0
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, n_qubits)
    encoded = encode_inputs(circuit, angles[None])
    observables = tuple(range(n_qubits))
    found = expectations(circuit, partition, jnp.asarray(theta), encoded, noise, observables=observables)
    states = pauli_state(circuit, partition, jnp.asarray(theta), encoded, noise)
    for learner in range(3):
        rho = oracle_density(circuit, partition, theta, angles, noise, learner=learner)
        flips = np.asarray(noise.readout_error[learner])
        expected = [oracle_expectation(rho, q, flips[partition.readout_qpus[q]]) for q in observables]
        np.testing.assert_allclose(found[learner, 0], expected, atol=1e-12)
        # Forwards without readout: <Z_q> is the string with Z on qubit q.
        z_strings = [3 * 4 ** (n_qubits - 1 - qubit) for qubit in observables]
        expected = [oracle_expectation(rho, qubit, 0.0) for qubit in observables]
        np.testing.assert_allclose(states[learner, 0, np.array(z_strings)], expected, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_exact_values_are_those_of_pennylane() -> None:
    circuit, partition = build(4, 2)
    rng = np.random.default_rng(2)
    noise = random_noise(partition, 1, rng)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, 4)
    one, two, readout, pairs = (np.asarray(array[0], dtype=float) for array in noise[:4])
    pair_of = {use.gates[0]: pair for pair, use in enumerate(partition.uses) if isinstance(use, Telegate)}
    x, z, identity = np.array([[0, 1], [1, 0]]), np.diag([1, -1]), np.eye(2)
    errors = [np.kron(identity, identity), np.kron(identity, x), np.kron(z, x), np.kron(z, identity)]

    @qml.qnode(qml.device("default.mixed", wires=4))  # type: ignore[untyped-decorator]
    def run() -> Any:
        for index, gate in enumerate(circuit.gates):
            qpus = partition.gate_qpus[index]
            if gate.is_rotation:
                angle = theta[gate.parameters[0]] if gate.parameters else angles[gate.features[0]]
                {"ry": qml.RY, "rz": qml.RZ}[gate.kind](angle, wires=gate.qubits[0])
                if gate.kind == "rz":
                    qml.DepolarizingChannel(one[qpus[0]], wires=gate.qubits[0])
                continue
            qml.CNOT(wires=gate.qubits)
            if index in pair_of:
                # II, X on the target, ZX, Z on the control, as the physics of the teleported gate has it.
                weights = teleported_cnot_channel(correlators_to_bell_diagonal(pairs[pair_of[index]]))
                qml.QubitChannel(
                    [np.sqrt(weight) * error.astype(complex) for weight, error in zip(weights, errors, strict=True)],
                    wires=gate.qubits,
                )
            for qubit, qpu in zip(gate.qubits, qpus, strict=True):
                qml.DepolarizingChannel(two[qpu], wires=qubit)
        for qubit, qpu in enumerate(partition.readout_qpus):
            qml.BitFlip(readout[qpu], wires=qubit)
        return [qml.expval(qml.PauliZ(qubit)) for qubit in range(4)]

    found = expectations(
        circuit, partition, jnp.asarray(theta), encode_inputs(circuit, angles[None]), noise, observables=(0, 1, 2, 3)
    )
    np.testing.assert_allclose(found[0, 0], np.array(run(), dtype=float), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_gradients_and_quantum_fisher_information_follow_the_correlators() -> None:
    circuit, partition = build(3, 2)
    rng = np.random.default_rng(3)
    noise = random_noise(partition, 2, rng)
    theta = jnp.asarray(rng.normal(size=circuit.n_parameters))
    encoded = encode_inputs(circuit, rng.uniform(-1.5, 1.5, (4, 3)))
    weights = jnp.asarray(rng.normal(size=(2, 4, 3)))

    def loss(values: jax.Array, target: jax.Array) -> jax.Array:
        return (values * target).sum()

    _, gradient = loss_and_gradient(
        circuit, partition, theta, encoded, noise, targets=weights, observables=(0, 1, 2), loss=loss
    )
    jacobian = parameter_shift_jacobian(circuit, partition, theta, encoded, noise, observables=(0, 1, 2))
    np.testing.assert_allclose(gradient, np.einsum("lsk,lskp->lp", weights, jacobian), atol=1e-12)
    isotropic = noise._replace(pair_werner=jnp.full((2, partition.pairs_per_shot, 3), 0.8))
    werner = noise._replace(pair_werner=jnp.full((2, partition.pairs_per_shot), 0.8))
    both = [quantum_fisher_diagonal(circuit, partition, theta, encoded, table) for table in (isotropic, werner)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-11)


def test_each_correlator_scales_the_strings_that_its_errors_flip() -> None:
    """A pair with Z errors alone leaves c_z at 1: a CNOT's control keeps <Z>, and its coherence is scaled."""
    circuit = hardware_efficient(2, 1, "chain")
    partition = partition_circuit(circuit, "qubit")
    assert partition.pairs_per_shot == 1
    ideal = noiseless(partition)
    theta = jnp.zeros(circuit.n_parameters)
    encoded = encode_inputs(circuit, jnp.asarray([[0.7, 0.0]]))
    pure = pauli_state(circuit, partition, theta, encoded, ideal)[0, 0]
    x, y, z = 0.5, 0.4, 0.9
    noisy = ideal._replace(pair_werner=jnp.asarray([[[x, y, z]]]))
    scaled = pauli_state(circuit, partition, theta, encoded, noisy)[0, 0]
    # Qubit 0 is the control of the only CNOT; digits I, X, Y, Z of (control, target).
    for control in range(4):
        for target in range(4):
            strikes = (control in {1, 2}, target in {2, 3})
            factor = {(False, False): 1.0, (True, False): x, (True, True): y, (False, True): z}[strikes]
            at = 4 * control + target
            assert float(scaled[at]) == pytest.approx(factor * float(pure[at]), abs=1e-6)


def shots_of(n_shots: int, pairs: npt.NDArray[Any]) -> Shots:
    zeros = np.zeros(n_shots, dtype=np.int32)
    each = np.broadcast_to(pairs.astype(np.float32), (n_shots, *pairs.shape)).copy()
    return Shots(zeros, np.arange(n_shots, dtype=np.uint32), zeros, zeros - 1, zeros + 1, each)


@pytest.mark.parametrize(
    "weights", [(0.7, 0.3, 0.0, 0.0), (0.7, 0.0, 0.3, 0.0), (0.6, 0.05, 0.1, 0.25), (0.3, 0, 0, 0.7)]
)
def test_the_joint_law_of_all_qubits_is_that_of_the_density_matrix(
    weights: tuple[float, ...], oracle_density: Density
) -> None:
    """Chi-square over all bitstrings, 2e5 shots, false alarm 2e-7 each (4 cases below 1e-6 together)."""
    circuit, partition = build(3, 2)
    rng = np.random.default_rng(7)
    pairs = np.tile(bell_diagonal_to_correlators(np.array(weights)), (partition.pairs_per_shot, 1))
    noise = random_noise(partition, 1, rng)._replace(pair_werner=jnp.asarray(pairs[None]))
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, 3)
    turned = rotation_angles(circuit, theta, angles[None])
    bits = sample_outcomes(circuit, partition, turned, noise, shots=shots_of(200_000, pairs), seed=11)
    rho = oracle_density(circuit, partition, theta, angles, noise, learner=0)
    law = np.real(np.diag(rho)).reshape((2,) * 3)
    for qubit, flip in enumerate(np.asarray(noise.readout_error[0], dtype=float)[list(partition.readout_qpus)]):
        law = (1 - flip) * law + flip * np.flip(law, axis=qubit)
    expected = bits.size * law.transpose(2, 1, 0).reshape(-1)
    counts = np.bincount(bits, minlength=8)
    assert expected.min() > 10
    assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 2e-7


def test_isotropic_correlators_are_werner_parameters() -> None:
    """Both draw from the same words; limits of float32 probabilities may differ in their last bit: 1 shot of 1e5."""
    circuit, partition = build(4, 2)
    rng = np.random.default_rng(9)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (1, 4))
    werner = rng.uniform(0.4, 1.0, (20_000, partition.pairs_per_shot)).astype(np.float32)
    shots = shots_of(20_000, np.ones(partition.pairs_per_shot))._replace(pair_werner=werner)
    uneven = shots._replace(pair_werner=np.repeat(werner[..., None], 3, axis=2))
    noise = noiseless(partition)
    one, other = (
        sample_outcomes(circuit, partition, rotation_angles(circuit, theta, angles), noise, shots=given, seed=3)
        for given in (shots, uneven)
    )
    assert (one != other).mean() < 1e-3
    tables = [noise._replace(pair_werner=jnp.full(shape, 0.7)) for shape in ((1, 4), (1, 4, 3))]
    assert partition.pairs_per_shot == 4
    values = [
        expectations(circuit, partition, jnp.asarray(theta), encode_inputs(circuit, angles), table, observables=(0, 3))
        for table in tables
    ]
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)


def test_pairs_of_wrong_shape_or_size_are_refused() -> None:
    circuit, partition = build(4, 1)
    pairs = partition.pairs_per_shot
    errors = {name: np.zeros(2) for name in ("one_qubit_error", "two_qubit_error", "readout_error")}
    for wrong in (np.ones((2, pairs, 2)), np.ones((2, pairs + 1, 3)), np.full((2, pairs, 3), -1.01)):
        with pytest.raises(DomainError, match="pair_werner"):
            node_noise(partition, **errors, lender=np.array([1, 0]), pair_werner=wrong)
    table = node_noise(partition, **errors, lender=np.array([1, 0]), pair_werner=np.full((2, pairs, 3), -0.2))
    assert table.pair_werner.shape == (2, pairs, 3)
    theta, encoded = jnp.zeros(circuit.n_parameters), encode_inputs(circuit, jnp.zeros((1, 4)))
    broken = table._replace(pair_werner=jnp.ones((2, pairs, 2)))
    with pytest.raises(DomainError, match="noise"):
        expectations(circuit, partition, theta, encoded, broken, observables=(0,))
    shots = shots_of(5, np.ones((pairs, 2)))
    with pytest.raises(DomainError, match="pair_werner"):
        sample_outcomes(circuit, partition, np.zeros((1, len(circuit.rotations))), table, shots=shots, seed=1)


def test_weights_are_shares_of_what_each_correlator_alone_would_cost() -> None:
    """Against contractions of other draws: 60 of 4 x 16 values each; shares agree to a few hundredths."""
    circuit, partition = build(4, 3, "chain")
    weights = correlator_weights(circuit, partition, observables=(0, 1, 2, 3), rng=np.random.default_rng(1))
    assert sum(weights) == pytest.approx(1.0)
    rng = np.random.default_rng(2)
    states = np.concatenate([1 - 0.05 * np.eye(3), np.ones((1, 3))])
    pairs = jnp.asarray(np.repeat(states[:, None, :], partition.pairs_per_shot, axis=1))
    noise = noiseless(partition, 4)._replace(pair_werner=pairs)
    encoded = encode_inputs(circuit, rng.uniform(-np.pi / 2, np.pi / 2, (16, 4)))
    lost = np.zeros(3)
    for _ in range(60):
        theta = jnp.asarray(rng.uniform(-np.pi, np.pi, circuit.n_parameters))
        values = expectations(circuit, partition, theta, encoded, noise, observables=(0, 1, 2, 3))
        lost += 1 - np.asarray(effective_contraction(values[:3], values[3:]))
    np.testing.assert_allclose(weights, lost / lost.sum(), atol=0.06)
    # Classes are read in Z, and a chain carries what Z picks up on the targets back to the controls.
    assert weights[2] == max(weights)


def test_a_pair_behind_the_measured_qubits_alone_matters_by_c_z() -> None:
    """One CNOT before the measurement: Z of its control meets no error of the pair, Z of its target only c_z."""
    circuit, partition = build(2, 1, "chain")
    weights = correlator_weights(circuit, partition, observables=(0, 1), rng=np.random.default_rng(1))
    np.testing.assert_allclose(weights, (0.0, 0.0, 1.0), atol=1e-4)
    with pytest.raises(DomainError, match="observables"):
        correlator_weights(circuit, partition, observables=(0,), rng=np.random.default_rng(1))
    with pytest.raises(DomainError, match="partition"):
        correlator_weights(circuit, partition_circuit(circuit, "data"), observables=(0,), rng=np.random.default_rng(1))
