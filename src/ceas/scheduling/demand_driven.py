"""The stronger baseline schedulers: by deadline, by weight, on demand, by backlog, by freshness and by forecast.

Like the simple ones (`ceas.scheduling.baselines`) each is a serve rule and an attempt rule, and each may be tuned:
`TUNING_GRIDS` holds what a study tries for every policy, on seeds that it does not report.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import CompiledRule, compiled, constant
from ceas.network.policy import (
    KEY_REQUEST,
    NEVER,
    WAIT,
    LinkView,
    Policy,
    attempt_rule,
    key_fraction_at,
    serve_rule,
    shot_factor_at,
)
from ceas.network.records import NetworkModel, learners_of_link
from ceas.scheduling.baselines import (
    AUTOMATIC_LIMIT,
    attempt_within_limit,
    can_start_shot,
    choose_from,
    has_room,
    memory_limits,
    n_pairs_for,
)
from ceas.scheduling.pair_values import fresh_key_fraction, fresh_shot_value

__all__ = [
    "TUNING_GRIDS",
    "best_cutoff",
    "demand_aware",
    "earliest_deadline",
    "greedy_fidelity",
    "max_weight",
    "on_demand",
    "on_demand_weighted",
]

# What a study tries for each policy. All get the same number of trials, so that none is tuned harder than another.
_MEMORY = tuple(
    {"pairs_per_link": limit, "partition_memory": is_partitioned}
    for limit in (-1, 0, 6, 10)
    for is_partitioned in (False, True)
)
_LEAD = tuple(
    {"lead_shots": lead, "partition_memory": is_partitioned}
    for lead in (0.0, 0.5, 1.0, 2.0)
    for is_partitioned in (False, True)
)
TUNING_GRIDS: Mapping[str, Sequence[Mapping[str, float]]] = MappingProxyType(
    {
        "oldest_first": _MEMORY,
        "freshest_first": _MEMORY,
        "random": _MEMORY,
        "static_tdma": _MEMORY,
        "earliest_deadline": _MEMORY,
        "on_demand": _LEAD,
        "on_demand_weighted": _LEAD,
        "max_weight": _MEMORY,
        "greedy_fidelity": _MEMORY,
        "best_cutoff": tuple(
            {"cutoff_share": share, "partition_memory": is_partitioned}
            for share in (0.1, 0.2, 0.4, 0.8)
            for is_partitioned in (False, True)
        ),
        "demand_aware": tuple(
            {"threshold": part, "partition_memory": is_partitioned}
            for part in (0.02, 0.05, 0.15, 0.4)
            for is_partitioned in (False, True)
        ),
        "ceas": tuple({"waste_share": share} for share in (0.0, 1e-5, 1e-4, 1e-3, 0.005, 0.02, 0.05, 0.2)),
    }
)


_FRESH = constant(0)


# ---- serving ---------------------------------------------------------------------------------------------------------


@compiled
def _deadline_ns(view: LinkView, request: int) -> int:
    """Return when a request is of no more use: a key's deadline, the end of a learner's window."""
    if request < KEY_REQUEST:
        return int(view.qpu_close_ns[request])
    return int(view.key_arrival_ns[request - KEY_REQUEST] + view.key_deadline_ns)


@serve_rule
def serve_earliest_deadline(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request whose deadline is next with the oldest pairs."""
    request, deadline_ns = WAIT, NEVER
    for side in range(2):
        if can_start_shot(view, side) and _deadline_ns(view, side) < deadline_ns:
            request, deadline_ns = side, _deadline_ns(view, side)
    if len(view.key_arrival_ns) > 0 and _deadline_ns(view, KEY_REQUEST) < deadline_ns:
        request = KEY_REQUEST
    choose_from(choice, 0, n_pairs_for(view, request))
    return request, NEVER


