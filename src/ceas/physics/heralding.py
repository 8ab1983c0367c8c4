"""Bell pairs heralded over fibre by the double-click protocol with a station at the midpoint.

Each node prepares its qubit in (|0> + |1>)/sqrt(2) and emits one photon, in an early window for |1> and in a late
window for |0> (the qubit is flipped between the two rounds of the protocol). The photons meet on a balanced beam
splitter with two threshold detectors. A herald is exactly one click in each window. The two qubits are then in
Psi+ (same detector twice) or Psi- (different detectors); a local Pauli correction makes it Phi+.

Herald probabilities, with eta the chance that one photon is detected, p the dark-count probability of one detector in
one window, q = 1 - p, and V the Hong-Ou-Mandel visibility of the two photons:

* Qubits |01> or |10> (probability 1/2): one photon in each window. A window gives exactly one click with probability
  `a = eta q + (1 - eta) 2 p q`. Heralds in which both clicks are photons, `eta^2 q^2`, keep the coherence of |01> and
  |10> up to the factor V, so they are Bell states with a Z error of probability (1 - V)/2. In all others a lost
  photon has told the environment which qubit was which: the coherence is gone (Z error with probability 1/2).
* Qubits |00> or |11> (probability 1/2): two photons in one window and none in the other. The empty window clicks once
  with probability `d = 2 p q`, the full one with `b = q [eta^2 (1 + V)/2 + 2 eta (1 - eta)] + (1 - eta)^2 2 p q`: two
  photons that bunch look like one. These heralds are always false: X and Y errors with probability 1/2 each.

    herald      P = (a^2 + b d) / 2
    true herald     eta^2 q^2 / 2
    fidelity    F = (a^2 + V eta^2 q^2) / (4 P)
    Z weight        (a^2 - V eta^2 q^2) / (4 P)
    X, Y weight     b d / (4 P) each

Limits: p = 0 gives P = eta^2/2 and F = (1 + V)/2; eta -> 0 at p > 0 gives P = 4 p^2 q^2 and F = 1/4 (w = 0).

The state is Bell-diagonal and, without dark counts, dephased rather than Werner. `initial_werner` is the Werner
parameter of equal fidelity, that is of the state after twirling (both ends apply one Pauli-permuting Clifford chosen at
random). Of all Bell-diagonal states of one fidelity the Werner state has the largest entropy, so twirling never raises
the key or the entanglement that a pair can give.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_non_negative, require_positive, unit_interval
from ceas.physics.states import fidelity_to_werner

__all__ = [
    "SPEED_OF_LIGHT_IN_FIBRE_KM_PER_S",
    "HeraldedLink",
    "fibre_transmission",
    "herald_double_click",
    "multiplexed_probability",
]

SPEED_OF_LIGHT_IN_FIBRE_KM_PER_S = 2.0e5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeraldedLink:
    """What heralding achieves on one link or, with arrays of one shape, on many.

    Attributes:
        success_probability: Probability that one attempt is heralded, true and false heralds together.
        true_herald_probability: Probability that one attempt is heralded by two photons and no dark count matters.
        bell_diagonal: Weights `(..., 4)` of a heralded pair after its Pauli correction, order (I, X, Y, Z).
        initial_werner: Werner parameter of equal fidelity.
        attempt_period_s: Time between two attempts of the link (s), all modes together.
        herald_delay_s: Time from the first photon's emission until both ends know of the herald (s).
        latency_s: One-way classical latency between the two ends (s).
    """

    success_probability: NDArray[np.float64]
    true_herald_probability: NDArray[np.float64]
    bell_diagonal: NDArray[np.float64]
    initial_werner: NDArray[np.float64]
    attempt_period_s: NDArray[np.float64]
    herald_delay_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]


def fibre_transmission(distance_km: ArrayLike, attenuation_db_per_km: ArrayLike) -> NDArray[np.float64]:
    """Return the probability that a photon survives a fibre, `10**(-attenuation * distance / 10)`."""
    distance = require_non_negative("distance_km", distance_km)
    attenuation = require_non_negative("attenuation_db_per_km", attenuation_db_per_km)
    return np.asarray(10.0 ** (-attenuation * distance / 10.0))


def multiplexed_probability(success_probability: ArrayLike, modes: ArrayLike) -> NDArray[np.float64]:
    """Return 1 - (1 - p)^M, the chance that at least one of M independent modes succeeds in one round.

    This is for modes that are tried at the same instant and of which one success is kept; `herald_double_click` instead
    interleaves modes, which keeps all successes.
    """
    success = unit_interval("success_probability", success_probability)
    count = require_positive("modes", modes)
    # log1p and expm1 keep their accuracy at the tiny probabilities of real links.
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(count * np.log1p(-success)))


def herald_double_click(
    distance_km: ArrayLike,
    *,
    attenuation_db_per_km: ArrayLike,
    device_efficiency: ArrayLike,
    dark_count_probability: ArrayLike,
    visibility: ArrayLike,
    preparation_time_s: ArrayLike,
    multiplexing: int,
    speed_of_light_km_per_s: float = SPEED_OF_LIGHT_IN_FIBRE_KM_PER_S,
) -> HeraldedLink:
    """Derive a link's attempt period, herald probability and initial state from its hardware.

    One mode needs `2 (preparation + distance / c)` for an attempt: two rounds, each a preparation, the flight to the
    midpoint and the answer back. `multiplexing` modes interleave evenly. The formulas are in this module's docstring.

    Args:
        distance_km: Fibre length between the two nodes (km), at least 0; the station is in its middle.
        attenuation_db_per_km: Fibre attenuation (dB/km), at least 0.
        device_efficiency: Chance that a photon is emitted, collected and detected over fibre of no length, in (0, 1].
            For two unlike nodes use the geometric mean; it is exact for true heralds.
        dark_count_probability: Chance that one detector clicks for no photon in one detection window, in [0, 1).
        visibility: Hong-Ou-Mandel visibility of the two photons, in [0, 1].
        preparation_time_s: Time to prepare the qubit and emit (s), at least 0.
        multiplexing: Number of modes that attempt independently, at least 1.
        speed_of_light_km_per_s: Speed of light in the fibre (km/s).

    Returns:
        HeraldedLink with arrays of the arguments' broadcast shape.

    Raises:
        DomainError: An argument is outside its range, an attempt takes no time, or a link can never herald.

    Source:
        Barrett and Kok, PRA 71, 060310(R), 2005 for the protocol; dark counts and visibility derived here.
    """
    if multiplexing < 1:
        raise DomainError(f"Argument `multiplexing` must be at least 1, but is {multiplexing}.")
    efficiency = unit_interval("device_efficiency", device_efficiency, open_end=0.0)
    dark = unit_interval("dark_count_probability", dark_count_probability, open_end=1.0)
    overlap = unit_interval("visibility", visibility)
    eta = efficiency * np.sqrt(fibre_transmission(distance_km, attenuation_db_per_km))
    latency = np.asarray(distance_km, dtype=np.float64) / require_positive(
        "speed_of_light_km_per_s", speed_of_light_km_per_s
    )
    preparation, eta, dark, overlap, latency = np.broadcast_arrays(
        require_non_negative("preparation_time_s", preparation_time_s), eta, dark, overlap, latency
    )
    if np.any(preparation + latency <= 0):
        raise DomainError("Argument `preparation_time_s` must be positive on a link of length 0, but is 0.")
    success, true_herald, bell_diagonal = _herald(eta, dark, overlap)
    return HeraldedLink(
        success_probability=success,
        true_herald_probability=true_herald,
        bell_diagonal=bell_diagonal,
        initial_werner=fidelity_to_werner(bell_diagonal[..., 0]),
        attempt_period_s=2.0 * (preparation + latency) / multiplexing,
        herald_delay_s=preparation + 2.0 * latency,
        latency_s=latency.copy(),
    )


def _herald(
    eta: NDArray[np.float64], dark: NDArray[np.float64], visibility: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability of a herald, that of a true one, and the Bell-diagonal weights after a herald."""
    quiet = 1.0 - dark
    one_dark_click = 2.0 * dark * quiet
    one_photon = eta * quiet + (1.0 - eta) * one_dark_click
    two_photons = (
        quiet * (eta**2 * (1.0 + visibility) / 2.0 + 2.0 * eta * (1.0 - eta)) + (1.0 - eta) ** 2 * one_dark_click
    )
    both_photons = (eta * quiet) ** 2
    opposite = one_photon**2
    equal = two_photons * one_dark_click
    success = (opposite + equal) / 2.0
    if np.any(success <= 0):
        raise DomainError("Argument `distance_km` must leave some photons to herald with, but a link never heralds.")
    coherent = visibility * both_photons
    weights = np.stack([opposite + coherent, equal, equal, opposite - coherent], axis=-1) / (4.0 * success[..., None])
    return success, both_photons / 2.0, weights
