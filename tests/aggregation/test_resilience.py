"""Constants of rules: never exceeded by brute force over all subsets, attained where the module says so."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas.aggregation import (
    Rule,
    coordinate_median,
    geometric_median,
    mean,
    nnm_coordinate_median,
    nnm_geometric_median,
    nnm_trimmed_mean,
    resilience,
    trimmed_mean,
)
from ceas.aggregation.median import geometric_median_weights, median_of_coordinates
from ceas.aggregation.resilience import (
    attack_suite,
    deviation_ratio,
    kappa_bound,
    kappa_floor,
    largest_n_byzantine,
    largest_weight_ratio,
    measured_kappa,
    published_kappa_bound,
    spectral_kappa_bound,
    tight_instance,
    trimmed_mean_kappa,
    weighted_kappa_bound,
    worst_subset_ratio,
)
from ceas.errors import DomainError, UnknownNameError

FloatArray = NDArray[np.float64]

RULES: dict[str, Rule] = {
    "trimmed_mean": trimmed_mean,
    "coordinate_median": coordinate_median,
    "geometric_median": geometric_median,
    "nnm_trimmed_mean": nnm_trimmed_mean,
    "nnm_coordinate_median": nnm_coordinate_median,
    "nnm_geometric_median": nnm_geometric_median,
}
ALL_SIZES = [(n, f) for n in range(1, 61) for f in range((n + 1) // 2)]


def krum_order(rows: FloatArray, f: int, n_neighbours: int) -> NDArray[np.intp]:
    squares = np.sum((rows[:, None] - rows) ** 2, axis=2)
    return np.argsort(np.sort(squares, axis=1)[:, 1 : n_neighbours + 1].sum(axis=1), kind="stable")


def krum(rows: FloatArray, f: int) -> FloatArray:
    return rows[krum_order(rows, f, len(rows) - f - 1)[0]]


def krum_original(rows: FloatArray, f: int) -> FloatArray:
    return rows[krum_order(rows, f, len(rows) - f - 2)[0]]


def multi_krum(rows: FloatArray, f: int) -> FloatArray:
    return rows[krum_order(rows, f, len(rows) - f - 1)[: len(rows) - f]].mean(axis=0)


def top_eigenvalue(rows: FloatArray) -> float:
    return float(np.linalg.norm(rows - rows.mean(axis=0), ord=2) ** 2 / len(rows))


def smea(rows: FloatArray, f: int) -> FloatArray:
    subsets = (rows[list(kept)] for kept in itertools.combinations(range(len(rows)), len(rows) - f))
    return min(subsets, key=top_eigenvalue).mean(axis=0)


ORACLES = {"krum": krum, "krum_original": krum_original, "multi_krum": multi_krum, "smea": smea}


@st.composite
def clouds(draw: st.DrawFn) -> tuple[FloatArray, int]:
    """Rows of few values, so that ties and coinciding rows are frequent, with and without far ones."""
    n = draw(st.integers(3, 8))
    f = draw(st.integers(1, (n - 1) // 2))
    value = st.sampled_from([-3.0, -1.0, 0.0, 0.25, 1.0, 2.0, 30.0])
    width = draw(st.integers(1, 2))
    return np.array(draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=n, max_size=n))), f


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(cloud=clouds())
def test_no_subset_exceeds_the_constant(name: str, cloud: tuple[FloatArray, int]) -> None:
    rows, f = cloud
    value = RULES[name](rows, n_byzantine=f).value
    ratio = worst_subset_ratio(np.where(np.abs(value) < 1e-9, 0.0, value), rows, f)
    # Rounding of a rule's value counts as infinite where all honest rows coincide.
    coincide = worst_subset_ratio(rows[0], rows, f) == 0 or not math.isfinite(ratio)
    if coincide:
        assert min(np.linalg.norm(rows - value, axis=1)) <= 1e-6
    else:
        assert ratio <= kappa_bound(name, len(rows), f) * (1 + 1e-6)


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(cloud=clouds())
def test_no_subset_exceeds_the_constant_of_rules_by_definition(name: str, cloud: tuple[FloatArray, int]) -> None:
    rows, f = cloud
    if name == "krum_original" and len(rows) - 2 * f < 2:
        assert kappa_bound(name, len(rows), f) == math.inf
        return
    value = ORACLES[name](rows, f)
    ratio = worst_subset_ratio(value, rows, f)
    assert ratio <= kappa_bound(name, len(rows), f) * (1 + 1e-9)


def test_the_top_eigenvalue_bounds_the_subset_of_least_eigenvalue() -> None:
    """Spectral form, all subsets of 200 clouds with two far rows."""
    rng = np.random.default_rng(5)
    worst = 0.0
    for _ in range(200):
        rows = rng.normal(size=(7, 2)) * np.where(np.arange(7) < 5, 1.0, 3.0)[:, None]
        value = smea(rows, 2)
        for kept in itertools.combinations(range(7), 5):
            honest = rows[list(kept)]
            worst = max(worst, float(np.sum((value - honest.mean(axis=0)) ** 2)) / top_eigenvalue(honest))
    assert 0.2 < worst / spectral_kappa_bound(7, 2) <= 1


@pytest.mark.parametrize(("n", "f"), [(5, 2), (9, 2), (10, 3), (50, 15)])
def test_trimmed_mean_attains_its_constant_when_too_many_are_declared(n: int, f: int) -> None:
    """t honest rows at -1, all others and the attackers at 1: all that is kept is 1."""
    for declared in range(f, (n - 1) // 2 + 1):
        rows = np.repeat([-1.0, 1.0], [declared, n - declared])[:, None]
        value = trimmed_mean(rows, n_byzantine=declared).value
        ratio = deviation_ratio(value, rows[: n - f])
        assert ratio == pytest.approx(trimmed_mean_kappa(n, f, declared), rel=1e-12)
    assert trimmed_mean_kappa(n, f, f) == kappa_floor(n, f) == kappa_bound("trimmed_mean", n, f)
    assert trimmed_mean_kappa(n, f, f - 1) == math.inf


@pytest.mark.parametrize(("n", "f"), [(5, 0), (5, 2), (10, 3), (51, 15), (50, 15)])
def test_median_attains_its_constant(n: int, f: int) -> None:
    rows = np.repeat([1.0, 0.0], [n // 2 + 1, n - n // 2 - 1])[:, None]
    value = coordinate_median(rows, n_byzantine=f).value
    assert deviation_ratio(value, rows[f:]) == pytest.approx(kappa_bound("coordinate_median", n, f), rel=1e-12)


def test_geometric_median_comes_near_its_constant() -> None:
    """A bare majority of 51 rows, 10 of them attackers, at one place: 0.95 of the constant."""
    rows = np.repeat([[1.0, 2.0], [0.0, 0.0]], [26, 25], axis=0)
    value = geometric_median(rows, n_byzantine=10).value
    ratio = deviation_ratio(value, rows[10:]) / kappa_bound("geometric_median", 51, 10)
    assert 0.94 < ratio <= 1


def test_derived_constants_are_never_above_the_published() -> None:
    for n, f in ALL_SIZES:
        assert spectral_kappa_bound(n, f) <= 4 * f / (n - f) * (1 + f / (n - 2 * f)) ** 2 * (1 + 1e-12)
        for rule in ("trimmed_mean", "coordinate_median", "geometric_median", "krum", "nnm_krum", "nnm_trimmed_mean"):
            assert kappa_bound(rule, n, f) <= published_kappa_bound(rule, n, f) * (1 + 1e-12)


def test_published_constants_as_tabulated() -> None:
    """n = 50: what is quoted for the trimmed mean at f = 5 and f = 15."""
    assert published_kappa_bound("trimmed_mean", 50, 5) == pytest.approx(0.84, abs=0.005)
    assert published_kappa_bound("trimmed_mean", 50, 15) == pytest.approx(7.88, abs=0.006)
    assert (kappa_floor(50, 5), kappa_floor(50, 15)) == (0.125, 0.75)


def test_no_constant_is_below_the_floor_and_without_attackers_selection_costs_nothing() -> None:
    for n, f in ALL_SIZES:
        for rule in ("mean", *RULES, *ORACLES):
            assert kappa_bound(rule, n, f) >= kappa_floor(n, f)
    for rule in ("mean", "trimmed_mean", "multi_krum", "smea"):
        assert kappa_bound(rule, 50, 0) == 0


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("n", "f"), [(5, 1), (9, 4), (12, 3)])
def test_no_rule_escapes_the_tight_instance(name: str, n: int, f: int) -> None:
    rows = tight_instance(n, f)
    ratio = worst_subset_ratio(RULES[name](rows, n_byzantine=f).value, rows, f)
    assert ratio >= kappa_floor(n, f) * (1 - 1e-9)


def test_exchange_search_finds_the_worst_subset_of_small_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 clouds of 9 rows, f = 3: never above the exact maximum, and equal to it in 99 of them."""
    rng = np.random.default_rng(2)
    cases = [rng.normal(size=(9, 3)) for _ in range(100)]
    values = [trimmed_mean(rows, n_byzantine=3).value for rows in cases]
    exact = np.array([worst_subset_ratio(value, rows, 3) for value, rows in zip(values, cases, strict=True)])
    monkeypatch.setattr(resilience, "MAXIMUM_SUBSETS", 0)
    found = np.array([worst_subset_ratio(value, rows, 3) for value, rows in zip(values, cases, strict=True)])
    assert np.all(found <= exact * (1 + 1e-9))
    assert np.mean(found >= exact * (1 - 1e-9)) >= 0.95
    assert np.all(found >= 0.8 * exact)


