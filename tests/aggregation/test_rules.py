"""Means and medians: published vectors, independent oracles, optimality; `debiased`; worst errors over attacks.

What holds for every rule is in test_properties.py.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from ceas import aggregation
from ceas.aggregation import Rule
from ceas.errors import DomainError

FloatArray = NDArray[np.float64]

RULES: dict[str, Rule] = {
    name: getattr(aggregation, name)
    for name in (
        "mean",
        "coordinate_median",
        "trimmed_mean",
        "geometric_median",
        "nnm_mean",
        "nnm_coordinate_median",
        "nnm_trimmed_mean",
        "nnm_geometric_median",
        "ceas",
    )
}
# The input of ByzFL's own tests (LPD-EPFL/byzfl 69bd1ac, tests/); its expected outputs are quoted below.
BYZFL = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])


@pytest.mark.parametrize("name", ["mean", "coordinate_median", "trimmed_mean"])
def test_byzfl_vectors(name: str) -> None:
    result = RULES[name](BYZFL, n_byzantine=1)
    np.testing.assert_allclose(result.value, [4.0, 5.0, 6.0], rtol=1e-14)


def test_byzfl_vector_of_nearest_neighbor_mixing() -> None:
    mixed = aggregation.nearest_neighbor_mixing(BYZFL, n_byzantine=1)
    np.testing.assert_allclose(mixed, [[2.5, 3.5, 4.5], [2.5, 3.5, 4.5], [5.5, 6.5, 7.5]], rtol=1e-14)


def test_trimmed_mean_and_median_against_plain_loops() -> None:
    rng = np.random.default_rng(1)
    for n_nodes, f in ((7, 2), (8, 3), (5, 0)):
        rows = rng.normal(size=(n_nodes, 6))
        trimmed = [np.mean(sorted(column)[f : n_nodes - f]) for column in rows.T]
        np.testing.assert_allclose(RULES["trimmed_mean"](rows, n_byzantine=f).value, trimmed, rtol=1e-13)
        median = RULES["coordinate_median"](rows, n_byzantine=f).value
        np.testing.assert_allclose(median, np.median(rows, axis=0), rtol=1e-13)


def test_mixing_against_plain_loops_and_composition() -> None:
    rng = np.random.default_rng(2)
    rows, f = rng.normal(size=(9, 5)), 3
    mixed = np.array(
        [
            rows[sorted(range(9), key=lambda j: float(np.sum((rows[j] - row) ** 2)))[: 9 - f]].mean(axis=0)
            for row in rows
        ]
    )
    np.testing.assert_allclose(aggregation.nearest_neighbor_mixing(rows, n_byzantine=f), mixed, rtol=1e-13)
    for inner in ("mean", "coordinate_median", "trimmed_mean", "geometric_median"):
        expected = RULES[inner](mixed, n_byzantine=f).value
        np.testing.assert_allclose(RULES[f"nnm_{inner}"](rows, n_byzantine=f).value, expected, rtol=1e-6, atol=1e-8)


def _distance_sum(points: FloatArray) -> Callable[[FloatArray], float]:
    return lambda z: float(np.linalg.norm(points - z, axis=1).sum())


@pytest.mark.parametrize("seed", range(6))
def test_geometric_median_against_a_general_minimiser(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.standard_t(2, size=(11, 4))
    value = RULES["geometric_median"](points, n_byzantine=5).value
    oracle = minimize(_distance_sum(points), points.mean(axis=0), method="BFGS", options={"gtol": 1e-9})
    assert _distance_sum(points)(value) <= oracle.fun + 1e-10
    np.testing.assert_allclose(value, oracle.x, atol=1e-5)


def test_geometric_median_meets_its_optimality_condition_far_from_the_origin() -> None:
    points = np.random.default_rng(3).normal(size=(20, 6)) + 50.0
    value = RULES["geometric_median"](points, n_byzantine=4).value
    residuals = points - value
    pull = (residuals / np.linalg.norm(residuals, axis=1)[:, None]).sum(axis=0)
    assert np.linalg.norm(pull) < 1e-7


def test_geometric_median_at_a_data_point_is_that_point() -> None:
    """Two pairs of opposite points pull equally: the fifth is the minimiser, exactly."""
    points = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0], [0.0, 0.0]]) + 3.0
    result = RULES["geometric_median"](points, n_byzantine=2)
    np.testing.assert_array_equal(result.value, [3.0, 3.0])
    np.testing.assert_array_equal(result.weights, [0, 0, 0, 0, 1])


def test_geometric_median_at_a_point_away_from_the_coordinate_median() -> None:
    """The obtuse corner (> 120 degrees) of a triangle is its Fermat point; the coordinate median lies elsewhere."""
    points = np.array([[0.0, 0.0], [10.0, 1.0], [-9.0, 2.0]])
    np.testing.assert_allclose(RULES["geometric_median"](points, n_byzantine=1).value, [0.0, 0.0], atol=1e-12)


def test_geometric_median_at_a_corner_that_only_just_holds() -> None:
    """At 120.05 degrees the corner is the minimiser by a hair: after 2000 plain steps the error is still 1e-4."""
    angles = np.deg2rad([30.0, 150.05])
    points = np.array([[0.0, 0.0], *np.column_stack([np.cos(angles), np.sin(angles)])])
    np.testing.assert_allclose(RULES["geometric_median"](points, n_byzantine=1).value, [0.0, 0.0], atol=1e-12)


def test_geometric_median_leaves_copies_that_rounding_put_beside_each_other() -> None:
    """The start lies 1e-14 from a data point that is not the minimiser; the first steps are too short to tell."""
    points = np.array([[0.1, 8.0]] * 4 + [[0.05, 37.0 - 1e-14], [0.1, 37.0 + 1e-14]] + [[0.05, 89.0]] * 3)
    value = RULES["geometric_median"](points, n_byzantine=4).value
    oracle = minimize(
        _distance_sum(points), [0.075, 36.9], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert _distance_sum(points)(value) <= oracle.fun + 1e-9


def test_geometric_median_of_an_equilateral_triangle_is_its_centre() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    value = RULES["geometric_median"](corners, n_byzantine=1).value
    np.testing.assert_allclose(value, corners.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("name", list(RULES))
def test_value_is_the_weighted_sum_where_the_rule_is_linear_in_its_weights(name: str) -> None:
    rows = np.random.default_rng(4).normal(size=(12, 5))
    result = RULES[name](rows, n_byzantine=3)
    assert result.weights.min() >= 0
    assert result.weights.sum() == pytest.approx(1.0, abs=1e-12)
    # Coordinate-wise rules use other rows in each coordinate, so that only their mean shares are in the weights.
    if name in ("mean", "geometric_median", "nnm_mean", "nnm_geometric_median", "ceas"):
        np.testing.assert_allclose(result.weights @ rows, result.value, atol=1e-12)
    elif name == "trimmed_mean":
        shares = np.argsort(np.argsort(rows, axis=0), axis=0)
        kept = (shares >= 3) & (shares < 9)
        np.testing.assert_allclose(result.weights, kept.mean(axis=1) / 6, atol=1e-12)
    elif name == "coordinate_median":
        ranks = np.argsort(np.argsort(rows, axis=0), axis=0)
        np.testing.assert_allclose(result.weights, np.isin(ranks, (5, 6)).mean(axis=1) / 2, atol=1e-12)


def test_mixing_refuses_what_it_cannot_mix() -> None:
    with pytest.raises(DomainError, match="finite"):
        aggregation.nearest_neighbor_mixing([[np.nan], [1.0], [2.0]], n_byzantine=1)
    with pytest.raises(DomainError, match="Cannot tolerate"):
        aggregation.nearest_neighbor_mixing(np.zeros((4, 1)), n_byzantine=2)


def test_debiased_divides_out_the_contraction_and_drops_what_is_below_the_floor() -> None:
    rng = np.random.default_rng(6)
    truth, contraction = rng.normal(size=(9, 4)), np.array([0.5, 0.25, 1.0, 0.2, 0.9, 0.05, np.nan, 0.5, 0.8])
    truth[7] = np.nan
    raw = truth * contraction[:, None]
    result = aggregation.debiased(aggregation.trimmed_mean)(raw, n_byzantine=3, contraction=contraction)
    kept = [0, 1, 2, 3, 4, 8]
    np.testing.assert_allclose(result.value, RULES["trimmed_mean"](truth[kept], n_byzantine=2).value, rtol=1e-12)
    np.testing.assert_array_equal(np.flatnonzero(result.left_out), [5, 6])
    np.testing.assert_array_equal(np.flatnonzero(result.rejected), [7])
    assert result.n_byzantine == 2
    assert result.weights[[5, 6, 7]].sum() == 0


def test_debiased_with_everybody_below_the_floor_makes_no_step() -> None:
    result = aggregation.debiased(aggregation.mean)(np.ones((3, 2)), n_byzantine=1, contraction=np.full(3, 0.01))
    np.testing.assert_array_equal(result.value, [0, 0])
    assert result.left_out.all()
    with pytest.raises(DomainError, match="contraction_floor"):
        aggregation.debiased(aggregation.mean, contraction_floor=0.0)


WORST_KAPPA = {
    # (rule, f): (reference, pinned). The reference is the worst over 12 magnitudes of three attacks and mimic on 4
    # clouds of its own, n = 50, 16 parameters; the pinned value is what `_worst_kappa` finds on its Gaussian clouds.
    ("trimmed_mean", 5): (0.056, 0.0474),
    ("coordinate_median", 5): (0.120, 0.0493),
    ("geometric_median", 5): (0.058, 0.0177),
    ("nnm_trimmed_mean", 5): (0.063, 0.0215),
    ("trimmed_mean", 15): (0.515, 0.4797),
    ("coordinate_median", 15): (0.527, 0.3917),
    ("geometric_median", 15): (0.339, 0.2751),
    ("nnm_trimmed_mean", 15): (0.432, 0.2639),
    ("krum", 5): (0.574, 0.5932),
    ("multi_krum", 5): (0.096, 0.0396),
    ("caf", 5): (0.092, 0.0174),
    ("bulyan", 5): (0.250, 0.1052),
    ("nnm_geometric_median", 5): (0.123, 0.0231),
    ("nnm_krum", 5): (0.085, 0.0290),
    ("krum", 15): (2.316, 1.7748),
    ("multi_krum", 15): (0.997, 0.7032),
    ("caf", 15): (0.383, 0.1194),
    ("nnm_geometric_median", 15): (0.612, 0.2720),
    ("nnm_krum", 15): (0.828, 0.3699),
}


def _worst_kappa(rule: Rule, f: int) -> float:
    worst = 0.0
    for seed in range(4):
        honest = np.random.default_rng(seed).normal(size=(50 - f, 16))
        centre, residuals = honest.mean(axis=0), honest - honest.mean(axis=0)
        variance = np.mean(np.sum(residuals**2, axis=1))
        leading = np.linalg.svd(residuals, full_matrices=False)[2][0]
        candidates = [honest[np.argmax(np.abs(residuals @ leading))]]
        for size in np.geomspace(0.05, 20, 12):
            candidates += [centre + size * honest.std(axis=0, ddof=1), -size * centre, centre + size * leading]
        for update in candidates:
            value = rule(np.concatenate([honest, np.tile(update, (f, 1))]), n_byzantine=f).value
            worst = max(worst, float(np.sum((value - centre) ** 2) / variance))
    return worst


@pytest.mark.parametrize(("name", "f"), list(WORST_KAPPA))
def test_worst_error_over_attacks(name: str, f: int) -> None:
    """Not above the reference's by more than its margin of 20 %, and within 5 % of its own earlier value."""
    reference, pinned = WORST_KAPPA[name, f]
    found = _worst_kappa(getattr(aggregation, name), f)
    assert found <= 1.2 * reference
    assert found == pytest.approx(pinned, rel=0.05)
