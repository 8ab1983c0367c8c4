"""States of a repeater chain with cutoff, and all that can happen to them in a time slot.

Nodes are 0, ..., n - 1, each with one qubit to the left and one to the right. So at most one link (i, j) with i < j
begins at each node i, and a state is told by the age and the far end of the link that begins at each node: a number in
mixed radix, whose digit i is 0 without a link and 1 + (j - i - 1) (cutoff + 1) + age with one.

Links are nested as well as side by side: under (0, 3) the nodes 1 and 2 are free again and make (1, 2) anew. Which
links a set of swaps joins is therefore found by following them from end to end, not by their order.

A slot begins with a state after swaps (the empty one at first). Links that have reached the cutoff are removed, the
others age, and every link between neighbours whose qubits are free is attempted. Then any set of swaps is made. A run
of swaps over links end to end makes one link, whose age is the largest of its links', if all of its swaps succeed, and
otherwise destroys them all.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.errors import CapacityError

__all__ = ["DELIVERED", "ChainStates", "Outcomes", "fewest_states", "reachable_states"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
# Code of every state that holds a link from end to end.
DELIVERED = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """What follows from states, one row an outcome.

    Args:
        origin: Index of the state, or of the choice, that the outcome follows from, shape `(n_outcomes,)`.
        code: Code of the state that follows, shape `(n_outcomes,)`.
        probability: Its probability, positive, shape `(n_outcomes,)`.
    """

    origin: _Ints
    code: _Ints
    probability: _Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainStates:
    """The codes of a chain's states.

    Args:
        n_nodes: Nodes of the chain.
        cutoff: Largest age at which a link may be used (slots).
    """

    n_nodes: int
    cutoff: int

    @property
    def place(self) -> _Ints:
        """Value of the digit of each left end, shape `(n_nodes - 1,)`."""
        radix = [(self.n_nodes - 1 - i) * (self.cutoff + 1) + 1 for i in range(self.n_nodes - 1)]
        return np.array([1, *np.cumprod(radix, dtype=np.int64)[:-1]], dtype=np.int64)

    def decode(self, codes: _Ints) -> tuple[_Ints, _Ints]:
        """Return the far end (0 for none) and age of the link that begins at each node, shape `(n, n_nodes - 1)`."""
        ends, ages = [], []
        rest = codes
        for i in range(self.n_nodes - 1):
            rest, digit = np.divmod(rest, (self.n_nodes - 1 - i) * (self.cutoff + 1) + 1)
            length, age = np.divmod(digit - 1, self.cutoff + 1)
            ends.append(np.where(digit > 0, i + 1 + length, 0))
            ages.append(np.where(digit > 0, age, 0))
        return np.stack(ends, axis=1), np.stack(ages, axis=1)

    def encode(self, ends: _Ints, ages: _Ints) -> _Ints:
        """Return the codes of states given as by `decode`, shape `(n,)`."""
        first = np.arange(self.n_nodes - 1)
        digit = np.where(ends > 0, 1 + (ends - first - 1) * (self.cutoff + 1) + ages, 0)
        codes = (digit * self.place).sum(axis=1)
        return np.where(ends[:, 0] == self.n_nodes - 1, DELIVERED, codes)

    def after_generation(self, codes: _Ints, success: _Floats) -> Outcomes:
        """Return what a slot's ageing and attempts make of states after swaps.

        Args:
            codes: States, shape `(n,)`.
            success: Probability that an attempt succeeds between each node and the next, shape `(n_nodes - 1,)`.
        """
        ends, ages = self.decode(codes)
        kept = (ends > 0) & (ages < self.cutoff)
        ends, ages = np.where(kept, ends, 0), np.where(kept, ages + 1, 0)
        right_busy = ends > 0
        left_busy = np.stack([(ends == j + 1).any(axis=1) for j in range(self.n_nodes - 1)], axis=1)
        free = ~right_busy & ~left_busy
        base = self.encode(ends, ages)
        parts = []
        for made in itertools.product((False, True), repeat=self.n_nodes - 1):
            new = np.array(made)
            chance = np.where(free, np.where(new, success, 1.0 - success), np.where(new, 0.0, 1.0)).prod(axis=1)
            rows = np.flatnonzero(chance > 0.0)
            # A new link has age 0 and length 1: digit 1 in a place that holds 0.
            parts.append((rows, base[rows] + (self.place * new).sum(), chance[rows]))
        return _joined(parts)

    def swappable(self, codes: _Ints) -> npt.NDArray[np.bool_]:
        """Return whether a link ends and another begins at each inner node, shape `(n, n_nodes - 2)`."""
        ends, _ = self.decode(codes)
        ending = np.stack([(ends == node).any(axis=1) for node in range(1, self.n_nodes - 1)], axis=1)
        return np.asarray(ending & (ends[:, 1:] > 0))

    def after_swaps(self, codes: _Ints, swaps: tuple[bool, ...], success: float) -> Outcomes:
        """Return what one set of swaps makes of states before swaps.

        Args:
            codes: States in all of which these swaps can be made, shape `(n,)`.
            swaps: Whether each inner node swaps, length `n_nodes - 2`.
            success: Probability that a swap succeeds.
        """
        ends, ages = self.decode(codes)
        is_swapping = np.array([False, *swaps, False])
        outcomes = Outcomes(origin=np.arange(len(codes)), code=codes, probability=np.ones(len(codes)))
        for first in np.flatnonzero(~is_swapping[:-1]).tolist():
            end, age = ends[:, first].copy(), ages[:, first].copy()
            used = self._added(first, end, age)
            n_swaps = np.zeros(len(codes), dtype=np.int64)
            # Follow the links from end to end as long as the node between them swaps.
            while np.any(going := (end > 0) & is_swapping[end]):
                at = np.flatnonzero(going)
                inner = end[at]
                used[at] += self._added(inner, ends[at, inner], ages[at, inner])
                age[at] = np.maximum(age[at], ages[at, inner])
                end[at] = ends[at, inner]
                n_swaps[at] += 1
            made = self._added(first, end, age)
            delivers = (first == 0) & (end == self.n_nodes - 1)
            # A link that no swap touches stays as it is: it succeeds and makes what was used.
            run = _Run(used=used, made=made, delivers=delivers, success=np.power(success, n_swaps, dtype=np.float64))
            outcomes = _with_run(outcomes, run)
        return outcomes

    def _added(self, first: int | _Ints, end: _Ints, age: _Ints) -> _Ints:
        """Return what the link of each row adds to the code, shape `(n,)`; 0 for no link."""
        digit = np.where(end > 0, 1 + (end - first - 1) * (self.cutoff + 1) + age, 0)
        return np.asarray(digit * self.place[first])


class _Run(NamedTuple):
    """Links end to end that become one link or none, by state: what they and their product are in the code."""

    used: _Ints
    made: _Ints
    delivers: npt.NDArray[np.bool_]
    success: _Floats


def _with_run(outcomes: Outcomes, run: _Run) -> Outcomes:
    """Split every outcome into the success of a run and its failure; what is delivered stays so."""
    rows, code = outcomes.origin, outcomes.code
    is_done = code == DELIVERED
    without = np.where(is_done, DELIVERED, code - run.used[rows])
    joined = np.where(is_done | run.delivers[rows], DELIVERED, code - run.used[rows] + run.made[rows])
    success = run.success[rows]
    fails = success < 1.0
    return Outcomes(
        origin=np.concatenate([rows, rows[fails]]),
        code=np.concatenate([joined, without[fails]]),
        probability=np.concatenate([outcomes.probability * success, (outcomes.probability * (1.0 - success))[fails]]),
    )


def _joined(parts: list[tuple[_Ints, _Ints, _Floats]]) -> Outcomes:
    origin, code, probability = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Outcomes(origin=origin, code=code, probability=probability)


def fewest_states(n_nodes: int, cutoff: int) -> int:
    """Return a lower bound on the number of states of a chain whose attempts may all fail, before any is enumerated.

    Source:
        Iñesta et al., npj Quantum Information 9:46 (2023).
    """
    n, t = n_nodes, cutoff
    return int(1 + (n * n - n - 4) * t / 2 + (n * n - n - 6) * (n - 2) * t * t / 6 + t ** (n - 1))


def reachable_states(
    states: ChainStates, *, success: _Floats, swap_success: float, most_states: int
) -> tuple[_Ints, _Ints]:
    """Return the sorted codes of the states after swaps and before swaps that can be reached from the empty chain.

    Raises:
        CapacityError: they are more than `most_states` in all.
    """
    after, before = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    new = after
    while len(new):
        made = np.unique(states.after_generation(new, success).code)
        fresh = np.setdiff1d(made, before, assume_unique=True)
        before = np.union1d(before, fresh)
        found = [np.zeros(0, dtype=np.int64)]
        feasible = states.swappable(fresh)
        for swaps in itertools.product((False, True), repeat=states.n_nodes - 2):
            able = ~np.any(np.array(swaps) & ~feasible, axis=1)
            found.append(np.unique(states.after_swaps(fresh[able], swaps, swap_success).code))
        reached = np.unique(np.concatenate(found))
        new = np.setdiff1d(reached[reached != DELIVERED], after, assume_unique=True)
        after = np.union1d(after, new)
        if len(after) + len(before) > most_states:
            raise CapacityError(
                f"a chain of {states.n_nodes} nodes with cutoff {states.cutoff} has more than {most_states} states "
                f"(enumeration stopped at {len(after) + len(before)}); a smaller cutoff or a larger limit is needed"
            )
    return after, before
