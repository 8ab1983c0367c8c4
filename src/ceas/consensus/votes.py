"""Quorum sizes and vote counting.

Only a sender's first vote in an instance counts. In a good round all nodes send the same batch of votes, so a vote set
counts one batch, the common one, as a whole: a bit mask of the nodes that sent exactly it. Every other batch is
counted vote by vote. Both ways give the same counts; the second one is bounded by n^2 votes whatever the senders do.
"""

from typing import NamedTuple

from ceas.consensus.messages import Vote
from ceas.errors import DomainError

__all__ = ["Counted", "VoteSet", "amplification_quorum", "check_tolerance", "max_tolerated", "quorum"]


def max_tolerated(n_nodes: int) -> int:
    """Return the largest number f of Byzantine nodes with n >= 3 f + 1."""
    return (n_nodes - 1) // 3


def quorum(n_nodes: int, tolerated_byzantine: int) -> int:
    """Return n - f: so many votes always come, and two such sets share an honest node because n > 3 f."""
    return n_nodes - tolerated_byzantine


def amplification_quorum(tolerated_byzantine: int) -> int:
    """Return f + 1: among so many votes one is honest."""
    return tolerated_byzantine + 1


def check_tolerance(n_nodes: int, tolerated_byzantine: int) -> None:
    """Check n >= 3 f + 1.

    Raises:
        DomainError: `tolerated_byzantine` is negative or too large for `n_nodes`.
    """
    if not 0 <= tolerated_byzantine <= max_tolerated(n_nodes):
        raise DomainError(
            f"Argument `tolerated_byzantine` must be in [0, (n_nodes - 1) // 3] = [0, {max_tolerated(n_nodes)}], "
            f"but is {tolerated_byzantine}."
        )


class Counted(NamedTuple):
    """What one batch changed (a named tuple: thousands are made in a training round).

    Args:
        groups: (new number of voters, votes that now have this number), for the votes that counted.
        n_repeated: Votes that the sender had already given.
        n_conflicting: Votes in instances where the sender had already voted otherwise.
    """

    groups: list[tuple[int, tuple[Vote, ...]]]
    n_repeated: int
    n_conflicting: int


class VoteSet:
    """Votes of one kind from `n_nodes` nodes."""

    __slots__ = ("_common", "_common_digests", "_common_instances", "_common_voters", "_voted", "_voters")

    def __init__(self, n_nodes: int) -> None:
        self._voted = [0] * n_nodes  # per sender, bit mask of the instances in which it has voted
        self._voters: dict[Vote, int] = {}  # per vote, bit mask of its senders, those of the common batch left out
        self._common: tuple[Vote, ...] = ()
        self._common_digests: dict[int, bytes] = {}
        self._common_instances = 0
        self._common_voters = 0

    def add(self, sender: int, votes: tuple[Vote, ...]) -> Counted:
        """Count a batch; `votes` has strictly increasing instances."""
        if not self._common:
            self._set_common(votes)
        is_common = votes is self._common or votes == self._common
        if is_common and not self._voted[sender] & self._common_instances:
            self._common = votes  # equal; but the next comparison with this very object needs no look inside
            self._voted[sender] |= self._common_instances
            self._common_voters |= 1 << sender
            if not self._voters:
                return Counted([(self._common_voters.bit_count(), votes)], 0, 0)
            return Counted([(self.voters(vote).bit_count(), (vote,)) for vote in votes], 0, 0)
        return self._add_singly(sender, votes)

    def voters(self, vote: Vote) -> int:
        """Return the bit mask of the nodes whose vote this is."""
        common = self._common_voters if self._common_digests.get(vote[0]) == vote[1] else 0
        return self._voters.get(vote, 0) | common

    def _set_common(self, votes: tuple[Vote, ...]) -> None:
        self._common = votes
        self._common_digests = dict(votes)
        self._common_instances = sum(1 << instance for instance, _ in votes)

    def _add_singly(self, sender: int, votes: tuple[Vote, ...]) -> Counted:
        groups: list[tuple[int, tuple[Vote, ...]]] = []
        n_repeated = 0
        for vote in votes:
            if not self._voted[sender] >> vote[0] & 1:
                self._voted[sender] |= 1 << vote[0]
                self._voters[vote] = self._voters.get(vote, 0) | 1 << sender
                groups.append((self.voters(vote).bit_count(), (vote,)))
            elif self.voters(vote) >> sender & 1:
                n_repeated += 1
        return Counted(groups, n_repeated, len(votes) - len(groups) - n_repeated)
