"""Lives of traced pairs: one bar a pair, from heralding to use or loss."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.marks import cloud, glyph, polyline, tip
from ceas.report.markup import Markup, tag
from ceas.report.palette import FATE_COLOURS, INK
from ceas.report.panel import Frame, Key, chart, responsive
from ceas.report.source import Run, Table

__all__ = ["Lives", "draw_lives", "ended_pairs", "lives_figure"]

_SHAPES = {
    "learning": "circle",
    "key": "diamond",
    "test": "square",
    "expired": "cross",
    "discarded": "bar",
    "route": "square",
}
_MOST_PAIRS, _FEWEST_PAIRS = 60, 12
_MAXIMUM_CLOUD = 1500
_GOLDEN_RATIO = 0.618033988749895
_SPAN_IN_LIVES = 25.0
_ROW_HEIGHT = 6.5


def _chosen(birth_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 12 to 60 pairs born one after another in the busiest stretch of the trace, oldest first.

    Neighbours in time show how pairs compete. Where the trace is so thin that their bars would shrink to nothing
    beside the gaps, fewer pairs are taken.
    """
    order = np.lexsort((end_ns, birth_ns))
    born, mean_life = birth_ns[order], max(float(np.mean(end_ns - birth_ns)), 1.0)
    start, count = 0, len(order)
    for n_pairs in range(min(_MOST_PAIRS, len(order)), 0, -6):
        spans = born[n_pairs - 1 :] - born[: len(born) - n_pairs + 1]
        start, count = int(np.argmin(spans)), n_pairs
        if n_pairs <= _FEWEST_PAIRS or spans[start] <= _SPAN_IN_LIVES * mean_life:
            break
    return order[start : start + count]


