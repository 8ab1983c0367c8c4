"""What a learner does with its shots in one training round: allocation, and the gradient that it estimates.

The loss of a sample x with label y is the cross-entropy of softmax(temperature * z), where z_c = <Z_c> is read from
qubit c for class c. Its gradient is sum_c a_c(x) df_c(x)/dtheta_j with a_c = temperature * (softmax_c - [c = y]), and
the two-term shift rule gives df_c/dtheta_j = (f_c(x; +) - f_c(x; -)) / 2 with the parameter shifted by +-pi/2.

A learner draws a minibatch of its own samples and spends its shots, in random order, as follows.

- Readout: about `readout_share` of them run the unshifted circuit, evenly over the minibatch. They give a.
- Shift pairs: the rest run in pairs (one shot up, one down, same parameter, same sample). Pairs are dealt evenly over
  the parameters in random order, and those of a parameter evenly over the minibatch. With less than one pair per
  parameter, a random subset of the parameters is measured and weighted by the inverse of its share: no bias arises.
  Parameters that cannot change a class's outcome get no pairs; their gradient is exactly zero.

Given a, the estimate is unbiased for the gradient through the noise of the learner: it is not debiased here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.shots import Shots, active_parameters, sample_outcomes
from ceas.streams import stream, stream_seed

__all__ = [
    "MINIMUM_SHOTS",
    "GradientEstimates",
    "GradientSettings",
    "ShotPlan",
    "cross_entropy_loss",
    "estimate_gradients",
    "plan_shots",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MINIMUM_SHOTS = 3
"""One readout and one shift pair; a learner with fewer shots sends a zero gradient and uses none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """How a learner spends its shots.

    Attributes:
        minibatch: Samples per round, at least 1; fewer when the learner has fewer samples or readout shots.
        readout_share: Part of the shots that run the unshifted circuit, in (0, 1).
        temperature: Factor of the expectation values in the softmax, positive.
    """

    minibatch: int
    readout_share: float
    temperature: float

    def __post_init__(self) -> None:
        if self.minibatch < 1:
            raise DomainError(f"Argument `minibatch` must be at least 1, but is {self.minibatch}.")
        if not 0 < self.readout_share < 1:
            raise DomainError(f"Argument `readout_share` must be in (0, 1), but is {self.readout_share}.")
        if not 0 < self.temperature < np.inf:
            raise DomainError(f"Argument `temperature` must be positive and finite, but is {self.temperature}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientEstimates:
    """Estimates of all learners.

    Attributes:
        gradient: Shape (learners, n_parameters); zero for a learner with fewer than `MINIMUM_SHOTS` shots.
        shots: Shots used, shape (learners,): all that the learner got, or 0 when they were too few.
        variance: Mean over all parameters of the estimated variance of a gradient entry, given minibatch and readout,
            shape (learners,). From the spread within parameters where a learner has more pairs than parameters, else
            from the second moment, which is too large by the squared gradient. NaN without shots.
        train_loss: Cross-entropy of the minibatch from the readout shots, shape (learners,); NaN without shots.
    """

    gradient: FloatArray
    shots: IntArray
    variance: FloatArray
    train_loss: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotPlan:
    """What each shot measures; entries are sorted by learner, and pairs of shifted shots are neighbours.

    Attributes:
        source: Which of the shots given to `plan_shots` this is, shape (used shots,).
        learner: Its learner, shape (used shots,).
        counter: Its number within the learner, shape (used shots,).
        slot: Place of its sample in the learner's minibatch, shape (used shots,).
        parameter: Shifted parameter, -1 for a readout shot, shape (used shots,).
        sign: Direction of the shift, +1 or -1, shape (used shots,); +1 for a readout shot.
        batch: Samples of the minibatches, shape (learners, minibatch); only the first `batch_size` of a row count.
        batch_size: Shape (learners,); 0 for a learner that does not take part.
        pairs: Shift pairs of each learner, shape (learners,).
    """

    source: IntArray
    learner: IntArray
    counter: IntArray
    slot: IntArray
    parameter: IntArray
    sign: IntArray
    batch: IntArray
    batch_size: IntArray
    pairs: IntArray


def estimate_gradients(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    noise: NoiseTable,
    *,
    dataset: Dataset,
    samples: LearnerSamples,
    shot_learner: npt.NDArray[np.integer],
    shot_werner: npt.NDArray[np.floating],
    settings: GradientSettings,
    seed: int,
) -> GradientEstimates:
    """Spend every learner's shots of one training round and estimate its gradient.

    A learner's result depends on the seed, its own shots, samples and noise, and on nothing of the other learners.

    Args:
        circuit: The circuit; class c is read from qubit c.
        partition: How it is spread over QPUs.
        theta: Parameters (rad), shape (n_parameters,).
        noise: Errors of the learners, L rows; its `pair_werner` is not used.
        dataset: Data set, of which the training part is used.
        samples: Which training samples each of the L learners holds.
        shot_learner: Learner of each shot, shape (shots,), in any order; a learner may have none.
        shot_werner: Werner parameters of each shot's pairs, shape (shots, pairs_per_shot), or their correlators, shape
            (shots, pairs_per_shot, 3).
        settings: How the shots are spent.
        seed: Seed of this training round, for example `stream_seed(root, "gradients", training_round=t)`.

    Returns:
        The learners' estimates.

    Raises:
        DomainError: Shapes do not fit each other, or the circuit has fewer qubits than there are classes.

    Source:
        Schuld et al., PRA 99, 032331, 2019, eq. (9) (shift rule); Sweke et al., Quantum 4, 314, 2020 (unbiased
        estimates from few shots, random samples and random parameters).
    """
    n_learners = noise.one_qubit_error.shape[0]
    if samples.count.shape != (n_learners,):
        raise DomainError(f"Argument `samples` must have {n_learners} learners, but has {samples.count.size}.")
    if circuit.n_qubits < dataset.n_classes:
        raise DomainError(f"Argument `circuit` must have a qubit per class, but has {circuit.n_qubits} qubits.")
    expected: tuple[int, ...] = (shot_learner.size, partition.pairs_per_shot)
    if shot_werner.ndim == 3:
        expected = (*expected, 3)
    if shot_werner.shape != expected:
        raise DomainError(f"Argument `shot_werner` must have shape {expected}, but has {shot_werner.shape}.")
    active = np.array(active_parameters(circuit, observables=tuple(range(dataset.n_classes))), dtype=np.int64)
    plan = plan_shots(shot_learner, samples.count, active, settings, seed=seed)
    batch = np.take_along_axis(samples.index, plan.batch, axis=1)
    shots = Shots(
        learner=plan.learner.astype(np.int32),
        counter=plan.counter.astype(np.uint32),
        sample=batch[plan.learner, plan.slot].astype(np.int32),
        shift_parameter=plan.parameter.astype(np.int32),
        shift_sign=plan.sign.astype(np.int32),
        pair_werner=shot_werner[plan.source].astype(np.float32),
    )
    bits = sample_outcomes(
        circuit, partition, theta, dataset.train_angles, noise, shots=shots, seed=stream_seed(seed, "outcomes")
    )
    # Outcomes +1 or -1 of every class, shape (used shots, classes).
    values = 1.0 - 2.0 * ((bits[:, None] >> np.arange(dataset.n_classes, dtype=np.uint32)) & 1).astype(np.float64)
    slopes, train_loss = _slopes(plan, values, dataset.train_labels[batch], settings.temperature)
    gradient, variance = _gradient(plan, values, slopes, n_parameters=circuit.n_parameters, n_active=active.size)
    shots_used = np.bincount(plan.learner, minlength=n_learners)
    return GradientEstimates(gradient=gradient, shots=shots_used, variance=variance, train_loss=train_loss)


def plan_shots(
    shot_learner: npt.NDArray[np.integer],
    sample_count: IntArray,
    parameters: IntArray,
    settings: GradientSettings,
    *,
    seed: int,
) -> ShotPlan:
    """Decide what each shot measures, as the head of this module says.

    Args:
        shot_learner: Learner of each shot, shape (shots,).
        sample_count: Samples that each learner holds, shape (learners,).
        parameters: Parameters to measure, at least one.
        settings: How the shots are spent.
        seed: Seed of this training round; each learner has its own stream.

    Raises:
        DomainError: A shot has an unknown learner, or there is no parameter.
    """
    n_learners = sample_count.size
    if shot_learner.size and not (shot_learner.min() >= 0 and shot_learner.max() < n_learners):
        raise DomainError(f"Argument `shot_learner` must be in [0, {n_learners}), but is not.")
    if parameters.size == 0:
        raise DomainError("Argument `parameters` must name at least one parameter, but is empty.")
    available = np.bincount(shot_learner, minlength=n_learners)
    takes_part = available >= MINIMUM_SHOTS
    n_shots = np.where(takes_part, available, 0)
    wanted_pairs = np.floor((1 - settings.readout_share) * n_shots / 2).astype(np.int64)
    pairs = np.where(takes_part, np.clip(wanted_pairs, 1, np.maximum(n_shots - 1, 1) // 2), 0)
    readouts = n_shots - 2 * pairs
    batch_size = np.minimum(np.minimum(settings.minibatch, sample_count), readouts)
    order, batch, parameter_order = _draw(
        available, n_shots, sample_count, parameters=parameters, minibatch=settings.minibatch, seed=seed
    )

    learner = np.repeat(np.arange(n_learners), n_shots)
    counter = np.arange(learner.size) - (np.cumsum(n_shots) - n_shots)[learner]
    shifted = counter - readouts[learner]
    is_readout = shifted < 0
    repetition, rank = np.divmod(shifted // 2, parameters.size)
    slot = np.where(is_readout, counter, rank + repetition) % batch_size[learner]
    return ShotPlan(
        source=np.argsort(shot_learner, kind="stable")[order],
        learner=learner,
        counter=counter,
        slot=slot,
        parameter=np.where(is_readout, -1, parameter_order[learner, rank]),
        sign=np.where(is_readout | (shifted % 2 == 0), 1, -1),
        batch=batch,
        batch_size=batch_size,
        pairs=pairs,
    )


def _draw(
    available: IntArray, n_shots: IntArray, sample_count: IntArray, *, parameters: IntArray, minibatch: int, seed: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Draw, per learner that takes part, the order of its shots, its minibatch and the order of the parameters.

    The order indexes the shots sorted by learner, those of learners that do not take part included.
    """
    order = np.empty(n_shots.sum(), dtype=np.int64)
    batch = np.zeros((n_shots.size, minibatch), dtype=np.int64)
    parameter_order = np.zeros((n_shots.size, parameters.size), dtype=np.int64)
    first_available = np.cumsum(available) - available
    last = np.cumsum(n_shots)
    for learner in np.flatnonzero(n_shots):
        rng = stream(seed, "shot_plan", learner=int(learner))
        size = n_shots[learner]
        order[last[learner] - size : last[learner]] = first_available[learner] + rng.permutation(size)
        chosen = rng.permutation(sample_count[learner])[:minibatch]
        batch[learner, : chosen.size] = chosen
        parameter_order[learner] = rng.permutation(parameters)
    return order, batch, parameter_order


def _slopes(plan: ShotPlan, values: FloatArray, labels: IntArray, temperature: float) -> tuple[FloatArray, FloatArray]:
    """Return a = dloss/dz from the readout shots, (learners, minibatch, classes), and every learner's mean loss."""
    n_learners, minibatch = plan.batch.shape
    is_readout = plan.parameter < 0
    cell = (plan.learner * minibatch + plan.slot)[is_readout]
    shape = (n_learners, minibatch)
    hits = np.bincount(cell, minlength=n_learners * minibatch).reshape(shape)
    sums = [np.bincount(cell, column, n_learners * minibatch).reshape(shape) for column in values[is_readout].T]
    # Slots beyond the minibatch have no shots; they are cut off below.
    scores = temperature * np.stack(sums, axis=-1) / np.maximum(hits, 1)[..., None]
    log_probability = scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
    is_label = labels[..., None] == np.arange(values.shape[1])
    is_used = np.arange(minibatch) < plan.batch_size[:, None]
    losses = np.where(is_used, -log_probability[is_label].reshape(shape), 0.0).sum(axis=1)
    mean_loss = np.divide(losses, plan.batch_size, out=np.full(n_learners, np.nan), where=plan.batch_size > 0)
    return temperature * (np.exp(log_probability) - is_label), mean_loss


def _gradient(
    plan: ShotPlan, values: FloatArray, slopes: FloatArray, *, n_parameters: int, n_active: int
) -> tuple[FloatArray, FloatArray]:
    """Return the gradients from the shift pairs, shape (learners, n_parameters), and their variances (learners,)."""
    n_learners = plan.pairs.size
    is_shifted = plan.parameter >= 0
    weights = slopes[plan.learner[is_shifted], plan.slot[is_shifted]]
    up_down = np.einsum("sc,sc->s", weights, values[is_shifted]).reshape(-1, 2)
    difference = (up_down[:, 0] - up_down[:, 1]) / 2
    cell = (plan.learner * n_parameters + plan.parameter)[is_shifted][::2]

    def total(weight: FloatArray | None) -> FloatArray:
        return np.bincount(cell, weight, n_learners * n_parameters).reshape(n_learners, n_parameters).astype(np.float64)

    hits, sums, squares = total(None), total(difference), total(difference**2).sum(axis=1)
    # One of A active parameters that is measured with probability U / A is weighted by A / U; from U = A on, all are.
    weight = np.maximum(n_active / np.maximum(plan.pairs, 1), 1.0)
    mean = np.divide(sums, hits, out=np.zeros_like(sums), where=hits > 0)
    freedom = plan.pairs - n_active
    spread = (squares - (hits * mean**2).sum(axis=1)) / np.maximum(freedom, 1)
    within = spread * np.divide(1, hits, out=np.zeros_like(hits), where=hits > 0).sum(axis=1)
    variance = np.where(freedom > 0, within, weight**2 * squares) / n_parameters
    return weight[:, None] * mean, np.where(plan.pairs > 0, variance, np.nan)


@lru_cache(maxsize=16)
def cross_entropy_loss(temperature: float) -> Callable[[jax.Array, tuple[jax.Array, jax.Array]], jax.Array]:
    """Return the loss of this module as a function for `loss_and_gradient`, the same object for the same temperature.

    The function takes expectation values of the classes, shape (samples, classes), and targets (labels, weights), both
    of shape (samples,), and returns the weighted sum of the samples' cross-entropies; weights 1/count make it the mean,
    and weight 0 leaves out a row that only pads.
    """

    def loss(expectation: jax.Array, targets: tuple[jax.Array, jax.Array]) -> jax.Array:
        labels, weights = targets
        log_probability = jax.nn.log_softmax(temperature * expectation, axis=-1)
        return -(weights * jnp.take_along_axis(log_probability, labels[:, None], axis=-1)[:, 0]).sum()

    return loss
