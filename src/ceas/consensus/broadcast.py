"""Bracha's reliable broadcast of one value per node, as a state machine without input or output.

One machine is one node in one training round. It runs n instances at once; instance i is the broadcast of node i's
value. It neither reads a clock nor opens a connection nor draws numbers: `start`, `receive` and `tick` take what
happened and return what to do. The driver authenticates messages; `sender` is the node that the link's key belongs to.

Message flow in the good case, three message delays (r: training round, v_i: value, d_i = SHA-256(r | i | v_i))::

    node i ──PROPOSE(v_i, H(theta))──> all ──ECHO({(i, d_i)})──> all ──READY({(i, d_i)})──> all: deliver v_i
    a node that has to deliver d_i and lacks v_i ──PULL(i, d_i)──> f + 1 nodes that echoed d_i ──VALUE(i, v_i)──>

Rules (n nodes, f tolerated Byzantine ones, n >= 3 f + 1)
    R1  PROPOSE from i, the first that is valid and carries the node's own H(theta)   -> hold v_i, echo d_i
    R2  n - f ECHOes of (i, d), no READY sent in i                                    -> READY(i, d)
    R3  f + 1 READYs of (i, d), no READY sent in i                                    -> READY(i, d)
    R4  n - f READYs of (i, d)                                                        -> d is decided in i
    R5  d decided in i, v with this digest held                                       -> deliver v, once
    R6  d decided in i, v not held                                                    -> PULL from f + 1 echoers of d
    R7  PULL of a held value, the first from this node in this instance               -> VALUE
    R8  VALUE with the decided digest, from a node that was asked                     -> hold it (then R5)
    R9  the driver finds values missing for long (`ask_again`)                        -> MISSING, R6 anew
    R10 MISSING, the first from this node within 2 ticks                              -> own PROPOSE, ECHO, READY again
The first vote of a sender in an instance counts. Later ones change nothing; where they differ from the first they are
evidence of equivocation. A node's own messages count for it at once.

Batching: echoes wait until all n instances are echoed, readies until every instance that the node accepted is ready,
both at most for one tick after the first of them. In the good case each node sends one frame a link in every step.

State: what a restarted node must not have forgotten is `BroadcastState`: what it proposed, echoed and readied, with the
values, which others rely on it to hold. `Persist` comes before the messages that depend on it. R9 and R10 stand in for
messages that were lost, to a restart or before the network became stable.

Why it works: two quorums of n - f nodes share n - 2f > f nodes, so an honest one, and honest nodes echo one digest per
instance: no two digests can be readied by R2, nor by R3, which needs an honest READY (agreement). An honest node's
value is echoed by all n - f honest nodes (validity). A decided digest has n - 2f >= f + 1 honest READYs, which by R3
make all honest nodes send READY, hence decide (totality); f + 1 echoers, of whom one is honest, hold the value.

Timing: these three hold on an asynchronous network. What needs synchrony is when to stop: there is no agreement on the
set of instances that delivered, so all honest nodes know the same set only after every message has arrived. The
tick must bound the message delay, and the round must be left open until a deadline that allows for all steps.

Source: Bracha, Information and Computation 75, 130 (1987).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ceas.authentication import Rejected
from ceas.consensus.messages import Echo, Message, Missing, Propose, Pull, Ready, Value, Vote, value_digest
from ceas.consensus.outputs import Broadcast, Deliver, Persist, Send, SetTimer
from ceas.consensus.votes import Counted, VoteSet, amplification_quorum, check_tolerance, quorum
from ceas.errors import DomainError

__all__ = ["BroadcastRejection", "BroadcastState", "Output", "ReliableBroadcast", "Validate"]


class BroadcastRejection(StrEnum):
    """Why a message was not counted."""

    UNKNOWN_SENDER = "sender is not another node of the roster"
    UNKNOWN_INSTANCE = "instance is not a node of the roster"
    WRONG_PARAMETERS = "proposal made at other parameters"
    REPEATED = "repeated message"
    EQUIVOCATION = "equivocation"
    VALUE_NOT_HELD = "value asked for is not held"
    VALUE_NOT_WANTED = "value was not asked for, or another one was"


Output = Broadcast[Message] | Send[Message] | SetTimer | Persist | Deliver | Rejected

Validate = Callable[[bytes, int], Rejected | None]
"""Check a proposed value before it is echoed: (value, proposer) -> what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastState:
    """What a node must remember over a restart.

    Args:
        accepted: Values that it echoed, by instance, its own among them; instances strictly increasing.
        readied: Digests that it sent READY for, by instance; instances strictly increasing.
    """

    accepted: tuple[tuple[int, bytes], ...] = ()
    readied: tuple[Vote, ...] = ()


