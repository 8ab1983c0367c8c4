"""`ceas circuit`: what it prints of a scenario's circuit, what it writes, and how mistakes end."""

import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ceas.cli import app
from ceas.experiments.assemble import assemble_model
from ceas.experiments.scenario import load_scenario
from ceas.learning.import_qasm import from_qasm

CSV = "width,length,kind\n" + "".join(f"{i % 7},{i % 5},{'xy'[i % 2]}\n" for i in range(60))
BROKEN_QASM = "OPENQASM 3.0;\ninput float[64] theta_0;\ninput float[64] x_0;\nqubit[1] q;\nfoo(theta_0 + x_0) q[0];\n"


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def settings(text: str) -> list[str]:
    return [part for one in text.split() for part in ("--set", one)]


@pytest.fixture(autouse=True)
def in_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text(CSV)
    Path("broken.qasm").write_text(BROKEN_QASM)


def test_it_prints_drawing_counts_partitions_and_engines() -> None:
    done = call("circuit", "quickstart")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "quickstart: hardware_efficient"
    assert lines[2].startswith("q0 @ QPU 0: ─RY(x0)─RY(θ0)─RZ(θ1)─╭●─")
    assert "pair 2: copies q1 in Z from QPU 0 to QPU 1 for 1 gate" in lines
    found = {line.split("  ")[1].strip(): line.split("  ")[-1].strip() for line in lines[::-1] if line[:2] == "  "}
    assert found["qubits"] == "4"
    assert found["parameters"] == "24"
    assert found["gates"] == "37: 16 ry, 12 rz, 9 cnot"
    assert found["two-qubit gates"] == "9"
    assert found["depth"] == "13"
    assert found["partition"] == "qubit: q0, q1 on QPU 0; q2, q3 on QPU 1; 3 telegates a shot"
    assert found["Bell pairs a shot"] == "3"
    kinds = [line.split()[:2] for line in lines if line.startswith(("  data ", "  layer ", "  qubit ", "  auto "))]
    assert kinds == [["data", "0"], ["layer", "4"], ["qubit", "3"], ["qubit", "3"], ["auto", "3"], ["auto", "3"]]
    assert sum("this one" in line for line in lines) == 1
    assert any(line.startswith("loss, gradient and accuracy without noise: heisenberg is predicted") for line in lines)
    assert max(map(len, lines)) <= 120


def test_a_drawing_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("ceas.cli.circuits.sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    from ceas.cli.circuits import _width

    assert _width() == 69
    monkeypatch.setenv("COLUMNS", "3")
    assert _width() == 40


def test_json_is_one_document_with_the_same_facts() -> None:
    done = call("circuit", "quickstart", *settings("circuit.partition=layer circuit.n_qubits=5"), "--json")
    found = json.loads(done.stdout)
    assert (
        found["scenario_id"]
        == load_scenario("quickstart", ["circuit.partition=layer", "circuit.n_qubits=5"]).scenario_id
    )
    assert found["circuit"]["gates"] == {"ry": 20, "rz": 15, "cnot": 12}
    assert found["partition"] == {
        "kind": "layer",
        "qpus": 2,
        "first_qpus": [0] * 5,
        "readout_qpus": [1] * 5,
        "telegates": 0,
        "teledata": 5,
        "pairs_per_shot": 5,
    }
    assert {row["engine"] for row in found["engines"]} == {"heisenberg"}
    for row in found["engines"]:
        assert set(row["seconds"]) == set(row["bytes"]) == {"heisenberg", "trajectories"}
        assert min(row["seconds"].values()) > 0


def test_what_is_around_the_circuit_is_told() -> None:
    dressed = settings("circuit.ansatz=dressed_core circuit.is_dressed=true circuit.readout=linear data.n_features=20")
    shown = call("circuit", "quickstart", *dressed).stdout
    assert "4, made from 20 features by a trained layer" in shown
    # 20 x 4 weights and 4 biases in front, 4 x 4 weights and 4 biases behind.
    assert "12, and 104 of layers around the circuit" in shown
    assert "heisenberg alone has the gradient of a dressed circuit." in shown
    states = call("circuit", "quickstart", *settings("data.dataset=ising_chain")).stdout
    assert "none, the samples are states" in states


def test_qasm_is_written_and_read_back(tmp_path: Path) -> None:
    chosen = "circuit.ansatz=iqp circuit.n_layers=2"
    done = call("circuit", "quickstart", *settings(chosen), "--qasm", "out.qasm")
    assert done.stdout.splitlines()[-1] == "OpenQASM 3: out.qasm"
    model = assemble_model(load_scenario("quickstart", chosen.split()))
    first = model.circuit.gates[0].layer
    back = from_qasm(Path("out.qasm").read_text(), parameters=["theta_*"], inputs=["x_*"], first_layer=first)
    assert back.circuit == model.circuit
    assert back.observables == model.observables
    # The file is a circuit for a scenario too.
    again = settings("circuit.ansatz=qasm circuit.parameters.path=out.qasm")
    assert json.loads(call("circuit", "quickstart", *again, "--json").stdout)["circuit"]["two_qubit_gates"] == sum(
        len(gate.qubits) == 2 for gate in model.circuit.gates
    )


def test_qasm_that_cannot_be_written_is_told() -> None:
    done = call("circuit", "quickstart", "--qasm", "no/such/folder.qasm")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: Option `--qasm` must name a file that can be written, but is no/such/folder.qasm: "
        "No such file or directory.\n"
    )


