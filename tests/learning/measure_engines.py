"""Measure both engines against their predicted times: `python tests/learning/measure_engines.py` on an idle machine.

Not a test, for times depend on the machine. Prints the best time of several calls, the prediction and their ratio.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ceas.learning import engine, trajectories
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.encoding import encode_inputs
from ceas.learning.engines import choose_engine
from ceas.learning.noise import node_noise, noiseless
from ceas.learning.partition import partition_circuit

# Qubits, layers, learners, samples, observables, trajectories (1 for no noise).
SIZES = (
    (4, 3, 50, 16, 2, 1),
    (6, 2, 5, 8, 2, 50),
    (8, 3, 10, 16, 1, 1),
    (9, 2, 4, 16, 2, 100),
    (10, 3, 50, 16, 1, 1),
    (12, 2, 10, 8, 1, 1),
    (14, 2, 4, 16, 1, 1),
    (16, 2, 1, 8, 1, 1),
)
_LARGEST_HEISENBERG = 10


def squared(values: jax.Array, targets: jax.Array) -> jax.Array:
    return ((values - targets) ** 2).mean()


def best_time(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def measure(*sizes: int) -> Iterator[tuple[str, float, float]]:
    """Yield engine, measured and predicted time of a gradient."""
    n_qubits, n_layers, n_learners, n_samples, n_observables, n_trajectories = sizes
    circuit = hardware_efficient(n_qubits, n_layers, "ring")
    partition = partition_circuit(circuit, "data")
    rng = np.random.default_rng(0)
    errors = np.full(n_learners, 0.01)
    noisy = node_noise(partition, one_qubit_error=errors, two_qubit_error=errors, readout_error=errors)
    noise = noiseless(partition, n_learners) if n_trajectories == 1 else noisy
    encoded = encode_inputs(circuit, jnp.asarray(rng.uniform(-1, 1, (n_learners, n_samples, n_qubits))))
    theta, targets = rng.normal(size=circuit.n_parameters), jnp.zeros((n_learners, n_samples, n_observables))
    options: dict[str, Any] = {"targets": targets, "observables": tuple(range(n_observables)), "loss": squared}
    choice = choose_engine(
        circuit,
        partition,
        n_learners=n_learners,
        n_samples=n_samples,
        n_observables=n_observables,
        has_relaxation=False,
        is_noiseless=n_trajectories == 1,
        n_trajectories=n_trajectories,
        needs_gradient=True,
        memory_limit_bytes=1 << 40,
    )

    def sampled() -> Any:
        shared = (circuit, partition, theta, encoded, noise)
        return trajectories.loss_and_gradient(*shared, n_trajectories=n_trajectories, **options)

    def exact() -> Any:
        return engine.loss_and_gradient(circuit, partition, jnp.asarray(theta), encoded, noise, **options)

    yield "trajectories", best_time(sampled), choice.seconds["trajectories"]
    if n_qubits <= _LARGEST_HEISENBERG:
        yield "heisenberg", best_time(exact), choice.seconds["heisenberg"]


def main() -> None:
    sys.stdout.write(
        "qubits, layers, learners, samples, observables, trajectories: engine, measured, predicted, ratio\n"
    )
    for sizes in SIZES:
        for name, seconds, predicted in measure(*sizes):
            row = f"{sizes}: {name} {1e3 * seconds:.1f} ms, {1e3 * predicted:.1f} ms, {predicted / seconds:.2f}\n"
            sys.stdout.write(row)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
