"""Tables of nodes: closed forms of relaxation, lenders, and what is refused."""

from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.noise import node_noise
from ceas.learning.partition import Partition, partition_circuit

CIRCUIT = hardware_efficient(2, 1)
PARTITION = partition_circuit(CIRCUIT, "qubit")
ERRORS: dict[str, Any] = {
    "one_qubit_error": [0.1, 0.2, 0.3],
    "two_qubit_error": [0.0, 0.0, 0.1],
    "readout_error": [0.0, 0.1, 0.2],
}


def on_three() -> Partition:
    gate_qpus = tuple(tuple(0 for _ in gate.qubits) for gate in CIRCUIT.gates)
    return Partition(kind="qubit", n_qpus=3, gate_qpus=gate_qpus, readout_qpus=(0, 2), uses=())


def test_several_lenders_bring_their_errors() -> None:
    table = node_noise(on_three(), **ERRORS, lender=[[1, 2], [0, 2], [2, 2]])
    errors = np.asarray(table.one_qubit_error)
    np.testing.assert_allclose(errors, [[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.3, 0.3, 0.3]], rtol=1e-6)
    assert table.relaxation is None
    single = node_noise(PARTITION, **ERRORS, lender=[1, 2, 0])
    np.testing.assert_allclose(single.two_qubit_error, [[0.0, 0.0], [0.0, 0.1], [0.1, 0.0]], rtol=1e-6)


def test_relaxation_is_exponential_in_the_time_of_the_gate() -> None:
    table = node_noise(
        PARTITION,
        **ERRORS,
        lender=[1, 2, 0],
        relaxation_time_s=[1e-4, 2e-4, np.inf],
        dephasing_time_s=5e-5,
        one_qubit_gate_time_s=2e-8,
        two_qubit_gate_time_s=[3e-7, 3e-7, 1e-6],
        excited_population=[0.0, 0.02, 0.5],
    )
    assert table.relaxation is not None
    relaxation = np.asarray(table.relaxation)
    assert relaxation.shape == (3, 2, 2, 3)
    np.testing.assert_allclose(relaxation[0, 0, 0], [np.exp(-2e-8 / 5e-5), np.exp(-2e-8 / 1e-4), 1.0], rtol=1e-6)
    np.testing.assert_allclose(relaxation[0, 1, 1], [np.exp(-3e-7 / 5e-5), np.exp(-3e-7 / 2e-4), 0.96], rtol=1e-6)
    np.testing.assert_allclose(relaxation[2, 0, 1], [np.exp(-1e-6 / 5e-5), 1.0, 0.0], rtol=1e-6)


def test_without_dephasing_of_its_own_coherence_lives_twice_as_long() -> None:
    table = node_noise(PARTITION, **ERRORS, lender=[1, 2, 0], relaxation_time_s=1e-4, two_qubit_gate_time_s=1e-5)
    assert table.relaxation is not None
    np.testing.assert_allclose(table.relaxation[:, :, 1, 0] ** 2, table.relaxation[:, :, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(table.relaxation[:, :, 0, :2], np.ones((3, 2, 2)))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"relaxation_time_s": 1.0, "dephasing_time_s": 2.5}, "T2 <= 2 T1"),
        ({"relaxation_time_s": 0.0}, "T1"),
        ({"relaxation_time_s": [1.0, 2.0]}, "relaxation_time_s"),
        ({"dephasing_time_s": 1.0, "one_qubit_gate_time_s": -1.0}, "Gate times"),
        ({"dephasing_time_s": 1.0, "excited_population": 1.5}, "excited_population"),
        ({"readout_error": [[0.6, 0.5]] * 3}, "readout_error"),
        ({"readout_error": [[0.1, 0.1, 0.1]] * 3}, "readout_error"),
        ({"lender": [[1, 2], [0, 2], [1, 0]]}, "lender"),
        ({"lender": None}, "lender"),
        ({"one_qubit_error": [0.1, 0.2]}, "one value per node"),
    ],
)
def test_impossible_nodes_are_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(DomainError, match=name):
        node_noise(PARTITION, **({**ERRORS, "lender": [1, 2, 0]} | wrong))


def test_uneven_readout_keeps_both_probabilities() -> None:
    table = node_noise(PARTITION, **{**ERRORS, "readout_error": [[0.0, 0.1], [0.2, 0.3], [0.4, 0.5]]}, lender=[1, 2, 0])
    assert table.readout_error.shape == (3, 2, 2)
    np.testing.assert_allclose(table.readout_error[1], [[0.2, 0.3], [0.4, 0.5]], rtol=1e-6)
