"""The world of one run: everything that is fixed before the clock starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.learning import Circuit, Dataset, LearnerSamples, Partition
from ceas.network import DemandTable, LinkTable, NetworkModel, NodeTable, RoundClock, Topology, pair_rate_hz
from ceas.physics import binary_entropy

if TYPE_CHECKING:
    from ceas.network.routes import RepeaterTable, RouteTable

__all__ = ["DemandParameters", "Placement", "World", "build_world", "key_margin", "place_byzantine"]

Placement = Literal["random", "best"]
NANOSECONDS_PER_SECOND = 1_000_000_000
# Below it a Werner pair gives no secret bit (`ceas.physics.secret_key_fraction`).
LEAST_KEY_FIDELITY = 0.834958
_LONGEST_CUTOFF_S = 86_400.0
# A correlator that has fallen by exp(-40) is nothing, and so is what remains of the interval.
_LARGEST_MARGIN = 40.0
_BISECTIONS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandParameters:
    """What the uses of a pair ask for and are worth; the terms are those of `ceas.network.DemandTable`.

    Attributes:
        learning_window_s: Length of the learning window of a round (s).
        exchange_window_s: Length of the exchange phase of a round (s).
        shot_duration_s: Time that a QPU needs for one shot (s).
        key_pairs_per_round: Key requests per link and round.
        key_deadline_s: Time after which a key request is dropped (s).
        route_key_pairs_per_round: End-to-end key requests in a round for every two nodes without a common fibre.
        route_hops: Most links of their routes; nodes further apart ask for none.
        test_share: Probability that a use is diverted to a joint test.
        learning_value: Value of one shot through perfect pairs.
        key_value: Value of one secret bit.
        test_value: Value of one tested pair.
        minimum_fidelity: Fidelity at which a stored pair expires.
    """

    learning_window_s: float
    exchange_window_s: float
    shot_duration_s: float
    key_pairs_per_round: float
    key_deadline_s: float
    route_key_pairs_per_round: float
    route_hops: int
    test_share: float
    learning_value: float
    key_value: float
    test_value: float
    minimum_fidelity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a run starts from; learner `k` sits at node `k`.

    Attributes:
        topology: Nodes, links and fibre lengths.
        network: Hardware, demands and clock, as the event kernel sees them.
        circuit: The QNN.
        partition: How the QNN is cut over two QPUs.
        dataset: Samples as angles.
        samples: Which training samples each learner holds.
        lender: Node that lends its qubits to each learner, shape `(learners,)`; the learner itself when it is alone.
        is_byzantine: Whether each node is malicious, shape `(nodes,)`.
    """

    topology: Topology
    network: NetworkModel
    circuit: Circuit
    partition: Partition
    dataset: Dataset
    samples: LearnerSamples
    lender: NDArray[np.int32]
    is_byzantine: NDArray[np.bool_]

    @property
    def n_learners(self) -> int:
        """Number of learners, one a node."""
        return self.topology.n_nodes

    @property
    def pairs_per_shot(self) -> int:
        """Bell pairs that one shot of the cut circuit takes."""
        return self.network.demand.pairs_per_shot


def _fastest_link(links: LinkTable, n_nodes: int) -> NDArray[np.int32]:
    """Return each node's link with the highest pair rate, ties going to the lowest index."""
    rate = pair_rate_hz(links)
    best = np.full(n_nodes, -1, np.int32)
    for link in np.argsort(-rate, kind="stable")[::-1]:
        best[links.node_a[link]] = link
        best[links.node_b[link]] = link
    return best


def _demand(
    parameters: DemandParameters,
    links: LinkTable,
    learner_link: NDArray[np.int32],
    pairs_per_shot: int,
    weights: tuple[float, float, float],
) -> DemandTable:
    return DemandTable(
        learner_link=learner_link,
        pairs_per_shot=pairs_per_shot,
        shot_duration_ns=np.full(learner_link.shape, _to_ns(parameters.shot_duration_s), np.int64),
        key_pairs_per_round=np.full(links.n_links, float(parameters.key_pairs_per_round)),
        key_deadline_ns=_to_ns(parameters.key_deadline_s),
        test_share=parameters.test_share,
        learning_value=parameters.learning_value,
        key_value=parameters.key_value,
        test_value=parameters.test_value,
        correlator_weights=weights,
    )


