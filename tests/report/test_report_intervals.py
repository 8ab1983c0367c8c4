from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from ceas.report.intervals import cell_estimate, clear_differences, curve_estimate, difference
from ceas.report.source import Table


def rows_of(**values_of_method: Mapping[int, float]) -> Table:
    rows = [
        {"method": method, "attack": "a", "seed": seed, "score": score}
        for method, values in values_of_method.items()
        for seed, score in values.items()
    ]
    return Table({name: np.array([row[name] for row in rows]) for name in rows[0]})


def test_a_cell_has_the_mean_and_student_interval_of_its_own_rows() -> None:
    values = [0.90, 0.93, 0.88, 0.95]
    rows = rows_of(ours=dict(enumerate(values)), other={0: 0.1, 1: 0.2})
    found = cell_estimate(rows, "ours", "a", "score")
    low, high = stats.t.interval(0.95, df=3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.n_values) == pytest.approx((np.mean(values), low, high, 4))


def test_values_that_were_not_measured_are_left_out_and_not_counted() -> None:
    found = cell_estimate(rows_of(ours={0: 0.5, 1: np.nan}), "ours", "a", "score")
    assert (found.mean, found.n_values) == (0.5, 1)
    assert np.isnan(found.low)
    assert cell_estimate(rows_of(ours={0: 0.5}), "absent", "a", "score").n_values == 0


def test_differences_pair_equal_seeds_whatever_their_order() -> None:
    rows = rows_of(first={3: 0.5, 1: 0.9, 7: 0.2}, second={1: 0.91, 3: 0.52, 9: 0.0})
    found = difference(rows, "second", "first", "a", "score")
    assert found.n_pairs == 2
    assert found.mean == pytest.approx(0.015)


def test_only_a_difference_beyond_luck_is_called_clear() -> None:
    luck = np.array([0.02, -0.03, 0.01, 0.0, -0.01, 0.02])
    first = {seed: 0.8 + seed / 100 for seed in range(6)}
    equal = {seed: first[seed] + luck[seed] for seed in range(6)}
    worse = {seed: first[seed] - 0.2 + luck[seed] for seed in range(6)}
    clear = clear_differences(
        rows_of(first=first, equal=equal, worse=worse), ["first", "equal", "worse"], ["a"], "score"
    )
    assert set(clear) == {("worse", "a")}
    assert clear["worse", "a"] == pytest.approx(-0.2 + luck.mean())


def test_a_single_seed_makes_nothing_clear() -> None:
    assert clear_differences(rows_of(first={0: 0.9}, second={0: 0.1}), ["first", "second"], ["a"], "score") == {}


def test_a_curve_averages_over_seeds_round_by_round() -> None:
    curves = Table(
        {
            "method": np.array(["m"] * 4 + ["other"]),
            "attack": np.array(["a"] * 5),
            "round": np.array([9, 4, 4, 9, 4]),
            "test_accuracy": np.array([0.8, 0.2, 0.4, 1.0, 0.0]),
        }
    )
    curve = curve_estimate(curves, "m", "a")
    assert curve.rounds.tolist() == [4, 9]
    assert curve.mean == pytest.approx([0.3, 0.9])
    half = stats.t.ppf(0.975, 1) * 0.1
    assert curve.high - curve.mean == pytest.approx([half, half])
