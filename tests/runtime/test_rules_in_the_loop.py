"""Rules in a run: what they are told, what they remember, and which are refused before it starts."""

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


MISTAKES = {
    "aggregation.rule=fltrust": "aggregation.rule: found fltrust, which needs an update to trust, and there is none",
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
