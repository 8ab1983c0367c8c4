"""What a rule is given and returns, and the one wrapper that every rule runs in.

The wrapper refuses a wrong call (`DomainError`) and survives every wrong update: a row that is not finite, or so large
that its square would overflow, is left out and counts towards the declared attackers. It also sorts the admitted rows
before the rule sees them and gives equal rows equal weights, so that all rules are permutation-equivariant to the last
bit: neither the order of summation nor a tie depends on who sent what.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = ["CONTRACTION_FLOOR", "Admitted", "Aggregate", "Core", "Rule", "debiased", "robust_rule", "run_core"]

FloatArray = NDArray[np.float64]

MAXIMUM_MAGNITUDE = 1e100
"""Larger entries are rejected as if infinite: their squares, summed over 10^6 parameters, still have to be finite."""

CONTRACTION_FLOOR = 0.1
"""Learners whose certified contraction is smaller are left out: dividing by it would only amplify its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One aggregated update.

    Attributes:
        value: Aggregate, shape (P,); zeros when no row was admitted, so that the training round makes no step.
        weights: Share of each node in the value, shape (n,), nonnegative. They add up to 1, or are all 0 when no row
            was admitted. For coordinate-wise rules: the mean over the coordinates.
        rejected: Rows that were not finite or too large, shape (n,).
        left_out: Rows without usable information or with a contraction below the floor, shape (n,).
        n_byzantine: Number of attackers among the admitted rows that the rule was run with.
    """

    value: FloatArray
    weights: FloatArray
    rejected: NDArray[np.bool_]
    left_out: NDArray[np.bool_]
    n_byzantine: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What the bare mathematics of a rule works on: m > 2f sorted, finite rows.

    Attributes:
        updates: Shape (m, P), in lexicographic order.
        information: Certified information of each row, shape (m,), positive; ones when the caller has none.
        n_byzantine: Number f of attackers to withstand.
    """

    updates: FloatArray
    information: FloatArray
    n_byzantine: int


Core = Callable[[Admitted], tuple[FloatArray, FloatArray]]
"""Bare rule: admitted rows to (value (P,), weights (m,))."""


class Rule(Protocol):
    """An aggregation rule."""

    def __call__(
        self,
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
    ) -> Aggregate:
        """Aggregate updates (n, P), of which at most `n_byzantine` may be arbitrary."""
        ...


def robust_rule(core: Core) -> Rule:
    """Make a rule that uses the updates alone out of its bare mathematics; the decorator of the unweighted rules."""

    def rule(
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
    ) -> Aggregate:
        # Weighting is not this rule's business, but a wrong call is refused by all rules alike.
        rows = _checked_updates(updates, n_byzantine)
        for name, column in (("information", information), ("contraction", contraction)):
            _checked_column(column, name, len(rows))
        return run_core(core, rows, n_byzantine=n_byzantine)

    # Not functools.wraps: a caller that binds parameters by signature must see the rule's, not the core's.
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(rule, attribute, getattr(core, attribute))
    return rule


