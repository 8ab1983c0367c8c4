"""Pairs used and value delivered against the coherence time, beside a bound that nobody can pass.

Each coherence time is a schedule study of its own: every policy is tuned with the same effort, on seeds of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ceas.experiments.reproduce_plan import Plan
from ceas.experiments.scenario import Scenario
from ceas.experiments.schedule_study import PolicyResult, ScheduleStudy, errors_of, is_clear
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["EntanglementFigure", "entanglement_figures"]

_TUNING_ROUNDS, _BOUND_ROUNDS = 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EntanglementFigure:
    """One policy at one coherence time.

    Attributes:
        coherence_time_s: Median coherence time of the memories (s).
        contest: What it takes part in: `thrifty` policies use at least 90 % of their pairs, `any` may use fewer.
        result: Our policy there.
        baseline: The best of the others there.
        gain: Our value less the baseline's, over the latter; and its standard error.
        n_standard_errors: How many of them it is.
        is_clear: Whether that is called a difference.
    """

    coherence_time_s: float
    contest: str
    result: PolicyResult
    baseline: PolicyResult | None
    gain: tuple[float, float]
    n_standard_errors: float
    is_clear: bool


def entanglement_figures(
    plan: Plan, base: Scenario, *, out: Path, progress: Progress | None = None
) -> list[EntanglementFigure]:
    """Run what is missing of the studies and return our policy beside the best baseline, at each coherence time."""
    from ceas.experiments.schedule import schedule_policies  # noqa: PLC0415 - compiles the network

    found: list[EntanglementFigure] = []
    for count, coherence_time_s in enumerate(plan.coherence_times_s):
        scenario = base.with_overrides([f"hardware.coherence_time_s={coherence_time_s}"])

        def told(event: ProgressEvent, count: int = count) -> None:
            if progress is not None:
                share = count + event.training_round / max(event.rounds, 1)
                done = round(100 * share / len(plan.coherence_times_s))
                progress(ProgressEvent(phase="entanglement", training_round=done, rounds=100))

        study = schedule_policies(
            scenario,
            policies=_policies(),
            seeds=plan.seeds,
            rounds=plan.schedule_rounds,
            tuning_rounds=min(_TUNING_ROUNDS, plan.schedule_rounds),
            bound_rounds=min(_BOUND_ROUNDS, plan.schedule_rounds),
            out=out / f"coherence-{coherence_time_s:g}",
            progress=told,
        )
        found += _figures(study, coherence_time_s)
    return found


def _policies() -> Sequence[str]:
    from ceas.experiments.registry import names  # noqa: PLC0415

    return names("policy")


def _figures(study: ScheduleStudy, coherence_time_s: float) -> list[EntanglementFigure]:
    found = []
    for name, is_thrifty in (("thrifty", True), ("any", False)):
        contest = study.contest(is_thrifty=is_thrifty)
        if contest is None:
            continue
        difference, scale = contest.difference, contest.baseline and contest.baseline.mean("value_per_round")
        gain = (float("nan"), float("nan"))
        if difference is not None and scale:
            gain = difference.mean / scale, difference.standard_error / scale
        found.append(
            EntanglementFigure(
                coherence_time_s=coherence_time_s,
                contest=name,
                result=contest.ours,
                baseline=contest.baseline,
                gain=gain,
                n_standard_errors=float("nan") if difference is None else errors_of(difference),
                is_clear=difference is not None and is_clear(difference),
            )
        )
    return found
