"""Equivocation and replay: no honest node is split, and what is sent again counts once."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.authentication import Authenticator, KeyPools, Profile, Rejected, RejectionReason, epoch_hash
from ceas.consensus import BroadcastRejection, Claims, decode_update, encode_update, max_tolerated, parameter_digest
from ceas.errors import ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.run import record_network, run_scenario, simulate
from ceas.runtime.message_network import (
    ConsensusOutcome,
    MessageTiming,
    message_timing,
    run_consensus,
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
) -> ConsensusOutcome:
    n_nodes = is_byzantine.size
    values = values_of(n_nodes)
    sabotage.begin_round(values, training_round)
    return run_consensus(
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
    sabotage = MessageSabotage(Conduct(equivocation_share=share), is_byzantine, max_tolerated(is_byzantine.size))
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
    leads = is_byzantine[0] and told < n_honest
    if not leads:
        assert outcome.rejected_frames == {}
        assert outcome.views == 1
    elif outcome.views > 1:
        # Two sets proposed, neither with a quorum; then all say again what some have not heard.
        assert set(outcome.rejected_frames) <= {BroadcastRejection.REPEATED, BroadcastRejection.EQUIVOCATION}


@pytest.mark.parametrize("is_equal", [False, True])
@pytest.mark.parametrize(("n_nodes", "n_byzantine", "share"), [(7, 2, 0.6), (16, 5, 0.6), (50, 15, 19 / 35)])
def test_who_was_told_the_other_version_asks_for_the_one_that_is_agreed_on(
    n_nodes: int, n_byzantine: int, share: float, is_equal: bool
) -> None:
    is_byzantine = liars(n_nodes, n_byzantine)
    timing = message_timing(np.full((n_nodes, n_nodes), 1e-3), processing_delay_s=0) if is_equal else delays(n_nodes)
    sabotage = MessageSabotage(Conduct(equivocation_share=share), is_byzantine, max_tolerated(is_byzantine.size))
    outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes), timing=timing)
    assert outcome.values == tuple(values_of(n_nodes))
    # Eight ticks until the last one has it, one to propose, five to decide; a leader that equivocates costs a view.
    assert 8 * timing.delay_ns.min() < outcome.elapsed_ns <= (14 + 13 * (outcome.views - 1)) * timing.tick_ns


def test_an_exchange_without_room_for_an_honest_leader_is_refused(small_scenario: Scenario) -> None:
    hurried = small_scenario.with_overrides(["clock.exchange_window_s=0.0001"])
    with pytest.raises(ScenarioError, match="9 times the largest message delay") as caught:
        record_network(hurried, seed=0)
    least = float(str(caught.value).partition("at least ")[2].partition(" s,")[0])
    enough = small_scenario.with_overrides([f"clock.exchange_window_s={1.01 * least}", "clock.rounds=1"])
    (exchange,) = record_network(enough, seed=0).exchanges
    assert not exchange.is_late


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_every_frame_of_an_equivocator_is_paid_for_once(share: float) -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    outcomes = []
    for replays in (False, True):
        authenticator = keyed(n_nodes, "its128", 256 + 128 * 200)
        sabotage = MessageSabotage(
            Conduct(equivocation_share=share, replays=replays), is_byzantine, max_tolerated(is_byzantine.size)
        )
        outcomes.append([exchanged(sabotage, is_byzantine, authenticator, each) for each in range(2)])
        assert authenticator.starved_frames == 0
    for plain, replaying in zip(*outcomes, strict=True):
        assert plain.key_bits_consumed == 128 * plain.frames
        # What is sent again has its old tag.
        assert replaying.key_bits_consumed == plain.key_bits_consumed
        assert replaying.frames > plain.frames
        # Only frames of attackers are sent again, and every one.
        assert replaying.rejected_frames[RejectionReason.REPLAYED_SEQUENCE] >= 2 * 8 * 5


def test_equivocators_without_key_send_no_more_than_they_can_pay_for() -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    sabotage = MessageSabotage(Conduct(equivocation_share=0.5), is_byzantine, max_tolerated(is_byzantine.size))
    # 30 pads a direction, 24 of them in reserve: enough to begin, not enough for what equivocation makes of it.
    outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes, "its128", 256 + 60 * 128))
    assert not outcome.is_paused
    assert outcome.frames == outcome.key_bits_consumed // 128 <= 30 * n_nodes * (n_nodes - 1)


def test_equivocators_that_are_one_too_many_are_noticed() -> None:
    """With f + 1 of them, honest nodes may disagree; the exchange must say so and not pick a side."""
    for n_nodes, n_byzantine in ((4, 2), (7, 3), (10, 4)):
        is_byzantine = liars(n_nodes, n_byzantine)
        for training_round in range(n_nodes):
            sabotage = MessageSabotage(Conduct(equivocation_share=0.5), is_byzantine, max_tolerated(n_nodes))
            outcome = exchanged(sabotage, is_byzantine, keyed(n_nodes), training_round)
            held = [outcome.concluded[node] for node in np.flatnonzero(~is_byzantine).tolist()]
            differ = [one for one in held if one is not None and one != held[0]]
            assert outcome.is_agreed == (None not in held and not differ)
            assert all(outcome.values[instance] is None for instance in outcome.disagreements)


def test_replayed_frames_are_rejected_whatever_they_are_and_change_nothing() -> None:
    n_nodes, is_byzantine = 7, liars(7, 2)
    plain = MessageSabotage(Conduct(), is_byzantine, max_tolerated(is_byzantine.size))
    replaying = MessageSabotage(Conduct(replays=True), is_byzantine, max_tolerated(is_byzantine.size))
    authenticators = keyed(n_nodes), keyed(n_nodes)
    for training_round in range(3):
        before = exchanged(plain, is_byzantine, authenticators[0], training_round)
        after = exchanged(replaying, is_byzantine, authenticators[1], training_round)
        assert after.values == before.values == tuple(values_of(n_nodes))
        assert (after.elapsed_ns, after.message_delays) == (before.elapsed_ns, before.message_delays)
        # Two attackers, eight steps and one more of a leader, five honest receivers.
        copies = 5 * (2 * 8 + int(is_byzantine[training_round]))
        old = {RejectionReason.WRONG_TRAINING_ROUND: 2 * 5} if training_round else {}
        of_others = after.rejected_frames.pop(RejectionReason.WRONG_SOURCE)
        assert after.rejected_frames == {RejectionReason.REPLAYED_SEQUENCE: copies} | old
        assert copies // 8 <= of_others <= copies


def test_replayers_remember_over_a_checkpoint() -> None:
    is_byzantine = liars(7, 2)
    first = MessageSabotage(Conduct(replays=True), is_byzantine, max_tolerated(is_byzantine.size))
    authenticator = keyed(7)
    exchanged(first, is_byzantine, authenticator)
    second = MessageSabotage(Conduct(replays=True), is_byzantine, max_tolerated(is_byzantine.size))
    second.load(first.to_arrays())
    twin = keyed(7)
    twin.load(authenticator.to_arrays())
    whole, resumed = exchanged(first, is_byzantine, authenticator, 1), exchanged(second, is_byzantine, twin, 1)
    assert whole.rejected_frames == resumed.rejected_frames
    assert (whole.frames, whole.bytes_sent) == (resumed.frames, resumed.bytes_sent)
    fresh = MessageSabotage(Conduct(replays=True), is_byzantine, max_tolerated(is_byzantine.size))
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
