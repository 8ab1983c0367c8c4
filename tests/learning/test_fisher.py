from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from ceas.learning import trajectories
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term, without_encoding
from ceas.learning.encoding import Encoded, encode_inputs, encode_states
from ceas.learning.engine import expectations, pauli_state
from ceas.learning.fisher import (
    classical_fisher_matrix,
    contraction_error,
    effective_contraction,
    has_signal,
    pure_quantum_fisher_diagonal,
    pure_quantum_fisher_diagonals,
    pure_quantum_fisher_matrix,
    quantum_fisher_diagonal,
    quantum_fisher_matrix,
    quantum_fisher_trace,
    sld_fisher_diagonal,
)
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit

Density = Callable[..., npt.NDArray[np.complex128]]
CIRCUIT = hardware_efficient(3, 2)
PARTITION = partition_circuit(CIRCUIT, "qubit")


def encode(angles: npt.ArrayLike, circuit: Circuit = CIRCUIT) -> Encoded:
    return encode_inputs(circuit, np.asarray(angles))


def uniform_noise(error: float, werner: float) -> NoiseTable:
    ideal = noiseless(PARTITION)
    errors = jnp.full_like(ideal.one_qubit_error, error)
    return NoiseTable(errors, errors, errors, jnp.full_like(ideal.pair_werner, werner))


def one_qubit(kind: Literal["ry", "rz"]) -> Circuit:
    """RY(x), then one trained rotation."""
    gates = (
        Gate(kind="ry", qubits=(0,), angle=(Term(features=(0,)),), layer=-1),
        Gate(kind=kind, qubits=(0,), angle=(Term(parameter=0),), layer=0),
    )
    return Circuit(n_qubits=1, gates=gates, n_parameters=1, n_features=1)


@pytest.mark.parametrize(("survival", "dimension", "factor"), [(0.9, 2, 0.81), (0.5, 4, 1 / 3), (0.2, 8, 0.1)])
def test_global_depolarising_scales_by_the_closed_form(survival: float, dimension: int, factor: float) -> None:
    """F = lambda^2 / (lambda + 2 (1 - lambda) / d) F_pure for rho = lambda |psi><psi| + (1 - lambda) I / d."""
    rng = np.random.default_rng(4)
    psi, change = (rng.normal(size=dimension) + 1j * rng.normal(size=dimension) for _ in range(2))
    psi /= np.linalg.norm(psi)
    change = change - psi * np.real(psi.conj() @ change)  # keeps the norm
    pure = 4 * (np.real(change.conj() @ change) - abs(psi.conj() @ change) ** 2)
    derivative = np.outer(change, psi.conj()) + np.outer(psi, change.conj())
    rho = survival * np.outer(psi, psi.conj()) + (1 - survival) * np.eye(dimension) / dimension
    with jax.enable_x64(True):
        found = sld_fisher_diagonal(jnp.asarray(rho), jnp.asarray(survival * derivative)[None])
    np.testing.assert_allclose(found, [factor * pure], rtol=1e-10)
    assert factor == pytest.approx(survival**2 / (survival + 2 * (1 - survival) / dimension))


def test_rounding_in_the_null_space_is_no_information() -> None:
    """Eigenvalues of 1e-10 and derivatives of 1e-5 among them are float32 rounding; their quotient would be 1."""
    rho = jnp.diag(jnp.array([1.0, 1e-10, 1e-10], dtype=jnp.complex64))
    derivative = jnp.zeros((1, 3, 3), dtype=jnp.complex64).at[0, 1, 2].set(1e-5).at[0, 2, 1].set(1e-5)
    np.testing.assert_array_equal(sld_fisher_diagonal(rho, derivative), [0.0])


def test_one_depolarised_rotation() -> None:
    """RY(t) on |0> has F = 1; depolarising with p shrinks the Bloch vector by 1 - 4p/3 and F by its square (d = 2)."""
    circuit = one_qubit("ry")
    partition = partition_circuit(circuit)
    noise = noiseless(partition, 2)._replace(one_qubit_error=jnp.array([[0.0], [0.12]]))
    found = quantum_fisher_diagonal(circuit, partition, jnp.array([0.4]), encode([[0.3], [1.0]], circuit), noise)
    np.testing.assert_allclose(found[:, :, 0], [[1.0, 1.0], [(1 - 0.16) ** 2] * 2], rtol=1e-5)


