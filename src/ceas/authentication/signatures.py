"""ML-DSA-44 signatures (FIPS 204): evidence that convinces everyone, where a link's tag convinces its receiver only."""

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ceas.errors import DomainError
from ceas.streams import stream

__all__ = ["ML_DSA_SIGNATURE_BYTES", "MlDsaSigner", "ml_dsa_signers", "signing_keys"]

ML_DSA_SIGNATURE_BYTES: Final = 2420
_CONTEXT: Final = b"ceas/v1/"
_EPOCH_BYTES: Final = 32


class MlDsaSigner:
    """One node's signing key, and the public keys of all.

    Args:
        private_key: This node's key.
        public_keys: Every node's public key, by node.
        epoch: 32 bytes from `epoch_hash`; with the prefix `ceas/v1/` the context of every signature, so that none made
            in another epoch or for another purpose counts.

    Attributes:
        n_signed: Signatures made.
        n_verified: Signatures checked, good or bad.

    Raises:
        DomainError: `epoch` has another length.
    """

    def __init__(
        self, private_key: MLDSA44PrivateKey, public_keys: Sequence[MLDSA44PublicKey], *, epoch: bytes
    ) -> None:
        if len(epoch) != _EPOCH_BYTES:
            raise DomainError(f"Argument `epoch` must have {_EPOCH_BYTES} bytes, but has {len(epoch)}.")
        self.n_signed = 0
        self.n_verified = 0
        self._private_key = private_key
        self._public_keys = public_keys
        self._context = _CONTEXT + epoch

    def sign(self, message: bytes) -> bytes:
        """Return this node's signature, 2420 bytes; randomised, so not the same twice."""
        self.n_signed += 1
        return self._private_key.sign(message, self._context)

    def verify(self, node: int, message: bytes, signature: bytes) -> bool:
        """Tell whether this is a node's signature; total on any bytes and nodes."""
        if not 0 <= node < len(self._public_keys) or len(signature) != ML_DSA_SIGNATURE_BYTES:
            return False
        self.n_verified += 1
        try:
            self._public_keys[node].verify(signature, message, self._context)
        except InvalidSignature:
            return False
        return True


def signing_keys(seed: int, n_nodes: int) -> tuple[MLDSA44PrivateKey, ...]:
    """Return the nodes' keys, each from a named stream of the run's seed.

    They are those of a simulation, which has to repeat itself: whoever knows the seed knows them.
    """
    drawn = (stream(seed, "ml_dsa_keys", node=node).bytes(32) for node in range(n_nodes))
    return tuple(MLDSA44PrivateKey.from_seed_bytes(xi) for xi in drawn)


def ml_dsa_signers(n_nodes: int, *, seed: int, epoch: bytes) -> tuple[MlDsaSigner, ...]:
    """Make the signers of a roster from `signing_keys`.

    Args:
        n_nodes: Nodes of the roster.
        seed: Root seed of the run.
        epoch: 32 bytes from `epoch_hash`.
    """
    private_keys = signing_keys(seed, n_nodes)
    public_keys = tuple(key.public_key() for key in private_keys)
    return tuple(MlDsaSigner(key, public_keys, epoch=epoch) for key in private_keys)
