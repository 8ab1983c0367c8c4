"""The noise of every learner as one table.

Placement: depolarising on a qubit after its last rotation of a layer; depolarising on both qubits after a CNOT, where a
teleported CNOT first suffers the channel of its pair, see `ceas.physics.teleported_cnot_channel`; a readout flip before
the measurement. Depolarising with error probability p applies X, Y or Z with p/3 each, so it scales the Paulis X, Y and
Z of that qubit by 1 - 4p/3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.learning.partition import Partition

__all__ = ["NoiseTable", "node_noise", "noiseless"]


class NoiseTable(NamedTuple):
    """Noise parameters of learners, with the learners on the leading axis.

    Attributes:
        one_qubit_error: Depolarising probability after a qubit's rotations of a layer, shape (learners, qubits).
        two_qubit_error: Depolarising probability on each qubit after a CNOT that acts on it, shape (learners, qubits).
        readout_error: Probability that the outcome of a qubit is flipped, shape (learners, qubits).
        pair_werner: Werner parameter of the pair behind each teleported CNOT, shape (learners, pairs_per_shot), or
            the correlators (x, y, z) of a Bell-diagonal pair, shape (learners, pairs_per_shot, 3): c_x scales strings
            with X or Y on the control and I or X on the target, c_z those with I or Z on the control and Y or Z on the
            target, c_y those with both. Exact expectation values are linear in each of them, so for independent pairs
            the mean over shots gives the mean.
    """

    one_qubit_error: jax.Array
    two_qubit_error: jax.Array
    readout_error: jax.Array
    pair_werner: jax.Array


def noiseless(partition: Partition, n_learners: int = 1) -> NoiseTable:
    """Return the table of ideal learners: no errors, perfect pairs."""
    zeros = jnp.zeros((n_learners, len(partition.owner)))
    return NoiseTable(zeros, zeros, zeros, jnp.ones((n_learners, partition.pairs_per_shot)))


def node_noise(
    partition: Partition,
    *,
    one_qubit_error: ArrayLike,
    two_qubit_error: ArrayLike,
    readout_error: ArrayLike,
    lender: ArrayLike | None = None,
    pair_werner: ArrayLike = 1.0,
) -> NoiseTable:
    """Build the table in which node k is learner k and borrows qubits from node `lender[k]`.

    Args:
        partition: The partition of the circuit.
        one_qubit_error: Depolarising probability per node, shape (nodes,), in [0, 3/4].
        two_qubit_error: Depolarising probability per node and qubit of a CNOT, shape (nodes,), in [0, 3/4].
        readout_error: Flip probability per node, shape (nodes,), in [0, 1/2].
        lender: Node that lends qubits to each learner, shape (nodes,), integers in [0, nodes); needed for `"qubit"`.
        pair_werner: Werner parameter of a learner's pairs, scalar, (nodes,) or (nodes, pairs_per_shot), in [0, 1]; or
            correlators, (nodes, pairs_per_shot, 3), in [-1, 1].

    Raises:
        DomainError: An array has the wrong shape, a value is outside its range, or the lenders are missing.
    """
    errors = [
        _per_node("one_qubit_error", one_qubit_error, 0.75),
        _per_node("two_qubit_error", two_qubit_error, 0.75),
        _per_node("readout_error", readout_error, 0.5),
    ]
    n_nodes = errors[0].size
    if any(error.size != n_nodes for error in errors):
        raise DomainError(f"Arguments must have one value per node, but have {[error.size for error in errors]}.")
    holder = _qubit_holders(partition, lender, n_nodes)
    werner = _pair_werner(pair_werner, n_nodes, partition.pairs_per_shot)
    one_qubit, two_qubit, readout = (jnp.asarray(error[holder], dtype=float) for error in errors)
    return NoiseTable(one_qubit, two_qubit, readout, jnp.asarray(werner, dtype=float))


def _per_node(name: str, value: ArrayLike, maximum: float) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 1:
        raise DomainError(f"Argument `{name}` must have shape (nodes,), but has {array.shape}.")
    if not np.all((array >= 0) & (array <= maximum)):
        raise DomainError(f"Argument `{name}` must be in [0, {maximum}], but is {array}.")
    return array


def _qubit_holders(partition: Partition, lender: ArrayLike | None, n_nodes: int) -> NDArray[np.int64]:
    own = np.arange(n_nodes)
    owner = np.asarray(partition.owner)
    if not owner.any():
        return np.repeat(own[:, None], owner.size, axis=1)
    if lender is None:
        raise DomainError("Argument `lender` must be given for a partition over two processors, but is None.")
    lenders = np.asarray(lender, dtype=np.int64)
    if lenders.shape != (n_nodes,) or not np.all((lenders >= 0) & (lenders < n_nodes)):
        raise DomainError(f"Argument `lender` must hold a node below {n_nodes} per learner, but is {lenders}.")
    return np.where(owner == 1, lenders[:, None], own[:, None])


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
