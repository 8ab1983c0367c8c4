"""The network benchmark: one repeater in every program, then networks that only we run in seconds.

- `repeater`: the two-link repeater that `repeater_benchmark` describes, in this engine, SimQN and SeQUeNCe. With ten
  memories a link it is the published comparison; rates and fidelities are held against ours. With one memory it has a
  closed form, and is held against that.
- `chicago`: the nine routers of the Chicago metropolitan study with its hardware, 50 memories a router, for 1,000
  simulated seconds. All 36 pairs of routers are connected, each always asking for one pair.
- `random`: random recursive graphs of 16 to 512 nodes with 30 km links, hardware and numbers of connections of the
  scalability study of MQNS (one connection for ten nodes, ends 2 to 5 hops apart, ten memories a link), for 3 simulated
  seconds, each connection always asking for one pair.

In both networks a memory gives up what is older than its coherence time, as in those studies. What their own programs
took is not measured here, and their requests differ (reservations of many memories, and multiplexing).

Each program runs in a process of its own, which tells its peak memory. Times are those of the simulation alone, without
imports, set-up and compilation; those are told apart.
"""

import importlib.util
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.benchmark_network_peers import PEERS
from ceas.experiments.processes import run_in_own_process
from ceas.experiments.repeater_benchmark import (
    Estimate,
    Repeater,
    RepeaterRun,
    batch_estimates,
    one_memory_expectation,
)
from ceas.experiments.results import output_folder, write_json
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["AGREEMENT", "COLUMNS", "QUICK_EFFORT", "RANDOM_SIZES", "Effort", "benchmark", "printed_rows"]

# Standard errors of the difference within which two programs agree. With 32 batches a difference follows Student's law
# with at least 31 degrees of freedom, and one so large comes by chance once in 50,000 times.
AGREEMENT = 5.0
# Nodes and links of the random graphs.
RANDOM_SIZES = ((16, 20), (32, 40), (64, 80), (128, 160), (256, 320), (512, 640))
# One batch of warm-up and those that count.
_N_BATCHES = 33
COLUMNS = (
    "benchmark",
    "case",
    "program",
    "status",
    "pairs_per_s",
    "mean_fidelity",
    "rate_deviation",
    "fidelity_deviation",
    "pairs",
    "events",
    "wall_s",
    "cpu_s",
    "pairs_per_wall_s",
    "pairs_per_cpu_s",
    "times_ceas",
    "set_up_s",
    "peak_memory_mb",
)
_NOT_INSTALLED = "not installed (pip install -e '.[bench]')"
# SeQUeNCe's protocol is its own; see `benchmark_network_peers`.
_OWN_PROTOCOL = "ok, other protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Simulated time that each part gets (s). Programs that are slower get less, for rates count.

    Attributes:
        ceas_s: One batch of the repeater in this engine.
        simqn_s: One batch in SimQN.
        sequence_s: One batch in SeQUeNCe.
        chicago_s: The Chicago network.
        random_s: Each random graph.
        random_sizes: Nodes and links of the random graphs.
    """

    ceas_s: float = 10.0
    simqn_s: float = 1.0
    sequence_s: float = 0.03
    chicago_s: float = 1000.0
    random_s: float = 3.0
    random_sizes: Sequence[tuple[int, int]] = RANDOM_SIZES


# Shows that everything works; its times are no measurement.
QUICK_EFFORT = Effort(
    ceas_s=1.0, simqn_s=0.05, sequence_s=0.005, chicago_s=5.0, random_s=0.05, random_sizes=RANDOM_SIZES[:2]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What came back from a process."""

    result: Any
    total_s: float
    peak_memory_mb: float


