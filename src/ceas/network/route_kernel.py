"""The compiled machine of end-to-end pairs: requests collect a pair on each link of their route and swap them.

Rules of the machine:

- A request asks every link of its route for a pair. A pair that a link gives it leaves the link's stock but keeps its
  two memory slots. Each request and each flow of requests is an event source of its own.
- A node decides by what it has heard. It may begin a Bell measurement on its two pairs of a request whether or not a
  swap elsewhere has changed them meanwhile. The measurement's outcome, a coin that depends on the request, the node and
  the number of the try alone, travels at the speed of light along the route in both directions.
- Pairs joined by swaps are a segment. A segment that is lost (a measurement failed, or an end gave it up for its age)
  frees a memory slot at either end only when that end hears of it; until then an end may still measure, and loses its
  other pair as well. A link is asked again when the nodes at both its ends know.
- A node hears of what happened at another at the time of the event plus the latency of the route between them. So
  nobody needs a message in a queue: what a node knows follows from times and latencies.
- A pair is delivered when both ends know that it spans the route; until then it decays and holds their slots.
- At one time, a request's deadline goes before all else, then measurements that end, pairs given up for their age,
  delivery, news of losses, links asked again, measurements that begin. Events of links go before those of requests.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.network.arena import Arena, link_view
from ceas.network.compilation import CompiledRule, compiled, constant, inlined, outlined
from ceas.network.draws import hash_counter, unit_interval
from ceas.network.memory import NOBODY, ROUTE, close_pair, free_one_slot
from ceas.network.policy import NEVER, WAIT, SwapView
from ceas.network.records import FIDELITY_BINS
from ceas.network.route_arena import (
    ASKING,
    BROKEN,
    N_FREE,
    N_PENDING,
    N_REVIEW,
    N_SWAPPED,
    N_TRACED,
    PRESENT,
    RouteArena,
)
from ceas.network.route_records import NO_PARENT, RouteFate
from ceas.network.routes import Arrivals, RouteClass
from ceas.network.waiting import wait_bin

__all__ = ["ask_review", "dispatch_routes", "has_route_room", "push_pending", "rebuild_heap", "run_source"]

_PERIODIC, _POISSON = int(Arrivals.PERIODIC), int(Arrivals.POISSON)
_SATURATED = int(Arrivals.SATURATED)
_KEY, _TEST = int(RouteClass.KEY), int(RouteClass.TEST)
_SWAPPED, _DELIVERED, _TESTED = (
    constant(RouteFate.SWAPPED),
    constant(RouteFate.DELIVERED),
    constant(RouteFate.TESTED),
)
_BELOW, _CUT = constant(RouteFate.BELOW_MINIMUM), constant(RouteFate.CUT)
_FAILED, _DROPPED = constant(RouteFate.SWAP_FAILED), constant(RouteFate.DROPPED)
# Sides of a pair, and the first hop of a route.
_LEFT, _RIGHT, _FIRST = constant(0), constant(1), constant(0)
_NEVER = constant(NEVER)


# ---- the heap of event sources ---------------------------------------------------------------------------------------


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
def _set_request_time(routes: RouteArena, slot: int, time_ns: int) -> None:
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


# ---- segments: states, slots, ends -----------------------------------------------------------------------------------


@inlined
def _latency_ns(routes: RouteArena, slot: int, position: int, other: int) -> int:
    first = routes.flows[routes.requests[slot].flow].first_node
    return int(abs(routes.offset_ns[first + position] - routes.offset_ns[first + other]))


@inlined
def _free_half(arena: Arena, slot: int, at: int, side: int, now_ns: int) -> None:
    """Free the slot that one half of a pair holds."""
    routes = arena.routes
    hop = routes.hops[slot, at]
    if side == _RIGHT:
        hop.is_held_right = 0
    else:
        hop.is_held_left = 0
    node = routes.route_node[routes.flows[routes.requests[slot].flow].first_node + at + side]
    free_one_slot(
        arena.constants,
        arena.states,
        arena.tallies,
        arena.free_slots,
        arena.first_neighbour,
        arena.neighbour_link,
        arena.round_start_ns,
        node,
        now_ns,
    )
    if routes.has_modes and routes.modes[hop.link] > 0 and hop.is_held_left == 0 and hop.is_held_right == 0:
        routes.mode_free_ns[hop.link, hop.mode] = now_ns
    ask_review(routes, node)


@inlined
def _age_segment(arena: Arena, slot: int, first: int, now_ns: int) -> None:
    """Bring the correlators of the segment that begins at hop `first` to the present."""
    routes = arena.routes
    hop = routes.hops[slot, first]
    age_ns = now_ns - hop.reference_ns
    if age_ns == 0:
        return
    at = routes.flows[routes.requests[slot].flow].first_node
    left, right = routes.nodes[routes.route_node[at + first]], routes.nodes[routes.route_node[at + hop.last + 1]]
    factor = -float(age_ns)
    if hop.last == first:
        factor *= routes.decay_factor[hop.link]
    kept = math.exp(factor * (left.rate_x + right.rate_x))
    hop.x *= kept
    if routes.is_isotropic:
        hop.y *= kept
        hop.z *= kept
    else:
        hop.y *= math.exp(factor * (left.rate_y + right.rate_y))
        hop.z *= math.exp(factor * (left.rate_z + right.rate_z))
    hop.reference_ns = now_ns


@outlined
def _write_end(
    hops: npt.NDArray[Any],
    trace: npt.NDArray[Any],
    counts: npt.NDArray[np.int64],
    slot: int,
    first: int,
    flow: int,
    route: int,
    request: int,
    node_a: int,
    node_b: int,
    now_ns: int,
    fate: int,
) -> None:
    hop = hops[slot, first]
    row = trace[counts[N_TRACED]]
    row.pair_id = hop.pair_id
    row.parent_left = hop.parent_left
    row.parent_right = hop.parent_right
    row.flow = flow
    row.route = route
    row.request = request
    row.node_a = node_a
    row.node_b = node_b
    row.birth_ns = hop.segment_birth_ns
    row.end_ns = now_ns
    row.fate = fate
    row.x_at_end = hop.x
    row.y_at_end = hop.y
    row.z_at_end = hop.z
    counts[N_TRACED] += 1


@inlined
def _end_segment(arena: Arena, slot: int, first: int, now_ns: int, fate: int) -> None:
    """Record the end of a segment, and with it, unless it was swapped, of the pairs of its links."""
    routes = arena.routes
    last = routes.hops[slot, first].last
    if fate != _SWAPPED:
        for at in range(first, last + 1):
            routes.pair_fates[routes.hops[slot, at].link, fate] += 1
    request = routes.requests[slot]
    if routes.trace_every > 0 and request.number % routes.trace_every == 0:
        _age_segment(arena, slot, first, now_ns)
        flow = routes.flows[request.flow]
        node_a = routes.route_node[flow.first_node + first]
        node_b = routes.route_node[flow.first_node + last + 1]
        _write_end(
            routes.hops,
            routes.trace,
            routes.counts,
            slot,
            first,
            request.flow,
            flow.route,
            request.number,
            node_a,
            node_b,
            now_ns,
            fate,
        )


@compiled
def _measuring_until(hops: npt.NDArray[Any], slot: int, position: int, n_hops: int) -> int:
    """Return when the measurement at a position ends, or `NEVER` if there is none; ends of the route measure nothing."""
    if position == 0 or position == n_hops:
        return NEVER
    return int(hops[slot, position - 1].measuring_until_ns)


@outlined
def _cut_time(
    hops: npt.NDArray[Any], offset_ns: npt.NDArray[np.int64], slot: int, at: int, side: int, first_node: int
) -> int:
    """Return when the node that holds one end of a whole segment gives it up: the first of its pairs that is too old.

    `at` is the hop at this end. The age of a pair further away counts once the node knows that it belongs to its own.
    """
    known_ns = 0
    cut_ns = hops[slot, at].expiry_ns
    if side == _RIGHT:
        here = offset_ns[first_node + at + 1]
        for other in range(at - 1, hops[slot, at].first - 1, -1):
            heard_ns = hops[slot, other].swap_ns + abs(here - offset_ns[first_node + other + 1])
            known_ns = max(known_ns, heard_ns)
            cut_ns = min(cut_ns, max(known_ns, hops[slot, other].expiry_ns))
    else:
        here = offset_ns[first_node + at]
        for other in range(at + 1, hops[slot, at].last + 1):
            heard_ns = hops[slot, other - 1].swap_ns + abs(here - offset_ns[first_node + other])
            known_ns = max(known_ns, heard_ns)
            cut_ns = min(cut_ns, max(known_ns, hops[slot, other].expiry_ns))
    return int(cut_ns)


@inlined
def _lose_coverage(arena: Arena, slot: int, count: int) -> None:
    """Count that a request lacks pairs that it had."""
    routes = arena.routes
    request = routes.requests[slot]
    if request.n_present == routes.flows[request.flow].n_hops:
        routes.flow_states[request.flow].n_open += 1
    request.n_present -= count


@outlined
def _spread_news(
    hops: npt.NDArray[Any],
    offset_ns: npt.NDArray[np.int64],
    slot: int,
    lost_id: int,
    first: int,
    last: int,
    position: int,
    since_ns: int,
    first_node: int,
    n_hops: int,
) -> None:
    """Tell the nodes that hold lost pairs of the hops `first`, ..., `last` what the node at `position` knows or tells."""
    here = offset_ns[first_node + position]
    for at in range(first, last + 1):
        hop = hops[slot, at]
        if hop.state != BROKEN or hop.lost_id != lost_id:
            continue
        hop.learn_left_ns = min(hop.learn_left_ns, since_ns + abs(here - offset_ns[first_node + at]))
        hop.learn_right_ns = min(hop.learn_right_ns, since_ns + abs(here - offset_ns[first_node + at + 1]))
        left_ns, right_ns = hop.learn_left_ns, hop.learn_right_ns
        # A measurement goes on although its pair is lost; only then is the slot free.
        if hop.is_held_left:
            until_ns = _measuring_until(hops, slot, at, n_hops)
            left_ns = max(left_ns, until_ns) if until_ns < NEVER else left_ns
        if hop.is_held_right:
            until_ns = _measuring_until(hops, slot, at + 1, n_hops)
            right_ns = max(right_ns, until_ns) if until_ns < NEVER else right_ns
        hop.reset_ns = max(left_ns, right_ns)


@outlined
def _mark_lost(
    hops: npt.NDArray[Any],
    offset_ns: npt.NDArray[np.int64],
    slot: int,
    first: int,
    lost_id: int,
    position: int,
    since_ns: int,
    first_node: int,
) -> None:
    """Mark a whole segment lost at `position` at `since_ns`; nobody knows yet."""
    last = hops[slot, first].last
    give_up_left_ns = _cut_time(hops, offset_ns, slot, first, _LEFT, first_node)
    give_up_right_ns = _cut_time(hops, offset_ns, slot, last, _RIGHT, first_node)
    for at in range(first, last + 1):
        hop = hops[slot, at]
        hop.state = BROKEN
        hop.broken_ns = since_ns
        hop.broken_at = position
        hop.lost_id = lost_id
        hop.lost_first = first
        hop.lost_last = last
        hop.learn_left_ns = hop.learn_right_ns = hop.reset_ns = NEVER
        hop.give_up_left_ns = give_up_left_ns
        hop.give_up_right_ns = give_up_right_ns


@outlined
def _age_through(
    hops: npt.NDArray[Any],
    offset_ns: npt.NDArray[np.int64],
    slot: int,
    position: int,
    side: int,
    first_node: int,
    now_ns: int,
    far: int,
) -> int:
    """Return when the node at `far` gives up its half for the age of what was joined to it, at `position`, now.

    That is the segment on `side` of the node at `position`: whole, or lost without the far node's knowledge.
    """
    hop = hops[slot, position] if side == _RIGHT else hops[slot, position - 1]
    here = offset_ns[first_node + position]
    away_ns = abs(here - offset_ns[first_node + far])
    if hop.state != PRESENT:
        give_up_ns = hop.give_up_left_ns if side == _RIGHT else hop.give_up_right_ns
        # When the others' ages came to be known here is not kept, so the far node reckons with them a little late.
        return int(max(now_ns + away_ns, min(hop.expiry_ns, give_up_ns + away_ns)))
    known_ns = now_ns
    cut_ns = max(now_ns + away_ns, hop.expiry_ns)
    if side == _RIGHT:
        for other in range(position + 1, hop.last + 1):
            known_ns = max(known_ns, hops[slot, other - 1].swap_ns + abs(here - offset_ns[first_node + other]))
            cut_ns = min(cut_ns, max(known_ns + away_ns, hops[slot, other].expiry_ns))
    else:
        for other in range(position - 2, hop.first - 1, -1):
            known_ns = max(known_ns, hops[slot, other].swap_ns + abs(here - offset_ns[first_node + other + 1]))
            cut_ns = min(cut_ns, max(known_ns + away_ns, hops[slot, other].expiry_ns))
    return int(cut_ns)


@outlined
def _merge_losses(hops: npt.NDArray[Any], slot: int, position: int, lost_id: int) -> None:
    """Make one of the lost segments on both sides of the node at `position`, which has joined them."""
    left, right = hops[slot, position - 1], hops[slot, position]
    left_id, right_id, first, last = left.lost_id, right.lost_id, left.lost_first, right.lost_last
    for at in range(first, last + 1):
        hop = hops[slot, at]
        mine = left_id if at < position else right_id
        if hop.state == BROKEN and hop.lost_id == mine:
            hop.lost_id = lost_id
            hop.lost_first = first
            hop.lost_last = last


@inlined
def _lose_segment(arena: Arena, slot: int, first: int, position: int, now_ns: int, fate: int) -> None:
    """End a whole segment by a loss at `position`; nobody knows yet."""
    routes = arena.routes
    request = routes.requests[slot]
    _end_segment(arena, slot, first, now_ns, fate)
    _lose_coverage(arena, slot, routes.hops[slot, first].last - first + 1)
    request.deliver_ns = NEVER
    request.n_losses += 1
    first_node = routes.flows[request.flow].first_node
    _mark_lost(routes.hops, routes.offset_ns, slot, first, request.n_losses, position, now_ns, first_node)


@inlined
def _tell_of_loss(arena: Arena, slot: int, at: int, position: int, since_ns: int) -> None:
    """Let the node at `position` tell all that hold pairs lost with that of a hop."""
    routes = arena.routes
    hop = routes.hops[slot, at]
    flow = routes.flows[routes.requests[slot].flow]
    _spread_news(
        routes.hops,
        routes.offset_ns,
        slot,
        hop.lost_id,
        hop.lost_first,
        hop.lost_last,
        position,
        since_ns,
        flow.first_node,
        flow.n_hops,
    )


# ---- asking and getting ----------------------------------------------------------------------------------------------


@inlined
def _ask(arena: Arena, slot: int, at: int) -> None:
    """Let a request ask a link for a pair, in the order of the requests' arrival."""
    routes = arena.routes
    request = routes.requests[slot]
    flow = routes.flows[request.flow]
    hop = routes.hops[slot, at]
    hop.state = ASKING
    link = hop.link
    place = routes.n_asks[link]
    while place > 0 and routes.asks[link, place - 1].arrival_ns > request.arrival_ns:
        routes.asks[link, place] = routes.asks[link, place - 1]
        place -= 1
    ask = routes.asks[link, place]
    ask.arrival_ns = request.arrival_ns
    ask.deadline_ns = request.deadline_ns
    ask.weight = flow.weight
    ask.minimum_fidelity = flow.minimum_fidelity
    ask.use_class = flow.use_class
    ask.n_hops = flow.n_hops
    ask.request = slot
    ask.hop = at
    routes.n_asks[link] += 1
    push_pending(routes, link)


