"""Figures of a run in the slotted network, and the bounds beside them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ceas.experiments.scheduling_cases import Phase, SchedulingCase
from ceas.experiments.scheduling_contest import Figures
from ceas.experiments.scheduling_settings import Setting
from ceas.experiments.scheduling_verdicts import THRIFTY
from ceas.network.slots import SlottedRecord

if TYPE_CHECKING:
    from ceas.scheduling.bounds_online import Penalty

__all__ = ["bounds_of", "class_hops", "frontier_of", "measure", "utilisation_bound"]

Int64s = npt.NDArray[np.int64]

# Instances whose average bound is computed; it differs little between them.
AVERAGED_INSTANCES = 1
# Utilisations at which value is bounded.
LEVELS, QUICK_LEVELS = (0.5, 0.7, 0.8, 0.9), (0.9,)


def measure(case: SchedulingCase, record: SlottedRecord) -> Figures:
    """Return the figures that every scenario has, as `slotted_metrics` defines them.

    `total` is the value delivered in the whole run, also to requests that could have been served after its end: it is
    what bounds on the instance bound.
    """
    from ceas.scheduling.slotted_metrics import slotted_metrics  # noqa: PLC0415 (compiled when first used)

    metrics = slotted_metrics(case.network, case.requests, record)
    return {
        "U": metrics.utilisation,
        "V": metrics.value,
        "S": metrics.served,
        "F_mean": metrics.fidelity_mean,
        "F_p05": metrics.fidelity_p05,
        "wait_p99": metrics.wait_p99_slots,
        "fairness": metrics.fairness,
        "total": float(record.served_value.sum()),
        "purified": float(record.purified.sum()),
    }


def bounds_of(setting: Setting, seeds: int, *, is_quick: bool = False) -> dict[str, Any]:
    """Return the bounds on the reported instances.

    Returns:
        `hindsight`: value of the clairvoyant's linear programme, one for each reported instance, empty where it is not
        computed. `online`: for each reported instance, a draw whose mean bounds the mean value of policies without
        foresight, empty where it is not computed; its penalty is chosen on a tuning instance. `average`: for the first
        instances, bound on the mean of their delivered value over all coins and requests, with `average_kind`,
        `"dual"` or `"fluid"`; empty where no such bound holds.
    """
    from ceas.scheduling.bounds_hindsight import hindsight_bound  # noqa: PLC0415

    hindsight, online, average = [], [], []
    penalty = _penalty(setting, is_quick=is_quick)
    for seed in range(seeds):
        case = setting.case(seed, Phase.REPORTING, is_quick=is_quick)
        if setting.has_bound:
            hindsight.append(
                float(hindsight_bound(case.network, case.requests, case.path, purification=setting.purifies).value)
            )
        if penalty is not None:
            online.append(_online_bound(case, penalty))
        if setting.average_bound and seed < AVERAGED_INSTANCES:
            average.append(_average_bound(case, setting.average_bound))
    return {
        "hindsight": hindsight,
        "online": online,
        "average": average,
        "average_kind": setting.average_bound,
        "purification": setting.purifies,
    }


def _penalty(setting: Setting, *, is_quick: bool) -> "Penalty | None":
    """Return the penalty of the online bound with the lowest bound on a tuning instance; None without such a bound."""
    from ceas.scheduling.bounds_online import Penalty, best_penalty  # noqa: PLC0415

    if not setting.has_online_bound:
        return None
    if is_quick:
        return Penalty()
    case = setting.case(0, Phase.TUNING)
    return best_penalty([(case.network, case.requests, case.path, case.forecast)])


def _online_bound(case: SchedulingCase, penalty: "Penalty") -> float:
    from ceas.scheduling.bounds_online import online_bound  # noqa: PLC0415

    chance = case.success_chance
    parts = (case.network, case.requests, case.path, case.forecast)
    return online_bound(*parts, penalty=penalty, success_chance=chance).value


def _average_bound(case: SchedulingCase, kind: str) -> float:
    """Return a bound on the mean value of a run, from empty memories."""
    from ceas.scheduling.bounds_dual import dual_bound, fluid_bound  # noqa: PLC0415

    if kind == "dual":
        bound = dual_bound(case.network, case.forecast, hops=_fewest_hops(case), arrivals=_arrivals(case))
        return case.n_slots * bound.value + bound.transient
    # A route and class of the requests that came stands for itself; those that did not come are worth nothing here, so
    # the rates are those of the instance and the bound holds for it.
    from ceas.scheduling.slotted_metrics import perfect_values  # noqa: PLC0415

    requests = case.requests
    ones = np.full(len(requests), 1.0 / case.n_slots)
    value = perfect_values(case.network, requests)
    per_slot = fluid_bound(
        case.network,
        route_first=requests.route_first,
        route_link=requests.route_link,
        rate=ones,
        n_pairs=requests.n_pairs,
        value=value,
    )
    return case.n_slots * per_slot


def utilisation_bound(setting: Setting, *, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return the dual bound on `V` at utilisations, for the first reported instance."""
    from ceas.scheduling.bounds_dual import utilisation_frontier  # noqa: PLC0415

    if not setting.bounds_frontier:
        return []
    case = setting.case(0, Phase.REPORTING, is_quick=is_quick)
    levels = np.array(QUICK_LEVELS if is_quick else LEVELS)
    bounds = utilisation_frontier(
        case.network, case.forecast, levels, hops=_fewest_hops(case), arrivals=_arrivals(case)
    )
    return [
        {"policy": "nobody above (dual)", "U": float(level), "V": float(bound.normalised), "parameters": ""}
        for level, bound in zip(levels, bounds, strict=True)
    ]


