"""From a link's figures to a one-link problem of bounded size, solved once per kind."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import CapacityError, DomainError
from ceas.scheduling.one_link import solve_one_link
from ceas.scheduling.price_cache import LinkKind, PriceCache, RequestKind, oldest_qualifying_age, one_link_problem

WERNER = (4 * 0.95 - 1) / 3


def kind(**change):
    figures = {
        "success_probability": 0.3,
        "memory_slots": 2,
        "initial_werner": WERNER,
        "memory_time": 40.0,
        "requests": (
            RequestKind(probability=0.05, weight=3.0, min_fidelity=0.9, is_step=True),
            RequestKind(probability=0.2, weight=1.0, min_fidelity=0.75, is_step=True),
        ),
    }
    return LinkKind(**(figures | change))


@pytest.mark.parametrize(("fidelity", "age"), [(0.9, 2), (0.75, 13), (0.95, 0), (0.951, -1)])
def test_the_oldest_age_that_qualifies(fidelity, age):
    """F(t) = 1/4 + 3/4 W exp(-t / T) at the age and one slot later; 0.9 and 0.75 are ages 2 and 13 for T = 40."""
    request = RequestKind(probability=0.1, weight=1.0, min_fidelity=fidelity)
    assert oldest_qualifying_age(kind(), request) == age
    if age >= 0:
        assert 0.25 + 0.75 * WERNER * math.exp(-age / 40) >= fidelity - 1e-12
    assert 0.25 + 0.75 * WERNER * math.exp(-(age + 1) / 40) < fidelity


def test_without_a_least_fidelity_pairs_count_down_to_a_hundredth():
    request = RequestKind(probability=0.1, weight=1.0)
    assert oldest_qualifying_age(kind(), request) == math.floor(40 * math.log(10))


def test_the_problem_is_exact_where_it_fits_and_binned_where_not():
    problem = one_link_problem(kind())
    assert problem.age_bin == 1
    assert problem.states.n_states == 120
    long = one_link_problem(kind(memory_time=1000.0, memory_slots=4))
    assert long.age_bin > 1
    assert 500 <= long.states.n_states <= 3000
    with pytest.raises(CapacityError, match="153 states, more than 100"):
        one_link_problem(kind(memory_slots=16), most_states=100)


def test_the_gain_tends_to_the_exact_one_as_bins_narrow():
    """Values that fall smoothly, fifty ages: within 4 % with bins of five slots, and twice as close with two."""
    requests = (RequestKind(probability=0.05, weight=3.0), RequestKind(probability=0.1, weight=1.0))
    smooth = kind(requests=requests, lifetime=49, memory_time=30.0, success_probability=0.1)
    problems = [one_link_problem(smooth, most_states=most) for most in (66, 351, 1326)]
    assert [problem.age_bin for problem in problems] == [5, 2, 1]
    five, two, exact = (solve_one_link(problem).gain for problem in problems)
    assert five == pytest.approx(exact, rel=0.04)
    assert abs(two - exact) < 0.5 * abs(five - exact)


def test_a_kind_is_solved_once_and_the_oldest_is_dropped():
    cache = PriceCache(most_kinds=2)
    first = cache.solution(kind())
    assert cache.solution(kind()) is first
    second = cache.solution(kind(attempt_price=0.01), similar=first)
    assert second.gain < first.gain
    cache.solution(kind())
    cache.solution(kind(attempt_price=0.02), similar=cache.solution(kind(memory_slots=3)))
    assert (len(cache), cache.n_solved) == (2, 4)
    cache.solution(kind(attempt_price=0.01))
    assert cache.n_solved == 5


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    p=st.floats(0.001, 1.0),
    q=st.floats(0.001, 0.5),
    time=st.floats(1.0, 1e5),
    price=st.floats(0.0, 2.0),
    ratio=st.floats(1.01, 1.3),
)
def test_rounding_moves_little_and_only_once(p, q, time, price, ratio):
    requests = tuple(RequestKind(probability=q, weight=2.0) for _ in range(2))
    exact = kind(
        success_probability=p, memory_time=time, requests=requests, attempt_price=price, memory_price=price / time
    )
    rounded = exact.rounded(ratio=ratio)
    half = math.sqrt(ratio) * (1 + 1e-9)
    assert 1 / half <= rounded.success_probability / p <= half
    assert 1 / half <= rounded.memory_time / time <= half
    assert abs(rounded.attempt_price - price) <= 0.01 + 1e-12
    assert sum(request.probability for request in rounded.requests) <= 1.0 + 1e-12
    again = rounded.rounded(ratio=ratio)
    assert (again.success_probability, again.memory_time) == (rounded.success_probability, rounded.memory_time)
    assert again.attempt_price == pytest.approx(rounded.attempt_price)


def test_neighbours_share_a_solution():
    assert kind(attempt_price=0.0301).rounded() == kind(attempt_price=0.0299).rounded()
    assert kind(attempt_price=0.03).rounded() != kind(attempt_price=0.09).rounded()
    assert kind(success_probability=0.0).rounded().success_probability == 0.0


def test_kinds_outside_their_domain_are_refused():
    for change in (
        {"requests": ()},
        {"success_probability": -0.1},
        {"initial_werner": 1.1},
        {"memory_time": 0.0},
        {"attempt_price": -1.0},
        {"memory_price": math.nan},
    ):
        with pytest.raises(DomainError, match="must"):
            kind(**change)
    with pytest.raises(DomainError, match="ratio"):
        kind().rounded(ratio=1.0)
    with pytest.raises(DomainError, match="min_fidelity"):
        replace(kind().requests[0], min_fidelity=1.5)
