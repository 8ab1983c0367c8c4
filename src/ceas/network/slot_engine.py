"""The engine of the slotted network: compiled, one pass a slot, every choice of a policy checked before it is done."""

import math

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import CompiledRule, as_index, compiled, inlined
from ceas.network.draws import hash_counter, unit_interval
from ceas.network.slot_invariants import (
    BAD_NUMBER_OF_ACTIONS,
    BROKEN_LIFE,
    NO_PAIR_TO_REPLACE,
    NO_SUCH_LINK,
    NO_SUCH_PAIR,
    NO_SUCH_REQUEST,
    PAIR_CHOSEN_TWICE,
    REQUEST_NOT_ARRIVED,
    REQUEST_NOT_WAITING,
    audit_lives,
    check_invariants,
    mistake_error,
)
from ceas.network.slot_policy import DISCARD, PURIFY, SlotPolicy, request_value
from ceas.network.slot_requests import announce, count_arrivals, drop_late, queue_requests, take_snapshot
from ceas.network.slot_state import (
    ATTEMPTS,
    DISCARDED,
    EXPIRED,
    GENERATED,
    IS_CHECKED,
    LOST,
    MISTAKE,
    MISTAKE_LINK,
    MISTAKE_PAIR,
    MISTAKE_ROW,
    N_BORN,
    N_SERVED,
    N_USED,
    OCCUPANCY,
    PURIFICATIONS,
    PURIFIED,
    SLOT,
    USED,
    SlottedState,
    slotted_lives,
    slotted_record,
    start_slotted,
)
from ceas.network.slots import NEVER_SLOT, PairFate, RequestTable, SamplePath, SlottedNetwork, SlottedRecord

__all__ = ["SlottedState", "advance_slots", "run_slotted", "slotted_lives", "slotted_record", "start_slotted"]

# Marks of a pair in `SlottedState.used`: chosen by an action, used up, made anew by purification.
_CHOSEN_PAIR, _USED_PAIR, _PURIFIED_PAIR = 1, 2, 3
_FATE_USED, _FATE_LOST, _FATE_PURIFIED = int(PairFate.USED), int(PairFate.LOST), int(PairFate.PURIFIED)
_FATE_EXPIRED, _FATE_DISCARDED = int(PairFate.EXPIRED), int(PairFate.DISCARDED)


def advance_slots(state: SlottedState, policy: SlotPolicy, until_slot: int | None = None) -> None:
    """Let the network run up to, and without, `until_slot`, by default to the end of its sample path; changes `state`.

    A run may be cut into pieces with another policy, or the same with other parameters, for each. After an error the
    state is not to be used any more.

    Raises:
        DomainError: The policy's parameters do not fit, or it chose an attempt, a request or a pair that is not there;
            the message says which.
        InvariantError: The run was started with `debug` and an invariant is broken.
    """
    n_links = len(state.edges)
    if policy.parameters.ndim != 2 or len(policy.parameters) != n_links:
        raise DomainError(
            f"Argument `policy` must have parameters of shape ({n_links}, k), but has {policy.parameters.shape}."
        )
    if state.numbers[MISTAKE] != 0:
        raise DomainError("Argument `state` must come from a run without mistakes, but does not.")
    until = len(state.success) if until_slot is None else min(until_slot, len(state.success))
    parameters = np.ascontiguousarray(policy.parameters, dtype=np.float64)
    tables = np.ascontiguousarray(policy.tables, dtype=np.float64)
    run_slots(state, until, policy.attempt.pointer, policy.serve.pointer, parameters, tables)
    if state.numbers[MISTAKE] != 0:
        raise mistake_error(state, policy.name)


def run_slotted(
    network: SlottedNetwork, requests: RequestTable, path: SamplePath, policy: SlotPolicy, *, debug: bool = False
) -> SlottedRecord:
    """Run a policy over a whole sample path and return what happened; with `debug` invariants are checked.

    Raises:
        DomainError: Arguments do not fit each other, or the policy chose what is not there.
        InvariantError: An invariant is broken.
    """
    state = start_slotted(network, requests, path, debug=debug)
    advance_slots(state, policy)
    record = slotted_record(state)
    if debug:
        audit_lives(network, requests, path, record, slotted_lives(state))
    return record


