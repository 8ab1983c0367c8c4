"""A seeded network that tries to break Simplex, and the invariants that it must not break.

The network is that of `ceas.runtime.agreement_network`: until it becomes stable it loses, repeats, delays and reorders
messages, cuts groups off from each other, and stops honest nodes at any `Persist`; from then on every message arrives
within D. A node that starts again is given another value than before, and must stay with the one it has signed. What f
Byzantine nodes do, each draws; together they know all evidence that one of them has come by, and each signs for itself:

    silent    says nothing
    twins     two honest machines under one identity, each with other peers and another value
    mutant    an honest machine whose messages are changed a little, differently for each receiver, and signed anew if
              it can: view, digest, phase, entries; missing, short or forged certificates; old messages for new ones
    splitter  an honest machine that tells two groups two things: two values, two proposals as a leader, two votes, and
              that asks to leave views that it finalises
    echo      agrees with whoever speaks, finalises and leaves every view, and proposes by evidence that is true and old
    liar      says anything that is well formed, with forged signatures among it

Invariants, over what honest nodes sent and wrote:

    OneValue, OneProposal, OneVote, OneFinalize   of these an honest node signs one each (a view), over restarts too
    UniqueCertificate      certificates of votes that honest nodes hold are for one block a view
    Backed                 behind every certificate that an honest node holds or shows are enough honest nodes
    NoFinalizeAfterLeave   nobody both finalises and leaves a view
    JustifiedVote          whoever votes: the block is certified in a view before, and every view between was left
    VoteHolds              whoever votes for a block has written it, of a quorum of nodes, and all its values
    Persisted              nothing is sent that the state written last does not hold
    Agreement, Validity    all conclude with the same bytes, of a quorum of nodes, honest ones' as they signed them
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from ceas.authentication import Rejected
from ceas.consensus import (
    NO_DIGEST,
    Block,
    BlockProposal,
    BlockVote,
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
    SignedValue,
    Signer,
    SimplexMessage,
    SimplexRound,
    SimplexState,
    block_digest,
    decode_simplex,
    decode_simplex_state,
    encode_simplex,
    encode_simplex_state,
    statement,
    value_digest,
)
from ceas.runtime.agreement_network import DELAY, Place, ScheduleResult, ScheduleRun, draw_size
from ceas.streams import stream_seed

__all__ = ["MakeSigner", "MakeSimplex", "SimplexOracle", "TagSigner", "run_simplex_schedule"]

_CONDUCTS: Final = ("silent", "twins", "mutant", "mutant", "splitter", "splitter", "echo", "echo", "liar")
# A view that fails takes 15 D, up to 2 D until it is said again, and 4 D until all are in the next one.
_VIEW: Final = 21 * DELAY
_VIEWS_TO_SPARE: Final = 3
_MEMORY: Final = 100
_BAD: Final = b"bad"
_PARAMETERS: Final = hashlib.sha256(b"parameters").digest()

MakeSimplex = Callable[..., SimplexRound]
"""Makes one node's machine from the keyword arguments of `SimplexRound`."""
MakeSigner = Callable[[int], Signer]
"""Makes the signer of a node."""


class TagSigner:
    """Stands in for signatures in schedules: tags of 8 bytes; only the node's own code makes its tags."""

    def __init__(self, node: int) -> None:
        self._node = node

    def sign(self, message: bytes) -> bytes:
        """Return this node's tag."""
        return self._tag(self._node, message)

    def verify(self, node: int, message: bytes, signature: bytes) -> bool:
        """Tell whether this is a node's tag."""
        return signature == self._tag(node, message)

    @staticmethod
    def _tag(node: int, message: bytes) -> bytes:
        return hashlib.blake2b(message, digest_size=8, key=node.to_bytes(2, "big")).digest()


