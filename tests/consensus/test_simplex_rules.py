"""Simplex's rules R1 to R14, each at its threshold, and what is rejected."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from ceas.authentication import Rejected
from ceas.consensus import (
    NO_DIGEST,
    Block,
    BlockProposal,
    BlockVote,
    Broadcast,
    Certificate,
    Certificates,
    Conclude,
    Decide,
    Finalize,
    HeldValue,
    Lacking,
    LeaveView,
    Persist,
    Phase,
    PullBlock,
    PullValues,
    Send,
    SetTimer,
    SignedValue,
    SimplexRejection,
    SimplexRound,
    SimplexState,
    block_digest,
    statement,
    value_digest,
)
from ceas.errors import DomainError
from ceas.runtime.simplex_network import TagSigner

D = 1000
N, F = 7, 2
QUORUM = 5
PARAMETERS = hashlib.sha256(b"parameters").digest()
VALUES = {node: b"value %d" % node for node in range(N)}
ENTRIES = tuple((node, value_digest(0, node, VALUES[node])) for node in range(N))
X = block_digest(0, ENTRIES)
Y = b"y" * 32


def sign(node: int, phase: Phase, number: int, digest: bytes) -> bytes:
    return TagSigner(node).sign(statement(phase, 0, PARAMETERS, number, digest))


def value_of(node: int, value: bytes | None = None) -> SignedValue:
    value = VALUES[node] if value is None else value
    return SignedValue(value, PARAMETERS, sign(node, Phase.VALUE, node, value_digest(0, node, value)))


def vote(node: int, view: int = 0, digest: bytes = X) -> BlockVote:
    return BlockVote(view, digest, sign(node, Phase.VOTE, view, digest))


def finalize(node: int, view: int = 0, digest: bytes = X) -> Finalize:
    return Finalize(view, digest, sign(node, Phase.FINALIZE, view, digest))


def leave(node: int, view: int = 0) -> LeaveView:
    return LeaveView(view, sign(node, Phase.LEAVE, view, NO_DIGEST))


def certificate(phase: Phase, view: int, digest: bytes = X, nodes: Sequence[int] = range(QUORUM)) -> Certificate:
    return Certificate(phase, view, digest, tuple((node, sign(node, phase, view, digest)) for node in nodes))


def left(view: int) -> Certificate:
    return certificate(Phase.LEAVE, view, NO_DIGEST)


def proposal(
    view: int = 0, entries: Any = ENTRIES, certificates: tuple[Certificate, ...] = (), *, is_new: bool = True
) -> BlockProposal:
    signatures = tuple(sign(node, Phase.VALUE, node, digest) for node, digest in entries) if is_new else ()
    signature = sign(view % N, Phase.PROPOSE, view, block_digest(0, entries))
    return BlockProposal(view, entries, signatures, certificates, signature)


class Node:
    """One machine, started, and what it has said."""

    def __init__(self, node: int = 6, restored: SimplexState | None = None, **arguments: Any) -> None:
        self.now = 0
        self.machine = SimplexRound(
            node=node,
            n_nodes=N,
            tolerated_byzantine=F,
            training_round=0,
            parameter_digest=PARAMETERS,
            delay_bound_ns=D,
            validate=arguments.pop("validate", lambda *_: None),
            signer=TagSigner(node),
            restored=restored,
        )
        self.first = self.machine.start(VALUES[node], 0)

    def hears(self, message: Any, sender: int) -> list[Any]:
        return self.machine.receive(message, sender, self.now)

    def hears_values(self, nodes: Sequence[int] = range(N)) -> list[Any]:
        return [one for node in nodes if node != self.machine.node for one in self.hears(value_of(node), node)]

    def at(self, now: int) -> list[Any]:
        self.now = now
        return self.machine.tick(now)


def said(out: list[Any], kind: type[Any]) -> list[Any]:
    return [one.message for one in out if isinstance(one, Broadcast | Send) and isinstance(one.message, kind)]


def reason(out: list[Any]) -> str:
    [rejected] = out
    assert isinstance(rejected, Rejected)
    return rejected.reason


def test_r1_the_own_value_is_kept_and_told() -> None:
    node = Node()
    assert isinstance(node.first[0], Persist)
    assert said(node.first, SignedValue) == [value_of(6)]
    again = Node(restored=node.machine.state)
    assert said(again.machine.start(b"another", 0), SignedValue) == [value_of(6)]


def test_r2_the_first_good_value_of_a_node_counts() -> None:
    node = Node(validate=lambda value, proposer: Rejected(proposer, "odd") if value == b"odd" else None)
    assert reason(node.hears(value_of(1, b"odd"), 1)) == "odd"
    assert node.hears(value_of(1), 1) == []
    assert reason(node.hears(value_of(1), 1)) == SimplexRejection.REPEATED
    assert reason(node.hears(value_of(1, b"other"), 1)) == SimplexRejection.EQUIVOCATION
    assert reason(node.hears(value_of(1), 2)) == SimplexRejection.BAD_SIGNATURE
    elsewhere = SignedValue(VALUES[2], bytes(32), value_of(2).signature)
    assert reason(node.hears(elsewhere, 2)) == SimplexRejection.WRONG_PARAMETERS


def test_r3_the_leader_of_view_0_proposes_all_values_or_after_2_d_a_quorum() -> None:
    leader = Node(0)
    assert said(leader.hears_values(range(6)), BlockProposal) == []
    [proposed] = said(leader.hears(value_of(6), 6), BlockProposal)
    assert proposed == proposal()
    leader = Node(0)
    leader.hears_values(range(QUORUM - 1))
    assert said(leader.at(2 * D), BlockProposal) == []
    [proposed] = said(leader.hears(value_of(4), 4), BlockProposal)
    assert proposed == proposal(entries=ENTRIES[:QUORUM])
    early = Node(0)
    early.hears_values(range(QUORUM))
    assert said(early.at(2 * D - 1), BlockProposal) == []
    assert said(early.at(2 * D), BlockProposal) == [proposed]


def test_r3_the_next_leader_waits_for_the_decision() -> None:
    leader = Node(1)
    leader.hears(proposal(), 0)
    for other in range(2, 2 + QUORUM - 1):
        assert leader.hears(vote(other), other) == []
    out = leader.hears_values()  # its own vote, possible only now, makes the quorum
    assert said(out, Finalize) == [finalize(1)]
    assert leader.machine.view == 1
    assert said(out, BlockProposal) == []
    assert said(leader.at(2 * D), BlockProposal)


def test_r3_with_a_certificate_and_views_left_since() -> None:
    leader = Node(2)
    leader.hears_values()
    leader.hears(proposal(), 0)
    out = leader.hears(Certificates((certificate(Phase.VOTE, 0), left(1))), 5)
    [proposed] = said(out, BlockProposal)  # view 1 lies between: nothing to wait for
    assert proposed == proposal(2, certificates=(certificate(Phase.VOTE, 0), left(1)), is_new=False)
    waiting = Node(1)
    waiting.hears_values()
    waiting.hears(proposal(), 0)
    out = waiting.hears(Certificates((certificate(Phase.VOTE, 0),)), 5)
    assert said(out, Finalize)
    assert said(out, BlockProposal) == []
    assert said(waiting.at(2 * D - 1), BlockProposal) == []
    assert said(waiting.at(2 * D), BlockProposal) == [
        proposal(1, certificates=(certificate(Phase.VOTE, 0),), is_new=False)
    ]


def test_r3_without_a_certificate_a_quorum_of_values_is_enough() -> None:
    leader = Node(1)
    leader.hears_values(range(QUORUM - 1))
    assert said(leader.hears(Certificates((left(0),)), 5), BlockProposal) == []
    [proposed] = said(leader.hears(value_of(4), 4), BlockProposal)
    assert proposed == proposal(1, ENTRIES[:QUORUM], (left(0),))


def test_r4_votes_once_its_values_are_there() -> None:
    node = Node()
    node.hears_values(range(5))
    out = node.hears(proposal(), 0)
    assert said(out, BlockVote) == []
    assert [(one.destination, one.message) for one in out if isinstance(one, Send)] == [(0, PullValues(ENTRIES[5:6]))]
    out = node.hears(HeldValue(5, VALUES[5]), 0)
    assert [type(one) for one in out] == [Persist, Broadcast]
    assert said(out, BlockVote) == [vote(6)]
    assert node.machine.state.voted == (0, X)
    assert node.machine.state.values == tuple(sorted(VALUES.items()))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (proposal(entries=ENTRIES[: QUORUM - 1]), SimplexRejection.BAD_ENTRIES),
        (proposal(entries=(*ENTRIES[:6], (9, Y))), SimplexRejection.BAD_ENTRIES),
        (proposal(is_new=False), SimplexRejection.UNJUSTIFIED),
        (BlockProposal(0, ENTRIES, proposal().entry_signatures, (), b"forged"), SimplexRejection.BAD_SIGNATURE),
        (
            BlockProposal(0, ENTRIES, (b"forged", *proposal().entry_signatures[1:]), (), proposal().signature),
            SimplexRejection.BAD_SIGNATURE,
        ),
        (proposal(certificates=(left(0),)), SimplexRejection.UNJUSTIFIED),
        (proposal(certificates=(certificate(Phase.VOTE, 0),)), SimplexRejection.UNJUSTIFIED),
        (proposal(7), SimplexRejection.UNJUSTIFIED),
        (proposal(7, certificates=tuple(left(view) for view in (0, 1, 2, 3, 4, 6))), SimplexRejection.UNJUSTIFIED),
        (
            proposal(7, certificates=(certificate(Phase.VOTE, 5, Y), left(6)), is_new=False),
            SimplexRejection.UNJUSTIFIED,
        ),
        (
            proposal(7, certificates=(certificate(Phase.VOTE, 6, X, range(QUORUM - 1)),), is_new=False),
            SimplexRejection.BAD_CERTIFICATE,
        ),
        (
            proposal(7, certificates=(certificate(Phase.VOTE, 6, X, (*range(4), 9)),), is_new=False),
            SimplexRejection.BAD_CERTIFICATE,
        ),
    ],
)
def test_r4_bad_proposals_are_rejected(message: BlockProposal, expected: SimplexRejection) -> None:
    node = Node()
    node.hears_values()
    state = node.machine.state
    assert reason(node.hears(message, 0)) == expected
    assert node.machine.state == state


def test_r4_the_first_proposal_of_the_leader_counts() -> None:
    node = Node()
    assert reason(node.hears(proposal(), 1)) == SimplexRejection.NOT_THE_LEADER
    node.hears(proposal(), 0)
    assert reason(node.hears(proposal(), 0)) == SimplexRejection.REPEATED
    assert reason(node.hears(proposal(entries=ENTRIES[:6]), 0)) == SimplexRejection.EQUIVOCATION
    node.hears(Certificates((left(0),)), 1)
    assert reason(node.hears(proposal(), 0)) == SimplexRejection.OLD_VIEW


def test_r4_a_justified_proposal_takes_along_to_its_view() -> None:
    node = Node()
    node.hears_values()
    out = node.hears(proposal(3, ENTRIES, (left(0), left(1), left(2))), 3)
    assert node.machine.view == 3
    assert said(out, BlockVote) == [vote(6, 3)]


def test_r5_a_quorum_of_votes_finalises_and_goes_on() -> None:
    node = Node()
    node.hears_values()
    node.hears(proposal(), 0)
    for other in range(QUORUM - 2):
        assert said(node.hears(vote(other), other), Finalize) == []
    assert reason(node.hears(vote(2), 2)) == SimplexRejection.REPEATED
    assert reason(node.hears(vote(2, 0, Y), 2)) == SimplexRejection.EQUIVOCATION
    assert said(node.hears(vote(4, 0, Y), 4), Finalize) == []
    assert reason(node.hears(BlockVote(0, X, b"forged"), 5)) == SimplexRejection.BAD_SIGNATURE
    out = node.hears(vote(3), 3)
    assert isinstance(out[0], Persist)
    assert said(out, Finalize) == [finalize(6)]
    assert node.machine.view == 1
    assert node.machine.state.finalized == (0, X)


def test_r5_never_after_leaving() -> None:
    node = Node()
    node.hears_values()
    node.hears(proposal(), 0)
    assert said(node.at(5 * D), LeaveView) == [leave(6)]
    out = node.hears(Certificates((certificate(Phase.VOTE, 0),)), 1)
    assert said(out, Finalize) == []
    assert node.machine.view == 1
    assert node.machine.state.finalized is None


def test_r6_the_timer_and_its_repetitions() -> None:
    node = Node()
    assert [one.at_ns for one in node.first if isinstance(one, SetTimer)] == [5 * D]
    assert said(node.at(5 * D - 1), LeaveView) == []
    out = node.at(5 * D)
    assert isinstance(out[0], Persist)
    assert said(out, LeaveView) == [leave(6)]
    assert node.machine.state.left == 0
    assert said(node.at(7 * D - 1), LeaveView) == []
    assert said(node.at(7 * D), LeaveView) == [leave(6)]


def test_r7_a_blocking_set_is_joined_and_r8_a_quorum_enters() -> None:
    node = Node()
    for other in range(F):
        assert said(node.hears(leave(other), other), LeaveView) == []
    assert reason(node.hears(leave(1), 1)) == SimplexRejection.REPEATED
    assert said(node.hears(leave(2), 2), LeaveView) == [leave(6)]
    assert node.machine.view == 0
    node.hears(leave(3), 3)
    assert node.machine.view == 1
    assert [one.view for one in node.machine.state.leaves] == [0]


def test_r8_only_justified_views_are_entered() -> None:
    node = Node()
    node.hears(Certificates((left(1),)), 1)
    assert node.machine.view == 0
    node.hears(Certificates((left(0),)), 1)
    assert node.machine.view == 2
    node.hears(Certificates((certificate(Phase.VOTE, 4),)), 1)
    assert node.machine.view == 5
    assert node.machine.state.leaves == ()
    assert reason(node.hears(Certificates((certificate(Phase.VOTE, 6, X, range(4)),)), 1)) == (
        SimplexRejection.BAD_CERTIFICATE
    )
    forged = Certificate(Phase.LEAVE, 5, NO_DIGEST, tuple((one, b"forged") for one in range(QUORUM)))
    assert reason(node.hears(Certificates((forged,)), 1)) == SimplexRejection.BAD_CERTIFICATE


def test_r9_the_certificate_goes_to_those_who_have_not_finalised() -> None:
    node = Node()
    node.hears(Certificates((certificate(Phase.VOTE, 0),)), 1)
    node.hears(finalize(1), 1)
    node.hears(finalize(2), 2)
    assert said(node.at(2 * D - 1), Certificates) == []
    out = node.at(2 * D)
    assert [one.destination for one in out if isinstance(one, Send)] == [0, 3, 4, 5]
    assert said(out, Certificates)[0] == Certificates((certificate(Phase.VOTE, 0),))
    assert said(node.at(2 * D), Certificates) == []


def test_r10_who_is_late_gets_what_it_lacks() -> None:
    node = Node()
    chain = (certificate(Phase.VOTE, 1), left(2), left(3))
    node.hears(Certificates(chain), 1)
    assert said(node.hears(leave(2), 2), Certificates) == []  # all may be on their way
    node.now = 2 * D
    assert said(node.hears(leave(2, 0), 2), Certificates) == [Certificates(chain)]
    assert reason(node.hears(leave(2, 0), 2)) == SimplexRejection.REPEATED
    assert said(node.hears(leave(3, 3), 3), Certificates) == [Certificates((left(3),))]
    node.hears(Certificates((certificate(Phase.FINALIZE, 5),)), 1)
    node.now = 4 * D
    assert said(node.hears(leave(2, 9), 2), Certificates) == [Certificates((certificate(Phase.FINALIZE, 5),))]


def test_r11_r12_a_quorum_of_finalisations_decides_and_concludes() -> None:
    node = Node()
    node.hears_values()
    node.hears(proposal(), 0)
    for other in range(QUORUM - 1):
        assert node.machine.decided is None
        node.hears(finalize(other), other)
    assert node.machine.decided is None  # its own is not among them
    out = node.hears(finalize(4), 4)
    assert isinstance(out[0], Persist)
    assert [one.members for one in out if isinstance(one, Decide)] == [0b1111111]
    assert [one.values for one in out if isinstance(one, Conclude)] == [VALUES]
    assert node.machine.is_concluded
    assert node.machine.delivered == VALUES
    assert node.machine.is_halted
    assert node.hears(finalize(5), 5) == []
    assert node.at(100 * D) == []


def test_r12_r13_what_is_decided_and_missing_is_pulled() -> None:
    node = Node()
    final = certificate(Phase.FINALIZE, 0)
    out = node.hears(Certificates((final,)), 3)
    assert [(one.destination, one.message) for one in out if isinstance(one, Send)] == [
        (other, PullBlock(X)) for other in range(F + 1)
    ]
    assert reason(node.hears(Block(ENTRIES[:6]), 1)) == SimplexRejection.NOT_WANTED
    assert [one.message for one in node.at(2 * D) if isinstance(one, Broadcast)] == [PullBlock(X)]
    out = node.hears(Block(ENTRIES), 1)
    assert said(out, PullValues) == [PullValues(ENTRIES[:6])] * (F + 1)
    assert node.machine.decided == 0b1111111
    assert reason(node.hears(HeldValue(0, b"other"), 1)) == SimplexRejection.NOT_WANTED
    for other in range(5):
        assert not any(isinstance(one, Conclude) for one in node.hears(HeldValue(other, VALUES[other]), 1))
    assert node.hears(HeldValue(4, VALUES[4]), 2) == []
    out = node.hears(HeldValue(5, VALUES[5]), 1)
    assert [one.values for one in out if isinstance(one, Conclude)] == [VALUES]
    assert decided_again(node.machine.state).machine.is_concluded


def decided_again(state: SimplexState) -> Node:
    return Node(restored=state)


def test_r13_what_is_held_is_given_once_in_d() -> None:
    node = Node()
    node.hears_values()
    node.hears(proposal(), 0)
    assert said(node.hears(PullBlock(X), 1), Block) == [Block(ENTRIES)]
    assert reason(node.hears(PullBlock(X), 1)) == SimplexRejection.REPEATED
    assert reason(node.hears(PullBlock(Y), 1)) == SimplexRejection.NOT_HELD
    asked = PullValues((ENTRIES[1], (2, Y)))
    assert said(node.hears(asked, 1), HeldValue) == [HeldValue(1, VALUES[1])]
    assert reason(node.hears(asked, 1)) == SimplexRejection.REPEATED
    assert reason(node.hears(PullValues(((2, Y),)), 1)) == SimplexRejection.NOT_HELD
    node.now = D
    assert said(node.hears(asked, 1), HeldValue)


def test_r14_lost_values_are_asked_for_while_there_is_no_quorum() -> None:
    node = Node()
    node.hears_values(range(QUORUM - 2))
    assert said(node.at(5 * D), Lacking) == [Lacking(0b0111000)]
    node.hears(value_of(3), 3)
    assert said(node.at(7 * D), Lacking) == []
    assert said(node.hears(Lacking(1 << 6), 2), SignedValue) == [value_of(6)]
    assert reason(node.hears(Lacking(1 << 6), 2)) == SimplexRejection.REPEATED
    assert node.hears(Lacking(1), 3) == []
    assert reason(node.hears(Lacking(1 << 7), 3)) == SimplexRejection.UNKNOWN_INSTANCE


def test_views_too_far_and_strangers_are_rejected() -> None:
    node = Node()
    assert reason(node.hears(vote(1, 5), 1)) == SimplexRejection.FUTURE_VIEW
    assert node.hears(vote(1, 4), 1) == []
    node.hears(Certificates((certificate(Phase.VOTE, 9),)), 1)
    assert reason(node.hears(finalize(1, 5), 1)) == SimplexRejection.OLD_VIEW
    assert node.hears(finalize(1, 6), 1) == []
    for sender in (-1, 6, 7):
        assert reason(node.hears(vote(1), sender)) == SimplexRejection.UNKNOWN_SENDER


def test_a_restart_keeps_promises_and_repeats_them() -> None:
    node = Node()
    node.hears_values()
    node.hears(proposal(), 0)
    node.at(5 * D)
    again = Node(restored=node.machine.state)
    assert said(again.first, BlockVote) == [vote(6)]
    assert said(again.first, LeaveView) == [leave(6)]
    assert said(again.first, Lacking) == [Lacking(0b0111111)]
    assert said(again.hears(proposal(entries=ENTRIES[:QUORUM]), 0), BlockVote) == []
    assert said(again.hears(Certificates((certificate(Phase.VOTE, 0),)), 1), Finalize) == []
    assert said(again.hears(PullValues(ENTRIES), 1), HeldValue) == [HeldValue(*one) for one in VALUES.items()]
    for other in range(QUORUM - 1):
        node.hears(vote(other, 1), other)
    finalized = Node(restored=SimplexState(value=VALUES[6], finalized=(0, X), certificate=certificate(Phase.VOTE, 0)))
    assert finalized.machine.view == 1
    assert said(finalized.first, Finalize) == [finalize(6)]


def test_memory_of_signatures_is_bounded() -> None:
    node = Node()
    for view in range(60):
        node.hears(Certificates((certificate(Phase.VOTE, view),)), 1)
    assert len(node.machine._verified) <= 16 * N
    assert node.machine.view == 60
    assert len(node.machine._slots) <= 3 * 9


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"node": 7}, "`node` must be in"),
        ({"tolerated_byzantine": 3}, "`tolerated_byzantine` must be in"),
        ({"delay_bound_ns": 0}, "`delay_bound_ns` must be positive"),
        ({"parameter_digest": b""}, "`parameter_digest` must have 32 bytes"),
    ],
)
def test_arguments_are_checked(changed: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {
        "node": 0,
        "n_nodes": N,
        "tolerated_byzantine": F,
        "training_round": 0,
        "parameter_digest": PARAMETERS,
        "delay_bound_ns": D,
        "validate": lambda *_: None,
        "signer": TagSigner(0),
    }
    with pytest.raises(DomainError, match=text):
        SimplexRound(**arguments | changed)
