"""Requests for end-to-end pairs: they arrive, ask the links of their route, get pairs, and end."""

import math

from ceas.network.arena import Arena, link_view
from ceas.network.compilation import CompiledRule, as_index, constant, inlined
from ceas.network.draws import unit_interval
from ceas.network.memory import NOBODY, ROUTE, close_pair
from ceas.network.policy import NEVER, WAIT
from ceas.network.route_arena import ASKING, N_FREE, N_PENDING, PRESENT, RouteArena
from ceas.network.route_records import NO_PARENT, RouteFate
from ceas.network.routes import Arrivals
from ceas.network.segments import age_segment, end_segment, flow_of, free_half
from ceas.network.sources import ask_review, push_pending, set_request_time, set_source_time

__all__ = ["arrive", "ask", "dispatch_routes", "drop", "finish_request"]

_PERIODIC = int(Arrivals.PERIODIC)
_POISSON = int(Arrivals.POISSON)
_SATURATED = int(Arrivals.SATURATED)
_DROPPED = constant(RouteFate.DROPPED)
_NEVER = constant(NEVER)


@inlined
def ask(arena: Arena, slot: int, at: int) -> None:
    """Let a request ask a link for a pair, in the order of the requests' arrival."""
    routes = arena.routes
    request = routes.requests[slot]
    flow = flow_of(routes, slot)
    hop = routes.hops[slot, at]
    hop.state = ASKING
    link = as_index(hop.link)
    place = as_index(routes.n_asks[link])
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
    slot, at = as_index(routes.asks[link, place].request), as_index(routes.asks[link, place].hop)
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
    if routes.has_drift and len(arena.axes) > 0:
        x_y_z = arena.stock_axis_logarithm[link, position]
        hop.x = math.copysign(math.exp(x_y_z[0]), hop.x)
        hop.y = math.copysign(math.exp(x_y_z[1]), hop.y)
        hop.z = math.copysign(math.exp(x_y_z[2]), hop.z)
    elif routes.has_drift:
        shift = math.exp(arena.stock_shift[link, position])
        hop.x *= shift
        hop.y *= shift
        hop.z *= shift
    if routes.has_modes:
        hop.mode = arena.stock_mode[link, position]
    age_segment(arena, slot, at, now_ns)
    close_pair(arena, link, position, now_ns, ROUTE, NOBODY)
    _remove_ask(routes, link, place)
    request.n_present += 1
    flow, flow_state = flow_of(routes, slot), routes.flow_states[as_index(request.flow)]
    if request.n_present == flow.n_hops:
        flow_state.n_open -= 1
        if flow.n_hops == 1:
            request.deliver_ns = now_ns
        if flow.arrivals == _SATURATED and flow_state.n_open < flow.backlog:
            set_source_time(routes, as_index(request.flow), now_ns)
    set_request_time(routes, slot, now_ns)


@inlined
def dispatch_routes(arena: Arena, now_ns: int, route: CompiledRule) -> bool:
    """Let the policy serve route requests at all links where that may be due; False if it chose what is not there."""
    routes = arena.routes
    while routes.counts[N_PENDING] > 0:
        routes.counts[N_PENDING] -= 1
        link = as_index(routes.pending_link[as_index(routes.counts[N_PENDING])])
        routes.is_pending[link] = False
        constant = arena.constants[link]
        ask_review(routes, constant.node_a)
        ask_review(routes, constant.node_b)
        while routes.n_asks[link] > 0 and arena.states[link].n_stored > 0:
            place, position = route(link_view(arena, link, now_ns), routes.asks[link, : routes.n_asks[link]])
            if place == WAIT:
                slot = as_index(routes.asks[link, 0].request)
                if now_ns < position < routes.requests[slot].wake_ns:
                    routes.requests[slot].wake_ns = position
                    if position < routes.source_ns[routes.n_flows + slot]:
                        set_request_time(routes, slot, position)
                break
            is_ask = 0 <= place < routes.n_asks[link]
            if not (is_ask and 0 <= position < arena.states[link].n_stored):
                return False
            _commit(arena, link, as_index(place), as_index(position), now_ns)
    return True


@inlined
def arrive(arena: Arena, source: int, now_ns: int) -> None:
    """Let the next request of a flow begin."""
    routes = arena.routes
    flow, flow_state = routes.flows[source], routes.flow_states[source]
    routes.counts[N_FREE] -= 1
    slot = as_index(routes.free_request[as_index(routes.counts[N_FREE])])
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
        link = as_index(routes.route_link[as_index(flow.first_hop + at)])
        hop.link = link
        hop.is_held_left = hop.is_held_right = 0
        hop.swap_ns = hop.measuring_until_ns = NEVER
        hop.broken_ns = hop.commit_ns = hop.old_broken_ns = hop.old_commit_ns = NEVER
        hop.tries = hop.lost_id = hop.old_lost_id = 0
        routes.n_live_on_link[link] += 1
        ask(arena, slot, at)
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
    set_source_time(routes, source, next_ns)
    set_request_time(routes, slot, request.deadline_ns)


@inlined
def finish_request(arena: Arena, slot: int, now_ns: int) -> None:
    """Free the request's place; its pairs have ended, and their slots are free."""
    routes = arena.routes
    request = routes.requests[slot]
    flow, flow_state = flow_of(routes, slot), routes.flow_states[as_index(request.flow)]
    for at in range(flow.n_hops):
        routes.n_live_on_link[as_index(routes.hops[slot, at].link)] -= 1
    request.is_live = 0
    flow_state.n_live -= 1
    routes.free_request[as_index(routes.counts[N_FREE])] = slot
    routes.counts[N_FREE] += 1
    set_request_time(routes, slot, _NEVER)
    is_short = flow.arrivals == _SATURATED and flow_state.n_open < flow.backlog
    source = as_index(request.flow)
    if is_short and routes.source_ns[source] > now_ns:
        set_source_time(routes, source, now_ns)


@inlined
def drop(arena: Arena, slot: int, now_ns: int) -> None:
    """End a request whose deadline has passed; all its pairs are lost and their slots free."""
    routes = arena.routes
    request = routes.requests[slot]
    n_hops = flow_of(routes, slot).n_hops
    for at in range(n_hops):
        hop = routes.hops[slot, at]
        if hop.state == ASKING:
            link, place = as_index(hop.link), 0
            while routes.asks[link, place].request != slot:
                place += 1
            _remove_ask(routes, link, place)
            # The policy's word when to be asked again was kept with the first request, which this one may be.
            push_pending(routes, link)
        elif hop.state == PRESENT and hop.is_held_left != 0:
            end_segment(arena, slot, at, now_ns, _DROPPED)
        if hop.state != ASKING:
            for side in range(2):
                if (hop.is_held_right if side else hop.is_held_left) != 0:
                    free_half(arena, slot, at, side, now_ns)
    source = as_index(request.flow)
    routes.tallies[source].dropped += 1
    if request.n_present < n_hops:
        routes.flow_states[source].n_open -= 1
    finish_request(arena, slot, now_ns)
