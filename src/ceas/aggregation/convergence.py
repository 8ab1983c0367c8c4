"""What training by robust aggregation is guaranteed to reach, as curves over its steps.

Setting: theta moves by -step_size * R, `R = grad L + xi + e`. L is the honest nodes' objective under fixed weights w
(normalised over them); xi is the weighted mean of their independent, unbiased noise; e is the rule's error, of which
kappa bounds the square by kappa times the spread of the honest updates. Write `x = |grad L|^2`, `V = E |xi|^2`,
`Q = sum_i w_i (1 - w_i) v_i`, and let the gradients' own spread be at most `G^2 + B^2 x`.

Derivation. With phi = step_size * L <= 1, smoothness and `-<g, g + b> + |g + b|^2 / 2 = (|b|^2 - |g|^2) / 2` give
    E L_next - L <= (step_size / 2) (-x + c E|e|^2 + phi V c / (c - phi))  for every c >= 1 (Young's inequality)
and E|e|^2 <= kappa (G^2 + B^2 x + Q), so that with a = 1 - c kappa B^2 and F = c kappa (G^2 + Q) + phi V c / (c - phi)
    sum over steps:         mean of E x over t steps <= (2 (L_0 - L_*) / (step_size t) + F) / a,
    x >= 2 mu (L - L_*):    E L_t - L_* <= r^t (L_0 - L_*) + (1 - r^t) F / (2 mu a),   r = 1 - step_size mu a.
The curves are the least over a fixed grid of c, so that they are monotone in every constant. With no noise and phi = 1
they are the known deterministic bounds; with no attackers, those of stochastic gradient descent. The variant
`a = 1 - 3 kappa B^2, F = 3 kappa (G^2 + Q) + 4 phi V` with twice the first term (phi <= 1/4), by splitting |R|^2 more
coarsely, is never below: it refuses from a third of the slope on.

Residual miscalibration epsilon: node i's expected update is (1 + delta_i) times its gradient, |delta_i| <= epsilon.
That moves the weighted mean by at most `epsilon sqrt(G^2 + (1 + B^2) x)`, and it widens the spread that the rule's
error is measured by, to `(1 + eta)(G^2 + B^2 x) + (1 + 1/eta) epsilon^2 (G^2 + (1 + B^2) x)`; both are joined by
Young's inequality, with eta from a grid.

All bounds hold in expectation over shots and batches, for any attackers that see everything, and only as far as their
constants do: see `ceas.aggregation.constants` on which of them are upper bounds when estimated from a run.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "TrainingConstants",
    "gradient_floor",
    "momentum_bound",
    "noise_terms",
    "nonconvex_bound",
    "objective_shift",
    "pl_bound",
]

FloatArray = NDArray[np.float64]

# Grids of Young's parameters. They are fixed, not optimised: only so is the least over them monotone.
_YOUNG = np.geomspace(1.0, 1e6, 241)
_ETA = np.geomspace(1e-6, 1e6, 121)
_MOMENTUM_GRID = np.geomspace(1e-2, 1e2, 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConstants:
    """Constants of the bounds.

    Attributes:
        smoothness: L > 0, the largest rate at which the gradient of the honest objective changes.
        initial_gap: L_0 - L_* >= 0.
        kappa: Of the rule for the honest weights, >= 0; see `ceas.aggregation.resilience`.
        dissimilarity: G^2 >= 0.
        dissimilarity_slope: B^2 >= 0: `sum_i w_i |grad_i - grad|^2 <= G^2 + B^2 |grad|^2`.
        noise_of_mean: V >= 0, variance of the weighted mean's noise, summed over parameters; see `noise_terms`.
        noise_of_spread: Q >= 0.
        pl_constant: mu in (0, L], with `|grad|^2 >= 2 mu (L - L_*)` wherever training goes; needed by `pl_bound`.
        miscalibration: epsilon >= 0; largest relative error of the factor that an honest update is divided by.

    Raises:
        DomainError: A constant is out of its range or not finite.
    """

    smoothness: float
    initial_gap: float
    kappa: float
    dissimilarity: float = 0.0
    dissimilarity_slope: float = 0.0
    noise_of_mean: float = 0.0
    noise_of_spread: float = 0.0
    pl_constant: float | None = None
    miscalibration: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise DomainError(f"Argument `{name}` must be finite and at least 0, but is {value}.")
        if self.smoothness == 0:
            raise DomainError("Argument `smoothness` must be positive, but is 0.")
        if self.pl_constant is not None and not 0 < self.pl_constant <= self.smoothness:
            raise DomainError(
                f"Argument `pl_constant` must be in (0, smoothness = {self.smoothness}], but is {self.pl_constant}."
            )


def noise_terms(weights: ArrayLike, variances: ArrayLike) -> tuple[float, float]:
    """Return V = sum w_i^2 v_i and Q = sum w_i (1 - w_i) v_i for weights normalised over the honest nodes.

    V is the variance of the weighted mean, Q the expected weighted spread about it, of independent noise.

    Args:
        weights: Nonnegative, shape (m,), not all 0.
        variances: Noise variance v_i of each node's update, summed over parameters, shape (m,), nonnegative.

    Raises:
        DomainError: Shapes differ or an entry is out of its range.
    """
    shares, noise = _shares(weights), np.asarray(variances, dtype=np.float64)
    if noise.shape != shares.shape or not np.all(noise >= 0):
        raise DomainError(f"Argument `variances` must be nonnegative with shape {shares.shape}, but is {noise}.")
    return float(shares**2 @ noise), float((shares * (1 - shares)) @ noise)


def objective_shift(weights: ArrayLike, between_variance: float) -> float:
    """Return (n sum w^2 - 1) D^2, the most that the squared gradient of the weighted objective is off the uniform one.

    D^2 is `1/n sum_i |grad_i - grad|^2` at the same parameters. By Cauchy and Schwarz; attained when the gradients
    deviate in one direction in proportion to w_i - 1/n.

    Args:
        weights: Nonnegative, shape (n,), not all 0; normalised here.
        between_variance: D^2 >= 0.

    Raises:
        DomainError: An argument is out of its range.
    """
    shares = _shares(weights)
    if not between_variance >= 0:
        raise DomainError(f"Argument `between_variance` must be at least 0, but is {between_variance}.")
    return max(0.0, len(shares) * float(shares @ shares) - 1) * between_variance


def gradient_floor(n_nodes: int, n_byzantine: int, *, dissimilarity: float, dissimilarity_slope: float = 0.0) -> float:
    """Return f G^2 / (n - (2 + B^2) f): what no method can bring |grad L_H|^2 below on every instance.

    Instance that proves it: of n losses in one parameter, n - 2f are `curvature/2 theta^2`, f are `(theta - 1)^2 / 2`
    and f are `(theta + 1)^2 / 2`; the last two take turns at being the attackers, which behave. With curvature
    ((1 - p) - B^2 p) / ((1 - p)(1 + B^2)), p = f/(n - f), the spread is at most G^2 + B^2 |grad|^2 everywhere, with
    equality at 0, and |grad| at the worse of both honest objectives is least at 0. The trimmed mean attains it:
    with kappa = f/(n - 2f) it equals `kappa G^2 / (1 - kappa B^2)`, the limit of `nonconvex_bound` without noise.

    Args:
        n_nodes: n.
        n_byzantine: f, with f/n < 1/(2 + B^2).
        dissimilarity: G^2 >= 0.
        dissimilarity_slope: B^2 >= 0.

    Raises:
        DomainError: Beyond breakdown, or a constant is negative.

    Source:
        Allouah et al., NeurIPS 2023, arXiv 2309.13591, theorem 1, whose constant is recalled as 1/4 in place of 1.
    """
    if n_byzantine < 0 or not (dissimilarity >= 0 and dissimilarity_slope >= 0):
        raise DomainError(
            f"Arguments f, G^2 and B^2 must be at least 0, but are {n_byzantine}, {dissimilarity} and "
            f"{dissimilarity_slope}."
        )
    margin = n_nodes - (2 + dissimilarity_slope) * n_byzantine
    if margin <= 0:
        raise DomainError(
            f"Beyond breakdown: n - (2 + B^2) f must be positive, but is {margin:g} for n={n_nodes}, f={n_byzantine}, "
            f"B^2={dissimilarity_slope:g}."
        )
    return n_byzantine * dissimilarity / margin


def nonconvex_bound(constants: TrainingConstants, *, step_size: float, n_steps: int) -> FloatArray:
    """Return the bound on the mean of E |grad L|^2 over the first t steps.

    Needs smoothness alone. Without noise and with step size 1/L it is the deterministic bound
    `kappa G^2 / (1 - kappa B^2) + 2 L (L_0 - L_*) / ((1 - kappa B^2) t)`.

    Args:
        constants: See `TrainingConstants`; `pl_constant` is not used.
        step_size: In (0, 1/L].
        n_steps: T >= 1.

    Returns:
        Shape (T,): entry t - 1 bounds the mean over the points that steps 1 to t started from.

    Raises:
        DomainError: The step is too long, or the constants are beyond breakdown.

    Source:
        Allouah et al., NeurIPS 2023, arXiv 2309.13591 (deterministic); otherwise derived in the head of this module.
    """
    choices, steps = _choices(constants, step_size), np.arange(1, _checked_steps(n_steps) + 1)
    start = 2 * constants.initial_gap / (step_size * steps)
    return _least(np.asarray((start + floor) / slope) for slope, floor in choices)


def pl_bound(constants: TrainingConstants, *, step_size: float, n_steps: int) -> FloatArray:
    """Return the bound on E L_t - L_* under the Polyak-Lojasiewicz inequality.

    Without noise and with step size 1/L it tends to `kappa G^2 / (2 mu (1 - kappa B^2))`, the deterministic bound.

    Args:
        constants: With `pl_constant`.
        step_size: In (0, 1/L].
        n_steps: T >= 1.

    Returns:
        Shape (T + 1,), t = 0 to T.

    Raises:
        DomainError: No `pl_constant`, the step is too long, or the constants are beyond breakdown.

    Source:
        As `nonconvex_bound`.
    """
    if constants.pl_constant is None:
        raise DomainError("Argument `constants` must have a `pl_constant`, but has none.")
    steps, mu = np.arange(_checked_steps(n_steps) + 1), constants.pl_constant

    def curve(slope: float, floor: float) -> FloatArray:
        left = (1 - step_size * mu * slope) ** steps
        bound: FloatArray = left * constants.initial_gap + (1 - left) * floor / (2 * mu * slope)
        return bound

    return _least(curve(slope, floor) for slope, floor in _choices(constants, step_size))


def momentum_bound(
    constants: TrainingConstants, *, step_size: float, n_steps: int, momentum: float, is_corrected: bool = True
) -> FloatArray:
    """Return the bound on the mean of E |grad L|^2 when nodes send `m <- beta m + (1 - beta) g` in place of gradients.

    Lyapunov function: L - L_* and C times the squared distance d of the honest mean momentum from the gradient, where
    `C = step_size (1 + 1/eta) / (2 (1 - beta))`, for every eta with `(1 + 1/eta) (beta phi / (1 - beta))^2 <= 1 - phi`.
    With u_t = 1 - beta, or (1 - beta)/(1 - beta^(t+1)) when corrected, and means over the first t steps, it gives
    `[2 (L_0 - L_* + C D) / (step_size t) + (1 + eta) kappa S + (1 + 1/eta) V mean(u^2) / (1 - beta)] / a` with
    `a = 1 - (1 + eta) kappa B'^2`. D is 0 when corrected, else 2 beta^2 L (L_0 - L_*). S and B'^2 bound the momenta's
    spread: G^2 + Q and omega B^2 by convexity, or `(1 + zeta) G^2 + (1 + 1/zeta) Q'` and (1 + zeta) omega B^2, where Q'
    is the noise left in momenta. omega is the weight that the first gradient has in all momenta together: 1, or when
    corrected 1.61 at beta = 0.5 and 3.01 at 0.9. The least over grids of eta and zeta is returned.

    Proved: this, for constant beta and every honest node sending in every step. Not proved: that Q may simply be
    divided by (1 + beta)/(1 - beta) (noise so far and later gradients are correlated, hence zeta); nodes that miss
    steps; a bound under the Polyak-Lojasiewicz inequality; that momentum protects from attacks coupled over time better
    than this bound, which is for any attack, says.

    Args:
        constants: As for `nonconvex_bound`; `miscalibration` must be 0.
        step_size: Positive; at most about (1 - beta)/(2 L).
        n_steps: T >= 1.
        momentum: beta in [0, 1).
        is_corrected: Whether momenta are divided by 1 - beta^t, as those of a run are; else they start from 0.

    Returns:
        Shape (T,).

    Raises:
        DomainError: An argument is out of its range, the step is too long or the constants are beyond breakdown.
    """
    if not 0 <= momentum < 1:
        raise DomainError(f"Argument `momentum` must be in [0, 1), but is {momentum}.")
    if constants.miscalibration > 0:
        raise DomainError(f"Argument `miscalibration` must be 0 with momentum, but is {constants.miscalibration}.")
    usable = _usable_eta(constants, step_size, momentum)
    steps = np.arange(1, _checked_steps(n_steps) + 1)
    fresh = (1 - momentum) / (1 - momentum**steps) if is_corrected else np.full(n_steps, 1 - momentum)
    # Of the first gradient in the momentum of each step; later gradients have less in all steps together.
    share = float(np.sum(momentum ** (steps - 1) * fresh)) if is_corrected else 1.0
    reduced = constants.noise_of_spread * (1 - momentum) / (1 + momentum)
    remaining = reduced * (1 + momentum**steps) / (1 - momentum**steps) if is_corrected else np.full(n_steps, reduced)
    noise = constants.noise_of_mean * np.cumsum(fresh**2) / steps / (1 - momentum)
    remaining = np.cumsum(remaining) / steps
    gap = constants.initial_gap
    lag = 0.0 if is_corrected else 2 * momentum**2 * constants.smoothness * gap

    def curve(eta: float, slope: float, spread: FloatArray) -> FloatArray:
        start = gap + lag * step_size * (1 + 1 / eta) / (2 * (1 - momentum))
        rule = (1 + eta) * constants.kappa * spread
        bound: FloatArray = (2 * start / (step_size * steps) + rule + (1 + 1 / eta) * noise) / slope
        return bound

    slope_of_spread = share * constants.dissimilarity_slope
    spreads = [(1.0, np.full(n_steps, constants.dissimilarity + constants.noise_of_spread))]
    spreads += [
        (1 + zeta, (1 + zeta) * constants.dissimilarity + (1 + 1 / zeta) * remaining)
        for zeta in _MOMENTUM_GRID.tolist()
    ]
    found = [
        (eta, 1 - (1 + eta) * constants.kappa * slope_of_spread * factor, spread)
        for eta in usable
        for factor, spread in spreads
    ]
    _refuse_without_slope(constants, max(slope for _, slope, _ in found), share)
    return _least(curve(eta, slope, spread) for eta, slope, spread in found if slope > 0)


def _usable_eta(constants: TrainingConstants, step_size: float, momentum: float) -> list[float]:
    phi = _relative_step(constants, step_size)
    drift = (momentum * phi / (1 - momentum)) ** 2
    usable = _MOMENTUM_GRID[(1 + 1 / _MOMENTUM_GRID) * drift <= 1 - phi]
    if not len(usable):
        raise DomainError(
            f"Argument `step_size` is too long for momentum {momentum}: (beta step L / (1 - beta))^2 must be below "
            f"1 - step L, but is {drift:g} against {1 - phi:g}."
        )
    found: list[float] = usable.tolist()
    return found


def _choices(constants: TrainingConstants, step_size: float) -> list[tuple[float, float]]:
    """Pairs (a, F) over the grids of Young's parameters, without those that another is better than in both."""
    phi = _relative_step(constants, step_size)
    error_slope, error_floor = _error_of_rule(constants)
    young = _YOUNG[:, None]
    slopes = 1 - young * error_slope
    with np.errstate(divide="ignore"):
        noise = phi * constants.noise_of_mean * young / (young - phi) if constants.noise_of_mean else 0.0 * young
    floors = young * error_floor + noise
    _refuse_without_slope(constants, float(slopes.max()))
    # Both curves grow with 1/a and with F, whatever the gap that training starts from.
    return [(1 / inverse, floor) for inverse, floor in _undominated(slopes, (_inverse(slopes), floors))]


