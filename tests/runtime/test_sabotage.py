"""What attackers do to their own circuits, labels and shots, against dense matrices and exact identities."""

import math
from functools import reduce
from types import SimpleNamespace
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from ceas.attacks import CircuitFault, Conduct
from ceas.errors import DomainError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_world
from ceas.learning import (
    Circuit,
    Gate,
    Shots,
    encode_inputs,
    expectations,
    hardware_efficient,
    node_noise,
    partition_circuit,
    rotation_angles,
    sample_outcomes,
)
from ceas.runtime.sabotage import MOST_DIFFUSION_QUBITS, Sabotage, _diffusion, _drawn_fault, faulty_circuit
from ceas.runtime.world import World

ComplexArray = NDArray[np.complex128]

N = 3
CIRCUIT = hardware_efficient(N, 2)
PARTITION = partition_circuit(CIRCUIT, "qubit")
THETA = np.random.default_rng(1).normal(size=CIRCUIT.n_parameters).astype(np.float32)
INPUTS = np.random.default_rng(2).uniform(-1, 1, (2, N)).astype(np.float32)
PAULIS = {"x": np.array([[0, 1], [1, 0]]), "y": np.array([[0, -1j], [1j, 0]]), "z": np.diag([1, -1])}


def world_of(circuit: Circuit, n_learners: int = 3, liar: int = 1) -> World:
    is_byzantine = np.arange(n_learners) == liar
    return cast(World, SimpleNamespace(circuit=circuit, is_byzantine=is_byzantine, dataset=None, samples=None))


def dense(gate: Gate, angle: float) -> ComplexArray:
    """The gate as a matrix on all qubits, qubit 0 major."""

    def on(matrices: dict[int, Any]) -> ComplexArray:
        return reduce(np.kron, [matrices.get(qubit, np.eye(2)) for qubit in range(N)]).astype(complex)

    if gate.kind == "cnot":
        control, target = gate.qubits
        zero, one = np.diag([1, 0]), np.diag([0, 1])
        return on({control: zero}) + on({control: one, target: PAULIS["x"]})
    if gate.is_rotation:
        pauli = on({gate.qubits[0]: PAULIS[gate.kind[1]]})
        return np.cos(angle / 2) * np.eye(2**N) - 1j * np.sin(angle / 2) * pauli
    return on({gate.qubits[0]: PAULIS[gate.kind]})


def run_dense(gates: tuple[Gate, ...], angles: Any, start: ComplexArray) -> ComplexArray:
    remaining = iter(angles)
    for gate in gates:
        start = dense(gate, float(next(remaining)) if gate.is_rotation else 0.0) @ start
    return start


def prepared(inputs: Any) -> ComplexArray:
    angles = np.asarray(rotation_angles(CIRCUIT, jnp.asarray(THETA), jnp.asarray(inputs)))
    return run_dense(CIRCUIT.gates, angles, np.eye(2**N)[0].astype(complex))


def reflection() -> ComplexArray:
    return (2 * np.full((2**N, 2**N), 2.0**-N) - np.eye(2**N)).astype(complex)


def noisy(partition: Any, factor: float = 1.0) -> Any:
    errors = factor * np.array([0.01, 0.02, 0.03])
    return node_noise(
        partition,
        one_qubit_error=errors,
        two_qubit_error=errors * 2,
        readout_error=errors,
        lender=np.array([1, 2, 0]),
        pair_werner=np.full((3, partition.pairs_per_shot), 0.9),
    )


def values(circuit: Circuit, partition: Any, inputs: Any) -> Any:
    encoded = encode_inputs(circuit, jnp.asarray(inputs))
    found = expectations(circuit, partition, jnp.asarray(THETA), encoded, noisy(partition), observables=tuple(range(N)))
    return np.asarray(found)


def fault_of(operation: Any, place: Any) -> tuple[tuple[Gate, ...], int]:
    found = _drawn_fault(world_of(CIRCUIT), CircuitFault(operation, place), 5)
    assert found is not None
    return found


