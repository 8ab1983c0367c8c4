"""How long it takes to have pairs: closed forms in slots, one attempt of success probability p a slot.

A pair that is heralded in the slot of an attempt exists at its end; a waiting time of 1 slot means success at the first
attempt. Every function takes arrays unless it says otherwise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between, require_count, require_non_negative, unit_interval

__all__ = [
    "TwoLinks",
    "barrier_ready_probability",
    "expected_slots_all_links",
    "expected_slots_two_in_window",
    "nested_swap_slots_estimate",
    "two_links_with_cutoff",
]

# Below this success probability the sum over slots is long and its continuous limit exact to a relative 1e-9.
_SUMMED_DOWN_TO = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLinks:
    """Two links whose pairs are swapped, with a cutoff on how long the first waits for the second.

    Attributes:
        mean_slots: Mean number of slots until an end-to-end pair.
        attempt_success_probability: Chance that, once a first pair exists, the second comes within the cutoff.
        retained: Mean factor that storage leaves of the end-to-end Werner parameter.
    """

    mean_slots: NDArray[np.float64]
    attempt_success_probability: NDArray[np.float64]
    retained: NDArray[np.float64]


def two_links_with_cutoff(
    success_probability: ArrayLike,
    cutoff_slots: ArrayLike,
    *,
    retained_per_slot: ArrayLike = 1.0,
    swap_success_probability: ArrayLike = 1.0,
) -> TwoLinks:
    """Return waiting time and storage loss of two equal links in a chain that swap as soon as both have a pair.

    Both attempt in every slot until one succeeds; the other goes on for up to `cutoff_slots` more slots, then the pair
    is dropped and both start anew. With q = 1 - p and t the cutoff

        E[T] = (1 + 2 q (1 - q^t))/(p s (p + 2 q (1 - q^t))),   P = (p + 2 q (1 - q^t))/(2 - p)
        E[r^wait] = p (1 + 2 q r (1 - (q r)^t)/(1 - q r))/(p + 2 q (1 - q^t))

    where s is the swap's chance and r what a slot of storage leaves of a Werner parameter.

    Args:
        success_probability: p, in (0, 1].
        cutoff_slots: t, at least 0, may be infinite.
        retained_per_slot: r, in [0, 1].
        swap_success_probability: s, in (0, 1]; a failed swap costs both pairs.

    Source:
        Collins, Jenkins, Kuzmich and Kennedy, PRL 98, 060502, 2007 for the cutoff; formulas derived here.
    """
    p = unit_interval("success_probability", success_probability, open_end=0.0)
    swap = unit_interval("swap_success_probability", swap_success_probability, open_end=0.0)
    kept = unit_interval("retained_per_slot", retained_per_slot)
    cutoff = np.asarray(cutoff_slots, dtype=np.float64)
    if np.any(~(cutoff >= 0.0)):
        raise DomainError("Argument `cutoff_slots` must be non-negative, but is not.")
    q = 1.0 - p
    # 0 ** inf, 1 ** inf and q ** inf are what they should be.
    second = 2.0 * q * (1.0 - q**cutoff)
    decayed = q * kept
    with np.errstate(invalid="ignore", divide="ignore"):
        series = np.where(decayed < 1.0, (1.0 - decayed**cutoff) / (1.0 - decayed), cutoff)
    return TwoLinks(
        mean_slots=np.asarray((1.0 + second) / (p * swap * (p + second))),
        attempt_success_probability=np.asarray((p + second) / (2.0 - p)),
        retained=np.asarray(p * (1.0 + 2.0 * decayed * series) / (p + second)),
    )


def expected_slots_all_links(success_probability: float, n_links: int, needed: int | None = None) -> float:
    """Return the mean number of slots until `needed` of `n_links` parallel links have a pair.

    Links attempt independently until each has one. For all of them it is sum_t 1 - (1 - q^t)^n, for a quorum
    sum_t P(Binomial(n, 1 - q^t) < needed); for small p it tends to (H_n - H_(n - needed))/p. Scalars only.

    Args:
        success_probability: p of every link, in (0, 1].
        n_links: Number of links, at least 1.
        needed: Links that must have a pair, from 1 to `n_links`; all when left out.
    """
    from scipy.special import bdtr  # noqa: PLC0415 - slow to import

    p = float(unit_interval("success_probability", success_probability, open_end=0.0))
    links = require_count("n_links", n_links)
    quorum = links if needed is None else require_count("needed", needed)
    if quorum > links:
        raise DomainError(f"Argument `needed` must be at most `n_links` = {links}, but is {quorum}.")
    if p == 1.0:
        return 1.0
    decay = -np.log1p(-p)
    if p < _SUMMED_DOWN_TO:
        # Slots are short against the waiting time: exponential waits, and half a slot for rounding up.
        harmonic = np.sum(1.0 / np.arange(links - quorum + 1, links + 1))
        return float(harmonic / decay + 0.5)
    last = int(np.ceil((40.0 + np.log(links)) / decay))
    slots = np.arange(last)
    return float(np.sum(bdtr(quorum - 1, links, -np.expm1(-decay * slots))))


def expected_slots_two_in_window(success_probability: ArrayLike, window_slots: ArrayLike) -> NDArray[np.float64]:
    """Return the mean number of slots until one link has made two pairs within a window.

    1/p + 1/(p (1 - q^(w-1))): one wait for a first success, then gaps until one is at most w - 1 slots.

    Args:
        success_probability: p, in (0, 1].
        window_slots: w, the number of consecutive slots that must hold both successes, at least 2.

    Source:
        The problem of Davies, Beauchamp, Vardoyan and Wehner, arXiv 2304.12673, for n = 2; derived here.
    """
    p = unit_interval("success_probability", success_probability, open_end=0.0)
    window = require_non_negative("window_slots", window_slots)
    if np.any(window < 2):
        raise DomainError("Argument `window_slots` must be at least 2, but is below.")
    return np.asarray(1.0 / p + 1.0 / (p * (1.0 - (1.0 - p) ** (window - 1.0))))


def barrier_ready_probability(success_probability: float, window_slots: int, pairs_needed: int, n_links: int) -> float:
    """Return the chance that all links have made enough pairs within the last slots, P(Bin(w, p) >= m)^n. Scalars."""
    from scipy.special import bdtrc  # noqa: PLC0415 - slow to import

    p = float(unit_interval("success_probability", success_probability))
    window, pairs = require_count("window_slots", window_slots), require_count("pairs_needed", pairs_needed)
    if pairs > window:
        return 0.0
    return float(bdtrc(pairs - 1, window, p)) ** require_count("n_links", n_links)


def nested_swap_slots_estimate(
    success_probability: ArrayLike, swap_success_probability: ArrayLike, levels: int
) -> NDArray[np.float64]:
    """Return the estimate (3/(2s))^levels/p of the slots for 2^levels links swapped pairwise, without cutoff.

    It takes waits at every level for exponential, which only those of single links are. For p << 1 it is exact at one
    level; at two levels and s = 1 it is 8 % too high (9/4 against 25/12 over p). It is meant for orders of magnitude.

    Source:
        Sangouard, Simon, de Riedmatten and Gisin, RMP 83, 33, 2011, for the rule.
    """
    p = unit_interval("success_probability", success_probability, open_end=0.0)
    swap = require_between("swap_success_probability", swap_success_probability, 0.0, 1.0)
    if np.any(swap <= 0):
        raise DomainError("Argument `swap_success_probability` must be in (0, 1], but is 0.")
    return np.asarray((1.5 / swap) ** require_count("levels", levels, 0) / p)
