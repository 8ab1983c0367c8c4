"""Intervals of variances that are held against a formula."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["VarianceRatio", "variance_ratio"]


class VarianceRatio(NamedTuple):
    """An observed variance over the one that a formula says, with its 99 % chi-square interval."""

    ratio: float
    low: float
    high: float

    @property
    def holds_one(self) -> bool:
        """Whether the formula is inside."""
        return self.low <= 1 <= self.high


def variance_ratio(
    values: npt.ArrayLike, expected: float, *, mean: float | None = None, confidence: float = 0.99
) -> VarianceRatio:
    """Return the ratio of the variance of independent, nearly normal values to what a formula says.

    Args:
        values: Shape (n,).
        expected: The formula's variance, positive.
        mean: The known mean, about which deviations are then taken; None for that of the values.
        confidence: Confidence level in (0, 1).
    """
    from scipy.special import chdtri  # noqa: PLC0415  (keeps the import of the room light)

    numbers = np.asarray(values, dtype=np.float64)
    freedom = numbers.size - (mean is None)
    total = float(((numbers - (numbers.mean() if mean is None else mean)) ** 2).sum()) / expected
    tail = (1 - confidence) / 2
    # chdtri inverts the upper tail.
    return VarianceRatio(
        total / freedom, total / float(chdtri(freedom, tail)), total / float(chdtri(freedom, 1 - tail))
    )
