"""Where the qubits of a circuit live, if they stay there: the homes that need the fewest pairs.

All ways to spread the qubits are tried while they are few (`MOST_TRIED`: up to 16 qubits over 2 processors, QPUs), so
the homes are optimal; beyond, passes of Fiduccia and Mattheyses start from several of them. Either way the objective is
the exact number of pairs (`ceas.learning.cuts`).

Sources: Fiduccia and Mattheyses, DAC 1982; Andres-Martinez and Heunen, PRA 100, 032308, 2019 (cuts of circuits as
partitions of a hypergraph).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.cuts import blocks_of, is_served_by_copy, pairs_of_block

__all__ = ["Cut", "Move", "best_homes", "default_homes", "ranked_homes", "visits"]

MOST_TRIED = 7000
_N_RANDOM_STARTS = 10


class Move(NamedTuple):
    """A qubit that moves before a gate, from and to a QPU."""

    qubit: int
    before: int
    link: tuple[int, int]


class Cut(NamedTuple):
    """QPU of each qubit at first, its moves, the pairs of a shot, and whether fewer are impossible for certain."""

    owner: tuple[int, ...]
    moves: tuple[Move, ...]
    pairs: int
    is_optimal: bool


def default_homes(n_qubits: int, n_qpus: int) -> tuple[int, ...]:
    """Return runs of neighbouring qubits as equal as possible, the longer ones first."""
    return tuple(qpu for qpu, part in enumerate(np.array_split(np.arange(n_qubits), n_qpus)) for _ in part)


@lru_cache(maxsize=256)
def best_homes(circuit: Circuit, n_qpus: int, capacity: int, sharing: bool = True) -> Cut:
    """Return the homes that need the fewest pairs; ties go to `default_homes`.

    Args:
        circuit: The circuit.
        n_qpus: Number of QPUs.
        capacity: Qubits that live on one QPU at most, at least `n_qubits / n_qpus`.
        sharing: Whether gates share copies.
    """
    ranked, is_optimal = ranked_homes(circuit, n_qpus, capacity, sharing)
    pairs, owner = ranked[0]
    return Cut(owner, visits(circuit, owner), pairs, is_optimal or pairs == 0)


def visits(circuit: Circuit, owner: tuple[int, ...]) -> tuple[Move, ...]:
    """Return the moves of the SWAPs across, which no copy serves: both qubits go over."""
    moves = []
    for index, gate in enumerate(circuit.gates):
        here, there = owner[gate.qubits[0]], owner[gate.qubits[-1]]
        if here == there or is_served_by_copy(gate):
            continue
        moves += [Move(gate.qubits[0], index, (here, there)), Move(gate.qubits[1], index, (there, here))]
    return tuple(moves)


class _PairCount:
    """The pairs of given homes, block by block, remembering what it has seen."""

    def __init__(self, circuit: Circuit, sharing: bool) -> None:
        self._blocks = blocks_of(circuit, sharing)
        self._of_qubit: list[list[int]] = [[] for _ in range(circuit.n_qubits)]
        for number, block in enumerate(self._blocks):
            for qubit in block.qubits:
                self._of_qubit[qubit].append(number)
        self._seen: dict[tuple[int, tuple[int, ...]], int] = {}

    def __call__(self, owner: Sequence[int]) -> int:
        return sum(self._pairs(number, owner) for number in range(len(self._blocks)))

    def change(self, owner: list[int], qubit: int, qpu: int) -> int:
        """Return by how much the pairs grow when one qubit changes its home."""
        numbers, home = self._of_qubit[qubit], owner[qubit]
        before = sum(self._pairs(number, owner) for number in numbers)
        owner[qubit] = qpu
        after = sum(self._pairs(number, owner) for number in numbers)
        owner[qubit] = home
        return after - before

    def _pairs(self, number: int, owner: Sequence[int]) -> int:
        block = self._blocks[number]
        qpus = tuple([owner[qubit] for qubit in block.qubits])
        found = self._seen.get((number, qpus))
        if found is None:
            found = self._seen[number, qpus] = block.times * pairs_of_block(block, qpus)
        return found


@lru_cache(maxsize=256)
def ranked_homes(
    circuit: Circuit, n_qpus: int, capacity: int, sharing: bool
) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], bool]:
    """Return homes with their pairs, the fewest first, and whether all were tried."""
    count = _PairCount(circuit, sharing)
    default = default_homes(circuit.n_qubits, n_qpus)
    every = list(islice(_all_homes(circuit.n_qubits, n_qpus, capacity), MOST_TRIED + 1))
    is_exact = len(every) <= MOST_TRIED
    if not is_exact:
        starts = _starts(circuit, n_qpus)
        every = [tuple(_refined(start, count, n_qpus, capacity)) for start in starts]
    tried = dict.fromkeys([default, *every])
    return tuple(sorted(((count(owner), owner) for owner in tried), key=lambda found: found[0])), is_exact


def _all_homes(n_qubits: int, n_qpus: int, capacity: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to spread qubits over alike QPUs, numbered by their first qubits."""
    owner: list[int] = []

    def extend() -> Iterator[tuple[int, ...]]:
        if len(owner) == n_qubits:
            yield tuple(owner)
            return
        used = max(owner, default=-1) + 1
        for qpu in range(min(used + 1, n_qpus)):
            if owner.count(qpu) < capacity:
                owner.append(qpu)
                yield from extend()
                owner.pop()

    return extend()


