"""What joint tests of some pairs of a block say about those of its pairs that were not tested.

Of `n_pairs` pairs, `n_tests` are drawn at random without replacement, after the pairs were stored, and tested in random
bases. Pair i passes with probability `P_i <= (1 + 2 F_i)/3`, where `F_i = (1 + |c_x| + |c_y| + |c_z|)/4` is its
fidelity up to what one end may do to its half alone: an end that lies cannot answer better than that (equal to the
fidelity, for pairs whose correlators are not negative). What is bounded is P_U, the mean of P over the pairs that are
**left**, and with it their mean fidelity. The pairs may differ from one another in any way that was fixed before the
draw.

Derivation. S tests pass, T is the set of tested pairs, `a = n_tests/(n_pairs - n_tests)`. Since
`P_U = (1 + a) p - a P_T`, p being the mean over all pairs and P_T that over T, the error `S/n_tests - P_U` is
`(1 + a)(W - p)` with `W = (S/n_tests + a P_T)/(1 + a)`. Given T, S is a sum of independent Bernoulli variables, so
`E exp(m n_tests (1 + a) W)` is the mean over T of a product of `g(P_i) = exp(m a P_i)(1 + P_i (e^m - 1))` over T, and
at most the power `n_tests` of the mean of g over all pairs (Hoeffding 1963, theorem 4: sampling without replacement is
dominated by sampling with it). g is convex: among populations of mean p, that of zeros and ones has the largest mean of
g, `1 - p + p exp(m (1 + a))`. This is the moment generating function of a Bernoulli variable, hence Chernoff's bound

    `P(W >= w) <= exp(-n_tests kl(w, p))` for w > p, kl the relative entropy of Bernoulli distributions.

A liar may choose its answers after it knows T, but each pair passes at most with its P_i whatever the others do, so S
is dominated by the sum above, and bounds that rise with S hold all the same.

The same argument by Hoeffding's lemma gives the radius that is known before the tests: each summand `X_i + a P_i` with
P in [l, 1] has width `1 + a (1 - l)`. With many tests Serfling's inequality for P_T, whose range is `1 - l`, beside
Hoeffding's for S given T is narrower.

Sources:
    Hoeffding, JASA 58, 13 (1963); Serfling, Annals of Statistics 2, 39 (1974).
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between

__all__ = [
    "one_sided_fidelity",
    "untested_fidelity_bounds",
    "untested_fidelity_radius",
    "untested_pass_lower_bound",
]

FloatArray = NDArray[np.float64]

# A pair without any correlation passes with 1/2; with negative fidelity-correlators an honest end sees 1/3.
_LEAST_PASS: Final = 0.5
_LEAST_HONEST_PASS: Final = 1.0 / 3.0
_BISECTIONS: Final = 60


def untested_fidelity_radius(
    n_pairs: int, n_tests: int, failure_probability: float, *, two_sided: bool = False
) -> float:
    """Return epsilon: the estimate exceeds the mean fidelity of the untested pairs by more only with that probability.

    The estimate is `(3 P - 1)/2` with P the share of passed tests. It is the narrower of two radii of which neither
    depends on outcomes.

    Args:
        n_pairs: Pairs of the block.
        n_tests: Of these, tested ones, in [1, n_pairs).
        failure_probability: delta, in (0, 1/4].
        two_sided: Whether the estimate must not be too low either, which can be promised for honest ends alone.

    Raises:
        DomainError: An argument is outside its domain.
    """
    left, ratio = (float(number) for number in _checked(n_pairs, n_tests, failure_probability))
    lowest = _LEAST_HONEST_PASS if two_sided else _LEAST_PASS
    width = 1.0 - lowest
    logarithm = np.log((2.0 if two_sided else 1.0) / failure_probability)
    joint = (1.0 + ratio * width) ** 2
    apart = 1.0 + width**2 * n_pairs * (left + 1) / left**2
    return float(1.5 * np.sqrt(min(joint, apart) * logarithm / (2.0 * n_tests)))


def untested_pass_lower_bound(
    passed: ArrayLike, n_tests: ArrayLike, n_pairs: ArrayLike, failure_probability: float
) -> FloatArray:
    """Return a lower confidence bound on P_U, of the common shape of the counts; it rises with `passed`.

    With the limit `kl(W, p) <= ln(1/delta)/n_tests` it is the least `S/n_tests - (1 + a)(W - p)` over all W that P_T in
    [1/2, 1] allows. The set of allowed (W, p) is convex, so W - p is concave along its edge, largest at W = 1 - p.

    Args:
        passed: Passed tests, in [0, n_tests].
        n_tests: Tested pairs, in [1, n_pairs).
        n_pairs: Pairs of the block.
        failure_probability: delta, in (0, 1/4].

    Raises:
        DomainError: An argument is outside its domain.
    """
    ratio = _checked(n_pairs, n_tests, failure_probability)[1]
    share = _share(passed, n_tests)
    return _lower_bound(share, ratio, _LEAST_PASS, _limit(n_tests, failure_probability))


def untested_fidelity_bounds(
    passed: ArrayLike, n_tests: ArrayLike, n_pairs: ArrayLike, failure_probability: float
) -> tuple[FloatArray, FloatArray]:
    """Return the lower and the upper confidence bound on the mean fidelity of untested pairs, each at delta.

    Both hold together but for 2 delta. The lower one holds whatever one end does. The upper one is of use to honest
    ends: a liar can always make tests fail. Shapes, arguments and errors are those of `untested_pass_lower_bound`.
    """
    low = untested_pass_lower_bound(passed, n_tests, n_pairs, failure_probability)
    # A test fails with 1 - P in [0, 2/3]; that P_T may be anything only widens the range of W.
    ratio = _checked(n_pairs, n_tests, failure_probability)[1]
    high = 1.0 - _lower_bound(1.0 - _share(passed, n_tests), ratio, 0.0, _limit(n_tests, failure_probability))
    return np.clip((3.0 * low - 1.0) / 2.0, 0.0, 1.0), np.clip((3.0 * high - 1.0) / 2.0, 0.0, 1.0)


def one_sided_fidelity(pass_rate: ArrayLike) -> FloatArray:
    """Return the fidelity that a pass rate proves where one end lies and may have made the pairs itself.

    Such an end can send the other a state along (1, 1, 1) and pass with `(1 + 1/sqrt 3)/2` though nothing is entangled.
    A pure pair of concurrence s passes at most with `(1 + sqrt((1 + 2 s^2)/3))/2` and can be turned to fidelity
    `(1 + s)/2` by that end; the concave hull over mixtures gives `F >= 1 - (1 - P)(3 + sqrt 3)/2`, not below 1/4, the
    fidelity of the uncorrelated.

    Source:
        Derived here; the factor is that of Han, Li and Zhu, npj Quantum Information 7, 164 (2021), for these bases.
    """
    rate = require_between("pass_rate", pass_rate, 0.0, 1.0)
    return np.asarray(np.maximum(1.0 - (1.0 - rate) * (3.0 + 3.0**0.5) / 2.0, 0.25))


def _checked(n_pairs: ArrayLike, n_tests: ArrayLike, failure_probability: float) -> tuple[FloatArray, FloatArray]:
    """Return the pairs left and the ratio of tested to left ones."""
    pairs, tests = np.asarray(n_pairs, np.float64), np.asarray(n_tests, np.float64)
    if np.any((tests < 1) | (tests >= pairs)):
        raise DomainError(f"Argument `n_tests` must be in [1, n_pairs = {pairs}), but is {tests}.")
    if not 0.0 < failure_probability <= 0.25:
        raise DomainError(f"Argument `failure_probability` must be in (0, 1/4], but is {failure_probability}.")
    left = pairs - tests
    return left, tests / left


def _share(passed: ArrayLike, n_tests: ArrayLike) -> FloatArray:
    """Return the share of passed tests."""
    count, tests = np.asarray(passed, np.float64), np.asarray(n_tests, np.float64)
    if np.any((count < 0) | (count > tests)):
        raise DomainError(f"Argument `passed` must be in [0, n_tests = {tests}], but is {count}.")
    return count / tests


def _limit(n_tests: ArrayLike, failure_probability: float) -> FloatArray:
    return np.asarray(np.log(1.0 / failure_probability) / np.asarray(n_tests, np.float64))


def _lower_bound(share: FloatArray, ratio: FloatArray, lowest: float, limit: FloatArray) -> FloatArray:
    """Return the least mean of the untested ones if that of the tested ones is in [lowest, 1]."""
    w = np.clip(
        0.5 + _widest_half_gap(limit), (share + ratio * lowest) / (1.0 + ratio), (share + ratio) / (1.0 + ratio)
    )
    return np.asarray(np.clip(share - (1.0 + ratio) * (w - _least_mean(w, limit)), 0.0, 1.0))


def _relative_entropy(w: FloatArray, p: FloatArray) -> FloatArray:
    """Return kl(w, p) of Bernoulli distributions, for p in (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        high = np.where(w > 0.0, w * np.log(w / p), 0.0)
        low = np.where(w < 1.0, (1.0 - w) * np.log((1.0 - w) / (1.0 - p)), 0.0)
    return np.asarray(high + low)


def _least_mean(w: FloatArray, limit: FloatArray) -> FloatArray:
    """Return a p just below the least one in [0, w] with kl(w, p) <= limit."""
    low, high = np.zeros_like(w), np.array(w, copy=True)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        is_far = _relative_entropy(w, middle) > limit
        low, high = np.where(is_far, middle, low), np.where(is_far, high, middle)
    return low


def _widest_half_gap(limit: FloatArray) -> FloatArray:
    """Return d with kl(1/2 + d, 1/2 - d) = limit; the larger end, so that the gap is not missed by rounding."""
    low, high = np.zeros_like(limit), np.full_like(limit, 0.5)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        with np.errstate(divide="ignore"):
            is_far = 2.0 * middle * np.log((0.5 + middle) / (0.5 - middle)) > limit
        low, high = np.where(is_far, low, middle), np.where(is_far, middle, high)
    return high
