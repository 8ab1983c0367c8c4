"""Compiled loops that run finite shots of small circuits, many next to each other.

A block is some shots side by side: every row has one number of each of them, so that the innermost loops run over shots
and use the processor's vector units. Rows of a state are the real parts of its amplitudes, then the imaginary parts.
Blocks are small enough for the first- or second-level cache, and everything that a shot needs is worked out in its
block: random words, errors, which signs they flip, the state, and what is read.

Sums and products are those written here, in this order: nothing is fused or reordered, so that an outcome does not
depend on where in a block its shot stands.

Source: Salmon et al., Proc. SC11, 16, 2011 (Threefry, counter-based random numbers).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["ShotProgram", "ShotRoom", "ShotRows", "ShotTables", "run_blocks", "shot_room"]

UInt32Array = npt.NDArray[np.uint32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class ShotProgram(NamedTuple):
    """A frame program (`ceas.learning.tableau`) without relaxation as arrays.

    Attributes:
        start: For each qubit, the rotation RY that prepares it from |0>, or -1, shape (n,).
        steps: Rotation (or -1 for a quarter turn), x mask, z mask and phase of each step, shape (steps, 4).
        n_real: Number of first steps that keep real amplitudes real.
        source: Row of the limits of each event that matters, shape (events,).
        word: Which random word of the shot each of them takes, and then those that misread each qubit and that of the
            outcome, shape (events + n + 1,).
        flips: What X and Z of each event flip, a bit for each step and each outcome, shape (events, 2, words).
        outcome_bit: Bit of the outcome of qubit 0; the others follow in the same word.
        columns: Outcomes that each bit of an index of amplitudes flips, and those of index 0 last, shape (n + 1,).
    """

    start: Int64Array
    steps: Int64Array
    n_real: int
    source: Int64Array
    word: Int64Array
    flips: UInt32Array
    outcome_bit: int
    columns: UInt32Array


class ShotTables(NamedTuple):
    """What shots look up.

    Attributes:
        key: Two words of the seed, shape (2,).
        cosine: Cosine of half of each angle, sample by sample, shape (samples * R,).
        sine: Its sine.
        n_rotations: R.
        initial: Initial states, real parts and then imaginary parts, shape (samples, 2 * 2**n); or of size 0.
        limits: Words below which a random word is X, X or Y, and any error, for each kind of gate error, shape
            (3 * kinds, learners).
        readout: Words below which the outcomes 0 and 1 of each qubit are misread, shape (2 * n, learners).
    """

    key: UInt32Array
    cosine: Float32Array
    sine: Float32Array
    n_rotations: int
    initial: Float32Array
    limits: UInt32Array
    readout: UInt32Array


class ShotRows(NamedTuple):
    """Shots, one entry each, and their outcomes, which are written.

    Attributes:
        learner: Row of the limits.
        counter: Number within the learner.
        sample: Row of the angles.
        shift_rotation: Rotation that is shifted by a quarter turn, or -1.
        shift_sign: Direction of the shift.
        pairs: Werner parameters of the shot's pairs, or three correlators of each, shape (pairs or 3 * pairs, shots).
        n_correlators: 1 or 3.
        outcome: Bitstrings.
    """

    learner: npt.NDArray[np.int32]
    counter: UInt32Array
    sample: npt.NDArray[np.int32]
    shift_rotation: npt.NDArray[np.int32]
    shift_sign: npt.NDArray[np.int32]
    pairs: Float32Array
    n_correlators: int
    outcome: UInt32Array


class ShotRoom(NamedTuple):
    """Working space of one thread, for blocks of some lanes.

    Attributes:
        state: Shape (2 * 2**n, lanes).
        law: Probabilities of the amplitudes, shape (2**n, lanes).
        rest: Probability that is left to share out, shape (lanes,).
        lower: Sum of the lower half of the probabilities, shape (lanes,).
        upper: One where the upper half is taken, else zero, shape (lanes,).
        turn: Cosine and sine of a step, shape (2, lanes).
        key: The shots' keys, shape (2, lanes).
        word: Random words of the outcomes, of which the first serves errors before; shape (n + 1, lanes).
        limits: Limits of all events, shape (3 * sources, lanes).
        flips: Steps and outcomes that are flipped, shape (words, lanes).
        bits: Outcomes, shape (lanes,).
        place: Learner, and place of the sample's first angle in the tables, shape (2, lanes).
        shifted: Rotation that is shifted, shape (lanes,).
        shift: Root of a half with the sign of the shift, shape (lanes,).
    """

    state: Float32Array
    law: Float32Array
    rest: Float32Array
    lower: Float32Array
    upper: Float32Array
    turn: Float32Array
    key: UInt32Array
    word: UInt32Array
    limits: UInt32Array
    flips: UInt32Array
    bits: UInt32Array
    place: npt.NDArray[np.uint64]
    shifted: npt.NDArray[np.int32]
    shift: Float32Array


def shot_room(program: ShotProgram, n_sources: int, lanes: int) -> ShotRoom:
    """Return working space for blocks of some lanes, with that many kinds of events."""
    n_amplitudes = 1 << program.start.size
    return ShotRoom(
        state=np.empty((2 * n_amplitudes, lanes), np.float32),
        law=np.empty((n_amplitudes, lanes), np.float32),
        rest=np.empty(lanes, np.float32),
        lower=np.empty(lanes, np.float32),
        upper=np.empty(lanes, np.float32),
        turn=np.empty((2, lanes), np.float32),
        key=np.empty((2, lanes), np.uint32),
        word=np.empty((program.start.size + 1, lanes), np.uint32),
        limits=np.empty((3 * n_sources, lanes), np.uint32),
        flips=np.empty((program.flips.shape[2], lanes), np.uint32),
        bits=np.empty(lanes, np.uint32),
        place=np.empty((2, lanes), np.uint64),
        shifted=np.empty(lanes, np.int32),
        shift=np.empty(lanes, np.float32),
    )


# Nothing is allocated and no array is sliced in here: that would take most of the compile time.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}


def _compiled(function: _Function) -> _Function:
    """Compile a function that only compiled functions call."""
    result: _Function = njit(**_INNER)(function)
    return result


_NONE = np.uint32(0)
_ROOT_HALF = np.float32(np.sqrt(0.5))
_ZERO, _ONE, _QUARTER = np.float32(0), np.float32(1), np.float32(0.25)
_WORDS = np.float32(2.0**32)
# The largest single below 1, times the number of words.
_LAST_WORD = np.float32((1 - 2.0**-24) * 2.0**32)
_THIRD_OF_WORDS = np.uint32((1 << 32) // 3)
_UNIFORM = np.float32(2.0**-24)


@_compiled
def _rotated(value: np.uint32, places: np.uint32) -> np.uint32:
    return np.uint32(np.uint32(value << places) | np.uint32(value >> np.uint32(np.uint32(32) - places)))


@_compiled
def _four_rounds(x: np.uint32, y: np.uint32, places: tuple[np.uint32, ...]) -> tuple[np.uint32, np.uint32]:
    for place in places:
        x = np.uint32(x + y)
        y = np.uint32(_rotated(y, place) ^ x)
    return x, y


_EVEN = (np.uint32(13), np.uint32(15), np.uint32(26), np.uint32(6))
_ODD = (np.uint32(17), np.uint32(29), np.uint32(16), np.uint32(24))
_PARITY_OF_KEYS = np.uint32(0x1BD11BDA)


@_compiled
def _threefry(first: np.uint32, second: np.uint32, x: np.uint32, y: np.uint32) -> tuple[np.uint32, np.uint32]:
    """Encrypt a counter of two words with a key of two words, in 20 rounds."""
    third = np.uint32(np.uint32(first ^ second) ^ _PARITY_OF_KEYS)
    x, y = np.uint32(x + first), np.uint32(y + second)
    x, y = _four_rounds(x, y, _EVEN)
    x, y = np.uint32(x + second), np.uint32(y + np.uint32(third + np.uint32(1)))
    x, y = _four_rounds(x, y, _ODD)
    x, y = np.uint32(x + third), np.uint32(y + np.uint32(first + np.uint32(2)))
    x, y = _four_rounds(x, y, _EVEN)
    x, y = np.uint32(x + first), np.uint32(y + np.uint32(second + np.uint32(3)))
    x, y = _four_rounds(x, y, _ODD)
    x, y = np.uint32(x + second), np.uint32(y + np.uint32(third + np.uint32(4)))
    x, y = _four_rounds(x, y, _EVEN)
    return np.uint32(x + third), np.uint32(y + np.uint32(first + np.uint32(5)))


@_compiled
def _start(tables: ShotTables, rows: ShotRows, first: int, n: int, room: ShotRoom) -> None:
    """Look up what the shots are, and fold learner and counter into the seed, as `jax.random.fold_in` does."""
    key, place, word = room.key, room.place, room.word
    for v in range(n):
        place[0, v] = rows.learner[first + v]
        place[1, v] = np.int64(rows.sample[first + v]) * tables.n_rotations
        room.shifted[v] = rows.shift_rotation[first + v]
        room.shift[v] = _ROOT_HALF if rows.shift_sign[first + v] > 0 else -_ROOT_HALF
        key[0, v], key[1, v] = tables.key[0], tables.key[1]
        word[0, v], word[1, v] = np.uint32(place[0, v]), rows.counter[first + v]
    for fold in range(2):
        for v in range(n):
            key[0, v], key[1, v] = _threefry(key[0, v], key[1, v], _NONE, word[fold, v])


@_compiled
def _set_word(number: int, row: int, n: int, room: ShotRoom) -> None:
    """Draw one of the words that `jax.random.bits` has for the shots' keys."""
    key, word, place = room.key, room.word, np.uint32(number)
    for v in range(n):
        one, two = _threefry(key[0, v], key[1, v], _NONE, place)
        word[row, v] = np.uint32(one ^ two)


