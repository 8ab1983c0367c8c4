"""The page of a comparison: methods under attacks, over seeds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ceas.experiments.comparison_store import reference_intervals
from ceas.experiments.statistics import MeanInterval
from ceas.report.comparison_figures import (
    METRIC,
    attack_phrase,
    curves_figure,
    differences_figure,
    heat_map_figure,
    interval_text,
    weights_figure,
)
from ceas.report.figure import figures_markup
from ceas.report.formatting import counted, format_number
from ceas.report.intervals import cell_estimate, clear_differences
from ceas.report.markup import Markup, join, tag
from ceas.report.page import command_block, contents, document, page_header
from ceas.report.source import Comparison, Table
from ceas.report.tables import Cell, number_cell, plain_table, sortable_table, text_cell

__all__ = ["comparison_page"]

# Beyond these, sentences become a list, and all other methods are not named one by one.
_MOST_SENTENCES, _MOST_NAMED = 3, 3
# Heading, column and unit of what the table of all metrics shows.
_METRICS = (
    ("accuracy, last five", "test_accuracy_last5", "%"),
    ("accuracy, last", "test_accuracy", "%"),
    ("training loss", "train_loss", ""),
    ("gradient variance", "gradient_variance", ""),
    ("gradient alignment", "gradient_alignment", ""),
    ("attackers' weight", "byzantine_weight", "%"),
    ("utilisation", "bell_pair_utilisation", "%"),
    ("delivered value", "delivered_value", ""),
    ("to learning", "value_learning", ""),
    ("wall time", "wall_s", "s"),
)


def _in_order(names: Sequence[str]) -> list[str]:
    """Return each name once, in the order in which they first appear."""
    return list(dict.fromkeys(names))


def _accuracy_table(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Markup:
    best = {attack: _best(rows, methods, attack) for attack in attacks}
    body: list[tuple[str, list[Cell]]] = []
    for method in methods:
        cells = []
        for attack in attacks:
            value = cell_estimate(rows, method, attack, METRIC)
            cells.append(
                Cell(shown=interval_text(value), key=repr(value.mean), style="best" if method == best[attack] else "")
            )
        body.append((method, cells))
    caption = (
        "Test accuracy, mean of the last five evaluations: mean over n seeds ± half the 95 % confidence interval "
        "(Student's t). The largest mean under each attack is bold."
    )
    return plain_table(["method", *attacks], body, caption=caption)


def _reference_words(references: Mapping[str, MeanInterval]) -> Markup:
    """Say once what else reaches on the same features; nothing where no reference is known."""
    labels = {
        "test_accuracy_logistic": "logistic regression",
        "test_accuracy_separable": "a separable circuit, without entanglers and trained without noise,",
    }
    words = [f"{labels[name]} reaches {interval_text(found)}" for name, found in references.items()]
    if not words:
        return Markup("")
    return tag(
        "p",
        f"On the same features, {' and '.join(words)}, whatever the method and the attack.",
        class_="table-caption under",
    )


def _best(rows: Table, methods: Sequence[str], attack: str) -> str | None:
    means = {method: cell_estimate(rows, method, attack, METRIC).mean for method in methods}
    known = {method: mean for method, mean in means.items() if math.isfinite(mean)}
    return max(known, key=lambda method: known[method]) if known else None


def _metric_table(rows: Table, methods: Sequence[str], attacks: Sequence[str]) -> Markup:
    body = []
    for attack in attacks:
        for method in methods:
            found = [cell_estimate(rows, method, attack, column) for _, column, _ in _METRICS]
            cells = [number_cell(v.mean, unit) for v, (_, _, unit) in zip(found, _METRICS, strict=True)]
            body.append([text_cell(attack), text_cell(method), number_cell(found[0].n_values), *cells])
    heads = ["attack", "method", "seeds", *(head for head, _, _ in _METRICS)]
    return sortable_table(heads, body, caption="All metrics, means over seeds. Click a heading to sort.")


def _verdict(rows: Table, methods: Sequence[str], attack: str, clear: Mapping[tuple[str, str], float]) -> str:
    first = cell_estimate(rows, methods[0], attack, METRIC)
    text = f"{attack_phrase(attack)}, {methods[0]} reaches {interval_text(first)}"
    differences = {method: clear[method, attack] for method in methods[1:] if (method, attack) in clear}
    above = [method for method, value in differences.items() if value > 0]
    below = [method for method, value in differences.items() if value < 0]
    named = {side: _named(found, len(methods) - 1) for side, found in (("above", above), ("below", below)) if found}
    parts = [f"clearly {side} it: {names}" for side, names in named.items()]
    if len(methods) > 1 and not parts:
        parts = ["no other method differs clearly"]
    return "; ".join((text, *parts)) + "."


def _named(methods: Sequence[str], n_others: int) -> str:
    return f"all {n_others} others" if len(methods) == n_others > _MOST_NAMED else ", ".join(methods)


def _gaps(comparison: Comparison, n_expected: int) -> str:
    missing, text = n_expected - len(comparison.rows), ""
    if missing:
        verb = "is" if missing == 1 else "are"
        text += f" {counted(missing, 'run')} of the full table {verb} missing."
    if other := comparison.n_elsewhere:
        text += f" Not shown: {counted(other, 'run')} in this folder under other settings, which cannot be compared."
    return text


def _summary(comparison: Comparison, methods: Sequence[str], attacks: Sequence[str]) -> Markup:
    rows = comparison.rows
    n_seeds = len(np.unique(rows.integers("seed")))
    clear = clear_differences(rows, methods, attacks, METRIC)
    parts = counted(len(methods), "method"), counted(len(attacks), "attack"), counted(n_seeds, "seed")
    head = (
        f"{counted(len(rows), 'run')} {'compares' if len(rows) == 1 else 'compare'} {parts[0]} under {parts[1]} over "
        f"{parts[2]}. "
        "Numbers are test accuracies, means of the last five evaluations."
    )
    if n_seeds > 1:
        meaning = (
            "They are means over seeds with 95 % confidence intervals. “Clearly” means that the paired t-test rejects "
            "equality at 5 %, corrected for all comparisons (Holm)."
        )
        verdicts = [_verdict(rows, methods, attack, clear) for attack in attacks]
    else:
        meaning, verdicts = "One seed cannot tell a difference from luck, so no method is called better here.", []
    gaps = _gaps(comparison, len(methods) * len(attacks) * n_seeds)
    if len(verdicts) <= _MOST_SENTENCES:
        return tag("p", " ".join([head, meaning, *verdicts]) + gaps, class_="summary")
    points = tag("ul", *(tag("li", verdict) for verdict in verdicts), class_="summary")
    return join((tag("p", f"{head} {meaning}{gaps}", class_="summary"), points))


def comparison_page(comparison: Comparison) -> str:
    """Return the page of a comparison; it depends on its files alone."""
    rows, curves = comparison.rows, comparison.curves
    methods, attacks = comparison.methods, comparison.attacks
    versions = _in_order(rows.texts("ceas_version"))
    references = reference_intervals(rows.columns)
    made = (
        heat_map_figure(rows, methods, attacks),
        curves_figure(curves, methods, attacks, references),
        differences_figure(rows, methods, attacks),
        weights_figure(rows, curves, methods, attacks),
    )
    figures = [figure for figure in made if figure is not None and figure.charts]
    entries = [
        ("table", "Accuracy"),
        *((figure.anchor, figure.heading) for figure in figures),
        ("metrics", "All metrics"),
    ]
    facts = [
        ("scenario", f"{comparison.scenario_name} ({comparison.scenario_id})"),
        ("runs", format_number(len(rows))),
        ("seeds", format_number(len(np.unique(rows.integers("seed"))))),
        ("ceas", ", ".join(versions)),
    ]
    header = page_header(
        "Comparison of methods",
        f"{counted(len(methods), 'method')} under {counted(len(attacks), 'attack')}",
        facts,
        _summary(comparison, methods, attacks),
        command_block([comparison.command], introduction="The same table again:") if comparison.command else Markup(""),
        contents(entries),
    )
    accuracy = _accuracy_table(rows, methods, attacks), _reference_words(references)
    table = tag("section", tag("h2", "Accuracy"), *accuracy, id="table")
    metrics = tag("section", tag("h2", "All metrics"), _metric_table(rows, methods, attacks), id="metrics")
    title = f"Comparison of {', '.join(methods)}"
    return document(title, header, join((table, figures_markup(figures), metrics)), version=versions[-1])
