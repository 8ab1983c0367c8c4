"""The commands: what they call, print and write, and how they end. The simulator itself is replaced."""

import json
import math
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import ceas
import ceas.experiments
import ceas.report
from ceas.cli import app
from ceas.errors import CapacityError, DomainError, InterruptedRunError, RunDirectoryError
from ceas.experiments import Comparison, ComparisonCell, ProgressEvent, document_scenario_keys, load_scenario, names
from ceas.experiments.results import RESULT_KEYS, RunResult, write_json
from ceas.experiments.scenario import Scenario
from ceas.experiments.schedule_study import SCHEDULE_METRICS, PolicyResult, ScheduleStudy, Trial
from ceas.experiments.statistics import MeanInterval
from ceas.physics import load_preset, preset_names

Replace = Callable[[str, Any], None]


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Replace:
    monkeypatch.setattr(ceas.report, "write_report", lambda directories: directories[0] / "report.html")
    # Into the module's own names, so that the real function is not imported to be put back.
    return lambda name, value: monkeypatch.setitem(vars(ceas.experiments), name, value)


def result_of(scenario: Scenario, seed: int, command: str) -> RunResult:
    summary: dict[str, Any] = dict.fromkeys(RESULT_KEYS[""], 0.5)
    summary |= {group: dict.fromkeys(keys, 7) for group, keys in RESULT_KEYS.items() if group}
    summary |= {
        "scenario_id": scenario.scenario_id,
        "scenario_name": scenario.name,
        "seed": seed,
        "method": scenario.aggregation.rule,
        "attack": scenario.byzantine.attack,
        "policy": scenario.schedule.policy,
        "rounds": scenario.clock.rounds,
        "learners": scenario.n_nodes,
        "test_accuracy": 0.8125,
        "train_loss": float("nan"),
        "command": command,
        "circuit": {
            **{"ansatz": "iqp", "qubits": 2, "parameters": 6, "inputs": 2, "depth": 9},
            **{"gates": {"h": 2, "rzz": 1}, "two_qubit_gates": 1, "drawing": ["q0: ─H─"]},
        },
        "partition": {
            **{"kind": "auto", "qpus": 2, "first_qpus": [0, 0, 1], "readout_qpus": [0, 1, 1]},
            **{"telegates": 1, "teledata": 1, "pairs_per_shot": 2},
        },
        "engines": {
            "ideal": {"engine": "heisenberg", "reason": "heisenberg is predicted to take 1 s, trajectories 2 s."},
            "noisy": {"engine": "heisenberg", "reason": "trajectories needs 9 GiB."},
        },
    }
    rounds = {"byzantine_weight": np.array([0.25, 0.75]), "delivered_updates": np.array([8, 8])}
    return RunResult(scenario=scenario, summary=summary, rounds=rounds, learners={}, links={}, nodes={}, pairs={})


@pytest.fixture
def calls(replace: Replace) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    def run_scenario(scenario: Scenario, *, seed: int, out: Path, progress: Any, command: str) -> RunResult:
        made.append({"scenario": scenario, "seed": seed, "out": out, "command": command})
        for training_round in range(scenario.clock.rounds + 1):
            accuracy = 0.5 if training_round else None
            progress(
                ProgressEvent(
                    phase="training",
                    training_round=training_round,
                    rounds=scenario.clock.rounds,
                    test_accuracy=accuracy,
                    utilisation=accuracy,
                )
            )
        write_json(out / "result.json", {})
        return result_of(scenario, seed, command)

    replace("run_scenario", run_scenario)
    return made


def test_run_passes_scenario_seed_folder_and_command(calls: list[dict[str, Any]]) -> None:
    done = call("run", "quickstart", "--seed", "5", "--set", "clock.rounds=3", "--set", 'description="a b"')
    assert done.exit_code == 0, done.stderr
    [made] = calls
    assert made["scenario"] == load_scenario("quickstart", ["clock.rounds=3", 'description="a b"'])
    assert made["seed"] == 5
    assert made["out"] == Path("runs/quickstart-ceas-none-seed5")
    assert made["command"] == """ceas run quickstart --seed 5 --set clock.rounds=3 --set 'description="a b"'"""


