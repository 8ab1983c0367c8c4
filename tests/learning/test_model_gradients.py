"""Gradients of whole models, trained layers included, with shots from an independent dense simulation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.classifier import Classifier, initial_parameters, model_loss, scores, split_parameters
from ceas.learning.data import Dataset, LearnerSamples
from ceas.learning.gradients import GradientEstimates, GradientSettings, debiased, estimate_gradients
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shots import Shots

FALSE_ALARM = 1e-6
Angles = Sequence[float] | npt.NDArray[np.float64]
N_LEARNERS = 1500
SAMPLES = np.array([[0.4, -0.9], [-0.3, 0.8], [1.1, 0.2]])
LABELS = np.array([1, 0, 1])


def reuploading() -> Circuit:
    """Two qubits; a trained weight on an input, a shared parameter, a two-qubit rotation and Clifford gates."""
    gates = (
        Gate(kind="ry", qubits=(0,), angle=(Term(features=(0,)),), layer=-1),
        Gate(kind="h", qubits=(1,), layer=-1),
        Gate(kind="rx", qubits=(1,), angle=(Term(parameter=0, features=(1,)), Term(parameter=1)), layer=0),
        Gate(kind="cnot", qubits=(0, 1), layer=0),
        Gate(kind="rzz", qubits=(0, 1), angle=(Term(coefficient=0.5, parameter=2),), layer=1),
        Gate(kind="ry", qubits=(0,), angle=(Term(parameter=3), Term(coefficient=0.2)), layer=1),
        Gate(kind="rx", qubits=(0,), angle=(Term(coefficient=-0.5, parameter=2),), layer=1),
        Gate(kind="cz", qubits=(0, 1), layer=1),
        Gate(kind="ry", qubits=(1,), angle=(Term(parameter=4, features=(0, 1)), Term(parameter=5)), layer=2),
    )
    return Circuit(n_qubits=2, gates=gates, n_parameters=6, n_features=2)


MODELS = {
    "plain": Classifier(circuit=reuploading(), n_classes=2, temperature=2.0),
    "sign": Classifier(circuit=reuploading(), n_classes=2, temperature=1.5, readout="sign"),
    "linear": Classifier(circuit=reuploading(), n_classes=3, readout="linear"),
    "dressed": Classifier(circuit=reuploading(), n_classes=2, temperature=2.0, n_dressed_inputs=2),
    "dressed linear": Classifier(circuit=reuploading(), n_classes=2, readout="linear", n_dressed_inputs=2),
}


def z_values(circuit: Circuit, angles: Angles, unitary: Callable[..., Any]) -> npt.NDArray[np.float64]:
    """Return the probabilities of the bitstrings, bit q being qubit q."""
    state = np.zeros(2**circuit.n_qubits, dtype=complex)
    state[0] = 1
    remaining = iter(angles)
    for gate in circuit.gates:
        plain = gate if not gate.is_rotation else Gate(**{**_fields(gate), "angle": (Term(float(next(remaining))),)})
        state = unitary(circuit.n_qubits, plain, np.zeros(0), np.zeros(0)) @ state
    # The oracle's qubit 0 is the most significant bit.
    tensor = np.abs(state.reshape((2,) * circuit.n_qubits)) ** 2
    return np.asarray(tensor.transpose().reshape(-1))


def _fields(gate: Gate) -> dict[str, Any]:
    return {"kind": gate.kind, "qubits": gate.qubits, "layer": gate.layer}


@pytest.fixture
def dense_shots(oracle_unitary: Callable[..., Any]) -> Callable[..., npt.NDArray[np.uint32]]:
    def run(
        circuit: Circuit,
        partition: Partition,
        angles: npt.ArrayLike,
        noise: NoiseTable,
        *,
        shots: Shots,
        seed: int,
        states: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.uint32]:
        table = np.asarray(angles)
        keys = np.stack([shots.sample, shots.shift_rotation, shots.shift_sign], axis=1)
        # Learners share samples, so most rows of angles are equal.
        rows, row_of = np.unique(table.round(12), axis=0, return_inverse=True)
        keys[:, 0] = row_of.reshape(-1)[shots.sample]
        kinds, kind = np.unique(keys, axis=0, return_inverse=True)
        uniform, outcomes = np.random.default_rng(seed).random(len(keys)), np.zeros(len(keys), dtype=np.uint32)
        for index, (row, rotation, sign) in enumerate(kinds):
            turned = rows[row].copy()
            if rotation >= 0:
                turned[rotation] += sign * np.pi / 2
            law = np.cumsum(z_values(circuit, turned, oracle_unitary))
            mine = kind.reshape(-1) == index
            outcomes[mine] = np.minimum(np.searchsorted(law, uniform[mine]), 2**circuit.n_qubits - 1)
        return outcomes

    return run


def exact_loss(model: Classifier, theta: npt.NDArray[np.float64], unitary: Callable[..., Any]) -> float:
    """Return the mean cross-entropy over the samples, with the layers written out."""
    layers, values = split_parameters(model, theta), []
    for sample in SAMPLES:
        inputs = sample
        if model.n_dressed_inputs is not None:
            inputs = np.pi / 2 * np.tanh(layers.input_weight @ sample + layers.input_bias)
        angles = [
            sum(
                c * (layers.circuit[p] if p >= 0 else 1) * np.prod(inputs[list(f)])
                for c, p, f in model.circuit.gates[index].angle
            )
            for index in model.circuit.rotations
        ]
        law = z_values(model.circuit, angles, unitary)
        bits = np.arange(4)[:, None] >> np.arange(2) & 1
        values.append(law @ (1 - 2 * bits))
    found = np.asarray(scores(model, theta, np.array(values)[:, list(model.observables)]))
    return float(np.mean(np.logaddexp.reduce(found, axis=1) - found[np.arange(3), LABELS]))


def exact_gradient(
    model: Classifier, theta: npt.NDArray[np.float64], unitary: Callable[..., Any], step: float = 1e-5
) -> npt.NDArray[np.float64]:
    moves = step * np.eye(theta.size)
    return np.array(
        [(exact_loss(model, theta + m, unitary) - exact_loss(model, theta - m, unitary)) / (2 * step) for m in moves]
    )


def estimate(
    model: Classifier,
    theta: npt.NDArray[np.float64],
    settings: GradientSettings,
    run: Any,
    *,
    n_shots: int,
    n_learners: int,
) -> GradientEstimates:
    partition = partition_circuit(model.circuit, "data")
    parts = {
        f"{part}_{what}": value
        for part in ("train", "validation", "test")
        for what, value in (("angles", SAMPLES), ("labels", LABELS))
    }
    return estimate_gradients(
        model,
        partition,
        theta,
        noiseless(partition, n_learners),
        dataset=Dataset(name="toy", n_classes=model.n_classes, **parts),
        samples=LearnerSamples(index=np.tile(np.arange(3), (n_learners, 1)), count=np.full(n_learners, 3)),
        shot_learner=np.repeat(np.arange(n_learners), n_shots),
        shot_werner=np.zeros((n_learners * n_shots, 0)),
        settings=settings,
        seed=5,
        run_shots=run,
    )


@pytest.mark.parametrize("name", MODELS)
def test_many_shots_give_the_gradient_of_every_layer(
    name: str, dense_shots: Any, oracle_unitary: Callable[..., Any]
) -> None:
    """20 learners of 30,000 shots against central differences of the dense simulation: 6 standard errors and 0.003.

    The second term covers the bias of slopes that come from finite readout shots, 1 / 5,000 of them per sample.
    """
    model = MODELS[name]
    theta = initial_parameters(model, spread=0.8, rng=np.random.default_rng(3))
    settings = GradientSettings(minibatch=3, readout_share=0.5)
    found = estimate(model, theta, settings, dense_shots, n_shots=30_000, n_learners=20)
    truth = exact_gradient(model, theta, oracle_unitary)
    assert np.abs(truth).max() > 0.05
    error = found.gradient.std(axis=0, ddof=1) / np.sqrt(20)
    assert np.all(np.abs(found.gradient.mean(axis=0) - truth) < 6 * error + 0.003)
    assert found.train_loss.mean() == pytest.approx(exact_loss(model, theta, oracle_unitary), abs=0.01)


def test_few_shots_are_unbiased_where_the_slopes_are_known(
    dense_shots: Any, oracle_unitary: Callable[..., Any]
) -> None:
    """A cold softmax has slopes 1/2 - [c = y] whatever is read: 1,500 learners of 9 shots; false alarm 1e-6 in all."""
    model = Classifier(circuit=reuploading(), n_classes=2, temperature=1e-6)
    theta = initial_parameters(model, spread=0.8, rng=np.random.default_rng(4))
    settings = GradientSettings(minibatch=3, readout_share=0.3)
    found = estimate(model, theta, settings, dense_shots, n_shots=9, n_learners=N_LEARNERS)
    truth = exact_gradient(model, theta, oracle_unitary, step=1e-2) / 1e-6
    error = found.gradient.std(axis=0, ddof=1) / np.sqrt(N_LEARNERS) / 1e-6
    z_score = (found.gradient.mean(axis=0) / 1e-6 - truth) / error
    assert np.abs(z_score).max() < scipy.stats.norm.isf(FALSE_ALARM / truth.size / 2)


@pytest.mark.parametrize(("n_directions", "n_shots"), [(1, 9), (4, 9), (4, 60)])
def test_spsa_is_the_mean_difference_along_random_directions(
    n_directions: int, n_shots: int, *, dense_shots: Any, oracle_unitary: Callable[..., Any]
) -> None:
    """The mean over all 2^P directions of the exact difference quotient, bias of order c^2 included; false alarm 1e-6.

    1,500 learners.
    """
    model = Classifier(circuit=reuploading(), n_classes=2, temperature=1e-6)
    theta = initial_parameters(model, spread=0.8, rng=np.random.default_rng(4))
    settings = GradientSettings(
        minibatch=3, readout_share=0.3, method="spsa", spsa_step=0.5, spsa_directions=n_directions
    )
    found = estimate(model, theta, settings, dense_shots, n_shots=n_shots, n_learners=N_LEARNERS)
    signs = 1 - 2 * (np.arange(2**6)[:, None] >> np.arange(6) & 1)
    quotients = [
        (exact_loss(model, theta + 0.5 * d, oracle_unitary) - exact_loss(model, theta - 0.5 * d, oracle_unitary)) * d
        for d in signs
    ]
    truth = np.mean(quotients, axis=0) / 1e-6
    error = found.gradient.std(axis=0, ddof=1) / np.sqrt(N_LEARNERS) / 1e-6
    z_score = (found.gradient.mean(axis=0) / 1e-6 - truth) / error
    assert np.abs(z_score).max() < scipy.stats.norm.isf(FALSE_ALARM / truth.size / 2)


def test_layers_split_and_start() -> None:
    model = MODELS["dressed linear"]
    assert model.n_parameters == 6 + 2 * 2 + 2 + 2 * 2 + 2
    theta = np.arange(18.0)
    layers = split_parameters(model, theta)
    assert [part.shape for part in layers] == [(6,), (2, 2), (2,), (2, 2), (2,)]
    np.testing.assert_array_equal(np.concatenate([part.ravel() for part in layers]), theta)
    start = split_parameters(model, initial_parameters(model, spread=0.0, rng=np.random.default_rng(0)))
    assert not start.circuit.any()
    assert not start.input_bias.any()
    assert start.output_weight.any()
    with pytest.raises(DomainError, match="`theta` must have shape"):
        split_parameters(model, np.zeros(17))


def test_loss_weights_samples_and_is_one_object_per_model() -> None:
    model = MODELS["plain"]
    assert model_loss(model) is model_loss(Classifier(circuit=reuploading(), n_classes=2, temperature=2.0))
    values = np.array([[0.5, -0.2], [0.1, 0.9], [0.3, 0.3]])
    labels, weights = np.array([0, 0, 1]), np.array([0.25, 0.75, 0.0])
    terms = [-np.log(np.exp(2 * row[label]) / np.exp(2 * row).sum()) for row, label in zip(values, labels, strict=True)]
    result = model_loss(model)(values, np.zeros(6), (labels, weights))  # type: ignore[arg-type]
    assert float(result) == pytest.approx(float(weights @ terms), rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"readout": "qubit"}, UnknownNameError, "Did you mean `qubits`"),
        ({"n_classes": 1}, DomainError, "`n_classes` must be at least 2"),
        ({"n_classes": 3, "readout": "sign"}, DomainError, "`n_classes` must be 2"),
        ({"n_classes": 3}, DomainError, "a qubit per class"),
        ({"temperature": 0.0}, DomainError, "`temperature` must"),
        ({"n_dressed_inputs": 0}, DomainError, "`n_dressed_inputs` must"),
    ],
)
def test_malformed_models_are_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Classifier(**{"circuit": reuploading(), "n_classes": 2, **changed})


def test_debiasing_divides_by_the_contraction_and_drops_lost_signals() -> None:
    gradient, variance = debiased(
        np.array([[0.2, -0.4], [1.0, 1.0]]), np.array([0.1, 0.1]), np.array([0.5, 0.05]), least=0.1
    )
    np.testing.assert_allclose(gradient, [[0.4, -0.8], [0.0, 0.0]])
    np.testing.assert_allclose(variance, [0.4, np.inf])
    with pytest.raises(DomainError, match="`contraction` must"):
        debiased(gradient, variance, np.array([1.1, 0.5]))
    with pytest.raises(DomainError, match="`least` must"):
        debiased(gradient, variance, np.array([1.0, 0.5]), least=0.0)
