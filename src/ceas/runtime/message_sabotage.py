"""What malicious nodes do to messages: they equivocate and replay.

Who equivocates tells a share of the honest nodes one version of its update and the rest another, and all attackers
vote to each receiver for the versions that it was told. In the agreement they do the same with sets: to the second
part they propose, vote for, report and decide another set than to the first. Who replays sends, beside every frame, the
same frame again, to the same node its proposal of the last round, and a frame that an honest node sent to the attacker.

No key is used that the attacker does not have: a second version is tagged with its own, a replayed frame keeps its tag.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.consensus import (
    Ballot,
    Decision,
    Echo,
    Proof,
    Propose,
    Ready,
    SetProposal,
    SetVote,
    SignedValue,
    quorum,
    value_digest,
)
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.consensus_protocols import ProtocolMessage
from ceas.runtime.message_network import Outgoing

__all__ = ["MessageSabotage"]


class MessageSabotage:
    """The attackers' hands on the frames of a run; `told` and `tamper` are the hooks of `run_consensus`.

    Args:
        conduct: What the attackers do.
        is_byzantine: Who they are, shape `(nodes,)`.
        tolerated_byzantine: f of the consensus; smaller sets than n - f are refused, so that none is told.
    """

    def __init__(self, conduct: Conduct, is_byzantine: NDArray[np.bool_], tolerated_byzantine: int) -> None:
        self._quorum = quorum(len(is_byzantine), tolerated_byzantine)
        self._n_nodes = len(is_byzantine)
        self._liars = frozenset(np.flatnonzero(is_byzantine).tolist())
        self._replays = conduct.replays
        honest = np.flatnonzero(~is_byzantine).tolist()
        share = conduct.equivocation_share
        # Rounded up, so that the second version is never told to more than the first, hence never delivered.
        told_first = len(honest) if share is None else math.ceil(share * len(honest))
        self._told_second = frozenset(honest[told_first:])
        self._second_votes: dict[tuple[int, bytes], tuple[int, bytes]] = {}
        self._heard: dict[int, bytes] = {}
        # Proposals of this round and of the last one by sender and receiver.
        self._proposals: dict[tuple[int, int], bytes] = {}
        self._old_proposals: dict[tuple[int, int], bytes] = {}

    def begin_round(self, values: Sequence[bytes], training_round: int) -> None:
        """Prepare for the exchange of a training round.

        Args:
            values: Canonical bytes of every node's update; the attackers' are the first versions.
            training_round: The training round.
        """
        self._second_votes = {
            (liar, value_digest(training_round, liar, values[liar])): (
                liar,
                value_digest(training_round, liar, _second_version(values[liar])),
            )
            for liar in self._liars
        }
        self._heard.clear()
        self._old_proposals, self._proposals = self._proposals, {}

    def told(self, message: ProtocolMessage, _node: int, destination: int) -> ProtocolMessage:  # noqa: PLR0911 - one per kind
        """Return an attacker's message as a receiver gets it: with the versions that this receiver was told."""
        if destination not in self._told_second:
            return message
        match message:
            case Propose(value, parameter_digest):
                return Propose(_second_version(value), parameter_digest)
            case Echo(votes):
                return Echo(tuple(self._second_votes.get(vote, vote) for vote in votes))
            case Ready(votes):
                return Ready(tuple(self._second_votes.get(vote, vote) for vote in votes))
            case SetProposal() | SetVote() | Decision():
                return replace(message, members=self._second_set(message.members))
            case Proof(view, vote_4, vote_1, previous_1):
                return Proof(view, *map(self._second_ballot, (vote_4, vote_1, previous_1)))
            case _:
                return message

    def _second_set(self, members: int) -> int:
        """Return a set that lacks an honest node of `members`.

        Where that would be too small, an attacker whose value nobody has takes its place: nobody can vote for it.
        """
        lacking = [node for node in range(self._n_nodes) if members >> node & 1 and node not in self._liars]
        if not lacking:
            return members
        smaller = members & ~(1 << lacking[-1])
        others = [liar for liar in sorted(self._liars) if not members >> liar & 1]
        if smaller.bit_count() >= self._quorum:
            return smaller
        return smaller | 1 << others[0] if others else members

    def _second_ballot(self, ballot: Ballot | None) -> Ballot | None:
        return None if ballot is None else (ballot[0], self._second_set(ballot[1]))

    def tamper(self, outbox: list[Outgoing], node: int) -> list[Outgoing]:
        """Return the frames that a node hands to the network in the place of `outbox`: with those sent again."""
        if not self._replays:
            return outbox
        if node not in self._liars:
            heard = [each for each in outbox if each.destination in self._liars and each.wire is not None]
            self._heard |= {each.destination: each.wire for each in heard if each.wire is not None}
            return outbox
        return [each for one in outbox for each in self._replayed(one, node)]

    def to_arrays(self) -> Arrays:
        """Return what is remembered between training rounds: the proposals of the last one."""
        links = sorted(self._proposals)
        frames = [np.frombuffer(self._proposals[link], np.uint8) for link in links]
        return {"links": np.array(links, np.int64).reshape(-1, 2), "frames": np.array(frames, np.uint8)}

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        pairs = zip(arrays["links"].tolist(), arrays["frames"], strict=True)
        self._proposals = {(source, destination): frame.tobytes() for (source, destination), frame in pairs}

    def _replayed(self, outgoing: Outgoing, node: int) -> list[Outgoing]:
        """Return a frame with what is sent again beside it."""
        link = node, outgoing.destination
        wires = [self._heard.get(node)]
        if isinstance(outgoing.message, Propose | SignedValue):
            wires.append(self._old_proposals.get(link))
            if outgoing.wire is not None:
                self._proposals[link] = outgoing.wire
        again = [replace(outgoing, wire=wire) for wire in (*wires, outgoing.wire) if wire is not None]
        return [outgoing, *again]


def _second_version(value: bytes) -> bytes:
    """Return an update that differs in the last digit of its last parameter."""
    return value[:-1] + bytes([value[-1] ^ 1])
