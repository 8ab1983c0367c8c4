"""Turns of single qubits of a stage: tables for their small real matrices, and the chain rule back to the angles."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.learning.events import Event, Stage
from ceas.learning.paulis import clifford_bloch_matrix, turn_parts

__all__ = [
    "TurnTable",
    "bloch_axes",
    "bloch_matrices",
    "compile_turns",
    "einsum",
    "group_matrices",
    "matmul",
    "turn_pattern",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

# Accelerators would otherwise round the factors of a float32 product to fewer digits.
matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class TurnTable(NamedTuple):
    """Rotations about X, Y and Z of all stages, padded to the same number per stage and qubit; Clifford gates inside.

    The Heisenberg map of the turns of a qubit is the product of `constant + cos t cosine + sin t sine` over positions.

    Attributes:
        rotation: Index of the rotation (0 where there is none), shape (stages, n, positions).
        constant, cosine, sine: Parts of the real matrices on (X, Y, Z), shape (stages, n, positions, 3, 3).
        axis: Axis of each rotation, in front of its own matrix, zero where there is none, (stages, n, positions, 3).
        axis_behind: The same, behind its own matrix.
        places: Flat index in (stages, n, positions) of each rotation, with `rotations` telling which it is.
        rotations: Indices of the rotations.
    """

    rotation: IntArray
    constant: FloatArray
    cosine: FloatArray
    sine: FloatArray
    axis: FloatArray
    axis_behind: FloatArray
    places: IntArray
    rotations: IntArray


def compile_turns(stages: Sequence[Stage], n_qubits: int) -> TurnTable:
    """Compile the turns of all stages into constant tables."""
    runs = [(s, qubit, run) for s, stage in enumerate(stages) for qubit, run in stage.turns.items()]
    width = max([sum(event.kind == "turn" for event in run) for *_, run in runs], default=0)
    shape = (len(stages), n_qubits, max(width, 1))
    rotation = np.zeros(shape, dtype=np.int32)
    constant, cosine, sine = (np.zeros((*shape, 3, 3)) for _ in range(3))
    constant[...] = np.eye(3)
    axis, axis_behind = np.zeros((*shape, 3)), np.zeros((*shape, 3))
    places, rotations = [], []
    for s, qubit, run in runs:
        at = (s, qubit)
        leading, turns = _join_cliffords(run)
        if not turns:
            constant[at][0] = leading
        for position, (event, following) in enumerate(turns):
            front = leading if position == 0 else np.eye(3)
            parts = [front @ part @ following for part in turn_parts(event.paulis[0])]
            constant[at][position], cosine[at][position], sine[at][position] = parts
            about = np.eye(3)[event.paulis[0] - 1]
            axis[at][position], axis_behind[at][position] = front @ about, following.T @ about
            rotation[at][position] = event.number
            places.append(np.ravel_multi_index((*at, position), shape))
            rotations.append(event.number)
    indices = (np.array(values, dtype=np.int32) for values in (places, rotations))
    return TurnTable(rotation, constant, cosine, sine, axis, axis_behind, *indices)


def _join_cliffords(run: Sequence[Event]) -> tuple[FloatArray, list[tuple[Event, FloatArray]]]:
    """Return the matrix of the Clifford gates before all rotations, and each rotation with that of those after it."""
    leading = np.eye(3)
    turns: list[tuple[Event, FloatArray]] = []
    for event in run:
        if event.kind == "turn":
            turns.append((event, np.eye(3)))
            continue
        matrix = clifford_bloch_matrix(event.gate)
        if turns:
            turns[-1] = (turns[-1][0], turns[-1][1] @ matrix)
        else:
            leading = leading @ matrix
    return leading, turns


def turn_pattern(table: TurnTable, stage: int, qubit: int) -> npt.NDArray[np.bool_]:
    """Tell which entries of the 4 x 4 matrix (out, in) of a qubit's turns may differ from zero."""
    pattern = np.eye(3, dtype=bool)
    parts = zip(table.constant[stage, qubit], table.cosine[stage, qubit], table.sine[stage, qubit], strict=True)
    for constant, cosine, sine in parts:
        pattern = pattern @ ((constant != 0) | (cosine != 0) | (sine != 0))
    padded = np.eye(4, dtype=bool)
    padded[1:, 1:] = pattern
    return padded


def _elements(table: TurnTable, angles: jax.Array) -> jax.Array:
    """Return the matrix of every rotation, shape (stages, n, positions, 3, 3, ...) for angles (R, ...)."""
    rows = angles.shape[1:]
    parts = (jnp.asarray(part, angles.dtype) for part in (table.constant, table.cosine, table.sine))
    constant, cosine, sine = (part.reshape(*part.shape, *(1,) * len(rows)) for part in parts)
    if not table.rotations.size:
        return jnp.broadcast_to(constant, (*constant.shape[:5], *rows))
    angle = angles[table.rotation][:, :, :, None, None]
    return constant + jnp.cos(angle) * cosine + jnp.sin(angle) * sine


def bloch_matrices(table: TurnTable, angles: jax.Array) -> jax.Array:
    """Return the Heisenberg map of each qubit in each stage on (X, Y, Z), shape (stages, n, 3, 3, ...).

    Angles have shape (R,) or (R, rows...).
    """
    elements = _elements(table, angles)
    product = elements[:, :, 0]
    for position in range(1, elements.shape[2]):
        product = einsum("sqab...,sqbc...->sqac...", product, elements[:, :, position])
    return product


def group_matrices(table: TurnTable, angles: jax.Array) -> dict[int, jax.Array]:
    """Return the maps of (I, X, Y, Z) of one qubit and of two neighbours, for the first qubit of each.

    Keyed by the number of qubits: shapes (stages, n, 4, 4) and (stages, n - 1, 16, 16), (out, in); angles (R,).
    """
    single = jnp.pad(bloch_matrices(table, angles), ((0, 0), (0, 0), (1, 0), (1, 0))).at[:, :, 0, 0].set(1)
    pairs = single[:, :-1, :, None, :, None] * single[:, 1:, None, :, None, :]
    return {1: single, 2: pairs.reshape(*pairs.shape[:2], 16, 16)}


def bloch_axes(table: TurnTable, angles: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the axis of every rotation carried in front of the turns of its stage, and behind them.

    Two arrays of shape (stages, n, positions, 3, ...); in front means before them in the order of the circuit.
    """
    elements = _elements(table, angles)
    rows = angles.shape[1:]
    n_positions = elements.shape[2]
    front, behind = (
        jnp.broadcast_to(jnp.asarray(axis, angles.dtype).reshape(*axis.shape, *(1,) * len(rows)), (*axis.shape, *rows))
        for axis in (table.axis, table.axis_behind)
    )
    in_front, at_end = [], []
    for j in range(n_positions):
        first, last = front[:, :, j], behind[:, :, j]
        # The matrices are Heisenberg maps: their transpose carries a vector forwards in circuit order.
        for other in reversed(range(j)):
            first = einsum("sqab...,sqb...->sqa...", elements[:, :, other], first)
        for other in range(j + 1, n_positions):
            last = einsum("sqba...,sqb...->sqa...", elements[:, :, other], last)
        in_front.append(first)
        at_end.append(last)
    return jnp.stack(in_front, axis=2), jnp.stack(at_end, axis=2)
