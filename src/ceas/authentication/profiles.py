"""Where the one-time key of a frame comes from: the two authentication profiles.

Every frame has its own Poly1305 key r || s, 32 bytes, which both ends know and nobody else.

`one_time`  (Wegman-Carter; information-theoretic)
    r: one block of the enrolled key for each direction, recycled for the whole epoch.
    s: a fresh block of the pair's pool for every frame, so a frame costs 128 bits. The directions take alternate
    blocks: two nodes that send at the same time never choose the same one. When the block is not there yet, the frame
    cannot be authenticated and is not sent. Nothing else takes its place.

`seeded`  (computational: BLAKE2b is taken to be a pseudo-random function)
    Each pair of nodes holds a 256-bit seed, enrolled before training. At the start of a training round it is replaced
    by a keyed hash of itself (so that a seed stolen later does not open earlier rounds), and every `reseed_rounds`
    rounds 256 fresh bits of the link's pool are hashed in, if the pair is joined by a link and its pool holds them.
    A link that cannot pay is starved in that round: it is counted and the old seed ratchets on. Pairs without a link
    only ratchet the enrolled seed, so their key is never refreshed by quantum means.
    r || s = BLAKE2b(key = seed; training round | source | destination | sequence).

Security of a tag in both: Poly1305 forgery bound per attempt (`forgery_bound`), plus, for `seeded`, the advantage of
a distinguisher for BLAKE2b.
Source: Wegman and Carter, J. Comput. Syst. Sci. 22, 265 (1981); Bernstein, FSE 2005; recycling of r: Portmann,
IEEE Trans. Inf. Theory 60, 4383 (2014).
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ceas.authentication.keys import KeyPools
from ceas.errors import DomainError

__all__ = ["FrameKeys", "OneTimeKeys", "SeededKeys"]

_pack_sequence: Final = struct.Struct(">Q").pack
_CONTEXT: Final = struct.Struct(">IHH")
_SEED_BLOCKS: Final = 2


class FrameKeys(Protocol):
    """Source of the frames' one-time keys, the same at both ends of every link."""

    def begin_round(self, training_round: int) -> tuple[int, ...]:
        """Move on to a training round; return the pairs of nodes whose link could not pay for fresh key."""

    def frame_key(self, source: int, destination: int, sequence: int) -> bytes | None:
        """Return the 32-byte key r || s of a frame, or None when the pool does not hold it."""

    def holds_frames(self, source: int, destination: int, sequence: int, count: int) -> bool:
        """Say whether there is key for `count` frames from `sequence` on."""

    def pay(self, source: int, destination: int, count: int = 1) -> None:
        """Account for the key that sent frames use up."""

    def to_array(self) -> NDArray[np.uint8]:
        """Return the secret state that the pools' counts do not determine."""

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore what `to_array` returned."""


class OneTimeKeys:
    """Keys of the profile `one_time`: one fresh block of the pool for every frame."""

    def __init__(self, pools: KeyPools) -> None:
        self._pools = pools
        for a in range(pools.n_nodes):
            for b in range(a + 1, pools.n_nodes):
                pools.consume(pools.pair_index(a, b), 2)  # r of both directions

    def begin_round(self, training_round: int) -> tuple[int, ...]:  # noqa: ARG002 - pads do not depend on the round
        """Do nothing: a starved link shows as starved frames."""
        return ()

    def frame_key(self, source: int, destination: int, sequence: int) -> bytes | None:
        """Return r || s, or None when the pool does not hold s."""
        pair, block = self._pad(source, destination, sequence)
        if not self._pools.holds(pair, block):
            return None
        return self._pools.block(pair, int(source > destination)) + self._pools.block(pair, block)

    def holds_frames(self, source: int, destination: int, sequence: int, count: int) -> bool:
        """Say whether the pool holds the last of the blocks."""
        return self._pools.holds(*self._pad(source, destination, sequence + count - 1))

    def pay(self, source: int, destination: int, count: int = 1) -> None:
        """Consume one block a frame."""
        self._pools.consume(self._pools.pair_index(source, destination), count)

    def _pad(self, source: int, destination: int, sequence: int) -> tuple[int, int]:
        """Return the pair of nodes and the block of its pool that is s of a frame."""
        return self._pools.pair_index(source, destination), 2 + 2 * sequence + int(source > destination)

    def to_array(self) -> NDArray[np.uint8]:
        """Return nothing: blocks follow from the sequence numbers."""
        return np.zeros(0, dtype=np.uint8)

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore nothing."""


class SeededKeys:
    """Keys of the profile `seeded`: one seed per pair of nodes, expanded by keyed BLAKE2b.

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

    def frame_key(self, source: int, destination: int, sequence: int) -> bytes | None:
        """Return r || s of a frame of the current training round."""
        direction = source * self._n_nodes + destination
        started = self._expanders.get(direction)
        if started is None:
            started = self._expanders[direction] = self._expander(source, destination)
        expander = started.copy()
        expander.update(_pack_sequence(sequence))
        return expander.digest()

    def holds_frames(self, source: int, destination: int, sequence: int, count: int) -> bool:  # noqa: ARG002
        """Return true: a seed gives any number of keys."""
        return True

    def pay(self, source: int, destination: int, count: int = 1) -> None:
        """Do nothing: seeds are paid for when they are refreshed."""

    def to_array(self) -> NDArray[np.uint8]:
        """Return the seeds, shape (pairs of nodes, 32)."""
        joined = b"".join(self._seeds[pair] for _, _, pair in self._pairs)
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32).copy()

    def load(self, state: NDArray[np.uint8]) -> None:
        """Restore the seeds; keys are usable again from the next `begin_round`."""
        for (_, _, pair), seed in zip(self._pairs, state, strict=True):
            self._seeds[pair] = seed.tobytes()

    def _draw_fresh(self) -> tuple[dict[int, bytes], tuple[int, ...]]:
        able = {pair for pair in self._linked if self._pools.available_bits(pair) >= _SEED_BLOCKS * 128}
        return {pair: self._fresh_bits(pair) for pair in sorted(able)}, tuple(p for p in self._linked if p not in able)

    def _fresh_bits(self, pair: int) -> bytes:
        first = int(self._pools.consumed_bits[pair]) // 128
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
