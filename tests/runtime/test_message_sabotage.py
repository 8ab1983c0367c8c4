"""Equivocation and replay: no honest node is split, and what is sent again counts once."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.authentication import Authenticator, KeyPools, Profile, Rejected, RejectionReason, epoch_hash
from ceas.consensus import Claims, decode_update, encode_update, max_tolerated, parameter_digest
from ceas.errors import ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.run import record_network, run_scenario, simulate
from ceas.runtime.message_network import (
    EQUIVOCATION_TICKS,
    BroadcastOutcome,
    MessageTiming,
    message_timing,
    run_broadcast,
)
from ceas.runtime.message_sabotage import MessageSabotage

N_PARAMETERS = 3
THETA = parameter_digest(np.zeros(N_PARAMETERS))


def validate(value: bytes, proposer: int) -> Rejected | None:
    update = decode_update(value, proposer, n_parameters=N_PARAMETERS)
    return update if isinstance(update, Rejected) else None


def values_of(n_nodes: int) -> list[bytes]:
    rng = np.random.default_rng(n_nodes)
    claims = Claims(shots=10, contraction=0.5, quantum_fisher=1.0)
    return [encode_update(rng.normal(size=N_PARAMETERS), claims) for _ in range(n_nodes)]


def liars(n_nodes: int, n_byzantine: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(n_nodes), np.random.default_rng(7).permutation(n_nodes)[:n_byzantine])


def keyed(n_nodes: int, profile: Profile = "qkd_seeded", enrolled_key_bits: int = 256) -> Authenticator:
    tolerated = max_tolerated(n_nodes)
    epoch = epoch_hash(n_nodes=n_nodes, tolerated_byzantine=tolerated, profile=profile, start_digest=THETA)
    pools = KeyPools(n_nodes, enrolled_key_bits=enrolled_key_bits, seed=5)
    return Authenticator(pools, profile=profile, epoch=epoch)


def delays(n_nodes: int) -> MessageTiming:
    latency_s = np.random.default_rng(2).uniform(1e-4, 2e-3, (n_nodes, n_nodes))
    return message_timing((latency_s + latency_s.T) / 2, processing_delay_s=1e-4)


def exchanged(
    sabotage: MessageSabotage,
    is_byzantine: NDArray[np.bool_],
    authenticator: Authenticator,
    training_round: int = 0,
    timing: MessageTiming | None = None,
) -> BroadcastOutcome:
    n_nodes = is_byzantine.size
    values = values_of(n_nodes)
    sabotage.begin_round(values, training_round)
    return run_broadcast(
        values,
        training_round=training_round,
        parameter_digest=THETA,
        tolerated_byzantine=max_tolerated(n_nodes),
        authenticator=authenticator,
        timing=timing or delays(n_nodes),
        validate=validate,
        seed=3,
        byzantine=frozenset(np.flatnonzero(is_byzantine).tolist()),
        told=sabotage.told,
        tamper=sabotage.tamper,
    )


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.9, 1.0])
@pytest.mark.parametrize(("n_nodes", "n_byzantine"), [(4, 1), (7, 1), (7, 2), (10, 3), (13, 2), (16, 5)])
def test_a_version_is_delivered_to_all_if_a_quorum_was_told_it_and_to_nobody_otherwise(
    n_nodes: int, n_byzantine: int, share: float
) -> None:
    """Closed form: the first version has the echoes of those who were told it and of all attackers."""
    is_byzantine = liars(n_nodes, n_byzantine)
    sabotage = MessageSabotage(Conduct(equivocation_share=share), is_byzantine)
    outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes))
    n_honest = n_nodes - n_byzantine
    told = math.ceil(share * n_honest)
    echoes = told + n_byzantine
    has_quorum = echoes >= n_nodes - max_tolerated(n_nodes)
    expected = [
        value if honest or has_quorum else None for value, honest in zip(values_of(n_nodes), ~is_byzantine, strict=True)
    ]
    assert outcome.values == tuple(expected)
    assert outcome.is_agreed
    assert outcome.rejected_frames == {}
    if has_quorum and told < n_honest:
        # Who was told the other version has to ask for the one that was agreed on.
        assert outcome.message_delays >= 5


@pytest.mark.parametrize("is_equal", [False, True])
@pytest.mark.parametrize(("n_nodes", "n_byzantine", "share"), [(7, 2, 0.6), (16, 5, 0.6), (50, 15, 19 / 35)])
def test_who_was_told_the_other_version_asks_after_the_deadline_and_delivers_before_the_eighth_tick(
    n_nodes: int, n_byzantine: int, share: float, is_equal: bool
) -> None:
    is_byzantine = liars(n_nodes, n_byzantine)
    timing = message_timing(np.full((n_nodes, n_nodes), 1e-3), processing_delay_s=0) if is_equal else delays(n_nodes)
    sabotage = MessageSabotage(Conduct(equivocation_share=share), is_byzantine)
    outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes), timing=timing)
    assert outcome.values == tuple(values_of(n_nodes))
    assert 4 * timing.tick_ns < outcome.elapsed_ns <= EQUIVOCATION_TICKS * timing.tick_ns


def test_an_equivocating_network_needs_a_longer_exchange(small_scenario: Scenario) -> None:
    def least_window_s(attack: str, ticks: str) -> float:
        hurried = small_scenario.with_overrides([f"byzantine.attack={attack}", "clock.exchange_window_s=0.0001"])
        with pytest.raises(ScenarioError, match=f"{ticks} times the largest message delay") as caught:
            record_network(hurried, seed=0)
        return float(str(caught.value).partition("at least ")[2].partition(" s,")[0])

    short, long = least_window_s("sign_flip", "four"), least_window_s("equivocation", "eight")
    assert long == pytest.approx(2 * short, rel=1e-3)
    assert least_window_s("replay", "four") == short
    between = [f"clock.exchange_window_s={1.5 * short}", "clock.rounds=1"]
    record_network(small_scenario.with_overrides(["byzantine.attack=sign_flip", *between]), seed=0)
    with pytest.raises(ScenarioError, match="eight"):
        record_network(small_scenario.with_overrides(["byzantine.attack=equivocation", *between]), seed=0)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_every_frame_of_an_equivocator_is_paid_for_once(share: float) -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    outcomes = []
    for replays in (False, True):
        authenticator = keyed(n_nodes, "its128", 256 + 128 * 200)
        sabotage = MessageSabotage(Conduct(equivocation_share=share, replays=replays), is_byzantine)
        outcomes.append([exchanged(sabotage, is_byzantine, authenticator, each) for each in range(2)])
        assert authenticator.starved_frames == 0
    for plain, replaying in zip(*outcomes, strict=True):
        assert plain.key_bits_consumed == 128 * plain.frames
        # What is sent again has its old tag.
        assert replaying.key_bits_consumed == plain.key_bits_consumed
        assert replaying.frames > plain.frames
        assert replaying.rejected_frames[RejectionReason.REPLAYED_SEQUENCE] == 2 * 3 * 5


def test_equivocators_without_key_are_counted_once_a_frame() -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    sabotage = MessageSabotage(Conduct(equivocation_share=0.5), is_byzantine)
    # Two pads a direction: the third frame of a round is not sent.
    outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes, "its128", 256 + 4 * 128))
    assert outcome.frames == 2 * n_nodes * (n_nodes - 1) == outcome.key_bits_consumed // 128
    assert outcome.starved_frames == n_nodes * (n_nodes - 1)


def test_equivocators_that_are_one_too_many_are_noticed() -> None:
    """With f + 1 of them, honest nodes may disagree; the exchange must say so and not pick a side."""
    is_byzantine = liars(7, 3)
    outcome = exchanged(MessageSabotage(Conduct(equivocation_share=0.5), is_byzantine), is_byzantine, keyed(7))
    split = [instance for instance, value in enumerate(outcome.values) if value is None]
    assert set(outcome.disagreements) <= set(split)
    assert set(np.flatnonzero(is_byzantine).tolist()) == set(split)
    assert not outcome.is_agreed


def test_replayed_frames_are_rejected_whatever_they_are_and_change_nothing() -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    plain = MessageSabotage(Conduct(), is_byzantine)
    replaying = MessageSabotage(Conduct(replays=True), is_byzantine)
    authenticators = keyed(n_nodes), keyed(n_nodes)
    for training_round in range(3):
        before = exchanged(plain, is_byzantine, authenticators[0], training_round)
        after = exchanged(replaying, is_byzantine, authenticators[1], training_round)
        assert after.values == before.values == tuple(values_of(n_nodes))
        assert (after.elapsed_ns, after.message_delays) == (before.elapsed_ns, before.message_delays)
        copies = 2 * 3 * 5  # two attackers, three steps, five honest receivers
        old = {RejectionReason.WRONG_TRAINING_ROUND: 2 * 5} if training_round else {}
        of_others = after.rejected_frames.pop(RejectionReason.WRONG_SOURCE)
        assert after.rejected_frames == {RejectionReason.REPLAYED_SEQUENCE: copies} | old
        assert copies // 3 <= of_others <= copies


def test_replayers_remember_over_a_checkpoint() -> None:
    is_byzantine = liars(7, 2)
    first = MessageSabotage(Conduct(replays=True), is_byzantine)
    authenticator = keyed(7)
    exchanged(first, is_byzantine, authenticator)
    second = MessageSabotage(Conduct(replays=True), is_byzantine)
    second.load(first.to_arrays())
    twin = keyed(7)
    twin.load(authenticator.to_arrays())
    whole, resumed = exchanged(first, is_byzantine, authenticator, 1), exchanged(second, is_byzantine, twin, 1)
    assert whole.rejected_frames == resumed.rejected_frames
    assert (whole.frames, whole.bytes_sent) == (resumed.frames, resumed.bytes_sent)
    fresh = MessageSabotage(Conduct(replays=True), is_byzantine)
    assert fresh.to_arrays()["links"].shape == (0, 2)


ON_MESSAGES = (
    ["byzantine.attack=equivocation"],
    ["byzantine.attack=equivocation", "byzantine.parameters.share=0.8", "byzantine.parameters.attack=sign_flip"],
    ["byzantine.attack=replay"],
    ["byzantine.attack=with_false_claims", "byzantine.parameters.attack=equivocation"],
)


@pytest.mark.parametrize("overrides", ON_MESSAGES)
def test_a_recorded_exchange_is_the_live_one(small_scenario: Scenario, overrides: list[str]) -> None:
    scenario = small_scenario.with_overrides(overrides)
    live = run_scenario(scenario, seed=1)
    replayed = simulate(scenario, seed=1, network_trace=record_network(scenario, seed=1))
    for name in ("test_accuracy", "frames", "rejected_frames", "delivered_updates", "key_bits_consumed"):
        np.testing.assert_array_equal(live.rounds[name], replayed.rounds[name], err_msg=name)


def test_only_attacks_on_messages_have_an_exchange_of_their_own(small_scenario: Scenario) -> None:
    plain = [[f"byzantine.attack={name}"] for name in ("none", "sign_flip", "withholding")]
    shared = {small_scenario.with_overrides(overrides).network_id for overrides in plain}
    assert len(shared) == 1
    own = [small_scenario.with_overrides(overrides).network_id for overrides in ON_MESSAGES]
    assert len({*own, *shared}) == len(own) + 1


@pytest.mark.parametrize("module", ["ceas.attacks", "ceas.attacks.conduct"])
@pytest.mark.parametrize("name", ["equivocation", "replay"])
def test_attacks_on_messages_by_their_full_names_have_an_exchange_of_their_own(
    small_scenario: Scenario, module: str, name: str
) -> None:
    plain = small_scenario.with_overrides(["byzantine.attack=sign_flip"])
    full = small_scenario.with_overrides([f"byzantine.attack={module}:{name}"])
    nested = plain.byzantine.model_copy(
        update={"attack": f"{module}:with_false_claims", "parameters": {"attack": f"{module}:{name}"}}
    )
    assert full.network_id != plain.network_id
    assert plain.model_copy(update={"byzantine": nested}).network_id != plain.network_id
    harmless = small_scenario.with_overrides([f"byzantine.attack={module}:withholding"])
    assert harmless.network_id == plain.network_id
