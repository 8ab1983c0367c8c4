"""The key store behind the key server, and its sources, without a socket."""

import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.authentication.etsi014 import FileBits, GivenBits, KeyStore, Refused, StoreLimits, StreamBits
from ceas.authentication.etsi014.documents import DeliveredKey, KeyRequest
from ceas.authentication.etsi014.sources import BitSource
from ceas.errors import DomainError

SAES = ("alice", "bob", "carol", "dave")


def delivered(reply: tuple[DeliveredKey, ...] | Refused) -> tuple[DeliveredKey, ...]:
    assert not isinstance(reply, Refused), reply
    return reply


def refusal(reply: object) -> int:
    assert isinstance(reply, Refused), reply
    assert reply.message
    return reply.status


def store_of(bits: bytes, **limits: int) -> KeyStore:
    source = GivenBits()
    source.add("bob", "alice", bits)
    return KeyStore(SAES, source, limits=StoreLimits(**limits))


def test_given_bits_come_out_in_order_once_and_at_both_ends() -> None:
    bits = bytes(range(64))
    store = store_of(bits, key_size=128)
    first = delivered(store.new_keys("alice", "bob", KeyRequest(number=2)))
    second = delivered(store.new_keys("bob", "alice", KeyRequest(size=256)))
    assert b"".join(one.key for one in first + second) == bits
    assert {str(uuid.UUID(one.key_id)) for one in first + second} == {one.key_id for one in first + second}
    backwards = [first[1].key_id, first[0].key_id]
    assert delivered(store.collect("bob", "alice", backwards)) == (first[1], first[0])
    assert refusal(store.new_keys("alice", "bob", KeyRequest(size=64))) == 503
    assert refusal(store.collect("bob", "alice", backwards)) == 400
    assert store.n_waiting_keys == 1
    assert delivered(store.collect("alice", "bob", [second[0].key_id])) == second
    assert store.n_waiting_keys == 0


def test_only_a_slave_of_a_key_gets_it() -> None:
    store = store_of(bytes(64))
    [key] = delivered(store.new_keys("alice", "bob", KeyRequest()))
    for thief in ("alice", "carol"):
        master = "bob" if thief == "alice" else "alice"
        assert refusal(store.collect(thief, master, [key.key_id])) == 401
    assert refusal(store.collect("bob", "carol", [key.key_id])) == 400  # another master's
    assert refusal(store.collect("mallory", "alice", [key.key_id])) == 401
    assert delivered(store.collect("bob", "alice", [key.key_id])) == (key,)


def test_a_refused_collection_takes_nothing() -> None:
    store = store_of(bytes(64))
    [key] = delivered(store.new_keys("alice", "bob", KeyRequest()))
    unknown = str(uuid.UUID(int=5))
    reply = store.collect("bob", "alice", [key.key_id, unknown])
    assert reply == Refused(
        status=400,
        message="one or more keys specified are not found on KME",
        details=({"key_ID": unknown},),
    )
    assert refusal(store.collect("bob", "alice", [key.key_id, key.key_id])) == 400
    assert delivered(store.collect("bob", "alice", [key.key_id])) == (key,)


def test_additional_slaves_share_the_key_and_every_pair_pays() -> None:
    store = KeyStore(SAES, StreamBits(3, bytes_per_pair=64))
    request = KeyRequest(additional_slave_sae_ids=("carol",))
    keys = delivered(store.new_keys("alice", "bob", request))
    ids = [one.key_id for one in keys]
    assert delivered(store.collect("carol", "alice", ids)) == keys
    assert refusal(store.collect("carol", "alice", ids)) == 400
    assert refusal(store.collect("dave", "alice", ids)) == 401
    assert delivered(store.collect("bob", "alice", ids)) == keys
    left = {}
    for slave in SAES[1:]:
        status = store.status("alice", slave, kme_id="kme")
        assert not isinstance(status, Refused)
        left[slave] = status.stored_key_count
    assert left == {"bob": 1, "carol": 1, "dave": 2}
    # What carol's pool cannot pay, bob's does not pay either.
    delivered(store.new_keys("alice", "carol", KeyRequest()))
    assert refusal(store.new_keys("alice", "bob", request)) == 503
    delivered(store.new_keys("alice", "bob", KeyRequest()))


