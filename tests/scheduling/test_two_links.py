"""Two links at one node: exact, against one link alone, an index policy and the bound of separate prices."""

import itertools

import numpy as np
import pytest

from ceas.errors import CapacityError, DomainError
from ceas.scheduling.one_link import (
    OneLinkProblem,
    evaluate_one_link,
    freshest_qualifying,
    oldest_qualifying,
    solve_one_link,
    step_value,
)
from ceas.scheduling.two_links import TwoLinkProblem, TwoLinkTables, evaluate_two_links, solve_two_links


def link(success=0.3, *, memory_slots=2, high=0.1, low=0.3, lifetime=8, **options):
    value = [
        step_value(weight=3.0, max_age=2, lifetime=lifetime),
        step_value(weight=1.0, max_age=lifetime, lifetime=lifetime),
    ]
    return OneLinkProblem(
        success_probability=success,
        memory_slots=memory_slots,
        request_probability=[high, low],
        value=np.stack(value),
        **options,
    )


def priced(problem, price):
    return OneLinkProblem(
        success_probability=problem.success_probability,
        memory_slots=problem.memory_slots,
        request_probability=problem.request_probability,
        value=problem.value,
        attempt_price=price,
        may_replace=problem.may_replace,
    )


@pytest.mark.parametrize("options", [{}, {"may_replace": True, "attempt_price": 0.04, "memory_price": 0.01}])
def test_beside_a_link_that_never_succeeds_the_other_is_alone(options):
    alone, idle = link(**options), link(0.0, memory_slots=1)
    joint = solve_two_links(TwoLinkProblem(first=alone, second=idle))
    assert joint.gain == pytest.approx(solve_one_link(alone).gain, abs=1e-7)
    other = solve_two_links(TwoLinkProblem(first=idle, second=alone))
    assert other.gain == pytest.approx(joint.gain, abs=1e-7)


def index_tables(problem, price):
    """Attempt the link whose new pair is worth most at the price, serve by each link's own bid."""
    first, second = (solve_one_link(priced(one, price)) for one in (problem.first, problem.second))
    gains = []
    for solution in (first, second):
        states, value = solution.problem.states, solution.bias_at_request
        after = np.where(states.added >= 0, states.added, states.replaced)
        is_possible = (states.added >= 0) | solution.problem.may_replace
        gains.append(np.where(is_possible, solution.problem.success_probability * (value[after] - value), -1.0))
    one, other = np.meshgrid(*gains, indexing="ij")
    attempt = np.where(np.maximum(one, other) <= 0.0, 0, np.where(one >= other, 1, 2)).astype(np.int8)
    return TwoLinkTables(attempt=attempt, first_serve=first.policy.serve, second_serve=second.policy.serve)


def test_the_index_comes_close_and_no_price_undercuts_the_best():
    """Weak duality: V_1(price) + V_2(price) + price bounds the joint best from above for every price."""
    problem = TwoLinkProblem(first=link(0.4, high=0.15), second=link(0.25, high=0.05, low=0.4))
    best = solve_two_links(problem)
    prices = np.linspace(0.0, 0.4, 9)
    bounds = [
        solve_one_link(priced(problem.first, price)).gain_upper
        + solve_one_link(priced(problem.second, price)).gain_upper
        + price
        for price in prices
    ]
    assert min(bounds) >= best.gain_lower
    assert min(bounds) <= 1.1 * best.gain
    gains = [evaluate_two_links(problem, index_tables(problem, price)).gain for price in prices]
    assert max(gains) <= best.gain_upper
    assert max(gains) >= 0.98 * best.gain
    # Doing the opposite of the index is worse, so the comparison can fail.
    tables = index_tables(problem, prices[4])
    turned = np.where(tables.attempt == 0, 0, 3 - tables.attempt).astype(np.int8)
    full_1, full_2 = (one.states.n_stored == 2 for one in (problem.first, problem.second))
    turned[(turned == 1) & full_1[:, None]] = 0
    turned[(turned == 2) & full_2[None, :]] = 0
    opposite = TwoLinkTables(attempt=turned, first_serve=tables.first_serve, second_serve=tables.second_serve)
    assert evaluate_two_links(problem, opposite).gain < 0.95 * max(gains)