@dataclass(slots=True)
class SimplexOracle:
    """The invariants, over what honest nodes sent and wrote.

    Args:
        n_nodes: Nodes.
        tolerated_byzantine: f, and as many nodes are Byzantine.
        training_round: Training round.
        honest: Honest nodes.
    """

    n_nodes: int
    tolerated_byzantine: int
    training_round: int
    honest: tuple[int, ...]
    violations: list[str] = field(default_factory=list)
    decisions: dict[int, dict[int, bytes]] = field(default_factory=dict)
    highest_view: int = 0
    _values: dict[int, bytes] = field(default_factory=dict)
    _said: dict[tuple[str, int, int], bytes] = field(default_factory=dict)  # (what, node, view) -> digest
    _signers: dict[tuple[Phase, int, bytes], set[int]] = field(default_factory=dict)
    _certified: dict[int, bytes] = field(default_factory=dict)

    def sent(self, node: int, message: SimplexMessage, stored: SimplexState | None) -> None:
        """Take a message of an honest node, and the state that it had written last when it sent it."""
        state = SimplexState() if stored is None else stored
        match message:
            case SignedValue():
                self._check("Persisted", state.value == message.value, node, message)
                self._check("OneValue", self._values.setdefault(node, message.value) == message.value, node, message)
            case BlockProposal():
                self._check("Persisted", state.proposed == message.view, node, message)
                digest = block_digest(self.training_round, message.entries)
                self._once("OneProposal", node, message.view, digest)
                for certificate in message.certificates:
                    self._shown(node, certificate)
            case BlockVote():
                self._voted(node, message, state)
            case Finalize():
                holds = state.finalized is not None and state.finalized[0] >= message.view
                self._check("Persisted", holds, node, message)
                self._once("OneFinalize", node, message.view, message.digest)
                self._check("NoFinalizeAfterLeave", ("left", node, message.view) not in self._said, node, message)
                self._check("Backed", self._is_backed(Phase.VOTE, message.view, message.digest), node, message)
                self._signed(node, Phase.FINALIZE, message.view, message.digest)
            case LeaveView():
                self._check("Persisted", state.left is not None and state.left >= message.view, node, message)
                finalized = ("OneFinalize", node, message.view) in self._said
                self._check("NoFinalizeAfterLeave", not finalized, node, message)
                self._said["left", node, message.view] = NO_DIGEST
                self._signed(node, Phase.LEAVE, message.view, NO_DIGEST)
            case Certificates():
                for certificate in message.certificates:
                    self._shown(node, certificate)
            case _:
                pass

    def wrote(self, node: int, state: SimplexState) -> None:
        """Take a state that an honest node writes."""
        for certificate in (state.certificate, state.decided, *state.leaves):
            if certificate is not None:
                self._shown(node, certificate)

    def concluded(self, node: int, values: Mapping[int, bytes]) -> None:
        """Take what an honest node concludes with."""
        other = next(iter(self.decisions.values()), values)
        self._check("Agreement", dict(other) == dict(values), node, sorted(values))
        self._check("Validity", len(values) >= self._quorum, node, sorted(values))
        for member, value in values.items():
            is_own = member not in self.honest or self._values.get(member) == value
            self._check("Validity", is_own and not value.startswith(_BAD), node, (member, value))
        self.decisions[node] = dict(values)

    def _voted(self, node: int, vote: BlockVote, state: SimplexState) -> None:
        last = state.voted
        self._check("Persisted", last is not None and last >= (vote.view, b""), node, vote)
        self._once("OneVote", node, vote.view, vote.digest)
        held = {value_digest(self.training_round, *one) for one in state.values}
        blocks = [one for one in state.blocks if block_digest(self.training_round, one) == vote.digest]
        holds = bool(blocks) and len(blocks[0]) >= self._quorum and all(digest in held for _, digest in blocks[0])
        self._check("VoteHolds", holds, node, vote)
        for member, digest in blocks[0] if blocks else ():
            if member in self.honest:
                signed = self._values.get(member)
                is_own = signed is not None and value_digest(self.training_round, member, signed) == digest
                self._check("Validity", is_own, node, vote)
        before = vote.view - 1
        while before >= 0 and not self._is_backed(Phase.VOTE, before, vote.digest):
            if not self._is_backed(Phase.LEAVE, before, NO_DIGEST):
                self._check("JustifiedVote", False, node, vote)
                break
            before -= 1
        self._signed(node, Phase.VOTE, vote.view, vote.digest)

    def _shown(self, node: int, certificate: Certificate) -> None:
        phase, view, digest = certificate.phase, certificate.view, certificate.digest
        self._check("Backed", self._is_backed(phase, view, digest), node, (phase.name, view, digest.hex()))
        if phase == Phase.VOTE:
            self._check("UniqueCertificate", self._certified.setdefault(view, digest) == digest, node, view)

    def _signed(self, node: int, phase: Phase, view: int, digest: bytes) -> None:
        self._signers.setdefault((phase, view, digest), set()).add(node)
        self.highest_view = max(self.highest_view, view)

    def _is_backed(self, phase: Phase, view: int, digest: bytes) -> bool:
        n_byzantine = self.n_nodes - len(self.honest)
        return len(self._signers.get((phase, view, digest), ())) + n_byzantine >= self._quorum

    @property
    def _quorum(self) -> int:
        return self.n_nodes - self.tolerated_byzantine

    def _once(self, what: str, node: int, view: int, digest: bytes) -> None:
        self._check(what, self._said.setdefault((what, node, view), digest) == digest, node, view)

    def _check(self, invariant: str, holds: bool, node: int, what: object) -> None:
        if not holds:
            self.violations.append(f"{invariant}: node {node}, {str(what)[:200]}")


