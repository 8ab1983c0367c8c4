"""A classifier around a circuit: which qubits are read, how their expectation values become scores, trained layers.

Scores are the arguments of a softmax. With the readout `"qubits"` the score of class c is temperature * <Z_c>; with
`"sign"` there are two classes and the scores of +-<Z_0>; with `"linear"` a trained layer W z + b maps the expectation
values z of all qubits to scores. A dressed circuit (Mari et al., Quantum 4, 340, 2020) also has a trained layer in
front: its inputs are pi/2 tanh(V x + a) of the sample x.

The flat parameters of a model are those of its circuit, then V (row by row), a, W (row by row) and b, as far as it has
them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import Circuit

__all__ = [
    "READOUTS",
    "Classifier",
    "Layers",
    "Readout",
    "circuit_inputs",
    "head_gradient",
    "initial_parameters",
    "model_angles",
    "model_loss",
    "score_slopes",
    "scores",
    "split_parameters",
]

FloatArray = npt.NDArray[np.float64]
Readout = Literal["qubits", "sign", "linear"]
READOUTS: tuple[Readout, ...] = ("qubits", "sign", "linear")

Targets = tuple[jax.Array, jax.Array]
"""Labels (samples,) and the samples' weights in the loss (samples,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A classifier; frozen and hashable, like its circuit.

    Attributes:
        circuit: The quantum part.
        n_classes: Number of classes, at least 2.
        readout: How expectation values become scores, see the head of this module.
        temperature: Factor of the expectation values in the scores, positive; the linear layer does without.
        n_dressed_inputs: Length of the samples that a trained layer maps to the circuit's inputs; None without one,
            when a sample is the circuit's inputs.
    """

    circuit: Circuit
    n_classes: int
    readout: Readout = "qubits"
    temperature: float = 1.0
    n_dressed_inputs: int | None = None

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise UnknownNameError("readout", self.readout, READOUTS)
        if self.n_classes < 2 or (self.readout == "sign" and self.n_classes != 2):
            allowed = "2 for the readout `sign`" if self.readout == "sign" else "at least 2"
            raise DomainError(f"Argument `n_classes` must be {allowed}, but is {self.n_classes}.")
        if self.readout == "qubits" and self.circuit.n_qubits < self.n_classes:
            found = f"{self.circuit.n_qubits} qubits and {self.n_classes} classes"
            raise DomainError(f"Argument `circuit` must have a qubit per class, but there are {found}.")
        if not 0 < self.temperature < np.inf:
            raise DomainError(f"Argument `temperature` must be positive and finite, but is {self.temperature}.")
        if self.n_dressed_inputs is not None and (self.n_dressed_inputs < 1 or self.circuit.n_features < 1):
            raise DomainError("Argument `n_dressed_inputs` must be at least 1, for a circuit that has inputs.")

    @property
    def observables(self) -> tuple[int, ...]:
        """Qubits that are read."""
        return tuple(range({"qubits": self.n_classes, "sign": 1, "linear": self.circuit.n_qubits}[self.readout]))

    @property
    def n_inputs(self) -> int:
        """Length of a sample."""
        return self.circuit.n_features if self.n_dressed_inputs is None else self.n_dressed_inputs

    @property
    def n_parameters(self) -> int:
        """Length of the flat parameter vector."""
        return sum(math.prod(shape) for shape in _shapes(self))


class Layers(NamedTuple):
    """The parts of a flat parameter vector, each possibly empty.

    Attributes:
        circuit: Angles, shape (..., circuit.n_parameters).
        input_weight: V, shape (..., circuit.n_features, n_inputs); empty without a layer in front.
        input_bias: a, shape (..., circuit.n_features).
        output_weight: W, shape (..., n_classes, n_qubits); empty without a layer behind.
        output_bias: b, shape (..., n_classes).
    """

    circuit: Any
    input_weight: Any
    input_bias: Any
    output_weight: Any
    output_bias: Any


def split_parameters(model: Classifier, theta: Any) -> Layers:
    """Return the parts of flat parameters (..., model.n_parameters), a NumPy or a JAX array.

    Raises:
        DomainError: The last axis has another length.
    """
    if theta.shape[-1] != model.n_parameters:
        raise DomainError(f"Argument `theta` must have shape (..., {model.n_parameters}), but has {theta.shape}.")
    parts, start = [], 0
    for shape in _shapes(model):
        stop = start + math.prod(shape)
        parts.append(theta[..., start:stop].reshape(*theta.shape[:-1], *shape))
        start = stop
    return Layers(*parts)


def initial_parameters(model: Classifier, *, spread: float, rng: np.random.Generator) -> FloatArray:
    """Draw flat parameters, shape (n_parameters,).

    Angles are normal with standard deviation `spread` (rad), weights of layers with one over the root of their inputs;
    biases are zero.
    """
    layers = split_parameters(model, rng.normal(0.0, 1.0, model.n_parameters))
    scales = Layers(spread, max(model.n_inputs, 1) ** -0.5, 0.0, model.circuit.n_qubits**-0.5, 0.0)
    return np.concatenate([scale * part.ravel() for scale, part in zip(scales, layers, strict=True)])


def circuit_inputs(model: Classifier, theta: jax.typing.ArrayLike, samples: jax.typing.ArrayLike) -> jax.Array:
    """Return the circuit's inputs for samples (..., n_inputs): pi/2 tanh(V x + a) with a layer in front, else they."""
    samples = jnp.asarray(samples, dtype=float)
    if model.n_dressed_inputs is None:
        return samples
    layers = split_parameters(model, jnp.asarray(theta, dtype=float))
    return 0.5 * jnp.pi * jnp.tanh(samples @ layers.input_weight.T + layers.input_bias)


