"""An independent oracle: dense density matrices, one Kraus operator at a time."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from ceas.learning.circuits import Circuit
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition

Matrix = npt.NDArray[np.complex128]

PAULI = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(complex),
}
ROTATION_PAULI = {"ry": "Y", "rz": "Z"}


def on_qubits(n_qubits: int, **pauli_of_qubit: str) -> Matrix:
    """Return the Pauli string with `q0="X"` and so on, identity elsewhere."""
    matrix: Matrix = np.eye(1, dtype=complex)
    for qubit in range(n_qubits):
        matrix = np.asarray(np.kron(matrix, PAULI[pauli_of_qubit.get(f"q{qubit}", "I")]))
    return matrix


def rotation(n_qubits: int, kind: str, qubit: int, angle: float) -> Matrix:
    pauli = on_qubits(n_qubits, **{f"q{qubit}": ROTATION_PAULI[kind]})
    return np.asarray(np.cos(angle / 2) * np.eye(2**n_qubits) - 1j * np.sin(angle / 2) * pauli)


def cnot(n_qubits: int, control: int, target: int) -> Matrix:
    identity, z = np.eye(2**n_qubits), on_qubits(n_qubits, **{f"q{control}": "Z"})
    return (identity + z) / 2 + (identity - z) / 2 @ on_qubits(n_qubits, **{f"q{target}": "X"})


def pauli_channel(rho: Matrix, weighted: list[tuple[float, Matrix]]) -> Matrix:
    rest = 1 - sum(weight for weight, _ in weighted)
    return rest * rho + sum(weight * pauli @ rho @ pauli.conj().T for weight, pauli in weighted)


def pair_weights(pair: npt.NDArray[np.float64]) -> list[float]:
    """Return the probabilities of X, Y and Z on a pair of this Werner parameter, or of these three correlators."""
    x, y, z = (float(c) for c in np.broadcast_to(pair, 3))
    return [(1 + x - y - z) / 4, (1 - x + y - z) / 4, (1 - x - y + z) / 4]


def depolarise(rho: Matrix, n_qubits: int, qubit: int, probability: float) -> Matrix:
    return pauli_channel(rho, [(probability / 3, on_qubits(n_qubits, **{f"q{qubit}": p})) for p in "XYZ"])


def dense_density_matrix(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    angles: npt.ArrayLike,
    noise: NoiseTable,
    *,
    learner: int,
) -> Matrix:
    n, theta = circuit.n_qubits, np.asarray(theta, dtype=float)
    one, two = (np.asarray(noise[i][learner], dtype=float) for i in range(2))
    rho = np.zeros((2**n, 2**n), dtype=complex)
    rho[0, 0] = 1
    for qubit, angle in enumerate(np.asarray(angles, dtype=float)):
        u = rotation(n, "ry", qubit, angle)
        rho = u @ rho @ u.conj().T
    gates = list(zip(circuit.gates, partition.pair_index, strict=True))
    for index, (gate, pair) in enumerate(gates):
        if gate.kind != "cnot":
            qubit = gate.qubits[0]
            u = rotation(n, gate.kind, qubit, theta[gate.parameter])
            rho = u @ rho @ u.conj().T
            later = [g for g, _ in gates[index + 1 :] if g.kind != "cnot" and g.layer == gate.layer]
            if not any(g.qubits[0] == qubit for g in later):
                rho = depolarise(rho, n, qubit, one[qubit])
            continue
        control, target = gate.qubits
        u = cnot(n, control, target)
        rho = u @ rho @ u.conj().T
        if pair >= 0:
            x, z = on_qubits(n, **{f"q{target}": "X"}), on_qubits(n, **{f"q{control}": "Z"})
            weights = pair_weights(np.asarray(noise.pair_werner[learner, pair], dtype=float))
            rho = pauli_channel(rho, list(zip(weights, (x, z @ x, z), strict=True)))
        for qubit in gate.qubits:
            rho = depolarise(rho, n, qubit, two[qubit])
    return rho


def dense_expectation(rho: Matrix, qubit: int, flip: float) -> float:
    n_qubits = int(np.log2(len(rho)))
    return (1 - 2 * flip) * float(np.real(np.trace(rho @ on_qubits(n_qubits, **{f"q{qubit}": "Z"}))))


def pauli_expectations(rho: Matrix) -> npt.NDArray[np.float64]:
    n_qubits = int(np.log2(len(rho)))
    strings = itertools.product("IXYZ", repeat=n_qubits)
    named = ({f"q{q}": p for q, p in enumerate(string)} for string in strings)
    return np.array([np.real(np.trace(rho @ on_qubits(n_qubits, **names))) for names in named])


@pytest.fixture(scope="session")
def oracle_density() -> Callable[..., Matrix]:
    return dense_density_matrix


@pytest.fixture(scope="session")
def oracle_expectation() -> Callable[[Matrix, int, float], float]:
    return dense_expectation


@pytest.fixture(scope="session")
def oracle_pauli_expectations() -> Callable[[Matrix], npt.NDArray[np.float64]]:
    return pauli_expectations
