"""Bounds on training: limits, attained instances, simulations that must stay below, refusals.

Simulations are seeded, so that no test fails by chance; where a mean over runs is held against a bound in expectation,
the margin is stated. Quadratics: node i's gradient is `(1 + d_i) A theta - c_i` with d and c centred and uncorrelated
over the honest nodes, so that the spread is exactly `mean |c|^2 + mean d^2 |grad|^2` and G^2, B^2 are known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas.aggregation.convergence import (
    TrainingConstants,
    gradient_floor,
    momentum_bound,
    noise_terms,
    nonconvex_bound,
    objective_shift,
    pl_bound,
)
from ceas.aggregation.resilience import kappa_bound, weighted_kappa_bound
from ceas.errors import DomainError

FloatArray = NDArray[np.float64]

N, F, PARAMETERS, RUNS, STEPS = 50, 10, 8, 20, 150
KAPPA = kappa_bound("trimmed_mean", N, F)


def trimmed_mean(updates: FloatArray) -> FloatArray:
    """Trimmed mean over axis 1 of shape (runs, n, P); the package's takes one run at a time."""
    return np.sort(updates, axis=1)[:, F:-F].mean(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic:
    matrix: FloatArray
    tilts: FloatArray
    offsets: FloatArray
    variances: FloatArray
    start: FloatArray

    def constants(self, **changes: float) -> TrainingConstants:
        eigenvalues = np.linalg.eigvalsh(self.matrix)
        v, q = noise_terms(np.ones(N - F), self.variances)
        constants = TrainingConstants(
            smoothness=float(eigenvalues[-1]),
            pl_constant=float(eigenvalues[0]),
            initial_gap=float(self.start @ self.matrix @ self.start) / 2,
            kappa=KAPPA,
            dissimilarity=float(np.mean(np.sum(self.offsets**2, axis=1))),
            dissimilarity_slope=float(np.mean(self.tilts**2)),
            noise_of_mean=v,
            noise_of_spread=q,
        )
        return replace(constants, **changes)  # type: ignore[arg-type]


def draw_quadratic(seed: int, *, tilt: float, offset: float, noise: float) -> Quadratic:
    rng = np.random.default_rng([seed, 7])
    basis, _ = np.linalg.qr(rng.normal(size=(PARAMETERS, PARAMETERS)))
    honest = N - F
    tilts = rng.normal(size=honest)
    tilts -= tilts.mean()
    tilts *= tilt / np.sqrt(np.mean(tilts**2))
    offsets = rng.normal(size=(honest, PARAMETERS)) * np.exp(rng.normal(size=PARAMETERS))
    known = np.linalg.qr(np.column_stack([np.ones(honest), tilts]))[0] if tilt else np.ones((honest, 1)) / honest**0.5
    offsets -= known @ (known.T @ offsets)
    offsets *= offset / np.sqrt(np.mean(np.sum(offsets**2, axis=1)))
    return Quadratic(
        matrix=basis * np.geomspace(0.1, 1.0, PARAMETERS) @ basis.T,
        tilts=tilts,
        offsets=offsets,
        variances=noise * np.exp(rng.normal(size=honest)),
        start=3 * rng.normal(size=PARAMETERS),
    )


Attack = Callable[[FloatArray, FloatArray], FloatArray]


def a_little(z: float) -> Attack:
    return lambda honest, _: honest.mean(axis=1) + z * honest.std(axis=1, ddof=1)


def opposed(factor: float) -> Attack:
    return lambda _, gradient: -factor * gradient


def simulate(
    problem: Quadratic,
    attack: Attack,
    *,
    step_size: float,
    momentum: float = 0.0,
    is_corrected: bool = False,
    factors: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Mean over RUNS of |grad|^2 before each of STEPS steps, shape (T,), and of L - L_*, shape (T + 1,)."""
    rng = np.random.default_rng(11)
    honest = N - F
    theta = np.repeat(problem.start[None], RUNS, axis=0)
    memory = np.zeros((RUNS, honest, PARAMETERS))
    deviation = np.sqrt(problem.variances / PARAMETERS)[:, None]
    squares, gaps = [], []
    for step in range(STEPS):
        gradient = theta @ problem.matrix
        squares.append(np.mean(np.sum(gradient**2, axis=1)))
        gaps.append(np.mean(np.sum(gradient * theta, axis=1)) / 2)
        own = (1 + problem.tilts)[:, None] * gradient[:, None] - problem.offsets
        own = own if factors is None else factors[:, None] * own
        memory = momentum * memory + (1 - momentum) * (own + deviation * rng.normal(size=memory.shape))
        sent = memory / (1 - momentum ** (step + 1)) if is_corrected else memory
        poison = np.repeat(attack(sent, gradient)[:, None], F, axis=1)
        theta = theta - step_size * trimmed_mean(np.concatenate([sent, poison], axis=1))
    gaps.append(np.mean(np.sum((theta @ problem.matrix) * theta, axis=1)) / 2)
    return np.array(squares), np.array(gaps)


def coarse_nonconvex(constants: TrainingConstants, step_size: float) -> float:
    """The variant with a = 1 - 3 kappa B^2 after STEPS steps; infinity where it refuses."""
    slope = 1 - 3 * constants.kappa * constants.dissimilarity_slope
    if slope <= 0:
        return math.inf
    error = 3 * constants.kappa * (constants.dissimilarity + constants.noise_of_spread)
    noise = 4 * constants.smoothness * step_size * constants.noise_of_mean
    return (4 * constants.initial_gap / (step_size * STEPS) + error + noise) / slope


def running_mean(values: FloatArray) -> FloatArray:
    return np.cumsum(values) / np.arange(1, len(values) + 1)


PROBLEMS = [
    {"seed": 0, "tilt": 0.0, "offset": 0.0, "noise": 4.0},
    {"seed": 1, "tilt": 0.0, "offset": 1.0, "noise": 0.5},
    {"seed": 2, "tilt": 0.5, "offset": 1.0, "noise": 0.5},
    {"seed": 3, "tilt": 0.5, "offset": 0.3, "noise": 4.0},
    {"seed": 4, "tilt": 1.0, "offset": 0.5, "noise": 1.0},
    {"seed": 5, "tilt": 1.2, "offset": 2.0, "noise": 0.1},
]
ATTACKS = {
    "alie3": a_little(3),
    "alie1": a_little(1),
    "alie-1": a_little(-1),
    "ipm.5": opposed(0.5),
    "ipm3": opposed(3),
}


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: f"tilt{problem['tilt']}-noise{problem['noise']}")
@pytest.mark.parametrize("attack", ATTACKS)
def test_training_stays_below_both_bounds(problem: dict[str, float], attack: str) -> None:
    """n = 50, f = 10, heteroscedastic noise, mean of 20 runs at all 150 steps: at most 0.75 of the bounds after 20."""
    quadratic, step_size = draw_quadratic(**problem), 0.25  # type: ignore[arg-type]
    squares, gaps = simulate(quadratic, ATTACKS[attack], step_size=step_size)
    constants = quadratic.constants()
    means, bound = running_mean(squares), nonconvex_bound(constants, step_size=step_size, n_steps=STEPS)
    assert np.all(means <= bound)
    curve = pl_bound(constants, step_size=step_size, n_steps=STEPS)
    assert curve[0] == pytest.approx(gaps[0])
    assert np.all(gaps <= curve * (1 + 1e-12))
    assert np.all(means[20:] <= 0.75 * bound[20:])
    assert bound[-1] <= coarse_nonconvex(constants, step_size)


def weighted_trimmed_mean(updates: FloatArray, weights: FloatArray, mass: float) -> FloatArray:
    """Over axis 1 of shape (runs, n, P), with the part `mass` of all weight trimmed a side."""
    order = np.argsort(updates, axis=1)
    ends = np.cumsum((weights / weights.sum())[order], axis=1)
    kept = np.clip(ends, mass, 1 - mass) - np.clip(np.roll(ends, 1, axis=1) * (ends != ends[:, :1]), mass, 1 - mass)
    kept[:, 0] = np.clip(ends[:, 0], mass, 1 - mass) - mass
    return np.asarray(np.sum(kept * np.take_along_axis(updates, order, axis=1), axis=1) / kept.sum(axis=1))


@pytest.mark.parametrize(("spread", "is_weighting_better"), [(0.2, True), (1.0, False)])
def test_the_bound_tells_whether_weights_pay_under_attack(spread: float, is_weighting_better: bool) -> None:
    """Two groups of noise variances 0.5 and 20, weights 1/(1 + v); attackers claim the best, q = 0.32 of all weight.

    Weights lower Q by a factor of 5.6, but raise kappa from 0.33 to 0.88: worth it where G^2 is 0.3, not where it is 8.
    """
    rng, honest = np.random.default_rng(8), N - F
    variances = np.repeat([0.5, 20.0], [honest // 2, honest - honest // 2])
    matrix, start, reached, bounds = np.diag(np.geomspace(0.1, 1.0, PARAMETERS)), np.full(PARAMETERS, 2.0), [], []
    raw = spread * rng.normal(size=(honest, PARAMETERS))
    for weights in (1 / (1 + variances), np.ones(honest)):
        all_weights = np.concatenate([weights, np.full(F, weights.max())])
        mass = F * weights.max() / all_weights.sum()
        shares = weights / weights.sum()
        offsets = raw - shares @ raw
        v, q = noise_terms(weights, variances)
        constants = TrainingConstants(
            smoothness=1.0, initial_gap=float(start @ matrix @ start) / 2,
            kappa=weighted_kappa_bound("trimmed_mean", mass), dissimilarity=float(shares @ np.sum(offsets**2, axis=1)),
            noise_of_mean=v, noise_of_spread=q, pl_constant=0.1,
        )  # fmt: skip
        theta, squares = np.repeat(start[None], RUNS, axis=0), []
        for _ in range(STEPS):
            gradient = theta @ matrix
            squares.append(np.mean(np.sum(gradient**2, axis=1)))
            noise = rng.normal(size=(RUNS, honest, PARAMETERS)) * np.sqrt(variances / PARAMETERS)[:, None]
            own = gradient[:, None] - offsets + noise
            poison = np.repeat((shares @ own + own.std(axis=1))[:, None], F, axis=1)
            theta = theta - 0.25 * weighted_trimmed_mean(np.concatenate([own, poison], axis=1), all_weights, mass)
        bound = nonconvex_bound(constants, step_size=0.25, n_steps=STEPS)
        assert np.all(running_mean(np.array(squares)) <= bound)
        reached.append(running_mean(np.array(squares))[-1])
        bounds.append(bound[-1])
    assert (reached[0] < reached[1]) == (bounds[0] < bounds[1]) == is_weighting_better


def test_without_attackers_it_is_stochastic_gradient_descent() -> None:
    constants = TrainingConstants(
        smoothness=2.0, initial_gap=3.0, kappa=0.0, dissimilarity=5.0, dissimilarity_slope=7.0, noise_of_mean=0.4,
        noise_of_spread=9.0, pl_constant=0.5,
    )  # fmt: skip
    t = np.arange(1, 101)
    expected = 2 * 3.0 / (0.2 * t) + 2.0 * 0.2 * 0.4
    np.testing.assert_allclose(nonconvex_bound(constants, step_size=0.2, n_steps=100), expected, rtol=1e-5)
    left = (1 - 0.2 * 0.5) ** np.arange(101)
    expected = left * 3.0 + (1 - left) * 2.0 * 0.2 * 0.4 / (2 * 0.5)
    np.testing.assert_allclose(pl_bound(constants, step_size=0.2, n_steps=100), expected, rtol=1e-5)


def test_without_noise_it_is_the_deterministic_bound() -> None:
    constants = TrainingConstants(
        smoothness=2.0, initial_gap=3.0, kappa=0.3, dissimilarity=5.0, dissimilarity_slope=1.5, pl_constant=0.5
    )
    slope, t = 1 - 0.3 * 1.5, np.arange(1, 51)
    expected = 0.3 * 5 / slope + 2 * 2.0 * 3.0 / (slope * t)
    np.testing.assert_allclose(nonconvex_bound(constants, step_size=0.5, n_steps=50), expected, rtol=1e-12)
    bound = pl_bound(constants, step_size=0.5, n_steps=50)
    expected = 0.3 * 5 / (2 * 0.5 * slope) + (1 - 0.5 / 2.0 * slope) ** np.arange(51) * 3.0
    assert np.all(bound <= expected)
    assert bound[-1] == pytest.approx(0.3 * 5 / (2 * 0.5 * slope), rel=0.01)


def test_noise_bound_is_within_a_factor_of_two_of_plain_descent() -> None:
    """Isotropic quadratic, no attackers: the stationary gap is gamma V / (2 (2 - gamma L)) exactly."""
    for step_size in (0.01, 0.3, 1.0):
        constants = TrainingConstants(smoothness=1.0, initial_gap=0.0, kappa=0.0, noise_of_mean=2.0, pl_constant=1.0)
        bound = pl_bound(constants, step_size=step_size, n_steps=5000)[-1]
        exact = step_size * 2.0 / (2 * (2 - step_size))
        assert bound / exact == pytest.approx(2 - step_size, rel=1e-4)


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0])
def test_trimmed_mean_attains_the_floor_of_all_methods(slope: float) -> None:
    """The instance of `gradient_floor`, built as its docstring says: spread, limit of training, floor and bound."""
    n, f = 50, 10
    p = f / (n - f)
    curvature = ((1 - p) - slope * p) / ((1 - p) * (1 + slope))
    curvatures, centres = np.repeat([curvature, 1.0, 1.0], [n - 2 * f, f, f]), np.repeat([0.0, 1.0, -1.0], [30, 10, 10])
    dissimilarity = p * (1 - p) - slope * p**2
    for theta in np.linspace(-5, 5, 41):
        gradients = (curvatures * (theta - centres))[: n - f]
        assert gradients.var() <= dissimilarity + slope * gradients.mean() ** 2 + 1e-12
    theta = 4.0
    for _ in range(400):
        theta -= 0.5 * float(np.sort(curvatures * (theta - centres))[f:-f].mean())
    reached = max(
        float((curvatures * (theta - centres))[honest].mean()) ** 2
        for honest in (slice(0, n - f), np.r_[0 : n - 2 * f, n - f : n])
    )
    floor = gradient_floor(n, f, dissimilarity=dissimilarity, dissimilarity_slope=slope)
    assert reached == pytest.approx(floor, rel=1e-9)
    constants = TrainingConstants(
        smoothness=1.0, initial_gap=1.0, kappa=kappa_bound("trimmed_mean", n, f), dissimilarity=dissimilarity,
        dissimilarity_slope=slope,
    )  # fmt: skip
    assert nonconvex_bound(constants, step_size=1.0, n_steps=10**6)[-1] == pytest.approx(floor, rel=1e-4)
    best = min(
        max(float(np.mean((curvatures * (at - centres))[kept])) ** 2 for kept in (slice(0, 40), np.r_[0:30, 40:50]))
        for at in np.linspace(-3, 3, 601)
    )
    assert best == pytest.approx(floor, rel=1e-9)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("problem", [PROBLEMS[0], PROBLEMS[2], PROBLEMS[4]], ids=["noise", "both", "tilt"])
def test_training_with_momentum_stays_below_its_bound(problem: dict[str, float], attack: str) -> None:
    quadratic = draw_quadratic(**problem)  # type: ignore[arg-type]
    for momentum, step_size, is_corrected in ((0.5, 0.2, False), (0.9, 0.04, False), (0.9, 0.04, True)):
        settings_of_momentum = {"step_size": step_size, "momentum": momentum, "is_corrected": is_corrected}
        squares, _ = simulate(quadratic, ATTACKS[attack], **settings_of_momentum)  # type: ignore[arg-type]
        if is_corrected and problem["tilt"] == 1:  # kappa B^2 = 1/3 times the first gradient's share is too much
            with pytest.raises(DomainError, match=r"B\^2=1 times 3\.01"):
                momentum_bound(quadratic.constants(), n_steps=STEPS, **settings_of_momentum)  # type: ignore[arg-type]
            continue
        bound = momentum_bound(quadratic.constants(), n_steps=STEPS, **settings_of_momentum)  # type: ignore[arg-type]
        assert np.all(running_mean(squares) <= bound)


def test_momentum_lowers_the_floor_where_the_rule_amplifies_noise() -> None:
    """kappa Q dominates: beta = 0.99 at a fitting step brings the limit below a half of what it is without."""
    constants = TrainingConstants(smoothness=1.0, initial_gap=1.0, kappa=1.0, noise_of_mean=0.02, noise_of_spread=1.0)
    plain = nonconvex_bound(constants, step_size=0.003, n_steps=10**5)[-1]
    heavy = momentum_bound(constants, step_size=0.003, n_steps=10**5, momentum=0.99)[-1]
    assert heavy < plain / 2


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_miscalibrated_updates_stay_below_the_wider_bound(epsilon: float) -> None:
    """Worst split of the honest factors 1 +- epsilon: along the tilts, so that the spread grows most."""
    for problem in (PROBLEMS[1], PROBLEMS[2]):
        quadratic = draw_quadratic(**problem)  # type: ignore[arg-type]
        factors = [1 + epsilon * np.sign(quadratic.tilts + 1e-9), np.full(N - F, 1 - epsilon), 1 + epsilon * np.sign(
            quadratic.offsets[:, 0])]  # fmt: skip
        constants = quadratic.constants(miscalibration=epsilon)
        bound = nonconvex_bound(constants, step_size=0.25, n_steps=STEPS)
        curve = pl_bound(constants, step_size=0.25, n_steps=STEPS)
        for factor in factors:
            squares, gaps = simulate(quadratic, a_little(3), step_size=0.25, factors=factor)
            assert np.all(running_mean(squares) <= bound)
            assert np.all(gaps <= curve * (1 + 1e-12))


def test_miscalibration_vanishes_continuously() -> None:
    constants = draw_quadratic(2, tilt=0.5, offset=1.0, noise=0.5).constants()
    exact = nonconvex_bound(constants, step_size=0.25, n_steps=20)
    np.testing.assert_allclose(
        nonconvex_bound(replace(constants, miscalibration=1e-7), step_size=0.25, n_steps=20), exact, rtol=1e-5
    )
    # No attackers, no noise: the gradient that training sees is off by epsilon |grad| at most.
    alone = TrainingConstants(smoothness=1.0, initial_gap=1.0, kappa=0.0, dissimilarity=2.0, miscalibration=0.1)
    bound = nonconvex_bound(alone, step_size=1.0, n_steps=10**6)[-1]
    assert bound == pytest.approx(0.01 * 2.0 / (1 - 0.01), rel=2e-4)


POSITIVE = st.floats(0.01, 5)
FIELDS = (
    "smoothness", "initial_gap", "kappa", "dissimilarity", "dissimilarity_slope", "noise_of_mean", "noise_of_spread",
    "miscalibration",
)  # fmt: skip


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data(), field=st.sampled_from(FIELDS), factor=st.floats(1, 1.5))
def test_bounds_grow_with_every_constant(data: st.DataObject, field: str, factor: float) -> None:
    constants = TrainingConstants(
        smoothness=data.draw(st.floats(0.02, 5)),
        initial_gap=data.draw(POSITIVE),
        kappa=data.draw(st.floats(0, 0.4)),
        dissimilarity=data.draw(POSITIVE),
        dissimilarity_slope=data.draw(st.floats(0, 1)),
        noise_of_mean=data.draw(POSITIVE),
        noise_of_spread=data.draw(POSITIVE),
        pl_constant=0.01,
        miscalibration=data.draw(st.sampled_from([0.0, 0.01, 0.05])),
    )
    larger = replace(constants, **{field: getattr(constants, field) * factor})
    step_size = 0.3 / larger.smoothness

    def momentum_or_none(chosen: TrainingConstants) -> FloatArray:
        without = replace(chosen, miscalibration=0.0)
        return momentum_bound(without, step_size=step_size, n_steps=40, momentum=0.5)

    for bound in (
        lambda chosen: nonconvex_bound(chosen, step_size=step_size, n_steps=40),
        lambda chosen: pl_bound(chosen, step_size=step_size, n_steps=40),
        momentum_or_none,
    ):
        assert np.all(bound(larger) >= bound(constants) * (1 - 1e-9))
    steeper = replace(constants, pl_constant=0.01 * factor)
    low, high = (pl_bound(chosen, step_size=step_size, n_steps=40) for chosen in (steeper, constants))
    assert np.all(low <= high * (1 + 1e-9))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 12))
def test_objective_shift_bounds_every_gradient(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    weights, gradients = rng.exponential(size=n), rng.normal(size=(n, 3))
    shares, mean = weights / weights.sum(), gradients.mean(axis=0)
    between = float(np.mean(np.sum((gradients - mean) ** 2, axis=1)))
    shift = float(np.sum((shares @ gradients - mean) ** 2))
    assert shift <= objective_shift(weights, between) * (1 + 1e-9)
    aligned = np.outer(shares - 1 / n, [1.0, 2.0])
    between = float(np.mean(np.sum(aligned**2, axis=1)))
    assert float(np.sum((shares @ aligned) ** 2)) == pytest.approx(
        objective_shift(weights, between), rel=1e-6, abs=1e-15
    )
    assert objective_shift(np.ones(n), 5.0) == pytest.approx(0, abs=1e-12)


def test_noise_terms_are_variance_and_spread() -> None:
    """10^5 draws of one parameter: relative standard error of V at most 0.0045, of Q less; 6 of them allowed."""
    rng = np.random.default_rng(3)
    weights, variances = np.array([0.1, 0.4, 0.5]), np.array([3.0, 1.0, 0.2])
    draws = rng.normal(size=(100_000, 3)) * np.sqrt(variances)
    mean = draws @ weights
    spread = ((draws - mean[:, None]) ** 2) @ weights
    v, q = noise_terms(10 * weights, variances)
    assert np.mean(mean**2) == pytest.approx(v, rel=0.027)
    assert np.mean(spread) == pytest.approx(q, rel=0.027)


BASE = TrainingConstants(smoothness=2.0, initial_gap=1.0, kappa=0.5, dissimilarity=1.0, dissimilarity_slope=1.0)


def test_nothing_is_guaranteed_beyond_breakdown() -> None:
    for slope in (2.0, 3.0):
        broken = replace(BASE, dissimilarity_slope=slope, pl_constant=0.1)
        for bound in (nonconvex_bound, pl_bound):
            with pytest.raises(DomainError, match=rf"kappa=0.5, B\^2={slope:g}"):
                bound(broken, step_size=0.1, n_steps=5)
        with pytest.raises(DomainError, match="Beyond breakdown"):
            momentum_bound(broken, step_size=0.1, n_steps=5, momentum=0.5)
    with pytest.raises(DomainError, match=r"epsilon=0\.6"):
        nonconvex_bound(replace(BASE, miscalibration=0.6), step_size=0.1, n_steps=5)
    with pytest.raises(DomainError, match=r"n=50, f=20, B\^2=0.5"):
        gradient_floor(50, 20, dissimilarity=1.0, dissimilarity_slope=0.5)


def test_steps_that_are_too_long_are_refused() -> None:
    with pytest.raises(DomainError, match=r"longer than 0\.5"):
        nonconvex_bound(BASE, step_size=0.51, n_steps=5)
    with pytest.raises(DomainError, match=r"too long for momentum 0\.9"):
        momentum_bound(BASE, step_size=0.3, n_steps=5, momentum=0.9)
    for step_size in (0.0, -1.0, math.nan):
        with pytest.raises(DomainError, match="step_size"):
            nonconvex_bound(BASE, step_size=step_size, n_steps=5)


def test_wrong_arguments_are_refused() -> None:
    for field, value in (("kappa", -1.0), ("smoothness", 0.0), ("dissimilarity", math.nan), ("pl_constant", 3.0)):
        with pytest.raises(DomainError, match=field):
            replace(BASE, **{field: value})
    with pytest.raises(DomainError, match="pl_constant"):
        pl_bound(BASE, step_size=0.1, n_steps=5)
    with pytest.raises(DomainError, match="n_steps"):
        nonconvex_bound(BASE, step_size=0.1, n_steps=0)
    with pytest.raises(DomainError, match="momentum"):
        momentum_bound(BASE, step_size=0.1, n_steps=5, momentum=1.0)
    with pytest.raises(DomainError, match="miscalibration"):
        momentum_bound(replace(BASE, miscalibration=0.1), step_size=0.1, n_steps=5, momentum=0.5)
    with pytest.raises(DomainError, match="variances"):
        noise_terms([1.0, 1.0], [1.0, -1.0])
    with pytest.raises(DomainError, match="weights"):
        objective_shift([0.0, 0.0], 1.0)