def benchmark(
    effort: Effort | None = None, *, seed: int = 0, quick: bool = False, out: str = "", progress: Progress | None = None
) -> list[Mapping[str, Any]]:
    """Run all parts.

    Args:
        effort: Simulated times; the default takes about two minutes where all programs are installed.
        seed: Seed of everything random.
        quick: Whether the default effort is a short one, which shows that everything works and measures nothing.
        out: Folder for `network.json`, which holds all rows and `is_quick`. Default: nothing is kept.
        progress: Told before every process that is started.

    Returns:
        Rows with the keys `COLUMNS`. `pairs_per_s` counts simulated seconds. `rate_deviation` and `fidelity_deviation`
        are distances from the reference (our engine for ten memories, the closed form for one) in standard errors;
        `status` is `"ok"` within `AGREEMENT`, else `"disagrees"`, or says that a program has a protocol of its own or
        how to install it. `times_ceas` is a program's processor time for one pair over ours, which other work on the
        machine changes little. What does not apply is None.

    Raises:
        DomainError: `effort` is no `Effort`, or `out` cannot be written.
    """
    if effort is None:
        effort = QUICK_EFFORT if quick else Effort()
    if not isinstance(effort, Effort):
        raise DomainError(f"Argument `effort` must be an `Effort`, but is {effort!r}.")
    directory = output_folder(out)
    n_processes = 2 * (1 + sum(map(_is_installed, PEERS))) + 1 + len(effort.random_sizes)
    processes = _Processes(progress=progress, n_processes=n_processes)
    rows = [
        *_repeater_rows(effort, seed, processes),
        *_chicago_rows(effort, seed, processes),
        *_random_rows(effort, seed, processes),
    ]
    if directory is not None:
        write_json(directory / "network.json", {"rows": rows, "is_quick": quick})
    return rows


@dataclass(slots=True, kw_only=True)
class _Processes:
    """Runs functions in processes of their own, one after the other, and says which."""

    progress: Progress | None
    n_processes: int
    started: int = 0

    def run(self, what: str, function: Callable[..., Any], *arguments: Any) -> _Measured:
        """Run a function in a process of its own."""
        if self.progress is not None:
            self.progress(ProgressEvent(phase=what, training_round=self.started, rounds=self.n_processes))
        self.started += 1
        return run_in_own_process(_measure, function, *arguments)


def _is_installed(program: str) -> bool:
    return importlib.util.find_spec(PEERS[program][0]) is not None


# ---- the repeater in every program -----------------------------------------------------------------------------------


def _repeater_rows(effort: Effort, seed: int, processes: _Processes) -> list[Mapping[str, Any]]:
    from ceas.experiments.benchmark_network_ceas import run_repeater  # noqa: PLC0415 - brings Numba

    rows: list[Mapping[str, Any]] = []
    for memories in (10, 1):
        repeater = Repeater(memories=memories)
        ours = processes.run(
            f"repeater, {memories} memories, ceas", run_repeater, repeater, _N_BATCHES, effort.ceas_s, seed
        )
        reference = batch_estimates(ours.result)
        if memories == 1:
            rate, fidelity = one_memory_expectation(repeater)
            reference = Estimate(mean=rate, error=0.0), Estimate(mean=fidelity, error=0.0)
        case = f"{memories} memories" if memories > 1 else "1 memory, closed form"
        rows.append(_repeater_row(case, "ceas", ours, reference if memories == 1 else None, ours.result))
        for program, (_, run) in PEERS.items():
            if not _is_installed(program):
                rows.append(_row("repeater", case, program, _NOT_INSTALLED))
                continue
            batch_s = effort.sequence_s if program == "sequence" else effort.simqn_s
            what = f"repeater, {memories} memories, {program}"
            measured = processes.run(what, run, repeater, _N_BATCHES, batch_s, seed)
            rows.append(_repeater_row(case, program, measured, reference, ours.result))
    return rows


