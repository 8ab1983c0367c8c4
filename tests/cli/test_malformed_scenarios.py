"""Mistakes in scenarios, through the real command line: one clear message each, exit status 2, nothing started."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ceas.cli import app
from ceas.experiments import registry

# Name: (TOML text, the lines of standard error after the file's name).
MALFORMED = {
    "text for a number": (
        '[hardware]\ncoherence_time_s = "abc"\n',
        ['hardware.coherence_time_s: found "abc" (string), must be a number > 0 (seconds)'],
    ),
    "out of range": (
        "[hardware]\nvisibility = 1.2\n",
        ["hardware.visibility: found 1.2 (number), must be a number > 0 and <= 1"],
    ),
    "unknown states of pairs": (
        '[hardware]\npair_states = "bell-diagonal"\n',
        [
            'hardware.pair_states: found "bell-diagonal" (string), must be one of werner, bell_diagonal; '
            "did you mean bell_diagonal?"
        ],
    ),
    "relaxation without dephasing": (
        "[hardware]\nrelaxation_time_s = 1.0\n",
        ["hardware.dephasing_time_s: missing, must be a number > 0 and <= 2 relaxation_time_s (seconds)"],
    ),
    "dephasing slower than relaxation allows": (
        '[hardware]\npair_states = "bell_diagonal"\nrelaxation_time_s = 1.0\ndephasing_time_s = 2.5\n',
        ["hardware.dephasing_time_s: found 2.5, must be at most 2 relaxation_time_s = 2.0"],
    ),
    "memories of two kinds": (
        "[hardware]\ncoherence_time_s = 2.0\nrelaxation_time_s = 1.0\ndephasing_time_s = 1.0\n",
        [
            "hardware.coherence_time_s: found 2.0, but it follows from relaxation_time_s and dephasing_time_s as "
            "1.0; leave it out"
        ],
    ),
    "no time": (
        "[hardware]\ndephasing_time_s = 0\n",
        ["hardware.dephasing_time_s: found 0 (integer), must be a number > 0 (seconds)"],
    ),
    "text for a time": (
        '[hardware]\nrelaxation_time_s = "long"\n',
        ['hardware.relaxation_time_s: found "long" (string), must be a number > 0 (seconds)'],
    ),
    "number for an integer": (
        "[clock]\nrounds = 20.0\n",
        ["clock.rounds: found 20.0 (number), must be an integer >= 1"],
    ),
    "boolean for a number": (
        "[learning]\nlearning_rate = true\n",
        ["learning.learning_rate: found true (boolean), must be a number > 0"],
    ),
    "not a number": (
        "[clock]\nlearning_window_s = nan\n",
        ["clock.learning_window_s: found nan (number), must be a number > 0 (seconds)"],
    ),
    "empty learning window": (
        "[clock]\nlearning_window_s = 0\n",
        ["clock.learning_window_s: found 0 (integer), must be a number > 0 (seconds)"],
    ),
    "number for a boolean": (
        "[drift]\nis_announced = 1\n",
        ["drift.is_announced: found 1 (integer), must be true or false"],
    ),
    "drift that changes nothing": (
        "[drift]\nlink_share = 0.5\n",
        ["drift.link_share: found 0.5, but all factors of drift are 1, so nothing changes"],
    ),
    "drift after the end": (
        "[clock]\nrounds = 2\n[drift]\nlink_share = 0.5\nstart_s = 3\nsuccess_factor = 0.5\n",
        ["drift.start_s: found 3.0, must be below 2.4, the end of the last round"],
    ),
    "traffic of no good fidelity": (
        "[traffic]\nminimum_fidelity = 1.0\n",
        ["traffic.minimum_fidelity: found 1.0 (number), must be a number >= 0.25 and < 1"],
    ),
    "misspelt key": (
        "[hardware]\nvisibilty = 0.9\n",
        ["hardware.visibilty: unknown key, did you mean visibility?"],
    ),
    "key in the wrong section": (
        "[learning]\nn_qubits = 4\n",
        ["learning.n_qubits: unknown key, did you mean circuit.n_qubits?"],
    ),
    "misspelt section": (
        "[hardwear]\nvisibility = 0.9\n",
        ["hardwear: unknown key, did you mean hardware?"],
    ),
    "value for a section": (
        "hardware = 3\nclock = [1]\n",
        [
            "hardware: found 3 (integer), must be a table [hardware]",
            "clock: found [1] (list), must be a table [clock]",
        ],
    ),
    "misspelt rule": (
        '[aggregation]\nrule = "trimed_mean"\n',
        [
            'aggregation.rule: found "trimed_mean" (string), must be one of mean, coordinate_median, trimmed_mean, '
            f"{', '.join(registry.names('aggregation')[3:])}, or module:name of your own; did you mean trimmed_mean?"
        ],
    ),
    "unknown choice": (
        '[circuit]\npartition = "qbit"\n',
        ['circuit.partition: found "qbit" (string), must be one of qubit, layer, auto, data; did you mean qubit?'],
    ),
    "unknown parameter of a rule": (
        '[aggregation]\nrule = "mean"\nparameters = {width = 3}\n',
        ["aggregation.parameters.width: unknown parameter, aggregation rule `mean` takes none"],
    ),
    "misspelt parameter of an attack": (
        '[byzantine]\nn_byzantine = 3\nattack = "sign_flip"\nparameters = {facter = 2.0}\n',
        [
            "byzantine.parameters.facter: unknown parameter of attack `sign_flip`, did you mean `factor`? "
            "Known: factor, of"
        ],
    ),
    "date in a table of parameters": (
        "[byzantine]\nparameters = {when = 2020-01-01}\n",
        ["byzantine.parameters: found a table, must be a table of strings, booleans, finite numbers, lists and tables"],
    ),
    "key of another topology": (
        '[topology]\nkind = "ring"\nside_km = 3\n',
        ["topology.side_km: not used by topology kind ring, which takes n_nodes, spacing_km"],
    ),
    "key of a fixed topology": (
        '[topology]\nkind = "surfnet"\nn_nodes = 8\n',
        ["topology.n_nodes: not used by topology kind surfnet, which takes none"],
    ),
    "links of a random regular network that do not come out even": (
        '[topology]\nkind = "random_regular"\nn_nodes = 9\ndegree = 3\n',
        ["topology.degree: found 3, must be even for an odd topology.n_nodes = 9"],
    ),
    "more links than neighbours": (
        '[topology]\nkind = "random_regular"\nn_nodes = 4\ndegree = 4\n',
        ["topology.degree: found 4, must be below topology.n_nodes = 4"],
    ),
    "too few links for a tree": (
        '[topology]\nkind = "random_recursive"\nn_nodes = 9\nn_links = 7\n',
        ["topology.n_links: found 7, must be from 8 to 36 for 9 nodes"],
    ),
    "density of a Waxman network above 1": (
        '[topology]\nkind = "waxman"\nwaxman_density = 1.5\n',
        ["topology.waxman_density: found 1.5 (number), must be a number > 0 and <= 1"],
    ),
    "nodes of Chicago": (
        '[topology]\nkind = "chicago"\nn_nodes = 10\n',
        ["topology.n_nodes: not used by topology kind chicago, which takes none"],
    ),
    "missing network file": (
        '[topology]\nkind = "file"\n',
        ["topology.path: missing, topology kind file needs a GraphML or JSON file"],
    ),
    "too small a ring": (
        '[topology]\nkind = "ring"\nn_nodes = 2\n',
        ["topology.n_nodes: a ring must have at least 3 nodes, but has 2"],
    ),
    "a third of the nodes is malicious": (
        '[topology]\nkind = "ring"\nn_nodes = 9\n[byzantine]\nn_byzantine = 3\n',
        [
            "byzantine.n_byzantine: found 3, must be at most consensus.tolerated_byzantine = 2, itself below a third "
            "of the 9 nodes"
        ],
    ),
    "consensus cannot tolerate a third": (
        '[topology]\nkind = "ring"\nn_nodes = 9\n[consensus]\ntolerated_byzantine = 3\n',
        ["consensus.tolerated_byzantine: found 3, must be below a third of the 9 nodes, at most 2"],
    ),
    "rule cannot tolerate a half": (
        '[topology]\nkind = "ring"\nn_nodes = 8\n[aggregation]\ntolerated_byzantine = 4\n',
        ["aggregation.tolerated_byzantine: found 4, must be below half of the 8 learners"],
    ),
    "attack without attackers": (
        '[byzantine]\nattack = "sign_flip"\n',
        ["byzantine.attack: found sign_flip, but byzantine.n_byzantine is 0, so nobody attacks"],
    ),
    "attacker outside the network": (
        "[byzantine]\nn_byzantine = 1\nnodes = [50]\n",
        ["byzantine.nodes: found [50], must be different nodes from 0 to 49"],
    ),
    "attackers miscounted": (
        "[byzantine]\nn_byzantine = 1\nnodes = [4, 5]\n",
        ["byzantine.n_byzantine: found 1, but byzantine.nodes lists 2"],
    ),
    "more classes than qubits": (
        "[circuit]\nn_qubits = 3\n",
        [
            "circuit.n_qubits: found 3, must be at least 4: one qubit for each of the 4 labels of "
            "data.classes, or circuit.readout = linear"
        ],
    ),
    "more features than pixels": (
        "[circuit]\nn_qubits = 65\n",
        ["data.n_features: found 65, must be at most 64, the pixels of digits"],
    ),
    "one qubit cannot be cut": (
        "[circuit]\nn_qubits = 1\n[data]\nclasses = [0, 1]\n",
        [
            "circuit.n_qubits: found 1, must be at least 2: one qubit for each of the 2 labels of "
            "data.classes, or circuit.readout = linear",
            "circuit.partition: found qubit, but one qubit cannot be cut; must be data or layer",
        ],
    ),
    "repeated label": (
        "[data]\nclasses = [1, 1]\n",
        ["data.classes: found [1, 1], must not repeat a label"],
    ),
    "label that is no digit": (
        "[data]\nclasses = [1, 10]\n",
        ["data.classes: found [1, 10], digits has the labels 0 to 9"],
    ),
    "wrong item in a list": (
        '[data]\nclasses = [1, "two"]\n',
        ['data.classes: found [1, "two"] (list), must be a list of integers >= 0, at least 2 long'],
    ),
    "nothing left to train on": (
        "[data]\ntest_fraction = 0.6\nvalidation_fraction = 0.4\n",
        ["data.validation_fraction: with data.test_fraction it must be below 1, but the sum is 1"],
    ),
    "shot longer than the window": (
        "[schedule]\nshot_duration_s = 2\n",
        ["schedule.shot_duration_s: found 2.0, must be at most clock.learning_window_s = 1.0"],
    ),
    "name that is no file name": (
        'name = "../x"\n',
        ['name: found "../x" (string), must be 1 to 64 letters, digits, dots, dashes or underscores'],
    ),
    "not TOML": ("a = = 3\n", ["not valid TOML: Invalid value (at line 1, column 5)"]),
    "errors that leave no signal": (
        "[hardware]\none_qubit_error = 0.75\ntwo_qubit_error = 0.741\nreadout_error = 0.5\n",
        [
            "hardware.one_qubit_error: found 0.75 (number), must be a number >= 0 and <= 0.74",
            "hardware.two_qubit_error: found 0.741 (number), must be a number >= 0 and <= 0.74",
            "hardware.readout_error: found 0.5 (number), must be a number >= 0 and <= 0.49",
        ],
    ),
    "several at once": (
        '[topology]\nkind = "rign"\n[clock]\nrounds = 0\nround = 3\n'
        "[schedule]\ntest_share = 1\n[output]\ntrace_every = -1\n",
        [
            'topology.kind: found "rign" (string), must be one of surfnet, arnes, chicago, delft_eindhoven, belnet, '
            "cesnet, dfn, garr, janet, renater, geant, abilene, nsfnet, chain, ring, grid, star, random_geometric, "
            "waxman, random_regular, random_recursive, file; did you mean ring?",
            "clock.rounds: found 0 (integer), must be an integer >= 1",
            "clock.round: unknown key, did you mean rounds?",
            "schedule.test_share: found 1 (integer), must be a number >= 0 and < 1",
            "output.trace_every: found -1 (integer), must be an integer >= 1",
        ],
    ),
}


@pytest.mark.parametrize("command", ["run", "scenarios"])
@pytest.mark.parametrize("name", MALFORMED)
def test_each_mistake_has_its_message(name: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, messages = MALFORMED[name]
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(text)
    result = CliRunner().invoke(app, [command, "bad.toml"])
    assert result.stderr.splitlines() == [f"bad.toml: {message}" for message in messages]
    assert result.stdout == ""
    assert result.exit_code == 2
    assert [path.name for path in Path().iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clock.rounds=abc", 'clock.rounds: found "abc" (string), must be an integer >= 1'),
        ("clock.rounds", "override 'clock.rounds': must have the form section.key=value"),
        (".=1", "override '.=1': must have the form section.key=value"),
        ("clock.rouns=3", "clock.rouns: unknown key, did you mean rounds?"),
        ("clock=3", "clock: found 3 (integer), must be a table [clock]"),
        ("clock.rounds.x=3", "clock.rounds: found a table, must be an integer >= 1"),
        ("rounds=3", "rounds: unknown key, did you mean clock.rounds?"),
        ("topology.kind=file", "topology.path: missing, topology kind file needs a GraphML or JSON file"),
        ("topology=3", "topology: found 3 (integer), must be a table [topology]"),
    ],
)
def test_mistakes_in_overrides(override: str, message: str) -> None:
    result = CliRunner().invoke(app, ["run", "quickstart", "--set", override])
    assert result.stderr == f"quickstart: {message}\n"
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hedline", "no such file, and no built-in scenario of that name. Did you mean `headline`? Built-in: "),
        ("nowhere/quickstart.toml", "no such file, and no built-in scenario of that name. Did you mean `quickstart`?"),
        (".", "is a folder, not a scenario"),
    ],
)
def test_missing_scenarios(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", source])
    assert result.stderr.startswith(f"{source}: {message}")
    assert result.exit_code == 2


def test_a_run_folder_for_a_scenario_names_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").touch()
    result = CliRunner().invoke(app, ["run", str(tmp_path)])
    assert result.stderr == f"{tmp_path}: is a folder, did you mean {tmp_path / 'scenario.toml'}?\n"
    assert result.exit_code == 2


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    result = CliRunner().invoke(app, ["run", str(tmp_path / "x.toml")])
    assert "x.toml: cannot be read: " in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"nodes": [{"id": "a"}, {"id": "b"}], "edges": []}'])
def test_a_broken_network_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(content)
    (tmp_path / "x.toml").write_text('[topology]\nkind = "file"\npath = "net.json"\n')
    result = CliRunner().invoke(app, ["run", str(tmp_path / "x.toml")])
    assert result.stderr.startswith(f"{tmp_path / 'x.toml'}: topology.path: cannot use {tmp_path / 'net.json'}: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.exit_code == 2


def test_the_module_is_the_command(tmp_path: Path) -> None:
    for arguments, status in ((["--help"], 0), (["run", "nowhere.toml"], 2)):
        call = [sys.executable, "-m", "ceas", *arguments]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status
        assert ("python -m ceas" in done.stdout) == (status == 0)
        assert done.stderr.startswith("nowhere.toml: no such file") == (status == 2)


def test_the_installed_command_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[hardware]\ncoherence_time_s = "abc"\nvisibilty = 1.0\n')
    call = [sys.executable, "-c", "from ceas.cli import main; main()", "run", "bad.toml"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'bad.toml: hardware.coherence_time_s: found "abc" (string), must be a number > 0 (seconds)',
        "bad.toml: hardware.visibilty: unknown key, did you mean visibility?",
    ]
