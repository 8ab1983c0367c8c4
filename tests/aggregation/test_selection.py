"""Rules that select rows, filter them or weigh them, each against its definition written out by brute force.

`make_byzfl_vectors.py` compares with an independent implementation. Where that has a defect (a random power iteration
in its spectral rules, ties), the definition here decides.
"""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import aggregation
from ceas.aggregation.subsets import _can_cover, _farther_apart, _first_kept
from ceas.aggregation.weighted import capped_weights
from ceas.errors import DomainError

FloatArray = NDArray[np.float64]

BYZFL = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("krum", [1.0, 2.0, 3.0]),
        ("multi_krum", [2.5, 3.5, 4.5]),
        ("mda", [2.5, 3.5, 4.5]),
        ("meamed", [2.5, 3.5, 4.5]),
        ("centered_clipping", [4.0, 5.0, 6.0]),
    ],
)
def test_byzfl_vectors(name: str, expected: list[float]) -> None:
    """ByzFL's own test vectors (LPD-EPFL/byzfl 69bd1ac)."""
    np.testing.assert_allclose(getattr(aggregation, name)(BYZFL, n_byzantine=1).value, expected, rtol=1e-12)


def test_byzfl_vectors_of_monna_clipping_and_arc() -> None:
    value = aggregation.monna(BYZFL, n_byzantine=1, node=1).value
    np.testing.assert_allclose(value, [2.5, 3.5, 4.5], rtol=1e-12)
    clipped = [
        [0.53452248, 1.06904497, 1.60356745],
        [0.91168461, 1.13960576, 1.36752692],
        [1.00514142, 1.14873305, 1.29232469],
    ]
    np.testing.assert_allclose(aggregation.clipping(BYZFL, n_byzantine=1, norm=2.0), clipped, atol=1e-8)
    arc = np.array([BYZFL[0], BYZFL[1], [4.41004009, 5.04004582, 5.67005155]])
    np.testing.assert_allclose(aggregation.adaptive_robust_clipping(BYZFL, n_byzantine=1), arc, atol=1e-8)


def krum_scores(rows: FloatArray, n_neighbours: int) -> list[float]:
    squares = [[float(np.sum((x - y) ** 2)) for y in rows] for x in rows]
    return [sum(sorted(line[:i] + line[i + 1 :])[:n_neighbours]) for i, line in enumerate(squares)]


@pytest.mark.parametrize(("n_nodes", "f"), [(7, 2), (12, 5), (9, 0)])
def test_krum_and_multi_krum(n_nodes: int, f: int) -> None:
    rows = np.random.default_rng(n_nodes).normal(size=(n_nodes, 4))
    best = np.argsort(krum_scores(rows, n_nodes - f - 1))
    np.testing.assert_array_equal(aggregation.krum(rows, n_byzantine=f).value, rows[best[0]])
    expected = rows[best[: n_nodes - f]].mean(axis=0)
    np.testing.assert_allclose(aggregation.multi_krum(rows, n_byzantine=f).value, expected, rtol=1e-12)


@pytest.mark.parametrize(("n_nodes", "f"), [(11, 2), (15, 3), (30, 5), (7, 1), (6, 0)])
def test_bulyan(n_nodes: int, f: int) -> None:
    rows = np.random.default_rng(n_nodes).normal(size=(n_nodes, 4))
    # In lexicographic order: with f = 1 the last selections are between ties.
    left, selected = rows[np.lexsort(rows.T[::-1])], []
    while len(selected) < n_nodes - 2 * f:
        best = int(np.argmin(krum_scores(left, max(len(left) - f - 2, 0))))
        selected.append(left[best])
        left = np.delete(left, best, axis=0)
    columns = [sorted(column, key=lambda x: abs(x - np.median(column))) for column in np.array(selected).T]
    expected = [np.mean(column[: n_nodes - 4 * f]) for column in columns]
    np.testing.assert_allclose(aggregation.bulyan(rows, n_byzantine=f).value, expected, rtol=1e-12)


def diameter(rows: FloatArray) -> float:
    return max(float(np.linalg.norm(x - y)) for x in rows for y in rows)


