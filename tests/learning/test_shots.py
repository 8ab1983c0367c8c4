"""Finite shots against dense density matrices and the exact engine.

Statistical tests use fixed seeds; each states its number of shots and a false-alarm rate of at most 1e-6.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit, Entangler, hardware_efficient
from ceas.learning.engine import encode_features, expectations, parameter_shift_jacobian
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shots import Shots, _run_chunk, active_parameters, sample_outcomes

FALSE_ALARM = 1e-6
OracleDensity = Callable[..., npt.NDArray[np.complex128]]


def make_shots(
    n_shots: int,
    partition: Partition,
    *,
    learner: Any = 0,
    sample: Any = 0,
    parameter: Any = -1,
    sign: Any = 1,
    werner: Any = 1.0,
) -> Shots:
    def fill(value: Any) -> npt.NDArray[np.int32]:
        return np.broadcast_to(np.asarray(value, dtype=np.int32), (n_shots,)).copy()

    pairs = np.broadcast_to(np.asarray(werner, dtype=np.float32), (n_shots, partition.pairs_per_shot)).copy()
    return Shots(fill(learner), np.arange(n_shots, dtype=np.uint32), fill(sample), fill(parameter), fill(sign), pairs)


def build(n_qubits: int, n_layers: int, entangler: Entangler) -> tuple[Circuit, Partition]:
    circuit = hardware_efficient(n_qubits, n_layers, entangler)
    return circuit, partition_circuit(circuit, "qubit")


def flipped_probabilities(rho: npt.NDArray[np.complex128], flips: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the law of bitstrings (bit q of the index is qubit q) after readout flips; qubit 0 of `rho` is major."""
    n_qubits = flips.size
    law = np.real(np.diag(rho)).reshape((2,) * n_qubits)
    for qubit, flip in enumerate(flips):
        law = (1 - flip) * law + flip * np.flip(law, axis=qubit)
    return law.transpose(tuple(reversed(range(n_qubits)))).reshape(-1)


def chi_square_p_value(bits: npt.NDArray[np.uint32], law: npt.NDArray[np.float64]) -> float:
    expected = bits.size * law
    counts = np.bincount(bits, minlength=law.size)
    rare = expected < 10
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 10:  # too few for a cell of its own
        counts[0], expected[0] = counts[0] + counts[-1], expected[0] + expected[-1]
        counts, expected = counts[:-1], expected[:-1]
    return float(scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue)


NOISE_KINDS: dict[str, dict[str, float]] = {
    "none": {},
    "one-qubit": {"one": 0.2},
    "two-qubit": {"two": 0.15},
    "readout": {"readout": 0.1},
    "pairs": {"werner": 0.4},
    "all": {"one": 0.03, "two": 0.05, "readout": 0.04, "werner": 0.7},
}


def one_learner_noise(partition: Partition, kind: str) -> NoiseTable:
    level = NOISE_KINDS[kind]
    # Learner 0 borrows from node 1, whose errors differ, so that a mix-up of owners shows.
    table = node_noise(
        partition,
        one_qubit_error=np.array([1.0, 0.5]) * level.get("one", 0.0),
        two_qubit_error=np.array([1.0, 0.3]) * level.get("two", 0.0),
        readout_error=np.array([1.0, 2.0]) * level.get("readout", 0.0),
        lender=np.array([1, 0]),
        pair_werner=level.get("werner", 1.0),
    )
    return NoiseTable(*(field[:1] for field in table))


