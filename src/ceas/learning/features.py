"""Features of samples: reduced to as many columns as a circuit takes, then scaled to angles or to amplitudes.

Whatever is fitted (mean, deviation, principal components, ranges) is fitted on the training part and applied to all.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError

__all__ = [
    "FEATURE_KINDS",
    "HALF_TURN",
    "SCALINGS",
    "FeatureKind",
    "Scaling",
    "reduce_features",
    "to_amplitudes",
    "to_angles",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
FeatureKind = Literal["raw", "pca", "standardised_pca"]
Scaling = Literal["quantile", "min_max", "standard"]

FEATURE_KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
HALF_TURN = (-np.pi / 2, np.pi / 2)
# Features outside these quantiles of the training part are clipped, so that one outlier does not squeeze the rest.
LOW_QUANTILE, HIGH_QUANTILE = 0.01, 0.99
# A component with less than this share of the variance of the first is rounding error of a column that is constant.
LEAST_VARIANCE_SHARE = 1e-12


def reduce_features(features: FloatArray, *, train: IntArray, kind: FeatureKind, n_features: int) -> FloatArray:
    """Reduce samples to `n_features` columns.

    `raw` takes the columns as they are and needs exactly `n_features` of them. `pca` projects on the first principal
    components. `standardised_pca` first shifts and scales every column to mean 0 and standard deviation 1, which is
    what columns of different units need.

    Args:
        features: Samples, shape (samples, columns).
        train: Indices of the training part, on which means, deviations and components are fitted.
        kind: `"raw"`, `"pca"` or `"standardised_pca"`.
        n_features: Number of columns to return, at least 1 and at most the rank of the training part.

    Returns:
        All samples, shape (samples, n_features), in the order of `features`.

    Raises:
        DomainError: There are not as many columns, training samples or components that vary.
        UnknownNameError: `kind` is unknown.
    """
    n_columns = features.shape[1]
    if kind not in FEATURE_KINDS:
        raise UnknownNameError("kind of features", kind, FEATURE_KINDS)
    if kind == "raw":
        if n_features != n_columns:
            raise DomainError(
                f"Argument `n_features` must be {n_columns}, the number of raw features, but is {n_features}; "
                "choose features `pca` or `standardised_pca` to have fewer."
            )
        return features
    if not 1 <= n_features <= n_columns:
        raise DomainError(f"Argument `n_features` must be in [1, {n_columns}] (features), but is {n_features}.")
    if train.size <= n_features:
        raise DomainError(f"Argument `n_features` must be below {train.size} (training samples), but is {n_features}.")
    if kind == "standardised_pca":
        import sklearn.preprocessing  # noqa: PLC0415 - heavy, and needed here only

        features = sklearn.preprocessing.StandardScaler().fit(features[train]).transform(features)
    return _principal_components(features, train, n_features)


def to_angles(
    features: FloatArray,
    *,
    fitted_on: FloatArray,
    scaling: Scaling = "quantile",
    angle_range: tuple[float, float] = HALF_TURN,
) -> FloatArray:
    """Scale every column to rotation angles.

    `quantile` maps the 1 % and 99 % quantiles of `fitted_on` to the ends of the range and clips there. `min_max` maps
    its least and greatest value to the ends and clips nothing, so that other samples can lie outside. `standard` gives
    the standard score, in rad, and does not use the range. A column without spread in `fitted_on` says nothing: it
    becomes the middle of the range, or 0.

    Args:
        features: Samples, shape (samples, columns).
        fitted_on: Samples that decide the scales, shape (other samples, columns): the training part.
        scaling: `"quantile"`, `"min_max"` or `"standard"`.
        angle_range: Least and greatest angle, rad.

    Returns:
        Angles, shape (samples, columns), rad.

    Raises:
        DomainError: `angle_range` is not two increasing finite numbers.
        UnknownNameError: `scaling` is unknown.
    """
    low_angle, high_angle = check_range(angle_range)
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)
    if scaling == "standard":
        return _fraction(features, fitted_on.mean(axis=0), fitted_on.std(axis=0), constant=0.0)
    if scaling == "quantile":
        low, high = np.quantile(fitted_on, [LOW_QUANTILE, HIGH_QUANTILE], axis=0)
        fraction = np.clip(_fraction(features, low, high - low, constant=0.5), 0.0, 1.0)
    else:
        low, high = fitted_on.min(axis=0), fitted_on.max(axis=0)
        fraction = _fraction(features, low, high - low, constant=0.5)
    angles: FloatArray = (high_angle - low_angle) * (fraction - 0.5) + (low_angle + high_angle) / 2
    return angles


def to_amplitudes(features: FloatArray, *, n_qubits: int) -> npt.NDArray[np.complex128]:
    """Write every sample into the amplitudes of a state: padded with zeros to 2^n_qubits and divided by its norm.

    Args:
        features: Samples, shape (samples, columns), at most 2^n_qubits columns, none of them all zero.
        n_qubits: Number of qubits, at least 1; qubit 0 is the most significant bit of an amplitude's index.

    Returns:
        States, shape (samples, 2^n_qubits). Nothing but a sample's direction is left of it.

    Raises:
        DomainError: There are more columns than amplitudes, or a sample is zero.

    Source:
        Schuld, Bocharov, Svore and Wiebe, Phys. Rev. A 101, 032308 (2020), arXiv 1804.03680. The code of
        Bowles et al., arXiv 2403.07059, pads with the constant 2^-n_qubits instead of zeros.
    """
    n_samples, n_columns = features.shape
    if n_columns > 2**n_qubits:
        raise DomainError(
            f"Argument `n_qubits` must be at least {(n_columns - 1).bit_length()} for the amplitudes of {n_columns} "
            f"features, but is {n_qubits}."
        )
    norms = np.linalg.norm(features, axis=1)
    if not np.all(norms > 0):
        raise DomainError(f"Argument `features` must have no zero row, but row {int(np.argmin(norms))} is zero.")
    states = np.zeros((n_samples, 2**n_qubits), dtype=np.complex128)
    states[:, :n_columns] = features / norms[:, None]
    return states


def check_range(angle_range: Sequence[float]) -> tuple[float, float]:
    """Return the two ends of a range, or refuse it."""
    if len(angle_range) != 2 or not -np.inf < angle_range[0] < angle_range[1] < np.inf:
        raise DomainError(f"Argument `angle_range` must be two increasing finite angles, but is {list(angle_range)}.")
    return angle_range[0], angle_range[1]


def _principal_components(features: FloatArray, train: IntArray, n_features: int) -> FloatArray:
    import sklearn.decomposition  # noqa: PLC0415 - heavy, and needed here only

    model = sklearn.decomposition.PCA(n_features, svd_solver="full").fit(features[train])
    n_varying = int(np.sum(model.explained_variance_ > LEAST_VARIANCE_SHARE * model.explained_variance_[0]))
    if n_varying < n_features:
        raise DomainError(
            f"Argument `n_features` must be at most {n_varying}, the components that vary in the training part, "
            f"but is {n_features}."
        )
    components: FloatArray = model.transform(features)
    return components


def _fraction(features: FloatArray, low: FloatArray, width: FloatArray, *, constant: float) -> FloatArray:
    has_spread = width > 0
    return np.where(has_spread, (features - low) / np.where(has_spread, width, 1.0), constant)
