"""The tables of `ceas schedule` on standard output, narrow enough for 120 columns."""

import math
from typing import TYPE_CHECKING

import typer

from ceas.cli.printing import print_rows, text_of

if TYPE_CHECKING:
    from ceas.experiments import ScheduleStudy
    from ceas.experiments.schedule_study import PolicyResult
    from ceas.experiments.statistics import MeanInterval

__all__ = ["print_study"]


def print_study(study: "ScheduleStudy") -> None:
    """Print the policies by falling value, the parameters that tuning chose, and who is ahead."""
    from ceas.experiments import verdict

    n_seeds = len(study.seeds)
    seeds = f"mean over {n_seeds} seeds ± half of the 95 % interval" if n_seeds > 1 else f"seed {study.seeds[0]}"
    title = f"{study.scenario.name}: the network alone, {study.rounds} rounds, {seeds}"
    policies = study.by_value()
    print_rows([_row(study, one) for one in policies], title=title, is_dense=True)
    carriers = [one for one in policies if math.isfinite(one.mean("background_served"))]
    if carriers:
        print_rows([_background_row(one) for one in carriers], title="Background traffic", is_dense=True)
    tuned = [one for one in policies if one.trials]
    if tuned:
        title = f"Parameters chosen in {study.tuning_rounds} rounds on seeds of their own, and what they reached there"
        print_rows([_tuned_row(one) for one in tuned], title=title, is_dense=True)
    typer.echo(verdict(study))


def _row(study: "ScheduleStudy", policy: "PolicyResult") -> dict[str, str]:
    row = {
        "policy": policy.label,
        "used %": _percent(policy.mean("utilisation")),
        "value/round": _with_half(policy.interval("value_per_round")),
    }
    if study.has_bound:
        row["of bound %"] = _with_half(policy.interval("fraction_of_bound"), is_percent=True)
    if study.best_baseline(is_thrifty=False) is not None:
        row |= _to_baseline(study, policy)
    return row | {
        "F": f"{policy.mean('fidelity_at_use_mean'):.3f}",
        "F 5%": f"{policy.mean('fidelity_at_use_p05'):.3f}",
        "keys %": _percent(policy.mean("keys_served")),
        "shots %": _percent(policy.mean("shots_served")),
        "wait p99": _time(policy.mean("shot_wait_p99_s")),
        "fair": f"{policy.mean('learner_fairness'):.3f}",
    }


def _to_baseline(study: "ScheduleStudy", policy: "PolicyResult") -> dict[str, str]:
    """Return the difference to the best baseline of its kind, and how many standard errors that is."""
    from ceas.experiments.schedule_study import errors_of

    gain = study.gain(policy)
    if gain is None:
        return {"to best %": "best", "s.e.": ""}
    baseline, difference = gain
    share, errors = difference.mean / (baseline.mean("value_per_round") or math.nan), errors_of(difference)
    return {"to best %": f"{100 * share:+.1f}", "s.e.": f"{errors:+.1f}" if math.isfinite(errors) else "-"}


def _background_row(policy: "PolicyResult") -> dict[str, str]:
    rounds = policy.mean("delivered_value") / policy.mean("value_per_round")
    return {
        "policy": policy.label,
        "served %": _with_half(policy.interval("background_served"), is_percent=True),
        "its value/round": _plain(policy.mean("value_background") / rounds, 5),
    }


def _tuned_row(policy: "PolicyResult") -> dict[str, str]:
    chosen = next(trial for trial in policy.trials if trial.parameters == policy.parameters)
    return {
        "policy": policy.label,
        "parameters": ", ".join(f"{name} = {text_of(value)}" for name, value in chosen.parameters.items()),
        "tried": str(len(policy.trials)),
        "used %": _percent(chosen.utilisation),
        "value/round": _plain(chosen.value_per_round, 5),
        "of bound %": _percent(chosen.fraction_of_bound),
    }


def _with_half(interval: "MeanInterval", *, is_percent: bool = False) -> str:
    half = interval.high - interval.mean
    if is_percent:
        return _percent(interval.mean, f" ± {100 * half:.1f}" if math.isfinite(half) else "")
    return _plain(interval.mean, 5) + (f" ± {_plain(half, 2)}" if math.isfinite(half) else "")


def _plain(value: float, digits: int) -> str:
    """Write a number with so many significant digits, in the usual way up to a million."""
    return f"{float(f'{value:.{digits}g}'):g}" if math.isfinite(value) else "-"


def _percent(share: float, half: str = "") -> str:
    return f"{100 * share:.1f}{half}" if math.isfinite(share) else "-"


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-"
    scale, unit = next((one for one in ((1.0, "s"), (1e-3, "ms")) if seconds >= one[0]), (1e-6, "µs"))
    return f"{seconds / scale:.3g} {unit}"
