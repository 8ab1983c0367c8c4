"""The protocols that a training round's consensus may run, behind one interface for the message network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from ceas.authentication import FrameClass, Rejected
from ceas.consensus import (
    AgreementRejection,
    AnyMessage,
    BroadcastRejection,
    ConsensusRound,
    HeldValue,
    Propose,
    RoundOutput,
    SignedValue,
    Signer,
    SimplexMessage,
    SimplexRejection,
    SimplexRound,
    Validate,
    Value,
    decode_message,
    decode_simplex,
    encode_message,
    encode_simplex,
)
from ceas.errors import DomainError

__all__ = ["NO_FAULT", "PROTOCOLS", "ConsensusProtocol", "Machine", "ProtocolMessage", "ProtocolName", "make_machines"]

ProtocolName = Literal["tetrabft", "simplex"]
ProtocolMessage = AnyMessage | SimplexMessage

NO_FAULT: Final = frozenset(
    {
        *(AgreementRejection.HALTED, AgreementRejection.OLD_VIEW, AgreementRejection.REPEATED),
        *(SimplexRejection.HALTED, SimplexRejection.OLD_VIEW, SimplexRejection.REPEATED),
        BroadcastRejection.REPEATED,
    }
)
"""Reasons to reject what honest nodes say as well: too late, or again since it may have been lost."""


class Machine(Protocol):
    """One node's state machine of a training round, as `ceas.consensus.ConsensusRound`."""

    node: int
    last_view: int
    delivered: dict[int, bytes]
    is_halted: bool

    def start(self, value: bytes, now_ns: int) -> list[RoundOutput]:
        """Begin with this node's value."""

    def receive(self, message: Any, sender: int, now_ns: int) -> list[RoundOutput]:
        """Take a message from another node."""

    def tick(self, now_ns: int) -> list[RoundOutput]:
        """Take the expiry of a timer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusProtocol:
    """What the message network has to know of a protocol.

    Attributes:
        description: What it is, for results.
        encode: Kind and canonical bytes of a message.
        decode: Message of a kind and bytes from a sender, or why there is none.
        bulk: Messages that hold updates, which may not use the last key of a link.
        good_case_ticks: Bounds on the message delay until all honest nodes have concluded if the first leader is honest
            and nothing is lost.
        view_ticks: Longest timer of a view, in the same unit.
    """

    description: str
    encode: Callable[[Any], tuple[int, bytes]]
    decode: Callable[[int, bytes, int], Any]
    bulk: tuple[type, ...]
    good_case_ticks: int
    view_ticks: int

    def frame_class(self, message: ProtocolMessage) -> FrameClass:
        """Return whether a message may use the last key of a link: votes may, updates may not."""
        return "bulk" if isinstance(message, self.bulk) else "control"


PROTOCOLS: Final[dict[ProtocolName, ConsensusProtocol]] = {
    "tetrabft": ConsensusProtocol(
        description="TetraBFT on the set of contributors, Bracha broadcast of their updates",
        encode=encode_message,
        decode=decode_message,
        bulk=(Propose, Value),
        good_case_ticks=9,  # four for the values, five to decide
        view_ticks=13,
    ),
    "simplex": ConsensusProtocol(
        description="Simplex on signed updates (ML-DSA-44)",
        encode=encode_simplex,
        decode=decode_simplex,
        bulk=(SignedValue, HeldValue),
        good_case_ticks=7,  # two to collect values, one for the proposal, two if values are pulled, two to decide
        view_ticks=15,
    ),
}


def make_machines(
    protocol: ProtocolName,
    *,
    n_nodes: int,
    tolerated_byzantine: int,
    training_round: int,
    parameter_digest: bytes,
    delay_bound_ns: int,
    validate: Callable[[bytes, int], Rejected | None] | Validate,
    signers: Sequence[Signer] = (),
) -> list[Any]:
    """Make the machines of all nodes; arguments as of `ceas.consensus.ConsensusRound`, and Simplex's signers.

    Raises:
        DomainError: There is no such protocol, or a signer is missing.
    """
    shared: dict[str, Any] = {
        "n_nodes": n_nodes,
        "tolerated_byzantine": tolerated_byzantine,
        "training_round": training_round,
        "parameter_digest": parameter_digest,
        "delay_bound_ns": delay_bound_ns,
        "validate": validate,
    }
    if protocol not in PROTOCOLS:
        raise DomainError(f"Argument `protocol` must be one of {', '.join(PROTOCOLS)}, but is {protocol}.")
    if protocol == "simplex":
        if len(signers) != n_nodes:
            raise DomainError(f"Argument `signers` must have {n_nodes} signers, but has {len(signers)}.")
        return [SimplexRound(node=node, signer=signers[node], **shared) for node in range(n_nodes)]
    return [ConsensusRound(node=node, **shared) for node in range(n_nodes)]
