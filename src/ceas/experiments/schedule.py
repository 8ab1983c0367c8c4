"""The network and its schedule alone: policies side by side, without learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments import registry
from ceas.experiments.assemble import assemble_world
from ceas.experiments.scenario import Scenario
from ceas.experiments.statistics import mean_interval
from ceas.network import Fate, NetworkModel, Policy, advance_round, initial_state
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.runtime.world import World
from ceas.scheduling import (
    TUNING_GRIDS,
    fidelity_mean,
    fidelity_quantile,
    jain_index,
    learner_value,
    schedule_metrics,
)

__all__ = ["TUNING_SEEDS", "schedule_policies"]

# Root seeds on which policies are tuned.
TUNING_SEEDS = (900_001, 900_002)
# Parameters that waste more pairs than this are only chosen where a policy has no others: the published claim.
LEAST_UTILISATION = 0.9

# What each policy is measured by; `generated_pairs` differs between policies because a full memory stops attempts.
METRICS = (
    "utilisation",
    "delivered_value",
    "value_learning",
    "value_key",
    "value_test",
    "fidelity_at_use_mean",
    "fidelity_at_use_p05",
    "key_requests_served",
    "shots_served",
    "learner_fairness",
    "shot_wait_s",
    "shots",
    "generated_pairs",
)


def schedule_policies(
    scenario: Scenario,
    *,
    policies: Sequence[str],
    seeds: Sequence[int],
    rounds: int | None = None,
    tuning_rounds: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run the network under every policy, on the same links, demands and random numbers for each seed.

    Args:
        scenario: What all runs share; its own policy keeps the scenario's parameters, the others have defaults.
        policies: Names of scheduling policies.
        seeds: Root seeds.
        rounds: Training rounds to simulate; default: the scenario's.
        tuning_rounds: 0 for no tuning. Otherwise every policy whose parameters the scenario does not set takes those of
            its grid that deliver most in this many rounds on `TUNING_SEEDS`, which no run reports, among those that
            use at least `LEAST_UTILISATION` of the pairs they make, if any does.
        progress: Told before every run; its rounds count runs.

    Returns:
        One row per policy: its name, its parameters, and for every metric of `METRICS` the mean over the seeds and the
        half width of its 95 % confidence interval (`..._ci95`, NaN with one seed); `value_over_first` is the mean,
        over seeds, of the delivered value over that of the first policy on the same seed.

    Raises:
        ScenarioError: A policy does not fit the scenario; nothing was run.
        DomainError: There is no policy or seed, or a seed is one of `TUNING_SEEDS` while tuning.
    """
    for name, values in (("policies", policies), ("seeds", seeds)):
        if not values:
            raise DomainError(f"Argument `{name}` must not be empty.")
    if tuning_rounds and set(seeds) & set(TUNING_SEEDS):
        raise DomainError(f"Argument `seeds` must not hold {TUNING_SEEDS}, on which policies are tuned.")
    variants = {policy: scenario.with_policy(policy) for policy in policies}
    trials = {policy: _trials(variant) if tuning_rounds else [] for policy, variant in variants.items()}
    told = _Told(progress, sum(len(seeds) + len(trial) for trial in trials.values()))
    tuning = [assemble_world(scenario, seed) for seed in TUNING_SEEDS] if any(trials.values()) else []
    worlds = [assemble_world(scenario, seed) for seed in seeds]
    rows: list[dict[str, Any]] = []
    first: list[dict[str, float]] = []
    for policy, variant in variants.items():
        parameters = dict(variant.schedule.parameters)
        if trials[policy]:
            parameters = _tuned(policy, trials[policy], tuning, tuning_rounds, told)
        figures = []
        for seed, world in zip(seeds, worlds, strict=True):
            told.next(f"{policy}, seed {seed}")
            figures.append(_run(policy, parameters, world, seed, rounds or scenario.clock.rounds))
        first = first or figures
        rows.append({"policy": policy, "parameters": parameters, **_summarised(figures), **_gain(figures, first)})
    return rows


