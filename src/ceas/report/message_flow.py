"""The message-flow picture of the consensus: recorded runs as sequence charts.

`python -m ceas.report.message_flow docs/consensus-flow.svg` writes the picture of docs/consensus.md. Time runs
downward, one line is one node, and one arrow is one message; steps that take longer than two delays are drawn short.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from ceas.experiments.consensus_flow import FlowMessage, FlowStep, record_flow
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import BLUE, GREEN, INK, MUTED, ORANGE, PALE, PURPLE, SKY, VERMILLION

__all__ = ["consensus_flow_picture", "sequence_chart"]

_COLOURS: Final = {
    "PROPOSE": BLUE,
    "ECHO": SKY,
    "READY": GREEN,
    "SET_PROPOSAL": ORANGE,
    "SET_VOTE": PURPLE,
    "VIEW_CHANGE": VERMILLION,
    "PROOF": MUTED,
    "SUGGEST": MUTED,
    "MISSING": MUTED,
    "DECISION": INK,
}
_LEFT, _BETWEEN, _RIGHT = 138.0, 64.0, 146.0
_HEAD, _FOOT = 78.0, 16.0
_DELAY, _GAP = 44.0, 58.0
_LONG: Final = 2  # what takes longer is drawn as a gap
_STYLE: Final = (
    "text{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#1f2328}"
    ".title{font-weight:600;font-size:14px}.kind{font-weight:600}.quiet{fill:#59636e}"
)


def sequence_chart(
    messages: Sequence[FlowMessage], steps: Sequence[FlowStep], *, title: str, silent: Sequence[int] = ()
) -> tuple[Markup, float, float]:
    """Return one chart and its width and height in pixels.

    Args:
        messages: What was sent; messages of one kind at one time get one label.
        steps: What else was done; several at one time stand one below the other.
        title: What the run shows.
        silent: Nodes that took no part; their lines are dashed.
    """
    n_nodes = 1 + max(max(one.source, one.destination) for one in messages)
    places, gaps = _places(sorted({one.sent for one in messages} | {one.at for one in steps}))
    bottom = max(places.values()) + _FOOT
    lines = [_LEFT + _BETWEEN * node for node in range(n_nodes)]
    right = lines[-1]
    parts: list[object] = [tag("text", title, class_="title", x=0, y=14)]
    for node, x in enumerate(lines):
        role = "silent" if node in silent else "leader" if node == 0 else ""
        parts.append(tag("text", f"node {node}", x=x, y=44, text_anchor="middle"))
        parts.append(tag("text", role, class_="quiet", x=x, y=58, text_anchor="middle"))
        dash = "3 4" if node in silent else None
        parts.append(tag("line", x1=x, x2=x, y1=64.0, y2=bottom, stroke=PALE, stroke_width=1.5, stroke_dasharray=dash))
    parts += [_gap(y, text, right) for y, text in gaps]
    for time in sorted(places):
        parts += _labels(time, places[time], messages)
        what = [_step(step, n_nodes - len(silent)) for step in steps if step.at == time]
        parts += [tag("text", text, x=right + 14, y=places[time] + 4 + 15 * index) for index, text in enumerate(what)]
    for one in messages:
        # All that is said last may arrive after the last thing that happened.
        end = places.get(one.arrived, places[one.sent] + _DELAY)
        if end <= bottom:
            parts.append(_arrow(one, lines[one.source], places[one.sent], lines[one.destination], end))
    return join(parts), right + _RIGHT, bottom + _FOOT


def _places(times: Sequence[float]) -> tuple[dict[float, float], list[tuple[float, str]]]:
    """Return the height of each time, and the gaps: where, and what they leave out."""
    places, gaps, y = {times[0]: _HEAD}, [], _HEAD
    for before, time in pairwise(times):
        is_long = time - before > _LONG
        # Messages that are under way at the beginning of a gap arrive in it.
        y += _DELAY + _GAP if is_long else _DELAY * (time - before)
        if is_long:
            places[before + 1] = places[before] + _DELAY
            gaps.append((y - _GAP / 2, f"no decision by {time:g} D"))
        places[time] = y
    return places, gaps


def _gap(y: float, text: str, right: float) -> Markup:
    line = tag("line", x1=_LEFT - 14, x2=right + 14, y1=y, y2=y, stroke=PALE, stroke_dasharray="1 4", stroke_width=3)
    return join([line, tag("text", text, x=right + 14, y=y + 4, class_="quiet")])


def _labels(time: float, y: float, messages: Sequence[FlowMessage]) -> list[Markup]:
    kinds = list(dict.fromkeys(one.kind for one in messages if one.sent == time))
    if not kinds:
        return []
    labels = [tag("text", f"{time:g} D", x=0, y=y + 16, class_="quiet")]
    for index, kind in enumerate(kinds):
        labels.append(
            tag("text", kind, x=36, y=y + 16 + 14 * index, class_="kind", style=f"fill:{_colour(kind)};font-size:11px")
        )
    return labels


def _step(step: FlowStep, n_taking_part: int) -> str:
    who = "all" if len(step.nodes) == n_taking_part else "node " + ", ".join(map(str, step.nodes))
    return f"{who}: {step.what}"


def _arrow(one: FlowMessage, x1: float, y1: float, x2: float, y2: float) -> Markup:
    # Ends short of the line, where a head of its own shows the direction.
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    tip_x, tip_y = x2 - 2 * dx, y2 - 2 * dy
    back_x, back_y = tip_x - 7 * dx, tip_y - 7 * dy
    head = f"M{tip_x:.1f} {tip_y:.1f}L{back_x - 2.6 * dy:.1f} {back_y + 2.6 * dx:.1f}"
    head += f"L{back_x + 2.6 * dy:.1f} {back_y - 2.6 * dx:.1f}Z"
    colour = _colour(one.kind)
    stem = tag("line", x1=x1, y1=y1, x2=back_x, y2=back_y, stroke=colour, stroke_width=1.2, stroke_opacity=0.75)
    return join([stem, tag("path", d=head, fill=colour)])


def _colour(kind: str) -> str:
    return _COLOURS[kind.split(maxsplit=1)[0]]


def consensus_flow_picture() -> str:
    """Return the picture of docs/consensus.md: the good case, and a silent leader of view 0, of four nodes."""
    charts, left, height = [], 16.0, 0.0
    for title, silent in (("All four nodes honest", ()), ("Node 0, which leads view 0, is silent", (0,))):
        messages, steps = record_flow(4, silent=silent)
        chart, width, bottom = sequence_chart(messages, steps, title=title, silent=silent)
        charts.append(tag("g", chart, transform=f"translate({left:g} 16)"))
        left, height = left + width + 24, max(height, bottom + 16)
    back = tag("rect", width="100%", height="100%", fill="#ffffff")
    return tag(
        "svg",
        tag("style", Markup(_STYLE)),
        back,
        *charts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {left:g} {height:g}",
        width=f"{left:g}",
        height=f"{height:g}",
        role="img",
        aria_label="Messages of one round among four nodes, with an honest and with a silent first leader.",
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(consensus_flow_picture() + "\n", "utf-8")