@_compiled
def _set_werner_limits(pairs: Float32Array, row: int, span: tuple[int, int], place: int, limits: UInt32Array) -> None:
    """Write the words below which a pair has the error X, X or Y, and any.

    The span is the first shot and the number of shots, and the place is the first row of three.
    """
    first, n = span
    for v in range(n):
        # F = (1 + 3 w) / 4, and each of the three errors has probability (1 - F) / 3 = (1 - w) / 4.
        error = _ONE - pairs[row, first + v]
        word = np.uint32((error if error > _ZERO else _ZERO) * _QUARTER * _WORDS)
        word = _THIRD_OF_WORDS if word > _THIRD_OF_WORDS else word
        limits[place, v] = word
        limits[place + 1, v] = word + word
        limits[place + 2, v] = word + word + word


@_compiled
def _set_pair_limits(pairs: Float32Array, row: int, span: tuple[int, int], place: int, limits: UInt32Array) -> None:
    """Do the same for a pair that is given by its three correlators."""
    first, n = span
    for v in range(n):
        x, y, z = pairs[row, first + v], pairs[row + 1, first + v], pairs[row + 2, first + v]
        x_error = max((_ONE + x - y - z) * _QUARTER, _ZERO)
        y_error = x_error + max((_ONE - x + y - z) * _QUARTER, _ZERO)
        z_error = y_error + max((_ONE - x - y + z) * _QUARTER, _ZERO)
        limits[place, v] = np.uint32(min(x_error * _WORDS, _LAST_WORD))
        limits[place + 1, v] = np.uint32(min(y_error * _WORDS, _LAST_WORD))
        limits[place + 2, v] = np.uint32(min(z_error * _WORDS, _LAST_WORD))


