"""Key kept for votes, quotas, links that can carry a round, and pads that are never used twice."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ceas.authentication import PROFILES, Accepted, Authenticator, KeyPools, Profile, Rejected, RejectionReason
from ceas.authentication.authenticator import CONTROL_FRAMES_OF_ROUND, FrameClass
from ceas.errors import DomainError

ALL: tuple[Profile, ...] = ("its128", "its64", "qkd_seeded", "ml_dsa")
WITH_PADS: tuple[Profile, ...] = ("its128", "its64")


def make(profile: Profile = "its128", *, pads: int = 100, n_nodes: int = 3, **options: Any) -> Authenticator:
    """Return an authenticator with so many pads on each direction."""
    bits = 256 + 2 * pads * PROFILES[profile].pad_bits
    authenticator = Authenticator(
        KeyPools(n_nodes, enrolled_key_bits=bits, seed=3), profile=profile, epoch=bytes(32), **options
    )
    authenticator.begin_round(1)
    return authenticator


def send(
    authenticator: Authenticator, count: int, frame_class: FrameClass = "control", *, source: int = 0, to: int = 1
) -> list[bytes]:
    wires = [authenticator.authenticate(source, to, 1, bytes([k % 256]), frame_class=frame_class) for k in range(count)]
    return [wire for wire in wires if wire is not None]


@pytest.mark.parametrize("profile", WITH_PADS)
def test_bulk_frames_leave_the_pads_of_three_rounds_of_control_frames(profile: Profile) -> None:
    authenticator = make(profile, pads=40)
    assert authenticator.reserve_frames == 3 * CONTROL_FRAMES_OF_ROUND == 24
    assert len(send(authenticator, 50, "bulk")) == 40 - 24
    account = authenticator.account()
    assert account.starved_frames == account.reserved_frames == 50 - 16
    # The other direction has its own.
    assert len(send(authenticator, 50, "bulk", source=1, to=0)) == 16
    assert len(send(authenticator, 50)) == 24
    account = authenticator.account()
    assert account.starved_frames == 34 + 34 + 26
    assert account.reserved_frames == 34 + 34


def test_a_reserve_of_none_lets_bulk_frames_use_all() -> None:
    authenticator = make(pads=40, reserve_rounds=0)
    assert len(send(authenticator, 50, "bulk")) == 40
    assert authenticator.account().reserved_frames == 0


@pytest.mark.parametrize("profile", ["qkd_seeded", "ml_dsa"])
def test_profiles_without_pads_hold_nothing_back(profile: Profile) -> None:
    authenticator = make(profile)
    assert authenticator.reserve_frames == 0
    assert len(send(authenticator, 5, "bulk")) == 5


@pytest.mark.parametrize("profile", ALL)
def test_a_sender_stops_at_the_quota_until_the_next_round(profile: Profile) -> None:
    authenticator = make(profile, frame_quota=5)
    assert len(send(authenticator, 8)) == 5
    frames = authenticator.authenticate_broadcast(0, 1, b"")
    assert [node for node, _ in frames] == [2]
    assert authenticator.account().over_quota_frames == 4
    assert authenticator.account().starved_frames == 0
    assert len(send(authenticator, 1, source=1, to=0)) == 1
    authenticator.begin_round(2)
    assert len(send(authenticator, 8)) == 5


@pytest.mark.parametrize("profile", ALL)
def test_a_receiver_cuts_a_flood_of_valid_frames_at_the_quota(profile: Profile) -> None:
    """A peer that ignores its own quota has its key used for nothing, and the receiver's pads are not touched."""
    flooding = make(profile, frame_quota=50)
    wires = send(flooding, 50)
    receiving = make(profile, frame_quota=20)
    answers = [receiving.verify(1, 0, wire) for wire in wires]
    assert [isinstance(answer, Accepted) for answer in answers] == [True] * 20 + [False] * 30
    assert receiving.account().rejected_frames == {RejectionReason.OVER_QUOTA: 30}
    assert receiving.account().closed_links == ()
    assert receiving.account().consumed_key_bits == make(profile).account().consumed_key_bits
    assert len(send(receiving, 3, source=1, to=0)) == 3
    # What was cut is not burnt, and another peer is not cut.
    other = send(flooding, 1, source=2)[0]
    assert isinstance(receiving.verify(1, 2, other), Accepted)
    receiving.begin_round(2)
    flooding.begin_round(2)
    assert isinstance(receiving.verify(1, 0, send(flooding, 1)[0]), Accepted)


