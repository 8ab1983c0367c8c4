"""Who asks for end-to-end pairs in a training, what repeaters can do, and which links change: the network's options.

Two kinds of flows share the links with the training: keys between nodes without a common fibre, and background traffic
that CEAS only carries.
"""

from collections.abc import Sequence
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

__all__ = [
    "LEAST_KEY_FIDELITY",
    "DriftParameters",
    "RepeaterParameters",
    "RouteKeyParameters",
    "TrafficParameters",
    "drift_schedule",
    "route_margin",
    "route_options",
]

FloatArray = NDArray[np.float64]

# Below it a Werner pair gives no secret bit (`ceas.physics.secret_key_fraction`).
LEAST_KEY_FIDELITY = 0.834958
_NANOSECONDS_PER_SECOND = 1_000_000_000
_LONGEST_CUTOFF_S = 86_400.0


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
        link_share: Share of the links that change, in [0, 1], rounded to whole links.
        start_s: When they change (s).
        success_factor: Factor on the chance that an attempt succeeds.
        coherence_factor: Factor on the time in which stored pairs decay, above 0.
        werner_factor: Factor on the Werner parameter of new pairs, in [0, 1].
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
    routes, demand = _joined(flows)
    return {"routes": routes, "route_demand": demand, "repeaters": _with_cutoff(table, routes, demand, links)}


def drift_schedule(parameters: DriftParameters, n_links: int, rng: np.random.Generator) -> DriftSchedule | None:
    """Draw which links change, or return None if none do."""
    count = round(parameters.link_share * n_links)
    if count == 0:
        return None
    return DriftSchedule(
        time_ns=np.full(count, _to_ns(parameters.start_s), np.int64),
        link=np.sort(rng.permutation(n_links)[:count]).astype(np.int64),
        success_factor=np.full(count, parameters.success_factor),
        decay_factor=np.full(count, 1.0 / parameters.coherence_factor),
        fidelity_factor=np.full(count, parameters.werner_factor),
        is_announced=parameters.is_announced,
    )


def route_margin(
    routes: RouteTable, repeaters: RepeaterTable, links: LinkTable, minimum_fidelity: float | FloatArray
) -> FloatArray:
    """Return ln(w / w_least) of the pairs that fresh pairs of each route give when they are swapped at once.

    It is what waiting may cost; at or below 0 a route never reaches the minimum fidelity, whatever the schedule.

    Args:
        routes: Routes.
        repeaters: What their nodes do to pairs.
        links: Links.
        minimum_fidelity: Fidelity that is needed, one for all routes or `(n_routes,)`.
    """
    swaps = np.log(np.maximum(repeaters.swap_contraction.mean(axis=1), 1e-300))
    fresh = np.log(np.maximum(links.initial_werner, 1e-300))
    visited = routes.nodes(links)
    margin = np.empty(routes.n_routes)
    for route in range(routes.n_routes):
        first, last = int(routes.first_hop[route]), int(routes.first_hop[route + 1])
        inner = visited[first + route + 1 : last + route]
        margin[route] = fresh[routes.link[first:last]].sum() + swaps[inner].sum()
    least = np.maximum((4.0 * np.asarray(minimum_fidelity) - 1.0) / 3.0, 1e-300)
    return np.asarray(margin - np.log(least))


def _key_flows(
    keys: RouteKeyParameters, n_nodes: int, links: LinkTable, repeaters: RepeaterTable
) -> tuple[RouteTable, RouteDemand]:
    """Return the routes over which nodes without a common fibre can make keys, and their requests."""
    near = _near_pairs(links, n_nodes, keys.most_hops, with_fibre=False)
    routes = fastest_routes(links, near, cost="hops") if near else None
    margin = np.zeros(0) if routes is None else route_margin(routes, repeaters, links, LEAST_KEY_FIDELITY)
    if routes is None or not (margin > 0.0).any():
        raise DomainError(
            f"Argument `route_hops` must reach two nodes without a common fibre whose fresh pairs give key, but is "
            f"{keys.most_hops}."
        )
    return routes, _demand(
        np.flatnonzero(margin > 0.0),
        RouteClass.KEY,
        Arrivals.PERIODIC,
        requests_per_round=keys.pairs_per_round,
        deadline_s=keys.deadline_s,
        minimum_fidelity=LEAST_KEY_FIDELITY,
        weight=keys.value,
    )


