"""A heat map: numbers in coloured cells, with names of rows and columns however long they are.

Long names break into lines, and columns that would become too narrow stand in several blocks, one under the other, so
that the same map is legible on a telephone. Colour is never alone: every cell holds its number.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ceas.report.formatting import format_number
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import INK, PALE, contrasting_ink, sequential, shares
from ceas.report.panel import canvas, text_width

__all__ = ["HeatCell", "broken_lines", "heat_map", "shortened"]

_LINE_HEIGHT = 14.0
_LEAST_CELL, _MOST_CELL = 58.0, 150.0
_LEAST_HEIGHT = 34.0
_TOP = 52.0
_SCALE_WIDTH = 130.0
_SCALE_STEPS = 26
# Where a name breaks: between its parts, and where a part alone is too wide, within it.
_PART = re.compile(r"[(@+#]?[^,(@+#]*,*")
_PIECE = re.compile(r"[(@+#]?[^_,=(@+#/]*[_,=/]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One cell.

    Attributes:
        value: What its colour shows; not a number where there is nothing.
        number: What is written into it.
        text: What is shown under the pointer.
        is_marked: Whether it is outlined.
    """

    value: float
    number: str
    text: str
    is_marked: bool = False


def broken_lines(name: str, width: float) -> list[str]:
    """Break a name into lines of at most this width in pixels, where it has a place to break."""
    lines = [""]
    for part in _PART.findall(name):
        for piece in [part] if text_width(part) <= width else _PIECE.findall(part):
            if lines[-1] and text_width(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += piece
    return lines


def shortened(text: str, width: float) -> str:
    """Return a text, cut in its middle where it is wider than this many pixels."""
    if text_width(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and text_width(_cut(text, kept)) > width:
        kept -= 1
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    return f"{text[: math.ceil(kept / 2)]}…{text[len(text) - kept // 2 :]}"


def _widest_piece(names: Sequence[str]) -> float:
    return max(text_width(piece) for name in names for piece in _PIECE.findall(name))


def _label(lines: Sequence[str], *, x: float, y: float, anchor: str) -> Markup:
    """Return lines of text of which the last stands at `y`."""
    first = y - (len(lines) - 1) * _LINE_HEIGHT
    return join(
        tag("text", line, x=x, y=first + index * _LINE_HEIGHT, text_anchor=anchor) for index, line in enumerate(lines)
    )


def _cell(cell: HeatCell, share: float, *, x: float, y: float, width: float, height: float) -> Markup:
    is_known = math.isfinite(cell.value)
    ink = contrasting_ink(share) if is_known else INK
    box = {"x": x, "y": y, "width": width - 2, "height": height - 2}
    parts = [tag("rect", **box, fill=sequential(share) if is_known else PALE, data_tip=cell.text)]
    if cell.is_marked:
        outline = f"M{x + 3:.1f} {y + 3:.1f}h{width - 8:.1f}v{height - 8:.1f}h{8 - width:.1f}z"
        parts.append(
            tag("path", d=outline, fill="none", stroke=ink, stroke_width=1.6, pointer_events="none", class_="marked")
        )
    place = {"x": x + width / 2 - 1, "y": y + height / 2 + 3.5, "text_anchor": "middle", "pointer_events": "none"}
    return join((*parts, tag("text", cell.number, class_="cell", style=f"fill:{ink}", **place)))


def _scale(low: float, high: float, unit: str, mark: str) -> Markup:
    """Return the colours from the lowest to the highest value, and what the outline means."""
    ends = [format_number(value, unit, decimals=1 if unit == "%" else None) for value in (low, high)]
    left, step = text_width(ends[0]) + 6, _SCALE_WIDTH / _SCALE_STEPS
    parts = [tag("text", ends[0], x=0, y=36, class_="tick")]
    parts += [
        tag(
            "path",
            d=f"M{left + i * step:.1f} 26h{step + 0.4:.1f}v11h{-step - 0.4:.1f}z",
            fill=sequential(i / (_SCALE_STEPS - 1)),
            shape_rendering="crispEdges",
        )
        for i in range(_SCALE_STEPS)
    ]
    right = left + _SCALE_WIDTH + 6
    parts.append(tag("text", ends[1], x=right, y=36, class_="tick"))
    if mark:
        at = right + text_width(ends[1]) + 18
        parts.append(tag("path", d=f"M{at:.1f} 26h14v11h-14z", fill="none", stroke=INK, stroke_width=1.6))
        parts.append(tag("text", mark, x=at + 20, y=36))
    return join(parts)


def heat_map(
    cells: Sequence[Sequence[HeatCell]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    width: float,
    title: str,
    description: str,
    unit: str = "%",
    limits: tuple[float, float] | None = None,
    mark: str = "",
) -> Markup:
    """Return a heat map.

    Args:
        cells: Rows of cells; larger values are darker.
        rows: Name of each row.
        columns: Name of each column.
        width: Pixels.
        title: What is shown, in a few words, with the unit.
        description: What a reader who cannot see the map has to know.
        unit: Unit of the ends of the scale of colours.
        limits: Values of the palest and the darkest colour; by default the least and the greatest value.
        mark: What the outline of a cell means; empty where none is marked.
    """
    values = np.array([[cell.value for cell in row] for row in cells], np.float64)
    known = values[np.isfinite(values)]
    low, high = limits or ((float(known.min()), float(known.max())) if known.size else (0.0, 1.0))
    share = shares(np.nan_to_num(values), low, high)
    names = [broken_lines(name, 0.36 * width) for name in rows]
    left = max(text_width(line) for lines in names for line in lines) + 10
    heights = [max(_LEAST_HEIGHT, len(lines) * _LINE_HEIGHT + 8) for lines in names]
    least = min(max(_LEAST_CELL, _widest_piece(columns) + 6), width - left)
    # As many columns beside each other as find room, all blocks about equally wide.
    n_blocks = math.ceil(len(columns) / max(1, int((width - left) / least)))
    per_block = math.ceil(len(columns) / n_blocks)
    cell_width = min((width - left) / per_block, max(_MOST_CELL, least))
    y, parts = _TOP, [_scale(low, high, unit, mark)]
    for start in range(0, len(columns), per_block):
        chosen = range(start, min(start + per_block, len(columns)))
        heads = [broken_lines(columns[column], cell_width - 4) for column in chosen]
        y += max(map(len, heads)) * _LINE_HEIGHT + 4
        parts += [
            _label(lines, x=left + (index + 0.5) * cell_width - 1, y=y - 7, anchor="middle")
            for index, lines in enumerate(heads)
        ]
        for row, lines in enumerate(names):
            middle = y + heights[row] / 2 + 3 + (len(lines) - 1) * _LINE_HEIGHT / 2
            parts.append(_label(lines, x=left - 10, y=middle, anchor="end"))
            for index, column in enumerate(chosen):
                at = {"x": left + index * cell_width, "y": y, "width": cell_width, "height": heights[row]}
                parts.append(_cell(cells[row][column], float(share[row, column]), **at))
            y += heights[row]
        y += 12
    return canvas(parts, width=width, height=y, title=title, description=description)