@pytest.mark.parametrize(
    ("slave", "request_", "status"),
    [
        ("bob", KeyRequest(size=100), 400),
        ("bob", KeyRequest(size=56), 400),
        ("bob", KeyRequest(size=8192), 400),
        ("bob", KeyRequest(number=0), 400),
        ("bob", KeyRequest(number=129), 400),
        ("alice", KeyRequest(), 400),
        ("nobody", KeyRequest(), 400),
        ("bob", KeyRequest(additional_slave_sae_ids=("bob",)), 400),
        ("bob", KeyRequest(additional_slave_sae_ids=("alice",)), 400),
        ("bob", KeyRequest(additional_slave_sae_ids=("carol", "carol")), 400),
        ("bob", KeyRequest(additional_slave_sae_ids=("",)), 400),
        ("bob", KeyRequest(mandatory_extensions=("colour",)), 400),
        ("bob", KeyRequest(number=128), 503),
    ],
)
def test_requests_that_cannot_be_met_leave_the_store_as_it_was(slave: str, request_: KeyRequest, status: int) -> None:
    store = store_of(bytes(64))
    before = store.status("alice", "bob", kme_id="kme")
    assert refusal(store.new_keys("alice", slave, request_)) == status
    assert store.status("alice", "bob", kme_id="kme") == before
    assert store.n_waiting_keys == 0


def test_keys_that_nobody_collects_do_not_fill_the_memory() -> None:
    store = KeyStore(SAES, StreamBits(0, bytes_per_pair=10**6), limits=StoreLimits(max_waiting_keys=3))
    keys = delivered(store.new_keys("alice", "bob", KeyRequest(number=3)))
    assert refusal(store.new_keys("alice", "carol", KeyRequest())) == 503
    # Others get theirs.
    delivered(store.new_keys("carol", "dave", KeyRequest()))
    delivered(store.collect("bob", "alice", [keys[1].key_id]))
    delivered(store.new_keys("alice", "carol", KeyRequest()))


def test_a_closed_store_gives_nothing() -> None:
    store = KeyStore(SAES, StreamBits(0, bytes_per_pair=10**6))
    keys = delivered(store.new_keys("alice", "bob", KeyRequest()))
    store.close()
    assert refusal(store.new_keys("alice", "bob", KeyRequest())) == 503
    assert refusal(store.collect("bob", "alice", [keys[0].key_id])) == 503
    assert isinstance(store.status("alice", "bob", kme_id="kme"), Refused)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(SAES), st.sampled_from(SAES), st.integers(0, 4), st.integers(60, 200))),
    st.integers(0, 200),
)
def test_no_bit_leaves_twice_and_all_bits_are_accounted_for(
    requests: list[tuple[str, str, int, int]], n_bytes: int
) -> None:
    source = StreamBits(1, bytes_per_pair=n_bytes)
    store = KeyStore(SAES, source)
    taken: dict[tuple[str, str], bytes] = {}
    for master, slave, number, size in requests:
        reply = store.new_keys(master, slave, KeyRequest(number=number, size=size))
        if isinstance(reply, tuple):
            pair = (min(master, slave), max(master, slave))
            taken[pair] = taken.get(pair, b"") + b"".join(one.key for one in reply)
            assert delivered(store.collect(slave, master, [one.key_id for one in reply])) == reply
    assert store.n_waiting_keys == 0
    for pair, bits in taken.items():
        assert len(bits) + source.available_bytes(pair) == n_bytes
        words = [bits[i : i + 8] for i in range(0, len(bits) - 7, 8)]
        assert len(set(words)) == len(words)  # 64-bit words of a stream repeat with probability below 1e-15


