"""Statistics over seeds: textbook values, SciPy as oracle, coverage, and the NaN policy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ceas.errors import DomainError
from ceas.experiments.statistics import holm, mean_interval, paired_difference


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
