"""What a quantum classifier has to be seen beside: the same features without entanglement."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import separable
from ceas.learning.circuits import Circuit, without_encoding
from ceas.learning.classifier import (
    Classifier,
    circuit_inputs,
    initial_parameters,
    model_loss,
    scores,
    split_parameters,
)
from ceas.learning.data import Dataset
from ceas.learning.training import train_exact

__all__ = ["separable_accuracy", "separable_values"]

_STEPS, _LEARNING_RATE, _EVALUATE_EVERY = 200, 0.1, 10
_SPREAD = 0.3


def separable_accuracy(model: Classifier, dataset: Dataset, *, n_layers: int, seed: int) -> float:
    """Return the test accuracy of a circuit without entanglers, trained exactly and without noise on the same features.

    It has a qubit for each feature (as many as the model for states, or behind a trained layer), and a trained linear
    layer on all of them, so that every class may use every feature. Adam takes 200 steps on all training samples; the
    validation part chooses among them. One result is kept for each data set.

    Args:
        model: The classifier it is held beside.
        dataset: The data of both.
        n_layers: Layers of rotations.
        seed: Seed of the start.
    """
    has_states, is_dressed = dataset.train_states is not None, model.n_dressed_inputs is not None
    circuit = separable(model.circuit.n_qubits if has_states or is_dressed else model.n_inputs, n_layers)
    reference = Classifier(
        circuit=without_encoding(circuit) if has_states else circuit,
        n_classes=model.n_classes,
        readout="linear",
        n_dressed_inputs=model.n_dressed_inputs,
    )
    return _trained(reference, _Kept(dataset), seed)


def separable_values(circuit: Circuit, angles: jax.Array) -> jax.Array:
    """Return <Z> of every qubit of a circuit of one-qubit rotations on |0...0>, by rotating Bloch vectors.

    Args:
        circuit: The circuit.
        angles: Angles of its rotations (rad), shape (..., R).

    Returns:
        Shape (..., n_qubits).

    Raises:
        DomainError: The circuit has another gate.
    """
    zero, one = jnp.zeros(angles.shape[:-1], angles.dtype), jnp.ones(angles.shape[:-1], angles.dtype)
    vectors = [[zero, zero, one] for _ in range(circuit.n_qubits)]
    rotations = iter(range(angles.shape[-1]))
    for gate in circuit.gates:
        if gate.kind not in ("rx", "ry", "rz"):
            raise DomainError(f"Argument `circuit` must have one-qubit rotations alone, but has {gate.kind}.")
        vector, angle, axis = vectors[gate.qubits[0]], angles[..., next(rotations)], "xyz".index(gate.kind[1])
        first, second = (axis + 1) % 3, (axis + 2) % 3
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        turned = cosine * vector[first] - sine * vector[second], sine * vector[first] + cosine * vector[second]
        vector[first], vector[second] = turned
    return jnp.stack([vector[2] for vector in vectors], axis=-1)


class _Kept:
    """A data set that is equal to another of the same numbers, so that results can be kept by it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        arrays = [
            getattr(dataset, f"{part}_{kind}")
            for part in ("train", "validation", "test")
            for kind in ("angles", "labels", "states")
        ]
        kept = [np.asarray(array) for array in arrays if array is not None]
        self._content = b"".join(repr(array.shape).encode() + array.tobytes() for array in kept)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self._content == other._content


@lru_cache(maxsize=4)
def _trained(reference: Classifier, kept: _Kept, seed: int) -> float:
    dataset, rng = kept.dataset, np.random.Generator(np.random.PCG64(seed))
    if dataset.train_states is not None:
        return train_exact(
            reference,
            dataset,
            steps=_STEPS,
            learning_rate=_LEARNING_RATE,
            spread=_SPREAD,
            evaluate_every=_EVALUATE_EVERY,
            rng=rng,
        ).test_accuracy
    start = jnp.asarray(initial_parameters(reference, spread=_SPREAD, rng=rng), jnp.float32)
    parts = [
        (jnp.asarray(getattr(dataset, f"{part}_angles"), jnp.float32), jnp.asarray(getattr(dataset, f"{part}_labels")))
        for part in ("train", "validation", "test")
    ]
    validation, test = _accuracies(reference, start, *(array for part in parts for array in part))
    # The first of the best, as `train_exact` chooses.
    return float(test[int(np.argmax(np.asarray(validation)))])


@partial(jax.jit, static_argnums=0)
def _accuracies(reference: Classifier, start: jax.Array, *parts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Train, and return the accuracies on the validation and the test part after every few steps."""
    train, train_labels, validation, validation_labels, test, test_labels = parts
    optimiser = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS, alpha=0.1))
    weights = jnp.full(len(train_labels), 1.0 / len(train_labels), dtype=start.dtype)

    def values(theta: jax.Array, samples: jax.Array) -> jax.Array:
        inputs = circuit_inputs(reference, theta, samples)
        angles = rotation_angles(reference.circuit, split_parameters(reference, theta).circuit, inputs)
        return separable_values(reference.circuit, angles)

    def loss(theta: jax.Array) -> jax.Array:
        found: jax.Array = model_loss(reference)(values(theta, train), theta, (train_labels, weights))
        return found

    def step(carried: tuple[jax.Array, optax.OptState], _: None) -> tuple[tuple[jax.Array, optax.OptState], None]:
        theta, state = carried
        change, state = optimiser.update(jax.grad(loss)(theta), state, theta)
        return (optax.apply_updates(theta, change), state), None

    def steps(carried: tuple[jax.Array, optax.OptState], _: None) -> tuple[tuple[jax.Array, optax.OptState], jax.Array]:
        carried, _ = jax.lax.scan(step, carried, None, length=_EVALUATE_EVERY)
        return carried, jnp.stack(
            [
                jnp.mean(jnp.argmax(scores(reference, carried[0], values(carried[0], samples)), axis=-1) == labels)
                for samples, labels in ((validation, validation_labels), (test, test_labels))
            ]
        )

    _, found = jax.lax.scan(steps, (start, optimiser.init(start)), None, length=_STEPS // _EVALUATE_EVERY)
    return found[:, 0], found[:, 1]
