"""Ground states of the Ising chain against free fermions, a dense Hamiltonian of all spins, and the two limits."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.baselines import pauli_expectations
from ceas.learning.data import Preparation
from ceas.learning.quantum_data import ising_chain, ising_ground_states

FIELDS = np.array([0.0, 1e-6, 0.3, 0.9, 1.0, 1.1, 3.0, 1e3])
PAULI = {"X": np.array([[0, 1], [1, 0]]), "Z": np.diag([1, -1])}


def free_fermion_energy(field: float, n_qubits: int, boundary: str) -> float:
    """Sum the energies of the filled modes.

    Open (Pfeuty 1970): singular values of the matrix with h on the diagonal and J beside it. Periodic, even number of
    flipped spins: momenta (2 m + 1) pi / n, energies sqrt(1 + h^2 - 2 h cos k).
    """
    if boundary == "open":
        matrix = field * np.eye(n_qubits) + np.eye(n_qubits, k=1)
        return -float(np.linalg.svd(matrix, compute_uv=False).sum())
    momenta = np.pi * (2 * np.arange(n_qubits) + 1) / n_qubits
    return -float(np.sqrt(1 + field**2 - 2 * field * np.cos(momenta)).sum())


@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("n_qubits", [3, 4, 7, 8, 11])
def test_energies_are_those_of_free_fermions(n_qubits: int, boundary: Literal["open", "periodic"]) -> None:
    ground = ising_ground_states(FIELDS, n_qubits=n_qubits, boundary=boundary)
    exact = [free_fermion_energy(field, n_qubits, boundary) for field in FIELDS]
    np.testing.assert_allclose(ground.energies, exact, rtol=1e-12)


def dense_hamiltonian(field: float, n_qubits: int, boundary: str) -> npt.NDArray[Any]:
    def string(**paulis: str) -> npt.NDArray[Any]:
        matrix = np.eye(1)
        for qubit in range(n_qubits):
            matrix = np.kron(matrix, PAULI[paulis[f"q{qubit}"]] if f"q{qubit}" in paulis else np.eye(2))
        return matrix

    bonds = [(q, q + 1) for q in range(n_qubits - 1)] + ([(n_qubits - 1, 0)] if boundary == "periodic" else [])
    hamiltonian = -sum(string(**{f"q{a}": "Z", f"q{b}": "Z"}) for a, b in bonds)
    return np.asarray(hamiltonian - field * sum(string(**{f"q{q}": "X"}) for q in range(n_qubits)))


@pytest.mark.parametrize(("n_qubits", "boundary"), [(2, "open"), (5, "open"), (5, "periodic"), (8, "periodic")])
def test_states_are_eigenstates_of_the_whole_hamiltonian(n_qubits: int, boundary: Literal["open", "periodic"]) -> None:
    ground = ising_ground_states(FIELDS, n_qubits=n_qubits, boundary=boundary)
    np.testing.assert_allclose(np.linalg.norm(ground.states, axis=1), 1, rtol=1e-12)
    for field, energy, state in zip(FIELDS, ground.energies, ground.states, strict=True):
        hamiltonian = dense_hamiltonian(field, n_qubits, boundary)
        np.testing.assert_allclose(hamiltonian @ state, energy * state, atol=1e-6 * max(1, field))
        np.testing.assert_allclose(np.linalg.eigvalsh(hamiltonian)[0], energy, rtol=1e-12)


@pytest.mark.parametrize("n_qubits", [5, 9])
def test_magnetisation_has_its_limits(n_qubits: int) -> None:
    """h -> 0: <Z_i Z_j> = 1 and <X_i> = 0. h -> infinity: <X_i> = 1 and <Z_i Z_j> = 0. Always <Z_i> = 0."""
    ground = ising_ground_states([0.0, 1e-4, 1e4], n_qubits=n_qubits)
    values = pauli_expectations(ground.states)
    n_pairs = n_qubits * (n_qubits - 1) // 2
    z, zz, x, xx = np.split(values, np.cumsum([n_qubits, n_pairs, n_qubits]), axis=1)
    np.testing.assert_allclose(z, 0, atol=1e-12)
    np.testing.assert_allclose(zz[:2], 1, atol=1e-6)
    np.testing.assert_allclose(x[:2], 0, atol=1e-3)
    np.testing.assert_allclose(x[2], 1, atol=1e-6)
    np.testing.assert_allclose(xx[2], 1, atol=1e-6)
    np.testing.assert_allclose(zz[2], 0, atol=1e-3)
    ghz = np.zeros(2**n_qubits)
    ghz[[0, -1]] = np.sqrt(0.5)
    np.testing.assert_allclose(ground.states[0], ghz, atol=1e-12)


def test_energies_are_those_of_the_expectations() -> None:
    n_qubits, fields = 6, np.array([0.4, 1.7])
    ground = ising_ground_states(fields, n_qubits=n_qubits)
    values = pauli_expectations(ground.states)
    first, second = np.triu_indices(n_qubits, 1)
    neighbours = n_qubits + np.flatnonzero(second == first + 1)
    fields_from = 2 * n_qubits + np.arange(n_qubits) + first.size - n_qubits
    energy = -values[:, neighbours].sum(axis=1) - fields * values[:, fields_from].sum(axis=1)
    np.testing.assert_allclose(energy, ground.energies, rtol=1e-12)


def test_expectations_of_a_known_state() -> None:
    """|0> x |+> x (|00> + |11>) / sqrt 2, qubit 0 first."""
    bell = np.array([1, 0, 0, 1]) / np.sqrt(2)
    state = np.kron(np.kron([1, 0], [1, 1]) / np.sqrt(2), bell).astype(complex)
    z, zz, x, xx = np.split(pauli_expectations(state[None])[0], [4, 10, 14])
    np.testing.assert_allclose(z, [1, 0, 0, 0], atol=1e-15)
    np.testing.assert_allclose(zz, [0, 0, 0, 0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(x, [0, 1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(xx, [0, 0, 0, 0, 0, 1], atol=1e-15)


def test_labels_are_the_side_of_the_critical_point() -> None:
    """<X_0> of the ends of the range of fields tells the phases apart when no field is drawn near the border."""
    preparation = Preparation(n_qubits=5)
    rng = np.random.default_rng(0)
    dataset = ising_chain(preparation, n_samples=40, critical_gap=0.9, boundary="periodic", rng=rng)
    assert dataset.train_states is not None
    assert dataset.test_states is not None
    assert dataset.train_states.shape == (24, 32)
    assert dataset.train_angles.shape == (24, 0)
    assert dataset.class_names == ("ordered", "disordered")
    for states, labels in ((dataset.train_states, dataset.train_labels), (dataset.test_states, dataset.test_labels)):
        field_x = pauli_expectations(states)[:, 15]
        np.testing.assert_array_equal(field_x > 0.5, labels == 1)
        assert len(np.unique(field_x)) == labels.size


def test_the_generator_decides_the_states() -> None:
    first, again, other = (
        ising_chain(Preparation(n_qubits=9), n_samples=20, rng=np.random.default_rng(seed)).train_states
        for seed in (0, 0, 1)
    )
    assert first is not None
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize(
    ("name", "n_qubits", "own"),
    [
        ("n_qubits", None, {}),
        ("n_qubits", 0, {}),
        ("n_qubits", 15, {}),
        ("n_qubits", 2, {"boundary": "periodic"}),
        ("n_samples", 4, {"n_samples": 0}),
        ("lowest_field", 4, {"lowest_field": 1.0}),
        ("lowest_field", 4, {"lowest_field": -0.1}),
        ("critical_gap", 4, {"critical_gap": 1.0}),
        ("critical_gap", 4, {"critical_gap": -0.1, "highest_field": 0.95}),
        ("highest_field", 4, {"highest_field": np.inf}),
    ],
)
def test_wrong_chains_are_refused(name: str, n_qubits: int | None, own: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=f"`{name}`"):
        ising_chain(Preparation(n_qubits=n_qubits), rng=np.random.default_rng(0), **own)


def test_wrong_fields_and_boundaries_are_refused() -> None:
    for fields in ([-0.1], [np.nan], [[1.0]]):
        with pytest.raises(DomainError, match="`fields` must"):
            ising_ground_states(fields, n_qubits=3)
    wrong: Any = "closed"
    with pytest.raises(UnknownNameError, match="unknown boundary `closed`"):
        ising_ground_states([1.0], n_qubits=3, boundary=wrong)
