"""What updates are expected to be worth, in limits and by hand, and the placement of attackers that follows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_world
from ceas.learning import partition_circuit
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.network import pair_rate_hz
from ceas.runtime.expected_information import error_sites, expected_information
from ceas.runtime.world import World, place_byzantine

SEED = 2


def with_hardware(world: World, *, links: Any = None, **nodes: Any) -> World:
    network = replace(
        world.network, nodes=replace(world.network.nodes, **nodes), links=replace(world.network.links, **(links or {}))
    )
    return replace(world, network=network)


@pytest.fixture(scope="module")
def quiet(small_scenario: Scenario) -> World:
    """A world without errors, whose pairs are perfect."""
    world = assemble_world(small_scenario, SEED)
    zeros = np.zeros(world.n_learners)
    errors = {f"{name}_error": zeros for name in ("one_qubit", "two_qubit", "readout")}
    return with_hardware(world, links={"initial_werner": np.ones(world.network.links.n_links)}, **errors)


def contraction(world: World, quiet: World) -> np.ndarray:
    ratio = expected_information(world, max_shots_per_round=9) / expected_information(quiet, max_shots_per_round=9)
    return np.sqrt(ratio)


def test_shots_are_a_learners_share_of_the_pairs_of_its_link(quiet: World) -> None:
    demand, clock = quiet.network.demand, quiet.network.clock
    found = expected_information(quiet, max_shots_per_round=9)
    rate = pair_rate_hz(quiet.network.links)
    for learner, link in enumerate(demand.learner_link):
        users = np.count_nonzero(demand.learner_link == link)
        pairs = rate[link] * 1e-9 * clock.learning_ns * (1 - demand.test_share) / users
        most = clock.learning_ns / demand.shot_duration_ns[learner]
        assert found[learner] == pytest.approx(min(pairs / quiet.pairs_per_shot, most), rel=1e-12)


def test_an_uncut_circuit_is_limited_by_time_and_by_its_cap(small_scenario: Scenario) -> None:
    world = assemble_world(small_scenario.with_overrides(["circuit.partition=data"]), SEED)
    zeros = np.zeros(world.n_learners)
    quiet = with_hardware(world, one_qubit_error=zeros, two_qubit_error=zeros, readout_error=zeros)
    in_time = world.network.clock.learning_ns / world.network.demand.shot_duration_ns[0]
    np.testing.assert_allclose(expected_information(quiet, max_shots_per_round=7), min(7, in_time))
    np.testing.assert_allclose(expected_information(quiet, max_shots_per_round=10**9), in_time)


def test_each_kind_of_noise_contracts_as_it_should(quiet: World) -> None:
    errors = np.linspace(0.01, 0.05, quiet.n_learners)
    werner = np.linspace(0.8, 0.95, quiet.network.links.n_links)
    noisy_pairs = with_hardware(quiet, links={"initial_werner": werner})
    wanted = werner[quiet.network.demand.learner_link] ** quiet.pairs_per_shot
    np.testing.assert_allclose(contraction(noisy_pairs, quiet), wanted)
    noisy_readout = with_hardware(quiet, readout_error=errors)
    readers = [quiet.partition.readout_qpus[observable] for observable in quiet.model.observables]
    at = np.stack([np.arange(quiet.n_learners), quiet.lender])
    np.testing.assert_allclose(contraction(noisy_readout, quiet), np.mean(1 - 2 * errors[at[readers]], axis=0))
    for kind in ("one_qubit_error", "two_qubit_error"):
        found = contraction(with_hardware(quiet, **{kind: errors}), quiet)
        assert ((found > 0) & (found < 1 - errors)).all()
        # The lender's errors count as well as one's own.
        assert (contraction(with_hardware(quiet, **{kind: 2 * errors}), quiet) < found).all()


def test_sites_are_those_that_the_measured_qubit_depends_on() -> None:
    """RX(0) RX(1) CNOT(0,1) RX(0) on three qubits, the last of them alone; qubit 1 is at the second processor."""
    gates = (
        Gate(kind="rx", qubits=(0,), angle=(Term(parameter=0),), layer=0),
        Gate(kind="rx", qubits=(1,), angle=(Term(parameter=1),), layer=0),
        Gate(kind="rx", qubits=(2,), angle=(Term(parameter=2),), layer=0),
        Gate(kind="cnot", qubits=(0, 1), layer=0),
        Gate(kind="rx", qubits=(0,), angle=(Term(parameter=3),), layer=0),
    )
    circuit = Circuit(n_qubits=3, n_parameters=4, n_features=0, gates=gates)
    partition = partition_circuit(circuit, "qubit", owner=(0, 1, 0))
    counts = {q: tuple(found.tolist() for found in error_sites(circuit, partition, q)) for q in range(3)}
    # Qubit 1: both first rotations and the CNOT at the measured qubit; the error on its control comes after it.
    assert counts[1] == ([1, 1], [0, 1])
    assert counts[0] == ([2, 1], [1, 0])
    assert counts[2] == ([1, 0], [0, 0])


def test_the_best_are_those_of_most_information_and_ties_go_to_low_numbers() -> None:
    information, rng = np.array([1.0, 5.0, 3.0, 5.0, 0.0]), np.random.default_rng(0)
    for n_byzantine, wanted in ((0, []), (1, [1]), (2, [1, 3]), (3, [1, 2, 3])):
        found = place_byzantine(information, n_byzantine, placement="best", rng=rng)
        assert np.flatnonzero(found).tolist() == wanted
    assert place_byzantine(information, 2, placement="random", rng=rng).sum() == 2
    with pytest.raises(DomainError, match="n_byzantine"):
        place_byzantine(information, 5, placement="best", rng=rng)


def test_a_scenario_gives_the_best_nodes_to_the_attackers(small_scenario: Scenario) -> None:
    scenario = small_scenario.with_overrides(["byzantine.placement=best"])
    world, again = assemble_world(scenario, SEED), assemble_world(scenario, SEED)
    np.testing.assert_array_equal(world.is_byzantine, again.is_byzantine)
    cap = scenario.learning.max_shots_per_round
    assert np.flatnonzero(world.is_byzantine).tolist() == [
        int(np.argmax(expected_information(world, max_shots_per_round=cap)))
    ]
    # Noise at a node alone takes it off the list.
    noisy = np.where(world.is_byzantine, 0.4, world.network.nodes.readout_error)
    worse = expected_information(with_hardware(world, readout_error=noisy), max_shots_per_round=cap)
    assert np.argmax(worse) != np.flatnonzero(world.is_byzantine)[0]
