"""The heap of the event sources of routes, and the links and nodes to look at after an event."""

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import compiled, inlined, outlined
from ceas.network.route_arena import N_PENDING, N_REVIEW, RouteArena

__all__ = ["ask_review", "push_pending", "rebuild_heap", "set_request_time", "set_source_time"]


@compiled
def _is_before(source_ns: npt.NDArray[np.int64], source: int, other: int) -> bool:
    return bool(source_ns[source] < source_ns[other] or (source_ns[source] == source_ns[other] and source < other))


@outlined
def set_source_time(
    source_ns: npt.NDArray[np.int64],
    heap: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    source: int,
    time_ns: int,
) -> None:
    """Give an event source a new time and put it in its place in the heap."""
    source_ns[source] = time_ns
    at = place[source]
    while at > 0:
        parent = (at - 1) >> 1
        other = heap[parent]
        if not _is_before(source_ns, source, other):
            break
        heap[at] = other
        place[other] = at
        at = parent
    size = len(heap)
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _is_before(source_ns, heap[child + 1], heap[child]):
            child += 1
        other = heap[child]
        if _is_before(source_ns, source, other):
            break
        heap[at] = other
        place[other] = at
        at = child
    heap[at] = source
    place[source] = at


def rebuild_heap(routes: RouteArena) -> None:
    """Order all sources; a sorted array is a heap."""
    order = np.lexsort((np.arange(len(routes.source_ns)), routes.source_ns))
    routes.heap[:] = order
    routes.place[order] = np.arange(len(order))


@inlined
def set_request_time(routes: RouteArena, slot: int, time_ns: int) -> None:
    """Give a request a new time."""
    set_source_time(routes.source_ns, routes.heap, routes.place, routes.n_flows + slot, time_ns)


@inlined
def push_pending(routes: RouteArena, link: int) -> None:
    """Remember to ask the policy about the route requests of a link after this event."""
    if not routes.is_pending[link]:
        routes.is_pending[link] = True
        routes.pending_link[routes.counts[N_PENDING]] = link
        routes.counts[N_PENDING] += 1


@inlined
def ask_review(routes: RouteArena, node: int) -> None:
    """Remember to look which links of a node attempt after this event, if the network has limits."""
    if routes.has_attempt_limit and not routes.is_review[node]:
        routes.is_review[node] = True
        routes.review_node[routes.counts[N_REVIEW]] = node
        routes.counts[N_REVIEW] += 1
