"""Methods side by side: every method under every attack on the same networks, data and seeds.

A method is an aggregation rule, or `rule@policy` for a rule under another scheduling policy than the scenario's; both,
and attacks, may have parameters, and an attack a number of attackers (see `ceas.experiments.comparison_names`). The
network does not depend on rule or attack, so it is simulated once per seed and policy and its trace replayed for all
that share it. Rows are kept as they finish; running the same comparison again does only what is missing, with more
seeds, methods or attacks it adds them. Rows of other scenarios in the same directory stay apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError, RunDirectoryError, ScenarioError
from ceas.experiments.comparison_names import parse_attack, parse_method
from ceas.experiments.comparison_rehearsal import refused_values
from ceas.experiments.comparison_store import (
    ComparedScenario,
    add_run,
    finished_keys,
    note_compared,
    read_comparison,
    reference_intervals,
)
from ceas.experiments.result_tables import Columns
from ceas.experiments.results import RunResult
from ceas.experiments.scenario import Scenario
from ceas.experiments.statistics import MeanInterval, mean_interval
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["Comparison", "ComparisonCell", "RecordNetwork", "Simulate", "compare_methods", "summarise"]

Trace = TypeVar("Trace")
TraceMade_co = TypeVar("TraceMade_co", covariant=True)
TraceUsed_contra = TypeVar("TraceUsed_contra", contravariant=True)

METRICS = (
    "test_accuracy",
    "test_accuracy_last5",
    "bell_pair_utilisation",
    "delivered_value",
    "value_learning",
    "gradient_variance",
)


class RecordNetwork(Protocol[TraceMade_co]):
    """Simulate the network and its schedule alone, for one seed."""

    def __call__(self, scenario: Scenario, *, seed: int) -> TraceMade_co:
        """Return the trace."""


class Simulate(Protocol[TraceUsed_contra]):
    """Run one co-simulated training on a recorded network."""

    def __call__(self, scenario: Scenario, *, seed: int, network_trace: TraceUsed_contra) -> RunResult:
        """Return what the run found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCell:
    """One method under one attack, over all seeds.

    Attributes:
        method: Method, as its canonical text.
        attack: Attack, likewise.
        seeds: Seeds that entered.
        means: Mean over the seeds, by metric of `METRICS`; NaN where a run has none.
        intervals: 95 % confidence interval of that mean; both ends NaN with fewer than two seeds.
    """

    method: str
    attack: str
    seeds: tuple[int, ...]
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison and where its rows are kept.

    Attributes:
        scenario: What all runs share.
        directory: Where the rows are.
        cells: One for each method under each attack.
        references: Test accuracy of logistic regression and of the circuit without entanglers on the same features, by
            column of the rows, over the seeds; what a seed lacks is left out.
    """

    scenario: Scenario
    directory: Path
    cells: tuple[ComparisonCell, ...]
    references: Mapping[str, MeanInterval]


def compare_methods(
    scenario: Scenario,
    *,
    methods: Sequence[str],
    attacks: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    simulate: Simulate[Trace],
    record_network: RecordNetwork[Trace],
    progress: Progress | None = None,
    command: str = "",
) -> Comparison:
    """Run what is missing of a comparison and summarise it.

    Args:
        scenario: What all runs share.
        methods: Aggregation rules, or `rule@policy`, as `ceas.experiments.comparison_names` describes; without
            parameters each runs at its defaults, the scenario's own rule and policy at the scenario's.
        attacks: Attacks, likewise, each perhaps with a number of attackers.
        seeds: Root seeds; each gives one network, data split and initial circuit to all methods and attacks.
        out: Directory of the rows; rows that are there are not computed again.
        simulate: Runs one training.
        record_network: Simulates one network.
        progress: Told before every run; its rounds count runs.
        command: Command to repeat the comparison.

    Raises:
        ScenarioError: A method or attack does not fit the scenario; nothing was run.
        DomainError: There is no method, attack or seed, or a text cannot be read.
    """
    for name, values in (("methods", methods), ("attacks", attacks), ("seeds", seeds)):
        if not values:
            raise DomainError(f"Argument `{name}` must not be empty.")
    variants = _variants(scenario, methods, attacks)
    if refused := refused_values(variants.values()):
        raise ScenarioError(scenario.name, refused)
    done = finished_keys(out)
    missing = [
        (seed, key)
        for seed in dict.fromkeys(seeds)
        for key in sorted(variants, key=lambda key: variants[key].network_id)
        if not _is_done(variants[key], seed, key, done)
    ]
    note_compared(out, _compared(scenario, variants, command))
    traces: dict[tuple[int, str], Trace] = {}
    for count, (seed, key) in enumerate(missing):
        variant = variants[key]
        network = seed, variant.network_id
        if network not in traces:
            # Only one trace is kept: methods come by policy, and a trace of a large network is large.
            traces = {network: record_network(variant, seed=seed)}
        if progress is not None:
            phase = f"{key[0]}, {key[1]}, seed {seed}"
            progress(ProgressEvent(phase=phase, training_round=count, rounds=len(missing)))
        result = simulate(variant, seed=seed, network_trace=traces[network])
        add_run(out, result, method=key[0], attack=key[1])
    return summarise(scenario, methods=methods, attacks=attacks, seeds=seeds, out=out)


def _variants(scenario: Scenario, methods: Iterable[str], attacks: Iterable[str]) -> dict[tuple[str, str], Scenario]:
    """Build the scenario of every method and attack, and report all mistakes together."""
    variants: dict[tuple[str, str], Scenario] = {}
    mistakes: list[str] = []
    attack_choices = [parse_attack(text) for text in attacks]
    for method in map(parse_method, methods):
        for attack in attack_choices:
            try:
                chosen = scenario.with_overrides([*method.overrides(), *attack.overrides()])
                variants[str(method), str(attack)] = chosen
            except ScenarioError as error:
                mistakes += error.mistakes
    if mistakes:
        raise ScenarioError(scenario.name, list(dict.fromkeys(mistakes)))
    return variants


def _compared(scenario: Scenario, variants: Mapping[tuple[str, str], Scenario], command: str) -> ComparedScenario:
    return ComparedScenario(
        scenario_id=scenario.scenario_id,
        name=scenario.name,
        command=command,
        variants={key: variant.scenario_id for key, variant in variants.items()},
    )


def _is_done(variant: Scenario, seed: int, key: tuple[str, str], done: set[tuple[str, str, str, int]]) -> bool:
    return (variant.scenario_id, *key, seed) in done


def summarise(
    scenario: Scenario, *, methods: Sequence[str], attacks: Sequence[str], seeds: Sequence[int], out: Path
) -> Comparison:
    """Summarise the rows of a comparison that are on disk.

    Raises:
        RunDirectoryError: A row is missing.
    """
    rows, chosen = read_comparison(out).rows, tuple(dict.fromkeys(seeds))
    variants = _variants(scenario, methods, attacks)
    found = {key: _chosen_rows(rows, variant, *key, chosen) for key, variant in variants.items()}
    shown = np.logical_or.reduce(list(found.values()))
    return Comparison(
        scenario=scenario,
        directory=out,
        cells=tuple(_cell(rows, belongs, *key, chosen) for key, belongs in found.items()),
        references=reference_intervals({name: column[shown] for name, column in rows.items()}),
    )


def _chosen_rows(
    rows: Columns, variant: Scenario, method: str, attack: str, seeds: tuple[int, ...]
) -> NDArray[np.bool_]:
    belongs = rows["scenario_id"] == variant.scenario_id
    belongs &= (rows["method"] == method) & (rows["attack"] == attack) & np.isin(rows["seed"], seeds)
    found = {int(seed) for seed in rows["seed"][belongs]}
    if found != set(seeds):
        raise RunDirectoryError(f"no row for {method}, {attack}, seed {min(set(seeds) - found)}")
    return np.asarray(belongs, bool)


def _cell(
    rows: Columns, belongs: NDArray[np.bool_], method: str, attack: str, seeds: tuple[int, ...]
) -> ComparisonCell:
    intervals = {metric: _interval(rows[metric][belongs]) for metric in METRICS}
    return ComparisonCell(
        method=method,
        attack=attack,
        seeds=seeds,
        means={metric: interval.mean for metric, interval in intervals.items()},
        intervals={metric: (interval.low, interval.high) for metric, interval in intervals.items()},
    )


def _interval(values: np.ndarray[Any, Any]) -> MeanInterval:
    # A seed without a number spoils its cell: leaving it out would flatter a method that diverges.
    return mean_interval(values if np.isfinite(values).all() else ())
