"""Short runs with what the learning part offers, from the command line to the page.

Each circuit is compiled anew, which takes most of the time: the quick runs combine several features, and the slow ones
have one each.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ceas.cli import app
from ceas.experiments.files import digest_of
from ceas.experiments.result_tables import read_table

BASE = (
    "topology.kind=ring topology.n_nodes=4 topology.spacing_km=5 clock.rounds=2 clock.learning_window_s=0.05 "
    "clock.exchange_window_s=0.05 learning.minibatch=2 learning.max_shots_per_round=40 output.pair_trace=none "
    "data.dataset=iris data.classes=[0,1] circuit.n_qubits=2 circuit.n_layers=1"
)
QASM = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] theta_0;
input float[64] theta_1;
input float[64] x_0;
input float[64] x_1;
qubit[2] q;
ry(x_0) q[0];
ry(x_1) q[1];
cx q[0], q[1];
barrier q;
ry(theta_0) q[0];
rx(theta_1) q[1];
cx q[1], q[0];
"""


def write_files() -> None:
    rng = np.random.default_rng(5)
    labels = np.array(["no", "yes"] * 30)
    features = rng.normal(size=(60, 3)) + 3 * (labels == "yes")[:, None]
    rows = [",".join([*(f"{value:.4f}" for value in row), label]) for row, label in zip(features, labels, strict=True)]
    Path("own.csv").write_text("\n".join(["a,b,c,kind", *rows]) + "\n")
    Path("own.qasm").write_text(QASM)


@pytest.fixture(autouse=True)
def in_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()


def run(settings: str) -> dict[str, Any]:
    """Run, and return the result; its page is written."""
    given = [part for one in f"{BASE} {settings}".split() for part in ("--set", one)]
    done = CliRunner().invoke(app, ["run", "quickstart", "--out", "run", "--json", *given])
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    page = Path("run/report.html").read_text("utf-8")
    assert result["circuit"]["drawing"][0].split(":")[0] in page
    assert "separable circuit" in page
    assert result["shots"] > 0
    for reached in ("test_accuracy", "test_accuracy_logistic", "test_accuracy_separable"):
        assert 0 <= result[reached] <= 1
    learners = read_table(Path("run/learners.parquet"), "learners")
    is_known = np.isfinite(learners["contraction"])
    assert is_known.any()
    assert (learners["update_norm"][is_known] > 0).any()
    return result


def test_own_data_in_an_iqp_circuit_with_spsa_on_noisy_and_foreign_processors() -> None:
    result = run(
        "data.dataset=file data.classes=[0,1] data.parameters.path=own.csv data.parameters.label_column=kind "
        "circuit.ansatz=iqp "
        "circuit.partition=data circuit.readout=linear learning.gradient_method=spsa hardware.readout_error=0.02 "
        "processor.relaxation_time_s=1e-4 processor.two_qubit_gate_s=1e-5 processor.readout_asymmetry=0.5 "
        "processor.device=default.qubit processor.device_nodes=[1]"
    )
    assert result["data"]["source"] == f"file own.csv, SHA-256 {digest_of('own.csv')}"
    assert result["data"]["classes"] == ["no", "yes"]
    assert result["circuit"]["gates"]["rzz"] == 1
    assert result["partition"]["pairs_per_shot"] == 0
    assert result["fates"]["learning"] == 0
    assert result["test_accuracy_logistic"] > 0.7
    learners = read_table(Path("run/learners.parquet"), "learners")
    # Relaxation and misread outcomes leave less than all.
    assert (learners["contraction"] < 0.95).all()
    assert (learners["shots"][learners["learner"] == 1] > 0).all()


