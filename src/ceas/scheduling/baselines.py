"""The baseline schedulers: no prices, no look ahead. Each serves whatever its rule allows as soon as it can."""

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import CompiledRule, compiled
from ceas.network.draws import hash_counter
from ceas.network.policy import (
    KEY_REQUEST,
    NEVER,
    WAIT,
    LinkView,
    Policy,
    attempt_rule,
    serve_rule,
)
from ceas.network.records import NetworkModel, learners_of_link

__all__ = ["freshest_first", "memory_limits", "memory_share", "oldest_first", "random", "static_tdma"]

# Without a limit, links that share a node fill its memory with pairs that nobody wants yet, and starve each other. One
# pair more than a shot takes delivered most in a scan of the limits, so that is what every baseline gets.
AUTOMATIC_LIMIT = -1


@compiled
def can_start_shot(view: LinkView, side: int) -> bool:
    """Tell whether a learner's QPU waits and the stock holds enough pairs for a shot."""
    return view.qpu_ready_ns[side] <= view.now_ns and len(view.stock_birth_ns) >= view.pairs_per_shot


@compiled
def first_request(view: LinkView) -> int:
    """Return the request that has waited longest and can be served, or `WAIT`; at a tie learner 0, learner 1, key."""
    request = WAIT
    since_ns = NEVER
    for side in range(2):
        if can_start_shot(view, side) and view.qpu_ready_ns[side] < since_ns:
            request, since_ns = side, view.qpu_ready_ns[side]
    if len(view.key_arrival_ns) > 0 and view.key_arrival_ns[0] < since_ns:
        request = KEY_REQUEST
    return request


@compiled
def n_pairs_for(view: LinkView, request: int) -> int:
    """Return how many pairs a request takes."""
    return view.pairs_per_shot if request < KEY_REQUEST else 1


@compiled
def choose_from(choice: npt.NDArray[np.int64], first: int, count: int) -> None:
    """Choose `count` pairs of consecutive ages, the oldest of them at position `first`."""
    for at in range(count):
        choice[at] = first + at