@pytest.mark.parametrize(("n_qubits", "n_layers", "entangler"), [(4, 2, "chain"), (3, 2, "ring"), (2, 3, "ring")])
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_the_joint_law_of_all_qubits_is_that_of_the_density_matrix(
    kind: str, n_qubits: int, n_layers: int, entangler: Entangler, oracle_density: OracleDensity
) -> None:
    """Chi-square over all bitstrings, 2e5 shots, false alarm 5e-8 each (18 cases below 1e-6 together)."""
    circuit, partition = build(n_qubits, n_layers, entangler)
    noise = one_learner_noise(partition, kind)
    rng = np.random.default_rng(7)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, n_qubits)
    shifted = theta.copy()
    shifted[3] -= np.pi / 2
    shots = make_shots(200_000, partition, parameter=3, sign=-1, werner=NOISE_KINDS[kind].get("werner", 1.0))
    bits = sample_outcomes(circuit, partition, theta, angles[None], noise, shots=shots, seed=11)
    rho = oracle_density(circuit, partition, shifted, angles, noise, learner=0)
    law = flipped_probabilities(rho, np.asarray(noise.readout_error[0], dtype=float))
    assert chi_square_p_value(bits, law) > 5e-8


def test_expectation_values_and_parities_match_the_engine_for_every_kind_of_shot() -> None:
    """Mixed learners, samples and shifts in one call: 3 x 2 x 3 groups of 2e4 shots, 4 qubits each, 72 z-tests.

    Two-sided threshold for a false-alarm rate of 1e-6 over all of them.
    """
    circuit, partition = build(4, 3, "chain")
    rng = np.random.default_rng(5)
    noise = node_noise(
        partition,
        one_qubit_error=rng.uniform(0, 0.03, 3),
        two_qubit_error=rng.uniform(0, 0.05, 3),
        readout_error=rng.uniform(0, 0.1, 3),
        lender=np.array([1, 2, 0]),
        pair_werner=rng.uniform(0.6, 1.0, (3, 3)),
    )
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (2, 4))
    n_shots = 360_000
    group = rng.permutation(n_shots) % 18
    learner, sample, variant = group % 3, group // 3 % 2, group // 6
    shift = np.array([0, 1, -1])[variant]
    shots = make_shots(
        n_shots,
        partition,
        learner=learner,
        sample=sample,
        parameter=np.where(variant == 0, -1, 9),
        sign=np.where(shift == 0, 1, shift),
        werner=np.asarray(noise.pair_werner)[learner],
    )
    bits = sample_outcomes(circuit, partition, theta, angles, noise, shots=shots, seed=3)
    thetas = theta + np.array([0, 1, -1])[:, None] * (np.pi / 2) * np.eye(circuit.n_parameters)[9]
    exact = np.asarray(
        expectations(circuit, partition, jnp.asarray(thetas), encode_features(angles), noise, observables=(0, 1, 2, 3))
    )
    threshold = scipy.stats.norm.isf(FALSE_ALARM / 72 / 2)
    values = 1.0 - 2.0 * ((bits[:, None] >> np.arange(4)) & 1)
    for index in range(18):
        mean, truth = values[group == index].mean(axis=0), exact[index // 6, index % 3, index // 3 % 2]
        z_score = (mean - truth) / np.sqrt((1 - truth**2) / (group == index).sum())
        assert np.abs(z_score).max() < threshold


def test_pairs_of_one_shot_act_together(oracle_density: OracleDensity) -> None:
    """Perfect pairs in half of the shots and useless ones in the others: the average of the two laws, not the law of
    the average pairs. Chi-square with 2e5 shots, false alarm 1e-6; the wrong law is rejected at 1e-30.
    """
    circuit, partition = build(4, 2, "chain")
    rng = np.random.default_rng(2)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, 4)
    werner = (np.arange(200_000) % 2).astype(np.float32)[:, None]
    shots = make_shots(werner.size, partition, werner=werner)
    bits = sample_outcomes(circuit, partition, theta, angles[None], noiseless(partition), shots=shots, seed=1)

    def law(level: float) -> npt.NDArray[np.float64]:
        noise = noiseless(partition)._replace(pair_werner=jnp.full((1, 2), level))
        return flipped_probabilities(oracle_density(circuit, partition, theta, angles, noise, learner=0), np.zeros(4))

    assert chi_square_p_value(bits, (law(0.0) + law(1.0)) / 2) > FALSE_ALARM
    assert chi_square_p_value(bits, law(0.5)) < 1e-30
    for level in (0, 1):
        assert chi_square_p_value(bits[werner[:, 0] == level], law(level)) > FALSE_ALARM