@pytest.mark.parametrize(("n_nodes", "f", "seed"), [(8, 3, 0), (9, 2, 1), (10, 4, 2), (7, 3, 3), (6, 0, 4)])
def test_mda(n_nodes: int, f: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n_nodes, 3))
    rows = rows[np.lexsort(rows.T[::-1])]
    best = min(combinations(range(n_nodes), n_nodes - f), key=lambda subset: diameter(rows[list(subset)]))
    np.testing.assert_allclose(aggregation.mda(rows, n_byzantine=f).value, rows[list(best)].mean(axis=0), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_nodes=st.integers(2, 10), density=st.floats(0.05, 0.9))
def test_search_for_a_cover_against_all_subsets(seed: int, n_nodes: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    is_edge = np.triu(rng.uniform(size=(n_nodes, n_nodes)) < density, 1)
    neighbours = _farther_apart((is_edge | is_edge.T).astype(float), 0.5)
    edges = list(zip(*np.nonzero(is_edge), strict=True))
    smallest = next(
        size
        for size in range(n_nodes + 1)
        for gone in combinations(range(n_nodes), size)
        if all(i in gone or j in gone for i, j in edges)
    )
    everything = (1 << n_nodes) - 1
    assert _can_cover(neighbours, everything, smallest)
    assert smallest == 0 or not _can_cover(neighbours, everything, smallest - 1)
    first = next(
        kept
        for kept in combinations(range(n_nodes), n_nodes - smallest)
        if not any(i in kept and j in kept for i, j in edges)
    )
    assert tuple(_first_kept(neighbours, smallest)) == first


def test_mda_gets_rid_of_attackers_that_are_too_many_for_enumeration() -> None:
    rows = np.random.default_rng(5).normal(size=(50, 8))
    rows[:15] += 20.0
    result = aggregation.mda(rows, n_byzantine=15)
    np.testing.assert_allclose(result.value, rows[15:].mean(axis=0), rtol=1e-12)
    with pytest.raises(DomainError, match=r"refuses f > 30, but f=31, n=80\."):
        aggregation.mda(np.zeros((80, 1)), n_byzantine=31)


@pytest.mark.parametrize(("n_nodes", "f", "n_parameters"), [(8, 3, 3), (7, 2, 12), (6, 0, 4)])
def test_smea(n_nodes: int, f: int, n_parameters: int) -> None:
    rows = np.random.default_rng(n_nodes).normal(size=(n_nodes, n_parameters))
    best = min(
        combinations(range(n_nodes), n_nodes - f),
        key=lambda subset: np.linalg.eigvalsh(np.atleast_2d(np.cov(rows[list(subset)].T, bias=True)))[-1],
    )
    np.testing.assert_allclose(aggregation.smea(rows, n_byzantine=f).value, rows[list(best)].mean(axis=0), rtol=1e-12)


def test_smea_refuses_with_the_number_of_subsets() -> None:
    with pytest.raises(DomainError, match=r"but f=10, n=50 make 10272278170 subsets of 40\."):
        aggregation.smea(np.zeros((50, 1)), n_byzantine=10)


def filtered_mean(rows: FloatArray, f: int) -> FloatArray:
    c, best = np.ones(len(rows)), (np.inf, rows.mean(axis=0))
    while c.sum() > len(rows) - 2 * f:
        mu = c @ rows / c.sum()
        values, vectors = np.linalg.eigh(np.cov(rows.T, aweights=c, bias=True))
        best = min(best, (values[-1], mu), key=lambda pair: pair[0])
        tau = ((rows - mu) @ vectors[:, -1]) ** 2
        c = c * (1 - tau / tau[c > 1e-9].max()).clip(0)
    return best[1]


@pytest.mark.parametrize(("n_nodes", "f", "n_parameters"), [(12, 3, 5), (15, 7, 3), (9, 2, 20)])
def test_caf_against_the_covariance_itself(n_nodes: int, f: int, n_parameters: int) -> None:
    rows = np.random.default_rng(n_nodes).normal(size=(n_nodes, n_parameters))
    rows[:f] += 2.0
    value = aggregation.caf(rows, n_byzantine=f).value
    np.testing.assert_allclose(value, filtered_mean(rows, f), rtol=1e-7)


def test_caf_is_within_the_error_that_a_random_start_misses() -> None:
    """12 honest rows and 3 a little beside them: the error is that of the honest mean, in every run."""
    honest = np.random.default_rng(0).normal(size=(12, 10))
    poison = honest.mean(axis=0) + 3 * honest.std(axis=0, ddof=1)
    value = aggregation.caf(np.concatenate([honest, np.tile(poison, (3, 1))]), n_byzantine=3).value
    assert np.linalg.norm(value - honest.mean(axis=0)) < 0.5


def test_dnc_on_all_coordinates() -> None:
    rows = np.random.default_rng(1).normal(size=(12, 6))
    rows[:3] += 3.0
    residuals = rows - rows.mean(axis=0)
    scores = (residuals @ np.linalg.svd(residuals, full_matrices=False)[2][0]) ** 2
    for excess, n_dropped in ((1.0, 3), (1.5, 4)):
        expected = rows[np.sort(np.argsort(scores)[: 12 - n_dropped])].mean(axis=0)
        value = aggregation.dnc(rows, n_byzantine=3, excess=excess).value
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_dnc_draws_by_seed_and_anew_every_round() -> None:
    rows = np.random.default_rng(2).normal(size=(20, 40))
    first = aggregation.dnc(rows, n_byzantine=6, n_coordinates=5, n_iterations=1)
    again = aggregation.dnc(rows, n_byzantine=6, n_coordinates=5, n_iterations=1)
    np.testing.assert_array_equal(first.weights, again.weights)
    later = aggregation.dnc(rows, n_byzantine=6, n_coordinates=5, n_iterations=1, memory=first.memory)
    assert not np.array_equal(first.weights, later.weights)
    other = aggregation.dnc(rows, n_byzantine=6, n_coordinates=5, n_iterations=1, seed=1)
    assert not np.array_equal(first.weights, other.weights)
    # Every row dropped in some iteration: those dropped least often stay.
    many = aggregation.dnc(rows, n_byzantine=9, n_coordinates=2, n_iterations=30)
    assert many.weights.sum() == pytest.approx(1.0)
    with pytest.raises(DomainError, match=r"excess=3\.0, f=6, n=18"):
        aggregation.dnc(rows[:18], n_byzantine=6, excess=3.0)


def test_centered_clipping_by_hand_and_over_rounds() -> None:
    rows = np.random.default_rng(3).normal(size=(9, 4)) + 5.0
    centre = np.zeros(4)
    for _ in range(3):
        lengths = [np.linalg.norm(row - centre) for row in rows]
        centre = centre + np.mean([(r - centre) * min(1, 2 / x) for r, x in zip(rows, lengths, strict=True)], axis=0)
    three = aggregation.centered_clipping(rows, n_byzantine=2, radius=2.0, n_steps=3)
    np.testing.assert_allclose(three.value, centre, rtol=1e-12)
    memory = None
    for _ in range(3):
        result = aggregation.centered_clipping(rows, n_byzantine=2, radius=2.0, memory=memory)
        memory = result.memory
    np.testing.assert_allclose(result.value, centre, rtol=1e-12)
    with pytest.raises(DomainError, match=r"`memory` must hold a finite `centre` of shape \(4,\)"):
        aggregation.centered_clipping(rows, n_byzantine=2, memory={"centre": np.zeros(3)})
    with pytest.raises(DomainError, match="`radius`"):
        aggregation.centered_clipping(rows, n_byzantine=2, radius=0.0)


def test_fltrust_by_hand() -> None:
    rng = np.random.default_rng(4)
    rows, root = rng.normal(size=(9, 3)), np.array([1.0, 2.0, -0.5])
    trust = [max(0.0, row @ root / np.linalg.norm(row) / np.linalg.norm(root)) for row in rows]
    scaled = [row * np.linalg.norm(root) / np.linalg.norm(row) for row in rows]
    result = aggregation.fltrust(rows, n_byzantine=4, root=root)
    np.testing.assert_allclose(result.value, np.average(scaled, axis=0, weights=trust), rtol=1e-12)
    np.testing.assert_allclose(result.weights, np.array(trust) / sum(trust), rtol=1e-12)
    opposed = aggregation.fltrust(np.tile(-root, (5, 1)), n_byzantine=1, root=root)
    assert not opposed.value.any()
    assert not opposed.weights.any()


def test_monna_trusts_a_node_not_a_place() -> None:
    rows = np.random.default_rng(5).normal(size=(9, 3))
    nearest = np.argsort(np.linalg.norm(rows - rows[4], axis=1))[:6]
    result = aggregation.monna(rows, n_byzantine=3, node=104, nodes=np.arange(9) + 100)
    np.testing.assert_allclose(result.value, rows[np.sort(nearest)].mean(axis=0), rtol=1e-12)
    silent = aggregation.monna(rows, n_byzantine=3, node=4, nodes=np.arange(9) + 100)
    assert not silent.weights.any()
    with pytest.raises(DomainError, match="`node`"):
        aggregation.monna(rows, n_byzantine=3, node=-1)


def test_claims_are_believed() -> None:
    rows = np.random.default_rng(6).normal(size=(5, 2))
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([0.5, 0.9, 0.3, 0.2, 0.8])
    expected = {
        "sample_weighted_mean": a,
        "information_weighted_mean": a,
        "qfi_weighted_mean": a * b,
        "wpqfl_style": a * b,
        "fidelity_weighted_mean": b + (1 - b) / 16,
        "q_rail_style": np.maximum(0.9 * np.exp(b / 0.1) / np.exp(b / 0.1).sum() + 0.1 / 5, 0.1 / 5),
    }
    for name, weights in expected.items():
        claims = {"samples": a, "information": a, "shots": a, "quantum_fisher": b, "contraction": b}
        result = getattr(aggregation, name)(rows, n_byzantine=0, **claims)
        np.testing.assert_allclose(result.weights, weights / weights.sum(), rtol=1e-12)
        np.testing.assert_allclose(result.value, np.average(rows, axis=0, weights=weights), rtol=1e-10)


def test_claims_without_a_meaning_are_left_out() -> None:
    claims = np.array([1.0, np.nan, -1, 0, np.inf, 2])
    result = aggregation.sample_weighted_mean(np.arange(12.0).reshape(6, 2), n_byzantine=1, samples=claims)
    np.testing.assert_array_equal(result.left_out, [False, True, True, True, True, False])
    np.testing.assert_allclose(result.weights, [1 / 3, 0, 0, 0, 0, 2 / 3])


@pytest.mark.parametrize("f", [0, 2])
def test_weighted_rules_are_unweighted_ones_on_repeated_rows(f: int) -> None:
    """Whole weights below the cap: every row counts that many times, and lambda of the weight is trimmed."""
    rng = np.random.default_rng(7)
    rows, counts = rng.normal(size=(12, 4)), rng.integers(2, 4, 12)
    repeated = np.repeat(rows, counts, axis=0)
    heaviest = int(np.sort(counts)[::-1][:f].sum())
    pairs = {
        "weighted_coordinate_median": "coordinate_median",
        "weighted_trimmed_mean": "trimmed_mean",
        "weighted_geometric_median": "geometric_median",
        "weighted_nnm_trimmed_mean": "nnm_trimmed_mean",
        "weighted_nnm_geometric_median": "nnm_geometric_median",
    }
    for weighted, plain in pairs.items():
        expected = getattr(aggregation, plain)(repeated, n_byzantine=heaviest).value
        value = getattr(aggregation, weighted)(rows, n_byzantine=f, information=counts).value
        np.testing.assert_allclose(value, expected, atol=1e-7)
    for anchor in ("coordinate_median", "geometric_median"):
        centre = getattr(aggregation, anchor)(repeated, n_byzantine=heaviest).value
        nearest = np.argsort(np.linalg.norm(repeated - centre, axis=1), kind="stable")[: len(repeated) - heaviest]
        value = getattr(aggregation, f"ctma_{anchor}")(rows, n_byzantine=f, information=counts).value
        np.testing.assert_allclose(value, repeated[nearest].mean(axis=0), atol=1e-10)


@settings(max_examples=100, deadline=None)
@given(
    logarithms=st.lists(st.floats(-10, 10), min_size=3, max_size=12),
    share=st.floats(0, 0.99),
    factor=st.floats(1e-3, 1e3),
)
def test_capped_weights(logarithms: list[float], share: float, factor: float) -> None:
    """The f heaviest hold lambda* where a cap is needed and less where it is not; nobody else is changed."""
    claims, n_nodes = np.exp(logarithms), len(logarithms)
    f = int(share * ((n_nodes - 1) // 2 + 1))
    weights, lam = capped_weights(claims, f)
    allowed = (f / n_nodes + 0.5) / 2
    assert weights.sum() == pytest.approx(1.0)
    assert lam == pytest.approx(np.sort(weights)[::-1][:f].sum())
    claimed = np.sort(claims)[::-1][:f].sum() / claims.sum()
    assert lam == pytest.approx(min(claimed, allowed) if f else 0.0, abs=1e-9)
    ratio = weights / claims
    uncapped = ratio >= ratio.max() * (1 - 1e-9)
    assert np.all(weights[~uncapped] == pytest.approx(weights.max()))
    np.testing.assert_allclose(capped_weights(factor * claims, f)[0], weights, rtol=1e-6, atol=1e-12)


def test_weighting_pays_when_noise_differs() -> None:
    """50 draws, half of the nodes 100 times noisier: weighting lowers the squared error by more than a tenth."""
    rng = np.random.default_rng(8)
    variances = np.where(np.arange(40) < 20, 0.1, 10.0)
    draws = [rng.normal(size=(40, 8)) * np.sqrt(variances)[:, None] for _ in range(50)]
    for weighted, plain in (
        ("weighted_coordinate_median", "coordinate_median"),
        ("weighted_trimmed_mean", "trimmed_mean"),
        ("weighted_geometric_median", "geometric_median"),
        ("ctma_geometric_median", "geometric_median"),
    ):
        errors = [
            (
                np.sum(getattr(aggregation, weighted)(rows, n_byzantine=4, information=1 / variances).value ** 2),
                np.sum(getattr(aggregation, plain)(rows, n_byzantine=4).value ** 2),
            )
            for rows in draws
        ]
        better, worse = np.mean(errors, axis=0)
        assert better < 0.9 * worse


def test_preceded_by_composes_and_reports_the_share_of_every_node() -> None:
    rows = np.random.default_rng(9).normal(size=(12, 3)) * 3
    for preaggregation, parameters in (
        (aggregation.nearest_neighbor_mixing, {}),
        (aggregation.bucketing, {"size": 3, "seed": 4}),
        (aggregation.clipping, {"norm": 1.5}),
        (aggregation.adaptive_robust_clipping, {}),
    ):
        mixed = preaggregation(rows, n_byzantine=1, **parameters)
        composed = aggregation.preceded_by(preaggregation, aggregation.krum)
        assert composed.__name__ == f"{preaggregation.__name__}_krum"
        result = composed(rows, n_byzantine=1, **parameters)
        chosen = aggregation.krum(mixed, n_byzantine=1)
        np.testing.assert_allclose(result.value, chosen.value, rtol=1e-12)
        matrix = np.linalg.lstsq(rows.T, chosen.value, rcond=None)[0]
        assert matrix.shape == result.weights.shape
        if preaggregation in (aggregation.nearest_neighbor_mixing, aggregation.bucketing):
            np.testing.assert_allclose(result.weights @ rows, result.value, rtol=1e-10)
        else:
            np.testing.assert_array_equal(result.weights, chosen.weights)


def test_preceded_twice_with_parameters_of_all() -> None:
    rows = np.random.default_rng(10).normal(size=(20, 3)) * 3
    inner = aggregation.preceded_by(aggregation.bucketing, aggregation.centered_clipping)
    rule = aggregation.preceded_by(aggregation.clipping, inner)
    result = rule(rows, n_byzantine=2, norm=2.0, size=3, seed=5, radius=0.5)
    clipped = aggregation.clipping(rows, n_byzantine=2, norm=2.0)
    # Rows are sorted before they are mixed, buckets go by node: so does the oracle.
    buckets = aggregation.bucketing(clipped, n_byzantine=2, size=3, seed=5)
    expected = aggregation.centered_clipping(buckets, n_byzantine=2, radius=0.5)
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-10)
    assert result.memory["n_draws"] == 1
    later = rule(rows, n_byzantine=2, norm=2.0, size=3, seed=5, radius=0.5, memory=result.memory)
    assert later.memory["n_draws"] == 2
    with pytest.raises(DomainError, match="`norm`"):
        rule(rows, n_byzantine=2, norm=-1.0)


def test_rules_that_weigh_by_claims_cannot_be_preceded() -> None:
    with pytest.raises(DomainError, match="must not weigh by claims, but needs shots, quantum_fisher"):
        aggregation.preceded_by(aggregation.bucketing, aggregation.qfi_weighted_mean)


def test_bucketing_puts_every_node_in_one_bucket_and_refuses_too_few_of_them() -> None:
    eye = np.eye(11)
    buckets = aggregation.bucketing(eye, n_byzantine=1, size=3, seed=1)
    assert buckets.shape == (4, 11)
    np.testing.assert_allclose(np.sort((buckets > 0).sum(axis=1)), [2, 3, 3, 3])
    np.testing.assert_array_equal((buckets > 0).sum(axis=0), 1)
    assert not np.array_equal(buckets, aggregation.bucketing(eye, n_byzantine=1, size=3, seed=2))
    with pytest.raises(DomainError, match=r"more than 2f buckets, but f=15 and n=50 in buckets of 2 make 25\."):
        aggregation.bucketing(np.zeros((50, 1)), n_byzantine=15)


def test_bucketing_draws_anew_every_round() -> None:
    rows = np.random.default_rng(11).normal(size=(20, 3))
    first = aggregation.bucketing_krum(rows, n_byzantine=2)
    later = aggregation.bucketing_krum(rows, n_byzantine=2, memory=first.memory)
    assert not np.array_equal(first.weights, later.weights)
    with pytest.raises(DomainError, match="n_draws"):
        aggregation.bucketing_krum(rows, n_byzantine=2, memory={"n_draws": np.array(-1)})


def test_arc_shortens_as_many_as_it_should() -> None:
    rows = np.random.default_rng(12).normal(size=(10, 3))
    lengths = np.sort(np.linalg.norm(rows, axis=1))
    clipped = np.linalg.norm(aggregation.adaptive_robust_clipping(rows, n_byzantine=3), axis=1)
    # floor(6/10 * 7) = 4 of 10.
    np.testing.assert_allclose(np.sort(clipped), np.minimum(lengths, lengths[5]), rtol=1e-12)
    np.testing.assert_array_equal(aggregation.adaptive_robust_clipping(rows, n_byzantine=0), rows)
    nothing = np.array([[0.0, 0], [0, 0], [0, 0], [0, 0], [3, 4]])
    assert not aggregation.adaptive_robust_clipping(nothing, n_byzantine=2).any()


def test_reasons_to_refuse_are_known_before_there_are_updates() -> None:
    assert aggregation.reason_to_refuse(aggregation.bulyan, n_nodes=50, n_byzantine=11) == ""
    assert "n >= 4f + 3, but f=12, n=50" in aggregation.reason_to_refuse(aggregation.bulyan, n_nodes=50, n_byzantine=12)
    assert "2f >= n" in aggregation.reason_to_refuse(aggregation.mean, n_nodes=50, n_byzantine=25)
    three = partial(aggregation.bucketing_krum, size=3)
    assert "in buckets of 3 make 17" in aggregation.reason_to_refuse(three, n_nodes=50, n_byzantine=9)
    # Bulyan sees 10 buckets, too few for f = 2; the same without any look at the updates and with them.
    rule = aggregation.preceded_by(aggregation.bucketing, aggregation.bulyan)
    assert "f=2, n=10" in aggregation.reason_to_refuse(rule, n_nodes=20, n_byzantine=2)
    with pytest.raises(DomainError, match="f=2, n=10"):
        rule(np.full((20, 1), np.nan), n_byzantine=2)
    assert aggregation.needs_of(partial(aggregation.q_rail_style, floor=0.2)) == ("contraction",)


def test_debiased_lowers_what_it_tolerates_to_what_the_rule_can_do_with_those_left() -> None:
    rows = np.random.default_rng(13).normal(size=(11, 2))
    contraction = np.where(np.arange(11) < 8, 0.5, 0.01)
    result = aggregation.debiased(aggregation.bulyan)(rows, n_byzantine=2, contraction=contraction)
    assert result.n_byzantine == 1
    np.testing.assert_allclose(result.value, aggregation.bulyan(2 * rows[:8], n_byzantine=1).value)
    with pytest.raises(DomainError, match="f=3, n=11"):
        aggregation.debiased(aggregation.bulyan)(rows, n_byzantine=3, contraction=contraction)


def test_capped_weights_where_the_share_does_not_depend_on_the_cap() -> None:
    """Three huge claims of six are a third each under any cap, which is just what one of six may hold."""
    claims = np.array([1.237720710570887, 1.5824798183982665, 1.0911694193562302, 2e-17, 2e-17, 2e-17])
    weights, share = capped_weights(claims, 1)
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3, 0, 0, 0], atol=1e-12)
    assert share == pytest.approx(1 / 3)
