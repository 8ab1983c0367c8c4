"""Rules in a run: what they are told, what they remember, and which are refused before it starts."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from ceas.aggregation import Aggregate, bulyan, debiased, mean, needs_of, reason_to_refuse, sample_weighted_mean
from ceas.errors import ScenarioError
from ceas.experiments import Scenario, run_scenario
from ceas.experiments.assemble import (
    assemble_method,
    assemble_policy,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.learning import noiseless
from ceas.learning.training import encode_samples, model_values
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.sources import LiveSource

SEED = 3


def simulation_of(scenario: Scenario) -> CoSimulation:
    world = assemble_world(scenario, SEED)
    security = assemble_security(scenario)
    source = LiveSource(
        world, assemble_policy(scenario, world), security, seed=SEED, trace_every=0, start_digest=bytes(32)
    )
    return CoSimulation(world, assemble_training(scenario), assemble_method(scenario), security, source, seed=SEED)


@pytest.mark.parametrize("rule", ["sample_weighted_mean", "qfi_weighted_mean", "krum", "weighted_geometric_median"])
def test_rules_are_told_what_they_need(small_scenario: Scenario, rule: str) -> None:
    result = run_scenario(small_scenario.with_overrides([f"aggregation.rule={rule}", "clock.rounds=1"]), seed=SEED)
    weights = np.asarray(result.learners["weight"])
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_what_a_rule_remembers_survives_a_checkpoint_bit_for_bit(small_scenario: Scenario) -> None:
    scenario = small_scenario.with_overrides(
        ["aggregation.rule=centered_clipping", "aggregation.parameters.radius=0.1"]
    )
    whole = simulation_of(scenario)
    whole.advance()
    state = whole.to_arrays()
    assert any(name.startswith("rule/") for name in state)
    whole.advance()
    resumed = simulation_of(scenario)
    resumed.load(state)
    resumed.advance()
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    forgetful = simulation_of(scenario)
    forgetful.load({name: value for name, value in state.items() if not name.startswith("rule/")})
    forgetful.advance()
    assert (forgetful.theta != whole.theta).any()


def test_any_rule_may_have_the_contraction_divided_out(small_scenario: Scenario) -> None:
    scenario = small_scenario.with_overrides(["aggregation.rule=mean", "aggregation.is_debiased=true"])
    method = assemble_method(scenario)
    assert method.is_debiasing
    updates, contraction = np.arange(15.0).reshape(5, 3), np.array([0.5, 1.0, 0.25, 0.8, 0.05])
    found = method.rule(updates, n_byzantine=1, contraction=contraction)
    assert isinstance(found, Aggregate)
    np.testing.assert_array_equal(found.value, debiased(mean)(updates, n_byzantine=1, contraction=contraction).value)
    np.testing.assert_allclose(found.value, (updates[:4] / contraction[:4, None]).mean(axis=0))


TRUSTING = ("aggregation.rule=fltrust", "aggregation.root_samples=12")


def test_a_rule_that_trusts_is_told_the_momentum_of_exact_gradients_and_goes_on_from_a_checkpoint(
    small_scenario: Scenario,
) -> None:
    """Central differences of the noiseless loss on the trusted samples, of two rounds with momentum 0.9."""
    simulation = simulation_of(small_scenario.with_overrides(TRUSTING))
    world, trusted = simulation._world, simulation._trusted
    assert trusted is not None
    assert len(set(trusted.samples.tolist())) == 12
    assert trusted.samples.max() < len(world.dataset.train_labels)
    angles = jnp.asarray(world.dataset.train_angles[trusted.samples], jnp.float32)
    labels = world.dataset.train_labels[trusted.samples]

    def loss(theta: NDArray[np.float64]) -> float:
        parameters = jnp.asarray(theta, jnp.float32)
        encoded = encode_samples(world.model, parameters, angles, None, by=world.computations.ideal)
        noise = noiseless(world.partition)
        values = model_values(world.model, world.partition, parameters, encoded, noise, by=world.computations.ideal)[0]
        scores = world.model.temperature * np.asarray(values, np.float64)
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(12), labels]))

    found, states = [], []
    for _ in range(2):
        theta, rows = simulation.theta.copy(), 0.01 * np.eye(world.model.n_parameters)
        found.append([(loss(theta + row) - loss(theta - row)) / 0.02 for row in rows])
        states.append(simulation.to_arrays())
        simulation.advance()
    # Single precision leaves 1e-7 of the loss, over a step of 0.02.
    beta = small_scenario.learning.worker_momentum
    wanted = (beta * np.array(found[0]) + np.array(found[1])) / (1.0 + beta)
    np.testing.assert_allclose(trusted.value(), wanted, atol=2e-3)
    theta, value = simulation.theta.copy(), trusted.value()
    assert (theta != states[1]["theta"]).any()
    simulation.load(states[1])
    assert (trusted.value() != value).any()
    simulation.advance()
    np.testing.assert_array_equal(trusted.value(), value)
    np.testing.assert_array_equal(simulation.theta, theta)


def test_nothing_is_trusted_unless_a_rule_needs_it(small_scenario: Scenario) -> None:
    alone, beside = small_scenario, small_scenario.with_overrides(["aggregation.root_samples=12"])
    assert alone.scenario_id != beside.scenario_id
    assert "root_samples" not in alone.to_toml()
    assert assemble_method(beside).root_samples == 12
    assert simulation_of(beside)._trusted is None


def test_more_trusted_samples_than_there_are_is_refused(small_scenario: Scenario) -> None:
    scenario = small_scenario.with_overrides(["aggregation.rule=fltrust", "aggregation.root_samples=100000"])
    with pytest.raises(
        ScenarioError, match=r"aggregation.root_samples: found 100000, must be at most \d+, the training"
    ):
        assemble_world(scenario, SEED)


MISTAKES = {
    "aggregation.rule=fltrust": "aggregation.rule: found fltrust, which needs an update to trust; give it aggregation.",
    "aggregation.rule=bulyan": "aggregation.tolerated_byzantine: found 1. ",
    "aggregation.is_debiased=true": "aggregation.is_debiased: found true, but ceas divides by the contraction itself",
}


@pytest.mark.parametrize(("override", "message"), MISTAKES.items())
def test_what_no_run_can_give_is_refused(small_scenario: Scenario, override: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        small_scenario.with_overrides([override])
    assert message in str(caught.value)


def test_a_debiased_rule_says_beforehand_what_its_rule_does() -> None:
    assert reason_to_refuse(debiased(bulyan), n_nodes=5, n_byzantine=2)
    assert not reason_to_refuse(debiased(bulyan), n_nodes=11, n_byzantine=2)
    assert needs_of(debiased(sample_weighted_mean)) == needs_of(sample_weighted_mean) != ()


def test_an_own_rule_that_takes_little_may_be_debiased() -> None:
    def own(updates: NDArray[np.float64], *, n_byzantine: int) -> Aggregate:
        return mean(updates, n_byzantine=n_byzantine)

    updates, contraction = np.arange(6.0).reshape(3, 2), np.array([0.5, 1.0, 0.25])
    found = debiased(own)(updates, n_byzantine=1, contraction=contraction)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.value, (updates / contraction[:, None]).mean(axis=0))
