from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ceas import network
from ceas.network.policy import NEVER, LinkView
from ceas.network.records import DemandTable, NetworkModel, RoundClock


@pytest.fixture
def view() -> Callable[..., LinkView]:
    """Make a view of a link with one waiting learner, two for more; times in ns, pairs and requests by their age."""

    def make(
        *,
        ages_ns: tuple[int, ...] = (),
        request_ages_ns: tuple[int, ...] = (),
        ready_ns: tuple[int, int] = (0, NEVER),
        parameters: tuple[float, ...] = (0.0, 0.0, 1.0),
        **changes: Any,
    ) -> LinkView:
        now_ns = int(changes.get("now_ns", 1_000_000))
        base = LinkView(
            link=0,
            now_ns=now_ns,
            round_start_ns=0,
            round_end_ns=10_000_000,
            learning_end_ns=8_000_000,
            qpu_ready_ns=ready_ns,
            qpu_close_ns=(7_900_001, 7_900_001),
            shot_duration_ns=(100_000, 0),
            stock_birth_ns=np.array([now_ns - age for age in ages_ns], dtype=np.int64),
            key_arrival_ns=np.array([now_ns - age for age in request_ages_ns], dtype=np.int64),
            free_slots=3,
            capacity=8,
            initial_werner=0.96,
            decay_per_ns=1e-7,
            lifetime_ns=2_000_000,
            pair_period_ns=50_000.0,
            key_period_ns=500_000.0,
            key_deadline_ns=300_000,
            pairs_per_shot=1,
            learning_value=1.0,
            key_value=1.0,
            test_value=0.1,
            test_share=0.0,
            draw=np.int64(12345),
            parameters=np.array(parameters, dtype=np.float64),
        )
        return base._replace(**changes)

    return make


@pytest.fixture
def small_model() -> Callable[..., NetworkModel]:
    """Make a network of 12 nodes with drawn hardware; every node learns through its fastest link."""

    def make(
        *,
        pairs_per_shot: int = 1,
        shot_s: float = 1e-3,
        keys: float = 100.0,
        key_value: float = 1.0,
        memory_slots: int = 8,
        seed: int = 0,
    ) -> NetworkModel:
        topology = network.random_geometric(12, 60.0, 25.0, np.random.default_rng(seed))
        hardware = network.HardwareParameters(memory_slots=memory_slots, coherence_time_s=0.05)
        nodes, links = network.draw_hardware(topology, hardware, seed=seed)
        rate_hz = network.pair_rate_hz(links)
        touching = [np.flatnonzero((links.node_a == node) | (links.node_b == node)) for node in range(12)]
        demand = DemandTable(
            learner_link=np.array([own[np.argmax(rate_hz[own])] for own in touching], dtype=np.int32),
            pairs_per_shot=pairs_per_shot,
            shot_duration_ns=np.full(12, round(shot_s * 1e9), dtype=np.int64),
            key_pairs_per_round=np.full(links.n_links, keys),
            key_deadline_ns=20_000_000,
            test_share=0.03,
            learning_value=1.0,
            key_value=key_value,
            test_value=0.1,
        )
        clock = RoundClock(round_ns=200_000_000, learning_ns=150_000_000)
        return NetworkModel(nodes=nodes, links=links, demand=demand, clock=clock, minimum_fidelity=0.7)

    return make
