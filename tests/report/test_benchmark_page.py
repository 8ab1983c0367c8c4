"""The page of a scheduling benchmark, against the rows that it is made of."""

import json
import re
from pathlib import Path

import pytest

from ceas.errors import RunDirectoryError
from ceas.report import write_report

THIN = "\u202f"


@pytest.fixture(scope="module")
def directory(benchmark_directory: Path) -> Path:
    return benchmark_directory


@pytest.fixture(scope="module")
def text(directory: Path) -> str:
    return write_report([directory]).read_text("utf-8")


def charts(text: str, title: str) -> list[str]:
    return re.findall(rf'<svg class="chart"[^>]*aria-label="{re.escape(title)}\..*?</svg>', text, re.DOTALL)


def test_the_summary_counts_wins_and_names_losses_and_what_is_open(text: str) -> None:
    summary = re.search(r'<p class="summary">(.*?)</p>', text, re.DOTALL)
    assert summary is not None
    words = summary.group(1).replace(THIN, " ")
    assert "On 1 of 4 settings ceas delivers clearly more value" in words
    assert "A baseline wins on S2 load 1.1." in words
    assert "Open, or too few instances to judge: S2 load 1.3, S2 small." in words
    assert "between 66.7 % and 88.9 %" in words
    assert "Of a bound on policies without foresight it reaches between 70.6 % and 94.1 %." in words


def test_gains_are_relative_to_the_best_baseline_and_marked_by_outcome(text: str) -> None:
    wide, narrow = charts(text, "Against the best baseline")
    for part in (wide, narrow):
        marks = re.findall(r'data-shape="(\w+)" data-tip="([^"]*)"', part)
        shapes = {tip.split("\n")[0]: shape for shape, tip in marks}
        expected = {"S2 load 0.7": "circle", "S2 load 1.1": "diamond", "S2 load 1.3": "square", "S2 small": "square"}
        assert shapes == expected
        tips = [tip.replace(THIN, " ") for _, tip in marks]
        assert "ceas against random: 14.3 %" in tips[0]
        assert "ceas against random: −12.5 %" in tips[1]


def test_every_setting_has_its_points_its_bound_and_the_dual(text: str) -> None:
    for setting, has_bound in (("S2 load 0.7", True), ("S2 small", False)):
        [part] = charts(text, setting)
        tips = re.findall(r'data-tip="([^"]*)"', part)
        assert sum("reported" in tip for tip in tips) == 3
        assert sum("tuning instances" in tip for tip in tips) == 1
        lines = [line for line in re.findall(r'<path class="line"[^>]*>', part) if 'stroke-dasharray="6 4"' in line]
        # One in the legend and one in the chart.
        assert len(lines) == (2 if has_bound else 0)
        assert ("without foresight" in part) == has_bound
        assert "dual bound" in part


def test_all_rows_are_in_tables_and_nothing_becomes_markup(text: str) -> None:
    assert len(re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)) == 4
    cells = [len(re.findall(r"<tr><td", body)) for body in re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)]
    assert cells == [4, 1, 12, 12]
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": 3}', '{"rows": [{"policy": "ceas"}]}'])
def test_a_broken_file_is_an_error_of_the_directory(content: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(content, "utf-8")
    with pytest.raises(RunDirectoryError, match=r"rows\.json"):
        write_report([tmp_path])


def test_rows_without_a_contest_are_tables_alone(directory: Path, tmp_path: Path) -> None:
    document = json.loads((directory / "rows.json").read_text("utf-8"))
    (tmp_path / "rows.json").write_text(json.dumps({"rows": document["rows"][:1]}), "utf-8")
    page = write_report([tmp_path]).read_text("utf-8")
    assert "The benchmark compared no policies." in page
    assert "<svg" not in page


def test_a_short_run_is_said_to_be_no_measurement(directory: Path, tmp_path: Path, text: str) -> None:
    assert "no measurement" not in text
    document = json.loads((directory / "rows.json").read_text("utf-8"))
    (tmp_path / "rows.json").write_text(json.dumps({**document, "is_quick": True}), "utf-8")
    page = write_report([tmp_path]).read_text("utf-8")
    assert page.index("short run <b>no measurement</b>") < page.index("This was a short run (--quick)")
    assert "they are no measurement" in page


def test_a_benchmark_is_not_shown_beside_runs(directory: Path, run_directory: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds a benchmark"):
        write_report([run_directory, directory])
