"""A numbered figure of a page: one or more charts and a caption that says what to see."""

from collections.abc import Sequence
from dataclasses import dataclass

from ceas.report.markup import Markup, join, tag

__all__ = ["Figure", "figures_markup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: `anchor` is its fragment, `charts` stand in a grid of two columns, or `is_wide` in one."""

    anchor: str
    heading: str
    caption: str
    charts: Sequence[Markup]
    is_wide: bool = False


def _figure(number: int, figure: Figure) -> Markup:
    panels = tag("div", *figure.charts, class_="panels one" if figure.is_wide else "panels")
    caption = tag("figcaption", tag("b", f"Figure {number}."), " ", figure.caption)
    heading = tag("h2", figure.heading, id=f"{figure.anchor}-heading")
    body = tag("figure", panels, caption)
    return tag("section", heading, body, id=figure.anchor, aria_labelledby=f"{figure.anchor}-heading")


def figures_markup(figures: Sequence[Figure]) -> Markup:
    """Return the figures in order, numbered from 1."""
    return join(_figure(number, figure) for number, figure in enumerate(figures, start=1))
