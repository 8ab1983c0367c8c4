"""Fewest copies of qubits that serve the gates across a cut.

A *stretch* is a longest run of a qubit's gates that leave it alone in one Pauli basis: one pair copies the qubit to
another processor (QPU) for all gates of a stretch that go there. A gate across the cut can be served by a copy of
either of its qubits, so the gates are the edges of a graph whose vertices are stretches, each with the QPU that the
copy is sent to, and the fewest pairs are its minimum vertex cover. Edges between two given QPUs join roots of the one
to roots of the other, so the graph is bipartite and the cover is exact (Koenig), whatever the number of QPUs. A copy is
always given back, and each gate uses one copy.

Gates commute as far as this needs: gates on other qubits never end a stretch, nor do diagonal gates on the root when
the copy is in basis Z, so the gates of several open copies may take turns.

Sources: Andres-Martinez and Heunen, PRA 100, 032308, 2019 (hyperedges of the partitioned hypergraph are stretches);
Yimsiriwattana and Lomonaco, quant-ph/0402148 (one copy for many gates).
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

from ceas.learning.circuits import Circuit, Gate

__all__ = ["Block", "Copy", "Crossing", "Stretches", "blocks_of", "fewest_copies", "pairs_of_block", "stretches_of"]

Basis = Literal["Z", "X", "Y"]
StretchKey = tuple[int, int]
"""Number of a stretch, and how often its root had moved: a copy ends where its root moves."""
_Vertex = tuple[StretchKey, int]
V = TypeVar("V", bound=Hashable)

_KEPT: dict[str, tuple[Basis | None, ...]] = {
    **dict.fromkeys(("rz", "z", "s", "sdg"), ("Z",)),
    **dict.fromkeys(("rx", "x", "sx", "sxdg"), ("X",)),
    **dict.fromkeys(("ry", "y"), ("Y",)),
    "h": (None,),
    "rxx": ("X", "X"),
    "ryy": ("Y", "Y"),
    "rzz": ("Z", "Z"),
    "cnot": ("Z", "X"),
    "cz": ("Z", "Z"),
    "swap": (None, None),
}
"""Basis in which a gate leaves each of its qubits alone, of the three that copies have."""

PAIRS_WITHOUT_COPY = 2
"""Pairs of a SWAP across, which no copy serves: both qubits are sent over."""


class Stretches(NamedTuple):
    """The stretches of all qubits.

    Attributes:
        root: Qubit of each stretch.
        basis: Basis of each stretch.
        of_gate: For each two-qubit gate that a copy can serve, the stretches of its two qubits.
    """

    root: tuple[int, ...]
    basis: tuple[Basis, ...]
    of_gate: Mapping[int, tuple[int, int]]


class Crossing(NamedTuple):
    """A gate across the cut: its index, and for each of its qubits the stretch and the QPU."""

    gate: int
    stretches: tuple[StretchKey, StretchKey]
    qpus: tuple[int, int]


class Copy(NamedTuple):
    """A copy of a stretch's root: the stretch, the QPUs from and to which it goes, and the gates it serves."""

    stretch: StretchKey
    link: tuple[int, int]
    gates: tuple[int, ...]


class Block(NamedTuple):
    """Two-qubit gates that share no stretch with other gates, and how often such a block occurs in the circuit.

    Attributes:
        qubits: Qubits of the gates.
        gates: For each gate, the positions of its qubits in `qubits` and two numbers of stretches; no numbers for a
            gate that no copy serves, which is a block of its own.
        times: Number of such blocks.
    """

    qubits: tuple[int, ...]
    gates: tuple[tuple[int, ...], ...]
    times: int


@lru_cache(maxsize=64)
def stretches_of(circuit: Circuit, sharing: bool = True) -> Stretches:
    """Return the stretches of a circuit; without sharing, each gate is a stretch of each of its qubits."""
    root: list[int] = []
    basis: list[Basis] = []
    of_gate: dict[int, tuple[int, int]] = {}
    current: dict[int, int] = {}
    for index, gate in enumerate(circuit.gates):
        for qubit, kept in zip(gate.qubits, _KEPT[gate.kind], strict=True):
            if len(gate.qubits) == 1:
                if qubit in current and basis[current[qubit]] != kept:
                    del current[qubit]
            elif kept is None:
                current.pop(qubit, None)
            elif not sharing or qubit not in current or basis[current[qubit]] != kept:
                current[qubit] = len(root)
                root.append(qubit)
                basis.append(kept)
        if len(gate.qubits) == 2 and is_served_by_copy(gate):
            of_gate[index] = (current[gate.qubits[0]], current[gate.qubits[1]])
    return Stretches(tuple(root), tuple(basis), of_gate)


def is_served_by_copy(gate: Gate) -> bool:
    """Return whether a copy of one of its qubits can serve a two-qubit gate."""
    return _KEPT[gate.kind] != (None, None)


