"""Figures of the reproduction as rows to print, to draw and to write, with what they claim and whether it is so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ceas.experiments.reproduce_accuracy import Ablation, ArmFigure, Cost, Difference
from ceas.experiments.reproduce_convergence import RuleFigure
from ceas.experiments.reproduce_entanglement import EntanglementFigure
from ceas.experiments.reproduce_falsifiers import Falsifier
from ceas.experiments.reproduce_plan import N_NODES, OBLIVIOUS_POLICY, OURS
from ceas.experiments.reproduce_variance import SCHEMES, TRAINED_ROUNDS, VarianceFigure
from ceas.experiments.statistics import MeanInterval, PairedDifference, mean_interval

__all__ = [
    "Claim",
    "Interval",
    "ReproducedTable",
    "accuracy_tables",
    "convergence_tables",
    "entanglement_tables",
    "falsifier_tables",
    "variance_tables",
]


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval; the ends are NaN with one seed."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducedTable:
    """One table.

    Attributes:
        name: Its name within the reproduction.
        title: What it shows.
        rows: Rows with the same keys each; a value is a text, a number, an `Interval` or None.
        note: What a reader has to know.
        is_detail: Whether it is too long to be printed; pages and documents have it.
    """

    name: str
    title: str
    rows: tuple[Mapping[str, Any], ...]
    note: str = ""
    is_detail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A goal and whether it is reached.

    Attributes:
        table: Table that it belongs to.
        text: The goal.
        measured: What was found.
        is_met: Whether the goal is reached; None where the seeds cannot tell.
    """

    table: str
    text: str
    measured: str
    is_met: bool | None


def accuracy_tables(
    figures: Sequence[ArmFigure],
    against: Sequence[Difference],
    by_part: Sequence[Ablation],
    lost: Sequence[Cost],
    tuned: Mapping[str, Mapping[str, Sequence[str]]],
) -> tuple[list[ReproducedTable], list[Claim]]:
    """Return the tables about accuracy and their claims."""
    rows = tuple(_arm_row(one, tuned) for one in figures)
    tables = [
        ReproducedTable(
            name="accuracy",
            title="Worst case over the attacks: test accuracy by fraction of attackers",
            rows=rows,
            note="For each seed the least accuracy over the attacks, each the mean of the last five evaluations; mean "
            "over the seeds. At 0 attackers robust rules are told to withstand the largest number. Whoever meets fewer "
            "attacks has the better worst case: averages are flattered. `honest only` knows who is honest.",
        ),
        ReproducedTable(
            name="by-attack",
            title="Test accuracy under every attack",
            rows=tuple(row for one in figures for row in _attack_rows(one)),
            is_detail=True,
        ),
        ReproducedTable(
            name="differences",
            title="ceas less the best rival of each kind, in points of worst-case accuracy",
            rows=tuple(_difference_row(one) for one in against),
            note="Rivals are the best on the reported seeds, which favours them. Paired by seed, bootstrap intervals "
            "(BCa), p-values of paired t-tests after Holm's correction over all rows. A goal is reached when the mean "
            "is at least the goal and p (Holm) below 0.05, missed when the mean is less.",
        ),
        ReproducedTable(
            name="ablation",
            title="What scheduling and aggregation earn, in points of worst-case accuracy",
            rows=tuple(row for one in by_part for row in _ablation_rows(one)),
        ),
        ReproducedTable(
            name="costs",
            title="What attackers, or the fear of them, cost ceas, in points",
            rows=tuple(_cost_row(one) for one in lost),
            note="Reached when all of the interval is, missed when none of it is, `-` when the seeds cannot tell.",
        ),
    ]
    claims = [_difference_claim(one) for one in against if one.target is not None]
    return tables, claims + [_cost_claim(one) for one in lost]


