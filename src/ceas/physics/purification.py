"""One better pair out of two: BBPSSW and DEJMPS, with imperfect gates and readout.

Both protocols apply a CNOT at each end, from the kept to the sacrificed pair, and read the sacrificed pair in Z; equal
bits herald success. With Pauli errors (x1, z1) on the kept and (x2, z2) on the sacrificed pair the bits agree when
x1 = x2, and the kept pair is left with (x1, z1 + z2). So in the order (I, X, Y, Z)

    p  = (I1 + Z1)(I2 + Z2) + (X1 + Y1)(X2 + Y2)
    p I' = I1 I2 + Z1 Z2,   p Z' = I1 Z2 + Z1 I2,   p X' = X1 X2 + Y1 Y2,   p Y' = X1 Y2 + Y1 X2

BBPSSW twirls both pairs to Werner pairs before it and the product after it. DEJMPS does not; it rotates all four qubits
beforehand so that Y and Z errors change places, without which repetition would not remove Z errors.

Imperfect operations. The two CNOTs succeed with probability g = (1 - p2_A)(1 - p2_B); otherwise an end's two qubits are
maximally mixed, the bits agree with probability 1/2, and nothing is left of the kept pair. The bits' agreement is
reported wrongly with probability e = e_A(1 - e_B) + e_B(1 - e_A). DEJMPS's rotations each depolarise their qubit with
probability p1; no error is charged for the rotations of BBPSSW's twirl.

Sources:
    Bennett, Brassard, Popescu, Schumacher, Smolin and Wootters, PRL 76, 722, 1996 (BBPSSW).
    Deutsch, Ekert, Jozsa, Macchiavello, Popescu and Sanpera, PRL 77, 2818, 1996 (DEJMPS).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import UnknownNameError
from ceas.physics.domain import require_bell_diagonal, require_count
from ceas.physics.operations import PERFECT_OPERATIONS, LocalOperations, Numbers
from ceas.physics.states import bell_diagonal_to_werner, werner_bell_diagonal

__all__ = ["Ladder", "PurificationProtocol", "Purified", "pump", "purify", "recurrence"]

PurificationProtocol = Literal["bbpssw", "dejmps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purified:
    """Outcome of one purification step.

    Attributes:
        success_probability: Chance `(...)` that the ends keep the pair.
        bell_diagonal: Weights `(..., 4)` of the kept pair.
    """

    success_probability: NDArray[np.float64]
    bell_diagonal: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Outcome of repeated purification; the first axis counts the steps done, from 0.

    Attributes:
        bell_diagonal: Weights `(steps + 1, ..., 4)`.
        success_probability: Chance `(steps + 1, ...)` that the step succeeds, given that the one before did; 1 at 0.
        pairs_consumed: Mean number `(steps + 1, ...)` of elementary pairs for one pair of this step, failures included.
        pair_yield: Its inverse, the pairs of this step for each elementary pair.
    """

    bell_diagonal: NDArray[np.float64]
    success_probability: NDArray[np.float64]
    pairs_consumed: NDArray[np.float64]

    @property
    def pair_yield(self) -> NDArray[np.float64]:
        """Pairs of each step for one elementary pair."""
        return np.asarray(1.0 / self.pairs_consumed)


def purify(
    kept: ArrayLike,
    sacrificed: ArrayLike,
    protocol: PurificationProtocol = "dejmps",
    *,
    operations_a: LocalOperations = PERFECT_OPERATIONS,
    operations_b: LocalOperations | None = None,
) -> Purified:
    """Purify one pair with another.

    Args:
        kept: Bell-diagonal weights `(..., 4)` of the pair that stays.
        sacrificed: Bell-diagonal weights `(..., 4)` of the pair that is measured, broadcast against the first.
        protocol: `bbpssw` or `dejmps`.
        operations_a: Gates and readout at one end.
        operations_b: Those at the other end; the same when left out.

    Returns:
        The chance of success and the kept pair's weights given success. The formulas are in this module's docstring.

    Raises:
        UnknownNameError: There is no such protocol.
    """
    ends = (operations_a, operations_a if operations_b is None else operations_b)
    first = _prepared("kept", kept, protocol, ends)
    second = _prepared("sacrificed", sacrificed, protocol, ends)
    agreeing = _product(first, second)
    # A wrong verdict keeps what should be dropped: the sacrificed pair with one more X error, in this order X reversed.
    disagreeing = _product(first, second[..., [1, 0, 3, 2]])
    wrong = _wrong_verdict(*ends)[..., None]
    gates = _both_spared(*(end.two_qubit_depolarising for end in ends))
    weights = gates * ((1.0 - wrong) * agreeing + wrong * disagreeing) + (1.0 - gates) / 8.0
    success = weights.sum(axis=-1)
    weights = weights / success[..., None]
    if protocol == "bbpssw":
        weights = werner_bell_diagonal(bell_diagonal_to_werner(weights))
    return Purified(success_probability=success, bell_diagonal=weights)


