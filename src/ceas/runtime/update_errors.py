"""How far a round's updates are off the exact gradients of the honest learners: what a certificate is made of.

Measured at the agreed parameters theta, where g is the exact gradient of the honest objective, without noise and shots,
and g_i that of honest learner i. u_i is the update of learner i as the rule took it: after attacks, the exchange and,
where the method does so, the division by its certified contraction. S are the honest learners whose updates the rule
took, A is what it made of them. Everything that separates the training from a descent along g is in three numbers: the
honest updates' mean error |mean_S u - g|^2, their spread about that mean, and the rule's error |A - mean_S u|^2, of
which a robust rule promises that it is at most kappa times the spread.

Nothing here is seen by a rule, an attack or an honest node.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas.learning import Encoded, noiseless
from ceas.learning.training import encode_samples, model_loss_and_gradient
from ceas.runtime.checkpoint import Arrays, prefixed, unprefixed
from ceas.runtime.world import World

__all__ = ["MEASURED", "HonestObjectives", "RoundUpdates", "UpdateErrors", "round_errors"]

FloatArray = NDArray[np.float64]

MEASURED: Mapping[str, str] = {
    "round": "training round",
    "loss": "honest objective at the parameters that the round started from",
    "squared_gradient": "|g|^2",
    "gradient_spread": "mean of |g_i - g|^2 over the honest learners",
    "update_spread": "mean of |u_i - mean_S u|^2 over S; NaN where S is empty",
    "mean_error": "|mean_S u - g|^2; NaN where S is empty",
    "rule_error": "|A - mean_S u|^2, 0 where it is rounding alone; NaN where S is empty",
    "kappa": "rule_error over update_spread",
    "n_rows": "updates that the rule took; 0 where it made no step",
    "n_honest": "of these, honest ones",
    "n_declared": "attackers among these that the rule was run with",
    "contraction_error": "largest relative error, over S, of what stands for the contraction of a learner's update",
    "curvature": "change of g since the last measurement over that of the parameters; NaN at first",
}
"""Columns of the measurements, one row a measured round."""

# Relative to the longest vector in play. Sums of the same float64 numbers in another order differ by about 1e-16 of
# their size a number.
_ROUNDING = 1e-12


class RoundUpdates(NamedTuple):
    """What the rule took in one round and made of it.

    Attributes:
        rows: Each learner's update as the rule took it, shape (learners, parameters).
        is_admitted: Whose update the rule took, shape (learners,).
        value: What it made of them, shape (parameters,); None where it made no step.
        n_declared: Attackers that it was run with.
        contraction_error: Relative error of what stands for each learner's contraction, shape (learners,); NaN where
            there is none.
    """

    rows: FloatArray
    is_admitted: NDArray[np.bool_]
    value: FloatArray | None
    n_declared: int
    contraction_error: FloatArray


def round_errors(gradients: FloatArray, updates: RoundUpdates, *, is_byzantine: NDArray[np.bool_]) -> dict[str, float]:
    """Return a round's measurements, all of `MEASURED` but `round`, `loss` and `curvature`.

    Args:
        gradients: Exact gradients of the honest learners, shape (honest learners, parameters).
        updates: What the rule took and made.
        is_byzantine: Who is malicious, shape (learners,).
    """
    gradient = gradients.mean(axis=0)
    admitted = updates.is_admitted if updates.value is not None else np.zeros_like(updates.is_admitted)
    honest = admitted & ~is_byzantine
    found = {
        "squared_gradient": float(gradient @ gradient),
        "gradient_spread": float(np.sum((gradients - gradient) ** 2, axis=1).mean()),
        **dict.fromkeys(("update_spread", "mean_error", "rule_error", "kappa", "contraction_error"), math.nan),
        "n_rows": float(admitted.sum()),
        "n_honest": float(honest.sum()),
        "n_declared": float(updates.n_declared),
    }
    if updates.value is None or not honest.any():
        return found
    rows = updates.rows[honest]
    mean = rows.mean(axis=0)
    spread = float(np.sum((rows - mean) ** 2, axis=1).mean())
    error = float(np.sum((updates.value - mean) ** 2))
    # A rule that returns the mean, as all do of updates that coincide and many do without attackers, forms its sum in
    # another order. What that moves is no error of the rule, and over a spread of 0, or beside a proved kappa of 0, it
    # would be one without bound.
    if error <= _ROUNDING**2 * max(float(mean @ mean), float(updates.value @ updates.value), spread):
        error = 0.0
    known = updates.contraction_error[honest]
    return found | {
        "update_spread": spread,
        "mean_error": float(np.sum((mean - gradient) ** 2)),
        "rule_error": error,
        "kappa": error / spread if spread > 0 else math.inf if error > 0 else 0.0,
        "contraction_error": float(np.max(known[np.isfinite(known)], initial=0.0)),
    }


class HonestObjectives:
    """Exact losses of the honest learners, each the mean over its own samples, and their gradients.

    Args:
        world: Model, data and who is honest.
    """

    def __init__(self, world: World) -> None:
        self._model, self._partition, self._by = world.model, world.partition, world.computations.ideal
        self._noise = noiseless(world.partition)
        honest = np.flatnonzero(~world.is_byzantine)
        # What pads the shorter ones has no weight, so that no column is needed that all only pad.
        count = world.samples.count[honest]
        index = world.samples.index[honest, : count.max()]
        dataset = world.dataset
        self._samples = dataset.train_angles[index]
        self._states = None if dataset.train_states is None else dataset.train_states[index]
        weights = (np.arange(index.shape[1]) < count[:, None]) / count[:, None]
        self._targets = jnp.asarray(dataset.train_labels[index], jnp.int32), jnp.asarray(weights, jnp.float32)
        self._encoded: Encoded | None = None

    def __call__(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses, shape (honest learners,), and gradients, shape (honest learners, parameters)."""
        parameters = jnp.asarray(theta, jnp.float32)
        if self._encoded is None or self._model.n_dressed_inputs is not None:
            # Only a layer in front makes the encoded samples depend on parameters.
            self._encoded = encode_samples(self._model, parameters, self._samples, self._states, by=self._by)
        losses, gradients = model_loss_and_gradient(
            self._model,
            self._partition,
            parameters,
            self._encoded,
            self._noise,
            targets=self._targets,
            samples=jnp.asarray(self._samples, jnp.float32),
            by=self._by,
        )
        return np.asarray(losses, np.float64), np.asarray(gradients, np.float64)


