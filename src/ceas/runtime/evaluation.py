"""Exact figures of a model: losses, accuracy and gradients from the engine, without noise, shots or attackers."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas.learning import cross_entropy_loss, encode_features, expectations, loss_and_gradient, noiseless
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.momentum import Momentum
from ceas.runtime.outcome import Evaluation
from ceas.runtime.world import World

__all__ = ["Evaluator"]

FloatArray = NDArray[np.float64]


class Evaluator:
    """Exact figures of the agreed parameters; the same for every method.

    The training objective is that of the honest learners: the mean over them of the mean loss over their samples.

    Args:
        world: Circuit, data and who is honest.
        temperature: Factor on expectation values before the softmax.
        worker_momentum: Momentum of the learners, in [0, 1).
    """

    def __init__(self, world: World, *, temperature: float, worker_momentum: float) -> None:
        dataset = world.dataset
        self._circuit, self._partition = world.circuit, world.partition
        self._observables = tuple(range(dataset.n_classes))
        self._noise = noiseless(world.partition)
        self._loss = cross_entropy_loss(temperature)
        self._train_features = encode_features(jnp.asarray(dataset.train_angles))
        self._test_features = encode_features(jnp.asarray(dataset.test_angles))
        self._train_targets = _targets(dataset.train_labels, _honest_sample_weights(world))
        n_test = len(dataset.test_labels)
        self._test_targets = _targets(dataset.test_labels, np.full(n_test, 1.0 / n_test))
        self._test_labels = dataset.test_labels
        self._momentum = Momentum((1, world.circuit.n_parameters), worker_momentum)

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
        """Return accuracy and loss on the test part; the class of the largest expectation value is the answer."""
        values = expectations(
            self._circuit,
            self._partition,
            jnp.asarray(theta, jnp.float32),
            self._test_features,
            self._noise,
            observables=self._observables,
        )[0]
        is_right = np.asarray(values).argmax(axis=1) == self._test_labels
        labels, weights = self._test_targets
        return Evaluation(
            test_accuracy=float(is_right.mean()), test_loss=float(self._loss(values, (labels[0], weights[0])))
        )

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        return self._momentum.to_arrays()

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._momentum.load(arrays)

    def _loss_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        losses, gradients = loss_and_gradient(
            self._circuit,
            self._partition,
            jnp.asarray(theta, jnp.float32),
            self._train_features,
            self._noise,
            targets=self._train_targets,
            observables=self._observables,
            loss=self._loss,
        )
        return float(losses[0]), np.asarray(gradients[0], np.float64)


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
