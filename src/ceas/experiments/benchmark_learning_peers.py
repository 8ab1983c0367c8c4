"""The learning benchmark's work in PennyLane and TensorCircuit-NG.

Each is used as its documentation advises, in every way below, and the fastest counts:

- `vmap`: jit of the vmapped loss with its gradient, for all samples at once.
- `map over learners`: the same for the samples of one learner, learners in a compiled loop, which needs less memory.
- `jit + vmap` of a QNode with adjoint differentiation (lightning.qubit cannot broadcast and runs sample by sample).
- `tapes`: all samples as one batch of tapes given to the device itself, without the QNode's overhead.
- `tapes, a process per core`: the same on all cores.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.experiments.benchmark_learning_work import (
    Effort,
    FloatArray,
    Measured,
    Program,
    Work,
    measure,
    measure_jax,
)
from ceas.experiments.limited_process import n_cores
from ceas.experiments.processes import spawned_pool

__all__ = ["NOISY_PEERS", "PURE_PEERS"]

Circuit = Callable[..., Any]
"""Value of <Z_0> as a function of parameters, the angles of one sample, and the two errors."""


# ---- differentiated by JAX -------------------------------------------------------------------------------------------


def _measure_circuit(circuit: Circuit, work: Work, effort: Effort, is_mapped: bool) -> Measured:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    def loss(theta: jax.Array, angles: jax.Array, labels: jax.Array, one: jax.Array, two: jax.Array) -> jax.Array:
        values = jax.vmap(lambda sample: circuit(theta, sample, one, two))(angles)
        return jnp.mean((values - labels) ** 2)

    each = jax.value_and_grad(loss)

    def mapped(theta: jax.Array, *learners: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses, gradients = jax.lax.map(lambda learner: each(theta, *learner), learners)
        return losses, gradients

    compiled = jax.jit(mapped if is_mapped else jax.vmap(each, in_axes=(None, 0, 0, 0, 0)))
    return measure_jax(compiled, work.arrays(), effort)


def run_pennylane(work: Work, effort: Effort, *, is_mapped: bool) -> Measured:
    """Run default.mixed on noisy work, default.qubit on pure work, with backpropagation."""
    import pennylane as qml  # noqa: PLC0415

    # PennyLane asks for complex128 and says on every operation that float32 JAX gives it complex64.
    warnings.filterwarnings("ignore", message="Explicitly requested dtype", category=UserWarning)
    device = qml.device("default.mixed" if work.is_noisy else "default.qubit", wires=work.n_qubits)

    @qml.qnode(device, interface="jax", diff_method="backprop")  # type: ignore[untyped-decorator]
    def circuit(theta: Any, angles: Any, one: Any, two: Any) -> Any:
        return _pennylane_circuit(work, theta, angles, one, two)

    return _measure_circuit(circuit, work, effort, is_mapped)


def _pennylane_circuit(work: Work, theta: Any, angles: Any, one: Any, two: Any) -> Any:
    import pennylane as qml  # noqa: PLC0415

    n = work.n_qubits
    for q in range(n):
        qml.RY(angles[q], wires=q)
    for layer in range(work.n_layers):
        for q in range(n):
            qml.RY(theta[layer, q, 0], wires=q)
            qml.RZ(theta[layer, q, 1], wires=q)
            if work.is_noisy:
                qml.DepolarizingChannel(one, wires=q)
        for q in range(n):
            qml.CNOT(wires=[q, (q + 1) % n])
            if work.is_noisy:
                qml.DepolarizingChannel(two, wires=q)
                qml.DepolarizingChannel(two, wires=(q + 1) % n)
    return qml.expval(qml.PauliZ(0))


def run_tensorcircuit(work: Work, effort: Effort, *, is_mapped: bool) -> Measured:
    """Run TensorCircuit-NG's DMCircuit on noisy work, its Circuit on pure work."""
    import jax.numpy as jnp  # noqa: PLC0415
    import tensorcircuit as tc  # noqa: PLC0415

    tc.set_backend("jax")
    tc.set_dtype("complex64")
    n = work.n_qubits

    def circuit(theta: Any, angles: Any, one: Any, two: Any) -> Any:
        c = tc.DMCircuit(n) if work.is_noisy else tc.Circuit(n)
        for q in range(n):
            c.ry(q, theta=angles[q])
        for layer in range(work.n_layers):
            for q in range(n):
                c.ry(q, theta=theta[layer, q, 0])
                c.rz(q, theta=theta[layer, q, 1])
                if work.is_noisy:
                    c.depolarizing(q, px=one / 3, py=one / 3, pz=one / 3)
            for q in range(n):
                c.cnot(q, (q + 1) % n)
                if work.is_noisy:
                    c.depolarizing(q, px=two / 3, py=two / 3, pz=two / 3)
                    c.depolarizing((q + 1) % n, px=two / 3, py=two / 3, pz=two / 3)
        return jnp.real(c.expectation_ps(z=[0]))

    return _measure_circuit(circuit, work, effort, is_mapped)


