"""Run a scenario: start, watch, checkpoint, resume, compare.

An interrupted run is continued by `resume_run` to the same final numbers, bit for bit: all draws come from named
streams, and a checkpoint holds the whole state between two training rounds.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from ceas.attacks import conduct_of
from ceas.consensus import parameter_digest
from ceas.errors import DomainError, InterruptedRunError, RunDirectoryError, ScenarioError
from ceas.experiments.assemble import (
    assemble_forecast,
    assemble_method,
    assemble_policy,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.experiments.comparison import Comparison, compare_methods
from ceas.experiments.files import changed_files
from ceas.experiments.result_tables import write_atomically
from ceas.experiments.results import RunResult, is_finished, write_run
from ceas.experiments.run_tables import run_result
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.network import WindowRecord
from ceas.runtime.checkpoint import load_arrays, save_arrays
from ceas.runtime.compilation import use_compilation_cache
from ceas.runtime.cosimulation import CoSimulation, start_parameters
from ceas.runtime.interrupts import InterruptFlag, deferred_interrupts
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.runtime.sources import LiveSource, NetworkTrace, RecordedSource, Source, record_trace
from ceas.runtime.world import World

__all__ = ["compare", "record_network", "record_windows", "resume_run", "run_scenario", "simulate"]

CHECKPOINT = Path("checkpoint") / "state.npz"


def run_scenario(
    scenario: Scenario, *, seed: int, out: Path | None = None, progress: Progress | None = None, command: str = ""
) -> RunResult:
    """Train once on one simulated network.

    Args:
        scenario: What to run.
        seed: Root seed of all draws.
        out: Run directory to write, which holds checkpoints meanwhile; None keeps the result in memory.
        progress: Told before the first training round and after each.
        command: Command that repeats the run.

    Raises:
        ScenarioError: The scenario asks for what cannot be built.
        InterruptedRunError: Interrupted; `out` holds a checkpoint.
    """
    with deferred_interrupts() as interrupt:
        session = _Session(scenario, seed=seed, out=out, command=command)
        session.start()
        return session.finish(progress, interrupt)


def resume_run(directory: Path, *, progress: Progress | None = None) -> RunResult:
    """Continue an interrupted run to its end.

    Raises:
        RunDirectoryError: The directory holds no checkpoint, its run is finished, or a file that it needs was changed.
        InterruptedRunError: Interrupted again; the directory holds a later checkpoint.
    """
    if is_finished(directory):
        raise RunDirectoryError(f"{directory}: this run is finished")
    arrays = load_arrays(directory / CHECKPOINT)
    scenario = load_scenario(directory / "scenario.toml")
    if str(arrays["scenario_id"]) != scenario.scenario_id:
        raise RunDirectoryError(f"{directory}: scenario.toml was changed since the checkpoint was written")
    if changed := changed_files(scenario):
        told = "\n".join(f"{directory}: cannot be continued: {message}" for message in changed)
        raise RunDirectoryError(told.replace("; remove this key to accept it", ", and a run cannot mix the two"))
    with deferred_interrupts() as interrupt:
        session = _Session(scenario, seed=int(arrays["seed"]), out=directory, command=str(arrays["command"]))
        session.load(arrays)
        return session.finish(progress, interrupt)


def record_network(scenario: Scenario, *, seed: int) -> NetworkTrace:
    """Simulate the network, its schedule and the message exchange alone."""
    world = assemble_world(scenario, seed)
    source = _live_source(scenario, world, seed=seed, trace_every=0)
    return record_trace(source, world, assemble_security(scenario), scenario.clock.rounds)


def record_windows(scenario: Scenario, world: World, *, seed: int, rounds: int) -> list[WindowRecord]:
    """Simulate the network and its schedule alone, without the message exchange, for some rounds."""
    source = _live_source(scenario, world, seed=seed, trace_every=0)
    return [source.next_window() for _ in range(rounds)]


def simulate(scenario: Scenario, *, seed: int, network_trace: NetworkTrace) -> RunResult:
    """Train once on a recorded network."""
    world = assemble_world(scenario, seed)
    source = RecordedSource(network_trace, world, assemble_security(scenario))
    with deferred_interrupts() as interrupt:
        session = _Session(scenario, seed=seed, out=None, command="", world=world, source=source)
        return session.finish(None, interrupt)


def compare(
    scenario: Scenario,
    *,
    methods: Sequence[str],
    attacks: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    progress: Progress | None = None,
    command: str = "",
) -> Comparison:
    """Run every method under every attack on the same networks; see `ceas.experiments.comparison`."""
    return compare_methods(
        scenario,
        methods=methods,
        attacks=attacks,
        seeds=seeds,
        out=out,
        simulate=simulate,
        record_network=record_network,
        progress=progress,
        command=command,
    )


def _live_source(scenario: Scenario, world: World, *, seed: int, trace_every: int) -> LiveSource:
    spread = scenario.learning.initial_angle_spread
    start = start_parameters(world.model, spread=spread, seed=seed)
    try:
        return LiveSource(
            world,
            assemble_policy(scenario, world),
            assemble_security(scenario),
            seed=seed,
            trace_every=trace_every,
            start_digest=parameter_digest(start, fixed_point_bits=scenario.consensus.fixed_point_bits),
            conduct=conduct_of(assemble_method(scenario).attack),
        )
    except DomainError as error:
        raise ScenarioError(scenario.name, [str(error)]) from error


def _trace_every(scenario: Scenario) -> int:
    return {"none": 0, "full": 1, "sampled": scenario.output.trace_every}[scenario.output.pair_trace]


class _Session:
    """One run in a process: the co-simulation, its directory and its clocks."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        out: Path | None,
        command: str,
        world: World | None = None,
        source: Source | None = None,
    ) -> None:
        use_compilation_cache()
        self._started = time.perf_counter()
        self._scenario = scenario
        self._seed = seed
        self._out = out
        self._command = command
        self._wall_before_s = 0.0
        self._compile_s = 0.0
        self._sampling = _trace_every(scenario)
        self._world = world or assemble_world(scenario, seed)
        training = assemble_training(scenario)
        self._forecast = assemble_forecast(scenario, self._world)
        self._simulation = CoSimulation(
            self._world,
            training,
            assemble_method(scenario),
            assemble_security(scenario),
            source or _live_source(scenario, self._world, seed=seed, trace_every=self._sampling),
            seed=seed,
            gradient_rounds=scenario.output.gradient_rounds,
        )

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from a checkpoint."""
        self._wall_before_s, self._compile_s = float(arrays["wall_s"]), float(arrays["compile_s"])
        self._simulation.load(arrays)

    def start(self) -> None:
        """Write the scenario and a first checkpoint."""
        if self._out is None:
            return
        self._out.mkdir(parents=True, exist_ok=True)
        text = self._scenario.to_toml()
        write_atomically(self._out / "scenario.toml", lambda temporary: temporary.write_text(text, "utf-8"))
        self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        if self._out is None:
            return
        arrays = self._simulation.to_arrays()
        arrays |= {
            "scenario_id": np.array(self._scenario.scenario_id),
            "seed": np.array(self._seed),
            "command": np.array(self._command),
            "wall_s": np.array(self._wall_s()),
            "compile_s": np.array(self._compile_s),
        }
        save_arrays(self._out / CHECKPOINT, arrays)

    def finish(self, progress: Progress | None, interrupt: InterruptFlag) -> RunResult:
        """Run the remaining training rounds, write the run directory and return the result."""
        self._tell(progress, "compiling", note=str(self._forecast))
        if progress is not None or self._out is not None:
            self._compile_s += self._simulation.compile()
        self._tell(progress, "training")
        while not self._simulation.is_finished:
            if interrupt:
                self._interrupted(interrupt)
            self._simulation.advance()
            if interrupt or self._simulation.completed_rounds % self._scenario.output.checkpoint_rounds == 0:
                self.save()
            self._tell(progress, "training")
        return self._result()

    def _interrupted(self, interrupt: InterruptFlag) -> NoReturn:
        if self._out is None:
            raise interrupt.error()
        raise InterruptedRunError(self._out, self._simulation.completed_rounds) from interrupt.error()

    def _wall_s(self) -> float:
        return self._wall_before_s + time.perf_counter() - self._started

    def _result(self) -> RunResult:
        result = run_result(
            self._scenario,
            self._world,
            self._simulation,
            seed=self._seed,
            command=self._command,
            wall_s=self._wall_s(),
            compile_s=self._compile_s,
            pair_sampling=self._sampling,
        )
        if self._out is not None:
            write_run(self._out, result)
            shutil.rmtree(self._out / CHECKPOINT.parent, ignore_errors=True)
        return result

    def _tell(self, progress: Progress | None, phase: str, note: str = "") -> None:
        if progress is None:
            return
        rows = self._simulation.history.rounds
        accuracies = [row["test_accuracy"] for row in rows if np.isfinite(row["test_accuracy"])]
        fates = self._simulation.totals.fates.sum(axis=0)
        closed = int(fates[1:].sum())
        progress(
            ProgressEvent(
                phase=phase,
                training_round=self._simulation.completed_rounds,
                rounds=self._scenario.clock.rounds,
                test_accuracy=accuracies[-1] if accuracies else None,
                utilisation=float(fates[1:4].sum() / closed) if closed else None,
                note=note,
            )
        )
