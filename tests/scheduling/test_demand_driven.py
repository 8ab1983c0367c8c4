"""The stronger baselines' rules as plain functions, their parameters, and what every policy is tuned over."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.experiments import names
from ceas.network import Fate, NetworkModel, advance_round, initial_state
from ceas.network.policy import KEY_REQUEST, NEVER, WAIT, LinkView
from ceas.physics import secret_key_fraction
from ceas.scheduling.baselines import attempt_within_limit, memory_limits, memory_share
from ceas.scheduling.demand_driven import (
    attempt_and_replace,
    attempt_by_demand,
    attempt_on_demand,
    attempt_within_cutoff,
    demand_value_hz,
    serve_backlog,
    serve_best_pairs,
    serve_earliest_deadline,
    serve_heaviest,
    serve_within_cutoff,
)

Views = Callable[..., LinkView]
INF = float("inf")
NEW = ["earliest_deadline", "on_demand", "on_demand_weighted", "max_weight", "greedy_fidelity", "best_cutoff"]


def decide(rule: Any, seen: LinkView) -> tuple[int, list[int]]:
    choice = np.full(max(1, seen.pairs_per_shot), -7, dtype=np.int64)
    request, _ = rule(seen, choice)
    count = 0 if request == WAIT else seen.pairs_per_shot if request < KEY_REQUEST else 1
    return request, choice[:count].tolist()


def test_earliest_deadline_comes_first(view: Views) -> None:
    # Windows close 6.9 ms from now, a key lapses 0.3 ms after it came.
    assert decide(serve_earliest_deadline, view(ages_ns=(9, 5), request_ages_ns=(10,))) == (KEY_REQUEST, [0])
    late = view(ages_ns=(9, 5), request_ages_ns=(10,), now_ns=7_800_000)
    assert decide(serve_earliest_deadline, late) == (0, [0])
    assert decide(serve_earliest_deadline, view(ages_ns=(9,), ready_ns=(NEVER, NEVER))) == (WAIT, [])


def test_heaviest_takes_the_oldest_pair_that_is_worth_anything(view: Views) -> None:
    # After 2 ms at twice the rate w = 0.96 exp(-0.4) = 0.64: no key any more, but a shot.
    assert secret_key_fraction(0.96 * np.exp(-0.4)) == 0.0
    old = view(ages_ns=(1_999_000, 10), request_ages_ns=(5,), key_value=1.0, learning_value=0.1, decay_per_ns=2e-7)
    assert decide(serve_heaviest, old) == (KEY_REQUEST, [1])
    assert decide(serve_heaviest, old._replace(learning_value=10.0)) == (0, [0])


def test_backlog_counts_requests_times_value(view: Views) -> None:
    fraction = float(secret_key_fraction(0.96))
    one = view(ages_ns=(9, 5), request_ages_ns=(10,), learning_value=1.5 * fraction, key_value=1.0)
    assert decide(serve_backlog, one) == (0, [0])
    assert decide(serve_backlog, one._replace(key_arrival_ns=np.array([999_990, 999_995]))) == (KEY_REQUEST, [0])
    # Two learners that wait count twice, but not while the stock is too small for either.
    both = one._replace(key_arrival_ns=np.array([999_990, 999_995]), qpu_ready_ns=(0, 5))
    assert decide(serve_backlog, both) == (0, [0])
    assert decide(serve_backlog, both._replace(pairs_per_shot=3)) == (KEY_REQUEST, [0])


def test_greedy_serves_with_the_freshest(view: Views) -> None:
    seen = view(ages_ns=(900, 500, 20), pairs_per_shot=2, request_ages_ns=(1,), key_value=0.0)
    assert decide(serve_best_pairs, seen) == (0, [1, 2])
    assert decide(serve_best_pairs, seen._replace(key_value=9.0)) == (KEY_REQUEST, [2])


def test_cutoff_hides_old_pairs_and_gives_their_place_away(view: Views) -> None:
    seen = view(ages_ns=(900, 500, 20), pairs_per_shot=1, parameters=(600.0, 0.0, 3.0))
    assert decide(serve_within_cutoff, seen) == (0, [1])
    assert decide(serve_within_cutoff, seen._replace(parameters=np.array([10.0, 0.0, 3.0]))) == (WAIT, [])
    assert attempt_within_cutoff(seen) == 0
    assert attempt_within_cutoff(seen._replace(parameters=np.array([950.0, 0.0, 3.0]))) == -1
    assert attempt_within_cutoff(seen._replace(parameters=np.array([950.0, 0.0, 4.0]))) == 3


@pytest.mark.parametrize(
    ("ready_ns", "keys", "lead_ns", "stock"),
    [
        ((0, NEVER), 0, 0.0, (1, 1)),  # a learner waits for two pairs and there is one
        ((0, NEVER), 0, 0.0, (2, -1)),
        ((0, NEVER), 1, 0.0, (2, 2)),
        ((1_000_500, NEVER), 0, 0.0, (0, -1)),
        ((1_000_500, NEVER), 0, 600.0, (0, 0)),  # not yet ready, but within the lead
        ((NEVER, NEVER), 2, 0.0, (1, 1)),
        ((7_950_000, NEVER), 0, 9e6, (0, -1)),  # ready only after its window
    ],
)
def test_on_demand_makes_what_is_missing(
    ready_ns: tuple[int, int], keys: int, lead_ns: float, stock: tuple[int, int], view: Views
) -> None:
    n_stored, expected = stock
    seen = view(
        ages_ns=tuple(range(n_stored, 0, -1)),
        ready_ns=ready_ns,
        request_ages_ns=tuple(range(keys, 0, -1)),
        pairs_per_shot=2,
        parameters=(lead_ns, 0.0, INF),
    )
    assert attempt_on_demand(seen) == expected


def test_room_is_the_limit_and_place_for_the_whole_shot(view: Views) -> None:
    seen = view(ages_ns=(3, 2), parameters=(3.0, INF), free_slots=1)
    assert attempt_within_limit(seen) == 2
    assert attempt_within_limit(seen._replace(parameters=np.array([4.0, INF]))) == -1
    assert attempt_within_limit(seen._replace(parameters=np.array([0.0, 2.0]))) == -1
    assert attempt_and_replace(seen._replace(parameters=np.array([0.0, 2.0]))) == 0
    assert attempt_and_replace(seen._replace(free_slots=0)) == 0
    assert attempt_and_replace(view(ages_ns=(), parameters=(0.0, INF), free_slots=0)) == -1
    assert attempt_by_demand(seen._replace(parameters=np.array([1.0, 0.3, 0.0, INF]))) == 2
    assert attempt_by_demand(seen._replace(parameters=np.array([1.0, 0.4, 0.0, INF]))) == -1


def test_partition_never_gives_more_than_the_share(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model(pairs_per_shot=2)
    limits = memory_limits(model, 0, True)
    np.testing.assert_array_equal(limits[:, 1], memory_share(model))
    has_learner = np.isin(np.arange(model.n_links), model.demand.learner_link)
    np.testing.assert_array_equal(limits[:, 0], np.where(has_learner, 2.0, 0.0))
    assert (memory_limits(model, 0, False)[:, 1] == INF).all()
    assert (memory_limits(model, 5, False)[:, 1] == 5.0).all()


def test_demanded_value_is_shots_and_keys_at_their_best(small_model: Callable[..., NetworkModel]) -> None:
    model = small_model()
    demand, werner, seconds = model.demand, model.links.initial_werner, 0.2
    expected = demand.key_pairs_per_round * secret_key_fraction(werner)
    for link in demand.learner_link:
        expected[link] += 150 * werner[link] ** 2
    np.testing.assert_allclose(demand_value_hz(model), expected / seconds, rtol=1e-12)


def test_every_policy_is_tuned_with_the_same_number_of_trials() -> None:
    assert set(policies.TUNING_GRIDS) == set(names("policy"))
    assert {len(grid) for grid in policies.TUNING_GRIDS.values()} == {8}
    for name, grid in policies.TUNING_GRIDS.items():
        known = set(inspect.signature(getattr(policies, name)).parameters)
        assert len({tuple(sorted(trial.items())) for trial in grid}) == 8
        assert all(set(trial) < known for trial in grid)


@pytest.mark.parametrize("name", NEW)
def test_policies_deliver_and_account_for_every_pair(name: str, small_model: Callable[..., NetworkModel]) -> None:
    model = small_model(pairs_per_shot=2)
    state = initial_state(model, seed=3)
    record = advance_round(state, model, getattr(policies, name)(model))
    closed = record.fates[:, 1:].sum(axis=1)
    np.testing.assert_array_equal(record.generated, closed + record.fates[:, Fate.ALIVE])
    assert record.delivered_value[0] > 0
    assert record.delivered_value[1] > 0


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("on_demand", "lead_shots", -1.0),
        ("on_demand_weighted", "lead_shots", float("nan")),
        ("best_cutoff", "cutoff_share", 0.0),
        ("demand_aware", "threshold", 1.5),
        ("max_weight", "pairs_per_link", -2),
    ],
)
def test_impossible_parameters_are_refused(
    name: str, parameter: str, value: float, small_model: Callable[..., NetworkModel]
) -> None:
    with pytest.raises(DomainError, match=parameter):
        getattr(policies, name)(small_model(), **{parameter: value})
