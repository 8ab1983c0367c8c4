"""The profile `ml_dsa`: one signature for all receivers, and what it binds."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ceas.authentication import EVERYBODY, HEADER_BYTES, Accepted, Authenticator, KeyPools, Rejected, RejectionReason
from ceas.authentication.codec import link_epoch
from ceas.authentication.signatures import signing_keys

VECTOR = json.loads((Path(__file__).parent / "data" / "ml_dsa_44.json").read_text("utf-8"))
SIGNATURE = 2420


def make(*, n_nodes: int = 4, seed: int = 5, epoch: bytes = bytes(32), remember: bool = False) -> Authenticator:
    authenticator = Authenticator(
        KeyPools(n_nodes, seed=seed), profile="ml_dsa", remember_signatures=remember, epoch=epoch
    )
    authenticator.begin_round(1)
    return authenticator


def test_known_answer_of_the_library() -> None:
    """Key generation and verification of FIPS 204; signing is randomised and has no known answer."""
    seed, public, message, context, signature = (
        bytes.fromhex(VECTOR[key]) for key in ("seed", "public_key", "message", "context", "signature")
    )
    assert MLDSA44PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() == public
    key = MLDSA44PublicKey.from_public_bytes(public)
    key.verify(signature, message, context)
    for wrong in ((signature, message + b"x", context), (signature, message, b""), (signature[::-1], message, context)):
        with pytest.raises(InvalidSignature):
            key.verify(*wrong)


def test_one_signature_serves_all_receivers_of_a_broadcast() -> None:
    authenticator = make()
    frames = authenticator.authenticate_broadcast(2, 5, b"all")
    assert [node for node, _ in frames] == [0, 1, 3]
    assert len({wire for _, wire in frames}) == 1
    wire = frames[0][1]
    assert len(wire) == HEADER_BYTES + 3 + SIGNATURE
    assert int.from_bytes(wire[35:37], "big") == EVERYBODY
    for node in (0, 1, 3):
        assert authenticator.verify(node, 2, wire) == Accepted(5, b"all")
        assert authenticator.verify(node, 2, wire) == Rejected(2, RejectionReason.REPLAYED_SEQUENCE)
        assert isinstance(authenticator.verify(node, (node + 1) % 4 if node != 1 else 0, wire), Rejected)
    assert isinstance(authenticator.verify(2, 2, wire), Rejected)  # not even at its sender


def test_a_signature_is_over_the_frame_under_context_and_epoch() -> None:
    authenticator = make()
    wire = authenticator.authenticate_broadcast(2, 5, b"all")[0][1]
    key = signing_keys(5, 4)[2].public_key()
    key.verify(wire[-SIGNATURE:], wire[:-SIGNATURE], b"ceas/v1/" + authenticator.epoch)
    for context in (b"ceas/v1/" + bytes(32), b"ceas/v2/" + authenticator.epoch, b""):
        with pytest.raises(InvalidSignature):
            key.verify(wire[-SIGNATURE:], wire[:-SIGNATURE], context)
    with pytest.raises(InvalidSignature):
        signing_keys(5, 4)[1].public_key().verify(
            wire[-SIGNATURE:], wire[:-SIGNATURE], b"ceas/v1/" + authenticator.epoch
        )


def test_the_roster_of_public_keys_is_part_of_the_epoch() -> None:
    keys = [key.public_key().public_bytes_raw() for key in signing_keys(5, 4)]
    assert make().epoch == link_epoch(bytes(32), "ml_dsa", keys)
    assert make(seed=6).epoch != make().epoch == make().epoch
    wire = make(seed=6).authenticate(0, 1, 1, b"")
    assert wire is not None
    assert make().verify(1, 0, wire) == Rejected(0, RejectionReason.WRONG_EPOCH)


def test_keys_are_each_nodes_own_and_repeat_with_the_seed() -> None:
    first, again, other = ([k.private_bytes_raw() for k in signing_keys(seed, 5)] for seed in (1, 1, 2))
    assert first == again
    assert len({*first, *other}) == 10


def test_a_single_frame_is_for_its_receiver_alone() -> None:
    authenticator = make()
    wire = authenticator.authenticate(0, 1, 2, b"you")
    assert wire is not None
    assert authenticator.verify(2, 0, wire) == Rejected(0, RejectionReason.WRONG_DESTINATION)
    readdressed = wire[:35] + (2).to_bytes(2, "big") + wire[37:]
    assert authenticator.verify(2, 0, readdressed) == Rejected(0, RejectionReason.BAD_TAG)
    to_all = wire[:35] + EVERYBODY.to_bytes(2, "big") + wire[37:]
    assert authenticator.verify(1, 0, to_all) == Rejected(0, RejectionReason.BAD_TAG)
    assert authenticator.verify(1, 0, wire) == Accepted(2, b"you")


def test_broadcasts_and_single_frames_have_numbers_of_their_own() -> None:
    """A hundred frames to one node burn nothing of the broadcasts that overtake them, and the other way round."""
    authenticator = make(n_nodes=3, remember=True)
    broadcast = authenticator.authenticate_broadcast(0, 1, b"first")[0][1]
    singles = [authenticator.authenticate(0, 1, 2, bytes([k])) for k in range(100)]
    later = authenticator.authenticate_broadcast(0, 1, b"second")[0][1]
    assert singles[99] is not None
    assert isinstance(authenticator.verify(1, 0, singles[99]), Accepted)
    assert authenticator.verify(1, 0, later) == Accepted(1, b"second")
    assert authenticator.verify(1, 0, broadcast) == Accepted(1, b"first")
    assert singles[0] is not None
    assert authenticator.verify(1, 0, singles[0]) == Rejected(0, RejectionReason.REPLAYED_SEQUENCE)


def test_no_key_bits_are_used() -> None:
    authenticator = make()
    authenticator.authenticate_broadcast(0, 1, b"")
    account = authenticator.account()
    assert account.consumed_key_bits == 0
    assert account.forgery_bound is account.forgery_bound_of_all is None
    assert account.security == "computational (ML-DSA-44)"


@pytest.mark.parametrize("remember", [False, True])
def test_good_signatures_are_remembered_if_asked_and_the_account_says_what_nodes_would_verify(remember: bool) -> None:
    authenticator = make(n_nodes=6, remember=remember)
    wire = authenticator.authenticate_broadcast(0, 1, b"x")[0][1]
    forged = wire[:-1] + bytes([wire[-1] ^ 1])
    for node in range(1, 6):
        assert isinstance(authenticator.verify(node, 0, forged), Rejected)
        assert isinstance(authenticator.verify(node, 0, wire), Accepted)
    account = authenticator.account()
    assert account.tag_checks == 10
    # Bad ones are verified by everybody.
    assert account.computed_tag_checks == (6 if remember else 10)
    authenticator.begin_round(2)
    assert authenticator.verify(1, 0, wire) == Rejected(0, RejectionReason.WRONG_TRAINING_ROUND)


def test_a_closed_link_gets_no_broadcast() -> None:
    authenticator = make()
    for _ in range(16):
        wire = authenticator.authenticate(0, 1, 1, b"")
        assert wire is not None
        authenticator.verify(1, 0, wire[:-1] + bytes([wire[-1] ^ 1]))
    assert authenticator.account().closed_links == ((1, 0),)
    assert [node for node, _ in authenticator.authenticate_broadcast(1, 1, b"")] == [2, 3]
    assert [node for node, _ in authenticator.authenticate_broadcast(0, 1, b"")] == [1, 2, 3]
