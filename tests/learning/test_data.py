"""Data sets and their split over learners."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning.data import (
    Dataset,
    _stratified_parts,
    load_digits,
    logistic_baseline,
    pad_samples,
    split_over_learners,
)

PARTS = ("train", "validation", "test")


def four_digits(seed: int = 0, **changes: Any) -> Dataset:
    arguments: dict[str, Any] = {"n_features": 4, "test_fraction": 0.25, "validation_fraction": 0.15} | changes
    return load_digits(arguments.pop("classes", [0, 1, 2, 3]), rng=np.random.default_rng(seed), **arguments)


def test_parts_hold_every_image_once_with_equal_class_proportions() -> None:
    dataset = four_digits()
    digits = sklearn.datasets.load_digits().target
    sizes = np.array([np.bincount(getattr(dataset, f"{part}_labels"), minlength=4) for part in PARTS])
    total = np.bincount(digits[digits < 4])
    np.testing.assert_array_equal(sizes.sum(axis=0), total)
    assert np.abs(sizes - np.outer([0.6, 0.15, 0.25], total)).max() <= 1
    rows = np.concatenate([getattr(dataset, f"{part}_angles") for part in PARTS])
    assert rows.shape == (total.sum(), 4)
    assert dataset.n_features == 4
    assert np.unique(rows, axis=0).shape == rows.shape


def test_angles_use_the_whole_range_and_one_percent_is_clipped_on_each_side() -> None:
    angles = four_digits().train_angles
    assert angles.min() == -np.pi / 2
    assert angles.max() == np.pi / 2
    for edge in (-np.pi / 2, np.pi / 2):
        share = (angles == edge).mean(axis=0)
        assert np.all((share >= 1 / len(angles)) & (share <= 0.02))


def test_components_and_ranges_are_fitted_on_the_training_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    images, digits = sklearn.datasets.load_digits(return_X_y=True)
    images, digits = images[digits < 4], digits[digits < 4]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: (images, digits))
    honest = four_digits()
    train, _, _ = _stratified_parts(digits, 0.25, 0.15, np.random.default_rng(0))
    others = np.setdiff1d(np.arange(digits.size), train)
    images = images.copy()
    images[others] = 100 * np.random.default_rng(1).random((others.size, 64))
    corrupted = four_digits()
    np.testing.assert_array_equal(corrupted.train_angles, honest.train_angles)
    assert np.any(corrupted.test_angles != honest.test_angles)


def test_labels_follow_the_order_of_the_classes() -> None:
    ascending, descending = four_digits(classes=[3, 8]), four_digits(classes=[8, 3])
    digits = sklearn.datasets.load_digits().target
    count = [np.sum(digits == digit) for digit in (3, 8)]
    for dataset, expected in ((ascending, count), (descending, count[::-1])):
        labels = np.concatenate([getattr(dataset, f"{part}_labels") for part in PARTS])
        np.testing.assert_array_equal(np.bincount(labels), expected)
        assert dataset.n_classes == 2


def test_the_generator_decides_the_parts() -> None:
    first, again, other = four_digits(3), four_digits(3), four_digits(4)
    np.testing.assert_array_equal(first.train_angles, again.train_angles)
    assert np.any(first.train_angles != other.train_angles)


def test_logistic_regression_separates_digits_but_not_shuffled_labels() -> None:
    """Accuracy 1/4 with 180 test samples has standard deviation 0.032; 0.45 is 6 of them."""
    dataset = four_digits()
    assert logistic_baseline(dataset) > 0.85
    shuffled = np.random.default_rng(0).permutation(dataset.train_labels)
    assert logistic_baseline(dataclasses.replace(dataset, train_labels=shuffled)) < 0.45


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("classes", {"classes": [1]}),
        ("classes", {"classes": [1, 1]}),
        ("classes", {"classes": [1, 10]}),
        ("n_features", {"n_features": 0}),
        ("n_features", {"n_features": 17}),
        ("n_features", {"classes": [0, 1], "n_features": 16, "test_fraction": 0.5, "validation_fraction": 0.48}),
        ("test_fraction", {"test_fraction": 0.0}),
        ("test_fraction", {"validation_fraction": 0.001}),
        ("test_fraction", {"test_fraction": 0.6, "validation_fraction": 0.4}),
    ],
)
def test_wrong_arguments_are_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=f"`{name}`"):
        four_digits(**changes)


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    learner_share=st.floats(0, 1),
    concentration=st.sampled_from([1e-3, 0.1, 1.0, 100.0]),
    kind=st.sampled_from(["iid", "dirichlet"]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=200)
def test_every_sample_goes_to_one_learner_and_every_learner_gets_one(
    labels: list[int], learner_share: float, concentration: float, kind: Any, seed: int
) -> None:
    array = np.array(labels)
    n_learners = 1 + int(learner_share * (array.size - 1))

    def split() -> list[npt.NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        return split_over_learners(array, n_learners, kind=kind, concentration=concentration, rng=rng)

    parts = split()
    sizes = [part.size for part in parts]
    assert len(parts) == n_learners
    assert min(sizes) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(array.size))
    assert all(np.array_equal(part, again) for part, again in zip(parts, split(), strict=True))
    if kind == "iid":
        assert max(sizes) - min(sizes) <= 1

    samples = pad_samples(parts)
    np.testing.assert_array_equal(samples.count, sizes)
    for row, part in zip(samples.index, parts, strict=True):
        np.testing.assert_array_equal(row[: part.size], part)
        assert set(row) == set(part)


def test_iid_parts_are_random() -> None:
    parts = split_over_learners(np.zeros(100, dtype=np.int64), 2, kind="iid", rng=np.random.default_rng(0))
    assert 20 < np.sum(parts[0] < 50) < 30  # hypergeometric, standard deviation 2.5; 25 would be its mean


def test_dirichlet_proportions_have_the_variance_of_their_law() -> None:
    """E sum_k p_k^2 = (c + 1) / (L c + 1); classes are drawn apart. 400 draws x 2 classes, z-test at 1e-6 per c."""
    labels = np.repeat([0, 1], 2000)
    for concentration in (0.3, 3.0):
        rng = np.random.default_rng(1)
        shares = []
        for _ in range(400):
            parts = split_over_learners(labels, 5, kind="dirichlet", concentration=concentration, rng=rng)
            shares.append([np.bincount(labels[part], minlength=2) / 2000 for part in parts])
        array = np.array(shares)  # (draws, learners, classes)
        squares = (array**2).sum(axis=1).ravel()
        expected = (concentration + 1) / (5 * concentration + 1)
        z_score = (squares.mean() - expected) / (squares.std() / np.sqrt(squares.size))
        assert abs(z_score) < scipy.stats.norm.isf(5e-7)
        correlation = np.corrcoef(array[:, 0, 0], array[:, 0, 1])[0, 1]
        assert abs(correlation) * np.sqrt(400) < scipy.stats.norm.isf(5e-7)


def test_wrong_splits_are_refused() -> None:
    labels, rng = np.array([0, 1, 1]), np.random.default_rng(0)
    for n_learners in (0, 4):
        with pytest.raises(DomainError, match="`n_learners` must"):
            split_over_learners(labels, n_learners, kind="iid", rng=rng)
    wrong: Any = "shards"
    with pytest.raises(DomainError, match="`kind` must"):
        split_over_learners(labels, 2, kind=wrong, rng=rng)
    for concentration in (0.0, np.inf, np.nan):
        with pytest.raises(DomainError, match="`concentration` must"):
            split_over_learners(labels, 2, kind="dirichlet", concentration=concentration, rng=rng)
    for parts in ([], [np.array([0]), np.zeros(0, dtype=np.int64)]):
        with pytest.raises(DomainError, match="`parts` must"):
            pad_samples(parts)
