"""Partitions: what they hold, the protocols they stand for, and the noise of the QPUs they name."""

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import ROTATIONS, Circuit, Gate, Term
from ceas.learning.noise import node_noise, noiseless
from ceas.learning.partition import Partition, Teledata, Telegate, count_pairs, partition_circuit

Matrix = npt.NDArray[np.complex128]

PAULI = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(complex),
}
H = (PAULI["X"] + PAULI["Z"]) / np.sqrt(2)
TO_Z = {"Z": PAULI["I"], "X": H, "Y": (PAULI["Y"] + PAULI["Z"]) / np.sqrt(2)}
"""What exchanges the basis of a copy with Z; each is its own inverse."""
UNITARY = {
    "x": PAULI["X"],
    "y": PAULI["Y"],
    "z": PAULI["Z"],
    "h": H,
    "s": np.diag([1, 1j]),
    "sx": ((1 + 1j) * PAULI["I"] + (1 - 1j) * PAULI["X"]) / 2,
    "cnot": np.kron(np.diag([1, 0]), PAULI["I"]) + np.kron(np.diag([0, 1]), PAULI["X"]),
    "cz": np.diag([1, 1, 1, -1]).astype(complex),
}
TWO = ("cnot", "cz", "rzz", "rxx", "ryy", "swap")
ONE = ("rx", "rz", "s", "sx", "z", "h")


def build(n_qubits: int, listed: list[tuple[str, tuple[int, ...]]], layers: list[int] | None = None) -> Circuit:
    """Return a circuit from kinds and qubits, whose rotations have one parameter each."""
    gates, n_parameters = [], 0
    for (kind, qubits), layer in zip(listed, layers or [0] * len(listed), strict=True):
        angle = (Term(parameter=n_parameters),) if kind in ROTATIONS else ()
        n_parameters += len(angle)
        gates.append(Gate(kind=kind, qubits=qubits, angle=angle, layer=layer))  # type: ignore[arg-type]
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=0)


def random_gates(n_qubits: int, n_gates: int, seed: int, kinds: tuple[str, ...]) -> list[tuple[str, tuple[int, ...]]]:
    rng = np.random.default_rng(seed)
    listed: list[tuple[str, tuple[int, ...]]] = []
    for kind in rng.choice(kinds, n_gates).tolist():
        listed.append((kind, tuple(rng.permutation(n_qubits)[: 2 if kind in TWO else 1].tolist())))
    return listed


PREPARE = [(kind, (qubit,)) for qubit in range(3) for kind in ("ry", "rz")]


class Lab:
    """Physical qubits on QPUs: a density matrix, who holds what, and gates that refuse to cross."""

    def __init__(self, n_qubits: int, places: list[int]) -> None:
        self.labels: list[Any] = list(range(n_qubits))
        self.place: dict[Any, int] = dict(enumerate(places))
        self.rho = np.zeros((2,) * 2 * n_qubits, dtype=complex)
        self.rho[(0,) * 2 * n_qubits] = 1

    def apply(self, matrix: Matrix, *labels: Any) -> None:
        assert len({self.place[label] for label in labels}) == 1, "a gate across"
        self.kraus([matrix], *labels)

    def kraus(self, matrices: list[Matrix], *labels: Any) -> None:
        m, k = len(self.labels), len(labels)
        rows = [self.labels.index(label) for label in labels]
        total = np.zeros_like(self.rho)
        for matrix in matrices:
            tensor = matrix.reshape((2,) * 2 * k)
            rho = np.moveaxis(np.tensordot(tensor, self.rho, (range(k, 2 * k), rows)), range(k), rows)
            columns = [m + row for row in rows]
            rho = np.moveaxis(np.tensordot(tensor.conj(), rho, (range(k, 2 * k), columns)), range(k), columns)
            total += rho
        self.rho = total

    def share(self, here: Any, there: Any, link: tuple[int, int], weights: npt.NDArray[np.float64]) -> None:
        """Add a Bell-diagonal pair: Phi+ with a Pauli error on its far half."""
        phi = np.array([1, 0, 0, 1]) / np.sqrt(2)
        errors = [np.kron(PAULI["I"], PAULI[p]) @ phi for p in "IXYZ"]
        pair = sum(w * np.outer(e, e.conj()) for w, e in zip(weights, errors, strict=True))
        m = len(self.labels)
        joint = np.multiply.outer(self.rho, np.asarray(pair).reshape((2,) * 4))
        self.rho = np.moveaxis(joint, [2 * m, 2 * m + 1], [m, m + 1])
        self.labels += [here, there]
        self.place |= {here: link[0], there: link[1]}

    def measure(self, label: Any, corrected: Any, correction: str) -> None:
        """Measure in Z, correct another qubit after outcome 1 (a classical message), and drop the measured qubit."""
        outcomes = [np.kron(np.diag([1, 0]), PAULI["I"]), np.kron(np.diag([0, 1]), PAULI[correction])]
        self.kraus([np.asarray(outcome, dtype=complex) for outcome in outcomes], label, corrected)
        position = self.labels.index(label)
        self.rho = np.trace(self.rho, axis1=position, axis2=position + len(self.labels))
        self.labels.remove(label)

    def density(self, n_qubits: int) -> Matrix:
        order = [self.labels.index(qubit) for qubit in range(n_qubits)]
        rho = np.transpose(self.rho, order + [n_qubits + row for row in order])
        return np.asarray(rho).reshape(2**n_qubits, 2**n_qubits)


