"""Steps of the evolution over Pauli strings.

Each is a map backwards (`pull`), its transpose forwards (`push`), and has derivatives by angles between what arrives
from both sides.

Arrays are (strings, rows, learners), a row being an observable or a sample. With the learners last, a move copies whole
rows of memory, and the turns of a group of qubits are matrix products in place.
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.learning.moves import Classes, Feed, Move, Space, Table
from ceas.learning.program import Group, SparseGroup, Turn
from ceas.learning.turns import einsum, matmul

__all__ = [
    "SHORT_ROW",
    "MoveData",
    "cross_products",
    "make_move",
    "move_slope",
    "pull_feed",
    "pull_last",
    "pull_move",
    "pull_turn",
    "push_feed",
    "push_last",
    "push_move",
    "push_turn",
]

Maps = tuple[jax.Array, ...] | jax.Array
"""Heisenberg maps of each group, (4^g, 4^g); or of each qubit's (X, Y, Z) in each row, (n, 3, 3, rows, learners)."""

_CROSS = ((2, 3), (3, 1), (1, 2))
# So many coefficients are made before the strings that have them.
_MOST_KEPT = 512
# Shorter rows are widened by products with an identity: short rows make slow products.
SHORT_ROW = 4


class MoveData(NamedTuple):
    """Numbers of a move.

    Attributes:
        backward, forward: Sources (None where entries stay) and classes.
        coefficient: Coefficient of each class, shape (classes, rows or 1, learners).
        slope: Its derivative by the rotation's angle, or None.
        factor: Coefficient of each entry of the result backwards, where it depends on no angle and there is one each.
    """

    backward: tuple[jax.Array | None, jax.Array]
    forward: tuple[jax.Array | None, jax.Array]
    coefficient: jax.Array
    slope: jax.Array | None
    factor: jax.Array | None


def make_move(move: Move, rates: jax.Array, angle: jax.Array | None) -> MoveData:
    """Return the numbers of a move, given the learners' rates (columns, learners) and its angle, () or (rows, L)."""
    factors = _class_factors(move.classes, rates)[:, None, :]
    backward, forward = (_table_arrays(table) for table in (move.backward, move.forward))
    if angle is None:
        is_plain = len(move.backward.classes) == len(move.forward.classes) == 1
        # Made once and kept, for it serves both directions and every equal layer.
        factor = _kept(factors[backward[1][0]]) if is_plain else None
        return MoveData(backward, forward, factors, None, factor)
    angle = jnp.broadcast_to(angle, angle.shape if angle.ndim else (1, 1))
    one, zero = jnp.ones_like(angle), jnp.zeros_like(angle)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    values, slopes = jnp.stack([one, cosine, sine]), jnp.stack([zero, -sine, cosine])
    trig = np.asarray(move.classes.trig, dtype=np.int32)
    return MoveData(backward, forward, factors * values[trig], factors * slopes[trig], None)


def _kept(array: jax.Array) -> jax.Array:
    """Return the array, which the compiler then makes once and not in every place where it is used."""
    kept: jax.Array = jax.lax.optimization_barrier(array)  # type: ignore[no-untyped-call]
    return kept


def _table_arrays(table: Table) -> tuple[jax.Array | None, jax.Array]:
    return None if table.source is None else jnp.asarray(table.source), jnp.asarray(table.classes)


def _class_factors(classes: Classes, rates: jax.Array) -> jax.Array:
    """Return sign * prod_c rate_c^exponent_c for each class and learner, by exp and log; shape (classes, learners)."""
    sign = jnp.asarray(classes.sign, rates.dtype)[:, None]
    if not classes.columns:
        return jnp.broadcast_to(sign, (len(classes.sign), rates.shape[1]))
    exponents = jnp.asarray(classes.exponents, rates.dtype)
    rate = rates[np.array(classes.columns, dtype=np.int32)]
    # A rate of zero becomes the least normal number: its logarithm stays finite and its power vanishes all the same.
    size = jnp.exp(matmul(exponents, jnp.log(jnp.maximum(jnp.abs(rate), np.finfo(rates.dtype).tiny))))
    # Depolarising by more than 3/4 and pairs far from the wanted one have negative rates.
    size *= 1 - 2 * (matmul(exponents, (rate < 0).astype(rates.dtype)) % 2)
    if len(classes.sign) > _MOST_KEPT:
        return sign * size
    # A product that keeps the compiler from taking powers anew for each string.
    return matmul(jnp.diag(sign[:, 0]), size)


