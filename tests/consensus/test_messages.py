"""Messages and their bytes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.authentication import Rejected
from ceas.consensus import Echo, Message, Propose, Pull, Ready, Value, decode_message, encode_message, value_digest
from ceas.errors import DomainError

DIGEST = st.binary(min_size=32, max_size=32)
INSTANCE = st.integers(0, 65535)
VOTES = st.dictionaries(INSTANCE, DIGEST, min_size=1, max_size=5).map(lambda votes: tuple(sorted(votes.items())))
MESSAGES = st.one_of(
    st.builds(Propose, st.binary(max_size=60), DIGEST),
    st.builds(Echo, VOTES),
    st.builds(Ready, VOTES),
    st.builds(Pull, INSTANCE, DIGEST),
    st.builds(Value, INSTANCE, st.binary(max_size=60)),
)


@given(MESSAGES)
def test_decoding_inverts_encoding(message: Message) -> None:
    kind, body = encode_message(message)
    assert decode_message(kind, body, sender=1) == message


@given(st.integers(0, 255), st.binary(max_size=150))
def test_any_bytes_decode_canonically_or_are_rejected(kind: int, body: bytes) -> None:
    message = decode_message(kind, body, sender=5)
    if isinstance(message, Rejected):
        assert message.sender == 5
    else:
        assert encode_message(message) == (kind, body)


@pytest.mark.parametrize("instances", [[1, 0], [2, 2], []])
def test_votes_out_of_order_repeated_or_absent_are_rejected(instances: list[int]) -> None:
    body = b"".join(instance.to_bytes(2, "big") + bytes(32) for instance in instances)
    for kind in (2, 3):
        assert decode_message(kind, body, sender=5) == Rejected(5, "malformed message")
    with pytest.raises(DomainError, match="increasing"):
        Echo(tuple((instance, bytes(32)) for instance in instances))
    with pytest.raises(DomainError, match="increasing"):
        Ready(tuple((instance, bytes(32)) for instance in instances))


def test_digests_of_wrong_length_and_negative_instances_are_refused() -> None:
    for build in (
        lambda: Propose(b"", b"x"),
        lambda: Pull(0, b"x"),
        lambda: Echo(((0, b"x"),)),
        lambda: Ready(((0, b"x"),)),
    ):
        with pytest.raises(DomainError, match="32 bytes"):
            build()
    with pytest.raises(DomainError, match="increasing"):
        Echo(((-1, bytes(32)),))


def test_digest_binds_round_instance_and_value() -> None:
    assert value_digest(3, 7, b"v") == hashlib.sha256(b"\0\0\0\x03" + b"\0\x07" + b"v").digest()
