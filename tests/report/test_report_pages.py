import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from ceas.errors import DomainError, RunDirectoryError
from ceas.experiments.comparison_store import ComparedScenario, note_compared, read_comparison
from ceas.experiments.result_tables import Columns, read_metadata, read_table, write_table
from ceas.experiments.results import RunResult, write_run
from ceas.report import write_report
from ceas.report.comparison_figures import attack_phrase
from ceas.report.lives_figure import _chosen
from ceas.report.panel import text_width

ATTACKERS = {4, 11, 17, 23, 24, 30, 38, 41, 45, 49}
HOSTILE_NAME = 'headline <script>alert("x")</script> & co'
VOID = {"meta", "br", "hr", "input"}
SHAPES = {"path", "line", "rect", "circle", "polyline"}
THIN = "\u202f"
Element = dict[str, Any]


def parts(pattern: str, text: str) -> tuple[str, ...]:
    """Return the groups of a pattern's first place in a text."""
    found = re.search(pattern, text)
    assert found is not None
    return found.groups()


def part(pattern: str, text: str) -> str:
    """Return the only group of a pattern's first place in a text."""
    (found,) = parts(pattern, text)
    return found


class Page(HTMLParser):
    """A page as a list of elements with their attributes, own text and ancestors; unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "text": "", "up": self._open[-1] if self._open else None, **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, inside: Element | None = None, **wanted: Any) -> list[Element]:
        return [
            one
            for one in self.elements
            if one["tag"] == tag
            and all(wanted[key] in one.get(key.rstrip("_").replace("_", "-"), "").split(" ") for key in wanted)
            and (inside is None or self.is_inside(one, inside))
        ]

    def one(self, tag: str, inside: Element | None = None, **wanted: Any) -> Element:
        (found,) = self.all(tag, inside, **wanted)
        return found

    def is_inside(self, element: Element | None, ancestor: Element) -> bool:
        while element is not None and element is not ancestor:
            element = element["up"]
        return element is ancestor

    def chart(self, title: str) -> Element:
        """Return the first chart whose description begins with the title."""
        return next(one for one in self.all("svg", class_="chart") if one["aria-label"].startswith(title))


def page_of(*directories: Path, out: Path | None = None) -> Page:
    return Page(write_report(list(directories), out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run_page(run_directory: Path) -> Page:
    return page_of(run_directory)


@pytest.fixture(scope="module")
def compare_page(compare_directory: Path) -> Page:
    return page_of(compare_directory)


@pytest.fixture(scope="module")
def side_page(run_directory: Path, other_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(run_directory, other_directory, out=tmp_path_factory.mktemp("side") / "page.html")


@pytest.fixture(scope="module")
def schedule_page(schedule_directory: Path) -> Page:
    return page_of(schedule_directory)


@pytest.fixture(scope="module")
def benchmark_page(benchmark_directory: Path) -> Page:
    return page_of(benchmark_directory)


@pytest.fixture(scope="module")
def learning_page(learning_benchmark_directory: Path) -> Page:
    return page_of(learning_benchmark_directory)


@pytest.fixture(
    params=["run_page", "compare_page", "side_page", "schedule_page", "benchmark_page", "learning_page"],
)
def any_page(request: pytest.FixtureRequest) -> Page:
    page: Page = request.getfixturevalue(request.param)
    return page


def test_a_page_needs_nothing_else(any_page: Page) -> None:
    """No element loads anything, links stay in the page, and the page's own policy forbids the rest."""
    for element in any_page.elements:
        assert not element.keys() & {"src", "srcset", "xlink:href", "action", "data", "poster", "background"}
        assert element["tag"] not in {"link", "iframe", "object", "embed", "image", "use", "base", "img"}
        if "href" in element:
            assert element["href"].startswith("#")
    (style,), (script,) = any_page.all("style"), any_page.all("script")
    assert not re.search(r"url\(|@import|https?:", style["text"])
    assert not re.search(r"fetch|XMLHttpRequest|import\(|https?:|WebSocket", script["text"])
    assert any("default-src 'none'" in one.get("content", "") for one in any_page.all("meta"))
    assert len(any_page.source.encode()) < 6e6


def test_links_within_a_page_lead_somewhere_and_ids_are_unique(any_page: Page) -> None:
    ids = Counter(one["id"] for one in any_page.elements if "id" in one)
    assert set(ids.values()) == {1}
    assert all(one["href"][1:] in ids for one in any_page.all("a"))
    assert all(one["aria-labelledby"] in ids for one in any_page.elements if "aria-labelledby" in one)


def test_every_chart_is_described_and_every_figure_has_a_caption(any_page: Page) -> None:
    charts = any_page.all("svg", class_="chart")
    assert charts
    for chart in charts:
        assert chart["role"] == "img"
        assert len(chart["aria-label"]) > 30
    for figure in any_page.all("figure"):
        caption = any_page.one("figcaption", figure)
        assert re.match(r"Figure \d+\. .{40}", caption["text"])
    assert next(one["tag"] for one in any_page.elements if one["tag"] in ("h1", "h2")) == "h1"
    assert len(any_page.all("h1")) == 1


def test_what_spans_the_column_has_a_twin_for_narrow_screens(any_page: Page) -> None:
    wide, narrow = any_page.all("div", class_="wide"), any_page.all("div", class_="narrow")
    assert len(wide) == len(narrow)
    for block, width in [(one, 880) for one in wide] + [(one, 420) for one in narrow]:
        assert any_page.one("svg", block)["viewbox"].split()[2] == str(width)
    loose = [one for one in any_page.all("svg", class_="chart") if one["up"] not in wide + narrow]
    assert {one["viewbox"].split()[2] for one in loose} <= {"420"}


def test_no_text_leaves_its_chart(any_page: Page) -> None:
    """Widths are those of DejaVu Sans, wider than other system fonts; bold titles are larger still."""
    for chart in any_page.all("svg", class_="chart"):
        width = float(chart["viewbox"].split()[2])
        for text in any_page.all("text", chart):
            if "transform" in text:
                continue
            size = text_width(text["text"]) * (1.25 if text.get("class") == "title" else 1.0)
            share = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")]
            left = float(text["x"]) - share * size
            assert left >= -4, text["text"]
            assert left + size <= width + 4, text["text"]


