"""The pure-state engine against dense density matrices, PennyLane and differences.

Statistical tests use fixed seeds and state their false-alarm rate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning import trajectories
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit
from ceas.learning.encoding import Encoded
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.trajectories import expectations, is_exact, loss_and_gradient

Array = npt.NDArray[Any]
Draw = Callable[..., tuple[Circuit, Partition]]
Density = Callable[..., npt.NDArray[np.complex128]]
Read = Callable[..., float]

ROUNDING = 1e-6
"""Of single precision, which counts where the errors cannot change an outcome."""


def samples(inputs: npt.ArrayLike) -> Encoded:
    return Encoded(jnp.asarray(inputs), None, None)


def squared(values: jax.Array, targets: jax.Array) -> jax.Array:
    return ((values - targets) ** 2).mean()


def strong_noise(
    partition: Partition, rng: np.random.Generator, *, has_relaxation: bool, n_learners: int = 1
) -> NoiseTable:
    population = rng.uniform(0.5, 0.9, (n_learners, 2, 2))
    coherence = np.sqrt(population) * rng.uniform(0.6, 1.0, population.shape)
    relaxation = np.stack([coherence, population, rng.uniform(-1, 1, population.shape)], axis=-1)
    weights = rng.dirichlet([4, 1, 1, 1], (n_learners, partition.pairs_per_shot))[..., 1:]
    return NoiseTable(
        jnp.asarray(rng.uniform(0, 0.1, (n_learners, 2))),
        jnp.asarray(rng.uniform(0, 0.1, (n_learners, 2))),
        jnp.asarray(rng.uniform(0, 0.3, (n_learners, 2, 2))),
        jnp.asarray(1 - 2 * (weights.sum(axis=-1, keepdims=True) - weights)),
        jnp.asarray(relaxation) if has_relaxation else None,
    )


def oracle_values(
    circuit: Circuit,
    partition: Partition,
    theta: Array,
    inputs: Array,
    noise: NoiseTable,
    *,
    density: Density,
    read: Read,
    learner: int = 0,
) -> Array:
    """Return <Z> of all qubits of all samples, shape (S, n)."""
    flips = np.asarray(noise.readout_error)[learner, np.array(partition.readout_qpus)]
    rows = [density(circuit, partition, theta, sample, noise, learner=learner) for sample in inputs]
    return np.array([[read(rho, q, flips[q]) for q in range(circuit.n_qubits)] for rho in rows])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.tuples(st.integers(1, 4), st.integers(1, 24)))
def test_any_circuit_without_gate_noise_is_exact(
    seed: int, sizes: tuple[int, int], cut_circuit: Draw, oracle_density: Density, oracle_expectation: Read
) -> None:
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, *sizes)
    noise = noiseless(partition)._replace(readout_error=jnp.asarray(rng.uniform(0, 0.5, (1, 2, 2))))
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(2, 2))
    observables = tuple(range(circuit.n_qubits))
    with jax.disable_jit():
        values, error = expectations(circuit, partition, theta, samples(inputs), noise, observables=observables)
    truth = oracle_values(circuit, partition, theta, inputs, noise, density=oracle_density, read=oracle_expectation)
    assert error is None
    np.testing.assert_allclose(values[0], truth, atol=1e-5)


@pytest.mark.parametrize(("seed", "has_relaxation"), [(3, False), (4, True)])
def test_means_of_trajectories_are_those_of_the_density_matrix(
    seed: int, has_relaxation: bool, cut_circuit: Draw, oracle_density: Density, oracle_expectation: Read
) -> None:
    """All noise at once, 8e3 trajectories of 2 samples, 3 observables: 12 z-tests, false alarm 1e-6 in all."""
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, 3, 24)
    noise = strong_noise(partition, rng, has_relaxation=has_relaxation)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(2, 2))
    values, error = expectations(
        circuit, partition, theta, samples(inputs), noise, observables=(0, 1, 2), n_trajectories=8_000, seed=2**60
    )
    truth = oracle_values(circuit, partition, theta, inputs, noise, density=oracle_density, read=oracle_expectation)
    assert error is not None
    assert 0 < error.min() <= error.max() < 0.02
    assert (np.abs(values[0] - truth) / (error[0] + ROUNDING)).max() < scipy.stats.norm.isf(1e-6 / 24)


def test_learners_have_their_own_noise_and_samples(
    cut_circuit: Draw, oracle_density: Density, oracle_expectation: Read
) -> None:
    """3 learners x 2 samples x 3 observables, 8e3 trajectories: 18 z-tests, false alarm 1e-6 in all."""
    rng = np.random.default_rng(8)
    circuit, partition = cut_circuit(rng, 3, 16)
    noise = strong_noise(partition, rng, has_relaxation=False, n_learners=3)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(3, 2, 2))
    values, error = expectations(
        circuit, partition, theta, samples(inputs), noise, observables=(0, 1, 2), n_trajectories=8_000
    )
    assert error is not None
    for learner in range(3):
        truth = oracle_values(
            circuit,
            partition,
            theta,
            inputs[learner],
            noise,
            density=oracle_density,
            read=oracle_expectation,
            learner=learner,
        )
        assert (np.abs(values[learner] - truth) / (error[learner] + ROUNDING)).max() < scipy.stats.norm.isf(1e-6 / 36)


def test_the_gradient_of_the_usual_ansatz_is_that_of_pennylane() -> None:
    """Slopes of the squared loss times PennyLane's adjoint derivatives of the expectation values."""
    import pennylane as qml

    circuit = hardware_efficient(5, 2, "ring")
    partition = partition_circuit(circuit, "data")
    rng = np.random.default_rng(1)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (2, 3, 5))
    targets = rng.normal(size=(2, 3, 2))

    @qml.qnode(qml.device("default.qubit", wires=5), diff_method="adjoint")
    def measured(parameters: Any, sample: Any) -> Any:
        for qubit in range(5):
            qml.RY(sample[qubit], wires=qubit)
        for layer in range(2):
            for qubit in range(5):
                qml.RY(parameters[2 * (5 * layer + qubit)], wires=qubit)
                qml.RZ(parameters[2 * (5 * layer + qubit) + 1], wires=qubit)
            for qubit in range(5):
                qml.CNOT(wires=[qubit, (qubit + 1) % 5])
        return qml.expval(qml.PauliZ(0)), qml.expval(qml.PauliZ(3))

    losses, gradient = loss_and_gradient(
        circuit,
        partition,
        theta,
        samples(inputs),
        noiseless(partition),
        targets=jnp.asarray(targets),
        observables=(0, 3),
        loss=squared,
    )
    parameters = qml.numpy.array(theta, requires_grad=True)
    for learner in range(2):
        rows = [qml.numpy.array(sample, requires_grad=False) for sample in inputs[learner]]
        values = np.array([measured(parameters, row) for row in rows], dtype=float)
        stacked = qml.jacobian(lambda vector, row: qml.numpy.stack(measured(vector, row)), argnums=0)
        jacobian = np.array([stacked(parameters, row) for row in rows])
        difference = values - targets[learner]
        np.testing.assert_allclose(losses[learner], (difference**2).mean(), rtol=1e-5)
        expected = np.einsum("sk,skp->p", 2 * difference / difference.size, jacobian)
        np.testing.assert_allclose(gradient[learner], expected, atol=2e-6)


