"""The table of certified bounds: what it trains, what it keeps, what it counts, and its claim."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ceas.errors import RunDirectoryError
from ceas.experiments import reproduce_convergence
from ceas.experiments.reproduce_convergence import (
    N_BYZANTINE,
    RuleFigure,
    _certified_runs,
    convergence_figures,
    convergence_scenarios,
)
from ceas.experiments.reproduce_plan import FULL, QUICK, plan_of
from ceas.experiments.reproduce_tables import convergence_tables
from ceas.experiments.scenario import Scenario

TINY = replace(QUICK, convergence_rounds=3, convergence_attacks=("ALIE",), seeds=(0,))


def a_run(scenario: Scenario, seed: int, **changes: Any) -> dict[str, Any]:
    is_proved = scenario.aggregation.rule != "ceas"
    found = {
        "scenario_id": scenario.scenario_id,
        "seed": seed,
        "status": "certified" if is_proved else "estimated",
        "reason": "" if is_proved else "no kappa",
        "holds": True,
        "largest_ratio": 0.2 + 0.1 * seed,
        "looseness": 0.1 + 0.1 * seed,
        "kappa": 0.5,
        "measured_kappa": 0.1,
    }
    return found | changes


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Let runs be made up in this process; return the seeds and numbers of scenarios that were asked for."""
    asked: list[tuple[int, int]] = []

    class Pool:
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def map(self, _work: Any, scenarios: Any, seeds: Any) -> Any:
            for ones, seed in zip(scenarios, seeds, strict=True):
                asked.append((seed, len(ones)))
                yield [a_run(one, seed) for one in ones]

    monkeypatch.setattr(reproduce_convergence, "spawned_pool", lambda _: Pool())
    return asked


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=lambda plan: plan.name)
def test_every_scenario_takes_plain_constant_steps_and_declares_the_attackers(plan: Any) -> None:
    scenarios = convergence_scenarios(plan)
    assert len(scenarios) == len(plan.convergence_rules) * len(plan.convergence_attacks)
    assert len({one.network_id for one in scenarios.values()}) == 1
    for (rule, attack), one in scenarios.items():
        learning = one.learning
        assert (learning.optimizer, learning.worker_momentum, learning.final_learning_rate_share) == ("sgd", 0.0, 1.0)
        assert one.aggregation.rule == rule
        assert one.aggregation.tolerated_byzantine == N_BYZANTINE
        assert one.byzantine.n_byzantine == (0 if attack == "none" else N_BYZANTINE)
        assert one.output.gradient_rounds == 1


def test_seeds_are_twice_as_many_as_of_the_other_tables() -> None:
    assert FULL.convergence_seeds == tuple(range(20))
    assert plan_of(is_quick=True, seeds=3).convergence_seeds == tuple(range(6))


def test_trained_rules_are_certified_and_ceas_estimated() -> None:
    scenarios = list(convergence_scenarios(TINY).values())
    proved, ours = _certified_runs(scenarios, 0)
    assert (proved["status"], ours["status"]) == ("certified", "estimated")
    for one, scenario in zip((proved, ours), scenarios, strict=True):
        assert one["scenario_id"] == scenario.scenario_id
        assert one["holds"] is True
        assert 0 < one["looseness"] <= one["largest_ratio"] < 0.1
    assert proved["kappa"] == 0.5
    assert 0 < proved["measured_kappa"] < 0.5


def test_attacks_of_the_plan_differ() -> None:
    """Attackers of a sign flip and of a manipulated inner product of one factor send the same."""
    chosen = [one.byzantine for (rule, _), one in convergence_scenarios(FULL).items() if rule == "trimmed_mean"]
    factors = [one.parameters.get("factor") for one in chosen]
    assert len({one.attack for one in chosen}) == len(chosen)
    assert len(set(factors) - {None}) == 2


