"""What a schedule study found: policies side by side on the same networks, beside a bound, with who is ahead."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.experiments.result_tables import Columns
from ceas.experiments.scenario import Scenario
from ceas.experiments.statistics import MeanInterval, PairedDifference, mean_interval, paired_difference

__all__ = [
    "CLEAR_ERRORS",
    "LEAST_UTILISATION",
    "SCHEDULE_METRICS",
    "PolicyResult",
    "ScheduleStudy",
    "Trial",
    "errors_of",
    "is_clear",
    "study_document",
    "verdict",
]

# Parameters that waste more pairs than this are only chosen where a policy has no others: the published claim.
LEAST_UTILISATION = 0.9
# Standard errors of the paired difference from which one policy is said to be ahead of another.
CLEAR_ERRORS = 3.0
LARGEST_P_VALUE = 0.05
# The policy that the others are baselines to, where it takes part.
_OURS = "ceas"

# What policies are measured by; `generated` differs between policies because a full memory stops attempts.
SCHEDULE_METRICS = (
    "utilisation",
    "value_per_round",
    "fraction_of_bound",
    "delivered_value",
    "value_learning",
    "value_key",
    "value_test",
    "fidelity_at_use_mean",
    "fidelity_at_use_p05",
    "keys_served",
    "shots_served",
    "key_wait_mean_s",
    "shot_wait_mean_s",
    "learner_fairness",
    "shots",
    "generated",
    "learning",
    "key",
    "test",
    "expired",
    "discarded",
    "alive",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Parameters that tuning tried, and what they did on the tuning seeds, which no reported run uses.

    Attributes:
        parameters: The parameters.
        utilisation: Mean utilisation.
        value_per_round: Mean delivered value a round.
        fraction_of_bound: Delivered value over the bound, all tuning seeds together; NaN without a bound.
        is_chosen: Whether the reported runs use them.
    """

    parameters: Mapping[str, Any]
    utilisation: float
    value_per_round: float
    fraction_of_bound: float
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One policy over all seeds.

    Attributes:
        policy: Its name.
        study_id: What names its rows, see `ceas.experiments.schedule_store`.
        parameters: Those of the reported runs; a parameter that is not named has its default.
        trials: What tuning tried, empty for a policy that was not tuned.
        figures: Values by metric of `SCHEDULE_METRICS`, in the order of the seeds, shape `(n_seeds,)`.
    """

    policy: str
    study_id: str
    parameters: Mapping[str, Any]
    trials: tuple[Trial, ...]
    figures: Mapping[str, NDArray[np.float64]]

    def interval(self, metric: str) -> MeanInterval:
        """Return the mean of what was measured over the seeds, with its 95 % confidence interval."""
        values = self.figures[metric]
        return mean_interval(values[np.isfinite(values)])

    def mean(self, metric: str) -> float:
        """Return the mean of what was measured over the seeds."""
        return self.interval(metric).mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStudy:
    """A finished study.

    Attributes:
        scenario: What all runs share; its policy is that of a training, not of the study.
        rounds: Rounds of a reported run.
        tuning_rounds: Rounds of a trial; 0 if no policy was tuned.
        bound_rounds: First rounds of a run whose value is compared with the bound; 0 for no bound.
        seeds: Root seeds of the reported runs.
        policies: Results, in the order in which the policies were named.
        links: Links under every policy in the run of the first seed, columns of the table `schedule_links`.
        nodes: Nodes likewise.
        pairs: Pairs of some links in one round likewise.
        command: Command that repeats the study, empty if it was not the command line.
    """

    scenario: Scenario
    rounds: int
    tuning_rounds: int
    bound_rounds: int
    seeds: tuple[int, ...]
    policies: tuple[PolicyResult, ...]
    links: Columns
    nodes: Columns
    pairs: Columns
    command: str = ""

    def by_value(self) -> list[PolicyResult]:
        """Return the policies by falling mean value."""
        return sorted(self.policies, key=lambda one: -one.mean("value_per_round"))

    @property
    def protagonist(self) -> PolicyResult:
        """The policy that the others are compared with: `ceas`, or without it the first."""
        return next((one for one in self.policies if one.policy == _OURS), self.policies[0])

    @property
    def best_baseline(self) -> PolicyResult | None:
        """The other policy with the largest mean value on the reported seeds, a choice that favours baselines."""
        others = [one for one in self.by_value() if one is not self.protagonist]
        return others[0] if others else None

    def gain(self, policy: PolicyResult) -> PairedDifference | None:
        """Return the value a round of a policy less that of the best baseline, paired by seed; None for itself."""
        baseline = self.best_baseline
        if baseline is None or policy is baseline:
            return None
        return paired_difference(policy.figures["value_per_round"], baseline.figures["value_per_round"])

    @property
    def has_bound(self) -> bool:
        """Whether value is compared with a bound."""
        return self.bound_rounds > 0


def errors_of(difference: PairedDifference) -> float:
    """Return how many standard errors a difference lies from 0; NaN where there is no standard error."""
    return difference.mean / difference.standard_error if difference.standard_error > 0 else math.nan


def is_clear(difference: PairedDifference) -> bool:
    """Tell whether a difference is called one: by its standard error, and by Student's test where seeds are few."""
    return abs(errors_of(difference)) >= CLEAR_ERRORS and difference.p_value < LARGEST_P_VALUE


