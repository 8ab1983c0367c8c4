"""Costs and the benchmark's rows."""

import math

import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba import (
    EPR_STRATEGIES,
    PROTOCOLS,
    WeakBroadcastRules,
    coin_cost,
    compare_costs,
    epr_cost,
    measure_protocol,
    published_epr_rules,
    study,
    tetrabft_cost,
    tetrabft_frames,
    weak_broadcast_cost,
)


@pytest.mark.parametrize(("nodes", "frames"), [(4, 96), (10, 720), (50, 19_600), (100, 79_200)])
def test_frames_of_a_round(nodes: int, frames: int) -> None:
    """One frame a link, direction and step, and the leader's proposals on top."""
    assert tetrabft_frames(nodes, with_data=True) == frames + nodes - 1
    assert tetrabft_frames(nodes) == frames * 5 // 8 + nodes - 1


def test_perfect_pairs_give_a_bit_each() -> None:
    assert tetrabft_cost(4, 1.0, "its128").pairs == 63 * 128
    assert tetrabft_cost(4, 1.0, "its64").pairs == 63 * 64
    assert tetrabft_cost(4, 1.0, "qkd_seeded").pairs == 6 * 256
    assert epr_cost(published_epr_rules(64), 1.0).pairs == 2 * 64 + 4 * 128 + 4 * 64
    assert weak_broadcast_cost(WeakBroadcastRules(states=280), 1.0).pairs == 560 + 3 * 128
    assert coin_cost(4, 0.25).pairs == 84


def test_keys_are_paid_at_the_asymptotic_rate() -> None:
    q = 2 * (1 - 0.95) / 3
    rate = 1 + 2 * (q * math.log2(q) + (1 - q) * math.log2(1 - q))
    assert rate == pytest.approx(0.578, abs=5e-4)
    assert tetrabft_cost(4, 0.95, "its128").pairs == math.ceil(63 * 128 / rate)
    assert math.isinf(tetrabft_cost(4, 0.83, "its128").pairs)


def test_comparison_says_who_meets_the_target() -> None:
    rows = {(row["fidelity"], row["protocol"]): row for row in compare_costs([0.95, 1.0], target=1e-3)}
    assert rows[0.95, "EPR agreement, published"]["meets_target"] == "no"
    assert rows[0.95, "EPR agreement, tolerant"]["meets_target"] == "but for corrupted lists"
    assert rows[1.0, "GHZ coin, fail-stop"]["meets_target"] == "without faulty states"
    assert rows[0.95, "weak broadcast"]["meets_target"] == "no"
    assert rows[1.0, "weak broadcast"]["meets_target"] == "yes"
    assert rows[1.0, "GHZ coin, fail-stop"]["pairs_per_digest"] is None
    tolerant, tetrabft = rows[0.95, "EPR agreement, tolerant"], rows[0.95, "TetraBFT, its128"]
    assert tolerant["pairs"] < tetrabft["pairs"] == tetrabft["pairs_per_digest"] < tolerant["pairs_per_digest"]
    assert tolerant["pairs_per_digest"] == 256 * tolerant["pairs"]


def test_no_correlation_leaves_nothing_to_pay_with() -> None:
    rows = compare_costs([0.25], target=0.1)
    assert not any("tolerant" in row["protocol"] for row in rows)
    assert {row["protocol"] for row in rows if row["pairs"] is not None} == {"GHZ coin, fail-stop"}
    assert {row["meets_target"] for row in rows} == {"no"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rows_are_reproducible_and_independent_of_their_neighbours(protocol: str) -> None:
    alone = measure_protocol(protocol, [1.0], shots=200, seed=3)
    among = measure_protocol(protocol, [0.9, 1.0], shots=200, seed=3)
    assert among[-len(alone) :] == alone
    assert measure_protocol(protocol, [1.0], shots=200, seed=4) != alone
    for row in among:
        assert row["low"] <= row["failure"] <= row["high"]


def test_every_row_has_its_own_stream() -> None:
    drawn = {study._rng(0, name, fidelity).random() for name in ("a", "b") for fidelity in (0.9, 0.95)}
    assert len(drawn) == 4


def test_epr_rows_cover_all_strategies_and_keep_their_bounds() -> None:
    """A measured rate may exceed a bound by chance: the 95 % interval's low end may not, for these fixed seeds."""
    rows = measure_protocol("epr", [0.95, 1.0], shots=2000)
    for rules in ("published", "tolerant"):
        names = [row["strategy"] for row in rows if row["rules"] == rules and row["fidelity"] == 1.0]
        assert names == [*EPR_STRATEGIES, "colluding_lieutenants_2"]
    bounded = [row for row in rows if row["at_most"] is not None]
    assert len(bounded) == 12
    assert all(row["low"] <= row["at_most"] for row in bounded)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown protocol `eper`\. Did you mean `epr`"):
        measure_protocol("eper", [1.0], shots=10)
    with pytest.raises(DomainError, match=r"`fidelity` must be in \[0.25, 1\], but is 0.1"):
        measure_protocol("epr", [1.0, 0.1], shots=10)
    with pytest.raises(DomainError, match=r"`target` must be in \(0, 1\), but is 2"):
        compare_costs([1.0], target=2.0)
    with pytest.raises(DomainError, match="`profile` must be one of its128, its64, qkd_seeded, but is 'none'"):
        tetrabft_cost(4, 1.0, "none")
    with pytest.raises(DomainError, match="`nodes` must be a whole number of at least 4, but is 3"):
        tetrabft_frames(3)
