"""Canonical frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.authentication import Frame, Rejected, decode_frame, encode_frame, epoch_hash
from ceas.authentication.codec import HEADER_BYTES

FRAMES = st.builds(
    Frame,
    epoch_hash=st.binary(min_size=32, max_size=32),
    source=st.integers(0, 65535),
    destination=st.integers(0, 65535),
    sequence=st.integers(0, 2**64 - 1),
    training_round=st.integers(0, 2**32 - 1),
    kind=st.integers(0, 255),
    body=st.binary(max_size=200),
)


def test_layout_is_the_documented_one() -> None:
    frame = Frame(
        epoch_hash=bytes(range(32)),
        source=0x0102,
        destination=0x0304,
        sequence=5,
        training_round=6,
        kind=7,
        body=b"xyz",
    )
    expected = "01" + bytes(range(32)).hex() + "0102" + "0304" + "0000000000000005" + "00000006" + "07" + "00000003"
    assert encode_frame(frame).hex() == expected + b"xyz".hex()
    assert HEADER_BYTES == 54


@given(FRAMES)
def test_decoding_inverts_encoding(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame), sender=3) == frame


@given(FRAMES, FRAMES)
def test_different_frames_have_different_bytes(first: Frame, second: Frame) -> None:
    assert (encode_frame(first) == encode_frame(second)) == (first == second)


@given(st.binary(max_size=120))
def test_any_bytes_decode_canonically_or_are_rejected(data: bytes) -> None:
    frame = decode_frame(data, sender=9)
    if isinstance(frame, Rejected):
        assert frame.sender == 9
    else:
        assert encode_frame(frame) == data


@given(FRAMES, st.data())
def test_truncated_and_extended_frames_are_rejected(frame: Frame, data: st.DataObject) -> None:
    wire = encode_frame(frame)
    cut = data.draw(st.integers(0, len(wire) - 1))
    assert isinstance(decode_frame(wire[:cut], sender=0), Rejected)
    assert isinstance(decode_frame(wire + b"\0", sender=0), Rejected)


@pytest.mark.parametrize(
    "change", [{"n_nodes": 5}, {"tolerated_byzantine": 0}, {"profile": "its128"}, {"start_digest": b"y"}]
)
def test_epoch_hash_depends_on_every_argument(change: dict[str, object]) -> None:
    base: dict[str, object] = {"n_nodes": 4, "tolerated_byzantine": 1, "profile": "qkd_seeded", "start_digest": b"x"}
    first, second = epoch_hash(**base), epoch_hash(**(base | change))  # type: ignore[arg-type]
    assert len(first) == 32
    assert first != second
