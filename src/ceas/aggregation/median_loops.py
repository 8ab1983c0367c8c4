"""The iteration of the geometric median as compiled loops: a few dozen steps of a few microseconds each."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["balance_of_median"]

FloatArray = NDArray[np.float64]


@njit(cache=True, nogil=True)
def balance_of_median(  # noqa: PLR0917 - compiled functions take no keywords
    points: FloatArray,
    mass: FloatArray,
    start: FloatArray,
    radius: float,
    last_step: float,
    maximum_steps: int,
) -> FloatArray:
    """Return convex weights whose mean of the points is their geometric median; see `geometric_median_weights`.

    Args:
        points: Shape (m, P).
        mass: Nonnegative, shape (m,), not all 0.
        start: Shape (P,).
        radius: Points closer to the centre than this count as being there.
        last_step: Length of a step that is the last.
        maximum_steps: Most steps.
    """
    centre = start.copy()
    balance = _shares(mass)
    for step in range(maximum_steps):
        # Weiszfeld's iteration crawls towards a minimiser that is itself a data point, so that is tested now and then.
        if step % 50 == 3:
            corner = _nearest(points, mass, centre)
            slopes, held = _slopes(points, mass, points[corner], radius)
            if _force(points, slopes, points[corner]) <= held.sum():
                return _shares(held)
        slopes, held = _slopes(points, mass, centre, radius)
        balance = _pull(points, slopes, held, centre)
        moved = 0.0
        for j in range(points.shape[1]):
            value = 0.0
            for i in range(points.shape[0]):
                value += balance[i] * points[i, j]
            moved += (value - centre[j]) ** 2
            centre[j] = value
        if np.sqrt(moved) <= last_step:
            break
    return balance


@njit(cache=True, nogil=True)
def _pull(points: FloatArray, slopes: FloatArray, held: FloatArray, centre: FloatArray) -> FloatArray:
    """Return one step of the iteration, as convex weights of the points."""
    total, resistance = slopes.sum(), held.sum()
    if total <= 0.0:
        return _shares(held)
    if resistance == 0.0:
        return _shares(slopes)
    # Points that the centre sits on resist with their own mass; without any, this is Weiszfeld's step.
    force = _force(points, slopes, centre)
    stay = min(1.0, resistance / force) if force > 0.0 else 1.0
    return (1.0 - stay) * _shares(slopes) + stay * _shares(held)


@njit(cache=True, nogil=True)
def _slopes(points: FloatArray, mass: FloatArray, centre: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    """Return weight over distance of the points away from the centre, and the weights of those on it."""
    slopes, held = np.zeros(len(points)), np.zeros(len(points))
    for i in range(len(points)):
        distance = _distance(points[i], centre)
        if distance <= radius:
            held[i] = mass[i]
        else:
            slopes[i] = mass[i] / distance
    return slopes, held


@njit(cache=True, nogil=True)
def _shares(parts: FloatArray) -> FloatArray:
    shares: FloatArray = parts / parts.sum()
    return shares


@njit(cache=True, nogil=True)
def _force(points: FloatArray, slopes: FloatArray, centre: FloatArray) -> float:
    """Return the length of `sum_i slopes_i (points_i - centre)`."""
    squared = 0.0
    for j in range(points.shape[1]):
        pull = 0.0
        for i in range(points.shape[0]):
            pull += slopes[i] * (points[i, j] - centre[j])
        squared += pull * pull
    return float(np.sqrt(squared))


@njit(cache=True, nogil=True)
def _nearest(points: FloatArray, mass: FloatArray, centre: FloatArray) -> int:
    best, least = 0, np.inf
    for i in range(len(points)):
        if mass[i] > 0.0:
            distance = _distance(points[i], centre)
            if distance < least:
                best, least = i, distance
    return best


@njit(cache=True, nogil=True)
def _distance(point: FloatArray, centre: FloatArray) -> float:
    squared = 0.0
    for j in range(len(point)):
        squared += (point[j] - centre[j]) ** 2
    return float(np.sqrt(squared))
