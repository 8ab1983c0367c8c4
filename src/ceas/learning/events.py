"""Circuits as lists of events (gates, errors, uses of pairs), split where samples stop to matter, and cut into stages.

A stage is turns of single qubits, which the engine joins to one small matrix per group of qubits, then moves, which act
on the strings one by one. Few stages mean few passes over the strings; so events that are ready are taken greedily,
moves before turns.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ceas.learning.circuits import ROTATIONS, Circuit, Gate
from ceas.learning.partition import Partition, Teledata, Telegate
from ceas.learning.paulis import pauli_digit

__all__ = ["Columns", "Event", "Stage", "list_events", "schedule", "split_events"]

EventKind = Literal["turn", "clifford", "scale", "damp", "feed", "channel", "open", "close"]


class Event(NamedTuple):
    """Something that happens to some qubits.

    Attributes:
        kind: `"turn"`: a rotation; `"clifford"`; `"scale"`: depolarising, X, Y and Z by one rate; `"damp"`: X and Y by
            one rate, Z by the next; `"feed"`: Z feeds I by one rate (in the Heisenberg picture); `"channel"`: the Pauli
            error of a pair on a qubit; `"open"` and `"close"`: a pair whose copy may be wrong begins and ends to serve.
        qubits: Qubits it acts on; for `"open"` the root.
        paulis: Digits of a rotation's axis, or of the error that a served Clifford gate gets from a wrong copy, on each
            of its qubits; of the root's error for `"open"`.
        gate: Kind of a Clifford gate.
        number: Rotation of the circuit, or column of the rates, -1 for none.
        use: Pair that serves it, -1 for none.
        root: Qubit that the pair copies, and the digit of the basis.
    """

    kind: EventKind
    qubits: tuple[int, ...]
    paulis: tuple[int, ...] = ()
    gate: str = ""
    number: int = -1
    use: int = -1
    root: tuple[int, int] = (-1, 0)


@dataclass(slots=True)
class Stage:
    """Turns by qubit, then moves; both in the order of the circuit."""

    turns: dict[int, list[Event]] = field(default_factory=dict)
    moves: list[Event] = field(default_factory=list)


class Columns(NamedTuple):
    """Where each rate stands among the rates of a learner.

    One-qubit depolarising of each QPU; two-qubit depolarising of each; correlators x, y, z of each pair; weights of the
    four branches of each pair's copy; relaxation of each QPU after gates of one and two qubits.
    """

    n_qpus: int
    n_pairs: int

    def depolarising(self, qpu: int, n_gate_qubits: int) -> int:
        """Return the column of what an X, Y or Z keeps."""
        return qpu + (n_gate_qubits - 1) * self.n_qpus

    def correlator(self, use: int, axis: int) -> int:
        """Return the column of a pair's correlator about X, Y or Z (0, 1, 2)."""
        return 2 * self.n_qpus + 3 * use + axis

    def branch(self, use: int, *, is_wrong: bool, is_odd: bool) -> int:
        """Return the column of a right or wrong copy's weight on strings that the root's error leaves or flips."""
        return 2 * self.n_qpus + 3 * self.n_pairs + 4 * use + 2 * is_wrong + is_odd

    def relaxation(self, qpu: int, n_gate_qubits: int) -> int:
        """Return the column of the factor of X and Y; that of Z and what Z feeds I follow it."""
        return 2 * self.n_qpus + 7 * self.n_pairs + 3 * (2 * qpu + n_gate_qubits - 1)


def list_events(
    circuit: Circuit, partition: Partition, *, has_relaxation: bool, branched: frozenset[int] = frozenset()
) -> list[Event]:
    """Return all events of a noisy circuit in order.

    Pairs in `branched` are followed on two branches, right and wrong copy; the moves of the others carry signs.
    """
    columns = Columns(partition.n_qpus, partition.pairs_per_shot)
    rotation_of = {gate: rotation for rotation, gate in enumerate(circuit.rotations)}
    served = {gate: use for use, what in enumerate(partition.uses) if isinstance(what, Telegate) for gate in what.gates}
    events: list[Event] = []
    # Depolarising commutes with what else happens to its qubit alone, so it waits and lets turns join.
    waiting: dict[int, list[Event]] = defaultdict(list)

    def flush(qubits: Iterable[int]) -> None:
        for qubit in qubits:
            events.extend(waiting.pop(qubit, ()))

    for index, gate in enumerate(circuit.gates):
        for event in _opening(partition, index, branched):
            flush(event.qubits)
            events.append(event)
        if len(gate.qubits) > 1:
            flush(gate.qubits)
        use = served.get(index, -1)
        events.append(_gate_event(gate, rotation_of.get(index, -1), partition, use))
        if circuit.has_error[index]:
            for qubit, qpu in zip(gate.qubits, partition.gate_qpus[index], strict=True):
                loss = Event("scale", (qubit,), number=columns.depolarising(qpu, len(gate.qubits)))
                if has_relaxation:
                    first = columns.relaxation(qpu, len(gate.qubits))
                    events += [loss, Event("damp", (qubit,), number=first), Event("feed", (qubit,), number=first + 2)]
                else:
                    waiting[qubit].append(loss)
        if use in branched and index == _telegate(partition, use).gates[-1]:
            events.append(Event("close", (), use=use))
    for event in _opening(partition, len(circuit.gates), branched):
        flush(event.qubits)
        events.append(event)
    flush(range(circuit.n_qubits))
    return events


