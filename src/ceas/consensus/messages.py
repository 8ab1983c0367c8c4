"""Messages of the reliable broadcast and their canonical bytes.

Messages are valid by construction. `decode_message` is total: bytes that no valid message encodes to are `Rejected`.

    PROPOSE  parameter_digest 32 bytes | value
    ECHO     (instance u16 | digest 32 bytes) repeated, instances strictly increasing, at least one
    READY    as ECHO
    PULL     instance u16 | digest 32 bytes
    VALUE    instance u16 | value
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

from ceas.authentication import Rejected
from ceas.errors import DomainError

__all__ = [
    "DIGEST_BYTES",
    "Echo",
    "Message",
    "MessageKind",
    "Propose",
    "Pull",
    "Ready",
    "Value",
    "Vote",
    "decode_message",
    "encode_message",
    "value_digest",
]

DIGEST_BYTES: Final = 32
_INSTANCE: Final = struct.Struct(">H")
_VOTE: Final = struct.Struct(">H32s")
_DIGEST_CONTEXT: Final = struct.Struct(">IH")

Vote = tuple[int, bytes]
"""One instance (the node that proposes in it) and the digest voted for."""


class MessageKind(IntEnum):
    """Kind byte of a frame that carries a message."""

    PROPOSE = 1
    ECHO = 2
    READY = 3
    PULL = 4
    VALUE = 5


@dataclass(frozen=True, slots=True)
class Propose:
    """The sender's value for its own instance.

    Args:
        value: Canonical bytes of its update.
        parameter_digest: H(theta) of the parameters it computed the update at, 32 bytes.
    """

    value: bytes
    parameter_digest: bytes

    def __post_init__(self) -> None:
        _check_digest(self.parameter_digest)


@dataclass(frozen=True, slots=True)
class Echo:
    """All values that the sender accepted since its last echo; `votes` has strictly increasing instances."""

    votes: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_votes(self.votes)


@dataclass(frozen=True, slots=True)
class Ready:
    """All values that the sender knows to be the only deliverable ones; `votes` has strictly increasing instances."""

    votes: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_votes(self.votes)


@dataclass(frozen=True, slots=True)
class Pull:
    """Request for the value of an instance that has this digest."""

    instance: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_digest(self.digest)


@dataclass(frozen=True, slots=True)
class Value:
    """Answer to `Pull`."""

    instance: int
    value: bytes


Message = Propose | Echo | Ready | Pull | Value


def value_digest(training_round: int, instance: int, value: bytes) -> bytes:
    """Return SHA-256 over training round, instance and value; agreement rests on its collision resistance."""
    return hashlib.sha256(_DIGEST_CONTEXT.pack(training_round, instance) + value).digest()


def encode_message(message: Message) -> tuple[MessageKind, bytes]:
    """Return the kind and the canonical bytes of a message."""
    match message:
        case Propose():
            return MessageKind.PROPOSE, message.parameter_digest + message.value
        case Echo():
            return MessageKind.ECHO, _encode_votes(message.votes)
        case Ready():
            return MessageKind.READY, _encode_votes(message.votes)
        case Pull():
            return MessageKind.PULL, _VOTE.pack(message.instance, message.digest)
        case Value():
            return MessageKind.VALUE, _INSTANCE.pack(message.instance) + message.value


def decode_message(kind: int, body: bytes, sender: int) -> Message | Rejected:
    """Read a message; total on any kind and bytes.

    Args:
        kind: Kind byte of the frame.
        body: Message bytes.
        sender: Node to name in a rejection.

    Returns:
        The message, or `Rejected` when the kind is unknown or the bytes are not canonical.
    """
    message = _decode(kind, body)
    return Rejected(sender, "malformed message") if message is None else message


# A broadcast reaches every node with the same bytes: decoding is a pure function, so one result serves all of them.
@lru_cache(maxsize=512)
def _decode(kind: int, body: bytes) -> Message | None:
    if kind == MessageKind.PROPOSE and len(body) >= DIGEST_BYTES:
        return Propose(body[DIGEST_BYTES:], body[:DIGEST_BYTES])
    if kind in (MessageKind.ECHO, MessageKind.READY):
        votes = _decode_votes(body)
        return None if votes is None else (Echo(votes) if kind == MessageKind.ECHO else Ready(votes))
    if kind == MessageKind.PULL and len(body) == _VOTE.size:
        return Pull(*_VOTE.unpack(body))
    if kind == MessageKind.VALUE and len(body) >= _INSTANCE.size:
        return Value(_INSTANCE.unpack_from(body)[0], body[_INSTANCE.size :])
    return None


def _encode_votes(votes: tuple[Vote, ...]) -> bytes:
    return b"".join([_VOTE.pack(instance, digest) for instance, digest in votes])


def _decode_votes(body: bytes) -> tuple[Vote, ...] | None:
    if not body or len(body) % _VOTE.size:
        return None
    votes: tuple[Vote, ...] = tuple(_VOTE.iter_unpack(body))
    return votes if _is_increasing(votes) else None


def _is_increasing(votes: tuple[Vote, ...]) -> bool:
    return all(left[0] < right[0] for left, right in pairwise(votes))


def _check_votes(votes: tuple[Vote, ...]) -> None:
    if not votes or votes[0][0] < 0 or not _is_increasing(votes):
        raise DomainError("Argument `votes` must hold strictly increasing instances, at least one.")
    for _, digest in votes:
        _check_digest(digest)


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise DomainError(f"Argument `digest` must have {DIGEST_BYTES} bytes, but has {len(digest)}.")