def _error_of_rule(constants: TrainingConstants) -> tuple[FloatArray, FloatArray]:
    """Coefficients of x and of 1 in the bound on E |e|^2, one entry per eta."""
    G2, B2, epsilon2 = constants.dissimilarity, constants.dissimilarity_slope, constants.miscalibration**2
    if epsilon2 == 0:
        return np.array([constants.kappa * B2]), np.array([constants.kappa * (G2 + constants.noise_of_spread)])
    rule, bias = (1 + _ETA) * constants.kappa, (1 + 1 / _ETA) * epsilon2
    slope = rule * ((1 + _ETA) * B2 + bias * (1 + B2)) + bias * (1 + B2)
    floor = rule * ((1 + _ETA) * G2 + bias * G2 + constants.noise_of_spread) + bias * G2
    return slope, floor


def _inverse(slopes: FloatArray) -> FloatArray:
    inverse: FloatArray = 1 / np.where(slopes > 0, slopes, 1.0)
    return inverse


def _undominated(slopes: FloatArray, curves: tuple[FloatArray, FloatArray]) -> list[tuple[float, float]]:
    """Pairs of entries of both curves where the slope is positive and no other pair is as small in both."""
    is_valid = (slopes > 0) & np.isfinite(curves[1])
    first, second = (np.broadcast_to(curve, slopes.shape)[is_valid] for curve in curves)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    is_better = np.concatenate([[True], second[1:] < np.minimum.accumulate(second)[:-1]])
    return list(zip(first[is_better].tolist(), second[is_better].tolist(), strict=True))