@_compiled
def _set_limits(tables: ShotTables, rows: ShotRows, first: int, n: int, room: ShotRoom) -> None:
    limits, learner, n_known = room.limits, room.place, tables.limits.shape[0]
    for row in range(n_known):
        for v in range(n):
            limits[row, v] = tables.limits[row, learner[0, v]]
    for row in range(0, rows.pairs.shape[0], rows.n_correlators):
        if rows.n_correlators == 1:
            _set_werner_limits(rows.pairs, row, (first, n), n_known + 3 * row, limits)
        else:
            _set_pair_limits(rows.pairs, row, (first, n), n_known + row, limits)


@_compiled
def _draw(program: ShotProgram, n: int, room: ShotRoom) -> None:
    """Draw all errors and note which steps and outcomes they flip; then draw and keep the words of the outcomes."""
    word, limits, flips, n_events = room.word, room.limits, room.flips, program.source.size
    for part in range(flips.shape[0]):
        for v in range(n):
            flips[part, v] = _NONE
    for number in range(program.word.size):
        is_event = number < n_events
        _set_word(program.word[number], 0 if is_event else number - n_events, n, room)
        if is_event:
            row = 3 * program.source[number]
            for part in range(flips.shape[0]):
                by_x, by_z = program.flips[number, 0, part], program.flips[number, 1, part]
                for v in range(n):
                    has_x = by_x if word[0, v] < limits[row + 1, v] else _NONE
                    has_z = by_z if (word[0, v] >= limits[row, v]) & (word[0, v] < limits[row + 2, v]) else _NONE
                    flips[part, v] ^= has_x ^ has_z


