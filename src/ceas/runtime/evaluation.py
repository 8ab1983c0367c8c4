"""Exact figures of a model: losses, accuracy and gradients from the engine, without noise, shots or attackers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas.learning import Classifier, Encoded, NoiseTable, Partition, noiseless
from ceas.learning.classifier import model_loss
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

__all__ = ["Evaluator", "evaluate_together", "values_together"]

FloatArray = NDArray[np.float64]


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

    def validation_accuracy(self, theta: FloatArray) -> float:
        """Return the accuracy on the validation part; NaN where there is none."""
        if not len(self._dataset.validation_labels):
            return float("nan")
        encoded = self._part("validation", jnp.asarray(theta, jnp.float32))
        values = model_values(self._model, self._partition, theta, encoded, self._noise, by=self._by)[0]
        return accuracy(self._model, theta, values, self._dataset.validation_labels)

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


def evaluate_together(evaluators: Sequence[Evaluator], thetas: Sequence[FloatArray]) -> list[Evaluation]:
    """Return what each evaluator says of its parameters."""
    return [each.evaluate(theta) for each, theta in zip(evaluators, thetas, strict=True)]


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
