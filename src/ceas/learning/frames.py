"""Pure-state runs of a compiled frame program: random errors, rotations with signed angles, relaxation by jumps.

Rows of a state are the real parts of its amplitudes, then the imaginary parts; runs are the last, contiguous axis. The
steps run in a loop (`lax.scan`) whose body gathers rows, so compile time does not grow with the circuit.

Relaxation is no Pauli channel and does touch the state. It is generalised amplitude damping with the equilibrium's
weights, and the dephasing that is left, which is a Pauli Z. Its Kraus operators are a I + b Z without a jump and
X (1 - s Z) / 2 with a jump that leaves s = +1 (to |0>) or -1; which one acts is drawn with its exact probability given
the state. Pulled back they have the same form in the images of X and Z.

Sources: Nielsen and Chuang, 2010, section 8.3.5 (generalised amplitude damping); Dalibard, Castin and Molmer, PRL 68,
580, 1992 (quantum jumps).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from ceas.errors import DomainError
from ceas.learning.noise import NoiseTable
from ceas.learning.tableau import FrameProgram, PauliString

__all__ = [
    "Shift",
    "Turns",
    "apply_pauli",
    "check_relaxation",
    "draw_errors",
    "evolve",
    "half_turns",
    "parity_signs",
    "pauli_rows",
    "probability_word",
    "product_start",
    "shifted_turns",
]


# Rows and signs of all steps are worked out beforehand up to this many amplitudes, which is a little faster.
_LARGEST_TABLE = 1 << 16


class Turns(NamedTuple):
    """Cosines and sines of half the angles of all rotations.

    Attributes:
        cosine: Shape (R, samples).
        sine: Shape (R, samples).
    """

    cosine: jax.Array
    sine: jax.Array


class Shift(NamedTuple):
    """The rotation that each run shifts by a quarter turn, -1 for none, with cosine and sine there; shapes (runs,)."""

    rotation: jax.Array
    cosine: jax.Array
    sine: jax.Array


@jax.jit
def half_turns(angles: jax.Array) -> Turns:
    """Return cosines and sines of half of the angles (samples, R)."""
    half = angles.T / 2
    return Turns(jnp.cos(half), jnp.sin(half))


def check_relaxation(noise: NoiseTable) -> None:
    """Raise `DomainError` where relaxation is not a channel that runs of pure states can follow."""
    if noise.relaxation is None:
        return
    coherence, population, equilibrium = np.moveaxis(np.asarray(noise.relaxation, dtype=np.float64), -1, 0)
    inside = (population >= 0) & (population <= 1) & (np.abs(equilibrium) <= 1) & (coherence >= 0)
    # Phases decay at least at half the rate of populations, T2 <= 2 T1; rounding to single precision is forgiven.
    if not np.all(inside & (coherence**2 <= population + 1e-6)):
        wanted = "a coherence in [0, sqrt(population)], a population in [0, 1] and an equilibrium in [-1, 1]"
        raise DomainError(f"Argument `noise` must have a relaxation with {wanted}, but has {noise.relaxation}.")


def probability_word(probability: jax.Array) -> jax.Array:
    """Return the word below which a random word falls with this probability (below 1)."""
    return (probability.astype(jnp.float32) * 2.0**32).astype(jnp.uint32)


def draw_errors(
    program: FrameProgram,
    noise: NoiseTable,
    learner: jax.Array,
    pairs: jax.Array,
    words: jax.Array,
) -> jax.Array:
    """Draw the error bits of every run.

    Args:
        program: The program, with E events and D relaxations.
        noise: Errors of the learners.
        learner: Learner of each run, shape (runs,).
        pairs: Werner parameters of each run's pairs, shape (runs, pairs), or their correlators, (runs, pairs, 3).
        words: Random words of 32 bits, shape (E + D, runs).

    Returns:
        Error bits, shape (2 E + D, runs): X, Y or Z at every event with its probability.
    """
    n_events = program.event_source.size
    one_qubit, two_qubit = (table[learner].T / 3 for table in (noise.one_qubit_error, noise.two_qubit_error))
    bits = words[:n_events]
    if pairs.ndim == 3:
        errors = _uneven_error_bits(program, jnp.concatenate([one_qubit, two_qubit]), pairs, bits)
    else:
        # F = (1 + 3 w) / 4, and each of the three errors has probability (1 - F) / 3 = (1 - w) / 4.
        each_pair = jnp.maximum(1 - pairs.T, 0) / 4
        rows = jnp.concatenate([one_qubit, two_qubit, each_pair.astype(one_qubit.dtype)])
        # A third of all words at most, for three times as many must not overflow.
        each = jnp.minimum(probability_word(rows), np.uint32((1 << 32) // 3))[program.event_source]
        # Words below `each` are X, from there Y up to twice and Z up to three times that value.
        errors = jnp.concatenate([bits < 2 * each, (bits >= each) & (bits < 3 * each)])
    if not program.relaxations:
        return errors
    coherence, population, _ = _relaxation_rows(program, noise, learner)
    # Damping alone leaves sqrt(population) of the coherence; a Z with this probability takes the rest.
    lost = (1 - coherence / jnp.sqrt(jnp.maximum(population, 1e-30))) / 2
    return jnp.concatenate([errors, words[n_events:] < probability_word(jnp.clip(lost, 0, 0.5))])


def _uneven_error_bits(program: FrameProgram, local: jax.Array, correlators: jax.Array, bits: jax.Array) -> jax.Array:
    """Do what `draw_errors` does where each Pauli of a pair has a probability of its own.

    `local` holds the probability of each Pauli for the other events, (rows, runs); correlators are (runs, pairs, 3).
    """
    x, y, z = jnp.moveaxis(jnp.asarray(correlators), (2, 1), (0, 1))
    paulis = jnp.maximum(jnp.stack([1 + x - y - z, 1 - x + y - z, 1 - x - y + z]) / 4, 0).astype(local.dtype)
    each = jnp.concatenate([jnp.broadcast_to(local, (3, *local.shape)), paulis], axis=1)
    # Words below the first limit are X, from there Y up to the second and Z up to the third.
    limits = probability_word(jnp.minimum(jnp.cumsum(each, axis=0), 1 - 2.0**-24))[:, program.event_source]
    return jnp.concatenate([bits < limits[1], (bits >= limits[0]) & (bits < limits[2])])


def _relaxation_rows(program: FrameProgram, noise: NoiseTable, learner: jax.Array) -> jax.Array:
    """Return coherence, population and equilibrium of every relaxation of every run, shape (3, D, runs)."""
    qpu, arity = np.array([step.place for step in program.relaxations], dtype=np.int32).T
    return jnp.moveaxis(jnp.asarray(noise.relaxation)[:, qpu, arity][learner], (2, 1), (0, 1))


def parity_signs(matrix: npt.NDArray[np.bool_], errors: jax.Array) -> jax.Array:
    """Multiply over GF(2), shapes (rows, bits) and (bits, runs); sums of zeros and ones are exact in floating point."""
    counts = jnp.asarray(matrix, dtype=jnp.float32) @ errors.astype(jnp.float32)
    return (counts.astype(jnp.int32) & 1).astype(bool)


@jax.jit
def shifted_turns(angles: jax.Array, sample: jax.Array, shift_rotation: jax.Array, shift_sign: jax.Array) -> Shift:
    """Return what is special about each run's shifted rotation.

    A program of its own: within a larger one the compiler would repeat the trigonometry for every step.
    """
    half = angles[sample, jnp.maximum(shift_rotation, 0)] / 2
    quarter = jnp.array([np.pi / 4, -np.pi / 4], angles.dtype)
    half = half + quarter[jnp.where(shift_sign > 0, 0, 1)]
    return Shift(shift_rotation, jnp.cos(half), jnp.sin(half))


def product_start(program: FrameProgram, turns: Turns, sample: jax.Array, shift: Shift | None) -> jax.Array:
    """Return the product state of the qubits' first RY, real, shape (2 * 2**n, runs)."""
    state = jnp.ones((1, sample.shape[0]), turns.cosine.dtype)
    for rotation in program.start:
        if rotation < 0:
            state = jnp.concatenate([state, jnp.zeros_like(state)])
            continue
        cosine, sine = _turn(turns.cosine[rotation], turns.sine[rotation], rotation, sample, shift)
        state = jnp.concatenate([cosine * state, sine * state])
    return jnp.concatenate([state, jnp.zeros_like(state)])


