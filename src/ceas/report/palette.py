"""Colours that stay apart for colour-blind readers and in print.

Source:
    Okabe and Ito, Color Universal Design, 2008 (the eight qualitative colours); the sequential scale is viridis
    (Smith and van der Walt, 2015), reversed, so that good is dark, and without its palest end.
"""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["FATE_COLOURS", "INK", "MUTED", "PALE", "SERIES_COLOURS", "sequential"]

INK = "#1f2328"
MUTED = "#59636e"
PALE = "#c3c9d0"

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
SKY = "#56B4E9"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"

HONEST = BLUE
ATTACKER = VERMILLION

FATE_COLOURS = {
    "learning": BLUE,
    "key": GREEN,
    "test": SKY,
    "route": YELLOW,
    "expired": ORANGE,
    "discarded": PURPLE,
}
SERIES_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK, SKY, VERMILLION, MUTED)

_VIRIDIS = np.array(
    [
        [122, 209, 81],
        [66, 190, 113],
        [34, 168, 132],
        [33, 145, 140],
        [42, 120, 142],
        [53, 95, 141],
        [65, 68, 135],
        [71, 37, 117],
        [68, 1, 84],
    ],
    dtype=np.float64,
)


def _channels(share: float) -> list[float]:
    place = float(np.clip(share, 0, 1)) * (len(_VIRIDIS) - 1)
    return [float(np.interp(place, np.arange(len(_VIRIDIS)), _VIRIDIS[:, channel])) for channel in range(3)]


def sequential(share: float) -> str:
    """Return the colour at a share in [0, 1] of the sequential scale; larger is darker."""
    return "#" + "".join(f"{round(channel):02x}" for channel in _channels(share))


def contrasting_ink(share: float) -> str:
    """Return black or white, whichever is readable on `sequential(share)` by the contrast formula of WCAG 2."""
    channels = np.array(_channels(share)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def shares(values: ArrayLike, low: float, high: float) -> np.ndarray:
    """Return where values lie between `low` and `high`, as shares in [0, 1]."""
    return np.clip((np.asarray(values, np.float64) - low) / max(high - low, 1e-12), 0, 1)
