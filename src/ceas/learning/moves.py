"""Moves of a stage compiled to tables over Pauli strings.

Carried backwards (Heisenberg picture), a Clifford gate makes one signed string of each string, and a Pauli error scales
it; a rotation about two qubits, a relaxing qubit or a copy that may be wrong make two of it. A run of such moves with
at most one of the latter kind becomes one table, `after[k] = sum_j coefficient[j, k] * before[source[j, k]]`.

Strings with copies that may be wrong have one more binary digit for each, the most significant for the last opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.events import Columns, Event
from ceas.learning.paulis import (
    DigitArray,
    anticommutes,
    clifford_table,
    product_is_negative,
    string_digits,
    string_ids,
)

__all__ = ["DENSE_PART", "Feed", "Move", "NeedsBranchesError", "Space", "compile_moves", "full_space"]

IntArray = npt.NDArray[np.int32]  # the index type of JAX, whether or not it uses 64 bits
IdArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ONE, COSINE, SINE = 0, 1, 2
"""Which function of the rotation's angle a coefficient has."""

# A set of strings that is at least this part of all is kept as all of them, in their natural order.
DENSE_PART = 8
# Coefficients are told apart by one integer, whose digits are made fewer before they overflow.
_MOST_KEYS = 2**62


class NeedsBranchesError(Exception):
    """Pairs whose copies serve gates across several tables, so that signs cannot carry what their errors do."""

    def __init__(self, uses: set[int]) -> None:
        super().__init__(str(uses))
        self.uses = frozenset(uses)


class Space(NamedTuple):
    """Set of strings that an array of coefficients is over.

    Attributes:
        ids: Index of each string, the copies' digits being the most significant.
        n_qubits: Number of qubits.
        copies: Pairs whose copy may be wrong here, the least significant first.
        is_full: Whether `ids` are all strings, in order.
    """

    ids: IdArray
    n_qubits: int
    copies: tuple[int, ...] = ()
    is_full: bool = False

    @property
    def n_strings(self) -> int:
        """Return how many strings there are with the copies' digits."""
        return int(4**self.n_qubits) << len(self.copies)


def full_space(n_qubits: int, copies: tuple[int, ...] = ()) -> Space:
    """Return the set of all strings."""
    return Space(np.arange(4**n_qubits << len(copies)), n_qubits, copies, is_full=True)


class Classes(NamedTuple):
    """Distinct coefficients of a move: sign * trig(angle) * prod_c rate_c^exponent_c; number 0 is zero.

    Attributes:
        sign: 0, 1 or -1, shape (classes,).
        trig: `ONE`, `COSINE` or `SINE`, shape (classes,).
        exponents: Shape (classes, len(columns)).
        columns: Which rates occur.
    """

    sign: npt.NDArray[np.int8]
    trig: npt.NDArray[np.int8]
    exponents: npt.NDArray[np.int16]
    columns: tuple[int, ...]


