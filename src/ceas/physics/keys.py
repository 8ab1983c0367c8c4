"""What a Werner pair is worth as a key, and how a joint test of it turns out."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_between
from ceas.physics.states import LOWEST_WERNER

__all__ = ["binary_entropy", "joint_test_pass_probability", "quantum_bit_error_rate", "secret_key_fraction"]


def quantum_bit_error_rate(werner: ArrayLike) -> NDArray[np.float64]:
    """Return Q = (1 - w)/2 = 2(1 - F)/3, the chance that the ends' bits differ in one Pauli basis."""
    return (1.0 - require_between("werner", werner, LOWEST_WERNER, 1.0)) / 2.0


def joint_test_pass_probability(werner: ArrayLike) -> NDArray[np.float64]:
    """Return (1 + w)/2 = (1 + 2F)/3, the chance to pass a joint test in a Pauli basis chosen at random.

    Both ends measure the same one of X, Y, Z and compare: Phi+ agrees in X and Z and disagrees in Y.
    """
    return (1.0 + require_between("werner", werner, LOWEST_WERNER, 1.0)) / 2.0


def binary_entropy(probability: ArrayLike) -> NDArray[np.float64]:
    """Return -p log2 p - (1-p) log2 (1-p) in bits, 0 at both ends of [0, 1]."""
    p = np.clip(require_between("probability", probability, 0.0, 1.0), 0.0, 1.0)
    return np.asarray(-_x_log2_x(p) - _x_log2_x(1.0 - p))


def secret_key_fraction(werner: ArrayLike) -> NDArray[np.float64]:
    """Return max(0, 1 - 2 h(Q)), the secret bits that a Werner pair yields in the asymptotic limit.

    Entanglement-based BBM92 with ideal error correction and privacy amplification, the same error rate Q in both
    bases; it vanishes at Q = 0.110028, F = 0.834958. Sifting is not counted: with an agreed order of bases no pair is
    lost to it.

    Source:
        Shor and Preskill, PRL 85, 441, 2000.
    """
    return np.maximum(0.0, 1.0 - 2.0 * binary_entropy(quantum_bit_error_rate(werner)))


def _x_log2_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x log2 x with its limit 0 at x = 0."""
    return np.asarray(x * np.log2(np.where(x > 0.0, x, 1.0)))
