"""Angles of a circuit's rotations as a function of parameters and inputs, and the chain rule back."""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit

__all__ = ["rotation_angles"]

IntArray = npt.NDArray[np.int32]


class _Terms(NamedTuple):
    """All terms of all angles: (rotation, coefficient, parameter or P for none, features or F for none)."""

    rotation: IntArray
    coefficient: npt.NDArray[np.float64]
    parameter: IntArray
    features: IntArray  # (terms, most features of a term)


@partial(jax.jit, static_argnums=0)
def rotation_angles(circuit: Circuit, theta: jax.Array, inputs: jax.Array) -> jax.Array:
    """Return the angle of every rotation, differentiable by both arguments.

    Args:
        circuit: The circuit; R of its gates are rotations.
        theta: Parameters, shape (P,) or with leading axes.
        inputs: Inputs of samples, shape (F,) or with leading axes that broadcast with those of `theta`.

    Returns:
        Angles (rad), shape (..., R), in the order of `circuit.rotations`.

    Raises:
        DomainError: A last axis does not fit the circuit.
    """
    theta, inputs = jnp.asarray(theta, dtype=float), jnp.asarray(inputs, dtype=float)
    if theta.shape[-1] != circuit.n_parameters or inputs.shape[-1] != circuit.n_features:
        wanted = f"(..., {circuit.n_parameters}) and (..., {circuit.n_features})"
        raise DomainError(f"Arguments must have shapes {wanted}, but have {theta.shape} and {inputs.shape}.")
    terms = _terms(circuit)
    factors, products = _with_one(theta)[..., terms.parameter], _with_one(inputs)[..., terms.features].prod(axis=-1)
    values = jnp.asarray(terms.coefficient, dtype=factors.dtype) * factors * products
    angles = jnp.zeros((*values.shape[:-1], len(circuit.rotations)), dtype=values.dtype)
    return angles.at[..., terms.rotation].add(values)


def _with_one(values: jax.Array) -> jax.Array:
    """Append a one, which stands for what a term does not have."""
    return jnp.concatenate([values, jnp.ones((*values.shape[:-1], 1), dtype=values.dtype)], axis=-1)


@lru_cache(maxsize=64)
def _terms(circuit: Circuit) -> _Terms:
    listed = [(row, term) for row, index in enumerate(circuit.rotations) for term in circuit.gates[index].angle]
    width = max([len(term.features) for _, term in listed], default=0)
    features = np.full((len(listed), max(width, 1)), circuit.n_features, dtype=np.int32)
    for row, (_, term) in zip(features, listed, strict=True):
        row[: len(term.features)] = term.features
    parameters = [term.parameter if term.parameter >= 0 else circuit.n_parameters for _, term in listed]
    return _Terms(
        rotation=np.array([rotation for rotation, _ in listed], dtype=np.int32),
        coefficient=np.array([term.coefficient for _, term in listed], dtype=np.float64),
        parameter=np.array(parameters, dtype=np.int32),
        features=features,
    )
