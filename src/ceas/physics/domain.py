"""Checks that an argument lies in the domain of a formula.

Every check returns the argument as a float64 array, so that a caller checks and converts in one step. NaN never passes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "require_bell_diagonal",
    "require_between",
    "require_correlators",
    "require_count",
    "require_non_negative",
    "require_positive",
    "unit_interval",
]

# Sums and products of valid numbers may leave their interval by rounding; that much is not a mistake.
ROUNDING = 1e-9


def require_between(name: str, value: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Return `value` as float64, or raise DomainError when an element is outside [low, high] by more than rounding."""
    array = np.asarray(value, dtype=np.float64)
    return _checked(name, array, (array >= low - ROUNDING) & (array <= high + ROUNDING), f"be in [{low:g}, {high:g}]")


def require_positive(name: str, value: ArrayLike, *, finite: bool = True) -> NDArray[np.float64]:
    """Return `value` as float64, or raise DomainError unless all are above zero (and finite, where asked)."""
    array = np.asarray(value, dtype=np.float64)
    valid = (array > 0) & (np.isfinite(array) | (not finite))
    return _checked(name, array, valid, "be positive and finite" if finite else "be positive")


def require_non_negative(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return `value` as float64, or raise DomainError when an element is negative or not finite."""
    array = np.asarray(value, dtype=np.float64)
    return _checked(name, array, (array >= 0) & np.isfinite(array), "be non-negative and finite")


def require_bell_diagonal(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return Bell-diagonal weights `(..., 4)` as float64, or raise DomainError unless rows are probabilities."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise DomainError(f"Argument `{name}` must have shape (..., 4), but has shape {array.shape}.")
    require_between(name, array, 0.0, 1.0)
    total = array.sum(axis=-1)
    return _checked(name, array, np.abs(total - 1.0) <= ROUNDING, "sum to 1 over its last axis", found=total)


def require_correlators(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return correlators `(..., 3)` as float64, or raise DomainError unless they are those of a Bell-diagonal state."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 3:
        raise DomainError(f"Argument `{name}` must have shape (..., 3), but has shape {array.shape}.")
    x, y, z = np.moveaxis(array, -1, 0)
    smallest = (1.0 + np.minimum(np.minimum(x + y + z, x - y - z), np.minimum(y - x - z, z - x - y))) / 4.0
    _checked(name, array, smallest >= -ROUNDING, "leave every Bell state a weight of at least 0", found=smallest)
    return array


def require_count(name: str, value: int, low: int = 1) -> int:
    """Return `value`, or raise DomainError when it is below `low` or not a whole number."""
    if value != int(value) or value < low:
        raise DomainError(f"Argument `{name}` must be a whole number of at least {low}, but is {value}.")
    return int(value)


def unit_interval(name: str, value: ArrayLike, *, open_end: float | None = None) -> NDArray[np.float64]:
    """Return `value` clipped to [0, 1] after a check; `open_end` is an end that is not allowed itself."""
    array = np.clip(require_between(name, value, 0.0, 1.0), 0.0, 1.0)
    if open_end is not None and np.any(array == open_end):
        interval = "(0, 1]" if open_end == 0.0 else "[0, 1)"
        raise DomainError(f"Argument `{name}` must be in {interval}, but is {open_end:g}.")
    return array


def _checked(
    name: str,
    array: NDArray[np.float64],
    valid: NDArray[np.bool_],
    requirement: str,
    *,
    found: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return `array` when all of `valid` is true; otherwise name the first element of `found` that is not."""
    if np.all(valid):
        return array
    index = tuple(int(i) for i in np.argwhere(~np.atleast_1d(valid))[0])
    offender = float(np.atleast_1d(array if found is None else found)[index])
    place = f" at index {index[0] if len(index) == 1 else index}" if np.ndim(valid) else ""
    raise DomainError(f"Argument `{name}` must {requirement}, but is {offender:.12g}{place}.")
