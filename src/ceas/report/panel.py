"""One chart: title, legend, axes and a plotting area, as one inline SVG.

A chart is drawn for a width in CSS pixels. Half of a page's column and a telephone are about equally wide, so most
charts are drawn once (`HALF_WIDTH`); one that spans the column is drawn twice, and the style sheet shows the one that
fits. Text therefore keeps its size on every screen and in print.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ceas.report.axes import Axis, Scale, tick_labels, tick_values
from ceas.report.marks import GLYPHS, glyph
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import INK

__all__ = ["FULL_WIDTH", "HALF_WIDTH", "Frame", "Key", "canvas", "chart", "responsive"]

HALF_WIDTH = 420
FULL_WIDTH = 880
_TITLE_HEIGHT = 20.0
_ROW_HEIGHT = 18.0
# Pixels at a size of 12 in a wide system font (DejaVu Sans), so that no label is cut; other fonts are narrower.
_CHARACTER_WIDTHS = {
    **dict.fromkeys("ijl|.,:;'!", 3.8),
    **dict.fromkeys("frt()[]- \u202f“”", 5.0),
    **dict.fromkeys("mwMW%@", 11.2),
}
_UPPER_WIDTH, _USUAL_WIDTH = 8.6, 7.5
_GLYPH_KEYS = frozenset(GLYPHS)
DASHES = {"line": None, "dash": "6 4", "dot": "2 3", "dashdot": "9 3 2 3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend; `kind` is one of `DASHES`, area, a glyph's name, or a glyph's name after `open-`."""

    label: str
    colour: str
    kind: str = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plotting area of a chart, in pixels."""

    x: Scale
    y: Scale
    left: float
    right: float
    top: float
    bottom: float


def text_width(text: str) -> float:
    """Return about how wide a text of the usual size is, in pixels."""
    return sum(_CHARACTER_WIDTHS.get(c, _UPPER_WIDTH if c.isupper() else _USUAL_WIDTH) for c in text)


def _key_sample(key: Key, x: float, y: float) -> Markup:
    if key.kind == "area":
        return tag("rect", x=x, y=y - 5, width=14, height=10, rx=1.5, fill=key.colour)
    shape = key.kind.removeprefix("open-")
    if shape in _GLYPH_KEYS:
        return glyph(shape, x + 7, y, radius=4.5, colour=key.colour, filled=shape == key.kind)
    dash = DASHES.get(key.kind)
    return tag("path", class_="line", d=f"M{x:g} {y:g}h18", stroke=key.colour, stroke_width=2, stroke_dasharray=dash)


def legend(keys: Sequence[Key], *, left: float, top: float, width: float) -> tuple[Markup, float]:
    """Return a legend that breaks into rows at `width`, and its height in pixels."""
    x, row, parts = left, 0, []
    for key in keys:
        needed = 23 + text_width(key.label) + 14
        if x > left and x + needed > left + width:
            x, row = left, row + 1
        y = top + row * _ROW_HEIGHT + 9
        parts += [_key_sample(key, x, y), tag("text", key.label, x=x + 23, y=y + 4)]
        x += needed
    return join(parts), (row + 1) * _ROW_HEIGHT if keys else 0.0


def _x_axis(frame: Frame, ticks: Sequence[float], labels: Sequence[str]) -> Markup:
    parts = [tag("path", class_="axis", d=f"M{frame.left:g} {frame.bottom:g}H{frame.right:g}")]
    for tick, label in zip(ticks, labels, strict=True):
        x = frame.x.at(tick)
        parts.append(tag("path", class_="axis", d=f"M{x:.1f} {frame.bottom:g}v4"))
        parts.append(tag("text", label, x=x, y=frame.bottom + 17, text_anchor="middle", class_="tick"))
    middle = (frame.left + frame.right) / 2
    parts.append(tag("text", frame.x.axis.label, x=middle, y=frame.bottom + 35, text_anchor="middle"))
    return join(parts)


def _y_axis(frame: Frame, ticks: Sequence[float], labels: Sequence[str]) -> Markup:
    parts = []
    for tick, label in zip(ticks, labels, strict=True):
        y = frame.y.at(tick)
        parts.append(tag("path", class_="grid", d=f"M{frame.left:g} {y:.1f}H{frame.right:g}"))
        parts.append(tag("text", label, x=frame.left - 7, y=y + 4, text_anchor="end", class_="tick"))
    return join(parts)


def canvas(parts: Iterable[object], *, width: float, height: float, title: str, description: str) -> Markup:
    """Return an SVG with its title, announced to screen readers as one image with a description."""
    heading = tag("text", title, class_="title", x=0, y=13) if title else ""
    label = f"{title}. {description}" if title else description
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", heading, *parts, class_="chart", viewBox=box, role="img", aria_label=label)


def chart(
    draw: Callable[[Frame], Iterable[object]],
    *,
    x: Axis,
    y: Axis,
    title: str,
    description: str,
    keys: Sequence[Key] = (),
    width: float = HALF_WIDTH,
    height: float = 270,
) -> Markup:
    """Return one chart with axes.

    Args:
        draw: Returns the marks for the plotting area that it is given.
        x: Horizontal axis, with its label.
        y: Vertical axis; its label stands above the axis, or is empty where the title says it.
        title: What is shown, in a few words, with the unit.
        description: What a reader who cannot see the chart has to know.
        keys: Legend.
        width: Pixels.
        height: Pixels, of which legends of many rows take from the plotting area.
    """
    head, head_height = legend(keys, left=0.0, top=_TITLE_HEIGHT + 2, width=width)
    top = _TITLE_HEIGHT + head_height + (_ROW_HEIGHT if y.label else 0.0) + 14
    bottom = height - 40
    y_ticks = tick_values(y, max(2, int((bottom - top) / 38)))
    y_labels = tick_labels(y, y_ticks)
    left = max((text_width(label) for label in y_labels), default=0.0) + 10
    right = width - 12.0
    frame = Frame(
        x=Scale(axis=x, start=left, stop=right),
        y=Scale(axis=y, start=bottom, stop=top),
        left=left,
        right=right,
        top=top,
        bottom=bottom,
    )
    x_ticks = tick_values(x, max(2, int((right - left) / 62)))
    axis_label = tag("text", y.label, class_="axis-label", x=0, y=top - 12) if y.label else ""
    axes = (_y_axis(frame, y_ticks, y_labels), _x_axis(frame, x_ticks, tick_labels(x, x_ticks)))
    parts = (head, axis_label, *axes, *draw(frame))
    return canvas(parts, width=width, height=height, title=title, description=description)


def reference(frame: Frame, level: float, kind: str, colour: str = INK) -> Markup:
    """Return a level line across the plotting area of a kind of `DASHES`; nothing where it lies outside the axis."""
    if not frame.y.axis.low <= level <= frame.y.axis.high:
        return Markup("")
    d = f"M{frame.left:g} {frame.y.at(level):.1f}H{frame.right:g}"
    return tag("path", class_="line", d=d, stroke=colour, stroke_width=1.3, stroke_dasharray=DASHES[kind])


def level_label(frame: Frame, level: float, text: str, end: str, *, is_below: bool = False) -> Markup:
    """Return a text at the `start` or the `end` of a level line; nothing where the line lies outside the axis."""
    if not frame.y.axis.low <= level <= frame.y.axis.high:
        return Markup("")
    x = frame.left + 4 if end == "start" else frame.right
    return tag("text", text, class_="on-line", x=x, y=frame.y.at(level) + (13 if is_below else -4), text_anchor=end)


def responsive(draw: Callable[[int], Markup]) -> Markup:
    """Return a chart drawn for the whole column and for a narrow screen; the style sheet shows one of the two."""
    wide = tag("div", draw(FULL_WIDTH), class_="wide")
    return join((wide, tag("div", draw(HALF_WIDTH), class_="narrow")))
