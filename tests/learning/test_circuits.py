import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit, Gate, hardware_efficient


def test_ring_layer_is_rotations_then_cnots_in_order() -> None:
    circuit = hardware_efficient(3, 2, "ring")
    second = [(g.kind, g.qubits, g.parameter) for g in circuit.gates if g.layer == 1]
    rotations = [(kind, (q,), 6 + 2 * q + i) for q in range(3) for i, kind in enumerate(("ry", "rz"))]
    cnots = [("cnot", pair, -1) for pair in [(0, 1), (1, 2), (2, 0)]]
    assert second == rotations + cnots
    assert circuit.n_parameters == 12


def test_chain_entangles_even_pairs_then_odd_pairs() -> None:
    assert hardware_efficient(5, 1, "chain").cnots == ((0, 1), (2, 3), (1, 2), (3, 4))


@pytest.mark.parametrize("entangler", ["ring", "chain"])
def test_one_qubit_has_no_cnots(entangler: str) -> None:
    assert hardware_efficient(1, 2, entangler).cnots == ()  # type: ignore[arg-type]


def test_errors_follow_cnots_and_the_last_rotation_of_a_qubit_in_a_layer() -> None:
    circuit = hardware_efficient(2, 2, "chain")
    assert circuit.has_error == (False, True, False, True, True) * 2


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
        ((Gate(kind="ry", qubits=(0,), parameter=0, layer=0), Gate(kind="rz", qubits=(0,), parameter=0, layer=0)), 1),
        ((Gate(kind="ry", qubits=(0,), parameter=1, layer=0),), 2),
        ((Gate(kind="ry", qubits=(2,), parameter=0, layer=0),), 1),
        ((Gate(kind="cnot", qubits=(1, 1), layer=0),), 0),
        ((Gate(kind="cnot", qubits=(0,), layer=0),), 0),
        ((Gate(kind="cnot", qubits=(0, 1), parameter=0, layer=0),), 0),
    ],
)
def test_malformed_gates_are_refused(gates: tuple[Gate, ...], n_parameters: int) -> None:
    with pytest.raises(DomainError, match="Argument `gates`"):
        Circuit(n_qubits=2, gates=gates, n_parameters=n_parameters)
