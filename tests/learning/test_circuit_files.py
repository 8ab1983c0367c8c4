"""Circuits from files, as scenarios name them, and what a classifier reads of an imported circuit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.learning.circuit_files import qasm_file
from ceas.learning.import_qasm import from_qasm
from ceas.learning.imported import measured_first
from ceas.learning.noise import noiseless
from ceas.learning.partition import partition_circuit

PROGRAM = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] x_0;
input array[float[64], 3] theta;
qubit[3] q;
ry(x_0) q[0];
for int k in [0:2] { ry(theta[k]) q[k]; }
cx q[0], q[1];
rzz(0.3) q[2], q[0];
bit[2] c;
c[0] = measure q[2];
c[1] = measure q[1];
"""


def program(folder: Path, text: str) -> str:
    path = folder / "circuit.qasm"
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_is_what_its_text_says_with_measured_qubits_first(
    tmp_path: Path, oracle_density: Callable[..., Any]
) -> None:
    imported = from_qasm(PROGRAM, parameters=["theta"], inputs=["x_0"])
    assert imported.observables == (2, 1)
    circuit = qasm_file(program(tmp_path, PROGRAM))
    assert circuit == measured_first(imported)
    theta, x = np.array([0.3, -0.8, 1.1]), np.array([0.4])
    before, after = (
        oracle_density(one, partition_circuit(one), theta, x, noiseless(partition_circuit(one)), learner=0)
        for one in (imported.circuit, circuit)
    )
    tensor = before.reshape((2,) * 6).transpose(2, 1, 0, 5, 4, 3)  # qubits 2, 1, 0
    np.testing.assert_allclose(after, tensor.reshape(8, 8), atol=1e-14)


def test_a_file_without_measurements_keeps_its_order(tmp_path: Path) -> None:
    text = PROGRAM[: PROGRAM.index("bit[2]")]
    assert qasm_file(program(tmp_path, text)) == from_qasm(text, parameters=["theta"], inputs=["x_0"]).circuit


def test_inputs_may_be_named_otherwise(tmp_path: Path) -> None:
    path = program(tmp_path, "input float w; input float pixel; qubit q; rx(w * pixel) q;")
    circuit = qasm_file(path, parameters=["w"], inputs=["pix*"])
    assert (circuit.n_parameters, circuit.n_features) == (1, 1)


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=r"none\.qasm cannot be read"):
        qasm_file(str(tmp_path / "none.qasm"))
    (tmp_path / "binary.qasm").write_bytes(b"\xff\xfe")
    with pytest.raises(DomainError, match=r"binary\.qasm cannot be read"):
        qasm_file(str(tmp_path / "binary.qasm"))
    with pytest.raises(DomainError, match=r"circuit\.qasm: OpenQASM line 8: a circuit must do without BranchingStat"):
        qasm_file(program(tmp_path, PROGRAM.replace("cx q[0], q[1];", "if (true) { x q[0]; }")))
    with pytest.raises(DomainError, match=r"circuit\.qasm: .* must name a declared input"):
        qasm_file(program(tmp_path, "qubit q; h q;"))
