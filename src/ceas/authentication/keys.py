"""Secret key shared by two nodes: enrolled before training, then made of Bell pairs.

The pools are those of a simulation: both ends of a link read the same bytes, which are expanded from a named stream
and stand for the bits that the two nodes would measure on their pairs. Only the amount is physics. Key is handed out
in blocks of 128 bits, addressed by their position in the pool, so that two nodes agree on a block by agreeing on a
number, and a pool's whole state is three counts per pair of nodes.

Conservation: enrolled + generated = consumed + available, and no block ever serves two purposes.
"""

import hashlib
import math
import struct
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics import binary_entropy, secret_key_fraction
from ceas.streams import stream

__all__ = ["BLOCK_BITS", "KeyPools", "pairs_for_key", "secret_key_bits"]

BLOCK_BITS: Final = 128
_BLOCK_ADDRESS: Final = struct.Struct(">QQ")


def secret_key_bits(pair_count: ArrayLike, werner_sum: ArrayLike) -> NDArray[np.float64]:
    """Return the secret key bits that pairs of one link give.

    bits = n max(0, 1 - 2 h(Q)), Q = (1 - w) / 2 at the mean Werner parameter w: the asymptotic BBM92 rate. Finite-key
    corrections are left out; below about 10^4 pairs a block they are not small.

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


class KeyPools:
    """Key stores of all unordered pairs of nodes; index of the pair {a, b} with a < b: `a * n_nodes + b`.

    Args:
        n_nodes: Nodes, at least 2.
        enrolled_key_bits: Bits that every pair of nodes shares before training, at least 256.
        seed: Root seed of the run.

    Raises:
        DomainError: an argument is below its minimum.
    """

    def __init__(self, n_nodes: int, *, enrolled_key_bits: int = 256, seed: int) -> None:
        if n_nodes < 2:
            raise DomainError(f"Argument `n_nodes` must be at least 2, but is {n_nodes}.")
        if enrolled_key_bits < 2 * BLOCK_BITS:
            raise DomainError(f"Argument `enrolled_key_bits` must be at least 256, but is {enrolled_key_bits}.")
        self.n_nodes = n_nodes
        self.enrolled_key_bits = enrolled_key_bits
        self.generated_bits = np.zeros(n_nodes * n_nodes)
        self.consumed_bits = np.zeros(n_nodes * n_nodes, dtype=np.int64)
        self._secret = stream(seed, "key_pools").bytes(32)
        self._n_blocks: list[int] = []
        self._count_blocks()

    def pair_index(self, node_a: int, node_b: int) -> int:
        """Return the index of the unordered pair of two different nodes."""
        return node_a * self.n_nodes + node_b if node_a < node_b else node_b * self.n_nodes + node_a

    def deposit(
        self, node_a: ArrayLike, node_b: ArrayLike, pair_count: ArrayLike, werner_sum: ArrayLike
    ) -> NDArray[np.float64]:
        """Add the key made on links in a training round; fractions of a bit accumulate.

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
        np.add.at(self.generated_bits, low * self.n_nodes + high, bits)
        self._count_blocks()
        return bits

    def holds(self, pair: int, block: int) -> bool:
        """Say whether the pool of a pair of nodes has been filled up to and including a block."""
        return block < self._n_blocks[pair]

    def block(self, pair: int, block: int) -> bytes:
        """Return the 16 bytes of a block that the pool holds; reading does not consume it."""
        return hashlib.blake2b(_BLOCK_ADDRESS.pack(pair, block), key=self._secret, digest_size=16).digest()

    def consume(self, pair: int, n_blocks: int) -> None:
        """Account for blocks that have been used and must not be used again."""
        self.consumed_bits[pair] += n_blocks * BLOCK_BITS

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
        self._count_blocks()

    def _count_blocks(self) -> None:
        blocks = np.floor((self.enrolled_key_bits + self.generated_bits) / BLOCK_BITS).astype(np.int64)
        self._n_blocks = blocks.tolist()  # a list, because single elements of it are read for every frame