def _repeater_row(
    case: str, program: str, measured: _Measured, reference: tuple[Estimate, Estimate] | None, ours: RepeaterRun
) -> Mapping[str, Any]:
    run: RepeaterRun = measured.result
    rate, fidelity = batch_estimates(run)
    numbers: dict[str, Any] = {"pairs_per_s": rate.mean, "mean_fidelity": fidelity.mean}
    status = "ok"
    if program == "sequence":
        status = _OWN_PROTOCOL
    elif reference is not None:
        deviations = rate.deviation(reference[0]), fidelity.deviation(reference[1])
        status = "ok" if max(deviations) <= AGREEMENT else "disagrees"
        numbers |= {"rate_deviation": deviations[0], "fidelity_deviation": deviations[1]}
    pairs = float(run.count.sum())
    return _row(
        "repeater",
        case,
        program,
        status,
        **numbers,
        pairs=int(pairs),
        events=run.events,
        wall_s=run.timing.wall_s,
        cpu_s=run.timing.cpu_s,
        pairs_per_wall_s=pairs / run.timing.wall_s,
        pairs_per_cpu_s=pairs / run.timing.cpu_s,
        times_ceas=run.timing.cpu_s / pairs * float(ours.count.sum()) / ours.timing.cpu_s,
        set_up_s=measured.total_s - run.timing.wall_s,
        peak_memory_mb=measured.peak_memory_mb,
    )


# ---- networks --------------------------------------------------------------------------------------------------------


def _chicago_rows(effort: Effort, seed: int, processes: _Processes) -> list[Mapping[str, Any]]:
    measured = processes.run("chicago", _run_chicago, effort.chicago_s, seed)
    labels, run = measured.result
    rows = [_network_row("chicago", f"{len(labels)} pairs of 9 routers", measured, run)]
    for label, pairs, fidelity in zip(labels, run.pairs.tolist(), run.fidelity.tolist(), strict=True):
        numbers = {"pairs": pairs, "pairs_per_s": pairs / run.simulated_s, "mean_fidelity": fidelity}
        rows.append(_row("chicago", label, "ceas", "ok", **numbers))
    return rows


def _run_chicago(simulated_s: float, seed: int) -> tuple[list[str], Any]:
    """Run the Chicago network; memories of a router are dealt evenly to its links.

    Source:
        Hardware: Wu et al., arXiv:2009.12000, with cooperativity 500, as in SeQUeNCe's example of the network, and its
        swap success of 0.64.
    """
    from ceas.experiments.benchmark_network_ceas import LinkHardware, connect, run_connections  # noqa: PLC0415
    from ceas.network.topology import chicago  # noqa: PLC0415

    topology = chicago()
    hardware = LinkHardware(
        memory_efficiency=0.75,
        detector_efficiency=0.8,
        attenuation_db_per_km=0.2,
        initial_fidelity=0.9349367588934053,
        coherence_time_s=1.3,
        memory_frequency_hz=2e3,
        swap_success_probability=0.64,
    )
    share = 50 // np.bincount(topology.edges.ravel())
    memories = share[topology.edges].min(axis=1)
    connections = [(a, b) for a in range(topology.n_nodes) for b in range(a + 1, topology.n_nodes)]
    n_rounds = 10
    model = connect(
        topology,
        hardware,
        memories,
        connections,
        round_s=simulated_s / n_rounds,
        cutoff_s=hardware.coherence_time_s,
    )
    labels = [f"{topology.labels[a]} - {topology.labels[b]}" for a, b in connections]
    return labels, run_connections(model, n_rounds, seed)


def _random_rows(effort: Effort, seed: int, processes: _Processes) -> list[Mapping[str, Any]]:
    rows = []
    for n_nodes, n_links in effort.random_sizes:
        measured = processes.run(f"random, {n_nodes} nodes", _run_random, n_nodes, n_links, effort.random_s, seed)
        run = measured.result
        case = f"{n_nodes} nodes, {n_links} links, {len(run.pairs)} connections"
        rows.append(_network_row("random", case, measured, run))
    return rows


