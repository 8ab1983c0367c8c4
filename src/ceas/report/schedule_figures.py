"""Figures of a schedule study: value and utilisation beside the bound, differences, fates, maps and single lives."""

import math
from collections.abc import Sequence

import numpy as np

from ceas.experiments.schedule_store import parameters_text
from ceas.experiments.schedule_study import LEAST_UTILISATION, PolicyResult, ScheduleStudy, Trial, errors_of
from ceas.experiments.statistics import MeanInterval, PairedDifference
from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.lives_figure import Lives, draw_lives, ended_pairs
from ceas.report.marks import glyph, polyline, tip
from ceas.report.markup import Markup, tag
from ceas.report.network_map import NetworkPicture, draw_network, fidelity_range
from ceas.report.palette import BLUE, FATE_COLOURS, INK, MUTED, ORANGE
from ceas.report.panel import HALF_WIDTH, Frame, Key, chart, reference
from ceas.report.source import Table

__all__ = [
    "fates_figure",
    "frontier_figure",
    "lives_comparison",
    "maps_figure",
    "parameter_text",
    "waits_figure",
    "with_half",
]

_ROW_HEIGHT = 22
_MOST_LIVES = 40
# A bar may run on for as many spans as the births take; what lives longer is cut.
_MOST_SPANS = 2.5
# Shorter waits are none, for all that a shot takes.
_SHORTEST_S = 1e-6


def parameter_text(parameters: object) -> str:
    """Write parameters for people; none for a policy that has its defaults."""
    named = dict(parameters) if isinstance(parameters, dict) else {}
    words = (f"{name} = {('no', 'yes')[value] if isinstance(value, bool) else value}" for name, value in named.items())
    return ", ".join(words) or "defaults"


def with_half(interval: MeanInterval, unit: str = "", *, digits: int = 3) -> str:
    """Write a mean with half of its confidence interval."""
    half = (interval.high - interval.low) / 2
    text = format_number(interval.mean, unit, digits=digits)
    return text + (f" ± {format_number(half, unit, digits=2)}" if math.isfinite(half) else "")


def _measure(study: ScheduleStudy) -> tuple[str, str, str]:
    """Return the metric of value that charts show, its unit and its name."""
    if study.has_bound:
        return "fraction_of_bound", "%", "value, share of the bound"
    return "value_per_round", "", "value a round"


def _style(study: ScheduleStudy, policy: PolicyResult) -> tuple[str, str]:
    """Return colour and glyph of a policy: the one in question, the best baseline, any other."""
    if policy.policy == study.protagonist:
        return BLUE, "circle"
    return (ORANGE, "diamond") if policy is study.main_contest.baseline else (MUTED, "square")


def _keys(study: ScheduleStudy) -> list[Key]:
    baseline = study.main_contest.baseline
    keys = [Key(label=study.protagonist, colour=BLUE, kind="circle")]
    keys += [Key(label=baseline.label, colour=ORANGE, kind="diamond")] if baseline else []
    keys += [Key(label="other baselines", colour=MUTED, kind="square")] if len(study.policies) > 2 else []
    return keys


def _low_end(reported: Sequence[float], shown: Sequence[float], top: float) -> float:
    """Return where an axis of values may begin: at most a quarter of what is reported lies below, left of the axis.

    Args:
        reported: Values of all results.
        shown: Those that have to lie on the axis.
        top: Its other end.
    """
    known = np.array([value for value in reported if math.isfinite(value)])
    if known.size == 0:
        return 0.0
    low = min([float(np.quantile(known, 0.25)), *(value for value in shown if math.isfinite(value))])
    low -= 0.25 * max(top - low, 1e-3 * abs(top))
    # What is nearly on the axis is taken along.
    return min(low, float(known.min())) if known.min() > low - 0.5 * (top - low) else low


def _off_axis(frame: Frame, y: float, text: str, colour: str) -> Markup:
    """Return the value of a result that lies left of the axis, with an arrow."""
    return tag("text", f"← {text}", x=frame.left + 3, y=y + 4, class_="tick", style=f"fill:{colour}")


# ---- value and utilisation -------------------------------------------------------------------------------------------


def _height_of(trial: Trial, metric: str) -> float:
    return trial.fraction_of_bound if metric == "fraction_of_bound" else trial.value_per_round