def verdict(study: ScheduleStudy) -> str:
    """Return in a few sentences who delivers most, by how much, how surely, and how near to the bound."""
    ours, baseline = study.protagonist, study.best_baseline
    if baseline is None:
        return f"{ours.policy} ran alone, with nothing to compare it with.{_of_bound(study, [ours])}"
    difference = study.gain(ours)
    assert difference is not None  # the best baseline is another policy
    return " ".join(
        (
            _comparison(study, ours, baseline, difference),
            f"Utilisation: {_percent(ours.mean('utilisation'))} under {ours.policy}, "
            f"{_percent(baseline.mean('utilisation'))} under {baseline.policy}.",
        )
    ) + _of_bound(study, [ours, baseline])


def _comparison(study: ScheduleStudy, ours: PolicyResult, baseline: PolicyResult, difference: PairedDifference) -> str:
    share = difference.mean / baseline.mean("value_per_round") if baseline.mean("value_per_round") else math.nan
    errors, size = errors_of(difference), f"{100 * abs(share):.1f} % {'more' if share >= 0 else 'less'}"
    if len(study.seeds) < 2:
        return (
            f"On one seed {ours.policy} delivers {size} value than the best baseline, {baseline.policy}; "
            "one seed cannot tell a difference from luck."
        )
    measured = (
        f"{len(study.seeds)} seeds, {abs(errors):.1f} standard errors of the paired difference, "
        f"p = {difference.p_value:.1g}"
    )
    if not math.isfinite(errors):
        return f"{ours.policy} and the best baseline, {baseline.policy}, deliver the same on every seed."
    if not is_clear(difference):
        return (
            f"{ours.policy} cannot be told from the best baseline, {baseline.policy}: it delivers {size} value "
            f"({measured})."
        )
    if errors < 0:
        return f"A baseline wins: {ours.policy} delivers {size} value than {baseline.policy} ({measured})."
    return f"{ours.policy} delivers {size} value than the best baseline, {baseline.policy} ({measured})."


def _of_bound(study: ScheduleStudy, policies: Sequence[PolicyResult]) -> str:
    if not study.has_bound:
        return ""
    shares = " and ".join(f"{_percent(one.mean('fraction_of_bound'))} under {one.policy}" for one in policies)
    return f" Of a bound that no policy can pass, {shares} is reached."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "an unknown part"


def study_document(study: ScheduleStudy) -> dict[str, Any]:
    """Return the study as one document of plain values, without its links, nodes and pairs.

    Every row holds for each metric the mean over the seeds and the half width of its 95 % confidence interval
    (`..._ci95`, NaN with one seed), the difference to the best baseline, and all trials.
    """
    baseline = study.best_baseline
    return {
        "kind": "schedule",
        "scenario": study.scenario.name,
        "network_id": study.scenario.network_id,
        "seeds": list(study.seeds),
        "rounds": study.rounds,
        "tuning_rounds": study.tuning_rounds,
        "bound_rounds": study.bound_rounds,
        "command": study.command,
        "best_baseline": baseline.policy if baseline else None,
        "verdict": verdict(study),
        "rows": [_row(study, one) for one in study.policies],
    }


def _row(study: ScheduleStudy, policy: PolicyResult) -> dict[str, Any]:
    row: dict[str, Any] = {"policy": policy.policy, "study_id": policy.study_id, "parameters": dict(policy.parameters)}
    for metric in SCHEDULE_METRICS:
        interval = policy.interval(metric)
        row[metric] = interval.mean
        row[f"{metric}_ci95"] = interval.high - interval.mean
    difference = study.gain(policy)
    row["difference"] = difference and {
        "value_per_round": difference.mean,
        "standard_error": difference.standard_error,
        "n_standard_errors": errors_of(difference),
    }
    row["trials"] = [
        {
            "parameters": dict(trial.parameters),
            "utilisation": trial.utilisation,
            "value_per_round": trial.value_per_round,
            "fraction_of_bound": trial.fraction_of_bound,
            "is_chosen": trial.is_chosen,
        }
        for trial in policy.trials
    ]
    return row
