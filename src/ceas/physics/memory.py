"""What a pair becomes while its two halves wait in two memories.

Depolarising memories of coherence time T multiply a qubit's Bloch vector by exp(-t/T). Dephasing memories of time T2
apply Z with probability (1 - exp(-t/T2))/2 and leave populations alone. A pair suffers both memories, so rates add.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.physics.domain import require_bell_diagonal, require_between, require_non_negative, require_positive
from ceas.physics.states import LOWEST_WERNER, werner_to_fidelity

__all__ = ["decay_werner", "dephase_bell_diagonal", "depolarise_bell_diagonal", "storage_cutoff_s"]


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


def _rate_hz(time_a_s: ArrayLike, time_b_s: ArrayLike, kind: str = "coherence") -> NDArray[np.float64]:
    """Return 1/T_a + 1/T_b after checking both times; `kind` is how the caller's arguments are called."""
    time_a = require_positive(f"{kind}_time_a_s", time_a_s, finite=False)
    return 1.0 / time_a + 1.0 / require_positive(f"{kind}_time_b_s", time_b_s, finite=False)


def _retained(
    elapsed_s: ArrayLike, time_a_s: ArrayLike, time_b_s: ArrayLike, kind: str = "coherence"
) -> NDArray[np.float64]:
    """Return exp(-t/T_a - t/T_b)."""
    return np.asarray(np.exp(-require_non_negative("elapsed_s", elapsed_s) * _rate_hz(time_a_s, time_b_s, kind)))