def cubic(values: jax.Array, targets: jax.Array) -> jax.Array:
    return ((values - targets) ** 3 + values * targets).sum()


@pytest.mark.parametrize("has_noise", [False, True])
def test_the_gradient_is_the_derivative_of_the_loss_for_given_random_numbers(
    has_noise: bool, cut_circuit: Draw
) -> None:
    """All gate kinds, a loss that is not quadratic, central differences in double precision, with states and inputs."""
    with jax.enable_x64(True):
        for seed, with_states in ((0, False), (1, True)):
            rng = np.random.default_rng(seed)
            circuit, partition = cut_circuit(rng, 4, 20)
            noise = strong_noise(partition, rng, has_relaxation=False, n_learners=2)
            noise = noise if has_noise else noiseless(partition, 2)._replace(readout_error=noise.readout_error)
            theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(3, 2))
            states = rng.normal(size=(2, 3, 16)) + 1j * rng.normal(size=(2, 3, 16))
            states /= np.linalg.norm(states, axis=-1, keepdims=True)
            encoded = Encoded(jnp.asarray(inputs), None, jnp.asarray(states) if with_states else None)
            targets = jnp.asarray(rng.normal(size=(2, 3, 2)))

            def evaluate(vector: Array) -> tuple[Array, Array]:
                return loss_and_gradient(
                    circuit,  # noqa: B023 - used at once
                    partition,  # noqa: B023
                    vector,
                    encoded,  # noqa: B023
                    noise,  # noqa: B023
                    targets=targets,  # noqa: B023
                    observables=(1, 3),
                    loss=cubic,
                    n_trajectories=6,
                    seed=seed,  # noqa: B023
                )

            _, gradient = evaluate(theta)
            for parameter in range(circuit.n_parameters):
                step = 1e-5 * np.eye(circuit.n_parameters)[parameter]
                slope = (evaluate(theta + step)[0] - evaluate(theta - step)[0]) / 2e-5
                np.testing.assert_allclose(gradient[:, parameter], slope, atol=1e-7)


