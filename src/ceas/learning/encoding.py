"""Samples as the engines take them: inputs of a circuit, or quantum states.

Where samples enter by gates of single qubits alone, before all errors, the encoded state is a product. Its Pauli vector
then is a product of few numbers per qubit: an RY-encoded qubit has (1, sin x, cos x), for <Y> = 0. The engine computes
with such features alone; other circuits it runs for each sample as far as the last gate that depends on it.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import ROTATIONS, Circuit
from ceas.learning.paulis import PAULIS, clifford_bloch_matrix, pauli_digit, turn_parts

__all__ = [
    "Encoded",
    "encode_features",
    "encode_inputs",
    "encode_states",
    "encoding_gates",
    "is_trained_encoding",
    "product_features",
    "visible_digits",
    "visible_strings",
]

# What single precision leaves of a norm of 2^20 amplitudes, generously.
_NORM_TOLERANCE = 1e-4


class Encoded(NamedTuple):
    """Samples, shared by all learners or with the learners on a further leading axis.

    Attributes:
        inputs: The circuit's inputs, shape (S, F) or (L, S, F), or None.
        features: Pauli vector of the states in front of the first gate that depends on no sample, restricted to what
            can differ from zero, shape (S, E) or (L, S, E); None where that state is no product, or where only the
            engine of pure states is asked, which takes inputs or states: up to 4^n numbers a sample are not made then.
        states: Initial states in place of |0...0>, shape (S, 2^n) or (L, S, 2^n), or None.
    """

    inputs: jax.Array | None
    features: jax.Array | None
    states: jax.Array | None = None


def encode_inputs(circuit: Circuit, inputs: jax.typing.ArrayLike, *, needs_features: bool = True) -> Encoded:
    """Encode inputs for a circuit.

    Args:
        circuit: The circuit.
        inputs: Shape (S, F), shared by all learners, or (L, S, F).
        needs_features: Whether the Heisenberg engine will be asked, which needs features.

    Raises:
        DomainError: The last axis is not the circuit's number of inputs.
    """
    values = jnp.asarray(inputs, dtype=float)
    if values.ndim < 2 or values.shape[-1] != circuit.n_features:
        raise DomainError(f"Argument `inputs` must have shape (..., S, {circuit.n_features}), but has {values.shape}.")
    if not needs_features or encoding_gates(circuit) is None or is_trained_encoding(circuit):
        return Encoded(values, None)
    return Encoded(values, _encoding_features(circuit, values))


@partial(jax.jit, static_argnums=0)
def _encoding_features(circuit: Circuit, inputs: jax.Array) -> jax.Array:
    theta = jnp.zeros(circuit.n_parameters, dtype=inputs.dtype)
    return product_features(circuit, rotation_angles(circuit, theta, inputs))


def encode_states(circuit: Circuit, states: jax.typing.ArrayLike, *, needs_features: bool = True) -> Encoded:
    """Encode quantum data: normalised states that replace |0...0>.

    Args:
        circuit: The circuit, of which no angle depends on inputs.
        states: State vectors, shape (S, 2^n) or (L, S, 2^n); qubit 0 is the most significant.
        needs_features: Whether the Heisenberg engine will be asked, which needs features.

    Raises:
        DomainError: The last axis does not fit the circuit, a state is not normalised, or some angle depends on inputs.
    """
    values = jnp.asarray(states)
    values = values.astype(jnp.result_type(values.dtype, jnp.complex64))
    if values.ndim < 2 or values.shape[-1] != 2**circuit.n_qubits:
        raise DomainError(f"Argument `states` must have shape (..., S, {2**circuit.n_qubits}), but has {values.shape}.")
    if not isinstance(values, jax.core.Tracer):
        norms = np.linalg.norm(np.asarray(values), axis=-1)
        if not np.allclose(norms, 1, atol=_NORM_TOLERANCE):
            worst = norms.ravel()[np.argmax(np.abs(norms.ravel() - 1))]
            raise DomainError(f"Argument `states` must be normalised, but has a state of norm {worst:.6g}.")
    if any(gate.features for gate in circuit.gates):
        raise DomainError("Argument `circuit` must not depend on inputs where states are given, but does.")
    return Encoded(None, _pauli_vectors(values) if needs_features else None, values)


def encode_features(angles: jax.typing.ArrayLike) -> Encoded:
    """Encode angles for a circuit that begins with RY(x_q) on each qubit q; shape (..., n)."""
    values = jnp.asarray(angles, dtype=float)
    bloch = jnp.stack([jnp.sin(values), jnp.zeros_like(values), jnp.cos(values)], axis=-1)
    return Encoded(values, _products(bloch, ((0, 1, 3),) * values.shape[-1]))


@lru_cache(maxsize=64)
def encoding_gates(circuit: Circuit) -> tuple[int, ...] | None:
    """Return the gates up to each qubit's last that depends on a sample, or None where they do not make a product.

    They do if each acts on one qubit and no error strikes between them.
    """
    seen: set[int] = set()
    found: list[int] = []
    for index in reversed(range(len(circuit.gates))):
        gate = circuit.gates[index]
        reached = bool(seen & set(gate.qubits))
        if not reached and not gate.features:
            continue
        if len(gate.qubits) > 1 or (reached and circuit.has_error[index]):
            return None
        seen.add(gate.qubits[0])
        found.append(index)
    return tuple(reversed(found))


def is_trained_encoding(circuit: Circuit) -> bool:
    """Tell whether parameters occur in the gates that encode samples into a product."""
    return any(circuit.gates[index].parameters for index in encoding_gates(circuit) or ())


@lru_cache(maxsize=64)
def visible_digits(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """Return which of I, X, Y, Z (0..3) may differ from zero on each qubit of the encoded product state."""
    vectors = [np.array([False, False, True]) for _ in range(circuit.n_qubits)]
    for index in encoding_gates(circuit) or ():
        gate = circuit.gates[index]
        (qubit,) = gate.qubits
        if gate.is_rotation:
            pattern = np.logical_or.reduce([part != 0 for part in turn_parts(pauli_digit(ROTATIONS[gate.kind]))])
        else:
            pattern = clifford_bloch_matrix(gate.kind) != 0
        vectors[qubit] = pattern.T @ vectors[qubit]
    return tuple((0, *(int(digit) + 1 for digit in np.flatnonzero(vector))) for vector in vectors)


def visible_strings(digits: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.int64]:
    """Return the indices of the strings with the given digits on each qubit, in order."""
    ids = np.zeros(1, dtype=np.int64)
    for allowed in digits:
        ids = np.add.outer(4 * ids, np.array(allowed)).ravel()
    return ids


def product_features(circuit: Circuit, angles: jax.Array) -> jax.Array:
    """Return the features of encoded product states from the angles of all rotations, (..., R) to (..., E)."""
    place = {gate: rotation for rotation, gate in enumerate(circuit.rotations)}
    zero = jnp.zeros((*angles.shape[:-1], 3), dtype=angles.dtype).at[..., 2].set(1)
    bloch = [zero] * circuit.n_qubits
    for index in encoding_gates(circuit) or ():
        gate = circuit.gates[index]
        (qubit,) = gate.qubits
        if gate.is_rotation:
            angle = angles[..., place[index], None, None]
            constant, cosine, sine = (
                jnp.asarray(p, angles.dtype) for p in turn_parts(pauli_digit(ROTATIONS[gate.kind]))
            )
            matrix = constant + jnp.cos(angle) * cosine + jnp.sin(angle) * sine
        else:
            matrix = jnp.asarray(clifford_bloch_matrix(gate.kind), angles.dtype)
        # The matrix is a Heisenberg map: its transpose carries a vector forwards.
        bloch[qubit] = (matrix * bloch[qubit][..., :, None]).sum(axis=-2)
    return _products(jnp.stack(bloch, axis=-2), visible_digits(circuit))


def _products(bloch: jax.Array, digits: tuple[tuple[int, ...], ...]) -> jax.Array:
    """Return the products over qubits of the visible ones of (1, x, y, z), (..., n, 3) to (..., E), qubit 0 major."""
    batch = bloch.shape[:-2]
    vectors = jnp.concatenate([jnp.ones((*bloch.shape[:-1], 1), dtype=bloch.dtype), bloch], axis=-1)
    features = jnp.ones((*batch, 1), dtype=bloch.dtype)
    for qubit, allowed in enumerate(digits):
        column = vectors[..., qubit, np.array(allowed)]
        features = (features[..., :, None] * column[..., None, :]).reshape(*batch, -1)
    return features


def _pauli_vectors(states: jax.Array) -> jax.Array:
    """Return the expectation values of all Pauli strings, (..., 2^n) to (..., 4^n)."""
    *batch, size = states.shape
    n_qubits = size.bit_length() - 1
    density = states[..., :, None] * states[..., None, :].conj()
    tensor = density.reshape(-1, *(2,) * (2 * n_qubits))
    rows_columns = [axis for qubit in range(n_qubits) for axis in (1 + qubit, 1 + n_qubits + qubit)]
    tensor = tensor.transpose(0, *rows_columns).reshape(-1, *(4,) * n_qubits)
    # <P> = sum_ij rho_ij P_ji
    weights = jnp.asarray(PAULIS.transpose(2, 1, 0).reshape(4, 4), states.dtype)
    for _ in range(n_qubits):
        tensor = jnp.tensordot(tensor, weights, axes=([1], [0]), precision=jax.lax.Precision.HIGHEST)
    return tensor.real.reshape(*batch, 4**n_qubits)
