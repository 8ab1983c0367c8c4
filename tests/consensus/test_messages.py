"""Messages and their bytes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.authentication import Rejected
from ceas.consensus import (
    AgreementMessage,
    Decision,
    Echo,
    Message,
    Proof,
    Propose,
    Pull,
    Ready,
    SetProposal,
    SetVote,
    Suggest,
    Value,
    ViewChange,
    decode_message,
    encode_message,
    value_digest,
)
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


VIEW = st.integers(0, 2**32 - 1)
LATER_VIEW = st.integers(1, 2**32 - 1)
MEMBERS = st.integers(1, 2**64 - 1) | st.just(2**65536 - 1)


@st.composite
def reports(draw: st.DrawFn) -> AgreementMessage:
    view = draw(LATER_VIEW)
    ballot = st.none() | st.tuples(st.integers(0, view - 1), MEMBERS)
    return draw(st.sampled_from((Suggest, Proof)))(view, draw(ballot), draw(ballot), draw(ballot))


AGREEMENT_MESSAGES = st.one_of(
    st.builds(SetProposal, VIEW, MEMBERS),
    st.builds(SetVote, st.integers(1, 4), VIEW, MEMBERS),
    reports(),
    st.builds(ViewChange, LATER_VIEW),
    st.builds(Decision, MEMBERS),
)


@given(AGREEMENT_MESSAGES)
def test_decoding_inverts_encoding_of_the_agreement(message: AgreementMessage) -> None:
    kind, body = encode_message(message)
    assert decode_message(kind, body, sender=1) == message


@given(st.integers(0, 255) | st.integers(6, 11), st.binary(max_size=60))
def test_any_bytes_decode_canonically_or_are_rejected_by_the_agreement(kind: int, body: bytes) -> None:
    message = decode_message(kind, body, sender=5)
    if isinstance(message, Rejected):
        assert message.sender == 5
    else:
        assert encode_message(message) == (kind, body)


@given(AGREEMENT_MESSAGES, st.data())
def test_changed_bytes_are_another_message_or_none(message: AgreementMessage, data: st.DataObject) -> None:
    kind, body = encode_message(message)
    place = data.draw(st.integers(0, min(len(body), 100) - 1))
    changed = body[:place] + bytes([body[place] ^ data.draw(st.integers(1, 255))]) + body[place + 1 :]
    for other in (changed, body[:place], body + b"\0"):
        decoded = decode_message(kind, other, sender=5)
        assert decoded != message
        assert isinstance(decoded, Rejected) or encode_message(decoded) == (kind, other)


@pytest.mark.parametrize(
    ("kind", "body", "what"),
    [
        (6, "000000000000", "no members"),
        (6, "0000000000020007", "a leading zero"),
        (6, "0000000000010700", "a byte too many"),
        (7, "0000000000000107", "phase 0"),
        (7, "0500000000000107", "phase 5"),
        (8, "00000001020000", "a presence byte that is neither 0 nor 1"),
        (9, "0000000100010000000100010700", "a vote of the view itself"),
        (9, "00000000000000", "a report to view 0"),
        (10, "00000000", "a change to view 0"),
        (1, "00000000", "a kind of the broadcast"),
    ],
)
def test_bytes_of_no_valid_message_of_the_agreement_are_rejected(kind: int, body: str, what: str) -> None:
    assert decode_message(kind, bytes.fromhex(body), sender=5) == Rejected(5, "malformed message"), what


def test_messages_of_the_agreement_are_valid_by_construction() -> None:
    for build, word in (
        (lambda: SetVote(5, 0, 1), "phase"),
        (lambda: SetVote(1, 2**32, 1), "view"),
        (lambda: SetProposal(0, 0), "members"),
        (lambda: Decision(2**65536), "members"),
        (lambda: ViewChange(0), "view"),
        (lambda: Proof(0, None, None, None), "view"),
        (lambda: Suggest(1, (1, 7), None, None), "earlier"),
    ):
        with pytest.raises(DomainError, match=word):
            build()