def test_qasm_is_there_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("real.qasm").write_text("before")
    Path("link.qasm").symlink_to("real.qasm")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", fail)
        done = call("circuit", "quickstart", "--qasm", "link.qasm")
    assert done.exit_code == 2
    assert done.stderr.endswith("but is link.qasm: No space left on device.\n")
    assert Path("real.qasm").read_text() == "before"
    assert not list(Path().glob(".*"))
    assert call("circuit", "quickstart", "--qasm", "link.qasm").exit_code == 0
    assert Path("link.qasm").is_symlink()
    assert Path("real.qasm").read_text().startswith("OPENQASM 3")
    # A pipe is written to and stays one.
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(Path("pipe").read_text)
        assert call("circuit", "quickstart", "--qasm", "pipe").exit_code == 0
        assert reading.result(60) == Path("real.qasm").read_text()
    assert Path("pipe").is_fifo()


MISTAKES = {
    "circuit.ansatz=iqpp": 'circuit.ansatz: found "iqpp" (string), must be one of hardware_efficient, ',
    "circuit.ansatz=iqp circuit.parameters.n_repeats=0": "circuit.parameters.n_repeats: must be at least 1, but is 0",
    "circuit.ansatz=iqp circuit.parameters.n_repeats=x": 'circuit.parameters.n_repeats: found "x" (string), must be a',
    "circuit.ansatz=iqp circuit.parameters.repeats=2": "circuit.parameters.repeats: unknown parameter of ansatz `iqp`",
    "circuit.ansatz=strongly_entangling circuit.parameters.gate=swap": "circuit: unknown gate `swap`. Known: cnot, cz.",
    "circuit.ansatz=qasm": "circuit.parameters.path: missing, ansatz qasm needs an OpenQASM file",
    "circuit.ansatz=qasm circuit.parameters.path=broken.qasm circuit.parameters.inputs=3": (
        "circuit.parameters.inputs: found 3 (integer), must be a list of strings"
    ),
    "circuit.ansatz=qasm circuit.parameters.path=broken.qasm circuit.parameters.parameters=true": (
        "circuit.parameters.parameters: found true (boolean), must be a list of strings"
    ),
    "circuit.ansatz=qasm circuit.parameters.path=broken.qasm circuit.parameters.parameters=[1]": (
        "circuit.parameters.parameters: found [1] (list), must be a list of strings"
    ),
    "data.dataset=file data.classes=[0,1] data.parameters.path=own.csv data.parameters.drop_columns=3": (
        "data.parameters.drop_columns: found 3 (integer), must be a list"
    ),
    "circuit.ansatz=qasm circuit.parameters.path=no.qasm": "circuit.parameters.path: cannot read ",
    "circuit.ansatz=qasm circuit.parameters.path=broken.qasm": "circuit: ",
    "circuit.partition=layer circuit.n_layers=1": "circuit.partition: found layer, but a single layer cannot be cut",
    "circuit.partition=qbit": 'circuit.partition: found "qbit" (string), must be one of qubit, layer, auto, data; ',
    "circuit.readout=sign": "circuit.readout: found sign, which tells two classes apart, but data.classes has 4",
    "data.n_features=6": "data.n_features: found 6, must be 4, the inputs of hardware_efficient, or circuit.is_dressed",
    "data.dataset=wine data.n_features=14 circuit.n_qubits=14": "data.n_features: must be in [1, 13] (features), but",
    "data.dataset=file": "data.classes: missing, must be a list of integers >= 0, at least 2 long",
    "data.dataset=file data.classes=[0,1] data.parameters.path=own.csv data.parameters.label_column=knd": (
        "data: {folder}/own.csv, line 1: there must be one column `knd`, but there are 0. Did you mean `kind`?"
    ),
    "data.dataset=file data.classes=[0,5] data.parameters.path=own.csv": (
        "data.classes: must be two or more different labels of file, in [0, 1], but is [0, 5]"
    ),
    "data.dataset=ising_chain circuit.ansatz=data_reuploading": "circuit: Argument `circuit` must use its inputs",
    "data.test_fraction=0.999 data.validation_fraction=0.0001": "data: Arguments `test_fraction` and `validation_",
    "learning.gradient_method=spa": 'learning.gradient_method: found "spa" (string), must be one of parameter_shift, ',
    "learning.natural_damping=0": "learning.natural_damping: found 0 (integer), must be a number > 0",
    "learning.engine=exact": 'learning.engine: found "exact" (string), must be one of auto, heisenberg, trajectories',
    "circuit.ansatz=dressed_core circuit.is_dressed=true learning.engine=trajectories": (
        "learning.engine: found trajectories, must be heisenberg or auto where circuit.is_dressed = true"
    ),
    "circuit.n_qubits=40 data.n_features=40": "circuit.n_qubits: found 40, must fit the memory of ",
    "circuit.n_qubits=16 data.n_features=16 learning.engine=heisenberg": "circuit.n_qubits: found 16, must fit the",
    "processor.device=default.qubit": "processor.device: must be given together with processor.device_nodes",
    "processor.device=no.such processor.device_nodes=[1]": "processor.device: must be a PennyLane device, but `no.such",
    "processor.relaxation_time_s=1 processor.dephasing_time_s=3 processor.two_qubit_gate_s=1e-6": (
        "processor.dephasing_time_s: found 3.0, must be at most 2 processor.relaxation_time_s = 2.0"
    ),
    "processor.readout_asymmetry=2": "processor.readout_asymmetry: found 2 (integer), must be a number >= -1 and <= 1",
}