@inlined
def _remove_ask(routes: RouteArena, link: int, place: int) -> None:
    routes.n_asks[link] -= 1
    for at in range(place, routes.n_asks[link]):
        routes.asks[link, at] = routes.asks[link, at + 1]


@inlined
def _commit(arena: Arena, link: int, place: int, position: int, now_ns: int) -> None:
    """Give a stored pair to a request; the request looks at it as its own event, now."""
    routes = arena.routes
    constant = arena.constants[link]
    slot, at = routes.asks[link, place].request, routes.asks[link, place].hop
    request, hop = routes.requests[slot], routes.hops[slot, at]
    birth_ns = arena.stock_birth_ns[link, position]
    hop.state = PRESENT
    hop.number = arena.stock_number[link, position]
    hop.birth_ns = birth_ns
    hop.old_commit_ns = hop.commit_ns
    hop.commit_ns = now_ns
    hop.expiry_ns = birth_ns + min(constant.lifetime_ns, routes.cutoff_ns[link] + 1)
    hop.is_held_left = hop.is_held_right = 1
    hop.first = hop.last = at
    hop.pair_id = hop.number * len(arena.constants) + link
    hop.parent_left = hop.parent_right = NO_PARENT
    hop.segment_birth_ns = birth_ns
    hop.reference_ns = birth_ns
    hop.old_broken_ns, hop.old_broken_at = hop.broken_ns, hop.broken_at
    hop.old_lost_id = hop.lost_id
    hop.old_learn_left_ns, hop.old_learn_right_ns = hop.learn_left_ns, hop.learn_right_ns
    hop.broken_ns = NEVER
    if not routes.swaps_at_once:
        for side in range(2):
            for position_of in range(routes.heard_ns.shape[3]):
                routes.heard_ns[slot, at, side, position_of] = NEVER
    hop.x, hop.y, hop.z = routes.start[link, 0], routes.start[link, 1], routes.start[link, 2]
    if routes.has_drift:
        shift = math.exp(arena.stock_shift[link, position])
        hop.x *= shift
        hop.y *= shift
        hop.z *= shift
    if routes.has_modes:
        hop.mode = arena.stock_mode[link, position]
    _age_segment(arena, slot, at, now_ns)
    close_pair(arena, link, position, now_ns, ROUTE, NOBODY)
    _remove_ask(routes, link, place)
    request.n_present += 1
    flow, flow_state = routes.flows[request.flow], routes.flow_states[request.flow]
    if request.n_present == flow.n_hops:
        flow_state.n_open -= 1
        if flow.n_hops == 1:
            request.deliver_ns = now_ns
        if flow.arrivals == _SATURATED and flow_state.n_open < flow.backlog:
            set_source_time(routes.source_ns, routes.heap, routes.place, request.flow, now_ns)
    _set_request_time(routes, slot, now_ns)


