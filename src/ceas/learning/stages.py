"""Circuits compiled to tables over Pauli strings, as the engine needs them.

A circuit is cut into stages: rotations on every qubit, then moves (CNOTs and errors). In the Pauli basis the moves of a
stage are one signed permutation times one factor per string and learner, because a CNOT maps Pauli strings to Pauli
strings and a Pauli error only scales them. Depolarising commutes with the rotations of its qubit, so that it may join
the moves that follow them.

A string of n Paulis has the index sum_q d_q 4^(n-1-q) with digits d = 0..3 for I, X, Y, Z.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit, Gate
from ceas.learning.partition import Partition

__all__ = ["RotationTable", "Stage", "compile_rotations", "compile_stages", "string_digits"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]  # the index type of JAX, whether or not it uses 64 bits
ByteArray = npt.NDArray[np.int8]

_BITS_TO_DIGIT = np.array([0, 1, 3, 2])  # index x + 2 z of the Pauli i^(xz) X^x Z^z
_AXES = {"ry": 1, "rz": 2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """The moves of one stage, read backwards: `after[k] = factor[k] * sign[k] * before[source[k]]`.

    Attributes:
        source: For each string k, the string that the moves turn into k, shape (4^n,).
        target: Inverse permutation of `source`.
        sign: +1 or -1, shape (4^n,).
        rates: Which survival rates occur, out of: one-qubit of each qubit, two-qubit of each qubit, pairs; of pairs
            that are split, c_x, c_y and c_z of each.
        exponents: How often each of them scales the string, shape (len(rates), 4^n).
    """

    source: IntArray
    target: IntArray
    sign: ByteArray
    rates: tuple[int, ...]
    exponents: ByteArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RotationTable:
    """Rotations of all stages, padded to the same number per stage and qubit.

    Attributes:
        parameter: Index into the parameters (0 where there is no rotation), shape (stages, n, positions).
        constant, cosine, sine: Parts of the real 3 x 3 matrix on (X, Y, Z), `constant + cos t cosine + sin t sine`, in
            the Heisenberg picture, shape (stages, n, positions, 3, 3).
        axis: Axis of each rotation, zero where there is none, shape (stages, n, positions, 3).
        position: For each parameter, the flat index of its rotation in (stages, n, positions).
    """

    parameter: IntArray
    constant: FloatArray
    cosine: FloatArray
    sine: FloatArray
    axis: FloatArray
    position: IntArray


@dataclass(slots=True)
class _Block:
    """Gates of one stage: rotations by qubit, then moves, each a CNOT with its pair or an error on one qubit."""

    rotations: dict[int, list[Gate]] = field(default_factory=dict)
    moves: list[tuple[tuple[int, ...], int]] = field(default_factory=list)


def string_digits(n_qubits: int) -> ByteArray:
    """Return the digits (0..3 for I, X, Y, Z) of every Pauli string, shape (n_qubits, 4^n_qubits)."""
    return np.array(np.unravel_index(np.arange(4**n_qubits), (4,) * n_qubits), dtype=np.int8)


@lru_cache(maxsize=64)
def compile_stages(circuit: Circuit, partition: Partition, splits_pairs: bool = False) -> tuple[Stage, ...]:
    """Compile the moves of every stage, in the order of the circuit; there is at least one stage.

    `splits_pairs` tells apart the three correlators of a pair, which are one number where it is a Werner pair.
    """
    return tuple(_compile_moves(block, circuit.n_qubits, splits_pairs) for block in _blocks(circuit, partition))


@lru_cache(maxsize=64)
def compile_rotations(circuit: Circuit, partition: Partition) -> RotationTable:
    """Compile the rotations of every stage into constant tables."""
    blocks = _blocks(circuit, partition)
    width = max([len(gates) for block in blocks for gates in block.rotations.values()], default=0)
    shape = (len(blocks), circuit.n_qubits, max(width, 1))
    parameter, position = np.zeros(shape, dtype=np.int32), np.zeros(circuit.n_parameters, dtype=np.int32)
    axis, sine, cosine = np.zeros((*shape, 3)), np.zeros((*shape, 3, 3)), np.zeros((*shape, 3, 3))
    for place, gate in _places(blocks):
        parameter[place] = gate.parameter
        position[gate.parameter] = np.ravel_multi_index(place, shape)
        axis[place][_AXES[gate.kind]] = 1.0
        cosine[place], sine[place] = _rotation_parts(axis[place])
    return RotationTable(
        parameter=parameter,
        constant=np.eye(3) - cosine,
        cosine=cosine,
        sine=sine,
        axis=axis,
        position=position,
    )


def _rotation_parts(axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the cosine and the sine part of U^dagger (X, Y, Z) U for U = exp(-i t axis.(X, Y, Z) / 2).

    U^dagger turns a Bloch vector by -t about the axis: v -> axis (axis.v) + cos t (v - axis (axis.v)) - sin t axis x v.
    """
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) - np.outer(axis, axis), -cross