@pytest.mark.parametrize("profile", WITH_PADS)
def test_bad_frames_burn_no_pad_and_no_quota(profile: Profile) -> None:
    authenticator = make(profile, pads=6, frame_quota=6)
    wire = send(authenticator, 1)[0]
    consumed = authenticator.account().consumed_key_bits
    for k in range(PROFILES[profile].alarm_bad_tags - 1):
        assert isinstance(authenticator.verify(1, 0, wire[:-1] + bytes([wire[-1] ^ (k + 1)])), Rejected)
    assert authenticator.account().consumed_key_bits == consumed
    wires = [wire, *send(authenticator, 5)]
    assert len(wires) == 6
    assert all(isinstance(authenticator.verify(1, 0, one), Accepted) for one in wires)


@pytest.mark.parametrize("profile", WITH_PADS)
def test_a_starved_link_refuses_and_works_again_after_a_deposit(profile: Profile) -> None:
    authenticator = make(profile, pads=4)
    assert len(send(authenticator, 9)) == 4
    assert not authenticator.able_links(1)[0, 1]
    assert authenticator.able_links(1)[1, 0]
    assert authenticator.able_links(0).all()
    bits = 2 * 3 * PROFILES[profile].pad_bits
    authenticator.pools.deposit([0], [1], [bits], [float(bits)])
    assert authenticator.able_links(3)[0, 1]
    assert not authenticator.able_links(4)[0, 1]
    wires = send(authenticator, 9)
    assert len(wires) == 3
    assert all(isinstance(authenticator.verify(1, 0, wire), Accepted) for wire in wires)


@pytest.mark.parametrize(
    ("profile", "n_frames"),
    [(profile, n) for profile in ALL[:3] for n in (1, 7, 8, 9, 30)] + [("ml_dsa", 2), ("ml_dsa", 26)],
)
def test_able_links_is_what_sending_finds(profile: Profile, n_frames: int) -> None:
    """Against frames sent one by one, with directions used up to different degrees, and one closed."""
    authenticator = make(profile, pads=16, n_nodes=4, frame_quota=50)
    for source, to, used in ((0, 1, 8), (1, 0, 9), (2, 0, 16), (3, 2, 1)):
        send(authenticator, used, source=source, to=to)
    wire = send(authenticator, 1, source=3, to=1)[0]
    for _ in range(16):
        authenticator.verify(1, 3, wire[:-1] + bytes([wire[-1] ^ 1]))
    authenticator.begin_round(2)
    able = authenticator.able_links(n_frames)
    arrays = authenticator.to_arrays()
    for source in range(4):
        for to in range(4):
            authenticator.load(arrays)
            wires = send(authenticator, n_frames, source=source, to=to) if source != to else []
            arrived = [isinstance(authenticator.verify(to, source, one), Accepted) for one in wires]
            assert able[source, to] == (source == to or (len(wires) == n_frames and all(arrived))), (source, to)


def test_a_negative_round_is_refused() -> None:
    with pytest.raises(DomainError, match="n_frames"):
        make().able_links(-1)


