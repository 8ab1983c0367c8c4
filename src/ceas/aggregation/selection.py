"""Rules that select rows by their distances from others and average them. Ties go to the first in sorted order."""

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Condition, Estimate, robust_rule
from ceas.aggregation.distances import squared_distances
from ceas.aggregation.rules import mean_around_median

__all__ = ["average_of", "bulyan", "krum", "monna", "multi_krum"]

FloatArray = NDArray[np.float64]


@robust_rule()
def krum(admitted: Admitted) -> Estimate:
    """Take the update whose n - f - 1 nearest others are nearest, in mean squared distance.

    Source:
        Blanchard et al., NeurIPS 2017; with n - f - 1 neighbours as in ByzFL (Allouah et al., AISTATS 2023) instead of
        the paper's n - f - 2.
    """
    return _average_of_best(admitted, 1)


@robust_rule()
def multi_krum(admitted: Admitted) -> Estimate:
    """Average the n - f updates of the best score of `krum`.

    Source:
        Blanchard et al., NeurIPS 2017, Section 4; number of updates and neighbours as in ByzFL.
    """
    return _average_of_best(admitted, len(admitted.updates) - admitted.n_byzantine)


@robust_rule(condition=Condition(per_byzantine=4, surplus=3))
def bulyan(admitted: Admitted) -> Estimate:
    """Select n - 2f updates by Krum, one after the other, and average the n - 4f nearest to the median per coordinate.

    Needs n >= 4f + 3. Krum here has the paper's m - f - 2 neighbours, with m the updates not yet selected.

    Source:
        El Mhamdi et al., ICML 2018, arXiv 1802.07927, Section 4.
    """
    n_nodes, f = admitted.updates.shape[0], admitted.n_byzantine
    chosen = np.sort(_selected_by_krum(squared_distances(admitted.updates), f))
    value, shares = mean_around_median(admitted.updates[chosen], n_nodes - 4 * f)
    weights = np.zeros(n_nodes)
    weights[chosen] = shares
    return Estimate(value=value, weights=weights)


def _monna_mistake(_n_nodes: int, _n_byzantine: int, *, node: int = 0) -> str:
    return "" if node >= 0 else f"Argument `node` must be at least 0, but is {node}."


@robust_rule(refusal=_monna_mistake)
def monna(admitted: Admitted, *, node: int = 0) -> Estimate:
    """Average the n - f updates nearest to the one of `node`, which is trusted.

    Made for learners that each aggregate for themselves; `node` is then the learner itself. When nothing usable came
    from it, no update is trusted, and it makes no step.

    Args:
        admitted: See `Rule`.
        node: Identity of the trusted node, among `nodes`.

    Raises:
        DomainError: The identity is negative.

    Source:
        Farhadkhani et al., ICML 2023, arXiv 2210.01011 (nearest-neighbour averaging).
    """
    own = np.flatnonzero(admitted.nodes == node)
    if not len(own):
        return Estimate(value=np.zeros(admitted.updates.shape[1]), weights=np.zeros(len(admitted.updates)))
    distances = np.linalg.norm(admitted.updates - admitted.updates[own[0]], axis=1)
    n_kept = len(admitted.updates) - admitted.n_byzantine
    return average_of(admitted.updates, np.argsort(distances, kind="stable")[:n_kept])


def average_of(updates: FloatArray, chosen: NDArray[np.intp]) -> Estimate:
    """Average the chosen rows, in their order in `updates`."""
    weights = np.zeros(len(updates))
    weights[chosen] = 1.0
    return Estimate(value=updates[np.sort(chosen)].mean(axis=0), weights=weights)


def _average_of_best(admitted: Admitted, n_best: int) -> Estimate:
    n_neighbours = len(admitted.updates) - admitted.n_byzantine - 1
    # The first of each sorted row is a zero: the row itself, or one that coincides with it.
    nearest = np.sort(squared_distances(admitted.updates), axis=1)[:, 1 : 1 + n_neighbours]
    return average_of(admitted.updates, np.argsort(nearest.sum(axis=1), kind="stable")[:n_best])


def _selected_by_krum(squared: FloatArray, n_byzantine: int) -> NDArray[np.intp]:
    """Return the n - 2f rows that Krum selects one after the other, each time without those already selected.

    Each selection takes one row out of the game and one neighbour off every score. So a score loses either the selected
    row or its farthest neighbour, and never gains one; nothing has to be sorted again.
    """
    n_nodes, n_selected = len(squared), len(squared) - 2 * n_byzantine
    if n_byzantine == 0:
        return np.arange(n_nodes)
    # The diagonal puts each row first in its own order, so that its neighbours have the places 1, 2, ...
    order = np.argsort(squared - np.eye(n_nodes), axis=1, kind="stable")
    place_of, by_place = np.argsort(order, axis=1), np.take_along_axis(squared, order, axis=1)
    farthest = np.full(n_nodes, n_nodes - n_byzantine - 2)
    # Summed anew every time: two rows that are each other's only neighbour must tie exactly, not up to rounding.
    by_place[:, n_nodes - n_byzantine - 1 :] = 0.0
    is_left = np.ones(n_nodes, dtype=bool)
    chosen: list[int] = []
    while True:
        scores = by_place[:, : farthest.max() + 1].sum(axis=1)
        chosen.append(int(np.argmin(np.where(is_left, scores, np.inf))))
        is_left[chosen[-1]] = False
        if len(chosen) == n_selected:
            return np.array(chosen, dtype=np.intp)
        place = place_of[:, chosen[-1]]
        np.put_along_axis(by_place, np.minimum(place, farthest)[:, None], 0.0, axis=1)
        farthest = _farthest_left(order, is_left, farthest - (place > farthest))


def _farthest_left(order: NDArray[np.intp], is_left: NDArray[np.bool_], farthest: NDArray[np.intp]) -> NDArray[np.intp]:
    """Move every row's farthest neighbour inwards past the rows that were selected."""
    rows = np.flatnonzero(is_left)
    while len(rows):
        rows = rows[~is_left[order[rows, farthest[rows]]]]
        farthest[rows] -= 1
    return np.maximum(farthest, 0)
