"""Who takes part in the scheduling benchmark: every baseline, and our policy."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.experiments.scheduling_cases import SchedulingCase
from ceas.experiments.scheduling_contest import Entrant
from ceas.experiments.scheduling_extras import adversary_entrants
from ceas.experiments.scheduling_figures import class_hops
from ceas.experiments.scheduling_learning import drift_entrants
from ceas.experiments.scheduling_settings import Setting
from ceas.network.slot_policy import SlotPolicy

__all__ = ["announced_classes", "entrants_of"]

Int64s = npt.NDArray[np.int64]


def entrants_of(setting: Setting) -> list[Entrant]:
    """Return ours and all baselines; where parameters drift or nodes lie, also as they learn of it."""
    from ceas.scheduling.slotted_baselines import BASELINES, TUNING_GRIDS  # noqa: PLC0415 (compiled when first used)
    from ceas.scheduling.slotted_ceas import QUORUM_GRID, RETUNED, TUNING_GRID, ceas_slotted  # noqa: PLC0415

    # Whether a quorum decides is in the forecast, for all to see.
    grid = QUORUM_GRID if setting.goal else TUNING_GRID
    ours = Entrant(name="ceas", build=partial(_build_ours, ceas_slotted), grid=grid, is_ours=True, scalars=RETUNED)
    baselines = [
        Entrant(name=name, build=partial(_build, make), grid=TUNING_GRIDS[name]) for name, make in BASELINES.items()
    ]
    entrants = [ours, *baselines]
    if setting.purifies:
        entrants = [replace(one, grid={"purifies": (False, True), **one.grid}) for one in entrants]
    twice = {"S9": drift_entrants, "S10": adversary_entrants}.get(setting.scenario)
    return entrants if twice is None else twice(entrants)


def _build(make: Callable[..., SlotPolicy], case: SchedulingCase, parameters: Mapping[str, Any]) -> SlotPolicy:
    from ceas.scheduling.slotted_baselines import purifying  # noqa: PLC0415

    own = {name: value for name, value in parameters.items() if name != "purifies"}
    policy = make(case.network, case.forecast, **own)
    return purifying(policy, case.network, case.forecast) if parameters.get("purifies", False) else policy


def _build_ours(make: Callable[..., SlotPolicy], case: SchedulingCase, parameters: Mapping[str, Any]) -> SlotPolicy:
    """Bind our policy; what it is told of the classes beyond the forecast, all policies see in every request."""
    return make(
        case.network,
        case.forecast,
        route_hops=class_hops(case).tolist(),
        announced_classes=announced_classes(case).tolist(),
        **parameters,
    )


def announced_classes(case: SchedulingCase) -> Int64s:
    """Return the classes whose requests are all known ahead."""
    n_classes = len(case.forecast.weight)
    is_late = case.requests.announced == case.requests.arrival
    late = np.bincount(case.requests.request_class[is_late], minlength=n_classes)
    count = np.bincount(case.requests.request_class, minlength=n_classes)
    return np.flatnonzero((count > 0) & (late == 0)).astype(np.int64)
