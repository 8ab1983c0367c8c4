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

from ceas.network.arena import Arena
from ceas.network.compilation import CompiledRule, as_index, constant, inlined
from ceas.network.draws import hash_counter, unit_interval
from ceas.network.policy import NEVER, SwapView, key_fraction_of_bases
from ceas.network.records import FIDELITY_BINS
from ceas.network.route_arena import ASKING, BROKEN, N_FREE, N_SWAPPED, N_TRACED, PRESENT, RouteArena
from ceas.network.route_records import RouteFate
from ceas.network.route_requests import arrive, ask, drop, finish_request
from ceas.network.routes import RouteClass
from ceas.network.segments import (
    age_segment,
    age_through,
    cut_time,
    end_segment,
    flow_of,
    free_half,
    latency_ns,
    lose_segment,
    measuring_until,
    merge_losses,
    node_at,
    tell_of_loss,
)
from ceas.network.sources import push_pending, set_request_time
from ceas.network.waiting import wait_bin

__all__ = ["events_with_trace_room", "has_request_room", "run_source"]

_KEY = int(RouteClass.KEY)
_TEST = int(RouteClass.TEST)
_SWAPPED = constant(RouteFate.SWAPPED)
_DELIVERED = constant(RouteFate.DELIVERED)
_TESTED = constant(RouteFate.TESTED)
_BELOW = constant(RouteFate.BELOW_MINIMUM)
_CUT = constant(RouteFate.CUT)
_FAILED = constant(RouteFate.SWAP_FAILED)
_LEFT = constant(0)
_RIGHT = constant(1)
_FIRST = constant(0)


@inlined
def _tell_of_swap(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena, slot: int, position: int, first: int, last: int, now_ns: int
) -> None:
    """Note when the nodes at both ends hear of the swap at `position`, and of those that they hear of through it."""
    routes = arena.routes
    heard_ns = routes.heard_ns
    left_ns = latency_ns(routes, slot, position, first)
    right_ns = latency_ns(routes, slot, position, last + 1)
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
    flow = flow_of(routes, slot)
    tally = routes.tallies[as_index(request.flow)]
    left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
    node = routes.nodes[node_at(routes, slot, position)]
    left.measuring_until_ns = NEVER
    seed = hash_counter(flow.swap_seed, request.number)
    is_success = unit_interval(seed, (left.tries << 20) + position) <= node.swap_success
    left.tries += 1
    tally.swaps += 1
    tally.failed_swaps += not is_success
    is_left_whole, is_right_whole = left.state == PRESENT, right.state == PRESENT
    first, last = as_index(left.first), as_index(right.last)
    for side in range(2):
        free_half(arena, slot, position - side, side, now_ns)
    if not routes.swaps_at_once:
        _tell_of_swap(arena, slot, position, first, last, now_ns)
    if is_left_whole and is_right_whole and is_success:
        for side in range(2):
            age_segment(arena, slot, position if side else first, now_ns)
            end_segment(arena, slot, position if side else first, now_ns, _SWAPPED)
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
                known_ns = max(latency_ns(routes, slot, at, _FIRST), latency_ns(routes, slot, at, length))
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
    first_node = flow_of(routes, slot).first_node
    left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
    is_left_whole, is_right_whole = left.state == PRESENT, right.state == PRESENT
    left_ns = now_ns if not is_success else (NEVER if is_left_whole else max(left.learn_right_ns, now_ns))
    right_ns = now_ns if not is_success else (NEVER if is_right_whole else max(right.learn_left_ns, now_ns))
    first = left.first if is_left_whole else left.lost_first
    last = right.last if is_right_whole else right.lost_last
    age_left_ns = age_through(routes.hops, routes.offset_ns, slot, position, _RIGHT, first_node, now_ns, first)
    age_right_ns = age_through(routes.hops, routes.offset_ns, slot, position, _LEFT, first_node, now_ns, last + 1)
    left.swap_ns = now_ns
    for side in range(2):
        if is_right_whole if side else is_left_whole:
            lose_segment(arena, slot, position if side else first, position, now_ns, _FAILED)
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
        tell_of_loss(arena, slot, position - 1, position, right_ns)
    if left_ns < NEVER:
        tell_of_loss(arena, slot, position, position, left_ns)
    request.n_losses += 1
    merge_losses(routes.hops, slot, position, request.n_losses)


