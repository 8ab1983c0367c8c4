"""Schedule studies: what they measure, keep, repeat and say."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError, RunDirectoryError, ScenarioError
from ceas.experiments import registry, schedule_store
from ceas.experiments.assemble import assemble_world
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.experiments.schedule import TUNING_SEEDS, schedule_policies
from ceas.experiments.schedule_runs import bound_of, run_policy
from ceas.experiments.schedule_store import StudyTables, is_schedule, read_schedule, study_id_of
from ceas.experiments.schedule_study import (
    SCHEDULE_METRICS,
    PolicyResult,
    ScheduleStudy,
    Trial,
    chosen_trials,
    study_document,
    verdict,
)
from ceas.network import Fate, advance_round, initial_state
from ceas.network.records import VALUE_CLASSES
from ceas.runtime.progress import ProgressEvent

SETTINGS = (
    "topology.kind=ring",
    "topology.n_nodes=5",
    "topology.spacing_km=5",
    "hardware.multiplexing=16",
    "clock.rounds=3",
    "clock.learning_window_s=0.3",
    "clock.exchange_window_s=0.05",
    "circuit.n_layers=2",
)
POLICIES = ("ceas", "greedy_fidelity", "on_demand")
PLAN: dict[str, Any] = {"policies": POLICIES, "rounds": 3, "tuning_rounds": 1, "bound_rounds": 2}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("quickstart", SETTINGS)


@pytest.fixture(scope="module")
def directory(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "whole"
    schedule_policies(scenario, seeds=(0, 1), out=path, command="ceas schedule", **PLAN)
    return path


@pytest.fixture(scope="module")
def study(directory: Path) -> ScheduleStudy:
    return read_schedule(directory)


class Heard:
    """Notes the phases that a study tells, and stops it before the n-th."""

    def __init__(self, stop_at: int = -1) -> None:
        self.phases: list[str] = []
        self.stop_at = stop_at

    def __call__(self, event: ProgressEvent) -> None:
        assert event.training_round == len(self.phases)
        assert event.training_round < event.rounds
        if len(self.phases) == self.stop_at:
            raise KeyboardInterrupt
        self.phases.append(event.phase)


def comparable(study: ScheduleStudy) -> str:
    return json.dumps({**study_document(study), "command": ""}, sort_keys=True)


def test_figures_are_those_of_the_network_run_by_hand(scenario: Scenario, study: ScheduleStudy) -> None:
    for result in study.policies:
        world = assemble_world(scenario, 1)
        model = world.network
        policy = registry.bind("policy", result.policy, result.parameters)(model)
        state = initial_state(model, seed=1)
        windows = [advance_round(state, model, policy) for _ in range(3)]
        figures = {name: values[1] for name, values in result.figures.items()}
        used = sum(int(w.fates[:, [Fate.LEARNING, Fate.KEY, Fate.TEST]].sum()) for w in windows)
        assert figures["utilisation"] == used / sum(int(w.generated.sum()) for w in windows)
        values = [float(w.delivered_value.sum()) for w in windows]
        assert figures["value_per_round"] == pytest.approx(sum(values) / 3, rel=1e-12)
        bound = bound_of(world, seed=1, rounds=2)
        assert figures["fraction_of_bound"] == pytest.approx(sum(values[:2]) / bound, rel=1e-12)
        parts = sum(figures[f"value_{name}"] for name in VALUE_CLASSES)
        assert figures["delivered_value"] == pytest.approx(parts, rel=1e-12)
        shots = np.concatenate([w.shot_learner for w in windows])
        assert figures["shots"] == len(shots)
        ended = sum(figures[fate.name.lower()] for fate in Fate if fate.name.lower() in figures)
        assert ended == figures["generated"]


def test_links_and_pairs_tell_of_the_first_seed_what_its_row_sums_up(study: ScheduleStudy) -> None:
    for result in study.policies:
        text = json.dumps(dict(result.parameters), sort_keys=True)
        chosen = (study.links["study_id"] == result.study_id) & (study.links["parameters"] == text)
        links = {name: column[chosen] for name, column in study.links.items()}
        assert set(links["seed"]) == {0}
        assert links["link"].tolist() == list(range(5))
        for fate in ("learning", "key", "test", "expired", "discarded", "alive", "generated"):
            assert links[fate].sum() == result.figures[fate][0]
        used = links["learning"] + links["key"] + links["test"]
        known = used > 0
        mean = np.average(links["fidelity_at_use_mean"][known], weights=used[known])
        # The figure comes from a histogram with bins of 0.0075.
        assert mean == pytest.approx(result.figures["fidelity_at_use_mean"][0], abs=0.00375)
        assert (links["fidelity_at_use_mean"][known] <= links["initial_fidelity"][known] + 1e-6).all()
        mine = (study.pairs["study_id"] == result.study_id) & (study.pairs["parameters"] == text)
        assert mine.any()
        assert len(np.unique(study.pairs["pair_id"][mine])) == mine.sum()
        assert (study.pairs["end_ns"][mine] >= study.pairs["birth_ns"][mine]).all()


def test_waiting_times_have_the_mean_and_quantile_of_the_row(study: ScheduleStudy) -> None:
    """Bins are a sixteenth of a doubling wide, and counts stand at their upper ends."""
    for result in study.policies:
        text = json.dumps(dict(result.parameters), sort_keys=True)
        mine = (study.waits["study_id"] == result.study_id) & (study.waits["parameters"] == text)
        for use, served in (("shot", result.figures["shots"][0]), ("key", None)):
            rows = mine & (study.waits["use"] == use)
            count, wait_s = study.waits["count"][rows], study.waits["wait_s"][rows]
            assert served is None or count.sum() >= served
            mean = np.average(wait_s, weights=count)
            known = result.figures[f"{use}_wait_mean_s"][0]
            assert known * 0.999 <= mean <= known * 1.07 + 2e-9
            order = np.argsort(wait_s)
            place = np.searchsorted(np.cumsum(count[order]), 0.99 * count.sum())
            p99 = result.figures[f"{use}_wait_p99_s"][0]
            assert p99 <= wait_s[order][place] <= p99 * 1.07 + 2e-9


def test_pairs_are_traced_in_one_round_and_tracing_changes_nothing(scenario: Scenario) -> None:
    world = assemble_world(scenario, 3)
    runs = [run_policy("oldest_first", {}, world, seed=3, rounds=3, is_traced=flag) for flag in (True, False)]
    assert runs[0].figures == pytest.approx(runs[1].figures, nan_ok=True)
    assert len(runs[1].pairs["link"]) == 0
    round_ns = world.network.clock.round_ns
    assert set(runs[0].pairs["end_ns"] // round_ns) == {1}
    assert len(np.unique(runs[0].pairs["link"])) <= 2


def test_nobody_passes_the_bound(study: ScheduleStudy) -> None:
    """The bound is on the mean over the coins that make tests; 2 % is far beyond what they move here."""
    for result in study.policies:
        assert (result.figures["fraction_of_bound"] > 0.2).all()
        assert (result.figures["fraction_of_bound"] < 1.02).all()
        assert all(0 < trial.fraction_of_bound < 1.02 for trial in result.trials)


def test_reported_parameters_are_the_best_trials(study: ScheduleStudy) -> None:
    for policy in POLICIES:
        results = [one for one in study.policies if one.policy == policy]
        trials = results[0].trials
        assert len(trials) == 8
        best = max(trial.value_per_round for trial in trials)
        assert [t.value_per_round for t in trials if t.parameters == results[0].parameters] == [best]
        if len(results) == 2:
            thrifty = [t for t in trials if t.utilisation >= 0.9]
            assert results[1].label == f"{policy} (thrifty)"
            [found] = [t for t in thrifty if t.parameters == results[1].parameters]
            assert found.value_per_round == max(t.value_per_round for t in thrifty)
        assert {t.is_chosen for t in trials if t.parameters in [one.parameters for one in results]} == {True}


def test_a_finished_study_is_read_back_and_not_run_again(scenario: Scenario, directory: Path) -> None:
    heard = Heard()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    again = schedule_policies(scenario, seeds=(0, 1), out=directory, progress=heard, command="ceas schedule", **PLAN)
    assert heard.phases == []
    assert comparable(again) == comparable(read_schedule(directory))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_without_a_directory_the_numbers_are_the_same(scenario: Scenario, study: ScheduleStudy) -> None:
    assert comparable(schedule_policies(scenario, seeds=(0, 1), **PLAN)) == comparable(study)


@pytest.mark.parametrize("stop_at", [3, 19, 40])
def test_an_interrupted_study_goes_on_to_the_same_numbers(
    stop_at: int, scenario: Scenario, study: ScheduleStudy, tmp_path: Path
) -> None:
    heard = Heard(stop_at)
    with pytest.raises(KeyboardInterrupt):
        schedule_policies(scenario, seeds=(0, 1), out=tmp_path, progress=heard, **PLAN)
    assert is_schedule(tmp_path)
    with pytest.raises(RunDirectoryError, match="not finished"):
        read_schedule(tmp_path)
    rest = Heard()
    again = schedule_policies(scenario, seeds=(0, 1), out=tmp_path, progress=rest, **PLAN)
    total = len(heard.phases) + len(rest.phases)
    assert total == 3 * 8 * 2 + 2 * len(study.policies)
    assert comparable(again) == comparable(study)


def test_more_seeds_and_policies_add_only_what_is_missing(scenario: Scenario, tmp_path: Path) -> None:
    plan = {**PLAN, "policies": ("on_demand",)}
    schedule_policies(scenario, seeds=(0,), out=tmp_path, **plan)
    heard = Heard()
    schedule_policies(scenario, seeds=(0, 1), out=tmp_path, progress=heard, **plan)
    assert set(heard.phases) == {"on_demand, seed 1"}
    heard = Heard()
    plan = {**PLAN, "policies": ("on_demand", "random"), "tuning_rounds": 1}
    both = schedule_policies(scenario, seeds=(1,), out=tmp_path, progress=heard, **plan)
    # Seed 1 is now the first, whose links and pairs are kept.
    assert {phase.split(",")[0] for phase in heard.phases if "tuning" in phase} == {"random"}
    assert set(both.links["seed"]) == set(both.pairs["seed"]) == {1}
    assert both.seeds == (1,)


def test_what_decides_the_numbers_is_in_the_identity(scenario: Scenario) -> None:
    plan = {"rounds": 3, "tuning_rounds": 1, "bound_rounds": 2}
    variant = scenario.with_policy("on_demand")
    first = study_id_of(variant, **plan)
    assert study_id_of(variant, **plan) == first
    others = [study_id_of(variant, **{**plan, name: 7}) for name in plan]
    others.append(study_id_of(scenario.with_policy("random"), **plan))
    others.append(study_id_of(variant.with_overrides(["schedule.key_value=0.3"]), **plan))
    assert len({first, *others}) == 6
    # Learning does not touch the network.
    assert study_id_of(variant.with_overrides(["learning.learning_rate=0.5"]), **plan) == first


@pytest.mark.parametrize(
    "module", ["network/kernel.py", "runtime/world.py", "runtime/route_world.py", "learning/pair_weights.py"]
)
def test_changed_code_of_the_network_gives_another_identity(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    def read_changed(path: Path) -> bytes:
        with path.open("rb") as file:
            text = file.read()
        return text + b"# changed" if path.as_posix().endswith(f"ceas/{module}") else text

    first = study_id_of(scenario, rounds=3, tuning_rounds=1, bound_rounds=2)
    schedule_store._program.cache_clear()
    monkeypatch.setattr(Path, "read_bytes", read_changed)
    changed = study_id_of(scenario, rounds=3, tuning_rounds=1, bound_rounds=2)
    schedule_store._program.cache_clear()
    assert changed != first


def test_the_scenarios_own_parameters_are_not_tuned(scenario: Scenario) -> None:
    own = scenario.with_overrides(["schedule.policy=ceas", "schedule.parameters={waste_share = 0.1}"])
    study = schedule_policies(own, policies=("ceas",), seeds=(0,), rounds=1, tuning_rounds=1, bound_rounds=0)
    [result] = study.policies
    assert (result.trials, dict(result.parameters), study.tuning_rounds) == ((), {"waste_share": 0.1}, 0)
    assert not study.has_bound
    assert np.isnan(result.figures["fraction_of_bound"]).all()
    assert verdict(study).endswith("ceas is alone, with nothing to compare it with.")


def test_mistakes_are_told_before_anything_runs(scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="`policies` must not be empty"):
        schedule_policies(scenario, policies=(), seeds=(0,))
    with pytest.raises(DomainError, match="on which policies are tuned"):
        schedule_policies(scenario, policies=("ceas",), seeds=TUNING_SEEDS, tuning_rounds=1)
    for name, count, least in (("bound_rounds", -1, 0), ("tuning_rounds", -1, 0), ("rounds", 0, 1)):
        with pytest.raises(DomainError, match=f"`{name}` must be at least {least}"):
            schedule_policies(scenario, policies=("ceas",), seeds=(0,), **{name: count})
    with pytest.raises(ScenarioError, match="on_demnd"):
        schedule_policies(scenario, policies=("on_demnd",), seeds=(0,), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_directory_is_an_error_of_the_directory(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text((directory / "result.json").read_text("utf-8"), "utf-8")
    (tmp_path / "scenario.toml").write_text((directory / "scenario.toml").read_text("utf-8"), "utf-8")
    with pytest.raises(RunDirectoryError, match="no row for ceas, seed 0"):
        read_schedule(tmp_path)
    (tmp_path / "result.json").write_text("{}", "utf-8")
    with pytest.raises(RunDirectoryError, match="lacks"):
        read_schedule(tmp_path)
    (tmp_path / "result.json").write_text("{", "utf-8")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        read_schedule(tmp_path)


def test_rows_that_an_interruption_left_half_are_replaced(tmp_path: Path) -> None:
    tables, key = StudyTables(tmp_path), {"study_id": "a", "policy": "p", "trial": 0, "seed": 1}
    columns = {"parameters": np.array(["{}"]), "utilisation": np.array([0.5]), "delivered_value": np.array([1.0])}
    columns |= {"bounded_value": np.array([1.0]), "bound": np.array([np.nan])}
    tables.add("schedule_trials", key, columns)
    tables.add("schedule_trials", key, columns | {"utilisation": np.array([0.75])})
    tables.add("schedule_trials", {**key, "seed": 2}, columns)
    again = StudyTables(tmp_path).tables["schedule_trials"]
    assert again["utilisation"].tolist() == [0.75, 0.5]
    assert np.isnan(again["bound"]).all()


# ---- words -----------------------------------------------------------------------------------------------------------


def trial(utilisation: float, value: float) -> Trial:
    return Trial(
        parameters={"u": utilisation, "v": value},
        utilisation=utilisation,
        value_per_round=value,
        fraction_of_bound=value / 10,
        is_chosen=False,
    )


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ([], []),
        ([(0.95, 3.0), (0.99, 2.0)], [0]),
        ([(0.95, 3.0), (0.5, 4.0), (0.99, 2.0)], [1, 0]),
        ([(0.5, 3.0), (0.5, 4.0), (0.8, 4.0)], [1]),
        ([(0.9, 4.0), (0.95, 4.0)], [0]),
    ],
)
def test_the_best_trial_and_the_best_thrifty_one_are_chosen(
    points: list[tuple[float, float]], chosen: list[int]
) -> None:
    assert chosen_trials([trial(*point) for point in points]) == chosen


def result(policy: str, values: list[float], utilisation: float, label: str = "") -> PolicyResult:
    figures: Mapping[str, np.ndarray[Any, Any]] = {name: np.full(len(values), 0.5) for name in SCHEDULE_METRICS}
    return PolicyResult(
        policy=policy,
        label=label or policy,
        study_id=policy,
        parameters={},
        trials=(),
        figures={
            **figures,
            "value_per_round": np.array(values),
            "fraction_of_bound": np.array(values) / 20,
            "utilisation": np.full(len(values), utilisation),
        },
    )


def study_of(scenario: Scenario, *results: PolicyResult) -> ScheduleStudy:
    return ScheduleStudy(
        scenario=scenario,
        rounds=1,
        tuning_rounds=0,
        bound_rounds=1,
        seeds=tuple(range(len(results[0].figures["utilisation"]))),
        policies=results,
        links={},
        nodes={},
        pairs={},
        waits={},
        ceas_version="0",
    )


def test_the_verdict_says_who_wins_and_how_surely(scenario: Scenario) -> None:
    base = result("random", [10.0, 12.0, 11.0, 9.0], 0.95)
    ahead = study_of(scenario, base, result("ceas", [11.0, 13.1, 12.0, 10.1], 0.95))
    # Differences 1, 1.1, 1, 1.1: mean 1.05, standard error 0.05774/2.
    assert verdict(ahead) == (
        "Among policies that use at least 90 % of their pairs, ceas delivers 10.0 % more value than the best baseline, "
        "random (4 seeds, 36.4 standard errors of the paired difference, p = 5e-05). Of a bound that nobody can pass, "
        "they reach: ceas 57.8 % and random 52.5 %."
    )
    behind = study_of(scenario, base, result("ceas", [9.0, 11.1, 10.0, 8.1], 0.95))
    assert "a baseline wins: ceas delivers 9.0 % less value than random" in verdict(behind)
    level = study_of(scenario, base, result("ceas", [9.0, 13.0, 10.0, 10.0], 0.95))
    assert "ceas cannot be told from the best baseline, random" in verdict(level)
    # Three standard errors on two seeds are luck.
    few = study_of(scenario, result("random", [10.0, 10.0], 0.95), result("ceas", [10.9, 10.5], 0.95))
    assert "cannot be told" in verdict(few)
    single = study_of(scenario, result("random", [10.0], 0.95), result("ceas", [11.0], 0.95))
    assert "on one seed, which cannot tell a difference from luck" in verdict(single)


def test_wasteful_policies_compete_apart(scenario: Scenario) -> None:
    study = study_of(
        scenario,
        result("ceas", [14.0, 15.0], 0.5),
        result("ceas", [12.0, 13.0], 0.95, "ceas (thrifty)"),
        result("random", [13.0, 14.5], 0.2),
        result("on_demand", [11.0, 12.5], 1.0),
    )
    first, second = study.contests()
    assert (first.ours.label, first.baseline and first.baseline.label) == ("ceas (thrifty)", "on_demand")
    assert (second.ours.label, second.baseline and second.baseline.label) == ("ceas", "random")
    assert [one.label for one in study.by_value()] == ["ceas (thrifty)", "on_demand", "ceas", "random"]
    assert study.gain(study.policies[3]) is None
    assert study.gain(study.policies[2]) is None
    [ours] = [gain for gain in [study.gain(study.policies[1])] if gain]
    assert (ours[0].policy, ours[1].mean) == ("on_demand", 0.75)
    document = study_document(study)
    assert document["best_baseline"] == {"all": "random", "thrifty": "on_demand"}
    assert "Whatever part of the pairs is used" in document["verdict"]
    alone = study_of(scenario, replace(study.policies[0]), study.policies[2])
    assert [one.is_thrifty for one in alone.contests()] == [False]
