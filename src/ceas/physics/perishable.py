"""One link's stock of perishable pairs under Poisson supply and demand: who is served how old, and how much is wasted.

Pairs come at rate lambda, requests at rate mu; a request takes one pair at once, or is lost when there is none. A pair
older than tau is dropped (fixed lifetime), or each is dropped at rate gamma (exponential lifetime). Storage is endless.
Utilisation U is the share of pairs that serve a request; then the share of served requests is S = lambda U/mu.

* FIFO, oldest first: the oldest pair's age has density proportional to exp((lambda - mu) x) below tau, so with
  P0 = 1/(1 + lambda (exp((lambda - mu) tau) - 1)/(lambda - mu)) the chance of an empty stock,
  U = 1 - P0 exp((lambda - mu) tau), and served ages have that density. At lambda = mu: U = lambda tau/(1 + lambda tau).
* LIFO, freshest first: a pair is served when requests have outnumbered newer pairs for the first time, so its age is a
  busy period of the M/M/1 queue: f(t) = sqrt(mu/lambda) exp(-(lambda + mu) t) I1(2 t sqrt(lambda mu))/t, and U is its
  integral up to tau.

Oldest first serves the most requests, freshest first the youngest pairs. Which delivers more value depends on how much
of it a lifetime costs: freshest first where pairs decay far within their lifetime, oldest first where they hardly do.

Both laws were derived here: FIFO from the balance of the oldest pair's age, LIFO from the first passage just described.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import UnknownNameError
from ceas.physics.domain import require_non_negative, require_positive, unit_interval

__all__ = [
    "Discipline",
    "exponential_lifetime_utilisation",
    "mean_decay_at_use",
    "pairs_per_lifetime_needed",
    "served_age_density",
    "utilisation",
]

Discipline = Literal["fifo", "lifo"]

# Composite Gauss-Legendre quadrature over a lifetime; panels shorten towards 0, where the density is steepest.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_PANELS = 24
_SMALLEST_PANEL = 1e-6
_BISECTIONS = 100


def utilisation(
    supply_rate_hz: ArrayLike, demand_rate_hz: ArrayLike, lifetime_s: ArrayLike, discipline: Discipline
) -> NDArray[np.float64]:
    """Return the share of pairs that serve a request before they are `lifetime_s` old.

    Args:
        supply_rate_hz: lambda (1/s), positive.
        demand_rate_hz: mu (1/s), positive.
        lifetime_s: tau (s), positive.
        discipline: `fifo` (oldest first) or `lifo` (freshest first).

    Raises:
        UnknownNameError: There is no such discipline.
    """
    return mean_decay_at_use(supply_rate_hz, demand_rate_hz, lifetime_s, 0.0, discipline, per_served=False)


def mean_decay_at_use(
    supply_rate_hz: ArrayLike,
    demand_rate_hz: ArrayLike,
    lifetime_s: ArrayLike,
    decay_rate_hz: ArrayLike,
    discipline: Discipline,
    *,
    per_served: bool = True,
) -> NDArray[np.float64]:
    """Return E[exp(-s age)] over served pairs: what decay at rate s leaves of an exponential value at its use.

    Args:
        supply_rate_hz: lambda (1/s), positive.
        demand_rate_hz: mu (1/s), positive.
        lifetime_s: tau (s), positive.
        decay_rate_hz: s (1/s), at least 0; twice the decay rate of the Werner parameter for a gradient's value.
        discipline: `fifo` or `lifo`.
        per_served: Average over served pairs; over all pairs, wasted ones counting nothing, when False.
    """
    supply, demand, lifetime = _link(supply_rate_hz, demand_rate_hz, lifetime_s)
    decay = require_non_negative("decay_rate_hz", decay_rate_hz)
    served = _integral(supply, demand, lifetime, np.zeros_like(decay), discipline)
    kept = _integral(supply, demand, lifetime, decay, discipline)
    return np.asarray(kept / served if per_served else kept)


def served_age_density(
    age_s: ArrayLike,
    supply_rate_hz: ArrayLike,
    demand_rate_hz: ArrayLike,
    lifetime_s: ArrayLike,
    discipline: Discipline,
) -> NDArray[np.float64]:
    """Return the density (1/s) of the age at use, over all pairs: its integral over a lifetime is the utilisation."""
    age = require_non_negative("age_s", age_s)
    supply, demand, lifetime = _link(supply_rate_hz, demand_rate_hz, lifetime_s)
    return np.asarray(np.where(age < lifetime, _density(age, supply, demand, lifetime, discipline), 0.0))


def pairs_per_lifetime_needed(
    demand_per_supply: ArrayLike, target_utilisation: ArrayLike, discipline: Discipline
) -> NDArray[np.float64]:
    """Return the pairs per lifetime, lambda tau, at which a utilisation is reached; infinite where it never is.

    However long pairs live, U stays below min(1, mu/lambda).

    Args:
        demand_per_supply: mu/lambda, positive.
        target_utilisation: U to be reached, in (0, 1).
        discipline: `fifo` or `lifo`.
    """
    ratio = require_positive("demand_per_supply", demand_per_supply)
    target = unit_interval("target_utilisation", unit_interval("target_utilisation", target_utilisation), open_end=0.0)
    ratio, target = np.broadcast_arrays(ratio, target)
    possible = target < np.minimum(1.0, ratio)
    low, high = np.full(ratio.shape, np.log(1e-9)), np.full(ratio.shape, np.log(1e9))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        reached = utilisation(1.0, ratio, np.exp(middle), discipline) >= target
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    # A target at the cap itself is not reached by 1e9 pairs per lifetime either.
    return np.asarray(np.where(possible & (high < np.log(1e9)), np.exp(high), np.inf))


def exponential_lifetime_utilisation(supply_rate_hz: float, demand_rate_hz: float, loss_rate_hz: float) -> float:
    """Return the utilisation when every pair is lost at rate gamma, in any order of service. Scalars only.

    The stock is an M/M/1+M queue: pi_k proportional to lambda^k/prod_(j<=k)(mu + j gamma), U = mu (1 - pi_0)/lambda.
    """
    supply = float(require_positive("supply_rate_hz", supply_rate_hz))
    demand = float(require_positive("demand_rate_hz", demand_rate_hz))
    loss = float(require_positive("loss_rate_hz", loss_rate_hz))
    # Beyond three times the mean of the lossy part the terms fall faster than geometrically.
    largest = int(np.ceil(3.0 * supply / loss)) + 200
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(supply) - np.log(demand + loss * np.arange(1, largest)))])
    terms = np.exp(logarithms - logarithms.max())
    return float(demand * (1.0 - terms[0] / terms.sum()) / supply)


def _link(
    supply_rate_hz: ArrayLike, demand_rate_hz: ArrayLike, lifetime_s: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return supply, demand and lifetime after their checks."""
    return (
        require_positive("supply_rate_hz", supply_rate_hz),
        require_positive("demand_rate_hz", demand_rate_hz),
        require_positive("lifetime_s", lifetime_s),
    )


