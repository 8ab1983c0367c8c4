"""Figures of a run in the slotted network, and the bounds beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceas.experiments.scheduling_cases import Phase, SchedulingCase
from ceas.experiments.scheduling_contest import Figures
from ceas.experiments.scheduling_settings import Setting
from ceas.network.slots import SlottedRecord

__all__ = ["bounds_of", "frontier_of", "measure"]


def measure(case: SchedulingCase, record: SlottedRecord) -> Figures:
    """Return the figures that every scenario has.

    `U` is the share of the generated pairs that served a request, `V` the delivered value over that of serving every
    request through pairs just born, `S` the served share of the requests; fidelities are those of use, waiting is from
    arrival to service, and `fairness` is Jain's index of the users' value over what they could have got.
    """
    from ceas.scheduling.bounds_hindsight import freshest_value  # noqa: PLC0415 (compiled when first used)

    requests = case.requests
    generated = int(record.generated.sum())
    offered = freshest_value(case.network, requests, case.n_slots)
    wait = record.served_slot - requests.arrival[record.served_request]
    asked = np.bincount(requests.user, weights=requests.weight)
    got = np.bincount(requests.user[record.served_request], weights=record.served_value, minlength=len(asked))
    share = np.divide(got, asked, out=np.zeros(len(asked)), where=asked > 0.0)[asked > 0.0]
    return {
        "U": int(record.used.sum()) / generated if generated else float("nan"),
        "V": float(record.served_value.sum()) / offered if offered else float("nan"),
        "S": len(record.served_request) / len(requests) if len(requests) else float("nan"),
        "F_mean": float(record.served_fidelity.mean()) if len(wait) else float("nan"),
        "F_p05": float(np.quantile(record.served_fidelity, 0.05)) if len(wait) else float("nan"),
        "wait_p99": float(np.quantile(wait, 0.99)) if len(wait) else float("nan"),
        "fairness": float(share.sum() ** 2 / (len(share) * (share**2).sum())) if share.any() else float("nan"),
    }


def bounds_of(setting: Setting, seeds: int, *, is_quick: bool = False) -> dict[str, Any]:
    """Return the bounds on the reported instances, in the unit of `V`.

    Returns:
        `hindsight`: the clairvoyant's linear programme, one value per instance, empty where it is not computed.
    """
    from ceas.scheduling.bounds_hindsight import hindsight_bound  # noqa: PLC0415

    if not setting.has_bound:
        return {"hindsight": [], "dual": None}
    cases = (setting.case(seed, Phase.REPORTING, is_quick=is_quick) for seed in range(seeds))
    bounds = [hindsight_bound(case.network, case.requests, case.path).normalised for case in cases]
    return {"hindsight": [float(bound) for bound in bounds], "dual": None}


def frontier_of(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the candidates of all policies of which no other is better in both utilisation and value.

    Figures are the means over the tuning instances, by falling utilisation.
    """
    tried: dict[str, dict[str, Any]] = {}
    for policy in policies:
        for point in policy["candidates"]:
            text = ", ".join(f"{key}={value}" for key, value in point["parameters"].items())
            own = policy["policy"].partition(", U >=")[0]
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
