"""One link with a few memory slots, solved exactly: whom to serve with which pair, and when to make a new one.

Order within a time slot, which fixes every figure:

1. every stored pair ages by one slot, and those older than the lifetime expire;
2. one attempt is made or refused; if it succeeds, a pair of age 0 takes a free slot, or the place of the oldest pair;
3. at most one request arrives, of class c with probability q_c; it is served with one stored pair (also one born in
   this slot) or refused, and is lost if not served.

The reward is the value of the served pairs, less `attempt_price` per attempt and `memory_price` per occupied slot: one
that still holds a pair after step 1 or that is kept free for the attempt of step 2.

With `age_bin` slots to a bin, one clock for all pairs ticks in each slot with probability 1 / age_bin and moves every
pair to its next bin, which stands for its first age. The order of the pairs is kept, and mean ages are exact; the
lifetime is spread around its mean by the factor 1 ± 1 / sqrt(number of bins). For `age_bin` 1 the model is exact.

The solver is relative value iteration, compiled. Each sweep applies the Bellman operator T to the bias h; the gain of
the best policy lies between the least and the largest element of T h - h (Odoni, Operations Research 17:857, 1969), and
iteration ends when they differ by less than the tolerance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.errors import CeasError, DomainError
from ceas.physics.domain import require_between, require_non_negative, require_positive
from ceas.scheduling.age_states import AgeStates, age_states
from ceas.scheduling.one_link_sweeps import (
    ATTEMPT_FREE,
    ATTEMPT_REPLACE,
    NO_ATTEMPT,
    SlotModel,
    iterate_bias,
    settle,
)

__all__ = [
    "OneLinkPolicy",
    "OneLinkProblem",
    "OneLinkSolution",
    "evaluate_one_link",
    "freshest_qualifying",
    "oldest_qualifying",
    "policy_from_rules",
    "solve_bias",
    "solve_one_link",
    "step_value",
    "werner_squared_value",
]

_FloatRows = npt.NDArray[np.float64]

# Gains below this share of the scale are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneLinkProblem:
    """A link with memory, its requests and the prices of what it uses.

    Args:
        success_probability: Probability p that an attempt succeeds, in [0, 1].
        memory_slots: Pairs it can store (K), at least 1.
        request_probability: Probability q_c that a request of class c arrives in a slot, shape `(n_classes,)`; they
            sum to at most 1.
        value: Value of serving class c with a pair of age bin b, shape `(n_classes, n_bins)`; 0 and -inf mean that
            such a pair does not qualify. A pair that leaves the last bin expires: a lifetime of τ slots is τ + 1 bins.
        age_bin: Slots to an age bin, at least 1.
        attempt_price: Price of an attempt, not negative.
        memory_price: Price of an occupied slot for one time slot, not negative.
        may_replace: Whether a new pair may take the place of the oldest when the memory is full.

    Raises:
        DomainError: an argument is outside its domain.
    """

    success_probability: float
    memory_slots: int
    request_probability: _FloatRows | Sequence[float]
    value: _FloatRows
    age_bin: int = 1
    attempt_price: float = 0.0
    memory_price: float = 0.0
    may_replace: bool = False

    def __post_init__(self) -> None:
        require_between("success_probability", self.success_probability, 0.0, 1.0)
        probability = require_non_negative("request_probability", self.request_probability)
        require_between("sum of request_probability", probability.sum(), 0.0, 1.0)
        value = np.array(self.value, dtype=np.float64, ndmin=2)
        if probability.ndim != 1 or value.ndim != 2 or len(value) != len(probability) or value.shape[1] == 0:
            raise DomainError(
                f"Argument `value` must have shape ({probability.size}, n_bins), but has shape {value.shape}."
            )
        value[np.isneginf(value)] = 0.0
        require_non_negative("value", value)
        require_non_negative("attempt_price", self.attempt_price)
        require_non_negative("memory_price", self.memory_price)
        if self.age_bin < 1 or self.memory_slots < 1:
            name = "age_bin" if self.age_bin < 1 else "memory_slots"
            raise DomainError(f"Argument `{name}` must be at least 1, but is {getattr(self, name)}.")
        probability = probability.copy()
        for name, array in (("request_probability", probability), ("value", value)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def states(self) -> AgeStates:
        """Age vectors of the link."""
        return age_states(self.memory_slots, self.value.shape[1])

    @property
    def scale(self) -> float:
        """Most that a slot can earn or cost; rounding and tolerance are relative to it. 1 if nothing has a value."""
        earned = float(np.dot(self.request_probability, self.value.max(axis=1)))
        return max(earned, self.attempt_price, self.memory_price) or 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneLinkPolicy:
    """A deterministic stationary policy of one link.

    Args:
        attempt: What to do in step 2 of a slot in each state, shape `(n_states,)`: 0 nothing, 1 an attempt for a free
            slot, 2 (full memory only) an attempt for the place of the oldest pair.
        serve: Position of the pair that serves a request of each class in each state, freshest 0, or -1 to refuse,
            shape `(n_classes, n_states)`.
    """

    attempt: npt.NDArray[np.int8]
    serve: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneLinkSolution:
    """What a policy of one link earns in the long run, and what each state is worth under it.

    Gain and rates are per time slot. By the envelope theorem the gain of the best policy falls with `attempt_price` at
    the rate `attempts` and with `memory_price` at the rate `occupied_slots`.

    Args:
        problem: The problem.
        policy: The policy: the best one, or the one that was evaluated.
        gain: Long-run reward per slot; middle of the bounds.
        gain_lower: Proven lower bound on it.
        gain_upper: Proven upper bound on it; for the best policy no policy earns more.
        bias: Relative value of each state at the end of a slot (h), 0 for the empty one, shape `(n_states,)`.
        bias_at_request: Relative value of each state between attempt and request, shape `(n_states,)`. So an attempt
            gains p * (bias_at_request[added] - bias_at_request), before prices, and serving gains
            value - (bias - bias[removed]).
        stationary: Probability of each state at the end of a slot, shape `(n_states,)`.
        sweeps: Sweeps of value iteration.
        attempts: Attempts.
        occupied_slots: Mean number of occupied slots, those kept for an attempt included.
        stored_pairs: Mean number of pairs at the end of a slot.
        generated: New pairs.
        replaced: Pairs replaced by a new one.
        expired: Pairs that expired.
        served: Served requests of each class, shape `(n_classes,)`.
        served_value: Value served for each class, shape `(n_classes,)`.
    """

    problem: OneLinkProblem
    policy: OneLinkPolicy
    gain: float
    gain_lower: float
    gain_upper: float
    bias: _FloatRows
    bias_at_request: _FloatRows
    stationary: _FloatRows
    sweeps: int
    attempts: float
    occupied_slots: float
    stored_pairs: float
    generated: float
    replaced: float
    expired: float
    served: _FloatRows
    served_value: _FloatRows

    @property
    def utilisation(self) -> float:
        """Share of the generated pairs that serve a request, NaN when there are none."""
        return float(self.served.sum() / self.generated) if self.generated > 0 else math.nan

    @property
    def served_fraction(self) -> _FloatRows:
        """Share of the requests of each class that is served, NaN for a class without requests, `(n_classes,)`."""
        asked = np.asarray(self.problem.request_probability)
        return np.asarray(np.divide(self.served, asked, out=np.full(len(asked), math.nan), where=asked > 0))

    @property
    def value_per_served_pair(self) -> float:
        """Mean value of a served pair, NaN when none is served."""
        total = self.served.sum()
        return float(self.served_value.sum() / total) if total > 0 else math.nan

    @property
    def attempt_price_slope(self) -> float:
        """Derivative of the gain by the attempt price."""
        return -self.attempts

    @property
    def memory_price_slope(self) -> float:
        """Derivative of the gain by the memory price."""
        return -self.occupied_slots


def step_value(*, weight: float, max_age: int, lifetime: int, age_bin: int = 1) -> _FloatRows:
    """Return the value by age bin of a class that takes pairs of age 0, ..., `max_age` alike, shape `(n_bins,)`.

    A bin that `max_age` or the lifetime cuts gets the share of its ages that qualify.

    Args:
        weight: Value of serving the class.
        max_age: Largest age that qualifies (slots), -1 if none does.
        lifetime: Largest age of a stored pair (slots).
        age_bin: Slots to a bin.
    """
    return weight * _qualifying_share(max_age, lifetime, age_bin)


def werner_squared_value(
    *,
    weight: float,
    initial_werner: float,
    memory_time: float,
    lifetime: int,
    max_age: int | None = None,
    age_bin: int = 1,
) -> _FloatRows:
    """Return `weight * W(age)^2` at the first age of each bin, shape `(n_bins,)`.

    `W(age) = initial_werner * exp(-age / memory_time)`: a mean estimated through a Werner pair shrinks by W, so the
    pair counts for W^2 as many shots as a perfect one. A bin that `max_age` or the lifetime cuts counts in part.

    Args:
        weight: Value of a perfect pair.
        initial_werner: Werner parameter of a new pair, in [0, 1].
        memory_time: Time in which W falls by the factor e (slots).
        lifetime: Largest age of a stored pair (slots).
        max_age: Largest age that qualifies (slots), -1 if none does; the lifetime if None.
        age_bin: Slots to a bin.
    """
    require_between("initial_werner", initial_werner, 0.0, 1.0)
    require_positive("memory_time", memory_time, finite=False)
    share = _qualifying_share(lifetime if max_age is None else max_age, lifetime, age_bin)
    first_age = age_bin * np.arange(len(share))
    return np.asarray(weight * share * (initial_werner * np.exp(-first_age / memory_time)) ** 2)


def _qualifying_share(max_age: int, lifetime: int, age_bin: int) -> _FloatRows:
    """Return the share of the ages of each bin that are at most `max_age`, shape `(n_bins,)`."""
    if lifetime < 0 or age_bin < 1:
        raise DomainError(
            f"Arguments `lifetime` and `age_bin` must be at least 0 and 1, but are {lifetime} and {age_bin}."
        )
    n_bins = -(-(lifetime + 1) // age_bin)
    return np.clip((min(max_age, lifetime) + 1) / age_bin - np.arange(n_bins), 0.0, 1.0)


def oldest_qualifying(problem: OneLinkProblem) -> OneLinkPolicy:
    """Return the policy that always attempts and serves every request with the oldest pair that qualifies (FIFO)."""
    qualifies = _qualifies(problem)
    last = qualifies.shape[2] - 1 - np.argmax(qualifies[:, :, ::-1], axis=2)
    return OneLinkPolicy(attempt=_always(problem), serve=np.where(qualifies.any(axis=2), last, -1).astype(np.int8))


def freshest_qualifying(problem: OneLinkProblem) -> OneLinkPolicy:
    """Return the policy that always attempts and serves every request with the freshest pair that qualifies (LIFO)."""
    qualifies = _qualifies(problem)
    first = np.argmax(qualifies, axis=2)
    return OneLinkPolicy(attempt=_always(problem), serve=np.where(qualifies.any(axis=2), first, -1).astype(np.int8))


def policy_from_rules(
    problem: OneLinkProblem,
    *,
    serve: Callable[[tuple[int, ...], int], int | None],
    attempt: Callable[[tuple[int, ...]], bool] | None = None,
) -> OneLinkPolicy:
    """Return the tables of a policy that is given by rules.

    Args:
        problem: The problem.
        serve: Gets the age bins of the stored pairs, freshest first, and the class of a request; returns the position
            of the pair that serves it, or None to refuse.
        attempt: Gets the age bins after ageing; says whether to attempt, with full memory for the place of the oldest
            pair. Always if None.

    Raises:
        DomainError: a rule names a position without a pair, or one that does not qualify.
    """
    states = problem.states
    policy = OneLinkPolicy(
        attempt=_always(problem), serve=np.full((len(problem.value), states.n_states), -1, dtype=np.int8)
    )
    for state, (row, n_stored) in enumerate(zip(states.ages.tolist(), states.n_stored.tolist(), strict=True)):
        ages = tuple(row[:n_stored])
        if attempt is not None and not attempt(ages):
            policy.attempt[state] = NO_ATTEMPT
        for request in range(len(problem.value)):
            position = serve(ages, request)
            policy.serve[request, state] = -1 if position is None else position
    return policy


def solve_one_link(
    problem: OneLinkProblem, *, tolerance: float = 1e-9, initial_bias: _FloatRows | None = None
) -> OneLinkSolution:
    """Return the policy of the highest long-run reward, with its gain, bias and rates.

    Args:
        problem: The problem.
        tolerance: Width of the bounds on the gain at which iteration ends, relative to `problem.scale`.
        initial_bias: Bias to begin from, such as the one of a similar problem with the same states, `(n_states,)`.

    Raises:
        DomainError: `initial_bias` has the wrong shape.
        CeasError: the bounds do not meet within 200,000 sweeps.
    """
    return _solution(problem, _no_policy(problem), False, tolerance, initial_bias)


def solve_bias(
    problem: OneLinkProblem, *, tolerance: float = 1e-9, initial_bias: _FloatRows | None = None
) -> tuple[_FloatRows, _FloatRows]:
    """Return `bias` and `bias_at_request` of `solve_one_link` alone, in about half its time.

    Args:
        problem: The problem.
        tolerance: As in `solve_one_link`.
        initial_bias: As in `solve_one_link`.

    Raises:
        DomainError: `initial_bias` has the wrong shape.
        CeasError: the bounds do not meet within 200,000 sweeps.
    """
    found = _iterated(problem, _no_policy(problem), False, tolerance, initial_bias)
    return found.bias, found.at_request


def evaluate_one_link(
    problem: OneLinkProblem,
    policy: OneLinkPolicy,
    *,
    tolerance: float = 1e-9,
    initial_bias: _FloatRows | None = None,
) -> OneLinkSolution:
    """Return the gain, bias and rates of the given policy; arguments as for `solve_one_link`.

    Raises:
        DomainError: the policy has the wrong shape, attempts without a place for the pair, or serves with no pair or
            with one that does not qualify.
        CeasError: the bounds do not meet, as for a policy whose gain depends on where it starts.
    """
    check_policy(problem, policy)
    return _solution(problem, policy, True, tolerance, initial_bias)


def _qualifies(problem: OneLinkProblem) -> npt.NDArray[np.bool_]:
    """Return whether the pair at each position serves each class, shape `(n_classes, n_states, memory_slots)`."""
    with_empty = np.concatenate([problem.value, np.zeros((len(problem.value), 1))], axis=1)
    return np.asarray(with_empty[:, problem.states.ages] > 0.0)


def _always(problem: OneLinkProblem) -> npt.NDArray[np.int8]:
    """Return the attempt table that attempts wherever a new pair has a place."""
    full = ATTEMPT_REPLACE if problem.may_replace else NO_ATTEMPT
    is_full = problem.states.n_stored == problem.memory_slots
    return np.where(is_full, full, ATTEMPT_FREE).astype(np.int8)


def check_policy(problem: OneLinkProblem, policy: OneLinkPolicy) -> None:
    """Raise DomainError unless the policy keeps to the problem's rules."""
    states = problem.states
    shape = (len(problem.value), states.n_states)
    if policy.serve.shape != shape or policy.attempt.shape != shape[1:]:
        raise DomainError(
            f"Argument `policy` must have tables of shape {shape} and {shape[1:]}, but they have shape "
            f"{policy.serve.shape} and {policy.attempt.shape}."
        )
    attempt = policy.attempt
    if np.any((attempt < NO_ATTEMPT) | (attempt > ATTEMPT_REPLACE)) or np.any((attempt == 1) & (states.added < 0)):
        raise DomainError("Argument `policy` must attempt only where a new pair has a place, but does elsewhere.")
    if np.any(attempt == ATTEMPT_REPLACE) and not problem.may_replace:
        raise DomainError("Argument `policy` must not replace pairs where `may_replace` is False, but does.")
    # Otherwise an attempt could use a free slot without its price, and no bound of `solve_one_link` would hold for it.
    if np.any((attempt == ATTEMPT_REPLACE) & (states.n_stored < problem.memory_slots)):
        raise DomainError("Argument `policy` must replace pairs only where the memory is full, but does elsewhere.")
    serve = policy.serve.astype(np.int64)
    in_range = (serve >= -1) & (serve < problem.memory_slots)
    qualifies = np.take_along_axis(_qualifies(problem), np.clip(serve, 0, problem.memory_slots - 1)[:, :, None], axis=2)
    if not np.all(in_range & ((serve == -1) | qualifies[:, :, 0])):
        raise DomainError("Argument `policy` must serve with pairs that qualify, but serves with others.")


