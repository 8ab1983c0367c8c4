"""Which engine computes a request: the Heisenberg engine or trajectories of pure states.

The Heisenberg engine carries up to 4^n Pauli strings per learner and observable, those of the qubits that it
reaches, whatever the samples; the pure-state engine carries 2^n amplitudes per learner, sample and trajectory. Both
costs are predicted from the sizes for one kind of machine, and the quicker one that fits its memory is taken, so that
the choice, and with it every number, is the same everywhere. A request that does not fit the memory which is free here
is refused before anything starts.

That machine has 16 GiB and two cores of an AMD EPYC processor (AVX2, half a megabyte of second-level cache each), on
which the rates below were measured; an idle one is meant to be within a factor of three of them. What decides is mostly
4^n against 2^n times the samples. `tests/learning/measure_engines.py` measures them anew.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit
from ceas.learning.cost import engine_cost
from ceas.learning.encoding import visible_digits
from ceas.learning.fusion import fuse
from ceas.learning.partition import Partition
from ceas.learning.program import choose_samples
from ceas.learning.state_vectors import PRODUCT
from ceas.learning.trajectories import LANES, MOST_KEPT, MOST_RUNS, n_threads

__all__ = ["Engine", "EngineChoice", "available_memory", "choose_engine"]

Engine = Literal["auto", "heisenberg", "trajectories"]

# Heisenberg: seconds per floating-point operation, as `ceas.learning.cost` counts them.
_FLOP_S = 8e-11
# Pure states: seconds of one processor per amplitude and operation, more where a block leaves its cache, and per angle.
_AMPLITUDE_S, _FAR_AMPLITUDE_S, _ANGLE_S = 0.7e-9, 1.4e-9, 4e-8
_CACHED_QUBITS = 12
# A gradient over a forward run: two states walk back, and overlaps are summed.
_GRADIENT_RUNS = 4.0
# A call of each engine, without compilation.
_HEISENBERG_CALL_S, _TRAJECTORY_CALL_S = 1e-3, 3e-3
# Part of the free memory that a request may take.
_SHARE = 0.8
# The machine for which engines are chosen.
_NOMINAL_THREADS, _NOMINAL_BYTES = 2, 16 << 30


class _Cost(NamedTuple):
    """Time, memory on this machine, and memory on the one for which engines are chosen."""

    seconds: float
    bytes: int
    nominal_bytes: int


class _Sizes(NamedTuple):
    n_learners: int
    n_samples: int
    n_observables: int
    n_trajectories: int
    needs_gradient: bool
    is_shared: bool
    has_states: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine and why.

    Attributes:
        name: The engine.
        reason: One sentence.
        seconds: Predicted time of one call of each engine (s), without compilation.
        bytes: Predicted memory of each engine.
    """

    name: Literal["heisenberg", "trajectories"]
    reason: str
    seconds: dict[str, float]
    bytes: dict[str, int]


