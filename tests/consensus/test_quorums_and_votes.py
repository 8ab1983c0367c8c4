"""Quorum arithmetic and vote counting."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.consensus import max_tolerated
from ceas.consensus.votes import VoteSet, amplification_quorum, check_tolerance, quorum
from ceas.errors import DomainError


@pytest.mark.parametrize(
    ("n_nodes", "tolerated", "quorum_size"), [(1, 0, 1), (3, 0, 3), (4, 1, 3), (6, 1, 5), (7, 2, 5), (50, 16, 34)]
)
def test_sizes_at_the_largest_tolerance(n_nodes: int, tolerated: int, quorum_size: int) -> None:
    assert max_tolerated(n_nodes) == tolerated
    assert quorum(n_nodes, tolerated) == quorum_size
    assert amplification_quorum(tolerated) == tolerated + 1


@pytest.mark.parametrize("n_nodes", range(1, 120))
def test_what_the_proof_needs_holds_for_every_tolerance(n_nodes: int) -> None:
    for f in range(max_tolerated(n_nodes) + 1):
        check_tolerance(n_nodes, f)
        size = quorum(n_nodes, f)
        assert size <= n_nodes - f  # the honest nodes alone reach it
        assert 2 * size - n_nodes > f  # two quorums share an honest node
        assert size - f >= amplification_quorum(f) > f  # a quorum's honest part amplifies
    with pytest.raises(DomainError, match="tolerated_byzantine"):
        check_tolerance(n_nodes, max_tolerated(n_nodes) + 1)


def test_negative_tolerance_is_refused() -> None:
    with pytest.raises(DomainError, match="tolerated_byzantine"):
        check_tolerance(4, -1)


DIGESTS = [bytes([k]) * 32 for k in range(3)]
BATCHES = st.dictionaries(st.integers(0, 5), st.sampled_from(DIGESTS), min_size=1).map(
    lambda b: tuple(sorted(b.items()))
)
FULL = tuple((instance, DIGESTS[0]) for instance in range(6))


class NaiveVotes:
    """First vote per sender and instance, kept in the plainest way."""

    def __init__(self) -> None:
        self.first: dict[tuple[int, int], bytes] = {}

    def add(self, sender: int, votes: tuple[tuple[int, bytes], ...]) -> tuple[dict[Any, int], int, int]:
        changed, repeated, conflicting = {}, 0, 0
        for instance, digest in votes:
            earlier = self.first.get((sender, instance))
            if earlier is None:
                self.first[sender, instance] = digest
                changed[instance, digest] = len(self.voters((instance, digest)))
            elif earlier == digest:
                repeated += 1
            else:
                conflicting += 1
        return changed, repeated, conflicting

    def voters(self, vote: tuple[int, bytes]) -> set[int]:
        return {sender for (sender, instance), digest in self.first.items() if (instance, digest) == vote}


@given(st.lists(st.tuples(st.integers(0, 6), st.one_of(st.just(FULL), BATCHES)), max_size=25))
def test_counts_are_those_of_plain_bookkeeping(batches: list[tuple[int, tuple[tuple[int, bytes], ...]]]) -> None:
    fast, naive = VoteSet(7), NaiveVotes()
    for sender, votes in batches:
        counted = fast.add(sender, votes)
        changed = {vote: count for count, group in counted.groups for vote in group}
        assert (changed, counted.n_repeated, counted.n_conflicting) == naive.add(sender, votes)
    for vote in ((i, d) for i in range(6) for d in DIGESTS):
        assert fast.voters(vote) == sum(1 << sender for sender in naive.voters(vote))


def test_equal_batches_from_different_objects_are_counted_together() -> None:
    votes = VoteSet(3)
    for sender in range(3):
        counted = votes.add(sender, tuple((i, bytes([i]) * 32) for i in range(4)))
        assert [count for count, _ in counted.groups] == [sender + 1]
