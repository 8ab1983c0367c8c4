"""Messages of the comparison protocol Simplex, what is signed in them, and their canonical bytes.

Kinds start at 32, so no frame of one protocol is ever read as one of the other (`ceas.consensus.messages`). Messages
are valid by construction; `decode_simplex` is total. Integers are big-endian; a signature is length u16 | bytes:

    SIGNED_VALUE    parameter_digest 32 bytes | signature | value
    BLOCK_PROPOSAL  view u32 | entries | count u16 | signatures of the entries | count u16 | certificates | signature
    BLOCK_VOTE      view u32 | block digest 32 bytes | signature
    FINALIZE        as BLOCK_VOTE
    LEAVE_VIEW      view u32 | signature
    CERTIFICATES    count u16, at least 1 | certificates
    PULL_BLOCK      block digest 32 bytes
    BLOCK           entries
    PULL_VALUES     entries
    HELD_VALUE      instance u16 | value
    LACKING         members: length u16 (at least 1) | bitmap of nodes, big-endian, the first byte not zero

    entries         count u16, at least 1 | (instance u16 | value digest 32 bytes), instances strictly increasing
    certificate     phase u8 | view u32 | block digest 32 bytes (zeros in a LEAVE one) | count u16, at least 1 |
                    (node u16 | signature), nodes strictly increasing

What is signed, by `statement`: domain | phase u8 | training round u32 | parameter digest 32 bytes | number u32 | digest
32 bytes. The number is the view, or the signing node where a value is signed.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

from ceas.authentication import Rejected
from ceas.consensus.messages import DIGEST_BYTES, LARGEST_VIEW, Vote
from ceas.errors import DomainError

__all__ = [
    "NO_DIGEST",
    "Block",
    "BlockProposal",
    "BlockVote",
    "Certificate",
    "Certificates",
    "Finalize",
    "HeldValue",
    "Lacking",
    "LeaveView",
    "Phase",
    "PullBlock",
    "PullValues",
    "SignedValue",
    "SimplexKind",
    "SimplexMessage",
    "block_digest",
    "decode_certificate",
    "decode_simplex",
    "encode_certificate",
    "encode_simplex",
    "statement",
]

NO_DIGEST: Final = bytes(DIGEST_BYTES)
"""In the place of a block's digest where there is no block."""

_DOMAIN: Final = b"ceas/simplex/1\0"
_STATEMENT: Final = struct.Struct(f">BI{DIGEST_BYTES}sI{DIGEST_BYTES}s")
_COUNT: Final = struct.Struct(">H")
_VIEW: Final = struct.Struct(">I")
_VIEW_DIGEST: Final = struct.Struct(f">I{DIGEST_BYTES}s")
_ENTRY: Final = struct.Struct(f">H{DIGEST_BYTES}s")
_CERTIFICATE: Final = struct.Struct(f">BI{DIGEST_BYTES}s")
_LARGEST_NODE: Final = 2**16 - 1


class Phase(IntEnum):
    """What a signature is for."""

    VALUE = 0
    PROPOSE = 1
    VOTE = 2
    FINALIZE = 3
    LEAVE = 4


_CERTIFIED: Final = (Phase.VOTE, Phase.FINALIZE, Phase.LEAVE)


class SimplexKind(IntEnum):
    """Kind byte of a frame that carries a message of Simplex."""

    SIGNED_VALUE = 32
    BLOCK_PROPOSAL = 33
    BLOCK_VOTE = 34
    FINALIZE = 35
    LEAVE_VIEW = 36
    CERTIFICATES = 37
    PULL_BLOCK = 38
    BLOCK = 39
    PULL_VALUES = 40
    HELD_VALUE = 41
    LACKING = 42


@dataclass(frozen=True, slots=True)
class Certificate:
    """Signatures of many nodes under one statement: evidence that can be forwarded.

    Args:
        phase: VOTE, FINALIZE or LEAVE.
        view: View of the statement.
        digest: Digest of the block, 32 bytes; `NO_DIGEST` in phase LEAVE.
        signatures: (node, signature), nodes strictly increasing.
    """

    phase: Phase
    view: int
    digest: bytes
    signatures: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        if self.phase not in _CERTIFIED:
            raise DomainError(f"Argument `phase` must be VOTE, FINALIZE or LEAVE, but is {self.phase}.")
        _check_view(self.view)
        _check_digest(self.digest)
        if self.phase == Phase.LEAVE and self.digest != NO_DIGEST:
            raise DomainError("Argument `digest` of a certificate of phase LEAVE must be zeros.")
        _check_increasing("signatures", tuple(node for node, _ in self.signatures))
        _check_signatures(tuple(signature for _, signature in self.signatures))


