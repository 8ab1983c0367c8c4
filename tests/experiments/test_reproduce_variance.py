"""Gradient variances of weights, over that of the best linear unbiased estimate."""

import numpy as np
import pytest

from ceas.experiments.reproduce_falsifiers import EQUAL_NODES
from ceas.experiments.reproduce_variance import SCHEMES, TRAINED_ROUNDS, variance_ratios
from ceas.experiments.scenario import load_scenario

BASE = ["byzantine.n_byzantine=0", "byzantine.attack=none"]


@pytest.fixture(scope="module")
def ratios():
    scenario = load_scenario("quickstart", BASE)
    return variance_ratios(scenario, 3, repeats=60)


def test_every_scheme_is_measured_at_every_point(ratios):
    assert set(ratios) == set(SCHEMES)
    assert all(one.shape == (len(TRAINED_ROUNDS),) for one in ratios.values())


def test_no_weights_of_raw_updates_pass_the_best_linear_unbiased_estimate(ratios):
    """With 30 draws of 24 parameters a variance is known to about 6 %, and the BLUE itself is estimated.

    A ratio below 0.8 would be off by more than three standard errors.
    """
    assert min(one.min() for name, one in ratios.items()) > 0.8


def test_certified_information_is_near_the_optimum_at_the_start(ratios):
    assert ratios["certified information"][0] < 1.15
    assert ratios["true contraction"][0] < 1.15


@pytest.mark.slow
def test_equal_weights_are_optimal_on_equal_nodes():
    scenario = load_scenario("headline", [*BASE, *EQUAL_NODES])
    ratios = variance_ratios(scenario, 1, repeats=60)
    assert ratios["equal"][0] < 1.1
    assert np.isclose(ratios["equal"][0], ratios["certified information"][0], atol=0.1)
