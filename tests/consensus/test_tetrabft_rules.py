"""The rules of the agreement, one by one, and what it rejects."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.authentication import Rejected
from ceas.consensus import (
    Agreement,
    AgreementMessage,
    AgreementOutput,
    AgreementRejection,
    AgreementState,
    Broadcast,
    Decide,
    Decision,
    Persist,
    Proof,
    Send,
    SetProposal,
    SetTimer,
    SetVote,
    Suggest,
    ViewChange,
    decode_state,
    encode_state,
)
from ceas.consensus.tetrabft import FUTURE_VIEWS
from ceas.errors import DomainError

D = 1000
ALL = 0b1111
X = 0b0111


def machine(node: int = 1, *, delivered: int = ALL, restored: AgreementState | None = None) -> Agreement:
    """Return a started node of four, one Byzantine; node v mod 4 leads view v."""
    one = Agreement(node=node, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D, restored=restored)
    one.start(0)
    for instance in range(4):
        if delivered >> instance & 1:
            one.deliver(instance, 0)
    return one


def said(out: list[AgreementOutput]) -> list[AgreementMessage]:
    return [one.message for one in out if isinstance(one, Broadcast)]


def feed(one: Agreement, messages: list[tuple[AgreementMessage, int]], now_ns: int = 0) -> list[AgreementOutput]:
    return [output for message, sender in messages for output in one.receive(message, sender, now_ns)]


def in_view(view: int, node: int = 1, *, delivered: int = ALL) -> Agreement:
    one = machine(node, delivered=delivered)
    others = [sender for sender in range(4) if sender != node][:3]
    feed(one, [(ViewChange(view), sender) for sender in others])
    assert one.state.view == view
    return one


def test_good_case_takes_five_delays_and_no_more_messages_than_steps() -> None:
    nodes = [machine(node, delivered=0) for node in range(4)]
    waiting: list[tuple[AgreementMessage, int]] = []
    decided: dict[int, int] = {}
    broadcasts = 0

    def take(node: int, out: list[AgreementOutput], step: int) -> None:
        nonlocal broadcasts
        for output in out:
            assert not isinstance(output, Send | Rejected)
            if isinstance(output, Broadcast):
                broadcasts += 1
                waiting.append((output.message, node))
            elif isinstance(output, Decide):
                decided[node] = step
                assert output.members == ALL

    for node in range(4):
        for instance in range(4):
            take(node, nodes[node].deliver(instance, 0), 0)
    for step in range(1, 7):
        now, waiting = waiting, []
        for message, sender in now:
            for node in range(4):
                # A halted node has no use for the decision that comes last.
                if node != sender and not nodes[node].is_halted:
                    take(node, nodes[node].receive(message, sender, 0), step)
    assert decided == dict.fromkeys(range(4), 5)
    assert all(one.is_halted for one in nodes)
    assert not waiting
    assert broadcasts == 1 + 4 * 5  # one proposal; four votes and a decision each


def test_leader_of_the_first_view_waits_for_all_or_for_a_quorum_and_four_delays() -> None:
    leader = machine(0, delivered=0b0111)
    assert leader.tick(4 * D - 1) == []
    out = leader.tick(4 * D)
    assert said(out) == [SetProposal(0, 0b0111), SetVote(1, 0, 0b0111)]
    assert said(machine(0, delivered=0b0011).tick(4 * D)) == []
    late = machine(0, delivered=0b0111)
    assert said(late.deliver(3, D)) == [SetProposal(0, ALL), SetVote(1, 0, ALL)]


def test_a_state_is_persisted_before_every_message_that_depends_on_it() -> None:
    one = machine()
    out = feed(one, [(SetProposal(0, X), 0), (SetVote(1, 0, X), 2), (SetVote(1, 0, X), 3)])
    kinds = [type(output) for output in out]
    assert kinds == [Persist, Broadcast] * 2
    assert [output.state.vote(phase) for output, phase in zip(out[::2], (1, 2), strict=True)] == [(0, X)] * 2  # type: ignore[union-attr]
    assert out[0].state.vote_2 is None  # type: ignore[union-attr]
    entered = feed(machine(), [(ViewChange(1), sender) for sender in (0, 2, 3)])
    reports = [index for index, output in enumerate(entered) if said([output]) == [Proof(1, None, None, None)]]
    persists = [index for index, output in enumerate(entered) if output == Persist(AgreementState(view=1))]
    assert persists[0] < reports[0]


def test_a_vote_waits_until_all_members_are_delivered() -> None:
    one = machine(delivered=0b0011)
    assert said(feed(one, [(SetProposal(0, X), 0)])) == []
    assert said(feed(one, [(SetVote(1, 0, X), sender) for sender in (0, 2, 3)])) == []
    assert said(one.deliver(3, 0)) == []
    assert said(one.deliver(2, 0)) == [SetVote(1, 0, X), SetVote(2, 0, X)]


@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_quorum_of_votes_makes_the_next_vote_and_one_less_does_not(phase: int) -> None:
    one = machine()
    assert said(feed(one, [(SetVote(phase, 0, X), 0), (SetVote(phase, 0, X), 2), (SetVote(phase, 0, ALL), 3)])) == []
    one = machine()
    out = feed(one, [(SetVote(phase, 0, X), sender) for sender in (0, 2, 3)])
    assert said(out)[0] == SetVote(phase + 1, 0, X)


def test_a_quorum_of_last_votes_or_a_blocking_set_of_decisions_decides() -> None:
    one = machine()
    out = feed(one, [(SetVote(4, 0, X), sender) for sender in (0, 2, 3)])
    assert Decide(X) in out
    assert said(out) == [Decision(X)]
    late = feed(machine(), [(SetVote(4, 2, X), sender) for sender in (0, 2, 3)])
    assert Decide(X) in late, "a view that others reached first"
    one = machine()
    assert feed(one, [(Decision(X), 0)]) == []
    assert feed(one, [(Decision(ALL), 3)]) == []
    out = feed(one, [(Decision(X), 2)])
    assert Decide(X) in out
    assert one.is_halted, "with its own decision that is a quorum"


def test_a_decided_node_goes_on_voting_until_a_quorum_has_decided() -> None:
    one = machine()
    feed(one, [(SetVote(4, 0, X), sender) for sender in (0, 2, 3)])
    assert not one.is_halted
    out = feed(one, [(ViewChange(1), sender) for sender in (0, 2, 3)])
    assert one.state.view == 1
    # Node 1 leads view 1; its own vote 4 is not in the reports, so it may propose what it likes.
    out = feed(one, [(Suggest(1, None, None, None), sender) for sender in (0, 2)])
    assert said(out) == [SetProposal(1, ALL)]


def test_whoever_is_late_is_told_the_decision_even_after_halting() -> None:
    one = machine()
    feed(one, [(Decision(X), sender) for sender in (0, 2, 3)])
    assert one.is_halted
    assert feed(one, [(ViewChange(7), 3)]) == [Send(3, Decision(X))]
    assert feed(one, [(ViewChange(7), 3)]) == [Send(3, Decision(X))], "messages get lost"
    assert feed(one, [(SetVote(1, 0, X), 3)]) == [Rejected(3, AgreementRejection.HALTED.value)]
    assert one.tick(10**9) == []


def test_view_changes_spread_by_blocking_sets_and_happen_by_quorums() -> None:
    one = machine()
    assert feed(one, [(ViewChange(5), 3)]) == [], "one alone may be Byzantine"
    out = feed(one, [(ViewChange(2), 2)])
    assert ViewChange(2) in said(out)
    assert one.state.view == 2, "with its own that is a quorum"
    assert Proof(2, None, None, None) in said(out)
    assert Send(2, Suggest(2, None, None, None)) in out


def test_timers_ask_for_the_next_view_and_say_it_again() -> None:
    one = Agreement(node=1, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D)
    assert one.start(0) == [SetTimer(13 * D)]
    assert one.tick(13 * D - 1) == []
    assert one.tick(13 * D) == [Broadcast(ViewChange(1)), SetTimer(15 * D)]
    assert one.tick(15 * D) == [Broadcast(ViewChange(1)), SetTimer(17 * D)]
    out = feed(one, [(ViewChange(1), sender) for sender in (0, 2)], now_ns=15 * D)
    assert SetTimer(24 * D) in out


def test_leader_of_a_later_view_proposes_what_may_have_been_decided() -> None:
    one = in_view(5)  # led by node 1
    locked = Suggest(5, (2, X), (2, X), None)
    out = feed(one, [(locked, 0)])
    assert said(out) == []
    out = feed(one, [(locked, 2)])
    assert said(out)[0] == SetProposal(5, X), "of three reports, two vouch for X and none speaks against it"
    free = in_view(5)
    out = feed(free, [(Suggest(5, None, None, None), sender) for sender in (0, 2)])
    assert said(out)[0] == SetProposal(5, ALL), "what it has delivered"


def test_voter_of_a_later_view_wants_proofs() -> None:
    one = in_view(2)  # led by node 2
    assert said(feed(one, [(SetProposal(2, X), 2)])) == []
    locked = Proof(2, (1, ALL), (1, ALL), None)
    assert said(feed(one, [(locked, 0), (Proof(2, None, None, None), 2)])) == []
    assert said(feed(one, [(Proof(2, None, None, None), 3)])) == [SetVote(1, 2, X)], "a quorum reports no vote 4"


def test_a_restarted_node_says_the_same_again_and_votes_for_nothing_else() -> None:
    one = machine()
    out = feed(one, [(SetProposal(0, X), 0), (SetVote(1, 0, X), 2), (SetVote(1, 0, X), 3)])
    stored = [output.state for output in out if isinstance(output, Persist)][-1]
    again = Agreement(node=1, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D, restored=stored)
    assert said(again.start(5)) == said(out)
    for instance in range(4):
        again.deliver(instance, 5)
    assert said(feed(again, [(SetProposal(0, ALL), 0)])) == []
    assert said(feed(again, [(SetVote(1, 0, ALL), sender) for sender in (0, 2, 3)])) == []
    leader = machine(0)
    restored = Agreement(
        node=0, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D, restored=leader.state
    )
    assert said(restored.start(5)) == [SetProposal(0, ALL), SetVote(1, 0, ALL)]


def test_a_node_that_restarts_decided_decides_again() -> None:
    state = AgreementState(view=3, vote_4=(2, X), decided=X)
    one = Agreement(node=1, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D, restored=state)
    out = one.start(0)
    assert Decide(X) in out
    assert said(out)[:2] == [ViewChange(3), Proof(3, (2, X), None, None)]
    assert said(out)[-1] == Decision(X)


@pytest.mark.parametrize(
    ("message", "sender", "reason"),
    [
        (SetVote(1, 0, X), 1, AgreementRejection.UNKNOWN_SENDER),
        (SetVote(1, 0, X), 4, AgreementRejection.UNKNOWN_SENDER),
        (SetVote(1, 0, X), -1, AgreementRejection.UNKNOWN_SENDER),
        (SetVote(1, 0, 0b0011), 2, AgreementRejection.BAD_MEMBERS),
        (SetVote(1, 0, 0b10111), 2, AgreementRejection.BAD_MEMBERS),
        (Decision(0b0011), 2, AgreementRejection.BAD_MEMBERS),
        (Proof(1, None, (0, 0b1), None), 2, AgreementRejection.BAD_MEMBERS),
        (SetProposal(0, X), 2, AgreementRejection.NOT_THE_LEADER),
        (Suggest(2, None, None, None), 3, AgreementRejection.NOT_THE_LEADER),
        (SetVote(1, FUTURE_VIEWS + 1, X), 2, AgreementRejection.FUTURE_VIEW),
    ],
)
def test_wrong_messages_are_rejected_and_change_nothing(
    message: AgreementMessage, sender: int, reason: AgreementRejection
) -> None:
    one = machine()
    state = one.state
    assert one.receive(message, sender, 0) == [Rejected(sender, reason.value)]
    assert one.state is state
    # The slot is still free for the right one.
    assert said(feed(one, [(SetVote(1, 0, X), 0), (SetVote(1, 0, X), 2), (SetVote(1, 0, X), 3)])) == [SetVote(2, 0, X)]


def test_first_message_of_a_slot_counts_and_others_are_told_apart() -> None:
    one = in_view(1)
    pairs: list[tuple[AgreementMessage, AgreementMessage, int]] = [
        (SetVote(2, 1, X), SetVote(2, 1, ALL), 2),
        (Proof(2, None, None, None), Proof(2, None, (0, X), None), 2),
        (Suggest(1, None, None, None), Suggest(1, (0, X), None, None), 2),
        (SetProposal(2, X), SetProposal(2, ALL), 2),
        (Decision(X), Decision(ALL), 2),
    ]
    for first, other, sender in pairs:
        assert not any(isinstance(output, Rejected) for output in one.receive(first, sender, 0))
        assert one.receive(first, sender, 0) == [Rejected(sender, AgreementRejection.REPEATED.value)]
        assert one.receive(other, sender, 0) == [Rejected(sender, AgreementRejection.EQUIVOCATION.value)]
    assert one.receive(SetVote(1, 0, X), 2, 0) == [Rejected(2, AgreementRejection.OLD_VIEW.value)]
    assert one.receive(ViewChange(1), 0, 0) == [Rejected(0, AgreementRejection.REPEATED.value)]


def test_what_a_flood_can_occupy_is_bounded() -> None:
    one = machine()
    for view in range(50):
        for members in (X, ALL):
            for phase in range(1, 5):
                one.receive(SetVote(phase, view, members), 3, 0)
            one.receive(Proof(view + 1, None, None, None), 3, 0)
            one.receive(Suggest(view + 1, None, None, None), 3, 0)
            one.receive(SetProposal(view, members), 3, 0)
            one.receive(Decision(members), 3, 0)
            one.receive(ViewChange(view + 1), 3, 0)
    assert set(one._slots) <= set(range(FUTURE_VIEWS + 1))
    for slot in one._slots.values():
        assert all(len(votes) <= 1 for votes in slot.votes)
        assert len(slot.suggests) <= 1
        assert len(slot.proofs) <= 1
    assert one._decisions == {3: X}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"node": 4}, "node"),
        ({"tolerated_byzantine": 2}, "tolerated_byzantine"),
        ({"delay_bound_ns": 0}, "delay_bound_ns"),
    ],
)
def test_arguments_outside_their_range_are_refused(changed: dict[str, int], word: str) -> None:
    arguments = {"node": 0, "n_nodes": 4, "tolerated_byzantine": 1, "training_round": 0, "delay_bound_ns": D}
    with pytest.raises(DomainError, match=word):
        Agreement(**(arguments | changed))  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="instance"):
        machine().deliver(4, 0)


BALLOTS = st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 2**70))
STATES = st.builds(
    AgreementState,
    view=st.integers(0, 2**32 - 1),
    vote_1=BALLOTS,
    previous_1=BALLOTS,
    vote_2=BALLOTS,
    previous_2=BALLOTS,
    vote_3=BALLOTS,
    vote_4=BALLOTS,
    proposal=BALLOTS,
    decided=st.none() | st.integers(1, 2**70),
)


@given(STATES, st.data())
def test_a_state_is_read_as_it_was_written_and_damage_is_noticed(state: AgreementState, data: st.DataObject) -> None:
    written = encode_state(state)
    assert decode_state(written) == state
    place = data.draw(st.integers(0, len(written) - 1))
    flipped = written[:place] + bytes([written[place] ^ data.draw(st.integers(1, 255))]) + written[place + 1 :]
    for damaged in (flipped, written[:place], b""):
        with pytest.raises(DomainError, match="undamaged"):
            decode_state(damaged)


def test_a_state_of_another_version_is_refused() -> None:
    body = b"\2" + encode_state(AgreementState())[1:-32]
    with pytest.raises(DomainError, match="version 1, but has 2"):
        decode_state(body + hashlib.sha256(body).digest())