def open_copy(lab: Lab, use: Telegate, number: int, weights: npt.NDArray[np.float64]) -> None:
    """Run the cat-entangler."""
    lab.share(("half", number), ("copy", number), use.link, weights)
    turn = TO_Z[use.basis]
    lab.apply(turn, use.root)
    lab.apply(UNITARY["cnot"], use.root, ("half", number))
    lab.apply(turn, use.root)
    lab.measure(("half", number), ("copy", number), "X")


def close_copy(lab: Lab, use: Telegate, number: int) -> None:
    """Run the cat-disentangler."""
    lab.apply(H, ("copy", number))
    lab.measure(("copy", number), use.root, use.basis)


def teleport(lab: Lab, use: Teledata, weights: npt.NDArray[np.float64]) -> None:
    lab.share("near", "far", use.link, weights)
    lab.apply(UNITARY["cnot"], use.qubit, "near")
    lab.apply(H, use.qubit)
    lab.measure("near", "far", "X")
    lab.measure(use.qubit, "far", "Z")
    lab.labels[lab.labels.index("far")] = use.qubit
    lab.place[use.qubit] = use.link[1]


def unitary(gate: Gate, angle: float) -> Matrix:
    if gate.kind not in ROTATIONS:
        return np.asarray(UNITARY[gate.kind])
    paulis = [PAULI[p] for p in ROTATIONS[gate.kind]]
    product = paulis[0] if len(paulis) == 1 else np.kron(*paulis)
    return np.asarray(np.cos(angle / 2) * np.eye(len(product)) - 1j * np.sin(angle / 2) * product)


def homes_of(circuit: Circuit, partition: Partition) -> list[int]:
    """Return where each qubit is at first: the source of its first move, or where its first gate or readout is."""
    homes = list(partition.readout_qpus)
    for index in reversed(range(len(circuit.gates))):
        qubits, qpus = circuit.gates[index].qubits, partition.gate_qpus[index]
        for qubit, qpu in zip(qubits, qpus[::-1] if circuit.gates[index].kind == "swap" else qpus, strict=True):
            homes[qubit] = qpu
        for use in reversed(partition.uses):
            if isinstance(use, Teledata) and use.before == index:
                homes[use.qubit] = use.link[0]
    return homes


