"""Which engine computes a request: the Heisenberg engine or trajectories of pure states.

The Heisenberg engine carries 4^n Pauli strings per learner and observable, whatever the samples; the pure-state engine
carries 2^n amplitudes per learner, sample and trajectory. Both costs are predicted from the sizes, and the quicker one
that fits the memory is taken. A request that fits neither is refused before anything starts.

The rates below are processor time measured on two cores of an AMD EPYC processor (AVX2, half a megabyte of second-level
cache each); an idle machine of that kind is meant to be within a factor of three of them. What decides is mostly 4^n
against 2^n times the samples. `tests/learning/measure_engines.py` measures them anew.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit
from ceas.learning.fusion import fuse
from ceas.learning.partition import Partition
from ceas.learning.state_vectors import PRODUCT
from ceas.learning.trajectories import LANES, MOST_KEPT, MOST_RUNS, n_threads

__all__ = ["Engine", "EngineChoice", "available_memory", "choose_engine"]

Engine = Literal["auto", "heisenberg", "trajectories"]

# Heisenberg: seconds per string, row and stage of one sweep, and of the contraction with a sample.
_STRING_S, _CONTRACTION_S = 2.5e-9, 3e-10
_BLOCK_BYTES = 2**26
# Pure states: seconds of one processor per amplitude and operation, more where a block leaves its cache, and per angle.
_AMPLITUDE_S, _FAR_AMPLITUDE_S, _ANGLE_S = 0.7e-9, 1.4e-9, 4e-8
_CACHED_QUBITS = 12
# A gradient over a forward run: two states walk back, and overlaps are summed; strings and adjoint strings.
_GRADIENT_RUNS, _GRADIENT_SWEEPS = 4.0, 4.0
# A call of each engine, without compilation.
_HEISENBERG_CALL_S, _TRAJECTORY_CALL_S = 1e-3, 3e-3
# Part of the free memory that a request may take.
_SHARE = 0.8


class _Cost(NamedTuple):
    seconds: float
    bytes: int


class _Sizes(NamedTuple):
    n_learners: int
    n_samples: int
    n_observables: int
    n_trajectories: int
    needs_gradient: bool


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
        memory_limit_bytes: Memory that may be used; None for most of what is free on this machine.
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
    sizes = _Sizes(n_learners, n_samples, n_observables, 1 if is_noiseless else n_trajectories, needs_gradient)
    costs = {
        "heisenberg": _heisenberg_cost(circuit, sizes),
        "trajectories": _trajectory_cost(circuit, partition, sizes, is_noiseless, has_relaxation),
    }
    limit = int(_SHARE * available_memory()) if memory_limit_bytes is None else memory_limit_bytes
    obstacles = {name: f"needs {_size(cost.bytes)}" for name, cost in costs.items() if cost.bytes > limit}
    if has_relaxation and needs_gradient and not is_noiseless:
        obstacles["trajectories"] = "has no gradient with relaxation"
    names = list(costs) if engine == "auto" else [engine]
    able = sorted((name for name in names if name not in obstacles), key=lambda name: costs[name].seconds)
    if not able:
        why = "; ".join(f"{name} {obstacles[name]}" for name in names)
        raise DomainError(f"Argument `circuit` must fit the memory of {_size(limit)}, but does not: {why}.")
    seconds = {name: cost.seconds for name, cost in costs.items()}
    return EngineChoice(
        name="heisenberg" if able[0] == "heisenberg" else "trajectories",
        reason=_reason(able[0], engine, seconds, obstacles),
        seconds=seconds,
        bytes={name: cost.bytes for name, cost in costs.items()},
    )


def _reason(name: str, engine: str, seconds: dict[str, float], obstacles: dict[str, str]) -> str:
    if engine != "auto":
        return f"{name} was asked for."
    other = next(key for key in seconds if key != name)
    if other in obstacles:
        return f"{other} {obstacles[other]}."
    return f"{name} is predicted to take {seconds[name]:.2g} s, {other} {seconds[other]:.2g} s."


def _heisenberg_cost(circuit: Circuit, sizes: _Sizes) -> _Cost:
    """Predict the Heisenberg engine from its strings, rows and stages."""
    rows, stages, n = sizes.n_learners * sizes.n_observables, _stages(circuit), circuit.n_qubits
    sweeps = _GRADIENT_SWEEPS if sizes.needs_gradient else 1.0
    strings = 4.0**n
    work = sweeps * (stages * rows * strings * _STRING_S + rows * sizes.n_samples * 3.0**n * _CONTRACTION_S)
    # Learners come in blocks. The observables of all stages of a block are kept, and those on the way; features.
    block = min(sizes.n_learners, max(1, int(_BLOCK_BYTES // (4 * strings * sizes.n_observables))))
    copies = (stages if sizes.needs_gradient else 1) + 2
    features = sizes.n_learners * sizes.n_samples * 3.0**n
    return _Cost(_HEISENBERG_CALL_S + work, int(4 * (copies * block * sizes.n_observables * strings + features)))


def _stages(circuit: Circuit) -> int:
    """Count the stages: a rotation opens one where a gate of two qubits came before it on its qubit."""
    stage, has_moved = [0] * circuit.n_qubits, [False] * circuit.n_qubits
    for gate in circuit.gates:
        latest = max(stage[qubit] + (gate.is_rotation and has_moved[qubit]) for qubit in gate.qubits)
        for qubit in gate.qubits:
            stage[qubit], has_moved[qubit] = (
                latest,
                len(gate.qubits) == 2 or (has_moved[qubit] and not gate.is_rotation),
            )
    return max(stage) + 1


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
    threads = n_threads()
    lanes = min(LANES, runs)
    # Small batches are padded to a few lanes, and the slowest thread counts.
    blocks = -(-runs // LANES)
    busy = -(-blocks // threads) * max(lanes, 8)
    work = busy * amplitudes * operations * rate
    n_words = 0 if is_noiseless else 2 * len(circuit.gates) + len(partition.uses)
    work += runs * (n_rotations * (2 if sizes.needs_gradient else 1) + n_words) * _ANGLE_S
    states = min(threads, blocks) * (2 if sizes.needs_gradient else 1) * lanes * 8 * amplitudes
    all_states = 8 * amplitudes * runs
    kept = all_states if sizes.needs_gradient and all_states <= MOST_KEPT else 0
    held = runs if sizes.needs_gradient else min(runs, max(MOST_RUNS, sizes.n_learners * sizes.n_samples))
    per_run = n_rotations * (24 if sizes.needs_gradient else 8) + 12 * n_words
    return _Cost(_TRAJECTORY_CALL_S + work, int(states + kept + held * per_run))


def available_memory() -> int:
    """Return the bytes that are free for this process: of the machine, and of its control group where it has one."""
    found = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        # Unlike free pages, this counts the file cache that would be given up.
        lines = [line.split() for line in meminfo.read_text().splitlines()]
        found = [1024 * int(words[1]) for words in lines if words and words[0] == "MemAvailable:"] or found
    group = Path("/sys/fs/cgroup")
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        if (group / limit).exists() and (text := (group / limit).read_text().strip()) != "max":
            found.append(max(0, int(text) - int((group / usage).read_text())))
    return min(found)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.3g} GiB"
