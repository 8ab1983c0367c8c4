"""Figures about Bell pairs: what became of them, how good they were at use, and the keys made from them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.line_chart import Reference, Series, line_chart, x_axis
from ceas.report.marks import band, glyph, hover_bands, polyline, tip
from ceas.report.markup import Markup
from ceas.report.network_map import network_map
from ceas.report.palette import ATTACKER, BLUE, FATE_COLOURS, GREEN, HONEST, INK, MUTED, ORANGE
from ceas.report.panel import Frame, Key, chart, responsive
from ceas.report.source import Run

__all__ = ["fates_figure", "fidelity_figure", "keys_figure", "map_figure"]

Column = NDArray[np.float64]


def map_figure(run: Run) -> Figure:
    """Return the map of the network."""
    return Figure(
        anchor="map",
        heading="Network",
        caption="Dark, thick links deliver many good pairs; a pale or thin link leaves the learner that depends on it "
        "with few shots, few key bits and little weight.",
        charts=(responsive(lambda width: network_map(run, width)),),
        is_wide=True,
    )


def _fates_chart(run: Run) -> Markup:
    x = run.rounds.numbers("round")
    counts = np.stack([np.nan_to_num(run.rounds.numbers(fate)) for fate in FATE_COLOURS])
    tops = np.cumsum(counts, axis=0)
    shares = counts.sum(axis=1) / max(counts.sum(), 1)

    def draw(frame: Frame) -> list[Markup]:
        pixels, zero = frame.x(x), np.full(len(x), frame.bottom)
        edges = [zero, *(frame.y(top) for top in tops)]
        parts = [
            band(pixels, edges[index], edges[index + 1], colour, 1.0)
            for index, colour in enumerate(FATE_COLOURS.values())
        ]
        tips = [
            tip(
                f"training round {int(number)}",
                *(f"{fate}: {format_number(int(counts[index, row]))}" for index, fate in enumerate(FATE_COLOURS)),
            )
            for row, number in enumerate(x)
        ]
        return [*parts, hover_bands(pixels, tips, top=frame.top, bottom=frame.bottom)]

    return chart(
        draw,
        x=x_axis("training round", x),
        y=Axis(label="", low=0.0, high=max(float(tops[-1].max(initial=0)) * 1.04, 1.0)),
        title="Pairs that ended in each round, by fate",
        description=", ".join(
            f"{fate} {format_number(float(s), '%')}" for fate, s in zip(FATE_COLOURS, shares, strict=True)
        ),
        keys=[
            Key(label=fate, colour=colour, kind="area")
            for (fate, colour), share in zip(FATE_COLOURS.items(), shares, strict=True)
            if share > 0 or fate != "route"
        ],
        height=300,
    )


def fates_figure(run: Run) -> Figure:
    """Return what became of the pairs, and the share that was used."""
    x = run.rounds.numbers("round")
    utilisation = Series(label="utilisation", x=x, values=run.rounds.numbers("utilisation"), colour=BLUE)
    mean = run.result["bell_pair_utilisation"]
    references = [] if mean is None else [Reference(label="whole run", level=mean, kind="dash", colour=INK)]
    return Figure(
        anchor="fates",
        heading="What became of the pairs",
        caption="Pairs are perishable: learning, key and test are uses, while expired (too noisy) and discarded "
        "(overwritten) pairs are losses; utilisation is the used share of all pairs that ended in a round.",
        charts=(
            _fates_chart(run),
            line_chart(
                [utilisation], title="Utilisation", unit="%", low=0.0, high=1.0, references=references, height=300
            ),
        ),
    )


def _link_fidelity_chart(run: Run) -> Markup:
    links = run.links
    at_use, initial = links.numbers("fidelity_at_use_mean"), links.numbers("initial_fidelity")
    used = np.flatnonzero(np.isfinite(at_use))
    order = used[np.argsort(-at_use[used], kind="stable")]
    place = np.arange(len(order)) + 1.0
    least, most = (at_use[order[-1]], at_use[order[0]]) if order.size else (None, None)

    def draw(frame: Frame) -> list[Markup]:
        x, born, used_at = frame.x(place), frame.y(initial[order]), frame.y(at_use[order])
        parts = [
            polyline([centre, centre], [start, end], MUTED, width=1.0)
            for centre, start, end in zip(x, born, used_at, strict=True)
        ]
        for row, centre, start, end in zip(order, x, born, used_at, strict=True):
            a, b = int(links.numbers("node_a")[row]), int(links.numbers("node_b")[row])
            text = tip(
                f"link {int(links.numbers('link')[row])}: node {a} – node {b}",
                f"at birth: {format_number(float(initial[row]))}",
                f"at use: {format_number(float(at_use[row]))}",
            )
            parts.append(
                glyph("circle", float(centre), float(start), radius=2.6, colour=MUTED, filled=False, text=text)
            )
            parts.append(glyph("circle", float(centre), float(end), radius=3.2, colour=BLUE, text=text))
        return parts

    return chart(
        draw,
        x=Axis(label="links, from the best to the worst at use", low=0.0, high=len(order) + 1.0),
        y=fitted_axis("", at_use[order], initial[order]),
        title="Fidelity of each link's pairs",
        description=f"{len(order)} links with use; mean at use between {format_number(least)} and "
        f"{format_number(most)}.",
        keys=[
            Key(label="at birth", colour=MUTED, kind="open-circle"),
            Key(label="mean at use", colour=BLUE, kind="circle"),
        ],
        height=300,
    )


def _expiry(series: Sequence[Series], minimum: float) -> list[Reference]:
    """Return the level of expiry where it is near the data; far from them it would only flatten their lines."""
    known = np.concatenate([one.values[np.isfinite(one.values)] for one in series])
    is_near = known.size > 0 and known.min() - minimum < np.ptp(known)
    return [Reference(label="expiry", level=minimum, kind="dot", colour=MUTED)] if is_near else []


def fidelity_figure(run: Run) -> Figure:
    """Return fidelity at use over rounds and per link."""
    x = run.rounds.numbers("round")
    series = [
        Series(label="mean", x=x, values=run.rounds.numbers("fidelity_at_use_mean"), colour=BLUE),
        Series(label="5th percentile", x=x, values=run.rounds.numbers("fidelity_at_use_p05"), colour=ORANGE),
    ]
    minimum = run.scenario["hardware"]["minimum_fidelity"]
    return Figure(
        anchor="fidelity",
        heading="Fidelity at use",
        caption="The gap between birth and use is what storage cost; a fifth percentile close to the mean says that "
        f"few bad pairs reached a circuit. Pairs below fidelity {format_number(minimum)} are expired.",
        charts=(
            line_chart(
                series,
                title="Mean and tail of all uses",
                references=_expiry(series, minimum),
                height=300,
            ),
            _link_fidelity_chart(run),
        ),
    )


def _budget_chart(run: Run) -> Markup:
    x = run.rounds.numbers("time_s")
    enrolled = float(run.result["key_bits"]["enrolled"] or 0)
    made = enrolled + np.cumsum(np.nan_to_num(run.rounds.numbers("key_bits_generated")))
    spent = np.cumsum(np.nan_to_num(run.rounds.numbers("key_bits_consumed")))
    series = [
        Series(label="enrolled and generated", x=x, values=made, colour=GREEN),
        Series(label="consumed", x=x, values=spent, colour=ORANGE),
    ]
    return line_chart(series, title="Key bits of the whole network", x_label="time (s)", low=0.0, height=300)


def _link_keys_chart(run: Run) -> Markup:
    links = run.links
    made, spent = links.numbers("key_bits_generated"), links.numbers("key_bits_consumed")
    starved = np.nan_to_num(links.numbers("starved")) > 0
    x = fitted_axis("generated (bits)", made, [0.0])
    y = fitted_axis("consumed (bits)", spent, [0.0])
    end = min(x.high, y.high)

    def draw(frame: Frame) -> list[Markup]:
        parts = [polyline(frame.x([0.0, end]), frame.y([0.0, end]), INK, width=1.2, dash="6 4")]
        across, up = frame.x(made), frame.y(spent)
        for row in np.argsort(starved, kind="stable"):
            text = tip(
                f"link {int(links.numbers('link')[row])}" + (", starved" if starved[row] else ""),
                f"generated: {format_number(float(made[row]), 'bit')}",
                f"consumed: {format_number(float(spent[row]), 'bit')}",
            )
            shape, colour = ("diamond", ATTACKER) if starved[row] else ("circle", HONEST)
            parts.append(glyph(shape, float(across[row]), float(up[row]), radius=4.2, colour=colour, text=text))
        return parts

    keys = [Key(label="link", colour=HONEST, kind="circle")]
    keys += [Key(label="starved link", colour=ATTACKER, kind="diamond")] if starved.any() else []
    return chart(
        draw,
        x=x,
        y=y,
        title="Key bits of each link",
        description=f"{int(starved.sum())} of {len(links)} links starved.",
        keys=[*keys, Key(label="consumed = generated", colour=INK, kind="dash")],
        height=300,
    )


def keys_figure(run: Run) -> Figure:
    """Return the budget of key bits over time and per link."""
    is_one_time = run.result["authentication"]["profile"] in ("its128", "its64")
    starved = "had to leave messages unsent" if is_one_time else "went on with its old seed when a fresh one was due"
    return Figure(
        anchor="keys",
        heading="Key budget",
        caption="Consumption has to stay below what was enrolled and generated; a link above the dashed line lives on "
        f"its enrolled bits, and a starved one (diamond) {starved}.",
        charts=(_budget_chart(run), _link_keys_chart(run)),
    )