def run_protocol(
    circuit: Circuit, partition: Partition, theta: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> Matrix:
    """Run a partition with real pairs, measurements and corrections; SWAPs are done by exchanging names."""
    lab = Lab(circuit.n_qubits, homes_of(circuit, partition))
    angles = iter(theta)
    telegates = [(number, use) for number, use in enumerate(partition.uses) if isinstance(use, Telegate)]
    for index, gate in enumerate((*circuit.gates, None)):
        for number, use in enumerate(partition.uses):
            if isinstance(use, Teledata) and use.before == index:
                teleport(lab, use, weights[number])
            elif isinstance(use, Telegate) and use.gates[0] == index:
                open_copy(lab, use, number, weights[number])
        if gate is None:
            break
        matrix = None if gate.kind == "swap" else unitary(gate, next(angles) if gate.is_rotation else 0.0)
        served = [(number, use) for number, use in telegates if index in use.gates]
        if matrix is None:
            a, b = (lab.labels.index(qubit) for qubit in gate.qubits)
            lab.labels[a], lab.labels[b] = lab.labels[b], lab.labels[a]
            lab.place[gate.qubits[0]], lab.place[gate.qubits[1]] = (lab.place[q] for q in gate.qubits[::-1])
        elif not served:
            lab.apply(matrix, *gate.qubits)
        else:
            ((number, use),) = served
            turn = TO_Z[use.basis]
            lab.apply(turn, ("copy", number))
            lab.apply(matrix, *(("copy", number) if qubit == use.root else qubit for qubit in gate.qubits))
            lab.apply(turn, ("copy", number))
        assert partition.gate_qpus[index] == tuple(lab.place[qubit] for qubit in gate.qubits)
        for number, use in telegates:
            if use.gates[-1] == index:
                close_copy(lab, use, number)
    assert partition.readout_qpus == tuple(lab.place[qubit] for qubit in range(circuit.n_qubits))
    return lab.density(circuit.n_qubits)


CASES: dict[str, tuple[Circuit, dict[str, Any]]] = {
    "shared CNOTs from a root that turns about Z": (
        build(
            3, [*PREPARE, ("cnot", (0, 1)), ("s", (0,)), ("ry", (1,)), ("rz", (0,)), ("cnot", (0, 1)), ("cnot", (0, 2))]
        ),
        {"kind": "qubit", "owner": (0, 1, 1)},
    ),
    "shared CZ and RZZ with a local gate in between": (
        build(3, [*PREPARE, ("cz", (0, 2)), ("rzz", (0, 1)), ("cnot", (0, 1)), ("h", (1,)), ("rzz", (0, 2))]),
        {"kind": "qubit", "owner": (0, 0, 1)},
    ),
    "shared CNOTs onto a root and RXX, in basis X": (
        build(
            3, [*PREPARE, ("cnot", (1, 0)), ("rx", (0,)), ("rxx", (0, 2)), ("ry", (1,)), ("cnot", (1, 0)), ("sx", (0,))]
        ),
        {"kind": "qubit", "owner": (0, 1, 1)},
    ),
    "two open copies of both qubits of a gate": (
        build(3, [*PREPARE, ("rzz", (0, 1)), ("rzz", (2, 1)), ("cz", (0, 2)), ("rzz", (0, 1)), ("cnot", (1, 0))]),
        {"kind": "qubit", "owner": (0, 1, 0)},
    ),
    "shared RYY with a turn about Y in between, in basis Y": (
        build(
            3, [*PREPARE, ("ryy", (0, 1)), ("ry", (0,)), ("rx", (1,)), ("ryy", (2, 0)), ("y", (0,)), ("ryy", (0, 1))]
        ),
        {"kind": "qubit", "owner": (0, 1, 1)},
    ),
    "RYY and SWAP across homes": (
        build(3, [*PREPARE, ("ryy", (0, 2)), ("cz", (0, 1)), ("swap", (2, 1)), ("rx", (2,)), ("ryy", (2, 0))]),
        {"kind": "qubit", "owner": (0, 0, 1)},
    ),
    "layers over two QPUs, there and back": (
        build(3, [*PREPARE, ("cnot", (0, 1)), ("rx", (2,)), ("rzz", (1, 2))], [0] * 6 + [1, 1, 2]),
        {"kind": "layer", "boundaries": (1, 2)},
    ),
}


def check_protocol(circuit: Circuit, partition: Partition, oracle: Callable[..., Matrix], seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-np.pi, np.pi, circuit.n_parameters)
    weights = rng.dirichlet([3, 1, 1, 1], partition.pairs_per_shot)
    correlators = weights @ np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    noise = noiseless(partition)._replace(pair_werner=jnp.asarray(correlators[None]))
    found = run_protocol(circuit, partition, theta, weights)
    expected = oracle(circuit, partition, theta, np.zeros(0), noise, learner=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The case says something only if its pairs matter.
    perfect = oracle(circuit, partition, theta, np.zeros(0), noiseless(partition), learner=0)
    assert not partition.uses or np.abs(perfect - expected).max() > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_pairs_do_what_the_protocols_do(name: str, oracle_density: Callable[..., Matrix]) -> None:
    """Cat-entangler, cat-disentangler and teleportation with faulty pairs equal the definition of a partition."""
    circuit, arguments = CASES[name]
    partition = partition_circuit(circuit, **arguments)
    assert partition.pairs_per_shot > 0
    check_protocol(circuit, partition, oracle_density, seed=1)


@pytest.mark.parametrize("seed", range(12))
def test_random_partitions_do_what_the_protocols_do(seed: int, oracle_density: Callable[..., Matrix]) -> None:
    """All kinds of gates over 2 and 3 QPUs, with homes that suit no circuit, and with moves."""
    circuit = build(3, PREPARE + random_gates(3, 12, seed, TWO + ONE))
    for n_qpus, owner in ((2, (1, 0, 1)), (3, (2, 0, 1))):
        check_protocol(circuit, partition_circuit(circuit, "qubit", n_qpus=n_qpus, owner=owner), oracle_density, seed)
        check_protocol(circuit, partition_circuit(circuit, "auto", n_qpus=n_qpus), oracle_density, seed)


@pytest.mark.parametrize("seed", [3, 5, 8, 11])
def test_moves_and_copies_together_do_what_the_protocols_do(seed: int, oracle_density: Callable[..., Matrix]) -> None:
    circuit = build(4, [*PREPARE, ("ry", (3,)), *random_gates(4, 18, seed, TWO + ONE)])
    partition = partition_circuit(circuit, "auto")
    assert {type(use) for use in partition.uses} == {Telegate, Teledata}
    check_protocol(circuit, partition, oracle_density, seed)


def test_cases_share_copies_as_their_names_say() -> None:
    uses = {name: partition_circuit(circuit, **arguments).uses for name, (circuit, arguments) in CASES.items()}
    copies = {
        name: [(use.root, use.basis, use.gates) for use in found if isinstance(use, Telegate)]
        for name, found in uses.items()
    }
    assert copies["shared CNOTs from a root that turns about Z"] == [(0, "Z", (6, 10, 11))]
    assert copies["shared CZ and RZZ with a local gate in between"] == [(0, "Z", (6, 10))]
    assert copies["shared CNOTs onto a root and RXX, in basis X"] == [(0, "X", (6, 8, 10))]
    assert copies["two open copies of both qubits of a gate"] == [(1, "Z", (6, 7, 9, 10))]
    assert copies["shared RYY with a turn about Y in between, in basis Y"] == [(0, "Y", (6, 9, 11))]
    assert copies["RYY and SWAP across homes"] == [(0, "Y", (6,)), (2, "Y", (10,))]
    moves = [use for use in uses["RYY and SWAP across homes"] if isinstance(use, Teledata)]
    assert [(use.qubit, use.before, use.link) for use in moves] == [(2, 8, (1, 0)), (1, 8, (0, 1))]


def test_data_partition_needs_no_pairs() -> None:
    partition = partition_circuit(hardware_efficient(4, 3), "data")
    assert partition.readout_qpus == (0, 0, 0, 0)
    assert {qpu for qpus in partition.gate_qpus for qpu in qpus} == {0}
    assert (partition.n_qpus, partition.pairs_per_shot) == (1, 0)


@pytest.mark.parametrize(("entangler", "per_layer"), [("chain", 1), ("ring", 2)])
def test_qubit_partition_takes_one_pair_per_crossing_cnot(entangler: str, per_layer: int) -> None:
    """The partition of runs before cuts were searched for: halves, a copy of the control per CNOT, in gate order."""
    circuit = hardware_efficient(4, 3, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, "qubit")
    assert partition.readout_qpus == (0, 0, 1, 1)
    across = [(1, 2), (3, 0)][:per_layer]
    crossing = [index for index, gate in enumerate(circuit.gates) if gate.qubits in across]
    assert partition.uses == tuple(
        Telegate(root=root, basis="Z", gates=(index,), link=(0, 1) if root == 1 else (1, 0))
        for index in crossing
        for root in circuit.gates[index].qubits[:1]
    )
    assert partition.pairs_per_shot == 3 * per_layer


@pytest.mark.parametrize("n_qubits", [2, 3, 5, 6, 8, 13, 16])
@pytest.mark.parametrize("entangler", ["chain", "ring"])
def test_hardware_efficient_circuits_keep_the_first_half_at_home(n_qubits: int, entangler: str) -> None:
    circuit = hardware_efficient(n_qubits, 2, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, "qubit")
    n_own = (n_qubits + 1) // 2
    assert partition.readout_qpus == (0,) * n_own + (1,) * (n_qubits - n_own)
    assert partition_circuit(circuit, "auto").uses == partition.uses
    for use in partition.uses:
        assert isinstance(use, Telegate)
        assert (use.basis, len(use.gates)) == ("Z", 1)
        assert circuit.gates[use.gates[0]].qubits[0] == use.root


def test_layers_are_divided_as_evenly_as_possible() -> None:
    circuit = hardware_efficient(3, 5)
    partition = partition_circuit(circuit, "layer")
    assert partition.pairs_per_shot == 3
    assert {use.link for use in partition.uses} == {(0, 1)}
    layers = {(gate.layer, qpus[0]) for gate, qpus in zip(circuit.gates, partition.gate_qpus, strict=True)}
    assert layers == {(-1, 0), (0, 0), (1, 0), (2, 0), (3, 1), (4, 1)}
    assert partition.readout_qpus == (1, 1, 1)
    over_four = partition_circuit(circuit, "layer", n_qpus=4)
    assert over_four.pairs_per_shot == 9
    assert [use.link for use in over_four.uses[::3]] == [(0, 1), (1, 2), (2, 3)]


def test_encoding_again_moves_with_the_layer_it_is_for() -> None:
    listed: list[tuple[str, tuple[int, ...]]] = [("ry", (0,)), ("rx", (0,)), ("ry", (0,)), ("rx", (0,))]
    partition = partition_circuit(build(1, listed, [-1, 0, -1, 1]), "layer")
    assert partition.gate_qpus == ((0,), (0,), (1,), (1,))
    assert partition.uses == (Teledata(qubit=0, before=2, link=(0, 1)),)


def test_layers_that_are_mixed_are_refused() -> None:
    listed: list[tuple[str, tuple[int, ...]]] = [("ry", (0,)), ("ry", (1,)), ("rx", (0,))]
    with pytest.raises(DomainError, match="layer 1"):
        partition_circuit(build(2, listed, [0, 1, 0]), "layer")


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        ("qubit", {"n_qpus": 1}, "n_qpus"),
        ("qubit", {"capacity": 1}, "capacity"),
        ("data", {"capacity": 3}, "capacity"),
        ("layer", {"capacity": 3}, "capacity"),
        ("layer", {"n_qpus": 4}, "n_qpus"),
        ("layer", {"boundaries": (0, 1)}, "boundaries"),
        ("layer", {"boundaries": (2, 1)}, "boundaries"),
        ("qubit", {"boundaries": (1,)}, "boundaries"),
        ("layer", {"owner": (0, 0, 1, 1)}, "owner"),
        ("auto", {"owner": (0, 0, 1, 1)}, "owner"),
        ("qubit", {"owner": (0, 0, 1)}, "owner"),
        ("qubit", {"owner": (0, 0, 1, 2)}, "owner"),
        ("qubit", {"owner": (0, 0, 0, 1), "capacity": 2}, "owner"),
    ],
)
def test_arguments_that_do_not_fit_are_named(kind: str, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(DomainError, match=f"Argument `{named}`"):
        partition_circuit(hardware_efficient(4, 3), kind, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["qubit", "auto"])
def test_one_qubit_cannot_be_cut(kind: str) -> None:
    with pytest.raises(DomainError, match="at least 2 qubits"):
        partition_circuit(hardware_efficient(1, 1), kind)  # type: ignore[arg-type]


def test_unknown_partition_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown partition `qubits`"):
        partition_circuit(hardware_efficient(2, 1), "qubits")  # type: ignore[arg-type]


def test_counts_are_those_of_the_partitions() -> None:
    circuit = build(4, random_gates(4, 30, 5, TWO + ONE), [0] * 15 + [1] * 15)
    rows = count_pairs(circuit)
    assert [row.kind for row in rows] == ["data", "layer", "qubit", "qubit", "auto", "auto"]
    for row in rows:
        uses = partition_circuit(circuit, row.kind, sharing=row.is_sharing).uses
        assert row.telegates == sum(isinstance(use, Telegate) for use in uses)
        assert row.teledata == sum(isinstance(use, Teledata) for use in uses)
        assert row.is_optimal
    assert [row.pairs for row in rows[:2]] == [0, 4]
    assert [row.kind for row in count_pairs(hardware_efficient(1, 1))] == ["data"]


def test_partitions_are_hashable_values() -> None:
    circuit = hardware_efficient(4, 2)
    kinds = ("data", "layer", "qubit")
    made = [[partition_circuit(circuit, kind) for kind in kinds] for _ in range(2)]  # type: ignore[arg-type]
    assert made[0] == made[1]
    assert len(set(itertools.chain(*made))) == 3


def test_noise_of_a_processor_is_that_of_its_node() -> None:
    partition = partition_circuit(hardware_efficient(4, 1, "chain"), "qubit")
    noise = node_noise(
        partition,
        one_qubit_error=[0.1, 0.2, 0.3],
        two_qubit_error=[0.4, 0.5, 0.6],
        readout_error=[0.0, 0.25, 0.5],
        lender=[2, 0, 1],
        pair_werner=[0.7, 0.8, 0.9],
    )
    np.testing.assert_allclose(noise.one_qubit_error, [[0.1, 0.3], [0.2, 0.1], [0.3, 0.2]])
    np.testing.assert_allclose(noise.two_qubit_error[0], [0.4, 0.6])
    np.testing.assert_allclose(noise.readout_error[1], [0.25, 0.0])
    np.testing.assert_allclose(noise.pair_werner, [[0.7], [0.8], [0.9]])


def test_data_partition_uses_the_own_node_only() -> None:
    partition = partition_circuit(hardware_efficient(2, 1), "data")
    noise = node_noise(partition, one_qubit_error=[0.1, 0.2], two_qubit_error=[0, 0], readout_error=[0, 0])
    np.testing.assert_allclose(noise.one_qubit_error, [[0.1], [0.2]])
    assert noise.pair_werner.shape == (2, 0)


def test_noiseless_table_has_perfect_pairs() -> None:
    partition = partition_circuit(hardware_efficient(4, 2), "qubit")
    noise = noiseless(partition, 3)
    assert noise.pair_werner.shape == (3, 4)
    assert float(noise.pair_werner.min()) == 1.0
    assert max(float(array.max()) for array in noise[:3]) == 0.0


@pytest.mark.parametrize(
    "changed",
    [
        {"one_qubit_error": [0.8, 0.0]},
        {"readout_error": [0.0, 0.6]},
        {"two_qubit_error": [0.0]},
        {"two_qubit_error": 0.1},
        {"lender": None},
        {"lender": [0, 2]},
        {"lender": [1]},
        {"pair_werner": [1.1, 0.5]},
        {"pair_werner": [0.5, 0.5, 0.5]},
        {"pair_werner": float("nan")},
    ],
)
def test_values_outside_their_domain_are_refused(changed: dict[str, object]) -> None:
    partition = partition_circuit(hardware_efficient(4, 1), "qubit")
    arguments: dict[str, object] = {
        "one_qubit_error": [0.0, 0.0],
        "two_qubit_error": [0.0, 0.0],
        "readout_error": [0.0, 0.0],
        "lender": [1, 0],
    }
    node_noise(partition, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DomainError):
        node_noise(partition, **{**arguments, **changed})  # type: ignore[arg-type]
