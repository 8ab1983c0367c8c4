"""Simplex's messages: one encoding each, any bytes decode or are rejected, and what is signed differs where it must."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.authentication import Rejected
from ceas.consensus import (
    NO_DIGEST,
    Block,
    BlockProposal,
    BlockVote,
    Certificate,
    Certificates,
    Finalize,
    HeldValue,
    Lacking,
    LeaveView,
    Phase,
    PullBlock,
    PullValues,
    SignedValue,
    SimplexKind,
    SimplexMessage,
    SimplexState,
    block_digest,
    decode_message,
    decode_simplex,
    decode_simplex_state,
    encode_message,
    encode_simplex,
    encode_simplex_state,
    statement,
)
from ceas.consensus.messages import MessageKind
from ceas.errors import DomainError

DIGESTS = st.binary(min_size=32, max_size=32)
SIGNATURES = st.binary(max_size=20)
VIEWS = st.integers(0, 2**32 - 1)
NODES = st.integers(0, 2**16 - 1)
ENTRIES = st.dictionaries(NODES, DIGESTS, min_size=1, max_size=4).map(lambda one: tuple(sorted(one.items())))
SIGNED_BY = st.dictionaries(NODES, SIGNATURES, min_size=1, max_size=4).map(lambda one: tuple(sorted(one.items())))
CERTIFICATES = st.one_of(
    st.builds(Certificate, st.sampled_from((Phase.VOTE, Phase.FINALIZE)), VIEWS, DIGESTS, SIGNED_BY),
    st.builds(Certificate, st.just(Phase.LEAVE), VIEWS, st.just(NO_DIGEST), SIGNED_BY),
)
CHAINS = st.lists(CERTIFICATES, max_size=3).map(tuple)


@st.composite
def proposals(draw: Any) -> BlockProposal:
    entries = draw(ENTRIES)
    signatures = draw(st.just(()) | st.lists(SIGNATURES, min_size=len(entries), max_size=len(entries)).map(tuple))
    return BlockProposal(draw(VIEWS), entries, signatures, draw(CHAINS), draw(SIGNATURES))


MESSAGES = st.one_of(
    st.builds(SignedValue, st.binary(max_size=40), DIGESTS, SIGNATURES),
    proposals(),
    st.builds(BlockVote, VIEWS, DIGESTS, SIGNATURES),
    st.builds(Finalize, VIEWS, DIGESTS, SIGNATURES),
    st.builds(LeaveView, VIEWS, SIGNATURES),
    st.builds(Certificates, st.lists(CERTIFICATES, min_size=1, max_size=3).map(tuple)),
    st.builds(PullBlock, DIGESTS),
    st.builds(Block, ENTRIES),
    st.builds(PullValues, ENTRIES),
    st.builds(HeldValue, NODES, st.binary(max_size=40)),
    st.builds(Lacking, st.integers(1, 2**70)),
)


@given(MESSAGES)
def test_messages_come_back_from_their_bytes(message: SimplexMessage) -> None:
    kind, body = encode_simplex(message)
    assert decode_simplex(kind, body, 3) == message
    assert kind >= 32


@given(MESSAGES, st.data())
def test_changed_bytes_are_rejected_or_another_message(message: SimplexMessage, data: st.DataObject) -> None:
    kind, body = encode_simplex(message)
    place = data.draw(st.integers(0, len(body)))
    changed = data.draw(
        st.sampled_from((body[:place], body[:place] + b"\0" + body[place:], body[:place] + b"\xff" + body[place + 1 :]))
    )
    found = decode_simplex(kind, changed, 3)
    if changed != body:
        assert found != message
    if not isinstance(found, Rejected):
        assert encode_simplex(found) == (kind, changed)


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_bytes_decode_to_what_encodes_to_them_or_are_rejected(kind: int, body: bytes) -> None:
    found = decode_simplex(kind, body, 5)
    if isinstance(found, Rejected):
        assert found.sender == 5
    else:
        assert encode_simplex(found) == (kind, body)


def test_no_frame_belongs_to_both_protocols() -> None:
    assert not {int(kind) for kind in SimplexKind} & {int(kind) for kind in MessageKind}
    vote = BlockVote(0, NO_DIGEST, b"")
    assert isinstance(decode_message(*encode_simplex(vote), 1), Rejected)
    from ceas.consensus import ViewChange

    assert isinstance(decode_simplex(*encode_message(ViewChange(1)), 1), Rejected)


def test_statements_differ_in_every_field() -> None:
    one = statement(Phase.VOTE, 1, bytes(32), 2, b"d" * 32)
    others = {
        statement(Phase.FINALIZE, 1, bytes(32), 2, b"d" * 32),
        statement(Phase.VOTE, 2, bytes(32), 2, b"d" * 32),
        statement(Phase.VOTE, 1, b"p" * 32, 2, b"d" * 32),
        statement(Phase.VOTE, 1, bytes(32), 3, b"d" * 32),
        statement(Phase.VOTE, 1, bytes(32), 2, b"e" * 32),
    }
    assert len(others | {one}) == 6
    assert all(len(other) == len(one) for other in others)
    entries = ((0, bytes(32)), (1, b"d" * 32))
    assert len({block_digest(0, entries), block_digest(1, entries), block_digest(0, entries[:1])}) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: Certificate(Phase.VALUE, 0, NO_DIGEST, ((0, b""),)),
        lambda: Certificate(Phase.LEAVE, 0, b"d" * 32, ((0, b""),)),
        lambda: Certificate(Phase.VOTE, 0, b"d" * 32, ()),
        lambda: Certificate(Phase.VOTE, 0, b"d" * 32, ((1, b""), (1, b""))),
        lambda: Certificate(Phase.VOTE, -1, b"d" * 32, ((1, b""),)),
        lambda: Certificate(Phase.VOTE, 0, b"d", ((1, b""),)),
        lambda: BlockVote(2**32, NO_DIGEST, b""),
        lambda: BlockVote(0, NO_DIGEST, bytes(2**16)),
        lambda: BlockProposal(0, ((0, NO_DIGEST),), (b"", b""), (), b""),
        lambda: BlockProposal(0, (), (), (), b""),
        lambda: Certificates(()),
        lambda: Block(((2, NO_DIGEST), (1, NO_DIGEST))),
        lambda: PullBlock(b""),
        lambda: HeldValue(2**16, b""),
        lambda: Lacking(0),
        lambda: SignedValue(b"", b"", b""),
    ],
)
def test_messages_are_valid_by_construction(make: Any) -> None:
    with pytest.raises(DomainError):
        make()


STATES = st.builds(
    SimplexState,
    value=st.none() | st.binary(max_size=9),
    signature=SIGNATURES,
    proposed=st.none() | VIEWS,
    voted=st.none() | st.tuples(VIEWS, DIGESTS),
    finalized=st.none() | st.tuples(VIEWS, DIGESTS),
    left=st.none() | VIEWS,
    certificate=st.none() | CERTIFICATES,
    leaves=CHAINS,
    blocks=st.lists(ENTRIES, max_size=2).map(tuple),
    values=st.lists(st.tuples(NODES, st.binary(max_size=9)), max_size=3).map(tuple),
    decided=st.none() | CERTIFICATES,
)


@given(STATES)
def test_states_come_back_from_their_bytes(state: SimplexState) -> None:
    assert decode_simplex_state(encode_simplex_state(state)) == state


@given(STATES, st.data())
def test_damaged_states_are_refused(state: SimplexState, data: st.DataObject) -> None:
    kept = bytearray(encode_simplex_state(state))
    kept[data.draw(st.integers(0, len(kept) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(kept), bytes(kept[:-1]), b""):
        with pytest.raises(DomainError, match=r"State|state"):
            decode_simplex_state(damaged)
