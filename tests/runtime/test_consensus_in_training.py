"""The consensus inside a training: it changes nothing where all goes well, and holds where all layers are attacked."""

import numpy as np
import pytest

from ceas.errors import ScenarioError
from ceas.experiments import RunResult, Scenario, run_scenario

LEARNING = ("test_accuracy", "train_loss", "gradient_squared_error", "delivered_updates", "shots")


@pytest.fixture(scope="module")
def plain(small_scenario: Scenario) -> RunResult:
    return run_scenario(small_scenario, seed=2)


@pytest.mark.parametrize(
    ("overrides", "delays"),
    [
        (["authentication.profile=ml_dsa"], 8),
        (["authentication.profile=its64", "authentication.enrolled_key_bits=20000"], 8),
        (["consensus.protocol=simplex"], 4),
        (["consensus.protocol=simplex", "authentication.profile=ml_dsa"], 4),
    ],
)
def test_learning_does_not_depend_on_protocol_and_authenticator(
    small_scenario: Scenario, plain: RunResult, overrides: list[str], delays: int
) -> None:
    other = run_scenario(small_scenario.with_overrides(overrides), seed=2)
    for name in LEARNING:
        np.testing.assert_array_equal(other.rounds[name], plain.rounds[name], err_msg=name)
    assert plain.summary["consensus"]["message_delays"] == 8
    assert other.summary["consensus"]["message_delays"] == delays
    assert other.summary["consensus"]["most_views"] == 1
    assert other.summary["consensus"]["rounds_unconcluded"] == other.summary["consensus"]["rounds_paused"] == 0


def test_a_training_pauses_without_key_and_goes_on_with_it(small_scenario: Scenario) -> None:
    # 41 pads a direction: the reserve of 24 and the update ask for 25, and each round takes eight or nine.
    scarce = [
        "authentication.profile=its128",
        "authentication.enrolled_key_bits=10752",
        "schedule.key_pairs_per_round=0",
    ]
    found = run_scenario(small_scenario.with_overrides(scarce), seed=2)
    assert found.rounds["frames"].tolist()[:2] == [5 * 4 * 8 + 4] * 2
    paused = found.rounds["consensus_views"] == 0
    assert paused.tolist()[-1]
    assert found.summary["consensus"]["rounds_paused"] == paused.sum()
    assert (found.rounds["delivered_updates"][paused] == 0).all()
    assert (found.rounds["key_bits_consumed"][paused] == 0).all()
    # All nodes keep their parameters in a paused round.
    accuracy = found.rounds["test_accuracy"]
    assert accuracy[paused].tolist() == [accuracy[~paused][-1]] * int(paused.sum())


def test_honest_nodes_end_every_round_alike_with_all_layers_under_attack(small_scenario: Scenario) -> None:
    carried = (
        '{lie="deny", share=0.33, attack="replay", attack_parameters={attack="equivocation", '
        'attack_parameters={attack="a_little_is_enough"}}}'
    )
    attacked = [
        "byzantine.attack=with_false_claims",
        "byzantine.parameters.attack=with_false_tests",
        f"byzantine.parameters.attack_parameters={carried}",
    ]
    found = run_scenario(small_scenario.with_overrides(attacked), seed=2)
    consensus = found.summary["consensus"]
    assert consensus["rounds_unconcluded"] == consensus["rounds_without_frames"] == 0
    assert (found.rounds["delivered_updates"] >= 4).all()
    assert (found.rounds["rejected_frames"] > 0).all()


def test_equivocation_is_on_messages_of_one_protocol(small_scenario: Scenario) -> None:
    asked = ["byzantine.attack=with_false_claims", "byzantine.parameters.attack=equivocation"]
    with pytest.raises(ScenarioError, match=r"byzantine.attack: equivocation"):
        small_scenario.with_overrides([*asked, "consensus.protocol=simplex"])
