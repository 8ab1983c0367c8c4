"""The compiled sweeps of the one-link problem: backwards over the values, forwards over the probabilities."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import compiled

__all__ = ["ATTEMPT_FREE", "ATTEMPT_REPLACE", "NO_ATTEMPT", "SlotModel", "iterate_bias", "settle"]

_FloatRows = npt.NDArray[np.float64]
_IntRows = npt.NDArray[np.int64]

# Answers for the attempt in a state.
NO_ATTEMPT, ATTEMPT_FREE, ATTEMPT_REPLACE = 0, 1, 2
_MOST_SWEEPS = 200_000
# Sweeps after which a span that has not shrunk to a tenth shows a chain that is periodic, or almost so.
_PATIENCE = 2_000
# A distribution over the states stands still when it moves by less than this in total variation: that is rounding.
_STILL = 1e-14


class SlotModel(NamedTuple):
    """A one-link problem with its policy, as plain numbers and tables.

    Args:
        success: Probability that an attempt succeeds.
        attempt_price: Price of an attempt.
        memory_price: Price of an occupied slot.
        tick: Probability that the ages move on by a bin in a slot.
        margin: Gains below this are rounding.
        may_replace: Whether a new pair may take the place of the oldest.
        is_fixed: Whether the policy is given; otherwise the sweeps write the best one.
        probability: Probability of a request, shape `(n_classes,)`.
        value: Value by class and bin, 0 if the bin does not qualify, shape `(n_classes, n_bins)`.
        ages: As in `AgeStates`, like the five below.
        n_stored: Stored pairs.
        aged: Successor by ageing.
        added: Successor by a new pair.
        replaced: Successor by replacing the oldest pair.
        removed: Successors by serving.
        attempt: Attempt table, shape `(n_states,)`.
        serve: Serve table, shape `(n_classes, n_states)`.
    """

    success: float
    attempt_price: float
    memory_price: float
    tick: float
    margin: float
    may_replace: bool
    is_fixed: bool
    probability: _FloatRows
    value: _FloatRows
    ages: _IntRows
    n_stored: _IntRows
    aged: _IntRows
    added: _IntRows
    replaced: _IntRows
    removed: _IntRows
    attempt: npt.NDArray[np.int8]
    serve: npt.NDArray[np.int8]


@compiled
def best_pair(model: SlotModel, bias: _FloatRows, state: int, request: int) -> tuple[int, float]:
    """Return the position of the best pair for a request, -1 to refuse, and what it gains over refusing.

    Of answers that are equal up to `margin` the oldest pair is taken, and refusing comes last.
    """
    best, gain = -1, -model.margin
    for position in range(model.n_stored[state] - 1, -1, -1):
        worth = model.value[request, model.ages[state, position]]
        if worth > 0.0:
            worth += bias[model.removed[state, position]] - bias[state]
            if worth > gain + (model.margin if best >= 0 else 0.0):
                best, gain = position, worth
    return best, gain if best >= 0 else 0.0


@compiled
def request_values(model: SlotModel, bias: _FloatRows, expected: _FloatRows) -> None:
    """Fill `expected` with the mean value of each state before the request, and the serve table."""
    for state in range(len(bias)):
        total = bias[state]
        for request in range(len(model.probability)):
            if model.is_fixed:
                position = model.serve[request, state]
                gain = 0.0
                if position >= 0:
                    worth = model.value[request, model.ages[state, position]]
                    gain = worth + bias[model.removed[state, position]] - bias[state]
            else:
                best, gain = best_pair(model, bias, state, request)
                model.serve[request, state] = best
            total += model.probability[request] * gain
        expected[state] = total


@compiled
def attempt_values(model: SlotModel, expected: _FloatRows, before: _FloatRows) -> None:
    """Fill `before` with the value of each state after ageing, and the attempt table; equal answers: no attempt."""
    for state in range(len(expected)):
        if model.is_fixed:
            answer = int(model.attempt[state])
        else:
            answer = 1 if model.added[state] >= 0 else (2 if model.may_replace else 0)
        gain = 0.0
        if answer == 1:
            gain = model.success * (expected[model.added[state]] - expected[state])
            gain -= model.attempt_price + model.memory_price
        elif answer == 2:
            gain = model.success * (expected[model.replaced[state]] - expected[state]) - model.attempt_price
        if not model.is_fixed:
            if answer > 0 and gain <= model.margin:
                answer, gain = 0, 0.0
            model.attempt[state] = answer
        before[state] = expected[state] + gain - model.memory_price * model.n_stored[state]


@compiled
def aged_value(model: SlotModel, before: _FloatRows, state: int) -> float:
    """Return the value of a state at the end of the slot before."""
    value: float = before[state] + model.tick * (before[model.aged[state]] - before[state])
    return value


@compiled
def iterate_bias(
    model: SlotModel, bias: _FloatRows, expected: _FloatRows, before: _FloatRows, width: float
) -> tuple[float, float, int]:
    """Iterate until the bounds on the gain are closer than `width`; return them and the number of sweeps.

    `bias`, `expected`, `before` and the policy are left at the last sweep.
    """
    empty = len(bias) - 1
    step = 1.0
    low, high = -math.inf, math.inf
    checked_span = math.inf
    sweeps = 0
    while sweeps < _MOST_SWEEPS:
        sweeps += 1
        request_values(model, bias, expected)
        attempt_values(model, expected, before)
        low, high = math.inf, -math.inf
        for state in range(len(bias)):
            change = aged_value(model, before, state) - bias[state]
            low = min(low, change)
            high = max(high, change)
        if high - low <= width:
            break
        if sweeps % _PATIENCE == 0:
            # A periodic chain keeps its span; a step of a half makes it aperiodic.
            if high - low > 0.1 * checked_span:
                step = 0.5
            checked_span = high - low
        shift = bias[empty] + step * (aged_value(model, before, empty) - bias[empty])
        for state in range(len(bias)):
            bias[state] += step * (aged_value(model, before, state) - bias[state]) - shift
    return low, high, sweeps


@compiled
def pass_through(
    model: SlotModel, distribution: _FloatRows, after_ageing: _FloatRows, at_request: _FloatRows, at_end: _FloatRows
) -> None:
    """Move a distribution over the states through one slot: fill those after ageing, before the request, at the end."""
    for state in range(len(distribution)):
        after_ageing[state] = 0.0
        at_request[state] = 0.0
        at_end[state] = 0.0
    for state in range(len(distribution)):
        moving = model.tick * distribution[state]
        after_ageing[model.aged[state]] += moving
        after_ageing[state] += distribution[state] - moving
    for state in range(len(distribution)):
        mass = after_ageing[state]
        if model.attempt[state] > 0:
            moving = model.success * mass
            at_request[model.added[state] if model.attempt[state] == 1 else model.replaced[state]] += moving
            mass -= moving
        at_request[state] += mass
    for state in range(len(distribution)):
        left = at_request[state]
        for request in range(len(model.probability)):
            position = model.serve[request, state]
            if position >= 0:
                moving = model.probability[request] * at_request[state]
                at_end[model.removed[state, position]] += moving
                left -= moving
        at_end[state] += left


@compiled
def settle(
    model: SlotModel, distribution: _FloatRows, after_ageing: _FloatRows, at_request: _FloatRows, at_end: _FloatRows
) -> float:
    """Iterate the distribution over the states until it stands still; return its last change, in total variation."""
    step = 1.0
    checked = math.inf
    change = math.inf
    for sweep in range(1, _MOST_SWEEPS + 1):
        pass_through(model, distribution, after_ageing, at_request, at_end)
        change = 0.0
        for state in range(len(distribution)):
            difference = at_end[state] - distribution[state]
            change += 0.5 * abs(difference)
            distribution[state] += step * difference
        if change < _STILL:
            break
        if sweep % _PATIENCE == 0:
            if change > 0.1 * checked:
                step = 0.5
            checked = change
    return change
