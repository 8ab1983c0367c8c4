"""One training round's consensus: which updates count, and their bytes, the same at all honest nodes.

One machine is one node in one training round. It puts together the reliable broadcast of every node's value
(`ceas.consensus.broadcast`, rules and quorums at its head) and the agreement on the set of contributors
(`ceas.consensus.tetrabft`, likewise):

    value ──> broadcast ──deliver i──> agreement ──decide x──> all of x delivered ──> Conclude(values of x)

The broadcast tells the agreement what was delivered; a set is voted for only where all its members are. What was
decided is delivered everywhere, because the broadcast delivers to all what it delivers to one honest node. So every
honest node concludes with the same bytes, and messages take eight delays in the good case.

Rules of its own (D: bound on the message delay of a stable network)
    R1  set decided, all its members delivered                     -> Conclude, once
    R2  not concluded 13 D after the start, and every 4 D from then -> ask all others for what is missing
A node that has concluded stays until the driver ends the round: others may need its votes, values and decision.

State: `RoundState`, what both parts must not have forgotten over a restart.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from ceas.authentication import Rejected
from ceas.consensus.broadcast import BroadcastState, ReliableBroadcast, Validate
from ceas.consensus.broadcast import Output as BroadcastOutput
from ceas.consensus.messages import DIGEST_BYTES, AgreementMessage, AnyMessage
from ceas.consensus.outputs import Broadcast, Conclude, Decide, Deliver, Persist, Send, SetTimer
from ceas.consensus.tetrabft import Agreement, AgreementOutput, AgreementState, decode_state, encode_state
from ceas.errors import DomainError

__all__ = ["ConsensusRound", "RoundOutput", "RoundState", "decode_round_state", "encode_round_state"]

ASK_DELAYS: Final = 13
ASK_AGAIN_DELAYS: Final = 4

RoundOutput = Broadcast[AnyMessage] | Send[AnyMessage] | SetTimer | Persist | Deliver | Decide | Conclude | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundState:
    """What a node must remember over a restart in the midst of a round.

    Args:
        broadcast: State of the reliable broadcast.
        agreement: State of the agreement.
    """

    broadcast: BroadcastState = field(default_factory=BroadcastState)
    agreement: AgreementState = field(default_factory=AgreementState)


class ConsensusRound:
    """One node's part in the consensus of one training round.

    Args:
        node: This node, in [0, n_nodes).
        n_nodes: Nodes of the roster, at most 65536.
        tolerated_byzantine: Byzantine nodes that are tolerated, f with n >= 3 f + 1.
        training_round: Training round; part of every digest, and it sets who leads view 0.
        parameter_digest: H(theta) of this node's parameters, 32 bytes.
        delay_bound_ns: Bound D on the message delay of a stable network, ns. Too small a bound costs progress, never
            agreement.
        validate: Check of a proposed value.
        restored: State of the last `Persist` that was carried out before a restart.

    Attributes:
        node: This node.
        state: What was to be persisted last.
        delivered: Values by node, as far as `Deliver` has been returned for them.
        decided: Set decided for, as a bitmap; None before.
        is_concluded: Whether it has concluded.

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
        restored: RoundState | None = None,
    ) -> None:
        self._agreement = Agreement(
            node=node,
            n_nodes=n_nodes,
            tolerated_byzantine=tolerated_byzantine,
            training_round=training_round,
            delay_bound_ns=delay_bound_ns,
            restored=None if restored is None else restored.agreement,
        )
        self._broadcast = ReliableBroadcast(
            node=node,
            n_nodes=n_nodes,
            tolerated_byzantine=tolerated_byzantine,
            training_round=training_round,
            parameter_digest=parameter_digest,
            tick_ns=delay_bound_ns,
            validate=validate,
            restored=None if restored is None else restored.broadcast,
        )
        self.state = restored or RoundState()
        self.node = node
        self.delivered: dict[int, bytes] = {}
        self.decided: int | None = None
        self.is_concluded = False
        self._delay_ns = delay_bound_ns
        self._everybody = (1 << n_nodes) - 1
        self._flush_at_ns: int | None = None
        self._ask_at_ns = 0

    @property
    def last_view(self) -> int:
        """View that the agreement is in, or was in when it decided."""
        return self.state.agreement.view

    @property
    def is_halted(self) -> bool:
        """Whether this node has concluded and knows that all honest nodes can."""
        return self.is_concluded and self._agreement.is_halted

    def start(self, value: bytes, now_ns: int) -> list[RoundOutput]:
        """Begin with this node's value, or go on after a restart; call once, before anything else."""
        out: list[RoundOutput] = []
        self._add_agreement(self._agreement.start(now_ns), out)
        self._add_broadcast(self._broadcast.start(value, now_ns), now_ns, out)
        self._ask_at_ns = now_ns + ASK_DELAYS * self._delay_ns
        out.append(SetTimer(self._ask_at_ns))
        return out

    def receive(self, message: AnyMessage, sender: int, now_ns: int) -> list[RoundOutput]:
        """Take a message from another node; wrong ones come back as `Rejected` and change nothing."""
        out: list[RoundOutput] = []
        if isinstance(message, AgreementMessage):
            self._add_agreement(self._agreement.receive(message, sender, now_ns), out)
        else:
            self._add_broadcast(self._broadcast.receive(message, sender, now_ns), now_ns, out)
        return out

    def tick(self, now_ns: int) -> list[RoundOutput]:
        """Take the expiry of a timer that `SetTimer` asked for; harmless at any other time."""
        out: list[RoundOutput] = []
        if self._flush_at_ns is not None and now_ns >= self._flush_at_ns:
            self._flush_at_ns = None
            self._add_broadcast(self._broadcast.tick(now_ns), now_ns, out)
        self._add_agreement(self._agreement.tick(now_ns), out)
        self._ask(now_ns, out)
        return out

    def _add_broadcast(self, outputs: list[BroadcastOutput], now_ns: int, out: list[RoundOutput]) -> None:
        for output in outputs:
            match output:
                case Persist(state):
                    self.state = RoundState(broadcast=state, agreement=self.state.agreement)
                    out.append(Persist(self.state))
                case SetTimer():
                    self._flush_at_ns = output.at_ns
                    out.append(output)
                case Deliver():
                    # The broadcast is ahead of its outputs: those after this one, and what they ask to write, are yet
                    # to come, and nothing may be concluded from them.
                    self.delivered[output.instance] = output.value
                    out.append(output)
                    self._add_agreement(self._agreement.deliver(output.instance, now_ns), out)
                    self._conclude(out)
                case _:
                    out.append(output)

    def _add_agreement(self, outputs: list[AgreementOutput], out: list[RoundOutput]) -> None:
        for output in outputs:
            match output:
                case Persist(state):
                    self.state = RoundState(broadcast=self.state.broadcast, agreement=state)
                    out.append(Persist(self.state))
                case Decide():
                    self.decided = output.members
                    out.append(output)
                    self._conclude(out)
                case _:
                    out.append(output)

    # R1
    def _conclude(self, out: list[RoundOutput]) -> None:
        if self.decided is None or self.is_concluded:
            return
        members = [node for node in range(self.decided.bit_length()) if self.decided >> node & 1]
        if all(node in self.delivered for node in members):
            self.is_concluded = True
            out.append(Conclude({node: self.delivered[node] for node in members}))

    # R2
    def _ask(self, now_ns: int, out: list[RoundOutput]) -> None:
        if self.is_concluded or now_ns < self._ask_at_ns:
            return
        wanted = self._everybody if self.decided is None else self.decided
        self._add_broadcast(self._broadcast.ask_again(wanted), now_ns, out)
        self._ask_at_ns = now_ns + ASK_AGAIN_DELAYS * self._delay_ns
        out.append(SetTimer(self._ask_at_ns))


