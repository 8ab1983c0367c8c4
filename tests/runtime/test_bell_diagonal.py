"""A training with Bell-diagonal pairs: what tests certify, what keys are paid, and that all rooms agree."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.authentication import secret_key_bits
from ceas.errors import DomainError, ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.assemble import (
    assemble_method,
    assemble_policy,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.experiments.scenario import scenario_from_toml
from ceas.physics import bbm92_key_fraction, correlators_to_bell_diagonal, load_preset, secret_key_fraction
from ceas.runtime.certification import JointTests
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.learners import Learners
from ceas.runtime.route_world import LEAST_KEY_FIDELITY, bell_diagonal_margin, has_key, route_margin
from ceas.runtime.sources import LiveSource
from ceas.runtime.world import World

RNG_SEED = 7
STATES = (
    "hardware.pair_states=bell_diagonal",
    "hardware.relaxation_time_s=0.3",
    "hardware.dephasing_time_s=0.1",
)


@pytest.fixture(scope="module")
def scenario(small_scenario: Scenario) -> Scenario:
    return small_scenario.with_overrides([*STATES, "schedule.test_share=0.3"])


@pytest.fixture(scope="module")
def world(scenario: Scenario) -> World:
    return assemble_world(scenario, 3)


def live_source(scenario: Scenario, world: World) -> LiveSource:
    security = assemble_security(scenario)
    return LiveSource(world, assemble_policy(scenario, world), security, seed=3, trace_every=0, start_digest=b"d" * 32)


def simulation_of(scenario: Scenario, world: World) -> CoSimulation:
    return CoSimulation(
        world,
        assemble_training(scenario),
        assemble_method(scenario),
        assemble_security(scenario),
        live_source(scenario, world),
        seed=3,
    )


# ---- certification ---------------------------------------------------------------------------------------------------


def counted(correlators: tuple[float, float, float], n_links: int, n_tests: int) -> JointTests:
    tests = JointTests.none_yet(n_links, by_basis=True)
    link = np.repeat(np.arange(n_links, dtype=np.int32), n_tests)
    pairs = np.broadcast_to(np.array(correlators, np.float32), (len(link), 3))
    tests.observe(link, pairs, np.random.default_rng(RNG_SEED))
    return tests


def test_each_basis_estimates_its_correlator() -> None:
    """n = 600,000 tests, a third in each basis; deviations below 2 sqrt(1/4 / 200,000) * 5.1 but for 1e-6 in all."""
    correlators = (0.4, -0.2, 0.9)
    tests = counted(correlators, 1, 600_000)
    assert tests.tested.sum() == 600_000
    # Binomial with share 1/3: within 5.1 standard deviations but for 1e-6 in all.
    assert np.abs(tests.tested - 200_000).max() < 5.1 * math.sqrt(600_000 * 2 / 9)
    np.testing.assert_allclose(tests.estimate()[0], correlators, atol=5.1 / math.sqrt(199_000))


def test_the_bounds_of_a_link_hold_together_as_often_as_they_say() -> None:
    """2,000 links of 300 tests each, delta = 0.1: at most 200 failures in the mean by Hoeffding's inequality.

    More than 273 have a probability below 1e-6 even if each link fails with 0.1 (binomial, 5.4 standard deviations).
    """
    correlators = np.array([0.7, 0.75, 0.9])
    tests = counted((0.7, 0.75, 0.9), 2000, 300)
    failures = (tests.upper_bound(0.1) < correlators).any(axis=1).sum()
    assert failures <= 273
    of_fidelity = (tests.werner_upper_bound(0.1) < correlators.mean()).sum()
    assert 0 < of_fidelity <= 273


def test_a_basis_without_tests_bounds_nothing() -> None:
    tests = JointTests.none_yet(2, by_basis=True)
    np.testing.assert_array_equal(tests.upper_bound(0.01), np.ones((2, 3)))
    np.testing.assert_array_equal(tests.werner_upper_bound(0.01), np.ones(2))


def test_the_corners_hold_a_links_correlators_as_often_as_they_say() -> None:
    """2,000 links of 300 tests each, delta = 0.1: at most 200 failures in the mean by Hoeffding's inequality.

    More than 273 have a probability below 1e-6 even if each link fails with 0.1 (binomial, 5.4 standard deviations).
    """
    correlators = np.array([0.7, -0.1, 0.9])
    corners = counted((0.7, -0.1, 0.9), 2000, 300).corners(0.1)
    assert corners.shape == (8, 2000, 3)
    is_outside = (corners.min(axis=0) > correlators) | (corners.max(axis=0) < correlators)
    assert is_outside.any(axis=1).sum() <= 273
    assert len(np.unique(corners[:, 0], axis=0)) == 8
    werner = JointTests(np.array([50]), np.array([45]))
    np.testing.assert_array_equal(werner.corners(0.1), werner.upper_bound(0.1)[None])


def test_the_certified_contraction_is_above_the_true_one(scenario: Scenario, world: World) -> None:
    """Whatever the angles: bounds between 0.1 below and 0.01 above what the pairs of shots were, over 20 draws."""
    learners = Learners(world, assemble_training(scenario), seed=3)
    window = live_source(scenario, world).next_window()
    assert window.shot_correlators is not None
    fresh = world.network.links.correlators
    used = window.shot_correlators.reshape(-1, 3)
    low, high = used.min(axis=0) - 0.1, np.minimum(fresh + 0.01, 1.0)
    picks = np.array(np.meshgrid(*[[False, True]] * 3)).reshape(3, -1).T
    corners = np.where(picks[:, None, :], high, low)
    rng = np.random.default_rng(2)
    for _ in range(20):
        theta = rng.normal(0.0, 1.5, world.circuit.n_parameters)
        found = learners.contraction(theta, window, estimated_werner=fresh, bounding_werner=corners)
        has_shots = np.isfinite(found.true)
        assert has_shots.any()
        assert (found.true[has_shots] <= found.bound[has_shots] + 1e-6).all()
        assert (found.believed <= found.bound).all()


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_key_of_pairs_with_unlike_bases() -> None:
    mean = np.array([[0.9, 0.9, 0.98], [0.95, 0.95, 0.95], [0.1, 0.1, 0.2]])
    count = np.array([10.0, 20.0, 30.0])
    expected = count * bbm92_key_fraction(correlators_to_bell_diagonal(mean))
    np.testing.assert_allclose(secret_key_bits(count, mean * count[:, None]), expected, atol=1e-12)
    # A Werner pair of that fidelity gives less, and equal correlators as much.
    werner = secret_key_bits(count, mean.mean(axis=1) * count)
    assert expected[0] > werner[0]
    assert expected[1] == pytest.approx(werner[1])
    np.testing.assert_array_equal(secret_key_bits(np.zeros(2), np.zeros((2, 3))), np.zeros(2))
    with pytest.raises(DomainError, match="correlators"):
        secret_key_bits(count, 1.1 * count[:, None] * np.ones(3))


def test_pools_get_the_key_of_the_pairs_that_were_used(scenario: Scenario, world: World) -> None:
    source = live_source(scenario, world)
    window = source.next_window()
    record = source.exchange(window, [b"x"] * world.n_learners, b"d" * 32)
    assert window.key_correlator_sum is not None
    has_keys = window.key_count > 0
    mean = window.key_correlator_sum[has_keys] / window.key_count[has_keys, None]
    expected = window.key_count[has_keys] * bbm92_key_fraction(correlators_to_bell_diagonal(mean))
    np.testing.assert_allclose(record.key_bits_generated[has_keys], expected)
    assert expected.sum() > 0.0


def test_margins_of_routes_are_those_of_werner_pairs_where_these_say_the_same(small_scenario: Scenario) -> None:
    plain = assemble_world(small_scenario.with_overrides(["schedule.route_key_pairs_per_round=12"]), 3).network
    assert plain.routes is not None
    assert plain.repeaters is not None
    links = replace(
        plain.links,
        initial_correlators=plain.links.correlators,
        correlator_decay_hz=plain.links.correlator_rates_hz,
    )
    perfect = replace(plain.repeaters, swap_contraction=np.ones_like(plain.repeaters.swap_contraction))
    margin, least = bell_diagonal_margin(plain.routes, perfect, links, has_key)
    expected = route_margin(plain.routes, perfect, plain.links, LEAST_KEY_FIDELITY)
    np.testing.assert_allclose(margin, np.maximum(expected, 0.0), atol=1e-5)
    np.testing.assert_allclose(least[expected > 0], LEAST_KEY_FIDELITY, atol=1e-5)
    assert secret_key_fraction((4 * LEAST_KEY_FIDELITY - 1) / 3) == pytest.approx(0.0, abs=1e-5)


def test_routes_ask_for_pairs_that_still_give_key(small_scenario: Scenario) -> None:
    changed = small_scenario.with_overrides([*STATES, "schedule.route_key_pairs_per_round=12", "schedule.policy=ceas"])
    world = assemble_world(changed, 3)
    demand, repeaters = world.network.route_demand, world.network.repeaters
    assert demand is not None
    assert repeaters is not None
    assert (demand.minimum_fidelity < LEAST_KEY_FIDELITY).any()
    source = live_source(changed, world)
    window = source.next_window()
    routes = window.routes
    assert routes is not None
    assert routes.served.sum() > 0
    bits = source.exchange(window, [b"x"] * world.n_learners, b"d" * 32).route_key_bits
    mean = routes.correlator_sum[routes.served > 0] / routes.served[routes.served > 0, None]
    expected = routes.served[routes.served > 0] * bbm92_key_fraction(correlators_to_bell_diagonal(mean))
    assert bits == pytest.approx(expected.sum())


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_a_training_goes_on_from_a_checkpoint_to_the_bit(scenario: Scenario, world: World) -> None:
    whole = simulation_of(scenario, world)
    whole.advance()
    stored = whole.to_arrays()
    assert stored["tested"].shape == (world.network.n_links, 3)
    whole.advance()
    resumed = simulation_of(scenario, world)
    resumed.load(stored)
    resumed.advance()
    np.testing.assert_array_equal(whole.theta, resumed.theta)
    np.testing.assert_array_equal(whole.certified_werner(), resumed.certified_werner())
    assert whole.certified_werner().shape == (world.network.n_links,)
    assert np.isfinite(whole.theta).all()


def test_correlators_count_alike_where_no_measured_qubit_depends_on_a_pair(small_scenario: Scenario) -> None:
    """One layer of a chain carries Z of the first two of four qubits through no CNOT of the cut."""
    changed = [*STATES, "circuit.n_layers=1", "circuit.entangler=chain", "data.classes=[0, 1]"]
    world = assemble_world(small_scenario.with_overrides(changed), 3)
    assert world.pairs_per_shot > 0
    assert world.network.demand.correlator_weights == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_an_uncut_circuit_needs_no_pairs(small_scenario: Scenario) -> None:
    uncut = small_scenario.with_overrides([*STATES, "circuit.partition=data"])
    simulation = simulation_of(uncut, assemble_world(uncut, 3))
    simulation.advance()
    assert np.isfinite(simulation.theta).all()


@pytest.mark.parametrize(("preset", "has_times"), [("trapped_ion", True), ("nv_centre", True), ("idealised", False)])
def test_presets_give_their_own_memories_to_bell_diagonal_pairs(preset: str, has_times: bool) -> None:
    text = f'[hardware]\npreset = "{preset}"\npair_states = "%s"\nreadout_error = 0.01\n'
    known: Any = load_preset(preset)
    plain, exact = (scenario_from_toml(text % states).hardware for states in ("werner", "bell_diagonal"))
    assert plain.relaxation_time_s is plain.dephasing_time_s is None
    assert plain.coherence_time_s == pytest.approx(exact.coherence_time_s)
    if not has_times:
        assert exact.dephasing_time_s is None
        return
    assert exact.dephasing_time_s == known.dephasing_time_s
    assert (exact.relaxation_time_s or math.inf) == known.relaxation_time_s
    # The same by an override of a scenario that has been read, and back.
    whole = scenario_from_toml(text % "werner").with_overrides(["hardware.pair_states=bell_diagonal"])
    assert whole.hardware == exact
    assert scenario_from_toml(whole.to_toml()) == whole
    # A depolarising memory of one's own takes the place of the preset's.
    own = scenario_from_toml(text % "bell_diagonal" + "coherence_time_s = 0.5\n").hardware
    assert (own.coherence_time_s, own.dephasing_time_s) == (0.5, None)
    # One of the two times may be given alone.
    longer = scenario_from_toml(text % "bell_diagonal" + "dephasing_time_s = 0.001\n").hardware
    assert (longer.dephasing_time_s, longer.relaxation_time_s) == (0.001, exact.relaxation_time_s)


def test_times_that_contradict_each_other_are_refused(small_scenario: Scenario) -> None:
    for overrides, message in (
        (["hardware.relaxation_time_s=0.1"], "hardware.dephasing_time_s: missing"),
        (["hardware.relaxation_time_s=0.1", "hardware.dephasing_time_s=0.3"], "at most 2 relaxation_time_s = 0.2"),
        (["hardware.dephasing_time_s=0.3", "hardware.coherence_time_s=0.3"], "coherence_time_s: found 0.3, but it"),
    ):
        with pytest.raises(ScenarioError, match=message):
            small_scenario.with_overrides(overrides)
    both = small_scenario.with_overrides(["hardware.relaxation_time_s=0.3", "hardware.dephasing_time_s=0.6"])
    assert both.hardware.coherence_time_s == pytest.approx(3 / (1 / 0.3 + 2 / 0.6))
