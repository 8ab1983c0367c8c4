"""Each rule of the reliable broadcast, at its threshold."""

import copy
from typing import Any

import pytest

from ceas.authentication import Rejected
from ceas.consensus import (
    Broadcast,
    BroadcastRejection,
    Deliver,
    Echo,
    Output,
    Persist,
    Propose,
    Pull,
    Ready,
    ReliableBroadcast,
    Send,
    SetTimer,
    Value,
    value_digest,
)
from ceas.errors import DomainError

THETA = b"t" * 32
ROUND = 9
TICK_NS = 1000


def validate(value: bytes, proposer: int) -> Rejected | None:
    return Rejected(proposer, "bad value") if value.startswith(b"bad") else None


def make(n_nodes: int = 7, tolerated: int = 2, node: int = 0) -> ReliableBroadcast:
    return ReliableBroadcast(
        node=node,
        n_nodes=n_nodes,
        tolerated_byzantine=tolerated,
        training_round=ROUND,
        parameter_digest=THETA,
        tick_ns=TICK_NS,
        validate=validate,
    )


def vote(instance: int, value: bytes = b"v") -> tuple[int, bytes]:
    return instance, value_digest(ROUND, instance, value)


def state_of(machine: ReliableBroadcast) -> dict[str, Any]:
    state = copy.deepcopy({name: value for name, value in vars(machine).items() if name != "_validate"})
    for name in ("_echoes", "_readies"):
        state[name] = {slot: getattr(state[name], slot) for slot in type(state[name]).__slots__}
    return state


def spoken(outputs: list[Output]) -> list[Output]:
    """What others can notice, that is all but what is written."""
    return [one for one in outputs if not isinstance(one, Persist)]


def readied(outputs: list[Output], machine: ReliableBroadcast) -> list[tuple[int, bytes]]:
    """Votes of the READYs that a node sends now or at its next tick."""
    found = outputs + machine.tick(0)
    return [v for o in found if isinstance(o, Broadcast) and isinstance(o.message, Ready) for v in o.message.votes]


def assert_rejected(machine: ReliableBroadcast, message: Any, sender: int, reason: str) -> None:
    before = state_of(machine)
    assert machine.receive(message, sender, 0) == [Rejected(sender, reason)]
    assert state_of(machine) == before


def test_start_proposes_and_waits_one_tick_with_the_echo() -> None:
    machine = make()
    assert spoken(machine.start(b"mine", 50)) == [Broadcast(Propose(b"mine", THETA)), SetTimer(50 + TICK_NS)]
    assert spoken(machine.tick(1050)) == [Broadcast(Echo((vote(0, b"mine"),)))]
    assert machine.tick(2000) == []
    with pytest.raises(DomainError, match="once"):
        machine.start(b"again", 60)


def test_echoes_leave_in_one_batch_when_all_proposals_are_there() -> None:
    machine = make(n_nodes=4, tolerated=1)
    machine.start(b"v", 0)
    assert machine.receive(Propose(b"v", THETA), 3, 1) == []
    assert machine.receive(Propose(b"v", THETA), 1, 2) == []
    assert spoken(machine.receive(Propose(b"v", THETA), 2, 3)) == [Broadcast(Echo(tuple(vote(i) for i in range(4))))]


def test_echoes_that_come_later_go_in_a_later_batch_with_a_new_timer() -> None:
    machine = make()
    machine.start(b"v", 0)
    machine.tick(1000)
    assert machine.receive(Propose(b"v", THETA), 3, 1500) == [SetTimer(2500)]
    assert machine.receive(Propose(b"v", THETA), 1, 1600) == []
    assert spoken(machine.tick(2500)) == [Broadcast(Echo((vote(1), vote(3))))]


@pytest.mark.parametrize(("n_nodes", "tolerated", "needed"), [(4, 1, 3), (7, 2, 5), (8, 2, 6), (10, 3, 7), (10, 2, 8)])
def test_ready_follows_exactly_n_minus_f_echoes(n_nodes: int, tolerated: int, needed: int) -> None:
    machine = make(n_nodes, tolerated)
    for sender in range(1, needed):
        assert readied(machine.receive(Echo((vote(n_nodes - 1),)), sender, 0), machine) == []
    assert readied(machine.receive(Echo((vote(n_nodes - 1),)), needed, 0), machine) == [vote(n_nodes - 1)]