def pull_move(data: MoveData, x: jax.Array) -> jax.Array:
    """Carry coefficients backwards through a move."""
    if data.factor is not None:
        source = data.backward[0]
        return (x if source is None else x[source[0]]) * data.factor
    return _combine(data.backward, data.coefficient, x)


def push_move(data: MoveData, y: jax.Array) -> jax.Array:
    """Carry slopes or states forwards through a move."""
    if data.factor is not None:
        source = data.forward[0]
        return y * data.factor if source is None else y[source[0]] * data.factor[source[0]]
    return _combine(data.forward, data.coefficient, y)


def move_slope(data: MoveData, y_after: jax.Array, x_before: jax.Array) -> jax.Array:
    """Return the derivative of <y, pull(x)> by the rotation's angle, shape (rows, learners)."""
    assert data.slope is not None
    return (y_after * _combine(data.backward, data.slope, x_before)).sum(axis=0)


def _combine(table: tuple[jax.Array | None, jax.Array], coefficient: jax.Array, x: jax.Array) -> jax.Array:
    sources, classes = table
    parts = [
        (x if sources is None else x[sources[place]]) * coefficient[classes[place]] for place in range(len(classes))
    ]
    return reduce(jnp.add, parts)


def pull_feed(feed: Feed, rate: jax.Array, x: jax.Array) -> jax.Array:
    """Let Z of a qubit feed I, backwards; `rate` has shape (learners,)."""
    digits = _split_digits(feed.space, feed.qubit, x)
    return digits.at[:, 0].add(rate * digits[:, 3]).reshape(x.shape[0], *digits.shape[3:])


def push_feed(feed: Feed, rate: jax.Array, y: jax.Array) -> jax.Array:
    """Let I of a qubit feed Z, forwards."""
    digits = _split_digits(feed.space, feed.qubit, y)
    return digits.at[:, 3].add(rate * digits[:, 0]).reshape(y.shape[0], *digits.shape[3:])


def _split_digits(space: Space, qubit: int, x: jax.Array) -> jax.Array:
    """Return x with its qubit's digit as the second axis, (strings before, 4, strings after, rows, learners)."""
    behind = 4 ** (space.n_qubits - qubit - 1)
    return x.reshape(-1, 4, behind, *x.shape[1:])


def pull_turn(turn: Turn, maps: Maps, x: jax.Array) -> jax.Array:
    """Carry coefficients backwards through turns."""
    if not isinstance(maps, tuple):
        return _turn_rows(turn, maps, x, "a")
    if turn.sparse is not None:
        for step, matrix in zip(turn.sparse, maps, strict=True):
            x = _pull_sparse(step, matrix, x)
        return x
    x = _spread(turn.before, x)
    # The last group first: in its shape the compiler can join a move with the product and keep rows of memory whole.
    for group, matrix in zip(reversed(turn.groups), reversed(maps), strict=True):
        x = _multiply(matrix, turn.before, group, x)
    return x


def push_turn(turn: Turn, maps: Maps, y: jax.Array, *, keeps_all: bool = False) -> jax.Array:
    """Carry slopes or states forwards through turns; `keeps_all` strings even where fewer came."""
    if not isinstance(maps, tuple):
        return _turn_rows(turn, maps, y, "b")
    if turn.sparse is not None:
        for step, matrix in zip(reversed(turn.sparse), reversed(maps), strict=True):
            y = _push_sparse(step, matrix, y)
        return y
    for group, matrix in zip(reversed(turn.groups), reversed(maps), strict=True):
        y = _multiply(matrix.T, turn.before, group, y)
    return y if turn.before.is_full or keeps_all else y[turn.before.ids.astype(np.int32)]