def _no_policy(problem: OneLinkProblem) -> OneLinkPolicy:
    n_states = problem.states.n_states
    return OneLinkPolicy(attempt=np.zeros(n_states, np.int8), serve=np.zeros((len(problem.value), n_states), np.int8))


class _Iterated(NamedTuple):
    """What iteration ends with; both biases are relative to the empty stock."""

    policy: OneLinkPolicy
    low: float
    high: float
    bias: _FloatRows
    at_request: _FloatRows
    sweeps: int


def _iterated(
    problem: OneLinkProblem,
    policy: OneLinkPolicy,
    is_fixed: bool,
    tolerance: float,
    initial_bias: _FloatRows | None,
) -> _Iterated:
    states = problem.states
    bias = np.zeros(states.n_states) if initial_bias is None else np.array(initial_bias, dtype=np.float64)
    if bias.shape != (states.n_states,):
        raise DomainError(f"Argument `initial_bias` must have shape ({states.n_states},), but has shape {bias.shape}.")
    expected, before = np.empty_like(bias), np.empty_like(bias)
    scale = problem.scale
    model = slot_model(problem, policy, is_fixed)
    low, high, sweeps = iterate_bias(model, bias, expected, before, tolerance * scale)
    if not high - low <= tolerance * scale:
        raise CeasError(
            f"the gain of one link with {states.n_states} states lies in [{low:.9g}, {high:.9g}] after {sweeps} sweeps "
            f"and not within {tolerance * scale:.3g}; a larger tolerance or an aperiodic policy is needed"
        )
    best = OneLinkPolicy(attempt=model.attempt, serve=model.serve)
    return _Iterated(best, low, high, bias - bias[states.empty], expected - bias[states.empty], sweeps)


