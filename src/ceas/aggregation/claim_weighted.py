"""Rivals that weigh each update by what its sender claims, and believe it.

They are what the literature on federated learning with unequal devices does, and no defence: whoever claims enough owns
the value. Only claims that are not positive and finite are left out, as they have no meaning as a weight.
"""

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, robust_rule

__all__ = [
    "fidelity_weighted_mean",
    "information_weighted_mean",
    "q_rail_style",
    "qfi_weighted_mean",
    "sample_weighted_mean",
    "wpqfl_style",
]

FloatArray = NDArray[np.float64]


@robust_rule(needs=("samples",))
def sample_weighted_mean(admitted: Admitted) -> Estimate:
    """Average the updates by claimed number of samples (FedAvg). Needs `samples`.

    Source:
        McMahan et al., AISTATS 2017, arXiv 1602.05629, Algorithm 1.
    """
    return _weighted_mean(admitted, _product(admitted, "samples"))


def _fidelity_mistake(_n_nodes: int, _n_byzantine: int, *, n_qubits: int = 4) -> str:
    return "" if n_qubits >= 1 else f"Argument `n_qubits` must be at least 1, but is {n_qubits}."


@robust_rule(needs=("contraction",), refusal=_fidelity_mistake)
def fidelity_weighted_mean(admitted: Admitted, *, n_qubits: int = 4) -> Estimate:
    """Average the raw updates by the fidelity of the states behind them. Needs `contraction`.

    The fidelity is that of a pure state under global depolarising noise of the claimed contraction lambda, `lambda +
    (1 - lambda)/2^n_qubits`. Updates are not divided by lambda.

    Args:
        admitted: See `Rule`.
        n_qubits: Qubits of each circuit, at least 1.

    Raises:
        DomainError: There is no qubit.
    """
    survival = admitted.claims["contraction"]
    return _weighted_mean(admitted, survival + np.maximum(1 - survival, 0.0) * 0.5**n_qubits)


@robust_rule(needs=("shots", "quantum_fisher"))
def qfi_weighted_mean(admitted: Admitted) -> Estimate:
    """Average the updates by shots times quantum Fisher information. Needs `shots` and `quantum_fisher`.

    That is the Cramer-Rao precision of the circuit's *parameters*, not of the gradient: it is the optimal weight of a
    gradient only for one qubit with equal shots and states near the equator.
    """
    return _weighted_mean(admitted, _product(admitted, "shots", "quantum_fisher"))


@robust_rule(needs=("information",))
def information_weighted_mean(admitted: Admitted) -> Estimate:
    """Average the updates by the information claimed: the best linear unbiased estimate when it is true and data alike.

    Needs `information`. Certified information makes it honest, not robust.

    Source:
        Aitken, Proc. R. Soc. Edinburgh 55, 42 (1935).
    """
    return _weighted_mean(admitted, _product(admitted, "information"))


def _q_rail_mistake(
    _n_nodes: int, _n_byzantine: int, *, temperature: float = 0.1, uniform_share: float = 0.1, floor: float = 0.1
) -> str:
    if temperature > 0 and 0 <= uniform_share <= 1 and 0 <= floor <= 1:
        return ""
    return (
        "Argument `temperature` must be above 0, `uniform_share` and `floor` in [0, 1], but are "
        f"{temperature}, {uniform_share} and {floor}."
    )


@robust_rule(needs=("contraction",), refusal=_q_rail_mistake)
def q_rail_style(
    admitted: Admitted, *, temperature: float = 0.1, uniform_share: float = 0.1, floor: float = 0.1
) -> Estimate:
    """Average the raw updates by a softmax of device quality, mixed with uniform weights. Needs `contraction`.

    Known of Q-RAIL (arXiv 2605.25783, abstract only): weights from calibration, with a temperature, uniform mixing and
    a floor. Assumed here, as no formula or code was at hand: quality is the claimed contraction; weights are
    `(1 - uniform_share) softmax(quality / temperature) + uniform_share / n`, then at least `floor / n` and normalised;
    the three defaults.

    Args:
        admitted: See `Rule`.
        temperature: In units of the contraction, above 0.
        uniform_share: Part of the weight that is uniform, in [0, 1].
        floor: Smallest weight as a part of the uniform one, in [0, 1].

    Raises:
        DomainError: A parameter is outside its range.
    """
    quality, n_nodes = admitted.claims["contraction"], len(admitted.updates)
    # Beyond 700 temperatures below the best, a softmax is 0.
    logits = np.maximum(quality - quality.max(), -700 * temperature) / temperature
    softmax = np.exp(logits) / np.exp(logits).sum()
    weights = (1 - uniform_share) * softmax + uniform_share / n_nodes
    return _weighted_mean(admitted, np.maximum(weights, floor / n_nodes))


@robust_rule(needs=("samples", "contraction"))
def wpqfl_style(admitted: Admitted) -> Estimate:
    """Average the raw updates by samples times device quality. Needs `samples` and `contraction`.

    Known of wpQFL (IEEE TAI 2025; from a survey, no formula): each participant's weight is its own, by its data and its
    device. Assumed here: that weight is the product of the claimed number of samples and the claimed contraction. The
    personal models that wpQFL keeps beside the common one are not modelled.
    """
    return _weighted_mean(admitted, _product(admitted, "samples", "contraction"))


def _product(admitted: Admitted, *names: str) -> FloatArray:
    """Product of claims, in units of the largest; by logarithms, so that no claim overflows."""
    logarithms = np.sum([np.log(admitted.claims[name]) for name in names], axis=0)
    product: FloatArray = np.exp(np.maximum(logarithms - logarithms.max(), -700.0))
    return product


def _weighted_mean(admitted: Admitted, weights: FloatArray) -> Estimate:
    shares = weights / weights.max()
    shares = shares / shares.sum()
    return Estimate(value=shares @ admitted.updates, weights=shares)
