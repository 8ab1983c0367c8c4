"""Where the qubits of a circuit live and when they move, with fewest pairs.

Before a gate across, a qubit may move to the QPU of the other and stay there, or a copy serves the gate. Dynamic
programming over the two-qubit gates, with the places of all qubits and the open copies as its state. For 2 QPUs it is
enough to move one qubit of a gate just before it, and to send back one other qubit where room is wanted: any other move
can wait until it is needed. While all states fit in `MOST_STATES` the result is optimal for 2 QPUs; beyond, and for
more QPUs, the most promising states are followed, and staying at home is kept where that is better.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.cut_search import Cut, Move, ranked_homes, visits
from ceas.learning.cuts import PAIRS_WITHOUT_COPY, Stretches, stretches_of

__all__ = ["best_moves"]

MOST_STATES = 40_000
# How much less a gate counts for the place of a qubit with each `n_qubits` gates that come before it.
_FORESIGHT = 0.5


class _Step(NamedTuple):
    """A two-qubit gate as the search sees it.

    Attributes:
        gate: Its index.
        qubits: Its qubits.
        stretches: Stretches of its qubits, or None when no copy serves it.
        is_swap: Whether it is a SWAP.
        live: Bits of the copies that later gates may use.
        ahead: What a later gate between each two qubits is expected to cost, shape (qubits, qubits).
    """

    gate: int
    qubits: tuple[int, int]
    stretches: tuple[int, int] | None
    is_swap: bool
    live: int
    ahead: npt.NDArray[np.float64]


class _State(NamedTuple):
    """The QPU of each qubit, and the open copies as bits `stretch * n_qpus + destination`."""

    places: tuple[int, ...]
    copies: int


class _Path(NamedTuple):
    """The pairs spent until a state, the state before, and the moves (qubit, from, to) in between."""

    pairs: int
    before: _State | None
    moves: tuple[tuple[int, int, int], ...]


class _Rules(NamedTuple):
    """What moves must obey: number of QPUs, qubits that one holds at most, bits of the copies of each qubit."""

    n_qpus: int
    limit: int
    copies_of: tuple[int, ...]


@lru_cache(maxsize=256)
def best_moves(circuit: Circuit, n_qpus: int, capacity: int, sharing: bool = True) -> Cut:
    """Return homes and moves that need the fewest pairs, with copies for the gates that stay across.

    A SWAP across exchanges the places of its qubits and costs nothing. Ties go to staying at home.

    Args:
        circuit: The circuit.
        n_qpus: Number of QPUs.
        capacity: Qubits that one QPU holds at first, at most. Later one more may stay in the communication qubit that
            it came to, but one QPU never holds all qubits thanks to that.
        sharing: Whether gates share copies.
    """
    ranked, is_exact = ranked_homes(circuit, n_qpus, capacity, sharing)
    pairs, owner = ranked[0]
    home = Cut(owner, visits(circuit, owner), pairs, pairs == 0)
    if pairs == 0:
        return home
    steps = _steps(circuit, n_qpus, sharing)
    stretches = stretches_of(circuit, sharing)
    limit = max(capacity, min(capacity + 1, circuit.n_qubits - 1))
    rules = _Rules(n_qpus, limit, _copies_of(stretches, circuit.n_qubits, n_qpus))
    width = max(MOST_STATES // (len(steps) * (n_qpus - 1)), 1)
    starts = [_State(owner, 0) for _, owner in ranked[:width]]
    layers: list[dict[_State, _Path]] = [dict.fromkeys(starts, _Path(0, None, ()))]
    is_exact &= len(ranked) <= width
    for step in steps:
        reached = _reached(layers[-1], step, rules, below=pairs)
        is_exact &= len(reached) <= width
        layers.append(_promising(reached, step, width))
    is_exact &= n_qpus == 2
    if not layers[-1]:
        return home._replace(is_optimal=is_exact)
    return _traced(layers, steps, is_exact)


def _steps(circuit: Circuit, n_qpus: int, sharing: bool) -> list[_Step]:
    stretches = stretches_of(circuit, sharing)
    uses = Counter(stretch for pair in stretches.of_gate.values() for stretch in pair)
    live, ahead = 0, np.zeros((circuit.n_qubits, circuit.n_qubits))
    decay = _FORESIGHT ** (1 / circuit.n_qubits)
    steps = []
    for index in reversed(range(len(circuit.gates))):
        gate = circuit.gates[index]
        if len(gate.qubits) < 2:
            continue
        a, b = gate.qubits
        ids = stretches.of_gate.get(index)
        steps.append(_Step(index, (a, b), ids, gate.kind == "swap", live, ahead))
        ahead = ahead * decay
        ahead[a, b] += 1.0 / max(uses[i] for i in ids) if ids else PAIRS_WITHOUT_COPY
        # Without sharing no copy outlives its gate.
        for stretch in (ids or ()) if sharing else ():
            live |= ((1 << n_qpus) - 1) << (stretch * n_qpus)
    return steps[::-1]


def _copies_of(stretches: Stretches, n_qubits: int, n_qpus: int) -> tuple[int, ...]:
    bits = [0] * n_qubits
    for stretch, root in enumerate(stretches.root):
        bits[root] |= ((1 << n_qpus) - 1) << (stretch * n_qpus)
    return tuple(bits)


def _reached(layer: dict[_State, _Path], step: _Step, rules: _Rules, below: int) -> dict[_State, _Path]:
    """Return the states after a gate that have spent fewer than `below` pairs, each with its best path."""
    reached: dict[_State, _Path] = {}
    for state, path in layer.items():
        for cost, places, copies, moves in _options(state, step, rules):
            spent, after = path.pairs + cost, _State(places, copies & step.live)
            if spent < below and (after not in reached or spent < reached[after].pairs):
                reached[after] = _Path(spent, state, moves)
    return reached


_Option = tuple[int, tuple[int, ...], int, tuple[tuple[int, int, int], ...]]


def _options(state: _State, step: _Step, rules: _Rules) -> Iterator[_Option]:
    """Yield each way to do a gate: its pairs, the places and copies after it, and the moves before it."""
    places, copies = state
    a, b = step.qubits
    here, there = places[a], places[b]
    if here == there:
        yield 0, places, copies, ()
        return
    if step.is_swap:
        yield 0, _placed(places, (a, there), (b, here)), copies, ()
        return
    if step.stretches is not None:
        bits = [1 << (stretch * rules.n_qpus + qpu) for stretch, qpu in zip(step.stretches, (there, here), strict=True)]
        if copies & (bits[0] | bits[1]):
            yield 0, places, copies, ()
            return
        yield from ((1, places, copies | bit, ()) for bit in bits)
    yield from _moving_options(state, step, rules)


def _moving_options(state: _State, step: _Step, rules: _Rules) -> Iterator[_Option]:
    """Yield the ways to bring a gate's qubits together."""
    places, copies = state
    a, b = step.qubits
    here, there = places[a], places[b]
    for arrivals in (((a, there),), ((b, here),), *(((a, c), (b, c)) for c in range(rules.n_qpus))):
        goal = arrivals[0][1]
        if len(arrivals) == 2 and goal in (here, there):
            continue
        excess = places.count(goal) + len(arrivals) - rules.limit
        if excess > 1:
            continue
        leaving: list[tuple[tuple[int, int], ...]] = [()]
        if excess == 1:
            leaving = [((qubit, qpu),) for qubit, qpu in _leavers(places, goal, (a, b), arrivals[0][0], rules)]
        for leave in leaving:
            changes = (*leave, *arrivals)
            kept = copies
            for qubit, _ in changes:
                kept &= ~rules.copies_of[qubit]
            moves = tuple((qubit, places[qubit], qpu) for qubit, qpu in changes)
            yield len(changes), _placed(places, *changes), kept, moves


