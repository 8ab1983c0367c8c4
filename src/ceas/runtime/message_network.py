"""A seeded message network in one process: n machines of a round's consensus, authenticated links, one event queue.

A frame arrives `latency + processing delay + jitter` after it was sent, jitter being uniform in [0, jitter bound]. The
bound on that sum, the tick, is what the nodes' timers are made of; agreement does not rest on it. Time is integer
nanoseconds; events are ordered by (time, sequence number), so equal seeds give equal traces.

Where too few nodes have key for a round it does not begin: it is paused, and sends nothing. Nodes without key for it
are absent from a round that begins, like nodes that have crashed: nothing is expected of them, and they catch up when
they have key again. A round lasts until no frame is in flight and every honest node has halted, however many views that
takes, and no longer than the bound on its end. Honest nodes that conclude hold the same values. Where some do not
conclude, because too many nodes are Byzantine or key is missing, there is no step: `is_concluded` says so.

Byzantine nodes run the same machine, with two hooks. `told` says which message each receiver gets of a Byzantine node's
broadcast; it is asked before tags are made, so that every frame is tagged and paid for once. `tamper` may replace what
any node hands to the network: it sees every outgoing frame with its message, and returns the frames to send instead. A
changed message without `wire` is tagged with the node's own keys, beside what the frame given to the hook has cost;
given `wire` bytes are sent as they are. So a test can equivocate, drop, replay and forge, but never use a key that the
node does not have.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.authentication import CONTROL_FRAMES_OF_ROUND, Authenticator, Rejected
from ceas.consensus import (
    DIGEST_BYTES,
    AnyMessage,
    Broadcast,
    BroadcastRejection,
    Conclude,
    Decision,
    Echo,
    Propose,
    RoundOutput,
    Send,
    SetProposal,
    SetTimer,
    SetVote,
    Signer,
    Validate,
    amplification_quorum,
    check_tolerance,
    encode_message,
    quorum,
)
from ceas.errors import DomainError
from ceas.runtime.consensus_protocols import (
    NO_FAULT,
    PROTOCOLS,
    ConsensusProtocol,
    Machine,
    ProtocolMessage,
    ProtocolName,
    make_machines,
)
from ceas.runtime.undisturbed_exchange import STEPS, undisturbed_exchange
from ceas.streams import stream

__all__ = [
    "ConsensusOutcome",
    "MessageTiming",
    "Outgoing",
    "Tamper",
    "Told",
    "message_timing",
    "run_consensus",
]

_TICKS_TO_SPARE = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTiming:
    """Delays of the message network.

    Args:
        delay_ns: Latency from each node to each other plus the receiver's processing delay, int64, shape (n, n).
        jitter_ns: Largest extra delay of a frame.
        tick_ns: Bound on the delay of any frame, which all nodes know.
    """

    delay_ns: NDArray[np.int64]
    jitter_ns: int
    tick_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One frame that a node hands to the network.

    Args:
        destination: Receiving node.
        message: Message to encode and tag; ignored when `wire` is given.
        wire: Exact bytes to send; None to have `message` tagged with the node's keys.
    """

    destination: int
    message: ProtocolMessage
    wire: bytes | None = None


Tamper = Callable[[list[Outgoing], int], list[Outgoing]]
"""Replace the frames that one node is about to send: (outbox, node) -> outbox."""