def _frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of which no other is better in both coordinates, by falling first one."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: (-one[0], -one[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def _trial_marks(study: ScheduleStudy, frame: Frame) -> list[Markup]:
    metric, unit, name = _measure(study)
    parts = []
    for policy, trial in sorted(study.tried(), key=lambda one: _style(study, one[0])[0] != MUTED):
        colour, shape = _style(study, policy)
        text = tip(
            f"{policy.policy}: {parameter_text(trial.parameters)}{' (chosen)' if trial.is_chosen else ''}",
            f"pairs used: {format_number(trial.utilisation, '%')}",
            f"{name}: {format_number(_height_of(trial, metric), unit)}",
            "on the tuning seeds",
        )
        x, y = frame.x.at(trial.utilisation), frame.y.at(_height_of(trial, metric))
        if math.isfinite(x) and _is_on(frame, _height_of(trial, metric)):
            parts.append(glyph(shape, x, y, radius=2.8, colour=colour, filled=False, text=text))
    return parts


def _frontier_lines(study: ScheduleStudy, frame: Frame) -> list[Markup]:
    metric, parts = _measure(study)[0], []
    for is_ours, colour in ((False, MUTED), (True, BLUE)):
        tried = [trial for one, trial in study.tried() if (one.policy == study.protagonist) == is_ours]
        points = [(trial.utilisation, _height_of(trial, metric)) for trial in tried]
        shown = [point for point in points if math.isfinite(point[0]) and _is_on(frame, point[1])]
        kept = np.array(_frontier(shown)).reshape(-1, 2)
        if len(kept) > 1:
            # Steps, because nothing between two points was tried.
            x, y = np.repeat(kept[:, 0], 2)[1:], np.repeat(kept[:, 1], 2)[:-1]
            parts.append(polyline(frame.x(x), frame.y(y), colour, width=1.2))
    return parts


def _reported_mark(study: ScheduleStudy, policy: PolicyResult, frame: Frame) -> list[Markup]:
    metric, unit, name = _measure(study)
    used, value = policy.interval("utilisation"), policy.interval(metric)
    x, y = frame.x.at(used.mean), frame.y.at(value.mean)
    if not (math.isfinite(x) and _is_on(frame, value.mean)):
        return []
    colour, shape = _style(study, policy)
    text = tip(policy.label, f"pairs used: {with_half(used, '%')}", f"{name}: {with_half(value, unit)}")
    ends = np.clip([value.low, value.high], frame.y.axis.low, frame.y.axis.high)
    bars = [polyline([x, x], frame.y(ends), colour, width=1.4)] if value.n_values > 1 else []
    return [*bars, glyph(shape, x, y, radius=5.0, colour=colour, text=text)]


def _main_values(study: ScheduleStudy, metric: str) -> list[float]:
    """Return the values of all results of the policy in question, and of the baselines that it is held against."""
    ours = [one.mean(metric) for one in study.policies if one.policy == study.protagonist]
    return ours + [one.baseline.mean(metric) for one in study.contests() if one.baseline]


def _is_on(frame: Frame, height: float) -> bool:
    return frame.y.axis.low <= height <= frame.y.axis.high


def _scatter(study: ScheduleStudy) -> Markup:
    metric, unit, name = _measure(study)
    reported = [one.mean(metric) for one in study.policies]
    tops = [*reported, *(_height_of(trial, metric) for _, trial in study.tried()), *([1.0] if study.has_bound else [])]
    top = max((value for value in tops if math.isfinite(value)), default=1.0)
    low = _low_end(reported, _main_values(study, metric), top)
    widths = [trial.utilisation for _, trial in study.tried() if _height_of(trial, metric) >= low]
    widths += [one.mean("utilisation") for one in study.policies if one.mean(metric) >= low]
    n_below = sum(value < low for value in tops)

    def draw(frame: Frame) -> list[Markup]:
        mark = frame.x.at(LEAST_UTILISATION)
        parts = [polyline([mark, mark], [frame.top, frame.bottom], MUTED, width=1.3, dash="2 3")]
        parts += [reference(frame, 1.0, "dash")] if study.has_bound else []
        parts += [*_frontier_lines(study, frame), *_trial_marks(study, frame)]
        if n_below:
            note = f"{n_below} marks lie below"
            parts.append(tag("text", note, x=frame.left + 4, y=frame.bottom - 6, class_="tick"))
        ordered = sorted(study.policies, key=lambda one: _style(study, one)[0] != MUTED)
        return parts + [mark for policy in ordered for mark in _reported_mark(study, policy, frame)]

    keys = [*_keys(study), *([Key(label="bound", colour=INK, kind="dash")] if study.has_bound else [])]
    keys += [Key(label=f"{format_number(LEAST_UTILISATION, '%', digits=2)} used", colour=MUTED, kind="dot")]
    words = (
        f"{one.label}: {format_number(one.mean('utilisation'), '%')} used, {format_number(one.mean(metric), unit)}"
        for one in study.by_value()
    )
    return chart(
        draw,
        x=fitted_axis("pairs used", widths, [LEAST_UTILISATION], high=1.04, unit="%"),
        y=Axis(label="", low=low, high=top + 0.05 * (top - low), unit=unit),
        title=f"Pairs used and {name}",
        description="; ".join(words) + ".",
        keys=keys,
        height=380,
    )


