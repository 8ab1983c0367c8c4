"""How Fisher information changes with noise: what theorems forbid, and what they do not."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.encoding import encode_inputs
from ceas.learning.fisher import classical_fisher_matrix, quantum_fisher_diagonal, quantum_fisher_matrix
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit

N_QUBITS = 2


def followed_by_noise() -> tuple[Circuit, Partition]:
    """Return trained layers on one processor, then gates without parameters on another, whose errors come last."""
    trained = hardware_efficient(N_QUBITS, 2, "chain")
    last = tuple(Gate(kind="sx", qubits=(qubit,), layer=2) for qubit in range(N_QUBITS))
    circuit = Circuit(
        n_qubits=N_QUBITS,
        gates=(*trained.gates, *last),
        n_parameters=trained.n_parameters,
        n_features=trained.n_features,
    )
    place = (*((0,) * len(gate.qubits) for gate in trained.gates), *((1,) * len(gate.qubits) for gate in last))
    return circuit, Partition(kind="qubit", n_qpus=2, gate_qpus=place, readout_qpus=(1, 1), uses=())


CIRCUIT, PARTITION = followed_by_noise()


def growing_noise(rng: np.random.Generator) -> NoiseTable:
    """Return the same noise of the trained layers, and behind them four channels that each contain the one before.

    Depolarising by s and relaxation by p towards e scale z by s p and add (1 - p) e. If s becomes s t and p p q,
    what lacks is relaxation by t towards (1 - p) e, then by q towards e; and so on for x and y.
    """
    strength = np.array([0.0, 0.3, 0.7, 1.0])[:, None]
    survival, coherence = 1 - rng.uniform(0, 0.5, 2) * strength, rng.uniform(0.6, 1.0, 2) ** strength
    population, equilibrium = coherence ** rng.uniform(1, 2), rng.uniform(-1, 1)
    own = np.broadcast_to([0.95, 0.9, 0.5], (4, 2, 3))
    behind = np.stack([coherence, population, np.broadcast_to(equilibrium, (4, 2))], axis=-1)
    errors = 0.75 * (1 - np.stack([np.full((4, 2), 0.97), survival], axis=-1))
    flips = np.stack([np.zeros(4), 0.4 * strength[:, 0]], axis=-1)
    return NoiseTable(
        jnp.asarray(errors[:, 0]),
        jnp.asarray(errors[:, 1]),
        jnp.asarray(np.stack([flips, 0.6 * flips], axis=-1)),
        jnp.ones((4, 0)),
        jnp.asarray(np.stack([own, behind], axis=1)),
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_noise_behind_the_parameters_never_adds_information(seed: int) -> None:
    """The information of a channel's output is at most that of its input, as a matrix; bits tell no more than states.

    Bits are read at once, so that what each channel lacks of the next only flips them, as do growing readout errors.
    """
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        theta = jnp.asarray(rng.uniform(-np.pi, np.pi, CIRCUIT.n_parameters))
        encoded = encode_inputs(CIRCUIT, rng.uniform(-2, 2, (2, N_QUBITS)))
        noise = growing_noise(rng)
        quantum = np.asarray(quantum_fisher_matrix(CIRCUIT, PARTITION, theta, encoded, noise))
        bits = np.asarray(classical_fisher_matrix(CIRCUIT, PARTITION, theta, encoded, noise))
    for larger, smaller in ((quantum[:-1], quantum[1:]), (quantum, bits), (bits[:-1], bits[1:])):
        assert np.linalg.eigvalsh(larger - smaller).min() > -1e-9
    assert np.trace(quantum[0, 0]) > 1.01 * np.trace(quantum[-1, 0])


def between_a_gate_and_its_inverse(error: float) -> npt.NDArray[np.float64]:
    """Return the information on RZ(t) of qubit 0 behind RXX(-a), errors, RXX(a), errors on |00>."""
    gates = (
        Gate(kind="rxx", qubits=(0, 1), angle=(Term(-0.8),), layer=0),
        Gate(kind="rxx", qubits=(0, 1), angle=(Term(0.8),), layer=1),
        Gate(kind="rz", qubits=(0,), angle=(Term(parameter=0),), layer=2),
    )
    circuit = Circuit(n_qubits=2, gates=gates, n_parameters=1, n_features=0)
    partition = partition_circuit(circuit)
    noise = noiseless(partition)._replace(two_qubit_error=jnp.array([[error]]))
    encoded = encode_inputs(circuit, np.zeros((1, 0)))
    return np.asarray(quantum_fisher_diagonal(circuit, partition, jnp.array([0.3]), encoded, noise))


def test_noise_between_gates_may_add_information() -> None:
    """Without errors the state is |00>, which RZ leaves alone; errors between RXX and its inverse move it away.

    So that information falls with noise is no law for noise in the midst, and nothing may rely on it.
    """
    assert between_a_gate_and_its_inverse(0.0).max() == pytest.approx(0.0, abs=1e-6)
    assert between_a_gate_and_its_inverse(0.1).min() > 1e-3
