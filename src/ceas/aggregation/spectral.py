"""Rules that find colluders along the direction in which the updates vary most. The eigenvector is exact."""

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, draws_of, robust_rule
from ceas.aggregation.selection import average_of

__all__ = ["caf", "dnc"]

FloatArray = NDArray[np.float64]

TINY = 1e-300

NEGLIGIBLE = 1e-9
"""Mass below which a row counts as filtered out."""


@robust_rule()
def caf(admitted: Admitted) -> Estimate:
    """Filter by the covariance: take mass off the rows along its largest eigenvector, and keep the least covariance.

    Every row has mass 1 at first. While the masses add up to more than n - 2f, each loses the share
    `<v, x_i - mu>^2 / max_j <v, x_j - mu>^2` of it, mu and v being the weighted mean and the leading eigenvector of the
    weighted covariance. The value is the mean whose covariance had the smallest largest eigenvalue. The eigenvector
    comes from a direct solver, not from one power iteration off a random start, so the rule is deterministic.

    Source:
        Covariance-bound agnostic filter of ByzFL (Allouah et al., 2025, arXiv 2505.24802), after Diakonikolas et al.,
        ICML 2017, arXiv 1703.00893.
    """
    n_nodes = len(admitted.updates)
    mass = np.ones(n_nodes)
    best_spread, best_mean, best_mass = np.inf, admitted.updates[0], mass
    while True:
        # Rows without mass are left out, or a huge one that is long gone would shield all others.
        alive = np.flatnonzero(mass)
        shares = mass[alive] / mass.sum()
        centre = shares @ admitted.updates[alive]
        residuals = admitted.updates[alive] - centre
        spread, projections = _leading(residuals * np.sqrt(shares)[:, None], residuals)
        if spread < best_spread:
            best_spread, best_mean, best_mass = spread, centre, mass
        if projections.max() <= 0:
            break
        mass = mass.copy()
        mass[alive] *= 1 - projections / projections.max()
        # What rounding leaves of a row that should be gone must not count when the row is huge.
        mass[mass < NEGLIGIBLE] = 0.0
        if mass.sum() <= n_nodes - 2 * admitted.n_byzantine:
            break
    return Estimate(value=best_mean, weights=best_mass)


def _dnc_mistake(
    n_nodes: int,
    n_byzantine: int,
    *,
    n_iterations: int = 3,
    n_coordinates: int = 1000,
    excess: float = 1.0,
    seed: int = 0,
) -> str:
    if n_iterations < 1 or n_coordinates < 1 or seed < 0:
        found = f"{n_iterations}, {n_coordinates} and {seed}"
        return (
            f"Arguments `n_iterations` and `n_coordinates` must be at least 1 and `seed` at least 0, but are {found}."
        )
    if not excess > 0 or excess * n_byzantine >= n_nodes:
        return (
            f"Rule `dnc` drops `excess` f rows and needs 0 < excess f < n, but excess={excess}, f={n_byzantine}, "
            f"n={n_nodes}."
        )
    return ""


@robust_rule(refusal=_dnc_mistake)
def dnc(
    admitted: Admitted, *, n_iterations: int = 3, n_coordinates: int = 1000, excess: float = 1.0, seed: int = 0
) -> Estimate:
    """Divide and conquer: drop the `excess` f rows farthest along the leading singular vector, on random coordinates.

    Averages the rows that no iteration dropped, or, if there are none, those that the fewest dropped. The coordinates
    depend on the seed, on how often the rule was called before (`memory`) and on the number of parameters; with no more
    of them than `n_coordinates` all are taken.

    Args:
        admitted: See `Rule`.
        n_iterations: Draws of coordinates, at least 1.
        n_coordinates: Coordinates of each draw, at least 1.
        excess: Rows to drop, as a multiple of f; above 0.
        seed: Seed of the draws.

    Raises:
        DomainError: A parameter is outside its range, or excess f >= n.

    Source:
        Shejwalkar and Houmansadr, NDSS 2021, Algorithm 2.
    """
    n_nodes, n_parameters = admitted.updates.shape
    n_dropped = min(int(excess * admitted.n_byzantine), n_nodes - 1)
    rng, memory = draws_of(admitted, seed)
    times_dropped = np.zeros(n_nodes, dtype=int)
    for _ in range(n_iterations if n_parameters > n_coordinates else 1):
        drawn = rng.permutation(n_parameters)[:n_coordinates] if n_parameters > n_coordinates else slice(None)
        sample = admitted.updates[:, drawn]
        residuals = sample - sample.mean(axis=0)
        farthest = np.argsort(-_leading(residuals, residuals)[1], kind="stable")[:n_dropped]
        times_dropped[farthest] += 1
    estimate = average_of(admitted.updates, np.flatnonzero(times_dropped == times_dropped.min()))
    return Estimate(value=estimate.value, weights=estimate.weights, memory=memory)


def _leading(weighted: FloatArray, residuals: FloatArray) -> tuple[float, FloatArray]:
    """Return the largest singular value of `weighted` and the squares of the residuals along its right vector.

    The squares are in units of the largest entry's square: only their ratios matter, and nothing can overflow then.
    """
    size = float(np.abs(weighted).max())
    if size == 0:
        return 0.0, np.zeros(len(residuals))
    scaled = weighted / size
    n_rows, n_columns = scaled.shape
    if n_columns <= n_rows:
        eigenvalue, direction = _top_eigenpair(scaled.T @ scaled)
    else:
        eigenvalue, vector = _top_eigenpair(scaled @ scaled.T)
        direction = vector @ scaled
        direction = direction / max(float(np.linalg.norm(direction)), TINY)
    return float(np.sqrt(eigenvalue)) * size, ((residuals / size) @ direction) ** 2


def _top_eigenpair(matrix: FloatArray) -> tuple[float, FloatArray]:
    from scipy.linalg import eigh  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    last = len(matrix) - 1
    values, vectors = eigh(matrix, subset_by_index=(last, last), driver="evr", check_finite=False)
    return max(float(values[0]), 0.0), vectors[:, 0]
