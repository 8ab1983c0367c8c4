"""The compiled rules of CEAS's policy for slotted networks: bid prices, looked up and weighed. See `slotted_ceas`."""

import math

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, compiled, constant
from ceas.network.slot_policy import (
    DISCARD,
    SlotSnapshot,
    request_value,
    slot_attempt_rule,
    slot_serve_rule,
    stored_werner,
)
from ceas.scheduling.attempt_matching import improve_matching
from ceas.scheduling.barrier_bids import MOST_APPOINTMENTS, clear_bonus, is_of_barrier, quorum_bonus, write_bonuses
from ceas.scheduling.price_tables import (
    APPOINTMENT_SHARE,
    AT_END,
    AT_REQUEST,
    HAS_MATCHING,
    PURIFIES,
    QUORUM_VALUE,
    RECLAIM,
    WASTE_PRICE,
    attempt_chance,
    binomial_chance,
    fresh_worth,
    node_link,
    node_links_end,
    node_links_first,
    pair_cost,
    pair_worth,
    state_bias,
    wait_worth,
)
from ceas.scheduling.purify_rules import KEPT_PAIR, gain_of_next, purify_by_gain

__all__ = ["attempt_by_bid", "serve_by_bid"]

_NOTHING = -math.inf
_NEW = constant(0)
_NONE = constant(-1)
_UNKNOWN = constant(-2)


# ---- attempts --------------------------------------------------------------------------------------------------------


@compiled
def _gain_for_request(snapshot: SlotSnapshot, link: int, request: int) -> float:
    """Return what one more pair of the link adds to what a waiting request may expect.

    The pair matters if exactly one too few would come without it, at this link, and enough at the others.
    """
    slots_left = snapshot.deadline[request] - snapshot.slot
    missing = 1
    if snapshot.n_pairs[request] > 1:
        missing = max(snapshot.n_pairs[request] - snapshot.n_stored[link], 0)
    first, end = as_index(snapshot.route_first[request]), as_index(snapshot.route_first[request + 1])
    if end - first > 1 and snapshot.n_stored[link] > 0:
        missing = 0
    if missing == 0:
        return 0.0
    chance = binomial_chance(slots_left, attempt_chance(snapshot, link, request), missing - 1)
    for hop in range(first, end):
        other = as_index(snapshot.route_link[hop])
        if other != link and snapshot.n_stored[other] == 0:
            chance *= 1.0 - (1.0 - attempt_chance(snapshot, other, request)) ** (slots_left + 1)
    return chance * fresh_worth(snapshot, request)


@compiled
def _appointment_worth(snapshot: SlotSnapshot, link: int, n_known: int, until: int, has_new: int) -> float:
    """Return what the stock may bring to the collected appointments, `until` slots away.

    Pairs marked in `used` do not count. If j more pairs come until then, all fresher, the pair of rank i serves
    appointment i + j. `has_new` says whether there is a new pair besides the stock.
    """
    share = snapshot.parameters[link, APPOINTMENT_SHARE]
    chance = snapshot.success_probability[link] * share
    waste = snapshot.parameters[link, WASTE_PRICE]
    base = len(snapshot.work_int) - MOST_APPOINTMENTS
    bonus = quorum_bonus(snapshot, link, snapshot.slot + until)
    total = 0.0
    rank = 0
    n_stored = snapshot.n_stored[link]
    for at in range(n_stored, -1, -1):
        if at == n_stored and has_new == 0:
            continue
        if at < n_stored and snapshot.used[link, at] != 0:
            continue
        if at == n_stored:
            werner = snapshot.initial_werner[link]
            lasts = snapshot.lifetime_slots[link] >= until
        else:
            werner = stored_werner(snapshot, link, at)
            lasts = snapshot.stock_expiry[link, at] >= snapshot.slot + until
        werner *= math.exp(-snapshot.decay_per_slot[link] * until)
        if lasts:
            for place in range(rank, n_known):
                request = as_index(snapshot.work_int[base + place])
                worth = pair_worth(snapshot, request, werner)
                if worth > 0.0:
                    worth += bonus if place == 0 else 0.0
                    total += binomial_chance(until, chance, place - rank) * (worth + waste)
        rank += 1
    return total


