"""A broadcast that nothing disturbs, without its frames.

Where all values are valid, every node follows the protocol, no frame is lost and there is key for all of them, each
node sends one PROPOSE, one ECHO and one READY to every other, and each of the last two holds all instances. Then counts
of frames decide what happens, and neither bytes nor tags need to be made. Times and depths come from the same events in
the same order as in `ceas.runtime.message_network`, which is what the tests hold it against.
"""

from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["STEPS", "UndisturbedExchange", "undisturbed_exchange"]

STEPS: Final = 3
"""Frames on each direction of a link: PROPOSE, ECHO, READY."""

_PROPOSE, _ECHO, _READY = 0, 1, 2


class UndisturbedExchange(NamedTuple):
    """When a broadcast that nothing disturbs is over.

    Attributes:
        elapsed_ns: Time of the last delivery at an honest node (ns).
        message_delays: Longest chain of frames that ended in such a delivery.
    """

    elapsed_ns: int
    message_delays: int


def undisturbed_exchange(
    delay_ns: NDArray[np.int64], is_honest: NDArray[np.bool_], *, quorum: int, amplification: int
) -> UndisturbedExchange | None:
    """Return when all values are delivered; None if some node would have to ask for a value that it does not hold yet.

    Args:
        delay_ns: Time of a frame from each node to each other (ns), shape `(n, n)`.
        is_honest: Whose deliveries count, shape `(n,)`.
        quorum: Votes that make a node ready, and that let it deliver.
        amplification: READY votes that make a node ready.
    """
    elapsed_ns, message_delays, is_plain = _deliveries(delay_ns, is_honest, quorum, amplification)
    return UndisturbedExchange(elapsed_ns, message_delays) if is_plain else None


@njit(cache=True, nogil=True)
def _deliveries(  # noqa: PLR0912 - one event loop; compiled functions take no keywords
    delay_ns: NDArray[np.int64], is_honest: NDArray[np.bool_], quorum: int, amplification: int
) -> tuple[int, int, bool]:
    n_nodes = delay_ns.shape[0]
    # A node's own votes and its own value count at once.
    accepted, echoes, readies = np.ones(n_nodes, np.int64), np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
    is_ready = np.zeros(n_nodes, np.bool_)
    last_ns, message_delays, sequence = 0, 0, 0
    events = [(0, 0, 0, 0, 0)]
    events.clear()
    for source in range(n_nodes):
        for node in range(n_nodes):
            if node != source:
                heappush(events, (delay_ns[source, node], sequence, node, _PROPOSE, 1))
                sequence += 1
    while events:
        now_ns, _, node, step, depth = heappop(events)
        sends_echo = sends_ready = delivers = False
        if step == _PROPOSE:
            accepted[node] += 1
            sends_echo = accepted[node] == n_nodes
            echoes[node] += sends_echo
        elif step == _ECHO:
            echoes[node] += 1
        else:
            readies[node] += 1
            delivers = readies[node] == quorum
        if not is_ready[node]:
            by_echoes = step != _READY and echoes[node] >= quorum
            sends_ready = by_echoes or (step == _READY and readies[node] == amplification)
        if sends_ready:
            is_ready[node] = True
            readies[node] += 1
            delivers = delivers or readies[node] == quorum
        if delivers:
            if accepted[node] < n_nodes:
                return 0, 0, False
            if is_honest[node]:
                last_ns = max(last_ns, now_ns)
                message_delays = max(message_delays, depth)
        for sent, is_sent in ((_ECHO, sends_echo), (_READY, sends_ready)):
            if is_sent:
                for receiver in range(n_nodes):
                    if receiver != node:
                        heappush(events, (now_ns + delay_ns[node, receiver], sequence, receiver, sent, depth + 1))
                        sequence += 1
    return last_ns, message_delays, True