def _share_chart(study: ScheduleStudy) -> Markup:
    metric, unit, name = _measure(study)
    rows = study.by_value()
    found = [one.interval(metric) for one in rows]
    top = max([one.mean for one in found if math.isfinite(one.mean)] + ([1.0] if study.has_bound else []), default=1.0)
    low = _low_end([one.mean for one in found], _main_values(study, metric), top)
    high = max([top, *(one.high for one in found if math.isfinite(one.high))])

    def draw(frame: Frame) -> list[Markup]:
        parts = []
        if study.has_bound:
            x = frame.x.at(1.0)
            parts.append(polyline([x, x], [frame.top, frame.bottom], INK, width=1.3, dash="6 4"))
        for row, (policy, value) in enumerate(zip(rows, found, strict=True)):
            y, (colour, shape) = frame.y.at(row + 0.5), _style(study, policy)
            if value.mean < low:
                parts.append(_off_axis(frame, y, format_number(value.mean, unit), colour))
                continue
            if math.isfinite(value.low):
                parts.append(polyline(frame.x([max(value.low, low), value.high]), [y, y], colour, width=2.0))
            text = tip(policy.label, f"{name}: {with_half(value, unit)}")
            if math.isfinite(value.mean):
                parts.append(glyph(shape, frame.x.at(value.mean), y, radius=4.6, colour=colour, text=text))
        return parts

    return chart(
        draw,
        x=Axis(label=name, low=low, high=high + 0.05 * (high - low), unit=unit),
        y=_policy_axis(rows),
        title=f"{name[0].upper()}{name[1:]}, by policy",
        description="; ".join(f"{p.label}: {with_half(v, unit)}" for p, v in zip(rows, found, strict=True)) + ".",
        height=92 + _ROW_HEIGHT * len(rows),
    )


def _policy_axis(rows: Sequence[PolicyResult]) -> Axis:
    return Axis(label="", low=float(len(rows)), high=0.0, names=tuple(one.label for one in rows))


def frontier_figure(study: ScheduleStudy) -> Figure:
    """Return value against utilisation, with what tuning tried, and value by policy."""
    tried = (
        "Small open marks are the parameters that tuning tried, on seeds that no reported run uses; lines join those "
        "that no other beats in both directions. "
        if any(one.trials for one in study.policies)
        else ""
    )
    bound = (
        f"The dashed line is a bound that no policy can pass in the first {study.bound_rounds} rounds, even one that "
        "knows the future; it may lie above what is possible. "
        if study.has_bound
        else ""
    )
    return Figure(
        anchor="frontier",
        heading="Value and utilisation",
        caption="Utilisation alone proves nothing: a policy that makes pairs on demand uses them all. What counts is "
        "to stand far up and right of the dotted line. Large marks are reported runs, means over seeds with 95 % "
        f"confidence intervals. {tried}{bound}",
        charts=(_scatter(study), _share_chart(study)),
    )


# ---- differences and fates -------------------------------------------------------------------------------------------


def _difference_text(difference: PairedDifference, scale: float) -> str:
    mean, half = difference.mean / scale, (difference.student_high - difference.student_low) / 2 / scale
    text = format_number(mean, "%")
    if not math.isfinite(half):
        return text
    return f"{text} ± {format_number(half, '%', digits=2)}, {format_number(errors_of(difference), digits=2)} s.e."


