"""Which pair serves which demand, and when: the schedulers, and the measures by which they are compared.

A policy is made for a network model by its constructor, for example `oldest_first(model)`. Where a problem is small it
is solved exactly: one link with memory slots, and a repeater chain with cutoff.
"""

from ceas.scheduling.baselines import freshest_first, oldest_first, random, static_tdma
from ceas.scheduling.index import ceas
from ceas.scheduling.metrics import ScheduleMetrics, fidelity_mean, fidelity_quantile, schedule_metrics
from ceas.scheduling.one_link import OneLinkProblem, evaluate_one_link, solve_one_link
from ceas.scheduling.repeater_chain import RepeaterChain, evaluate_chain, solve_chain

__all__ = [
    "OneLinkProblem",
    "RepeaterChain",
    "ScheduleMetrics",
    "ceas",
    "evaluate_chain",
    "evaluate_one_link",
    "fidelity_mean",
    "fidelity_quantile",
    "freshest_first",
    "oldest_first",
    "random",
    "schedule_metrics",
    "solve_chain",
    "solve_one_link",
    "static_tdma",
]
