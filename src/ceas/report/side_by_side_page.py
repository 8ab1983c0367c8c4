"""The page of several runs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceas.report.comparison_figures import series_style
from ceas.report.figure import Figure, figures_markup
from ceas.report.formatting import MISSING, format_number
from ceas.report.line_chart import Series, line_chart
from ceas.report.markup import Markup, join, tag
from ceas.report.page import command_block, contents, document, page_header
from ceas.report.source import Run
from ceas.report.summary import mean_attacker_weight, run_command, run_summary
from ceas.report.tables import Cell, number_cell, plain_table

__all__ = ["side_by_side_page"]

# Title, column, unit and lower end of the charts that show all runs.
_CHARTS = (
    ("Test accuracy", "test_accuracy", "%", 0.0),
    ("Training loss", "train_loss", "", None),
    ("Utilisation", "utilisation", "%", 0.0),
    ("Fidelity at use, mean", "fidelity_at_use_mean", "", None),
    ("Total weight of the attackers", "byzantine_weight", "%", 0.0),
    ("Cosine to the exact update", "gradient_alignment", "", None),
)


def _name(index: int) -> str:
    return f"run {index + 1}"


# Row heading and key of the texts that say what was run.
_TEXTS = (
    ("scenario", "scenario_name"),
    ("scenario id", "scenario_id"),
    ("seed", "seed"),
    ("policy", "policy"),
    ("method", "method"),
    ("attack", "attack"),
    ("ceas", "ceas_version"),
)


def _cell(text: object) -> Cell:
    return Cell(shown=str(text), key="")


def _key_table(runs: Sequence[Run]) -> Markup:
    body = [(name, [_cell(run.result[key]) for run in runs]) for name, key in _TEXTS]
    numbers: tuple[tuple[str, list[float | None], str], ...] = (
        ("test accuracy", [run.result["test_accuracy"] for run in runs], "%"),
        ("accuracy, last five", [run.result["test_accuracy_last5"] for run in runs], "%"),
        ("logistic regression", [run.result["test_accuracy_logistic"] for run in runs], "%"),
        ("separable circuit", [run.result["test_accuracy_separable"] for run in runs], "%"),
        ("utilisation", [run.result["bell_pair_utilisation"] for run in runs], "%"),
        ("delivered value", [run.result["delivered_value"] for run in runs], ""),
        ("fidelity at use, mean", [run.result["fidelity_at_use"]["mean"] for run in runs], ""),
        ("Bell pairs", [run.result["generated_pairs"] for run in runs], ""),
        ("shots", [run.result["shots"] for run in runs], ""),
        ("Byzantine nodes", [run.result["byzantine"]["n"] for run in runs], ""),
        ("attackers' mean weight", [mean_attacker_weight(run) for run in runs], "%"),
        ("gradient alignment", [run.result["gradient_alignment"] for run in runs], ""),
        ("key bits generated", [run.result["key_bits"]["generated"] for run in runs], ""),
        ("key bits consumed", [run.result["key_bits"]["consumed"] for run in runs], ""),
        ("wall time", [run.result["wall_s"] for run in runs], "s"),
    )
    body += [(name, [number_cell(value, unit) for value in values]) for name, values, unit in numbers]
    heads = ["", *(_name(index) for index in range(len(runs)))]
    return plain_table(heads, body, caption="What was run, and what came out.")


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}" if path else key).items()}
    return {path: str(value)}


def _difference_table(runs: Sequence[Run]) -> Markup:
    flat = [_flat(run.scenario) for run in runs]
    keys = sorted({key for one in flat for key in one})
    body = []
    for key in keys:
        values = [one.get(key, MISSING) for one in flat]
        if len(set(values)) > 1:
            body.append((key, [_cell(value) for value in values]))
    if not body:
        return tag("p", "All runs have the same scenario; they differ in their seeds at most.")
    heads = ["key", *(_name(index) for index in range(len(runs)))]
    return plain_table(heads, body, caption="Keys of the scenario in which the runs differ.")


def _chart(runs: Sequence[Run], title: str, column: str, unit: str, low: float | None) -> Markup | None:
    series = []
    for index, run in enumerate(runs):
        values = run.rounds.numbers(column)
        colour, kind = series_style(index)
        if np.isfinite(values).any():
            x = run.rounds.numbers("round")
            series.append(Series(label=_name(index), x=x, values=values, colour=colour, kind=kind))
    high = 1.0 if column in ("test_accuracy", "utilisation") else None
    return line_chart(series, title=title, unit=unit, low=low, high=high) if series else None


def _figure(runs: Sequence[Run]) -> Figure:
    made = (_chart(runs, *specification) for specification in _CHARTS)
    return Figure(
        anchor="rounds",
        heading="Over training rounds",
        caption="One line for each run, in the order of the table; where lines lie together, what differs between the "
        "runs did not matter.",
        charts=tuple(chart for chart in made if chart is not None),
    )


def side_by_side_page(runs: Sequence[Run]) -> str:
    """Return the page of several runs; it depends on their files alone."""
    title = f"{format_number(len(runs))} runs side by side"
    facts = [
        (_name(index), f"{run.result['scenario_name']}, seed {run.result['seed']}") for index, run in enumerate(runs)
    ]
    commands = [run_command(run) for run in runs]
    entries = [("runs", "Runs"), ("rounds", "Over training rounds"), ("scenarios", "Scenarios"), ("words", "In words")]
    header = page_header(
        "Runs side by side",
        title,
        facts,
        command_block(commands, introduction="The same numbers again:"),
        contents(entries),
    )
    words = (
        join((tag("h3", _name(index)), tag("p", run_summary(run), class_="summary"))) for index, run in enumerate(runs)
    )
    body = join(
        (
            tag("section", tag("h2", "Runs"), _key_table(runs), id="runs"),
            figures_markup([_figure(runs)]),
            tag("section", tag("h2", "Scenarios"), _difference_table(runs), id="scenarios"),
            tag("section", tag("h2", "In words"), *words, id="words"),
        )
    )
    return document(title, header, body, version=str(runs[-1].result["ceas_version"]))
