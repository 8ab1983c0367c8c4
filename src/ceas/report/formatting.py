"""The one way in which a report writes a number."""

import math

__all__ = ["MISSING", "counted", "format_number"]

THIN_SPACE = "\u202f"
MISSING = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALL_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_LARGE_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _grouped(text: str) -> str:
    whole, _, fraction = text.partition(".")
    sign, whole = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    # Four digits stand without a gap, as in print; from five digits on, groups of three.
    grouped = f"{int(whole):,}".replace(",", THIN_SPACE) if len(whole) > 4 else whole
    return sign + grouped + ("." + fraction if fraction else "")


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_grouped(mantissa)}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    # The exponent after rounding: 0.9996 with three digits is 1.00, not 1.000.
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if exponent < -3 or exponent > 6:
        return _scientific(value, digits)
    return _grouped(f"{value:.{max(digits - 1 - exponent, 0)}f}")


def _prefixed(value: float, unit: str) -> tuple[float, str]:
    size = abs(value)
    prefixes = _SMALL_PREFIXES if unit == "s" else (*_LARGE_PREFIXES, *_SMALL_PREFIXES)
    for scale, prefix in prefixes:
        if size >= scale * 0.9995:
            return value / scale, prefix + unit
    return value, unit


def _is_nearly_whole(share: float) -> bool:
    """Tell whether rounding would pretend that a share is all or nothing."""
    return 0 < share < 1e-4 or 0.9995 <= share < 1


def counted(number: int, noun: str) -> str:
    """Return a number of things, for people: `1 run`, `20 runs`."""
    return f"{format_number(number)} {noun}{'' if number == 1 else 's'}"


def format_number(value: float | None, unit: str = "", *, digits: int = 3, decimals: int | None = None) -> str:
    """Return a number with its unit, for people.

    Args:
        value: Number, or None or not a number where there is none.
        unit: Empty, or a unit to put behind the number after a thin space; `"%"` multiplies by a hundred and never
            rounds a share to all or nothing, `"s"` and `"Hz"` choose the fitting SI prefix.
        digits: Significant digits of a number that is not whole; integers are exact.
        decimals: Fixed number of decimals instead, as the ticks of an axis need.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "%" and decimals is None and _is_nearly_whole(value):
        return f"> 99.9{THIN_SPACE}%" if value > 0.5 else f"< 0.01{THIN_SPACE}%"
    number, shown_unit = (value * 100, unit) if unit == "%" else (value, unit)
    if unit in ("s", "Hz") and value != 0:
        number, shown_unit = _prefixed(value, unit)
    if decimals is not None:
        text = _grouped(f"{round(number, decimals) + 0.0:.{decimals}f}")
    elif isinstance(number, float):
        text = _significant(number, digits)
    else:
        text = _grouped(str(int(number)))
    return f"{text}{THIN_SPACE}{shown_unit}" if shown_unit else text
