"""Simplex: agreement on the contributors of a training round with signatures that can be shown to others.

The comparison protocol. One machine is one node in one training round, with the interface of `ConsensusRound`: `start`,
`receive` and `tick` take what happened and return what to do, in order. It needs no broadcast beside it: the proposal
names the values by digest, with their proposers' signatures, and whoever votes for it holds them.

Message flow in the good case, four message delays (k: view, x: block, a list of (node, digest of its value))::

    node i ──SIGNED_VALUE(v_i)──> all; leader ──BLOCK_PROPOSAL(k, x)──> all ──BLOCK_VOTE(k, x)──> all
    ──FINALIZE(k, x)──> all: decide x
    no certificate in time: all ──LEAVE_VIEW(k)──> all: enter k + 1, whose leader proposes

Quorum conditions (n nodes, f tolerated Byzantine ones, n >= 3 f + 1)
    quorum         n - f nodes: so many answer always; two quorums share an honest node
    blocking       f + 1 nodes: one of them is honest
    certificate    signatures of a quorum under one statement: VOTE(k, x), FINALIZE(k, x) or LEAVE(k)
    leader(k)      node (training_round + k) mod n
    justified(k)   held: VOTE certificate of some view k' < k, or k' = -1, and LEAVE certificates of all views between

Rules; D is the bound on the message delay, every message slot (sender, phase, view) takes the first message only
    R1  start                                                     -> SIGNED_VALUE, once
    R2  SIGNED_VALUE of i, the first with the own H(theta), valid -> hold it
    R3  leader of k, holding a VOTE certificate (k', x)           -> BLOCK_PROPOSAL(k, x) with it and what justifies k
        or holding none and a quorum of values                    -> BLOCK_PROPOSAL(k, all values held), once each;
        in view 0 not before all values or 2 D are there, after a certificate of view k - 1 not before 2 D
    R4  BLOCK_PROPOSAL(k, x) of the leader that justifies k, x certified in k' or with a quorum of entries signed by
        their nodes, in view k, all values of x held              -> BLOCK_VOTE(k, x), once
    R5  VOTE certificate (k, x), k not below the own view and not left -> FINALIZE(k, x)
    R6  timer of k (5 D, 10 D, then 15 D), then every 2 D         -> LEAVE_VIEW(k)
    R7  blocking set of LEAVE_VIEW(k) in view k                   -> LEAVE_VIEW(k)
    R8  justified(k), k above the own view                        -> enter k
    R9  2 D after entering k by a VOTE certificate, undecided     -> the certificate to all that have not finalised it
    R10 LEAVE_VIEW(j) of a view before the own                    -> the certificates from j on; decided: of FINALIZE
    R11 FINALIZE certificate (k, x)                               -> decide x
    R12 x decided, its block and all values held                  -> Conclude, once
    R13 block or values needed and not held                       -> PULL_BLOCK, PULL_VALUES: from the leader that
        proposed them or f + 1 signers of the certificate, after 2 D from all; whoever holds them answers
    R14 view's time over and no quorum of values held             -> LACKING; who is named sends SIGNED_VALUE again

Why it is safe. (a) An honest node votes once in a view, so a view has VOTE certificates of one block at most. (b) It
never sends both FINALIZE(k) and LEAVE_VIEW(k): finalising k takes it beyond k, where it no longer leaves k, and after
LEAVE_VIEW(k) R5 does not apply. So when x has a FINALIZE certificate of k and b nodes are Byzantine, n - f - b of its
signers are honest, which leaves f honest nodes and b <= f Byzantine ones to sign LEAVE_VIEW(k): at most 2 f < n - f, so
view k has no LEAVE certificate. (c) Whatever an honest node votes for in m > k is justified without one, hence by a
VOTE certificate of a view from k on; by induction over m this is one of x. So no other block gets a certificate in or
after k. A certificate of votes alone proves less: f + 1 honest nodes hold x and its values, and nothing else can be
decided in its view; later views may leave it behind.

Why it is live, once messages take at most D. A certificate of LEAVE_VIEW(k) has n - 2 f >= f + 1 honest signatures,
whose messages reach all; by R7 all that have not passed k by a certificate join, and those that have hand it on by R9:
all honest nodes enter a view within 4 D of the first. An honest leader then waits at most 2 D (R9's time, which in the
good case decides) and 2 D for the block; its proposal takes D, values to be pulled 2 D, votes D: 12 D, short of 15 D.
Whoever is left behind says so every 2 D and is answered (R10). A decided node may fall silent otherwise: its FINALIZE
certificate convinces everyone. A timer of 3 D throughout would need every certificate forwarded by everyone to all, and
every value there when the proposal comes.

State: `SimplexState`; `Persist` comes before every message that depends on it. Certificates, and the blocks and values
voted for, belong to it: others rely on their being had. Buffers: per sender one message a slot, views from the own to
four beyond, of FINALIZE also four behind. Certificates prove themselves: one of VOTE is kept, and one of LEAVE for each
view since, so state and proposals grow with the number of views that an honest quorum left, where TetraBFT's do not.

Sources: Chan and Pass, Simplex Consensus (TCC 2023, eprint 2023/463); single shot with explicit view changes as in
Decentralized Thoughts, 18 June 2025. Not from there: blocks as lists of signed digests, R7, R9 and R10 in place of
forwarding every certificate to everyone, R13, R14, restarts, the timers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from ceas.authentication import Rejected
from ceas.consensus.broadcast import Validate
from ceas.consensus.messages import DIGEST_BYTES, Vote, value_digest
from ceas.consensus.outputs import Broadcast, Conclude, Decide, Deliver, Persist, Send, SetTimer
from ceas.consensus.simplex_messages import (
    NO_DIGEST,
    Block,
    BlockProposal,
    BlockVote,
    Certificate,
    Certificates,
    Finalize,
    HeldValue,
    Lacking,
    LeaveView,
    Phase,
    PullBlock,
    PullValues,
    SignedValue,
    SimplexMessage,
    block_digest,
    statement,
)
from ceas.consensus.simplex_state import SimplexState
from ceas.consensus.votes import amplification_quorum, check_tolerance, quorum
from ceas.errors import DomainError

__all__ = ["Signer", "SimplexOutput", "SimplexRejection", "SimplexRound"]

VIEW_DELAYS: Final = (5, 10, 15)  # of views 0, 1, and all later ones
COLLECT_DELAYS: Final = 2
SETTLE_DELAYS: Final = 2
RESEND_DELAYS: Final = 2
WINDOW_VIEWS: Final = 4

SimplexOutput = (
    Broadcast[SimplexMessage] | Send[SimplexMessage] | SetTimer | Persist | Deliver | Decide | Conclude | Rejected
)
Slot = dict[int, tuple[bytes, bytes]]
"""Digest and signature by sender, of one phase and view."""


class Signer(Protocol):
    """Signs for one node, and checks the signatures of all."""

    def sign(self, message: bytes) -> bytes:
        """Return this node's signature of some bytes."""
        ...

    def verify(self, node: int, message: bytes, signature: bytes) -> bool:
        """Tell whether this is a node's signature of some bytes; total on any bytes."""
        ...