def fewest_copies(crossings: Sequence[Crossing]) -> list[Copy]:
    """Return fewest copies that serve gates across, in the order of their first gates.

    Where one gate stands alone, its first qubit is copied; else ties go to the side of the first gate's first qubit.

    Args:
        crossings: Gates that copies can serve, in order; a stretch has one QPU.
    """
    ends = [_ends(crossing) for crossing in crossings]
    served: dict[_Vertex, list[int]] = {}
    for edges in _connected(ends):
        # The first gate's first qubit is on the left, and so is all that shares its QPU.
        home = crossings[edges[0]].qpus[0]
        joined = [ends[e] if crossings[e].qpus[0] == home else ends[e][::-1] for e in edges]
        cover = _vertex_cover(joined)
        for edge, (left, right) in zip(edges, joined, strict=True):
            served.setdefault(left if left in cover else right, []).append(edge)
    copies = []
    for (stretch, destination), edges in served.items():
        crossing = crossings[edges[0]]
        home = crossing.qpus[crossing.stretches.index(stretch)]
        copies.append(Copy(stretch, (home, destination), tuple(crossings[edge].gate for edge in edges)))
    return sorted(copies, key=lambda copy: copy.gates)


def blocks_of(circuit: Circuit, sharing: bool = True) -> tuple[Block, ...]:
    """Split the two-qubit gates into blocks that need pairs independently; equal blocks are counted once."""
    stretches = stretches_of(circuit, sharing)
    served = list(stretches.of_gate)
    found: Counter[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]] = Counter()
    for edges in _connected([stretches.of_gate[index] for index in served]):
        gates = [(circuit.gates[served[e]].qubits, stretches.of_gate[served[e]]) for e in edges]
        qubits = tuple(sorted({qubit for pair, _ in gates for qubit in pair}))
        number: dict[int, int] = {}
        rows = [
            (*map(qubits.index, pair), *(number.setdefault(stretch, len(number)) for stretch in ids))
            for pair, ids in gates
        ]
        found[qubits, tuple(rows)] += 1
    for gate in circuit.gates:
        if len(gate.qubits) == 2 and not is_served_by_copy(gate):
            found[tuple(sorted(gate.qubits)), ((0, 1),)] += 1
    return tuple(Block(qubits, gates, times) for (qubits, gates), times in found.items())


def pairs_of_block(block: Block, qpus: tuple[int, ...]) -> int:
    """Return the fewest pairs of one block whose qubits stay on these QPUs."""
    edges = []
    for first, second, *ids in block.gates:
        here, there = qpus[first], qpus[second]
        if here == there:
            continue
        if not ids:
            return PAIRS_WITHOUT_COPY
        edge = ((ids[0], there), (ids[1], here))
        edges.append(edge if here < there else edge[::-1])
    return len(_matching(edges)) if len(edges) > 1 else len(edges)


def _ends(crossing: Crossing) -> tuple[_Vertex, _Vertex]:
    (a, b), (here, there) = crossing.stretches, crossing.qpus
    return (a, there), (b, here)


def _connected(edges: Sequence[tuple[V, V]]) -> list[list[int]]:
    """Return the connected components of a graph as lists of its edges' indices, by their first edges."""
    parent: dict[V, V] = {}

    def leader(vertex: V) -> V:
        parent.setdefault(vertex, vertex)
        while parent[vertex] != vertex:
            parent[vertex] = parent[parent[vertex]]
            vertex = parent[vertex]
        return vertex

    for a, b in edges:
        parent[leader(a)] = leader(b)
    components: dict[V, list[int]] = {}
    for index, (a, _) in enumerate(edges):
        components.setdefault(leader(a), []).append(index)
    return list(components.values())


def _neighbours(edges: Iterable[tuple[V, V]]) -> dict[V, list[V]]:
    neighbours: dict[V, list[V]] = {}
    for left, right in edges:
        neighbours.setdefault(left, []).append(right)
    return neighbours


def _matching(edges: Iterable[tuple[V, V]]) -> dict[V, V]:
    """Return a maximum matching of a bipartite graph: the partner of each matched right vertex."""
    neighbours = _neighbours(edges)
    left_of: dict[V, V] = {}
    right_of: dict[V, V] = {}
    for start in neighbours:
        free, reached_from = _augmenting_path(start, neighbours, left_of)
        while free is not None:
            left = reached_from[free]
            left_of[free] = left
            previous = right_of.get(left)
            right_of[left] = free
            free = previous
    return left_of


def _augmenting_path(
    start: V, neighbours: Mapping[V, list[V]], left_of: Mapping[V, V]
) -> tuple[V | None, Mapping[V, V]]:
    """Return an unmatched right vertex at the end of a path from `start`, or None, and whence each was reached."""
    reached_from: dict[V, V] = {}
    queue = [start]
    for left in queue:
        for right in neighbours[left]:
            if right in reached_from:
                continue
            reached_from[right] = left
            if right not in left_of:
                return right, reached_from
            queue.append(left_of[right])
    return None, reached_from


def _vertex_cover(edges: Sequence[tuple[V, V]]) -> set[V]:
    """Return a minimum vertex cover of a bipartite graph, by Koenig's theorem."""
    neighbours, left_of = _neighbours(edges), _matching(edges)
    matched = set(left_of.values())
    reached: set[V] = set()
    lefts = [left for left in neighbours if left not in matched]
    seen = set(lefts)
    for left in lefts:
        for right in neighbours[left]:
            if right in reached:
                continue
            reached.add(right)
            if left_of[right] not in seen:
                seen.add(left_of[right])
                lefts.append(left_of[right])
    return {left for left in neighbours if left not in seen} | reached
