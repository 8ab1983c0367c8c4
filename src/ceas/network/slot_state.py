"""All that the engine of the slotted network works on: how it is made for a run, and what can be read from it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.slots import NEVER_SLOT, PairFate, PairLives, RequestTable, SamplePath, SlottedNetwork, SlottedRecord

__all__ = ["SlottedState", "slotted_lives", "slotted_record", "start_slotted"]

# Places in `SlottedState.numbers`.
N_NUMBERS = 16
(
    SLOT,
    NEXT_ANNOUNCED,
    N_WAITING,
    N_SERVED,
    N_USED,
    N_ARRIVED,
    N_BORN,
    IS_CHECKED,
    MISTAKE,
    MISTAKE_ROW,
    MISTAKE_LINK,
    MISTAKE_PAIR,
) = range(12)
# Rows of `SlottedState.counts`.
N_COUNTS = 9
GENERATED, USED, LOST, PURIFIED, EXPIRED, DISCARDED, ATTEMPTS, OCCUPANCY, PURIFICATIONS = range(N_COUNTS)


class SlottedState(NamedTuple):
    """All that the engine works on; `numbers` holds counters, with names for their places above."""

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
    announcement_key: npt.NDArray[np.int64]
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
    stock_id: npt.NDArray[np.int64]
    stock_birth: npt.NDArray[np.int64]
    stock_true: npt.NDArray[np.float64]
    stock_claimed: npt.NDArray[np.float64]
    stock_expiry: npt.NDArray[np.int64]
    waiting: npt.NDArray[np.int64]
    is_waiting: npt.NDArray[np.bool_]
    n_tries: npt.NDArray[np.int64]
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
    # The life of each pair by its id; of size 0 unless it is traced.
    life_link: npt.NDArray[np.int64]
    life_birth: npt.NDArray[np.int64]
    life_end: npt.NDArray[np.int64]
    life_fate: npt.NDArray[np.int64]
    life_request: npt.NDArray[np.int64]
    life_werner: npt.NDArray[np.float64]
    # Workspace.
    score: npt.NDArray[np.float64]
    replace: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    rank: npt.NDArray[np.float64]
    attempts_left: npt.NDArray[np.int64]
    memory_left: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]
    work_int: npt.NDArray[np.int64]
    work_float: npt.NDArray[np.float64]


def start_slotted(
    network: SlottedNetwork, requests: RequestTable, path: SamplePath, *, trace: bool = False, debug: bool = False
) -> SlottedState:
    """Return the network before slot 0: no pairs, no requests known.

    Args:
        network: The network.
        requests: The requests.
        path: The coins; they also set the number of slots.
        trace: Whether to keep the life of every pair, for `slotted_lives`.
        debug: Whether to check the invariants after every slot. It traces too.

    Raises:
        DomainError: Sample path, requests and network do not fit each other.
    """
    n_links, n_requests = network.n_links, len(requests)
    if path.success.shape[1] != n_links:
        raise DomainError(f"Argument `path` must have coins for {n_links} links, but has {path.success.shape[1]}.")
    _require_routes(network, requests)
    a, b = network.edges.T
    room = int(np.minimum(network.memory_slots[a], network.memory_slots[b]).max(initial=0)) + 1
    most_hops = int(max(np.diff(requests.route_first).max(initial=1), requests.n_pairs.max(initial=1), 3))
    n_classes = int(requests.request_class.max(initial=0)) + 1
    n_users = int(requests.user.max(initial=0)) + 1
    work = 4 * max(n_links, n_requests, network.n_nodes) + 8
    most_pairs = int(path.success.sum()) if trace or debug else 0
    numbers = np.zeros(N_NUMBERS, dtype=np.int64)
    numbers[IS_CHECKED] = debug

    def ints(*shape: int) -> npt.NDArray[np.int64]:
        return np.zeros(shape, dtype=np.int64)

    return SlottedState(
        numbers=numbers,
        **_given(network, requests, path),
        free_slots=network.memory_slots.astype(np.int64).copy(),
        n_stored=ints(n_links),
        stock_id=ints(n_links, room),
        stock_birth=ints(n_links, room),
        stock_true=np.zeros((n_links, room)),
        stock_claimed=np.zeros((n_links, room)),
        stock_expiry=ints(n_links, room),
        waiting=ints(n_requests),
        is_waiting=np.zeros(n_requests, dtype=np.bool_),
        n_tries=ints(n_requests),
        queue_first=ints(n_links + 1),
        queue_request=ints(len(requests.route_link)),
        user_value=np.zeros(n_users),
        user_mark=np.zeros(n_users),
        n_requested=ints(n_links, n_classes),
        counts=ints(N_COUNTS, n_links),
        served_request=ints(n_requests),
        served_slot=ints(n_requests),
        served_fidelity=np.zeros(n_requests),
        served_value=np.zeros(n_requests),
        served_pairs=ints(n_requests),
        used_fidelity=np.zeros(int((np.diff(requests.route_first) * requests.n_pairs).sum())),
        life_link=ints(most_pairs),
        life_birth=ints(most_pairs),
        life_end=np.full(most_pairs, NEVER_SLOT, dtype=np.int64),
        life_fate=ints(most_pairs),
        life_request=np.full(most_pairs, -1, dtype=np.int64),
        life_werner=np.zeros(most_pairs),
        score=np.zeros(n_links),
        replace=ints(n_links),
        order=ints(n_links),
        rank=np.zeros(n_links),
        attempts_left=ints(network.n_nodes),
        memory_left=ints(network.n_nodes),
        action=ints(n_requests + n_links * room),
        pairs=ints(n_requests + n_links * room, most_hops),
        used=ints(n_links, room),
        work_int=ints(work),
        work_float=np.zeros(work),
    )


def _given(network: SlottedNetwork, requests: RequestTable, path: SamplePath) -> dict[str, Any]:
    """Return the fields of the state that never change: network, sample path and requests, as the engine takes them."""
    # Even before the attempts of a slot, odd after them; what was announced before slot 0 is known at its start.
    is_unannounced = requests.announced == requests.arrival
    announcement_key = 2 * np.maximum(requests.announced, 0) + is_unannounced
    contiguous = np.ascontiguousarray
    of_network = {name: contiguous(getattr(network, name)) for name in ("claimed_werner", "success_probability")}
    counts = ("edges", "lifetime_slots", "memory_slots", "attempts_per_slot")
    of_requests = ("route_first", "route_link", "arrival", "deadline", "n_pairs", "kind", "request_class", "user")
    return {
        **of_network,
        **{name: contiguous(getattr(network, name), dtype=np.int64) for name in counts},
        **{name: contiguous(getattr(requests, name), dtype=np.int64) for name in of_requests},
        "true_werner": contiguous(network.initial_werner),
        "decay_per_slot": 1.0 / network.coherence_slots,
        "swap_success_probability": float(network.swap_success_probability),
        "swap_werner": float(network.swap_werner),
        "success": contiguous(path.success),
        "decay": contiguous(path.decay),
        "swap_seed": np.uint64(path.swap_seed),
        "announcement_key": contiguous(announcement_key, dtype=np.int64),
        "announcement_order": np.argsort(announcement_key, kind="stable").astype(np.int64),
        "minimum_fidelity": contiguous(requests.minimum_fidelity, dtype=np.float64),
        "weight": contiguous(requests.weight, dtype=np.float64),
    }


def _require_routes(network: SlottedNetwork, requests: RequestTable) -> None:
    """Raise DomainError unless every route is a path: it goes from node to node and visits none twice."""
    if bool((requests.route_link >= network.n_links).any() or (requests.route_link < 0).any()):
        raise DomainError(f"Argument `requests` must name links below {network.n_links}, but does not.")
    n_hops = np.diff(requests.route_first)
    rows = np.flatnonzero(n_hops > 1)
    if len(rows) == 0:
        return
    first, most = requests.route_first[:-1][rows], int(n_hops[rows].max())
    ends = network.edges[requests.route_link[first]]
    following = network.edges[requests.route_link[first + 1]]
    # The route starts at the end of its first link that is not in the second; if both are, it comes back at once.
    is_shared = (ends[:, :, None] == following[:, None, :]).any(axis=2)
    is_path = is_shared.sum(axis=1) == 1
    start, node = np.where(is_shared[:, 0], ends[:, ::-1].T, ends.T)
    visited = np.full((len(rows), most + 1), -1)
    visited[:, 0], visited[:, 1] = start, node
    for hop in range(1, most):
        has_hop = n_hops[rows] > hop
        link_ends = network.edges[requests.route_link[np.where(has_hop, first + hop, first)]]
        after = np.where(link_ends[:, 0] == node, link_ends[:, 1], link_ends[:, 0])
        is_joined = (link_ends == node[:, None]).any(axis=1)
        is_path &= ~has_hop | (is_joined & ~(visited == after[:, None]).any(axis=1))
        node = np.where(has_hop, after, node)
        visited[has_hop, hop + 1] = after[has_hop]
    if not bool(is_path.all()):
        wrong = int(rows[~is_path][0])
        raise DomainError(f"Argument `requests` must have routes that are paths, but that of request {wrong} is not.")


def slotted_record(state: SlottedState) -> SlottedRecord:
    """Return what has happened so far."""
    served, used = int(state.numbers[N_SERVED]), int(state.numbers[N_USED])
    return SlottedRecord(
        n_slots=int(state.numbers[SLOT]),
        served_request=state.served_request[:served].copy(),
        served_slot=state.served_slot[:served].copy(),
        served_fidelity=state.served_fidelity[:served].copy(),
        served_value=state.served_value[:served].copy(),
        served_pairs=state.served_pairs[:served].copy(),
        used_fidelity=state.used_fidelity[:used].copy(),
        generated=state.counts[GENERATED].copy(),
        used=state.counts[USED].copy(),
        lost=state.counts[LOST].copy(),
        purified=state.counts[PURIFIED].copy(),
        expired=state.counts[EXPIRED].copy(),
        discarded=state.counts[DISCARDED].copy(),
        stored=state.n_stored.copy(),
        attempts=state.counts[ATTEMPTS].copy(),
        occupancy=state.counts[OCCUPANCY].copy(),
    )


def slotted_lives(state: SlottedState) -> PairLives:
    """Return the life of every pair so far.

    Raises:
        DomainError: The run was started without `trace`.
    """
    n_born, slot = int(state.numbers[N_BORN]), int(state.numbers[SLOT])
    if n_born > len(state.life_link) or (n_born == 0 and int(state.counts[GENERATED].sum()) > 0):
        raise DomainError("Argument `state` must come from a run that was started with `trace`, but does not.")
    fidelity = 0.25 + 0.75 * state.life_werner[:n_born]
    # What is still stored has no end yet; its fidelity is that after the last slot run.
    for link, position in zip(*np.nonzero(np.arange(state.stock_id.shape[1]) < state.n_stored[:, None]), strict=True):
        last = max(slot - 1, 0)
        birth = state.stock_birth[link, position]
        decayed = float(state.decay_per_slot[link]) * (last - birth)
        if len(state.decay):
            decayed = float(state.decay[last, link] - state.decay[birth, link])
        fidelity[state.stock_id[link, position]] = 0.25 + 0.75 * state.stock_true[link, position] * np.exp(-decayed)
    fate = state.life_fate[:n_born].copy()
    return PairLives(
        link=state.life_link[:n_born].copy(),
        birth_slot=state.life_birth[:n_born].copy(),
        end_slot=np.where(fate == PairFate.STORED, slot, state.life_end[:n_born]),
        fate=fate,
        request=state.life_request[:n_born].copy(),
        end_fidelity=fidelity,
    )
