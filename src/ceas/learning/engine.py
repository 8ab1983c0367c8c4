"""Exact noisy expectation values and gradients, in the Heisenberg picture and the Pauli basis.

An observable is a real vector over Pauli strings. It is carried backwards through the noisy circuit once per learner,
as far as the last gate that depends on the sample. Samples that come as product states are then one row of a matrix
product with features; of others, the circuit before that gate is run for each sample, and both meet in the middle.

The gradient is one adjoint sweep (`ceas.learning.evolution`) to the angles of the rotations, and JAX's chain rule from
there to parameters and inputs. Learners are worked on in blocks, which bounds the memory.

Shapes: learners L, samples S, observables K, qubits n, parameters P, rotations R, inputs F, visible strings E.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import Circuit
from ceas.learning.cost import EngineCost, block_size, engine_cost
from ceas.learning.encoding import Encoded, encode_features
from ceas.learning.model import Loss, Model, Samples, merge_samples, n_sample_learners, own_samples, require_samples
from ceas.learning.noise import NoiseTable, require_noise
from ceas.learning.partition import Partition
from ceas.learning.program import choose_samples
from ceas.learning.turns import einsum

__all__ = [
    "EngineCost",
    "Loss",
    "enable_compilation_cache",
    "encode_features",
    "engine_cost",
    "expectations",
    "heisenberg_coefficients",
    "loss_and_gradient",
    "parameter_shift_jacobian",
    "pauli_state",
    "require_fitting",
]

Tree = Any
T = TypeVar("T")


def enable_compilation_cache(directory: str | Path) -> None:
    """Keep compiled programs in a directory, so that a later process need not compile them again."""
    # JAX keeps the folder, or that there is none, from its first compilation on.
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(directory))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # type: ignore[no-untyped-call]


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("observables",))
def heisenberg_coefficients(
    circuit: Circuit, partition: Partition, theta: jax.Array, noise: NoiseTable, *, observables: tuple[int, ...]
) -> jax.Array:
    """Carry Z of each observed qubit backwards through the noisy circuit, to where product states are encoded.

    Args:
        circuit: The circuit, in which samples are encoded as product states.
        partition: Its partition.
        theta: Parameters, shape (P,).
        noise: Noise of L learners.
        observables: Measured qubits, K of them.

    Returns:
        Coefficients of the visible strings, shape (L, K, E), without the constant that asymmetric readout adds.

    Raises:
        DomainError: A shape does not fit the circuit, an observed qubit does not exist, or samples are no products.
    """
    theta = require_fitting(circuit, partition, theta, noise, observables)
    if choose_samples(circuit, partition, has_states=False) != "features":
        raise DomainError("Argument `circuit` must encode samples as product states, but does not.")
    model = Model(circuit, partition, theta, noise, observables, has_states=False)
    return model.seen(model.own.pull_observables(model.observables())[0])


def expectations(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
) -> jax.Array:
    """Return the exact noisy expectation values of Z on each observed qubit.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (..., P).
        encoded: Samples from `encode_inputs` or `encode_states`, shared by all learners or each learner's own.
        noise: Noise of L learners, or of one for all.
        observables: Measured qubits, K of them.

    Returns:
        Expectation values, shape (..., L, S, K).

    Raises:
        DomainError: A shape does not fit the circuit, or an observed qubit does not exist.
    """
    values: jax.Array = _expectations(circuit, partition, theta, encoded, noise, shift=None, observables=observables)
    return values


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("observables", "loss", "input_gradient"))
def loss_and_gradient(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    targets: Any,
    observables: tuple[int, ...],
    loss: Loss,
    input_gradient: bool = False,
) -> tuple[jax.Array, ...]:
    """Return every learner's loss and its exact gradient by the shared parameters, in one adjoint sweep.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        encoded: Samples, shared by all learners or each learner's own.
        noise: Noise of L learners, or of one for all.
        targets: What `loss` compares with, an array or a pytree of arrays with the learners on the leading axis.
        observables: Measured qubits, K of them.
        loss: Differentiable scalar function of one learner's expectation values (S, K) and its targets; pass the same
            function object each time, or the program is compiled again.
        input_gradient: Whether to return the gradient by the inputs too.

    Returns:
        Losses of shape (L,), gradients of shape (L, P), and gradients by the inputs of shape (L, S, F) if asked for.

    Raises:
        DomainError: A shape does not fit the circuit, an observed qubit does not exist, or the gradient by inputs is
            asked for where there are none.
    """
    theta = require_fitting(circuit, partition, theta, noise, observables)
    if not observables:
        raise DomainError("Argument `observables` must name at least one qubit, but names none.")
    samples = require_samples(circuit, partition, encoded)
    if input_gradient and encoded.inputs is None:
        raise DomainError("Argument `encoded` must have inputs for their gradient, but has states.")
    n_learners = _n_learners(noise, samples, targets)
    noise, targets = _for_learners(noise, n_learners), _for_learners(targets, n_learners)

    def block(noise: NoiseTable, own: Samples, targets: Any) -> tuple[jax.Array, ...]:
        model = Model(circuit, partition, theta, noise, observables, has_states=encoded.states is not None)
        found = model.loss_and_gradient(merge_samples(samples, own), targets, loss, wants_inputs=input_gradient)
        return found if input_gradient else found[:2]

    split = (noise, own_samples(samples), targets)
    size = block_size(
        circuit,
        partition,
        len(observables),
        has_relaxation=noise.relaxation is not None,
        itemsize=theta.dtype.itemsize,
    )
    return _over_learners(block, split, n_learners, size)


def parameter_shift_jacobian(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
) -> jax.Array:
    """Return d<Z>/d theta by the two-term shift rule for each rotation, (f(t + pi/2) - f(t - pi/2)) / 2, (L, S, K, P).

    It equals the adjoint sweep and costs two evaluations per rotation; it is what hardware measures. Arguments are
    those of `expectations`, with parameters of shape (P,).

    Source:
        Schuld et al., PRA 99, 032331, 2019, eq. (9).
    """
    theta = require_fitting(circuit, partition, theta, noise, observables)
    n_rotations = len(circuit.rotations)
    trained = [r for r, index in enumerate(circuit.rotations) if circuit.gates[index].parameters]
    shift = 0.5 * jnp.pi * jnp.eye(n_rotations, dtype=theta.dtype)[np.array(trained, dtype=np.int32)]
    find = partial(_expectations, circuit, partition, theta, encoded, noise, observables=observables)
    inputs = jnp.zeros((1, circuit.n_features)) if encoded.inputs is None else encoded.inputs
    chain = jax.jacfwd(lambda t: rotation_angles(circuit, t, inputs))(theta)[..., np.array(trained, dtype=np.int32), :]
    if not trained:
        values = find(shift=None)
        return jnp.zeros((*values.shape, circuit.n_parameters), dtype=values.dtype)
    by_rotation = jnp.stack([find(shift=row) - find(shift=-row) for row in shift], axis=-1) / 2
    return einsum("lskr,...srp->lskp" if chain.ndim == 3 else "lskr,lsrp->lskp", by_rotation, chain)


@partial(jax.jit, static_argnums=(0, 1))
def pauli_state(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> jax.Array:
    """Return the noisy output states before readout, as expectation values of all Pauli strings.

    The density matrix is 2^-n times the sum of the strings with these coefficients (Schroedinger picture).

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters, shape (P,).
        encoded: Samples, shared by all learners or each learner's own.
        noise: Noise of L learners.

    Returns:
        Shape (L, S, 4^n), qubit 0 major, digits I, X, Y, Z.

    Raises:
        DomainError: A shape does not fit the circuit.
    """
    theta = require_fitting(circuit, partition, theta, noise, ())
    samples = require_samples(circuit, partition, encoded)
    noise = _for_learners(noise, _n_learners(noise, samples))
    model = Model(circuit, partition, theta, noise, None, has_states=encoded.states is not None)
    return model.states(samples).transpose(2, 1, 0)


def require_fitting(
    circuit: Circuit, partition: Partition, theta: jax.Array, noise: NoiseTable, observables: Sequence[int]
) -> jax.Array:
    """Return the parameters as a float array, or raise `DomainError` where shapes do not fit the circuit."""
    theta = jnp.asarray(theta, dtype=float)
    if theta.shape[-1:] != (circuit.n_parameters,):
        raise DomainError(f"Argument `theta` must have shape (..., {circuit.n_parameters}), but has {theta.shape}.")
    if len(partition.gate_qpus) != len(circuit.gates):
        raise DomainError("Argument `partition` must belong to `circuit`, but has another number of gates.")
    require_noise(partition, noise)
    if not all(0 <= qubit < circuit.n_qubits for qubit in observables):
        raise DomainError(f"Argument `observables` must name qubits below {circuit.n_qubits}, but is {observables}.")
    return theta


def _n_learners(noise: NoiseTable, samples: Samples, targets: Tree = None) -> int:
    """Return how many learners there are, where each argument has a row for each of them or one for all."""
    rows = [len(noise.one_qubit_error), n_sample_learners(samples), *(len(leaf) for leaf in jax.tree.leaves(targets))]
    if len(set(rows) - {1}) > 1:
        wanted = "as many learners, or one row for all of them"
        raise DomainError(f"Arguments `noise`, `encoded` and `targets` must have {wanted}, but have {rows}.")
    return max(rows)


def _for_learners(table: T, n_learners: int) -> T:
    """Repeat what is one row for all learners."""
    repeated: T = jax.tree.map(lambda array: jnp.broadcast_to(array, (n_learners, *array.shape[1:])), table)
    return repeated


def _over_learners(
    function: Callable[..., tuple[jax.Array, ...]], split: tuple[Tree, ...], n_learners: int, block: int
) -> tuple[jax.Array, ...]:
    """Call a function with blocks of learners, the leading axis of all arrays in `split`, one block after another."""
    n_blocks = -(-n_learners // block)
    if n_blocks == 1:
        return function(*split)
    size = -(-n_learners // n_blocks)

    def cut(array: jax.Array) -> jax.Array:
        padding = ((0, n_blocks * size - n_learners), *((0, 0),) * (array.ndim - 1))
        return jnp.pad(array, padding, mode="edge").reshape(n_blocks, size, *array.shape[1:])

    found: tuple[jax.Array, ...] = jax.lax.map(lambda parts: function(*parts), jax.tree.map(cut, split))
    return tuple(array.reshape(-1, *array.shape[2:])[:n_learners] for array in found)


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("observables",))
def _expectations(
    circuit: Circuit,
    partition: Partition,
    theta: jax.Array,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    shift: jax.Array | None,
    observables: tuple[int, ...],
) -> jax.Array:
    """Return expectation values with all rotations turned further by `shift` (R,)."""
    theta = require_fitting(circuit, partition, theta, noise, observables)
    if not observables:
        raise DomainError("Argument `observables` must name at least one qubit, but names none.")
    samples = require_samples(circuit, partition, encoded)
    n_learners = _n_learners(noise, samples)
    if samples.features is None:  # the learners' own samples meet their noise early
        noise = _for_learners(noise, n_learners)
    n_learners = len(noise.one_qubit_error)
    is_shared = n_learners == 1  # one noise for the samples of all
    own = Samples(None, None) if is_shared else own_samples(samples)

    size = block_size(
        circuit,
        partition,
        len(observables),
        has_relaxation=noise.relaxation is not None,
        itemsize=theta.dtype.itemsize,
    )

    def one(theta: jax.Array) -> jax.Array:
        def block(noise: NoiseTable, own: Samples) -> tuple[jax.Array]:
            has_states = encoded.states is not None
            model = Model(circuit, partition, theta, noise, observables, has_states=has_states, shift=shift)
            return (model.values(samples if is_shared else merge_samples(samples, own)),)

        return _over_learners(block, (noise, own), n_learners, size)[0]

    if theta.ndim == 1:
        return one(theta)
    batch = theta.shape[:-1]
    values: jax.Array = jax.lax.map(one, theta.reshape(math.prod(batch), -1))
    return values.reshape(*batch, *values.shape[1:])
