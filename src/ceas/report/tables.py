"""Tables of a page: sortable ones that scroll in their own box, and plain ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ceas.report.formatting import format_number
from ceas.report.markup import Markup, tag

__all__ = ["Cell", "number_cell", "plain_table", "sortable_table", "text_cell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell: what is shown, what it sorts by (empty where there is no value), and its style classes."""

    shown: str
    key: str
    style: str = ""


def number_cell(value: float | None, unit: str = "", *, style: str = "", digits: int = 3) -> Cell:
    """Return a cell with a number, sorted by its size."""
    is_known = value is not None and math.isfinite(value)
    return Cell(shown=format_number(value, unit, digits=digits), key=repr(value) if is_known else "", style=style)


def text_cell(text: str, style: str = "") -> Cell:
    """Return a cell with a text, sorted by the alphabet."""
    return Cell(shown=text, key=text, style=f"text {style}".strip())


def _cell(cell: Cell) -> Markup:
    return tag("td", cell.shown, class_=cell.style or None, data_value=cell.key)


def sortable_table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str) -> Markup:
    """Return a table in a box of its own; a click on a heading sorts by that column.

    Args:
        heads: Headings.
        rows: Cells, as many in each row as there are headings.
        caption: What the table shows.
    """
    is_text = [cell.style.startswith("text") for cell in rows[0]] if rows else [False] * len(heads)
    head = (
        tag("th", tag("button", name, type="button"), scope="col", class_="text" if text else None)
        for name, text in zip(heads, is_text, strict=True)
    )
    body = (tag("tr", *map(_cell, row)) for row in rows)
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="sortable", aria_label=caption)
    box = tag("div", table, class_="scroll tall", tabindex=0, role="region", aria_label=caption)
    return tag("div", tag("p", caption, class_="table-caption"), box)


def plain_table(
    heads: Sequence[str], rows: Sequence[tuple[str, Sequence[object]]], *, caption: str, is_text: bool = False
) -> Markup:
    """Return a table whose rows begin with a heading; a cell is a `Cell`, or markup that becomes its content.

    Args:
        heads: Headings.
        rows: Heading and cells of each row.
        caption: What the table shows.
        is_text: Whether all cells are words, which stand to the left and break where they are long.
    """
    head = (
        tag("th", name, scope="col", class_="text" if is_text or not index else None)
        for index, name in enumerate(heads)
    )
    body = (
        tag(
            "tr",
            tag("th", name, scope="row", class_="text"),
            *(
                _cell(cell) if isinstance(cell, Cell) else tag("td", cell, class_="words" if is_text else "share")
                for cell in cells
            ),
        )
        for name, cells in rows
    )
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="plain")
    box = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return tag("div", tag("p", caption, class_="table-caption"), box)
