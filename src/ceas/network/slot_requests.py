"""What a slotted network knows of its requests in a slot, and the snapshot of it that policies see; compiled."""

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, inlined
from ceas.network.draws import hash_counter
from ceas.network.slot_policy import SlotSnapshot
from ceas.network.slot_state import (
    ATTEMPTS,
    GENERATED,
    N_ARRIVED,
    N_WAITING,
    NEXT_ANNOUNCED,
    SLOT,
    SlottedState,
)

__all__ = ["announce", "count_arrivals", "drop_late", "queue_requests", "take_snapshot"]


@inlined
def drop_late(state: SlottedState) -> None:
    """Forget requests that were served or whose deadline has passed."""
    kept = 0
    for at in range(state.numbers[N_WAITING]):
        request = as_index(state.waiting[at])
        if state.is_waiting[request] and state.deadline[request] >= state.numbers[SLOT]:
            state.waiting[kept] = request
            kept += 1
        else:
            state.is_waiting[request] = False
    state.numbers[N_WAITING] = kept


@inlined
def announce(state: SlottedState, phase: int) -> None:
    """Let requests become known: before the attempts (phase 0) those announced ahead, after them (1) all others."""
    key, n_known, first_new = 2 * state.numbers[SLOT] + phase, state.numbers[N_WAITING], state.numbers[NEXT_ANNOUNCED]
    while state.numbers[NEXT_ANNOUNCED] < len(state.arrival):
        request = state.announcement_order[state.numbers[NEXT_ANNOUNCED]]
        if state.announcement_key[request] > key:
            break
        state.numbers[NEXT_ANNOUNCED] += 1
        state.is_waiting[request] = True
    # The new ones come in the order of their numbers; merge them into the others from the end.
    at, new = n_known - 1, state.numbers[NEXT_ANNOUNCED] - 1
    state.numbers[N_WAITING] += new + 1 - first_new
    for place in range(state.numbers[N_WAITING] - 1, -1, -1):
        if new < first_new:
            break
        if at >= 0 and state.waiting[at] > state.announcement_order[new]:
            state.waiting[place] = state.waiting[at]
            at -= 1
        else:
            state.waiting[place] = state.announcement_order[new]
            new -= 1


@inlined
def count_arrivals(state: SlottedState) -> None:
    """Count the requests that arrive in this slot by the first link of their route and by class."""
    while (
        state.numbers[N_ARRIVED] < len(state.arrival) and state.arrival[state.numbers[N_ARRIVED]] <= state.numbers[SLOT]
    ):
        request = state.numbers[N_ARRIVED]
        link = state.route_link[state.route_first[request]]
        state.n_requested[link, state.request_class[request]] += 1
        state.numbers[N_ARRIVED] += 1


@inlined
def queue_requests(state: SlottedState) -> None:
    """Sort the waiting requests by link, a route into the queue of each of its links."""
    first = state.queue_first
    n_links = len(state.edges)
    for link in range(n_links + 1):
        first[link] = 0
    for at in range(state.numbers[N_WAITING]):
        request = as_index(state.waiting[at])
        for hop in range(state.route_first[request], state.route_first[request + 1]):
            first[as_index(state.route_link[hop]) + 1] += 1
    for link in range(n_links):
        first[link + 1] += first[link]
    for at in range(state.numbers[N_WAITING]):
        request = as_index(state.waiting[at])
        for hop in range(state.route_first[request], state.route_first[request + 1]):
            link = as_index(state.route_link[hop])
            state.queue_request[as_index(first[link])] = request
            first[link] += 1
    for link in range(n_links, 0, -1):
        first[link] = first[link - 1]
    first[0] = 0


@inlined
def take_snapshot(
    state: SlottedState, parameters: npt.NDArray[np.float64], tables: npt.NDArray[np.float64]
) -> SlotSnapshot:
    """Return what a policy sees; a matter of pointers, nothing is copied."""
    slot = state.numbers[SLOT]
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
        state.waiting[: state.numbers[N_WAITING]],
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
        state.counts[ATTEMPTS],
        state.counts[GENERATED],
        state.n_requested,
        np.int64(hash_counter(state.swap_seed ^ np.uint64(0x5DEECE66D), slot) >> np.uint64(1)),
        parameters,
        tables,
        state.used,
        state.work_int,
        state.work_float,
    )
