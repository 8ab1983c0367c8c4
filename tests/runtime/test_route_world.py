"""Background traffic, drift and attempt limits of a scenario: what the network gets, and that the figures count it."""

import numpy as np
import pytest

from ceas.errors import ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_policy, assemble_world
from ceas.experiments.schedule_runs import bound_of, run_policy
from ceas.network import RouteClass, WindowRecord, advance_round, initial_state
from ceas.network.records import value_by_class
from ceas.network.replay import route_requests
from ceas.runtime.route_world import route_margin
from ceas.runtime.world import World

TRAFFIC = ["traffic.connections=4", "traffic.requests_per_round=30", "traffic.value=0.5"]
DRIFT = ["drift.link_share=0.5", "drift.start_s=0.4", "drift.success_factor=0.1"]


def windows_of(scenario: Scenario, world: World, *, rounds: int = 3, seed: int = 3) -> list[WindowRecord]:
    state, policy = initial_state(world.network, seed=seed), assemble_policy(scenario, world)
    return [advance_round(state, world.network, policy) for _ in range(rounds)]


def test_nothing_optional_gives_the_network_of_links_alone(small_scenario: Scenario) -> None:
    network = assemble_world(small_scenario, 3).network
    assert network.routes is None
    assert network.route_demand is None
    assert network.repeaters is None
    assert network.drift is None


def test_connections_are_distinct_near_and_can_reach_their_fidelity(small_scenario: Scenario) -> None:
    network = assemble_world(small_scenario.with_overrides([*TRAFFIC, "traffic.most_hops=2"]), 3).network
    routes, demand, repeaters = network.routes, network.route_demand, network.repeaters
    assert routes is not None
    assert demand is not None
    assert repeaters is not None
    assert len(set(demand.route.tolist())) == 4
    assert (demand.use_class == RouteClass.BACKGROUND).all()
    assert (routes.n_hops[demand.route] <= 2).all()
    assert (route_margin(routes, repeaters, network.links, 0.7)[demand.route] > 0.0).all()


def test_keys_and_traffic_share_one_table_of_flows(small_scenario: Scenario) -> None:
    both = small_scenario.with_overrides([*TRAFFIC, "schedule.route_key_pairs_per_round=12"])
    alone = small_scenario.with_overrides(["schedule.route_key_pairs_per_round=12"])
    network, keys = assemble_world(both, 3).network, assemble_world(alone, 3).network
    assert network.route_demand is not None
    assert keys.route_demand is not None
    n_keys = keys.route_demand.n_flows
    assert network.route_demand.n_flows == n_keys + 4
    np.testing.assert_array_equal(network.route_demand.weight[:n_keys], keys.route_demand.weight)
    assert network.routes is not None
    network.routes.nodes(network.links)  # raises unless every route is a path


@pytest.mark.parametrize("policy", ["ceas", "oldest_first"])
def test_background_traffic_is_served_and_its_value_counts(small_scenario: Scenario, policy: str) -> None:
    scenario = small_scenario.with_overrides([*TRAFFIC, f"schedule.policy={policy}"])
    world = assemble_world(scenario, 3)
    windows = windows_of(scenario, world)
    served = sum(float(window.routes.served.sum()) for window in windows if window.routes is not None)
    value = sum(value_by_class(window) for window in windows)
    assert served > 0
    assert value[3] == pytest.approx(0.5 * served)
    run = run_policy(policy, {}, world, seed=3, rounds=3, bounded_rounds=3)
    assert run.figures["value_background"] == pytest.approx(value[3])
    assert run.figures["delivered_value"] == pytest.approx(value.sum())
    # The bound takes all requests as served; the coins of the tests move a run by far less than what is left.
    bound = bound_of(world, seed=3, rounds=3)
    assert run.figures["bounded_value"] < bound


def test_requests_arrive_whatever_the_policy_does(small_scenario: Scenario) -> None:
    scenario = small_scenario.with_overrides(TRAFFIC)
    world = assemble_world(scenario, 3)
    windows = windows_of(scenario, world)
    asked = np.sum([window.routes.requested for window in windows if window.routes is not None], axis=0)
    np.testing.assert_array_equal(route_requests(world.network, seed=3, n_rounds=3), asked)


def test_keys_alone_go_into_the_pools(small_scenario: Scenario) -> None:
    """With traffic on routes of their own, the pools get what the flows of keys delivered and no more."""
    scenario = small_scenario.with_overrides([*TRAFFIC, "schedule.route_key_pairs_per_round=12"])
    world = assemble_world(scenario, 3)
    demand = world.network.route_demand
    assert demand is not None
    (window,) = windows_of(scenario, world, rounds=1)
    assert window.routes is not None
    is_background = demand.use_class == RouteClass.BACKGROUND
    assert window.routes.served[is_background].sum() > 0
    by_class = window.routes.by_class("served")
    assert by_class[RouteClass.BACKGROUND] == window.routes.served[is_background].sum()
    assert by_class[RouteClass.KEY] == window.routes.served[~is_background].sum()


def test_drift_slows_the_chosen_links_from_its_time_on(small_scenario: Scenario) -> None:
    """A tenth of the chance of success: at most a fifth of the pairs before, of thousands on each link."""
    scenario = small_scenario.with_overrides([*DRIFT, "schedule.policy=freshest_first"])
    world = assemble_world(scenario, 3)
    drift = world.network.drift
    assert drift is not None
    assert len(drift.link) == round(0.5 * world.network.n_links)
    windows = windows_of(scenario, world)
    # Rounds last 0.35 s here, so the third is the first that lies behind the step as a whole.
    before, after = windows[0].generated, windows[2].generated
    changed = np.isin(np.arange(world.network.n_links), drift.link) & (before > 500)
    assert changed.any()
    assert (after[changed] < 0.2 * before[changed]).all()
    assert np.isnan(bound_of(world, seed=3, rounds=2))


def test_a_drift_of_less_than_half_a_link_is_a_mistake(small_scenario: Scenario) -> None:
    with pytest.raises(ScenarioError, match="`link_share` must be 0 or come to one of the 5 links"):
        assemble_world(small_scenario.with_overrides([*DRIFT, "drift.link_share=0.05"]), 3)


def test_communication_qubits_bound_what_a_node_attempts(small_scenario: Scenario) -> None:
    free = assemble_world(small_scenario, 3)
    bound = assemble_world(small_scenario.with_overrides(["hardware.communication_qubits=1"]), 3)
    assert bound.network.repeaters is not None
    assert (bound.network.repeaters.communication_qubits == 1).all()
    before = windows_of(small_scenario, free, rounds=1)[0].generated.sum()
    after = windows_of(small_scenario, bound, rounds=1)[0].generated.sum()
    assert 0 < after < before


def test_more_connections_than_there_are_is_one_clear_mistake(small_scenario: Scenario) -> None:
    with pytest.raises(ScenarioError, match="`connections` must be at most"):
        assemble_world(small_scenario.with_overrides(["traffic.connections=5000"]), 3)
