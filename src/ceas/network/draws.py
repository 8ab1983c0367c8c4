"""Counter-based random numbers for compiled code: the n-th number of a stream depends on its seed and n alone.

So the draws of one link never depend on what happens on another, nor on the order of events, and every policy meets
the same successes and the same test coins.
"""

import math

import numpy as np

from ceas.network.compilation import compiled

__all__ = ["geometric_gap", "hash_counter", "unit_interval"]


@compiled
def hash_counter(seed: np.uint64, counter: int) -> np.uint64:
    """Return number `counter` of the stream `seed`, uniform on the 64-bit integers.

    Source:
        Steele, Lea, Flood, OOPSLA 2014, SplitMix64 (its state after `counter + 1` steps from `seed`).
    """
    # Every operand is cast: Numba turns a mix of signed and unsigned integers into a float.
    z = np.uint64(seed) + np.uint64(counter + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def unit_interval(seed: np.uint64, counter: int) -> float:
    """Return number `counter` of the stream `seed`, uniform on the multiples of 2^-53 in (0, 1]."""
    return np.float64((hash_counter(seed, counter) >> np.uint64(11)) + np.uint64(1)) * 2.0**-53


@compiled
def geometric_gap(uniform: float, log_failure: float, longest: int) -> int:
    """Return the number of attempts up to and with the first success, at most `longest`.

    With U uniform on (0, 1] and q = 1 - p the failure probability, 1 + floor(log U / log q) exceeds n with
    probability P(U <= q^n) = q^n: the geometric law. `log_failure` is log1p(-p), -inf for p = 1; p = 0 never succeeds.
    """
    if log_failure == 0.0:
        return longest
    failures = math.log(uniform) / log_failure
    if failures >= longest:
        return longest
    return 1 + int(failures)
