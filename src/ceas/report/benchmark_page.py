"""The page of a scheduling benchmark: who is ahead on each setting, how near to the bounds, and all tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceas import __version__
from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure, figures_markup
from ceas.report.formatting import format_number
from ceas.report.marks import glyph, polyline, tip
from ceas.report.markup import Markup, join, tag
from ceas.report.page import contents, document, page_header
from ceas.report.palette import BLUE, INK, MUTED, ORANGE
from ceas.report.panel import Frame, Key, chart, reference, responsive
from ceas.report.tables import Cell, number_cell, sortable_table, text_cell

__all__ = ["benchmark_page"]

Row = Mapping[str, Any]

_VERDICTS = "verdicts"
_POLICIES, _FRONTIER = " policies", " frontier of U and V, tuning instances"
# The policies that are held against baselines have this name, some with an addition.
_OURS = "ceas"
_BOUND = "nobody above"
_ROW_HEIGHT = 22
_SHORT = (
    "This was a short run (--quick): shortened instances of a few settings, with less tuning. Its figures show that "
    "everything works; they are no measurement."
)
# Two standard errors are about a 95 % interval.
_BAR_ERRORS = 2.0
_SHARES = frozenset(
    {
        "U",
        "V",
        "S",
        "its U",
        "its V",
        "of LP",
        "of LP ±",
        "of online bound",
        "of online bound ±",
        "of average bound, 1 instance",
    }
)


def _number(row: Row, column: str) -> float:
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else math.nan


def _tables(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each table, in the order in which tables first appear."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(str(row["table"]), []).append(row)
    return tables


def _by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row.get("setting", "")), []).append(row)
    return found


def _is_ours(row: Row) -> bool:
    return str(row.get("policy", "")).split(",")[0].removesuffix(" (thrifty)") == _OURS


# ---- words -----------------------------------------------------------------------------------------------------------


def _outcome(verdict: Row) -> str:
    text = str(verdict.get("verdict", ""))
    if text.startswith("ahead by"):
        return "ahead"
    return "behind" if text.startswith("BASELINE") else "open"


def _summary(verdicts: Sequence[Row]) -> str:
    if not verdicts:
        return "The benchmark compared no policies."
    by_outcome: dict[str, list[str]] = {"ahead": [], "behind": [], "open": []}
    for row in verdicts:
        by_outcome[_outcome(row)].append(str(row["setting"]))
    text = (
        f"On {len(by_outcome['ahead'])} of {len(verdicts)} settings {_OURS} delivers clearly more value than the best "
        "tuned baseline, with pairs, requests and coins the same for all."
    )
    if by_outcome["behind"]:
        text += f" A baseline wins on {', '.join(by_outcome['behind'])}."
    else:
        text += " No baseline clearly wins anywhere."
    if by_outcome["open"]:
        text += f" Open, or too few instances to judge: {', '.join(by_outcome['open'])}."
    known = [value for row in verdicts if math.isfinite(value := _number(row, "of LP"))]
    if known:
        text += (
            f" Of the clairvoyant's linear programme, which knows all births and requests beforehand, {_OURS} reaches "
            f"between {format_number(min(known), '%')} and {format_number(max(known), '%')}, where it is computed."
        )
    online = [value for row in verdicts if math.isfinite(value := _number(row, "of online bound"))]
    if online:
        text += (
            f" Of a bound on policies without foresight it reaches between {format_number(min(online), '%')} and "
            f"{format_number(max(online), '%')}."
        )
    return text


# ---- figures over all settings ---------------------------------------------------------------------------------------


def _gain(verdict: Row) -> tuple[float, float]:
    """Return the difference in value to the best baseline and its standard error, both over the baseline's value."""
    scale = _number(verdict, "its V")
    if not scale > 0:
        return math.nan, math.nan
    return _number(verdict, "difference") / scale, _number(verdict, "s.e.") / scale


