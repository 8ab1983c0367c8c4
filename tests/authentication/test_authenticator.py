"""Tags, rejections and key use of authenticated links."""

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.authentication import (
    PROFILES as PROFILE_FACTS,
)
from ceas.authentication import (
    Accepted,
    Authenticator,
    KeyPools,
    Profile,
    Rejected,
    RejectionReason,
    forgery_bound,
)
from ceas.authentication.codec import HEADER_BYTES
from ceas.errors import DomainError

EPOCH = hashlib.sha256(b"test").digest()
PROFILES: tuple[Profile, ...] = ("its128", "its64", "qkd_seeded", "ml_dsa")
TAG_BYTES = {name: facts.tag_bytes for name, facts in PROFILE_FACTS.items()}


def poly1305(key: bytes, message: bytes) -> bytes:
    """RFC 8439 section 2.5.1, in integers: an oracle that shares nothing with the library."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    accumulator = 0
    for start in range(0, len(message), 16):
        block = message[start : start + 16] + b"\x01"
        accumulator = (accumulator + int.from_bytes(block, "little")) * r % (2**130 - 5)
    return ((accumulator + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def make(
    profile: Profile = "qkd_seeded",
    *,
    n_nodes: int = 4,
    enrolled_key_bits: int = 4096,
    epoch: bytes = EPOCH,
    **options: Any,
) -> Authenticator:
    pools = KeyPools(n_nodes, enrolled_key_bits=enrolled_key_bits, seed=11)
    authenticator = Authenticator(pools, profile=profile, epoch=epoch, **options)
    authenticator.begin_round(1)
    return authenticator


def sent(authenticator: Authenticator, source: int = 0, destination: int = 1, body: bytes = b"body") -> bytes:
    wire = authenticator.authenticate(source, destination, 2, body)
    assert wire is not None
    return wire


def state_of(authenticator: Authenticator) -> dict[str, list[Any]]:
    arrays = authenticator.to_arrays()
    return {
        name: array.tolist() for name, array in arrays.items() if name not in ("rejections", "bad_tags", "tag_checks")
    }


def assert_rejected(
    authenticator: Authenticator, reason: RejectionReason, wire: bytes, *, at: int = 1, on: int = 0
) -> None:
    before, count = state_of(authenticator), authenticator.account().rejected_frames.get(reason, 0)
    assert authenticator.verify(at, on, wire) == Rejected(on, reason.value)
    assert state_of(authenticator) == before
    assert authenticator.account().rejected_frames[reason] == count + 1


def test_oracle_agrees_with_rfc_8439_section_252() -> None:
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
    assert poly1305(key, b"Cryptographic Forum Research Group") == tag


def test_oracle_agrees_with_rfc_8439_appendix_a3_wrap_around() -> None:
    # Vectors 7 to 9: reduction modulo 2^130 - 5 at its edges.
    key = bytes([1] + [0] * 31)
    ones = b"\xff" * 16
    assert poly1305(key, ones + b"\xf0" + b"\xff" * 15 + b"\x11" + bytes(15)) == bytes([5] + [0] * 15)
    assert poly1305(key, ones + b"\xfb" + b"\xfe" * 15 + b"\x01" * 16) == bytes(16)
    assert poly1305(bytes([2] + [0] * 31), b"\xfd" + b"\xff" * 15) == b"\xfa" + b"\xff" * 15


def test_seeded_tag_is_poly1305_under_the_documented_key() -> None:
    authenticator = make("qkd_seeded")
    pools = authenticator.pools
    pair = pools.pair_index(0, 2)
    enrolled = pools.block(pair, 0) + pools.block(pair, 1)
    stamp = (1).to_bytes(4, "big")
    seed = hashlib.blake2b(stamp, key=enrolled, digest_size=32, person=b"ceas ratchet").digest()
    for sequence in range(3):
        wire = sent(authenticator, 2, 0, b"x" * 40)
        context = struct.pack(">IHHQ", 1, 2, 0, sequence)
        key = hashlib.blake2b(context, key=seed, digest_size=32, person=b"ceas frame key").digest()
        assert wire[-16:] == poly1305(key, wire[:-16])


def test_one_time_tag_is_poly1305_under_r_of_the_direction_and_a_fresh_block() -> None:
    authenticator = make("its128")
    pools = authenticator.pools
    pair = pools.pair_index(0, 2)
    for source, destination, direction in ((0, 2, 0), (2, 0, 1)):
        for sequence in range(3):
            wire = sent(authenticator, source, destination)
            key = pools.block(pair, direction) + pools.block(pair, 2 + 2 * sequence + direction)
            assert wire[-16:] == poly1305(key, wire[:-16])


@pytest.mark.parametrize("profile", PROFILES)
def test_frames_arrive_in_any_order_once(profile: Profile) -> None:
    authenticator = make(profile)
    wires = [sent(authenticator, body=bytes([k])) for k in range(5)]
    for k in (3, 0, 4, 1, 2):
        assert authenticator.verify(1, 0, wires[k]) == Accepted(2, bytes([k]))
    for wire in wires:
        assert_rejected(authenticator, RejectionReason.REPLAYED_SEQUENCE, wire)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_flipped_bit_is_rejected_and_the_true_frame_still_accepted(profile: Profile) -> None:
    authenticator = make(profile)
    fresh = authenticator.to_arrays()
    wire = sent(authenticator, body=b"four")
    sent_once = authenticator.to_arrays()
    # Of a signature of 2,420 bytes every 37th bit.
    bits = [bit for bit in range(8 * len(wire)) if bit < 8 * (HEADER_BYTES + 4 + 16) or bit % 37 == 0]
    for bit in bits:
        authenticator.load(sent_once)  # a link without bad tags, for it closes after some
        flipped = bytearray(wire)
        flipped[bit // 8] ^= 1 << bit % 8
        before = state_of(authenticator)
        assert isinstance(authenticator.verify(1, 0, bytes(flipped)), Rejected), bit
        assert state_of(authenticator) == before
        assert authenticator.verify(1, 0, wire) == Accepted(2, b"four")
    authenticator.load(fresh)
    if profile != "ml_dsa":  # whose signatures are drawn
        assert sent(authenticator, body=b"four") == wire


def test_reflected_and_misdirected_frames_are_rejected() -> None:
    authenticator = make()
    wire = sent(authenticator, 0, 1)
    assert_rejected(authenticator, RejectionReason.WRONG_SOURCE, wire, at=0, on=1)  # back to its sender
    assert_rejected(authenticator, RejectionReason.WRONG_DESTINATION, wire, at=2, on=0)
    assert_rejected(authenticator, RejectionReason.WRONG_SOURCE, wire, at=1, on=3)  # over another node's link


@pytest.mark.parametrize("profile", PROFILES)
def test_directions_have_different_keys(profile: Profile) -> None:
    authenticator = make(profile)
    there, back = sent(authenticator, 0, 1), sent(authenticator, 1, 0)
    # The same header, body and sequence with the other direction's tag: only the key tells them apart.
    size = TAG_BYTES[profile]
    assert there[:-size] == authenticator._routes[1] + there[37:-size]
    assert there[-size:] != back[-size:]
    assert_rejected(authenticator, RejectionReason.BAD_TAG, there[:-size] + back[-size:])
    assert_rejected(authenticator, RejectionReason.BAD_TAG, back[:-size] + there[-size:], at=0, on=1)


def test_source_forged_with_own_key_is_rejected() -> None:
    authenticator = make()
    wire = sent(authenticator, 3, 1)
    forged = sent(authenticator, 0, 1)[:-20] + wire[-20:]
    assert_rejected(authenticator, RejectionReason.BAD_TAG, forged, at=1, on=0)


def test_frames_of_another_round_epoch_or_version_are_rejected() -> None:
    authenticator = make()
    old = sent(authenticator)
    authenticator.begin_round(2)
    assert_rejected(authenticator, RejectionReason.WRONG_TRAINING_ROUND, old)
    other = make(epoch=hashlib.sha256(b"other").digest())
    assert_rejected(authenticator, RejectionReason.WRONG_EPOCH, sent(other))
    wire = sent(authenticator)
    assert_rejected(authenticator, RejectionReason.WRONG_VERSION, b"\x02" + wire[1:])
    assert_rejected(authenticator, RejectionReason.MALFORMED, wire[:50])
    assert_rejected(authenticator, RejectionReason.MALFORMED, wire + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_without_effect(data: bytes) -> None:
    authenticator = make()
    before = state_of(authenticator)
    assert isinstance(authenticator.verify(1, 0, data), Rejected)
    assert state_of(authenticator) == before


def test_a_link_closes_after_sixteen_bad_tags_and_only_that_link() -> None:
    authenticator = make()
    good = sent(authenticator)
    for _ in range(16):
        assert_rejected(authenticator, RejectionReason.BAD_TAG, good[:-1] + bytes([good[-1] ^ 1]))
    assert authenticator.account().closed_links == ((1, 0),)
    assert_rejected(authenticator, RejectionReason.LINK_CLOSED, good)
    assert authenticator.authenticate(1, 0, 2, b"") is None
    assert [node for node, _ in authenticator.authenticate_broadcast(1, 2, b"")] == [2, 3]
    assert isinstance(authenticator.verify(2, 0, sent(authenticator, 0, 2)), Accepted)
    assert authenticator.account().starved_frames == 0


def test_fifteen_bad_tags_leave_the_link_open() -> None:
    authenticator = make()
    good = sent(authenticator)
    for _ in range(15):
        authenticator.verify(1, 0, good[:-1] + bytes([good[-1] ^ 1]))
    assert authenticator.verify(1, 0, good) == Accepted(2, b"body")


def test_sequence_numbers_far_behind_are_burnt_and_a_jump_burns_the_window() -> None:
    authenticator = make()
    wires = [sent(authenticator) for _ in range(140)]
    for k in (0, 64, 139):
        assert isinstance(authenticator.verify(1, 0, wires[k]), Accepted)
    for k in (0, 1, 64, 75, 139):
        assert_rejected(authenticator, RejectionReason.REPLAYED_SEQUENCE, wires[k])
    for k in (76, 138):
        assert isinstance(authenticator.verify(1, 0, wires[k]), Accepted)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 149), max_size=200))
def test_replay_window_accepts_what_a_set_with_a_horizon_accepts(order: list[int]) -> None:
    authenticator = make()
    wires = [sent(authenticator) for _ in range(150)]
    burnt: set[int] = set()
    for k in order:
        is_new = k not in burnt and k > max(burnt, default=-1) - 64
        assert isinstance(authenticator.verify(1, 0, wires[k]), Accepted) == is_new
        burnt |= {k} if is_new else set()


def test_one_time_frames_starve_when_the_pool_is_empty_and_resume_when_it_fills() -> None:
    authenticator = make("its128", enrolled_key_bits=256 + 5 * 128)
    wires = [authenticator.authenticate(0, 1, 2, b"") for _ in range(5)]
    back = [authenticator.authenticate(1, 0, 2, b"") for _ in range(5)]
    # Five blocks: positions 0, 2, 4 serve one direction and 1, 3 the other.
    assert [wire is not None for wire in wires] == [True, True, True, False, False]
    assert [wire is not None for wire in back] == [True, True, False, False, False]
    account = authenticator.account()
    assert account.starved_frames == 5
    assert account.consumed_key_bits == 6 * 256 + 5 * 128  # r of six pairs of nodes, and five frames
    assert authenticator.pools.available_bits(1) == 0
    authenticator.pools.deposit([0], [1], [128], [128.0])
    wire = sent(authenticator, 1, 0)
    assert isinstance(authenticator.verify(0, 1, wire), Accepted)
    assert authenticator.authenticate(0, 1, 2, b"") is None
    assert authenticator.account().starved_frames == 6


def test_one_time_frame_with_a_sequence_beyond_the_pool_has_no_key() -> None:
    authenticator = make("its128", enrolled_key_bits=256 + 128)
    wire = sent(authenticator)
    ahead = bytearray(wire)
    ahead[44] = 9  # last byte of the sequence number
    assert_rejected(authenticator, RejectionReason.NO_KEY, bytes(ahead))


def test_one_time_never_uses_a_block_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = make("its128", enrolled_key_bits=256 + 40 * 128)
    used: list[tuple[int, int]] = []
    block = KeyPools.block

    def spy(pools: KeyPools, pair: int, position: int) -> bytes:
        used.append((pair, position))
        return block(pools, pair, position)

    monkeypatch.setattr(KeyPools, "block", spy)
    n_sent = 0
    for training_round in range(2, 30):
        authenticator.begin_round(training_round)
        for source, destination in ((0, 1), (1, 0), (0, 1)):
            n_sent += authenticator.authenticate(source, destination, 1, b"") is not None
    pads = [key for key in used if key[1] >= 2]
    assert n_sent == len(pads) == len(set(pads))
    assert authenticator.pools.consumed_bits[1] == 256 + 128 * n_sent
    assert authenticator.pools.available_bits(1) >= 0


def test_seeded_links_reseed_when_due_and_pay_256_bits() -> None:
    authenticator = make("qkd_seeded", enrolled_key_bits=256, links=[(0, 1), (2, 1)], reseed_rounds=3)
    consumed = authenticator.pools.consumed_bits
    assert consumed.sum() == 6 * 256
    authenticator.pools.deposit([0, 1], [1, 2], [300, 200], [300.0, 200.0])
    assert authenticator.begin_round(2) == ()
    assert consumed.sum() == 6 * 256
    link, poor = authenticator.pools.pair_index(0, 1), authenticator.pools.pair_index(1, 2)
    assert authenticator.begin_round(3) == (poor,)
    assert consumed[link] == 512
    assert consumed[poor] == 256
    authenticator.pools.deposit([1], [2], [56], [56.0])
    assert authenticator.begin_round(4) == ()
    assert authenticator.begin_round(6) == (link,)
    assert consumed[poor] == 512
    assert authenticator.account().starved_links == 2
    assert authenticator.starved_reseeds[[link, poor]].tolist() == [1, 1]


def test_a_refreshed_seed_depends_on_the_fresh_bits_and_a_starved_one_ratchets() -> None:
    rich, poor = (make("qkd_seeded", enrolled_key_bits=256, links=[(0, 1)], reseed_rounds=2) for _ in range(2))
    rich.pools.deposit([0], [1], [256], [256.0])
    seeds = [(a._tags.to_array()[0].tobytes(), a.begin_round(2), a._tags.to_array()[0].tobytes()) for a in (rich, poor)]
    assert seeds[0][0] == seeds[1][0]
    assert seeds[0][1] == ()
    assert seeds[1][1] == (1,)
    assert len({seeds[0][0], seeds[0][2], seeds[1][2]}) == 3
    fresh = rich.pools.block(1, 2) + rich.pools.block(1, 3)
    material = (2).to_bytes(4, "big") + fresh
    expected = hashlib.blake2b(material, key=seeds[0][0], digest_size=32, person=b"ceas ratchet").digest()
    assert seeds[0][2] == expected
    for authenticator in (rich, poor):
        assert isinstance(authenticator.verify(1, 0, sent(authenticator)), Accepted)


def test_seeded_never_repeats_a_frame_key() -> None:
    authenticator = make("qkd_seeded")
    keys = []
    for training_round in range(2, 6):
        authenticator.begin_round(training_round)
        keys += [authenticator._tags.frame_key(s, d, k) for s in range(4) for d in range(4) if s != d for k in range(5)]
    assert len(set(keys)) == len(keys) == 4 * 12 * 5


def test_training_rounds_only_move_on() -> None:
    authenticator = make()
    for training_round in (1, 0, 2**32):
        with pytest.raises(DomainError, match="training_round"):
            authenticator.begin_round(training_round)


def test_broadcast_is_a_frame_for_every_other_node() -> None:
    authenticator, single = make(), make()
    frames = authenticator.authenticate_broadcast(2, 5, b"all")
    assert frames == [(node, single.authenticate(2, node, 5, b"all")) for node in (0, 1, 3)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_restored_authenticator_goes_on_exactly(profile: Profile) -> None:
    options: dict[str, Any] = {"links": [(0, 1)], "reseed_rounds": 2} if profile == "qkd_seeded" else {}
    first = make(profile, **options)
    first.pools.deposit([0], [1], [700], [690.0])
    wires = [sent(first) for _ in range(3)]
    for wire in (wires[0], wires[2], wires[2], b"junk", wires[1][:-1] + b"?"):
        first.verify(1, 0, wire)
    arrays = {name: np.array(array) for name, array in first.to_arrays().items()}
    second = make(profile, **options)
    second.load(arrays)
    for authenticator in (first, second):
        authenticator.begin_round(2)
    assert first.account() == second.account()
    size = TAG_BYTES[profile] if profile == "ml_dsa" else 0  # signatures are drawn
    assert sent(first)[: -size or None] == sent(second)[: -size or None]
    assert {k: v.tolist() for k, v in first.to_arrays().items()} == {
        k: v.tolist() for k, v in second.to_arrays().items()
    }


def test_account_names_the_profile_and_the_bound_of_the_longest_frame() -> None:
    authenticator = make("its128", enrolled_key_bits=4096)
    sent(authenticator, body=b"x" * 946)
    sent(authenticator, body=b"")
    account = authenticator.account()
    assert account.profile == "its128"
    assert account.security == "information-theoretic"
    assert make("qkd_seeded").account().security.startswith("computational")
    assert account.forgery_bound == forgery_bound(1000, "its128") == 8 * 63 / 2**106
    assert account.attempts == 12 * 16
    assert account.forgery_bound_of_all == 12 * 16 * 8 * 63 / 2**106
    assert account.enrolled_key_bits == 6 * 4096


@pytest.mark.parametrize(("frame_bytes", "log2_bound"), [(64, -101), (4096, -95), (80_000, -90.71), (1_048_576, -87)])
def test_forgery_bounds_of_typical_frames(frame_bytes: int, log2_bound: float) -> None:
    for profile in ("its128", "qkd_seeded"):
        assert np.log2(forgery_bound(frame_bytes, profile)) == pytest.approx(log2_bound, abs=0.01)


def test_bad_arguments_are_refused() -> None:
    pools = KeyPools(3, seed=0)
    with pytest.raises(DomainError, match="profile"):
        Authenticator(pools, profile="none", epoch=EPOCH)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="epoch"):
        Authenticator(pools, epoch=b"short")
    with pytest.raises(DomainError, match="reseed_rounds"):
        Authenticator(pools, epoch=EPOCH, reseed_rounds=0)
    with pytest.raises(DomainError, match="frame_bytes"):
        forgery_bound(-1, "its128")
    with pytest.raises(DomainError, match="its128, its64, qkd_seeded, ml_dsa, but is one_time"):
        forgery_bound(1, "one_time")  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="reserve_rounds"):
        Authenticator(pools, epoch=EPOCH, reserve_rounds=-1)
    with pytest.raises(DomainError, match="frame_quota"):
        Authenticator(pools, epoch=EPOCH, frame_quota=0)
