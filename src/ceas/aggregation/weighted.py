"""Robust rules in which nodes count by their information: the breakdown point is in weight, no longer in heads.

Weights are claims, so they are capped first: at the largest value at which the f heaviest nodes hold no more than
lambda* = (f/n + 1/2)/2 of the weight, halfway between equal weights and breakdown (truncation of Portnoy et al., arXiv
2004.04986). Any f attackers then hold at most the share lambda of those f, below 1/2, whatever is claimed. That lambda
takes the place of f/n in each rule, and with equal weights each is its unweighted namesake.

Sources: weighted robustness, weighted median, geometric median and omega-CTMA: Dahan and Levy, NeurIPS 2024, arXiv
2501.09621. Weighted trimming and weighted mixing: the same principle applied to the unweighted rules.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, robust_rule
from ceas.aggregation.distances import squared_distances
from ceas.aggregation.median import geometric_median_weights, median_of_coordinates

__all__ = [
    "ctma_coordinate_median",
    "ctma_geometric_median",
    "weighted_coordinate_median",
    "weighted_geometric_median",
    "weighted_nnm_geometric_median",
    "weighted_nnm_trimmed_mean",
    "weighted_trimmed_mean",
]

FloatArray = NDArray[np.float64]

LARGEST_RATIO = 1e9
"""Claims this far above or below the median one count as just so far: sums of weights then lose nobody to rounding."""

NEGLIGIBLE = 1e-12
"""Part of the weight below which a row counts as trimmed."""

TIE = 1e-9
"""Part of the weight within which half of it counts as exactly half."""


class Weighted(NamedTuple):
    """Rows (m, P), their weights (m,), which add up to 1, and the share lambda that attackers can hold of these."""

    rows: FloatArray
    weights: FloatArray
    byzantine_share: float


Estimator = Callable[[Weighted], tuple[FloatArray, FloatArray]]


@robust_rule(needs=("information",))
def weighted_coordinate_median(admitted: Admitted) -> Estimate:
    """Take the weighted median of every coordinate. Needs `information`.

    Where the weight splits into exact halves, the middle two values are averaged.
    """
    return _estimate(_median, admitted)


@robust_rule(needs=("information",))
def weighted_trimmed_mean(admitted: Admitted) -> Estimate:
    """Average, in every coordinate, what remains without the weight lambda at each end. Needs `information`.

    A value at the edge keeps the part of its weight that lies inside.
    """
    return _estimate(_trimmed_mean, admitted)


@robust_rule(needs=("information",))
def weighted_geometric_median(admitted: Admitted) -> Estimate:
    """Minimise the weighted sum of distances to the updates. Needs `information`."""
    return _estimate(_geometric_median, admitted)


@robust_rule(needs=("information",))
def weighted_nnm_trimmed_mean(admitted: Admitted) -> Estimate:
    """Take the weighted trimmed mean after weighted nearest-neighbour mixing. Needs `information`.

    Every update is first replaced by the weighted mean of its nearest ones, itself included, that hold the weight
    1 - lambda; the last of them counts in part.
    """
    return _after_mixing(_trimmed_mean, admitted)


@robust_rule(needs=("information",))
def weighted_nnm_geometric_median(admitted: Admitted) -> Estimate:
    """Take the weighted geometric median after weighted nearest-neighbour mixing. Needs `information`.

    Mixing as in `weighted_nnm_trimmed_mean`.
    """
    return _after_mixing(_geometric_median, admitted)


@robust_rule(needs=("information",))
def ctma_coordinate_median(admitted: Admitted) -> Estimate:
    """Average the weight 1 - lambda nearest to the weighted coordinate median (omega-CTMA). Needs `information`."""
    return _around(_median, admitted)


@robust_rule(needs=("information",))
def ctma_geometric_median(admitted: Admitted) -> Estimate:
    """Average the weight 1 - lambda nearest to the weighted geometric median (omega-CTMA). Needs `information`."""
    return _around(_geometric_median, admitted)


def capped_weights(information: FloatArray, n_byzantine: int) -> tuple[FloatArray, float]:
    """Return weights that add up to 1, proportional to the information up to a cap, and the share of the f heaviest."""
    logarithms = np.log(information)
    limit = np.log(LARGEST_RATIO)
    claimed = np.exp(np.clip(logarithms - np.median(logarithms), -limit, limit))
    if n_byzantine == 0:
        return claimed / claimed.sum(), 0.0
    weights = np.minimum(claimed, _largest_cap(np.sort(claimed)[::-1], n_byzantine))
    weights = weights / weights.sum()
    return weights, float(np.sort(weights)[::-1][:n_byzantine].sum())


def _largest_cap(descending: FloatArray, n_byzantine: int) -> float:
    """Largest cap at which the f heaviest hold at most lambda* of the weight; infinite when they do without one."""
    n_nodes, f = len(descending), n_byzantine
    allowed = (f / n_nodes + 0.5) / 2
    # With j weights capped at U: the f heaviest hold max(j, f) of them and what of the first f is below U.
    n_capped = np.arange(n_nodes)
    beyond = np.cumsum(descending[::-1])[::-1]
    heavy = np.concatenate([np.cumsum(descending[:f][::-1])[::-1], np.zeros(n_nodes - f)])
    # Share at the cap U = descending[j], at which j + 1 weights are U and the others are as claimed.
    top = np.minimum(n_capped, f) * descending + heavy
    fits = top <= allowed * (n_capped * descending + beyond)
    if fits[0]:
        return np.inf
    # Between two claims the share is a ratio of linear functions of the cap. The last fits always: all equal, f/n.
    first = int(np.argmax(fits)) or n_nodes - 1
    slope = min(first, f) - allowed * first
    if slope <= 0.0:
        # The share is the allowed one at any cap from here to the claim before, which rounding alone refused.
        return float(descending[first - 1])
    return float((allowed * beyond[first] - heavy[first]) / slope)


def _estimate(estimator: Estimator, admitted: Admitted) -> Estimate:
    value, shares = estimator(_weighted(admitted))
    return Estimate(value=value, weights=shares)


def _weighted(admitted: Admitted) -> Weighted:
    return Weighted(admitted.updates, *capped_weights(admitted.claims["information"], admitted.n_byzantine))


def _median(given: Weighted) -> tuple[FloatArray, FloatArray]:
    order, cumulative = _sorted_weight(given)
    lower = np.argmax(cumulative >= (1 - TIE) / 2, axis=0)
    upper = np.argmax(cumulative > (1 + TIE) / 2, axis=0)
    middle = np.take_along_axis(order, np.stack([lower, upper]), axis=0)
    shares = np.bincount(middle.ravel(), minlength=len(order)) / middle.size
    return np.take_along_axis(given.rows, middle, axis=0).mean(axis=0), shares


def _trimmed_mean(given: Weighted) -> tuple[FloatArray, FloatArray]:
    order, cumulative = _sorted_weight(given)
    before = np.concatenate([np.zeros_like(cumulative[:1]), cumulative[:-1]])
    low, high = given.byzantine_share, 1 - given.byzantine_share
    inside = _without_rounding(np.minimum(cumulative, high) - np.maximum(before, low))
    inside = inside / inside.sum(axis=0)
    value = (np.take_along_axis(given.rows, order, axis=0) * inside).sum(axis=0)
    shares = np.bincount(order.ravel(), inside.ravel(), minlength=len(order)) / order.shape[1]
    return value, shares


def _geometric_median(given: Weighted) -> tuple[FloatArray, FloatArray]:
    shares = geometric_median_weights(given.rows, start=median_of_coordinates(given.rows), weights=given.weights)
    return shares @ given.rows, shares


def _sorted_weight(given: Weighted) -> tuple[NDArray[np.intp], FloatArray]:
    """Order of each coordinate's values, shape (m, P), and the weight up to and including each."""
    order = np.argsort(given.rows, axis=0, kind="stable")
    return order, np.cumsum(given.weights[order], axis=0)