def _gains_chart(verdicts: Sequence[Row], width: int) -> Markup:
    gains = [_gain(row) for row in verdicts]
    ends = [mean + side * _BAR_ERRORS * error for mean, error in gains for side in (-1, 0, 1) if math.isfinite(error)]

    def draw(frame: Frame) -> list[Markup]:
        zero = frame.x.at(0.0)
        parts = [polyline([zero, zero], [frame.top, frame.bottom], INK, width=1.2, dash="6 4")]
        for place, (row, (mean, error)) in enumerate(zip(verdicts, gains, strict=True)):
            if not math.isfinite(mean):
                continue
            y = frame.y.at(place + 0.5)
            colour = {"ahead": BLUE, "behind": ORANGE, "open": MUTED}[_outcome(row)]
            if math.isfinite(error):
                ends = [mean - _BAR_ERRORS * error, mean + _BAR_ERRORS * error]
                parts.append(polyline(frame.x(ends), [y, y], colour, width=2.0))
            shape = {"ahead": "circle", "behind": "diamond", "open": "square"}[_outcome(row)]
            lines = (f"{row['policy']} against {row['best baseline']}: {format_number(mean, '%')}", str(row["verdict"]))
            text = tip(str(row["setting"]), *lines)
            parts.append(glyph(shape, frame.x.at(mean), y, radius=4.6, colour=colour, text=text))
        return parts

    words = (
        f"{row['setting']}: {format_number(mean, '%')}, {row['verdict']}"
        for row, (mean, _) in zip(verdicts, gains, strict=True)
    )
    return chart(
        draw,
        x=fitted_axis("difference in value", ends, [mean for mean, _ in gains], [0.0], unit="%"),
        y=_setting_axis(verdicts),
        title="Against the best baseline",
        description="; ".join(words) + ".",
        keys=[
            Key(label="ahead", colour=BLUE, kind="circle"),
            Key(label="baseline ahead", colour=ORANGE, kind="diamond"),
            Key(label="open", colour=MUTED, kind="square"),
        ],
        width=width,
        height=110 + _ROW_HEIGHT * len(verdicts),
    )


def _setting_axis(verdicts: Sequence[Row]) -> Axis:
    return Axis(label="", low=float(len(verdicts)), high=0.0, names=tuple(str(row["setting"]) for row in verdicts))


def _bounds_chart(verdicts: Sequence[Row], policies: Sequence[Row], width: int) -> Markup:
    shares = {(str(row["setting"]), str(row["policy"])): _number(row, "of LP") for row in policies}
    pairs = [
        (
            shares.get((row["setting"], row["policy"]), math.nan),
            shares.get((row["setting"], row["best baseline"]), math.nan),
        )
        for row in verdicts
    ]

    def draw(frame: Frame) -> list[Markup]:
        x = frame.x.at(1.0)
        parts = [polyline([x, x], [frame.top, frame.bottom], INK, width=1.3, dash="6 4")]
        for place, (row, (ours, theirs)) in enumerate(zip(verdicts, pairs, strict=True)):
            y = frame.y.at(place + 0.5)
            for name, share, shape, colour in (
                (row["best baseline"], theirs, "diamond", ORANGE),
                (row["policy"], ours, "circle", BLUE),
            ):
                if math.isfinite(share):
                    text = tip(str(row["setting"]), f"{name}: {format_number(share, '%')}")
                    parts.append(glyph(shape, frame.x.at(share), y, radius=4.6, colour=colour, text=text))
            if not math.isfinite(ours):
                parts.append(tag("text", "not computed", x=frame.left + 4, y=y + 4, class_="tick"))
        return parts

    words = (
        f"{row['setting']}: {format_number(ours, '%')} under {row['policy']}, {format_number(theirs, '%')} under "
        f"{row['best baseline']}"
        for row, (ours, theirs) in zip(verdicts, pairs, strict=True)
    )
    return chart(
        draw,
        x=fitted_axis("share of the linear programme", [share for pair in pairs for share in pair], [1.0], unit="%"),
        y=_setting_axis(verdicts),
        title="Share of what the clairvoyant could deliver",
        description="; ".join(words) + ".",
        keys=[
            Key(label=_OURS, colour=BLUE, kind="circle"),
            Key(label="best baseline", colour=ORANGE, kind="diamond"),
            Key(label="bound", colour=INK, kind="dash"),
        ],
        width=width,
        height=110 + _ROW_HEIGHT * len(verdicts),
    )


# ---- one setting -----------------------------------------------------------------------------------------------------


