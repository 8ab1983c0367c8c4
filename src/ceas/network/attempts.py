"""Which links attempt: modes that are bound to memory slots, and nodes with few communication qubits."""

from ceas.network.arena import Arena, link_view
from ceas.network.compilation import CompiledRule, as_index, inlined
from ceas.network.policy import NEVER
from ceas.network.route_arena import N_REVIEW
from ceas.network.sources import ask_review

__all__ = ["has_attempt", "review_attempts", "wants_for_routes"]


@inlined
def wants_for_routes(arena: Arena, link: int) -> bool:
    """Tell whether more route requests ask a link than it has pairs in stock."""
    return bool(arena.routes.has_routes and arena.routes.n_asks[link] > arena.states[link].n_stored)


@inlined
def has_attempt(arena: Arena, link: int) -> bool:
    """Tell whether limits let the link make the attempt that has just succeeded, from its start to its end."""
    routes = arena.routes
    if not routes.has_modes and not routes.has_attempt_limit:
        return True
    state = arena.states[link]
    modes = routes.modes[link]
    began_ns = (state.attempt + 1 - max(modes, 1)) * arena.constants[link].attempt_period_ns
    if modes > 0 and routes.mode_free_ns[link, as_index(state.attempt) % modes] > began_ns:
        return False
    if routes.has_attempt_limit:
        return bool(routes.is_active[link] and state.resume_ns <= began_ns)
    return bool(state.resume_ns <= began_ns)


@inlined
def _wants(arena: Arena, link: int, now_ns: int, attempt: CompiledRule) -> bool:
    """Tell whether a link has room for a pair and the policy or a route request wants one."""
    state, constant = arena.states[link], arena.constants[link]
    is_free = arena.free_slots[constant.node_a] > 0 and arena.free_slots[constant.node_b] > 0
    if not is_free and state.n_stored == 0:
        return False
    position = attempt(link_view(arena, link, now_ns))
    if position < 0:
        return bool(is_free and wants_for_routes(arena, link))
    return bool(is_free or position < state.n_stored)


@inlined
def _release_unwanted(arena: Arena, node: int, now_ns: int, attempt: CompiledRule) -> None:
    """Take communication qubits from the links of a node that want none or have had their turn."""
    routes = arena.routes
    for at in range(arena.first_neighbour[node], arena.first_neighbour[node + 1]):
        link = arena.neighbour_link[at]
        is_wanting = _wants(arena, link, now_ns, attempt)
        if routes.is_active[link] and (routes.is_renewed[link] or not is_wanting):
            routes.is_active[link] = False
            node_a, node_b = arena.constants[link].node_a, arena.constants[link].node_b
            routes.free_communication[node_a] += 1
            routes.free_communication[node_b] += 1
            routes.wanted_since_ns[link] = NEVER
            ask_review(routes, node_a)
            ask_review(routes, node_b)
        routes.is_renewed[link] = False
        if is_wanting and routes.wanted_since_ns[link] == NEVER:
            routes.wanted_since_ns[link] = now_ns
        elif not is_wanting:
            routes.wanted_since_ns[link] = NEVER


@inlined
def review_attempts(arena: Arena, now_ns: int, attempt: CompiledRule, priority: CompiledRule) -> None:
    """At the nodes to review, take communication qubits from links that want none, and give them to the most urgent."""
    routes = arena.routes
    # Whoever gives back a qubit at one node may free it at another, which joins the list.
    at_node = 0
    while at_node < routes.counts[N_REVIEW]:
        _release_unwanted(arena, routes.review_node[at_node], now_ns, attempt)
        at_node += 1
    best = 0
    while best >= 0:
        best = -1
        best_priority = 0.0
        for at_node in range(routes.counts[N_REVIEW]):
            node = routes.review_node[at_node]
            if routes.free_communication[node] == 0:
                continue
            for at in range(arena.first_neighbour[node], arena.first_neighbour[node + 1]):
                link = arena.neighbour_link[at]
                other = arena.constants[link].node_a + arena.constants[link].node_b - node
                is_waiting = not routes.is_active[link] and routes.wanted_since_ns[link] < NEVER
                if not is_waiting or routes.free_communication[other] == 0:
                    continue
                found = priority(link_view(arena, link, now_ns), routes.wanted_since_ns[link])
                if best < 0 or found > best_priority or (found == best_priority and link < best):
                    best, best_priority = link, found
        if best >= 0:
            routes.is_active[best] = True
            routes.free_communication[arena.constants[best].node_a] -= 1
            routes.free_communication[arena.constants[best].node_b] -= 1
            arena.states[best].resume_ns = now_ns
    for at_node in range(routes.counts[N_REVIEW]):
        routes.is_review[routes.review_node[at_node]] = False
    routes.counts[N_REVIEW] = 0
