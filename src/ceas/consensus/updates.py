"""Canonical bytes of an update and of the claims that its sender makes about it.

Nodes vote on digests, so equal updates need equal bytes: numbers travel as 64-bit integers, in units of
2^-fixed_point_bits. Whatever has no such integer (NaN, infinity, too large) is written as one reserved word, which
every receiver refuses; so a sender cannot make receivers disagree on what is valid, and encoding never fails.

Layout, big-endian: version u8 | fixed_point_bits u8 | n_parameters u32 | shots u64 | contraction i64 |
quantum_fisher i64 | n_parameters times i64.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceas.authentication import Rejected
from ceas.errors import DomainError

__all__ = [
    "Claims",
    "Update",
    "UpdateRejection",
    "UpdateTable",
    "decode_update",
    "decode_updates",
    "encode_update",
    "encode_updates",
    "parameter_digest",
]

_HEADER: Final = struct.Struct(">BBIQqq")
_VERSION: Final = 1
_REFUSED_WORD: Final = -(1 << 63)
_WORD_LIMIT: Final = 1 << 62
_SHOTS_LIMIT: Final = 1 << 62


class UpdateRejection(StrEnum):
    """Why an update was refused."""

    MALFORMED = "malformed update"
    WRONG_LENGTH = "wrong number of parameters"
    OUT_OF_RANGE = "update not finite or out of range"
    BAD_CLAIM = "claim out of range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a node says about its own update; certified elsewhere, never trusted.

    Args:
        shots: Shots behind the update.
        contraction: Overall contraction of its observables by noise, in [0, 1].
        quantum_fisher: Trace of its quantum Fisher information per parameter, not negative.
    """

    shots: int
    contraction: float
    quantum_fisher: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A decoded update: `values` of shape (P,), float64, and its sender's claims."""

    values: NDArray[np.float64]
    claims: Claims


def encode_update(update: NDArray[np.float64], claims: Claims, *, fixed_point_bits: int = 32) -> bytes:
    """Return the canonical bytes of an update.

    Values are rounded to the nearest multiple of 2^-fixed_point_bits, half to even.

    Args:
        update: Update, shape (P,), any values; those without a fixed-point word are marked so that receivers refuse.
        claims: Sender's claims.
        fixed_point_bits: Binary digits after the point, in [0, 52].

    Raises:
        DomainError: `update` is not a vector or `fixed_point_bits` is out of range.
    """
    if update.ndim != 1:
        raise DomainError(f"Argument `update` must have one dimension, but has {update.ndim}.")
    shots = claims.shots if 0 <= claims.shots < _SHOTS_LIMIT else _SHOTS_LIMIT
    claim_words = _to_words(np.array([claims.contraction, claims.quantum_fisher]), fixed_point_bits)
    contraction, quantum_fisher = claim_words.tolist()
    header = _HEADER.pack(_VERSION, fixed_point_bits, update.size, shots, contraction, quantum_fisher)
    return header + _to_words(update, fixed_point_bits).astype(">i8").tobytes()


def decode_update(data: bytes, sender: int, *, n_parameters: int, fixed_point_bits: int = 32) -> Update | Rejected:
    """Read an update; total on any bytes.

    Args:
        data: Bytes from the network.
        sender: Node to name in a rejection.
        n_parameters: Parameters that the update must have.
        fixed_point_bits: Binary digits after the point that it must have.

    Returns:
        The update, or `Rejected` with the reason.
    """
    if len(data) < _HEADER.size:
        return Rejected(sender, UpdateRejection.MALFORMED.value)
    version, bits, size, shots, contraction, quantum_fisher = _HEADER.unpack_from(data)
    if version != _VERSION or bits != fixed_point_bits or len(data) != _HEADER.size + 8 * size:
        return Rejected(sender, UpdateRejection.MALFORMED.value)
    if size != n_parameters:
        return Rejected(sender, UpdateRejection.WRONG_LENGTH.value)
    unit = math.ldexp(1.0, -fixed_point_bits)
    if shots >= _SHOTS_LIMIT or not 0 <= contraction * unit <= 1 or not 0 <= quantum_fisher <= _WORD_LIMIT:
        return Rejected(sender, UpdateRejection.BAD_CLAIM.value)
    words = np.frombuffer(data, dtype=">i8", offset=_HEADER.size).astype(np.int64)
    if np.any(words < -_WORD_LIMIT) or np.any(words > _WORD_LIMIT):
        return Rejected(sender, UpdateRejection.OUT_OF_RANGE.value)
    claims = Claims(shots=shots, contraction=contraction * unit, quantum_fisher=quantum_fisher * unit)
    return Update(values=words.astype(np.float64) * unit, claims=claims)


class UpdateTable(NamedTuple):
    """What is read of the messages of N nodes; everything is zero in the rows that are not valid.

    Attributes:
        is_valid: Whether `decode_update` accepts the message, shape (N,).
        values: Updates, shape (N, P).
        shots: Claimed shots, shape (N,).
        contraction: Claimed contractions, shape (N,).
        quantum_fisher: Claimed quantum Fisher information per parameter, shape (N,).
    """

    is_valid: NDArray[np.bool_]
    values: NDArray[np.float64]
    shots: NDArray[np.float64]
    contraction: NDArray[np.float64]
    quantum_fisher: NDArray[np.float64]


