"""An independent oracle: dense density matrices, one Kraus operator at a time."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from ceas.learning.circuits import CLIFFORDS, ROTATIONS, Circuit, Gate, Term
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition, Teledata, Telegate

Matrix = npt.NDArray[np.complex128]

PAULI = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(complex),
}
ROTATION_PAULI = {"rx": "X", "ry": "Y", "rz": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ"}
_X = PAULI["X"]
CLIFFORD = {
    "x": PAULI["X"],
    "y": PAULI["Y"],
    "z": PAULI["Z"],
    "h": np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "sdg": np.diag([1, -1j]),
    "sx": ((1 + 1j) * np.eye(2) + (1 - 1j) * _X) / 2,
    "sxdg": ((1 - 1j) * np.eye(2) + (1 + 1j) * _X) / 2,
    "cnot": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex),
    "cz": np.diag([1, 1, 1, -1]).astype(complex),
    "swap": np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=complex),
}


def on_qubits(n_qubits: int, **pauli_of_qubit: str) -> Matrix:
    """Return the Pauli string with `q0="X"` and so on, identity elsewhere."""
    matrix: Matrix = np.eye(1, dtype=complex)
    for qubit in range(n_qubits):
        matrix = np.asarray(np.kron(matrix, PAULI[pauli_of_qubit.get(f"q{qubit}", "I")]))
    return matrix


def embed(n_qubits: int, matrix: Matrix, qubits: Sequence[int]) -> Matrix:
    """Return an operator of some qubits on all of them; its first qubit is the most significant."""
    k = len(qubits)
    tensor = np.eye(2**n_qubits, dtype=complex).reshape((2,) * 2 * n_qubits)
    tensor = np.tensordot(matrix.reshape((2,) * 2 * k), tensor, axes=(range(k, 2 * k), list(qubits)))
    return np.moveaxis(tensor, range(k), qubits).reshape(2**n_qubits, 2**n_qubits)


def rotation(n_qubits: int, kind: str, qubits: Sequence[int], angle: float) -> Matrix:
    paulis = dict(zip((f"q{qubit}" for qubit in qubits), ROTATION_PAULI[kind], strict=True))
    return np.asarray(np.cos(angle / 2) * np.eye(2**n_qubits) - 1j * np.sin(angle / 2) * on_qubits(n_qubits, **paulis))


def pauli_channel(rho: Matrix, weighted: list[tuple[float, Matrix]]) -> Matrix:
    rest = 1 - sum(weight for weight, _ in weighted)
    return rest * rho + sum(weight * pauli @ rho @ pauli.conj().T for weight, pauli in weighted)


def pair_weights(pair: npt.NDArray[np.float64]) -> list[float]:
    """Return the probabilities of X, Y and Z on a pair of this Werner parameter, or of these three correlators."""
    x, y, z = (float(c) for c in np.broadcast_to(pair, 3))
    return [(1 + x - y - z) / 4, (1 - x + y - z) / 4, (1 - x - y + z) / 4]


def depolarise(rho: Matrix, n_qubits: int, qubit: int, probability: float) -> Matrix:
    return pauli_channel(rho, [(probability / 3, on_qubits(n_qubits, **{f"q{qubit}": p})) for p in "XYZ"])


def relax(rho: Matrix, n_qubits: int, qubit: int, factors: Sequence[float]) -> Matrix:
    """Relax one qubit, by its Bloch components: I + xX + yY + zZ, each of them an operator of the others."""
    coherence, population, equilibrium = factors
    paulis = {p: on_qubits(n_qubits, **{f"q{qubit}": p}) for p in "IXYZ"}
    # Tr_q[P rho] x Q, written with all four Paulis twirled around it.
    part = {p: sum(t @ (paulis[p] @ rho + rho @ paulis[p]) @ t.conj().T for t in paulis.values()) / 8 for p in "IXYZ"}
    rest = population * part["Z"] + (1 - population) * equilibrium * part["I"]
    return part["I"] + coherence * (paulis["X"] @ part["X"] + paulis["Y"] @ part["Y"]) + paulis["Z"] @ rest


def gate_angle(gate: Gate, theta: npt.NDArray[np.float64], inputs: npt.NDArray[np.float64]) -> float:
    angle = 0.0
    for coefficient, parameter, features in gate.angle:
        weight = theta[parameter] if parameter >= 0 else 1.0
        angle += coefficient * weight * np.prod([inputs[f] for f in features])
    return float(angle)


def gate_unitary(
    n_qubits: int, gate: Gate, theta: npt.NDArray[np.float64], inputs: npt.NDArray[np.float64], turn: int = 1
) -> Matrix:
    if gate.kind in CLIFFORD:
        return embed(n_qubits, CLIFFORD[gate.kind], gate.qubits)
    return rotation(n_qubits, gate.kind, gate.qubits, turn * gate_angle(gate, theta, inputs))


def dense_density_matrix(
    circuit: Circuit,
    partition: Partition,
    theta: npt.ArrayLike,
    inputs: npt.ArrayLike,
    noise: NoiseTable,
    *,
    learner: int,
) -> Matrix:
    """Run the circuit as `ceas.learning.partition` and `ceas.learning.noise` define it.

    A shared copy is right or wrong; both branches are followed, weighted, until its last gate, where they are added.
    """
    n, theta, inputs = circuit.n_qubits, np.asarray(theta, dtype=float), np.asarray(inputs, dtype=float)
    one, two = (np.asarray(noise[i][learner], dtype=float) for i in range(2))
    weights = [pair_weights(np.asarray(pair, dtype=float)) for pair in noise.pair_werner[learner]]
    rho = np.zeros((2**n, 2**n), dtype=complex)
    rho[0, 0] = 1
    branches: dict[frozenset[int], Matrix] = {frozenset(): rho}  # by the set of wrong copies
    for index, gate in enumerate(circuit.gates):
        branches = _open_pairs(branches, partition, index, weights, n)
        served = {use for use, what in enumerate(partition.uses) if isinstance(what, Telegate) and index in what.gates}
        for wrong, rho in branches.items():
            is_flipped = bool(served & wrong)
            turn = -1 if is_flipped and gate.is_rotation else 1
            u = gate_unitary(n, gate, theta, inputs, turn)
            if is_flipped and not gate.is_rotation:
                use = partition.uses[next(iter(served))]
                other = next(q for q in gate.qubits if q != use.root)  # type: ignore[union-attr]
                u = on_qubits(n, **{f"q{other}": _added_error(gate, use.basis)}) @ u  # type: ignore[union-attr]
            branches[wrong] = u @ rho @ u.conj().T
        if circuit.has_error[index]:
            errors = two if len(gate.qubits) == 2 else one
            for qubit, qpu in zip(gate.qubits, partition.gate_qpus[index], strict=True):
                for wrong in branches:
                    branches[wrong] = depolarise(branches[wrong], n, qubit, errors[qpu])
                    if noise.relaxation is not None:
                        factors = np.asarray(noise.relaxation[learner, qpu, len(gate.qubits) - 1], dtype=float)
                        branches[wrong] = relax(branches[wrong], n, qubit, factors)
        branches = _close_copies(branches, partition, index)
    branches = _open_pairs(branches, partition, len(circuit.gates), weights, n)
    return branches[frozenset()]


def _added_error(gate: Gate, basis: str) -> str:
    allowed = {("cnot", "Z"): "X", ("cz", "Z"): "Z", ("cnot", "X"): "Z"}
    return allowed[gate.kind, basis]


def _open_pairs(
    branches: dict[frozenset[int], Matrix], partition: Partition, index: int, weights: list[list[float]], n: int
) -> dict[frozenset[int], Matrix]:
    """Teleport qubits that move before this gate, and open the copies whose first gate it is."""
    for use, what in enumerate(partition.uses):
        p_x, p_y, p_z = weights[use]
        if isinstance(what, Teledata):
            if what.before == index:
                paulis = [on_qubits(n, **{f"q{what.qubit}": p}) for p in "XYZ"]
                weighted = list(zip(weights[use], paulis, strict=True))
                branches = {wrong: pauli_channel(rho, weighted) for wrong, rho in branches.items()}
            continue
        if what.gates[0] == index:
            phase = on_qubits(n, **{f"q{what.root}": what.basis})
            opened = {}
            for wrong, rho in branches.items():
                turned = phase @ rho @ phase
                opened[wrong] = (1 - p_x - p_y - p_z) * rho + p_z * turned
                opened[wrong | {use}] = p_x * rho + p_y * turned
            branches = opened
    return branches


def _close_copies(
    branches: dict[frozenset[int], Matrix], partition: Partition, index: int
) -> dict[frozenset[int], Matrix]:
    """Add the branches of copies whose last gate this was."""
    done = {use for use, what in enumerate(partition.uses) if isinstance(what, Telegate) and what.gates[-1] == index}
    closed: dict[frozenset[int], Matrix] = {}
    for wrong, rho in branches.items():
        closed[wrong - done] = closed.get(wrong - done, 0) + rho
    return closed


def dense_expectation(rho: Matrix, qubit: int, flip: npt.ArrayLike) -> float:
    """Return <Z> read with one flip probability, or with those of the outcomes 0 and 1."""
    n_qubits = int(np.log2(len(rho)))
    flip_0, flip_1 = (float(p) for p in np.broadcast_to(np.asarray(flip), 2))
    z = float(np.real(np.trace(rho @ on_qubits(n_qubits, **{f"q{qubit}": "Z"}))))
    return (1 - flip_0 - flip_1) * z + flip_1 - flip_0


def pauli_expectations(rho: Matrix) -> npt.NDArray[np.float64]:
    n_qubits = int(np.log2(len(rho)))
    strings = itertools.product("IXYZ", repeat=n_qubits)
    named = ({f"q{q}": p for q, p in enumerate(string)} for string in strings)
    return np.array([np.real(np.trace(rho @ on_qubits(n_qubits, **names))) for names in named])


@pytest.fixture(scope="session")
def oracle_density() -> Callable[..., Matrix]:
    return dense_density_matrix


@pytest.fixture(scope="session")
def oracle_expectation() -> Callable[[Matrix, int, npt.ArrayLike], float]:
    return dense_expectation


@pytest.fixture(scope="session")
def oracle_pauli_expectations() -> Callable[[Matrix], npt.NDArray[np.float64]]:
    return pauli_expectations


# What a copy of a qubit in a basis can serve, and what may happen to the qubit meanwhile: kinds, by place among qubits.
_SERVED = {
    **{("Z", 0): {"cnot", "cz", "rzz"}, ("Z", 1): {"cz", "rzz"}},
    **{("X", 0): {"rxx"}, ("X", 1): {"cnot", "rxx"}},
    **{("Y", 0): {"ryy"}, ("Y", 1): {"ryy"}},
}
_HARMLESS = {"Z": {"rz", "z", "s", "sdg"}, "X": {"rx", "x", "sx", "sxdg"}, "Y": {"ry", "y"}}


def draw_cut_circuit(
    rng: np.random.Generator, n_qubits: int, n_gates: int, *, kinds: Sequence[str] | None = None
) -> tuple[Circuit, Partition]:
    """Draw a circuit of all gate kinds over two QPUs, with shared copies in both bases and moves of qubits."""
    allowed = [kind for kind in kinds or [*ROTATIONS, *CLIFFORDS] if n_qubits > 1 or not _is_double(kind)]
    gates: list[Gate] = []
    n_parameters = 0
    for index in range(n_gates):
        kind = str(rng.choice(allowed))
        qubits = tuple(int(q) for q in rng.permutation(n_qubits)[: 2 if _is_double(kind) else 1])
        angle: tuple[Term, ...] = ()
        if kind in ROTATIONS:
            first = Term(float(rng.uniform(0.5, 1.5)), n_parameters, (0,) * int(rng.integers(2)))
            angle = (first, Term(float(rng.normal()), -1, (1,) * int(rng.integers(3))))
            n_parameters += 1
        layer = -1 if index < 2 else int(index > n_gates // 2)
        gates.append(Gate(kind=kind, qubits=qubits, angle=angle, layer=layer))  # type: ignore[arg-type]
    circuit = Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=2)
    uses: list[Telegate | Teledata] = [_draw_move(rng, circuit)]
    taken: set[int] = set()
    for index in range(n_gates):
        copy = _draw_copy(rng, circuit, index, taken)
        if copy is not None:
            taken.update(copy.gates)
            uses.append(copy)
    uses.append(_draw_move(rng, circuit))
    gate_qpus = tuple(tuple(int(q) for q in rng.integers(0, 2, len(gate.qubits))) for gate in gates)
    readout = tuple(int(q) for q in rng.integers(0, 2, n_qubits))
    return circuit, Partition(kind="qubit", n_qpus=2, gate_qpus=gate_qpus, readout_qpus=readout, uses=tuple(uses))


def _is_double(kind: str) -> bool:
    return CLIFFORDS.get(kind, len(ROTATIONS.get(kind, ""))) == 2


def _draw_move(rng: np.random.Generator, circuit: Circuit) -> Teledata:
    before, qubit = int(rng.integers(0, len(circuit.gates) + 1)), int(rng.integers(circuit.n_qubits))
    return Teledata(qubit=qubit, before=before, link=(0, 1))


def _draw_copy(rng: np.random.Generator, circuit: Circuit, first: int, taken: set[int]) -> Telegate | None:
    gate = circuit.gates[first]
    options = [key for key, kinds in _SERVED.items() if gate.kind in kinds]
    if not options or first in taken:
        return None
    basis, place = options[int(rng.integers(len(options)))]
    root, served = gate.qubits[place], [first]
    for index in range(first + 1, len(circuit.gates)):
        later = circuit.gates[index]
        if root not in later.qubits:
            continue
        if later.kind in _SERVED.get((basis, later.qubits.index(root)), ()) and len(later.qubits) == 2:
            if index not in taken and rng.random() < 0.7:
                served.append(index)
        elif later.kind not in _HARMLESS[basis]:
            break
    return Telegate(root=root, basis=basis, gates=tuple(served), link=(0, 1))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def cut_circuit() -> Callable[..., tuple[Circuit, Partition]]:
    return draw_cut_circuit


@pytest.fixture(scope="session")
def oracle_unitary() -> Callable[..., Matrix]:
    return gate_unitary


@pytest.fixture(scope="session")
def oracle_angle() -> Callable[..., float]:
    return gate_angle
