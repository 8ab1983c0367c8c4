"""The compiled event kernel: pairs are born, stored, used, tested, overwritten and expired on one integer clock.

Rules of the machine:

- Every link has at most one scheduled event of each kind in `next_ns[link, kind]`; a tournament finds the link whose
  first event comes first. Events at the same time run by link, then by kind: expiry and deadlines first. So the order
  is total, does not depend on history, and the tournament is no part of the state.
- An event changes the schedule of its own link only. What links share is the free memory slots of the nodes.
- Attempt j of a link lasts from j to j + 1 attempt periods. The attempts that would succeed are fixed by the link's
  random stream alone: geometric gaps between them. A success counts only if the attempt was made, that is, if both ends
  had a free slot from its start to its end and the policy wanted it. As the outcome of an attempt is independent of all
  before it, this is exactly the attempt-by-attempt law; and under every policy the same attempts would succeed.
- The number of a success on its link names the pair: `pair_id = number * n_links + link`, in birth order per link.
- When a policy has chosen pairs for a use, the coin of the oldest of them says whether the use becomes a joint test of
  these pairs. The request then goes on waiting. The coin depends on nothing else, and every choice ends in a use or a
  test of exactly these pairs, so tested pairs are distributed as used pairs, whatever the policy.
- Requests for end-to-end pairs are further event sources with a tournament of their own
  (`ceas.network.route_kernel`). At one time links go first. Their events change no link's schedule: they take pairs
  from stocks and free memory slots.
- Where nodes limit how many of their links attempt at once, a link attempts from the event at which it gets a
  communication qubit at both ends until its next pair or until it wants none. So which links attempt changes at
  events only (`ceas.network.attempts`), and a success counts if the link attempted from its start to its end.
- Expiry and deadline events may be early (their pair or request was served since): they look again.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.network.arena import ARRIVAL, DEADLINE, EXPIRY, GENERATION, N_EVENT_KINDS, QPU, WAKE, Arena, link_view
from ceas.network.attempts import has_attempt, review_attempts, wants_for_routes
from ceas.network.compilation import CompiledRule, as_index, compiled, constant, inlined
from ceas.network.draws import geometric_gap, unit_interval
from ceas.network.invariants import violation
from ceas.network.memory import (
    DISCARDED,
    EXPIRED,
    KEY,
    LEARNING,
    NOBODY,
    TEST,
    close_pair,
    release,
    store_pair,
    take_slot,
)
from ceas.network.policy import KEY_REQUEST, NEVER, WAIT, key_fraction, key_fraction_of_bases
from ceas.network.route_arena import N_REVIEW, RouteArena
from ceas.network.route_kernel import events_with_trace_room, has_request_room, run_source
from ceas.network.route_requests import dispatch_routes
from ceas.network.sources import ask_review, push_pending
from ceas.network.tournament import play_again, play_all
from ceas.network.waiting import wait_bin

__all__ = [
    "ALL_DONE",
    "BAD_CHOICE",
    "BUFFER_FULL",
    "NO_ROUTE_ROOM",
    "VIOLATION",
    "reschedule_success",
    "rows_of_event",
    "run_links_until",
    "run_until",
    "schedule_success",
]

# Why the kernel stopped. `VIOLATION` and all above it are invariants that do not hold, found when they are checked.
ALL_DONE, BUFFER_FULL, BAD_CHOICE, NO_ROUTE_ROOM, VIOLATION = 0, 1, 2, 3, 4
# What an event asks for: nothing, or that the policy look at the link; or the policy made a mistake.
_QUIET, _DISPATCH, _MISTAKE = 0, 1, 2
_FIRST = constant(0)
# A false that Numba takes as a value of its own type.
_NO: Any = np.bool_(False)


# ---- serving ---------------------------------------------------------------------------------------------------------


@inlined
def _start_shot(arena: Arena, link: int, side: int, now_ns: int) -> None:
    shot = arena.n_written[0]
    value = arena.learning_value
    # From the newest to the oldest, for every removal shifts what is newer.
    for at in range(arena.pairs_per_shot - 1, -1, -1):
        werner = close_pair(arena, link, arena.choice[at], now_ns, LEARNING, arena.learner[link, side])
        arena.shot_werner[shot, at] = werner
        if len(arena.axes) > 0:
            square = 0.0
            for axis in range(3):
                arena.shot_correlators[shot, at, axis] = arena.pair_state[axis]
                square += arena.correlator_weights[axis] * arena.pair_state[axis] ** 2
            value *= square
        else:
            value *= werner * werner
    arena.shot_learner[shot] = arena.learner[link, side]
    arena.shot_time_ns[shot] = now_ns
    arena.n_written[0] += 1
    arena.n_written[3] += 1
    arena.delivered_value[0] += value
    arena.wait_histogram[0, wait_bin(now_ns - arena.qpu_ready_ns[link, side])] += 1
    arena.shot_wait_ns[link, side] += now_ns - arena.qpu_ready_ns[link, side]
    ready_ns = now_ns + arena.shot_duration_ns[link, side]
    arena.qpu_ready_ns[link, side] = ready_ns
    arena.next_ns[link, QPU + side] = min(ready_ns, arena.qpu_close_ns[link, side])


@inlined
def _serve_key(arena: Arena, link: int, waiting: int, now_ns: int) -> None:
    state = arena.states[link]
    tally = arena.tallies[link]
    at = state.key_head + waiting
    arena.wait_histogram[1, wait_bin(now_ns - arena.key_arrival_ns[link, at])] += 1
    tally.key_wait_ns += now_ns - arena.key_arrival_ns[link, at]
    while at > state.key_head:
        arena.key_arrival_ns[link, at] = arena.key_arrival_ns[link, at - 1]
        at -= 1
    state.key_head += 1
    werner = close_pair(arena, link, arena.choice[0], now_ns, KEY, NOBODY)
    tally.key_werner_sum += werner
    if len(arena.axes) > 0:
        for axis in range(3):
            arena.key_correlator_sum[link, axis] += arena.pair_state[axis]
        arena.delivered_value[1] += arena.key_value * key_fraction_of_bases(arena.pair_state[0], arena.pair_state[2])
    else:
        arena.delivered_value[1] += arena.key_value * key_fraction(werner)


@inlined
def _test_pairs(arena: Arena, link: int, request: int, count: int, now_ns: int) -> None:
    for at in range(count - 1, -1, -1):
        werner = close_pair(arena, link, arena.choice[at], now_ns, TEST, NOBODY)
        arena.tallies[link].test_werner_sum += werner
        arena.test_link[arena.n_written[1]] = link
        arena.test_werner[arena.n_written[1]] = werner
        if len(arena.axes) > 0:
            for axis in range(3):
                arena.test_correlators[arena.n_written[1], axis] = arena.pair_state[axis]
        arena.test_is_of_shot[arena.n_written[1]] = request < KEY_REQUEST
        arena.n_written[1] += 1
        arena.delivered_value[2] += arena.test_value


@inlined
def _is_waiting(arena: Arena, link: int, now_ns: int) -> bool:
    """Tell whether any request could be served from the stock."""
    state = arena.states[link]
    if state.n_stored == 0:
        return False
    if state.key_tail > state.key_head:
        return True
    is_ready = arena.qpu_ready_ns[link, 0] <= now_ns or arena.qpu_ready_ns[link, 1] <= now_ns
    return bool(is_ready and state.n_stored >= arena.pairs_per_shot)


@inlined
def _is_sound(arena: Arena, link: int, request: int, count: int, now_ns: int) -> bool:
    """Sort the chosen positions and tell whether the policy chose a waiting request and distinct stored pairs."""
    state = arena.states[link]
    if request < KEY_REQUEST:
        if request < 0 or arena.qpu_ready_ns[link, request] > now_ns:
            return False
    elif request - KEY_REQUEST >= state.key_tail - state.key_head:
        return False
    choice = arena.choice
    for at in range(1, count):
        moved = choice[at]
        place = at
        while place > 0 and choice[place - 1] > moved:
            choice[place] = choice[place - 1]
            place -= 1
        choice[place] = moved
    for at in range(1, count):
        if choice[at] == choice[at - 1]:
            return False
    return bool(count <= state.n_stored and choice[0] >= 0 and choice[count - 1] < state.n_stored)


@inlined
def _dispatch(arena: Arena, link: int, now_ns: int, serve: CompiledRule) -> bool:
    """Let the policy serve until it waits; False if it chose what is not there."""
    arena.next_ns[link, WAKE] = NEVER
    # Asked before the loop as well, for what does not change in it is computed on the way in.
    if not _is_waiting(arena, link, now_ns):
        return True
    while True:
        request, wake_ns = serve(link_view(arena, link, now_ns), arena.choice)
        if request == WAIT:
            if wake_ns > now_ns:
                arena.next_ns[link, WAKE] = min(wake_ns, NEVER)
            return True
        count = arena.pairs_per_shot if request < KEY_REQUEST else 1
        if not _is_sound(arena, link, request, count, now_ns):
            return False
        coin = unit_interval(arena.constants[link].test_seed, arena.stock_number[link, arena.choice[0]])
        if coin <= arena.test_share:
            _test_pairs(arena, link, request, count, now_ns)
        elif request < KEY_REQUEST:
            _start_shot(arena, link, request, now_ns)
        else:
            _serve_key(arena, link, request - KEY_REQUEST, now_ns)
        release(arena, link, count, now_ns)
        if not _is_waiting(arena, link, now_ns):
            return True


# ---- events ----------------------------------------------------------------------------------------------------------


@inlined
def _expire_after_drift(arena: Arena, link: int, now_ns: int) -> None:
    """Expire pairs of a link that has changed, where an older pair may outlive a newer."""
    state = arena.states[link]
    next_ns = NEVER
    count = 0
    for position in range(state.n_stored - 1, -1, -1):
        if arena.stock_expiry_ns[link, position] <= now_ns:
            close_pair(arena, link, position, now_ns, EXPIRED, NOBODY)
            count += 1
        else:
            next_ns = min(next_ns, arena.stock_expiry_ns[link, position])
    if count > 0:
        release(arena, link, count, now_ns)
    arena.next_ns[link, EXPIRY] = next_ns


@inlined
def _expire(arena: Arena, link: int, now_ns: int) -> None:
    state = arena.states[link]
    if arena.routes.has_drift:
        _expire_after_drift(arena, link, now_ns)
        return
    lifetime_ns = arena.constants[link].lifetime_ns
    count = 0
    while state.n_stored > 0 and arena.stock_birth_ns[link, 0] + lifetime_ns <= now_ns:
        close_pair(arena, link, _FIRST, now_ns, EXPIRED, NOBODY)
        count += 1
    if count > 0:
        release(arena, link, count, now_ns)
    arena.next_ns[link, EXPIRY] = arena.stock_birth_ns[link, 0] + lifetime_ns if state.n_stored > 0 else NEVER


@inlined
def _drop_requests(arena: Arena, link: int, now_ns: int) -> None:
    state = arena.states[link]
    while state.key_head < state.key_tail:
        deadline_ns = arena.key_arrival_ns[link, state.key_head] + arena.key_deadline_ns
        if deadline_ns > now_ns:
            arena.next_ns[link, DEADLINE] = deadline_ns
            return
        state.key_head += 1
        arena.tallies[link].key_dropped += 1
    arena.next_ns[link, DEADLINE] = NEVER


@inlined
def _schedule_success(
    constants: npt.NDArray[Any], states: npt.NDArray[Any], next_ns: npt.NDArray[np.int64], link: int
) -> None:
    """Draw the next attempt that would succeed; so late that its time is no int64, it is never."""
    state = states[link]
    constant = constants[link]
    longest = NEVER // constant.attempt_period_ns - 2
    state.number += 1
    uniform = unit_interval(constant.generation_seed, state.number)
    gap = geometric_gap(uniform, constant.log_failure, longest)
    state.attempt = min(state.attempt, longest - gap) + gap
    ends_ns = (state.attempt + 1) * constant.attempt_period_ns + constant.transfer_ns
    next_ns[link, GENERATION] = ends_ns if state.attempt < longest else NEVER


@compiled
def schedule_success(
    constants: npt.NDArray[Any],
    states: npt.NDArray[Any],
    next_ns: npt.NDArray[np.int64],
    links: npt.NDArray[np.int64],
) -> None:
    """Draw the next success of each of `links`."""
    for link in links:
        _schedule_success(constants, states, next_ns, link)


@compiled
def reschedule_success(
    constants: npt.NDArray[Any],
    states: npt.NDArray[Any],
    next_ns: npt.NDArray[np.int64],
    links: npt.NDArray[np.int64],
    now_ns: int,
) -> None:
    """Draw the next success of links whose chance has changed now; an attempt that has begun keeps its fate."""
    for link in links:
        state = states[link]
        period_ns = constants[link].attempt_period_ns
        if state.attempt < 0 or state.attempt * period_ns >= now_ns:
            state.attempt = (now_ns + period_ns - 1) // period_ns - 1
            _schedule_success(constants, states, next_ns, link)


@inlined
def _generate(arena: Arena, link: int, now_ns: int, attempt: CompiledRule) -> int:
    state = arena.states[link]
    constant = arena.constants[link]
    if not has_attempt(arena, link):
        _schedule_success(arena.constants, arena.states, arena.next_ns, link)
        return _QUIET
    node_a, node_b = as_index(constant.node_a), as_index(constant.node_b)
    is_free = arena.free_slots[node_a] > 0 and arena.free_slots[node_b] > 0
    position = attempt(link_view(arena, link, now_ns)) if is_free or state.n_stored > 0 else -1
    if position < 0 and is_free and wants_for_routes(arena, link):
        position = state.n_stored
    answer = _QUIET
    if position > state.n_stored:
        answer = _MISTAKE
    elif position == state.n_stored:
        if is_free and state.attempt * constant.attempt_period_ns >= state.resume_ns:
            store_pair(arena, link, now_ns)
            take_slot(arena, node_a, now_ns)
            take_slot(arena, node_b, now_ns)
            answer = _DISPATCH
    elif position >= 0:
        close_pair(arena, link, position, now_ns, DISCARDED, NOBODY)
        store_pair(arena, link, now_ns)
        answer = _DISPATCH
    if answer == _DISPATCH and arena.routes.has_attempt_limit:
        # The communication qubits go to the link that has waited longest; this one waits from now.
        arena.routes.is_renewed[link] = True
    _schedule_success(arena.constants, arena.states, arena.next_ns, link)
    return answer


@inlined
def _arrive(arena: Arena, link: int, now_ns: int) -> None:
    state = arena.states[link]
    size = arena.key_arrival_ns.shape[1]
    if state.key_tail == size:
        n_waiting = state.key_tail - state.key_head
        for at in range(n_waiting):
            arena.key_arrival_ns[link, at] = arena.key_arrival_ns[link, state.key_head + at]
        state.key_head = 0
        state.key_tail = n_waiting
    arena.key_arrival_ns[link, state.key_tail] = now_ns
    state.key_tail += 1
    state.key_number += 1
    arena.tallies[link].key_requested += 1
    arena.next_ns[link, ARRIVAL] = int((state.key_number + 0.5) * arena.constants[link].key_period_ns)
    if arena.next_ns[link, DEADLINE] == NEVER:
        arena.next_ns[link, DEADLINE] = now_ns + arena.key_deadline_ns


@inlined
def _step_qpu(arena: Arena, link: int, side: int, now_ns: int) -> None:
    """Let a QPU become ready, or close it for the rest of the round."""
    close_ns = arena.qpu_close_ns[link, side]
    if now_ns >= close_ns:
        arena.qpu_ready_ns[link, side] = NEVER
        arena.next_ns[link, QPU + side] = NEVER
    else:
        arena.next_ns[link, QPU + side] = close_ns


@inlined
def _handle(arena: Arena, link: int, now_ns: int, attempt: CompiledRule) -> int:
    """Process the first event of a link and say whether the policy must look at the link."""
    kind = 0
    while arena.next_ns[link, kind] != now_ns:
        kind += 1
    if kind == GENERATION:
        return _generate(arena, link, now_ns, attempt)
    if kind == EXPIRY:
        _expire(arena, link, now_ns)
        return _QUIET
    if kind == DEADLINE:
        _drop_requests(arena, link, now_ns)
        return _QUIET
    if kind == ARRIVAL:
        _arrive(arena, link, now_ns)
    elif kind < WAKE:
        _step_qpu(arena, link, kind - QPU, now_ns)
    return _DISPATCH


# ---- the loop --------------------------------------------------------------------------------------------------------


@inlined
def _first_event(next_ns: npt.NDArray[np.int64], link: int) -> int:
    first = next_ns[link, 0]
    for kind in range(1, N_EVENT_KINDS):
        first = min(first, next_ns[link, kind])
    return int(first)


@inlined
def _play_links(arena: Arena, link_ns: npt.NDArray[np.int64], winner: npt.NDArray[np.int64]) -> None:
    """Find the first event of every link, and which is the first of all."""
    for link in range(len(arena.constants)):
        link_ns[link] = _first_event(arena.next_ns, link)
    play_all(link_ns, winner)


@compiled
def rows_of_event(stock_columns: int, longest_route: int) -> int:
    """Return how many rows of each buffer one event can fill at most.

    That is with every pair in stock and the new one, of its own link and of all links that a request asks.
    """
    return (stock_columns + 1) * (longest_route + 1)


@inlined
def _events_with_room(arena: Arena) -> int:
    """Return for how many events the buffers have room whatever they write."""
    longest_route = arena.routes.hops.shape[1]
    written = arena.n_written
    room = min(len(arena.shot_time_ns) - written[0], len(arena.test_link) - written[1])
    room = min(room, len(arena.trace) - written[2])
    n_events = room // rows_of_event(arena.stock_birth_ns.shape[1], longest_route)
    if arena.routes.has_routes:
        n_events = min(n_events, events_with_trace_room(arena.routes))
    return int(max(n_events, 0))


@inlined
def _without_extensions(arena: Arena) -> Arena:
    """Return the arena of a network of links and Werner pairs alone, of which the compiler knows that it is one.

    Numba cannot replace single fields of a named tuple.
    """
    routes = arena.routes
    return Arena(
        arena.constants,
        arena.announced,
        arena.states,
        arena.tallies,
        arena.fates,
        arena.next_ns,
        arena.stock_birth_ns,
        arena.stock_number,
        arena.stock_shift,
        arena.stock_expiry_ns,
        arena.stock_mode,
        arena.key_arrival_ns,
        arena.learner,
        arena.shot_duration_ns,
        arena.qpu_ready_ns,
        arena.qpu_close_ns,
        arena.shot_wait_ns,
        arena.free_slots,
        arena.first_neighbour,
        arena.neighbour_link,
        arena.delivered_value,
        arena.fidelity_at_use,
        arena.wait_histogram,
        arena.n_written,
        arena.shot_learner,
        arena.shot_time_ns,
        arena.shot_werner,
        arena.test_link,
        arena.test_werner,
        arena.test_is_of_shot,
        arena.trace,
        arena.choice,
        arena.parameters,
        arena.round_start_ns,
        arena.round_end_ns,
        arena.learning_end_ns,
        arena.key_deadline_ns,
        arena.pairs_per_shot,
        arena.learning_value,
        arena.key_value,
        arena.test_value,
        arena.test_share,
        arena.trace_every,
        arena.memory_slots,
        arena.stored_before,
        arena.held_before,
        arena.stock_axis_logarithm,
        arena.shot_correlators,
        arena.test_correlators,
        arena.key_correlator_sum,
        arena.pair_state,
        arena.correlator_weights,
        (),
        RouteArena(
            routes.flows,
            routes.flow_states,
            routes.tallies,
            routes.nodes,
            routes.route_link,
            routes.route_node,
            routes.offset_ns,
            routes.start,
            routes.decay_factor,
            routes.cutoff_ns,
            routes.modes,
            routes.mode_free_ns,
            routes.requests,
            routes.hops,
            routes.heard_ns,
            routes.free_request,
            routes.asks,
            routes.n_asks,
            routes.n_live_on_link,
            routes.source_ns,
            routes.winner,
            routes.counts,
            routes.pending_link,
            routes.is_pending,
            routes.pair_fates,
            routes.wait_histogram,
            routes.fidelity_at_use,
            routes.trace,
            routes.communication_qubits,
            routes.free_communication,
            routes.is_active,
            routes.is_renewed,
            routes.wanted_since_ns,
            routes.review_node,
            routes.is_review,
            routes.n_flows,
            routes.is_isotropic,
            routes.swaps_at_once,
            routes.routes_first,
            routes.trace_every,
            routes.test_share,
            routes.is_checked,
            _NO,
            _NO,
            _NO,
            _NO,
        ),
    )


@compiled
def run_links_until(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena,
    link_ns: npt.NDArray[np.int64],
    winner: npt.NDArray[np.int64],
    until_ns: int,
    serve: CompiledRule,
    attempt: CompiledRule,
) -> int:
    """Do what `run_until` does, for a network of Werner pairs without routes, limits, modes and drift, faster."""
    plain = _without_extensions(arena)
    n_links = len(plain.constants)
    _play_links(plain, link_ns, winner)
    room = 0
    while n_links > 0 and link_ns[as_index(winner[1])] < until_ns:
        if room == 0:
            room = _events_with_room(plain)
            if room == 0:
                return BUFFER_FULL
        room -= 1
        link = as_index(winner[1])
        now_ns = link_ns[link]
        answer = _handle(plain, link, now_ns, attempt)
        if answer == _MISTAKE or (answer == _DISPATCH and not _dispatch(plain, link, now_ns, serve)):
            return BAD_CHOICE
        link_ns[link] = _first_event(plain.next_ns, link)
        play_again(link_ns, winner, link)
    return ALL_DONE


@inlined
def _answer_link(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena, link: int, answer: int, now_ns: int, serve: CompiledRule, route: CompiledRule
) -> bool:
    """Let the policy look at a link after its event, and at all links that routes ask; False if it made a mistake."""
    routes = arena.routes
    is_sound = True
    if routes.has_routes and link >= 0 and routes.n_asks[link] > 0:
        push_pending(routes, link)
    to_serve = link if answer == _DISPATCH else -1
    # Link and routes in the policy's order, each at one place only, for both are large.
    for turn in range(2):
        is_turn_of_routes = (turn == 0) == routes.routes_first
        if is_sound and is_turn_of_routes and routes.has_routes:
            is_sound = dispatch_routes(arena, now_ns, route)
        if is_sound and not is_turn_of_routes and to_serve >= 0:
            is_sound = _dispatch(arena, to_serve, now_ns, serve)
            # It changes, so that nothing about the link is computed before the loop, at every event.
            to_serve = -1
    if routes.has_attempt_limit and link >= 0:
        ask_review(routes, arena.constants[link].node_a)
        ask_review(routes, arena.constants[link].node_b)
    return is_sound


@compiled
def run_until(  # noqa: PLR0912, PLR0917 - why it stops; compiled functions have no keyword-only arguments
    arena: Arena,
    link_ns: npt.NDArray[np.int64],
    winner: npt.NDArray[np.int64],
    from_ns: int,
    until_ns: int,
    serve: CompiledRule,
    attempt: CompiledRule,
    route: CompiledRule,
    swap: CompiledRule,
    priority: CompiledRule,
) -> int:
    """Process all events before `until_ns`; the first two arrays are room for the links' times and their tournament.

    Returns:
        `ALL_DONE`; `BUFFER_FULL` if a buffer must be emptied first and `NO_ROUTE_ROOM` if there must be more room for
        requests, after which a further call goes on where this one stopped; `BAD_CHOICE` if the policy chose a request
        or a pair that is not there, and nothing was done about it; above that, `VIOLATION` and the number of an
        invariant that does not hold.
    """
    routes = arena.routes
    n_links = len(arena.constants)
    _play_links(arena, link_ns, winner)
    if routes.has_routes:
        play_all(routes.source_ns, routes.winner)
    now_ns = from_ns
    room = 0
    while True:
        if routes.has_attempt_limit and routes.counts[N_REVIEW] > 0:
            review_attempts(arena, now_ns, attempt, priority)
        before_ns = now_ns
        now_ns = link_ns[as_index(winner[1])] if n_links > 0 else NEVER
        is_of_link = True
        if routes.has_routes and routes.source_ns[as_index(routes.winner[1])] < now_ns:
            now_ns = routes.source_ns[as_index(routes.winner[1])]
            is_of_link = False
        if routes.is_checked:
            number = violation(arena, before_ns, now_ns)
            if number > 0:
                return VIOLATION + number
        if now_ns >= until_ns:
            return ALL_DONE
        if room == 0:
            room = _events_with_room(arena)
            if room == 0:
                return BUFFER_FULL
        if not is_of_link and not has_request_room(arena.routes):
            return NO_ROUTE_ROOM
        room -= 1
        link, answer = -1, _QUIET
        if is_of_link:
            link = as_index(winner[1])
            answer = _handle(arena, link, now_ns, attempt)
        else:
            run_source(arena, now_ns, swap)
        if answer == _MISTAKE or not _answer_link(arena, link, answer, now_ns, serve, route):
            return BAD_CHOICE
        if is_of_link:
            link_ns[link] = _first_event(arena.next_ns, link)
            play_again(link_ns, winner, link)