@dataclass(frozen=True, slots=True)
class SignedValue:
    """The sender's value for its own instance, signed by it.

    Args:
        value: Canonical bytes of its update.
        parameter_digest: H(theta) of the parameters it computed the update at, 32 bytes.
        signature: Under the statement of phase VALUE for the value's digest.
    """

    value: bytes
    parameter_digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_digest(self.parameter_digest)
        _check_signatures((self.signature,))


@dataclass(frozen=True, slots=True)
class BlockProposal:
    """The leader's proposal in a view.

    Args:
        view: View.
        entries: (instance, digest of its value), instances strictly increasing.
        entry_signatures: Each proposer's signature, entry by entry; none where a certificate stands for the block.
        certificates: Why the view may be entered and the block voted for in it: a certificate of phase VOTE for the
            block or none, then one of phase LEAVE for every later view before this one.
        signature: The leader's, under the statement of phase PROPOSE.
    """

    view: int
    entries: tuple[Vote, ...]
    entry_signatures: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]
    signature: bytes

    def __post_init__(self) -> None:
        _check_view(self.view)
        _check_entries(self.entries)
        if len(self.entry_signatures) not in (0, len(self.entries)):
            raise DomainError(
                f"Argument `entry_signatures` must hold none or {len(self.entries)} signatures, "
                f"but holds {len(self.entry_signatures)}."
            )
        _check_signatures((*self.entry_signatures, self.signature))


@dataclass(frozen=True, slots=True)
class BlockVote:
    """The sender votes for a block in a view, and holds it with all its values."""

    view: int
    digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_view(self.view)
        _check_digest(self.digest)
        _check_signatures((self.signature,))


@dataclass(frozen=True, slots=True)
class Finalize:
    """The sender holds a certificate of votes for a block in a view that it has not asked to leave, and never will."""

    view: int
    digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _check_view(self.view)
        _check_digest(self.digest)
        _check_signatures((self.signature,))


@dataclass(frozen=True, slots=True)
class LeaveView:
    """The sender has finalised nothing in a view and never will."""

    view: int
    signature: bytes

    def __post_init__(self) -> None:
        _check_view(self.view)
        _check_signatures((self.signature,))


@dataclass(frozen=True, slots=True)
class Certificates:
    """Evidence handed on, at least one certificate."""

    certificates: tuple[Certificate, ...]

    def __post_init__(self) -> None:
        if not self.certificates:
            raise DomainError("Argument `certificates` must hold at least one, but is empty.")


@dataclass(frozen=True, slots=True)
class PullBlock:
    """Request for the block that has this digest."""

    digest: bytes

    def __post_init__(self) -> None:
        _check_digest(self.digest)


@dataclass(frozen=True, slots=True)
class Block:
    """Answer to `PullBlock`."""

    entries: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_entries(self.entries)


@dataclass(frozen=True, slots=True)
class PullValues:
    """Request for the values that have these digests."""

    entries: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_entries(self.entries)


@dataclass(frozen=True, slots=True)
class HeldValue:
    """Answer to `PullValues`, for one entry."""

    instance: int
    value: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.instance <= _LARGEST_NODE:
            raise DomainError(f"Argument `instance` must be in [0, {_LARGEST_NODE}], but is {self.instance}.")


@dataclass(frozen=True, slots=True)
class Lacking:
    """The sender asks these nodes, a bitmap, to send it their signed values again."""

    members: int

    def __post_init__(self) -> None:
        if self.members <= 0 or self.members.bit_length() > _LARGEST_NODE + 1:
            raise DomainError(f"Argument `members` must hold nodes in [0, {_LARGEST_NODE}], at least one.")


SimplexMessage = (
    SignedValue
    | BlockProposal
    | BlockVote
    | Finalize
    | LeaveView
    | Certificates
    | PullBlock
    | Block
    | PullValues
    | HeldValue
    | Lacking
)


def statement(phase: Phase, training_round: int, parameter_digest: bytes, number: int, digest: bytes) -> bytes:
    """Return the bytes that are signed; see the head of this file."""
    return _DOMAIN + _STATEMENT.pack(phase, training_round, parameter_digest, number, digest)


def block_digest(training_round: int, entries: tuple[Vote, ...]) -> bytes:
    """Return SHA-256 over the training round and the entries; agreement rests on its collision resistance."""
    return hashlib.sha256(_VIEW.pack(training_round) + _encode_entries(entries)).digest()


