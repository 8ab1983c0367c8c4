"""The common coin from GHZ states and its leader register, in the fail-stop form, against pair fidelity.

Every player i shares coin_i, (|0...0> + |1...1>)/sqrt 2 over all n players, and leader_i, a uniformly random number
that all read alike. After one synchronous round everybody measures everything, takes the player with the largest
number as leader (of several the first), and outputs the leader's coin bit.

Here a GHZ state is fused at its owner from n-1 pairs, and a number is B = ceil(3 log2 n) GHZ states, so that there are
2^B >= n^3 numbers. The owner reads its own bits; every other player reads each bit flipped with its pair's flip
probability. One coin costs n (n-1) (1 + B) pairs.

The form is fail-stop: players may stop, but whoever prepares a state prepares the right one. The strategies with a
faulty player show what happens otherwise. The Byzantine form shares both registers by verifiable quantum secret sharing
for n > 3f; it is not simulated here.

Source:
    Ben-Or and Hassidim, STOC 2005.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba.pairs import Rate, chunks, require_flip, require_whole

__all__ = [
    "GHZ_COIN_STRATEGIES",
    "CoinTally",
    "coin_agreement_bound",
    "coin_number_bits",
    "coin_pairs",
    "coin_unique_leader_bound",
    "coin_unique_leader_probability",
    "simulate_ghz_coin",
]

GHZ_COIN_STRATEGIES: Final = {
    "honest": "everyone prepares the right states",
    "biased_leader": "the last player prepares the largest number and a coin that is 0",
    "split_leader": "the last player prepares the largest number and a coin that is 0 for some and 1 for others",
}
LARGEST_PLAYERS: Final = 200


def _require_players(players: int) -> int:
    if require_whole("players", players, 2) > LARGEST_PLAYERS:
        raise DomainError(f"Argument `players` must be at most {LARGEST_PLAYERS}, but is {players}.")
    return int(players)


def coin_number_bits(players: int) -> int:
    """Return B = ceil(3 log2 n), the GHZ states of one number."""
    return (_require_players(players) ** 3 - 1).bit_length()


def coin_pairs(players: int) -> int:
    """Return n (n-1) (1 + B), the pairs of one coin, without any test of the states."""
    return players * (players - 1) * (1 + coin_number_bits(players))


def coin_unique_leader_probability(players: int, numbers: int | None = None) -> float:
    """Return the exact chance that the largest of n uniform numbers is drawn once.

    n sum over v of ((v-1)/M)^(n-1) / M.

    Args:
        players: Players n, at least 2.
        numbers: Numbers M; n^3 when left out.
    """
    _require_players(players)
    total = players**3 if numbers is None else require_whole("numbers", numbers, 1)
    smaller = np.arange(total) / total
    return float(players * (smaller ** (players - 1)).sum() / total)


def coin_unique_leader_bound(players: int) -> float:
    """Return 1 - (n-1)/(2 n^2), below which the chance of no tie cannot be: a union bound over pairs of players."""
    return 1.0 - (_require_players(players) - 1) / (2.0 * players**2)


def coin_agreement_bound(players: int, flip: float) -> float:
    """Return (1-Q)^(n (n-1) (1+B)): with no bit flipped at all, everybody agrees."""
    return float((1.0 - require_flip(flip)) ** coin_pairs(players))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinTally:
    """How the honest players fared.

    Attributes:
        failure: The honest players do not all output the same bit.
        ones: All output 1.
        honest_leader: All honest players follow the same honest leader.
    """

    failure: Rate
    ones: Rate
    honest_leader: Rate


def simulate_ghz_coin(players: int, flip: float, strategy: str, shots: int, rng: np.random.Generator) -> CoinTally:
    """Toss coins.

    Args:
        players: Players n, 2 to 200; 3 at least with a faulty one.
        flip: Flip probability of every pair, in [0, 1/2].
        strategy: A name of `GHZ_COIN_STRATEGIES`.
        shots: Coins, at least 1.
        rng: Source of all draws.

    Raises:
        UnknownNameError: There is no such strategy.
        DomainError: An argument is outside its range.
    """
    require_flip(flip)
    if strategy not in GHZ_COIN_STRATEGIES:
        raise UnknownNameError("strategy", strategy, GHZ_COIN_STRATEGIES)
    is_faulty = strategy != "honest"
    _require_players(players)
    if players < 2 + is_faulty:
        raise DomainError(f"Argument `players` must be at least {2 + is_faulty}, but is {players}.")
    honest = players - is_faulty
    events = np.zeros(3, dtype=np.int64)
    for size in chunks(shots, players * players * (1 + coin_number_bits(players))):
        leaders, coins = _read(players, flip, strategy, size, rng)
        leaders, outputs = leaders[:, :honest], _outputs(leaders, coins)[:, :honest]
        agree = (outputs == outputs[:, :1]).all(axis=1)
        follow = (leaders == leaders[:, :1]).all(axis=1) & (leaders[:, 0] < honest)
        events += [int(x.sum()) for x in (~agree, agree & outputs[:, 0], follow)]
    failure, ones, honest_leader = (Rate(events=int(count), shots=shots) for count in events)
    return CoinTally(failure=failure, ones=ones, honest_leader=honest_leader)


def _read(
    players: int, flip: float, strategy: str, shots: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the leader that each player takes `(shots, players)`, and the coins `(shots, owner, player)` it reads."""
    bits = coin_number_bits(players)
    prepared = rng.integers(0, 2, (shots, players, 1, 1 + bits), dtype=np.uint8).astype(np.bool_)
    prepared = np.broadcast_to(prepared, (shots, players, players, 1 + bits)).copy()
    if strategy != "honest":
        prepared[:, -1, :, 1:] = True
        prepared[:, -1, :, 0] = (np.arange(players) % 2 == 1) & (strategy == "split_leader")
    if flip:
        flips = rng.random(prepared.shape, dtype=np.float32) < flip
        flips[:, np.arange(players), np.arange(players)] = False  # owners read their own halves
        prepared ^= flips
    numbers = prepared[..., 1:] @ (1 << np.arange(bits, dtype=np.int64))
    return _leaders(numbers, strategy), prepared[..., 0]


def _leaders(numbers: NDArray[np.int64], strategy: str) -> NDArray[np.int64]:
    """Return the owner of the largest number as each player reads it; the faulty player also wins ties."""
    if strategy == "honest":
        return np.asarray(numbers.argmax(axis=1))
    players = numbers.shape[1]
    # The rule takes the first of several, so a faulty player is the most harmful in the first place.
    order = np.array([players - 1, *range(players - 1)])
    return np.asarray(order[numbers[:, order].argmax(axis=1)])


def _outputs(leaders: NDArray[np.int64], coins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the coin bit that each player outputs, `(shots, players)`."""
    return np.asarray(np.take_along_axis(coins, leaders[:, None, :], axis=1)[:, 0, :])
