"""Clifford tableau and Pauli frame against dense matrices, without any sampling."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.learning.circuits import CLIFFORDS, Circuit, Gate
from ceas.learning.noise import noiseless
from ceas.learning.partition import Partition
from ceas.learning.tableau import FrameProgram, PauliString, Tableau, compile_frame

Matrix = npt.NDArray[np.complex128]
Density = Callable[..., Matrix]
Draw = Callable[..., tuple[Circuit, Partition]]


def dense(string: PauliString, n_qubits: int) -> Matrix:
    """Return i^phase X^x Z^z; bit q of an index is qubit q."""
    index = np.arange(1 << n_qubits)
    matrix = np.zeros((index.size, index.size), dtype=complex)
    matrix[index ^ string.x, index] = 1j**string.phase * (-1.0) ** np.bitwise_count(index & string.z)
    return matrix


def law_of(program: FrameProgram, angles: npt.NDArray[np.float64], bits: npt.NDArray[np.bool_]) -> Any:
    """Return the law of bitstrings when these error bits are set."""
    n = program.n_qubits
    start = [angles[r] / 2 if r >= 0 else 0.0 for r in program.start]
    state = np.ones(1, dtype=complex)
    for half in start:
        state = np.concatenate([np.cos(half) * state, np.sin(half) * state])
    for step in program.steps:
        angle = np.pi / 2 if step.rotation == -1 else angles[step.rotation]
        half = angle / 2 * (-1) ** (step.flip & bits).sum()
        state = np.cos(half) * state - 1j * np.sin(half) * (dense(step.pauli, n) @ state)
    law = np.zeros(1 << n)
    for index, weight in enumerate(np.abs(state) ** 2):
        outcome = 0
        for qubit, string in enumerate(program.outcome):
            flips = (program.outcome_flip[qubit] & bits).sum() + string.phase // 2
            outcome |= (((index & string.z).bit_count() + int(flips)) & 1) << qubit
        law[outcome] += weight
    return law


def diagonal(rho: Matrix) -> npt.NDArray[np.float64]:
    """Return the law of bitstrings of a density matrix of which qubit 0 is the most significant."""
    n_qubits = int(np.log2(len(rho)))
    law = np.real(np.diag(rho)).reshape((2,) * n_qubits)
    return law.transpose(tuple(reversed(range(n_qubits)))).reshape(-1)


@pytest.mark.parametrize("kind", CLIFFORDS)
def test_a_clifford_gate_conjugates_paulis_as_its_matrix_does(kind: str, oracle_unitary: Callable[..., Matrix]) -> None:
    gate = Gate(kind=kind, qubits=(2, 0)[: CLIFFORDS[kind]], layer=0)  # type: ignore[arg-type]
    order = np.arange(8).reshape(2, 2, 2).transpose(2, 1, 0).reshape(-1)
    unitary = oracle_unitary(3, gate, np.zeros(0), np.zeros(0))[np.ix_(order, order)]
    before, after = Tableau(3), Tableau(3)
    after.apply(gate)
    for letter in "XYZ":
        for qubit in range(3):
            image = dense(after.image(letter, (qubit,)), 3)
            pauli = dense(before.image(letter, (qubit,)), 3)
            np.testing.assert_allclose(image, unitary.conj().T @ pauli @ unitary, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.tuples(st.integers(1, 4), st.integers(1, 20)))
def test_any_circuit_has_the_law_of_its_density_matrix(
    seed: int, sizes: tuple[int, int], cut_circuit: Draw, oracle_density: Density, oracle_angle: Any
) -> None:
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, *sizes)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=2)
    angles = np.array([oracle_angle(circuit.gates[index], theta, inputs) for index in circuit.rotations])
    program = compile_frame(circuit, partition)
    law = law_of(program, angles, np.zeros(2 * program.event_source.size, dtype=bool))
    rho = oracle_density(circuit, partition, theta, inputs, noiseless(partition), learner=0)
    np.testing.assert_allclose(law, diagonal(rho), atol=1e-12)
    assert all(string.x == 0 for string in program.outcome)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_qubits=st.integers(2, 4))
def test_certain_errors_of_pairs_flip_the_signs_they_should(
    seed: int, n_qubits: int, cut_circuit: Draw, oracle_density: Density, oracle_angle: Any
) -> None:
    """Each pair has X, Y, Z or no error for certain: correlators (1, -1, -1) and so on."""
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, n_qubits, 16)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=2)
    angles = np.array([oracle_angle(circuit.gates[index], theta, inputs) for index in circuit.rotations])
    error = rng.integers(0, 4, partition.pairs_per_shot)  # none, X, Y, Z
    correlators = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])[error]
    noise = noiseless(partition)._replace(pair_werner=jnp.asarray(correlators, dtype=float)[None])
    rho = oracle_density(circuit, partition, theta, inputs, noise, learner=0)
    program = compile_frame(circuit, partition)
    pair = program.event_source - 2 * partition.n_qpus
    strikes = np.where(pair >= 0, error[np.maximum(pair, 0)], 0)
    bits = np.concatenate([(strikes == 1) | (strikes == 2), strikes >= 2])
    np.testing.assert_allclose(law_of(program, angles, bits), diagonal(rho), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_certain_gate_errors_flip_the_signs_they_should(
    seed: int, cut_circuit: Draw, oracle_density: Density, oracle_angle: Any
) -> None:
    """Full depolarising of one QPU's one-qubit or two-qubit gates is the average over all error patterns."""
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, 2, 8)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=2)
    angles = np.array([oracle_angle(circuit.gates[index], theta, inputs) for index in circuit.rotations])
    program = compile_frame(circuit, partition)
    source = int(rng.integers(4))
    struck = np.flatnonzero(program.event_source == source)[:4]
    if np.count_nonzero(program.event_source == source) > 4:
        return  # 4^4 patterns are enough
    noise = noiseless(partition)
    tables = np.zeros((2, 1, 2))
    tables[source // 2, 0, source % 2] = 0.75
    noise = noise._replace(one_qubit_error=jnp.asarray(tables[0]), two_qubit_error=jnp.asarray(tables[1]))
    rho = oracle_density(circuit, partition, theta, inputs, noise, learner=0)
    n_events = program.event_source.size
    total = np.zeros(1 << circuit.n_qubits)
    for pattern in range(4**struck.size):
        bits = np.zeros(2 * n_events, dtype=bool)
        for place, event in enumerate(struck):
            bits[event], bits[n_events + event] = pattern >> 2 * place & 1, pattern >> 2 * place + 1 & 1
        total += law_of(program, angles, bits)
    np.testing.assert_allclose(total / 4**struck.size, diagonal(rho), atol=1e-7)
