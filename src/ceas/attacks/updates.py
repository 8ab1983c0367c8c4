"""Attacks on updates: what colluding nodes send instead of their own.

Threat model of all of them: the attackers know every honest update of the round and agree among themselves; they know
neither the rule's weights nor the future. Give the honest updates in the space in which the rule under attack averages
(for a rule that divides by the contraction: debiased), and map the result back with the attackers' own contraction.
"""

from functools import partial
from statistics import NormalDist
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.attacks.claims import CLAIM_FACTOR, Claims, inflate_claims
from ceas.errors import DomainError

__all__ = [
    "UpdateAttack",
    "a_little_is_enough",
    "claims_sent",
    "inflated_claim",
    "inner_product_manipulation",
    "none",
    "sign_flip",
]

FloatArray = NDArray[np.float64]


class UpdateAttack(Protocol):
    """An attack on the updates of one training round; its own parameters are bound before."""

    def __call__(
        self,
        honest_updates: ArrayLike,
        n_byzantine: int,
        *,
        rng: np.random.Generator,
        own_updates: ArrayLike | None = None,
    ) -> FloatArray:
        """Return what the attackers send, shape (n_byzantine, P), given the honest updates (h, P)."""
        ...


def none(
    honest_updates: ArrayLike,
    n_byzantine: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001  (the signature of all attacks)
    own_updates: ArrayLike | None = None,
) -> FloatArray:
    """Send the attackers' own updates, as honest nodes would."""
    return _checked_own(own_updates, n_byzantine, _checked_honest(honest_updates, n_byzantine).shape[1]).copy()


def sign_flip(
    honest_updates: ArrayLike,
    n_byzantine: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001  (the signature of all attacks)
    own_updates: ArrayLike | None = None,
    factor: float = 1.0,
    of: Literal["mean", "own"] = "mean",
) -> FloatArray:
    """Send `-factor` times the honest mean, or each attacker's own update.

    Source:
        Allen-Zhu et al., ICLR 2021, arXiv 2012.14368; the mean as in ByzFL, arXiv 2505.24802.
    """
    honest = _checked_honest(honest_updates, n_byzantine)
    if of not in ("mean", "own"):
        raise DomainError(f"Argument `of` must be `mean` or `own`, but is {of!r}.")
    if of == "own":
        return -factor * _checked_own(own_updates, n_byzantine, honest.shape[1])
    return _all_send(-factor * honest.mean(axis=0), n_byzantine)


def inner_product_manipulation(
    honest_updates: ArrayLike,
    n_byzantine: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001  (the signature of all attacks)
    own_updates: ArrayLike | None = None,  # noqa: ARG001
    factor: float = 2.0,
) -> FloatArray:
    """Send `-factor` times the honest mean; a factor below 1 hides inside the cloud of honest updates.

    Source:
        Xie et al., UAI 2019, arXiv 1903.03936.
    """
    return _all_send(-factor * _checked_honest(honest_updates, n_byzantine).mean(axis=0), n_byzantine)


def a_little_is_enough(
    honest_updates: ArrayLike,
    n_byzantine: int,
    *,
    rng: np.random.Generator,  # noqa: ARG001  (the signature of all attacks)
    own_updates: ArrayLike | None = None,  # noqa: ARG001
    z: float | None = None,
) -> FloatArray:
    """Send the honest mean plus z honest standard deviations of each coordinate.

    Args:
        honest_updates: Shape (h, P).
        n_byzantine: Number f of attackers.
        rng: Not drawn from.
        own_updates: Not used.
        z: Deviation, any sign. Default: the largest that a majority of honest nodes still exceeds on average,
            `z_max = inverse normal((n - f - s) / (n - f))` with `s = floor(n/2 + 1) - f`.

    Raises:
        DomainError: z is not given and the attackers are no minority.

    Source:
        Baruch et al., NeurIPS 2019, arXiv 1902.06156. Standard deviation with h - 1 degrees of freedom.
    """
    honest = _checked_honest(honest_updates, n_byzantine)
    deviation = honest.std(axis=0, ddof=1) if len(honest) > 1 else np.zeros(honest.shape[1])
    # Without attackers, z_max has no meaning, nor has z.
    strength = z if z is not None else _largest_hidden_deviation(len(honest), n_byzantine) if n_byzantine else 0.0
    return _all_send(honest.mean(axis=0) + strength * deviation, n_byzantine)


def inflated_claim(
    honest_updates: ArrayLike,
    n_byzantine: int,
    *,
    rng: np.random.Generator,
    own_updates: ArrayLike | None = None,
    factor: float = 1.0,
    claim_factor: float = CLAIM_FACTOR,
) -> FloatArray:
    """Send inner product manipulation together with claims `claim_factor` times too high; see `claims_sent`.

    A rule that believes the claims takes the attackers' word for the whole direction, so that the inner product turns
    negative whatever the factor. A factor of 1 keeps the length of an honest update, which no gate on norms sees.

    Raises:
        DomainError: The claim factor is not positive and finite.
    """
    if not 0 < claim_factor < float("inf"):
        raise DomainError(f"Argument `claim_factor` must be positive and finite, but is {claim_factor}.")
    return inner_product_manipulation(honest_updates, n_byzantine, rng=rng, own_updates=own_updates, factor=factor)


def claims_sent(attack: UpdateAttack, own_claims: Claims) -> Claims:
    """Return the claims that go with an attack: inflated for `inflated_claim`, the true ones for all others.

    Args:
        attack: An attack of this module, or a `functools.partial` of it that binds its parameters.
        own_claims: The attackers' true claims, arrays of shape (n_byzantine,).
    """
    target: Any = attack
    bound: dict[str, Any] = {}
    if isinstance(attack, partial):
        target, bound = attack.func, attack.keywords
    if target is not inflated_claim:
        return own_claims
    return inflate_claims(own_claims, factor=bound.get("claim_factor", CLAIM_FACTOR))


def _all_send(update: FloatArray, n_byzantine: int) -> FloatArray:
    return np.tile(update, (n_byzantine, 1))


def _largest_hidden_deviation(n_honest: int, n_byzantine: int) -> float:
    n_nodes = n_honest + n_byzantine
    if 2 * n_byzantine >= n_nodes:
        raise DomainError(
            f"Argument `z` must be given unless 2f < n, but f={n_byzantine}, n={n_nodes}: no z_max exists there."
        )
    n_supporters = n_nodes // 2 + 1 - n_byzantine
    share = (n_honest - n_supporters) / n_honest
    return NormalDist().inv_cdf(share)


def _checked_honest(honest_updates: ArrayLike, n_byzantine: int) -> FloatArray:
    rows = np.asarray(honest_updates, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] == 0:
        raise DomainError(f"Argument `honest_updates` must have shape (h, P) with h >= 1, but has shape {rows.shape}.")
    if n_byzantine < 0:
        raise DomainError(f"Argument `n_byzantine` must be at least 0, but is {n_byzantine}.")
    return rows


def _checked_own(own_updates: ArrayLike | None, n_byzantine: int, n_parameters: int) -> FloatArray:
    if own_updates is None:
        raise DomainError("Argument `own_updates` must be given for this attack, but is None.")
    rows = np.asarray(own_updates, dtype=np.float64)
    if rows.shape != (n_byzantine, n_parameters):
        wanted = (n_byzantine, n_parameters)
        raise DomainError(f"Argument `own_updates` must have shape {wanted}, but has shape {rows.shape}.")
    return rows
