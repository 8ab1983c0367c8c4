"""The map of a network: where its nodes are, and what its links delivered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.report.formatting import format_number
from ceas.report.marks import glyph, tip
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import ATTACKER, MUTED, PALE, sequential, shares
from ceas.report.panel import FULL_WIDTH, Key, canvas, legend
from ceas.report.source import Run, Table

__all__ = ["NetworkPicture", "draw_network", "fidelity_range", "network_map"]

_MARGIN = 22.0
_TITLE_HEIGHT = 26.0
_SCALE_WIDTH = 150.0
_THINNEST, _THICKEST = 1.4, 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPicture:
    """What a map shows.

    Attributes:
        nodes: Nodes, with `node`, `x` and `y`.
        links: Links, with `link`, `node_a`, `node_b`, `length_km`, `pair_rate_hz`, `generated` and
            `fidelity_at_use_mean`.
        node_tips: What each node shows under the pointer.
        is_byzantine: Whether each node is marked as malicious, shape `(nodes,)`.
        fidelity_range: Ends of the scale of colours.
        title: What the map shows, empty if the page says it.
    """

    nodes: Table
    links: Table
    node_tips: Sequence[str]
    is_byzantine: NDArray[np.bool_]
    fidelity_range: tuple[float, float]
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Pixels of the nodes, and the size of the map."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: float
    height: float


def _layout(nodes: Table, width: float, top: float, side: float) -> _Layout:
    x, y = nodes.numbers("x"), nodes.numbers("y")
    span_x, span_y = max(np.ptp(x), 1e-9), max(np.ptp(y), 1e-9)
    room_x, room_y = width - side - 2 * _MARGIN, 0.62 * width if side else 1.15 * width
    # One scale for both directions keeps distances true.
    scale = min(room_x / span_x, room_y / span_y)
    left = _MARGIN + (room_x - scale * span_x) / 2
    height = top + 2 * _MARGIN + scale * span_y
    return _Layout(
        x=left + scale * (x - x.min()), y=height - _MARGIN - scale * (y - y.min()), width=width, height=height
    )


def _link_tip(links: Table, row: int) -> str:
    value = {name: float(links.numbers(name)[row]) for name in ("length_km", "pair_rate_hz", "fidelity_at_use_mean")}
    a, b = int(links.numbers("node_a")[row]), int(links.numbers("node_b")[row])
    return tip(
        f"link {int(links.numbers('link')[row])}: node {a} – node {b}",
        f"{format_number(value['length_km'], 'km')}, {format_number(value['pair_rate_hz'])} pairs per second",
        f"pairs generated: {format_number(int(links.numbers('generated')[row]))}",
        f"mean fidelity at use: {format_number(value['fidelity_at_use_mean'])}",
    )


def _links(links: Table, layout: _Layout, low: float, high: float) -> Markup:
    rate, fidelity = links.numbers("pair_rate_hz"), links.numbers("fidelity_at_use_mean")
    used = np.isfinite(fidelity) & (links.numbers("generated") > 0)
    # Rates spread over decades: the width grows with the root, so that a thin line still stands for something.
    top = rate[used].max(initial=1e-12)
    width = _THINNEST + (_THICKEST - _THINNEST) * np.sqrt(rate / top)
    ends = [links.numbers(name).astype(int) for name in ("node_a", "node_b")]
    position = np.stack([layout.x[ends[0]], layout.y[ends[0]], layout.x[ends[1]], layout.y[ends[1]]], axis=1)
    share, parts = shares(fidelity, low, high), []
    for row in np.argsort(used, kind="stable"):
        x1, y1, x2, y2 = map(float, position[row])
        parts.append(
            tag(
                "line",
                class_="link" if used[row] else "link unused",
                x1=x1,
                y1=y1,
                x2=x2,
                y2=y2,
                stroke=sequential(float(share[row])) if used[row] else PALE,
                stroke_width=float(width[row]) if used[row] else 1.0,
                data_tip=_link_tip(links, int(row)),
            )
        )
    return join(parts)


def _node_tip(run: Run, row: int, is_attacker: bool) -> str:
    nodes = run.nodes
    number, label = int(nodes.numbers("node")[row]), nodes.texts("label")[row]
    return tip(
        f"node {number}" + (f" ({label})" if label not in (str(number), f"node {number}") else ""),
        "Byzantine" if is_attacker else "honest",
        f"shots: {format_number(int(nodes.numbers('shots')[row]))}",
        f"mean weight: {format_number(float(nodes.numbers('mean_weight')[row]), '%')}",
        f"memory coherence time: {format_number(float(nodes.numbers('coherence_time_s')[row]), 's')}",
    )


def _nodes(picture: NetworkPicture, layout: _Layout) -> Markup:
    parts = []
    for row in np.argsort(picture.is_byzantine, kind="stable"):
        bad = bool(picture.is_byzantine[row])
        parts.append(
            glyph(
                "triangle" if bad else "circle",
                float(layout.x[row]),
                float(layout.y[row]),
                radius=7.0 if bad else 4.6,
                colour=ATTACKER if bad else "#30363d",
                filled=bad,
                text=picture.node_tips[row],
            )
        )
    return join(parts)


def _numbers(picture: NetworkPicture, layout: _Layout) -> Markup:
    """Return each node's number, on the side of the node that its links leave free."""
    ends = [picture.links.integers(name) for name in ("node_a", "node_b")]
    away = np.zeros((len(picture.nodes), 2))
    for here, there in (ends, ends[::-1]):
        step = np.stack([layout.x[here] - layout.x[there], layout.y[here] - layout.y[there]], axis=1)
        np.add.at(away, here, step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9))
    length = np.linalg.norm(away, axis=1, keepdims=True)
    away = np.where(length > 0.05, away / np.maximum(length, 1e-9), np.array([[0.0, -1.0]]))
    x, y = layout.x + 13 * away[:, 0], layout.y + 12 * away[:, 1] + 3.5
    return join(
        tag("text", str(number), x=float(x[row]), y=float(y[row]), text_anchor="middle", class_="number")
        for row, number in enumerate(picture.nodes.integers("node"))
    )


