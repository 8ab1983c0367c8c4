"""Exact Fisher information of noisy circuits, and how far noise contracts expectation values.

The quantum Fisher information bounds how well parameters can be estimated from the output state, per copy:
Cov >= F^-1 / shots. It says how much signal a learner's state still carries; it is not the precision of a measured
gradient, which scales with the squared contraction. The classical one is that of the bits that are read.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.encoding import Encoded
from ceas.learning.engine import pauli_state, require_fitting
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.paulis import PAULIS
from ceas.learning.pure_runs import angle_slopes
from ceas.learning.trajectories import generator_covariances, generator_means
from ceas.learning.turns import einsum

__all__ = [
    "bit_probabilities",
    "classical_fisher_matrix",
    "contraction_error",
    "density_matrix",
    "effective_contraction",
    "has_signal",
    "pure_quantum_fisher_diagonal",
    "pure_quantum_fisher_diagonals",
    "pure_quantum_fisher_matrix",
    "quantum_fisher_diagonal",
    "quantum_fisher_matrix",
    "quantum_fisher_trace",
    "sld_fisher_diagonal",
    "sld_fisher_matrix",
]

FloatArray = npt.NDArray[np.float64]

# Root mean square of values from which single precision tells a ratio to a few percent.
_LEAST_SIGNAL = 1e-5


def density_matrix(pauli_vector: jax.Array) -> jax.Array:
    """Return 2^-n sum_P s_P P from the expectation values s of all strings, shape (..., 4^n) to (..., 2^n, 2^n)."""
    *batch, n_strings = pauli_vector.shape
    n_qubits = (n_strings.bit_length() - 1) // 2
    pauli = jnp.asarray(PAULIS, dtype=jnp.result_type(pauli_vector.dtype, jnp.complex64)) / 2
    tensor = pauli_vector.reshape(-1, *(4,) * n_qubits)
    for _ in range(n_qubits):
        tensor = jnp.tensordot(tensor, pauli, axes=([1], [0]), precision=jax.lax.Precision.HIGHEST)
    rows, columns = range(1, 2 * n_qubits, 2), range(2, 2 * n_qubits + 1, 2)
    return tensor.transpose(0, *rows, *columns).reshape(*batch, 2**n_qubits, 2**n_qubits)


@jax.jit
def sld_fisher_matrix(density: jax.Array, derivatives: jax.Array) -> jax.Array:
    """Return the quantum Fisher information of density matrices (symmetric logarithmic derivative).

    F_ij = sum over p_k + p_l > 0 of 2 Re(<k| d_i rho |l> <l| d_j rho |k>) / (p_k + p_l), with rho = sum p_k |k><k|.

    Args:
        density: Density matrices, shape (..., d, d).
        derivatives: Their derivatives by P parameters, shape (..., P, d, d).

    Returns:
        Shape (..., P, P). Pairs of eigenvalues whose sum is below 32 machine epsilons count as zero: rounding alone
        gives the null space such values, and a rotation moves at most that much weight inside it.

    Source:
        Liu, Yuan, Lu and Wang, J. Phys. A 53, 023001, 2020, eq. (26).
    """
    weighted = _weighted_derivatives(density, derivatives)
    flat = weighted.reshape(*weighted.shape[:-2], -1)
    return einsum("...ia,...ja->...ij", flat.real, flat.real) + einsum("...ia,...ja->...ij", flat.imag, flat.imag)


@jax.jit
def sld_fisher_diagonal(density: jax.Array, derivatives: jax.Array) -> jax.Array:
    """Return the diagonal of `sld_fisher_matrix`, shape (..., P), which takes the same arguments."""
    return jnp.sum(jnp.abs(_weighted_derivatives(density, derivatives)) ** 2, axis=(-2, -1))


def _weighted_derivatives(density: jax.Array, derivatives: jax.Array) -> jax.Array:
    """Return <k| d_j rho |l> sqrt(2 / (p_k + p_l)), shape (..., P, d, d)."""
    eigenvalues, vectors = jnp.linalg.eigh(density)
    sums = eigenvalues[..., :, None] + eigenvalues[..., None, :]
    is_support = sums > 32 * np.finfo(eigenvalues.dtype).eps
    weights = jnp.where(is_support, jnp.sqrt(2 / jnp.where(is_support, sums, 1)), 0)
    rotated = einsum("...ak,...jab,...bl->...jkl", vectors.conj(), derivatives, vectors)
    return weights[..., None, :, :] * rotated


@partial(jax.jit, static_argnums=(0, 1))
def quantum_fisher_matrix(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> jax.Array:
    """Return the quantum Fisher information matrix of each learner's noisy output state, before readout.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        encoded: Samples, shared by all learners or each learner's own.
        noise: Noise of L learners.

    Returns:
        Matrices by parameters (symmetric logarithmic derivatives), shape (L, S, P, P).

    Raises:
        DomainError: A shape does not fit the circuit.
    """

    def one_sample(vectors: jax.Array, tangents: jax.Array) -> jax.Array:
        matrix: jax.Array = sld_fisher_matrix(density_matrix(vectors), density_matrix(tangents))
        return matrix

    return _map_samples(one_sample, circuit, partition, theta, (encoded, noise))


@partial(jax.jit, static_argnums=(0, 1))
def quantum_fisher_diagonal(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> jax.Array:
    """Return the diagonal of `quantum_fisher_matrix`, shape (L, S, P), which takes the same arguments."""

    def one_sample(vectors: jax.Array, tangents: jax.Array) -> jax.Array:
        diagonal: jax.Array = sld_fisher_diagonal(density_matrix(vectors), density_matrix(tangents))
        return diagonal

    return _map_samples(one_sample, circuit, partition, theta, (encoded, noise))


def quantum_fisher_trace(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> jax.Array:
    """Return the trace of the quantum Fisher information, shape (L, S); arguments as for `quantum_fisher_matrix`."""
    diagonal: jax.Array = quantum_fisher_diagonal(circuit, partition, theta, encoded, noise)
    return diagonal.sum(axis=-1)


def pure_quantum_fisher_matrix(circuit: Circuit, theta: npt.ArrayLike, encoded: Encoded) -> FloatArray:
    """Return the quantum Fisher information matrix of the noiseless output states, shape (S, P, P).

    By the angles it is the covariance of the rotations' Pauli operators, carried to one time; the chain rule gives that
    by the parameters. It takes one run of a pure state per sample and trained rotation, 2^n amplitudes each. Arguments:
    parameters (P,) and samples, (L, S, P, P) where learners have own.

    Source:
        Liu, Yuan, Lu and Wang, J. Phys. A 53, 023001, 2020, section 2.3 (unitary processes).
    """
    inputs, batch = _sample_rows(circuit, encoded)
    rotation, parameter, slopes = angle_slopes(circuit, inputs)
    chosen, place = np.unique(rotation, return_inverse=True)
    found, first = [], 0
    for covariance in generator_covariances(circuit, theta, encoded, chosen):
        rows = slopes[first : first + len(covariance)]
        chain = np.zeros((len(covariance), chosen.size, circuit.n_parameters))
        chain[:, place, parameter] = rows
        found.append(np.swapaxes(chain, 1, 2) @ covariance @ chain)
        first += len(covariance)
    return np.concatenate(found).reshape(*batch, circuit.n_parameters, circuit.n_parameters)


def pure_quantum_fisher_diagonal(circuit: Circuit, theta: npt.ArrayLike, encoded: Encoded) -> FloatArray:
    """Return the diagonal of `pure_quantum_fisher_matrix`, shape (S, P), which takes the same arguments.

    Where no two rotations share a parameter it is 1 - <P>^2 of each rotation's Pauli operator, times the squared slope
    of its angle: one walk through the circuit and back gives all.
    """
    inputs, batch = _sample_rows(circuit, encoded)
    rotation, parameter, slopes = angle_slopes(circuit, inputs)
    if np.unique(parameter).size < parameter.size:
        return np.diagonal(pure_quantum_fisher_matrix(circuit, theta, encoded), axis1=-2, axis2=-1)
    means = generator_means(circuit, theta, encoded).reshape(len(inputs), -1)
    diagonal = np.zeros((len(inputs), circuit.n_parameters))
    diagonal[:, parameter] = slopes**2 * (1 - means[:, rotation] ** 2)
    return diagonal.reshape(*batch, circuit.n_parameters)


def pure_quantum_fisher_diagonals(circuit: Circuit, thetas: npt.ArrayLike, encoded: Encoded) -> FloatArray:
    """Return `pure_quantum_fisher_diagonal` at each of B parameters (B, P), for samples that all share, (B, S, P)."""
    inputs, batch = _sample_rows(circuit, encoded)
    rotation, parameter, slopes = angle_slopes(circuit, inputs)
    vectors = np.asarray(thetas)
    if np.unique(parameter).size < parameter.size or len(batch) > 1:
        return np.stack([pure_quantum_fisher_diagonal(circuit, theta, encoded) for theta in vectors])
    means = generator_means(circuit, vectors, encoded)
    diagonal = np.zeros((len(vectors), len(inputs), circuit.n_parameters))
    diagonal[..., parameter] = slopes**2 * (1 - means[..., rotation] ** 2)
    return diagonal


def _sample_rows(circuit: Circuit, encoded: Encoded) -> tuple[FloatArray, tuple[int, ...]]:
    """Return the inputs of all samples, (samples, F), and the shape of the samples: (S,) or (L, S)."""
    given = [array for array in (encoded.inputs, encoded.states) if array is not None]
    batch = max((array.shape[:-1] for array in given), key=len)
    if encoded.inputs is None:
        return np.zeros((math.prod(batch), circuit.n_features)), batch
    inputs = np.broadcast_to(np.asarray(encoded.inputs, np.float64), (*batch, circuit.n_features))
    return inputs.reshape(math.prod(batch), circuit.n_features), batch


@partial(jax.jit, static_argnums=(0, 1))
def classical_fisher_matrix(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> jax.Array:
    """Return the Fisher information matrix of the bits that a shot reads, with all noise, shape (L, S, P, P).

    F_ij = sum over bitstrings of d_i p d_j p / p. It is at most the quantum Fisher information, and what the shots of
    a learner can tell at best. Arguments as for `quantum_fisher_matrix`. Bitstrings whose probability is below 32
    machine epsilons count as never seen.
    """

    def one_sample(vectors: jax.Array, tangents: jax.Array) -> jax.Array:
        law, slopes = bit_probabilities(partition, noise, vectors), bit_probabilities(partition, noise, tangents)
        is_seen = law > 32 * np.finfo(law.dtype).eps
        weight = jnp.where(is_seen, 1 / jnp.where(is_seen, law, 1), 0)
        return einsum("lib,lb,ljb->lij", slopes, weight, slopes)

    return _map_samples(one_sample, circuit, partition, theta, (encoded, noise))


def bit_probabilities(partition: Partition, noise: NoiseTable, pauli_vector: jax.Array) -> jax.Array:
    """Return the probability of each bitstring that is read, (L, ..., 4^n) to (L, ..., 2^n), qubit 0 major."""
    n_qubits = len(partition.readout_qpus)
    learners, *batch, _ = pauli_vector.shape
    flips = jnp.asarray(noise.readout_error)[:, np.array(partition.readout_qpus, dtype=np.int32)]
    zero, one = (flips, flips) if flips.ndim == 2 else (flips[..., 0], flips[..., 1])
    law = pauli_vector.reshape(learners, -1, *(4,) * n_qubits)
    for qubit in range(n_qubits):
        # p(0) = (1 + <Z>) / 2 in front of the readout, for each value of the other qubits.
        mean, z = law[:, :, 0] / 2, law[:, :, 3] / 2
        shape = (-1, *(1,) * (mean.ndim - 1))
        lost, gained = (1 - zero[:, qubit]).reshape(shape), one[:, qubit].reshape(shape)
        read_zero = lost * (mean + z) + gained * (mean - z)
        # The qubit's bit goes to the end, so that the next qubit is in front.
        law = jnp.stack([read_zero, 2 * mean - read_zero], axis=-1)
    return law.reshape(learners, *batch, 2**n_qubits)


def _map_samples(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    given: tuple[Encoded, NoiseTable],
) -> jax.Array:
    """Return a function of each sample's Pauli vectors (L, 4^n) and their derivatives (L, P, 4^n), shape (L, S, ...).

    One sample at a time bounds the memory: the derivatives are L x P x 4^n numbers, as matrices complex ones.
    """
    encoded, noise = given
    theta = require_fitting(circuit, partition, theta, noise, ())

    def one_sample(sample: Encoded) -> jax.Array:
        alone = jax.tree.map(lambda array: array[..., None, :], sample)

        def state(parameters: jax.Array) -> jax.Array:
            vector: jax.Array = pauli_state(circuit, partition, parameters, alone, noise)
            return vector[:, 0]

        vectors, push = jax.linearize(state, theta)
        tangents = jax.vmap(push, out_axes=1)(jnp.eye(len(theta), dtype=theta.dtype))
        return function(vectors, tangents)

    found = jax.lax.map(one_sample, jax.tree.map(lambda array: jnp.moveaxis(array, -2, 0), encoded))
    return jnp.moveaxis(found, 0, 1)


@partial(jax.jit, static_argnames="has_offset")
def effective_contraction(noisy: jax.Array, ideal: jax.Array, *, has_offset: bool = False) -> jax.Array:
    """Return the factor by which noise scales a learner's expectation values, in the least-squares sense.

    sum(noisy * ideal) / sum(ideal^2) over samples and observables, shape (L, S, K) to (L,): 1 without noise and 0 when
    all signal is lost. Both arrays may have one learner for all. It is 1 where the ideal values have no signal, that is
    less than single precision tells from rounding; see `has_signal`.

    Args:
        noisy: Values with noise.
        ideal: Values without.
        has_offset: Whether noise also adds a constant to each observable, as relaxation to one of the basis states and
            readout of uneven errors do. It is fitted too then, so that it does not pass for signal.
    """
    signal = _signal(ideal, has_offset)
    power = jnp.sum(signal**2, axis=(-2, -1))
    is_told = has_signal(ideal, has_offset=has_offset)
    return jnp.where(is_told, jnp.sum(noisy * signal, axis=(-2, -1)) / jnp.where(is_told, power, 1.0), 1.0)


def has_signal(ideal: jax.Array, *, has_offset: bool = False) -> jax.Array:
    """Tell of each learner whether noiseless values (L, S, K) differ enough from 0 to see by them what noise leaves.

    Args:
        ideal: Values without noise.
        has_offset: Whether they must differ from their mean over the samples instead.
    """
    return jnp.mean(_signal(ideal, has_offset) ** 2, axis=(-2, -1)) > _LEAST_SIGNAL**2


def _signal(ideal: jax.Array, has_offset: bool) -> jax.Array:
    return ideal - ideal.mean(axis=-2, keepdims=True) if has_offset else ideal


def contraction_error(errors: npt.ArrayLike, ideal: npt.ArrayLike, *, has_offset: bool = False) -> FloatArray:
    """Return the standard error of `effective_contraction` for noisy values with standard errors (L, S, K), shape (L,).

    Samples are drawn independently; of the values of one sample, which share their runs, errors add up at worst. It is
    0 where there is no signal.
    """
    exact = np.asarray(_signal(jnp.asarray(ideal), has_offset), np.float64)
    of_sample = (np.asarray(errors, np.float64) * np.abs(exact)).sum(axis=-1)
    is_told = np.asarray(has_signal(jnp.asarray(ideal), has_offset=has_offset))
    power = np.where(is_told, (exact**2).sum(axis=(-2, -1)), 1.0)
    found: FloatArray = np.where(is_told, np.sqrt((of_sample**2).sum(axis=-1)) / power, 0.0)
    return found
