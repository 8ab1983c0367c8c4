"""ML-DSA-44 signers: what verifies, what does not, and keys that come back."""

import pytest

from ceas.authentication import ML_DSA_SIGNATURE_BYTES, ml_dsa_signers
from ceas.errors import DomainError

EPOCH = bytes(range(32))


def test_a_signature_counts_for_its_node_message_and_epoch_only() -> None:
    first, second, _ = ml_dsa_signers(3, seed=5, epoch=EPOCH)
    signature = first.sign(b"message")
    assert len(signature) == ML_DSA_SIGNATURE_BYTES
    assert second.verify(0, b"message", signature)
    assert not second.verify(1, b"message", signature)
    assert not second.verify(0, b"messagf", signature)
    assert not second.verify(0, b"message", bytes((signature[0] ^ 1,)) + signature[1:])
    [other, *_] = ml_dsa_signers(3, seed=5, epoch=bytes(32))
    assert not other.verify(0, b"message", signature)
    assert (first.n_signed, second.n_verified) == (1, 4)


@pytest.mark.parametrize("signature", [b"", bytes(ML_DSA_SIGNATURE_BYTES), bytes(ML_DSA_SIGNATURE_BYTES + 1)])
def test_any_bytes_and_nodes_are_answered(signature: bytes) -> None:
    [signer] = ml_dsa_signers(1, seed=0, epoch=EPOCH)
    assert not any(signer.verify(node, b"m", signature) for node in (-1, 0, 1))


def test_keys_depend_on_seed_and_node_and_on_nothing_else() -> None:
    few, many = ml_dsa_signers(2, seed=7, epoch=EPOCH), ml_dsa_signers(4, seed=7, epoch=EPOCH)
    assert many[3].verify(1, b"m", few[1].sign(b"m"))
    assert not ml_dsa_signers(2, seed=8, epoch=EPOCH)[0].verify(1, b"m", few[1].sign(b"m"))


def test_the_epoch_has_32_bytes() -> None:
    with pytest.raises(DomainError, match="must have 32 bytes, but has 3"):
        ml_dsa_signers(1, seed=0, epoch=b"abc")
