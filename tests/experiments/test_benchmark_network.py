"""The network benchmark with tiny sizes: its rows, and our repeater, networks and connections."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments import benchmark_network, run_benchmark
from ceas.experiments.bench import printed_rows
from ceas.experiments.benchmark_network import AGREEMENT, COLUMNS, QUICK_EFFORT, Effort, benchmark
from ceas.experiments.benchmark_network_ceas import (
    LinkHardware,
    connect,
    random_connections,
    run_connections,
    run_repeater,
)
from ceas.experiments.repeater_benchmark import Estimate, Repeater, RepeaterRun, batch_estimates, one_memory_expectation
from ceas.network.topology import chain, random_recursive
from ceas.runtime.progress import ProgressEvent

TINY = Effort(ceas_s=0.2, simqn_s=0.02, sequence_s=0.005, chicago_s=0.5, random_s=0.02, random_sizes=((16, 20),))


@pytest.fixture(scope="module")
def told() -> list[ProgressEvent]:
    return []


@pytest.fixture(scope="module")
def rows(told: list[ProgressEvent]) -> list[Mapping[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        peers = {name: ("no_such_module", run) for name, (_, run) in benchmark_network.PEERS.items()}
        patch.setattr(benchmark_network, "PEERS", peers)
        return benchmark(TINY, seed=1, progress=told.append)


def test_all_rows_have_all_columns(rows: list[Mapping[str, Any]]) -> None:
    assert {tuple(row) for row in rows} == {COLUMNS}
    assert [row["benchmark"] for row in rows].count("chicago") == 1 + 36
    assert [row["benchmark"] for row in rows].count("random") == 1
    assert [row["benchmark"] for row in rows].count("repeater") == 2 * (1 + len(benchmark_network.PEERS))


def test_connections_are_printed_as_what_they_come_to(rows: list[Mapping[str, Any]]) -> None:
    single = [row for row in rows if row["benchmark"] == "chicago"][1:]
    printed = printed_rows("network", rows)
    assert len(printed) == len(rows) - 36 + 3
    assert [row for row in printed if "figure" not in row] == [row for row in rows if row not in single]
    figures = {row["figure"]: row for row in printed if "figure" in row}
    [table] = {row["table"] for row in figures.values()}
    assert table.startswith("chicago, over its 36 connections")
    pairs = sorted(row["pairs"] for row in single)
    assert [figures["pairs"][name] for name in ("total", "minimum", "maximum")] == [sum(pairs), pairs[0], pairs[-1]]
    assert figures["pairs"]["median"] == (pairs[17] + pairs[18]) / 2
    chicago = next(row for row in rows if row["benchmark"] == "chicago")
    assert figures["pairs_per_s"]["total"] == pytest.approx(chicago["pairs_per_s"])
    assert figures["mean_fidelity"]["total"] == pytest.approx(chicago["mean_fidelity"])
    # Who got no pair has no fidelity.
    fidelity = [row["mean_fidelity"] for row in single if row["pairs"]]
    assert figures["mean_fidelity"]["minimum"] == min(fidelity)
    assert figures["mean_fidelity"]["median"] == pytest.approx(np.median(fidelity))


def test_the_folder_holds_all_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_network, "_repeater_rows", lambda *_: [{"benchmark": "repeater", "pairs": None}])
    monkeypatch.setattr(benchmark_network, "_chicago_rows", lambda *_: [])
    monkeypatch.setattr(benchmark_network, "_random_rows", lambda *_: [])
    made = benchmark(quick=True, out=str(tmp_path / "new"))
    kept = json.loads((tmp_path / "new" / "network.json").read_text())
    assert kept == {"rows": made, "is_quick": True}
    assert printed_rows("network", made) == made


def test_programs_that_are_not_installed_are_named(rows: list[Mapping[str, Any]]) -> None:
    missing = [row for row in rows if row["status"].startswith("not installed")]
    assert {row["program"] for row in missing} == set(benchmark_network.PEERS)
    assert all(row["wall_s"] is None for row in missing)


def test_our_rows_tell_time_memory_and_agreement(rows: list[Mapping[str, Any]]) -> None:
    ours = [row for row in rows if row["program"] == "ceas" and row["wall_s"] is not None]
    assert len(ours) == 4
    for row in ours:
        assert row["status"] == "ok"
        assert row["pairs"] > 0
        assert 0.25 < row["mean_fidelity"] < 1.0
        assert row["peak_memory_mb"] > 20.0
        assert row["set_up_s"] > 0.0
    closed_form = [row for row in ours if row["case"] == "1 memory, closed form"]
    assert len(closed_form) == 1
    assert max(closed_form[0]["rate_deviation"], closed_form[0]["fidelity_deviation"]) <= AGREEMENT


def test_it_says_which_process_it_starts(rows: list[Mapping[str, Any]], told: list[ProgressEvent]) -> None:
    phases = ["repeater, 10 memories, ceas", "repeater, 1 memories, ceas", "chicago", "random, 16 nodes"]
    assert [event.phase for event in told] == phases
    assert [(event.training_round, event.rounds) for event in told] == [(at, 4) for at in range(4)]


def test_the_short_benchmark_has_every_part_with_less_effort() -> None:
    for name in ("ceas_s", "simqn_s", "sequence_s", "chicago_s", "random_s"):
        assert 0.0 < getattr(QUICK_EFFORT, name) < getattr(Effort(), name)
    assert 0 < len(QUICK_EFFORT.random_sizes) < len(Effort().random_sizes)


def test_an_effort_is_an_effort() -> None:
    """The command line can only give numbers and texts."""
    with pytest.raises(DomainError, match="`effort` must be"):
        run_benchmark("network", {"effort": 1})


def exactly(repeater: Repeater) -> tuple[Estimate, Estimate]:
    rate, fidelity = one_memory_expectation(repeater)
    return Estimate(mean=rate, error=0.0), Estimate(mean=fidelity, error=0.0)


@pytest.mark.parametrize("repeater", [Repeater(memories=1), Repeater(memories=1, link_km=45.0, coherence_time_s=0.02)])
def test_our_repeater_follows_the_closed_form(repeater: Repeater) -> None:
    """Six standard errors, 32 batches: a false alarm in about 1e-6 of all runs."""
    for found, expected in zip(batch_estimates(run_repeater(repeater, 33, 10.0, 3)), exactly(repeater), strict=True):
        assert found.deviation(expected) < 6.0


@pytest.mark.parametrize("repeater", [Repeater(), Repeater(memories=3, link_km=33.0)])
def test_our_repeater_agrees_with_a_second_writing(
    repeater: Repeater, second_writing: Callable[..., RepeaterRun]
) -> None:
    """The same repeater attempt by attempt; six standard errors, a false alarm in about 1e-6 of all runs."""
    ours, other = run_repeater(repeater, 33, 10.0, 3), second_writing(repeater, 33, 0.5, 4)
    for found, expected in zip(batch_estimates(ours), batch_estimates(other), strict=True):
        assert found.deviation(expected) < 6.0


def test_a_cutoff_in_attempts_is_refused() -> None:
    with pytest.raises(DomainError, match="`cutoff_attempts` must be None"):
        run_repeater(Repeater(memories=1, cutoff_attempts=3), 2, 0.1, 0)


HARDWARE = LinkHardware(
    memory_efficiency=0.9,
    detector_efficiency=0.9,
    attenuation_db_per_km=0.2,
    initial_fidelity=0.95,
    coherence_time_s=math.inf,
    memory_frequency_hz=1e5,
    swap_success_probability=1.0,
)


def test_connections_get_the_fidelity_of_their_hops() -> None:
    """Perfect memories: a route of h links delivers pairs of Werner parameter w^h, every one."""
    memories = np.full(4, 3, dtype=np.int64)
    model = connect(chain(5, 10.0), HARDWARE, memories, [(0, 1), (0, 2), (1, 4), (4, 0)], round_s=0.05)
    run = run_connections(model, 2, 1)
    werner = (4 * 0.95 - 1) / 3
    np.testing.assert_allclose(run.fidelity, 0.25 + 0.75 * werner ** np.array([1, 2, 3, 4]), rtol=1e-5)
    assert np.all(run.pairs > 0)
    # Each delivered pair of h links took h - 1 swaps; a few more are on their way.
    assert run.swaps >= int(run.pairs @ np.array([0, 1, 2, 3]))
    assert run.simulated_s == pytest.approx(0.1)


def test_held_pairs_are_given_up_at_their_cutoff() -> None:
    """Memories that decay: a pair of age a has at least w exp(-2 a / T); no delivered pair is older than the cutoff."""
    decaying = replace(HARDWARE, coherence_time_s=0.05)
    memories = np.full(2, 2, dtype=np.int64)
    short, long = (
        run_connections(connect(chain(3, 30.0), decaying, memories, [(0, 2)], round_s=2.0, cutoff_s=cutoff_s), 1, 1)
        for cutoff_s in (0.002, 0.2)
    )
    news_s, werner = 30.0 / 2e5, (4 * 0.95 - 1) / 3
    lowest = werner**2 * math.exp(-2.0 * (2 * 0.002 + news_s) / 0.05)
    assert short.fidelity[0] > 0.25 + 0.75 * lowest
    assert short.fidelity[0] > long.fidelity[0]
    assert 0 < short.pairs[0] < long.pairs[0]


def test_random_connections_keep_their_distance_and_share_no_node_while_they_can() -> None:
    topology = random_recursive(64, 80, 30.0, np.random.default_rng(2))
    graph = nx.Graph(topology.edges.tolist())
    chosen = random_connections(topology, 6, (2, 5), np.random.default_rng(3))
    assert len({node for pair in chosen for node in pair}) == 12
    assert all(2 <= nx.shortest_path_length(graph, *pair) <= 5 for pair in chosen)
    assert chosen == random_connections(topology, 6, (2, 5), np.random.default_rng(3))


def test_random_connections_repeat_nodes_only_where_they_must() -> None:
    chosen = random_connections(chain(4, 1.0), 3, (2, 3), np.random.default_rng(0))
    assert sorted(chosen) == [(0, 2), (0, 3), (1, 3)]
    with pytest.raises(DomainError, match="`n_connections` must be at most 3"):
        random_connections(chain(4, 1.0), 4, (2, 3), np.random.default_rng(0))
