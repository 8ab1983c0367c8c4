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
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceas.authentication import Rejected
from ceas.errors import DomainError

__all__ = ["Claims", "Update", "UpdateRejection", "decode_update", "encode_update", "parameter_digest"]

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


def _to_words(values: NDArray[np.float64], fixed_point_bits: int) -> NDArray[np.int64]:
    if not 0 <= fixed_point_bits <= 52:
        raise DomainError(f"Argument `fixed_point_bits` must be in [0, 52], but is {fixed_point_bits}.")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.asarray(values, dtype=np.float64) * math.ldexp(1.0, fixed_point_bits))
        is_representable = np.abs(scaled) <= _WORD_LIMIT  # False for NaN
    return np.where(is_representable, np.where(is_representable, scaled, 0.0).astype(np.int64), _REFUSED_WORD)
