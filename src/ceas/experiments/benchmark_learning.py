"""The learning benchmark: the same work in this engine, PennyLane and TensorCircuit-NG, as ratios in one run.

Work: 50 nodes, each with its own noise strength and 16 samples, all with the same parameters; for each the mean squared
loss of <Z_0> against labels of +1 and -1, and its gradient. Circuit: RY(x_q) on each qubit, then 3 layers of RY and RZ
on each qubit followed by depolarising (a), and a ring of CNOTs, each followed by depolarising (b) on both its qubits.

The peers are compiled as their documentation advises: jit of vmap of the loss's value and gradient. Our encoded samples
are computed before the clock starts, because training computes them once. Each program runs in a process of its own, so
that neither compiled code nor memory is shared.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.experiments.processes import run_in_own_process
from ceas.streams import stream

__all__ = ["PROGRAMS", "benchmark"]

FloatArray = npt.NDArray[np.float64]
Program = Callable[["_Work"], "_Timing"]

N_NODES = 50
N_SAMPLES = 16
N_LAYERS = 3
# Two float32 programs that do the same sums in another order stay well within this.
AGREEMENT = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One problem: angles (nodes, samples, n), labels (nodes, samples), parameters (layers, n, 2), errors (nodes,)."""

    n_qubits: int
    n_runs: int
    angles: FloatArray
    labels: FloatArray
    theta: FloatArray
    one_qubit_error: FloatArray
    two_qubit_error: FloatArray

    def arrays(self) -> tuple[Any, ...]:
        """Return parameters, angles, labels and errors as float32 JAX arrays."""
        import jax.numpy as jnp  # noqa: PLC0415 (the table of benchmarks is read without JAX)

        values = (self.theta, self.angles, self.labels, self.one_qubit_error, self.two_qubit_error)
        return tuple(jnp.asarray(value, dtype=jnp.float32) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timing:
    """What one program did: time to compile and run first, median time of a later run, and its results."""

    compile_s: float
    run_s: float
    losses: FloatArray
    gradients: FloatArray


def benchmark(qubits: Sequence[int] = (4, 6), *, n_runs: int = 7, seed: int = 0) -> list[Mapping[str, Any]]:
    """Time all programs on the same work.

    Args:
        qubits: Sizes of the circuit, one group of rows each.
        n_runs: Runs after compilation of which the median is taken; the fastest program runs ten times as many.
        seed: Seed of angles, labels, parameters and noise.

    Returns:
        A row per size and program: `qubits`, `program`, `status` (`"ok"`, `"disagrees"` or how to install it),
        `compile_s`, `run_ms` (median), `times_ceas` (its run time over ours) and `maximum_difference` (largest
        difference from our losses and gradients); the numbers are None for a program that is not installed.

    Raises:
        DomainError: A size is below 2, or `n_runs` below 1.
    """
    if min(qubits, default=0) < 2 or n_runs < 1:
        raise DomainError(f"Arguments must be sizes of at least 2 and runs of at least 1, but are {qubits}, {n_runs}.")
    rows: list[Mapping[str, Any]] = []
    for n_qubits in qubits:
        work = _make_work(n_qubits, n_runs, seed)
        ours = _in_own_process("ceas", work)
        rows.append(_row(n_qubits, "ceas", ours, ours))
        for program, module in PEERS.items():
            is_installed = importlib.util.find_spec(module) is not None
            rows.append(_row(n_qubits, program, _in_own_process(program, work) if is_installed else None, ours))
    return rows


def _make_work(n_qubits: int, n_runs: int, seed: int) -> _Work:
    rng = stream(seed, "benchmark learning", qubits=n_qubits)
    one_qubit_error = rng.uniform(0.001, 0.01, N_NODES)
    return _Work(
        n_qubits=n_qubits,
        n_runs=n_runs,
        angles=rng.uniform(-np.pi, np.pi, (N_NODES, N_SAMPLES, n_qubits)),
        labels=rng.choice([-1.0, 1.0], (N_NODES, N_SAMPLES)),
        theta=rng.normal(size=(N_LAYERS, n_qubits, 2)),
        one_qubit_error=one_qubit_error,
        two_qubit_error=5 * one_qubit_error,
    )


def _in_own_process(program: str, work: _Work) -> _Timing:
    return run_in_own_process(PROGRAMS[program], work)


def _row(n_qubits: int, program: str, timing: _Timing | None, ours: _Timing) -> dict[str, Any]:
    row: dict[str, Any] = {"qubits": n_qubits, "program": program}
    if timing is None:
        numbers = dict.fromkeys(("compile_s", "run_ms", "times_ceas", "maximum_difference"))
        return {**row, "status": "not installed (pip install -e '.[bench]')", **numbers}
    difference = max(
        float(np.max(np.abs(timing.losses - ours.losses))), float(np.max(np.abs(timing.gradients - ours.gradients)))
    )
    return {
        **row,
        "status": "ok" if difference <= AGREEMENT else "disagrees",
        "compile_s": timing.compile_s,
        "run_ms": 1e3 * timing.run_s,
        "times_ceas": timing.run_s / ours.run_s,
        "maximum_difference": difference,
    }


def _time(function: Callable[..., tuple[Any, Any]], arguments: tuple[Any, ...], n_runs: int) -> _Timing:
    import jax  # noqa: PLC0415

    start = time.perf_counter()
    losses, gradients = jax.block_until_ready(function(*arguments))  # type: ignore[no-untyped-call]
    compile_s = time.perf_counter() - start
    runs = []
    for _ in range(n_runs):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))  # type: ignore[no-untyped-call]
        runs.append(time.perf_counter() - start)
    return _Timing(
        compile_s=compile_s,
        run_s=float(np.median(runs)),
        losses=np.asarray(losses, dtype=np.float64),
        gradients=np.asarray(gradients, dtype=np.float64).reshape(N_NODES, -1),
    )


