"""Key made of pairs, and its accounting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.authentication import KeyPools, pairs_for_key, secret_key_bits
from ceas.errors import DomainError


def werner(fidelity: float) -> float:
    return (4 * fidelity - 1) / 3


def test_perfect_pairs_give_one_bit_each_and_bad_ones_none() -> None:
    bits = secret_key_bits([7, 7, 7, 0], [7.0, 7 * werner(0.8349), 0.0, 0.0])
    np.testing.assert_allclose(bits, [7, 0, 0, 0], atol=1e-12)


def test_fraction_at_fidelity_095_is_the_closed_form() -> None:
    error = 2 * (1 - 0.95) / 3
    entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    expected = 1 - 2 * entropy
    assert expected == pytest.approx(0.578, abs=1e-3)
    assert secret_key_bits(1000, 1000 * werner(0.95)) == pytest.approx(1000 * expected)
    # Two different pairs count by their mean, as an average error rate is what error correction sees.
    assert secret_key_bits(2, werner(0.93) + werner(0.97)) == pytest.approx(2 * expected)


def test_pairs_for_a_tag_at_fidelity_095() -> None:
    assert math.ceil(pairs_for_key(128, werner(0.95))) == 222  # 128 / 0.5783 = 221.3
    assert pairs_for_key(256, 1.0) == 256
    assert math.isinf(pairs_for_key(256, werner(0.8)))


@pytest.mark.parametrize(("count", "total"), [(-1, 0.0), (math.nan, 0.0), (1, 1.1), (1, -0.1), (0, 0.5), (1, math.nan)])
def test_impossible_records_are_refused(count: float, total: float) -> None:
    with pytest.raises(DomainError):
        secret_key_bits(count, total)


def test_single_precision_sums_are_accepted() -> None:
    assert secret_key_bits(3, 3.0 * (1 + 1e-7)) == pytest.approx(3.0)


def test_fractions_of_a_bit_accumulate_until_a_block_is_full() -> None:
    pools = KeyPools(3, enrolled_key_bits=256, seed=1)
    pair = pools.pair_index(2, 1)
    assert pair == pools.pair_index(1, 2) == 5
    per_round = float(secret_key_bits(1, werner(0.95)))
    n_rounds = math.ceil(128 / per_round)
    for training_round in range(n_rounds):
        assert not pools.holds(pair, 2)
        added = pools.deposit([2], [1], [1], [werner(0.95)])
        assert added == pytest.approx([per_round]), training_round
    assert pools.holds(pair, 2)
    assert not pools.holds(pair, 3)
    assert not pools.holds(pools.pair_index(0, 1), 2)
    assert pools.available_bits(pair) == pytest.approx(256 + n_rounds * per_round)


def test_one_deposit_with_the_same_link_twice_counts_both() -> None:
    pools = KeyPools(2, seed=1)
    pools.deposit([0, 1], [1, 0], [100, 28], [100.0, 28.0])
    assert pools.generated_bits[1] == 128
    assert pools.holds(1, 2)
    assert not pools.holds(1, 3)


def test_blocks_differ_between_positions_pairs_and_seeds_and_repeat_otherwise() -> None:
    pools, again, other = KeyPools(4, seed=7), KeyPools(4, seed=7), KeyPools(4, seed=8)
    blocks = [pools.block(pair, block) for pair in (1, 2, 6) for block in range(50)]
    assert len(set(blocks)) == len(blocks)
    assert all(len(block) == 16 for block in blocks)
    assert again.block(2, 3) == pools.block(2, 3)
    assert other.block(2, 3) != pools.block(2, 3)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500), st.floats(0, 1)), max_size=20),
    st.integers(256, 2000),
)
def test_enrolled_plus_generated_is_consumed_plus_available(
    deposits: list[tuple[int, int, float]], enrolled: int
) -> None:
    pools = KeyPools(5, enrolled_key_bits=enrolled, seed=0)
    total = 0.0
    for node, count, mean in deposits:
        total += float(pools.deposit([node], [4], [count], [count * mean])[0])
        if pools.available_bits(pools.pair_index(node, 4)) >= 128:
            pools.consume(pools.pair_index(node, 4), 1)
    pairs = [pools.pair_index(a, b) for a in range(5) for b in range(a + 1, 5)]
    assert pools.n_node_pairs() == len(pairs) == 10
    available = sum(pools.available_bits(pair) for pair in pairs)
    assert enrolled * 10 + total == pytest.approx(int(pools.consumed_bits.sum()) + available)
    assert all(pools.available_bits(pair) >= 0 for pair in pairs)


@pytest.mark.parametrize("nodes", [(0, 0), (0, 4), (-1, 2)])
def test_deposits_on_impossible_links_are_refused(nodes: tuple[int, int]) -> None:
    with pytest.raises(DomainError, match="two different nodes"):
        KeyPools(4, seed=0).deposit([nodes[0]], [nodes[1]], [1], [1.0])


@pytest.mark.parametrize("arguments", [{"n_nodes": 1}, {"n_nodes": 4, "enrolled_key_bits": 255}])
def test_too_small_pools_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(DomainError, match="at least"):
        KeyPools(**arguments, seed=0)
