"""Generated sets: what their definitions say of them, in closed form where there is one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning import generators
from ceas.learning.data import Dataset, Preparation

PARTS = ("train", "validation", "test")


def whole(dataset: Dataset) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return all samples and labels, the parts one after another."""
    angles = np.concatenate([getattr(dataset, f"{part}_angles") for part in PARTS])
    return angles, np.concatenate([getattr(dataset, f"{part}_labels") for part in PARTS])


def drawn(generate: Callable[..., Dataset], n_features: int, seed: int = 0, **own: Any) -> Dataset:
    """Generate features whose only change is a common shift and scale of each column, by its training range."""
    preparation = Preparation(n_features=n_features, features="raw", scaling="min_max", angle_range=(-1.0, 1.0))
    return generate(preparation, rng=np.random.default_rng(seed), **own)


@pytest.mark.parametrize(
    ("generate", "own"),
    [
        (generators.hidden_manifold, {}),
        (generators.two_curves, {}),
        (generators.linearly_separable, {}),
        (generators.hyperplanes_parity, {}),
        (generators.bars_and_stripes, {"height": 2, "width": 3}),
    ],
)
def test_generated_sets_have_their_sizes_and_depend_on_the_generator(
    generate: Callable[..., Dataset], own: dict[str, Any]
) -> None:
    first, again, other = (drawn(generate, 6, seed, n_samples=101, **own) for seed in (0, 0, 1))
    angles, labels = whole(first)
    assert angles.shape == (101, 6)
    assert first.n_classes == 2 == len(first.class_names)
    assert np.unique(angles, axis=0).shape == angles.shape
    np.testing.assert_array_equal(angles, whole(again)[0])
    assert np.any(angles != whole(other)[0])
    if generate in (generators.hidden_manifold, generators.two_curves, generators.hyperplanes_parity):
        assert abs(np.sum(labels) - 50.5) == 0.5


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 3), (1, 3)])
def test_clean_bars_and_stripes_are_as_many_as_combinatorics_says(height: int, width: int) -> None:
    """2^height + 2^width - 2 images; one is missed by chance with probability below 16 exp(-3000 / 32) < 1e-39."""
    dataset = drawn(generators.bars_and_stripes, height * width, n_samples=3000, height=height, width=width, noise=0.0)
    angles, labels = whole(dataset)
    assert len(np.unique(angles, axis=0)) == 2**height + 2**width - 2
    images = angles.reshape(-1, height, width)
    assert np.all(images[labels == 0] == images[labels == 0][:, :1, :])
    assert np.all(images[labels == 1] == images[labels == 1][:, :, :1])


def test_pixels_of_bars_have_the_noise_that_was_asked_for() -> None:
    """Pixels are -1 or 1 plus noise of deviation 0.5: the variance is 1.25, up to a column's scale.

    The difference of two pixels of a bar is noise alone, variance 0.5. z-test at 1e-6 of their ratio: of n samples the
    relative deviation of a normal variable's variance is sqrt(2 / n), of a pixel's sqrt(0.72 / n); at worst they add.
    """
    dataset = drawn(generators.bars_and_stripes, 2, n_samples=8000, height=2, width=1)
    angles, labels = whole(dataset)
    low, high = angles[:, 0], angles[:, 1]
    scale = high.std() / low.std()  # undo the columns' scales, both of variance 1.25 before
    bars = labels == 0
    ratio = np.var(low[bars] - high[bars] / scale) / np.var(low)
    assert abs(ratio / (0.5 / 1.25) - 1) < scipy.stats.norm.isf(5e-7) * (np.sqrt(2) + 2 * np.sqrt(0.72)) / np.sqrt(
        bars.sum()
    )


def test_curves_are_one_offset_apart() -> None:
    """Without noise and with a huge offset the classes are copies: equal spread, and distance by the offset."""
    angles, labels = whole(drawn(generators.two_curves, 3, n_samples=400, offset=50.0, noise=0.0))
    gap = angles[labels == 1].mean(axis=0) - angles[labels == 0].mean(axis=0)
    np.testing.assert_allclose(gap, 2.0, rtol=0.05)  # the curves are within 2 of each other, the range spans 50 or more
    together, _ = whole(drawn(generators.two_curves, 3, n_samples=400, offset=0.0, noise=0.0))
    # Points of a curve of three coordinates have a close neighbour on it, points of a volume have not.
    distances = np.linalg.norm(together[:, None] - together, axis=2) + 10 * np.eye(400)
    assert np.median(distances.min(axis=1)) < 0.02