def encode_simplex(message: SimplexMessage) -> tuple[SimplexKind, bytes]:  # noqa: PLR0911 - one per kind
    """Return the kind and the canonical bytes of a message."""
    match message:
        case SignedValue():
            return SimplexKind.SIGNED_VALUE, message.parameter_digest + _sized(message.signature) + message.value
        case BlockProposal():
            parts = [_VIEW.pack(message.view), _encode_entries(message.entries)]
            parts += [_COUNT.pack(len(message.entry_signatures)), *map(_sized, message.entry_signatures)]
            parts += [_encode_certificates(message.certificates), _sized(message.signature)]
            return SimplexKind.BLOCK_PROPOSAL, b"".join(parts)
        case BlockVote():
            head = _VIEW_DIGEST.pack(message.view, message.digest)
            return SimplexKind.BLOCK_VOTE, head + _sized(message.signature)
        case Finalize():
            head = _VIEW_DIGEST.pack(message.view, message.digest)
            return SimplexKind.FINALIZE, head + _sized(message.signature)
        case LeaveView():
            return SimplexKind.LEAVE_VIEW, _VIEW.pack(message.view) + _sized(message.signature)
        case Certificates():
            return SimplexKind.CERTIFICATES, _encode_certificates(message.certificates)
        case PullBlock():
            return SimplexKind.PULL_BLOCK, message.digest
        case Block():
            return SimplexKind.BLOCK, _encode_entries(message.entries)
        case PullValues():
            return SimplexKind.PULL_VALUES, _encode_entries(message.entries)
        case HeldValue():
            return SimplexKind.HELD_VALUE, _COUNT.pack(message.instance) + message.value
        case Lacking():
            length = (message.members.bit_length() + 7) // 8
            return SimplexKind.LACKING, _COUNT.pack(length) + message.members.to_bytes(length, "big")


def decode_simplex(kind: int, body: bytes, sender: int) -> SimplexMessage | Rejected:
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


def encode_certificate(certificate: Certificate) -> bytes:
    """Return the canonical bytes of a certificate."""
    parts = [_CERTIFICATE.pack(certificate.phase, certificate.view, certificate.digest)]
    parts.append(_COUNT.pack(len(certificate.signatures)))
    for node, signature in certificate.signatures:
        parts += [_COUNT.pack(node), _sized(signature)]
    return b"".join(parts)


def decode_certificate(body: bytes, start: int) -> tuple[Certificate, int]:
    """Read a certificate from a place on and return it with the place after it.

    Raises:
        DomainError: The bytes are not those of a certificate.
        struct.error: They end before it does.
    """
    phase, view, digest = _CERTIFICATE.unpack_from(body, start)
    start += _CERTIFICATE.size
    (count,) = _COUNT.unpack_from(body, start)
    start += _COUNT.size
    signatures = []
    for _ in range(count):
        (node,) = _COUNT.unpack_from(body, start)
        signature, start = _parse_sized(body, start + _COUNT.size)
        signatures.append((node, signature))
    if phase not in _CERTIFIED:
        raise DomainError(f"Argument `phase` must be VOTE, FINALIZE or LEAVE, but is {phase}.")
    return Certificate(Phase(phase), view, digest, tuple(signatures)), start


# A broadcast reaches every node with the same bytes: decoding is a pure function, so one result serves all of them.
@lru_cache(maxsize=256)
def _decode(kind: int, body: bytes) -> SimplexMessage | None:
    try:
        message, end = _parse(kind, body)
    except (DomainError, struct.error):
        # A truncated field or a value that no valid message has.
        return None
    return message if end == len(body) else None


