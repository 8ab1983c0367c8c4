"""The world of one run: everything that is fixed before the clock starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.learning import Circuit, Classifier, Dataset, LearnerSamples, Partition
from ceas.learning.engines import EngineChoice
from ceas.learning.training import HEISENBERG, Computation
from ceas.network import DemandTable, LinkTable, NetworkModel, NodeTable, RoundClock, Topology, pair_rate_hz
from ceas.runtime.route_world import (
    DriftParameters,
    RepeaterParameters,
    RouteKeyParameters,
    TrafficParameters,
    drift_schedule,
    route_options,
)
from ceas.streams import stream

__all__ = [
    "Computations",
    "DemandParameters",
    "OptionalNetwork",
    "Placement",
    "ProcessorParameters",
    "World",
    "build_world",
    "place_byzantine",
]

Placement = Literal["random", "best"]
NANOSECONDS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandParameters:
    """What the uses of a pair ask for and are worth; the terms are those of `ceas.network.DemandTable`.

    Attributes:
        learning_window_s: Length of the learning window of a round (s).
        exchange_window_s: Length of the exchange phase of a round (s).
        shot_duration_s: Time that a QPU needs for one shot (s).
        key_pairs_per_round: Key requests per link and round.
        key_deadline_s: Time after which a key request is dropped (s).
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
    test_share: float
    learning_value: float
    key_value: float
    test_value: float
    minimum_fidelity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalNetwork:
    """What a network may have beyond links and their demands; by default nothing.

    Attributes:
        repeaters: What nodes can do besides storing pairs.
        keys: Requests for keys between nodes without a common fibre.
        traffic: Background traffic.
        drift: Links that change.
    """

    repeaters: RepeaterParameters = field(default_factory=RepeaterParameters)
    keys: RouteKeyParameters = field(default_factory=RouteKeyParameters)
    traffic: TrafficParameters = field(default_factory=TrafficParameters)
    drift: DriftParameters = field(default_factory=DriftParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorParameters:
    """What quantum processors do beyond the errors of `NodeTable`; by default nothing. Alike at all nodes.

    Attributes:
        relaxation_time_s: T1 of a qubit during gates (s); None for ever.
        dephasing_time_s: T2 (s), at most twice T1; None for the most that T1 allows.
        one_qubit_gate_s: Duration of a run of one-qubit gates (s).
        two_qubit_gate_s: Duration of a two-qubit gate (s).
        excited_population: Probability of |1> in equilibrium, in [0, 1/2].
        readout_asymmetry: How much more likely 1 is misread than 0, in [-1, 1]: the two flip probabilities are the mean
            times 1 - and 1 + this.
        device: PennyLane device that runs the shots of some nodes; empty for none.
        device_nodes: These nodes.
        device_options: Further arguments of the device.
    """

    relaxation_time_s: float | None = None
    dephasing_time_s: float | None = None
    one_qubit_gate_s: float = 0.0
    two_qubit_gate_s: float = 0.0
    excited_population: float = 0.0
    readout_asymmetry: float = 0.0
    device: str = ""
    device_nodes: tuple[int, ...] = ()
    device_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computations:
    """Which engines compute expectation values beside the shots.

    Attributes:
        ideal: For losses, gradients and accuracy without noise.
        noisy: For what noise leaves of the learners' signals.
        choices: Why these, for `ideal` and `noisy`; empty where they were not chosen.
    """

    ideal: Computation = HEISENBERG
    noisy: Computation = HEISENBERG
    choices: tuple[EngineChoice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a run starts from; learner `k` sits at node `k`.

    Attributes:
        topology: Nodes, links and fibre lengths.
        network: Hardware, demands and clock, as the event kernel sees them.
        model: The QNN and how it is read.
        partition: How its circuit is cut over two QPUs.
        dataset: Samples as angles.
        samples: Which training samples each learner holds.
        lender: Node that lends its qubits to each learner, shape `(learners,)`; the learner itself when it is alone.
        is_byzantine: Whether each node is malicious, shape `(nodes,)`.
        processor: What processors do beyond the errors of their nodes.
        computations: Which engines compute expectation values.
    """

    topology: Topology
    network: NetworkModel
    model: Classifier
    partition: Partition
    dataset: Dataset
    samples: LearnerSamples
    lender: NDArray[np.int32]
    is_byzantine: NDArray[np.bool_]
    processor: ProcessorParameters = field(default_factory=ProcessorParameters)
    computations: Computations = field(default_factory=Computations)

    @property
    def circuit(self) -> Circuit:
        """The model's circuit."""
        return self.model.circuit

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


def _to_ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS_PER_SECOND)


def build_world(
    *,
    topology: Topology,
    nodes: NodeTable,
    links: LinkTable,
    demand: DemandParameters,
    model: Classifier,
    partition: Partition,
    dataset: Dataset,
    samples: LearnerSamples,
    is_byzantine: NDArray[np.bool_],
    correlator_weights: tuple[float, float, float] = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0),
    optional: OptionalNetwork | None = None,
    processor: ProcessorParameters | None = None,
    computations: Computations | None = None,
    seed: int = 0,
) -> World:
    """Join hardware, demands and data into one world; what is optional is drawn by `seed`.

    A learner whose circuit is cut uses its node's link with the highest pair rate; the node at the other end lends the
    second half of the qubits.

    Raises:
        DomainError: A circuit is cut but a node has no link, or the routes cannot give what they are asked for.
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
    optional = OptionalNetwork() if optional is None else optional
    routes = route_options(
        nodes,
        links,
        repeaters=optional.repeaters,
        keys=optional.keys,
        traffic=optional.traffic,
        rng=stream(seed, "traffic"),
    )
    return World(
        topology=topology,
        network=NetworkModel(
            nodes=nodes,
            links=links,
            demand=_demand(demand, links, learner_link, partition.pairs_per_shot, correlator_weights),
            clock=RoundClock(round_ns=learning_ns + _to_ns(demand.exchange_window_s), learning_ns=learning_ns),
            minimum_fidelity=demand.minimum_fidelity,
            drift=drift_schedule(optional.drift, links.n_links, stream(seed, "drift")),
            **routes,
        ),
        model=model,
        partition=partition,
        dataset=dataset,
        samples=samples,
        lender=lender,
        is_byzantine=is_byzantine,
        processor=ProcessorParameters() if processor is None else processor,
        computations=Computations() if computations is None else computations,
    )


def place_byzantine(
    information: NDArray[np.float64], n_byzantine: int, *, placement: Placement, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose which nodes are malicious.

    Args:
        information: What each node's updates are expected to be worth, for the placement `best`, shape `(nodes,)`; see
            `ceas.runtime.expected_information`.
        n_byzantine: Number of malicious nodes, below that of all nodes.
        placement: `random`, or `best`: the nodes that a rule which weighs by information would weigh most; among equals
            those of the lowest numbers.
        rng: Generator of the random placement.

    Returns:
        Whether each node is malicious, shape `(nodes,)`.
    """
    n_nodes = len(information)
    if not 0 <= n_byzantine < n_nodes:
        raise DomainError(f"Argument `n_byzantine` must be in [0, {n_nodes}), but is {n_byzantine}.")
    order = rng.permutation(n_nodes) if placement == "random" else np.argsort(-information, kind="stable")
    chosen = np.zeros(n_nodes, np.bool_)
    chosen[order[:n_byzantine]] = True
    return chosen