def test_wide_content_scrolls_in_its_own_box(any_page: Page) -> None:
    for table in any_page.all("table"):
        box = table["up"]
        assert "scroll" in box["class"]
        assert (box["tabindex"], box["role"]) == ("0", "region")
        assert box["aria-label"]


def test_rows_are_as_long_as_their_heads_and_sortable_cells_carry_their_value(any_page: Page) -> None:
    for table in any_page.all("table"):
        heads = any_page.all("th", any_page.one("thead", table))
        assert all(head["scope"] == "col" for head in heads)
        for row in any_page.all("tr", any_page.one("tbody", table)):
            cells = [one for one in any_page.elements if one["up"] is row]
            assert len(cells) == len(heads)
            if "sortable" in table["class"]:
                assert all("data-value" in cell for cell in cells)


def test_a_page_is_the_same_bytes_when_made_again_and_elsewhere(
    run_directory: Path, compare_directory: Path, schedule_directory: Path, tmp_path: Path
) -> None:
    for directory in (run_directory, compare_directory, schedule_directory):
        copy = shutil.copytree(directory, tmp_path / directory.name)
        first = write_report([directory], tmp_path / "first.html").read_bytes()
        assert write_report([copy], tmp_path / "second.html").read_bytes() == first
        assert str(tmp_path).encode() not in first


def test_a_page_is_written_beside_its_results_unless_told_otherwise(
    run_directory: Path, other_directory: Path, tmp_path: Path
) -> None:
    assert write_report([run_directory]) == run_directory / "report.html"
    assert write_report([run_directory, other_directory]) == run_directory / "side_by_side.html"
    out = tmp_path / "new" / "page.html"
    assert write_report([run_directory], out) == out
    assert out.is_file()


def test_text_from_outside_is_shown_and_never_becomes_markup(run_page: Page, side_page: Page) -> None:
    for page in (run_page, side_page):
        assert len(page.all("script")) == 1
        assert "<script>alert" not in page.source
        assert not [one for one in page.all("b") if one["text"] == "city"]
    assert run_page.one("h1")["text"] == HOSTILE_NAME
    assert run_page.one("title")["text"] == f"{HOSTILE_NAME}, seed 7"
    assert "<b>city</b> 12" in {one["text"] for one in run_page.all("td")}


def test_the_head_of_a_page_has_the_facts_and_key_figures(run_page: Page) -> None:
    meta = run_page.one("p", class_="meta")["text"]
    assert "scenario b7c91f20aa31" in meta
    assert "seed 7" in meta
    assert "ceas 0.1.0" in meta
    strip = run_page.one("dl", class_="strip")
    values = {one["up"]["text"]: one for one in run_page.all("dt", strip)}
    assert len(values) == 7
    shown = strip["text"]
    assert f"64{THIN}000" in shown
    assert f"16{THIN}200" in shown
    assert f"41.7{THIN}s" in shown
    assert run_page.one("code")["text"] == "ceas run headline --seed 7 --set byzantine.n_byzantine=10"
    assert run_page.one("button", class_="copy")["text"] == "Copy"


def test_the_summary_says_in_words_what_the_numbers_say(run_page: Page, finished_run: RunResult) -> None:
    text = run_page.one("p", class_="summary")["text"].replace(THIN, " ")
    accuracy, logistic = finished_run.summary["test_accuracy_last5"], finished_run.summary["test_accuracy_logistic"]
    assert f"{100 * accuracy:.1f} % on average over the last five" in text
    assert f"{100 * (logistic - accuracy):.1f} percentage points short of logistic regression" in text
    assert "10 of 50 nodes attacked (“inner_product_manipulation”)" in text
    weight = finished_run.rounds["byzantine_weight"].mean()
    assert f"{100 * weight:.2f} % of the weight on average, against their 20.0 % of the learners" in text
    assert "consumed 15 000 key bits; pairs yielded 16 200 and 17 408 were enrolled" in text
    assert "300 messages stayed unsent" in text
    n_starved = int((finished_run.links["starved"] > 0).sum())
    assert f"{n_starved} of 68 links ran short of key" in text


def test_attackers_are_marked_by_shape_in_the_map_and_the_weights(run_page: Page) -> None:
    for block in run_page.all("svg", class_="chart"):
        if not block["aria-label"].startswith("Map of the network"):
            continue
        marked = [one for one in run_page.all("path", block, data_shape="triangle") if "data-tip" in one]
        found = {int(part(r"node (\d+)", one["data-tip"])) for one in marked}
        assert found == ATTACKERS
        assert all("Byzantine" in one["data-tip"] for one in marked)
        honest = [one for one in run_page.all("path", block, data_shape="circle") if "data-tip" in one]
        assert len(honest) == 40
    bars = run_page.chart("Mean weight of each learner")
    # One triangle above each bar of an attacker, and one in the legend.
    assert len(run_page.all("path", bars, data_shape="triangle")) == len(ATTACKERS) + 1
    roles = [one["up"]["text"] for one in run_page.all("td", class_="attacker")]
    assert len(roles) == len(ATTACKERS)


def test_weight_bars_fall_from_the_largest_and_are_as_high_as_the_weights(
    run_page: Page, finished_run: RunResult
) -> None:
    bars = [one for one in run_page.all("rect", run_page.chart("Mean weight of each learner")) if "data-tip" in one]
    heights = [float(one["height"]) for one in bars]
    assert heights == sorted(heights, reverse=True)
    weight = finished_run.learners["weight"].reshape(-1, 50).mean(axis=0)
    nodes = [int(part(r"node (\d+)", one["data-tip"])) for one in bars]
    assert nodes == np.argsort(-weight, kind="stable").tolist()
    assert np.array(heights) / heights[0] == pytest.approx(weight[nodes] / weight.max(), abs=2e-4)


