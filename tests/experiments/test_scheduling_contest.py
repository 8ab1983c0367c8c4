"""The contest: equal budgets, instances apart, figures that count, tables that say who won."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments import benchmark_scheduling, scheduling_entrants
from ceas.experiments.benchmark_scheduling import benchmark, run_setting, setting_rows
from ceas.experiments.scheduling_cases import ONE_LINK_CHANCES, Phase, SchedulingCase
from ceas.experiments.scheduling_contest import Run, contest, run_case
from ceas.experiments.scheduling_exact_tables import one_link_gain
from ceas.experiments.scheduling_extras import adversary_entrants, extra_measure
from ceas.experiments.scheduling_figures import bounds_of, class_hops, frontier_of, measure, utilisation_bound
from ceas.experiments.scheduling_learning import drift_entrants, imagined_case, tuned_again
from ceas.experiments.scheduling_settings import SETTINGS, Setting
from ceas.experiments.scheduling_verdicts import best_baseline, goals_of, verdict_rows
from ceas.experiments.statistics import holm, paired_difference
from ceas.network.slots import SlottedRecord
from ceas.runtime.progress import ProgressEvent


def setting_of(name: str) -> Setting:
    return next(one for one in SETTINGS if one.name == name)


SHORT_ROUNDS = {"round_slots": 20, "n_pairs": 1, "coherence_rounds": 0.5, "n_slots": 100}
TINY = replace(
    setting_of("S3 load 0.7 memory 2"),
    parameters={"load": 0.7, "memory_slots": 2, "n_slots": 60},
    has_online_bound=False,
    average_bound="",
    bounds_frontier=False,
)


def test_tuning_sees_no_reported_instance_and_takes_the_best(sketch_entrants, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, Phase]] = []
    make = Setting.case

    def watched(self: Setting, seed: int, phase: Phase, *, is_quick: bool = False) -> SchedulingCase:
        seen.append((seed, phase))
        return make(self, seed, phase, is_quick=is_quick)

    monkeypatch.setattr(Setting, "case", watched)
    documents = contest(TINY, sketch_entrants(), measure=measure, tuning_seeds=2, seeds=3, budget=3)
    assert seen == [(0, Phase.TUNING), (1, Phase.TUNING), *((seed, Phase.REPORTING) for seed in range(3))]
    ahead, demand = documents
    assert [document["policy"] for document in documents] == ["ahead", "on demand"]
    assert ahead["parameters"] == max(ahead["candidates"], key=lambda point: point["V"])["parameters"]
    assert len(ahead["candidates"]) == 3
    assert all(len(values) == 3 for values in ahead["figures"].values())
    # Without stock nobody is served when nobody waits: making pairs ahead is worth everything.
    assert max(demand["figures"]["V"]) == 0.0
    assert min(ahead["figures"]["V"]) > 0.1


@pytest.mark.parametrize("swapped", [False, True])
def test_every_policy_is_also_entered_as_thrifty_if_that_is_another_candidate(sketch_entrants, swapped: bool) -> None:
    """Ours or not; where waste is what is looked for, the best candidate is none of high utilisation."""

    def waste(case: SchedulingCase, record: SlottedRecord) -> dict[str, float]:
        figures = measure(case, record)
        return {**figures, "V": 1.0 - figures["U"]}

    setting = replace(TINY, scenario="S2", generator=setting_of("S2 load 0.7 memory 2").generator)
    entrants = [replace(one, is_ours=one.is_ours != swapped) for one in sketch_entrants()]
    documents = contest(setting, entrants, measure=waste, tuning_seeds=1, seeds=2, budget=3)
    ahead, thrifty, demand = documents
    assert [one["policy"] for one in documents] == ["ahead", "ahead (thrifty)", "on demand"]
    frugal = [point for point in ahead["candidates"] if point["U"] >= 0.9]
    assert thrifty["parameters"] == max(frugal, key=lambda point: point["V"])["parameters"] != ahead["parameters"]
    # Who makes pairs on demand is thrifty with its only candidate.
    assert [one["is_thrifty"] for one in documents] == [False, True, True]
    assert (thrifty["is_ours"], demand["is_ours"]) == (not swapped, swapped)
    assert thrifty["candidates"] == ahead["candidates"]


def test_a_second_goal_is_tuned_for_with_the_same_budget(sketch_entrants) -> None:
    setting = replace(setting_of("S6 round 20 pairs 1 coherence 0.5"), parameters=SHORT_ROUNDS)
    documents = contest(
        setting,
        sketch_entrants(),
        measure=measure,
        extra=extra_measure(setting),
        tuning_seeds=2,
        seeds=2,
        budget=3,
    )
    by_goal = {goal: [one for one in documents if one["goal"] == goal] for goal in ("V", "descent_quorum")}
    assert [one["policy"] for one in by_goal["descent_quorum"]] == [
        "ahead, for descent_quorum",
        "on demand, for descent_quorum",
    ]
    for goal, found in by_goal.items():
        for one in found:
            assert len(one["candidates"]) <= 3
            assert one["parameters"] == max(one["candidates"], key=lambda point: point[goal])["parameters"]
    # Each goal has its own best baseline and verdict.
    document = {"policies": documents, "setting": "", "regime": "", "wall_s": 0.0}
    document["bounds"] = {"hindsight": [], "average": []}
    assert goals_of(document) == ["V", "descent_quorum"]
    assert verdict_rows([document])[1]["best baseline"] == "on demand, for descent_quorum"


def test_figures_are_those_of_the_record(sketch_entrants) -> None:
    case = setting_of("S2 load 0.7 memory 2").case(0, Phase.TUNING, is_quick=True)
    record = run_case(sketch_entrants()[0], case, {"eagerness": 1.0}).record
    figures = measure(case, record)
    assert figures["U"] == record.used.sum() / (record.generated - record.stored).sum()
    settled = case.requests.deadline < case.n_slots
    served = record.served_request[settled[record.served_request]]
    assert figures["S"] == len(served) / settled.sum()
    assert figures["V"] == pytest.approx(case.requests.weight[served].sum() / case.requests.weight[settled].sum())
    assert figures["total"] == pytest.approx(case.requests.weight[record.served_request].sum())
    assert 0.75 <= figures["F_p05"] <= figures["F_mean"] <= 0.95
    assert 0.0 < figures["fairness"] <= 1.0
    assert 0.0 <= figures["wait_p99"] <= 12.0


def test_the_frontier_has_no_point_that_another_beats() -> None:
    points = [(0.9, 0.2), (0.5, 0.4), (0.6, 0.3), (0.4, 0.35), (1.0, 0.1), (0.9, 0.15)]
    candidates = [{"parameters": {"k": k}, "U": u, "V": v} for k, (u, v) in enumerate(points)]
    kept = frontier_of([{"policy": "a", "candidates": candidates}, {"policy": "a (thrifty)", "candidates": candidates}])
    assert [(point["U"], point["V"]) for point in kept] == [(1.0, 0.1), (0.9, 0.2), (0.6, 0.3), (0.5, 0.4)]


@pytest.mark.parametrize("changed", [{"tuning_seeds": 0}, {"seeds": 0}, {"budget": 0}, {"twice": True}])
def test_an_impossible_contest_is_refused(sketch_entrants, changed: dict[str, Any]) -> None:
    numbers = {"tuning_seeds": 1, "seeds": 1, "budget": 1} | changed
    entrants = sketch_entrants()[:1] * 2 if numbers.pop("twice", False) else sketch_entrants()
    with pytest.raises(DomainError, match="Argument `"):
        contest(TINY, entrants, measure=measure, **numbers)


# ---- what only some scenarios have -----------------------------------------------------------------------------------


def test_audits_find_liars_who_drop_halves_and_certified_schedules_leave_them_out(sketch_entrants) -> None:
    setting = setting_of("S10 dropped halves")
    case = setting.case(0, Phase.TUNING, is_quick=True)
    claimed_before = case.network.claimed_werner.copy()
    certified, believing = adversary_entrants(sketch_entrants()[:1])
    runs: dict[str, Run] = {one.name: run_case(one, case, {"eagerness": 1.0}) for one in (believing, certified)}
    np.testing.assert_array_equal(case.network.claimed_werner, claimed_before)
    assert set(runs) == {"ahead, claimed", "ahead, certified"}
    found = runs["ahead, certified"].extra
    # A dropped half passes an audit with chance 1/2, an honest pair with 0.967.
    assert found["liars_found"] > 0.5
    assert found["honest_accused"] <= 0.1
    assert found["pairs_from_liars"] < runs["ahead, claimed"].extra["pairs_from_liars"]


def test_a_run_in_pieces_is_the_run_when_nobody_is_accused(sketch_entrants) -> None:
    case = setting_of("S10 inflated claims").case(1, Phase.TUNING, is_quick=True)
    entrant = sketch_entrants()[0]
    whole = run_case(entrant, case, {"eagerness": 0.0}).record
    pieces = run_case(adversary_entrants([entrant])[1], case, {"eagerness": 0.0}).record
    np.testing.assert_array_equal(whole.served_request, pieces.served_request)
    np.testing.assert_array_equal(whole.served_value, pieces.served_value)


def test_one_link_is_measured_against_its_exact_optimum(sketch_entrants) -> None:
    """An eager policy that serves the freshest earns 0.32951 a slot for ever, the best 0.34432 or more.

    Sample: 20,000 slots of standard deviation about 0.8, so 0.006 for the mean; bounds of 6 of them.
    """
    setting = replace(setting_of("S1 memory 2"), parameters={"memory_slots": 2, "n_slots": 20_000})
    case = setting.case(0, Phase.TUNING)
    record = run_case(sketch_entrants()[0], case, {"eagerness": 2.0}).record
    own = extra_measure(setting)
    assert own is not None
    share = own(case, record)["of_optimum"]
    assert 0.85 < share < 1.05


@pytest.mark.parametrize("name", ["S6 round 20 pairs 1 coherence 0.5", "S8 applications 150", "S9 load 0.7 memory 2"])
def test_own_figures_are_finite(sketch_entrants, name: str) -> None:
    setting = setting_of(name)
    case = setting.case(0, Phase.TUNING, is_quick=True)
    own = extra_measure(setting)
    assert own is not None
    assert np.isfinite(list(own(case, run_case(sketch_entrants()[0], case, {"eagerness": 1.0}).record).values())).all()


def test_who_learns_is_bound_anew_after_a_drift(sketch_entrants) -> None:
    case = setting_of("S9 load 0.7 memory 2").case(0, Phase.REPORTING)
    learning, again, told = drift_entrants(sketch_entrants()[:1])
    run = run_case(learning, case, {"eagerness": 0.0})
    assert run.extra["builds"] > 1.0
    # This policy looks at no probability, so that it does the same in pieces.
    whole = run_case(told, case, {"eagerness": 0.0}).record
    np.testing.assert_array_equal(run.record.served_request, whole.served_request)
    # With nothing to choose from, who is tuned again only learns.
    only = replace(again, grid={"eagerness": (0.0,)})
    np.testing.assert_array_equal(
        run_case(only, case, {"eagerness": 0.0}).record.served_request, run.record.served_request
    )


def test_who_is_tuned_again_finds_that_pairs_must_be_made_ahead(sketch_entrants) -> None:
    """Nobody waits, so that without stock nobody is served."""
    case = TINY.case(0, Phase.REPORTING)
    assert tuned_again(sketch_entrants()[0], case, {"eagerness": 0.0}, 1)["eagerness"] > 0.0


def test_an_imagined_instance_is_of_what_is_believed_and_not_of_what_comes() -> None:
    """A Poisson total of mean m differs by less than 6 sqrt(m), but for one time in a thousand million."""
    case = setting_of("S9 load 0.7 memory 2").case(0, Phase.REPORTING)
    believed = replace(case, forecast=replace(case.forecast, rate=2.0 * case.forecast.rate))
    one, same, other = (imagined_case(believed, label) for label in ("1 0", "1 0", "1 1"))
    np.testing.assert_array_equal(one.path.success, same.path.success)
    np.testing.assert_array_equal(one.requests.arrival, same.requests.arrival)
    assert not np.array_equal(one.path.success, other.path.success)
    assert not np.array_equal(one.path.success, case.path.success[: one.n_slots])
    mean = believed.forecast.rate.sum() * one.n_slots
    assert abs(len(one.requests) - mean) < 6.0 * np.sqrt(mean)
    for label, weight in enumerate(believed.forecast.weight):
        assert (one.requests.weight[one.requests.request_class == label] == weight).all()


# ---- the benchmark ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sketched(sketch_entrants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling_entrants, "entrants_of", lambda _: sketch_entrants())
    monkeypatch.setattr(benchmark_scheduling, "choose_settings", lambda *_, **__: [TINY])


def test_rows_compare_with_the_best_baseline_and_the_bound(sketched: None) -> None:
    document = run_setting(TINY, seeds=5)
    ahead, demand = setting_rows(document)
    assert ahead["V - best baseline"] == pytest.approx(ahead["V"] - demand["V"])
    assert np.isnan(demand["V - best baseline"])
    assert ahead["in s.e."] == pytest.approx(ahead["V - best baseline"] / ahead["s.e."])
    assert 0.0 < ahead["of LP"] < 1.0
    assert len(document["bounds"]["hindsight"]) == 5
    verdict = verdict_rows([document])[0]
    assert verdict["best baseline"] == "on demand"
    assert verdict["verdict"].startswith("ahead by")


def test_the_online_bound_is_held_against_the_mean(sketched: None) -> None:
    """Its ratio is one of means; it is no larger than the clairvoyant's, but for what the two solvers leave open."""
    document = run_setting(replace(TINY, has_online_bound=True), seeds=4)
    online, hindsight = (np.array(document["bounds"][key]) for key in ("online", "hindsight"))
    assert len(online) == 4
    assert online.mean() < hindsight.mean()
    ahead = setting_rows(document)[0]
    total = np.mean(document["policies"][0]["figures"]["total"])
    assert ahead["of online bound"] == pytest.approx(total / online.mean())
    assert ahead["of online bound ±"] > 0.0
    assert verdict_rows([document])[0]["of online bound"] == ahead["of online bound"]
    document["policies"][1]["figures"]["purified"][1] = 1.0
    assert np.isfinite(setting_rows(document)[0]["of online bound"])
    assert np.isnan(setting_rows(document)[1]["of online bound"])
    assert np.isnan(setting_rows(run_setting(TINY, seeds=2))[0]["of online bound"])


