"""The unweighted rules that work on each coordinate or on the centre of the updates.

Any rule with a bounded error is within `kappa/|S| sum_S |x_i - mean_S|^2` of the mean of every n - f rows S, with
kappa >= f/(n - 2f) (Allouah et al., AISTATS 2023, arXiv 2302.01772).
"""

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, robust_rule
from ceas.aggregation.median import geometric_median_weights, median_of_coordinates
from ceas.errors import DomainError

__all__ = [
    "centered_clipping",
    "coordinate_median",
    "fltrust",
    "geometric_median",
    "meamed",
    "mean",
    "mean_around_median",
    "trimmed_mean",
]

FloatArray = NDArray[np.float64]


@robust_rule()
def mean(admitted: Admitted) -> Estimate:
    """Average the updates; a single attacker moves it anywhere."""
    return Estimate(value=admitted.updates.mean(axis=0), weights=np.ones(len(admitted.updates)))


@robust_rule()
def coordinate_median(admitted: Admitted) -> Estimate:
    """Take the median of every coordinate (the middle two averaged when n is even).

    Source:
        Yin et al., ICML 2018, arXiv 1803.01498, Definition 1.
    """
    return _trimmed(admitted.updates, (len(admitted.updates) - 1) // 2)


@robust_rule()
def trimmed_mean(admitted: Admitted) -> Estimate:
    """Average, in every coordinate, what remains without the f smallest and the f largest values.

    Source:
        Yin et al., ICML 2018, arXiv 1803.01498, Definition 2, with f values trimmed on each side.
    """
    return _trimmed(admitted.updates, admitted.n_byzantine)


@robust_rule()
def meamed(admitted: Admitted) -> Estimate:
    """Average, in every coordinate, the n - f values nearest to the median.

    Source:
        Xie et al., 2018, arXiv 1802.10116 (mean around median).
    """
    value, weights = mean_around_median(admitted.updates, len(admitted.updates) - admitted.n_byzantine)
    return Estimate(value=value, weights=weights)


@robust_rule()
def geometric_median(admitted: Admitted) -> Estimate:
    """Minimise the sum of distances to the updates, to a relative step below 1e-10 (not a fixed number of steps).

    Source:
        Pillutla et al., IEEE TSP 2022, arXiv 1912.13445; iteration of Vardi and Zhang, PNAS 2000.
    """
    weights = geometric_median_weights(admitted.updates, start=median_of_coordinates(admitted.updates))
    return Estimate(value=weights @ admitted.updates, weights=weights)


def _clipping_mistake(_n_nodes: int, _n_byzantine: int, *, radius: float = 100.0, n_steps: int = 1) -> str:
    if radius > 0 and n_steps >= 1:
        return ""
    return f"Arguments `radius` and `n_steps` must be positive, but are {radius} and {n_steps}."


@robust_rule(refusal=_clipping_mistake)
def centered_clipping(admitted: Admitted, *, radius: float = 100.0, n_steps: int = 1) -> Estimate:
    """Step from the last aggregate by the mean of the differences to it, each clipped to length `radius`.

    It starts at the value that it returned in the last training round (`memory`), at the origin in the first. So it is
    neither translation- nor scale-equivariant: `radius` is in units of the updates. Meant for momentum updates, without
    which no rule withstands drift in one direction over many rounds.

    Args:
        admitted: See `Rule`.
        radius: Clipping radius, above 0.
        n_steps: Steps per training round, at least 1.

    Raises:
        DomainError: A parameter is outside its range, or the memory has another shape.

    Source:
        Karimireddy et al., ICML 2021, arXiv 2012.10333, Algorithm 2.
    """
    centre = _last_centre(admitted)
    factors = np.ones(len(admitted.updates))
    for _ in range(n_steps):
        residuals = admitted.updates - centre
        factors = radius / np.maximum(np.linalg.norm(residuals, axis=1), radius)
        centre = centre + factors @ residuals / len(residuals)
    return Estimate(value=centre, weights=factors, memory={"centre": centre})


@robust_rule(needs=("root",))
def fltrust(admitted: Admitted) -> Estimate:
    """Average the updates, each scaled to the length of a trusted one and weighted by its cosine to that, if positive.

    Needs `root`, which the aggregator makes with clean data of its own. Withstands any number of attackers, but is no
    better than that data, and not translation-equivariant. When no update points the way of the root it makes no step.

    Source:
        Cao et al., NDSS 2021, arXiv 2012.13995, eqs. (3) to (5).
    """
    root = admitted.root if admitted.root is not None else np.zeros(admitted.updates.shape[1])
    # Scaled first, so that neither the product of two small lengths nor that of two large ones leaves the floats.
    directions, towards = _directions(admitted.updates), _directions(root[None])[0]
    trust = np.maximum(directions @ towards, 0.0)
    if trust.sum() <= 0:
        return Estimate(value=np.zeros(len(root)), weights=np.zeros(len(trust)))
    shares = trust / trust.sum()
    return Estimate(value=np.linalg.norm(root) * (shares @ directions), weights=shares)


def mean_around_median(updates: FloatArray, n_kept: int) -> tuple[FloatArray, FloatArray]:
    """Average the `n_kept` values nearest to the median in every coordinate; return it and the mean share of each row.

    Ties go to the earlier row.
    """
    gaps = np.abs(updates - median_of_coordinates(updates))
    kept = np.argsort(gaps, axis=0, kind="stable")[:n_kept]
    return _mean_of_kept(updates, kept)


def _trimmed(updates: FloatArray, n_trimmed: int) -> Estimate:
    kept = np.argsort(updates, axis=0, kind="stable")[n_trimmed : len(updates) - n_trimmed]
    value, weights = _mean_of_kept(updates, kept)
    return Estimate(value=value, weights=weights)


def _mean_of_kept(updates: FloatArray, kept: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    weights = np.bincount(kept.ravel(), minlength=len(updates)) / kept.size
    return np.take_along_axis(updates, kept, axis=0).mean(axis=0), weights


def _last_centre(admitted: Admitted) -> FloatArray:
    n_parameters = admitted.updates.shape[1]
    centre = np.asarray(admitted.memory.get("centre", np.zeros(n_parameters)), dtype=np.float64)
    if centre.shape != (n_parameters,) or not np.all(np.isfinite(centre)):
        raise DomainError(f"Argument `memory` must hold a finite `centre` of shape ({n_parameters},), but does not.")
    return centre


def _directions(rows: FloatArray) -> FloatArray:
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    directions: FloatArray = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1.0)
    return directions
