"""The ends of the ranges: noise beyond complete, one row for all learners, and tables that do not fit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning import trajectories
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, without_encoding
from ceas.learning.encoding import encode_inputs, encode_states
from ceas.learning.engine import expectations, loss_and_gradient
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, PartitionKind, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes

Density = Callable[..., npt.NDArray[np.complex128]]

CIRCUIT = hardware_efficient(2, 1, "ring")
PARTITION = partition_circuit(CIRCUIT, "qubit")
THETA = np.array([0.9, 0.1, -0.4, 0.3])
INPUTS = np.array([[0.3, 0.7]])


def beyond_complete(kind: PartitionKind) -> tuple[Circuit, Partition, NoiseTable]:
    """Return errors whose mean sign is negative: depolarising above 3/4, and a pair in the singlet's stead."""
    circuit = hardware_efficient(2, 2, "chain")
    partition = partition_circuit(circuit, kind)
    noise = noiseless(partition)
    return (
        circuit,
        partition,
        noise._replace(
            one_qubit_error=jnp.array([[0.1, 0.9]])[:, : partition.n_qpus],
            two_qubit_error=jnp.array([[1.0, 0.1]])[:, : partition.n_qpus],
            pair_werner=jnp.array([[-1 / 3, 0.6]])[:, : partition.pairs_per_shot],
        ),
    )


DEEP = np.array([0.9, 0.1, -0.4, 0.3, 1.1, -0.2, 0.8, 0.5])


def squared(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.sum((values - targets) ** 2)


@pytest.mark.parametrize("kind", ["data", "qubit"])
def test_noise_beyond_complete_turns_signs(
    kind: PartitionKind, oracle_density: Density, oracle_expectation: Callable[..., float]
) -> None:
    """Depolarising with p scales by 1 - 4p/3, which is negative above 3/4."""
    circuit, partition, noise = beyond_complete(kind)
    rho = oracle_density(circuit, partition, DEEP, INPUTS[0], noise, learner=0)
    expected = [oracle_expectation(rho, qubit, 0.0) for qubit in (0, 1)]
    found = expectations(
        circuit, partition, jnp.asarray(DEEP), encode_inputs(circuit, INPUTS), noise, observables=(0, 1)
    )
    assert min(np.abs(expected)) > 1e-3
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-6)


def some_shots(n_shots: int, werner: npt.ArrayLike) -> Shots:
    zeros = np.zeros(n_shots, dtype=np.int32)
    pairs = np.broadcast_to(np.asarray(werner, dtype=np.float32), (n_shots, 2)).copy()
    return Shots(zeros, np.arange(n_shots, dtype=np.uint32), zeros, zeros - 1, zeros + 1, pairs)


def test_shots_follow_noise_beyond_complete(oracle_density: Density) -> None:
    """200,000 shots, chi-square over the four bitstrings, false alarm 1e-6."""
    circuit, partition, noise = beyond_complete("qubit")
    angles = np.concatenate([INPUTS, DEEP[None]], axis=1)
    bits = sample_outcomes(circuit, partition, angles, noise, shots=some_shots(200_000, noise.pair_werner[0]), seed=3)
    rho = oracle_density(circuit, partition, DEEP, INPUTS[0], noise, learner=0)
    law = np.real(np.diag(rho)).reshape(2, 2).T.reshape(-1)
    assert scipy.stats.chisquare(np.bincount(bits, minlength=4), bits.size * law).pvalue > 1e-6


@pytest.mark.parametrize("werner", [1.5, -0.5, np.nan])
def test_shots_refuse_pairs_that_are_no_states(werner: float) -> None:
    angles = np.zeros((1, len(CIRCUIT.rotations)))
    with pytest.raises(DomainError, match="`pair_werner` must be in"):
        sample_outcomes(CIRCUIT, PARTITION, angles, noiseless(PARTITION), shots=some_shots(3, werner), seed=0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("one_qubit_error", (3, 1)), ("readout_error", (3, 2, 3)), ("two_qubit_error", (1, 2)), ("pair_werner", (3, 1))],
)
def test_tables_of_another_partition_are_refused(name: str, shape: tuple[int, ...]) -> None:
    noise = noiseless(PARTITION, 3)._replace(**{name: jnp.zeros(shape)})
    with pytest.raises(DomainError, match=f"`noise` must have `{name}`"):
        expectations(CIRCUIT, PARTITION, jnp.asarray(THETA), encode_inputs(CIRCUIT, INPUTS), noise, observables=(0,))
    angles = np.zeros((1, len(CIRCUIT.rotations)))
    if name == "pair_werner":  # shots bring their own
        assert sample_outcomes(CIRCUIT, PARTITION, angles, noise, shots=some_shots(3, 1.0), seed=0).shape == (3,)
        return
    with pytest.raises(DomainError, match=f"`noise` must have `{name}`"):
        sample_outcomes(CIRCUIT, PARTITION, angles, noise, shots=some_shots(3, 1.0), seed=0)


def gradients(n_noise: int, samples: tuple[int, ...], n_targets: int, observables: tuple[int, ...] = (0,)) -> Any:
    encoded = encode_inputs(CIRCUIT, np.linspace(-1, 1, int(np.prod(samples))).reshape(samples))
    return loss_and_gradient(
        CIRCUIT,
        PARTITION,
        jnp.asarray(THETA),
        encoded,
        noiseless(PARTITION, n_noise),
        targets=jnp.full((n_targets, samples[-2], len(observables)), 0.2),
        observables=observables,
        loss=squared,
        input_gradient=True,
    )


def test_one_row_of_anything_serves_all_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where learners are worked on one after the other."""
    expected = gradients(1, (2, 2), 1)
    monkeypatch.setattr("ceas.learning.cost.BLOCK_BYTES", 1)
    jax.clear_caches()  # type: ignore[no-untyped-call]
    for found, one in zip(gradients(3, (1, 2, 2), 1), expected, strict=True):
        assert len(found) == 3
        np.testing.assert_allclose(found, np.repeat(one, 3, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, (2, 2, 2), 3), r"as many learners, or one row for all of them, but have \[3, 2, 3\]"),
        ((3, (2, 2), 2), r"as many learners, or one row for all of them, but have \[3, 1, 2\]"),
        ((1, (2, 3, 2, 2), 1), "`encoded` must have at least one sample"),
        ((1, (2, 2), 1, ()), "`observables` must name at least one qubit"),
    ],
)
def test_learners_that_do_not_match_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        gradients(*arguments)


def test_the_engine_of_pure_states_refuses_tables_of_another_partition() -> None:
    noise = noiseless(PARTITION)._replace(pair_werner=jnp.ones((1, 5)))
    encoded = encode_inputs(CIRCUIT, INPUTS, needs_features=False)
    with pytest.raises(DomainError, match="pair_werner"):
        trajectories.expectations(CIRCUIT, PARTITION, THETA, encoded, noise, observables=(0,), n_trajectories=2, seed=0)


def test_states_must_be_normalised() -> None:
    with pytest.raises(DomainError, match="a state of norm 2"):
        encode_states(without_encoding(CIRCUIT), np.array([[1, 0, 0, 0], [0, 2j, 0, 0]]))
