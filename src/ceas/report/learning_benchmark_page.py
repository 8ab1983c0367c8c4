"""The page of a learning benchmark: times beside other programs, how time grows, and what the machine would allow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceas import __version__
from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure, figures_markup
from ceas.report.formatting import format_number
from ceas.report.marks import cloud, glyph, polyline, tip
from ceas.report.markup import Markup, join, tag
from ceas.report.page import contents, document, page_header
from ceas.report.palette import BLUE, INK, MUTED, ORANGE, SERIES_COLOURS
from ceas.report.panel import HALF_WIDTH, Frame, Key, chart, responsive
from ceas.report.tables import Cell, number_cell, sortable_table, text_cell

__all__ = ["learning_benchmark_page"]

Row = Mapping[str, Any]

_SHORT = (
    "This was a short run (--quick): tiny work, done once. Its figures show that everything works; they are no "
    "measurement."
)
_CONTESTS = ("noisy", "pure")
_OURS = "ceas"
_ROW_HEIGHT = 24
_NAMES = {
    "targets": "What the engine is to reach",
    "noisy": "Noisy work",
    "pure": "Work without noise",
    "scaling": "Our engine on noisy work of other sizes",
    "rates": "Rates of this machine",
    "roofline": "Noisy work against the rates of this machine",
    "agreement": "Largest differences of losses and gradients",
    "machine": "Machine, programs and limits",
}
_HEADS = {
    "run_ms": "run (ms)",
    "times_ceas": "× our time",
    "cpu_ms": "processor (ms)",
    "cpu_times_ceas": "× our processor time",
    "encode_ms": "encoding, once (ms)",
    "compile_s": "first run (s)",
    "peak_mb": "peak memory (MiB)",
    "mflop": "Mflop needed",
    "moved_mb": "MB needed",
    "flop_per_byte": "flop/byte",
    "gbytes_per_s": "memory rate (GB/s)",
    "bound_ms": "bound (ms)",
    "bound_by": "bound by",
    "gflops": "Gflop/s reached",
    "predicted_mb": "predicted (MiB)",
}


def _number(row: Row, column: str) -> float:
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else math.nan


def _tables(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each table, in the order in which tables first appear."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(str(row["table"]), []).append(row)
    return tables


def _best_rows(rows: Sequence[Row]) -> list[Row]:
    """Return one row of each program and size: its fastest way, or the first where none came to an end."""
    best: dict[tuple[Any, Any], Row] = {}
    for row in rows:
        key = row["qubits"], row["program"]
        if key not in best or row.get("fastest"):
            best[key] = row
    return list(best.values())


# ---- words -----------------------------------------------------------------------------------------------------------


def _summary(tables: Mapping[str, Sequence[Row]]) -> str:
    sentences = [sentence for kind in _CONTESTS for sentence in _contest_words(kind, _best_rows(tables.get(kind, ())))]
    targets = tables.get("targets", ())
    missed = [f"{row['program']} at {row['qubits']} qubits" for row in targets if row["verdict"] == "MISSED"]
    if missed:
        sentences.append(f"Missed: {', '.join(missed)}.")
    elif targets and all(row["verdict"] == "reached" for row in targets):
        sentences.append("All targets are reached.")
    agreement = tables.get("agreement", ())
    compared = [row for row in agreement if row["verdict"] != "not compared"]
    if compared:
        apart = [f"{row['program']} ({row['work']}, {row['qubits']})" for row in compared if row["verdict"] != "agrees"]
        words = f"but not {', '.join(apart)}" if apart else "all of them"
        allowed = format_number(_number(compared[0], "allowed"))
        sentences.append(f"Losses and gradients agree within {allowed}: {words}.")
    return " ".join(sentences) or "The benchmark compared no programs."


def _contest_words(kind: str, best: Sequence[Row]) -> list[str]:
    words = {"noisy": "With noise", "pure": "Without noise"}[kind]
    sentences = []
    for size in dict.fromkeys(row["qubits"] for row in best):
        rows = [row for row in best if row["qubits"] == size]
        ours = min((row for row in rows if _is_ours(row)), key=_run_ms, default=None)
        theirs = min((row for row in rows if not _is_ours(row)), key=_run_ms, default=None)
        if ours is None or not math.isfinite(_run_ms(ours)):
            continue
        text = f"{words}, {size} qubits: {format_number(_run_ms(ours) / 1e3, 's')}"
        if theirs is not None and math.isfinite(_run_ms(theirs)):
            ratio = _run_ms(theirs) / _run_ms(ours)
            text += f", the fastest other program ({theirs['program']}) {format_number(ratio)} times that"
        sentences.append(text + ".")
    return sentences


def _run_ms(row: Row) -> float:
    time = _number(row, "run_ms")
    return time if math.isfinite(time) else math.inf


def _is_ours(row: Row) -> bool:
    return str(row.get("program", "")).split(" ", maxsplit=1)[0] == _OURS


# ---- times beside other programs -------------------------------------------------------------------------------------


def _ratio_chart(kind: str, best: Sequence[Row], targets: Sequence[Row], width: int) -> Markup:
    shown = {(row["qubits"], row["program"]) for row in best}
    given = {(row["qubits"], row["program"]): row["bound"] for row in targets if "times" in str(row["quantity"])}
    bounds = {key: bound for key, bound in given.items() if key in shown}
    ratios = [_number(row, "times_ceas") for row in best]
    wanted = [float(bounds.get((row["qubits"], row["program"]), math.nan)) for row in best]
    axis = fitted_axis("time over ours", ratios, wanted, [1.0], is_log=True)

    def draw(frame: Frame) -> list[Markup]:
        one = frame.x.at(1.0)
        parts = [polyline([one, one], [frame.top, frame.bottom], INK, width=1.2, dash="6 4")]
        for place, (row, ratio, bound) in enumerate(zip(best, ratios, wanted, strict=True)):
            y = frame.y.at(place + 0.5)
            if math.isfinite(ratio):
                parts.append(_bar(one, frame.x.at(ratio), y, row, ratio))
            else:
                words = str(row["status"]).partition(" (")[0]
                parts.append(tag("text", words, x=one + 5, y=y + 4, class_="tick"))
            if math.isfinite(bound):
                text = tip(f"target: at least {format_number(bound)} times our time")
                parts.append(glyph("bar", frame.x.at(bound), y, radius=8.5, colour=INK, text=text))
        return parts

    words = (
        f"{_row_name(row, HALF_WIDTH * 2)}: {format_number(ratio) if math.isfinite(ratio) else row['status']}"
        for row, ratio in zip(best, ratios, strict=True)
    )
    keys = [
        Key(label="ours", colour=BLUE, kind="area"),
        Key(label="other programs", colour=ORANGE, kind="area"),
        Key(label="extrapolated", colour=MUTED, kind="area"),
    ]
    keys += [Key(label="target", colour=INK, kind="bar")] if bounds else []
    return chart(
        draw,
        x=axis,
        y=Axis(label="", low=float(len(best)), high=0.0, names=tuple(_row_name(row, width) for row in best)),
        title=_NAMES[kind],
        description="Time over ours; " + "; ".join(words) + ".",
        keys=keys,
        width=width,
        height=120 + _ROW_HEIGHT * len(best),
    )


def _row_name(row: Row, width: int) -> str:
    name = str(row["program"])
    return f"{row['qubits']}: {name}" if width > HALF_WIDTH else f"{row['qubits']}: {name.rpartition(' ')[2]}"


def _bar(start: float, stop: float, y: float, row: Row, ratio: float) -> Markup:
    is_extrapolated = "extrapolated" in str(row["status"])
    colour = MUTED if is_extrapolated else (BLUE if _is_ours(row) else ORANGE)
    text = tip(
        f"{row['program']}, {row['qubits']} qubits: {format_number(ratio)} times our time",
        f"{format_number(_number(row, 'run_ms') / 1e3, 's')}, {format_number(_number(row, 'peak_mb'))} MiB",
        f"{row['option']}; {row['status']}",
    )
    left, right = sorted((start, stop))
    return tag(
        "rect", x=left, y=y - 7, width=max(right - left, 1.5), height=14, fill=colour, data_shape="bar", data_tip=text
    )


def _contest_figure(kind: str, rows: Sequence[Row], targets: Sequence[Row]) -> Figure:
    best = _best_rows(rows)
    return Figure(
        anchor=f"times-{kind}",
        heading={"noisy": "Noisy learning beside other programs", "pure": "Learning without noise"}[kind],
        caption="Time of every learner's loss and gradient in a program's fastest way, over ours in the same "
        "repetition (median, without compilation); labels begin with the number of qubits. Where a program encodes its "
        "samples once, which training does, that is not part of it and stands apart in the table; the others do it in "
        "every run. Grey: measured on fewer learners and extrapolated linearly. A program that has no bar did not come "
        "to an end within the limits.",
        charts=(responsive(lambda width: _ratio_chart(kind, best, targets, width)),),
        is_wide=True,
    )


# ---- scaling ---------------------------------------------------------------------------------------------------------


def _scaling_chart(rows: Sequence[Row], qubits: Any, column: str, title: str, unit: str) -> Markup:
    own = [row for row in rows if row["qubits"] == qubits]
    layers = sorted({row["layers"] for row in own})
    # Milliseconds become seconds, so that the axis chooses its prefix.
    scale = 1e-3 if unit == "s" else 1.0
    lines = {}
    for layer in layers:
        points = sorted(
            (row["learners"], scale * _number(row, column)) for row in own if row["layers"] == layer and _ended(row)
        )
        lines[layer] = tuple(np.array(points, dtype=np.float64).reshape(-1, 2).T)
    heights = [y for _, y in lines.values()]
    tips = [
        tip(f"{row['learners']} learners, {row['layers']} layers", format_number(scale * _number(row, column), unit))
        for row in own
        if _ended(row)
    ]

    def draw(frame: Frame) -> list[Markup]:
        parts = []
        for (x, y), colour in zip(lines.values(), SERIES_COLOURS, strict=False):
            parts.append(polyline(frame.x(x), frame.y(y), colour))
            parts.append(cloud(frame.x(x), frame.y(y), colour, diameter=5, opacity=1))
        marks = zip([row for row in own if _ended(row)], tips, strict=True)
        for row, text in marks:
            place = frame.x.at(row["learners"]), frame.y.at(scale * _number(row, column))
            colour = SERIES_COLOURS[layers.index(row["layers"]) % len(SERIES_COLOURS)]
            parts.append(glyph("circle", *place, radius=3.5, colour=colour, text=text))
        return parts

    described = (
        f"{layer} layers: from {format_number(float(y[0]), unit)} to {format_number(float(y[-1]), unit)}"
        for layer, (_, y) in lines.items()
        if y.size
    )
    return chart(
        draw,
        x=fitted_axis("learners", [row["learners"] for row in own], is_log=True),
        y=fitted_axis("", *heights, is_log=True, unit=unit),
        title=f"{title}, {qubits} qubits",
        description=("; ".join(described) or "No process came to an end") + ".",
        keys=[
            Key(label=f"{layer} layers", colour=colour) for layer, colour in zip(layers, SERIES_COLOURS, strict=False)
        ],
    )


def _ended(row: Row) -> bool:
    return math.isfinite(_number(row, "run_ms"))


def _scaling_figure(rows: Sequence[Row]) -> Figure:
    sizes = sorted({row["qubits"] for row in rows})
    charts = [
        _scaling_chart(rows, qubits, column, title, unit)
        for qubits in sizes
        for column, title, unit in (("run_ms", "Time", "s"), ("peak_mb", "Peak memory", "MiB"))
    ]
    missing = ", ".join(
        f"{row['qubits']} qubits, {row['layers']} layers, {row['learners']} learners" for row in rows if not _ended(row)
    )
    return Figure(
        anchor="scaling",
        heading="How time and memory grow",
        caption="Our engine on noisy work: time of one loss and gradient of every learner, and peak memory of the "
        "process, in which Python and its libraries have their share."
        + (f" Beyond the limits: {missing}." if missing else ""),
        charts=tuple(charts),
    )


# ---- roofline --------------------------------------------------------------------------------------------------------


def _roofline_chart(rows: Sequence[Row], product_rate: float, large_rate: float, width: int) -> Markup:
    """Draw the roofs of the machine and where the work lies, in flop/byte and Gflop/s."""
    intensity = [_number(row, "flop_per_byte") for row in rows]
    reached = [_number(row, "gflops") for row in rows]
    allowed = [min(product_rate, _number(row, "gbytes_per_s") * x) for row, x in zip(rows, intensity, strict=True)]
    x_axis = fitted_axis("flop for a byte", intensity, [product_rate / large_rate, 0.1], is_log=True)
    y_axis = fitted_axis("Gflop/s", reached, allowed, [product_rate], is_log=True)

    def roof(frame: Frame, rate: float, colour: str, dash: str | None) -> Markup:
        x = np.geomspace(x_axis.low, x_axis.high, 200)
        y = np.minimum(product_rate, rate * x)
        return polyline(frame.x(x), frame.y(np.where(y >= y_axis.low, y, np.nan)), colour, dash=dash)

    def draw(frame: Frame) -> list[Markup]:
        parts = [roof(frame, large_rate, INK, None)]
        parts += [roof(frame, _number(row, "gbytes_per_s"), MUTED, "2 3") for row in rows]
        for row, x, possible, done in zip(rows, intensity, allowed, reached, strict=True):
            name = f"{row['qubits']} qubits"
            text = tip(name, f"possible: {format_number(possible)} Gflop/s")
            parts.append(
                glyph("circle", frame.x.at(x), frame.y.at(possible), radius=4.6, colour=BLUE, filled=False, text=text)
            )
            if math.isfinite(done):
                share = format_number(_number(row, "share"), "%")
                text = tip(name, f"reached: {format_number(done)} Gflop/s", f"{share} of what is possible")
                place = frame.x.at(x), frame.y.at(done)
                parts.append(glyph("circle", *place, radius=4.6, colour=BLUE, text=text))
                parts.append(tag("text", str(row["qubits"]), x=place[0] + 8, y=place[1] + 4, class_="tick"))
        return parts

    words = (
        f"{row['qubits']} qubits: {format_number(done)} of {format_number(possible)} Gflop/s"
        for row, possible, done in zip(rows, allowed, reached, strict=True)
    )
    return chart(
        draw,
        x=x_axis,
        y=y_axis,
        title="Roofline of this machine",
        description="; ".join(words) + ".",
        keys=[
            Key(label="reached", colour=BLUE, kind="circle"),
            Key(label="possible", colour=BLUE, kind="open-circle"),
            Key(label="large arrays", colour=INK),
            Key(label="arrays of the size of the work", colour=MUTED, kind="dot"),
        ],
        width=width,
        height=360,
    )


def _roofline_figures(tables: Mapping[str, Sequence[Row]]) -> list[Figure]:
    rates = [_number(row, "value") for row in tables.get("rates", ())]
    rows = tables.get("roofline", ())
    if len(rates) < 2 or not all(map(math.isfinite, rates[:2])) or not rows:
        return []
    return [
        Figure(
            anchor="roofline",
            heading="How near to the machine's limits",
            caption="Operations and bytes that an algorithm over Pauli strings cannot avoid, counted from the circuit "
            "(strings that can have a coefficient, angles, noise factors, samples; every layer streamed through memory "
            "once in each direction), against the rate of a large float32 matrix product and that of memory. Small "
            "work lives in a cache, whose rate is measured with arrays of its size. Filled marks count needed "
            "operations only, not those that were done; labels are numbers of qubits.",
            charts=(responsive(lambda width: _roofline_chart(rows, rates[0], rates[1], width)),),
            is_wide=True,
        )
    ]


# ---- tables and the page ---------------------------------------------------------------------------------------------


def _cell(column: str, value: Any, style: str) -> Cell:
    if isinstance(value, bool | str):
        return text_cell(str(value), style)
    unit = "%" if column == "share" and value is not None else ""
    return number_cell(value, unit, style=style)


def _table(name: str, rows: Sequence[Row]) -> Markup:
    columns = [one for one in dict.fromkeys(key for row in rows for key in row) if one != "table"]
    is_text = {one: any(isinstance(row.get(one), str) for row in rows) for one in columns}
    body = []
    for row in rows:
        style = "best" if _is_ours(row) else ""
        values = [row.get(one, "" if is_text[one] else None) for one in columns]
        texts = ["" if is_text[one] and value is None else value for one, value in zip(columns, values, strict=True)]
        body.append([_cell(one, value, style) for one, value in zip(columns, texts, strict=True)])
    heads = [_HEADS.get(one, one.replace("_", " ")) for one in columns]
    return sortable_table(heads, body, caption=f"{_NAMES.get(name, name)}.")


def learning_benchmark_page(rows: Sequence[Row], *, is_quick: bool = False) -> str:
    """Return the page of a learning benchmark, from its rows alone, and whether these are of a short one."""
    tables = _tables(rows)
    targets = tables.get("targets", [])
    figures = [_contest_figure(kind, tables[kind], targets) for kind in _CONTESTS if tables.get(kind)]
    figures += [_scaling_figure(tables["scaling"])] if tables.get("scaling") else []
    figures += _roofline_figures(tables)
    facts = {str(row["fact"]): str(row["value"]) for row in tables.get("machine", ())}
    meta: list[tuple[str, str]] = [
        (name, facts[name]) for name in ("processor", "cores", "memory", "load before", "ceas") if name in facts
    ]
    meta += [("short run", "no measurement")] if is_quick else []
    entries = [("targets", "Targets")] if targets else []
    entries += [(figure.anchor, figure.heading) for figure in figures]
    entries.append(("tables", "Tables"))
    header = page_header(
        "Learning benchmark",
        "Speed of noisy and pure learning",
        meta,
        *([tag("p", tag("strong", _SHORT), class_="summary")] if is_quick else []),
        tag("p", _summary(tables), class_="summary"),
        contents(entries),
    )
    first = tag("section", tag("h2", "Targets"), _table("targets", targets), id="targets") if targets else ""
    others = [_table(name, part) for name, part in tables.items() if name != "targets"]
    last = tag("section", tag("h2", "Tables"), *others, id="tables")
    return document("Learning benchmark", header, join((first, figures_markup(figures), last)), version=__version__)
