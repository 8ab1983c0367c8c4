"""Figures about learning: accuracy, weights of the learners, and the claims behind them."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ceas.report.axes import Axis, fitted_axis
from ceas.report.figure import Figure
from ceas.report.formatting import format_number
from ceas.report.line_chart import Reference, Series, line_chart
from ceas.report.marks import cloud, glyph, tip
from ceas.report.markup import Markup, tag
from ceas.report.palette import ATTACKER, BLUE, HONEST, INK, MUTED, ORANGE, VERMILLION
from ceas.report.panel import Frame, Key, chart, reference, responsive
from ceas.report.source import Run, known_mean

__all__ = ["accuracy_figure", "accuracy_references", "contraction_figure", "weights_figure"]

_MAXIMUM_CLOUD = 4000
Column = NDArray[np.float64]


def _series(run: Run, column: str, label: str, colour: str, kind: str = "line") -> Series:
    rounds = run.rounds
    return Series(label=label, x=rounds.numbers("round"), values=rounds.numbers(column), colour=colour, kind=kind)


def chance_level(run: Run) -> float:
    """Return the accuracy of a guess among the scenario's classes."""
    return 1 / len(run.scenario["data"]["classes"])


def accuracy_references(logistic: float | None, separable: float | None) -> list[Reference]:
    """Return labelled level lines of the classical reference and of the separable circuit; None and NaN have none."""
    logistic, separable = (math.nan if level is None else level for level in (logistic, separable))
    # Labels at both ends, and the lower of the two below its line, never meet however close the levels are.
    levels = (
        ("logistic regression", logistic, "dash", INK, "end", logistic <= separable),
        ("separable circuit", separable, "dashdot", VERMILLION, "start", separable < logistic),
    )
    return [
        Reference(
            label=f"{label} {format_number(level, '%')}",
            level=level,
            kind=kind,
            colour=colour,
            end=end,
            is_below=is_below,
        )
        for label, level, kind, colour, end, is_below in levels
        if math.isfinite(level)
    ]


def _accuracy_chart(run: Run) -> Markup:
    level = chance_level(run)
    label = f"chance {format_number(level, '%')}"
    chance = Reference(label=label, level=level, kind="dot", colour=MUTED, end="end")
    references = accuracy_references(run.result["test_accuracy_logistic"], run.result["test_accuracy_separable"])
    return line_chart(
        [_series(run, "test_accuracy", "test accuracy", BLUE)],
        title="Test accuracy",
        unit="%",
        low=0.0,
        high=1.0,
        references=[*references, chance],
    )


def accuracy_figure(run: Run) -> Figure:
    """Return accuracy, loss and the quality of the aggregated gradient over training rounds."""
    loss = [
        _series(run, "train_loss", "training samples", ORANGE),
        _series(run, "test_loss", "test samples", BLUE),
    ]
    error = [_series(run, "gradient_squared_error", "squared error", BLUE)]
    alignment = [_series(run, "gradient_alignment", "alignment", BLUE)]
    return Figure(
        anchor="accuracy",
        heading="Accuracy and loss",
        caption="The network learns while the solid line climbs from chance towards the references on the "
        "same features: logistic regression (dashed), and a circuit without entanglers that is trained without noise "
        "(dash-dotted). Only what lies above both can be due to entanglement; below, how far "
        "the aggregated update lies from the exact one (squared error per parameter, lower is better) and how well it "
        "points the same way (cosine, 1 is perfect).",
        charts=(
            _accuracy_chart(run),
            line_chart(loss, title="Loss (cross-entropy)"),
            line_chart(error, title="Squared error of the aggregated update", low=0.0, height=220),
            line_chart(alignment, title="Cosine to the exact update", high=1.0, height=220),
        ),
    )


def _means(run: Run, column: str) -> Column:
    """Return the mean over training rounds of a learner's column; a value that is missing does not count."""
    learners, values = run.learners.numbers("learner").astype(int), run.learners.numbers(column)
    known = np.isfinite(values)
    n_learners = len(run.nodes)
    count = np.bincount(learners[known], minlength=n_learners)
    total = np.bincount(learners[known], weights=values[known], minlength=n_learners)
    return np.asarray(np.divide(total, count, out=np.full(n_learners, np.nan), where=count > 0), np.float64)