def model_angles(model: Classifier, theta: jax.Array, samples: jax.Array) -> jax.Array:
    """Return the angles of the circuit's rotations for samples (..., n_inputs), shape (..., R)."""
    angles = split_parameters(model, theta).circuit
    found: jax.Array = rotation_angles(model.circuit, angles, circuit_inputs(model, theta, samples))
    return found


def scores(model: Classifier, theta: Any, values: Any) -> Any:
    """Return the scores (..., n_classes) of expectation values (..., observables), NumPy or JAX arrays."""
    if model.readout == "sign":
        return values * np.array([model.temperature, -model.temperature], dtype=values.dtype)
    if model.readout == "qubits":
        return model.temperature * values
    layers = split_parameters(model, theta)
    return values @ layers.output_weight.T + layers.output_bias


def score_slopes(model: Classifier, theta: FloatArray, errors: FloatArray) -> FloatArray:
    """Return the derivative by the expectation values, given that by the scores; (..., C) to (..., observables)."""
    if model.readout == "sign":
        return model.temperature * (errors[..., :1] - errors[..., 1:])
    if model.readout == "qubits":
        return model.temperature * errors
    slopes: FloatArray = errors @ split_parameters(model, theta).output_weight
    return slopes


def head_gradient(model: Classifier, errors: FloatArray, values: FloatArray) -> FloatArray:
    """Return the derivative by the layer behind the circuit, given that by the scores of samples.

    Derivatives (..., samples, C) and expectation values (..., samples, observables) give (..., n_parameters), which is
    zero for all other parameters.
    """
    gradient = np.zeros((*errors.shape[:-2], model.n_parameters))
    if model.readout == "linear":
        weight = np.einsum("...sc,...sk->...ck", errors, values)
        flat = np.concatenate([weight.reshape(*weight.shape[:-2], -1), errors.sum(axis=-2)], axis=-1)
        gradient[..., -flat.shape[-1] :] = flat
    return gradient


@lru_cache(maxsize=64)
def model_loss(model: Classifier) -> Callable[[jax.Array, jax.Array, Targets], jax.Array]:
    """Return the loss as a function of expectation values, flat parameters and targets, one object per model.

    It takes values (samples, observables) and returns the weighted sum of the samples' cross-entropies of the softmax
    of their scores; weights 1/count make it the mean, and weight 0 leaves out a row that only pads.
    """

    def loss(values: jax.Array, theta: jax.Array, targets: Targets) -> jax.Array:
        labels, weights = targets
        log_probability = jax.nn.log_softmax(scores(model, theta, values), axis=-1)
        return -(weights * jnp.take_along_axis(log_probability, labels[:, None], axis=-1)[:, 0]).sum()

    return loss


def _shapes(model: Classifier) -> tuple[tuple[int, ...], ...]:
    circuit, is_dressed = model.circuit, model.n_dressed_inputs is not None
    n_features = circuit.n_features if is_dressed else 0
    n_scores = model.n_classes if model.readout == "linear" else 0
    return (
        (circuit.n_parameters,),
        (n_features, model.n_inputs if is_dressed else 0),
        (n_features,),
        (n_scores, circuit.n_qubits if n_scores else 0),
        (n_scores,),
    )