def test_used_links_are_coloured_and_unused_ones_thin_and_grey(run_page: Page, finished_run: RunResult) -> None:
    lines = run_page.all("line", run_page.chart("Map of the network"))
    assert len(lines) == 68
    used = np.isfinite(finished_run.links["fidelity_at_use_mean"]) & (finished_run.links["generated"] > 0)
    grey = [one for one in lines if "unused" in one["class"]]
    assert len(grey) == int((~used).sum())
    assert {(one["stroke"], one["stroke-width"]) for one in grey} == {("#c3c9d0", "1")}
    widths = {int(part(r"link (\d+)", one["data-tip"])): float(one["stroke-width"]) for one in lines}
    fastest = int(np.argmax(np.where(used, finished_run.links["pair_rate_hz"], 0)))
    assert widths[fastest] == max(widths.values()) == 7.0


def test_rounds_without_an_evaluation_have_no_point(run_page: Page, finished_run: RunResult) -> None:
    dots = run_page.all("path", run_page.chart("Test accuracy"), class_="cloud")
    evaluated = int(np.isfinite(finished_run.rounds["test_accuracy"]).sum())
    assert 0 < evaluated < 100
    assert [one["d"].count("h0") for one in dots] == [evaluated]
    # One unbroken line joins them.
    lines = [one["d"] for one in run_page.all("path", run_page.chart("Test accuracy"), class_="line")]
    assert [d.count("L") for d in lines if "H" not in d and "h" not in d] == [evaluated - 1]


def test_reference_lines_stand_where_they_belong(run_page: Page) -> None:
    chart = run_page.chart("Test accuracy")
    ticks = {one["text"].replace(THIN, ""): float(one["y"]) - 4 for one in run_page.all("text", chart, class_="tick")}
    zero, full = ticks["0%"], ticks["100%"]
    dashed = {
        one["stroke-dasharray"]: one for one in run_page.all("path", chart, class_="line") if "stroke-dasharray" in one
    }
    levels = {
        dash: (zero - float(part(r"M[\d.]+ ([\d.]+)H", one["d"]))) / (zero - full)
        for dash, one in dashed.items()
        if "H" in one["d"]
    }
    assert levels["6 4"] == pytest.approx(0.944, abs=0.001)
    assert levels["9 3 2 3"] == pytest.approx(0.917, abs=0.001)
    assert levels["2 3"] == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(
    ("logistic", "separable"), [(0.944, 0.917), (0.93, 0.93), (0.8, 0.85), (None, 0.9), (0.9, None)]
)
def test_labels_of_reference_lines_name_them_and_never_meet(
    logistic: float | None, separable: float | None, finished_run: RunResult, tmp_path: Path
) -> None:
    levels = {"test_accuracy_logistic": logistic, "test_accuracy_separable": separable}
    result = replace(finished_run, summary={**finished_run.summary, **levels})
    write_run(tmp_path / "run", result)
    page = page_of(tmp_path / "run")
    labels = page.all("text", page.chart("Test accuracy"), class_="on-line")
    wanted = [("logistic regression", logistic), ("separable circuit", separable), ("chance", 0.25)]
    assert [one["text"].replace(THIN, " ") for one in labels] == [
        f"{name} {100 * level:.1f} %" for name, level in wanted if level is not None
    ]
    places = {one["text"].split()[0]: (one["text-anchor"], float(one["y"])) for one in labels}
    if None not in (logistic, separable):
        assert places["logistic"][0] != places["separable"][0]
        assert abs(places["logistic"][1] - places["separable"][1]) > 12


def test_the_circuit_its_cut_the_data_and_the_engines_are_shown(run_page: Page, finished_run: RunResult) -> None:
    text = run_page.one("section", id="circuit")["text"].replace(THIN, " ")
    assert run_page.one("pre", class_="drawing")["text"].splitlines() == finished_run.summary["circuit"]["drawing"]
    assert "2 qubits, 2 inputs, 4 parameters, 8 gates" in text
    assert "2 of them on two qubits, depth 5" in text
    assert "a shot takes 2 Bell pairs (2 telegates)" in text
    assert "trajectories needs 99 GiB." in text
    assert "file a<b>.csv, SHA-256 0123" in text
    assert "classes 0, <i>, 2, 3" in text


@pytest.mark.parametrize(
    ("kind", "uses", "said"),
    [
        ("data", (0, 0), "Every learner runs the whole circuit on its own processor (partition “data”)"),
        ("layer", (0, 4), "a shot takes 4 Bell pairs (4 moved qubits)."),
        ("qubit", (1, 0), "a shot takes 1 Bell pair (1 telegate)."),
        ("auto", (2, 1), "a shot takes 3 Bell pairs (2 telegates and 1 moved qubit)."),
        ("auto", (0, 0), "a shot takes 0 Bell pairs."),
    ],
)
def test_what_a_shot_costs_is_said(
    kind: str, uses: tuple[int, int], said: str, finished_run: RunResult, tmp_path: Path
) -> None:
    telegates, teledata = uses
    cut = {"kind": kind, "telegates": telegates, "teledata": teledata, "pairs_per_shot": telegates + teledata}
    partition = {**finished_run.summary["partition"], **cut}
    result = replace(finished_run, summary={**finished_run.summary, "partition": partition})
    write_run(tmp_path / "run", result)
    section = page_of(tmp_path / "run").one("section", id="circuit")
    assert said in section["text"].replace(THIN, " ")


def test_fates_are_stacked_to_the_number_of_pairs_that_ended(run_page: Page, finished_run: RunResult) -> None:
    chart = run_page.chart("Pairs that ended")
    areas = [one for one in run_page.all("path", chart) if one.get("fill-opacity") == "1" and "z" in one["d"]]
    assert len(areas) == 6
    tops = [float(part(r"M[\d.]+ ([\d.]+)", one["d"])) for one in areas]
    fates = ("learning", "key", "test", "route", "expired", "discarded")
    first = np.cumsum([finished_run.rounds[fate][0] for fate in fates])
    floor = float(part(r"([\d.]+)z", areas[0]["d"]))
    assert (floor - np.array(tops)) / (floor - tops[-1]) == pytest.approx(first / first[-1], abs=2e-3)
    tip = next(one["data-tip"] for one in run_page.all("rect", chart, class_="hover"))
    assert f"learning: {finished_run.rounds['learning'][0]}" in tip