# ---- stock -----------------------------------------------------------------------------------------------------------


@inlined
def _remove_pair(state: SlottedState, link: int, position: int) -> None:
    """Take a pair out of the stock; its memory slots stay taken."""
    state.n_stored[link] -= 1
    for at in range(position, state.n_stored[link]):
        state.stock_id[link, at] = state.stock_id[link, at + 1]
        state.stock_birth[link, at] = state.stock_birth[link, at + 1]
        state.stock_true[link, at] = state.stock_true[link, at + 1]
        state.stock_claimed[link, at] = state.stock_claimed[link, at + 1]
        state.stock_expiry[link, at] = state.stock_expiry[link, at + 1]


@inlined
def _free(state: SlottedState, link: int) -> None:
    state.free_slots[state.edges[link, 0]] += 1
    state.free_slots[state.edges[link, 1]] += 1


@inlined
def _true_werner(state: SlottedState, link: int, position: int) -> float:
    birth, slot = state.stock_birth[link, position], state.numbers[SLOT]
    decayed = state.decay_per_slot[link] * (slot - birth)
    if len(state.decay) > 0:
        decayed = state.decay[slot, link] - state.decay[birth, link]
    werner: float = state.stock_true[link, position] * math.exp(-decayed)
    return werner


@inlined
def _end_life(state: SlottedState, link: int, position: int, fate: int, request: int) -> None:
    """Write down the end of a pair's life, if lives are traced."""
    if len(state.life_end) == 0:
        return
    pair = state.stock_id[link, position]
    if state.life_end[pair] != NEVER_SLOT or state.numbers[SLOT] > state.stock_expiry[link, position] + int(
        fate == _FATE_EXPIRED
    ):
        state.numbers[MISTAKE] = BROKEN_LIFE
        state.numbers[MISTAKE_PAIR] = pair
    state.life_end[pair] = state.numbers[SLOT]
    state.life_fate[pair] = fate
    state.life_request[pair] = request
    state.life_werner[pair] = _true_werner(state, link, position)


@inlined
def _store_pair(state: SlottedState, link: int, true_werner: float, claimed: float, lifetime: int) -> None:
    """Put a pair born now into the stock; its memory slots must have been taken."""
    at = state.n_stored[link]
    pair = state.numbers[N_BORN]
    state.numbers[N_BORN] += 1
    if len(state.life_link) > 0:
        state.life_link[pair] = link
        state.life_birth[pair] = state.numbers[SLOT]
    state.stock_id[link, at] = pair
    state.stock_birth[link, at] = state.numbers[SLOT]
    state.stock_true[link, at] = true_werner
    state.stock_claimed[link, at] = claimed
    state.stock_expiry[link, at] = state.numbers[SLOT] + lifetime
    state.n_stored[link] += 1


@inlined
def _expire(state: SlottedState) -> None:
    for link in range(len(state.edges)):
        position = 0
        while position < state.n_stored[link]:
            if state.stock_expiry[link, position] < state.numbers[SLOT]:
                _end_life(state, link, position, _FATE_EXPIRED, -1)
                _remove_pair(state, link, position)
                _free(state, link)
                state.counts[EXPIRED, link] += 1
            else:
                position += 1


# ---- attempts --------------------------------------------------------------------------------------------------------


@inlined
def _note(state: SlottedState, mistake: int, row: int, link: int, pair: int) -> None:
    """Keep what a policy did wrong, for the message."""
    state.numbers[MISTAKE] = mistake
    state.numbers[MISTAKE_ROW] = row
    state.numbers[MISTAKE_LINK] = link
    state.numbers[MISTAKE_PAIR] = pair


