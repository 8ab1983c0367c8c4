"""Finite keys in a training: blocks close over rounds, defaults change nothing, a resumed run has the same key."""

from pathlib import Path

import numpy as np
import pytest

from ceas.authentication import FiniteKey, KeyPools
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_policy, assemble_security, assemble_world
from ceas.runtime.checkpoint import load_arrays, save_arrays
from ceas.runtime.sources import LiveSource, record_trace

FINITE = ("authentication.key_rate=finite", "authentication.block_pairs=900", "authentication.security_parameter=0.3")

# 500 pairs of F > 0.97 for key on every link and round.
MANY_GOOD_PAIRS = (
    "hardware.coherence_time_s=100",
    "hardware.multiplexing=64",
    "schedule.key_pairs_per_round=500",
)


def live_source(scenario: Scenario) -> LiveSource:
    world = assemble_world(scenario, seed=3)
    return LiveSource(
        world,
        assemble_policy(scenario, world),
        assemble_security(scenario),
        seed=3,
        trace_every=0,
        start_digest=bytes(32),
    )


def key_of(source: LiveSource, scenario: Scenario, rounds: int) -> list[list[float]]:
    world = assemble_world(scenario, seed=3)
    trace = record_trace(source, world, assemble_security(scenario), rounds)
    return [one.key_bits_generated.tolist() for one in trace.exchanges]


def pools_of(source: LiveSource) -> KeyPools:
    return source._authenticator.pools


@pytest.fixture(scope="module")
def scenario(small_scenario: Scenario) -> Scenario:
    return small_scenario.with_overrides([*FINITE, *MANY_GOOD_PAIRS])


def test_key_comes_in_blocks_and_as_much_as_the_formula_says(scenario: Scenario) -> None:
    finite, endless = (
        live_source(scenario),
        live_source(scenario.with_overrides(["authentication.key_rate=asymptotic"])),
    )
    by_blocks, by_pairs = key_of(finite, scenario, 4), key_of(endless, scenario, 4)
    assert sum(map(sum, by_blocks)) > 0
    assert np.all(np.array(by_blocks) % 1 == 0)
    assert np.all(np.sum(by_blocks, axis=0) < np.sum(by_pairs, axis=0))
    pools = pools_of(finite)
    assert pools.finite_key == FiniteKey(block_pairs=900, security_parameter=0.3)
    is_link = pools.open_pairs > 0
    assert pools.closed_blocks[is_link].tolist() == [2] * 5
    assert pools.open_pairs[is_link].tolist() == [200] * 5
    assert pools_of(endless).finite_key is None


def test_a_resumed_training_closes_the_same_blocks(scenario: Scenario, tmp_path: Path) -> None:
    whole = live_source(scenario)
    expected = key_of(whole, scenario, 4)
    first = live_source(scenario)
    start = key_of(first, scenario, 2)
    save_arrays(tmp_path / "state.npz", first.to_arrays())
    second = live_source(scenario)
    second.load(load_arrays(tmp_path / "state.npz"))
    assert start + key_of(second, scenario, 2) == expected
    for name, values in pools_of(whole).open_blocks().items():
        np.testing.assert_array_equal(values, pools_of(second).open_blocks()[name])
