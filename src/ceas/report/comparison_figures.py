"""Figures of a comparison: heat map, curves of accuracy and of the attackers' weight, differences to one method."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ceas.experiments.statistics import MeanInterval, PairedDifference
from ceas.report.axes import Axis, fitted_axis
from ceas.report.chooser import chooser
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.heat_map import HeatCell, heat_map, shortened
from ceas.report.intervals import cell_estimate, curve_estimate, difference
from ceas.report.learning_figures import accuracy_references
from ceas.report.line_chart import Reference, Series, line_chart
from ceas.report.marks import glyph, polyline, tip
from ceas.report.markup import Markup, tag
from ceas.report.palette import INK, SERIES_COLOURS
from ceas.report.panel import HALF_WIDTH, Frame, chart, responsive
from ceas.report.source import Table

__all__ = [
    "attack_phrase",
    "curves_figure",
    "differences_figure",
    "heat_map_figure",
    "interval_text",
    "series_style",
    "weights_figure",
    "worst_attack",
]

METRIC = "test_accuracy_last5"
# Bold titles are a quarter wider than text of the usual size; a key has its sample before it.
_LONGEST_TITLE, _LONGEST_KEY = HALF_WIDTH / 1.26, HALF_WIDTH - 40.0
# Each has its own charts, which a page must not drown in.
_MOST_BASELINES = 12


def series_style(index: int) -> tuple[str, str]:
    """Return the colour and line kind of the index-th of several series."""
    return SERIES_COLOURS[index % len(SERIES_COLOURS)], ("line", "dash", "dot")[index // len(SERIES_COLOURS) % 3]


def attack_phrase(attack: str) -> str:
    """Return the words for what the methods were exposed to, with the number of attackers where it has its own."""
    name, _, count = attack.rpartition("#") if "#" in attack else (attack, "", "")
    true, _, declared = count.partition("/")
    numbers = [f"{true} attacker{'' if true == '1' else 's'}"] if true and name != "none" else []
    told = declared or (true if name == "none" else "")
    numbers += [f"{told} declared"] if told else []
    head = "Without attack" if name == "none" else f"Under attack “{name}”"
    return ", ".join([head, *numbers])


def interval_text(value: MeanInterval, unit: str = "%") -> str:
    """Write an estimate as mean, ± half the width of its interval, and the number of seeds."""
    if value.n_values == 0:
        return "no run"
    half = (value.high - value.low) / 2
    width = f" ± {format_number(half, unit, digits=2)}" if math.isfinite(half) else ""
    return f"{format_number(value.mean, unit)}{width} (n = {value.n_values})"


def worst_attack(rows: Table, method: str, attacks: Sequence[str]) -> str | None:
    """Return under which attack a method is least accurate; None where there are fewer than two to choose from."""
    means = {attack: cell_estimate(rows, method, attack, METRIC).mean for attack in attacks}
    known = {attack: mean for attack, mean in means.items() if math.isfinite(mean)}
    return min(known, key=lambda attack: known[attack]) if len(known) > 1 else None


def _heat_row(rows: Table, method: str, attacks: Sequence[str]) -> list[HeatCell]:
    worst = worst_attack(rows, method, attacks)
    found = [(attack, cell_estimate(rows, method, attack, METRIC)) for attack in attacks]
    return [
        HeatCell(
            value=value.mean,
            number=format_number(value.mean * 100, decimals=1) if value.n_values else "–",
            text=tip(
                method,
                attack_phrase(attack),
                interval_text(value),
                *(["its worst column"] if attack == worst else []),
            ),
            is_marked=attack == worst,
        )
        for attack, value in found
    ]


def heat_map_figure(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Figure:
    """Return the accuracy of every method under every attack as a heat map, with each method's worst attack marked."""
    cells = [_heat_row(rows, method, attacks) for method in methods]
    worst = {method: worst_attack(rows, method, attacks) for method in methods}
    words = "; ".join(f"{method}: {attack}" for method, attack in worst.items() if attack)
    marked = " The outlined cell is a method's worst column: what an attacker who chooses would do." if words else ""
    return Figure(
        anchor="heat-map",
        heading="Accuracy at a glance",
        caption="A method that withstands the attacks keeps a dark row; a pale cell is a method that its attack broke."
        + marked,
        charts=(
            responsive(
                lambda width: heat_map(
                    cells,
                    rows=methods,
                    columns=attacks,
                    width=width,
                    title="Mean test accuracy of the last five evaluations (%)",
                    description="The table gives all values." + (f" Worst for {words}." if words else ""),
                    mark="worst of the row" if words else "",
                )
            ),
        ),
        is_wide=True,
    )