class SimplexRejection(StrEnum):
    """Why a message was not counted."""

    UNKNOWN_SENDER = "sender is not another node of the roster"
    UNKNOWN_INSTANCE = "instance is not a node of the roster"
    WRONG_PARAMETERS = "value computed at other parameters"
    BAD_SIGNATURE = "bad signature"
    BAD_CERTIFICATE = "certificate without a quorum of good signatures"
    BAD_ENTRIES = "block without a quorum of nodes of the roster"
    NOT_THE_LEADER = "sender does not lead the view"
    UNJUSTIFIED = "proposal without what justifies its view"
    OLD_VIEW = "message of a view that is over"
    FUTURE_VIEW = "message of a view too far ahead"
    REPEATED = "repeated message"
    EQUIVOCATION = "equivocation"
    NOT_HELD = "block or value asked for is not held"
    NOT_WANTED = "block or value was not asked for, or another one was"
    HALTED = "decided already"


@dataclass(frozen=True, slots=True)
class _Proposal:
    entries: tuple[Vote, ...]
    digest: bytes
    sources: tuple[int, ...]  # nodes that hold the values, if they are honest


class _Signed(NamedTuple):
    """One node's signature under a statement of a view."""

    phase: Phase
    view: int
    digest: bytes
    signature: bytes


