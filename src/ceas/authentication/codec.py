"""Canonical bytes of an authenticated frame.

A frame has one encoding and one only, so that the tag binds every field. Layout, big-endian:

    version u8 | epoch_hash 32 bytes | source u16 | destination u16          the route, fixed for an epoch
    sequence u64 | training_round u32 | kind u8 | body_length u32            the stamp, new for every frame
    body | tag, of the profile's length

The route is cached per ordered pair of nodes and the body is encoded once per broadcast: one destination then costs
a stamp and two concatenations. The destination `EVERYBODY` marks a broadcast whose one signature serves all receivers.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "EVERYBODY",
    "HEADER_BYTES",
    "PROTOCOL_VERSION",
    "Frame",
    "Rejected",
    "RejectionReason",
    "decode_frame",
    "encode_frame",
    "epoch_hash",
    "link_epoch",
]

PROTOCOL_VERSION: Final = 1
EVERYBODY: Final = 0xFFFF
ROUTE: Final = struct.Struct(">B32sHH")
STAMP: Final = struct.Struct(">QIBI")
HEADER_BYTES: Final = ROUTE.size + STAMP.size


class RejectionReason(StrEnum):
    """Why a frame was not accepted."""

    MALFORMED = "malformed frame"
    WRONG_VERSION = "wrong protocol version"
    WRONG_EPOCH = "wrong epoch"
    WRONG_SOURCE = "wrong source"
    WRONG_DESTINATION = "wrong destination"
    WRONG_TRAINING_ROUND = "wrong training round"
    REPLAYED_SEQUENCE = "replayed or burnt sequence number"
    OVER_QUOTA = "more frames than a peer may send in a training round"
    NO_KEY = "no key for this sequence number"
    BAD_TAG = "bad tag"
    LINK_CLOSED = "link closed after too many bad tags"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Wrong input from a peer: data to count, never an exception.

    Args:
        sender: Node at the other end of the link on which the input arrived.
        reason: Why it was rejected; a `RejectionReason` or the reason of a higher protocol.
    """

    sender: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame without its tag.

    Args:
        epoch_hash: 32 bytes that name the run's roster and protocol, see `epoch_hash`.
        source: Sending node, in [0, 65535].
        destination: Receiving node, in [0, 65534], or `EVERYBODY`.
        sequence: Number of the frame on its direction of the link, or among its source's broadcasts; never used twice.
        training_round: Training round to which the frame belongs.
        kind: Message kind, in [0, 255]; its meaning belongs to the protocol above.
        body: Message bytes.
        version: Protocol version.
    """

    epoch_hash: bytes
    source: int
    destination: int
    sequence: int
    training_round: int
    kind: int
    body: bytes
    version: int = PROTOCOL_VERSION


def encode_frame(frame: Frame) -> bytes:
    """Return the canonical bytes of a frame, without a tag."""
    route = ROUTE.pack(frame.version, frame.epoch_hash, frame.source, frame.destination)
    return route + STAMP.pack(frame.sequence, frame.training_round, frame.kind, len(frame.body)) + frame.body


def decode_frame(data: bytes, sender: int) -> Frame | Rejected:
    """Read the canonical bytes of a frame, without a tag; total on any bytes.

    Args:
        data: Bytes that arrived.
        sender: Node to name in a rejection.

    Returns:
        The frame, or `Rejected` when the length or the version is wrong.
    """
    if len(data) < HEADER_BYTES:
        return Rejected(sender, RejectionReason.MALFORMED)
    version, epoch, source, destination = ROUTE.unpack_from(data)
    sequence, training_round, kind, body_length = STAMP.unpack_from(data, ROUTE.size)
    if version != PROTOCOL_VERSION:
        return Rejected(sender, RejectionReason.WRONG_VERSION)
    if body_length != len(data) - HEADER_BYTES:
        return Rejected(sender, RejectionReason.MALFORMED)
    return Frame(
        epoch_hash=epoch,
        source=source,
        destination=destination,
        sequence=sequence,
        training_round=training_round,
        kind=kind,
        body=data[HEADER_BYTES:],
    )


def epoch_hash(*, n_nodes: int, tolerated_byzantine: int, profile: str, start_digest: bytes) -> bytes:
    """Hash what all nodes must have in common into 32 bytes that every frame carries.

    Args:
        n_nodes: Nodes of the roster.
        tolerated_byzantine: Byzantine nodes that the protocol tolerates.
        profile: Name of the authentication profile.
        start_digest: Digest of the start parameters.

    Returns:
        32 bytes; nodes that differ in any argument reject each other's frames.
    """
    fields = (str(PROTOCOL_VERSION), str(n_nodes), str(tolerated_byzantine), profile, start_digest.hex())
    return hashlib.sha256("\x1f".join(fields).encode()).digest()


def link_epoch(epoch: bytes, profile: str, roster: Sequence[bytes] = ()) -> bytes:
    """Return the 32 bytes that frames carry: an epoch hash, bound once more to the profile and to the roster's keys.

    Nodes under different profiles thus reject each other's frames whatever went into `epoch`, and a node whose public
    key is another than the roster says is in another epoch.

    Args:
        epoch: 32 bytes from `epoch_hash`.
        profile: Name of the authentication profile.
        roster: Public keys of the nodes, in order; empty for profiles without any.
    """
    keys = hashlib.sha256(b"".join(hashlib.sha256(key).digest() for key in roster)).digest()
    return hashlib.sha256(b"ceas link epoch" + epoch + keys + profile.encode()).digest()