def encode_updates(
    updates: NDArray[np.float64],
    *,
    shots: NDArray[np.float64],
    contraction: NDArray[np.float64],
    quantum_fisher: NDArray[np.float64],
    fixed_point_bits: int = 32,
) -> NDArray[np.void]:
    """Return the canonical bytes of all nodes' updates at once: row by row those of `encode_update`.

    Args:
        updates: Updates, shape (N, P), any values.
        shots: Claimed shots, shape (N,), rounded to whole numbers; what is none is marked so that receivers refuse.
        contraction: Claimed contractions, shape (N,).
        quantum_fisher: Claimed quantum Fisher information per parameter, shape (N,).
        fixed_point_bits: Binary digits after the point, in [0, 52].

    Returns:
        Records of shape (N,), of which `tobytes` gives the messages.

    Raises:
        DomainError: `updates` is not a matrix or `fixed_point_bits` is out of range.
    """
    if updates.ndim != 2:
        raise DomainError(f"Argument `updates` must have two dimensions, but has {updates.ndim}.")
    n_nodes, n_parameters = updates.shape
    whole = np.rint(np.nan_to_num(np.asarray(shots, np.float64), nan=-1.0, posinf=-1.0, neginf=-1.0))
    is_number = (whole >= 0) & (whole < _SHOTS_LIMIT)
    words = _to_words(np.column_stack([contraction, quantum_fisher, updates]), fixed_point_bits)
    records = np.empty(n_nodes, _record_type(n_parameters))
    records["version"], records["bits"], records["size"] = _VERSION, fixed_point_bits, n_parameters
    records["shots"] = np.where(is_number, np.where(is_number, whole, 0.0).astype(np.uint64), np.uint64(_SHOTS_LIMIT))
    records["contraction"], records["quantum_fisher"], records["words"] = words[:, 0], words[:, 1], words[:, 2:]
    return records


def decode_updates(
    messages: Sequence[bytes] | NDArray[np.void], *, n_parameters: int, fixed_point_bits: int = 32
) -> UpdateTable:
    """Read the updates of all nodes at once, each as `decode_update` does; total on any bytes.

    Args:
        messages: A message of each of N nodes, or the records of `encode_updates`.
        n_parameters: Parameters that an update must have.
        fixed_point_bits: Binary digits after the point that it must have.
    """
    kind, n_nodes = _record_type(n_parameters), len(messages)
    if isinstance(messages, np.ndarray):
        has_length = np.full(n_nodes, messages.dtype == kind)
        records = messages if messages.dtype == kind else np.zeros(n_nodes, kind)
    else:
        has_length = np.array([len(message) == kind.itemsize for message in messages], np.bool_)
        # A record of zeros is no update: its version is wrong.
        empty = bytes(kind.itemsize)
        whole = (message if fits else empty for message, fits in zip(messages, has_length, strict=True))
        records = np.frombuffer(b"".join(whole), kind)
    unit = math.ldexp(1.0, -fixed_point_bits)
    words = records["words"].astype(np.int64)
    shots, contraction, fisher = (records[name] for name in ("shots", "contraction", "quantum_fisher"))
    fraction = contraction.astype(np.float64) * unit
    is_valid = (
        has_length
        & ((records["version"] == _VERSION) & (records["bits"] == fixed_point_bits))
        & ((records["size"] == n_parameters) & (shots < _SHOTS_LIMIT))
        & ((fraction >= 0) & (fraction <= 1) & (fisher >= 0) & (fisher <= _WORD_LIMIT))
        & np.all((words >= -_WORD_LIMIT) & (words <= _WORD_LIMIT), axis=1)
    )
    return UpdateTable(
        is_valid=is_valid,
        values=np.where(is_valid[:, None], words * unit, 0.0),
        shots=np.where(is_valid, shots.astype(np.float64), 0.0),
        contraction=np.where(is_valid, fraction, 0.0),
        quantum_fisher=np.where(is_valid, fisher * unit, 0.0),
    )


def parameter_digest(parameters: NDArray[np.float64], *, fixed_point_bits: int = 32) -> bytes:
    """Return H(theta), SHA-256 of the parameters in fixed point, so that it does not depend on rounding below 2^-bits.

    Args:
        parameters: Model parameters, shape (P,), finite.
        fixed_point_bits: Binary digits after the point.

    Raises:
        DomainError: a parameter has no fixed-point word.
    """
    words = _to_words(np.ravel(parameters), fixed_point_bits)
    if np.any(words == _REFUSED_WORD):
        raise DomainError("Argument `parameters` must be finite and in range.")
    return hashlib.sha256(words.astype(">i8").tobytes()).digest()


@cache
def _record_type(n_parameters: int) -> np.dtype[np.void]:
    """Return the layout of a message as a type of NumPy's."""
    head = [("version", "u1"), ("bits", "u1"), ("size", ">u4"), ("shots", ">u8"), ("contraction", ">i8")]
    return np.dtype([*head, ("quantum_fisher", ">i8"), ("words", ">i8", (n_parameters,))])


def _to_words(values: NDArray[np.float64], fixed_point_bits: int) -> NDArray[np.int64]:
    if not 0 <= fixed_point_bits <= 52:
        raise DomainError(f"Argument `fixed_point_bits` must be in [0, 52], but is {fixed_point_bits}.")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.asarray(values, dtype=np.float64) * math.ldexp(1.0, fixed_point_bits))
        is_representable = np.abs(scaled) <= _WORD_LIMIT  # False for NaN
    return np.where(is_representable, np.where(is_representable, scaled, 0.0).astype(np.int64), _REFUSED_WORD)
