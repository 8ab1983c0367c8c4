"""Which pair serves which demand, and when: the schedulers, and the measures by which they are compared.

A policy is made for a network model by its constructor, for example `oldest_first(model)`. Where a problem is small it
is solved exactly: one link with memory slots, and a repeater chain with cutoff.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from ceas.scheduling.one_link import OneLinkProblem, evaluate_one_link, solve_one_link
    from ceas.scheduling.repeater_chain import RepeaterChain, evaluate_chain, solve_chain

__all__ = [
    "TUNING_GRIDS",
    "OneLinkProblem",
    "RepeaterChain",
    "ScheduleMetrics",
    "best_cutoff",
    "ceas",
    "demand_aware",
    "earliest_deadline",
    "evaluate_chain",
    "evaluate_one_link",
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
    "solve_chain",
    "solve_one_link",
    "static_tdma",
]

# Imported when first asked for: a training run needs none of them.
_MODULE_OF = {
    "one_link": ("OneLinkProblem", "evaluate_one_link", "solve_one_link"),
    "repeater_chain": ("RepeaterChain", "evaluate_chain", "solve_chain"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULE_OF.items():
        if name in names:
            return getattr(import_module(f"ceas.scheduling.{module}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