def _blocks(circuit: Circuit, partition: Partition) -> list[_Block]:
    blocks = [_Block()]
    has_cnot = False
    gates = zip(circuit.gates, circuit.has_error, partition.pair_index, strict=True)
    for gate, has_error, pair in gates:
        if gate.is_rotation and has_cnot:
            blocks.append(_Block())
            has_cnot = False
        if gate.is_rotation:
            blocks[-1].rotations.setdefault(gate.qubits[0], []).append(gate)
        else:
            has_cnot = True
        if has_error:
            blocks[-1].moves.append((gate.qubits, pair))
    return blocks


def _places(blocks: list[_Block]) -> Iterator[tuple[tuple[int, int, int], Gate]]:
    for stage, block in enumerate(blocks):
        for qubit, gates in block.rotations.items():
            for place, gate in enumerate(gates):
                yield (stage, qubit, place), gate


def _compile_moves(block: _Block, n_qubits: int, splits_pairs: bool) -> Stage:
    digits = string_digits(n_qubits)
    x, z = (digits == 1) | (digits == 2), digits >= 2
    is_negative = np.zeros(4**n_qubits, dtype=bool)
    n_pairs = 1 + max((pair for _, pair in block.moves), default=-1)
    n_axes = 3 if splits_pairs else 1
    exponents = np.zeros((2 * n_qubits + n_axes * n_pairs, 4**n_qubits), dtype=np.int8)
    for qubits, pair in reversed(block.moves):
        if len(qubits) == 1:
            exponents[qubits[0]] += x[qubits[0]] | z[qubits[0]]
            continue
        for qubit in qubits:
            exponents[n_qubits + qubit] += x[qubit] | z[qubit]
        control, target = qubits
        if pair >= 0:
            # Errors X on the target and Z on the control commute with {I, Z} on the control and {I, X} on the target.
            row = 2 * n_qubits + n_axes * pair
            if splits_pairs:
                # Z flips the sign of what meets X or Y on the control, X of what meets Y or Z on the target.
                exponents[row] += x[control] & ~z[target]
                exponents[row + 1] += x[control] & z[target]
                exponents[row + 2] += ~x[control] & z[target]
            else:
                exponents[row] += x[control] | z[target]
        # Aaronson and Gottesman, PRA 70, 052328, 2004, section II.
        is_negative ^= x[control] & z[target] & ~(x[target] ^ z[control])
        x[target] ^= x[control]
        z[control] ^= z[target]
    target = np.ravel_multi_index(tuple(_BITS_TO_DIGIT[x + 2 * z]), (4,) * n_qubits).astype(np.int32)
    source = np.argsort(target).astype(np.int32)
    rates = tuple(int(rate) for rate in np.flatnonzero(exponents.any(axis=1)))
    sign = np.where(is_negative, -1, 1).astype(np.int8)
    return Stage(
        source=source,
        target=target,
        sign=sign[source],
        rates=rates,
        exponents=exponents[list(rates)][:, source],
    )
