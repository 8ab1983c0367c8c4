"""The gradient that each learner estimates from the shots of one training round.

Readout shots give the expectation values of each sample of the minibatch, and with them the slopes a = d loss / d
value. Given a, what remains is linear in expectation values, and the pairs of `ceas.learning.shot_plan` measure it:

- Parameter shift: the angle phi_r of one rotation is moved by +-pi/2, and d f / d phi_r = (f(+) - f(-)) / 2 exactly.
  The chain rule d phi_r / d theta_p is known, so that shared parameters, parameters that multiply inputs and a trained
  layer in front of the circuit are all served. Rotations that cannot change what is read, or that no parameter moves,
  get none.
- SPSA: all parameters are moved by +-c along a random direction of signs d, and (f(theta + c d) - f(theta - c d)) / 2c
  * d estimates the gradient with a bias of order c^2, at the same cost for any number of parameters.

Given a, a parameter-shift estimate is unbiased for the gradient through the noise of the learner: it is not divided by
the learner's contraction here, see `debiased`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit
from ceas.learning.classifier import Classifier, head_gradient, model_angles, score_slopes, scores, split_parameters
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition
from ceas.learning.shot_plan import MINIMUM_SHOTS, ShotPlan, plan_shots
from ceas.learning.shots import Shots, active_rotations, sample_outcomes
from ceas.streams import stream, stream_seed

__all__ = [
    "GRADIENT_METHODS",
    "MINIMUM_SHOTS",
    "GradientEstimates",
    "GradientMethod",
    "GradientSettings",
    "RunShots",
    "debiased",
    "estimate_gradients",
    "estimate_gradients_together",
    "trained_rotations",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
GradientMethod = Literal["parameter_shift", "spsa"]
GRADIENT_METHODS: tuple[GradientMethod, ...] = ("parameter_shift", "spsa")


class RunShots(Protocol):
    """What runs shots: `ceas.learning.shots.sample_outcomes`, or a device with the same arguments."""

    def __call__(
        self,
        circuit: Circuit,
        partition: Partition,
        angles: npt.ArrayLike,
        noise: NoiseTable,
        *,
        shots: Shots,
        seed: int,
        states: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.uint32]:
        """Return the measured bitstring of every shot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSettings:
    """How a learner spends its shots.

    Attributes:
        minibatch: Samples per round, at least 1; fewer when the learner has fewer samples or readout shots.
        readout_share: Part of the shots that run the unshifted circuit, in (0, 1).
        method: `"parameter_shift"` or `"spsa"`.
        spsa_step: Move c of every parameter (rad), positive.
        spsa_directions: Random directions a round, at least 1.
    """

    minibatch: int
    readout_share: float
    method: GradientMethod = "parameter_shift"
    spsa_step: float = 0.3
    spsa_directions: int = 1

    def __post_init__(self) -> None:
        if self.minibatch < 1:
            raise DomainError(f"Argument `minibatch` must be at least 1, but is {self.minibatch}.")
        if not 0 < self.readout_share < 1:
            raise DomainError(f"Argument `readout_share` must be in (0, 1), but is {self.readout_share}.")
        if self.method not in GRADIENT_METHODS:
            raise UnknownNameError("gradient method", self.method, GRADIENT_METHODS)
        if not 0 < self.spsa_step < np.inf:
            raise DomainError(f"Argument `spsa_step` must be positive and finite, but is {self.spsa_step}.")
        if self.spsa_directions < 1:
            raise DomainError(f"Argument `spsa_directions` must be at least 1, but is {self.spsa_directions}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientEstimates:
    """Estimates of all learners.

    Attributes:
        gradient: Shape (learners, n_parameters); zero for a learner with fewer than `MINIMUM_SHOTS` shots.
        shots: Shots used, shape (learners,): all that the learner got, or 0 when they were too few.
        variance: Mean over all parameters of the estimated variance of a gradient entry, given minibatch and readout,
            shape (learners,). From the spread within terms where a learner has more pairs than terms, else from the
            second moment, which is too large by the squared gradient. NaN without shots.
        train_loss: Cross-entropy of the minibatch from the readout shots, shape (learners,); NaN without shots.
    """

    gradient: FloatArray
    shots: IntArray
    variance: FloatArray
    train_loss: FloatArray


class _Circuits(NamedTuple):
    """What the shots of a plan run, and what the outcomes of its pairs say.

    Attributes:
        angles: Angles of every circuit, shape (rows, R); rows are blocks of (learners, minibatch).
        row: The circuit of each shot, shape (used shots,).
        shift_rotation: The rotation that it shifts, or -1, shape (used shots,).
        scale: Length of the gradient per unit of a pair's difference, shape (pairs,).
        to_gradient: Maps each term's mean difference, as shares of the samples (learners, minibatch, terms), to the
            gradients (learners, n_parameters).
    """

    angles: FloatArray
    row: IntArray
    shift_rotation: IntArray
    scale: FloatArray
    to_gradient: Callable[[FloatArray], FloatArray]


class _Minibatch(NamedTuple):
    """Samples (learners, minibatch, n_inputs) and labels (learners, minibatch)."""

    samples: FloatArray
    labels: IntArray


def estimate_gradients(
    model: Classifier,
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
    run_shots: RunShots = sample_outcomes,
) -> GradientEstimates:
    """Spend every learner's shots of one training round and estimate its gradient.

    A learner's result depends on the seed, its own shots, samples and noise, and on nothing of the other learners.

    Args:
        model: The classifier.
        partition: How its circuit is spread over QPUs.
        theta: Flat parameters, shape (model.n_parameters,).
        noise: Errors of the learners, L rows; its `pair_werner` is not used.
        dataset: Data set, of which the training part is used.
        samples: Which training samples each of the L learners holds.
        shot_learner: Learner of each shot, shape (shots,), in any order; a learner may have none.
        shot_werner: Werner parameters of each shot's pairs, shape (shots, pairs_per_shot), or their correlators, shape
            (shots, pairs_per_shot, 3).
        settings: How the shots are spent.
        seed: Seed of this training round, for example `stream_seed(root, "gradients", training_round=t)`.
        run_shots: What runs them.

    Returns:
        The learners' estimates.

    Raises:
        DomainError: Shapes do not fit each other, or no parameter can change what is read.

    Source:
        Schuld et al., PRA 99, 032331, 2019, eq. (9) (shift rule); Sweke et al., Quantum 4, 314, 2020 (unbiased
        estimates from few shots, random samples and random terms); Spall, IEEE Trans. Autom. Control 37, 332, 1992
        (SPSA).
    """
    n_learners = noise.one_qubit_error.shape[0]
    parameters = np.asarray(theta, dtype=np.float64)
    _check_data(model, dataset, samples, n_learners)
    _check_pairs(partition, shot_learner, shot_werner)
    terms = _terms(model, settings, has_relaxation=noise.relaxation is not None)
    plan = plan_shots(
        shot_learner,
        samples.count,
        terms,
        minibatch=settings.minibatch,
        readout_share=settings.readout_share,
        seed=seed,
    )
    index = np.take_along_axis(samples.index, plan.batch, axis=1)
    batch = _Minibatch(dataset.train_angles[index], dataset.train_labels[index])
    if settings.method == "parameter_shift":
        circuits = _shifted(model, parameters, plan, batch, terms)
    else:
        circuits = _perturbed(model, parameters, plan, batch, settings=settings, seed=seed)
    bits = run_shots(
        model.circuit,
        partition,
        circuits.angles,
        noise,
        shots=_shots(plan, circuits, shot_werner),
        seed=stream_seed(seed, "outcomes"),
        states=None if dataset.train_states is None else _row_states(dataset.train_states[index], circuits.angles),
    )
    # Outcomes +1 or -1 of every measured qubit, shape (used shots, observables).
    observed = np.array(model.observables, dtype=np.uint32)
    values = 1.0 - 2.0 * ((bits[:, None] >> observed) & 1).astype(np.float64)
    readout = _read(model, parameters, plan, values, batch.labels)
    gradient, squared_error = _gradient(plan, values, readout.slopes, circuits, terms)
    return GradientEstimates(
        gradient=gradient + readout.head_gradient,
        shots=np.bincount(plan.learner, minlength=n_learners),
        variance=squared_error / model.n_parameters,
        train_loss=readout.loss,
    )


def debiased(
    gradient: FloatArray, variance: FloatArray, contraction: FloatArray, *, least: float = 0.1
) -> tuple[FloatArray, FloatArray]:
    """Divide gradients by known contractions; learners whose signal is almost lost send zero.

    Noise that scales every expectation value by lambda scales a gradient alike; divided by lambda it is unbiased, and
    its variance grows by 1 / lambda^2. An estimated contraction biases the quotient by about (1 - lambda^2) / (S
    lambda^2) for S test shots, which is why small ones are dropped.

    Args:
        gradient: Shape (learners, n_parameters).
        variance: Shape (learners,).
        contraction: Shape (learners,), in [0, 1].
        least: Contraction below which a gradient becomes zero and its variance infinite, in (0, 1].

    Returns:
        Gradients and variances.

    Raises:
        DomainError: A contraction or `least` is outside its range.
    """
    if not np.all((contraction >= 0) & (contraction <= 1)):
        raise DomainError(f"Argument `contraction` must be in [0, 1], but is {contraction}.")
    if not 0 < least <= 1:
        raise DomainError(f"Argument `least` must be in (0, 1], but is {least}.")
    is_kept = contraction >= least
    divisor = np.where(is_kept, contraction, 1.0)
    return (
        np.where(is_kept[:, None], gradient / divisor[:, None], 0.0),
        np.where(is_kept, variance / divisor**2, np.inf),
    )


def _check_data(model: Classifier, dataset: Dataset, samples: LearnerSamples, n_learners: int) -> None:
    if samples.count.shape != (n_learners,):
        raise DomainError(f"Argument `samples` must have {n_learners} learners, but has {samples.count.size}.")
    if dataset.n_classes != model.n_classes or dataset.n_features != model.n_inputs:
        needed = f"{model.n_classes} classes and {model.n_inputs} features"
        found = f"{dataset.n_classes} and {dataset.n_features}"
        raise DomainError(f"Argument `dataset` must have {needed} for this model, but has {found}.")


def _check_pairs(
    partition: Partition, shot_learner: npt.NDArray[np.integer], shot_werner: npt.NDArray[np.floating]
) -> None:
    expected: tuple[int, ...] = (shot_learner.size, partition.pairs_per_shot)
    if shot_werner.ndim == 3:
        expected = (*expected, 3)
    if shot_werner.shape != expected:
        raise DomainError(f"Argument `shot_werner` must have shape {expected}, but has {shot_werner.shape}.")


def _terms(model: Classifier, settings: GradientSettings, *, has_relaxation: bool) -> IntArray:
    """Return the rotations that are worth shifting, or the numbers of the directions."""
    if settings.method == "spsa":
        return np.arange(settings.spsa_directions)
    return trained_rotations(model, has_relaxation=has_relaxation)


@lru_cache(maxsize=64)
def trained_rotations(model: Classifier, *, has_relaxation: bool) -> IntArray:
    """Return the indices of the rotations that training turns and that can change what is read.

    Args:
        model: The model.
        has_relaxation: Whether the noise has relaxation, which lets more rotations count.

    Raises:
        DomainError: There is none.
    """
    found = active_rotations(model.circuit, observables=model.observables, has_relaxation=has_relaxation)
    active = np.array(found, dtype=np.int64)
    is_dressed = model.n_dressed_inputs is not None
    gates = [model.circuit.gates[model.circuit.rotations[rotation]] for rotation in active]
    is_moved = [bool(gate.parameters) or (is_dressed and bool(gate.features)) for gate in gates]
    moved: IntArray = active[np.array(is_moved, dtype=bool)]
    if moved.size == 0:
        raise DomainError("Argument `model` must have a parameter that can change what is read, but has none.")
    # Callers share it.
    moved.setflags(write=False)
    return moved


def _shots(plan: ShotPlan, circuits: _Circuits, shot_werner: npt.NDArray[np.floating]) -> Shots:
    return Shots(
        learner=plan.learner.astype(np.int32),
        counter=plan.counter.astype(np.uint32),
        sample=circuits.row.astype(np.int32),
        shift_rotation=circuits.shift_rotation.astype(np.int32),
        shift_sign=plan.sign.astype(np.int32),
        pair_werner=shot_werner[plan.source].astype(np.float32),
    )


def _row_states(states: npt.NDArray[np.complexfloating], angles: FloatArray) -> npt.NDArray[np.complexfloating]:
    """Return the initial state of every circuit: rows are copies of the minibatches (learners, minibatch, 2^n)."""
    flat = states.reshape(-1, states.shape[-1])
    return np.tile(flat, (len(angles) // len(flat), 1))


def _shifted(model: Classifier, theta: FloatArray, plan: ShotPlan, batch: _Minibatch, rotations: IntArray) -> _Circuits:
    """Return the circuits of the parameter-shift rule: one per learner and sample."""
    n_learners, minibatch = batch.labels.shape
    # NumPy arrays go into compiled functions as they are: converting them beforehand takes longer than the work.
    angles, reach = _angles_and_reach(model, theta, batch.samples)
    row = plan.learner * minibatch + plan.slot
    up = np.flatnonzero(plan.term >= 0)[::2]

    def to_gradient(differences: FloatArray) -> FloatArray:
        cotangents = np.zeros((n_learners, minibatch, len(model.circuit.rotations)))
        cotangents[..., rotations] = differences
        return np.asarray(_pull_back(model, theta, batch.samples, cotangents), dtype=np.float64)

    return _Circuits(
        angles=np.asarray(angles, dtype=np.float64).reshape(n_learners * minibatch, -1),
        row=row,
        shift_rotation=plan.term,
        scale=np.asarray(reach, dtype=np.float64).reshape(n_learners * minibatch, -1)[row[up], plan.term[up]],
        to_gradient=to_gradient,
    )


def _perturbed(
    model: Classifier, theta: FloatArray, plan: ShotPlan, batch: _Minibatch, *, settings: GradientSettings, seed: int
) -> _Circuits:
    """Return the circuits of SPSA: as they are, then every direction up and down, which each learner draws itself."""
    n_learners, minibatch = batch.labels.shape
    n_directions, step = settings.spsa_directions, settings.spsa_step
    # Layers behind the circuit do not change what is measured: their gradient is known from the readout.
    n_moved = model.n_parameters - sum(part.size for part in split_parameters(model, theta)[3:])
    directions = np.zeros((n_learners, n_directions, model.n_parameters))
    for learner in np.flatnonzero(plan.batch_size):
        rng = stream(seed, "spsa", learner=int(learner))
        directions[learner, :, :n_moved] = rng.choice([-1.0, 1.0], (n_directions, n_moved))
    moves = np.stack([directions, -directions], axis=2).reshape(n_learners, 2 * n_directions, -1)
    moves = np.concatenate([np.zeros((n_learners, 1, model.n_parameters)), step * moves], axis=1)
    angles = _moved_angles(model, theta + moves, batch.samples)
    block = np.where(plan.term < 0, 0, 1 + 2 * plan.term + (plan.sign < 0))

    def to_gradient(differences: FloatArray) -> FloatArray:
        gradient: FloatArray = np.einsum("lsd,ldp->lp", differences, directions) / (step * n_directions)
        return gradient

    return _Circuits(
        angles=np.asarray(angles, dtype=np.float64).reshape((1 + 2 * n_directions) * n_learners * minibatch, -1),
        row=(block * n_learners + plan.learner) * minibatch + plan.slot,
        shift_rotation=np.full(plan.term.size, -1),
        scale=np.full(plan.pairs.sum(), np.sqrt(n_moved) / (step * n_directions)),
        to_gradient=to_gradient,
    )


class _Reading(NamedTuple):
    """What the readout shots give.

    Attributes:
        slopes: d loss / d value of each sample, shape (learners, minibatch, observables).
        head_gradient: Gradient by the layer behind the circuit, shape (learners, n_parameters), zero elsewhere.
        loss: Mean loss of the minibatch, shape (learners,); NaN for a learner that does not take part.
    """

    slopes: FloatArray
    head_gradient: FloatArray
    loss: FloatArray


def _read(model: Classifier, theta: FloatArray, plan: ShotPlan, values: FloatArray, labels: IntArray) -> _Reading:
    n_learners, minibatch = plan.batch.shape
    is_readout = plan.term < 0
    cell = (plan.learner * minibatch + plan.slot)[is_readout]
    shape = (n_learners, minibatch)
    hits = np.bincount(cell, minlength=n_learners * minibatch).reshape(shape)
    sums = [np.bincount(cell, column, n_learners * minibatch).reshape(shape) for column in values[is_readout].T]
    # Slots beyond the minibatch have no shots; they are cut off below.
    means = np.stack(sums, axis=-1) / np.maximum(hits, 1)[..., None]
    found = scores(model, theta, means)
    log_probability = found - np.logaddexp.reduce(found, axis=-1, keepdims=True)
    is_label = labels[..., None] == np.arange(model.n_classes)
    is_used = np.arange(minibatch) < plan.batch_size[:, None]
    losses = np.where(is_used, -log_probability[is_label].reshape(shape), 0.0).sum(axis=1)
    errors = np.where(is_used[..., None], np.exp(log_probability) - is_label, 0.0)
    per_sample = errors / np.maximum(plan.batch_size, 1)[:, None, None]
    return _Reading(
        slopes=score_slopes(model, theta, errors),
        head_gradient=head_gradient(model, per_sample, means),
        loss=np.divide(losses, plan.batch_size, out=np.full(n_learners, np.nan), where=plan.batch_size > 0),
    )


def _gradient(
    plan: ShotPlan, values: FloatArray, slopes: FloatArray, circuits: _Circuits, terms: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return the gradients from the pairs, shape (learners, n_parameters), and their squared errors (learners,)."""
    n_learners, minibatch = plan.batch.shape
    up = np.flatnonzero(plan.term >= 0)[::2]
    learner, slot, term = (column[up] for column in (plan.learner, plan.slot, plan.term))
    weights = slopes[learner, slot]
    difference = (np.einsum("sc,sc->s", weights, values[up]) - np.einsum("sc,sc->s", weights, values[up + 1])) / 2
    place = np.searchsorted(terms, term)
    shape = (n_learners, minibatch, terms.size)
    cell = np.ravel_multi_index((learner, slot, place), shape)

    def total(weight: FloatArray | None) -> FloatArray:
        return np.bincount(cell, weight, math.prod(shape)).reshape(shape).astype(np.float64, copy=False)

    hits, sums = total(None).sum(axis=1), total(difference)
    # One of T terms that is measured with probability U / T is weighted by T / U; from U = T on, all are.
    weight = np.maximum(terms.size / np.maximum(plan.pairs, 1), 1.0)
    shares = np.divide(sums, hits[:, None], out=np.zeros_like(sums), where=hits[:, None] > 0)
    gradient = circuits.to_gradient(weight[:, None, None] * shares)

    scaled = difference * circuits.scale
    squares, scaled_sums = total(scaled**2).sum(axis=(1, 2)), total(scaled).sum(axis=1)
    explained = np.divide(scaled_sums**2, hits, out=np.zeros_like(hits), where=hits > 0).sum(axis=1)
    freedom = plan.pairs - terms.size
    spread = (squares - explained) / np.maximum(freedom, 1)
    within = spread * np.divide(1, hits, out=np.zeros_like(hits), where=hits > 0).sum(axis=1)
    squared_error = np.where(freedom > 0, within, weight**2 * squares)
    return gradient, np.where(plan.pairs > 0, squared_error, np.nan)


@partial(jax.jit, static_argnums=0)
def _angles_and_reach(
    model: Classifier, theta: jax.Array | FloatArray, samples: jax.Array | FloatArray
) -> tuple[jax.Array, jax.Array]:
    """Return the angles for samples (L, M, n_inputs) and the length of each one's gradient, both (L, M, R)."""
    theta = jnp.asarray(theta)
    rows = jnp.asarray(samples).reshape(math.prod(samples.shape[:2]), samples.shape[2])
    angles = model_angles(model, theta, rows)
    # A few samples at a time bound the memory: a Jacobian is R x P.
    reach = jax.lax.map(
        lambda row: jnp.sqrt(jnp.sum(jax.jacrev(lambda t: model_angles(model, t, row))(theta) ** 2, axis=-1)),
        rows,
        batch_size=64,
    )
    return angles.reshape(*samples.shape[:2], -1), reach.reshape(*samples.shape[:2], -1)


@partial(jax.jit, static_argnums=0)
def _pull_back(
    model: Classifier,
    theta: jax.Array | FloatArray,
    samples: jax.Array | FloatArray,
    cotangents: jax.Array | FloatArray,
) -> jax.Array:
    """Return sum over samples and rotations of cotangent (L, M, R) times the gradient of the angle, shape (L, P)."""

    def reached(parameters: jax.Array, own: jax.Array, cotangent: jax.Array) -> jax.Array:
        return jnp.sum(model_angles(model, parameters, own) * cotangent.astype(parameters.dtype))

    gradient: jax.Array = jax.vmap(jax.grad(reached), in_axes=(None, 0, 0))(theta, samples, cotangents)
    return gradient


@partial(jax.jit, static_argnums=0)
def _moved_angles(model: Classifier, moved: jax.Array | FloatArray, samples: jax.Array | FloatArray) -> jax.Array:
    """Return the angles at every learner's own moved parameters (L, V, P), shape (V, L, M, R)."""
    of_learner = jax.vmap(partial(model_angles, model), in_axes=(0, None))
    angles: jax.Array = jax.vmap(of_learner)(jnp.asarray(moved), jnp.asarray(samples))
    return jnp.swapaxes(angles, 0, 1)


def estimate_gradients_together(
    model: Classifier,
    partition: Partition,
    thetas: FloatArray,
    noise: NoiseTable,
    *,
    data: Sequence[tuple[Dataset, LearnerSamples]],
    shot_learner: npt.NDArray[np.integer],
    shot_werner: npt.NDArray[np.floating],
    settings: GradientSettings,
    seed: int,
) -> tuple[FloatArray, IntArray]:
    """Estimate the gradients of B trainings that spend the same shots, each at its own parameters and on its own data.

    The numbers are those of `estimate_gradients` for each alone: its random numbers depend on seed, learner and shot,
    so that all trainings share the plan of the shots, and their circuits are run in one call.

    Args:
        model: The classifier.
        partition: How its circuit is spread over QPUs.
        thetas: Flat parameters of each training, shape (B, model.n_parameters).
        noise: Errors of the learners, L rows; its `pair_werner` is not used.
        data: Data set of each training and which of its training samples the learners hold, as many in all trainings.
        shot_learner: Learner of each shot, shape (shots,).
        shot_werner: Of each shot's pairs, as for `estimate_gradients`.
        settings: How the shots are spent.
        seed: Seed of this training round.

    Returns:
        Gradients, shape (B, L, model.n_parameters), and the shots used, shape (L,).

    Raises:
        DomainError: Shapes do not fit each other, learners hold other numbers of samples in another training, or no
            parameter can change what is read.
    """
    n_learners, count = noise.one_qubit_error.shape[0], data[0][1].count
    for dataset, samples in data:
        _check_data(model, dataset, samples, n_learners)
        if not np.array_equal(samples.count, count):
            raise DomainError("Argument `data` must give a learner as many samples in all trainings, but does not.")
    _check_pairs(partition, shot_learner, shot_werner)
    parameters = np.asarray(thetas, dtype=np.float64)
    terms = _terms(model, settings, has_relaxation=noise.relaxation is not None)
    share = settings.readout_share
    plan = plan_shots(shot_learner, count, terms, minibatch=settings.minibatch, readout_share=share, seed=seed)
    index = [np.take_along_axis(samples.index, plan.batch, axis=1) for _, samples in data]
    batches = [_Minibatch(own.train_angles[i], own.train_labels[i]) for i, (own, _) in zip(index, data, strict=True)]
    if settings.method == "parameter_shift":
        circuits = _shifted_together(model, parameters, plan, batches, terms)
    else:
        circuits = _perturbed_together(model, parameters, plan, batches, settings=settings, seed=seed)
    states = [own.train_states[i] for i, (own, _) in zip(index, data, strict=True) if own.train_states is not None]
    n_trainings, n_rows = len(data), len(circuits.angles) // len(data)
    bits = sample_outcomes(
        model.circuit,
        partition,
        circuits.angles,
        noise,
        shots=_repeated(_shots(plan, circuits, shot_werner), n_trainings, n_rows),
        seed=stream_seed(seed, "outcomes"),
        states=np.concatenate([_row_states(part, circuits.angles[:n_rows]) for part in states]) if states else None,
    )
    values_of, differences_of = _values_of_bits(model), _weighted_differences(plan, terms)
    heads, differences = [], []
    for theta, batch, own in zip(parameters, batches, bits.reshape(n_trainings, -1), strict=True):
        values = values_of(own)
        readout = _read(model, theta, plan, values, batch.labels)
        heads.append(readout.head_gradient)
        differences.append(differences_of(values, readout.slopes))
    gradients: FloatArray = circuits.to_gradient(np.stack(differences)) + np.stack(heads)
    return gradients, np.bincount(plan.learner, minlength=n_learners)


def _repeated(shots: Shots, n_trainings: int, n_rows: int) -> Shots:
    """Return the same shots for each training, on circuits of its own, of which there are so many."""
    first_row = np.repeat(np.arange(n_trainings, dtype=np.int32) * n_rows, shots.learner.size)
    copies = Shots._make(np.tile(field, (n_trainings, *(1,) * (field.ndim - 1))) for field in shots)
    return copies._replace(sample=copies.sample + first_row)


def _values_of_bits(model: Classifier) -> Callable[[npt.NDArray[np.uint32]], FloatArray]:
    """Return what gives the outcomes +1 or -1 of every measured qubit, (shots,) to (shots, observables)."""
    observed, n_strings = np.array(model.observables, dtype=np.uint32), 1 << model.circuit.n_qubits

    def values(bits: npt.NDArray[np.uint32]) -> FloatArray:
        return 1.0 - 2.0 * ((bits[:, None] >> observed) & 1).astype(np.float64)

    if n_strings > 1 << 12:
        return values
    # Few bitstrings are looked up sooner than computed.
    table = values(np.arange(n_strings, dtype=np.uint32))
    return lambda bits: table.take(bits, axis=0)


def _weighted_differences(plan: ShotPlan, terms: IntArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return what gives the mean difference of each term as `_gradient` has it, (learners, minibatch, terms).

    It takes the outcomes of all shots and the slopes of all samples; what the plan alone says is prepared once.
    """
    paired = np.flatnonzero(plan.term >= 0)
    place = np.ravel_multi_index((plan.learner[paired], plan.slot[paired]), plan.batch.shape)
    shape = (*plan.batch.shape, terms.size)
    cell = place[::2] * terms.size + np.searchsorted(terms, plan.term[paired[::2]])
    hits = np.bincount(cell, minlength=math.prod(shape)).reshape(shape).astype(np.float64).sum(axis=1)[:, None]
    weight = np.maximum(terms.size / np.maximum(plan.pairs, 1), 1.0)[:, None, None]

    def differences(values: FloatArray, slopes: FloatArray) -> FloatArray:
        weights = slopes.reshape(-1, slopes.shape[-1]).take(place, axis=0)
        up_down = np.einsum("sc,sc->s", weights, values.take(paired, axis=0)).reshape(-1, 2)
        sums = np.bincount(cell, (up_down[:, 0] - up_down[:, 1]) / 2, math.prod(shape)).reshape(shape)
        found: FloatArray = weight * np.divide(sums, hits, out=np.zeros_like(sums), where=hits > 0)
        return found

    return differences


def _shifted_together(
    model: Classifier, thetas: FloatArray, plan: ShotPlan, batches: Sequence[_Minibatch], rotations: IntArray
) -> _Circuits:
    """Return what `_shifted` does for each training, one behind the other, without the scale of errors."""
    n_learners, minibatch = plan.batch.shape
    parameters, samples = jnp.asarray(thetas), jnp.asarray(np.stack([batch.samples for batch in batches]))
    angles = np.asarray(_angles_together(model, parameters, samples), dtype=np.float64)

    def to_gradient(differences: FloatArray) -> FloatArray:
        cotangents = np.zeros((len(thetas), n_learners, minibatch, len(model.circuit.rotations)))
        cotangents[..., rotations] = differences
        return np.asarray(_pull_back_together(model, parameters, samples, jnp.asarray(cotangents)), dtype=np.float64)

    return _Circuits(
        angles=angles.reshape(-1, angles.shape[-1]),
        row=plan.learner * minibatch + plan.slot,
        shift_rotation=plan.term,
        scale=np.zeros(0),
        to_gradient=to_gradient,
    )


def _perturbed_together(
    model: Classifier,
    thetas: FloatArray,
    plan: ShotPlan,
    batches: Sequence[_Minibatch],
    *,
    settings: GradientSettings,
    seed: int,
) -> _Circuits:
    """Return what `_perturbed` does for each training, one behind the other."""
    each = [
        _perturbed(model, theta, plan, batch, settings=settings, seed=seed)
        for theta, batch in zip(thetas, batches, strict=True)
    ]

    def to_gradient(differences: FloatArray) -> FloatArray:
        return np.stack([one.to_gradient(own) for one, own in zip(each, differences, strict=True)])

    return each[0]._replace(angles=np.concatenate([one.angles for one in each]), to_gradient=to_gradient)


@partial(jax.jit, static_argnums=0)
def _angles_together(model: Classifier, thetas: jax.Array, samples: jax.Array) -> jax.Array:
    """Return the angles at each training's parameters (B, P) for its samples (B, L, M, n_inputs), (B, L M, R)."""
    rows = samples.reshape(len(samples), math.prod(samples.shape[1:3]), samples.shape[3])
    angles: jax.Array = jax.lax.map(lambda own: model_angles(model, *own), (thetas, rows))
    return angles


@partial(jax.jit, static_argnums=0)
def _pull_back_together(model: Classifier, thetas: jax.Array, samples: jax.Array, cotangents: jax.Array) -> jax.Array:
    """Return what `_pull_back` does for each training, shape (B, L, P)."""
    gradient: jax.Array = jax.lax.map(lambda own: _pull_back(model, *own), (thetas, samples, cotangents))
    return gradient
