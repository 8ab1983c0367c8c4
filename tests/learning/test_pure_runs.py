"""Pure runs by angles against the Heisenberg engine, for every kind of model, and training on them."""

import jax.numpy as jnp
import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.learning.ansatz import benchmark_reuploading, benchmark_separable, dressed_core, hardware_efficient, iqp
from ceas.learning.classifier import Classifier
from ceas.learning.data import Dataset
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit
from ceas.learning.training import encode_samples, model_loss_and_gradient, pure_loss_and_gradient, train_exact

MODELS = [
    Classifier(circuit=benchmark_reuploading(4, 1), n_classes=2, readout="sign", temperature=3.0),
    Classifier(circuit=benchmark_separable(2, 2), n_classes=2, readout="linear"),
    Classifier(circuit=iqp(3, 1), n_classes=3, readout="qubits", temperature=2.0),
    Classifier(circuit=dressed_core(3, 1), n_classes=2, readout="linear", n_dressed_inputs=4),
]


@pytest.mark.parametrize(
    "model",
    [
        MODELS[0],
        pytest.param(MODELS[1], marks=pytest.mark.slow),
        pytest.param(MODELS[2], marks=pytest.mark.slow),
        MODELS[3],
    ],
    ids=["reuploading", "separable", "iqp", "dressed"],
)
def test_pure_runs_are_the_heisenberg_engine(model: Classifier) -> None:
    """A batch of 37 fills one block and pads the other."""
    rng = np.random.default_rng(3)
    theta, samples = rng.normal(size=model.n_parameters), rng.normal(size=(37, model.n_inputs))
    labels = rng.integers(0, model.n_classes, 37)
    loss, gradient = pure_loss_and_gradient(model, theta, samples, labels)
    partition = partition_circuit(model.circuit)
    targets = (jnp.asarray(labels)[None], jnp.full((1, 37), 1 / 37))
    expected, slopes = model_loss_and_gradient(
        model,
        partition,
        jnp.asarray(theta),
        encode_samples(model, theta, samples),
        noiseless(partition),
        targets=targets,
        samples=jnp.asarray(samples),
    )
    assert loss == pytest.approx(float(expected[0]), abs=2e-6)
    np.testing.assert_allclose(gradient, slopes[0], atol=5e-6)


def halves(n_samples: int = 60) -> Dataset:
    """Two classes that the sign of the first of two angles tells apart."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(-1.5, 1.5, (3 * n_samples, 2))
    labels = (angles[:, 0] > 0).astype(np.int64)
    parts = [part for pair in zip(np.split(angles, 3), np.split(labels, 3), strict=True) for part in pair]
    names = ("train_angles", "train_labels", "validation_angles", "validation_labels", "test_angles", "test_labels")
    return Dataset(name="halves", n_classes=2, **dict(zip(names, parts, strict=True)))


def test_training_converges_and_leaves_frozen_parameters_alone() -> None:
    model = Classifier(circuit=hardware_efficient(2, 1, "chain"), n_classes=2, readout="linear")
    start = np.random.default_rng(1).normal(0, 0.3, model.n_parameters)
    is_trained = np.arange(model.n_parameters) != 2
    found = train_exact(
        model,
        halves(),
        steps=400,
        learning_rate=0.1,
        batch_size=16,
        start=start,
        is_trained=is_trained,
        decays=False,
        evaluate_every=None,
        convergence_interval=40,
        rng=np.random.default_rng(2),
        engine="pure",
    )
    assert found.has_converged
    assert 82 <= found.train_loss.size < 400
    assert found.test_accuracy > 0.9
    assert found.theta[2] == pytest.approx(start[2], abs=1e-7)
    assert np.all(found.theta[is_trained] != start[is_trained].astype(np.float32))


def test_both_engines_train_alike() -> None:
    model = Classifier(circuit=hardware_efficient(2, 1, "chain"), n_classes=2)
    runs = [
        train_exact(model, halves(), steps=12, learning_rate=0.1, rng=np.random.default_rng(5), engine=engine)
        for engine in ("heisenberg", "pure")
    ]
    np.testing.assert_allclose(runs[0].train_loss, runs[1].train_loss, atol=2e-5)
    # RZ in front of the measurement changes nothing, but Adam turns even rounding errors into steps.
    np.testing.assert_allclose(runs[0].theta[::2], runs[1].theta[::2], atol=1e-3)
    assert not runs[0].has_converged


def test_states_have_no_pure_runs() -> None:
    states = np.eye(4, dtype=np.complex128)[[0, 3]]
    none, labels = np.empty((2, 0)), np.array([0, 1])
    data = Dataset(
        name="states",
        n_classes=2,
        train_angles=none,
        train_labels=labels,
        validation_angles=none,
        validation_labels=labels,
        test_angles=none,
        test_labels=labels,
        train_states=states,
    )
    model = Classifier(circuit=hardware_efficient(2, 1), n_classes=2)
    with pytest.raises(DomainError, match="engine"):
        train_exact(model, data, steps=1, learning_rate=0.1, rng=np.random.default_rng(0), engine="pure")
