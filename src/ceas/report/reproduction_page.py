"""The page of a reproduction: goals, worst cases by fraction of attackers, heat maps of attacks, and every table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ceas.report.comparison_figures import series_style
from ceas.report.figure import Figure, figures_markup
from ceas.report.formatting import format_number
from ceas.report.heat_map import HeatCell, heat_map
from ceas.report.line_chart import Series, line_chart
from ceas.report.marks import tip
from ceas.report.markup import Markup, join, tag
from ceas.report.page import command_block, contents, document, page_header
from ceas.report.panel import responsive
from ceas.report.tables import Cell, number_cell, plain_table, sortable_table, text_cell

__all__ = ["reproduction_page"]

Row = Mapping[str, Any]

# Of all rivals only so many lines can be told apart; the best ones are drawn.
_MOST_LINES = 6


def reproduction_page(found: Mapping[str, Any]) -> str:
    """Return the page of a reproduction, given the document that it wrote."""
    tables = {table["name"]: table for table in found["tables"]}
    figures = [*_accuracy_figures(tables), *_entanglement_figures(tables)]
    shown = [("goals", "Goals"), *((one.anchor, one.heading) for one in figures)]
    shown += [(table["name"], table["title"]) for table in found["tables"] if table["name"] != "by-attack"]
    facts = [
        ("scenario", found["scenario"]),
        ("plan", found["plan"]),
        ("rounds", format_number(found["rounds"])),
        ("seeds", format_number(len(found["seeds"]))),
        ("ceas", found["ceas_version"]),
    ]
    commands = [found["command"]] if found["command"] else []
    header = page_header(
        "Reproduction",
        "The published claims, measured",
        facts,
        _summary(found),
        command_block(commands, introduction="The same tables again:") if commands else Markup(""),
        contents(shown),
    )
    body = join((_goals(found["claims"]), figures_markup(figures), *(_section(table) for table in found["tables"])))
    return document("Reproduction of the published claims", header, body, version=found["ceas_version"])


def _summary(found: Mapping[str, Any]) -> Markup:
    verdicts = [claim["is_met"] for claim in found["claims"]]
    reached, missed = verdicts.count(True), verdicts.count(False)
    text = f"Of {len(verdicts)} goals {reached} are reached and {missed} are missed"
    text += f"; {len(verdicts) - reached - missed} cannot be told from so few seeds." if None in verdicts else "."
    if found["plan"] == "quick":
        text += " A quick run has too few rounds, seeds and rivals to prove anything."
    return tag("p", text, class_="summary")


def _goals(claims: Sequence[Row]) -> Markup:
    rows = [(_verdict(one["is_met"]), [one["text"], one["measured"]]) for one in claims]
    table = plain_table(["reached", "goal", "measured"], rows, caption="Goals and what was measured.", is_text=True)
    return tag("section", tag("h2", "Goals"), table, id="goals")


def _verdict(is_met: bool | None) -> str:
    return "cannot be told" if is_met is None else "yes" if is_met else "no"


def _section(table: Mapping[str, Any]) -> Markup:
    rows = table["rows"]
    if not rows:
        return Markup("")
    cells = [[_cell(value) for value in row.values()] for row in rows]
    note = [tag("p", table["note"], class_="table-caption under")] if table["note"] else []
    made = sortable_table(list(rows[0]), cells, caption="In brackets: 95 % confidence intervals.")
    return tag("section", tag("h2", table["title"]), made, *note, id=table["name"])


def _cell(value: object) -> Cell:
    if isinstance(value, Mapping):
        return Cell(shown=_interval_text(value), key=repr(value["mean"]))
    if isinstance(value, str):
        return text_cell(value)
    return number_cell(value if isinstance(value, int | float) else None, digits=4)


def _interval_text(value: Row) -> str:
    mean = format_number(value["mean"], digits=4)
    if value["low"] is None:
        return mean
    return f"{mean} [{format_number(value['low'])}, {format_number(value['high'])}]"


def _accuracy_figures(tables: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    if "accuracy" not in tables:
        return []
    worst, by_attack = tables["accuracy"]["rows"], tables["by-attack"]["rows"]
    datasets = list(dict.fromkeys(row["data"] for row in worst))
    return [
        Figure(
            anchor="fractions",
            heading="Worst case against the fraction of attackers",
            caption="Worst case over the attacks, mean over seeds with its 95 % confidence interval. ceas runs on its "
            "own scheduler, all others on the oblivious one; of them the best with most attackers are drawn.",
            charts=tuple(_fractions_chart(worst, dataset) for dataset in datasets),
        ),
        Figure(
            anchor="attacks",
            heading="Every rule under every attack",
            caption="With most attackers, on the oblivious scheduler but for ceas. The outlined cell is a rule's "
            "worst.",
            charts=tuple(_attacks_chart(by_attack, dataset) for dataset in datasets),
            is_wide=True,
        ),
    ]


def _is_shown(row: Row) -> bool:
    return bool((row["scheduler"] == "ceas") == (row["kind"] == "ours"))


def _fractions_chart(rows: Sequence[Row], dataset: str) -> Markup:
    here = [row for row in rows if row["data"] == dataset and _is_shown(row)]
    counts = sorted({_attackers(row) for row in here})
    last = [row for row in here if _attackers(row) == counts[-1]]
    best = sorted(last, key=lambda row: (row["kind"] != "ours", -row["worst case"]["mean"]))[:_MOST_LINES]
    series = []
    for index, name in enumerate(row["rule"] for row in best):
        own = {_attackers(row): row["worst case"] for row in here if row["rule"] == name}
        colour, kind = series_style(index)
        values = {
            end: np.array([math.nan if own[count][end] is None else own[count][end] for count in sorted(own)])
            for end in ("mean", "low", "high")
        }
        has_ends = bool(np.isfinite(values["low"]).all())
        ends = {"low": values["low"], "high": values["high"]} if has_ends else {}
        x = np.array(sorted(own), np.float64)
        series.append(Series(label=name, x=x, values=values["mean"], colour=colour, kind=kind, **ends))
    return line_chart(series, title=f"{dataset}: test accuracy", x_label="attackers of 50", unit="%", low=0, high=1)


def _attackers(row: Row) -> int:
    return int(str(row["attackers"]).split(" ", 1)[0])


def _attacks_chart(rows: Sequence[Row], dataset: str) -> Markup:
    here = [row for row in rows if row["data"] == dataset and _is_shown(row) and row["kind"] != "ceiling"]
    most = max(row["attackers"] for row in here)
    here = [row for row in here if row["attackers"] == most]
    rules, attacks = (list(dict.fromkeys(row[key] for row in here)) for key in ("rule", "attack"))
    found = {(row["rule"], row["attack"]): row for row in here}
    cells = [_heat_row(rule, attacks, found) for rule in rules]
    return responsive(
        lambda width: heat_map(
            cells,
            rows=rules,
            columns=attacks,
            width=width,
            title=f"{dataset}, {most} of 50 attackers: test accuracy (%)",
            description="The tables give all values.",
            mark="worst of the row",
        )
    )


def _heat_row(rule: str, attacks: Sequence[str], found: Mapping[tuple[str, str], Row]) -> list[HeatCell]:
    rows = [found.get((rule, attack)) for attack in attacks]
    means = [math.nan if row is None else row["accuracy"]["mean"] for row in rows]
    least = np.nanargmin(means)
    return [
        HeatCell(
            value=mean,
            number="–" if row is None else format_number(100 * mean, decimals=1),
            text=tip(rule, attack, "not trained" if row is None else _interval_text(row["accuracy"])),
            is_marked=index == least,
        )
        for index, (attack, row, mean) in enumerate(zip(attacks, rows, means, strict=True))
    ]


def _entanglement_figures(tables: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    if "entanglement" not in tables:
        return []
    rows = tables["entanglement"]["rows"]
    charts = []
    for title, column in (("pairs used", "pairs used"), ("value delivered, of the bound", "of the bound")):
        series = []
        for index, kind in enumerate(dict.fromkeys(row["among policies"] for row in rows)):
            own = [row for row in rows if row["among policies"] == kind]
            colour, line = series_style(index)
            values = [math.nan if row[column]["mean"] is None else row[column]["mean"] for row in own]
            x = np.array([row["coherence time (s)"] for row in own], np.float64)
            label = f"ceas {kind}"
            series.append(Series(label=label, x=x, values=np.array(values), colour=colour, kind=line))
        charts.append(line_chart(series, title=title, x_label="coherence time (s)", unit="%", low=0, high=1))
    return [
        Figure(
            anchor="coherence",
            heading="Pairs used and value delivered against the coherence time",
            caption="Mean over seeds. The bound knows the future; nobody can pass it.",
            charts=tuple(charts),
        )
    ]