def _reference_lines(references: Mapping[str, MeanInterval]) -> list[Reference]:
    means = {name: interval.mean for name, interval in references.items()}
    return accuracy_references(means.get("test_accuracy_logistic"), means.get("test_accuracy_separable"))


def _series(curves: Table, methods: Sequence[str], attack: str, column: str) -> list[Series]:
    """Return the line of every method that has one, with its interval."""
    series = []
    for index, method in enumerate(methods):
        curve = curve_estimate(curves, method, attack, column)
        colour, kind = series_style(index)
        if np.isfinite(curve.mean).any():
            series.append(
                Series(
                    label=shortened(method, _LONGEST_KEY),
                    x=curve.rounds,
                    values=curve.mean,
                    colour=colour,
                    kind=kind,
                    low=curve.low,
                    high=curve.high,
                )
            )
    return series


def _attack_title(attack: str) -> str:
    return shortened(attack_phrase(attack), _LONGEST_TITLE)


def _curves_chart(curves: Table, methods: Sequence[str], attack: str, references: Sequence[Reference]) -> Markup | None:
    series = _series(curves, methods, attack, "test_accuracy")
    if not series:
        return None
    return line_chart(
        series, title=_attack_title(attack), unit="%", low=0.0, high=1.0, references=references, height=320
    )


def curves_figure(
    curves: Table, methods: Sequence[str], attacks: Sequence[str], references: Mapping[str, MeanInterval]
) -> Figure:
    """Return accuracy over training rounds beside the references, one chart for each attack."""
    lines = _reference_lines(references)
    made = (_curves_chart(curves, methods, attack, lines) for attack in attacks)
    beside = " Level lines are references on the same features; no method or attack moves them." if lines else ""
    return Figure(
        anchor="curves",
        heading="Accuracy over training rounds",
        caption="Test accuracy, mean over seeds, with its 95 % confidence interval as a band; bands that overlap much "
        "leave the order of two methods open." + beside,
        charts=tuple(chart for chart in made if chart is not None),
    )


def _attackers_share(rows: Table, attack: str) -> float:
    """Return which share of the learners attacks; not a number where rows are of a version that did not note it."""
    chosen = rows.where(np.array([text == attack for text in rows.texts("attack")], bool))
    found = chosen.numbers("n_byzantine") / chosen.numbers("learners")
    return float(found[0]) if len(found) else float("nan")


def _weights_chart(rows: Table, curves: Table, methods: Sequence[str], attack: str) -> Markup | None:
    series = _series(curves, methods, attack, "byzantine_weight")
    if not any((one.values > 0).any() for one in series):
        return None
    share = _attackers_share(rows, attack)
    level = Reference(label="their share of the learners", level=share, kind="dash", colour=INK)
    return line_chart(
        series,
        title=_attack_title(attack),
        unit="%",
        low=0.0,
        references=[level] if math.isfinite(share) else (),
        height=300,
    )


def weights_figure(rows: Table, curves: Table, methods: Sequence[str], attacks: Sequence[str]) -> Figure:
    """Return the attackers' total weight over training rounds, a chart for each attack under which they have any."""
    made = (_weights_chart(rows, curves, methods, attack) for attack in attacks)
    return Figure(
        anchor="weights",
        heading="Weight of the attackers",
        caption="What the attackers together count in the aggregate, mean over the rounds since the evaluation before "
        "and over seeds, with its 95 % confidence interval. Below the dashed line they count less than their "
        "number; a low weight alone does not say that what they send is harmless.",
        charts=tuple(chart for chart in made if chart is not None),
    )


