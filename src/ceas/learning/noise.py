"""The noise of every learner as one table.

Placement: where `Circuit.has_error` says, and in this order, the channel of a pair that serves the gate, depolarising
on each qubit of the gate, and relaxation of each; a readout flip before the measurement. Depolarising with error
probability p applies X, Y or Z with p/3 each, so it scales the Paulis X, Y and Z of that qubit by 1 - 4p/3.
Relaxation, which need not be a Pauli channel, scales X and Y by one factor and takes <Z> towards an equilibrium by
another.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.learning.partition import Partition

__all__ = ["NoiseTable", "node_noise", "noiseless", "require_noise"]


class NoiseTable(NamedTuple):
    """Noise parameters of learners, with the learners on the leading axis and the QPUs of each on the second.

    Attributes:
        one_qubit_error: Depolarising probability after a run of one-qubit gates, in [0, 1], shape (learners, qpus).
        two_qubit_error: Depolarising probability on each qubit after a two-qubit gate, in [0, 1], shape (learners,
            qpus).
        readout_error: Probability that the outcome of a qubit is flipped, shape (learners, qpus); or those of the
            outcomes 0 and 1, shape (learners, qpus, 2).
        pair_werner: Werner parameter of each pair of a shot, shape (learners, pairs_per_shot), or the correlators
            (x, y, z) of Bell-diagonal pairs, shape (learners, pairs_per_shot, 3). The weights of the errors X, Y and Z
            are (1 + c_x - c_y - c_z) / 4 and so on; see `ceas.learning.partition` for what they do. Exact expectation
            values are linear in each pair, so for independent pairs the mean over shots gives the mean.
        relaxation: None, or what happens after a run of one-qubit gates and after a two-qubit gate, shape
            (learners, qpus, 2, 3): the factor of X and Y, the factor of Z, and the equilibrium value of <Z>.
    """

    one_qubit_error: jax.Array
    two_qubit_error: jax.Array
    readout_error: jax.Array
    pair_werner: jax.Array
    relaxation: jax.Array | None = None


def noiseless(partition: Partition, n_learners: int = 1) -> NoiseTable:
    """Return the table of ideal learners: no errors, perfect pairs."""
    zeros = jnp.zeros((n_learners, partition.n_qpus))
    return NoiseTable(zeros, zeros, zeros, jnp.ones((n_learners, partition.pairs_per_shot)))


def require_noise(partition: Partition, noise: NoiseTable, *, has_pairs: bool = True) -> None:
    """Raise `DomainError` where a table does not fit a partition: other processors or pairs, or rows of other learners.

    Args:
        partition: The partition of the circuit.
        noise: The table.
        has_pairs: Whether its `pair_werner` is used.
    """
    qpus, pairs = (partition.n_qpus,), (partition.pairs_per_shot,)
    allowed: dict[str, tuple[tuple[int, ...], ...]] = {
        "one_qubit_error": (qpus,),
        "two_qubit_error": (qpus,),
        "readout_error": (qpus, (*qpus, 2)),
        "pair_werner": (pairs, (*pairs, 3)),
        "relaxation": ((*qpus, 2, 3),),
    }
    n_learners = len(noise.one_qubit_error)
    for name, shapes in allowed.items():
        array = getattr(noise, name)
        if array is None or (name == "pair_werner" and not has_pairs):
            continue
        if array.shape not in {(n_learners, *shape) for shape in shapes}:
            wanted = " or ".join(str((n_learners, *shape)) for shape in shapes)
            raise DomainError(f"Argument `noise` must have `{name}` of shape {wanted}, but has {array.shape}.")


def node_noise(
    partition: Partition,
    *,
    one_qubit_error: ArrayLike,
    two_qubit_error: ArrayLike,
    readout_error: ArrayLike,
    lender: ArrayLike | None = None,
    pair_werner: ArrayLike = 1.0,
    relaxation_time_s: ArrayLike | None = None,
    dephasing_time_s: ArrayLike | None = None,
    one_qubit_gate_time_s: ArrayLike = 0.0,
    two_qubit_gate_time_s: ArrayLike = 0.0,
    excited_population: ArrayLike = 0.0,
) -> NoiseTable:
    """Build the table in which node k is learner k and borrows qubits from other nodes.

    Args:
        partition: The partition of the circuit.
        one_qubit_error: Depolarising probability per node, shape (nodes,), in [0, 3/4].
        two_qubit_error: Depolarising probability per node and qubit of a gate, shape (nodes,), in [0, 3/4].
        readout_error: Flip probability per node, shape (nodes,), in [0, 1/2]; or those of the outcomes 0 and 1,
            shape (nodes, 2), which may add up to 1 at most.
        lender: Nodes that lend qubits to each learner, integers in [0, nodes), shape (nodes, n_qpus - 1), or (nodes,)
            for two processors; needed where there are several.
        pair_werner: Werner parameter of a learner's pairs, scalar, (nodes,) or (nodes, pairs_per_shot), in [0, 1]; or
            correlators, (nodes, pairs_per_shot, 3), in [-1, 1].
        relaxation_time_s: T1 per node, scalar or (nodes,), positive; None for infinite.
        dephasing_time_s: T2 per node, scalar or (nodes,), positive and at most 2 T1; None for 2 T1.
        one_qubit_gate_time_s: Duration of a run of one-qubit gates, scalar or (nodes,), at least 0.
        two_qubit_gate_time_s: Duration of a two-qubit gate, scalar or (nodes,), at least 0.
        excited_population: Probability of 1 in equilibrium, scalar or (nodes,), in [0, 1].

    Returns:
        The table; its `relaxation` is None where neither T1 nor T2 is given.

    Raises:
        DomainError: An array has the wrong shape, a value is outside its range, or the lenders are missing.

    Source:
        Nielsen and Chuang, Quantum Computation and Quantum Information, 2010, section 8.3.5 (T1, T2).
    """
    one_qubit = _per_node("one_qubit_error", one_qubit_error, 0.75)
    two_qubit = _per_node("two_qubit_error", two_qubit_error, 0.75)
    readout = _readout_error(readout_error)
    n_nodes = one_qubit.size
    sizes = [len(error) for error in (one_qubit, two_qubit, readout)]
    if any(size != n_nodes for size in sizes):
        raise DomainError(f"Arguments must have one value per node, but have {sizes}.")
    node = _qpu_nodes(partition, lender, n_nodes)
    werner = _pair_werner(pair_werner, n_nodes, partition.pairs_per_shot)
    relaxation = _relaxation(
        n_nodes,
        times=(relaxation_time_s, dephasing_time_s),
        durations=(one_qubit_gate_time_s, two_qubit_gate_time_s),
        excited_population=excited_population,
    )
    return NoiseTable(
        one_qubit_error=jnp.asarray(one_qubit[node], dtype=float),
        two_qubit_error=jnp.asarray(two_qubit[node], dtype=float),
        readout_error=jnp.asarray(readout[node], dtype=float),
        pair_werner=jnp.asarray(werner, dtype=float),
        relaxation=None if relaxation is None else jnp.asarray(relaxation[node], dtype=float),
    )


def _per_node(name: str, value: ArrayLike, maximum: float) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 1:
        raise DomainError(f"Argument `{name}` must have shape (nodes,), but has {array.shape}.")
    if not np.all((array >= 0) & (array <= maximum)):
        raise DomainError(f"Argument `{name}` must be in [0, {maximum}], but is {array}.")
    return array


def _readout_error(value: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim < 2:
        return _per_node("readout_error", array, 0.5)
    if array.ndim > 2 or array.shape[1] != 2:
        raise DomainError(f"Argument `readout_error` must have shape (nodes,) or (nodes, 2), but has {array.shape}.")
    if not np.all((array >= 0) & (array.sum(axis=1, keepdims=True) <= 1)):
        raise DomainError(f"Argument `readout_error` must be at least 0 and add up to 1 at most, but is {array}.")
    return array


def _qpu_nodes(partition: Partition, lender: ArrayLike | None, n_nodes: int) -> NDArray[np.int64]:
    own = np.arange(n_nodes)
    n_lenders = partition.n_qpus - 1
    if n_lenders == 0:
        return own[:, None]
    if lender is None:
        raise DomainError("Argument `lender` must be given for a partition over several processors, but is None.")
    lenders = np.asarray(lender, dtype=np.int64)
    if lenders.shape == (n_nodes,) and n_lenders == 1:
        lenders = lenders[:, None]
    if lenders.shape != (n_nodes, n_lenders) or not np.all((lenders >= 0) & (lenders < n_nodes)):
        wanted = f"nodes below {n_nodes}, shape {(n_nodes, n_lenders)}"
        raise DomainError(f"Argument `lender` must hold {wanted}, but is {lenders}.")
    return np.concatenate([own[:, None], lenders], axis=1)


def _relaxation(
    n_nodes: int,
    *,
    times: tuple[ArrayLike | None, ArrayLike | None],
    durations: tuple[ArrayLike, ArrayLike],
    excited_population: ArrayLike,
) -> NDArray[np.float64] | None:
    """Return the factor of X and Y, that of Z, and the equilibrium of <Z>, shape (nodes, 2, 3), or None."""
    if times == (None, None):
        return None
    t1 = _broadcast("relaxation_time_s", np.inf if times[0] is None else times[0], n_nodes)
    t2 = _broadcast("dephasing_time_s", 2 * t1 if times[1] is None else times[1], n_nodes)
    waits = np.stack(
        [
            _broadcast("one_qubit_gate_time_s", durations[0], n_nodes),
            _broadcast("two_qubit_gate_time_s", durations[1], n_nodes),
        ],
        axis=1,
    )
    excited = _broadcast("excited_population", excited_population, n_nodes)
    if not np.all(t1 > 0) or not np.all((t2 > 0) & (t2 <= 2 * t1)):
        raise DomainError(
            f"Arguments `relaxation_time_s` (T1) and `dephasing_time_s` (T2) must be positive with T2 <= 2 T1, "
            f"but are {t1} and {t2}."
        )
    if not np.all((waits >= 0) & np.isfinite(waits)) or not np.all((excited >= 0) & (excited <= 1)):
        raise DomainError(
            f"Gate times must be at least 0 and `excited_population` in [0, 1], but are {waits} and {excited}."
        )
    equilibrium = np.broadcast_to(1 - 2 * excited[:, None], waits.shape)
    return np.stack([np.exp(-waits / t2[:, None]), np.exp(-waits / t1[:, None]), equilibrium], axis=-1)


def _broadcast(name: str, value: ArrayLike, n_nodes: int) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in {(), (n_nodes,)}:
        raise DomainError(f"Argument `{name}` must have shape () or ({n_nodes},), but has {array.shape}.")
    return np.broadcast_to(array, (n_nodes,))


def _pair_werner(value: ArrayLike, n_learners: int, n_pairs: int) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    lowest = -1 if array.ndim == 3 else 0
    if not np.all((array >= lowest) & (array <= 1)):
        raise DomainError(f"Argument `pair_werner` must be in [{lowest}, 1], but is {array}.")
    if array.ndim == 3:
        if array.shape != (n_learners, n_pairs, 3):
            expected = (n_learners, n_pairs, 3)
            raise DomainError(f"Argument `pair_werner` must have shape {expected}, but has {array.shape}.")
        return array.copy()
    columns = array[:, None] if array.ndim == 1 else array
    try:
        return np.broadcast_to(columns, (n_learners, n_pairs)).copy()
    except ValueError:
        allowed = f"() or ({n_learners},) or ({n_learners}, {n_pairs})"
        raise DomainError(f"Argument `pair_werner` must have shape {allowed}, but has {array.shape}.") from None
