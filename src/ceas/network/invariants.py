"""What must hold between any two events, checked in debug runs."""

from ceas.network.arena import Arena
from ceas.network.compilation import inlined
from ceas.network.policy import NEVER
from ceas.network.records import Fate
from ceas.network.route_arena import ASKING, PRESENT

__all__ = ["VIOLATIONS", "violation"]

# Number and meaning of each violation.
VIOLATIONS = {
    1: "time ran backwards",
    2: "a node's taken and free memory slots do not add up, or more are taken than it has",
    3: "a pair was kept in stock beyond its expiry",
    4: "a pair is in two places",
    5: "a request's event was missed",
    6: "pairs born do not equal pairs kept and pairs that met their fate",
    7: "a node's links attempt beyond its communication qubits",
    8: "pairs that route requests took do not equal those they hold and those that met their fate",
}
_ROUTE = int(Fate.ROUTE)


@inlined
def _slots_taken(arena: Arena, node: int) -> int:
    routes = arena.routes
    taken = 0
    for link in range(len(arena.constants)):
        if arena.constants[link].node_a == node or arena.constants[link].node_b == node:
            taken += arena.states[link].n_stored
    for slot in range(len(routes.requests)):
        request = routes.requests[slot]
        if not request.is_live:
            continue
        flow = routes.flows[request.flow]
        for at in range(flow.n_hops):
            hop = routes.hops[slot, at]
            if hop.state == ASKING:
                continue
            if hop.is_held_left and routes.route_node[flow.first_node + at] == node:
                taken += 1
            if hop.is_held_right and routes.route_node[flow.first_node + at + 1] == node:
                taken += 1
    return taken


@inlined
def _places(arena: Arena, link: int, number: int) -> int:
    """Return in how many places a pair of a link is."""
    routes = arena.routes
    places = 0
    for position in range(arena.states[link].n_stored):
        places += arena.stock_number[link, position] == number
    for slot in range(len(routes.requests)):
        request = routes.requests[slot]
        if not request.is_live:
            continue
        for at in range(routes.flows[request.flow].n_hops):
            hop = routes.hops[slot, at]
            places += hop.link == link and hop.state == PRESENT and hop.number == number
    return places


@inlined
def _is_kept_once(arena: Arena) -> bool:
    routes = arena.routes
    for link in range(len(arena.constants)):
        for position in range(arena.states[link].n_stored):
            if _places(arena, link, arena.stock_number[link, position]) != 1:
                return False
    for slot in range(len(routes.requests)):
        request = routes.requests[slot]
        if request.is_live:
            for at in range(routes.flows[request.flow].n_hops):
                hop = routes.hops[slot, at]
                if hop.state == PRESENT and _places(arena, hop.link, hop.number) != 1:
                    return False
    return True


@inlined
def _held_by_requests(arena: Arena, link: int) -> int:
    routes = arena.routes
    held = 0
    for slot in range(len(routes.requests)):
        if routes.requests[slot].is_live:
            for at in range(routes.flows[routes.requests[slot].flow].n_hops):
                hop = routes.hops[slot, at]
                held += hop.link == link and hop.state == PRESENT
    return held


@inlined
def _link_violation(arena: Arena, link: int, next_ns: int) -> int:
    state = arena.states[link]
    for position in range(state.n_stored):
        expiry_ns = arena.stock_birth_ns[link, position] + arena.constants[link].lifetime_ns
        if arena.routes.has_drift:
            expiry_ns = arena.stock_expiry_ns[link, position]
        if expiry_ns < next_ns < NEVER:
            return 3
    closed = 0
    for fate in range(1, arena.fates.shape[1]):
        closed += arena.fates[link, fate]
    if arena.tallies[link].generated != closed + state.n_stored - arena.stored_before[link]:
        return 6
    ended = 0
    for fate in range(1, arena.routes.pair_fates.shape[1]):
        ended += arena.routes.pair_fates[link, fate]
    if arena.fates[link, _ROUTE] != ended + _held_by_requests(arena, link) - arena.held_before[link]:
        return 8
    return 0


@inlined
def violation(  # noqa: PLR0911 - one for each violation
    arena: Arena, before_ns: int, next_ns: int
) -> int:
    """Return the number of an invariant that does not hold after the event at `before_ns`, 0 if all do."""
    routes = arena.routes
    if next_ns < before_ns:
        return 1
    for node in range(len(arena.free_slots)):
        taken = _slots_taken(arena, node)
        if arena.free_slots[node] < 0 or taken + arena.free_slots[node] != arena.memory_slots[node]:
            return 2
        if routes.has_attempt_limit:
            active = 0
            for at in range(arena.first_neighbour[node], arena.first_neighbour[node + 1]):
                active += routes.is_active[arena.neighbour_link[at]]
            if routes.free_communication[node] < 0:
                return 7
            if active + routes.free_communication[node] != routes.communication_qubits[node]:
                return 7
    if not _is_kept_once(arena):
        return 4
    for link in range(len(arena.constants)):
        number = _link_violation(arena, link, next_ns)
        if number > 0:
            return number
    for slot in range(len(routes.requests)):
        is_live = routes.requests[slot].is_live != 0
        if is_live and (
            routes.source_ns[routes.n_flows + slot] < next_ns or routes.requests[slot].deadline_ns < next_ns
        ):
            return 5
    return 0
