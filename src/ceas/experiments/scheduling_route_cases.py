"""Scheduling cases whose requests need pairs of several links, or several pairs: a switch, a grid, packets."""

from dataclasses import dataclass
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import (
    Int64s,
    Phase,
    Regime,
    RequestClass,
    SchedulingCase,
    case_stream,
    check_load,
    draw_requests,
    forecast_of,
    lifetime_of_fidelity,
    pairs_per_slot,
    pareto_demand,
    request_table,
    uniform_network,
)
from ceas.network.slots import SlottedNetwork, ValueKind, draw_sample_path

__all__ = ["gravity_demand", "grid_case", "grid_network", "packet_case", "switch_case"]

SWITCH_ZIPF_EXPONENT = 0.8
SWITCH_SHARES_WEIGHTS = ((0.3, 3.0), (0.7, 1.0))
SWITCH_PATIENCE_SLOTS = (3, 12)

GRID_SIDE = 7
GRID_PATIENCE_SLOTS = (12, 30)
GRID_HOPS = (2, 4)
GRID_COHERENCE_SLOTS, GRID_FIDELITY, GRID_MINIMUM_FIDELITY = 100.0, 0.97, 0.7

PACKET_PAIRS, PACKET_WINDOW_SLOTS, PACKET_PERIOD_SLOTS = 3, 10, 40
PACKET_ROUTE_SHARE = 0.3