@pytest.mark.parametrize(("n_nodes", "tolerated", "needed"), [(4, 1, 2), (7, 2, 3), (10, 3, 4), (10, 2, 3), (3, 0, 1)])
def test_ready_follows_exactly_f_plus_1_readies(n_nodes: int, tolerated: int, needed: int) -> None:
    machine = make(n_nodes, tolerated)
    for sender in range(1, needed):
        assert readied(machine.receive(Ready((vote(1),)), sender, 0), machine) == []
    assert readied(machine.receive(Ready((vote(1),)), needed, 0), machine) == [vote(1)]


@pytest.mark.parametrize(("n_nodes", "tolerated", "needed"), [(4, 1, 3), (7, 2, 5), (8, 2, 6), (10, 3, 7)])
def test_delivery_follows_exactly_n_minus_f_readies_own_one_included(n_nodes: int, tolerated: int, needed: int) -> None:
    machine = make(n_nodes, tolerated)
    machine.receive(Propose(b"v", THETA), 1, 0)
    outputs: list[Output] = []
    for sender in range(1, needed):
        assert not any(isinstance(o, Deliver) for o in outputs)
        outputs = machine.receive(Ready((vote(1),)), sender, 0) + machine.tick(0)
    # needed - 1 others and the node's own, which amplification made it send
    assert [o for o in outputs if isinstance(o, Deliver)] == [Deliver(1, b"v")]
    assert machine.delivered == {1: b"v"}
    assert not any(isinstance(o, Deliver) for o in machine.receive(Ready((vote(1),)), needed, 0))


def test_readies_for_different_values_do_not_add_up() -> None:
    machine = make()
    outputs = []
    for sender in range(1, 7):
        outputs += machine.receive(Ready((vote(1, b"%d" % (sender % 3)),)), sender, 0) + machine.tick(0)
    assert not any(isinstance(o, Broadcast | Deliver) for o in outputs)


def test_only_one_ready_is_sent_in_an_instance() -> None:
    machine = make()
    first = [machine.receive(Echo((vote(1, b"a"),)), sender, 0) for sender in range(1, 6)]
    assert readied([o for outputs in first for o in outputs], machine) == [vote(1, b"a")]
    for sender in range(1, 4):
        assert readied(machine.receive(Ready((vote(1, b"b"),)), sender, 0), machine) == []


def test_readies_leave_at_once_when_all_accepted_instances_are_ready() -> None:
    machine = make(n_nodes=4, tolerated=1)
    machine.start(b"v", 0)
    machine.receive(Propose(b"v", THETA), 1, 0)
    machine.tick(1000)
    machine.receive(Echo((vote(0),)), 1, 1100)
    assert machine.receive(Echo((vote(0),)), 2, 1200) == [SetTimer(2200)]  # instance 1 is accepted and not yet ready
    machine.receive(Echo((vote(1),)), 1, 1300)
    assert spoken(machine.receive(Echo((vote(1),)), 3, 1400)) == [Broadcast(Ready((vote(0), vote(1))))]


def test_a_missing_value_is_pulled_from_f_plus_1_echoers_as_they_become_known() -> None:
    machine = make()
    machine.receive(Echo((vote(1),)), 6, 0)
    outputs: list[Output] = []
    for sender in range(2, 6):
        outputs += machine.receive(Ready((vote(1),)), sender, 0) + machine.tick(0)
    pull = Pull(*vote(1))
    assert [o for o in outputs if isinstance(o, Send)] == [Send(6, pull)]
    assert machine.receive(Echo((vote(1, b"other"),)), 5, 0) == []  # does not hold the value
    assert machine.receive(Echo((vote(1),)), 4, 0) == [Send(4, pull)]
    assert machine.receive(Echo((vote(1),)), 3, 0) == [Send(3, pull)]
    assert machine.receive(Echo((vote(1),)), 2, 0) == []  # one of three is honest
    assert_rejected(machine, Value(1, b"w"), 6, BroadcastRejection.VALUE_NOT_WANTED.value)
    assert_rejected(machine, Value(1, b"v"), 5, BroadcastRejection.VALUE_NOT_WANTED.value)
    assert machine.receive(Value(1, b"v"), 4, 0) == [Deliver(1, b"v")]
    assert machine.receive(Value(1, b"v"), 3, 0) == []  # an honest answer that came second
    assert machine.delivered == {1: b"v"}
    assert_rejected(machine, Value(1, b"v"), 2, BroadcastRejection.VALUE_NOT_WANTED.value)


