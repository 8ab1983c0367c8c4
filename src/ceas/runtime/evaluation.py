"""Exact figures of a model: losses, accuracy and gradients from the engine, without noise, shots or attackers."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas.learning import Classifier, Encoded, NoiseTable, Partition, noiseless
from ceas.learning.classifier import Targets, model_loss
from ceas.learning.training import (
    Computation,
    accuracy,
    encode_samples,
    model_loss_and_gradient,
    model_values,
    sampled_values,
)
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.momentum import Momentum
from ceas.runtime.outcome import Evaluation
from ceas.runtime.world import World

__all__ = ["Evaluator", "Figures", "figures_together", "values_together"]

FloatArray = NDArray[np.float64]


class Figures(NamedTuple):
    """Exact figures of agreed parameters.

    Attributes:
        test_accuracy: Accuracy on the test part.
        validation_accuracy: Accuracy on the validation part; NaN where there is none.
        train_loss: Training objective.
    """

    test_accuracy: float
    validation_accuracy: float
    train_loss: float


class Evaluator:
    """Exact figures of the agreed parameters; the same for every method.

    The training objective is that of the honest learners: the mean over them of the mean loss over their samples.

    Args:
        world: Model, data and who is honest.
        worker_momentum: Momentum of the learners, in [0, 1).
    """

    def __init__(self, world: World, *, worker_momentum: float) -> None:
        dataset = world.dataset
        self._model, self._partition, self._dataset = world.model, world.partition, dataset
        self._noise, self._by = noiseless(world.partition), world.computations.ideal
        self._encoded: dict[str, Encoded] = {}
        self._train_targets = _targets(dataset.train_labels, _honest_sample_weights(world))
        n_test = len(dataset.test_labels)
        self._test_targets = _targets(dataset.test_labels, np.full(n_test, 1.0 / n_test))
        self._momentum = Momentum((1, world.model.n_parameters), worker_momentum)

    def exact_momentum(self, theta: FloatArray) -> tuple[FloatArray, float]:
        """Return the momentum of the exact gradients so far, including the one at `theta`, and the loss there.

        It is what the honest learners' mean update would be without noise and shots.
        """
        loss, gradient = self._loss_and_gradient(theta)
        self._momentum.add(gradient[None], np.ones(1, np.bool_))
        return self._momentum.mean()[0], loss

    def train_loss(self, theta: FloatArray) -> float:
        """Return the training objective at `theta`."""
        return self._loss_and_gradient(theta)[0]

    def evaluate(self, theta: FloatArray) -> Evaluation:
        """Return accuracy and loss on the test part; the class with the largest score is the answer."""
        parameters = jnp.asarray(theta, jnp.float32)
        encoded = self._part("test", parameters)
        values = model_values(self._model, self._partition, parameters, encoded, self._noise, by=self._by)[0]
        labels, weights = self._test_targets
        loss = model_loss(self._model)(values, parameters, (labels[0], weights[0]))
        return Evaluation(
            test_accuracy=accuracy(self._model, theta, values, self._dataset.test_labels), test_loss=float(loss)
        )

    def accuracy(self, part: str, theta: FloatArray) -> float:
        """Return the accuracy on the `train`, `validation` or `test` part; NaN where it has no samples."""
        return self._accuracies(part, theta[None])[0]

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        return self._momentum.to_arrays()

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._momentum.load(arrays)

    def _loss_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        parameters = jnp.asarray(theta, jnp.float32)
        losses, gradients = model_loss_and_gradient(
            self._model,
            self._partition,
            parameters,
            self._part("train", parameters),
            self._noise,
            targets=self._train_targets,
            samples=jnp.asarray(self._dataset.train_angles, jnp.float32),
            by=self._by,
        )
        return float(losses[0]), np.asarray(gradients[0], np.float64)

    def _accuracies(self, part: str, thetas: FloatArray) -> list[float]:
        labels = getattr(self._dataset, f"{part}_labels")
        if not len(labels):
            return [float("nan")] * len(thetas)
        encoded = self._part(part, jnp.asarray(thetas[0], jnp.float32))
        sampled = values_together(self._model, self._partition, thetas, encoded=encoded, noise=self._noise, by=self._by)
        return [
            accuracy(self._model, theta, values[0], labels) for theta, (values, _) in zip(thetas, sampled, strict=True)
        ]

    def _part(self, part: str, theta: jax.Array) -> Encoded:
        """Return the encoded samples of a part of the data; only a layer in front makes them depend on parameters."""
        found = self._encoded.get(part)
        if found is None or self._model.n_dressed_inputs is not None:
            samples, states = (getattr(self._dataset, f"{part}_{what}") for what in ("angles", "states"))
            found = self._encoded[part] = encode_samples(self._model, theta, samples, states, by=self._by)
        return found


def values_together(
    model: Classifier,
    partition: Partition,
    thetas: FloatArray,
    *,
    encoded: Encoded,
    noise: NoiseTable,
    by: Computation,
) -> list[tuple[NDArray[np.float32], FloatArray | None]]:
    """Return the expectation values (L, S, observables) at each of B parameters (B, P), and their standard errors.

    Errors are None for exact values. The exact engine takes one set of parameters after the other in one call, which
    gives the numbers of each alone to the last bit.
    """
    if by.engine == "heisenberg" and len(thetas) > 1:
        together, _ = sampled_values(model, partition, thetas, encoded, noise, by=by)
        return [(values, None) for values in np.asarray(together)]
    alone = (sampled_values(model, partition, theta, encoded, noise, by=by) for theta in thetas)
    return [(np.asarray(values), errors) for values, errors in alone]


def figures_together(evaluators: Sequence[Evaluator], thetas: Sequence[FloatArray]) -> list[Figures]:
    """Return what is told of several trainings on the same data, each at its own parameters.

    The figures are those of each alone, to the last bit.
    """
    first = evaluators[0]
    if first._by.engine != "heisenberg" or first._model.n_dressed_inputs is not None or len(thetas) == 1:
        pairs = zip(evaluators, thetas, strict=True)
        return [
            Figures(each.accuracy("test", own), each.accuracy("validation", own), each.train_loss(own))
            for each, own in pairs
        ]
    together = np.stack(thetas)
    weights = jnp.stack([each._train_targets[1] for each in evaluators])
    labels, encoded = first._train_targets[0], first._part("train", jnp.asarray(together[0], jnp.float32))
    losses = _train_losses(
        first._model,
        first._partition,
        jnp.asarray(together, jnp.float32),
        targets=(labels, weights),
        encoded=encoded,
        noise=first._noise,
    )
    parts = (first._accuracies(part, together) for part in ("test", "validation"))
    return list(map(Figures, *parts, np.asarray(losses, np.float64).tolist()))


@partial(jax.jit, static_argnums=(0, 1))
def _train_losses(
    model: Classifier,
    partition: Partition,
    thetas: jax.Array,
    *,
    targets: Targets,
    encoded: Encoded,
    noise: NoiseTable,
) -> jax.Array:
    """Return the loss at each of B parameters, for labels (1, S) and each training's weights (B, 1, S), shape (B,)."""
    labels, weights = targets

    def loss(own: tuple[jax.Array, jax.Array]) -> jax.Array:
        theta, weight = own
        return model_loss_and_gradient(model, partition, theta, encoded, noise, targets=(labels, weight))[0][0]

    losses: jax.Array = jax.lax.map(loss, (thetas, weights))
    return losses


def _targets(labels: NDArray[np.int64], weights: FloatArray) -> tuple[jax.Array, jax.Array]:
    """Return labels and weights with the engine's leading axis of one noiseless learner."""
    return jnp.asarray(labels, jnp.int32)[None], jnp.asarray(weights, jnp.float32)[None]


def _honest_sample_weights(world: World) -> FloatArray:
    """Return the weight of every training sample in the honest learners' mean loss; they add up to 1."""
    weights = np.zeros(len(world.dataset.train_labels))
    honest = np.flatnonzero(~world.is_byzantine)
    for learner in honest:
        count = world.samples.count[learner]
        weights[world.samples.index[learner, :count]] = 1.0 / (count * honest.size)
    return weights
