"""A circuit compiled to the steps of its backward evolution, and steps that repeat folded into loops."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.encoding import encoding_gates, visible_digits, visible_strings
from ceas.learning.events import Columns, Event, Stage, list_events, schedule, split_events
from ceas.learning.moves import DENSE_PART, Feed, Move, NeedsBranchesError, Space, compile_moves, full_space
from ceas.learning.partition import Partition, Teledata, Telegate
from ceas.learning.turns import TurnTable, compile_turns, turn_pattern

__all__ = [
    "Group",
    "Item",
    "Loop",
    "Program",
    "SampleKind",
    "Segment",
    "SparseGroup",
    "Step",
    "Turn",
    "choose_samples",
    "compile_program",
]

SampleKind = Literal["features", "states", "rows"]
"""What samples are to a program: visible features, whole Pauli vectors, or evolved each through the first segment."""

IntArray = npt.NDArray[np.int32]
IdArray = npt.NDArray[np.int64]


class Group(NamedTuple):
    """Neighbouring qubits whose turns are one matrix: the first, how many, and which of its digits come out."""

    qubit: int
    n_qubits: int
    digits_out: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseGroup:
    """The turns of a group of qubits on a set of strings.

    Attributes:
        group: The group.
        digits_in: Which of its digits come in.
        gather: For each digit in and each rest of the string, where the string is; the number of strings for nowhere,
            shape (digits in, rests).
        places: For each string that comes in, its place in the flattened `gather`.
    """

    group: Group
    digits_in: tuple[int, ...]
    gather: IntArray
    places: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """The turns of all qubits of a stage.

    Attributes:
        stage: The stage.
        groups: Groups of turning qubits.
        before: Strings that come in, backwards; kept as all strings when `sparse` is None.
        after: Strings that come out.
        sparse: How a few strings are turned, group by group, or None for all strings.
        is_last: Whether only digits that samples can see come out.
    """

    stage: int
    groups: tuple[Group, ...]
    before: Space
    after: Space
    sparse: tuple[SparseGroup, ...] | None = None
    is_last: bool = False

    @property
    def signature(self) -> tuple[object, ...]:
        """What two of them must share to be the same program."""
        repeats = self.sparse is None and self.before.is_full and not self.is_last
        return ("turn", self.groups, self.before.copies) if repeats else ("turn", id(self))

    @property
    def qubits(self) -> tuple[int, ...]:
        """Qubits that turn."""
        return tuple(group.qubit + place for group in self.groups for place in range(group.n_qubits))


Step = Move | Feed | Turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loop:
    """Steps that repeat with other tables and angles: the items of every repetition."""

    repeats: tuple[tuple["Item", ...], ...]


Item = Move | Feed | Turn | Loop


class Segment(NamedTuple):
    """Part of a circuit.

    Attributes:
        items: Steps and loops of steps in the order backwards.
        turns: Tables of the turns of all its stages.
        before: Strings behind it.
        after: Strings in front of it.
    """

    items: tuple[Item, ...]
    turns: TurnTable
    before: Space
    after: Space


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """A compiled circuit.

    Attributes:
        n_qubits: Number of qubits.
        columns: Where each rate stands.
        samples: What samples are to it.
        own: The part behind the last gate that depends on samples.
        sampled: The part before, run for every sample, or None.
        visible: Strings that features are of.
        observables: Measured qubits.
    """

    n_qubits: int
    columns: Columns
    samples: SampleKind
    own: Segment
    sampled: Segment | None
    visible: IdArray
    observables: tuple[int, ...]


@lru_cache(maxsize=64)
def compile_program(
    circuit: Circuit,
    partition: Partition,
    *,
    samples: SampleKind,
    has_relaxation: bool,
    observables: tuple[int, ...] | None,
) -> Program:
    """Compile a circuit for observed qubits, or for all strings at its end where `observables` is None."""
    branched: frozenset[int] = frozenset()
    while True:
        try:
            return _compile(circuit, partition, samples, observables, has_relaxation=has_relaxation, branched=branched)
        except NeedsBranchesError as error:
            branched |= error.uses


def choose_samples(circuit: Circuit, partition: Partition, *, has_states: bool) -> SampleKind:
    """Return what samples are to a program; a qubit that is moved while it is encoded makes rows of them."""
    if has_states:
        return "states"
    gates = encoding_gates(circuit)
    if gates is None:
        return "rows"
    last = {circuit.gates[index].qubits[0]: index for index in gates}
    moved = (use for use in partition.uses if isinstance(use, Teledata))
    return "rows" if any(use.before <= last.get(use.qubit, -1) for use in moved) else "features"


def _compile(
    circuit: Circuit,
    partition: Partition,
    samples: SampleKind,
    observables: tuple[int, ...] | None,
    *,
    has_relaxation: bool,
    branched: frozenset[int],
) -> Program:
    n_qubits = circuit.n_qubits
    columns = Columns(partition.n_qpus, partition.pairs_per_shot)
    events = list_events(circuit, partition, has_relaxation=has_relaxation, branched=branched)
    n_served = {
        use: len(what.gates)
        for use, what in enumerate(partition.uses)
        if isinstance(what, Telegate) and use not in branched
    }
    before_split, events = _split(circuit, events, samples)
    digits = visible_digits(circuit) if samples == "features" else ((0, 1, 2, 3),) * n_qubits
    compiler = _Compiler(n_qubits, columns, n_served)
    start = full_space(n_qubits)
    if observables is not None:
        start = Space(np.array([3 * 4 ** (n_qubits - 1 - q) for q in observables]), n_qubits)
        distinct = tuple(dict.fromkeys(start.ids.tolist()))
        start = compiler.closest(Space(np.array(distinct, dtype=np.int64), n_qubits))
    limits = digits if samples != "rows" and observables is not None else None
    own = compiler.segment(events, start, limits)
    sampled = compiler.segment(before_split, full_space(n_qubits, own.after.copies), None) if before_split else None
    return Program(
        n_qubits=n_qubits,
        columns=columns,
        samples=samples,
        own=own,
        sampled=sampled,
        visible=visible_strings(digits),
        observables=observables or (),
    )


def _split(circuit: Circuit, events: list[Event], samples: SampleKind) -> tuple[list[Event], list[Event]]:
    if samples == "states":
        return [], events
    if samples == "features":
        encoding = set(encoding_gates(circuit) or ())
        indices = [index for index in range(len(circuit.gates)) if index in encoding]
        return [], _without_gates(circuit, events, indices)
    rotations = [circuit.gates[index] for index in circuit.rotations]
    return split_events(events, is_sampled=lambda rotation: bool(rotations[rotation].features))


def _without_gates(circuit: Circuit, events: list[Event], gates: Sequence[int]) -> list[Event]:
    """Leave out the first turns of each qubit: encoding gates come first on theirs."""
    left = dict.fromkeys(range(circuit.n_qubits), 0)
    for index in gates:
        left[circuit.gates[index].qubits[0]] += 1
    kept = []
    for event in events:
        if event.kind in {"turn", "clifford"} and len(event.qubits) == 1 and left[event.qubits[0]]:
            left[event.qubits[0]] -= 1
        else:
            kept.append(event)
    return kept


class _Compiler:
    """Compiles segments; equal tables become one object, so that loops can share them."""

    def __init__(self, n_qubits: int, columns: Columns, n_served: dict[int, int]) -> None:
        self.n_qubits = n_qubits
        self.columns = columns
        self.n_served = n_served
        self._tables: dict[tuple[bytes, ...], Move] = {}

    def _shared(self, move: Move) -> Move:
        """Return the move with the tables of an equal one before it."""
        source, classes = move.backward
        key = (
            b"" if source is None else source.tobytes(),
            classes.tobytes(),
            *(np.array(part).tobytes() for part in move.classes),
        )
        first = self._tables.setdefault(key, move)
        return replace(move, backward=first.backward, forward=first.forward, classes=first.classes)

    def closest(self, space: Space) -> Space:
        """Return all strings where the set is a large part of them."""
        is_many = DENSE_PART * space.ids.size >= space.n_strings
        return full_space(space.n_qubits, space.copies) if is_many else space

    def segment(self, events: Sequence[Event], before: Space, limits: tuple[tuple[int, ...], ...] | None) -> Segment:
        """Compile events; `limits` are the digits that can be seen in front of them, None where all are kept."""
        stages = schedule(events)
        # What samples see is chosen by the first turns, so that there are some.
        if limits is not None and not stages:
            stages = [Stage()]
        turns = compile_turns(stages, self.n_qubits)
        steps: list[Step] = []
        space = before
        for index in reversed(range(len(stages))):
            moves, space = compile_moves(stages[index].moves, space, self.columns, self.n_served)
            steps.extend(self._shared(move) if isinstance(move, Move) else move for move in moves)
            seen = limits if index == 0 else None
            qubits = sorted(stages[index].turns)
            if qubits or seen is not None:
                turn = self._turn(turns, index, qubits, space, seen)
                steps.append(turn)
                space = turn.after
        return Segment(fold(tuple(steps)), turns, before, space)

    def _turn(
        self, turns: TurnTable, stage: int, qubits: list[int], space: Space, seen: tuple[tuple[int, ...], ...] | None
    ) -> Turn:
        groups = _groups(qubits)
        sparse, after = self._sparse(turns, stage, groups, space)
        if sparse is not None:
            return Turn(stage=stage, groups=groups, before=space, after=after, sparse=sparse)
        after = full_space(self.n_qubits, space.copies)
        if seen is None:
            return Turn(stage=stage, groups=groups, before=space, after=after)
        # Each qubit is in some group here, so that the strings left come out in the order of features.
        groups = tuple(
            Group(group.qubit, group.n_qubits, tuple(visible_strings(seen[group.qubit : group.qubit + group.n_qubits])))
            for group in _groups(list(range(self.n_qubits)))
        )
        return Turn(
            stage=stage,
            groups=groups,
            before=space,
            after=Space(visible_strings(seen), self.n_qubits, space.copies),
            is_last=True,
        )

    def _sparse(
        self, turns: TurnTable, stage: int, groups: tuple[Group, ...], space: Space
    ) -> tuple[tuple[SparseGroup, ...] | None, Space]:
        """Turn a few strings group by group, while they stay few."""
        steps = []
        for group in groups:
            if space.is_full:
                return None, space
            step, space = _sparse_group(turns, stage, group, space)
            steps.append(step)
            space = self.closest(space)
        return (None, space) if space.is_full else (tuple(steps), space)


def _groups(qubits: list[int]) -> tuple[Group, ...]:
    """Pair neighbouring qubits; pairs gave the fastest products measured."""
    groups, left = [], list(qubits)
    # From the end, because the last group is the one that meets whole rows of memory.
    while left:
        size = 2 if len(left) > 1 and left[-2] == left[-1] - 1 else 1
        groups.append(Group(left[-size], size, tuple(range(4**size))))
        left = left[:-size]
    return tuple(reversed(groups))


def _sparse_group(turns: TurnTable, stage: int, group: Group, space: Space) -> tuple[SparseGroup, Space]:
    stride = 4 ** (space.n_qubits - group.qubit - group.n_qubits)
    size = 4**group.n_qubits
    digits = space.ids // stride % size
    rests = space.ids - digits * stride
    digits_in, digit_place = np.unique(digits, return_inverse=True)
    distinct, rest_place = np.unique(rests, return_inverse=True)
    pattern = np.ones((1, 1), dtype=bool)
    for qubit in range(group.qubit, group.qubit + group.n_qubits):
        pattern = np.kron(pattern, turn_pattern(turns, stage, qubit))
    digits_out = np.flatnonzero(pattern[:, digits_in].any(axis=1))
    places = digit_place * distinct.size + rest_place
    gather = np.full(digits_in.size * distinct.size, space.ids.size, dtype=np.int32)
    gather[places] = np.arange(space.ids.size)
    step = SparseGroup(
        group=group._replace(digits_out=tuple(digits_out.tolist())),
        digits_in=tuple(digits_in.tolist()),
        gather=gather.reshape(digits_in.size, distinct.size),
        places=places.astype(np.int32),
    )
    ids = np.add.outer(digits_out * stride, distinct).ravel()
    return step, Space(ids, space.n_qubits, space.copies)


def fold(steps: tuple[Step, ...]) -> tuple[Item, ...]:
    """Fold repeating steps into loops."""
    return _fold(steps)


def _fold(items: tuple[Step, ...]) -> tuple[Item, ...]:
    """Fold the repetition that shortens the program most, and what is before, inside and after it."""
    number: dict[tuple[object, ...], int] = {}
    labels = np.array([number.setdefault(item.signature, len(number)) for item in items], dtype=np.int64)
    saved, start, period, count = _best_repetition(labels)
    if saved <= 0:
        return items
    stop = start + period * count
    bodies = [items[place : place + period] for place in range(start, stop, period)]
    loop = Loop(repeats=tuple(_fold(body) for body in bodies))
    return (*_fold(items[:start]), loop, *_fold(items[stop:]))


def _best_repetition(labels: IdArray) -> tuple[int, int, int, int]:
    """Return (steps saved, start, period, count) of the best repetition; its steps are saved but for one period."""
    best = (0, 0, 0, 0)
    for period in range(1, labels.size // 2 + 1):
        equal = labels[:-period] == labels[period:]
        # Lengths of the runs of equal labels that end at each place.
        ends = np.flatnonzero(np.diff(np.concatenate([equal, [False]]).astype(np.int8)) < 0)
        starts = np.flatnonzero(np.diff(np.concatenate([[False], equal]).astype(np.int8)) > 0)
        for first, last in zip(starts, ends, strict=True):
            count = int(last - first + 1) // period + 1
            best = max(best, ((count - 1) * period, -int(first), -period, count))
    saved, start, period, count = best
    return saved, -start, -period, count