Told = Callable[[ProtocolMessage, int, int], ProtocolMessage]
"""Say what a receiver gets of a Byzantine node's broadcast: (message, node, destination) -> message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusOutcome:
    """What one training round's consensus decided and cost.

    Args:
        values: Value of each node of the decided set, None for the others and where honest nodes did not conclude;
            n entries.
        concluded: Per node, the values that it concluded with by node; None where it did not conclude.
        delivered: Per node, instance -> value delivered by the reliable broadcast.
        disagreements: Instances in which two honest nodes that concluded differ; empty unless more than the tolerated
            nodes are Byzantine.
        is_concluded: Whether all honest nodes with key for the round concluded.
        is_paused: Whether the round did not begin, because fewer than n - f nodes have key to exchange their updates.
        elapsed_ns: Time at which the last honest node concluded; the end of the round if some did not.
        message_delays: Longest chain of frames, each sent in reaction to the one before, that ended in an honest
            conclusion; 8 in the good case.
        views: Views until the last honest node decided; 1 in the good case, 0 where the round is paused.
        frames: Frames put on the network.
        bytes_sent: Their bytes, headers and tags included.
        starved_frames: Frames not sent for want of key.
        starved_links: Links that could not pay for refreshing their seed in this training round.
        rejected_frames: Frames and messages that honest nodes rejected, by reason. What honest nodes say
            too late, or again, is not among them.
        equivocations: Per node, conflicting messages of it that honest nodes saw, int64, shape (n,).
        key_bits_consumed: Key bits used, refreshed seeds included.
        is_shortened: Whether it was computed without its frames, see `ceas.runtime.undisturbed_exchange`.
    """

    values: tuple[bytes | None, ...]
    concluded: tuple[Mapping[int, bytes] | None, ...]
    delivered: tuple[dict[int, bytes], ...]
    disagreements: tuple[int, ...]
    is_concluded: bool
    is_paused: bool
    elapsed_ns: int
    message_delays: int
    views: int
    frames: int
    bytes_sent: int
    starved_frames: int
    starved_links: int
    rejected_frames: dict[str, int]
    equivocations: NDArray[np.int64]
    key_bits_consumed: int
    is_shortened: bool = False

    @property
    def is_agreed(self) -> bool:
        """Whether all honest nodes concluded, with the same values."""
        return self.is_concluded and not self.disagreements


def message_timing(latency_s: ArrayLike, *, processing_delay_s: float, jitter_s: float = 0.0) -> MessageTiming:
    """Convert latencies to integer nanoseconds and bound the message delay.

    Args:
        latency_s: One-way latency between all pairs of nodes (s), shape (n, n); the diagonal is not used.
        processing_delay_s: Time from a frame's arrival to its handling (s).
        jitter_s: Largest extra delay of a frame (s).

    Raises:
        DomainError: the matrix is not square, or a delay is negative or not finite.
    """
    latency = np.array(latency_s, dtype=np.float64)
    if latency.ndim != 2 or latency.shape[0] != latency.shape[1]:
        raise DomainError(f"Argument `latency_s` must have shape (n, n), but has {latency.shape}.")
    np.fill_diagonal(latency, 0.0)
    for name, value in (("latency_s", latency), ("processing_delay_s", processing_delay_s), ("jitter_s", jitter_s)):
        if not np.all(np.isfinite(value)) or np.any(np.asarray(value) < 0):
            raise DomainError(f"Argument `{name}` must be finite and not negative.")
    delay_ns = np.rint((latency + processing_delay_s) * 1e9).astype(np.int64)
    jitter_ns = round(jitter_s * 1e9)
    # One nanosecond more, so that a timer of one tick fires after the slowest frame and not together with it.
    return MessageTiming(delay_ns=delay_ns, jitter_ns=jitter_ns, tick_ns=int(delay_ns.max()) + jitter_ns + 1)


def run_consensus(
    values: Sequence[bytes],
    *,
    training_round: int,
    parameter_digest: bytes,
    tolerated_byzantine: int,
    authenticator: Authenticator,
    timing: MessageTiming,
    validate: Validate,
    seed: int,
    byzantine: frozenset[int] = frozenset(),
    told: Told | None = None,
    tamper: Tamper | None = None,
    may_shorten: bool = False,
    protocol: ProtocolName = "tetrabft",
    signers: Sequence[Signer] = (),
) -> ConsensusOutcome:
    """Agree on the nodes that contribute to one training round, and on their values.

    The training round is begun at the authenticator; key made of pairs is to be deposited before.

    Args:
        values: Value of each node, as canonical bytes.
        training_round: Training round, later than the authenticator's last one.
        parameter_digest: H(theta) of the parameters that the round started from, 32 bytes.
        tolerated_byzantine: Byzantine nodes that the protocol tolerates, f with n >= 3 f + 1.
        authenticator: Keys and sequence numbers of all links; it is advanced.
        timing: Delays, for as many nodes as there are values.
        validate: Check of a proposed value, a pure function.
        seed: Root seed; the jitter comes from the stream "message_network" of this training round.
        byzantine: Nodes of which nothing is expected; they are left out of agreement, delays and rejections.
        told: Hook on the broadcasts of Byzantine nodes, before they are tagged.
        tamper: Hook on every node's outgoing frames.
        may_shorten: Whether a consensus that nothing disturbs may be computed without its frames: outcome and keys are
            the same, but no message is encoded and no tag is made.
        protocol: Protocol to run; only `tetrabft` is ever shortened.
        signers: Every node's signer, for `simplex`.

    Raises:
        DomainError: the numbers of nodes differ, `tolerated_byzantine` is too large, there is no such protocol, or a
            signer is missing.
    """
    n_nodes = len(values)
    if authenticator.n_nodes != n_nodes or timing.delay_ns.shape != (n_nodes, n_nodes):
        raise DomainError(
            f"Arguments `values`, `authenticator` and `timing` must have as many nodes, but have {n_nodes}, "
            f"{authenticator.n_nodes} and {timing.delay_ns.shape[0]}."
        )
    check_tolerance(n_nodes, tolerated_byzantine)
    checked = _remember(validate)
    consumed, starved = int(authenticator.pools.consumed_bits.sum()), authenticator.starved_frames
    starved_links = authenticator.begin_round(training_round)
    is_able = _able_nodes(authenticator, quorum(n_nodes, tolerated_byzantine))
    if not is_able.any():
        bits = int(authenticator.pools.consumed_bits.sum()) - consumed
        return _paused(n_nodes, starved_links=len(starved_links), key_bits_consumed=bits)
    shortened = None
    if may_shorten and protocol == "tetrabft" and told is None and tamper is None and timing.jitter_ns == 0:
        shortened = _shortened(
            values,
            authenticator,
            timing,
            training_round=training_round,
            tolerated=tolerated_byzantine,
            validate=checked,
            byzantine=byzantine,
        )
    if shortened is not None:
        bits = int(authenticator.pools.consumed_bits.sum()) - consumed
        return replace(shortened, starved_links=len(starved_links), key_bits_consumed=bits)
    machines = make_machines(
        protocol,
        n_nodes=n_nodes,
        tolerated_byzantine=tolerated_byzantine,
        training_round=training_round,
        parameter_digest=parameter_digest,
        delay_bound_ns=timing.tick_ns,
        validate=checked,
        signers=signers,
    )
    jitter = stream(seed, "message_network", training_round=training_round)
    # What the liveness bound of docs/consensus.md asks for at most.
    views = 2 * tolerated_byzantine + 3
    limit_ns = (_TICKS_TO_SPARE + views * PROTOCOLS[protocol].view_ticks) * timing.tick_ns
    excused = byzantine | frozenset(np.flatnonzero(~is_able).tolist())
    queue = _Queue(
        PROTOCOLS[protocol], machines, authenticator, timing, jitter, byzantine, excused, told, tamper, limit_ns
    )
    queue.run(values)
    return _outcome(
        queue,
        starved_frames=authenticator.starved_frames - starved,
        starved_links=len(starved_links),
        key_bits_consumed=int(authenticator.pools.consumed_bits.sum()) - consumed,
    )


def _able_nodes(authenticator: Authenticator, quorum_size: int) -> NDArray[np.bool_]:
    """Tell which nodes have key to exchange updates and votes, each with a quorum of such nodes; none if too few.

    An update may be sent where the reserve is left, and a round's votes in any case.
    """
    able = authenticator.able_links(max(authenticator.reserve_frames, CONTROL_FRAMES_OF_ROUND) + 1)
    able &= able.T
    members = np.ones(len(able), np.bool_)
    while True:
        # A node counts among its own partners.
        kept: NDArray[np.bool_] = members & (able[:, members].sum(axis=1) >= quorum_size)
        if np.array_equal(kept, members):
            return members
        members = kept


def _paused(n_nodes: int, *, starved_links: int, key_bits_consumed: int) -> ConsensusOutcome:
    return ConsensusOutcome(
        values=(None,) * n_nodes,
        concluded=(None,) * n_nodes,
        delivered=tuple({} for _ in range(n_nodes)),
        disagreements=(),
        is_concluded=False,
        is_paused=True,
        elapsed_ns=0,
        message_delays=0,
        views=0,
        frames=0,
        bytes_sent=0,
        starved_frames=0,
        starved_links=starved_links,
        rejected_frames={},
        equivocations=np.zeros(n_nodes, np.int64),
        key_bits_consumed=key_bits_consumed,
    )


def _shortened(
    values: Sequence[bytes],
    authenticator: Authenticator,
    timing: MessageTiming,
    *,
    training_round: int,
    tolerated: int,
    validate: Validate,
    byzantine: frozenset[int],
) -> ConsensusOutcome | None:
    """Return what a consensus comes to that nothing disturbs, links and key left out; None if something does."""
    n_nodes = len(values)
    # Votes that wait for slow frames would leave in parts when their timers expire.
    if timing.tick_ns <= timing.delay_ns.max() or len(byzantine) == n_nodes:
        return None
    if any(validate(value, node) is not None for node, value in enumerate(values)):
        return None
    leader = training_round % n_nodes
    exchange = undisturbed_exchange(
        timing.delay_ns,
        np.array([node not in byzantine for node in range(n_nodes)]),
        leader=leader,
        quorum=quorum(n_nodes, tolerated),
        blocking=amplification_quorum(tolerated),
    )
    everybody = (1 << n_nodes) - 1
    votes = Echo(tuple((node, bytes(DIGEST_BYTES)) for node in range(n_nodes)))
    # ECHO, READY, four votes, DECISION.
    steps: list[AnyMessage] = [
        votes,
        votes,
        *[SetVote(phase, 0, everybody) for phase in (1, 2, 3, 4)],
        Decision(everybody),
    ]
    step_bytes = [_body_bytes(step) for step in steps]
    proposal_bytes = [_body_bytes(Propose(value, bytes(DIGEST_BYTES))) for value in values]
    set_bytes = _body_bytes(SetProposal(0, everybody))
    # All but the update, which is bulk, and of the leader its proposal of the set.
    control = np.full((n_nodes, n_nodes), STEPS - 1)
    control[leader] += 1
    longest = max(*step_bytes, *proposal_bytes, set_bytes)
    if exchange is None or not authenticator.pass_frames(control, longest, bulk=1):
        return None
    bodies = sum(proposal_bytes) + n_nodes * sum(step_bytes) + set_bytes
    frames = (STEPS * n_nodes + 1) * (n_nodes - 1)
    everything = dict(enumerate(values))
    return ConsensusOutcome(
        values=tuple(values),
        concluded=tuple(everything for _ in range(n_nodes)),
        delivered=tuple(everything for _ in range(n_nodes)),
        disagreements=(),
        is_concluded=True,
        is_paused=False,
        elapsed_ns=exchange.elapsed_ns,
        message_delays=exchange.message_delays,
        views=1,
        frames=frames,
        bytes_sent=(n_nodes - 1) * bodies + frames * authenticator.overhead_bytes,
        starved_frames=0,
        starved_links=0,
        rejected_frames={},
        equivocations=np.zeros(n_nodes, np.int64),
        key_bits_consumed=0,
        is_shortened=True,
    )


def _body_bytes(message: AnyMessage) -> int:
    return len(encode_message(message)[1])


def _remember(validate: Validate) -> Validate:
    """Check each proposal once, not once for each of the n nodes that receive it."""
    known: dict[tuple[bytes, int], Rejected | None] = {}

    def checked(value: bytes, proposer: int) -> Rejected | None:
        key = (value, proposer)
        if key not in known:
            known[key] = validate(value, proposer)
        return known[key]

    return checked


@dataclass(slots=True)
class _Queue:
    """Event queue and counts of one training round.

    An event is (time_ns, sequence, node, sender, wire, depth); a timer has sender -1. The depth is the length of the
    chain of frames that led to the event.
    """

    protocol: ConsensusProtocol
    machines: list[Machine]
    authenticator: Authenticator
    timing: MessageTiming
    jitter: np.random.Generator
    byzantine: frozenset[int]
    excused: frozenset[int]  # of whom nothing is expected: Byzantine nodes and those without key
    told: Told | None
    tamper: Tamper | None
    limit_ns: int
    events: list[tuple[int, int, int, int, bytes, int]] = field(default_factory=list)
    sequence: int = 0
    frames: int = 0
    bytes_sent: int = 0
    concluded: dict[int, Mapping[int, bytes]] = field(default_factory=dict)
    last_conclusion_ns: int = 0
    message_delays: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    equivocations: Counter[int] = field(default_factory=Counter)

    def run(self, values: Sequence[bytes]) -> None:
        for node, value in enumerate(values):
            self._carry_out(self.machines[node].start(value, 0), node, 0, 0)
        events, machines, verify = self.events, self.machines, self.authenticator.verify
        while events:
            now_ns, _, node, sender, wire, depth = heapq.heappop(events)
            if sender < 0:
                if now_ns <= self.limit_ns and not self._is_over():
                    self._carry_out(machines[node].tick(now_ns), node, now_ns, depth)
                continue
            accepted = verify(node, sender, wire)
            if isinstance(accepted, Rejected):
                self._reject(accepted, node)
                continue
            message = self.protocol.decode(accepted.kind, accepted.body, sender)
            if isinstance(message, Rejected):
                self._reject(message, node)
                continue
            outputs = machines[node].receive(message, sender, now_ns)
            if outputs:
                self._carry_out(outputs, node, now_ns, depth)

    def _is_over(self) -> bool:
        return all(machine.is_halted for machine in self.machines if machine.node not in self.excused)

    def _carry_out(self, outputs: list[RoundOutput], node: int, now_ns: int, depth: int) -> None:
        for output in outputs:
            match output:
                case Conclude():
                    self.concluded[node] = output.values
                    if node not in self.excused:
                        self.last_conclusion_ns = now_ns
                        self.message_delays = max(self.message_delays, depth)
                case Broadcast():
                    self._send(output.message, node, None, now_ns, depth)
                case Send():
                    self._send(output.message, node, output.destination, now_ns, depth)
                case SetTimer():
                    self._push(output.at_ns, node, -1, b"", depth)
                case Rejected():
                    self._reject(output, node)

    def _send(self, message: ProtocolMessage, node: int, destination: int | None, now_ns: int, depth: int) -> None:
        if self.told is not None and destination is None and node in self.byzantine:
            outbox = self._versions(self.told, message, node)
        else:
            kind, body = self.protocol.encode(message)
            if destination is None:
                frames = self.authenticator.authenticate_broadcast(
                    node, kind, body, frame_class=self.protocol.frame_class(message)
                )
            else:
                wire = self._authenticated(message, node, destination)
                frames = [] if wire is None else [(destination, wire)]
            if self.tamper is None:
                self._transmit(frames, node, now_ns, depth)
                return
            outbox = [Outgoing(destination=to, message=message, wire=wire) for to, wire in frames]
        if self.tamper is not None:
            outbox = [self._tagged(one, node) for one in self.tamper(outbox, node)]
        self._transmit([(one.destination, one.wire) for one in outbox if one.wire is not None], node, now_ns, depth)

    def _versions(self, told: Told, message: ProtocolMessage, node: int) -> list[Outgoing]:
        """Return a broadcast of which each receiver gets its own version, tagged once; without the unpaid ones."""
        receivers = [receiver for receiver in range(len(self.machines)) if receiver != node]
        outbox = [Outgoing(destination=receiver, message=told(message, node, receiver)) for receiver in receivers]
        return [one for one in (self._tagged(one, node) for one in outbox) if one.wire is not None]

    def _tagged(self, outgoing: Outgoing, node: int) -> Outgoing:
        """Return a frame as it is sent; without `wire` if there is no key for it."""
        if outgoing.wire is not None:
            return outgoing
        return replace(outgoing, wire=self._authenticated(outgoing.message, node, outgoing.destination))

    def _authenticated(self, message: ProtocolMessage, node: int, destination: int) -> bytes | None:
        kind, body = self.protocol.encode(message)
        return self.authenticator.authenticate(
            node, destination, kind, body, frame_class=self.protocol.frame_class(message)
        )

    def _transmit(self, frames: list[tuple[int, bytes]], node: int, now_ns: int, depth: int) -> None:
        delay_ns = self.timing.delay_ns[node]
        extra_ns = self.jitter.integers(0, self.timing.jitter_ns, size=len(frames), endpoint=True).tolist()
        arrival_ns = (delay_ns + now_ns).tolist()
        for (destination, wire), extra in zip(frames, extra_ns, strict=True):
            self.frames += 1
            self.bytes_sent += len(wire)
            self._push(arrival_ns[destination] + extra, destination, node, wire, depth + 1)

    def _push(self, at_ns: int, node: int, sender: int, wire: bytes, depth: int) -> None:
        heapq.heappush(self.events, (at_ns, self.sequence, node, sender, wire, depth))
        self.sequence += 1

    def _reject(self, rejected: Rejected, node: int) -> None:
        if node not in self.byzantine and rejected.reason not in NO_FAULT:
            self.rejections[rejected.reason] += 1
            if rejected.reason == BroadcastRejection.EQUIVOCATION:
                self.equivocations[rejected.sender] += 1


def _outcome(queue: _Queue, *, starved_frames: int, starved_links: int, key_bits_consumed: int) -> ConsensusOutcome:
    n_nodes = len(queue.machines)
    concluded = tuple(queue.concluded.get(node) for node in range(n_nodes))
    honest = [concluded[node] for node in range(n_nodes) if node not in queue.excused]
    held = [one for one in honest if one is not None]
    found = [{values.get(instance) for values in held} for instance in range(n_nodes)]
    is_concluded = bool(honest) and len(held) == len(honest)
    return ConsensusOutcome(
        values=tuple(next(iter(one)) if is_concluded and len(one) == 1 else None for one in found),
        concluded=concluded,
        delivered=tuple(machine.delivered for machine in queue.machines),
        disagreements=tuple(instance for instance, one in enumerate(found) if len(one) > 1),
        is_concluded=is_concluded,
        is_paused=False,
        elapsed_ns=queue.last_conclusion_ns if is_concluded else queue.limit_ns,
        message_delays=queue.message_delays,
        views=1
        + max((machine.last_view for machine in queue.machines if machine.node not in queue.excused), default=0),
        frames=queue.frames,
        bytes_sent=queue.bytes_sent,
        starved_frames=starved_frames,
        starved_links=starved_links,
        rejected_frames=dict(sorted(queue.rejections.items())),
        equivocations=np.array([queue.equivocations[node] for node in range(n_nodes)], dtype=np.int64),
        key_bits_consumed=key_bits_consumed,
    )