def test_rz_on_a_pole_carries_no_information() -> None:
    circuit = one_qubit("rz")
    angles = np.array([[0.0], [np.pi / 2], [0.5]])
    found = pure_quantum_fisher_diagonal(circuit, jnp.array([0.7]), encode(angles, circuit))
    np.testing.assert_allclose(found[:, 0], np.sin(angles[:, 0]) ** 2, atol=1e-6)


def test_pure_information_is_that_of_the_state_vector(oracle_density: Density) -> None:
    """For a pure state F_jj = 2 tr (d_j rho)^2, with the exact derivative by parameter shift of the dense state."""
    rng = np.random.default_rng(6)
    theta, angles = rng.normal(size=12), rng.uniform(-2, 2, (2, 3))
    ideal = noiseless(PARTITION)
    found = pure_quantum_fisher_diagonal(CIRCUIT, jnp.asarray(theta), encode(angles))
    for sample, parameter in np.ndindex(found.shape):
        shift = np.pi / 2 * np.eye(12)[parameter]
        plus, minus = (
            oracle_density(CIRCUIT, PARTITION, theta + sign * shift, angles[sample], ideal, learner=0)
            for sign in (1, -1)
        )
        derivative = (plus - minus) / 2
        expected = 2 * np.real(np.trace(derivative @ derivative))
        assert float(found[sample, parameter]) == pytest.approx(expected, abs=2e-6)


def test_pure_information_at_several_parameters_is_that_at_each() -> None:
    """To the last bit, of product states, of given states, and where rotations share a parameter."""
    rng = np.random.default_rng(5)
    states = rng.normal(size=(5, 8)) + 1j * rng.normal(size=(5, 8))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    given = encode_states(without_encoding(CIRCUIT), jnp.asarray(states))
    for circuit, samples in (
        (CIRCUIT, encode(rng.uniform(-2, 2, (37, 3)))),
        (without_encoding(CIRCUIT), given),
        (SHARED, encode(rng.uniform(-2, 2, (5, SHARED.n_features)), SHARED)),
    ):
        thetas = rng.normal(size=(4, circuit.n_parameters))
        found = pure_quantum_fisher_diagonals(circuit, thetas, samples)
        for theta, diagonal in zip(thetas, found, strict=True):
            np.testing.assert_array_equal(diagonal, pure_quantum_fisher_diagonal(circuit, theta, samples))


def test_mixed_information_of_ideal_learners_is_the_pure_one_even_in_float32() -> None:
    rng = np.random.default_rng(1)
    theta, features = jnp.asarray(rng.normal(size=12), dtype=float), encode(rng.uniform(-2, 2, (3, 3)))
    mixed = quantum_fisher_diagonal(CIRCUIT, PARTITION, theta, features, noiseless(PARTITION, 2))
    pure = pure_quantum_fisher_diagonal(CIRCUIT, theta, features)
    assert mixed.dtype == jnp.float32
    np.testing.assert_allclose(mixed, jnp.broadcast_to(pure, (2, 3, 12)), atol=2e-5)
    trace = quantum_fisher_trace(CIRCUIT, PARTITION, theta, features, noiseless(PARTITION, 2))
    np.testing.assert_allclose(trace, jnp.broadcast_to(pure.sum(axis=-1), (2, 3)), atol=2e-4)


def test_noise_lowers_the_information_of_usual_circuits() -> None:
    """All of it, at a few random angles; `test_fisher_monotone` has what is a law, and noise that adds information."""
    tables = [uniform_noise(error, werner) for error, werner in ((0.0, 1.0), (0.02, 0.9), (0.1, 0.6), (0.3, 0.2))]
    noise = jax.tree.map(lambda *rows: jnp.concatenate(rows), *tables)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        theta, features = jnp.asarray(rng.normal(size=12), dtype=float), encode(rng.uniform(-2, 2, (2, 3)))
        found = np.asarray(quantum_fisher_diagonal(CIRCUIT, PARTITION, theta, features, noise)).sum(axis=(1, 2))
        assert (np.diff(found) < -0.01).all()
        np.testing.assert_allclose(found[0], pure_quantum_fisher_diagonal(CIRCUIT, theta, features).sum(), rtol=1e-4)


