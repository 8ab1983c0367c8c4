"""The baselines' rules as plain functions, and their parameters."""

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import Fate, NetworkModel, advance_round, initial_state
from ceas.network.policy import KEY_REQUEST, NEVER, WAIT, LinkView
from ceas.scheduling.baselines import (
    attempt_within_limit,
    serve_freshest,
    serve_oldest,
    serve_random,
    serve_time_slot,
)

Views = Callable[..., LinkView]


def decide(rule: Any, seen: LinkView) -> tuple[int, list[int], int]:
    choice = np.full(max(1, seen.pairs_per_shot), -7, dtype=np.int64)
    request, wake_ns = rule(seen, choice)
    count = 0 if request == WAIT else seen.pairs_per_shot if request < KEY_REQUEST else 1
    return request, choice[:count].tolist(), wake_ns


def test_oldest_and_freshest_first_choose_from_the_two_ends(view: Views) -> None:
    seen = view(ages_ns=(900, 800, 300, 100), pairs_per_shot=2)
    assert decide(serve_oldest, seen)[:2] == (0, [0, 1])
    assert decide(serve_freshest, seen)[:2] == (0, [2, 3])


@pytest.mark.parametrize("rule", [serve_oldest, serve_freshest])
def test_request_that_waited_longest_comes_first(rule: Any, view: Views) -> None:
    now = 1_000_000
    waits = {"ages_ns": (500,), "now_ns": now}
    assert decide(rule, view(ready_ns=(now - 50, now - 70), request_ages_ns=(60,), **waits))[0] == 1
    assert decide(rule, view(ready_ns=(now - 50, now - 50), request_ages_ns=(50,), **waits))[0] == 0
    assert decide(rule, view(ready_ns=(now - 50, now + 1), request_ages_ns=(60, 10), **waits))[0] == KEY_REQUEST
    # A learner that needs more pairs than there are does not hold up the key.
    few = view(ready_ns=(now - 50, NEVER), request_ages_ns=(10,), pairs_per_shot=2, **waits)
    assert decide(rule, few)[0] == KEY_REQUEST
    assert decide(rule, view(ready_ns=(now + 1, NEVER), **waits))[0] == WAIT


def test_random_chooses_every_request_and_every_set_of_pairs_alike(view: Views) -> None:
    """Chi-square of 12 000 draws over 3 requests and 6 pairs of positions; false-alarm rate 1e-6 each."""
    rng = np.random.default_rng(0)
    seen = view(ages_ns=(4, 3, 2, 1), pairs_per_shot=2, request_ages_ns=(9, 8))
    answers = [decide(serve_random, seen._replace(draw=np.int64(draw))) for draw in rng.integers(0, 2**62, 12_000)]
    requests = Counter(request for request, _, _ in answers)
    assert sorted(requests) == [0, KEY_REQUEST, KEY_REQUEST + 1]
    assert stats.chisquare(list(requests.values())).pvalue > 1e-6
    sets = Counter(tuple(pairs) for request, pairs, _ in answers if request == 0)
    assert sorted(sets) == list(combinations(range(4), 2))
    assert stats.chisquare(list(sets.values())).pvalue > 1e-6


def test_random_gives_a_second_learner_its_turn(view: Views) -> None:
    rng = np.random.default_rng(1)
    seen = view(ages_ns=(4,), ready_ns=(0, 0))
    requests = {decide(serve_random, seen._replace(draw=np.int64(draw)))[0] for draw in rng.integers(0, 2**62, 60)}
    assert requests == {0, 1}
    assert decide(serve_random, view(ages_ns=(4,), ready_ns=(NEVER, 0)))[0] == 1
    assert decide(serve_random, view(ages_ns=(4,), ready_ns=(NEVER, NEVER)))[0] == WAIT


@pytest.mark.parametrize(
    ("offset_ns", "owner", "end_ns"),
    [(0, 0, 400), (399, 0, 400), (400, 1, 700), (699, 1, 700), (700, KEY_REQUEST, 1_000), (999, KEY_REQUEST, 1_000)],
)
def test_time_slots_serve_their_owner_alone(offset_ns: int, owner: int, end_ns: int, view: Views) -> None:
    start = 5_000
    slots = (1_000.0, 0.4, 0.7, 0.0)
    seen = view(now_ns=start + offset_ns, ages_ns=(90, 80), ready_ns=(0, 0), request_ages_ns=(5,), parameters=slots)
    assert decide(serve_time_slot, seen)[:2] == (owner, [0])
    ready = tuple(NEVER if side == owner else 0 for side in range(2))
    idle = seen._replace(qpu_ready_ns=ready)
    if owner == KEY_REQUEST:
        idle = idle._replace(key_arrival_ns=np.array([], dtype=np.int64))
    assert decide(serve_time_slot, idle) == (WAIT, [], start + end_ns)


def test_exchange_phase_belongs_to_keys(view: Views) -> None:
    seen = view(now_ns=8_000_000, ages_ns=(90,), request_ages_ns=(5,), ready_ns=(0, 0), parameters=(1_000.0, 1, 1, 0))
    assert decide(serve_time_slot, seen)[0] == KEY_REQUEST
    # A slot does not outlast the learning window.
    late = view(now_ns=7_999_900, ages_ns=(90,), request_ages_ns=(5,), parameters=(1e6, 1, 1, 0), ready_ns=(NEVER,) * 2)
    assert decide(serve_time_slot, late) == (WAIT, [], 8_000_000)


def test_shares_of_absent_classes_are_not_reserved(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model(keys=0.0)
    parameters = policies.static_tdma(model, frame_s=2e-3, learning_share=0.5).parameters
    n_learners = np.bincount(model.demand.learner_link, minlength=model.n_links)
    np.testing.assert_array_equal(parameters[:, 0], 2e6)
    np.testing.assert_array_equal(parameters[:, 2], np.where(n_learners > 0, 1.0, 0.0))
    np.testing.assert_array_equal(parameters[:, 1], np.choose(n_learners, [0.0, 1.0, 0.5]))
    with_keys = policies.static_tdma(small_model(), learning_share=0.5).parameters
    np.testing.assert_array_equal(with_keys[:, 2], np.where(n_learners > 0, 0.5, 0.0))


def test_limit_stops_attempts(view: Views, small_model: Callable[..., NetworkModel]) -> None:
    assert attempt_within_limit(view(ages_ns=(3, 2), parameters=(0.0, 3.0))) == 2
    assert attempt_within_limit(view(ages_ns=(3, 2), parameters=(0.0, 2.0))) == -1
    model = small_model()
    state = initial_state(model, seed=1)
    record = advance_round(state, model, policies.oldest_first(model, pairs_per_link=1))
    free = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    assert record.fates[:, Fate.ALIVE].max() == 1
    assert free.fates[:, Fate.ALIVE].max() > 1


@pytest.mark.parametrize("name", ["oldest_first", "freshest_first", "random", "static_tdma"])
def test_negative_limit_is_refused(name: str, small_model: Callable[..., NetworkModel]) -> None:
    with pytest.raises(DomainError, match="pairs_per_link"):
        getattr(policies, name)(small_model(), pairs_per_link=-2)


def test_impossible_time_slots_are_refused(small_model: Callable[..., NetworkModel]) -> None:
    with pytest.raises(DomainError, match="frame_s"):
        policies.static_tdma(small_model(), frame_s=0.0)
    with pytest.raises(DomainError, match="learning_share"):
        policies.static_tdma(small_model(), learning_share=1.5)
