"""One link solved exactly: published-style tables, closed forms, an independent solver and slot-by-slot simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import CapacityError, CeasError, DomainError
from ceas.scheduling.age_states import age_states, n_age_states, rank_ages
from ceas.scheduling.one_link import (
    OneLinkPolicy,
    OneLinkProblem,
    evaluate_one_link,
    freshest_qualifying,
    oldest_qualifying,
    policy_from_rules,
    solve_one_link,
    step_value,
    werner_squared_value,
)

LIFETIME = 13


def two_classes(memory_slots, *, high=0.1, low=0.3, **options):
    """A class of weight 3 that takes ages up to 2, and one of weight 1 that takes every pair."""
    value = [step_value(weight=w, max_age=age, lifetime=LIFETIME) for w, age in ((3.0, 2), (1.0, 13))]
    return OneLinkProblem(
        success_probability=0.3,
        memory_slots=memory_slots,
        request_probability=[high, low],
        value=np.stack(value),
        **options,
    )


def smooth(*, may_replace):
    value = werner_squared_value(weight=1.0, initial_werner=(4 * 0.95 - 1) / 3, memory_time=40.0, lifetime=LIFETIME)
    return OneLinkProblem(
        success_probability=0.3,
        memory_slots=3,
        request_probability=[0.4],
        value=value[None],
        may_replace=may_replace,
    )


@pytest.mark.parametrize(
    ("problem", "oldest", "freshest", "best"),
    [
        (two_classes(1), 0.277596, 0.277596, 0.277596),
        (two_classes(2), 0.344316, 0.329509, 0.344317),
        (two_classes(3), 0.372301, 0.346900, 0.374409),
        (smooth(may_replace=False), 0.206129, 0.208639, 0.209673),
        (smooth(may_replace=True), 0.210210, 0.212763, 0.213724),
    ],
    ids=["K=1", "K=2", "K=3", "smooth", "smooth, replacing"],
)
def test_gains_of_the_three_policies(problem, oldest, freshest, best):
    """Six decimals of an independent solution; the tolerance is its rounding plus the solver's own 1e-9."""
    for policy, gain in ((oldest_qualifying, oldest), (freshest_qualifying, freshest)):
        assert evaluate_one_link(problem, policy(problem)).gain == pytest.approx(gain, abs=5.1e-7)
    assert solve_one_link(problem).gain == pytest.approx(best, abs=5.1e-7)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    p=st.floats(0.02, 1.0),
    high=st.floats(0.0, 0.5),
    low=st.floats(0.01, 0.5),
    limit=st.integers(0, 8),
    w=st.floats(1, 9),
)
def test_one_slot_is_a_renewal_process(p, high, low, limit, w):
    """A cycle is the wait for a pair, 1 / p slots with the one of its birth, and the slots that it then waits."""
    lifetime = 8
    value = [step_value(weight=w, max_age=limit, lifetime=lifetime), step_value(weight=1, max_age=8, lifetime=lifetime)]
    problem = OneLinkProblem(
        success_probability=p, memory_slots=1, request_probability=[high, low], value=np.stack(value)
    )
    earned, alive, slots = 0.0, 1.0, 1.0 / p
    for age in range(lifetime + 1):
        slots += alive if age > 0 else 0.0
        qualifying = high if age <= limit else 0.0
        earned += alive * (qualifying * w + low)
        alive *= 1.0 - qualifying - low
    solution = evaluate_one_link(problem, oldest_qualifying(problem))
    assert solution.gain == pytest.approx(earned / slots, rel=1e-7)
    assert solution.utilisation == pytest.approx(1.0 - alive, rel=1e-7)


