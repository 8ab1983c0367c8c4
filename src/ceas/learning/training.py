"""Exact figures of whole models, and training on them: no shots, no network, every sample at once.

References are made here: what a circuit reaches in principle, and what a separable circuit reaches on the same
features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from ceas.errors import DomainError
from ceas.learning import trajectories
from ceas.learning.classifier import (
    Classifier,
    Layers,
    Targets,
    circuit_inputs,
    head_gradient,
    initial_parameters,
    model_loss,
    score_slopes,
    scores,
    split_parameters,
)
from ceas.learning.data import Dataset
from ceas.learning.encoding import Encoded, encode_inputs, encode_states
from ceas.learning.engine import expectations, loss_and_gradient
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.pure_runs import angles_of, evolve, pull_back, slopes_by_angle

__all__ = [
    "HEISENBERG",
    "Computation",
    "ExactTraining",
    "accuracy",
    "encode_samples",
    "model_loss_and_gradient",
    "model_values",
    "pure_loss_and_gradient",
    "sampled_values",
    "train_exact",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """Which engine computes expectation values.

    Attributes:
        engine: `"heisenberg"`, exact with any noise, or `"trajectories"`, exact without noise.
        n_trajectories: Pure states per learner and sample that stand for noise; even.
        seed: Their seed.
    """

    engine: Literal["heisenberg", "trajectories"] = "heisenberg"
    n_trajectories: int = 100
    seed: int = 0


HEISENBERG = Computation()


def encode_samples(
    model: Classifier,
    theta: npt.ArrayLike,
    samples: npt.ArrayLike,
    states: npt.ArrayLike | None = None,
    *,
    by: Computation = HEISENBERG,
) -> Encoded:
    """Return what an engine needs of samples (..., n_inputs), or of quantum data (..., 2^n).

    It depends on the parameters only where a trained layer is in front of the circuit.
    """
    needs_features = by.engine == "heisenberg"
    if states is not None:
        return encode_states(model.circuit, jnp.asarray(states), needs_features=needs_features)
    inputs = circuit_inputs(model, jnp.asarray(theta), jnp.asarray(samples))
    return encode_inputs(model.circuit, inputs, needs_features=needs_features)


def model_values(
    model: Classifier,
    partition: Partition,
    theta: npt.ArrayLike,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    by: Computation = HEISENBERG,
) -> jax.Array:
    """Return the expectation values that the model reads, shape (L, S, observables)."""
    return sampled_values(model, partition, theta, encoded, noise, by=by)[0]


def sampled_values(
    model: Classifier,
    partition: Partition,
    theta: npt.ArrayLike,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    by: Computation = HEISENBERG,
) -> tuple[jax.Array, FloatArray | None]:
    """Return what `model_values` does, and the standard errors of sampled noise; None for exact values."""
    parameters = split_parameters(model, jnp.asarray(theta, dtype=float)).circuit
    if by.engine == "trajectories":
        sampled, errors = trajectories.expectations(
            model.circuit,
            partition,
            parameters,
            encoded,
            noise,
            observables=model.observables,
            n_trajectories=by.n_trajectories,
            seed=by.seed,
        )
        return jnp.asarray(sampled, dtype=float), errors
    values: jax.Array = expectations(
        model.circuit, partition, parameters, encoded, noise, observables=model.observables
    )
    return values, None


def accuracy(model: Classifier, theta: npt.ArrayLike, values: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return how often the class with the largest score is the label, for values (S, observables)."""
    found = np.asarray(scores(model, np.asarray(theta, dtype=np.float64), np.asarray(values, dtype=np.float64)))
    return float(np.mean(found.argmax(axis=-1) == np.asarray(labels)))