def test_each_pair_acts_on_its_own_gate(oracle_density: OracleDensity) -> None:
    """One of two pairs is useless: chi-square with 1e5 shots, false alarm 1e-6; swapped pairs are rejected."""
    circuit, partition = build(4, 2, "chain")
    rng = np.random.default_rng(3)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, 4)
    werner = np.array([[0.0, 1.0]])
    shots = make_shots(100_000, partition, werner=werner)
    bits = sample_outcomes(circuit, partition, theta, angles[None], noiseless(partition), shots=shots, seed=1)
    for order, is_right in ((werner, True), (werner[:, ::-1], False)):
        noise = noiseless(partition)._replace(pair_werner=jnp.asarray(order))
        rho = oracle_density(circuit, partition, theta, angles, noise, learner=0)
        assert (chi_square_p_value(bits, flipped_probabilities(rho, np.zeros(4))) > FALSE_ALARM) == is_right


@pytest.mark.parametrize(("excited", "bitstring"), [(0, 0b111), (1, 0b110), (2, 0b100)])
def test_a_classical_circuit_is_certain(excited: int, bitstring: int) -> None:
    circuit, partition = build(3, 1, "chain")
    angles = np.pi * np.eye(3)[[excited]]
    shots = make_shots(20_000, partition)
    bits = sample_outcomes(circuit, partition, np.zeros(6), angles, noiseless(partition), shots=shots, seed=4)
    assert np.all(bits == bitstring)


def test_readout_flips_and_shifts_alone_have_their_closed_form() -> None:
    """One rotated qubit: P(1) = sin^2(x/2 + t/2 +- pi/4) before a flip; 1e5 shots a case, 3 cases, false alarm 1e-6."""
    circuit = hardware_efficient(1, 1, "chain")
    partition = partition_circuit(circuit, "data")
    noise = noiseless(partition)._replace(readout_error=jnp.array([[0.2]]))
    for sign, parameter in ((1, 0), (-1, 0), (1, -1)):
        shots = make_shots(100_000, partition, parameter=parameter, sign=sign)
        bits = sample_outcomes(circuit, partition, [0.3, 0.8], [[0.4]], noise, shots=shots, seed=8)
        angle = 0.7 + (sign * np.pi / 2 if parameter == 0 else 0.0)
        probability = 0.2 + 0.6 * np.sin(angle / 2) ** 2
        z_score = (bits.mean() - probability) / np.sqrt(probability * (1 - probability) / bits.size)
        assert abs(z_score) < scipy.stats.norm.isf(FALSE_ALARM / 6)


def test_shots_are_independent() -> None:
    """Neighbouring shots, and equal counters of two learners, are uncorrelated; 1e5 shots, z-tests at 2.5e-7 each."""
    circuit, partition = build(2, 1, "chain")
    noise = noiseless(partition, 2)
    shots = make_shots(100_000, partition)
    angles = [[np.pi / 2, np.pi / 2]]
    outcomes = [
        sample_outcomes(circuit, partition, np.zeros(4), angles, noise, shots=shots._replace(learner=row), seed=5)
        for row in (np.zeros(100_000, np.int32), np.ones(100_000, np.int32))
    ]
    first, second = (1.0 - 2.0 * (bits & 1) for bits in outcomes)
    correlations = [first[1:] @ first[:-1], first @ second, first @ (1.0 - 2.0 * (outcomes[0] >> 1 & 1))]
    assert np.abs(correlations).max() / np.sqrt(100_000) < scipy.stats.norm.isf(FALSE_ALARM / 8)


