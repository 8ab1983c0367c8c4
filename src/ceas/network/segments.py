"""Segments of a route: pairs joined by swaps, what they hold, how they end, and who hears of their loss when."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.network.arena import Arena
from ceas.network.compilation import as_index, compiled, constant, inlined, outlined
from ceas.network.memory import free_one_slot
from ceas.network.policy import NEVER
from ceas.network.route_arena import BROKEN, N_TRACED, PRESENT, RouteArena
from ceas.network.route_records import RouteFate
from ceas.network.sources import ask_review

__all__ = [
    "age_segment",
    "age_through",
    "cut_time",
    "end_segment",
    "flow_of",
    "free_half",
    "latency_ns",
    "lose_segment",
    "measuring_until",
    "merge_losses",
    "node_at",
    "tell_of_loss",
]

_SWAPPED = constant(RouteFate.SWAPPED)
_LEFT = constant(0)
_RIGHT = constant(1)


@inlined
def flow_of(routes: RouteArena, slot: int) -> Any:
    """Return what is fixed about the flow of a request."""
    return routes.flows[as_index(routes.requests[slot].flow)]


@inlined
def node_at(routes: RouteArena, slot: int, position: int) -> int:
    """Return the node at a position of the route of a request."""
    return as_index(routes.route_node[as_index(flow_of(routes, slot).first_node + position)])


@inlined
def latency_ns(routes: RouteArena, slot: int, position: int, other: int) -> int:
    """Return the latency of the route between two of its nodes (ns)."""
    first = as_index(flow_of(routes, slot).first_node)
    return int(abs(routes.offset_ns[first + position] - routes.offset_ns[first + other]))


@inlined
def free_half(arena: Arena, slot: int, at: int, side: int, now_ns: int) -> None:
    """Free the slot that one half of a pair holds."""
    routes = arena.routes
    hop = routes.hops[slot, at]
    if side == _RIGHT:
        hop.is_held_right = 0
    else:
        hop.is_held_left = 0
    node = node_at(routes, slot, at + side)
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
    link = as_index(hop.link)
    if routes.has_modes and routes.modes[link] > 0 and hop.is_held_left == 0 and hop.is_held_right == 0:
        routes.mode_free_ns[link, as_index(hop.mode)] = now_ns
    ask_review(routes, node)


@inlined
def age_segment(arena: Arena, slot: int, first: int, now_ns: int) -> None:
    """Bring the correlators of the segment that begins at hop `first` to the present."""
    routes = arena.routes
    hop = routes.hops[slot, first]
    age_ns = now_ns - hop.reference_ns
    if age_ns == 0:
        return
    left, right = routes.nodes[node_at(routes, slot, first)], routes.nodes[node_at(routes, slot, hop.last + 1)]
    factor = -float(age_ns)
    if hop.last == first:
        factor *= routes.decay_factor[as_index(hop.link)]
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
def _write_end(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
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
def end_segment(arena: Arena, slot: int, first: int, now_ns: int, fate: int) -> None:
    """Record the end of a segment, and with it, unless it was swapped, of the pairs of its links."""
    routes = arena.routes
    last = routes.hops[slot, first].last
    if fate != _SWAPPED:
        for at in range(first, last + 1):
            routes.pair_fates[as_index(routes.hops[slot, at].link), fate] += 1
    request = routes.requests[slot]
    if routes.trace_every > 0 and request.number % routes.trace_every == 0:
        age_segment(arena, slot, first, now_ns)
        node_a = node_at(routes, slot, first)
        node_b = node_at(routes, slot, last + 1)
        _write_end(
            routes.hops,
            routes.trace,
            routes.counts,
            slot,
            first,
            request.flow,
            flow_of(routes, slot).route,
            request.number,
            node_a,
            node_b,
            now_ns,
            fate,
        )


@compiled
def measuring_until(hops: npt.NDArray[Any], slot: int, position: int, n_hops: int) -> int:
    """Return when the measurement at a position ends, `NEVER` if there is none, as at the ends of the route."""
    if position in (0, n_hops):
        return NEVER
    return int(hops[slot, position - 1].measuring_until_ns)


@outlined
def cut_time(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
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
    if request.n_present == flow_of(routes, slot).n_hops:
        routes.flow_states[as_index(request.flow)].n_open += 1
    request.n_present -= count


@outlined
def _spread_news(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
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
    """Tell the nodes that hold lost pairs of the hops `first`, ..., `last` what the node at `position` knows."""
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
            until_ns = measuring_until(hops, slot, at, n_hops)
            left_ns = max(left_ns, until_ns) if until_ns < NEVER else left_ns
        if hop.is_held_right:
            until_ns = measuring_until(hops, slot, at + 1, n_hops)
            right_ns = max(right_ns, until_ns) if until_ns < NEVER else right_ns
        hop.reset_ns = max(left_ns, right_ns)


@outlined
def _mark_lost(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
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
    give_up_left_ns = cut_time(hops, offset_ns, slot, first, _LEFT, first_node)
    give_up_right_ns = cut_time(hops, offset_ns, slot, last, _RIGHT, first_node)
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
def age_through(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
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
def merge_losses(hops: npt.NDArray[Any], slot: int, position: int, lost_id: int) -> None:
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
def lose_segment(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena, slot: int, first: int, position: int, now_ns: int, fate: int
) -> None:
    """End a whole segment by a loss at `position`; nobody knows yet."""
    routes = arena.routes
    request = routes.requests[slot]
    end_segment(arena, slot, first, now_ns, fate)
    _lose_coverage(arena, slot, routes.hops[slot, first].last - first + 1)
    request.deliver_ns = NEVER
    request.n_losses += 1
    first_node = flow_of(routes, slot).first_node
    _mark_lost(routes.hops, routes.offset_ns, slot, first, request.n_losses, position, now_ns, first_node)


@inlined
def tell_of_loss(arena: Arena, slot: int, at: int, position: int, since_ns: int) -> None:
    """Let the node at `position` tell all that hold pairs lost with that of a hop."""
    routes = arena.routes
    hop = routes.hops[slot, at]
    flow = flow_of(routes, slot)
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