def _turn_rows(turn: Turn, matrices: jax.Array, x: jax.Array, summed: str) -> jax.Array:
    """Turn every row by matrices of its own; sums over the matrices' second index backwards ("a"), else first."""
    for qubit in turn.qubits:
        digits = _split_digits(turn.before, qubit, x)
        matrix = matrices[qubit] if summed == "a" else jnp.swapaxes(matrices[qubit], 0, 1)
        # (out, in, rows, learners) times (before, in, after, rows, learners)
        turned = reduce(jnp.add, [matrix[:, b, None] * digits[:, b + 1, None] for b in range(3)])
        x = jnp.concatenate([digits[:, :1], turned], axis=1)
        x = x.reshape(-1, *x.shape[3:])
    return x


def _seen_rows(group: Group, matrix: jax.Array) -> jax.Array:
    """Return the rows of the digits that come out."""
    if len(group.digits_out) == len(matrix):
        return matrix
    return matrix[np.array(group.digits_out, dtype=np.int32)]


def _multiply(matrix: jax.Array, space: Space, group: Group, x: jax.Array) -> jax.Array:
    behind = 4 ** (space.n_qubits - group.qubit - group.n_qubits)
    rows = x.shape[1:]
    strings = x.reshape(-1, matrix.shape[1], behind * rows[0] * rows[1])
    return _products(matrix, strings).reshape(-1, *rows)


def _products(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """Return the products of a matrix (out, in) with many, (before, in, after) to (before, out, after)."""
    before, size, after = x.shape
    if after == 1:
        return matmul(x[:, :, 0], matrix.T)[..., None]
    if before == 1:
        return matmul(matrix, x[0])[None]
    if after <= SHORT_ROW:
        wide = jnp.kron(matrix, jnp.eye(after, dtype=matrix.dtype))
        return matmul(x.reshape(before, size * after), wide.T).reshape(before, -1, after)
    return matmul(jnp.broadcast_to(matrix, (before, *matrix.shape)), x)


def _spread(space: Space, x: jax.Array) -> jax.Array:
    """Return the coefficients of all strings, zero where there were none."""
    return x if space.is_full else _pad(x)[_positions(space)]


def _pad(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]), dtype=x.dtype)])


def _part(step: SparseGroup, matrix: jax.Array) -> jax.Array:
    rows, columns = (np.array(digits, dtype=np.int32) for digits in (step.group.digits_out, step.digits_in))
    return matrix[rows[:, None], columns]


def _pull_sparse(step: SparseGroup, matrix: jax.Array, x: jax.Array) -> jax.Array:
    strings = _pad(x)[step.gather]
    product = matmul(_part(step, matrix), strings.reshape(len(step.digits_in), -1))
    return product.reshape(-1, *x.shape[1:])


def _push_sparse(step: SparseGroup, matrix: jax.Array, y: jax.Array) -> jax.Array:
    slopes = y.reshape(len(step.group.digits_out), -1)
    product = matmul(_part(step, matrix).T, slopes)
    return product.reshape(-1, *y.shape[1:])[step.places]


def cross_products(turn: Turn, y: jax.Array, x: jax.Array, *, sums_rows: bool) -> jax.Array:
    """Return the sum over strings of slope x observable for each turning qubit's (X, Y, Z) parts.

    A rotation about the axis a on the qubit contributes a . k to the gradient, if the axis is carried to where the
    arrays are: in front of the turns where they are sparse, else behind.

    Returns:
        Shape (turning qubits, 3, rows, learners), or (turning qubits, 3, learners), summed over rows.
    """
    qubits = turn.qubits
    if turn.sparse is not None:
        places = _positions(turn.after)
        return _cross_of_few(turn.after, qubits, _pad(y), x, places=places)
    if not turn.before.is_full:
        return _cross_of_few(turn.before, qubits, y, x, places=None)
    if sums_rows:
        parts = [_group_cross(_correlate(turn.before, group, y, x), group.n_qubits) for group in turn.groups]
        return jnp.moveaxis(jnp.concatenate(parts, axis=1), 0, -1)
    crosses = []
    for qubit in qubits:
        slopes, values = _split_digits(turn.before, qubit, y), _split_digits(turn.before, qubit, x)
        k = [(slopes[:, a] * values[:, b] - slopes[:, b] * values[:, a]).sum(axis=(0, 1)) for a, b in _CROSS]
        crosses.append(jnp.stack(k))
    return jnp.stack(crosses)