def _bound_level(policies: Sequence[Row], share: str) -> float:
    """Return about what normalised value a bound stands for, from the policies' shares of it."""
    levels = [_number(row, "V") / _number(row, share) for row in policies if _number(row, share) > 0]
    return float(np.median(levels)) if levels else math.nan


def _setting_chart(setting: str, policies: Sequence[Row], frontier: Sequence[Row], baseline: str) -> Markup:
    level, online = _bound_level(policies, "of LP"), _bound_level(policies, "of online bound")
    dual = sorted((_number(row, "U"), _number(row, "V")) for row in frontier if str(row["policy"]).startswith(_BOUND))
    tried = [row for row in frontier if not str(row["policy"]).startswith(_BOUND)]
    heights = [_number(row, "V") for row in (*policies, *tried)]
    widths = [_number(row, "U") for row in (*policies, *tried)]

    def style(row: Row) -> tuple[str, str]:
        if _is_ours(row):
            return BLUE, "circle"
        return (ORANGE, "diamond") if row["policy"] == baseline else (MUTED, "square")

    def draw(frame: Frame) -> list[Markup]:
        mark = frame.x.at(0.9)
        parts = [polyline([mark, mark], [frame.top, frame.bottom], MUTED, width=1.3, dash="2 3")]
        parts += [reference(frame, level, "dash")] if math.isfinite(level) else []
        parts += [reference(frame, online, "dot")] if math.isfinite(online) else []
        on = [(u, v) for u, v in dual if frame.x.axis.low <= u <= frame.x.axis.high and v <= frame.y.axis.high]
        if len(on) > 1:
            parts.append(polyline(frame.x([u for u, _ in on]), frame.y([v for _, v in on]), INK, width=1.3))
        for rows, radius, filled, where in ((tried, 2.8, False, "tuning instances"), (policies, 4.6, True, "reported")):
            for row in sorted(rows, key=lambda one: style(one)[0] != MUTED):
                (colour, shape), used, value = style(row), _number(row, "U"), _number(row, "V")
                if math.isfinite(used) and math.isfinite(value):
                    numbers = f"U {format_number(used, '%')}, V {format_number(value, '%')}, {where}"
                    text = tip(str(row["policy"]), numbers, str(row.get("parameters", "")))
                    x, y = frame.x.at(used), frame.y.at(value)
                    parts.append(glyph(shape, x, y, radius=radius, colour=colour, filled=filled, text=text))
        return parts

    keys = [Key(label=_OURS, colour=BLUE, kind="circle"), Key(label=baseline, colour=ORANGE, kind="diamond")]
    keys += [Key(label="other baselines", colour=MUTED, kind="square")]
    keys += [Key(label="linear programme", colour=INK, kind="dash")] if math.isfinite(level) else []
    keys += [Key(label="without foresight", colour=INK, kind="dot")] if math.isfinite(online) else []
    keys += [Key(label="dual bound", colour=INK)] if len(dual) > 1 else []
    words = (
        f"{row['policy']}: U {format_number(_number(row, 'U'), '%')}, V {format_number(_number(row, 'V'), '%')}"
        for row in policies
    )
    return chart(
        draw,
        x=fitted_axis("pairs used (U)", widths, [0.9], high=1.04, unit="%"),
        y=fitted_axis("value (V)", heights, [one for one in (level, online) if math.isfinite(one)], unit="%"),
        title=setting,
        description="; ".join(words) + ".",
        keys=keys,
        height=380,
    )


def _frontier_figure(scenarios: Sequence[str], tables: Mapping[str, Sequence[Row]], verdicts: Sequence[Row]) -> Figure:
    baselines = {str(row["setting"]): str(row["best baseline"]) for row in verdicts}
    charts = []
    for scenario in scenarios:
        frontier = _by_setting(tables.get(f"{scenario}{_FRONTIER}", ()))
        charts += [
            _setting_chart(setting, rows, frontier.get(setting, ()), baselines.get(setting, ""))
            for setting, rows in _by_setting(tables[f"{scenario}{_POLICIES}"]).items()
        ]
    return Figure(
        anchor="frontier",
        heading="Value and utilisation",
        caption="Large marks are reported, means over instances; small open ones are the best parameters that tuning "
        "tried, on instances that are not reported. V is the delivered value over that of serving all with perfect "
        "pairs. The dashed line is the linear programme's value in the mean, which no policy that does not purify can "
        "pass on the reported instances. A level dotted line is a bound on the mean of policies that do not see the "
        "future; the upright one is the published 90 %. Utilisation alone proves nothing: a "
        "policy that makes pairs on demand uses them all.",
        charts=tuple(charts),
    )


