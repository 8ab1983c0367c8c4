"""The command line from start to end: run, interrupt, resume, compare, schedule, report.

What is interrupted, and one run beside it, are processes of their own. Everything else runs in this process, where
loading and compiling, which are most of the time, happen once; that both give the same numbers is tested thereby.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ceas.cli import app
from ceas.experiments.result_tables import read_table

SETTINGS = (
    "topology.kind=ring",
    "topology.n_nodes=4",
    "topology.spacing_km=5",
    "hardware.multiplexing=16",
    "clock.rounds=10",
    "clock.learning_window_s=0.1",
    "clock.exchange_window_s=0.05",
    "data.dataset=iris",
    "data.classes=[0,1]",
    "circuit.n_qubits=2",
    "circuit.n_layers=1",
    "learning.minibatch=2",
    "byzantine.n_byzantine=1",
    "byzantine.attack=sign_flip",
    "output.checkpoint_rounds=2",
    "output.evaluate_rounds=1",
)
SET = [part for setting in SETTINGS for part in ("--set", setting)]
TIMES = ("wall_s", "compile_s", "rooms_s")
TIMEOUT_S = 300


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("ceas")), *arguments]


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    return done


def run_apart(*arguments: str) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr


def result_without_times(directory: Path) -> dict[str, Any]:
    result = json.loads((directory / "result.json").read_text("utf-8"))
    return {key: value for key, value in result.items() if key not in TIMES}


def certificate_bytes(directory: Path) -> bytes:
    return (directory / "bound_certificate.json").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run("run", "quickstart", "--seed", "5", "--out", str(directory), *SET)
    return directory


def test_a_run_leaves_a_complete_directory(finished: Path) -> None:
    names = {entry.name for entry in finished.iterdir()}
    tables = {f"{name}.parquet" for name in ("rounds", "learners", "links", "nodes", "pairs")}
    assert names == {"scenario.toml", "bound_certificate.json", "result.json", "report.html", *tables}
    result = result_without_times(finished)
    assert result["byzantine"]["n"] == 1
    assert result["consensus"]["timing"].startswith("safe on any network")
    assert result["consensus"]["rounds_unconcluded"] == result["consensus"]["rounds_paused"] == 0
    assert sum(result["fates"].values()) == result["generated_pairs"]


PLAIN = (
    *("learning.optimizer=sgd", "learning.final_learning_rate_share=1", "learning.learning_rate=0.05"),
    *("learning.temperature=1", "aggregation.rule=trimmed_mean", "aggregation.is_debiased=true", "clock.rounds=4"),
)


def test_plain_steps_are_certified_and_others_refused_with_the_reason(finished: Path, tmp_path: Path) -> None:
    settings = [part for setting in PLAIN for part in ("--set", setting)]
    done = run("run", "quickstart", "--out", str(tmp_path / "plain"), *SET, *settings)
    found = json.loads(certificate_bytes(tmp_path / "plain"))
    assert (found["status"], found["holds"], found["steps"], found["n"]) == ("certified", True, 4, [4, 4])
    assert f"certified: measured {found['looseness']:.4g} of the bound at the end" in done.stdout
    assert "The bound is certified" in (tmp_path / "plain" / "report.html").read_text("utf-8")
    refused = json.loads(certificate_bytes(finished))
    assert refused["status"] == "refused"
    assert "the optimiser is adam" in refused["reasons"][0]
    assert len(refused["curves"]["measured"]) == 10
    document = json.loads(run("run", "quickstart", "--out", str(tmp_path / "plain"), "--force", "--json", *SET).stdout)
    assert document["certificate"]["status"] == "refused"
    assert document["certificate"]["looseness"] is None


def test_the_command_in_the_result_repeats_it(finished: Path, tmp_path: Path) -> None:
    words = shlex.split(result_without_times(finished)["command"])
    assert words[0] == "ceas"
    run(*words[1:], "--out", str(tmp_path / "again"))
    assert result_without_times(tmp_path / "again") == result_without_times(finished)


def test_the_written_scenario_repeats_it_too(finished: Path, tmp_path: Path) -> None:
    run_apart("run", str(finished / "scenario.toml"), "--seed", "5", "--out", str(tmp_path / "again"))
    again, before = result_without_times(tmp_path / "again"), result_without_times(finished)
    assert {**again, "command": ""} == {**before, "command": ""}


@pytest.mark.parametrize("phase", [pytest.param("compiling", marks=pytest.mark.slow), "training"])
def test_ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_numbers(
    phase: str, finished: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "interrupted"
    process = subprocess.Popen(
        command("run", "quickstart", "--seed", "5", "--out", str(directory), *SET),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(phase):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert f"ceas resume {directory}" in errors
    assert not (directory / "result.json").exists()
    run("resume", str(directory))
    assert result_without_times(directory) == result_without_times(finished)
    assert certificate_bytes(directory) == certificate_bytes(finished)
    assert not (directory / "checkpoint").exists()


def test_a_killed_run_resumes_from_its_last_checkpoint(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "killed"
    process = subprocess.Popen(
        command("run", "quickstart", "--seed", "5", "--out", str(directory), *SET),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    checkpoint, deadline = directory / "checkpoint" / "state.npz", time.monotonic() + TIMEOUT_S
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait(timeout=TIMEOUT_S)
    if not (directory / "result.json").exists():
        run("resume", str(directory))
    assert result_without_times(directory) == result_without_times(finished)
    assert certificate_bytes(directory) == certificate_bytes(finished)


def test_compare_adds_rows_and_repeats_none(tmp_path: Path) -> None:
    arguments = ("compare", "quickstart", "--methods", "ceas,mean", "--attacks", "none,sign_flip", *SET)
    arguments += ("--set", "clock.rounds=2", "--set", "output.checkpoint_rounds=1")
    first = json.loads(run(*arguments, "--seeds", "1", "--out", str(tmp_path), "--json").stdout)
    assert len(first["cells"]) == 4
    again = run(*arguments, "--seeds", "1", "--out", str(tmp_path), "--json")
    assert json.loads(again.stdout)["cells"] == first["cells"]
    # Nothing is run again.
    assert "seed 0" not in again.stderr
    more = json.loads(run(*arguments, "--seeds", "2", "--out", str(tmp_path), "--json").stdout)
    assert [cell["seeds"] for cell in more["cells"]] == [[0, 1]] * 4
    assert set(more["references"]) == {"test_accuracy_logistic", "test_accuracy_separable"}
    assert all(found["n_values"] == 2 and 0 < found["mean"] <= 1 for found in more["references"].values())
    run("report", str(tmp_path))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "8 runs compare 2 methods under 2 attacks over 2 seeds" in page
    assert "Not shown" not in page
    # Another scenario in the same folder: the page shows it alone, and says what it leaves out.
    settings = (*SET, "--set", "clock.rounds=2", "--set", "learning.learning_rate=0.01")
    run("compare", "quickstart", "--methods", "ceas", "--seeds", "1", *settings, "--out", str(tmp_path))
    run("report", str(tmp_path))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Not shown: 8 runs in this folder under other settings" in page
    assert page.count("(n = 1)") > 0
    assert "(n = 2)" not in page
    assert "1 method under 1 attack" in page


def test_schedule_adds_seeds_after_an_interruption_and_reports(tmp_path: Path) -> None:
    directory = tmp_path / "study"
    policies = ("--policies", "ceas,on_demand,oldest_first")
    arguments = ("schedule", "quickstart", *policies, "--rounds", "2", "--tuning-rounds", "1", *SET)
    process = subprocess.Popen(
        command(*arguments, "--seeds", "1", "--out", str(directory)),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("on_demand"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "repeat the command to go on" in errors
    assert not (directory / "result.json").exists()
    first = json.loads(run(*arguments, "--seeds", "1", "--out", str(directory), "--json").stdout)
    more = run(*arguments, "--seeds", "2", "--out", str(directory), "--json")
    assert {row["policy"] for row in first["rows"]} == {"ceas", "on_demand", "oldest_first"}
    assert all(0 < row["utilisation"] <= 1 for row in first["rows"])
    # One run is missing for each result, and nothing is tuned again.
    phases = {line.rsplit(" ", 1)[0] for line in more.stderr.splitlines()}
    assert phases == {f"{row['policy']}, seed 1" for row in first["rows"]}
    assert json.loads(more.stdout)["seeds"] == [0, 1]
    tables = ("schedule", "schedule_trials", "schedule_links", "schedule_nodes", "schedule_pairs", "schedule_waits")
    expected = {"result.json", "scenario.toml", "report.html", *(f"{name}.parquet" for name in tables)}
    assert {entry.name for entry in directory.iterdir()} == expected
    page = (directory / "report.html").read_bytes()
    run("report", str(directory))
    assert (directory / "report.html").read_bytes() == page


def test_pairs_as_they_are_heralded_run_and_report(tmp_path: Path) -> None:
    """Bell-diagonal pairs in memories of T1 and T2, with keys over routes, from the command line to the tables."""
    settings = (
        "clock.rounds=3",
        "clock.learning_window_s=0.3",
        "hardware.pair_states=bell_diagonal",
        "hardware.relaxation_time_s=0.5",
        "hardware.dephasing_time_s=0.2",
        "schedule.route_key_pairs_per_round=4",
    )
    chosen = [part for setting in settings for part in ("--set", setting)]
    directory = tmp_path / "run"
    run("run", "quickstart", "--seed", "5", "--out", str(directory), *SET, *chosen)
    result = result_without_times(directory)
    assert result["fates"]["learning"] > 0
    assert result["routes"]["served"] > 0
    text = (directory / "scenario.toml").read_text("utf-8")
    assert 'pair_states = "bell_diagonal"' in text
    assert "coherence_time_s = 0.25" in text
    links = read_table(directory / "links.parquet", "links")
    is_used = np.isfinite(links["fidelity_at_use_mean"])
    assert is_used.any()
    # A pair may be used the moment it is heralded.
    lost = links["initial_fidelity"][is_used] - links["fidelity_at_use_mean"][is_used]
    assert (lost > -1e-12).all()
    assert (lost > 1e-4).any()
    assert (links["certified_werner"] <= 1.0).all()
    run("report", str(directory))
