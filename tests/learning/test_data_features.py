"""Reduction and scaling of features: closed forms, and what is fitted on what."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.features import reduce_features, to_amplitudes, to_angles


def test_quantiles_are_mapped_to_the_ends_and_clipped_there() -> None:
    fitted_on = np.arange(101.0)[:, None]  # quantiles 1 and 99
    features = np.array([[-5.0], [1.0], [50.0], [74.5], [99.0], [1000.0]])
    angles = to_angles(features, fitted_on=fitted_on, angle_range=(0.0, np.pi))
    np.testing.assert_allclose(angles[:, 0], np.pi * np.array([0, 0, 0.5, 0.75, 1, 1]), atol=1e-15)


def test_extremes_are_mapped_to_the_ends_and_others_lie_outside() -> None:
    fitted_on = np.array([[0.0], [4.0]])
    angles = to_angles(
        np.array([[-2.0], [0.0], [1.0], [6.0]]), fitted_on=fitted_on, scaling="min_max", angle_range=(-np.pi, np.pi)
    )
    np.testing.assert_allclose(angles[:, 0], np.pi * np.array([-2, -1, -0.5, 2]), atol=1e-15)


def test_standard_scores_have_mean_zero_and_deviation_one() -> None:
    fitted_on = np.random.default_rng(0).normal(3.0, 5.0, size=(40, 2))
    angles = to_angles(fitted_on, fitted_on=fitted_on, scaling="standard")
    np.testing.assert_allclose(angles.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(angles.std(axis=0), 1, rtol=1e-14)


@pytest.mark.parametrize(("scaling", "middle"), [("quantile", 1.0), ("min_max", 1.0), ("standard", 0.0)])
def test_a_column_without_spread_becomes_the_middle(scaling: Any, middle: float) -> None:
    features = np.array([[7.0], [9.0]])
    angles = to_angles(features, fitted_on=np.full((5, 1), 7.0), scaling=scaling, angle_range=(0.0, 2.0))
    np.testing.assert_array_equal(angles, middle)


@given(
    features=st_numpy.arrays(np.float64, (6, 3), elements=st.integers(-50, 50).map(float)),
    scale=st.sampled_from([0.5, 2.0, 8.0]),
    shift=st.integers(-20, 20),
    scaling=st.sampled_from(["quantile", "min_max", "standard"]),
)
def test_angles_do_not_depend_on_units(features: Any, scale: float, shift: int, scaling: Any) -> None:
    """So whatever a source does to a column alone, shift or scale, is undone."""
    before = to_angles(features, fitted_on=features[:4], scaling=scaling)
    moved = features * scale + shift
    np.testing.assert_allclose(to_angles(moved, fitted_on=moved[:4], scaling=scaling), before, atol=1e-9)


def test_principal_components_of_a_line_are_positions_on_it() -> None:
    position = np.array([-2.0, 0.0, 1.0, 3.0, 10.0])
    features = position[:, None] * np.array([0.6, 0.8]) + [5.0, -1.0]
    train = np.arange(4)
    components = reduce_features(features, train=train, kind="pca", n_features=1)[:, 0]
    np.testing.assert_allclose(np.abs(np.diff(components)), np.diff(position), rtol=1e-12)
    np.testing.assert_allclose(components[train].mean(), 0, atol=1e-12)
    with pytest.raises(DomainError, match="`n_features` must be at most 1, the components that vary"):
        reduce_features(features, train=train, kind="pca", n_features=2)


def test_standardised_components_do_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4))
    train = np.arange(20)
    units = np.array([1e-6, 1.0, 1e3, 1e9])
    plain = reduce_features(features, train=train, kind="standardised_pca", n_features=4)
    np.testing.assert_allclose(
        reduce_features(features * units, train=train, kind="standardised_pca", n_features=4), plain, atol=1e-9
    )
    assert not np.allclose(reduce_features(features, train=train, kind="pca", n_features=4), plain)


def test_raw_features_are_left_alone() -> None:
    features = np.arange(12.0).reshape(4, 3)
    assert reduce_features(features, train=np.arange(2), kind="raw", n_features=3) is features


def test_amplitudes_are_normalised_and_padded() -> None:
    states = to_amplitudes(np.array([[3.0, 0.0, -4.0]]), n_qubits=2)
    np.testing.assert_allclose(states, [[0.6, 0, -0.8, 0]], atol=1e-15)
    assert states.dtype == np.complex128


def test_wrong_features_are_refused() -> None:
    features, train, wrong = np.eye(4), np.arange(4), "PCA"
    kind: Any = wrong
    with pytest.raises(UnknownNameError, match="unknown kind of features `PCA`"):
        reduce_features(features, train=train, kind=kind, n_features=4)
    with pytest.raises(UnknownNameError, match="unknown scaling `PCA`"):
        to_angles(features, fitted_on=features, scaling=kind)
    with pytest.raises(DomainError, match="`n_features` must be 4, the number of raw features"):
        reduce_features(features, train=train, kind="raw", n_features=3)
    with pytest.raises(DomainError, match=r"`n_features` must be in \[1, 4\]"):
        reduce_features(features, train=train, kind="pca", n_features=5)
    with pytest.raises(DomainError, match="`n_features` must be below 4 "):
        reduce_features(features, train=train, kind="pca", n_features=4)
    with pytest.raises(DomainError, match="`n_qubits` must be at least 3 for the amplitudes of 5 features"):
        to_amplitudes(np.ones((2, 5)), n_qubits=2)
    with pytest.raises(DomainError, match="row 1 is zero"):
        to_amplitudes(np.array([[1.0, 0.0], [0.0, 0.0]]), n_qubits=1)