SHARED = Circuit(
    n_qubits=2,
    gates=(
        Gate(kind="rx", qubits=(0,), angle=(Term(0.5, 0), Term(1.0, -1, (0,))), layer=0),
        Gate(kind="rzz", qubits=(0, 1), angle=(Term(1.0, 1, (0,)),), layer=0),
        Gate(kind="h", qubits=(1,), layer=0),
        Gate(kind="ryy", qubits=(0, 1), angle=(Term(-1.5, 0),), layer=0),
        Gate(kind="ry", qubits=(1,), angle=(Term(2.0, 1),), layer=1),
    ),
    n_parameters=2,
    n_features=1,
)


def shared_noise(partition: Partition) -> NoiseTable:
    """Depolarising, relaxation and uneven readout."""
    table = noiseless(partition)
    return table._replace(
        one_qubit_error=table.one_qubit_error + 0.03,
        two_qubit_error=table.two_qubit_error + 0.05,
        readout_error=jnp.broadcast_to(jnp.array([0.02, 0.1]), (1, partition.n_qpus, 2)),
        relaxation=jnp.broadcast_to(jnp.array([0.9, 0.85, 0.7]), (1, partition.n_qpus, 2, 3)),
    )


def test_matrices_by_shared_parameters_are_those_of_density_matrices(oracle_density: Density) -> None:
    """Derivatives of the dense state by difference quotients; logarithmic derivatives by a linear system."""
    partition = partition_circuit(SHARED)
    theta, inputs = np.array([0.4, -0.7]), np.array([[0.9]])
    with jax.enable_x64(True):
        noise = shared_noise(partition)
        encoded = encode(inputs, SHARED)
        arguments = (SHARED, partition, jnp.asarray(theta), encoded, noise)
        mixed, classical = quantum_fisher_matrix(*arguments)[0, 0], classical_fisher_matrix(*arguments)[0, 0]
        diagonal = quantum_fisher_diagonal(*arguments)[0, 0]
        pure = pure_quantum_fisher_matrix(SHARED, jnp.asarray(theta), encoded)[0]

    def matrices(table: NoiseTable) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
        def rho(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
            return oracle_density(SHARED, partition, parameters, inputs[0], table, learner=0)

        return rho(theta), np.array([(rho(theta + d) - rho(theta - d)) / 2e-5 for d in 1e-5 * np.eye(2)])

    rho, slopes = matrices(noise)
    anticommutator = np.kron(rho, np.eye(4)) + np.kron(np.eye(4), rho.T)
    logarithmic = [np.linalg.solve(anticommutator / 2, slope.ravel()).reshape(4, 4) for slope in slopes]
    expected = [[np.real(np.trace(slope @ log)) for log in logarithmic] for slope in slopes]
    np.testing.assert_allclose(mixed, expected, atol=1e-8)
    np.testing.assert_allclose(diagonal, np.diag(mixed), atol=1e-12)
    confusion = np.array([[0.98, 0.1], [0.02, 0.9]])
    read = np.kron(confusion, confusion)
    law, change = read @ np.diag(rho).real, np.array([read @ np.diag(slope).real for slope in slopes])
    np.testing.assert_allclose(classical, change / law @ change.T, atol=1e-8)
    _, ideal = matrices(noiseless(partition))
    np.testing.assert_allclose(pure, 2 * np.einsum("iab,jba->ij", ideal, ideal).real, atol=1e-8)
    for larger, smaller in ((mixed, classical), (pure, mixed)):
        assert np.linalg.eigvalsh(np.asarray(larger) - np.asarray(smaller)).min() > -1e-9


def test_reading_one_qubit_along_its_motion_tells_everything() -> None:
    """RY(t) has F = 1 without noise; flips r scale the mean cos(t) to m and give (1 - 2r)^2 sin^2(t) / (1 - m^2)."""
    circuit = one_qubit("ry")
    partition = partition_circuit(circuit)
    noise = noiseless(partition, 2)._replace(readout_error=jnp.array([[0.0], [0.1]]))
    found = classical_fisher_matrix(circuit, partition, jnp.array([0.4]), encode([[0.3]], circuit), noise)
    mean = 0.8 * np.cos(0.7)
    np.testing.assert_allclose(found[:, 0, 0, 0], [1.0, 0.64 * np.sin(0.7) ** 2 / (1 - mean**2)], rtol=1e-5)


def test_readout_does_not_change_the_state() -> None:
    theta, features = jnp.linspace(-1, 1, 12), encode(np.array([[0.1, 0.2, 0.3]]))
    noise = uniform_noise(0.05, 0.8)
    flipped = noise._replace(readout_error=jnp.full_like(noise.readout_error, 0.4))
    found = [quantum_fisher_diagonal(CIRCUIT, PARTITION, theta, features, table) for table in (noise, flipped)]
    np.testing.assert_array_equal(found[0], found[1])


def test_contraction_is_one_without_noise_and_the_scale_of_scaled_values() -> None:
    rng = np.random.default_rng(0)
    ideal = jnp.asarray(rng.normal(size=(1, 5, 2)))
    noisy = jnp.concatenate([ideal, 0.4 * ideal, 0.0 * ideal])
    np.testing.assert_allclose(effective_contraction(noisy, ideal), [1.0, 0.4, 0.0], rtol=1e-6)


def test_what_noise_adds_to_all_values_is_no_signal() -> None:
    rng = np.random.default_rng(0)
    ideal = jnp.asarray(rng.normal(size=(1, 5, 2)))
    noisy = 0.4 * ideal + jnp.array([0.3, -0.2])
    np.testing.assert_allclose(effective_contraction(noisy, ideal, has_offset=True), [0.4], rtol=1e-5)


@pytest.mark.parametrize("has_offset", [False, True])
@pytest.mark.parametrize("size", [0.0, 1e-7])
def test_without_signal_nothing_is_told_apart_from_its_loss(has_offset: bool, size: float) -> None:
    """Rounding around 0, or around a constant where noise may add one."""
    rng = np.random.default_rng(0)
    ideal = jnp.asarray(0.7 * has_offset + size * rng.normal(size=(1, 5, 2)))
    noisy = jnp.asarray(rng.normal(size=(3, 5, 2)))
    np.testing.assert_array_equal(effective_contraction(noisy, ideal, has_offset=has_offset), np.ones(3))
    np.testing.assert_array_equal(contraction_error(0.1 * noisy**2, ideal, has_offset=has_offset), np.zeros(3))
    assert not has_signal(ideal, has_offset=has_offset).any()
    assert has_signal(ideal + rng.normal(size=(1, 5, 2)), has_offset=has_offset).all()


def test_relaxation_to_zero_leaves_less_signal() -> None:
    """One qubit under RX and decay to |0>: <Z> is 1 - p + p cos(x + t), whose signal is p."""
    circuit = Circuit(
        n_qubits=1,
        gates=(Gate(kind="rx", qubits=(0,), angle=(Term(parameter=0), Term(features=(0,))), layer=0),),
        n_parameters=1,
        n_features=1,
    )
    partition = partition_circuit(circuit)
    table = noiseless(partition, 2)
    survival = jnp.stack([jnp.ones((1, 2, 3)), jnp.broadcast_to(jnp.array([0.4**0.5, 0.4, 1.0]), (1, 2, 3))])
    noise = table._replace(relaxation=survival)
    encoded = encode_inputs(circuit, np.linspace(-1.0, 1.0, 7)[:, None])
    values = expectations(circuit, partition, jnp.array([0.3]), encoded, noise, observables=(0,))
    np.testing.assert_allclose(effective_contraction(values, values[:1], has_offset=True), [1.0, 0.4], rtol=1e-5)
    assert effective_contraction(values, values[:1])[1] > 0.7


def test_contraction_of_learners_falls_with_their_noise() -> None:
    """Readout flips r scale every value by 1 - 2r; completely depolarised learners have contraction 0."""
    theta, features = jnp.linspace(-1, 1, 12), encode(np.linspace(-1, 1, 18).reshape(6, 3))
    table = noiseless(PARTITION, 4)
    noise = table._replace(
        readout_error=table.readout_error.at[1].set(0.1),
        two_qubit_error=table.two_qubit_error.at[2].set(0.02).at[3].set(0.75),
    )
    ideal = expectations(CIRCUIT, PARTITION, theta, features, noiseless(PARTITION), observables=(0, 1, 2))
    noisy = expectations(CIRCUIT, PARTITION, theta, features, noise, observables=(0, 1, 2))
    contraction = effective_contraction(noisy, ideal)
    np.testing.assert_allclose(contraction[jnp.array([0, 1, 3])], [1.0, 0.8, 0.0], atol=1e-6)
    assert 0.5 < float(contraction[2]) < 0.97


@pytest.mark.parametrize("circuit", [SHARED, hardware_efficient(3, 2)])
def test_pure_states_give_the_information_of_pauli_vectors(circuit: Circuit) -> None:
    """F_ij = 2^(1 - n) times the sum over all strings of their derivatives, for learners with samples of their own."""
    rng = np.random.default_rng(5)
    partition = partition_circuit(circuit)
    theta = jnp.asarray(rng.normal(size=circuit.n_parameters))
    encoded = encode(rng.uniform(-2, 2, (2, 3, circuit.n_features)), circuit)
    slopes = jax.jacfwd(lambda t: pauli_state(circuit, partition, t, encoded, noiseless(partition)))(theta)
    expected = 2.0 ** (1 - circuit.n_qubits) * jnp.einsum("lsai,lsaj->lsij", slopes, slopes)
    found = pure_quantum_fisher_matrix(circuit, theta, encoded._replace(features=None))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    diagonal = pure_quantum_fisher_diagonal(circuit, theta, encoded._replace(features=None))
    np.testing.assert_allclose(diagonal, np.diagonal(found, axis1=-2, axis2=-1), atol=1e-5)


def test_information_of_given_states_is_that_of_the_inputs_that_make_them() -> None:
    """RY(x) on each qubit, or the product states that it makes."""
    rng = np.random.default_rng(8)
    theta, angles = rng.normal(size=12), rng.uniform(-2, 2, (3, 3))
    pairs = np.stack([np.cos(angles / 2), np.sin(angles / 2)], axis=-1)
    states = np.einsum("sa,sb,sc->sabc", *np.moveaxis(pairs, 1, 0)).reshape(3, 8)
    bare = without_encoding(CIRCUIT)
    given = encode_states(bare, states, needs_features=False)
    assert given.features is None
    for find in (pure_quantum_fisher_matrix, pure_quantum_fisher_diagonal):
        np.testing.assert_allclose(find(bare, theta, given), find(CIRCUIT, theta, encode(angles)), atol=2e-6)


def test_sampled_contractions_are_as_far_from_the_exact_ones_as_their_errors_say() -> None:
    """Five standard errors at once for 6 learners: false alarm below 1e-5, with a fixed seed."""
    rng = np.random.default_rng(2)
    theta, encoded = rng.normal(size=12), encode(rng.uniform(-2, 2, (16, 3)))
    noise = uniform_noise(0.02, 0.9)
    noise = jax.tree.map(lambda column: jnp.concatenate([column] * 6), noise)
    exact = expectations(CIRCUIT, PARTITION, jnp.asarray(theta), encoded, noise, observables=(0, 1))
    ideal = expectations(CIRCUIT, PARTITION, jnp.asarray(theta), encoded, noiseless(PARTITION), observables=(0, 1))
    values, errors = trajectories.expectations(
        CIRCUIT,
        PARTITION,
        theta,
        encoded._replace(features=None),
        noise,
        observables=(0, 1),
        n_trajectories=100,
        seed=3,
    )
    assert errors is not None
    spread = contraction_error(errors, ideal)
    far = np.asarray(effective_contraction(jnp.asarray(values), ideal) - effective_contraction(exact, ideal))
    assert (np.abs(far) < 5 * spread).all()
    # Errors of the two observables are added as if they were fully correlated, so these are a little large.
    assert 0.1 < np.sqrt((far**2).mean()) / spread.mean() < 1.6
    assert 0 < spread.max() < 0.05
