"""Sorted age vectors of the pairs that one link stores, numbered without gaps.

A link with K slots and m age bins is described by the bins of its pairs, freshest first, filled up to length K with the
bin m for "empty": a multiset of size K over m + 1 symbols. With c_1 <= ... <= c_K its number in the combinatorial
number system is

    rank = sum over i = 1, ..., K of binomial(c_i + i - 1, i),

which runs through 0, ..., binomial(m + K, K) - 1. The empty link has the last number.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ceas.errors import CapacityError, DomainError
from ceas.network.compilation import compiled

__all__ = ["AgeStates", "age_states", "n_age_states", "rank_ages"]

# Above this a table of successors would take gigabytes.
_MOST_STATES = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgeStates:
    """All age vectors of a link, and where each of them leads.

    Args:
        memory_slots: Slots of the link (K).
        n_bins: Age bins (m).
        ages: Bin of each stored pair, freshest first, `n_bins` where a slot is empty, shape `(n_states, memory_slots)`.
        n_stored: Stored pairs, shape `(n_states,)`.
        aged: State after every pair moved on by one bin and those of the last bin expired, shape `(n_states,)`.
        added: State with one more pair of bin 0, shape `(n_states,)`, -1 when full.
        replaced: State with the oldest pair replaced by one of bin 0, shape `(n_states,)`; without pairs the same as
            `added`.
        removed: State without the pair at each position, shape `(n_states, memory_slots)`, -1 where there is none.
        binomial: `binomial[i, c] = binomial(c + i, i + 1)`, for `rank_ages`, shape `(memory_slots, n_bins + 1)`.
    """

    memory_slots: int
    n_bins: int
    ages: npt.NDArray[np.int64]
    n_stored: npt.NDArray[np.int64]
    aged: npt.NDArray[np.int64]
    added: npt.NDArray[np.int64]
    replaced: npt.NDArray[np.int64]
    removed: npt.NDArray[np.int64]
    binomial: npt.NDArray[np.int64]

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.n_stored)

    @property
    def empty(self) -> int:
        """State without pairs."""
        return self.n_states - 1

    def rank(self, ages: tuple[int, ...]) -> int:
        """Return the state in which the pairs have the given bins, in any order.

        Raises:
            DomainError: there are more bins than slots, or one is outside 0, ..., n_bins - 1.
        """
        if len(ages) > self.memory_slots:
            raise DomainError(f"Argument `ages` must have at most {self.memory_slots} elements, but has {len(ages)}.")
        if any(not 0 <= age < self.n_bins for age in ages):
            raise DomainError(f"Argument `ages` must lie in 0, ..., {self.n_bins - 1}, but is {ages}.")
        row = sorted(ages) + [self.n_bins] * (self.memory_slots - len(ages))
        return int(sum(self.binomial[place, age] for place, age in enumerate(row)))


@compiled
def rank_ages(ages: npt.NDArray[np.int64], n_stored: int, binomial: npt.NDArray[np.int64]) -> int:
    """Return the number of the state whose first `n_stored` bins are in `ages`, freshest first; for compiled code."""
    rank = 0
    empty = binomial.shape[1] - 1
    for place in range(binomial.shape[0]):
        rank += binomial[place, ages[place] if place < n_stored else empty]
    return rank


def n_age_states(memory_slots: int, n_bins: int) -> int:
    """Return the number of age vectors of a link, binomial(n_bins + memory_slots, memory_slots)."""
    return math.comb(n_bins + memory_slots, memory_slots)


@lru_cache(maxsize=32)
def age_states(memory_slots: int, n_bins: int) -> AgeStates:
    """Return all age vectors of a link with their successors.

    Raises:
        DomainError: `memory_slots` or `n_bins` is below 1.
        CapacityError: there are more than five million states.
    """
    for name, number in (("memory_slots", memory_slots), ("n_bins", n_bins)):
        if number < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {number}.")
    n_states = n_age_states(memory_slots, n_bins)
    if n_states > _MOST_STATES:
        raise CapacityError(
            f"{memory_slots} slots with {n_bins} age bins have {n_states} states, more than {_MOST_STATES}; "
            "use wider age bins"
        )
    binomial = np.array(
        [[math.comb(c + place, place + 1) for c in range(n_bins + 1)] for place in range(memory_slots)], dtype=np.int64
    )
    ages = _unrank(np.arange(n_states), binomial)
    n_stored = (ages < n_bins).sum(axis=1)

    def ranks(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(binomial[np.arange(memory_slots), np.sort(rows, axis=1)].sum(axis=1))

    with_new = np.concatenate([np.zeros((n_states, 1), dtype=np.int64), ages], axis=1)
    replaced = with_new.copy()
    replaced[np.arange(n_states), n_stored] = n_bins
    removed = np.full((n_states, memory_slots), -1, dtype=np.int64)
    for position in range(memory_slots):
        rows = ages.copy()
        rows[:, position] = n_bins
        removed[:, position] = np.where(position < n_stored, ranks(rows), -1)
    added = np.where(n_stored < memory_slots, ranks(with_new[:, :memory_slots]), -1)
    tables = AgeStates(
        memory_slots=memory_slots,
        n_bins=n_bins,
        ages=ages,
        n_stored=n_stored,
        aged=ranks(np.minimum(ages + 1, n_bins)),
        added=added,
        replaced=np.where(n_stored > 0, ranks(np.sort(replaced, axis=1)[:, :memory_slots]), added),
        removed=removed,
        binomial=binomial,
    )
    for table in (tables.ages, tables.n_stored, tables.aged, tables.added, tables.replaced, removed, binomial):
        table.setflags(write=False)
    return tables


def _unrank(ranks: npt.NDArray[np.int64], binomial: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sorted bins of the numbered states, shape `(n_states, memory_slots)`."""
    rest = ranks.astype(np.int64)
    ages = np.empty((len(ranks), len(binomial)), dtype=np.int64)
    for place in range(len(binomial) - 1, -1, -1):
        ages[:, place] = np.searchsorted(binomial[place], rest, side="right") - 1
        rest = rest - binomial[place, ages[:, place]]
    return ages