def _solution(
    problem: OneLinkProblem,
    policy: OneLinkPolicy,
    is_fixed: bool,
    tolerance: float,
    initial_bias: _FloatRows | None,
) -> OneLinkSolution:
    found = _iterated(problem, policy, is_fixed, tolerance, initial_bias)
    return OneLinkSolution(
        problem=problem,
        policy=found.policy,
        gain=0.5 * (found.low + found.high),
        gain_lower=found.low,
        gain_upper=found.high,
        bias=found.bias,
        bias_at_request=found.at_request,
        sweeps=found.sweeps,
        **_rates(problem, found.policy),
    )


def slot_model(problem: OneLinkProblem, policy: OneLinkPolicy, is_fixed: bool) -> SlotModel:
    """Return the problem as compiled code takes it, with a copy of the policy, which the sweeps overwrite."""
    states = problem.states
    return SlotModel(
        success=float(problem.success_probability),
        attempt_price=float(problem.attempt_price),
        memory_price=float(problem.memory_price),
        tick=1.0 / problem.age_bin,
        margin=_ROUNDING * problem.scale,
        may_replace=bool(problem.may_replace),
        is_fixed=is_fixed,
        probability=np.asarray(problem.request_probability),
        value=problem.value,
        ages=states.ages,
        n_stored=states.n_stored,
        aged=states.aged,
        added=states.added,
        replaced=states.replaced,
        removed=states.removed,
        attempt=policy.attempt.astype(np.int8),
        serve=policy.serve.astype(np.int8),
    )


