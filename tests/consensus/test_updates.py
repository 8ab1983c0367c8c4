"""Fixed-point updates."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ceas.authentication import Rejected
from ceas.consensus import (
    Claims,
    Update,
    UpdateRejection,
    UpdateTable,
    decode_update,
    decode_updates,
    encode_update,
    encode_updates,
    parameter_digest,
)
from ceas.errors import DomainError

CLAIMS = Claims(shots=1200, contraction=0.75, quantum_fisher=3.5)
LIMIT = 2.0**30  # 2^62 units of 2^-32
VECTORS = hnp.arrays(np.float64, 5, elements=st.floats(-LIMIT, LIMIT))


def decoded(data: bytes, n_parameters: int = 5, bits: int = 32) -> Update:
    update = decode_update(data, 0, n_parameters=n_parameters, fixed_point_bits=bits)
    assert isinstance(update, Update), update
    return update


@given(VECTORS, st.integers(0, 2**62 - 1), st.floats(0, 1), st.floats(0, 1e6))
def test_decoding_recovers_to_half_a_unit(update: np.ndarray, shots: int, contraction: float, fisher: float) -> None:
    data = encode_update(update, Claims(shots=shots, contraction=contraction, quantum_fisher=fisher))
    result = decoded(data)
    # Half a unit of the fixed point, plus one rounding of the integer back to a float.
    np.testing.assert_allclose(result.values, update, rtol=2**-52, atol=2.0**-33)
    assert result.claims.shots == shots
    assert abs(result.claims.contraction - contraction) <= 2.0**-33
    assert abs(result.claims.quantum_fisher - fisher) <= 2.0**-33


@given(VECTORS)
def test_what_was_decoded_encodes_to_the_same_bytes(update: np.ndarray) -> None:
    data = encode_update(update * 2.0**-12, CLAIMS)  # below 2^53 units floats hold every integer
    result = decoded(data)
    assert encode_update(result.values, result.claims) == data


def test_layout_and_rounding_are_the_documented_ones() -> None:
    data = encode_update(np.array([1.0, -0.0, -2.5 * 2**-8, 1.5 * 2**-8]), CLAIMS, fixed_point_bits=8)
    expected = struct.pack(">BBIQqq", 1, 8, 4, 1200, 192, 896) + struct.pack(">4q", 256, 0, -2, 2)
    assert data == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, LIMIT * 1.0001, -LIMIT * 1.0001])
def test_values_without_a_word_are_refused_by_the_receiver(bad: float) -> None:
    data = encode_update(np.array([0.0, bad]), CLAIMS)
    assert decode_update(data, 4, n_parameters=2) == Rejected(4, UpdateRejection.OUT_OF_RANGE.value)


@pytest.mark.parametrize(
    "claims",
    [
        Claims(shots=-1, contraction=0.5, quantum_fisher=0.0),
        Claims(shots=2**70, contraction=0.5, quantum_fisher=0.0),
        Claims(shots=1, contraction=1.1, quantum_fisher=0.0),
        Claims(shots=1, contraction=-0.1, quantum_fisher=0.0),
        Claims(shots=1, contraction=np.nan, quantum_fisher=0.0),
        Claims(shots=1, contraction=0.5, quantum_fisher=-1.0),
        Claims(shots=1, contraction=0.5, quantum_fisher=np.inf),
    ],
)
def test_impossible_claims_are_refused_by_the_receiver(claims: Claims) -> None:
    data = encode_update(np.zeros(2), claims)
    assert decode_update(data, 4, n_parameters=2) == Rejected(4, UpdateRejection.BAD_CLAIM.value)


def test_wrong_sizes_and_resolutions_are_refused() -> None:
    data = encode_update(np.zeros(3), CLAIMS)
    assert decode_update(data, 4, n_parameters=2) == Rejected(4, UpdateRejection.WRONG_LENGTH.value)
    for other in (data[:-1], data + b"\0", b"", b"\x02" + data[1:]):
        assert decode_update(other, 4, n_parameters=3) == Rejected(4, UpdateRejection.MALFORMED.value)
    refused = decode_update(data, 4, n_parameters=3, fixed_point_bits=31)
    assert refused == Rejected(4, UpdateRejection.MALFORMED.value)


@given(
    st.one_of(st.binary(max_size=60), st.binary(min_size=46, max_size=46).map(lambda b: b"\x01\x20\0\0\0\x02" + b[6:]))
)
def test_any_bytes_decode_or_are_rejected(data: bytes) -> None:
    result = decode_update(data, 4, n_parameters=2)
    if isinstance(result, Update):
        assert np.isfinite(result.values).all()
        assert 0 <= result.claims.contraction <= 1
        assert result.claims.quantum_fisher >= 0
        assert np.isfinite(result.claims.quantum_fisher)
    else:
        assert result.sender == 4


def test_parameter_digest_is_of_the_fixed_point_and_refuses_what_has_none() -> None:
    theta = np.array([0.5, -1.25])
    assert parameter_digest(theta) == hashlib.sha256(struct.pack(">2q", 2**31, -5 * 2**30)).digest()
    assert parameter_digest(theta + 2.0**-40) == parameter_digest(theta)
    assert parameter_digest(theta + 2.0**-32) != parameter_digest(theta)
    with pytest.raises(DomainError, match="finite"):
        parameter_digest(np.array([np.nan]))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="one dimension"):
        encode_update(np.zeros((2, 2)), CLAIMS)
    with pytest.raises(DomainError, match="fixed_point_bits"):
        encode_update(np.zeros(2), CLAIMS, fixed_point_bits=53)


ANY = st.floats(allow_nan=True, allow_infinity=True)
# Of all sizes, and just around what has a word.
EDGES = st.sampled_from([0.0, -0.0, 0.5, 2.5, 1.0, -1.0, LIMIT, -LIMIT, LIMIT * 1.5, 2.0**61, 2.0**62, 1e300])


@given(
    hnp.arrays(np.float64, (4, 3), elements=ANY | EDGES),
    hnp.arrays(np.float64, (3, 4), elements=ANY | EDGES | st.floats(0, 1)),
    st.sampled_from([0, 8, 24, 32, 52]),
)
def test_updates_written_together_have_the_bytes_of_each(update: np.ndarray, claims: np.ndarray, bits: int) -> None:
    shots, contraction, fisher = claims
    table = encode_updates(update, shots=shots, contraction=contraction, quantum_fisher=fisher, fixed_point_bits=bits)
    for node, row in enumerate(table):
        whole = round(float(shots[node])) if np.isfinite(shots[node]) else -1
        claim = Claims(shots=whole, contraction=float(contraction[node]), quantum_fisher=float(fisher[node]))
        assert row.tobytes() == encode_update(update[node], claim, fixed_point_bits=bits)


def assert_read_alike(table: UpdateTable, messages: list[bytes], n_parameters: int, bits: int) -> None:
    assert len(table.is_valid) == len(messages)
    for node, message in enumerate(messages):
        alone = decode_update(message, node, n_parameters=n_parameters, fixed_point_bits=bits)
        assert table.is_valid[node] == isinstance(alone, Update)
        found = [*table.values[node], table.shots[node], table.contraction[node], table.quantum_fisher[node]]
        if isinstance(alone, Update):
            claims = alone.claims
            assert found == [*alone.values, float(claims.shots), claims.contraction, claims.quantum_fisher]
        else:
            assert not any(found)


WORDS = st.integers(-(2**63), 2**63 - 1)
NEAR_WORDS = st.sampled_from([0, 1, 256, 257, -1, 2**62, 2**62 + 1, -(2**62), -(2**62) - 1, -(2**63)])
HEADERS = st.tuples(
    st.sampled_from([1, 1, 1, 0, 2]),
    st.sampled_from([8, 8, 8, 9]),
    st.sampled_from([2, 2, 2, 1, 3]),
    st.sampled_from([0, 7, 2**62 - 1, 2**62, 2**64 - 1]),
    st.sampled_from([0, 128, 256, 257, -1, -(2**63)]),
    WORDS | NEAR_WORDS,
)
MESSAGES = st.builds(
    lambda head, words, rest: struct.pack(">BBIQqq", *head) + struct.pack(f">{len(words)}q", *words) + rest,
    HEADERS,
    st.lists(WORDS | NEAR_WORDS, min_size=1, max_size=3),
    st.sampled_from([b"", b"", b"", b"x"]),
)


@given(st.lists(MESSAGES | st.binary(max_size=60), max_size=6))
def test_messages_read_together_are_read_like_each(messages: list[bytes]) -> None:
    assert_read_alike(decode_updates(messages, n_parameters=2, fixed_point_bits=8), messages, 2, 8)


@given(hnp.arrays(np.float64, (3, 4), elements=ANY | EDGES), st.sampled_from([(4, 8), (4, 9), (5, 8)]))
def test_records_are_read_like_their_bytes(update: np.ndarray, wanted: tuple[int, int]) -> None:
    claims = {name: np.array([0.5, 1.0, -1.0]) for name in ("shots", "contraction", "quantum_fisher")}
    table, (n_parameters, bits) = encode_updates(update, **claims, fixed_point_bits=8), wanted
    found = decode_updates(table, n_parameters=n_parameters, fixed_point_bits=bits)
    assert_read_alike(found, [row.tobytes() for row in table], n_parameters, bits)


def test_one_update_is_no_table() -> None:
    with pytest.raises(DomainError, match="two dimensions"):
        encode_updates(np.zeros(3), shots=np.zeros(1), contraction=np.zeros(1), quantum_fisher=np.zeros(1))
