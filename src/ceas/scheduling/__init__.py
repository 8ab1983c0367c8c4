"""Which pair serves which demand, and when: the schedulers, and the measures by which they are compared.

A policy is made for a network model by its constructor, for example `oldest_first(model)`.
"""

from ceas.scheduling.baselines import freshest_first, oldest_first, random, static_tdma
from ceas.scheduling.demand_driven import (
    TUNING_GRIDS,
    best_cutoff,
    demand_aware,
    earliest_deadline,
    greedy_fidelity,
    max_weight,
    on_demand,
    on_demand_weighted,
)
from ceas.scheduling.index import ceas
from ceas.scheduling.metrics import (
    ScheduleMetrics,
    fidelity_mean,
    fidelity_quantile,
    jain_index,
    learner_value,
    schedule_metrics,
)

__all__ = [
    "TUNING_GRIDS",
    "ScheduleMetrics",
    "best_cutoff",
    "ceas",
    "demand_aware",
    "earliest_deadline",
    "fidelity_mean",
    "fidelity_quantile",
    "freshest_first",
    "greedy_fidelity",
    "jain_index",
    "learner_value",
    "max_weight",
    "oldest_first",
    "on_demand",
    "on_demand_weighted",
    "random",
    "schedule_metrics",
    "static_tdma",
]
