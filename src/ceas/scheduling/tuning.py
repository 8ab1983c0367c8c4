"""Tuning of a policy's parameters by common random numbers: every trial meets the same instances."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ceas.errors import DomainError

__all__ = ["Trial", "tune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A point that was tried.

    Attributes:
        parameters: The point.
        value: Mean delivered value on the tuning instances.
        utilisation: Mean utilisation.
    """

    parameters: Mapping[str, float]
    value: float
    utilisation: float


def tune(
    objective: Callable[[Mapping[str, float]], tuple[float, float]],
    grid: Mapping[str, Sequence[float]],
    *,
    budget: int,
    least_utilisation: float = 0.0,
) -> tuple[Trial, list[Trial]]:
    """Return the best point of a grid that a search parameter by parameter finds, and all that it tried.

    It begins with the first value of each parameter, and takes for one parameter after the other the best value with
    the others as they are, in turns until a whole turn changes nothing or the budget is spent. Among points of too low
    a utilisation the one of highest utilisation is best.

    Args:
        objective: Runs the policy with a point on the tuning instances, always the same ones; returns mean value and
            utilisation.
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
    tried: dict[tuple[float, ...], Trial] = {}

    def rank(trial: Trial) -> tuple[float, float]:
        short = min(trial.utilisation - least_utilisation, 0.0)
        return (short, trial.value)

    def attempt(point: Mapping[str, float]) -> Trial | None:
        key = tuple(point[name] for name in grid)
        if key not in tried:
            if len(tried) >= budget:
                return None
            value, utilisation = objective(point)
            tried[key] = Trial(parameters=dict(point), value=value, utilisation=utilisation)
        return tried[key]

    best = attempt({name: values[0] for name, values in grid.items()})
    assert best is not None  # the budget allows one
    is_changed = True
    while is_changed:
        is_changed = False
        for name, values in grid.items():
            for value in values:
                trial = attempt({**best.parameters, name: value})
                if trial is not None and rank(trial) > rank(best):
                    best, is_changed = trial, True
    return best, list(tried.values())
