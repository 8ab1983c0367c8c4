"""The network benchmark's networks in our own event kernel: the repeater, Chicago, and random graphs.

Every link has pairs of memories of its own, bound to it; requests for end-to-end pairs take the oldest pair of each
link of their route, repeaters swap as soon as they can, and news travel at the speed of light. Requests never end: when
one has a pair of every link, the connection asks again.
"""

from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.experiments.repeater_benchmark import LIGHT_KM_PER_S, Repeater, RepeaterRun, Timing, timed
from ceas.network.hardware import LinkTable, NodeTable
from ceas.network.policy import Policy, attempt_on_request, serve_first_ask_with_oldest
from ceas.network.records import NetworkModel, RoundClock, no_link_demand
from ceas.network.route_records import RouteRecord
from ceas.network.routes import Arrivals, RouteClass, RouteDemand, fastest_routes, ideal_repeaters
from ceas.network.simulation import advance_round, initial_state
from ceas.network.topology import Topology, chain
from ceas.scheduling import oldest_first

__all__ = [
    "ConnectionRun",
    "LinkHardware",
    "connect",
    "random_connections",
    "run_connections",
    "run_repeater",
]

# Stored pairs are never too bad to be held, and no request is ever too old.
_LOWEST_FIDELITY = 0.2501
_NEVER_S = 60 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkHardware:
    """Hardware that all nodes of a benchmark network share; double-click heralding as in `Repeater`.

    Attributes:
        memory_efficiency: Chance that a memory emits a photon into the fibre.
        detector_efficiency: Chance that a detector clicks for a photon.
        attenuation_db_per_km: Fibre attenuation (dB/km).
        initial_fidelity: Fidelity of a pair when its herald is known.
        coherence_time_s: Depolarising time of a memory (s).
        memory_frequency_hz: Largest number of excitations of a memory a second (1/s).
        swap_success_probability: Chance that a swap succeeds.
    """

    memory_efficiency: float
    detector_efficiency: float
    attenuation_db_per_km: float
    initial_fidelity: float
    coherence_time_s: float
    memory_frequency_hz: float
    swap_success_probability: float

    def link(self, length_km: float, memories: int) -> Repeater:
        """Return what follows for one link, in the words of the repeater."""
        return Repeater(
            link_km=length_km,
            memories=memories,
            memory_efficiency=self.memory_efficiency,
            detector_efficiency=self.detector_efficiency,
            attenuation_db_per_km=self.attenuation_db_per_km,
            initial_fidelity=self.initial_fidelity,
            coherence_time_s=self.coherence_time_s,
            memory_frequency_hz=self.memory_frequency_hz,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRun:
    """What came of a network's connections.

    Attributes:
        pairs: Delivered pairs of each connection, `(n,)`.
        fidelity: Their mean fidelity at delivery, `(n,)`, NaN without any.
        swaps: Bell measurements.
        simulated_s: Simulated time (s).
        timing: Time that the simulation took, without imports, set-up and compilation.
    """

    pairs: NDArray[np.int64]
    fidelity: NDArray[np.float64]
    swaps: int
    simulated_s: float
    timing: Timing


def connect(
    topology: Topology,
    hardware: LinkHardware,
    memories: NDArray[np.int64],
    connections: list[tuple[int, int]],
    *,
    round_s: float,
    backlog: int = 1,
    cutoff_s: float = _NEVER_S,
) -> NetworkModel:
    """Return a network in which connections always ask for pairs along their fastest routes.

    Args:
        topology: Who has fibre to whom; measured losses are not used.
        hardware: What all nodes have.
        memories: Memory pairs of each link, `(n_links,)`.
        connections: Ends of each connection.
        round_s: Simulated time of one round, by which results come (s).
        backlog: Requests of a connection that ask for pairs at any time.
        cutoff_s: Age at which a pair that waits for others of its request is given up (s). Without it, requests that
            hold all memories of one link and wait for another may wait for each other for ever.
    """
    described = [hardware.link(km, m) for km, m in zip(topology.length_km.tolist(), memories.tolist(), strict=True)]
    node_a, node_b = topology.edges[:, 0].copy(), topology.edges[:, 1].copy()
    slots = np.zeros(topology.n_nodes, dtype=np.int32)
    for ends in (node_a, node_b):
        np.add.at(slots, ends, memories.astype(np.int32))
    nothing = np.zeros(topology.n_nodes)
    nodes = NodeTable(
        coherence_time_s=np.full(topology.n_nodes, hardware.coherence_time_s),
        memory_slots=slots,
        one_qubit_error=nothing,
        two_qubit_error=nothing,
        readout_error=nothing,
    )
    links = LinkTable(
        node_a=node_a,
        node_b=node_b,
        length_km=topology.length_km,
        attempt_period_ns=np.array([link.attempt_period_ns // link.memories for link in described], dtype=np.int64),
        success_probability=np.array([link.success_probability for link in described]),
        initial_werner=np.array([link.initial_werner for link in described]),
        decay_rate_hz=np.array([link.decay_rate_hz for link in described]),
        latency_s=topology.length_km / LIGHT_KM_PER_S,
    )
    repeaters = ideal_repeaters(
        nodes,
        links,
        modes=memories,
        swap_success_probability=hardware.swap_success_probability,
        cutoff_ns=round(cutoff_s * 1e9),
    )
    routes = fastest_routes(links, connections)
    return NetworkModel(
        nodes=nodes,
        links=links,
        demand=no_link_demand(links.n_links),
        clock=RoundClock(round_ns=round(round_s * 1e9), learning_ns=round(round_s * 1e9)),
        minimum_fidelity=_LOWEST_FIDELITY,
        routes=routes,
        route_demand=_endless_demand(routes.n_routes, backlog),
        repeaters=repeaters,
    )


def _endless_demand(n_flows: int, backlog: int) -> RouteDemand:
    """Return one flow a route that always has requests that ask for pairs."""
    return RouteDemand(
        route=np.arange(n_flows),
        use_class=np.full(n_flows, int(RouteClass.BACKGROUND), dtype=np.int64),
        arrivals=np.full(n_flows, int(Arrivals.SATURATED), dtype=np.int64),
        requests_per_round=np.zeros(n_flows),
        backlog=np.full(n_flows, backlog, dtype=np.int64),
        deadline_ns=np.full(n_flows, round(_NEVER_S * 1e9), dtype=np.int64),
        minimum_fidelity=np.zeros(n_flows),
        weight=np.ones(n_flows),
    )


def _policy(model: NetworkModel) -> Policy:
    """Return the policy of all benchmark networks: who asks first gets the oldest pair, and swaps come at once."""
    return replace(oldest_first(model), attempt=attempt_on_request, route=serve_first_ask_with_oldest)


def _run_rounds(model: NetworkModel, n_rounds: int, seed: int) -> tuple[list[RouteRecord], Timing]:
    """Return each round's record of the routes, and the time that they took once all is compiled."""
    policy = _policy(model)
    # The first round of another state compiles all, or loads it; what it does is thrown away.
    advance_round(initial_state(_shortened(model), seed=seed), _shortened(model), policy)
    state = initial_state(model, seed=seed)
    records: list[RouteRecord] = []

    def run_all() -> None:
        for _ in range(n_rounds):
            record = advance_round(state, model, policy).routes
            if record is None:
                raise DomainError("Argument `model` must have routes, but has none.")
            records.append(record)

    timing = timed(run_all)
    return records, timing


def _shortened(model: NetworkModel) -> NetworkModel:
    """Return the model with rounds of a millisecond."""
    return replace(model, clock=RoundClock(round_ns=10**6, learning_ns=10**6))


def _fidelity_sum(record: RouteRecord) -> NDArray[np.float64]:
    """Return the sum of the fidelities of each flow's delivered pairs, from their correlators."""
    return np.asarray((record.served + record.correlator_sum.sum(axis=1)) / 4.0)


def run_repeater(repeater: Repeater, n_batches: int, batch_s: float, seed: int) -> RepeaterRun:
    """Run the repeater of the benchmark, a batch a round.

    Raises:
        DomainError: The repeater has a cutoff, which this kernel counts as an age and not in attempts.
    """
    if repeater.cutoff_attempts is not None:
        raise DomainError("Argument `cutoff_attempts` must be None for this kernel, whose cutoff is an age.")
    hardware = LinkHardware(
        memory_efficiency=repeater.memory_efficiency,
        detector_efficiency=repeater.detector_efficiency,
        attenuation_db_per_km=repeater.attenuation_db_per_km,
        initial_fidelity=repeater.initial_fidelity,
        coherence_time_s=repeater.coherence_time_s,
        memory_frequency_hz=repeater.memory_frequency_hz,
        swap_success_probability=1.0,
    )
    memories = np.full(2, repeater.memories, dtype=np.int64)
    # One request more than one link's pairs can serve, so that no pair is ever without one.
    model = connect(
        chain(3, repeater.link_km), hardware, memories, [(0, 2)], round_s=batch_s, backlog=repeater.memories + 1
    )
    records, timing = _run_rounds(model, n_batches, seed)
    return RepeaterRun(
        count=np.array([record.served.sum() for record in records], dtype=np.float64),
        fidelity_sum=np.array([_fidelity_sum(record).sum() for record in records]),
        batch_s=batch_s,
        events=None,
        timing=timing,
    )


def run_connections(model: NetworkModel, n_rounds: int, seed: int) -> ConnectionRun:
    """Run a network and return what came of its connections."""
    records, timing = _run_rounds(model, n_rounds, seed)
    pairs = np.sum([record.served for record in records], axis=0)
    with np.errstate(invalid="ignore"):
        fidelity = np.sum([_fidelity_sum(record) for record in records], axis=0) / pairs
    return ConnectionRun(
        pairs=pairs,
        fidelity=fidelity,
        swaps=int(sum(record.swaps.sum() for record in records)),
        simulated_s=n_rounds * model.clock.round_ns / 1e9,
        timing=timing,
    )


def random_connections(
    topology: Topology, n_connections: int, hops: tuple[int, int], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return random connections between nodes a number of hops apart; as long as it can be, no node has two.

    Args:
        topology: The network.
        n_connections: How many.
        hops: Fewest and most links of the shortest path between two ends.
        rng: Generator.

    Raises:
        DomainError: The network has not so many pairs of nodes at this distance.
    """
    graph = nx.Graph(topology.edges.tolist())
    found = [
        (a, b)
        for a, reached in nx.all_pairs_shortest_path_length(graph, cutoff=hops[1])
        for b, distance in reached.items()
        if a < b and distance >= hops[0]
    ]
    if len(found) < n_connections:
        raise DomainError(f"Argument `n_connections` must be at most {len(found)}, but is {n_connections}.")
    order = [found[at] for at in rng.permutation(len(found))]
    chosen: list[tuple[int, int]] = []
    used: set[int] = set()
    for pair in order:
        if used.isdisjoint(pair) and len(chosen) < n_connections:
            chosen.append(pair)
            used.update(pair)
    rest = [pair for pair in order if pair not in set(chosen)]
    return chosen + rest[: n_connections - len(chosen)]
