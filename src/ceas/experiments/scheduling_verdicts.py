"""Who wins in the scheduling benchmark: paired differences to the best baseline, judged over all settings of a run.

The best baseline of a setting is the one with the largest mean on the reported instances, which favours the baselines.
A policy is judged twice: among all, and, as thrifty, among those that use most of their pairs on the reported
instances. A difference is called a win or a loss if it is `CLEAR` standard errors or more, and Student's paired test,
corrected by Holm for all verdicts of the run, still finds it at `LARGEST_P_VALUE`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ceas.experiments.statistics import MeanInterval, PairedDifference, holm, mean_interval, paired_difference

__all__ = [
    "HIGH_UTILISATION",
    "THRIFTY",
    "best_baseline",
    "difference",
    "errors_of",
    "fractions",
    "goals_of",
    "mean_of",
    "of_online_bound",
    "thrift_note",
    "values_of",
    "verdict_rows",
]

Document = dict[str, Any]
Policy = Mapping[str, Any]
Row = dict[str, Any]

# From this utilisation on a policy is thrifty.
HIGH_UTILISATION = 0.9
# What the name of a policy ends with when it is entered as thrifty.
THRIFTY = " (thrifty)"
# Standard errors of the paired difference from which a win or a loss is called one, and instances that it takes.
CLEAR, LEAST_INSTANCES = 3.0, 5
# Largest p-value, corrected for all verdicts of a run, of a win or a loss.
LARGEST_P_VALUE = 0.05


def values_of(policy: Policy, metric: str) -> list[float]:
    """Return a figure of a policy on each reported instance, NaN where it has none."""
    return [math.nan if value is None else float(value) for value in policy["figures"][metric]]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the finite values, NaN for none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def goals_of(document: Document) -> list[str]:
    """Return what policies were tuned for, value first."""
    return list(dict.fromkeys(policy["goal"] for policy in document["policies"]))


def best_baseline(document: Document, goal: str = "V", *, is_thrifty: bool = False) -> Policy | None:
    """Return the baseline, tuned for a goal, that has the largest mean of it on the reported instances.

    Args:
        document: What ran on a setting.
        goal: The goal.
        is_thrifty: Whether only those take part that use at least `HIGH_UTILISATION` of their pairs there; then None if
            there is no such baseline.
    """
    baselines = [policy for policy in document["policies"] if not policy["is_ours"] and policy["goal"] == goal]
    eligible = [policy for policy in baselines if not is_thrifty or _is_thrifty(policy)]
    return max(eligible, key=lambda policy: mean_of(values_of(policy, goal)), default=None)


def difference(policy: Policy, baseline: Policy, goal: str = "V") -> PairedDifference:
    """Return how far a policy is ahead of a baseline in the goal, paired by instance; NaN if one has no figure."""
    ours, theirs = values_of(policy, goal), values_of(baseline, goal)
    if np.isfinite([*ours, *theirs]).all():
        return paired_difference(ours, theirs)
    names = ("mean", "low", "high", "student_low", "student_high", "p_value", "standard_error")
    return PairedDifference(**dict.fromkeys(names, math.nan), n_pairs=len(ours))


def errors_of(gap: PairedDifference) -> float:
    """Return how many standard errors a difference lies from 0; NaN where there is no standard error."""
    return gap.mean / gap.standard_error if gap.standard_error > 0.0 else math.nan


def fractions(document: Document, policy: Policy) -> tuple[MeanInterval, MeanInterval]:
    """Return delivered value as a fraction of the clairvoyant's and of the average bound, NaN where there is none.

    The clairvoyant's bound is for policies that do not purify, unless the setting lets them, and the average bound is
    for those alone: what is purified may be better than new pairs.
    """
    total, bounds = np.array(values_of(policy, "total")), document["bounds"]
    purifies = any(values_of(policy, "purified"))
    hindsight = bounds["hindsight"] if bounds.get("purification", False) or not purifies else []
    average = [] if purifies else bounds["average"]
    return (
        mean_interval(total[: len(hindsight)] / np.array(hindsight)),
        mean_interval(total[: len(average)] / np.array(average)),
    )


def of_online_bound(document: Document, policy: Policy) -> MeanInterval:
    """Return the mean delivered value over the mean bound on policies without foresight, NaN where there is none.

    Only the means can be compared; the interval is that of a ratio of means (by linearisation).
    """
    online = np.array([] if any(values_of(policy, "purified")) else document["bounds"].get("online", []))
    total = np.array(values_of(policy, "total"))[: len(online)]
    if not len(online):
        return mean_interval(online)
    ratio = float(total.mean() / online.mean())
    return mean_interval(ratio + (total - ratio * online) / online.mean())


def _is_thrifty(policy: Policy) -> bool:
    return mean_of(values_of(policy, "U")) >= HIGH_UTILISATION


def thrift_note(policy: Policy) -> str:
    """Say so if a policy used most of its pairs on the tuning instances, but not on the reported ones."""
    missed = policy["is_thrifty"] and not _is_thrifty(policy)
    return f"U below {HIGH_UTILISATION:g} when reported" if missed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """Ours against the best baseline on a setting; `ours` or `baseline` is None where there is none."""

    document: Document
    goal: str
    is_thrifty: bool
    ours: Policy | None
    baseline: Policy | None

    @property
    def gap(self) -> PairedDifference | None:
        if self.ours is None or self.baseline is None:
            return None
        return difference(self.ours, self.baseline, self.goal)

    @property
    def p_value(self) -> float:
        """P-value of the difference, NaN where nothing can be judged."""
        gap = self.gap
        if gap is None or gap.n_pairs < LEAST_INSTANCES or not gap.standard_error > 0.0:
            return math.nan
        return gap.p_value


def _match(document: Document, goal: str, *, is_thrifty: bool) -> _Match:
    ours = [policy for policy in document["policies"] if policy["is_ours"] and policy["goal"] == goal]
    eligible = [policy for policy in ours if policy["is_thrifty"]] if is_thrifty else ours
    return _Match(
        document=document,
        goal=goal,
        is_thrifty=is_thrifty,
        # The first is the one that the scenario is about, as tuned for the goal.
        ours=eligible[0] if eligible else None,
        baseline=best_baseline(document, goal, is_thrifty=is_thrifty),
    )


def verdict_rows(documents: Sequence[Document]) -> list[Row]:
    """Say who is ahead on each setting, in words: for each goal among all policies, and for value among thrifty ones.

    The p-values of all rows are corrected together.
    """
    matches = [_match(one, goal, is_thrifty=False) for one in documents for goal in goals_of(one)]
    matches += [_match(one, "V", is_thrifty=True) for one in documents]
    raw = np.array([match.p_value for match in matches])
    corrected = np.full(len(raw), math.nan)
    known = np.isfinite(raw)
    if known.any():
        corrected[known] = holm(raw[known])
    return [_row(match, float(p)) for match, p in zip(matches, corrected, strict=True)]


def _row(match: _Match, corrected: float) -> Row:
    gap, document = match.gap, match.document
    shown = match.ours if match.ours is not None else match.baseline

    def mean(policy: Policy | None, metric: str) -> float:
        return math.nan if policy is None else mean_of(values_of(policy, metric))

    return {
        "table": f"verdicts among policies of U >= {HIGH_UTILISATION:g}" if match.is_thrifty else "verdicts",
        "setting": document["setting"],
        "goal": match.goal,
        "verdict": _words(match, corrected),
        "policy": "" if shown is None else shown["policy"],
        "U": mean(shown, "U"),
        "V": mean(shown, "V"),
        "of LP": math.nan if shown is None else fractions(document, shown)[0].mean,
        "of online bound": math.nan if shown is None else of_online_bound(document, shown).mean,
        "best baseline": "" if match.baseline is None else match.baseline["policy"],
        "its U": mean(match.baseline, "U"),
        "its V": mean(match.baseline, "V"),
        "difference": math.nan if gap is None else gap.mean,
        "s.e.": math.nan if gap is None else gap.standard_error,
        "p (Holm)": corrected,
        "regime": document["regime"],
        "wall s": document["wall_s"],
    }


def _words(match: _Match, corrected: float) -> str:
    gap = match.gap
    if match.ours is None:
        return "no policy of ours"
    if gap is None:
        return "no baseline"
    note = thrift_note(match.ours) if match.is_thrifty else ""
    return f"{_outcome(gap, corrected)}; {note}" if note else _outcome(gap, corrected)


def _outcome(gap: PairedDifference, corrected: float) -> str:
    ratio = errors_of(gap)
    if gap.n_pairs < LEAST_INSTANCES:
        return f"{'ahead' if gap.mean > 0 else 'not ahead'}, too few instances to judge"
    if not math.isfinite(ratio):
        return "level" if gap.mean == 0.0 else "cannot be judged"
    if abs(ratio) < CLEAR or corrected >= LARGEST_P_VALUE:
        return f"not told apart ({'ahead' if gap.mean > 0 else 'behind'} by {abs(ratio):.1f} s.e.)"
    return f"{'ahead' if gap.mean > 0 else 'BASELINE AHEAD'} by {abs(ratio):.1f} s.e."