@pytest.mark.parametrize("profile", ALL)
def test_passing_frames_equals_sending_and_verifying_them(profile: Profile) -> None:
    passed, framed = (make(profile, pads=60, n_nodes=3, remember_signatures=True) for _ in range(2))
    for training_round in (2, 3):
        for authenticator in (passed, framed):
            authenticator.begin_round(training_round)
        control = np.full((3, 3), 3)
        control[training_round % 3] += 1  # the leader's proposal
        assert passed.pass_frames(control, 30, bulk=1)
        for frame_class, counts in (("bulk", np.ones((3, 3), dtype=int)), ("control", control)):
            for source in range(3):
                for _ in range(counts[source, (source + 1) % 3]):
                    for to, wire in framed.authenticate_broadcast(source, 1, bytes(30), frame_class=frame_class):
                        assert isinstance(framed.verify(to, source, wire), Accepted)
        one, other = ({k: v.tolist() for k, v in a.to_arrays().items()} for a in (passed, framed))
        del one["tag_checks"], other["tag_checks"]
        assert one == other
        assert passed.account().tag_checks == framed.account().tag_checks
    counts = np.zeros((3, 3), dtype=int)
    counts[0, 1] = 2
    assert passed.pass_frames(counts, 30) == (profile != "ml_dsa")


@pytest.mark.parametrize("profile", WITH_PADS)
def test_frames_that_cannot_be_sent_cannot_be_passed(profile: Profile) -> None:
    authenticator = make(profile, pads=30, frame_quota=28)
    before = {k: v.tolist() for k, v in authenticator.to_arrays().items()}
    assert not authenticator.pass_frames(31, 0)
    assert not authenticator.pass_frames(29, 0)  # over the quota
    assert not authenticator.pass_frames(0, 0, bulk=7)  # 24 must be left
    assert {k: v.tolist() for k, v in authenticator.to_arrays().items()} == before
    assert authenticator.pass_frames(20, 0, bulk=6)
    assert not authenticator.pass_frames(5, 0)
    assert authenticator.pass_frames(2, 0)
    with pytest.raises(DomainError, match="64"):
        authenticator.pass_frames(65, 0)
    with pytest.raises(DomainError, match="64"):
        authenticator.pass_frames(-1, 0)


@pytest.mark.parametrize("sender", ALL)
@pytest.mark.parametrize("receiver", ALL)
def test_no_profile_accepts_a_frame_of_another(sender: Profile, receiver: Profile) -> None:
    """Even if the caller gives one epoch hash for both; nor may a tag pass as a part of a longer one."""
    wire = send(make(sender), 1)[0]
    answer = make(receiver).verify(1, 0, wire)
    assert isinstance(answer, Accepted) == (sender == receiver)
    if sender != receiver:
        assert make(receiver).epoch != make(sender).epoch
        cut = [wire[:size] for size in range(len(wire) if len(wire) < 200 else 0)]
        named = make(receiver).epoch
        for data in [wire, *cut]:
            assert isinstance(make_cached(receiver).verify(1, 0, data), Rejected)
            renamed = data[:1] + named + data[33:]
            assert isinstance(make_cached(receiver).verify(1, 0, renamed), Rejected)


CACHED: dict[Profile, tuple[Authenticator, dict[str, Any]]] = {}


def make_cached(profile: Profile) -> Authenticator:
    """Return a network as if just made: keys of signatures take time to draw."""
    if profile not in CACHED:
        authenticator = make(profile)
        CACHED[profile] = authenticator, authenticator.to_arrays()
    authenticator, arrays = CACHED[profile]
    authenticator.load(arrays)
    return authenticator