def _differences_chart(study: ScheduleStudy) -> Markup:
    found = [(one, gain) for one in study.by_value() if (gain := study.gain(one)) is not None]
    scales = [gain[0].mean("value_per_round") or math.nan for _, gain in found]
    differences = [gain[1] for _, gain in found]
    means = [one.mean / scale for one, scale in zip(differences, scales, strict=True)]
    ours = [mean for mean, (one, _) in zip(means, found, strict=True) if one.policy == study.protagonist]
    top = max([0.0, *(mean for mean in means if math.isfinite(mean))])
    low = _low_end(means, ours, top)
    # Room for what is written of those left of the axis.
    low -= 0.3 * (top - low) if any(mean < low for mean in means) else 0.0
    ends = [
        max(value / scale, low)
        for one, scale in zip(differences, scales, strict=True)
        for value in (one.mean, one.student_low, one.student_high)
    ]

    def draw(frame: Frame) -> list[Markup]:
        zero = frame.x.at(0.0)
        parts = [polyline([zero, zero], [frame.top, frame.bottom], INK, width=1.2, dash="6 4")]
        for row, ((policy, (baseline, one)), scale) in enumerate(zip(found, scales, strict=True)):
            y, (colour, shape) = frame.y.at(row + 0.5), _style(study, policy)
            if one.mean / scale < low:
                parts.append(_off_axis(frame, y, format_number(one.mean / scale, "%"), colour))
                continue
            if math.isfinite(one.student_low):
                span = frame.x([max(one.student_low / scale, frame.x.axis.low), one.student_high / scale])
                parts.append(polyline(span, [y, y], colour, width=2.0))
            text = tip(policy.label, f"against {baseline.label}: {_difference_text(one, scale)}")
            if math.isfinite(one.mean / scale):
                parts.append(glyph(shape, frame.x.at(one.mean / scale), y, radius=4.6, colour=colour, text=text))
        return parts

    words = (
        f"{policy.label} against {baseline.label}: {_difference_text(one, scale)}"
        for (policy, (baseline, one)), scale in zip(found, scales, strict=True)
    )
    return chart(
        draw,
        x=fitted_axis("difference in value", ends, [0.0], unit="%"),
        y=_policy_axis([policy for policy, _ in found]),
        title="Against the best baseline, paired by seed",
        description="; ".join(words) + ".",
        height=92 + _ROW_HEIGHT * len(found),
    )


def _fates_chart(study: ScheduleStudy) -> Markup:
    rows = study.by_value()
    counts = np.array([[one.mean(fate) for fate in FATE_COLOURS] for one in rows])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)

    def draw(frame: Frame) -> list[Markup]:
        parts = []
        for row, policy in enumerate(rows):
            y, left = frame.y.at(row + 0.5), 0.0
            for fate, share in zip(FATE_COLOURS, shares[row].tolist(), strict=True):
                start, stop = frame.x.at(left), frame.x.at(left + share)
                left += share
                if stop - start > 0.05:
                    box = {"x": start, "y": y - 7.0, "width": stop - start, "height": 14.0}
                    text = tip(policy.label, f"{fate}: {format_number(share, '%')}")
                    parts.append(tag("rect", **box, fill=FATE_COLOURS[fate], data_tip=text))
        return parts

    words = (
        f"{one.label}: {format_number(float(shares[row, -2:].sum()), '%')} expired or discarded"
        for row, one in enumerate(rows)
    )
    return chart(
        draw,
        x=Axis(label="share of the pairs that ended", low=0.0, high=1.04, unit="%"),
        y=_policy_axis(rows),
        title="What became of the pairs",
        description="; ".join(words) + ".",
        keys=[Key(label=fate, colour=colour, kind="area") for fate, colour in FATE_COLOURS.items()],
        height=128 + _ROW_HEIGHT * len(rows),
    )


def fates_figure(study: ScheduleStudy) -> Figure:
    """Return the paired differences to the best baseline, and what became of the pairs."""
    charts = [_differences_chart(study)] if study.main_contest.baseline is not None else []
    return Figure(
        anchor="differences",
        heading="Who is ahead, and where pairs are lost",
        caption="On each seed all policies meet the same links, demands and random numbers, so that differences are "
        "surer than the values themselves; bars are 95 % confidence intervals. The best baseline is the one with the "
        "largest mean value on these very seeds, which favours the baselines; what uses at least 90 % of its pairs is "
        "compared with baselines that do, all else with any. Expired and discarded pairs are losses.",
        charts=(*charts, _fates_chart(study)),
    )