def test_run_prints_a_table_on_stdout_and_progress_on_stderr(calls: list[dict[str, Any]]) -> None:
    done = call("run", "quickstart", "--out", "there")
    assert "0.8125" in done.stdout
    assert "30 training rounds, 8 learners" in done.stdout
    assert "there/report.html" in done.stdout
    assert "iqp, 2 qubits, 6 parameters, depth 9" in done.stdout
    assert "3: 2 h, 1 rzz" in done.stdout
    assert "auto: q0 on QPU 0; q1 from QPU 0 to QPU 1; q2 on QPU 1; 1 telegate and 1 teledata a shot" in done.stdout
    assert " heisenberg is predicted to take 1 s, trajectories 2 s." in done.stdout
    assert "heisenberg: trajectories needs 9 GiB." in done.stdout
    assert "50.0 %, being 87.5 % of the learners" in done.stdout
    assert "8 of 8 updates delivered in a round, 7 messages unsent, 7 links short of key" in done.stdout
    assert done.stderr.splitlines()[0] == "training 0/30"
    assert done.stderr.splitlines()[-1] == "training 30/30  test accuracy 0.500  pairs used 50.0 %"
    assert len(done.stderr.splitlines()) == 11


def test_run_json_is_exactly_one_document(calls: list[dict[str, Any]]) -> None:
    done = call("run", "quickstart", "--json", "--out", "there")
    document = json.loads(done.stdout)
    assert document["test_accuracy"] == 0.8125
    assert document["train_loss"] is None
    assert document["directory"] == "there"
    assert set(RESULT_KEYS[""]) <= set(document)


def test_run_refuses_a_finished_run_unless_forced(calls: list[dict[str, Any]]) -> None:
    assert call("run", "quickstart").exit_code == 0
    again = call("run", "quickstart")
    assert again.exit_code == 2
    assert "error: runs/quickstart-ceas-none-seed0: holds a finished run" in again.stderr
    assert len(calls) == 1
    assert call("run", "quickstart", "--force").exit_code == 0
    assert len(calls) == 2


def test_run_points_at_resume_where_a_checkpoint_is(calls: list[dict[str, Any]]) -> None:
    checkpoint = Path("there/checkpoint")
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.npz").touch()
    done = call("run", "quickstart", "--out", "there")
    assert done.exit_code == 2
    assert "ceas resume there" in done.stderr
    assert not calls


