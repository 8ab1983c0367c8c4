import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.learning import ansatz
from ceas.learning.ansatz import data_reuploading, hardware_efficient, iqp
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.drawing import draw_circuit, first_qpus
from ceas.learning.partition import Teledata, Telegate, partition_circuit


def test_a_drawing_shows_every_gate_in_order() -> None:
    assert draw_circuit(hardware_efficient(3, 1)).splitlines() == [
        "q0: ─RY(x0)─RY(θ0)─RZ(θ1)─╭●────╭⊕─",
        "q1: ─RY(x1)─RY(θ2)─RZ(θ3)─╰⊕─╭●─│──",
        "q2: ─RY(x2)─RY(θ4)─RZ(θ5)────╰⊕─╰●─",
    ]


def test_symbols_of_all_gates_and_angles() -> None:
    gates = [
        *(Gate(kind=k, qubits=(0,), layer=0) for k in ("h", "s", "sdg", "sx", "sxdg")),  # type: ignore[arg-type]
        Gate(kind="rx", qubits=(1,), angle=(Term(-np.pi / 2, 0, (0, 1)), Term(0.5), Term(-0.123456, 1)), layer=0),
        Gate(kind="rzz", qubits=(1, 0), angle=(Term(np.pi),), layer=0),
        Gate(kind="swap", qubits=(0, 1), layer=0),
    ]
    circuit = Circuit(n_qubits=2, gates=tuple(gates), n_parameters=2, n_features=2)
    assert draw_circuit(circuit).splitlines() == [
        "q0: ─H───────────────────────────────S─S†─√X─√X†─╭RZZ(π)─╭×─",
        "q1: ─RX(-π/2·θ0·x0·x1+1/2-0.1235·θ1)─────────────╰RZZ────╰×─",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_drawings_wrap_to_their_width(width: int) -> None:
    for circuit in (hardware_efficient(5, 6, "all_to_all"), data_reuploading(3, 3), iqp(4, 3)):
        drawing = draw_circuit(circuit, width=width)
        assert max(map(len, drawing.splitlines())) <= width
        assert set(re.findall(r"θ(\d+)", drawing)) == {str(p) for p in range(circuit.n_parameters)}
        blocks = drawing.split("\n\n")
        assert all(block.count("\n") == circuit.n_qubits - 1 for block in blocks)
        assert drawing.count("●") + drawing.count("⊕") == 2 * sum(g.kind in ("cnot", "cz") for g in circuit.gates)


def test_pairs_of_a_partition_are_marked_and_listed() -> None:
    circuit = hardware_efficient(2, 1)
    drawing = draw_circuit(circuit, partition_circuit(circuit, "qubit")).splitlines()
    assert drawing[0] == "q0 @ QPU 0: ─RY(x0)─RY(θ0)─RZ(θ1)─╭●«0»─╭⊕«1»─"
    assert drawing[1] == "q1 @ QPU 1: ─RY(x1)─RY(θ2)─RZ(θ3)─╰⊕────╰●────"
    assert drawing[3:] == [
        "pair 0: copies q0 in Z from QPU 0 to QPU 1 for 1 gate",
        "pair 1: copies q1 in Z from QPU 1 to QPU 0 for 1 gate",
    ]


def test_qubits_that_a_swap_exchanges_begin_where_they_were() -> None:
    gates = [Gate(kind="ry", qubits=(q,), angle=(Term(parameter=q),), layer=0) for q in range(4)]
    pairs = ((0, 1), (2, 3), (0, 2), (1, 3))
    gates += [Gate(kind="cnot", qubits=pair, layer=0) for pair in pairs[:2]]
    gates += [Gate(kind="swap", qubits=(1, 2), layer=0)]
    gates += [Gate(kind="cnot", qubits=pair, layer=0) for pair in pairs[2:]]
    circuit = Circuit(n_qubits=4, gates=tuple(gates), n_parameters=4, n_features=0)
    partition = partition_circuit(circuit, "auto")
    assert partition.pairs_per_shot == 0
    assert partition.readout_qpus == (0, 1, 0, 1)
    assert first_qpus(circuit, partition) == [0, 0, 1, 1] == [qpus[0] for qpus in partition.gate_qpus[:4]]
    assert "q2 @ QPU 1" in draw_circuit(circuit, partition)


def test_moves_and_shared_copies_are_marked() -> None:
    gates = [Gate(kind="cz", qubits=(0, q), layer=0) for q in (1, 2)]
    circuit = Circuit(n_qubits=3, gates=tuple(gates), n_parameters=0, n_features=0)
    uses = (
        Telegate(root=0, basis="Z", gates=(0, 1), link=(0, 1)),
        Teledata(qubit=0, before=2, link=(0, 1)),
    )
    partition = replace(
        partition_circuit(circuit), n_qpus=2, gate_qpus=((0, 1), (0, 1)), readout_qpus=(1, 1, 1), uses=uses
    )
    assert draw_circuit(circuit, partition).splitlines() == [
        "q0 @ QPU 0: ─╭●«0»─╭●«0»─→1 «1»─",
        "q1 @ QPU 1: ─╰●────│────────────",
        "q2 @ QPU 1: ───────╰●───────────",
        "",
        "pair 0: copies q0 in Z from QPU 0 to QPU 1 for 2 gates",
        "pair 1: moves q0 from QPU 0 to QPU 1",
    ]


def test_a_circuit_without_gates_is_bare_lines() -> None:
    assert draw_circuit(Circuit(n_qubits=2, gates=(), n_parameters=0, n_features=0)) == "q0: ─\nq1: ─"


DOCS = Path(__file__).parents[2] / "docs" / "circuits.md"


def test_pictures_of_the_documentation_are_current() -> None:
    names = {**vars(ansatz), "draw_circuit": draw_circuit, "partition_circuit": partition_circuit}
    pictures = re.findall(r"```python\n(draw_circuit[^\n]*)\n```\n```text\n(.*?)\n```", DOCS.read_text(), re.DOTALL)
    assert len(pictures) == 7
    for call, picture in pictures:
        assert eval(call, names) == picture


def test_examples_of_the_documentation_run() -> None:
    blocks = re.findall(r"```python\n(.*?)\n```", DOCS.read_text(), re.DOTALL)
    examples = [block for block in blocks if "import" in block]
    assert len(examples) == 4
    for example in examples:
        names: dict[str, Any] = {}
        exec(example, names)
        circuit = names["imported"].circuit if "imported" in names else names["circuit"]
        circuit = circuit() if callable(circuit) else circuit
        assert circuit.gates[0].layer == -1
