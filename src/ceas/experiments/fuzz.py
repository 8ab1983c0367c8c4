"""Many drawn schedules of the agreement, counted: what `ceas fuzz` prints.

Schedule i of a run has the seed S + i and depends on nothing else but the range of numbers of nodes, so that a seed
that failed is replayed alone.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.processes import spawned_pool
from ceas.runtime.agreement_network import ScheduleResult, run_schedule
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.runtime.simplex_network import run_simplex_schedule

__all__ = ["LARGEST_FUZZED", "PROTOCOLS", "SMALLEST_FUZZED", "FuzzTotals", "Protocol", "fuzz_consensus"]

SMALLEST_FUZZED: Final = 4
LARGEST_FUZZED: Final = 64
Protocol = Literal["tetrabft", "simplex"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("tetrabft", "simplex")
_CHUNK: Final = 50
_SHOWN: Final = 20


@dataclass(slots=True)
class FuzzTotals:
    """Sums over schedules; `failures` holds at most twenty of them, `failed_seeds` every one."""

    n_schedules: int = 0
    n_decisions: int = 0
    n_views: int = 0
    n_restarts: int = 0
    n_messages: int = 0
    most_views: int = 0
    most_delays_to_decide: float = 0.0
    n_safety_violations: int = 0
    n_liveness_failures: int = 0
    failed_seeds: list[int] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    schedules_of_size: dict[int, int] = field(default_factory=dict)

    def add(self, result: ScheduleResult) -> None:
        """Count one schedule; one that is unsafe is not asked whether it is live, since it was stopped."""
        self.n_schedules += 1
        self.n_decisions += result.n_decisions
        self.n_views += result.n_views
        self.n_restarts += result.n_restarts
        self.n_messages += result.n_messages
        self.most_views = max(self.most_views, result.n_views)
        self.most_delays_to_decide = max(self.most_delays_to_decide, result.delays_to_decide)
        self.schedules_of_size[result.n_nodes] = self.schedules_of_size.get(result.n_nodes, 0) + 1
        if result.violations:
            self.n_safety_violations += 1
        elif not result.is_live:
            self.n_liveness_failures += 1
        if result.violations or not result.is_live:
            self.failed_seeds.append(result.seed)
            if len(self.failures) < _SHOWN:
                text = result.violations[0] if result.violations else "not all honest nodes decided and halted in time"
                self.failures.append({"seed": result.seed, "nodes": result.n_nodes, "failure": text})


def fuzz_consensus(
    *,
    schedules: int,
    seed: int = 0,
    smallest: int = 4,
    largest: int = 16,
    workers: int = 1,
    protocol: Protocol = "tetrabft",
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Run schedules of the agreement and count what came of them.

    Args:
        schedules: Number of schedules, at least 1.
        seed: Seed of the first one; the others follow it.
        smallest: Fewest nodes, at least 4.
        largest: Most nodes, at most 64.
        workers: Processes, at least 1; the counts do not depend on it.
        protocol: `tetrabft`, the agreement, or `simplex`, the comparison protocol from values to conclusion.
        progress: Told after every fifty schedules.

    Returns:
        Counts, rates and failures, as `ceas fuzz consensus --json` prints them.

    Raises:
        DomainError: An argument is outside its range.
        UnknownNameError: There is no such protocol.
    """
    if not SMALLEST_FUZZED <= smallest <= largest <= LARGEST_FUZZED:
        raise DomainError(
            f"Option `--n-nodes` must be a range within {SMALLEST_FUZZED}-{LARGEST_FUZZED}, "
            f"but is {smallest}-{largest}."
        )
    for name, value in (("--schedules", schedules), ("--workers", workers)):
        if value < 1:
            raise DomainError(f"Option `{name}` must be at least 1, but is {value}.")
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    started_s = time.monotonic()
    totals = FuzzTotals()
    chunks = [range(first, min(first + _CHUNK, seed + schedules)) for first in range(seed, seed + schedules, _CHUNK)]
    for results in _results(chunks, smallest, largest, workers, protocol):
        for result in results:
            totals.add(result)
        if progress is not None:
            progress(ProgressEvent(phase="schedules", training_round=totals.n_schedules, rounds=schedules))
    return {"protocol": protocol, **_document(totals, seed, smallest, largest, time.monotonic() - started_s)}


def _results(
    chunks: Sequence[range], smallest: int, largest: int, workers: int, protocol: Protocol
) -> Iterator[list[ScheduleResult]]:
    run = partial(_run_chunk, smallest=smallest, largest=largest, protocol=protocol)
    if workers == 1:
        yield from map(run, chunks)
        return
    with spawned_pool(workers) as pool:
        yield from pool.map(run, chunks)


def _run_chunk(seeds: range, smallest: int, largest: int, protocol: Protocol) -> list[ScheduleResult]:
    run = run_simplex_schedule if protocol == "simplex" else run_schedule
    return [run(seed, smallest=smallest, largest=largest) for seed in seeds]


def _document(totals: FuzzTotals, seed: int, smallest: int, largest: int, wall_s: float) -> Mapping[str, Any]:
    return {
        "schedules": totals.n_schedules,
        "first_seed": seed,
        "n_nodes": f"{smallest}-{largest}",
        "safety_violations": totals.n_safety_violations,
        "liveness_failures": totals.n_liveness_failures,
        "failed_seeds": totals.failed_seeds,
        "decisions": totals.n_decisions,
        "views": totals.n_views,
        "most_views": totals.most_views,
        "most_delays_to_decide": totals.most_delays_to_decide,
        "restarts": totals.n_restarts,
        "messages": totals.n_messages,
        "wall_s": wall_s,
        "schedules_per_s": totals.n_schedules / wall_s,
        "schedules_of_size": {str(size): count for size, count in sorted(totals.schedules_of_size.items())},
        "failures": totals.failures,
    }
