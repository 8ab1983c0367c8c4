"""What one more worker is worth to a round that counts only with a quorum; compiled.

Requests that are known ahead and arrive in one slot form a barrier, and the links that have such requests are its
workers. A round of training is lost unless at least k of them bring a pair, so the value of a worker is not its own: it
is that of the round times the chance that the round stands and falls with it,

    B_i = v P[exactly k - 1 of the others come].

A worker that holds a pair which lasts comes; another comes with chance 1 - (1 - p a)^t, with t slots left and the share
a of its slots that the attempts of its ends leave to those who lack a pair. The number of those who come is a sum of
independent coins, whose law is computed once a slot, and each worker is taken out of it by the recursion that is stable
for its chance. Once the quorum is safe, or out of reach, B is nothing, and attempts go where pairs tell most; so which
workers are completed, and when the rest are let go, needs no rule of its own. It is the first pair of a worker that
earns B: what a round is worth is concave in a worker's pairs.
"""

import math

from ceas.network.compilation import compiled
from ceas.network.slot_policy import SlotSnapshot, stored_werner
from ceas.scheduling.price_tables import (
    APPOINTMENT_SHARE,
    AVAILABILITY,
    N_BLOCKS,
    QUORUM,
    QUORUM_VALUE,
    pair_worth,
)

__all__ = ["MOST_APPOINTMENTS", "clear_bonus", "is_of_barrier", "quorum_bonus", "write_bonuses"]

# Appointments of a link that are looked at, the next ones; they are kept in this much room at the end of the workspace.
MOST_APPOINTMENTS = 8


@compiled
def _room(snapshot: SlotSnapshot) -> int:
    """Return where the bonuses begin in `work_float`: one for each link, then the slot of the barrier."""
    return len(snapshot.work_float) - MOST_APPOINTMENTS - len(snapshot.edges) - 1


@compiled
def is_of_barrier(snapshot: SlotSnapshot, request: int) -> bool:
    """Tell whether a request is of a class that is always known ahead, over one link."""
    n_classes = (snapshot.parameters.shape[1] - AVAILABILITY) // N_BLOCKS
    column = AVAILABILITY + n_classes + snapshot.request_class[request]
    is_single = snapshot.route_first[request + 1] - snapshot.route_first[request] == 1
    return bool(is_single and snapshot.parameters[0, column] > 0.0)


@compiled
def quorum_bonus(snapshot: SlotSnapshot, link: int, arrival: int) -> float:
    """Return what the first pair of a link is worth to the barrier of a slot; 0 if it is not the one weighed."""
    if snapshot.parameters[0, QUORUM_VALUE] <= 0.0:
        return 0.0
    room = _room(snapshot)
    if snapshot.work_float[room + len(snapshot.edges)] != arrival:
        return 0.0
    bonus: float = snapshot.work_float[room + link]
    return bonus


@compiled
def clear_bonus(snapshot: SlotSnapshot, link: int) -> None:
    """Take the bonus of a link whose worker has come."""
    snapshot.work_float[_room(snapshot) + link] = 0.0


@compiled
def _next_barrier(snapshot: SlotSnapshot) -> int:
    """Return the slot of the first barrier that is known and not past, -1 for none."""
    arrival = -1
    for request in snapshot.waiting:
        slot = snapshot.arrival[request]
        if slot >= snapshot.slot and (arrival < 0 or slot < arrival) and is_of_barrier(snapshot, request):
            arrival = slot
    return int(arrival)


@compiled
def _request_at(snapshot: SlotSnapshot, link: int, arrival: int) -> int:
    """Return a request of the link that is part of a barrier, -1 for none."""
    for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
        request = snapshot.queue_request[at]
        if snapshot.arrival[request] == arrival and is_of_barrier(snapshot, request):
            return int(request)
    return -1


@compiled
def _holds_pair(snapshot: SlotSnapshot, link: int, request: int, until: int) -> bool:
    """Tell whether a stored pair of the link will serve a request in `until` slots."""
    faded = math.exp(-snapshot.decay_per_slot[link] * until)
    for position in range(snapshot.n_stored[link]):
        lasts = snapshot.stock_expiry[link, position] >= snapshot.slot + until
        if lasts and pair_worth(snapshot, request, stored_werner(snapshot, link, position) * faded) > 0.0:
            return True
    return False


