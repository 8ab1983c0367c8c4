"""The compiled sweeps of the link problem behind the dual bound: all that a link may do, at given prices.

It differs from `one_link` in what a bound on every policy needs: any number of requests may come in a slot and be
served together, tuples take several pairs at once, stored pairs can be thrown away, new pairs may replace the oldest at
any time, and pairs may be sold at any time through outlets, which stand for requests that wait.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import compiled, inlined

__all__ = ["ATTEMPTS", "GENERATED", "N_FIXED", "OCCUPIED", "USED", "LinkModel", "iterate_link", "measure_link"]

# Components of what a policy does in a slot: attempts, occupied memory slots, new pairs, used pairs; then sales by
# outlet.
ATTEMPTS, OCCUPIED, GENERATED, USED, N_FIXED = range(5)
# Rates that move by less from slot to slot stand still.
STILL = 1e-6


class LinkModel(NamedTuple):
    """A link at given prices: S states, A vectors of request counts, C classes that do not wait, O outlets, k parts.

    Args:
        success: Probability that an attempt succeeds.
        attempt_price: Price of an attempt.
        memory_price: Price of a memory slot in the attempts of a slot, whether it holds a pair or is reserved for one.
        pair_price: Price of a new pair.
        value: Value of a pair by class and age, then by outlet and age, less the outlet's price per pair; products of
            these (see `product_of`) are the values of tuples, `(C + O, n_bins)`.
        n_pairs: Pairs that a class or an outlet takes at once, `(C + O,)`.
        bonus: What is added to the value of a service or sale, `(C + O,)`.
        stride: Step in the number of a vector for one request of a class, `(C,)`.
        counts: Requests of each class in each vector, `(A, C)`.
        chance: Probability of each vector, `(A,)`.
        ages, n_stored, aged, added, replaced, removed: As in `AgeStates`.
        best: Workspace: value by vector and state, `(A, S)`.
        before: Workspace: value after ageing, `(S,)`.
        expected: Workspace: value before the requests are known, `(S,)`.
        done: Workspace of `measure_link`, components by vector and state, `(A, S, k)`.
        done_before, done_expected: The same for the other two, `(S, k)`.
    """

    success: float
    attempt_price: float
    memory_price: float
    pair_price: float
    value: npt.NDArray[np.float64]
    n_pairs: npt.NDArray[np.int64]
    bonus: npt.NDArray[np.float64]
    stride: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    chance: npt.NDArray[np.float64]
    ages: npt.NDArray[np.int64]
    n_stored: npt.NDArray[np.int64]
    aged: npt.NDArray[np.int64]
    added: npt.NDArray[np.int64]
    replaced: npt.NDArray[np.int64]
    removed: npt.NDArray[np.int64]
    best: npt.NDArray[np.float64]
    before: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    done: npt.NDArray[np.float64]
    done_before: npt.NDArray[np.float64]
    done_expected: npt.NDArray[np.float64]


@inlined
def _next_mask(mask: int, size: int) -> int:
    """Return the next larger mask with as many bits as `size`; the first for 0 (Gosper's rule)."""
    if mask == 0:
        return (1 << size) - 1
    lowest = mask & -mask
    ripple = mask + lowest
    return ripple | (((mask ^ ripple) // lowest) >> 2)


@inlined
def _taken(model: LinkModel, state: int, mask: int, user: int) -> tuple[int, float]:
    """Return the state without the pairs of a mask, and the value that a class or outlet has of them."""
    worth = 1.0
    after = state
    # From the oldest to the freshest, for a removal shifts only what is older.
    for position in range(model.n_stored[state] - 1, -1, -1):
        if (mask >> position) & 1:
            worth *= model.value[user, model.ages[state, position]]
            after = model.removed[after, position]
    return after, worth + model.bonus[user]


@inlined
def _copy(target: npt.NDArray[np.float64], source: npt.NDArray[np.float64]) -> None:
    for at in range(len(target)):
        target[at] = source[at]


@inlined
def _sell(model: LinkModel, bias: npt.NDArray[np.float64], done: npt.NDArray[np.float64], is_measured: bool) -> None:
    """Fill row 0 of `best`: no requests; pairs may be sold through outlets or thrown away. Fewest pairs first."""
    n_classes, n_users = len(model.stride), len(model.n_pairs)
    # States with fewer pairs have higher numbers.
    for state in range(len(bias) - 1, -1, -1):
        best = bias[state]
        if is_measured:
            _copy(model.done[0, state], done[state])
        for position in range(model.n_stored[state]):
            after = model.removed[state, position]
            if model.best[0, after] > best:
                best = model.best[0, after]
                if is_measured:
                    _copy(model.done[0, state], model.done[0, after])
        for user in range(n_classes, n_users):
            mask = _next_mask(0, model.n_pairs[user])
            while mask < 1 << model.n_stored[state]:
                after, worth = _taken(model, state, mask, user)
                if worth > 0.0 and worth + model.best[0, after] > best:
                    best = worth + model.best[0, after]
                    if is_measured:
                        _copy(model.done[0, state], model.done[0, after])
                        model.done[0, state, USED] += model.n_pairs[user]
                        model.done[0, state, N_FIXED + user - n_classes] += 1.0
                mask = _next_mask(mask, model.n_pairs[user])
        model.best[0, state] = best


@inlined
def _serve(model: LinkModel, is_measured: bool) -> None:
    """Fill the other rows of `best`: any of the requests of a vector may be served, one after the other."""
    for vector in range(1, len(model.chance)):
        for state in range(model.best.shape[1]):
            best = model.best[0, state]
            if is_measured:
                _copy(model.done[vector, state], model.done[0, state])
            for user in range(len(model.stride)):
                if model.counts[vector, user] == 0:
                    continue
                rest = vector - model.stride[user]
                mask = _next_mask(0, model.n_pairs[user])
                while mask < 1 << model.n_stored[state]:
                    after, worth = _taken(model, state, mask, user)
                    if worth > 0.0 and worth + model.best[rest, after] > best:
                        best = worth + model.best[rest, after]
                        if is_measured:
                            _copy(model.done[vector, state], model.done[rest, after])
                            model.done[vector, state, USED] += model.n_pairs[user]
                    mask = _next_mask(mask, model.n_pairs[user])
            model.best[vector, state] = best


@inlined
def _expect(model: LinkModel, is_measured: bool) -> None:
    for state in range(len(model.expected)):
        model.expected[state] = 0.0
        if is_measured:
            for at in range(model.done_expected.shape[1]):
                model.done_expected[state, at] = 0.0
        for vector in range(len(model.chance)):
            chance = model.chance[vector]
            if chance == 0.0:
                continue
            model.expected[state] += chance * model.best[vector, state]
            if is_measured:
                for at in range(model.done_expected.shape[1]):
                    model.done_expected[state, at] += chance * model.done[vector, state, at]


@inlined
def _attempt(model: LinkModel, is_measured: bool) -> None:
    """Fill `before`: no attempt, one into a free slot, or one in the place of the oldest pair."""
    for state in range(len(model.expected)):
        stay = model.expected[state]
        best, after = stay, state
        reserved = 0.0
        if model.added[state] >= 0:
            gain = model.success * (model.expected[model.added[state]] - model.pair_price - stay)
            gain -= model.attempt_price + model.memory_price
            if stay + gain > best:
                best, after, reserved = stay + gain, model.added[state], 1.0
        if model.n_stored[state] > 0:
            gain = model.success * (model.expected[model.replaced[state]] - model.pair_price - stay)
            gain -= model.attempt_price
            if stay + gain > best:
                best, after, reserved = stay + gain, model.replaced[state], 0.0
        is_attempt = best > stay
        model.before[state] = best - model.memory_price * model.n_stored[state]
        if is_measured:
            chance = model.success if is_attempt else 0.0
            for at in range(model.done_before.shape[1]):
                model.done_before[state, at] = (1.0 - chance) * model.done_expected[
                    state, at
                ] + chance * model.done_expected[after, at]
            model.done_before[state, ATTEMPTS] += 1.0 if is_attempt else 0.0
            model.done_before[state, OCCUPIED] += model.n_stored[state] + (reserved if is_attempt else 0.0)
            model.done_before[state, GENERATED] += chance


@compiled
def iterate_link(model: LinkModel, bias: npt.NDArray[np.float64], width: float, most_sweeps: int) -> tuple[float, int]:
    """Iterate until the bounds on the gain are closer than `width`; return the upper one and the number of sweeps.

    Whatever `bias` is, no policy gains more a slot in the long run than the largest change of a sweep; so the result is
    a bound even when the sweeps run out. `bias` is left relative to the empty state, which is the last.
    """
    empty = len(bias) - 1
    high = 1e300
    sweeps = 0
    while sweeps < most_sweeps:
        sweeps += 1
        _sell(model, bias, model.done_before, False)
        _serve(model, False)
        _expect(model, False)
        _attempt(model, False)
        low, most = 1e300, -1e300
        for state in range(len(bias)):
            change = model.before[model.aged[state]] - bias[state]
            low = min(low, change)
            most = max(most, change)
        high = min(high, most)
        if most - low <= width:
            break
        shift = model.before[model.aged[empty]]
        for state in range(len(bias)):
            bias[state] = model.before[model.aged[state]] - shift
    return high, sweeps


@compiled
def measure_link(
    model: LinkModel,
    bias: npt.NDArray[np.float64],
    done: npt.NDArray[np.float64],
    rates: npt.NDArray[np.float64],
    most_sweeps: int,
) -> None:
    """Fill `rates` with the mean components a slot of the policy that is best for `bias`, once they stand still.

    `done`, `(S, k)`, is workspace, 0 at the start.
    """
    empty = len(bias) - 1
    for _ in range(most_sweeps):
        _sell(model, bias, done, True)
        _serve(model, True)
        _expect(model, True)
        _attempt(model, True)
        moved = 0.0
        for at in range(len(rates)):
            rate = model.done_before[model.aged[empty], at] - done[empty, at]
            moved = max(moved, abs(rate - rates[at]))
            rates[at] = rate
        if moved < STILL:
            break
        for state in range(len(bias)):
            _copy(done[state], model.done_before[model.aged[state]])
