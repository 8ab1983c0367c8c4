"""The unweighted rules and the pre-aggregation that combines with each of them.

Any rule with a bounded error is within `kappa/|S| sum_S |x_i - mean_S|^2` of the mean of every n - f rows S, with
kappa >= f/(n - 2f) (Allouah et al., AISTATS 2023, arXiv 2302.01772).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.aggregation.admission import Admitted, Core, robust_rule
from ceas.aggregation.median import geometric_median_weights, median_of_coordinates
from ceas.errors import DomainError

__all__ = [
    "coordinate_median",
    "geometric_median",
    "mean",
    "nearest_neighbor_mixing",
    "nnm_coordinate_median",
    "nnm_geometric_median",
    "nnm_mean",
    "nnm_trimmed_mean",
    "trimmed_mean",
]

FloatArray = NDArray[np.float64]


@robust_rule
def mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Average the updates; a single attacker moves it anywhere."""
    return _mean(admitted)


@robust_rule
def coordinate_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Take the median of every coordinate (the middle two averaged when n is even).

    Source:
        Yin et al., ICML 2018, arXiv 1803.01498, Definition 1.
    """
    return _coordinate_median(admitted)


@robust_rule
def trimmed_mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Average, in every coordinate, what remains without the f smallest and the f largest values.

    Source:
        Yin et al., ICML 2018, arXiv 1803.01498, Definition 2, with f values trimmed on each side.
    """
    return _trimmed_mean(admitted)


@robust_rule
def geometric_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Minimise the sum of distances to the updates, to a relative step below 1e-10 (not a fixed number of steps).

    Source:
        Pillutla et al., IEEE TSP 2022, arXiv 1912.13445; iteration of Vardi and Zhang, PNAS 2000.
    """
    return _geometric_median(admitted)


@robust_rule
def nnm_mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Average after nearest-neighbour mixing; see `nearest_neighbor_mixing`."""
    return _after_mixing(admitted, _mean)


@robust_rule
def nnm_coordinate_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Take the median of every coordinate after nearest-neighbour mixing; see `nearest_neighbor_mixing`."""
    return _after_mixing(admitted, _coordinate_median)


@robust_rule
def nnm_trimmed_mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Take the trimmed mean after nearest-neighbour mixing; see `nearest_neighbor_mixing`."""
    return _after_mixing(admitted, _trimmed_mean)


@robust_rule
def nnm_geometric_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    """Take the geometric median after nearest-neighbour mixing; see `nearest_neighbor_mixing`."""
    return _after_mixing(admitted, _geometric_median)


def nearest_neighbor_mixing(updates: ArrayLike, *, n_byzantine: int) -> FloatArray:
    """Replace every update by the mean of its n - f nearest ones, itself included; ties go to the earlier row.

    Args:
        updates: Finite, shape (n, P).
        n_byzantine: Declared number f of attackers, 0 <= 2f < n.

    Returns:
        Mixed updates, shape (n, P).

    Raises:
        DomainError: An entry is not finite, the shape is wrong or 2f >= n.

    Source:
        Allouah et al., AISTATS 2023, arXiv 2302.01772.
    """
    rows = np.asarray(updates, dtype=np.float64)
    if rows.ndim != 2 or not np.all(np.isfinite(rows)):
        raise DomainError(f"Argument `updates` must be finite with shape (n, P), but has shape {rows.shape}.")
    if not 0 <= 2 * n_byzantine < len(rows):
        raise DomainError(f"Cannot tolerate 2f >= n: f={n_byzantine}, n={len(rows)}.")
    return _mixing_matrix(rows, n_byzantine) @ rows


def _mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    return admitted.updates.mean(axis=0), np.full(len(admitted.updates), 1 / len(admitted.updates))


def _coordinate_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    return _trimmed(admitted.updates, (len(admitted.updates) - 1) // 2)


def _trimmed_mean(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    return _trimmed(admitted.updates, admitted.n_byzantine)


def _trimmed(updates: FloatArray, n_trimmed: int) -> tuple[FloatArray, FloatArray]:
    kept = np.argsort(updates, axis=0, kind="stable")[n_trimmed : len(updates) - n_trimmed]
    weights = np.bincount(kept.ravel(), minlength=len(updates)) / kept.size
    return np.take_along_axis(updates, kept, axis=0).mean(axis=0), weights


def _geometric_median(admitted: Admitted) -> tuple[FloatArray, FloatArray]:
    weights = geometric_median_weights(admitted.updates, start=median_of_coordinates(admitted.updates))
    return weights @ admitted.updates, weights


def _after_mixing(admitted: Admitted, core: Core) -> tuple[FloatArray, FloatArray]:
    mixing = _mixing_matrix(admitted.updates, admitted.n_byzantine)
    mixed = Admitted(
        updates=mixing @ admitted.updates, information=admitted.information, n_byzantine=admitted.n_byzantine
    )
    value, weights = core(mixed)
    return value, weights @ mixing


def _mixing_matrix(updates: FloatArray, n_byzantine: int) -> FloatArray:
    # SciPy's distances are differences, not inner products: no cancellation beside a huge row.
    from scipy.spatial.distance import cdist  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    n_kept = len(updates) - n_byzantine
    nearest = np.argsort(cdist(updates, updates), axis=1, kind="stable")[:, :n_kept]
    mixing = np.zeros((len(updates), len(updates)))
    np.put_along_axis(mixing, nearest, 1 / n_kept, axis=1)
    return mixing
