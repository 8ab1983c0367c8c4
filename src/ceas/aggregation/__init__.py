"""Robust and information-weighted aggregation of the learners' updates. Arrays in, arrays out.

Every rule has the signature `rule(updates, *, n_byzantine, information=None, contraction=None) -> Aggregate`; here
`n_byzantine` is the declared number of attackers. `debiased(rule)` divides the contraction out before `rule`. What is
guaranteed of rules and of training with them: `resilience`, `convergence` and `constants`.
"""

from ceas.aggregation.admission import Aggregate, Rule, debiased
from ceas.aggregation.convergence import TrainingConstants, gradient_floor, momentum_bound, nonconvex_bound, pl_bound
from ceas.aggregation.information_weighted import ceas
from ceas.aggregation.resilience import kappa_bound, kappa_floor, measured_kappa
from ceas.aggregation.rules import (
    coordinate_median,
    geometric_median,
    mean,
    nearest_neighbor_mixing,
    nnm_coordinate_median,
    nnm_geometric_median,
    nnm_mean,
    nnm_trimmed_mean,
    trimmed_mean,
)

__all__ = [
    "Aggregate",
    "Rule",
    "TrainingConstants",
    "ceas",
    "coordinate_median",
    "debiased",
    "geometric_median",
    "gradient_floor",
    "kappa_bound",
    "kappa_floor",
    "mean",
    "measured_kappa",
    "momentum_bound",
    "nearest_neighbor_mixing",
    "nnm_coordinate_median",
    "nnm_geometric_median",
    "nnm_mean",
    "nnm_trimmed_mean",
    "nonconvex_bound",
    "pl_bound",
    "trimmed_mean",
]
