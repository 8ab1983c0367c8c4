"""The engine of the slotted network: compiled, one pass a slot, every choice of a policy checked before it is done."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import CompiledRule, compiled, inlined
from ceas.network.draws import hash_counter, unit_interval
from ceas.network.slot_policy import DISCARD, PURIFY, SlotPolicy, SlotSnapshot, request_value
from ceas.network.slots import RequestTable, SamplePath, SlottedNetwork, SlottedRecord

__all__ = ["SlottedState", "advance_slots", "run_slotted", "slotted_record", "start_slotted"]

_DONE, _BAD_CHOICE, _BAD_ATTEMPT = 0, 1, 2
# Marks of a pair in `SlottedState.used`: chosen by an action, used up, made anew by purification.
_CHOSEN_PAIR, _USED_PAIR, _PURIFIED_PAIR = 1, 2, 3
# Rows of `SlottedState.counts`.
_GENERATED, _USED, _LOST, _PURIFIED, _EXPIRED, _DISCARDED, _ATTEMPTS, _OCCUPANCY = range(8)


class SlottedState(NamedTuple):
    """All that the engine works on. `numbers` holds the slot, the next request to announce, the number waiting, the number
    served, the number of used pairs, the number of requests that have arrived, and counters of swap and purification coins.
    """

    numbers: npt.NDArray[np.int64]
    # The network as it is.
    edges: npt.NDArray[np.int64]
    true_werner: npt.NDArray[np.float64]
    claimed_werner: npt.NDArray[np.float64]
    success_probability: npt.NDArray[np.float64]
    decay_per_slot: npt.NDArray[np.float64]
    lifetime_slots: npt.NDArray[np.int64]
    memory_slots: npt.NDArray[np.int64]
    attempts_per_slot: npt.NDArray[np.int64]
    swap_success_probability: float
    swap_werner: float
    # The sample path.
    success: npt.NDArray[np.bool_]
    decay: npt.NDArray[np.float64]
    swap_seed: np.uint64
    # The requests.
    route_first: npt.NDArray[np.int64]
    route_link: npt.NDArray[np.int64]
    announced: npt.NDArray[np.int64]
    announcement_order: npt.NDArray[np.int64]
    arrival: npt.NDArray[np.int64]
    deadline: npt.NDArray[np.int64]
    n_pairs: npt.NDArray[np.int64]
    minimum_fidelity: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int64]
    request_class: npt.NDArray[np.int64]
    user: npt.NDArray[np.int64]
    # What changes.
    free_slots: npt.NDArray[np.int64]
    n_stored: npt.NDArray[np.int64]
    stock_birth: npt.NDArray[np.int64]
    stock_true: npt.NDArray[np.float64]
    stock_claimed: npt.NDArray[np.float64]
    stock_expiry: npt.NDArray[np.int64]
    waiting: npt.NDArray[np.int64]
    is_waiting: npt.NDArray[np.bool_]
    queue_first: npt.NDArray[np.int64]
    queue_request: npt.NDArray[np.int64]
    user_value: npt.NDArray[np.float64]
    user_mark: npt.NDArray[np.float64]
    n_requested: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    # What is recorded.
    served_request: npt.NDArray[np.int64]
    served_slot: npt.NDArray[np.int64]
    served_fidelity: npt.NDArray[np.float64]
    served_value: npt.NDArray[np.float64]
    served_pairs: npt.NDArray[np.int64]
    used_fidelity: npt.NDArray[np.float64]
    # Workspace.
    score: npt.NDArray[np.float64]
    replace: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    attempts_left: npt.NDArray[np.int64]
    memory_left: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]
    work_int: npt.NDArray[np.int64]
    work_float: npt.NDArray[np.float64]


def start_slotted(network: SlottedNetwork, requests: RequestTable, path: SamplePath) -> SlottedState:
    """Return the network before slot 0: no pairs, no requests known.

    Raises:
        DomainError: Sample path, requests and network do not fit each other.
    """
    n_links, n_requests = network.n_links, len(requests)
    if path.success.shape[1] != n_links:
        raise DomainError(f"Argument `path` must have coins for {n_links} links, but has {path.success.shape[1]}.")
    if n_requests and bool((requests.route_link >= n_links).any() or (requests.route_link < 0).any()):
        raise DomainError(f"Argument `requests` must name links below {n_links}, but does not.")
    a, b = network.edges.T
    room = int(np.minimum(network.memory_slots[a], network.memory_slots[b]).max(initial=0)) + 1
    most_hops = int(max(np.diff(requests.route_first).max(initial=1), requests.n_pairs.max(initial=1), 3))
    n_classes = int(requests.request_class.max(initial=0)) + 1
    n_users = int(requests.user.max(initial=0)) + 1
    work = 4 * max(n_links, n_requests) + 8

    def ints(*shape: int) -> npt.NDArray[np.int64]:
        return np.zeros(shape, dtype=np.int64)

    contiguous = np.ascontiguousarray
    return SlottedState(
        numbers=ints(8),
        edges=contiguous(network.edges, dtype=np.int64),
        true_werner=contiguous(network.initial_werner),
        claimed_werner=contiguous(network.claimed_werner),
        success_probability=contiguous(network.success_probability),
        decay_per_slot=1.0 / network.coherence_slots,
        lifetime_slots=contiguous(network.lifetime_slots, dtype=np.int64),
        memory_slots=contiguous(network.memory_slots, dtype=np.int64),
        attempts_per_slot=contiguous(network.attempts_per_slot, dtype=np.int64),
        swap_success_probability=float(network.swap_success_probability),
        swap_werner=float(network.swap_werner),
        success=contiguous(path.success),
        decay=contiguous(path.decay),
        swap_seed=np.uint64(path.swap_seed),
        route_first=contiguous(requests.route_first, dtype=np.int64),
        route_link=contiguous(requests.route_link, dtype=np.int64),
        announced=contiguous(requests.announced, dtype=np.int64),
        announcement_order=np.argsort(
            2 * requests.announced + (requests.announced == requests.arrival), kind="stable"
        ).astype(np.int64),
        arrival=contiguous(requests.arrival, dtype=np.int64),
        deadline=contiguous(requests.deadline, dtype=np.int64),
        n_pairs=contiguous(requests.n_pairs, dtype=np.int64),
        minimum_fidelity=contiguous(requests.minimum_fidelity, dtype=np.float64),
        weight=contiguous(requests.weight, dtype=np.float64),
        kind=contiguous(requests.kind, dtype=np.int64),
        request_class=contiguous(requests.request_class, dtype=np.int64),
        user=contiguous(requests.user, dtype=np.int64),
        free_slots=network.memory_slots.astype(np.int64).copy(),
        n_stored=ints(n_links),
        stock_birth=ints(n_links, room),
        stock_true=np.zeros((n_links, room)),
        stock_claimed=np.zeros((n_links, room)),
        stock_expiry=ints(n_links, room),
        waiting=ints(n_requests),
        is_waiting=np.zeros(n_requests, dtype=np.bool_),
        queue_first=ints(n_links + 1),
        queue_request=ints(len(requests.route_link)),
        user_value=np.zeros(n_users),
        user_mark=np.zeros(n_users),
        n_requested=ints(n_links, n_classes),
        counts=ints(8, n_links),
        served_request=ints(n_requests),
        served_slot=ints(n_requests),
        served_fidelity=np.zeros(n_requests),
        served_value=np.zeros(n_requests),
        served_pairs=ints(n_requests),
        used_fidelity=np.zeros(int((np.diff(requests.route_first) * requests.n_pairs).sum())),
        score=np.zeros(n_links),
        replace=ints(n_links),
        order=ints(n_links),
        attempts_left=ints(network.n_nodes),
        memory_left=ints(network.n_nodes),
        action=ints(n_requests + n_links * room),
        pairs=ints(n_requests + n_links * room, most_hops),
        used=ints(n_links, room),
        work_int=ints(work),
        work_float=np.zeros(work),
    )


def advance_slots(state: SlottedState, policy: SlotPolicy, until_slot: int | None = None) -> None:
    """Let the network run up to, and without, `until_slot`, by default to the end of its sample path; `state` is changed.

    A run may be cut into pieces with another policy, or the same with other parameters, for each.

    Raises:
        DomainError: The policy's parameters do not fit, or it chose an attempt, a request or a pair that is not there.
    """
    n_links = len(state.edges)
    if policy.parameters.ndim != 2 or len(policy.parameters) != n_links:
        raise DomainError(
            f"Argument `policy` must have parameters of shape ({n_links}, k), but has {policy.parameters.shape}."
        )
    until = len(state.success) if until_slot is None else min(until_slot, len(state.success))
    parameters = np.ascontiguousarray(policy.parameters, dtype=np.float64)
    tables = np.ascontiguousarray(policy.tables, dtype=np.float64)
    status = run_slots(state, until, policy.attempt.pointer, policy.serve.pointer, parameters, tables)
    if status != _DONE:
        what = "an attempt" if status == _BAD_ATTEMPT else "a request or a pair"
        raise DomainError(f"Policy `{policy.name}` chose {what} that is not there, in slot {int(state.numbers[0])}.")


def slotted_record(state: SlottedState) -> SlottedRecord:
    """Return what has happened so far."""
    served, used = int(state.numbers[3]), int(state.numbers[4])
    return SlottedRecord(
        n_slots=int(state.numbers[0]),
        served_request=state.served_request[:served].copy(),
        served_slot=state.served_slot[:served].copy(),
        served_fidelity=state.served_fidelity[:served].copy(),
        served_value=state.served_value[:served].copy(),
        served_pairs=state.served_pairs[:served].copy(),
        used_fidelity=state.used_fidelity[:used].copy(),
        generated=state.counts[_GENERATED].copy(),
        used=state.counts[_USED].copy(),
        lost=state.counts[_LOST].copy(),
        purified=state.counts[_PURIFIED].copy(),
        expired=state.counts[_EXPIRED].copy(),
        discarded=state.counts[_DISCARDED].copy(),
        stored=state.n_stored.copy(),
        attempts=state.counts[_ATTEMPTS].copy(),
        occupancy=state.counts[_OCCUPANCY].copy(),
    )


def run_slotted(network: SlottedNetwork, requests: RequestTable, path: SamplePath, policy: SlotPolicy) -> SlottedRecord:
    """Run a policy over a whole sample path and return what happened."""
    state = start_slotted(network, requests, path)
    advance_slots(state, policy)
    return slotted_record(state)


# ---- stock -----------------------------------------------------------------------------------------------------------


@inlined
def _remove_pair(state: SlottedState, link: int, position: int) -> None:
    """Take a pair out of the stock; its memory slots stay taken."""
    state.n_stored[link] -= 1
    for at in range(position, state.n_stored[link]):
        state.stock_birth[link, at] = state.stock_birth[link, at + 1]
        state.stock_true[link, at] = state.stock_true[link, at + 1]
        state.stock_claimed[link, at] = state.stock_claimed[link, at + 1]
        state.stock_expiry[link, at] = state.stock_expiry[link, at + 1]


@inlined
def _free(state: SlottedState, link: int) -> None:
    state.free_slots[state.edges[link, 0]] += 1
    state.free_slots[state.edges[link, 1]] += 1


@inlined
def _store_pair(state: SlottedState, link: int, true_werner: float, claimed: float, lifetime: int) -> None:
    """Put a pair born now into the stock; its memory slots must have been taken."""
    at = state.n_stored[link]
    state.stock_birth[link, at] = state.numbers[0]
    state.stock_true[link, at] = true_werner
    state.stock_claimed[link, at] = claimed
    state.stock_expiry[link, at] = state.numbers[0] + lifetime
    state.n_stored[link] += 1


@inlined
def _true_werner(state: SlottedState, link: int, position: int) -> float:
    birth, slot = state.stock_birth[link, position], state.numbers[0]
    if len(state.decay) > 0:
        return state.stock_true[link, position] * math.exp(state.decay[birth, link] - state.decay[slot, link])
    return state.stock_true[link, position] * math.exp(-state.decay_per_slot[link] * (slot - birth))


@inlined
def _expire(state: SlottedState) -> None:
    for link in range(len(state.edges)):
        position = 0
        while position < state.n_stored[link]:
            if state.stock_expiry[link, position] < state.numbers[0]:
                _remove_pair(state, link, position)
                _free(state, link)
                state.counts[_EXPIRED, link] += 1
            else:
                position += 1


# ---- requests --------------------------------------------------------------------------------------------------------


@inlined
def _drop_late(state: SlottedState) -> None:
    kept = 0
    for at in range(state.numbers[2]):
        request = state.waiting[at]
        if state.is_waiting[request] and state.deadline[request] >= state.numbers[0]:
            state.waiting[kept] = request
            kept += 1
        else:
            state.is_waiting[request] = False
    state.numbers[2] = kept


@inlined
def _announce(state: SlottedState, phase: int) -> None:
    """Let requests become known: before the attempts (phase 0) those announced ahead, after them (1) all others."""
    slot = state.numbers[0]
    while state.numbers[1] < len(state.arrival):
        request = state.announcement_order[state.numbers[1]]
        is_unannounced = state.announced[request] == state.arrival[request]
        if 2 * state.announced[request] + int(is_unannounced) > 2 * slot + phase:
            break
        state.numbers[1] += 1
        state.is_waiting[request] = True
        state.waiting[state.numbers[2]] = request
        state.numbers[2] += 1


@inlined
def _count_arrivals(state: SlottedState) -> None:
    while state.numbers[5] < len(state.arrival) and state.arrival[state.numbers[5]] <= state.numbers[0]:
        request = state.numbers[5]
        link = state.route_link[state.route_first[request]]
        state.n_requested[link, state.request_class[request]] += 1
        state.numbers[5] += 1


@inlined
def _queue(state: SlottedState) -> None:
    """Sort the waiting requests by link, a route into the queue of each of its links."""
    first = state.queue_first
    n_links = len(state.edges)
    for link in range(n_links + 1):
        first[link] = 0
    for at in range(state.numbers[2]):
        request = state.waiting[at]
        for hop in range(state.route_first[request], state.route_first[request + 1]):
            first[state.route_link[hop] + 1] += 1
    for link in range(n_links):
        first[link + 1] += first[link]
    for at in range(state.numbers[2]):
        request = state.waiting[at]
        for hop in range(state.route_first[request], state.route_first[request + 1]):
            link = state.route_link[hop]
            state.queue_request[first[link]] = request
            first[link] += 1
    for link in range(n_links, 0, -1):
        first[link] = first[link - 1]
    first[0] = 0


@inlined
def _snapshot(
    state: SlottedState, parameters: npt.NDArray[np.float64], tables: npt.NDArray[np.float64]
) -> SlotSnapshot:
    slot = state.numbers[0]
    return SlotSnapshot(
        slot,
        state.edges,
        state.success_probability,
        state.claimed_werner,
        state.decay_per_slot,
        state.lifetime_slots,
        state.memory_slots,
        state.attempts_per_slot,
        state.free_slots,
        state.swap_success_probability,
        state.swap_werner,
        state.stock_birth,
        state.stock_claimed,
        state.stock_expiry,
        state.n_stored,
        state.queue_first,
        state.queue_request[: state.queue_first[len(state.edges)]],
        state.waiting[: state.numbers[2]],
        state.route_first,
        state.route_link,
        state.arrival,
        state.deadline,
        state.n_pairs,
        state.minimum_fidelity,
        state.weight,
        state.kind,
        state.request_class,
        state.user,
        state.user_value,
        state.user_mark,
        state.counts[_ATTEMPTS],
        state.counts[_GENERATED],
        state.n_requested,
        np.int64(hash_counter(state.swap_seed ^ np.uint64(0x5DEECE66D), slot) >> np.uint64(1)),
        parameters,
        tables,
        state.used,
        state.work_int,
        state.work_float,
    )


# ---- attempts --------------------------------------------------------------------------------------------------------


@inlined
def _is_lower(state: SlottedState, a: int, b: int) -> bool:
    """Tell whether link a is granted after link b."""
    return state.score[a] < state.score[b] or (state.score[a] == state.score[b] and a > b)


@inlined
def _sift(state: SlottedState, at: int, size: int) -> None:
    order = state.order
    link = order[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _is_lower(state, order[child + 1], order[child]):
            child += 1
        if not _is_lower(state, order[child], link):
            break
        order[at] = order[child]
        at = child
    order[at] = link


@inlined
def _rank_links(state: SlottedState) -> int:
    """Write the links with a positive score into `order`, best first, and return their number (heap sort)."""
    size = 0
    for link in range(len(state.edges)):
        if state.score[link] > 0.0:
            state.order[size] = link
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sift(state, at, size)
    for last in range(size - 1, 0, -1):
        lowest = state.order[0]
        state.order[0] = state.order[last]
        state.order[last] = lowest
        _sift(state, 0, last)
    return size


@inlined
def _attempt(state: SlottedState) -> bool:
    """Grant and make the attempts; False if the policy wants to replace a pair that is not there."""
    for node in range(len(state.free_slots)):
        state.attempts_left[node] = state.attempts_per_slot[node]
        state.memory_left[node] = state.free_slots[node]
    for at in range(_rank_links(state)):
        link = state.order[at]
        a, b, replaced = state.edges[link, 0], state.edges[link, 1], state.replace[link]
        if replaced >= state.n_stored[link]:
            return False
        if state.attempts_left[a] == 0 or state.attempts_left[b] == 0:
            continue
        if replaced < 0:
            if state.memory_left[a] == 0 or state.memory_left[b] == 0:
                continue
            state.memory_left[a] -= 1
            state.memory_left[b] -= 1
        state.attempts_left[a] -= 1
        state.attempts_left[b] -= 1
        state.counts[_ATTEMPTS, link] += 1
        if not state.success[state.numbers[0], link]:
            continue
        if replaced < 0:
            state.free_slots[a] -= 1
            state.free_slots[b] -= 1
        else:
            _remove_pair(state, link, replaced)
            state.counts[_DISCARDED, link] += 1
        lifetime = state.lifetime_slots[link]
        _store_pair(state, link, state.true_werner[link], state.claimed_werner[link], lifetime)
        state.counts[_GENERATED, link] += 1
    return True


# ---- service ---------------------------------------------------------------------------------------------------------


@inlined
def _mark(state: SlottedState, link: int, position: int) -> bool:
    """Mark a pair as chosen; False if there is none or it was chosen before."""
    if link < 0 or link >= len(state.edges) or position < 0 or position >= state.n_stored[link]:
        return False
    if state.used[link, position] != 0:
        return False
    state.used[link, position] = _CHOSEN_PAIR
    return True


@inlined
def _is_sound(state: SlottedState, row: int) -> bool:
    """Tell whether an action names a servable request and pairs that are there, none of them twice; mark them."""
    action, pairs = state.action[row], state.pairs[row]
    if action == PURIFY:
        return bool(_mark(state, pairs[0], pairs[1]) and _mark(state, pairs[0], pairs[2]))
    if action == DISCARD:
        return bool(_mark(state, pairs[0], pairs[1]))
    if action < 0 or action >= len(state.arrival):
        return False
    if not state.is_waiting[action] or state.arrival[action] > state.numbers[0]:
        return False
    # Served at most once: a request served by an earlier row no longer waits, so mark it here.
    state.is_waiting[action] = False
    first, end = state.route_first[action], state.route_first[action + 1]
    if end - first > 1:
        for hop in range(end - first):
            if not _mark(state, state.route_link[first + hop], pairs[hop]):
                return False
        return True
    for at in range(state.n_pairs[action]):
        if not _mark(state, state.route_link[first], pairs[at]):
            return False
    return True


@inlined
def _do_serve(state: SlottedState, row: int) -> None:
    """Serve a request; the pairs are removed later, so that positions stay those of the snapshot."""
    request = state.action[row]
    first, end = state.route_first[request], state.route_first[request + 1]
    kind, weight, minimum = state.kind[request], state.weight[request], state.minimum_fidelity[request]
    n_taken = end - first if end - first > 1 else state.n_pairs[request]
    is_lost = False
    for _ in range(end - first - 1):
        coin = unit_interval(state.swap_seed, state.numbers[6])
        state.numbers[6] += 1
        is_lost = is_lost or coin > state.swap_success_probability
    value, werner, fidelity_sum = weight, state.swap_werner ** (end - first - 1), 0.0
    for at in range(n_taken):
        link = state.route_link[first + at] if end - first > 1 else state.route_link[first]
        pair = _true_werner(state, link, state.pairs[row, at])
        state.counts[_LOST if is_lost else _USED, link] += 1
        state.used[link, state.pairs[row, at]] = _USED_PAIR
        werner *= pair
        fidelity_sum += 0.25 + 0.75 * pair
        value *= request_value(kind, 1.0, minimum, pair)
        if not is_lost:
            state.used_fidelity[state.numbers[4]] = 0.25 + 0.75 * pair
            state.numbers[4] += 1
    if is_lost:
        state.is_waiting[request] = True
        return
    if end - first > 1:
        value = request_value(kind, weight, minimum, werner)
        fidelity_sum = (0.25 + 0.75 * werner) * n_taken
    at = state.numbers[3]
    state.served_request[at] = request
    state.served_slot[at] = state.numbers[0]
    state.served_fidelity[at] = fidelity_sum / n_taken
    state.served_value[at] = value
    state.served_pairs[at] = n_taken
    state.user_value[state.user[request]] += value
    state.numbers[3] += 1


@inlined
def _do_purify(state: SlottedState, row: int) -> None:
    """Purify a pair with another of its link (Bennett et al. 1996, on Werner pairs, ideal gates, then twirled).

    The kept pair is given the new state and this slot as its birth; its end is that of a pair which has decayed as far.
    """
    link, kept, given = state.pairs[row, 0], state.pairs[row, 1], state.pairs[row, 2]
    a, b = 0.25 + 0.75 * _true_werner(state, link, kept), 0.25 + 0.75 * _true_werner(state, link, given)
    chance = 8.0 / 9.0 * a * b - 2.0 / 9.0 * (a + b) + 5.0 / 9.0
    coin = unit_interval(state.swap_seed ^ np.uint64(0x9E3779B9), state.numbers[7])
    state.numbers[7] += 1
    state.used[link, given] = _USED_PAIR
    state.counts[_PURIFIED, link] += 1
    if coin > chance:
        state.used[link, kept] = _USED_PAIR
        state.counts[_PURIFIED, link] += 1
        return
    fidelity = (a * b + (1.0 - a) * (1.0 - b) / 9.0) / chance
    # What the ends believe follows from what they believed of the two pairs.
    slot, rate = state.numbers[0], state.decay_per_slot[link]
    claim_a = state.stock_claimed[link, kept] * math.exp(-rate * (slot - state.stock_birth[link, kept]))
    claim_b = state.stock_claimed[link, given] * math.exp(-rate * (slot - state.stock_birth[link, given]))
    ca, cb = 0.25 + 0.75 * claim_a, 0.25 + 0.75 * claim_b
    claimed_chance = 8.0 / 9.0 * ca * cb - 2.0 / 9.0 * (ca + cb) + 5.0 / 9.0
    claimed = (ca * cb + (1.0 - ca) * (1.0 - cb) / 9.0) / claimed_chance
    claimed_werner = (4.0 * claimed - 1.0) / 3.0
    lifetime = state.lifetime_slots[link]
    if rate > 0.0 and claimed_werner > 0.0:
        gained = math.log(claimed_werner / state.claimed_werner[link]) / rate
        lifetime = max(0, lifetime + int(math.floor(gained)))
    state.stock_birth[link, kept] = slot
    state.stock_true[link, kept] = (4.0 * fidelity - 1.0) / 3.0
    state.stock_claimed[link, kept] = claimed_werner
    state.stock_expiry[link, kept] = slot + lifetime
    state.used[link, kept] = _PURIFIED_PAIR


@inlined
def _serve(state: SlottedState, n_actions: int) -> bool:
    for row in range(n_actions):
        if not _is_sound(state, row):
            return False
    for row in range(n_actions):
        action = state.action[row]
        if action == PURIFY:
            _do_purify(state, row)
        elif action == DISCARD:
            link = state.pairs[row, 0]
            state.used[link, state.pairs[row, 1]] = _USED_PAIR
            state.counts[_DISCARDED, link] += 1
        else:
            _do_serve(state, row)
    for row in range(n_actions):
        if state.action[row] < 0:
            _clear_used(state, state.pairs[row, 0])
        else:
            request = state.action[row]
            for hop in range(state.route_first[request], state.route_first[request + 1]):
                _clear_used(state, state.route_link[hop])
    return True


@inlined
def _clear_used(state: SlottedState, link: int) -> None:
    """Remove the used pairs of a link and free their memory; move purified pairs, born now, behind the older ones."""
    position, n_left = 0, state.n_stored[link]
    for _ in range(state.n_stored[link]):
        mark = state.used[link, position]
        if mark != _USED_PAIR and mark != _PURIFIED_PAIR:
            state.used[link, position] = 0
            position += 1
            continue
        birth, true_werner = state.stock_birth[link, position], state.stock_true[link, position]
        claimed, expiry = state.stock_claimed[link, position], state.stock_expiry[link, position]
        for at in range(position, n_left - 1):
            state.used[link, at] = state.used[link, at + 1]
        state.used[link, n_left - 1] = 0
        _remove_pair(state, link, position)
        if mark == _USED_PAIR:
            _free(state, link)
            n_left -= 1
            continue
        last = state.n_stored[link]
        state.stock_birth[link, last], state.stock_true[link, last] = birth, true_werner
        state.stock_claimed[link, last], state.stock_expiry[link, last] = claimed, expiry
        state.n_stored[link] += 1


# ---- the loop --------------------------------------------------------------------------------------------------------


@compiled
def run_slots(
    state: SlottedState,
    until_slot: int,
    attempt: CompiledRule,
    serve: CompiledRule,
    parameters: npt.NDArray[np.float64],
    tables: npt.NDArray[np.float64],
) -> int:
    """Run the slots before `until_slot` and return why it stopped."""
    while state.numbers[0] < until_slot:
        _expire(state)
        _drop_late(state)
        _announce(state, 0)
        _queue(state)
        attempt(_snapshot(state, parameters, tables), state.score, state.replace)
        if not _attempt(state):
            return _BAD_ATTEMPT
        _announce(state, 1)
        _count_arrivals(state)
        _queue(state)
        n_actions = serve(_snapshot(state, parameters, tables), state.action, state.pairs)
        for link in range(len(state.edges)):
            for position in range(state.n_stored[link]):
                state.used[link, position] = 0
        if n_actions < 0 or n_actions > len(state.action) or not _serve(state, n_actions):
            return _BAD_CHOICE
        for link in range(len(state.edges)):
            state.counts[_OCCUPANCY, link] += state.n_stored[link]
        state.numbers[0] += 1
    return _DONE
