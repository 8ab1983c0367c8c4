"""MinMax and MinSum: as far from the honest mean as possible without lying outside of what honest updates do."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ceas.attacks.situation import Situation, update_attack
from ceas.errors import DomainError

__all__ = ["min_max", "min_sum"]

FloatArray = NDArray[np.float64]
Direction = Literal["unit", "deviation", "sign"]

# After so many halvings neighbouring floats are left.
_HALVINGS = 60


@update_attack
def min_max(situation: Situation, *, direction: Direction = "deviation") -> FloatArray:
    """Send `mean + gamma p`, whose largest distance to an honest update is at most that between two of these.

    Args:
        situation: What the attackers know.
        direction: p: `unit` for minus the mean at length 1, `deviation` for minus the standard deviation of each
            coordinate, `sign` for minus the sign of the mean.

    Raises:
        DomainError: The direction is not known.

    Source:
        Shejwalkar and Houmansadr, NDSS 2021, section IV (AGR-agnostic, Min-Max). Gamma by halving; what is sent is the
        largest gamma found to satisfy the bound, never the last one tried.
    """
    known = situation.known
    bound = _squared_distances(known).max()
    return _farthest(situation, direction, lambda sent: ((sent - known) ** 2).sum(axis=1).max() <= bound, bound)


@update_attack
def min_sum(situation: Situation, *, direction: Direction = "deviation") -> FloatArray:
    """Send `mean + gamma p`, whose squared distances to all honest updates add up to at most what one of these has.

    Args:
        situation: What the attackers know.
        direction: As for `min_max`.

    Raises:
        DomainError: The direction is not known.

    Source:
        Shejwalkar and Houmansadr, NDSS 2021, section IV (AGR-agnostic, Min-Sum). Gamma as for `min_max`.
    """
    known = situation.known
    bound = _squared_distances(known).sum(axis=1).max()
    return _farthest(situation, direction, lambda sent: ((sent - known) ** 2).sum() <= bound, bound)


def _farthest(
    situation: Situation, direction: Direction, is_allowed: Callable[[FloatArray], bool], bound: float
) -> FloatArray:
    """Return the farthest allowed point from the mean; the mean is allowed, and what is allowed is convex."""
    mean, step = situation.mean, _step(situation, direction)
    length = np.linalg.norm(step)
    if length == 0:
        return mean
    # An allowed point is within the root of the bound of every honest update, and the mean is within it of one.
    low, high = 0.0, float(2 * np.sqrt(bound) / length)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if is_allowed(mean + middle * step):
            low = middle
        else:
            high = middle
    return mean + low * step


def _step(situation: Situation, direction: Direction) -> FloatArray:
    if direction not in get_args(Direction):
        raise DomainError(
            f"Argument `direction` must be one of {', '.join(get_args(Direction))}, but is {direction!r}."
        )
    if direction == "deviation":
        return -situation.deviation
    mean = situation.mean
    if direction == "sign":
        return -np.sign(mean)
    return -mean / max(float(np.linalg.norm(mean)), np.finfo(np.float64).tiny)


def _squared_distances(updates: FloatArray) -> FloatArray:
    """Return the squared distance between every two updates, shape (k, k)."""
    # Centred, so that the difference of squares loses no digits to a common shift.
    centred = updates - updates.mean(axis=0)
    squares = (centred**2).sum(axis=1)
    distances: FloatArray = np.maximum(squares[:, None] + squares - 2 * centred @ centred.T, 0)
    return distances