# ---- the network and single pairs ------------------------------------------------------------------------------------


def _compared(study: ScheduleStudy) -> list[PolicyResult]:
    contest = study.main_contest
    return [contest.ours, *([contest.baseline] if contest.baseline else [])]


def _rows_of(table: Table, policy: PolicyResult) -> Table:
    names = zip(table.texts("study_id"), table.texts("parameters"), strict=True)
    wanted = (policy.study_id, parameters_text(policy.parameters))
    return table.where(np.array([name == wanted for name in names], bool))


def _node_tips(nodes: Table) -> list[str]:
    tips = []
    for row in range(len(nodes)):
        number, label = int(nodes.numbers("node")[row]), nodes.texts("label")[row]
        tips.append(
            tip(
                f"node {number}" + (f" ({label})" if label not in (str(number), f"node {number}") else ""),
                f"shots: {format_number(int(nodes.numbers('shots')[row]))}",
                f"memory slots: {int(nodes.numbers('memory_slots')[row])}",
                f"memory coherence time: {format_number(float(nodes.numbers('coherence_time_s')[row]), 's')}",
            )
        )
    return tips


def maps_figure(study: ScheduleStudy) -> Figure:
    """Return the network under the policy in question and under the best baseline."""
    links, nodes = Table(study.links), Table(study.nodes)
    both = [_rows_of(links, one).numbers("fidelity_at_use_mean") for one in _compared(study)]
    ends, charts = fidelity_range(np.concatenate(both)), []
    for policy in _compared(study):
        own = _rows_of(nodes, policy)
        picture = NetworkPicture(
            nodes=own,
            links=_rows_of(links, policy),
            node_tips=_node_tips(own),
            is_byzantine=np.zeros(len(own), bool),
            fidelity_range=ends,
            title=f"Fidelity at use under {policy.label}",
        )
        charts.append(draw_network(picture, HALF_WIDTH))
    means = " and ".join(
        f"{format_number(one.mean('fidelity_at_use_mean'))} under {one.label}" for one in _compared(study)
    )
    return Figure(
        anchor="map",
        heading="The network under both",
        caption=f"Seed {study.seeds[0]}, with one scale of colours: where a link is darker, its pairs were used "
        f"fresher. Over all seeds and uses the mean fidelity is {means}. A grey link served nobody.",
        charts=tuple(charts),
    )


def _busiest_link(pairs: Table) -> int:
    """Return the link with the most pairs used for learning, or if there are none, with the most pairs."""
    link = pairs.integers("link")
    learning = link[np.array([fate == "learning" for fate in pairs.texts("fate")], bool)]
    return int(np.bincount(learning if learning.size else link).argmax())


def lives_comparison(study: ScheduleStudy) -> Figure | None:
    """Return the pairs of one busy link in the same stretch of time under both policies, None where none was traced."""
    traced = ended_pairs(Table(study.pairs))
    found = [_rows_of(traced, one) for one in _compared(study)]
    if any(len(one) == 0 for one in found):
        return None
    link = _busiest_link(found[0])
    found = [one.where(one.integers("link") == link) for one in found]
    if any(len(one) == 0 for one in found):
        return None
    births = [np.sort(one.integers("birth_ns")) for one in found]
    # From two fifths of the traced stretch on, well away from the start of the learning window.
    low, high = max(int(one[0]) for one in births), min(int(one[-1]) for one in births)
    start_ns = low + (high - low) * 2 // 5
    later = [one[one >= start_ns] for one in births]
    last_ns = min(int(one[min(len(one), _MOST_LIVES) - 1]) if len(one) else start_ns for one in later)
    span_ns = max(last_ns - start_ns, 1)
    shown = []
    for one in found:
        born = one.integers("birth_ns")
        rows = np.flatnonzero((born >= start_ns) & (born <= last_ns))
        shown.append(one.take(rows[np.lexsort((one.integers("end_ns")[rows], born[rows]))]))
    last_end_ns = max(int(one.integers("end_ns").max(initial=last_ns)) for one in shown)
    stop_ms = min((last_end_ns - start_ns) * 1.03, _MOST_SPANS * span_ns) / 1e6
    charts, words = [], []
    for policy, pairs, everything in zip(_compared(study), shown, found, strict=True):
        lives = Lives(
            pairs=pairs,
            start_ns=start_ns,
            stop_ms=stop_ms,
            title=f"{len(pairs)} pairs under {policy.label}, oldest at the top",
            axis_label="time (ms)",
            n_rows=max(len(one) for one in shown),
        )
        charts.append(draw_lives(lives, HALF_WIDTH))
        words.append(f"{_median_age(everything)} under {policy.label}")
    ends = Table(study.links)
    row = int(np.flatnonzero(ends.integers("link") == link)[0])
    a, b = int(ends.integers("node_a")[row]), int(ends.integers("node_b")[row])
    return Figure(
        anchor="lives",
        heading="Lives of single pairs",
        caption=f"All pairs of link {link}, between nodes {a} and {b}, that were born in the same "
        f"{format_number(span_ns / 1e9, 's')} of seed {study.seeds[0]}: each bar runs from heralding to the end, which "
        "its colour and glyph name. Short bars that end in a use lost little fidelity; pairs that are made just in "
        f"time wait little. In the whole traced round the median age at use is {' and '.join(words)}.",
        charts=tuple(charts),
    )


