"""Data sets as a quantum circuit takes them: labelled angles or states, in three disjoint parts.

A data set starts as `Samples`, all that its source holds. `prepare` chooses classes, cuts the samples into training,
validation and test part, and makes angles or amplitudes of their features, fitted on the training part alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.features import (
    FEATURE_KINDS,
    HALF_TURN,
    SCALINGS,
    FeatureKind,
    Scaling,
    check_range,
    reduce_features,
    to_amplitudes,
    to_angles,
)
from ceas.learning.splits import SplitKind, split_over_learners

__all__ = [
    "Dataset",
    "Encoding",
    "LearnerSamples",
    "Preparation",
    "Samples",
    "SplitKind",
    "bowles_preparation",
    "load_digits",
    "logistic_baseline",
    "pad_samples",
    "prepare",
    "split_over_learners",
]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IntArray = npt.NDArray[np.int64]
Encoding = Literal["angles", "amplitudes"]

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled samples in three disjoint parts, each with the same class proportions up to rounding.

    Angles have shape (samples, n_features), rad, and labels shape (samples,) with values in [0, n_classes). Where
    samples are states, these have shape (samples, 2^qubits), qubit 0 being the most significant bit of an amplitude's
    index, and there are no angles: n_features is 0. Otherwise the states are None.
    """

    name: str
    train_angles: FloatArray
    train_labels: IntArray
    validation_angles: FloatArray
    validation_labels: IntArray
    test_angles: FloatArray
    test_labels: IntArray
    n_classes: int
    train_states: ComplexArray | None = None
    validation_states: ComplexArray | None = None
    test_states: ComplexArray | None = None
    class_names: tuple[str, ...] = ()
    source: str = ""
    description: str = ""

    @property
    def n_features(self) -> int:
        """Number of angles per sample."""
        return int(self.train_angles.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All samples of a source, before anything is chosen, cut or fitted.

    Attributes:
        name: Name of the data set.
        labels: Shape (samples,), values in [0, classes).
        class_names: One name for each class.
        features: Shape (samples, columns), or None where samples are states.
        states: Shape (samples, 2^qubits), normalised, or None.
        usual_features: How the features are reduced when nobody says how.
        source: Where the samples are from, one line.
        description: What a sample is and what its label says, one line.
    """

    name: str
    labels: IntArray
    class_names: tuple[str, ...]
    features: FloatArray | None = None
    states: ComplexArray | None = None
    usual_features: FeatureKind = "raw"
    source: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What a data set is made into for a circuit.

    Attributes:
        n_features: Angles per sample, as the circuit takes them; not used where samples become or are states.
        n_qubits: Qubits of the states where samples become or are states; else not used.
        classes: Labels to tell apart, at least two different ones, or None for all; the label of a sample becomes its
            place in this list.
        test_fraction: Part of every class that goes to the test part, in (0, 1).
        validation_fraction: Part of every class that goes to the validation part, in (0, 1).
        features: `"raw"`, `"pca"` or `"standardised_pca"`, see `reduce_features`; None is the data set's usual way.
        encoding: `"angles"`, or `"amplitudes"` for states, which reduce to 2^n_qubits features where they are reduced.
        scaling: `"quantile"`, `"min_max"` or `"standard"`, see `to_angles`.
        angle_range: Least and greatest angle, rad.
    """

    n_features: int = 0
    n_qubits: int | None = None
    classes: tuple[int, ...] | None = None
    test_fraction: float = 0.3
    validation_fraction: float = 0.1
    features: FeatureKind | None = None
    encoding: Encoding = "angles"
    scaling: Scaling = "quantile"
    angle_range: tuple[float, float] = HALF_TURN

    def __post_init__(self) -> None:
        """Refuse names that are not known and ranges that are not ranges, before any data is read."""
        for label, name, known in (
            ("kind of features", self.features, FEATURE_KINDS),
            ("encoding", self.encoding, ENCODINGS),
            ("scaling", self.scaling, SCALINGS),
        ):
            if name is not None and name not in known:
                raise UnknownNameError(label, name, known)
        check_range(self.angle_range)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSamples:
    """Which samples each learner holds, as a rectangular table.

    `index` has shape (learners, max_samples): row k starts with the `count[k]` sample indices of learner k; the rest of
    the row repeats the first of them, so that every entry is a valid index.
    """

    index: IntArray
    count: IntArray


def bowles_preparation(
    *,
    n_features: int,
    classes: tuple[int, ...] | None = None,
    features: FeatureKind = "standardised_pca",
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
) -> Preparation:
    """Return the preparation of the benchmark of Bowles et al., so that numbers can be held beside theirs.

    MNIST there: every pixel standardised, principal components, each mapped from its least and greatest training value
    to -pi/2 and pi/2, nothing clipped; the generated sets: `features="raw"`, the same range. So for their re-uploading,
    IQP and separable models, which then search a factor on all angles among their settings, 1 here. Their dressed
    circuit takes scaling `standard`, their circuit-centric model amplitudes of unscaled features.

    Source:
        Bowles, Ahmed and Schuld, Better than classical? The subtle art of benchmarking quantum machine learning models,
        arXiv 2403.07059, and its code XanaduAI/qml-benchmarks (`data/mnist.py`, `models/*.py`). A fifth of the
        generated sets is their test part; MNIST there comes with its own, and validation is by cross-validation in the
        rest.
    """
    return Preparation(
        n_features=n_features,
        classes=classes,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        features=features,
        scaling="min_max",
    )


def prepare(samples: Samples, preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Choose classes, cut the samples into three parts and encode them as angles or states.

    Args:
        samples: All samples of a source.
        preparation: What to make of them.
        rng: Generator that draws the three parts.

    Returns:
        The data set; each part has the same class proportions up to rounding, in the order of `samples`.

    Raises:
        DomainError: An argument is outside its range, or a part of a class would be empty.
    """
    classes = _checked_classes(samples, preparation.classes)
    label_of_class = np.full(len(samples.class_names), -1, dtype=np.int64)
    label_of_class[list(classes)] = np.arange(len(classes))
    labels = label_of_class[samples.labels]
    chosen = labels >= 0
    labels = labels[chosen]
    names = tuple(samples.class_names[label] for label in classes)
    parts = _stratified_parts(labels, preparation.test_fraction, preparation.validation_fraction, rng, names)
    if samples.states is not None:
        states: ComplexArray | None = _checked_states(samples.states[chosen], preparation)
        angles = np.empty((labels.size, 0))
    else:
        assert samples.features is not None
        angles, states = _encoded(samples.features[chosen], parts[0], preparation, samples.usual_features)
    train, validation, test = parts
    return Dataset(
        name=samples.name,
        train_angles=angles[train],
        train_labels=labels[train],
        validation_angles=angles[validation],
        validation_labels=labels[validation],
        test_angles=angles[test],
        test_labels=labels[test],
        n_classes=len(classes),
        train_states=None if states is None else states[train],
        validation_states=None if states is None else states[validation],
        test_states=None if states is None else states[test],
        class_names=names,
        source=samples.source,
        description=samples.description,
    )


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
        n_features: Number of principal components, one angle each, in [1, 64].
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
    from ceas.learning.datasets import digits  # noqa: PLC0415 - it builds on this module

    preparation = Preparation(
        n_features=n_features,
        classes=tuple(classes),
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
    )
    return digits(preparation, rng=rng)


def logistic_baseline(dataset: Dataset) -> float:
    """Return the test accuracy of multinomial logistic regression on the same inputs, a classical reference.

    Of states it sees the expectation values that `classical_inputs` lists.
    """
    import sklearn.linear_model  # noqa: PLC0415 - heavy, and needed here only

    from ceas.learning.baselines import classical_inputs  # noqa: PLC0415 - it builds on this module

    train, _, test = classical_inputs(dataset)
    model = sklearn.linear_model.LogisticRegression(max_iter=1000)
    model.fit(train, dataset.train_labels)
    return float(model.score(test, dataset.test_labels))


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


def _checked_classes(samples: Samples, classes: tuple[int, ...] | None) -> tuple[int, ...]:
    n_classes = len(samples.class_names)
    chosen = tuple(range(n_classes)) if classes is None else classes
    if len(chosen) < 2 or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(n_classes)):
        raise DomainError(
            f"Argument `classes` must be two or more different labels of {samples.name}, in [0, {n_classes - 1}], "
            f"but is {list(chosen)}."
        )
    return chosen


def _stratified_parts(
    labels: IntArray,
    test_fraction: float,
    validation_fraction: float,
    rng: np.random.Generator,
    names: Sequence[str] = (),
) -> tuple[IntArray, IntArray, IntArray]:
    """Cut every class at random into training, validation and test indices; names of classes are for messages."""
    parts: tuple[list[IntArray], list[IntArray], list[IntArray]] = ([], [], [])
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_test = round(test_fraction * members.size)
        n_validation = round(validation_fraction * members.size)
        n_train = members.size - n_test - n_validation
        if min(n_train, n_validation, n_test) < 1:
            name = names[label] if names else label
            raise DomainError(
                "Arguments `test_fraction` and `validation_fraction` must leave a sample of every class in each part, "
                f"but are {test_fraction} and {validation_fraction} for the {members.size} of class {name}."
            )
        for part, chosen in zip(parts, np.split(members, [n_train, n_train + n_validation]), strict=True):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation, test


def _encoded(
    features: FloatArray, train: IntArray, preparation: Preparation, usual: FeatureKind
) -> tuple[FloatArray, ComplexArray | None]:
    kind = preparation.features or usual
    if preparation.encoding == "angles":
        columns = reduce_features(features, train=train, kind=kind, n_features=preparation.n_features)
        scaling, angle_range = preparation.scaling, preparation.angle_range
        return to_angles(columns, fitted_on=columns[train], scaling=scaling, angle_range=angle_range), None
    n_qubits = preparation.n_qubits
    if n_qubits is None or n_qubits < 1:
        raise DomainError(f"Argument `n_qubits` must be at least 1 for amplitudes, but is {n_qubits}.")
    n_columns = features.shape[1] if kind == "raw" else min(2**n_qubits, features.shape[1])
    columns = reduce_features(features, train=train, kind=kind, n_features=n_columns)
    return np.empty((len(features), 0)), to_amplitudes(columns, n_qubits=n_qubits)


def _checked_states(states: ComplexArray, preparation: Preparation) -> ComplexArray:
    if preparation.n_qubits is not None and states.shape[1] != 2**preparation.n_qubits:
        raise DomainError(
            f"Argument `n_qubits` must be {states.shape[1].bit_length() - 1}, the qubits of the states, "
            f"but is {preparation.n_qubits}."
        )
    return states