@_compiled
def _set_turn(tables: ShotTables, rotation: int, n: int, room: ShotRoom) -> None:
    """Write cosine and sine of half of every shot's angle of a rotation."""
    turn, base = room.turn, room.place
    # Looking up is a loop of its own, without vector instructions.
    for v in range(n):
        index = base[1, v] + np.uint64(rotation)
        turn[0, v], turn[1, v] = tables.cosine[index], tables.sine[index]
    for v in range(n):
        # Constants are chosen, not values: of that the compiler makes no branch.
        is_shifted = room.shifted[v] == rotation
        kept, moved = _ROOT_HALF if is_shifted else _ONE, _ONE if is_shifted else _ZERO
        cosine, sine, moved = turn[0, v], turn[1, v], moved * room.shift[v]
        turn[0, v], turn[1, v] = kept * cosine - moved * sine, kept * sine + moved * cosine


@_compiled
def _prepare(tables: ShotTables, rows: ShotRows, first: int, n: int, room: ShotRoom) -> None:
    """Write the initial states, or |0...0> as far as a product state starts from it."""
    state = room.state
    size = state.shape[0] // 2
    if tables.initial.size:
        for v in range(n):
            sample = rows.sample[first + v]
            for row in range(2 * size):
                state[row, v] = tables.initial[sample, row]
        return
    for v in range(n):
        state[0, v] = _ONE
    for row in range(size, 2 * size):
        for v in range(n):
            state[row, v] = _ZERO


@_compiled
def _add_qubit(state: Float32Array, qubit: int, n: int, turn: Float32Array) -> None:
    for row in range(1 << qubit):
        for v in range(n):
            amplitude = state[row, v]
            state[row, v] = turn[0, v] * amplitude
            state[row + (1 << qubit), v] = turn[1, v] * amplitude


@_compiled
def _parity(bits: np.uint64) -> np.uint64:
    for shift in (np.uint64(32), np.uint64(16), np.uint64(8), np.uint64(4), np.uint64(2), np.uint64(1)):
        bits ^= bits >> shift
    return bits & np.uint64(1)


@_compiled
def _low_bit(mask: np.uint64) -> np.uint64:
    low = np.uint64(0)
    while not (mask >> low) & np.uint64(1):
        low += np.uint64(1)
    return low