@inlined
def _sift(state: SlottedState, at: int, size: int) -> None:
    """Let a link sink in a heap with the one granted last on top: of the lowest score, at a tie the highest link."""
    order, rank = state.order, state.rank
    link, score = order[at], rank[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and (
            rank[child + 1] < rank[child] or (rank[child + 1] == rank[child] and order[child + 1] > order[child])
        ):
            child += 1
        if rank[child] > score or (rank[child] == score and order[child] < link):
            break
        order[at], rank[at] = order[child], rank[child]
        at = child
    order[at], rank[at] = link, score


@inlined
def _rank_links(state: SlottedState) -> int:
    """Write the links with a positive score that could attempt into `order`, best first; -1 for a bad replacement."""
    size = 0
    for link in range(len(state.edges)):
        if not state.score[link] > 0.0:
            continue
        if state.replace[link] >= state.n_stored[link]:
            _note(state, NO_PAIR_TO_REPLACE, -1, link, state.replace[link])
            return -1
        if _can_attempt(state, link):
            state.order[size], state.rank[size] = link, state.score[link]
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sift(state, at, size)
    for last in range(size - 1, 0, -1):
        state.order[0], state.order[last] = state.order[last], state.order[0]
        state.rank[0], state.rank[last] = state.rank[last], state.rank[0]
        _sift(state, 0, last)
    return size


@inlined
def _can_attempt(state: SlottedState, link: int) -> bool:
    """Tell whether both ends have an attempt left and, unless a pair is replaced, memory."""
    a, b = as_index(state.edges[link, 0]), as_index(state.edges[link, 1])
    has_memory = state.replace[link] >= 0 or (state.memory_left[a] > 0 and state.memory_left[b] > 0)
    return bool(has_memory and state.attempts_left[a] > 0 and state.attempts_left[b] > 0)


@inlined
def _attempt(state: SlottedState) -> bool:
    """Grant and make the attempts; False if the policy wants to replace a pair that is not there."""
    for node in range(len(state.free_slots)):
        state.attempts_left[node] = state.attempts_per_slot[node]
        state.memory_left[node] = state.free_slots[node]
    n_wanted = _rank_links(state)
    for at in range(n_wanted):
        link = as_index(state.order[at])
        if not _can_attempt(state, link):
            continue
        a, b, replaced = as_index(state.edges[link, 0]), as_index(state.edges[link, 1]), state.replace[link]
        if replaced < 0:
            state.memory_left[a] -= 1
            state.memory_left[b] -= 1
        state.attempts_left[a] -= 1
        state.attempts_left[b] -= 1
        state.counts[ATTEMPTS, link] += 1
        if state.success[state.numbers[SLOT], link]:
            _make_pair(state, link, replaced)
    return bool(n_wanted >= 0)


@inlined
def _make_pair(state: SlottedState, link: int, replaced: int) -> None:
    if replaced < 0:
        state.free_slots[state.edges[link, 0]] -= 1
        state.free_slots[state.edges[link, 1]] -= 1
    else:
        _end_life(state, link, replaced, _FATE_DISCARDED, -1)
        _remove_pair(state, link, replaced)
        state.counts[DISCARDED, link] += 1
    lifetime = state.lifetime_slots[link]
    _store_pair(state, link, state.true_werner[link], state.claimed_werner[link], lifetime)
    state.counts[GENERATED, link] += 1


# ---- service ---------------------------------------------------------------------------------------------------------


@inlined
def _mark(state: SlottedState, row: int, link: int, position: int) -> bool:
    """Mark a pair as chosen; False if there is none or it was chosen before."""
    if link < 0 or link >= len(state.edges):
        _note(state, NO_SUCH_LINK, row, link, position)
        return False
    if position < 0 or position >= state.n_stored[link]:
        _note(state, NO_SUCH_PAIR, row, link, position)
        return False
    if state.used[link, position] != 0:
        _note(state, PAIR_CHOSEN_TWICE, row, link, position)
        return False
    state.used[link, position] = _CHOSEN_PAIR
    return True


@inlined
def _is_servable(state: SlottedState, row: int) -> bool:
    """Tell whether an action names a request that waits and has arrived, and take it out of those that wait."""
    request = state.action[row]
    mistake = 0
    if request < 0 or request >= len(state.arrival):
        mistake = NO_SUCH_REQUEST
    elif not state.is_waiting[request]:
        mistake = REQUEST_NOT_WAITING
    elif state.arrival[request] > state.numbers[SLOT]:
        mistake = REQUEST_NOT_ARRIVED
    if mistake != 0:
        _note(state, mistake, row, -1, -1)
        return False
    state.is_waiting[request] = False
    return True


@inlined
def _is_sound(state: SlottedState, row: int) -> bool:
    """Tell whether an action names a servable request and pairs that are there, none of them twice; mark them."""
    action, pairs = state.action[row], state.pairs[row]
    if action == PURIFY:
        return bool(_mark(state, row, pairs[0], pairs[1]) and _mark(state, row, pairs[0], pairs[2]))
    if action == DISCARD:
        return bool(_mark(state, row, pairs[0], pairs[1]))
    if not _is_servable(state, row):
        return False
    first, end = state.route_first[action], state.route_first[action + 1]
    n_taken = end - first if end - first > 1 else state.n_pairs[action]
    is_sound = True
    for at in range(n_taken):
        link = state.route_link[first + at] if end - first > 1 else state.route_link[first]
        is_sound = is_sound and _mark(state, row, link, pairs[at])
    return is_sound


@inlined
def _are_swapped(state: SlottedState, request: int) -> bool:
    """Throw the coins of a request's Bell measurements, those of its own next try; tell whether all succeed."""
    n_swaps = state.route_first[request + 1] - state.route_first[request] - 1
    seed = hash_counter(state.swap_seed, request)
    is_success = True
    for swap in range(n_swaps):
        coin = unit_interval(seed, state.n_tries[request] * n_swaps + swap)
        is_success = is_success and coin <= state.swap_success_probability
    state.n_tries[request] += 1
    return is_success


@inlined
def _do_serve(state: SlottedState, row: int) -> None:
    """Serve a request; the pairs are removed later, so that positions stay those of the snapshot."""
    request = state.action[row]
    first, end = state.route_first[request], state.route_first[request + 1]
    kind, weight, minimum = state.kind[request], state.weight[request], state.minimum_fidelity[request]
    n_taken = end - first if end - first > 1 else state.n_pairs[request]
    is_lost = not _are_swapped(state, request)
    value, werner, fidelity_sum = weight, state.swap_werner ** (end - first - 1), 0.0
    for at in range(n_taken):
        link = state.route_link[first + at] if end - first > 1 else state.route_link[first]
        pair = _true_werner(state, link, state.pairs[row, at])
        _end_life(state, link, state.pairs[row, at], _FATE_LOST if is_lost else _FATE_USED, request)
        state.counts[LOST if is_lost else USED, link] += 1
        state.used[link, state.pairs[row, at]] = _USED_PAIR
        werner *= pair
        fidelity_sum += 0.25 + 0.75 * pair
        value *= request_value(kind, 1.0, minimum, pair)
        if not is_lost:
            state.used_fidelity[state.numbers[N_USED]] = 0.25 + 0.75 * pair
            state.numbers[N_USED] += 1
    if is_lost:
        state.is_waiting[request] = True
        return
    if end - first > 1:
        value = request_value(kind, weight, minimum, werner)
        fidelity_sum = (0.25 + 0.75 * werner) * n_taken
    at = state.numbers[N_SERVED]
    state.served_request[at] = request
    state.served_slot[at] = state.numbers[SLOT]
    state.served_fidelity[at] = fidelity_sum / n_taken
    state.served_value[at] = value
    state.served_pairs[at] = n_taken
    state.user_value[state.user[request]] += value
    state.numbers[N_SERVED] += 1


@inlined
def _do_purify(state: SlottedState, row: int) -> None:
    """Purify a pair with another of its link (Bennett et al. 1996, on Werner pairs, ideal gates, then twirled).

    The kept pair is given the new state and this slot as its birth; its end is that of a pair which has decayed as far.
    """
    link, kept, given = state.pairs[row, 0], state.pairs[row, 1], state.pairs[row, 2]
    a, b = 0.25 + 0.75 * _true_werner(state, link, kept), 0.25 + 0.75 * _true_werner(state, link, given)
    chance = 8.0 / 9.0 * a * b - 2.0 / 9.0 * (a + b) + 5.0 / 9.0
    coin = unit_interval(hash_counter(~state.swap_seed, link), state.counts[PURIFICATIONS, link])
    state.counts[PURIFICATIONS, link] += 1
    _end_life(state, link, given, _FATE_PURIFIED, -1)
    state.used[link, given] = _USED_PAIR
    state.counts[PURIFIED, link] += 1
    if coin > chance:
        _end_life(state, link, kept, _FATE_PURIFIED, -1)
        state.used[link, kept] = _USED_PAIR
        state.counts[PURIFIED, link] += 1
        return
    fidelity = (a * b + (1.0 - a) * (1.0 - b) / 9.0) / chance
    # What the ends believe follows from what they believed of the two pairs.
    slot, rate = state.numbers[SLOT], state.decay_per_slot[link]
    claim_a = state.stock_claimed[link, kept] * math.exp(-rate * (slot - state.stock_birth[link, kept]))
    claim_b = state.stock_claimed[link, given] * math.exp(-rate * (slot - state.stock_birth[link, given]))
    ca, cb = 0.25 + 0.75 * claim_a, 0.25 + 0.75 * claim_b
    claimed_chance = 8.0 / 9.0 * ca * cb - 2.0 / 9.0 * (ca + cb) + 5.0 / 9.0
    claimed = (ca * cb + (1.0 - ca) * (1.0 - cb) / 9.0) / claimed_chance
    claimed_werner = (4.0 * claimed - 1.0) / 3.0
    lifetime = state.lifetime_slots[link]
    if rate > 0.0 and state.claimed_werner[link] > 0.0:
        gained = math.log(max(claimed_werner, 1e-300) / state.claimed_werner[link]) / rate
        # Not floored below: a pair that decays slowly may gain more slots than an integer holds.
        lifetime = max(0, lifetime + np.int64(math.floor(min(gained, 1e9))))
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
            _end_life(state, link, state.pairs[row, 1], _FATE_DISCARDED, -1)
            state.used[link, state.pairs[row, 1]] = _USED_PAIR
            state.counts[DISCARDED, link] += 1
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
        if mark not in (_USED_PAIR, _PURIFIED_PAIR):
            state.used[link, position] = 0
            position += 1
            continue
        pair = state.stock_id[link, position]
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
        state.stock_id[link, last] = pair
        state.stock_birth[link, last], state.stock_true[link, last] = birth, true_werner
        state.stock_claimed[link, last], state.stock_expiry[link, last] = claimed, expiry
        state.n_stored[link] += 1


# ---- the loop --------------------------------------------------------------------------------------------------------


@inlined
def _clear_marks(state: SlottedState) -> None:
    for link in range(len(state.edges)):
        for position in range(state.n_stored[link]):
            state.used[link, position] = 0


@compiled
def run_slots(  # noqa: PLR0917 - Numba takes no keywords
    state: SlottedState,
    until_slot: int,
    attempt: CompiledRule,
    serve: CompiledRule,
    parameters: npt.NDArray[np.float64],
    tables: npt.NDArray[np.float64],
) -> None:
    """Run the slots before `until_slot`, or up to the first mistake of the policy."""
    while state.numbers[SLOT] < until_slot:
        _expire(state)
        drop_late(state)
        announce(state, 0)
        queue_requests(state)
        _clear_marks(state)
        attempt(take_snapshot(state, parameters, tables), state.score, state.replace)
        if not _attempt(state):
            return
        announce(state, 1)
        count_arrivals(state)
        queue_requests(state)
        _clear_marks(state)
        n_actions = serve(take_snapshot(state, parameters, tables), state.action, state.pairs)
        _clear_marks(state)
        if n_actions < 0 or n_actions > len(state.action):
            _note(state, BAD_NUMBER_OF_ACTIONS, n_actions, -1, -1)
            return
        if not _serve(state, n_actions):
            return
        for link in range(len(state.edges)):
            state.counts[OCCUPANCY, link] += state.n_stored[link]
        if state.numbers[IS_CHECKED] != 0:
            check_invariants(state)
        if state.numbers[MISTAKE] != 0:
            return
        state.numbers[SLOT] += 1
