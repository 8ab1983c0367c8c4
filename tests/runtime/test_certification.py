"""Joint tests and the certification of claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.attacks import Claims
from ceas.runtime.certification import JointTests, certify_claims, finite_claims

RNG_SEED = 7


def counts_of(werner: float, n_tests: int) -> JointTests:
    tests = JointTests.none_yet(2)
    link = np.zeros(n_tests, np.int32)
    tests.observe(link, np.full(n_tests, werner, np.float32), np.random.default_rng(RNG_SEED))
    return tests


@pytest.mark.parametrize("werner", [0.0, 0.4, 0.9])
def test_the_estimate_is_the_werner_parameter(werner: float) -> None:
    """n = 400,000 tests; the estimate's deviation is below 2 sqrt(1/4 / n) * 4.9 = 0.0078 but for 1e-6."""
    n_tests = 400_000
    assert counts_of(werner, n_tests).estimate()[0] == pytest.approx(werner, abs=4.9 / np.sqrt(n_tests))


def test_perfect_pairs_always_pass() -> None:
    tests = counts_of(1.0, 1000)
    assert tests.passed[0] == tests.tested[0] == 1000
    assert tests.estimate()[0] == 1.0


def test_nothing_is_certified_about_a_link_without_tests() -> None:
    tests = counts_of(0.5, 10)
    assert (tests.estimate()[1], tests.upper_bound(0.01)[1]) == (1.0, 1.0)


def test_the_upper_bound_holds_as_often_as_it_says() -> None:
    """2,000 links of 300 tests each at w = 0.8 and delta = 0.1: Hoeffding allows 200 failures in the mean.

    More than 273 have a probability below 1e-6 even if each fails with 0.1 (binomial, 5.4 standard deviations).
    """
    n_links, n_tests = 2000, 300
    tests = JointTests.none_yet(n_links)
    link = np.repeat(np.arange(n_links, dtype=np.int32), n_tests)
    tests.observe(link, np.full(link.shape, 0.8, np.float32), np.random.default_rng(RNG_SEED))
    failures = int((tests.upper_bound(0.1) < 0.8).sum())
    assert 0 < failures <= 273


def test_the_upper_bound_narrows_with_the_square_root_of_the_tests() -> None:
    slack = [counts_of(0.5, n).upper_bound(1e-3)[0] - counts_of(0.5, n).estimate()[0] for n in (10_000, 40_000)]
    assert slack[0] == pytest.approx(2 * slack[1])
    assert slack[0] == pytest.approx(np.sqrt(2 * np.log(1e3) / 10_000))


def claims_of(*columns: list[float]) -> Claims:
    return Claims(*(np.array(column) for column in columns))


def test_an_honest_claim_is_left_alone() -> None:
    claims = claims_of([100.0], [0.7], [0.6])
    certified = certify_claims(claims, delivered_shots=np.array([100]), contraction_bound=np.array([0.8]))
    assert [column.tolist() for column in certified] == [[100.0], [0.7], [0.6]]


any_number = st.floats(allow_nan=True, allow_infinity=True)


@given(any_number, any_number, any_number)
def test_no_claim_passes_what_can_be_verified(shots: float, contraction: float, fisher: float) -> None:
    certified = certify_claims(
        claims_of([shots], [contraction], [fisher]), delivered_shots=np.array([50]), contraction_bound=np.array([0.3])
    )
    for column, bound in zip(certified, (50.0, 0.3, 1.0), strict=True):
        assert 0.0 <= column[0] <= bound


@given(any_number, any_number, any_number)
def test_claims_that_are_not_certified_stay_as_they_are_or_are_zero(
    shots: float, contraction: float, fisher: float
) -> None:
    made = [shots, contraction, fisher]
    believed = finite_claims(claims_of(*([value] for value in made)))
    for column, value in zip(believed, made, strict=True):
        assert column[0] == (value if np.isfinite(value) and value > 0 else 0.0)
