"""Axes of a chart: ranges, ticks and the map from numbers to pixels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.report.formatting import format_number

__all__ = ["Axis", "Scale", "fitted_axis", "tick_labels", "tick_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What one axis of a chart shows: its label, its range, and how its ticks are written, if it has any.

    An axis with `names` stands for categories: the i-th lies at i + 1/2.
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    unit: str = ""
    has_ticks: bool = True
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The map of an axis onto the pixels from `start` (at its low end) to `stop`."""

    axis: Axis
    start: float
    stop: float

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return pixels for values; what has no place on the axis becomes not a number."""
        number = np.asarray(values, np.float64)
        low, high = self.axis.low, self.axis.high
        if self.axis.is_log:
            number = np.log10(np.where(number > 0, number, np.nan))
            low, high = math.log10(low), math.log10(high)
        pixels: NDArray[np.float64] = self.start + (number - low) / (high - low) * (self.stop - self.start)
        return pixels

    def at(self, value: float) -> float:
        """Return the pixel of one value."""
        return float(self(value))


def _finite(parts: Iterable[ArrayLike], is_log: bool) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])
    return values[np.isfinite(values) & ((values > 0) | (not is_log))]


def fitted_axis(
    label: str,
    *parts: ArrayLike,
    low: float | None = None,
    high: float | None = None,
    is_log: bool = False,
    unit: str = "",
) -> Axis:
    """Return an axis that holds all finite values of the parts, with a little air at the ends that are not given."""
    values = _finite(parts, is_log)
    if values.size == 0:
        values = np.array([1.0, 10.0] if is_log else [0.0, 1.0])
    bottom, top = float(values.min()), float(values.max())
    if is_log:
        bottom, top = bottom / 1.25, top * 1.25
    else:
        air = 0.06 * (top - bottom) or 0.5 * abs(top) or 1.0
        bottom, top = bottom - air, top + air
    bottom, top = bottom if low is None else low, top if high is None else high
    if top <= bottom:
        top = bottom * 10 if is_log else bottom + 1.0
    return Axis(label=label, low=bottom, high=top, is_log=is_log, unit=unit)


def _linear_step(span: float, n_ticks: int) -> float:
    rough = span / n_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)


def _log_ticks(low: float, high: float, n_ticks: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    # Decades within the axis, not those around it.
    n_decades = math.floor(math.log10(high * 1.001)) - math.ceil(math.log10(low * 0.999)) + 1
    stride = max(1, math.ceil(n_decades / n_ticks))
    ticks: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [f * 10.0**k for k in range(first, last + 1) if k % stride == 0 for f in factors]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) >= 3:
            break
    return ticks


def _has_decades(axis: Axis) -> bool:
    """Tell whether powers of ten make good ticks; a short logarithmic axis has the ticks of a linear one."""
    return axis.is_log and axis.high / axis.low >= 8


def tick_values(axis: Axis, n_ticks: int) -> list[float]:
    """Return about `n_ticks` round numbers within the axis."""
    if not axis.has_ticks:
        return []
    if axis.names:
        return [index + 0.5 for index in range(len(axis.names))]
    if _has_decades(axis):
        return _log_ticks(axis.low, axis.high, n_ticks)
    step = _linear_step(axis.high - axis.low, n_ticks)
    slack = 1e-9 * step
    first, last = math.ceil((axis.low - slack) / step), math.floor((axis.high + slack) / step)
    return [index * step for index in range(first, last + 1)]


def tick_labels(axis: Axis, ticks: list[float]) -> list[str]:
    """Write the ticks of an axis, all with the same number of decimals."""
    if axis.names:
        return list(axis.names)
    if _has_decades(axis):
        return [format_number(tick, axis.unit, digits=1) for tick in ticks]
    if axis.unit in ("s", "Hz") or not ticks:
        return [format_number(tick, axis.unit) for tick in ticks]
    step = min(np.diff(ticks), default=abs(ticks[0]) or 1.0) * (100 if axis.unit == "%" else 1)
    largest = max(map(abs, ticks))
    if largest < 1e-3 and step > largest / 500:
        return [format_number(tick, axis.unit) for tick in ticks]
    return [format_number(tick, axis.unit, decimals=_decimals(step)) for tick in ticks]


def _decimals(step: float) -> int:
    """Return the decimals that a step needs; one of 2.5 needs one more than its size says."""
    return next((n for n in range(16) if step * 10**n > 0.9 and abs(step * 10**n % 1 - 0.5) > 0.499), 15)
