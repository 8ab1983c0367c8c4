"""How fast this machine could do the learning benchmark's noisy work at best: its rates, and what the work needs.

What an algorithm in the Heisenberg picture cannot avoid is counted from the circuit, string by string, for one learner
and the observable Z of qubit 0. Going backwards, a string is *live* if it can have a coefficient that is not zero:

- An angle turns pairs of strings into each other, that of RY (X, Z) on its qubit, that of RZ (X, Y). With c and s its
  cosine and sine a pair costs 6 operations if both strings are live, 2 if only one is; carrying the loss's derivative
  forwards costs 6 or 3; the derivative by the angle is a difference of two products, added up: 4.
- CNOTs permute strings, which is free. All noise between two layers of angles is one factor per live string: one
  product backwards, one forwards.
- Samples see strings without Y: with S samples 2 S operations per live string for the values, 2 S for the derivative.

Bytes, with 4 for a number: the live strings of every layer are written and read again backwards, and read with the
derivative, which is read and written, forwards: 5 numbers a live string. Features of the samples are read twice. That
assumes that layers are streamed through memory; a learner whose strings stay in a core's cache needs less, and what
several angles in one pass over memory save is granted already. Rates of memory are therefore measured with arrays of
the size of the problem, so that what fits into a cache gets that cache's rate.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ceas.learning.circuits import Gate

__all__ = ["NeededWork", "Rates", "measure_rates", "needed_work"]

BoolArray = npt.NDArray[np.bool_]

_FLOAT_BYTES = 4
_MEBI = 1 << 20
# Pauli strings that an angle about an axis turns into each other; digits I, X, Y, Z.
_TURNED = {"ry": (1, 3), "rz": (1, 2)}
_BOTH_LIVE, _ONE_LIVE = 6 + 6 + 4, 2 + 3 + 4
_TRIES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededWork:
    """What one learner's loss and gradient need.

    Attributes:
        flops: Floating-point operations.
        moved_bytes: Bytes read and written.
        held_bytes: Bytes of all arrays that the passes go over: live strings of every layer, and features.
    """

    flops: float
    moved_bytes: float
    held_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the machine reaches.

    Attributes:
        flops_per_s: Of the product of two large float32 matrices (1/s).
        product_program: Program that multiplied fastest.
        bytes_per_s: Of the sum a + s b, for arrays of each size asked for (1/s).
        platform: Device.
    """

    flops_per_s: float
    product_program: str
    bytes_per_s: tuple[float, ...]
    platform: str


# ---- what the work needs ---------------------------------------------------------------------------------------------


def needed_work(n_qubits: int, n_layers: int, n_samples: int) -> NeededWork:
    """Count what one learner of the benchmark needs; see the head of this module for what counts."""
    from ceas.learning.ansatz import hardware_efficient  # noqa: PLC0415 (brings JAX)

    circuit = hardware_efficient(n_qubits, n_layers, "ring")
    live = np.zeros((4,) * n_qubits, dtype=np.bool_)
    live[(3,) + (0,) * (n_qubits - 1)] = True
    flops, kept = 0.0, 0
    for layer in reversed(range(n_layers)):
        gates = [gate for gate in circuit.gates if gate.layer == layer]
        for gate in reversed([gate for gate in gates if gate.kind == "cnot"]):
            live = _before_cnot(live, *gate.qubits)
        flops += 2 * int(np.count_nonzero(live))
        for gate in reversed([gate for gate in gates if gate.kind != "cnot"]):
            flops += _turn(live, gate)
        kept += int(np.count_nonzero(live))
    visible = int(np.count_nonzero(live[np.ix_(*[[0, 1, 3]] * n_qubits)]))
    features = n_samples * visible
    return NeededWork(
        flops=flops + 4 * features,
        moved_bytes=_FLOAT_BYTES * (5 * kept + 2 * features),
        held_bytes=_FLOAT_BYTES * (kept + features),
    )


def _turn(live: BoolArray, gate: "Gate") -> float:
    """Let an angle act on the live strings, in place, and return its operations."""
    first, second = (np.moveaxis(live, gate.qubits[0], 0)[digit] for digit in _TURNED[gate.kind])
    n_both, n_any = np.count_nonzero(first & second), np.count_nonzero(first | second)
    first |= second
    second |= first
    return float(_BOTH_LIVE * n_both + _ONE_LIVE * (n_any - n_both))