def test_the_bound_is_not_held_against_who_purifies(sketched: None) -> None:
    document = run_setting(TINY, seeds=2)
    document["policies"][0]["figures"]["purified"][1] = 1.0
    document["bounds"]["average"] = document["bounds"]["hindsight"]
    ahead, demand = setting_rows(document)
    for column in ("of LP", "of average bound, 1 instance"):
        assert np.isnan(ahead[column])
        assert np.isfinite(demand[column])


def test_the_dual_of_routes_of_several_lengths_takes_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes of 2 to 4 links in one class: with their mean, 3, a request for the shorter ones would not be bounded."""
    case = setting_of("S7 swap 1").case(0, Phase.REPORTING, is_quick=True)
    assert class_hops(case).max() == 3
    told = []

    def remember(*_, hops, **__):
        told.append(hops.tolist())
        return SimpleNamespace(value=1.0, transient=0.0)

    monkeypatch.setattr("ceas.scheduling.bounds_dual.dual_bound", remember)
    setting = replace(setting_of("S7 swap 1"), has_bound=False, average_bound="dual")
    bounds_of(setting, 1, is_quick=True)
    assert told == [[2] * len(case.forecast.weight)]


@pytest.mark.parametrize("name", ["S7 swap 1", "S8 applications 150"])
def test_delivered_value_is_below_the_fluid_bound(sketch_entrants, name: str) -> None:
    """The bound is on the mean over coins, and these policies deliver far less than it."""
    setting = setting_of(name)
    bounds = bounds_of(setting, 1, is_quick=True)
    assert bounds["average_kind"] == "fluid"
    assert bounds["hindsight"] == []
    case = setting.case(0, Phase.REPORTING, is_quick=True)
    total = measure(case, run_case(sketch_entrants()[0], case, {"eagerness": 1.0}).record)["total"]
    assert 0.0 < total < bounds["average"][0]


def test_the_frontier_of_a_link_lies_between_a_policy_and_the_exact_optimum(sketch_entrants) -> None:
    """Utilisation cannot raise value above the optimum; who uses nine of ten pairs is not above the frontier.

    Sample: 100,000 slots of standard deviation about 0.8 in a mean of 0.6 asked for, so 0.0042; bound of 6 of them.
    """
    setting = setting_of("S1 memory 2")
    [point] = utilisation_bound(setting, is_quick=True)
    assert point["U"] == 0.9
    asked = 3.0 * ONE_LINK_CHANCES[0] + 1.0 * ONE_LINK_CHANCES[1]
    assert point["V"] <= one_link_gain(2, ONE_LINK_CHANCES) / asked * (1.0 + 1e-3)
    case = replace(setting, parameters={"memory_slots": 2, "n_slots": 100_000}).case(0, Phase.TUNING)
    thrifty = [replace(case, network=replace(case.network, memory_slots=np.array([k, k]))) for k in (1, 2)]
    found = [measure(one, run_case(sketch_entrants()[0], one, {"eagerness": 2.0}).record) for one in thrifty]
    used = [one for one in found if one["U"] >= 0.9]
    assert used
    for one in used:
        assert 0.3 < one["V"] <= point["V"] + 6.0 * 0.0042


def test_a_baseline_that_wins_is_called_the_winner(sketched: None) -> None:
    document = run_setting(TINY, seeds=5)
    for policy in document["policies"]:
        policy["is_ours"] = not policy["is_ours"]
    assert verdict_rows([document])[0]["verdict"].startswith("BASELINE AHEAD by")


def judged_document(name: str, ours: Any, theirs: Any, *, used: float = 0.95) -> dict[str, Any]:
    """A setting with ours, thrifty too, that uses this part of its pairs, a thrifty baseline and a better wasteful one.

    `ours` and `theirs` are values of the thrifty two; those of the others are 0.2 more.
    """
    rows = (
        ("ceas", True, False, np.add(ours, 0.2), 0.5),
        ("ceas (thrifty)", True, True, ours, used),
        ("edf", False, False, np.add(theirs, 0.2), 0.5),
        ("edf (thrifty)", False, True, theirs, 0.93),
    )
    policies = []
    for policy, is_ours, is_thrifty, values, use in rows:
        names = ("S", "F_mean", "F_p05", "wait_p99", "fairness", "total", "purified", "ms_per_slot")
        figures = dict.fromkeys(names, [0.0] * len(values)) | {"V": list(values), "U": [use] * len(values)}
        about = {"policy": policy, "is_ours": is_ours, "is_thrifty": is_thrifty, "goal": "V", "parameters": {}}
        policies.append({**about, "build_ms": 1.0, "figures": figures})
    bounds = {"hindsight": [], "average": []}
    return {"setting": name, "scenario": "S2", "policies": policies, "bounds": bounds, "regime": "", "wall_s": 0.0}


STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, -2.0, -1.0, 0.0, 1.0, 2.0])


def test_thrifty_entries_are_held_against_thrifty_baselines() -> None:
    document = judged_document("a", 0.6 + 0.001 * STEPS, np.full(10, 0.55))
    assert [row["best baseline"] for row in setting_rows(document)] == ["edf", "edf (thrifty)"] * 2
    everyone, thrifty = verdict_rows([document])
    assert (everyone["policy"], everyone["best baseline"]) == ("ceas", "edf")
    assert (thrifty["policy"], thrifty["best baseline"]) == ("ceas (thrifty)", "edf (thrifty)")
    assert thrifty["difference"] == pytest.approx(0.05)
    assert thrifty["verdict"].startswith("ahead by")
    assert thrifty["table"] != everyone["table"] == "verdicts"
    # A baseline that was thrifty in tuning alone takes no part.
    document["policies"][3]["figures"]["U"] = [0.89] * 10
    assert best_baseline(document, is_thrifty=True) is None
    assert verdict_rows([document])[1]["verdict"] == "no baseline"
    assert [row["note"] for row in setting_rows(document)] == ["", "", "", "U below 0.9 when reported"]


def test_a_thrifty_entry_that_wastes_when_reported_is_noted() -> None:
    document = judged_document("a", 0.6 + 0.001 * STEPS, np.full(10, 0.55), used=0.88)
    assert [row["note"] for row in setting_rows(document)] == ["", "U below 0.9 when reported", "", ""]
    everyone, thrifty = verdict_rows([document])
    assert thrifty["verdict"].endswith("; U below 0.9 when reported")
    assert ";" not in everyone["verdict"]


def test_p_values_are_corrected_for_all_verdicts_of_a_run() -> None:
    """A difference of 3.2 standard errors is a win alone (p = 0.011), and none among forty of them."""
    error = float(STEPS.std(ddof=1) / np.sqrt(10))
    documents = [judged_document(str(k), 3.2 * error + STEPS, np.zeros(10)) for k in range(20)]
    alone = verdict_rows(documents[:1])
    raw = paired_difference(3.2 * error + STEPS, np.zeros(10)).p_value
    assert [row["p (Holm)"] for row in alone] == pytest.approx(holm([raw, raw]))
    assert [row["verdict"] for row in alone] == ["ahead by 3.2 s.e."] * 2
    together = verdict_rows(documents)
    assert [row["p (Holm)"] for row in together] == pytest.approx([40 * raw] * 40)
    assert {row["verdict"] for row in together} == {"not told apart (ahead by 3.2 s.e.)"}


def test_what_cannot_be_judged_is_not_corrected_for() -> None:
    """Too few instances, no difference at all, or no figure: none has a p-value or counts as a test."""
    few = judged_document("few", [0.5, 0.6], [0.4, 0.45])
    level = judged_document("level", np.full(10, 0.5), np.full(10, 0.5))
    unknown = judged_document("unknown", [math.nan, *np.full(9, 0.5)], np.full(10, 0.5))
    clear = judged_document("clear", 0.6 + 0.001 * STEPS, np.full(10, 0.55))
    rows = verdict_rows([few, level, unknown, clear])
    assert [row["verdict"] for row in rows[:3]] == ["ahead, too few instances to judge", "level", "cannot be judged"]
    assert np.isnan([row["p (Holm)"] for row in rows[:3]]).all()
    assert rows[3]["p (Holm)"] == pytest.approx(verdict_rows([clear])[0]["p (Holm)"])


def test_what_is_finished_is_not_repeated(sketched: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[ProgressEvent] = []
    first = benchmark(only="S3", seeds=2, out=str(tmp_path), processes=1, progress=told.append)
    assert [(event.phase, event.training_round, event.rounds) for event in told] == [
        ("settings", 0, 1),
        (TINY.name, 1, 1),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["S3_load_0.7_memory_2.json", "rows.json"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("run again")

    monkeypatch.setattr(benchmark_scheduling, "run_setting", refuse)
    again = benchmark(only="S3", seeds=2, out=str(tmp_path), processes=1)
    assert repr(again) == repr(first)
    with pytest.raises(AssertionError, match="run again"):
        benchmark(only="S3", seeds=3, out=str(tmp_path), processes=1)
    (tmp_path / "S3_load_0.7_memory_2.json").write_text("{")
    with pytest.raises(AssertionError, match="run again"):
        benchmark(only="S3", seeds=2, out=str(tmp_path), processes=1)


def test_an_interrupted_benchmark_keeps_what_was_finished(
    sketched: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(TINY, name="S3 other")
    monkeypatch.setattr(benchmark_scheduling, "choose_settings", lambda *_, **__: [TINY, other])
    run = benchmark_scheduling.run_setting

    def interrupted(setting: Setting, **options: Any) -> dict[str, Any]:
        if setting is other:
            raise KeyboardInterrupt
        return run(setting, **options)

    monkeypatch.setattr(benchmark_scheduling, "run_setting", interrupted)
    with pytest.raises(KeyboardInterrupt):
        benchmark(only="S3", seeds=2, out=str(tmp_path), processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["S3_load_0.7_memory_2.json"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"only": "S12"}, "unknown scenario of the scheduling benchmark `S12`"),
        ({"only": " , "}, "`only` must list scenarios"),
        ({"seeds": 1}, "`seeds` must be a whole number of at least 2"),
        ({"seeds": 2.5}, "`seeds` must be a whole number"),
        ({"processes": 0}, "`processes` must be"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        benchmark(**parameters)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DomainError, match="`out` must be a folder"):
        benchmark(only="S3", out=str(tmp_path / "file" / "folder"))


def test_the_command_line_runs_a_tiny_benchmark_and_goes_on_where_it_stopped(sketched: None, tmp_path: Any) -> None:
    from typer.testing import CliRunner

    from ceas.cli import app

    command = ["bench", "scheduling", "--only", "S3", "--seeds", "2", "--set", "processes=1", "--out", str(tmp_path)]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "S3 policies" in shown.stdout
    assert "verdicts" in shown.stdout
    assert "ahead, too few instances to judge" in shown.stdout
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert document["benchmarks"]["scheduling"] == kept["rows"]
    assert kept["is_quick"] is document["is_quick"] is False
    assert shown.stdout.endswith(f"report: ceas report {tmp_path}\n")
    assert "no measurement" not in shown.stdout
    short = CliRunner().invoke(app, [*command, "--quick"])
    assert "no measurement" in short.stdout
    assert json.loads((tmp_path / "rows.json").read_text())["is_quick"] is True


@pytest.mark.slow
def test_all_policies_run_in_the_short_benchmark(tmp_path: Any) -> None:
    """Everything that takes part, on one setting with routes and one with appointments, in processes of their own."""
    rows = benchmark(only="S5,S6", seeds=2, quick=True, out=str(tmp_path), processes=2)
    for scenario in ("S5", "S6"):
        own = [row for row in rows if row["table"] == f"{scenario} policies"]
        assert {row["policy"] for row in own} >= {"ceas", "edf", "max_weight", "on_demand_edf", "static_tdma"}
        for row in own:
            assert 0.0 < row["V"] < 1.0
            # Nobody is above the clairvoyant.
            assert row["of LP"] <= 1.0 + 1e-9