@pytest.mark.parametrize("f", [5, 15])
def test_the_suite_stays_below_the_constants_at_fifty_nodes(f: int) -> None:
    for name, rule in RULES.items():
        found = measured_kappa(lambda rows, run=rule: run(rows, n_byzantine=f).value, n_nodes=50, n_byzantine=f)
        assert 0 < found.kappa <= kappa_bound(name, 50, f)


def test_the_suite_agrees_with_an_earlier_measurement() -> None:
    """Worst ratios measured elsewhere with the same attacks, n = 50, P = 16, on four clouds that were not recorded.

    Means over three draws of four clouds agree within 20 % at f = 15. At f = 5 they do for the trimmed mean alone:
    clouds decide there, and the others are 28 to 51 % lower on these.
    """
    elsewhere = {
        ("trimmed_mean", 5): 0.056,
        ("trimmed_mean", 15): 0.515,
        ("coordinate_median", 15): 0.527,
        ("geometric_median", 15): 0.339,
        ("nnm_trimmed_mean", 15): 0.432,
        ("nnm_geometric_median", 15): 0.612,
    }
    for (name, f), kappa in elsewhere.items():
        found = [
            measured_kappa(
                lambda rows, run=RULES[name], declared=f: run(rows, n_byzantine=declared).value,
                n_nodes=50,
                n_byzantine=f,
                seed=seed,
            ).kappa
            for seed in range(3)
        ]
        assert np.mean(found) == pytest.approx(kappa, rel=0.2), (name, f)


