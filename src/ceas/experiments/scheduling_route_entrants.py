"""Who takes part in S7 on the event kernel, and what comes of it.

What is compared is which request gets a pair (the route policy), when repeaters swap, and at which age pairs are given
up. Cutoffs, and how many pairs baselines make ahead, are tuned for every combination of the first two. Without other
uses of a link's pairs the prices of `ceas` are 0: it makes pairs on request alone, for the request worth most a pair.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.experiments.scheduling_contest import Entrant, Figures, Run
from ceas.experiments.scheduling_route_network import GLOBAL, LOCAL, SLOT_NS, RouteNetworkCase
from ceas.experiments.scheduling_verdicts import difference, errors_of, mean_of, values_of
from ceas.network.policy import (
    NEVER,
    WAIT,
    LinkView,
    Policy,
    attempt_on_request,
    route_rule,
    serve_first_ask,
    serve_first_ask_with_oldest,
    swap_asap,
    swap_nested,
    swap_when_complete,
)
from ceas.network.records import Fate, NetworkModel, WindowRecord
from ceas.network.route_records import RouteFate
from ceas.network.routes import RouteClass
from ceas.network.waiting import wait_quantile_s
from ceas.scheduling import ceas, jain_index, oldest_first

__all__ = ["delay_rows", "measure_routes", "route_entrants"]

Document = Mapping[str, Any]
Records = Sequence[WindowRecord]

# Values of the grids, the default first: age (slots) at which a pair that waits for others is given up, and pairs that
# a link makes ahead of requests.
CUTOFF_SLOTS = (6, 12, 3, 24)
PAIRS_AHEAD = (1, 0, 2)


# ---- who takes part --------------------------------------------------------------------------------------------------


@route_rule
def serve_earliest_deadline(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:
    """Give the request that ends first the freshest pair."""
    best = 0
    for k in range(1, len(asks)):
        if asks[k]["deadline_ns"] < asks[best]["deadline_ns"]:
            best = k
    if asks[best]["deadline_ns"] <= view.now_ns:
        return WAIT, NEVER
    return best, len(view.stock_birth_ns) - 1


@route_rule
def serve_shortest_route(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:
    """Give the freshest pair to the request worth most a pair, the oldest of them."""
    best = 0
    for k in range(1, len(asks)):
        if asks[k]["weight"] * asks[best]["n_hops"] > asks[best]["weight"] * asks[k]["n_hops"]:
            best = k
    return best, len(view.stock_birth_ns) - 1


# The first is the order of service that baselines of the co-simulation have, with routes before all else.
BASELINE_ROUTES = {
    "routes_first": serve_first_ask,
    "first_with_oldest": serve_first_ask_with_oldest,
    "earliest_deadline": serve_earliest_deadline,
    "shortest_route": serve_shortest_route,
}
SWAPS = {"asap": swap_asap, "nested": swap_nested, "complete": swap_when_complete}


def route_entrants() -> list[Entrant]:
    """Return `ceas` with its time of swapping tuned as well, and every route policy with every rule for swaps."""

    def entrant(name: str, make: Callable[..., Policy], grid: Mapping[str, Sequence[Any]], *, is_ours: bool) -> Entrant:
        # What is bound to a case here is not a policy of the slotted network; only `_run` sees it.
        build: Any = partial(_build, make)
        return Entrant(name=name, build=build, grid=grid, is_ours=is_ours, run=_run)

    cutoffs = {"cutoff_slots": CUTOFF_SLOTS}
    made = [entrant("ceas", _ceas, {"swap": tuple(SWAPS), **cutoffs}, is_ours=True)]
    for swap in SWAPS:
        made.append(entrant(f"ceas, {swap}", partial(_ceas, swap=swap), cutoffs, is_ours=True))
        for route in BASELINE_ROUTES:
            make = partial(_baseline, route=route, swap=swap)
            grid = {"pairs_ahead": PAIRS_AHEAD, **cutoffs}
            made.append(entrant(f"{route}, {swap}", make, grid, is_ours=False))
    return made


def _ceas(model: NetworkModel, *, swap: str) -> Policy:
    """Return the co-simulation's policy; without other uses of pairs its prices are 0 and it makes no stock."""
    return replace(ceas(model), swap=SWAPS[swap])


def _baseline(model: NetworkModel, *, route: str, swap: str, pairs_ahead: int) -> Policy:
    made = replace(
        oldest_first(model, pairs_per_link=max(pairs_ahead, 1)),
        route=BASELINE_ROUTES[route],
        swap=SWAPS[swap],
        routes_first=True,
    )
    return made if pairs_ahead else replace(made, attempt=attempt_on_request)


