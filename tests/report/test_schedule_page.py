"""The page of a schedule study, against the tables it is made of."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import RunDirectoryError
from ceas.experiments.schedule_store import read_schedule
from ceas.experiments.schedule_study import ScheduleStudy
from ceas.report import write_report
from ceas.report.schedule_figures import _frontier, _low_end, parameter_text

THIN = "\u202f"
BLUE, ORANGE, MUTED = "#0072B2", "#E69F00", "#59636e"


@pytest.fixture(scope="module")
def study(schedule_directory: Path) -> ScheduleStudy:
    return read_schedule(schedule_directory)


@pytest.fixture(scope="module")
def text(schedule_directory: Path) -> str:
    return write_report([schedule_directory]).read_text("utf-8")


def chart(text: str, title: str) -> str:
    """Return the first chart whose description begins with a title."""
    found = re.search(rf'<svg class="chart"[^>]*aria-label="{re.escape(title)}.*?</svg>', text, re.DOTALL)
    assert found is not None, title
    return found.group()


def tips(part: str) -> list[str]:
    return [tip.replace(THIN, " ") for tip in re.findall(r'data-tip="([^"]*)"', part)]


def test_the_head_says_who_wins_with_and_without_a_floor_on_utilisation(text: str) -> None:
    summary = re.search(r'<p class="summary">(.*?)</p>', text, re.DOTALL)
    assert summary is not None
    words = summary.group(1)
    assert "Among policies that use at least 90 % of their pairs, ceas (thrifty) delivers" in words
    assert "more value than the best baseline, on_demand (3 seeds" in words
    assert "Whatever part of the pairs is used, ceas delivers" in words
    assert "Of their pairs they use: ceas 60.0 % and on_demand 100.0 %." in words
    assert "<code>ceas schedule headline --seeds 3</code>" in text


def test_the_table_has_every_result_by_value_with_interval_bound_and_paired_difference(
    text: str, study: ScheduleStudy
) -> None:
    table = re.search(r"<table.*?</table>", text, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>(<td.*?)</tr>", table.group(), re.DOTALL)
    cells = [[one.replace(THIN, " ") for one in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    assert [row[0] for row in cells] == ["ceas (thrifty)", "on_demand", "random", "static_tdma", "ceas"]
    for row, result in zip(cells, study.by_value(), strict=True):
        values = result.figures["value_per_round"]
        mean, half = re.match(r"([\d.]+) ± ([\d.]+)$", row[2]).groups()  # type: ignore[union-attr]
        assert float(mean) == pytest.approx(values.mean(), rel=1e-3)
        # Student's quantile of 97.5 % with two degrees of freedom.
        assert float(half) == pytest.approx(4.3027 * values.std(ddof=1) / np.sqrt(3), rel=0.05)
        assert row[3].startswith(f"{100 * result.figures['fraction_of_bound'].mean():.1f} %")
    base = study.by_value()[1].figures["value_per_round"]
    gap = study.by_value()[0].figures["value_per_round"] - base
    assert float(cells[0][4].removesuffix(" %")) == pytest.approx(100 * gap.mean() / base.mean(), abs=0.006)
    assert float(cells[0][5]) == pytest.approx(gap.mean() / (gap.std(ddof=1) / np.sqrt(3)), rel=5e-3)
    assert cells[1][4] == "best"


def test_the_frontier_has_every_trial_once_every_result_the_bound_and_the_mark(text: str, study: ScheduleStudy) -> None:
    part = chart(text, "Pairs used and value")
    shown = tips(part)
    trials = [tip for tip in shown if tip.endswith("on the tuning seeds")]
    reported = [tip for tip in shown if not tip.endswith("on the tuning seeds")]
    below = int(re.search(r">(\d+) marks lie below<", part).group(1))  # type: ignore[union-attr]
    assert len(trials) == len(set(trials))
    assert len(trials) + len(reported) + below == len(study.tried()) + len(study.policies) == 15
    assert any(tip.startswith("ceas: is_shared = no, lead = 1 (chosen)\npairs used: 98.0 %") for tip in trials)
    assert 'stroke-dasharray="6 4"' in part
    assert 'stroke-dasharray="2 3"' in part
    assert "random" in chart(text, "Value, share of the bound, by policy")
    assert "← " in chart(text, "Value, share of the bound, by policy")


def test_the_frontier_keeps_what_no_other_beats() -> None:
    points = [(0.9, 1.0), (1.0, 0.5), (0.5, 2.0), (0.4, 1.9), (0.95, 0.5), (0.9, 0.9)]
    assert _frontier(points) == [(1.0, 0.5), (0.9, 1.0), (0.5, 2.0)]
    rng = np.random.default_rng(2)
    cloud = [(float(x), float(y)) for x, y in rng.random((200, 2))]
    brute = [p for p in cloud if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in cloud)]
    assert sorted(_frontier(cloud)) == sorted(brute)


def test_an_axis_leaves_out_at_most_a_quarter_and_never_what_matters() -> None:
    values = [0.1, 0.96, 0.97, 0.98, 0.99]
    low = _low_end(values, [0.97], 1.0)
    assert 0.1 < low < 0.96
    assert _low_end(values, [0.1], 1.0) <= 0.1
    assert _low_end([0.95, 0.96, 0.97], [0.97], 1.0) < 0.95
    assert np.isfinite(_low_end([float("nan")], [], 1.0))


def test_both_maps_share_one_scale_of_colours(text: str, study: ScheduleStudy) -> None:
    maps = [
        re.search(rf'<svg[^>]*aria-label="Fidelity at use under {re.escape(name)}\. Map.*?</svg>', text, re.DOTALL)
        for name in ("ceas (thrifty)", "on_demand")
    ]
    colours: dict[str, set[str]] = {}
    for found in maps:
        assert found is not None
        assert found.group().count("<line ") == 68
        for line in re.findall(r"<line [^>]*>", found.group()):
            fidelity = re.search(r"mean fidelity at use: ([\d.]+|–)", line)
            stroke = re.search(r'stroke="(#\w+)"', line)
            assert fidelity is not None
            assert stroke is not None
            colours.setdefault(fidelity.group(1), set()).add(stroke.group(1))
        ticks = re.findall(r'class="tick">(0\.\d+)<', found.group())
        known = study.links["fidelity_at_use_mean"][np.isfinite(study.links["fidelity_at_use_mean"])]
        assert float(ticks[0]) <= known.max()
    # Fidelities are written with three digits, within which a colour moves by a shade at most.
    assert max(len(one) for one in colours.values()) <= 8
    assert colours["–"] == {"#c3c9d0"}


def test_lives_of_both_policies_are_of_one_link_and_one_stretch_of_time(text: str) -> None:
    found = re.findall(r'<svg[^>]*aria-label="(\d+) pairs under ([^,]*), oldest.*?</svg>', text, re.DOTALL)
    assert [name for _, name in found] == ["ceas (thrifty)", "on_demand"]
    links = set(re.findall(r"pair \d+ of link (\d+): ", text))
    assert len(links) == 1
    assert 0 < max(int(count) for count, _ in found) <= 40
    bars = len(re.findall(r'class="life"', text))
    assert bars == sum(int(count) for count, _ in found)
    caption = re.search(r"All pairs of link (\d+), between nodes (\d+) and (\d+)", text)
    assert caption is not None
    assert caption.group(1) in links


def test_waits_fall_from_all_to_few_in_steps(text: str) -> None:
    part = chart(text, "Shots that wait longer")
    lines = re.findall(r'<path class="line" d="M([^"]*)" stroke="(#\w+)" stroke-width="1.8"', part)
    assert [colour for _, colour in lines] == [BLUE, ORANGE]
    for path, _ in lines:
        points = np.array([[float(v) for v in point.split()] for point in path.split("L")])
        assert (np.diff(points, axis=0) >= 0).all()
        # Level, then down: no slope between.
        assert ((np.diff(points, axis=0) > 0).sum(axis=1) <= 1).all()


def test_a_study_without_traced_pairs_has_no_lives(tmp_path: Path, write_study_directory: Callable[..., Path]) -> None:
    directory = write_study_directory(tmp_path / "untraced", is_traced=False)
    page = write_report([directory]).read_text("utf-8")
    assert "Lives of single pairs" not in page
    assert "Value and utilisation" in page


def test_names_from_outside_never_become_markup(text: str) -> None:
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert text.count("<script") == 1


def test_a_study_is_not_shown_beside_runs(schedule_directory: Path, run_directory: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds a schedule study"):
        write_report([run_directory, schedule_directory])


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [({}, "defaults"), ({"a": 0, "b": False, "c": True}, "a = 0, b = no, c = yes"), ({"x": 1.5}, "x = 1.5")],
)
def test_parameters_are_written_for_people(parameters: dict[str, Any], shown: str) -> None:
    assert parameter_text(parameters) == shown
