"""Distances between updates, by differences and not by inner products: no cancellation beside a huge row."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["squared_distances"]

FloatArray = NDArray[np.float64]


def squared_distances(updates: FloatArray) -> FloatArray:
    """Return the squared distance of every pair, shape (m, m), symmetric to the last bit with a diagonal of zeros."""
    from scipy.spatial.distance import pdist, squareform  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    if len(updates) == 1:
        return np.zeros((1, 1))
    square: FloatArray = squareform(pdist(updates, "sqeuclidean"))
    return square
