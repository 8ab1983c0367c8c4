"""The trainings of a reproduction, on all cores, each network simulated once.

Trainings that share network and seed are a group. A worker process takes a group, simulates its network and trains
batch after batch on it; a batch is on disk before the next one begins, so that an interruption loses one batch a
worker.
"""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ceas import __version__
from ceas.experiments.code_identity import code_identity
from ceas.experiments.limited_process import n_cores
from ceas.experiments.processes import spawned_pool
from ceas.experiments.reproduce_plan import Training
from ceas.experiments.reproduce_store import Trained, finished_trainings, read_trainings, write_trainings
from ceas.experiments.result_tables import Columns
from ceas.experiments.scenario import Scenario
from ceas.runtime.progress import Progress, ProgressEvent

if TYPE_CHECKING:
    from ceas.runtime.ensemble import TrainingOutcome
    from ceas.runtime.sources import NetworkTrace

__all__ = ["BATCH", "one_thread_each", "train_missing"]

# The accuracy that is reported is the mean of so many evaluations.
_LAST = 5
BATCH = 16
"""Trainings that run in lockstep; more take more memory and are hardly quicker."""

# Workers have a core each, and libraries that take all cores slow each other down.
_ONE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Trainings of one group and one data set, with their scenarios."""

    trainings: tuple[Training, ...]
    scenarios: tuple[Scenario, ...]


_Group = tuple[_Batch, ...]


def train_missing(
    base: Scenario, trainings: Iterable[Training], *, out: Path, progress: Progress | None = None, phase: str = ""
) -> Columns:
    """Train what is not on disk yet, and return the rows of all that is wanted.

    What other code trained is trained again.

    Args:
        base: Scenario that all trainings start from.
        trainings: What is wanted.
        out: Directory of the reproduction; what else it holds, of other parameters for example, is not returned.
        progress: Told at the start and after every batch; its rounds count trainings.
        phase: What the progress says is done.

    Raises:
        ScenarioError: A training does not fit the scenario.
        KeyboardInterrupt: Interrupted; finished batches are kept.
    """
    wanted = list(dict.fromkeys(trainings))
    scenarios = {one: one.scenario(base) for one in {replace(one, seed=0) for one in wanted}}
    named = {one: scenarios[replace(one, seed=0)] for one in wanted}
    done = finished_trainings(out)
    missing = [(one, scenario) for one, scenario in named.items() if (scenario.scenario_id, one.seed) not in done]
    count = len(wanted) - len(missing)

    def tell() -> None:
        if progress is not None:
            progress(ProgressEvent(phase=phase, training_round=count, rounds=len(wanted)))

    tell()
    for batch in _in_workers(deque(_balanced(_groups(missing), n_cores()))):
        write_trainings(out, batch)
        count += len(batch)
        tell()
    return _labelled(named, read_trainings(out))


def _labelled(named: Mapping[Training, Scenario], rows: Columns) -> Columns:
    """Return one row for each training that is wanted; another table may have trained it under other names."""
    at = {key: index for index, key in enumerate(zip(rows["scenario_id"].tolist(), rows["seed"].tolist(), strict=True))}
    chosen = np.array([at[scenario.scenario_id, one.seed] for one, scenario in named.items()], np.int64)
    found = {name: column[chosen] for name, column in rows.items()}
    for label in ("arm", "attack", "variant"):
        found[label] = np.array([getattr(one, label) for one in named], object)
    found["overrides"] = np.array([" ".join(one.overrides) for one in named], object)
    return found


def _groups(missing: Sequence[tuple[Training, Scenario]]) -> list[_Group]:
    """Sort trainings into groups of one network and seed, in the order of their first, and these into batches."""
    from ceas.experiments.ensembles import shared_keys  # noqa: PLC0415 - loads the simulator

    found: dict[tuple[int, str], dict[str, list[tuple[Training, Scenario]]]] = {}
    for training, scenario in missing:
        group = found.setdefault((training.seed, scenario.network_id), {})
        group.setdefault(repr(shared_keys(scenario)), []).append((training, scenario))
    return [tuple(_batches(group.values())) for group in found.values()]


def _balanced(groups: Sequence[_Group], n_workers: int) -> list[_Group]:
    """Split the last groups over all workers where they do not come out even; their networks are simulated in each."""
    n_whole = len(groups) - len(groups) % n_workers
    parts = (group[start::n_workers] for group in groups[n_whole:] for start in range(n_workers))
    return [*groups[:n_whole], *(part for part in parts if part)]


def _batches(parts: Iterable[list[tuple[Training, Scenario]]]) -> Iterator[_Batch]:
    for part in parts:
        for start in range(0, len(part), BATCH):
            trainings, scenarios = zip(*part[start : start + BATCH], strict=True)
            yield _Batch(trainings=trainings, scenarios=scenarios)


def _in_workers(groups: deque[_Group]) -> Iterator[list[Trained]]:
    """Yield batches as they finish; every worker takes the next group when it is through with its last."""
    results: queue.Queue[list[Trained] | BaseException | None] = queue.Queue()
    n_workers = min(n_cores(), len(groups))

    def serve(pool: ProcessPoolExecutor) -> None:
        try:
            while True:
                try:
                    group = groups.popleft()
                except IndexError:
                    break
                for batch in group:
                    results.put(pool.submit(_train, batch).result())
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    with ExitStack() as stack:
        stack.enter_context(one_thread_each())
        # A pool of one process each, so that a group stays where its network is.
        pools = [stack.enter_context(spawned_pool(1)) for _ in range(n_workers)]
        for pool in pools:
            threading.Thread(target=serve, args=(pool,), daemon=True).start()
        running = n_workers
        while running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile take one thread each."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# The network of a worker's present group.
_network: dict[tuple[str, int], "NetworkTrace"] = {}


def _train(batch: _Batch) -> list[Trained]:
    """Train one batch, in a worker."""
    from ceas.experiments.ensembles import simulate_together  # noqa: PLC0415 - loaded in workers alone
    from ceas.experiments.run import record_network  # noqa: PLC0415

    seed, first = batch.trainings[0].seed, batch.scenarios[0]
    key = first.network_id, seed
    if key not in _network:
        _network.clear()
        _network[key] = record_network(first, seed=seed)
    start = time.process_time()
    outcomes = simulate_together(batch.scenarios, seed=seed, network_trace=_network[key])
    core_s = (time.process_time() - start) / len(outcomes)
    return [_trained(*one, core_s) for one in zip(batch.trainings, batch.scenarios, outcomes, strict=True)]


def _trained(training: Training, scenario: Scenario, outcome: "TrainingOutcome", core_s: float) -> Trained:
    return Trained(
        training=training,
        scenario_id=scenario.scenario_id,
        ceas_version=__version__,
        code=code_identity(),
        rounds=outcome.completed_rounds,
        test_accuracy=float(outcome.test_accuracy[-_LAST:].mean()),
        validation_accuracy=float(outcome.validation_accuracy[-_LAST:].mean()),
        train_loss=float(outcome.train_loss[-1]),
        byzantine_weight=float(outcome.byzantine_weight.mean()),
        core_s=core_s,
        curve_rounds=outcome.evaluated_rounds.tolist(),
        curve_accuracy=outcome.test_accuracy.tolist(),
        curve_weight=outcome.byzantine_weight[outcome.evaluated_rounds - 1].tolist(),
    )