def test_lies_lie_above_the_line_and_certificates_on_it(run_page: Page) -> None:
    excess = {}
    for name in ("Claimed", "Certified"):
        chart = run_page.chart(f"{name} contraction")
        marks = [one for one in run_page.all("path", chart, data_shape="triangle") if "data-tip" in one]
        assert len(marks) == len(ATTACKERS)
        values = [[float(v) for v in re.findall(r": ([\d.]+)", one["data-tip"])] for one in marks]
        excess[name] = np.mean([shown - true for true, shown in values])
    assert excess["Claimed"] > 0.2
    assert abs(excess["Certified"]) < 0.05


def test_lives_are_whole_bars_in_the_order_of_birth(run_page: Page, finished_run: RunResult) -> None:
    chart = run_page.chart("Lives of")
    bars = run_page.all("path", chart, class_="life")
    assert 12 <= len(bars) <= 60
    ends = [[float(v) for v in parts(r"M([\d.]+) [\d.]+H([\d.]+)", one["d"])] for one in bars]
    assert all(start <= end for start, end in ends)
    assert [start for start, _ in ends] == sorted(start for start, _ in ends)
    ids = [int(part(r"pair (\d+)", one["data-tip"])) for one in bars]
    # Pairs of the trace follow one another in birth; those shown are neighbours.
    assert np.diff(ids).tolist() == [25] * (len(ids) - 1)
    place = {int(pair): row for row, pair in enumerate(finished_run.pairs["pair_id"])}
    life_ns = np.array([finished_run.pairs["end_ns"][place[i]] - finished_run.pairs["birth_ns"][place[i]] for i in ids])
    lengths = np.array([end - start for start, end in ends])
    assert lengths / lengths.max() == pytest.approx(life_ns / life_ns.max(), abs=5e-3)
    for one, pair in zip(bars, ids, strict=True):
        assert one["data-tip"].split("\n")[0].endswith(finished_run.pairs["fate"][place[pair]])


def test_ages_of_all_traced_pairs_are_shown_with_their_medians(run_page: Page, finished_run: RunResult) -> None:
    chart = run_page.chart("Age of all traced pairs")
    age_ms = (finished_run.pairs["end_ns"] - finished_run.pairs["birth_ns"]) / 1e6
    fates = np.array(finished_run.pairs["fate"])
    shown = [one["d"].count("h0") for one in run_page.all("path", chart, class_="cloud")]
    names = ("learning", "key", "test", "expired", "discarded")
    assert shown == [min(int((fates == name).sum()), 1500) for name in names]
    expired = f"median {np.median(age_ms[fates == 'expired']):.1f}{THIN}ms"
    assert expired in chart["aria-label"]
    assert len(run_page.all("path", chart, class_="line")) == len(names)


def test_pairs_without_an_age_are_counted_where_a_log_axis_cannot_show_them(
    finished_run: RunResult, tmp_path: Path
) -> None:
    ends = finished_run.pairs["end_ns"].copy()
    ends[:7] = finished_run.pairs["birth_ns"][:7]
    write_run(tmp_path / "run", replace(finished_run, pairs={**finished_run.pairs, "end_ns": ends}))
    page = page_of(tmp_path / "run")
    assert "7 used at once not shown" in page.chart("Age of all traced pairs")["text"]


def test_lives_are_taken_from_the_busiest_stretch() -> None:
    ids = _chosen(np.array([900, 0, 100, 200, 210, 220, 230, 500]) * 10**6, np.full(8, 10**9))
    assert ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    births = np.concatenate([np.arange(0, 4000, 100), 4000 + np.arange(60), np.arange(5000, 9000, 100)])
    assert _chosen(births, births + 10**6).tolist() == list(range(40, 100))
    shuffled = np.random.default_rng(5).permutation(len(births))
    chosen = _chosen(births[shuffled], births[shuffled] + 10**6)
    assert births[shuffled][chosen].tolist() == list(range(4000, 4060))
    # So thin a trace that bars would vanish beside the gaps: fewer pairs.
    assert len(_chosen(10 * births, 10 * births + 1)) == 12


def test_tables_hold_every_link_and_node_and_the_whole_scenario(run_page: Page, run_directory: Path) -> None:
    links, nodes = run_page.all("table", class_="sortable")
    assert len(run_page.all("tr", run_page.one("tbody", links))) == 68
    assert len(run_page.all("tr", run_page.one("tbody", nodes))) == 50
    assert run_page.one("pre", run_page.one("details"))["text"] == (run_directory / "scenario.toml").read_text(
        encoding="utf-8"
    )


def honest(run: RunResult) -> RunResult:
    flat = np.zeros(len(run.nodes["node"]), bool)
    return replace(
        run,
        summary={**run.summary, "byzantine": {"n": 0, "attack": "none", "tolerated": 0, "nodes": []}},
        nodes={**run.nodes, "is_byzantine": flat},
        learners={**run.learners, "is_byzantine": np.zeros(len(run.learners["round"]), bool)},
    )


def short(table: Columns, n_rows: int) -> Columns:
    return {name: values[:n_rows] for name, values in table.items()}


def blank(table: Columns, *kept: str) -> Columns:
    """Return a table in which nothing was measured."""
    return {
        name: np.full(len(values), np.nan) if np.asarray(values).dtype == np.float64 and name not in kept else values
        for name, values in table.items()
    }


def unmeasured(run: RunResult) -> RunResult:
    names = ("test_accuracy", "test_accuracy_last5", "train_loss", "test_accuracy_logistic", "test_accuracy_separable")
    missing = dict.fromkeys((*names, "bell_pair_utilisation", "delivered_value"))
    nothing = {"fates": dict.fromkeys(run.summary["fates"], 0), "fidelity_at_use": {"mean": None, "p05": None}}
    return replace(
        run,
        summary={**run.summary, **missing, **nothing},
        rounds=blank(run.rounds, "time_s"),
        learners=blank(run.learners),
        links=blank(run.links, "length_km"),
        nodes=blank(run.nodes, "x", "y"),
        pairs=short(run.pairs, 0),
    )