_STATE_VERSION: Final = 1
_CHECKSUM_BYTES: Final = 32
_COUNTS: Final = struct.Struct(">BIHH")
_VALUE: Final = struct.Struct(">HI")
_READIED: Final = struct.Struct(f">H{DIGEST_BYTES}s")


def encode_round_state(state: RoundState) -> bytes:
    """Return bytes to keep.

    Version u8 | length of the agreement's state u32 | values u16 | readied u16 | the agreement's state |
    (instance u16 | length u32 | value) repeated | (instance u16 | digest) repeated | SHA-256 of all that.
    """
    agreement, values, readied = encode_state(state.agreement), state.broadcast.accepted, state.broadcast.readied
    parts = [_COUNTS.pack(_STATE_VERSION, len(agreement), len(values), len(readied)), agreement]
    parts += [_VALUE.pack(instance, len(value)) + value for instance, value in values]
    parts += [_READIED.pack(*vote) for vote in readied]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def decode_round_state(data: bytes) -> RoundState:
    """Read the bytes of `encode_round_state`.

    Raises:
        DomainError: They are not what was written. A node must not take part with a state that it has lost.
    """
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not body or hashlib.sha256(body).digest() != checksum:
        raise DomainError("Argument `data` must be an undamaged state of the consensus, but its checksum differs.")
    if body[0] != _STATE_VERSION:
        raise DomainError(f"State of the consensus must have version {_STATE_VERSION}, but has {body[0]}.")
    _, length, n_values, n_readied = _COUNTS.unpack_from(body)
    end = _COUNTS.size + length
    agreement = decode_state(body[_COUNTS.size : end])
    accepted = []
    for _ in range(n_values):
        instance, size = _VALUE.unpack_from(body, end)
        end += _VALUE.size
        accepted.append((instance, body[end : end + size]))
        end += size
    readied = tuple(_READIED.iter_unpack(body[end : end + n_readied * _READIED.size]))
    return RoundState(broadcast=BroadcastState(accepted=tuple(accepted), readied=readied), agreement=agreement)
