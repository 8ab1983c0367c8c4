"""`ceas reproduce`: what it refuses, prints and writes; trainings are replaced by numbers."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ceas.cli import app
from ceas.experiments import reproduce_trainings
from ceas.experiments.code_identity import code_identity
from ceas.experiments.reproduce_store import Trained


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every training end at an accuracy that depends on its arm and seed."""

    def in_workers(groups: Any) -> Iterator[list[Trained]]:
        for group in groups:
            for batch in group:
                pairs = zip(batch.trainings, batch.scenarios, strict=True)
                yield [trained(training, scenario.scenario_id) for training, scenario in pairs]

    def trained(training: Any, scenario_id: str) -> Trained:
        accuracy = (0.9 if training.arm == "ceas" else 0.6) - 0.01 * (training.seed % 2)
        return Trained(
            training=training,
            scenario_id=scenario_id,
            ceas_version="test",
            code=code_identity(),
            rounds=2,
            test_accuracy=accuracy,
            validation_accuracy=accuracy,
            train_loss=1.0,
            byzantine_weight=0.1,
            core_s=0.5,
            curve_rounds=[2],
            curve_accuracy=[accuracy],
            curve_weight=[0.1],
        )

    monkeypatch.setattr(reproduce_trainings, "_in_workers", in_workers)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("acuracy",), "unknown table `acuracy`. Did you mean `accuracy`?"),
        (("--datasets", "digit"), "unknown data set of the reproduction `digit`. Did you mean `digits`?"),
        (("--quick", "--choices", "absent.json"), "absent.json: cannot be read"),
        (("tuning", "accuracy"), "`tuning` must be the only table"),
        (("--seeds", "0"), "'--seeds'"),
    ],
)
def test_a_mistake_gets_one_message(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = call("reproduce", *arguments, "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "out" / "trainings").exists()


def test_a_place_that_cannot_be_written_gets_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call("reproduce", "accuracy", "--quick", "--out", str(tmp_path / "file"))
    assert done.exit_code == 2
    assert f"{tmp_path / 'file'}: cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("quickly")
def test_tables_goals_and_page(tmp_path: Path) -> None:
    arguments = ("reproduce", "accuracy", "falsifiers", "--quick", "--seeds", "3", "--out", str(tmp_path))
    done = call(*arguments)
    assert done.exit_code == 0, done.stderr
    assert "Worst case over the attacks" in done.stdout
    assert "digits, 15 of 50 attackers: at least 10 points over robust rules" in done.stdout
    assert "+30.0 [+30.0, +30.0] points over trimmed mean, p (Holm)" in done.stdout
    # Every attack has its own row on the page alone.
    assert "Test accuracy under every attack" not in done.stdout
    assert "Test accuracy under every attack" in (tmp_path / "report.html").read_text()
    document = json.loads(call(*arguments, "--json").stdout)
    repeated = "ceas reproduce accuracy falsifiers --quick --seeds 3 --datasets digits --out"
    assert document["command"] == f"{repeated} {shlex.quote(str(tmp_path))}"
    assert document["claims"][1]["is_met"] is True
    written = json.loads((tmp_path / "reproduction.json").read_text())
    assert written == {name: value for name, value in document.items() if name != "directory"}


@pytest.mark.usefixtures("quickly")
def test_tuning_writes_choices_that_the_tables_take(tmp_path: Path) -> None:
    done = call("reproduce", "tuning", "--quick", "--out", str(tmp_path))
    assert done.exit_code == 0, done.stderr
    choices = tmp_path / "choices.json"
    assert {one["arm"] for one in json.loads(choices.read_text())["choices"]} >= {"ceas", "trimmed mean"}
    done = call("reproduce", "accuracy", "--quick", "--choices", str(choices), "--out", str(tmp_path), "--json")
    assert done.exit_code == 0, done.stderr
    assert f"--choices {choices}" in json.loads(done.stdout)["command"]
