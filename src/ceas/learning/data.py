"""Data sets as rotation angles, and how their samples are split over learners."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError

__all__ = ["Dataset", "LearnerSamples", "load_digits", "logistic_baseline", "pad_samples", "split_over_learners"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SplitKind = Literal["iid", "dirichlet"]

# An image has 64 pixels, many of them almost constant; later components of two or three digits would be noise.
MAX_FEATURES = 16
# Components outside these quantiles of the training part are clipped, so that one outlier does not squeeze the rest.
LOW_QUANTILE, HIGH_QUANTILE = 0.01, 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled samples, encoded as rotation angles in [-pi/2, pi/2], in three disjoint parts.

    Angles have shape (samples, n_features) and labels shape (samples,) with values in [0, n_classes).
    """

    name: str
    train_angles: FloatArray
    train_labels: IntArray
    validation_angles: FloatArray
    validation_labels: IntArray
    test_angles: FloatArray
    test_labels: IntArray
    n_classes: int

    @property
    def n_features(self) -> int:
        """Number of angles per sample."""
        return int(self.train_angles.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSamples:
    """Which samples each learner holds, as a rectangular table.

    `index` has shape (learners, max_samples): row k starts with the `count[k]` sample indices of learner k; the rest of
    the row repeats the first of them, so that every entry is a valid index.
    """

    index: IntArray
    count: IntArray


def load_digits(
    classes: Sequence[int],
    *,
    n_features: int,
    test_fraction: float,
    validation_fraction: float,
    rng: np.random.Generator,
) -> Dataset:
    """Load scikit-learn's handwritten digits as angles of their principal components.

    The principal components and their ranges are fitted on the training part only. A component is mapped linearly so
    that its 1 % and 99 % quantiles become -pi/2 and pi/2, and is clipped there.

    Args:
        classes: Digits to tell apart, at least two different ones; the label of a sample is its place in this list.
        n_features: Number of principal components, one angle each, in [1, 16].
        test_fraction: Part of every class that goes to the test part, in (0, 1).
        validation_fraction: Part of every class that goes to the validation part, in (0, 1).
        rng: Generator that draws the three parts.

    Returns:
        The data set; each part has the same class proportions up to rounding.

    Raises:
        DomainError: An argument is outside its range, or a part of a class would be empty.

    Source:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository 1998 (test part, 1797
        images of 8 x 8 pixels), as shipped with scikit-learn.
    """
    _check_digits_arguments(classes, n_features)
    import sklearn.datasets  # noqa: PLC0415 - heavy, and needed here only
    import sklearn.decomposition  # noqa: PLC0415

    images, digits = sklearn.datasets.load_digits(return_X_y=True)
    labels = np.full(digits.shape, -1, dtype=np.int64)
    for label, digit in enumerate(classes):
        labels[digits == digit] = label
    images, labels = images[labels >= 0], labels[labels >= 0]
    train, validation, test = _stratified_parts(labels, test_fraction, validation_fraction, rng)
    if train.size <= n_features:
        raise DomainError(f"Argument `n_features` must be below {train.size} (training samples), but is {n_features}.")
    components = sklearn.decomposition.PCA(n_features, svd_solver="full").fit(images[train]).transform(images)
    angles = _to_angles(components, fitted_on=components[train])
    return Dataset(
        name="digits",
        train_angles=angles[train],
        train_labels=labels[train],
        validation_angles=angles[validation],
        validation_labels=labels[validation],
        test_angles=angles[test],
        test_labels=labels[test],
        n_classes=len(classes),
    )


def logistic_baseline(dataset: Dataset) -> float:
    """Return the test accuracy of multinomial logistic regression on the same angles, a classical reference."""
    import sklearn.linear_model  # noqa: PLC0415 - heavy, and needed here only

    model = sklearn.linear_model.LogisticRegression(max_iter=1000)
    model.fit(dataset.train_angles, dataset.train_labels)
    return float(model.score(dataset.test_angles, dataset.test_labels))


def split_over_learners(
    labels: IntArray,
    n_learners: int,
    *,
    kind: SplitKind,
    concentration: float = 1.0,
    rng: np.random.Generator,
) -> list[IntArray]:
    """Deal all samples to the learners, each sample to exactly one and each learner at least one.

    `iid` shuffles and cuts into parts whose sizes differ by at most one. `dirichlet` draws, for each class, the
    learners' proportions of that class from a symmetric Dirichlet law; learners left without a sample then get one
    from the learner that has most.

    Args:
        labels: Labels of the samples, shape (samples,).
        n_learners: Number of learners, at most the number of samples.
        kind: `"iid"` or `"dirichlet"`.
        concentration: Parameter of the Dirichlet law, positive; small means each class sits with few learners. The
            `iid` split does not use it.
        rng: Generator that draws the split.

    Returns:
        One array of sample indices, sorted, per learner.

    Raises:
        DomainError: `n_learners` or `concentration` is outside its range, or `kind` is unknown.

    Source:
        Hsu, Qi and Brown, Measuring the effects of non-identical data distribution for federated visual
        classification, arXiv 1909.06335; here the proportions are drawn per class, as in Yurochkin et al., ICML 2019.
    """
    if not 1 <= n_learners <= labels.size:
        raise DomainError(f"Argument `n_learners` must be in [1, {labels.size}] (samples), but is {n_learners}.")
    if kind == "iid":
        shuffled = rng.permutation(labels.size)
        return [np.sort(part) for part in np.array_split(shuffled, n_learners)]
    if kind != "dirichlet":
        raise DomainError(f"Argument `kind` must be `iid` or `dirichlet`, but is `{kind}`.")
    if not 0 < concentration < np.inf:
        raise DomainError(f"Argument `concentration` must be positive and finite, but is {concentration}.")
    return _dirichlet_split(labels, n_learners, concentration, rng)


def pad_samples(parts: Sequence[IntArray]) -> LearnerSamples:
    """Lay the learners' sample indices out as one rectangular table.

    Args:
        parts: One non-empty array of sample indices per learner, as `split_over_learners` gives them.

    Raises:
        DomainError: There is no learner, or one has no sample.
    """
    count = np.array([part.size for part in parts], dtype=np.int64)
    if count.size == 0 or count.min() == 0:
        raise DomainError("Argument `parts` must hold at least one sample for every learner, but does not.")
    index = np.empty((count.size, count.max()), dtype=np.int64)
    for row, part in zip(index, parts, strict=True):
        row[: part.size] = part
        row[part.size :] = part[0]
    return LearnerSamples(index=index, count=count)


def _check_digits_arguments(classes: Sequence[int], n_features: int) -> None:
    if len(classes) < 2 or len(set(classes)) != len(classes) or not set(classes) <= set(range(10)):
        raise DomainError(f"Argument `classes` must be two or more different digits, but is {list(classes)}.")
    if not 1 <= n_features <= MAX_FEATURES:
        raise DomainError(f"Argument `n_features` must be in [1, {MAX_FEATURES}], but is {n_features}.")


def _stratified_parts(
    labels: IntArray, test_fraction: float, validation_fraction: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """Cut every class at random into training, validation and test indices."""
    parts: tuple[list[IntArray], list[IntArray], list[IntArray]] = ([], [], [])
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_test = round(test_fraction * members.size)
        n_validation = round(validation_fraction * members.size)
        n_train = members.size - n_test - n_validation
        if min(n_train, n_validation, n_test) < 1:
            raise DomainError(
                "Arguments `test_fraction` and `validation_fraction` must leave a sample of every class in each part, "
                f"but are {test_fraction} and {validation_fraction}."
            )
        for part, chosen in zip(parts, np.split(members, [n_train, n_train + n_validation]), strict=True):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation, test


def _to_angles(components: FloatArray, *, fitted_on: FloatArray) -> FloatArray:
    low, high = np.quantile(fitted_on, [LOW_QUANTILE, HIGH_QUANTILE], axis=0)
    clipped: FloatArray = np.clip((components - low) / (high - low), 0.0, 1.0)
    return np.pi * (clipped - 0.5)


def _dirichlet_split(
    labels: IntArray, n_learners: int, concentration: float, rng: np.random.Generator
) -> list[IntArray]:
    owner = np.empty(labels.size, dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(n_learners, concentration))
        cuts = np.round(np.cumsum(proportions)[:-1] * members.size).astype(np.int64)
        for learner, chosen in enumerate(np.split(members, cuts)):
            owner[chosen] = learner
    _feed_empty_learners(owner, n_learners, rng)
    return [np.flatnonzero(owner == learner) for learner in range(n_learners)]


def _feed_empty_learners(owner: IntArray, n_learners: int, rng: np.random.Generator) -> None:
    count = np.bincount(owner, minlength=n_learners)
    for learner in np.flatnonzero(count == 0):
        richest = int(np.argmax(count))
        owner[rng.choice(np.flatnonzero(owner == richest))] = learner
        count[richest] -= 1
        count[learner] += 1