def brute_force_gain(problem):
    """The joint best by plain value iteration over dictionaries of two age vectors."""
    links = (problem.first, problem.second)
    vectors = []
    for one in links:
        bins = one.value.shape[1]
        sizes = range(one.memory_slots + 1)
        vectors.append([v for k in sizes for v in itertools.combinations_with_replacement(range(bins), k)])
    h = dict.fromkeys(itertools.product(*vectors), 0.0)

    def answers(one, ages, request):
        yield 0.0, ages
        if request >= 0:
            for i, age in enumerate(ages):
                if one.value[request, age] > 0:
                    yield one.value[request, age], ages[:i] + ages[i + 1 :]

    def chance(one, request):
        return one.request_probability[request] if request >= 0 else 1 - sum(one.request_probability)

    def at_request(pair):
        return sum(
            chance(links[0], r1)
            * chance(links[1], r2)
            * max(
                v1 + v2 + h[a1, a2]
                for v1, a1 in answers(links[0], pair[0], r1)
                for v2, a2 in answers(links[1], pair[1], r2)
            )
            for r1 in range(-1, len(links[0].value))
            for r2 in range(-1, len(links[1].value))
        )

    for _ in range(2000):
        value = {pair: at_request(pair) for pair in h}
        after = {}
        for pair, here in value.items():
            held = len(pair[0]) + len(pair[1])
            best = here
            for k, one in enumerate(links):
                if len(pair[k]) < one.memory_slots and held < problem.slots:
                    new, kept = (0, *pair[k]), one.memory_price
                elif one.may_replace and pair[k]:
                    new, kept = (0, *pair[k][:-1]), 0.0
                else:
                    continue
                there = value[(new, pair[1]) if k == 0 else (pair[0], new)]
                p = one.success_probability
                best = max(best, p * there + (1 - p) * here - one.attempt_price - kept)
            after[pair] = best - sum(one.memory_price * len(ages) for one, ages in zip(links, pair, strict=True))
        aged = {
            pair: tuple(
                tuple(a + 1 for a in ages if a + 1 < one.value.shape[1]) for one, ages in zip(links, pair, strict=True)
            )
            for pair in h
        }
        change = [after[aged[pair]] - h[pair] for pair in h]
        if max(change) - min(change) < 1e-10:
            return max(change)
        shift = after[aged[(), ()]]
        h = {pair: after[aged[pair]] - shift for pair in h}
    raise AssertionError


@pytest.mark.parametrize("shared_slots", [None, 2])
def test_an_independent_solver_agrees(shared_slots):
    problem = TwoLinkProblem(
        first=link(0.5, lifetime=2, may_replace=True, memory_price=0.02),
        second=link(0.3, memory_slots=1, lifetime=3, attempt_price=0.05),
        shared_slots=shared_slots,
    )
    assert solve_two_links(problem).gain == pytest.approx(brute_force_gain(problem), abs=1e-7)


def test_sharing_memory_costs_and_sharing_attempts_costs():
    separate = TwoLinkProblem(first=link(), second=link())
    shared = TwoLinkProblem(first=link(), second=link(), shared_slots=2)
    alone = 2 * solve_one_link(link()).gain
    assert solve_two_links(shared).gain < solve_two_links(separate).gain < alone


def test_a_policy_is_worth_no_more_than_the_best():
    problem = TwoLinkProblem(first=link(), second=link(0.2))
    best = solve_two_links(problem)
    for rule in (oldest_qualifying, freshest_qualifying):
        tables = TwoLinkTables(
            attempt=best.attempt, first_serve=rule(problem.first).serve, second_serve=rule(problem.second).serve
        )
        assert evaluate_two_links(problem, tables).gain <= best.gain_upper
    # One link alone, attempted whenever it has room, is the one-link chain.
    attempt = np.zeros(problem.shape, np.int8)
    attempt[problem.first.states.n_stored < 2, :] = 1
    only = TwoLinkTables(
        attempt=attempt,
        first_serve=oldest_qualifying(problem.first).serve,
        second_serve=oldest_qualifying(problem.second).serve,
    )
    alone = evaluate_one_link(problem.first, oldest_qualifying(problem.first)).gain
    assert evaluate_two_links(problem, only).gain == pytest.approx(alone, abs=1e-7)


def test_problems_and_policies_that_break_the_rules_are_refused():
    with pytest.raises(DomainError, match="age bins of one slot"):
        TwoLinkProblem(first=link(age_bin=2), second=link())
    with pytest.raises(DomainError, match="shared_slots"):
        TwoLinkProblem(first=link(), second=link(), shared_slots=0)
    with pytest.raises(CapacityError, match="joint states"):
        TwoLinkProblem(first=link(memory_slots=5), second=link(memory_slots=5))
    problem = TwoLinkProblem(first=link(), second=link())
    serve = oldest_qualifying(problem.first).serve
    everywhere = np.ones(problem.shape, np.int8)
    for attempt in (everywhere, 2 * everywhere, 3 * everywhere, everywhere[:-1]):
        with pytest.raises(DomainError, match="Argument `tables`"):
            evaluate_two_links(problem, TwoLinkTables(attempt=attempt, first_serve=serve, second_serve=serve))
    with pytest.raises(DomainError, match="that qualify"):
        evaluate_two_links(problem, TwoLinkTables(attempt=0 * everywhere, first_serve=0 * serve, second_serve=serve))