def recurrence(
    pair: ArrayLike,
    steps: int,
    protocol: PurificationProtocol = "dejmps",
    *,
    operations_a: LocalOperations = PERFECT_OPERATIONS,
    operations_b: LocalOperations | None = None,
) -> Ladder:
    """Purify in levels: each step takes two pairs of the step before, so n steps want 2^n pairs and luck.

    A pair of step n costs twice a pair of step n - 1, over the chance of success.
    """
    return _ladder(pair, steps, protocol, operations_a, operations_b, pumping=False)


def pump(
    pair: ArrayLike,
    steps: int,
    protocol: PurificationProtocol = "dejmps",
    *,
    operations_a: LocalOperations = PERFECT_OPERATIONS,
    operations_b: LocalOperations | None = None,
) -> Ladder:
    """Purify one pair again and again with fresh elementary pairs; a failure starts over from nothing.

    Only two memories are needed at each end. A pair of step n costs that of step n - 1 and one more, over the chance of
    success. Pumping converges to a fidelity below that of `recurrence`.
    """
    return _ladder(pair, steps, protocol, operations_a, operations_b, pumping=True)


def _ladder(
    pair: ArrayLike,
    steps: int,
    protocol: PurificationProtocol,
    operations_a: LocalOperations,
    operations_b: LocalOperations | None,
    *,
    pumping: bool,
) -> Ladder:
    """Return all steps of a ladder whose sacrificed pair is fresh (`pumping`) or as good as the kept one."""
    elementary = require_bell_diagonal("pair", pair)
    kept, cost = elementary, np.ones(elementary.shape[:-1])
    states, chances, costs = [kept], [np.ones_like(cost)], [cost]
    for _ in range(require_count("steps", steps, 0)):
        sacrificed, its_cost = (elementary, np.ones_like(cost)) if pumping else (kept, cost)
        step = purify(kept, sacrificed, protocol, operations_a=operations_a, operations_b=operations_b)
        kept, cost = step.bell_diagonal, (cost + its_cost) / step.success_probability
        states.append(kept)
        chances.append(step.success_probability)
        costs.append(cost)
    # Array-valued operations may widen the shape from the first step on.
    return Ladder(
        bell_diagonal=np.stack(np.broadcast_arrays(*states)),
        success_probability=np.stack(np.broadcast_arrays(*chances)),
        pairs_consumed=np.stack(np.broadcast_arrays(*costs)),
    )


def _prepared(
    name: str, weights: ArrayLike, protocol: str, ends: tuple[LocalOperations, LocalOperations]
) -> NDArray[np.float64]:
    """Return a pair's weights at the input of the two CNOTs."""
    pair = require_bell_diagonal(name, weights)
    if protocol == "bbpssw":
        return werner_bell_diagonal(bell_diagonal_to_werner(pair))
    if protocol != "dejmps":
        raise UnknownNameError("purification protocol", protocol, ("bbpssw", "dejmps"))
    kept = _both_spared(*(end.one_qubit_depolarising for end in ends))
    return np.asarray(kept * pair[..., [0, 1, 3, 2]] + (1.0 - kept) / 4.0)


def _product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the kept pair's weights times the chance that both pairs have or both lack an X error."""
    i1, x1, y1, z1 = np.moveaxis(first, -1, 0)
    i2, x2, y2, z2 = np.moveaxis(second, -1, 0)
    return np.stack([i1 * i2 + z1 * z2, x1 * x2 + y1 * y2, x1 * y2 + y1 * x2, i1 * z2 + z1 * i2], axis=-1)


def _both_spared(a: Numbers, b: Numbers) -> NDArray[np.float64]:
    """Return the chance `(..., 1)` that neither of two errors strikes, ready to multiply weights."""
    spared = (1.0 - np.asarray(a, dtype=np.float64)) * (1.0 - np.asarray(b, dtype=np.float64))
    return np.asarray(spared[..., None])


def _wrong_verdict(operations_a: LocalOperations, operations_b: LocalOperations) -> NDArray[np.float64]:
    """Return the chance that exactly one of the two bits is misread."""
    a = np.asarray(operations_a.readout_error, dtype=np.float64)
    b = np.asarray(operations_b.readout_error, dtype=np.float64)
    return np.asarray(a * (1.0 - b) + b * (1.0 - a))
