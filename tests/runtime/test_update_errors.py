"""How far updates are off the honest gradients: against finite differences, closed forms and an update at a time."""

import math

import numpy as np
import pytest

from ceas import aggregation
from ceas.aggregation.constants import gradient_spread, kappa_of_rounds
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_method, assemble_security, assemble_training, assemble_world
from ceas.experiments.ensembles import simulate_together
from ceas.experiments.run import record_network
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.evaluation import Evaluator
from ceas.runtime.sources import NetworkTrace, RecordedSource
from ceas.runtime.update_errors import MEASURED, HonestObjectives, RoundUpdates, UpdateErrors, round_errors
from ceas.runtime.world import World

SEED = 3


@pytest.fixture(scope="module")
def scenario(small_scenario: Scenario) -> Scenario:
    changes = ["byzantine.attack=a_little_is_enough", "aggregation.rule=trimmed_mean", "aggregation.is_debiased=true"]
    return small_scenario.with_overrides([*changes, "data.split=dirichlet", "learning.worker_momentum=0"])


@pytest.fixture(scope="module")
def world(scenario: Scenario) -> World:
    return assemble_world(scenario, SEED)


@pytest.fixture(scope="module")
def trace(scenario: Scenario) -> NetworkTrace:
    return record_network(scenario, seed=SEED)


def simulation_of(scenario: Scenario, world: World, trace: NetworkTrace, every: int = 1) -> CoSimulation:
    security = assemble_security(scenario)
    source = RecordedSource(trace, world, security)
    training, method = assemble_training(scenario), assemble_method(scenario)
    return CoSimulation(world, training, method, security, source, seed=SEED, gradient_rounds=every)


def updates_of(rows, value, **changes) -> RoundUpdates:
    n = len(rows)
    given = {"is_admitted": np.ones(n, bool), "n_declared": 1, "contraction_error": np.zeros(n)} | changes
    return RoundUpdates(rows=np.asarray(rows, float), value=value, **given)


def test_gradients_are_those_of_the_honest_objective_by_finite_differences(world: World) -> None:
    rng = np.random.default_rng(1)
    theta = rng.normal(0, 0.5, world.model.n_parameters)
    losses, gradients = HonestObjectives(world)(theta)
    assert gradients.shape == (4, world.model.n_parameters)
    oracle = Evaluator(world, worker_momentum=0.0)
    assert losses.mean() == pytest.approx(oracle.train_loss(theta), rel=1e-5)
    for _ in range(3):
        direction = rng.normal(size=theta.size)
        direction /= np.linalg.norm(direction)
        step = 0.02 * direction
        slope = (oracle.train_loss(theta + step) - oracle.train_loss(theta - step)) / 0.04
        assert gradients.mean(axis=0) @ direction == pytest.approx(slope, abs=2e-4)
    # Learners with unlike data have unlike gradients, and none is the mean's.
    assert gradient_spread(gradients[None])[0] > 1e-3


def test_a_learners_gradient_is_that_of_its_own_samples(world: World) -> None:
    theta = np.random.default_rng(2).normal(0, 0.5, world.model.n_parameters)
    _, gradients = HonestObjectives(world)(theta)
    honest = np.flatnonzero(~world.is_byzantine)
    for row, learner in zip(gradients, honest, strict=True):
        alone = np.ones_like(world.is_byzantine)
        alone[learner] = False
        one = World(**{name: getattr(world, name) for name in World.__slots__} | {"is_byzantine": alone})
        expected, _ = Evaluator(one, worker_momentum=0.0).exact_momentum(theta)
        np.testing.assert_allclose(row, expected, atol=2e-6)