@pytest.mark.parametrize("command", ["circuit", "run"])
@pytest.mark.parametrize("given", MISTAKES)
def test_each_wrong_value_ends_with_one_message_and_status_2(given: str, command: str) -> None:
    done = call(command, "quickstart", *settings(given))
    [message] = done.stderr.splitlines()
    assert message.startswith(f"quickstart: {MISTAKES[given].format(folder=Path.cwd())}")
    assert done.stdout == ""
    assert done.exit_code == 2


def test_a_file_changed_since_a_scenario_was_recorded_is_refused() -> None:
    chosen = "data.dataset=file data.classes=[0,1] circuit.n_qubits=2 data.parameters.path=own.csv"
    Path("mine.toml").write_text(load_scenario("quickstart", chosen.split()).to_toml())
    assert call("circuit", "mine.toml").exit_code == 0
    Path("own.csv").write_text(CSV + "1,1,x\n")
    Path("there").mkdir()
    Path("there/result.json").write_text("{}")
    for arguments in (("circuit", "mine.toml"), ("run", "mine.toml", "--out", "there", "--force")):
        done = call(*arguments)
        [message] = done.stderr.splitlines()
        assert message.startswith("quickstart: data.sha256: found ")
        assert message.endswith("; remove this key to accept it")
        assert done.exit_code == 2
    # The run that --force would replace is still there.
    assert Path("there/result.json").exists()


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    command = [str(Path(sys.executable).with_name("ceas")), "--help"]
    times = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "circuit" in shown.stdout
    assert min(times) < 0.5
