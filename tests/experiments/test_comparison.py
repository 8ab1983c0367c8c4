"""Comparisons: one network per seed, rows that are kept, resumed and never repeated."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ceas.errors import DomainError, RunDirectoryError, ScenarioError
from ceas.experiments.comparison import Comparison, compare_methods, summarise
from ceas.experiments.comparison_names import parse_attack
from ceas.experiments.comparison_rehearsal import refused_values
from ceas.experiments.comparison_store import add_run, finished_keys, read_comparison
from ceas.experiments.registry import FAMILIES, names, resolve
from ceas.experiments.results import RunResult
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.experiments.scenario_text import toml_value
from ceas.runtime.progress import ProgressEvent

MakeResult = Callable[..., RunResult]
METHODS = ["mean", "trimmed_mean"]
ATTACKS = ["none", "sign_flip"]


@pytest.fixture
def scenario() -> Scenario:
    return load_scenario("quickstart", ["byzantine.n_byzantine=2"])


@dataclass
class FakeRuntime:
    """Counts what is asked of it; the accuracy of a run is a known function of method, attack and seed."""

    make_result: MakeResult
    recorded: list[int] = field(default_factory=list)
    simulated: list[tuple[str, str, int]] = field(default_factory=list)
    fail_after: int = 10**9

    def record_network(self, scenario: Scenario, *, seed: int) -> str:
        self.recorded.append(seed)
        return f"network {scenario.network_id} {seed}"

    def simulate(self, scenario: Scenario, *, seed: int, network_trace: str) -> RunResult:
        assert network_trace == f"network {scenario.network_id} {seed}"
        if len(self.simulated) >= self.fail_after:
            raise KeyboardInterrupt
        method, attack = scenario.aggregation.rule, scenario.byzantine.attack
        self.simulated.append((method, attack, seed))
        return self.make_result(scenario, seed=seed, accuracies=[np.nan, accuracy_of(method, attack, seed)])


def accuracy_of(method: str, attack: str, seed: int) -> float:
    return 0.5 + 0.1 * METHODS.index(method) + 0.05 * ATTACKS.index(attack) + 0.01 * seed


@pytest.fixture
def runtime(make_result: MakeResult) -> FakeRuntime:
    return FakeRuntime(make_result)


def compare(runtime: FakeRuntime, scenario: Scenario, out: Path, seeds: range, **options: object) -> Comparison:
    return compare_methods(
        scenario,
        methods=METHODS,
        attacks=ATTACKS,
        seeds=seeds,
        out=out,
        simulate=runtime.simulate,
        record_network=runtime.record_network,
        **options,  # type: ignore[arg-type]
    )


def test_every_network_is_simulated_once(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    compare(runtime, scenario, tmp_path, range(3))
    assert runtime.recorded == [0, 1, 2]
    wanted = {(method, attack, seed) for method in METHODS for attack in ATTACKS for seed in range(3)}
    assert set(runtime.simulated) == wanted
    assert len(runtime.simulated) == len(wanted)


def test_methods_of_one_policy_share_their_network(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    methods = ["mean", "mean@oldest_first", "trimmed_mean", "trimmed_mean@oldest_first"]
    comparison = compare_methods(
        scenario,
        methods=methods,
        attacks=["none"],
        seeds=range(2),
        out=tmp_path,
        simulate=runtime.simulate,
        record_network=runtime.record_network,
    )
    assert sorted(runtime.recorded) == [0, 0, 1, 1]
    assert [cell.method for cell in comparison.cells] == methods
    rows = read_comparison(tmp_path).rows
    assert sorted(set(rows["method"])) == sorted(methods)
    names = {method: set(rows["scenario_id"][rows["method"] == method]) for method in methods}
    assert names["mean"] == {scenario.with_method("mean").with_attack("none").scenario_id}
    other = scenario.with_policy("oldest_first").with_method("mean").with_attack("none")
    assert names["mean@oldest_first"] == {other.scenario_id}


def test_names_with_parameters_and_numbers_of_attackers_have_rows_of_their_own(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    def compared(methods: list[str], attacks: list[str]) -> Comparison:
        return compare_methods(
            scenario,
            methods=methods,
            attacks=attacks,
            seeds=[0, 1],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )

    methods = ["mean", "trimmed_mean + debiased"]
    comparison = compared(methods, ["sign_flip", "sign_flip( factor = 3.0 )", "sign_flip#1/2"])
    keys = [(cell.method, cell.attack) for cell in comparison.cells]
    assert keys == [
        (method, attack)
        for method in ("mean", "trimmed_mean+debiased")
        for attack in ("sign_flip", "sign_flip(factor=3)", "sign_flip#1/2")
    ]
    # One network for all: neither rule nor attack nor the number of attackers moves it.
    assert runtime.recorded == [0, 1]
    rows = read_comparison(tmp_path).rows
    assert list(zip(rows["method"], rows["attack"], strict=True)) == 2 * keys
    assert len(set(rows["scenario_id"])) == len(keys) == len(runtime.simulated) // 2
    # Another way to write the same is the same row.
    runtime.fail_after = 0
    assert (
        compared(["mean", "trimmed_mean+debiased"], ["sign_flip", "sign_flip(factor=3)", "sign_flip#1/2"]) == comparison
    )


def test_unknown_parameters_are_told_with_the_nearest_name(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        compare_methods(
            scenario,
            methods=["ceas(contraction_flor=1)"],
            attacks=["opt_alie(stap=0.5)", "opt_alie(step=far)", "sign_flip#9"],
            seeds=[0],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )
    text = str(caught.value)
    assert "aggregation.parameters.contraction_flor: unknown parameter of aggregation rule `ceas`, did you mean" in text
    assert "byzantine.parameters.stap: unknown parameter of attack `opt_alie`, did you mean `step`" in text
    assert 'byzantine.parameters.step: found "far" (string), must be a number' in text
    assert "byzantine.n_byzantine: found 9, must be at most consensus.tolerated_byzantine" in text
    assert not runtime.recorded


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("ceas(contraction_floor=-1)", "none"), "aggregation.parameters: ceas refuses them: "),
        (("mean", "opt_alie(goal=far)"), "byzantine.parameters: opt_alie refuses them: Argument `goal` must be"),
        (("mean", "with_false_claims(attack=opt_ali)"), "unknown attack `opt_ali`. Did you mean `opt_alie`?"),
        (
            ("mean", "with_false_claims(attack=mimic,claim_factor=-1)"),
            "byzantine.parameters: with_false_claims refuses",
        ),
        (("mean", "circuit_fault(place=middle)"), "byzantine.parameters: circuit_fault refuses them"),
    ],
)
def test_values_that_make_no_sense_are_told_before_anything_runs(
    choice: tuple[str, str], message: str, runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        compare_methods(
            scenario,
            methods=[choice[0], "mean"],
            attacks=[choice[1]],
            seeds=[0],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )
    assert len(caught.value.mistakes) == 1
    assert message in caught.value.mistakes[0]
    assert not runtime.recorded
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [attack for attack in names("attack") if attack != "none"])
def test_every_attack_stands_the_try_at_its_default_values(name: str, scenario: Scenario) -> None:
    parameters = inspect.signature(resolve("attack", name)).parameters.items()
    defaults = {
        key: found.default
        for key, found in parameters
        if key not in FAMILIES["attack"].supplied and isinstance(found.default, (bool, int, float, str))
    }
    given = [f"{key}={toml_value(value)}" for key, value in defaults.items()]
    attack = parse_attack(f"{name}({','.join(given)})")
    assert refused_values([scenario.with_overrides(attack.overrides())]) == []


def test_unknown_policy_of_a_method_is_told(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean oldest_first"):
        compare_methods(
            scenario,
            methods=["mean@oldest_frist"],
            attacks=["none"],
            seeds=[0],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )


def test_more_seeds_add_rows_and_repeat_none(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    compare(runtime, scenario, tmp_path, range(2))
    first = read_comparison(tmp_path)
    runtime.simulated.clear()
    runtime.recorded.clear()
    compare(runtime, scenario, tmp_path, range(3))
    assert runtime.recorded == [2]
    assert {seed for _, _, seed in runtime.simulated} == {2}
    rows = read_comparison(tmp_path).rows
    assert len(rows["seed"]) == 12
    assert len(finished_keys(tmp_path)) == 12
    for name, column in first.rows.items():
        np.testing.assert_array_equal(rows[name][:8], column)


def test_an_interrupted_comparison_goes_on_where_it_stopped(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    runtime.fail_after = 5
    with pytest.raises(KeyboardInterrupt):
        compare(runtime, scenario, tmp_path, range(2))
    assert len(finished_keys(tmp_path)) == 5
    with pytest.raises(RunDirectoryError, match="no row for"):
        summarise(scenario, methods=METHODS, attacks=ATTACKS, seeds=range(2), out=tmp_path)
    runtime.fail_after = 10**9
    compare(runtime, scenario, tmp_path, range(2))
    assert len(runtime.simulated) == len(set(runtime.simulated)) == 8
    assert runtime.recorded == [0, 1, 1]


def test_a_finished_comparison_runs_nothing(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    before = compare(runtime, scenario, tmp_path, range(2))
    runtime.fail_after = 0
    assert compare(runtime, scenario, tmp_path, range(2)) == before


def test_cells_hold_means_and_student_intervals(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    # Accuracies base + 0.01 * (0, 1, 2): standard deviation 0.01, and t(0.975, 2) = 4.302653.
    comparison = compare(runtime, scenario, tmp_path, range(3))
    assert [(cell.method, cell.attack) for cell in comparison.cells] == [
        (method, attack) for method in METHODS for attack in ATTACKS
    ]
    for cell in comparison.cells:
        mean = accuracy_of(cell.method, cell.attack, 1)
        half = 4.302653 * 0.01 / np.sqrt(3)
        assert cell.seeds == (0, 1, 2)
        assert cell.means["test_accuracy"] == pytest.approx(mean)
        assert cell.intervals["test_accuracy"] == pytest.approx((mean - half, mean + half), abs=1e-6)


def test_a_seed_without_a_number_spoils_its_cell_and_no_other(
    make_result: MakeResult, scenario: Scenario, tmp_path: Path
) -> None:
    for seed, variance in ((0, 1.0), (1, None)):
        add_run(tmp_path, make_result(scenario, seed=seed, gradient_variance=variance, test_accuracy=0.5))
    [cell] = summarise(scenario, methods=["ceas"], attacks=["none"], seeds=[0, 1], out=tmp_path).cells
    assert np.isnan(cell.means["gradient_variance"])
    assert cell.means["test_accuracy"] == 0.5


def test_references_are_kept_with_every_row_and_summarised_once_over_the_seeds(
    make_result: MakeResult, scenario: Scenario, tmp_path: Path
) -> None:
    # Every seed has a row for each attack, yet counts once: 0.80 and 0.84 have half a width of t(0.975, 1) 0.02.
    for attack in ATTACKS:
        for seed in range(3):
            levels = {"test_accuracy_logistic": 0.80 + 0.04 * seed, "test_accuracy_separable": None}
            add_run(tmp_path, make_result(scenario.with_attack(attack), seed=seed, **levels))
    rows = read_comparison(tmp_path).rows
    np.testing.assert_allclose(rows["test_accuracy_logistic"], 2 * [0.80, 0.84, 0.88])
    assert np.isnan(rows["test_accuracy_separable"]).all()
    comparison = summarise(scenario, methods=["ceas"], attacks=ATTACKS, seeds=[0, 1], out=tmp_path)
    # The circuit without entanglers was never measured, so it is left out, and so is seed 2, which was not asked for.
    assert set(comparison.references) == {"test_accuracy_logistic"}
    found = comparison.references["test_accuracy_logistic"]
    assert found.n_values == 2
    assert (found.mean, found.low, found.high) == pytest.approx((0.82, 0.82 - 0.254124, 0.82 + 0.254124), abs=1e-6)


def test_a_reference_that_one_seed_lacks_is_left_out(
    make_result: MakeResult, scenario: Scenario, tmp_path: Path
) -> None:
    for seed, level in ((0, 0.9), (1, None)):
        add_run(tmp_path, make_result(scenario, seed=seed, test_accuracy_separable=level))
    comparison = summarise(scenario, methods=["ceas"], attacks=["none"], seeds=[0, 1], out=tmp_path)
    assert set(comparison.references) == {"test_accuracy_logistic"}
    alone = summarise(scenario, methods=["ceas"], attacks=["none"], seeds=[0], out=tmp_path).references
    assert alone["test_accuracy_separable"].mean == 0.9
    assert np.isnan(alone["test_accuracy_separable"].low)


def test_rows_without_the_columns_of_references_are_refused_before_anything_runs(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    compare(runtime, scenario, tmp_path, range(1))
    path = tmp_path / "compare.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["test_accuracy_logistic", "test_accuracy_separable"]), path)
    before = path.read_bytes()
    runtime.recorded.clear()
    message = r"compare\.parquet: column `test_accuracy_logistic` is missing; it was written by another version"
    with pytest.raises(RunDirectoryError, match=message):
        compare(runtime, scenario, tmp_path, range(2))
    assert not runtime.recorded
    assert path.read_bytes() == before


def test_rows_of_a_version_without_weights_and_numbers_of_attackers_stay_in_use(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    compare(runtime, scenario, tmp_path, range(1))
    later = {"compare": ["learners", "n_byzantine", "tolerated_byzantine"], "compare_curves": ["byzantine_weight"]}
    for name, columns in later.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(columns), path)
    old = read_comparison(tmp_path)
    assert np.isnan(old.rows["n_byzantine"]).all()
    assert np.isnan(old.curves["byzantine_weight"]).all()
    runtime.simulated.clear()
    compare(runtime, scenario, tmp_path, range(2))
    assert {seed for _, _, seed in runtime.simulated} == {1}
    both = read_comparison(tmp_path)
    np.testing.assert_array_equal(np.isnan(both.rows["tolerated_byzantine"]), both.rows["seed"] == 0)
    np.testing.assert_array_equal(np.isnan(both.curves["byzantine_weight"]), both.curves["seed"] == 0)


def test_curves_hold_the_attackers_mean_weight_since_the_evaluation_before(
    make_result: MakeResult, scenario: Scenario, tmp_path: Path
) -> None:
    result = make_result(scenario, accuracies=[np.nan, 0.5, np.nan, np.nan, 0.6, 0.7, np.nan])
    result.rounds["byzantine_weight"][:] = [0.1, 0.3, 0.4, np.nan, 0.6, np.nan, 0.9]
    add_run(tmp_path, result)
    curves = read_comparison(tmp_path).curves
    np.testing.assert_array_equal(curves["round"], [1, 4, 5])
    np.testing.assert_allclose(curves["byzantine_weight"], [0.2, 0.5, np.nan])


def test_another_scenario_in_the_same_folder_keeps_its_own_rows(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    compare(runtime, scenario, tmp_path, range(2))
    compare(runtime, scenario.with_overrides(["clock.rounds=7"]), tmp_path, range(2))
    assert len(runtime.simulated) == 16
    assert len(finished_keys(tmp_path)) == 16


def test_what_was_compared_last_is_noted_even_when_nothing_is_left_to_run(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    other = scenario.with_overrides(["clock.rounds=7"])
    compare(runtime, scenario, tmp_path, range(2), command="first")
    compare(runtime, other, tmp_path, range(1), command="second")
    first, second = read_comparison(tmp_path).compared
    assert [(one.scenario_id, one.command) for one in (first, second)] == [
        (scenario.scenario_id, "first"),
        (other.scenario_id, "second"),
    ]
    runtime.fail_after = 0
    compare(runtime, scenario, tmp_path, range(1), command="again")
    tables = read_comparison(tmp_path)
    assert [(one.scenario_id, one.command) for one in tables.compared] == [
        (other.scenario_id, "second"),
        (scenario.scenario_id, "again"),
    ]
    np.testing.assert_array_equal(tables.compared[1].rows_of(tables.rows), [True] * 8 + [False] * 4)
    np.testing.assert_array_equal(tables.compared[0].rows_of(tables.rows), [False] * 8 + [True] * 4)
    assert tables.compared[0].rows_of(tables.curves).sum() == 4


def test_methods_attacks_and_seeds_of_one_scenario_go_together(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    for methods, attacks, n_seeds in ((["mean"], ["none"], 1), (["trimmed_mean"], ["sign_flip"], 2)):
        compare_methods(
            scenario,
            methods=methods,
            attacks=attacks,
            seeds=range(n_seeds),
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )
    tables = read_comparison(tmp_path)
    [compared] = tables.compared
    assert list(compared.variants) == [("mean", "none"), ("trimmed_mean", "sign_flip")]
    assert compared.rows_of(tables.rows).all()
    assert len(tables.rows["seed"]) == 3


def test_a_row_that_two_scenarios_share_belongs_to_both_and_runs_once(
    runtime: FakeRuntime, scenario: Scenario, tmp_path: Path
) -> None:
    # The other scenario differs in the policy alone, which the method fills in again.
    other = scenario.with_policy("oldest_first")
    for base, methods in ((scenario, ["mean@oldest_first", "mean"]), (other, ["mean", "mean@oldest_first"])):
        compare_methods(
            base,
            methods=methods,
            attacks=["none"],
            seeds=[0],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )
    tables = read_comparison(tmp_path)
    assert len(runtime.simulated) == len(tables.rows["seed"]) == 3
    # Rows: mean under both policies from the first scenario, then mean as the second means it.
    assert np.sum([one.rows_of(tables.rows) for one in tables.compared], axis=0).tolist().count(2) == 1
    assert [int(one.rows_of(tables.rows).sum()) for one in tables.compared] == [2, 2]


def test_what_was_compared_must_be_readable(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    compare(runtime, scenario, tmp_path, range(1))
    path = tmp_path / "compare.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"compared": '[{"name": "x"}]'}), path)
    with pytest.raises(RunDirectoryError, match="what it says was compared cannot be read"):
        read_comparison(tmp_path)


def test_curves_hold_the_evaluated_rounds(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    compare(runtime, scenario, tmp_path, range(2))
    curves = read_comparison(tmp_path).curves
    assert len(curves["round"]) == 8
    assert set(curves["round"]) == {1}
    for method, attack, seed, accuracy in zip(
        *(curves[name] for name in ("method", "attack", "seed", "test_accuracy")), strict=True
    ):
        assert accuracy == accuracy_of(method, attack, seed)


def test_a_curve_left_without_its_row_is_replaced(make_result: MakeResult, scenario: Scenario, tmp_path: Path) -> None:
    add_run(tmp_path, make_result(scenario, seed=0, accuracies=[0.1]))
    (tmp_path / "compare.parquet").unlink()
    add_run(tmp_path, make_result(scenario, seed=0, accuracies=[0.2, 0.3]))
    np.testing.assert_array_equal(read_comparison(tmp_path).curves["test_accuracy"], [0.2, 0.3])


def test_adding_a_run_twice_keeps_the_first(make_result: MakeResult, scenario: Scenario, tmp_path: Path) -> None:
    add_run(tmp_path, make_result(scenario, seed=0, accuracies=[0.1], wall_s=1.0))
    add_run(tmp_path, make_result(scenario, seed=0, accuracies=[0.2], wall_s=2.0))
    tables = read_comparison(tmp_path)
    np.testing.assert_array_equal(tables.rows["test_accuracy"], [0.1])
    np.testing.assert_array_equal(tables.curves["test_accuracy"], [0.1])
    np.testing.assert_array_equal(tables.rows["wall_s"], [1.0])


def test_byzantine_weight_is_the_mean_over_rounds(make_result: MakeResult, scenario: Scenario, tmp_path: Path) -> None:
    result = make_result(scenario)
    result.rounds["byzantine_weight"][:] = [0.1, 0.3, np.nan]
    add_run(tmp_path, result)
    np.testing.assert_allclose(read_comparison(tmp_path).rows["byzantine_weight"], [0.2])


def test_all_mistakes_are_told_before_anything_runs(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        compare_methods(
            scenario,
            methods=["meen", "mean"],
            attacks=["none", "sign_flop"],
            seeds=[0],
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )
    assert len(caught.value.mistakes) == 2
    assert "did you mean mean?" in caught.value.mistakes[0]
    assert "did you mean sign_flip?" in caught.value.mistakes[1]
    assert not runtime.recorded


@pytest.mark.parametrize("name", ["methods", "attacks", "seeds"])
def test_nothing_to_compare_is_refused(name: str, runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    given = {"methods": METHODS, "attacks": ATTACKS, "seeds": [0]} | {name: []}
    with pytest.raises(DomainError, match=f"`{name}` must not be empty"):
        compare_methods(
            scenario,
            **given,  # type: ignore[arg-type]
            out=tmp_path,
            simulate=runtime.simulate,
            record_network=runtime.record_network,
        )


def test_progress_counts_missing_runs(runtime: FakeRuntime, scenario: Scenario, tmp_path: Path) -> None:
    compare(runtime, scenario, tmp_path, range(1))
    events: list[ProgressEvent] = []
    compare(runtime, scenario, tmp_path, range(2), progress=events.append)
    assert [(event.training_round, event.rounds) for event in events] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert events[0].phase == "mean, none, seed 1"