# ---- tables ----------------------------------------------------------------------------------------------------------


def _cell(column: str, value: Any, style: str) -> Cell:
    if isinstance(value, bool | str):
        return text_cell(str(value), style)
    if value is None or isinstance(value, int | float):
        return number_cell(value, "%" if column in _SHARES and value is not None else "", style=style)
    return text_cell(str(value), style)


def _table(name: str, rows: Sequence[Row]) -> Markup:
    """Return a table of all columns that its rows have; ours are bold."""
    columns = [one for one in dict.fromkeys(key for row in rows for key in row) if one != "table"]
    names = [one for one in ("setting", "policy", "verdict", "best baseline") if one in columns]
    # Words first and last, numbers between.
    is_text = {one: any(isinstance(row.get(one), str) for row in rows) for one in columns}
    long = [one for one in columns if is_text[one] and one not in names]
    order = [*names, *(one for one in columns if one not in names and one not in long), *long]
    body = []
    for row in rows:
        style = "best" if _is_ours(row) else ""
        cells = [row.get(one, "" if is_text[one] else None) for one in order]
        body.append([_cell(one, value, style) for one, value in zip(order, cells, strict=True)])
    return sortable_table(order, body, caption=f"{name}.")


def benchmark_page(rows: Sequence[Row], *, is_quick: bool = False) -> str:
    """Return the page of a scheduling benchmark, from its rows alone, and whether these are of a short one."""
    tables = _tables(rows)
    verdicts = tables.get(_VERDICTS, [])
    scenarios = [name.removesuffix(_POLICIES) for name in tables if name.endswith(_POLICIES)]
    policies = [row for scenario in scenarios for row in tables[f"{scenario}{_POLICIES}"]]
    figures = []
    if verdicts:
        figures.append(
            Figure(
                anchor="gains",
                heading="All settings at a glance",
                caption="Above: the difference of the mean value to the best baseline, over the baseline's value, "
                "with two standard errors of the paired difference; called ahead from three standard errors on. Below: "
                "both as a share of the clairvoyant's linear programme, a bound that may lie above all that is "
                "possible without foresight.",
                charts=(
                    responsive(lambda width: _gains_chart(verdicts, width)),
                    responsive(lambda width: _bounds_chart(verdicts, policies, width)),
                ),
                is_wide=True,
            )
        )
    figures += [_frontier_figure(scenarios, tables, verdicts)] if scenarios else []
    entries = [("verdicts", "Verdicts")] if verdicts else []
    entries += [(figure.anchor, figure.heading) for figure in figures]
    entries.append(("tables", "Tables"))
    instances = [int(_number(row, "seeds")) for row in policies if math.isfinite(_number(row, "seeds"))]
    facts = [
        ("settings", format_number(len(verdicts))),
        ("policies", format_number(len({row["policy"] for row in policies}))),
    ]
    facts += [("short run", "no measurement")] if is_quick else []
    facts += [("instances", _span(instances))] if instances else []
    header = page_header(
        "Scheduling benchmark",
        f"{', '.join(scenarios) or 'No scenarios'}",
        facts,
        *([tag("p", tag("strong", _SHORT), class_="summary")] if is_quick else []),
        tag("p", _summary(verdicts), class_="summary"),
        contents(entries),
    )
    first = tag("section", tag("h2", "Verdicts"), _table("Who is ahead", verdicts), id="verdicts") if verdicts else ""
    others = [_table(name, part) for name, part in tables.items() if name != _VERDICTS]
    last = tag("section", tag("h2", "Tables"), *others, id="tables")
    return document("Scheduling benchmark", header, join((first, figures_markup(figures), last)), version=__version__)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return format_number(low) if low == high else f"{format_number(low)} to {format_number(high)}"
