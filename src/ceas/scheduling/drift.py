"""What a scheduler learns while it runs: chances of success and request rates that are not what it was told.

A `DriftMonitor` is given the counts of every link after each chunk of slots. For the chance of success, and for the
rate of each class, it keeps the counts since the last change: beside those of the forecast, which counts as much as a
given number of trials. A change is seen when the newest chunks differ from what was expected by more than a number of
standard errors; then only they count. How fast stored pairs decay shows in no count, and is not learned.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.physics.domain import require_positive

__all__ = ["Counts", "DriftMonitor", "run_with_monitor"]

Float64s = npt.NDArray[np.float64]
Counts = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Attempts and births so far, both `(E,)`, and requests so far by class, `(E, C)`."""

_LEAST_CHANCE = 1e-3
# Chunks that are held against what came before.
_RECENT_CHUNKS = 3


class DriftMonitor:
    """Estimates of a network's chances and rates, from its counts.

    Args:
        network: The network as it is believed to be at the start.
        forecast: Its requests.
        prior_attempts: Attempts that the given chance of success counts for.
        prior_slots: Slots that the given rates count for.
        threshold: Standard errors from which a difference is a change.
        learns_rates: Whether rates are learned; the counts give a route to its first link, so not for routes.
    """

    def __init__(
        self,
        network: SlottedNetwork,
        forecast: Forecast,
        *,
        prior_attempts: float = 100.0,
        prior_slots: float = 400.0,
        threshold: float = 4.0,
        learns_rates: bool = True,
    ) -> None:
        for name, value in (
            ("prior_attempts", prior_attempts),
            ("prior_slots", prior_slots),
            ("threshold", threshold),
        ):
            require_positive(name, value)
        self._network, self._forecast = network, forecast
        self._threshold, self._learns_rates = threshold, learns_rates
        chance, rate = network.success_probability, forecast.rate
        self._trials = [np.full(len(chance), prior_attempts), np.full(rate.shape, prior_slots)]
        self._events = [prior_attempts * chance, prior_slots * rate]
        self._recent: list[list[tuple[Float64s, Float64s]]] = [[], []]
        self._counts: Counts | None = None
        self._slot = 0
        self.n_changes = 0

    def observe(self, counts: Counts, slot: int) -> bool:
        """Take in the counts at the end of the slots before `slot`; return whether a change was seen.

        Raises:
            DomainError: `slot` is not later than at the last call.
        """
        if slot <= self._slot:
            raise DomainError(f"Argument `slot` must be above {self._slot}, but is {slot}.")
        last = self._counts or tuple(np.zeros_like(one) for one in counts)
        attempts, births, requested = (
            (now - before).astype(np.float64) for now, before in zip(counts, last, strict=True)
        )
        slots = np.full(requested.shape, float(slot - self._slot))
        self._counts = (counts[0].copy(), counts[1].copy(), counts[2].copy())
        self._slot = slot
        seen = self._take_in(0, attempts, births)
        if self._learns_rates:
            seen += self._take_in(1, slots, requested)
        self.n_changes += seen
        return seen > 0

    def _take_in(self, which: int, trials: Float64s, events: Float64s) -> int:
        """Add a chunk's counts of chances (0) or rates (1); return in how many places a change was seen."""
        recent = self._recent[which]
        recent.append((trials, events))
        if len(recent) > _RECENT_CHUNKS:
            old_trials, old_events = recent.pop(0)
            self._trials[which] += old_trials
            self._events[which] += old_events
        new_trials = np.sum([one for one, _ in recent], axis=0)
        new_events = np.sum([one for _, one in recent], axis=0)
        believed = self._events[which] / self._trials[which]
        # Binomial for chances, Poisson for rates; the belief itself is uncertain by its own trials.
        variance = believed * (1.0 - believed if which == 0 else 1.0) * new_trials
        variance = variance * (1.0 + new_trials / self._trials[which])
        error = np.abs(new_events - believed * new_trials)
        changed = error > self._threshold * np.sqrt(np.maximum(variance, 1.0))
        if not changed.any():
            return 0
        # What came before the change says nothing any more; a little of it stays, so that a chance is never 0.
        self._events[which] = np.where(changed, believed, self._events[which])
        self._trials[which] = np.where(changed, 1.0, self._trials[which])
        return int(changed.sum())

    def knowledge(self) -> tuple[SlottedNetwork, Forecast]:
        """Return the network and forecast as they are believed to be now."""
        estimate = []
        for which in range(2):
            recent = self._recent[which]
            trials = self._trials[which] + sum(one for one, _ in recent)
            estimate.append((self._events[which] + sum(one for _, one in recent)) / trials)
        chance = np.clip(estimate[0], _LEAST_CHANCE, 1.0)
        network = replace(self._network, success_probability=chance)
        if not self._learns_rates:
            return network, self._forecast
        return network, replace(self._forecast, rate=estimate[1])


def run_with_monitor(
    monitor: DriftMonitor,
    build: Callable[[SlottedNetwork, Forecast], SlotPolicy],
    advance: Callable[[SlotPolicy, int], Counts],
    *,
    n_slots: int,
    chunk_slots: int = 25,
) -> int:
    """Run a policy in chunks of slots, and build it anew with what was learned when a change was seen.

    Args:
        monitor: The monitor.
        build: Builds the policy from what is believed.
        advance: Runs a policy up to a slot, and returns the counts so far.
        n_slots: Slots to run.
        chunk_slots: Slots of a chunk, at least 1.

    Returns:
        How often the policy was built.

    Raises:
        DomainError: `n_slots` or `chunk_slots` is below 1.
    """
    for name, value in (("n_slots", n_slots), ("chunk_slots", chunk_slots)):
        if value < 1:
            raise DomainError(f"Argument `{name}` must be at least 1, but is {value}.")
    policy = build(*monitor.knowledge())
    n_built = 1
    for slot in range(chunk_slots, n_slots + chunk_slots, chunk_slots):
        until = min(slot, n_slots)
        if monitor.observe(advance(policy, until), until) and until < n_slots:
            policy = build(*monitor.knowledge())
            n_built += 1
        if until == n_slots:
            break
    return n_built
