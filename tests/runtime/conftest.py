"""A co-simulation that is small enough to run many times."""

import pytest

from ceas.experiments import Scenario, load_scenario

SMALL = (
    "topology.kind=ring",
    "topology.n_nodes=5",
    "topology.spacing_km=5",
    "hardware.multiplexing=16",
    "clock.rounds=4",
    "clock.learning_window_s=0.3",
    "clock.exchange_window_s=0.05",
    "schedule.policy=oldest_first",
    "schedule.key_pairs_per_round=30",
    "circuit.n_layers=2",
    "learning.minibatch=4",
    "authentication.enrolled_key_bits=256",
    "authentication.reseed_rounds=2",
    "output.trace_every=1",
    "output.evaluate_rounds=1",
    "output.checkpoint_rounds=2",
)


@pytest.fixture(scope="session")
def small_scenario() -> Scenario:
    """Five nodes on a ring, four training rounds, one attacker that lies about its pairs."""
    return load_scenario(
        "quickstart", [*SMALL, "byzantine.n_byzantine=1", "byzantine.attack=inflated_claim", "name=small"]
    )
