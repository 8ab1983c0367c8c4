"""Evolution of observables and states over Pauli strings, for all learners at once.

Arrays are (learners L, rows, strings): a row is an observable (carried backwards) or a sample (carried forwards). The
learners lead, because measured on two cores this beats the strings leading: products with the small rotation matrices
then need fewest transposed copies.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.stages import Stage, compile_rotations, compile_stages

__all__ = [
    "Sweep",
    "adjoint_gradient",
    "bloch_axes",
    "einsum",
    "evolve_observables",
    "evolve_states",
    "matmul",
]

IntArray = npt.NDArray[np.int32]

_VISIBLE = (0, 1, 3)  # an RY-encoded qubit has <Y> = 0

# Accelerators would otherwise round the factors of a float32 product to fewer digits.
matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Sweep(NamedTuple):
    """What the backward evolution leaves behind; lists are in the order of the circuit's stages.

    Attributes:
        coefficients: Components that samples can see, shape (L, K, 3^n).
        states: The observables after the rotations of a stage, (L, K, 4^n); before them for the last of several stages.
        factors: Signed factor of each stage's strings, each of shape (L, 4^n).
        rotations: Matrices of each stage, one per group of qubits.
    """

    coefficients: jax.Array
    states: list[jax.Array]
    factors: list[jax.Array]
    rotations: list[list[jax.Array]]


def evolve_observables(
    circuit: Circuit, partition: Partition, noise: NoiseTable, observables: tuple[int, ...], theta: jax.Array
) -> Sweep:
    """Carry Z of each observed qubit backwards through the noisy circuit with parameters of shape (P,)."""
    stages = compile_stages(circuit, partition, _splits_pairs(noise))
    factors = _factors(stages, noise)
    rotations = _stage_rotations(circuit, partition, theta)
    strings = np.array(
        [stages[-1].target[3 * 4 ** (circuit.n_qubits - 1 - qubit)] for qubit in observables], dtype=np.int32
    )
    flips = 1 - 2 * noise.readout_error[:, np.array(observables, dtype=np.int32)]
    amplitude = factors[-1][:, strings] * flips
    if len(stages) == 1:
        states = [_single_strings(amplitude, strings, 4**circuit.n_qubits)]
        return Sweep(_rotate(rotations[0], states[0]), states, factors, rotations)
    # The moves leave a single string, and the rotations make it a product over the groups: no matrix product needed.
    state = _rotated_strings(rotations[-1], strings, circuit.n_qubits) * amplitude[..., None]
    states = [state]
    for index in reversed(range(len(stages) - 1)):
        state = _move_backward(stages[index], factors[index], state)
        states.append(state)
        state = _rotate(rotations[index], state)
    return Sweep(state, states[::-1], factors, rotations)


def adjoint_gradient(
    circuit: Circuit, partition: Partition, theta: jax.Array, sweep: Sweep, slopes: jax.Array
) -> jax.Array:
    """Return every learner's derivative by the parameters, given that by the coefficients; (L, K, 3^n) to (L, P).

    A rotation about the axis a on qubit q contributes a . k_q, where k_q is the sum over observables and over the other
    qubits of the cross product (slope) x (observable) of the qubit's (X, Y, Z) parts; any place of the stage will do if
    the axis is carried there.
    """
    table = compile_rotations(circuit, partition)
    stages = compile_stages(circuit, partition)
    carried = []
    for index, stage in enumerate(stages):
        is_before = 0 < index == len(stages) - 1
        if not is_before:
            slopes = _rotate([matrix.T for matrix in sweep.rotations[index]], slopes)
        carried.append(slopes)
        if index < len(stages) - 1:
            slopes = _move_forward(stage, sweep.factors[index], slopes)
    bloch = _cross_products(jnp.stack(carried), jnp.stack(sweep.states), circuit.n_qubits)
    axes = bloch_axes(circuit, partition, theta)
    gradient = einsum("sqja,slqa->lsqj", axes, bloch)
    return gradient.reshape(len(gradient), -1)[:, table.position]


def evolve_states(
    circuit: Circuit, partition: Partition, theta: jax.Array, features: jax.Array, noise: NoiseTable
) -> list[jax.Array]:
    """Carry encoded samples (S, 3^n) or (L, S, 3^n) forwards; return them after each stage's rotations, and at the end.

    Each is (L, S, 4^n) and holds the expectation values of all strings: forwards is the transpose of backwards.
    """
    stages = compile_stages(circuit, partition, _splits_pairs(noise))
    factors = _factors(stages, noise)
    state = jnp.broadcast_to(features, (len(factors[0]), *features.shape[-2:]))
    states = []
    for stage, factor, matrices in zip(stages, factors, _stage_rotations(circuit, partition, theta), strict=True):
        state = _rotate([matrix.T for matrix in matrices], state)
        states.append(state)
        state = _move_forward(stage, factor, state)
    return [*states, state]


def bloch_axes(circuit: Circuit, partition: Partition, theta: jax.Array, *, all_after: bool = False) -> jax.Array:
    """Return the axis of every rotation, carried to one place of its stage, shape (stages, n, positions, 3).

    The place is after all rotations of the stage in circuit order, and for the last of several stages before them,
    unless `all_after`.
    """
    table = compile_rotations(circuit, partition)
    elements = _rotation_elements(circuit, partition, theta)
    n_stages, _, n_positions = table.parameter.shape
    axes = jnp.asarray(table.axis, dtype=elements.dtype)
    after, before = [], []
    for j in range(n_positions):
        last = first = axes[:, :, j]
        # The matrices are Heisenberg maps: their transpose carries a vector forwards in circuit order.
        for other in range(j + 1, n_positions):
            last = einsum("sqba,sqb->sqa", elements[:, :, other], last)
        for other in reversed(range(j)):
            first = einsum("sqab,sqb->sqa", elements[:, :, other], first)
        after.append(last)
        before.append(first)
    if all_after or n_stages == 1:
        return jnp.stack(after, axis=2)
    return jnp.concatenate([jnp.stack(after, axis=2)[:-1], jnp.stack(before, axis=2)[-1:]])


def _splits_pairs(noise: NoiseTable) -> bool:
    """Tell whether the pairs have three correlators each, and not one Werner parameter."""
    return noise.pair_werner.ndim == 3


def _factors(stages: tuple[Stage, ...], noise: NoiseTable) -> list[jax.Array]:
    """Return each stage's factor per learner and string, exp of (exponents times log survival rates), with its sign."""
    pairs = jnp.asarray(noise.pair_werner)
    pairs = pairs.reshape(len(pairs), math.prod(pairs.shape[1:]))
    survival = [1 - 4 / 3 * noise.one_qubit_error, 1 - 4 / 3 * noise.two_qubit_error, pairs]
    rates = jnp.concatenate([jnp.asarray(rate) for rate in survival], axis=1)
    # A rate of zero becomes the least normal number: its logarithm stays finite and its power vanishes all the same.
    log_rates = jnp.log(jnp.maximum(jnp.abs(rates) if _splits_pairs(noise) else rates, np.finfo(rates.dtype).tiny))
    made: dict[tuple[tuple[int, ...], bytes], jax.Array] = {}
    factors = []
    for stage in stages:
        key = (stage.rates, stage.exponents.tobytes())  # layers without teleported gates share one factor
        if key not in made:
            exponents = jnp.asarray(stage.exponents, dtype=rates.dtype)
            made[key] = jnp.exp(matmul(log_rates[:, np.array(stage.rates, dtype=np.int32)], exponents))
            if _splits_pairs(noise):
                # A Werner parameter is at least 0 here, but one correlator of a useful pair may be negative.
                is_negative = (rates < 0)[:, np.array(stage.rates, dtype=np.int32)].astype(rates.dtype)
                made[key] *= 1 - 2 * (matmul(is_negative, exponents) % 2)
        factors.append(made[key] * stage.sign)
    return factors


