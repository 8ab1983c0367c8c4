"""Statistics of finite shots against formulas and the exact engine.

The derivative of one expectation value by a rotation, measured with S shots up and S down, has the variance
(2 - f+^2 - f-^2) / (4 S); through noise that multiplies values by lambda, and divided by lambda,
(2 - lambda^2 (f+^2 + f-^2)) / (4 S lambda^2). Whole classifiers are run as many learners that hold the same samples, so
that each is one repetition.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ceas.experiments.benchmark_reference_intervals import variance_ratio
from ceas.experiments.statistics import mean_interval
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit
from ceas.learning.classifier import Classifier, model_loss
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.encoding import encode_inputs
from ceas.learning.engine import expectations
from ceas.learning.gradients import GradientSettings, estimate_gradients
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes
from ceas.learning.training import encode_samples, model_loss_and_gradient
from ceas.streams import stream, stream_seed

__all__ = ["shots_part"]

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

SHOTS, REPETITIONS = 100, 20_000
N_BLOCKS = 40  # of learners, among which the interval of a ratio of means is taken
STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def shots_part(*, is_quick: bool) -> list[Row]:
    """Return all tables of finite shots."""
    repetitions = 400 if is_quick else REPETITIONS
    return [
        *_observable_rows(repetitions),
        *_classifier_rows(400 if is_quick else 2000),
        *_spsa_rows(400 if is_quick else 2000),
    ]


# ---- one observable --------------------------------------------------------------------------------------------------


class _Shifted(NamedTuple):
    """A circuit at a point, of which one rotation is shifted."""

    circuit: Circuit
    partition: Partition
    theta: FloatArray
    inputs: FloatArray
    rotation: int


def _observable_rows(repetitions: int) -> list[Row]:
    """Measure one derivative many times, without noise, through readout errors, and through pairs and gates."""
    circuit = hardware_efficient(3, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    rng = stream(0, "reference shots observable")
    theta, x = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (1, circuit.n_features))
    ideal = noiseless(partition)
    cases = {
        "ideal": ideal,
        "readout errors": ideal._replace(readout_error=jnp.full_like(ideal.readout_error, 0.1)),
        "pairs and gates": ideal._replace(
            one_qubit_error=jnp.full_like(ideal.one_qubit_error, 0.01),
            two_qubit_error=jnp.full_like(ideal.two_qubit_error, 0.03),
            pair_werner=jnp.full_like(ideal.pair_werner, 0.8),
        ),
    }
    rotations = [circuit.rotations.index(i) for i, gate in enumerate(circuit.gates) if gate.parameters]
    # The rotation whose derivative is steepest, so that all terms of the formula count.
    points = [_Shifted(circuit, partition, theta, x, rotation) for rotation in rotations]
    chosen = max(points, key=lambda point: abs(np.diff(_values(point, ideal))[0]))
    return [_observable_row(name, chosen, noise, _values(chosen, ideal), repetitions) for name, noise in cases.items()]


def _observable_row(name: str, point: _Shifted, noise: NoiseTable, ideal: FloatArray, repetitions: int) -> Row:
    seen = _values(point, noise)
    contraction = float(np.sum(seen * ideal) / np.sum(ideal**2))
    values = _outcomes(point, noise, repetitions).mean(axis=2)
    derivative = (values[:, 0] - values[:, 1]) / (2 * contraction)
    formula = float((2 - np.sum(seen**2)) / (4 * SHOTS * contraction**2))
    # What the formula says where noise is one factor for both values.
    scaled = float((2 - contraction**2 * np.sum(ideal**2)) / (4 * SHOTS * contraction**2))
    ratio = variance_ratio(derivative, formula)
    target = (seen[0] - seen[1]) / (2 * contraction)
    return {
        "table": "variance of one derivative over its formula",
        "noise": name,
        "contraction": contraction,
        "f+": float(seen[0]),
        "f-": float(seen[1]),
        "formula": formula,
        "formula by contraction": scaled,
        "observed over formula": ratio.ratio,
        "low": ratio.low,
        "high": ratio.high,
        "one inside": "yes" if ratio.holds_one else "no",
        "mean error in s.e.": float((derivative.mean() - target) / np.sqrt(formula / repetitions)),
        "repetitions": repetitions,
    }


def _values(point: _Shifted, noise: NoiseTable) -> FloatArray:
    """Return exact <Z_0> with the rotation turned up and down by a quarter, where one parameter turns it alone."""
    (parameter,) = point.circuit.gates[point.circuit.rotations[point.rotation]].parameters
    moved = np.tile(point.theta, (2, 1))
    moved[:, parameter] += [np.pi / 2, -np.pi / 2]
    encoded = encode_inputs(point.circuit, point.inputs)
    found = expectations(point.circuit, point.partition, jnp.asarray(moved), encoded, noise, observables=(0,))
    return np.asarray(found, np.float64)[:, 0, 0, 0]


def _outcomes(point: _Shifted, noise: NoiseTable, repetitions: int) -> FloatArray:
    """Return measured Z_0, shape (repetitions, up or down, shots)."""
    n_shots, n_pairs = 2 * SHOTS * repetitions, point.partition.pairs_per_shot
    angles = rotation_angles(point.circuit, jnp.asarray(point.theta), jnp.asarray(point.inputs))
    shots = Shots(
        learner=np.zeros(n_shots, np.int32),
        counter=np.arange(n_shots, dtype=np.uint32),
        sample=np.zeros(n_shots, np.int32),
        shift_rotation=np.full(n_shots, point.rotation, np.int32),
        shift_sign=np.tile(np.repeat(np.array([1, -1], np.int32), SHOTS), repetitions),
        pair_werner=np.broadcast_to(np.asarray(noise.pair_werner, np.float32), (n_shots, n_pairs)),
    )
    seed = stream_seed(0, "reference shots outcomes")
    bits = sample_outcomes(point.circuit, point.partition, np.asarray(angles), noise, shots=shots, seed=seed)
    outcomes: FloatArray = (1.0 - 2.0 * (bits & 1).astype(np.float64)).reshape(repetitions, 2, SHOTS)
    return outcomes


# ---- whole classifiers -----------------------------------------------------------------------------------------------


class _Task(NamedTuple):
    """A classifier on a few samples that every learner holds."""

    model: Classifier
    theta: FloatArray
    dataset: Dataset


def _task(n_layers: int, n_samples: int) -> _Task:
    rng = stream(0, "reference shots classifier")
    model = Classifier(circuit=hardware_efficient(2, n_layers, "chain"), n_classes=2)
    angles, labels = rng.uniform(-1.5, 1.5, (4, 2))[:n_samples], np.array([0, 1, 1, 0])[:n_samples]
    dataset = Dataset(
        name="few",
        n_classes=2,
        train_angles=angles,
        train_labels=labels,
        validation_angles=angles,
        validation_labels=labels,
        test_angles=angles,
        test_labels=labels,
    )
    return _Task(model, rng.normal(size=model.n_parameters), dataset)


def _noise(partition: Partition, n_learners: int, *, is_noisy: bool) -> NoiseTable:
    ideal = noiseless(partition, n_learners)
    if not is_noisy:
        return ideal
    return ideal._replace(
        two_qubit_error=jnp.full_like(ideal.two_qubit_error, 0.03), pair_werner=jnp.full_like(ideal.pair_werner, 0.85)
    )


def _classifier_rows(n_learners: int) -> list[Row]:
    """Compare the variance that learners report with that among them, and their mean with the exact gradient.

    With one sample both are of the same thing, up to readout. With several, a term's pairs are dealt evenly over them,
    so that differences between samples do not add to the error; they do add to the spread that is reported.
    """
    rows = []
    for noise_name, n_samples, shots, share in (
        ("ideal", 1, 400, 0.25),
        ("pairs and gates", 1, 400, 0.25),
        ("pairs and gates", 1, 2000, 0.9),
        ("ideal", 4, 30, 0.5),
        ("ideal", 4, 400, 0.25),
        ("pairs and gates", 4, 400, 0.25),
        ("pairs and gates", 4, 2000, 0.9),
    ):
        task = _task(2, n_samples)
        partition = partition_circuit(task.model.circuit, "qubit")
        noise = _noise(partition, n_learners, is_noisy=noise_name != "ideal")
        settings = GradientSettings(minibatch=n_samples, readout_share=share)
        gradient, variance = _estimates(task, partition, noise, shots, settings)
        exact = _exact_gradient(task, partition, noise)
        observed = gradient.var(axis=0, ddof=1).mean()
        ratio = _ratio(gradient, variance)
        error = gradient.mean(axis=0) - exact
        rows.append(
            {
                "table": "variance of whole gradients over what learners report",
                "noise": noise_name,
                "samples": n_samples,
                "shots": shots,
                "readout share": share,
                "learners": n_learners,
                "reported": float(variance.mean()),
                "observed": float(observed),
                "observed over reported": ratio.mean,
                "low": ratio.low,
                "high": ratio.high,
                "bias over root of variance": float(
                    np.linalg.norm(gradient.mean(axis=0) - exact) / np.sqrt(observed * exact.size)
                ),
                "largest bias in s.e.": float(np.abs(error).max()),
            }
        )
    return rows


def _estimates(
    task: _Task, partition: Partition, noise: NoiseTable, shots: int, settings: GradientSettings
) -> tuple[FloatArray, FloatArray]:
    n_learners = len(noise.one_qubit_error)
    n_samples = len(task.dataset.train_labels)
    index = np.tile(np.arange(n_samples), (n_learners, 1))
    found = estimate_gradients(
        task.model,
        partition,
        task.theta,
        noise,
        dataset=task.dataset,
        samples=LearnerSamples(index=index, count=np.full(n_learners, n_samples)),
        shot_learner=np.repeat(np.arange(n_learners), shots),
        shot_werner=np.repeat(np.asarray(noise.pair_werner, np.float32), shots, axis=0),
        settings=settings,
        seed=stream_seed(0, "reference shots gradients", shots=shots),
    )
    return found.gradient, found.variance


def _exact_gradient(task: _Task, partition: Partition, noise: NoiseTable) -> FloatArray:
    one = jax.tree.map(lambda array: array[:1], noise)
    samples = jnp.asarray(task.dataset.train_angles)
    labels = jnp.asarray(task.dataset.train_labels)[None]
    _, gradient = model_loss_and_gradient(
        task.model,
        partition,
        jnp.asarray(task.theta),
        encode_samples(task.model, task.theta, samples),
        one,
        targets=(labels, jnp.full(labels.shape, 1 / labels.size)),
    )
    return np.asarray(gradient[0], np.float64)


def _ratio(gradient: FloatArray, variance: FloatArray) -> Any:
    """Return the ratio of observed to reported variance with its 99 % interval, over blocks of learners."""
    blocks = zip(np.array_split(gradient, N_BLOCKS), np.array_split(variance, N_BLOCKS), strict=True)
    return mean_interval([g.var(axis=0, ddof=1).mean() / v.mean() for g, v in blocks], confidence=0.99)


# ---- simultaneous perturbation ---------------------------------------------------------------------------------------


def _spsa_rows(n_learners: int) -> list[Row]:
    """Compare the mean over all directions, exactly, with the gradient; and learners' estimates with that mean."""
    task = _task(3, 4)
    partition = partition_circuit(task.model.circuit)
    noise = noiseless(partition, n_learners)
    exact = _exact_gradient(task, partition, noise)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=task.model.n_parameters - 1)))
    directions = np.concatenate([np.ones((len(signs), 1)), signs], axis=1)  # opposite directions say the same
    linear = _linear_loss(task, partition, noise)
    rows = []
    for step in STEPS:
        moves = step * directions
        slope = (linear(task.theta + moves) - linear(task.theta - moves)) / (2 * step)
        expected = (slope[:, None] * directions).mean(axis=0)
        settings = GradientSettings(minibatch=4, readout_share=0.5, method="spsa", spsa_step=step)
        gradient, _ = _estimates(task, partition, noise, 400, settings)
        bias = float(np.linalg.norm(expected - exact) / np.linalg.norm(exact))
        spread = gradient.std(axis=0, ddof=1)
        errors = np.sqrt(n_learners) * (gradient.mean(axis=0) - expected) / spread
        rows.append(
            {
                "table": "bias of simultaneous perturbation by its step",
                "step": step,
                "bias over gradient": bias,
                "bias over step^2": bias / step**2,
                "spread of one estimate over gradient": float(np.linalg.norm(spread) / np.linalg.norm(exact)),
                "largest error of the learners' mean in s.e.": float(np.abs(errors).max()),
            }
        )
    return rows


def _linear_loss(task: _Task, partition: Partition, noise: NoiseTable) -> Callable[[FloatArray], FloatArray]:
    """Return the loss with its slopes by the expectation values held, which is what pairs of shots measure."""
    one = jax.tree.map(lambda array: array[:1], noise)
    encoded = encode_samples(task.model, task.theta, task.dataset.train_angles)
    labels = jnp.asarray(task.dataset.train_labels)

    def values(theta: FloatArray) -> jax.Array:
        found: jax.Array = expectations(
            task.model.circuit, partition, jnp.asarray(theta), encoded, one, observables=task.model.observables
        )
        return found

    targets = (labels, jnp.full(labels.shape, 1 / labels.size))
    slopes = jax.grad(model_loss(task.model))(values(task.theta)[0], jnp.asarray(task.theta), targets)
    return lambda theta: np.asarray((values(theta)[:, 0] * slopes).sum(axis=(1, 2)), np.float64)
