"""What the exact engine costs: floating-point operations and memory, predicted from the steps of the program.

Up to eight qubits the program itself is counted, which is compiled then for the engine too. For more, the strings that
each observable can become are bounded stage by stage, without compiling.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ceas.learning.circuits import Circuit
from ceas.learning.encoding import visible_digits
from ceas.learning.events import Event, Stage, list_events, schedule, split_events
from ceas.learning.moves import Move
from ceas.learning.partition import Partition
from ceas.learning.program import Item, Loop, Step, Turn, choose_samples, compile_program
from ceas.learning.steps import SHORT_ROW

__all__ = ["EngineCost", "Expense", "block_size", "chunk_size", "engine_cost"]

# Programs of more qubits are estimated without being compiled.
_MOST_COUNTED = 8
# Memory that one block of learners, or one chunk of samples that are evolved each, may take.
BLOCK_BYTES = 2**27
CHUNK_BYTES = 2**27
# Arrays as large as the state that are alive at a time, besides those that are kept.
_ALIVE = 2


class Expense(NamedTuple):
    """Floating-point operations, and bytes of temporary arrays at their peak."""

    flops: float
    bytes: float


class EngineCost(NamedTuple):
    """Cost of one call.

    Attributes:
        expectations: Cost of expectation values.
        gradient: Cost of losses and gradients.
    """

    expectations: Expense
    gradient: Expense


class _Size(NamedTuple):
    """Size of one segment, in strings.

    Attributes:
        largest: Strings of the largest state.
        flops: Operations per row and learner to carry a state through it once.
        kept: Strings of states that are kept for the derivatives.
        factors: Strings whose factors are kept.
        copied: Numbers of the matrices that are copied for many strings.
    """

    largest: float
    flops: float
    kept: float
    factors: float
    copied: float


def engine_cost(
    circuit: Circuit,
    partition: Partition,
    *,
    n_learners: int,
    n_samples: int,
    n_observables: int,
    has_relaxation: bool = False,
    dtype: DTypeLike = np.float32,
) -> EngineCost:
    """Predict what `expectations` and `loss_and_gradient` cost, within about a factor of two.

    Args:
        circuit: The circuit.
        partition: Its partition.
        n_learners: Number of learners with own noise.
        n_samples: Samples of each.
        n_observables: Measured qubits, taken to be the first.
        has_relaxation: Whether qubits relax.
        dtype: float32 or float64.
    """
    own, sampled = _sizes(circuit, partition, n_observables, has_relaxation=has_relaxation)
    width = np.dtype(dtype).itemsize
    learners = min(n_learners, _fitting(BLOCK_BYTES, _own_bytes(own, n_observables, width)))
    rows = n_observables * learners
    passes = n_learners / learners
    n_visible = float(np.prod([len(digits) for digits in visible_digits(circuit)]))
    flops = own.flops * rows
    forward = _ALIVE * own.largest * rows + own.factors * learners + (own.copied if rows > SHORT_ROW else 0)
    backward = forward + own.kept * rows
    if sampled is None:
        meeting = 2 * n_visible * n_samples * rows
        return EngineCost(
            Expense(passes * (flops + meeting), width * (forward + n_visible * rows)),
            Expense(passes * (3 * flops + 2 * meeting), width * (backward + n_visible * rows)),
        )
    chunk = min(n_samples, _fitting(CHUNK_BYTES, width * learners * (sampled.kept + 2 * _ALIVE * sampled.largest)))
    states = n_samples * learners
    carried = sampled.flops * states + 2 * sampled.largest * n_samples * rows
    alive = 2 * _ALIVE * sampled.largest * chunk * learners + sampled.factors * learners
    return EngineCost(
        Expense(passes * (flops + carried), width * (forward + alive)),
        Expense(
            passes * (3 * flops + 4 * carried),
            width * (backward + alive + sampled.kept * chunk * learners),
        ),
    )


def block_size(
    circuit: Circuit, partition: Partition, n_observables: int, *, has_relaxation: bool, itemsize: int
) -> int:
    """Return how many learners are worked on at a time."""
    own, _ = _sizes(circuit, partition, n_observables, has_relaxation=has_relaxation)
    return _fitting(BLOCK_BYTES, _own_bytes(own, n_observables, itemsize))


def chunk_size(items: Iterable[Item], n_qubits: int, n_learners: int, itemsize: int) -> int:
    """Return how many samples are evolved at a time through the steps before their last gate."""
    size = _size_of(_unrolled(items), 4.0**n_qubits, n_qubits)
    return _fitting(CHUNK_BYTES, itemsize * n_learners * (size.kept + 2 * _ALIVE * size.largest))


def _fitting(budget: float, size: float) -> int:
    return max(1, int(budget // max(size, 1)))


def _own_bytes(own: _Size, n_observables: int, width: int) -> float:
    """Return the bytes of one learner."""
    return width * ((_ALIVE * own.largest + own.kept) * n_observables + own.factors)


def _sizes(
    circuit: Circuit, partition: Partition, n_observables: int, *, has_relaxation: bool
) -> tuple[_Size, _Size | None]:
    """Return the sizes of what is behind the samples' last gate, and of what is run for every sample, if anything."""
    samples = choose_samples(circuit, partition, has_states=False)
    n_strings = 4.0**circuit.n_qubits
    if circuit.n_qubits > _MOST_COUNTED:
        return _assumed_sizes(
            circuit, partition, n_observables, is_sampled=samples == "rows", has_relaxation=has_relaxation
        )
    program = compile_program(
        circuit,
        partition,
        samples=samples,
        has_relaxation=has_relaxation,
        observables=tuple(range(min(n_observables, circuit.n_qubits))),
    )
    own = _size_of(_unrolled(program.own.items), program.own.before.ids.size, circuit.n_qubits)
    if program.sampled is None:
        return own, None
    return own, _size_of(_unrolled(program.sampled.items), n_strings, circuit.n_qubits)