def shots_of(n_shots: int, n_learners: int = 3) -> Shots:
    learner = np.arange(n_shots, dtype=np.int32) % n_learners
    return Shots(
        learner=learner,
        counter=(np.arange(n_shots) // n_learners).astype(np.uint32),
        sample=np.zeros(n_shots, np.int32),
        shift_rotation=np.full(n_shots, -1, np.int32),
        shift_sign=np.ones(n_shots, np.int32),
        pair_werner=np.full((n_shots, PARTITION.pairs_per_shot), 0.9, np.float32),
    )


def outcomes(fault: CircuitFault | None, noise: Any, n_shots: int, werner: float = 0.9) -> Any:
    run = Sabotage(world_of(CIRCUIT), Conduct(circuit_fault=fault), seed=5).processors(sample_outcomes)
    angles = np.asarray(rotation_angles(CIRCUIT, jnp.asarray(THETA), jnp.asarray(INPUTS)))
    shots = shots_of(n_shots)
    shots = shots._replace(pair_werner=np.full_like(shots.pair_werner, werner))
    return run(CIRCUIT, PARTITION, angles, noise, shots=shots, seed=11)


@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_the_diffusion_is_the_reflection_about_the_uniform_state(n_qubits: int) -> None:
    gates = _diffusion(n_qubits)
    angles = [gate.angle[0].coefficient for gate in gates if gate.is_rotation]
    assert len(angles) == 2**n_qubits - 1
    # The qubits beyond these do nothing.
    wanted = np.kron(2 * np.full((2**n_qubits,) * 2, 2.0**-n_qubits) - np.eye(2**n_qubits), np.eye(2 ** (N - n_qubits)))
    found = run_dense(gates, angles, np.eye(2**N).astype(complex))
    position = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
    phase = found[position] / wanted[position]
    assert abs(phase) == pytest.approx(1)
    np.testing.assert_allclose(found, phase * wanted, atol=1e-12)


def test_the_diffusion_is_refused_on_many_qubits() -> None:
    with pytest.raises(DomainError, match="at most 8 qubits"):
        _diffusion(MOST_DIFFUSION_QUBITS + 1)


def test_faults_at_the_input_change_what_was_encoded() -> None:
    """Z RY(x)|0> is RY(-x)|0>, X RY(x)|0> is RY(pi - x)|0> up to a sign; so also with noise, pairs and partition."""
    for operation, equivalent in (("sign_flip", -INPUTS), ("bit_flip", np.float32(math.pi) - INPUTS)):
        gates, before = fault_of(operation, "input")
        faulty, partition = faulty_circuit(CIRCUIT, PARTITION, gates, before=before)
        assert partition.pairs_per_shot == PARTITION.pairs_per_shot > 0
        np.testing.assert_allclose(values(faulty, partition, INPUTS), values(CIRCUIT, PARTITION, equivalent), atol=2e-6)


def test_faults_at_the_output_flip_the_outcomes_of_their_shots_alone() -> None:
    """Bit flips turn every outcome over, with all errors being the same; sign flips are never seen."""
    noise, liar = noisy(PARTITION), shots_of(300).learner == 1
    honest = outcomes(None, noise, 300)
    flipped = outcomes(CircuitFault("bit_flip", "output"), noise, 300)
    np.testing.assert_array_equal(flipped[~liar], honest[~liar])
    np.testing.assert_array_equal(flipped[liar], honest[liar] ^ (2**N - 1))
    np.testing.assert_array_equal(outcomes(CircuitFault("sign_flip", "output"), noise, 300), honest)


def test_outcomes_after_the_diffusion_follow_its_law() -> None:
    """Chi-squared with a false alarm of 1e-7; the honest law fails the same test."""
    silent = noisy(PARTITION, 0.0)
    drawn = outcomes(CircuitFault("grover_diffusion", "output"), silent, 30_000, werner=1.0)[1::3]
    # Bit q of an outcome is qubit q; the dense state has qubit 0 major.
    counts = np.bincount(drawn, minlength=2**N).reshape((2,) * N).transpose(range(N)[::-1]).reshape(-1)
    state = prepared(INPUTS[0])
    statistic = [
        ((counts - drawn.size * law) ** 2 / (drawn.size * law)).sum()
        for law in (np.abs(reflection() @ state) ** 2, np.abs(state) ** 2)
    ]
    assert statistic[0] < chi2.isf(1e-7, 2**N - 1) < statistic[1]


def test_pauli_faults_are_drawn_once_and_named_by_the_seed() -> None:
    first, before = fault_of("pauli", "input")
    assert (first, before) == fault_of("pauli", "input")
    assert {gate.kind for gate in first} <= {"x", "y", "z"}
    assert before == N
    assert fault_of("pauli", "output")[1] == len(CIRCUIT.gates)
    with pytest.raises(DomainError, match="rotations"):
        faulty_circuit(CIRCUIT, PARTITION, _diffusion(N), before=before)


def test_without_attackers_or_faults_nothing_is_wrapped() -> None:
    nobody = world_of(CIRCUIT, liar=-1)
    fault = Conduct(circuit_fault=CircuitFault("bit_flip", "output"))
    assert Sabotage(nobody, fault, seed=0).processors(sample_outcomes) is sample_outcomes
    assert Sabotage(world_of(CIRCUIT), Conduct(), seed=0).processors(sample_outcomes) is sample_outcomes


def test_labels_are_flipped_for_attackers_alone(small_scenario: Scenario) -> None:
    world = assemble_world(small_scenario, 3)
    poisoned = Sabotage(world, Conduct(flips_labels=True), seed=3)
    labels, angles = world.dataset.train_labels[world.samples.index], world.dataset.train_angles[world.samples.index]
    liar = world.is_byzantine
    found = poisoned.dataset.train_labels[poisoned.samples.index]
    np.testing.assert_array_equal(found[~liar], labels[~liar])
    np.testing.assert_array_equal(found[liar], world.dataset.n_classes - 1 - labels[liar])
    np.testing.assert_array_equal(poisoned.dataset.train_angles[poisoned.samples.index], angles)
    np.testing.assert_array_equal(poisoned.samples.count, world.samples.count)


def test_wasted_pairs_run_no_shots() -> None:
    shots = shots_of(30)
    griefing = Sabotage(world_of(CIRCUIT), Conduct(wastes_pairs=True), seed=0)
    learner, pairs = griefing.kept(shots.learner, shots.pair_werner)
    assert set(learner.tolist()) == {0, 2}
    assert len(learner) == len(pairs) == 20
    honest = Sabotage(world_of(CIRCUIT), Conduct(), seed=0)
    assert honest.kept(shots.learner, shots.pair_werner)[0] is shots.learner
