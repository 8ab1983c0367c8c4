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
from ceas.learning import shots as shots_module
from ceas.learning import small_shots
from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import Entangler, hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shots import Shots, _run_chunk, active_parameters, active_rotations, sample_outcomes
from ceas.learning.tableau import compile_frame

FALSE_ALARM = 1e-6
OracleDensity = Callable[..., npt.NDArray[np.complex128]]
Draw = Callable[..., tuple[Circuit, Partition]]


def make_shots(
    n_shots: int,
    partition: Partition,
    *,
    learner: Any = 0,
    sample: Any = 0,
    rotation: Any = -1,
    sign: Any = 1,
    werner: Any = 1.0,
) -> Shots:
    def fill(value: Any) -> npt.NDArray[np.int32]:
        return np.broadcast_to(np.asarray(value, dtype=np.int32), (n_shots,)).copy()

    pairs = np.broadcast_to(np.asarray(werner, dtype=np.float32), (n_shots, partition.pairs_per_shot)).copy()
    return Shots(fill(learner), np.arange(n_shots, dtype=np.uint32), fill(sample), fill(rotation), fill(sign), pairs)


def build(n_qubits: int, n_layers: int, entangler: Entangler) -> tuple[Circuit, Partition]:
    circuit = hardware_efficient(n_qubits, n_layers, entangler)
    return circuit, partition_circuit(circuit, "qubit")


