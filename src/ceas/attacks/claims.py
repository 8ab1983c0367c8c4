"""What a node says about the quality of its update, and lies about it."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError

__all__ = ["CLAIM_FACTOR", "Claims", "Lie", "falsify_claims", "inflate_claims"]

FloatArray = NDArray[np.float64]

CLAIM_FACTOR = 1000.0
"""Default inflation, far beyond what any honest node can reach; certification has to cut it."""

Lie = Literal["inflated", "negative", "not_a_number"]


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


def falsify_claims(claims: Claims, *, lie: Lie, factor: float = CLAIM_FACTOR) -> Claims:
    """Replace true claims by lies: inflated by `factor`, that much inflated and negative, or not numbers.

    Raises:
        DomainError: The lie is not known, or the factor is not positive and finite.
    """
    if lie not in get_args(Lie):
        raise DomainError(f"Argument `lie` must be one of {', '.join(get_args(Lie))}, but is {lie!r}.")
    inflated = inflate_claims(claims, factor=factor)
    if lie == "inflated":
        return inflated
    return Claims(*(-column if lie == "negative" else np.full_like(column, np.nan) for column in inflated))
