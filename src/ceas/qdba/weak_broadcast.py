"""Weak broadcast for a sender S and receivers R0, R1 from m four-qubit states, by its published rules.

The state is |Psi4> = (2|0011> - |0101> - |0110> - |1001> - |1010> + 2|1100>) / (2 sqrt 3); S holds the first two
qubits, R0 the third, R1 the fourth. Measured in Z, S's number and the receivers' bits (S, R0, R1) are (0,1,1) and
(3,0,0) with probability 1/3 each, (1,0,1), (1,1,0), (2,0,1), (2,1,0) with 1/12 each.

    T = ceil(mu m), Q = T - ceil(lambda T) + 1
    1. S sends a bit x to both, and to each the places sigma = {k : S_k = 3x}.
    2. R_b outputs y_b = x if |sigma| >= T and its bits on sigma are all 1-x; else none.
    3. R0 sends R1 y_0 and rho = {k in sigma : R0's bit is 1-y_0}.
    4. R1 changes to y_0 if both have an output, they differ, |rho| >= T, and at least lambda T + |rho| - T of its bits
       on rho are 1-y_0.
Weak broadcast: with a correct S every correct receiver outputs x; two correct receivers never output 0 and 1.

Noise: S makes the state at home and teleports a qubit to each receiver over one pair each, so a state costs two pairs
and each receiver's bit is flipped with the pair's flip probability. Only that preparation is ours.

Source:
    Guba et al., Quantum 8, 1324 (2024), and its public data.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba.pairs import Rate, chunks, require_flip, require_whole

__all__ = [
    "PAIRS_PER_STATE",
    "WEAK_BROADCAST_STRATEGIES",
    "WeakBroadcastRules",
    "WeakBroadcastTally",
    "simulate_weak_broadcast",
    "size_weak_broadcast",
    "weak_broadcast_honest_failure",
    "weak_broadcast_receiver_failure",
    "weak_broadcast_sender_failure",
    "weak_broadcast_sender_success",
]

BoolArray = NDArray[np.bool_]

PAIRS_PER_STATE: Final = 2
WEAK_BROADCAST_STRATEGIES: Final = {
    "honest": "everyone follows the rules",
    "faulty_sender": "different bits; R0's places are T-Q true ones and Q at which R0 has the right bit by luck",
    "faulty_receiver": "R0 claims the other bit with the places where it can tell or guess R1's bit",
}
# Numbers of states that `size_weak_broadcast` tries, in these steps, up to this many.
_STEP: Final = 10
LARGEST_STATES: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakBroadcastRules:
    """Parameters of one instance; the published choice of mu and lambda is the default.

    Attributes:
        states: Four-qubit states m, at least 2.
        mu: Share of the states that a list of places must have, in (0, 1/2).
        lam: Share lambda of T that R1 must find confirmed, in (0, 1].
    """

    states: int
    mu: float = 0.272
    lam: float = 0.94

    def __post_init__(self) -> None:
        """Refuse parameters that make no instance."""
        require_whole("states", self.states, 2)
        if not 0.0 < self.mu < 0.5:
            raise DomainError(f"Argument `mu` must be in (0, 0.5), but is {self.mu}.")
        if not 0.0 < self.lam <= 1.0:
            raise DomainError(f"Argument `lam` must be in (0, 1], but is {self.lam}.")

    @property
    def shortest(self) -> int:
        """T: places that a list must have."""
        return math.ceil(_exact(self.mu) * self.states)

    @property
    def confirmed(self) -> int:
        """Smallest whole number of at least lambda T."""
        return math.ceil(_exact(self.lam) * self.shortest)

    @property
    def unconfirmed(self) -> int:
        """Q: unconfirmed places of T that make R1 keep its own output."""
        return self.shortest - self.confirmed + 1


def _exact(number: float) -> Fraction:
    """Return a decimal number as written, so that 0.94 x 50 is 47 and its ceiling is not 48."""
    return Fraction(str(number))


def weak_broadcast_honest_failure(rules: WeakBroadcastRules, flip: float = 0.0) -> float:
    """Return the exact chance that not both receivers output an honest sender's bit.

    1 - sum over l >= T of Bin(m, 1/3)(l) (1-Q)^(2l): both receivers need every place of sigma. Without noise it is the
    published P[Bin(m, 1/3) < T]; the factor of noise is ours.
    """
    require_flip(flip)
    length = np.arange(rules.shortest, rules.states + 1)
    return float(1.0 - (binom.pmf(length, rules.states, 1 / 3) * (1.0 - flip) ** (2 * length)).sum())


def weak_broadcast_sender_failure(rules: WeakBroadcastRules) -> float:
    """Return the published failure probability with a faulty sender and perfect pairs.

    1 - (1 - 2^-Q) P[l3 >= T, l1 >= T-Q, m-l1-l3 >= Q]: instances in which the attack cannot be mounted for want of
    places count as failures as well, so it is an upper bound; see `weak_broadcast_sender_success`.
    """
    return float(1.0 - (1.0 - 0.5**rules.unconfirmed) * _attackable(rules))


def weak_broadcast_sender_success(rules: WeakBroadcastRules, flip: float = 0.0) -> float:
    """Return the exact chance that the faulty sender's strategy makes the receivers output 0 and 1.

    With e the flip probability: there are places enough; R0's bits are right at the T-Q true places, (1-e)^(T-Q), and
    at the Q others, 2^-Q; R1's are right on its own list, (1-e)^l3; and R1 finds too few of R0's places confirmed,
    where a true place is confirmed with 1-e and one of the others with 2e(1-e). Without noise it is the published bound
    without the instances in which there is no attack. Ours.
    """
    require_flip(flip)
    true, wrong = rules.shortest - rules.unconfirmed, rules.unconfirmed
    others = np.arange(wrong + 1)
    keeps = binom.pmf(others, wrong, 2 * flip * (1 - flip)) * binom.cdf(rules.confirmed - 1 - others, true, 1 - flip)
    return float((1 - flip) ** true * 0.5**wrong * keeps.sum() * _attackable(rules, flip))


def _attackable(rules: WeakBroadcastRules, flip: float = 0.0) -> float:
    """Return the chance that there are places enough for the sender's attack and that R1 accepts its own list."""
    m, shortest, wrong = rules.states, rules.shortest, rules.unconfirmed
    opposite = np.arange(shortest, m + 1)[:, None]
    same = np.arange(max(shortest - wrong, 0), m + 1)[None, :]
    # Given l3, the others are binomial with 1/2 each.
    chance = binom.pmf(opposite, m, 1 / 3) * (1 - flip) ** opposite * binom.pmf(same, m - opposite, 0.5)
    return float(np.where(m - same - opposite >= wrong, chance, 0.0).sum())


