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

FEW = 200
"""Points up to which sorting all coordinates takes a third of the time of `np.median` or less, with the same bits."""


def median_of_coordinates(points: FloatArray) -> FloatArray:
    """Return the median of every coordinate of finite points, shape (P,); all rules that iterate start here."""
    n_points = len(points)
    if n_points > FEW:
        return np.asarray(np.median(points, axis=0))
    ascending = np.sort(points, axis=0)
    median: FloatArray = (ascending[(n_points - 1) // 2] + ascending[n_points // 2]) / 2
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
    from ceas.aggregation.median_loops import balance_of_median  # noqa: PLC0415 - `import ceas` must stay light

    mass = np.ones(len(points)) if weights is None else weights
    scale = float(median_of_coordinates(np.linalg.norm(points - start, axis=1)))
    balance: FloatArray = balance_of_median(
        np.ascontiguousarray(points, np.float64),
        np.ascontiguousarray(mass, np.float64),
        np.ascontiguousarray(start, np.float64),
        TOUCHING * scale,
        tolerance * scale,
        MAXIMUM_STEPS,
    )
    return balance
