"""What a node says about the quality of its update, and lies about it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError

__all__ = ["CLAIM_FACTOR", "Claims", "inflate_claims"]

FloatArray = NDArray[np.float64]

CLAIM_FACTOR = 1000.0
"""Default inflation, far beyond what any honest node can reach; certification has to cut it."""


class Claims(NamedTuple):
    """What nodes claim, one entry per node.

    Attributes:
        shots: Shots behind the update, shape (n,).
        contraction: Factor by which noise contracts its expectation values, shape (n,), in [0, 1].
        quantum_fisher: Mean quantum Fisher information per parameter and shot, shape (n,).
    """

    shots: FloatArray
    contraction: FloatArray
    quantum_fisher: FloatArray

    @property
    def information(self) -> FloatArray:
        """Information of the debiased update, shots * contraction^2 * quantum Fisher information, shape (n,)."""
        return self.shots * self.contraction**2 * self.quantum_fisher


def inflate_claims(claims: Claims, *, factor: float = CLAIM_FACTOR) -> Claims:
    """Multiply every claim by `factor`; a contraction stays at most 1, as a larger one is refused at sight.

    Raises:
        DomainError: The factor is not positive and finite.
    """
    if not 0 < factor < float("inf"):
        raise DomainError(f"Argument `factor` must be positive and finite, but is {factor}.")
    return Claims(
        shots=claims.shots * factor,
        contraction=np.minimum(1.0, claims.contraction * factor),
        quantum_fisher=claims.quantum_fisher * factor,
    )
