"""Tuning of a policy's parameters by common random numbers: every trial meets the same instances."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ceas.errors import DomainError

__all__ = ["Trial", "tune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A point that was tried.

    Attributes:
        parameters: The point.
        value: Mean of what is looked for on the tuning instances, as delivered value.
        utilisation: Mean utilisation; NaN if no pair was made.
    """

    parameters: Mapping[str, Any]
    value: float
    utilisation: float


def tune(
    objective: Callable[[dict[str, Any]], tuple[float, float]],
    grid: Mapping[str, Sequence[Any]],
    *,
    budget: int,
    least_utilisation: float = 0.0,
) -> tuple[Trial, list[Trial]]:
    """Return the best point of a grid that a search with at most `budget` trials finds, and all that it tried.

    A grid of at most `budget` points is tried as a whole. Else the search begins with the first value of each
    parameter, and takes for one parameter after the other the best value with the others as they are, in turns until a
    whole turn changes nothing or the budget is spent. Of equal points the first is best, so that a parameter that does
    not matter keeps its value. Among points of too low a utilisation the one of highest utilisation is best.

    Args:
        objective: Runs the policy with a point on the tuning instances, always the same ones; returns the mean of what
            is looked for, the larger the better, and of the utilisation.
        grid: Values of each parameter, the default first.
        budget: Points that may be tried, at least 1.
        least_utilisation: Utilisation that is asked for.

    Raises:
        DomainError: `budget` is below 1, or a parameter has no values.
    """
    if budget < 1:
        raise DomainError(f"Argument `budget` must be at least 1, but is {budget}.")
    for name, values in grid.items():
        if len(values) == 0:
            raise DomainError(f"Argument `grid` must have values for `{name}`, but has none.")
    tried: dict[tuple[Any, ...], Trial] = {}

    def rank(point: tuple[Any, ...]) -> tuple[float, float]:
        """Try a point if it is new and the budget allows; what was not tried ranks last."""
        if point not in tried:
            if len(tried) >= budget:
                return (-math.inf, -math.inf)
            parameters = dict(zip(grid, point, strict=True))
            value, utilisation = objective(parameters)
            tried[point] = Trial(parameters=parameters, value=value, utilisation=utilisation)
        trial = tried[point]
        # Without a demand on it, a utilisation that does not exist harms nobody.
        used = 0.0 if math.isnan(trial.utilisation) else trial.utilisation
        short = min(used - least_utilisation, 0.0)
        return (short, -math.inf if math.isnan(trial.value) else trial.value)

    best = tuple(values[0] for values in grid.values())
    if math.prod(len(values) for values in grid.values()) <= budget:
        best = max(itertools.product(*grid.values()), key=rank)
        return tried[best], list(tried.values())
    rank(best)
    previous = None
    while best != previous and len(tried) < budget:
        previous = best
        for at, values in enumerate(grid.values()):
            best = max([best, *((*best[:at], value, *best[at + 1 :]) for value in values)], key=rank)
    return tried[best], list(tried.values())
