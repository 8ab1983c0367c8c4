"""Attacks by one formula: what colluding nodes send instead of their own updates, from this round alone.

Give the honest updates in the space in which the rule under attack averages (for a rule that divides by the
contraction: debiased), and map the result back with the attackers' own contraction.
"""

from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ceas.attacks.situation import Situation, update_attack
from ceas.errors import DomainError

__all__ = [
    "a_little_is_enough",
    "free_riding",
    "gaussian",
    "inner_product_manipulation",
    "largest_hidden_deviation",
    "malformed",
    "none",
    "sign_flip",
]

FloatArray = NDArray[np.float64]
MalformedValue = Literal["not_a_number", "infinity", "negative_infinity", "huge", "denormal"]

MALFORMED_VALUES: dict[str, float] = {
    "not_a_number": np.nan,
    "infinity": np.inf,
    "negative_infinity": -np.inf,
    "huge": 1e200,
    "denormal": 5e-324,
}


@update_attack
def none(situation: Situation) -> FloatArray:
    """Send the attackers' own updates, as honest nodes would."""
    return situation.own_updates()


@update_attack
def sign_flip(situation: Situation, *, factor: float = 1.0, of: Literal["mean", "own"] = "mean") -> FloatArray:
    """Send `-factor` times the honest mean, or each attacker's own update.

    Source:
        Allen-Zhu et al., ICLR 2021, arXiv 2012.14368; the mean as in ByzFL, arXiv 2505.24802.
    """
    if of not in ("mean", "own"):
        raise DomainError(f"Argument `of` must be `mean` or `own`, but is {of!r}.")
    return -factor * (situation.own_updates() if of == "own" else situation.mean)


@update_attack
def inner_product_manipulation(situation: Situation, *, factor: float = 2.0, jitter: float = 0.0) -> FloatArray:
    """Send `-factor` times the honest mean; a factor below 1 hides inside the cloud of honest updates.

    Args:
        situation: What the attackers know.
        factor: Multiple of the mean, any sign.
        jitter: How much each attacker adds of what its own update differs from the mean by, at least 0; 0 for copies.

    Raises:
        DomainError: The jitter is negative or not finite.

    Source:
        Xie et al., UAI 2019, arXiv 1903.03936.
    """
    return situation.jittered(-factor * situation.mean, jitter)


@update_attack
def a_little_is_enough(situation: Situation, *, z: float | None = None, jitter: float = 0.0) -> FloatArray:
    """Send the honest mean plus z honest standard deviations of each coordinate.

    Args:
        situation: What the attackers know.
        z: Deviation, any sign. Default: `largest_hidden_deviation`.
        jitter: How much each attacker adds of what its own update differs from the mean by, at least 0; 0 for copies.

    Raises:
        DomainError: z is not given and the attackers are no minority, or the jitter is negative or not finite.

    Source:
        Baruch et al., NeurIPS 2019, arXiv 1902.06156. Standard deviation with h - 1 degrees of freedom.
    """
    strength = largest_hidden_deviation(situation.n_honest, situation.n_byzantine) if z is None else z
    return situation.jittered(situation.mean + strength * situation.deviation, jitter)


@update_attack
def gaussian(situation: Situation, *, centre: float = 0.0, deviation: float = 1.0) -> FloatArray:
    """Send independent normal noise of mean `centre` and standard deviation `deviation` in every coordinate.

    Raises:
        DomainError: The deviation is negative or not finite.

    Source:
        Blanchard et al., NeurIPS 2017; standard normal as in ByzFL, arXiv 2505.24802, there one vector for all.
    """
    if not 0 <= deviation < np.inf:
        raise DomainError(f"Argument `deviation` must be at least 0 and finite, but is {deviation}.")
    return situation.rng.normal(centre, deviation, (situation.n_byzantine, situation.known.shape[1]))


@update_attack
def malformed(
    situation: Situation, *, value: MalformedValue = "not_a_number", where: Literal["all", "first"] = "all"
) -> FloatArray:
    """Send values on which careless code fails: NaN, infinities, 1e200, or the smallest denormal number.

    Args:
        situation: What the attackers know.
        value: `not_a_number`, `infinity`, `negative_infinity`, `huge` or `denormal`.
        where: In `all` coordinates, or in the `first` of an otherwise honest mean.

    Raises:
        DomainError: `value` or `where` is not known.

    Source:
        Infinity: ByzFL, arXiv 2505.24802.
    """
    if value not in get_args(MalformedValue):
        raise DomainError(f"Argument `value` must be one of {', '.join(MALFORMED_VALUES)}, but is {value!r}.")
    if where not in ("all", "first"):
        raise DomainError(f"Argument `where` must be `all` or `first`, but is {where!r}.")
    sent = situation.mean.copy()
    sent[: 1 if where == "first" else None] = MALFORMED_VALUES[value]
    return sent


@update_attack
def free_riding(situation: Situation, *, noise: float = 0.1) -> FloatArray:
    """Do no work: send the last agreed aggregate, hidden under noise that differs between the free riders.

    Args:
        situation: What the attackers know; before the first aggregate, they send zeros.
        noise: Standard deviation of the noise in units of the root mean square of the aggregate's coordinates.

    Raises:
        DomainError: The noise is negative or not finite.

    Source:
        Fraboni, Vidal and Lorenzi, AISTATS 2021, arXiv 2006.11901 (disguised free riding).
    """
    if not 0 <= noise < np.inf:
        raise DomainError(f"Argument `noise` must be at least 0 and finite, but is {noise}.")
    n_parameters = situation.known.shape[1]
    last = np.zeros(n_parameters) if situation.last_aggregate is None else situation.last_aggregate
    scale = noise * float(np.sqrt(np.mean(last**2)))
    return last + scale * situation.rng.standard_normal((situation.n_byzantine, n_parameters))


def largest_hidden_deviation(n_honest: int, n_byzantine: int) -> float:
    """Return the deviation that a majority of honest nodes together with the attackers still exceeds on average.

    `z_max = inverse normal((n - f - s) / (n - f))` with `s = floor(n/2 + 1) - f`.

    Raises:
        DomainError: The attackers are no minority.

    Source:
        Baruch et al., NeurIPS 2019, arXiv 1902.06156, algorithm 3.
    """
    n_nodes = n_honest + n_byzantine
    if 2 * n_byzantine >= n_nodes:
        raise DomainError(
            f"Argument `z` must be given unless 2f < n, but f={n_byzantine}, n={n_nodes}: no z_max exists there."
        )
    n_supporters = n_nodes // 2 + 1 - n_byzantine
    # With one honest node there is nobody to hide behind.
    share = (n_honest - n_supporters) / n_honest
    return NormalDist().inv_cdf(share) if 0 < share < 1 else 0.0
