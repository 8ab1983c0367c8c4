"""The learning benchmark's work in our own engines.

The exact engine encodes samples before the clock starts, because training encodes them once; how long that takes is
measured apart. Other programs begin every run with it.
"""

import time
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

from ceas.experiments.benchmark_learning_work import Effort, Measured, Program, Work, measure, measure_jax

__all__ = ["NOISY_OURS", "PURE_OURS", "predict_memory_mb", "run_and_predict", "run_heisenberg", "run_trajectories"]

# Encodings of which the median is told; the first compiles.
_ENCODINGS = 7


def run_heisenberg(work: Work, effort: Effort) -> Measured:
    """Run the exact engine in the Heisenberg picture; pure work has one learner's noise for all."""
    import jax  # noqa: PLC0415 (the table of benchmarks is read without JAX)
    import jax.numpy as jnp  # noqa: PLC0415

    from ceas.learning.ansatz import hardware_efficient  # noqa: PLC0415
    from ceas.learning.encoding import encode_inputs  # noqa: PLC0415
    from ceas.learning.engine import loss_and_gradient  # noqa: PLC0415
    from ceas.learning.noise import NoiseTable, noiseless  # noqa: PLC0415
    from ceas.learning.partition import partition_circuit  # noqa: PLC0415

    circuit = hardware_efficient(work.n_qubits, work.n_layers, "ring")
    partition = partition_circuit(circuit)
    n_tables = work.n_learners if work.is_noisy else 1

    @jax.jit
    def losses_and_gradients(
        theta: jax.Array, encoded: Any, labels: jax.Array, one: jax.Array, two: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        pairs = jnp.ones((n_tables, 0))
        noise = NoiseTable(one[:, None], two[:, None], jnp.zeros((n_tables, 1)), pair_werner=pairs)
        losses, gradients = loss_and_gradient(
            circuit,
            partition,
            theta.ravel(),
            encoded,
            noise if work.is_noisy else noiseless(partition),
            targets=labels,
            observables=(0,),
            loss=_squared_error,
        )
        return losses, gradients

    theta, angles, *others = work.arrays()
    encode_s = []
    for _ in range(_ENCODINGS):
        start = time.perf_counter()
        encoded = jax.block_until_ready(encode_inputs(circuit, angles))  # type: ignore[no-untyped-call]
        encode_s.append(time.perf_counter() - start)
    return replace(measure_jax(losses_and_gradients, (theta, encoded, *others), effort), encode_s=median(encode_s))


def run_trajectories(work: Work, effort: Effort) -> Measured:
    """Run the pure-state engine on pure work, where one trajectory is exact."""
    from ceas.learning.ansatz import hardware_efficient  # noqa: PLC0415
    from ceas.learning.encoding import Encoded  # noqa: PLC0415
    from ceas.learning.noise import noiseless  # noqa: PLC0415
    from ceas.learning.partition import partition_circuit  # noqa: PLC0415
    from ceas.learning.trajectories import loss_and_gradient  # noqa: PLC0415

    circuit = hardware_efficient(work.n_qubits, work.n_layers, "ring")
    partition = partition_circuit(circuit)
    theta, angles, labels, *_ = work.arrays()
    # Of what samples are encoded into, this engine takes the inputs alone; features of 14 qubits would fill the memory.
    encoded = Encoded(inputs=angles, features=None)

    def losses_and_gradients() -> tuple[Any, Any]:
        losses, gradients = loss_and_gradient(
            circuit,
            partition,
            theta.ravel(),
            encoded,
            noiseless(partition),
            targets=labels,
            observables=(0,),
            loss=_squared_error,
        )
        return losses, gradients

    return measure(losses_and_gradients, effort)


def run_and_predict(work: Work, effort: Effort) -> tuple[Measured, float | None]:
    """Run the exact engine and predict its memory."""
    return run_heisenberg(work, effort), predict_memory_mb(work)


def predict_memory_mb(work: Work) -> float | None:
    """Return the predicted memory of the exact engine's arrays and of the encoded samples (MiB).

    Python, its libraries and compiled programs come to that. None if this version predicts nothing.
    """
    from ceas.learning.ansatz import hardware_efficient  # noqa: PLC0415
    from ceas.learning.partition import partition_circuit  # noqa: PLC0415

    if find_spec("ceas.learning.cost") is None:
        return None
    circuit = hardware_efficient(work.n_qubits, work.n_layers, "ring")
    n_samples = work.labels.shape[1]
    cost = import_module("ceas.learning.cost").engine_cost(
        circuit,
        partition_circuit(circuit),
        n_learners=work.n_learners,
        n_samples=n_samples,
        n_observables=1,
    )
    features = 4 * work.n_learners * n_samples * 3**work.n_qubits
    return float(cost.gradient.bytes + features) / (1 << 20)


def _squared_error(values: Any, labels: Any) -> Any:
    """Return a learner's mean squared loss of values (samples, 1) against labels (samples,)."""
    return ((values[:, 0] - labels) ** 2).mean()


NOISY_OURS = (Program(name="ceas", module="ceas.learning.engine", options={"Heisenberg": run_heisenberg}),)
# The first is the one that others are compared with.
PURE_OURS = (
    Program(name="ceas pure", module="ceas.learning.trajectories", options={"adjoint": run_trajectories}),
    Program(
        name="ceas Heisenberg", module="ceas.learning.engine", options={"one table": run_heisenberg}, most_qubits=10
    ),
)
