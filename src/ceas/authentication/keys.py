"""Secret key shared by two nodes: enrolled before training, then made of Bell pairs.

The pools are those of a simulation: both ends of a link read the same bytes, which are expanded from a named stream
and stand for the bits that the two nodes would measure on their pairs. Only the amount is physics. Key is handed out
by its position in the pool, in blocks of 128 bits or parts of one, so that two nodes agree on bits by agreeing on a
number, and a pool's whole state is three counts per pair of nodes.

Conservation: enrolled + generated = consumed + available, and no bit ever serves two purposes.

How much key pairs give is either the asymptotic rate, credited pair by pair, or the length of a finite key
(`FiniteKey`): pairs of one link are then collected over training rounds, and only a full block of them gives key. Pairs
are conserved too: those deposited are those of closed blocks and those of the open one.
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics import KeySecurity, binary_entropy, optimal_key_split, secret_key_fraction
from ceas.streams import stream

__all__ = ["BLOCK_BITS", "FiniteKey", "KeyPools", "pairs_for_key", "secret_key_bits"]

BLOCK_BITS: Final = 128
_BLOCK_ADDRESS: Final = struct.Struct(">QQ")


def secret_key_bits(pair_count: ArrayLike, werner_sum: ArrayLike) -> NDArray[np.float64]:
    """Return the secret key bits that pairs of one link give.

    bits = n max(0, 1 - 2 h(Q)), Q = (1 - w) / 2 at the mean Werner parameter w: the asymptotic BBM92 rate. Finite-key
    corrections are left out; below about 10^4 pairs a block they are not small (`FiniteKey` has them).

    For Bell-diagonal pairs it is n max(0, 1 - h(e_x) - h(e_z)) with the error rates of their mean correlators.

    Args:
        pair_count: Pairs used for key, any shape.
        werner_sum: Sum of their Werner parameters at use, same shape; or of their correlators (x, y, z), with a further
            axis of three.

    Returns:
        Bits (not rounded), in the shape of `pair_count`.

    Raises:
        DomainError: a count is negative, a mean Werner parameter is outside [0, 1], or a mean correlator outside
            [-1, 1].

    Source:
        Bennett, Brassard, Mermin, Phys. Rev. Lett. 68, 557 (1992); Shor and Preskill, Phys. Rev. Lett. 85, 441 (2000).
    """
    count = np.asarray(pair_count, dtype=np.float64)
    total = np.asarray(werner_sum, dtype=np.float64)
    if np.any(count < 0) or not np.all(np.isfinite(count)):
        raise DomainError("Argument `pair_count` must be finite and not negative.")
    if total.shape == (*count.shape, 3):
        return _bits_of_correlators(count, total)
    # Sums of single-precision records may exceed the count by rounding; more than that is a mistake.
    if np.any(total < 0) or not np.all(total <= count * (1.0 + 1e-6)):
        raise DomainError("Argument `werner_sum` must be in [0, pair_count].")
    mean_werner = np.minimum(np.divide(total, count, out=np.zeros_like(total), where=count > 0), 1.0)
    return count * np.asarray(secret_key_fraction(mean_werner), dtype=np.float64)


def _bits_of_correlators(count: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the secret key bits of Bell-diagonal pairs from the sums `(..., 3)` of their correlators."""
    if not np.all(np.abs(total) <= count[..., None] * (1.0 + 1e-6)):
        raise DomainError("Argument `werner_sum` must hold correlators in [-pair_count, pair_count].")
    mean = np.divide(total, count[..., None], out=np.zeros_like(total), where=count[..., None] > 0)
    entropy = binary_entropy((1.0 - np.clip(mean[..., [0, 2]], -1.0, 1.0)) / 2.0).sum(axis=-1)
    return np.asarray(count * np.maximum(0.0, 1.0 - entropy))


