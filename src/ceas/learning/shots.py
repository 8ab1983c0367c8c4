"""Finite shots, each with its own sample, shifted rotation and Bell pairs, drawn exactly from the law of its circuit.

A single shot of a circuit with Pauli noise is a pure-state run in which random Pauli errors are inserted. Neither the
Clifford gates nor the errors touch the state: both move into Pauli strings and signs that are known beforehand
(`ceas.learning.tableau`), so that a shot costs one pure-state evolution with signed angles. Which signs and outcomes
flip is one matrix product over GF(2) for all shots. Only relaxation acts on the state, by quantum jumps
(`ceas.learning.frames`).

On a processor compiled loops run shots without relaxation (`ceas.learning.small_shots`), and JAX runs all others; both
draw the same random words.

Random numbers come from a counter: those of a shot depend on the seed, its learner and its counter alone, never on the
other shots, the padding or the chunk size.

Sources: Knill, Nature 434, 39, 2005 (Pauli frame); Gidney, Quantum 5, 497, 2021 (frame simulation of many shots).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from ceas.errors import DomainError
from ceas.learning.circuits import ROTATIONS, Circuit, Gate
from ceas.learning.frames import (
    Shift,
    Turns,
    check_relaxation,
    draw_errors,
    evolve,
    half_turns,
    parity_signs,
    probability_word,
    product_start,
    shifted_turns,
)
from ceas.learning.noise import NoiseTable, require_noise
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.small_shots import is_small, run_small
from ceas.learning.tableau import FrameProgram, PauliString, compile_frame

__all__ = ["Shots", "active_parameters", "active_rotations", "sample_outcomes"]

# Amplitudes of one chunk: measured fastest on CPU, where the chunk's state should stay in the second-level cache.
_CHUNK_AMPLITUDES = 1 << 18
_MAX_CHUNK, _MIN_CHUNK = 4096, 128
# From this size on a chunk has fewer shots, so that its state fits the memory of a small machine.
_LARGEST_STATE = 1 << 24


class Shots(NamedTuple):
    """What to run: one entry per shot.

    Attributes:
        learner: Row of the noise table, shape (shots,).
        counter: Number of the shot within its learner, shape (shots,); together with `learner` and the seed it fixes
            the shot's random numbers, so it must not repeat within a learner.
        sample: Row of the angles, shape (shots,).
        shift_rotation: Index into `circuit.rotations` of the rotation that is shifted by a quarter turn, or -1 for
            none, shape (shots,).
        shift_sign: +1 or -1, the direction of that shift, shape (shots,).
        pair_werner: Werner parameters of the shot's own pairs, in the order of the partition's uses, shape
            (shots, pairs_per_shot), or the correlators (x, y, z) of Bell-diagonal pairs, shape
            (shots, pairs_per_shot, 3).
    """

    learner: npt.NDArray[np.int32]
    counter: npt.NDArray[np.uint32]
    sample: npt.NDArray[np.int32]
    shift_rotation: npt.NDArray[np.int32]
    shift_sign: npt.NDArray[np.int32]
    pair_werner: npt.NDArray[np.float32]


def sample_outcomes(
    circuit: Circuit,
    partition: Partition,
    angles: npt.ArrayLike,
    noise: NoiseTable,
    *,
    shots: Shots,
    seed: int,
    states: npt.ArrayLike | None = None,
    chunk_size: int | None = None,
) -> npt.NDArray[np.uint32]:
    """Run every shot once and return its measured bitstring.

    The law of each outcome is that of the noisy circuit, see `ceas.learning.noise` and `ceas.learning.partition`, with
    the shot's own pairs. Up to 16 qubits without relaxation, loops that are compiled once for all circuits run on the
    processor (`ceas.learning.small_shots`). All else is compiled once per circuit, partition, number of learners,
    number of samples and chunk size; not per number of shots.

    Args:
        circuit: The circuit.
        partition: How it is spread over QPUs.
        angles: Angles of the rotations for each sample (rad), shape (samples, R), from `rotation_angles`.
        noise: Errors of the learners; its `pair_werner` is not used, since every shot brings its own.
        shots: The shots, any number of them.
        seed: Integer in [0, 2**64) from which, with `learner` and `counter`, all random numbers follow.
        states: Initial states of the samples in place of |0...0>, complex, normalised, shape (samples, 2**n), qubit 0
            major.
        chunk_size: Shots that run side by side; the default suits a CPU's cache. It does not change any outcome.

    Returns:
        Bitstrings, shape (shots,): bit q is the outcome of qubit q, so that Z_q = 1 - 2 bit_q.

    Raises:
        DomainError: A shape does not fit the circuit, an index is outside its table, or relaxation is no channel of
            that form (T2 above 2 T1).
    """
    rows = np.asarray(angles, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(circuit.rotations):
        raise DomainError(f"Argument `angles` must have {len(circuit.rotations)} columns, but has shape {rows.shape}.")
    if len(partition.gate_qpus) != len(circuit.gates):
        raise DomainError("Argument `partition` must belong to `circuit`, but has another number of gates.")
    require_noise(partition, noise, has_pairs=False)
    _check_shots(shots, partition.pairs_per_shot, noise.one_qubit_error.shape[0], *rows.shape)
    check_relaxation(noise)
    initial = None if states is None else _state_rows(states, rows.shape[0], circuit.n_qubits)
    if is_small(circuit, noise):
        return run_small(circuit, partition, rows, noise, shots=shots, seed=seed, initial=initial, lanes=chunk_size)
    n_shots = shots.learner.size
    size = chunk_size or _chunk_size(circuit.n_qubits)
    run = partial(
        _run_chunk,
        circuit,
        partition,
        turns=half_turns(rows),
        initial=initial,
        noise=noise._replace(pair_werner=jnp.zeros(0)),
        key_data=np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32),
    )
    chunks = [Shots._make(_pad(field[i : i + size], size) for field in shots) for i in range(0, n_shots, size)]
    # All chunks are dispatched before the first result is awaited.
    table = jnp.asarray(rows)
    shifts = [shifted_turns(table, chunk.sample, chunk.shift_rotation, chunk.shift_sign) for chunk in chunks]
    outcomes = [run(shift=shift, shots=chunk) for shift, chunk in zip(shifts, chunks, strict=True)]
    return np.concatenate([np.asarray(outcome) for outcome in outcomes] or [np.zeros(0, np.uint32)])[:n_shots]


def active_rotations(
    circuit: Circuit, *, observables: tuple[int, ...], has_relaxation: bool = False
) -> tuple[int, ...]:
    """Return the rotations on which <Z> of the observed qubits can depend, in increasing order.

    A rotation matters only if its Pauli anticommutes with an observable or with the Pauli of a later rotation that
    matters; that includes the light cone. The RZ of the last layer of a hardware-efficient circuit never matters.
    Relaxation mixes strings, so that there only the light cone counts, with qubits seen through Z alone.

    Args:
        circuit: The circuit.
        observables: Measured qubits.
        has_relaxation: Whether the noise has relaxation; errors of other kinds change nothing here.

    Returns:
        Indices into `circuit.rotations`.
    """
    if has_relaxation:
        return _light_cone(circuit, observables)
    program = compile_frame(circuit, partition_circuit(circuit, "data"), has_start=False)
    rotations = [step for step in program.steps if step.rotation >= 0]
    quarter_turns = [step.pauli for step in program.steps if step.rotation == -1]
    relevant: list[PauliString] = [program.outcome[qubit] for qubit in observables]
    # The quarter turns that make outcomes diagonal are undone on the outcomes themselves.
    for turn in reversed(quarter_turns):
        relevant = [turn.times(string) if string.anticommutes(turn) else string for string in relevant]
    active: list[int] = []
    for step in reversed(rotations):
        if any(step.pauli.anticommutes(other) for other in relevant):
            relevant.append(step.pauli)
            active.append(step.rotation)
    return tuple(sorted(active))


def active_parameters(
    circuit: Circuit, *, observables: tuple[int, ...], has_relaxation: bool = False
) -> tuple[int, ...]:
    """Return the parameters of all `active_rotations`, in increasing order."""
    active = active_rotations(circuit, observables=observables, has_relaxation=has_relaxation)
    gates = (circuit.gates[circuit.rotations[rotation]] for rotation in active)
    return tuple(sorted({parameter for gate in gates for parameter in gate.parameters}))


def _light_cone(circuit: Circuit, observables: tuple[int, ...]) -> tuple[int, ...]:
    # Whether the observables, carried backwards, are made of I and Z alone on each qubit that they have reached.
    is_plain = dict.fromkeys(observables, True)
    active: list[int] = []
    rotation = len(circuit.rotations)
    for gate in reversed(circuit.gates):
        rotation -= gate.is_rotation
        reached = [qubit for qubit in gate.qubits if qubit in is_plain]
        if not reached:
            continue
        stays_plain = all(is_plain[qubit] for qubit in reached)
        if gate.is_rotation and not (stays_plain and set(ROTATIONS[gate.kind]) == {"Z"}):
            active.append(rotation)
        _widen(is_plain, gate, stays_plain=stays_plain)
    return tuple(sorted(active))


def _widen(is_plain: dict[int, bool], gate: Gate, *, stays_plain: bool) -> None:
    """Carry the light cone backwards through a gate that it has reached."""
    if gate.kind == "swap":
        seen = [is_plain.pop(qubit, None) for qubit in gate.qubits]
        is_plain.update({q: plain for q, plain in zip(gate.qubits, reversed(seen), strict=True) if plain is not None})
    elif gate.kind in ("cz", "rzz", "rz", "z", "s", "sdg") and stays_plain:
        return
    else:
        is_permutation = gate.kind in ("cnot", "x", "y", "z")
        is_plain.update(dict.fromkeys(gate.qubits, stays_plain and is_permutation))


def _chunk_size(n_qubits: int) -> int:
    size = int(np.clip(_CHUNK_AMPLITUDES >> n_qubits, _MIN_CHUNK, _MAX_CHUNK))
    return max(1, min(size, _LARGEST_STATE >> n_qubits))


def _state_rows(states: npt.ArrayLike, n_samples: int, n_qubits: int) -> npt.NDArray[np.float32]:
    """Return the states as rows (real, imaginary) by samples, bit q of a row being qubit q."""
    given = np.asarray(states, dtype=np.complex64)
    if given.shape != (n_samples, 1 << n_qubits):
        raise DomainError(f"Argument `states` must have shape {(n_samples, 1 << n_qubits)}, but has {given.shape}.")
    if not np.allclose((np.abs(given) ** 2).sum(axis=1), 1, atol=1e-3):
        raise DomainError("Argument `states` must have rows of norm 1, but has others.")
    axes = (*reversed(range(1, n_qubits + 1)), 0)
    rows = given.reshape(n_samples, *(2,) * n_qubits).transpose(axes).reshape(-1, n_samples)
    return np.concatenate([rows.real, rows.imag])


def _check_shots(shots: Shots, pairs_per_shot: int, n_learners: int, n_samples: int, n_rotations: int) -> None:
    n_shots = shots.learner.size
    for name, field in shots._asdict().items():
        expected: tuple[int, ...] = (n_shots, pairs_per_shot) if name == "pair_werner" else (n_shots,)
        if name == "pair_werner" and field.ndim == 3:
            expected = (*expected, 3)
        if field.shape != expected:
            raise DomainError(f"Argument `{name}` must have shape {expected}, but has {field.shape}.")
    lowest, slack = (-1.0 if shots.pair_werner.ndim == 3 else -1 / 3), 1e-6  # rounding of single precision
    if not np.all((shots.pair_werner >= lowest - slack) & (shots.pair_werner <= 1 + slack)):
        found = f"{shots.pair_werner.min()} to {shots.pair_werner.max()}"
        raise DomainError(f"Argument `pair_werner` must be in [{lowest:.3g}, 1], but spans {found}.")
    _check_index("learner", shots.learner, 0, n_learners)
    _check_index("sample", shots.sample, 0, n_samples)
    _check_index("shift_rotation", shots.shift_rotation, -1, n_rotations)


def _check_index(name: str, index: npt.NDArray[np.int32], low: int, high: int) -> None:
    if index.size and not (low <= index.min() and index.max() < high):
        raise DomainError(f"Argument `{name}` must be in [{low}, {high}), but spans {index.min()} to {index.max()}.")


def _pad(field: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.generic]:
    """Fill the last chunk up with zeros, which are valid shots whose outcomes are cut off."""
    missing = size - field.shape[0]
    return np.pad(field, [(0, missing)] + [(0, 0)] * (field.ndim - 1)) if missing else field


@partial(jax.jit, static_argnames=("circuit", "partition"))
def _run_chunk(
    circuit: Circuit,
    partition: Partition,
    *,
    turns: Turns,
    shift: Shift,
    initial: jax.Array | None,
    noise: NoiseTable,
    shots: Shots,
    key_data: jax.Array,
) -> jax.Array:
    relaxes = noise.relaxation is not None
    learner, sample, pairs = jnp.asarray(shots.learner), jnp.asarray(shots.sample), jnp.asarray(shots.pair_werner)
    program = compile_frame(circuit, partition, has_start=initial is None, has_relaxation=relaxes)
    n_events, n_relaxations = program.event_source.size, len(program.relaxations)
    n_noise = n_events + n_relaxations
    bits = _random_bits(key_data, shots, n_noise + n_relaxations + circuit.n_qubits + 1)
    errors = draw_errors(program, noise, learner, pairs, bits[:n_noise])
    state = product_start(program, turns, sample, shift) if initial is None else initial[:, sample]
    jumps = (noise, learner, bits[n_noise : n_noise + n_relaxations]) if n_relaxations else None
    flips = parity_signs(np.array([step.flip for step in program.steps]).reshape(len(program.steps), -1), errors)
    state = evolve(program, turns, state, sample, flips, shift=shift, relaxation=jumps)
    n_amplitudes = 1 << circuit.n_qubits
    # 24 bits fit a float exactly, so that the number is below 1.
    uniform = (bits[-1] >> 8).astype(jnp.float32) * 2.0**-24
    index = _sample_index(state[:n_amplitudes] ** 2 + state[n_amplitudes:] ** 2, uniform)
    outcome = _outcome_bits(program, index) ^ parity_signs(program.outcome_flip, errors)
    return _pack(_read_out(noise, partition, learner, outcome, bits[-1 - circuit.n_qubits : -1]))


def _random_bits(key_data: jax.Array, shots: Shots, n_words: int) -> jax.Array:
    """Draw 32-bit words, shape (n_words, shots), each shot from its own key."""
    # The loops of `ceas.learning.shot_loops` make the same words.
    key = jax.random.wrap_key_data(key_data, impl="threefry2x32")

    def draw(learner: jax.Array, counter: jax.Array) -> jax.Array:
        shot_key = jax.random.fold_in(jax.random.fold_in(key, learner), counter)
        return jax.random.bits(shot_key, (n_words,), jnp.uint32)

    return jax.vmap(draw, out_axes=1)(jnp.asarray(shots.learner), jnp.asarray(shots.counter))


def _sample_index(probabilities: jax.Array, uniform: jax.Array) -> jax.Array:
    """Draw a row with the given (unnormalised) probabilities by halving the rows until one is left."""
    total = probabilities.sum(0)
    remaining = uniform * total
    index = jnp.zeros(uniform.shape, jnp.uint32)
    while probabilities.shape[0] > 1:
        half = probabilities.shape[0] // 2
        lower = probabilities[:half].sum(0)
        is_upper = remaining >= lower
        remaining = jnp.where(is_upper, remaining - lower, remaining)
        probabilities = jnp.where(is_upper, probabilities[half:], probabilities[:half])
        index = index | jnp.where(is_upper, np.uint32(half), np.uint32(0))
    return index


def _outcome_bits(program: FrameProgram, index: jax.Array) -> jax.Array:
    """Return the outcomes of all qubits without errors, shape (n, shots)."""
    masks = jnp.asarray(np.array([outcome.z for outcome in program.outcome], dtype=np.uint32))[:, None]
    is_negative = np.array([outcome.phase == 2 for outcome in program.outcome])[:, None]
    return ((lax.population_count(index & masks) & 1) == 1) ^ is_negative


def _read_out(
    noise: NoiseTable, partition: Partition, learner: jax.Array, outcome: jax.Array, words: jax.Array
) -> jax.Array:
    readout_error = noise.readout_error[:, np.array(partition.readout_qpus, dtype=np.int32)][learner]
    if readout_error.ndim == 2:
        return outcome ^ (words < probability_word(readout_error.T))
    limits = probability_word(jnp.minimum(jnp.moveaxis(readout_error, (2, 1), (0, 1)), 1 - 2.0**-24))
    return outcome ^ (words < jnp.where(outcome, limits[1], limits[0]))


def _pack(bits: jax.Array) -> jax.Array:
    weights = (np.uint32(1) << np.arange(bits.shape[0], dtype=np.uint32))[:, None]
    return (bits.astype(jnp.uint32) * weights).sum(axis=0, dtype=jnp.uint32)
