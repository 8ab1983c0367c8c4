"""One root seed, and named child streams that do not disturb each other.

A stream's seed is a hash of the root seed and the stream's name, so that adding a component, or drawing more
numbers in one, never shifts the numbers of another.
"""

import hashlib

import numpy as np

__all__ = ["stream", "stream_seed"]


def stream_seed(seed: int, name: str, **index: int) -> int:
    """Hash a root seed, a stream name and integer indices into a 64-bit seed.

    Args:
        seed: Root seed of the run, any integer.
        name: Name of the component that draws, for example `"attack"`.
        **index: Integers that tell its streams apart, for example `node=3, training_round=7`; order is irrelevant.

    Returns:
        Integer in [0, 2**64), from which learning and attacks also make their JAX keys.
    """
    parts = [str(int(seed)), name, *(f"{key}={int(value)}" for key, value in sorted(index.items()))]
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "little")


def stream(seed: int, name: str, **index: int) -> np.random.Generator:
    """Return the NumPy generator of a named child stream; the arguments are those of `stream_seed`."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, name, **index)))