def _arrivals(case: SchedulingCase) -> Literal["poisson", "one"]:
    """Return how requests come: to the one link at most one a slot, elsewhere as Poisson counts."""
    return "one" if case.network.n_links == 1 else "poisson"


def _fewest_hops(case: SchedulingCase) -> Int64s:
    """Return the fewest links that a request of each class takes, at least 1, `(C,)`; the dual bound needs no more."""
    fewest = np.full(len(case.forecast.weight), np.iinfo(np.int64).max)
    np.minimum.at(fewest, case.requests.request_class, np.diff(case.requests.route_first))
    # A class of which no request came: single links bound it whatever its routes are.
    fewest[np.bincount(case.requests.request_class, minlength=len(fewest)) == 0] = 1
    return np.asarray(np.maximum(fewest, 1))


def class_hops(case: SchedulingCase) -> Int64s:
    """Return how many links the routes of each class have, the mean of its requests rounded, at least 1, `(C,)`."""
    n_classes = len(case.forecast.weight)
    hops = np.diff(case.requests.route_first)
    count = np.bincount(case.requests.request_class, minlength=n_classes)
    total = np.bincount(case.requests.request_class, weights=hops, minlength=n_classes)
    return np.maximum(np.rint(total / np.maximum(count, 1)), 1.0).astype(np.int64)


def frontier_of(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the candidates of all policies of which no other is better in both utilisation and value.

    Figures are the means over the tuning instances, by falling utilisation.
    """
    tried: dict[str, dict[str, Any]] = {}
    for policy in policies:
        for point in policy["candidates"]:
            text = ", ".join(f"{key}={value}" for key, value in point["parameters"].items())
            own = policy["policy"].removesuffix(THRIFTY).partition(", for ")[0]
            # A candidate that made no pairs has no utilisation.
            if point["U"] is None or not np.isfinite(point["U"]):
                continue
            tried[f"{own} {text}"] = {"policy": own, "U": point["U"], "V": point["V"], "parameters": text}
    points = sorted(tried.values(), key=lambda point: (-point["U"], -point["V"]))
    best, kept = -np.inf, []
    for point in points:
        if point["V"] > best:
            best = point["V"]
            kept.append(point)
    return kept
