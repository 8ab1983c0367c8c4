"""A compiled circuit with parameters and noise: from samples to values, and from slopes to gradients.

Shapes: learners L, samples S, observables K, parameters P, rotations R, inputs F, visible strings E.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import Circuit
from ceas.learning.cost import chunk_size
from ceas.learning.encoding import Encoded, is_trained_encoding, product_features
from ceas.learning.evolution import Evolution
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.program import Program, choose_samples, compile_program
from ceas.learning.turns import einsum, matmul

__all__ = ["Loss", "Model", "Samples", "merge_samples", "n_sample_learners", "own_samples", "require_samples"]

Loss = Callable[[jax.Array, Any], jax.Array]
"""A learner's loss, a scalar, of its expectation values (S, K) and its targets."""


class Samples(NamedTuple):
    """What the engine takes of samples: inputs, features, and states as Pauli vectors; each with learners or not."""

    inputs: jax.Array | None
    features: jax.Array | None


def require_samples(circuit: Circuit, partition: Partition, encoded: Encoded) -> Samples:
    """Return samples, or raise `DomainError` where they do not fit the circuit."""
    kind = choose_samples(circuit, partition, has_states=encoded.states is not None)
    if encoded.inputs is not None and encoded.inputs.shape[-1] != circuit.n_features:
        wanted = f"(..., S, {circuit.n_features})"
        raise DomainError(f"Argument `encoded` must have inputs of shape {wanted}, but has {encoded.inputs.shape}.")
    is_made = kind == "rows" or (kind == "features" and is_trained_encoding(circuit))
    if is_made and encoded.inputs is None:
        raise DomainError("Argument `encoded` must have inputs, but has none.")
    if kind == "features" and encoded.inputs is None and encoded.features is None:
        raise DomainError("Argument `encoded` must have features of its states for this engine, but has none.")
    return Samples(_rows(encoded.inputs), None if is_made else _rows(encoded.features))


def _rows(array: jax.Array | None) -> jax.Array | None:
    """Return samples (S, ...), or (L, S, ...) of several learners."""
    if array is None:
        return None
    if array.ndim not in (2, 3) or 0 in array.shape[:-1]:
        wanted = "at least one sample, with at most one axis of learners in front"
        raise DomainError(f"Argument `encoded` must have {wanted}, but has the shape {array.shape}.")
    return array[0] if array.ndim == 3 and len(array) == 1 else array


def n_sample_learners(samples: Samples) -> int:
    """Return for how many learners there are samples, 1 where all share them."""
    return max(len(array) if array.ndim == 3 else 1 for array in samples if array is not None)


def own_samples(samples: Samples) -> Samples:
    """Return what of the samples is each learner's own."""
    return Samples(*(None if array is None or array.ndim < 3 else array for array in samples))


def merge_samples(samples: Samples, own: Samples) -> Samples:
    """Return samples with those of some learners in place of those of all."""
    return Samples(*(shared if one is None else one for shared, one in zip(samples, own, strict=True)))


