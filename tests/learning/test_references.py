"""The circuit without entanglers beside which a quantum classifier is seen: what it computes and what it can learn."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import benchmark_separable, hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.classifier import Classifier
from ceas.learning.data import Dataset
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit
from ceas.learning.references import _Kept, separable_accuracy, separable_values


def test_bloch_vectors_give_what_density_matrices_do(oracle_density: Callable[..., Any]) -> None:
    """All three axes, several rotations on a qubit, and inputs multiplied by parameters."""
    gates = [
        Gate(kind=kind, qubits=(qubit,), angle=(Term(1.0, place, (qubit,)), Term(0.3)), layer=0)  # type: ignore[arg-type]
        for place, (kind, qubit) in enumerate([("rx", 0), ("ry", 1), ("rz", 0), ("ry", 0), ("rx", 1), ("rz", 1)])
    ]
    circuit = Circuit(n_qubits=3, gates=tuple(gates), n_parameters=6, n_features=2)
    rng = np.random.default_rng(0)
    theta, samples = rng.normal(size=6), rng.normal(size=(4, 2))
    values = separable_values(circuit, rotation_angles(circuit, jnp.asarray(theta), jnp.asarray(samples)))
    partition = partition_circuit(circuit)
    signs = 1.0 - 2.0 * (np.arange(8)[:, None] >> np.array([2, 1, 0]) & 1)
    for sample, found in zip(samples, np.asarray(values), strict=True):
        rho = oracle_density(circuit, partition, theta, sample, noiseless(partition), learner=0)
        np.testing.assert_allclose(found, np.diag(rho).real @ signs, atol=1e-6)
    with pytest.raises(DomainError, match="one-qubit rotations alone, but has cnot"):
        separable_values(hardware_efficient(2, 1), jnp.zeros(6))
    assert separable_values(benchmark_separable(2, 1), jnp.zeros((3, 14))).shape == (3, 2)


def dataset(labels_of: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]], seed: int = 0) -> Dataset:
    """Return points of a square with labels that a function of them gives."""
    points = np.random.default_rng(seed).uniform(-np.pi / 2, np.pi / 2, (600, 2))
    labels = labels_of(points).astype(np.int64)
    parts = {"train": slice(0, 300), "validation": slice(300, 400), "test": slice(400, 600)}
    arrays: dict[str, Any] = {}
    for part, rows in parts.items():
        arrays |= {f"{part}_angles": points[rows], f"{part}_labels": labels[rows]}
    return Dataset(name="square", n_classes=2, **arrays)


def reached(data: Dataset, **own: Any) -> float:
    model = Classifier(circuit=hardware_efficient(2, 2), n_classes=2, **own)
    return separable_accuracy(model, data, n_layers=2, seed=0)


def test_it_learns_functions_of_one_input_each_and_their_sums() -> None:
    assert reached(dataset(lambda x: x[:, 0] + 0.5 * x[:, 1] > 0.2)) > 0.95
    assert reached(dataset(lambda x: np.abs(x[:, 0]) < 0.8)) > 0.9


def test_a_band_across_takes_the_trained_layer_in_front() -> None:
    """|x + y| < 1.1 is no threshold of a sum of functions of x and of y; behind V x + a it is one of a single input.

    The more frequent class has 0.63 of 200 test samples, whose binomial standard deviation is 0.034; 0.8 is 5 more.
    """
    band = dataset(lambda x: np.abs(x.sum(axis=1)) < 1.1)
    assert reached(band) < 0.8
    assert reached(band, n_dressed_inputs=2) > 0.95


def test_states_are_told_apart_by_what_rotated_qubits_say() -> None:
    """|+> and |-> on the first qubit, anything on the second."""
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    other = rng.normal(size=(60, 2)) + 1j * rng.normal(size=(60, 2))
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    first = np.stack([np.ones(60), 1.0 - 2.0 * labels], axis=1) / np.sqrt(2)
    states = (first[:, :, None] * other[:, None, :]).reshape(60, 4)
    arrays: dict[str, Any] = {}
    for part, rows in {"train": slice(0, 30), "validation": slice(30, 40), "test": slice(40, 60)}.items():
        arrays |= {f"{part}_angles": np.empty((rows.stop - rows.start, 0)), f"{part}_labels": labels[rows]}
        arrays |= {f"{part}_states": states[rows]}
    assert reached(Dataset(name="states", n_classes=2, **arrays)) == 1.0


def test_a_result_is_kept_for_the_very_same_data_alone() -> None:
    data = dataset(lambda x: x[:, 0] > 0)
    assert _Kept(data) == _Kept(dataclasses.replace(data, name="other"))
    for part in ("train", "validation", "test"):
        labels = getattr(data, f"{part}_labels")
        assert _Kept(data) != _Kept(dataclasses.replace(data, **{f"{part}_labels": 1 - labels}))
    angles = data.train_angles
    assert _Kept(data) != _Kept(dataclasses.replace(data, train_angles=angles.reshape(-1, 1)))