class SimplexRound:
    """One node's part in the consensus of one training round.

    Args:
        node: This node, in [0, n_nodes).
        n_nodes: Nodes of the roster, at most 65536.
        tolerated_byzantine: Byzantine nodes that are tolerated, f with n >= 3 f + 1.
        training_round: Training round; part of every digest and signature, and it sets who leads view 0.
        parameter_digest: H(theta) of this node's parameters, 32 bytes; part of every signature.
        delay_bound_ns: Bound D on the message delay of a stable network, ns. Too small a bound costs progress, never
            agreement.
        validate: Check of a value, the same at all honest nodes.
        signer: Signs for this node and checks the others' signatures.
        restored: State of the last `Persist` that was carried out before a restart.

    Attributes:
        delivered: Values of the decided block by node, as far as they are held.
        decided: Set decided for, as a bitmap; None before its block is known.
        is_concluded: Whether it has concluded.
        state: State of the last `Persist`.

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
        parameter_digest: bytes,
        delay_bound_ns: int,
        validate: Validate,
        signer: Signer,
        restored: SimplexState | None = None,
    ) -> None:
        check_tolerance(n_nodes, tolerated_byzantine)
        if not 0 <= node < n_nodes:
            raise DomainError(f"Argument `node` must be in [0, {n_nodes}), but is {node}.")
        if delay_bound_ns <= 0:
            raise DomainError(f"Argument `delay_bound_ns` must be positive, but is {delay_bound_ns}.")
        if len(parameter_digest) != DIGEST_BYTES:
            raise DomainError(
                f"Argument `parameter_digest` must have {DIGEST_BYTES} bytes, but has {len(parameter_digest)}."
            )
        self.node = node
        self.state = restored or SimplexState()
        self.view = self.state.view
        self.delivered: dict[int, bytes] = {}
        self.decided: int | None = None
        self.is_concluded = False
        self._is_restored = restored is not None
        self._n_nodes = n_nodes
        self._quorum = quorum(n_nodes, tolerated_byzantine)
        self._blocking = amplification_quorum(tolerated_byzantine)
        self._training_round = training_round
        self._parameter_digest = parameter_digest
        self._delay_ns = delay_bound_ns
        self._validate = validate
        self._signer = signer
        self._offers: dict[int, tuple[bytes, bytes]] = {}  # node -> digest and signature of its value
        self._held: dict[Vote, bytes] = {}  # values that passed the check, by instance and digest
        self._blocks: dict[bytes, tuple[Vote, ...]] = {}
        self._proposals: dict[int, _Proposal] = {}  # by view
        self._slots: dict[tuple[Phase, int], Slot] = {}
        self._leaves: dict[int, Certificate] = {one.view: one for one in self.state.leaves}
        self._known: set[tuple[Phase, int, bytes]] = set()  # statements of which a certificate was verified
        self._verified: dict[tuple[int, bytes, bytes], None] = {}  # good signatures, oldest first
        self._most_verified = 16 * n_nodes
        self._wanted: set[Vote] = set()
        self._wanted_block: bytes | None = None
        self._asks_all = False
        self._answered_ns: dict[tuple[object, ...], int] = {}
        self._entered_ns = 0
        self._deadline_ns = 0
        self._collect_until_ns = 0
        self._settle_ns: int | None = None
        self._ask_ns: int | None = None
        for entries in self.state.blocks:
            self._blocks[block_digest(training_round, entries)] = entries
        for instance, value in self.state.values:
            self._held[instance, value_digest(training_round, instance, value)] = value

    @property
    def last_view(self) -> int:
        """View that it decided in, or is in."""
        return self.view if self.state.decided is None else self.state.decided.view

    @property
    def is_halted(self) -> bool:
        """Whether this node has concluded; all honest nodes can then, since it answers those who are late."""
        return self.is_concluded

    def leader(self, view: int) -> int:
        """Return the node that leads a view."""
        return (self._training_round + view) % self._n_nodes

    # R1
    def start(self, value: bytes, now_ns: int) -> list[SimplexOutput]:
        """Begin with this node's value, or go on after a restart; call once, before anything else.

        After a restart the value that was signed before counts, if there was one.
        """
        out: list[SimplexOutput] = []
        if self.state.value is None:
            signature = self._sign(Phase.VALUE, self.node, value_digest(self._training_round, self.node, value))
            # Kept before it is told to anyone: a node that signs two values is Byzantine.
            self._persist(replace(self.state, value=value, signature=signature), out)
        own = self.state.value or b""
        digest = value_digest(self._training_round, self.node, own)
        self._offers[self.node] = (digest, self.state.signature)
        self._held[self.node, digest] = own
        out.append(Broadcast(SignedValue(own, self._parameter_digest, self.state.signature)))
        self._entered_ns = now_ns
        self._collect_until_ns = now_ns + COLLECT_DELAYS * self._delay_ns
        if self.view == 0 and self.node == self.leader(0):
            out.append(SetTimer(self._collect_until_ns))
        self._set_deadline(now_ns, VIEW_DELAYS[min(self.view, len(VIEW_DELAYS) - 1)], out)
        if self._is_restored:
            self._resume(now_ns, out)
        self._advance(now_ns, out)
        return out

    def receive(self, message: SimplexMessage, sender: int, now_ns: int) -> list[SimplexOutput]:
        """Take a message from another node; wrong ones come back as `Rejected` and change nothing."""
        if not 0 <= sender < self._n_nodes or sender == self.node:
            return [Rejected(sender, SimplexRejection.UNKNOWN_SENDER.value)]
        out: list[SimplexOutput] = []
        reason = self._take(message, sender, now_ns, out)
        if isinstance(reason, Rejected):
            out.append(reason)
        elif reason is not None:
            out.append(Rejected(sender, reason.value))
        else:
            self._advance(now_ns, out)
        return out

    def tick(self, now_ns: int) -> list[SimplexOutput]:
        """Take the expiry of a timer that `SetTimer` asked for; harmless at any other time."""
        out: list[SimplexOutput] = []
        if self.state.decided is None:
            if self._settle_ns is not None and now_ns >= self._settle_ns:
                self._settle_ns = None
                self._hand_on(out)
            if now_ns >= self._deadline_ns:
                self._leave(now_ns, out)
                self._set_deadline(now_ns, RESEND_DELAYS, out)
                self._ask_for_values(out)
        if self._ask_ns is not None and now_ns >= self._ask_ns:
            self._ask_ns = None
            self._forget_wants()
            self._asks_all = True
        self._advance(now_ns, out)
        return out

    def _take(  # noqa: PLR0911 - one per kind
        self, message: SimplexMessage, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | Rejected | None:
        match message:
            case SignedValue():
                return self._on_signed_value(message, sender)
            case BlockProposal():
                return self._on_proposal(message, sender, now_ns, out)
            case BlockVote():
                return self._on_signed(
                    _Signed(Phase.VOTE, message.view, message.digest, message.signature), sender, now_ns, out
                )
            case Finalize():
                return self._on_signed(
                    _Signed(Phase.FINALIZE, message.view, message.digest, message.signature), sender, now_ns, out
                )
            case LeaveView():
                return self._on_leave(message, sender, now_ns, out)
            case Certificates():
                return self._on_certificates(message, now_ns, out)
            case PullBlock():
                return self._on_pull_block(message, sender, now_ns, out)
            case Block():
                return self._on_block(message)
            case PullValues():
                return self._on_pull_values(message, sender, now_ns, out)
            case HeldValue():
                return self._on_held_value(message)
            case Lacking():
                return self._on_lacking(message, sender, now_ns, out)

    # R2
    def _on_signed_value(  # noqa: PLR0911 - one per mistake
        self, message: SignedValue, sender: int
    ) -> SimplexRejection | Rejected | None:
        if self.is_concluded:
            return SimplexRejection.HALTED
        digest = value_digest(self._training_round, sender, message.value)
        first = self._offers.get(sender)
        if first is not None and first[0] == digest:
            return SimplexRejection.REPEATED
        if message.parameter_digest != self._parameter_digest:
            return SimplexRejection.WRONG_PARAMETERS
        if not self._is_signed(Phase.VALUE, sender, digest, sender, message.signature):
            return SimplexRejection.BAD_SIGNATURE
        if first is not None:
            return SimplexRejection.EQUIVOCATION
        rejected = self._validate(message.value, sender)
        if rejected is not None:
            return rejected
        self._offers[sender] = (digest, message.signature)
        self._held[sender, digest] = message.value
        return None

    # R4, as far as it does not depend on time
    def _on_proposal(  # noqa: PLR0911 - one per mistake
        self, message: BlockProposal, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        view, digest = message.view, block_digest(self._training_round, message.entries)
        if sender != self.leader(view):
            return SimplexRejection.NOT_THE_LEADER
        if self.state.decided is not None:
            return SimplexRejection.HALTED if self._keep_if_wanted(digest, message.entries) else None
        if view < self.view:
            return SimplexRejection.OLD_VIEW
        first = self._proposals.get(view)
        if first is not None and first.digest == digest:
            return SimplexRejection.REPEATED
        if len(message.entries) < self._quorum or message.entries[-1][0] >= self._n_nodes:
            return SimplexRejection.BAD_ENTRIES
        if not self._is_signed(Phase.PROPOSE, view, digest, sender, message.signature):
            return SimplexRejection.BAD_SIGNATURE
        if first is not None:
            return SimplexRejection.EQUIVOCATION
        base = self._justification(message, digest)
        if base is None:
            return SimplexRejection.UNJUSTIFIED
        if not all(self._is_certificate(one) for one in message.certificates):
            return SimplexRejection.BAD_CERTIFICATE
        for (instance, entry), signature in zip(message.entries, message.entry_signatures, strict=False):
            if not self._is_signed(Phase.VALUE, instance, entry, instance, signature):
                return SimplexRejection.BAD_SIGNATURE
        self._proposals[view] = _Proposal(message.entries, digest, base or (sender,))
        self._blocks[digest] = message.entries
        for certificate in message.certificates:
            self._take_certificate(certificate, now_ns, out)
        return None

    def _justification(self, message: BlockProposal, digest: bytes) -> tuple[int, ...] | None:
        """Return some signers of the block's certificate, nobody if it is new; None if nothing justifies it."""
        certificates, first = message.certificates, 0
        sources: tuple[int, ...] = ()
        if certificates and certificates[0].phase == Phase.VOTE:
            base, certificates = certificates[0], certificates[1:]
            if base.digest != digest or base.view >= message.view:
                return None
            sources, first = self._some_signers(base), base.view + 1
        elif not message.entry_signatures:
            return None
        if len(certificates) != message.view - first:
            return None
        is_chain = all(one.phase == Phase.LEAVE and one.view == first + step for step, one in enumerate(certificates))
        return sources if is_chain else None

    # Slots: the first message counts.
    def _on_signed(  # noqa: PLR0911 - one per mistake
        self, signed: _Signed, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        phase, view = signed.phase, signed.view
        if view > self.view + WINDOW_VIEWS:
            return SimplexRejection.FUTURE_VIEW
        if view < self.view - WINDOW_VIEWS:
            return SimplexRejection.OLD_VIEW
        if self.state.decided is not None or (phase != Phase.FINALIZE and view < self.view):
            return None  # late, and of no use any more
        first = self._slots.setdefault((phase, view), {}).get(sender)
        if first is not None and first[0] == signed.digest:
            return SimplexRejection.REPEATED
        if not self._is_signed(phase, view, signed.digest, sender, signed.signature):
            return SimplexRejection.BAD_SIGNATURE
        if first is not None:
            return SimplexRejection.EQUIVOCATION
        self._count(signed, sender, now_ns, out)
        return None

    def _count(self, signed: _Signed, sender: int, now_ns: int, out: list[SimplexOutput]) -> None:
        slot = self._slots.setdefault((signed.phase, signed.view), {})
        slot[sender] = (signed.digest, signed.signature)
        if len(slot) < self._quorum:
            return
        same = tuple(sorted((node, one[1]) for node, one in slot.items() if one[0] == signed.digest))
        if len(same) == self._quorum:
            self._take_certificate(Certificate(signed.phase, signed.view, signed.digest, same), now_ns, out)

    # R7, R10
    def _on_leave(
        self, message: LeaveView, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        is_late = message.view < self.view
        if self.state.decided is None and not is_late:
            return self._on_signed(
                _Signed(Phase.LEAVE, message.view, NO_DIGEST, message.signature), sender, now_ns, out
            )
        if self.state.decided is not None:
            certificates: tuple[Certificate, ...] = (self.state.decided,)
        elif now_ns < self._entered_ns + SETTLE_DELAYS * self._delay_ns:
            return None  # it may have passed the view meanwhile; if not, it will say so again
        else:
            chain = (self.state.certificate, *self.state.leaves)
            certificates = tuple([one for one in chain if one is not None and one.view >= message.view])
        if not self._may_answer(sender, ("leave",), now_ns):
            return SimplexRejection.REPEATED
        out.append(Send(sender, Certificates(certificates)))
        return None

    def _on_certificates(self, message: Certificates, now_ns: int, out: list[SimplexOutput]) -> SimplexRejection | None:
        useful = [one for one in message.certificates if self._is_useful(one)]
        if not all(self._is_certificate(one) for one in useful):
            return SimplexRejection.BAD_CERTIFICATE
        for certificate in useful:
            self._take_certificate(certificate, now_ns, out)
        return None

    def _is_useful(self, certificate: Certificate) -> bool:
        if self.state.decided is not None:
            return False
        if certificate.phase == Phase.FINALIZE:
            return True
        base = self.state.certificate
        is_newer = base is None or certificate.view > base.view
        return is_newer and not (certificate.phase == Phase.LEAVE and certificate.view in self._leaves)

    # R5, R8, R11
    def _take_certificate(self, certificate: Certificate, now_ns: int, out: list[SimplexOutput]) -> None:
        """Take a verified certificate."""
        self._known.add((certificate.phase, certificate.view, certificate.digest))
        if not self._is_useful(certificate):
            return
        view, digest = certificate.view, certificate.digest
        if certificate.phase == Phase.FINALIZE:
            self._persist(replace(self.state, decided=certificate), out)
            self._forget_wants()
            return
        state = self.state
        if certificate.phase == Phase.LEAVE:
            self._leaves[view] = certificate
        else:
            self._leaves = {other: one for other, one in self._leaves.items() if other > view}
            state = replace(state, certificate=certificate)
        base = -1 if state.certificate is None else state.certificate.view
        chain: list[Certificate] = []
        while base + 1 + len(chain) in self._leaves:
            chain.append(self._leaves[base + 1 + len(chain)])
        state = replace(state, leaves=tuple(chain))
        is_finalized = certificate.phase == Phase.VOTE and view >= self.view and self._may_finalize(view)
        if is_finalized:
            state = replace(state, finalized=(view, digest))
        if state != self.state:
            self._persist(state, out)
        if state.view > self.view:
            self._enter(state.view, now_ns, out)
        if is_finalized:
            signature = self._sign(Phase.FINALIZE, view, digest)
            out.append(Broadcast(Finalize(view, digest, signature)))
            self._count(_Signed(Phase.FINALIZE, view, digest, signature), self.node, now_ns, out)

    def _may_finalize(self, view: int) -> bool:
        return self.state.left is None or self.state.left < view

    # R8
    def _enter(self, view: int, now_ns: int, out: list[SimplexOutput]) -> None:
        self.view = view
        self._entered_ns = now_ns
        base = self.state.certificate
        self._slots = {
            (phase, other): slot
            for (phase, other), slot in self._slots.items()
            if other >= view - (WINDOW_VIEWS if phase == Phase.FINALIZE else 0)
        }
        self._proposals = {other: one for other, one in self._proposals.items() if other >= view}
        kept = {one.digest for one in self._proposals.values()} | ({base.digest} if base is not None else set())
        kept |= {block_digest(self._training_round, entries) for entries in self.state.blocks}
        self._blocks = {digest: entries for digest, entries in self._blocks.items() if digest in kept}
        self._forget_values()
        self._forget_wants()
        self._settle_ns = None
        if base is not None and base.view == view - 1:
            self._settle_ns = now_ns + SETTLE_DELAYS * self._delay_ns
            out.append(SetTimer(self._settle_ns))
        self._set_deadline(now_ns, VIEW_DELAYS[min(view, len(VIEW_DELAYS) - 1)], out)

    def _forget_values(self) -> None:
        """Drop pulled values of blocks that are over."""
        kept = {entry for entries in self._blocks.values() for entry in entries}
        kept |= {(node, digest) for node, (digest, _) in self._offers.items()}
        self._held = {entry: value for entry, value in self._held.items() if entry in kept}

    # R3, R4, R7, R12, as far as they apply; a vote of this node's own may complete the next quorum.
    def _advance(self, now_ns: int, out: list[SimplexOutput]) -> None:
        while self.state.decided is None:
            before = self.view
            self._propose(now_ns, out)
            self._vote(now_ns, out)
            if len(self._slots.get((Phase.LEAVE, self.view), ())) >= self._blocking and self.state.left != self.view:
                self._leave(now_ns, out)
            if self.view == before:
                break
        if self.state.decided is not None and not self.is_concluded:
            self._conclude(self.state.decided, now_ns, out)
        self._asks_all = False

    # R3
    def _propose(self, now_ns: int, out: list[SimplexOutput]) -> None:
        view, last, base = self.view, self.state.proposed, self.state.certificate
        is_settled = self._settle_ns is None or now_ns >= self._settle_ns
        if self.node != self.leader(view) or (last is not None and last >= view) or not is_settled:
            return
        signatures: tuple[bytes, ...] = ()
        if base is not None:
            found = self._blocks.get(base.digest)
            if found is None:
                self._want_block(base.digest, self._some_signers(base), now_ns, out)
                return
            entries, sources = found, self._some_signers(base)
            certificates = (base, *self.state.leaves)
        else:
            is_complete = len(self._offers) == self._n_nodes or view > 0 or now_ns >= self._collect_until_ns
            if not is_complete or len(self._offers) < self._quorum:
                return
            offers = sorted(self._offers.items())
            entries, sources = tuple([(node, digest) for node, (digest, _) in offers]), (self.node,)
            signatures = tuple([signature for _, (_, signature) in offers])
            certificates = self.state.leaves
        digest = block_digest(self._training_round, entries)
        self._persist(replace(self.state, proposed=view), out)
        signature = self._sign(Phase.PROPOSE, view, digest)
        out.append(Broadcast(BlockProposal(view, entries, signatures, certificates, signature)))
        self._proposals[view] = _Proposal(entries, digest, sources)
        self._blocks[digest] = entries

    # R4
    def _vote(self, now_ns: int, out: list[SimplexOutput]) -> None:
        view, proposal, last = self.view, self._proposals.get(self.view), self.state.voted
        if proposal is None or (last is not None and last[0] >= view):
            return
        if not self._holds(proposal.entries):
            self._want_values(proposal.entries, proposal.sources, now_ns, out)
            return
        self._persist(self._keeping(replace(self.state, voted=(view, proposal.digest)), proposal.entries), out)
        signature = self._sign(Phase.VOTE, view, proposal.digest)
        out.append(Broadcast(BlockVote(view, proposal.digest, signature)))
        self._count(_Signed(Phase.VOTE, view, proposal.digest, signature), self.node, now_ns, out)

    def _keeping(self, state: SimplexState, entries: tuple[Vote, ...]) -> SimplexState:
        """Return a state that holds a block and its values."""
        if entries in state.blocks:
            return state
        kept = {entry for block in state.blocks for entry in block}
        values = tuple([(entry[0], self._held[entry]) for entry in entries if entry not in kept])
        return replace(state, blocks=(*state.blocks, entries), values=state.values + values)

    # R6, R7
    def _leave(self, now_ns: int, out: list[SimplexOutput]) -> None:
        view = self.view
        if self.state.left != view:
            self._persist(replace(self.state, left=view), out)
        own = self._slots.get((Phase.LEAVE, view), {}).get(self.node)
        signature = self._sign(Phase.LEAVE, view, NO_DIGEST) if own is None else own[1]
        out.append(Broadcast(LeaveView(view, signature)))
        if own is None:
            self._count(_Signed(Phase.LEAVE, view, NO_DIGEST, signature), self.node, now_ns, out)

    # R9
    def _hand_on(self, out: list[SimplexOutput]) -> None:
        base = self.state.certificate
        if base is None:
            return
        knowing = self._slots.get((Phase.FINALIZE, base.view), {})
        message = Certificates((base,))
        out += [Send(node, message) for node in range(self._n_nodes) if node not in knowing and node != self.node]

    # R12
    def _conclude(self, certificate: Certificate, now_ns: int, out: list[SimplexOutput]) -> None:
        base = self.state.certificate
        is_same = base is not None and base.digest == certificate.digest
        sources = self._some_signers(base if base is not None and is_same else certificate)
        entries = self._blocks.get(certificate.digest)
        if entries is None:
            self._want_block(certificate.digest, sources, now_ns, out)
            return
        if self.decided is None:
            self.decided = sum(1 << instance for instance, _ in entries)
            out.append(Decide(self.decided))
        for entry in entries:
            if entry in self._held and entry[0] not in self.delivered:
                self.delivered[entry[0]] = self._held[entry]
                out.append(Deliver(entry[0], self._held[entry]))
        if not self._holds(entries):
            self._want_values(entries, sources, now_ns, out)
            return
        state = self._keeping(self.state, entries)
        if state is not self.state:
            self._persist(state, out)  # whoever is late will ask for them
        self.is_concluded = True
        out.append(Conclude({instance: self.delivered[instance] for instance, _ in entries}))

    # R13
    def _holds(self, entries: tuple[Vote, ...]) -> bool:
        return all(entry in self._held for entry in entries)

    def _want_block(self, digest: bytes, sources: Iterable[int], now_ns: int, out: list[SimplexOutput]) -> None:
        if self._wanted_block != digest:
            self._wanted_block = digest
            self._ask(PullBlock(digest), sources, now_ns, out)

    def _want_values(
        self, entries: tuple[Vote, ...], sources: Iterable[int], now_ns: int, out: list[SimplexOutput]
    ) -> None:
        missing = tuple([entry for entry in entries if entry not in self._held])
        if not self._wanted.issuperset(missing):
            self._wanted.update(missing)
            self._ask(PullValues(missing), sources, now_ns, out)

    def _ask(
        self, message: PullBlock | PullValues, sources: Iterable[int], now_ns: int, out: list[SimplexOutput]
    ) -> None:
        if self._asks_all:
            out.append(Broadcast(message))
        else:
            out += [Send(node, message) for node in sources if node != self.node]
        if self._ask_ns is None:
            self._ask_ns = now_ns + RESEND_DELAYS * self._delay_ns
            out.append(SetTimer(self._ask_ns))

    def _some_signers(self, certificate: Certificate) -> tuple[int, ...]:
        others = [node for node, _ in certificate.signatures if node != self.node]
        return tuple(others[: self._blocking])

    def _forget_wants(self) -> None:
        self._wanted.clear()
        self._wanted_block = None

    def _keep_if_wanted(self, digest: bytes, entries: tuple[Vote, ...]) -> SimplexRejection | None:
        if digest != self._wanted_block:
            return SimplexRejection.NOT_WANTED
        self._wanted_block = None
        self._blocks[digest] = entries
        return None

    def _on_block(self, message: Block) -> SimplexRejection | None:
        return self._keep_if_wanted(block_digest(self._training_round, message.entries), message.entries)

    def _on_held_value(self, message: HeldValue) -> SimplexRejection | Rejected | None:
        entry = (message.instance, value_digest(self._training_round, message.instance, message.value))
        if entry not in self._wanted:
            return SimplexRejection.NOT_WANTED
        if entry in self._held:
            return None  # several were asked
        rejected = self._validate(message.value, message.instance)
        if rejected is None:
            self._held[entry] = message.value
        return rejected

    def _on_pull_block(
        self, message: PullBlock, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        entries = self._blocks.get(message.digest)
        if entries is None:
            return SimplexRejection.NOT_HELD
        if not self._may_answer(sender, (message.digest,), now_ns):
            return SimplexRejection.REPEATED
        out.append(Send(sender, Block(entries)))
        return None

    def _on_pull_values(
        self, message: PullValues, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        held = [entry for entry in message.entries if entry in self._held]
        if not held:
            return SimplexRejection.NOT_HELD
        answered = [entry for entry in held if self._may_answer(sender, entry, now_ns)]
        out += [Send(sender, HeldValue(entry[0], self._held[entry])) for entry in answered]
        return None if answered else SimplexRejection.REPEATED

    # R14
    def _ask_for_values(self, out: list[SimplexOutput]) -> None:
        if len(self._offers) < self._quorum:
            out.append(Broadcast(Lacking(sum(1 << node for node in range(self._n_nodes) if node not in self._offers))))

    def _on_lacking(
        self, message: Lacking, sender: int, now_ns: int, out: list[SimplexOutput]
    ) -> SimplexRejection | None:
        if message.members >> self._n_nodes:
            return SimplexRejection.UNKNOWN_INSTANCE
        if not message.members >> self.node & 1 or self.state.value is None:
            return None
        if not self._may_answer(sender, ("lacking",), now_ns):
            return SimplexRejection.REPEATED
        out.append(Send(sender, SignedValue(self.state.value, self._parameter_digest, self.state.signature)))
        return None

    def _may_answer(self, sender: int, what: tuple[object, ...], now_ns: int) -> bool:
        """Tell whether to answer; honest nodes ask again after 2 D, which arrives no sooner than D after the first."""
        last = self._answered_ns.get((sender, *what))
        if last is not None and now_ns < last + self._delay_ns:
            return False
        self._answered_ns[sender, *what] = now_ns
        return True

    # After a restart everything is said again that was promised and may not have arrived.
    def _resume(self, now_ns: int, out: list[SimplexOutput]) -> None:
        state = self.state
        if state.decided is not None:
            return
        self._ask_for_values(out)
        if state.certificate is not None and state.certificate.view == self.view - 1:
            self._settle_ns = now_ns + SETTLE_DELAYS * self._delay_ns
            out.append(SetTimer(self._settle_ns))
        if state.voted is not None and state.voted[0] == self.view:
            view, digest = state.voted
            signature = self._sign(Phase.VOTE, view, digest)
            out.append(Broadcast(BlockVote(view, digest, signature)))
            self._count(_Signed(Phase.VOTE, view, digest, signature), self.node, now_ns, out)
        if state.finalized is not None:
            view, digest = state.finalized
            signature = self._sign(Phase.FINALIZE, view, digest)
            out.append(Broadcast(Finalize(view, digest, signature)))
            self._count(_Signed(Phase.FINALIZE, view, digest, signature), self.node, now_ns, out)
        if state.left == self.view:
            self._leave(now_ns, out)

    # Signatures
    def _sign(self, phase: Phase, number: int, digest: bytes) -> bytes:
        message = statement(phase, self._training_round, self._parameter_digest, number, digest)
        signature = self._signer.sign(message)
        self._remember(self.node, message, signature)
        return signature

    def _is_signed(self, phase: Phase, number: int, digest: bytes, node: int, signature: bytes) -> bool:
        message = statement(phase, self._training_round, self._parameter_digest, number, digest)
        if (node, message, signature) in self._verified:
            return True
        if not self._signer.verify(node, message, signature):
            return False
        self._remember(node, message, signature)
        return True

    def _remember(self, node: int, message: bytes, signature: bytes) -> None:
        if len(self._verified) >= self._most_verified:
            del self._verified[next(iter(self._verified))]
        self._verified[node, message, signature] = None

    def _is_certificate(self, certificate: Certificate) -> bool:
        if (certificate.phase, certificate.view, certificate.digest) in self._known:
            return True
        nodes = [node for node, _ in certificate.signatures]  # strictly increasing, so each counts once
        return (
            len(nodes) >= self._quorum
            and nodes[-1] < self._n_nodes
            and all(
                self._is_signed(certificate.phase, certificate.view, certificate.digest, node, signature)
                for node, signature in certificate.signatures
            )
        )

    def _persist(self, state: SimplexState, out: list[SimplexOutput]) -> None:
        self.state = state
        out.append(Persist(state))

    def _set_deadline(self, now_ns: int, delays: int, out: list[SimplexOutput]) -> None:
        self._deadline_ns = now_ns + delays * self._delay_ns
        out.append(SetTimer(self._deadline_ns))
