"""Evolution through a segment of a program, in both directions, and the derivatives by its angles.

Behind the samples' last gate, observables go backwards (`pull`) and slopes forwards (`push`); in front of it, states go
forwards and slopes backwards. Either way the first to come leaves in each step with angles what the second then meets,
and the derivative by an angle is the product of the two with the step's derivative between.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.learning.moves import Feed, Move
from ceas.learning.program import Item, Loop, Segment, Step, Turn
from ceas.learning.steps import (
    MoveData,
    cross_products,
    make_move,
    move_slope,
    pull_feed,
    pull_last,
    pull_move,
    pull_turn,
    push_feed,
    push_last,
    push_move,
    push_turn,
)
from ceas.learning.turns import bloch_axes, bloch_matrices, group_matrices

__all__ = ["Evolution"]

Tree = Any
"""Nested lists of arrays, one entry for each item of a segment."""

StepFunction = Callable[[Step, Tree, jax.Array, Tree], tuple[jax.Array, Tree]]
"""One step: its numbers, what arrives and what was left there; returns what goes on and what is left."""


class Evolution:
    """One segment with the numbers of a call.

    Attributes:
        segment: The segment.
        angles: Angles of the circuit's rotations, shape (R,), or (R, samples, learners) where rows are samples.
        rates: Rates of each learner, shape (columns, learners).
    """

    def __init__(self, segment: Segment, angles: jax.Array, rates: jax.Array) -> None:
        self.segment = segment
        self.angles = angles
        self.rates = rates
        self._maps = (
            group_matrices(segment.turns, angles) if angles.ndim == 1 else bloch_matrices(segment.turns, angles)
        )
        self._moves: dict[int, MoveData] = {}
        self._data = [self._numbers(item) for item in segment.items]

    @property
    def _sums_rows(self) -> bool:
        """Whether all rows have the same angles."""
        return self.angles.ndim == 1

    def pull_observables(self, x: jax.Array) -> tuple[jax.Array, Tree]:
        """Carry observables backwards, (strings, rows, learners); return what `push_slopes` needs too."""

        def step(step: Step, data: Tree, x: jax.Array, _: Tree) -> tuple[jax.Array, Tree]:
            if isinstance(step, Turn) and step.is_last:
                seen, inputs = pull_last(step, data, x)
                return seen, inputs
            after = _pull(step, data, x)
            if isinstance(step, Turn):
                return after, x if step.sparse is None else after
            return after, x if isinstance(step, Move) and step.rotation >= 0 else None

        return _run(self.segment.items, self._data, step, x, None, is_reverse=False)

    def push_slopes(self, y: jax.Array, left: Tree) -> tuple[jax.Array, jax.Array]:
        """Carry slopes forwards against what observables left; return them and the derivatives by angles, (R, L)."""

        def step(step: Step, data: Tree, y: jax.Array, left: Tree) -> tuple[jax.Array, Tree]:
            match step:
                case Turn(is_last=True):
                    return push_last(step, data, left, y)
                case Turn(groups=()):
                    return y, None
                case Turn(sparse=None):
                    # The slopes of all strings are met, also where only few observables came.
                    before = push_turn(step, data, y, keeps_all=True)
                    cross = cross_products(step, before, left, sums_rows=True)
                    return before if step.before.is_full else before[step.before.ids.astype(np.int32)], cross
                case Turn():
                    return push_turn(step, data, y), cross_products(step, y, left, sums_rows=True)
                case Move() if step.rotation >= 0:
                    return push_move(data, y), move_slope(data, y, left).sum(axis=0)
            return _push(step, data, y), None

        y, pieces = _run(self.segment.items, self._data, step, y, left, is_reverse=True)
        return y, self._derivatives(pieces)

    def push_states(self, r: jax.Array) -> tuple[jax.Array, Tree]:
        """Carry states forwards, (strings, samples, learners); return what `pull_slopes` needs too."""

        def step(step: Step, data: Tree, r: jax.Array, _: Tree) -> tuple[jax.Array, Tree]:
            before = _push(step, data, r)
            if isinstance(step, Turn):
                return before, before
            return before, r if isinstance(step, Move) and step.rotation >= 0 else None

        return _run(self.segment.items, self._data, step, r, None, is_reverse=True)

    def pull_slopes(self, x: jax.Array, left: Tree) -> jax.Array:
        """Carry slopes backwards against what states left; return the derivatives by angles, (R, samples, learners)."""

        def step(step: Step, data: Tree, x: jax.Array, left: Tree) -> tuple[jax.Array, Tree]:
            piece = None
            if isinstance(step, Turn):
                piece = cross_products(step, left, x, sums_rows=self._sums_rows)
            elif isinstance(step, Move) and step.rotation >= 0:
                piece = move_slope(data, left, x)
            return _pull(step, data, x), piece

        _, pieces = _run(self.segment.items, self._data, step, x, left, is_reverse=False)
        return self._derivatives(pieces)

    def _numbers(self, item: Item) -> Tree:
        """Return the arrays of a step; equal tables without angles are one object, see `_stack`."""
        match item:
            case Loop():
                return [[self._numbers(inner) for inner in body] for body in item.repeats]
            case Turn() if isinstance(self._maps, dict):
                return tuple(self._maps[group.n_qubits][item.stage, group.qubit] for group in item.groups)
            case Turn():
                return self._maps[item.stage]
            case Feed():
                return self.rates[item.column]
        if item.rotation >= 0:
            data = make_move(item, self.rates, self.angles[item.rotation])
            first = self._moves.setdefault(id(item.classes), data)
            return data._replace(backward=first.backward, forward=first.forward)
        if id(item.classes) not in self._moves:
            self._moves[id(item.classes)] = make_move(item, self.rates, None)
        return self._moves[id(item.classes)]

    def _derivatives(self, pieces: Tree) -> jax.Array:
        """Gather the steps' parts of the derivatives, (R, ...): of moves as they are, of turns as cross products."""
        table = self.segment.turns
        found = _with_places(self.segment.items, [_places(item) for item in self.segment.items], pieces)
        n_rows = 1 if self._sums_rows else 2
        rows = next((piece.shape[-n_rows:] for piece in jax.tree.leaves(pieces)), (1,) * n_rows)
        dtype = self.angles.dtype
        derivatives = jnp.zeros((len(self.angles), *rows), dtype=dtype)
        shape = (*table.rotation.shape[:2], 3, *rows)
        front, behind = jnp.zeros(shape, dtype=dtype), jnp.zeros(shape, dtype=dtype)
        for step, place, piece in found:
            if isinstance(step, Move):
                derivatives = derivatives.at[place].add(piece)
                continue
            qubits = np.array(step.qubits, dtype=np.int32)
            if step.is_last:
                n_behind = step.groups[-1].qubit
                behind = behind.at[place, qubits[:n_behind]].set(piece[0])
                front = front.at[place, qubits[n_behind:]].set(piece[1])
            elif step.sparse is None:
                behind = behind.at[place[..., None], qubits].set(piece)
            else:
                front = front.at[place[..., None], qubits].set(piece)
        if not table.rotations.size:
            return derivatives
        parts = zip(bloch_axes(table, self.angles), (front, behind), strict=True)
        wide = ((axis[..., None] if self._sums_rows else axis, cross[:, :, None]) for axis, cross in parts)
        terms = [(axis * cross).sum(axis=3) for axis, cross in wide]
        flat = (terms[0] + terms[1]).reshape(-1, *rows)[table.places]
        return derivatives.at[table.rotations].add(flat)