def test_losses_and_gradients_of_few_trajectories_have_no_bias_for_a_quadratic_loss(
    cut_circuit: Draw, oracle_density: Density, oracle_expectation: Read
) -> None:
    """4000 estimates from two trajectories each: z-tests of the loss and every slope, false alarm 1e-6 in all.

    The plug-in estimate, the mean of (z_A + z_B)^2 / 4, is off by more than ten standard errors.
    """
    rng = np.random.default_rng(6)
    circuit, partition = cut_circuit(rng, 3, 14)
    noise = strong_noise(partition, rng, has_relaxation=False)
    theta, inputs, target = rng.normal(size=circuit.n_parameters), rng.normal(size=(1, 2)), np.full((1, 1, 3), 0.3)

    def truth(vector: Array) -> float:
        values = oracle_values(
            circuit, partition, vector, inputs, noise, density=oracle_density, read=oracle_expectation
        )
        return float(((values - target[0]) ** 2).mean())

    units = 1e-4 * np.eye(circuit.n_parameters)
    exact = np.array([truth(theta), *((truth(theta + unit) - truth(theta - unit)) / 2e-4 for unit in units)])
    # One call for all: every learner is an estimate of its own.
    many = NoiseTable(*(None if table is None else jnp.repeat(table, 4000, axis=0) for table in noise))
    losses, gradient = loss_and_gradient(
        circuit,
        partition,
        theta,
        samples(np.broadcast_to(inputs, (4000, 1, 2))),
        many,
        targets=jnp.asarray(np.broadcast_to(target, (4000, 1, 3))),
        observables=(0, 1, 2),
        loss=squared,
        n_trajectories=2,
        seed=5,
    )
    found = np.concatenate([losses[:, None], gradient], axis=1)
    spread = found.std(axis=0, ddof=1) / np.sqrt(4000)
    moves = spread > 1e-9  # some parameters change nothing
    threshold = scipy.stats.norm.isf(1e-6 / 2 / moves.sum())
    assert moves.sum() > 3
    assert (np.abs(found.mean(axis=0) - exact)[moves] / spread[moves]).max() < threshold
    np.testing.assert_allclose(exact[~moves], 0, atol=1e-6)
    _, error = expectations(
        circuit, partition, theta, samples(inputs), noise, observables=(0, 1, 2), n_trajectories=8_000
    )
    assert error is not None
    # The variance of a mean of two is half that of one, 8000 times that of the mean of all.
    bias = float((8_000 * error[0] ** 2 / 2).mean())
    assert bias > 10 * spread[0]