def _rotation_elements(circuit: Circuit, partition: Partition, theta: jax.Array) -> jax.Array:
    """Return the 3 x 3 Heisenberg matrix of every rotation, shape (stages, n, positions, 3, 3)."""
    table = compile_rotations(circuit, partition)
    constant, cosine, sine = (jnp.asarray(part, theta.dtype) for part in (table.constant, table.cosine, table.sine))
    if not circuit.n_parameters:
        return constant
    angle = theta[table.parameter][..., None, None]
    return constant + jnp.cos(angle) * cosine + jnp.sin(angle) * sine


def _stage_rotations(circuit: Circuit, partition: Partition, theta: jax.Array) -> list[list[jax.Array]]:
    """Return the real matrices of each stage, one per pair of qubits (16 x 16) and one for an odd qubit (4 x 4).

    Pairs gave the fastest products measured. The matrices of stage 0 keep only the rows that samples can see.
    """
    elements = _rotation_elements(circuit, partition, theta)
    product = elements[:, :, 0]
    for position in range(1, elements.shape[2]):
        product = matmul(product, elements[:, :, position])
    qubit = jnp.pad(product, ((0, 0), (0, 0), (1, 0), (1, 0))).at[:, :, 0, 0].set(1)
    n_paired = circuit.n_qubits - circuit.n_qubits % 2
    paired = einsum("sgab,sgcd->sgacbd", qubit[:, 0:n_paired:2], qubit[:, 1:n_paired:2])
    paired = paired.reshape(len(qubit), n_paired // 2, 16, 16)
    stages = [[*paired[index], *qubit[index, n_paired:]] for index in range(len(qubit))]
    return [[matrix[_visible_rows(len(matrix))] for matrix in stages[0]], *stages[1:]]


def _visible_rows(size: int) -> IntArray:
    visible = np.array(_VISIBLE, dtype=np.int32)
    return visible if size == 4 else np.add.outer(4 * visible, visible).ravel()


def _rotate(matrices: list[jax.Array], state: jax.Array) -> jax.Array:
    """Apply each group's matrix (out, in) to its digits of the strings; (L, rows, in...) to (L, rows, out...)."""
    learners, rows, _ = state.shape
    n_after = 1
    for matrix in reversed(matrices):
        out, size = matrix.shape
        state = state.reshape(learners, -1, size, n_after)
        state = einsum("xa,lpaq->lpxq", matrix, state)
        n_after *= out
    return state.reshape(learners, rows, n_after)


def _rotated_strings(matrices: list[jax.Array], strings: IntArray, n_qubits: int) -> jax.Array:
    """Return the rotated single strings, shape (K, 4^n): products of one matrix column per group."""
    product = jnp.ones((len(strings), 1), dtype=matrices[0].dtype)
    remaining = 4**n_qubits
    for matrix in matrices:
        remaining //= len(matrix)
        columns = matrix.T[strings // remaining % len(matrix)]
        product = (product[:, :, None] * columns[:, None, :]).reshape(len(strings), -1)
    return product


def _single_strings(amplitude: jax.Array, strings: IntArray, n_strings: int) -> jax.Array:
    rows = np.arange(len(strings), dtype=np.int32)
    return jnp.zeros((*amplitude.shape, n_strings), dtype=amplitude.dtype).at[:, rows, strings].set(amplitude)


def _move_backward(stage: Stage, factor: jax.Array, state: jax.Array) -> jax.Array:
    return state[..., stage.source] * factor[:, None]


def _move_forward(stage: Stage, factor: jax.Array, state: jax.Array) -> jax.Array:
    return (state * factor[:, None])[..., stage.target]


def _cross_products(slopes: jax.Array, states: jax.Array, n_qubits: int) -> jax.Array:
    """Return the sum over rows and other qubits of slope x state, per stage, learner and qubit.

    Shapes (stages, L, rows, 4^n) to (stages, L, n, 3); a single learner's states serve all slopes. Correlating whole
    groups (16 x 16) is one matrix product; the cross products are then sums of its entries.
    """
    bloch = []
    states = jnp.broadcast_to(states, slopes.shape)
    n_before = 1
    *batch, rows, n_strings = slopes.shape
    for n_grouped in (2,) * (n_qubits // 2) + (1,) * (n_qubits % 2):
        size = 4**n_grouped
        shape = (*batch, rows * n_before, size, n_strings // (n_before * size))
        correlation = _correlate(slopes.reshape(shape), states.reshape(shape))
        weights = jnp.asarray(_cross_weights(n_grouped), dtype=correlation.dtype)
        bloch.append(matmul(correlation.reshape(*batch, size**2), weights).reshape(*batch, n_grouped, 3))
        n_before *= size
    return jnp.concatenate(bloch, axis=-2)


def _correlate(slopes: jax.Array, states: jax.Array) -> jax.Array:
    """Return sum over p and q of slopes[..., p, a, q] states[..., p, b, q], in the order that needs no transposed copy.

    Summing over both at once is up to five times slower for long q: the compiler then transposes both arrays.
    """
    if slopes.shape[-1] == 1:
        return einsum("...paq,...pbq->...ab", slopes, states)
    return einsum("...aq,...bq->...ab", slopes, states).sum(axis=-3)


def _cross_weights(n_grouped: int) -> npt.NDArray[np.float64]:
    """Return the matrix from flattened correlations (4^g, 4^g) to g cross products, shape (16^g, 3 g)."""
    cross = np.zeros((4, 4, 3))
    for axis, (first, second) in enumerate([(2, 3), (3, 1), (1, 2)]):
        cross[first, second, axis], cross[second, first, axis] = 1.0, -1.0
    if n_grouped == 1:
        return cross.reshape(16, 3)
    first_qubit = np.einsum("abz,cd->acbdz", cross, np.eye(4)).reshape(256, 3)
    second_qubit = np.einsum("abz,cd->cadbz", cross, np.eye(4)).reshape(256, 3)
    return np.concatenate([first_qubit, second_qubit], axis=1)