class Pads(RuleBasedStateMachine):
    """Sends, losses, forgeries, deposits, rounds and checkpoints on three nodes: no pad serves two frames."""

    @initialize(profile=st.sampled_from(WITH_PADS), pads=st.integers(0, 12), reserve=st.integers(0, 1))
    def start(self, profile: Profile, pads: int, reserve: int) -> None:
        self.profile, self.pads, self.reserve = profile, pads, reserve
        self.used: dict[tuple[int, int], set[bytes]] = defaultdict(set)
        self.flying: list[tuple[int, int, bytes]] = []
        self.n_sent = 0
        self.authenticator = self.fresh()
        self.authenticator.begin_round(1)

    def fresh(self) -> Authenticator:
        bits = 256 + 2 * self.pads * PROFILES[self.profile].pad_bits
        pools = KeyPools(3, enrolled_key_bits=bits, seed=3)
        self.reads: list[tuple[int, int]] = []
        read = pools.bits_at

        def spy(pair: int, first_bit: int, n_bits: int) -> bytes:
            self.reads.append((pair, first_bit))
            return read(pair, first_bit, n_bits)

        pools.bits_at = spy  # type: ignore[method-assign]
        return Authenticator(pools, profile=self.profile, reserve_rounds=self.reserve, frame_quota=9, epoch=bytes(32))

    @rule(ends=st.sampled_from([(s, d) for s in range(3) for d in range(3) if s != d]), is_bulk=st.booleans())
    def send(self, ends: tuple[int, int], is_bulk: bool) -> None:
        self.reads.clear()
        wire = self.authenticator.authenticate(*ends, 1, b"body", frame_class="bulk" if is_bulk else "control")
        self.note(ends, wire)

    def note(self, ends: tuple[int, int], wire: bytes | None) -> None:
        if wire is None:
            return
        self.n_sent += 1
        for place in self.reads:
            assert wire not in self.used[place]
            self.used[place].add(wire)
        self.flying.append((*ends, wire))

    @rule(source=st.integers(0, 2))
    def broadcast(self, source: int) -> None:
        self.reads.clear()
        frames = self.authenticator.authenticate_broadcast(source, 2, b"all")
        assert len(self.reads) == len(frames)
        places = list(self.reads)
        for place, (to, wire) in zip(places, frames, strict=True):
            self.reads[:] = [place]
            self.note((source, to), wire)

    @rule(which=st.integers(0, 1000), fate=st.sampled_from(["arrive", "lose", "forge", "repeat"]))
    def deliver(self, which: int, fate: str) -> None:
        if not self.flying:
            return
        source, to, wire = self.flying.pop(which % len(self.flying))
        consumed = self.authenticator.pools.consumed_bits.copy()
        if fate == "forge":
            assert isinstance(self.authenticator.verify(to, source, wire[:-1] + bytes([wire[-1] ^ 1])), Rejected)
        elif fate != "lose":
            self.authenticator.verify(to, source, wire)
        if fate == "repeat":
            assert isinstance(self.authenticator.verify(to, source, wire), Rejected)
        assert np.array_equal(consumed, self.authenticator.pools.consumed_bits)

    @rule(a=st.integers(0, 2), bits=st.integers(0, 700))
    def deposit(self, a: int, bits: int) -> None:
        self.authenticator.pools.deposit([a], [(a + 1) % 3], [bits], [float(bits)])

    @rule()
    def next_round(self) -> None:
        self.authenticator.begin_round(self.authenticator.training_round + 1)

    @rule()
    def restart(self) -> None:
        arrays = {name: np.array(array) for name, array in self.authenticator.to_arrays().items()}
        self.authenticator = self.fresh()
        self.authenticator.load(arrays)

    @invariant()
    def every_pad_serves_one_frame_and_is_paid(self) -> None:
        if not hasattr(self, "authenticator"):
            return
        assert all(len(wires) == 1 for wires in self.used.values())
        assert len(self.used) == self.n_sent
        pools = self.authenticator.pools
        pad_bits = PROFILES[self.profile].pad_bits
        assert pools.consumed_bits.sum() == 3 * 256 + pad_bits * self.n_sent
        assert all(pools.available_bits(pair) >= 0 for pair in (1, 2, 5))
        assert all(first_bit >= 256 for _, first_bit in self.used)


TestPads = Pads.TestCase
TestPads.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