def choose_engine(
    circuit: Circuit,
    partition: Partition,
    *,
    n_learners: int,
    n_samples: int,
    n_observables: int,
    has_relaxation: bool,
    is_noiseless: bool,
    n_trajectories: int = 1,
    needs_gradient: bool = False,
    is_shared: bool = False,
    has_states: bool = False,
    memory_limit_bytes: int | None = None,
    engine: Engine = "auto",
) -> EngineChoice:
    """Choose the engine for expectation values or gradients of a circuit.

    Args:
        circuit: The circuit.
        partition: Its partition.
        n_learners: Learners, each with a noise of its own.
        n_samples: Samples per learner.
        n_observables: Measured qubits.
        has_relaxation: Whether the noise has relaxation, over which trajectories have no gradient.
        is_noiseless: Whether nothing but readout has errors, so that one run per sample is exact.
        n_trajectories: Runs per sample otherwise.
        needs_gradient: Whether gradients are wanted.
        is_shared: Whether all learners have the same samples.
        has_states: Whether samples are states in place of inputs.
        memory_limit_bytes: Memory that may be used; None for 16 GiB, of which as much must be free here as is needed.
        engine: `"auto"`, or the engine that is wanted, which is then only checked.

    Returns:
        The choice. Among the engines that can do it the one that is predicted to be quicker; trajectories with noise
        have a statistical error, which the caller accepts with their number.

    Raises:
        UnknownNameError: `engine` is not known.
        DomainError: No engine, or not the one that is wanted, can do it in the memory.
    """
    if engine not in get_args(Engine):
        raise UnknownNameError("engine", engine, get_args(Engine))
    n_runs = 1 if is_noiseless else n_trajectories
    sizes = _Sizes(n_learners, n_samples, n_observables, n_runs, needs_gradient, is_shared, has_states)
    costs = {
        "heisenberg": _heisenberg_cost(circuit, partition, sizes, has_relaxation=has_relaxation),
        "trajectories": _trajectory_cost(circuit, partition, sizes, is_noiseless, has_relaxation),
    }
    limit = _NOMINAL_BYTES if memory_limit_bytes is None else memory_limit_bytes
    sizes_of = {name: cost.nominal_bytes if memory_limit_bytes is None else cost.bytes for name, cost in costs.items()}
    obstacles = {name: f"needs {_size(size)}" for name, size in sizes_of.items() if size > limit}
    if has_relaxation and needs_gradient and not is_noiseless:
        obstacles["trajectories"] = "has no gradient with relaxation"
    names = list(costs) if engine == "auto" else [engine]
    able = sorted((name for name in names if name not in obstacles), key=lambda name: costs[name].seconds)
    if not able:
        why = "; ".join(f"{name} {obstacles[name]}" for name in names)
        raise DomainError(f"Argument `circuit` must fit the memory of {_size(limit)}, but does not: {why}.")
    if memory_limit_bytes is None:
        _refuse_beyond_free_memory(able, costs)
    seconds = {name: cost.seconds for name, cost in costs.items()}
    is_sampled = able[0] == "trajectories" and not is_noiseless
    sampled = f" Its {n_trajectories} runs a sample make it approximate." if is_sampled else ""
    return EngineChoice(
        name="heisenberg" if able[0] == "heisenberg" else "trajectories",
        reason=_reason(able[0], engine, seconds, obstacles) + sampled,
        seconds=seconds,
        bytes={name: cost.bytes for name, cost in costs.items()},
    )


def _refuse_beyond_free_memory(able: list[str], costs: dict[str, _Cost]) -> None:
    """Refuse what this machine has no room for; another engine is only named, as its numbers would be others."""
    free = _SHARE * available_memory()
    chosen, *others = able
    if costs[chosen].bytes > free:
        fitting = [f"; {name} would fit" for name in others if costs[name].bytes <= free]
        raise DomainError(
            f"Argument `circuit` must fit the {_size(free)} that may be used here, but {chosen}, the engine for it, "
            f"needs {_size(costs[chosen].bytes)}{''.join(fitting)}."
        )


def _reason(name: str, engine: str, seconds: dict[str, float], obstacles: dict[str, str]) -> str:
    if engine != "auto":
        return f"{name} was asked for and is predicted to take {seconds[name]:.2g} s."
    other = next(key for key in seconds if key != name)
    if other in obstacles:
        return f"{other} {obstacles[other]}."
    return f"{name} is predicted to take {seconds[name]:.2g} s, {other} {seconds[other]:.2g} s."


