"""A seeded message network in one process: n broadcast machines, authenticated links, one event queue.

The network is synchronous: a frame arrives `latency + processing delay + jitter` after it was sent, jitter being
uniform in [0, jitter bound], and every node knows the bound on that sum, the tick. Time is integer nanoseconds; events
are ordered by (time, sequence number), so equal seeds give equal traces.

There is no agreement on the set of delivered instances. The simulated round stays open until no frame is in flight, so
that all honest nodes end with the same set. Nodes on a real synchronous network would close it at a deadline. The
instances of honest nodes are delivered by 4 ticks after the start (proposals arrive within 1; echoes leave by 1 and
readies by 3, because each waits at most one tick, and each takes at most 1 to arrive). Where some node's value was not
delivered, the round therefore lasts until that deadline at least.

What an equivocating node told to a quorum, its colluders voting at once, takes up to `EQUIVOCATION_TICKS` = 8: readies
of those who were told it arrive by 4, those of the others, who wait for f + 1 of them and at most one tick, leave by 5
and arrive by 6, when all have decided; who lacks the value asks for it (PULL by 7) and gets it (VALUE by 8). Attackers
who hold back votes until just before a deadline, whichever it is, could split honest nodes at it: one would have
delivered, another not. The attackers of `ceas.runtime.message_sabotage` do not do that.

Byzantine nodes run the same machine, with two hooks. `told` says which message each receiver gets of a Byzantine node's
broadcast; it is asked before tags are made, so that every frame is tagged and paid for once. `tamper` may replace what
any node hands to the network: it sees every outgoing frame with its message, and returns the frames to send instead. A
changed message without `wire` is tagged with the node's own keys, beside what the frame given to the hook has cost;
given `wire` bytes are sent as they are. So a test can equivocate, drop, replay and forge, but never use a key that the
node does not have.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.authentication import Authenticator, Rejected
from ceas.consensus import (
    DIGEST_BYTES,
    Broadcast,
    BroadcastRejection,
    Deliver,
    Echo,
    Message,
    Output,
    Propose,
    ReliableBroadcast,
    Send,
    SetTimer,
    Validate,
    amplification_quorum,
    check_tolerance,
    decode_message,
    encode_message,
    quorum,
)
from ceas.errors import DomainError
from ceas.runtime.undisturbed_exchange import STEPS, undisturbed_exchange
from ceas.streams import stream

__all__ = [
    "DEADLINE_TICKS",
    "EQUIVOCATION_TICKS",
    "BroadcastOutcome",
    "MessageTiming",
    "Outgoing",
    "Tamper",
    "Told",
    "message_timing",
    "run_broadcast",
]

DEADLINE_TICKS = 4
"""Ticks by which the values of honest nodes are delivered."""
EQUIVOCATION_TICKS = 8
"""Ticks by which values are delivered that an equivocating node told to a quorum, see above."""


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
    message: Message
    wire: bytes | None = None


Tamper = Callable[[list[Outgoing], int], list[Outgoing]]
"""Replace the frames that one node is about to send: (outbox, node) -> outbox."""

Told = Callable[[Message, int, int], Message]
"""Say what a receiver gets of a Byzantine node's broadcast: (message, node, destination) -> message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastOutcome:
    """What one training round's broadcast delivered and cost.

    Args:
        values: Value that the honest nodes delivered in each instance, None where they delivered none; n entries.
        delivered: Per node, instance -> value, for all nodes.
        disagreements: Instances in which two honest nodes differ (one of them delivering nothing included); empty
            unless more than the tolerated nodes are Byzantine, key is missing, or frames are lost.
        elapsed_ns: Time until the last honest delivery; at least the deadline when some instance was not delivered.
        message_delays: Longest chain of frames, each sent in reaction to the one before, that ended in an honest
            delivery; 3 in the good case.
        frames: Frames put on the network.
        bytes_sent: Their bytes, headers and tags included.
        starved_frames: Frames not sent for want of key.
        starved_links: Links that could not pay for refreshing their seed in this training round.
        rejected_frames: Frames and messages that honest nodes rejected, by reason.
        equivocations: Per node, conflicting messages of it that honest nodes saw, int64, shape (n,).
        key_bits_consumed: Key bits used, refreshed seeds included.
        is_shortened: Whether it was computed without its frames, see `ceas.runtime.undisturbed_exchange`.
    """

    values: tuple[bytes | None, ...]
    delivered: tuple[dict[int, bytes], ...]
    disagreements: tuple[int, ...]
    elapsed_ns: int
    message_delays: int
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
        """Whether all honest nodes delivered the same values in the same instances."""
        return not self.disagreements


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