@serve_rule
def serve_oldest(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request that waited longest with the oldest pairs."""
    request = first_request(view)
    choose_from(choice, 0, n_pairs_for(view, request))
    return request, NEVER


@serve_rule
def serve_freshest(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request that waited longest with the freshest pairs."""
    request = first_request(view)
    count = n_pairs_for(view, request)
    choose_from(choice, len(view.stock_birth_ns) - count, count)
    return request, NEVER


@serve_rule
def serve_random(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve a random one of the requests that can be served, with random pairs."""
    n_shots = int(can_start_shot(view, 0)) + int(can_start_shot(view, 1))
    n_requests = n_shots + len(view.key_arrival_ns)
    if n_requests == 0:
        return WAIT, NEVER
    picked = int(view.draw) % n_requests
    request = KEY_REQUEST + picked - n_shots
    if picked < n_shots:
        request = picked if can_start_shot(view, 0) else 1
    # Selection sampling (Knuth, volume 2, 3.4.2 S): each set of positions has the same probability.
    n_stored, needed, n_chosen = len(view.stock_birth_ns), n_pairs_for(view, request), 0
    for position in range(n_stored):
        draw = hash_counter(np.uint64(view.draw), position) % np.uint64(n_stored - position)
        if draw < np.uint64(needed - n_chosen):
            choice[n_chosen] = position
            n_chosen += 1
    return request, NEVER


@compiled
def time_slot(view: LinkView) -> tuple[int, int]:
    """Return whose time slot it is, 0 and 1 for the learners and 2 for keys, and when it ends (ns).

    `view.parameters` holds the length of the frame (ns) and the parts of it after which the slots of learner 0 and of
    learner 1 end. All of the exchange phase is a slot for keys.
    """
    if view.now_ns >= view.learning_end_ns:
        return 2, view.round_end_ns
    frame_ns = int(view.parameters[0])
    start_ns = view.now_ns - (view.now_ns - view.round_start_ns) % frame_ns
    for owner in range(2):
        end_ns = start_ns + int(view.parameters[1 + owner] * frame_ns)
        if view.now_ns < end_ns:
            return owner, min(end_ns, view.learning_end_ns)
    return 2, min(start_ns + frame_ns, view.learning_end_ns)


@serve_rule
def serve_time_slot(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the owner of the time slot with the oldest pairs, and nobody else."""
    owner, end_ns = time_slot(view)
    can_serve = can_start_shot(view, owner) if owner < KEY_REQUEST else len(view.key_arrival_ns) > 0
    if not can_serve:
        return WAIT, end_ns
    choose_from(choice, 0, n_pairs_for(view, owner))
    return owner, NEVER


@compiled
def has_room(view: LinkView) -> bool:
    """Tell whether the link holds fewer pairs than its limit, and its shot's missing pairs fit into free memory.

    The limit is the last of the link's parameters; the one before is how many pairs of a shot must fit at once.
    """
    n_stored, n_parameters = len(view.stock_birth_ns), len(view.parameters)
    is_within = n_stored < view.parameters[n_parameters - 1]
    return bool(is_within and view.free_slots >= view.parameters[n_parameters - 2] - n_stored)


@attempt_rule
def attempt_within_limit(view: LinkView) -> int:
    """Attempt while there is room."""
    return len(view.stock_birth_ns) if has_room(view) else -1


def oldest_first(
    model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True
) -> Policy:
    """Return the policy that serves requests in their order with the oldest pairs (first in, first out).

    Args:
        model: The network.
        pairs_per_link: A link stops attempting while it holds this many pairs; 0 for no limit but the memory. The
            default, -1, is one pair more than a shot takes on a learner's link and one pair on any other.
        partition_memory: Whether links keep to their shares of the nodes' memory, `memory_share`, and begin a shot's
            pairs only when all of them fit.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    return _baseline("oldest_first", serve_oldest, model, pairs_per_link, partition_memory)


def freshest_first(
    model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True
) -> Policy:
    """Return the policy that serves requests in their order with the freshest pairs (last in, first out).

    Args:
        model: The network.
        pairs_per_link: A link stops attempting while it holds this many pairs; 0 for no limit but the memory. The
            default, -1, is one pair more than a shot takes on a learner's link and one pair on any other.
        partition_memory: Whether links keep to their shares of the nodes' memory, `memory_share`, and begin a shot's
            pairs only when all of them fit.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    return _baseline("freshest_first", serve_freshest, model, pairs_per_link, partition_memory)


def random(model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True) -> Policy:
    """Return the policy that serves a random request with random pairs.

    Args:
        model: The network.
        pairs_per_link: A link stops attempting while it holds this many pairs; 0 for no limit but the memory. The
            default, -1, is one pair more than a shot takes on a learner's link and one pair on any other.
        partition_memory: Whether links keep to their shares of the nodes' memory, `memory_share`, and begin a shot's
            pairs only when all of them fit.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    return _baseline("random", serve_random, model, pairs_per_link, partition_memory)


def static_tdma(
    model: NetworkModel,
    *,
    frame_s: float = 0.01,
    learning_share: float = 1.0,
    pairs_per_link: int = AUTOMATIC_LIMIT,
    partition_memory: bool = True,
) -> Policy:
    """Return time division: the learning window of every link is cut into frames, each frame into slots for a class.

    Learners get `learning_share` of the frame, in equal parts, and keys the rest; a class that a link does not have
    gets nothing. The exchange phase belongs to keys. A slot serves its owner with the oldest pairs, and nobody else.

    Args:
        model: The network.
        frame_s: Length of a frame (s).
        learning_share: Part of the frame for the learners, in [0, 1]. The default delivered most in a scan: keys have
            the exchange phase.
        pairs_per_link: A link stops attempting while it holds this many pairs; 0 for no limit but the memory. The
            default, -1, is one pair more than a shot takes on a learner's link and one pair on any other.
        partition_memory: Whether links keep to their shares of the nodes' memory, `memory_share`, and begin a shot's
            pairs only when all of them fit.

    Raises:
        DomainError: `frame_s` is below 1 ns or above 10^6 s, `learning_share` outside [0, 1], or `pairs_per_link`
            below -1.
    """
    if not 1e-9 <= frame_s <= 1e6:
        raise DomainError(f"Argument `frame_s` must be in [1e-9, 1e6], but is {frame_s}.")
    if not 0.0 <= learning_share <= 1.0:
        raise DomainError(f"Argument `learning_share` must be in [0, 1], but is {learning_share}.")
    has_learner = learners_of_link(model.demand.learner_link, model.n_links) >= 0
    has_keys = model.demand.key_pairs_per_round > 0
    share = np.where(has_keys, learning_share, 1.0) * has_learner.any(axis=1)
    first_end = share / np.maximum(has_learner.sum(axis=1), 1)
    frame_ns = np.full(model.n_links, float(round(frame_s * 1e9)))
    return _baseline(
        "static_tdma", serve_time_slot, model, pairs_per_link, partition_memory, frame_ns, first_end, share
    )


def memory_share(model: NetworkModel) -> npt.NDArray[np.int64]:
    """Return how many pairs each link may hold in stock, shape `(n_links,)`.

    The links with learners at a node share its slots equally, less one slot if the node has other links with key
    requests. Those make their pairs on request and hold at most one in stock, unless neither of their ends has a link
    with a learner: then they share the slots. No learner's link gets less than a shot needs.
    """
    has_learner = learners_of_link(model.demand.learner_link, model.n_links)[:, 0] >= 0
    is_key_only = ~has_learner & (model.demand.key_pairs_per_round > 0)
    slots = model.nodes.memory_slots
    ends = np.stack([model.links.node_a, model.links.node_b])
    n_sharing, n_key_only = (
        sum(np.bincount(end[links], minlength=len(slots)) for end in ends) for links in (has_learner, is_key_only)
    )
    share = (slots - (n_key_only > 0)) // np.maximum(n_sharing, 1)
    key_share = np.where(n_sharing > 0, 1, slots // np.maximum(n_key_only, 1))
    limit: npt.NDArray[np.int64] = np.where(
        has_learner,
        np.maximum(share[ends].min(axis=0), model.demand.pairs_per_shot),
        np.maximum(key_share[ends].min(axis=0), 1),
    )
    return limit


def memory_limits(model: NetworkModel, pairs_per_link: int, partition_memory: bool) -> npt.NDArray[np.float64]:
    """Return what `has_room` looks at: the pairs of a shot that must fit at once, and the limit of the link.

    Args:
        model: The network.
        pairs_per_link: As in `oldest_first`.
        partition_memory: As in `oldest_first`.

    Returns:
        Shape `(n_links, 2)`; the limit is infinite where only the memory limits.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    if pairs_per_link < AUTOMATIC_LIMIT:
        raise DomainError(f"Argument `pairs_per_link` must be at least {AUTOMATIC_LIMIT}, but is {pairs_per_link}.")
    has_learner = (learners_of_link(model.demand.learner_link, model.n_links) >= 0).any(axis=1)
    limit = np.full(model.n_links, float(pairs_per_link) if pairs_per_link else np.inf)
    if pairs_per_link == AUTOMATIC_LIMIT:
        limit = np.where(has_learner, model.demand.pairs_per_shot + 1.0, 1.0)
    if not partition_memory:
        return np.column_stack([np.zeros(model.n_links), limit])
    at_once = np.where(has_learner, float(model.demand.pairs_per_shot), 0.0)
    return np.column_stack([at_once, np.minimum(limit, memory_share(model))])


def _baseline(
    name: str,
    serve: CompiledRule,
    model: NetworkModel,
    pairs_per_link: int,
    partition_memory: bool,
    *parameters: npt.NDArray[np.float64],
) -> Policy:
    limits = memory_limits(model, pairs_per_link, partition_memory)
    return Policy(
        name=name, serve=serve, attempt=attempt_within_limit, parameters=np.column_stack([*parameters, limits])
    )