@pytest.mark.parametrize(("slots", "bins"), [(1, 1), (1, 6), (2, 5), (3, 4), (4, 3)])
def test_states_are_numbered_without_gaps(slots, bins):
    states = age_states(slots, bins)
    vectors = {ages for size in range(slots + 1) for ages in itertools.combinations_with_replacement(range(bins), size)}
    assert states.n_states == n_age_states(slots, bins) == len(vectors)
    number = {ages: states.rank(ages) for ages in vectors}
    assert sorted(number.values()) == list(range(states.n_states))
    assert number[()] == states.empty
    for ages, state in number.items():
        assert tuple(states.ages[state, : len(ages)]) == ages
        assert states.n_stored[state] == len(ages)
        assert rank_ages(np.array(ages + (7,) * 4), len(ages), states.binomial) == state
        assert states.aged[state] == number[tuple(age + 1 for age in ages if age + 1 < bins)]
        full = len(ages) == slots
        assert states.added[state] == (-1 if full else number[(0, *ages)])
        assert states.replaced[state] == number[(0, *ages[:-1])]
        for position in range(slots):
            without = ages[:position] + ages[position + 1 :]
            assert states.removed[state, position] == (number[without] if position < len(ages) else -1)


def independent_gain(problem, choose):
    """Best gain by plain value iteration over dictionaries, or of the best answer among those `choose` allows."""
    slots, bins = problem.memory_slots, problem.value.shape[1]
    vectors = [v for size in range(slots + 1) for v in itertools.combinations_with_replacement(range(bins), size)]
    h = dict.fromkeys(vectors, 0.0)
    p, tick = problem.success_probability, 1.0 / problem.age_bin

    def at_request(ages):
        total = (1.0 - sum(problem.request_probability)) * h[ages]
        for c, q in enumerate(problem.request_probability):
            pairs = [i for i, age in enumerate(ages) if problem.value[c, age] > 0]
            worth = [problem.value[c, ages[i]] + h[ages[:i] + ages[i + 1 :]] for i in choose(pairs)]
            total += q * (max([*worth, h[ages]]) if choose is every else (worth[0] if worth else h[ages]))
        return total

    def after_ageing(ages):
        held = problem.memory_price * len(ages)
        options = [at_request(ages)] if choose is every else []
        if len(ages) < slots:
            new, cost = (0, *ages), problem.attempt_price + problem.memory_price
            options.append(p * at_request(new) + (1 - p) * at_request(ages) - cost)
        elif problem.may_replace:
            options.append(p * at_request((0, *ages[:-1])) + (1 - p) * at_request(ages) - problem.attempt_price)
        else:
            options = [at_request(ages)]
        return max(options) - held

    for _ in range(5000):
        value = {ages: after_ageing(ages) for ages in vectors}
        new = {v: tick * value[tuple(a + 1 for a in v if a + 1 < bins)] + (1 - tick) * value[v] for v in vectors}
        change = [new[v] - h[v] for v in vectors]
        if max(change) - min(change) < 1e-11:
            return max(change)
        h = {v: new[v] - new[()] for v in vectors}
    raise AssertionError


def every(pairs):
    return pairs


@pytest.mark.parametrize("seed", range(6))
def test_an_independent_solver_agrees(seed):
    rng = np.random.default_rng([44, seed])
    problem = random_problem(rng)
    best = solve_one_link(problem).gain
    assert best == pytest.approx(independent_gain(problem, every), abs=1e-8)
    oldest = evaluate_one_link(problem, oldest_qualifying(problem)).gain
    assert oldest == pytest.approx(independent_gain(problem, lambda pairs: pairs[-1:]), abs=1e-8)
    freshest = evaluate_one_link(problem, freshest_qualifying(problem)).gain
    assert freshest == pytest.approx(independent_gain(problem, lambda pairs: pairs[:1]), abs=1e-8)
    assert best >= max(oldest, freshest) - 1e-9


