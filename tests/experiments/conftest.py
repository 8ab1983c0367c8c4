"""A made-up run that has every column and key."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ceas.experiments.result_tables import TABLE_COLUMNS
from ceas.experiments.results import RESULT_KEYS, RunResult
from ceas.experiments.scenario import Scenario, load_scenario


def table(name: str, n_rows: int, rng: np.random.Generator, **given: Any) -> dict[str, np.ndarray[Any, Any]]:
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for column, kind in TABLE_COLUMNS[name].items():
        if kind == "string":
            columns[column] = np.array([f"{column}-{row}" for row in range(n_rows)], dtype=object)
        elif kind == "bool":
            columns[column] = rng.random(n_rows) < 0.5
        else:
            columns[column] = (1000 * rng.random(n_rows)).astype(kind)
    return columns | {column: np.asarray(values) for column, values in given.items()}


def result_of(
    scenario: Scenario | None = None,
    *,
    seed: int = 0,
    accuracies: Sequence[float] = (0.25, 0.5, 0.75),
    pair_sampling: int = 50,
    **summary: Any,
) -> RunResult:
    scenario = scenario or load_scenario("quickstart")
    rng = np.random.default_rng(seed)
    n_rounds = len(accuracies)
    known: dict[str, Any] = {key: float(rng.random()) for key in RESULT_KEYS[""]}
    known |= {group: {key: int(rng.integers(9)) for key in keys} for group, keys in RESULT_KEYS.items() if group}
    known |= {
        "scenario_id": scenario.scenario_id,
        "scenario_name": scenario.name,
        "seed": seed,
        "method": scenario.aggregation.rule,
        "attack": scenario.byzantine.attack,
        "policy": scenario.schedule.policy,
        "ceas_version": "0",
        "command": "ceas run",
        "test_accuracy": float(accuracies[-1]),
    }
    return RunResult(
        scenario=scenario,
        summary=known | summary,
        pair_sampling=pair_sampling,
        rounds=table("rounds", n_rounds, rng, round=np.arange(n_rounds), test_accuracy=np.array(accuracies, float)),
        learners=table("learners", 2 * n_rounds, rng),
        links=table("links", 3, rng),
        nodes=table("nodes", 2, rng),
        pairs=table("pairs", 5, rng),
    )


@pytest.fixture
def make_result() -> Callable[..., RunResult]:
    return result_of