def _least(curves: Iterable[FloatArray]) -> FloatArray:
    """Pointwise minimum."""
    return functools.reduce(np.minimum, curves)


def _relative_step(constants: TrainingConstants, step_size: float) -> float:
    phi = step_size * constants.smoothness
    if not 0 < phi <= 1 + 1e-12:
        raise DomainError(
            f"Argument `step_size` must be in (0, 1/L], L = {constants.smoothness:g}, but is {step_size:g}: nothing is "
            f"guaranteed for steps longer than {1 / constants.smoothness:g}."
        )
    return min(phi, 1.0)


def _refuse_without_slope(constants: TrainingConstants, slope: float, share: float = 1.0) -> None:
    if slope <= 0:
        momentum = f" times {share:.3g} by the start of momentum" if share > 1 else ""
        raise DomainError(
            f"Beyond breakdown: a = 1 - kappa B^2, less what miscalibration and momentum cost, must be positive, but "
            f"is {slope:g} for kappa={constants.kappa:g}, B^2={constants.dissimilarity_slope:g}{momentum}, "
            f"epsilon={constants.miscalibration:g}: nothing is guaranteed."
        )


def _checked_steps(n_steps: int) -> int:
    if n_steps < 1:
        raise DomainError(f"Argument `n_steps` must be at least 1, but is {n_steps}.")
    return n_steps


def _shares(weights: ArrayLike) -> FloatArray:
    mass = np.asarray(weights, dtype=np.float64)
    if mass.ndim != 1 or not (np.all(mass >= 0) and np.isfinite(mass).all() and mass.sum() > 0):
        raise DomainError(f"Argument `weights` must be finite, nonnegative and not all 0, but is {mass}.")
    shares: FloatArray = mass / mass.sum()
    return shares