class Model:
    """A program with parameters and noise: from samples to values, and back."""

    def __init__(
        self,
        circuit: Circuit,
        partition: Partition,
        theta: jax.Array,
        noise: NoiseTable,
        observables: tuple[int, ...] | None,
        *,
        has_states: bool,
        shift: jax.Array | None = None,
    ) -> None:
        self.circuit = circuit
        self.theta = theta
        self.shift = shift
        self.program: Program = compile_program(
            circuit,
            partition,
            samples=choose_samples(circuit, partition, has_states=has_states),
            has_relaxation=noise.relaxation is not None,
            observables=observables,
        )
        self.rates = _rates(noise)
        self.scale, self.offset = _readout(partition, noise, observables or ())
        self.own = Evolution(self.program.own, self._angles(theta, jnp.zeros(circuit.n_features)), self.rates)

    def observables(self) -> jax.Array:
        """Return the observables at the end, (strings, K, L)."""
        space = self.program.own.before
        qubits = np.array(self.program.observables, dtype=np.int64)
        strings = 3 * 4 ** (self.circuit.n_qubits - 1 - qubits)
        order = np.argsort(space.ids)
        places = order[np.searchsorted(space.ids, strings, sorter=order)].astype(np.int32)
        size = (space.ids.size, *self.scale.shape)
        return jnp.zeros(size, self.scale.dtype).at[places, np.arange(len(qubits), dtype=np.int32)].set(self.scale)

    def seen(self, x: jax.Array) -> jax.Array:
        """Return observables in front of the own segment as coefficients of visible strings, (L, K, E)."""
        if x.ndim == 3 and self._ends_visible:
            return x
        padded = jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]), dtype=x.dtype)])
        return padded[self._visible_places()].transpose(2, 1, 0)

    def values(self, samples: Samples) -> jax.Array:
        """Return expectation values, (L, S, K)."""
        x, _ = self.own.pull_observables(self.observables())
        if self.program.samples != "rows":
            return matmul(self._features(samples), jnp.swapaxes(self.seen(x), -1, -2)) + self.offset[:, None]
        chunks, n_samples = self._chunks(samples)

        def chunk(angles: jax.Array) -> jax.Array:
            r, _ = self._sampled(angles).push_states(self._start(angles.shape[1]))
            return self._meet(x, r)

        return _joined(jax.lax.map(chunk, chunks), n_samples) + self.offset[:, None]

    def states(self, samples: Samples) -> jax.Array:
        """Return the states at the end, (4^n, S, L)."""
        if self.program.samples == "rows":
            angles = self._sample_angles(self.theta, _inputs(samples))
            r, _ = self._sampled(angles).push_states(self._start(angles.shape[1]))
        else:
            features = self._features(samples)
            features = features[None] if features.ndim == 2 else features
            r = jnp.zeros((4**self.circuit.n_qubits, *features.shape[1::-1]), dtype=features.dtype)
            r = r.at[self.program.visible.astype(np.int32)].set(features.transpose(2, 1, 0))
            r = jnp.broadcast_to(r, (*r.shape[:2], self.rates.shape[1]))
        return self.own.push_states(r)[0]

    def loss_and_gradient(
        self, samples: Samples, targets: Any, loss: Loss, *, wants_inputs: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return losses (L,), gradients (L, P), and gradients by inputs (L, S, F); zero where there are none."""
        x, left = self.own.pull_observables(self.observables())
        if self.program.samples == "rows":
            losses, y, by_samples = self._sampled_slopes(samples, x, targets, loss)
        else:
            losses, y, by_samples = self._feature_slopes(samples, x, targets, loss, wants_inputs=wants_inputs)
        _, by_angle = self.own.push_slopes(y, left)
        _, chain = jax.vjp(lambda theta: self._angles(theta, jnp.zeros(self.circuit.n_features)), self.theta)
        (gradient,) = jax.vmap(chain, in_axes=1)(jnp.broadcast_to(by_angle, (len(by_angle), len(losses))))
        return losses, gradient + by_samples[0], by_samples[1]

    def _feature_slopes(
        self, samples: Samples, x: jax.Array, targets: Any, loss: Loss, *, wants_inputs: bool
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Return losses, slopes in front of the own segment, and the gradients through the features."""
        seen = self.seen(x)
        features = self._features(samples)
        values = matmul(features, jnp.swapaxes(seen, -1, -2)) + self.offset[:, None]
        losses, slopes = jax.vmap(jax.value_and_grad(loss))(values, targets)
        y = matmul(jnp.swapaxes(slopes, -1, -2), features)
        by_samples = (jnp.zeros(()), jnp.zeros(()))
        # Features that are given depend on no parameters.
        if samples.inputs is not None and (wants_inputs or samples.features is None):
            by_features = matmul(slopes, seen)
            by_samples = self._chain_samples(samples.inputs, by_features, self._make_features)
        return losses, y if self._ends_visible else self._unseen(y), by_samples

    def _sampled_slopes(
        self, samples: Samples, x: jax.Array, targets: Any, loss: Loss
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Return losses, slopes in front of the own segment, and the gradients through the samples' evolution."""
        chunks, n_samples = self._chunks(samples)
        n_chunk = chunks.shape[2]

        def values(angles: jax.Array) -> jax.Array:
            r, _ = self._sampled(angles).push_states(self._start(n_chunk))
            return self._meet(x, r)

        met = _joined(jax.lax.map(values, chunks), n_samples) + self.offset[:, None]
        losses, slopes = jax.vmap(jax.value_and_grad(loss))(met, targets)
        padded = jnp.pad(slopes, ((0, 0), (0, len(chunks) * n_chunk - n_samples), (0, 0)))
        parts = jnp.moveaxis(padded.reshape(len(slopes), len(chunks), n_chunk, -1), 1, 0)

        def chunk(y: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            angles, slope = given
            evolution = self._sampled(angles)
            r, left = evolution.push_states(self._start(n_chunk))
            y = y + einsum("ljk,sjl->skl", slope, self._few(r))
            backwards = self._all(einsum("ljk,skl->sjl", slope, x))
            by_angle = evolution.pull_slopes(backwards, left)
            return y, jnp.broadcast_to(by_angle, (*by_angle.shape[:2], len(slopes)))

        y, by_angle = jax.lax.scan(chunk, jnp.zeros_like(x), (chunks, parts))
        by_angle = jnp.moveaxis(by_angle, 0, 1).reshape(by_angle.shape[1], -1, len(slopes))[:, :n_samples]
        inputs = _inputs(samples)
        return losses, y, self._chain_samples(inputs, by_angle.transpose(2, 1, 0), self._angles)

    def _chain_samples(
        self, inputs: jax.Array, slopes: jax.Array, function: Callable[[jax.Array, jax.Array], jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """Return gradients by parameters and inputs of a function of both, given those by its values, (L, S, ...)."""

        def one(inputs: jax.Array, slopes: jax.Array) -> tuple[jax.Array, jax.Array]:
            pulled: tuple[jax.Array, jax.Array] = jax.vjp(function, self.theta, inputs)[1](slopes)
            return pulled

        return jax.vmap(one, in_axes=(0 if inputs.ndim == 3 else None, 0))(inputs, slopes)

    @property
    def _ends_visible(self) -> bool:
        """Whether the own segment ends with what samples see, learners first."""
        items = self.program.own.items
        return bool(items) and getattr(items[-1], "is_last", False)

    def _visible_places(self) -> Any:
        """Return where each visible string is in front of the own segment, the number of strings for nowhere."""
        space = self.program.own.after
        places = np.full(space.n_strings, space.ids.size, dtype=np.int32)
        places[space.ids] = np.arange(space.ids.size)
        return places[self.program.visible]

    def _unseen(self, y: jax.Array) -> jax.Array:
        """Return slopes of visible strings (L, K, E) as those of the strings in front of the own segment."""
        ids = self.program.own.after.ids
        places = np.full(4**self.circuit.n_qubits, self.program.visible.size, dtype=np.int32)
        places[self.program.visible] = np.arange(self.program.visible.size)
        padded = jnp.pad(y, ((0, 0), (0, 0), (0, 1)))
        return padded[..., places[ids]].transpose(2, 1, 0)

    def _few(self, r: jax.Array) -> jax.Array:
        """Return the states' values of the strings in front of the own segment."""
        space = self.program.own.after
        return r if space.is_full else r[space.ids.astype(np.int32)]

    def _all(self, y: jax.Array) -> jax.Array:
        space = self.program.own.after
        if space.is_full:
            return y
        return jnp.zeros((space.n_strings, *y.shape[1:]), dtype=y.dtype).at[space.ids.astype(np.int32)].set(y)

    def _meet(self, x: jax.Array, r: jax.Array) -> jax.Array:
        return einsum("skl,sjl->ljk", x, self._few(r))

    def _angles(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        angles: jax.Array = rotation_angles(self.circuit, theta, inputs)
        return angles if self.shift is None else angles + self.shift

    def _sample_angles(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        """Return the angles (R, S, L), with one learner where inputs are shared."""
        angles = self._angles(theta, inputs)
        return (angles[None] if angles.ndim == 2 else angles).transpose(2, 1, 0)

    def _make_features(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        return product_features(self.circuit, self._angles(theta, inputs))

    def _features(self, samples: Samples) -> jax.Array:
        if samples.features is not None:
            return samples.features
        return self._make_features(self.theta, _inputs(samples))

    def _sampled(self, angles: jax.Array) -> Evolution:
        assert self.program.sampled is not None
        return Evolution(self.program.sampled, angles, self.rates)

    def _start(self, n_samples: int) -> jax.Array:
        """Return |0...0>, (4^n, samples, learners): every string of I and Z is 1."""
        zero = np.array([1, 0, 0, 1])
        vector = np.array([1])
        for _ in range(self.circuit.n_qubits):
            vector = np.outer(vector, zero).ravel()
        state = jnp.asarray(vector, dtype=self.theta.dtype)[:, None, None]
        return jnp.broadcast_to(state, (len(vector), n_samples, self.rates.shape[1]))

    def _chunks(self, samples: Samples) -> tuple[jax.Array, int]:
        """Return the angles in chunks of samples, (chunks, R, samples, learners), and the number of samples."""
        angles = self._sample_angles(self.theta, _inputs(samples))
        n_samples = angles.shape[1]
        assert self.program.sampled is not None
        items = self.program.sampled.items
        size = chunk_size(items, self.circuit.n_qubits, self.rates.shape[1], self.theta.dtype.itemsize)
        n_chunks = -(-n_samples // size)
        size = -(-n_samples // n_chunks)
        padded = jnp.pad(angles, ((0, 0), (0, n_chunks * size - n_samples), (0, 0)), mode="edge")
        return jnp.moveaxis(padded.reshape(len(angles), n_chunks, size, -1), 1, 0), n_samples


def _inputs(samples: Samples) -> jax.Array:
    assert samples.inputs is not None
    return samples.inputs


def _joined(values: jax.Array, n_samples: int) -> jax.Array:
    """Return chunks (chunks, L, samples, K) as (L, S, K)."""
    return jnp.moveaxis(values, 0, 1).reshape(values.shape[1], -1, values.shape[-1])[:, :n_samples]


def _rates(noise: NoiseTable) -> jax.Array:
    """Return all rates of each learner in the order of `events.Columns`, shape (columns, learners)."""
    n_learners = len(noise.one_qubit_error)
    pairs = jnp.asarray(noise.pair_werner)
    correlators = pairs if pairs.ndim == 3 else jnp.broadcast_to(pairs[..., None], (*pairs.shape, 3))
    x, y, z = jnp.moveaxis(correlators, -1, 0)
    # Right copies: p_I + p_Z and p_I - p_Z; wrong copies: p_X + p_Y and p_X - p_Y.
    branches = jnp.stack([1 + z, x + y, 1 - z, x - y], axis=-1) / 2
    parts = [1 - 4 / 3 * noise.one_qubit_error, 1 - 4 / 3 * noise.two_qubit_error, correlators, branches]
    if noise.relaxation is not None:
        coherence, population, equilibrium = jnp.moveaxis(jnp.asarray(noise.relaxation), -1, 0)
        parts.append(jnp.stack([coherence, population, (1 - population) * equilibrium], axis=-1))
    sizes = (math.prod(part.shape[1:]) for part in parts)
    flat = [part.reshape(n_learners, size) for part, size in zip(parts, sizes, strict=True)]
    return jnp.concatenate(flat, axis=1).T


def _readout(partition: Partition, noise: NoiseTable, observables: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return the factor of each observable's <Z>, shape (K, L), and what is added to it, (L, K)."""
    qpus = np.array([partition.readout_qpus[qubit] for qubit in observables], dtype=np.int32)
    flips = jnp.asarray(noise.readout_error)[:, qpus]
    if flips.ndim == 2:
        return (1 - 2 * flips).T, jnp.zeros_like(flips)
    return (1 - flips.sum(axis=-1)).T, flips[..., 1] - flips[..., 0]
