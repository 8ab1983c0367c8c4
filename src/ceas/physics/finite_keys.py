"""How much key a finite block of pairs gives, with security parameters.

Of N = n + k pairs that both ends measured in agreed bases, n measured in X make the raw key and k measured in Z, chosen
at random and unknown to the source, are compared. When their error rate is at most Q_tol, the key may be

    l = n (1 - h(Q_tol + mu)) - leak - log2(2/(eps_sec^2 eps_cor)),   mu = sqrt((n + k)(k + 1) ln(4/eps_sec)/(n k^2))

bits long: it is then eps_cor-correct and eps_sec-secret against any attack, with perfect measurements in the two bases.
`mu` comes from Serfling's bound for sampling without replacement, at a failure probability (eps_sec/4)^2, which costs
half of eps_sec; the other half pays for hashing. Error correction costs `leak = f n h(Q_key)` bits for a code f times
above Shannon's limit.

Source:
    Tomamichel, Lim, Gisin and Renner, Nature Communications 3, 634, 2012, theorem 2 and supplementary notes 1 and 2
    (q = 1). Their simulations take f = 1.1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between, require_positive
from ceas.physics.keys import binary_entropy, pauli_error_rates

__all__ = [
    "KeySecurity",
    "KeySplit",
    "finite_key_length",
    "finite_key_table",
    "optimal_key_split",
    "sampling_deviation",
]

# Test sizes tried in the search for the best split: a geometric grid, then neighbourhoods of the best.
_CANDIDATES = 400
_ZOOMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySecurity:
    """What a key has to satisfy.

    Attributes:
        secrecy: eps_sec, how far the key may be from one that is unknown to all others, in (0, 1).
        correctness: eps_cor, the chance that the ends hold different keys, in (0, 1).
        correction_inefficiency: f, bits that error correction reveals over Shannon's limit, at least 1.
        error_rate_margin: How far Q_tol is set above the expected error rate, so that an honest run seldom aborts.
    """

    secrecy: float = 1e-10
    correctness: float = 1e-15
    correction_inefficiency: float = 1.1
    error_rate_margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("secrecy", "correctness"):
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise DomainError(f"Argument `{name}` must be in (0, 1), but is {value:g}.")
        if not self.correction_inefficiency >= 1.0:
            raise DomainError(
                f"Argument `correction_inefficiency` must be at least 1, but is {self.correction_inefficiency:g}."
            )
        require_between("error_rate_margin", self.error_rate_margin, 0.0, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySplit:
    """The best use of blocks of pairs, one entry a block.

    Attributes:
        n_test: Pairs compared and thereby spent.
        n_key: Pairs that make the raw key.
        key_bits: Whole secret bits, 0 where no split gives any.
    """

    n_test: NDArray[np.int64]
    n_key: NDArray[np.int64]
    key_bits: NDArray[np.int64]

    @property
    def key_fraction(self) -> NDArray[np.float64]:
        """Secret bits for each pair of the block, tests included."""
        return np.asarray(self.key_bits / (self.n_test + self.n_key))


def sampling_deviation(
    n_untested: ArrayLike, n_tested: ArrayLike, failure_probability: ArrayLike
) -> NDArray[np.float64]:
    """Return by how much the error rate of the untested pairs may exceed that of the tested ones.

    With k of n + k pairs tested at random, whatever the errors and their correlations, it exceeds it by more than
    sqrt((n + k)(k + 1) ln(1/delta)/(2 n k^2)) with probability at most delta.

    Source:
        Serfling, Annals of Statistics 2, 39, 1974, in the form of Tomamichel et al. 2012, supplementary note 2.
    """
    n, k = require_positive("n_untested", n_untested), require_positive("n_tested", n_tested)
    delta = require_positive(
        "failure_probability", require_between("failure_probability", failure_probability, 0.0, 1.0)
    )
    return np.asarray(np.sqrt((n + k) * (k + 1.0) * np.log(1.0 / delta) / (2.0 * n * k**2)))


def finite_key_length(
    n_key: ArrayLike,
    n_test: ArrayLike,
    test_error_rate: ArrayLike,
    key_error_rate: ArrayLike | None = None,
    security: KeySecurity = KeySecurity(),
) -> NDArray[np.float64]:
    """Return the secret key length in bits (a real number, at least 0) of one block.

    Args:
        n_key: Pairs in the raw key, at least 1.
        n_test: Pairs compared in the other basis, at least 1.
        test_error_rate: Error rate found or expected in the compared basis, in [0, 1/2]; the security's margin is
            added to it.
        key_error_rate: Error rate in the key's basis, which error correction has to mend; the same when left out.
        security: Security parameters.

    Returns:
        Lengths of the broadcast shape. The formula is in this module's docstring.
    """
    n, k = require_positive("n_key", n_key), require_positive("n_test", n_test)
    tested = require_between("test_error_rate", test_error_rate, 0.0, 0.5)
    corrected = tested if key_error_rate is None else require_between("key_error_rate", key_error_rate, 0.0, 0.5)
    # (eps_sec/4)^2 as a failure probability makes this mu; above 1/2 nothing is secret.
    deviation = sampling_deviation(n, k, (security.secrecy / 4.0) ** 2)
    phase_error = np.minimum(tested + security.error_rate_margin + deviation, 0.5)
    leak = security.correction_inefficiency * n * binary_entropy(corrected)
    overhead = 1.0 - 2.0 * np.log2(security.secrecy) - np.log2(security.correctness)
    return np.asarray(np.maximum(0.0, n * (1.0 - binary_entropy(phase_error)) - leak - overhead))


def optimal_key_split(
    n_pairs: ArrayLike,
    test_error_rate: ArrayLike,
    key_error_rate: ArrayLike | None = None,
    security: KeySecurity = KeySecurity(),
) -> KeySplit:
    """Return how many pairs of each block to compare so that the key is longest.

    Args:
        n_pairs: Pairs in a block, at least 2.
        test_error_rate: Expected error rate in the compared basis, in [0, 1/2].
        key_error_rate: Expected error rate in the key's basis; the same when left out.
        security: Security parameters.

    Returns:
        One entry a block, of the broadcast shape. Key bits are whole, at most one below the best of all splits.
    """
    pairs = np.floor(require_positive("n_pairs", n_pairs))
    if np.any(pairs < 2):
        raise DomainError(f"Argument `n_pairs` must be at least 2, but is {pairs.min():g}.")
    tested = require_between("test_error_rate", test_error_rate, 0.0, 0.5)
    corrected = tested if key_error_rate is None else require_between("key_error_rate", key_error_rate, 0.0, 0.5)
    pairs, tested, corrected = np.broadcast_arrays(pairs, tested, corrected)
    low, high = np.ones_like(pairs), pairs - 1.0
    for _ in range(_ZOOMS):
        candidates = np.clip(np.rint(np.geomspace(low, high, _CANDIDATES)), 1.0, pairs - 1.0)
        lengths = finite_key_length(pairs - candidates, candidates, tested, corrected, security)
        index = np.argmax(lengths, axis=0)[None]
        low = np.take_along_axis(candidates, np.maximum(index - 1, 0), axis=0)[0]
        high = np.take_along_axis(candidates, np.minimum(index + 1, _CANDIDATES - 1), axis=0)[0]
    n_test = np.take_along_axis(candidates, index, axis=0)[0]
    return KeySplit(
        n_test=n_test.astype(np.int64),
        n_key=(pairs - n_test).astype(np.int64),
        key_bits=np.floor(np.take_along_axis(lengths, index, axis=0)[0]).astype(np.int64),
    )


def finite_key_table(
    bell_diagonal: ArrayLike,
    block_sizes: ArrayLike,
    security: KeySecurity = KeySecurity(),
) -> KeySplit:
    """Return the best split of blocks `(blocks,)` of pairs `(..., 4)`, of shape `(blocks, ...)`.

    X outcomes make the key and Z outcomes are compared, or the other way round: whichever is better for the pair.
    """
    errors = pauli_error_rates(bell_diagonal)
    sizes = np.atleast_1d(np.asarray(block_sizes, dtype=np.float64))
    sizes = sizes.reshape(len(sizes), *(1 for _ in errors.shape[:-1]))
    # Nobody calls an error rate above 1/2 an error rate: the bits are flipped instead.
    x, z = np.minimum(errors[..., 0], 1.0 - errors[..., 0]), np.minimum(errors[..., 2], 1.0 - errors[..., 2])
    one, other = optimal_key_split(sizes, z, x, security), optimal_key_split(sizes, x, z, security)
    better = one.key_bits >= other.key_bits
    return KeySplit(
        n_test=np.where(better, one.n_test, other.n_test),
        n_key=np.where(better, one.n_key, other.n_key),
        key_bits=np.where(better, one.key_bits, other.key_bits),
    )
