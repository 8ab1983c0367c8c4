"""What a pair's state does to the bits of these protocols, and how a simulated rate is told with its uncertainty.

All three protocols measure in the Z basis only. There a Bell-diagonal pair is a perfect one whose far bit is flipped
with one probability, which is therefore all that a protocol has to know about its pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from ceas.errors import DomainError
from ceas.physics import bell_diagonal_to_correlators, fidelity_to_werner, pauli_error_rates, quantum_bit_error_rate

__all__ = ["Rate", "chunks", "flip_probability", "require_flip", "require_whole"]

LOWEST_FIDELITY = 0.25
# Elements of one array of a chunk, 2 MB as bytes and 8 MB as single-precision numbers.
_CHUNK_ELEMENTS = 2_000_000


def flip_probability(pair: ArrayLike) -> float:
    """Return the chance that the two ends' Z outcomes are not related as a perfect pair's are.

    Args:
        pair: Fidelity of a Werner pair, a scalar in [1/4, 1]; or Bell-diagonal weights of the Pauli errors (I, X, Y, Z)
            on the protocol's ideal pair, shape (4,). The ideal pair may be any Bell state.

    Returns:
        2 (1 - F)/3 of a Werner pair, weight of X plus weight of Y of a Bell-diagonal one; at most 1/2.

    Raises:
        DomainError: A fidelity is outside [1/4, 1], weights are no probabilities, or the flip is likelier than not.
    """
    array = np.asarray(pair, dtype=np.float64)
    if array.ndim == 0:
        if not LOWEST_FIDELITY <= array <= 1.0:
            raise DomainError(f"Argument `fidelity` must be in [0.25, 1], but is {float(array):g}.")
        return float(quantum_bit_error_rate(fidelity_to_werner(array)))
    if array.shape != (4,):
        raise DomainError(f"Argument `pair` must be a fidelity or four weights, but has shape {array.shape}.")
    flip = float(pauli_error_rates(array)[2])
    if flip > 0.5 + 1e-9:
        correlator = float(bell_diagonal_to_correlators(array)[2])
        raise DomainError(f"Argument `pair` must have a Z correlator of at least 0, but it is {correlator:g}.")
    return min(max(flip, 0.0), 0.5)


def require_flip(flip: float) -> float:
    """Return a flip probability, or raise DomainError unless it is in [0, 1/2]."""
    if not 0.0 <= flip <= 0.5:
        raise DomainError(f"Argument `flip` must be in [0, 0.5], but is {flip}.")
    return float(flip)


def require_whole(name: str, value: int, low: int) -> int:
    """Return a whole number, or raise DomainError when it is below `low` or not whole."""
    if int(value) != value or value < low:
        raise DomainError(f"Argument `{name}` must be a whole number of at least {low}, but is {value}.")
    return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something was seen in independent shots.

    Attributes:
        events: Shots in which it was seen.
        shots: All shots.
    """

    events: int
    shots: int

    @property
    def value(self) -> float:
        """Share of the shots."""
        return self.events / self.shots

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the exact two-sided confidence interval.

        Source:
            Clopper and Pearson, Biometrika 26, 404 (1934), as computed by SciPy.
        """
        found = binomtest(self.events, self.shots).proportion_ci(confidence_level=confidence, method="exact")
        return float(found.low), float(found.high)


def chunks(shots: int, elements_per_shot: int) -> Iterator[int]:
    """Split shots into numbers of shots whose arrays fit the processor's cache and memory.

    Raises:
        DomainError: `shots` is below 1.
    """
    left = require_whole("shots", shots, 1)
    largest = max(1, _CHUNK_ELEMENTS // elements_per_shot)
    while left:
        yield min(largest, left)
        left -= min(largest, left)
