"""PennyLane devices as processors, against the simulated shots and the dense oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.classifier import Classifier
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.devices import _pair_errors, mixed_processors, pennylane_device, run_on_device
from ceas.learning.gradients import GradientSettings, estimate_gradients
from ceas.learning.noise import noiseless
from ceas.learning.partition import Partition, Teledata, Telegate, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes

FALSE_ALARM = 1e-6
N_SHOTS = 20_000


def rotation(kind: Any, *qubits: int, angle: float) -> Gate:
    return Gate(kind=kind, qubits=qubits, angle=(Term(angle),), layer=0)


def circuit_and_partition() -> tuple[Circuit, Partition]:
    """Every kind of gate; copies of qubit 0 for a CNOT, a CZ and an RZZ, and of qubit 2 in basis X; one qubit moves."""
    gates = (
        rotation("ry", 0, angle=0.7),
        rotation("rx", 1, angle=-0.4),
        Gate(kind="h", qubits=(2,), layer=0),
        Gate(kind="cnot", qubits=(0, 1), layer=0),
        rotation("ry", 1, angle=0.5),
        Gate(kind="cz", qubits=(1, 0), layer=0),
        Gate(kind="sdg", qubits=(1,), layer=0),
        Gate(kind="sxdg", qubits=(1,), layer=0),
        rotation("rzz", 0, 1, angle=0.9),
        Gate(kind="swap", qubits=(0, 2), layer=0),
        rotation("rxx", 1, 2, angle=-0.8),
        Gate(kind="cnot", qubits=(1, 2), layer=0),
        rotation("ryy", 0, 2, angle=0.3),
        Gate(kind="sx", qubits=(0,), layer=0),
        rotation("rz", 0, angle=0.6),
        Gate(kind="sx", qubits=(0,), layer=0),
    )
    partition = Partition(
        kind="qubit",
        n_qpus=2,
        gate_qpus=tuple((0,) * len(gate.qubits) for gate in gates),
        readout_qpus=(0, 0, 0),
        uses=(
            Telegate(root=0, basis="Z", gates=(3, 5, 8), link=(0, 1)),
            Telegate(root=2, basis="X", gates=(10, 11), link=(0, 1)),
            Teledata(qubit=0, before=13, link=(0, 1)),
        ),
    )
    return Circuit(n_qubits=3, gates=gates, n_parameters=0, n_features=0), partition


def shots_of(n_shots: int, correlators: npt.NDArray[np.float64]) -> Shots:
    count = np.arange(n_shots)
    return Shots(
        learner=np.zeros(n_shots, dtype=np.int32),
        counter=count.astype(np.uint32),
        sample=np.zeros(n_shots, dtype=np.int32),
        shift_rotation=np.full(n_shots, -1, dtype=np.int32),
        shift_sign=np.ones(n_shots, dtype=np.int32),
        pair_werner=np.broadcast_to(correlators, (n_shots, 3, 3)).astype(np.float32),
    )


def test_a_device_follows_the_law_of_the_circuit_and_its_pairs(oracle_density: Callable[..., Any]) -> None:
    """20,000 shots through uneven pairs: chi-square over the 8 bitstrings, false alarm 1e-6."""
    circuit, partition = circuit_and_partition()
    correlators = np.array([[0.5, 0.3, 0.6], [0.4, 0.2, 0.7], [0.7, 0.5, 0.4]])
    noise = noiseless(partition)._replace(pair_werner=correlators[None])  # type: ignore[arg-type]
    rho = oracle_density(circuit, partition, [], [], noise, learner=0)
    expected = np.real(np.diag(rho)).reshape(2, 2, 2).transpose().reshape(-1)
    angles = np.array([[circuit.gates[index].angle[0].coefficient for index in circuit.rotations]])
    device = pennylane_device("default.qubit", 3, {"seed": 3})
    found = run_on_device(device, circuit, partition, angles, shots=shots_of(N_SHOTS, correlators), seed=1)
    counts = np.bincount(found, minlength=8)
    assert scipy.stats.chisquare(counts, N_SHOTS * expected).pvalue > FALSE_ALARM
    ideal = oracle_density(circuit, partition, [], [], noiseless(partition), learner=0)
    without = np.real(np.diag(ideal)).reshape(2, 2, 2).transpose().reshape(-1)
    assert scipy.stats.chisquare(counts, N_SHOTS * without).pvalue < FALSE_ALARM


def test_shifts_and_initial_states_reach_the_device() -> None:
    """RY by 0 and shifted by +-pi/2 twice over: outcomes are certain."""
    circuit = Circuit(n_qubits=1, gates=(rotation("ry", 0, angle=0.0),), n_parameters=0, n_features=0)
    partition = Partition(kind="data", n_qpus=1, gate_qpus=((0,),), readout_qpus=(0,), uses=())
    device = pennylane_device("default.qubit", 1, {"seed": 0})
    shots = shots_of(4, np.ones((3, 3)))._replace(
        sample=np.array([0, 1, 0, 1], dtype=np.int32),
        shift_rotation=np.array([0, 0, -1, -1], dtype=np.int32),
        shift_sign=np.array([1, -1, 1, 1], dtype=np.int32),
        pair_werner=np.zeros((4, 0), dtype=np.float32),
    )
    half_turns = np.array([[np.pi / 2], [-np.pi / 2]])
    found = run_on_device(device, circuit, partition, half_turns, shots=shots, seed=0)
    np.testing.assert_array_equal(found[:2], [1, 1])
    ones = np.array([[0.0, 1.0], [0.0, 1.0]])
    found = run_on_device(device, circuit, partition, np.zeros((2, 1)), shots=shots, seed=0, states=ones)
    np.testing.assert_array_equal(found[2:], [1, 1])


def test_learners_without_a_device_are_simulated_as_ever() -> None:
    circuit, partition = circuit_and_partition()
    shots = shots_of(60, np.full((3, 3), 0.8))._replace(learner=np.repeat([0, 1, 2], 20).astype(np.int32))
    angles, noise = np.full((1, len(circuit.rotations)), 0.4), noiseless(partition, 3)
    plain = sample_outcomes(circuit, partition, angles, noise, shots=shots, seed=4)
    device = pennylane_device("default.qubit", 3, {"seed": 9})
    mixed = mixed_processors({1: device})(circuit, partition, angles, noise, shots=shots, seed=4)
    np.testing.assert_array_equal(mixed[:20], plain[:20])
    np.testing.assert_array_equal(mixed[40:], plain[40:])
    assert mixed[20:40].max() < 8
    assert np.any(mixed[20:40] != plain[20:40])


def test_errors_of_pairs_belong_to_their_shots() -> None:
    """Alone and among others, in any order, a shot has the same errors; those of two learners differ."""
    _, partition = circuit_and_partition()
    shots = shots_of(50, np.full((3, 3), 0.2))
    whole = _pair_errors(partition, shots, 7)
    chosen = np.array([31, 4, 49])
    np.testing.assert_array_equal(_pair_errors(partition, shots_of_rows(shots, chosen), 7), whole[chosen])
    other = shots._replace(learner=np.ones(50, dtype=np.int32))
    assert np.mean(_pair_errors(partition, other, 7) != whole) > 0.2


def shots_of_rows(shots: Shots, rows: npt.NDArray[np.int64]) -> Shots:
    return Shots._make(np.asarray(field)[rows] for field in shots)


def test_no_shots_need_no_device_and_too_few_wires_are_refused() -> None:
    circuit, partition = circuit_and_partition()
    angles, correlators = np.full((1, len(circuit.rotations)), 0.4), np.ones((3, 3))
    device = pennylane_device("default.qubit", 2)
    assert run_on_device(device, circuit, partition, angles, shots=shots_of(0, correlators), seed=1).shape == (0,)
    with pytest.raises(DomainError, match="`device` must run the circuit"):
        run_on_device(device, circuit, partition, angles, shots=shots_of(1, correlators), seed=1)


def test_learners_on_a_device_estimate_the_gradient_that_simulated_ones_do() -> None:
    """Two trained layers cut over two processors, noisy pairs; learners 0 and 1 on the device, 2 and 3 simulated.

    24,000 shots each: an entry's difference of two means has a standard error of 0.014, and 0.09 is six of them. With
    perfect pairs two entries are off by 0.13.
    """
    circuit = hardware_efficient(2, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    rng = np.random.default_rng(2)
    theta, angles, labels = rng.normal(size=8), rng.uniform(-1, 1, (2, 2)), np.array([0, 1])
    names = [f"{part}_{what}" for part in ("train", "validation", "test") for what in ("angles", "labels")]
    dataset = Dataset(name="two", n_classes=2, **dict(zip(names, [angles, labels] * 3, strict=True)))
    found = estimate_gradients(
        Classifier(circuit=circuit, n_classes=2, temperature=1.0),
        partition,
        theta,
        noiseless(partition, 4),
        dataset=dataset,
        samples=LearnerSamples(index=np.tile([0, 1], (4, 1)), count=np.full(4, 2)),
        shot_learner=np.repeat(np.arange(4), 24_000),
        shot_werner=np.full((96_000, partition.pairs_per_shot), 0.3),
        settings=GradientSettings(minibatch=2, readout_share=0.3),
        seed=3,
        run_shots=mixed_processors(dict.fromkeys((0, 1), pennylane_device("default.qubit", 2, seed=5))),
    )
    on_device, simulated = found.gradient[:2], found.gradient[2:]
    assert np.all(found.shots == 24_000)
    assert np.all(on_device.any(axis=1))
    np.testing.assert_allclose(on_device.mean(axis=0), simulated.mean(axis=0), atol=0.09)


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(DomainError, match="cannot be opened"):
        pennylane_device("absent.qubit", 2)
    with pytest.raises(DomainError, match="cannot be opened"):
        pennylane_device("default.qubit", 2, {"colour": "red"})