def _pull(step: Step, data: Tree, x: jax.Array) -> jax.Array:
    match step:
        case Turn():
            return pull_turn(step, data, x)
        case Feed():
            return pull_feed(step, data, x)
    return pull_move(data, x)


def _push(step: Step, data: Tree, y: jax.Array) -> jax.Array:
    match step:
        case Turn():
            return push_turn(step, data, y)
        case Feed():
            return push_feed(step, data, y)
    return push_move(data, y)


def _run(
    items: Sequence[Item], data: Tree, step: StepFunction, state: jax.Array, left: Tree, *, is_reverse: bool
) -> tuple[jax.Array, Tree]:
    """Take all steps, from the last where `is_reverse`; return the state and what each leaves, in their order."""
    leaves: list[Tree] = []
    given = left if left is not None else [None] * len(items)
    order = list(zip(items, data, given, strict=True))
    for item, numbers, found in reversed(order) if is_reverse else order:
        if isinstance(item, Loop):
            state, leaf = _run_loop(item, numbers, step, state, found, is_reverse=is_reverse)
        else:
            state, leaf = step(item, numbers, state, found)
        leaves.append(leaf)
    return state, leaves[::-1] if is_reverse else leaves


def _run_loop(
    loop: Loop, data: Tree, step: StepFunction, state: jax.Array, left: Tree, *, is_reverse: bool
) -> tuple[jax.Array, Tree]:
    body = loop.repeats[0]
    stacked, restore = _stack(data)

    def once(state: jax.Array, given: tuple[list[jax.Array], Tree]) -> tuple[jax.Array, Tree]:
        numbers, found = given
        return _run(body, restore(numbers), step, state, found, is_reverse=is_reverse)

    found: tuple[jax.Array, Tree] = jax.lax.scan(
        once, state, (stacked, left), length=len(loop.repeats), reverse=is_reverse
    )
    return found


def _stack(repeats: Sequence[Tree]) -> tuple[list[jax.Array], Callable[[list[jax.Array]], Tree]]:
    """Stack the arrays of all repetitions, but those that all share; return how to restore one repetition's."""
    leaves = [jax.tree.leaves(tree) for tree in repeats]
    structure = jax.tree.structure(repeats[0])
    columns = list(zip(*leaves, strict=True))
    is_shared = [all(leaf is column[0] for leaf in column) for column in columns]
    stacked = [jnp.stack(column) for column, shared in zip(columns, is_shared, strict=True) if not shared]

    def restore(chosen: list[jax.Array]) -> Tree:
        rest = iter(chosen)
        return jax.tree.unflatten(
            structure, [column[0] if shared else next(rest) for column, shared in zip(columns, is_shared, strict=True)]
        )

    return stacked, restore


def _places(item: Item) -> Tree:
    """Return where the parts of the derivatives belong: stages of turns, rotations of moves, stacked for loops."""
    match item:
        case Loop():
            bodies = [[_places(inner) for inner in body] for body in item.repeats]
            return jax.tree.map(lambda *places: np.stack(places), *bodies)
        case Turn():
            return np.array(item.stage, dtype=np.int32)
        case Move() if item.rotation >= 0:
            return np.array(item.rotation, dtype=np.int32)
    return None


def _with_places(
    items: Sequence[Item], places: Tree, pieces: Tree
) -> list[tuple[Move | Turn, npt.NDArray[np.int32], Tree]]:
    found: list[tuple[Move | Turn, npt.NDArray[np.int32], Tree]] = []
    for item, place, piece in zip(items, places, pieces, strict=True):
        if isinstance(item, Loop):
            found += _with_places(item.repeats[0], place, piece)
        elif piece is not None and not isinstance(item, Feed):
            found.append((item, place, piece))
    return found