def model_loss_and_gradient(
    model: Classifier,
    partition: Partition,
    theta: jax.Array,
    encoded: Encoded,
    noise: NoiseTable,
    *,
    targets: Targets,
    samples: jax.Array | None = None,
    by: Computation = HEISENBERG,
) -> tuple[jax.Array, jax.Array]:
    """Return every learner's loss and exact gradient by all parameters of the model.

    Args:
        model: The classifier.
        partition: How its circuit is spread.
        theta: Flat parameters, shape (model.n_parameters,).
        encoded: From `encode_samples` at these parameters.
        noise: Noise of L learners, or of one for all.
        targets: Labels and weights, both of shape (L, S).
        samples: The samples (S, n_inputs) or (L, S, n_inputs); needed where a trained layer is in front of the circuit.
        by: The engine; trajectories do not serve a trained layer in front of the circuit.

    Returns:
        Losses of shape (L,) and gradients of shape (L, model.n_parameters).

    Raises:
        DomainError: The samples are missing, or a shape does not fit.
    """
    is_dressed = model.n_dressed_inputs is not None
    if is_dressed and samples is None:
        raise DomainError("Argument `samples` must be given for a model with a layer in front, but is None.")
    if is_dressed and by.engine == "trajectories":
        raise DomainError("Argument `by` must be the Heisenberg engine for a model with a layer in front.")
    labels, weights = targets
    parameters = split_parameters(model, theta).circuit
    extended = (labels, weights, jnp.broadcast_to(theta, (len(labels), theta.size)))
    found: tuple[Any, ...]
    if by.engine == "trajectories":
        found = trajectories.loss_and_gradient(
            model.circuit,
            partition,
            parameters,
            encoded,
            noise,
            targets=extended,
            observables=model.observables,
            loss=_loss_of_values(model),
            n_trajectories=by.n_trajectories,
            seed=by.seed,
        )
    else:
        found = loss_and_gradient(
            model.circuit,
            partition,
            parameters,
            encoded,
            noise,
            targets=extended,
            observables=model.observables,
            loss=_loss_of_values(model),
            input_gradient=is_dressed,
        )
    losses, by_angle = (jnp.asarray(part) for part in found[:2])
    gradient = jnp.pad(by_angle, ((0, 0), (0, model.n_parameters - model.circuit.n_parameters)))
    if model.readout == "linear":
        values = model_values(model, partition, theta, encoded, noise, by=by)
        gradient += jax.vmap(jax.grad(model_loss(model), argnums=1), in_axes=(0, None, 0))(values, theta, targets)
    if is_dressed:
        gradient += _through_input_layer(model, theta, samples, found[2])
    return losses, gradient


@lru_cache(maxsize=64)
def _loss_of_values(model: Classifier) -> Callable[[jax.Array, tuple[jax.Array, ...]], jax.Array]:
    """Return the loss as the engine takes it, one object per model: the parameters come with the targets."""

    def loss(values: jax.Array, targets: tuple[jax.Array, ...]) -> jax.Array:
        labels, weights, theta = targets
        return model_loss(model)(values, theta, (labels, weights))

    return loss


@partial(jax.jit, static_argnums=0)
def _through_input_layer(model: Classifier, theta: jax.Array, samples: Any, slopes: jax.Array) -> jax.Array:
    """Return the derivative by the layer in front, given that by its outputs (L, S, n_features), shape (L, P)."""

    def reached(parameters: jax.Array, own: jax.Array, slope: jax.Array) -> jax.Array:
        return jnp.sum(circuit_inputs(model, parameters, own) * slope)

    own = jnp.broadcast_to(samples, (*slopes.shape[:2], samples.shape[-1]))
    gradient: jax.Array = jax.vmap(jax.grad(reached), in_axes=(None, 0, 0))(theta, own, slopes)
    return gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactTraining:
    """What exact training reached.

    Attributes:
        theta: Parameters with the best validation accuracy among those evaluated, ties to the earliest, shape
            (n_parameters,).
        train_loss: Mean cross-entropy before each step, shape (steps taken,).
        validation_accuracy: At the chosen parameters; NaN without a validation part.
        test_accuracy: At the chosen parameters.
        train_accuracy: At the chosen parameters.
        has_converged: Whether the criterion of convergence ended the training; False without one.
    """

    theta: FloatArray
    train_loss: FloatArray
    validation_accuracy: float
    test_accuracy: float
    train_accuracy: float
    has_converged: bool = False