def random_problem(rng):
    bins = int(rng.integers(2, 6))
    value = np.where(rng.random((2, bins)) < 0.2, -math.inf, -np.sort(-rng.uniform(0.0, 2.0, (2, bins)), axis=1))
    return OneLinkProblem(
        success_probability=rng.uniform(0.1, 0.9),
        memory_slots=int(rng.integers(1, 4)),
        request_probability=rng.uniform(0.05, 0.45, 2),
        value=value,
        age_bin=int(rng.integers(1, 4)),
        attempt_price=rng.uniform(0.0, 0.2),
        memory_price=rng.uniform(0.0, 0.05),
        may_replace=bool(rng.random() < 0.5),
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_no_policy_beats_the_best_and_its_accounts_balance(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng)
    best = solve_one_link(problem)

    def serve(ages, request):
        pairs = [i for i, age in enumerate(ages) if problem.value[request, age] > 0]
        return None if not pairs or rng.random() < 0.2 else int(rng.choice(pairs))

    policy = policy_from_rules(problem, serve=serve, attempt=lambda _: bool(rng.random() < 0.8))
    for solution in (best, evaluate_one_link(problem, policy)):
        assert solution.gain_lower <= solution.gain <= solution.gain_upper
        assert solution.gain <= best.gain_upper + 1e-12
        earned = solution.served_value.sum()
        costs = problem.attempt_price * solution.attempts + problem.memory_price * solution.occupied_slots
        assert solution.gain == pytest.approx(earned - costs, abs=1e-8)
        left = solution.generated - solution.replaced - solution.expired - solution.served.sum()
        assert left == pytest.approx(0.0, abs=1e-10)
        assert solution.stationary.sum() == pytest.approx(1.0, abs=1e-10)
        assert np.all(solution.served_fraction <= 1.0 + 1e-12)


def test_the_best_policy_takes_what_its_bias_says():
    problem = two_classes(3, attempt_price=0.05, memory_price=0.01, may_replace=True)
    solution, states = solve_one_link(problem), problem.states
    again = evaluate_one_link(problem, solution.policy)
    assert again.gain == pytest.approx(solution.gain, abs=1e-8)
    for state in range(states.n_states):
        for request in range(2):
            position = solution.policy.serve[request, state]
            gains = [
                problem.value[request, states.ages[state, i]] + solution.bias[states.removed[state, i]]
                for i in range(states.n_stored[state])
                if problem.value[request, states.ages[state, i]] > 0
            ]
            chosen = solution.bias[state]
            if position >= 0:
                age = states.ages[state, position]
                chosen = problem.value[request, age] + solution.bias[states.removed[state, position]]
            assert chosen >= max([*gains, solution.bias[state]]) - 1e-9
        if solution.policy.attempt[state] == 1:
            gain = solution.bias_at_request[states.added[state]] - solution.bias_at_request[state]
            assert 0.3 * gain >= 0.06 - 1e-9


@pytest.mark.parametrize("price", ["attempt_price", "memory_price"])
def test_the_gain_falls_with_a_price_at_the_rate_of_its_use(price):
    """Central difference of 1e-5 against the envelope theorem; the gain is piecewise linear, so it is exact inside."""
    prices = {"attempt_price": 0.0437, "memory_price": 0.0113}
    solution = solve_one_link(two_classes(2, may_replace=True, **prices), tolerance=1e-12)
    step = 1e-5
    above, below = (
        solve_one_link(
            two_classes(2, may_replace=True, **(prices | {price: prices[price] + sign * step})), tolerance=1e-12
        )
        for sign in (1, -1)
    )
    slope = solution.attempt_price_slope if price == "attempt_price" else solution.memory_price_slope
    assert (above.gain - below.gain) / (2 * step) == pytest.approx(slope, abs=1e-6)
    assert slope < 0


def test_rates_agree_with_a_simulation_slot_by_slot():
    """Best policy of a priced link with age bins of two slots.

    200 independent runs of 2,000 slots after 200 to forget the start; each mean must be within 6 standard errors of the
    exact rate. For 7 means the false-alarm rate is 7 * 2e-9, or 3e-7 with Student's law of 199 degrees of freedom.
    """
    value = [
        step_value(weight=3.0, max_age=3, lifetime=11, age_bin=2),
        werner_squared_value(weight=1.0, initial_werner=0.9, memory_time=20.0, lifetime=11, age_bin=2),
    ]
    problem = OneLinkProblem(
        success_probability=0.3,
        memory_slots=2,
        request_probability=[0.1, 0.25],
        value=np.stack(value),
        age_bin=2,
        attempt_price=0.03,
        memory_price=0.01,
        may_replace=True,
    )
    solution = solve_one_link(problem)
    rng = np.random.default_rng(20260611)
    runs, n_slots, forget = 200, 2000, 200
    counts = np.zeros((7, runs))
    stock = [[] for _ in range(runs)]
    for slot in range(forget + n_slots):
        tick, success, request = rng.random((3, runs))
        for run in range(runs):
            pairs = stock[run]
            tally = np.zeros(7)
            if tick[run] < 0.5:
                tally[2] += sum(bin_ == 5 for bin_ in pairs)
                pairs = [bin_ + 1 for bin_ in pairs if bin_ < 5]
            attempt = solution.policy.attempt[problem.states.rank(tuple(pairs))]
            tally[1] += len(pairs) + (attempt == 1)
            tally[0] += attempt > 0
            if attempt and success[run] < 0.3:
                if attempt == 2:
                    pairs = pairs[:-1]
                    tally[3] += 1
                pairs = [0, *pairs]
            kind = 0 if request[run] < 0.1 else (1 if request[run] < 0.35 else -1)
            if kind >= 0:
                position = solution.policy.serve[kind, problem.states.rank(tuple(pairs))]
                if position >= 0:
                    tally[4 + kind] += 1
                    tally[6] += problem.value[kind, pairs[position]]
                    pairs = pairs[:position] + pairs[position + 1 :]
            stock[run] = pairs
            if slot >= forget:
                counts[:, run] += tally
    means, errors = counts.mean(axis=1) / n_slots, counts.std(axis=1, ddof=1) / math.sqrt(runs) / n_slots
    exact = [solution.attempts, solution.occupied_slots, solution.expired, solution.replaced]
    exact += [*solution.served, solution.served_value.sum()]
    assert np.all(errors > 0)
    assert np.all(np.abs(means - exact) < 6 * errors), (means, exact, errors)


def test_a_guess_saves_sweeps_and_changes_nothing():
    first = solve_one_link(two_classes(3, attempt_price=0.020), tolerance=1e-10)
    problem = two_classes(3, attempt_price=0.021)
    cold = solve_one_link(problem, tolerance=1e-10)
    warm = solve_one_link(problem, tolerance=1e-10, initial_bias=first.bias)
    assert warm.sweeps < cold.sweeps
    assert warm.gain == pytest.approx(cold.gain, abs=1e-9)


def test_a_periodic_chain_converges():
    """Certain success and no request: the pair lives and dies with a period of its lifetime."""
    problem = OneLinkProblem(
        success_probability=1.0,
        memory_slots=1,
        request_probability=[0.0, 0.0],
        value=np.ones((2, 4)),
        attempt_price=0.5,
    )
    solution = evaluate_one_link(problem, oldest_qualifying(problem), tolerance=1e-9)
    # One attempt in the four slots of a life.
    assert solution.attempts == pytest.approx(0.25, abs=1e-8)
    assert math.isnan(solution.served_fraction[0])


def test_a_link_that_never_succeeds_refuses_to_try():
    problem = OneLinkProblem(
        success_probability=0.0, memory_slots=2, request_probability=[0.5], value=np.ones((1, 3)), attempt_price=0.1
    )
    solution = solve_one_link(problem)
    assert solution.gain == 0.0
    assert solution.attempts == 0.0
    assert math.isnan(solution.utilisation)
    assert math.isnan(solution.value_per_served_pair)


def test_values_of_a_bin_are_those_of_its_first_age_times_the_share_that_qualifies():
    assert step_value(weight=2.0, max_age=4, lifetime=7, age_bin=3).tolist() == pytest.approx([2.0, 4 / 3, 0.0])
    value = werner_squared_value(weight=1.0, initial_werner=0.8, memory_time=10.0, lifetime=3, age_bin=2, max_age=2)
    assert value.tolist() == pytest.approx([0.64, 0.32 * math.exp(-0.4)])


@pytest.mark.parametrize(
    "change",
    [
        {"success_probability": 1.2},
        {"memory_slots": 0},
        {"age_bin": 0},
        {"request_probability": [0.7, 0.7]},
        {"request_probability": [0.1]},
        {"value": [[math.nan] * 3, [1.0] * 3]},
        {"value": [[-1.0] * 3, [1.0] * 3]},
        {"attempt_price": -0.1},
        {"memory_price": math.inf},
    ],
)
def test_a_problem_outside_its_domain_is_refused(change):
    good = {
        "success_probability": 0.5,
        "memory_slots": 2,
        "request_probability": [0.1, 0.2],
        "value": [[1.0] * 3, [1.0] * 3],
    }
    OneLinkProblem(**good)
    with pytest.raises(DomainError, match="must"):
        OneLinkProblem(**(good | change))


def test_a_policy_that_breaks_the_rules_is_refused():
    problem = two_classes(2)
    good = oldest_qualifying(problem)

    def changed(table, index, answer):
        tables = {"attempt": good.attempt.copy(), "serve": good.serve.copy()}
        tables[table][index] = answer
        return OneLinkPolicy(**tables)

    full = problem.states.rank((3, 5))
    for policy in (
        changed("attempt", full, 1),
        changed("attempt", full, 2),
        changed("attempt", 0, 3),
        changed("serve", (0, full), 0),
        changed("serve", (1, problem.states.empty), 0),
        changed("serve", (1, full), 2),
        OneLinkPolicy(attempt=good.attempt[:-1], serve=good.serve),
    ):
        with pytest.raises(DomainError, match="Argument `policy`"):
            evaluate_one_link(problem, policy)
    replacing = two_classes(2, may_replace=True, memory_price=0.05)
    attempt = oldest_qualifying(replacing).attempt.copy()
    evaluate_one_link(replacing, OneLinkPolicy(attempt=attempt, serve=good.serve))
    for ages in ((), (3,)):
        early = attempt.copy()
        early[replacing.states.rank(ages)] = 2
        with pytest.raises(DomainError, match="only where the memory is full"):
            evaluate_one_link(replacing, OneLinkPolicy(attempt=early, serve=good.serve))
    with pytest.raises(DomainError, match="initial_bias"):
        solve_one_link(problem, initial_bias=np.zeros(3))
    with pytest.raises(DomainError, match="at most 2"):
        problem.states.rank((1, 2, 3))
    with pytest.raises(DomainError, match="must lie in"):
        problem.states.rank((14,))


def test_too_many_states_are_refused_with_their_number():
    with pytest.raises(CapacityError, match=str(n_age_states(8, 60))):
        age_states(8, 60)


def test_a_tolerance_below_rounding_is_refused():
    problem = two_classes(3)
    with pytest.raises(CeasError, match="sweeps"):
        evaluate_one_link(problem, oldest_qualifying(problem), tolerance=1e-18)


def test_a_gain_that_depends_on_the_start_is_refused():
    """With certain success a pair is renewed for ever, and an empty link stays empty."""
    problem = OneLinkProblem(
        success_probability=1.0,
        memory_slots=1,
        request_probability=[0.5],
        value=np.ones((1, 3)),
        may_replace=True,
        attempt_price=0.1,
    )
    policy = policy_from_rules(problem, serve=lambda *_: None, attempt=lambda ages: len(ages) == 1)
    with pytest.raises(CeasError, match="sweeps"):
        evaluate_one_link(problem, policy)