def _leavers(
    places: tuple[int, ...], full: int, gate: tuple[int, int], arriving: int, rules: _Rules
) -> Iterator[tuple[int, int]]:
    """Yield the qubits that can make room on a full QPU, each with a QPU that it can go to."""
    for qubit, place in enumerate(places):
        if place == full and qubit not in gate:
            for qpu in range(rules.n_qpus):
                if qpu != full and (qpu == places[arriving] or places.count(qpu) < rules.limit):
                    yield qubit, qpu


def _placed(places: tuple[int, ...], *changes: tuple[int, int]) -> tuple[int, ...]:
    changed = list(places)
    for qubit, qpu in changes:
        changed[qubit] = qpu
    return tuple(changed)


def _promising(reached: dict[_State, _Path], step: _Step, width: int) -> dict[_State, _Path]:
    """Keep the states whose pairs, spent and expected, are fewest."""
    if len(reached) <= width:
        return reached
    places = np.array([state.places for state in reached])
    apart = places[:, :, None] != places[:, None, :]
    expected = np.einsum("sqr,qr->s", apart, step.ahead)
    spent = np.array([path.pairs for path in reached.values()])
    kept = set(np.argsort(spent + expected, kind="stable")[:width].tolist())
    return {state: path for number, (state, path) in enumerate(reached.items()) if number in kept}


def _traced(layers: list[dict[_State, _Path]], steps: list[_Step], is_optimal: bool) -> Cut:
    """Follow the path with the fewest pairs back to its start."""
    state, path = min(layers[-1].items(), key=lambda item: item[1].pairs)
    pairs, moves = path.pairs, []
    for layer, step in zip(layers[:0:-1], steps[::-1], strict=True):
        path = layer[state]
        moves += [Move(qubit, step.gate, (start, goal)) for qubit, start, goal in reversed(path.moves)]
        assert path.before is not None
        state = path.before
    return Cut(state.places, tuple(reversed(moves)), pairs, is_optimal)
