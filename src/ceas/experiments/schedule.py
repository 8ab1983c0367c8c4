"""The network and its schedule alone: policies side by side, without learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.assemble import assemble_policy, assemble_world
from ceas.experiments.scenario import Scenario
from ceas.experiments.statistics import mean_interval
from ceas.network import Fate, advance_round, initial_state
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.scheduling import fidelity_mean, fidelity_quantile, schedule_metrics

__all__ = ["schedule_policies"]

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
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run the network under every policy, on the same links, demands and random numbers for each seed.

    Args:
        scenario: What all runs share; its own policy keeps the scenario's parameters, the others have defaults.
        policies: Names of scheduling policies.
        seeds: Root seeds.
        rounds: Training rounds to simulate; default: the scenario's.
        progress: Told before every run; its rounds count runs.

    Returns:
        One row per policy: its name, and for every metric of `METRICS` the mean over the seeds and the half width of
        its 95 % confidence interval (`..._ci95`, NaN with one seed); `value_over_first` is the mean, over seeds, of the
        delivered value over that of the first policy on the same seed.

    Raises:
        ScenarioError: A policy does not fit the scenario; nothing was run.
        DomainError: There is no policy or seed.
    """
    for name, values in (("policies", policies), ("seeds", seeds)):
        if not values:
            raise DomainError(f"Argument `{name}` must not be empty.")
    variants = {policy: scenario.with_policy(policy) for policy in policies}
    rows: list[dict[str, Any]] = []
    first: list[dict[str, float]] = []
    for index, (policy, variant) in enumerate(variants.items()):
        figures = []
        for step, seed in enumerate(seeds):
            if progress is not None:
                done = index * len(seeds) + step
                phase = f"{policy}, seed {seed}"
                progress(ProgressEvent(phase=phase, training_round=done, rounds=len(variants) * len(seeds)))
            figures.append(_run(variant, seed, rounds or scenario.clock.rounds))
        first = first or figures
        rows.append({"policy": policy, **_summarised(figures), **_gain(figures, first)})
    return rows


def _run(scenario: Scenario, seed: int, rounds: int) -> dict[str, float]:
    world = assemble_world(scenario, seed)
    policy = assemble_policy(scenario, world)
    state = initial_state(world.network, seed=seed)
    windows = [advance_round(state, world.network, policy) for _ in range(rounds)]
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
        "shot_wait_s": metrics.shot_wait_mean_s,
        "shots": float(metrics.n_shots),
        "generated_pairs": float(metrics.generated),
    }


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
