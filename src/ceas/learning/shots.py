"""Finite shots, each with its own sample, shifted parameter and Bell pairs, drawn exactly from the law of its circuit.

A single shot of a circuit with Pauli noise is a pure-state run in which random Pauli errors are inserted. Two facts
about Clifford gates make that cheap.

- The CNOTs never touch the state. With U the product of the CNOTs so far, the state is kept as U^-1 |psi>, and every
  later rotation is about U^-1 P U instead of P, which is again a Pauli: X masks add for the control, Z masks for the
  target. So all CNOTs become bit masks that are known before the first shot.
- The errors never touch the state either. Pushed to the end of the circuit, an error flips the sign of the angle of
  each later rotation whose Pauli anticommutes with it, and finally flips outcomes. Which signs and outcomes flip is
  linear over GF(2) in the error bits (the Pauli frame): one matrix product for all shots.

A shot then costs one pure-state evolution with signed angles. Amplitudes are rows and shots are the last, contiguous
axis. The rotations run in a loop (`lax.scan`) whose body gathers rows, so compile time does not grow with the circuit.

Random numbers come from a counter: those of a shot depend on the seed, its learner and its counter alone, never on the
other shots, the padding or the chunk size.

Sources: Knill, Nature 434, 39, 2005 (Pauli frame); Gidney, Quantum 5, 497, 2021 (frame simulation of many shots).
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition, partition_circuit

__all__ = ["Shots", "active_parameters", "sample_outcomes"]

# Amplitudes of one chunk: measured fastest on CPU, where the chunk's state should stay in the second-level cache.
_CHUNK_AMPLITUDES = 1 << 18
_MAX_CHUNK, _MIN_CHUNK = 4096, 128


class Shots(NamedTuple):
    """What to run: one entry per shot.

    Attributes:
        learner: Row of the noise table, shape (shots,).
        counter: Number of the shot within its learner, shape (shots,); together with `learner` and the seed it fixes
            the shot's random numbers, so it must not repeat within a learner.
        sample: Row of the features, shape (shots,).
        shift_parameter: Parameter that is shifted by a quarter turn, or -1 for none, shape (shots,).
        shift_sign: +1 or -1, the direction of that shift, shape (shots,).
        pair_werner: Werner parameters of the shot's own pairs, in the order of the partition's remote gates, shape
            (shots, pairs_per_shot), or the correlators (x, y, z) of Bell-diagonal pairs, shape
            (shots, pairs_per_shot, 3).
    """

    learner: npt.NDArray[np.int32]
    counter: npt.NDArray[np.uint32]
    sample: npt.NDArray[np.int32]
    shift_parameter: npt.NDArray[np.int32]
    shift_sign: npt.NDArray[np.int32]
    pair_werner: npt.NDArray[np.float32]


class _Program(NamedTuple):
    """A circuit with all its CNOTs moved into masks; R rotations, E error events, n qubits.

    An event is a place where X, Y or Z may strike, with equal probabilities or those of its pair. For a teleported CNOT
    "X" strikes the target and "Z" the control. Rows of error bits: the x bits of all events, then their z bits.
    """

    gather: npt.NDArray[np.int32]  # (R, 2 * 2**n): the row of (real, imaginary) that each row mixes with
    sign: npt.NDArray[np.float32]  # (R, 2 * 2**n): and the sign of the sine there
    parameter: npt.NDArray[np.int32]  # (R,)
    paulis: tuple[tuple[int, int], ...]  # (R,): X mask and Z mask of what each rotation turns about
    event_source: npt.NDArray[np.int32]  # (E,): row of (one-qubit by qubit, two-qubit by qubit, pairs)
    angle_flip: npt.NDArray[np.float32]  # (R, 2 E): error bits that flip the sign of each angle
    outcome_flip: npt.NDArray[np.float32]  # (n, 2 E): error bits that flip each outcome
    outcome_mask: tuple[int, ...]  # (n,): the outcome of a qubit is the parity of these bits of the sampled index


def sample_outcomes(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    features: npt.ArrayLike,
    noise: NoiseTable,
    *,
    shots: Shots,
    seed: int,
    chunk_size: int | None = None,
) -> npt.NDArray[np.uint32]:
    """Run every shot once and return its measured bitstring.

    The law of each outcome is that of the noisy circuit: depolarising errors after a qubit's rotations of a layer and
    after CNOTs, the channel of the shot's own pair after a teleported CNOT, readout flips. Compiles once per circuit,
    partition, number of learners, number of feature rows and chunk size; not per number of shots.

    Args:
        circuit: The circuit.
        partition: How it is spread over QPUs.
        theta: Parameters (rad), shape (n_parameters,).
        features: Encoding angles (rad), shape (samples, qubits).
        noise: Errors of the learners; its `pair_werner` is not used, since every shot brings its own.
        shots: The shots, any number of them.
        seed: Integer in [0, 2**64) from which, with `learner` and `counter`, all random numbers follow.
        chunk_size: Shots per compiled call; the default suits a CPU's cache. It does not change any outcome.

    Returns:
        Bitstrings, shape (shots,): bit q is the outcome of qubit q, so that Z_q = 1 - 2 bit_q.

    Raises:
        DomainError: A shape does not fit the circuit, or an index is outside its table.
    """
    parameters, angles = np.asarray(theta, dtype=np.float32), np.asarray(features, dtype=np.float32)
    _check_parameters(circuit, parameters, angles)
    _check_shots(shots, partition.pairs_per_shot, noise.one_qubit_error.shape[0], angles.shape[0], parameters.size)
    n_shots = shots.learner.size
    size = chunk_size or int(np.clip(_CHUNK_AMPLITUDES >> circuit.n_qubits, _MIN_CHUNK, _MAX_CHUNK))
    key_data = np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32)
    run = partial(_run_chunk, circuit, partition, theta=parameters, features=angles, noise=noise, key_data=key_data)
    chunks = [Shots._make(_pad(field[i : i + size], size) for field in shots) for i in range(0, n_shots, size)]
    # All chunks are dispatched before the first result is awaited.
    outcomes = [run(shots=chunk) for chunk in chunks]
    return np.concatenate([np.asarray(outcome) for outcome in outcomes] or [np.zeros(0, np.uint32)])[:n_shots]


def active_parameters(circuit: Circuit, *, observables: tuple[int, ...]) -> tuple[int, ...]:
    """Return the parameters on which <Z> of the observed qubits can depend, in increasing order.

    A rotation matters only if its Pauli anticommutes with an observable or with the Pauli of a later rotation that
    matters; that includes the light cone. The RZ of the last layer of a hardware-efficient circuit never matters.
    """
    program = _program(circuit, partition_circuit(circuit, "data"))
    relevant = [(0, program.outcome_mask[qubit]) for qubit in observables]
    active: list[int] = []
    for pauli, parameter in zip(reversed(program.paulis), reversed(program.parameter.tolist()), strict=True):
        if any(_anticommute(pauli, other) for other in relevant):
            relevant.append(pauli)
            active.append(parameter)
    return tuple(sorted(active))


def _check_parameters(circuit: Circuit, theta: npt.NDArray[np.float32], features: npt.NDArray[np.float32]) -> None:
    if theta.shape != (circuit.n_parameters,):
        raise DomainError(f"Argument `theta` must have shape ({circuit.n_parameters},), but has {theta.shape}.")
    if features.ndim != 2 or features.shape[1] != circuit.n_qubits:
        raise DomainError(f"Argument `features` must have {circuit.n_qubits} columns, but has shape {features.shape}.")


def _check_shots(shots: Shots, pairs_per_shot: int, n_learners: int, n_samples: int, n_parameters: int) -> None:
    n_shots = shots.learner.size
    for name, field in shots._asdict().items():
        expected: tuple[int, ...] = (n_shots, pairs_per_shot) if name == "pair_werner" else (n_shots,)
        if name == "pair_werner" and field.ndim == 3:
            expected = (*expected, 3)
        if field.shape != expected:
            raise DomainError(f"Argument `{name}` must have shape {expected}, but has {field.shape}.")
    _check_index("learner", shots.learner, 0, n_learners)
    _check_index("sample", shots.sample, 0, n_samples)
    _check_index("shift_parameter", shots.shift_parameter, -1, n_parameters)


def _check_index(name: str, index: npt.NDArray[np.int32], low: int, high: int) -> None:
    if index.size and not (low <= index.min() and index.max() < high):
        raise DomainError(f"Argument `{name}` must be in [{low}, {high}), but spans {index.min()} to {index.max()}.")


def _pad(field: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.generic]:
    """Fill the last chunk up with zeros, which are valid shots whose outcomes are cut off."""
    missing = size - field.shape[0]
    return np.pad(field, [(0, missing)] + [(0, 0)] * (field.ndim - 1)) if missing else field


@lru_cache(maxsize=64)
def _program(circuit: Circuit, partition: Partition) -> _Program:
    n = circuit.n_qubits
    # Masks of U^-1 X_q U and U^-1 Z_q U, with U the CNOTs so far.
    x_mask, z_mask = [1 << q for q in range(n)], [1 << q for q in range(n)]
    rotations: list[tuple[int, int]] = []  # (x mask, z mask) of each rotation's Pauli
    parameters: list[int] = []
    events: list[tuple[int, int, int]] = []  # (source, mask of its x bit, mask of its z bit)
    n_events_before: list[int] = []  # per rotation
    for gate, pair, has_error in zip(circuit.gates, partition.pair_index, circuit.has_error, strict=True):
        target = gate.qubits[-1]
        if gate.is_rotation:
            rotations.append((x_mask[target] if gate.kind == "ry" else 0, z_mask[target]))
            parameters.append(gate.parameter)
            n_events_before.append(len(events))
        else:
            control = gate.qubits[0]
            x_mask[control] ^= x_mask[target]
            z_mask[target] ^= z_mask[control]
        if pair >= 0:
            events.append((2 * n + pair, x_mask[target], z_mask[gate.qubits[0]]))
        if has_error:
            offset = 0 if gate.is_rotation else n
            events.extend((offset + q, x_mask[q], z_mask[q]) for q in gate.qubits)
    gather, sign = _rotation_tables(rotations, n)
    return _Program(
        gather=gather,
        sign=sign,
        parameter=np.array(parameters, dtype=np.int32),
        paulis=tuple(rotations),
        event_source=np.array([source for source, _, _ in events], dtype=np.int32),
        angle_flip=_flips(rotations, events, n_events_before),
        outcome_flip=_flips([(0, mask) for mask in z_mask], events, [len(events)] * n),
        outcome_mask=tuple(z_mask),
    )


def _rotation_tables(
    rotations: list[tuple[int, int]], n_qubits: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Write exp(-i t P / 2) a = cos(t/2) a + sin(t/2) (-i P a) as a signed gather on the rows (real, imaginary).

    For P = Z^z, -i P a has real part +-imag(a) and imaginary part -+real(a). For P = i X^x Z^z (a Y, so that x and z
    overlap in an odd number of bits), (-i P a)[k] = (-1)^parity(z & (k ^ x)) a[k ^ x] = -(-1)^parity(z & k) a[k ^ x].
    """
    index = np.arange(1 << n_qubits)
    gather = np.empty((len(rotations), 2 * index.size), dtype=np.int32)
    sign = np.empty(gather.shape, dtype=np.float32)
    for row, (x_mask, z_mask) in enumerate(rotations):
        parity = 1 - 2 * _parity(index & z_mask)
        real = index ^ x_mask
        imaginary = real + index.size
        gather[row] = np.concatenate([real, imaginary] if x_mask else [imaginary, real])
        sign[row] = np.concatenate([-parity, -parity] if x_mask else [parity, -parity])
    return gather, sign