def test_curves_of_degree_one_lie_in_a_plane() -> None:
    angles, _ = whole(drawn(generators.two_curves, 5, n_samples=200, degree=1, offset=0.0, noise=0.0))
    spread = np.linalg.svd(angles - angles.mean(axis=0), compute_uv=False)
    assert np.all(spread[2:] < 1e-12 * spread[0])
    angles, _ = whole(drawn(generators.two_curves, 5, n_samples=200, degree=2, offset=0.0, noise=0.0))
    assert np.linalg.svd(angles - angles.mean(axis=0), compute_uv=False)[3] > 1e-6


def test_separable_points_keep_their_distance() -> None:
    """The preparation scales each column by nearly the same, so the plane is found by eye: sums near 0 do not occur."""
    angles, labels = whole(drawn(generators.linearly_separable, 3, n_samples=500, margin=0.6))
    sums = angles.sum(axis=1)
    assert np.all(sums[labels == 0] > 0.5)
    assert np.all(sums[labels == 1] < -0.5)
    default, _ = whole(drawn(generators.linearly_separable, 3, n_samples=500))
    assert np.abs(default.sum(axis=1)).min() < 0.2


def test_one_hyperplane_is_a_linear_border_and_features_have_its_dimension() -> None:
    import sklearn.svm

    angles, labels = whole(drawn(generators.hyperplanes_parity, 6, n_samples=300, n_hyperplanes=1, dimension=2))
    assert sklearn.svm.SVC(kernel="linear", C=1e6).fit(angles, labels).score(angles, labels) > 0.99
    spread = np.linalg.svd(angles - angles.mean(axis=0), compute_uv=False)
    assert np.all(spread[2:] < 1e-12 * spread[0])


def test_a_manifold_of_one_dimension_is_a_curve() -> None:
    """x = tanh(f c - b): every coordinate is a monotonic function of c, hence of every other coordinate."""
    angles, labels = whole(drawn(generators.hidden_manifold, 4, n_samples=200, manifold_dimension=1))
    order = np.argsort(angles[:, 0])
    steps = np.diff(angles[order], axis=0)
    assert np.all((np.all(steps >= 0, axis=0)) | (np.all(steps <= 0, axis=0)))
    # v tanh(w c) is monotonic in c as well, so the label changes once along it.
    assert np.count_nonzero(np.diff(labels[order])) == 1


@pytest.mark.parametrize(
    ("name", "generate", "own"),
    [
        ("n_samples", generators.hidden_manifold, {"n_samples": 0}),
        ("manifold_dimension", generators.hidden_manifold, {"manifold_dimension": 0}),
        ("degree", generators.two_curves, {"degree": 0}),
        ("noise", generators.two_curves, {"noise": -0.1}),
        ("offset", generators.two_curves, {"offset": np.inf}),
        ("noise", generators.bars_and_stripes, {"noise": np.nan}),
        ("height", generators.bars_and_stripes, {"height": 0}),
        ("n_features", generators.bars_and_stripes, {}),
        ("margin", generators.linearly_separable, {"margin": 3.0}),
        ("margin", generators.linearly_separable, {"margin": -0.1}),
        ("margin", generators.linearly_separable, {"margin": 2.9999, "n_samples": 10}),
        ("n_hyperplanes", generators.hyperplanes_parity, {"n_hyperplanes": 0}),
        ("dimension", generators.hyperplanes_parity, {"dimension": 0}),
    ],
)
def test_wrong_arguments_are_refused(name: str, generate: Callable[..., Dataset], own: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=f"`{name}` must"):
        drawn(generate, 3, **own)


@pytest.mark.parametrize(
    "generate",
    [generators.hidden_manifold, generators.two_curves, generators.linearly_separable, generators.hyperplanes_parity],
)
def test_sets_that_need_a_number_of_columns_refuse_none(generate: Callable[..., Dataset]) -> None:
    with pytest.raises(DomainError, match="`n_features` must be at least 1"):
        drawn(generate, 0)
