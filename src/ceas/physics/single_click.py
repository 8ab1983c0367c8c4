"""Bell pairs heralded by one click: the bright-state protocol, with any station position and unlike arms.

Each node prepares `sqrt(1 - a)|0> + sqrt(a)|1>` and emits one photon when in |1>; `a` is the bright-state probability.
The photons meet on a balanced beam splitter with two detectors. A herald is a click of exactly one detector; it leaves
the qubits in Psi+ or Psi-, which a local Pauli correction makes Phi+.

With eta_A, eta_B the chances that a photon of either node is detected, p the dark-count probability of one detector in
the window, q = 1 - p, V the Hong-Ou-Mandel visibility and D = exp(-s^2/2) for a phase error of standard deviation s:

* `n = 2 p q`: one click without any photon.
* `k`: one click when one photon reaches a detector. Threshold detectors do not see a dark count on top of it: k = q.
  Number-resolving detectors reject it: k = q^2.
* `b`: one click when both photons reach a detector. Threshold detectors take two photons that leave together for one:
  b = q (1 + V)/2. Number-resolving detectors reject them: b = 0.

    herald and |00>   H00 = (1 - a_A)(1 - a_B) n
    herald and |01>   H01 = (1 - a_A) a_B [eta_B k + (1 - eta_B) n],   |10> likewise
    herald and |11>   H11 = a_A a_B [eta_A eta_B b + (eta_A + eta_B - 2 eta_A eta_B) k + (1 - eta_A)(1 - eta_B) n]
    coherence         C = sqrt(a_A (1 - a_A) a_B (1 - a_B) eta_A eta_B V) D k   between |01> and |10>
    P = H00 + H01 + H10 + H11,   F = ((H01 + H10)/2 + C)/P,   Z weight with -C,   X and Y weight (H00 + H11)/(2 P)

A lost photon and a dark click leave no coherence, since the lost photon knows which node it came from. C has sqrt(V),
not V, since only one photon's inner state has to be the other's (double click: two photons, V). Without dark counts and
with like arms F = (1 - a)/(1 - a eta) or 2(1 - a)/(2 - a eta) at V = D = 1, number-resolving or threshold.

The qubits' state is not quite Bell-diagonal: |00> and |11> (and, with unlike arms, |01> and |10>) differ in weight. The
weights are exact; what is left out vanishes when both ends apply one Pauli chosen at random, which changes no weight.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between, require_non_negative, require_positive, unit_interval
from ceas.physics.heralding import SPEED_OF_LIGHT_IN_FIBRE_KM_PER_S, HeraldedLink, fibre_transmission
from ceas.physics.states import fidelity_to_werner

__all__ = ["BrightState", "balanced_bright_state", "herald_single_click", "optimal_bright_state"]

# The search for the best bright state: log-spaced candidates, then zooms into the best one's neighbourhood.
_LOWEST_CANDIDATE = 1e-6
_CANDIDATES = 241
_ZOOMS = 5
_ZOOM_CANDIDATES = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class BrightState:
    """The best bright-state probability of each link for a purpose.

    Attributes:
        bright_state_probability: The probability `(...)`.
        value_rate_hz: Value of a pair times pairs per second `(...)` at it; 0 where no choice gives any value.
        link: The heralding at it.
    """

    bright_state_probability: NDArray[np.float64]
    value_rate_hz: NDArray[np.float64]
    link: HeraldedLink


def herald_single_click(
    distance_km: ArrayLike,
    *,
    bright_state_probability: ArrayLike,
    attenuation_db_per_km: ArrayLike,
    device_efficiency: ArrayLike,
    dark_count_probability: ArrayLike,
    visibility: ArrayLike,
    preparation_time_s: ArrayLike,
    multiplexing: int = 1,
    number_resolving: bool = False,
    phase_error_rad: ArrayLike = 0.0,
    bright_state_probability_b: ArrayLike | None = None,
    device_efficiency_b: ArrayLike | None = None,
    station_fraction: ArrayLike = 0.5,
    speed_of_light_km_per_s: float = SPEED_OF_LIGHT_IN_FIBRE_KM_PER_S,
) -> HeraldedLink:
    """Derive a link's attempt period, herald probability and initial state from its hardware.

    An attempt takes one preparation, the flight to the station and the answer back, for the longer of the two arms; the
    nearer node emits later, so that the photons arrive together. The formulas are in this module's docstring.

    Args:
        distance_km: Fibre length between the two nodes (km), at least 0.
        bright_state_probability: Probability of the bright state, in [0, 1], at the first node.
        attenuation_db_per_km: Fibre attenuation (dB/km), at least 0.
        device_efficiency: Chance that the first node's photon is emitted, collected and detected over fibre of no
            length, in (0, 1].
        dark_count_probability: Chance that one detector clicks for no photon in the window, in [0, 1).
        visibility: Hong-Ou-Mandel visibility of the two photons, in [0, 1].
        preparation_time_s: Time to prepare the qubit and emit (s), at least 0.
        multiplexing: Number of modes that attempt independently and interleaved, at least 1.
        number_resolving: Whether the detectors count photons.
        phase_error_rad: Standard deviation of the optical phase between the two arms (rad), normally distributed.
        bright_state_probability_b: The second node's; the first's when left out.
        device_efficiency_b: The second node's; the first's when left out.
        station_fraction: Where the station stands, as a fraction of the fibre from the first node: 1/2 is the
            midpoint, 0 or 1 puts it into a node.
        speed_of_light_km_per_s: Speed of light in the fibre (km/s).

    Returns:
        HeraldedLink with arrays of the arguments' broadcast shape; `true_herald_probability` counts heralds by the
        only photon that was emitted.

    Raises:
        DomainError: An argument is outside its range, an attempt takes no time, or a link can never herald.

    Source:
        Cabrillo, Cirac, García-Fernández and Zoller, PRA 59, 1025, 1999 for the protocol; formulas derived here.
    """
    if multiplexing < 1:
        raise DomainError(f"Argument `multiplexing` must be at least 1, but is {multiplexing}.")
    bright_a = unit_interval("bright_state_probability", bright_state_probability)
    bright_b = _second("bright_state_probability_b", bright_state_probability_b, bright_a)
    efficiency_a = unit_interval("device_efficiency", device_efficiency, open_end=0.0)
    efficiency_b = _second("device_efficiency_b", device_efficiency_b, efficiency_a, open_end=0.0)
    fraction = unit_interval("station_fraction", station_fraction)
    distance = require_non_negative("distance_km", distance_km)
    eta_a = efficiency_a * fibre_transmission(fraction * distance, attenuation_db_per_km)
    eta_b = efficiency_b * fibre_transmission((1.0 - fraction) * distance, attenuation_db_per_km)
    overlap = np.sqrt(unit_interval("visibility", visibility)) * np.exp(
        -(require_non_negative("phase_error_rad", phase_error_rad) ** 2) / 2.0
    )
    heralds, coherence, true_herald = _herald(
        bright_a=bright_a,
        bright_b=bright_b,
        eta_a=eta_a,
        eta_b=eta_b,
        dark=unit_interval("dark_count_probability", dark_count_probability, open_end=1.0),
        visibility=unit_interval("visibility", visibility),
        overlap=overlap,
        number_resolving=number_resolving,
    )
    success = heralds.sum(axis=0)
    if np.any(success <= 0):
        raise DomainError("Argument `bright_state_probability` must let some photons herald, but a link never heralds.")
    equal, opposite = (heralds[0] + heralds[3]) / 2.0, (heralds[1] + heralds[2]) / 2.0
    weights = np.stack([opposite + coherence, equal, equal, opposite - coherence], axis=-1) / success[..., None]

    period, round_trip, latency = _times(
        distance, fraction, preparation_time_s, speed_of_light_km_per_s, multiplexing=multiplexing
    )
    success, true_herald, period, round_trip, latency = np.broadcast_arrays(
        success, true_herald, period, round_trip, latency
    )
    weights = np.broadcast_to(weights, (*success.shape, 4))
    return HeraldedLink(
        success_probability=success.copy(),
        true_herald_probability=true_herald.copy(),
        bell_diagonal=weights.copy(),
        initial_werner=fidelity_to_werner(weights[..., 0]),
        attempt_period_s=period.copy(),
        herald_delay_s=round_trip.copy(),
        latency_s=latency.copy(),
    )


def _times(
    distance_km: NDArray[np.float64],
    station_fraction: NDArray[np.float64],
    preparation_time_s: ArrayLike,
    speed_of_light_km_per_s: float,
    *,
    multiplexing: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return attempt period, way to the station and back on the longer arm, and latency between the nodes (s)."""
    latency = distance_km / require_positive("speed_of_light_km_per_s", speed_of_light_km_per_s)
    round_trip = 2.0 * np.maximum(station_fraction, 1.0 - station_fraction) * latency
    period = (require_non_negative("preparation_time_s", preparation_time_s) + round_trip) / multiplexing
    if np.any(period <= 0):
        raise DomainError("Argument `preparation_time_s` must be positive on a link of length 0, but is 0.")
    return period, round_trip, latency


