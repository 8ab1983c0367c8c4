"""Circuits and data of a user's own in a scenario: what fits together, and what is refused by its key."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ceas.errors import ScenarioError
from ceas.experiments.assemble import assemble_model, assemble_world
from ceas.experiments.scenario import Scenario, load_scenario

QASM = """input float[64] x_0; input float[64] x_1; input array[float[64], 3] theta; qubit[3] q;
ry(x_0) q[0]; ry(x_1) q[1]; for int k in [0:2] { ry(theta[k]) q[k]; } cx q[0], q[2];
bit[2] c; c[0] = measure q[2]; c[1] = measure q[0];
"""


def own(path: Path, *more: str) -> Scenario:
    return load_scenario("quickstart", ["data.dataset=file", f"data.parameters.path={path}", *more])


def csv_file(folder: Path, n_classes: int = 3, n_samples: int = 120) -> Path:
    rng = np.random.default_rng(0)
    rows = [(*rng.normal(size=4).round(3), "abc"[i % n_classes]) for i in range(n_samples)]
    path = folder / "mine.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows), "utf-8")
    return path


def test_classes_of_a_file_must_be_named(tmp_path: Path) -> None:
    """Two by default would leave out the others without a word."""
    path = csv_file(tmp_path)
    with pytest.raises(ScenarioError, match=r"data\.classes: missing"):
        own(path)
    world = assemble_world(own(path, "data.classes=[0,1,2]"), 0)
    assert world.dataset.class_names == ("a", "b", "c")
    assert world.dataset.train_labels.size == 72
    with pytest.raises(ScenarioError, match=r"labels of file, in \[0, 2\]"):
        assemble_world(own(path, "data.classes=[0,3]"), 0)


def test_an_unknown_data_set_is_one_mistake() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", ["data.dataset=digit"])
    assert len(caught.value.mistakes) == 1


def test_states_of_a_file_must_be_asked_for(tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(80, 16))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    np.savez(tmp_path / "states.npz", states=states, labels=np.arange(80) % 2)
    sets = "data.classes=[0,1]"
    with pytest.raises(ScenarioError, match=r"data\.encoding: found angles, must be amplitudes"):
        assemble_world(own(tmp_path / "states.npz", sets), 0)
    world = assemble_world(own(tmp_path / "states.npz", sets, "data.encoding=amplitudes"), 0)
    assert world.dataset.train_states is not None
    assert world.model.circuit.n_features == 0


def test_a_circuit_of_a_file_is_read_where_it_measures(tmp_path: Path) -> None:
    (tmp_path / "mine.qasm").write_text(QASM, "utf-8")
    sets = ["circuit.ansatz=qasm", f"circuit.parameters.path={tmp_path / 'mine.qasm'}", "data.classes=[0,1]"]
    fitting = [*sets, "circuit.n_qubits=3", "data.n_features=2"]
    model = assemble_model(load_scenario("quickstart", fitting))
    # q[2] and q[0] are measured, in this order; the CNOT is from q[0] to q[2].
    assert next(gate.qubits for gate in model.circuit.gates if gate.kind == "cnot") == (1, 0)
    assert model.observables == (0, 1)
    with pytest.raises(ScenarioError, match=r"circuit\.n_qubits: found 4, must be 3, the qubits of qasm"):
        assemble_model(load_scenario("quickstart", [*sets, "data.n_features=2"]))
    with pytest.raises(ScenarioError, match=r"data\.n_features: found 3, must be 2"):
        assemble_model(load_scenario("quickstart", [*sets, "circuit.n_qubits=3"]))


OWN_CIRCUITS = """
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.import_qasm import from_qasm
from ceas.learning.imported import measured_first

number = 3


def _imported():
    text = "input float theta_0; input float[64] x_0; qubit[4] q; ry(x_0 + theta_0) q[3]; bit c = measure q[3];"
    return from_qasm(text, parameters=["theta_0"], inputs=["x_0"])


def forgetful():
    return _imported()


def good():
    return measured_first(_imported())


def nothing():
    pass


def demanding(n_qubits, depth):
    return hardware_efficient(n_qubits, depth)


def wrong_value():
    raise ValueError("no such\\nlayout")


def wrong_key():
    return {}["depth"]


def wrong_size(n_qubits):
    return hardware_efficient(n_qubits, 0)
"""
REFUSED = {
    "forgetful": "must return a `ceas.learning.Circuit`, but returned ImportedCircuit; return "
    "ceas.learning.imported.measured_first(...) of it",
    "nothing": "must return a `ceas.learning.Circuit`, but returned NoneType",
    "number": "must be a function, but is of type int",
    "demanding": "which cannot be called: missing a required argument: 'depth'; set it in circuit.parameters",
    "wrong_value": "which raised ValueError: no such layout",
    "wrong_key": "which raised KeyError: 'depth'",
}


@pytest.fixture
def own_circuits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_circuits", raising=False)
    (tmp_path / "own_circuits.py").write_text(OWN_CIRCUITS, "utf-8")
    return "own_circuits"


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_of_a_users_own_that_gives_no_circuit_is_told_by_its_key(name: str, own_circuits: str) -> None:
    scenario = load_scenario("quickstart", [f"circuit.ansatz={own_circuits}:{name}"])
    with pytest.raises(ScenarioError) as caught:
        assemble_model(scenario)
    assert caught.value.mistakes == (f"circuit.ansatz: found {own_circuits}:{name}, {REFUSED[name]}",)
    if name.startswith("wrong"):
        assert type(caught.value.__cause__).__name__ in REFUSED[name]


def test_a_function_of_a_users_own_is_built_with_what_it_takes(own_circuits: str) -> None:
    sets = [f"circuit.ansatz={own_circuits}:good", "data.classes=[0,1]", "data.n_features=1"]
    assert assemble_model(load_scenario("quickstart", sets)).circuit.gates[0].qubits == (0,)
    sets = [f"circuit.ansatz={own_circuits}:demanding", "circuit.parameters.depth=3"]
    assert assemble_model(load_scenario("quickstart", sets)).circuit.n_parameters == 24
    with pytest.raises(ScenarioError, match=r"^quickstart: circuit\.n_layers: must be at least 1, but is 0$"):
        assemble_model(load_scenario("quickstart", [f"circuit.ansatz={own_circuits}:wrong_size"]))


def test_a_module_of_a_users_own_that_cannot_be_imported_is_told(tmp_path: Path, own_circuits: str) -> None:
    (tmp_path / "own_broken.py").write_text("def (", "utf-8")
    scenario = load_scenario("quickstart", ["circuit.ansatz=own_broken:circuit"])
    with pytest.raises(ScenarioError, match=r"circuit\.ansatz: found own_broken:circuit, which raised SyntaxError"):
        assemble_model(scenario)


def test_a_defect_of_a_built_in_circuit_is_none_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise KeyError("defect")

    monkeypatch.setattr("ceas.learning.ansatz.iqp", broken)
    with pytest.raises(KeyError, match="defect"):
        assemble_model(load_scenario("quickstart", ["circuit.ansatz=iqp"]))