@pytest.mark.slow
def test_own_circuit_behind_a_trained_layer_with_natural_gradient() -> None:
    result = run(
        "circuit.ansatz=qasm circuit.parameters.path=own.qasm circuit.partition=layer circuit.is_dressed=true "
        "circuit.readout=linear circuit.n_layers=2 data.n_features=4 learning.natural_damping=0.1"
    )
    assert result["circuit"]["gates"] == {"ry": 3, "cnot": 2, "rx": 1}
    assert result["partition"]["readout_qpus"] == [1, 1]
    assert result["partition"]["teledata"] == 2
    assert result["data"]["features"] == 4
    assert result["engines"]["ideal"]["reason"] == "heisenberg alone has the gradient of a dressed circuit."
    assert result["fates"]["learning"] > 0


def test_ground_states_in_a_strongly_entangling_circuit_cut_by_layers() -> None:
    result = run(
        "data.dataset=ising_chain data.n_features=0 circuit.ansatz=strongly_entangling circuit.n_layers=2 "
        "circuit.partition=layer"
    )
    assert result["data"]["features"] == 0
    assert result["circuit"]["inputs"] == 0
    assert result["partition"]["first_qpus"] == [0, 0]
    assert result["partition"]["readout_qpus"] == [1, 1]
    assert result["shots"] * 2 <= result["fates"]["learning"]


@pytest.mark.slow
def test_more_features_than_qubits_by_data_reuploading() -> None:
    result = run(
        "data.dataset=breast_cancer data.n_features=6 circuit.ansatz=data_reuploading circuit.partition=data "
        "learning.engine=trajectories learning.n_trajectories=4"
    )
    assert result["circuit"]["inputs"] == 6
    assert {found["engine"] for found in result["engines"].values()} == {"trajectories"}
    assert result["engines"]["ideal"]["reason"] == "trajectories was asked for."


ALONE = {
    "iqp": "circuit.ansatz=iqp",
    "strongly entangling, by layers": "circuit.ansatz=strongly_entangling circuit.partition=layer circuit.n_layers=2",
    "data re-uploading": "circuit.ansatz=data_reuploading data.n_features=4 circuit.partition=auto",
    "dressed": "circuit.ansatz=dressed_core circuit.is_dressed=true circuit.readout=linear data.n_features=4",
    "OpenQASM": "circuit.ansatz=qasm circuit.parameters.path=own.qasm",
    "ground states": "data.dataset=ising_chain data.n_features=0",
    "CSV": "data.dataset=file data.classes=[0,1] data.parameters.path=own.csv",
    "SPSA": "learning.gradient_method=spsa",
    "natural gradient": "learning.natural_damping=0.1",
    "PennyLane": "processor.device=default.qubit processor.device_nodes=[1]",
    "relaxation and uneven readout": (
        "processor.relaxation_time_s=1e-4 processor.two_qubit_gate_s=1e-5 processor.readout_asymmetry=0.5 "
        "hardware.readout_error=0.02"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_each_feature_alone(name: str) -> None:
    result = run(ALONE[name])
    if result["partition"]["pairs_per_shot"]:
        assert result["fates"]["learning"] >= result["shots"] * result["partition"]["pairs_per_shot"]


@pytest.mark.slow
def test_an_interrupted_run_is_not_resumed_with_other_data() -> None:
    given = [
        part
        for one in f"{BASE} data.dataset=file data.classes=[0,1] data.parameters.path=own.csv".split()
        for part in ("--set", one)
    ]
    from ceas.experiments import load_scenario
    from ceas.experiments.run import _Session

    scenario = load_scenario("quickstart", given[1::2])
    _Session(scenario, seed=0, out=Path("run"), command="").start()
    before = Path("own.csv").read_text()
    Path("own.csv").write_text(before + "0,0,0,no\n")
    refused = CliRunner().invoke(app, ["resume", "run"])
    assert refused.exit_code == 2
    [message] = refused.stderr.splitlines()
    assert message.startswith("error: run: cannot be continued: data.sha256: found ")
    Path("own.csv").write_text(before)
    assert CliRunner().invoke(app, ["resume", "run"]).exit_code == 0
    # A finished run is reported whatever became of its file.
    Path("own.csv").unlink()
    assert CliRunner().invoke(app, ["report", "run"]).exit_code == 0