def weak_broadcast_receiver_failure(rules: WeakBroadcastRules, flip: float = 0.0) -> float:
    """Return the failure probability with a faulty R0; without noise it is the published formula.

    l1 places of sigma, l2 places outside where R0 reads 1-x and so knows R1's bit; the other T-l2 places are guesses,
    each right with 2/3. P[l1 < T or l1 > m-T] + P[T <= l1 <= m-T and l2 + Bin(max(T-l2, 0), 2/3) > T-Q]. Noise, which
    is ours, changes the three chances (that R0 knows, and that it is right about a known and a guessed place) and
    leaves R1 without an output with 1 - (1-e)^l1. That l1 > m-T is counted as a failure, as published.
    """
    require_flip(flip)
    m, shortest = rules.states, rules.shortest
    e, half = flip, 0.5
    # Outside sigma half of the places have both bits opposite to 1-x, and in the other half the bits differ.
    known = half * e + half * half
    right_known = (half * e * (1 - e) + half * half * ((1 - e) ** 2 + e**2)) / known
    right_guess = (half * (1 - e) ** 2 + half * e * (1 - e)) / (1 - known)
    count = np.arange(m + 1)
    guesses = np.maximum(shortest - count, 0)[:, None]
    needed = rules.confirmed + np.maximum(count - shortest, 0)[:, None]
    right = binom.pmf(count[None, :], count[:, None], right_known)
    changes = (right * binom.sf(needed - 1 - count[None, :], guesses, right_guess)).sum(axis=1)
    sigma = np.arange(shortest, m - shortest + 1)
    length, accepts = binom.pmf(sigma, m, 1 / 3), (1 - e) ** sigma
    wins = (binom.pmf(count[None, :], m - sigma[:, None], known) * changes).sum(axis=1)
    return float(1.0 - (length * accepts * (1.0 - wins)).sum())


def size_weak_broadcast(target: float) -> WeakBroadcastRules | None:
    """Return the smallest instance (a multiple of ten states) with the published mu and lambda below a target.

    All three published failure probabilities are at most `target`, with perfect pairs.

    Returns:
        The rules, or None when 4000 states are not enough.

    Raises:
        DomainError: `target` is not in (0, 1).
    """
    if not 0.0 < target < 1.0:
        raise DomainError(f"Argument `target` must be in (0, 1), but is {target}.")
    for states in range(_STEP, LARGEST_STATES + 1, _STEP):
        rules = WeakBroadcastRules(states=states)
        if weak_broadcast_honest_failure(rules) > target:
            continue
        if max(weak_broadcast_sender_failure(rules), weak_broadcast_receiver_failure(rules)) <= target:
            return rules
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakBroadcastTally:
    """How the correct players fared.

    Attributes:
        failure: Weak broadcast is violated.
        unattacked: The faulty player lacks places for its strategy. The published formulas count these as failures.
    """

    failure: Rate
    unattacked: Rate


