"""One link with a few memory slots, solved exactly: whom to serve with which pair, and when to make a new one.

Order within a time slot, which fixes every figure:

1. every stored pair ages by one slot, and those older than the lifetime expire;
2. one attempt is made or refused; if it succeeds, a pair of age 0 takes a free slot, or the place of the oldest pair;
3. at most one request arrives, of class c with probability q_c; it is served with one stored pair (also one born in
   this slot) or refused, and is lost if not served.

The reward is the value of the served pairs, less `attempt_price` per attempt and `memory_price` per occupied slot: one
that still holds a pair after step 1 or that is kept free for the attempt of step 2.

With `age_bin` slots to a bin, one clock for all pairs ticks in each slot with probability 1 / age_bin and moves every
pair to its next bin. The order of the pairs is kept, and mean ages are exact; the lifetime is spread around its mean by
the factor 1 ± 1 / sqrt(number of bins). For `age_bin` 1 the model is exact.

The solver is relative value iteration, compiled. Each sweep applies the Bellman operator T to the bias h; the gain of
the best policy lies between the least and the largest element of T h - h (Odoni, Operations Research 17:857, 1969), and
iteration ends when they differ by less than the tolerance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import CeasError, DomainError
from ceas.network.compilation import compiled
from ceas.physics.domain import require_between, require_non_negative, require_positive
from ceas.scheduling.age_states import AgeStates, age_states

__all__ = [
    "OneLinkPolicy",
    "OneLinkProblem",
    "OneLinkSolution",
    "evaluate_one_link",
    "freshest_qualifying",
    "oldest_qualifying",
    "policy_from_rules",
    "solve_one_link",
    "step_value",
    "werner_squared_value",
]

_FloatRows = npt.NDArray[np.float64]
_IntRows = npt.NDArray[np.int64]

# Answers for the attempt in a state.
NO_ATTEMPT, ATTEMPT_FREE, ATTEMPT_REPLACE = 0, 1, 2
_MOST_SWEEPS = 200_000
# Sweeps after which a span that has not shrunk to a tenth shows a chain that is periodic, or almost so.
_PATIENCE = 2_000
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
        """Most that a slot can earn; rounding and tolerance are relative to it."""
        return max(float(np.dot(self.request_probability, self.value.max(axis=1))), 1e-300)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneLinkPolicy:
    """A deterministic stationary policy of one link.

    Args:
        attempt: What to do in step 2 of a slot in each state, shape `(n_states,)`: 0 nothing, 1 an attempt for a free
            slot, 2 an attempt for the place of the oldest pair.
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
        return np.divide(self.served, asked, out=np.full(len(asked), math.nan), where=asked > 0)

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

    A bin that `max_age` cuts gets the share of its ages that qualify.

    Args:
        weight: Value of serving the class.
        max_age: Largest age that qualifies (slots).
        lifetime: Largest age of a stored pair (slots).
        age_bin: Slots to a bin.
    """
    ages = np.arange(lifetime + 1)
    return _binned(np.where(ages <= max_age, weight, 0.0), age_bin)


def werner_squared_value(
    *,
    weight: float,
    initial_werner: float,
    memory_time: float,
    lifetime: int,
    max_age: int | None = None,
    age_bin: int = 1,
) -> _FloatRows:
    """Return `weight * W(age)^2` by age bin, averaged over the bin, shape `(n_bins,)`.

    `W(age) = initial_werner * exp(-age / memory_time)`: a mean estimated through a Werner pair shrinks by W, so the
    pair counts for W^2 as many shots as a perfect one.

    Args:
        weight: Value of a perfect pair.
        initial_werner: Werner parameter of a new pair, in [0, 1].
        memory_time: Time in which W falls by the factor e (slots).
        lifetime: Largest age of a stored pair (slots).
        max_age: Largest age that qualifies (slots); the lifetime if None.
        age_bin: Slots to a bin.
    """
    require_between("initial_werner", initial_werner, 0.0, 1.0)
    require_positive("memory_time", memory_time, finite=False)
    ages = np.arange(lifetime + 1)
    value = weight * (initial_werner * np.exp(-ages / memory_time)) ** 2
    return _binned(np.where(ages <= (lifetime if max_age is None else max_age), value, 0.0), age_bin)


def _binned(value: _FloatRows, age_bin: int) -> _FloatRows:
    """Return the mean of the value over each bin; ages beyond the lifetime count as 0."""
    if len(value) == 0:
        raise DomainError("Argument `lifetime` must not be negative.")
    n_bins = -(-len(value) // age_bin)
    padded = np.zeros(n_bins * age_bin)
    padded[: len(value)] = value
    return np.asarray(padded.reshape(n_bins, age_bin).mean(axis=1))


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
        tolerance: Width of the bounds on the gain at which iteration ends, as a share of the most a slot can earn.
        initial_bias: Bias to begin from, such as the one of a similar problem with the same states, `(n_states,)`.

    Raises:
        DomainError: `initial_bias` has the wrong shape.
        CeasError: the bounds do not meet within 200,000 sweeps.
    """
    states = problem.states
    no_policy = OneLinkPolicy(
        attempt=np.zeros(states.n_states, np.int8), serve=np.zeros((len(problem.value), states.n_states), np.int8)
    )
    return _solution(problem, no_policy, False, tolerance, initial_bias)


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
    _check_policy(problem, policy)
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