def test_users_own_rule_makes_a_file_name_without_a_colon(calls: list[dict[str, Any]]) -> None:
    assert call("run", "quickstart", "--set", "aggregation.rule=mine:rule").exit_code == 0
    assert calls[0]["out"] == Path("runs/quickstart-mine.rule-none-seed0")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DomainError("Argument `x` must be 1, but is 2."), 2, "error: Argument `x` must be 1, but is 2.\n"),
        (CapacityError("too [large]"), 2, "error: too [large]\n"),
        (RunDirectoryError("x: not a run"), 2, "error: x: not a run\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            InterruptedRunError(Path("a b"), 7),
            130,
            "interrupted after 7 training rounds; checkpoint in a b\ncontinue with: ceas resume 'a b'\n",
        ),
    ],
)
def test_expected_errors_are_messages_with_their_status(
    error: BaseException, status: int, message: str, replace: Replace
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise error

    replace("run_scenario", fail)
    done = call("run", "quickstart")
    assert (done.exit_code, done.stderr, done.stdout) == (status, message, "")


def test_a_defect_keeps_its_traceback(replace: Replace) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise ZeroDivisionError("a defect")

    replace("run_scenario", fail)
    done = call("run", "quickstart")
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


def test_resume_passes_the_folder(replace: Replace) -> None:
    seen: list[Path] = []

    def resume_run(directory: Path, *, progress: Any) -> RunResult:
        seen.append(directory)
        return result_of(load_scenario("quickstart"), 3, "ceas run quickstart --seed 3")

    replace("resume_run", resume_run)
    done = call("resume", "there", "--json")
    assert seen == [Path("there")]
    assert json.loads(done.stdout)["seed"] == 3


def fake_comparison(scenario: Scenario, **options: Any) -> Comparison:
    cells = tuple(
        ComparisonCell(
            method=method,
            attack=attack,
            seeds=tuple(options["seeds"]),
            means=dict.fromkeys(METRICS, 0.25),
            intervals=dict.fromkeys(METRICS, (0.125, float("nan"))),
        )
        for method in options["methods"]
        for attack in options["attacks"]
    )
    # As for states: there is no circuit without entanglers beside them.
    references = {"test_accuracy_logistic": MeanInterval(mean=0.75, low=0.625, high=math.nan, n_values=3)}
    return Comparison(scenario=scenario, directory=options["out"], cells=cells, references=references)


METRICS = (
    "test_accuracy",
    "test_accuracy_last5",
    "bell_pair_utilisation",
    "delivered_value",
    "value_learning",
    "gradient_variance",
)


def test_compare_passes_methods_attacks_and_seeds(replace: Replace) -> None:
    seen: list[dict[str, Any]] = []

    def compare(scenario: Scenario, **options: Any) -> Comparison:
        seen.append(options)
        return fake_comparison(scenario, **options)

    replace("compare", compare)
    done = call("compare", "headline", "--methods", "mean, ceas,mean", "--seeds", "2", "--first-seed", "4")
    assert done.exit_code == 0, done.stderr
    [options] = seen
    assert list(options["methods"]) == ["mean", "ceas"]
    assert list(options["attacks"]) == ["a_little_is_enough"]
    assert list(options["seeds"]) == [4, 5]
    assert options["out"] == Path("runs/headline-comparison")
    assert options["command"] == (
        "ceas compare headline --methods mean,ceas --attacks a_little_is_enough --seeds 2 --first-seed 4"
    )
    assert "0.25 [0.125, -]" in done.stdout
    assert done.stdout.count("test accuracy of logistic regression on the same features: 0.75 [0.625, -]\n") == 1
    assert "separable" not in done.stdout


def test_compare_takes_parameters_and_numbers_of_attackers(replace: Replace) -> None:
    seen: list[dict[str, Any]] = []

    def compare(scenario: Scenario, **options: Any) -> Comparison:
        seen.append(options)
        return fake_comparison(scenario, **options)

    replace("compare", compare)
    methods = "ceas( edge_factor=1.20 )@on_demand, trimmed_mean+debiased"
    attacks = "none,opt_alie(step=0.5, goal=alignment)"
    done = call("compare", "headline", "--methods", methods, "--attacks", attacks, "--n-byzantine", "0,5/10")
    assert done.exit_code == 0, done.stderr
    [options] = seen
    assert options["methods"] == ["ceas(edge_factor=1.2)@on_demand", "trimmed_mean+debiased"]
    assert options["attacks"] == ["none#0", "none#5/10", "opt_alie(goal=alignment,step=0.5)#5/10"]
    # The command says the same in words that a shell leaves alone, and reads back to the same.
    assert shlex.split(options["command"])[3:7] == [
        *("--methods", ",".join(options["methods"])),
        *("--attacks", ",".join(options["attacks"])),
    ]
    done = call(*shlex.split(options["command"])[1:])
    assert done.exit_code == 0, done.stderr
    assert (seen[1]["methods"], seen[1]["attacks"]) == (options["methods"], options["attacks"])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--attacks",
            "opt_alie(step=0.5",
            "Option `--attacks`: `opt_alie(step=0.5`: found its end, but `)` must come before.",
        ),
        ("--attacks", "opt_alie(step:1)", "Option `--attacks`: `opt_alie(step:1)`: found `:` after `opt_alie(step`"),
        ("--attacks", "sign_flop", "did you mean sign_flip?"),
        (
            "--methods",
            "ceas+debised",
            "Option `--methods`: `ceas+debised`: found `debised` after `ceas+`, must be debiased.",
        ),
        ("--methods", "ceas(contraction_flor=1)", "did you mean `contraction_floor`?"),
        ("--n-byzantine", "5,x", "Option `--n-byzantine`: `x`: found `x`, must be a number of attackers"),
        ("--n-byzantine", " ", "Option `--n-byzantine` must list at least one name"),
    ],
)
def test_compare_refuses_names_that_it_cannot_read_with_one_message(option: str, value: str, message: str) -> None:
    done = call("compare", "headline", "--methods", "mean", option, value)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_compare_json(replace: Replace) -> None:
    replace("compare", fake_comparison)
    done = call("compare", "headline", "--methods", "mean", "--attacks", "none,sign_flip", "--json", "--out", "x")
    document = json.loads(done.stdout)
    assert [(cell["method"], cell["attack"]) for cell in document["cells"]] == [("mean", "none"), ("mean", "sign_flip")]
    assert document["cells"][0]["intervals"]["test_accuracy"] == [0.125, None]
    assert document["directory"] == "x"
    known = {"mean": 0.75, "low": 0.625, "high": None, "n_values": 3}
    assert document["references"] == {"test_accuracy_logistic": known}


