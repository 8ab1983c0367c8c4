"""Exact quantum Fisher information of noisy circuits, and how far noise contracts expectation values.

It bounds how well a parameter can be estimated from the output state, per copy: Cov >= F^-1 / shots. It says how much
signal a learner's state still carries; it is not the precision of a measured gradient, which scales with the squared
contraction.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ceas.learning.circuits import Circuit
from ceas.learning.engine import pauli_state, require_fitting
from ceas.learning.evolution import bloch_axes, einsum, evolve_states
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.stages import compile_rotations

__all__ = [
    "density_matrix",
    "effective_contraction",
    "pure_quantum_fisher_diagonal",
    "quantum_fisher_diagonal",
    "quantum_fisher_trace",
    "sld_fisher_diagonal",
]

_PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def density_matrix(pauli_vector: jax.Array) -> jax.Array:
    """Return 2^-n sum_P s_P P from the expectation values s of all strings, shape (..., 4^n) to (..., 2^n, 2^n)."""
    *batch, n_strings = pauli_vector.shape
    n_qubits = (n_strings.bit_length() - 1) // 2
    pauli = jnp.asarray(_PAULI, dtype=jnp.result_type(pauli_vector.dtype, jnp.complex64)) / 2
    tensor = pauli_vector.reshape(-1, *(4,) * n_qubits)
    for _ in range(n_qubits):
        tensor = jnp.tensordot(tensor, pauli, axes=([1], [0]), precision=jax.lax.Precision.HIGHEST)
    rows, columns = range(1, 2 * n_qubits, 2), range(2, 2 * n_qubits + 1, 2)
    return tensor.transpose(0, *rows, *columns).reshape(*batch, 2**n_qubits, 2**n_qubits)


@jax.jit
def sld_fisher_diagonal(density: jax.Array, derivatives: jax.Array) -> jax.Array:
    """Return the diagonal of the quantum Fisher information of density matrices (symmetric logarithmic derivative).

    F_jj = sum over p_k + p_l > 0 of 2 |<k| d_j rho |l>|^2 / (p_k + p_l), with rho = sum p_k |k><k|.

    Args:
        density: Density matrices, shape (..., d, d).
        derivatives: Their derivatives by P parameters, shape (..., P, d, d).

    Returns:
        Shape (..., P). Pairs of eigenvalues whose sum is below 32 machine epsilons count as zero: rounding alone gives
        the null space such values, and a rotation moves at most that much weight inside it.

    Source:
        Liu, Yuan, Lu and Wang, J. Phys. A 53, 023001, 2020, eq. (26).
    """
    eigenvalues, vectors = jnp.linalg.eigh(density)
    sums = eigenvalues[..., :, None] + eigenvalues[..., None, :]
    is_support = sums > 32 * np.finfo(eigenvalues.dtype).eps
    weights = jnp.where(is_support, 2 / jnp.where(is_support, sums, 1), 0)
    rotated = einsum("...ak,...jab,...bl->...jkl", vectors.conj(), derivatives, vectors)
    return jnp.sum(weights[..., None, :, :] * jnp.abs(rotated) ** 2, axis=(-2, -1))


@partial(jax.jit, static_argnums=(0, 1))
def quantum_fisher_diagonal(
    circuit: Circuit, partition: Partition, theta: jax.Array, features: jax.Array, noise: NoiseTable
) -> jax.Array:
    """Return the quantum Fisher information of each parameter in each learner's noisy output state, before readout.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        features: From `encode_features`, shape (S, 3^n) or (L, S, 3^n).
        noise: Noise of L learners.

    Returns:
        Diagonal of the matrix, shape (L, S, P).

    Raises:
        DomainError: A shape does not fit the circuit.
    """
    theta = require_fitting(circuit, partition, theta, noise, ())
    samples = jnp.broadcast_to(features, (len(noise.one_qubit_error), *features.shape[-2:]))

    def one_sample(feature: jax.Array) -> jax.Array:
        def state(parameters: jax.Array) -> jax.Array:
            vector: jax.Array = pauli_state(circuit, partition, parameters, feature[:, None], noise)
            return vector[:, 0]

        derivatives = jnp.moveaxis(jax.jacfwd(state)(theta), -1, 1)
        diagonal: jax.Array = sld_fisher_diagonal(density_matrix(state(theta)), density_matrix(derivatives))
        return diagonal

    # One sample at a time bounds the memory: the derivatives are L x P x 4^n complex numbers.
    diagonals = jax.lax.map(one_sample, jnp.moveaxis(samples, 1, 0))
    return jnp.moveaxis(diagonals, 0, 1)


def quantum_fisher_trace(
    circuit: Circuit, partition: Partition, theta: jax.Array, features: jax.Array, noise: NoiseTable
) -> jax.Array:
    """Return the trace of the quantum Fisher information, shape (L, S); arguments as for `quantum_fisher_diagonal`."""
    diagonal: jax.Array = quantum_fisher_diagonal(circuit, partition, theta, features, noise)
    return diagonal.sum(axis=-1)


@partial(jax.jit, static_argnums=(0,))
def pure_quantum_fisher_diagonal(circuit: Circuit, theta: jax.Array, features: jax.Array) -> jax.Array:
    """Return the quantum Fisher information of each parameter in the noiseless output states, shape (S, P).

    For a rotation exp(-i t a.sigma / 2) of one qubit, F_jj is the variance of a.sigma in the state at that place:
    1 - <a.sigma>^2, at most 1. Arguments: parameters (P,) and features (S, 3^n).
    """
    partition = partition_circuit(circuit)
    ideal = noiseless(partition)
    theta = require_fitting(circuit, partition, theta, ideal, ())
    n_qubits = circuit.n_qubits
    powers = 4 ** np.arange(n_qubits - 1, -1, -1, dtype=np.int32)
    single = np.multiply.outer(powers, np.array([1, 2, 3], dtype=np.int32))
    states = evolve_states(circuit, partition, theta, features, ideal)[:-1]
    bloch = jnp.stack([state[0][:, single] for state in states])
    axes = bloch_axes(circuit, partition, theta, all_after=True)
    means = einsum("ztqa,zqja->tzqj", bloch, axes)
    return (1 - means.reshape(len(means), -1) ** 2)[:, compile_rotations(circuit, partition).position]


@jax.jit
def effective_contraction(noisy: jax.Array, ideal: jax.Array) -> jax.Array:
    """Return the factor by which noise scales a learner's expectation values, in the least-squares sense.

    sum(noisy * ideal) / sum(ideal^2) over samples and observables, shape (L, S, K) to (L,): 1 without noise and 0 when
    all signal is lost. Both arrays may have one learner for all.
    """
    return jnp.sum(noisy * ideal, axis=(-2, -1)) / jnp.sum(ideal**2, axis=(-2, -1))
