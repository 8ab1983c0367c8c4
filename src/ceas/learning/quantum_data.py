"""Quantum data: ground states of the transverse-field Ising chain, labelled by their phase.

H = -J sum_i Z_i Z_(i+1) - h sum_i X_i commutes with the flip P = X_1 X_2 ... X_n. For h > 0 its ground state is unique,
has positive amplitudes and P = 1 (Perron and Frobenius), so the search is in that half of the space: deep in the
ordered phase the two lowest levels of H come together, but never within the half. Hence <Z_i> = 0 in every state here,
and order shows in <Z_i Z_j> only; at h = 0 the state is the limit h -> 0, a GHZ state.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.data import Dataset, Preparation, Samples, prepare

__all__ = ["Boundary", "GroundStates", "bit_signs", "ising_chain", "ising_ground_states"]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IntArray = npt.NDArray[np.int64]
Boundary = Literal["open", "periodic"]

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
MAX_QUBITS = 14
# Up to here all Hamiltonians are diagonalised at once as dense matrices, which is faster than one Lanczos run each.
MAX_DENSE_QUBITS = 7


class GroundStates(NamedTuple):
    """Ground states of a chain, one for each field.

    Attributes:
        energies: Shape (fields,), in the unit of the coupling.
        states: Shape (fields, 2^n_qubits), normalised; qubit 0 is the most significant bit of an amplitude's index.
    """

    energies: FloatArray
    states: ComplexArray


def ising_chain(
    preparation: Preparation,
    *,
    n_samples: int = 200,
    lowest_field: float = 0.0,
    highest_field: float = 2.0,
    critical_gap: float = 0.0,
    boundary: Boundary = "open",
    rng: np.random.Generator,
) -> Dataset:
    """Generate ground states of the transverse-field Ising chain: ordered (0, h < J) or disordered (1, h > J).

    Half of the fields is drawn uniformly below the critical point and half above it. The label is the phase of the
    infinite chain; in a finite one nothing jumps at h = J, and states next to it are hard to tell apart.

    Args:
        preparation: What to make of the states; `n_qubits` is the length of the chain, in [1, 14], or [3, 14] where it
            is periodic. Above 7 qubits each state takes a Lanczos run, for 12 about 0.01 s.
        n_samples: Number of states.
        lowest_field: Least h / J, in [0, 1 - critical_gap).
        highest_field: Greatest h / J, above 1 + critical_gap.
        critical_gap: Distance of h / J from 1 within which none is drawn, in [0, 1).
        boundary: `"open"` or `"periodic"`.
        rng: Generator that draws the fields, then the parts.

    Raises:
        DomainError: A number is outside its range.
        UnknownNameError: `boundary` is unknown.

    Source:
        P. Pfeuty, Ann. Phys. 57, 79 (1970).
    """
    if preparation.n_qubits is None:
        raise DomainError("Argument `n_qubits` must be the length of the chain, but is None.")
    if n_samples < 1:
        raise DomainError(f"Argument `n_samples` must be at least 1, but is {n_samples}.")
    if not 0 <= lowest_field < 1 - critical_gap <= 1 + critical_gap < highest_field < np.inf:
        raise DomainError(
            "Arguments must be 0 <= `lowest_field` < 1 - `critical_gap` <= 1 + `critical_gap` < `highest_field`, "
            f"but are {lowest_field}, {critical_gap} and {highest_field}."
        )
    labels = np.arange(n_samples) % 2
    edges = np.array([[lowest_field, 1 - critical_gap], [1 + critical_gap, highest_field]])[labels]
    fields = rng.uniform(edges[:, 0], edges[:, 1])
    samples = Samples(
        name="ising_chain",
        states=ising_ground_states(fields, n_qubits=preparation.n_qubits, boundary=boundary).states,
        labels=labels,
        class_names=("ordered", "disordered"),
        source="exact diagonalisation of H = -J sum Z_i Z_(i+1) - h sum X_i, P. Pfeuty, Ann. Phys. 57, 79 (1970)",
        description=f"Ground states of an {boundary} chain of {preparation.n_qubits} spins; a label is the phase.",
    )
    return prepare(samples, preparation, rng=rng)


def ising_ground_states(fields: npt.ArrayLike, *, n_qubits: int, boundary: Boundary = "open") -> GroundStates:
    """Diagonalise -sum_i Z_i Z_(i+1) - h sum_i X_i for each field h, in units of the coupling.

    Args:
        fields: Fields h / J, shape (fields,), at least 0.
        n_qubits: Length of the chain, in [1, 14], or [3, 14] where it is periodic.
        boundary: `"open"` or `"periodic"`, with the bond of the last to the first spin.

    Raises:
        DomainError: A field or `n_qubits` is outside its range.
        UnknownNameError: `boundary` is unknown.
    """
    h = np.asarray(fields, dtype=np.float64)
    if boundary not in BOUNDARIES:
        raise UnknownNameError("boundary", boundary, BOUNDARIES)
    least = 3 if boundary == "periodic" else 1
    if not least <= n_qubits <= MAX_QUBITS:
        raise DomainError(f"Argument `n_qubits` must be in [{least}, {MAX_QUBITS}] ({boundary}), but is {n_qubits}.")
    if h.ndim != 1 or not np.all((h >= 0) & (h < np.inf)):
        raise DomainError("Argument `fields` must be one row of finite numbers that are at least 0, but is not.")
    bonds, flips = _even_half(n_qubits, boundary)
    solve = _dense if n_qubits <= MAX_DENSE_QUBITS else _lanczos
    energies, vectors = solve(bonds, flips, h)
    # A vector of the half is (|s> + |not s>) / sqrt 2 over the strings s whose first bit is 0.
    half = np.abs(vectors) / np.sqrt(2)
    return GroundStates(energies=energies, states=np.concatenate([half, half[:, ::-1]], axis=1).astype(np.complex128))


def bit_signs(n_qubits: int) -> FloatArray:
    """Return the eigenvalue of Z on each qubit in each basis state, shape (2^n_qubits, n_qubits), qubit 0 first."""
    shifts = np.arange(n_qubits - 1, -1, -1)
    return np.where(np.arange(2**n_qubits)[:, None] >> shifts & 1, -1.0, 1.0)


def _even_half(n_qubits: int, boundary: Boundary) -> tuple[FloatArray, IntArray]:
    """Return sum_i Z_i Z_(i+1) and, for each spin, where its flip leads, both over strings whose first bit is 0."""
    size = 2 ** (n_qubits - 1)
    signs = bit_signs(n_qubits)[:size]
    bonds = np.sum(signs[:, :-1] * signs[:, 1:], axis=1)
    if boundary == "periodic":
        bonds += signs[:, -1] * signs[:, 0]
    # The first spin's flip leaves the half; the flip of all leads back: together they flip all others.
    masks = np.append(2 ** np.arange(n_qubits - 1), size - 1)
    return bonds, np.arange(size) ^ masks[:, None]


def _dense(bonds: FloatArray, flips: IntArray, fields: FloatArray) -> tuple[FloatArray, FloatArray]:
    hopping = np.zeros((bonds.size, bonds.size))
    np.add.at(hopping, (np.arange(bonds.size), flips), 1.0)
    values, vectors = np.linalg.eigh(-np.diag(bonds) - fields[:, None, None] * hopping)
    return values[:, 0], vectors[:, :, 0]


def _lanczos(bonds: FloatArray, flips: IntArray, fields: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Follow the ground state from the weakest to the strongest field; each run starts from the state before."""
    size = bonds.size
    columns = np.broadcast_to(np.arange(size), flips.shape)
    hopping = scipy.sparse.csr_array((np.ones(flips.size), (columns.ravel(), flips.ravel())), shape=(size, size))
    diagonal = scipy.sparse.diags_array(-bonds, format="csr")
    energies, vectors = np.empty(fields.size), np.empty((fields.size, size))
    start = np.full(size, size**-0.5)
    for index in np.argsort(fields, kind="stable"):
        hamiltonian = diagonal - fields[index] * hopping
        energies[index : index + 1], found = scipy.sparse.linalg.eigsh(hamiltonian, k=1, which="SA", v0=start)
        start = vectors[index] = np.abs(found[:, 0])
    return energies, vectors