def run_broadcast(
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
) -> BroadcastOutcome:
    """Broadcast every node's value reliably in one training round.

    The training round is begun at the authenticator; key made of pairs is to be deposited before.

    Args:
        values: Value of each node, as canonical bytes.
        training_round: Training round, later than the authenticator's last one.
        parameter_digest: H(theta) of the parameters that the round started from, 32 bytes.
        tolerated_byzantine: Byzantine nodes that the protocol tolerates.
        authenticator: Keys and sequence numbers of all links; it is advanced.
        timing: Delays, for as many nodes as there are values.
        validate: Check of a proposed value, a pure function.
        seed: Root seed; the jitter comes from the stream "message_network" of this training round.
        byzantine: Nodes of which nothing is expected; they are left out of agreement, delays and rejections.
        told: Hook on the broadcasts of Byzantine nodes, before they are tagged.
        tamper: Hook on every node's outgoing frames.
        may_shorten: Whether a broadcast that nothing disturbs may be computed without its frames: outcome and keys are
            the same, but no message is encoded and no tag is made.

    Raises:
        DomainError: the numbers of nodes differ, or `tolerated_byzantine` is too large.
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
    shortened = None
    if may_shorten and told is None and tamper is None and timing.jitter_ns == 0:
        shortened = _shortened(
            values, authenticator, timing, tolerated=tolerated_byzantine, validate=checked, byzantine=byzantine
        )
    if shortened is not None:
        bits = int(authenticator.pools.consumed_bits.sum()) - consumed
        return replace(shortened, starved_links=len(starved_links), key_bits_consumed=bits)
    machines = [
        ReliableBroadcast(
            node=node,
            n_nodes=n_nodes,
            tolerated_byzantine=tolerated_byzantine,
            training_round=training_round,
            parameter_digest=parameter_digest,
            tick_ns=timing.tick_ns,
            validate=checked,
        )
        for node in range(n_nodes)
    ]
    jitter = stream(seed, "message_network", training_round=training_round)
    queue = _Queue(machines, authenticator, timing, jitter, byzantine, told, tamper)
    queue.run(values)
    return _outcome(
        queue,
        starved_frames=authenticator.starved_frames - starved,
        starved_links=len(starved_links),
        key_bits_consumed=int(authenticator.pools.consumed_bits.sum()) - consumed,
    )


def _shortened(
    values: Sequence[bytes],
    authenticator: Authenticator,
    timing: MessageTiming,
    *,
    tolerated: int,
    validate: Validate,
    byzantine: frozenset[int],
) -> BroadcastOutcome | None:
    """Return what a broadcast comes to that nothing disturbs, links and key left out; None if something does."""
    n_nodes = len(values)
    # Votes that wait for slow frames would leave in parts when their timers expire.
    if timing.tick_ns <= timing.delay_ns.max() or len(byzantine) == n_nodes:
        return None
    if any(validate(value, node) is not None for node, value in enumerate(values)):
        return None
    exchange = undisturbed_exchange(
        timing.delay_ns,
        np.array([node not in byzantine for node in range(n_nodes)]),
        quorum=quorum(n_nodes, tolerated),
        amplification=amplification_quorum(tolerated),
    )
    proposals = [encode_message(Propose(value, bytes(DIGEST_BYTES)))[1] for value in values]
    vote_bytes = len(encode_message(Echo(tuple((node, bytes(DIGEST_BYTES)) for node in range(n_nodes))))[1])
    longest = max(vote_bytes, *map(len, proposals))
    if exchange is None or not authenticator.pass_frames(STEPS, longest):
        return None
    bodies = sum(map(len, proposals)) + (STEPS - 1) * n_nodes * vote_bytes
    frames = STEPS * n_nodes * (n_nodes - 1)
    return BroadcastOutcome(
        values=tuple(values),
        delivered=tuple(dict(enumerate(values)) for _ in range(n_nodes)),
        disagreements=(),
        elapsed_ns=exchange.elapsed_ns,
        message_delays=exchange.message_delays,
        frames=frames,
        bytes_sent=(n_nodes - 1) * bodies + frames * authenticator.overhead_bytes,
        starved_frames=0,
        starved_links=0,
        rejected_frames={},
        equivocations=np.zeros(n_nodes, np.int64),
        key_bits_consumed=0,
        is_shortened=True,
    )


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

    machines: list[ReliableBroadcast]
    authenticator: Authenticator
    timing: MessageTiming
    jitter: np.random.Generator
    byzantine: frozenset[int]
    told: Told | None
    tamper: Tamper | None
    events: list[tuple[int, int, int, int, bytes, int]] = field(default_factory=list)
    sequence: int = 0
    frames: int = 0
    bytes_sent: int = 0
    last_delivery_ns: int = 0
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
                self._carry_out(machines[node].tick(now_ns), node, now_ns, depth)
                continue
            accepted = verify(node, sender, wire)
            if isinstance(accepted, Rejected):
                self._reject(accepted, node)
                continue
            message = decode_message(accepted.kind, accepted.body, sender)
            if isinstance(message, Rejected):
                self._reject(message, node)
                continue
            outputs = machines[node].receive(message, sender, now_ns)
            if outputs:
                self._carry_out(outputs, node, now_ns, depth)

    def _carry_out(self, outputs: list[Output], node: int, now_ns: int, depth: int) -> None:
        for output in outputs:
            match output:
                case Deliver():
                    if node not in self.byzantine:
                        self.last_delivery_ns = now_ns
                        self.message_delays = max(self.message_delays, depth)
                case Broadcast():
                    self._send(output.message, node, None, now_ns, depth)
                case Send():
                    self._send(output.message, node, output.destination, now_ns, depth)
                case SetTimer():
                    self._push(output.at_ns, node, -1, b"", depth)
                case Rejected():
                    self._reject(output, node)

    def _send(self, message: Message, node: int, destination: int | None, now_ns: int, depth: int) -> None:
        if self.told is not None and destination is None and node in self.byzantine:
            outbox = self._versions(self.told, message, node)
        else:
            kind, body = encode_message(message)
            if destination is None:
                frames = self.authenticator.authenticate_broadcast(node, kind, body)
            else:
                wire = self.authenticator.authenticate(node, destination, kind, body)
                frames = [] if wire is None else [(destination, wire)]
            if self.tamper is None:
                self._transmit(frames, node, now_ns, depth)
                return
            outbox = [Outgoing(destination=to, message=message, wire=wire) for to, wire in frames]
        if self.tamper is not None:
            outbox = [self._tagged(one, node) for one in self.tamper(outbox, node)]
        self._transmit([(one.destination, one.wire) for one in outbox if one.wire is not None], node, now_ns, depth)

    def _versions(self, told: Told, message: Message, node: int) -> list[Outgoing]:
        """Return a broadcast of which each receiver gets its own version, tagged once; without the unpaid ones."""
        receivers = [receiver for receiver in range(len(self.machines)) if receiver != node]
        outbox = [Outgoing(destination=receiver, message=told(message, node, receiver)) for receiver in receivers]
        return [one for one in (self._tagged(one, node) for one in outbox) if one.wire is not None]

    def _tagged(self, outgoing: Outgoing, node: int) -> Outgoing:
        """Return a frame as it is sent; without `wire` if there is no key for it."""
        if outgoing.wire is not None:
            return outgoing
        kind, body = encode_message(outgoing.message)
        return replace(outgoing, wire=self.authenticator.authenticate(node, outgoing.destination, kind, body))

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
        if node not in self.byzantine:
            self.rejections[rejected.reason] += 1
            if rejected.reason == BroadcastRejection.EQUIVOCATION:
                self.equivocations[rejected.sender] += 1


def _outcome(queue: _Queue, *, starved_frames: int, starved_links: int, key_bits_consumed: int) -> BroadcastOutcome:
    delivered = tuple(machine.delivered for machine in queue.machines)
    n_nodes = len(delivered)
    honest = [delivered[node] for node in range(n_nodes) if node not in queue.byzantine]
    outcomes = [{values.get(instance) for values in honest} for instance in range(n_nodes)]
    values = tuple(next(iter(found)) if len(found) == 1 else None for found in outcomes)
    is_complete = all(value is not None for value in values)
    return BroadcastOutcome(
        values=values,
        delivered=delivered,
        disagreements=tuple(instance for instance, found in enumerate(outcomes) if len(found) > 1),
        elapsed_ns=max(queue.last_delivery_ns, 0 if is_complete else DEADLINE_TICKS * queue.timing.tick_ns),
        message_delays=queue.message_delays,
        frames=queue.frames,
        bytes_sent=queue.bytes_sent,
        starved_frames=starved_frames,
        starved_links=starved_links,
        rejected_frames=dict(sorted(queue.rejections.items())),
        equivocations=np.array([queue.equivocations[node] for node in range(n_nodes)], dtype=np.int64),
        key_bits_consumed=key_bits_consumed,
    )
