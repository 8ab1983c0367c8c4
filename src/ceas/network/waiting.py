"""Histograms of waiting times, with bins fine enough for quantiles from a nanosecond to centuries."""

import math

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import compiled

__all__ = ["WAIT_BINS", "wait_bin", "wait_edges_ns", "wait_quantile_s"]

# One bin a nanosecond below 16 ns, then 16 bins to every doubling.
_PARTS = 16
WAIT_BINS = _PARTS * (64 - 4)


@compiled
def wait_bin(wait_ns: int) -> int:
    """Return the bin of a waiting time (ns), at least 0."""
    if wait_ns < _PARTS:
        return int(max(wait_ns, 0))
    mantissa, exponent = math.frexp(float(wait_ns))
    return min(_PARTS * (exponent - 4) + int((mantissa - 0.5) * 2 * _PARTS), WAIT_BINS - 1)


def wait_edges_ns() -> npt.NDArray[np.float64]:
    """Return the lower edge of every bin and the upper edge of the last (ns), shape `(WAIT_BINS + 1,)`."""
    doubling, part = np.divmod(np.arange(WAIT_BINS + 1), _PARTS)
    return np.where(doubling == 0, part, (1.0 + part / _PARTS) * 2.0 ** (doubling + 3))


def wait_quantile_s(histogram: npt.NDArray[np.int64], quantile: float) -> float:
    """Return a quantile of the waiting times (s), linear within a bin, so to about 3 %; NaN without any.

    Raises:
        DomainError: `quantile` is outside [0, 1].
    """
    if not 0.0 <= quantile <= 1.0:
        raise DomainError(f"Argument `quantile` must be in [0, 1], but is {quantile}.")
    total = int(histogram.sum())
    if total == 0:
        return math.nan
    edges = wait_edges_ns()
    filled = np.flatnonzero(histogram)
    cumulative = np.cumsum(histogram[filled]) / total
    chosen = min(int(np.searchsorted(cumulative, quantile)), len(filled) - 1)
    below = float(cumulative[chosen - 1]) if chosen > 0 else 0.0
    part = (quantile - below) / (float(cumulative[chosen]) - below)
    low, high = edges[filled[chosen]], edges[filled[chosen] + 1]
    return float(low + part * (high - low)) * 1e-9