def balanced_bright_state(
    bright_state_probability_a: ArrayLike, efficiency_a: ArrayLike, efficiency_b: ArrayLike
) -> NDArray[np.float64]:
    """Return the second node's bright-state probability for which both nodes' photons are equally likely to be seen.

    `(1 - a_A) a_B eta_B = a_A (1 - a_B) eta_A` makes |01> and |10> equally likely without dark counts, so that an
    unbalanced pair of arms costs no fidelity beyond that of the bright states.

    Args:
        bright_state_probability_a: The first node's bright-state probability, in [0, 1].
        efficiency_a: Chance that the first node's photon is detected, fibre included, in (0, 1].
        efficiency_b: The second node's, in (0, 1].
    """
    bright = unit_interval("bright_state_probability_a", bright_state_probability_a)
    eta_a = unit_interval("efficiency_a", efficiency_a, open_end=0.0)
    eta_b = unit_interval("efficiency_b", efficiency_b, open_end=0.0)
    return np.asarray(bright * eta_a / (bright * eta_a + (1.0 - bright) * eta_b))


def optimal_bright_state(
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    herald: Callable[[NDArray[np.float64]], HeraldedLink],
    *,
    largest: float = 0.5,
) -> BrightState:
    """Return the bright-state probability with the most value per second: pairs per second times value of a pair.

    A brighter state heralds more often and is worth less. Candidates over six decades are compared, then the
    neighbourhood of the best is searched more finely, so the result is right to a relative 1e-5 unless `value` has
    several peaks that differ by less than the first grid (6 %) resolves.

    Args:
        value: Value `(...)` of a pair with weights `(..., 4)`, non-negative; for instance a key fraction, or the
            squared Werner parameter, which is what a pair is worth to a gradient.
        herald: Heralding for bright-state probabilities of any shape `(candidates, ...)`, for instance
            `lambda a: herald_single_click(distance_km, bright_state_probability=a, ...)`.
        largest: Largest probability considered, in (1e-6, 1].
    """
    require_between("largest", largest, _LOWEST_CANDIDATE, 1.0)
    links = herald(np.asarray(_LOWEST_CANDIDATE))
    shape = links.success_probability.shape
    candidates = np.geomspace(_LOWEST_CANDIDATE, largest, _CANDIDATES).reshape(-1, *(1 for _ in shape))
    candidates = np.broadcast_to(candidates, (_CANDIDATES, *shape))
    best, best_rate = np.zeros(shape), np.full(shape, -np.inf)
    for _ in range(_ZOOMS + 1):
        found = herald(np.ascontiguousarray(candidates))
        rates = value(found.bell_diagonal) * found.success_probability / found.attempt_period_s
        index = np.argmax(rates, axis=0)[None]
        rate, candidate = (np.take_along_axis(array, index, axis=0)[0] for array in (rates, candidates))
        best, best_rate = np.where(rate > best_rate, candidate, best), np.maximum(rate, best_rate)
        low = np.take_along_axis(candidates, np.maximum(index - 1, 0), axis=0)[0]
        high = np.take_along_axis(candidates, np.minimum(index + 1, len(candidates) - 1), axis=0)[0]
        candidates = np.geomspace(low, high, _ZOOM_CANDIDATES)
    link = herald(best)
    return BrightState(
        bright_state_probability=best,
        value_rate_hz=np.asarray(value(link.bell_diagonal) * link.success_probability / link.attempt_period_s),
        link=link,
    )


