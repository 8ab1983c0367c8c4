"""Static time division: the links that attempt together, as an edge colouring of the network."""

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError

__all__ = ["colour_links"]


def colour_links(
    edges: npt.NDArray[np.int64], attempts_per_slot: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], int]:
    """Colour links so that no node has more links of one colour than attempts in a slot.

    A node of c attempts is split into c nodes of one attempt each, which share its links evenly; with d the largest
    number of links of a split node, at most d + 1 colours are needed if no two links join the same split nodes, and at
    most 2 d - 1 otherwise.

    Args:
        edges: Ends of the links, `(E, 2)`.
        attempts_per_slot: Attempts that each node can make in a slot, `(n,)`.

    Returns:
        Colour of each link from 0, `(E,)`, and the number of colours. Links of a node that makes no attempts have
        colour -1.

    Raises:
        DomainError: `edges` names a node that is not there.

    Source:
        Misra and Gries, Information Processing Letters 41:131, 1992 (their constructive proof of Vizing's theorem).
    """
    if len(edges) and not 0 <= edges.min() <= edges.max() < len(attempts_per_slot):
        raise DomainError(f"Argument `edges` must hold nodes below {len(attempts_per_slot)}, but does not.")
    colour = np.full(len(edges), -1, dtype=np.int64)
    able = np.flatnonzero((attempts_per_slot[edges] > 0).all(axis=1))
    ends = _split_nodes(edges[able], attempts_per_slot)
    if len(able) == 0:
        return colour, 1
    is_simple = len(set(map(frozenset, ends))) == len(ends)
    found = _Colouring(ends).run() if is_simple else _greedy(ends)
    # Number the colours in use from 0.
    _, colour[able] = np.unique(found, return_inverse=True)
    return colour, int(colour.max()) + 1


def _split_nodes(edges: npt.NDArray[np.int64], attempts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Name the split node of each end of each link: the links of a node go to its copies in turn."""
    first_copy = np.concatenate([[0], np.cumsum(attempts)])
    seen = np.zeros(len(attempts), dtype=np.int64)
    ends = []
    for a, b in edges.tolist():
        ends.append(tuple(int(first_copy[v] + seen[v] % attempts[v]) for v in (a, b)))
        seen[[a, b]] += 1
    return [(a, b) for a, b in ends]


def _greedy(ends: list[tuple[int, int]]) -> list[int]:
    taken: dict[int, set[int]] = {}
    colours = []
    for a, b in ends:
        used = taken.setdefault(a, set()) | taken.setdefault(b, set())
        colour = next(c for c in range(len(used) + 1) if c not in used)
        taken[a].add(colour)
        taken[b].add(colour)
        colours.append(colour)
    return colours


class _Colouring:
    """The state of the algorithm: for every node, the link of each colour."""

    def __init__(self, ends: list[tuple[int, int]]) -> None:
        self.ends = ends
        self.n_colours = int(np.unique(np.array(ends), return_counts=True)[1].max()) + 1
        self.at: dict[int, dict[int, int]] = {node: {} for pair in ends for node in pair}
        self.links: dict[int, list[int]] = {node: [] for node in self.at}
        for link, pair in enumerate(ends):
            for node in pair:
                self.links[node].append(link)
        self.colour: list[int | None] = [None] * len(ends)

    def run(self) -> list[int]:
        """Colour the links one by one."""
        for link in range(len(self.ends)):
            self.add(link)
        return [colour for colour in self.colour if colour is not None]

    def paint(self, link: int, colour: int | None) -> None:
        """Give a link a colour, or none."""
        old = self.colour[link]
        for node in self.ends[link]:
            if old is not None and self.at[node].get(old) == link:
                del self.at[node][old]
            if colour is not None:
                self.at[node][colour] = link
        self.colour[link] = colour

    def free(self, node: int) -> int:
        """Return the lowest colour that a node's links do not have."""
        return next(colour for colour in range(self.n_colours) if colour not in self.at[node])

    def other(self, link: int, node: int) -> int:
        """Return the other end of a link."""
        a, b = self.ends[link]
        return b if a == node else a

    def fan(self, link: int, node: int) -> list[int]:
        """Return a maximal fan of a node: links, each of whose colours is free at the end of the one before."""
        fan, left = [link], [one for one in self.links[node] if self.colour[one] is not None]
        while True:
            tip = self.other(fan[-1], node)
            following = next((one for one in left if self.colour[one] not in self.at[tip]), None)
            if following is None:
                return fan
            fan.append(following)
            left.remove(following)

    def invert(self, node: int, c: int, d: int) -> None:
        """Swap colours c and d along the path that starts at a node, where c is free, with colour d."""
        path, at, colour = [], node, d
        while colour in self.at[at]:
            link = self.at[at][colour]
            path.append((link, c if colour == d else d))
            at, colour = self.other(link, at), (c if colour == d else d)
        for link, _ in path:
            self.paint(link, None)
        for link, painted in path:
            self.paint(link, painted)

    def add(self, link: int) -> None:
        """Colour one link more, moving colours of others where needed."""
        node = self.ends[link][0]
        fan = self.fan(link, node)
        c, d = self.free(node), self.free(self.other(fan[-1], node))
        self.invert(node, c, d)
        # The longest start of the fan that is still a fan and whose tip misses d; there always is one.
        length = 1
        while d in self.at[self.other(fan[length - 1], node)]:
            length += 1
        moved = [self.colour[one] for one in fan[1:length]]
        for one in fan[:length]:
            self.paint(one, None)
        for one, colour in zip(fan, [*moved, d], strict=False):
            self.paint(one, colour)