def pairs_for_key(key_bits: float, werner: float) -> float:
    """Return how many pairs of Werner parameter `werner` give `key_bits` secret bits; infinite where none does."""
    fraction = float(secret_key_fraction(werner))
    return key_bits / fraction if fraction > 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class FiniteKey:
    """Key from blocks of pairs, by the finite-key formula of BBM92.

    A block of N sifted pairs (the order of bases is agreed, so none is lost to sifting) is split into k compared pairs
    and n = N - k key pairs so that the key is longest, see `ceas.physics.finite_key_length`; which basis makes the key
    is chosen likewise. Error rates are those that the block's mean state gives, not a draw: what an honest run expects.

    Attributes:
        block_pairs: N, at least 2. About 10^4 are needed for any key at F = 0.95.
        security_parameter: epsilon, in (0, 1): the key of each block is distinguishable from a perfect one by at most
            epsilon; half of it is its secrecy and half its correctness. Those of several blocks add.
        correction_inefficiency: f, bits that error correction reveals over Shannon's limit, at least 1.

    Raises:
        DomainError: an attribute is out of range.
    """

    block_pairs: int = 100_000
    security_parameter: float = 1e-10
    correction_inefficiency: float = 1.1

    def __post_init__(self) -> None:
        if self.block_pairs < 2:
            raise DomainError(f"Argument `block_pairs` must be at least 2, but is {self.block_pairs}.")
        if not 0.0 < self.security_parameter < 1.0:
            raise DomainError(f"Argument `security_parameter` must be in (0, 1), but is {self.security_parameter:g}.")
        self.security()

    def security(self) -> KeySecurity:
        """Return the security parameters of one block."""
        return KeySecurity(
            secrecy=self.security_parameter / 2.0,
            correctness=self.security_parameter / 2.0,
            correction_inefficiency=self.correction_inefficiency,
        )

    def block_bits(self, correlator_x: float, correlator_z: float) -> int:
        """Return the whole secret bits of one block whose pairs have these mean correlators, each in [-1, 1]."""
        # Of a negative correlator, one end flips its bits.
        x, z = ((1.0 - min(abs(one), 1.0)) / 2.0 for one in (correlator_x, correlator_z))
        orders = optimal_key_split(float(self.block_pairs), [x, z], [z, x], self.security())
        return int(orders.key_bits.max())