def refused(run: RunResult, *, n_steps: int = 100) -> dict[str, Any]:
    """Return the run's certificate without a bound, cut to some steps."""
    found = dict(run.certificate or {})
    for name in ("curves", "measurements"):
        found[name] = short(found[name], n_steps)
    found["curves"] = {**found["curves"], "bound": [None] * n_steps}
    reasons = ["the optimiser is <adam>"]
    return {**found, "status": "refused", "reasons": reasons, "holds": None, "looseness": None}


def test_the_bound_of_a_certificate_is_drawn_above_what_was_measured(run_page: Page, finished_run: RunResult) -> None:
    assert finished_run.certificate is not None
    chart = run_page.chart("Mean squared gradient")
    bound, measured = (one["d"] for one in run_page.all("path", chart, class_="line") if "L" in one["d"])
    heights = [np.array(re.findall(r"[ML]?[\d.]+ ([\d.]+)", one)[:5], float) for one in (bound, measured)]
    assert np.all(heights[0] < heights[1])
    caption = next(one["text"] for one in run_page.all("figcaption") if "certified" in one["text"])
    share = 100 * finished_run.certificate["looseness"]
    assert f"the measured mean ends at {share:.3g}" in caption.replace(THIN, " ")
    assert "and its bound" in caption
    assert "proved 0.333" in run_page.chart("Kappa of each round")["text"]


def test_a_refused_or_violated_certificate_is_said_to_be(finished_run: RunResult, tmp_path: Path) -> None:
    write_run(tmp_path / "refused", replace(finished_run, certificate=refused(finished_run)))
    page = page_of(tmp_path / "refused")
    caption = next(one["text"] for one in page.all("figcaption") if "certified" in one["text"])
    assert "No bound is certified: the optimiser is <adam>." in caption
    # No bound is drawn, so none is explained.
    assert "and its bound" not in caption
    assert "bound:" not in page.chart("Mean squared gradient")["aria-label"]
    broken = {**(finished_run.certificate or {}), "holds": False, "contradicted": ["kappa: 2 was measured, above 1"]}
    write_run(tmp_path / "violated", replace(finished_run, certificate=broken))
    assert "It is VIOLATED: kappa: 2 was measured, above 1." in page_of(tmp_path / "violated").source


@pytest.mark.parametrize(
    ("change", "said", "n_figures"),
    [
        (honest, "All nodes were honest.", 9),
        (unmeasured, "never evaluated", 8),
        (lambda run: replace(run, pairs=short(run.pairs, 0), pair_sampling=0), "Bell pairs were generated", 8),
        (lambda run: replace(run, pairs=short(run.pairs, 1)), "Bell pairs were generated", 9),
        (lambda run: replace(run, rounds=short(run.rounds, 1), learners=short(run.learners, 50)), "attacked", 9),
        (lambda run: replace(run, summary={**run.summary, "test_accuracy_last5": 0.2}), "It did not learn", 9),
        (
            lambda run: replace(run, rounds={**run.rounds, "byzantine_weight": np.full(100, 0.5)}),
            f"got 50.0{THIN}% of the weight on average, more than their",
            9,
        ),
        (lambda run: replace(run, certificate=None), "attacked", 8),
        (lambda run: replace(run, certificate=refused(run)), "attacked", 9),
        (lambda run: replace(run, certificate=refused(run, n_steps=0)), "attacked", 8),
    ],
    ids=[
        *("honest", "unmeasured", "no trace", "one pair", "one round", "no learning", "strong attackers"),
        *("earlier version", "refused certificate", "no step"),
    ],
)
def test_pages_of_unusual_runs_are_whole_and_say_so(
    change: Callable[[RunResult], RunResult], said: str, n_figures: int, finished_run: RunResult, tmp_path: Path
) -> None:
    write_run(tmp_path / "run", change(finished_run))
    page = page_of(tmp_path / "run")
    assert said in page.one("p", class_="summary")["text"]
    assert len(page.all("figure")) == n_figures
    body = page.source.split("<script>")[0]
    assert not re.search(r"(?<![a-zA-Z])(nan|inf|None)(?![a-zA-Z])", body)


def test_a_run_started_from_python_repeats_from_its_own_scenario(finished_run: RunResult, tmp_path: Path) -> None:
    write_run(tmp_path / "run", replace(finished_run, summary={**finished_run.summary, "command": ""}))
    assert page_of(tmp_path / "run").one("code")["text"] == "ceas run scenario.toml --seed 7"


def test_an_honest_run_shows_no_attacker(finished_run: RunResult, tmp_path: Path) -> None:
    write_run(tmp_path / "run", honest(finished_run))
    page = page_of(tmp_path / "run")
    assert not page.all("path", data_shape="triangle")
    assert not page.all("td", class_="attacker")


def test_a_comparison_has_means_and_student_intervals(compare_page: Page, compare_directory: Path) -> None:
    rows = read_table(compare_directory / "compare.parquet", "compare")
    table = next(one for one in compare_page.all("table") if "sortable" not in one["class"])
    heads = [one["text"] for one in compare_page.all("th", compare_page.one("thead", table))]
    assert heads == ["method", "none", "sign_flip", "inner_product_manipulation"]
    body = compare_page.all("tr", compare_page.one("tbody", table))
    assert [compare_page.one("th", row)["text"] for row in body] == [
        "fidelity_weighted",
        "mean",
        "coordinate_median",
        "krum",
    ]
    chosen = (rows["method"] == "mean") & (rows["attack"] == "sign_flip")
    values = rows["test_accuracy_last5"][chosen]
    half = stats.t.ppf(0.975, 4) * stats.sem(values)
    cell = compare_page.all("td", body[1])[1]["text"].replace(THIN, " ")
    mean, width, count = parts(r"([\d.]+) % ± ([\d.]+) % \(n = (\d)\)", cell)
    assert float(mean) == pytest.approx(100 * values.mean(), abs=0.051)
    assert float(width) == pytest.approx(100 * half, rel=0.051)
    assert count == "5"
    # Bold marks the largest mean of each column.
    assert [one["text"] for one in compare_page.all("td", class_="best")] == [
        one["text"] for one in compare_page.all("td", body[0])
    ]


