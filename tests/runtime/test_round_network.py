"""Drawn schedules of the whole round, and the invariants that judge them."""

from dataclasses import replace
from typing import Any

import pytest

from ceas.consensus import Decision, Echo, Propose, Ready, RoundState, SetVote, value_digest
from ceas.consensus.broadcast import BroadcastState
from ceas.errors import DomainError
from ceas.runtime.round_network import ROUND_CONDUCTS, RoundOracle, longest_round, run_round_schedule

PARAMETERS = b"\7" * 32
VALUES = {node: b"value %d" % node for node in range(4)}
OTHER = b"value of another kind"


def test_drawn_schedules_are_safe_and_live() -> None:
    results = [run_round_schedule(seed) for seed in range(40)]
    assert [result for result in results if result.violations or not result.is_live] == []
    # What is drawn has to be adverse enough to mean something.
    assert max(result.n_views for result in results) >= 5
    assert sum(result.n_restarts for result in results) >= 40
    assert {result.n_nodes for result in results} >= {4, 5, 7, 10}
    assert all(result.part == "round" for result in results)


@pytest.mark.parametrize("conduct", sorted(set(ROUND_CONDUCTS)))
def test_schedules_with_one_conduct_are_safe_and_live(conduct: str) -> None:
    results = [run_round_schedule(seed, largest=7, conducts=(conduct,)) for seed in range(8)]
    assert [result for result in results if result.violations or not result.is_live] == []


@pytest.mark.slow
@pytest.mark.parametrize("conduct", sorted(set(ROUND_CONDUCTS)))
def test_many_schedules_with_one_conduct_are_safe_and_live(conduct: str) -> None:
    results = [run_round_schedule(seed, conducts=(conduct,)) for seed in range(500)]
    assert [result for result in results if result.violations or not result.is_live] == []


@pytest.mark.slow
def test_a_roster_of_fifty() -> None:
    result = run_round_schedule(1, n_nodes=50, conducts=("silent",))
    assert result.n_nodes == 50
    assert not result.violations
    assert result.is_live


def test_a_seed_replays_exactly() -> None:
    assert [run_round_schedule(seed, largest=7) for seed in range(6)] == [
        run_round_schedule(seed, largest=7) for seed in range(6)
    ]


def test_numbers_of_nodes_are_checked() -> None:
    with pytest.raises(DomainError, match="nodes"):
        run_round_schedule(0, n_nodes=3)


def test_the_time_that_all_may_take() -> None:
    assert longest_round(1) == 100
    assert longest_round(5) == 204


# Each invariant fails where it should. Node 3 of four is Byzantine.
def vote(instance: int, value: bytes) -> tuple[int, bytes]:
    return instance, value_digest(0, instance, value)


def written(accepted: dict[int, bytes], readied: dict[int, bytes] | None = None) -> RoundState:
    return RoundState(
        broadcast=BroadcastState(
            accepted=tuple(sorted(accepted.items())),
            readied=tuple(vote(node, value) for node, value in sorted((readied or {}).items())),
        )
    )


ALL_WRITTEN = written(VALUES, VALUES)


def after_a_good_broadcast() -> RoundOracle:
    one = RoundOracle(4, 1, (0, 1, 2), training_round=0, parameter_digest=PARAMETERS)
    votes = tuple(vote(node, value) for node, value in VALUES.items())
    for node in (0, 1, 2):
        one.said(node, Propose(VALUES[node], PARAMETERS), ALL_WRITTEN)
    for message in (Propose, Echo, Ready):
        for node in (0, 1, 2):
            for sender in {0, 1, 2, 3} - {node}:
                one.heard(node, Propose(VALUES[sender], PARAMETERS) if message is Propose else message(votes), sender)
            if message is not Propose:
                one.said(node, message(votes), ALL_WRITTEN)
    return one


def names(one: RoundOracle) -> list[str]:
    return [text.split(":")[0] for text in one.violations]


def test_a_good_round_violates_nothing() -> None:
    one = after_a_good_broadcast()
    for node in (0, 1, 2):
        for instance, value in VALUES.items():
            one.delivered(node, instance, value)
    for phase in range(1, 5):
        for node in (0, 1, 2):
            state = replace(ALL_WRITTEN, agreement=replace(ALL_WRITTEN.agreement, **{f"vote_{phase}": (0, 0b1111)}))
            one.said(node, SetVote(phase, 0, 0b1111), state)
    for node in (0, 1, 2):
        one.decided(node, 0b1111)
        one.concluded(node, VALUES)
    assert one.violations == []
    assert one.concluded_nodes == {0, 1, 2}


@pytest.mark.parametrize(
    ("message", "state", "expected"),
    [
        (Propose(OTHER, PARAMETERS), written({0: OTHER}), ["OneProposal"]),
        (Propose(VALUES[0], PARAMETERS), written({1: VALUES[1]}), ["Persisted"]),
        (Echo((vote(1, OTHER),)), written({1: OTHER}), ["OneVote", "EchoIsProposed"]),
        (Echo((vote(1, VALUES[1]),)), written({0: VALUES[0]}), ["Persisted"]),
        (Ready((vote(1, OTHER),)), written({}, {1: OTHER}), ["OneVote", "ReadyHasQuorum"]),
        (Ready((vote(1, VALUES[1]),)), None, ["Persisted"]),
        (Decision(0b0111), ALL_WRITTEN, ["Persisted"]),
        (SetVote(1, 0, 0b0111), ALL_WRITTEN, ["Persisted", "validity"]),
    ],
)
def test_what_must_not_be_said_is_found(message: Any, state: RoundState | None, expected: list[str]) -> None:
    one = after_a_good_broadcast()
    one.said(0, message, state)
    assert names(one) == expected


def test_votes_that_were_not_heard_are_missed() -> None:
    one = RoundOracle(4, 1, (0, 1, 2), training_round=0, parameter_digest=PARAMETERS)
    value = vote(3, VALUES[3])
    one.heard(0, Ready((value,)), 3)
    one.said(0, Ready((value,)), ALL_WRITTEN)
    one.heard(0, Ready((value,)), 3)
    one.delivered(0, 3, VALUES[3])
    assert names(one) == ["ReadyHasQuorum", "Delivered"]
    one = RoundOracle(4, 1, (0, 1, 2), training_round=0, parameter_digest=PARAMETERS)
    one.heard(0, Propose(VALUES[3], b"\6" * 32), 3)
    one.heard(0, Propose(b"nothing that may be", PARAMETERS), 3)
    one.said(0, Echo((value,)), ALL_WRITTEN)
    assert names(one) == ["EchoIsProposed"]


def test_wrong_deliveries_and_conclusions_are_found() -> None:
    one = after_a_good_broadcast()
    one.delivered(0, 1, OTHER)
    assert names(one) == ["Delivered", "Validity"]
    one = after_a_good_broadcast()
    for sender in (1, 2, 3):
        one.heard(1, Ready((vote(3, OTHER),)), sender)
    one.delivered(0, 3, VALUES[3])
    one.delivered(1, 3, OTHER)
    assert names(one) == ["SameValues"]
    one = after_a_good_broadcast()
    one.concluded(0, VALUES)
    assert names(one) == ["Concluded", "Concluded"], "neither decided nor delivered"
    for instance, value in VALUES.items():
        one.delivered(1, instance, value)
    one._decided[1] = 0b0011
    one.concluded(1, {0: VALUES[0], 1: VALUES[1]})
    assert names(one) == ["Concluded"] * 4, "too few, and others than another node"
