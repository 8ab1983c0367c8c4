"""Flips and states against density matrices; exact intervals."""

import itertools

import numpy as np
import pytest
from scipy.stats import beta

from ceas.errors import DomainError
from ceas.physics import werner_bell_diagonal
from ceas.qdba import Rate, flip_probability
from ceas.qdba.pairs import chunks
from ceas.qdba.weak_broadcast import _measure

PAULIS = (np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1]))


def z_statistics(density: np.ndarray) -> np.ndarray:
    return np.real(np.diag(density)).reshape((2,) * int(np.log2(len(density))))


@pytest.mark.parametrize("weights", [[0.9, 0.05, 0.03, 0.02], [0.6, 0.0, 0.3, 0.1], [0.25] * 4])
def test_flips_of_a_bell_diagonal_pair_are_those_of_its_density_matrix(weights: list[float]) -> None:
    """The ideal pair is Psi+, whose Z outcomes differ; a Pauli error acts on the far qubit."""
    psi = np.array([0, 1, 1, 0]) / np.sqrt(2)
    density = np.zeros((4, 4), dtype=complex)
    for weight, pauli in zip(weights, PAULIS, strict=True):
        vector = np.kron(np.eye(2), pauli) @ psi
        density += weight * np.outer(vector, vector.conj())
    chances = z_statistics(density)
    assert flip_probability(weights) == pytest.approx(chances[0, 0] + chances[1, 1])


def test_a_werner_pair_has_the_flips_of_its_weights() -> None:
    for fidelity in (0.25, 0.5, 0.95, 1.0):
        weights = werner_bell_diagonal((4 * fidelity - 1) / 3)
        assert flip_probability(fidelity) == pytest.approx(flip_probability(weights)) == 2 * (1 - fidelity) / 3


def test_a_ghz_state_fused_from_pairs_is_flipped_pair_by_pair() -> None:
    """Two halves of a GHZ state are teleported over a pair each: each far bit differs from the owner's by its flip."""
    weights = np.array([0.7, 0.15, 0.1, 0.05])
    ghz = np.zeros(8)
    ghz[[0, 7]] = 1 / np.sqrt(2)
    density = np.zeros((8, 8), dtype=complex)
    for i, j in itertools.product(range(4), repeat=2):
        vector = np.kron(np.kron(np.eye(2), PAULIS[i]), PAULIS[j]) @ ghz
        density += weights[i] * weights[j] * np.outer(vector, vector.conj())
    flip, chances = flip_probability(weights), z_statistics(density)
    for a, b, c in itertools.product((0, 1), repeat=3):
        expected = 0.5 * (flip if a != b else 1 - flip) * (flip if a != c else 1 - flip)
        assert chances[a, b, c] == pytest.approx(expected)


@pytest.mark.parametrize("flip", [0.0, 0.1])
def test_the_four_qubit_state_is_drawn_with_its_own_probabilities(flip: float) -> None:
    """200 000 states, 12 cells each within 5.5 standard deviations of the state vector's: false alarm below 1e-6."""
    vector = np.zeros((2, 2, 2, 2))
    for text, amplitude in zip(("0011", "0101", "0110", "1001", "1010", "1100"), (2, -1, -1, -1, -1, 2), strict=True):
        vector[tuple(map(int, text))] = amplitude / (2 * np.sqrt(3))
    assert np.sum(vector**2) == pytest.approx(1)
    n = 200_000
    seen = _measure((n, 1), flip, np.random.default_rng(3))
    kind = np.where(seen.same, 0, np.where(seen.opposite, 2, 1))[:, 0]
    found = np.zeros((3, 2, 2))
    np.add.at(found, (kind, seen.bit_0[:, 0].astype(int), seen.bit_1[:, 0].astype(int)), 1)
    # x = 0: S has 3x where its qubits are 00, and a receiver's bit is 1-x where its qubit is 1.
    chances = np.stack([vector[0, 0] ** 2, vector[0, 1] ** 2 + vector[1, 0] ** 2, vector[1, 1] ** 2])
    turn = np.array([[1 - flip, flip], [flip, 1 - flip]])
    chances = np.einsum("kab,ac,bd->kcd", chances, turn, turn)
    assert np.all(np.abs(found - n * chances) <= 5.5 * np.sqrt(n * chances * (1 - chances)) + 1e-9)


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    low, high = Rate(events=3, shots=50).interval()
    assert low == pytest.approx(beta.ppf(0.025, 3, 48))
    assert high == pytest.approx(beta.ppf(0.975, 4, 47))
    assert Rate(events=0, shots=100).interval()[0] == 0.0
    assert Rate(events=100, shots=100).interval()[1] == 1.0
    # The interval at n events is where the binomial tail is 2.5 %: the rule of three's exact form.
    assert Rate(events=0, shots=100).interval()[1] == pytest.approx(1 - 0.025**0.01)


def test_chunks_hold_all_shots() -> None:
    for shots, elements in ((1, 1), (10, 10**7), (12_345, 640_000)):
        assert sum(chunks(shots, elements)) == shots


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (0.2, r"`fidelity` must be in \[0.25, 1\], but is 0.2"),
        (float("nan"), "`fidelity` must be in"),
        ([0.5, 0.5], "must be a fidelity or four weights"),
        ([0.1, 0.8, 0.1, 0.0], "Z correlator of at least 0, but it is -0.8"),
        ([0.9, 0.9, 0.1, 0.0], "sum to 1"),
    ],
)
def test_what_is_no_pair_is_refused(pair: object, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        flip_probability(pair)  # type: ignore[arg-type]
