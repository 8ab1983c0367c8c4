"""Fisher information: closed forms, the order of classical and quantum, Cramer-Rao, and an estimate from shots."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.experiments.benchmark_reference_intervals import variance_ratio
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit
from ceas.learning.encoding import Encoded, encode_inputs
from ceas.learning.engine import pauli_state
from ceas.learning.fisher import (
    bit_probabilities,
    classical_fisher_matrix,
    density_matrix,
    pure_quantum_fisher_matrix,
    quantum_fisher_matrix,
    sld_fisher_matrix,
)
from ceas.learning.fisher_bounds import depolarised_fisher_factor
from ceas.learning.natural_gradient import spsa_fisher
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.paulis import string_digits
from ceas.learning.shots import Shots, sample_outcomes
from ceas.streams import stream, stream_seed

__all__ = ["fisher_part"]

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

TEST_VECTORS = ((0.9, 2), (0.5, 4), (0.2, 8))
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHOTS, REPETITIONS = 1000, 3000
# Samples, shots per circuit (None for exact fidelities) and step (rad).
SPSA_EFFORTS: tuple[tuple[int, int | None, float], ...] = (
    (10, None, 0.2),
    (100, None, 0.2),
    (1000, None, 0.2),
    (1000, None, 0.05),
    (100, 100, 0.2),
    (1000, 100, 0.2),
    (1000, 1000, 0.2),
)


class _Problem(NamedTuple):
    circuit: Circuit
    partition: Partition
    theta: jax.Array
    encoded: Encoded
    noise: NoiseTable


def fisher_part(*, is_quick: bool) -> list[Row]:
    """Return all tables of Fisher information."""
    return [
        *_depolarised_rows(),
        *_order_rows(n_circuits=4 if is_quick else 40),
        *_cramer_rao_rows(repetitions=200 if is_quick else REPETITIONS),
        *_spsa_rows(repetitions=5 if is_quick else 20),
    ]


def _point(circuit: Circuit, name: str, index: int = 0) -> tuple[jax.Array, Encoded]:
    """Return random parameters and one random sample."""
    rng = stream(0, f"reference fisher {name}", index=index)
    theta = jnp.asarray(rng.normal(size=circuit.n_parameters), dtype=float)
    return theta, encode_inputs(circuit, rng.uniform(-np.pi / 2, np.pi / 2, (1, circuit.n_features)))


# ---- closed form -----------------------------------------------------------------------------------------------------


def _depolarised_rows() -> list[Row]:
    """Hold the information of globally depolarised states of the engine against the closed form."""
    rows = []
    for contraction, dimension in TEST_VECTORS:
        circuit = hardware_efficient(dimension.bit_length() - 1, 2, "chain")
        theta, encoded = _point(circuit, "depolarised")
        partition = partition_circuit(circuit)
        ideal = noiseless(partition)
        vector, slopes = _state_and_slopes(circuit, partition, theta, encoded, ideal)
        kept = jnp.full(vector.size, contraction).at[0].set(1.0)
        mixed = sld_fisher_matrix(density_matrix(vector * kept), density_matrix(slopes * kept))
        pure = pure_quantum_fisher_matrix(circuit, theta, encoded)[0]
        rows.append(_depolarised_row("of the noiseless state", contraction, dimension, mixed, pure))
    # One qubit: the same channel after the one run of gates of a layer, in the table of noise.
    circuit = hardware_efficient(1, 1)
    theta, encoded = _point(circuit, "one qubit")
    partition = partition_circuit(circuit)
    errors = noiseless(partition)._replace(one_qubit_error=jnp.full((1, 1), 0.75 * (1 - 0.9)))
    mixed = quantum_fisher_matrix(circuit, partition, theta, encoded, errors)[0, 0]
    pure = pure_quantum_fisher_matrix(circuit, theta, encoded)[0]
    rows.append(_depolarised_row("by the table of noise", 0.9, 2, mixed, pure))
    return rows


def _depolarised_row(how: str, contraction: float, dimension: int, mixed: jax.Array, pure: jax.Array) -> Row:
    factor = float(depolarised_fisher_factor(contraction, dimension))
    found, whole = np.asarray(mixed, np.float64), np.asarray(pure, np.float64)
    return {
        "table": "quantum Fisher information under global depolarising",
        "depolarised": how,
        "contraction": contraction,
        "dimension": dimension,
        "closed form": factor,
        "engine": float(np.sum(found * whole) / np.sum(whole * whole)),
        "largest error of the matrix": float(np.abs(found - factor * whole).max()),
    }


def _state_and_slopes(
    circuit: Circuit, partition: Partition, theta: jax.Array, encoded: Encoded, noise: NoiseTable
) -> tuple[jax.Array, jax.Array]:
    """Return the Pauli vector (4^n,) of one sample and its derivatives (P, 4^n)."""

    def state(parameters: jax.Array) -> jax.Array:
        vector: jax.Array = pauli_state(circuit, partition, parameters, encoded, noise)[0, 0]
        return vector

    return state(theta), jax.jacfwd(state)(theta).T


# ---- order -----------------------------------------------------------------------------------------------------------


def _order_rows(*, n_circuits: int) -> list[Row]:
    """Compare matrices by the largest eigenvalue of their difference, on random parameters, samples and noise.

    Depolarising after the circuit is a channel that knows no parameters, under which no information can grow. Noise
    between gates is not, so that there is no theorem; the trace is then only observed.
    """
    circuit = hardware_efficient(3, 2, "ring")
    partition = partition_circuit(circuit, "qubit")
    strengths = np.array(STRENGTHS)
    above, grown, between, classical_share = [], [], [], []
    for index in range(n_circuits):
        theta, encoded = _point(circuit, "order", index)
        noise = _noise(partition, stream(0, "reference fisher noise", index=index), strengths)
        quantum = np.asarray(quantum_fisher_matrix(circuit, partition, theta, encoded, noise)[:, 0], np.float64)
        classical = np.asarray(classical_fisher_matrix(circuit, partition, theta, encoded, noise)[:, 0], np.float64)
        above.append(np.linalg.eigvalsh(classical - quantum).max())
        classical_share.append(np.trace(classical[-1]) / np.trace(quantum[-1]))
        between.append(np.diff(np.trace(quantum, axis1=1, axis2=2)).max())
        one = jax.tree.map(lambda array: array[1:2], noise)
        vector, slopes = _state_and_slopes(circuit, partition, theta, encoded, one)
        weight = (string_digits(3) > 0).sum(axis=0)
        after = [
            np.asarray(sld_fisher_matrix(density_matrix(f * vector), density_matrix(f * slopes)), np.float64)
            for f in ((1 - 0.6 * strength) ** weight for strength in STRENGTHS)
        ]
        grown.append(max(np.linalg.eigvalsh(more - less).max() for less, more in itertools.pairwise(after)))
    head = {"table": "order of Fisher information, random noisy circuits", "circuits": n_circuits}
    return [
        {**head, "claim": "classical <= quantum: largest eigenvalue of F_C - F_Q", "worst": float(max(above))},
        {**head, "claim": "more noise after the circuit: largest eigenvalue of growth", "worst": float(max(grown))},
        {
            **head,
            "claim": "more noise between gates (no theorem): growth of the trace",
            "worst": float(max(between)),
        },
        {**head, "claim": "share of the quantum trace that bits tell, mean", "worst": float(np.mean(classical_share))},
    ]


def _noise(partition: Partition, rng: np.random.Generator, strengths: FloatArray) -> NoiseTable:
    """Draw errors of every kind, and scale them by strengths, a learner each."""
    n_qpus, n_pairs, scale = partition.n_qpus, partition.pairs_per_shot, strengths[:, None]
    return NoiseTable(
        one_qubit_error=jnp.asarray(scale * rng.uniform(0, 0.05, (1, n_qpus))),
        two_qubit_error=jnp.asarray(scale * rng.uniform(0, 0.1, (1, n_qpus))),
        readout_error=jnp.asarray(scale * rng.uniform(0, 0.1, (1, n_qpus))),
        pair_werner=jnp.asarray(1 - scale * rng.uniform(0, 0.5, (1, n_pairs))),
    )


# ---- Cramer-Rao ------------------------------------------------------------------------------------------------------


def _cramer_rao_rows(*, repetitions: int) -> list[Row]:
    """Estimate one parameter by maximum likelihood from finite shots, many times, and compare with both bounds."""
    circuit = hardware_efficient(2, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    theta, encoded = _point(circuit, "cramer-rao", 1)
    rows = []
    for name, strength in (("ideal", 0.0), ("noisy pairs and gates", 1.0), ("very noisy", 2.0)):
        noise = _noise(partition, stream(0, "reference fisher cramer-rao"), np.array([strength]))
        quantum = np.asarray(quantum_fisher_matrix(circuit, partition, theta, encoded, noise)[0, 0], np.float64)
        classical = np.asarray(classical_fisher_matrix(circuit, partition, theta, encoded, noise)[0, 0], np.float64)
        parameter = int(np.argmax(np.diag(classical)))
        problem = _Problem(circuit, partition, theta, encoded, noise)
        counts = _counts(problem, repetitions)
        grid = np.linspace(-0.6, 0.6, 601)
        law = _law_on_grid(problem, parameter, grid)
        estimates = _likeliest(counts @ np.log(np.maximum(law, 1e-12)).T, grid)
        by_bits, by_state = (float(matrix[parameter, parameter]) for matrix in (classical, quantum))
        bits, state = (
            variance_ratio(estimates, 1 / (SHOTS * information), mean=0.0) for information in (by_bits, by_state)
        )
        rows.append(
            {
                "table": "Cramer-Rao: mean squared error of maximum likelihood over the bounds",
                "noise": name,
                "shots": SHOTS,
                "repetitions": repetitions,
                "F_C": by_bits,
                "F_Q": by_state,
                "bias in s.e.": float(estimates.mean() / (estimates.std() / np.sqrt(repetitions))),
                "error over 1/(S F_C)": bits.ratio,
                "low": bits.low,
                "high": bits.high,
                "error over 1/(S F_Q)": state.ratio,
                "low Q": state.low,
                "bound beaten": "yes" if bits.high < 1 or state.high < 1 else "no",
            }
        )
    return rows


def _counts(problem: _Problem, repetitions: int) -> FloatArray:
    """Return how often each bitstring is read in every repetition, (repetitions, 2^n), qubit 0 most significant."""
    circuit, partition, theta, encoded, noise = problem
    n_shots, n = SHOTS * repetitions, circuit.n_qubits
    shots = Shots(
        learner=np.zeros(n_shots, np.int32),
        counter=np.arange(n_shots, dtype=np.uint32),
        sample=np.zeros(n_shots, np.int32),
        shift_rotation=np.full(n_shots, -1, np.int32),
        shift_sign=np.ones(n_shots, np.int32),
        pair_werner=np.broadcast_to(np.asarray(noise.pair_werner, np.float32), (n_shots, partition.pairs_per_shot)),
    )
    angles = rotation_angles(circuit, theta, encoded.inputs)
    seed = stream_seed(0, "reference fisher shots")
    bits = sample_outcomes(circuit, partition, np.asarray(angles), noise, shots=shots, seed=seed).astype(np.int64)
    index = sum(((bits >> qubit) & 1) << (n - 1 - qubit) for qubit in range(n))
    cell = np.repeat(np.arange(repetitions), SHOTS) * 2**n + index
    return np.bincount(cell, minlength=repetitions * 2**n).reshape(repetitions, 2**n).astype(np.float64)


def _law_on_grid(problem: _Problem, parameter: int, grid: FloatArray) -> FloatArray:
    """Return the law of the bits for moves of one parameter, (moves, 2^n)."""
    circuit, partition, theta, encoded, noise = problem

    def law(move: jax.Array) -> jax.Array:
        vector = pauli_state(circuit, partition, theta.at[parameter].add(move), encoded, noise)
        return bit_probabilities(partition, noise, vector)[0, 0]

    return np.asarray(jax.lax.map(law, jnp.asarray(grid, theta.dtype)), np.float64)


def _likeliest(likelihood: FloatArray, grid: FloatArray) -> FloatArray:
    """Return where the log-likelihood (repetitions, moves) is greatest, by a parabola about the best of the grid."""
    best = np.clip(likelihood.argmax(axis=1), 1, grid.size - 2)
    left, middle, right = (np.take_along_axis(likelihood, (best + d)[:, None], 1)[:, 0] for d in (-1, 0, 1))
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    found: FloatArray = grid[best] + offset * (grid[1] - grid[0])
    return found


# ---- simultaneous perturbation ---------------------------------------------------------------------------------------


def _spsa_rows(*, repetitions: int) -> list[Row]:
    """Estimate the matrix by simultaneous perturbation, from the overlap of engine states, by effort."""
    circuit = hardware_efficient(3, 2, "ring")
    partition = partition_circuit(circuit)
    theta, encoded = _point(circuit, "spsa")
    exact = np.asarray(pure_quantum_fisher_matrix(circuit, theta, encoded)[0], np.float64)
    states = jax.jit(
        jax.vmap(lambda parameters: pauli_state(circuit, partition, parameters, encoded, noiseless(partition))[0, 0])
    )

    def fidelity(point: FloatArray, others: FloatArray) -> FloatArray:
        vectors = np.asarray(states(jnp.asarray(np.vstack([point, others]), dtype=float)), np.float64)
        overlaps: FloatArray = vectors[1:] @ vectors[0] / 2**circuit.n_qubits
        return overlaps

    rows = []
    for n_samples, shots, step in SPSA_EFFORTS:
        errors, within = [], []
        for index in range(repetitions):
            rng = stream(0, "reference fisher spsa", samples=n_samples, shots=shots or 0, index=index)
            found = spsa_fisher(fidelity, theta, n_samples=n_samples, step=step, rng=rng, shots_per_circuit=shots)
            errors.append(np.linalg.norm(found.matrix - exact) / np.linalg.norm(exact))
            within.append(np.mean(np.abs(found.matrix - exact) <= 2 * found.standard_error))
        rows.append(
            {
                "table": "quantum Fisher information by simultaneous perturbation, 12 parameters",
                "samples": n_samples,
                "step": step,
                "circuits": 4 * n_samples,
                "shots": 4 * n_samples * (shots or 0),
                "shots per circuit": "exact" if shots is None else str(shots),
                "relative error": float(np.mean(errors)),
                "entries within 2 s.e.": float(np.mean(within)),
            }
        )
    return rows
