"""CEAS's scheduler: its prices in their limits, its decisions one by one, and what it delivers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import Fate, NetworkModel, advance_round, initial_state
from ceas.network.policy import ASK_DTYPE, KEY_REQUEST, NEVER, WAIT, LinkView
from ceas.network.routes import RouteClass, ideal_repeaters
from ceas.physics import secret_key_fraction
from ceas.scheduling.index import (
    attempt_by_price,
    attempt_slowdown,
    fewer_arrivals_probability,
    key_price,
    key_worth,
    learning_price,
    memory_share,
    priority_by_price,
    route_by_price,
    serve_by_price,
)

Views = Callable[..., LinkView]
# Price of waste, share of memory, and how many times longer a pair takes for the pauses of the link.
WASTE = (0.1, 4.0, 1.0)


def decide(seen: LinkView) -> tuple[int, list[int], int]:
    choice = np.full(max(1, seen.pairs_per_shot), -7, dtype=np.int64)
    request, wake_ns = serve_by_price(seen, choice)
    count = 0 if request == WAIT else seen.pairs_per_shot if request < KEY_REQUEST else 1
    return request, choice[:count].tolist(), wake_ns


def test_probability_of_fewer_arrivals_is_poisson() -> None:
    for mean, tolerance in ((0.0, 1e-12), (0.3, 1e-12), (2.0, 1e-12), (99.0, 1e-12), (101.0, 0.01), (2_000.0, 0.003)):
        for count in (0, 1, 2, 7, 60, 95, 101, 110, 1_990, 2_030):
            expected = stats.poisson.cdf(count - 1, mean)
            assert fewer_arrivals_probability(mean, count) == pytest.approx(expected, abs=tolerance)


def test_pair_costs_its_full_value_where_a_shot_waits_for_it(view: Views) -> None:
    for pairs_per_shot in (1, 2, 3):
        seen = view(pairs_per_shot=pairs_per_shot)
        full = 0.96 ** (2 * pairs_per_shot) / pairs_per_shot
        for place in range(1, pairs_per_shot + 1):
            assert learning_price(seen, 0, place, 0) == pytest.approx(full)
        # It decays at twice the rate of the Werner parameter.
        assert learning_price(seen, 0, 1, 500_000) == pytest.approx(full * math.exp(-2 * 1e-7 * 500_000))


def test_next_pair_in_stock_is_priced_by_the_chance_that_no_newer_one_comes(view: Views) -> None:
    """The second pair is for the next shot, 100 us away, in which two pairs come on average: e^-2 that none does."""
    seen = view(decay_per_ns=0.0)
    assert learning_price(seen, 0, 2, 0) == pytest.approx(0.96**2 * math.exp(-2.0), rel=1e-9)
    scarce = seen._replace(pair_period_ns=1e9)
    assert learning_price(scarce, 0, 2, 0) == pytest.approx(0.96**2, rel=1e-3)
    abundant = seen._replace(pair_period_ns=1e3)
    assert learning_price(abundant, 0, 2, 0) < 1e-20


def test_pair_that_expires_before_its_shot_has_no_price(view: Views) -> None:
    seen = view(ready_ns=(1_500_000, NEVER), pair_period_ns=1e9)
    assert learning_price(seen, 500_000, 1, 1_499_000) > 0.5
    assert learning_price(seen, 500_000, 1, 1_500_001) == 0.0


def test_after_the_last_shot_the_price_is_that_of_the_next_round(view: Views) -> None:
    seen = view(now_ns=9_000_000, ready_ns=(NEVER, NEVER), pair_period_ns=1e12)
    assert learning_price(seen, NEVER, 1, 0) == pytest.approx(0.96**2 * math.exp(-2e-7 * 1_000_000), rel=1e-5)
    plenty = seen._replace(pair_period_ns=1e4)
    assert learning_price(plenty, NEVER, 1, 0) < 1e-20


def test_link_without_learner_has_no_learning_price(view: Views) -> None:
    seen = view(shot_duration_ns=(0, 0), ready_ns=(NEVER, NEVER))
    assert learning_price(seen, NEVER, 1, 0) == 0.0


def test_worth_to_a_key_is_the_secret_fraction_and_vanishes(view: Views) -> None:
    seen = view(key_value=3.0)
    for age in (0, 500_000, 1_500_000):
        expected = 3.0 * secret_key_fraction(0.96 * math.exp(-1e-7 * age))
        assert key_worth(seen, age) == pytest.approx(float(expected))
    # w = 0.7799, just below the threshold of F = 0.835.
    assert key_worth(seen, 2_080_000) == 0.0


def test_stock_for_coming_keys_has_a_price_only_if_pairs_are_slow(view: Views) -> None:
    seen = view(decay_per_ns=0.0)
    expected = math.exp(-(250_000 + 300_000) / 50_000) * float(secret_key_fraction(0.96))
    assert key_price(seen, 1, 0) == pytest.approx(expected)
    assert key_price(seen._replace(pair_period_ns=1e12), 1, 0) == pytest.approx(float(secret_key_fraction(0.96)), 1e-5)
    assert key_price(seen._replace(key_period_ns=math.inf), 1, 0) == 0.0


def test_waiting_shot_takes_the_freshest_pairs(view: Views) -> None:
    assert decide(view(ages_ns=(300, 200, 100), pairs_per_shot=2, parameters=WASTE))[:2] == (0, [1, 2])


def test_shot_takes_old_pairs_before_they_expire_where_pairs_are_scarce(view: Views) -> None:
    ages = (1_950_000, 10_000)
    scarce = view(ages_ns=ages, parameters=WASTE, pair_period_ns=1e9, decay_per_ns=1e-9, key_period_ns=math.inf)
    assert decide(scarce)[:2] == (0, [0])
    # If the old pair will still be there for the next shot, the fresh one goes first: its value decays faster.
    assert decide(scarce._replace(lifetime_ns=20_000_000))[:2] == (0, [1])


def test_longest_waiting_learner_comes_first(view: Views) -> None:
    assert decide(view(ages_ns=(300,), ready_ns=(500, 400), parameters=WASTE))[0] == 1


def test_valuable_key_is_served_before_a_shot_and_a_cheap_one_after(view: Views) -> None:
    both = view(ages_ns=(0,), request_ages_ns=(10,), key_deadline_ns=30_000, parameters=WASTE)
    assert decide(both._replace(key_value=5.0))[:2] == (KEY_REQUEST, [0])
    assert decide(both._replace(key_value=0.5))[:2] == (0, [0])


def test_key_with_slack_waits_for_the_exchange_phase(view: Views) -> None:
    """The QPU is busy but will want the pair: a key waits for the exchange phase if it can, and only then.

    The key is worth 1.5 times the pair's part of a shot.
    """
    value = 1.5 * 0.96**2 / float(secret_key_fraction(0.96))
    seen = view(
        now_ns=7_700_000,
        ages_ns=(0,),
        ready_ns=(7_701_000, NEVER),
        request_ages_ns=(10,),
        key_value=value,
        key_deadline_ns=1_500_000,
        parameters=WASTE,
    )
    request, _, wake_ns = decide(seen)
    assert request == WAIT
    assert 7_700_000 < wake_ns < 7_700_000 + 1_500_000
    assert decide(seen._replace(key_deadline_ns=10_000))[0] == KEY_REQUEST
    # In the exchange phase it is served at once.
    exchange = seen._replace(now_ns=8_000_000, qpu_ready_ns=(NEVER, NEVER))
    exchange = exchange._replace(stock_birth_ns=np.array([8_000_000]))
    assert decide(exchange)[0] == KEY_REQUEST


def test_pair_too_old_for_a_key_is_never_spent_on_it(view: Views) -> None:
    old = view(ages_ns=(2_100_000,), lifetime_ns=5_000_000, request_ages_ns=(299_999,), ready_ns=(NEVER, NEVER))
    assert decide(old._replace(parameters=np.array(WASTE)))[0] == WAIT


def test_stale_pair_is_left_for_the_fresh_one_if_the_key_can_wait(view: Views) -> None:
    stale = view(ages_ns=(1_000_000,), request_ages_ns=(10,), ready_ns=(NEVER, NEVER), parameters=WASTE)
    stale = stale._replace(shot_duration_ns=(0, 0))
    assert decide(stale)[0] == WAIT
    assert decide(stale._replace(pair_period_ns=1e6))[0] == KEY_REQUEST


def test_attempts_are_made_just_in_time(view: Views) -> None:
    assert attempt_by_price(view(parameters=WASTE)) == 0
    # The next shot is 20 mean pair times away and keys can wait: no need of a pair yet.
    early = view(ready_ns=(2_000_000, NEVER), parameters=WASTE)
    assert attempt_by_price(early) == -1
    assert attempt_by_price(early._replace(now_ns=1_950_000)) == 0
    assert attempt_by_price(early._replace(key_arrival_ns=np.array([999_000]))) == 0


def test_no_attempt_beyond_the_share_of_memory_nor_for_tuple_without_room(view: Views) -> None:
    scarce = {"pair_period_ns": 1e9, "decay_per_ns": 1e-12, "pairs_per_shot": 3}
    assert attempt_by_price(view(ages_ns=(3, 2), parameters=WASTE, **scarce)) == 2
    assert attempt_by_price(view(ages_ns=(3, 2), parameters=(0.1, 2.0, 1.0), **scarce)) == -1
    assert attempt_by_price(view(parameters=WASTE, free_slots=2, **scarce)) == -1


def test_stale_pair_is_overwritten_only_for_enough_gain(view: Views) -> None:
    full = {"free_slots": 0, "pair_period_ns": 1e9, "parameters": WASTE}
    assert attempt_by_price(view(ages_ns=(1_500_000,), **full)) == 0
    assert attempt_by_price(view(ages_ns=(100_000,), **full)) == -1
    assert attempt_by_price(view(ages_ns=(100_000,), **{**full, "parameters": (0.0, 4.0, 1.0)})) == 0


def test_memory_shares_leave_room_for_every_learner(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model(memory_slots=8, pairs_per_shot=2)
    share = memory_share(model)
    has_learner = np.isin(np.arange(model.n_links), model.demand.learner_link)
    assert np.all(share[~has_learner] == 1)
    assert np.all(share[has_learner] >= 2)
    for node, slots in enumerate(model.nodes.memory_slots):
        own = ((model.links.node_a == node) | (model.links.node_b == node)) & has_learner
        if own.any() and slots // own.sum() > 2:
            assert share[own].sum() <= slots


def test_waste_share_is_checked(small_model: Callable[..., NetworkModel]) -> None:
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(DomainError, match="waste_share"):
            policies.ceas(small_model(), waste_share=wrong)


def test_links_that_take_turns_need_the_sum_of_their_times(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model()
    np.testing.assert_array_equal(attempt_slowdown(model), np.ones(model.n_links))
    for qubits in (1, 2, 50):
        repeaters = ideal_repeaters(model.nodes, model.links, communication_qubits=qubits)
        links = model.links
        period = links.attempt_period_ns / links.success_probability
        for link, found in enumerate(attempt_slowdown(replace(model, repeaters=repeaters))):
            turns = []
            for node in (links.node_a[link], links.node_b[link]):
                turns.append(period[(links.node_a == node) | (links.node_b == node)].sum() / qubits)
            assert found == pytest.approx(max(1.0, max(turns) / period[link]))


def test_pauses_make_pairs_dearer(view: Views) -> None:
    seen = view(decay_per_ns=0.0)
    paused = view(decay_per_ns=0.0, parameters=(0.0, 0.0, 10.0))
    slower = seen._replace(pair_period_ns=10.0 * seen.pair_period_ns)
    assert learning_price(seen, 0, 2, 0) < learning_price(paused, 0, 2, 0) == learning_price(slower, 0, 2, 0)
    assert key_price(seen, 1, 0) < key_price(paused, 1, 0) == key_price(slower, 1, 0)


def test_the_link_worth_most_attempts_first_and_waiting_counts(view: Views) -> None:
    waits = view(parameters=WASTE)
    idle = view(ready_ns=(NEVER, NEVER), key_period_ns=math.inf, parameters=WASTE)
    assert priority_by_price(waits, 0) > priority_by_price(idle, 0)
    slow = view(parameters=WASTE, pair_period_ns=1e6)
    assert priority_by_price(waits, 0) > priority_by_price(slow, 0)
    assert priority_by_price(waits, waits.now_ns - 1_000_000) > priority_by_price(waits, waits.now_ns)
    # What only routes ask for is served in the order of waiting.
    assert priority_by_price(idle, idle.now_ns - 1_000) > priority_by_price(idle, idle.now_ns)


def test_route_request_worth_most_a_pair_comes_first(view: Views) -> None:
    seen = view(ages_ns=(300, 200), ready_ns=(NEVER, NEVER), key_period_ns=math.inf, parameters=WASTE)
    asks = np.zeros(4, dtype=ASK_DTYPE)
    asks["use_class"] = (RouteClass.BACKGROUND, RouteClass.BACKGROUND, RouteClass.BACKGROUND, RouteClass.KEY)
    asks["n_hops"] = (4, 2, 2, 2)
    asks["weight"] = (1.0, 1.0, 1.0, 1.1)
    asks["deadline_ns"] = seen.now_ns + 1_000_000
    # The key is worth 1.1 times a secret fraction below 0.9; of the two alike the older.
    assert key_worth(seen, 200) < 0.9 * seen.key_value
    assert route_by_price(seen, asks) == (1, 1)
    waiting = view(ages_ns=(300,), key_period_ns=math.inf, parameters=WASTE)
    asks["weight"] *= 0.1
    request, wake_ns = route_by_price(waiting, asks)
    assert request == WAIT
    assert waiting.now_ns < wake_ns < waiting.now_ns + 1_000_000


@pytest.mark.parametrize("qubits", [1, 2])
def test_delivers_more_than_the_simple_baselines_where_links_take_turns(
    qubits: int, small_model: Callable[..., NetworkModel]
) -> None:
    """Paired by seed over 6 seeds; the gain must exceed 5 standard errors of the paired difference."""
    model = small_model(pairs_per_shot=2, shot_s=2e-4, keys=300.0, key_value=0.3)
    model = replace(model, repeaters=ideal_repeaters(model.nodes, model.links, communication_qubits=qubits))
    own = np.array([delivered(model, policies.ceas(model), seed)[0] for seed in range(6)])
    for name in ("oldest_first", "freshest_first", "on_demand"):
        other = np.array([delivered(model, getattr(policies, name)(model), seed)[0] for seed in range(6)])
        gain = own - other
        assert gain.mean() > 5 * gain.std(ddof=1) / math.sqrt(len(gain)), name


def delivered(model: NetworkModel, policy: Any, seed: int) -> tuple[float, float]:
    state = initial_state(model, seed=seed)
    records = [advance_round(state, model, policy) for _ in range(3)]
    fates = np.sum([record.fates.sum(axis=0) for record in records], axis=0)
    used = fates[Fate.LEARNING] + fates[Fate.KEY] + fates[Fate.TEST]
    return float(np.sum([record.delivered_value for record in records])), used / fates[1:].sum()


@pytest.mark.parametrize(
    "scenario",
    [
        {"pairs_per_shot": 1, "shot_s": 1e-3, "keys": 100.0},
        {"pairs_per_shot": 2, "shot_s": 2e-4, "keys": 300.0, "key_value": 0.3},
        {"pairs_per_shot": 3, "shot_s": 1e-3, "keys": 50.0, "memory_slots": 12},
    ],
)
def test_delivers_more_than_the_simple_baselines(
    scenario: dict[str, Any], small_model: Callable[..., NetworkModel]
) -> None:
    """Paired by seed over 6 seeds, with links that fill their memory, or hold one tuple at most (a static share).

    The gain must exceed 5 standard errors of the paired difference; and nine of ten pairs must be used.
    """
    model = small_model(**scenario)
    limits = (0, scenario["pairs_per_shot"])
    own = np.array([delivered(model, policies.ceas(model), seed) for seed in range(6)])
    assert own[:, 1].min() > 0.9
    for name in ("oldest_first", "freshest_first", "random", "static_tdma"):
        for limit in limits:
            policy = getattr(policies, name)(model, pairs_per_link=limit)
            other = np.array([delivered(model, policy, seed)[0] for seed in range(6)])
            gain = own[:, 0] - other
            assert gain.mean() > 5 * gain.std(ddof=1) / math.sqrt(len(gain)), (name, limit)