def test_measurements_are_those_of_the_functions_on_constants() -> None:
    rng = np.random.default_rng(5)
    gradients, rows, value = rng.normal(size=(4, 3)), rng.normal(size=(6, 3)), rng.normal(size=3)
    is_byzantine = np.array([False, True, False, False, True, False])
    is_admitted = np.array([True, True, True, False, True, True])
    known = np.array([0.1, 9.0, np.nan, 8.0, 7.0, 0.2])
    found = round_errors(
        gradients,
        updates_of(rows, value, is_admitted=is_admitted, n_declared=2, contraction_error=known),
        is_byzantine=is_byzantine,
    )
    honest = rows[[0, 2, 5]]
    spread, squared = gradient_spread(gradients[None])
    assert found["gradient_spread"] == pytest.approx(spread[0])
    assert found["squared_gradient"] == pytest.approx(squared[0])
    assert found["kappa"] == pytest.approx(kappa_of_rounds(value[None], honest[None])[0])
    assert found["update_spread"] == pytest.approx(gradient_spread(honest[None])[0][0])
    mean = honest.mean(axis=0)
    assert found["mean_error"] == pytest.approx(np.sum((mean - gradients.mean(axis=0)) ** 2))
    assert found["rule_error"] == pytest.approx(np.sum((value - mean) ** 2))
    assert (found["n_rows"], found["n_honest"], found["n_declared"]) == (5, 3, 2)
    assert found["contraction_error"] == 0.2


def test_a_round_without_a_step_or_honest_updates_has_no_errors() -> None:
    gradients, rows = np.ones((2, 3)), np.ones((3, 3))
    is_byzantine = np.array([False, False, True])
    none = round_errors(gradients, updates_of(rows, None), is_byzantine=is_byzantine)
    assert (none["n_rows"], none["n_honest"]) == (0, 0)
    alone = updates_of(rows, np.ones(3), is_admitted=is_byzantine)
    found = round_errors(gradients, alone, is_byzantine=is_byzantine)
    assert (found["n_rows"], found["n_honest"]) == (1, 0)
    for one in (none, found):
        assert one["squared_gradient"] == 3.0
        assert math.isnan(one["mean_error"])
        assert math.isnan(one["rule_error"])


@pytest.mark.parametrize(("moved", "kappa"), [(0.0, 0.0), (1.0, math.inf)])
def test_kappa_of_updates_that_coincide(moved: float, kappa: float) -> None:
    found = round_errors(
        np.ones((2, 1)), updates_of(np.ones((2, 1)), np.ones(1) + moved), is_byzantine=np.zeros(2, bool)
    )
    assert found["kappa"] == kappa


@pytest.mark.parametrize("off", [1e-16, 1e-14, 1e-9])
@pytest.mark.parametrize("scatter", [0.0, 1e-17, 1.0])
def test_what_rounding_moves_is_no_error_of_the_rule(off: float, scatter: float) -> None:
    """Updates of length 1e3 that coincide, all but, or cancel in their mean; the rule returns all but their mean."""
    rng = np.random.default_rng(0)
    rows = 1e3 * (np.ones((4, 3)) + scatter * rng.normal(size=(4, 3)))
    if scatter == 1.0:
        rows -= rows.mean(axis=0)
    error = 1e3 * off
    value = rows.mean(axis=0) + np.array([error, 0.0, 0.0])
    found = round_errors(np.ones((4, 3)), updates_of(rows, value), is_byzantine=np.zeros(4, bool))
    if off < 1e-12:
        assert found["rule_error"] == found["kappa"] == 0
    else:
        assert found["rule_error"] == pytest.approx(error**2, rel=1e-3)
        assert found["kappa"] > 0


@pytest.mark.parametrize("rule", ["trimmed_mean", "coordinate_median", "geometric_median", "nnm_trimmed_mean"])
def test_rules_have_no_error_on_updates_that_coincide(rule: str) -> None:
    rows = np.tile(np.random.default_rng(3).normal(size=7), (6, 1))
    value = getattr(aggregation, rule)(rows, n_byzantine=1).value
    found = round_errors(rows, updates_of(rows, value), is_byzantine=np.arange(6) == 5)
    assert found["rule_error"] == found["kappa"] == 0


