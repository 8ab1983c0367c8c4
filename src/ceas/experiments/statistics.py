"""Statistics over seeds: intervals, paired differences, corrections for many comparisons.

NaN policy: a value that is not finite is refused, never dropped. A run that diverged is a result, and whoever leaves
runs out has to say so where the values are chosen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "MeanInterval",
    "PairedDifference",
    "holm",
    "mean_interval",
    "paired_bootstrap",
    "paired_difference",
    "sign_flip_p_value",
]

FloatArray = NDArray[np.float64]

# Pairs up to which all ways to flip their signs are gone through, 16 384 of them.
EXACT_SIGN_FLIPS = 14
_N_SIGN_FLIPS = 20_000
# Sums of the same numbers in another order differ by rounding; they are ties.
_TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanInterval:
    """A mean and its confidence interval.

    Attributes:
        mean: Mean; NaN of no values.
        low: Lower end; NaN of fewer than two values.
        high: Upper end, likewise.
        n_values: Number of values.
    """

    mean: float
    low: float
    high: float
    n_values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean difference `a - b` over pairs (the same seeds), with two intervals and one test.

    Attributes:
        mean: Mean difference.
        low: Lower end of the bootstrap interval; NaN of fewer than two pairs, like all that follow.
        high: Upper end of the bootstrap interval.
        student_low: Lower end of Student's interval. With ten seeds or fewer it is the more honest of the two: the
            bootstrap cannot know the tails of a distribution that it has seen ten values of.
        student_high: Upper end of Student's interval.
        p_value: Two-sided paired t-test of a mean difference of 0.
        standard_error: Standard error of the mean difference.
        n_pairs: Number of pairs.
        sign_flip_p_value: Two-sided permutation test of the same, see `sign_flip_p_value`.
    """

    mean: float
    low: float
    high: float
    student_low: float
    student_high: float
    p_value: float
    standard_error: float
    n_pairs: int
    sign_flip_p_value: float = float("nan")


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean and Student's confidence interval `mean +- t s / sqrt(n)`.

    Args:
        values: One value per seed, shape (n,), finite. No value gives NaN, one value a mean without an interval.
        confidence: Confidence level in (0, 1).

    Raises:
        DomainError: A value is not finite, or the shape or the confidence is wrong.
    """
    numbers = _checked(values, "values")
    _check_confidence(confidence)
    n_values = len(numbers)
    mean = float(numbers.mean()) if n_values else float("nan")
    half = _half_width(numbers, confidence)
    return MeanInterval(mean=mean, low=mean - half, high=mean + half, n_values=n_values)


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare two methods on the same seeds.

    Args:
        a: Values of the one method, shape (n,), finite.
        b: Values of the other on the same seeds in the same order, shape (n,).
        confidence: Confidence level in (0, 1) of both intervals.
        n_resamples: Bootstrap resamples.
        seed: Seed of the resamples; the same data always give the same interval.

    Raises:
        DomainError: A value is not finite, or the shapes differ.

    Source:
        Bias-corrected and accelerated bootstrap: Efron, JASA 1987.
    """
    differences = _differences(a, b)
    student = mean_interval(differences, confidence=confidence)
    low, high = _bootstrap(differences, confidence, n_resamples, seed)
    return PairedDifference(
        mean=student.mean,
        low=low,
        high=high,
        student_low=student.low,
        student_high=student.high,
        p_value=_t_test(differences),
        sign_flip_p_value=_sign_flips(differences, seed) if len(differences) > 1 else float("nan"),
        standard_error=_standard_error(differences),
        n_pairs=len(differences),
    )


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.95, seed: int = 0, n_resamples: int = 10_000
) -> MeanInterval:
    """Return the mean difference `a - b` over pairs with its bias-corrected and accelerated bootstrap interval.

    With ten pairs or fewer it is too narrow: of normal differences, 95 % intervals cover about 84 % with 5 pairs and
    90 % with 10; Student's (`paired_difference`) then are the honest ones.

    Args:
        a: Values of the one method, shape (n,), finite.
        b: Values of the other on the same seeds in the same order, shape (n,).
        level: Confidence level in (0, 1).
        seed: Seed of the resamples; the same data always give the same interval.
        n_resamples: Bootstrap resamples.

    Raises:
        DomainError: A value is not finite, the shapes differ, or the level is wrong.

    Source:
        Efron, JASA 82, 171 (1987).
    """
    differences = _differences(a, b)
    _check_confidence(level)
    low, high = _bootstrap(differences, level, n_resamples, seed)
    mean = float(differences.mean()) if len(differences) else float("nan")
    return MeanInterval(mean=mean, low=low, high=high, n_values=len(differences))


