"""The 64-bit hash: against big integers, and its bound on every pair of messages of a small copy."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ceas.authentication import Authenticator, KeyPools, forgery_bound
from ceas.authentication.polynomial_hash import HASH_PRIME, WORD_BYTES, hash_key, polynomial_hash

KEYS = st.one_of(
    st.integers(0, HASH_PRIME - 1),
    st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, HASH_PRIME - 2, HASH_PRIME - 1]),
)


def hashed(words: list[int], length: int, r: int, prime: int) -> int:
    """The construction in plain integers: Horner over the words, then the length."""
    value = 0
    for word in [*words, length]:
        value = (value + word) * r % prime
    return value


def oracle(message: bytes, r: int) -> int:
    words = [int.from_bytes(message[at : at + 7], "little") for at in range(0, len(message), 7)]
    return hashed(words, len(message), r, 2**64 - 59)


@settings(max_examples=200, deadline=None)  # the first call compiles
@given(
    st.one_of(st.binary(max_size=120), st.integers(0, 120).map(lambda n: b"\xff" * n), st.integers(0, 30).map(bytes)),
    KEYS,
)
@example(b"\xff" * 1800, HASH_PRIME - 1)
def test_it_is_the_polynomial_over_the_integers(message: bytes, r: int) -> None:
    assert int(polynomial_hash(message, np.uint64(r))) == oracle(message, r)


def test_the_modulus_is_a_prime_above_the_words() -> None:
    """Miller and Rabin's test with the first twelve primes decides all numbers below 3e24 (Sorenson, Webster)."""
    assert HASH_PRIME == 2**64 - 59
    odd = (HASH_PRIME - 1) // 4
    assert odd % 2 == 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, HASH_PRIME)
        assert power in (1, HASH_PRIME - 1) or power * power % HASH_PRIME == HASH_PRIME - 1
    assert 256**WORD_BYTES < HASH_PRIME


def test_a_key_is_the_secret_modulo_the_prime() -> None:
    for secret in (bytes(16), b"\xff" * 16, bytes(range(16)), HASH_PRIME.to_bytes(16, "little")):
        assert int(hash_key(secret)) == int.from_bytes(secret, "little") % HASH_PRIME


def test_a_small_copy_never_exceeds_the_bound() -> None:
    """All pairs of messages of up to three words below 6: p = 13, tags modulo 16, r uniform modulo p.

    As in the real one, words and lengths are below p and p is below the tags' modulus. For every two messages and every
    difference of tags, the keys that hit it are at most 2 (l + 1), with l the words of the longer one.
    """
    prime, tags = 13, 16
    messages = [list(word) for size in range(4) for word in itertools.product(range(6), repeat=size)]
    table = np.array([[hashed(words, len(words), r, prime) for r in range(prime)] for words in messages])
    sizes = np.array([len(words) for words in messages])
    worst: Counter[int] = Counter()
    for index in range(1, len(messages)):
        difference = (table[index] - table[:index]) % tags
        hits = np.stack([(difference == delta).sum(axis=1) for delta in range(tags)]).max(axis=0)
        longer = np.maximum(sizes[index], sizes[:index])
        for size in range(4):
            worst[size] = max(worst[size], int(hits[longer == size].max(initial=0)))
    assert all(worst[size] <= 2 * (size + 1) for size in range(1, 4))
    # It is no empty bound: messages of l words do reach l + 1 keys.
    assert all(worst[size] >= size + 1 for size in range(1, 4))


def test_a_small_copy_without_the_length_breaks_the_bound() -> None:
    """Filling up with zeros alone: a message and the same with a zero more have one hash under every key."""
    assert all(hashed([5], 0, r, 13) * r % 13 == hashed([5, 0], 0, r, 13) for r in range(13))
    assert all(oracle(b"a", r) != oracle(b"a\0", r) for r in range(1, 100))


def test_its64_tag_is_the_hash_and_a_fresh_pad() -> None:
    authenticator = Authenticator(KeyPools(4, enrolled_key_bits=4096, seed=11), profile="its64", epoch=bytes(32))
    authenticator.begin_round(1)
    pools = authenticator.pools
    pair = pools.pair_index(0, 2)
    for source, destination, direction in ((0, 2, 0), (2, 0, 1)):
        r = int.from_bytes(pools.block(pair, direction), "little") % (2**64 - 59)
        for sequence in range(3):
            wire = authenticator.authenticate(source, destination, 2, b"x" * 40)
            assert wire is not None
            pad = pools.block(pair, 2 + sequence)[8 * direction : 8 * direction + 8]
            tag = (oracle(wire[:-8], r) + int.from_bytes(pad, "little")) % 2**64
            assert wire[-8:] == tag.to_bytes(8, "little")
    assert pools.consumed_bits[pair] == 256 + 6 * 64


@pytest.mark.parametrize(("frame_bytes", "log2_bound"), [(64, -59.54), (1800, -54.99), (80_000, -49.52)])
def test_bounds_of_typical_frames(frame_bytes: int, log2_bound: float) -> None:
    bound = forgery_bound(frame_bytes, "its64")
    assert bound is not None
    # The count of roots over the count of keys, exactly.
    roots = 2 * (-(-frame_bytes // 7) + 1)
    assert bound == pytest.approx(roots * -(-(2**128) // HASH_PRIME) / 2**128, rel=1e-12)
    assert np.log2(bound) == pytest.approx(log2_bound, abs=0.02)
