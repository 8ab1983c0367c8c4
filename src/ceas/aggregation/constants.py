"""The bounds' constants from a run's data or from the circuit, and what weights cost in variance.

A bound is as good as its constants. `CONFIDENCE` says of each estimate on which side of the truth it lies, why, and
whether a bound may use it as it is; the others need a margin that the user answers for.

Weights. Node k's update has noise variance v_k, its gradient differs from the mean by D^2 in the mean square. The best
linear unbiased estimate of a common gradient weighs by 1/v_k; by 1/(D^2 + v_k) of the mean of random effects; and
`1/(n D^2 + v_k)` is minimax over all gradients of spread D^2, since by Cauchy and Schwarz the weighted objective's
squared gradient is off by at most (n sum w^2 - 1) D^2. The last two go to uniform weights as D^2 grows.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "CONFIDENCE",
    "Confidence",
    "Dissimilarity",
    "VarianceLimits",
    "blue_weights",
    "circuit_smoothness",
    "contraction_fisher",
    "curvature_by_power_iteration",
    "dissimilarity_envelope",
    "dissimilarity_fit",
    "gradient_spread",
    "kappa_of_rounds",
    "minimax_weights",
    "pl_constant",
    "random_effects_weights",
    "shot_noise_variance",
    "split_half_limits",
    "split_half_variance",
    "variance_over_blue",
    "weighted_variance",
]

FloatArray = NDArray[np.float64]


class Confidence(NamedTuple):
    """On which side of the truth an estimate lies, whether a bound may use it as it is, and the reason."""

    side: Literal["upper", "estimate", "lower"]
    is_safe: bool
    reason: str


CONFIDENCE: dict[str, Confidence] = {
    "circuit_smoothness": Confidence(
        "upper", True, "proved for all parameters; usually far above the curvature that is met"
    ),
    "curvature_by_power_iteration": Confidence(
        "lower", False, "curvature at one point, approached from below; L is the largest over all points of the path"
    ),
    "dissimilarity_fit": Confidence(
        "estimate", False, "least squares: about half of the points lie above the line, unless they all lie on it"
    ),
    "dissimilarity_envelope": Confidence(
        "upper", True, "no given point lies above; nothing is said of points that training never met"
    ),
    "split_half_variance": Confidence(
        "estimate", False, "unbiased; for Gaussian noise its relative standard deviation is at most sqrt(2 / rounds)"
    ),
    "split_half_limits": Confidence(
        "upper", True, "the upper limit, at its level, for Gaussian noise; one degree of freedom a round"
    ),
    "pl_constant": Confidence(
        "upper", False, "the least over visited points is at least the true mu, and a bound wants mu from below"
    ),
    "kappa_of_rounds": Confidence("lower", False, "the worst that happened, not the worst that can: see `kappa_bound`"),
}
"""Of each estimate by its function's name. Exact inputs are assumed; see the functions on what noise does to them."""


class Dissimilarity(NamedTuple):
    """The line `sum_i w_i |grad_i - grad|^2 = offset + slope |grad|^2`: G^2 and B^2, both at least 0."""

    offset: float
    slope: float


class VarianceLimits(NamedTuple):
    """Two-sided confidence limits of variances, each of the shape of the nodes."""

    lower: FloatArray
    upper: FloatArray