def _routes(parameters: DemandParameters, topology: Topology, nodes: NodeTable, links: LinkTable) -> dict[str, Any]:
    """Return the routes for keys between nodes without a common fibre, as arguments of the network model.

    Raises:
        DomainError: No two such nodes are close enough, or none of their pairs could give key.
    """
    if parameters.route_key_pairs_per_round == 0.0:
        return {}
    from ceas.network.routes import Arrivals, RouteClass, RouteDemand, fastest_routes, repeaters_of  # noqa: PLC0415

    linked = set(zip(links.node_a.tolist(), links.node_b.tolist(), strict=True))
    apart = [pair for pair in combinations(range(topology.n_nodes), 2) if pair not in linked]
    hops = _hops(links, topology.n_nodes, apart)
    near = [pair for pair, n in zip(apart, hops, strict=True) if n <= parameters.route_hops]
    repeaters = repeaters_of(nodes, links)
    routes = fastest_routes(links, near, cost="hops") if near else None
    margin, least = np.array([]), np.array([])
    if routes is not None and links.is_bell_diagonal:
        margin, least = bell_diagonal_key_margin(routes, repeaters, links)
    elif routes is not None:
        margin = key_margin(routes, repeaters, links)
        least = np.full(routes.n_routes, LEAST_KEY_FIDELITY)
    if routes is None or (margin <= 0.0).all():
        raise DomainError(
            f"Argument `route_hops` must reach two nodes without a common fibre whose fresh pairs give key, but is "
            f"{parameters.route_hops}."
        )
    kept = np.flatnonzero(margin > 0.0)
    # A held pair may spend its part of the decay that the longest-lived route over its link can afford.
    share = np.zeros(links.n_links)
    np.maximum.at(share, routes.link, np.repeat(margin / routes.n_hops, routes.n_hops))
    with np.errstate(divide="ignore"):
        cutoff_s = np.minimum(share / links.decay_rate_hz, _LONGEST_CUTOFF_S)
    one = np.ones(len(kept))
    demand = RouteDemand(
        route=kept,
        use_class=np.full(len(kept), int(RouteClass.KEY)),
        arrivals=np.full(len(kept), int(Arrivals.PERIODIC)),
        requests_per_round=parameters.route_key_pairs_per_round * one,
        backlog=np.ones(len(kept), np.int64),
        deadline_ns=np.full(len(kept), _to_ns(parameters.key_deadline_s)),
        minimum_fidelity=least[kept],
        weight=parameters.key_value * one,
    )
    repeaters = replace(repeaters, cutoff_ns=np.rint(cutoff_s * NANOSECONDS_PER_SECOND).astype(np.int64))
    return {"routes": routes, "route_demand": demand, "repeaters": repeaters}


def key_margin(routes: "RouteTable", repeaters: "RepeaterTable", links: LinkTable) -> NDArray[np.float64]:
    """Return ln(w / w_least) of the pairs that fresh pairs of each route give when they are swapped at once.

    It is what waiting may cost; at or below 0 a route gives no key whatever the schedule.
    """
    swaps = np.log(np.maximum(repeaters.swap_contraction.mean(axis=1), 1e-300))
    fresh = np.log(np.maximum(links.initial_werner, 1e-300))
    visited = routes.nodes(links)
    margin = np.empty(routes.n_routes)
    for route in range(routes.n_routes):
        first, last = int(routes.first_hop[route]), int(routes.first_hop[route + 1])
        inner = visited[first + route + 1 : last + route]
        margin[route] = fresh[routes.link[first:last]].sum() + swaps[inner].sum()
    return np.asarray(margin - np.log((4.0 * LEAST_KEY_FIDELITY - 1.0) / 3.0))