def test_a_comparison_names_the_clear_differences_only(compare_page: Page) -> None:
    text = compare_page.one("p", class_="summary")["text"]
    words = dict(re.findall(r"(Without attack|Under attack “sign_flip”), ([^.]*\.[^;]*;[^.]*)\.", text))
    assert "clearly below it: krum" in words["Without attack"]
    assert "mean" not in words["Without attack"]
    assert "clearly below it: mean, coordinate_median, krum" in words["Under attack “sign_flip”"]


def test_a_comparison_shows_heat_curves_differences_and_its_command(compare_page: Page) -> None:
    heat = compare_page.chart("Mean test accuracy of the last five")
    assert len(compare_page.all("rect", heat)) == 12
    titles = [one["aria-label"].split(". ")[0] for one in compare_page.all("svg", class_="chart")]
    # Accuracy, and a difference to each of four methods; weights where there are attackers.
    assert titles.count("Without attack") == 5
    assert titles.count("Under attack “sign_flip”") == 6
    curves = compare_page.chart("Without attack")
    assert len([one for one in compare_page.all("path", curves) if one.get("fill-opacity") == "0.16"]) == 4
    assert compare_page.one("code")["text"].startswith("ceas compare headline --methods")


def test_the_worst_attack_of_each_method_is_outlined(compare_page: Page, compare_directory: Path) -> None:
    rows = read_table(compare_directory / "compare.parquet", "compare")
    heat = compare_page.chart("Mean test accuracy of the last five")
    cells, outlines = compare_page.all("rect", heat), compare_page.all("path", heat, class_="marked")
    methods, attacks = (list(dict.fromkeys(rows[name])) for name in ("method", "attack"))
    marked = []
    for outline in outlines:
        x, y = map(float, parts(r"M([\d.]+) ([\d.]+)h", outline["d"]))
        inside = [
            index
            for index, cell in enumerate(cells)
            if 0 <= x - float(cell["x"]) <= float(cell["width"]) and 0 <= y - float(cell["y"]) <= float(cell["height"])
        ]
        assert len(inside) == 1
        marked += inside
        assert cells[inside[0]]["data-tip"].endswith("its worst column")
    wanted = []
    for row, method in enumerate(methods):
        means = [
            rows["test_accuracy_last5"][(rows["method"] == method) & (rows["attack"] == attack)].mean()
            for attack in attacks
        ]
        wanted.append(row * len(attacks) + int(np.argmin(means)))
    assert sorted(marked) == wanted
    assert "worst of the row" in heat["text"]


def test_the_reader_chooses_what_differences_are_to(compare_page: Page, compare_directory: Path) -> None:
    rows = read_table(compare_directory / "compare.parquet", "compare")
    methods = list(dict.fromkeys(rows["method"]))
    chooser = compare_page.one("div", class_="chooser")
    assert [one["text"] for one in compare_page.all("option", chooser)] == methods
    groups = compare_page.all("div", chooser, class_="choice")
    # Without scripts there is no menu, and the first method's charts are shown.
    assert "hidden" in compare_page.one("label", chooser)
    assert ["hidden" in group for group in groups] == [False, True, True, True]
    for method, group in zip(methods, groups, strict=True):
        charts = compare_page.all("svg", group, class_="chart")
        assert len(charts) == 3
        assert all(len(compare_page.all("path", one, data_shape="circle")) == 3 for one in charts)
        assert all(f"Accuracy minus that of {method}." in one["aria-label"] for one in charts)

    def values(method: str) -> np.ndarray:
        chosen = (rows["method"] == method) & (rows["attack"] == "sign_flip")
        return np.asarray(rows["test_accuracy_last5"][chosen])

    label = compare_page.all("svg", groups[3], class_="chart")[1]["aria-label"].replace(THIN, " ").replace("−", "-")
    low, high = stats.ttest_rel(values("mean"), values("krum")).confidence_interval()
    found = parts(r"; mean: ([-\d.]+) percentage points \(([-\d.]+) to ([-\d.]+), 5 seeds\)", label)
    wanted = 100 * np.array([(values("mean") - values("krum")).mean(), low, high])
    np.testing.assert_allclose(list(map(float, found)), wanted, rtol=0.06)


def test_attackers_weights_over_rounds_stand_beside_their_share(compare_page: Page) -> None:
    section = compare_page.one("section", id="weights")
    charts = compare_page.all("svg", section, class_="chart")
    # There is no chart without attackers.
    assert [one["aria-label"].split(". ")[0] for one in charts] == [
        "Under attack “sign_flip”",
        "Under attack “inner_product_manipulation”",
    ]
    for chart in charts:
        assert "their share of the learners: 20.0 %" in chart["aria-label"].replace(THIN, " ")
        assert len([one for one in compare_page.all("path", chart) if one.get("fill-opacity") == "0.16"]) == 4
        tips = [one["data-tip"].replace(THIN, " ") for one in compare_page.all("rect", chart, class_="hover")]
        assert len(tips) == 20
        assert all("fidelity_weighted: 4" in one or "fidelity_weighted: 3" in one for one in tips)


def test_a_comparison_of_an_earlier_version_has_no_weights_over_rounds(compare_directory: Path, tmp_path: Path) -> None:
    target = shutil.copytree(compare_directory, tmp_path / "old")
    for name, later in (("compare", ["learners", "n_byzantine"]), ("compare_curves", ["byzantine_weight"])):
        path = target / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(later), path)
    page = page_of(target)
    assert not page.all("section", id="weights")
    assert page.all("section", id="curves")


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("none", "Without attack"),
        ("none#0", "Without attack, 0 declared"),
        ("none#5/10", "Without attack, 10 declared"),
        ("sign_flip", "Under attack “sign_flip”"),
        ("sign_flip#1", "Under attack “sign_flip”, 1 attacker"),
        ("opt_alie(step=0.5)#5/10", "Under attack “opt_alie(step=0.5)”, 5 attackers, 10 declared"),
    ],
)
def test_numbers_of_attackers_are_said_in_words(attack: str, words: str) -> None:
    assert attack_phrase(attack) == words