def _run_ceas(work: _Work) -> _Timing:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    from ceas.learning.circuits import hardware_efficient  # noqa: PLC0415
    from ceas.learning.engine import encode_features, loss_and_gradient  # noqa: PLC0415
    from ceas.learning.noise import NoiseTable  # noqa: PLC0415
    from ceas.learning.partition import partition_circuit  # noqa: PLC0415

    n = work.n_qubits
    circuit = hardware_efficient(n, N_LAYERS, "ring")
    partition = partition_circuit(circuit)

    def squared_error(values: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.mean((values[:, 0] - labels) ** 2)

    @jax.jit
    def losses_and_gradients(
        theta: jax.Array, features: jax.Array, labels: jax.Array, one: jax.Array, two: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        per_qubit = [jnp.broadcast_to(error[:, None], (N_NODES, n)) for error in (one, two, jnp.zeros(N_NODES))]
        noise = NoiseTable(per_qubit[0], per_qubit[1], per_qubit[2], pair_werner=jnp.ones((N_NODES, 0)))
        losses, gradients = loss_and_gradient(
            circuit,
            partition,
            theta.ravel(),
            features,
            noise,
            targets=labels,
            observables=(0,),
            loss=squared_error,
        )
        return losses, gradients

    theta, angles, *others = work.arrays()
    return _time(losses_and_gradients, (theta, encode_features(angles), *others), 10 * work.n_runs)


def _run_pennylane(work: _Work) -> _Timing:
    import pennylane as qml  # noqa: PLC0415

    n = work.n_qubits
    # PennyLane asks for complex128 and says on every operation that float32 JAX gives it complex64.
    warnings.filterwarnings("ignore", message="Explicitly requested dtype", category=UserWarning)

    @qml.qnode(qml.device("default.mixed", wires=n), interface="jax", diff_method="backprop")  # type: ignore[untyped-decorator]
    def circuit(theta: Any, angles: Any, one: Any, two: Any) -> Any:
        for q in range(n):
            qml.RY(angles[q], wires=q)
        for layer in range(N_LAYERS):
            for q in range(n):
                qml.RY(theta[layer, q, 0], wires=q)
                qml.RZ(theta[layer, q, 1], wires=q)
                qml.DepolarizingChannel(one, wires=q)
            for q in range(n):
                qml.CNOT(wires=[q, (q + 1) % n])
                qml.DepolarizingChannel(two, wires=q)
                qml.DepolarizingChannel(two, wires=(q + 1) % n)
        return qml.expval(qml.PauliZ(0))

    return _time_peer(circuit, work)


def _run_tensorcircuit(work: _Work) -> _Timing:
    import jax.numpy as jnp  # noqa: PLC0415
    import tensorcircuit as tc  # noqa: PLC0415

    tc.set_backend("jax")
    tc.set_dtype("complex64")
    n = work.n_qubits

    def circuit(theta: Any, angles: Any, one: Any, two: Any) -> Any:
        c = tc.DMCircuit(n)
        for q in range(n):
            c.ry(q, theta=angles[q])
        for layer in range(N_LAYERS):
            for q in range(n):
                c.ry(q, theta=theta[layer, q, 0])
                c.rz(q, theta=theta[layer, q, 1])
                c.depolarizing(q, px=one / 3, py=one / 3, pz=one / 3)
            for q in range(n):
                c.cnot(q, (q + 1) % n)
                c.depolarizing(q, px=two / 3, py=two / 3, pz=two / 3)
                c.depolarizing((q + 1) % n, px=two / 3, py=two / 3, pz=two / 3)
        return jnp.real(c.expectation_ps(z=[0]))

    return _time_peer(circuit, work)


def _time_peer(circuit: Callable[..., Any], work: _Work) -> _Timing:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    def loss(theta: jax.Array, angles: jax.Array, labels: jax.Array, one: jax.Array, two: jax.Array) -> jax.Array:
        values = jax.vmap(lambda sample: circuit(theta, sample, one, two))(angles)
        return jnp.mean((values - labels) ** 2)

    compiled = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0, 0, 0, 0)))
    return _time(compiled, work.arrays(), work.n_runs)


PROGRAMS: Mapping[str, Program] = {
    "ceas": _run_ceas,
    "pennylane default.mixed": _run_pennylane,
    "tensorcircuit-ng DMCircuit": _run_tensorcircuit,
}
PEERS = {"pennylane default.mixed": "pennylane", "tensorcircuit-ng DMCircuit": "tensorcircuit"}