def simulate_weak_broadcast(
    rules: WeakBroadcastRules, flip: float, strategy: str, shots: int, rng: np.random.Generator
) -> WeakBroadcastTally:
    """Play instances state by state.

    Args:
        rules: Parameters.
        flip: Flip probability of each receiver's bit, in [0, 1/2].
        strategy: A name of `WEAK_BROADCAST_STRATEGIES`.
        shots: Instances, at least 1.
        rng: Source of all draws.

    Raises:
        UnknownNameError: There is no such strategy.
        DomainError: An argument is outside its range.
    """
    require_flip(flip)
    if strategy not in WEAK_BROADCAST_STRATEGIES:
        raise UnknownNameError("strategy", strategy, WEAK_BROADCAST_STRATEGIES)
    play = {"honest": _play_honest, "faulty_sender": _play_sender, "faulty_receiver": _play_receiver}[strategy]
    failures = unattacked = 0
    for size in chunks(shots, rules.states):
        failed, is_unattacked = play(rules, _measure((size, rules.states), flip, rng))
        failures += int(failed.sum())
        unattacked += int(is_unattacked.sum())
    return WeakBroadcastTally(
        failure=Rate(events=failures, shots=shots), unattacked=Rate(events=unattacked, shots=shots)
    )


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Measured states relative to a bit x, each `(shots, m)`: everything is symmetric under exchange of 0 and 1.

    Attributes:
        same: S has 3x.
        opposite: S has 3(1-x).
        bit_0: R0's bit is 1-x.
        bit_1: R1's bit is 1-x.
    """

    same: BoolArray
    opposite: BoolArray
    bit_0: BoolArray
    bit_1: BoolArray


def _measure(shape: tuple[int, int], flip: float, rng: np.random.Generator) -> _Outcomes:
    drawn = rng.integers(0, 12, shape, dtype=np.uint8)
    same, opposite, coin = drawn < 4, drawn >= 8, (drawn & 1).astype(np.bool_)
    bit_0, bit_1 = same | (~opposite & coin), same | (~opposite & ~coin)
    if flip:
        bit_0, bit_1 = (bit ^ (rng.random(shape, dtype=np.float32) < flip) for bit in (bit_0, bit_1))
    return _Outcomes(same, opposite, bit_0, bit_1)


def _play_honest(rules: WeakBroadcastRules, seen: _Outcomes) -> tuple[BoolArray, BoolArray]:
    """Nobody is faulty: outputs cannot differ, so step 4 changes nothing."""
    is_long = seen.same.sum(axis=1) >= rules.shortest
    contradicted = (seen.same & ~(seen.bit_0 & seen.bit_1)).any(axis=1)
    return ~(is_long & ~contradicted), np.zeros_like(is_long)


def _play_sender(rules: WeakBroadcastRules, seen: _Outcomes) -> tuple[BoolArray, BoolArray]:
    """S sends x to R0 and 1-x to R1; the attack succeeds when both accept and R1 does not change."""
    shortest, wrong = rules.shortest, rules.unconfirmed
    mixed = ~seen.same & ~seen.opposite
    places = _first(seen.same, shortest - wrong) | _first(mixed, wrong)
    is_able = (places.sum(axis=1) == shortest) & (seen.opposite.sum(axis=1) >= shortest)
    accepts_0 = ~(places & ~seen.bit_0).any(axis=1)
    accepts_1 = ~(seen.opposite & seen.bit_1).any(axis=1)
    changes = (places & seen.bit_1).sum(axis=1) >= rules.confirmed
    return is_able & accepts_0 & accepts_1 & ~changes, ~is_able


def _play_receiver(rules: WeakBroadcastRules, seen: _Outcomes) -> tuple[BoolArray, BoolArray]:
    """R0 claims 1-x; R1 fails when it has no output of its own or changes."""
    outside = ~seen.same
    known = outside & seen.bit_0  # there R1's bit is x, as the claim needs
    missing = np.maximum(rules.shortest - known.sum(axis=1), 0)
    places = known | _first(outside & ~seen.bit_0, missing)
    length = places.sum(axis=1)
    is_able = length >= rules.shortest
    accepts = (seen.same.sum(axis=1) >= rules.shortest) & ~(seen.same & ~seen.bit_1).any(axis=1)
    agreed = (places & ~seen.bit_1).sum(axis=1)
    changes = is_able & (agreed >= rules.confirmed + length - rules.shortest)
    return ~accepts | changes, ~is_able


def _first(mask: BoolArray, count: int | NDArray[np.int64]) -> BoolArray:
    """Return the first `count` true places of every row; the places are exchangeable, so they may be the first."""
    return np.asarray(mask & (np.cumsum(mask, axis=1, dtype=np.int32) <= np.reshape(count, (-1, 1))))