@inlined
def dispatch_routes(arena: Arena, now_ns: int, route: CompiledRule) -> bool:
    """Let the policy serve route requests at all links where that may be due; False if it chose what is not there."""
    routes = arena.routes
    while routes.counts[N_PENDING] > 0:
        routes.counts[N_PENDING] -= 1
        link = routes.pending_link[routes.counts[N_PENDING]]
        routes.is_pending[link] = False
        constant = arena.constants[link]
        ask_review(routes, constant.node_a)
        ask_review(routes, constant.node_b)
        while routes.n_asks[link] > 0 and arena.states[link].n_stored > 0:
            place, position = route(link_view(arena, link, now_ns), routes.asks[link, : routes.n_asks[link]])
            if place == WAIT:
                slot = routes.asks[link, 0].request
                if now_ns < position < routes.requests[slot].wake_ns:
                    routes.requests[slot].wake_ns = position
                    if position < routes.source_ns[routes.n_flows + slot]:
                        _set_request_time(routes, slot, position)
                break
            is_ask = 0 <= place < routes.n_asks[link]
            if not (is_ask and 0 <= position < arena.states[link].n_stored):
                return False
            _commit(arena, link, place, position, now_ns)
    return True


@inlined
def _arrive(arena: Arena, source: int, now_ns: int) -> None:
    """Let the next request of a flow begin."""
    routes = arena.routes
    flow, flow_state = routes.flows[source], routes.flow_states[source]
    routes.counts[N_FREE] -= 1
    slot = routes.free_request[routes.counts[N_FREE]]
    request = routes.requests[slot]
    request.is_live = 1
    request.flow = source
    request.number = flow_state.number
    request.arrival_ns = now_ns
    request.deadline_ns = now_ns + flow.deadline_ns
    request.wake_ns = request.deliver_ns = NEVER
    request.n_present = request.tries = request.n_losses = 0
    for at in range(flow.n_hops):
        hop = routes.hops[slot, at]
        hop.link = routes.route_link[flow.first_hop + at]
        hop.is_held_left = hop.is_held_right = 0
        hop.swap_ns = hop.measuring_until_ns = NEVER
        hop.broken_ns = hop.commit_ns = hop.old_broken_ns = hop.old_commit_ns = NEVER
        hop.tries = hop.lost_id = hop.old_lost_id = 0
        routes.n_live_on_link[hop.link] += 1
        _ask(arena, slot, at)
    flow_state.number += 1
    flow_state.n_open += 1
    flow_state.n_live += 1
    routes.tallies[source].requested += 1
    next_ns = NEVER
    if flow.arrivals == _PERIODIC:
        next_ns = int((flow_state.number + 0.5) * flow.period_ns)
    elif flow.arrivals == _POISSON:
        flow_state.clock_ns -= math.log(unit_interval(flow.arrival_seed, flow_state.number)) * flow.period_ns
        next_ns = int(min(flow_state.clock_ns, float(NEVER)))
    elif flow_state.n_open < flow.backlog:
        next_ns = now_ns
    set_source_time(routes.source_ns, routes.heap, routes.place, source, next_ns)
    _set_request_time(routes, slot, request.deadline_ns)