def train_exact(
    model: Classifier,
    dataset: Dataset,
    *,
    steps: int,
    learning_rate: float,
    batch_size: int | None = None,
    spread: float = 0.3,
    evaluate_every: int | None = 10,
    rng: np.random.Generator,
    start: npt.ArrayLike | None = None,
    is_trained: npt.ArrayLike | None = None,
    decays: bool = True,
    convergence_interval: int | None = None,
    engine: Literal["heisenberg", "pure"] = "heisenberg",
) -> ExactTraining:
    """Train a model with Adam on exact expectation values without noise.

    Args:
        model: The classifier.
        dataset: Data; the test part is used once, for the parameters that the validation part chose.
        steps: Most steps of the optimiser, at least 1.
        learning_rate: First step size, positive.
        batch_size: Samples of a step, drawn anew; None for all.
        spread: Standard deviation of the initial angles (rad).
        evaluate_every: Steps between evaluations on the validation part; the last step is always evaluated, and with
            None nothing else.
        rng: Generator of the start and of the batches.
        start: Initial parameters, shape (n_parameters,), in place of those that `spread` says.
        is_trained: Which parameters move, shape (n_parameters,); None for all.
        decays: Whether the step size falls like half a cosine, to a tenth, or stays.
        convergence_interval: Training ends early when the mean loss of this many steps differs from that of as many
            before by at most half its standard error, as in the benchmark of Bowles, Ahmed and Schuld (arXiv
            2403.07059); None for never.
        engine: `"heisenberg"` compiles one step for the circuit. `"pure"` runs every sample of a batch as a pure state
            and compiles nothing for it: quicker for few steps, many gates, or where no product state encodes samples.

    Raises:
        DomainError: A number is outside its range, or pure runs are asked for where samples are states.
    """
    if steps < 1 or (evaluate_every or 1) < 1 or not learning_rate > 0 or (convergence_interval or 1) < 1:
        raise DomainError(
            f"Arguments must be at least one step and a positive `learning_rate`, but are {steps} and {learning_rate}."
        )
    if engine == "pure" and dataset.train_states is not None:
        raise DomainError("Argument `engine` must be `heisenberg` where samples are states, but is `pure`.")
    first = initial_parameters(model, spread=spread, rng=rng) if start is None else np.asarray(start, dtype=np.float64)
    theta = jnp.asarray(first, dtype=float)
    rate: Any = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1) if decays else learning_rate
    optimiser = optax.adam(rate)
    moving = jnp.ones(theta.shape) if is_trained is None else jnp.asarray(is_trained, dtype=theta.dtype)
    step = (_pure_step if engine == "pure" else _exact_step)(model, optimiser, moving)
    state, losses, has_converged = optimiser.init(theta), list[float](), False
    best: tuple[float, jax.Array] = (-1.0, theta)
    while len(losses) < steps and not has_converged:
        chosen = _batch(len(dataset.train_labels), batch_size, rng)
        loss, theta, state = step(theta, state, *_rows(dataset, chosen))
        losses.append(float(loss))
        has_converged = convergence_interval is not None and _is_flat(losses, convergence_interval)
        is_last = has_converged or len(losses) == steps
        if is_last or (evaluate_every is not None and len(losses) % evaluate_every == 0):
            score = _part_accuracy(model, theta, dataset, part="validation", engine=engine)
            best = (score, theta) if score > best[0] else best
    return ExactTraining(
        theta=np.asarray(best[1], dtype=np.float64),
        train_loss=np.array(losses),
        validation_accuracy=best[0],
        test_accuracy=_part_accuracy(model, best[1], dataset, part="test", engine=engine),
        train_accuracy=_part_accuracy(model, best[1], dataset, part="train", engine=engine),
        has_converged=has_converged,
    )


def _is_flat(losses: list[float], interval: int) -> bool:
    """Tell whether the last losses are as high as those before them, within their fluctuations."""
    if len(losses) <= 2 * interval + 1:
        return False
    before, last = np.array(losses[-2 * interval :]).reshape(2, interval)
    return bool(abs(before.mean() - last.mean()) <= last.std() / np.sqrt(interval) / 2)


def _exact_step(model: Classifier, optimiser: optax.GradientTransformation, moving: jax.Array) -> Callable[..., Any]:
    """Return one compiled step, on a batch (samples, states or None, labels)."""
    partition = partition_circuit(model.circuit, "data")
    ideal = noiseless(partition)

    @jax.jit
    def step(theta: jax.Array, state: Any, samples: jax.Array, states: Any, labels: jax.Array) -> Any:
        encoded = encode_samples(model, theta, samples, states)
        weights = jnp.full((1, labels.size), 1.0 / labels.size, dtype=theta.dtype)
        losses, gradients = model_loss_and_gradient(
            model, partition, theta, encoded, ideal, targets=(labels[None], weights), samples=samples
        )
        change, state = optimiser.update(moving * gradients[0], state, theta)
        return losses[0], optax.apply_updates(theta, change), state

    return step