@inlined
def _hear_of_losses(arena: Arena, slot: int, now_ns: int) -> None:
    """Free the slots of lost pairs at the nodes that hear of it now."""
    routes = arena.routes
    n_hops = flow_of(routes, slot).n_hops
    for at in range(n_hops):
        hop = routes.hops[slot, at]
        if hop.state != BROKEN:
            continue
        for side in range(2):
            is_held = (hop.is_held_right if side else hop.is_held_left) != 0
            learn_ns = hop.learn_right_ns if side else hop.learn_left_ns
            if is_held and learn_ns <= now_ns and measuring_until(routes.hops, slot, at + side, n_hops) == NEVER:
                free_half(arena, slot, at, side, now_ns)


@inlined
def _reset(arena: Arena, slot: int, now_ns: int) -> None:
    """Ask the links again whose nodes all know of the loss."""
    routes = arena.routes
    for at in range(flow_of(routes, slot).n_hops):
        hop = routes.hops[slot, at]
        if hop.state == BROKEN and hop.reset_ns <= now_ns:
            hop.swap_ns = NEVER
            if at > 0:
                routes.hops[slot, at - 1].swap_ns = NEVER
            ask(arena, slot, at)


@inlined
def _count_delivery(arena: Arena, slot: int, now_ns: int) -> None:
    routes = arena.routes
    request = routes.requests[slot]
    flow, head = flow_of(routes, slot), routes.hops[slot, 0]
    tally = routes.tallies[as_index(request.flow)]
    value = flow.weight
    if flow.use_class == _KEY:
        bits = key_fraction_of_bases(head.x, head.z)
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
    use_class = as_index(flow.use_class)
    routes.fidelity_at_use[use_class, max(0, min(at, FIDELITY_BINS - 1))] += 1
    routes.wait_histogram[use_class, as_index(wait_bin(now_ns - request.arrival_ns))] += 1


@inlined
def _deliver(arena: Arena, slot: int, now_ns: int) -> bool:
    """Use the pair that spans the route, or give it up; True if the request is served."""
    routes = arena.routes
    request = routes.requests[slot]
    flow, head = flow_of(routes, slot), routes.hops[slot, 0]
    tally = routes.tallies[as_index(request.flow)]
    n_hops = flow.n_hops
    age_segment(arena, slot, _FIRST, now_ns)
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
    for side in range(2):
        free_half(arena, slot, (n_hops - 1) * side, side, now_ns)
    if is_served:
        end_segment(arena, slot, _FIRST, now_ns, fate)
        finish_request(arena, slot, now_ns)
    else:
        # Both ends know; the links between are asked again when they have heard from the nearer end.
        lose_segment(arena, slot, _FIRST, _FIRST, now_ns, fate)
        for at in range(n_hops):
            hop = routes.hops[slot, at]
            left_ns = min(latency_ns(routes, slot, at, _FIRST), latency_ns(routes, slot, at, n_hops))
            right_ns = min(latency_ns(routes, slot, at + 1, _FIRST), latency_ns(routes, slot, at + 1, n_hops))
            hop.learn_left_ns, hop.learn_right_ns = now_ns + left_ns, now_ns + right_ns
            hop.reset_ns = now_ns + max(left_ns, right_ns)
    return is_served


@inlined
def _give_up_old(arena: Arena, slot: int, now_ns: int) -> None:
    """Let nodes give up the segments that are too old by all that they know."""
    routes = arena.routes
    flow = flow_of(routes, slot)
    for at in range(flow.n_hops):
        hop = routes.hops[slot, at]
        for side in range(2):
            is_held = (hop.is_held_right if side else hop.is_held_left) != 0
            if hop.state == ASKING or not is_held:
                continue
            if measuring_until(routes.hops, slot, at + side, flow.n_hops) != NEVER:
                continue
            if hop.state == BROKEN:
                give_up_ns = hop.give_up_right_ns if side else hop.give_up_left_ns
                learn_ns = hop.learn_right_ns if side else hop.learn_left_ns
                if give_up_ns <= now_ns < learn_ns:
                    tell_of_loss(arena, slot, at, at + side, now_ns)
            elif cut_time(routes.hops, routes.offset_ns, slot, at, side, flow.first_node) <= now_ns:
                lose_segment(arena, slot, hop.first if side else at, at + side, now_ns, _CUT)
                tell_of_loss(arena, slot, at, at + side, now_ns)