def test_outcomes_depend_on_the_shot_only() -> None:
    circuit, partition = build(4, 2, "chain")
    noise = node_noise(
        partition, one_qubit_error=[0.1, 0.1], two_qubit_error=[0.1, 0.1], readout_error=[0.1, 0.1], lender=[1, 0]
    )
    rng = np.random.default_rng(0)
    n_shots = 3000
    shots = make_shots(
        n_shots,
        partition,
        learner=rng.integers(0, 2, n_shots),
        sample=rng.integers(0, 5, n_shots),
        parameter=rng.integers(-1, circuit.n_parameters, n_shots),
        sign=rng.choice([-1, 1], n_shots),
        werner=rng.uniform(0.5, 1.0, (n_shots, 2)),
    )
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (5, 4))

    def run(chosen: Shots, *, seed: int = 2**63 + 9, chunk_size: int | None = None) -> npt.NDArray[np.uint32]:
        return sample_outcomes(circuit, partition, theta, angles, noise, shots=chosen, seed=seed, chunk_size=chunk_size)

    bits = run(shots)
    np.testing.assert_array_equal(run(shots, chunk_size=256), bits)
    subset = rng.permutation(n_shots)[:700]
    np.testing.assert_array_equal(run(Shots._make(field[subset] for field in shots)), bits[subset])
    for other in (9, 2**63):  # either half of the seed counts
        assert np.mean(run(shots, seed=other) != bits) > 0.3
    with jax.enable_x64(True):
        np.testing.assert_array_equal(run(shots), bits)


def test_one_compilation_serves_any_number_of_shots() -> None:
    circuit, partition = build(3, 1, "chain")
    theta, angles, noise = np.ones(6), np.ones((7, 3)), noiseless(partition)
    cache_size: Any = getattr(_run_chunk, "_cache_size")  # noqa: B009 - jax does not type it
    before = cache_size()
    for n_shots in (10, 0, 1, 5000, 9000):
        shots = make_shots(n_shots, partition)
        bits = sample_outcomes(circuit, partition, theta, angles, noise, shots=shots, seed=n_shots)
        assert bits.shape == (n_shots,)
    assert cache_size() == before + 1


def test_wrong_arguments_are_refused() -> None:
    circuit, partition = build(4, 1, "chain")
    noise, theta, angles = noiseless(partition), np.zeros(8), np.zeros((2, 4))
    shots = make_shots(5, partition)
    five = np.arange(5, dtype=np.int32)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("theta", {"theta": np.zeros(7)}),
        ("features", {"features": np.zeros((2, 3))}),
        ("learner", {"shots": shots._replace(learner=five)}),
        ("sample", {"shots": shots._replace(sample=five)}),
        ("shift_parameter", {"shots": shots._replace(shift_parameter=five + 4)}),
        ("shift_parameter", {"shots": shots._replace(shift_parameter=five - 2)}),
        ("pair_werner", {"shots": shots._replace(pair_werner=np.ones((5, 2), np.float32))}),
        ("counter", {"shots": shots._replace(counter=np.zeros(4, np.uint32))}),
    ]
    for name, wrong in cases:
        arguments: dict[str, Any] = {"theta": theta, "features": angles, "noise": noise, "shots": shots, "seed": 0}
        arguments |= wrong
        with pytest.raises(DomainError, match=f"`{name}` must"):
            sample_outcomes(circuit, partition, **arguments)


@pytest.mark.parametrize("entangler", ["chain", "ring"])
@pytest.mark.parametrize("observables", [(0, 1, 2, 3), (0, 1), (3,)])
def test_active_parameters_are_those_with_a_gradient(entangler: Entangler, observables: tuple[int, ...]) -> None:
    circuit, partition = build(4, 2, entangler)
    rng = np.random.default_rng(0)
    jacobian = parameter_shift_jacobian(
        circuit,
        partition,
        jnp.asarray(rng.normal(size=circuit.n_parameters)),
        encode_features(rng.uniform(-1.5, 1.5, (8, 4))),
        noiseless(partition),
        observables=observables,
    )
    size = np.abs(np.asarray(jacobian)).max(axis=(0, 1, 2))
    assert active_parameters(circuit, observables=observables) == tuple(np.flatnonzero(size > 1e-5))
    assert np.all((size > 1e-3) | (size < 1e-6))