def _before_cnot(live: BoolArray, control: int, target: int) -> BoolArray:
    """Return which strings are live before a CNOT."""
    moved = np.moveaxis(live, (control, target), (0, 1))
    # A CNOT takes X of the control to XX, Z of the target to ZZ; signs do not matter, and it is its own inverse.
    images = {(c, t): _cnot_image(c, t) for c in range(4) for t in range(4)}
    result = np.empty_like(moved)
    for pair, image in images.items():
        result[image] = moved[pair]
    return np.moveaxis(result, (0, 1), (control, target))


def _cnot_image(control: int, target: int) -> tuple[int, int]:
    """Return the digits of the two qubits after a CNOT, without the sign."""
    x, z = (0, 1, 1, 0), (0, 0, 1, 1)
    digit = {(0, 0): 0, (1, 0): 1, (1, 1): 2, (0, 1): 3}
    return (
        digit[x[control], z[control] ^ z[target]],
        digit[x[target] ^ x[control], z[target]],
    )


# ---- what the machine reaches ----------------------------------------------------------------------------------------


def measure_rates(sizes_bytes: Sequence[float], product_size: int = 2048) -> Rates:
    """Measure the rate of a matrix product, and that of memory for arrays that hold so many bytes together."""
    import jax  # noqa: PLC0415 (the table of benchmarks is read without JAX)

    device = jax.devices()[0]
    is_cpu = device.platform == "cpu"
    products = {"jax": _jax_product(product_size)} | ({"numpy": _numpy_product(product_size)} if is_cpu else {})
    rates = {program: 2 * product_size**3 / _least_time(run) for program, run in products.items()}
    best = max(rates, key=lambda program: rates[program])
    triad = _numba_triad if is_cpu else _jax_triad
    return Rates(
        flops_per_s=rates[best],
        product_program=best,
        bytes_per_s=tuple(triad(size) for size in sizes_bytes),
        platform="cpu" if is_cpu else f"{device.platform} ({device.device_kind})",
    )


def _least_time(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _matrices(size: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)


def _numpy_product(size: int) -> Callable[[], object]:
    first, second = _matrices(size)
    result = np.empty_like(first)
    return lambda: np.matmul(first, second, out=result)


def _jax_product(size: int) -> Callable[[], object]:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    first, second = jnp.asarray(_matrices(size))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST))
    return lambda: product(first, second).block_until_ready()


def _numba_triad(size_bytes: float) -> float:
    """Return the bytes a second of a = b + s c on all cores, for three arrays of that size together."""
    import numba  # noqa: PLC0415

    @numba.njit(parallel=True, fastmath=True)
    def triad(a: Any, b: Any, c: Any, n_times: int) -> None:
        for _ in range(n_times):
            for i in numba.prange(a.size):
                a[i] = b[i] + np.float32(0.5) * c[i]

    n = max(1024, int(size_bytes / (3 * _FLOAT_BYTES)))
    a, b, c = np.ones((3, n), dtype=np.float32)
    # Short passes are repeated within one call, so that its start does not count.
    n_times = max(1, int(64 * _MEBI / (3 * _FLOAT_BYTES * n)))
    return n_times * 3 * _FLOAT_BYTES * n / _least_time(lambda: triad(a, b, c, n_times))


def _jax_triad(size_bytes: float) -> float:
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    n = max(1024, int(size_bytes / (2 * _FLOAT_BYTES)))
    a, b = jnp.ones((2, n), dtype=jnp.float32)
    n_times = max(1, int(1024 * _MEBI / (3 * _FLOAT_BYTES * n)))

    @jax.jit
    def triad(a: jax.Array, b: jax.Array) -> jax.Array:
        # Each pass reads what the last one wrote, so that none can be left out.
        result: jax.Array = jax.lax.fori_loop(0, n_times, lambda _, sums: 0.5 * sums + b, a)
        return result

    return n_times * 3 * _FLOAT_BYTES * n / _least_time(lambda: triad(a, b).block_until_ready())
