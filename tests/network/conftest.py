from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ceas.network.hardware import LinkTable, NodeTable
from ceas.network.records import DemandTable, NetworkModel, RoundClock


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

    def model(self) -> NetworkModel:
        ends = np.array(self.edges, dtype=np.int32).reshape(-1, 2)
        n_links, n_nodes, n_learners = len(ends), len(self.slots), len(self.learner_link)
        return NetworkModel(
            nodes=NodeTable(
                coherence_time_s=np.ones(n_nodes),
                memory_slots=np.array(self.slots, dtype=np.int32),
                one_qubit_error=np.zeros(n_nodes),
                two_qubit_error=np.zeros(n_nodes),
                readout_error=np.zeros(n_nodes),
            ),
            links=LinkTable(
                node_a=ends[:, 0],
                node_b=ends[:, 1],
                length_km=np.ones(n_links),
                attempt_period_ns=np.array(self.period_ns, dtype=np.int64),
                success_probability=np.array(self.success),
                initial_werner=np.array(self.initial_werner),
                decay_rate_hz=np.array(self.decay_hz),
                latency_s=np.zeros(n_links),
            ),
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