def with_references(directory: Path, target: Path, **levels: float) -> Path:
    shutil.copytree(directory, target)
    path = target / "compare.parquet"
    rows = read_table(path, "compare")
    given = {name: np.full(len(rows["seed"]), level) for name, level in levels.items()}
    write_table(path, "compare", {**rows, **given}, read_metadata(path))
    return target


def test_a_comparison_shows_the_references_once_and_in_every_chart_of_curves(compare_page: Page) -> None:
    # By seed 0.93 + 0.004 s and 0.90 + 0.002 s, s = 0..4: half an interval is t(0.975, 4) step / sqrt(2).
    text = compare_page.one("section", id="table")["text"].replace(THIN, " ")
    assert "logistic regression reaches 93.8 % ± 0.79 % (n = 5)" in text
    assert "without noise, reaches 90.4 % ± 0.39 % (n = 5)" in text
    assert compare_page.source.count("whatever the method and the attack") == 1
    curves = [
        one
        for one in compare_page.all("svg", class_="chart")
        if "logistic regression" in one["aria-label"] and "attack" in one["aria-label"]
    ]
    assert len(curves) == 3
    for chart in curves:
        labels = compare_page.all("text", chart, class_="on-line")
        assert [one["text"].replace(THIN, " ") for one in labels] == [
            "logistic regression 93.8 %",
            "separable circuit 90.4 %",
        ]
        assert float(labels[0]["y"]) < float(labels[1]["y"]) - 12


@pytest.mark.parametrize(
    ("logistic", "separable"), [(0.93, 0.93), (0.8, 0.85), (0.9, math.nan), (math.nan, 0.9), (math.nan, math.nan)]
)
def test_a_comparison_leaves_out_the_references_that_it_lacks(
    logistic: float, separable: float, compare_directory: Path, tmp_path: Path
) -> None:
    levels = {"test_accuracy_logistic": logistic, "test_accuracy_separable": separable}
    page = page_of(with_references(compare_directory, tmp_path / "new", **levels))
    labels = page.all("text", page.chart("Without attack"), class_="on-line")
    wanted = [("logistic regression", logistic), ("separable circuit", separable)]
    assert [one["text"].replace(THIN, " ") for one in labels] == [
        f"{name} {100 * level:.1f} %" for name, level in wanted if math.isfinite(level)
    ]
    text = page.one("section", id="table")["text"]
    assert [f"{name} reaches" in text or f"{name}, without" in text for name, _ in wanted] == [
        math.isfinite(level) for _, level in wanted
    ]
    assert ("same features" in text) == bool(labels)
    described = page.chart("Without attack")["aria-label"]
    assert [name in described for name, _ in wanted] == [math.isfinite(level) for _, level in wanted]
    if len(labels) == 2:
        assert labels[0]["text-anchor"] != labels[1]["text-anchor"]
        assert abs(float(labels[0]["y"]) - float(labels[1]["y"])) > 12


def test_the_page_of_a_comparison_without_the_columns_of_references_is_refused(
    compare_directory: Path, tmp_path: Path
) -> None:
    target = shutil.copytree(compare_directory, tmp_path / "old")
    path = target / "compare.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["test_accuracy_logistic"]), path)
    with pytest.raises(RunDirectoryError, match="`test_accuracy_logistic` is missing; it was written by another"):
        write_report([target])


def cut_rows(directory: Path, target: Path, keep: Callable[[Columns], np.ndarray]) -> Path:
    shutil.copytree(directory, target)
    for name in ("compare", "compare_curves"):
        path = target / f"{name}.parquet"
        columns = read_table(path, name)
        chosen = keep(columns)
        write_table(path, name, {key: values[chosen] for key, values in columns.items()}, read_metadata(path))
    return target


def test_a_comparison_admits_missing_runs(compare_directory: Path, tmp_path: Path) -> None:
    def keep(columns: Columns) -> np.ndarray:
        dropped = (columns["method"] == "krum") & (columns["attack"] == "none") & (columns["seed"] > 2)
        kept: np.ndarray = ~dropped
        return kept

    page = page_of(cut_rows(compare_directory, tmp_path / "cut", keep))
    assert "2 runs of the full table are missing" in page.one("p", class_="summary")["text"]
    assert "(n = 3)" in page.source


def test_a_comparison_of_one_seed_calls_nothing_better(compare_directory: Path, tmp_path: Path) -> None:
    page = page_of(cut_rows(compare_directory, tmp_path / "cut", lambda columns: columns["seed"] == 0))
    assert "One seed cannot tell" in page.one("p", class_="summary")["text"]
    assert "±" not in page.one("section", id="table")["text"].replace("± half", "")


def test_a_comparison_of_one_method_has_no_differences(compare_directory: Path, tmp_path: Path) -> None:
    page = page_of(cut_rows(compare_directory, tmp_path / "cut", lambda columns: columns["method"] == "mean"))
    assert len(page.all("figure")) == 3
    assert not page.all("section", id="differences")