def _rates(problem: OneLinkProblem, policy: OneLinkPolicy) -> dict[str, Any]:
    """Return the stationary distribution of a policy and the rates that follow from it."""
    states = problem.states
    distribution = np.zeros(states.n_states)
    distribution[states.empty] = 1.0
    after_ageing, at_request, at_end = (np.empty(states.n_states) for _ in range(3))
    success, tick = float(problem.success_probability), 1.0 / problem.age_bin
    asked = np.asarray(problem.request_probability)
    change = settle(slot_model(problem, policy, True), distribution, after_ageing, at_request, at_end)
    if not change < 1e-9:
        raise CeasError(f"the distribution over {states.n_states} states of one link still moves by {change:.3g}")
    attempts = after_ageing * (policy.attempt > NO_ATTEMPT)
    reserved = float(after_ageing @ (policy.attempt == ATTEMPT_FREE))
    serves = policy.serve >= 0
    served_bin = np.take_along_axis(states.ages, np.maximum(policy.serve.T, 0).astype(np.int64), axis=1).T
    with_empty = np.concatenate([problem.value, np.zeros((len(asked), 1))], axis=1)
    worth = np.where(serves, np.take_along_axis(with_empty, served_bin, axis=1), 0.0)
    in_last_bin = (states.ages == states.n_bins - 1).sum(axis=1)
    return {
        "stationary": distribution,
        "attempts": float(attempts.sum()),
        "occupied_slots": float(after_ageing @ states.n_stored) + reserved,
        "stored_pairs": float(distribution @ states.n_stored),
        "generated": success * float(attempts.sum()),
        "replaced": success * float(attempts @ ((policy.attempt == ATTEMPT_REPLACE) & (states.n_stored > 0))),
        "expired": tick * float(distribution @ in_last_bin),
        "served": asked * (serves @ at_request),
        "served_value": asked * (worth @ at_request),
    }
