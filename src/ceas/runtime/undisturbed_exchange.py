"""A round's consensus that nothing disturbs, without its frames.

Where all values are valid, every node follows the protocol, no frame is lost and there is key for all of them, each
node sends one PROPOSE, one ECHO, one READY, one vote of each phase and one DECISION to every other, the leader its
proposal as well, and votes hold all instances. Then counts of frames decide what happens, and neither bytes nor tags
need to be made. Times and depths come from the same events in the same order as in `ceas.runtime.message_network`,
which is what the tests hold it against.
"""

from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["STEPS", "UndisturbedExchange", "undisturbed_exchange"]

STEPS: Final = 8
"""Frames of each node to each other: PROPOSE, ECHO, READY, four votes, DECISION; the leader sends one more."""

_PROPOSE, _ECHO, _READY, _SET_PROPOSAL, _VOTE_1, _VOTE_4, _DECISION = 0, 1, 2, 3, 4, 7, 8


class UndisturbedExchange(NamedTuple):
    """When a consensus that nothing disturbs is over.

    Attributes:
        elapsed_ns: Time at which the last honest node concludes (ns).
        message_delays: Longest chain of frames that ended in such a conclusion.
    """

    elapsed_ns: int
    message_delays: int


def undisturbed_exchange(
    delay_ns: NDArray[np.int64], is_honest: NDArray[np.bool_], *, leader: int, quorum: int, blocking: int
) -> UndisturbedExchange | None:
    """Return when all nodes conclude; None if some node would do more or less than send each frame once.

    Args:
        delay_ns: Time of a frame from each node to each other (ns), shape `(n, n)`.
        is_honest: Whose conclusions count, shape `(n,)`.
        leader: Node that proposes the set.
        quorum: n - f.
        blocking: f + 1.
    """
    elapsed_ns, message_delays, is_plain = _events(delay_ns, is_honest, leader, quorum, blocking)
    return UndisturbedExchange(elapsed_ns, message_delays) if is_plain else None


@njit(cache=True, nogil=True)
def _events(  # noqa: PLR0912, PLR0915 - one event loop; compiled functions take no keywords
    delay_ns: NDArray[np.int64], is_honest: NDArray[np.bool_], leader: int, quorum: int, blocking: int
) -> tuple[int, int, bool]:
    n_nodes = delay_ns.shape[0]
    # A node's own messages count at once.
    accepted, echoes, readies = np.ones(n_nodes, np.int64), np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
    votes, decisions = np.zeros((4, n_nodes), np.int64), np.zeros(n_nodes, np.int64)
    is_ready, is_delivered, is_proposed = np.zeros((3, n_nodes), np.bool_)
    has_voted, is_decided = np.zeros((4, n_nodes), np.bool_), np.zeros(n_nodes, np.bool_)
    is_halted, is_concluded = np.zeros((2, n_nodes), np.bool_)
    last_ns, message_delays, sequence = 0, 0, 0
    sent = np.zeros(9, np.int64)
    events = [(0, 0, 0, 0, 0)]
    events.clear()
    for source in range(n_nodes):
        for node in range(n_nodes):
            if node != source:
                heappush(events, (delay_ns[source, node], sequence, node, _PROPOSE, 1))
                sequence += 1
    while events:
        now_ns, _, node, step, depth = heappop(events)
        n_sent = 0
        # The broadcast.
        delivers = False
        if step <= _READY:
            by_echoes = False
            if step == _PROPOSE:
                accepted[node] += 1
                if accepted[node] == n_nodes:
                    echoes[node] += 1
                    sent[n_sent] = _ECHO
                    n_sent += 1
                by_echoes = echoes[node] >= quorum
            elif step == _ECHO:
                echoes[node] += 1
                by_echoes = echoes[node] >= quorum
            else:
                readies[node] += 1
                delivers = readies[node] == quorum
            if not is_ready[node] and (by_echoes or (step == _READY and readies[node] == blocking)):
                is_ready[node] = True
                readies[node] += 1
                delivers = delivers or readies[node] == quorum
                sent[n_sent] = _READY
                n_sent += 1
            if delivers:
                if accepted[node] < n_nodes:
                    return 0, 0, False  # it has to ask for a value
                is_delivered[node] = True
            elif not n_sent:
                continue
        # The agreement; a node that has halted takes nothing more.
        elif is_halted[node]:
            continue
        elif step == _SET_PROPOSAL:
            is_proposed[node] = True
        elif step == _DECISION:
            decisions[node] += 1
        else:
            votes[step - _VOTE_1, node] += 1
        if node == leader and is_delivered[node] and not is_proposed[node]:
            is_proposed[node] = True
            sent[n_sent] = _SET_PROPOSAL
            n_sent += 1
        if step == _DECISION and decisions[node] >= blocking and not is_decided[node]:
            is_decided[node] = True
            decisions[node] += 1
            sent[n_sent] = _DECISION
            n_sent += 1
        if is_decided[node] and decisions[node] >= quorum and not has_voted[:, node].all():
            return 0, 0, False  # it halts and votes no more
        for phase in range(4):
            may_vote = is_proposed[node] if phase == 0 else votes[phase - 1, node] >= quorum
            if is_delivered[node] and may_vote and not has_voted[phase, node]:
                has_voted[phase, node] = True
                votes[phase, node] += 1
                sent[n_sent] = _VOTE_1 + phase
                n_sent += 1
        if votes[3, node] >= quorum and not is_decided[node]:
            is_decided[node] = True
            decisions[node] += 1
            sent[n_sent] = _DECISION
            n_sent += 1
        if is_decided[node] and is_delivered[node] and not is_concluded[node]:
            is_concluded[node] = True
            if is_honest[node]:
                last_ns = max(last_ns, now_ns)
                message_delays = max(message_delays, depth)
        is_halted[node] = is_decided[node] and decisions[node] >= quorum
        for index in range(n_sent):
            for receiver in range(n_nodes):
                if receiver != node:
                    event = (now_ns + delay_ns[node, receiver], sequence, receiver, sent[index], depth + 1)
                    heappush(events, event)
                    sequence += 1
    return last_ns, message_delays, bool(is_concluded.all() and has_voted.all())
