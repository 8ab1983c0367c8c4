"""Upper bounds on what a convergence bound needs of a model's loss, from its circuit and its readout alone.

Of one sample with expectation values f_k and the cross-entropy l of the softmax p of scores s f_k, along a unit
direction u: `u' H u = s^2 Var_p(D) + sum_k l_k u' (Hess f_k) u` with D_k = u' grad f_k and l_k = s (p_k - [k = y]).
With M the largest over k of the sum of squared rotations that f_k depends on, |D_k| <= sqrt(M) and |u' (Hess f_k) u| <=
M (`circuit_smoothness`); a variance is at most the square of the largest magnitude, whatever p is, and sum |l_k| = 2 s
(1 - p_y), where scores in [-s, s] keep p_y above exp(-s) / (exp(-s) + (K - 1) exp(s)). So L <= (s^2 + 2 s (1 - p_y)) M.
The objective is a mean over samples, of which the bound holds as well. For the same reason no loss is below -log of the
largest p_y, exp(s) / (exp(s) + (K - 1) exp(-s)).
"""

import math

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.constants import circuit_smoothness
from ceas.errors import DomainError
from ceas.learning import Classifier
from ceas.learning.shots import active_rotations

__all__ = ["least_loss", "loss_smoothness", "rotations_by_observable"]

FloatArray = NDArray[np.float64]


def rotations_by_observable(model: Classifier, largest_inputs: FloatArray) -> FloatArray:
    """Return how far each parameter turns the circuit as each observable sees it, shape (observables, parameters).

    An entry is the sum, over the rotations on which the observable can depend, of the parameter's factors in the angle.

    Args:
        model: The classifier.
        largest_inputs: Largest magnitude of each of the circuit's inputs, shape (features,).
    """
    circuit = model.circuit
    found = np.zeros((len(model.observables), circuit.n_parameters))
    for row, qubit in zip(found, model.observables, strict=True):
        for rotation in active_rotations(circuit, observables=(qubit,)):
            for term in circuit.gates[circuit.rotations[rotation]].angle:
                if term.parameter >= 0:
                    factor = math.prod(float(largest_inputs[feature]) for feature in term.features)
                    row[term.parameter] += abs(term.coefficient) * factor
    return found


def loss_smoothness(model: Classifier, samples: FloatArray) -> float:
    """Return an upper bound on the rate at which the gradient of the noise-free mean loss of any samples changes.

    Args:
        model: The classifier.
        samples: The circuit's inputs, shape (samples, features).

    Raises:
        DomainError: The model has trained layers around its circuit, whose weights nothing bounds.
    """
    _refuse_layers(model)
    largest = np.abs(samples).max(axis=0, initial=0.0)
    by_observable = rotations_by_observable(model, largest)
    widest = by_observable[np.argmax(np.sum(by_observable**2, axis=1))]
    scale = model.temperature
    return circuit_smoothness(widest, loss_slope=2 * scale * (1 - _probability(model, -scale)), loss_curvature=scale**2)


def least_loss(model: Classifier) -> float:
    """Return a lower bound on the mean loss, whatever the parameters are.

    Raises:
        DomainError: As `loss_smoothness`.
    """
    _refuse_layers(model)
    return -math.log(_probability(model, model.temperature))


def _probability(model: Classifier, score: float) -> float:
    """Return the softmax of a score against the opposite one of all other classes."""
    return 1 / (1 + (model.n_classes - 1) * math.exp(-2 * score))


def _refuse_layers(model: Classifier) -> None:
    if model.readout == "linear" or model.n_dressed_inputs is not None:
        raise DomainError("Argument `model` must have no trained layer around its circuit, but has one.")
