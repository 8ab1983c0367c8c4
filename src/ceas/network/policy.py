"""What a scheduling policy is: two compiled rules and a row of parameters per link.

The kernel calls the rules through a function pointer of one fixed type. So the kernel is compiled once, whatever the
policy, and a user's own rule is decorated with `serve_rule` or `attempt_rule` and passed in like the built-in ones.
A rule is a pure function of its view; called from Python, it runs as plain Python.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from ceas.network.compilation import CompiledRule, compiled

__all__ = [
    "KEY_REQUEST",
    "NEVER",
    "WAIT",
    "LinkView",
    "Policy",
    "attempt_always",
    "attempt_rule",
    "key_fraction",
    "serve_rule",
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
    """

    link: int
    now_ns: int
    round_start_ns: int
    round_end_ns: int
    learning_end_ns: int
    qpu_ready_ns: npt.NDArray[np.int64]
    qpu_close_ns: npt.NDArray[np.int64]
    shot_duration_ns: npt.NDArray[np.int64]
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


_INT_ROW = types.Array(types.int64, 1, "C")
_NUMBA_TYPE = {
    int: types.int64,
    np.int64: types.int64,
    float: types.float64,
    npt.NDArray[np.int64]: _INT_ROW,
    npt.NDArray[np.float64]: types.Array(types.float64, 1, "C"),
}
_VIEW: Callable[..., Any] = types.NamedTuple
_PAIR: Callable[..., Any] = types.UniTuple
VIEW_TYPE = _VIEW([_NUMBA_TYPE[kind] for kind in LinkView.__annotations__.values()], LinkView)
SERVE_SIGNATURE = _PAIR(types.int64, 2)(VIEW_TYPE, _INT_ROW)
ATTEMPT_SIGNATURE = types.int64(VIEW_TYPE)


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
    """

    name: str
    serve: CompiledRule
    attempt: CompiledRule
    parameters: npt.NDArray[np.float64]


@compiled
def werner_at(initial_werner: float, decay_per_ns: float, age_ns: int) -> float:
    """Return the Werner parameter of a pair of the given age."""
    return initial_werner * math.exp(-decay_per_ns * age_ns)


@compiled
def key_fraction(werner: float) -> float:
    """Return the asymptotic BBM92 secret bits per pair, max(0, 1 - 2 h(Q)) with Q = (1 - w) / 2, compiled.

    The same as `ceas.physics.secret_key_fraction`, which tests hold it against.
    """
    error = 0.5 * (1.0 - werner)
    if error <= 0.0:
        return 1.0
    entropy = -(error * math.log(error) + (1.0 - error) * math.log1p(-error)) / math.log(2.0)
    return max(0.0, 1.0 - 2.0 * entropy)
