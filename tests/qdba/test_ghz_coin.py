"""The coin against exhaustive sums, limits and bounds."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba import (
    Rate,
    coin_agreement_bound,
    coin_number_bits,
    coin_pairs,
    coin_unique_leader_bound,
    coin_unique_leader_probability,
    simulate_ghz_coin,
)
from ceas.qdba import ghz_coin as module

SHOTS = 20_000
FALSE_ALARM = 1e-7


def agrees(rate: Rate, probability: float) -> bool:
    low, high = binom.ppf(FALSE_ALARM, rate.shots, probability), binom.isf(FALSE_ALARM, rate.shots, probability)
    return bool(low <= rate.events <= high)


def test_pairs_of_a_coin() -> None:
    assert [coin_pairs(n) for n in (4, 10, 31, 100)] == [84, 990, 14_880, 207_900]
    assert [coin_number_bits(n) for n in (2, 3, 4, 8)] == [3, 5, 6, 9]


@pytest.mark.parametrize("players", [2, 3])
def test_the_chance_of_one_leader_is_the_sum_over_all_numbers(players: int) -> None:
    numbers = players**3
    draws = itertools.product(range(numbers), repeat=players)
    unique = sum(sorted(draw)[-1] != sorted(draw)[-2] for draw in draws)
    assert coin_unique_leader_probability(players) == pytest.approx(unique / numbers**players)


def test_the_published_bound_on_ties_is_one() -> None:
    assert coin_unique_leader_bound(4) == pytest.approx(0.90625)
    assert coin_unique_leader_bound(100) == pytest.approx(0.99505)
    assert all(coin_unique_leader_probability(n) >= coin_unique_leader_bound(n) for n in range(2, 40))


@pytest.mark.parametrize("players", [2, 4, 7])
def test_limits_of_pair_fidelity(players: int) -> None:
    """Perfect pairs: always one bit, and a fair one. No correlation: n independent fair bits. False alarm 2e-7 each."""
    perfect = simulate_ghz_coin(players, 0.0, "honest", SHOTS, np.random.default_rng(1))
    assert perfect.failure.events == 0
    assert perfect.honest_leader.events == SHOTS
    assert agrees(perfect.ones, 0.5)
    lost = simulate_ghz_coin(players, 0.5, "honest", SHOTS, np.random.default_rng(2))
    assert agrees(lost.failure, 1 - 2.0 ** (1 - players))
    assert agrees(lost.ones, 2.0**-players)


def test_two_players_against_all_outcomes() -> None:
    """2 players, 3-bit numbers: 2^8 preparations times 2^8 flips, each with its probability; false alarm 2e-7."""
    flip = 0.1
    agreement = 0.0
    flips = np.array(list(itertools.product((0, 1), repeat=8)))
    chance = np.prod(np.where(flips, flip, 1 - flip), axis=1)
    weights = np.array([4, 2, 1])
    for prepared in itertools.product((0, 1), repeat=8):
        own = np.array(prepared).reshape(2, 4)  # owner, (coin, number)
        seen = own ^ flips.reshape(-1, 2, 4)  # what the other player reads
        numbers_0 = np.stack([np.full(256, own[0, 1:] @ weights), seen[:, 1, 1:] @ weights])
        numbers_1 = np.stack([seen[:, 0, 1:] @ weights, np.full(256, own[1, 1:] @ weights)])
        leads_0, leads_1 = numbers_0[1] > numbers_0[0], numbers_1[1] > numbers_1[0]
        coin_0 = np.where(leads_0, seen[:, 1, 0], own[0, 0])
        coin_1 = np.where(leads_1, own[1, 0], seen[:, 0, 0])
        agreement += float(chance[coin_0 == coin_1].sum()) / 256
    tally = simulate_ghz_coin(2, flip, "honest", SHOTS, np.random.default_rng(3))
    assert agrees(tally.failure, 1 - agreement)


def test_every_player_follows_the_largest_number_that_it_reads() -> None:
    """Numbers [owner, player]: player 0 reads 5, 9, 9 and takes the first of two; player 2 reads 7, 2, 1."""
    numbers = np.array([[[5, 8, 7], [9, 3, 2], [9, 4, 1]]])
    leaders = module._leaders(numbers, "honest")
    assert leaders.tolist() == [[1, 0, 0]]
    assert module._leaders(numbers, "biased_leader").tolist() == [[2, 0, 0]]
    coins = np.array([[[True, False, True], [True, True, True], [False, True, True]]])
    assert module._outputs(leaders, coins).tolist() == [[True, False, True]]
    coins[0, 1, 0] = False
    assert module._outputs(leaders, coins).tolist() == [[False, False, True]]


def test_no_flip_at_all_is_agreement() -> None:
    """The failures are far below the bound: checked as an inequality at 1e-7."""
    for flip in (0.001, 0.01):
        tally = simulate_ghz_coin(4, flip, "honest", SHOTS, np.random.default_rng(4))
        assert tally.failure.events <= binom.isf(FALSE_ALARM, SHOTS, 1 - coin_agreement_bound(4, flip))
        assert tally.failure.events > 0


def test_without_secret_sharing_one_faulty_player_owns_the_coin() -> None:
    biased = simulate_ghz_coin(4, 0.0, "biased_leader", 2000, np.random.default_rng(5))
    assert (biased.failure.events, biased.ones.events, biased.honest_leader.events) == (0, 0, 0)
    split = simulate_ghz_coin(4, 0.0, "split_leader", 2000, np.random.default_rng(5))
    assert split.failure.events == 2000


def test_bad_arguments_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DomainError, match="`players` must be a whole number of at least 2, but is 1"):
        simulate_ghz_coin(1, 0.0, "honest", 5, rng)
    with pytest.raises(DomainError, match="`players` must be at least 3, but is 2"):
        simulate_ghz_coin(2, 0.0, "split_leader", 5, rng)
    with pytest.raises(DomainError, match="`players` must be at most 200, but is 201"):
        coin_pairs(201)
    with pytest.raises(UnknownNameError, match="unknown strategy `fair`"):
        simulate_ghz_coin(4, 0.0, "fair", 5, rng)