def run_simplex_schedule(
    seed: int,
    *,
    n_nodes: int | None = None,
    smallest: int = 4,
    largest: int = 16,
    make_round: MakeSimplex = SimplexRound,
    make_signer: MakeSigner = TagSigner,
    conducts: tuple[str, ...] = _CONDUCTS,
) -> ScheduleResult:
    """Run one schedule, drawn from its seed.

    Args:
        seed: Seed of the schedule.
        n_nodes: Nodes; drawn when None.
        smallest: Fewest nodes drawn, at least 4.
        largest: Most nodes drawn; n nodes are as likely as 1 / n^2, so every size gets the same work.
        make_round: Maker of the machine under test.
        make_signer: Maker of each node's signer.
        conducts: What Byzantine nodes may do; each draws one.

    Raises:
        DomainError: `smallest`, `largest` or `n_nodes` is outside its range.
    """
    rng = random.Random(stream_seed(seed, "simplex schedule"))
    n_nodes = draw_size(rng, n_nodes, smallest, largest)
    return _SimplexRun(seed, n_nodes, rng, make_round, conducts, make_signer).finish()


class _SimplexRun(ScheduleRun):
    """One schedule under way."""

    part = "simplex"
    oracle: SimplexOracle  # type: ignore[assignment]

    def __init__(  # noqa: PLR0917 - as the schedule of the agreement
        self,
        seed: int,
        n_nodes: int,
        rng: random.Random,
        make_round: MakeSimplex,
        conducts: tuple[str, ...],
        make_signer: MakeSigner,
    ) -> None:
        self.signers = [make_signer(node) for node in range(n_nodes)]
        super().__init__(seed, n_nodes, rng, make_round, conducts)
        self.heard: list[SimplexMessage] = [LeaveView(0, b"")] * _MEMORY  # type: ignore[assignment]
        # What Byzantine nodes know together: signed values, blocks, certificates, and how proposals were split.
        self.offers: dict[int, list[tuple[bytes, bytes]]] = {}
        self.known_values: dict[tuple[int, bytes], bytes] = {}
        self.digests: list[bytes] = [hashlib.sha256(b"no block").digest()]
        self.evidence: dict[tuple[Phase, int], Certificate] = {}
        self.signatures: dict[tuple[Phase, int, bytes], dict[int, bytes]] = {}
        self.splits: dict[tuple[int, int], bytes] = {}

    def _longest(self) -> int:
        return (self.tolerated + 1 + _VIEWS_TO_SPARE) * _VIEW

    # What is drawn before it starts.
    def _make_oracle(self, honest: tuple[int, ...]) -> Any:
        return SimplexOracle(self.n_nodes, self.tolerated, self.training_round, honest)

    def _has_machine(self, conduct: str) -> bool:
        return conduct in ("honest", "twins", "mutant", "splitter")

    def _machine(self, node: int, restored: Any = None) -> Any:
        is_honest = node in self.oracle.honest
        return self.make_machine(
            node=node,
            n_nodes=self.n_nodes,
            tolerated_byzantine=self.tolerated,
            training_round=self.training_round,
            parameter_digest=_PARAMETERS,
            delay_bound_ns=DELAY,
            validate=_validate if is_honest else _accept,
            signer=self.signers[node],
            restored=restored,
        )

    def _plan(self, byzantine: set[int]) -> None:
        """There is no broadcast beside it whose deliveries would have to be planned."""

    # What happens.
    def _begin(self, place: Place) -> list[Any]:
        value = b"value %d of %d, life %d" % (self.places.index(place), place.node, place.life)
        if not place.is_honest and self.rng.random() < 0.2:
            value = _BAD + value
        out: list[Any] = place.machine.start(value, self.now)
        return out

    def _do(self, place: Place, output: Any) -> None:
        if isinstance(output, Persist):
            if place.is_honest:
                self.oracle.wrote(place.node, output.state)
            else:
                self._learn(output.state)
        super()._do(place, output)

    def _note(self, place: Place, output: Any) -> None:
        if isinstance(output, Conclude):
            self.oracle.concluded(place.node, output.values)
            self.decided_at = max(self.decided_at, self.now)
        elif isinstance(output, Decide):
            members = self.oracle.decisions.get(place.node)
            if members is not None and sum(1 << one for one in members) != output.members:
                self.oracle.violations.append(f"Agreement: node {place.node} decided {output.members:#x} anew")

    def _reread(self, stored: Any) -> SimplexState:
        return decode_simplex_state(encode_simplex_state(stored))

    def _said(self, place: Place, message: Any) -> None:
        self.oracle.sent(place.node, message, place.stored)

    def _transmit(self, source: int, destination: int, message: Any, later: int = 0) -> None:
        # Every message goes through its bytes; equal ones, as those of a broadcast, once in a row.
        if message is not self.last_sent:
            self.last_sent = message
            decoded = decode_simplex(*encode_simplex(message), source)
            if isinstance(decoded, Rejected):
                raise AssertionError(f"canonical bytes of {message} were rejected: {decoded}")
            self.last_decoded = decoded  # type: ignore[assignment]
        for delay in self._delays(source, destination):
            for place in self.places_of[destination]:
                if place.peers >> source & 1:
                    self._at(self.now + later + delay, partial(self._arrive, place, self.last_decoded, source))

    # What Byzantine nodes know.
    def _hear(self, message: Any) -> None:
        self.heard[self.n_heard % len(self.heard)] = message
        self.n_heard += 1
        match message:
            case BlockProposal():
                self._know_block(message.entries)
                for certificate in message.certificates:
                    self.evidence[certificate.phase, certificate.view] = certificate
            case Certificates():
                for certificate in message.certificates:
                    self.evidence[certificate.phase, certificate.view] = certificate
            case _:
                pass

    def _overhear(self, message: Any, sender: int) -> None:
        """Keep what an honest node has signed: values, and parts of certificates."""
        match message:
            case SignedValue():
                digest = value_digest(self.training_round, sender, message.value)
                offers = self.offers.setdefault(sender, [])
                if all(one[0] != digest for one in offers):
                    offers.append((digest, message.signature))
                    self.known_values[sender, digest] = message.value
            case BlockVote():
                self._keep_signature((Phase.VOTE, message.view, message.digest), sender, message.signature)
            case Finalize():
                self._keep_signature((Phase.FINALIZE, message.view, message.digest), sender, message.signature)
            case LeaveView():
                self._keep_signature((Phase.LEAVE, message.view, NO_DIGEST), sender, message.signature)
            case _:
                pass

    def _keep_signature(self, key: tuple[Phase, int, bytes], sender: int, signature: bytes) -> None:
        signatures = self.signatures.setdefault(key, {})
        signatures[sender] = signature
        if len(signatures) == self.n_nodes - 2 * self.tolerated:
            self.evidence.setdefault((key[0], key[1]), self._collusion(key))

    def _learn(self, state: SimplexState) -> None:
        for certificate in (state.certificate, state.decided, *state.leaves):
            if certificate is not None:
                self.evidence[certificate.phase, certificate.view] = certificate
        for entries in state.blocks:
            self._know_block(entries)

    def _know_block(self, entries: tuple[tuple[int, bytes], ...]) -> None:
        digest = block_digest(self.training_round, entries)
        if digest not in self.digests:
            self.digests.append(digest)

    def _arrive(self, place: Place, message: Any, sender: int) -> None:
        if not place.is_honest and self.places_of[sender][0].is_honest:
            self._overhear(message, sender)
            if isinstance(message, PullValues) and place.conduct != "silent":
                held = [one for one in message.entries if one in self.known_values]
                for one in held:
                    self._transmit(place.node, sender, HeldValue(one[0], self.known_values[one]))
        super()._arrive(place, message, sender)

    # What they say.
    def _sign(self, node: int, phase: Phase, number: int, digest: bytes) -> bytes:
        return self.signers[node].sign(statement(phase, self.training_round, _PARAMETERS, number, digest))

    def _say_as(self, place: Place, destination: int, message: Any) -> None:
        if place.conduct == "splitter":
            for one in self._split(place, destination, message):
                self._transmit(place.node, destination, one)
        elif self.rng.random() < 0.4:
            changed = self._changed(place.node, message)
            if changed is not None:
                self._transmit(place.node, destination, changed)
        else:
            self._transmit(place.node, destination, message)

    def _split(self, place: Place, destination: int, message: Any) -> list[SimplexMessage]:
        """Tell a group the one thing, the others another."""
        node = place.node
        place.few = place.few or 1 << self.n_nodes | self.rng.getrandbits(self.n_nodes)
        is_first = bool(place.few >> destination & 1)
        match message:
            case SignedValue() if not is_first:
                return [self._own_value(node, b"other value of %d" % node)]
            case BlockProposal() if not is_first:
                return [self._other_proposal(node, message)]
            case BlockVote() | Finalize():
                digest = message.digest if is_first else self.splits.get((message.view, 0), message.digest)
                changed = self._spoken(type(message), node, message.view, digest)
                extra = self.rng.choice((Finalize, LeaveView, BlockVote))
                return [changed, self._spoken(extra, node, message.view, digest)]
            case _:
                return [message]

    def _other_proposal(self, node: int, message: BlockProposal) -> SimplexMessage:
        if not message.entry_signatures:
            return message
        entries, signatures = list(message.entries), list(message.entry_signatures)
        if len(entries) > self.n_nodes - self.tolerated:
            left_out = self.rng.randrange(len(entries))
            del entries[left_out], signatures[left_out]
        else:
            other = self._own_value(node, b"other value of %d" % node)
            digest = value_digest(self.training_round, node, other.value)
            for index, (instance, _) in enumerate(entries):
                if instance == node:
                    entries[index], signatures[index] = (node, digest), other.signature
        digest = block_digest(self.training_round, tuple(entries))
        self.splits[message.view, 0] = digest
        self._know_block(tuple(entries))
        signature = self._sign(node, Phase.PROPOSE, message.view, digest)
        return BlockProposal(message.view, tuple(entries), tuple(signatures), message.certificates, signature)

    def _own_value(self, node: int, value: bytes) -> SignedValue:
        digest = value_digest(self.training_round, node, value)
        signature = self._sign(node, Phase.VALUE, node, digest)
        self.known_values[node, digest] = value
        return SignedValue(value, _PARAMETERS, signature)

    def _spoken(self, kind: type[Any], node: int, view: int, digest: bytes) -> SimplexMessage:
        if kind is LeaveView:
            return LeaveView(view, self._sign(node, Phase.LEAVE, view, NO_DIGEST))
        phase = Phase.VOTE if kind is BlockVote else Phase.FINALIZE
        spoken: SimplexMessage = kind(view, digest, self._sign(node, phase, view, digest))
        return spoken

    def _changed(self, node: int, message: Any) -> SimplexMessage | None:  # noqa: PLR0911 - one per kind
        """Change a correct message a little; None loses it."""
        draw = self.rng.random()
        if draw < 0.25:
            return None if draw < 0.1 else self.rng.choice(self.heard[: max(1, self.n_heard)])
        match message:
            case BlockProposal() if draw < 0.6:
                proposal = self._any_proposal(node, message.view)
                return message if proposal is None else proposal
            case BlockVote() | Finalize() | LeaveView():
                digest = NO_DIGEST if isinstance(message, LeaveView) else message.digest
                if draw < 0.4:
                    return replace(message, signature=self._forged())
                kind = self.rng.choice((BlockVote, Finalize, LeaveView)) if draw < 0.6 else type(message)
                view = max(0, message.view + self.rng.choice((-1, 0, 1)))
                return self._spoken(kind, node, view, self._any_digest() if draw < 0.8 else digest)
            case BlockProposal():
                return self._changed_proposal(node, message, self.rng.random())
            case SignedValue():
                other = self._own_value(node, self.rng.choice((b"third", _BAD)))
                return other if draw < 0.7 else replace(message, signature=self._forged())
            case Certificates():
                return Certificates(tuple(self._changed_certificate(node, one) for one in message.certificates))
            case HeldValue():
                return replace(message, value=message.value + b"!")
            case Block() if len(message.entries) > 1:
                return Block(message.entries[1:])
            case _:
                return message  # type: ignore[no-any-return]

    def _changed_proposal(self, node: int, message: BlockProposal, draw: float) -> SimplexMessage:
        view, entries, certificates = message.view, message.entries, message.certificates
        signatures = message.entry_signatures
        if draw < 0.4 and certificates:
            index = self.rng.randrange(len(certificates))
            changed = [self._changed_certificate(node, certificates[index])] if draw < 0.2 else []
            certificates = (*certificates[:index], *changed, *certificates[index + 1 :])
        elif draw < 0.8:
            index = self.rng.randrange(len(entries))
            digest = self._any_digest() if draw < 0.7 else value_digest(self.training_round, entries[index][0], b"none")
            entries = (*entries[:index], (entries[index][0], digest), *entries[index + 1 :])
        elif len(entries) > 1:
            entries, signatures = entries[1:], signatures[1:]
        else:
            view += 1
        signature = self._sign(node, Phase.PROPOSE, view, block_digest(self.training_round, entries))
        return BlockProposal(view, entries, signatures, certificates, signature)

    def _changed_certificate(self, node: int, one: Certificate) -> Certificate:
        """Take a signature out, put a forged one in, or claim that it is of something else."""
        draw, signatures = self.rng.random(), list(one.signatures)
        if draw > 0.85:
            return self._colluded_certificate(one.view)
        index = self.rng.randrange(len(signatures))
        if draw < 0.3 and len(signatures) > 1:
            del signatures[index]
            return replace(one, signatures=tuple(signatures))
        if draw < 0.5:
            signatures[index] = (signatures[index][0], self._forged())
            return replace(one, signatures=tuple(signatures))
        if draw < 0.7:
            return replace(one, view=one.view + 1)
        return self._forged_certificate(node, one.view)

    def _colluded_certificate(self, view: int) -> Certificate:
        """Put together what was overheard with signatures of all Byzantine nodes; it may be one short of a quorum."""
        keys = [key for key in self.signatures if key[1] >= view - 1]
        return self._collusion(self.rng.choice(keys) if keys else (Phase.LEAVE, view, NO_DIGEST))

    def _collusion(self, key: tuple[Phase, int, bytes]) -> Certificate:
        signatures = dict(self.signatures.get(key, {}))
        for other in range(self.n_nodes):
            if not self.places_of[other][0].is_honest:
                signatures[other] = self._sign(other, *key)
        return Certificate(*key, tuple(sorted(signatures.items()))[: self.n_nodes - self.tolerated])

    def _forged_certificate(self, node: int, view: int) -> Certificate:
        """Claim a quorum, with the own signature and others' under other statements."""
        phase = self.rng.choice((Phase.VOTE, Phase.FINALIZE, Phase.LEAVE))
        digest = NO_DIGEST if phase == Phase.LEAVE else self._any_digest()
        signers = sorted(self.rng.sample(range(self.n_nodes), self.n_nodes - self.tolerated))
        own = self._sign(node, phase, view, digest)
        return Certificate(phase, view, digest, tuple((one, own if one == node else self._forged()) for one in signers))

    def _any_proposal(self, node: int, view: int) -> SimplexMessage | None:
        """Propose by true evidence that may be old, or with a gap in it; None where there is none."""
        base, chain, first = None, [], view
        while first > 0:
            leave = self.evidence.get((Phase.LEAVE, first - 1))
            vote = self.evidence.get((Phase.VOTE, first - 1))
            if vote is not None and self.rng.random() < (0.4 if leave is None else 0.5):
                base = vote
                break
            if leave is None:
                if vote is None:
                    return None
                break  # what was certified is passed over, with nothing to show for it
            chain.append(leave)
            first -= 1
        certificates = (*(() if base is None else (base,)), *reversed(chain))
        entries, signatures = self._any_entries(node)
        if base is not None:
            blocks = [one.entries for one in self.heard if isinstance(one, BlockProposal)]
            same = [one for one in blocks if block_digest(self.training_round, one) == base.digest]
            entries, signatures = (same[0] if same and self.rng.random() < 0.8 else entries), ()
        if not entries:
            return None
        signature = self._sign(node, Phase.PROPOSE, view, block_digest(self.training_round, entries))
        return BlockProposal(view, entries, signatures, certificates, signature)

    def _any_entries(self, node: int) -> tuple[tuple[tuple[int, bytes], ...], tuple[bytes, ...]]:
        own = self._own_value(node, b"proposed by %d" % node)
        drawn = {instance: self.rng.choice(offers) for instance, offers in self.offers.items()}
        drawn[node] = (value_digest(self.training_round, node, own.value), own.signature)
        size = min(len(drawn), self.n_nodes - self.tolerated + self.rng.choice((-1, 0, 0, 0, self.tolerated)))
        members = sorted(self.rng.sample(sorted(drawn), size))
        if self.rng.random() < 0.2:
            # A value that its node never had, which whoever votes for it can be given.
            one, value = self.rng.choice(members), b"made up"
            digest = value_digest(self.training_round, one, value)
            drawn[one], self.known_values[one, digest] = (digest, self._forged()), value
        return tuple((one, drawn[one][0]) for one in members), tuple(drawn[one][1] for one in members)

    def _echo(self, place: Place, message: Any, sender: int) -> None:
        """Agree with whoever speaks, and with nobody else."""
        node, answers = place.node, []
        match message:
            case BlockVote() | Finalize():
                answers = [
                    self._spoken(kind, node, message.view, message.digest) for kind in (BlockVote, Finalize, LeaveView)
                ]
                view = message.view + 1
                proposal = self._any_proposal(node, view) if self._leads(node, view) else None
                answers += [] if proposal is None else [proposal]
            case BlockProposal():
                digest = block_digest(self.training_round, message.entries)
                answers = [self._spoken(kind, node, message.view, digest) for kind in (BlockVote, Finalize)]
            case LeaveView():
                answers = [self._spoken(LeaveView, node, message.view, NO_DIGEST)]
                if self.rng.random() < 0.3:
                    answers = [Certificates((self._colluded_certificate(message.view),))]
                view = message.view + self.rng.choice((0, 1))
                proposal = self._any_proposal(node, view) if self._leads(node, view) else None
                answers += [] if proposal is None else [proposal]
            case SignedValue():
                answers = [self._own_value(node, b"for %d" % (sender if self.rng.random() < 0.5 else 0))]
                proposal = self._any_proposal(node, 0) if self._leads(node, 0) and self.rng.random() < 0.5 else None
                answers += [] if proposal is None else [proposal]
            case _:
                pass
        for answer in answers:
            if self.rng.random() < 0.8:
                self._transmit(node, sender, answer)

    def _leads(self, node: int, view: int) -> bool:
        return (self.training_round + view) % self.n_nodes == node

    def _any_message(self, place: Place, view: int) -> Any:
        node, draw = place.node, self.rng.random()
        led = [one for one in (view, view + 1) if self._leads(node, one)]
        if led and draw < 0.6:
            proposal = self._any_proposal(node, led[0])
            return LeaveView(view, self._forged()) if proposal is None else proposal
        if draw < 0.6:
            kind = self.rng.choice((BlockVote, Finalize, LeaveView))
            spoken: Any = self._spoken(kind, node, view, self._any_digest())
            return spoken if draw < 0.5 else replace(spoken, signature=self._forged())
        if draw < 0.8:
            some = self.rng.sample(sorted(self.evidence), min(2, len(self.evidence)))
            shown = [self._changed_certificate(node, self.evidence[one]) for one in some]
            return Certificates((*shown, self._forged_certificate(node, view))[: self.rng.randint(1, 3)])
        if draw < 0.85:
            return Certificates((self._colluded_certificate(view),))
        if draw < 0.9:
            return self._own_value(node, self.rng.choice((b"one", b"two", _BAD)))
        asked = tuple((one, offers[0][0]) for one, offers in sorted(self.offers.items()))
        everybody = Lacking((1 << self.n_nodes) - 1)
        return self.rng.choice((PullBlock(self._any_digest()), PullValues(asked) if asked else everybody, everybody))

    def _any_digest(self) -> bytes:
        return self.rng.choice(self.digests)

    def _forged(self) -> bytes:
        return self.rng.randbytes(8)


def _validate(value: bytes, proposer: int) -> Rejected | None:
    return Rejected(proposer, "bad value") if value.startswith(_BAD) else None


def _accept(value: bytes, proposer: int) -> None:
    """Accept any value."""