def test_rows_of_another_scenario_are_left_out_of_all_numbers_and_said_to_be(
    compare_directory: Path, tmp_path: Path
) -> None:
    # The other scenario has one method more, accuracies of zero, and data on which logistic regression reaches half.
    both = shutil.copytree(compare_directory, tmp_path / "both")
    [mine] = read_comparison(both).compared
    for name in ("compare", "compare_curves"):
        path = both / f"{name}.parquet"
        own, metadata = read_table(path, name), read_metadata(path)
        levels = {"test_accuracy": 0.0, "test_accuracy_last5": 0.0, "test_accuracy_logistic": 0.5}
        other = {key: values * 0 + levels[key] if key in levels else values for key, values in own.items()}
        other["scenario_id"] = np.full(len(own["seed"]), "other", dtype=object)
        other["method"] = np.where(own["method"] == "krum", "bulyan", own["method"])
        write_table(path, name, {key: np.concatenate([own[key], other[key]]) for key in own}, metadata)
    variants = {(method.replace("krum", "bulyan"), attack): "other" for method, attack in mine.variants}
    note_compared(both, ComparedScenario(scenario_id="other", name="digits", variants=variants))
    shown = page_of(both)
    assert "digits (other)" in shown.one("p", class_="meta")["text"]
    assert "50.0" in shown.one("section", id="table")["text"]
    assert "bulyan" in shown.source
    assert "krum" not in shown.source
    note_compared(both, mine)
    page, alone = page_of(both), page_of(compare_directory)
    assert "Not shown: 60 runs in this folder under other settings" in page.one("p", class_="summary")["text"]
    assert "Not shown" not in alone.one("p", class_="summary")["text"]
    assert page.one("section", id="table")["text"] == alone.one("section", id="table")["text"]
    assert page.chart("Without attack")["aria-label"] == alone.chart("Without attack")["aria-label"]
    assert "bulyan" not in page.source


def test_a_comparison_that_does_not_say_what_was_compared_is_refused(compare_directory: Path, tmp_path: Path) -> None:
    target = shutil.copytree(compare_directory, tmp_path / "old")
    write_table(target / "compare.parquet", "compare", read_table(target / "compare.parquet", "compare"))
    with pytest.raises(RunDirectoryError, match="repeat its `ceas compare` command"):
        write_report([target])


def test_runs_side_by_side_show_both_and_where_their_scenarios_differ(side_page: Page) -> None:
    scenarios = side_page.one("section", id="scenarios")
    rows = [row["text"] for row in side_page.all("tr", side_page.one("tbody", scenarios))]
    assert rows == ["schedule.policyceasoldest_first"]
    assert len(side_page.all("code")) == 2
    chart = side_page.chart("Test accuracy")
    assert len(side_page.all("path", chart, class_="cloud")) == 2
    names = side_page.one("section", id="runs")["text"]
    assert HOSTILE_NAME in names
    assert "quiet" in names


def foreign(tmp_path: Path) -> list[Path]:
    (tmp_path / "notes.txt").write_text("not a run")
    return [tmp_path]


def broken(tmp_path: Path, run: RunResult) -> list[Path]:
    write_run(tmp_path / "run", run)
    (tmp_path / "run" / "links.parquet").write_bytes(b"not a table")
    return [tmp_path / "run"]


def other_version(tmp_path: Path, run: RunResult) -> list[Path]:
    write_run(tmp_path / "run", run)
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    del document["byzantine"]
    (tmp_path / "run" / "result.json").write_text(json.dumps(document))
    return [tmp_path / "run"]


def test_directories_that_are_no_runs_are_refused(tmp_path: Path, finished_run: RunResult) -> None:
    for directories in (
        [tmp_path / "absent"],
        foreign(tmp_path),
        broken(tmp_path / "broken", finished_run),
        other_version(tmp_path / "other", finished_run),
    ):
        with pytest.raises(RunDirectoryError):
            write_report(directories, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_comparison_cannot_stand_beside_runs(run_directory: Path, compare_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="only runs"):
        write_report([run_directory, compare_directory], tmp_path / "page.html")


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(DomainError, match="`directories`"):
        write_report([])


def test_a_page_that_cannot_be_written_is_said_to_be(run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        write_report([run_directory], tmp_path / "file" / "page.html")


def test_importing_the_room_loads_nothing_heavy() -> None:
    heavy = ["numpy", "pyarrow", "pydantic", "jax", "scipy"]
    code = f"import sys, ceas.report; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_many_attacks_are_told_in_a_list(tmp_path: Path, compare_directory: Path) -> None:
    """Columns are added under new names with the same values, so that there are six."""
    target = shutil.copytree(compare_directory, tmp_path / "many")
    for name in ("compare", "compare_curves"):
        path = target / f"{name}.parquet"
        columns, metadata = read_table(path, name), read_metadata(path)
        renamed = {**columns, "attack": np.array([f"{attack}#10" for attack in columns["attack"]], object)}
        write_table(path, name, {key: np.concatenate([columns[key], renamed[key]]) for key in columns}, metadata)
    [mine] = read_comparison(target).compared
    variants = {(method, f"{attack}#10"): one for (method, attack), one in mine.variants.items()}
    note_compared(target, replace(mine, variants=variants))
    page = page_of(target)
    points = page.all("li", page.one("ul", class_="summary"))
    assert len(points) == 6
    assert points[4]["text"].startswith("Under attack “sign_flip”, 10 attackers, fidelity_weighted reaches ")
    assert "120 runs compare 4 methods under 6 attacks" in page.one("p", class_="summary")["text"]


def test_methods_and_attacks_stand_in_the_order_asked_for(tmp_path: Path, compare_directory: Path) -> None:
    """Whatever the order in which their runs ended; what has no run yet is left out."""
    target = shutil.copytree(compare_directory, tmp_path / "turned")
    [mine] = read_comparison(target).compared
    turned = {("unheard_of", "unknown"): "nowhere"} | dict(reversed(list(mine.variants.items())))
    path = target / "compare.parquet"
    listed = json.loads(read_metadata(path)["compared"])
    listed[0]["variants"] = [[*key, one] for key, one in turned.items()]
    write_table(path, "compare", read_table(path, "compare"), {"compared": json.dumps(listed)})
    page = page_of(target)
    table = next(one for one in page.all("table") if "sortable" not in one["class"])
    heads = [one["text"] for one in page.all("th", page.one("thead", table))]
    assert heads == ["method", "inner_product_manipulation", "sign_flip", "none"]
    rows = [page.one("th", row)["text"] for row in page.all("tr", page.one("tbody", table))]
    assert rows == ["krum", "coordinate_median", "mean", "fidelity_weighted"]
