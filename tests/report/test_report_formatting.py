import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.report.formatting import MISSING, counted, format_number

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "", "0"),
        (0.0, "", "0"),
        (9999, "", "9999"),
        (12345, "", f"12{THIN}345"),
        (-1234567, "", f"−1{THIN}234{THIN}567"),
        (0.9, "", "0.900"),
        (0.99951, "", "1.00"),
        (999.6, "", "1000"),
        (64_000.4, "", f"64{THIN}000"),
        (1.234e-5, "", "1.23×10⁻⁵"),
        (2.5e12, "", "2.50×10¹²"),
        (0.8142, "%", f"81.4{THIN}%"),
        (1.0, "%", f"100{THIN}%"),
        (0.99997, "%", f"> 99.9{THIN}%"),
        (0.9996, "%", f"> 99.9{THIN}%"),
        (0.9994, "%", f"99.9{THIN}%"),
        (2e-6, "%", f"< 0.01{THIN}%"),
        (0.0, "%", f"0{THIN}%"),
        (-0.02, "%", f"−2.00{THIN}%"),
        (0.0123, "s", f"12.3{THIN}ms"),
        (41.7, "s", f"41.7{THIN}s"),
        (0.99996, "s", f"1.00{THIN}s"),
        (2.5e4, "Hz", f"25.0{THIN}kHz"),
        (0.0, "s", f"0{THIN}s"),
        (31.2, "km", f"31.2{THIN}km"),
    ],
)
def test_numbers_are_written_with_significant_digits_and_units(value: float | None, unit: str, shown: str) -> None:
    assert format_number(value, unit) == shown


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_missing_is_a_dash(value: float | None) -> None:
    assert format_number(value, "%") == MISSING


def test_fixed_decimals_never_show_a_negative_zero() -> None:
    assert format_number(-0.0001, decimals=2) == "0.00"
    assert format_number(0.25, "%", decimals=1) == f"25.0{THIN}%"


@given(st.floats(min_value=-1e15, max_value=1e15, allow_nan=False))
def test_a_formatted_number_is_within_half_a_unit_of_its_third_digit(value: float | None) -> None:
    text = format_number(value).replace(THIN, "").replace("−", "-")
    if "×10" in text:
        mantissa, exponent = text.split("×10")
        exponent = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        text = f"{mantissa}e{exponent}"
    assert float(text) == pytest.approx(value, rel=0.00501, abs=1e-300)


def test_things_are_counted_in_the_singular_and_the_plural() -> None:
    assert [counted(number, "run") for number in (0, 1, 2, 12345)] == ["0 runs", "1 run", "2 runs", "12\u202f345 runs"]