def test_an_interrupted_comparison_says_how_to_go_on(replace: Replace) -> None:
    def interrupt(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    replace("compare", interrupt)
    done = call("compare", "headline", "--methods", "mean", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "finished runs are kept in x; repeat the command to go on\ninterrupted\n"


@pytest.mark.parametrize("option", ["--methods", "--attacks"])
def test_compare_needs_a_name(option: str) -> None:
    done = call("compare", "headline", "--methods", "mean", option, " , ")
    assert done.exit_code == 2
    assert f"Option `{option}` must list at least one name" in done.stderr


def fake_study(scenario: Scenario, **options: Any) -> ScheduleStudy:
    seeds, rng = tuple(options["seeds"]), np.random.default_rng(4)
    policies = [
        PolicyResult(
            policy=policy,
            label=policy,
            study_id=policy,
            parameters={"threshold": 0.25},
            trials=(
                Trial(
                    parameters={"threshold": 0.25},
                    utilisation=0.99,
                    value_per_round=90.0,
                    fraction_of_bound=0.9,
                    is_chosen=True,
                ),
            ),
            figures={
                metric: np.full(len(seeds), 1e4 + 100.0 * place)
                if metric == "value_per_round"
                else 0.9 + 0.01 * rng.random(len(seeds))
                for metric in SCHEDULE_METRICS
            },
        )
        for place, policy in enumerate(options["policies"])
    ]
    return ScheduleStudy(
        scenario=scenario,
        rounds=options["rounds"] or scenario.clock.rounds,
        tuning_rounds=options["tuning_rounds"],
        bound_rounds=options["bound_rounds"],
        seeds=seeds,
        policies=tuple(policies),
        links={},
        nodes={},
        pairs={},
        waits={},
        ceas_version="0",
        command=options["command"],
    )


def test_schedule_compares_all_policies_unless_told(replace: Replace) -> None:
    seen: list[dict[str, Any]] = []

    def schedule_policies(scenario: Scenario, **options: Any) -> ScheduleStudy:
        seen.append(options)
        return fake_study(scenario, **options)

    replace("schedule_policies", schedule_policies)
    done = call("schedule", "quickstart", "--seeds", "2", "--json")
    assert list(seen[0]["policies"]) == list(names("policy"))
    assert list(seen[0]["seeds"]) == [0, 1]
    assert (seen[0]["rounds"], seen[0]["bound_rounds"]) == (None, 20)
    assert seen[0]["out"] == Path("runs/quickstart-schedule")
    document = json.loads(done.stdout)
    assert [row["policy"] for row in document["rows"]] == list(names("policy"))
    assert document["network_id"] == load_scenario("quickstart").network_id
    assert document["directory"] == "runs/quickstart-schedule"
    shown = call("schedule", "quickstart", "--policies", "ceas,random", "--rounds", "4", "--first-seed", "7")
    assert list(seen[1]["policies"]) == ["ceas", "random"]
    assert list(seen[1]["seeds"]) == [7, 8, 9]
    assert seen[1]["rounds"] == 4
    assert seen[1]["command"] == (
        "ceas schedule quickstart --policies ceas,random --rounds 4 --seeds 3 --first-seed 7 --tuning-rounds 4 "
        "--bound-rounds 20"
    )
    assert "oldest_first" not in shown.stdout
    assert "threshold = 0.25" in shown.stdout
    assert "runs/quickstart-schedule/report.html" in shown.stdout


def test_the_tables_of_schedule_fit_120_columns_best_first(replace: Replace) -> None:
    replace("schedule_policies", fake_study)
    shown = call("schedule", "quickstart", "--seeds", "10").stdout
    tables = shown[: shown.index("Among policies")].splitlines()
    assert max(map(len, tables)) <= 120
    order = [line.split()[0] for line in tables if line.split()[:1] and line.split()[0] in names("policy")]
    assert order[: len(names("policy"))] == list(reversed(names("policy")))


def test_an_interrupted_schedule_says_how_to_go_on(replace: Replace) -> None:
    def interrupt(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    replace("schedule_policies", interrupt)
    done = call("schedule", "headline", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "finished runs are kept in x; repeat the command to go on\ninterrupted\n"


def test_scenarios_lists_the_built_in_ones() -> None:
    done = call("scenarios")
    assert "quickstart" in done.stdout
    assert "headline" in done.stdout
    listed = {row["name"]: row for row in json.loads(call("scenarios", "--json").stdout)["scenarios"]}
    assert listed["headline"]["nodes"] == 50
    assert listed["headline"]["scenario_id"] == load_scenario("headline").scenario_id


def test_scenarios_prints_one_in_full() -> None:
    scenario = load_scenario("headline")
    assert call("scenarios", "headline").stdout == scenario.to_toml()
    document = json.loads(call("scenarios", "headline", "--json").stdout)
    assert document["scenario_id"] == scenario.scenario_id
    assert document["scenario"] == tomllib.loads(scenario.to_toml())


def test_scenarios_documents_every_key() -> None:
    shown = call("scenarios", "--keys").stdout
    rows = json.loads(call("scenarios", "--keys", "--json").stdout)["keys"]
    assert [row["key"] for row in rows] == [row.key for row in document_scenario_keys()]
    for row in rows:
        line = next(line for line in shown.splitlines() if line.split()[:1] == [row["key"]])
        assert row["meaning"] in line
        # Long lists of names are cut here; JSON has them whole.
        names = row["allowed"].removeprefix("one of ").removesuffix(", or module:name of your own").split(", ")
        cut = (
            f"one of {names[0]}, {names[1]}, {names[2]}, ... ({len(names)} names, all with --json)" if names[2:] else ""
        )
        assert row["allowed"] in line or (cut in line and len(row["allowed"]) > 200)


def test_report_writes_beside_one_run_and_here_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[Path], Path]] = []
    monkeypatch.setattr(ceas.report, "write_report", lambda directories, out: seen.append((directories, out)))
    assert call("report", "a").stdout == "wrote a/report.html\n"
    assert call("report", "a", "b").stdout == "wrote report.html\n"
    assert call("report", "a", "b", "--out", "c.html").stdout == "wrote c.html\n"
    assert [out for _, out in seen] == [Path("a/report.html"), Path("report.html"), Path("c.html")]
    assert seen[1][0] == [Path("a"), Path("b")]


def test_bench_runs_all_or_one(replace: Replace) -> None:
    replace("run_benchmark", lambda name, *_, **__: [{"engine": name, "ratio": 27.0}])
    assert "27" in call("bench").stdout
    document = json.loads(call("bench", "learning", "--json").stdout)
    assert document == {"benchmarks": {"learning": [{"engine": "learning", "ratio": 27.0}]}, "is_quick": False}


def test_an_unknown_benchmark_gets_the_nearest() -> None:
    done = call("bench", "lerning")
    assert done.exit_code == 2
    assert (
        done.stderr == "error: unknown benchmark `lerning`. Did you mean `learning`? "
        "Known: authentication, consensus, learning, network, reference, scheduling.\n"
    )


def test_bench_passes_parameters_and_prints_a_table_each(replace: Replace) -> None:
    seen: dict[str, Any] = {}

    def run(name: str, parameters: dict[str, Any], *, progress: Any) -> list[dict[str, Any]]:
        seen[name] = parameters
        return [{"table": "one", "a": 1.5}, {"table": "two", "b": 2.5}, {"table": "one", "a": 3.5}]

    replace("run_benchmark", run)
    options = [
        "--only",
        "S2,S5",
        "--seeds",
        "4",
        "--quick",
        "--out",
        "o",
        "--set",
        "processes=1",
        "--set",
        "qubits=[4]",
    ]
    shown = call("bench", "scheduling", *options).stdout
    assert seen == {
        "scheduling": {"only": "S2,S5", "seeds": 4, "quick": True, "out": "o", "processes": 1, "qubits": [4]}
    }
    assert shown.index("one") < shown.index("1.5") < shown.index("3.5") < shown.index("two") < shown.index("2.5")
    assert "table" not in shown
    assert "no measurement" in shown


def test_bench_names_the_command_that_makes_a_page_where_there_are_rows(replace: Replace, tmp_path: Path) -> None:
    def run(name: str, parameters: dict[str, Any], *, progress: Any) -> list[dict[str, Any]]:
        if name == "scheduling":
            (Path(parameters["out"]) / "rows.json").write_text('{"rows": []}')
        return [{"a": 1}]

    replace("run_benchmark", run)
    assert "ceas report" not in call("bench", "network", "--out", str(tmp_path)).stdout
    folder = tmp_path / "a folder"
    folder.mkdir()
    shown = call("bench", "scheduling", "--out", str(folder)).stdout
    assert shown.endswith(f"rows: {folder / 'rows.json'}\nreport: ceas report '{folder}'\n")
    assert "no measurement" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["scheduling", "--only", "S12"],
            "error: unknown scenario of the scheduling benchmark `S12`. Did you mean `S2`?",
        ),
        (["scheduling", "--seeds", "1"], "error: Argument `seeds` must be a whole number of at least 2, but is 1."),
        (
            ["scheduling", "--set", "sedes=3"],
            "benchmark scheduling: sedes: unknown parameter of benchmark `scheduling`",
        ),
        (["scheduling", "--set", "seeds=many"], 'benchmark scheduling: seeds: found "many" (string), must be a number'),
        (["scheduling", "--set", "seeds"], "error: Option `--set` must have the form KEY=VALUE, but is 'seeds'."),
        (["scheduling", "--set", "progress=1"], "benchmark scheduling: progress: unknown parameter"),
        (["learning", "--only", "nosy"], "error: unknown part of the learning benchmark `nosy`. Did you mean `noisy`?"),
        (["learning", "--seeds", "2"], "benchmark learning: seeds: unknown parameter of benchmark `learning`"),
        (["--seeds", "3"], "error: Options for parameters (seeds) need the name of a benchmark."),
    ],
)
def test_a_wrong_parameter_of_a_benchmark_ends_in_one_message(arguments: list[str], message: str) -> None:
    done = call("bench", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_version() -> None:
    assert call("--version").stdout == f"ceas {ceas.__version__}\n"


def test_every_command_has_help_for_itself_and_its_options() -> None:
    shown = call("--help")
    assert shown.exit_code == 0
    for command in ("run", "resume", "compare", "schedule", "scenarios", "report", "bench"):
        assert f" {command} " in shown.stdout
        assert call(command, "--help").exit_code == 0


@pytest.mark.parametrize(
    "arguments", [["rum"], ["run"], ["run", "quickstart", "--seed", "-1"], ["compare", "headline"]]
)
def test_mistakes_in_the_command_end_with_2(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stderr
    assert not done.stdout


def test_presets_are_listed_and_their_numbers_sourced() -> None:
    rows = json.loads(call("presets", "--json").stdout)["presets"]
    assert [row["preset"] for row in rows] == list(preset_names())
    numbers = json.loads(call("presets", "nv_centre", "--json").stdout)["nv_centre"]
    assert len(numbers) == len(load_preset("nv_centre").provenance)
    assert all(row["source"] and row["unit"] for row in numbers)
    assert "squidasm" in call("presets", "nv_centre").stdout


def test_unknown_preset_is_told() -> None:
    done = call("presets", "nv")
    assert done.exit_code == 2
    assert "unknown hardware preset `nv`" in done.stderr
