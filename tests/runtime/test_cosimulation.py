"""The loop as a whole: same numbers for the same seed, whatever interrupts it, and every part connected."""

import numpy as np
import pytest

from ceas.attacks import conduct_of
from ceas.errors import ScenarioError
from ceas.experiments import RunResult, Scenario, record_network, run_scenario
from ceas.experiments.assemble import (
    assemble_method,
    assemble_policy,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.experiments.run import simulate
from ceas.network import Fate
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.sources import LiveSource
from ceas.runtime.world import World

SEED = 3
TIMES = ("wall_s", "compile_s", "rooms_s")


def live(scenario: Scenario, world: World, seed: int = SEED) -> CoSimulation:
    security = assemble_security(scenario)
    training, method = assemble_training(scenario), assemble_method(scenario)
    source = LiveSource(
        world,
        assemble_policy(scenario, world),
        security,
        seed=seed,
        trace_every=1,
        start_digest=bytes(32),
        conduct=conduct_of(method.attack),
    )
    return CoSimulation(world, training, method, security, source, seed=seed)


@pytest.fixture(scope="module")
def world(small_scenario: Scenario) -> World:
    return assemble_world(small_scenario, SEED)


@pytest.fixture(scope="module")
def result(small_scenario: Scenario) -> RunResult:
    return run_scenario(small_scenario, seed=SEED)


def without_times(result: RunResult) -> dict[str, object]:
    return {key: value for key, value in result.summary.items() if key not in TIMES}


def same(first: Arrays, second: Arrays) -> bool:
    """Compare all but wall times, and the traced pairs, which NumPy cannot compare allowing for NaN."""
    names = [name for name in first if name != "seconds" and first[name].dtype.names is None]
    return first.keys() == second.keys() and all(np.array_equal(first[n], second[n], equal_nan=True) for n in names)


def test_a_state_that_is_loaded_goes_on_bit_for_bit(small_scenario: Scenario, world: World) -> None:
    whole = live(small_scenario, world)
    states = []
    while not whole.is_finished:
        states.append(whole.to_arrays())
        whole.advance()
    for completed, state in enumerate(states):
        resumed = live(small_scenario, world)
        resumed.load(state)
        assert resumed.completed_rounds == completed
        while not resumed.is_finished:
            resumed.advance()
        assert same(resumed.to_arrays(), whole.to_arrays())
        np.testing.assert_array_equal(resumed.history.pairs_table(), whole.history.pairs_table())


@pytest.mark.parametrize(
    "overrides",
    [
        ["authentication.profile=its128", "authentication.enrolled_key_bits=20000"],
        ["authentication.profile=its64", "authentication.enrolled_key_bits=8192"],
        ["authentication.profile=ml_dsa"],
        ["consensus.protocol=simplex"],
        ["byzantine.attack=replay"],
        ["byzantine.attack=with_false_tests", "byzantine.parameters.lie=deny"],
    ],
)
def test_a_state_goes_on_under_every_profile_protocol_and_lie(small_scenario: Scenario, overrides: list[str]) -> None:
    scenario = small_scenario.with_overrides(overrides)
    world = assemble_world(scenario, SEED)
    whole, resumed = live(scenario, world), live(scenario, world)
    whole.advance()
    whole.advance()
    resumed.load(whole.to_arrays())
    while not whole.is_finished:
        whole.advance()
        resumed.advance()
    assert same(resumed.to_arrays(), whole.to_arrays())


def test_compiling_changes_nothing(small_scenario: Scenario, world: World) -> None:
    simulation = live(small_scenario, world)
    before = simulation.to_arrays()
    assert simulation.compile() > 0
    assert same(before, simulation.to_arrays())
    assert simulation.history.rounds == []


def test_the_same_seed_gives_the_same_result(small_scenario: Scenario, result: RunResult) -> None:
    again = run_scenario(small_scenario, seed=SEED)
    assert without_times(again) == without_times(result)
    for name in ("rounds", "learners", "links", "nodes", "pairs"):
        for column, values in getattr(result, name).items():
            np.testing.assert_array_equal(getattr(again, name)[column], values, err_msg=f"{name}.{column}")


def test_another_seed_gives_another_result(small_scenario: Scenario, result: RunResult) -> None:
    assert run_scenario(small_scenario, seed=SEED + 1).summary["generated_pairs"] != result.summary["generated_pairs"]


def test_a_recorded_network_trains_to_the_same_numbers(small_scenario: Scenario, result: RunResult) -> None:
    trace = record_network(small_scenario, seed=SEED)
    replayed = simulate(small_scenario, seed=SEED, network_trace=trace)
    for column in ("train_loss", "test_accuracy", "gradient_squared_error", "frames", "key_bits_consumed"):
        np.testing.assert_array_equal(replayed.rounds[column], result.rounds[column], err_msg=column)
    np.testing.assert_array_equal(replayed.learners["weight"], result.learners["weight"])


def test_a_test_takes_all_pairs_of_a_shot_or_one_of_a_key(small_scenario: Scenario) -> None:
    windows = record_network(small_scenario, seed=SEED).windows
    of_shot = np.concatenate([window.test_is_of_shot for window in windows])
    assert 0 < of_shot.sum() < of_shot.size
    for window in windows:
        assert (np.bincount(window.test_link[window.test_is_of_shot]) % 2 == 0).all()


def test_every_pair_has_one_fate(result: RunResult) -> None:
    fates = result.summary["fates"]
    assert sum(fates.values()) == result.summary["generated_pairs"] > 0
    closed = sum(fates.values()) - fates["alive"]
    assert len(result.pairs["pair_id"]) == closed
    assert len(np.unique(result.pairs["pair_id"])) == closed
    for name, count in fates.items():
        if name != "alive":
            assert (result.pairs["fate"] == name).sum() == count


def test_shots_are_made_of_the_pairs_that_were_delivered(result: RunResult) -> None:
    """Three pairs would be three layers; this circuit has two layers and so two remote gates."""
    used = result.pairs["fate"] == Fate.LEARNING.name.lower()
    assert used.sum() == 2 * result.summary["shots"]
    shots = result.nodes["shots"]
    for learner, count in enumerate(shots):
        assert (result.pairs["user"][used] == learner).sum() == 2 * count


def test_the_weights_of_a_round_are_shares(result: RunResult) -> None:
    weights = result.learners["weight"].reshape(4, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights >= 0).all()


def test_a_lie_is_cut_to_what_the_tests_allow(result: RunResult) -> None:
    liar = result.learners["is_byzantine"]
    assert liar.sum() == 4
    honest_information = result.learners["information"][~liar]
    assert (result.learners["claimed_contraction"][liar] == 1.0).all()
    assert (result.learners["claimed_information"][liar] > 1000 * honest_information.max()).all()
    # Contraction and Fisher information can be overstated by what the tests do not see, shots not at all.
    assert (result.learners["information"][liar] <= result.learners["shots"][liar]).all()


def test_contractions_are_ordered(result: RunResult) -> None:
    honest = ~result.learners["is_byzantine"]
    certified = result.learners["certified_contraction"][honest]
    true = result.learners["contraction"][honest]
    assert ((true > 0) & (true < 1)).all()
    # The estimate comes from some hundred tests a link, and enters twice.
    np.testing.assert_allclose(certified, true, atol=0.1)


def test_keys_are_paid_from_pairs(result: RunResult) -> None:
    """256 enrolled bits make every seed; from then on a link pays 256 bits from its own pairs, or starves."""
    generated, consumed = result.links["key_bits_generated"], result.links["key_bits_consumed"]
    assert generated.sum() > 0
    assert (consumed <= generated + 1).all()
    assert (consumed % 256 == 0).all()
    # One refreshment was due, at the start of the third of four rounds.
    np.testing.assert_array_equal(result.links["starved"], consumed == 0)
    assert consumed.sum() == result.summary["key_bits"]["consumed"]


def test_a_round_needs_time_for_its_exchange(small_scenario: Scenario) -> None:
    hurried = small_scenario.with_overrides(["clock.exchange_window_s=0.001"])
    with pytest.raises(ScenarioError, match="9 times the largest message delay"):
        run_scenario(hurried, seed=0)


def test_without_a_cut_no_pairs_go_to_learning(small_scenario: Scenario) -> None:
    alone = small_scenario.with_overrides(["circuit.partition=data", "learning.max_shots_per_round=100"])
    result = run_scenario(alone, seed=0)
    assert result.summary["fates"]["learning"] == 0
    assert result.summary["fates"]["key"] > 0
    assert result.summary["shots"] == 4 * 5 * 100
