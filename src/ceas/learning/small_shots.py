"""Finite shots of small circuits on the processor, by the compiled loops of `ceas.learning.shot_loops`.

What a circuit, its noise and its samples have in common is worked out once here, as tables that shots look up. The
random words of a shot are those of `jax.random`, so that its outcome is the same wherever it runs, but for rounding.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Circuit
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.shot_loops import ShotProgram, ShotRows, ShotTables, run_blocks, shot_room
from ceas.learning.tableau import FrameProgram, Step, compile_frame
from ceas.learning.trajectories import n_threads

__all__ = ["is_small", "run_small"]

Float32Array = npt.NDArray[np.float32]
UInt32Array = npt.NDArray[np.uint32]

# Shots next to each other, measured quickest from 4 to 16 qubits: what is done once for all of them costs more than a
# cache that is too small.
_MOST_LANES, _FEWEST_LANES, _BLOCK_AMPLITUDES = 128, 8, 1 << 20
_MOST_QUBITS = 16
# A thread more pays from so many amplitudes on.
_THREAD_AMPLITUDES = 1 << 16


def is_small(circuit: Circuit, noise: NoiseTable) -> bool:
    """Tell whether the compiled loops run these shots, rather than JAX.

    On processors they take half to a tenth of its time from 4 to 16 qubits; larger states were not measured.
    Relaxation acts on the state, which they do not know; and accelerators stay with JAX.
    """
    return noise.relaxation is None and circuit.n_qubits <= _MOST_QUBITS and jax.default_backend() == "cpu"


def run_small(
    circuit: Circuit,
    partition: Partition,
    rows: Float32Array,
    noise: NoiseTable,
    *,
    shots: Any,
    seed: int,
    initial: Float32Array | None,
    lanes: int | None = None,
) -> UInt32Array:
    """Run every shot once; the arguments are those of `ceas.learning.shots.sample_outcomes`, which has checked them.

    Args:
        circuit: The circuit.
        partition: How it is spread over QPUs.
        rows: Angles (samples, R).
        noise: Errors of the learners, without relaxation.
        shots: The shots.
        seed: Seed of all random numbers.
        initial: Initial states, rows (real, imaginary) by samples, bit q of a row being qubit q; or None.
        lanes: Shots next to each other; the default suits the cache.
    """
    program = _program(circuit, partition, has_start=initial is None)
    half = rows / np.float32(2)
    tables = ShotTables(
        key=np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32),
        cosine=np.cos(half).ravel(),
        sine=np.sin(half).ravel(),
        n_rotations=rows.shape[1],
        initial=np.zeros((0, 0), np.float32) if initial is None else np.ascontiguousarray(initial.T),
        limits=_error_limits(noise),
        readout=_readout_limits(noise, partition),
    )
    n_shots, n_correlators = shots.learner.size, 3 if shots.pair_werner.ndim == 3 else 1
    pairs = shots.pair_werner.reshape(n_shots, math.prod(shots.pair_werner.shape[1:]))
    shot_rows = ShotRows(
        learner=np.ascontiguousarray(shots.learner, np.int32),
        counter=np.ascontiguousarray(shots.counter, np.uint32),
        sample=np.ascontiguousarray(shots.sample, np.int32),
        shift_rotation=np.ascontiguousarray(shots.shift_rotation, np.int32),
        shift_sign=np.ascontiguousarray(shots.shift_sign, np.int32),
        pairs=np.ascontiguousarray(pairs.T, np.float32),
        n_correlators=n_correlators,
        outcome=np.empty(n_shots, np.uint32),
    )
    _share(program, tables, shot_rows, lanes or _lanes(circuit.n_qubits))
    return shot_rows.outcome


def _lanes(n_qubits: int) -> int:
    return int(np.clip(_BLOCK_AMPLITUDES >> n_qubits, _FEWEST_LANES, _MOST_LANES))


def _share(program: ShotProgram, tables: ShotTables, rows: ShotRows, lanes: int) -> None:
    """Share the blocks among as many threads as there are processors; the compiled loops release the lock."""
    n_shots, n_sources = rows.learner.size, tables.limits.shape[0] // 3 + rows.pairs.shape[0] // rows.n_correlators
    n_parts = max(1, min(n_threads(), (n_shots << program.start.size) // _THREAD_AMPLITUDES))
    size = -(-n_shots // (n_parts * lanes)) * lanes
    parts = [(first, min(first + size, n_shots)) for first in range(0, n_shots, size)] if n_shots else []
    # All room is taken before the work starts, so that a call needs the same memory whichever thread is quicker.
    work = [(part, program, tables, rows, shot_room(program, n_sources, lanes)) for part in parts]
    if len(work) < 2:
        for arguments in work:
            run_blocks(*arguments)
        return
    with ThreadPoolExecutor(len(work)) as pool:
        list(pool.map(lambda arguments: run_blocks(*arguments), work))


@lru_cache(maxsize=64)
def _program(circuit: Circuit, partition: Partition, *, has_start: bool) -> ShotProgram:
    frame = compile_frame(circuit, partition, has_start=has_start)
    steps = _steps_that_count(frame)
    # The bits of all outcomes are in one word.
    outcome_bit = len(steps) if len(steps) % 32 + circuit.n_qubits <= 32 else -(-len(steps) // 32) * 32
    n_words = -(-(outcome_bit + circuit.n_qubits) // 32)
    by_bit = np.zeros((frame.outcome_flip.shape[1], 32 * n_words), dtype=bool)
    for number, step in enumerate(steps):
        by_bit[:, number] = step.flip
    by_bit[:, outcome_bit : outcome_bit + circuit.n_qubits] = frame.outcome_flip.T
    weights = np.uint32(1) << np.arange(32, dtype=np.uint32)
    # Error bits are the x bits of all events, then their z bits.
    flips = (by_bit.reshape(2, -1, n_words, 32) * weights).sum(axis=-1, dtype=np.uint32).swapaxes(0, 1)
    events = np.flatnonzero(flips.any(axis=(1, 2)))
    is_real = [has_start and bool(step.pauli.x) and step.pauli.phase % 2 == 1 for step in steps]
    return ShotProgram(
        start=np.array(frame.start, dtype=np.int64),
        steps=np.array([(step.rotation, *step.pauli) for step in steps], dtype=np.int64).reshape(-1, 4),
        n_real=[*is_real, False].index(False),
        source=frame.event_source[events].astype(np.int64),
        word=np.append(events, len(flips) + np.arange(circuit.n_qubits + 1)),
        flips=np.ascontiguousarray(flips[events]),
        outcome_bit=outcome_bit,
        columns=_columns(frame),
    )


def _columns(frame: FrameProgram) -> UInt32Array:
    """Return the outcomes that each bit of an index of amplitudes flips, and the outcomes of index 0."""
    rows = [[(outcome.z >> bit) & 1 for outcome in frame.outcome] for bit in range(frame.n_qubits)]
    rows.append([outcome.phase == 2 for outcome in frame.outcome])
    return np.array([sum(int(bit) << q for q, bit in enumerate(row)) for row in rows], dtype=np.uint32)


def _steps_that_count(frame: FrameProgram) -> list[Step]:
    """Return the steps without those that change no outcome: diagonal ones that commute with all that follow."""
    kept: list[Step] = []
    for step in reversed(frame.steps):
        if step.pauli.x or any(step.pauli.anticommutes(later.pauli) for later in kept):
            kept.append(step)
    return kept[::-1]


def _error_limits(noise: NoiseTable) -> UInt32Array:
    """Return the limits of gate errors: a third of all words at most each, so that three times as many are no more."""
    each = np.concatenate([np.asarray(t, np.float32) for t in (noise.one_qubit_error, noise.two_qubit_error)], axis=1)
    limits = np.minimum(_words(np.asarray(each / 3, np.float32)), np.uint32((1 << 32) // 3))
    return np.ascontiguousarray((limits.T[:, None] * np.array([[1], [2], [3]], np.uint32)).reshape(-1, len(limits)))


def _readout_limits(noise: NoiseTable, partition: Partition) -> UInt32Array:
    error = np.asarray(noise.readout_error, np.float32)[:, np.array(partition.readout_qpus, dtype=np.int64)]
    pairs = error if error.ndim == 3 else np.stack([error, error], axis=-1)
    return np.ascontiguousarray(_words(pairs).reshape(len(pairs), -1).T)


def _words(probability: Float32Array) -> UInt32Array:
    """Return the word below which a random word falls with this probability."""
    words = (probability * np.float32(2.0**32)).astype(np.uint64)
    return np.minimum(words, np.uint64(0xFFFFFFFF)).astype(np.uint32)
