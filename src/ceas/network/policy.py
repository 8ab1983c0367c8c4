"""What a scheduling policy is: compiled rules and a row of parameters per link.

Two rules, `serve` and `attempt`, decide about a link; three more matter only on routes and where nodes limit attempts.

The kernel calls the rules through a function pointer of one fixed type. So the kernel is compiled once, whatever the
policy, and a user's own rule is decorated with `serve_rule`, `attempt_rule`, ... and passed in like the built-in ones.
A rule is a pure function of its view; called from Python, it runs as plain Python.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import from_dtype, types

from ceas.network.compilation import CompiledRule, compiled, outlined

__all__ = [
    "ASK_DTYPE",
    "KEY_REQUEST",
    "NEVER",
    "WAIT",
    "LinkView",
    "Policy",
    "SwapView",
    "attempt_always",
    "attempt_on_request",
    "attempt_rule",
    "entropy_bits",
    "key_fraction",
    "key_fraction_at",
    "key_fraction_of_bases",
    "longest_waiting",
    "priority_rule",
    "route_rule",
    "serve_first_ask",
    "serve_first_ask_with_oldest",
    "serve_no_ask",
    "serve_rule",
    "shot_factor_at",
    "swap_asap",
    "swap_nested",
    "swap_rule",
    "swap_when_complete",
    "werner_at",
]

# A time that no simulation reaches.
NEVER = 1 << 62
# Answers of a serve rule: wait; 0 and 1 are the learners at the link; 2 + k is waiting key request k.
WAIT = -1
KEY_REQUEST = 2


class LinkView(NamedTuple):
    """What a policy sees of a link when it decides. Every policy sees the same.

    Args:
        link: Index of the link.
        now_ns: Present time (ns).
        round_start_ns: Start of the present round (ns).
        round_end_ns: End of the present round (ns).
        learning_end_ns: End of its learning window (ns).
        qpu_ready_ns: For the two learners of the link the time since, or from, which the QPU is ready for a shot;
            it waits if this is at most now, `NEVER` if it begins no more shots in this round or there is no learner.
        qpu_close_ns: Shots of the two learners must begin before this time in the present round (ns).
        shot_duration_ns: Time from the start of a shot to the next for the two learners (ns), 0 for none.
        stock_birth_ns: Birth times of the stored pairs, oldest first (ns).
        key_arrival_ns: Arrival times of the waiting key requests, oldest first (ns).
        free_slots: Free memory slots, the lesser of the two ends.
        capacity: Memory slots in all, the lesser of the two ends.
        initial_werner: Werner parameter of a new pair.
        decay_per_ns: Rate at which a stored pair's Werner parameter decays (1/ns).
        lifetime_ns: Age at which a stored pair expires (ns).
        pair_period_ns: Mean time between new pairs while the link attempts (ns).
        key_period_ns: Time between key requests (ns), infinite if there are none.
        key_deadline_ns: Key requests are dropped this long after their arrival (ns).
        pairs_per_shot: Pairs that a shot takes.
        learning_value: Value of a shot through perfect pairs.
        key_value: Value of a secret bit.
        test_value: Value of a tested pair.
        test_share: Probability that a use becomes a test.
        draw: Random integer in [0, 2^63), new at every call.
        parameters: The policy's parameters for this link.
        is_bell_diagonal: Whether pairs have the three correlators below; `initial_werner` and `decay_per_ns` are then
            their means. `shot_factor_at` and `key_fraction_at` hold for both.
        initial_x: Correlator c_x of a new pair.
        initial_y: Correlator c_y.
        initial_z: Correlator c_z.
        decay_x_per_ns: Rate at which a stored pair's c_x decays (1/ns).
        decay_y_per_ns: Rate for c_y.
        decay_z_per_ns: Rate for c_z.
        weight_x: Weight of c_x^2 in a shot's value.
        weight_y: Weight of c_y^2.
        weight_z: Weight of c_z^2.
    """

    link: int
    now_ns: int
    round_start_ns: int
    round_end_ns: int
    learning_end_ns: int
    qpu_ready_ns: tuple[int, int]
    qpu_close_ns: tuple[int, int]
    shot_duration_ns: tuple[int, int]
    stock_birth_ns: npt.NDArray[np.int64]
    key_arrival_ns: npt.NDArray[np.int64]
    free_slots: int
    capacity: int
    initial_werner: float
    decay_per_ns: float
    lifetime_ns: int
    pair_period_ns: float
    key_period_ns: float
    key_deadline_ns: int
    pairs_per_shot: int
    learning_value: float
    key_value: float
    test_value: float
    test_share: float
    draw: np.int64
    parameters: npt.NDArray[np.float64]
    is_bell_diagonal: bool = False
    initial_x: float = 1.0
    initial_y: float = 1.0
    initial_z: float = 1.0
    decay_x_per_ns: float = 0.0
    decay_y_per_ns: float = 0.0
    decay_z_per_ns: float = 0.0
    weight_x: float = 1.0 / 3.0
    weight_y: float = 1.0 / 3.0
    weight_z: float = 1.0 / 3.0


# A route request that asks a link for a pair. `request` and `hop` are the kernel's own.
ASK_DTYPE = np.dtype(
    [
        ("arrival_ns", np.int64),
        ("deadline_ns", np.int64),
        ("weight", np.float64),
        ("minimum_fidelity", np.float64),
        ("use_class", np.int64),
        ("n_hops", np.int64),
        ("request", np.int64),
        ("hop", np.int64),
    ],
    align=True,
)


class SwapView(NamedTuple):
    """What a node inside a route knows when it decides whether to join its two pairs of one request.

    Args:
        n_hops: Links of the route.
        position: Place of the node on it, 1 to `n_hops - 1`.
        left_hops: Links that its left pair spans, as far as it has heard.
        right_hops: Links that its right pair spans, as far as it has heard.
        known_hops: Links of the route that have made their pair for this request, as far as it has heard.
        left_birth_ns: Birth of the pair on the link to the left (ns).
        right_birth_ns: Birth of the pair on the link to the right (ns).
        now_ns: Present time (ns).
        arrival_ns: Arrival of the request (ns).
        deadline_ns: Its deadline (ns).
    """

    n_hops: int
    position: int
    left_hops: int
    right_hops: int
    known_hops: int
    left_birth_ns: int
    right_birth_ns: int
    now_ns: int
    arrival_ns: int
    deadline_ns: int


_INT_ROW = types.Array(types.int64, 1, "C")
_PAIR: Callable[..., Any] = types.UniTuple
_NUMBA_TYPE = {
    int: types.int64,
    np.int64: types.int64,
    float: types.float64,
    bool: types.boolean,
    # Two numbers in place: the descriptor of an array is as long as seven, and every call of a rule copies the view.
    tuple[int, int]: _PAIR(types.int64, 2),
    npt.NDArray[np.int64]: _INT_ROW,
    npt.NDArray[np.float64]: types.Array(types.float64, 1, "C"),
}
_VIEW: Callable[..., Any] = types.NamedTuple
VIEW_TYPE = _VIEW([_NUMBA_TYPE[kind] for kind in LinkView.__annotations__.values()], LinkView)
SERVE_SIGNATURE = _PAIR(types.int64, 2)(VIEW_TYPE, _INT_ROW)
ATTEMPT_SIGNATURE = types.int64(VIEW_TYPE)
_ASK_ROW = types.Array(from_dtype(ASK_DTYPE), 1, "C")
ROUTE_SIGNATURE = _PAIR(types.int64, 2)(VIEW_TYPE, _ASK_ROW)
_UNIFORM_VIEW: Callable[..., Any] = types.NamedUniTuple
SWAP_SIGNATURE = types.boolean(_UNIFORM_VIEW(types.int64, len(SwapView.__annotations__), SwapView))
PRIORITY_SIGNATURE = types.float64(VIEW_TYPE, types.int64)


def serve_rule(function: Callable[[LinkView, npt.NDArray[np.int64]], tuple[int, int]]) -> CompiledRule:
    """Compile a rule that says which request to serve now and with which pairs.

    The rule gets a view and an integer array to fill, and returns `(request, wake_ns)`. To serve, it writes the
    positions of the pairs in `stock_birth_ns` into the array (`pairs_per_shot` for a shot, one for a key) and returns
    0 or 1 for a learner or `KEY_REQUEST + k` for waiting key request k; it is then called again until it waits. To
    wait, it returns `WAIT`, with a later time at which it wants to be asked again (or `NEVER`). It is also asked again
    after every new pair, new request and end of a learner's window.

    A rule allocates no arrays.
    """
    return CompiledRule(function, SERVE_SIGNATURE)


def attempt_rule(function: Callable[[LinkView], int]) -> CompiledRule:
    """Compile a rule that says whether a link attempts, and where a new pair goes.

    The rule returns `len(stock_birth_ns)` to store a new pair in free memory slots (while there are none, no attempt is
    made), a smaller position to let it take the place of the stored pair there, which is discarded, or -1 to make no
    attempt. It is asked at the instant of a success that it could not foresee and that its view does not show: the same
    as to decide before every attempt whether to make it.
    """
    return CompiledRule(function, ATTEMPT_SIGNATURE)


def route_rule(function: Callable[[LinkView, npt.NDArray[Any]], tuple[int, int]]) -> CompiledRule:
    """Compile a rule that says which route request gets which pair of a link.

    The rule gets a view of the link and the requests that ask for its pairs, oldest first, as an array of `ASK_DTYPE`
    (read it as `asks[k]["weight"]`). It returns `(k, position)` to give request k the pair at that position of
    `stock_birth_ns`, and is called again until it waits: `(WAIT, wake_ns)`. It is asked after every event of the link,
    and when a request begins to ask.
    """
    return CompiledRule(function, ROUTE_SIGNATURE)


def swap_rule(function: Callable[[SwapView], bool]) -> CompiledRule:
    """Compile a rule that says whether a node joins its two pairs of a request now.

    It is asked when the second pair is there and whenever news of the other pairs of the request arrive.
    """
    return CompiledRule(function, SWAP_SIGNATURE)


def priority_rule(function: Callable[[LinkView, int], float]) -> CompiledRule:
    """Compile a rule that says how urgently a link that wants to attempt needs one of a node's communication qubits.

    It gets the view and the time since which the link has wanted one; the highest priority goes first.
    """
    return CompiledRule(function, PRIORITY_SIGNATURE)


@attempt_rule
def attempt_on_request(view: LinkView) -> int:  # noqa: ARG001
    """Attempt for nobody; links still attempt for route requests that ask for more pairs than are stored."""
    return -1


@route_rule
def serve_first_ask(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:  # noqa: ARG001
    """Give the oldest request the freshest pair."""
    return 0, len(view.stock_birth_ns) - 1


@route_rule
def serve_first_ask_with_oldest(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:  # noqa: ARG001
    """Give the oldest request the oldest pair."""
    return 0, 0


@route_rule
def serve_no_ask(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:  # noqa: ARG001
    """Leave routes without pairs."""
    return WAIT, NEVER


@swap_rule
def swap_asap(view: SwapView) -> bool:  # noqa: ARG001
    """Swap as soon as both pairs are there."""
    return True


@swap_rule
def swap_nested(view: SwapView) -> bool:
    """Swap in doubling order: first the odd nodes, then those whose position is divided by two but not by four, ..."""
    span = view.position & -view.position
    return view.left_hops == span and view.right_hops >= min(span, view.n_hops - view.position)


@swap_rule
def swap_when_complete(view: SwapView) -> bool:
    """Hold all pairs until every link of the route is known to have made its own."""
    return view.known_hops == view.n_hops


@priority_rule
def longest_waiting(view: LinkView, since_ns: int) -> float:
    """Prefer the link that has waited longest."""
    return float(view.now_ns - since_ns)


@attempt_rule
def attempt_always(view: LinkView) -> int:
    """Attempt while there is free memory."""
    return len(view.stock_birth_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A scheduling policy, bound to a network model.

    Args:
        name: Its name.
        serve: Compiled by `serve_rule`.
        attempt: Compiled by `attempt_rule`.
        parameters: What the rules see as `view.parameters`, shape `(n_links, n_parameters)`, float64.
        route: Compiled by `route_rule`.
        swap: Compiled by `swap_rule`.
        priority: Compiled by `priority_rule`.
        routes_first: Whether `route` is asked before `serve`; otherwise routes get what `serve` leaves.
    """

    name: str
    serve: CompiledRule
    attempt: CompiledRule
    parameters: npt.NDArray[np.float64]
    route: CompiledRule = serve_first_ask
    swap: CompiledRule = swap_asap
    priority: CompiledRule = longest_waiting
    routes_first: bool = False