def sign_flip_p_value(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> float:
    """Test whether paired differences `a - b` are symmetric about 0, by flipping their signs; two-sided.

    The p-value is the share of sign patterns whose sum is at least as far from 0 as the observed one: of all 2^n for at
    most 14 pairs, so that it is exact and at least 2^(1-n); of 20 000 random ones beside the observed pattern for more.
    Nothing is assumed of the distribution but its symmetry, and the test keeps its level at every n.

    Args:
        a: Values of the one method, shape (n,), finite.
        b: Values of the other on the same seeds in the same order, shape (n,).
        seed: Seed of the random patterns.

    Returns:
        p-value in (0, 1]; NaN without pairs.

    Raises:
        DomainError: A value is not finite, or the shapes differ.

    Source:
        Fisher, The Design of Experiments, 1935, section 21; counting the observed pattern: Phipson and Smyth, Stat.
        Appl. Genet. Mol. Biol. 9, 39 (2010).
    """
    return _sign_flips(_differences(a, b), seed)


def _sign_flips(differences: FloatArray, seed: int) -> float:
    n_pairs = len(differences)
    if n_pairs == 0:
        return float("nan")
    sizes = np.abs(differences)
    observed = abs(float(differences.sum())) - _TIE * float(sizes.sum())
    if n_pairs <= EXACT_SIGN_FLIPS:
        # Both signs of a whole pattern give the same distance, so the first sign may stay.
        bits = np.arange(2 ** (n_pairs - 1))[:, None] >> np.arange(n_pairs) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sizes) >= observed))
    signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, size=(_N_SIGN_FLIPS, n_pairs))
    return (1 + int(np.count_nonzero(np.abs(signs @ sizes) >= observed))) / (_N_SIGN_FLIPS + 1)


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjust p-values so that rejecting those below alpha keeps the chance of any false rejection below alpha.

    Sorted, `p_(i)` becomes the running maximum of `(m - i + 1) p_(i)`, at most 1. Any dependence is allowed.

    Args:
        p_values: Shape (m,), in [0, 1].

    Returns:
        Adjusted p-values in the given order, shape (m,).

    Raises:
        DomainError: A value is not in [0, 1].

    Source:
        Holm, Scand. J. Statist. 6, 65 (1979).
    """
    values = _checked(p_values, "p_values")
    if np.any((values < 0) | (values > 1)):
        raise DomainError(f"Argument `p_values` must be in [0, 1], but holds {values[(values < 0) | (values > 1)][0]}.")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _half_width(numbers: FloatArray, confidence: float) -> float:
    if len(numbers) < 2:
        return float("nan")
    from scipy.special import stdtrit  # noqa: PLC0415  (keeps the import of the room light)

    quantile = float(stdtrit(len(numbers) - 1, (1 + confidence) / 2))
    return quantile * _standard_error(numbers)


def _standard_error(numbers: FloatArray) -> float:
    return float(numbers.std(ddof=1)) / float(np.sqrt(len(numbers))) if len(numbers) > 1 else float("nan")


def _t_test(differences: FloatArray) -> float:
    if len(differences) < 2:
        return float("nan")
    from scipy.special import stdtr  # noqa: PLC0415  (keeps the import of the room light)

    error = _standard_error(differences)
    mean = float(differences.mean())
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(len(differences) - 1, -abs(mean) / error))


def _bootstrap(differences: FloatArray, confidence: float, n_resamples: int, seed: int) -> tuple[float, float]:
    """Return the BCa interval of the mean."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415  (keeps the import of the room light)

    n_pairs = len(differences)
    if n_pairs < 2:
        return float("nan"), float("nan")
    mean = differences.mean()
    centred = differences - mean
    if not np.any(centred):
        return float(mean), float(mean)
    rng = np.random.default_rng(seed)
    means = differences[rng.integers(0, n_pairs, size=(n_resamples, n_pairs))].mean(axis=1)
    # Ties count half; the clip keeps the quantile finite when all resamples lie on one side.
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means <= mean)) / (2 * n_resamples)
    bias = ndtri(np.clip(below, 1 / n_resamples, 1 - 1 / n_resamples))
    # Leaving value i out moves a mean by -(x_i - mean)/(n - 1), so the jackknife's skewness is that of the data.
    acceleration = np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5)
    normal = ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    shifted = bias + normal
    low, high = np.quantile(means, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def _checked(values: ArrayLike, name: str) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise DomainError(f"Argument `{name}` must have shape (n,), but has shape {numbers.shape}.")
    if not np.all(np.isfinite(numbers)):
        raise DomainError(f"Argument `{name}` must be finite, but holds {numbers[~np.isfinite(numbers)][0]}.")
    return numbers


def _differences(a: ArrayLike, b: ArrayLike) -> FloatArray:
    first, second = _checked(a, "a"), _checked(b, "b")
    if first.shape != second.shape:
        raise DomainError(f"Arguments `a` and `b` must be of one length, but have {len(first)} and {len(second)}.")
    return first - second


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise DomainError(f"Argument `confidence` must be in (0, 1), but is {confidence}.")