@inlined
def _finish_request(arena: Arena, slot: int, now_ns: int) -> None:
    """Free the request's place; its pairs have ended, and their slots are free."""
    routes = arena.routes
    request = routes.requests[slot]
    flow, flow_state = routes.flows[request.flow], routes.flow_states[request.flow]
    for at in range(flow.n_hops):
        routes.n_live_on_link[routes.hops[slot, at].link] -= 1
    request.is_live = 0
    flow_state.n_live -= 1
    routes.free_request[routes.counts[N_FREE]] = slot
    routes.counts[N_FREE] += 1
    _set_request_time(routes, slot, _NEVER)
    is_short = flow.arrivals == _SATURATED and flow_state.n_open < flow.backlog
    if is_short and routes.source_ns[request.flow] > now_ns:
        set_source_time(routes.source_ns, routes.heap, routes.place, request.flow, now_ns)


@inlined
def _drop(arena: Arena, slot: int, now_ns: int) -> None:
    routes = arena.routes
    request = routes.requests[slot]
    n_hops = routes.flows[request.flow].n_hops
    for at in range(n_hops):
        hop = routes.hops[slot, at]
        if hop.state == ASKING:
            place = 0
            while routes.asks[hop.link, place].request != slot:
                place += 1
            _remove_ask(routes, hop.link, place)
        elif hop.state == PRESENT and hop.is_held_left != 0:
            _end_segment(arena, slot, at, now_ns, _DROPPED)
        if hop.state != ASKING:
            for side in range(2):
                if (hop.is_held_right if side else hop.is_held_left) != 0:
                    _free_half(arena, slot, at, side, now_ns)
    routes.tallies[request.flow].dropped += 1
    if request.n_present < n_hops:
        routes.flow_states[request.flow].n_open -= 1
    _finish_request(arena, slot, now_ns)


