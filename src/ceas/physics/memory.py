"""What a pair becomes while its two halves wait in two memories.

Depolarising memories of coherence time T multiply a qubit's Bloch vector by exp(-t/T). Dephasing memories of time T2
apply Z with probability (1 - exp(-t/T2))/2 and leave populations alone. A pair suffers both memories, so rates add.

All these are Pauli memories: Pauli i strikes a half at a rate g_i and flips the two correlators of the other Paulis, so
`c_x` decays at 2(g_y + g_z), `c_y` at 2(g_x + g_z), `c_z` at 2(g_x + g_y), with g the sum over both halves. Relaxation
is not: see `ceas.physics.relaxation`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import (
    require_bell_diagonal,
    require_between,
    require_correlators,
    require_non_negative,
    require_positive,
    unit_interval,
)
from ceas.physics.states import (
    LOWEST_WERNER,
    bell_diagonal_to_correlators,
    correlators_to_bell_diagonal,
    werner_to_fidelity,
)

__all__ = [
    "attempt_cutoff",
    "correlator_cutoff_s",
    "decay_werner",
    "dephase_bell_diagonal",
    "dephase_by_attempts",
    "dephasing_rates_hz",
    "depolarise_bell_diagonal",
    "depolarising_rates_hz",
    "expected_attempt_coherence",
    "pauli_cutoff_s",
    "pauli_memory",
    "storage_cutoff_s",
]

# Bisection halves an interval this often, far below rounding even where fast and slow decay differ by 1e10.
_BISECTIONS = 100


def decay_werner(
    werner: ArrayLike, elapsed_s: ArrayLike, coherence_time_a_s: ArrayLike, coherence_time_b_s: ArrayLike
) -> NDArray[np.float64]:
    """Return w exp(-t/T_a - t/T_b), the Werner parameter after `elapsed_s` in two depolarising memories.

    Args:
        werner: Werner parameters in [-1/3, 1].
        elapsed_s: Storage time (s), at least 0.
        coherence_time_a_s: Depolarising time of the first memory (s), positive, may be infinite.
        coherence_time_b_s: Depolarising time of the second memory (s), positive, may be infinite.

    Returns:
        Werner parameters of the arguments' broadcast shape.
    """
    initial = require_between("werner", werner, LOWEST_WERNER, 1.0)
    return initial * _retained(elapsed_s, coherence_time_a_s, coherence_time_b_s)


def depolarise_bell_diagonal(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, coherence_time_a_s: ArrayLike, coherence_time_b_s: ArrayLike
) -> NDArray[np.float64]:
    """Return Bell-diagonal weights `(..., 4)` after `elapsed_s` in two depolarising memories.

    Losing one half of a Bell-diagonal pair leaves the maximally mixed state, so each weight relaxes to 1/4. Times as in
    `decay_werner`.
    """
    weights = require_bell_diagonal("bell_diagonal", bell_diagonal)
    retained = _retained(elapsed_s, coherence_time_a_s, coherence_time_b_s)[..., None]
    return retained * weights + (1.0 - retained) / 4.0


def dephase_bell_diagonal(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, dephasing_time_a_s: ArrayLike, dephasing_time_b_s: ArrayLike
) -> NDArray[np.float64]:
    """Return Bell-diagonal weights `(..., 4)` after `elapsed_s` in two memories that only dephase.

    Z on either half swaps Phi+ with Phi- and Psi+ with Psi-; Z on both cancels. An odd number of Z has probability
    (1 - exp(-t/T2_a - t/T2_b))/2.

    Args:
        bell_diagonal: Weights `(..., 4)` in the order (I, X, Y, Z).
        elapsed_s: Storage time (s), at least 0.
        dephasing_time_a_s: T2 of the first memory (s), positive, may be infinite.
        dephasing_time_b_s: T2 of the second memory (s), positive, may be infinite.

    Returns:
        Bell-diagonal weights of the broadcast shape.
    """
    weights = require_bell_diagonal("bell_diagonal", bell_diagonal)
    flip = (1.0 - _retained(elapsed_s, dephasing_time_a_s, dephasing_time_b_s, kind="dephasing")[..., None]) / 2.0
    # In the order (I, X, Y, Z), multiplying by Z reverses the axis.
    return (1.0 - flip) * weights + flip * weights[..., ::-1]


def storage_cutoff_s(
    werner: ArrayLike, minimum_fidelity: ArrayLike, coherence_time_a_s: ArrayLike, coherence_time_b_s: ArrayLike
) -> NDArray[np.float64]:
    """Return how long a Werner pair keeps at least `minimum_fidelity` in two depolarising memories.

    tau = T ln((F_0 - 1/4)/(F_min - 1/4)) with 1/T = 1/T_a + 1/T_b.

    Args:
        werner: Werner parameters in [-1/3, 1].
        minimum_fidelity: Lowest fidelity that is still of use, in [0, 1].
        coherence_time_a_s: Depolarising time of the first memory (s), positive, may be infinite.
        coherence_time_b_s: Depolarising time of the second memory (s), positive, may be infinite.

    Returns:
        Time (s) of the broadcast shape: 0 for a pair already below, infinite for one that never falls below.
    """
    fidelity = werner_to_fidelity(werner)
    minimum = require_between("minimum_fidelity", minimum_fidelity, 0.0, 1.0)
    rate = _rate_hz(coherence_time_a_s, coherence_time_b_s)
    fidelity, minimum, rate = np.broadcast_arrays(fidelity, minimum, rate)
    cutoff = np.where(fidelity >= minimum, np.inf, 0.0)
    # The fidelity tends to 1/4, so only a minimum above that is ever reached from above.
    falls = (fidelity >= minimum) & (minimum > 0.25) & (rate > 0.0)
    cutoff[falls] = np.log((fidelity[falls] - 0.25) / (minimum[falls] - 0.25)) / rate[falls]
    return cutoff


def depolarising_rates_hz(coherence_time_s: ArrayLike) -> NDArray[np.float64]:
    """Return the Pauli rates `(..., 3)` of a depolarising memory: 1/(4T) each."""
    rate = 0.25 / require_positive("coherence_time_s", coherence_time_s, finite=False)
    return np.stack([rate, rate, rate], axis=-1)


def dephasing_rates_hz(dephasing_time_s: ArrayLike) -> NDArray[np.float64]:
    """Return the Pauli rates `(..., 3)` of a dephasing memory: Z at 1/(2 T2)."""
    rate = 0.5 / require_positive("dephasing_time_s", dephasing_time_s, finite=False)
    return np.stack([np.zeros_like(rate), np.zeros_like(rate), rate], axis=-1)


def pauli_memory(
    bell_diagonal: ArrayLike, elapsed_s: ArrayLike, pauli_rates_a_hz: ArrayLike, pauli_rates_b_hz: ArrayLike
) -> NDArray[np.float64]:
    """Return Bell-diagonal weights `(..., 4)` after `elapsed_s` in two Pauli memories.

    Args:
        bell_diagonal: Weights `(..., 4)` in the order (I, X, Y, Z).
        elapsed_s: Storage time (s), at least 0, of shape `(...)`.
        pauli_rates_a_hz: Rates `(..., 3)` at which X, Y and Z strike the first half (1/s), at least 0.
        pauli_rates_b_hz: The same for the second half.

    Returns:
        Weights of the broadcast shape; for Phi+ the first is
        (1 + exp(-2(x+y)t) + exp(-2(x+z)t) + exp(-2(y+z)t))/4 with x, y, z the summed rates.
    """
    correlators = bell_diagonal_to_correlators(bell_diagonal)
    elapsed = require_non_negative("elapsed_s", elapsed_s)
    decay = np.exp(-elapsed[..., None] * _correlator_rates_hz(pauli_rates_a_hz, pauli_rates_b_hz))
    return correlators_to_bell_diagonal(correlators * decay)


def pauli_cutoff_s(
    bell_diagonal: ArrayLike, minimum_fidelity: ArrayLike, pauli_rates_a_hz: ArrayLike, pauli_rates_b_hz: ArrayLike
) -> NDArray[np.float64]:
    """Return how long a pair keeps at least `minimum_fidelity` in two Pauli memories.

    At a fidelity of 1/2 or more no correlator is negative, so the fidelity only falls and is met by bisection.

    Args:
        bell_diagonal: Weights `(..., 4)` in the order (I, X, Y, Z).
        minimum_fidelity: Lowest fidelity that is still of use, in [1/2, 1].
        pauli_rates_a_hz: Rates `(..., 3)` at which X, Y and Z strike the first half (1/s), at least 0.
        pauli_rates_b_hz: The same for the second half.

    Returns:
        Time (s) of the broadcast shape: 0 for a pair already below, infinite for one that never falls below.
    """
    rates = _correlator_rates_hz(pauli_rates_a_hz, pauli_rates_b_hz)
    return _correlator_cutoff(bell_diagonal, minimum_fidelity, rates)


def _correlator_cutoff(
    bell_diagonal: ArrayLike, minimum_fidelity: ArrayLike, correlator_rates_hz: ArrayLike
) -> NDArray[np.float64]:
    """Return when correlators that decay at rates `(..., 3)` (1/s) first take the fidelity below its minimum."""
    require_between("minimum_fidelity", minimum_fidelity, 0.5, 1.0)
    return correlator_cutoff_s(bell_diagonal_to_correlators(bell_diagonal), minimum_fidelity, correlator_rates_hz)


def correlator_cutoff_s(
    correlators: ArrayLike, minimum_fidelity: ArrayLike, correlator_rates_hz: ArrayLike
) -> NDArray[np.float64]:
    """Return how long a pair keeps at least `minimum_fidelity` while each correlator decays at a rate of its own.

    The fidelity (1 + sum c_i exp(-r_i t))/4 meets a minimum above 1/4 once at most if no correlator is negative, for it
    only falls; and with a negative one as well if no more than two of the rates differ, for it then has one extremum.

    Args:
        correlators: Correlators `(..., 3)` before storage.
        minimum_fidelity: Lowest fidelity that is still of use, in (1/4, 1].
        correlator_rates_hz: Decay rates `(..., 3)` by both memories (1/s), at least 0.

    Returns:
        Time (s) of the broadcast shape: 0 for a pair already below, infinite for one that never falls below.

    Raises:
        DomainError: An argument is outside its domain, or a correlator is negative and three rates differ.
    """
    correlators = require_correlators("correlators", correlators)
    minimum = unit_interval("minimum_fidelity", minimum_fidelity)
    if np.any(minimum <= 0.25):
        raise DomainError("Argument `minimum_fidelity` must be above 1/4, but is not.")
    rates = require_non_negative("correlator_rates_hz", correlator_rates_hz)
    is_twofold = (rates == np.roll(rates, 1, axis=-1)).any(axis=-1)
    if np.any((correlators < 0.0).any(axis=-1) & ~is_twofold):
        raise DomainError("Argument `correlator_rates_hz` must hold two equal rates for a negative correlator.")
    shape = np.broadcast_shapes(correlators.shape[:-1], rates.shape[:-1], minimum.shape)
    correlators = np.broadcast_to(correlators, (*shape, 3))
    rates, target = np.broadcast_to(rates, (*shape, 3)), np.broadcast_to(4.0 * minimum - 1.0, shape)

    def above(elapsed: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray((correlators * np.exp(-elapsed[..., None] * rates)).sum(axis=-1) >= target)

    forever = np.where(rates > 0.0, 0.0, correlators).sum(axis=-1)
    starts, ends = correlators.sum(axis=-1) >= target, forever < target
    # By then every decaying correlator is below 1e-17 of its start or irrelevant to the crossing.
    slowest = np.min(np.where(rates > 0.0, rates, np.inf), axis=-1, initial=np.inf)
    low = np.zeros(shape)
    high = np.where(np.isfinite(slowest), 40.0 / np.where(np.isfinite(slowest), slowest, 1.0), 1.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        stays = above(middle)
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return np.asarray(np.where(starts, np.where(ends, (low + high) / 2.0, np.inf), 0.0))


def dephase_by_attempts(
    bell_diagonal: ArrayLike, attempts: ArrayLike, dephasing_probability: ArrayLike
) -> NDArray[np.float64]:
    """Return the weights `(..., 4)` of a stored pair after its node has attempted other entanglement.

    Every attempt strikes the stored half with Z with a fixed probability, as the reset of a colour centre's electron
    strikes its nuclear spins: c_x and c_y are multiplied by (1 - 2p) an attempt. A memory that loses 1/e of its
    coherence in n attempts has p = (1 - exp(-1/n))/2.

    Args:
        bell_diagonal: Weights `(..., 4)` in the order (I, X, Y, Z).
        attempts: Number of attempts made meanwhile, at least 0.
        dephasing_probability: Chance of a Z in one attempt, in [0, 1/2].

    Source:
        Kalb, Humphreys, Slim and Hanson, PRA 97, 062330, 2018 for the mechanism.
    """
    weights = require_bell_diagonal("bell_diagonal", bell_diagonal)
    number = require_non_negative("attempts", attempts)
    retained = (1.0 - 2.0 * require_between("dephasing_probability", dephasing_probability, 0.0, 0.5)) ** number
    flip = (1.0 - retained[..., None]) / 2.0
    return np.asarray((1.0 - flip) * weights + flip * weights[..., ::-1])


def expected_attempt_coherence(dephasing_probability: ArrayLike, success_probability: ArrayLike) -> NDArray[np.float64]:
    """Return the mean factor on c_x and c_y when attempts go on until the first success.

    With r = 1 - 2p and success probability s the number n of attempts is geometric, so E[r^n] = s r/(1 - (1 - s) r).
    """
    retained = 1.0 - 2.0 * require_between("dephasing_probability", dephasing_probability, 0.0, 0.5)
    success = unit_interval("success_probability", success_probability, open_end=0.0)
    return np.asarray(success * retained / (1.0 - (1.0 - success) * retained))


def attempt_cutoff(
    bell_diagonal: ArrayLike, minimum_fidelity: ArrayLike, dephasing_probability: ArrayLike
) -> NDArray[np.float64]:
    """Return after how many attempts (a real number) a stored pair falls to `minimum_fidelity`.

    F(n) = (1 + c_z + (c_x + c_y)(1 - 2p)^n)/4.

    Args:
        bell_diagonal: Weights `(..., 4)` in the order (I, X, Y, Z).
        minimum_fidelity: Lowest fidelity that is still of use, in [1/2, 1].
        dephasing_probability: Chance of a Z in one attempt, in [0, 1/2).

    Returns:
        Attempts of the broadcast shape: 0 for a pair already below, infinite for one that never falls below.
    """
    probability = require_between("dephasing_probability", dephasing_probability, 0.0, 0.5)
    if np.any(probability >= 0.5):
        raise DomainError("Argument `dephasing_probability` must be below 0.5 for a cutoff, but is 0.5.")
    rate = -np.log1p(-2.0 * probability)
    return _correlator_cutoff(bell_diagonal, minimum_fidelity, np.stack([rate, rate, np.zeros_like(rate)], axis=-1))


def _correlator_rates_hz(pauli_rates_a_hz: ArrayLike, pauli_rates_b_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the decay rates `(..., 3)` of the correlators (x, y, z) from both halves' Pauli rates."""
    total = _pauli_rates("pauli_rates_a_hz", pauli_rates_a_hz) + _pauli_rates("pauli_rates_b_hz", pauli_rates_b_hz)
    return np.asarray(2.0 * (total.sum(axis=-1, keepdims=True) - total))


def _pauli_rates(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return Pauli rates `(..., 3)` after a check."""
    rates = require_non_negative(name, value)
    if rates.ndim == 0 or rates.shape[-1] != 3:
        raise DomainError(f"Argument `{name}` must have shape (..., 3), but has shape {rates.shape}.")
    return rates


def _rate_hz(time_a_s: ArrayLike, time_b_s: ArrayLike, kind: str = "coherence") -> NDArray[np.float64]:
    """Return 1/T_a + 1/T_b after checking both times; `kind` is how the caller's arguments are called."""
    time_a = require_positive(f"{kind}_time_a_s", time_a_s, finite=False)
    return 1.0 / time_a + 1.0 / require_positive(f"{kind}_time_b_s", time_b_s, finite=False)


def _retained(
    elapsed_s: ArrayLike, time_a_s: ArrayLike, time_b_s: ArrayLike, kind: str = "coherence"
) -> NDArray[np.float64]:
    """Return exp(-t/T_a - t/T_b)."""
    return np.asarray(np.exp(-require_non_negative("elapsed_s", elapsed_s) * _rate_hz(time_a_s, time_b_s, kind)))
