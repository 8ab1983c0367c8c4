"""Routes, attempt limits, modes and drift as the arrays that the kernel works on, and back to records."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.network.policy import ASK_DTYPE, NEVER, Policy, swap_asap
from ceas.network.records import FIDELITY_BINS, NetworkModel
from ceas.network.route_arena import (
    FLOW_DTYPE,
    FLOW_STATE_DTYPE,
    FLOW_TALLY_DTYPE,
    HOP_DTYPE,
    N_FREE,
    N_REVIEW,
    N_TRACED,
    NODE_DTYPE,
    PRESENT,
    REQUEST_DTYPE,
    RouteArena,
)
from ceas.network.route_records import ROUTE_PAIR_DTYPE, RouteFate, RouteRecord
from ceas.network.routes import Arrivals, RouteClass
from ceas.network.tournament import room_for_tournament
from ceas.network.waiting import WAIT_BINS
from ceas.streams import stream_seed

__all__ = [
    "LinkValues",
    "empty_route_trace",
    "grow_requests",
    "held_pairs",
    "initial_extra",
    "link_values",
    "route_arena",
    "route_links",
    "route_record",
    "scaled_correlators",
    "start_correlators",
    "transfer_ns",
]

Extra: TypeAlias = dict[str, npt.NDArray[Any]]

_FIRST_REQUESTS = 32
_FIRST_ASKS = 32
_TRACE_ROWS = 1 << 15
_N_COUNTS = 5
_MANY = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkValues:
    """What drift changes about links, one entry a link, and the factor of their decay; correlators `(n_links, 3)`."""

    success_probability: npt.NDArray[np.float64]
    initial_werner: npt.NDArray[np.float64]
    decay_rate_hz: npt.NDArray[np.float64]
    decay_factor: npt.NDArray[np.float64]
    fidelity_factor: npt.NDArray[np.float64]
    correlators: npt.NDArray[np.float64]


def link_values(model: NetworkModel, time_ns: int) -> LinkValues:
    """Return the links' values after all steps of the drift at or before a time; -1 for none."""
    links = model.links
    factors = np.ones((3, model.n_links))
    if model.drift is not None:
        drift = model.drift
        for step in range(int(np.searchsorted(drift.time_ns, time_ns, side="right"))):
            factors[:, drift.link[step]] = (
                drift.success_factor[step],
                drift.decay_factor[step],
                drift.fidelity_factor[step],
            )
    success, decay, fidelity = factors
    initial_werner, correlators = np.minimum(links.initial_werner * fidelity, 1.0), links.correlators
    if links.is_bell_diagonal:
        correlators = scaled_correlators(correlators, fidelity)
        initial_werner = correlators.mean(axis=1)
    return LinkValues(
        success_probability=np.minimum(links.success_probability * success, 1.0),
        initial_werner=initial_werner,
        decay_rate_hz=links.decay_rate_hz * decay,
        decay_factor=decay,
        fidelity_factor=fidelity,
        correlators=correlators,
    )


