"""Marks that charts are made of: lines, bands, clouds of dots, and single glyphs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.report.markup import Markup, join, tag

__all__ = ["GLYPHS", "band", "cloud", "glyph", "hover_bands", "polyline", "tip"]

GLYPHS = {
    "circle": "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "triangle": "M0-1.25L1.15 .85H-1.15z",
    "diamond": "M0-1.3L1.3 0L0 1.3L-1.3 0z",
    "square": "M-.95-.95H.95V.95H-.95z",
    "cross": "M-.9-.9L.9 .9M-.9 .9L.9-.9",
    "bar": "M0-1.1V1.1",
}
_OPEN = frozenset({"cross", "bar"})
_MAXIMUM_HOVER_BANDS = 150


def _pairs(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def polyline(
    x: ArrayLike, y: ArrayLike, colour: str, *, width: float = 1.8, dash: str | None = None, through_gaps: bool = False
) -> Markup:
    """Return a line through pixels; a value that is not a number breaks it, or is passed over `through_gaps`."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    known = np.isfinite(xs) & np.isfinite(ys)
    if through_gaps:
        xs, ys, known = xs[known], ys[known], known[known]
    breaks = np.flatnonzero(np.diff(known.astype(np.int8)) != 0) + 1
    runs = [run for run in np.split(np.arange(len(xs)), breaks) if run.size and known[run[0]]]
    # A run of one point needs a stroke of no length, or nothing is drawn.
    path = "".join("M" + _pairs(xs[run], ys[run]) + ("h0" if run.size == 1 else "") for run in runs)
    return tag("path", class_="line", d=path, stroke=colour, stroke_width=width, stroke_dasharray=dash)


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, opacity: float) -> Markup:
    """Return the filled area between two lines; places where either is not a number are left out."""
    xs, ys, tops = (np.asarray(values, np.float64) for values in (x, low, high))
    known = np.isfinite(xs) & np.isfinite(ys) & np.isfinite(tops)
    if not known.any():
        return Markup("")
    forth, back = _pairs(xs[known], tops[known]), _pairs(xs[known][::-1], ys[known][::-1])
    return tag("path", d=f"M{forth}L{back}z", fill=colour, fill_opacity=opacity)


def cloud(x: ArrayLike, y: ArrayLike, colour: str, *, diameter: float, opacity: float) -> Markup:
    """Return many equal dots as one path, which costs ten bytes a dot."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    known = np.isfinite(xs) & np.isfinite(ys)
    path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(xs[known], ys[known], strict=True))
    return tag("path", class_="cloud", d=path, stroke=colour, stroke_width=diameter, stroke_opacity=opacity)


def tip(*lines: str) -> str:
    """Return the text that a mark shows under the pointer, a line each."""
    return "\n".join(lines)


def glyph(
    shape: str, x: float, y: float, *, radius: float, colour: str, filled: bool = True, text: str | None = None
) -> Markup:
    """Return one glyph of `GLYPHS` at a pixel, filled or hollow, with a text to show under the pointer."""
    is_stroke = shape in _OPEN or not filled
    return tag(
        "path",
        class_="glyph",
        d=GLYPHS[shape],
        transform=f"translate({x:.1f} {y:.1f})scale({radius:g})",
        fill="none" if shape in _OPEN else (colour if filled else "#fff"),
        stroke=colour if is_stroke else "#fff",
        stroke_width=round((1.7 if is_stroke else 0.7) / radius, 2),
        data_shape=shape,
        data_tip=text,
    )


def hover_bands(x: ArrayLike, tips: Sequence[str], *, top: float, bottom: float) -> Markup:
    """Return invisible upright bands, one a position, that show its text under the pointer.

    More than 150 positions are thinned out evenly: a band narrower than three pixels cannot be hit.
    """
    xs = np.asarray(x, np.float64)
    chosen = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), _MAXIMUM_HOVER_BANDS)).round().astype(np.int64))
    if chosen.size == 0:
        return Markup("")
    centres = xs[chosen]
    middle = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([centres[:1] - 4, middle, centres[-1:] + 4])
    return join(
        tag(
            "rect",
            class_="hover",
            x=float(edges[place]),
            y=float(top),
            width=float(edges[place + 1] - edges[place]),
            height=float(bottom - top),
            data_tip=tips[index],
        )
        for place, index in enumerate(chosen)
    )