@compiled
def _collect_appointments(snapshot: SlotSnapshot, link: int, first_slot: int) -> tuple[int, int]:
    """Collect the next appointments of the link at `first_slot` or later, the heaviest first.

    An appointment is a request over this link alone that is known before it can be served. They are written to the end
    of `work_int`; their number and the slots until then are returned.
    """
    base = len(snapshot.work_int) - MOST_APPOINTMENTS
    arrival = -1
    n_known = 0
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        request = as_index(snapshot.queue_request[at])
        is_route = snapshot.route_first[request + 1] - snapshot.route_first[request] > 1
        if snapshot.arrival[request] < first_slot or is_route:
            continue
        if arrival < 0 or snapshot.arrival[request] < arrival:
            arrival, n_known = snapshot.arrival[request], 0
        if snapshot.arrival[request] > arrival or n_known == MOST_APPOINTMENTS:
            continue
        weight = pair_worth(snapshot, request, snapshot.initial_werner[link])
        place = base + n_known
        while place > base and snapshot.work_float[place - 1] < weight:
            snapshot.work_float[place] = snapshot.work_float[place - 1]
            snapshot.work_int[place] = snapshot.work_int[place - 1]
            place -= 1
        snapshot.work_float[place] = weight
        snapshot.work_int[place] = request
        n_known += 1
    return n_known, arrival - snapshot.slot


@compiled
def _left_for(snapshot: SlotSnapshot, link: int, request: int) -> int:
    """Return how many pairs of a link are not used yet and good enough for a request over it alone."""
    count = 0
    for position in range(snapshot.n_stored[link]):
        is_left = snapshot.used[link, position] == 0
        count += is_left and pair_worth(snapshot, request, stored_werner(snapshot, link, position)) > 0.0
    return count


@compiled
def _tuple_claim(snapshot: SlotSnapshot, link: int) -> float:
    """Return what the tuples that wait at a link lose with one of the pairs that it has left.

    It is the worth of the tuple times the chance that just as many pairs come as it lacks now; `_NOTHING` without any.
    """
    claim = _NOTHING
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        request = as_index(snapshot.queue_request[at])
        n_pairs = snapshot.n_pairs[request]
        slots_left = snapshot.deadline[request] - snapshot.slot
        is_open = snapshot.work_int[request] == 0 and snapshot.arrival[request] <= snapshot.slot
        if n_pairs == 1 or not is_open or slots_left <= 0:
            continue
        missing = n_pairs - _left_for(snapshot, link, request)
        if missing >= 0:
            chance = binomial_chance(slots_left, attempt_chance(snapshot, link, request), missing)
            claim = max(claim, chance * fresh_worth(snapshot, request))
    return claim


@compiled
def _pair_price(snapshot: SlotSnapshot, link: int, position: int) -> float:
    """Return what it costs to take a stored pair away: from requests to come, tuples that wait, and appointments."""
    price: float = max(pair_cost(snapshot, link, position, AT_END), _tuple_claim(snapshot, link))
    n_known, until = _collect_appointments(snapshot, link, snapshot.slot + 1)
    if n_known > 0:
        with_pair = _appointment_worth(snapshot, link, n_known, until, 0)
        snapshot.used[link, position] = 1
        price = max(price, with_pair - _appointment_worth(snapshot, link, n_known, until, 0))
        snapshot.used[link, position] = 0
    return price


@slot_attempt_rule
def attempt_by_bid(snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64]) -> None:
    """Score each link with the chance of success times what a new pair gains, and choose a good set of links."""
    write_bonuses(snapshot, False)
    for link in range(len(snapshot.edges)):
        n_stored = snapshot.n_stored[link]
        a, b = as_index(snapshot.edges[link, 0]), as_index(snapshot.edges[link, 1])
        is_free = snapshot.free_slots[a] > 0 and snapshot.free_slots[b] > 0
        replace[link] = -1 if is_free else 0
        score[link] = 0.0
        if not is_free and n_stored == 0:
            continue
        # Those of this slot count: their pairs are taken right after the attempts.
        n_known, until = _collect_appointments(snapshot, link, snapshot.slot)
        kept = state_bias(snapshot, link, _NONE, AT_REQUEST)
        promised = 0.0
        if n_known > 0:
            promised = _appointment_worth(snapshot, link, n_known, until, 0)
        if not is_free:
            snapshot.used[link, 0] = 1
        gain = state_bias(snapshot, link, _NEW, AT_REQUEST) - kept
        given_up = kept
        if not is_free:
            given_up -= state_bias(snapshot, link, _NONE, AT_REQUEST)
        else:
            given_up = 0.0
        if n_known > 0:
            gain = max(gain, _appointment_worth(snapshot, link, n_known, until, 1) - promised)
        snapshot.used[link, 0] = 0
        gain += gain_of_next(snapshot, link) - snapshot.parameters[link, WASTE_PRICE]
        for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
            request = as_index(snapshot.queue_request[at])
            if snapshot.arrival[request] < snapshot.slot:
                gain = max(gain, _gain_for_request(snapshot, link, request) - given_up)
        score[link] = snapshot.success_probability[link] * gain
    if snapshot.parameters[0, HAS_MATCHING] > 0.0:
        improve_matching(snapshot, score, replace)