def _check_policy(problem: OneLinkProblem, policy: OneLinkPolicy) -> None:
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
    serve = policy.serve.astype(np.int64)
    in_range = (serve >= -1) & (serve < problem.memory_slots)
    qualifies = np.take_along_axis(_qualifies(problem), np.clip(serve, 0, problem.memory_slots - 1)[:, :, None], axis=2)
    if not np.all(in_range & ((serve == -1) | qualifies[:, :, 0])):
        raise DomainError("Argument `policy` must serve with pairs that qualify, but serves with others.")


@compiled
def _request_values(
    bias: _FloatRows,
    probability: _FloatRows,
    value: _FloatRows,
    ages: _IntRows,
    n_stored: _IntRows,
    removed: _IntRows,
    margin: float,
    is_fixed: bool,
    serve: npt.NDArray[np.int8],
    expected: _FloatRows,
) -> None:
    """Fill `expected` with the mean value of each state before the request, and `serve` with the best answers.

    Of answers that are equal up to `margin` the oldest pair is taken, and refusing comes last.
    """
    for state in range(len(bias)):
        here = bias[state]
        total = here
        for request in range(len(probability)):
            if is_fixed:
                best = serve[request, state]
                gain = 0.0
                if best >= 0:
                    gain = value[request, ages[state, best]] + bias[removed[state, best]] - here
            else:
                best, gain = -1, -margin
                for position in range(n_stored[state] - 1, -1, -1):
                    worth = value[request, ages[state, position]]
                    if worth > 0.0:
                        worth += bias[removed[state, position]] - here
                        if worth > gain + (margin if best >= 0 else 0.0):
                            best, gain = position, worth
                if best < 0:
                    gain = 0.0
                serve[request, state] = best
            total += probability[request] * gain
        expected[state] = total


@compiled
def _attempt_values(
    expected: _FloatRows,
    success: float,
    attempt_price: float,
    memory_price: float,
    may_replace: bool,
    n_stored: _IntRows,
    added: _IntRows,
    replaced: _IntRows,
    margin: float,
    is_fixed: bool,
    attempt: npt.NDArray[np.int8],
    before: _FloatRows,
) -> None:
    """Fill `before` with the value of each state after ageing, and `attempt` with the best answers; ties: no attempt."""
    for state in range(len(expected)):
        answer = attempt[state]
        if not is_fixed:
            answer = 1 if added[state] >= 0 else (2 if may_replace else 0)
        gain = 0.0
        if answer == 1:
            gain = success * (expected[added[state]] - expected[state]) - attempt_price - memory_price
        elif answer == 2:
            gain = success * (expected[replaced[state]] - expected[state]) - attempt_price
        if not is_fixed:
            if answer > 0 and gain <= margin:
                answer, gain = 0, 0.0
            attempt[state] = answer
        before[state] = expected[state] + gain - memory_price * n_stored[state]


