"""Repeater chains solved exactly: published times, a closed form, and simulation attempt by attempt as an oracle."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import CapacityError, DomainError
from ceas.scheduling.chain_states import DELIVERED, ChainStates, fewest_states
from ceas.scheduling.repeater_chain import (
    RepeaterChain,
    evaluate_chain,
    nested_swapping,
    solve_chain,
    swap_asap,
)


def chain(n, p, ps, cutoff):
    return RepeaterChain(n_nodes=n, success_probability=p, swap_success_probability=ps, cutoff=cutoff)


# (nodes, p, p_s, cutoff): best, swap as soon as possible.
TIMES = {
    (4, 0.5, 1.0, 2): (3.565217, 3.589398),
    (4, 0.5, 1.0, 4): (3.231361, 3.238105),
    (4, 0.5, 0.5, 2): (12.707900, 12.775768),
    (5, 0.5, 1.0, 2): (4.376535, 4.459366),
    (5, 0.5, 1.0, 3): (3.876695, 3.920093),
    (5, 0.5, 0.5, 2): (26.779449, 28.193056),
    (5, 0.5, 0.5, 3): (21.842308, 23.247003),
    (4, 0.9, 1.0, 2): (1.304566, 1.304594),
    (4, 0.9, 1.0, 4): (1.304037, 1.304037),
    (4, 0.9, 0.5, 2): (4.854089, 4.854103),
    (5, 0.9, 1.0, 2): (1.388665, 1.388770),
    (5, 0.9, 1.0, 3): (1.387833, 1.387844),
    (5, 0.9, 0.5, 2): (8.316614, 9.346905),
    (5, 0.9, 0.5, 3): (8.234068, 9.310316),
}


@pytest.mark.parametrize("figures", TIMES, ids=str)
def test_expected_times_of_four_and_five_nodes(figures):
    """Six decimals of an independent solver, which agrees with the published gaps; the tolerance is its rounding."""
    best, asap = TIMES[figures]
    solution = solve_chain(chain(*figures))
    assert solution.expected_slots == pytest.approx(best, abs=5.1e-7)
    assert evaluate_chain(chain(*figures), swap_asap).expected_slots == pytest.approx(asap, abs=5.1e-7)
    assert solution.least_slots <= solution.expected_slots <= solution.least_slots * (1 + 1e-10)


@pytest.mark.parametrize(("ps", "nested", "asap"), [(1.0, 2.0710745, 1.3887703), (0.5, 8.3437809, 9.3469042)])
def test_published_times_of_nested_and_immediate_swapping(ps, nested, asap):
    """Iñesta et al. 2023, five nodes, p = 0.9, cutoff 2; one published figure is 4e-7 below the exact 9.3469046."""
    five = chain(5, 0.9, ps, 2)
    assert evaluate_chain(five, nested_swapping(5)).expected_slots == pytest.approx(nested, abs=6e-7)
    assert evaluate_chain(five, swap_asap).expected_slots == pytest.approx(asap, abs=6e-7)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(p=st.floats(0.02, 1.0), ps=st.floats(0.05, 1.0), cutoff=st.integers(0, 12))
def test_three_nodes_in_closed_form(p, ps, cutoff):
    """Either both links come in one slot, or one waits at most `cutoff` slots for the other."""
    q = 1.0 - p
    kept = q * (1.0 - q**cutoff)
    expected = (1.0 + 2.0 * kept) / (p * p + 2.0 * p * kept) / ps
    assert solve_chain(chain(3, p, ps, cutoff)).expected_slots == pytest.approx(expected, rel=1e-9)


def test_three_nodes_at_published_points():
    for p, expected in ((0.5, 2.8), (0.2, 10.154639), (0.9, 1.212305)):
        assert solve_chain(chain(3, p, 1.0, 2)).expected_slots == pytest.approx(expected, abs=5.1e-7)


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_without_memory_everything_must_succeed_at_once(n):
    expected = 0.3 ** -(n - 1) * 0.6 ** -(n - 2)
    assert solve_chain(chain(n, 0.3, 0.6, 0)).expected_slots == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_with_long_memory_and_sure_swaps_the_slowest_link_decides(n):
    """As the cutoff grows, T tends to the mean of the largest of n - 1 geometric times."""
    links, p = n - 1, 0.8
    slowest = sum((-1) ** (k + 1) * math.comb(links, k) / (1 - (1 - p) ** k) for k in range(1, links + 1))
    assert solve_chain(chain(n, p, 1.0, 9)).expected_slots == pytest.approx(slowest, abs=2e-4)
    assert solve_chain(chain(n, p, 1.0, 9)).expected_slots >= slowest - 1e-10


def test_a_link_made_under_a_longer_one_does_not_break_its_swaps():
    """Under (0, 3) a new (1, 2) is made; (0, 3) and (3, 4) still meet at 3, though (1, 2) begins between them.

    A solver that sorts links by their left end and joins neighbours in that order puts five nodes 10 % wrong.
    """
    states = ChainStates(n_nodes=5, cutoff=2)
    code = states.encode(np.array([[3, 2, 0, 4]]), np.array([[2, 0, 0, 1]]))
    assert states.swappable(code).tolist() == [[False, False, True]]
    outcomes = states.after_swaps(code, (False, False, True), 0.5)
    under = states.encode(np.array([[0, 2, 0, 0]]), np.array([[0, 0, 0, 0]]))[0]
    assert outcomes.code.tolist() == [DELIVERED, under]
    assert outcomes.probability.tolist() == [0.5, 0.5]
    assert swap_asap(((0, 3, 2), (1, 2, 0), (3, 4, 1))) == {3}
    # And it is made at all: nodes 1 and 2 are free under (0, 3), node 3 to the right only.
    after = states.encode(np.array([[3, 0, 0, 0]]), np.array([[0, 0, 0, 0]]))
    made = states.after_generation(after, np.full(4, 0.5))
    ends, ages = states.decode(made.code)
    assert sorted(ends.tolist()) == [[3, 0, 0, 0], [3, 0, 0, 4], [3, 2, 0, 0], [3, 2, 0, 4]]
    assert ages[:, 0].tolist() == [1] * 4
    assert evaluate_chain(chain(5, 0.9, 0.5, 2), swap_asap).expected_slots == pytest.approx(9.346905, abs=5.1e-7)


def test_two_runs_fail_each_on_its_own():
    states = ChainStates(n_nodes=6, cutoff=3)
    code = states.encode(np.array([[1, 2, 0, 4, 5]]), np.array([[1, 0, 0, 3, 2]]))
    outcomes = states.after_swaps(code, (True, False, False, True), 0.6)
    ends, ages = states.decode(outcomes.code)
    found = {
        (tuple(e), tuple(a)): p
        for e, a, p in zip(ends.tolist(), ages.tolist(), outcomes.probability.tolist(), strict=True)
    }
    assert found == pytest.approx(
        {
            ((2, 0, 0, 5, 0), (1, 0, 0, 3, 0)): 0.36,
            ((2, 0, 0, 0, 0), (1, 0, 0, 0, 0)): 0.24,
            ((0, 0, 0, 5, 0), (0, 0, 0, 3, 0)): 0.24,
            ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)): 0.16,
        }
    )


def simulated_slots(chain, rule, rng):
    """Slots to one delivery, attempt by attempt and swap by swap, over plain lists of links."""
    links, slots = [], 0
    while True:
        slots += 1
        links = [(a, b, age + 1) for a, b, age in links if age < chain.cutoff]
        starts, stops = {a for a, _, _ in links}, {b for _, b, _ in links}
        links += [
            (i, i + 1, 0)
            for i in range(chain.n_nodes - 1)
            if i not in starts and i + 1 not in stops and rng.random() < chain.link_success[i]
        ]
        swaps = set(rule(tuple(sorted(links))))
        broken = set()
        for node in swaps:
            left = next(link for link in links if link[1] == node)
            right = next(link for link in links if link[0] == node)
            links.remove(left)
            links.remove(right)
            joined = (left[0], right[1], max(left[2], right[2]))
            links.append(joined)
            if rng.random() >= chain.swap_success_probability or left in broken or right in broken:
                broken.add(joined)
            broken -= {left, right}
        links = [link for link in links if link not in broken]
        if any(a == 0 and b == chain.n_nodes - 1 for a, b, _ in links):
            return slots


CASES = {
    "six nodes, best": (chain(6, 0.6, 0.7, 2), None),
    "six nodes, at once": (chain(6, 0.6, 0.7, 2), swap_asap),
    "five nodes, nested": (chain(5, 0.5, 0.8, 3), nested_swapping(5)),
    "unequal links, best": (chain(5, (0.9, 0.4, 0.6, 0.3), 0.8, 2), None),
    "seven nodes, best": (chain(7, 0.8, 0.9, 1), None),
}


@pytest.mark.parametrize("name", CASES)
def test_simulation_agrees(name):
    """3,000 deliveries; the mean must be within 6 standard errors, for five cases a false-alarm rate of about 1e-8."""
    case, rule = CASES[name]
    solution = solve_chain(case) if rule is None else evaluate_chain(case, rule)
    rng = np.random.default_rng([20230913, len(name)])
    slots = np.array([simulated_slots(case, rule or solution.policy, rng) for _ in range(3000)])
    error = slots.std(ddof=1) / math.sqrt(len(slots))
    assert abs(slots.mean() - solution.expected_slots) < 6 * error


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_no_rule_is_faster_than_the_best(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 6))
    case = chain(n, tuple(rng.uniform(0.2, 1.0, n - 1)), rng.uniform(0.3, 1.0), int(rng.integers(0, 4)))
    best = solve_chain(case)

    def sometimes(links):
        return {node for node in swap_asap(links) if rng.random() < 0.8}

    for rule in (swap_asap, nested_swapping(n), sometimes):
        assert evaluate_chain(case, rule).expected_slots >= best.least_slots
    again = evaluate_chain(case, best.policy)
    assert again.expected_slots == pytest.approx(best.expected_slots, rel=1e-12)


def test_a_chain_and_its_mirror_image_take_the_same_time():
    links = (0.9, 0.2, 0.5, 0.7, 0.4)
    there, back = (solve_chain(chain(6, order, 0.6, 1)).expected_slots for order in (links, links[::-1]))
    assert there == pytest.approx(back, rel=1e-11)


def test_equal_links_may_be_given_one_by_one():
    one, each = (solve_chain(chain(4, p, 0.5, 2)).expected_slots for p in (0.4, (0.4, 0.4, 0.4)))
    assert one == each


def test_number_of_states():
    """Five nodes, cutoff 2: 457 states before attempts and 396 before swaps, as the independent solver found."""
    solution = solve_chain(chain(5, 0.5, 0.5, 2))
    assert (solution.n_states_after_swaps, solution.n_states_before_swaps) == (457, 396)
    assert fewest_states(5, 2) <= 457


def test_certain_links_make_a_chain_periodic():
    """Nested swapping over links that always succeed takes exactly two slots; failing swaps alone make the time."""
    assert evaluate_chain(chain(5, 1.0, 1.0, 2), nested_swapping(5)).expected_slots == pytest.approx(2.0, rel=1e-12)
    assert evaluate_chain(chain(5, 1.0, 0.5, 2), swap_asap).expected_slots == pytest.approx(8.0, rel=1e-12)


def test_certain_links_reach_few_states() -> None:
    """The bound on the number of states is for links that may fail; a long cutoff adds few where none does."""
    assert fewest_states(4, 200) > 400_000
    solution = solve_chain(chain(4, 1.0, 1.0, 200))
    assert solution.expected_slots == 1.0
    assert solution.n_states_after_swaps < 1000


def test_a_chain_that_is_almost_periodic_settles():
    """Two new links wait for a slot; then every other slot delivers, and the distribution oscillates by rounding.

    From the empty chain (or with a link about to expire) either both links come, and swap one slot later, or one comes
    and has the next slot to find its partner, or none does. The figures are ones at which full steps never settle.
    """
    p, r, ps = 0.9494453408561345, 0.694104012022112, 0.8200498796734188
    start = 1.0 + p * r + p * (1 - r) + (1 - p) * r
    again = p * r * (1 - ps) + p * (1 - r) * (1 - r * ps) + (1 - p) * r * (1 - p * ps) + (1 - p) * (1 - r)
    hesitant = evaluate_chain(
        chain(3, (p, r), ps, 1), lambda links: () if all(age == 0 for _, _, age in links) else swap_asap(links)
    )
    assert hesitant.expected_slots == pytest.approx(start / (1.0 - again), rel=1e-12)


def test_a_rule_that_never_swaps_never_delivers():
    assert evaluate_chain(chain(4, 0.5, 1.0, 1), lambda _: ()).expected_slots == math.inf


def test_rare_deliveries_keep_their_digits():
    """Without memory T = 1 / (p^5 p_s^4) = 1.6e11 slots, beyond what a difference of values near 1 resolves."""
    solution = solve_chain(chain(6, 0.01, 0.5, 0))
    assert solution.expected_slots == pytest.approx(1.6e11, rel=1e-10)


def test_the_policy_refuses_what_is_no_state():
    policy = solve_chain(chain(4, 0.5, 0.5, 1)).policy
    assert policy([(1, 2, 0), (0, 1, 1)]) == (1,)
    assert policy([]) == ()
    for links in ([(0, 1, 2)], [(0, 1, 0), (0, 2, 0)], [(1, 3, 0), (2, 3, 0)], [(2, 1, 0)], [(0, 3, 0)], [(0, 4, 0)]):
        with pytest.raises(DomainError, match="Argument `links`"):
            policy(links)


def test_a_rule_must_swap_where_links_meet():
    for node in (0, 1, 3):
        with pytest.raises(DomainError, match="must swap where two links meet"):
            evaluate_chain(chain(4, 0.5, 0.5, 1), lambda links, node=node: {node} if not links else ())


def test_what_does_not_fit_is_refused_with_numbers():
    with pytest.raises(CapacityError, match=f"at least {fewest_states(6, 30)} states, more than 400000"):
        solve_chain(chain(6, 0.5, 0.5, 30))
    with pytest.raises(CapacityError, match="more than 2000 states"):
        solve_chain(chain(6, 0.5, 0.5, 2), most_states=2000)


@pytest.mark.parametrize(
    "figures",
    [
        (2, 0.5, 0.5, 1),
        (9, 0.5, 0.5, 1),
        (4, 0.0, 0.5, 1),
        (4, 1.1, 0.5, 1),
        (4, 0.5, 0.0, 1),
        (4, (0.5, 0.5), 0.5, 1),
        (4, (0.5, 0.5, -0.5), 0.5, 1),
        (4, 0.5, math.nan, 1),
        (4, 0.5, 0.5, -1),
    ],
)
def test_a_chain_outside_its_domain_is_refused(figures):
    with pytest.raises(DomainError, match="must"):
        chain(*figures)
