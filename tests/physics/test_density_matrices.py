"""Closed forms against density matrices built from Kraus operators, gates, measurements and corrections.

Qubit 0 is the leftmost tensor factor. Nothing here uses the package except the functions under test.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas import physics

Matrix = NDArray[np.complex128]

PAULIS: list[Matrix] = [
    np.eye(2, dtype=complex),
    np.array([[0, 1], [1, 0]], dtype=complex),
    np.array([[0, -1j], [1j, 0]], dtype=complex),
    np.array([[1, 0], [0, -1]], dtype=complex),
]
IDENTITY, X, Y, Z = PAULIS
HADAMARD: Matrix = (X + Z) / np.sqrt(2)
PHI_PLUS: Matrix = np.array([1, 0, 0, 1], dtype=complex) / np.sqrt(2)
TOLERANCE = 1e-12
SEEDS = range(8)


def kron(*factors: Matrix) -> Matrix:
    product: Matrix = np.ones((1, 1), dtype=complex)
    for factor in factors:
        product = np.asarray(np.kron(product, factor), dtype=complex)
    return product


def on(operator: Matrix, qubit: int, n_qubits: int) -> Matrix:
    return kron(*(operator if q == qubit else IDENTITY for q in range(n_qubits)))


def controlled_x(control: int, target: int, n_qubits: int) -> Matrix:
    up, down = np.diag([1, 0]).astype(complex), np.diag([0, 1]).astype(complex)
    return on(up, control, n_qubits) + on(down, control, n_qubits) @ on(X, target, n_qubits)


def apply(operator: Matrix, rho: Matrix) -> Matrix:
    return operator @ rho @ operator.conj().T


def apply_kraus(kraus: Sequence[Matrix], rho: Matrix) -> Matrix:
    return sum((apply(operator, rho) for operator in kraus), np.zeros_like(rho))


def trace_out(rho: Matrix, qubits: Sequence[int]) -> Matrix:
    n = int(np.log2(len(rho)))
    kept = [q for q in range(n) if q not in qubits]
    order = [*kept, *qubits]
    tensor = rho.reshape([2] * (2 * n)).transpose([*order, *(n + q for q in order)])
    size, lost = 2 ** len(kept), 2 ** len(qubits)
    return np.asarray(np.einsum("iaja->ij", tensor.reshape(size, lost, size, lost)))


def bell_state(index: int) -> Matrix:
    return on(PAULIS[index], 1, 2) @ PHI_PLUS


def bell_mixture(weights: NDArray[np.float64]) -> Matrix:
    return sum(
        (w * np.outer(bell_state(i), bell_state(i).conj()) for i, w in enumerate(weights)),
        np.zeros((4, 4), dtype=complex),
    )


def bell_weights(rho: Matrix) -> NDArray[np.float64]:
    """Weights of a Bell-diagonal state; fails when it is not one."""
    weights = np.array([(bell_state(i).conj() @ rho @ bell_state(i)).real for i in range(4)])
    np.testing.assert_allclose(rho, bell_mixture(weights), atol=TOLERANCE)
    return weights


def random_weights(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.dirichlet(np.ones(4))


def random_state(rng: np.random.Generator, n_qubits: int) -> Matrix:
    amplitudes = rng.normal(size=(2**n_qubits, 2)) @ np.array([1, 1j])
    amplitudes /= np.linalg.norm(amplitudes)
    return np.outer(amplitudes, amplitudes.conj())


def measure_and_correct(rho: Matrix, measured: int, corrections: Matrix) -> Matrix:
    """Measure a qubit in Z, apply `corrections` when the outcome is 1, forget the outcome."""
    n = int(np.log2(len(rho)))
    zero, one = on(np.diag([1, 0]).astype(complex), measured, n), on(np.diag([0, 1]).astype(complex), measured, n)
    return apply(zero, rho) + apply(corrections @ one, rho)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_bell_weights_is_pauli_error_on_one_half(seed: int) -> None:
    werner = np.random.default_rng(seed).uniform(-1 / 3, 1)
    rho = werner * np.outer(PHI_PLUS, PHI_PLUS) + (1 - werner) * np.eye(4) / 4
    np.testing.assert_allclose(physics.werner_bell_diagonal(werner), bell_weights(rho), atol=TOLERANCE)
    np.testing.assert_allclose(physics.werner_to_fidelity(werner), (PHI_PLUS @ rho @ PHI_PLUS).real, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_swap_is_a_bell_measurement_on_the_middle_qubits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = random_weights(rng), random_weights(rng)
    rho = kron(bell_mixture(first), bell_mixture(second))
    rho = apply(on(HADAMARD, 1, 4) @ controlled_x(1, 2, 4), rho)
    rho = measure_and_correct(rho, 2, on(X, 3, 4))
    rho = measure_and_correct(rho, 1, on(Z, 3, 4))
    expected = bell_weights(trace_out(rho, [1, 2]))
    np.testing.assert_allclose(physics.swap_bell_diagonal(first, second), expected, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_teleported_qubit_suffers_the_pairs_pauli_weights(seed: int) -> None:
    """A reference qubit is entangled with the data qubit, so the whole channel is compared."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng)
    data = random_state(rng, 2)
    rho = kron(data, bell_mixture(weights))
    rho = apply(on(HADAMARD, 1, 4) @ controlled_x(1, 2, 4), rho)
    rho = measure_and_correct(rho, 2, on(X, 3, 4))
    rho = measure_and_correct(rho, 1, on(Z, 3, 4))
    delivered = trace_out(rho, [1, 2])
    channel = physics.teleported_qubit_channel(weights)
    expected = apply_kraus([np.sqrt(p) * on(PAULIS[i], 1, 2) for i, p in enumerate(channel)], data)
    np.testing.assert_allclose(delivered, expected, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_teleported_cnot_suffers_the_stated_paulis(seed: int) -> None:
    """Qubits: control, its half of the pair, the other half, target."""
    rng = np.random.default_rng(seed)
    weights = random_weights(rng)
    data = random_state(rng, 2)
    rho = kron(data, bell_mixture(weights))
    swap_order = np.eye(16).reshape([2] * 8).transpose(0, 2, 3, 1, 4, 5, 6, 7).reshape(16, 16).astype(complex)
    rho = apply(swap_order, rho)
    rho = apply(controlled_x(0, 1, 4), rho)
    rho = measure_and_correct(rho, 1, on(X, 2, 4))
    rho = apply(on(HADAMARD, 2, 4) @ controlled_x(2, 3, 4), rho)
    rho = measure_and_correct(rho, 2, on(Z, 0, 4))
    delivered = trace_out(rho, [1, 2])
    errors = [np.eye(4, dtype=complex), kron(IDENTITY, X), kron(Z, X), kron(Z, IDENTITY)]
    channel = physics.teleported_cnot_channel(weights)
    ideal = apply(controlled_x(0, 1, 2), data)
    expected = apply_kraus([np.sqrt(p) * error for p, error in zip(channel, errors, strict=True)], ideal)
    np.testing.assert_allclose(delivered, expected, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_depolarising_memories_match_kraus_operators_on_both_halves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, (elapsed, time_a, time_b) = random_weights(rng), rng.uniform(0.2, 2.0, 3)
    rho = bell_mixture(weights)
    for qubit, time in enumerate((time_a, time_b)):
        p = 3 * (1 - np.exp(-elapsed / time)) / 4
        kraus = [np.sqrt(1 - p) * np.eye(4), *(np.sqrt(p / 3) * on(pauli, qubit, 2) for pauli in (X, Y, Z))]
        rho = apply_kraus(kraus, rho)
    decayed = physics.depolarise_bell_diagonal(weights, elapsed, time_a, time_b)
    np.testing.assert_allclose(decayed, bell_weights(rho), atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_dephasing_memories_match_kraus_operators_on_both_halves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, (elapsed, time_a, time_b) = random_weights(rng), rng.uniform(0.2, 2.0, 3)
    rho = bell_mixture(weights)
    for qubit, time in enumerate((time_a, time_b)):
        p = (1 - np.exp(-elapsed / time)) / 2
        rho = apply_kraus([np.sqrt(1 - p) * np.eye(4), np.sqrt(p) * on(Z, qubit, 2)], rho)
    decayed = physics.dephase_bell_diagonal(weights, elapsed, time_a, time_b)
    np.testing.assert_allclose(decayed, bell_weights(rho), atol=TOLERANCE)


@pytest.mark.parametrize("werner", [-1 / 3, 0.0, 0.3, 0.9, 1.0])
def test_error_rate_and_joint_test_are_measurement_statistics(werner: float) -> None:
    rho = bell_mixture(physics.werner_bell_diagonal(werner))
    correlations = [np.trace(rho @ kron(pauli, pauli)).real for pauli in (X, Y, Z)]
    for agreeing in (correlations[0], correlations[2]):
        np.testing.assert_allclose(physics.quantum_bit_error_rate(werner), (1 - agreeing) / 2, atol=TOLERANCE)
    passed = ((1 + correlations[0]) / 2 + (1 - correlations[1]) / 2 + (1 + correlations[2]) / 2) / 3
    np.testing.assert_allclose(physics.joint_test_pass_probability(werner), passed, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_werner_parameter_of_equal_fidelity_is_that_of_the_twirled_state(seed: int) -> None:
    """Both ends apply one of twelve Cliffords that permute X, Y, Z: U on one half, its conjugate on the other."""
    weights = random_weights(np.random.default_rng(seed))
    cycle = (HADAMARD @ np.diag([1, -1j])).astype(complex)
    cliffords = [pauli @ np.linalg.matrix_power(cycle, k) for pauli in PAULIS for k in range(3)]
    twirled = apply_kraus([kron(u, u.conj()) / np.sqrt(12) for u in cliffords], bell_mixture(weights))
    werner = physics.bell_diagonal_to_werner(weights)
    np.testing.assert_allclose(bell_weights(twirled), physics.werner_bell_diagonal(werner), atol=TOLERANCE)
