"""Who asks for end-to-end pairs in a training, what repeaters can do, and which links change: the network's options.

Two kinds of flows share the links with the training: keys between nodes without a common fibre, and background traffic
that CEAS only carries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.network import LinkTable, NodeTable
from ceas.network.routes import (
    Arrivals,
    DriftSchedule,
    RepeaterTable,
    RouteClass,
    RouteDemand,
    RouteTable,
    fastest_routes,
    repeaters_of,
)
from ceas.physics import binary_entropy

__all__ = [
    "LEAST_KEY_FIDELITY",
    "DriftParameters",
    "RepeaterParameters",
    "RouteKeyParameters",
    "TrafficParameters",
    "bell_diagonal_margin",
    "drift_schedule",
    "fidelity_margin",
    "has_key",
    "key_margin",
    "route_margin",
    "route_options",
]

FloatArray = NDArray[np.float64]

# Below it a Werner pair gives no secret bit (`ceas.physics.secret_key_fraction`).
LEAST_KEY_FIDELITY = 0.834958
_NANOSECONDS_PER_SECOND = 1_000_000_000
_LONGEST_CUTOFF_S = 86_400.0
# A correlator that has fallen by exp(-40) is nothing, and so is what remains of the interval.
_LARGEST_MARGIN = 40.0
_BISECTIONS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeaterParameters:
    """What every node can do besides storing pairs; its gates' and readouts' errors are those of the node.

    Attributes:
        communication_qubits: Links of a node that can attempt at once; 0 for no limit.
        swap_success_probability: Chance that a Bell measurement succeeds, in (0, 1].
        bell_measurement_s: Its duration (s).
    """

    communication_qubits: int = 0
    swap_success_probability: float = 1.0
    bell_measurement_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteKeyParameters:
    """Requests for keys between nodes without a common fibre.

    Attributes:
        pairs_per_round: End-to-end requests in a round for every two such nodes; 0 for none.
        most_hops: Most links of their routes; nodes further apart ask for none.
        deadline_s: Time after which a request is dropped (s).
        value: Value of one secret bit.
    """

    pairs_per_round: float = 0.0
    most_hops: int = 2
    deadline_s: float = 1.0
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficParameters:
    """Background traffic between random pairs of nodes.

    Attributes:
        connections: Pairs of nodes that ask for end-to-end pairs; 0 for none.
        most_hops: Most links between the two nodes of a connection.
        requests_per_round: Mean number of requests of a connection in a round, a Poisson process.
        deadline_s: Time after which a request is dropped (s).
        minimum_fidelity: Fidelity that a pair must have when it is delivered.
        value: Value of a delivered pair.
    """

    connections: int = 0
    most_hops: int = 3
    requests_per_round: float = 20.0
    deadline_s: float = 0.5
    minimum_fidelity: float = 0.7
    value: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftParameters:
    """Links that change once while the network runs.

    Attributes:
        link_share: Share of the links that change, in [0, 1], rounded to whole links; 0 for none.
        start_s: When they change (s).
        success_factor: Factor on the chance that an attempt succeeds.
        coherence_factor: Factor on the time in which stored pairs decay, above 0.
        werner_factor: Factor on the Werner parameter of new pairs, in (0, 1].
        is_announced: Whether policies see the new values.
    """

    link_share: float = 0.0
    start_s: float = 0.0
    success_factor: float = 1.0
    coherence_factor: float = 1.0
    werner_factor: float = 1.0
    is_announced: bool = False


def route_options(
    nodes: NodeTable,
    links: LinkTable,
    *,
    repeaters: RepeaterParameters,
    keys: RouteKeyParameters,
    traffic: TrafficParameters,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return routes, demand for end-to-end pairs and repeaters, as arguments of the network model; empty for none.

    Raises:
        DomainError: No route that is near enough could give what it is asked for, or there are too few of them.
    """
    has_flows = keys.pairs_per_round > 0.0 or traffic.connections > 0
    if not has_flows and repeaters.communication_qubits == 0:
        return {}
    table = repeaters_of(
        nodes,
        links,
        communication_qubits=repeaters.communication_qubits,
        swap_success_probability=repeaters.swap_success_probability,
        bell_measurement_ns=_to_ns(repeaters.bell_measurement_s),
    )
    if not has_flows:
        return {"repeaters": table}
    flows = []
    if keys.pairs_per_round > 0.0:
        flows.append(_key_flows(keys, nodes.n_nodes, links, table))
    if traffic.connections > 0:
        flows.append(_traffic_flows(traffic, nodes.n_nodes, links, table, rng))
    joined = _joined(flows)
    return {
        "routes": joined.routes,
        "route_demand": joined.demand,
        "repeaters": replace(table, cutoff_ns=_cutoff_ns(joined, links)),
    }


