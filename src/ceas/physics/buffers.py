"""Buffers of entanglement in the steady state: how often a pair is there, and how good it is when it is taken.

Continuous-time buffers have Poisson generation (rate lambda) and consumption (mu) and depolarising decay (rate Gamma of
the Werner parameter); slotted ones act once a slot. All pairs are Werner pairs, so `F - 1/4` decays exponentially.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import (
    require_bell_diagonal,
    require_between,
    require_count,
    require_non_negative,
    require_positive,
    unit_interval,
)

__all__ = [
    "Buffer",
    "PurificationCoefficients",
    "buffer_one_slot",
    "buffer_one_stored_many_generated",
    "buffer_purified",
    "continuous_distribution_availability",
    "dejmps_coefficients",
    "replacement_coefficients",
    "use_before_cutoff",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Steady state of a buffer.

    Attributes:
        availability: Chance that a request finds a pair.
        consumed_fidelity: Mean fidelity of a pair at the moment it is taken.
    """

    availability: NDArray[np.float64]
    consumed_fidelity: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurificationCoefficients:
    """A purification of a stored pair of fidelity F by l fresh pairs, linear in x = F - 1/4, for l = 1 ... n.

    It succeeds with probability `c x + d` and leaves `(a x + b)/(c x + d) + 1/4`; a failure loses the stored pair.

    Attributes:
        a: Coefficients `(n,)`, and so are the others.
        b: See above.
        c: See above.
        d: See above.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]
    d: NDArray[np.float64]


def buffer_one_slot(
    generation_rate_hz: ArrayLike, consumption_rate_hz: ArrayLike, decay_rate_hz: ArrayLike, new_fidelity: ArrayLike
) -> Buffer:
    """Return the steady state of one memory slot that is refilled when empty: lambda/(lambda + mu) availability.

    A pair's age when taken is exponential with rate mu, so F = 1/4 + (F_0 - 1/4) mu/(mu + Gamma). `buffer_purified`
    with no purification.
    """
    return buffer_purified(
        generation_rate_hz,
        consumption_rate_hz,
        decay_rate_hz,
        new_fidelity,
        purify_probability=0.0,
        purify_success_probability=1.0,
        jump_slope=1.0,
        jump_offset=0.0,
    )


def buffer_purified(
    generation_rate_hz: ArrayLike,
    consumption_rate_hz: ArrayLike,
    decay_rate_hz: ArrayLike,
    new_fidelity: ArrayLike,
    *,
    purify_probability: ArrayLike,
    purify_success_probability: ArrayLike,
    jump_slope: ArrayLike,
    jump_offset: ArrayLike,
) -> Buffer:
    """Return the steady state of a good memory that is pumped with fresh pairs from a bad one (1G1B).

    A fresh pair that meets a stored one purifies it with probability q and is dropped otherwise; purification succeeds
    with a fixed probability s and then takes F to J(F) = m F + n, and loses the pair when it fails.

        A = lambda/(lambda + mu + lambda q (1 - s))
        F = [Gamma/4 + n lambda q s + F_0 (mu + lambda q (1 - s))]/[Gamma + mu + lambda q (1 - m s)]

    Args:
        generation_rate_hz: lambda (1/s), positive.
        consumption_rate_hz: mu (1/s), positive.
        decay_rate_hz: Gamma (1/s), at least 0.
        new_fidelity: F_0 of a fresh pair, in [0, 1].
        purify_probability: q, in [0, 1].
        purify_success_probability: s, in [0, 1].
        jump_slope: m, in [0, 1].
        jump_offset: n, in [0, 1].

    Source:
        Davies, Iñesta and Wehner, Quantum 8, 1458, 2024; the formulas were rederived from the balance of rates.
    """
    generation = require_positive("generation_rate_hz", generation_rate_hz)
    consumption = require_positive("consumption_rate_hz", consumption_rate_hz)
    decay = require_non_negative("decay_rate_hz", decay_rate_hz)
    fresh = require_between("new_fidelity", new_fidelity, 0.0, 1.0)
    pumping = generation * unit_interval("purify_probability", purify_probability)
    success = unit_interval("purify_success_probability", purify_success_probability)
    slope, offset = unit_interval("jump_slope", jump_slope), unit_interval("jump_offset", jump_offset)
    emptying = consumption + pumping * (1.0 - success)
    return Buffer(
        availability=np.asarray(generation / (generation + emptying)),
        consumed_fidelity=np.asarray(
            (decay / 4.0 + offset * pumping * success + fresh * emptying)
            / (decay + consumption + pumping * (1.0 - slope * success))
        ),
    )


def use_before_cutoff(consumption_rate_hz: ArrayLike, cutoff_s: ArrayLike) -> NDArray[np.float64]:
    """Return 1 - exp(-mu tau), the share of one slot's pairs that Poisson requests take before a hard cutoff.

    A share of 0.9 needs mu tau = 2.303.
    """
    requests = require_positive("consumption_rate_hz", consumption_rate_hz)
    return np.asarray(-np.expm1(-requests * require_non_negative("cutoff_s", cutoff_s)))


def dejmps_coefficients(new_pair: ArrayLike, n: int) -> PurificationCoefficients:
    """Return the coefficients of DEJMPS with one fresh pair of given weights `(4,)`, however many others there are.

    The stored pair is a Werner pair. With weights (I, X, Y, Z): c = 2(I + Y - X - Z)/3, d = 1/2,
    a = (5 I - 3 Y + X + Z)/6, b = (I + Y - X - Z)/8.
    """
    i, x, y, z = require_bell_diagonal("new_pair", new_pair)
    balance = i + y - x - z
    a, b, c = (5.0 * i - 3.0 * y + x + z) / 6.0, balance / 8.0, 2.0 * balance / 3.0
    count = require_count("n", n)
    return PurificationCoefficients(
        a=np.full(count, a), b=np.full(count, b), c=np.full(count, c), d=np.full(count, 0.5)
    )


def replacement_coefficients(new_fidelity: float, n: int) -> PurificationCoefficients:
    """Return the coefficients of replacing the stored pair by a fresh one, which always succeeds."""
    fresh = float(require_between("new_fidelity", new_fidelity, 0.0, 1.0)) - 0.25
    count = require_count("n", n)
    return PurificationCoefficients(a=np.zeros(count), b=np.full(count, fresh), c=np.zeros(count), d=np.ones(count))


def buffer_one_stored_many_generated(
    generation_probability: float,
    new_fidelity: float,
    *,
    purify_probability: float,
    decay_per_slot: float,
    consumption_probability: float,
    coefficients: PurificationCoefficients,
) -> Buffer:
    """Return the steady state of a slotted buffer of one good and n bad memories (1GnB). Scalars only.

    In every slot the stored pair decays by exp(-Gamma), then is taken with probability c; if it is not, each bad memory
    makes a pair with probability p. With no stored pair one of them is stored; with one, they purify it with
    probability q and are dropped otherwise.

    Args:
        generation_probability: p, in (0, 1].
        new_fidelity: Fidelity of a fresh pair.
        purify_probability: q, in [0, 1].
        decay_per_slot: Gamma, at least 0.
        consumption_probability: c, in (0, 1].
        coefficients: What purification with 1 ... n fresh pairs does.

    Source:
        Iñesta, Davies, Kar and Wehner, arXiv 2502.20240 for the system; solved here, see the code.
    """
    p = float(unit_interval("generation_probability", generation_probability, open_end=0.0))
    consume = float(unit_interval("consumption_probability", consumption_probability, open_end=0.0))
    q = float(unit_interval("purify_probability", purify_probability))
    decay = float(np.exp(-require_non_negative("decay_per_slot", decay_per_slot)))
    fresh = float(require_between("new_fidelity", new_fidelity, 0.0, 1.0)) - 0.25
    n = len(coefficients.a)
    numbers = np.arange(1, n + 1)
    chances = _binomial(n, p)[numbers]
    arrival = chances.sum()
    a, b, c, d = (
        float(np.sum(chances * coefficient)) * q * (1.0 - consume)
        for coefficient in (coefficients.a, coefficients.b, coefficients.c, coefficients.d)
    )
    # Let h be the mean number of slots in which the pair is still stored after the slot, and y the mean sum over them
    # of x = F - 1/4; both are linear in x at the slot's end: one slot maps (1, x) by this matrix, for pairs that stay.
    stay = (1.0 - consume) * (1.0 - q * arrival)
    step = np.array([[stay + d, decay * c], [b, decay * (stay + a)]])
    sums = np.linalg.solve(np.eye(2) - step, np.array([1.0, fresh]))
    occupied_slots, summed_excess = sums
    # In each occupied slot the pair decays and is taken with probability c at the slot's end.
    return Buffer(
        availability=np.asarray(occupied_slots / (occupied_slots + 1.0 / arrival)),
        consumed_fidelity=np.asarray(0.25 + decay * summed_excess / occupied_slots),
    )


def continuous_distribution_availability(
    generation_probability: ArrayLike, consumption_probability: ArrayLike, slots: ArrayLike
) -> NDArray[np.float64]:
    """Return the chance that two neighbours hold at least one pair, with r slots each and no swaps.

    Every slot one pair is generated with probability p unless all r slots are taken, and then one is taken with
    probability c if there is one. The number held at a slot's end is a birth-death chain with up/down ratio
    rho = p (1 - c)/((1 - p) c), and p (1 - c)/c into the full state, so

        P(>= 1) = 1 - 1/(1 + rho + ... + rho^(r-1) + (1 - p) rho^r).

    Args:
        generation_probability: p, in (0, 1).
        consumption_probability: c, in (0, 1).
        slots: r, at least 1.

    Source:
        Iñesta and Wehner, arXiv 2307.01406, for the system without swaps; derived here.
    """
    p = unit_interval("generation_probability", generation_probability)
    c = unit_interval("consumption_probability", consumption_probability)
    if np.any((p <= 0) | (p >= 1) | (c <= 0) | (c >= 1)):
        raise DomainError("Argument `generation_probability` and `consumption_probability` must be in (0, 1).")
    r = require_positive("slots", slots)
    ratio = p * (1.0 - c) / ((1.0 - p) * c)
    with np.errstate(invalid="ignore", divide="ignore"):
        series = np.where(np.abs(ratio - 1.0) < 1e-9, r, np.expm1(r * np.log(ratio)) / (ratio - 1.0))
    return np.asarray(1.0 - 1.0 / (series + (1.0 - p) * ratio**r))


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """Return the probabilities `(n + 1,)` of 0 ... n successes."""
    probabilities = np.array([1.0])
    for _ in range(n):
        probabilities = np.convolve(probabilities, [1.0 - p, p])
    return probabilities
