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
    "Contest",
    "PolicyResult",
    "ScheduleStudy",
    "Trial",
    "chosen_trials",
    "errors_of",
    "is_clear",
    "study_document",
    "verdict",
]

# The published claim: what uses a smaller part of its pairs is compared on value alone, apart from what uses more.
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
    "value_background",
    "fidelity_at_use_mean",
    "fidelity_at_use_p05",
    "keys_served",
    "shots_served",
    "background_served",
    "key_wait_mean_s",
    "key_wait_p99_s",
    "shot_wait_mean_s",
    "shot_wait_p99_s",
    "learner_fairness",
    "shots",
    "generated",
    "learning",
    "key",
    "test",
    "expired",
    "discarded",
    "route",
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
        is_chosen: Whether reported runs use them.
    """

    parameters: Mapping[str, Any]
    utilisation: float
    value_per_round: float
    fraction_of_bound: float
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """One policy with one choice of parameters, over all seeds.

    Attributes:
        policy: Its name.
        label: Its name, with what the parameters were chosen for if the study has two choices for this policy.
        study_id: What names its rows, see `ceas.experiments.schedule_store`.
        parameters: Those of the reported runs; a parameter that is not named has its default.
        trials: What tuning tried, empty for a policy that was not tuned.
        figures: Values by metric of `SCHEDULE_METRICS`, in the order of the seeds, shape `(n_seeds,)`.
    """

    policy: str
    label: str
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

    @property
    def is_thrifty(self) -> bool:
        """Whether it uses at least `LEAST_UTILISATION` of its pairs, as a mean over the seeds."""
        return self.mean("utilisation") >= LEAST_UTILISATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The policy in question against the best baseline.

    Attributes:
        is_thrifty: Whether only results that use at least `LEAST_UTILISATION` of the pairs take part.
        ours: The better result of the policy in question.
        baseline: The result of another policy with the largest mean value on the reported seeds, a choice that favours
            the baselines; None without another policy.
        difference: Value a round of `ours` less that of `baseline`, paired by seed; None without a baseline.
    """

    is_thrifty: bool
    ours: PolicyResult
    baseline: PolicyResult | None
    difference: PairedDifference | None


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
        waits: Waiting times likewise, counted up to each `wait_s`, of the uses `shot` and `key`.
        ceas_version: Version that made the reported runs; the last where they are of several.
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
    waits: Columns
    ceas_version: str
    command: str = ""

    def by_value(self) -> list[PolicyResult]:
        """Return the results by falling mean value, those that use too few of their pairs last."""
        return sorted(self.policies, key=lambda one: (not one.is_thrifty, -one.mean("value_per_round")))

    @property
    def protagonist(self) -> str:
        """The policy that the others are compared with: `ceas`, or without it the first."""
        names = [one.policy for one in self.policies]
        return _OURS if _OURS in names else names[0]

    def best_baseline(self, *, is_thrifty: bool) -> PolicyResult | None:
        """Return the best result of other policies, or of those that use at least `LEAST_UTILISATION` of the pairs."""
        return self._best(is_thrifty, is_ours=False)

    def contest(self, *, is_thrifty: bool) -> Contest | None:
        """Return the policy in question against the best baseline; None if it takes no part."""
        ours, baseline = self._best(is_thrifty, is_ours=True), self.best_baseline(is_thrifty=is_thrifty)
        if ours is None:
            return None
        difference = None if baseline is None else _paired(ours, baseline)
        return Contest(is_thrifty=is_thrifty, ours=ours, baseline=baseline, difference=difference)

    def contests(self) -> list[Contest]:
        """Return the contest of those that use most pairs, then that of all where it is another one; never none."""
        found = [one for flag in (True, False) if (one := self.contest(is_thrifty=flag)) is not None]
        first = found[0]
        is_other = (
            first.baseline is None or found[-1].baseline is not first.baseline or found[-1].ours is not first.ours
        )
        return [first, found[-1]] if len(found) > 1 and is_other else [first]

    @property
    def main_contest(self) -> Contest:
        """The first contest that has a baseline; without any, the first."""
        found = self.contests()
        return next((one for one in found if one.baseline is not None), found[0])

    def tried(self) -> list[tuple[PolicyResult, Trial]]:
        """Return all trials, each once, with a result of its policy."""
        by_policy = {one.policy: one for one in reversed(self.policies)}
        return [(one, trial) for one in self.policies if by_policy[one.policy] is one for trial in one.trials]

    def gain(self, policy: PolicyResult) -> tuple[PolicyResult, PairedDifference] | None:
        """Return the best baseline of a result's kind, and the result's value a round less its; None for itself.

        A result that uses most of its pairs is compared with baselines that do, any other with all of them.
        """
        baseline = self.best_baseline(is_thrifty=policy.is_thrifty)
        if baseline is None or policy is baseline:
            return None
        return baseline, _paired(policy, baseline)

    def _best(self, is_thrifty: bool, *, is_ours: bool) -> PolicyResult | None:
        found = [one for one in self.policies if (one.policy == self.protagonist) == is_ours]
        eligible = [one for one in found if one.is_thrifty or not is_thrifty]
        return max(eligible, key=lambda one: one.mean("value_per_round"), default=None)

    @property
    def has_bound(self) -> bool:
        """Whether value is compared with a bound."""
        return self.bound_rounds > 0