def _parse(kind: int, body: bytes) -> tuple[SimplexMessage, int]:  # noqa: PLR0911 - one per kind
    if kind == SimplexKind.SIGNED_VALUE:
        signature, end = _parse_sized(body, DIGEST_BYTES)
        return SignedValue(body[end:], body[:DIGEST_BYTES], signature), len(body)
    if kind == SimplexKind.BLOCK_PROPOSAL:
        return _parse_proposal(body)
    if kind in (SimplexKind.BLOCK_VOTE, SimplexKind.FINALIZE):
        view, digest = _VIEW_DIGEST.unpack_from(body)
        signature, end = _parse_sized(body, _VIEW_DIGEST.size)
        kind_of = BlockVote if kind == SimplexKind.BLOCK_VOTE else Finalize
        return kind_of(view, digest, signature), end
    if kind == SimplexKind.LEAVE_VIEW:
        signature, end = _parse_sized(body, _VIEW.size)
        return LeaveView(_VIEW.unpack_from(body)[0], signature), end
    if kind == SimplexKind.CERTIFICATES:
        certificates, end = _parse_certificates(body, 0)
        return Certificates(certificates), end
    if kind == SimplexKind.PULL_BLOCK:
        return PullBlock(body), len(body)
    if kind in (SimplexKind.BLOCK, SimplexKind.PULL_VALUES):
        entries, end = _parse_entries(body, 0)
        return (Block(entries) if kind == SimplexKind.BLOCK else PullValues(entries)), end
    if kind == SimplexKind.HELD_VALUE:
        return HeldValue(_COUNT.unpack_from(body)[0], body[_COUNT.size :]), len(body)
    if kind == SimplexKind.LACKING:
        (length,) = _COUNT.unpack_from(body)
        end = _COUNT.size + length
        if body[_COUNT.size : _COUNT.size + 1] == b"\0":
            raise DomainError("A bitmap's first byte must not be zero, but is.")
        return Lacking(int.from_bytes(body[_COUNT.size : end], "big")), end
    raise DomainError(f"Argument `kind` must be that of a message, but is {kind}.")


def _parse_proposal(body: bytes) -> tuple[BlockProposal, int]:
    entries, end = _parse_entries(body, _VIEW.size)
    (count,) = _COUNT.unpack_from(body, end)
    end += _COUNT.size
    signatures = []
    for _ in range(count):
        signature, end = _parse_sized(body, end)
        signatures.append(signature)
    certificates, end = _parse_certificates(body, end)
    signature, end = _parse_sized(body, end)
    return BlockProposal(_VIEW.unpack_from(body)[0], entries, tuple(signatures), certificates, signature), end


def _sized(signature: bytes) -> bytes:
    return _COUNT.pack(len(signature)) + signature


def _parse_sized(body: bytes, start: int) -> tuple[bytes, int]:
    (length,) = _COUNT.unpack_from(body, start)
    start += _COUNT.size
    if start + length > len(body):
        raise DomainError("A signature must end before the message does, but does not.")
    return body[start : start + length], start + length


def _encode_entries(entries: tuple[Vote, ...]) -> bytes:
    return _COUNT.pack(len(entries)) + b"".join([_ENTRY.pack(*entry) for entry in entries])


def _parse_entries(body: bytes, start: int) -> tuple[tuple[Vote, ...], int]:
    (count,) = _COUNT.unpack_from(body, start)
    start += _COUNT.size
    end = start + count * _ENTRY.size
    if end > len(body):
        raise DomainError("Entries must end before the message does, but do not.")
    entries: tuple[Vote, ...] = tuple(_ENTRY.iter_unpack(body[start:end]))
    return entries, end


def _encode_certificates(certificates: tuple[Certificate, ...]) -> bytes:
    return _COUNT.pack(len(certificates)) + b"".join(map(encode_certificate, certificates))


def _parse_certificates(body: bytes, start: int) -> tuple[tuple[Certificate, ...], int]:
    (count,) = _COUNT.unpack_from(body, start)
    start += _COUNT.size
    certificates = []
    for _ in range(count):
        certificate, start = decode_certificate(body, start)
        certificates.append(certificate)
    return tuple(certificates), start


def _check_view(view: int) -> None:
    if not 0 <= view <= LARGEST_VIEW:
        raise DomainError(f"Argument `view` must be in [0, {LARGEST_VIEW}], but is {view}.")


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise DomainError(f"Argument `digest` must have {DIGEST_BYTES} bytes, but has {len(digest)}.")


def _check_signatures(signatures: tuple[bytes, ...]) -> None:
    if any(len(signature) > 2**16 - 1 for signature in signatures):
        raise DomainError("A signature must have fewer than 65536 bytes, but one has more.")


def _check_entries(entries: tuple[Vote, ...]) -> None:
    _check_increasing("entries", tuple(instance for instance, _ in entries))
    for _, digest in entries:
        _check_digest(digest)


def _check_increasing(name: str, nodes: tuple[int, ...]) -> None:
    is_increasing = all(left < right for left, right in pairwise(nodes))
    if not nodes or nodes[0] < 0 or nodes[-1] > _LARGEST_NODE or not is_increasing:
        raise DomainError(f"Argument `{name}` must hold strictly increasing nodes, at least one.")