def gradient_spread(gradients: ArrayLike, weights: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the honest gradients' weighted spread about their mean, and the mean's squared norm, at each point.

    Args:
        gradients: Exact gradients of the honest nodes, shape (T, m, P). With noisy ones the spread is too large by
            Q = sum w_i (1 - w_i) v_i and the squared norm by V = sum w_i^2 v_i (see `convergence.noise_terms`).
        weights: Nonnegative, shape (m,); default equal.

    Returns:
        Spread and squared norm, shape (T,) each.

    Raises:
        DomainError: Shapes do not fit.
    """
    points = np.asarray(gradients, dtype=np.float64)
    if points.ndim != 3 or 0 in points.shape:
        raise DomainError(f"Argument `gradients` must have shape (T, m, P), but has shape {points.shape}.")
    shares = _normalised(np.ones(points.shape[1]) if weights is None else weights, "weights")
    if shares.shape != points.shape[1:2]:
        raise DomainError(f"Argument `weights` must have shape ({points.shape[1]},), but has shape {shares.shape}.")
    mean = np.einsum("i,tip->tp", shares, points)
    spread = np.sum((points - mean[:, None]) ** 2, axis=2) @ shares
    return spread, np.sum(mean**2, axis=1)


def dissimilarity_fit(spread: ArrayLike, squared_norm: ArrayLike) -> Dissimilarity:
    """Fit G^2 and B^2, both nonnegative, by least squares of the spread on the squared norm.

    Args:
        spread: Shape (T,), nonnegative; see `gradient_spread`.
        squared_norm: Shape (T,), nonnegative.

    Raises:
        DomainError: Shapes differ, there is no point, or an entry is negative or not finite.
    """
    from scipy.optimize import nnls  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    y, x = _points(spread, squared_norm)
    scale = float(x.max()) or 1.0
    (offset, slope), _ = nnls(np.column_stack([np.ones_like(x), x / scale]), y)
    return Dissimilarity(float(offset), float(slope) / scale)


def dissimilarity_envelope(spread: ArrayLike, squared_norm: ArrayLike) -> Dissimilarity:
    """Return the line with G^2, B^2 >= 0 that no point lies above and whose mean over the points is least.

    Args:
        spread: Shape (T,), nonnegative; see `gradient_spread`.
        squared_norm: Shape (T,), nonnegative.

    Returns:
        G^2 and B^2 that hold at every point that was given, to rounding.

    Raises:
        DomainError: As `dissimilarity_fit`.
    """
    from scipy.optimize import linprog  # noqa: PLC0415  (0.2 s, and `import ceas` must stay light)

    y, x = _points(spread, squared_norm)
    x_scale, y_scale = float(x.max()) or 1.0, float(y.max()) or 1.0
    rows = np.column_stack([np.ones_like(x), x / x_scale])
    slope = linprog(rows.mean(axis=0), A_ub=-rows, b_ub=-y / y_scale, bounds=(0, None)).x[1] * y_scale / x_scale
    # The solver's tolerance is absolute: the offset is made exact for the slope that it found.
    return Dissimilarity(max(0.0, float((y - slope * x).max())), float(slope))


def split_half_variance(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Return the noise variance of the mean of two half-shot estimates, `|g1 - g2|^2 / 4` averaged over rounds.

    Args:
        first: Estimates from the first halves at the same parameters, shape (T, n, P).
        second: From the second halves, independent of the first.

    Returns:
        v_i summed over parameters, shape (n,).

    Raises:
        DomainError: Shapes differ or are not (T, n, P).
    """
    variance: FloatArray = _half_differences(first, second).mean(axis=0)
    return variance


def split_half_limits(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> VarianceLimits:
    """Return confidence limits of `split_half_variance`, for noise that is Gaussian and alike in all rounds.

    |g1 - g2|^2 is a weighted sum of squares, one per parameter. One direction that holds all the noise is the widest
    case at usual levels, so each round counts as one degree of freedom of chi-square: conservative, wide for few
    rounds, and independent of how parameters correlate.

    Args:
        first: Shape (T, n, P).
        second: Shape (T, n, P).
        level: Two-sided, in (0, 1), per node (not corrected for the number of nodes).

    Raises:
        DomainError: Shapes differ or the level is out of range.
    """
    from scipy.stats import chi2  # noqa: PLC0415  (0.5 s, and `import ceas` must stay light)

    if not 0 < level < 1:
        raise DomainError(f"Argument `level` must be in (0, 1), but is {level}.")
    total = _half_differences(first, second)
    n_rounds = len(total)
    tail = (1 - level) / 2
    lower, upper = (total.sum(axis=0) / chi2.ppf(part, n_rounds) for part in (1 - tail, tail))
    return VarianceLimits(lower, upper)


def circuit_smoothness(
    rotations_per_parameter: ArrayLike,
    *,
    observable_norm: float = 1.0,
    n_observables: int = 1,
    loss_slope: float = 1.0,
    loss_curvature: float = 0.0,
) -> float:
    """Return an upper bound on L of a loss of expectation values of a circuit of Pauli rotations exp(-i theta P/2).

    Along a unit direction u, an expectation's first and second derivative are at most |O| k and |O| k^2 with
    `k = sum_j |u_j| m_j <= sqrt(sum_j m_j^2)`, by the generator's norm; noise and debiasing apart, that is
    `L <= |O| sum m^2` for a bare expectation. With a loss l of K values: `(loss_curvature K |O| + loss_slope) |O| sum
    m^2`.

    Args:
        rotations_per_parameter: m_j, shape (P,): rotations that parameter j drives, each with a factor of at most 1 in
            the angle (with larger factors, the sum of their magnitudes).
        observable_norm: Spectral norm |O| of each observable; contraction only lowers it.
        n_observables: K.
        loss_slope: Largest sum of |dl/df_k| over the values; 1 for a bare expectation. Cross-entropy of the softmax of
            scores s f_k: 2 s. Half squared error of one value in [-1, 1]: 2.
        loss_curvature: Largest eigenvalue of l's Hessian in the values. Cross-entropy: s^2 / 2; half squared error: 1.

    Raises:
        DomainError: An argument is negative or not finite.

    Source:
        Derived as stated; entries of the Hessian at most |O|: Schuld et al., PRA 99, 032331 (2019), parameter shifts.
    """
    uses = np.asarray(rotations_per_parameter, dtype=np.float64)
    numbers = (observable_norm, loss_slope, loss_curvature)
    if not (np.isfinite(uses).all() and np.all(uses >= 0)) or n_observables < 1 or not min(numbers) >= 0:
        raise DomainError(
            f"Arguments of the circuit's smoothness must be finite and at least 0 (`n_observables` 1), but are "
            f"{uses.tolist()}, {observable_norm}, {n_observables}, {loss_slope} and {loss_curvature}."
        )
    squares = float(np.sum(uses**2))
    return (loss_curvature * n_observables * observable_norm + loss_slope) * observable_norm * squares


def curvature_by_power_iteration(
    gradient: Callable[[FloatArray], ArrayLike],
    theta: ArrayLike,
    *,
    rng: np.random.Generator,
    n_iterations: int = 30,
    difference: float = 1e-4,
) -> float:
    """Return the largest magnitude of the Hessian's eigenvalues at `theta`, from differences of gradients.

    Hessian times u is `(g(theta + h u) - g(theta - h u)) / 2h`; 2 gradients an iteration.

    Args:
        gradient: From parameters (P,) to the gradient (P,), exact: noise is amplified by 1/h.
        theta: Shape (P,).
        rng: Draws the first direction.
        n_iterations: At least 1. The error falls like the ratio of the two largest magnitudes to the power 2 per
            iteration.
        difference: h > 0; in single precision 1e-2 serves better.

    Returns:
        Norm of the Hessian times a unit direction; never above the largest magnitude, but for the differences' error.

    Raises:
        DomainError: An argument is out of its range.
    """
    point = np.asarray(theta, dtype=np.float64)
    if point.ndim != 1 or n_iterations < 1 or not difference > 0:
        raise DomainError(
            f"Arguments `theta`, `n_iterations` and `difference` must have shape (P,), be at least 1 and positive, but "
            f"are of shape {point.shape}, {n_iterations} and {difference}."
        )
    direction, curvature = rng.normal(size=point.shape), 0.0
    for _ in range(n_iterations):
        step = difference * direction / np.linalg.norm(direction)
        product = (np.asarray(gradient(point + step)) - np.asarray(gradient(point - step))) / (2 * difference)
        curvature = float(np.linalg.norm(product))
        if curvature == 0:
            break
        direction = product
    return curvature


def pl_constant(squared_norm: ArrayLike, losses: ArrayLike, least_loss: float) -> float:
    """Return the least |grad L|^2 / (2 (L - L_*)) over visited points: the Polyak-Lojasiewicz constant there.

    Args:
        squared_norm: |grad L|^2, shape (T,), nonnegative.
        losses: L, shape (T,).
        least_loss: L_*, below every loss. A value below the true one lowers the result, which is the safe side.

    Raises:
        DomainError: Shapes differ or a loss is not above `least_loss`.
    """
    values = np.asarray(losses, dtype=np.float64)
    gaps, squares = _points(values - least_loss, squared_norm)
    if not np.all(gaps > 0):
        raise DomainError(f"Argument `least_loss` must be below all losses, but is {least_loss}, not {values.min()}.")
    return float(np.min(squares / (2 * gaps)))


def kappa_of_rounds(aggregates: ArrayLike, updates: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Return |A - mean_w|^2 / sum_i w_i |x_i - mean_w|^2 of every round; its maximum is the measured kappa_w.

    Args:
        aggregates: The rule's results, shape (T, P).
        updates: The honest nodes' updates, shape (T, m, P).
        weights: The honest nodes' nonnegative weights, shape (T, m) or (m,), normalised here; default equal.

    Returns:
        Shape (T,); where the honest updates coincide, 0 if the rule agrees and infinity if not.

    Raises:
        DomainError: Shapes do not fit, or a round's weights are negative or all 0.
    """
    values, rows = np.asarray(aggregates, dtype=np.float64), np.asarray(updates, dtype=np.float64)
    if rows.ndim != 3 or values.shape != (rows.shape[0], rows.shape[2]):
        raise DomainError(f"Shapes must be (T, P) and (T, m, P), but are {values.shape} and {rows.shape}.")
    mass = np.broadcast_to(1.0 if weights is None else np.asarray(weights, dtype=np.float64), rows.shape[:2])
    total = mass.sum(axis=1, keepdims=True)
    if not (np.all(mass >= 0) and np.all(total > 0)):
        raise DomainError("Argument `weights` must be nonnegative and not all 0 in any round, but is not.")
    shares = mass / total
    # About one of the rows, so that rows which coincide have no spread by rounding.
    values, rows = values - rows[:, 0], rows - rows[:, :1]
    mean = np.einsum("ti,tip->tp", shares, rows)
    spread = np.einsum("ti,tip->t", shares, (rows - mean[:, None]) ** 2)
    deviation = np.sum((values - mean) ** 2, axis=1)
    is_spread = spread > 0
    return np.where(is_spread, deviation / np.where(is_spread, spread, 1.0), np.where(deviation > 0, np.inf, 0.0))


def blue_weights(variances: ArrayLike) -> FloatArray:
    """Return weights proportional to 1/v_k, shape (n,): the best linear unbiased estimate of a common mean.

    Raises:
        DomainError: A variance is not positive and finite.
    """
    return random_effects_weights(variances, 0.0)


def random_effects_weights(variances: ArrayLike, between_variance: float) -> FloatArray:
    """Return weights proportional to 1/(D^2 + v_k), shape (n,): best for nodes whose means scatter by D^2.

    Raises:
        DomainError: A sum is not positive and finite, or an argument is negative.

    Source:
        DerSimonian and Laird, Control. Clin. Trials 7, 177 (1986).
    """
    noise = np.asarray(variances, dtype=np.float64)
    totals = noise + between_variance
    if not (between_variance >= 0 and np.all(noise >= 0) and np.all((totals > 0) & np.isfinite(totals))):
        raise DomainError(
            f"Arguments `variances` and `between_variance` must be at least 0, finite and positive together, but are "
            f"{noise.tolist()} and {between_variance}."
        )
    # Relative to the least variance, so that inverses of tiny ones stay finite.
    return _normalised(totals.min() / totals, "variances")


def minimax_weights(variances: ArrayLike, between_variance: float) -> FloatArray:
    """Return weights proportional to 1/(n D^2 + v_k): least worst error of the uniform mean's gradient.

    They minimise `sum w^2 v + (n sum w^2 - 1) D^2`, noise plus the worst squared shift of the objective.

    Raises:
        DomainError: As `random_effects_weights`.
    """
    return random_effects_weights(variances, between_variance * np.asarray(variances).size)


def weighted_variance(weights: ArrayLike, variances: ArrayLike) -> float:
    """Return sum w_k^2 v_k with the weights normalised: the variance of the weighted mean.

    Raises:
        DomainError: Shapes differ, or a weight is negative or all are 0.
    """
    shares, noise = _normalised(weights, "weights"), np.asarray(variances, dtype=np.float64)
    if shares.shape != noise.shape:
        raise DomainError(f"Argument `weights` must have shape {noise.shape}, but has shape {shares.shape}.")
    return float(shares**2 @ noise)


def variance_over_blue(weights: ArrayLike, variances: ArrayLike) -> float:
    """Return `weighted_variance` over its least value, 1 / sum 1/v_k; at least 1.

    Raises:
        DomainError: A variance is not positive, shapes differ, or a weight is negative or all are 0.
    """
    return weighted_variance(weights, variances) / weighted_variance(blue_weights(variances), variances)


def contraction_fisher(contraction: ArrayLike, dimension: int) -> FloatArray:
    """Return the factor on the quantum Fisher information under global depolarising, c = l^2 / (l + 2 (1 - l)/d).

    Args:
        contraction: Survival l in (0, 1].
        dimension: d = 2^qubits, at least 2.

    Raises:
        DomainError: An argument is out of its range.
    """
    survival = _survival(contraction)
    if dimension < 2:
        raise DomainError(f"Argument `dimension` must be at least 2, but is {dimension}.")
    factor: FloatArray = survival**2 / (survival + 2 * (1 - survival) / dimension)
    return factor


def shot_noise_variance(
    contraction: ArrayLike, shots: ArrayLike, mean_square: float, *, n_parameters: int = 1
) -> FloatArray:
    """Return the variance of the debiased parameter-shift gradient, P (1 - l^2 m) / (2 S l^2).

    Per parameter: both shifted values are means of S shots of +-1 of expectation l f, so that half their difference
    has variance `(2 - l^2 (f_+^2 + f_-^2)) / 4S`, and dividing by l divides it by l^2.

    Args:
        contraction: l in (0, 1].
        shots: Shots S per circuit, positive.
        mean_square: m = (f_+^2 + f_-^2)/2 in [0, 1], the mean over parameters.
        n_parameters: P.

    Raises:
        DomainError: An argument is out of its range.
    """
    survival, count = _survival(contraction), np.asarray(shots, dtype=np.float64)
    if not np.all(count > 0) or not 0 <= mean_square <= 1:
        raise DomainError(
            f"Arguments `shots` and `mean_square` must be positive and in [0, 1], but are {count} and {mean_square}."
        )
    variance: FloatArray = n_parameters * (1 - survival**2 * mean_square) / (2 * count * survival**2)
    return variance


def _half_differences(first: ArrayLike, second: ArrayLike) -> FloatArray:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 3 or one.shape != other.shape or 0 in one.shape:
        raise DomainError(f"Both halves must have the same shape (T, n, P), but have {one.shape} and {other.shape}.")
    quarter: FloatArray = np.sum((one - other) ** 2, axis=2) / 4
    return quarter


def _points(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.concatenate([one.ravel(), other.ravel()])
    if one.ndim != 1 or one.shape != other.shape or not len(one) or not (np.isfinite(both).all() and np.all(both >= 0)):
        raise DomainError(
            f"Both columns must be finite, nonnegative and of one shape (T,), but have shapes {one.shape} and "
            f"{other.shape} and values from {both.min(initial=math.inf)} to {both.max(initial=-math.inf)}."
        )
    return one, other


def _survival(contraction: ArrayLike) -> FloatArray:
    survival = np.asarray(contraction, dtype=np.float64)
    if not np.all((survival > 0) & (survival <= 1)):
        raise DomainError(f"Argument `contraction` must be in (0, 1], but is {survival}.")
    return survival


def _normalised(weights: ArrayLike, name: str) -> FloatArray:
    mass = np.asarray(weights, dtype=np.float64)
    if mass.ndim != 1 or not (np.all(mass >= 0) and np.isfinite(mass).all() and mass.sum() > 0):
        raise DomainError(f"Argument `{name}` must be finite, nonnegative and not all 0, but is {mass}.")
    shares: FloatArray = mass / mass.sum()
    return shares
