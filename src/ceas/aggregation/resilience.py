"""How far a rule can be moved: worst-case constants in closed form, and the worst that an attack suite finds.

A rule A is (f, kappa)-robust when, for every S of n - f rows, `|A - mean_S|^2 <= kappa / |S| sum_S |x_i - mean_S|^2`.
No rule has kappa below f/(n - 2f). The constants here are derived, and are sharper than the published ones, from one
fact on subsets: the mean of g of N numbers is within `sqrt((N - g) / g)` standard deviations of the mean of all N.

- Trimmed mean. Sorted, the j-th of all n values is at most the j-th smallest of the N = n - f values in S. So what is
  kept averages at most the mean of the N - t largest values of S (t are trimmed a side), likewise from below:
  kappa = t/(N - t), which is the floor f/(n - 2f) for t = f. The median trims all but the middle one or two.
- Geometric median y. Unit vectors from y to the rows of S add up to at most f along any direction e, as attackers
  balance at most f. A row whose unit vector has component -c along `e = (y - z)/r` is at least `r^2 min(1, 1 - c^2)`
  (c >= 0) or r^2 (c < 0) from z, squared, which is concave in c and so above its chord `r^2 (1 - c)/2`: the sum over S
  is at least `m r^2` with `m = (n - 2f)/2`. With the best z on the line through y and the mean, kappa = N/m - 1.
- Krum. The selected row's n - f nearest rows have at least g = n - 2f in common with S; its score is at most the mean
  score over S, `2 N Var`. Multi-Krum: what it selects outside S scores less than what it leaves out of S.
- Mixing with the n - f nearest rows, then A: rows of S come within `8 f / (n - f) Var` of mean_S in the mean square,
  by pairing each foreign neighbour with a row of S that is farther away.
- Least top eigenvalue (SMEA): two sets with g = n - 2f common rows; each mean is within `sqrt(f / g)` of theirs.

Every constant holds for whatever the f attackers send, when the rule is run with f declared. All but that of the
geometric median with an odd number of rows, Krum, Multi-Krum, SMEA and mixing are attained.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError, UnknownNameError

__all__ = [
    "MeasuredKappa",
    "attack_suite",
    "deviation_ratio",
    "kappa_bound",
    "kappa_floor",
    "largest_n_byzantine",
    "largest_weight_ratio",
    "measured_kappa",
    "published_kappa_bound",
    "spectral_kappa_bound",
    "tight_instance",
    "trimmed_mean_kappa",
    "weighted_kappa_bound",
    "worst_subset_ratio",
]

FloatArray = NDArray[np.float64]

MAXIMUM_SUBSETS = 20_000
"""Up to this many subsets are all looked at; beyond, exchanges of two rows search for the worst."""


def kappa_floor(n_nodes: int, n_byzantine: int) -> float:
    """Return f/(n - 2f), below which no rule's kappa can be; `tight_instance` attains it.

    Raises:
        DomainError: Not 0 <= 2f < n.

    Source:
        Allouah et al., AISTATS 2023, arXiv 2302.01772, proposition 6.
    """
    n, f = _checked(n_nodes, n_byzantine)
    return f / (n - 2 * f)


def kappa_bound(rule: str, n_nodes: int, n_byzantine: int) -> float:
    """Return a kappa that the rule provably never exceeds when it is run with f = `n_byzantine` declared.

    Args:
        rule: `mean`, `trimmed_mean`, `coordinate_median`, `geometric_median`, `krum` (n - f - 1 neighbours, as ByzFL),
            `krum_original` (n - f - 2), `multi_krum` (n - f - 1 neighbours, mean of n - f), `smea`, or `nnm_` and one
            of these. Other rules, `ceas` among them, have no constant proved here.
        n_nodes: Number n of rows.
        n_byzantine: Number f of arbitrary ones.

    Returns:
        Derived in the head of this module; infinity for the mean when f > 0.

    Raises:
        DomainError: Not 0 <= 2f < n.
        UnknownNameError: There is no constant for the rule.
    """
    n, f = _checked(n_nodes, n_byzantine)
    name = rule.removeprefix("nnm_")
    if name not in _DERIVED:
        raise UnknownNameError(
            "rule with a proven constant", rule, [*_DERIVED, *(f"nnm_{known}" for known in _DERIVED)]
        )
    kappa = _DERIVED[name](n, f)
    return kappa if name == rule else _mixed(kappa, n, f)


def published_kappa_bound(rule: str, n_nodes: int, n_byzantine: int) -> float:
    """Return the published upper bound on kappa, for comparison; `kappa_bound` is never above it.

    Args:
        rule: `trimmed_mean`, `coordinate_median`, `geometric_median`, `krum`, or `nnm_` and one of these.
        n_nodes: Number n of rows.
        n_byzantine: Number f of arbitrary ones.

    Raises:
        DomainError: Not 0 <= 2f < n.
        UnknownNameError: There is no published constant for the rule.

    Source:
        Allouah et al., AISTATS 2023, arXiv 2302.01772, table 1 and lemma 1, recalled. Checked here: each is above the
        constant that is derived in the head of this module.
    """
    n, f = _checked(n_nodes, n_byzantine)
    name = rule.removeprefix("nnm_")
    if name not in _PUBLISHED:
        raise UnknownNameError("rule with a published constant", rule, [*_PUBLISHED])
    kappa = _PUBLISHED[name](f / (n - 2 * f))
    return kappa if name == rule else _mixed(kappa, n, f)


def trimmed_mean_kappa(n_nodes: int, n_byzantine: int, n_declared: int) -> float:
    """Return the exact kappa of the trimmed mean that trims `n_declared` values a side, against f attackers.

    It is t/(n - f - t) for t >= f: declaring too many costs in proportion. For t < f it is infinity.

    Raises:
        DomainError: Not 0 <= 2f < n, or not 0 <= 2t < n.
    """
    n, f = _checked(n_nodes, n_byzantine)
    _, t = _checked(n_nodes, n_declared)
    return t / (n - f - t) if t >= f else math.inf


def spectral_kappa_bound(n_nodes: int, n_byzantine: int) -> float:
    """Return kappa of SMEA in spectral form, `|A - mean_S|^2 <= kappa lambda_max(Cov_S)`: 4 f / (n - 2f).

    SMEA averages the n - f rows of least top eigenvalue. The published constant is (n - f)/(n - 2f) times as large.
    The trace is at least the top eigenvalue, so that it is a kappa in the usual sense as well.

    Raises:
        DomainError: Not 0 <= 2f < n.

    Source:
        Allouah et al., NeurIPS 2023, arXiv 2309.13591 (published form).
    """
    n, f = _checked(n_nodes, n_byzantine)
    return 4 * f / (n - 2 * f)


def weighted_kappa_bound(rule: str, byzantine_mass: float) -> float:
    """Return kappa_w of a weighted rule whose attackers hold at most a part `byzantine_mass` of all weight.

    `|A - mean_w|^2 <= kappa_w sum_H w_i |x_i - mean_w|^2` with the honest rows' weights w normalised to 1. The proofs
    in the head of this module hold for mass in place of counts; equal weights give `kappa_bound` for odd n or less.

    Args:
        rule: `trimmed_mean` (trims that mass a side), `coordinate_median` or `geometric_median`.
        byzantine_mass: In [0, 1/2).

    Raises:
        DomainError: The mass is not in [0, 1/2): the rule is broken down.
        UnknownNameError: There is no constant for the rule.
    """
    if not 0 <= byzantine_mass < 0.5:
        raise DomainError(f"Argument `byzantine_mass` must be in [0, 1/2), but is {byzantine_mass}.")
    known = {"trimmed_mean": byzantine_mass, "coordinate_median": 1.0, "geometric_median": 1.0}
    if rule not in known:
        raise UnknownNameError("weighted rule with a proven constant", rule, known)
    return known[rule] / (1 - 2 * byzantine_mass)


def largest_n_byzantine(n_nodes: int, *, dissimilarity_slope: float = 0.0) -> int:
    """Return the largest f that any rule can tolerate in training: f/n < 1/(2 + B^2).

    Equivalent to kappa B^2 < 1 for a rule at the floor, so that the trimmed mean reaches it.

    Args:
        n_nodes: Number n of nodes, at least 1.
        dissimilarity_slope: B^2 of the honest gradients, at least 0; see `ceas.aggregation.constants`.

    Raises:
        DomainError: An argument is out of its range.

    Source:
        Allouah et al., NeurIPS 2023, arXiv 2309.13591, theorem 1.
    """
    if n_nodes < 1 or not dissimilarity_slope >= 0:
        raise DomainError(
            f"Arguments `n_nodes` and `dissimilarity_slope` must be at least 1 and 0, but are {n_nodes} and "
            f"{dissimilarity_slope}."
        )
    return math.ceil(n_nodes / (2 + dissimilarity_slope)) - 1


def largest_weight_ratio(n_nodes: int, n_byzantine: int) -> float:
    """Return (n - f)/f: weights whose largest ratio stays below it leave f attackers less than half of the mass.

    Raises:
        DomainError: Not 0 <= 2f < n.
    """
    n, f = _checked(n_nodes, n_byzantine)
    return (n - f) / f if f else math.inf


def deviation_ratio(value: ArrayLike, rows: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return `|value - mean|^2 / sum_i w_i |x_i - mean|^2` with the weighted mean of the rows, weights normalised.

    Args:
        value: What a rule returned, shape (P,).
        rows: Honest updates, shape (m, P).
        weights: Nonnegative, shape (m,); default equal.

    Returns:
        One sample of kappa (of kappa_w with weights). Where the rows coincide: 0 at their place, infinity elsewhere.

    Raises:
        DomainError: Shapes do not fit, or the weights are negative or all 0.
    """
    points, result = np.asarray(rows, dtype=np.float64), np.asarray(value, dtype=np.float64)
    mass = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if points.ndim != 2 or result.shape != points.shape[1:] or mass.shape != points.shape[:1]:
        raise DomainError(
            f"Arguments `value`, `rows` and `weights` must have shapes (P,), (m, P) and (m,), but have {result.shape}, "
            f"{points.shape} and {mass.shape}."
        )
    if not (np.all(mass >= 0) and mass.sum() > 0):
        raise DomainError(f"Argument `weights` must be nonnegative and not all 0, but is {mass.tolist()}.")
    mass = mass / mass.sum()
    # About one of the rows, so that rows which coincide have no spread by rounding.
    result, points = result - points[0], points - points[0]
    mean = mass @ points
    return _ratio(float(np.sum((result - mean) ** 2)), float(mass @ np.sum((points - mean) ** 2, axis=1)))