def _build(
    make: Callable[..., Policy], case: RouteNetworkCase, parameters: Mapping[str, Any]
) -> tuple[NetworkModel, Policy]:
    """Bind a policy to a case whose repeaters have the cutoff that is tried."""
    own = {name: value for name, value in parameters.items() if name != "cutoff_slots"}
    repeaters = case.model.repeaters
    assert repeaters is not None
    cutoff_ns = np.full(case.model.n_links, int(parameters["cutoff_slots"]) * SLOT_NS, dtype=np.int64)
    model = replace(case.model, repeaters=replace(repeaters, cutoff_ns=cutoff_ns))
    return model, make(model, **own)


def _run(entrant: Entrant, case: Any, parameters: Mapping[str, Any]) -> Run:
    from ceas.network.simulation import advance_round, initial_state  # noqa: PLC0415

    start = time.perf_counter()
    bound: Any = entrant.build(case, parameters)
    model, policy = bound
    middle = time.perf_counter()
    state = initial_state(model, seed=case.seed, trace_every=1)
    records = [advance_round(state, model, policy) for _ in range(case.n_rounds)]
    return Run(record=records, build_s=middle - start, run_s=time.perf_counter() - middle)


# ---- what came of it -------------------------------------------------------------------------------------------------


def measure_routes(case: RouteNetworkCase, records: Records) -> Figures:
    """Return the figures of `slotted_metrics` for rounds of the kernel.

    Requests count that came before the last round, at whose end all of them are settled. A delivered pair is worth w^2,
    and V is over what new pairs would be worth. U counts all pairs that ended. The waiting time is that of all served.
    """
    model = case.model
    demand, table = model.route_demand, model.routes
    assert demand is not None
    assert table is not None
    routes = [record.routes for record in records if record.routes is not None]
    pairs = np.concatenate([one.pairs for one in routes])
    asked = np.sum([one.requested for one in routes[:-1]], axis=0)
    delivered = pairs[pairs["fate"] == RouteFate.DELIVERED]
    delivered = delivered[delivered["request"] < asked[delivered["flow"]]]
    fidelity = (1.0 + delivered["x_at_end"] + delivered["y_at_end"] + delivered["z_at_end"]).astype(np.float64) / 4.0
    worth = ((4.0 * fidelity - 1.0) / 3.0) ** 2
    new = np.multiply.reduceat(model.links.initial_werner[table.link] ** 2, table.first_hop[:-1])
    perfect = asked * new[demand.route]
    got = np.bincount(delivered["flow"], worth, minlength=demand.n_flows)
    waits = np.sum([one.wait_histogram[RouteClass.BACKGROUND] for one in routes], axis=0)
    return {
        "U": _utilisation(records),
        "V": float(got.sum() / perfect.sum()),
        "S": float(len(delivered) / asked.sum()),
        "F_mean": float(fidelity.mean()) if len(fidelity) else float("nan"),
        "F_p05": float(np.quantile(fidelity, 0.05)) if len(fidelity) else float("nan"),
        "wait_p99": wait_quantile_s(waits, 0.99) * 1e9 / SLOT_NS,
        "fairness": _fairness(case.source[demand.route], got, perfect),
        "total": float(got.sum()),
        "purified": 0.0,
    }


def _utilisation(records: Records) -> float:
    """Return the share of pairs that were delivered among those that ended, in stock or on a route."""
    ends = np.sum([one.routes.pair_fates.sum(axis=0) for one in records if one.routes is not None], axis=0)
    last = records[-1]
    held = 0 if last.routes is None else int(last.routes.pair_fates[:, RouteFate.HELD].sum())
    ended = int(sum(one.generated.sum() for one in records)) - int(last.fates[:, Fate.ALIVE].sum()) - held
    return float(ends[RouteFate.DELIVERED] / ended) if ended else float("nan")


def _fairness(user: npt.NDArray[np.int64], got: npt.NDArray[Any], perfect: npt.NDArray[Any]) -> float:
    """Return Jain's index over the nodes that asked, of what each got of what it asked for."""
    wanted, had = np.bincount(user, perfect), np.bincount(user, got)
    return jain_index(had[wanted > 0] / wanted[wanted > 0])


def delay_rows(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Return what hearing late costs each policy: its value with messages of a slot a hop less that with none."""
    by_setting = {document["setting"]: document for document in documents}
    rows = []
    for setting, late in by_setting.items():
        at_once = by_setting.get(setting.replace(LOCAL, GLOBAL))
        if LOCAL not in setting or at_once is None:
            continue
        theirs = {policy["policy"]: policy for policy in at_once["policies"]}
        for policy in late["policies"]:
            other = theirs.get(policy["policy"])
            if other is None:
                continue
            gap = difference(policy, other)
            rows.append(
                {
                    "table": "S7 what messages of one slot a hop cost, paired",
                    "setting": setting.removesuffix(LOCAL).strip(),
                    "policy": policy["policy"],
                    "V": mean_of(values_of(policy, "V")),
                    "V at once": mean_of(values_of(other, "V")),
                    "difference": gap.mean,
                    "s.e.": gap.standard_error,
                    "in s.e.": errors_of(gap),
                    "seeds": gap.n_pairs,
                }
            )
    return rows
