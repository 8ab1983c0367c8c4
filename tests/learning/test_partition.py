import numpy as np
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import hardware_efficient
from ceas.learning.noise import node_noise, noiseless
from ceas.learning.partition import partition_circuit


def test_data_partition_needs_no_pairs() -> None:
    partition = partition_circuit(hardware_efficient(4, 3), "data")
    assert partition.owner == (0, 0, 0, 0)
    assert partition.pairs_per_shot == 0
    assert partition.remote_gates == ()


@pytest.mark.parametrize(("entangler", "per_layer"), [("chain", 1), ("ring", 2)])
def test_qubit_partition_takes_one_pair_per_crossing_cnot(entangler: str, per_layer: int) -> None:
    circuit = hardware_efficient(4, 3, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, "qubit")
    assert partition.owner == (0, 0, 1, 1)
    assert partition.pairs_per_shot == 3 * per_layer
    crossing = [circuit.gates[index].qubits for index in partition.remote_gates]
    assert set(crossing) == ({(1, 2)} if entangler == "chain" else {(1, 2), (3, 0)})
    assert [partition.pair_index[index] for index in partition.remote_gates] == list(range(3 * per_layer))


def test_an_odd_circuit_keeps_the_larger_half() -> None:
    assert partition_circuit(hardware_efficient(5, 1), "qubit").owner == (0, 0, 0, 1, 1)


def test_one_qubit_cannot_be_cut() -> None:
    with pytest.raises(DomainError, match="at least 2 qubits"):
        partition_circuit(hardware_efficient(1, 1), "qubit")


def test_unknown_partition_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown partition `qubits`"):
        partition_circuit(hardware_efficient(2, 1), "qubits")  # type: ignore[arg-type]


def test_noise_of_a_qubit_is_that_of_the_node_that_holds_it() -> None:
    partition = partition_circuit(hardware_efficient(4, 1, "chain"), "qubit")
    noise = node_noise(
        partition,
        one_qubit_error=[0.1, 0.2, 0.3],
        two_qubit_error=[0.4, 0.5, 0.6],
        readout_error=[0.0, 0.25, 0.5],
        lender=[2, 0, 1],
        pair_werner=[0.7, 0.8, 0.9],
    )
    np.testing.assert_allclose(
        noise.one_qubit_error, [[0.1, 0.1, 0.3, 0.3], [0.2, 0.2, 0.1, 0.1], [0.3, 0.3, 0.2, 0.2]]
    )
    np.testing.assert_allclose(noise.two_qubit_error[0], [0.4, 0.4, 0.6, 0.6])
    np.testing.assert_allclose(noise.readout_error[1], [0.25, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(noise.pair_werner, [[0.7], [0.8], [0.9]])


def test_data_partition_uses_the_own_node_only() -> None:
    partition = partition_circuit(hardware_efficient(2, 1), "data")
    noise = node_noise(partition, one_qubit_error=[0.1, 0.2], two_qubit_error=[0, 0], readout_error=[0, 0])
    np.testing.assert_allclose(noise.one_qubit_error, [[0.1, 0.1], [0.2, 0.2]])
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
