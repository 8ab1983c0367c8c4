"""Heat maps: names that break, columns in blocks, colours between the limits, and text that stays inside."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.report.heat_map import HeatCell, broken_lines, heat_map, shortened
from ceas.report.palette import PALE, sequential
from ceas.report.panel import text_width

LONG = (
    "none",
    "inner_product_manipulation",
    "opt_alie(goal=alignment,step=0.5)#10/15",
    "with_false_claims(attack=opt_alie,claim_factor=10)",
    "circuit_fault(operation=grover_diffusion,place=output)",
)


def cells_of(values: np.ndarray) -> list[list[HeatCell]]:
    return [
        [
            HeatCell(
                value=float(v), number=f"{100 * v:.1f}" if math.isfinite(v) else "–", text="tip", is_marked=v == 0.25
            )
            for v in row
        ]
        for row in values
    ]


def drawn(values: np.ndarray, columns: tuple[str, ...], width: float, **options: object) -> str:
    rows = [f"trimmed_mean+debiased@ceas(a={i})" for i in range(len(values))]
    return str(
        heat_map(
            cells_of(values),
            rows=rows,
            columns=columns,
            width=width,
            title="Accuracy (%)",
            description="About it.",
            **options,  # type: ignore[arg-type]
        )
    )


@given(st.text(alphabet="ab_(),=+@#/.0 ", max_size=60), st.floats(10, 300))
def test_broken_lines_hold_the_whole_name_and_are_no_wider_than_they_must(name: str, width: float) -> None:
    lines = broken_lines(name, width)
    assert "".join(lines) == name
    for line in lines:
        pieces = re.findall(r"[(@+#]?[^_,=(@+#/]*[_,=/]*", line)
        assert text_width(line) <= width or len([piece for piece in pieces if piece]) == 1


def test_names_break_where_their_parts_end() -> None:
    assert broken_lines("trimmed_mean+debiased@on_demand", 100) == ["trimmed_mean", "+debiased", "@on_demand"]
    assert broken_lines("opt_alie(goal=alignment,step=0.5)#5", 125) == ["opt_alie", "(goal=alignment,", "step=0.5)#5"]


@given(st.text(max_size=80), st.floats(40, 300))
def test_shortened_texts_fit_and_keep_both_ends(text: str, width: float) -> None:
    found = shortened(text, width)
    if text_width(text) <= width:
        assert found == text
        return
    assert text_width(found) <= width
    start, _, end = found.partition("…")
    assert text.startswith(start)
    assert text.endswith(end)


@pytest.mark.parametrize("width", [420, 880])
@pytest.mark.parametrize("n_columns", [1, 2, 5])
def test_long_names_stay_inside_and_apart(width: int, n_columns: int) -> None:
    values = np.linspace(0.2, 0.9, 3 * n_columns).reshape(3, n_columns)
    svg = drawn(values, LONG[:n_columns], width)
    boxes = [tuple(map(float, found)) for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', svg)]
    assert len(boxes) == 3 * n_columns
    assert all(x + w <= width for x, _, w in boxes)
    # A number of five characters fits into every cell.
    assert min(w for _, _, w in boxes) > text_width("100.0") * 13 / 12
    height = float(re.findall(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[0])
    assert max(y for _, y, _ in boxes) < height
    heads = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle">([^<]+)</text>', svg)
    spans = [(float(y), float(x) - text_width(text) / 2, float(x) + text_width(text) / 2) for x, y, text in heads]
    assert all(left > 0 and right < width + 4 for _, left, right in spans)
    for y, left, right in spans:
        others = [one for one in spans if one[0] == y and one[1:] != (left, right)]
        assert all(right <= other[1] + 4 or left >= other[2] - 4 for other in others)


def test_colours_run_between_the_limits_and_what_is_missing_is_pale() -> None:
    svg = drawn(np.array([[0.25, np.nan], [0.5, 1.0]]), LONG[:2], 420, limits=(0.0, 1.0), mark="worst")
    fills = re.findall(r'<rect [^>]*fill="(#\w+)"', svg)
    assert fills == [sequential(0.25), PALE, sequential(0.5), sequential(1.0)]
    assert svg.count('class="marked"') == 1
    assert "worst" in svg
    own = re.findall(r'<rect [^>]*fill="(#\w+)"', drawn(np.array([[0.25, 0.5], [0.5, 0.75]]), LONG[:2], 420))
    assert own == [sequential(0.0), sequential(0.5), sequential(0.5), sequential(1.0)]


def test_a_map_without_any_value_is_drawn() -> None:
    svg = drawn(np.full((2, 2), np.nan), LONG[:2], 880)
    assert svg.count(f'fill="{PALE}"') == 4