def entanglement_tables(figures: Sequence[EntanglementFigure]) -> tuple[list[ReproducedTable], list[Claim]]:
    """Return the table of pairs used and value delivered, and its claim."""
    rows = tuple(
        {
            "coherence time (s)": one.coherence_time_s,
            "among policies": "that use >= 90 %" if one.contest == "thrifty" else "of any use",
            "pairs used": _interval(one.result.interval("utilisation")),
            "value a round": _interval(one.result.interval("value_per_round")),
            "of the bound": _interval(one.result.interval("fraction_of_bound")),
            "best baseline": "-" if one.baseline is None else one.baseline.label,
            "its pairs used": None if one.baseline is None else one.baseline.mean("utilisation"),
            "its value": None if one.baseline is None else one.baseline.mean("value_per_round"),
            "gain (%)": 100 * one.gain[0],
            "standard errors": one.n_standard_errors,
        }
        for one in figures
    )
    table = ReproducedTable(
        name="entanglement",
        title="Pairs used and value delivered against the coherence time, ceas beside the best tuned baseline",
        rows=rows,
        note="The bound knows the future; nobody can pass it.",
    )
    used = [one for one in figures if one.contest == "thrifty"]
    lacking = {one.coherence_time_s for one in figures} - {one.coherence_time_s for one in used}
    least = min((one.result.mean("utilisation") for one in used), default=float("nan"))
    compared = [one for one in figures if one.baseline is not None]
    gains = [f"{100 * one.gain[0]:+.1f} % ({one.contest}, {one.n_standard_errors:.0f} s.e.)" for one in compared]
    claims = [
        Claim(
            table="entanglement",
            text="there are parameters of ceas that use 90 % of the pairs, at every coherence time",
            measured=f"not at {', '.join(f'{one:g} s' for one in sorted(lacking))}"
            if lacking
            else f"least {100 * least:.1f} %",
            is_met=not lacking,
        ),
        Claim(
            table="entanglement",
            text="clearly more value than every tuned baseline, at every coherence time",
            measured=", ".join(gains) if gains else "no baseline",
            is_met=all(one.gain[0] > 0 and one.is_clear for one in compared) if compared else None,
        ),
    ]
    return [table], claims


def variance_tables(
    headline: Sequence[VarianceFigure], alike: Sequence[VarianceFigure], equal: Sequence[VarianceFigure]
) -> tuple[list[ReproducedTable], list[Claim]]:
    """Return the tables of gradient variance over the BLUE's: in the scenario, with data alike, with equal nodes."""
    tables = [
        ReproducedTable(name=name, title=title, rows=tuple(_variance_row(one) for one in figures), note=note)
        for name, title, figures, note in (
            (
                "variance",
                "Gradient variance over that of the best linear unbiased estimate, no attackers",
                headline,
                "On digits. The BLUE knows each node's true variance, which later in training also depends on its "
                "data; no certificate can tell that, and whoever weighed by it would prefer nodes with easy data.",
            ),
            (
                "variance-alike",
                "The same with data that are alike at all nodes (Dirichlet 1000)",
                alike,
                "What is left here comes from the processors and links alone, which is what certificates are about.",
            ),
            (
                "variance-equal",
                "The same on a ring of equal links and nodes: nothing is left to weigh",
                equal,
                "A falsifier: here equal weights must be as good.",
            ),
        )
    ]
    uniform = {one.scheme: one for one in equal}["equal"].ratios[0]
    claims = [
        _within_five_percent(
            "variance", "gradient variance with certified information within 5 % of the BLUE", headline
        ),
        _within_five_percent("variance-alike", "the same with data that are alike at all nodes", alike),
        Claim(
            table="variance-equal",
            text="equal nodes: equal weights within 5 % of the BLUE at the start, so there is nothing to gain",
            measured=f"{uniform.mean:.3f} at the start",
            is_met=_at_most(1.05, [uniform]),
        ),
    ]
    return tables, claims


def _within_five_percent(table: str, text: str, figures: Sequence[VarianceFigure]) -> Claim:
    """Return whether certified information comes within 5 % of the BLUE at all points of the training."""
    certified = {one.scheme: one for one in figures}["certified information"].ratios
    measured = ", ".join(
        f"{interval.mean:.3f} after {rounds} rounds" for interval, rounds in zip(certified, TRAINED_ROUNDS, strict=True)
    )
    return Claim(table=table, text=text, measured=measured, is_met=_at_most(1.05, certified))


