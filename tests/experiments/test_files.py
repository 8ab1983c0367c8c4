"""Data and circuit files of a scenario: their content is part of its identity, their place is not."""

import os
import shutil
from pathlib import Path

import pytest

from ceas.errors import RunDirectoryError, ScenarioError
from ceas.experiments.assemble import assemble_world
from ceas.experiments.files import changed_files, digest_of
from ceas.experiments.run import CHECKPOINT, resume_run
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.runtime.checkpoint import save_arrays

CSV = "a,b,label\n" + "".join(f"{i % 7},{i % 5},{'xy'[i % 2]}\n" for i in range(40))
QASM = """OPENQASM 3.0;
input float[64] theta_0;
input float[64] x_0;
input float[64] x_1;
qubit[2] q;
ry(x_0) q[0];
ry(x_1) q[1];
ry(theta_0) q[0];
"""
SETTINGS = {
    "data": ("data.dataset=file", "data.classes=[0,1]", "circuit.n_qubits=2"),
    "circuit": ("circuit.ansatz=qasm", "data.dataset=iris", "data.classes=[0,1]", "circuit.n_qubits=2"),
}
CONTENT = {"data": ("own.csv", CSV, CSV + "3,3,x\n"), "circuit": ("own.qasm", QASM, QASM + "cx q[0], q[1];\n")}
pytestmark = pytest.mark.parametrize("name", SETTINGS)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *, is_changed: bool = False) -> Path:
    file, before, after = CONTENT[name]
    path = Path(file).resolve()
    path.write_text(after if is_changed else before)
    return path


def load(name: str, path: Path, *further: str) -> Scenario:
    return load_scenario("quickstart", [*SETTINGS[name], f"{name}.parameters.path={path}", *further])


def test_the_identity_covers_what_a_file_holds_and_not_where_it_lies(name: str) -> None:
    path = write(name)
    scenario = load(name, path)
    assert getattr(scenario, name).sha256 == digest_of(str(path))
    Path("elsewhere").mkdir()
    moved = load(name, Path(shutil.copy(path, "elsewhere")))
    assert moved.scenario_id == scenario.scenario_id
    write(name, is_changed=True)
    changed = load(name, path)
    assert changed.scenario_id != scenario.scenario_id
    assert (changed.network_id != scenario.network_id) == (name == "circuit")


def test_relative_paths_start_at_the_scenario_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("inside").mkdir()
    path = shutil.move(write(name), "inside")
    scenario = load(name, Path(path).resolve())
    text = scenario.to_toml().replace(str(Path("inside").resolve()) + "/", "")
    Path("inside/mine.toml").write_text(text)
    again = load_scenario("inside/mine.toml")
    assert getattr(again, name).parameters["path"] == str(Path(path).resolve())
    assert again.scenario_id == scenario.scenario_id


def test_another_file_in_its_place_is_refused_where_it_is_used(name: str) -> None:
    path = write(name)
    text = load(name, path).to_toml()
    Path("mine.toml").write_text(text)
    write(name, is_changed=True)
    recorded = load_scenario("mine.toml")
    assert recorded.scenario_id == load_scenario("mine.toml", ["clock.rounds=30"]).scenario_id
    with pytest.raises(ScenarioError, match=rf"{name}\.sha256: found \w+\.\.\., but {path} is another file now, \w+"):
        assemble_world(recorded, 0)
    path.unlink()
    with pytest.raises(ScenarioError, match=rf"{name}\.parameters\.path: cannot read {path}: No such file"):
        assemble_world(load_scenario("mine.toml"), 0)


def test_a_path_by_override_brings_its_own_digest(name: str) -> None:
    scenario = load(name, write(name))
    Path("other").mkdir()
    other = Path("other") / CONTENT[name][0]
    other.write_text(CONTENT[name][2])
    for override in (f"{name}.parameters.path={other}", f'{name}.parameters={{path = "{other}"}}'):
        chosen = scenario.with_overrides([override])
        assert getattr(chosen, name).sha256 == digest_of(str(other))
        assert not changed_files(chosen)
    built_in = scenario.with_overrides(["data.dataset=wine"] if name == "data" else ["circuit.ansatz=iqp"])
    assert getattr(built_in, name).sha256 is None


def test_a_run_is_not_resumed_with_another_file(name: str) -> None:
    path = write(name)
    scenario = load(name, path)
    Path("run").mkdir()
    Path("run/scenario.toml").write_text(scenario.to_toml())
    save_arrays(Path("run") / CHECKPOINT, {"scenario_id": scenario.scenario_id, "seed": 0, "command": ""})
    write(name, is_changed=True)
    with pytest.raises(RunDirectoryError) as refused:
        resume_run(Path("run"))
    assert f"run: cannot be continued: {name}.sha256: found " in str(refused.value)
    assert f"{path} is another file now" in str(refused.value)
    # Whoever takes the digest out of the recorded scenario has another scenario.
    text = "\n".join(line for line in scenario.to_toml().splitlines() if not line.startswith("sha256"))
    Path("run/scenario.toml").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"scenario\.toml was changed since the checkpoint was written"):
        resume_run(Path("run"))


def test_missing_and_unused_files_are_mistakes(name: str) -> None:
    choice = SETTINGS[name][0].split("=")
    with pytest.raises(ScenarioError, match=rf"{name}\.parameters\.path: missing, "):
        load_scenario("quickstart", SETTINGS[name])
    with pytest.raises(ScenarioError, match=rf"{name}\.parameters\.path: cannot read .*/none: No such file"):
        load(name, Path("none"))
    with pytest.raises(ScenarioError, match=rf"{name}\.parameters\.path: found 3 \(integer\), must be a string"):
        load_scenario("quickstart", [*SETTINGS[name], f"{name}.parameters.path=3"])
    with pytest.raises(ScenarioError, match=rf"{name}\.sha256: not used by .*, only by {choice[1]}"):
        load_scenario("quickstart", [f"{name}.sha256={'0' * 64}"])


def test_paths_that_no_file_can_have_are_told_by_their_key(name: str) -> None:
    for path, shown in (("a\\u0000b", "a\\u0000b"), ("a\udcffb", "a\\udcffb")):
        with pytest.raises(ScenarioError) as refused:
            load_scenario("quickstart", [*SETTINGS[name], f'{name}.parameters.path="{path}"'])
        wanted = "must be a path in UTF-8 without the NUL character"
        assert refused.value.mistakes == (f'{name}.parameters.path: found "{shown}" (string), {wanted}',)
    with pytest.raises(ScenarioError) as refused:
        load_scenario("quickstart", ["topology.kind=file", 'topology.path="a\\u0000b"'])
    assert refused.value.mistakes == (f'topology.path: found "a\\u0000b" (string), {wanted}',)
    with pytest.raises(OSError, match="no file can have this path"):
        digest_of("a\0b")


def test_what_never_ends_is_not_read(name: str) -> None:
    os.mkfifo("pipe")
    os.symlink("circle", "circle")
    for path, why in (
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("circle", "Too many levels"),
    ):
        with pytest.raises(ScenarioError, match=rf"{name}\.parameters\.path: cannot read .*{path}: {why}"):
            load(name, Path(path))
        with pytest.raises(ScenarioError, match=rf"topology\.path: cannot read .*{path}: {why}"):
            load_scenario("quickstart", ["topology.kind=file", f"topology.path={path}"])
