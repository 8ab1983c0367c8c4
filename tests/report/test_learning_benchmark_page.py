"""The page of a learning benchmark, against the rows that it is made of."""

import json
import re
from pathlib import Path

import pytest

from ceas.errors import RunDirectoryError
from ceas.report import write_report

THIN = "\u202f"


@pytest.fixture(scope="module")
def text(learning_benchmark_directory: Path) -> str:
    return write_report([learning_benchmark_directory]).read_text("utf-8").replace(THIN, " ")


def charts(text: str, title: str) -> list[str]:
    return re.findall(rf'<svg class="chart"[^>]*aria-label="{re.escape(title)}\..*?</svg>', text, re.DOTALL)


def tips(part: str) -> list[list[str]]:
    return [one.split("\n") for one in re.findall(r'data-tip="([^"]*)"', part)]


def test_the_summary_tells_times_missed_targets_and_disagreement(text: str) -> None:
    summary = re.search(r'<p class="summary">(.*?)</p>', text, re.DOTALL)
    assert summary is not None
    words = summary.group(1)
    assert "With noise, 4 qubits: 1.50 ms, the fastest other program (tensorcircuit-ng DMCircuit) 40.0 times" in words
    assert "With noise, 8 qubits: 200 ms, the fastest other program (pennylane default.mixed) 2500 times that." in words
    assert "Without noise, 10 qubits: 100 ms, the fastest other program (pennylane default.qubit) 0.500 times" in words
    assert "Missed: tensorcircuit-ng DMCircuit at 4 qubits." in words
    assert "Losses and gradients agree within 1.00×10⁻⁵: but not tensorcircuit-ng DMCircuit (noisy, 4)." in words


def test_every_program_has_a_bar_of_its_fastest_way_or_says_why_not(text: str) -> None:
    for part in charts(text, "Noisy work"):
        bars = tips(part)
        assert [bar[0] for bar in bars if "target" not in bar[0]] == [
            "ceas, 4 qubits: 1.00 times our time",
            "tensorcircuit-ng DMCircuit, 4 qubits: 40.0 times our time",
            "pennylane default.mixed, 4 qubits: 300 times our time",
            "ceas, 8 qubits: 1.00 times our time",
            "pennylane default.mixed, 8 qubits: 2500 times our time",
        ]
        assert [bar[0] for bar in bars if "target" in bar[0]] == [
            "target: at least 50.0 times our time",
            "target: at least 200 times our time",
        ]
        assert re.findall(r">(out of memory)<", part)
    assert len(charts(text, "Noisy work")) == 2
    assert all("not installed" in part for part in charts(text, "Work without noise"))


def test_bars_start_at_one_and_their_colours_tell_ours_others_and_extrapolated(text: str) -> None:
    part = charts(text, "Noisy work")[0]
    bars = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"[^>]*fill="(#\w+)" data-shape="bar"', part)
    assert [colour for _, _, colour in bars] == ["#0072B2", "#E69F00", "#E69F00", "#0072B2", "#59636e"]
    starts = {float(x) for x, _, _ in bars}
    assert max(starts) - min(starts) < 0.1
    faster = charts(text, "Work without noise")[0]
    one, *_, half = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"[^>]*data-shape="bar"', faster)
    # Half our time: the bar ends where the others begin.
    assert float(half[0]) + float(half[1]) == pytest.approx(float(one[0]), abs=0.2)


def test_scaling_has_two_charts_a_size_and_names_what_is_missing(text: str) -> None:
    for qubits, n_points in ((4, 4), (8, 3)):
        for title in ("Time", "Peak memory"):
            [part] = charts(text, f"{title}, {qubits} qubits")
            assert len(tips(part)) == n_points
    assert "Beyond the limits: 8 qubits, 3 layers, 50 learners." in text
    assert ["50 learners, 3 layers", "60.0 ms"] in tips(charts(text, "Time, 4 qubits")[0])


def test_the_roofline_shows_what_is_possible_and_what_is_reached(text: str) -> None:
    part, _ = charts(text, "Roofline of this machine")
    assert ["4 qubits", "possible: 16.0 Gflop/s"] in tips(part)
    assert ["8 qubits", "reached: 8.00 Gflop/s", "25.0 % of what is possible"] in tips(part)


def test_all_rows_are_in_tables_and_nothing_becomes_markup(text: str) -> None:
    cells = [len(re.findall(r"<tr><td", body)) for body in re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL)]
    assert sorted(cells) == sorted([2, 7, 4, 2, 8, 2, 2, 2])
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert" in text


def test_a_part_alone_makes_a_page_and_a_short_run_says_so(learning_benchmark_directory: Path, tmp_path: Path) -> None:
    document = json.loads((learning_benchmark_directory / "rows.json").read_text("utf-8"))
    rows = [row for row in document["rows"] if row["table"] in ("machine", "rates")]
    (tmp_path / "rows.json").write_text(json.dumps({**document, "rows": rows, "is_quick": True}), "utf-8")
    page = write_report([tmp_path]).read_text("utf-8")
    assert "The benchmark compared no programs." in page
    assert "they are no measurement" in page
    assert "<svg" not in page


def test_rows_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"rows": [], "benchmark": "cooking"}', "utf-8")
    with pytest.raises(RunDirectoryError, match="cooking"):
        write_report([tmp_path])
