"""Exact noisy expectation values and gradients, in the Heisenberg picture and the Pauli basis.

An observable is a real vector over Pauli strings. It is carried backwards through the noisy circuit once per learner:
moves are a signed permutation times a factor per string, and the rotations of two neighbouring qubits are one real
16 x 16 matrix. An RY-encoded sample sees only strings of I, X and Z, and is then one row of a matrix product with the
features prod_q (1, sin x_q, cos x_q). Samples therefore cost almost nothing, and no complex number occurs.

The gradient is one adjoint sweep: the loss's derivative is carried forwards, and one small vector per qubit and stage
(`evolution.adjoint_gradient`) holds the gradient of all its rotations. JAX can also differentiate `expectations`.

Shapes: learners L, samples S, observables K, qubits n, parameters P.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.evolution import adjoint_gradient, evolve_observables, evolve_states, matmul
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition

__all__ = [
    "Loss",
    "enable_compilation_cache",
    "encode_features",
    "expectations",
    "heisenberg_coefficients",
    "loss_and_gradient",
    "parameter_shift_jacobian",
    "pauli_state",
    "require_fitting",
]

Loss = Callable[[jax.Array, Any], jax.Array]
"""A learner's loss, a scalar, of its expectation values (S, K) and its targets."""


def enable_compilation_cache(directory: str | Path) -> None:
    """Keep compiled programs in a directory, so that a later process need not compile them again."""
    jax.config.update("jax_compilation_cache_dir", str(directory))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # type: ignore[no-untyped-call]


def encode_features(angles: jax.typing.ArrayLike) -> jax.Array:
    """Return what RY-encoded samples contribute to each visible Pauli string: products of (1, sin x_q, cos x_q).

    Args:
        angles: Encoding angles (rad), shape (..., n).

    Returns:
        Expectation values of the strings of I, X, Z in the encoded states, shape (..., 3^n), qubit 0 major.
    """
    angle = jnp.asarray(angles, dtype=float)
    bloch = jnp.stack([jnp.ones_like(angle), jnp.sin(angle), jnp.cos(angle)], axis=-1)
    features = jnp.ones((*angle.shape[:-1], 1), dtype=angle.dtype)
    for qubit in range(angle.shape[-1]):
        features = (features[..., :, None] * bloch[..., qubit, None, :]).reshape(*angle.shape[:-1], -1)
    return features


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("observables",))
def heisenberg_coefficients(
    circuit: Circuit, partition: Partition, theta: jax.Array, noise: NoiseTable, *, observables: tuple[int, ...]
) -> jax.Array:
    """Carry Z of each observed qubit backwards through the noisy circuit.

    Args:
        circuit: The circuit.
        partition: Its partition, which says which CNOTs are teleported.
        theta: Parameters, shape (..., P); leading axes are a batch of parameter vectors.
        noise: Noise of L learners.
        observables: Measured qubits, K of them.

    Returns:
        Coefficients of the strings of I, X, Z, shape (..., L, K, 3^n).

    Raises:
        DomainError: A shape does not fit the circuit, or an observed qubit does not exist.
    """
    theta = require_fitting(circuit, partition, theta, noise, observables)
    batch = theta.shape[:-1]
    coefficients = jax.vmap(
        lambda vector: evolve_observables(circuit, partition, noise, observables, vector).coefficients
    )(theta.reshape(math.prod(batch), circuit.n_parameters))
    return coefficients.reshape(*batch, *coefficients.shape[1:])


