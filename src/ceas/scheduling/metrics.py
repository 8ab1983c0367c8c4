"""By what schedulers are compared: what became of the pairs, what they delivered, how good they were, who waited."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.records import FIDELITY_BINS, Fate, NetworkModel, WindowRecord, used_by_routes, value_by_class

__all__ = [
    "ScheduleMetrics",
    "fidelity_mean",
    "fidelity_quantile",
    "jain_index",
    "learner_value",
    "schedule_metrics",
]

USED = (Fate.LEARNING, Fate.KEY, Fate.TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleMetrics:
    """Measures of the rounds of one run. A ratio of nothing to nothing is NaN.

    Args:
        generated: Pairs born.
        fates: Pairs closed in these rounds by fate; `Fate.ALIVE` is the stock at the end of the last.
        route_used: Pairs of fate ROUTE that ended in a delivered or tested end-to-end pair.
        utilisation: Part of the closed pairs that were used, for learning, keys or tests; expired and discarded pairs
            count in full.
        utilisation_without_tests: The same with tested pairs as not used.
        delivered_value: Value delivered to learning, key, test and background traffic, shape `(4,)`.
        fidelity_at_use_mean: Mean fidelity of the used pairs of each class at their use, shape `(3,)`.
        fidelity_at_use_p05: Fidelity that 5 % of them stay below, shape `(3,)`.
        n_shots: Shots run.
        shot_wait_mean_s: Mean time for which a ready QPU waited for the pairs of a shot (s).
        key_requested: Key requests that arrived.
        key_served: Key requests that were served.
        key_dropped: Key requests whose deadline passed.
        key_served_fraction: Part of the key requests settled in these rounds that were served.
        key_wait_mean_s: Mean time that the served key requests waited (s).
        blocked_fraction: Part of the time in which links had no free memory, mean over the links.
        route_requested: Requests for end-to-end pairs by class, keys, tests and background traffic, shape `(3,)`.
        route_served: Of these, those that got one, shape `(3,)`.
    """

    generated: int
    fates: dict[Fate, int]
    route_used: int
    utilisation: float
    utilisation_without_tests: float
    delivered_value: npt.NDArray[np.float64]
    fidelity_at_use_mean: npt.NDArray[np.float64]
    fidelity_at_use_p05: npt.NDArray[np.float64]
    n_shots: int
    shot_wait_mean_s: float
    key_requested: int
    key_served: int
    key_dropped: int
    key_served_fraction: float
    key_wait_mean_s: float
    blocked_fraction: float
    route_requested: npt.NDArray[np.float64]
    route_served: npt.NDArray[np.float64]


def fidelity_mean(histogram: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean fidelity of histograms over [0.25, 1], shape `(..., bins)`, from the middles of the bins."""
    middles = 0.25 + 0.75 * (np.arange(FIDELITY_BINS) + 0.5) / FIDELITY_BINS
    with np.errstate(invalid="ignore"):
        mean: npt.NDArray[np.float64] = (histogram @ middles) / histogram.sum(axis=-1)
    return mean


def fidelity_quantile(histogram: npt.NDArray[np.int64], quantile: float) -> npt.NDArray[np.float64]:
    """Return a quantile of histograms over [0.25, 1], shape `(..., bins)`, linear within a bin (of width 0.0075).

    Raises:
        DomainError: `quantile` is outside [0, 1].
    """
    if not 0.0 <= quantile <= 1.0:
        raise DomainError(f"Argument `quantile` must be in [0, 1], but is {quantile}.")
    edges = np.linspace(0.25, 1.0, FIDELITY_BINS + 1)
    rows = histogram.reshape(-1, FIDELITY_BINS)
    values = np.full(len(rows), np.nan)
    for at, row in enumerate(rows):
        total = row.sum()
        if total > 0:
            filled = np.flatnonzero(row)
            cumulative = np.cumsum(row)[filled] / total
            chosen = min(int(np.searchsorted(cumulative, quantile)), len(filled) - 1)
            below = cumulative[chosen - 1] if chosen > 0 else 0.0
            part = (quantile - below) / (cumulative[chosen] - below)
            values[at] = edges[filled[chosen]] + part * (edges[1] - edges[0])
    return values.reshape(histogram.shape[:-1])