def test_a_late_proposal_ends_the_search_for_its_value() -> None:
    machine = make()
    for sender in range(2, 6):
        machine.receive(Ready((vote(1),)), sender, 0)
        machine.tick(0)
    assert Deliver(1, b"v") in machine.receive(Propose(b"v", THETA), 1, 0)
    assert machine.delivered == {1: b"v"}


def test_a_held_value_is_served_once_to_each() -> None:
    machine = make()
    machine.receive(Propose(b"v", THETA), 1, 0)
    for sender in (2, 3):
        assert machine.receive(Pull(*vote(1)), sender, 0) == [Send(sender, Value(1, b"v"))]
        assert_rejected(machine, Pull(*vote(1)), sender, BroadcastRejection.REPEATED.value)
    assert_rejected(machine, Pull(*vote(1, b"w")), 4, BroadcastRejection.VALUE_NOT_HELD.value)
    assert_rejected(machine, Pull(2, vote(1)[1]), 4, BroadcastRejection.VALUE_NOT_HELD.value)


def test_wrong_messages_are_rejected_and_change_nothing() -> None:
    machine = make()
    machine.start(b"v", 0)
    machine.receive(Propose(b"v", THETA), 1, 0)
    machine.receive(Echo((vote(1), vote(2))), 3, 0)
    machine.receive(Ready((vote(1), vote(2))), 3, 0)
    reason = BroadcastRejection
    assert_rejected(machine, Propose(b"v", THETA), 1, reason.REPEATED.value)
    assert_rejected(machine, Propose(b"w", THETA), 1, reason.EQUIVOCATION.value)
    assert_rejected(machine, Propose(b"v", b"u" * 32), 2, reason.WRONG_PARAMETERS.value)
    assert_rejected(machine, Propose(b"bad", THETA), 2, "bad value")
    for kind in (Echo, Ready):
        assert_rejected(machine, kind((vote(1),)), 3, reason.REPEATED.value)
        assert_rejected(machine, kind((vote(1, b"w"), vote(2))), 3, reason.EQUIVOCATION.value)
        assert_rejected(machine, kind((vote(1), vote(7))), 4, reason.UNKNOWN_INSTANCE.value)
        for sender in (-1, 0, 7):
            assert_rejected(machine, kind((vote(1),)), sender, reason.UNKNOWN_SENDER.value)
    assert_rejected(machine, Value(1, b"v"), 2, reason.VALUE_NOT_WANTED.value)


def test_a_rejected_proposal_is_never_echoed_and_does_not_block_a_valid_one() -> None:
    machine = make()
    machine.receive(Propose(b"v", b"u" * 32), 1, 0)
    machine.receive(Propose(b"bad", THETA), 1, 0)
    assert machine.tick(0) == []
    assert machine.receive(Propose(b"v", THETA), 1, 0) == [SetTimer(TICK_NS)]
    assert spoken(machine.tick(0)) == [Broadcast(Echo((vote(1),)))]


def test_the_new_part_of_an_equivocating_batch_still_counts() -> None:
    machine = make(n_nodes=4, tolerated=1)
    machine.receive(Ready((vote(1),)), 2, 0)
    assert machine.receive(Ready((vote(1, b"w"), vote(3))), 2, 0) == [
        Rejected(2, BroadcastRejection.EQUIVOCATION.value)
    ]
    outputs = machine.receive(Ready((vote(1, b"w"), vote(3))), 1, 0)
    assert readied(outputs, machine) == [vote(3)]


def test_an_invalid_own_value_is_proposed_but_not_echoed() -> None:
    machine = make()
    assert spoken(machine.start(b"bad", 0)) == [Rejected(0, "bad value"), Broadcast(Propose(b"bad", THETA))]
    assert machine.tick(0) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_nodes": 6}, "tolerated_byzantine"),
        ({"node": 7}, "node"),
        ({"node": -1}, "node"),
        ({"tick_ns": 0}, "tick_ns"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"node": 0, "n_nodes": 7, "tolerated_byzantine": 2, "tick_ns": 1}
    with pytest.raises(DomainError, match=message):
        ReliableBroadcast(**(arguments | change), training_round=0, parameter_digest=THETA, validate=validate)