def split_events(events: Sequence[Event], *, is_sampled: Callable[[int], bool]) -> tuple[list[Event], list[Event]]:
    """Split events into those that some sample-dependent rotation comes after or is, and the others.

    Args:
        events: All events in order.
        is_sampled: Whether the angle of a rotation, by its index, depends on the sample.
    """
    blocked: set[tuple[str, int]] = set()
    before, after = [], []
    for event in reversed(events):
        resources = set(_resources(event))
        if (event.kind == "turn" and is_sampled(event.number)) or resources & blocked:
            blocked |= resources
            before.append(event)
        else:
            after.append(event)
    return before[::-1], after[::-1]


def schedule(events: Sequence[Event]) -> list[Stage]:
    """Cut events into stages; each event keeps its place among those that share a qubit or a copy with it."""
    queues: dict[tuple[str, int], deque[int]] = defaultdict(deque)
    for position, event in enumerate(events):
        for resource in _resources(event):
            queues[resource].append(position)
    heads = {position for queue in queues.values() for position in [queue[0]]}

    def take(wanted: Callable[[Event], bool]) -> Iterator[Event]:
        """Take events of a class in order for as long as any is ready."""
        while True:
            ready = sorted(p for p in heads if wanted(events[p]) and _is_ready(events[p], p, queues))
            if not ready:
                return
            for position in ready:
                heads.discard(position)
                for resource in _resources(events[position]):
                    queues[resource].popleft()
                    if queues[resource]:
                        heads.add(queues[resource][0])
                yield events[position]

    stages: list[Stage] = []
    while heads:
        stage = Stage()
        for event in take(_is_local):
            stage.turns.setdefault(event.qubits[0], []).append(event)
        count = -1
        while count != len(stage.moves):
            count = len(stage.moves)
            for wanted in _MOVE_CLASSES:
                stage.moves.extend(take(wanted))
        stages.append(stage)
    return stages


def _is_local(event: Event) -> bool:
    return event.kind in {"turn", "clifford"} and len(event.qubits) == 1


def _is_single(event: Event) -> bool:
    """Tell whether a string stays a single string."""
    return event.kind in {"scale", "damp", "channel"} or (event.kind == "clifford" and len(event.qubits) == 2)


_MOVE_CLASSES: tuple[Callable[[Event], bool], ...] = (
    _is_single,
    lambda event: event.kind == "feed",
    lambda event: event.kind in {"open", "close"} or (event.kind == "turn" and len(event.qubits) == 2),
)


def _is_ready(event: Event, position: int, queues: dict[tuple[str, int], deque[int]]) -> bool:
    return all(queues[resource][0] == position for resource in _resources(event))


def _resources(event: Event) -> Iterator[tuple[str, int]]:
    """Yield what an event acts on: qubits, and the copy of the pair that serves it."""
    for qubit in event.qubits:
        yield "qubit", qubit
    if event.use >= 0 and event.kind != "channel":
        yield "copy", event.use


def _gate_event(gate: Gate, rotation: int, partition: Partition, use: int) -> Event:
    root = (-1, 0)
    added: tuple[int, ...] = ()
    if use >= 0:
        telegate = _telegate(partition, use)
        root, added = (telegate.root, pauli_digit(telegate.basis)), _added_errors(gate, telegate)
    if gate.is_rotation:
        axis = tuple(pauli_digit(letter) for letter in ROTATIONS[gate.kind])
        return Event("turn", gate.qubits, axis, number=rotation, use=use, root=root)
    return Event("clifford", gate.qubits, added, gate=gate.kind, use=use, root=root)


def _added_errors(gate: Gate, telegate: Telegate) -> tuple[int, ...]:
    """Return the digits of what a wrong copy adds behind a gate: X for the target of a CNOT, else Z."""
    error = pauli_digit("X" if gate.kind == "cnot" and telegate.basis == "Z" else "Z")
    return tuple(0 if qubit == telegate.root else error for qubit in gate.qubits)


def _opening(partition: Partition, gate: int, branched: frozenset[int]) -> Iterator[Event]:
    """Yield what pairs do before a gate."""
    for use, what in enumerate(partition.uses):
        if isinstance(what, Teledata):
            if what.before == gate:
                yield Event("channel", (what.qubit,), use=use)
        elif what.gates[0] == gate and use in branched:
            yield Event("open", (what.root,), (pauli_digit(what.basis),), use=use)


def _telegate(partition: Partition, use: int) -> Telegate:
    what = partition.uses[use]
    assert isinstance(what, Telegate)
    return what
