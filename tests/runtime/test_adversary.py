"""Attackers in the loop: what they foresee is what happens, what they remember survives, and what they do arrives."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas import aggregation, attacks
from ceas.attacks import ATTACKS, Sent
from ceas.experiments import Scenario, load_scenario
from ceas.experiments.assemble import (
    assemble_method,
    assemble_policy,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.runtime.adversary import Adversary
from ceas.runtime.cosimulation import CoSimulation, Method
from ceas.runtime.sources import LiveSource, NetworkTrace, RecordedSource, record_trace
from ceas.runtime.world import World

FloatArray = NDArray[np.float64]
SEED = 3


@pytest.fixture(scope="module")
def world(small_scenario: Scenario) -> World:
    return assemble_world(small_scenario, SEED)


@pytest.fixture(scope="module")
def trace(small_scenario: Scenario, world: World) -> NetworkTrace:
    security = assemble_security(small_scenario)
    policy = assemble_policy(small_scenario, world)
    source = LiveSource(world, policy, security, seed=SEED, trace_every=0, start_digest=bytes(32))
    return record_trace(source, world, security, small_scenario.clock.rounds)


Start = Callable[..., CoSimulation]


@pytest.fixture
def start(small_scenario: Scenario, world: World, trace: NetworkTrace) -> Start:
    """Return what starts a training with an attack on the recorded network."""

    def started(attack: Any, rule: Any = aggregation.ceas, *, is_debiasing: bool = True) -> CoSimulation:
        security, method = assemble_security(small_scenario), assemble_method(small_scenario)
        method = replace(method, attack=attack, rule=rule, is_debiasing=is_debiasing)
        assert isinstance(method, Method)
        source = RecordedSource(trace, world, security)
        return CoSimulation(world, assemble_training(small_scenario), method, security, source, seed=SEED)

    return started


def finished(simulation: CoSimulation) -> CoSimulation:
    while not simulation.is_finished:
        simulation.advance()
    return simulation


RULES: list[tuple[Any, bool]] = [
    (aggregation.ceas, True),
    (aggregation.debiased(aggregation.geometric_median), True),
    (aggregation.trimmed_mean, False),
    (aggregation.mean, False),
]


@pytest.mark.parametrize(("rule", "is_debiasing"), RULES)
@pytest.mark.parametrize("lie", [None, "inflated", "negative"])
def test_attackers_foresee_what_the_rule_will_say(
    rule: Any, is_debiasing: bool, lie: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreseen: list[FloatArray] = []

    def spy(honest_updates: Any, n_byzantine: int, *, rng: np.random.Generator, aggregate: Any, **_: Any) -> FloatArray:
        sent = honest_updates.mean(axis=0) + rng.normal(size=(n_byzantine, honest_updates.shape[1])) * 0.1
        foreseen.append(aggregate(np.concatenate([honest_updates, sent])))
        return sent

    def bare(situation: attacks.Situation) -> Sent:
        assert situation.aggregate is not None
        sent = spy(situation.honest, situation.n_byzantine, rng=situation.rng, aggregate=situation.aggregate)
        return Sent(sent, {})

    monkeypatch.setitem(ATTACKS, "spy", attacks.update_attack(bare))
    attack = spy if lie is None else partial(attacks.with_false_claims, attack="spy", lie=lie)
    simulation = start(attack, rule, is_debiasing=is_debiasing)
    while not simulation.is_finished:
        simulation.advance()
        agreed = simulation.to_arrays()["adversary/last_aggregate"]
        # Scaled there and back, an update may round to the neighbour in fixed point; contractions are at least 0.1.
        np.testing.assert_allclose(foreseen[-1], agreed, rtol=0, atol=2.0**-24 / 0.1)
        assert np.abs(agreed).max() > 0


@pytest.mark.parametrize(
    "attack",
    [
        attacks.mimic,
        partial(attacks.drift, direction="random"),
        partial(attacks.with_false_claims, attack="sleeper", attack_parameters={"wake_round": 2}),
        attacks.opt_ipm,
        attacks.free_riding,
    ],
)
def test_what_attackers_remember_survives_a_checkpoint_bit_for_bit(attack: Any, start: Start) -> None:
    whole = start(attack)
    states = []
    while not whole.is_finished:
        states.append(whole.to_arrays())
        whole.advance()
    end = whole.to_arrays()
    assert "adversary/last_aggregate" in end
    for state in states:
        resumed = start(attack)
        resumed.load(state)
        again = finished(resumed).to_arrays()
        assert again.keys() == end.keys()
        for name in ("theta", *(name for name in end if name.startswith("adversary/"))):
            np.testing.assert_array_equal(again[name], end[name], err_msg=name)


def test_memory_is_in_the_state(start: Start) -> None:
    names = {"adversary/memory/direction", "adversary/memory/centre", "adversary/memory/learned_rounds"}
    state = finished(start(attacks.mimic)).to_arrays()
    assert names <= state.keys()
    assert state["adversary/memory/learned_rounds"] == 4
    state["adversary/memory/direction"][:] = 0.0
    assert finished(start(attacks.mimic)).to_arrays()["adversary/memory/direction"].any()


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_leaves_training_finite(name: str, start: Start) -> None:
    for rule, is_debiasing in RULES[::3]:
        simulation = start(ATTACKS[name], rule, is_debiasing=is_debiasing)
        simulation.advance()
        assert np.isfinite(simulation.theta).all()


def columns(simulation: CoSimulation, name: str, n_learners: int = 5) -> FloatArray:
    return np.asarray(simulation.history.learners_table()[name]).reshape(-1, n_learners)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.withholding,
        partial(attacks.with_false_claims, attack="none", lie="negative"),
        partial(attacks.with_false_claims, attack="none", lie="not_a_number"),
        attacks.malformed,
        partial(attacks.malformed, value="huge", where="first"),
    ],
)
def test_what_does_not_arrive_weighs_nothing(attack: Any, start: Start, world: World) -> None:
    simulation = finished(start(attack, aggregation.mean, is_debiasing=False))
    weights = columns(simulation, "weight")
    assert (weights[:, world.is_byzantine] == 0).all()
    np.testing.assert_allclose(weights[:, ~world.is_byzantine], 0.25)
    alone = finished(start(attacks.withholding, aggregation.mean, is_debiasing=False))
    np.testing.assert_array_equal(simulation.theta, alone.theta)


def test_a_search_stays_within_what_the_wire_can_carry(start: Start, world: World) -> None:
    """Against the mean more is always worse, and 60 doublings would leave the fixed-point range."""
    simulation = finished(start(partial(attacks.opt_alie, evaluations=60), aggregation.mean, is_debiasing=False))
    np.testing.assert_allclose(columns(simulation, "weight"), 0.2)
    # More than 40 doublings of the first stride would be too many, fewer than 30 too timid.
    assert 1e9 < abs(float(simulation.to_arrays()["adversary/memory/strength"])) < 1e16  # type: ignore[arg-type]


def test_griefers_take_pairs_and_have_no_shots(start: Start, world: World) -> None:
    griefing, honest = (finished(start(attack)) for attack in (attacks.pair_griefing, attacks.none))
    shots = columns(griefing, "shots")
    assert (shots[:, world.is_byzantine] == 0).all()
    np.testing.assert_array_equal(shots[:, ~world.is_byzantine], columns(honest, "shots")[:, ~world.is_byzantine])
    assert (columns(honest, "shots")[:, world.is_byzantine] > 0).any()
    assert (columns(griefing, "weight")[:, world.is_byzantine] == 0).all()


def test_poisoned_data_and_circuits_change_the_attackers_updates_alone(start: Start, world: World) -> None:
    clean = start(attacks.none)
    clean.advance()
    for attack in (attacks.label_flip, attacks.circuit_fault):
        poisoned = start(attack)
        poisoned.advance()
        sums = [simulation.to_arrays()["learners/sums"] for simulation in (clean, poisoned)]
        is_equal = (sums[0] == sums[1]).all(axis=1)
        np.testing.assert_array_equal(is_equal, ~world.is_byzantine)


def test_a_scenario_names_an_attack_with_its_parameters() -> None:
    scenario = load_scenario(
        "quickstart",
        [
            "byzantine.n_byzantine=2",
            "byzantine.attack=with_false_claims",
            "byzantine.parameters.attack=min_max",
            "byzantine.parameters.attack_parameters.direction=sign",
            "byzantine.parameters.lie=not_a_number",
            "byzantine.parameters.knowledge=own",
        ],
    )
    bound = assemble_method(scenario).attack
    assert isinstance(bound, partial)
    own = np.random.default_rng(0).normal(size=(2, 3))
    sent = bound(np.full((6, 3), 50.0), 2, rng=np.random.default_rng(0), own_updates=own)
    wanted = attacks.min_max(own, 2, rng=np.random.default_rng(0), direction="sign")
    np.testing.assert_array_equal(sent, wanted)


@pytest.mark.parametrize("attack", [attacks.a_little_is_enough, attacks.relocated_orthogonal])
@pytest.mark.parametrize("n_clear", [0, 2, 6])
def test_attacks_go_on_where_few_updates_have_signal(attack: attacks.UpdateAttack, n_clear: int) -> None:
    """Nine learners, three of them malicious: with two clear honest updates, attackers would be the majority."""
    is_byzantine = np.arange(9) >= 6
    adversary = Adversary(attack, is_byzantine, rounds=3, seed=1)
    scale = np.where(np.arange(9) < n_clear, 0.5, 0.0)
    scale[is_byzantine] = 0.5
    updates = np.random.default_rng(0).normal(size=(9, 4))
    sent = adversary.updates(updates, training_round=0, scale=scale, pipeline=lambda rows: rows.mean(axis=0))
    assert np.isfinite(sent).all()
    np.testing.assert_array_equal(sent[:6], updates[:6])
