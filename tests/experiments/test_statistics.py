"""Statistics over seeds: textbook values, SciPy as oracle, coverage, and the NaN policy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ceas.errors import DomainError
from ceas.experiments.statistics import (
    holm,
    mean_interval,
    paired_bootstrap,
    paired_difference,
    sign_flip_p_value,
)


def test_mean_interval_against_a_textbook_value() -> None:
    """Mean 3, s = sqrt(2.5), n = 5, t(4; 97.5 %) = 2.776445: half width 1.963243."""
    interval = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (interval.mean, interval.n_values) == (3.0, 5)
    assert interval.high - 3.0 == pytest.approx(1.963243, abs=1e-6)
    assert 3.0 - interval.low == pytest.approx(1.963243, abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.floats(0.5, 0.999))
def test_mean_interval_against_scipy(values: list[float], confidence: float) -> None:
    interval = mean_interval(values, confidence=confidence)
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    assert interval.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=1e-6, abs=1e-9)


def test_too_few_values_have_no_interval() -> None:
    empty, single = mean_interval([]), mean_interval([2.0])
    assert np.isnan([empty.mean, empty.low, empty.high, single.low, single.high]).all()
    assert (single.mean, single.n_values, empty.n_values) == (2.0, 1, 0)
    pair = paired_difference([3.0], [1.0])
    assert pair.mean == 2.0
    assert np.isnan([pair.low, pair.high, pair.student_low, pair.student_high, pair.p_value]).all()


def test_mean_interval_covers_at_its_level() -> None:
    """10 000 normal samples of 6: hits binomial(10 000, 0.95), false alarm <= 1e-6 beyond 4.9 deviations (1.07 %)."""
    samples = np.random.default_rng(1).normal(3.0, 2.0, size=(10_000, 6))
    intervals = [mean_interval(sample) for sample in samples]
    hits = np.mean([interval.low <= 3.0 <= interval.high for interval in intervals])
    assert abs(hits - 0.95) < 0.0107


def test_paired_difference_against_scipy() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.lognormal(0.0, 1.2, 15)
    b = rng.normal(0, 5, 15)
    a = b + skewed
    found = paired_difference(a, b)
    test = stats.ttest_rel(a, b)
    student = test.confidence_interval(0.95)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)
    assert (found.student_low, found.student_high) == pytest.approx((student.low, student.high), rel=1e-9)
    assert found.sign_flip_p_value == sign_flip_p_value(a, b)
    oracle = stats.bootstrap((a - b,), np.mean, method="BCa", n_resamples=50_000, rng=np.random.default_rng(3))
    interval = oracle.confidence_interval
    # Two bootstraps of 10 000 and 50 000 resamples: their quantiles differ by about 2 % of the width.
    width = interval.high - interval.low
    assert found.low == pytest.approx(interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(interval.high, abs=0.05 * width)
    # The percentile interval of these skewed data ends at 1.92, far from the corrected end.
    assert interval.high > 2.1


def test_pairing_removes_what_the_seeds_share() -> None:
    rng = np.random.default_rng(4)
    common = rng.normal(0, 50, 10)
    found = paired_difference(common + 1.0 + rng.normal(0, 0.1, 10), common)
    assert 0.8 < found.low < found.mean < found.high < 1.2
    assert found.p_value < 1e-6


def test_paired_difference_is_antisymmetric_repeatable_and_seeded() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=8), rng.normal(size=8)
    first, second = paired_difference(a, b), paired_difference(a, b)
    assert first == second
    assert paired_difference(a, b, seed=1).low != first.low
    mirrored = paired_difference(b, a)
    assert mirrored.mean == -first.mean
    assert mirrored.low == pytest.approx(-first.high, abs=0.03)
    assert mirrored.p_value == pytest.approx(first.p_value)


def test_equal_differences_have_no_spread() -> None:
    same = paired_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.mean, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    shifted = paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    assert (shifted.low, shifted.high, shifted.p_value) == (1.0, 1.0, 0.0)


def test_paired_bootstrap_is_the_interval_of_paired_difference_at_its_level() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=12), rng.normal(size=12)
    for level in (0.8, 0.95):
        found, whole = paired_bootstrap(a, b, level=level, seed=3), paired_difference(a, b, confidence=level, seed=3)
        assert (found.mean, found.low, found.high, found.n_values) == (whole.mean, whole.low, whole.high, 12)
    assert paired_bootstrap(a, b, level=0.5).low > paired_bootstrap(a, b).low
    oracle = stats.bootstrap((a - b,), np.mean, confidence_level=0.8, n_resamples=50_000, rng=np.random.default_rng(1))
    low, high = oracle.confidence_interval
    found = paired_bootstrap(a, b, level=0.8)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


def test_paired_bootstrap_of_few_pairs() -> None:
    empty, single = paired_bootstrap([], []), paired_bootstrap([3.0], [1.0])
    assert np.isnan([empty.mean, empty.low, single.low, single.high]).all()
    assert (single.mean, single.n_values, empty.n_values) == (2.0, 1, 0)
    same = paired_bootstrap([2.0, 3.0], [1.0, 2.0])
    assert (same.mean, same.low, same.high) == (1.0, 1.0, 1.0)


def test_paired_bootstrap_covers_as_it_says() -> None:
    """1200 samples each; another 6000 gave 93.2 % with 20 pairs and 84.2 % with 5, less than 95 % as they must.

    False alarm <= 1e-6 beyond 4.9 standard deviations of both together: 3.9 % at 93 %, 5.7 % at 84 %.
    """
    rng = np.random.default_rng(8)
    for n_pairs, coverage, slack in ((20, 0.932, 0.039), (5, 0.842, 0.057)):
        hits = 0
        for sample in rng.normal(1.0, 1.0, size=(1200, n_pairs)):
            found = paired_bootstrap(sample, np.zeros(n_pairs), n_resamples=500)
            hits += found.low <= 1.0 <= found.high
        assert abs(hits / 1200 - coverage) < slack


def test_sign_flips_by_hand() -> None:
    """Of (1, 2, 3) two of the eight patterns reach a sum of 6; of (1, 2, -3) all reach 0."""
    assert sign_flip_p_value([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == 2 / 8
    assert sign_flip_p_value([1.0, 2.0, -3.0], [0.0, 0.0, 0.0]) == 1.0
    # (1, 1, 1, -1) has the sum 2: only the 6 patterns of sum 0 stay below.
    assert sign_flip_p_value([1.0, 1.0, 1.0, -1.0], np.zeros(4)) == 10 / 16
    assert sign_flip_p_value([2.0], [1.0]) == 1.0
    assert sign_flip_p_value([0.1, 0.1], [0.1, 0.1]) == 1.0
    assert np.isnan(sign_flip_p_value([], []))
    # Sums of the same numbers in another order are ties whatever their rounding.
    assert sign_flip_p_value([0.1, 0.2, 0.3], np.zeros(3)) == 2 / 8


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_sign_flips_against_scipy_and_do_not_care_for_order_or_sign(values: list[float]) -> None:
    differences, zeros = np.round(np.array(values), 3), np.zeros(len(values))
    found = sign_flip_p_value(differences, zeros)

    def mean(sample: np.ndarray, axis: int) -> np.ndarray:
        return np.round(np.mean(sample, axis=axis), 9)

    oracle = stats.permutation_test(
        (differences,), mean, permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert found == pytest.approx(oracle.pvalue, abs=1e-12)
    assert sign_flip_p_value(zeros, differences) == found
    assert sign_flip_p_value(differences[::-1], zeros) == found
    assert found >= 2.0 ** (1 - len(values))


def test_random_sign_flips_come_close_to_all_of_them() -> None:
    """15 pairs are sampled: within 4.9 standard deviations of 20 000 patterns, false alarm 1e-6."""
    differences = np.random.default_rng(9).normal(0.4, 1.0, 15)
    bits = np.arange(2**15)[:, None] >> np.arange(15) & 1
    exact = np.mean(np.abs((1 - 2 * bits) @ differences) >= abs(differences.sum()) - 1e-9)
    assert 0.01 < exact < 0.9
    found = sign_flip_p_value(differences, np.zeros(15))
    assert abs(found - exact) < 4.9 * np.sqrt(exact * (1 - exact) / 20_000)
    assert found == sign_flip_p_value(differences, np.zeros(15))
    assert found != sign_flip_p_value(differences, np.zeros(15), seed=1)


def test_sign_flips_keep_their_level() -> None:
    """3000 samples of 8 heavy-tailed, symmetric values: p <= 5 % in 12/256 = 4.69 %, false alarm 1e-6 beyond 1.9 %."""
    samples = np.random.default_rng(10).standard_t(2, size=(3000, 8))
    rejected = np.mean([sign_flip_p_value(sample, np.zeros(8)) <= 0.05 for sample in samples])
    assert abs(rejected - 12 / 256) < 0.019


def test_holm_textbook_value() -> None:
    """Holm 1979, as tabulated by R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_value_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    raw, adjusted = np.array(p_values), holm(p_values)
    assert np.all((raw <= adjusted) & (adjusted <= np.minimum(1.0, len(raw) * raw) + 1e-15))
    assert np.all(np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0)


def test_holm_keeps_the_family_wise_error() -> None:
    """4000 families of 8 true hypotheses: any rejected at 10 %: 1 - 0.9875^8 = 9.57 %; false alarm <= 1e-6 at 2.3 %."""
    families = np.random.default_rng(6).uniform(size=(4000, 8))
    rejected = np.mean([holm(family).min() <= 0.1 for family in families])
    assert abs(rejected - 0.0957) < 0.023


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="values"):
        mean_interval([1.0, bad])
    with pytest.raises(DomainError, match="`b`"):
        paired_difference([1.0, 2.0], [1.0, bad])
    with pytest.raises(DomainError, match="`a`"):
        sign_flip_p_value([bad], [1.0])
    with pytest.raises(DomainError, match="`a`"):
        paired_bootstrap([bad], [1.0])
    with pytest.raises(DomainError, match="p_values"):
        holm([0.1, bad])


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(DomainError, match="one length"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(DomainError, match="shape"):
        mean_interval([[1.0]])
    for confidence in (0.0, 1.0, np.nan):
        with pytest.raises(DomainError, match="confidence"):
            mean_interval([1.0, 2.0], confidence=confidence)
    with pytest.raises(DomainError, match="p_values"):
        holm([0.5, 1.5])