def _heisenberg_cost(circuit: Circuit, partition: Partition, sizes: _Sizes, *, has_relaxation: bool) -> _Cost:
    """Predict the Heisenberg engine from the operations of its program, and add the encoded samples."""
    predicted = engine_cost(
        circuit,
        partition,
        n_learners=sizes.n_learners,
        n_samples=sizes.n_samples,
        n_observables=sizes.n_observables,
        has_relaxation=has_relaxation,
    )
    expense = predicted.gradient if sizes.needs_gradient else predicted.expectations
    strings = 4.0**circuit.n_qubits
    n_features = strings if sizes.has_states else math.prod(len(digits) for digits in visible_digits(circuit))
    if not sizes.has_states and choose_samples(circuit, partition, has_states=False) == "rows":
        n_features = 0
    n_rows = sizes.n_samples * (1 if sizes.is_shared else sizes.n_learners)
    # Strings are looked up in a table of all of them.
    size = expense.bytes + 4 * n_features * n_rows + 4 * strings
    return _Cost(_HEISENBERG_CALL_S + expense.flops * _FLOP_S, int(size), int(size))


def _trajectory_cost(
    circuit: Circuit, partition: Partition, sizes: _Sizes, is_noiseless: bool, has_relaxation: bool
) -> _Cost:
    """Predict the pure-state engine from its runs, amplitudes and operations."""
    runs = sizes.n_learners * sizes.n_samples * sizes.n_trajectories
    program = fuse(circuit, has_relaxation=has_relaxation and not is_noiseless)
    amplitudes, n_rotations = 2.0**circuit.n_qubits, len(circuit.rotations)
    # ZZ and sign flips are about a third of a product; the product state and the values are about two operations.
    products = int((program.operations[:, 0] == PRODUCT).sum())
    operations = 2 + products + (len(program.operations) - products) / 3
    if sizes.needs_gradient:
        operations = operations * _GRADIENT_RUNS + circuit.n_qubits
    rate = _AMPLITUDE_S if circuit.n_qubits <= _CACHED_QUBITS else _FAR_AMPLITUDE_S
    threads = _NOMINAL_THREADS
    lanes = min(LANES, runs)
    # Small batches are padded to a few lanes, and the slowest thread counts.
    blocks = -(-runs // LANES)
    busy = -(-blocks // threads) * max(lanes, 8)
    work = busy * amplitudes * operations * rate
    n_words = 0 if is_noiseless else 2 * len(circuit.gates) + len(partition.uses)
    work += runs * (n_rotations * (2 if sizes.needs_gradient else 1) + n_words) * _ANGLE_S
    block_bytes = (2 if sizes.needs_gradient else 1) * lanes * 8 * amplitudes
    all_states = 8 * amplitudes * runs
    kept = all_states if sizes.needs_gradient and all_states <= MOST_KEPT else 0
    held = runs if sizes.needs_gradient else min(runs, max(MOST_RUNS, sizes.n_learners * sizes.n_samples))
    per_run = n_rotations * (24 if sizes.needs_gradient else 8) + 12 * n_words
    here, nominal = (min(count, blocks) * block_bytes + kept + held * per_run for count in (n_threads(), threads))
    return _Cost(_TRAJECTORY_CALL_S + work, int(here), int(nominal))


def available_memory() -> int:
    """Return the bytes that are free for this process: of the machine, and of its control group where it has one."""
    meminfo = Path("/proc/meminfo")
    free = _fields(meminfo).get("MemAvailable:")
    if free is not None:
        # Unlike free pages, this counts the file cache that would be given up.
        found = [1024 * free]
    else:
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        found = [os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")]
    group = Path("/sys/fs/cgroup")
    for limit, usage, cache in (
        (group / "memory.max", group / "memory.current", "inactive_file"),
        (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            given_up = _fields(limit.with_name("memory.stat")).get(cache, 0)
            found.append(max(0, int(text) - int(usage.read_text()) + given_up))
    return min(found)


def _fields(path: Path) -> dict[str, int]:
    """Read lines of a name and a number; empty where there is no such file."""
    if not path.exists():
        return {}
    return {words[0]: int(words[1]) for words in map(str.split, path.read_text().splitlines()) if len(words) >= 2}


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"