# ---- service ---------------------------------------------------------------------------------------------------------


@compiled
def _choose_one(snapshot: SlotSnapshot, request: int, pairs: npt.NDArray[np.int64]) -> float:
    """Choose the pair of best worth less cost for a request for one pair; return that, or `_NOTHING`."""
    link = as_index(snapshot.route_link[as_index(snapshot.route_first[request])])
    extra = snapshot.parameters[link, WASTE_PRICE]
    if is_of_barrier(snapshot, request):
        extra += quorum_bonus(snapshot, link, snapshot.arrival[request])
    best = _NOTHING
    for position in range(snapshot.n_stored[link]):
        if snapshot.used[link, position] != 0:
            continue
        worth = pair_worth(snapshot, request, stored_werner(snapshot, link, position))
        if worth <= 0.0:
            continue
        gain = worth + extra - _pair_price(snapshot, link, position)
        if gain > best:
            best = gain
            pairs[0] = position
    return best


@compiled
def _choose_tuple(snapshot: SlotSnapshot, request: int, pairs: npt.NDArray[np.int64]) -> float:
    """Choose the best run of neighbours in age for a request for several pairs; return worth less cost."""
    link = as_index(snapshot.route_link[as_index(snapshot.route_first[request])])
    n_pairs = snapshot.n_pairs[request]
    with_all = state_bias(snapshot, link, _NONE, AT_END)
    best, best_last = _NOTHING, -1
    for last in range(snapshot.n_stored[link] - 1, -1, -1):
        count, position = 0, last
        worth = pair_worth(snapshot, request, 1.0)
        while position >= 0 and count < n_pairs:
            if snapshot.used[link, position] == 0:
                werner = stored_werner(snapshot, link, position)
                worth *= request_value(snapshot.kind[request], 1.0, snapshot.minimum_fidelity[request], werner)
                snapshot.used[link, position] = 2
                count += 1
            position -= 1
        gain = worth + n_pairs * snapshot.parameters[link, WASTE_PRICE]
        gain -= with_all - state_bias(snapshot, link, _NONE, AT_END)
        for at in range(snapshot.n_stored[link]):
            if snapshot.used[link, at] == 2:
                snapshot.used[link, at] = 0
        if count == n_pairs and worth > 0.0 and gain > best:
            best, best_last = gain, last
    count, position = 0, best_last
    while position >= 0 and count < n_pairs:
        if snapshot.used[link, position] == 0:
            pairs[count] = position
            count += 1
        position -= 1
    return best


@compiled
def _choose_route(snapshot: SlotSnapshot, request: int, pairs: npt.NDArray[np.int64]) -> float:
    """Choose a pair on each link of a route, from the freshest, one hop after the other; return worth less cost."""
    first, end = as_index(snapshot.route_first[request]), as_index(snapshot.route_first[request + 1])
    chance = snapshot.swap_success_probability ** (end - first - 1)
    werner = snapshot.swap_werner ** (end - first - 1)
    for hop in range(first, end):
        link = as_index(snapshot.route_link[hop])
        position = snapshot.n_stored[link] - 1
        while position >= 0 and snapshot.used[link, position] != 0:
            position -= 1
        if position < 0:
            return _NOTHING
        pairs[hop - first] = position
        werner *= stored_werner(snapshot, link, position)
    worth = chance * pair_worth(snapshot, request, werner)
    if worth <= 0.0:
        return _NOTHING
    cost = 0.0
    for hop in range(first, end):
        link = as_index(snapshot.route_link[hop])
        freshest = pairs[hop - first]
        chosen_price, chosen_werner = 0.0, stored_werner(snapshot, link, freshest)
        for position in range(freshest, -1, -1):
            if snapshot.used[link, position] != 0:
                continue
            price = _pair_price(snapshot, link, position)
            own_werner = stored_werner(snapshot, link, position)
            other = werner * own_werner / chosen_werner
            other_worth = chance * pair_worth(snapshot, request, other)
            is_better = other_worth > 0.0 and other_worth - price > worth - chosen_price
            if position == freshest or is_better:
                pairs[hop - first] = position
                worth, werner, chosen_price, chosen_werner = other_worth, other, price, own_werner
        cost += chosen_price - chance * snapshot.parameters[link, WASTE_PRICE]
    gain: float = worth - cost
    return gain