def bell_diagonal_key_margin(
    routes: "RouteTable", repeaters: "RepeaterTable", links: LinkTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the `key_margin` of routes of Bell-diagonal pairs, and the fidelity at which each route's pairs lose it.

    The margin mu is what waiting may cost if every link spends the same part of it: with n links each correlator of a
    link may decay by exp(-mu r_i / (n r)), r the mean of its rates r_i. For Werner pairs it is ln(w / w_least). At or
    below 0 there is no key from fresh pairs.
    """
    visited = routes.nodes(links)
    fresh, slopes = np.ones((routes.n_routes, 3)), np.zeros((routes.n_routes, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(links.correlator_rates_hz / links.decay_rate_hz[:, None], nan=1.0)
    for route in range(routes.n_routes):
        first, last = int(routes.first_hop[route]), int(routes.first_hop[route + 1])
        inner, hops = visited[first + route + 1 : last + route], routes.link[first:last]
        fresh[route] = links.correlators[hops].prod(axis=0) * repeaters.swap_contraction[inner].prod(axis=0)
        slopes[route] = share[hops].mean(axis=0)
    low, high = np.zeros(routes.n_routes), np.full(routes.n_routes, _LARGEST_MARGIN)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        has_key = _has_key(fresh * np.exp(-middle[:, None] * slopes))
        low, high = np.where(has_key, middle, low), np.where(has_key, high, middle)
    margin = np.where(_has_key(fresh), low, 0.0)
    least = (1.0 + (fresh * np.exp(-margin[:, None] * slopes)).sum(axis=1)) / 4.0
    return margin, np.clip(least, 0.0, 1.0 - 1e-12)


def _has_key(correlators: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell whether BBM92 in the X and Z bases makes key of pairs of correlators `(..., 3)`."""
    errors = (1.0 - np.clip(correlators[:, [0, 2]], -1.0, 1.0)) / 2.0
    return np.asarray(binary_entropy(errors).sum(axis=-1) < 1.0)


def _hops(links: LinkTable, n_nodes: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Return the number of links between the nodes of each pair."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.csgraph import shortest_path  # noqa: PLC0415 - slow to import

    graph = csr_array((np.ones(links.n_links), (links.node_a, links.node_b)), shape=(n_nodes, n_nodes))
    distance = shortest_path(graph, directed=False, unweighted=True)
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return np.asarray(distance[first, second])


def _to_ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS_PER_SECOND)


def build_world(
    *,
    topology: Topology,
    nodes: NodeTable,
    links: LinkTable,
    demand: DemandParameters,
    circuit: Circuit,
    partition: Partition,
    dataset: Dataset,
    samples: LearnerSamples,
    is_byzantine: NDArray[np.bool_],
    correlator_weights: tuple[float, float, float] = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0),
) -> World:
    """Join hardware, demands and data into one world.

    A learner whose circuit is cut uses its node's link with the highest pair rate; the node at the other end lends the
    second half of the qubits.

    Raises:
        DomainError: A circuit is cut but a node has no link.
    """
    learner_link = np.full(topology.n_nodes, -1, np.int32)
    lender = np.arange(topology.n_nodes, dtype=np.int32)
    if partition.pairs_per_shot:
        learner_link = _fastest_link(links, topology.n_nodes)
        if (learner_link < 0).any():
            lonely = int(np.flatnonzero(learner_link < 0)[0])
            raise DomainError(f"Argument `topology` must give every node a link, but node {lonely} has none.")
        lender = (links.node_a[learner_link] + links.node_b[learner_link] - lender).astype(np.int32)
    learning_ns = _to_ns(demand.learning_window_s)
    return World(
        topology=topology,
        network=NetworkModel(
            nodes=nodes,
            links=links,
            demand=_demand(demand, links, learner_link, partition.pairs_per_shot, correlator_weights),
            clock=RoundClock(round_ns=learning_ns + _to_ns(demand.exchange_window_s), learning_ns=learning_ns),
            minimum_fidelity=demand.minimum_fidelity,
            **_routes(demand, topology, nodes, links),
        ),
        circuit=circuit,
        partition=partition,
        dataset=dataset,
        samples=samples,
        lender=lender,
        is_byzantine=is_byzantine,
    )


def place_byzantine(
    links: LinkTable, n_nodes: int, n_byzantine: int, *, placement: Placement, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose which nodes are malicious.

    Args:
        links: Links, for the placement `best`.
        n_nodes: Number of nodes.
        n_byzantine: Number of malicious nodes, below `n_nodes`.
        placement: `random`, or `best`: the nodes with the fastest links, whose updates would weigh most.
        rng: Generator of the random placement.

    Returns:
        Whether each node is malicious, shape `(n_nodes,)`.
    """
    if not 0 <= n_byzantine < n_nodes:
        raise DomainError(f"Argument `n_byzantine` must be in [0, {n_nodes}), but is {n_byzantine}.")
    if placement == "random":
        order = rng.permutation(n_nodes)
    else:
        rate = np.append(pair_rate_hz(links), -1.0)
        order = np.argsort(-rate[_fastest_link(links, n_nodes)], kind="stable")
    chosen = np.zeros(n_nodes, np.bool_)
    chosen[order[:n_byzantine]] = True
    return chosen
