"""How a frame is made authentic: the four profiles, as facts and as the objects that make and check tags.

`its128`  (Wegman-Carter; information-theoretic)
    tag = Poly1305 under r || s, 16 bytes. r: a block of the enrolled key for each direction, recycled for the whole
    epoch. s: 128 fresh bits of the pair's pool for every frame. The directions take alternate pads: two nodes that send
    at the same time never choose the same one, and neither can use up the other's. When the pad is not there yet, the
    frame cannot be authenticated and is not sent. Nothing else takes its place.

`its64`  (Wegman-Carter; information-theoretic)
    The same with 64 fresh bits a frame and a tag of 8 bytes, by the hash of `ceas.authentication.polynomial_hash`.

`qkd_seeded`  (computational: BLAKE2b is taken to be a pseudo-random function)
    Each pair of nodes holds a 256-bit seed, enrolled before training. At the start of a training round it is replaced
    by a keyed hash of itself (so that a seed stolen later does not open earlier rounds), and every `reseed_rounds`
    rounds 256 fresh bits of the link's pool are hashed in, if the pair is joined by a link and its pool holds them.
    A link that cannot pay is starved in that round: it is counted and the old seed ratchets on. Pairs without a link
    only ratchet the enrolled seed, so their key is never refreshed by quantum means.
    tag = Poly1305 under r || s = BLAKE2b(key = seed; training round | source | destination | sequence).

`ml_dsa`  (computational: ML-DSA-44 of FIPS 204)
    Each node signs with a key of its own; all know the public keys, which are part of the epoch. One signature serves
    all receivers of a broadcast. No bit of the pools is used. A tag is a signature of 2,420 bytes.

What a forger can hope for: `forgery_bound` an attempt, and what the assumption in `PROFILES` may fail by on top.
Source: Wegman and Carter, J. Comput. Syst. Sci. 22, 265 (1981); Bernstein, FSE 2005; recycling of r: Portmann,
IEEE Trans. Inf. Theory 60, 4383 (2014); NIST FIPS 204 (2024).
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

from ceas.authentication.keys import BLOCK_BITS, KeyPools
from ceas.authentication.polynomial_hash import HASH_PRIME, WORD_BYTES, hash_key, polynomial_hash
from ceas.errors import DomainError

__all__ = [
    "BOUNDLESS",
    "PROFILES",
    "OneTimePads",
    "Profile",
    "ProfileFacts",
    "RefreshedSeeds",
    "Signatures",
    "TagMaker",
    "forgery_bound",
    "require_profile",
]

Profile = Literal["its128", "its64", "qkd_seeded", "ml_dsa"]
BOUNDLESS: Final = np.int64(1 << 62)
"""Frames left where nothing limits them."""

_pack_sequence: Final = struct.Struct(">Q").pack
_CONTEXT: Final = struct.Struct(">IHH")
_SEED_BLOCKS: Final = 2
_HASH_KEY_BITS: Final = 2 * BLOCK_BITS  # r of both directions, at the start of a pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFacts:
    """What a profile promises and costs.

    Attributes:
        security: What the forgery bound rests on.
        tag_bytes: Bytes of a tag on the wire.
        pad_bits: Fresh key bits of a frame; 0 where frames take none.
        alarm_bad_tags: Bad tags after which a receiver closes a direction of a link.
    """

    security: str
    tag_bytes: int
    pad_bits: int
    alarm_bad_tags: int


PROFILES: Final[Mapping[Profile, ProfileFacts]] = MappingProxyType(
    {
        "its128": ProfileFacts(security="information-theoretic", tag_bytes=16, pad_bits=128, alarm_bad_tags=16),
        # Fewer attempts, since each has a better chance; nothing but a forger makes bad tags.
        "its64": ProfileFacts(security="information-theoretic", tag_bytes=8, pad_bits=64, alarm_bad_tags=4),
        "qkd_seeded": ProfileFacts(security="computational (BLAKE2b)", tag_bytes=16, pad_bits=0, alarm_bad_tags=16),
        # A bad signature costs the receiver a verification, which is what the limit is for here.
        "ml_dsa": ProfileFacts(security="computational (ML-DSA-44)", tag_bytes=2420, pad_bits=0, alarm_bad_tags=16),
    }
)


def require_profile(profile: str) -> ProfileFacts:
    """Return the facts of a profile.

    Raises:
        DomainError: there is no such profile.
    """
    if profile not in get_args(Profile):
        raise DomainError(f"Argument `profile` must be one of {', '.join(get_args(Profile))}, but is {profile}.")
    return PROFILES[profile]  # type: ignore[index]  # just checked


def forgery_bound(frame_bytes: int, profile: Profile) -> float | None:
    """Return a bound on the chance of one attempt to forge a frame of L bytes, the profile's assumption granted.

    `its128`, `qkd_seeded`: 8 ceil(L/16) / 2^106 (Poly1305). `its64`: 2 (ceil(L/7) + 1) (1 + 2^-63) / (2^64 - 59), see
    `ceas.authentication.polynomial_hash`. `ml_dsa`: None, since nothing but the assumption bounds it.

    Args:
        frame_bytes: Bytes of the frame without its tag, not negative.
        profile: Authentication profile.

    Raises:
        DomainError: `frame_bytes` is negative, or there is no such profile.

    Source:
        Bernstein, "The Poly1305-AES message-authentication code", FSE 2005, Theorem 3.3.
    """
    require_profile(profile)
    if frame_bytes < 0:
        raise DomainError(f"Argument `frame_bytes` must not be negative, but is {frame_bytes}.")
    if profile == "ml_dsa":
        return None
    if profile == "its64":
        return 2.0 * (-(-frame_bytes // WORD_BYTES) + 1) * (1.0 + 2.0**-63) / HASH_PRIME
    return 8.0 * -(-frame_bytes // 16) / 2.0**106


class TagMaker(Protocol):
    """Makes and checks tags of all directions, both ends of every link in one object.

    Frames of a direction are numbered; `frame` is everything before the tag, `data` everything with it.
    """

    def begin_round(self, training_round: int) -> tuple[int, ...]:
        """Move on to a training round; return the pairs of nodes whose link could not pay for fresh key."""

    def holds(self, source: int, destination: int, sequence: int) -> bool:
        """Say whether there is key for frame number `sequence`, and hence for all before it."""

    def make(self, source: int, destination: int, sequence: int, frame: bytes) -> bytes:
        """Return the tag of a frame for which there is key."""

    def check(self, source: int, destination: int, sequence: int, data: bytes) -> bool:
        """Say whether data of a number for which there is key ends with its tag."""

    def pay(self, counts: NDArray[np.int64]) -> None:
        """Account for the key of frames sent on each direction, shape (n, n)."""

    def pay_one(self, source: int, destination: int) -> None:
        """Account for the key of one frame sent."""

    def frames_left(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many frames from the given numbers on there is key for, shape (n, n)."""

    def to_array(self) -> NDArray[np.uint8]:
        """Return the secret state that the pools' counts do not determine."""

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore what `to_array` returned."""


def _poly1305(secret: bytes, pad: bytes, frame: bytes) -> bytes:
    return Poly1305.generate_tag(secret + pad, frame)


def _polynomial(r: np.uint64, pad: bytes, frame: bytes) -> bytes:
    total = int(polynomial_hash(frame, r)) + int.from_bytes(pad, "little")
    return (total & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")


class OneTimePads:
    """Tags of the profiles `its128` and `its64`: a recycled hash key and a fresh pad for every frame.

    A pool holds, from its start: r of both directions, 128 bits each; then pads of the profile's length, alternately
    for the direction from the smaller to the larger node and for the other one. Pad number 2 k + direction is that of
    frame k.

    Args:
        pools: Key pools.
        profile: `its128` or `its64`.
    """

    def __init__(self, pools: KeyPools, profile: Literal["its128", "its64"]) -> None:
        self._pools = pools
        self._bits = PROFILES[profile].pad_bits
        self._prepare: Callable[[bytes], Any] = bytes if profile == "its128" else hash_key
        self._tag: Callable[[Any, bytes, bytes], bytes] = _poly1305 if profile == "its128" else _polynomial
        n = pools.n_nodes
        self._n_nodes = n
        # All of this is indexed by source * n_nodes + destination.
        self._pair = [pools.pair_index(source, destination) for source in range(n) for destination in range(n)]
        self._hash_keys: list[Any] = [None] * (n * n)
        for a in range(n):
            for b in range(a + 1, n):
                pair = pools.pair_index(a, b)
                pools.consume_bits(pair, _HASH_KEY_BITS)
                self._hash_keys[a * n + b] = self._prepare(pools.block(pair, 0))
                self._hash_keys[b * n + a] = self._prepare(pools.block(pair, 1))

    def begin_round(self, training_round: int) -> tuple[int, ...]:  # noqa: ARG002 - pads do not depend on the round
        """Do nothing: a starved link shows as starved frames."""
        return ()

    def holds(self, source: int, destination: int, sequence: int) -> bool:
        """Say whether the pool holds the pad."""
        return self._pools.holds_bits(
            self._pair[source * self._n_nodes + destination],
            self._first_bit(source, destination, sequence) + self._bits,
        )

    def make(self, source: int, destination: int, sequence: int, frame: bytes) -> bytes:
        """Return h_r(frame) + s."""
        direction = source * self._n_nodes + destination
        pad = self._pools.bits_at(self._pair[direction], self._first_bit(source, destination, sequence), self._bits)
        return self._tag(self._hash_keys[direction], pad, frame)

    def check(self, source: int, destination: int, sequence: int, data: bytes) -> bool:
        """Compare with the tag that the frame should have, in constant time."""
        size = self._bits // 8
        return compare_digest(self.make(source, destination, sequence, data[:-size]), data[-size:])

    def pay(self, counts: NDArray[np.int64]) -> None:
        """Consume the pads of both directions of each pair of nodes."""
        self._pools.consumed_bits += (self._bits * np.triu(counts + counts.T, 1)).ravel()

    def pay_one(self, source: int, destination: int) -> None:
        """Consume one pad."""
        self._pools.consume_bits(self._pair[source * self._n_nodes + destination], self._bits)

    def frames_left(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many pads from the given numbers on the pools hold, not below 0, shape (n, n)."""
        n = self._n_nodes
        filled = self._pools.filled_bits().reshape(n, n)
        pads = np.triu(filled, 1) + np.triu(filled, 1).T - _HASH_KEY_BITS
        is_second = np.tril(np.ones((n, n), dtype=np.int64), -1)  # source > destination
        held = (pads // self._bits - is_second + 1) // 2
        return np.asarray(np.maximum(held - sequences, 0), dtype=np.int64)

    def _first_bit(self, source: int, destination: int, sequence: int) -> int:
        return _HASH_KEY_BITS + self._bits * (2 * sequence + (source > destination))

    def to_array(self) -> NDArray[np.uint8]:
        """Return nothing: pads follow from the sequence numbers."""
        return np.zeros(0, dtype=np.uint8)

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore nothing."""


class RefreshedSeeds:
    """Tags of the profile `qkd_seeded`: one seed per pair of nodes, expanded by keyed BLAKE2b.

    Args:
        pools: Key pools; 256 enrolled bits of every pair of nodes become its seed.
        links: Pairs of nodes joined by a link, shape (links, 2).
        reseed_rounds: Training rounds between two refreshments of a link's seed, at least 1.

    Raises:
        DomainError: `reseed_rounds` is below 1.
    """

    def __init__(self, pools: KeyPools, links: Iterable[tuple[int, int]], reseed_rounds: int) -> None:
        if reseed_rounds < 1:
            raise DomainError(f"Argument `reseed_rounds` must be at least 1, but is {reseed_rounds}.")
        n = pools.n_nodes
        self._n_nodes = n
        self._pools = pools
        self._reseed_rounds = reseed_rounds
        self._pairs = [(a, b, a * n + b) for a in range(n) for b in range(a + 1, n)]
        self._linked = sorted({pools.pair_index(a, b) for a, b in links})
        self._seeds = [b""] * (n * n)
        self._expanders: dict[int, hashlib.blake2b] = {}
        self._training_round = -1
        for _, _, pair in self._pairs:
            self._seeds[pair] = self._fresh_bits(pair)

    def begin_round(self, training_round: int) -> tuple[int, ...]:
        """Ratchet every seed and refresh those that are due."""
        is_due = training_round > 0 and training_round % self._reseed_rounds == 0
        fresh, starved = self._draw_fresh() if is_due else ({}, ())
        self._ratchet(training_round, fresh)
        self._expanders.clear()
        self._training_round = training_round
        return starved

    def holds(self, source: int, destination: int, sequence: int) -> bool:  # noqa: ARG002
        """Return true: a seed gives any number of keys."""
        return True

    def frame_key(self, source: int, destination: int, sequence: int) -> bytes:
        """Return r || s of a frame of the current training round."""
        direction = source * self._n_nodes + destination
        started = self._expanders.get(direction)
        if started is None:
            started = self._expanders[direction] = self._expander(source, destination)
        expander = started.copy()
        expander.update(_pack_sequence(sequence))
        return expander.digest()

    def make(self, source: int, destination: int, sequence: int, frame: bytes) -> bytes:
        """Return the Poly1305 tag under the frame's own key."""
        return Poly1305.generate_tag(self.frame_key(source, destination, sequence), frame)

    def check(self, source: int, destination: int, sequence: int, data: bytes) -> bool:
        """Verify the Poly1305 tag."""
        return compare_digest(self.make(source, destination, sequence, data[:-16]), data[-16:])

    def pay(self, counts: NDArray[np.int64]) -> None:
        """Do nothing: seeds are paid for when they are refreshed."""

    def pay_one(self, source: int, destination: int) -> None:
        """Do nothing: seeds are paid for when they are refreshed."""

    def frames_left(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return that nothing limits them."""
        return np.full_like(sequences, BOUNDLESS)

    def to_array(self) -> NDArray[np.uint8]:
        """Return the seeds, shape (pairs of nodes, 32)."""
        joined = b"".join(self._seeds[pair] for _, _, pair in self._pairs)
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32).copy()

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore the seeds; keys are usable again from the next `begin_round`."""
        for (_, _, pair), seed in zip(self._pairs, state, strict=True):
            self._seeds[pair] = seed.tobytes()

    def _draw_fresh(self) -> tuple[dict[int, bytes], tuple[int, ...]]:
        able = {pair for pair in self._linked if self._pools.available_bits(pair) >= _SEED_BLOCKS * BLOCK_BITS}
        return {pair: self._fresh_bits(pair) for pair in sorted(able)}, tuple(p for p in self._linked if p not in able)

    def _fresh_bits(self, pair: int) -> bytes:
        first = int(self._pools.consumed_bits[pair]) // BLOCK_BITS
        self._pools.consume(pair, _SEED_BLOCKS)
        return self._pools.block(pair, first) + self._pools.block(pair, first + 1)

    def _ratchet(self, training_round: int, fresh: dict[int, bytes]) -> None:
        stamp = training_round.to_bytes(4, "big")
        for _, _, pair in self._pairs:
            seed, material = self._seeds[pair], stamp + fresh.get(pair, b"")
            self._seeds[pair] = hashlib.blake2b(material, key=seed, digest_size=32, person=b"ceas ratchet").digest()

    def _expander(self, source: int, destination: int) -> hashlib.blake2b:
        """Start the hash of this round's frame keys in one direction."""
        context = _CONTEXT.pack(self._training_round, source, destination)
        seed = self._seeds[self._pools.pair_index(source, destination)]
        return hashlib.blake2b(context, key=seed, digest_size=32, person=b"ceas frame key")


class Signatures:
    """Tags of the profile `ml_dsa`: signatures over the whole frame under the context `ceas/v1/` and the epoch.

    Args:
        keys: Every node's key, from `signing_keys`.
        epoch: 32 bytes that frames carry, from `link_epoch`.
        remembers: Whether a signature that verified is taken as verified when the same bytes arrive again in the
            training round, so that n receivers in one process do the work once. Real receivers do it each.

    Attributes:
        n_checks: Signatures that receivers looked at: what a network of real nodes would verify.
        n_verified: Signatures that were verified here.
    """

    def __init__(self, keys: tuple[MLDSA44PrivateKey, ...], epoch: bytes, *, remembers: bool) -> None:
        self._private = keys
        self._public = tuple(key.public_key() for key in keys)
        self._context = b"ceas/v1/" + epoch
        self._size = PROFILES["ml_dsa"].tag_bytes
        self._good: set[bytes] | None = set() if remembers else None
        self.n_checks = 0
        self.n_verified = 0

    def begin_round(self, training_round: int) -> tuple[int, ...]:  # noqa: ARG002 - signatures name their round
        """Forget the signatures of the round before."""
        if self._good is not None:
            self._good.clear()
        return ()

    def holds(self, source: int, destination: int, sequence: int) -> bool:  # noqa: ARG002
        """Return true: signing takes no key bits."""
        return True

    def make(self, source: int, destination: int, sequence: int, frame: bytes) -> bytes:  # noqa: ARG002
        """Sign the frame, which names source, destination and sequence itself."""
        return self._private[source].sign(frame, self._context)

    def check(self, source: int, destination: int, sequence: int, data: bytes) -> bool:  # noqa: ARG002
        """Verify the signature under the source's public key."""
        self.n_checks += 1
        # All of the bytes, with the source in them and the signature, are what is remembered.
        if self._good is not None and data in self._good:
            return True
        self.n_verified += 1
        try:
            self._public[source].verify(data[-self._size :], data[: -self._size], self._context)
        except InvalidSignature:
            return False
        if self._good is not None:
            self._good.add(data)
        return True

    def pay(self, counts: NDArray[np.int64]) -> None:
        """Do nothing: there are no key bits to pay."""

    def pay_one(self, source: int, destination: int) -> None:
        """Do nothing: there are no key bits to pay."""

    def frames_left(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return that nothing limits them."""
        return np.full_like(sequences, BOUNDLESS)

    def to_array(self) -> NDArray[np.uint8]:
        """Return nothing: keys follow from the seed."""
        return np.zeros(0, dtype=np.uint8)

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore nothing."""
