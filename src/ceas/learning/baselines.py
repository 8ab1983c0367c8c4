"""Classical classifiers beside which a quantum one has to be seen."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.data import Dataset
from ceas.learning.quantum_data import bit_signs

__all__ = ["Baseline", "classical_baselines", "classical_inputs", "pauli_expectations"]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

# Factors on 1 / (features x variance), which scikit-learn calls `scale`, among which the validation part chooses.
GAMMA_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


class Baseline(NamedTuple):
    """What one classifier reaches.

    Attributes:
        name: `logistic_regression`, `rbf_svc` or `majority_class`.
        validation_accuracy: Share of the validation part that is classified rightly.
        test_accuracy: The same of the test part, which decides nothing.
        gamma: Width 1 / (2 sigma^2) of the kernel, or None where there is none.
    """

    name: str
    validation_accuracy: float
    test_accuracy: float
    gamma: float | None = None


def classical_baselines(dataset: Dataset) -> tuple[Baseline, ...]:
    """Train three classifiers on the training part, on the inputs that `classical_inputs` lists.

    - Multinomial logistic regression, as `logistic_baseline`.
    - A support vector classifier with Gaussian kernel and C = 1. Its gamma is 1 / (features x variance) times the one
      of five factors from 1/4 to 4 that is best in the validation part, the least of the best.
    - The class that is most frequent in training.
    """
    import sklearn.dummy  # noqa: PLC0415 - heavy, and needed here only
    import sklearn.linear_model  # noqa: PLC0415
    import sklearn.svm  # noqa: PLC0415

    train, validation, test = classical_inputs(dataset)

    def scored(name: str, model: sklearn.base.ClassifierMixin, gamma: float | None = None) -> Baseline:
        model.fit(train, dataset.train_labels)
        on_validation = float(model.score(validation, dataset.validation_labels))
        return Baseline(name, on_validation, float(model.score(test, dataset.test_labels)), gamma)

    scale = 1.0 / (train.shape[1] * max(float(train.var()), np.finfo(float).tiny))
    gammas = [factor * scale for factor in GAMMA_FACTORS]
    kernels = [scored("rbf_svc", sklearn.svm.SVC(gamma=gamma), gamma) for gamma in gammas]
    return (
        scored("logistic_regression", sklearn.linear_model.LogisticRegression(max_iter=1000)),
        max(kernels, key=lambda baseline: baseline.validation_accuracy),
        scored("majority_class", sklearn.dummy.DummyClassifier(strategy="most_frequent")),
    )


def classical_inputs(dataset: Dataset) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a classical classifier is given of the training, validation and test part.

    Angles as they are. Of states, which a classical classifier cannot take in, `pauli_expectations`: exact, that is
    from any number of copies of a state, and without the correlations of more than two qubits.
    """
    parts = (dataset.train_states, dataset.validation_states, dataset.test_states)
    train, validation, test = (None if states is None else pauli_expectations(states) for states in parts)
    if train is None or validation is None or test is None:
        return dataset.train_angles, dataset.validation_angles, dataset.test_angles
    return train, validation, test


def pauli_expectations(states: ComplexArray) -> FloatArray:
    """Return <Z_i>, <Z_i Z_j>, <X_i> and <X_i X_j>, i < j, of each state, shape (states, n (n + 1)), in this order."""
    n_qubits = states.shape[1].bit_length() - 1
    signs = bit_signs(n_qubits)
    first, second = np.triu_indices(n_qubits, 1)
    products = np.concatenate([signs, signs[:, first] * signs[:, second]], axis=1)
    in_x = _hadamard(states, n_qubits)
    return np.concatenate([np.abs(amplitudes) ** 2 @ products for amplitudes in (states, in_x)], axis=1)


def _hadamard(states: ComplexArray, n_qubits: int) -> ComplexArray:
    """Apply a Hadamard gate to every qubit."""
    for qubit in range(n_qubits):
        pairs = states.reshape(-1, 2**qubit, 2, 2 ** (n_qubits - qubit - 1))
        zero, one = pairs[:, :, 0], pairs[:, :, 1]
        states = np.stack([zero + one, zero - one], axis=2).reshape(states.shape) / np.sqrt(2)
    return states