def _starts(circuit: Circuit, n_qpus: int) -> list[list[int]]:
    """Return homes to refine: the default ones, those along the Fiedler vector of the gates, and random ones."""
    default = np.array(default_homes(circuit.n_qubits, n_qpus))
    weights = _gate_counts(circuit)
    _, vectors = np.linalg.eigh(np.diag(weights.sum(axis=1)) - weights)
    along = np.empty_like(default)
    along[np.argsort(vectors[:, 1], kind="stable")] = default
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(default) for _ in range(_N_RANDOM_STARTS)]
    return [homes.tolist() for homes in (default, along, *shuffled)]


def _gate_counts(circuit: Circuit) -> npt.NDArray[np.float64]:
    """Return how many gates each two qubits share."""
    weights = np.zeros((circuit.n_qubits, circuit.n_qubits))
    for gate in circuit.gates:
        if len(gate.qubits) == 2:
            a, b = gate.qubits
            weights[[a, b], [b, a]] += 1
    return weights


def _refined(owner: list[int], count: _PairCount, n_qpus: int, capacity: int) -> list[int]:
    """Repeat passes, in each of which every qubit moves once, while they find fewer pairs."""
    gain = 1
    while gain > 0:
        owner, gain = _pass(owner, count, n_qpus, capacity)
    return owner


def _pass(owner: list[int], count: _PairCount, n_qpus: int, capacity: int) -> tuple[list[int], int]:
    """Move the best qubit until all have moved once, also uphill; return the best homes on the way and their gain.

    One QPU may hold one qubit too many in between, else full QPUs could not change at all.
    """
    best, current, total, gain = list(owner), list(owner), 0, 0
    held = Counter(owner)
    unmoved = set(range(len(owner)))
    while unmoved:
        crowded = [qpu for qpu in range(n_qpus) if held[qpu] > capacity]
        moves = [
            (count.change(current, qubit, qpu), qubit, qpu)
            for qubit in sorted(unmoved)
            if not crowded or current[qubit] in crowded
            for qpu in range(n_qpus)
            if qpu != current[qubit] and held[qpu] < capacity + (not crowded)
        ]
        if not moves:
            break
        change, qubit, qpu = min(moves)
        held[current[qubit]] -= 1
        held[qpu] += 1
        current[qubit] = qpu
        total += change
        unmoved.remove(qubit)
        if -total > gain and max(held.values()) <= capacity:
            best, gain = list(current), -total
    return best, gain