def _traffic_flows(
    traffic: TrafficParameters,
    n_nodes: int,
    links: LinkTable,
    repeaters: RepeaterTable,
    rng: np.random.Generator,
) -> tuple[RouteTable, RouteDemand]:
    """Draw the connections of the background traffic among those that can reach their fidelity."""
    near = _near_pairs(links, n_nodes, traffic.most_hops, with_fibre=True)
    routes = fastest_routes(links, near, cost="hops")
    possible = np.flatnonzero(route_margin(routes, repeaters, links, traffic.minimum_fidelity) > 0.0)
    if len(possible) < traffic.connections:
        raise DomainError(
            f"Argument `connections` must be at most {len(possible)}, the pairs of nodes at most {traffic.most_hops} "
            f"links apart whose fresh pairs reach a fidelity of {traffic.minimum_fidelity}, but is "
            f"{traffic.connections}."
        )
    return routes, _demand(
        np.sort(rng.permutation(possible)[: traffic.connections]),
        RouteClass.BACKGROUND,
        Arrivals.POISSON,
        requests_per_round=traffic.requests_per_round,
        deadline_s=traffic.deadline_s,
        minimum_fidelity=traffic.minimum_fidelity,
        weight=traffic.value,
    )


def _demand(
    route: NDArray[np.int64],
    use_class: int,
    arrivals: int,
    *,
    requests_per_round: float,
    deadline_s: float,
    minimum_fidelity: float,
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
        minimum_fidelity=np.full(count, minimum_fidelity),
        weight=np.full(count, weight),
    )


def _joined(flows: Sequence[tuple[RouteTable, RouteDemand]]) -> tuple[RouteTable, RouteDemand]:
    """Return the routes and flows of several groups as one."""
    tables = [table for table, _ in flows]
    before = np.cumsum([0, *(table.n_routes for table in tables)])
    hops = np.concatenate([table.n_hops for table in tables])
    routes = RouteTable(
        first_hop=np.concatenate([[0], np.cumsum(hops)]).astype(np.int64),
        **{name: np.concatenate([getattr(table, name) for table in tables]) for name in ("link", "source", "target")},
    )
    shifted = [replace(one, route=one.route + first) for (_, one), first in zip(flows, before[:-1], strict=True)]
    columns = [field.name for field in fields(RouteDemand)]
    return routes, RouteDemand(**{name: np.concatenate([getattr(one, name) for one in shifted]) for name in columns})


def _with_cutoff(repeaters: RepeaterTable, routes: RouteTable, demand: RouteDemand, links: LinkTable) -> RepeaterTable:
    """Let a link's held pairs spend the part of the decay that the most patient flow over it can afford."""
    least = np.ones(routes.n_routes)
    np.minimum.at(least, demand.route, demand.minimum_fidelity)
    used = np.zeros(routes.n_routes, np.bool_)
    used[demand.route] = True
    margin = np.where(used, route_margin(routes, repeaters, links, least), 0.0)
    share = np.zeros(links.n_links)
    np.maximum.at(share, routes.link, np.repeat(margin / routes.n_hops, routes.n_hops))
    with np.errstate(divide="ignore", invalid="ignore"):
        cutoff_s = np.where(share > 0.0, np.minimum(share / links.decay_rate_hz, _LONGEST_CUTOFF_S), 0.0)
    return replace(repeaters, cutoff_ns=np.rint(cutoff_s * _NANOSECONDS_PER_SECOND).astype(np.int64))


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
