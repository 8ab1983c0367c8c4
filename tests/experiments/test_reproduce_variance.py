"""Gradient variances of weights, over that of the best linear unbiased estimate."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ceas.errors import RunDirectoryError
from ceas.experiments import reproduce_variance
from ceas.experiments.reproduce_falsifiers import ALIKE_DATA, EQUAL_NODES
from ceas.experiments.reproduce_plan import QUICK
from ceas.experiments.reproduce_variance import SCHEMES, TRAINED_ROUNDS, variance_figures, variance_ratios
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


def test_what_is_measured_is_kept_and_not_measured_again(tmp_path, monkeypatch):
    measured = []

    def ratios_of(scenario, seed, *, repeats):
        assert scenario.byzantine.n_byzantine == 0
        measured.append((scenario.scenario_id, seed, repeats))
        return {name: np.full(len(TRAINED_ROUNDS), 1.0 + seed) for name in SCHEMES}

    monkeypatch.setattr(reproduce_variance, "variance_ratios", ratios_of)
    monkeypatch.setattr(reproduce_variance, "spawned_pool", lambda _: nullcontext(SimpleNamespace(map=map)))
    base, kept = load_scenario("headline"), tmp_path / "variance"
    first = variance_figures(QUICK, base, out=kept)
    assert [seed for _, seed, _ in measured] == list(QUICK.seeds)
    (file, _) = kept.glob("*.json")
    assert variance_figures(QUICK, base, out=kept) == first
    assert len(measured) == len(QUICK.seeds)
    variance_figures(replace(QUICK, seeds=(0, 1, 2)), base, out=kept)
    for variant in (ALIKE_DATA, EQUAL_NODES):
        variance_figures(QUICK, base, out=kept, overrides=variant)
    assert len(measured) == len(set(measured)) == 3 * len(QUICK.seeds) + 1
    file.write_text('{"ceas": [1.0]}')
    with pytest.raises(RunDirectoryError, match="no gradient variances"):
        variance_figures(QUICK, base, out=kept)


@pytest.mark.slow
def test_equal_weights_are_optimal_on_equal_nodes():
    scenario = load_scenario("headline", [*BASE, *EQUAL_NODES])
    ratios = variance_ratios(scenario, 1, repeats=60)
    assert ratios["equal"][0] < 1.1
    assert np.isclose(ratios["equal"][0], ratios["certified information"][0], atol=0.1)
