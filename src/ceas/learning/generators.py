"""Generated data sets of the benchmark of Bowles, Ahmed and Schuld, arXiv 2403.07059, from their definitions.

Their labels -1 and +1 are 0 and 1 here. Their code standardises some sets as a whole; here the preparation scales every
set, by its training part alone, which undoes any other scale. Numbers differ from theirs, which came from another
generator; the laws are the same.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.data import Dataset, Preparation, Samples, prepare
from ceas.learning.features import FeatureKind

__all__ = ["bars_and_stripes", "hidden_manifold", "hyperplanes_parity", "linearly_separable", "two_curves"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BENCHMARK = "Bowles, Ahmed and Schuld, arXiv 2403.07059"
# Rejection sampling gives up after as many batches; a class then has less than about one part in this of the mass.
MAX_BATCHES = 100


def hidden_manifold(
    preparation: Preparation,
    *,
    n_samples: int = 300,
    manifold_dimension: int = 6,
    rng: np.random.Generator,
) -> Dataset:
    """Generate points of a low-dimensional manifold, labelled by a neural network that sees the manifold.

    With c ~ N(0, 1)^m: x = tanh(F^T c / sqrt(m) - b), F standard normal (m, n_features), b uniform in [-1, 1]. The
    label is whether v . tanh(W c) / sqrt(m), W and v standard normal, is at least its median over all samples.

    Args:
        preparation: What to make of the samples; `n_features` is also the number of columns of x.
        n_samples: Number of samples.
        manifold_dimension: Dimension m of the manifold.
        rng: Generator that draws the samples, then the parts.

    Raises:
        DomainError: A number is below 1.

    Source:
        Goldt, Mézard, Krzakala and Zdeborová, Phys. Rev. X 10, 041044 (2020); Bowles et al., arXiv 2403.07059.
    """
    _at_least_one(n_samples=n_samples, manifold_dimension=manifold_dimension, n_features=preparation.n_features)
    m, n_columns = manifold_dimension, preparation.n_features
    embedding, hidden = rng.normal(size=(m, n_columns)), rng.normal(size=(n_samples, m))
    features = np.tanh(hidden @ embedding / np.sqrt(m) - rng.uniform(-1, 1, size=n_columns))
    weights, readout = rng.normal(size=(m, m)), rng.normal(size=m)
    score = np.tanh(hidden @ weights.T) @ readout / np.sqrt(m)
    labels = (score >= np.median(score)).astype(np.int64)
    samples = _samples(
        "hidden_manifold",
        features,
        labels,
        class_names=("low", "high"),
        description=f"Points of a curved manifold of dimension {m}; a label is what a neural network says of them.",
    )
    return prepare(samples, preparation, rng=rng)


def two_curves(
    preparation: Preparation,
    *,
    n_samples: int = 300,
    degree: int = 5,
    offset: float = 0.1,
    noise: float = 0.01,
    rng: np.random.Generator,
) -> Dataset:
    """Generate noisy points of two curves, the second the first moved by `offset` in every coordinate.

    x_i(t) = a_i0 + b_i0 + sum_k (a_ik cos(k pi t) + b_ik sin(k pi t)), k = 1 ... degree, t uniform in [0, 1); all
    coefficients uniform in [0, 1), then divided by the norm of them all.

    Args:
        preparation: What to make of the samples; `n_features` is also the number of coordinates.
        n_samples: Number of samples, half of them on each curve.
        degree: Greatest frequency.
        offset: Distance of the curves in every coordinate.
        noise: Standard deviation of every coordinate.
        rng: Generator that draws the samples, then the parts.

    Raises:
        DomainError: A number is below 1, or `offset` or `noise` is negative or not finite.

    Source:
        Buchanan, Gilboa and Wright, Deep networks and the multiple manifold problem, ICLR 2021; Bowles et al., arXiv
        2403.07059, where `offset` is 1 / (2 degree) when the degree varies.
    """
    _at_least_one(n_samples=n_samples, degree=degree, n_features=preparation.n_features)
    _not_negative(offset=offset, noise=noise)
    coefficients = rng.uniform(size=(preparation.n_features, degree + 1, 2))
    coefficients /= np.linalg.norm(coefficients)
    labels = np.arange(n_samples) % 2
    phase = np.pi * np.outer(rng.uniform(size=n_samples), np.arange(degree + 1))
    curve = np.cos(phase) @ coefficients[:, :, 0].T + np.sin(phase) @ coefficients[:, :, 1].T
    features = curve + coefficients[:, 0, 1] + offset * labels[:, None] + noise * rng.normal(size=curve.shape)
    samples = _samples(
        "two_curves",
        features,
        labels,
        class_names=("first", "second"),
        description="Noisy points of two curves that are Fourier series; a label is the curve.",
    )
    return prepare(samples, preparation, rng=rng)


def bars_and_stripes(
    preparation: Preparation,
    *,
    n_samples: int = 1200,
    height: int = 4,
    width: int = 4,
    noise: float = 0.5,
    rng: np.random.Generator,
) -> Dataset:
    """Generate noisy images of bars (0) or stripes (1): every column, or every row, is -1 or 1 by lot.

    Without noise there are 2^height + 2^width - 2 different images; the two of one colour occur with both labels.
    Usually as principal components; `raw` takes one angle for each of height x width pixels.

    Args:
        preparation: What to make of the images.
        n_samples: Number of images.
        height: Pixels in a column.
        width: Pixels in a row.
        noise: Standard deviation of every pixel.
        rng: Generator that draws the images, then the parts.

    Raises:
        DomainError: A number is below 1, or `noise` is negative or not finite.

    Source:
        Bowles et al., arXiv 2403.07059.
    """
    _at_least_one(n_samples=n_samples, height=height, width=width)
    _not_negative(noise=noise)
    labels = rng.integers(2, size=n_samples)
    bars = rng.integers(2, size=(n_samples, 1, width))
    stripes = rng.integers(2, size=(n_samples, height, 1))
    images = 2.0 * np.where(labels[:, None, None] == 0, bars, stripes) - 1
    features = (images + noise * rng.normal(size=images.shape)).reshape(n_samples, -1)
    samples = _samples(
        "bars_and_stripes",
        features,
        labels,
        class_names=("bars", "stripes"),
        description=f"Noisy images of {height} x {width} pixels; a label says bars or stripes.",
        usual_features="pca",
    )
    return prepare(samples, preparation, rng=rng)


def linearly_separable(
    preparation: Preparation,
    *,
    n_samples: int = 300,
    margin: float | None = None,
    rng: np.random.Generator,
) -> Dataset:
    """Generate points of the cube [-1, 1]^n on the two sides of the plane sum_i x_i = 0, none within a margin.

    Args:
        preparation: What to make of the samples; `n_features` is also the dimension of the cube.
        n_samples: Number of samples.
        margin: Least |sum_i x_i|, in [0, n_features); None is 0.02 n_features.
        rng: Generator that draws the samples, then the parts.

    Raises:
        DomainError: A number is outside its range, or next to no point is outside the margin.

    Source:
        Bowles et al., arXiv 2403.07059; the positive side has label 0 there as well.
    """
    n_columns = preparation.n_features
    _at_least_one(n_samples=n_samples, n_features=n_columns)
    least = 0.02 * n_columns if margin is None else margin
    if not 0 <= least < n_columns:
        raise DomainError(f"Argument `margin` must be in [0, {n_columns}) (features), but is {margin}.")

    def points() -> FloatArray:
        drawn: FloatArray = rng.uniform(-1, 1, size=(2 * n_samples, n_columns))
        outside: FloatArray = drawn[np.abs(drawn.sum(axis=1)) > least]
        return outside

    features = _collect(points, n_samples, "margin")
    labels = (features.sum(axis=1) < 0).astype(np.int64)
    samples = _samples(
        "linearly_separable",
        features,
        labels,
        class_names=("positive side", "negative side"),
        description="Points of a cube on two sides of a plane; a label is the side.",
    )
    return prepare(samples, preparation, rng=rng)


def hyperplanes_parity(
    preparation: Preparation,
    *,
    n_samples: int = 300,
    n_hyperplanes: int = 5,
    dimension: int = 3,
    rng: np.random.Generator,
) -> Dataset:
    """Generate points labelled by the parity of the number of hyperplanes that they are above.

    z ~ N(0, 1)^dimension is above plane j when w_j . z + b_j > 0, all w and b uniform in [0, 1). The features are z
    times a matrix (dimension, n_features) uniform in [0, 1). Both classes are equally large.

    Args:
        preparation: What to make of the samples; `n_features` is also the number of columns.
        n_samples: Number of samples.
        n_hyperplanes: Number of hyperplanes.
        dimension: Dimension of the space that the hyperplanes cut.
        rng: Generator that draws the samples, then the parts.

    Raises:
        DomainError: A number is below 1, or next to no point has one of the parities.

    Source:
        Bowles et al., arXiv 2403.07059; even parity has label 0 there as well.
    """
    _at_least_one(
        n_samples=n_samples, n_hyperplanes=n_hyperplanes, dimension=dimension, n_features=preparation.n_features
    )
    normals, biases = rng.uniform(size=(n_hyperplanes, dimension)), rng.uniform(size=n_hyperplanes)

    def points(parity: int) -> FloatArray:
        drawn: FloatArray = rng.normal(size=(4 * n_samples, dimension))
        kept: FloatArray = drawn[(drawn @ normals.T + biases > 0).sum(axis=1) % 2 == parity]
        return kept

    labels = np.arange(n_samples) % 2
    hidden = np.empty((n_samples, dimension))
    for parity in (0, 1):
        count = int(np.sum(labels == parity))
        hidden[labels == parity] = _collect(partial(points, parity), count, "n_hyperplanes")
    features = hidden @ rng.uniform(size=(dimension, preparation.n_features))
    samples = _samples(
        "hyperplanes_parity",
        features,
        labels,
        class_names=("even", "odd"),
        description=f"Points among {n_hyperplanes} hyperplanes; a label is the parity of those below a point.",
    )
    return prepare(samples, preparation, rng=rng)


def _samples(
    name: str,
    features: FloatArray,
    labels: IntArray,
    *,
    class_names: tuple[str, ...],
    description: str,
    usual_features: FeatureKind = "raw",
) -> Samples:
    return Samples(
        name=name,
        features=features,
        labels=labels,
        class_names=class_names,
        usual_features=usual_features,
        source=f"generated as in {BENCHMARK}",
        description=description,
    )


def _collect(draw: Callable[[], FloatArray], count: int, name: str) -> FloatArray:
    """Draw batches until there are enough points."""
    batches: list[FloatArray] = []
    while sum(map(len, batches)) < count:
        if len(batches) == MAX_BATCHES:
            raise DomainError(f"Argument `{name}` must leave points of every class, but next to none was drawn.")
        batches.append(draw())
    return np.concatenate(batches)[:count]


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {number}.")


def _not_negative(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < np.inf:
            raise DomainError(f"Argument `{name}` must be finite and at least 0, but is {number}.")