@compiled
def _without(snapshot: SlotSnapshot, n: int, chance: float, count: int) -> float:
    """Return the chance that `count` of n coins, whose law is in `work_float`, come up without one of this chance."""
    if count < 0 or count > n - 1:
        return 0.0
    value = 0.0
    if chance <= 0.5:
        for at in range(count + 1):
            value = (snapshot.work_float[at] - chance * value) / (1.0 - chance)
    else:
        for at in range(n, count, -1):
            value = (snapshot.work_float[at] - (1.0 - chance) * value) / chance
    return max(value, 0.0)


@compiled
def _write_chances(snapshot: SlotSnapshot, arrival: int) -> int:
    """Write to the room of the bonuses -2 for links of no worker, -1 for who holds a pair, else the chance to come.

    Returns:
        How many hold a pair. Workers that lack one are counted by node in `work_float`.
    """
    room, n_links = _room(snapshot), len(snapshot.edges)
    until = arrival - snapshot.slot
    for node in range(len(snapshot.free_slots)):
        snapshot.work_float[node] = 0.0
    n_holding = 0
    for link in range(n_links):
        request = _request_at(snapshot, link, arrival)
        mark = -2.0
        if request >= 0:
            mark = -1.0 if _holds_pair(snapshot, link, request, until) else 0.0
        snapshot.work_float[room + link] = mark
        n_holding += 1 if mark == -1.0 else 0
        if mark == 0.0:
            for side in range(2):
                snapshot.work_float[snapshot.edges[link, side]] += 1.0
    for link in range(n_links):
        if snapshot.work_float[room + link] != 0.0:
            continue
        share = snapshot.parameters[link, APPOINTMENT_SHARE]
        for side in range(2):
            node = snapshot.edges[link, side]
            share = min(share, snapshot.attempts_per_slot[node] / snapshot.work_float[node])
        chance = min(snapshot.success_probability[link] * share, 1.0 - 1e-9)
        snapshot.work_float[room + link] = 1.0 - (1.0 - chance) ** until
    return n_holding


@compiled
def write_bonuses(snapshot: SlotSnapshot, is_service: bool) -> None:
    """Weigh the next barrier, if there is a quorum; `work_float` is used up to the number of links or nodes.

    At the service of the barrier's own slot no coin is left: every worker's first pair counts the whole round if the
    quorum is there, and nothing if it is not.
    """
    if snapshot.parameters[0, QUORUM_VALUE] <= 0.0:
        return
    room, n_links = _room(snapshot), len(snapshot.edges)
    arrival = _next_barrier(snapshot)
    snapshot.work_float[room + n_links] = arrival
    if arrival < 0:
        return
    value, quorum = snapshot.parameters[0, QUORUM_VALUE], int(snapshot.parameters[0, QUORUM])
    n_holding = _write_chances(snapshot, arrival)
    is_last = is_service and arrival == snapshot.slot
    n_coins = 0
    snapshot.work_float[0] = 1.0
    for link in range(n_links):
        chance = snapshot.work_float[room + link]
        if chance < 0.0:
            continue
        snapshot.work_float[n_coins + 1] = 0.0
        for at in range(n_coins + 1, 0, -1):
            stays = snapshot.work_float[at] * (1.0 - chance)
            snapshot.work_float[at] = stays + snapshot.work_float[at - 1] * chance
        snapshot.work_float[0] *= 1.0 - chance
        n_coins += 1
    for link in range(n_links):
        chance = snapshot.work_float[room + link]
        pivotal = 0.0
        if is_last:
            pivotal = 1.0 if chance == -1.0 and n_holding >= quorum else 0.0
        elif chance == -1.0 and 0 <= quorum - n_holding <= n_coins:
            pivotal = snapshot.work_float[quorum - n_holding]
        elif chance >= 0.0:
            pivotal = _without(snapshot, n_coins, chance, quorum - 1 - n_holding)
        snapshot.work_float[room + link] = value * pivotal