def _at_most(limit: float, intervals: Sequence[MeanInterval]) -> bool | None:
    """Return whether all of the intervals lie below a limit; None where one of them holds it, or has no ends."""
    if any(one.low > limit for one in intervals):
        return False
    return True if all(one.high <= limit for one in intervals) else None


def falsifier_tables(found: Sequence[Falsifier]) -> tuple[list[ReproducedTable], list[Claim]]:
    """Return the table of falsifiers, each of which is a claim."""
    rows = tuple(
        {
            "what": one.what,
            "accuracy": float(one.accuracy.mean()),
            "without it": float(one.reference.mean()),
            "difference (points)": _points(one.difference),
            "attackers' weight": one.weight[0],
            "without": one.weight[1],
            "has to": one.expected,
            "does": _verdict(one.holds),
        }
        for one in found
    )
    table = ReproducedTable(
        name="falsifiers",
        title="What has to fail, to vanish or to gain nothing",
        rows=rows,
        note="On the first data set, our scheduler. Verdicts by Student's interval of the difference, paired by seed; "
        "`-` where it cannot tell.",
    )
    claims = [
        Claim(
            table="falsifiers",
            text=f"{one.what}: {one.expected}",
            measured=f"{one.accuracy.mean():.3f} against {one.reference.mean():.3f}, {_text(_points(one.difference))}",
            is_met=one.holds,
        )
        for one in found
    ]
    return [table], claims


def convergence_tables(figures: Sequence[RuleFigure]) -> tuple[list[ReproducedTable], list[Claim]]:
    """Return the tables of certified bounds, over all attacks and by attack, and their claim."""
    together = [one for one in figures if not one.attack]
    tables = [
        ReproducedTable(
            name="convergence",
            title="Certified bounds on the mean squared gradient, all attacks",
            rows=tuple(_convergence_row(one) for one in together),
            note="Of the bound: what was measured, at the last step (mean) and at any (worst). Exceeded: at any step "
            "of a run, or a constant contradicted by a measurement. Given the proof, this can only find a mistake of "
            "the implementation, and is no rate at which attackers succeed. No kappa is proved for `ceas`: the largest "
            "of its own rounds stands for it, so that its bound is an estimate, of which exceeding is not counted.",
        ),
        ReproducedTable(
            name="convergence-by-attack",
            title="Certified bounds under every attack",
            rows=tuple(_convergence_row(one) for one in figures if one.attack),
            is_detail=True,
        ),
    ]
    proved = [(one.n_runs, one.n_exceeded) for one in together if one.n_exceeded is not None]
    n_runs, n_exceeded = (sum(counts) for counts in zip(*proved, strict=True)) if proved else (0, 0)
    claim = Claim(
        table="convergence",
        text="the certified bound holds in every run, as it must",
        measured=f"exceeded in {n_exceeded} of {n_runs} runs",
        is_met=n_exceeded == 0 if n_runs else None,
    )
    return tables, [claim]


def _convergence_row(one: RuleFigure) -> dict[str, Any]:
    return {
        "rule": one.rule,
        **({"attack": one.attack} if one.attack else {}),
        "bound is": one.status,
        "runs": one.n_runs,
        "refused": one.n_refused,
        "exceeded": one.n_exceeded,
        "of the bound": one.mean_looseness,
        "worst": one.worst_ratio,
        "kappa": one.kappa,
        "kappa met": one.measured_kappa,
    }