def _after_mixing(estimator: Estimator, admitted: Admitted) -> Estimate:
    given = _weighted(admitted)
    order = np.argsort(squared_distances(given.rows), axis=1, kind="stable")
    mixing = np.zeros_like(order, dtype=np.float64)
    np.put_along_axis(mixing, order, _nearest_share(given.weights[order], given.byzantine_share), axis=1)
    value, shares = estimator(given._replace(rows=mixing @ given.rows))
    return Estimate(value=value, weights=shares @ mixing)


def _around(anchor: Estimator, admitted: Admitted) -> Estimate:
    given = _weighted(admitted)
    centre = anchor(given)[0]
    order = np.argsort(np.linalg.norm(given.rows - centre, axis=1), kind="stable")
    shares = np.zeros(len(order))
    shares[order] = _nearest_share(given.weights[order], given.byzantine_share)
    return Estimate(value=shares @ given.rows, weights=shares)


def _nearest_share(weights: FloatArray, byzantine_share: float) -> FloatArray:
    """Share of the first weights along the last axis that hold all but the byzantine share; the last counts in part."""
    cumulative = np.cumsum(weights, axis=-1)
    inside = _without_rounding(np.minimum(weights, 1 - byzantine_share - (cumulative - weights)))
    shares: FloatArray = inside / inside.sum(axis=-1, keepdims=True)
    return shares


def _without_rounding(weights: FloatArray) -> FloatArray:
    """Set to 0 what is negative, and what rounding leaves of a weight that should be 0: its row may be huge."""
    return np.where(weights > NEGLIGIBLE, weights, 0.0)
