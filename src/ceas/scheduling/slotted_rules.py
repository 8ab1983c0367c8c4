"""The two rules that all baselines of the slotted network share: list scheduling, with the lists' order as a parameter.

A baseline is the order in which requests are served, the order in which pairs are taken for them, and the order in
which links attempt; all of them know the same and serve and attempt in the same way otherwise, so that a difference
between two of them is one of order alone. What every one of them does:

Serving, in the order of the requests, gives each the pairs that qualify; a route takes a pair of each of its links, so
that the swapped pair qualifies. Requests that get nothing wait.

Attempting, every link first sets its stock against its queue, in the same order: the requests that the stock does not
cover are missed, and a link that is missed attempts whatever its stock. Without a missed request it makes pairs ahead
while it holds fewer than a limit. A request that is announced counts from its announcement, but only for pairs that
will still qualify when it arrives.

A policy that drops discards, after serving, the oldest pair that no request needs at a full node, so that a link of
that node which is missed can attempt in the next slot.
"""

import math
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import inlined
from ceas.network.draws import unit_interval
from ceas.network.slot_policy import (
    DISCARD,
    PURIFY,
    SlotSnapshot,
    request_value,
    slot_attempt_rule,
    slot_serve_rule,
    stored_werner,
)
from ceas.scheduling.purify_rules import freshest_two, purified_werner

__all__ = ["AttemptOrder", "PairOrder", "RequestOrder", "attempt_in_order", "serve_in_order"]


class RequestOrder(IntEnum):
    """Which request comes first; at a tie the one that arrived first."""

    ARRIVAL = 0
    DEADLINE = 1
    WEIGHT = 2
    """The largest weight for each pair that it takes, then the earliest deadline."""
    RANDOM = 3
    BACKLOG = 4
    """The route, or single link, with the largest backlog times the chance that its swaps succeed."""
    FIDELITY = 5
    """The largest Werner parameter that it could get from the freshest pairs."""


class PairOrder(IntEnum):
    """Which pair that qualifies is taken first."""

    OLDEST = 0
    FRESHEST = 1
    RANDOM = 2


class AttemptOrder(IntEnum):
    """Which link attempts first. What is made ahead comes after what is missed, unless said otherwise."""

    RANDOM = 0
    """At random, missed or not."""
    STALE = 1
    """The link whose freshest pair has lost most, missed or not."""
    FIRST_REQUEST = 2
    """The link whose missed request comes first in the order of the requests; then at random."""
    PENDING = 3
    """The link whose missed requests add up to the largest weight, urgent ones for more; then at random."""
    BACKLOG = 4
    """The largest backlog of missed requests times the link's chance of success; then at random."""
    FIDELITY = 5
    """The link whose new pair has the highest fidelity; then the one that gains most on its freshest pair."""
    DEMAND = 6
    """Forecast demand, and a share of what is missed, over one more than the stock; missed or not."""
    TIME_SLOT = 7
    """The links of the slot's colour alone, at random; then, if gaps are filled, the others."""


# Places in `snapshot.tables`.
N_TABLES = 12
(
    REQUEST_ORDER,
    PAIR_ORDER,
    ATTEMPT_ORDER,
    OVERWRITES,
    PENDING_SHARE,
    VALUE_SHARE,
    URGENCY,
    LEAST_CHANCE,
    N_COLOURS,
    FILLS,
    PURIFIES,
    DROPS,
) = range(N_TABLES)
# Places in `snapshot.parameters[link]`.
LIMIT, CUTOFF, DEMAND, COLOUR, PURE_WERNER = range(5)

_DEADLINE, _WEIGHT = int(RequestOrder.DEADLINE), int(RequestOrder.WEIGHT)
_RANDOM_REQUEST, _BACKLOG, _FIDELITY = int(RequestOrder.RANDOM), int(RequestOrder.BACKLOG), int(RequestOrder.FIDELITY)
_OLDEST, _FRESHEST = int(PairOrder.OLDEST), int(PairOrder.FRESHEST)
_STALE, _FIRST_REQUEST, _PENDING = int(AttemptOrder.STALE), int(AttemptOrder.FIRST_REQUEST), int(AttemptOrder.PENDING)
_BY_BACKLOG, _BY_FIDELITY = int(AttemptOrder.BACKLOG), int(AttemptOrder.FIDELITY)
_BY_DEMAND, _TIME_SLOT = int(AttemptOrder.DEMAND), int(AttemptOrder.TIME_SLOT)
# Scores of links with a missed request lie above this, those of links that make pairs ahead below.
_MISSED = 2.0
# Scores that differ by less are equal but for chance.
_TIE = 1e-9


