"""Gradient estimates from few shots, against closed forms and the exact engine.

Many learners that share samples and noise are independent repetitions, since each has its own stream. Statistical tests
use fixed seeds; each states its number of repetitions and a false-alarm rate of at most 1e-6.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.classifier import Classifier, model_loss
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.engine import encode_features, loss_and_gradient, parameter_shift_jacobian
from ceas.learning.gradients import (
    GradientEstimates,
    GradientSettings,
    estimate_gradients,
    estimate_gradients_together,
)
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shot_plan import MINIMUM_SHOTS

FALSE_ALARM = 1e-6
# At this temperature the softmax is uniform whatever the readout says, so that the slopes a are known exactly.
COLD = 1e-6
# The same number wherever many are needed, so that one compiled program serves the tests.
N_LEARNERS = 800


def toy_dataset(angles: npt.ArrayLike, labels: npt.ArrayLike, n_classes: int) -> Dataset:
    x, y = np.asarray(angles, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    return Dataset(
        name="toy",
        train_angles=x,
        train_labels=y,
        validation_angles=x,
        validation_labels=y,
        test_angles=x,
        test_labels=y,
        n_classes=n_classes,
    )


def random_dataset(n_samples: int) -> Dataset:
    rng = np.random.default_rng(1)
    return toy_dataset(rng.uniform(-1.5, 1.5, (n_samples, 4)), rng.integers(0, 3, n_samples), 3)


def all_hold_all(n_learners: int, n_samples: int) -> LearnerSamples:
    index = np.tile(np.arange(n_samples), (n_learners, 1))
    return LearnerSamples(index=index, count=np.full(n_learners, n_samples))


def equal_learners(partition: Partition, n_learners: int, *, werner: float = 1.0, error: float = 0.0) -> NoiseTable:
    return node_noise(
        partition,
        one_qubit_error=np.full(n_learners, error),
        two_qubit_error=np.full(n_learners, error),
        readout_error=np.full(n_learners, error),
        lender=np.zeros(n_learners, dtype=np.int64),
        pair_werner=werner,
    )


def estimate(
    n_learners: int,
    n_shots: int,
    settings: GradientSettings,
    *,
    werner: Any = 1.0,
    error: float = 0.0,
    seed: int = 0,
    temperature: float = COLD,
) -> GradientEstimates:
    """Let equal learners estimate the gradient of two layers on the same five samples."""
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    return estimate_gradients(
        Classifier(circuit=circuit, n_classes=3, temperature=temperature),
        partition,
        THETA,
        equal_learners(partition, n_learners, error=error),
        dataset=random_dataset(5),
        samples=all_hold_all(n_learners, 5),
        shot_learner=np.repeat(np.arange(n_learners), n_shots),
        shot_werner=np.broadcast_to(np.asarray(werner, dtype=np.float32), (n_learners * n_shots, 2)),
        settings=settings,
        seed=seed,
    )


THETA = np.random.default_rng(9).normal(size=16)


def exact_cold_gradient(*, werner: float = 1.0, error: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the gradient divided by the temperature, at slopes 1/3 - [c = y]."""
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    dataset = random_dataset(5)
    jacobian = parameter_shift_jacobian(
        circuit,
        partition,
        jnp.asarray(THETA),
        encode_features(dataset.train_angles),
        equal_learners(partition, 1, werner=werner, error=error),
        observables=(0, 1, 2),
    )[0]
    slopes = 1 / 3 - np.eye(3)[dataset.train_labels]
    return np.asarray(np.einsum("sc,scp->p", slopes, np.asarray(jacobian, dtype=np.float64)) / 5)