# ---- what a request does ---------------------------------------------------------------------------------------------


@inlined
def _tell_of_swap(arena: Arena, slot: int, position: int, first: int, last: int, now_ns: int) -> None:
    """Note when the nodes at both ends hear of the swap at `position`, and of those that they hear of through it."""
    routes = arena.routes
    heard_ns = routes.heard_ns
    left_ns = _latency_ns(routes, slot, position, first)
    right_ns = _latency_ns(routes, slot, position, last + 1)
    for other in range(heard_ns.shape[3]):
        if heard_ns[slot, position, _LEFT, other] < NEVER:
            through_ns = heard_ns[slot, position, _LEFT, other] + left_ns
            heard_ns[slot, first, _LEFT, other] = min(heard_ns[slot, first, _LEFT, other], through_ns)
        if heard_ns[slot, position - 1, _RIGHT, other] < NEVER:
            through_ns = heard_ns[slot, position - 1, _RIGHT, other] + right_ns
            heard_ns[slot, last, _RIGHT, other] = min(heard_ns[slot, last, _RIGHT, other], through_ns)
    heard_ns[slot, first, _LEFT, position] = now_ns + left_ns
    heard_ns[slot, last, _RIGHT, position] = now_ns + right_ns


@inlined
def _join(arena: Arena, slot: int, position: int, now_ns: int) -> None:
    """End the Bell measurement of the node at `position`: join its two segments, or lose them."""
    routes = arena.routes
    request = routes.requests[slot]
    flow = routes.flows[request.flow]
    tally = routes.tallies[request.flow]
    left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
    node = routes.nodes[routes.route_node[flow.first_node + position]]
    left.measuring_until_ns = NEVER
    seed = hash_counter(flow.swap_seed, request.number)
    is_success = unit_interval(seed, (left.tries << 20) + position) <= node.swap_success
    left.tries += 1
    tally.swaps += 1
    tally.failed_swaps += not is_success
    is_left_whole, is_right_whole = left.state == PRESENT, right.state == PRESENT
    first, last = left.first, right.last
    _free_half(arena, slot, position - 1, _RIGHT, now_ns)
    _free_half(arena, slot, position, _LEFT, now_ns)
    if not routes.swaps_at_once:
        _tell_of_swap(arena, slot, position, first, last, now_ns)
    if is_left_whole and is_right_whole and is_success:
        _age_segment(arena, slot, first, now_ns)
        _age_segment(arena, slot, position, now_ns)
        _end_segment(arena, slot, first, now_ns, _SWAPPED)
        _end_segment(arena, slot, position, now_ns, _SWAPPED)
        head = routes.hops[slot, first]
        head.x *= right.x * node.factor_x
        head.y *= right.y * node.factor_y
        head.z *= right.z * node.factor_z
        head.parent_left, head.parent_right = head.pair_id, right.pair_id
        routes.counts[N_SWAPPED] += 1
        head.pair_id = -routes.counts[N_SWAPPED]
        head.segment_birth_ns = now_ns
        left.swap_ns = now_ns
        head.last = last
        routes.hops[slot, last].first = first
        if first == 0 and last == flow.n_hops - 1:
            length = flow.n_hops
            request.deliver_ns = now_ns
            for at in range(1, length):
                known_ns = max(_latency_ns(routes, slot, at, _FIRST), _latency_ns(routes, slot, at, length))
                request.deliver_ns = max(request.deliver_ns, routes.hops[slot, at - 1].swap_ns + known_ns)
        return
    _join_losses(arena, slot, position, is_success, now_ns)


