"""Key made of pairs, and its accounting."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.authentication import FiniteKey, KeyPools, pairs_for_key, secret_key_bits
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


# Finite keys: blocks of pairs.

ENDLESS = {"security_parameter": 0.5, "correction_inefficiency": 1.0}


def finite(block_pairs: int, **arguments: float) -> FiniteKey:
    return FiniteKey(block_pairs=block_pairs, **arguments)


def independent_length(pairs: int, error: float, *, epsilon: float, inefficiency: float) -> int:
    """Return the longest key over every split of a block, from the formula written anew in plain floats."""

    def entropy(p: float) -> float:
        return 0.0 if p in (0.0, 1.0) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    secrecy = correctness = epsilon / 2
    longest = 0.0
    for k in range(1, pairs):
        n = pairs - k
        mu = math.sqrt(pairs / (n * k) * (k + 1) / k * math.log(4 / secrecy))
        length = n * (1 - entropy(min(error + mu, 0.5))) - inefficiency * n * entropy(error)
        longest = max(longest, length - math.log2(2 / (secrecy**2 * correctness)))
    return math.floor(longest)


@pytest.mark.parametrize(("pairs", "fidelity"), [(300, 0.99), (5000, 0.99), (20_000, 0.95), (20_000, 0.9)])
def test_a_block_gives_what_the_formula_gives_for_the_best_split(pairs: int, fidelity: float) -> None:
    expected = independent_length(pairs, 2 * (1 - fidelity) / 3, epsilon=1e-10, inefficiency=1.1)
    found = finite(pairs).block_bits(werner(fidelity), werner(fidelity))
    assert expected - 1 <= found <= expected


def test_pairs_wait_until_their_block_is_full() -> None:
    pools = KeyPools(3, seed=1, finite_key=finite(20_000))
    w = werner(0.95)
    for training_round in range(4):
        added = pools.deposit([2], [1], [6000], [6000 * w])
        expected = finite(20_000).block_bits(w, w) if training_round == 3 else 0
        assert added == pytest.approx([expected])
    pair = pools.pair_index(1, 2)
    assert expected > 1000
    assert pools.open_pairs[pair] == 4000
    assert pools.closed_blocks[pair] == 1
    assert pools.holds(pair, (256 + expected) // 128 - 1)
    assert not pools.holds(pair, (256 + expected) // 128)


def test_a_block_counts_by_the_mean_of_its_pairs() -> None:
    pools, w = KeyPools(2, seed=1, finite_key=finite(20_000)), (werner(0.99), werner(0.91))
    pools.deposit([0], [1], [10_000], [10_000 * w[0]])
    # The other half of the block comes with three quarters of a next one.
    [bits] = pools.deposit([1], [0], [25_000], [25_000 * w[1]])
    assert bits == finite(20_000).block_bits(sum(w) / 2, sum(w) / 2)
    [bits] = pools.deposit([0], [1], [5000], [5000 * w[0]])
    mean = (3 * w[1] + w[0]) / 4
    assert bits == finite(20_000).block_bits(mean, mean)
    assert pools.open_pairs[1] == 0


def test_the_better_basis_makes_the_key_and_negative_correlators_count_as_flipped() -> None:
    x, z = 0.97, 0.92
    one = finite(20_000)
    assert one.block_bits(x, z) == one.block_bits(z, x) == one.block_bits(-x, z) > one.block_bits(z, z) > 0
    pools = KeyPools(2, seed=1, finite_key=one)
    [bits] = pools.deposit([0], [1], [20_000], [[20_000 * x, 0.5 * 20_000, 20_000 * z]])
    assert bits == one.block_bits(x, z)


def test_key_per_pair_rises_with_the_block_and_tends_to_the_asymptotic_rate() -> None:
    for fidelity in (0.99, 0.95, 0.9):
        w = werner(fidelity)
        sizes = [10**k for k in range(2, 13)]
        rates = [finite(size, **ENDLESS).block_bits(w, w) / size for size in sizes]
        limit = float(secret_key_bits(1, w))
        assert rates == sorted(rates)
        assert all(rate < limit for rate in rates)
        # mu falls with the square root of the tested pairs, so the gap with about the cube root of the block.
        assert rates[-1] == pytest.approx(limit, rel=2e-3)


def test_key_vanishes_at_fidelity_08350() -> None:
    """The asymptotic threshold is that of endless blocks with ideal error correction; no block has a lower one."""
    endless = finite(10**12, **ENDLESS)
    assert endless.block_bits(werner(0.8349), werner(0.8349)) == 0
    assert endless.block_bits(werner(0.8360), werner(0.8360)) > 0
    assert secret_key_bits(1, werner(0.8349)) == 0
    assert secret_key_bits(1, werner(0.8351)) > 0
    for size in (100, 10**4, 10**6):
        assert finite(size).block_bits(werner(0.8349), werner(0.8349)) == 0
    # No key from a small block, however good its pairs.
    assert finite(100).block_bits(1.0, 1.0) == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9000), st.floats(0, 1)), max_size=12),
    st.integers(2, 4000),
)
def test_pairs_and_bits_are_conserved_with_blocks(deposits: list[tuple[int, int, float]], size: int) -> None:
    pools = KeyPools(4, seed=0, finite_key=finite(size, security_parameter=1e-3))
    total, upper, counts = 0.0, 0.0, [0, 0, 0]
    for node, count, mean in deposits:
        [bits] = pools.deposit([node], [3], [count], [count * mean])
        total += bits
        upper += count
        counts[node] += count
        if pools.available_bits(pools.pair_index(node, 3)) >= 128:
            pools.consume(pools.pair_index(node, 3), 1)
    assert total <= upper
    for node, count in enumerate(counts):
        pair = pools.pair_index(node, 3)
        assert pools.closed_blocks[pair] * size + pools.open_pairs[pair] == pytest.approx(count)
        assert 0 <= pools.open_pairs[pair] < size
    pairs = [pools.pair_index(a, b) for a in range(4) for b in range(a + 1, 4)]
    available = sum(pools.available_bits(pair) for pair in pairs)
    assert 256 * 6 + total == pytest.approx(int(pools.consumed_bits.sum()) + available)


def test_how_deposits_are_cut_does_not_matter_for_like_pairs() -> None:
    whole, parts = (KeyPools(2, seed=0, finite_key=finite(3000)) for _ in range(2))
    w = werner(0.99)
    whole.deposit([0], [1], [10_000], [10_000 * w])
    for _ in range(10):
        parts.deposit([0, 1], [1, 0], [500, 500], [500 * w, 500 * w])
    assert whole.generated_bits[1] == parts.generated_bits[1] > 0
    assert whole.open_pairs[1] == parts.open_pairs[1] == 1000


def test_open_blocks_survive_a_checkpoint() -> None:
    def pools() -> KeyPools:
        return KeyPools(3, seed=0, finite_key=finite(3000))

    first, w = pools(), werner(0.99)
    first.deposit([0, 1], [1, 2], [2000, 5000], [2000 * w, 5000 * w])
    again = pools()
    again.load(first.generated_bits, first.consumed_bits)
    again.load_open_blocks(first.open_blocks() | {"keys": np.zeros(3)})
    for one in (first, again):
        one.deposit([0, 1], [1, 2], [1500, 1500], [1500 * w, 1400.0])
    assert set(first.open_blocks()) == {"open_pairs", "open_correlators", "closed_blocks"}
    for name, values in first.open_blocks().items():
        np.testing.assert_array_equal(values, again.open_blocks()[name])
    np.testing.assert_array_equal(first.generated_bits, again.generated_bits)
    assert KeyPools(3, seed=0).open_blocks() == {}


@pytest.mark.parametrize(
    "arguments",
    [{"block_pairs": 1}, {"security_parameter": 0.0}, {"security_parameter": 1.0}, {"correction_inefficiency": 0.9}],
)
def test_impossible_finite_keys_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(DomainError, match=next(iter(arguments))):
        FiniteKey(**arguments)  # type: ignore[arg-type]


def test_impossible_records_are_refused_with_blocks_too() -> None:
    pools = KeyPools(2, seed=0, finite_key=finite(10))
    with pytest.raises(DomainError):
        pools.deposit([0], [1], [3], [4.0])
    assert pools.open_pairs.sum() == 0