@compiled
def _choose_pairs(snapshot: SlotSnapshot, request: int, pairs: npt.NDArray[np.int64]) -> float:
    """Choose pairs for a request and return what serving it now gains over waiting; `_NOTHING` if it cannot be."""
    slots_left = snapshot.deadline[request] - snapshot.slot
    if snapshot.route_first[request + 1] - snapshot.route_first[request] > 1:
        gain = _choose_route(snapshot, request, pairs)
    elif snapshot.n_pairs[request] > 1:
        gain = _choose_tuple(snapshot, request, pairs)
    else:
        gain = _choose_one(snapshot, request, pairs)
    return gain - wait_worth(snapshot, request, slots_left)


@compiled
def _mark_taken(snapshot: SlotSnapshot, request: int, pairs: npt.NDArray[np.int64]) -> None:
    first, end = as_index(snapshot.route_first[request]), as_index(snapshot.route_first[request + 1])
    if end - first > 1:
        for hop in range(first, end):
            snapshot.used[snapshot.route_link[hop], pairs[hop - first]] = 1
    else:
        for at in range(snapshot.n_pairs[request]):
            snapshot.used[snapshot.route_link[first], pairs[at]] = 1


@compiled
def _serve_best_first(
    snapshot: SlotSnapshot,
    requests: npt.NDArray[np.int64],
    action: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    n_rows: int,
) -> int:
    """Serve requests from the largest gain down, weighing each again when its turn comes; return the number of rows.

    Gains lie in `work_float` by request; that of a served one is set to `_NOTHING`.
    """
    row = n_rows
    for at in range(len(requests)):
        request = as_index(requests[at])
        snapshot.work_float[request] = _NOTHING
        if snapshot.arrival[request] <= snapshot.slot:
            # Infinite, so that each is weighed when first met.
            snapshot.work_float[request] = math.inf
    while True:
        best, chosen = 0.0, -1
        for at in range(len(requests)):
            request = as_index(requests[at])
            if snapshot.work_float[request] > best:
                best, chosen = snapshot.work_float[request], request
        if chosen < 0:
            return row
        gain = _choose_pairs(snapshot, chosen, pairs[row])
        if gain < best or gain <= 1e-12:
            # Weighed anew; it may still be the best one, and comes again then.
            snapshot.work_float[chosen] = gain if gain < best else _NOTHING
            continue
        action[row] = chosen
        _mark_taken(snapshot, chosen, pairs[row])
        if snapshot.parameters[0, QUORUM_VALUE] > 0.0 and is_of_barrier(snapshot, chosen):
            clear_bonus(snapshot, snapshot.route_link[snapshot.route_first[chosen]])
        snapshot.work_float[chosen] = _NOTHING
        snapshot.work_int[chosen] = 1
        row += 1


@compiled
def _cheapest_pair(snapshot: SlotSnapshot, node: int) -> tuple[float, int, int]:
    """Return the least cost of the pairs left at a node, with link and position; link -1 if there are none."""
    least, found_link, found_position = math.inf, -1, -1
    for place in range(node_links_first(snapshot, node), node_links_end(snapshot, node)):
        link = node_link(snapshot, place)
        for position in range(snapshot.n_stored[link]):
            if snapshot.used[link, position] == 0:
                cost = _pair_price(snapshot, link, position)
                if cost < least:
                    least, found_link, found_position = cost, link, position
    return least, found_link, found_position


@compiled
def _forget_cheapest(snapshot: SlotSnapshot, node: int) -> None:
    """Forget which pair of a node is the cheapest."""
    snapshot.work_int[_rooms(snapshot) + node] = _UNKNOWN


@compiled
def _rooms(snapshot: SlotSnapshot) -> int:
    """Return the size of one of the four rooms that a workspace has, each for all links, nodes or requests."""
    return (len(snapshot.work_int) - MOST_APPOINTMENTS) // 4


@compiled
def _known_cheapest(snapshot: SlotSnapshot, node: int) -> tuple[float, int, int]:
    """Return what `_cheapest_pair` does, kept in the second and third room of the workspace until forgotten."""
    room = _rooms(snapshot)
    if snapshot.work_int[room + node] == _UNKNOWN:
        least, link, position = _cheapest_pair(snapshot, node)
        snapshot.work_float[room + node] = least
        snapshot.work_int[room + node] = link
        snapshot.work_int[2 * room + node] = position
    return snapshot.work_float[room + node], snapshot.work_int[room + node], snapshot.work_int[2 * room + node]


