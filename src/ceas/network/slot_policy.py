"""What a policy of the slotted network is: two compiled rules over a snapshot of the whole network.

The engine calls the rules through function pointers of fixed types, so it is compiled once, whatever the policy. A rule
allocates nothing; it has workspace in the snapshot.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from ceas.network.compilation import CompiledRule, compiled
from ceas.network.policy import key_fraction

__all__ = [
    "DISCARD",
    "PURIFY",
    "SlotPolicy",
    "SlotSnapshot",
    "request_value",
    "route_value",
    "slot_attempt_rule",
    "slot_serve_rule",
    "stored_werner",
]

# Actions of a serve rule other than to serve a request.
PURIFY, DISCARD = -2, -3


class SlotSnapshot(NamedTuple):
    """What a policy sees; all policies see the same. E links, n nodes, R requests; arrays are not to be written to.

    Args:
        slot: The present slot.
        edges: Ends of the links, `(E, 2)`.
        success_probability: Known chance of success of an attempt, `(E,)`.
        initial_werner: Werner parameter that a new pair is said to have, `(E,)`.
        decay_per_slot: Known rate at which a stored pair's Werner parameter decays, `(E,)`.
        lifetime_slots: Largest age of a new pair, `(E,)`.
        memory_slots: Memory slots of the nodes, `(n,)`.
        attempts_per_slot: Attempts that a node can make in a slot, `(n,)`.
        free_slots: Free memory slots of the nodes, `(n,)`.
        swap_success_probability: Chance that a Bell measurement succeeds.
        swap_werner: Factor of the Werner parameter of a swapped pair for each Bell measurement.
        stock_birth: Birth slots of the stored pairs, oldest first, `(E, room)`.
        stock_werner: Werner parameters that they are said to have had then.
        stock_expiry: Last slots in which they can be used.
        n_stored: Number of stored pairs, `(E,)`.
        queue_first: Where each link's waiting requests begin in `queue_request`, `(E + 1,)`. A request over a route
            stands in the queue of each of its links.
        queue_request: Requests that are known and wait, in the order of their numbers within a link; those with an
            arrival later than `slot` cannot be served yet.
        waiting: Requests that are known and wait, in the order of their numbers.
        route_first, route_link: Routes of the requests, as in `RequestTable`.
        arrival, deadline, n_pairs, minimum_fidelity, weight, kind, request_class, user: As in `RequestTable`, `(R,)`.
        user_value: Value delivered to each user so far.
        user_mark: Room for what a policy remembers of a user, 0 at the start, `(users,)`; the rule may write it.
        n_attempts: Attempts of the links so far, `(E,)`.
        n_births: Successes of the links so far, `(E,)`.
        n_requested: Requests that arrived so far by link and class, `(E, classes)`, counting the first link of a route.
        draw: Seed of the policy's own random numbers in this slot.
        parameters: The policy's parameters by link, `(E, k)`.
        tables: The policy's tables, one after the other.
        used: Workspace, 0 for every pair at the start of the rule, `(E, room)`.
        work_int, work_float: Workspace of any content, each with room for four times the largest of E, n and the
            number of requests.
    """

    slot: int
    edges: npt.NDArray[np.int64]
    success_probability: npt.NDArray[np.float64]
    initial_werner: npt.NDArray[np.float64]
    decay_per_slot: npt.NDArray[np.float64]
    lifetime_slots: npt.NDArray[np.int64]
    memory_slots: npt.NDArray[np.int64]
    attempts_per_slot: npt.NDArray[np.int64]
    free_slots: npt.NDArray[np.int64]
    swap_success_probability: float
    swap_werner: float
    stock_birth: npt.NDArray[np.int64]
    stock_werner: npt.NDArray[np.float64]
    stock_expiry: npt.NDArray[np.int64]
    n_stored: npt.NDArray[np.int64]
    queue_first: npt.NDArray[np.int64]
    queue_request: npt.NDArray[np.int64]
    waiting: npt.NDArray[np.int64]
    route_first: npt.NDArray[np.int64]
    route_link: npt.NDArray[np.int64]
    arrival: npt.NDArray[np.int64]
    deadline: npt.NDArray[np.int64]
    n_pairs: npt.NDArray[np.int64]
    minimum_fidelity: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int64]
    request_class: npt.NDArray[np.int64]
    user: npt.NDArray[np.int64]
    user_value: npt.NDArray[np.float64]
    user_mark: npt.NDArray[np.float64]
    n_attempts: npt.NDArray[np.int64]
    n_births: npt.NDArray[np.int64]
    n_requested: npt.NDArray[np.int64]
    draw: np.int64
    parameters: npt.NDArray[np.float64]
    tables: npt.NDArray[np.float64]
    used: npt.NDArray[np.int64]
    work_int: npt.NDArray[np.int64]
    work_float: npt.NDArray[np.float64]


_KNOWN: dict[Any, Any] = {int: types.int64, np.int64: types.int64, float: types.float64}
_TWO_DIMENSIONAL = {"edges", "stock_birth", "stock_werner", "stock_expiry", "n_requested", "parameters", "used"}
_SCALAR_OF = {npt.NDArray[np.int64]: types.int64, npt.NDArray[np.float64]: types.float64}


def _numba_type(name: str, annotation: Any) -> Any:
    if annotation in _KNOWN:
        return _KNOWN[annotation]
    return types.Array(_SCALAR_OF[annotation], 2 if name in _TWO_DIMENSIONAL else 1, "C")


_NAMED: Callable[..., Any] = types.NamedTuple
SNAPSHOT_TYPE = _NAMED([_numba_type(*item) for item in SlotSnapshot.__annotations__.items()], SlotSnapshot)
_INTS = types.Array(types.int64, 1, "C")
_FLOATS = types.Array(types.float64, 1, "C")
ATTEMPT_SIGNATURE = types.void(SNAPSHOT_TYPE, _FLOATS, _INTS)
SERVE_SIGNATURE = types.int64(SNAPSHOT_TYPE, _INTS, types.Array(types.int64, 2, "C"))


def slot_attempt_rule(function: Callable[..., None]) -> CompiledRule:
    """Compile a rule that scores the links' attempts.

    The rule is called as `rule(snapshot, score, replace)` and fills both arrays, `(E,)`: `score` with how much it wants
    the attempt, 0 or less for not at all; `replace` with -1 to put a new pair into free memory slots, or with the
    position of the stored pair that it takes the place of. Attempts are granted from the highest score down, at a tie
    from the lowest link up.
    """
    return CompiledRule(function, ATTEMPT_SIGNATURE)


def slot_serve_rule(function: Callable[..., int]) -> CompiledRule:
    """Compile a rule that says which requests are served with which pairs.

    The rule is called as `rule(snapshot, action, pairs)`; it writes one row for each action and returns the number of
    rows. `action[k] = request` serves a request: `pairs[k]` holds the positions of its pairs in the stock, for a
    request over one link its `n_pairs` positions, for a route one position a link, in the order of the route.
    `action[k] = PURIFY`: `pairs[k, :3]` are a link, the position of the pair that is kept and of the one that is given
    up; the kept pair can be used again from the next slot. `action[k] = DISCARD`: `pairs[k, :2]` are a link and a
    position. Positions are those of the snapshot, and no pair may be named twice. There is room for one row a request
    and place of a pair.
    """
    return CompiledRule(function, SERVE_SIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPolicy:
    """A policy, bound to a slotted network and its forecasts.

    Attributes:
        name: Its name.
        attempt: Compiled by `slot_attempt_rule`.
        serve: Compiled by `slot_serve_rule`.
        parameters: What the rules see as `snapshot.parameters`, `(E, k)`.
        tables: What the rules see as `snapshot.tables`.
    """

    name: str
    attempt: CompiledRule
    serve: CompiledRule
    parameters: npt.NDArray[np.float64]
    tables: npt.NDArray[np.float64]


@compiled
def stored_werner(snapshot: SlotSnapshot, link: int, position: int) -> float:
    """Return the Werner parameter that a stored pair is said to have now."""
    age = snapshot.slot - snapshot.stock_birth[link, position]
    werner: float = snapshot.stock_werner[link, position] * math.exp(-snapshot.decay_per_slot[link] * age)
    return werner


@compiled
def request_value(kind: int, weight: float, minimum_fidelity: float, werner: float) -> float:
    """Return what a pair of a Werner parameter is worth to a request for one pair; 0 below its minimum fidelity.

    The kinds are those of `ceas.network.slots.ValueKind`.
    """
    if 0.25 + 0.75 * werner < minimum_fidelity - 1e-12:
        return 0.0
    if kind == 0:
        return weight
    if kind == 1:
        return weight * werner * werner
    worth: float = weight * key_fraction(werner)
    return worth


@compiled
def route_value(snapshot: SlotSnapshot, request: int, positions: npt.NDArray[np.int64]) -> float:
    """Return what a request gains from the stored pairs at these positions of its link or links, if swaps succeed."""
    first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
    kind, weight, minimum = snapshot.kind[request], snapshot.weight[request], snapshot.minimum_fidelity[request]
    if end - first > 1:
        werner = snapshot.swap_werner ** (end - first - 1)
        for hop in range(end - first):
            werner *= stored_werner(snapshot, snapshot.route_link[first + hop], positions[hop])
        return request_value(kind, weight, minimum, werner)
    value: float = weight
    for at in range(snapshot.n_pairs[request]):
        werner = stored_werner(snapshot, snapshot.route_link[first], positions[at])
        value *= request_value(kind, 1.0, minimum, werner)
    return value
