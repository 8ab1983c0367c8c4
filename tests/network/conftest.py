from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ceas.network.hardware import LinkTable, NodeTable
from ceas.network.records import DemandTable, NetworkModel, RoundClock
from ceas.network.routes import Arrivals, DriftSchedule, RouteClass, RouteDemand, RouteTable, ideal_repeaters


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A flow of requests over the nodes of `path`, in few words."""

    path: tuple[int, ...]
    use_class: RouteClass = RouteClass.BACKGROUND
    arrivals: Arrivals = Arrivals.PERIODIC
    per_round: float = 1.0
    backlog: int = 1
    deadline_ns: int = 10**12
    minimum_fidelity: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """A small network in few words; times in ns, one entry a link or learner."""

    edges: tuple[tuple[int, int], ...] = ((0, 1),)
    slots: tuple[int, ...] = (4, 4)
    period_ns: tuple[int, ...] = (10,)
    success: tuple[float, ...] = (0.1,)
    initial_werner: tuple[float, ...] = (0.95,)
    decay_hz: tuple[float, ...] = (2e5,)
    learner_link: tuple[int, ...] = ()
    shot_ns: int = 500
    pairs_per_shot: int = 1
    keys: tuple[float, ...] = (0.0,)
    deadline_ns: int = 2_000
    test_share: float = 0.0
    round_ns: int = 10_000
    learning_ns: int = 7_000
    minimum_fidelity: float = 0.7
    values: tuple[float, float, float] = (1.0, 1.0, 0.1)
    latency_ns: tuple[int, ...] = ()
    node_rate_hz: tuple[float, ...] = ()
    flows: tuple[Flow, ...] = ()
    repeaters: dict[str, Any] = field(default_factory=dict)
    drift: DriftSchedule | None = None

    def model(self) -> NetworkModel:
        ends = np.array(self.edges, dtype=np.int32).reshape(-1, 2)
        n_links, n_nodes, n_learners = len(ends), len(self.slots), len(self.learner_link)
        rate = np.array(self.node_rate_hz) if self.node_rate_hz else np.ones(n_nodes)
        with np.errstate(divide="ignore"):
            coherence_time_s = 1.0 / rate
        nodes = NodeTable(
            coherence_time_s=coherence_time_s,
            memory_slots=np.array(self.slots, dtype=np.int32),
            one_qubit_error=np.zeros(n_nodes),
            two_qubit_error=np.zeros(n_nodes),
            readout_error=np.zeros(n_nodes),
        )
        links = LinkTable(
            node_a=ends[:, 0],
            node_b=ends[:, 1],
            length_km=np.ones(n_links),
            attempt_period_ns=np.array(self.period_ns, dtype=np.int64),
            success_probability=np.array(self.success),
            initial_werner=np.array(self.initial_werner),
            # With rates of the nodes, a link's decay is that of its two memories.
            decay_rate_hz=rate[ends].sum(axis=1) if self.node_rate_hz else np.array(self.decay_hz),
            latency_s=np.array(self.latency_ns or [0] * n_links) * 1e-9,
        )
        return NetworkModel(
            nodes=nodes,
            links=links,
            routes=RouteTable.from_paths([flow.path for flow in self.flows], links) if self.flows else None,
            route_demand=self.route_demand() if self.flows else None,
            repeaters=ideal_repeaters(nodes, links, **self.repeaters) if self.flows or self.repeaters else None,
            drift=self.drift,
            demand=DemandTable(
                learner_link=np.array(self.learner_link, dtype=np.int32),
                pairs_per_shot=self.pairs_per_shot,
                shot_duration_ns=np.full(n_learners, self.shot_ns, dtype=np.int64),
                key_pairs_per_round=np.array(self.keys),
                key_deadline_ns=self.deadline_ns,
                test_share=self.test_share,
                learning_value=self.values[0],
                key_value=self.values[1],
                test_value=self.values[2],
            ),
            clock=RoundClock(round_ns=self.round_ns, learning_ns=self.learning_ns),
            minimum_fidelity=self.minimum_fidelity,
        )

    def route_demand(self) -> RouteDemand:
        flows = self.flows
        return RouteDemand(
            route=np.arange(len(flows)),
            use_class=np.array([int(flow.use_class) for flow in flows]),
            arrivals=np.array([int(flow.arrivals) for flow in flows]),
            requests_per_round=np.array([flow.per_round for flow in flows], dtype=float),
            backlog=np.array([flow.backlog for flow in flows]),
            deadline_ns=np.array([flow.deadline_ns for flow in flows]),
            minimum_fidelity=np.array([flow.minimum_fidelity for flow in flows]),
            weight=np.array([flow.weight for flow in flows]),
        )


def chain(n_hops: int, flow: dict[str, Any] | None = None, **fields: Any) -> NetworkModel:
    """Make a chain of equal links with one flow from end to end; columns of links may be given as one number."""
    columns = {"period_ns": 10, "success": 0.1, "initial_werner": 0.95, "latency_ns": 0, "keys": 0.0} | {
        name: value
        for name, value in fields.items()
        if name in ("period_ns", "success", "initial_werner", "latency_ns")
    }
    spread = {name: value if isinstance(value, tuple) else (value,) * n_hops for name, value in columns.items()}
    others = {name: value for name, value in fields.items() if name not in columns}
    defaults: dict[str, Any] = {
        "edges": tuple((at, at + 1) for at in range(n_hops)),
        "slots": (8,) * (n_hops + 1),
        "decay_hz": (0.0,) * n_hops,
        "node_rate_hz": (0.0,) * (n_hops + 1),
        "minimum_fidelity": 0.2501,
        "flows": (Flow(path=tuple(range(n_hops + 1)), **(flow or {})),),
    }
    return Sketch(**(defaults | spread | others)).model()


@pytest.fixture
def make_chain() -> Callable[..., NetworkModel]:
    """Make a repeater chain from its number of links, its flow and the fields of `Sketch`."""
    return chain


@pytest.fixture
def make_flow() -> type[Flow]:
    """Give the class of flows for `sketch`."""
    return Flow


@pytest.fixture
def sketch() -> Callable[..., NetworkModel]:
    """Make a small network from the fields of `Sketch`."""

    def make(**fields: Any) -> NetworkModel:
        return Sketch(**fields).model()

    return make


@pytest.fixture
def random_sketch() -> Callable[[int], NetworkModel]:
    """Make a random network of 2 to 5 nodes, chosen by a seed, in which memory, deadlines and lifetimes all bind."""

    def make(seed: int) -> NetworkModel:
        rng = np.random.default_rng(seed)
        n_nodes = int(rng.integers(2, 6))
        every = [(a, b) for a in range(n_nodes) for b in range(a + 1, n_nodes)]
        chosen = rng.permutation(len(every))[: int(rng.integers(1, 6))]
        edges = tuple(every[at] for at in sorted(chosen))
        n_links = len(edges)
        pairs_per_shot = int(rng.integers(0, 4))
        sides = np.repeat(np.arange(n_links), 2)
        learners = (*(int(link) for link in rng.permutation(sides)[: n_links + 1]), -1)
        return Sketch(
            edges=edges,
            slots=tuple(int(slots) for slots in rng.integers(max(1, pairs_per_shot), 7, n_nodes)),
            period_ns=tuple(int(period) for period in rng.integers(1, 40, n_links)),
            success=tuple(float(p) for p in rng.choice([0.02, 0.1, 0.5, 1.0], n_links)),
            initial_werner=tuple(float(w) for w in rng.choice([0.55, 0.9, 0.97, 1.0], n_links, p=[0.1, 0.3, 0.4, 0.2])),
            decay_hz=tuple(float(rate) for rate in rng.choice([0.0, 1e5, 2e6], n_links)),
            learner_link=learners if pairs_per_shot else (-1,),
            shot_ns=int(rng.choice([37, 400, 2_500])),
            pairs_per_shot=pairs_per_shot,
            keys=tuple(float(rate) for rate in rng.choice([0.0, 0.7, 13.0, 80.0], n_links)),
            deadline_ns=int(rng.choice([60, 1_500, 9_000])),
            test_share=float(rng.choice([0.0, 0.2])),
            round_ns=int(rng.choice([3_000, 8_000])),
            learning_ns=2_600,
            minimum_fidelity=float(rng.choice([0.68, 0.85])),
        ).model()

    return make