class Table(NamedTuple):
    """What each entry of a result is a sum of: `classes` (width, size) times entries `source` (width, size).

    `source` is None where each entry stays in its place.
    """

    source: IntArray | None
    classes: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """A linear map of coefficients over strings, sparse.

    Attributes:
        backward: The map, for observables carried backwards.
        forward: Its transpose, for states and slopes carried forwards.
        classes: Coefficients that both refer to.
        rotation: The rotation whose angle the coefficients depend on, -1 for none.
        before: Strings that it maps from, backwards.
        after: Strings that it maps to, backwards.
    """

    backward: Table
    forward: Table
    classes: Classes
    rotation: int
    before: Space
    after: Space

    @property
    def signature(self) -> tuple[object, ...]:
        """What two moves must share to be the same program on other tables."""
        sizes = (self.before.ids.size, self.after.ids.size, *self.classes.exponents.shape)
        shapes = tuple((table.source is None, table.classes.shape) for table in (self.backward, self.forward))
        return ("move", sizes, shapes, self.rotation >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Z of a qubit, carried backwards through relaxation, feeds I by the rate of one column; on all strings."""

    qubit: int
    column: int
    space: Space

    @property
    def signature(self) -> tuple[object, ...]:
        """What two of them must share to be the same program."""
        return ("feed", self.qubit, self.column)


class _Run:
    """Strings on their way backwards through moves, each with what it is multiplied by."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.n_qubits = space.n_qubits
        self.column = np.arange(space.ids.size)
        strings = space.ids % 4**self.n_qubits
        self.digits: DigitArray = string_digits(self.n_qubits)[:, strings]
        self.bits: dict[int, BoolArray] = {
            use: (space.ids // 4**self.n_qubits >> place & 1).astype(bool) for place, use in enumerate(space.copies)
        }
        self.is_negative = np.zeros(space.ids.size, dtype=bool)
        self.trig = np.zeros(space.ids.size, dtype=np.int8)
        self.exponents: dict[int, npt.NDArray[np.int16]] = {}
        self.is_flipped: dict[int, BoolArray] = {}  # by a wrong copy, per pair
        self.rotation = -1
        self.is_doubled = False
        self.is_empty = True

    def scale(self, column: int, where: BoolArray) -> None:
        """Multiply some strings by one more power of a rate."""
        if where.any():
            self.exponents[column] = self.exponents.get(column, np.int16(0)) + where.astype(np.int16)

    def double(self, where: BoolArray) -> slice:
        """Append copies of some strings; return where they are."""
        size = self.column.size
        for name in ("column", "is_negative", "trig"):
            values = getattr(self, name)
            setattr(self, name, np.concatenate([values, values[where]]))
        self.digits = np.concatenate([self.digits, self.digits[:, where]], axis=1)
        for values in (self.bits, self.exponents, self.is_flipped):
            for key, array in values.items():
                values[key] = np.concatenate([array, array[where]])
        self.is_doubled = True
        return slice(size, None)


def compile_moves(
    events: Sequence[Event], before: Space, columns: Columns, n_served: Mapping[int, int]
) -> tuple[list[Move | Feed], Space]:
    """Compile the moves of a stage, given in circuit order, into tables in the order backwards.

    Args:
        events: Moves of one stage.
        before: Strings that arrive from behind the moves.
        columns: Where each rate stands.
        n_served: How many gates each pair serves whose errors are to be carried by signs.

    Returns:
        Tables, and the strings in front of the moves.

    Raises:
        NeedsBranchesError: Some copies' errors must be followed on branches.
    """
    served: dict[int, list[int]] = {}
    for position, event in enumerate(events):
        if event.use in n_served and event.kind in {"turn", "clifford"}:
            served.setdefault(event.use, []).append(position)
    broken = {use for use, positions in served.items() if len(positions) < n_served[use]}
    if broken:
        raise NeedsBranchesError(broken)
    compiled: list[Move | Feed] = []
    run = _Run(before)

    def flush() -> None:
        nonlocal run
        if run.is_flipped:
            raise NeedsBranchesError(set(run.is_flipped))
        move = _tabulate(run)
        if move is not None:
            compiled.append(move)
            run = _Run(move.after)

    for position in reversed(range(len(events))):
        event = events[position]
        doubles = event.kind in {"feed", "open", "close", "turn"}
        starts = event.use in served and position == served[event.use][-1]
        has_turn = starts and any(events[p].kind == "turn" for p in served[event.use])
        if run.is_doubled and (doubles or has_turn):
            flush()
        if event.kind == "feed" and run.space.is_full:
            flush()
            compiled.append(Feed(qubit=event.qubits[0], column=event.number, space=run.space))
            continue
        if starts:
            run.is_flipped[event.use] = np.zeros(run.column.size, dtype=bool)
        _apply(run, event, columns)
        if event.use in served and position == served[event.use][0]:
            _strike_root(run, event, columns)
    flush()
    return compiled, run.space


def _apply(run: _Run, event: Event, columns: Columns) -> None:
    run.is_empty = False
    match event.kind:
        case "clifford":
            _apply_clifford(run, event)
        case "turn":
            _apply_turn(run, event)
        case "scale":
            run.scale(event.number, run.digits[event.qubits[0]] != 0)
        case "damp":
            digit = run.digits[event.qubits[0]]
            run.scale(event.number, (digit == 1) | (digit == 2))
            run.scale(event.number + 1, digit == 3)
        case "feed":
            (qubit,) = event.qubits
            added = run.double(run.digits[qubit] == 3)
            run.digits[qubit, added] = 0
            where = np.zeros(run.column.size, dtype=bool)
            where[added] = True
            run.scale(event.number, where)
        case "channel":
            for axis in range(3):
                run.scale(columns.correlator(event.use, axis), run.digits[event.qubits[0]] == axis + 1)
        case "close":
            added = run.double(np.ones(run.column.size, dtype=bool))
            run.bits[event.use] = np.zeros(run.column.size, dtype=bool)
            run.bits[event.use][added] = True
        case "open":
            # Strings of a right and of a wrong copy become one: no more strings, but two entries for each.
            is_wrong = run.bits.pop(event.use)
            is_odd = anticommutes(run.digits[event.qubits[0]], event.paulis[0])
            for wrong, odd in np.ndindex(2, 2):
                column = columns.branch(event.use, is_wrong=bool(wrong), is_odd=bool(odd))
                run.scale(column, (is_wrong == bool(wrong)) & (is_odd == bool(odd)))
            run.is_doubled = True


def _apply_clifford(run: _Run, event: Event) -> None:
    digits = run.digits[list(event.qubits)]
    for qubit_digits, error in zip(digits, event.paulis, strict=False):
        if error and event.use >= 0:
            is_odd = anticommutes(qubit_digits, error)
            if event.use in run.bits:
                run.is_negative = run.is_negative ^ (is_odd & run.bits[event.use])
            else:
                run.is_flipped[event.use] = run.is_flipped[event.use] ^ is_odd
    images, is_negative = clifford_table(event.gate)
    index = string_ids(digits)
    run.digits[list(event.qubits)] = images[:, index]
    run.is_negative = run.is_negative ^ is_negative[index]


def _apply_turn(run: _Run, event: Event) -> None:
    """Mix each string that anticommutes with the axis with its product with it: cos(t) Q + sin(t) i P Q."""
    run.rotation = event.number
    qubits = list(event.qubits)
    pairs = zip(run.digits[qubits], event.paulis, strict=True)
    moves = np.logical_xor.reduce([anticommutes(digits, pauli) for digits, pauli in pairs])
    run.trig[moves] = COSINE
    added = run.double(moves)
    run.is_negative[added] ^= product_is_negative(event.paulis, run.digits[qubits, added])
    run.trig[added] = SINE
    run.digits[qubits, added] ^= np.array(event.paulis, dtype=np.int8)[:, None]
    # With a wrong copy it turns the other way.
    if event.use in run.bits:
        run.is_negative[added] ^= run.bits[event.use][added]
    elif event.use >= 0:
        run.is_flipped[event.use][added] ^= True


def _strike_root(run: _Run, event: Event, columns: Columns) -> None:
    """Scale strings by the correlator of a pair that leaves the signs of its errors: of wrong copies, and on the root.

    The errors X, Y, Z make the copy wrong, both, and strike the root; the sign's mean is a correlator.
    """
    is_flipped = run.is_flipped.pop(event.use)
    qubit, pauli = event.root
    is_odd = anticommutes(run.digits[qubit], pauli)
    for axis, where in enumerate((is_odd & ~is_flipped, is_odd & is_flipped, ~is_odd & is_flipped)):
        run.scale(columns.correlator(event.use, axis), where)


def _tabulate(run: _Run) -> Move | None:
    """Return the table of a run, or None where it changes nothing."""
    if run.is_empty:
        return None
    rows = string_ids(run.digits)
    copies = tuple(use for use in run.bits)
    for place, use in enumerate(copies):
        rows = rows + (run.bits[use].astype(np.int64) << place) * 4**run.n_qubits
    after = _space_of(rows, run, copies)
    row = rows if after.is_full else _positions(after.ids, rows)
    classes, number = _classify(run)
    return Move(
        backward=_table(row, run.column, number, after.ids.size),
        forward=_table(run.column, row, number, run.space.ids.size),
        classes=classes,
        rotation=run.rotation,
        before=run.space,
        after=after,
    )


def _space_of(rows: IdArray, run: _Run, copies: tuple[int, ...]) -> Space:
    # A set that only moves keeps its order, so that no entry changes its place.
    ids = np.unique(rows) if run.is_doubled else rows
    full = full_space(run.n_qubits, copies)
    if run.space.is_full or DENSE_PART * ids.size >= full.n_strings:
        return full
    return Space(ids, run.n_qubits, copies)


def _positions(ids: IdArray, wanted: IdArray) -> IdArray:
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _classify(run: _Run) -> tuple[Classes, IntArray]:
    """Return the distinct coefficients and the number of each entry's."""
    columns = tuple(sorted(run.exponents))
    factors = [run.is_negative.astype(np.int64), run.trig.astype(np.int64)]
    factors += [run.exponents[column].astype(np.int64) for column in columns]
    key, n_keys = np.zeros(run.column.size, dtype=np.int64), 1
    for values in factors:
        base = int(values.max(initial=0)) + 1
        if n_keys * base >= _MOST_KEYS:
            distinct, key = np.unique(key, return_inverse=True)
            n_keys = distinct.size
        key, n_keys = key * base + values, n_keys * base
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    sign = np.concatenate([[0], np.where(run.is_negative[first], -1, 1)]).astype(np.int8)
    trig = np.concatenate([[ONE], run.trig[first]]).astype(np.int8)
    exponents = np.zeros((len(sign), len(columns)), dtype=np.int16)
    for place, column in enumerate(columns):
        exponents[1:, place] = run.exponents[column][first]
    return Classes(sign, trig, exponents, columns), (number + 1).astype(np.int32)


def _table(target: IdArray, source: IdArray, number: IntArray, size: int) -> Table:
    """Return for each target the sources and numbers of its entries."""
    order = np.argsort(target, kind="stable")
    sorted_target = target[order]
    rank = np.arange(order.size) - np.searchsorted(sorted_target, sorted_target)
    width = int(rank.max(initial=0)) + 1
    sources, classes = (np.zeros((width, size), dtype=np.int32) for _ in range(2))
    sources[rank, sorted_target], classes[rank, sorted_target] = source[order], number[order]
    stays = width == 1 and source.size == size and np.array_equal(sources[0], np.arange(size))
    return Table(None if stays else sources, classes)