def worst_subset_ratio(value: ArrayLike, updates: ArrayLike, n_byzantine: int) -> float:
    """Return the largest `deviation_ratio` over the subsets of n - f rows.

    Args:
        value: What a rule made of the updates, shape (P,).
        updates: All n rows, shape (n, P).
        n_byzantine: Number f of rows left out.

    Returns:
        Exact when there are at most `MAXIMUM_SUBSETS` subsets; otherwise a lower estimate: the best of four subsets
        that the best exchange of two rows improves until none does.

    Raises:
        DomainError: Not 0 <= 2f < n.
    """
    rows, result = np.asarray(updates, dtype=np.float64), np.asarray(value, dtype=np.float64)
    n, f = _checked(len(rows), n_byzantine)
    if math.comb(n, f) <= MAXIMUM_SUBSETS:
        subsets = np.array(list(itertools.combinations(range(n), n - f)), dtype=np.intp)
        return float(_subset_ratios(result, rows, subsets).max())
    # Whoever is left out is near the value, far from it, or out on one side along the way from the mean to it.
    along = (rows - result) @ (result - rows.mean(axis=0))
    orders = np.array([np.linalg.norm(rows - result, axis=1), along])
    starts = np.argsort(np.concatenate([orders, -orders]), axis=1, kind="stable")
    return max(_exchanged_ratio(result, rows, start[f:], start[:f]) for start in starts)