def _flips(
    paulis: list[tuple[int, int]], events: list[tuple[int, int, int]], n_events_before: list[int]
) -> npt.NDArray[np.float32]:
    """Tell which error bits anticommute with each Pauli; shape (Paulis, 2 events), only events before it count."""
    flips = np.zeros((len(paulis), 2, len(events)), dtype=np.float32)
    for row, ((x_mask, z_mask), n_before) in enumerate(zip(paulis, n_events_before, strict=True)):
        for event, (_, x_error, z_error) in enumerate(events[:n_before]):
            flips[row, 0, event] = _anticommute((x_error, 0), (x_mask, z_mask))
            flips[row, 1, event] = _anticommute((0, z_error), (x_mask, z_mask))
    return flips.reshape(len(paulis), 2 * len(events))


def _anticommute(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Tell whether two Paulis, each an X mask and a Z mask, anticommute."""
    return ((first[0] & second[1]).bit_count() + (first[1] & second[0]).bit_count()) % 2 == 1


def _parity(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.bitwise_count(values).astype(np.int64) & 1


@partial(jax.jit, static_argnames=("circuit", "partition"))
def _run_chunk(
    circuit: Circuit,
    partition: Partition,
    *,
    theta: jax.Array,
    features: jax.Array,
    noise: NoiseTable,
    shots: Shots,
    key_data: jax.Array,
) -> jax.Array:
    program = _program(circuit, partition)
    n_events = program.event_source.size
    bits = _random_bits(key_data, shots, n_events + circuit.n_qubits + 1)
    errors = _error_bits(program, noise, shots, bits[:n_events])
    flip_angle = _parity_product(program.angle_flip, errors)
    amplitudes = _evolve(program, theta, _encode(features, shots), shots, flip_angle)
    n_amplitudes = 1 << circuit.n_qubits
    # 24 bits fit a float exactly, so that the number is below 1.
    uniform = (bits[-1] >> 8).astype(jnp.float32) * 2.0**-24
    index = _sample_index(amplitudes[:n_amplitudes] ** 2 + amplitudes[n_amplitudes:] ** 2, uniform)
    flip_outcome = _parity_product(program.outcome_flip, errors)
    misread = bits[n_events:-1] < _threshold(noise.readout_error[shots.learner].T)
    return _bitstring(program, index, flip_outcome ^ misread)


def _random_bits(key_data: jax.Array, shots: Shots, n_words: int) -> jax.Array:
    """Draw 32-bit words, shape (n_words, shots), each shot from its own key."""
    key = jax.random.wrap_key_data(key_data, impl="threefry2x32")

    def draw(learner: jax.Array, counter: jax.Array) -> jax.Array:
        shot_key = jax.random.fold_in(jax.random.fold_in(key, learner), counter)
        return jax.random.bits(shot_key, (n_words,), jnp.uint32)

    return jax.vmap(draw, out_axes=1)(jnp.asarray(shots.learner), jnp.asarray(shots.counter))


def _threshold(probability: jax.Array) -> jax.Array:
    """Return the word below which a random word falls with this probability (below 1)."""
    return (probability.astype(jnp.float32) * 2.0**32).astype(jnp.uint32)


def _error_bits(program: _Program, noise: NoiseTable, shots: Shots, bits: jax.Array) -> jax.Array:
    """Draw X, Y or Z with their probabilities at every event; x bits then z bits, shape (2 events, shots)."""
    one_qubit, two_qubit = (table[shots.learner].T / 3 for table in (noise.one_qubit_error, noise.two_qubit_error))
    if shots.pair_werner.ndim == 3:
        return _uneven_error_bits(program, jnp.concatenate([one_qubit, two_qubit]), shots.pair_werner, bits)
    # F = (1 + 3 w) / 4, and each of the three errors has probability (1 - F) / 3 = (1 - w) / 4.
    pairs = (1 - shots.pair_werner.T) / 4
    each = _threshold(jnp.concatenate([one_qubit, two_qubit, pairs.astype(one_qubit.dtype)]))[program.event_source]
    # Words below `each` are X, from there Y up to twice and Z up to three times that value.
    x_bits = bits < 2 * each
    z_bits = (bits >= each) & (bits < 3 * each)
    return jnp.concatenate([x_bits, z_bits])


def _uneven_error_bits(
    program: _Program, local: jax.Array, correlators: npt.NDArray[np.float32], bits: jax.Array
) -> jax.Array:
    """Do what `_error_bits` does where each Pauli of a pair has a probability of its own.

    `local` holds the probability of each Pauli for the other events, (rows, shots); correlators are (shots, pairs, 3).
    """
    x, y, z = jnp.moveaxis(jnp.asarray(correlators), (2, 1), (0, 1))
    paulis = jnp.maximum(jnp.stack([1 + x - y - z, 1 - x + y - z, 1 - x - y + z]) / 4, 0).astype(local.dtype)
    each = jnp.concatenate([jnp.broadcast_to(local, (3, *local.shape)), paulis], axis=1)
    # Words below the first limit are X, from there Y up to the second and Z up to the third.
    limits = _threshold(jnp.minimum(jnp.cumsum(each, axis=0), 1 - 2.0**-24))[:, program.event_source]
    return jnp.concatenate([bits < limits[1], (bits >= limits[0]) & (bits < limits[2])])


def _parity_product(matrix: npt.NDArray[np.float32], errors: jax.Array) -> jax.Array:
    """Multiply over GF(2); sums of zeros and ones are exact in floating point."""
    counts = jnp.asarray(matrix) @ errors.astype(jnp.float32)
    return (counts.astype(jnp.int32) & 1).astype(bool)


def _encode(features: jax.Array, shots: Shots) -> jax.Array:
    """Return the product state of RY(x_q) |0>, real, shape (2**qubits, shots)."""
    cosine, sine = (table[shots.sample].T for table in (jnp.cos(features / 2), jnp.sin(features / 2)))
    state = jnp.ones((1, shots.sample.shape[0]), features.dtype)
    for qubit in range(features.shape[1]):
        state = jnp.concatenate([cosine[qubit] * state, sine[qubit] * state])
    return state


def _evolve(program: _Program, theta: jax.Array, encoded: jax.Array, shots: Shots, flip_angle: jax.Array) -> jax.Array:
    """Apply the rotations; rows of the state are the real parts, then the imaginary parts."""
    # Half angles without shift and with the quarter turn up and down, shape (rotations, 3).
    half = (theta[program.parameter] / 2)[:, None] + jnp.array([0.0, np.pi / 4, -np.pi / 4], theta.dtype)

    def rotate(state: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        rows, sign, parameter, cosine, sine, flip = step
        variant = jnp.where(shots.shift_parameter == parameter, jnp.where(shots.shift_sign > 0, 1, 2), 0)
        signed_sine = jnp.where(flip, -sine[variant], sine[variant])
        return cosine[variant] * state + (sign[:, None] * signed_sine) * state[rows], None

    steps = (program.gather, program.sign, program.parameter, jnp.cos(half), jnp.sin(half), flip_angle)
    start = jnp.concatenate([encoded, jnp.zeros_like(encoded)])
    state, _ = lax.scan(rotate, start, tuple(map(jnp.asarray, steps)))
    return state


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


def _bitstring(program: _Program, index: jax.Array, flips: jax.Array) -> jax.Array:
    outcome = jnp.zeros_like(index)
    for qubit, mask in enumerate(program.outcome_mask):
        bit = (lax.population_count(index & np.uint32(mask)) & 1) ^ flips[qubit].astype(jnp.uint32)
        outcome = outcome | (bit << qubit)
    return outcome
