"""Many drawn schedules of the consensus, counted: what `ceas fuzz` prints.

Schedule i of a run has the seed S + i and depends on nothing else but the range of numbers of nodes and the part that
is run, so that a seed that failed is replayed alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.processes import spawned_pool
from ceas.runtime.agreement_network import ScheduleResult, run_schedule
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.runtime.round_network import run_round_schedule
from ceas.runtime.simplex_network import run_simplex_schedule

__all__ = ["LARGEST_FUZZED", "PARTS", "PROTOCOLS", "SMALLEST_FUZZED", "FuzzTotals", "Protocol", "fuzz_consensus"]

PARTS: Final = ("round", "agreement", "all")
"""What schedules may run: the whole round, the agreement alone with planned deliveries, or both."""
# With `all` every fourth seed runs the agreement alone, which asks more of it in less time; the others the whole round.
_AGREEMENT_ONE_IN: Final = 4

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
    schedules_of_part: dict[str, int] = field(default_factory=dict)

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
        self.schedules_of_part[result.part] = self.schedules_of_part.get(result.part, 0) + 1
        if result.violations:
            self.n_safety_violations += 1
        elif not result.is_live:
            self.n_liveness_failures += 1
        if result.violations or not result.is_live:
            self.failed_seeds.append(result.seed)
            if len(self.failures) < _SHOWN:
                text = result.violations[0] if result.violations else "not all honest nodes ended in time"
                self.failures.append(
                    {"seed": result.seed, "part": result.part, "nodes": result.n_nodes, "failure": text}
                )


def fuzz_consensus(
    *,
    schedules: int,
    seed: int = 0,
    smallest: int = 4,
    largest: int = 16,
    part: str = "round",
    workers: int = 1,
    protocol: Protocol = "tetrabft",
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Run schedules of the consensus and count what came of them.

    Args:
        schedules: Number of schedules, at least 1.
        seed: Seed of the first one; the others follow it.
        smallest: Fewest nodes, at least 4.
        largest: Most nodes, at most 64.
        part: `round` for the whole round, `agreement` for the agreement alone, `all` for both: where the seed is a
            multiple of four the agreement, else the round.
        workers: Processes, at least 1; the counts do not depend on it.
        protocol: `tetrabft`, the agreement, or `simplex`, the comparison protocol from values to conclusion.
        progress: Told after every fifty schedules.

    Returns:
        Counts, rates and failures, as `ceas fuzz consensus --json` prints them.

    Raises:
        DomainError: An argument is outside its range.
        UnknownNameError: There is no such part or protocol.
    """
    if part not in PARTS:
        raise UnknownNameError("part", part, PARTS)
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
    run = partial(_run_chunk, smallest=smallest, largest=largest, part=part, protocol=protocol)
    for results in _results(chunks, run, workers):
        for result in results:
            totals.add(result)
        if progress is not None:
            progress(ProgressEvent(phase="schedules", training_round=totals.n_schedules, rounds=schedules))
    asked = {"schedules": totals.n_schedules, "first_seed": seed, "n_nodes": f"{smallest}-{largest}"}
    asked |= {"part": part} if protocol == "tetrabft" else {}
    return {"protocol": protocol} | asked | _counts(totals, time.monotonic() - started_s)


def _results(
    chunks: Sequence[range], run: Callable[[range], list[ScheduleResult]], workers: int
) -> Iterator[list[ScheduleResult]]:
    if workers == 1:
        yield from map(run, chunks)
        return
    with spawned_pool(workers) as pool:
        yield from pool.map(run, chunks)


def _run_chunk(seeds: range, smallest: int, largest: int, part: str, protocol: Protocol) -> list[ScheduleResult]:
    results = []
    for seed in seeds:
        is_alone = part == "agreement" or (part == "all" and seed % _AGREEMENT_ONE_IN == 0)
        of_tetrabft = run_schedule if is_alone else run_round_schedule
        run = run_simplex_schedule if protocol == "simplex" else of_tetrabft
        results.append(run(seed, smallest=smallest, largest=largest))
    return results


def _counts(totals: FuzzTotals, wall_s: float) -> dict[str, Any]:
    return {
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
        "schedules_of_part": dict(sorted(totals.schedules_of_part.items())),
        "failures": totals.failures,
    }