def _positions(space: Space) -> npt.NDArray[np.int32]:
    """Return the place of every string among a few, and the number of them for strings that are not."""
    places = np.full(space.n_strings, space.ids.size, dtype=np.int32)
    places[space.ids] = np.arange(space.ids.size)
    return places


def _cross_of_few(
    space: Space, qubits: tuple[int, ...], y: jax.Array, x: jax.Array, *, places: npt.NDArray[np.int32] | None
) -> jax.Array:
    """Return cross products where the observables are on few strings: each meets the slope of its neighbour.

    `places` tells where the slope of every string is, None where all are there in order.
    """
    ids, n_qubits = space.ids, space.n_qubits
    rows = []
    for qubit in qubits:
        shift = 2 * (n_qubits - 1 - qubit)
        digit = ids >> shift & 3
        for axis, (a, b) in enumerate(_CROSS):
            where = np.flatnonzero((digit == a) | (digit == b))
            neighbours = ids[where] ^ (axis + 1) << shift
            # Slope Y meets observable Z with +, slope Z observable Y with -, for X; and so on.
            rows.append((where, neighbours, np.where(digit[where] == b, 1, -1)))
    width = max(len(where) for where, *_ in rows)
    own, other, sign = (np.zeros((len(rows), width), dtype=np.int32) for _ in range(3))
    for row, (where, neighbours, signs) in enumerate(rows):
        own[row, : len(where)], sign[row, : len(where)] = where, signs
        other[row, : len(where)] = neighbours if places is None else places[neighbours]
    products = y[other] * x[own] * jnp.asarray(sign, x.dtype)[..., None, None]
    return products.sum(axis=(1, 2)).reshape(len(qubits), 3, -1)


def _correlate(space: Space, group: Group, y: jax.Array, x: jax.Array) -> jax.Array:
    """Return sum over rows and other digits of y[a] x[b] for a group's digits, (learners, 4^g, 4^g)."""
    return correlate_groups(*(_learners_first(space, group, array) for array in (y, x)))


def _learners_first(space: Space, group: Group, x: jax.Array) -> jax.Array:
    behind = 4 ** (space.n_qubits - group.qubit - group.n_qubits)
    return x.transpose(2, 1, 0).reshape(x.shape[2], -1, 4**group.n_qubits, behind)


def correlate_groups(y: jax.Array, x: jax.Array) -> jax.Array:
    """Return sum over p and q of y[l, p, a, q] x[l, p, b, q], in the order that needs no transposed copy.

    Summing over both at once is up to five times slower for long q: the compiler then transposes both arrays.
    """
    if y.shape[-1] == 1:
        return einsum("lpa,lpb->lab", y[..., 0], x[..., 0])
    return einsum("lpaq,lpbq->lpab", y, x).sum(axis=1)


def _group_cross(correlation: jax.Array, n_qubits: int) -> jax.Array:
    """Return the cross products in the correlations of a group, (learners, 4^g, 4^g) to (learners, g, 3)."""
    weights = jnp.asarray(_cross_weights(n_qubits), dtype=correlation.dtype)
    return matmul(correlation.reshape(len(correlation), -1), weights).reshape(-1, n_qubits, 3)