def _paired(ours: PolicyResult, theirs: PolicyResult) -> PairedDifference:
    return paired_difference(ours.figures["value_per_round"], theirs.figures["value_per_round"])


def chosen_trials(trials: Sequence[Trial]) -> list[int]:
    """Return which trials to report: that of the largest value, and that among those which use most of their pairs.

    At a tie the first; one trial where both are the same or none uses most of its pairs.
    """
    thrifty = [index for index, one in enumerate(trials) if one.utilisation >= LEAST_UTILISATION]
    pools = [list(range(len(trials))), thrifty]
    return list(dict.fromkeys(max(pool, key=lambda i: trials[i].value_per_round) for pool in pools if pool))


def errors_of(difference: PairedDifference) -> float:
    """Return how many standard errors a difference lies from 0; NaN where there is no standard error."""
    return difference.mean / difference.standard_error if difference.standard_error > 0 else math.nan


def is_clear(difference: PairedDifference) -> bool:
    """Tell whether a difference is called one: by its standard error, and by Student's test where seeds are few."""
    return abs(errors_of(difference)) >= CLEAR_ERRORS and difference.p_value < LARGEST_P_VALUE


def verdict(study: ScheduleStudy) -> str:
    """Return in a few sentences who delivers most, by how much, how surely, and how near to the bound."""
    return " ".join(_contest_words(study, contest) for contest in study.contests())


def _contest_words(study: ScheduleStudy, contest: Contest) -> str:
    ours, baseline, difference = contest.ours, contest.baseline, contest.difference
    among = f"Among policies that use at least {100 * LEAST_UTILISATION:.0f} % of their pairs, "
    text = among if contest.is_thrifty else "Whatever part of the pairs is used, "
    if baseline is None or difference is None:
        return f"{text}{ours.label} is alone, with nothing to compare it with.{_of_bound(study, [ours])}"
    text += _comparison(study, ours, baseline, difference)
    if not contest.is_thrifty:
        used = " and ".join(f"{one.label} {_percent(one.mean('utilisation'))}" for one in (ours, baseline))
        text += f" Of their pairs they use: {used}."
    return text + _of_bound(study, [ours, baseline])


def _comparison(study: ScheduleStudy, ours: PolicyResult, baseline: PolicyResult, difference: PairedDifference) -> str:
    scale, errors = baseline.mean("value_per_round"), errors_of(difference)
    share = difference.mean / scale if scale else math.nan
    size = f"{100 * abs(share):.1f} % {'more' if share >= 0 else 'less'}"
    if len(study.seeds) < 2:
        return (
            f"{ours.label} delivers {size} value than the best baseline, {baseline.label}, on one seed, which cannot "
            "tell a difference from luck."
        )
    if not math.isfinite(errors):
        return f"{ours.label} and the best baseline, {baseline.label}, differ by the same on every seed: {size}."
    measured = (
        f"{len(study.seeds)} seeds, {abs(errors):.1f} standard errors of the paired difference, "
        f"p = {difference.p_value:.1g}"
    )
    if not is_clear(difference):
        return (
            f"{ours.label} cannot be told from the best baseline, {baseline.label} (difference "
            f"{100 * share:+.2f} %; {measured})."
        )
    if errors < 0:
        return f"a baseline wins: {ours.label} delivers {size} value than {baseline.label} ({measured})."
    return f"{ours.label} delivers {size} value than the best baseline, {baseline.label} ({measured})."


def _of_bound(study: ScheduleStudy, policies: Sequence[PolicyResult]) -> str:
    if not study.has_bound or not all(math.isfinite(one.mean("fraction_of_bound")) for one in policies):
        return ""
    shares = " and ".join(f"{one.label} {_percent(one.mean('fraction_of_bound'))}" for one in policies)
    return f" Of a bound that nobody can pass, {'they reach' if len(policies) > 1 else 'it reaches'}: {shares}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "an unknown part"


def study_document(study: ScheduleStudy) -> dict[str, Any]:
    """Return the study as one document of plain values, without its links, nodes, pairs and waits.

    Every row holds for each metric the mean over the seeds and the half width of its 95 % confidence interval
    (`..._ci95`, NaN with one seed), the difference to the best baseline, and all trials.
    """
    best = {name: study.best_baseline(is_thrifty=flag) for name, flag in (("all", False), ("thrifty", True))}
    return {
        "kind": "schedule",
        "scenario": study.scenario.name,
        "network_id": study.scenario.network_id,
        "seeds": list(study.seeds),
        "rounds": study.rounds,
        "tuning_rounds": study.tuning_rounds,
        "bound_rounds": study.bound_rounds,
        "command": study.command,
        "best_baseline": {name: one and one.label for name, one in best.items()},
        "verdict": verdict(study),
        "rows": [_row(study, one) for one in study.policies],
    }


def _row(study: ScheduleStudy, policy: PolicyResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "policy": policy.policy,
        "label": policy.label,
        "study_id": policy.study_id,
        "parameters": dict(policy.parameters),
    }
    for metric in SCHEDULE_METRICS:
        interval = policy.interval(metric)
        row[metric] = interval.mean
        row[f"{metric}_ci95"] = interval.high - interval.mean
    gain = study.gain(policy)
    row["difference"] = gain and {
        "baseline": gain[0].label,
        "value_per_round": gain[1].mean,
        "standard_error": gain[1].standard_error,
        "n_standard_errors": errors_of(gain[1]),
        "p_value": gain[1].p_value,
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