# ---- the order of requests -------------------------------------------------------------------------------------------


@inlined
def n_taken(snapshot: SlotSnapshot, request: int) -> int:
    """Return how many pairs a request takes."""
    n_hops: int = snapshot.route_first[request + 1] - snapshot.route_first[request]
    return n_hops if n_hops > 1 else int(snapshot.n_pairs[request])


@inlined
def route_backlog(snapshot: SlotSnapshot, request: int) -> float:
    """Return the requests waiting for the same route, each as one or, in part, by weight, times the swaps' chance."""
    first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
    link = snapshot.route_link[first]
    share = snapshot.tables[VALUE_SHARE]
    backlog = 0.0
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        other = snapshot.queue_request[at]
        other_first = snapshot.route_first[other]
        is_same = snapshot.route_first[other + 1] - other_first == end - first
        for hop in range(end - first):
            is_same = is_same and snapshot.route_link[other_first + hop] == snapshot.route_link[first + hop]
        if is_same:
            backlog += 1.0 - share + share * snapshot.weight[other]
    return backlog * float(snapshot.swap_success_probability ** (end - first - 1))


@inlined
def request_key(snapshot: SlotSnapshot, request: int) -> float:
    """Return the place of a request in the policy's order, lowest first."""
    order = snapshot.tables[REQUEST_ORDER]
    key = 0.0
    if order == _DEADLINE:
        key = float(snapshot.deadline[request])
    elif order == _WEIGHT:
        slack = snapshot.deadline[request] - snapshot.slot
        key = -snapshot.weight[request] / n_taken(snapshot, request) - _TIE / (1.0 + slack)
    elif order == _RANDOM_REQUEST:
        key = unit_interval(np.uint64(snapshot.draw), (1 << 32) + request)
    elif order == _BACKLOG:
        key = -route_backlog(snapshot, request)
    elif order == _FIDELITY:
        first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
        key = -(snapshot.swap_werner ** (end - first - 1))
        for hop in range(first, end):
            link = snapshot.route_link[hop]
            last = snapshot.n_stored[link] - 1
            key *= stored_werner(snapshot, link, last) if last >= 0 else snapshot.initial_werner[link]
    return key