# ---- adjoint differentiation in lightning.qubit ----------------------------------------------------------------------


def run_lightning(work: Work, effort: Effort) -> Measured:
    """Run lightning.qubit through a compiled QNode with adjoint differentiation."""
    import jax  # noqa: PLC0415
    import pennylane as qml  # noqa: PLC0415

    device = qml.device("lightning.qubit", wires=work.n_qubits, c_dtype=np.complex64)

    @qml.qnode(device, interface="jax", diff_method="adjoint")  # type: ignore[untyped-decorator]
    def circuit(theta: Any, angles: Any) -> Any:
        return _pennylane_circuit(work, theta, angles, None, None)

    compiled = jax.jit(jax.vmap(jax.value_and_grad(circuit), in_axes=(None, 0)))
    theta, angles, *_ = work.arrays()
    flat = angles.reshape(-1, work.n_qubits)

    def run() -> tuple[FloatArray, FloatArray]:
        values, jacobian = jax.device_get(compiled(theta, flat))
        return _chain_rule(work, values, jacobian.reshape(len(values), -1))

    return measure(run, effort)


def run_lightning_tapes(work: Work, effort: Effort, *, is_split: bool) -> Measured:
    """Run lightning.qubit's adjoint differentiation on batches of tapes, in this process or in one per core."""
    samples = np.asarray(work.angles, dtype=np.float32).reshape(-1, work.n_qubits)
    if not is_split:
        return measure(lambda: _chain_rule(work, *_adjoint(work, samples)), effort)
    parts = np.array_split(samples, n_cores())
    with spawned_pool(len(parts)) as pool:

        def run() -> tuple[FloatArray, FloatArray]:
            values, jacobians = zip(*pool.map(partial(_adjoint, work.first(0)), parts), strict=True)
            return _chain_rule(work, np.concatenate(values), np.concatenate(jacobians))

        return measure(run, effort, is_alone=False)


def _adjoint(work: Work, samples: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """Return <Z_0> of every sample and its derivatives, shapes (samples,) and (samples, parameters)."""
    import pennylane as qml  # noqa: PLC0415
    from pennylane.devices import ExecutionConfig  # noqa: PLC0415

    theta = work.theta.astype(np.float32)
    tapes = []
    for sample in samples:
        with qml.queuing.AnnotatedQueue() as queue:
            _pennylane_circuit(work, theta, sample, None, None)
        tape = qml.tape.QuantumScript.from_queue(queue)
        tape.trainable_params = list(range(work.n_qubits, work.n_qubits + theta.size))
        tapes.append(tape)
    device = qml.device("lightning.qubit", wires=work.n_qubits, c_dtype=np.complex64)
    configuration = ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
    values, jacobians = device.execute_and_compute_derivatives(tapes, configuration)
    return np.array(values, dtype=np.float64), np.array(jacobians, dtype=np.float64)


def _chain_rule(work: Work, values: FloatArray, jacobian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return losses and gradients of the learners from values (samples,) and their derivatives (samples, P)."""
    shape = work.labels.shape
    errors = np.reshape(values, shape) - work.labels
    slopes = 2 * errors / shape[1]
    return (errors**2).mean(axis=1), np.einsum("ls,lsp->lp", slopes, np.reshape(jacobian, (*shape, -1)))


# ---- names -----------------------------------------------------------------------------------------------------------


def _compiled_options(run: Callable[..., Measured]) -> Mapping[str, Callable[[Work, Effort], Measured]]:
    return {"vmap": partial(run, is_mapped=False), "map over learners": partial(run, is_mapped=True)}


NOISY_PEERS = (
    Program(name="tensorcircuit-ng DMCircuit", module="tensorcircuit", options=_compiled_options(run_tensorcircuit)),
    Program(name="pennylane default.mixed", module="pennylane", options=_compiled_options(run_pennylane)),
)
PURE_PEERS = (
    Program(name="tensorcircuit-ng Circuit", module="tensorcircuit", options=_compiled_options(run_tensorcircuit)),
    Program(name="pennylane default.qubit", module="pennylane", options=_compiled_options(run_pennylane)),
    Program(
        name="pennylane lightning.qubit",
        module="pennylane_lightning",
        options={
            "jit + vmap, adjoint": run_lightning,
            "tapes, adjoint": partial(run_lightning_tapes, is_split=False),
            "tapes, adjoint, a process per core": partial(run_lightning_tapes, is_split=True),
        },
    ),
)