def debiased(rule: Rule, *, contraction_floor: float = CONTRACTION_FLOOR) -> Rule:
    """Return `rule` run on updates divided by their certified contraction; those below the floor are left out.

    Raises:
        DomainError: The floor is not in (0, 1].
    """
    _check_floor(contraction_floor)

    def rule_on_debiased(
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
    ) -> Aggregate:
        rows = _checked_updates(updates, n_byzantine)
        survival = _checked_column(contraction, "contraction", len(rows))
        usable = survival >= contraction_floor
        kept = np.flatnonzero(usable)
        weights, rejected = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
        value, tolerated = np.zeros(rows.shape[1]), 0
        if len(kept):
            share = None if information is None else _checked_column(information, "information", len(rows))[kept]
            inner = rule(
                _debias(rows[kept], survival[kept]),
                n_byzantine=min(n_byzantine, (len(kept) - 1) // 2),
                information=share,
            )
            value, tolerated = inner.value, inner.n_byzantine
            weights[kept], rejected[kept], usable[kept] = inner.weights, inner.rejected, ~inner.left_out
        return Aggregate(value=value, weights=weights, rejected=rejected, left_out=~usable, n_byzantine=tolerated)

    return rule_on_debiased


def run_core(
    core: Core,
    updates: ArrayLike,
    *,
    n_byzantine: int,
    information: ArrayLike | None = None,
    contraction: ArrayLike | None = None,
    contraction_floor: float = CONTRACTION_FLOOR,
) -> Aggregate:
    """Check the call, admit the usable rows, run the bare rule on them and give each node its weight.

    Rejected rows lower the number of attackers still to withstand. Rows that are left out (no information, or below
    the contraction floor) do not, unless the rows that remain could not withstand that many.

    Raises:
        DomainError: A shape is wrong, there is no row, or 2 n_byzantine >= n.
    """
    rows = _checked_updates(updates, n_byzantine)
    n_nodes, n_parameters = rows.shape
    certified = _checked_column(information, "information", n_nodes)
    survival = _checked_column(contraction, "contraction", n_nodes)
    _check_floor(contraction_floor)
    rejected = ~np.all(np.abs(rows) <= MAXIMUM_MAGNITUDE, axis=1)
    left_out = ~rejected & ~((certified > 0) & np.isfinite(certified) & (survival >= contraction_floor))
    members = np.flatnonzero(~rejected & ~left_out)
    tolerated = max(0, min(n_byzantine - int(rejected.sum()), (len(members) - 1) // 2))
    value, weights = np.zeros(n_parameters), np.zeros(n_nodes)
    if len(members):
        usable = _debias(rows[members], survival[members])
        order = _canonical_order(usable, certified[members])
        admitted = Admitted(updates=usable[order], information=certified[members][order], n_byzantine=tolerated)
        value, shares = core(admitted)
        weights[members[order]] = _equal_rows_equal_weights(admitted, shares / shares.sum())
    return Aggregate(value=value, weights=weights, rejected=rejected, left_out=left_out, n_byzantine=tolerated)


def _debias(updates: FloatArray, contraction: FloatArray) -> FloatArray:
    return updates / np.minimum(contraction, 1.0)[:, None]


def _canonical_order(updates: FloatArray, information: FloatArray) -> NDArray[np.intp]:
    keys = np.column_stack([updates, information]).tolist()
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)


def _equal_rows_equal_weights(admitted: Admitted, weights: FloatArray) -> FloatArray:
    keys = np.column_stack([admitted.updates, admitted.information])
    group = np.concatenate([[0], np.cumsum(np.any(keys[1:] != keys[:-1], axis=1))]).astype(np.intp)
    shared: FloatArray = (np.bincount(group, weights) / np.bincount(group))[group]
    return shared


def _checked_updates(updates: ArrayLike, n_byzantine: int) -> FloatArray:
    rows = np.asarray(updates, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] == 0:
        raise DomainError(f"Argument `updates` must have shape (n, P) with n, P >= 1, but has shape {rows.shape}.")
    if n_byzantine < 0:
        raise DomainError(f"Argument `n_byzantine` must be at least 0, but is {n_byzantine}.")
    if 2 * n_byzantine >= len(rows):
        raise DomainError(f"Cannot tolerate 2f >= n: f={n_byzantine}, n={len(rows)}.")
    return rows


def _checked_column(column: ArrayLike | None, name: str, n_nodes: int) -> FloatArray:
    if column is None:
        return np.ones(n_nodes)
    values = np.asarray(column, dtype=np.float64)
    if values.shape != (n_nodes,):
        raise DomainError(f"Argument `{name}` must have shape ({n_nodes},), but has shape {values.shape}.")
    return values


def _check_floor(contraction_floor: float) -> None:
    if not 0 < contraction_floor <= 1:
        raise DomainError(f"Argument `contraction_floor` must be in (0, 1], but is {contraction_floor}.")