def _turn(
    cosines: jax.Array, sines: jax.Array, rotation: Any, sample: jax.Array, shift: Shift | None
) -> tuple[jax.Array, jax.Array]:
    """Return cosine and sine of each run's half angle of one rotation."""
    cosine, sine = cosines[sample], sines[sample]
    if shift is None:
        return cosine, sine
    is_shifted = shift.rotation == rotation
    return jnp.where(is_shifted, shift.cosine, cosine), jnp.where(is_shifted, shift.sine, sine)


def pauli_rows(n_qubits: int, x: jax.Array, z: jax.Array, phase: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Write a -> i^phase X^x Z^z a as a signed gather on rows: which row each one takes, and its sign (int32).

    (X^x Z^z a)[k] = (-1)^parity(z & j) a[j] with j = k ^ x, and each factor i takes (re, im) to (-im, re).
    """
    n_amplitudes = 1 << n_qubits
    source = jnp.arange(n_amplitudes, dtype=jnp.uint32) ^ x
    parity = (lax.population_count(source & z) & 1).astype(jnp.int32)
    is_swapped = (phase & 1).astype(jnp.int32)
    offset = source.astype(jnp.int32)
    rows = jnp.concatenate([offset + is_swapped * n_amplitudes, offset + (1 - is_swapped) * n_amplitudes])
    # Quarter turns 1 and 2 change the sign of the real part, 2 and 3 that of the imaginary part.
    real, imaginary = (phase == 1) | (phase == 2), phase >= 2
    sign = 1 - 2 * parity
    return rows, jnp.concatenate([jnp.where(real, -sign, sign), jnp.where(imaginary, -sign, sign)])


def apply_pauli(state: jax.Array, n_qubits: int, masks: jax.Array, extra_phase: int = 0) -> jax.Array:
    """Return i^extra_phase P state, for P given by its x mask, z mask and phase."""
    rows, sign = pauli_rows(n_qubits, masks[0], masks[1], (masks[2] + extra_phase) & 3)
    return sign.astype(state.dtype)[:, None] * state[rows]


def evolve(
    program: FrameProgram,
    turns: Turns,
    state: jax.Array,
    sample: jax.Array,
    flip: jax.Array,
    *,
    shift: Shift | None = None,
    relaxation: tuple[NoiseTable, jax.Array, jax.Array] | None = None,
) -> jax.Array:
    """Apply all steps of the program.

    Args:
        program: The program.
        turns: Half turns of the rotations of all samples.
        state: Rows (2 * 2**n, runs).
        sample: Sample of each run, shape (runs,).
        flip: Whether the sign of each step changes, shape (steps, runs).
        shift: Shifted rotations, or None for none.
        relaxation: Noise, learner of each run and random words (D, runs); needed where the program relaxes.
    """
    if not program.steps:
        return state
    rotation = np.array([step.rotation for step in program.steps], dtype=np.int32)
    masks = jnp.asarray(_masks([step.pauli for step in program.steps]))

    def minus_i_pauli(masks: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows, sign = pauli_rows(program.n_qubits, masks[0], masks[1], (masks[2] + 3) & 3)
        return rows, sign.astype(state.dtype)

    def rotate(state: jax.Array, step: dict[str, jax.Array]) -> jax.Array:
        rows, sign = (step["rows"], step["sign"]) if "rows" in step else minus_i_pauli(step["masks"])
        return step["cosine"] * state + (sign[:, None] * step["sine"]) * state[rows]

    # What does not depend on the state is worked out before the loop, or the compiler repeats it for every element.
    cosine, sine = _step_turns(rotation, turns, sample, shift)
    steps = {"masks": masks, "cosine": cosine, "sine": jnp.where(flip, -sine, sine)}
    if len(program.steps) << program.n_qubits <= _LARGEST_TABLE:
        steps["rows"], steps["sign"] = jax.vmap(minus_i_pauli)(masks)
    if relaxation is None:
        state, _ = lax.scan(lambda carry, step: (rotate(carry, step), None), state, steps)
        return state
    is_relaxation = rotation == -2
    steps |= {"is_relaxation": jnp.asarray(is_relaxation), "flip": flip}
    steps |= _relaxation_steps(program, is_relaxation, *relaxation)

    def act(state: jax.Array, step: dict[str, jax.Array]) -> tuple[jax.Array, None]:
        def relax(state: jax.Array, step: dict[str, jax.Array]) -> jax.Array:
            return _relax(program.n_qubits, state, step)

        return lax.cond(step["is_relaxation"], relax, rotate, state, step), None

    state, _ = lax.scan(act, state, steps)
    return state


def _masks(paulis: list[PauliString]) -> npt.NDArray[np.uint32]:
    return np.array([tuple(pauli) for pauli in paulis], dtype=np.uint32).reshape(len(paulis), 3)


def _step_turns(
    rotation: npt.NDArray[np.int32], turns: Turns, sample: jax.Array, shift: Shift | None
) -> tuple[jax.Array, jax.Array]:
    """Return cosine and sine of every run's half angle at every step, shape (steps, runs)."""
    cosine, sine = (table[np.maximum(rotation, 0)][:, sample] for table in turns)
    # A step that is no rotation of the circuit is a quarter turn; that of a relaxation is not used.
    is_quarter = (rotation < 0)[:, None]
    if shift is not None:
        is_shifted = shift.rotation == rotation[:, None]
        cosine, sine = jnp.where(is_shifted, shift.cosine, cosine), jnp.where(is_shifted, shift.sine, sine)
    half = np.float32(np.sqrt(0.5))
    return jnp.where(is_quarter, half, cosine), jnp.where(is_quarter, half, sine)


def _relaxation_steps(
    program: FrameProgram, is_relaxation: npt.NDArray[np.bool_], noise: NoiseTable, learner: jax.Array, words: jax.Array
) -> dict[str, jax.Array]:
    """Spread what relaxations need over all steps; rotations get the entry of some relaxation and ignore it."""
    entry = np.maximum(np.cumsum(is_relaxation) - 1, 0)
    _, population, equilibrium = _relaxation_rows(program, noise, learner)
    return {
        "raising": jnp.asarray(_masks([step.raising for step in program.relaxations])[entry]),
        "damping": (1 - population).astype(jnp.float32)[entry],
        "down": ((1 + equilibrium) / 2).astype(jnp.float32)[entry],
        "uniform": ((words >> 8).astype(jnp.float32) * 2.0**-24)[entry],
    }


def _relax(n_qubits: int, state: jax.Array, step: dict[str, jax.Array]) -> jax.Array:
    """Let one qubit of every run relax, jump or not; states are normalised afterwards."""
    z_state = apply_pauli(state, n_qubits, step["masks"])
    frame = jnp.where(step["flip"], -1.0, 1.0).astype(state.dtype)
    z = jnp.clip(frame * (state * z_state).sum(0) / (state**2).sum(0), -1, 1)
    damping, down, uniform = step["damping"], step["down"], step["uniform"]
    excited, ground = (1 - z) / 2, (1 + z) / 2
    # The unit interval is cut into: a jump down, a jump up, no jump while damped down, no jump while damped up.
    jump_down = down * damping * excited
    jump = jump_down + (1 - down) * damping * ground
    still_down = jump + down * (1 - damping * excited)
    jumps = uniform < jump
    is_down = (uniform < jump_down) | (~jumps & (uniform < still_down))
    direction, upper = jnp.where(is_down, frame, -frame), jnp.where(is_down, excited, ground)
    kept = jnp.sqrt(1 - damping)
    scale = lax.rsqrt(jnp.maximum(jnp.where(jumps, upper, 1 - damping * upper), 1e-30) * (state**2).sum(0))
    same = jnp.where(jumps, 0.5, (1 + kept) / 2) * scale
    turned = jnp.where(jumps, -0.5, (1 - kept) / 2) * scale * direction
    moved = same * state + turned * z_state
    return jnp.where(jumps, apply_pauli(moved, n_qubits, step["raising"]), moved)
