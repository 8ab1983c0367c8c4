"""Means over seeds with their confidence intervals, and differences between methods, paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.experiments.statistics import MeanInterval, PairedDifference, holm, mean_interval, paired_difference
from ceas.report.source import Table

__all__ = ["Curve", "cell_estimate", "clear_differences", "curve_estimate", "difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Means over seeds at each training round, with the ends of their intervals; all of shape `(rounds,)`."""

    rounds: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _cell(rows: Table, method: str, attack: str) -> Table:
    keys = zip(rows.texts("method"), rows.texts("attack"), strict=True)
    return rows.where(np.array([key == (method, attack) for key in keys], bool))


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # A run that was never evaluated has no value; the number of values is shown beside every mean.
    return values[np.isfinite(values)]


def cell_estimate(rows: Table, method: str, attack: str, metric: str) -> MeanInterval:
    """Estimate the mean of a metric over the seeds of one method under one attack."""
    return mean_interval(_known(_cell(rows, method, attack).numbers(metric)))


def _by_seed(rows: Table, method: str, attack: str, metric: str) -> dict[int, float]:
    cell = _cell(rows, method, attack)
    values = zip(cell.integers("seed").tolist(), cell.numbers(metric).tolist(), strict=True)
    return {seed: value for seed, value in values if np.isfinite(value)}


def difference(rows: Table, method: str, baseline: str, attack: str, metric: str) -> PairedDifference:
    """Compare `method` with `baseline` over the seeds that both have.

    A seed fixes network, data and attackers, so pairing takes their common luck out of the interval.
    """
    ours, theirs = (_by_seed(rows, name, attack, metric) for name in (method, baseline))
    seeds = sorted(ours.keys() & theirs.keys())
    return paired_difference([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])


def clear_differences(
    rows: Table, methods: Sequence[str], attacks: Sequence[str], metric: str
) -> dict[tuple[str, str], float]:
    """Return the mean differences to the first method that are clear, by (method, attack).

    Clear means that the paired t-test rejects a difference of zero at 5 % after Holm's correction for all
    comparisons of the table.
    """
    found = {(m, a): difference(rows, m, methods[0], a, metric) for m in methods[1:] for a in attacks}
    tested = {key: value for key, value in found.items() if np.isfinite(value.p_value)}
    adjusted = holm([value.p_value for value in tested.values()])
    return {key: value.mean for (key, value), p in zip(tested.items(), adjusted, strict=True) if p < 0.05}


def curve_estimate(curves: Table, method: str, attack: str, column: str = "test_accuracy") -> Curve:
    """Estimate the mean of a column over seeds at each evaluated training round."""
    cell = _cell(curves, method, attack)
    at, values = cell.numbers("round"), cell.numbers(column)
    rounds = np.unique(at)
    found = [mean_interval(_known(values[at == number])) for number in rounds]
    return Curve(
        rounds=rounds,
        mean=np.array([one.mean for one in found]),
        low=np.array([one.low for one in found]),
        high=np.array([one.high for one in found]),
    )
