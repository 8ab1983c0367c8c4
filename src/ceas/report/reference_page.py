"""The page of the reference benchmark: what faulty pairs cost, as curves, and all tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas import __version__
from ceas.report.figure import Figure, figures_markup
from ceas.report.formatting import format_number
from ceas.report.line_chart import Reference, Series, line_chart
from ceas.report.markup import Markup, join, tag
from ceas.report.page import contents, document, page_header
from ceas.report.palette import BLUE, INK, MUTED, ORANGE
from ceas.report.tables import Cell, number_cell, sortable_table, text_cell

__all__ = ["reference_page"]

Row = Mapping[str, Any]

_TRAINED, _SHOTS = "trained without noise", "trained through it"
_SAMPLES, _PUBLISHED = "accuracy by training samples", "published accuracies"
_COLOURS = {"data": MUTED, "layer": ORANGE, "qubit": BLUE, "auto": INK}
_SHORT = "This was a short run: its figures show that everything works, they are no measurement."
_EXPLANATION = (
    "Each table holds what this program measured beside a closed form, an exact computation or a published number."
)


def reference_page(rows: Sequence[Row], *, is_quick: bool = False) -> str:
    """Return the page of a reference benchmark, from its rows alone, and whether these are of a short one."""
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(str(row["table"]), []).append(row)
    figures = [figure for figure in (_fidelity_figure(tables), _samples_figure(tables)) if figure is not None]
    entries = [(figure.anchor, figure.heading) for figure in figures] + [("tables", "Tables")]
    facts = [("tables", format_number(len(tables)))] + ([("short run", "no measurement")] if is_quick else [])
    header = page_header(
        "Reference benchmark",
        "Physics and accuracy of the learning room",
        facts,
        *([tag("p", tag("strong", _SHORT), class_="summary")] if is_quick else []),
        tag("p", " ".join(part for part in (_EXPLANATION, _verdict(tables)) if part), class_="summary"),
        contents(entries),
    )
    parts = [_table(name, part) for name, part in tables.items()]
    body = join((figures_markup(figures), tag("section", tag("h2", "Tables"), *parts, id="tables")))
    return document("Reference benchmark", header, body, version=__version__)


def _named(tables: Mapping[str, Sequence[Row]], part: str) -> Sequence[Row]:
    return next((rows for name, rows in tables.items() if part in name), ())


def _verdict(tables: Mapping[str, Sequence[Row]]) -> str:
    published = _named(tables, _PUBLISHED)
    if not published:
        return ""
    near = sum(row.get("within 0.02") == "yes" for row in published)
    return f"Of {len(published)} published accuracies {near} are met within 0.02."


def _column(rows: Sequence[Row], key: str) -> NDArray[np.float64]:
    return np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows])


def _series(rows: Sequence[Row], *, x: str, key: str, half: str, label: str, colour: str) -> Series:
    ordered = sorted(rows, key=lambda row: float(row[x]))
    values, width = _column(ordered, key), _column(ordered, half)
    low, high = values - width, values + width
    return Series(label=label, x=_column(ordered, x), values=values, colour=colour, low=low, high=high)


def _by(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[key]), []).append(row)
    return groups


def _fidelity_figure(tables: Mapping[str, Sequence[Row]]) -> Figure | None:
    charts: list[Markup] = []
    for circuit, rows in _by(_named(tables, _TRAINED), "circuit").items():
        kinds = _by(rows, "partition")
        for key, half, title in (("accuracy", "±", "Accuracy"), ("contraction", "contraction ±", "Contraction")):
            lines = [
                _series(part, x="fidelity", key=key, half=half, label=kind, colour=_COLOURS.get(kind, INK))
                for kind, part in kinds.items()
            ]
            charts.append(line_chart(lines, title=f"{title}, {circuit}", x_label="pair fidelity", low=0.0, high=1.0))
    for circuit, rows in _by(_named(tables, _SHOTS), "circuit").items():
        lines = [
            _series(part, x="fidelity", key="accuracy", half="±", label=kind, colour=_COLOURS.get(kind, INK))
            for kind, part in _by(rows, "partition").items()
        ]
        title = f"Trained through noise, {circuit}"
        charts.append(line_chart(lines, title=title, x_label="pair fidelity", low=0.0, high=1.0))
    if not charts:
        return None
    return Figure(
        anchor="fidelity",
        heading="What faulty pairs cost",
        caption="Means over seeds with 95 % intervals, at Werner pairs; fidelity 1/4 is noise alone. Accuracy and "
        "contraction are exact for circuits trained without noise, then for circuits trained through it with finite "
        "shots.",
        charts=tuple(charts),
    )


def _samples_figure(tables: Mapping[str, Sequence[Row]]) -> Figure | None:
    charts = []
    for features, rows in _by(_named(tables, _SAMPLES), "features").items():
        lines = [
            _series(part, x="samples", key="accuracy", half="±", label=model, colour=colour)
            for (model, part), colour in zip(_by(rows, "model").items(), (BLUE, ORANGE, INK), strict=False)
        ]
        first = next(iter(_by(rows, "model").values()))
        lines.append(_series(first, x="samples", key="RBF-SVC", half="RBF-SVC ±", label="RBF-SVC", colour=MUTED))
        levels = [
            Reference(label=f"published {row['model']}", level=float(row["published"]), kind=kind, colour=colour)
            for row, kind, colour in zip(
                [row for row in _named(tables, _PUBLISHED) if str(row["features"]) == features],
                ("dash", "dot"),
                (BLUE, ORANGE),
                strict=False,
            )
        ]
        title = f"Accuracy, {features} features"
        charts.append(line_chart(lines, title=title, x_label="training samples", references=levels))
    if not charts:
        return None
    return Figure(
        anchor="samples",
        heading="Accuracy by training samples",
        caption="Means over seeds with 95 % intervals on MNIST 3 against 5. Published accuracies are of 11,552 "
        "training samples.",
        charts=tuple(charts),
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, bool | str):
        return text_cell(str(value))
    return number_cell(value) if value is None or isinstance(value, int | float) else text_cell(str(value))


def _table(name: str, rows: Sequence[Row]) -> Markup:
    """Return a table of all columns that its rows have."""
    columns = [one for one in dict.fromkeys(key for row in rows for key in row) if one != "table"]
    is_text = {one: any(isinstance(row.get(one), str) for row in rows) for one in columns}
    body = [[_cell(row.get(one, "" if is_text[one] else None)) for one in columns] for row in rows]
    return sortable_table(columns, body, caption=f"{name}.")