def test_a_run_measures_every_round_and_its_first_is_the_start(
    scenario: Scenario, world: World, trace: NetworkTrace
) -> None:
    simulation = simulation_of(scenario, world, trace)
    start = simulation.theta.copy()
    while not simulation.is_finished:
        simulation.advance()
    table = simulation.update_errors.table()
    assert tuple(table) == tuple(MEASURED)
    np.testing.assert_array_equal(table["round"], np.arange(scenario.clock.rounds))
    losses = simulation.history.rounds_table()["train_loss"]
    np.testing.assert_allclose(table["loss"], losses, rtol=1e-5)
    exact, _ = Evaluator(world, worker_momentum=0.0).exact_momentum(start)
    assert table["squared_gradient"][0] == pytest.approx(exact @ exact, rel=1e-4)
    # Five nodes, one of which attacks.
    np.testing.assert_array_equal(table["n_rows"] - table["n_honest"], 1)
    assert np.isnan(table["curvature"][0])
    assert np.all(table["curvature"][1:] > 0)
    assert np.all(table["kappa"] <= 1 / 3)


def test_what_the_rule_took_is_measured(scenario: Scenario, world: World, trace: NetworkTrace) -> None:
    """The mean of raw updates has no error as a rule, and its mean error is known from another measurement."""
    changes = ["aggregation.rule=mean", "aggregation.is_debiased=false", "byzantine.attack=none"]
    plain = scenario.with_overrides(changes)
    honest_world = assemble_world(plain, SEED)
    simulation = simulation_of(plain, honest_world, trace)
    while not simulation.is_finished:
        simulation.advance()
    table = simulation.update_errors.table()
    np.testing.assert_allclose(table["rule_error"], 0, atol=1e-20)
    np.testing.assert_array_equal(table["n_rows"], table["n_honest"])
    squared_error = simulation.history.rounds_table()["gradient_squared_error"] * world.model.n_parameters
    np.testing.assert_allclose(table["mean_error"], squared_error, rtol=1e-3)


def test_measuring_changes_no_number_and_a_resumed_run_measures_the_same(
    scenario: Scenario, world: World, trace: NetworkTrace
) -> None:
    whole, without = simulation_of(scenario, world, trace), simulation_of(scenario, world, trace, every=0)
    states = []
    while not whole.is_finished:
        states.append(whole.to_arrays())
        whole.advance()
        without.advance()
        np.testing.assert_array_equal(whole.theta, without.theta)
    assert len(without.update_errors.table()["round"]) == 0
    for state in states:
        resumed = simulation_of(scenario, world, trace)
        resumed.load(state)
        while not resumed.is_finished:
            resumed.advance()
        for name, column in whole.update_errors.table().items():
            np.testing.assert_array_equal(resumed.update_errors.table()[name], column)


def test_rounds_between_measurements_are_left_out(scenario: Scenario, world: World, trace: NetworkTrace) -> None:
    simulation, every = simulation_of(scenario, world, trace, every=3), simulation_of(scenario, world, trace)
    while not simulation.is_finished:
        simulation.advance()
        every.advance()
    sparse, full = simulation.update_errors.table(), every.update_errors.table()
    np.testing.assert_array_equal(sparse["round"], [0, 3])
    np.testing.assert_array_equal(sparse["squared_gradient"], full["squared_gradient"][[0, 3]])
    assert not UpdateErrors(world, every=0).is_due(0)


def test_trainings_together_measure_what_each_does_alone(scenario: Scenario, world: World, trace: NetworkTrace) -> None:
    other = scenario.with_overrides(["aggregation.rule=coordinate_median"])
    both = simulate_together([scenario, other], seed=SEED, network_trace=trace, measures_gradients=True)
    for one, outcome in zip((scenario, other), both, strict=True):
        alone = simulation_of(one, world, trace)
        while not alone.is_finished:
            alone.advance()
        for name, column in alone.update_errors.table().items():
            np.testing.assert_array_equal(outcome.update_errors[name], column)
    (without,) = simulate_together([scenario], seed=SEED, network_trace=trace)
    assert len(without.update_errors["round"]) == 0
