"""The weighted geometric median, by Weiszfeld's iteration made safe at the data points."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["geometric_median_weights", "median_of_coordinates"]

FloatArray = NDArray[np.float64]

MAXIMUM_STEPS = 2000
"""Reached only when the minimiser all but touches a data point, where the iteration is slow and the error is small."""


TOUCHING = 1e-9
"""Points closer to the centre than this part of the typical distance count as being there: rounding puts copies of one
point beside each other, and a step away from one at such a distance is too short to be told from convergence."""


def median_of_coordinates(points: FloatArray) -> FloatArray:
    """Return the median of every coordinate, shape (P,); all rules that iterate start here."""
    median: FloatArray = np.median(points, axis=0)
    return median


def geometric_median_weights(
    points: FloatArray, *, start: FloatArray, weights: FloatArray | None = None, tolerance: float = 1e-10
) -> FloatArray:
    """Return convex weights b with `b @ points` minimising `sum_k weights_k |points_k - z|` over z.

    At the minimiser b_k is proportional to `weights_k / |points_k - z|`; where it is a data point, to the share that
    balances the pull of all others.

    Args:
        points: Shape (m, P).
        start: Starting point, shape (P,), inside the convex hull of the points or near it.
        weights: Nonnegative, shape (m,), not all 0; default ones.
        tolerance: Largest last step, relative to the median distance from the start.

    Source:
        Vardi and Zhang, PNAS 97, 1423 (2000).
    """
    mass = np.ones(len(points)) if weights is None else weights
    scale = float(np.median(np.linalg.norm(points - start, axis=1)))
    centre = start
    balance = _shares(mass)
    for step in range(MAXIMUM_STEPS):
        # Weiszfeld's iteration crawls towards a minimiser that is itself a data point, so that is tested now and then.
        if step % 50 == 3 and (corner := _corner(points, mass, centre, TOUCHING * scale)) is not None:
            return corner
        balance = _pull(points, mass, centre, TOUCHING * scale)
        previous, centre = centre, balance @ points
        if np.linalg.norm(centre - previous) <= tolerance * scale:
            break
    return balance


def _pull(points: FloatArray, mass: FloatArray, centre: FloatArray, radius: float) -> FloatArray:
    """One step of the iteration, as convex weights of the points."""
    slopes, held = _slopes(points, mass, centre, radius)
    total, resistance = float(slopes.sum()), float(held.sum())
    if total <= 0:
        return _shares(held)
    # Points that the centre sits on resist with their own mass; without any, this is Weiszfeld's step.
    force = float(np.linalg.norm(slopes @ (points - centre)))
    stay = min(1.0, resistance / force) if force > 0 else float(resistance > 0)
    moved = (1 - stay) * _shares(slopes)
    return moved + stay * _shares(held) if stay > 0 else moved


def _corner(points: FloatArray, mass: FloatArray, centre: FloatArray, radius: float) -> FloatArray | None:
    """Weights at the data point nearest to the centre if that point is the minimiser, else None."""
    nearest = points[np.argmin(np.where(mass > 0, np.linalg.norm(points - centre, axis=1), np.inf))]
    slopes, held = _slopes(points, mass, nearest, radius)
    if np.linalg.norm(slopes @ (points - nearest)) > held.sum():
        return None
    return _shares(held)


def _slopes(points: FloatArray, mass: FloatArray, centre: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    """Weight over distance of the points away from the centre, and the weights of those on it."""
    distances = np.linalg.norm(points - centre, axis=1)
    here = distances <= radius
    return np.where(here, 0.0, mass / np.where(here, 1.0, distances)), np.where(here, mass, 0.0)


def _shares(parts: FloatArray) -> FloatArray:
    shares: FloatArray = parts / parts.sum()
    return shares
