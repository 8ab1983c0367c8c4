"""Trainings together: each must be to the last bit what it is alone."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_method, assemble_security, assemble_training, assemble_world
from ceas.experiments.ensembles import TrainingOutcome, simulate_together
from ceas.experiments.run import record_network, simulate
from ceas.learning import encode_inputs, expectations, noiseless
from ceas.learning.training import accuracy
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.ensemble import Ensemble
from ceas.runtime.sources import NetworkTrace, RecordedSource

SEED = 3


@pytest.fixture(scope="module")
def base(small_scenario: Scenario) -> Scenario:
    return small_scenario.with_overrides(["topology.n_nodes=7", "clock.rounds=3", "byzantine.n_byzantine=2"])


@pytest.fixture(scope="module")
def trace(base: Scenario) -> NetworkTrace:
    return record_network(base, seed=SEED)


# Each line is a variant: another rule, attack, number of attackers, step size, optimiser or certification.
VARIANTS: tuple[Sequence[str], ...] = (
    (),
    ("aggregation.rule=mean", "byzantine.attack=none", "learning.learning_rate=0.3"),
    ("aggregation.rule=mean", "byzantine.attack=label_flip", "byzantine.n_byzantine=1"),
    ("aggregation.rule=trimmed_mean", "aggregation.is_debiased=true", "byzantine.attack=opt_alie"),
    ("aggregation.rule=nnm_trimmed_mean", "byzantine.attack=circuit_fault"),
    ("aggregation.rule=geometric_median", "byzantine.attack=pair_griefing", "learning.optimizer=sgd"),
    ("aggregation.rule=coordinate_median", "byzantine.attack=pair_griefing", "byzantine.n_byzantine=1"),
    ("aggregation.rule=centered_clipping", "byzantine.attack=withholding", "learning.worker_momentum=0.2"),
    ("aggregation.rule=weighted_trimmed_mean", "byzantine.attack=inflated_claim", "aggregation.certification=none"),
    ("aggregation.rule=krum", "byzantine.attack=malformed", "byzantine.nodes=[0, 5]"),
)


def assert_same(outcome: TrainingOutcome, scenario: Scenario, trace: NetworkTrace) -> None:
    """Compare with the scenario alone, of which the parameters are told by its losses in every round."""
    alone = simulate(scenario, seed=SEED, network_trace=trace)
    rounds = {name: np.asarray(column, np.float64) for name, column in alone.rounds.items()}
    assert outcome.completed_rounds == scenario.clock.rounds
    np.testing.assert_array_equal(outcome.evaluated_rounds, 1 + np.flatnonzero(np.isfinite(rounds["test_accuracy"])))
    np.testing.assert_array_equal(outcome.test_accuracy, rounds["test_accuracy"][outcome.evaluated_rounds - 1])
    np.testing.assert_array_equal(outcome.byzantine_weight, rounds["byzantine_weight"])
    losses = np.append(rounds["train_loss"], alone.summary["train_loss"])
    np.testing.assert_array_equal(outcome.train_loss, losses[outcome.evaluated_rounds])


def test_every_training_is_what_it_is_alone(base: Scenario, trace: NetworkTrace) -> None:
    scenarios = [base.with_overrides(changes) for changes in VARIANTS]
    outcomes = simulate_together(scenarios, seed=SEED, network_trace=trace)
    for outcome, scenario in zip(outcomes, scenarios, strict=True):
        assert_same(outcome, scenario, trace)
    # Otherwise nothing would be told apart.
    assert len({tuple(outcome.theta) for outcome in outcomes}) == len(outcomes)


def test_diagnostics_change_no_outcome(base: Scenario, trace: NetworkTrace) -> None:
    scenarios = [base, base.with_overrides(VARIANTS[1])]
    quick = simulate_together(scenarios, seed=SEED, network_trace=trace)
    full = simulate_together(scenarios, seed=SEED, network_trace=trace, has_diagnostics=True)
    for one, other in zip(quick, full, strict=True):
        for name in TrainingOutcome.__dataclass_fields__:
            np.testing.assert_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    "changes",
    [
        ["learning.gradient_method=spsa", "learning.spsa_directions=2"],
        ["circuit.is_dressed=true"],
        ["circuit.readout=linear", "learning.engine=trajectories", "learning.n_trajectories=4"],
        ["learning.natural_damping=0.1"],
    ],
)
def test_other_models_and_engines_are_what_they_are_alone(
    base: Scenario, trace: NetworkTrace, changes: list[str]
) -> None:
    first = base.with_overrides([*changes, "clock.rounds=2"])
    scenarios = [first, first.with_overrides(VARIANTS[3]), first.with_overrides(VARIANTS[2])]
    for outcome, scenario in zip(simulate_together(scenarios, seed=SEED, network_trace=trace), scenarios, strict=True):
        assert_same(outcome, scenario, trace)


def test_one_training_may_be_alone(base: Scenario, trace: NetworkTrace) -> None:
    (outcome,) = simulate_together([base], seed=SEED, network_trace=trace)
    assert_same(outcome, base, trace)


def simulation_of(scenario: Scenario, trace: NetworkTrace, **options: Any) -> CoSimulation:
    world, security = assemble_world(scenario, SEED), assemble_security(scenario)
    source = RecordedSource(trace, world, security)
    training, method = assemble_training(scenario), assemble_method(scenario)
    return CoSimulation(world, training, method, security, source, seed=SEED, **options)


def test_validation_and_test_part_are_read_at_the_final_parameters(base: Scenario, trace: NetworkTrace) -> None:
    world = assemble_world(base, SEED)
    for outcome in simulate_together([base, base.with_overrides(VARIANTS[1])], seed=SEED, network_trace=trace):
        for part in ("validation", "test"):
            encoded = encode_inputs(world.circuit, getattr(world.dataset, f"{part}_angles"))
            values = expectations(
                world.circuit,
                world.partition,
                outcome.theta,
                encoded,
                noiseless(world.partition),
                observables=world.model.observables,
            )
            labels = getattr(world.dataset, f"{part}_labels")
            expected = accuracy(world.model, outcome.theta, values[0], labels)
            assert getattr(outcome, f"{part}_accuracy")[-1] == expected


def test_a_watcher_hears_of_every_round_and_may_end_the_run(base: Scenario, trace: NetworkTrace) -> None:
    heard: list[int] = []

    def stop(completed_rounds: int) -> None:
        heard.append(completed_rounds)
        if completed_rounds == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_together([base], seed=SEED, network_trace=trace, after_round=stop)
    assert heard == [1, 2]


def test_an_interrupt_waits_for_the_end_of_a_round(base: Scenario, trace: NetworkTrace) -> None:
    heard: list[int] = []

    def interrupt(completed_rounds: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        heard.append(completed_rounds)

    with pytest.raises(KeyboardInterrupt):
        simulate_together([base], seed=SEED, network_trace=trace, after_round=interrupt)
    assert heard == [1]


def test_an_ensemble_that_was_ended_goes_on(base: Scenario, trace: NetworkTrace) -> None:
    simulations = [simulation_of(base, trace, has_diagnostics=False) for _ in range(2)]
    ensemble = Ensemble(simulations)
    ensemble.advance()
    assert ensemble.completed_rounds == 1
    assert not ensemble.is_finished
    early = ensemble.outcomes()[0]
    assert early.byzantine_weight.shape == early.test_accuracy.shape == (1,)
    late = ensemble.run()[0]
    assert ensemble.is_finished
    alone = simulate_together([base], seed=SEED, network_trace=trace)[0]
    np.testing.assert_array_equal(late.theta, alone.theta)
    np.testing.assert_array_equal(late.test_accuracy, alone.test_accuracy)


def test_what_cannot_be_trained_together_is_refused(base: Scenario, trace: NetworkTrace) -> None:
    def refused(scenarios: list[Scenario], message: str) -> None:
        with pytest.raises(DomainError, match=message):
            simulate_together(scenarios, seed=SEED, network_trace=trace)

    refused([], "at least one")
    other = base.with_overrides(["learning.minibatch=3", "data.concentration=2"])
    refused([base, base, other], r"scenario 2 differs from the first in data.concentration, learning.minibatch")
    refused([base, base.with_overrides(["byzantine.attack=replay"])], "shares it with no other")
    refused([base.with_overrides(["clock.rounds=9"])], "holds 3, fewer than the scenario's 9")
    with pytest.raises(DomainError, match="at least one"):
        Ensemble([])
    copy = NetworkTrace(windows=tuple(replace(window) for window in trace.windows), exchanges=trace.exchanges)
    with pytest.raises(DomainError, match="one network"):
        Ensemble([simulation_of(base, each) for each in (trace, copy)]).advance()
    simulations = [simulation_of(each, trace) for each in (base, base.with_overrides(["clock.rounds=2"]))]
    with pytest.raises(DomainError, match="one number of training rounds"):
        Ensemble(simulations)


def test_claims_that_are_believed_move_the_aggregate(base: Scenario, trace: NetworkTrace) -> None:
    """Attackers who claim a hundred times what they have get nearly all weight where nothing is certified."""
    liars = base.with_overrides(["aggregation.rule=information_weighted_mean", "byzantine.attack=inflated_claim"])
    believed = liars.with_overrides(["aggregation.certification=none"])
    certified, trusted = simulate_together([liars, believed], seed=SEED, network_trace=trace)
    assert (certified.byzantine_weight < 0.7).all()
    assert (trusted.byzantine_weight > 0.95).all()