def _arm_row(one: ArmFigure, tuned: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    return {
        "data": one.dataset,
        "attackers": f"{one.n_byzantine} of {N_NODES}",
        "scheduler": _scheduler(one.policy),
        "rule": one.arm,
        "kind": one.family,
        "worst case": _interval(one.interval),
        "of attacks": len(one.by_attack),
        "worst attack": one.worst_attack,
        "attackers' weight": one.weight[one.worst_attack],
        "mean over attacks": float(sum(values.mean() for values in one.by_attack.values()) / len(one.by_attack)),
        "tuned": " ".join(_short(text) for text in tuned[one.dataset][one.arm]),
    }


def _attack_rows(one: ArmFigure) -> list[dict[str, Any]]:
    return [
        {
            "data": one.dataset,
            "attackers": one.n_byzantine,
            "scheduler": _scheduler(one.policy),
            "rule": one.arm,
            "kind": one.family,
            "attack": attack,
            "accuracy": _interval(mean_interval(values)),
            "attackers' weight": one.weight[attack],
        }
        for attack, values in one.by_attack.items()
    ]


def _short(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _difference_row(one: Difference) -> dict[str, Any]:
    return {
        "data": one.dataset,
        "attackers": f"{one.n_byzantine} of {N_NODES}",
        "rivals": one.what,
        "best rival": one.rival.arm,
        "ceas": one.ours.interval.mean,
        "rival": one.rival.interval.mean,
        "difference (points)": _points(one.difference),
        "p (Holm)": one.adjusted_p,
        "goal (points)": "-" if one.target is None else f"{100 * one.target:.0f}",
        "reached": "-" if one.target is None else _verdict(one.is_met),
    }


def _difference_claim(one: Difference) -> Claim:
    return Claim(
        table="differences",
        text=f"{one.dataset}, {one.n_byzantine} of {N_NODES} attackers: at least {100 * (one.target or 0):.0f} points "
        f"over {one.what}",
        measured=f"{_text(_points(one.difference))} points over {one.rival.arm}, p (Holm) {one.adjusted_p:.1g}",
        is_met=one.is_met,
    )


def _cost_row(one: Cost) -> dict[str, Any]:
    return {
        "data": one.dataset,
        "what": one.what,
        "difference (points)": _points(one.difference),
        "goal (points)": f">= {100 * one.least:.0f}",
        "reached": _verdict(one.is_met),
    }


def _cost_claim(one: Cost) -> Claim:
    return Claim(
        table="costs",
        text=f"{one.dataset}, {one.what}: at least {100 * one.least:.0f} points",
        measured=f"{_text(_points(one.difference))} points",
        is_met=one.is_met,
    )


def _ablation_rows(one: Ablation) -> list[dict[str, Any]]:
    def row(what: str, oblivious: object, ours: object, effect: PairedDifference | None) -> dict[str, Any]:
        return {
            "data": one.dataset,
            "": what,
            "oblivious scheduler": oblivious,
            "ceas scheduler": ours,
            "scheduling earns (points)": None if effect is None else _points(effect),
        }

    arms = [arm for policy, arm in one.figures if policy == OURS]
    rows = [
        row(
            arm,
            _interval(one.figures[OBLIVIOUS_POLICY, arm].interval),
            _interval(one.figures[OURS, arm].interval),
            one.scheduling[arm],
        )
        for arm in arms
    ]
    oblivious, ours = (_points(one.aggregation[policy]) for policy in (OBLIVIOUS_POLICY, OURS))
    return [*rows, row("aggregation earns (points)", oblivious, ours, None)]


def _variance_row(one: VarianceFigure) -> dict[str, Any]:
    ratios = {
        f"after {rounds} rounds": _interval(interval)
        for rounds, interval in zip(TRAINED_ROUNDS, one.ratios, strict=True)
    }
    return {"weights": one.scheme, **ratios, "what": SCHEMES[one.scheme]}


def _scheduler(policy: str) -> str:
    return "oblivious" if policy == OBLIVIOUS_POLICY else policy


def _verdict(holds: bool | None) -> str:
    return "-" if holds is None else "yes" if holds else "NO"


def _interval(interval: MeanInterval) -> Interval:
    return Interval(interval.mean, interval.low, interval.high)


def _points(difference: PairedDifference) -> Interval:
    return Interval(100 * difference.mean, 100 * difference.low, 100 * difference.high)


def _text(interval: Interval) -> str:
    return f"{interval.mean:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
