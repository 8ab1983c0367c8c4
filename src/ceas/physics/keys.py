"""What a pair is worth as a key, and how a joint test of it turns out, for Werner and for Bell-diagonal pairs.

These are rates in the limit of endless keys; `ceas.physics.finite_keys` has the lengths of finite blocks.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_bell_diagonal, require_between
from ceas.physics.states import LOWEST_WERNER, bell_diagonal_to_correlators

__all__ = [
    "bbm92_key_fraction",
    "binary_entropy",
    "hashing_fraction",
    "joint_test_pass_probability",
    "pauli_error_rates",
    "quantum_bit_error_rate",
    "secret_key_fraction",
    "six_state_key_fraction",
]


def quantum_bit_error_rate(werner: ArrayLike) -> NDArray[np.float64]:
    """Return Q = (1 - w)/2 = 2(1 - F)/3, the chance that the ends' bits differ in one Pauli basis."""
    return (1.0 - require_between("werner", werner, LOWEST_WERNER, 1.0)) / 2.0


def joint_test_pass_probability(werner: ArrayLike) -> NDArray[np.float64]:
    """Return (1 + w)/2 = (1 + 2F)/3, the chance to pass a joint test in a Pauli basis chosen at random.

    Both ends measure the same one of X, Y, Z and compare: Phi+ agrees in X and Z and disagrees in Y. In the mean over
    the bases it holds for every Bell-diagonal pair, with the Werner parameter of its fidelity.
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


def pauli_error_rates(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the chances `(..., 3)` that the ends' outcomes differ from Phi+'s when both measure X, Y or Z.

    They are (1 - c)/2 for each correlator; in the Y basis Phi+ itself has opposite outcomes. An outcome in basis i is
    wrong when the Pauli error is neither the identity nor i.
    """
    return np.asarray((1.0 - bell_diagonal_to_correlators(bell_diagonal)) / 2.0)


def bbm92_key_fraction(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return max(0, 1 - h(e_x) - h(e_z)), the asymptotic key of BBM92 in the X and Z bases.

    For a Werner pair it is `secret_key_fraction`. The error rates of the two bases may differ, as dephasing makes them.

    Source:
        Shor and Preskill, PRL 85, 441, 2000.
    """
    errors = pauli_error_rates(bell_diagonal)
    return np.maximum(0.0, 1.0 - binary_entropy(errors[..., 0]) - binary_entropy(errors[..., 2]))


def hashing_fraction(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return max(0, 1 - H(weights)), the perfect pairs that hashing distils from one, with one-way messages.

    A lower bound on the one-way distillable entanglement. For Werner pairs it is
    1 + F log2 F + (1 - F) log2((1 - F)/3), which vanishes at F = 0.810710.

    Source:
        Bennett, DiVincenzo, Smolin and Wootters, PRA 54, 3824, 1996, section III.B.
    """
    weights = np.clip(require_bell_diagonal("bell_diagonal", bell_diagonal), 0.0, 1.0)
    return np.asarray(np.maximum(0.0, 1.0 + _x_log2_x(weights).sum(axis=-1)))


def six_state_key_fraction(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the asymptotic key of the six-state protocol with one-way messages and no noisy preprocessing.

    Measuring all three bases reveals all weights, so Eve's part is what purifies them: the key is that of hashing,
    above BBM92's. For Werner pairs it vanishes at Q = 0.126193.
    """
    return hashing_fraction(bell_diagonal)


def _x_log2_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x log2 x with its limit 0 at x = 0."""
    return np.asarray(x * np.log2(np.where(x > 0.0, x, 1.0)))
