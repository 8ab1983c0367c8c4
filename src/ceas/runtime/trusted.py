"""The update that all nodes trust: the exact gradient on a few samples that everybody knows.

There is no server, so what rules call its root data set are training samples that are drawn once per run and published
before it. Every node computes their gradient at the agreed parameters on a classical machine, without noise and shots,
and applies the learners' own momentum to it.
"""

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas.aggregation import Rule, needs_of
from ceas.errors import DomainError
from ceas.learning import noiseless
from ceas.learning.training import encode_samples, model_loss_and_gradient
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.momentum import Momentum
from ceas.runtime.world import World
from ceas.streams import stream

__all__ = ["TrustedUpdate", "trusted_update"]

FloatArray = NDArray[np.float64]


class TrustedUpdate:
    """Momentum of the exact gradients on the trusted samples.

    Args:
        world: Model and data.
        n_samples: Trusted samples, drawn from the training part without regard to who holds them.
        worker_momentum: Momentum of the learners, in [0, 1).
        seed: Root seed.

    Attributes:
        samples: Their indices in the training part, shape `(n_samples,)`.

    Raises:
        DomainError: There are not so many training samples.
    """

    def __init__(self, world: World, *, n_samples: int, worker_momentum: float, seed: int) -> None:
        n_train = len(world.dataset.train_labels)
        if not 1 <= n_samples <= n_train:
            raise DomainError(f"Argument `n_samples` must be in [1, {n_train}], but is {n_samples}.")
        self.samples = np.sort(stream(seed, "root_samples").choice(n_train, n_samples, replace=False))
        self._world = world
        labels = jnp.asarray(world.dataset.train_labels[self.samples], jnp.int32)
        self._targets = labels[None], jnp.full((1, n_samples), 1.0 / n_samples, jnp.float32)
        self._momentum = Momentum((1, world.model.n_parameters), worker_momentum)

    def advance(self, theta: FloatArray) -> None:
        """Add the gradient at `theta`; once a round."""
        self._momentum.add(self._gradient(theta)[None], np.ones(1, np.bool_))

    def value(self) -> FloatArray:
        """Return the trusted update, shape `(parameters,)`."""
        value: FloatArray = self._momentum.mean()[0]
        return value

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        return self._momentum.to_arrays()

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._momentum.load(arrays)

    def _gradient(self, theta: FloatArray) -> FloatArray:
        model, dataset = self._world.model, self._world.dataset
        parameters, by = jnp.asarray(theta, jnp.float32), self._world.computations.ideal
        angles = dataset.train_angles[self.samples]
        states = None if dataset.train_states is None else dataset.train_states[self.samples]
        _, gradients = model_loss_and_gradient(
            model,
            self._world.partition,
            parameters,
            encode_samples(model, parameters, angles, states, by=by),
            noiseless(self._world.partition),
            targets=self._targets,
            samples=jnp.asarray(angles, jnp.float32),
            by=by,
        )
        return np.asarray(gradients[0], np.float64)


def trusted_update(
    rule: Rule, world: World, *, n_samples: int, worker_momentum: float, seed: int
) -> TrustedUpdate | None:
    """Return what the rule trusts, or None where it cannot be or need not be told: nothing is computed for others."""
    if n_samples == 0 or "root" not in needs_of(rule):
        return None
    return TrustedUpdate(world, n_samples=n_samples, worker_momentum=worker_momentum, seed=seed)
