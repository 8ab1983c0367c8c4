"""Classical classifiers beside a quantum one: limits that are known, and accuracies published or measured elsewhere."""

import dataclasses

import numpy as np
import pytest

from ceas.learning import datasets, generators
from ceas.learning.baselines import GAMMA_FACTORS, classical_baselines, classical_inputs
from ceas.learning.data import Dataset, Preparation, logistic_baseline
from ceas.learning.quantum_data import ising_chain


def toy(angles: np.ndarray, labels: np.ndarray) -> Dataset:
    """Return the same samples as all three parts."""
    return Dataset(
        name="toy",
        train_angles=angles,
        train_labels=labels,
        validation_angles=angles,
        validation_labels=labels,
        test_angles=angles,
        test_labels=labels,
        n_classes=2,
    )


def test_a_disc_in_a_ring_needs_the_kernel() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3 // 2  # twice as many zeros
    turn, radius = rng.uniform(0, 2 * np.pi, 300), np.where(labels, 2.0, 0.5)
    dataset = toy(np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1), labels)
    logistic, kernel, majority = classical_baselines(dataset)
    assert [b.name for b in (logistic, kernel, majority)] == ["logistic_regression", "rbf_svc", "majority_class"]
    assert kernel.test_accuracy == 1.0
    assert logistic.test_accuracy == logistic_baseline(dataset) < 0.8
    assert majority.test_accuracy == pytest.approx(2 / 3)
    scale = 1 / (2 * dataset.train_angles.var())
    # All factors separate the two, so the least is taken.
    assert kernel.gamma == pytest.approx(GAMMA_FACTORS[0] * scale)


def test_the_validation_part_chooses_the_kernel_and_the_test_part_does_not() -> None:
    dataset = generators.two_curves(Preparation(n_features=4), rng=np.random.default_rng(0))
    chosen = classical_baselines(dataset)[1]
    flipped = classical_baselines(dataclasses.replace(dataset, test_labels=1 - dataset.test_labels))[1]
    assert flipped.gamma == chosen.gamma
    assert flipped.test_accuracy == pytest.approx(1 - chosen.test_accuracy)
    worst = classical_baselines(dataclasses.replace(dataset, validation_labels=1 - dataset.validation_labels))[1]
    assert worst.gamma != chosen.gamma
    assert 1 - worst.validation_accuracy < chosen.validation_accuracy


def test_phases_far_from_the_critical_point_are_told_apart_from_expectation_values() -> None:
    rng = np.random.default_rng(0)
    dataset = ising_chain(Preparation(n_qubits=4), n_samples=60, critical_gap=0.5, rng=rng)
    train, _, test = classical_inputs(dataset)
    assert train.shape == (36, 20)
    assert test.shape == (18, 20)
    assert logistic_baseline(dataset) == 1.0
    assert [baseline.test_accuracy for baseline in classical_baselines(dataset)] == [1.0, 1.0, 0.5]


def test_generated_classes_are_as_hard_as_they_are_made() -> None:
    separable = generators.linearly_separable(Preparation(n_features=3), rng=np.random.default_rng(0))
    assert logistic_baseline(separable) > 0.9
    bars = generators.bars_and_stripes(
        Preparation(n_features=16, features="raw"), noise=0.1, rng=np.random.default_rng(0)
    )
    logistic, kernel, _ = classical_baselines(bars)
    # Swapping bars and stripes transposes an image; the mean image of both is the same.
    assert logistic.test_accuracy < 0.65
    assert kernel.test_accuracy > 0.9


MEASURED = [
    ("mnist", (3, 5), 4, 0.879, 0.903),
    ("mnist", (3, 5), 8, 0.908, 0.959),
    ("mnist", (4, 9), 4, 0.767, 0.778),
    ("mnist", (4, 9), 8, 0.895, 0.920),
    ("mnist", (0, 1, 2, 3), 4, 0.915, 0.938),
    ("mnist", (0, 1, 2, 3), 8, 0.939, 0.972),
    ("digits", (3, 8), 4, 0.965, 0.980),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes", "n_features", "logistic", "kernel"), MEASURED)
def test_accuracies_are_those_measured_elsewhere(
    name: str, classes: tuple[int, ...], n_features: int, logistic: float, kernel: float
) -> None:
    """Means of 5 splits against those of another program with other splits, sizes of parts and scaling.

    Each mean is of 5 x 300 test images or more (digits: 5 x 107), binomial deviation below 0.011 (0.008), and training
    sets differ; 0.025 is what such means differ by, not a test of equality.
    """
    preparation = Preparation(n_features=n_features, classes=classes)
    runs = [
        classical_baselines(getattr(datasets, name)(preparation, rng=np.random.default_rng(seed))) for seed in range(5)
    ]
    means = np.mean([[run[0].test_accuracy, run[1].test_accuracy] for run in runs], axis=0)
    print(f"{name} {classes} {n_features}: {means.round(3)}")  # noqa: T201 - shown with `pytest -s`
    np.testing.assert_allclose(means, [logistic, kernel], atol=0.025)
