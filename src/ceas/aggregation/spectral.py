"""Rules that find colluders along the direction in which the updates vary most. The eigenvector is exact.

From a direct solver for few rows or parameters, from Lanczos' method to an angle of 1e-12 for many.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import Admitted, Estimate, draws_of, robust_rule
from ceas.aggregation.median import median_of_coordinates
from ceas.aggregation.selection import average_of

__all__ = ["caf", "dnc"]

FloatArray = NDArray[np.float64]

TINY = 1e-300

NEGLIGIBLE = 1e-9
"""Mass below which a row counts as filtered out."""

CANCELLED = 1e-3
"""Part of the mean square about the origin that must be variance: three digits of sixteen may cancel."""

UNDERFLOW = 1e-200
"""Variance, next to the largest entry's square, below which products of rows are no longer precise."""

FEW_LEFT = 0.75
"""Part of the rows with less than which smaller matrices are worth making."""

FEW = 300
"""Rows or parameters up to which the direct solver is the faster one."""

MOST_STEPS = 150
"""Of Lanczos' method."""

STEPS_PER_TEST = 5

ANGLE = 1e-12
"""Largest angle to the eigenvector."""

ROUNDING = 1e-14
"""A step this short, next to a trace of 1, is rounding: there are no more directions."""


@robust_rule()
def caf(admitted: Admitted) -> Estimate:
    """Filter by the covariance: take mass off the rows along its largest eigenvector, and keep the least covariance.

    Every row has mass 1 at first. While the masses add up to more than n - 2f, each loses the share
    `<v, x_i - mu>^2 / max_j <v, x_j - mu>^2` of it, mu and v being the weighted mean and the leading eigenvector of the
    weighted covariance. The value is the mean whose covariance had the smallest largest eigenvalue. The eigenvector
    is exact, not from one power iteration off a random start, so the rule is deterministic.

    Source:
        Covariance-bound agnostic filter of ByzFL (Allouah et al., 2025, arXiv 2505.24802), after Diakonikolas et al.,
        ICML 2017, arXiv 1703.00893.
    """
    updates, n_nodes = admitted.updates, len(admitted.updates)
    mass = np.ones(n_nodes)
    best_spread, best_mass = np.inf, mass
    leading = _InnerProducts(updates).leading if _is_wide(updates) else partial(_leading_of_weighted, updates)
    while True:
        shares = mass / mass.sum()
        spread, projections = leading(shares)
        if spread < best_spread:
            best_spread, best_mass = spread, mass
        if projections.max() <= 0:
            break
        mass = mass * (1 - projections / projections.max())
        # What rounding leaves of a row that should be gone must not count when the row is huge.
        mass[mass < NEGLIGIBLE] = 0.0
        if mass.sum() <= n_nodes - 2 * admitted.n_byzantine:
            break
    return Estimate(value=best_mass @ updates / best_mass.sum(), weights=best_mass)


def _is_wide(rows: FloatArray) -> bool:
    """Tell whether inner products of rows are less work, or nearly as little, than those of parameters."""
    n_rows, n_columns = rows.shape
    return bool(n_rows <= (n_columns if n_columns <= FEW else 4 * n_columns))