@compiled
def werner_at(initial_werner: float, decay_per_ns: float, age_ns: float) -> float:
    """Return the Werner parameter, or one correlator, of a pair of the given age (ns)."""
    return initial_werner * math.exp(-decay_per_ns * age_ns)


@compiled
def entropy_bits(probability: float) -> float:
    """Return the binary entropy h, 0 outside (0, 1): `ceas.physics.binary_entropy`, compiled, for keys of all kinds."""
    if not 0.0 < probability < 1.0:
        return 0.0
    return -(probability * math.log(probability) + (1.0 - probability) * math.log1p(-probability)) / math.log(2.0)


@compiled
def key_fraction(werner: float) -> float:
    """Return the asymptotic BBM92 secret bits per pair, max(0, 1 - 2 h(Q)) with Q = (1 - w) / 2, compiled.

    The same as `ceas.physics.secret_key_fraction`, which tests hold it against.
    """
    return max(0.0, 1.0 - 2.0 * entropy_bits(0.5 * (1.0 - werner)))


@compiled
def key_fraction_of_bases(x: float, z: float) -> float:
    """Return the asymptotic BBM92 secret bits per pair, max(0, 1 - h((1 - x)/2) - h((1 - z)/2)), compiled.

    The same as `ceas.physics.keys.bbm92_key_fraction`, which tests hold it against.
    """
    return max(1.0 - entropy_bits(0.5 * (1.0 - x)) - entropy_bits(0.5 * (1.0 - z)), 0.0)