class KeyPools:
    """Key stores of all unordered pairs of nodes; index of the pair {a, b} with a < b: `a * n_nodes + b`.

    Args:
        n_nodes: Nodes, at least 2.
        enrolled_key_bits: Bits that every pair of nodes shares before training, at least 256.
        seed: Root seed of the run.
        finite_key: How blocks of pairs give key; the asymptotic rate when left out.

    Attributes:
        seed: Root seed of the run.
        generated_bits: Bits made of pairs, shape (n_nodes**2,).
        consumed_bits: Bits used, enrolled ones included, same shape.
        open_pairs: Pairs that wait for their block to be full, same shape; 0 at the asymptotic rate.
        closed_blocks: Blocks that have given key, or turned out to give none, same shape.

    Raises:
        DomainError: an argument is below its minimum.
    """

    def __init__(
        self, n_nodes: int, *, enrolled_key_bits: int = 256, seed: int, finite_key: FiniteKey | None = None
    ) -> None:
        if n_nodes < 2:
            raise DomainError(f"Argument `n_nodes` must be at least 2, but is {n_nodes}.")
        if enrolled_key_bits < 2 * BLOCK_BITS:
            raise DomainError(f"Argument `enrolled_key_bits` must be at least 256, but is {enrolled_key_bits}.")
        self.n_nodes = n_nodes
        self.seed = seed
        self.enrolled_key_bits = enrolled_key_bits
        self.generated_bits = np.zeros(n_nodes * n_nodes)
        self.consumed_bits = np.zeros(n_nodes * n_nodes, dtype=np.int64)
        self.finite_key = finite_key
        self.open_pairs = np.zeros(n_nodes * n_nodes)
        self.closed_blocks = np.zeros(n_nodes * n_nodes, dtype=np.int64)
        # Sums of the open pairs' correlators in X and in Z, which are what the two bases' error rates follow from.
        self._open_correlators = np.zeros((n_nodes * n_nodes, 2))
        self._secret = stream(seed, "key_pools").bytes(32)
        self._whole_bits: list[int] = []
        self._count_bits()

    def pair_index(self, node_a: int, node_b: int) -> int:
        """Return the index of the unordered pair of two different nodes."""
        return node_a * self.n_nodes + node_b if node_a < node_b else node_b * self.n_nodes + node_a

    def deposit(
        self, node_a: ArrayLike, node_b: ArrayLike, pair_count: ArrayLike, werner_sum: ArrayLike
    ) -> NDArray[np.float64]:
        """Add the key made on links in a training round; fractions of a bit, or pairs of an open block, accumulate.

        Only the sums of a deposit are known, so where one fills a block its pairs count as all alike.

        Args:
            node_a: One end of each link, shape (links,).
            node_b: Other end, shape (links,), different from `node_a`.
            pair_count: Pairs used for key, shape (links,).
            werner_sum: Sum of their Werner parameters at use, shape (links,), or correlators, shape (links, 3).

        Returns:
            Bits added per link, shape (links,).

        Raises:
            DomainError: a node does not exist, a link joins a node to itself, or `secret_key_bits` refuses.
        """
        first, second = np.asarray(node_a, dtype=np.int64), np.asarray(node_b, dtype=np.int64)
        low, high = np.minimum(first, second), np.maximum(first, second)
        if np.any(low < 0) or np.any(high >= self.n_nodes) or np.any(low == high):
            raise DomainError(f"Arguments `node_a`, `node_b` must be two different nodes below {self.n_nodes}.")
        bits = secret_key_bits(pair_count, werner_sum)
        if self.finite_key is not None:
            bits = self._fill_blocks(self.finite_key, low * self.n_nodes + high, pair_count, werner_sum)
        np.add.at(self.generated_bits, low * self.n_nodes + high, bits)
        self._count_bits()
        return bits

    def holds(self, pair: int, block: int) -> bool:
        """Say whether the pool of a pair of nodes has been filled up to and including a block."""
        return (block + 1) * BLOCK_BITS <= self._whole_bits[pair]

    def holds_bits(self, pair: int, n_bits: int) -> bool:
        """Say whether so many bits have ever been in the pool of a pair of nodes, used ones included."""
        return n_bits <= self._whole_bits[pair]

    def filled_bits(self) -> NDArray[np.int64]:
        """Return the whole bits that have ever been in each pool, used ones included, shape (n_nodes**2,)."""
        return np.array(self._whole_bits, dtype=np.int64)

    def block(self, pair: int, block: int) -> bytes:
        """Return the 16 bytes of a block that the pool holds; reading does not consume it."""
        return hashlib.blake2b(_BLOCK_ADDRESS.pack(pair, block), key=self._secret, digest_size=16).digest()

    def bits_at(self, pair: int, first_bit: int, n_bits: int) -> bytes:
        """Return whole bytes of one block by the position of their first bit; reading does not consume them."""
        first = first_bit % BLOCK_BITS // 8
        return self.block(pair, first_bit // BLOCK_BITS)[first : first + n_bits // 8]

    def consume(self, pair: int, n_blocks: int) -> None:
        """Account for blocks that have been used and must not be used again."""
        self.consumed_bits[pair] += n_blocks * BLOCK_BITS

    def consume_bits(self, pair: int, n_bits: int) -> None:
        """Account for bits that have been used and must not be used again."""
        self.consumed_bits[pair] += n_bits

    def n_node_pairs(self) -> int:
        """Return the number of unordered pairs of nodes."""
        return self.n_nodes * (self.n_nodes - 1) // 2

    def available_bits(self, pair: int) -> float:
        """Return the bits of a pair of nodes that are not consumed, with the fraction of a bit that is still open."""
        return float(self.enrolled_key_bits + self.generated_bits[pair] - self.consumed_bits[pair])

    def load(self, generated_bits: NDArray[np.float64], consumed_bits: NDArray[np.int64]) -> None:
        """Restore the counts of a checkpoint, both of shape (n_nodes**2,)."""
        self.generated_bits[:] = generated_bits
        self.consumed_bits[:] = consumed_bits
        self._count_bits()

    def open_blocks(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Return the state of the blocks for a checkpoint; nothing at the asymptotic rate."""
        if self.finite_key is None:
            return {}
        return {
            "open_pairs": self.open_pairs.copy(),
            "open_correlators": self._open_correlators.copy(),
            "closed_blocks": self.closed_blocks.copy(),
        }

    def load_open_blocks(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Restore what `open_blocks` returned, from arrays that may hold more."""
        if self.finite_key is not None:
            self.open_pairs[:] = arrays["open_pairs"]
            self._open_correlators[:] = arrays["open_correlators"]
            self.closed_blocks[:] = arrays["closed_blocks"]

    def _fill_blocks(
        self, finite_key: FiniteKey, pools: NDArray[np.int64], pair_count: ArrayLike, state_sum: ArrayLike
    ) -> NDArray[np.float64]:
        """Add checked deposits to the open blocks one after the other; return the bits of those that each closes."""
        counts = np.broadcast_to(np.asarray(pair_count, dtype=np.float64), pools.shape)
        sums = np.asarray(state_sum, dtype=np.float64)
        sums = sums[..., [0, 2]] if sums.shape == (*counts.shape, 3) else np.stack([sums, sums], axis=-1)
        bits, size = np.zeros(pools.shape), finite_key.block_pairs
        for index in np.flatnonzero(counts):
            pool, left = pools.flat[index], float(counts.flat[index])
            mean = sums.reshape(-1, 2)[index] / left
            while self.open_pairs[pool] + left >= size:
                if self.open_pairs[pool] > 0:
                    taken, n_blocks = size - self.open_pairs[pool], 1
                    block_mean = (self._open_correlators[pool] + taken * mean) / size
                else:  # any number of whole blocks of the same mean
                    n_blocks = int(left // size)
                    taken, block_mean = float(n_blocks * size), mean
                bits.flat[index] += n_blocks * finite_key.block_bits(*block_mean)
                self.closed_blocks[pool] += n_blocks
                self.open_pairs[pool], self._open_correlators[pool] = 0.0, 0.0
                left -= taken
            self.open_pairs[pool] += left
            self._open_correlators[pool] += left * mean
        return bits

    def _count_bits(self) -> None:
        bits = np.floor(self.enrolled_key_bits + self.generated_bits).astype(np.int64)
        self._whole_bits = bits.tolist()  # a list, because single elements of it are read for every frame
