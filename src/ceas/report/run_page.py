"""The page of one run."""

from ceas.report.certificate_figure import certificate_figure
from ceas.report.circuit_section import circuit_section
from ceas.report.figure import figures_markup
from ceas.report.learning_figures import accuracy_figure, contraction_figure, weights_figure
from ceas.report.lives_figure import lives_figure
from ceas.report.markup import Markup, join, tag
from ceas.report.page import command_block, contents, document, key_figures, page_header
from ceas.report.pair_figures import fates_figure, fidelity_figure, keys_figure, map_figure
from ceas.report.source import Run, Table
from ceas.report.summary import run_command, run_figures, run_summary
from ceas.report.tables import Cell, number_cell, plain_table, sortable_table, text_cell

__all__ = ["run_page"]

# Heading, column, unit; whole numbers have the unit "#".
_LINK_COLUMNS = (
    ("link", "link", "#"),
    ("node a", "node_a", "#"),
    ("node b", "node_b", "#"),
    ("length", "length_km", "km"),
    ("pairs per s", "pair_rate_hz", ""),
    ("fidelity at birth", "initial_fidelity", ""),
    ("at use", "fidelity_at_use_mean", ""),
    ("certified Werner", "certified_werner", ""),
    ("generated", "generated", "#"),
    ("learning", "learning", "#"),
    ("key", "key", "#"),
    ("test", "test", "#"),
    ("expired", "expired", "#"),
    ("discarded", "discarded", "#"),
    ("alive", "alive", "#"),
    ("key bits made", "key_bits_generated", ""),
    ("key bits used", "key_bits_consumed", ""),
    ("starved", "starved", "#"),
)
_NODE_COLUMNS = (
    ("coherence time", "coherence_time_s", "s"),
    ("memory slots", "memory_slots", "#"),
    ("one-qubit error", "one_qubit_error", ""),
    ("two-qubit error", "two_qubit_error", ""),
    ("readout error", "readout_error", ""),
    ("link used", "learner_link", "#"),
    ("lender", "lender", "#"),
    ("shots", "shots", "#"),
    ("mean weight", "mean_weight", "%"),
    ("mean contraction", "mean_contraction", ""),
)


def _cells(table: Table, columns: tuple[tuple[str, str, str], ...]) -> list[list[Cell]]:
    """Return one list of cells per row; a negative index means that there is none."""
    made = []
    for _, name, unit in columns:
        values = table.numbers(name)
        if unit == "#":
            made.append([number_cell(int(v) if v >= 0 else None) for v in values])
        else:
            made.append([number_cell(float(value), unit) for value in values])
    return [list(row) for row in zip(*made, strict=True)]


def _link_table(run: Run) -> Markup:
    heads = [head for head, _, _ in _LINK_COLUMNS]
    return sortable_table(heads, _cells(run.links, _LINK_COLUMNS), caption="Links. Click a heading to sort.")


def _node_table(run: Run) -> Markup:
    nodes, rows = run.nodes, []
    for row, cells in enumerate(_cells(nodes, _NODE_COLUMNS)):
        is_attacker = bool(nodes.truths("is_byzantine")[row])
        role = text_cell("▲ Byzantine", "attacker") if is_attacker else text_cell("honest")
        number = number_cell(int(nodes.numbers("node")[row]))
        rows.append([number, text_cell(nodes.texts("label")[row]), role, *cells])
    heads = ["node", "label", "role", *(head for head, _, _ in _NODE_COLUMNS)]
    return sortable_table(heads, rows, caption="Nodes. Click a heading to sort.")


def _time_table(run: Run) -> Markup:
    spent = {name: float(seconds) for name, seconds in run.result["rooms_s"].items()}
    total = sum(spent.values()) or 1.0
    rows = []
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        bar = tag("rect", width=100 * seconds / total, height=10, y=1, fill="#0072B2")
        picture = tag("svg", bar, viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")
        rows.append((name, (number_cell(seconds, "s"), number_cell(seconds / total, "%"), picture)))
    return plain_table(["part", "time", "share", ""], rows, caption="Where the wall time went.")


def _facts(run: Run) -> list[tuple[str, str]]:
    result, consensus = run.result, run.result["consensus"]
    return [
        ("scenario", str(result["scenario_id"])),
        ("seed", str(result["seed"])),
        ("ceas", str(result["ceas_version"])),
        (
            "agreement",
            f"{consensus['protocol']}, {consensus['timing']}, up to {consensus['tolerated']} Byzantine nodes",
        ),
    ]


def run_page(run: Run) -> str:
    """Return the page of one run; it depends on the run's files alone."""
    result = run.result
    made = (
        map_figure(run),
        accuracy_figure(run),
        certificate_figure(run),
        fates_figure(run),
        fidelity_figure(run),
        weights_figure(run),
        contraction_figure(run),
        keys_figure(run),
        lives_figure(run),
    )
    figures = [figure for figure in made if figure is not None]
    entries = [("circuit", "Circuit and data")]
    entries += [
        *((figure.anchor, figure.heading) for figure in figures),
        ("tables", "Tables"),
        ("scenario", "Scenario"),
    ]
    header = page_header(
        "Run of a co-simulated training",
        str(result["scenario_name"]),
        _facts(run),
        tag("p", run_summary(run), class_="summary"),
        key_figures(run_figures(run)),
        command_block([run_command(run)], introduction="The same numbers again:"),
        contents(entries),
    )
    tables = tag(
        "section",
        tag("h2", "Tables", id="tables-heading"),
        _link_table(run),
        _node_table(run),
        _time_table(run),
        id="tables",
        aria_labelledby="tables-heading",
    )
    text = tag("details", tag("summary", "Complete scenario, as run"), tag("pre", run.scenario_text, tabindex=0))
    scenario = tag("section", tag("h2", "Scenario", id="scenario-heading"), text, id="scenario")
    title = f"{result['scenario_name']}, seed {result['seed']}"
    body = join((circuit_section(run), figures_markup(figures), tables, scenario))
    return document(title, header, body, version=str(result["ceas_version"]))
