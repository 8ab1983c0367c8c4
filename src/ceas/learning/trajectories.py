"""Expectation values and gradients from pure states: exact without gate noise, else averaged over sampled errors.

A state of n qubits has 2^n amplitudes where the Heisenberg engine has 4^n strings, so this engine is the one for many
qubits. Noise is sampled: a trajectory is a run in which errors strike at random. Pauli errors flip signs of angles and
outcomes only (`ceas.learning.tableau`), so that every trajectory is a noiseless run with angles of its own; relaxation
acts by quantum jumps (`ceas.learning.frames`). Errors of readout are exact in either case.

A loss that is not linear in the expectation values is biased when these are means of T trajectories: by half its second
derivative times their variance, of order 1/T. What is returned is therefore the jackknife of two halves A and B,

    2 loss((z_A + z_B) / 2) - (loss(z_A) + loss(z_B)) / 2,

which has no bias for quadratic losses and one of order 1/T^2 for smooth ones, and its exact derivative for these
trajectories. For a quadratic loss that is the plain rule of two independent halves: slopes from one half, derivatives
of expectation values from the other. The derivative by an angle exists for Pauli errors, whose probabilities do not
depend on the state; jumps of relaxation do, so there is no gradient with relaxation.

The random numbers of a trajectory depend on the seed, its learner, sample and number alone.

Source: Efron and Stein, Ann. Stat. 9, 586, 1981 (jackknife).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import Circuit
from ceas.learning.encoding import Encoded
from ceas.learning.frames import check_relaxation, draw_errors, parity_signs
from ceas.learning.fusion import fuse
from ceas.learning.noise import NoiseTable, noiseless, require_noise
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.state_vectors import FusedProgram, Results, Room, Runs, evolve_blocks, gradient_blocks, mean_blocks
from ceas.learning.tableau import compile_frame

__all__ = [
    "LANES",
    "MOST_KEPT",
    "MOST_RUNS",
    "expectations",
    "generator_covariances",
    "generator_means",
    "is_exact",
    "loss_and_gradient",
    "n_threads",
]

Array = npt.NDArray[Any]
Loss = Callable[[jax.Array, Any], jax.Array]

# States next to each other in a block: the compiled loops run over them with vector instructions.
LANES = 32
# Runs whose angles and errors are held at a time.
MOST_RUNS = 1 << 15
# Bytes of final states that are kept between the values and the gradient; beyond that they are evolved again.
MOST_KEPT = 1 << 29


class _Batch(NamedTuple):
    """Some runs and what errors do to their signs.

    Attributes:
        runs: The runs, with signed angles.
        sign: Sign of each angle, shape (runs, R), or None where all are +1.
        outcome_sign: Sign of each observable, shape (runs, K).
    """

    runs: Runs
    sign: Array | None
    outcome_sign: Array

    @property
    def size(self) -> int:
        return len(self.runs.angles)


class _Request(NamedTuple):
    """Checked arguments.

    Attributes:
        angles: Shape (L or 1, S, R).
        states: Initial states as real and imaginary rows, shape (L or 1, S, 2, 2^n), or None.
        scale: d<Z> read / d<Z> of each learner and observable, shape (L, K).
        offset: What readout adds, shape (L, K).
    """

    circuit: Circuit
    partition: Partition
    noise: NoiseTable
    observables: tuple[int, ...]
    angles: Array
    states: Array | None
    scale: Array
    offset: Array

    @property
    def n_learners(self) -> int:
        return len(self.scale)


def is_exact(noise: NoiseTable) -> bool:
    """Tell whether the noise strikes nothing but readout, so that no errors need to be sampled."""
    gates = (np.asarray(table) for table in (noise.one_qubit_error, noise.two_qubit_error))
    if any(table.any() for table in gates) or (np.asarray(noise.pair_werner) < 1).any():
        return False
    relaxation = noise.relaxation
    return relaxation is None or bool((np.asarray(relaxation)[..., :2] == 1).all())


def expectations(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
    n_trajectories: int = 1,
    seed: int = 0,
) -> tuple[Array, Array | None]:
    """Return expectation values of Z on each observed qubit, and their standard errors.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters (rad), shape (P,).
        encoded: Samples: inputs (S, F) or (L, S, F), or states (S, 2^n) or (L, S, 2^n), or both.
        noise: Noise of L learners, or of one for all.
        observables: Measured qubits, K of them.
        n_trajectories: Trajectories per learner and sample; one run is made where the noise is exact.
        seed: Seed of the trajectories, an integer in [0, 2**64).

    Returns:
        Values and standard errors of the mean, both of shape (L, S, K). The errors are None where the values are exact,
        and NaN with one trajectory.

    Raises:
        DomainError: A shape does not fit the circuit, a number is out of range, or relaxation is no channel of the form
            of `ceas.learning.frames`.
    """
    request = _request(circuit, partition, theta, encoded, noise, observables=observables)
    if n_trajectories < 1:
        raise DomainError(f"Argument `n_trajectories` must be at least 1, but is {n_trajectories}.")
    shape = (request.n_learners, request.angles.shape[1], len(observables))
    if is_exact(noise):
        learners, samples = request.angles.shape[:2]
        values = _evaluate(request, _exact_batch(request, learners), keep=False)[0]
        means = np.broadcast_to(values.reshape(learners, samples, -1), shape)
        return request.scale[:, None] * means + request.offset[:, None], None
    sums, squares = np.zeros(shape), np.zeros(shape)
    for numbers in _trajectory_batches(request, n_trajectories):
        values = _evaluate(request, _noisy_batch(request, numbers, seed), keep=False)[0]
        values = values.reshape(numbers.size, *shape)
        sums += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
    means = sums / n_trajectories
    variance = np.maximum(squares / n_trajectories - means**2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(variance / np.float64(n_trajectories - 1))
    return request.scale[:, None] * means + request.offset[:, None], np.abs(request.scale[:, None]) * error


def loss_and_gradient(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    targets: Any,
    observables: tuple[int, ...],
    loss: Loss,
    n_trajectories: int = 1,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Return every learner's loss and its gradient by the shared parameters, by the adjoint method.

    Args:
        circuit: The circuit.
        partition: Its partition.
        theta: Parameters (rad), shape (P,).
        encoded: Samples, as in `expectations`.
        noise: Noise of L learners, or of one for all; without relaxation.
        targets: What `loss` compares with, an array or a pytree of arrays with the learners on the leading axis.
        observables: Measured qubits, K of them.
        loss: Differentiable scalar function of one learner's expectation values (S, K) and its targets; pass the same
            function object each time, or it is compiled again.
        n_trajectories: Trajectories per learner and sample, even; one run is made where the noise is exact.
        seed: Seed of the trajectories, an integer in [0, 2**64).

    Returns:
        Losses of shape (L,) and gradients of shape (L, P): exact without gate noise, else the jackknife estimates that
        the head of this module gives.

    Raises:
        DomainError: A shape does not fit the circuit, the number of trajectories is odd, or the noise has relaxation.
    """
    request = _request(circuit, partition, theta, encoded, noise, observables=observables)
    request = _for_targets(request, max(len(leaf) for leaf in jax.tree.leaves(targets)))
    exact = is_exact(noise)
    if not exact and noise.relaxation is not None:
        raise DomainError(
            "Argument `noise` must have no relaxation for a gradient over trajectories, whose jumps depend on the "
            "parameters, but has some; use the Heisenberg engine or finite shots."
        )
    if not exact and (n_trajectories < 2 or n_trajectories % 2):
        raise DomainError(f"Argument `n_trajectories` must be even for a gradient, but is {n_trajectories}.")
    n_learners, n_samples = request.n_learners, request.angles.shape[1]
    if exact:
        batches = [_exact_batch(request, n_learners)]
    else:
        batches = [_noisy_batch(request, row, seed) for row in _trajectory_batches(request, n_trajectories)]
    keep = sum(batch.size for batch in batches) * batch_bytes(circuit.n_qubits) <= MOST_KEPT
    runs = [_evaluate(request, batch, keep=keep) for batch in batches]
    values = np.concatenate([values for values, _ in runs]).reshape(-1, n_learners, n_samples, len(observables))
    scale, offset = request.scale[:, None], request.offset[:, None]
    half = max(values.shape[0] // 2, 1)
    parts = [scale * part.mean(axis=0) + offset for part in (values[:half], values[half:]) if len(part)]
    losses, slopes = _jackknife(loss, [jnp.asarray(part, request.angles.dtype) for part in parts], targets)
    weights = np.concatenate(
        [np.broadcast_to(scale * np.asarray(slope) / half, (half, *slope.shape)) for slope in slopes]
    )
    cotangent = np.zeros((n_learners, n_samples, request.angles.shape[2]))
    first = 0
    for batch, (_, kept) in zip(batches, runs, strict=True):
        n_rows = batch.size // (n_learners * n_samples)
        rows = weights[first : first + n_rows].reshape(batch.size, -1)
        found = _gradients(request, batch, rows, kept)
        cotangent += found.reshape(n_rows, n_learners, n_samples, -1).sum(axis=0)
        first += n_rows
    inputs = _inputs(circuit, encoded)
    return np.asarray(losses), np.asarray(_chain(circuit, jnp.asarray(theta, float), inputs, jnp.asarray(cotangent)))


def generator_means(circuit: Circuit, theta: npt.ArrayLike, encoded: Encoded) -> Array:
    """Return the mean of every rotation's Pauli operator in the noiseless state that it acts on, shape (L or 1, S, R).

    Arguments are parameters (P,) and samples as for `expectations`; or parameters (B, P) and samples that all share,
    for shape (B, S, R). It costs as much as one gradient.
    """
    vectors = np.asarray(theta)
    request = _noiseless_request(circuit, vectors if vectors.ndim == 1 else vectors[0], encoded)
    if vectors.ndim == 2:
        angles = np.asarray(rotation_angles(circuit, jnp.asarray(vectors)[:, None], _inputs(circuit, encoded)))
        states = request.states
        request = request._replace(
            angles=np.broadcast_to(angles, (len(vectors), *request.angles.shape[1:])),
            states=None if states is None else np.broadcast_to(states, (len(vectors), *states.shape[1:])),
        )
    n_learners, n_samples, n_rotations = request.angles.shape
    batch = _exact_batch(request, n_learners)
    lanes, padded = _padding(batch.size)
    empty, means = np.zeros((0, 0)), np.zeros((padded, n_rotations))
    _in_threads(mean_blocks, request, _padded(batch.runs, padded), _results(request, empty, means), lanes)
    return -means[: batch.size].reshape(n_learners, n_samples, n_rotations)


def generator_covariances(
    circuit: Circuit, theta: npt.ArrayLike, encoded: Encoded, rotations: npt.ArrayLike
) -> Iterator[Array]:
    """Yield the covariances of rotations' Pauli operators, carried to one time, in the noiseless states.

    With A_r = U_r^+ P_r U_r for the circuit U_r before rotation r they are Re<A_r A_s> - <A_r><A_s>. A rotation that
    is turned further by pi leaves 2i d psi / d angle = A_r psi; so every entry is an overlap of final states.

    Args:
        circuit: The circuit.
        theta: Parameters, shape (P,).
        encoded: Samples, as for `expectations`.
        rotations: Indices of the N rotations that count.

    Yields:
        Covariances of a few samples at a time, which bounds the memory, shape (samples, N, N); learner by learner.
    """
    request, chosen = _noiseless_request(circuit, theta, encoded), np.asarray(rotations, dtype=np.int64)
    n_turned, n_rotations = chosen.size + 1, len(circuit.rotations)
    turned = np.zeros((n_turned, n_rotations), request.angles.dtype)
    turned[np.arange(1, n_turned), chosen] = np.pi
    angles = request.angles.reshape(-1, n_rotations)
    states = None if request.states is None else request.states.reshape(len(angles), *request.states.shape[2:])
    size = max(1, MOST_KEPT // (4 * n_turned * batch_bytes(circuit.n_qubits)))
    for first in range(0, len(angles), size):
        rows = (angles[first : first + size, None] + turned).reshape(1, -1, n_rotations)
        some = None if states is None else np.repeat(states[first : first + size], n_turned, axis=0)[None]
        part = request._replace(angles=rows, states=some)
        kept = _evaluate(part, _exact_batch(part, 1), keep=True)[1]
        final = np.moveaxis(kept.reshape(*kept.shape[:2], 2, -1), 3, 1).reshape(-1, kept.shape[1], 2)
        final = (final[: rows.shape[1], :, 0] + 1j * final[: rows.shape[1], :, 1]).reshape(-1, n_turned, kept.shape[1])
        overlaps = final.conj() @ np.swapaxes(final, 1, 2)
        # <psi| turned psi> is -i times a mean.
        means = overlaps[:, 0, 1:].imag
        yield overlaps[:, 1:, 1:].real - means[:, :, None] * means[:, None, :]


def _noiseless_request(circuit: Circuit, theta: npt.ArrayLike, encoded: Encoded) -> _Request:
    partition = partition_circuit(circuit)
    return _request(circuit, partition, theta, encoded, noiseless(partition), observables=())


def _results(request: _Request, slopes: Array, gradient: Array) -> Results:
    """Return results that are a gradient alone."""
    dtype = request.angles.dtype
    return Results(np.zeros((0, 0)), np.zeros((0, 0, 0), dtype), slopes.astype(dtype), gradient)


def batch_bytes(n_qubits: int) -> int:
    """Return the bytes of one single-precision state."""
    return 8 << n_qubits


@partial(jax.jit, static_argnums=0)
def _jackknife(loss: Loss, parts: list[jax.Array], targets: Any) -> tuple[jax.Array, list[jax.Array]]:
    """Return every learner's loss and its slopes by the expectation values of each half (or of the whole)."""

    def combined(halves: list[jax.Array], target: Any) -> jax.Array:
        if len(halves) == 1:
            return loss(halves[0], target)
        first, second = halves
        return 2 * loss((first + second) / 2, target) - (loss(first, target) + loss(second, target)) / 2

    losses, slopes = jax.vmap(jax.value_and_grad(combined))(parts, targets)
    return losses, slopes


@partial(jax.jit, static_argnums=0)
def _chain(circuit: Circuit, theta: jax.Array, inputs: jax.Array, cotangent: jax.Array) -> jax.Array:
    """Return the gradient by the parameters for derivatives by the angles (L, S, R), shape (L, P)."""

    def one(rows: jax.Array, cotangent: jax.Array) -> jax.Array:
        angles, pull_back = jax.vjp(lambda vector: rotation_angles(circuit, vector, rows), theta)
        gradient: jax.Array = pull_back(cotangent.astype(angles.dtype))[0]
        return gradient

    gradients: jax.Array = jax.vmap(one, in_axes=(0 if inputs.ndim == 3 else None, 0))(inputs, cotangent)
    return gradients


def _request(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    observables: tuple[int, ...],
) -> _Request:
    vector = jnp.asarray(theta, dtype=float)
    if vector.shape != (circuit.n_parameters,):
        raise DomainError(f"Argument `theta` must have shape ({circuit.n_parameters},), but has {vector.shape}.")
    if not all(0 <= qubit < circuit.n_qubits for qubit in observables):
        raise DomainError(f"Argument `observables` must name qubits below {circuit.n_qubits}, but is {observables}.")
    if len(partition.gate_qpus) != len(circuit.gates):
        raise DomainError("Argument `partition` must belong to `circuit`, but has another number of gates.")
    require_noise(partition, noise)
    check_relaxation(noise)
    angles = np.asarray(rotation_angles(circuit, vector, _inputs(circuit, encoded)))
    angles = angles if angles.ndim == 3 else angles[None]
    states = None
    if encoded.states is not None:
        given = np.asarray(encoded.states)
        if given.shape[-1] != 1 << circuit.n_qubits or given.ndim not in (2, 3):
            raise DomainError(
                f"Argument `encoded` must have states of 2^{circuit.n_qubits} rows, but has {given.shape}."
            )
        states = _bit_order(given if given.ndim == 3 else given[None], circuit.n_qubits, angles.dtype)
        n_rows = max(len(angles), len(states))
        angles = np.broadcast_to(angles, (n_rows, *angles.shape[1:]))
        states = np.broadcast_to(states, (n_rows, *states.shape[1:]))
        if angles.shape[1] != states.shape[1]:
            raise DomainError(f"Argument `encoded` must have a state per sample, but has {given.shape}.")
    readout = np.asarray(noise.readout_error, dtype=np.float64)
    readout = readout[:, [partition.readout_qpus[qubit] for qubit in observables]]
    flips = np.stack([readout, readout], axis=-1) if readout.ndim == 2 else readout
    n_learners = max(len(angles), len(flips))
    if {len(angles), len(flips)} - {1, n_learners}:
        raise DomainError(f"Argument `noise` must have one row or one per learner, but has {len(flips)}.")
    flips = np.broadcast_to(flips, (n_learners, *flips.shape[1:]))
    scale, offset = 1 - flips[..., 0] - flips[..., 1], flips[..., 1] - flips[..., 0]
    return _Request(circuit, partition, noise, observables, angles, states, scale, offset)


def _for_targets(request: _Request, n_targets: int) -> _Request:
    """Repeat the one learner of shared noise and samples for the targets of several."""
    if n_targets not in {1, request.n_learners} and request.n_learners != 1:
        raise DomainError(f"Argument `targets` must have {request.n_learners} learners, but has {n_targets}.")
    n_learners = max(n_targets, request.n_learners)
    scale, offset = (np.broadcast_to(row, (n_learners, row.shape[1])) for row in (request.scale, request.offset))
    return request._replace(scale=scale, offset=offset)


def _inputs(circuit: Circuit, encoded: Encoded) -> jax.Array:
    """Return the inputs; those of a circuit without any may be left out where states are given."""
    if encoded.inputs is not None:
        return jnp.asarray(encoded.inputs, dtype=float)
    if encoded.states is None or circuit.n_features:
        raise DomainError("Argument `encoded` must have inputs, or states for a circuit without features.")
    return jnp.zeros((*encoded.states.shape[:-1], 0))


def _bit_order(states: Array, n_qubits: int, dtype: Any) -> Array:
    """Return real and imaginary parts with bit q of a row being qubit q, shape (L, S, 2, 2^n)."""
    axes = (0, 1, *reversed(range(2, n_qubits + 2)))
    rows = states.reshape(*states.shape[:2], *(2,) * n_qubits).transpose(axes).reshape(states.shape)
    return np.stack([rows.real, rows.imag], axis=2).astype(dtype)


def _exact_batch(request: _Request, n_learners: int) -> _Batch:
    n_samples, n_rotations = request.angles.shape[1:]
    shape = (n_learners, n_samples, n_rotations)
    angles = np.broadcast_to(request.angles, shape).reshape(n_learners * n_samples, n_rotations)
    nothing = np.zeros((0, 3, 0), angles.dtype)
    return _Batch(
        runs=Runs(angles, _initial(request, n_learners, 1), nothing, nothing[:, 0]),
        sign=None,
        outcome_sign=np.ones((len(angles), len(request.observables)), angles.dtype),
    )


def _initial(request: _Request, n_learners: int, n_repeats: int) -> Array:
    if request.states is None:
        return np.zeros((2, 0, 0), request.angles.dtype)
    states = np.broadcast_to(request.states, (n_repeats, n_learners, *request.states.shape[1:]))
    return np.ascontiguousarray(states.reshape(-1, 2, 1 << request.circuit.n_qubits).transpose(1, 2, 0))


def _trajectory_batches(request: _Request, n_trajectories: int) -> Iterator[Array]:
    """Cut the trajectories into groups of few enough runs."""
    size = max(1, MOST_RUNS // (request.n_learners * request.angles.shape[1]))
    numbers = np.arange(n_trajectories)
    for first in range(0, n_trajectories, size):
        yield numbers[first : first + size]


def _noisy_batch(request: _Request, numbers: Array, seed: int) -> _Batch:
    """Draw the errors of these trajectories of all learners and samples; runs are (trajectory, learner, sample)."""
    n_learners, (n_samples, n_rotations) = request.n_learners, request.angles.shape[1:]
    trajectory, learner, sample = (
        grid.reshape(-1) for grid in np.meshgrid(numbers, range(n_learners), range(n_samples), indexing="ij")
    )
    shape = (numbers.size, n_learners, n_samples, n_rotations)
    angles = np.broadcast_to(request.angles, shape).reshape(trajectory.size, n_rotations)
    flip, outcome_flip, relaxation, draws = (
        np.asarray(table)
        for table in _draw(
            request.circuit,
            request.partition,
            request.noise,
            row=jnp.asarray(learner % len(request.noise.one_qubit_error)),
            counters=jnp.asarray(np.stack([learner, sample, trajectory]), jnp.uint32),
            key_data=np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32),
        )
    )
    sign = (1 - 2 * flip.T).astype(angles.dtype)
    initial = _initial(request, n_learners, numbers.size)
    return _Batch(
        runs=Runs(angles * sign, initial, relaxation.astype(angles.dtype), draws.astype(angles.dtype)),
        sign=sign,
        outcome_sign=(1 - 2 * outcome_flip[list(request.observables)].T).astype(angles.dtype),
    )


@partial(jax.jit, static_argnums=(0, 1))
def _draw(
    circuit: Circuit,
    partition: Partition,
    noise: NoiseTable,
    *,
    row: jax.Array,
    counters: jax.Array,
    key_data: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Draw errors: flips of rotations (R, runs) and of outcomes (n, runs), relaxation tables and their numbers."""
    program = compile_frame(circuit, partition, has_start=False, has_relaxation=noise.relaxation is not None)
    n_relaxations = len(program.relaxations)
    n_noise = program.event_source.size + n_relaxations
    key = jax.random.wrap_key_data(key_data, impl="threefry2x32")

    def words(counter: jax.Array) -> jax.Array:
        run_key = key
        for part in range(3):
            run_key = jax.random.fold_in(run_key, counter[part])
        return jax.random.bits(run_key, (n_noise + n_relaxations,), jnp.uint32)

    bits = jax.vmap(words, in_axes=1, out_axes=1)(counters)
    errors = draw_errors(program, noise, row, jnp.asarray(noise.pair_werner)[row], bits[:n_noise])
    rotations = _stack([step.flip for step in program.steps if step.rotation >= 0], errors.shape[0])
    flip, outcome_flip = parity_signs(rotations, errors), parity_signs(program.outcome_flip, errors)
    if noise.relaxation is None:
        nothing = jnp.zeros((0, row.size))
        return flip, outcome_flip, jnp.zeros((0, 3, row.size)), nothing
    frame = parity_signs(np.array([step.flip for step in program.relaxations]), errors)
    qpu, arity = np.array([step.place for step in program.relaxations], dtype=np.int32).T
    table = jnp.asarray(noise.relaxation)[:, qpu, arity][row]
    tables = jnp.stack([1 - table[..., 1].T, (1 + table[..., 2].T) / 2, 1.0 - 2.0 * frame], axis=1)
    return flip, outcome_flip, tables, (bits[n_noise:] >> 8).astype(jnp.float32) * 2.0**-24


def _stack(flips: list[Array], n_bits: int) -> Array:
    return np.array(flips, dtype=bool).reshape(len(flips), n_bits)


def _evaluate(request: _Request, batch: _Batch, *, keep: bool) -> tuple[Array, Array]:
    """Return expectation values before readout (runs, K), and the final states of all blocks where they are kept."""
    lanes, padded = _padding(batch.size)
    dtype = batch.runs.angles.dtype
    kept = np.empty((padded // lanes if keep else 0, 1 << request.circuit.n_qubits, 2 * lanes), dtype)
    nothing = np.zeros((0, 0))
    results = Results(np.zeros((padded, len(request.observables))), kept, nothing.astype(dtype), nothing)
    _in_threads(evolve_blocks, request, _padded(batch.runs, padded), results, lanes)
    return results.values[: batch.size] * batch.outcome_sign, kept


def _gradients(request: _Request, batch: _Batch, weights: Array, kept: Array) -> Array:
    """Return the derivatives of sum_k weight_k <Z_k> by the unsigned angles, shape (runs, R)."""
    lanes, padded = _padding(batch.size)
    slopes = np.zeros((len(request.observables), padded), batch.runs.angles.dtype)
    slopes[:, : batch.size] = (weights * batch.outcome_sign).T
    results = Results(np.zeros((0, 0)), kept, slopes, np.zeros((padded, batch.runs.angles.shape[1])))
    _in_threads(gradient_blocks, request, _padded(batch.runs, padded), results, lanes)
    gradient = results.gradient[: batch.size]
    return gradient if batch.sign is None else gradient * batch.sign


def _padding(n_runs: int) -> tuple[int, int]:
    """Return the states of a block, and the runs of all blocks, as few more than the runs as possible."""
    n_blocks = -(-n_runs // LANES)
    lanes = -(-n_runs // n_blocks)
    return lanes, lanes * n_blocks


def _padded(runs: Runs, size: int) -> Runs:
    missing = size - len(runs.angles)

    def fill(table: Array, axis: int) -> Array:
        if not missing or not table.shape[axis]:
            return np.ascontiguousarray(table)
        return np.pad(table, [(0, missing if a == axis % table.ndim else 0) for a in range(table.ndim)], mode="edge")

    return Runs(fill(runs.angles, 0), *(fill(table, -1) for table in runs[1:]))


def _in_threads(
    work: Callable[[tuple[int, int], FusedProgram, Runs, Results, Room], None],
    request: _Request,
    runs: Runs,
    results: Results,
    lanes: int,
) -> None:
    """Share the blocks among as many threads as there are processors; the compiled loops release the lock."""
    program = fuse(request.circuit, has_start=request.states is None, has_relaxation=len(runs.relaxation) > 0)
    program = program._replace(outcome=program.outcome[list(request.observables)])
    n_amplitudes, dtype = 1 << program.n_qubits, runs.angles.dtype

    def room() -> Room:
        return Room(
            state=np.empty((n_amplitudes, 2 * lanes), dtype),
            co_state=np.empty((n_amplitudes if results.gradient.size else 0, 2 * lanes), dtype),
            matrix=np.empty((4, lanes), dtype),
            overlap=np.empty((3, lanes), dtype),
            sums=np.empty((len(request.observables) + 2, lanes)),
        )

    n_parts = max(1, min(n_threads(), len(runs.angles) // lanes))
    # All room is taken before the work starts, so that a call needs the same memory whichever thread is quicker.
    rooms = [room() for _ in range(n_parts)]

    def share(block: int) -> None:
        work((block, n_parts), program, runs, results, rooms[block])

    if n_parts == 1:
        share(0)
        return
    with ThreadPoolExecutor(n_parts) as pool:
        list(pool.map(share, range(n_parts)))


def n_threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