def switch_case(*, load: float, n_leaves: int, seed: int, phase: Phase, n_slots: int = 400) -> SchedulingCase:
    """Return S5: a switch that joins its leaves two by two, with Zipf-popular leaves and memory for 2 pairs a leaf.

    A request takes one pair of each of two links, so `load` counts two for it; the switch itself is short of nothing.

    Raises:
        DomainError: `load` is negative, or there are fewer than two leaves or one slot.
    """
    check_load(load, n_slots)
    if n_leaves < 2:
        raise DomainError(f"Argument `n_leaves` must be at least 2, but is {n_leaves}.")
    fidelity, coherence, minimum_fidelity, memory = 0.97, 30.0, 0.8, 2
    edges = np.column_stack([np.zeros(n_leaves, dtype=np.int64), np.arange(1, n_leaves + 1)])
    hub_first = np.arange(n_leaves + 1) == 0
    # The oldest pair that can still serve is one whose partner is new.
    new_werner = (4.0 * fidelity - 1.0) / 3.0
    network = uniform_network(
        edges,
        n_leaves + 1,
        success_probability=0.25,
        initial_fidelity=fidelity,
        coherence_slots=coherence,
        lifetime_slots=lifetime_of_fidelity(new_werner**2, coherence, minimum_fidelity),
        memory_slots=np.where(hub_first, memory * n_leaves, memory),
        attempts_per_slot=np.where(hub_first, n_leaves, 1),
    )
    popularity = case_stream(seed, phase, "demand").permutation(
        np.arange(1, n_leaves + 1, dtype=np.float64) ** -SWITCH_ZIPF_EXPONENT
    )
    pairs = list(combinations(range(n_leaves), 2))
    wish = np.array([popularity[a] * popularity[b] for a, b in pairs])
    mean_pairs = 0.25 * n_leaves
    classes = [
        RequestClass(
            share=share / len(SWITCH_PATIENCE_SLOTS),
            minimum_fidelity=minimum_fidelity,
            weight=weight,
            patience_slots=patience,
            kind=ValueKind.INFORMATION,
        )
        for share, weight in SWITCH_SHARES_WEIGHTS
        for patience in SWITCH_PATIENCE_SLOTS
    ]
    requests, forecast = draw_requests(
        [list(pair) for pair in pairs],
        load * mean_pairs / 2.0 * wish / wish.sum(),
        classes,
        n_slots=n_slots,
        n_links=n_leaves,
        rng=case_stream(seed, phase, "requests"),
        user_of_route=np.array([a for a, _ in pairs], dtype=np.int64),
    )
    return SchedulingCase(
        name=f"S5 load {load:g} leaves {n_leaves}",
        description="Two links a request, whose ages add: which leaves to match, and which pairs to keep.",
        regime=Regime.HARD,
        network=network,
        requests=requests,
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GravityDemand:
    """Who asks whom over the grid.

    Attributes:
        routes: Links of each route, from its first node on.
        ends: Its first and last node, `(n_routes, 2)`.
        rate: Mean requests a slot of each, `(n_routes,)`.
    """

    routes: list[list[int]]
    ends: Int64s
    rate: npt.NDArray[np.float64]


def grid_network(swap_success_probability: float) -> SlottedNetwork:
    """Return the grid of S7: 7 x 7 nodes and one more at its corner, with 4 memory slots and 2 attempts a node."""
    graph = _grid_graph()
    new_werner = (4.0 * GRID_FIDELITY - 1.0) / 3.0
    return uniform_network(
        _sorted_edges(graph),
        len(graph),
        success_probability=0.5,
        initial_fidelity=GRID_FIDELITY,
        coherence_slots=GRID_COHERENCE_SLOTS,
        lifetime_slots=lifetime_of_fidelity(new_werner**2, GRID_COHERENCE_SLOTS, GRID_MINIMUM_FIDELITY),
        memory_slots=4,
        attempts_per_slot=2,
        swap_success_probability=swap_success_probability,
        swap_werner=float(np.exp(-1.0 / GRID_COHERENCE_SLOTS)),
    )


def gravity_demand(network: SlottedNetwork, *, seed: int, phase: Phase, load: float) -> GravityDemand:
    """Return gravity demand on the grid between nodes 2 to 4 hops apart, over one shortest route each."""
    graph = _grid_graph()
    mass = pareto_demand(len(graph), case_stream(seed, phase, "demand"))
    routes, ends = _shortest_routes(graph, network.edges)
    hops = np.array([len(route) for route in routes])
    wish = np.array([mass[a] * mass[b] for a, b in ends]) / hops**2
    rate = load * pairs_per_slot(network) * wish / (wish * hops).sum()
    return GravityDemand(routes=routes, ends=np.array(ends, dtype=np.int64), rate=rate)


def grid_case(
    *, swap_success_probability: float, seed: int, phase: Phase, load: float = 0.7, n_slots: int = 400
) -> SchedulingCase:
    """Return S7: a grid of 7 x 7 nodes and one more at its corner, gravity demand over 2 to 4 hops.

    The slotted network swaps a route at its service. Classical messages of one slot a hop are accounted for in what
    each Bell measurement costs: its outcome travels one more hop while the end pair ages by one slot. That memory stays
    taken while messages travel is left out.

    Raises:
        DomainError: `load` is negative, or `n_slots` below 1.
    """
    check_load(load, n_slots)
    network = grid_network(swap_success_probability)
    demand = gravity_demand(network, seed=seed, phase=phase, load=load)
    classes = [
        RequestClass(
            share=1.0 / len(GRID_PATIENCE_SLOTS),
            minimum_fidelity=GRID_MINIMUM_FIDELITY,
            weight=1.0,
            patience_slots=patience,
            kind=ValueKind.INFORMATION,
        )
        for patience in GRID_PATIENCE_SLOTS
    ]
    requests, forecast = draw_requests(
        demand.routes,
        demand.rate,
        classes,
        n_slots=n_slots,
        n_links=network.n_links,
        rng=case_stream(seed, phase, "requests"),
        user_of_route=demand.ends[:, 0],
    )
    return SchedulingCase(
        name=f"S7 swap {swap_success_probability:g} load {load:g}",
        description="Routes of 2 to 4 links whose ages add and whose swaps fail: what to serve with which pairs.",
        regime=Regime.HARD,
        network=network,
        requests=requests,
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast,
    )


def packet_case(*, n_applications: int, seed: int, phase: Phase, n_slots: int = 400) -> SchedulingCase:
    """Return S8: applications that ask for a packet every 40 slots, to be complete within a window of 10.

    Seven of ten have a link and need 3 of its pairs at once; the others have a route of two links and need one pair
    over it. Pairs age while the packet is completed. The user of a request is its application.

    Raises:
        DomainError: There is no application or no slot.
    """
    check_load(float(n_applications), n_slots)
    if n_applications < 1:
        raise DomainError(f"Argument `n_applications` must be at least 1, but is {n_applications}.")
    coherence, fidelity, minimum_fidelity = 60.0, 0.95, 0.75
    graph = _connected_waxman(50, case_stream(seed, phase, "network"))
    new_werner = (4.0 * fidelity - 1.0) / 3.0
    network = uniform_network(
        _sorted_edges(graph),
        len(graph),
        success_probability=0.3,
        initial_fidelity=fidelity,
        coherence_slots=coherence,
        lifetime_slots=lifetime_of_fidelity(new_werner, coherence, minimum_fidelity),
        memory_slots=4,
        attempts_per_slot=2,
    )
    classes = [
        _packet_class(1.0 - PACKET_ROUTE_SHARE, minimum_fidelity, n_pairs=PACKET_PAIRS, weight=float(PACKET_PAIRS)),
        _packet_class(PACKET_ROUTE_SHARE, minimum_fidelity, n_pairs=1, weight=2.0),
    ]
    rng = case_stream(seed, phase, "requests")
    routes, label = _application_routes(network.edges, n_applications, rng)
    phase_slot = rng.integers(PACKET_PERIOD_SLOTS, size=n_applications)
    all_arrivals = phase_slot[:, None] + PACKET_PERIOD_SLOTS * np.arange(-(-n_slots // PACKET_PERIOD_SLOTS))
    user, turn = np.nonzero(all_arrivals < n_slots)
    order = np.lexsort((user, all_arrivals[user, turn]))
    user, arrival = user[order], all_arrivals[user, turn][order]
    rate = np.zeros((network.n_links, len(classes)))
    for links, one in zip(routes, label.tolist(), strict=True):
        rate[links, one] += 1.0 / PACKET_PERIOD_SLOTS
    return SchedulingCase(
        name=f"S8 applications {n_applications}",
        description="Packets of pairs within a window: which to complete when not all can be.",
        regime=Regime.HARD,
        network=network,
        requests=request_table(routes, classes, route=user, label=label[user], arrival=arrival, user=user),
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast_of(rate, classes),
    )


def _packet_class(share: float, minimum_fidelity: float, *, n_pairs: int, weight: float) -> RequestClass:
    return RequestClass(
        share=share,
        minimum_fidelity=minimum_fidelity,
        weight=weight,
        patience_slots=PACKET_WINDOW_SLOTS,
        n_pairs=n_pairs,
    )


def _application_routes(edges: Int64s, n_applications: int, rng: np.random.Generator) -> tuple[list[list[int]], Int64s]:
    """Give each application a link (class 0), or two links with a common end (class 1)."""
    two_hops = [
        [a, b] for a, b in combinations(range(len(edges)), 2) if len(set(edges[a].tolist() + edges[b].tolist())) == 3
    ]
    label = (rng.random(n_applications) < PACKET_ROUTE_SHARE).astype(np.int64)
    link = rng.integers(len(edges), size=n_applications)
    route = rng.integers(len(two_hops), size=n_applications)
    routes = [two_hops[r] if one else [e] for one, e, r in zip(label.tolist(), link.tolist(), route, strict=True)]
    return routes, label


def _grid_graph() -> nx.Graph:
    graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(GRID_SIDE, GRID_SIDE), ordering="sorted")
    graph.add_edge(0, GRID_SIDE**2)
    return graph


def _sorted_edges(graph: nx.Graph) -> Int64s:
    return np.array(sorted(tuple(sorted(edge)) for edge in graph.edges), dtype=np.int64)


def _shortest_routes(graph: nx.Graph, edges: Int64s) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return one shortest route for every two nodes that are 2 to 4 hops apart, and their ends."""
    link_of = {tuple(edge): link for link, edge in enumerate(edges.tolist())}
    routes, ends = [], []
    for a, paths in nx.all_pairs_shortest_path(graph, cutoff=GRID_HOPS[1]):
        for b, nodes in paths.items():
            if a < b and len(nodes) - 1 >= GRID_HOPS[0]:
                routes.append([link_of[min(u, v), max(u, v)] for u, v in pairwise(nodes)])
                ends.append((a, b))
    return routes, ends


def _connected_waxman(n_nodes: int, rng: np.random.Generator) -> nx.Graph:
    """Draw Waxman graphs until one is connected.

    Source:
        B. M. Waxman, IEEE J. Sel. Areas Commun. 6, 1617 (1988): an edge with chance beta exp(-d / (alpha d_max)).
    """
    while True:
        graph = nx.waxman_graph(n_nodes, beta=0.6, alpha=0.15, seed=int(rng.integers(1 << 31)))
        if nx.is_connected(graph):
            return graph