@inlined
def _join_losses(arena: Arena, slot: int, position: int, is_success: bool, now_ns: int) -> None:
    """Join segments of which one is lost, or lose both by a measurement that failed.

    News of what is lost on one side reaches the other through this node, and ends reckon with the age of what was
    joined to their pairs.
    """
    routes = arena.routes
    request = routes.requests[slot]
    first_node = routes.flows[request.flow].first_node
    left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
    is_left_whole, is_right_whole = left.state == PRESENT, right.state == PRESENT
    left_ns = now_ns if not is_success else (NEVER if is_left_whole else max(left.learn_right_ns, now_ns))
    right_ns = now_ns if not is_success else (NEVER if is_right_whole else max(right.learn_left_ns, now_ns))
    first = left.first if is_left_whole else left.lost_first
    last = right.last if is_right_whole else right.lost_last
    age_left_ns = _age_through(routes.hops, routes.offset_ns, slot, position, _RIGHT, first_node, now_ns, first)
    age_right_ns = _age_through(routes.hops, routes.offset_ns, slot, position, _LEFT, first_node, now_ns, last + 1)
    left.swap_ns = now_ns
    if is_left_whole:
        _lose_segment(arena, slot, first, position, now_ns, _FAILED)
    if is_right_whole:
        _lose_segment(arena, slot, position, position, now_ns, _FAILED)
    for at in range(first, position):
        hop = routes.hops[slot, at]
        if hop.lost_id == left.lost_id:
            hop.give_up_left_ns = min(hop.give_up_left_ns, age_left_ns)
    for at in range(position, last + 1):
        hop = routes.hops[slot, at]
        if hop.lost_id == right.lost_id:
            hop.give_up_right_ns = min(hop.give_up_right_ns, age_right_ns)
    # What this node knew of either side, it tells the other.
    if right_ns < NEVER:
        _tell_of_loss(arena, slot, position - 1, position, right_ns)
    if left_ns < NEVER:
        _tell_of_loss(arena, slot, position, position, left_ns)
    request.n_losses += 1
    _merge_losses(routes.hops, slot, position, request.n_losses)


@inlined
def _hear_of_losses(arena: Arena, slot: int, now_ns: int) -> None:
    """Free the slots of lost pairs at the nodes that hear of it now."""
    routes = arena.routes
    n_hops = routes.flows[routes.requests[slot].flow].n_hops
    for at in range(n_hops):
        hop = routes.hops[slot, at]
        if hop.state != BROKEN:
            continue
        for side in range(2):
            is_held = (hop.is_held_right if side else hop.is_held_left) != 0
            learn_ns = hop.learn_right_ns if side else hop.learn_left_ns
            if is_held and learn_ns <= now_ns and _measuring_until(routes.hops, slot, at + side, n_hops) == NEVER:
                _free_half(arena, slot, at, side, now_ns)


@inlined
def _reset(arena: Arena, slot: int, now_ns: int) -> None:
    """Ask the links again whose nodes all know of the loss."""
    routes = arena.routes
    for at in range(routes.flows[routes.requests[slot].flow].n_hops):
        hop = routes.hops[slot, at]
        if hop.state == BROKEN and hop.reset_ns <= now_ns:
            hop.swap_ns = NEVER
            if at > 0:
                routes.hops[slot, at - 1].swap_ns = NEVER
            _ask(arena, slot, at)


@compiled
def _key_bits(x: float, z: float) -> float:
    """Return the asymptotic BBM92 secret bits of a Bell-diagonal pair, max(0, 1 - h((1 - x)/2) - h((1 - z)/2))."""
    fraction = 1.0
    for correlator in (x, z):
        error = 0.5 * (1.0 - correlator)
        if 0.0 < error < 1.0:
            fraction += (error * math.log(error) + (1.0 - error) * math.log1p(-error)) / math.log(2.0)
    return max(fraction, 0.0)


@inlined
def _count_delivery(arena: Arena, slot: int, now_ns: int) -> None:
    routes = arena.routes
    request = routes.requests[slot]
    flow, tally, head = routes.flows[request.flow], routes.tallies[request.flow], routes.hops[slot, 0]
    value = flow.weight
    if flow.use_class == _KEY:
        bits = _key_bits(head.x, head.z)
        tally.key_bits += bits
        value *= bits
    tally.served += 1
    tally.delivered_value += value
    tally.wait_ns += now_ns - request.arrival_ns
    tally.sum_x += head.x
    tally.sum_y += head.y
    tally.sum_z += head.z
    fidelity = 0.25 * (1.0 + head.x + head.y + head.z)
    at = int((fidelity - 0.25) / 0.75 * FIDELITY_BINS)
    routes.fidelity_at_use[flow.use_class, max(0, min(at, FIDELITY_BINS - 1))] += 1
    routes.wait_histogram[flow.use_class, wait_bin(now_ns - request.arrival_ns)] += 1