def expectations(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    features: jax.Array,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
) -> jax.Array:
    """Return the exact noisy expectation values of Z on each observed qubit.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (..., P).
        features: From `encode_features`, shape (S, 3^n) for samples that all learners share, or (L, S, 3^n).
        noise: Noise of L learners, or of one for all.
        observables: Measured qubits, K of them.

    Returns:
        Expectation values, shape (..., L, S, K).

    Raises:
        DomainError: A shape does not fit the circuit, or an observed qubit does not exist.
    """
    coefficients: jax.Array = heisenberg_coefficients(circuit, partition, theta, noise, observables=observables)
    values: jax.Array = _contract(features, coefficients)
    return values


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("observables", "loss"))
def loss_and_gradient(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    features: jax.Array,
    noise: NoiseTable,
    *,
    targets: Any,
    observables: tuple[int, ...],
    loss: Loss,
) -> tuple[jax.Array, jax.Array]:
    """Return every learner's loss and its exact gradient by the shared parameters, in one adjoint sweep.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        features: Shape (S, 3^n) or (L, S, 3^n).
        noise: Noise of L learners, or of one for all.
        targets: What `loss` compares with, an array or a pytree of arrays with the learners on the leading axis.
        observables: Measured qubits, K of them.
        loss: Differentiable scalar function of one learner's expectation values (S, K) and its targets; pass the same
            function object each time, or the program is compiled again.

    Returns:
        Losses of shape (L,) and gradients of shape (L, P).

    Raises:
        DomainError: A shape does not fit the circuit, or an observed qubit does not exist.
    """
    theta = require_fitting(circuit, partition, theta, noise, observables)
    sweep = evolve_observables(circuit, partition, noise, observables, theta)
    losses, slopes = jax.vmap(jax.value_and_grad(loss))(_contract(features, sweep.coefficients), targets)
    visible = matmul(jnp.swapaxes(slopes, -1, -2), features)
    return losses, adjoint_gradient(circuit, partition, theta, sweep, visible)


def parameter_shift_jacobian(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    features: jax.Array,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
) -> jax.Array:
    """Return d<Z>/d theta by the two-term shift rule, (f(t + pi/2) - f(t - pi/2)) / 2, shape (L, S, K, P).

    It equals the adjoint sweep and costs 2 P evaluations; it is what hardware measures. Arguments are those of
    `expectations`, with parameters of shape (P,).

    Source:
        Schuld et al., PRA 99, 032331, 2019, eq. (9).
    """
    theta = jnp.asarray(theta, dtype=float)
    shift = 0.5 * jnp.pi * jnp.eye(circuit.n_parameters, dtype=theta.dtype)
    shifted = jnp.stack([theta + shift, theta - shift])
    plus, minus = expectations(circuit, partition, shifted, features, noise, observables=observables)
    return jnp.moveaxis(0.5 * (plus - minus), 0, -1)


@partial(jax.jit, static_argnums=(0, 1))
def pauli_state(
    circuit: Circuit, partition: Partition, theta: jax.Array, features: jax.Array, noise: NoiseTable
) -> jax.Array:
    """Return the noisy output states before readout, as expectation values of all Pauli strings.

    The density matrix is 2^-n times the sum of the strings with these coefficients (Schroedinger picture).

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        features: Shape (S, 3^n) or (L, S, 3^n).
        noise: Noise of L learners.

    Returns:
        Shape (L, S, 4^n), qubit 0 major, digits I, X, Y, Z.

    Raises:
        DomainError: A shape does not fit the circuit.
    """
    theta = require_fitting(circuit, partition, theta, noise, ())
    return evolve_states(circuit, partition, theta, features, noise)[-1]


def require_fitting(
    circuit: Circuit, partition: Partition, theta: jax.Array, noise: NoiseTable, observables: Sequence[int]
) -> jax.Array:
    """Return the parameters as a float array, or raise `DomainError` where shapes do not fit the circuit."""
    theta = jnp.asarray(theta, dtype=float)
    if theta.shape[-1:] != (circuit.n_parameters,):
        raise DomainError(f"Argument `theta` must have shape (..., {circuit.n_parameters}), but has {theta.shape}.")
    if len(partition.pair_index) != len(circuit.gates):
        raise DomainError("Argument `partition` must belong to `circuit`, but has another number of gates.")
    widths = (circuit.n_qubits,) * 3 + (partition.pairs_per_shot,)
    shapes = [array.shape for array in noise]
    # Correlators are a further axis of the pairs alone.
    axes = shapes[-1][2:] if shapes[-1][2:] == (3,) else ()
    if [shape[1:] for shape in shapes] != [*((width,) for width in widths[:-1]), (widths[-1], *axes)]:
        raise DomainError(f"Argument `noise` must have arrays of widths {widths} per learner, but has shapes {shapes}.")
    if not all(0 <= qubit < circuit.n_qubits for qubit in observables):
        raise DomainError(f"Argument `observables` must name qubits below {circuit.n_qubits}, but is {observables}.")
    return theta


@jax.jit
def _contract(features: jax.Array, coefficients: jax.Array) -> jax.Array:
    return matmul(features, jnp.swapaxes(coefficients, -1, -2))