@outlined
def _decayed_square(weight: float, correlator: float, decay_per_ns: float, age_ns: float) -> float:
    return weight * werner_at(correlator, decay_per_ns, age_ns) ** 2


@outlined
def _bell_diagonal_key_fraction(
    x: float, z: float, decay_x_per_ns: float, decay_z_per_ns: float, age_ns: float
) -> float:
    return key_fraction_of_bases(werner_at(x, decay_x_per_ns, age_ns), werner_at(z, decay_z_per_ns, age_ns))


@compiled
def shot_factor_at(view: LinkView, age_ns: float) -> float:
    """Return the factor of a shot's value by one pair of the given age: w^2, or the weighted mean of c^2."""
    if view.is_bell_diagonal:
        x = _decayed_square(view.weight_x, view.initial_x, view.decay_x_per_ns, float(age_ns))
        y = _decayed_square(view.weight_y, view.initial_y, view.decay_y_per_ns, float(age_ns))
        return x + y + _decayed_square(view.weight_z, view.initial_z, view.decay_z_per_ns, float(age_ns))
    werner = werner_at(view.initial_werner, view.decay_per_ns, age_ns)
    return werner * werner


@compiled
def key_fraction_at(view: LinkView, age_ns: float) -> float:
    """Return the secret bits of a pair of the given age."""
    if view.is_bell_diagonal:
        return _bell_diagonal_key_fraction(
            view.initial_x, view.initial_z, view.decay_x_per_ns, view.decay_z_per_ns, float(age_ns)
        )
    return key_fraction(werner_at(view.initial_werner, view.decay_per_ns, age_ns))
