"""Which pair serves which demand, and when: the schedulers, and the measures by which they are compared.

A policy is made for a network model by its constructor, for example `oldest_first(model)`.
"""

from ceas.scheduling.baselines import freshest_first, oldest_first, random, static_tdma
from ceas.scheduling.index import ceas
from ceas.scheduling.metrics import ScheduleMetrics, fidelity_mean, fidelity_quantile, schedule_metrics

__all__ = [
    "ScheduleMetrics",
    "ceas",
    "fidelity_mean",
    "fidelity_quantile",
    "freshest_first",
    "oldest_first",
    "random",
    "schedule_metrics",
    "static_tdma",
]