def _attacker_keys(honest: str, attacker: str, has_attackers: bool) -> list[Key]:
    keys = [Key(label=honest, colour=HONEST, kind="circle")]
    return [*keys, Key(label=attacker, colour=ATTACKER, kind="triangle")] if has_attackers else keys


def _learner_glyph(x: float, y: float, is_attacker: bool, text: str, filled: bool = True) -> Markup:
    shape, colour = ("triangle", ATTACKER) if is_attacker else ("circle", HONEST)
    radius = 5.4 if is_attacker else 4.2
    return glyph(shape, x, y, radius=radius, colour=colour, filled=filled, text=text)


def _learner_glyphs(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    attackers: NDArray[np.bool_],
    words: Callable[[int], tuple[str, ...]],
) -> list[Markup]:
    """Return a mark for each node that has a place, attackers last, so that they are seen."""
    places = [
        int(node) for node in np.argsort(attackers, kind="stable") if np.isfinite(x[node]) and np.isfinite(y[node])
    ]
    return [
        _learner_glyph(float(x[node]), float(y[node]), bool(attackers[node]), tip(f"node {node}", *words(node)))
        for node in places
    ]


def _weight_bars(run: Run, width: int) -> Markup:
    weight, attackers = _means(run, "weight"), run.nodes.truths("is_byzantine")
    order = np.argsort(-np.nan_to_num(weight), kind="stable")
    place = np.arange(len(order)) + 1.0
    uniform = 1 / len(order)

    def draw(frame: Frame) -> list[object]:
        centres, thick = frame.x(place), 0.62 * (frame.right - frame.left) / len(order)
        parts: list[object] = []
        for node, centre in zip(order, centres, strict=True):
            share, is_attacker = float(weight[node]), bool(attackers[node])
            top = frame.y.at(max(share, 0.0)) if np.isfinite(share) else frame.bottom
            kind = "Byzantine" if is_attacker else "honest"
            text = tip(f"node {node}, {kind}", f"mean weight: {format_number(share, '%')}")
            box = {"x": float(centre - thick / 2), "y": top, "width": float(thick), "height": frame.bottom - top}
            colour = ATTACKER if is_attacker else HONEST
            parts.append(tag("rect", **box, fill=colour, data_tip=text))
            parts += [glyph("triangle", float(centre), top - 7, radius=4.2, colour=ATTACKER)] if is_attacker else []
        return [*parts, reference(frame, uniform, "dash")]

    keys = [Key(label="honest", colour=HONEST, kind="area")]
    keys += [Key(label="Byzantine", colour=ATTACKER, kind="triangle")] if attackers.any() else []
    keys.append(Key(label="equal weights", colour=INK, kind="dash"))
    return chart(
        draw,
        x=Axis(label="learners, from the largest weight to the smallest", low=0.0, high=len(order) + 1.0),
        y=fitted_axis("", weight, [uniform * 1.2], low=0.0, unit="%"),
        title="Mean weight of each learner",
        description=f"{len(order)} learners; {_attackers_in_words(weight, attackers)}",
        keys=keys,
        width=width,
        height=250,
    )


def _attackers_in_words(weight: Column, attackers: NDArray[np.bool_]) -> str:
    if not attackers.any():
        return "none is Byzantine."
    bad, good = known_mean(weight[attackers]), known_mean(weight[~attackers])
    return (
        f"the {int(attackers.sum())} Byzantine ones have mean weight {format_number(bad, '%')}, "
        f"the honest ones {format_number(good, '%')}."
    )


def _weight_against_information(run: Run) -> Markup:
    weight, information = _means(run, "weight"), _means(run, "information")
    attackers = run.nodes.truths("is_byzantine")

    def draw(frame: Frame) -> list[Markup]:
        marks = _learner_glyphs(
            frame.x(information),
            frame.y(weight),
            attackers,
            lambda node: (
                f"certified information: {format_number(float(information[node]))}",
                f"mean weight: {format_number(float(weight[node]), '%')}",
            ),
        )
        return [reference(frame, 1 / len(weight), "dash"), *marks]

    keys = _attacker_keys("honest", "Byzantine", bool(attackers.any()))
    return chart(
        draw,
        x=fitted_axis("certified information per round (log scale)", information, is_log=True),
        y=fitted_axis("", weight, [1 / len(weight)], low=0.0, unit="%"),
        title="Weight against certified information",
        description=_attackers_in_words(weight, attackers),
        keys=[*keys, Key(label="equal weights", colour=INK, kind="dash")],
    )