def _cross_weights(n_qubits: int) -> npt.NDArray[np.float64]:
    """Return the matrix from flattened correlations (4^g, 4^g) to g cross products, shape (16^g, 3 g)."""
    cross = np.zeros((4, 4, 3))
    for axis, (a, b) in enumerate(_CROSS):
        cross[a, b, axis], cross[b, a, axis] = 1.0, -1.0
    if n_qubits == 1:
        return cross.reshape(16, 3)
    first = np.einsum("abz,cd->acbdz", cross, np.eye(4)).reshape(256, 3)
    second = np.einsum("abz,cd->cadbz", cross, np.eye(4)).reshape(256, 3)
    return np.concatenate([first, second], axis=1)


class LastLeft(NamedTuple):
    """What the last turns leave for the derivatives, learners first.

    Attributes:
        first: Observables behind all groups but the last, whose digits are all kept, (L, rows * others, 4^g).
        inputs: Observables that each other group met, (L, rows * digits seen before, 4^g, others).
    """

    first: jax.Array
    inputs: list[jax.Array]


def pull_last(turn: Turn, maps: tuple[jax.Array, ...], x: jax.Array) -> tuple[jax.Array, LastLeft]:
    """Turn observables to what samples see, with the learners first; return (L, rows, E) and what is left.

    The last group is turned before the learners come first: a product keeps the compiler from joining a move with the
    transposition, in which it would lose its rows of memory.
    """
    _, rows, learners = x.shape
    *others, group = turn.groups
    size, seen = 4**group.n_qubits, len(group.digits_out)
    x = _spread(turn.before, x)
    first = _multiply(maps[-1], turn.before, group, x).transpose(2, 1, 0)
    # A second product, because to cut out a part of the digits while transposing is slower.
    x = first if seen == size else _multiply(_seen_rows(group, maps[-1]), turn.before, group, x).transpose(2, 1, 0)
    inputs = []
    behind = turn.before.n_strings // size
    for other, matrix in zip(others, map(_seen_rows, others, maps[:-1]), strict=True):
        behind //= 4**other.n_qubits
        x = x.reshape(-1, 4**other.n_qubits, behind * seen)
        inputs.append(x.reshape(learners, -1, *x.shape[1:]))
        x = _products(matrix, x)
    return x.reshape(learners, rows, -1), LastLeft(first.reshape(learners, -1, size), inputs)


def push_last(
    turn: Turn, maps: tuple[jax.Array, ...], left: LastLeft, slopes: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Carry slopes (L, rows, E) forwards through the same; return them (strings, rows, L), and the cross products.

    The cross products are behind the turns, but in front of them for the last group.
    """
    learners, rows, _ = slopes.shape
    *others, group = turn.groups
    crosses = []
    y = slopes
    for other, whole, x in zip(reversed(others), reversed(maps[:-1]), reversed(left.inputs), strict=True):
        matrix = _seen_rows(other, whole)
        y = y.reshape(*x.shape[:2], len(matrix), x.shape[3])
        # Correlations behind the turns of this group, as all others are.
        crosses.append(_group_cross(matmul(matrix.T, correlate_groups(y, x)), other.n_qubits))
        y = _products(matrix.T, y.reshape(-1, *y.shape[2:]))
    digits = np.array(group.digits_out, dtype=np.int32)
    part = einsum("lpa,lpb->lab", y.reshape(learners, -1, len(digits)), left.first)
    size = left.first.shape[-1]
    correlation = jnp.zeros((learners, size, size), dtype=y.dtype).at[:, digits].set(part)
    front = _group_cross(correlation, group.n_qubits)
    seen = y.reshape(learners, rows, -1).transpose(2, 1, 0).reshape(-1, len(digits), rows * learners)
    y = _products(_seen_rows(group, maps[-1]).T, seen).reshape(-1, rows, learners)
    if not turn.before.is_full:
        y = y[turn.before.ids.astype(np.int32)]
    behind = jnp.concatenate(crosses[::-1], axis=1) if crosses else front[:, :0]
    return y, (jnp.moveaxis(behind, 0, -1), jnp.moveaxis(front, 0, -1))
