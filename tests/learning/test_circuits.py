import math

import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.ansatz import Entangler, hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term


def test_ring_layer_is_rotations_then_cnots_in_order() -> None:
    circuit = hardware_efficient(3, 2, "ring")
    second = [(g.kind, g.qubits, g.parameters) for g in circuit.gates if g.layer == 1]
    rotations = [(kind, (q,), (6 + 2 * q + i,)) for q in range(3) for i, kind in enumerate(("ry", "rz"))]
    cnots = [("cnot", pair, ()) for pair in [(0, 1), (1, 2), (2, 0)]]
    assert second == rotations + cnots
    assert circuit.n_parameters == 12


def two_qubit_gates(circuit: Circuit) -> list[tuple[int, ...]]:
    return [gate.qubits for gate in circuit.gates if len(gate.qubits) == 2]


def test_chain_entangles_even_pairs_then_odd_pairs() -> None:
    assert two_qubit_gates(hardware_efficient(5, 1, "chain")) == [(0, 1), (2, 3), (1, 2), (3, 4)]


@pytest.mark.parametrize("entangler", ["ring", "chain", "brickwork", "all_to_all"])
def test_one_qubit_has_no_cnots(entangler: Entangler) -> None:
    assert hardware_efficient(1, 2, entangler).n_two_qubit_gates == 0


def test_depth_counts_moments() -> None:
    """Two encoders and rotations side by side are 1 + 2 moments, a ring of 3 is 3 moments of CNOTs."""
    assert hardware_efficient(3, 2).depth == 1 + 2 * (2 + 3)
    assert hardware_efficient(4, 1, "brickwork").depth == 4
    assert Circuit(n_qubits=2, gates=(), n_parameters=0, n_features=0).depth == 0


def test_shifting_a_parameter_is_exact_where_it_turns_one_rotation_by_itself() -> None:
    def ry(*terms: Term) -> Gate:
        return Gate(kind="ry", qubits=(0,), angle=terms, layer=0)

    gates = (
        ry(Term(parameter=0)),
        ry(Term(-1.0, 1), Term(features=(0,))),
        ry(Term(0.5, 2)),
        ry(Term(1.0, 3, (0,))),
        ry(Term(1.0, 4)),
        ry(Term(1.0, 4)),
        ry(Term(1.0, 5), Term(1.0, 5, (0,))),
    )
    circuit = Circuit(n_qubits=1, gates=gates, n_parameters=6, n_features=1)
    assert circuit.is_shift_exact == (True, True, False, False, False, False)


def test_errors_follow_cnots_and_the_last_rotation_of_a_qubit_in_a_layer() -> None:
    circuit = hardware_efficient(2, 2, "chain")
    assert circuit.has_error == (False, False) + (False, True, False, True, True) * 2


def test_equal_circuits_are_one_key() -> None:
    one, other = hardware_efficient(3, 2), hardware_efficient(3, 2)
    assert one is not other
    assert {one: 1}[other] == 1
    assert one != hardware_efficient(3, 2, "chain")


def test_unknown_entangler_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean `ring`"):
        hardware_efficient(3, 1, "rings")  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_qubits", "n_layers"), [(0, 1), (2, 0)])
def test_sizes_below_one_are_refused(n_qubits: int, n_layers: int) -> None:
    with pytest.raises(DomainError):
        hardware_efficient(n_qubits, n_layers)


@pytest.mark.parametrize(
    ("gates", "n_parameters"),
    [
        ((Gate(kind="ry", qubits=(0,), angle=(Term(1.0, 0), Term(2.0, 0)), layer=0),), 1),
        ((Gate(kind="ry", qubits=(0,), angle=(Term(1.0, 0, (2,)),), layer=0),), 1),
        ((Gate(kind="ry", qubits=(0,), angle=(Term(1.0, -2),), layer=0),), 0),
        ((Gate(kind="ry", qubits=(0,), layer=0),), 0),
        ((Gate(kind="h", qubits=(0,), layer=-2),), 0),
        ((Gate(kind="t", qubits=(0,), layer=0),), 0),  # type: ignore[arg-type]
        ((Gate(kind="ry", qubits=(0,), angle=(Term(parameter=1),), layer=0),), 2),
        ((Gate(kind="ry", qubits=(2,), angle=(Term(parameter=0),), layer=0),), 1),
        ((Gate(kind="cnot", qubits=(1, 1), layer=0),), 0),
        ((Gate(kind="cnot", qubits=(0,), layer=0),), 0),
        ((Gate(kind="cnot", qubits=(0, 1), angle=(Term(parameter=0),), layer=0),), 0),
        ((Gate(kind="rx", qubits=(0,), angle=(Term(math.inf, 0),), layer=0),), 1),
        ((Gate(kind="rx", qubits=(0,), angle=(Term(math.nan),), layer=0),), 0),
    ],
)
def test_malformed_gates_are_refused(gates: tuple[Gate, ...], n_parameters: int) -> None:
    with pytest.raises(DomainError, match="Argument `gates`"):
        Circuit(n_qubits=2, gates=gates, n_parameters=n_parameters, n_features=2)