@compiled
def _waiting_gain(snapshot: SlotSnapshot, link: int) -> float:
    """Return the most that a request may expect from new pairs of a link that has not enough left."""
    n_stored = 0
    for position in range(snapshot.n_stored[link]):
        n_stored += snapshot.used[link, position] == 0
    most = 0.0
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        request = as_index(snapshot.queue_request[at])
        slots_left = snapshot.deadline[request] - snapshot.slot
        is_open = snapshot.work_int[request] == 0 and snapshot.arrival[request] <= snapshot.slot
        if not is_open or slots_left <= 0 or (n_stored > 0 and snapshot.n_pairs[request] == 1):
            continue
        n_left = _left_for(snapshot, link, request) if n_stored > 0 else 0
        if n_left >= snapshot.n_pairs[request]:
            continue
        if n_left == 0:
            most = max(most, wait_worth(snapshot, request, slots_left))
        else:
            chance = attempt_chance(snapshot, link, request)
            enough = 1.0
            for count in range(snapshot.n_pairs[request] - n_left):
                enough -= binomial_chance(slots_left, chance, count)
            most = max(most, enough * fresh_worth(snapshot, request))
    return most


@compiled
def _discard_for_waiting(  # noqa: PLR0912 - the two ends of a link, counted, weighed and freed
    snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], n_rows: int
) -> int:
    """Drop the cheapest pair of a full node where a waiting request needs its memory more; return the number of rows.

    The memory that is left at each node is counted in `work_float`.
    """
    row = n_rows
    for node in range(len(snapshot.free_slots)):
        snapshot.work_float[node] = snapshot.free_slots[node]
        _forget_cheapest(snapshot, node)
    for link in range(len(snapshot.edges)):
        for position in range(snapshot.n_stored[link]):
            if snapshot.used[link, position] not in (0, KEPT_PAIR):
                for side in range(2):
                    snapshot.work_float[as_index(snapshot.edges[link, side])] += 1.0
    for link in range(len(snapshot.edges)):
        is_full = False
        for side in range(2):
            is_full = is_full or snapshot.work_float[as_index(snapshot.edges[link, side])] <= 0.0
        if not is_full or snapshot.queue_first[link] == snapshot.queue_first[link + 1]:
            continue
        allowed = snapshot.parameters[link, RECLAIM] * _waiting_gain(snapshot, link)
        if allowed <= 0.0:
            continue
        cost = 0.0
        first_link, first_position, second_link, second_position = -1, -1, -1, -1
        for side in range(2):
            node = as_index(snapshot.edges[link, side])
            if snapshot.work_float[node] <= 0.0:
                least, dropped, position = _known_cheapest(snapshot, node)
                cost += least
                if side == 0:
                    first_link, first_position = dropped, position
                else:
                    second_link, second_position = dropped, position
        # A pair of the link itself would make room for no more than itself.
        if cost >= allowed or link in (first_link, second_link):
            continue
        for side in range(2):
            dropped = first_link if side == 0 else second_link
            position = first_position if side == 0 else second_position
            # One pair may have freed memory at both ends.
            if dropped < 0 or snapshot.work_float[as_index(snapshot.edges[link, side])] > 0.0:
                continue
            action[row] = DISCARD
            pairs[row, 0], pairs[row, 1] = dropped, position
            snapshot.used[dropped, position] = 1
            for end in range(2):
                snapshot.work_float[snapshot.edges[dropped, end]] += 1.0
                _forget_cheapest(snapshot, snapshot.edges[dropped, end])
            row += 1
    return row


@slot_serve_rule
def serve_by_bid(snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> int:
    """Serve what gains more than its pairs cost, then drop pairs whose memory is worth more than they are."""
    write_bonuses(snapshot, True)
    has_routes = False
    for at in range(len(snapshot.waiting)):
        request = as_index(snapshot.waiting[at])
        snapshot.work_int[request] = 0
        has_routes = has_routes or snapshot.route_first[request + 1] - snapshot.route_first[request] > 1
    row = 0
    # Without routes the links decide each for itself.
    n_parts = 1 if has_routes else len(snapshot.edges)
    for part in range(n_parts):
        requests = snapshot.waiting
        if not has_routes:
            if snapshot.n_stored[part] == 0:
                continue
            requests = snapshot.queue_request[snapshot.queue_first[part] : snapshot.queue_first[part + 1]]
        row = _serve_best_first(snapshot, requests, action, pairs, row)
    if snapshot.parameters[0, PURIFIES] > 0.0:
        row = purify_by_gain(snapshot, action, pairs, row)
    if snapshot.parameters[0, RECLAIM] > 0.0:
        row = _discard_for_waiting(snapshot, action, pairs, row)
    return row