def _colour_scale(low: float, high: float, x: float, y: float) -> Markup:
    n_steps, width = 30, _SCALE_WIDTH / 30
    steps = [
        tag("rect", x=x + i * width, y=y + 8, width=width + 0.5, height=10, fill=sequential(i / (n_steps - 1)))
        for i in range(n_steps)
    ]
    ends = (
        tag("text", format_number(low), x=x, y=y + 32, class_="tick"),
        tag("text", format_number(high), x=x + _SCALE_WIDTH, y=y + 32, text_anchor="end", class_="tick"),
    )
    return join((tag("text", "mean fidelity at use", x=x, y=y), *steps, *ends))


def _width_scale(top_hz: float, x: float, y: float) -> Markup:
    parts: list[Markup] = [tag("text", "pairs per second", x=x, y=y)]
    for index, share in enumerate((0.05, 0.3, 1.0)):
        left, width = x + index * 52, _THINNEST + (_THICKEST - _THINNEST) * share**0.5
        parts.append(tag("path", class_="link", d=f"M{left:g} {y + 14:g}h36", stroke=MUTED, stroke_width=width))
        parts.append(tag("text", format_number(share * top_hz, digits=2), x=left, y=y + 34, class_="tick"))
    return join(parts)


def fidelity_range(fidelity: NDArray[np.float64]) -> tuple[float, float]:
    """Return round ends of a scale that holds all known values."""
    known = fidelity[np.isfinite(fidelity)]
    if known.size == 0:
        return 0.5, 1.0
    low, high = np.floor(known.min() * 100) / 100, np.ceil(known.max() * 100) / 100
    return float(low), float(max(high, low + 0.01))


def draw_network(picture: NetworkPicture, width: float) -> Markup:
    """Return the map; wide ones carry their scales at the right side, narrow ones above."""
    fidelity, rate = picture.links.numbers("fidelity_at_use_mean"), picture.links.numbers("pair_rate_hz")
    low, high = picture.fidelity_range
    n_attackers = int(picture.is_byzantine.sum())
    keys = [Key(label="honest node" if n_attackers else "node", colour="#30363d", kind="open-circle")]
    keys += [Key(label="Byzantine node", colour=ATTACKER, kind="triangle")] if n_attackers else []
    keys += [Key(label="link without use", colour=PALE)]
    is_wide = width >= FULL_WIDTH
    side = 200.0 if is_wide else 0.0
    above = _TITLE_HEIGHT if picture.title else 0.0
    layout = _layout(picture.nodes, width, above + (0.0 if is_wide else 92.0), side)
    legend_left = width - side if is_wide else 0.0
    head, _ = legend(keys, left=legend_left, top=above + (14.0 if is_wide else 0.0), width=side or width)
    scale_top = above + (112.0 if is_wide else 48.0)
    second = (legend_left, scale_top + 60) if is_wide else (_SCALE_WIDTH + 60, scale_top)
    scales = (
        _colour_scale(low, high, legend_left, scale_top),
        _width_scale(float(np.nanmax(rate, initial=0.0)), *second),
    )
    drawn = (_links(picture.links, layout, low, high), _nodes(picture, layout), _numbers(picture, layout))
    known = fidelity[np.isfinite(fidelity)]
    byzantine = f", of which {n_attackers} Byzantine," if n_attackers else ""
    least, most = (format_number(float(end(known)) if known.size else None) for end in (np.min, np.max))
    description = (
        f"Map of the network. {len(picture.nodes)} nodes{byzantine} and {len(picture.links)} links, of which "
        f"{known.size} delivered pairs with mean fidelity at use between {least} and {most}."
    )
    parts = (*drawn, head, *scales)
    return canvas(parts, width=width, height=layout.height, title=picture.title, description=description)


def network_map(run: Run, width: float) -> Markup:
    """Return the map of a run."""
    attackers = run.nodes.truths("is_byzantine")
    picture = NetworkPicture(
        nodes=run.nodes,
        links=run.links,
        node_tips=[_node_tip(run, row, bool(attackers[row])) for row in range(len(run.nodes))],
        is_byzantine=attackers,
        fidelity_range=fidelity_range(run.links.numbers("fidelity_at_use_mean")),
    )
    return draw_network(picture, width)