def scaled_correlators(
    correlators: npt.NDArray[np.float64], factor: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return correlators `(n, 3)` times factors `(n,)`, each at most the largest that leaves the pair a state."""
    # The weights of factor f are (1 + f s)/4 with these sums s, and at least 0 while f is at most -1/s.
    x, y, z = correlators.T
    lowest = np.minimum.reduce([x + y + z, x - y - z, y - x - z, z - x - y])
    with np.errstate(divide="ignore"):
        largest = np.where(lowest < 0.0, -1.0 / lowest, np.inf)
    return np.asarray(correlators * np.minimum(factor, np.maximum(largest, 1.0))[:, np.newaxis])


def route_links(model: NetworkModel) -> npt.NDArray[np.bool_]:
    """Tell which links are on a route with demand, shape `(n_links,)`."""
    is_used = np.zeros(model.n_links, dtype=np.bool_)
    if model.routes is not None and model.route_demand is not None:
        for route in set(model.route_demand.route.tolist()):
            is_used[model.routes.link[model.routes.first_hop[route] : model.routes.first_hop[route + 1]]] = True
    return is_used


def _has_limit(model: NetworkModel) -> bool:
    return model.repeaters is not None and bool((model.repeaters.communication_qubits > 0).any())


def _has_modes(model: NetworkModel) -> bool:
    return model.repeaters is not None and bool((model.repeaters.modes > 0).any())


def _communication_qubits(model: NetworkModel) -> npt.NDArray[np.int64]:
    if model.repeaters is None:
        return np.zeros(0, dtype=np.int64)
    qubits = model.repeaters.communication_qubits
    return np.where(qubits > 0, qubits, _MANY).astype(np.int64)


def _flows(model: NetworkModel, seed_of_flow: npt.NDArray[np.uint64]) -> npt.NDArray[Any]:
    demand, routes = model.route_demand, model.routes
    if demand is None or routes is None:
        return np.zeros(0, dtype=FLOW_DTYPE)
    flows = np.zeros(demand.n_flows, dtype=FLOW_DTYPE)
    flows["route"] = demand.route
    flows["first_hop"] = routes.first_hop[demand.route]
    # A route has one more node than links.
    flows["first_node"] = routes.first_hop[demand.route] + demand.route
    flows["n_hops"] = routes.n_hops[demand.route]
    for name in ("use_class", "arrivals", "backlog", "deadline_ns", "minimum_fidelity", "weight"):
        flows[name] = getattr(demand, name)
    with np.errstate(divide="ignore"):
        flows["period_ns"] = model.clock.round_ns / demand.requests_per_round
    for column, name in enumerate(("arrival_seed", "swap_seed", "test_seed")):
        flows[name] = seed_of_flow[:, column]
    return flows


def initial_extra(model: NetworkModel, stock_shape: tuple[int, int], *, seed: int, checks: bool) -> Extra:
    """Return the part of a network's state that routes, limits, modes and drift need."""
    n_links, n_nodes = model.n_links, len(model.nodes.memory_slots)
    n_flows = 0 if model.route_demand is None else model.route_demand.n_flows
    slots = _FIRST_REQUESTS if n_flows else 0
    longest = 0 if model.routes is None or not n_flows else int(model.routes.n_hops.max(initial=0))
    names = ("route_arrival", "route_swap", "route_test")
    seeds = [[stream_seed(seed, name, flow=flow) for name in names] for flow in range(n_flows)]
    if model.drift is None and not _has_modes(model):
        stock_shape = (0, 0)
    most_modes = int(model.repeaters.modes.max(initial=0)) if model.repeaters is not None else 0
    limited_links, limited_nodes = (n_links, n_nodes) if _has_limit(model) else (0, 0)
    axis_shape = (*stock_shape, 3) if model.links.is_bell_diagonal else (0, 0, 3)
    extra: Extra = {
        "stock_shift": np.zeros(stock_shape),
        "stock_axis_logarithm": np.zeros(axis_shape),
        "stock_expiry_ns": np.zeros(stock_shape, dtype=np.int64),
        "stock_mode": np.zeros(stock_shape, dtype=np.int64),
        "flow_seeds": np.array(seeds, dtype=np.uint64).reshape(-1, len(names)),
        "flow_states": np.zeros(n_flows, dtype=FLOW_STATE_DTYPE),
        "requests": np.zeros(slots, dtype=REQUEST_DTYPE),
        "hops": np.zeros((slots, longest), dtype=HOP_DTYPE),
        "free_request": np.arange(slots, dtype=np.int64)[::-1].copy(),
        "asks": np.zeros((n_links if n_flows else 0, _FIRST_ASKS), dtype=ASK_DTYPE),
        "n_asks": np.zeros(n_links, dtype=np.int64),
        "n_live_on_link": np.zeros(n_links, dtype=np.int64),
        "source_ns": np.full(n_flows + slots, NEVER, dtype=np.int64),
        "counts": np.zeros(_N_COUNTS, dtype=np.int64),
        "mode_free_ns": np.zeros((n_links if most_modes else 0, most_modes), dtype=np.int64),
        "free_communication": _communication_qubits(model).copy(),
        "is_active": np.zeros(limited_links, dtype=np.bool_),
        "is_renewed": np.zeros(limited_links, dtype=np.bool_),
        "wanted_since_ns": np.full(limited_links, NEVER, dtype=np.int64),
        "review_node": np.arange(limited_nodes, dtype=np.int64),
        "is_review": np.ones(limited_nodes, dtype=np.bool_),
        "is_checked": np.array(checks),
    }
    extra["counts"][N_FREE] = slots
    extra["counts"][N_REVIEW] = limited_nodes
    _schedule_first_arrivals(extra, _flows(model, extra["flow_seeds"]))
    return extra


def _schedule_first_arrivals(extra: Extra, flows: npt.NDArray[Any]) -> None:
    """Give every flow the time of its first request; a Poisson flow's has number 0 of its stream."""
    from ceas.network.draws import unit_interval  # noqa: PLC0415 - compiled when first called

    for flow, row in enumerate(flows):
        first_ns = 0.0
        if row["arrivals"] == Arrivals.PERIODIC:
            first_ns = 0.5 * float(row["period_ns"])
        elif row["arrivals"] == Arrivals.POISSON:
            first_ns = -float(np.log(unit_interval(row["arrival_seed"], 0))) * float(row["period_ns"])
            extra["flow_states"]["clock_ns"][flow] = first_ns
        extra["source_ns"][flow] = int(min(first_ns, float(NEVER)))


def _node_table(model: NetworkModel) -> npt.NDArray[Any]:
    repeaters = model.repeaters
    if repeaters is None:
        return np.zeros(0, dtype=NODE_DTYPE)
    nodes = np.zeros(len(repeaters.swap_success_probability), dtype=NODE_DTYPE)
    nodes["swap_success"] = repeaters.swap_success_probability
    nodes["swap_ns"] = repeaters.bell_measurement_ns
    for column, axis in enumerate("xyz"):
        nodes[f"factor_{axis}"] = repeaters.swap_contraction[:, column]
        nodes[f"rate_{axis}"] = repeaters.memory_rate_hz[:, column] * 1e-9
    return nodes


def start_correlators(model: NetworkModel, values: LinkValues) -> npt.NDArray[np.float64]:
    """Return the correlators of a pair that enters the memory, shape `(n_links, 3)`."""
    repeaters = model.repeaters
    if repeaters is None:
        return np.zeros((0, 3))
    start = np.minimum(repeaters.initial_correlators * values.fidelity_factor[:, np.newaxis], 1.0)
    if model.links.is_bell_diagonal:
        start = values.correlators
    a, b = model.links.node_a, model.links.node_b
    rate_hz = (repeaters.memory_rate_hz[a] + repeaters.memory_rate_hz[b]) * values.decay_factor[:, np.newaxis]
    moved = np.exp(-rate_hz * transfer_ns(model)[:, np.newaxis] * 1e-9)
    factor = repeaters.transfer_contraction[a] * repeaters.transfer_contraction[b]
    return np.ascontiguousarray(start * moved * factor[:, np.newaxis])


def transfer_ns(model: NetworkModel) -> npt.NDArray[np.int64]:
    """Return how long a link's new pair takes into the memories of both ends (ns), shape `(n_links,)`."""
    if model.repeaters is None:
        return np.zeros(model.n_links, dtype=np.int64)
    time_ns = model.repeaters.transfer_ns
    return np.maximum(time_ns[model.links.node_a], time_ns[model.links.node_b])


def _offsets(model: NetworkModel) -> npt.NDArray[np.int64]:
    """Return every route node's latency from the route's source (ns), in the order of `RouteTable.nodes`."""
    if model.routes is None or model.route_demand is None:
        return np.zeros(0, dtype=np.int64)
    latency_ns = np.rint(model.links.latency_s * 1e9).astype(np.int64)
    pieces = [
        np.concatenate([[0], np.cumsum(latency_ns[model.routes.link[first:end]])])
        for first, end in zip(model.routes.first_hop[:-1], model.routes.first_hop[1:], strict=True)
    ]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.zeros(0, dtype=np.int64)


def route_arena(model: NetworkModel, extra: Extra, policy: Policy, *, start_ns: int, trace_every: int) -> RouteArena:
    """Return the routes' state, the model and empty records, as the kernel wants them."""
    repeaters, demand = model.repeaters, model.route_demand
    n_links, n_flows = model.n_links, len(extra["flow_states"])
    values = link_values(model, start_ns - 1)
    no_nodes = np.zeros(0, dtype=np.int64)
    rates = np.zeros((1, 3)) if repeaters is None else repeaters.memory_rate_hz
    if policy.swap is not swap_asap and "heard_ns" not in extra:
        extra["heard_ns"] = np.full(_heard_shape(extra), NEVER, dtype=np.int64)
    has_nodes = model.routes is not None and demand is not None
    return RouteArena(
        flows=_flows(model, extra["flow_seeds"]),
        flow_states=extra["flow_states"],
        tallies=np.zeros(n_flows, dtype=FLOW_TALLY_DTYPE),
        nodes=_node_table(model),
        route_link=no_nodes if model.routes is None else model.routes.link.astype(np.int64),
        route_node=model.routes.nodes(model.links) if model.routes is not None and has_nodes else no_nodes,
        offset_ns=_offsets(model),
        start=start_correlators(model, values),
        decay_factor=values.decay_factor.copy(),
        cutoff_ns=np.full(n_links, NEVER // 2) if repeaters is None else repeaters.cutoff_ns.astype(np.int64),
        modes=np.zeros(n_links, dtype=np.int64) if repeaters is None else repeaters.modes.astype(np.int64),
        mode_free_ns=extra["mode_free_ns"],
        requests=extra["requests"],
        hops=extra["hops"],
        heard_ns=extra.get("heard_ns", np.zeros((0, 0, 2, 0), dtype=np.int64)),
        free_request=extra["free_request"],
        asks=extra["asks"],
        n_asks=extra["n_asks"],
        n_live_on_link=extra["n_live_on_link"],
        source_ns=extra["source_ns"],
        winner=room_for_tournament(len(extra["source_ns"])),
        counts=extra["counts"],
        pending_link=np.zeros(n_links, dtype=np.int64),
        is_pending=np.zeros(n_links, dtype=np.bool_),
        pair_fates=np.zeros((n_links, len(RouteFate)), dtype=np.int64),
        wait_histogram=np.zeros((len(RouteClass), WAIT_BINS), dtype=np.int64),
        fidelity_at_use=np.zeros((len(RouteClass), FIDELITY_BINS), dtype=np.int64),
        trace=np.empty(_TRACE_ROWS + 8 * extra["hops"].shape[1] if n_flows else 0, dtype=ROUTE_PAIR_DTYPE),
        communication_qubits=_communication_qubits(model),
        free_communication=extra["free_communication"],
        is_active=extra["is_active"],
        is_renewed=extra["is_renewed"],
        wanted_since_ns=extra["wanted_since_ns"],
        review_node=extra["review_node"],
        is_review=extra["is_review"],
        n_flows=n_flows,
        is_isotropic=bool((rates == rates[:, :1]).all()),
        swaps_at_once=policy.swap is swap_asap,
        routes_first=policy.routes_first,
        trace_every=trace_every,
        test_share=float(model.demand.test_share),
        is_checked=bool(extra["is_checked"]),
        has_routes=n_flows > 0,
        has_attempt_limit=_has_limit(model),
        has_modes=_has_modes(model),
        has_drift=model.drift is not None,
    )


def _heard_shape(extra: Extra) -> tuple[int, int, int, int]:
    slots, longest = extra["hops"].shape
    return slots, longest, 2, longest + 1


def grow_requests(extra: Extra, arena: RouteArena) -> RouteArena:
    """Double the room for requests and asks, in the state and in the arena."""
    slots = len(extra["requests"])
    if extra["counts"][N_FREE] == 0:
        extra["requests"] = np.concatenate([extra["requests"], np.zeros(slots, dtype=REQUEST_DTYPE)])
        extra["hops"] = np.concatenate([extra["hops"], np.zeros_like(extra["hops"])])
        if "heard_ns" in extra:
            more = np.full_like(extra["heard_ns"], NEVER)
            extra["heard_ns"] = np.concatenate([extra["heard_ns"], more])
            arena = arena._replace(heard_ns=extra["heard_ns"])
        free = np.zeros(2 * slots, dtype=np.int64)
        free[:slots] = np.arange(slots, 2 * slots)[::-1]
        extra["free_request"] = free
        extra["counts"][N_FREE] = slots
        extra["source_ns"] = np.concatenate([extra["source_ns"], np.full(slots, NEVER, dtype=np.int64)])
    if int(extra["n_live_on_link"].max(initial=0)) + 1 >= extra["asks"].shape[1]:
        extra["asks"] = np.concatenate([extra["asks"], np.zeros_like(extra["asks"])], axis=1)
    return arena._replace(
        winner=room_for_tournament(len(extra["source_ns"])),
        requests=extra["requests"],
        hops=extra["hops"],
        free_request=extra["free_request"],
        asks=extra["asks"],
        source_ns=extra["source_ns"],
    )


def empty_route_trace(arena: RouteArena) -> npt.NDArray[Any]:
    """Return a copy of what was traced since the last call and make room for more."""
    rows = arena.trace[: int(arena.counts[N_TRACED])].copy()
    arena.counts[N_TRACED] = 0
    return rows


def held_pairs(extra: Extra, flows: npt.NDArray[Any], n_links: int) -> npt.NDArray[np.int64]:
    """Return how many pairs of each link route requests hold."""
    held = np.zeros(n_links, dtype=np.int64)
    for slot in np.flatnonzero(extra["requests"]["is_live"]):
        hops = extra["hops"][slot, : flows["n_hops"][extra["requests"]["flow"][slot]]]
        np.add.at(held, hops["link"][hops["state"] == PRESENT], 1)
    return held


def route_record(arena: RouteArena, extra: Extra, pieces: list[npt.NDArray[Any]]) -> RouteRecord | None:
    """Return what happened on the routes in a round, None without any."""
    if not arena.has_routes:
        return None
    tallies = arena.tallies
    pair_fates = arena.pair_fates.copy()
    pair_fates[:, RouteFate.HELD] = held_pairs(extra, arena.flows, len(pair_fates))
    names = ("requested", "served", "dropped", "diverted", "below_minimum", "swaps", "failed_swaps", "wait_ns")
    return RouteRecord(
        use_class=arena.flows["use_class"].copy(),
        waiting=extra["flow_states"]["n_live"].copy(),
        key_bits=tallies["key_bits"].copy(),
        delivered_value=tallies["delivered_value"].copy(),
        correlator_sum=np.column_stack([tallies[f"sum_{axis}"] for axis in "xyz"]),
        test_count=tallies["test_count"].copy(),
        test_correlator_sum=np.column_stack([tallies[f"test_{axis}"] for axis in "xyz"]),
        wait_histogram=arena.wait_histogram,
        fidelity_at_use=arena.fidelity_at_use,
        pair_fates=pair_fates,
        pairs=np.concatenate(pieces) if pieces else np.empty(0, dtype=ROUTE_PAIR_DTYPE),
        **{name: tallies[name].copy() for name in names},
    )
