"""Figures of a comparison: heat map, accuracy curves, and differences to the first method."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ceas.experiments.statistics import MeanInterval, PairedDifference
from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.intervals import cell_estimate, curve_estimate, difference
from ceas.report.learning_figures import accuracy_references
from ceas.report.line_chart import Reference, Series, line_chart
from ceas.report.marks import glyph, polyline, tip
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import INK, PALE, SERIES_COLOURS, contrasting_ink, sequential, shares
from ceas.report.panel import Frame, canvas, chart, responsive, text_width
from ceas.report.source import Table

__all__ = ["attack_phrase", "curves_figure", "differences_figure", "heat_map_figure", "interval_text", "series_style"]

METRIC = "test_accuracy_last5"
_CELL_HEIGHT = 34.0
_LABEL_ANGLE = math.radians(35)


def series_style(index: int) -> tuple[str, str]:
    """Return the colour and line kind of the index-th of several series."""
    return SERIES_COLOURS[index % len(SERIES_COLOURS)], ("line", "dash", "dot")[index // len(SERIES_COLOURS) % 3]


def attack_phrase(attack: str) -> str:
    """Return the words for what the methods were exposed to."""
    return "Without attack" if attack == "none" else f"Under attack “{attack}”"


def interval_text(value: MeanInterval, unit: str = "%") -> str:
    """Write an estimate as mean, ± half the width of its interval, and the number of seeds."""
    if value.n_values == 0:
        return "no run"
    half = (value.high - value.low) / 2
    width = f" ± {format_number(half, unit, digits=2)}" if math.isfinite(half) else ""
    return f"{format_number(value.mean, unit)}{width} (n = {value.n_values})"


def _heat_cell(value: MeanInterval, share: float, *, x: float, y: float, width: float, text: str) -> Markup:
    is_known = value.n_values > 0
    number = format_number(value.mean * 100, decimals=1) if is_known else "–"
    box = {"x": x, "y": y, "width": width - 2, "height": _CELL_HEIGHT - 2}
    label = {"x": x + width / 2 - 1, "y": y + _CELL_HEIGHT / 2 + 4, "text_anchor": "middle", "pointer_events": "none"}
    ink = contrasting_ink(share) if is_known else INK
    return join(
        (
            tag("rect", **box, fill=sequential(share) if is_known else PALE, data_tip=text),
            tag("text", number, class_="cell", style=f"fill:{ink}", **label),
        )
    )


def _column_heads(attacks: Sequence[str], left: float, width: float) -> tuple[float, float, Markup]:
    """Return the width of a column, the top of the cells, and the heads: level where they fit, else slanted."""
    longest = max(text_width(attack) for attack in attacks)
    cell = min((width - left) / len(attacks), 190.0)
    if longest < cell:
        heads = (
            tag("text", attack, x=left + (column + 0.5) * cell - 1, y=44, text_anchor="middle")
            for column, attack in enumerate(attacks)
        )
        return cell, 54.0, join(heads)
    # The last slanted label needs room to the right of its column.
    cell = min((width - left - longest * math.cos(_LABEL_ANGLE) * 0.75) / len(attacks), 110.0)
    top = 34 + longest * math.sin(_LABEL_ANGLE)
    places = (f"translate({left + (i + 0.45) * cell:.1f} {top - 8:.1f})rotate(-35)" for i in range(len(attacks)))
    return cell, top, join(tag("text", attack, transform=at) for attack, at in zip(attacks, places, strict=True))


def _heat_map(rows: Table, methods: Sequence[str], attacks: Sequence[str], width: int) -> Markup:
    found = [[cell_estimate(rows, method, attack, METRIC) for attack in attacks] for method in methods]
    means = np.array([[cell.mean for cell in row] for row in found])
    known = means[np.isfinite(means)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    share = shares(np.nan_to_num(means), low, high)
    left = max(text_width(method) for method in methods) + 10
    cell, top, heads = _column_heads(attacks, left, width)
    parts = [heads]
    for row, method in enumerate(methods):
        y = top + row * _CELL_HEIGHT
        parts.append(tag("text", method, x=left - 10, y=y + _CELL_HEIGHT / 2 + 4, text_anchor="end"))
        for column, attack in enumerate(attacks):
            text = tip(method, attack_phrase(attack), interval_text(found[row][column]))
            x = left + column * cell
            parts.append(_heat_cell(found[row][column], float(share[row, column]), x=x, y=y, width=cell, text=text))
    return canvas(
        parts,
        width=width,
        height=top + len(methods) * _CELL_HEIGHT + 4,
        title="Mean test accuracy of the last five evaluations (%)",
        description=f"Between {format_number(low, '%')} and {format_number(high, '%')}; the table gives all values.",
    )


def heat_map_figure(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Figure:
    """Return the accuracy of every method under every attack as a heat map."""
    return Figure(
        anchor="heat-map",
        heading="Accuracy at a glance",
        caption="A method that withstands the attacks keeps a dark row; a pale cell is a method that its attack broke.",
        charts=(responsive(lambda width: _heat_map(rows, methods, attacks, width)),),
        is_wide=True,
    )


def _reference_lines(references: Mapping[str, MeanInterval]) -> list[Reference]:
    means = {name: interval.mean for name, interval in references.items()}
    return accuracy_references(means.get("test_accuracy_logistic"), means.get("test_accuracy_separable"))


def _curves_chart(curves: Table, methods: Sequence[str], attack: str, references: Sequence[Reference]) -> Markup | None:
    series = []
    for index, method in enumerate(methods):
        curve = curve_estimate(curves, method, attack)
        colour, kind = series_style(index)
        if len(curve.rounds):
            series.append(
                Series(
                    label=method,
                    x=curve.rounds,
                    values=curve.mean,
                    colour=colour,
                    kind=kind,
                    low=curve.low,
                    high=curve.high,
                )
            )
    if not series:
        return None
    return line_chart(
        series, title=attack_phrase(attack), unit="%", low=0.0, high=1.0, references=references, height=320
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


def _difference_text(value: PairedDifference) -> str:
    if value.n_pairs == 0:
        return "no common seed"
    mean, low, high = (
        format_number(100 * number, digits=2) for number in (value.mean, value.student_low, value.student_high)
    )
    return f"{mean} percentage points ({low} to {high}, {value.n_pairs} seeds)"


def _difference_row(frame: Frame, row: int, value: PairedDifference, method: str) -> list[Markup]:
    y = frame.y.at(row + 0.5)
    if value.n_pairs == 0:
        return [tag("text", "no common seed", x=frame.left + 6, y=y + 4, class_="tick")]
    parts = []
    if math.isfinite(value.student_low):
        parts.append(polyline(frame.x([100 * value.student_low, 100 * value.student_high]), [y, y], INK, width=2.2))
    text = tip(method, f"difference: {_difference_text(value)}")
    return [*parts, glyph("circle", frame.x.at(100 * value.mean), y, radius=4.6, colour=INK, text=text)]


def _differences_chart(rows: Table, methods: Sequence[str], attack: str, x: Axis) -> Markup:
    found = [difference(rows, method, methods[0], attack, METRIC) for method in methods[1:]]

    def draw(frame: Frame) -> list[Markup]:
        zero = frame.x.at(0.0)
        parts = [polyline([zero, zero], [frame.top, frame.bottom], INK, width=1.2, dash="6 4")]
        for row, value in enumerate(found):
            parts += _difference_row(frame, row, value, methods[row + 1])
        return parts

    words = (f"{method}: {_difference_text(value)}" for method, value in zip(methods[1:], found, strict=True))
    return chart(
        draw,
        x=x,
        y=Axis(label="", low=float(len(found)), high=0.0, names=tuple(methods[1:])),
        title=attack_phrase(attack),
        description="; ".join(words) + ".",
        height=84 + 26 * len(found),
    )


def differences_figure(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Figure | None:
    """Return the differences to the first method, or None where there is but one method."""
    if len(methods) < 2:
        return None
    found = [difference(rows, method, methods[0], attack, METRIC) for method in methods[1:] for attack in attacks]
    ends = [100 * value for one in found for value in (one.mean, one.student_low, one.student_high)]
    # One axis for all attacks, so that the charts can be compared.
    x = fitted_axis("percentage points", ends, [0.0])
    return Figure(
        anchor="differences",
        heading=f"Differences to {methods[0]}",
        caption=f"Accuracy minus that of {methods[0]}, paired by seed, with 95 % confidence intervals: left of zero a "
        "method is worse, and an interval that holds zero leaves the order open. The intervals are not corrected for "
        "the number of comparisons; the words above are.",
        charts=tuple(_differences_chart(rows, methods, attack, x) for attack in attacks),
    )
