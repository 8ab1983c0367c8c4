"""The closed form of the contraction at quarter turns against the dense oracle."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.learning.circuits import ROTATIONS, Circuit, Gate, Term
from ceas.learning.contraction import correlators_met, ideal_is_certain
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit

ONE = ("rx", "ry", "rz", "x", "y", "z", "h", "s", "sdg", "sx", "sxdg")
TWO = ("cnot", "cz", "rzz", "rxx", "ryy", "swap")


def random_circuit(n_qubits: int, n_gates: int, rng: np.random.Generator) -> Circuit:
    gates, n_parameters = [], 0
    for kind in rng.choice(ONE + 2 * TWO, n_gates).tolist():
        angle = (Term(parameter=n_parameters),) if kind in ROTATIONS else ()
        n_parameters += len(angle)
        qubits = tuple(rng.permutation(n_qubits)[: 2 if kind in TWO else 1].tolist())
        gates.append(Gate(kind=kind, qubits=qubits, angle=angle, layer=0))
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=0)


def both_errors_matter() -> Circuit:
    """Return a circuit that reads Y of both qubits of its first CNOT; qubits 0 and 2 are at home."""
    listed = [("rx", (0,)), ("rx", (1,)), ("cnot", (0, 1)), ("h", (0,)), ("cnot", (0, 2)), ("cnot", (1, 2))]
    gates = []
    for number, (kind, qubits) in enumerate(listed):
        angle = (Term(parameter=number),) if kind == "rx" else ()
        gates.append(Gate(kind=kind, qubits=qubits, angle=angle, layer=0))  # type: ignore[arg-type]
    return Circuit(n_qubits=3, gates=tuple(gates), n_parameters=2, n_features=0)


def test_pairs_multiply_clifford_signals_by_one_correlator_each(
    oracle_density: Callable[..., Any], oracle_expectation: Callable[..., float]
) -> None:
    """Every way in which a pair can matter occurs among the circuits; homes are fixed to have many copies."""
    rng = np.random.default_rng(3)
    seen: Counter[tuple[str, str | None]] = Counter()
    cases = [(both_errors_matter(), [1, 1])]
    for _ in range(50):
        circuit = random_circuit(3, 14, rng)
        cases.append((circuit, rng.integers(0, 4, len(circuit.rotations)).tolist()))
    for circuit, turns in cases:
        partition = partition_circuit(circuit, "qubit", owner=(0, 1, 0))
        correlators = rng.uniform(0.5, 1.0, (partition.pairs_per_shot, 3))
        noise = noiseless(partition)
        faulty = noise._replace(pair_werner=np.asarray(correlators[None]))  # type: ignore[arg-type]
        theta = np.asarray(turns) * np.pi / 2
        ideal_rho, rho = (oracle_density(circuit, partition, theta, np.zeros(0), n, learner=0) for n in (noise, faulty))
        for qubit in range(3):
            ideal = oracle_expectation(ideal_rho, qubit, 0.0)
            assert abs(ideal) == pytest.approx(float(ideal_is_certain(circuit, turns, qubit)), abs=1e-9)
            met = correlators_met(circuit, partition, turns, qubit)
            factors = [row["xyz".index(name)] for row, name in zip(correlators, met, strict=True) if name is not None]
            assert oracle_expectation(rho, qubit, 0.0) == pytest.approx(ideal * np.prod(factors), abs=1e-9)
            if abs(ideal) > 0.5:
                seen.update((type(use).__name__, name) for use, name in zip(partition.uses, met, strict=True))
    assert {(kind, name) for kind in ("Telegate", "Teledata") for name in ("x", "y", "z", None)} <= set(seen)


def test_arguments_are_checked() -> None:
    circuit = random_circuit(2, 6, np.random.default_rng(1))
    partition = partition_circuit(circuit)
    with pytest.raises(DomainError, match="quarter_turns"):
        correlators_met(circuit, partition, [0] * 9, 0)
    with pytest.raises(DomainError, match="qubit"):
        correlators_met(circuit, partition, [0] * len(circuit.rotations), 2)