class ReliableBroadcast:
    """One node's part in the reliable broadcast of all nodes' values in one training round.

    Args:
        node: This node, in [0, n_nodes).
        n_nodes: Nodes of the roster.
        tolerated_byzantine: Byzantine nodes that are tolerated, f with n >= 3 f + 1.
        training_round: Training round, part of every digest.
        parameter_digest: H(theta) of this node's parameters, 32 bytes.
        tick_ns: Longest time that an echo or ready waits for others, ns; at least the bound on the message delay.
        validate: Check of a proposed value.
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
        parameter_digest: bytes,
        tick_ns: int,
        validate: Validate,
        restored: BroadcastState | None = None,
    ) -> None:
        check_tolerance(n_nodes, tolerated_byzantine)
        if not 0 <= node < n_nodes:
            raise DomainError(f"Argument `node` must be in [0, {n_nodes}), but is {node}.")
        if tick_ns <= 0:
            raise DomainError(f"Argument `tick_ns` must be positive, but is {tick_ns}.")
        self.node = node
        self.delivered: dict[int, bytes] = {}
        self._n_nodes = n_nodes
        self._quorum = quorum(n_nodes, tolerated_byzantine)
        self._amplification = amplification_quorum(tolerated_byzantine)
        self._training_round = training_round
        self._parameter_digest = parameter_digest
        self._tick_ns = tick_ns
        self._validate = validate
        self._is_started = False
        self._all_instances = (1 << n_nodes) - 1
        self._held: dict[bytes, bytes] = {}  # digest -> value
        self._proposed: dict[int, bytes] = {}  # instance -> digest of the accepted proposal
        self._accepted = 0  # bit mask of the instances in `_proposed`
        self._echoes = VoteSet(n_nodes)
        self._readies = VoteSet(n_nodes)
        self._pending_echoes: list[Vote] = []
        self._pending_readies: list[Vote] = []
        self._readied = 0  # bit mask of the instances in which READY was sent or is pending
        self._decided: dict[int, bytes] = {}
        self._missing: set[int] = set()  # decided instances whose value is not held
        self._asked: dict[int, int] = {}  # instance -> bit mask of the nodes asked for its value
        self._served: dict[int, int] = {}  # instance -> bit mask of the nodes that got its value
        self._is_timer_set = False
        self._answered_ns: dict[int, int] = {}  # node -> time of the last answer to its MISSING
        self._sent_echoes: dict[int, bytes] = {}
        self._sent_readies: dict[int, bytes] = {}
        if restored is not None:
            self._restore(restored)

    def start(self, value: bytes, now_ns: int) -> list[Output]:
        """Propose this node's value; call once, before or after the first `receive`.

        After a restart the value that was proposed before counts, if there was one, and everything is said again.
        """
        if self._is_started:
            raise DomainError("Method `start` must be called once, but was called again.")
        self._is_started = True
        out: list[Output] = []
        if self.node in self._sent_echoes:
            self._say_again(self._all_instances, None, out)
            # In a roster of one, its own votes are all that it takes.
            out += [Deliver(instance, value) for instance, value in sorted(self.delivered.items())]
        else:
            proposal = Propose(value, self._parameter_digest)
            # Kept before it is told to anyone: a node that proposes two values is Byzantine.
            self._on_propose(proposal, self.node, out)
            self._persist(out)
            out.append(Broadcast(proposal))
        self._flush(now_ns, out, is_tick=False)
        return out

    def receive(self, message: Message, sender: int, now_ns: int) -> list[Output]:
        """Take a message from another node; wrong ones come back as `Rejected` and change nothing."""
        out: list[Output] = []
        if not 0 <= sender < self._n_nodes or sender == self.node:
            return [Rejected(sender, BroadcastRejection.UNKNOWN_SENDER.value)]
        match message:
            case Echo():
                self._on_votes(message.votes, self._echoes, sender, out)
            case Ready():
                self._on_votes(message.votes, self._readies, sender, out)
            case Propose():
                self._on_propose(message, sender, out)
            case Pull():
                self._on_pull(message, sender, out)
            case Value():
                self._on_value(message, sender, out)
            case Missing():
                self._on_missing(message, sender, now_ns, out)
        if self._pending_echoes or self._pending_readies:
            self._flush(now_ns, out, is_tick=False)
        return out

    def tick(self, now_ns: int) -> list[Output]:
        """Take the expiry of a timer that `SetTimer` asked for: send what has been waiting."""
        out: list[Output] = []
        self._is_timer_set = False
        self._flush(now_ns, out, is_tick=True)
        return out

    # R9
    def ask_again(self, members: int) -> list[Output]:
        """Ask all others to repeat what they sent about instances that are not delivered here.

        Args:
            members: Instances that are of use, as a bitmap.
        """
        missing = members & self._all_instances & ~sum(1 << instance for instance in self.delivered)
        if not missing:
            return []
        out: list[Output] = [Broadcast(Missing(missing))]
        for instance in sorted(self._missing):
            self._asked[instance] = 0
            self._pull((instance, self._decided[instance]), out)
        return out

    # R1
    def _on_propose(self, message: Propose, sender: int, out: list[Output]) -> None:
        digest = value_digest(self._training_round, sender, message.value)
        first = self._proposed.get(sender)
        if first is not None:
            reason = BroadcastRejection.REPEATED if first == digest else BroadcastRejection.EQUIVOCATION
            out.append(Rejected(sender, reason.value))
        elif message.parameter_digest != self._parameter_digest:
            out.append(Rejected(sender, BroadcastRejection.WRONG_PARAMETERS.value))
        elif (rejected := self._validate(message.value, sender)) is not None:
            out.append(rejected)
        else:
            self._proposed[sender] = digest
            self._accepted |= 1 << sender
            self._pending_echoes.append((sender, digest))
            self._hold(sender, digest, message.value, out)

    # R2, R3, R4
    def _on_votes(self, votes: tuple[Vote, ...], vote_set: VoteSet, sender: int, out: list[Output]) -> None:
        if votes[-1][0] >= self._n_nodes:
            out.append(Rejected(sender, BroadcastRejection.UNKNOWN_INSTANCE.value))
            return
        counted = vote_set.add(sender, votes)
        if counted.n_conflicting:
            out.append(Rejected(sender, BroadcastRejection.EQUIVOCATION.value))
        elif counted.n_repeated:
            out.append(Rejected(sender, BroadcastRejection.REPEATED.value))
        if vote_set is self._echoes:
            self._on_echoes_counted(counted, out)
        else:
            self._on_readies_counted(counted, out)

    def _on_echoes_counted(self, counted: Counted, out: list[Output]) -> None:
        # Counts grow by one at a time, so a threshold is passed when the count is equal to it.
        for n_voters, votes in counted.groups:
            if n_voters == self._quorum:
                self._ready(votes)
            if self._missing:
                for vote in votes:
                    self._pull(vote, out)

    def _on_readies_counted(self, counted: Counted, out: list[Output]) -> None:
        for n_voters, votes in counted.groups:
            if n_voters == self._amplification:
                self._ready(votes)
            if n_voters == self._quorum:
                for instance, digest in votes:
                    self._decide(instance, digest, out)

    def _ready(self, votes: tuple[Vote, ...]) -> None:
        for vote in votes:
            if not self._readied >> vote[0] & 1:
                self._readied |= 1 << vote[0]
                self._pending_readies.append(vote)

    # R4, R5, R6
    def _decide(self, instance: int, digest: bytes, out: list[Output]) -> None:
        if instance in self._decided:
            return  # only with more than f Byzantine nodes; the first decision stands
        self._decided[instance] = digest
        value = self._held.get(digest)
        if value is None:
            self._missing.add(instance)
            self._pull((instance, digest), out)
        else:
            self._deliver(instance, value, out)

    def _deliver(self, instance: int, value: bytes, out: list[Output]) -> None:
        self.delivered[instance] = value
        out.append(Deliver(instance, value))

    # R6
    def _pull(self, vote: Vote, out: list[Output]) -> None:
        instance, digest = vote
        if instance not in self._missing or self._decided[instance] != digest:
            return
        asked = self._asked.get(instance, 0)
        candidates = self._echoes.voters(vote) & ~asked & ~(1 << self.node)
        while candidates and asked.bit_count() < self._amplification:
            chosen = candidates & -candidates
            candidates ^= chosen
            asked |= chosen
            out.append(Send(chosen.bit_length() - 1, Pull(instance, digest)))
        self._asked[instance] = asked

    # R7
    def _on_pull(self, message: Pull, sender: int, out: list[Output]) -> None:
        value = self._held.get(message.digest)
        served = self._served.get(message.instance, 0)
        if value is None or value_digest(self._training_round, message.instance, value) != message.digest:
            out.append(Rejected(sender, BroadcastRejection.VALUE_NOT_HELD.value))
        elif served >> sender & 1:
            out.append(Rejected(sender, BroadcastRejection.REPEATED.value))
        else:
            self._served[message.instance] = served | 1 << sender
            out.append(Send(sender, Value(message.instance, value)))

    # R8
    def _on_value(self, message: Value, sender: int, out: list[Output]) -> None:
        is_answer = self._asked.get(message.instance, 0) >> sender & 1
        digest = value_digest(self._training_round, message.instance, message.value)
        if not is_answer or digest != self._decided[message.instance]:
            out.append(Rejected(sender, BroadcastRejection.VALUE_NOT_WANTED.value))
        elif message.instance in self._missing:
            self._hold(message.instance, digest, message.value, out)

    # R10
    def _on_missing(self, message: Missing, sender: int, now_ns: int, out: list[Output]) -> None:
        last = self._answered_ns.get(sender)
        if message.members & ~self._all_instances:
            out.append(Rejected(sender, BroadcastRejection.UNKNOWN_INSTANCE.value))
        elif last is not None and now_ns < last + 2 * self._tick_ns:
            out.append(Rejected(sender, BroadcastRejection.REPEATED.value))
        else:
            self._answered_ns[sender] = now_ns
            self._served = {one: served & ~(1 << sender) for one, served in self._served.items()}
            self._say_again(message.members, sender, out)

    def _say_again(self, members: int, destination: int | None, out: list[Output]) -> None:
        """Send to one node, or to all, what was sent about some instances."""

        def among(votes: dict[int, bytes]) -> tuple[Vote, ...]:
            return tuple(sorted((one, digest) for one, digest in votes.items() if members >> one & 1))

        messages: list[Message] = []
        if self.node in self._sent_echoes and members >> self.node & 1:
            messages.append(Propose(self._held[self._proposed[self.node]], self._parameter_digest))
        messages += [Echo(votes) for votes in (among(self._sent_echoes),) if votes]
        messages += [Ready(votes) for votes in (among(self._sent_readies),) if votes]
        out += [Broadcast(one) if destination is None else Send(destination, one) for one in messages]

    # R5
    def _hold(self, instance: int, digest: bytes, value: bytes, out: list[Output]) -> None:
        self._held[digest] = value
        if instance in self._missing and self._decided[instance] == digest:
            self._missing.remove(instance)
            self._deliver(instance, value, out)

    def _flush(self, now_ns: int, out: list[Output], *, is_tick: bool) -> None:
        if self._pending_echoes and (is_tick or self._accepted == self._all_instances):
            echo = Echo(tuple(sorted(self._pending_echoes)))
            self._pending_echoes.clear()
            self._sent_echoes |= echo.votes
            self._persist(out)
            out.append(Broadcast(echo))
            self._on_votes(echo.votes, self._echoes, self.node, out)
        if self._pending_readies and (is_tick or not self._accepted & ~self._readied):
            ready = Ready(tuple(sorted(self._pending_readies)))
            self._pending_readies.clear()
            self._sent_readies |= ready.votes
            self._persist(out)
            out.append(Broadcast(ready))
            self._on_votes(ready.votes, self._readies, self.node, out)
        if (self._pending_echoes or self._pending_readies) and not self._is_timer_set:
            self._is_timer_set = True
            out.append(SetTimer(now_ns + self._tick_ns))

    def _persist(self, out: list[Output]) -> None:
        # The own value is kept from the start, before its echo is sent.
        instances = sorted({*self._sent_echoes, self.node})
        out.append(
            Persist(
                BroadcastState(
                    accepted=tuple(
                        (one, self._held[self._proposed[one]]) for one in instances if one in self._proposed
                    ),
                    readied=tuple(sorted(self._sent_readies.items())),
                )
            )
        )

    def _restore(self, state: BroadcastState) -> None:
        for instance, value in state.accepted:
            digest = value_digest(self._training_round, instance, value)
            self._proposed[instance] = self._sent_echoes[instance] = digest
            self._held[digest] = value
            self._accepted |= 1 << instance
        self._sent_readies |= state.readied
        self._readied = sum(1 << instance for instance, _ in state.readied)
        out: list[Output] = []
        for votes, vote_set in ((self._sent_echoes, self._echoes), (self._sent_readies, self._readies)):
            if votes:
                self._on_votes(tuple(sorted(votes.items())), vote_set, self.node, out)
