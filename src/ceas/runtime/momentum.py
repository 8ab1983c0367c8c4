"""Exponential averages per learner, without the lean towards zero of their first steps."""

import numpy as np
from numpy.typing import NDArray

from ceas.runtime.checkpoint import Arrays

__all__ = ["Momentum"]

FloatArray = NDArray[np.float64]


class Momentum:
    """Averages `m <- beta m + (1 - beta) x` of rows that are updated now and then.

    Args:
        shape: Shape of the rows together; the first axis counts them.
        beta: Weight of the past, in [0, 1).

    Source:
        The correction by `1 - beta^t`: Kingma and Ba, ICLR 2015, section 3.
    """

    def __init__(self, shape: tuple[int, int], beta: float) -> None:
        self._beta = beta
        self._sums = np.zeros(shape)
        self._steps = np.zeros(shape[0], np.int64)

    def add(self, values: FloatArray, is_new: NDArray[np.bool_]) -> None:
        """Take one step for the rows that `is_new` names; the others stay as they are."""
        self._sums[is_new] = self._beta * self._sums[is_new] + (1.0 - self._beta) * values[is_new]
        self._steps += is_new

    def mean(self) -> FloatArray:
        """Return the averages; zero for a row that has taken no step."""
        weight = np.where(self._steps > 0, 1.0 - self._beta**self._steps, 1.0)
        mean: FloatArray = self._sums / weight[:, None]
        return mean

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        return {"sums": self._sums.copy(), "steps": self._steps.copy()}

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._sums = np.array(arrays["sums"], np.float64)
        self._steps = np.array(arrays["steps"], np.int64)
