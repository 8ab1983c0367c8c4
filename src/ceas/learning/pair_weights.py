"""Which of a Bell-diagonal pair's three correlators a circuit depends on, and how much."""

import jax.numpy as jnp
import numpy as np

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.encoding import encode_inputs
from ceas.learning.engine import expectations
from ceas.learning.noise import noiseless
from ceas.learning.partition import Partition

__all__ = ["correlator_weights"]

_N_DRAWS = 256
_N_INPUTS = 16
# Small enough that products of losses do not count, and large beside the rounding of single precision.
_LOSS = 1e-2
# Part of it below which what a circuit loses is rounding.
_LEAST_LOST = 1e-3


def correlator_weights(
    circuit: Circuit, partition: Partition, *, observables: tuple[int, ...], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the shares of c_x, c_y and c_z in what a circuit's signal loses to its pairs, with the sum 1.

    A small loss of each correlator alone lowers the contraction, sum(noisy * ideal) / sum(ideal^2), by its share.
    Parameters are drawn uniformly from a whole turn, inputs from half a turn. Sampling leaves about a hundredth. The
    three count alike for a qubit that moves in the midst of a deep circuit, and by no means for copies, see
    `ceas.learning.contraction`.

    Args:
        circuit: The circuit.
        partition: How it is cut; some gate must be teleported.
        observables: Measured qubits.
        rng: Generator of angles and inputs.

    Raises:
        DomainError: The partition uses no pairs, or no measured qubit depends on any of them.
    """
    n_pairs = partition.pairs_per_shot
    if n_pairs == 0:
        raise DomainError("Argument `partition` must teleport a CNOT, but teleports none.")
    encoded = encode_inputs(circuit, rng.uniform(-np.pi / 2, np.pi / 2, (_N_INPUTS, circuit.n_features)))
    states = np.concatenate([np.ones((1, 3)), 1.0 - _LOSS * np.eye(3)])
    pairs = jnp.asarray(np.repeat(states[:, None, :], n_pairs, axis=1))
    noise = noiseless(partition, len(states))._replace(pair_werner=pairs)
    overlap = np.zeros(len(states))
    # One draw after the other, for the strings of a large circuit fill the memory.
    for _ in range(_N_DRAWS):
        theta = jnp.asarray(rng.uniform(-np.pi, np.pi, circuit.n_parameters))
        found = expectations(circuit, partition, theta, encoded, noise, observables=observables)
        values = np.asarray(found, np.float64)
        overlap += (values * values[0]).sum(axis=(1, 2))
    kept = overlap / overlap[0]
    lost = np.maximum(1.0 - kept[1:], 0.0)
    if lost.sum() <= _LEAST_LOST * _LOSS:
        raise DomainError("Argument `observables` must depend on a pair, but do not.")
    x, y, z = (lost / lost.sum()).tolist()
    return (x, y, z)