@compiled
def _iterate(
    bias: _FloatRows,
    expected: _FloatRows,
    before: _FloatRows,
    probability: _FloatRows,
    value: _FloatRows,
    success: float,
    attempt_price: float,
    memory_price: float,
    may_replace: bool,
    tick: float,
    ages: _IntRows,
    n_stored: _IntRows,
    aged: _IntRows,
    added: _IntRows,
    replaced: _IntRows,
    removed: _IntRows,
    margin: float,
    is_fixed: bool,
    attempt: npt.NDArray[np.int8],
    serve: npt.NDArray[np.int8],
    width: float,
    most_sweeps: int,
    patience: int,
) -> tuple[float, float, int]:
    """Iterate until the bounds on the gain are closer than `width`; return them and the number of sweeps.

    `bias`, `expected`, `before` and the policy are left at the last sweep.
    """
    n_states = len(bias)
    step = 1.0
    low, high = -math.inf, math.inf
    checked_span = math.inf
    sweeps = 0
    while sweeps < most_sweeps:
        sweeps += 1
        _request_values(bias, probability, value, ages, n_stored, removed, margin, is_fixed, serve, expected)
        _attempt_values(
            expected,
            success,
            attempt_price,
            memory_price,
            may_replace,
            n_stored,
            added,
            replaced,
            margin,
            is_fixed,
            attempt,
            before,
        )
        low, high = math.inf, -math.inf
        for state in range(n_states):
            change = before[state] + tick * (before[aged[state]] - before[state]) - bias[state]
            low = min(low, change)
            high = max(high, change)
        if high - low <= width:
            break
        if sweeps % patience == 0:
            # A periodic chain keeps its span; a step of a half makes it aperiodic.
            if high - low > 0.1 * checked_span:
                step = 0.5
            checked_span = high - low
        empty = n_states - 1
        change = before[empty] + tick * (before[aged[empty]] - before[empty]) - bias[empty]
        shift = bias[empty] + step * change
        for state in range(n_states):
            new = before[state] + tick * (before[aged[state]] - before[state])
            bias[state] += step * (new - bias[state]) - shift
    return low, high, sweeps


def _solution(
    problem: OneLinkProblem,
    policy: OneLinkPolicy,
    is_fixed: bool,
    tolerance: float,
    initial_bias: _FloatRows | None,
) -> OneLinkSolution:
    states = problem.states
    bias = np.zeros(states.n_states) if initial_bias is None else np.array(initial_bias, dtype=np.float64)
    if bias.shape != (states.n_states,):
        raise DomainError(f"Argument `initial_bias` must have shape ({states.n_states},), but has shape {bias.shape}.")
    expected, before = np.empty_like(bias), np.empty_like(bias)
    # Writable copies, of one type whatever the caller gave: the compiled code has one signature.
    attempt, serve = policy.attempt.astype(np.int8), policy.serve.astype(np.int8)
    tables = [np.asarray(table) for table in (states.ages, states.n_stored, states.aged, states.added)]
    scale = problem.scale
    low, high, sweeps = _iterate(
        bias,
        expected,
        before,
        np.asarray(problem.request_probability),
        problem.value,
        float(problem.success_probability),
        float(problem.attempt_price),
        float(problem.memory_price),
        bool(problem.may_replace),
        1.0 / problem.age_bin,
        *tables,
        states.replaced,
        states.removed,
        _ROUNDING * scale,
        is_fixed,
        attempt,
        serve,
        tolerance * scale,
        _MOST_SWEEPS,
        _PATIENCE,
    )
    if not high - low <= tolerance * scale:
        raise CeasError(
            f"the gain of one link with {states.n_states} states lies in [{low:.9g}, {high:.9g}] after {sweeps} sweeps "
            f"and not within {tolerance * scale:.3g}; a larger tolerance or an aperiodic policy is needed"
        )
    best = OneLinkPolicy(attempt=attempt, serve=serve)
    return OneLinkSolution(
        problem=problem,
        policy=best,
        gain=0.5 * (low + high),
        gain_lower=low,
        gain_upper=high,
        bias=bias - bias[states.empty],
        bias_at_request=expected - bias[states.empty],
        sweeps=sweeps,
        **_rates(problem, best),
    )