@_compiled
def _turn_rows(
    state: Float32Array, pauli: tuple[np.uint64, np.uint64, np.uint64], n: int, n_turns: int, turn: Float32Array
) -> None:
    """Turn pairs of rows: exp(-i a P / 2) = cos - i sin P with P = i^phase X^x Z^z, given by x, z and phase.

    A diagonal string mixes real and imaginary part of each amplitude, one with an odd number of Y real parts with real
    parts and imaginary ones with imaginary ones, and others real with imaginary parts of two amplitudes.
    """
    x, z, phase = pauli
    size, one = np.uint64(state.shape[0] // 2), np.uint64(1)
    half, is_odd = size >> one, phase & one
    low = _low_bit(x) if x else np.uint64(0)
    is_negative = phase >> one
    for number in range(n_turns):
        up = np.uint64(number)
        down = up + size
        source = up
        if x:
            is_second = np.uint64(up >= half)
            pair = up - is_second * half
            up = ((pair >> low) << (low + one)) | (pair & ((one << low) - one))
            source = down = up ^ x
            if is_odd:
                up, down = up + is_second * size, down + is_second * size
            elif is_second:
                up, down = down, up + size
            else:
                down += size
        if _parity(source & z) ^ is_negative:
            up, down = down, up
        for v in range(n):
            above, below = state[up, v], state[down, v]
            state[up, v] = turn[0, v] * above + turn[1, v] * below
            state[down, v] = turn[0, v] * below - turn[1, v] * above


@_compiled
def _evolve(program: ShotProgram, tables: ShotTables, n: int, room: ShotRoom) -> None:
    """Prepare the qubits in turn, where no states are given, and apply all steps."""
    turn, flips, size, n_qubits = room.turn, room.flips, room.state.shape[0] // 2, program.start.size
    for number in range(n_qubits if tables.initial.size else 0, n_qubits + program.steps.shape[0]):
        step = number - n_qubits
        rotation = program.start[number] if step < 0 else program.steps[step, 0]
        if rotation >= 0:
            _set_turn(tables, rotation, n, room)
        else:
            # A qubit that stays as it is, or a quarter turn.
            for v in range(n):
                turn[0, v], turn[1, v] = _ONE if step < 0 else _ROOT_HALF, _ZERO if step < 0 else _ROOT_HALF
        if step < 0:
            _add_qubit(room.state, number, n, turn)
            continue
        word, bit = step // 32, np.uint32(1) << np.uint32(step % 32)
        for v in range(n):
            turn[1, v] = -turn[1, v] if flips[word, v] & bit else turn[1, v]
        x, z, phase = program.steps[step, 1], program.steps[step, 2], program.steps[step, 3]
        n_turns = size // 2 if step < program.n_real else size
        _turn_rows(room.state, (np.uint64(x), np.uint64(z), np.uint64(phase)), n, n_turns, turn)


@_compiled
def _sample(program: ShotProgram, n: int, room: ShotRoom) -> None:
    """Draw an index by halving the amplitudes until one is left, and write the outcomes that belong to it."""
    state, law, bits, n_qubits = room.state, room.law, room.bits, program.start.size
    rest, lower, upper = room.rest, room.lower, room.upper
    size, last = 1 << n_qubits, room.word.shape[0] - 1
    for v in range(n):
        rest[v], bits[v] = _ZERO, program.columns[n_qubits]
    for row in range(size):
        for v in range(n):
            law[row, v] = state[row, v] * state[row, v] + state[row + size, v] * state[row + size, v]
            rest[v] += law[row, v]
    for v in range(n):
        # 24 bits fit a float exactly, so that the number is below 1.
        rest[v] *= np.float32(np.int32(room.word[last, v] >> np.uint32(8))) * _UNIFORM
    for level in range(n_qubits):
        half, column = size >> (level + 1), program.columns[n_qubits - 1 - level]
        for v in range(n):
            lower[v] = _ZERO
        for row in range(half):
            for v in range(n):
                lower[v] += law[row, v]
        for v in range(n):
            upper[v] = _ONE if rest[v] >= lower[v] else _ZERO
            bits[v] ^= column if rest[v] >= lower[v] else _NONE
            rest[v] -= upper[v] * lower[v]
        for row in range(half):
            for v in range(n):
                first, second = law[row, v], law[row + half, v]
                law[row, v] = second if upper[v] > _ZERO else first


@_compiled
def _read_out(program: ShotProgram, tables: ShotTables, n: int, room: ShotRoom) -> None:
    """Flip outcomes by errors, and misread them."""
    bits, limits, learner = room.bits, room.limits, room.place
    part, shift = program.outcome_bit // 32, np.uint32(program.outcome_bit % 32)
    for v in range(n):
        bits[v] ^= room.flips[part, v] >> shift
    for qubit in range(program.start.size):
        mask, zero, one = np.uint32(1) << np.uint32(qubit), 2 * qubit, 2 * qubit + 1
        for v in range(n):
            limits[0, v], limits[1, v] = tables.readout[zero, learner[0, v]], tables.readout[one, learner[0, v]]
        for v in range(n):
            limit = limits[1, v] if bits[v] & mask else limits[0, v]
            bits[v] ^= mask if room.word[qubit, v] < limit else _NONE


def _run_blocks(
    part: tuple[int, int], program: ShotProgram, tables: ShotTables, rows: ShotRows, room: ShotRoom
) -> None:
    """Run the shots from one number to another (excluded) and write their outcomes.

    Args:
        part: First and last shot.
        program: The circuit.
        tables: What shots look up.
        rows: The shots.
        room: Working space, whose lanes are the shots of a block.
    """
    lanes = room.bits.size
    for first in range(part[0], part[1], lanes):
        n = min(lanes, part[1] - first)
        _start(tables, rows, first, n, room)
        _set_limits(tables, rows, first, n, room)
        _draw(program, n, room)
        _prepare(tables, rows, first, n, room)
        _evolve(program, tables, n, room)
        _sample(program, n, room)
        _read_out(program, tables, n, room)
        for v in range(n):
            rows.outcome[first + v] = room.bits[v]


run_blocks = njit(**_OPTIONS)(_run_blocks)