def _run_random(n_nodes: int, n_links: int, simulated_s: float, seed: int) -> Any:
    """Run a random graph.

    Source:
        Hardware, sizes and connections: example scalability_randomtopo of MQNS (arXiv:2512.22937); double-click links
        and saturated connections are ours.
    """
    from ceas.experiments.benchmark_network_ceas import (  # noqa: PLC0415
        LinkHardware,
        connect,
        random_connections,
        run_connections,
    )
    from ceas.network.topology import random_recursive  # noqa: PLC0415
    from ceas.streams import stream  # noqa: PLC0415

    topology = random_recursive(n_nodes, n_links, 30.0, stream(seed, "benchmark network graph", nodes=n_nodes))
    rng = stream(seed, "benchmark network connections", nodes=n_nodes)
    connections = random_connections(topology, max(2, n_nodes // 10), (2, 5), rng)
    hardware = LinkHardware(
        memory_efficiency=0.95,
        detector_efficiency=0.95,
        attenuation_db_per_km=0.2,
        initial_fidelity=0.99,
        coherence_time_s=5e-3,
        memory_frequency_hz=1e6,
        swap_success_probability=0.5,
    )
    memories = np.full(topology.n_links, 10, dtype=np.int64)
    model = connect(topology, hardware, memories, connections, round_s=simulated_s, cutoff_s=hardware.coherence_time_s)
    return run_connections(model, 1, seed)


def _network_row(benchmark_name: str, case: str, measured: _Measured, run: Any) -> Mapping[str, Any]:
    pairs = int(run.pairs.sum())
    return _row(
        benchmark_name,
        case,
        "ceas",
        "ok",
        pairs=pairs,
        pairs_per_s=pairs / run.simulated_s,
        mean_fidelity=float(np.nansum(run.fidelity * run.pairs) / pairs) if pairs else None,
        wall_s=run.timing.wall_s,
        cpu_s=run.timing.cpu_s,
        pairs_per_wall_s=pairs / run.timing.wall_s,
        pairs_per_cpu_s=pairs / run.timing.cpu_s,
        set_up_s=measured.total_s - run.timing.wall_s,
        peak_memory_mb=measured.peak_memory_mb,
    )


# ---- what is printed -------------------------------------------------------------------------------------------------


def printed_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows without those of single connections, and a table of these rows' totals and order statistics.

    `pairs`, `pairs_per_s` and `mean_fidelity` have a row each: total (of fidelity the mean over all pairs), minimum,
    median and maximum over the connections; of fidelity over those that got a pair.
    """
    single = [row for row in rows if row.get("benchmark") == "chicago" and row.get("wall_s") is None]
    kept = [row for row in rows if not any(row is one for one in single)]
    if not single:
        return kept
    table = f"chicago, over its {len(single)} connections (each of them: --json, or --out DIR)"
    pairs = np.array([row["pairs"] for row in single], dtype=np.float64)
    for column in ("pairs", "pairs_per_s", "mean_fidelity"):
        values = np.array([row[column] for row in single], dtype=np.float64)
        known = np.isfinite(values)
        if not known.any():
            continue
        is_mean = column == "mean_fidelity"
        total = np.average(values[known], weights=pairs[known]) if is_mean else values.sum()
        numbers = {
            "total": float(total),
            "minimum": float(values[known].min()),
            "median": float(np.median(values[known])),
            "maximum": float(values[known].max()),
        }
        kept.append({"table": table, "figure": column, **numbers})
    return kept


# ---- processes and rows ----------------------------------------------------------------------------------------------


def _row(benchmark_name: str, case: str, program: str, status: str, **numbers: Any) -> Mapping[str, Any]:
    """Return a row with every column, None where nothing is given."""
    given = {"benchmark": benchmark_name, "case": case, "program": program, "status": status, **numbers}
    unknown = set(given) - set(COLUMNS)
    if unknown:
        raise DomainError(f"Argument `numbers` must name columns, but has {sorted(unknown)}.")
    return {column: given.get(column) for column in COLUMNS}


def _measure(run: Callable[..., Any], *arguments: Any) -> _Measured:
    start = time.perf_counter()
    result = run(*arguments)
    return _Measured(result=result, total_s=time.perf_counter() - start, peak_memory_mb=_peak_memory_mb())


def _peak_memory_mb() -> float:
    """Return the largest memory that this process has had so far (MB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
