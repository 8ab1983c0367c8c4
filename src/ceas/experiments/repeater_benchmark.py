"""The repeater that the network benchmark runs in every program: what it does, exactly, and what to expect of it.

Three routers in a row, two links. Each link has `memories` pairs of memories, one memory at either end of the link.

- A pair of memories attempts at fixed times: number m of M begins an attempt at (m + k M) / M attempt periods, for
  every k at which it is free. An attempt takes `attempt_period_ns`: two rounds of a photon's way to the middle and the
  answer's way back (double click), or the time between two excitations of the memory, if that is longer; rounded up, so
  that M divides it. It succeeds with `success_probability`, independently of all others; both ends know at its end.
- A pair begins at that moment with `initial_werner`. Its Werner parameter decays by exp(-t / T) for each of its two
  memories, also while the news of a swap is on its way.
- As soon as the middle router holds a pair of either link it swaps the oldest of one with the oldest of the other, at
  no time, without failure, without error: the Werner parameters multiply.
- The end-to-end pair is delivered when the ends hear of the swap, `latency_ns` after it, and is measured then. The four
  memories are free from then on.
- With a cutoff (one memory only): when a stored pair has seen `cutoff_attempts` attempts of the other link fail, it is
  given up at the end of the last of them, and both links begin anew.

Times are whole nanoseconds in every program.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between, require_positive

__all__ = ["Estimate", "Repeater", "RepeaterRun", "Timing", "batch_estimates", "one_memory_expectation", "timed"]

LIGHT_KM_PER_S = 2.0e5


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeater:
    """Parameters of the repeater; the defaults are those of the published comparison.

    Attributes:
        link_km: Length of each of the two links (km).
        memories: Memory pairs of each link.
        memory_efficiency: Chance that a memory emits a photon into the fibre.
        detector_efficiency: Chance that a detector clicks for a photon.
        attenuation_db_per_km: Fibre attenuation (dB/km).
        initial_fidelity: Fidelity of a pair when its herald is known.
        coherence_time_s: Depolarising time of a memory (s); infinite for perfect ones.
        memory_frequency_hz: Largest number of excitations of a memory a second (1/s).
        cutoff_attempts: Attempts of the other link that a stored pair waits for; None for ever.
    """

    link_km: float = 20.0
    memories: int = 10
    memory_efficiency: float = 0.75
    detector_efficiency: float = 0.9
    attenuation_db_per_km: float = 0.2
    initial_fidelity: float = 0.95
    coherence_time_s: float = 0.1
    memory_frequency_hz: float = 2e4
    cutoff_attempts: int | None = None

    def __post_init__(self) -> None:
        for name in ("link_km", "memory_frequency_hz"):
            require_positive(name, getattr(self, name))
        require_positive("coherence_time_s", self.coherence_time_s, finite=False)
        for name in ("memory_efficiency", "detector_efficiency", "initial_fidelity"):
            require_positive(name, require_between(name, getattr(self, name), 0.0, 1.0))
        if self.memories < 1:
            raise DomainError(f"Argument `memories` must be at least 1, but is {self.memories}.")
        if self.cutoff_attempts is not None and (self.cutoff_attempts < 1 or self.memories != 1):
            found = f"{self.cutoff_attempts} with {self.memories} memories"
            raise DomainError(f"Argument `cutoff_attempts` must be at least 1, with one memory, but is {found}.")

    @property
    def success_probability(self) -> float:
        """Chance that one attempt is heralded: half of the square of one photon's chance (double click)."""
        half_link_db = self.attenuation_db_per_km * self.link_km / 2.0
        photon = self.memory_efficiency * self.detector_efficiency * 10.0 ** (-half_link_db / 10.0)
        return float(0.5 * photon**2)

    @property
    def latency_ns(self) -> int:
        """One-way latency of a link (ns)."""
        return round(1e9 * self.link_km / LIGHT_KM_PER_S)

    @property
    def attempt_period_ns(self) -> int:
        """Duration of one attempt (ns), a multiple of the number of memories."""
        shortest = max(2 * self.latency_ns, round(1e9 / self.memory_frequency_hz))
        return -(-shortest // self.memories) * self.memories

    @property
    def initial_werner(self) -> float:
        """Werner parameter of a pair when its herald is known."""
        return (4.0 * self.initial_fidelity - 1.0) / 3.0

    @property
    def decay_rate_hz(self) -> float:
        """Decay rate of a pair's Werner parameter: that of both its memories (1/s)."""
        return 2.0 / self.coherence_time_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long something took: by the clock on the wall, and in this process's own time on the processor (s)."""

    wall_s: float
    cpu_s: float


def timed(run: Callable[[], object]) -> Timing:
    """Run something and return how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Timing(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeaterRun:
    """What one program did, in equal batches of simulated time.

    Attributes:
        count: Pairs delivered in each batch, `(n_batches,)`.
        fidelity_sum: Sum of their fidelities at delivery, `(n_batches,)`.
        batch_s: Simulated time of one batch (s).
        events: Events that the program counted; None if it counts none.
        timing: Time that the simulation itself took, without imports, set-up and compilation.
    """

    count: NDArray[np.float64]
    fidelity_sum: NDArray[np.float64]
    batch_s: float
    events: int | None
    timing: Timing

    @staticmethod
    def from_deliveries(
        delivery_time_s: ArrayLike,
        fidelity: ArrayLike,
        *,
        n_batches: int,
        batch_s: float,
        events: int | None,
        timing: Timing,
    ) -> "RepeaterRun":
        """Return a run from the times and fidelities of single deliveries; those after the last batch are left out."""
        edges = batch_s * np.arange(n_batches + 1)
        return RepeaterRun(
            count=np.histogram(delivery_time_s, edges)[0].astype(np.float64),
            fidelity_sum=np.histogram(delivery_time_s, edges, weights=np.asarray(fidelity, dtype=np.float64))[0],
            batch_s=batch_s,
            events=events,
            timing=timing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean and its standard error."""

    mean: float
    error: float

    def deviation(self, other: "Estimate") -> float:
        """Return how many standard errors of the difference two estimates are apart."""
        error, distance = math.hypot(self.error, other.error), abs(self.mean - other.mean)
        if error > 0.0:
            return distance / error
        return math.inf if distance > 0.0 else 0.0


def batch_estimates(run: RepeaterRun, *, n_warm_up: int = 1) -> tuple[Estimate, Estimate]:
    """Return rate (1/s) and mean fidelity of the pairs delivered after a warm-up, by the method of batch means.

    Deliveries close in time depend on each other, whole batches hardly do. The mean fidelity is a ratio of two batch
    sums; its error is that of the linearised ratio.

    Args:
        run: What a program did.
        n_warm_up: Batches at the beginning that are left out.

    Raises:
        DomainError: Fewer than two batches are left, or none of them has a delivery.
    """
    count, total = run.count[n_warm_up:], run.fidelity_sum[n_warm_up:]
    if len(count) < 2 or not np.any(count):
        raise DomainError(
            f"Argument `run` must have 2 batches with deliveries after the warm-up, but has {len(count)}."
        )
    fidelity = float(total.sum() / count.sum())
    residual = (total - fidelity * count) / count.mean()
    root = math.sqrt(len(count))
    rate = Estimate(mean=float(count.mean() / run.batch_s), error=float(np.std(count, ddof=1) / root / run.batch_s))
    return rate, Estimate(mean=fidelity, error=float(np.std(residual, ddof=1) / root))


def one_memory_expectation(repeater: Repeater) -> tuple[float, float]:
    """Return rate (1/s) and mean fidelity of a repeater with one memory pair a link, in closed form.

    With p the success probability, q = 1 - p, tau the cutoff and lambda the factor on a stored pair's Werner parameter
    in one attempt, the two links need on average (1 + 2 q (1 - q^tau)) / (p (p + 2 q (1 - q^tau))) attempts. The
    first success is a double one with probability p / (2 - p), else it waits k attempts with probability p q^(k-1), for
    k up to tau. To that adds the news of the swap, during which nothing attempts.

    Raises:
        DomainError: There is more than one memory.

    Source:
        Own derivation, a renewal argument; the number of attempts without cutoff, (3 - 2 p) / (p (2 - p)), is that of
        Collins, Jenkins, Kuzmich and Kennedy, PRL 98, 060502 (2007).
    """
    if repeater.memories != 1:
        raise DomainError(f"Argument `memories` must be 1, but is {repeater.memories}.")
    p, period_s = repeater.success_probability, repeater.attempt_period_ns / 1e9
    q, decay = 1.0 - p, math.exp(-repeater.decay_rate_hz * period_s)
    tau = math.inf if repeater.cutoff_attempts is None else float(repeater.cutoff_attempts)
    reaches = p + 2.0 * q * (1.0 - q**tau)
    attempts = (1.0 + 2.0 * q * (1.0 - q**tau)) / (p * reaches)
    stored = p * (1.0 + 2.0 * q * decay * (1.0 - (q * decay) ** tau) / (1.0 - q * decay)) / reaches
    werner = repeater.initial_werner**2 * stored * math.exp(-repeater.decay_rate_hz * repeater.latency_ns / 1e9)
    idle = -(-repeater.latency_ns // repeater.attempt_period_ns)
    return 1.0 / ((attempts + idle) * period_s), (1.0 + 3.0 * werner) / 4.0