@inlined
def _deliver(arena: Arena, slot: int, now_ns: int) -> bool:
    """Use the pair that spans the route, or give it up; True if the request is served."""
    routes = arena.routes
    request = routes.requests[slot]
    flow, tally, head = routes.flows[request.flow], routes.tallies[request.flow], routes.hops[slot, 0]
    n_hops = flow.n_hops
    _age_segment(arena, slot, _FIRST, now_ns)
    coin = unit_interval(hash_counter(flow.test_seed, request.number), request.tries)
    request.tries += 1
    fate = _DELIVERED
    if 0.25 * (1.0 + head.x + head.y + head.z) < flow.minimum_fidelity:
        fate = _BELOW
        tally.below_minimum += 1
    elif flow.use_class == _TEST or coin <= routes.test_share:
        fate = _TESTED
        tally.test_count += 1
        tally.test_x += head.x
        tally.test_y += head.y
        tally.test_z += head.z
        tally.diverted += flow.use_class != _TEST
    is_served = fate == _DELIVERED or (fate == _TESTED and flow.use_class == _TEST)
    if is_served:
        _count_delivery(arena, slot, now_ns)
    _free_half(arena, slot, _FIRST, _LEFT, now_ns)
    _free_half(arena, slot, n_hops - 1, _RIGHT, now_ns)
    if is_served:
        _end_segment(arena, slot, _FIRST, now_ns, fate)
        _finish_request(arena, slot, now_ns)
    else:
        # Both ends know; the links between are asked again when they have heard from the nearer end.
        _lose_segment(arena, slot, _FIRST, _FIRST, now_ns, fate)
        for at in range(n_hops):
            hop = routes.hops[slot, at]
            left_ns = min(_latency_ns(routes, slot, at, _FIRST), _latency_ns(routes, slot, at, n_hops))
            right_ns = min(_latency_ns(routes, slot, at + 1, _FIRST), _latency_ns(routes, slot, at + 1, n_hops))
            hop.learn_left_ns, hop.learn_right_ns = now_ns + left_ns, now_ns + right_ns
            hop.reset_ns = now_ns + max(left_ns, right_ns)
    return is_served


@inlined
def _give_up_old(arena: Arena, slot: int, now_ns: int) -> None:
    """Let nodes give up the segments that are too old by all that they know."""
    routes = arena.routes
    flow = routes.flows[routes.requests[slot].flow]
    for at in range(flow.n_hops):
        hop = routes.hops[slot, at]
        for side in range(2):
            is_held = (hop.is_held_right if side else hop.is_held_left) != 0
            if hop.state == ASKING or not is_held:
                continue
            if _measuring_until(routes.hops, slot, at + side, flow.n_hops) != NEVER:
                continue
            if hop.state == BROKEN:
                give_up_ns = hop.give_up_right_ns if side else hop.give_up_left_ns
                learn_ns = hop.learn_right_ns if side else hop.learn_left_ns
                if give_up_ns <= now_ns < learn_ns:
                    _tell_of_loss(arena, slot, at, at + side, now_ns)
            elif _cut_time(routes.hops, routes.offset_ns, slot, at, side, flow.first_node) <= now_ns:
                _lose_segment(arena, slot, hop.first if side else at, at + side, now_ns, _CUT)
                _tell_of_loss(arena, slot, at, at + side, now_ns)


@inlined
def _near_latency_ns(routes: RouteArena, slot: int, at: int, position: int) -> int:
    return int(min(_latency_ns(routes, slot, at, position), _latency_ns(routes, slot, at + 1, position)))


@inlined
def _news_ns(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    routes: RouteArena,
    slot: int,
    at: int,
    position: int,
    lost_id: int,
    broken_ns: int,
    broken_at: int,
    learn_left_ns: int,
    learn_right_ns: int,
) -> int:
    """Return when the node at `position` hears that a link's pair is lost: from where it was, or through its ends."""
    heard_ns = broken_ns + _latency_ns(routes, slot, broken_at, position)
    heard_ns = min(heard_ns, learn_left_ns + _latency_ns(routes, slot, at, position))
    heard_ns = min(heard_ns, learn_right_ns + _latency_ns(routes, slot, at + 1, position))
    # A node that held pairs lost with it has heard of those.
    left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
    if left.lost_id == lost_id:
        heard_ns = min(heard_ns, left.learn_right_ns)
    elif left.old_lost_id == lost_id:
        heard_ns = min(heard_ns, left.old_learn_right_ns)
    if right.lost_id == lost_id:
        heard_ns = min(heard_ns, right.learn_left_ns)
    elif right.old_lost_id == lost_id:
        heard_ns = min(heard_ns, right.old_learn_left_ns)
    return int(heard_ns)


@inlined
def _swap_view(arena: Arena, slot: int, position: int, now_ns: int) -> SwapView:
    """Return what the node at `position` knows."""
    routes = arena.routes
    request = routes.requests[slot]
    n_hops = routes.flows[request.flow].n_hops
    low, high = position - 1, position + 1
    while low > 0 and routes.heard_ns[slot, position - 1, _RIGHT, low] <= now_ns:
        low -= 1
    while high < n_hops and routes.heard_ns[slot, position, _LEFT, high] <= now_ns:
        high += 1
    n_known = 0
    for at in range(n_hops):
        hop = routes.hops[slot, at]
        near_ns = _near_latency_ns(routes, slot, at, position)
        is_known = hop.commit_ns < NEVER and hop.commit_ns + near_ns <= now_ns
        if is_known and hop.broken_ns < NEVER:
            is_known = now_ns < _news_ns(
                routes,
                slot,
                at,
                position,
                hop.lost_id,
                hop.broken_ns,
                hop.broken_at,
                hop.learn_left_ns,
                hop.learn_right_ns,
            )
        if not is_known and hop.old_broken_ns < NEVER and hop.old_commit_ns + near_ns <= now_ns:
            is_known = now_ns < _news_ns(
                routes,
                slot,
                at,
                position,
                hop.old_lost_id,
                hop.old_broken_ns,
                hop.old_broken_at,
                hop.old_learn_left_ns,
                hop.old_learn_right_ns,
            )
        n_known += is_known
    return SwapView(
        n_hops,
        position,
        position - low,
        high - position,
        n_known,
        routes.hops[slot, position - 1].birth_ns,
        routes.hops[slot, position].birth_ns,
        now_ns,
        request.arrival_ns,
        request.deadline_ns,
    )