def assert_mean_is(estimates: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> None:
    """Two-sided z-tests of every column with a false-alarm rate of 1e-6 over all of them.

    Columns that are never measured must be zero in both.
    """
    is_measured = estimates.any(axis=0)
    np.testing.assert_allclose(truth[~is_measured], 0, atol=1e-6)
    estimates, truth = estimates[:, is_measured], truth[is_measured]
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    z_score = (estimates.mean(axis=0) - truth) / error
    assert np.abs(z_score).max() < scipy.stats.norm.isf(FALSE_ALARM / truth.size / 2)


@pytest.mark.parametrize(
    ("n_shots", "minibatch", "n_rounds"),
    [
        (101, 4, 1),  # several pairs per parameter, unequal numbers of them, part of the samples
        (21, 5, 2),  # fewer pairs than parameters
        (3, 5, 8),  # the smallest number of shots
    ],
)
def test_estimates_are_unbiased_through_noise(n_shots: int, minibatch: int, n_rounds: int) -> None:
    """Mean over learners and rounds is the shift rule's gradient of the noisy circuit; false alarm 1e-6 in all.

    800 learners in each round.
    """
    settings = GradientSettings(minibatch=minibatch, readout_share=0.3)
    estimates = [estimate(N_LEARNERS, n_shots, settings, werner=0.7, error=0.02, seed=seed) for seed in range(n_rounds)]
    truth = exact_cold_gradient(werner=0.7, error=0.02)
    assert np.abs(truth).max() > 0.05
    assert_mean_is(np.concatenate([one.gradient for one in estimates]) / COLD, truth)
    assert np.all(estimates[0].shots == n_shots)


def test_pairs_are_spread_over_the_shots_at_random() -> None:
    """Pairs that spoil during the window weigh on all terms alike: the mean is that of good and useless pairs.

    800 learners of 60 shots, of which the first third is perfect; false alarm 1e-6 over 16 entries.
    """
    settings = GradientSettings(minibatch=5, readout_share=0.3)
    werner = np.tile(np.arange(60) < 20, N_LEARNERS)[:, None]
    truth = (exact_cold_gradient(werner=1.0) + 2 * exact_cold_gradient(werner=0.0)) / 3
    assert np.abs(truth - exact_cold_gradient(werner=0.0)).max() > 0.03
    assert_mean_is(estimate(N_LEARNERS, 60, settings, werner=werner).gradient / COLD, truth)


def test_shots_keep_their_learner_and_pairs_when_given_in_any_order() -> None:
    """Learners with good and with useless pairs, shots interleaved; 800 learners of 80 shots, false alarm 2e-6."""
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    n_learners = N_LEARNERS
    learner = np.random.default_rng(0).permutation(np.repeat(np.arange(n_learners), 80))
    estimates = estimate_gradients(
        Classifier(circuit=circuit, n_classes=3, temperature=COLD),
        partition,
        THETA,
        noiseless(partition, n_learners),
        dataset=random_dataset(5),
        samples=all_hold_all(n_learners, 5),
        shot_learner=learner,
        shot_werner=np.repeat(learner[:, None] % 2 == 0, 2, axis=1).astype(np.float64),
        settings=GradientSettings(minibatch=5, readout_share=0.2),
        seed=4,
    )
    for rest, werner in ((0, 1.0), (1, 0.0)):
        assert_mean_is(estimates.gradient[rest::2] / COLD, exact_cold_gradient(werner=werner))


@pytest.mark.parametrize("n_pairs", [1, 4, 16])
def test_variance_of_one_observable_has_its_closed_form(n_pairs: int) -> None:
    """Var = (2 - f+^2 - f-^2) / (4 S) with S shots per shifted circuit, and the reported variance has this mean.

    Qubit 1 is never rotated, so that only f = <Z_0> = cos(x + t) is random. 8000 learners; the sample variance has
    a relative standard error of at most 1.6 %, and 10 % is 6 of them.
    """
    encoding = [Gate(kind="ry", qubits=(q,), angle=(Term(features=(q,)),), layer=-1) for q in range(2)]
    turn = Gate(kind="ry", qubits=(0,), angle=(Term(parameter=0),), layer=0)
    circuit = Circuit(n_qubits=2, n_parameters=1, n_features=2, gates=(*encoding, turn))
    partition = partition_circuit(circuit, "data")
    n_learners, x, t = 8000, 0.4, 0.5
    estimates = estimate_gradients(
        Classifier(circuit=circuit, n_classes=2, temperature=COLD),
        partition,
        [t],
        noiseless(partition, n_learners),
        dataset=toy_dataset([[x, 0.0]], [1], 2),
        samples=all_hold_all(n_learners, 1),
        shot_learner=np.repeat(np.arange(n_learners), 2 * n_pairs + 1),
        shot_werner=np.zeros((n_learners * (2 * n_pairs + 1), 0)),
        settings=GradientSettings(minibatch=1, readout_share=0.01),
        seed=1,
    )
    # a_0 = temperature / 2 for the wrong class 0; a_1 multiplies a constant outcome, which cancels.
    scale = COLD / 2
    plus, minus = np.cos(x + t + np.pi / 2), np.cos(x + t - np.pi / 2)
    expected = scale**2 * (2 - plus**2 - minus**2) / (4 * n_pairs)
    assert_mean_is(estimates.gradient / scale, np.array([-np.sin(x + t)]))
    assert estimates.gradient.var() == pytest.approx(expected, rel=0.1)
    # With a single pair per parameter only the second moment is known, which is larger by the squared mean.
    bias = (scale * np.sin(x + t)) ** 2 if n_pairs == 1 else 0.0
    assert estimates.variance.mean() == pytest.approx(expected + bias, rel=0.1)


def test_reported_variance_is_the_spread_of_the_estimates() -> None:
    """Whole circuit, full minibatch: mean over 800 learners within 10 % of the observed variance."""
    settings = GradientSettings(minibatch=1, readout_share=0.2)
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    n_learners = N_LEARNERS
    for n_shots, is_exact in ((150, True), (25, False)):
        estimates = estimate_gradients(
            Classifier(circuit=circuit, n_classes=3, temperature=COLD),
            partition,
            THETA,
            noiseless(partition, n_learners),
            dataset=random_dataset(1),
            samples=all_hold_all(n_learners, 1),
            shot_learner=np.repeat(np.arange(n_learners), n_shots),
            shot_werner=np.ones((n_learners * n_shots, 2)),
            settings=settings,
            seed=2,
        )
        observed = estimates.gradient.var(axis=0).mean()
        known_bias = 0.0 if is_exact else (estimates.gradient.mean(axis=0) ** 2).mean()
        assert estimates.variance.mean() == pytest.approx(observed + known_bias, rel=0.1)


def _loss_at_three(values: jax.Array, targets: tuple[jax.Array, jax.Array]) -> jax.Array:
    model = Classifier(circuit=hardware_efficient(4, 2, "chain"), n_classes=3, temperature=3.0)
    return model_loss(model)(values, jnp.asarray(THETA), targets)


def test_many_shots_give_the_gradient_and_the_loss_of_the_engine() -> None:
    """24 learners of 24000 shots: standard error below 0.004 per entry, and the slopes' bias is below 0.002."""
    settings = GradientSettings(minibatch=5, readout_share=0.5)
    estimates = estimate(24, 24_000, settings, werner=0.8, error=0.01, temperature=3.0)
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    dataset = random_dataset(5)
    loss, gradient = loss_and_gradient(
        circuit,
        partition,
        jnp.asarray(THETA),
        encode_features(dataset.train_angles),
        equal_learners(partition, 1, werner=0.8, error=0.01),
        targets=(jnp.asarray(dataset.train_labels)[None], jnp.full((1, 5), 0.2)),
        observables=(0, 1, 2),
        loss=_loss_at_three,
    )
    assert np.abs(gradient).max() > 0.15
    np.testing.assert_allclose(estimates.gradient.mean(axis=0), gradient[0], atol=0.02)
    assert estimates.train_loss.mean() == pytest.approx(float(loss[0]), abs=0.02)


def test_learners_without_enough_shots_send_zero_and_disturb_nobody() -> None:
    circuit = hardware_efficient(4, 1, "chain")
    partition = partition_circuit(circuit, "qubit")
    settings = GradientSettings(minibatch=3, readout_share=0.3)

    def run(n_shots: list[int]) -> GradientEstimates:
        werner = np.concatenate([np.linspace(0.5, 1, count) for count in n_shots])[:, None]
        return estimate_gradients(
            Classifier(circuit=circuit, n_classes=3, temperature=4.0),
            partition,
            np.ones(8),
            noiseless(partition, len(n_shots)),
            dataset=random_dataset(6),
            samples=LearnerSamples(index=np.array([[0, 1], [2, 3], [4, 5], [0, 3], [2, 5]]), count=np.full(5, 2)),
            shot_learner=np.repeat(np.arange(len(n_shots)), n_shots),
            shot_werner=werner,
            settings=settings,
            seed=3,
        )

    mixed = run([0, 40, MINIMUM_SHOTS - 1, MINIMUM_SHOTS, 17])
    np.testing.assert_array_equal(mixed.shots, [0, 40, 0, 3, 17])
    is_idle = mixed.shots == 0
    assert np.all(mixed.gradient[is_idle] == 0)
    assert np.all(np.isnan(mixed.train_loss) == is_idle)
    assert np.all(np.isnan(mixed.variance) == is_idle)
    assert np.all(np.any(mixed.gradient[~is_idle] != 0, axis=1))
    alone = run([0, 0, 0, 0, 17])
    np.testing.assert_array_equal(alone.gradient[4], mixed.gradient[4])
    assert alone.train_loss[4] == mixed.train_loss[4]
    nobody = run([0] * 5)
    assert np.all(nobody.gradient == 0)
    assert np.all(nobody.shots == 0)


def test_the_seed_decides_everything() -> None:
    settings = GradientSettings(minibatch=3, readout_share=0.3)
    first, again, other = (estimate(6, 70, settings, werner=0.9, seed=seed, temperature=4.0) for seed in (5, 5, 6))
    for name in ("gradient", "shots", "variance", "train_loss"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.mean(first.gradient != other.gradient) > 0.5
    assert len(np.unique(first.gradient, axis=0)) == 6  # equal learners draw apart


def test_wrong_arguments_are_refused() -> None:
    for name, value in (
        ("minibatch", 0),
        ("readout_share", 0.0),
        ("readout_share", 1.0),
        ("spsa_step", 0.0),
        ("spsa_directions", 0),
    ):
        arguments: dict[str, Any] = {"minibatch": 4, "readout_share": 0.3} | {name: value}
        with pytest.raises(DomainError, match=f"`{name}` must"):
            GradientSettings(**arguments)
    with pytest.raises(UnknownNameError, match="gradient method `shift`"):
        GradientSettings(minibatch=4, readout_share=0.3, method="shift")  # type: ignore[arg-type]
    settings = GradientSettings(minibatch=4, readout_share=0.3)

    circuit = hardware_efficient(2, 1, "chain")
    partition = partition_circuit(circuit, "data")
    model = Classifier(circuit=circuit, n_classes=2)
    correct: dict[str, Any] = {
        "dataset": toy_dataset(np.zeros((3, 2)), [0, 1, 1], 2),
        "samples": all_hold_all(1, 3),
        "shot_learner": np.zeros(5, dtype=np.int64),
        "shot_werner": np.zeros((5, 0)),
    }
    for name, wrong in (
        ("samples", {"samples": all_hold_all(2, 3)}),
        ("dataset", {"dataset": toy_dataset(np.zeros((3, 2)), [0, 1, 2], 3)}),
        ("dataset", {"dataset": toy_dataset(np.zeros((3, 3)), [0, 1, 1], 2)}),
        ("shot_werner", {"shot_werner": np.zeros((4, 0))}),
        ("shot_werner", {"shot_werner": np.zeros((5, 1))}),
    ):
        with pytest.raises(DomainError, match=f"`{name}` must"):
            estimate_gradients(
                model, partition, np.zeros(4), noiseless(partition), settings=settings, seed=0, **(correct | wrong)
            )


def test_a_parameter_that_only_relaxation_makes_active_gets_its_gradient() -> None:
    """RXX commutes with Z0 Z1, which the CNOT makes of Z0; relaxation of qubit 1 leaves some Z0, which it turns."""
    gates = (
        Gate(kind="ry", qubits=(0,), angle=(Term(features=(0,)),), layer=-1),
        Gate(kind="ry", qubits=(1,), angle=(Term(features=(1,)),), layer=-1),
        Gate(kind="rxx", qubits=(0, 1), angle=(Term(parameter=0),), layer=0),
        Gate(kind="cnot", qubits=(1, 0), layer=0),
    )
    circuit = Circuit(n_qubits=2, gates=gates, n_parameters=1, n_features=2)
    partition, theta = partition_circuit(circuit), np.array([0.9])
    model = Classifier(circuit=circuit, n_classes=2, readout="sign", temperature=COLD)
    dataset = toy_dataset([[0.3, -0.4]], [1], 2)
    ideal = noiseless(partition, N_LEARNERS)
    relaxing = ideal._replace(relaxation=jnp.broadcast_to(jnp.array([0.7, 0.6, 0.9]), (N_LEARNERS, 1, 2, 3)))

    def estimates(noise: NoiseTable) -> npt.NDArray[np.float64]:
        return estimate_gradients(
            model,
            partition,
            theta,
            noise,
            dataset=dataset,
            samples=all_hold_all(N_LEARNERS, 1),
            shot_learner=np.repeat(np.arange(N_LEARNERS), 20),
            shot_werner=np.ones((20 * N_LEARNERS, 0), np.float32),
            settings=GradientSettings(minibatch=1, readout_share=0.3),
            seed=4,
        ).gradient

    with pytest.raises(DomainError, match="must have a parameter that can change what is read"):
        estimates(ideal)
    encoded, one = encode_features(dataset.train_angles), jax.tree.map(lambda column: column[:1], relaxing)
    slope = parameter_shift_jacobian(circuit, partition, jnp.asarray(theta), encoded, one, observables=(0,))
    truth = np.asarray(slope)[0, 0, 0]
    assert abs(truth[0]) > 0.1
    # At slopes p - y = 1/2 of both scores, which are the value and its negative.
    assert_mean_is(estimates(relaxing) / COLD, truth)


@pytest.mark.parametrize("is_dressed", [False, True])
@pytest.mark.parametrize("method", ["parameter_shift", "spsa"])
def test_trainings_together_estimate_what_each_estimates_alone(method: Any, is_dressed: bool) -> None:
    """To the last bit: on labels of their own, at their own parameters, with uneven shots and a learner without any."""
    circuit, rng = hardware_efficient(4, 2, "chain"), np.random.default_rng(4)
    partition = partition_circuit(circuit, "qubit")
    readout: Any = "linear" if is_dressed else "qubits"
    model = Classifier(circuit=circuit, n_classes=3, readout=readout, n_dressed_inputs=4 if is_dressed else None)
    thetas = rng.normal(size=(3, model.n_parameters))
    noise, samples = equal_learners(partition, 4, error=0.02), all_hold_all(4, 5)
    data = [(random_dataset(5), samples)] * 2
    data.append((toy_dataset(data[0][0].train_angles, 2 - data[0][0].train_labels, 3), samples))
    shot_learner = rng.permutation(np.repeat([0, 1, 2], [40, 7, 90]))
    given: dict[str, Any] = {
        "shot_learner": shot_learner,
        "shot_werner": rng.uniform(0.5, 1, (shot_learner.size, 2)).astype(np.float32),
        "settings": GradientSettings(minibatch=3, readout_share=0.3, method=method, spsa_directions=2),
        "seed": 8,
    }
    gradients, shots = estimate_gradients_together(model, partition, thetas, noise, data=data, **given)
    for theta, (dataset, own), gradient in zip(thetas, data, gradients, strict=True):
        alone = estimate_gradients(model, partition, theta, noise, dataset=dataset, samples=own, **given)
        np.testing.assert_array_equal(gradient, alone.gradient)
        np.testing.assert_array_equal(shots, alone.shots)
    assert shots.tolist() == [40, 7, 90, 0]


def test_trainings_together_need_equal_numbers_of_samples() -> None:
    circuit = hardware_efficient(4, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    with pytest.raises(DomainError, match="as many samples in all trainings"):
        estimate_gradients_together(
            Classifier(circuit=circuit, n_classes=3),
            partition,
            np.zeros((2, 16)),
            equal_learners(partition, 2),
            data=[(random_dataset(5), all_hold_all(2, n_samples)) for n_samples in (5, 4)],
            shot_learner=np.zeros(0, np.int64),
            shot_werner=np.zeros((0, 2), np.float32),
            settings=GradientSettings(minibatch=3, readout_share=0.3),
            seed=0,
        )