def _difference_text(value: PairedDifference) -> str:
    if value.n_pairs == 0:
        return "no common seed"
    mean, low, high = (
        format_number(100 * number, digits=2) for number in (value.mean, value.student_low, value.student_high)
    )
    return f"{mean} percentage points ({low} to {high}, {value.n_pairs} seeds)"


def _difference_row(frame: Frame, row: int, value: PairedDifference, method: str) -> list[Markup]:
    y = frame.y.at(row + 0.72)
    # The name stands above its interval, so that a long one takes nothing from the axis.
    name = shortened(method, frame.right - frame.left)
    parts = [tag("text", name, x=frame.left, y=frame.y.at(row + 0.42))]
    if value.n_pairs == 0:
        return [*parts, tag("text", "no common seed", x=frame.left + 6, y=y + 4, class_="tick")]
    if math.isfinite(value.student_low):
        parts.append(polyline(frame.x([100 * value.student_low, 100 * value.student_high]), [y, y], INK, width=2.2))
    text = tip(method, f"difference: {_difference_text(value)}", *_p_values(value))
    return [*parts, glyph("circle", frame.x.at(100 * value.mean), y, radius=4.6, colour=INK, text=text)]


def _p_values(value: PairedDifference) -> list[str]:
    if not math.isfinite(value.p_value):
        return []
    shown = format_number(value.p_value, digits=2), format_number(value.sign_flip_p_value, digits=2)
    return [f"p = {shown[0]} (paired t-test), {shown[1]} (sign flips)"]


def _differences_chart(rows: Table, others: Sequence[str], baseline: str, attack: str, x: Axis) -> Markup:
    found = [difference(rows, method, baseline, attack, METRIC) for method in others]

    def draw(frame: Frame) -> list[Markup]:
        zero = frame.x.at(0.0)
        parts = [polyline([zero, zero], [frame.top, frame.bottom], INK, width=1.2, dash="6 4")]
        for row, value in enumerate(found):
            parts += _difference_row(frame, row, value, others[row])
        return parts

    words = (f"{method}: {_difference_text(value)}" for method, value in zip(others, found, strict=True))
    return chart(
        draw,
        x=x,
        y=Axis(label="", low=float(len(found)), high=0.0, has_ticks=False),
        title=_attack_title(attack),
        description=f"Accuracy minus that of {baseline}. {'; '.join(words)}.",
        height=88 + 38 * len(found),
    )


def _differences_to(rows: Table, methods: Sequence[str], attacks: Sequence[str], baseline: str) -> list[Markup]:
    others = [method for method in methods if method != baseline]
    found = [difference(rows, method, baseline, attack, METRIC) for method in others for attack in attacks]
    ends = [100 * value for one in found for value in (one.mean, one.student_low, one.student_high)]
    # One axis for all attacks, so that the charts can be compared.
    x = fitted_axis("percentage points", ends, [0.0])
    return [_differences_chart(rows, others, baseline, attack, x) for attack in attacks]


def differences_figure(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Figure | None:
    """Return the differences to a method that the reader chooses, or None where there is but one method."""
    if len(methods) < 2:
        return None
    offered = methods[:_MOST_BASELINES]
    return Figure(
        anchor="differences",
        heading="Differences to one method",
        caption="Accuracy minus that of the chosen method, paired by seed, with 95 % confidence intervals (Student's): "
        "left of zero a method is worse, and an interval that holds zero leaves the order open. The intervals are not "
        "corrected for the number of comparisons; the words above, which are about the first method, are.",
        charts=(
            chooser(
                "minus the accuracy of",
                [(baseline, _differences_to(rows, methods, attacks, baseline)) for baseline in offered],
            ),
        ),
        is_wide=True,
    )