def test_the_suite_finds_that_the_mean_is_not_robust() -> None:
    small, large = (
        max(
            deviation_ratio(np.concatenate([cloud, np.repeat(row[None], 5, axis=0)]).mean(axis=0), cloud)
            for _, _, row in attack_suite(cloud, [size])
        )
        for cloud in [np.random.default_rng(0).normal(size=(45, 4))]
        for size in (10.0, 1000.0)
    )
    assert large > 1000 * small
    assert kappa_bound("mean", 50, 5) == math.inf


def weighted_trimmed_mean(values: FloatArray, weights: FloatArray, mass: float) -> float:
    order = np.argsort(values)
    edges = np.concatenate([[0.0], np.cumsum(weights[order] / weights.sum())])
    kept = np.clip(edges[1:], mass, 1 - mass) - np.clip(edges[:-1], mass, 1 - mass)
    return float(kept @ values[order] / kept.sum())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12), spread=st.sampled_from([0.0, 1.0]))
def test_weighted_trimmed_mean_stays_below_its_constant(seed: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    f = int(rng.integers(1, (n + 1) // 2))
    values, weights = rng.normal(size=n), np.exp(spread * rng.normal(size=n))
    values[:f] = rng.choice([-9.0, -0.5, 0.5, 9.0])
    mass = weights[:f].sum() / weights.sum()
    if mass >= 0.49:
        with pytest.raises(DomainError, match="byzantine_mass"):
            weighted_kappa_bound("trimmed_mean", 0.5)
        return
    value = np.array([weighted_trimmed_mean(values, weights, mass)])
    ratio = deviation_ratio(value, values[f:, None], weights[f:])
    assert ratio <= weighted_kappa_bound("trimmed_mean", mass) * (1 + 1e-9)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12), n_far=st.integers(1, 6))
def test_weighted_geometric_median_stays_below_its_constant(seed: int, n: int, n_far: int) -> None:
    """Attackers sit with the `n_far` honest rows that are farthest out; in one parameter it is the weighted median."""
    rng = np.random.default_rng(seed)
    f = int(rng.integers(1, (n + 1) // 2))
    weights, width = np.exp(0.5 * rng.normal(size=n)), int(rng.integers(1, 4))
    rows = rng.normal(size=(n, width)) * 0.3
    rows[: min(n, f + n_far)] += 2.0
    rows[:f] = rows[f]
    mass = weights[:f].sum() / weights.sum()
    if mass >= 0.49:
        return
    value = geometric_median_weights(rows, start=median_of_coordinates(rows), weights=weights) @ rows
    ratio = deviation_ratio(value, rows[f:], weights[f:])
    for name in ("geometric_median", "coordinate_median")[: 1 + (width == 1)]:
        assert ratio <= weighted_kappa_bound(name, mass) * (1 + 1e-6)


def test_weighted_constants_with_equal_weights() -> None:
    for n, f in ALL_SIZES:
        for rule in ("trimmed_mean", "geometric_median", "coordinate_median"):
            weighted = weighted_kappa_bound(rule, f / n)
            assert weighted >= kappa_bound(rule, n, f) * (1 - 1e-12)
            if rule != "coordinate_median":
                assert weighted == pytest.approx(kappa_bound(rule, n, f), rel=1e-12)


def test_weighted_suite_uses_the_honest_weights() -> None:
    """A rule that returns the honest weighted mean is off by nothing; the plain mean of the honest rows is off."""
    weights = np.arange(1.0, 11.0)
    share = weights[:8] / weights[:8].sum()
    exact = measured_kappa(lambda rows: share @ rows[:8], n_nodes=10, n_byzantine=2, weights=weights)
    plain = measured_kappa(lambda rows: rows[:8].mean(axis=0), n_nodes=10, n_byzantine=2, weights=weights)
    assert exact.kappa < 1e-25
    assert plain.kappa > 1e-3
    assert mean(np.ones((3, 1)), n_byzantine=0).value == 1


def test_breakdown_conditions() -> None:
    assert [largest_n_byzantine(50, dissimilarity_slope=slope) for slope in (0, 1, 2)] == [24, 16, 12]
    for n in range(1, 60):
        for slope in (0.0, 0.3, 1.0, 4.0):
            f = largest_n_byzantine(n, dissimilarity_slope=slope)
            assert kappa_floor(n, f) * slope < 1
            beyond = f + 1
            assert 2 * beyond >= n or kappa_floor(n, beyond) * slope >= 1
    assert [round(largest_weight_ratio(50, f), 2) for f in (5, 10, 15, 16)] == [9, 4, 2.33, 2.12]
    assert largest_weight_ratio(50, 0) == math.inf


def test_refusals_name_the_numbers() -> None:
    with pytest.raises(DomainError, match=r"n=50, f=25"):
        kappa_bound("trimmed_mean", 50, 25)
    with pytest.raises(UnknownNameError, match="ceas"):
        kappa_bound("ceas", 50, 5)
    with pytest.raises(UnknownNameError, match="smea"):
        published_kappa_bound("smea", 50, 5)
    with pytest.raises(DomainError, match="shapes"):
        deviation_ratio([1.0], [[1.0, 2.0]])
    with pytest.raises(DomainError, match="not all 0"):
        deviation_ratio([1.0], [[1.0], [2.0]], [0.0, 0.0])
    with pytest.raises(DomainError, match="must be at least 1 and 0"):
        largest_n_byzantine(50, dissimilarity_slope=-1)