@dataclass(slots=True)
class _Told:
    """Tells the progress of a known number of runs."""

    progress: Progress | None
    n_runs: int
    done: int = 0

    def next(self, phase: str) -> None:
        """Say that the next run begins."""
        if self.progress is not None:
            self.progress(ProgressEvent(phase=phase, training_round=self.done, rounds=self.n_runs))
        self.done += 1


def _trials(variant: Scenario) -> list[dict[str, Any]]:
    """Return the parameters to try for a policy: none if the scenario sets them or the policy has no grid."""
    if variant.schedule.parameters:
        return []
    return [dict(parameters) for parameters in TUNING_GRIDS.get(variant.schedule.policy, ())]


def _tuned(
    policy: str, trials: Sequence[dict[str, Any]], worlds: Sequence[World], rounds: int, told: "_Told"
) -> dict[str, Any]:
    """Return the parameters that deliver most on the tuning seeds without waste, at a tie the first."""
    scores = []
    for parameters in trials:
        told.next(f"{policy}, tuning")
        runs = [_run(policy, parameters, world, seed, rounds) for seed, world in zip(TUNING_SEEDS, worlds, strict=True)]
        is_thrifty = np.mean([run["utilisation"] for run in runs]) >= LEAST_UTILISATION
        scores.append((bool(is_thrifty), sum(run["delivered_value"] for run in runs)))
    return trials[scores.index(max(scores))]


def _run(name: str, parameters: Mapping[str, Any], world: World, seed: int, rounds: int) -> dict[str, float]:
    model = world.network
    policy: Policy = registry.bind("policy", name, parameters)(model)
    state = initial_state(model, seed=seed)
    windows = [advance_round(state, model, policy) for _ in range(rounds)]
    metrics = schedule_metrics(windows)
    learning, key, test = metrics.delivered_value.tolist()
    used = metrics.fates[Fate.LEARNING] + metrics.fates[Fate.KEY] + metrics.fates[Fate.TEST]
    uses = np.sum([window.fidelity_at_use.sum(axis=0) for window in windows], axis=0)
    return {
        "utilisation": used / metrics.generated if metrics.generated else float("nan"),
        "delivered_value": learning + key + test,
        "value_learning": learning,
        "value_key": key,
        "value_test": test,
        "fidelity_at_use_mean": float(fidelity_mean(uses)),
        "fidelity_at_use_p05": float(fidelity_quantile(uses, 0.05)),
        "key_requests_served": metrics.key_served_fraction,
        "shots_served": metrics.n_shots / possible if (possible := rounds * _most_shots(model)) else float("nan"),
        "learner_fairness": jain_index(learner_value(windows, model)),
        "shot_wait_s": metrics.shot_wait_mean_s,
        "shots": float(metrics.n_shots),
        "generated_pairs": float(metrics.generated),
    }


def _most_shots(model: NetworkModel) -> int:
    """Return how many shots the learners could begin in a round if they never waited for pairs."""
    durations = model.demand.shot_duration_ns[model.demand.learner_link >= 0]
    return int((model.clock.learning_ns // np.maximum(durations, 1)).sum())


def _gain(figures: Sequence[dict[str, float]], first: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the delivered value over the first policy's, paired by seed, because seeds differ more than policies."""
    pairs = zip(figures, first, strict=True)
    ratios = np.array([run["delivered_value"] / base["delivered_value"] for run, base in pairs])
    interval = mean_interval(ratios[np.isfinite(ratios)])
    return {"value_over_first": interval.mean, "value_over_first_ci95": interval.high - interval.mean}


def _summarised(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    row: dict[str, float] = {}
    for metric in METRICS:
        values = np.array([run[metric] for run in figures])
        interval = mean_interval(values[np.isfinite(values)])
        row[metric] = interval.mean
        row[f"{metric}_ci95"] = interval.high - interval.mean
    return row