@inlined
def sift_down(number: npt.NDArray[np.int64], key: npt.NDArray[np.float64], at: int, size: int) -> None:
    """Let an element sink in a heap with the largest (key, number) on top."""
    moved, moved_key = number[at], key[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and (
            key[child + 1] > key[child] or (key[child + 1] == key[child] and number[child + 1] > number[child])
        ):
            child += 1
        if key[child] < moved_key or (key[child] == moved_key and number[child] <= moved):
            break
        number[at], key[at] = number[child], key[child]
        at = child
    number[at], key[at] = moved, moved_key


@inlined
def sort_requests(number: npt.NDArray[np.int64], key: npt.NDArray[np.float64], size: int) -> None:
    """Sort the first requests by key, at a tie by number."""
    is_sorted = True
    for at in range(1, size):
        if key[at] < key[at - 1] or (key[at] == key[at - 1] and number[at] < number[at - 1]):
            is_sorted = False
            break
    if is_sorted:
        return
    for at in range(size // 2 - 1, -1, -1):
        sift_down(number, key, at, size)
    for last in range(size - 1, 0, -1):
        number[0], number[last] = number[last], number[0]
        key[0], key[last] = key[last], key[0]
        sift_down(number, key, 0, last)


# ---- service ---------------------------------------------------------------------------------------------------------


@inlined
def is_worth(snapshot: SlotSnapshot, request: int, werner: float) -> bool:
    """Tell whether a pair is worth anything to a request, whatever its weight."""
    return bool(request_value(snapshot.kind[request], 1.0, snapshot.minimum_fidelity[request], werner) > 0.0)


@inlined
def position_in_order(snapshot: SlotSnapshot, request: int, link: int, at: int) -> int:
    """Return the position of the pair of a link that comes `at`-th in the policy's order."""
    n_stored = snapshot.n_stored[link]
    order = snapshot.tables[PAIR_ORDER]
    if order == _OLDEST:
        return at
    if order == _FRESHEST:
        return int(n_stored - 1 - at)
    start = int(unit_interval(np.uint64(snapshot.draw), (1 << 40) + request) * n_stored)
    return int((start + at) % n_stored)


@inlined
def choose_pairs(snapshot: SlotSnapshot, request: int, chosen: npt.NDArray[np.int64]) -> bool:
    """Choose the pairs of a request over one link and mark them; False if too few qualify."""
    link, n_needed = snapshot.route_link[snapshot.route_first[request]], snapshot.n_pairs[request]
    n_found = 0
    for at in range(snapshot.n_stored[link]):
        position = position_in_order(snapshot, request, link, at)
        if snapshot.used[link, position] == 0 and is_worth(snapshot, request, stored_werner(snapshot, link, position)):
            chosen[n_found] = position
            n_found += 1
            if n_found == n_needed:
                break
    if n_found < n_needed:
        return False
    for at in range(n_needed):
        snapshot.used[link, chosen[at]] = 1
    return True


@inlined
def choose_route(snapshot: SlotSnapshot, request: int, chosen: npt.NDArray[np.int64]) -> bool:
    """Choose a pair of each link of a route and mark them; False if the swapped pair cannot qualify.

    It begins with the best pair of each link. Then, link by link, it takes instead the first in the policy's order with
    which the swapped pair still qualifies.
    """
    first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
    werner = snapshot.swap_werner ** (end - first - 1)
    for hop in range(end - first):
        link = snapshot.route_link[first + hop]
        best, best_werner = -1, -1.0
        for position in range(snapshot.n_stored[link]):
            one = stored_werner(snapshot, link, position)
            if snapshot.used[link, position] == 0 and one >= best_werner:
                best, best_werner = position, one
        if best < 0:
            return False
        chosen[hop] = best
        werner *= best_werner
    if not is_worth(snapshot, request, werner):
        return False
    for hop in range(end - first):
        link = snapshot.route_link[first + hop]
        others = werner / max(stored_werner(snapshot, link, chosen[hop]), 1e-300)
        for at in range(snapshot.n_stored[link]):
            position = position_in_order(snapshot, request, link, at)
            one = stored_werner(snapshot, link, position)
            if snapshot.used[link, position] == 0 and is_worth(snapshot, request, others * one):
                chosen[hop], werner = position, others * one
                break
        snapshot.used[link, chosen[hop]] = 1
    return True


@inlined
def is_stocked(snapshot: SlotSnapshot, request: int) -> bool:
    """Tell whether the links of a request hold enough pairs, of whatever quality."""
    first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
    needed = snapshot.n_pairs[request]
    holds = True
    for hop in range(first, end):
        holds = holds and snapshot.n_stored[snapshot.route_link[hop]] >= needed
    return bool(holds)


@slot_serve_rule
def serve_in_order(snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> int:
    """Serve the requests in the policy's order; then discard the pairs that have reached the policy's cutoff."""
    number, key, size = snapshot.work_int, snapshot.work_float, 0
    for request in snapshot.waiting:
        if snapshot.arrival[request] <= snapshot.slot and is_stocked(snapshot, request):
            number[size] = request
            key[size] = request_key(snapshot, request)
            size += 1
    sort_requests(number, key, size)
    n_actions = 0
    for at in range(size):
        request = number[at]
        if snapshot.route_first[request + 1] - snapshot.route_first[request] > 1:
            is_served = choose_route(snapshot, request, pairs[n_actions])
        else:
            is_served = choose_pairs(snapshot, request, pairs[n_actions])
        if is_served:
            action[n_actions] = request
            n_actions += 1
    for link in range(len(snapshot.edges)):
        for position in range(snapshot.n_stored[link]):
            age = snapshot.slot - snapshot.stock_birth[link, position]
            if snapshot.used[link, position] == 0 and age >= snapshot.parameters[link, CUTOFF]:
                action[n_actions] = DISCARD
                pairs[n_actions, 0], pairs[n_actions, 1] = link, position
                n_actions += 1
                snapshot.used[link, position] = 1
    if snapshot.tables[PURIFIES] > 0.0:
        n_actions = purify_for_need(snapshot, action, pairs, n_actions)
    if snapshot.tables[DROPS] > 0.0:
        n_actions = drop_for_missed(snapshot, action, pairs, n_actions)
    return n_actions


@inlined
def purify_for_need(
    snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], n_actions: int
) -> int:
    """Purify the two freshest pairs of a link where only that gives stock for a class of requests."""
    for link in range(len(snapshot.edges)):
        kept, given = freshest_two(snapshot, link)
        if given < 0:
            continue
        needed, faded = snapshot.parameters[link, PURE_WERNER], math.exp(-snapshot.decay_per_slot[link])
        stored = stored_werner(snapshot, link, kept)
        _, werner = purified_werner(stored, stored_werner(snapshot, link, given))
        if stored * faded < needed <= werner * faded:
            action[n_actions] = PURIFY
            pairs[n_actions, 0], pairs[n_actions, 1], pairs[n_actions, 2] = link, kept, given
            n_actions += 1
    return n_actions


# ---- attempts --------------------------------------------------------------------------------------------------------


@inlined
def rest_of_route(snapshot: SlotSnapshot, request: int, link: int) -> float:
    """Return the Werner factor of a request's swaps and of new pairs on all links of its route but one."""
    first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
    werner: float = snapshot.swap_werner ** (end - first - 1)
    for hop in range(first, end):
        if snapshot.route_link[hop] != link:
            werner *= snapshot.initial_werner[snapshot.route_link[hop]]
    return werner


@inlined
def set_aside(snapshot: SlotSnapshot, request: int, link: int) -> int:
    """Mark stored pairs of a link for a request that waits, and return how many are missing.

    For an announced request a pair counts if it will qualify at its arrival.
    """
    needed = snapshot.n_pairs[request]
    rest = rest_of_route(snapshot, request, link)
    ahead = max(0, snapshot.arrival[request] - snapshot.slot)
    faded = rest * math.exp(-snapshot.decay_per_slot[link] * ahead)
    for at in range(snapshot.n_stored[link]):
        if needed == 0:
            break
        position = position_in_order(snapshot, request, link, at)
        is_there = snapshot.used[link, position] == 0 and snapshot.stock_expiry[link, position] >= snapshot.slot + ahead
        if is_there and is_worth(snapshot, request, faded * stored_werner(snapshot, link, position)):
            snapshot.used[link, position] = 1
            needed -= 1
    return int(needed)


@inlined
def is_hopeful(snapshot: SlotSnapshot, request: int, link: int, missing: int) -> bool:
    """Tell whether a pair made now would qualify, and the link makes the missing ones in time with enough chance."""
    ahead = max(0, snapshot.arrival[request] - snapshot.slot)
    faded = math.exp(-snapshot.decay_per_slot[link] * ahead) * snapshot.initial_werner[link]
    if ahead > snapshot.lifetime_slots[link] or not is_worth(
        snapshot, request, faded * rest_of_route(snapshot, request, link)
    ):
        return False
    least = snapshot.tables[LEAST_CHANCE]
    if least <= 0.0:
        return True
    # P(Bin(n, p) < missing), term by term.
    n_left, p = snapshot.deadline[request] - snapshot.slot + 1, snapshot.success_probability[link]
    if p >= 1.0:
        return bool(n_left >= missing)
    term = (1.0 - p) ** n_left
    fails = 0.0
    for k in range(missing):
        fails += term
        term *= (n_left - k) / (k + 1.0) * p / (1.0 - p)
    return bool(1.0 - fails >= least)


@inlined
def missed_requests(snapshot: SlotSnapshot, link: int) -> tuple[int, float, float, float]:
    """Set a link's stock against its queue; return what it does not cover.

    Returns:
        Number of missing pairs; key of the first request that is missed, infinite for none; weight of all of them, each
        for every pair that it takes and, if urgency counts, over the slots that are left; backlog of all of them.
    """
    number, key, size = snapshot.work_int, snapshot.work_float, 0
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        number[size] = snapshot.queue_request[at]
        key[size] = request_key(snapshot, number[size])
        size += 1
    if snapshot.n_stored[link] > 0:
        sort_requests(number, key, size)
    n_missing, first_key, weight, backlog = 0, np.inf, 0.0, 0.0
    share = snapshot.tables[VALUE_SHARE]
    for at in range(size):
        request = number[at]
        missing = set_aside(snapshot, request, link)
        if missing > 0 and is_hopeful(snapshot, request, link, missing):
            n_missing += missing
            first_key = min(first_key, key[at])
            slots_left = max(1.0, float(snapshot.deadline[request] - snapshot.slot + 1))
            weight += snapshot.weight[request] / n_taken(snapshot, request) * slots_left ** -snapshot.tables[URGENCY]
            n_swaps = snapshot.route_first[request + 1] - snapshot.route_first[request] - 1
            backlog += (1.0 - share + share * snapshot.weight[request]) * snapshot.swap_success_probability**n_swaps
    return n_missing, first_key, weight, backlog


@inlined
def best_stored(snapshot: SlotSnapshot, link: int) -> float:
    """Return the largest Werner parameter in a link's stock, 0 for none."""
    best = 0.0
    for position in range(snapshot.n_stored[link]):
        best = max(best, stored_werner(snapshot, link, position))
    return best


@inlined
def score_missed(snapshot: SlotSnapshot, link: int, first_key: float, weight: float, backlog: float) -> float:
    """Return the score of a link that is missed, above `_MISSED`, for the orders in which that counts."""
    order = snapshot.tables[ATTEMPT_ORDER]
    if order == _PENDING:
        return _MISSED + weight
    if order == _BY_BACKLOG:
        return _MISSED + backlog * float(snapshot.success_probability[link])
    if order == _BY_FIDELITY:
        return _MISSED + float(snapshot.initial_werner[link])
    # Keys are deadlines for all policies with this order; 1 / (1 + slack) falls with them and stays above 0.
    return _MISSED + 1.0 / (1.0 + max(0.0, first_key - snapshot.slot))


@inlined
def score_ahead(snapshot: SlotSnapshot, link: int, chance: float) -> float:
    """Return the score of a link that makes pairs ahead, in (0, 1] up to ties."""
    order = snapshot.tables[ATTEMPT_ORDER]
    if order in (_BY_FIDELITY, _STALE):
        return max(0.0, float(snapshot.initial_werner[link]) - best_stored(snapshot, link)) + _TIE * chance
    return chance


@inlined
def is_turn(snapshot: SlotSnapshot, link: int) -> bool:
    """Tell whether the slot is of the link's colour; always for policies without time slots."""
    if snapshot.tables[ATTEMPT_ORDER] != _TIME_SLOT:
        return True
    return bool(snapshot.slot % int(snapshot.tables[N_COLOURS]) == int(snapshot.parameters[link, COLOUR]))


@inlined
def score_link(snapshot: SlotSnapshot, link: int, chance: float) -> float:
    """Return how much a link wants a new pair, 0 for not at all; marks the pairs that its queue needs."""
    order = snapshot.tables[ATTEMPT_ORDER]
    n_missing, first_key, weight, backlog = missed_requests(snapshot, link)
    is_missed = n_missing > 0
    is_ahead = snapshot.n_stored[link] < snapshot.parameters[link, LIMIT] and snapshot.parameters[link, DEMAND] > 0.0
    if not is_missed and not is_ahead:
        return 0.0
    if order == _TIME_SLOT:
        if is_turn(snapshot, link):
            return 1.0 + chance
        return chance * float(snapshot.tables[FILLS])
    if order == _BY_DEMAND:
        demand = float(snapshot.parameters[link, DEMAND] + snapshot.tables[PENDING_SHARE] * weight)
        return demand / (1.0 + int(snapshot.n_stored[link])) * (1.0 + _TIE * chance)
    if is_missed and order >= _FIRST_REQUEST:
        return score_missed(snapshot, link, first_key, weight, backlog) + _TIE * chance
    return score_ahead(snapshot, link, chance)


# ---- memory for links that are missed --------------------------------------------------------------------------------


@inlined
def count_free(
    snapshot: SlotSnapshot,
    action: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    n_actions: int,
    free: npt.NDArray[np.int64],
) -> None:
    """Count the nodes' free memory slots after the actions so far."""
    for node in range(len(snapshot.free_slots)):
        free[node] = snapshot.free_slots[node]
    for at in range(n_actions):
        request = action[at]
        if request < 0:
            # A discarded pair; or the pair given up in a purification, whose success keeps the other.
            free[snapshot.edges[pairs[at, 0], 0]] += 1
            free[snapshot.edges[pairs[at, 0], 1]] += 1
            continue
        first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
        n_each = snapshot.n_pairs[request] if end - first == 1 else 1
        for hop in range(first, end):
            free[snapshot.edges[snapshot.route_link[hop], 0]] += n_each
            free[snapshot.edges[snapshot.route_link[hop], 1]] += n_each


@inlined
def missed_links(
    snapshot: SlotSnapshot, action: npt.NDArray[np.int64], n_actions: int, missed: npt.NDArray[np.int64]
) -> int:
    """List the links that miss a pair after service, in the order of the requests, and return how many.

    Marks the pairs that requests need, whether or not other pairs of their routes are missing.
    """
    room = len(snapshot.work_float) // 4
    is_served, is_missed = snapshot.work_float[room : 2 * room], snapshot.work_float[2 * room : 3 * room]
    for request in snapshot.waiting:
        is_served[request] = 0.0
    for at in range(n_actions):
        if action[at] >= 0:
            is_served[action[at]] = 1.0
    number, key, size = snapshot.work_int, snapshot.work_float, 0
    for request in snapshot.waiting:
        # A new pair serves in the next slot at the earliest.
        if is_served[request] == 0.0 and snapshot.deadline[request] > snapshot.slot:
            number[size] = request
            key[size] = request_key(snapshot, request)
            size += 1
    sort_requests(number, key, size)
    for link in range(len(snapshot.edges)):
        is_missed[link] = 0.0
    n_missed = 0
    for at in range(size):
        request = number[at]
        for hop in range(snapshot.route_first[request], snapshot.route_first[request + 1]):
            link = snapshot.route_link[hop]
            missing = set_aside(snapshot, request, link)
            if missing > 0 and is_missed[link] == 0.0 and is_hopeful(snapshot, request, link, missing):
                is_missed[link] = 1.0
                missed[n_missed] = link
                n_missed += 1
    return n_missed


@inlined
def oldest_spare(snapshot: SlotSnapshot, node: int) -> tuple[int, int]:
    """Return link and position of a node's oldest pair that nobody needs, -1 for none."""
    best, best_position, best_birth = -1, -1, snapshot.slot + 1
    for link in range(len(snapshot.edges)):
        if snapshot.edges[link, 0] != node and snapshot.edges[link, 1] != node:
            continue
        for position in range(snapshot.n_stored[link]):
            if snapshot.used[link, position] == 0:
                if snapshot.stock_birth[link, position] < best_birth:
                    best, best_position = link, position
                    best_birth = snapshot.stock_birth[link, position]
                break
    return best, best_position


@inlined
def drop_for_missed(
    snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], n_actions: int
) -> int:
    """Discard spare pairs at full nodes for links that are missed, for at most as many as a node can attempt."""
    room = len(snapshot.work_int) // 4
    free, n_tries = snapshot.work_int[room : 2 * room], snapshot.work_int[2 * room : 3 * room]
    missed = snapshot.work_int[3 * room :]
    count_free(snapshot, action, pairs, n_actions, free)
    n_missed = missed_links(snapshot, action, n_actions, missed)
    for node in range(len(snapshot.free_slots)):
        n_tries[node] = snapshot.attempts_per_slot[node]
    for at in range(n_missed):
        one, other = snapshot.edges[missed[at], 0], snapshot.edges[missed[at], 1]
        if n_tries[one] == 0 or n_tries[other] == 0:
            continue
        for end in range(2):
            node, far = (one, other) if end == 0 else (other, one)
            if free[node] > 0:
                continue
            link, position = oldest_spare(snapshot, node)
            # A pair is given up only if the link can then attempt.
            if link < 0 or (end == 0 and free[far] <= 0 and oldest_spare(snapshot, far)[0] < 0):
                break
            snapshot.used[link, position] = 1
            action[n_actions] = DISCARD
            pairs[n_actions, 0], pairs[n_actions, 1] = link, position
            n_actions += 1
            free[snapshot.edges[link, 0]] += 1
            free[snapshot.edges[link, 1]] += 1
        if free[one] > 0 and free[other] > 0:
            n_tries[one] -= 1
            n_tries[other] -= 1
            free[one] -= 1
            free[other] -= 1
    return n_actions


@slot_attempt_rule
def attempt_in_order(snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64]) -> None:
    """Attempt in the policy's order; a policy that overwrites replaces the oldest spare pair where memory is full."""
    for link in range(len(score)):
        chance = unit_interval(np.uint64(snapshot.draw), link)
        score[link] = score_link(snapshot, link, chance)
        replace[link] = -1
        if snapshot.tables[OVERWRITES] == 0.0 or snapshot.n_stored[link] == 0:
            continue
        is_full = snapshot.free_slots[snapshot.edges[link, 0]] == 0 or snapshot.free_slots[snapshot.edges[link, 1]] == 0
        makes_ahead = snapshot.parameters[link, LIMIT] > 0.0 and snapshot.parameters[link, DEMAND] > 0.0
        is_at_limit = score[link] == 0.0 and makes_ahead and is_turn(snapshot, link)
        if is_at_limit:
            # Nothing more is wanted, but a fresh pair for an old one: after everything else.
            score[link] = 1e-12 * chance
        if is_full or is_at_limit:
            spare = 0
            while spare < snapshot.n_stored[link] and snapshot.used[link, spare] != 0:
                spare += 1
            replace[link] = spare if spare < snapshot.n_stored[link] else 0