def angles_of(circuit: Circuit, theta: npt.ArrayLike, inputs: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(rotation_angles(circuit, jnp.asarray(theta), jnp.asarray(inputs)), dtype=np.float32)


def flipped_probabilities(rho: npt.NDArray[np.complex128], flips: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the law of bitstrings (bit q of the index is qubit q) after readout flips; qubit 0 of `rho` is major.

    Flips are one probability per qubit, or two, those of the outcomes 0 and 1.
    """
    n_qubits = int(np.log2(len(rho)))
    law = np.real(np.diag(rho)).reshape((2,) * n_qubits)
    for qubit, flip in enumerate(np.asarray(flips, dtype=float)):
        flip_0, flip_1 = np.broadcast_to(flip, 2)
        confusion = np.array([[1 - flip_0, flip_1], [flip_0, 1 - flip_1]])
        law = np.moveaxis(np.tensordot(confusion, law, axes=(1, qubit)), 0, qubit)
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
    return NoiseTable(*(field[:1] for field in table[:4]))


@pytest.mark.parametrize(
    ("kind", "n_qubits", "n_layers", "entangler"),
    [*((kind, 4, 2, "chain") for kind in NOISE_KINDS), ("all", 3, 2, "ring"), ("all", 2, 3, "ring")],
)
def test_the_joint_law_of_all_qubits_is_that_of_the_density_matrix(
    kind: str, n_qubits: int, n_layers: int, entangler: Entangler, oracle_density: OracleDensity
) -> None:
    """Chi-square over all bitstrings, 2e5 shots, false alarm 1e-7 each (8 cases below 1e-6 together)."""
    circuit, partition = build(n_qubits, n_layers, entangler)
    noise = one_learner_noise(partition, kind)
    rng = np.random.default_rng(7)
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, n_qubits)
    shifted = theta.copy()
    shifted[3] -= np.pi / 2
    # The encoding has the first rotations.
    shots = make_shots(200_000, partition, rotation=n_qubits + 3, sign=-1, werner=NOISE_KINDS[kind].get("werner", 1.0))
    rows = angles_of(circuit, theta, angles[None])
    bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=11)
    rho = oracle_density(circuit, partition, shifted, angles, noise, learner=0)
    law = flipped_probabilities(rho, np.asarray(noise.readout_error)[0, np.array(partition.readout_qpus)])
    assert chi_square_p_value(bits, law) > 1e-7


def test_expectation_values_match_density_matrices_for_every_kind_of_shot(
    oracle_density: OracleDensity, oracle_expectation: Callable[..., float]
) -> None:
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
        rotation=np.where(variant == 0, -1, 4 + 9),
        sign=np.where(shift == 0, 1, shift),
        werner=np.asarray(noise.pair_werner)[learner],
    )
    bits = sample_outcomes(circuit, partition, angles_of(circuit, theta, angles), noise, shots=shots, seed=3)
    thetas = theta + np.array([0, 1, -1])[:, None] * (np.pi / 2) * np.eye(circuit.n_parameters)[9]
    threshold = scipy.stats.norm.isf(FALSE_ALARM / 72 / 2)
    values = 1.0 - 2.0 * ((bits[:, None] >> np.arange(4)) & 1)
    for index in range(18):
        row, inputs = index % 3, angles[index // 3 % 2]
        rho = oracle_density(circuit, partition, thetas[index // 6], inputs, noise, learner=row)
        flips = np.asarray(noise.readout_error)[row, np.array(partition.readout_qpus)]
        truth = np.array([oracle_expectation(rho, qubit, flips[qubit]) for qubit in range(4)])
        mean = values[group == index].mean(axis=0)
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
    rows = angles_of(circuit, theta, angles[None])
    bits = sample_outcomes(circuit, partition, rows, noiseless(partition), shots=shots, seed=1)

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
    rows = angles_of(circuit, theta, angles[None])
    bits = sample_outcomes(circuit, partition, rows, noiseless(partition), shots=shots, seed=1)
    for order, is_right in ((werner, True), (werner[:, ::-1], False)):
        noise = noiseless(partition)._replace(pair_werner=jnp.asarray(order))
        rho = oracle_density(circuit, partition, theta, angles, noise, learner=0)
        assert (chi_square_p_value(bits, flipped_probabilities(rho, np.zeros(4))) > FALSE_ALARM) == is_right


@pytest.mark.parametrize(("excited", "bitstring"), [(0, 0b111), (1, 0b110), (2, 0b100)])
def test_a_classical_circuit_is_certain(excited: int, bitstring: int) -> None:
    circuit, partition = build(3, 1, "chain")
    angles = np.pi * np.eye(3)[[excited]]
    shots = make_shots(20_000, partition)
    rows = angles_of(circuit, np.zeros(6), angles)
    bits = sample_outcomes(circuit, partition, rows, noiseless(partition), shots=shots, seed=4)
    assert np.all(bits == bitstring)


def test_readout_flips_and_shifts_alone_have_their_closed_form() -> None:
    """One rotated qubit: P(1) = sin^2(x/2 + t/2 +- pi/4) before a flip; 1e5 shots a case, 3 cases, false alarm 1e-6."""
    circuit = hardware_efficient(1, 1, "chain")
    partition = partition_circuit(circuit, "data")
    noise = noiseless(partition)._replace(readout_error=jnp.array([[0.2]]))
    for sign, rotation in ((1, 1), (-1, 0), (1, -1)):  # the encoding can be shifted, too
        shots = make_shots(100_000, partition, rotation=rotation, sign=sign)
        rows = angles_of(circuit, [0.3, 0.8], [[0.4]])
        bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=8)
        angle = 0.7 + (sign * np.pi / 2 if rotation >= 0 else 0.0)
        probability = 0.2 + 0.6 * np.sin(angle / 2) ** 2
        z_score = (bits.mean() - probability) / np.sqrt(probability * (1 - probability) / bits.size)
        assert abs(z_score) < scipy.stats.norm.isf(FALSE_ALARM / 6)


def test_shots_are_independent() -> None:
    """Neighbouring shots, and equal counters of two learners, are uncorrelated; 1e5 shots, z-tests at 2.5e-7 each."""
    circuit, partition = build(2, 1, "chain")
    noise = noiseless(partition, 2)
    shots = make_shots(100_000, partition)
    angles = angles_of(circuit, np.zeros(4), [[np.pi / 2, np.pi / 2]])
    outcomes = [
        sample_outcomes(circuit, partition, angles, noise, shots=shots._replace(learner=row), seed=5)
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
        rotation=rng.integers(-1, len(circuit.rotations), n_shots),
        sign=rng.choice([-1, 1], n_shots),
        werner=rng.uniform(0.5, 1.0, (n_shots, 2)),
    )
    rows = angles_of(circuit, rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, (5, 4)))

    def run(chosen: Shots, *, seed: int = 2**63 + 9, chunk_size: int | None = None) -> npt.NDArray[np.uint32]:
        return sample_outcomes(circuit, partition, rows, noise, shots=chosen, seed=seed, chunk_size=chunk_size)

    bits = run(shots)
    np.testing.assert_array_equal(run(shots, chunk_size=256), bits)
    subset = rng.permutation(n_shots)[:700]
    np.testing.assert_array_equal(run(Shots._make(field[subset] for field in shots)), bits[subset])
    for other in (9, 2**63):  # either half of the seed counts
        assert np.mean(run(shots, seed=other) != bits) > 0.3
    with jax.enable_x64(True):
        np.testing.assert_array_equal(run(shots), bits)


def test_one_compilation_serves_any_number_of_shots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots_module, "is_small", lambda *_: False)
    circuit, partition = build(3, 1, "chain")
    rows, noise = np.ones((7, 9)), noiseless(partition)
    cache_size: Any = getattr(_run_chunk, "_cache_size")  # noqa: B009 - jax does not type it
    before = cache_size()
    for n_shots in (10, 0, 1, 5000, 9000):
        shots = make_shots(n_shots, partition)
        bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=n_shots)
        assert bits.shape == (n_shots,)
    assert cache_size() == before + 1


def mixed_shots(rng: np.random.Generator, circuit: Circuit, partition: Partition, n_learners: int) -> Shots:
    """Return 5,000 shots of many learners in any order, with three samples, shifts and Bell-diagonal pairs."""
    weights = rng.dirichlet([6, 1, 1, 1], (5000, partition.pairs_per_shot))[..., 1:]
    shots = make_shots(
        5000,
        partition,
        learner=rng.integers(0, n_learners, 5000),
        sample=rng.integers(0, 3, 5000),
        rotation=rng.integers(-1, len(circuit.rotations), 5000),
        sign=rng.choice([-1, 1], 5000),
    )
    return shots._replace(pair_werner=(1 - 2 * (weights.sum(axis=-1, keepdims=True) - weights)).astype(np.float32))


def many_learners_noise(rng: np.random.Generator, partition: Partition, n_learners: int) -> NoiseTable:
    """Return strong noise that differs between learners, with readout that differs between outcomes."""
    rates = [rng.uniform(0, 0.1, (n_learners, partition.n_qpus, *axes)) for axes in ((), (), (2,))]
    return NoiseTable(*(jnp.asarray(rate) for rate in rates), jnp.ones((n_learners, partition.pairs_per_shot)))


@pytest.mark.parametrize("case", ["any gates", "given states", "many steps"])
def test_loops_and_jax_give_the_same_outcomes(case: str, cut_circuit: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """800 learners; sums differ by rounding alone, some 1e-7 of probability: 4 of 5,000 differ once in 1e10 tests."""
    rng = np.random.default_rng(3)
    circuit, partition = build(5, 5, "ring") if case == "many steps" else cut_circuit(rng, 3, 24)
    noise, shots = many_learners_noise(rng, partition, 800), mixed_shots(rng, circuit, partition, 800)
    if case == "many steps":
        shots = shots._replace(pair_werner=np.abs(shots.pair_werner[:, :, 0]))
        assert len(compile_frame(circuit, partition).steps) > 32
    rows = rng.normal(size=(3, len(circuit.rotations)))
    states = None
    if case == "given states":
        states = rng.normal(size=(3, 8)) + 1j * rng.normal(size=(3, 8))
        states /= np.linalg.norm(states, axis=1, keepdims=True)

    def run(chosen: Shots, **options: Any) -> npt.NDArray[np.uint32]:
        return sample_outcomes(circuit, partition, rows, noise, shots=chosen, seed=2**63 + 7, states=states, **options)

    bits = run(shots)
    for lanes in (8, 77):
        np.testing.assert_array_equal(run(shots, chunk_size=lanes), bits)
    for n_shots in (0, 1, 129):
        np.testing.assert_array_equal(run(Shots._make(field[:n_shots] for field in shots)), bits[:n_shots])
    monkeypatch.setattr(small_shots, "n_threads", lambda: 3)
    monkeypatch.setattr(small_shots, "_THREAD_AMPLITUDES", 1 << 12)
    np.testing.assert_array_equal(run(shots), bits)
    monkeypatch.setattr(shots_module, "is_small", lambda *_: False)
    assert np.sum(run(shots) != bits) < 4


def test_wrong_arguments_are_refused() -> None:
    circuit, partition = build(4, 1, "chain")
    noise, angles = noiseless(partition), np.zeros((2, 12))
    shots = make_shots(5, partition)
    five = np.arange(5, dtype=np.int32)
    cold = noise._replace(relaxation=jnp.broadcast_to(jnp.array([0.9, 0.5, 1.0]), (1, 2, 2, 3)))
    cases: list[tuple[str, dict[str, Any]]] = [
        ("angles", {"angles": np.zeros((2, 11))}),
        ("states", {"states": np.ones((2, 8)) / np.sqrt(8)}),
        ("states", {"states": np.ones((2, 16))}),
        ("noise", {"noise": cold}),
        ("learner", {"shots": shots._replace(learner=five)}),
        ("sample", {"shots": shots._replace(sample=five)}),
        ("shift_rotation", {"shots": shots._replace(shift_rotation=five + 8)}),
        ("shift_rotation", {"shots": shots._replace(shift_rotation=five - 2)}),
        ("pair_werner", {"shots": shots._replace(pair_werner=np.ones((5, 2), np.float32))}),
        ("counter", {"shots": shots._replace(counter=np.zeros(4, np.uint32))}),
    ]
    for name, wrong in cases:
        arguments: dict[str, Any] = {"angles": angles, "noise": noise, "shots": shots, "seed": 0}
        arguments |= wrong
        with pytest.raises(DomainError, match=f"`{name}` must"):
            sample_outcomes(circuit, partition, **arguments)


GOLDEN = [9, 13, 7, 4, 11, 13, 13, 2, 10, 3, 8, 9, 7, 5, 15, 10, 0, 3, 7, 3, 9, 13, 13, 9, 1, 1, 8, 10, 15, 8, 4, 13]


def test_outcomes_of_a_seed_stay_what_they_were() -> None:
    """The first outcomes of a fixed seed: earlier versions, with the encoding apart and CNOTs alone, had the same."""
    circuit, partition = build(4, 2, "chain")
    noise = node_noise(
        partition, one_qubit_error=[0.1, 0.1], two_qubit_error=[0.1, 0.1], readout_error=[0.1, 0.1], lender=[1, 0]
    )
    shots = make_shots(32, partition, learner=np.arange(32) % 2, rotation=np.arange(32) % 16 + 4, werner=0.7)
    rows = angles_of(circuit, np.linspace(-1, 1, 16), np.linspace(-1.5, 1.5, 4)[None])
    bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=2**63 + 9)
    np.testing.assert_array_equal(bits, GOLDEN)


def full_noise(partition: Partition, rng: np.random.Generator, *, has_relaxation: bool) -> NoiseTable:
    """Return strong noise of every kind for one learner, with uneven pairs and asymmetric readout."""
    population = rng.uniform(0.4, 0.9, (1, 2, 2))
    coherence = np.sqrt(population) * rng.uniform(0.5, 1.0, (1, 2, 2))
    relaxation = np.stack([coherence, population, rng.uniform(-1, 1, (1, 2, 2))], axis=-1)
    weights = rng.dirichlet([3, 1, 1, 1], (1, partition.pairs_per_shot))[..., 1:]
    correlators = 1 - 2 * (weights.sum(axis=-1, keepdims=True) - weights)
    return NoiseTable(
        jnp.asarray(rng.uniform(0, 0.2, (1, 2))),
        jnp.asarray(rng.uniform(0, 0.2, (1, 2))),
        jnp.asarray(rng.uniform(0, 0.4, (1, 2, 2))),
        jnp.asarray(correlators),
        jnp.asarray(relaxation) if has_relaxation else None,
    )


@pytest.mark.parametrize("has_relaxation", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_circuit_with_all_noise_has_the_law_of_its_density_matrix(
    seed: int, has_relaxation: bool, cut_circuit: Draw, oracle_density: OracleDensity
) -> None:
    """All gate kinds, shared copies, moves: chi-square with 3e5 shots, false alarm 2.5e-7 each (4 cases)."""
    rng = np.random.default_rng(seed)
    circuit, partition = cut_circuit(rng, 3, 24)
    noise = full_noise(partition, rng, has_relaxation=has_relaxation)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=2)
    pairs = np.broadcast_to(np.asarray(noise.pair_werner, np.float32), (300_000, partition.pairs_per_shot, 3))
    shots = make_shots(300_000, partition)._replace(pair_werner=pairs)
    rows = angles_of(circuit, theta, inputs[None])
    bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=12)
    rho = oracle_density(circuit, partition, theta, inputs, noise, learner=0)
    readout = np.asarray(noise.readout_error[0])[np.array(partition.readout_qpus)]
    assert chi_square_p_value(bits, flipped_probabilities(rho, readout)) > 2.5e-7
    other = noise._replace(relaxation=None) if has_relaxation else noiseless(partition)
    rho = oracle_density(circuit, partition, theta, inputs, other, learner=0)
    assert chi_square_p_value(bits, flipped_probabilities(rho, readout)) < 1e-12


def test_relaxation_of_an_excited_qubit_has_its_closed_form() -> None:
    """Relaxation after RX(pi) or RX(pi/2) and, with what was Z and Y exchanged, after a square root of X.

    2e5 shots each, two z-tests, false alarm 1e-6.
    """
    circuit = Circuit(
        n_qubits=1,
        gates=(
            Gate(kind="rx", qubits=(0,), angle=(Term(features=(0,)),), layer=0),
            Gate(kind="sx", qubits=(0,), layer=1),
            Gate(kind="sxdg", qubits=(0,), layer=-1),
            Gate(kind="rx", qubits=(0,), angle=(Term(features=(1,)),), layer=-1),
        ),
        n_parameters=0,
        n_features=2,
    )
    partition = partition_circuit(circuit, "data")
    coherence, population, equilibrium = 0.5, 0.6, 0.4
    table = jnp.array([[[[coherence, population, equilibrium]] * 2]])
    noise = noiseless(partition)._replace(relaxation=table)
    rows = angles_of(circuit, np.zeros(0), np.array([[np.pi, 0.0], [np.pi / 2, -np.pi / 2]]))
    # The second relaxation acts after SX, where what was Z is Y and what was Y is Z.
    z = population * -1 + (1 - population) * equilibrium
    expected = [coherence * z, population * coherence - (1 - population) * equilibrium]
    for sample in (0, 1):
        shots = make_shots(200_000, partition, sample=sample)
        bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=21)
        probability = (1 - expected[sample]) / 2
        z_score = (bits.mean() - probability) / np.sqrt(probability * (1 - probability) / bits.size)
        assert abs(z_score) < scipy.stats.norm.isf(FALSE_ALARM / 4)


def test_given_states_replace_the_zeros(cut_circuit: Draw, oracle_unitary: Callable[..., Any]) -> None:
    """Random states of 3 qubits: chi-square with 1e5 shots a sample, two samples, false alarm 5e-7 each."""
    rng = np.random.default_rng(5)
    circuit, _ = cut_circuit(rng, 3, 12)
    partition = partition_circuit(circuit, "data")
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(2, 2))
    states = rng.normal(size=(2, 8)) + 1j * rng.normal(size=(2, 8))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    shots = make_shots(200_000, partition, sample=np.arange(200_000) % 2)
    rows, noise = angles_of(circuit, theta, inputs), noiseless(partition)
    bits = sample_outcomes(circuit, partition, rows, noise, shots=shots, seed=2, states=states)
    for sample in (0, 1):
        state = states[sample]
        for gate in circuit.gates:
            state = oracle_unitary(3, gate, theta, inputs[sample]) @ state
        law = flipped_probabilities(np.outer(state, state.conj()), np.zeros(3))
        assert chi_square_p_value(bits[sample::2], law) > 5e-7


@pytest.mark.parametrize("has_relaxation", [False, True])
def test_rotations_that_are_not_active_have_no_gradient(
    has_relaxation: bool, cut_circuit: Draw, oracle_density: OracleDensity, oracle_expectation: Callable[..., float]
) -> None:
    """Every parameter of a random circuit belongs to one rotation; those left out must not move the expectation."""
    n_active = n_rotations = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        circuit, partition = cut_circuit(rng, 3, 10)
        noise = full_noise(partition, rng, has_relaxation=has_relaxation)
        theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=2)

        def value(shifted: npt.NDArray[np.float64]) -> float:
            rho = oracle_density(circuit, partition, shifted, inputs, noise, learner=0)  # noqa: B023 - used at once
            return oracle_expectation(rho, 0, 0.0)

        active = active_parameters(circuit, observables=(0,), has_relaxation=has_relaxation)
        rotations = active_rotations(circuit, observables=(0,), has_relaxation=has_relaxation)
        assert len(rotations) == len(active)
        n_active, n_rotations = n_active + len(active), n_rotations + circuit.n_parameters
        for parameter in set(range(circuit.n_parameters)) - set(active):
            for sign in (1, -1):
                shift = sign * 0.7 * np.eye(circuit.n_parameters)[parameter]
                assert abs(value(theta + shift) - value(theta)) < 1e-9
    assert 0 < n_active < n_rotations


@pytest.mark.parametrize(("entangler", "observables"), [("chain", (0, 1, 2, 3)), ("ring", (0, 1)), ("chain", (3,))])
@pytest.mark.parametrize("has_relaxation", [False, True])
def test_only_the_last_turns_about_z_and_what_is_outside_the_light_cone_are_inactive(
    entangler: Entangler, observables: tuple[int, ...], has_relaxation: bool, oracle_density: OracleDensity
) -> None:
    circuit, partition = build(4, 2, entangler)
    rng = np.random.default_rng(0)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.uniform(-1.5, 1.5, 4)

    def values(shifted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rho = oracle_density(circuit, partition, shifted, inputs, noiseless(partition), learner=0)
        law = np.real(np.diag(rho)).reshape((2,) * 4)
        return np.array([np.diff(law.sum(axis=tuple({0, 1, 2, 3} - {q})))[0] for q in observables])

    moved = [np.abs(values(theta + 0.7 * unit) - values(theta)).max() for unit in np.eye(circuit.n_parameters)]
    expected = tuple(np.flatnonzero(np.array(moved) > 1e-6))
    active = active_parameters(circuit, observables=observables, has_relaxation=has_relaxation)
    if has_relaxation:  # strings that cancel without it may come back
        assert set(expected) <= set(active) <= set(range(circuit.n_parameters))
        assert len(observables) == 1 or active == expected
    else:
        assert active == expected