def _unrolled(items: Iterable[Item], copies: int = 1) -> Iterator[tuple[Step, int]]:
    """Yield all steps, and how many copies there are of what each keeps: loops gather it in a second array."""
    for item in items:
        if isinstance(item, Loop):
            for body in item.repeats:
                yield from _unrolled(body, 2)
        else:
            yield item, copies


def _size_of(steps: Iterable[tuple[Step, int]], start: float, n_qubits: int) -> _Size:
    largest, flops, kept, copied = start, 0.0, 0.0, 0.0
    tables: dict[int, float] = {}
    for step, copies in steps:
        if isinstance(step, Move):
            before, after = step.before.ids.size, step.after.ids.size
            flops += 2 * step.backward.classes.size
            if step.rotation >= 0:
                kept += copies * before
            else:
                # A table that all repetitions of a loop share is not gathered.
                tables[id(step.classes)] = float(after if id(step.classes) in tables else after * copies)
            largest = max(largest, before, after)
        elif isinstance(step, Turn):
            # What a turn leaves is kept in front of it where it is over few strings, else behind.
            is_dense = step.sparse is None
            size = float(step.before.n_strings if is_dense else step.after.ids.size)
            flops += 2 * size * sum(4.0**group.n_qubits for group in step.groups)
            kept += 2 * size if step.is_last else copies * (step.before.ids.size if is_dense else size)
            copied = max(copied, _copied(n_qubits) if is_dense else 0.0)
            largest = max(largest, size)
        else:
            flops += step.space.ids.size / 2
    return _Size(largest, flops, kept, sum(tables.values()), copied)


def _copied(n_qubits: int) -> float:
    """Return the numbers of the copies of the last group's matrix."""
    return 256 * 4.0 ** (n_qubits - 2) if n_qubits > 1 else 16.0


def _assumed_sizes(
    circuit: Circuit, partition: Partition, n_observables: int, *, is_sampled: bool, has_relaxation: bool
) -> tuple[_Size, _Size | None]:
    events = list_events(circuit, partition, has_relaxation=has_relaxation)
    rotations = [circuit.gates[index] for index in circuit.rotations]
    before, after = split_events(events, is_sampled=lambda r: is_sampled and bool(rotations[r].features))
    seen = [_Seen(z=1 << qubit) for qubit in range(n_observables)]
    own = _size_of_stages(schedule(after), circuit.n_qubits, seen)
    if not is_sampled:
        return own, None
    everything = (1 << circuit.n_qubits) - 1
    full = _Seen(x=everything, z=everything, n_strings=4.0**circuit.n_qubits)
    return own, _size_of_stages(schedule(before), circuit.n_qubits, [full])


@dataclass(slots=True)
class _Seen:
    """What an observable may have become: qubits on which there may be X or Y, and Z or Y; and of how many strings."""

    x: int = 0
    z: int = 0
    n_strings: float = 1.0

    @property
    def support(self) -> int:
        return self.x | self.z

    def move(self, event: Event) -> None:
        """Go backwards through a gate of two qubits."""
        masks = [1 << qubit for qubit in event.qubits]
        if len(masks) < 2 or not any(self.support & mask for mask in masks):
            return
        first, second = masks
        if event.gate == "cnot":
            self.x |= second * bool(self.x & first)
            self.z |= first * bool(self.z & second)
        elif event.gate == "cz":
            self.z |= second * bool(self.x & first) | first * bool(self.x & second)
        elif event.gate == "swap":
            self.x, self.z = (_swapped(bits, first, second) for bits in (self.x, self.z))
        else:
            # A rotation; each string may become two.
            self.x, self.z = self.x | first | second, self.z | first | second
            self.n_strings = min(2 * self.n_strings, 4.0 ** self.support.bit_count())

    def turn(self, mask: int) -> None:
        """Go backwards through turns of single qubits: each X, Y or Z may become any."""
        turned = self.support & mask
        self.x, self.z = self.x | turned, self.z | turned
        self.n_strings = min(self.n_strings * 3.0 ** turned.bit_count(), 4.0 ** self.support.bit_count())


def _swapped(bits: int, first: int, second: int) -> int:
    return bits ^ (first | second) if bool(bits & first) != bool(bits & second) else bits


def _size_of_stages(stages: list[Stage], n_qubits: int, seen: list[_Seen]) -> _Size:
    """Count at most the strings that observables become, as if rotations left none of the possible ones out."""

    def union() -> int:
        return reduce(or_, (one.support for one in seen), 0)

    def n_strings() -> float:
        return min(sum(one.n_strings for one in seen), 4.0 ** union().bit_count())

    size = _Size(n_strings(), 0.0, 0.0, 0.0, _copied(n_qubits))
    for stage in reversed(stages):
        for event in reversed(stage.moves):
            for one in seen:
                one.move(event)
        strings = n_strings()
        n_mixed = sum(event.kind == "turn" for event in stage.moves)
        n_fed = sum(event.kind == "feed" for event in stage.moves)
        flops = strings * (4.0 * n_mixed + 2.0 * bool(stage.moves) + n_fed)
        kept, factors = 2 * strings * n_mixed, strings * max(n_fed, bool(stage.moves))
        mask = sum(1 << qubit for qubit in stage.turns)
        for one in seen:
            one.turn(mask)
        strings = n_strings()
        n_turned = (mask & union()).bit_count()
        flops, kept = flops + 16.0 * strings * n_turned, kept + 2 * strings * bool(n_turned)
        largest = max(size.largest, strings)
        size = _Size(largest, size.flops + flops, size.kept + kept, size.factors + factors, size.copied)
    return size