def drift_schedule(parameters: DriftParameters, n_links: int, rng: np.random.Generator) -> DriftSchedule | None:
    """Draw which links change, or return None if none should.

    Raises:
        DomainError: The share is above 0 but less than half a link.
    """
    if parameters.link_share == 0.0:
        return None
    count = round(parameters.link_share * n_links)
    if count == 0:
        raise DomainError(
            f"Argument `link_share` must be 0 or come to one of the {n_links} links when rounded, but is "
            f"{parameters.link_share}."
        )
    return DriftSchedule(
        time_ns=np.full(count, _to_ns(parameters.start_s), np.int64),
        link=np.sort(rng.permutation(n_links)[:count]).astype(np.int64),
        success_factor=np.full(count, parameters.success_factor),
        decay_factor=np.full(count, 1.0 / parameters.coherence_factor),
        fidelity_factor=np.full(count, parameters.werner_factor),
        is_announced=parameters.is_announced,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flows:
    """Routes, who asks for pairs over some of them, and what waiting may cost there, `(n_routes,)`."""

    routes: RouteTable
    demand: RouteDemand
    margin: FloatArray


def key_margin(routes: RouteTable, repeaters: RepeaterTable, links: LinkTable) -> tuple[FloatArray, FloatArray]:
    """Return what waiting may cost before the pairs of each route give no more key, and their fidelity then."""
    if links.is_bell_diagonal:
        return bell_diagonal_margin(routes, repeaters, links, has_key)
    margin = route_margin(routes, repeaters, links, LEAST_KEY_FIDELITY)
    return margin, np.full(routes.n_routes, LEAST_KEY_FIDELITY)


def fidelity_margin(
    routes: RouteTable, repeaters: RepeaterTable, links: LinkTable, minimum_fidelity: float
) -> FloatArray:
    """Return what waiting may cost before the pairs of each route fall below a fidelity, `(n_routes,)`."""
    if not links.is_bell_diagonal:
        return route_margin(routes, repeaters, links, minimum_fidelity)

    def is_enough(correlators: FloatArray) -> NDArray[np.bool_]:
        return np.asarray((1.0 + correlators.sum(axis=-1)) / 4.0 > minimum_fidelity)

    return bell_diagonal_margin(routes, repeaters, links, is_enough)[0]


def route_margin(routes: RouteTable, repeaters: RepeaterTable, links: LinkTable, minimum_fidelity: float) -> FloatArray:
    """Return ln(w / w_least) of the Werner pairs that fresh pairs of each route give when they are swapped at once.

    It is what waiting may cost; at or below 0 a route never reaches the minimum fidelity, whatever the schedule.
    """
    swaps = np.log(np.maximum(repeaters.swap_contraction.mean(axis=1), 1e-300))
    fresh = np.log(np.maximum(links.initial_werner, 1e-300))
    margin = np.array([fresh[hops].sum() + swaps[inner].sum() for hops, inner in _parts(routes, links)])
    return np.asarray(margin - np.log(max((4.0 * minimum_fidelity - 1.0) / 3.0, 1e-300)))


def bell_diagonal_margin(
    routes: RouteTable,
    repeaters: RepeaterTable,
    links: LinkTable,
    is_enough: Callable[[FloatArray], NDArray[np.bool_]],
) -> tuple[FloatArray, FloatArray]:
    """Return the margin of routes of Bell-diagonal pairs, and the fidelity at which each route's pairs have spent it.

    The margin mu is what waiting may cost if every link spends the same part of it: with n links each correlator of a
    link may decay by exp(-mu r_i / (n r)), r the mean of its rates r_i. For Werner pairs it is ln(w / w_least). At or
    below 0 fresh pairs are not enough.

    Args:
        routes: Routes.
        repeaters: What their nodes do to pairs.
        links: Links.
        is_enough: Whether pairs of correlators `(..., 3)` are good enough, `(...)`; what decays never gets better.
    """
    fresh, slopes = np.ones((routes.n_routes, 3)), np.zeros((routes.n_routes, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(links.correlator_rates_hz / links.decay_rate_hz[:, None], nan=1.0)
    for route, (hops, inner) in enumerate(_parts(routes, links)):
        fresh[route] = links.correlators[hops].prod(axis=0) * repeaters.swap_contraction[inner].prod(axis=0)
        slopes[route] = share[hops].mean(axis=0)
    low, high = np.zeros(routes.n_routes), np.full(routes.n_routes, _LARGEST_MARGIN)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        is_good = is_enough(fresh * np.exp(-middle[:, None] * slopes))
        low, high = np.where(is_good, middle, low), np.where(is_good, high, middle)
    margin = np.where(is_enough(fresh), low, 0.0)
    least = (1.0 + (fresh * np.exp(-margin[:, None] * slopes)).sum(axis=1)) / 4.0
    return margin, np.clip(least, 0.0, 1.0 - 1e-12)


def has_key(correlators: FloatArray) -> NDArray[np.bool_]:
    """Tell whether BBM92 in the X and Z bases makes key of pairs of correlators `(..., 3)`."""
    errors = (1.0 - np.clip(correlators[..., [0, 2]], -1.0, 1.0)) / 2.0
    return np.asarray(binary_entropy(errors).sum(axis=-1) < 1.0)


def _parts(routes: RouteTable, links: LinkTable) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the links of each route, and the nodes at which it swaps."""
    nodes, first = routes.nodes(links), routes.first_hop
    return [
        # Route r has one node more than links, so its nodes begin r places later.
        (routes.link[first[route] : first[route + 1]], nodes[first[route] + route + 1 : first[route + 1] + route])
        for route in range(routes.n_routes)
    ]


def _key_flows(keys: RouteKeyParameters, n_nodes: int, links: LinkTable, repeaters: RepeaterTable) -> _Flows:
    """Return the routes over which nodes without a common fibre can make keys, and their requests."""
    near = _near_pairs(links, n_nodes, keys.most_hops, with_fibre=False)
    routes = fastest_routes(links, near, cost="hops") if near else None
    margin, least = (np.zeros(0), np.zeros(0)) if routes is None else key_margin(routes, repeaters, links)
    kept = np.flatnonzero(margin > 0.0)
    if routes is None or len(kept) == 0:
        raise DomainError(
            f"Argument `route_hops` must reach two nodes without a common fibre whose fresh pairs give key, but is "
            f"{keys.most_hops}."
        )
    demand = _demand(
        kept,
        RouteClass.KEY,
        Arrivals.PERIODIC,
        requests_per_round=keys.pairs_per_round,
        deadline_s=keys.deadline_s,
        minimum_fidelity=least[kept],
        weight=keys.value,
    )
    return _Flows(routes=routes, demand=demand, margin=margin)


def _traffic_flows(
    traffic: TrafficParameters, n_nodes: int, links: LinkTable, repeaters: RepeaterTable, rng: np.random.Generator
) -> _Flows:
    """Draw the connections of the background traffic among those that can reach their fidelity."""
    near = _near_pairs(links, n_nodes, traffic.most_hops, with_fibre=True)
    routes = fastest_routes(links, near, cost="hops")
    margin = fidelity_margin(routes, repeaters, links, traffic.minimum_fidelity)
    possible = np.flatnonzero(margin > 0.0)
    if len(possible) < traffic.connections:
        raise DomainError(
            f"Argument `connections` must be at most {len(possible)}, the pairs of nodes at most {traffic.most_hops} "
            f"links apart whose fresh pairs reach a fidelity of {traffic.minimum_fidelity}, but is "
            f"{traffic.connections}."
        )
    demand = _demand(
        np.sort(rng.permutation(possible)[: traffic.connections]),
        RouteClass.BACKGROUND,
        Arrivals.POISSON,
        requests_per_round=traffic.requests_per_round,
        deadline_s=traffic.deadline_s,
        minimum_fidelity=traffic.minimum_fidelity,
        weight=traffic.value,
    )
    return _Flows(routes=routes, demand=demand, margin=margin)


def _demand(
    route: NDArray[np.int64],
    use_class: int,
    arrivals: int,
    *,
    requests_per_round: float,
    deadline_s: float,
    minimum_fidelity: float | FloatArray,
    weight: float,
) -> RouteDemand:
    """Return flows that are alike but for their route."""
    count = len(route)
    return RouteDemand(
        route=route,
        use_class=np.full(count, int(use_class)),
        arrivals=np.full(count, int(arrivals)),
        requests_per_round=np.full(count, requests_per_round),
        backlog=np.ones(count, np.int64),
        deadline_ns=np.full(count, _to_ns(deadline_s)),
        minimum_fidelity=np.broadcast_to(np.float64(minimum_fidelity), count).copy(),
        weight=np.full(count, weight),
    )


def _joined(flows: Sequence[_Flows]) -> _Flows:
    """Return the routes and flows of several groups as one."""
    tables = [one.routes for one in flows]
    before = np.cumsum([0, *(table.n_routes for table in tables)])
    hops = np.concatenate([table.n_hops for table in tables])
    routes = RouteTable(
        first_hop=np.concatenate([[0], np.cumsum(hops)]).astype(np.int64),
        **{name: np.concatenate([getattr(table, name) for table in tables]) for name in ("link", "source", "target")},
    )
    shifted = [replace(one.demand, route=one.demand.route + at) for one, at in zip(flows, before[:-1], strict=True)]
    columns = [field.name for field in fields(RouteDemand)]
    demand = RouteDemand(**{name: np.concatenate([getattr(one, name) for one in shifted]) for name in columns})
    return _Flows(routes=routes, demand=demand, margin=np.concatenate([one.margin for one in flows]))


def _cutoff_ns(flows: _Flows, links: LinkTable) -> NDArray[np.int64]:
    """Return the age up to which each link's held pairs spend the part of the decay that the best route can afford."""
    routes, used = flows.routes, np.zeros(flows.routes.n_routes, np.bool_)
    used[flows.demand.route] = True
    margin = np.where(used, flows.margin, 0.0)
    share = np.zeros(links.n_links)
    np.maximum.at(share, routes.link, np.repeat(margin / routes.n_hops, routes.n_hops))
    with np.errstate(divide="ignore", invalid="ignore"):
        cutoff_s = np.where(share > 0.0, np.minimum(share / links.decay_rate_hz, _LONGEST_CUTOFF_S), 0.0)
    return np.asarray(np.rint(cutoff_s * _NANOSECONDS_PER_SECOND), dtype=np.int64)


def _near_pairs(links: LinkTable, n_nodes: int, most_hops: int, *, with_fibre: bool) -> list[tuple[int, int]]:
    """Return the pairs of nodes at most so many links apart, with or without those that have a fibre."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.csgraph import shortest_path  # noqa: PLC0415 - slow to import

    graph = csr_array((np.ones(links.n_links), (links.node_a, links.node_b)), shape=(n_nodes, n_nodes))
    distance = shortest_path(graph, directed=False, unweighted=True)
    least = 1 if with_fibre else 2
    return [pair for pair in combinations(range(n_nodes), 2) if least <= distance[pair] <= most_hops]


def _to_ns(seconds: float) -> int:
    return round(seconds * _NANOSECONDS_PER_SECOND)
