"""Keys over routes in a training: who asks, what it pays into the pools, and what a checkpoint keeps."""

import math

import numpy as np
import pytest

from ceas.errors import ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_policy, assemble_security, assemble_world
from ceas.physics import secret_key_fraction
from ceas.runtime.route_world import LEAST_KEY_FIDELITY, route_margin
from ceas.runtime.sources import LiveSource
from ceas.runtime.world import World


@pytest.fixture(scope="module")
def scenario(small_scenario: Scenario) -> Scenario:
    return small_scenario.with_overrides(["schedule.route_key_pairs_per_round=12", "schedule.policy=ceas"])


@pytest.fixture(scope="module")
def world(scenario: Scenario) -> World:
    return assemble_world(scenario, 3)


def live_source(scenario: Scenario, world: World) -> LiveSource:
    security = assemble_security(scenario)
    return LiveSource(world, assemble_policy(scenario, world), security, seed=3, trace_every=0, start_digest=b"d" * 32)


def exchange(source: LiveSource, world: World) -> float:
    window = source.next_window()
    return source.exchange(window, [b"x"] * world.n_learners, b"d" * 32).route_key_bits


def test_only_nodes_without_a_fibre_that_can_get_key_ask(world: World) -> None:
    network = world.network
    routes, demand, repeaters = network.routes, network.route_demand, network.repeaters
    assert routes is not None
    assert demand is not None
    assert repeaters is not None
    fibres = set(zip(network.links.node_a.tolist(), network.links.node_b.tolist(), strict=True))
    asking = {(int(routes.source[route]), int(routes.target[route])) for route in demand.route}
    assert asking
    assert not asking & fibres
    assert (routes.n_hops[demand.route] == 2).all()
    assert (route_margin(routes, repeaters, network.links, LEAST_KEY_FIDELITY)[demand.route] > 0).all()


def test_margin_is_what_waiting_may_cost(world: World) -> None:
    routes, repeaters, links = world.network.routes, world.network.repeaters, world.network.links
    assert routes is not None
    assert repeaters is not None
    first, second = routes.link[:2]
    node = ({int(links.node_a[first]), int(links.node_b[first])} - {int(routes.source[0])}).pop()
    fresh = links.initial_werner[first] * links.initial_werner[second] * repeaters.swap_contraction[node].mean()
    margin = route_margin(routes, repeaters, links, LEAST_KEY_FIDELITY)[0]
    least = (4 * LEAST_KEY_FIDELITY - 1) / 3
    assert margin == pytest.approx(math.log(fresh / least))
    assert secret_key_fraction(least * 1.0001) > 0
    assert secret_key_fraction(least * 0.9999) == 0


def test_end_to_end_pairs_fill_the_pools_of_their_ends(scenario: Scenario, world: World) -> None:
    source = live_source(scenario, world)
    window = source.next_window()
    pools = source._authenticator.pools
    before = pools.generated_bits.copy()
    record = source.exchange(window, [b"x"] * world.n_learners, b"d" * 32)
    gained = (pools.generated_bits - before).reshape(pools.n_nodes, -1)
    links, routes, demand = world.network.links, world.network.routes, world.network.route_demand
    assert window.routes is not None
    assert routes is not None
    assert demand is not None
    assert window.routes.served.sum() > 0
    apart = gained.copy()
    apart[links.node_a, links.node_b] = 0.0
    assert apart.sum() == pytest.approx(record.route_key_bits)
    for flow, route in enumerate(demand.route):
        served = int(window.routes.served[flow])
        expected = 0.0
        if served:
            mean = float(window.routes.correlator_sum[flow].mean()) / served
            expected = served * float(secret_key_fraction(mean))
        assert gained[routes.source[route], routes.target[route]] == pytest.approx(expected)


def test_a_checkpoint_keeps_requests_that_wait_for_their_other_pair(scenario: Scenario, world: World) -> None:
    whole, stopped = live_source(scenario, world), live_source(scenario, world)
    for _ in range(2):
        assert exchange(whole, world) == exchange(stopped, world)
    resumed = live_source(scenario, world)
    resumed.load({name: np.copy(value) for name, value in stopped.to_arrays().items()})
    for _ in range(2):
        assert exchange(whole, world) == exchange(resumed, world)


def test_routes_that_never_give_key_are_refused(scenario: Scenario) -> None:
    poor = scenario.with_overrides(["hardware.visibility=0.7"])
    with pytest.raises(ScenarioError, match="route_hops"):
        assemble_world(poor, 3)