@inlined
def _near_latency_ns(routes: RouteArena, slot: int, at: int, position: int) -> int:
    return int(min(latency_ns(routes, slot, at, position), latency_ns(routes, slot, at + 1, position)))


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
    heard_ns = broken_ns + latency_ns(routes, slot, broken_at, position)
    heard_ns = min(heard_ns, learn_left_ns + latency_ns(routes, slot, at, position))
    heard_ns = min(heard_ns, learn_right_ns + latency_ns(routes, slot, at + 1, position))
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
    n_hops = flow_of(routes, slot).n_hops
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
    flow = flow_of(routes, slot)
    for position in range(1, flow.n_hops):
        left, right = routes.hops[slot, position - 1], routes.hops[slot, position]
        is_held = left.is_held_right != 0 and right.is_held_left != 0
        if not is_held or left.measuring_until_ns != NEVER:
            continue
        if routes.swaps_at_once or swap(_swap_view(arena, slot, position, now_ns)):
            until_ns = now_ns + routes.nodes[node_at(routes, slot, position)].swap_ns
            left.measuring_until_ns = until_ns
            # What is lost already, unknown to the node, is asked for again only when the measurement is over.
            left.reset_ns = max(left.reset_ns, until_ns)
            right.reset_ns = max(right.reset_ns, until_ns)


@inlined
def _next_news_ns(arena: Arena, slot: int, now_ns: int) -> int:
    """Return when a node that could swap next hears of a pair or swap elsewhere on the route."""
    routes = arena.routes
    n_hops = flow_of(routes, slot).n_hops
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
    flow = flow_of(routes, slot)
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
            if not is_held or measuring_until(routes.hops, slot, at + side, flow.n_hops) != NEVER:
                continue
            if hop.state == BROKEN:
                next_ns = min(next_ns, hop.learn_right_ns if side else hop.learn_left_ns)
                next_ns = min(next_ns, hop.give_up_right_ns if side else hop.give_up_left_ns)
            else:
                cut_ns = cut_time(routes.hops, routes.offset_ns, slot, at, side, flow.first_node)
                next_ns = min(next_ns, cut_ns)
    if not routes.swaps_at_once:
        next_ns = min(next_ns, _next_news_ns(arena, slot, now_ns))
    return int(next_ns)


@inlined
def _run_request(arena: Arena, slot: int, now_ns: int, swap: CompiledRule) -> None:
    """Do all that is due for a request now, and find out when it must be looked at again."""
    routes = arena.routes
    request = routes.requests[slot]
    n_hops = flow_of(routes, slot).n_hops
    if now_ns >= request.deadline_ns:
        drop(arena, slot, now_ns)
        return
    if request.wake_ns <= now_ns:
        request.wake_ns = NEVER
        for at in range(n_hops):
            if routes.hops[slot, at].state == ASKING:
                push_pending(routes, as_index(routes.hops[slot, at].link))
    next_ns = now_ns
    while next_ns <= now_ns:
        for position in range(1, n_hops):
            if routes.hops[slot, position - 1].measuring_until_ns <= now_ns:
                _join(arena, slot, position, now_ns)
        _give_up_old(arena, slot, now_ns)
        if request.deliver_ns <= now_ns and _deliver(arena, slot, now_ns):
            return
        if request.n_losses > 0:
            _hear_of_losses(arena, slot, now_ns)
            _reset(arena, slot, now_ns)
        _begin_swaps(arena, slot, now_ns, swap)
        next_ns = _next_of_request(arena, slot, now_ns)
    set_request_time(routes, slot, next_ns)


@inlined
def run_source(arena: Arena, now_ns: int, swap: CompiledRule) -> None:
    """Process the event of the source that is due first."""
    routes = arena.routes
    source = as_index(routes.winner[1])
    if source < routes.n_flows:
        arrive(arena, source, now_ns)
    else:
        _run_request(arena, as_index(source - routes.n_flows), now_ns, swap)


@inlined
def events_with_trace_room(routes: RouteArena) -> int:
    """Return for how many events the trace has room: each may end all pairs of a request, joined or not."""
    return int((len(routes.trace) - routes.counts[N_TRACED]) // (4 * routes.hops.shape[1] + 4))


@inlined
def has_request_room(routes: RouteArena) -> bool:
    """Tell whether there is room for what the first source's event may bring: a new request and what it asks for."""
    source = as_index(routes.winner[1])
    if source >= routes.n_flows:
        return True
    if routes.counts[N_FREE] == 0:
        return False
    flow = routes.flows[source]
    for at in range(flow.first_hop, flow.first_hop + flow.n_hops):
        if routes.n_live_on_link[as_index(routes.route_link[at])] + 1 >= routes.asks.shape[1]:
            return False
    return True