def _herald(
    *,
    bright_a: NDArray[np.float64],
    bright_b: NDArray[np.float64],
    eta_a: NDArray[np.float64],
    eta_b: NDArray[np.float64],
    dark: NDArray[np.float64],
    visibility: NDArray[np.float64],
    overlap: NDArray[np.float64],
    number_resolving: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the chances `(4, ...)` of a herald with |00>, |01>, |10>, |11>, the coherence, and true heralds."""
    quiet = 1.0 - dark
    nothing = 2.0 * dark * quiet
    one = quiet**2 if number_resolving else quiet
    both = np.zeros_like(quiet) if number_resolving else quiet * (1.0 + visibility) / 2.0
    only_a, only_b = eta_a * (1.0 - eta_b), eta_b * (1.0 - eta_a)
    dark_a, dark_b = 1.0 - bright_a, 1.0 - bright_b
    heralds = np.stack(
        np.broadcast_arrays(
            dark_a * dark_b * nothing,
            dark_a * bright_b * (eta_b * one + (1.0 - eta_b) * nothing),
            bright_a * dark_b * (eta_a * one + (1.0 - eta_a) * nothing),
            bright_a
            * bright_b
            * (eta_a * eta_b * both + (only_a + only_b) * one + (1.0 - eta_a) * (1.0 - eta_b) * nothing),
        )
    )
    coherence = np.sqrt(bright_a * dark_a * bright_b * dark_b * eta_a * eta_b) * overlap * one
    true_herald = (dark_a * bright_b * eta_b + bright_a * dark_b * eta_a) * one
    return heralds, np.broadcast_to(coherence, heralds.shape[1:]), np.broadcast_to(true_herald, heralds.shape[1:])


def _second(
    name: str, value: ArrayLike | None, first: NDArray[np.float64], *, open_end: float | None = None
) -> NDArray[np.float64]:
    """Return the second node's value after a check, or the first node's where it was left out."""
    return first if value is None else unit_interval(name, value, open_end=open_end)