@inlined
def _begin_swaps(arena: Arena, slot: int, now_ns: int, swap: CompiledRule) -> None:
    routes = arena.routes
    flow = routes.flows[routes.requests[slot].flow]
    for position in range(1, flow.n_hops):
        left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
        is_held = left.is_held_right != 0 and right.is_held_left != 0
        if not is_held or left.measuring_until_ns != NEVER:
            continue
        if routes.swaps_at_once or swap(_swap_view(arena, slot, position, now_ns)):
            node = routes.route_node[flow.first_node + position]
            until_ns = now_ns + routes.nodes[node].swap_ns
            left.measuring_until_ns = until_ns
            # What is lost already, unknown to the node, is asked for again only when the measurement is over.
            left.reset_ns = max(left.reset_ns, until_ns)
            right.reset_ns = max(right.reset_ns, until_ns)


@inlined
def _next_news_ns(arena: Arena, slot: int, now_ns: int) -> int:
    """Return when a node that could swap next hears of a pair or swap elsewhere on the route."""
    routes = arena.routes
    n_hops = routes.flows[routes.requests[slot].flow].n_hops
    next_ns = NEVER
    for position in range(1, n_hops):
        left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
        if left.is_held_right == 0 or right.is_held_left == 0 or left.measuring_until_ns != NEVER:
            continue
        for at in range(n_hops):
            hop = routes.hops[slot, at]
            if hop.commit_ns < NEVER:
                heard_ns = hop.commit_ns + _near_latency_ns(routes, slot, at, position)
                if heard_ns > now_ns:
                    next_ns = min(next_ns, heard_ns)
            for near, side in ((position - 1, _RIGHT), (position, _LEFT)):
                heard_ns = routes.heard_ns[slot, near, side, at]
                if heard_ns > now_ns:
                    next_ns = min(next_ns, heard_ns)
    return int(next_ns)


@inlined
def _next_of_request(arena: Arena, slot: int, now_ns: int) -> int:
    routes = arena.routes
    request = routes.requests[slot]
    flow = routes.flows[request.flow]
    next_ns = min(request.deadline_ns, request.wake_ns, request.deliver_ns)
    for at in range(flow.n_hops):
        hop = routes.hops[slot, at]
        next_ns = min(next_ns, hop.measuring_until_ns)
        if hop.state == ASKING:
            continue
        if hop.state == BROKEN:
            next_ns = min(next_ns, hop.reset_ns)
        for side in range(2):
            is_held = (hop.is_held_right if side else hop.is_held_left) != 0
            if not is_held or _measuring_until(routes.hops, slot, at + side, flow.n_hops) != NEVER:
                continue
            if hop.state == BROKEN:
                next_ns = min(next_ns, hop.learn_right_ns if side else hop.learn_left_ns)
                next_ns = min(next_ns, hop.give_up_right_ns if side else hop.give_up_left_ns)
            else:
                cut_ns = _cut_time(routes.hops, routes.offset_ns, slot, at, side, flow.first_node)
                next_ns = min(next_ns, cut_ns)
    if not routes.swaps_at_once:
        next_ns = min(next_ns, _next_news_ns(arena, slot, now_ns))
    return int(next_ns)


@inlined
def _run_request(arena: Arena, slot: int, now_ns: int, swap: CompiledRule) -> None:
    """Do all that is due for a request now, and find out when it must be looked at again."""
    routes = arena.routes
    request = routes.requests[slot]
    n_hops = routes.flows[request.flow].n_hops
    if now_ns >= request.deadline_ns:
        _drop(arena, slot, now_ns)
        return
    if request.wake_ns <= now_ns:
        request.wake_ns = NEVER
        for at in range(n_hops):
            if routes.hops[slot, at].state == ASKING:
                push_pending(routes, routes.hops[slot, at].link)
    next_ns = now_ns
    while next_ns <= now_ns:
        for position in range(1, n_hops):
            if routes.hops[slot, position - 1].measuring_until_ns <= now_ns:
                _join(arena, slot, position, now_ns)
        _give_up_old(arena, slot, now_ns)
        if request.deliver_ns <= now_ns and _deliver(arena, slot, now_ns):
            return
        _hear_of_losses(arena, slot, now_ns)
        _reset(arena, slot, now_ns)
        _begin_swaps(arena, slot, now_ns, swap)
        next_ns = _next_of_request(arena, slot, now_ns)
    _set_request_time(routes, slot, next_ns)


@inlined
def run_source(arena: Arena, now_ns: int, swap: CompiledRule) -> None:
    """Process the first event of the heap of sources."""
    routes = arena.routes
    source = routes.heap[0]
    if source < routes.n_flows:
        _arrive(arena, source, now_ns)
    else:
        _run_request(arena, source - routes.n_flows, now_ns, swap)


@inlined
def has_route_room(arena: Arena) -> bool:
    """Tell whether the first source's event has room for a new request, its asks, and all ends of pairs it can write."""
    routes = arena.routes
    source = routes.heap[0]
    if routes.counts[N_TRACED] + 4 * routes.hops.shape[1] + 4 > len(routes.trace):
        return False
    if source >= routes.n_flows:
        return True
    if routes.counts[N_FREE] == 0:
        return False
    flow = routes.flows[source]
    for at in range(flow.first_hop, flow.first_hop + flow.n_hops):
        if routes.n_live_on_link[routes.route_link[at]] + 1 >= routes.asks.shape[1]:
            return False
    return True
