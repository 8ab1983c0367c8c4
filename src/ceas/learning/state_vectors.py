"""Compiled loops over pure states: evolution, expectation values and the adjoint gradient.

A block holds some states next to each other: row k has the real parts of amplitude k of all of them, then the
imaginary parts, so that the innermost loops run over states with angles of their own and use the processor's vector
units. A block of ten qubits fits the second-level cache. Matrices are elements of SU(2), (a, b) for
[[a, -conj(b)], [b, conj(a)]].

The adjoint gradient keeps one state and one co-state and walks back through the operations. For a product of one-qubit
gates it takes Im <co-state| sigma |state> for the three Pauli operators; turning each gate's axis through the gates
after it gives the derivative by every angle.

Source: Jones and Gacon, arXiv:2009.02823, 2020 (adjoint gradients).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = [
    "CZ",
    "PRODUCT",
    "RELAXATION",
    "ZZ",
    "FusedProgram",
    "Results",
    "Room",
    "Runs",
    "evolve_blocks",
    "gradient_blocks",
    "mean_blocks",
]

Array = npt.NDArray[Any]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Matrix = tuple[float, float, float, float]


# Numba looks at this file alone to see whether a stored copy of a loop is still good: what loops use stands here.
PRODUCT, ZZ, CZ, RELAXATION = range(4)
"""Kinds of operations."""


class FusedProgram(NamedTuple):
    """The operations of a circuit; bit q of an index of amplitudes is qubit q at the start.

    Attributes:
        n_qubits: Number of qubits.
        start: First and last (excluded) turn of what prepares each qubit from |0>, shape (n, 2).
        operations: Rows (kind, x mask, z mask, first turn, last turn), shape (operations, 5). A product flips the bits
            of the x mask of its qubit, whose bit is the parity on the z mask. ZZ turns about the parity on the z mask,
            CZ changes the sign where the parities on its two masks (x mask, z mask) are odd, and relaxation has a
            number in place of its first turn.
        axis: Axis of each turn: X, Y, Z or between X and Z, shape (turns,).
        rotation: Rotation of the circuit that gives its angle, or -1, shape (turns,).
        fixed: Its angle otherwise (rad), shape (turns,).
        outcome: Mask whose parity is the outcome of each qubit, shape (n,).
    """

    n_qubits: int
    start: npt.NDArray[np.int64]
    operations: npt.NDArray[np.int64]
    axis: npt.NDArray[np.int64]
    rotation: npt.NDArray[np.int64]
    fixed: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.int64]


class Runs(NamedTuple):
    """What the runs bring along; C runs, of which a block takes neighbouring ones.

    Attributes:
        angles: Angles of the rotations, shape (C, R).
        initial: Initial states, real and imaginary parts, shape (2, 2**n, C); or of size 0 for |0...0>.
        relaxation: Damping, weight of damping down and sign of Z of each relaxation, shape (D, 3, C).
        draws: Uniform random numbers, shape (D, C).
    """

    angles: Array
    initial: Array
    relaxation: Array
    draws: Array


class Results(NamedTuple):
    """What is written, and the slopes that the gradient starts from; K observables.

    Attributes:
        values: Expectation values, shape (C, K).
        kept: Final states, shape (blocks, 2**n, 2 lanes); of size 0 to keep none.
        slopes: Derivative of the loss by each value, shape (K, C).
        gradient: Derivatives by the angles, shape (C, R); what is found is added.
    """

    values: Array
    kept: Array
    slopes: Array
    gradient: Array


class Room(NamedTuple):
    """Working space of one thread, for blocks of some lanes.

    Attributes:
        state: Shape (2**n, 2 lanes).
        co_state: Shape (2**n, 2 lanes); not used without a gradient.
        matrix: Shape (4, lanes).
        overlap: Shape (3, lanes).
        sums: Double precision, shape (K + 2, lanes).
    """

    state: Array
    co_state: Array
    matrix: Array
    overlap: Array
    sums: Array


# Nothing is allocated and no array is sliced in here: that would take most of the compile time.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": True, "error_model": "numpy", "_nrt": False}
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}


def _entry(function: _Function) -> _Function:
    """Compile a function that Python calls."""
    result: _Function = njit(**_OPTIONS)(function)
    return result


def _compiled(function: _Function) -> _Function:
    """Compile a function that only compiled functions call."""
    result: _Function = njit(**_INNER)(function)
    return result


_ONE = np.uint64(1)


@_compiled
def _parity(bits: np.uint64) -> np.uint64:
    for shift in (np.uint64(32), np.uint64(16), np.uint64(8), np.uint64(4), np.uint64(2), np.uint64(1)):
        bits ^= bits >> shift
    return bits & _ONE


@_compiled
def _low_bit(mask: np.uint64) -> np.uint64:
    low = np.uint64(0)
    while not (mask >> low) & _ONE:
        low += _ONE
    return low


@_compiled
def _zero_row(half: np.uint64, low: np.uint64, x: np.uint64, z: np.uint64) -> np.uint64:
    """Return the row of pair number `half` in which the qubit is 0; the other is that row with the x mask flipped."""
    row = ((half >> low) << (low + _ONE)) | (half & ((_ONE << low) - _ONE))
    return row ^ (x * _parity(row & z))


@_compiled
def _turn_matrix(axis: int, half: float) -> _Matrix:
    """Return (a, b) of exp(-i half n.sigma) as four real numbers."""
    c, s = np.cos(half), np.sin(half)
    if axis == 0:
        return c, 0.0, 0.0, -s
    if axis == 1:
        return c, 0.0, s, 0.0
    if axis == 2:
        return c, -s, 0.0, 0.0
    return c, -s * np.sqrt(0.5), 0.0, -s * np.sqrt(0.5)


@_compiled
def _times(p: _Matrix, q: _Matrix) -> _Matrix:
    """Multiply two elements of SU(2)."""
    return (
        p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3],
        p[0] * q[1] + p[1] * q[0] - p[2] * q[3] + p[3] * q[2],
        p[2] * q[0] - p[3] * q[1] + p[0] * q[2] + p[1] * q[3],
        p[2] * q[1] + p[3] * q[0] + p[0] * q[3] - p[1] * q[2],
    )


@_compiled
def _half_angle(program: FusedProgram, runs: Runs, turn: int, column: int) -> float:
    if program.rotation[turn] >= 0:
        return 0.5 * float(runs.angles[column, program.rotation[turn]])
    return 0.5 * float(program.fixed[turn])


@_compiled
def _product(program: FusedProgram, runs: Runs, span: tuple[int, int], column: int, matrix: Array) -> None:
    """Write the product of the turns of a span for the runs from a column on, shape (4, lanes)."""
    for lane in range(matrix.shape[1]):
        total = (1.0, 0.0, 0.0, 0.0)
        for turn in range(span[0], span[1]):
            half = _half_angle(program, runs, turn, column + lane)
            total = _times(_turn_matrix(program.axis[turn], half), total)
        for part in range(4):
            matrix[part, lane] = total[part]


@_compiled
def _apply(psi: Array, x: np.uint64, z: np.uint64, matrix: Array) -> None:
    low, n_lanes = _low_bit(x), psi.shape[1] // 2
    for pair in range(psi.shape[0] // 2):
        zero = _zero_row(np.uint64(pair), low, x, z)
        one = zero ^ x
        for v in range(n_lanes):
            w = v + n_lanes
            r0, i0, r1, i1 = psi[zero, v], psi[zero, w], psi[one, v], psi[one, w]
            ar, ai, br, bi = matrix[0, v], matrix[1, v], matrix[2, v], matrix[3, v]
            psi[zero, v] = ar * r0 - ai * i0 - br * r1 - bi * i1
            psi[zero, w] = ar * i0 + ai * r0 - br * i1 + bi * r1
            psi[one, v] = br * r0 - bi * i0 + ar * r1 + ai * i1
            psi[one, w] = br * i0 + bi * r0 + ar * i1 - ai * r1


@_compiled
def _phase(psi: Array, z: np.uint64, phase: Array) -> None:
    """Multiply by cos - i sin where the parity on the mask is even, and by its conjugate where it is odd."""
    n_lanes = psi.shape[1] // 2
    for row in range(psi.shape[0]):
        sign = psi.dtype.type(1) - psi.dtype.type(2) * psi.dtype.type(_parity(np.uint64(row) & z))
        for v in range(n_lanes):
            w = v + n_lanes
            cosine, sine, real, imaginary = phase[0, v], sign * phase[1, v], psi[row, v], psi[row, w]
            psi[row, v] = cosine * real + sine * imaginary
            psi[row, w] = cosine * imaginary - sine * real


@_compiled
def _change_signs(psi: Array, first: np.uint64, second: np.uint64) -> None:
    for row in range(psi.shape[0]):
        if _parity(np.uint64(row) & first) & _parity(np.uint64(row) & second):
            for v in range(psi.shape[1]):
                psi[row, v] = -psi[row, v]


@_compiled
def _half_turns(program: FusedProgram, runs: Runs, turn: int, column: int, phase: Array) -> None:
    for lane in range(phase.shape[1]):
        half = _half_angle(program, runs, turn, column + lane)
        phase[0, lane], phase[1, lane] = np.cos(half), np.sin(half)


@_compiled
def _prepare(program: FusedProgram, runs: Runs, column: int, room: Room) -> None:
    """Write the initial states, or the product state of all qubits."""
    psi, matrix, initial = room.state, room.matrix, runs.initial
    n_lanes = psi.shape[1] // 2
    if initial.size:
        for row in range(psi.shape[0]):
            for v in range(n_lanes):
                psi[row, v], psi[row, v + n_lanes] = initial[0, row, column + v], initial[1, row, column + v]
        return
    for v in range(n_lanes):
        psi[0, v], psi[0, v + n_lanes] = 1, 0
    for qubit in range(program.start.shape[0]):
        _product(program, runs, (program.start[qubit, 0], program.start[qubit, 1]), column, matrix)
        size = 1 << qubit
        for row in range(size):
            for v in range(n_lanes):
                w = v + n_lanes
                real, imaginary = psi[row, v], psi[row, w]
                ar, ai, br, bi = matrix[0, v], matrix[1, v], matrix[2, v], matrix[3, v]
                psi[row, v], psi[row, w] = ar * real - ai * imaginary, ar * imaginary + ai * real
                psi[row + size, v], psi[row + size, w] = br * real - bi * imaginary, br * imaginary + bi * real


@_compiled
def _relax(runs: Runs, number: int, column: int, masks: tuple[np.uint64, np.uint64], room: Room) -> None:
    """Let one qubit of every state relax, with a jump or not, and normalise the states.

    The rows of `relaxation` are the damping, the weight of damping down and the sign of Z in the error frame; see
    `ceas.learning.frames`.
    """
    psi, matrix, weight, relaxation = room.state, room.matrix, room.sums, runs.relaxation
    n_lanes, (x, z) = psi.shape[1] // 2, masks
    for v in range(n_lanes):
        weight[0, v] = weight[1, v] = 0.0
    for row in range(psi.shape[0]):
        bit = _parity(np.uint64(row) & z)
        for v in range(n_lanes):
            weight[bit, v] += psi[row, v] ** 2 + psi[row, v + n_lanes] ** 2
    for v in range(n_lanes):
        # The real matrix of this state, its rows behind each other.
        for part in range(4):
            matrix[part, v] = 0
        damping, down = relaxation[number, 0, column + v], relaxation[number, 1, column + v]
        frame, draw = relaxation[number, 2, column + v], runs.draws[number, column + v]
        total = weight[0, v] + weight[1, v]
        up_row = 1 if frame > 0 else 0  # where the qubit is physically excited
        excited, ground = weight[up_row, v] / total, weight[1 - up_row, v] / total
        jump_down = down * damping * excited
        jump = jump_down + (1 - down) * damping * ground
        still_down = jump + down * (1 - damping * excited)
        jumps = draw < jump
        is_down = draw < jump_down or (not jumps and draw < still_down)
        # The row that loses amplitude.
        losing, upper = (up_row, excited) if is_down else (1 - up_row, ground)
        if jumps:
            matrix[1 if losing == 1 else 2, v] = 1 / np.sqrt(upper * total)
        else:
            scale = 1 / np.sqrt((1 - damping * upper) * total)
            matrix[0, v], matrix[3, v] = scale, scale
            matrix[3 * losing, v] = scale * np.sqrt(1 - damping)
    low = _low_bit(x)
    for pair in range(psi.shape[0] // 2):
        zero = _zero_row(np.uint64(pair), low, x, z)
        one = zero ^ x
        for v in range(2 * n_lanes):
            lane = v % n_lanes
            first, second = psi[zero, v], psi[one, v]
            psi[zero, v] = matrix[0, lane] * first + matrix[1, lane] * second
            psi[one, v] = matrix[2, lane] * first + matrix[3, lane] * second


@_compiled
def _evolve(program: FusedProgram, runs: Runs, column: int, room: Room) -> None:
    psi, operations = room.state, program.operations
    for number in range(operations.shape[0]):
        kind, first, last = operations[number, 0], operations[number, 3], operations[number, 4]
        x, z = np.uint64(operations[number, 1]), np.uint64(operations[number, 2])
        if kind == PRODUCT:
            _product(program, runs, (first, last), column, room.matrix)
            _apply(psi, x, z, room.matrix)
        elif kind == ZZ:
            _half_turns(program, runs, first, column, room.matrix)
            _phase(psi, z, room.matrix)
        elif kind == CZ:
            _change_signs(psi, x, z)
        elif kind == RELAXATION:
            _relax(runs, first, column, (x, z), room)


@_compiled
def _expectations(psi: Array, outcome: Array, values: Array, column: int, sums: Array) -> None:
    """Write <Z> of each observable; sums of rows are kept in double precision."""
    n_lanes, norm = psi.shape[1] // 2, outcome.size
    for k in range(outcome.size):
        for v in range(n_lanes):
            sums[k, v] = 0.0
    for row in range(psi.shape[0]):
        for v in range(n_lanes):
            sums[norm, v] = psi[row, v] ** 2 + psi[row, v + n_lanes] ** 2
        for k in range(outcome.size):
            sign = 1.0 - 2.0 * float(_parity(np.uint64(row) & np.uint64(outcome[k])))
            for v in range(n_lanes):
                sums[k, v] += sign * sums[norm, v]
    for k in range(outcome.size):
        for v in range(n_lanes):
            values[column + v, k] = sums[k, v]


@_entry
def evolve_blocks(part: tuple[int, int], program: FusedProgram, runs: Runs, results: Results, room: Room) -> None:
    """Evolve blocks of runs, and write their expectation values and final states.

    Args:
        part: First block and distance to the next.
        program: The operations, with the masks of the K observables as `outcome`.
        runs: C runs, a multiple of the lanes of a block.
        results: What is written.
        room: Working space.
    """
    n_lanes = room.matrix.shape[1]
    for number in range(part[0], runs.angles.shape[0] // n_lanes, part[1]):
        column = number * n_lanes
        _prepare(program, runs, column, room)
        _evolve(program, runs, column, room)
        _expectations(room.state, program.outcome, results.values, column, room.sums)
        if results.kept.size:
            for row in range(room.state.shape[0]):
                for v in range(2 * n_lanes):
                    results.kept[number, row, v] = room.state[row, v]


@_compiled
def _overlaps(psi: Array, co: Array, x: np.uint64, z: np.uint64, overlap: Array) -> None:
    """Write Im <co| sigma |psi> for X, Y and Z of one qubit, shape (3, states)."""
    low, n_lanes = _low_bit(x), psi.shape[1] // 2
    for v in range(n_lanes):
        overlap[0, v] = overlap[1, v] = overlap[2, v] = 0
    for pair in range(psi.shape[0] // 2):
        zero = _zero_row(np.uint64(pair), low, x, z)
        one = zero ^ x
        for v in range(n_lanes):
            w = v + n_lanes
            r0, i0, r1, i1 = psi[zero, v], psi[zero, w], psi[one, v], psi[one, w]
            s0, j0, s1, j1 = co[zero, v], co[zero, w], co[one, v], co[one, w]
            overlap[0, v] += s0 * i1 - j0 * r1 + s1 * i0 - j1 * r0
            overlap[1, v] += s1 * r0 + j1 * i0 - s0 * r1 - j0 * i1
            overlap[2, v] += s0 * i0 - j0 * r0 - s1 * i1 + j1 * r1


@_compiled
def _parity_overlap(psi: Array, co: Array, z: np.uint64, overlap: Array) -> None:
    n_lanes = psi.shape[1] // 2
    for v in range(n_lanes):
        overlap[0, v] = overlap[1, v] = overlap[2, v] = 0
    for row in range(psi.shape[0]):
        sign = psi.dtype.type(1) - psi.dtype.type(2) * psi.dtype.type(_parity(np.uint64(row) & z))
        for v in range(n_lanes):
            overlap[2, v] += sign * (co[row, v] * psi[row, v + n_lanes] - co[row, v + n_lanes] * psi[row, v])


@_compiled
def _add_gradients(
    program: FusedProgram, runs: Runs, results: Results, place: tuple[int, int, int], room: Room
) -> None:
    """Turn each axis through the later turns of its product, and add the overlap along it.

    The place is the first and the last (excluded) turn, and the first column.
    """
    overlap, column, axis = room.overlap, place[2], program.axis
    for lane in range(overlap.shape[1]):
        total = (1.0, 0.0, 0.0, 0.0)
        for turn in range(place[1] - 1, place[0] - 1, -1):
            if program.rotation[turn] >= 0:
                # The quaternion of `total`, and its cross products with the axis.
                w, i, j, k = total[0], -total[3], total[2], -total[1]
                nx, ny, nz = 1.0 * (axis[turn] == 0), 1.0 * (axis[turn] == 1), 1.0 * (axis[turn] == 2)
                tx, ty, tz = 2 * (j * nz - k * ny), 2 * (k * nx - i * nz), 2 * (i * ny - j * nx)
                along = (nx + w * tx + j * tz - k * ty) * float(overlap[0, lane])
                along += (ny + w * ty + k * tx - i * tz) * float(overlap[1, lane])
                along += (nz + w * tz + i * ty - j * tx) * float(overlap[2, lane])
                results.gradient[column + lane, program.rotation[turn]] += along
            half = _half_angle(program, runs, turn, column + lane)
            total = _times(total, _turn_matrix(axis[turn], half))


@_compiled
def _co_state(outcome: Array, slopes: Array, column: int, room: Room) -> None:
    """Write sum_k slope_k Z_k psi."""
    psi, co, matrix = room.state, room.co_state, room.matrix
    n_lanes = psi.shape[1] // 2
    for row in range(psi.shape[0]):
        for v in range(n_lanes):
            matrix[0, v] = 0
        for k in range(outcome.size):
            sign = psi.dtype.type(1) - psi.dtype.type(2) * psi.dtype.type(
                _parity(np.uint64(row) & np.uint64(outcome[k]))
            )
            for v in range(n_lanes):
                matrix[0, v] += sign * slopes[k, column + v]
        for v in range(n_lanes):
            co[row, v] = matrix[0, v] * psi[row, v]
            co[row, v + n_lanes] = matrix[0, v] * psi[row, v + n_lanes]


@_compiled
def _invert(matrix: Array) -> None:
    for part in range(1, 4):
        for lane in range(matrix.shape[1]):
            matrix[part, lane] = -matrix[part, lane]


@_compiled
def _walk_back(program: FusedProgram, runs: Runs, results: Results, column: int, room: Room) -> None:
    psi, co, matrix, operations, start = room.state, room.co_state, room.matrix, program.operations, program.start
    for number in range(operations.shape[0] - 1, -1, -1):
        kind, first, last = operations[number, 0], operations[number, 3], operations[number, 4]
        x, z = np.uint64(operations[number, 1]), np.uint64(operations[number, 2])
        if kind == PRODUCT:
            _overlaps(psi, co, x, z, room.overlap)
            _add_gradients(program, runs, results, (first, last, column), room)
            _product(program, runs, (first, last), column, matrix)
            _invert(matrix)
            _apply(psi, x, z, matrix)
            _apply(co, x, z, matrix)
        elif kind == ZZ:
            _parity_overlap(psi, co, z, room.overlap)
            _add_gradients(program, runs, results, (first, last, column), room)
            _half_turns(program, runs, first, column, matrix)
            _invert(matrix)
            _phase(psi, z, matrix)
            _phase(co, z, matrix)
        elif kind == CZ:
            _change_signs(psi, x, z)
            _change_signs(co, x, z)
    for qubit in range(start.shape[0]):
        if start[qubit, 1] > start[qubit, 0]:
            bit = _ONE << np.uint64(qubit)
            _overlaps(psi, co, bit, bit, room.overlap)
            _add_gradients(program, runs, results, (start[qubit, 0], start[qubit, 1], column), room)


@_entry
def gradient_blocks(part: tuple[int, int], program: FusedProgram, runs: Runs, results: Results, room: Room) -> None:
    """Add the derivatives of sum_k slope_k <Z_k> by every angle, for blocks of runs.

    Arguments are those of `evolve_blocks`; the runs must be without relaxation. Runs whose final states are not among
    the results are evolved again.
    """
    n_lanes = room.matrix.shape[1]
    for number in range(part[0], runs.angles.shape[0] // n_lanes, part[1]):
        column = number * n_lanes
        if results.kept.size:
            for row in range(room.state.shape[0]):
                for v in range(2 * n_lanes):
                    room.state[row, v] = results.kept[number, row, v]
        else:
            _prepare(program, runs, column, room)
            _evolve(program, runs, column, room)
        _co_state(program.outcome, results.slopes, column, room)
        _walk_back(program, runs, results, column, room)


@_entry
def mean_blocks(part: tuple[int, int], program: FusedProgram, runs: Runs, results: Results, room: Room) -> None:
    """Write minus the mean of every rotation's Pauli operator, in the state that it acts on, as `gradient`.

    Arguments are those of `evolve_blocks`; the runs must be without relaxation, and `gradient` zero. The overlap of a
    state with i times itself is minus the mean.
    """
    n_lanes = room.matrix.shape[1]
    for number in range(part[0], runs.angles.shape[0] // n_lanes, part[1]):
        column = number * n_lanes
        _prepare(program, runs, column, room)
        _evolve(program, runs, column, room)
        for row in range(room.state.shape[0]):
            for v in range(n_lanes):
                room.co_state[row, v] = -room.state[row, v + n_lanes]
                room.co_state[row, v + n_lanes] = room.state[row, v]
        _walk_back(program, runs, results, column, room)