def test_streams_differ_between_pairs_and_seeds_and_repeat_otherwise() -> None:
    def bits(seed: int, slave: str) -> bytes:
        store = KeyStore(SAES, StreamBits(seed, bytes_per_pair=32))
        return delivered(store.new_keys("alice", slave, KeyRequest()))[0].key

    assert bits(1, "bob") == bits(1, "bob")
    assert len({bits(1, "bob"), bits(1, "carol"), bits(2, "bob")}) == 3


def test_threads_never_get_the_same_bits(tmp_path: Path) -> None:
    material = b"".join(i.to_bytes(8, "big") for i in range(400))
    path = tmp_path / "bits"
    path.write_bytes(material)
    store = KeyStore(SAES, FileBits(path))
    got: list[bytes] = []
    refused: list[int] = []

    def ask(master: str, slave: str) -> None:
        for _ in range(30):
            reply = store.new_keys(master, slave, KeyRequest(size=128))
            if isinstance(reply, Refused):
                refused.append(reply.status)
            else:
                got.extend(one.key for one in reply)

    threads = [threading.Thread(target=ask, args=(a, b)) for a in SAES for b in SAES if a != b]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [material[i : i + 16] for i in range(0, 3200, 16)]
    assert len(got) + len(refused) == 12 * 30
    assert set(refused) == {503}
    store.close()


def test_a_file_goes_on_after_a_restart_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "bits"
    path.write_bytes(bytes(range(48)))
    for first in (0, 16, 32):
        source = FileBits(path)
        assert source.available_bytes(("alice", "bob")) == 48 - first
        assert source.take([("alice", "bob")], 16) == bytes(range(first, first + 16))
        source.close()
    source = FileBits(path)
    assert source.take([("alice", "bob")], 1) is None
    source.close()


def test_a_file_is_noted_as_used_before_its_bits_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bits"
    path.write_bytes(bytes(range(48)))
    source = FileBits(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            source.take([("alice", "bob")], 16)
    # Whether the note reached the disk is not known: those bits never leave.
    assert source.take([("alice", "bob")], 16) == bytes(range(16, 32))
    source.close()


def test_two_servers_cannot_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bits"
    path.write_bytes(bytes(48))
    first: BitSource = FileBits(path)
    with pytest.raises(DomainError, match="in use by another key server"):
        FileBits(path)
    symbolic, hard = tmp_path / "symbolic", tmp_path / "hard"
    symbolic.symlink_to(path)
    hard.hardlink_to(path)
    for other in (symbolic, hard):
        with pytest.raises(DomainError, match="in use by another key server"):
            FileBits(other)
    given = first.take([("alice", "bob")], 16)
    first.close()
    # Under another name it goes on where it stopped.
    again = FileBits(symbolic)
    assert again.available_bytes(("alice", "bob")) == 32
    assert given is not None
    again.close()
    FileBits(path).close()


@pytest.mark.parametrize("note", ["49", "-1", "many", "1 2"])
def test_a_note_that_does_not_fit_its_file_is_refused(note: str, tmp_path: Path) -> None:
    path = tmp_path / "bits"
    path.write_bytes(bytes(48))
    (tmp_path / "bits.used").write_text(note)
    for _ in range(2):  # the lock is given back
        with pytest.raises(DomainError, match=r"must hold a number of bytes up to 48"):
            FileBits(path)


@pytest.mark.parametrize("saes", [[], ["alice"], ["alice", "alice"], ["alice", ""], ["alice", "a/b"], ["alice", "-x"]])
def test_impossible_rosters_are_refused(saes: list[str]) -> None:
    with pytest.raises(DomainError):
        KeyStore(saes, GivenBits())


@pytest.mark.parametrize(
    "limits",
    [
        {"key_size": 100},
        {"key_size": 0},
        {"key_size": 32},
        {"max_key_size": 128},
        {"max_key_per_request": 0},
        {"max_waiting_keys": 0},
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(DomainError):
        StoreLimits(**limits)


def test_bits_for_one_sae_alone_are_refused() -> None:
    with pytest.raises(DomainError, match="two different"):
        GivenBits().add("alice", "alice", b"x")
    with pytest.raises(DomainError, match="bytes_per_pair"):
        StreamBits(0, bytes_per_pair=-1)
