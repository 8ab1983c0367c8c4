"""TetraBFT: agreement on the set of contributors of a training round, as a state machine without input or output.

One machine is one node in one training round. It agrees on one set of nodes, written as a bitmap, whose values were
delivered by the reliable broadcast beside it. It neither reads a clock nor opens a connection nor draws numbers:
`start`, `deliver`, `receive` and `tick` take what happened and return what to do, in order. The driver authenticates
messages; `sender` is the node that the link's key belongs to. No message is ever forwarded as evidence, so links with
pairwise keys are enough.

Message flow in the good case, five message delays from proposal to decision (v: view, x: set)::

    leader ──SET_PROPOSAL(v, x)──> all ──SET_VOTE 1──> all ──SET_VOTE 2──> all ──SET_VOTE 3──> all ──SET_VOTE 4──> all:
    decide x ──DECISION(x)──> all: halt
    view change: all ──VIEW_CHANGE(v)──> all: enter v ──PROOF(v)──> all, ──SUGGEST(v)──> leader of v, which proposes

Quorum conditions (n nodes, f tolerated Byzantine ones, n >= 3 f + 1)
    quorum      n - f nodes: so many answer always; two quorums share an honest node
    blocking    f + 1 nodes: one of them is honest
    valid(x)    x has a quorum of members, all of the roster, and each is delivered at this node
    leader(v)   node (training_round + v) mod n

Rules, in view v; every message slot (sender, view, kind, phase) takes the first message only
    R1  leader of 0: all delivered, or 4 D passed and a quorum delivered    -> SET_PROPOSAL(0, delivered), once
    R2  leader of v > 0: valid(x) and safe(v, x) by the SUGGESTs of v       -> SET_PROPOSAL(v, x), once
    R3  SET_PROPOSAL(v, x) of the leader, valid(x), safe(v, x) by the PROOFs -> SET_VOTE(1, v, x), once
    R4  quorum of SET_VOTE(k, v, x), k = 1, 2, 3, valid(x)                  -> SET_VOTE(k + 1, v, x), once
    R5  quorum of SET_VOTE(4, v, x), or blocking set of DECISION(x)         -> decide x, DECISION(x)
    R6  quorum of DECISION(x)                                               -> halt
    R7  timer of v (9 D; 13 D in view 0), then every 2 D                    -> VIEW_CHANGE(v + 1 or what was sent)
    R8  blocking set of VIEW_CHANGE(>= u), u above v and what was sent      -> VIEW_CHANGE(u)
    R9  quorum of VIEW_CHANGE(>= u), u > v                                  -> enter u: PROOF(u), SUGGEST(u)
    R10 VIEW_CHANGE from q, decided x                                       -> DECISION(x) to q; also after halting
A decided node follows all rules until it halts: others may need its votes. D is the bound on the message delay.

Safety of x in view v by the reports of v (L: highest vote of phase 3 in SUGGEST, of phase 4 in PROOF; H: highest vote
of the claiming phase, 2 in SUGGEST, 1 in PROOF; P: highest vote of that phase for another set than H's)
    S1  v = 0, or a quorum reports no L
    S2  or there is a view u < v such that a quorum reports no L above u and at u none but (u, x), and
        a) u = 0, or a blocking set claims x at u, or
        b) two different sets are claimed at u, each by a blocking set
    claim of x at u: H = (u' >= u, x), or P of a view >= u (which says: two different sets were voted for since u)

S2 b stands in the public specification and is easily lost. A leader may propose x because an honest P of phase 2 claims
anything; the votes of phase 1 behind it may come from two disjoint blocking sets, one for each of the two sets, and
then no voter ever sees f + 1 claims of x itself. Its soundness: a set claimed by a blocking set at u is safe at u, so
before u only it could have been decided; with two different ones, none.

State: what a restarted node must not have forgotten is `AgreementState`, a constant number of ballots. `Persist` comes
before every message that depends on it, so a node that stops anywhere and starts again from the last state that it was
given keeps its promises. Everything else is lost without harm.

Buffers: per sender one message a slot, views from the own to four beyond; older and later ones are rejected.

Sources: Yu, Losa and Wang, TetraBFT (PODC 2024, arXiv 2405.02615); TLA+ specification nano-o/tetrabft-tla. Not in the
paper: valid(x), DECISION with halting, and the answers of R10, which stand in for the messages lost before the network
became stable.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from ceas.authentication import Rejected
from ceas.consensus.messages import (
    LARGEST_VIEW,
    AgreementMessage,
    Ballot,
    Decision,
    Proof,
    SetProposal,
    SetVote,
    Suggest,
    ViewChange,
    encode_report,
    parse_ballot,
)
from ceas.consensus.outputs import Broadcast, Decide, Persist, Send, SetTimer
from ceas.consensus.votes import amplification_quorum, check_tolerance, quorum
from ceas.errors import DomainError

__all__ = [
    "FUTURE_VIEWS",
    "Agreement",
    "AgreementOutput",
    "AgreementRejection",
    "AgreementState",
    "Report",
    "decode_state",
    "encode_state",
    "is_safe",
]

# In units of the bound D on the message delay. A view of an honest leader needs at most 2 until all have entered, 1 for
# reports, 1 for the proposal, 1 for values that others deliver later than the leader, 4 for votes.
VIEW_DELAYS: Final = 9
FIRST_VIEW_DELAYS: Final = 13  # four more for the broadcast
# Values of honest nodes are delivered within 4: one for the proposals, echoes leave by 1, readies by 3.
COLLECT_DELAYS: Final = 4
RESEND_DELAYS: Final = 2
FUTURE_VIEWS: Final = 4


class AgreementRejection(StrEnum):
    """Why a message was not counted."""

    UNKNOWN_SENDER = "sender is not another node of the roster"
    NOT_THE_LEADER = "proposal or report of or to a node that does not lead the view"
    BAD_MEMBERS = "set is no quorum of the roster"
    OLD_VIEW = "message of a view that was left"
    FUTURE_VIEW = "message of a view too far ahead"
    REPEATED = "repeated message"
    EQUIVOCATION = "equivocation"
    HALTED = "message after the end of the agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementState:
    """What a node must remember over a restart: its view, its highest votes, its proposal and its decision.

    Args:
        view: View that the node is in.
        vote_1: Highest vote of phase 1; `vote_2` to `vote_4` likewise.
        previous_1: Highest vote of phase 1 for another set than that of `vote_1`; `previous_2` likewise.
        proposal: Last proposal of this node as a leader.
        decided: Set decided for, as a bitmap.
    """

    view: int = 0
    vote_1: Ballot | None = None
    previous_1: Ballot | None = None
    vote_2: Ballot | None = None
    previous_2: Ballot | None = None
    vote_3: Ballot | None = None
    vote_4: Ballot | None = None
    proposal: Ballot | None = None
    decided: int | None = None

    def vote(self, phase: int) -> Ballot | None:
        """Return the highest vote of a phase, 1 to 4."""
        return (self.vote_1, self.vote_2, self.vote_3, self.vote_4)[phase - 1]

    def voted(self, phase: int, ballot: Ballot) -> "AgreementState":
        """Return the state after a vote."""
        last = self.vote(phase)
        if phase > 2 or last is None or last[1] == ballot[1]:
            return replace(self, **{f"vote_{phase}": ballot})  # type: ignore[arg-type]
        return replace(self, **{f"vote_{phase}": ballot, f"previous_{phase}": last})  # type: ignore[arg-type]


_STATE_VERSION: Final = 1
_CHECKSUM_BYTES: Final = 32


def encode_state(state: AgreementState) -> bytes:
    """Return bytes to keep: version u8 | view u32 | eight ballots as in a message | SHA-256 of all that, 32 bytes."""
    votes = (state.vote_1, state.previous_1, state.vote_2, state.previous_2, state.vote_3, state.vote_4)
    decided = None if state.decided is None else (0, state.decided)
    body = bytes((_STATE_VERSION,)) + encode_report(state.view, (*votes, state.proposal, decided))
    return body + hashlib.sha256(body).digest()


def decode_state(data: bytes) -> AgreementState:
    """Read the bytes of `encode_state`.

    Raises:
        DomainError: They are not what was written. A node must not take part with a state that it has lost.
    """
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not body or hashlib.sha256(body).digest() != checksum:
        raise DomainError("Argument `data` must be an undamaged state of the agreement, but its checksum differs.")
    if body[0] != _STATE_VERSION:
        raise DomainError(f"State of the agreement must have version {_STATE_VERSION}, but has {body[0]}.")
    ballots: list[Ballot | None] = []
    end = 5
    for _ in range(8):
        ballot, end = parse_ballot(body, end)
        ballots.append(ballot)
    vote_1, previous_1, vote_2, previous_2, vote_3, vote_4, proposal, decided = ballots
    return AgreementState(
        view=int.from_bytes(body[1:5], "big"),
        vote_1=vote_1,
        previous_1=previous_1,
        vote_2=vote_2,
        previous_2=previous_2,
        vote_3=vote_3,
        vote_4=vote_4,
        proposal=proposal,
        decided=None if decided is None else decided[1],
    )


AgreementOutput = Broadcast[AgreementMessage] | Send[AgreementMessage] | SetTimer | Persist | Decide | Rejected

Report = tuple[Ballot | None, Ballot | None, Ballot | None]
"""What one node reports to a view: L, H and P of the safety rule."""


# S1, S2
def is_safe(view: int, members: int, reports: Iterable[Report], *, quorum_size: int, blocking_size: int) -> bool:
    """Tell whether reports show that in no view before `view` another set than `members` can be decided.

    Args:
        view: View in which the set is to be proposed or voted for.
        members: Set as a bitmap.
        reports: One report a node, each of ballots before `view`.
        quorum_size: n - f.
        blocking_size: f + 1.
    """
    if view == 0:
        return True
    reports = tuple(reports)
    if len(reports) < quorum_size:
        return False
    lasts = [last for last, _, _ in reports if last is not None]
    if len(reports) - len(lasts) >= quorum_size:
        return True
    # If the rule holds at some view, it holds at the highest L of its quorum or, where that L is for another set, one
    # view later: claims only get fewer with u.
    candidates = sorted({u for last in lasts for u in (last[0], last[0] + 1) if u < view})
    return any(
        _allows(u, members, reports, quorum_size) and _is_claimed(u, members, reports, blocking_size)
        for u in candidates
    )


def _allows(u: int, members: int, reports: tuple[Report, ...], quorum_size: int) -> bool:
    return sum(last is None or last[0] < u or last == (u, members) for last, _, _ in reports) >= quorum_size


def _is_claimed(u: int, members: int, reports: tuple[Report, ...], blocking_size: int) -> bool:
    if u == 0:
        return True
    n_any = 0
    n_for: dict[int, int] = {}
    for _, highest, previous in reports:
        if previous is not None and previous[0] >= u:
            n_any += 1
        elif highest is not None and highest[0] >= u:
            n_for[highest[1]] = n_for.get(highest[1], 0) + 1
    if n_any + n_for.get(members, 0) >= blocking_size:
        return True
    return sum(n_any + count >= blocking_size for count in n_for.values()) >= 2


@dataclass(slots=True)
class _Slot:
    """What was received for one view."""

    proposal: int | None = None
    votes: tuple[dict[int, int], ...] = field(default_factory=lambda: ({}, {}, {}, {}))  # per phase: sender -> set
    accepted: list[int | None] = field(default_factory=lambda: [None] * 4)  # per phase: set with a quorum of votes
    suggests: dict[int, Report] = field(default_factory=dict)
    proofs: dict[int, Report] = field(default_factory=dict)


class Agreement:
    """One node's part in the agreement on the set of contributors of one training round.

    Args:
        node: This node, in [0, n_nodes).
        n_nodes: Nodes of the roster, at most 65536.
        tolerated_byzantine: Byzantine nodes that are tolerated, f with n >= 3 f + 1.
        training_round: Training round; it sets who leads view 0.
        delay_bound_ns: Bound D on the message delay of a stable network, ns. Too small a bound costs progress, never
            agreement.
        restored: State of the last `Persist` that was carried out before a restart.

    Raises:
        DomainError: an argument is outside its range.
    """

    def __init__(
        self,
        *,
        node: int,
        n_nodes: int,
        tolerated_byzantine: int,
        training_round: int,
        delay_bound_ns: int,
        restored: AgreementState | None = None,
    ) -> None:
        check_tolerance(n_nodes, tolerated_byzantine)
        if not 0 <= node < n_nodes:
            raise DomainError(f"Argument `node` must be in [0, {n_nodes}), but is {node}.")
        if delay_bound_ns <= 0:
            raise DomainError(f"Argument `delay_bound_ns` must be positive, but is {delay_bound_ns}.")
        self.node = node
        self.state = restored or AgreementState()
        self.is_halted = False
        self._is_restored = restored is not None
        self._n_nodes = n_nodes
        self._quorum = quorum(n_nodes, tolerated_byzantine)
        self._blocking = amplification_quorum(tolerated_byzantine)
        self._training_round = training_round
        self._delay_ns = delay_bound_ns
        self._delivered = 0
        self._slots: dict[int, _Slot] = {}
        self._view_changes = [0] * n_nodes  # per node, the highest view it wants to be in
        self._decisions: dict[int, int] = {}
        self._deadline_ns = 0
        self._collect_until_ns = 0

    def leader(self, view: int) -> int:
        """Return the node that leads a view."""
        return (self._training_round + view) % self._n_nodes

    def start(self, now_ns: int) -> list[AgreementOutput]:
        """Begin, or go on after a restart; call once, before anything else."""
        out: list[AgreementOutput] = []
        if self._is_restored:
            self._resume(out)
        self._collect_until_ns = now_ns + COLLECT_DELAYS * self._delay_ns
        if self.state.view == 0 and self.node == self.leader(0):
            out.append(SetTimer(self._collect_until_ns))
        self._set_deadline(now_ns, FIRST_VIEW_DELAYS if self.state.view == 0 else VIEW_DELAYS, out)
        return out

    def deliver(self, instance: int, now_ns: int) -> list[AgreementOutput]:
        """Take the delivery of a node's value by the reliable broadcast; again after a restart.

        Raises:
            DomainError: `instance` is not a node of the roster.
        """
        if not 0 <= instance < self._n_nodes:
            raise DomainError(f"Argument `instance` must be in [0, {self._n_nodes}), but is {instance}.")
        out: list[AgreementOutput] = []
        self._delivered |= 1 << instance
        self._advance(now_ns, out)
        return out

    def receive(self, message: AgreementMessage, sender: int, now_ns: int) -> list[AgreementOutput]:
        """Take a message from another node; wrong ones come back as `Rejected` and change nothing."""
        if not 0 <= sender < self._n_nodes or sender == self.node:
            return [Rejected(sender, AgreementRejection.UNKNOWN_SENDER.value)]
        out: list[AgreementOutput] = []
        if isinstance(message, ViewChange):
            reason = self._on_view_change(message, sender, now_ns, out)
        elif self.is_halted:
            reason = AgreementRejection.HALTED
        elif not all(self._is_quorum_of_roster(members) for members in _sets_in(message)):
            reason = AgreementRejection.BAD_MEMBERS
        elif isinstance(message, Decision):
            reason = self._on_decision(message, sender, out)
        else:
            reason = self._take(message, sender)
        if reason is not None:
            out.append(Rejected(sender, reason.value))
        elif not isinstance(message, SetVote) or self._is_accepted(message):
            self._advance(now_ns, out)
        return out

    def tick(self, now_ns: int) -> list[AgreementOutput]:
        """Take the expiry of a timer that `SetTimer` asked for; harmless at any other time."""
        out: list[AgreementOutput] = []
        if not self.is_halted and now_ns >= self._deadline_ns:
            self._want(max(self._view_changes[self.node], min(self.state.view + 1, LARGEST_VIEW)), out)
            self._set_deadline(now_ns, RESEND_DELAYS, out)
            self._change_view(now_ns, out)
        self._advance(now_ns, out)
        return out

    # Slots: the first message counts.
    def _take(self, message: SetProposal | SetVote | Suggest | Proof, sender: int) -> AgreementRejection | None:
        if message.view < self.state.view:
            return AgreementRejection.OLD_VIEW
        if message.view > self.state.view + FUTURE_VIEWS:
            return AgreementRejection.FUTURE_VIEW
        slot = self._slots.setdefault(message.view, _Slot())
        match message:
            case SetVote():
                return self._count(slot, message, sender)
            case SetProposal():
                return self._on_proposal(slot, message, sender)
            case Suggest():
                is_mine = self.node == self.leader(message.view)
                report = (message.vote_3, message.vote_2, message.previous_2)
                return _keep(slot.suggests, sender, report) if is_mine else AgreementRejection.NOT_THE_LEADER
            case Proof():
                return _keep(slot.proofs, sender, (message.vote_4, message.vote_1, message.previous_1))

    def _on_proposal(self, slot: _Slot, message: SetProposal, sender: int) -> AgreementRejection | None:
        if sender != self.leader(message.view):
            return AgreementRejection.NOT_THE_LEADER
        if slot.proposal is not None:
            return _repeated_or_equivocation(slot.proposal == message.members)
        slot.proposal = message.members
        return None

    def _count(self, slot: _Slot, message: SetVote, sender: int) -> AgreementRejection | None:
        votes = slot.votes[message.phase - 1]
        if sender in votes:
            return _repeated_or_equivocation(votes[sender] == message.members)
        votes[sender] = message.members
        if len(votes) >= self._quorum and slot.accepted[message.phase - 1] is None:
            n_votes = sum(members == message.members for members in votes.values())
            if n_votes >= self._quorum:
                slot.accepted[message.phase - 1] = message.members
        return None

    def _is_accepted(self, message: SetVote) -> bool:
        """Tell whether votes of this phase and view have come to a quorum; short of it no rule applies."""
        return self._slots[message.view].accepted[message.phase - 1] is not None

    # R1 to R5, as far as they apply; a vote of this node's own may complete the next quorum.
    def _advance(self, now_ns: int, out: list[AgreementOutput]) -> None:
        if self.is_halted:
            return
        slot = self._slots.setdefault(self.state.view, _Slot())
        self._propose(slot, now_ns, out)
        self._vote_first(slot, out)
        for phase in (1, 2, 3):
            members = slot.accepted[phase - 1]
            if members is not None and not self._has_voted(phase + 1) and self._is_valid(members):
                self._vote(slot, phase + 1, members, out)
        if self.state.decided is None:
            # A node that is late decides by the votes of a view that it has yet to enter.
            chosen = [one.accepted[3] for one in self._slots.values() if one.accepted[3] is not None]
            if chosen:
                self._decide(chosen[0], out)

    # R1, R2
    def _propose(self, slot: _Slot, now_ns: int, out: list[AgreementOutput]) -> None:
        view, last = self.state.view, self.state.proposal
        if self.node != self.leader(view) or (last is not None and last[0] == view):
            return
        if view == 0:
            is_complete = self._delivered.bit_count() == self._n_nodes or now_ns >= self._collect_until_ns
            candidates = [self._delivered] if is_complete else []
        elif len(slot.suggests) >= self._quorum:
            seen = {ballot[1] for report in slot.suggests.values() for ballot in report if ballot is not None}
            candidates = [self._delivered, *sorted(seen)]
        else:
            candidates = []
        for members in candidates:
            if self._is_valid(members) and self._is_safe_to_propose(view, members, slot):
                self._persist(replace(self.state, proposal=(view, members)), out)
                slot.proposal = members
                out.append(Broadcast(SetProposal(view, members)))
                return

    # R3
    def _vote_first(self, slot: _Slot, out: list[AgreementOutput]) -> None:
        members = slot.proposal
        if members is None or self._has_voted(1) or not self._is_valid(members):
            return
        if self._is_safe_to_vote(self.state.view, members, slot):
            self._vote(slot, 1, members, out)

    # R3, R4
    def _vote(self, slot: _Slot, phase: int, members: int, out: list[AgreementOutput]) -> None:
        vote = SetVote(phase, self.state.view, members)
        self._persist(self.state.voted(phase, (vote.view, members)), out)
        out.append(Broadcast(vote))
        self._count(slot, vote, self.node)

    def _has_voted(self, phase: int) -> bool:
        last = self.state.vote(phase)
        return last is not None and last[0] == self.state.view

    # R5, R6
    def _decide(self, members: int, out: list[AgreementOutput]) -> None:
        if self.state.decided is None:
            self._persist(replace(self.state, decided=members), out)
            out.append(Decide(members))
            out.append(Broadcast(Decision(members)))
            self._decisions[self.node] = members
            self._halt_if_all_know()

    def _on_decision(self, message: Decision, sender: int, out: list[AgreementOutput]) -> AgreementRejection | None:
        if sender in self._decisions:
            return _repeated_or_equivocation(self._decisions[sender] == message.members)
        self._decisions[sender] = message.members
        if self._n_decided(message.members) >= self._blocking:
            self._decide(message.members, out)
        self._halt_if_all_know()
        return None

    def _n_decided(self, members: int) -> int:
        return sum(one == members for one in self._decisions.values())

    def _halt_if_all_know(self) -> None:
        if self.state.decided is not None and self._n_decided(self.state.decided) >= self._quorum:
            self.is_halted = True
            self._slots.clear()

    # R8, R9, R10
    def _on_view_change(
        self, message: ViewChange, sender: int, now_ns: int, out: list[AgreementOutput]
    ) -> AgreementRejection | None:
        if self.state.decided is not None:
            out.append(Send(sender, Decision(self.state.decided)))
        if self.is_halted:
            return None
        if message.view <= self._view_changes[sender]:
            return AgreementRejection.REPEATED  # no fault: honest nodes say it again until the view has changed
        self._view_changes[sender] = message.view
        self._change_view(now_ns, out)
        return None

    def _change_view(self, now_ns: int, out: list[AgreementOutput]) -> None:
        wanted = sorted(self._view_changes, reverse=True)[self._blocking - 1]
        if wanted > max(self.state.view, self._view_changes[self.node]):
            self._want(wanted, out)
        agreed = sorted(self._view_changes, reverse=True)[self._quorum - 1]
        if agreed > self.state.view:
            self._enter(agreed, now_ns, out)

    def _want(self, view: int, out: list[AgreementOutput]) -> None:
        self._view_changes[self.node] = view
        out.append(Broadcast(ViewChange(view)))

    # R9
    def _enter(self, view: int, now_ns: int, out: list[AgreementOutput]) -> None:
        # Persisted first: the reports promise that there will be no more votes in earlier views.
        self._persist(replace(self.state, view=view), out)
        self._slots = {other: slot for other, slot in self._slots.items() if other >= view}
        self._report(out)
        self._set_deadline(now_ns, VIEW_DELAYS, out)

    def _report(self, out: list[AgreementOutput]) -> None:
        state = self.state
        slot = self._slots.setdefault(state.view, _Slot())
        if not (self._has_voted(1) or self._has_voted(4)):
            slot.proofs[self.node] = (state.vote_4, state.vote_1, state.previous_1)
            out.append(Broadcast(Proof(state.view, *slot.proofs[self.node])))
        if not (self._has_voted(2) or self._has_voted(3)):
            suggest = (state.vote_3, state.vote_2, state.previous_2)
            leader = self.leader(state.view)
            if leader == self.node:
                slot.suggests[self.node] = suggest
            else:
                out.append(Send(leader, Suggest(state.view, *suggest)))

    # After a restart everything is said again that was promised, where it can be said in the same words.
    def _resume(self, out: list[AgreementOutput]) -> None:
        state = self.state
        slot = self._slots.setdefault(state.view, _Slot())
        if state.view > 0:
            self._want(state.view, out)
            self._report(out)
        if state.proposal is not None and state.proposal[0] == state.view:
            slot.proposal = state.proposal[1]
            out.append(Broadcast(SetProposal(*state.proposal)))
        for phase in (1, 2, 3, 4):
            last = state.vote(phase)
            if last is not None and last[0] == state.view:
                vote = SetVote(phase, *last)
                out.append(Broadcast(vote))
                self._count(slot, vote, self.node)
        if state.decided is not None:
            out.append(Decide(state.decided))
            out.append(Broadcast(Decision(state.decided)))
            self._decisions[self.node] = state.decided

    def _persist(self, state: AgreementState, out: list[AgreementOutput]) -> None:
        self.state = state
        out.append(Persist(state))

    def _set_deadline(self, now_ns: int, delays: int, out: list[AgreementOutput]) -> None:
        self._deadline_ns = now_ns + delays * self._delay_ns
        out.append(SetTimer(self._deadline_ns))

    # valid(x)
    def _is_valid(self, members: int) -> bool:
        return self._is_quorum_of_roster(members) and not members & ~self._delivered

    def _is_quorum_of_roster(self, members: int) -> bool:
        return members.bit_count() >= self._quorum and not members >> self._n_nodes

    def _is_safe_to_propose(self, view: int, members: int, slot: _Slot) -> bool:
        return is_safe(view, members, slot.suggests.values(), quorum_size=self._quorum, blocking_size=self._blocking)

    def _is_safe_to_vote(self, view: int, members: int, slot: _Slot) -> bool:
        return is_safe(view, members, slot.proofs.values(), quorum_size=self._quorum, blocking_size=self._blocking)


def _sets_in(message: AgreementMessage) -> tuple[int, ...]:
    match message:
        case SetProposal() | SetVote() | Decision():
            return (message.members,)
        case Suggest():
            ballots = (message.vote_3, message.vote_2, message.previous_2)
        case Proof():
            ballots = (message.vote_4, message.vote_1, message.previous_1)
        case ViewChange():
            return ()
    return tuple([ballot[1] for ballot in ballots if ballot is not None])


def _keep(reports: dict[int, Report], sender: int, report: Report) -> AgreementRejection | None:
    if sender in reports:
        return _repeated_or_equivocation(reports[sender] == report)
    reports[sender] = report
    return None


def _repeated_or_equivocation(is_same: bool) -> AgreementRejection:
    return AgreementRejection.REPEATED if is_same else AgreementRejection.EQUIVOCATION
