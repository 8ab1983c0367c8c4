import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ceas.report.axes import Axis, Scale, fitted_axis, tick_labels, tick_values
from ceas.report.line_chart import Series, line_chart
from ceas.report.marks import band, cloud, hover_bands, polyline
from ceas.report.markup import Markup, join, tag
from ceas.report.palette import contrasting_ink, sequential

FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


class Reader(HTMLParser):
    """Collect the elements, attributes and text of a fragment, as a browser would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(), st.text())
def test_any_text_comes_out_of_an_element_as_it_went_in(text: str, attribute: str) -> None:
    assume("\r" not in text + attribute)
    assume("\x00" not in text + attribute)
    reader = Reader()
    reader.feed(tag("p", text, data_tip=attribute))
    reader.close()
    assert [name for name, _ in reader.elements] == ["p"]
    assert reader.text == text
    assert reader.elements[0][1]["data-tip"] == attribute


def test_markup_is_kept_and_other_text_escaped_when_joined() -> None:
    assert join((tag("b", "1 < 2"), "<i>")) == "<b>1 &lt; 2</b>&lt;i&gt;"
    assert isinstance(join(()), Markup)


def test_attributes_that_are_absent_are_left_out_but_zero_is_kept() -> None:
    assert tag("rect", x=0, y=0.0, width=1.004, class_=None, hidden=False) == '<rect x="0" y="0" width="1"/>'


@given(FINITE, st.floats(min_value=1e-6, max_value=1e9), st.integers(2, 12))
def test_linear_ticks_lie_on_the_axis_evenly_and_have_distinct_labels(low: float, span: float, n_ticks: int) -> None:
    # Below this a double cannot tell neighbouring ticks apart.
    assume(span > 1e-6 * abs(low))
    axis = Axis(label="", low=low, high=low + span)
    ticks = tick_values(axis, n_ticks)
    assert 1 <= len(ticks) <= n_ticks + 1
    assert min(ticks) >= low - 1e-6 * span
    assert max(ticks) <= low + span + 1e-6 * span
    assert np.allclose(np.diff(ticks, n=2), 0, atol=1e-6 * span)
    labels = tick_labels(axis, ticks)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("low", "high", "unit", "labels"),
    [
        (0.0, 0.00007, "", ["0", "2.00×10⁻⁵", "4.00×10⁻⁵", "6.00×10⁻⁵"]),
        (0.0, 1.0, "%", ["0 %", "25 %", "50 %", "75 %", "100 %"]),
        (0.0, 10.0, "", ["0.0", "2.5", "5.0", "7.5", "10.0"]),
        (0.0, 40_000.0, "", ["0", "10 000", "20 000", "30 000", "40 000"]),
        (-3.0, 1.0, "", ["−3", "−2", "−1", "0", "1"]),
    ],
)
def test_ticks_are_written_as_people_write_them(low: float, high: float, unit: str, labels: list[str]) -> None:
    axis = Axis(label="", low=low, high=high, unit=unit)
    assert [label.replace("\u202f", " ") for label in tick_labels(axis, tick_values(axis, 4))] == labels


def test_categories_stand_in_the_middle_of_their_bands() -> None:
    axis = Axis(label="", low=2.0, high=0.0, names=("a", "b"))
    assert tick_values(axis, 5) == [0.5, 1.5]
    assert tick_labels(axis, [0.5, 1.5]) == ["a", "b"]


@given(st.floats(min_value=1e-12, max_value=1e9), st.floats(min_value=2.0, max_value=1e12))
def test_log_ticks_lie_on_the_axis(low: float, ratio: float) -> None:
    axis = Axis(label="", low=low, high=low * ratio, is_log=True)
    ticks = tick_values(axis, 5)
    assert all(low * 0.99 <= tick <= low * ratio * 1.01 for tick in ticks)
    assert ticks == sorted(set(ticks))
    if ratio >= 4:
        assert len(ticks) >= 2


@pytest.mark.parametrize("is_log", [False, True])
def test_a_scale_maps_its_ends_to_pixels_and_keeps_order(is_log: bool) -> None:
    scale = Scale(axis=Axis(label="", low=1.0, high=100.0, is_log=is_log), start=300.0, stop=20.0)
    assert scale([1.0, 100.0]) == pytest.approx([300.0, 20.0])
    assert scale.at(10.0) == pytest.approx(160.0 if is_log else 300 - 280 * 9 / 99)


def test_a_log_scale_has_no_place_for_zero() -> None:
    scale = Scale(axis=Axis(label="", low=1.0, high=10.0, is_log=True), start=0.0, stop=1.0)
    assert np.isnan(scale([0.0, -1.0])).all()


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [0.0, 0.0], [1.0, 5.0, np.nan]])
def test_a_fitted_axis_holds_its_values_and_is_never_empty(values: list[float], is_log: bool) -> None:
    axis = fitted_axis("", values, is_log=is_log)
    shown = [value for value in values if value > 0 or (value == 0 and not is_log)]
    assert axis.low < axis.high
    assert all(axis.low <= value <= axis.high for value in shown)
    assert axis.low > 0 or not is_log


def test_a_line_breaks_at_gaps_unless_it_passes_over_them() -> None:
    x, y = [0.0, 1.0, 2.0, 3.0], [5.0, np.nan, 6.0, 7.0]
    assert 'd="M0.0 5.0h0M2.0 6.0L3.0 7.0"' in polyline(x, y, "#000")
    assert 'd="M0.0 5.0L2.0 6.0L3.0 7.0"' in polyline(x, y, "#000", through_gaps=True)


def test_clouds_and_bands_leave_out_what_is_missing() -> None:
    assert 'd="M1.0 2.0h0"' in cloud([0.0, 1.0], [np.nan, 2.0], "#000", diameter=3, opacity=1)
    assert band([0.0, 1.0], [np.nan, np.nan], [1.0, 1.0], "#000", 1.0) == ""
    assert 'd="M0.0 9.0L1.0 8.0L1.0 2.0L0.0 1.0z"' in band([0.0, 1.0], [1.0, 2.0], [9.0, 8.0], "#000", 1.0)


def test_hover_bands_touch_but_do_not_overlap_and_are_thinned_out() -> None:
    reader = Reader()
    n = 1000
    reader.feed(hover_bands(np.arange(n, dtype=float), [str(i) for i in range(n)], top=10, bottom=50))
    boxes = [(float(a["x"]), float(a["width"]), a["data-tip"]) for _, a in reader.elements]
    assert len(boxes) == 150
    assert (boxes[0][2], boxes[-1][2]) == ("0", "999")
    for (x, width, _), (following, _, _) in pairwise(boxes):
        assert x + width == pytest.approx(following, abs=0.02)


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_sequential_scale_darkens_steadily_and_its_text_is_readable() -> None:
    steps = np.linspace(0, 1, 101)
    levels = [luminance(sequential(step)) for step in steps]
    assert all(a > b for a, b in pairwise(levels))
    for step, level in zip(steps, levels, strict=True):
        ink = luminance(contrasting_ink(step))
        ratio = (max(ink, level) + 0.05) / (min(ink, level) + 0.05)
        assert ratio >= 4.5


def test_a_band_beyond_the_axis_ends_at_the_chart() -> None:
    x = np.arange(3.0)
    wide = Series(label="a", x=x, values=x / 4, colour="#000", kind="line", low=x - 99, high=x + 99)
    shown = line_chart([wide], title="share", low=0.0, high=1.0, height=300)
    (path,) = re.findall(r'd="(M[^"]+z)" fill="#000"', shown)
    heights = [float(part.split()[1]) for part in path.strip("Mz").split("L")]
    assert len(heights) == 6
    assert 0 <= min(heights) < max(heights) <= 300
