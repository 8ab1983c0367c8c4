"""Rules that look for the most compact n - f updates: exactly, or not at all."""

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, robust_rule
from ceas.aggregation.distances import squared_distances
from ceas.aggregation.median import median_of_coordinates
from ceas.aggregation.selection import average_of

__all__ = ["mda", "smea"]

FloatArray = NDArray[np.float64]

MAXIMUM_REMOVED = 30
"""Attackers up to which the search of `mda` is sure to end: below 1.466^30 = 96,000 steps per diameter tried."""

MAXIMUM_OPERATIONS = 200_000_000
"""Subsets times cubes of their size, the cost of their eigenvalues, that `smea` is willing to pay: about a second."""

BATCH_ENTRIES = 2**21
"""Entries of the matrices whose eigenvalues are found together; bounds the memory."""


def _mda_mistake(n_nodes: int, n_byzantine: int) -> str:
    if n_byzantine <= MAXIMUM_REMOVED:
        return ""
    return (
        f"Rule `mda` searches up to 1.466^f branches and refuses f > {MAXIMUM_REMOVED}, "
        f"but f={n_byzantine}, n={n_nodes}."
    )


@robust_rule(refusal=_mda_mistake)
def mda(admitted: Admitted) -> Estimate:
    """Average the n - f updates of the smallest diameter.

    Which rows must go to get below a diameter is a vertex cover of the pairs farther apart, so the search branches on f
    and not on the C(n, f) subsets. Refuses f > 30. The subset need not be unique even when no two distances are equal;
    it is then the first in lexicographic order of the rows, which a rotation or a change of sign may alter.

    Source:
        Rousseeuw 1985; El Mhamdi et al., 2020, arXiv 1905.03853 (minimum-diameter averaging).
    """
    squared, f = squared_distances(admitted.updates), admitted.n_byzantine
    diameters = np.unique(squared)
    low, high = 0, len(diameters) - 1
    while low < high:
        middle = (low + high) // 2
        if _can_cover(_farther_apart(squared, float(diameters[middle])), (1 << len(squared)) - 1, f):
            high = middle
        else:
            low = middle + 1
    return average_of(admitted.updates, _first_kept(_farther_apart(squared, float(diameters[low])), f))


def _smea_mistake(n_nodes: int, n_byzantine: int) -> str:
    n_subsets, n_kept = comb(n_nodes, n_byzantine), n_nodes - n_byzantine
    if n_byzantine == 0 or n_subsets * n_kept**3 <= MAXIMUM_OPERATIONS:
        return ""
    return (
        f"Rule `smea` goes through C(n, f) subsets and refuses C(n, f) (n - f)^3 > {MAXIMUM_OPERATIONS}, but "
        f"f={n_byzantine}, n={n_nodes} make {n_subsets} subsets of {n_kept}."
    )


@robust_rule(refusal=_smea_mistake)
def smea(admitted: Admitted) -> Estimate:
    """Average the n - f updates whose covariance has the smallest largest eigenvalue, to numerical precision.

    Goes through all C(n, f) subsets and refuses C(n, f) (n - f)^3 > 2 10^8 (n = 50: f <= 2; n = 20: f <= 7). Ties go to
    the first subset in lexicographic order of the rows.

    Source:
        Allouah et al., ICML 2023, arXiv 2302.04787 (smallest maximum eigenvalue averaging).
    """
    centred = admitted.updates - median_of_coordinates(admitted.updates)
    size = np.abs(centred).max()
    gram = (centred / size) @ (centred / size).T if size > 0 else np.zeros((len(centred), len(centred)))
    n_kept = len(centred) - admitted.n_byzantine
    best, best_eigenvalue = np.arange(n_kept), np.inf
    if admitted.n_byzantine == 0:
        return average_of(admitted.updates, best)
    subsets = np.array(list(combinations(range(len(centred)), n_kept)), dtype=np.intp)
    n_batch = max(1, BATCH_ENTRIES // n_kept**2)
    for start in range(0, len(subsets), n_batch):
        batch = subsets[start : start + n_batch]
        eigenvalues = _largest_eigenvalues(gram[batch[:, :, None], batch[:, None, :]])
        first = int(np.argmin(eigenvalues))
        if eigenvalues[first] < best_eigenvalue:
            best, best_eigenvalue = batch[first], float(eigenvalues[first])
    return average_of(admitted.updates, best)


def _largest_eigenvalues(grams: FloatArray) -> FloatArray:
    """Largest eigenvalue of the scatter of each set of rows, from the inner products within the set."""
    row = grams.mean(axis=2, keepdims=True)
    scatter = grams - row - row.transpose(0, 2, 1) + row.mean(axis=1, keepdims=True)
    largest: FloatArray = np.linalg.eigvalsh(scatter)[:, -1]
    return largest


def _farther_apart(squared: FloatArray, diameter: float) -> list[int]:
    """Rows farther than the diameter from each row, as bits of an integer: sets of rows are quickly combined so."""
    packed = np.packbits(squared > diameter, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _can_cover(neighbours: list[int], alive: int, budget: int) -> bool:
    """Tell whether removing at most `budget` of the rows that are alive leaves no two neighbours among them."""
    degrees = {row: (neighbours[row] & alive).bit_count() for row in _members(alive)}
    vertex = max(degrees, key=degrees.__getitem__, default=0)
    degree = degrees.get(vertex, 0)
    if degree == 0:
        return True
    if sum(degrees.values()) > 2 * budget * degree:
        return False
    alive &= ~sum(1 << row for row, count in degrees.items() if count == 0)
    # Removing the neighbour of a row that has no other is never worse; where there is none and no degree exceeds 2,
    # only cycles are left, in which all rows are alike. So it is only above degree 2 that the search branches.
    single = next((row for row, count in degrees.items() if count == 1), None)
    if single is not None:
        return _can_cover(neighbours, alive & ~neighbours[single] & ~(1 << single), budget - 1)
    if _can_cover(neighbours, alive & ~(1 << vertex), budget - 1):
        return True
    if degree == 2:
        return False
    around = neighbours[vertex] & alive
    return budget >= degree and _can_cover(neighbours, alive & ~around & ~(1 << vertex), budget - degree)


def _first_kept(neighbours: list[int], budget: int) -> NDArray[np.intp]:
    """Return the lexicographically first n - budget rows without two neighbours among them."""
    n_nodes = len(neighbours)
    open_rows = (1 << n_nodes) - 1
    kept: list[int] = []
    left = budget
    for row in range(n_nodes):
        if not open_rows >> row & 1:
            continue
        open_rows &= ~(1 << row)
        around = neighbours[row] & open_rows
        cost = around.bit_count()
        if cost <= left and _can_cover(neighbours, open_rows & ~around, left - cost):
            kept.append(row)
            open_rows, left = open_rows & ~around, left - cost
        else:
            left -= 1
    return np.array(kept[: n_nodes - budget], dtype=np.intp)


def _members(rows: int) -> list[int]:
    members = []
    while rows:
        members.append((rows & -rows).bit_length() - 1)
        rows &= rows - 1
    return members