def _pure_step(model: Classifier, optimiser: optax.GradientTransformation, moving: jax.Array) -> Callable[..., Any]:
    """Return one step on a batch, whose samples are run as pure states."""

    @jax.jit
    def update(theta: jax.Array, state: Any, gradient: jax.Array) -> Any:
        change, state = optimiser.update(moving * gradient, state, theta)
        return optax.apply_updates(theta, change), state

    def step(theta: jax.Array, state: Any, samples: jax.Array, _: None, labels: jax.Array) -> Any:
        loss, gradient = pure_loss_and_gradient(
            model, np.asarray(theta, np.float64), np.asarray(samples, np.float64), np.asarray(labels)
        )
        return loss, *update(theta, state, jnp.asarray(gradient, theta.dtype))

    return step


def pure_loss_and_gradient(
    model: Classifier, theta: FloatArray, samples: FloatArray, labels: npt.NDArray[np.integer]
) -> tuple[float, FloatArray]:
    """Return the mean cross-entropy of samples (S, n_inputs) and its exact gradient by all parameters of the model."""
    layers = split_parameters(model, theta)
    inputs = _layer_in_front(layers, samples)
    evolved = evolve(model.circuit, model.observables, angles_of(model.circuit, layers.circuit, inputs))
    found = scores(model, theta, evolved.values)
    shifted = found - found.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    errors = (np.exp(log_probability) - np.eye(model.n_classes)[labels]) / len(labels)
    slopes = score_slopes(model, theta, errors)
    by_angle = slopes_by_angle(model.circuit, model.observables, evolved, slopes)
    by_circuit, by_inputs = pull_back(model.circuit, layers.circuit, inputs, by_angle)
    gradient = head_gradient(model, errors, evolved.values)
    gradient[: by_circuit.size] += by_circuit
    if layers.input_weight.size:
        # d tanh = 1 - tanh^2, of inputs that are pi/2 tanh.
        through = by_inputs * (0.5 * np.pi - inputs**2 / (0.5 * np.pi))
        parts = [(through.T @ samples).ravel(), through.sum(axis=0)]
        gradient[by_circuit.size : by_circuit.size + parts[0].size + parts[1].size] += np.concatenate(parts)
    return -float(log_probability[np.arange(len(labels)), labels].mean()), gradient


def _layer_in_front(layers: Layers, samples: FloatArray) -> FloatArray:
    if not layers.input_weight.size:
        return samples
    inputs: FloatArray = 0.5 * np.pi * np.tanh(samples @ layers.input_weight.T + layers.input_bias)
    return inputs


def _batch(n_samples: int, batch_size: int | None, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    if batch_size is None or batch_size >= n_samples:
        return np.arange(n_samples)
    return rng.choice(n_samples, batch_size, replace=False)


def _rows(dataset: Dataset, chosen: npt.NDArray[np.int64]) -> tuple[Any, Any, Any]:
    states = None if dataset.train_states is None else jnp.asarray(dataset.train_states[chosen])
    return dataset.train_angles[chosen], states, dataset.train_labels[chosen].astype(np.int32)


def _part_accuracy(model: Classifier, theta: jax.Array, dataset: Dataset, *, part: str, engine: str) -> float:
    samples, labels = getattr(dataset, f"{part}_angles"), getattr(dataset, f"{part}_labels")
    if engine == "pure":
        parameters = np.asarray(theta, np.float64)
        layers = split_parameters(model, parameters)
        angles = angles_of(model.circuit, layers.circuit, _layer_in_front(layers, samples))
        return accuracy(model, parameters, evolve(model.circuit, model.observables, angles).values, labels)
    partition = partition_circuit(model.circuit, "data")
    encoded = encode_samples(model, theta, samples, getattr(dataset, f"{part}_states"))
    values = model_values(model, partition, theta, encoded, noiseless(partition))
    return accuracy(model, theta, values[0], labels)
