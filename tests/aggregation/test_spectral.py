"""The filter by the covariance against its definition by singular values, also where it iterates or starts anew."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas import aggregation
from ceas.aggregation import spectral

FloatArray = NDArray[np.float64]


def _filtered(rows: FloatArray, n_byzantine: int) -> FloatArray:
    mass, best_spread, best_mean = np.ones(len(rows)), np.inf, rows[0]
    while mass.sum() > len(rows) - 2 * n_byzantine:
        live = mass > 0
        shares = mass[live] / mass.sum()
        residuals = rows[live] - shares @ rows[live]
        _, spreads, directions = np.linalg.svd(np.sqrt(shares)[:, None] * residuals, full_matrices=False)
        if spreads[0] < best_spread:
            best_spread, best_mean = float(spreads[0]), shares @ rows[live]
        projections = (residuals @ directions[0]) ** 2
        mass[live] *= 1 - projections / projections.max()
        mass[mass < 1e-9] = 0
    return np.asarray(best_mean)


def _rows(kind: str, n_nodes: int, n_parameters: int) -> FloatArray:
    rng = np.random.default_rng([n_nodes, n_parameters])
    rows = rng.normal(size=(n_nodes, n_parameters))
    n_apart = min(n_nodes // 4, 20)
    if kind == "huge":
        rows[:n_apart] *= np.geomspace(1e3, 1e80, n_apart)[:, None]
    elif kind == "far":
        rows[n_apart:] = 1e6 + 1e-3 * rows[n_apart:]
    elif kind == "copies":
        rows[:n_apart] = rows[0]
    return rows


@pytest.mark.parametrize("kind", ["normal", "huge", "far", "copies"])
@pytest.mark.parametrize("shape", [(60, 20), (40, 90), (310, 340), (350, 305)])
def test_caf_is_the_filter_by_singular_values(kind: str, shape: tuple[int, int]) -> None:
    rows = _rows(kind, *shape)
    f = 3 * shape[0] // 10
    expected = _filtered(rows, f)
    value = aggregation.caf(rows, n_byzantine=f).value
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("n_nodes", [40, 320])
def test_equal_eigenvalues_and_rank_one(n_nodes: int) -> None:
    """Where the direction is anybody's choice the spread still is not; one direction ends the iteration at once."""
    rows = np.vstack([np.eye(n_nodes), -np.eye(n_nodes)])[::2]
    leading = spectral._InnerProducts(rows).leading
    for shares in (np.full(n_nodes, 1 / n_nodes), np.arange(n_nodes) / (n_nodes * (n_nodes - 1) / 2)):
        residuals = np.sqrt(shares)[:, None] * (rows - shares @ rows)
        spread, _ = leading(shares)
        assert spread == pytest.approx(np.linalg.svd(residuals, compute_uv=False)[0], rel=1e-12)
    line = np.linspace(-1, 1, n_nodes)[:, None] * np.ones(n_nodes)
    spread, projections = spectral._InnerProducts(line).leading(np.full(n_nodes, 1 / n_nodes))
    assert spread == pytest.approx(np.sqrt(n_nodes) * np.linspace(-1, 1, n_nodes).std(), rel=1e-12)
    np.testing.assert_allclose(projections, np.linspace(-1, 1, n_nodes) ** 2, atol=1e-12)


@pytest.mark.parametrize("n_nodes", [40, 320])
def test_rows_without_weight_count_for_nothing(n_nodes: int) -> None:
    rows = _rows("huge", n_nodes, n_nodes + 10)
    leading = spectral._InnerProducts(rows).leading
    leading(np.full(n_nodes, 1 / n_nodes))
    shares = np.where(np.arange(n_nodes) < n_nodes // 4, 0.0, 1.0)
    shares /= shares.sum()
    rest = rows[shares > 0] - rows[shares > 0].mean(axis=0)
    spread, projections = leading(shares)
    assert spread == pytest.approx(np.linalg.norm(rest, 2) / np.sqrt(len(rest)), rel=1e-10)
    assert not projections[shares == 0].any()