class MeasuredKappa(NamedTuple):
    """The largest deviation ratio that a suite found: a lower estimate of kappa, and who caused it."""

    kappa: float
    attack: str
    magnitude: float


def measured_kappa(
    rule: Callable[[FloatArray], ArrayLike],
    *,
    n_nodes: int,
    n_byzantine: int,
    n_parameters: int = 16,
    n_clouds: int = 4,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> MeasuredKappa:
    """Run a rule against `attack_suite` on random clouds of honest rows and return the worst deviation ratio.

    Args:
        rule: Function from updates (n, P) to an aggregate (P,), with f, claims and everything else bound.
        n_nodes: Number n of rows; the attackers' come last.
        n_byzantine: Number f of attackers, 0 <= 2f < n.
        n_parameters: P, at least 1.
        n_clouds: Number of clouds: normal deviations, their scale log-normal per parameter, around a normal mean.
        seed: Of the clouds.
        weights: The rule's weights of all nodes, shape (n,), for kappa_w; the honest ones' are normalised. Default
            equal, which gives kappa.

    Returns:
        The worst over clouds and attacks, for S the honest rows. Other subsets S: see `worst_subset_ratio`.

    Raises:
        DomainError: An argument is out of its range.
    """
    n, f = _checked(n_nodes, n_byzantine)
    mass = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if mass.shape != (n,):
        raise DomainError(f"Argument `weights` must have shape ({n},), but has shape {mass.shape}.")
    rng = np.random.default_rng(seed)
    worst = MeasuredKappa(-math.inf, "none", 0.0)
    for _ in range(n_clouds):
        honest = rng.normal(size=(n - f, n_parameters)) * np.exp(rng.normal(size=n_parameters))
        honest += rng.normal(size=n_parameters)
        for attack, magnitude, row in attack_suite(honest):
            updates = np.concatenate([honest, np.repeat(row[None], f, axis=0)])
            ratio = deviation_ratio(rule(updates), honest, mass[: n - f])
            worst = max(worst, MeasuredKappa(ratio, attack, magnitude), key=lambda found: found.kappa)
    return worst


def attack_suite(
    honest: ArrayLike, magnitudes: ArrayLike = (-8, -4, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 4, 8)
) -> Iterator[tuple[str, float, FloatArray]]:
    """Yield name, magnitude and the one row (P,) that all colluders send.

    `alie`: mean plus magnitude times the deviation of every coordinate. `ipm`: minus magnitude times the mean. `top`:
    mean plus magnitude times the deviation along the covariance's first eigenvector. `mimic`: the honest row farthest
    out along that eigenvector, on either side.

    Args:
        honest: Honest rows, shape (m, P), m >= 2.
        magnitudes: Signed, any shape.

    Source:
        Baruch et al., NeurIPS 2019; Xie et al., UAI 2019; Karimireddy et al., ICLR 2022, arXiv 2006.09365.
    """
    rows = np.asarray(honest, dtype=np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    _, lengths, directions = np.linalg.svd(rows - mean, full_matrices=False)
    top = lengths[0] / math.sqrt(len(rows) - 1) * directions[0]
    for magnitude in np.asarray(magnitudes, dtype=np.float64).ravel().tolist():
        yield "alie", magnitude, mean + magnitude * deviation
        yield "ipm", magnitude, -magnitude * mean
        yield "top", magnitude, mean + magnitude * top
    along = (rows - mean) @ directions[0]
    yield "mimic", 1.0, rows[along.argmax()]
    yield "mimic", -1.0, rows[along.argmin()]


def tight_instance(n_nodes: int, n_byzantine: int) -> FloatArray:
    """Return n rows of one parameter on which no rule's worst subset ratio is below f/(n - 2f), shape (n, 1).

    n - 2f rows are 0, f are 1 and f are -1: whoever gets it right when the f ones are honest is that far off when the
    others are. (With the attackers at 0 in place of -1, rules that answer 0 attain the floor as well.)

    Raises:
        DomainError: Not 0 <= 2f < n.
    """
    n, f = _checked(n_nodes, n_byzantine)
    return np.repeat([0.0, 1.0, -1.0], [n - 2 * f, f, f])[:, None]


def _checked(n_nodes: int, n_byzantine: int) -> tuple[int, int]:
    if n_nodes < 1 or n_byzantine < 0 or 2 * n_byzantine >= n_nodes:
        raise DomainError(
            f"Arguments `n_nodes` and `n_byzantine` must satisfy 0 <= 2f < n, but are n={n_nodes}, f={n_byzantine}: "
            f"beyond breakdown."
        )
    return n_nodes, n_byzantine


def _mean(_: int, f: int) -> float:
    return math.inf if f else 0.0


def _median(n: int, f: int) -> float:
    return (math.ceil(n / 2) - 1) / (n // 2 + 1 - f)


def _krum(n: int, f: int, n_common: int, share: float) -> float:
    """Krum whose neighbours, itself included, have `n_common` in S and scores at most `share` of a row's sum over S."""
    if n_common < 1:
        return math.inf
    honest = n - f
    return (math.sqrt(2 * honest * share / n_common) + math.sqrt((honest - n_common) / n_common)) ** 2


def _original_krum(n: int, f: int) -> float:
    return _krum(n, f, n - 2 * f - 1, max(n - f - 2, 0) / (n - f - 1) if n - f > 1 else 0.0)


def _multi_krum(n: int, f: int) -> float:
    honest, common = n - f, n - 2 * f
    foreign = math.sqrt(f * n / (honest * common)) + f / honest * math.sqrt(f / common)
    return (foreign + math.sqrt(f / honest)) ** 2


def _mixed(kappa: float, n: int, f: int) -> float:
    return 8 * f / (n - f) * (kappa + 1) if f else kappa


_DERIVED: dict[str, Callable[[int, int], float]] = {
    "mean": _mean,
    "trimmed_mean": kappa_floor,
    "coordinate_median": _median,
    "geometric_median": lambda n, f: n / (n - 2 * f),
    "krum": lambda n, f: _krum(n, f, n - 2 * f, 1.0),
    "krum_original": _original_krum,
    "multi_krum": _multi_krum,
    "smea": spectral_kappa_bound,
}
_PUBLISHED: dict[str, Callable[[float], float]] = {
    "trimmed_mean": lambda floor: 6 * floor * (1 + floor),
    "coordinate_median": lambda floor: 4 * (1 + floor) ** 2,
    "geometric_median": lambda floor: 4 * (1 + floor) ** 2,
    "krum": lambda floor: 6 * (1 + floor),
}


def _ratio(deviation: float, spread: float) -> float:
    if spread > 0:
        return deviation / spread
    return math.inf if deviation > 0 else 0.0


def _exchanged_ratio(value: FloatArray, rows: FloatArray, inside: NDArray[np.intp], outside: NDArray[np.intp]) -> float:
    best = float(_subset_ratios(value, rows, inside[None])[0])
    while True:
        place, substitute = (index.ravel() for index in np.indices((inside.size, outside.size)))
        exchanged = np.repeat(inside[None], place.size, axis=0)
        exchanged[np.arange(place.size), place] = outside[substitute]
        ratios = _subset_ratios(value, rows, exchanged)
        if not ratios.max() > best * (1 + 1e-12):
            return best
        best, inside = float(ratios.max()), exchanged[ratios.argmax()]
        outside = np.setdiff1d(np.arange(len(rows)), inside)


def _subset_ratios(value: FloatArray, rows: FloatArray, subsets: NDArray[np.intp]) -> FloatArray:
    """Deviation ratio of each subset (K, m); moments are taken about the value, which is where the rows are near."""
    shifted = rows - value
    members = np.zeros((len(subsets), len(rows)))
    np.put_along_axis(members, subsets, 1 / subsets.shape[1], axis=1)
    deviation = np.sum((members @ shifted) ** 2, axis=1)
    second_moment = members @ np.sum(shifted**2, axis=1)
    spread = second_moment - deviation
    is_spread = spread > 1e-12 * second_moment
    return np.where(is_spread, deviation / np.where(is_spread, spread, 1.0), np.where(deviation > 0, np.inf, 0.0))