def _attackers_over_rounds(run: Run) -> Markup:
    share = float(run.nodes.truths("is_byzantine").mean())
    return line_chart(
        [_series(run, "byzantine_weight", "attackers' weight", ATTACKER)],
        title="Total weight of the attackers",
        unit="%",
        low=0.0,
        references=[Reference(label="share of learners", level=share, kind="dash", colour=INK)],
    )


def weights_figure(run: Run) -> Figure:
    """Return who counted how much: per learner, against certified information, and the attackers over time."""
    bars = tag("div", responsive(lambda width: _weight_bars(run, width)), class_="span")
    return Figure(
        anchor="weights",
        heading="Weights of the learners",
        caption="A rule that weighs by certified information puts dots on a rising line; attackers (triangles) are "
        "held down where they lie below the dashed line of equal weights, and their total weight is compared with "
        "their share of the learners.",
        charts=(bars, _weight_against_information(run), _attackers_over_rounds(run)),
    )


def _sampled(n_rows: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _MAXIMUM_CLOUD)).round().astype(np.int64))


def _contraction_chart(run: Run, column: str, title: str) -> Markup:
    learners = run.learners
    true, shown = learners.numbers("contraction"), learners.numbers(column)
    is_bad, rows = learners.truths("is_byzantine"), _sampled(len(learners))
    mean_true, mean_shown = _means(run, "contraction"), _means(run, column)
    attackers = run.nodes.truths("is_byzantine")
    both = (learners.numbers("claimed_contraction"), learners.numbers("certified_contraction"), true)
    ends = fitted_axis("", *both)
    low, high = max(ends.low, 0.0), ends.high

    def draw(frame: Frame) -> list[Markup]:
        parts = [
            tag(
                "path",
                class_="line",
                d=f"M{frame.x.at(low):.1f} {frame.y.at(low):.1f}L{frame.x.at(high):.1f} {frame.y.at(high):.1f}",
                stroke=INK,
                stroke_width=1.2,
                stroke_dasharray="6 4",
            )
        ]
        for kind, colour in ((False, HONEST), (True, ATTACKER)):
            chosen = rows[is_bad[rows] == kind]
            parts.append(cloud(frame.x(true[chosen]), frame.y(shown[chosen]), colour, diameter=2.4, opacity=0.22))
        marks = _learner_glyphs(
            frame.x(mean_true),
            frame.y(mean_shown),
            attackers,
            lambda node: (
                f"true: {format_number(float(mean_true[node]))}",
                f"{title.lower()}: {format_number(float(mean_shown[node]))}",
            ),
        )
        return [*parts, *marks]

    excess = mean_shown - mean_true
    words = f"Mean over honest learners of {title.lower()} minus true: {format_number(known_mean(excess[~attackers]))}."
    if attackers.any():
        words += f" Over attackers: {format_number(known_mean(excess[attackers]))}."
    return chart(
        draw,
        x=Axis(label="true contraction", low=low, high=high),
        y=Axis(label="", low=low, high=high),
        title=title + " contraction",
        description=words,
        keys=[
            *_attacker_keys("honest", "Byzantine", bool(attackers.any())),
            Key(label="equal to true", colour=INK, kind="dash"),
        ],
        height=330,
    )


def contraction_figure(run: Run) -> Figure:
    """Return what learners claimed about their noise and what tests certified, against the truth."""
    return Figure(
        anchor="contraction",
        heading="Claims and certificates",
        caption="Contraction is the factor by which noise shrinks a learner's expectation values. Left, claims above "
        "the dashed line are lies; right, the same after joint tests of Bell pairs bound them: the closer to the line, "
        "the less a lie is worth. Large marks are means of one learner, dots are single rounds.",
        charts=(
            _contraction_chart(run, "claimed_contraction", "Claimed"),
            _contraction_chart(run, "certified_contraction", "Certified"),
        ),
    )