def _median_age(pairs: Table) -> str:
    used = np.isin(pairs.texts("fate"), ["learning", "key", "test"])
    age_ns = (pairs.integers("end_ns") - pairs.integers("birth_ns"))[used]
    return format_number(float(np.median(age_ns)) / 1e9, "s") if age_ns.size else "unknown"


# ---- waiting times ---------------------------------------------------------------------------------------------------


def _waits_chart(study: ScheduleStudy, use: str, title: str) -> Markup | None:
    """Return which part of the requests waits longer than a time; None where nobody was served."""
    table, lines = Table(study.waits), []
    for policy in _compared(study):
        rows = _rows_of(table, policy)
        rows = rows.where(np.array([name == use for name in rows.texts("use")], bool))
        count, wait_s = rows.integers("count"), rows.numbers("wait_s")
        if len(rows):
            order = np.argsort(wait_s)
            lines.append((policy, wait_s[order], 1.0 - np.cumsum(count[order]) / count.sum()))
    if not lines:
        return None
    metric = f"{use}_wait_p99_s"

    def draw(frame: Frame) -> list[Markup]:
        parts = [reference(frame, 0.01, "dot", MUTED)]
        for policy, wait_s, longer in lines:
            # Steps, because a count is known at the ends of its bin only.
            x, y = np.repeat(wait_s, 2)[1:], np.repeat(longer, 2)[:-1]
            # Down to the axis and no further: nothing waits longer than the last.
            stop = int(np.argmax(y <= frame.y.axis.low)) + 1
            x, y = x[:stop], np.maximum(y[:stop], frame.y.axis.low)
            on = x >= _SHORTEST_S
            parts.append(polyline(frame.x(x[on]), frame.y(y[on]), _style(study, policy)[0], width=1.8))
        return parts

    words = (f"{one.label}: 99 % wait at most {format_number(one.mean(metric), 's')}" for one, _, _ in lines)
    keys = [Key(label=one.label, colour=_style(study, one)[0]) for one, _, _ in lines]
    return chart(
        draw,
        x=fitted_axis("waiting time", *(wait_s for _, wait_s, _ in lines), low=_SHORTEST_S, is_log=True, unit="s"),
        y=Axis(label="", low=1e-4, high=1.0, is_log=True, unit="%"),
        title=title,
        description="; ".join(words) + ".",
        keys=[*keys, Key(label="1 in 100", colour=MUTED, kind="dot")],
        height=300,
    )


def waits_figure(study: ScheduleStudy) -> Figure | None:
    """Return how long shots and keys wait for their pairs, None where nobody was served."""
    titles = {"shot": "Shots that wait longer", "key": "Served key requests that wait longer"}
    charts = [one for use, title in titles.items() if (one := _waits_chart(study, use, title)) is not None]
    if not charts:
        return None
    return Figure(
        anchor="waits",
        heading="Waiting times",
        caption=f"Seed {study.seeds[0]}: which part of the served requests waited longer than a time, on logarithmic "
        "scales. The lower a line the better; where it crosses the dotted line lies the 99 % quantile. Requests that "
        "nobody served are not in it, so it must be read beside the served shares of the table.",
        charts=tuple(charts),
    )