@compiled
def _pass_through(
    distribution: _FloatRows,
    after_ageing: _FloatRows,
    at_request: _FloatRows,
    at_end: _FloatRows,
    probability: _FloatRows,
    success: float,
    tick: float,
    aged: _IntRows,
    added: _IntRows,
    replaced: _IntRows,
    removed: _IntRows,
    attempt: npt.NDArray[np.int8],
    serve: npt.NDArray[np.int8],
) -> None:
    """Move a distribution over the states through one slot: fill those after ageing, before the request, at the end."""
    for state in range(len(distribution)):
        after_ageing[state] = 0.0
        at_request[state] = 0.0
        at_end[state] = 0.0
    for state in range(len(distribution)):
        moving = tick * distribution[state]
        after_ageing[aged[state]] += moving
        after_ageing[state] += distribution[state] - moving
    for state in range(len(distribution)):
        mass = after_ageing[state]
        moving = success * mass if attempt[state] > 0 else 0.0
        if attempt[state] > 0:
            at_request[added[state] if attempt[state] == 1 else replaced[state]] += moving
        at_request[state] += mass - moving
    for state in range(len(distribution)):
        left = at_request[state]
        for request in range(len(probability)):
            position = serve[request, state]
            if position >= 0:
                moving = probability[request] * at_request[state]
                at_end[removed[state, position]] += moving
                left -= moving
        at_end[state] += left


@compiled
def _settle(
    distribution: _FloatRows,
    after_ageing: _FloatRows,
    at_request: _FloatRows,
    at_end: _FloatRows,
    probability: _FloatRows,
    success: float,
    tick: float,
    aged: _IntRows,
    added: _IntRows,
    replaced: _IntRows,
    removed: _IntRows,
    attempt: npt.NDArray[np.int8],
    serve: npt.NDArray[np.int8],
    most_sweeps: int,
    patience: int,
) -> float:
    """Iterate the distribution over the states until it stands still; return its last change, in total variation."""
    step = 1.0
    checked = math.inf
    change = math.inf
    for sweep in range(1, most_sweeps + 1):
        _pass_through(
            distribution,
            after_ageing,
            at_request,
            at_end,
            probability,
            success,
            tick,
            aged,
            added,
            replaced,
            removed,
            attempt,
            serve,
        )
        change = 0.0
        for state in range(len(distribution)):
            difference = at_end[state] - distribution[state]
            change += 0.5 * abs(difference)
            distribution[state] += step * difference
        if change < 1e-14:
            break
        if sweep % patience == 0:
            if change > 0.1 * checked:
                step = 0.5
            checked = change
    return change


def _rates(problem: OneLinkProblem, policy: OneLinkPolicy) -> dict[str, Any]:
    """Return the stationary distribution of a policy and the rates that follow from it."""
    states = problem.states
    distribution = np.zeros(states.n_states)
    distribution[states.empty] = 1.0
    after_ageing, at_request, at_end = (np.empty(states.n_states) for _ in range(3))
    success, tick = float(problem.success_probability), 1.0 / problem.age_bin
    asked = np.asarray(problem.request_probability)
    change = _settle(
        distribution,
        after_ageing,
        at_request,
        at_end,
        asked,
        success,
        tick,
        states.aged,
        states.added,
        states.replaced,
        states.removed,
        policy.attempt,
        policy.serve,
        _MOST_SWEEPS,
        _PATIENCE,
    )
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