def _density(
    age: NDArray[np.float64],
    supply: NDArray[np.float64],
    demand: NDArray[np.float64],
    lifetime: NDArray[np.float64],
    discipline: str,
) -> NDArray[np.float64]:
    """Return the density of served ages at ages below the lifetime."""
    if discipline == "lifo":
        from scipy.special import ive  # noqa: PLC0415 - slow to import

        argument = 2.0 * age * np.sqrt(supply * demand)
        # I1(x) exp(-x)/x tends to 1/2 at 0.
        scaled = np.where(argument > 0.0, ive(1, argument) / np.where(argument > 0.0, argument, 1.0), 0.5)
        return np.asarray(2.0 * demand * scaled * np.exp(-((np.sqrt(supply) - np.sqrt(demand)) ** 2) * age))
    if discipline == "fifo":
        growth = supply - demand
        shift = np.maximum(growth * lifetime, 0.0)
        return np.asarray(demand * np.exp(growth * age - shift) / _fifo_norm(supply, growth, lifetime, shift))
    raise UnknownNameError("discipline", discipline, ("fifo", "lifo"))


def _integral(
    supply: NDArray[np.float64],
    demand: NDArray[np.float64],
    lifetime: NDArray[np.float64],
    decay: NDArray[np.float64],
    discipline: str,
) -> NDArray[np.float64]:
    """Return the integral of the density of served ages times exp(-decay age) over a lifetime."""
    if discipline == "fifo":
        growth = supply - demand
        shift = np.maximum(growth * lifetime, 0.0)
        served = demand * _exponential_integral(growth - decay, lifetime, shift)
        return np.asarray(served / _fifo_norm(supply, growth, lifetime, shift))
    shape = np.broadcast_shapes(supply.shape, demand.shape, lifetime.shape, decay.shape)
    edges = np.concatenate([[0.0], np.geomspace(_SMALLEST_PANEL, 1.0, _PANELS)])
    widths = np.diff(edges)[:, None] / 2.0
    fractions = (edges[:-1, None] + widths * (_NODES + 1.0)).reshape(-1, *(1 for _ in shape))
    weights = (widths * _WEIGHTS).reshape(-1, *(1 for _ in shape))
    ages = fractions * lifetime
    values = _density(ages, supply, demand, lifetime, discipline) * np.exp(-decay * ages)
    return np.asarray((weights * values).sum(axis=0) * lifetime)


def _fifo_norm(
    supply: NDArray[np.float64], growth: NDArray[np.float64], lifetime: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return 1/P0 times exp(-shift), which keeps a large stock from overflowing."""
    return np.asarray(np.exp(-shift) + supply * _exponential_integral(growth, lifetime, shift))


def _exponential_integral(
    rate: NDArray[np.float64], lifetime: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the integral of exp(rate x - shift) over a lifetime, for shift at least rate times lifetime."""
    span = rate * lifetime
    safe = np.where(rate == 0.0, 1.0, rate)
    grown = -np.expm1(-np.abs(span)) / np.abs(safe) * np.exp(np.maximum(span, 0.0) - shift)
    return np.asarray(np.where(rate == 0.0, lifetime * np.exp(-shift), grown))
