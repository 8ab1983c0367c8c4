"""A polynomial hash into 64 bits, for one-time tags of 8 bytes.

The message is cut into words of 7 bytes, little-endian, the last one filled up with zeros; a word with the message's
length in bytes follows. With l + 1 words m_1 ... m_{l+1} and a key r,

    h_r(m) = m_1 r^(l+1) + m_2 r^l + ... + m_{l+1} r   modulo p = 2^64 - 59,

and the tag under a fresh pad s is h_r(m) + s modulo 2^64.

**Bound.** Let m and m' differ and be of at most L bytes, and let d be any 64-bit number. A forger who saw the tag of m
wins with m' and a tag that differs by d if h_r(m') - h_r(m) = d modulo 2^64. As integers, both hashes are in [0, p)
with p < 2^64, so their difference is one of two numbers, d or d - 2^64. For each of them the difference is a polynomial
equation in r modulo p. It is not trivial: words are below 2^56 < p, so messages of one length differ in the coefficient
of a word, and messages of different lengths in that of r, whereas the number d only enters the constant term. It has at
most l + 1 = ceil(L/7) + 1 roots. r is 128 uniform bits modulo p, so that no r has a probability above
ceil(2^128 / p) / 2^128 <= (1 + 2^-63) / p. Hence the family is almost Delta-universal with

    epsilon <= 2 (ceil(L/7) + 1) (1 + 2^-63) / p,

which is 2^-49.5 for 80 kB. A forged frame whose pad no tag has shown yet is accepted with 2^-64.

Poly1305 cut to 64 bits has no such bound: of 128-bit tags that a forger cannot hit, half of the bits may be easy.

Source: Wegman and Carter, J. Comput. Syst. Sci. 22, 265 (1981); polynomial families: den Boer, J. Comput. Secur. 2, 65
(1993); the factor of 2 for adding modulo 2^64 is derived above.
"""

from typing import Final

import numpy as np
from numba import njit

__all__ = ["HASH_PRIME", "WORD_BYTES", "hash_key", "polynomial_hash"]

HASH_PRIME: Final = 2**64 - 59
WORD_BYTES: Final = 7

_PRIME: Final = np.uint64(HASH_PRIME)
_EXCESS: Final = np.uint64(59)  # 2^64 = 59 modulo p
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)
_ONE: Final = np.uint64(1)


def hash_key(secret: bytes) -> np.uint64:
    """Return r of 16 uniform bytes."""
    return np.uint64(int.from_bytes(secret, "little") % HASH_PRIME)


@njit(cache=True, nogil=True)
def polynomial_hash(message: bytes, r: np.uint64) -> np.uint64:
    """Return h_r(message), in [0, 2^64 - 59).

    Args:
        message: Any bytes, shorter than 2^56.
        r: Key below 2^64 - 59, from `hash_key`.
    """
    size = len(message)
    n_whole = size // 7
    value = np.uint64(0)
    for word in range(n_whole):
        at = 7 * word
        # Written out: a loop over seven bytes takes twice as long as the multiplication.
        number = (
            np.uint64(message[at])
            | np.uint64(message[at + 1]) << np.uint64(8)
            | np.uint64(message[at + 2]) << np.uint64(16)
            | np.uint64(message[at + 3]) << np.uint64(24)
            | np.uint64(message[at + 4]) << np.uint64(32)
            | np.uint64(message[at + 5]) << np.uint64(40)
            | np.uint64(message[at + 6]) << np.uint64(48)
        )
        value = _step(value, number, r)
    if size > 7 * n_whole:
        number = np.uint64(0)
        for k in range(size - 7 * n_whole):
            number |= np.uint64(message[7 * n_whole + k]) << np.uint64(8 * k)
        value = _step(value, number, r)
    value = _step(value, np.uint64(size), r)
    return value - _PRIME if value >= _PRIME else value


@njit(cache=True, nogil=True)
def _step(value: np.uint64, word: np.uint64, r: np.uint64) -> np.uint64:
    """Return (value + word) r modulo p, not fully reduced: any number below 2^64 that is congruent."""
    total = value + word
    if total < word:
        total += _EXCESS  # cannot overflow again: it was below 2^56 after the wrap
    # 64 x 64 bits in halves: total * r = high 2^64 + low.
    low_low = (total & _LOW) * (r & _LOW)
    low_high = (total & _LOW) * (r >> _HALF)
    high_low = (total >> _HALF) * (r & _LOW)
    middle = (low_low >> _HALF) + (low_high & _LOW) + (high_low & _LOW)
    low = (low_low & _LOW) | middle << _HALF
    high = (total >> _HALF) * (r >> _HALF) + (low_high >> _HALF) + (high_low >> _HALF) + (middle >> _HALF)
    # 59 high is below 2^70: its upper part folds once more.
    upper_part = (high >> _HALF) * _EXCESS
    upper = upper_part >> _HALF
    lower = upper_part << _HALF
    folded = lower + (high & _LOW) * _EXCESS
    if folded < lower:
        upper += _ONE
    result = low + folded
    if result < low:
        upper += _ONE
    final = result + upper * _EXCESS
    return final + _EXCESS if final < result else final
