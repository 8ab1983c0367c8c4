"""A made-up run that has every column and key, the benchmark's repeater written down a second time, and policies."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ceas.experiments.repeater_benchmark import Repeater, RepeaterRun, Timing
from ceas.experiments.result_tables import TABLE_COLUMNS
from ceas.experiments.results import RESULT_KEYS, RunResult
from ceas.experiments.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    from ceas.experiments.scheduling_cases import SchedulingCase
    from ceas.experiments.scheduling_contest import Entrant


def table(name: str, n_rows: int, rng: np.random.Generator, **given: Any) -> dict[str, np.ndarray[Any, Any]]:
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for column, kind in TABLE_COLUMNS[name].items():
        if kind == "string":
            columns[column] = np.array([f"{column}-{row}" for row in range(n_rows)], dtype=object)
        elif kind == "bool":
            columns[column] = rng.random(n_rows) < 0.5
        else:
            columns[column] = (1000 * rng.random(n_rows)).astype(kind)
    return columns | {column: np.asarray(values) for column, values in given.items()}


def result_of(
    scenario: Scenario | None = None,
    *,
    seed: int = 0,
    accuracies: Sequence[float] = (0.25, 0.5, 0.75),
    pair_sampling: int = 50,
    **summary: Any,
) -> RunResult:
    scenario = scenario or load_scenario("quickstart")
    rng = np.random.default_rng(seed)
    n_rounds = len(accuracies)
    known: dict[str, Any] = {key: float(rng.random()) for key in RESULT_KEYS[""]}
    known |= {group: {key: int(rng.integers(9)) for key in keys} for group, keys in RESULT_KEYS.items() if group}
    known |= {
        "scenario_id": scenario.scenario_id,
        "scenario_name": scenario.name,
        "seed": seed,
        "method": scenario.aggregation.rule,
        "attack": scenario.byzantine.attack,
        "policy": scenario.schedule.policy,
        "ceas_version": "0",
        "command": "ceas run",
        "test_accuracy": float(accuracies[-1]),
    }
    return RunResult(
        scenario=scenario,
        summary=known | summary,
        pair_sampling=pair_sampling,
        rounds=table("rounds", n_rounds, rng, round=np.arange(n_rounds), test_accuracy=np.array(accuracies, float)),
        learners=table("learners", 2 * n_rounds, rng),
        links=table("links", 3, rng),
        nodes=table("nodes", 2, rng),
        pairs=table("pairs", 5, rng),
        certificate={"status": "refused", "reasons": ["adam"], "curves": {"bound": [float("nan")]}},
    )


@pytest.fixture
def make_result() -> Callable[..., RunResult]:
    return result_of


def repeater_attempt_by_attempt(repeater: Repeater, n_batches: int, batch_s: float, seed: int) -> RepeaterRun:
    """The repeater written down a second time, one attempt after the other, without events or a heap.

    Attempt j of a link is that of memory j mod M and ends M steps after it began. Attempts are looked at in the order
    of their ends; what frees a memory later than an attempt's beginning has set a later time for it by then.
    """
    rng, m = np.random.default_rng(seed), repeater.memories
    step_ns = repeater.attempt_period_ns // m
    n_steps = round(n_batches * batch_s * 1e9) // step_ns - m
    is_success = rng.random((n_steps, 2)) < repeater.success_probability
    free_ns = np.zeros((2, m))
    stored: tuple[deque[tuple[int, int]], deque[tuple[int, int]]] = (deque(), deque())
    times, fidelities = [], []
    for step, link in np.argwhere(is_success):
        memory, start_ns = step % m, step * step_ns
        if free_ns[link, memory] > start_ns:
            continue
        now_ns = start_ns + repeater.attempt_period_ns
        if not stored[1 - link]:
            stored[link].append((memory, now_ns))
            free_ns[link, memory] = math.inf
            continue
        other, birth_ns = stored[1 - link].popleft()
        end_ns = now_ns + repeater.latency_ns
        free_ns[link, memory] = free_ns[1 - link, other] = end_ns
        age_s = (now_ns - birth_ns + repeater.latency_ns) / 1e9
        times.append(end_ns / 1e9)
        fidelities.append(0.25 + 0.75 * repeater.initial_werner**2 * math.exp(-repeater.decay_rate_hz * age_s))
    return RepeaterRun.from_deliveries(
        times, fidelities, n_batches=n_batches, batch_s=batch_s, events=None, timing=Timing(wall_s=0.0, cpu_s=0.0)
    )


@pytest.fixture
def second_writing() -> Callable[..., RepeaterRun]:
    return repeater_attempt_by_attempt


@pytest.fixture(scope="session")
def sketch_entrants() -> "Callable[[], list[Entrant]]":
    """Make entrants of a scheduling contest: one of ours that may make pairs ahead, and a baseline that never does."""
    from ceas.experiments.scheduling_contest import Entrant
    from ceas.network.slot_policy import SlotPolicy, SlotSnapshot, route_value, slot_attempt_rule, slot_serve_rule

    @slot_attempt_rule
    def attempt(snapshot: SlotSnapshot, score, replace) -> None:  # type: ignore[no-untyped-def]
        for link in range(len(score)):
            waiting = snapshot.queue_first[link + 1] - snapshot.queue_first[link]
            score[link] = waiting - snapshot.n_stored[link] + snapshot.parameters[link, 0]
            replace[link] = -1

    @slot_serve_rule
    def serve(snapshot: SlotSnapshot, action, pairs) -> int:  # type: ignore[no-untyped-def]
        rows = 0
        for request in snapshot.waiting:
            if snapshot.arrival[request] > snapshot.slot:
                continue
            first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
            n_members = end - first if end - first > 1 else snapshot.n_pairs[request]
            found = 0
            for member in range(n_members):
                link = snapshot.route_link[first + member] if end - first > 1 else snapshot.route_link[first]
                for at in range(snapshot.n_stored[link]):
                    position = snapshot.n_stored[link] - 1 - at
                    if snapshot.used[link, position] == 0:
                        snapshot.used[link, position] = 1
                        pairs[rows, member] = position
                        found += 1
                        break
                if found <= member:
                    break
            is_served = found == n_members and route_value(snapshot, request, pairs[rows]) > 0.0
            if is_served:
                action[rows] = request
                rows += 1
                continue
            for member in range(found):
                link = snapshot.route_link[first + member] if end - first > 1 else snapshot.route_link[first]
                snapshot.used[link, pairs[rows, member]] = 0
        return rows

    def build(case: "SchedulingCase", parameters: Mapping[str, Any]) -> SlotPolicy:
        eagerness = np.full((case.network.n_links, 1), float(parameters["eagerness"]))
        return SlotPolicy(name="sketch", attempt=attempt, serve=serve, parameters=eagerness, tables=np.zeros(1))

    def entrants() -> list[Entrant]:
        return [
            Entrant(name="ahead", build=build, grid={"eagerness": (0.0, 1.0, 2.0)}, is_ours=True),
            Entrant(name="on demand", build=build, grid={"eagerness": (0.0,)}),
        ]

    return entrants