@compiled
def _shot_worth(view: LinkView, first: int) -> float:
    """Return the value for each pair of a shot with consecutive pairs, the oldest of them at position `first`."""
    value = view.learning_value / view.pairs_per_shot
    for position in range(first, first + view.pairs_per_shot):
        age_ns = view.now_ns - view.stock_birth_ns[position]
        value *= shot_factor_at(view, age_ns)
    return value


@compiled
def _key_worth(view: LinkView, position: int) -> float:
    """Return the value of a stored pair to a key request."""
    age_ns = view.now_ns - view.stock_birth_ns[position]
    return view.key_value * key_fraction_at(view, age_ns)


@compiled
def _first_ready_side(view: LinkView) -> int:
    """Return the learner that has waited longest and can start a shot, or `WAIT`."""
    best, since_ns = WAIT, NEVER
    for side in range(2):
        if can_start_shot(view, side) and view.qpu_ready_ns[side] < since_ns:
            best, since_ns = side, view.qpu_ready_ns[side]
    return best


@serve_rule
def serve_heaviest(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request that is worth most a pair now, with the oldest pairs that are worth anything to it."""
    request, best = WAIT, 0.0
    side = _first_ready_side(view)
    if side >= 0:
        request, best = side, _shot_worth(view, 0)
        choose_from(choice, 0, view.pairs_per_shot)
    if len(view.key_arrival_ns) > 0:
        position, n_stored = 0, len(view.stock_birth_ns)
        while position < n_stored and _key_worth(view, position) <= 0.0:
            position += 1
        if position < n_stored and _key_worth(view, position) > best:
            request = KEY_REQUEST
            choice[0] = position
    return request, NEVER


@serve_rule
def serve_backlog(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the class with the largest backlog times value, with the oldest pairs (MaxWeight)."""
    side = _first_ready_side(view)
    n_ready = 0
    for learner in range(2):
        n_ready += int(view.qpu_ready_ns[learner] <= view.now_ns)
    n_keys = len(view.key_arrival_ns)
    shots = n_ready * view.learning_value / max(view.pairs_per_shot, 1) if side >= 0 else 0.0
    keys = n_keys * view.key_value * key_fraction_at(view, _FRESH)
    request = side
    if n_keys > 0 and (side < 0 or keys > shots):
        request = KEY_REQUEST
    choose_from(choice, 0, n_pairs_for(view, request))
    return request, NEVER


@serve_rule
def serve_best_pairs(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request that is worth most a pair with the freshest pairs."""
    n_stored = len(view.stock_birth_ns)
    request, best = WAIT, 0.0
    side = _first_ready_side(view)
    if side >= 0:
        request, best = side, _shot_worth(view, n_stored - view.pairs_per_shot)
        choose_from(choice, n_stored - view.pairs_per_shot, view.pairs_per_shot)
    if len(view.key_arrival_ns) > 0 and _key_worth(view, n_stored - 1) > best:
        request = KEY_REQUEST
        choice[0] = n_stored - 1
    return request, NEVER


@serve_rule
def serve_within_cutoff(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request that has waited longest with the oldest pairs below the cutoff, the first parameter (ns)."""
    n_stored, first = len(view.stock_birth_ns), 0
    while first < n_stored and view.now_ns - view.stock_birth_ns[first] > view.parameters[0]:
        first += 1
    request, since_ns = WAIT, NEVER
    for side in range(2):
        is_ready = view.qpu_ready_ns[side] <= view.now_ns and n_stored - first >= view.pairs_per_shot
        if is_ready and view.qpu_ready_ns[side] < since_ns:
            request, since_ns = side, view.qpu_ready_ns[side]
    if n_stored > first and len(view.key_arrival_ns) > 0 and view.key_arrival_ns[0] < since_ns:
        request = KEY_REQUEST
    choose_from(choice, first, n_pairs_for(view, request))
    return request, NEVER


# ---- attempts --------------------------------------------------------------------------------------------------------


@attempt_rule
def attempt_on_demand(view: LinkView) -> int:
    """Attempt while waiting requests, and shots due within the lead time of the first parameter (ns), lack pairs."""
    n_stored = len(view.stock_birth_ns)
    needed = len(view.key_arrival_ns)
    for side in range(2):
        is_near = view.qpu_ready_ns[side] <= view.now_ns + view.parameters[0]
        if is_near and view.qpu_ready_ns[side] < view.qpu_close_ns[side]:
            needed += view.pairs_per_shot
    return n_stored if n_stored < needed and has_room(view) else -1


@attempt_rule
def attempt_and_replace(view: LinkView) -> int:
    """Attempt always; at the limit, the last parameter, or out of memory, in the place of the oldest pair."""
    n_stored = len(view.stock_birth_ns)
    if view.free_slots > 0 and has_room(view):
        return n_stored
    return 0 if n_stored > 0 else -1


@attempt_rule
def attempt_within_cutoff(view: LinkView) -> int:
    """Attempt below the limit, the last parameter; a pair beyond the cutoff age, the first (ns), is replaced."""
    n_stored = len(view.stock_birth_ns)
    if n_stored > 0 and view.now_ns - view.stock_birth_ns[0] > view.parameters[0]:
        return 0
    return n_stored if has_room(view) else -1


@attempt_rule
def attempt_by_demand(view: LinkView) -> int:
    """Attempt while the link's demand, the first parameter, over one more than its stock exceeds the second."""
    n_stored = len(view.stock_birth_ns)
    is_wanted = view.parameters[0] > view.parameters[1] * (1.0 + n_stored)
    return n_stored if is_wanted and has_room(view) else -1


# ---- policies --------------------------------------------------------------------------------------------------------


def earliest_deadline(
    model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True
) -> Policy:
    """Return the policy that serves the request whose deadline is next, with the oldest pairs.

    Args:
        model: The network.
        pairs_per_link: As in `oldest_first`.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    limits = memory_limits(model, pairs_per_link, partition_memory)
    return Policy(
        name="earliest_deadline",
        serve=serve_earliest_deadline,
        attempt=attempt_within_limit,
        parameters=limits,
    )


def max_weight(model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True) -> Policy:
    """Return the policy that serves the class with the largest backlog times value, with the oldest pairs.

    Args:
        model: The network.
        pairs_per_link: As in `oldest_first`.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `pairs_per_link` is below -1.

    Source:
        Vasantam and Towsley, arXiv:2106.00831, for the rule at a switch; here the classes of one link.
    """
    limits = memory_limits(model, pairs_per_link, partition_memory)
    return Policy(name="max_weight", serve=serve_backlog, attempt=attempt_within_limit, parameters=limits)


def on_demand(model: NetworkModel, *, lead_shots: float = 1.0, partition_memory: bool = True) -> Policy:
    """Return the policy that makes pairs only for requests that wait, and serves the next deadline first.

    Args:
        model: The network.
        lead_shots: A learner counts as waiting this many shot durations before its QPU is ready, at least 0.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `lead_shots` is negative or not finite.
    """
    return _on_demand("on_demand", serve_earliest_deadline, model, lead_shots, partition_memory)


def on_demand_weighted(model: NetworkModel, *, lead_shots: float = 1.0, partition_memory: bool = True) -> Policy:
    """Return the policy that makes pairs only for requests that wait, and serves what is worth most.

    Args:
        model: The network.
        lead_shots: A learner counts as waiting this many shot durations before its QPU is ready, at least 0.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `lead_shots` is negative or not finite.
    """
    return _on_demand("on_demand_weighted", serve_heaviest, model, lead_shots, partition_memory)


def _on_demand(
    name: str, serve: CompiledRule, model: NetworkModel, lead_shots: float, partition_memory: bool
) -> Policy:
    return Policy(
        name=name,
        serve=serve,
        attempt=attempt_on_demand,
        parameters=np.column_stack([_lead_ns(model, lead_shots), memory_limits(model, 0, partition_memory)]),
    )


def greedy_fidelity(
    model: NetworkModel, *, pairs_per_link: int = AUTOMATIC_LIMIT, partition_memory: bool = True
) -> Policy:
    """Return the policy that always attempts, replaces the oldest pair, and serves the highest value first.

    Args:
        model: The network.
        pairs_per_link: Pairs that a link holds at most, as in `oldest_first`; a further one replaces the oldest.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `pairs_per_link` is below -1.
    """
    limits = memory_limits(model, pairs_per_link, partition_memory)
    return Policy(name="greedy_fidelity", serve=serve_best_pairs, attempt=attempt_and_replace, parameters=limits)


def best_cutoff(
    model: NetworkModel,
    *,
    cutoff_share: float = 0.4,
    pairs_per_link: int = AUTOMATIC_LIMIT,
    partition_memory: bool = True,
) -> Policy:
    """Return `oldest_first` with an age beyond which a pair is not used, and gives its place to the next.

    Args:
        model: The network.
        cutoff_share: The cutoff as a part of the link's lifetime of pairs, in (0, 1].
        pairs_per_link: As in `oldest_first`.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `cutoff_share` is outside (0, 1], or `pairs_per_link` below -1.
    """
    if not 0.0 < cutoff_share <= 1.0:
        raise DomainError(f"Argument `cutoff_share` must be in (0, 1], but is {cutoff_share}.")
    limits = memory_limits(model, pairs_per_link, partition_memory)
    cutoff_ns = cutoff_share * model.lifetime_ns.astype(np.float64)
    return Policy(
        name="best_cutoff",
        serve=serve_within_cutoff,
        attempt=attempt_within_cutoff,
        parameters=np.column_stack([cutoff_ns, limits]),
    )


def demand_aware(model: NetworkModel, *, threshold: float = 0.15, partition_memory: bool = True) -> Policy:
    """Return the policy that stocks each link in proportion to the value its users ask for.

    A link attempts while D / (1 + stock) exceeds `threshold`, where D is the value of the link's requests a second,
    with fresh pairs, over that of the link with most.

    Args:
        model: The network.
        threshold: In (0, 1]; smaller makes more stock.
        partition_memory: As in `oldest_first`.

    Raises:
        DomainError: `threshold` is outside (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise DomainError(f"Argument `threshold` must be in (0, 1], but is {threshold}.")
    demand = demand_value_hz(model)
    share = demand / max(float(demand.max(initial=0.0)), 1e-300)
    limits = memory_limits(model, 0, partition_memory)
    return Policy(
        name="demand_aware",
        serve=serve_heaviest,
        attempt=attempt_by_demand,
        parameters=np.column_stack([share, np.full(model.n_links, threshold), limits]),
    )


def demand_value_hz(model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return the value of the requests of each link a second, all served with fresh pairs, shape `(n_links,)`."""
    demand, round_s = model.demand, model.clock.round_ns * 1e-9
    has_learner = demand.learner_link >= 0
    shots = np.zeros(model.n_links)
    per_round = model.clock.learning_ns / np.maximum(demand.shot_duration_ns, 1)
    np.add.at(shots, demand.learner_link[has_learner], per_round[has_learner])
    shot_value = demand.learning_value * fresh_shot_value(model)
    key_value = demand.key_value * fresh_key_fraction(model)
    return np.asarray((shots * shot_value + demand.key_pairs_per_round * key_value) / round_s)


def _lead_ns(model: NetworkModel, lead_shots: float) -> npt.NDArray[np.float64]:
    if not (np.isfinite(lead_shots) and lead_shots >= 0.0):
        raise DomainError(f"Argument `lead_shots` must be finite and at least 0, but is {lead_shots}.")
    learners = learners_of_link(model.demand.learner_link, model.n_links)[:, 0]
    durations = np.append(model.demand.shot_duration_ns, 0).astype(np.float64)
    return np.asarray(lead_shots * durations[learners])