class UpdateErrors:
    """The measurements of one run, round by round.

    Args:
        world: Model, data and who is honest.
        every: Training rounds between two measurements, from the first round on; 0 for none.
    """

    def __init__(self, world: World, *, every: int) -> None:
        self._world, self._every = world, every
        self._objectives: HonestObjectives | None = None
        self._rows: list[Mapping[str, float]] = []
        n_parameters = world.model.n_parameters
        self._last_theta, self._last_gradient = np.full(n_parameters, np.nan), np.full(n_parameters, np.nan)

    def is_due(self, completed_rounds: int) -> bool:
        """Tell whether the round after so many is measured."""
        return self._every > 0 and completed_rounds % self._every == 0

    def measure(self, training_round: int, theta: FloatArray, updates: RoundUpdates) -> None:
        """Measure a round at the parameters that it started from."""
        if self._objectives is None:
            self._objectives = HonestObjectives(self._world)
        losses, gradients = self._objectives(theta)
        gradient = gradients.mean(axis=0)
        moved = float(np.linalg.norm(theta - self._last_theta))
        changed = float(np.linalg.norm(gradient - self._last_gradient))
        self._rows.append(
            {
                "round": float(training_round),
                "loss": float(losses.mean()),
                **round_errors(gradients, updates, is_byzantine=self._world.is_byzantine),
                "curvature": changed / moved if moved > 0 else math.nan,
            }
        )
        self._last_theta, self._last_gradient = theta.copy(), gradient

    def table(self) -> dict[str, FloatArray]:
        """Return the measurements as columns, those of `MEASURED`."""
        return {name: np.array([row[name] for row in self._rows], np.float64) for name in MEASURED}

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        last: Arrays = {"last_theta": self._last_theta.copy(), "last_gradient": self._last_gradient.copy()}
        return last | prefixed("table", dict(self.table()))

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._last_theta = np.array(arrays["last_theta"], np.float64)
        self._last_gradient = np.array(arrays["last_gradient"], np.float64)
        columns = {name: column.tolist() for name, column in unprefixed("table", arrays).items()}
        self._rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