def _exchange_phases(run: Run, start_ms: float, frame: Frame) -> list[Markup]:
    """Return a grey ground for the phases in which no shots run."""
    clock, high, parts = run.scenario["clock"], frame.x.axis.high, []
    learning_ms = 1e3 * float(clock["learning_window_s"])
    period = learning_ms + 1e3 * float(clock["exchange_window_s"])
    for index in range(int(start_ms // period), int((start_ms + high) // period) + 1):
        begin = max(index * period + learning_ms - start_ms, 0.0)
        end = min((index + 1) * period - start_ms, high)
        if end > begin:
            left, right = frame.x.at(begin), frame.x.at(end)
            box = {"x": left, "y": frame.top, "width": right - left, "height": frame.bottom - frame.top}
            parts.append(tag("rect", class_="phase", **box))
    return parts


def ended_pairs(pairs: Table) -> Table:
    """Return the pairs whose fate is known; those alive at the end of the run have none."""
    return pairs.where(np.isin(pairs.texts("fate"), list(FATE_COLOURS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """Pairs whose lives are drawn, a bar each, in this order from the top; arrays have shape `(pairs,)`.

    Attributes:
        pairs: The pairs, which have ended.
        start_ns: Time at the left end of the axis (ns).
        stop_ms: Time at its right end since then (ms); bars of pairs that live longer are cut, without a glyph.
        title: What is shown.
        axis_label: What the horizontal axis shows.
        n_rows: Room for so many bars.
    """

    pairs: Table
    start_ns: int
    stop_ms: float
    title: str
    axis_label: str
    n_rows: int


def draw_lives(lives: Lives, width: int, ground: Callable[[Frame], list[Markup]] = lambda _: []) -> Markup:
    """Return a chart of lives, on a ground."""
    pairs, start_ns = lives.pairs, lives.start_ns
    birth, end = ((pairs.integers(name) - start_ns) / 1e6 for name in ("birth_ns", "end_ns"))
    fates, ids = pairs.texts("fate"), pairs.integers("pair_id")
    link, fidelity = pairs.numbers("link"), pairs.numbers("fidelity_at_end")

    def draw(frame: Frame) -> list[Markup]:
        y = frame.y(np.arange(len(pairs)) + 0.5)
        parts = ground(frame)
        for index, fate in enumerate(fates):
            colour = FATE_COLOURS[fate]
            left = frame.x.at(float(birth[index]))
            right = frame.x.at(min(float(end[index]), lives.stop_ms))
            text = tip(
                f"pair {ids[index]} of link {int(link[index])}: {fate}",
                f"lived {format_number(float(end[index] - birth[index]) / 1e3, 's')}",
                f"fidelity at its end: {format_number(float(fidelity[index]))}",
            )
            d = f"M{left:.1f} {y[index]:.1f}H{right:.1f}"
            parts.append(tag("path", class_="life", d=d, stroke=colour, data_tip=text))
            if end[index] <= lives.stop_ms:
                parts.append(glyph(_SHAPES[fate], right, float(y[index]), radius=3.4, colour=colour, text=text))
        return parts

    present = [fate for fate in FATE_COLOURS if fate in fates]
    return chart(
        draw,
        x=Axis(label=lives.axis_label, low=0.0, high=lives.stop_ms),
        y=Axis(label="", low=float(lives.n_rows), high=0.0, has_ticks=False),
        title=lives.title,
        description=", ".join(f"{fates.count(fate)} {fate}" for fate in present) + ".",
        keys=[Key(label=fate, colour=FATE_COLOURS[fate], kind=_SHAPES[fate]) for fate in present],
        width=width,
        height=100 + _ROW_HEIGHT * lives.n_rows,
    )


def _lives_chart(run: Run, width: int) -> Markup:
    pairs = ended_pairs(run.pairs)
    rows = _chosen(pairs.integers("birth_ns"), pairs.integers("end_ns"))
    shown = pairs.take(rows)
    start_ns = int(shown.integers("birth_ns").min())
    axis = fitted_axis("", [0.0], (shown.integers("end_ns") - start_ns) / 1e6, low=0.0)
    lives = Lives(
        pairs=shown,
        start_ns=start_ns,
        stop_ms=axis.high,
        title=f"Lives of {len(rows)} traced pairs, oldest at the top",
        axis_label="time since the first of them was born (ms)",
        n_rows=len(rows),
    )
    return draw_lives(lives, width, lambda frame: _exchange_phases(run, start_ns / 1e6, frame))


def _ages_chart(run: Run, width: int) -> Markup:
    pairs = ended_pairs(run.pairs)
    age_ms = (pairs.integers("end_ns") - pairs.integers("birth_ns")) / 1e6
    fates = np.array(pairs.texts("fate"))
    present = [fate for fate in FATE_COLOURS if (fates == fate).any()]
    medians = {fate: float(np.median(age_ms[fates == fate])) for fate in present}

    def draw(frame: Frame) -> list[Markup]:
        parts = []
        for row, fate in enumerate(present):
            ages = age_ms[fates == fate]
            shown = np.unique(np.linspace(0, len(ages) - 1, min(len(ages), _MAXIMUM_CLOUD)).round().astype(np.int64))
            # Multiples of the golden ratio spread evenly, whatever their number, and the same each time.
            height = row + 0.2 + 0.6 * (np.arange(len(shown)) * _GOLDEN_RATIO % 1)
            parts.append(cloud(frame.x(ages[shown]), frame.y(height), FATE_COLOURS[fate], diameter=3, opacity=0.45))
            x, y = frame.x.at(medians[fate]), frame.y([row + 0.12, row + 0.88])
            if np.isfinite(x):
                parts.append(polyline([x, x], y, INK, width=2.4))
        return parts

    n_at_once = int((age_ms <= 0).sum())
    left_out = f"; {format_number(n_at_once)} used at once not shown" if n_at_once else ""
    words = (
        f"{fate}: {format_number(int((fates == fate).sum()))} pairs, median {format_number(medians[fate] / 1e3, 's')}"
        for fate in present
    )
    return chart(
        draw,
        x=fitted_axis(f"age at the end (ms, log scale{left_out})", age_ms, is_log=True),
        y=Axis(label="", low=float(len(present)), high=0.0, names=tuple(present)),
        title="Age of all traced pairs at their end",
        description="; ".join(words) + ".",
        width=width,
        height=80 + 30 * len(present),
    )


def lives_figure(run: Run) -> Figure | None:
    """Return the lives of some pairs, or None where the run traced none."""
    if len(ended_pairs(run.pairs)) == 0:
        return None
    return Figure(
        anchor="lives",
        heading="Lives of single pairs",
        caption="Above, each bar runs from a pair's heralding to its end, which its colour and glyph name: short bars "
        "that end in a use lost little fidelity, long ones that end in a cross were stored in vain; on grey ground no "
        "shots run. Below, the same for the whole run, with medians as bars: uses should lie left of the losses.",
        charts=(
            responsive(lambda width: _lives_chart(run, width)),
            responsive(lambda width: _ages_chart(run, width)),
        ),
        is_wide=True,
    )