def test_results_do_not_depend_on_how_the_work_is_cut(cut_circuit: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    circuit, partition = cut_circuit(rng, 3, 16)
    noise = strong_noise(partition, rng, has_relaxation=False, n_learners=2)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(5, 2))

    def evaluate() -> tuple[Array, ...]:
        shared = (circuit, partition, theta, samples(inputs), noise)
        kwargs: dict[str, Any] = {"observables": (0, 2), "n_trajectories": 12, "seed": 7}
        targets = jnp.zeros((2, 5, 2))
        return (
            *expectations(*shared, **kwargs),  # type: ignore[return-value]
            *loss_and_gradient(*shared, targets=targets, loss=squared, **kwargs),
        )

    whole = evaluate()
    monkeypatch.setattr(trajectories, "MOST_RUNS", 40)
    monkeypatch.setattr(trajectories, "MOST_KEPT", 0)
    monkeypatch.setattr(trajectories, "LANES", 7)
    for first, second in zip(whole, evaluate(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("n_trajectories", [1, 4])
def test_learners_may_differ_in_their_targets_alone(n_trajectories: int) -> None:
    circuit = hardware_efficient(3, 1, "ring")
    partition = partition_circuit(circuit, "data")
    rng = np.random.default_rng(3)
    theta, inputs, targets = rng.normal(size=6), rng.normal(size=(4, 3)), rng.normal(size=(2, 4, 1))
    error = 0.0 if n_trajectories == 1 else 0.1
    noise = [noiseless(partition, n)._replace(one_qubit_error=jnp.full((n, 1), error)) for n in (1, 2)]
    shared, own = (
        loss_and_gradient(
            circuit,
            partition,
            theta,
            samples(inputs),
            table,
            targets=jnp.asarray(targets),
            observables=(1,),
            loss=squared,
            n_trajectories=n_trajectories,
        )
        for table in noise
    )
    np.testing.assert_allclose(shared[0], own[0], rtol=1e-6)
    np.testing.assert_allclose(shared[1], own[1], atol=1e-6)


def test_fourteen_qubits_in_a_cat_state_have_their_closed_form() -> None:
    """RY(t) on qubit 0, then a ring of CNOTs: <Z> is cos t on every qubit but 0, whose last CNOT undoes it."""
    circuit = hardware_efficient(14, 1, "ring")
    partition = partition_circuit(circuit, "data")
    theta = np.zeros(28)
    theta[0] = 0.7
    values, error = expectations(
        circuit, partition, theta, samples(np.zeros((1, 14))), noiseless(partition), observables=tuple(range(14))
    )
    assert error is None
    np.testing.assert_allclose(values[0, 0], [1.0, *[np.cos(0.7)] * 13], atol=2e-6)


def test_one_trajectory_has_no_known_error_and_exact_noise_is_told_apart(cut_circuit: Draw) -> None:
    circuit, partition = cut_circuit(np.random.default_rng(0), 2, 8)
    quiet, theta, inputs = noiseless(partition), np.zeros(circuit.n_parameters), samples(np.zeros((1, 2)))
    frozen = jnp.broadcast_to(jnp.array([1.0, 1.0, 0.3]), (1, 2, 2, 3))
    assert is_exact(quiet)
    assert is_exact(quiet._replace(readout_error=jnp.full((1, 2), 0.2), relaxation=frozen))
    noisy = quiet._replace(one_qubit_error=jnp.array([[0.0, 0.1]]))
    others = [noisy, quiet._replace(two_qubit_error=jnp.array([[0.0, 0.1]]))]
    others.append(quiet._replace(pair_werner=quiet.pair_werner.at[0, 0].set(0.9)))
    others.append(quiet._replace(relaxation=frozen.at[0, 1, 0, 1].set(0.9)))
    assert not any(is_exact(noise) for noise in others)
    _, error = expectations(circuit, partition, theta, inputs, noisy, observables=(0,))
    assert error is not None
    assert np.isnan(error).all()


def test_wrong_arguments_are_refused(cut_circuit: Draw) -> None:
    rng = np.random.default_rng(0)
    circuit, partition = cut_circuit(rng, 2, 8)
    noise = strong_noise(partition, rng, has_relaxation=True)
    good: dict[str, Any] = {
        "theta": np.zeros(circuit.n_parameters),
        "encoded": samples(np.zeros((1, 2))),
        "noise": noise._replace(relaxation=None),
        "observables": (0,),
        "n_trajectories": 2,
    }
    cases: list[tuple[str, dict[str, Any]]] = [
        ("theta", {"theta": np.zeros(circuit.n_parameters + 1)}),
        ("observables", {"observables": (2,)}),
        ("encoded", {"encoded": Encoded(None, None, None)}),
        ("encoded", {"encoded": Encoded(jnp.zeros((1, 2)), None, jnp.ones((1, 8)))}),
        ("encoded", {"encoded": Encoded(jnp.zeros((1, 2)), None, jnp.ones((3, 4)) / 2)}),
        ("noise", {"encoded": samples(np.zeros((3, 1, 2))), "noise": noiseless(partition, 2)}),
    ]
    wrong_targets = good | {"noise": noiseless(partition, 2), "targets": jnp.zeros((3, 1, 1))}
    with pytest.raises(DomainError, match="`targets` must"):
        loss_and_gradient(circuit, partition, loss=squared, **wrong_targets)
    for name, wrong in [*cases, ("n_trajectories", {"n_trajectories": 0})]:
        with pytest.raises(DomainError, match=f"`{name}` must"):
            expectations(circuit, partition, **(good | wrong))
    for name, wrong in [*cases, ("n_trajectories", {"n_trajectories": 3}), ("noise", {"noise": noise})]:
        with pytest.raises(DomainError, match=f"`{name}` must"):
            loss_and_gradient(circuit, partition, targets=jnp.zeros((1, 1, 1)), loss=squared, **(good | wrong))