class _InnerProducts:
    """Leading directions of the same rows under changing weights, from the rows' inner products about some origin.

    These serve until differences cancel, because the rows that still have weight lie far from the origin, or until many
    have none left.
    """

    def __init__(self, rows: FloatArray) -> None:
        self._rows = rows
        self._live = np.empty(0, dtype=np.intp)

    def leading(self, shares: FloatArray) -> tuple[float, FloatArray]:
        """Return what `_leading_of_weighted` does."""
        projections = np.zeros(len(shares))
        is_placed = np.count_nonzero(shares) > FEW_LEFT * len(self._live) > 0
        variance = (self._variance(shares) if is_placed else 0.0) or self._placed(shares)
        if not variance:
            return 0.0, projections
        live_shares = shares[self._live]
        roots = np.sqrt(live_shares / variance)
        pair = self._iterated(live_shares, roots) if len(roots) > FEW else None
        eigenvalue, along = pair or self._solved(live_shares, roots)
        projections[self._live] = np.where(live_shares > 0, along / max(float(np.abs(along).max()), TINY), 0.0) ** 2
        return float(np.sqrt(max(eigenvalue, 0.0) * variance)) * self._unit, projections

    def _placed(self, shares: FloatArray) -> float:
        """Move the origin among the rows with weight, and return the variance; 0 if they are all the same."""
        is_first, self._live = not len(self._live), np.flatnonzero(shares)
        rows = self._rows[self._live]
        # Rows far away take a mean along, and filtering them one by one would move it time and again; not so a median.
        if not is_first and (variance := self._placed_at(median_of_coordinates(rows), shares)):
            return variance
        return self._placed_at(shares[self._live] @ rows, shares)

    def _placed_at(self, origin: FloatArray, shares: FloatArray) -> float:
        points = self._rows[self._live] - origin
        self._unit = float(np.abs(points).max())
        points = points / self._unit if self._unit > 0 else points
        self._inner = points @ points.T
        return self._variance(shares)

    def _variance(self, shares: FloatArray) -> float:
        """Return the trace of the weighted covariance, 0 where it is lost beside the square of the mean."""
        live_shares = shares[self._live]
        about_origin = float(live_shares @ self._inner.diagonal())
        variance = about_origin - float(live_shares @ self._inner @ live_shares)
        return variance if variance > max(CANCELLED * about_origin, UNDERFLOW) else 0.0

    def _solved(self, shares: FloatArray, roots: FloatArray) -> tuple[float, FloatArray]:
        """Return the largest eigenvalue of the covariance scaled by the roots, and the rows along its vector."""
        mean = self._inner @ shares
        centred = self._inner - mean - mean[:, None] + shares @ mean
        eigenvalue, vector = _top_eigenpair(roots[:, None] * centred * roots)
        return eigenvalue, centred @ (roots * vector)

    def _iterated(self, shares: FloatArray, roots: FloatArray) -> tuple[float, FloatArray] | None:
        """Do the same by Lanczos' method; return None where that would take longer.

        The angle to the eigenvector is at most the residual over the gap to the next eigenvalue, and that is what ends
        it. A start with the last vector needs no fewer steps: filtering destroys the last direction.

        Source:
            Parlett, The Symmetric Eigenvalue Problem, 1998, Chapter 13 and Theorem 11.7.1.
        """
        from scipy.linalg import eigh_tridiagonal  # noqa: PLC0415
        from scipy.linalg.blas import dsymv  # noqa: PLC0415

        def product(vector: FloatArray) -> FloatArray:
            # A symmetric product reads half of the matrix, and reading it is all the work.
            centred = dsymv(1.0, self._inner.T, vector - vector.sum() * shares)
            return centred - shares @ centred  # type: ignore[no-any-return]

        # Same weights, same start; but nobody can send updates at right angles to what hangs on each of their bits.
        step = roots * np.random.default_rng(roots.view(np.uint32)).uniform(-1, 1, len(roots))
        basis = np.empty((MOST_STEPS, len(roots)))
        diagonal, beside = np.empty(MOST_STEPS), np.empty(MOST_STEPS)
        for k in range(MOST_STEPS):
            basis[k] = step / np.linalg.norm(step)
            step = roots * product(roots * basis[k])
            diagonal[k] = step @ basis[k]
            # What exact arithmetic would subtract, and then what rounding has left along all earlier vectors.
            step -= diagonal[k] * basis[k]
            if k > 0:
                step -= beside[k - 1] * basis[k - 1]
            step -= (basis[: k + 1] @ step) @ basis[: k + 1]
            beside[k] = np.linalg.norm(step)
            is_exhausted = beside[k] <= ROUNDING
            if k > 0 and (is_exhausted or (k + 1) % STEPS_PER_TEST == 0):
                values, mixtures = eigh_tridiagonal(
                    diagonal[: k + 1], beside[:k], select="i", select_range=(k - 1, k), check_finite=False
                )
                if beside[k] * abs(mixtures[k, 1]) <= ANGLE * (values[1] - values[0]):
                    return float(values[1]), product(roots * (mixtures[:, 1] @ basis[: k + 1]))
            if is_exhausted:
                break
        return None


def _leading_of_weighted(rows: FloatArray, shares: FloatArray) -> tuple[float, FloatArray]:
    """Return the largest singular value of the weighted residuals, and the squares of all along its right vector.

    The squares are up to a factor, and 0 for rows without weight: a huge one that is long gone would shield all others.
    """
    live = np.flatnonzero(shares)
    projections, live_shares, live_rows = np.zeros(len(shares)), shares[live], rows[live]
    residuals = live_rows - live_shares @ live_rows
    spread, projections[live] = _leading(residuals * np.sqrt(live_shares)[:, None], residuals)
    return spread, projections


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
    from scipy.linalg.lapack import dsyevr  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    # On small matrices, `scipy.linalg.eigh` spends more time on looking at its arguments.
    values, vectors, *_, failed = dsyevr(matrix, range="I", il=len(matrix), iu=len(matrix))
    if failed:
        values, vectors = (part[..., -1:] for part in np.linalg.eigh(matrix))
    return max(float(values[0]), 0.0), vectors[:, 0]