def test_finished_runs_are_kept_and_missing_ones_made(tmp_path: Path, without_training: list[tuple[int, int]]) -> None:
    first = convergence_figures(replace(QUICK, seeds=(0,)), out=tmp_path)
    assert without_training == [(0, 4), (1, 4)]
    assert first[0].n_runs == 4
    more = replace(QUICK, seeds=(0, 1), convergence_attacks=("none", "ALIE", "MinMax"))
    again = convergence_figures(more, out=tmp_path)
    assert without_training[2:] == [(0, 2), (1, 2), (2, 6), (3, 6)]
    assert again[0].n_runs == 12
    assert convergence_figures(replace(QUICK, seeds=(0,)), out=tmp_path) == first
    assert len(without_training) == 6
    file = next((tmp_path / "convergence").iterdir())
    file.write_text('{"runs": [{"seed": 1}]}')
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        convergence_figures(more, out=tmp_path)


@pytest.mark.usefixtures("without_training")
def test_runs_are_counted_over_all_attacks_and_by_attack(tmp_path: Path) -> None:
    plan = replace(QUICK, seeds=(0,))
    convergence_figures(plan, out=tmp_path)
    refused = {"status": "refused", "holds": None, "looseness": None, "largest_ratio": None}
    wanted = convergence_scenarios(plan)["trimmed_mean", "ALIE"].scenario_id
    for path in (tmp_path / "convergence").iterdir():
        document = json.loads(path.read_text())
        row = next(one for one in document["runs"] if one["scenario_id"] == wanted)
        row |= {"holds": False, "largest_ratio": 1.5} if row["seed"] == 0 else refused
        path.write_text(json.dumps(document))
    figures = {(one.rule, one.attack): one for one in convergence_figures(plan, out=tmp_path)}
    together, attacked = figures["trimmed_mean", ""], figures["trimmed_mean", "ALIE"]
    assert (together.n_runs, together.n_refused, together.n_exceeded) == (3, 1, 1)
    assert (attacked.n_runs, attacked.n_refused, attacked.n_exceeded) == (1, 1, 1)
    assert together.worst_ratio == 1.5
    assert together.mean_looseness == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    # Its bound is made of its own largest kappa.
    assert (figures["ceas", ""].n_runs, figures["ceas", ""].n_exceeded) == (4, None)


def figure(
    rule: str, n_runs: int, n_exceeded: int | None = 0, attack: str = "", status: str = "certified"
) -> RuleFigure:
    return RuleFigure(
        rule=rule,
        attack=attack,
        status=status,
        n_runs=n_runs,
        n_refused=0,
        n_exceeded=n_exceeded,
        mean_looseness=0.1,
        worst_ratio=0.2,
        kappa=0.5,
        measured_kappa=0.1,
    )


@pytest.mark.parametrize(("n_exceeded", "is_met"), [(0, True), (1, False)])
def test_the_claim_is_about_proved_bounds_alone(n_exceeded: int, is_met: bool) -> None:
    figures = [
        figure("trimmed_mean", 100, n_exceeded),
        figure("coordinate_median", 100),
        figure("ceas", 100, None, status="estimated"),
        figure("trimmed_mean", 100, n_exceeded, attack="ALIE"),
    ]
    tables, (claim,) = convergence_tables(figures)
    assert claim.is_met is is_met
    assert claim.text == "the certified bound holds in every run, as it must"
    assert claim.measured == f"exceeded in {n_exceeded} of 200 runs"
    assert [(row["rule"], row["exceeded"]) for row in tables[0].rows] == [
        ("trimmed_mean", n_exceeded),
        ("coordinate_median", 0),
        ("ceas", None),
    ]
    assert "mistake of the implementation" in tables[0].note
    assert not any("rate" in column for column in tables[0].rows[0])
    assert [row["attack"] for row in tables[1].rows] == ["ALIE"]
    for nothing in (figure("trimmed_mean", 0, status="refused"), figure("ceas", 5, None, status="estimated")):
        assert convergence_tables([nothing])[1][0].is_met is None
