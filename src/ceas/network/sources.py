"""The times of the event sources of routes, and the links and nodes to look at after an event."""

from ceas.network.compilation import as_index, inlined
from ceas.network.route_arena import N_PENDING, N_REVIEW, RouteArena
from ceas.network.tournament import play_again

__all__ = ["ask_review", "push_pending", "set_request_time", "set_source_time"]


@inlined
def set_source_time(routes: RouteArena, source: int, time_ns: int) -> None:
    """Give an event source a new time."""
    routes.source_ns[source] = time_ns
    play_again(routes.source_ns, routes.winner, source)


@inlined
def set_request_time(routes: RouteArena, slot: int, time_ns: int) -> None:
    """Give a request a new time."""
    set_source_time(routes, routes.n_flows + slot, time_ns)


@inlined
def push_pending(routes: RouteArena, link: int) -> None:
    """Remember to ask the policy about the route requests of a link after this event."""
    if not routes.is_pending[link]:
        routes.is_pending[link] = True
        routes.pending_link[as_index(routes.counts[N_PENDING])] = link
        routes.counts[N_PENDING] += 1


@inlined
def ask_review(routes: RouteArena, node: int) -> None:
    """Remember to look which links of a node attempt after this event, if the network has limits."""
    if routes.has_attempt_limit and not routes.is_review[node]:
        routes.is_review[node] = True
        routes.review_node[routes.counts[N_REVIEW]] = node
        routes.counts[N_REVIEW] += 1