def learner_value(records: Sequence[WindowRecord], model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return the value delivered to each learner that uses pairs, the sum over its shots of prod w^2.

    Of Bell-diagonal pairs the weighted mean of the squared correlators takes the place of w^2.
    """
    weights = np.array(model.demand.correlator_weights)
    value = np.zeros(model.n_learners)
    for record in records:
        squares = record.shot_pairs.astype(np.float64) ** 2
        information = np.prod(squares if squares.ndim == 2 else squares @ weights, axis=1)
        value += np.bincount(record.shot_learner, weights=information, minlength=model.n_learners)
    return np.asarray(model.demand.learning_value * value[model.demand.learner_link >= 0])


def jain_index(shares: npt.NDArray[np.float64]) -> float:
    """Return (sum x)^2 / (n sum x^2), 1 when all get the same and 1/n when one gets all; NaN when nobody gets any.

    Source:
        Jain, Chiu and Hawe, DEC-TR-301, 1984, equation (2).
    """
    squares = float(len(shares) * np.square(shares).sum())
    return float(shares.sum()) ** 2 / squares if squares > 0.0 else float("nan")


def schedule_metrics(records: Sequence[WindowRecord]) -> ScheduleMetrics:
    """Return the measures of consecutive rounds of one run.

    Raises:
        DomainError: `records` is empty.
    """
    if not records:
        raise DomainError("Argument `records` must hold at least one round, but is empty.")
    closed = np.sum([record.fates.sum(axis=0) for record in records], axis=0)
    fates = {fate: int(closed[fate]) for fate in Fate}
    fates[Fate.ALIVE] = int(records[-1].fates[:, Fate.ALIVE].sum())
    n_closed = sum(fates[fate] for fate in Fate if fate is not Fate.ALIVE)
    route_used = sum(int(used_by_routes(record).sum()) for record in records)
    n_used = sum(fates[fate] for fate in USED) + route_used
    delivered_value = np.sum([value_by_class(record) for record in records], axis=0)
    histogram = np.sum([record.fidelity_at_use for record in records], axis=0)
    n_shots = sum(len(record.shot_learner) for record in records)
    served, dropped = fates[Fate.KEY], _total(records, "key_dropped")
    span_ns = sum(record.end_ns - record.start_ns for record in records) * len(records[0].generated)
    return ScheduleMetrics(
        generated=_total(records, "generated"),
        fates=fates,
        route_used=route_used,
        utilisation=_ratio(n_used, n_closed),
        utilisation_without_tests=_ratio(n_used - fates[Fate.TEST], n_closed),
        delivered_value=delivered_value,
        fidelity_at_use_mean=fidelity_mean(histogram),
        fidelity_at_use_p05=fidelity_quantile(histogram, 0.05),
        n_shots=n_shots,
        shot_wait_mean_s=_ratio(_total(records, "shot_wait_ns") * 1e-9, n_shots),
        key_requested=_total(records, "key_requested"),
        key_served=served,
        key_dropped=dropped,
        key_served_fraction=_ratio(served, served + dropped),
        key_wait_mean_s=_ratio(_total(records, "key_wait_ns") * 1e-9, served),
        blocked_fraction=_ratio(_total(records, "blocked_ns"), span_ns),
        route_requested=_of_routes(records, "requested"),
        route_served=_of_routes(records, "served"),
    )


def _total(records: Sequence[WindowRecord], name: str) -> int:
    return sum(int(getattr(record, name).sum()) for record in records)


def _of_routes(records: Sequence[WindowRecord], name: str) -> npt.NDArray[np.float64]:
    total = np.zeros(3)
    for record in records:
        if record.routes is not None:
            total += record.routes.by_class(name)
    return total


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
