"""Noiseless runs of a circuit as functions of their angles, without compiling anything for the circuit.

This is what training on exact values needs, step after step: values, their adjoint gradient by every angle, and the
chain rule from there to parameters and inputs. All of it is NumPy around the compiled loops of
`ceas.learning.state_vectors`, because with a few samples of a few qubits a call costs more than its arithmetic.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.fusion import fuse
from ceas.learning.state_vectors import FusedProgram, Results, Room, Runs, evolve_blocks, gradient_blocks
from ceas.learning.trajectories import LANES

__all__ = ["Evolved", "angle_slopes", "angles_of", "evolve", "pull_back", "slopes_by_angle"]

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class _Terms(NamedTuple):
    """All terms of all angles: rotation, coefficient, parameter (P for none), inputs (F for none, several columns)."""

    rotation: IntArray
    coefficient: FloatArray
    parameter: IntArray
    features: IntArray


class Evolved(NamedTuple):
    """Runs that have been evolved.

    Attributes:
        angles: Their angles, padded to full blocks, shape (padded runs, R).
        values: <Z> of each observable, shape (runs, K).
        kept: Final states of the blocks.
    """

    angles: SingleArray
    values: FloatArray
    kept: SingleArray


def angles_of(circuit: Circuit, theta: FloatArray, inputs: FloatArray) -> FloatArray:
    """Return the angles (rad) of every rotation for samples (S, F) at parameters (P,), shape (S, R)."""
    terms = _terms(circuit)
    factors = terms.coefficient * np.append(theta, 1.0)[terms.parameter]
    values = factors * _extended(inputs)[:, terms.features].prod(axis=2)
    angles: FloatArray = _sums(values, terms.rotation, len(circuit.rotations))
    return angles


def angle_slopes(circuit: Circuit, inputs: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the derivatives of angles by parameters that are not zero for all inputs, at inputs (S, F).

    Returns:
        Rotation and parameter of each, shape (N,), and the derivatives, shape (S, N); no angle is more than linear in
        the parameters.
    """
    terms = _terms(circuit)
    is_trained = terms.parameter < circuit.n_parameters
    keys = terms.rotation[is_trained] * circuit.n_parameters + terms.parameter[is_trained]
    pairs, place = np.unique(keys, return_inverse=True)
    factors = terms.coefficient[is_trained] * _extended(inputs)[:, terms.features[is_trained]].prod(axis=2)
    return pairs // circuit.n_parameters, pairs % circuit.n_parameters, _sums(factors, place, pairs.size)


def pull_back(
    circuit: Circuit, theta: FloatArray, inputs: FloatArray, slopes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return derivatives by parameters (P,) and by inputs (S, F), given those by every angle, shape (S, R)."""
    terms = _terms(circuit)
    drawn = _extended(inputs)[:, terms.features]
    weighted = slopes[:, terms.rotation] * terms.coefficient
    by_term = (weighted * drawn.prod(axis=2)).sum(axis=0)
    by_theta = np.bincount(terms.parameter, by_term, circuit.n_parameters + 1)[:-1].astype(np.float64)
    weighted = weighted * np.append(theta, 1.0)[terms.parameter]
    by_inputs = np.zeros((len(inputs), circuit.n_features + 1))
    for column in range(terms.features.shape[1]):
        others = np.delete(drawn, column, axis=2).prod(axis=2)
        by_inputs += _sums(weighted * others, terms.features[:, column], circuit.n_features + 1)
    return by_theta, by_inputs[:, :-1]


def evolve(circuit: Circuit, observables: tuple[int, ...], angles: FloatArray) -> Evolved:
    """Run the circuit on |0...0> for every row of angles, shape (runs, R)."""
    n_runs = len(angles)
    lanes = min(LANES, n_runs)
    rows = np.ascontiguousarray(np.pad(angles, ((0, -n_runs % lanes), (0, 0)), mode="edge"), dtype=np.float32)
    kept = np.empty((len(rows) // lanes, 1 << circuit.n_qubits, 2 * lanes), np.float32)
    nothing = np.zeros((0, 0))
    results = Results(np.zeros((len(rows), len(observables))), kept, nothing.astype(np.float32), nothing)
    _run(evolve_blocks, circuit, observables, rows, results)
    return Evolved(rows, results.values[:n_runs], kept)


def slopes_by_angle(circuit: Circuit, observables: tuple[int, ...], evolved: Evolved, slopes: FloatArray) -> FloatArray:
    """Return the derivatives of sum_k slope_k <Z_k> by every angle, for slopes (runs, K), shape (runs, R)."""
    padded = np.zeros((len(observables), len(evolved.angles)), np.float32)
    padded[:, : len(slopes)] = slopes.T
    results = Results(np.zeros((0, 0)), evolved.kept, padded, np.zeros(evolved.angles.shape))
    _run(gradient_blocks, circuit, observables, evolved.angles, results)
    gradient: FloatArray = results.gradient[: len(slopes)]
    return gradient


def _run(
    work: Callable[[tuple[int, int], FusedProgram, Runs, Results, Room], None],
    circuit: Circuit,
    observables: tuple[int, ...],
    angles: SingleArray,
    results: Results,
) -> None:
    """Let a compiled loop work on all blocks in this thread."""
    lanes = min(LANES, len(angles))
    program = fuse(circuit, has_start=True)
    program = program._replace(outcome=program.outcome[list(observables)])
    n_amplitudes, dtype = 1 << circuit.n_qubits, np.float32
    empty = np.zeros((2, 0, 0), dtype), np.zeros((0, 3, 0), dtype), np.zeros((0, 0), dtype)
    room = Room(
        state=np.empty((n_amplitudes, 2 * lanes), dtype),
        co_state=np.empty((n_amplitudes if results.gradient.size else 0, 2 * lanes), dtype),
        matrix=np.empty((4, lanes), dtype),
        overlap=np.empty((3, lanes), dtype),
        sums=np.empty((len(observables) + 2, lanes)),
    )
    work((0, 1), program, Runs(angles, *empty), results, room)


@lru_cache(maxsize=64)
def _terms(circuit: Circuit) -> _Terms:
    listed = [(row, term) for row, index in enumerate(circuit.rotations) for term in circuit.gates[index].angle]
    width = max((len(term.features) for _, term in listed), default=0)
    features = np.full((len(listed), max(width, 1)), circuit.n_features)
    for row, (_, term) in zip(features, listed, strict=True):
        row[: len(term.features)] = term.features
    parameters = [term.parameter if term.parameter >= 0 else circuit.n_parameters for _, term in listed]
    return _Terms(
        rotation=np.array([rotation for rotation, _ in listed], dtype=np.int64),
        coefficient=np.array([term.coefficient for _, term in listed], dtype=np.float64),
        parameter=np.array(parameters, dtype=np.int64),
        features=features.astype(np.int64),
    )


def _extended(inputs: FloatArray) -> FloatArray:
    """Append a one, which stands for an input that a term does not have."""
    return np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)


def _sums(values: FloatArray, place: IntArray, size: int) -> FloatArray:
    """Add columns of the same place: (S, terms) to (S, size)."""
    rows = np.arange(len(values))[:, None] * size
    flat = np.bincount((rows + place).ravel(), values.ravel(), len(values) * size)
    return flat.reshape(len(values), size).astype(np.float64)
