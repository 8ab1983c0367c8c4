"""What every program of the learning benchmark is given, how it is timed, and what it hands back.

Work: learners, each with its own noise strength and samples, all with the same parameters; for each the mean squared
loss of <Z_0> against labels of +1 and -1, and its gradient. Circuit: RY(x_q) on each qubit, then layers of RY and RZ on
each qubit followed by depolarising (a), and a ring of CNOTs, each followed by depolarising (b) on both its qubits. Pure
work is the same without noise.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.streams import stream

__all__ = ["Effort", "Measured", "Program", "Work", "make_work", "measure", "measure_jax"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One problem; without noise the errors are zero and `is_noisy` is false.

    Attributes:
        is_noisy: Whether the circuit has depolarising channels.
        angles: Encoding angles (rad), shape (learners, samples, n).
        labels: Labels, shape (learners, samples).
        theta: Parameters (rad), shape (layers, n, 2).
        one_qubit_error: Depolarising probability after a qubit's rotations, shape (learners,).
        two_qubit_error: Depolarising probability of each qubit of a CNOT, shape (learners,).
    """

    is_noisy: bool
    angles: FloatArray
    labels: FloatArray
    theta: FloatArray
    one_qubit_error: FloatArray
    two_qubit_error: FloatArray

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return int(self.angles.shape[-1])

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.theta)

    @property
    def n_learners(self) -> int:
        """Number of learners."""
        return len(self.labels)

    def first(self, n_learners: int) -> "Work":
        """Return the work of the first learners alone."""
        names = ("angles", "labels", "one_qubit_error", "two_qubit_error")
        return replace(self, **{name: getattr(self, name)[:n_learners] for name in names})

    def arrays(self) -> tuple[Any, ...]:
        """Return parameters, angles, labels and errors as float32 JAX arrays."""
        import jax.numpy as jnp  # noqa: PLC0415 (the table of benchmarks is read without JAX)

        values = (self.theta, self.angles, self.labels, self.one_qubit_error, self.two_qubit_error)
        return tuple(jnp.asarray(value, dtype=jnp.float32) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long a program is timed: until there are `least` runs and `enough_s` have passed, or `most_s` have.

    Attributes:
        least: Runs after the first.
        enough_s: Time of these runs together (s).
        most_s: Time after which no further run is begun (s).
    """

    least: int = 5
    enough_s: float = 1.0
    most_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one process measured.

    Attributes:
        compile_s: Time of the first run, compilation included (s).
        runs_s: Times of the later runs (s).
        cpu_s: Processor time of the later runs, all threads together (s); None where other processes worked too.
        losses: Loss of every learner, shape (learners,).
        gradients: Its gradient, shape (learners, parameters).
        platform: Device that computed, for example `"cpu"`.
        encode_s: Time of encoding all samples, which a program does once before its runs (s); None where every run
            does it.
    """

    compile_s: float
    runs_s: tuple[float, ...]
    cpu_s: tuple[float, ...] | None
    losses: FloatArray
    gradients: FloatArray
    platform: str
    encode_s: float | None = None

    @property
    def run_s(self) -> float:
        """Median time of a later run (s)."""
        return float(np.median(self.runs_s))

    @property
    def run_cpu_s(self) -> float:
        """Mean processor time of a later run (s), or not a number."""
        return math.nan if self.cpu_s is None else float(np.mean(self.cpu_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that can do the work.

    Attributes:
        name: Its name.
        module: Module that must be installed.
        options: Ways to run it, by name; the fastest counts.
        most_qubits: Largest circuit that it is asked for.
    """

    name: str
    module: str
    options: Mapping[str, Callable[[Work, Effort], Measured]]
    most_qubits: int = 64


def make_work(
    n_qubits: int, *, is_noisy: bool, n_layers: int = 3, n_learners: int = 50, n_samples: int = 16, seed: int = 0
) -> Work:
    """Draw a problem."""
    rng = stream(seed, "benchmark learning", qubits=n_qubits)
    one_qubit_error = rng.uniform(0.001, 0.01, n_learners) * is_noisy
    return Work(
        is_noisy=is_noisy,
        angles=rng.uniform(-np.pi, np.pi, (n_learners, n_samples, n_qubits)),
        labels=rng.choice([-1.0, 1.0], (n_learners, n_samples)),
        theta=rng.normal(size=(n_layers, n_qubits, 2)),
        one_qubit_error=one_qubit_error,
        two_qubit_error=5 * one_qubit_error,
    )


def measure(
    run: Callable[[], tuple[Any, Any]], effort: Effort, *, platform: str = "cpu", is_alone: bool = True
) -> Measured:
    """Time a function that returns losses and gradients as arrays that are ready to be read.

    Args:
        run: The function.
        effort: How long it is timed.
        platform: Device that computes.
        is_alone: Whether this process does all the work, so that its processor time tells something.
    """
    start = time.perf_counter()
    losses, gradients = run()
    compile_s = time.perf_counter() - start
    runs: list[float] = []
    cpu: list[float] = []
    while not runs or (
        (len(runs) < effort.least or sum(runs) < effort.enough_s) and sum(runs) + max(runs) < effort.most_s
    ):
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        runs.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    losses = np.asarray(losses, dtype=np.float64)
    return Measured(
        compile_s=compile_s,
        runs_s=tuple(runs),
        cpu_s=tuple(cpu) if is_alone else None,
        losses=losses,
        gradients=np.asarray(gradients, dtype=np.float64).reshape(len(losses), -1),
        platform=platform,
    )


def measure_jax(function: Callable[..., tuple[Any, Any]], arguments: tuple[Any, ...], effort: Effort) -> Measured:
    """Time a compiled JAX function of arrays."""
    import jax  # noqa: PLC0415

    def run() -> tuple[Any, Any]:
        losses, gradients = jax.block_until_ready(function(*arguments))  # type: ignore[no-untyped-call]
        return losses, gradients

    device = jax.devices()[0]
    is_cpu = device.platform == "cpu"
    return measure(run, effort, platform="cpu" if is_cpu else f"{device.platform} ({device.device_kind})")
