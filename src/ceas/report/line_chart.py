"""Charts of quantities over training rounds or seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceas.report.axes import Axis, fitted_axis
from ceas.report.formatting import format_number
from ceas.report.marks import band, cloud, hover_bands, polyline, tip
from ceas.report.markup import Markup, tag
from ceas.report.panel import DASHES, HALF_WIDTH, Frame, Key, chart, level_label, reference

__all__ = ["Reference", "Series", "line_chart", "x_axis"]

_MAXIMUM_DOTS = 40
_NOTHING = np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: `values` at `x`, and optionally an interval from `low` to `high` around it."""

    label: str
    x: NDArray[np.float64]
    values: NDArray[np.float64]
    colour: str
    kind: str = "line"
    low: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)
    high: NDArray[np.float64] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A level to compare with, drawn across the chart.

    Attributes:
        label: What it is of.
        level: The value.
        kind: How the line is drawn.
        colour: Its colour.
        end: Where its label stands at the line, `start` or `end`; empty to name it in the legend instead.
        is_below: Whether the label stands below the line.
    """

    label: str
    level: float
    kind: str
    colour: str
    end: str = ""
    is_below: bool = False


def _marks(frame: Frame, series: Series) -> list[Markup]:
    x, y = frame.x(series.x), frame.y(series.values)
    parts = []
    if series.low.size:
        # Few seeds may leave more possible than the chart shows.
        low, high = (np.clip(frame.y(limit), frame.top, frame.bottom) for limit in (series.low, series.high))
        parts.append(band(x, low, high, series.colour, 0.16))
    parts.append(polyline(x, y, series.colour, dash=DASHES[series.kind], through_gaps=True))
    # Few evaluations are shown as what they are: points that a line joins.
    if np.isfinite(y).sum() <= _MAXIMUM_DOTS:
        parts.append(cloud(x, y, series.colour, diameter=5, opacity=1))
    return parts


def _line_of_tip(series: Series, x: float, unit: str) -> str | None:
    found = np.flatnonzero((series.x == x) & np.isfinite(series.values))
    if found.size == 0:
        return None
    text = f"{series.label}: {format_number(float(series.values[found[0]]), unit)}"
    if series.low.size:
        low, high = float(series.low[found[0]]), float(series.high[found[0]])
        text += f" [{format_number(low, unit)}, {format_number(high, unit)}]"
    return text


def _hover(frame: Frame, series: Sequence[Series], x_label: str, unit: str) -> Markup:
    positions = np.unique(np.concatenate([one.x[np.isfinite(one.values)] for one in series]))
    is_whole = bool(np.all(positions == np.round(positions)))
    tips = []
    for x in positions:
        heading = format_number(int(x) if is_whole else float(x))
        lines = (_line_of_tip(one, float(x), unit) for one in series)
        tips.append(tip(f"{x_label} {heading}", *(line for line in lines if line)))
    return hover_bands(frame.x(positions), tips, top=frame.top, bottom=frame.bottom)


def _note_of_absence(frame: Frame, series: Sequence[Series]) -> list[Markup]:
    if any(np.isfinite(one.values).any() for one in series):
        return []
    middle = {"x": (frame.left + frame.right) / 2, "y": (frame.top + frame.bottom) / 2}
    return [tag("text", "not measured in this run", class_="tick", text_anchor="middle", **middle)]


def _described(series: Series, unit: str) -> str:
    known = series.values[np.isfinite(series.values)]
    if known.size == 0:
        return f"{series.label}: no values."
    first, last = format_number(float(known[0]), unit), format_number(float(known[-1]), unit)
    return f"{series.label}: from {first} to {last}, largest {format_number(float(known.max()), unit)}."


def x_axis(label: str, x: NDArray[np.float64]) -> Axis:
    """Return a horizontal axis that begins and ends with the data."""
    known = x[np.isfinite(x)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return fitted_axis(label, known, low=low, high=high if high > low else low + 1)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str = "training round",
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    references: Sequence[Reference] = (),
    is_log: bool = False,
    width: float = HALF_WIDTH,
    height: float = 270,
) -> Markup:
    """Return a chart of one or more lines with a legend, levels to compare with, and values under the pointer.

    Args:
        series: Lines; a value that is not a number is passed over.
        title: Quantity shown.
        x_label: What the horizontal axis counts.
        unit: Unit of the values, for ticks and texts.
        low: Lower end of the vertical axis, where it is not to be fitted.
        high: Upper end of the vertical axis, likewise.
        references: Levels to compare with.
        is_log: Whether the vertical axis is logarithmic; values that are not positive are then passed over.
        width: Pixels.
        height: Pixels.
    """
    levels = [one.level for one in references]
    shown = (part for one in series for part in (one.values, one.low, one.high))
    y = fitted_axis("", *shown, levels, low=low, high=high, is_log=is_log, unit=unit)

    def draw(frame: Frame) -> list[Markup]:
        lines = [part for one in series for part in _marks(frame, one)]
        return [
            *(reference(frame, one.level, one.kind, one.colour) for one in references),
            *lines,
            *(
                level_label(frame, one.level, one.label, one.end, is_below=one.is_below)
                for one in references
                if one.end
            ),
            *_note_of_absence(frame, series),
            _hover(frame, series, x_label, unit),
        ]

    keys = [Key(label=one.label, colour=one.colour, kind=one.kind) for one in series]
    keys += [Key(label=one.label, colour=one.colour, kind=one.kind) for one in references if not one.end]
    compared = [f"{one.label}: {format_number(one.level, unit)}." for one in references]
    return chart(
        draw,
        x=x_axis(x_label, np.concatenate([one.x for one in series])),
        y=y,
        title=title,
        description=" ".join([*(_described(one, unit) for one in series), *compared]),
        keys=keys if len(keys) > 1 else (),
        width=width,
        height=height,
    )
