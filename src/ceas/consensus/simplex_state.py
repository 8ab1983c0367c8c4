"""What a node of Simplex must not forget over a restart, and its bytes."""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final

from ceas.consensus.messages import DIGEST_BYTES, Vote
from ceas.consensus.simplex_messages import Certificate, decode_certificate, encode_certificate
from ceas.errors import DomainError

__all__ = ["SimplexState", "decode_simplex_state", "encode_simplex_state"]

ViewDigest = tuple[int, bytes]
"""A view and the digest of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplexState:
    """What a node must remember over a restart.

    Args:
        value: Its own value, once it has signed it.
        signature: Its signature of that value.
        proposed: Highest view that it proposed in.
        voted: Highest view that it voted in, and the block's digest.
        finalized: Highest view that it finalised, and the block's digest.
        left: Highest view that it asked to leave.
        certificate: VOTE certificate of the highest view that it holds.
        leaves: LEAVE certificates of the views since, in order.
        blocks: Entries of the blocks that it voted for or concluded with, in that order.
        values: (instance, value) of these blocks.
        decided: FINALIZE certificate that it decided by.
    """

    value: bytes | None = None
    signature: bytes = b""
    proposed: int | None = None
    voted: ViewDigest | None = None
    finalized: ViewDigest | None = None
    left: int | None = None
    certificate: Certificate | None = None
    leaves: tuple[Certificate, ...] = ()
    blocks: tuple[tuple[Vote, ...], ...] = ()
    values: tuple[tuple[int, bytes], ...] = ()
    decided: Certificate | None = None

    @property
    def view(self) -> int:
        """The view that the certificates justify."""
        if self.leaves:
            return self.leaves[-1].view + 1
        return 0 if self.certificate is None else self.certificate.view + 1


_STATE_VERSION: Final = 1
_CHECKSUM_BYTES: Final = 32
_NUMBER: Final = struct.Struct(">I")
_VIEW_DIGEST: Final = struct.Struct(f">I{DIGEST_BYTES}s")
_ENTRY: Final = struct.Struct(f">H{DIGEST_BYTES}s")
_SIZED: Final = struct.Struct(">HI")


def encode_simplex_state(state: SimplexState) -> bytes:
    """Return bytes to keep.

    Version u8 | value, signature, proposed, voted, finalized, left, certificate, decided, each 0 u8 or 1 u8 | length
    u32 | bytes | count u32 | leaves | count u32 | (count u32 | entries) of each block | count u32 | (instance u16 |
    length u32 | value) of each value | SHA-256 of all that.
    """
    parts = [bytes((_STATE_VERSION,))]
    for field in (
        state.value,
        state.signature,
        None if state.proposed is None else _NUMBER.pack(state.proposed),
        None if state.voted is None else _VIEW_DIGEST.pack(*state.voted),
        None if state.finalized is None else _VIEW_DIGEST.pack(*state.finalized),
        None if state.left is None else _NUMBER.pack(state.left),
        None if state.certificate is None else encode_certificate(state.certificate),
        None if state.decided is None else encode_certificate(state.decided),
    ):
        parts.append(b"\0" if field is None else b"\1" + _NUMBER.pack(len(field)) + field)
    parts += [_NUMBER.pack(len(state.leaves)), *map(encode_certificate, state.leaves)]
    parts.append(_NUMBER.pack(len(state.blocks)))
    for entries in state.blocks:
        parts += [_NUMBER.pack(len(entries)), *(_ENTRY.pack(*entry) for entry in entries)]
    parts.append(_NUMBER.pack(len(state.values)))
    parts += [_SIZED.pack(instance, len(value)) + value for instance, value in state.values]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def decode_simplex_state(data: bytes) -> SimplexState:
    """Read the bytes of `encode_simplex_state`.

    Raises:
        DomainError: They are not what was written. A node must not take part with a state that it has lost.
    """
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not body or hashlib.sha256(body).digest() != checksum:
        raise DomainError("Argument `data` must be an undamaged state of the consensus, but its checksum differs.")
    if body[0] != _STATE_VERSION:
        raise DomainError(f"State of the consensus must have version {_STATE_VERSION}, but has {body[0]}.")
    end = 1
    fields: list[Any] = []
    for _ in range(8):
        is_there, end = body[end], end + 1
        field = None
        if is_there:
            start = end + _NUMBER.size
            end = start + _NUMBER.unpack_from(body, end)[0]
            field = body[start:end]
        fields.append(field)
    value, signature, proposed, voted, finalized, left, certificate, decided = fields
    (n_leaves,), end = _NUMBER.unpack_from(body, end), end + _NUMBER.size
    leaves = []
    for _ in range(n_leaves):
        leaf, end = decode_certificate(body, end)
        leaves.append(leaf)
    (n_blocks,), end = _NUMBER.unpack_from(body, end), end + _NUMBER.size
    blocks: list[tuple[Vote, ...]] = []
    for _ in range(n_blocks):
        start = end + _NUMBER.size
        end = start + _NUMBER.unpack_from(body, end)[0] * _ENTRY.size
        blocks.append(tuple(_ENTRY.iter_unpack(body[start:end])))
    (n_values,), end = _NUMBER.unpack_from(body, end), end + _NUMBER.size
    values = []
    for _ in range(n_values):
        (instance, size), start = _SIZED.unpack_from(body, end), end + _SIZED.size
        end = start + size
        values.append((instance, body[start:end]))
    return SimplexState(
        value=value,
        signature=signature,
        proposed=None if proposed is None else _NUMBER.unpack(proposed)[0],
        voted=None if voted is None else _VIEW_DIGEST.unpack(voted),
        finalized=None if finalized is None else _VIEW_DIGEST.unpack(finalized),
        left=None if left is None else _NUMBER.unpack(left)[0],
        certificate=None if certificate is None else decode_certificate(certificate, 0)[0],
        leaves=tuple(leaves),
        blocks=tuple(blocks),
        values=tuple(values),
        decided=None if decided is None else decode_certificate(decided, 0)[0],
    )
