"""What a rule is given and returns, and the one wrapper that every rule runs in.

The wrapper refuses a wrong call (`DomainError`) and survives every wrong update: a row that is not finite, or so large
that its square would overflow, is left out and counts towards the declared attackers. It also sorts the admitted rows
before the rule sees them and gives equal rows equal weights, so that all rules are permutation-equivariant to the last
bit: neither the order of summation nor a tie depends on who sent what.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "COLUMNS",
    "CONTRACTION_FLOOR",
    "AdjustableRule",
    "Admitted",
    "Aggregate",
    "Condition",
    "Core",
    "Estimate",
    "Rule",
    "debiased",
    "draws_of",
    "needs_of",
    "own_parameters",
    "reason_to_refuse",
    "robust_rule",
    "run_core",
    "with_signature",
]

FloatArray = NDArray[np.float64]

MAXIMUM_MAGNITUDE = 1e100
"""Larger entries are rejected as if infinite: their squares, summed over 10^6 parameters, still have to be finite."""

CONTRACTION_FLOOR = 0.1
"""Learners whose certified contraction is smaller are left out: dividing by it would only amplify its error."""

COLUMNS = ("information", "contraction", "shots", "quantum_fisher", "samples")
"""What may be said of each row; a rule that weighs by one of them needs it, all others ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One aggregated update.

    Attributes:
        value: Aggregate, shape (P,); zeros when no row was admitted, so that the training round makes no step.
        weights: Share of each node in the value, shape (n,), nonnegative. They add up to 1, or are all 0 when no row
            was admitted or none was trusted. For coordinate-wise rules: the mean over the coordinates. For rules that
            clip: the share of the clipped update.
        rejected: Rows that were not finite or too large, shape (n,).
        left_out: Rows without usable information or with a contraction below the floor, shape (n,).
        n_byzantine: Number of attackers among the admitted rows that the rule was run with.
        memory: What a rule with a history wants back in the next training round, plain arrays by name; else empty.
    """

    value: FloatArray
    weights: FloatArray
    rejected: NDArray[np.bool_]
    left_out: NDArray[np.bool_]
    n_byzantine: int
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What the bare mathematics of a rule works on: m > 2f sorted, finite rows.

    Attributes:
        updates: Shape (m, P), in lexicographic order.
        information: Certified information of each row, shape (m,), positive; ones when the caller has none.
        n_byzantine: Number f of attackers to withstand.
        claims: Columns that the rule needs, shape (m,) each, positive and finite.
        nodes: Identity of each row's sender, shape (m,).
        root: Trusted update, shape (P,), finite; None when the caller has none.
        memory: What the rule returned in the last training round; empty at first.
    """

    updates: FloatArray
    information: FloatArray
    n_byzantine: int
    claims: Mapping[str, FloatArray] = field(default_factory=dict)
    nodes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    root: FloatArray | None = None
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the bare mathematics of a rule returns.

    Attributes:
        value: Shape (P,).
        weights: Share of each admitted row, shape (m,), nonnegative, in any unit; all 0 when none is trusted.
        memory: What the rule wants back in the next training round.
    """

    value: FloatArray
    weights: FloatArray
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict)


Core = Callable[[Admitted], Estimate]
"""Bare rule: admitted rows to value and shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Nodes that a rule needs to withstand f >= 1 attackers: n >= per_byzantine f + surplus."""

    per_byzantine: int = 2
    surplus: int = 1

    def tolerated(self, n_nodes: int) -> int:
        """Return the largest f that `n_nodes` withstand, at least 0."""
        return max(0, (n_nodes - self.surplus) // self.per_byzantine)


class Rule(Protocol):
    """An aggregation rule."""

    def __call__(
        self,
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
        shots: ArrayLike | None = None,
        quantum_fisher: ArrayLike | None = None,
        samples: ArrayLike | None = None,
        root: ArrayLike | None = None,
        nodes: ArrayLike | None = None,
        memory: Mapping[str, NDArray[Any]] | None = None,
    ) -> Aggregate:
        """Aggregate updates, of which at most `n_byzantine` may be arbitrary.

        Args:
            updates: Shape (n, P).
            n_byzantine: Declared number f of attackers, 0 <= 2f < n; some rules need more nodes and say so.
            information: Certified information of each row, shape (n,).
            contraction: Certified contraction of each row, shape (n,), in (0, 1].
            shots: Circuit executions behind each row, shape (n,).
            quantum_fisher: Quantum Fisher information of each row's states, shape (n,).
            samples: Training samples behind each row, shape (n,).
            root: Update that the aggregator trusts, shape (P,).
            nodes: Identity of each row's sender, shape (n,); default 0..n-1.
            memory: `Aggregate.memory` of the last training round, None at first.

        Raises:
            DomainError: A shape is wrong, there are too few nodes, or something that the rule needs is missing.
        """
        ...


class AdjustableRule(Protocol):
    """An aggregation rule with parameters of its own, which `inspect.signature` lists.

    Attributes:
        needs: Columns, and "root", that it cannot do without.
        refuses: Maps (n, f) with 2f < n and its own parameters to the reason why it refuses, "" if it does not.
    """

    __name__: str
    needs: tuple[str, ...]
    refuses: Callable[..., str]

    def __call__(
        self,
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
        shots: ArrayLike | None = None,
        quantum_fisher: ArrayLike | None = None,
        samples: ArrayLike | None = None,
        root: ArrayLike | None = None,
        nodes: ArrayLike | None = None,
        memory: Mapping[str, NDArray[Any]] | None = None,
        **parameters: Any,
    ) -> Aggregate:
        """Aggregate as a `Rule` does, with the rule's own parameters by name."""
        ...


def robust_rule(
    *,
    needs: tuple[str, ...] = (),
    condition: Condition = Condition(),
    refusal: Callable[..., str] | None = None,
) -> Callable[[Callable[..., Estimate]], AdjustableRule]:
    """Make a rule out of its bare mathematics; the decorator of all rules that need no certified contraction.

    Args:
        needs: Names out of `COLUMNS`, and "root", that the rule cannot do without. Rows where a needed column is not
            positive and finite are left out.
        condition: Nodes that the rule needs.
        refusal: Maps (n, f) and the rule's parameters to the reason why it refuses, "" if it does not; called before
            the updates are looked at, so that no peer can cause it.
    """

    def decorate(core: Callable[..., Estimate]) -> AdjustableRule:
        def refuses(n_nodes: int, n_byzantine: int, **parameters: Any) -> str:
            if n_byzantine > condition.tolerated(n_nodes):
                need = f"n >= {condition.per_byzantine}f + {condition.surplus}"
                return f"Rule `{core.__name__}` needs {need}, but f={n_byzantine}, n={n_nodes}."
            return refusal(n_nodes, n_byzantine, **parameters) if refusal is not None else ""

        def rule(updates: ArrayLike, *, n_byzantine: int, **given: Any) -> Aggregate:
            parameters = own_parameters(rule, given)
            rows = _checked_updates(updates, n_byzantine)
            if reason := refuses(len(rows), n_byzantine, **parameters):
                raise DomainError(reason)
            return run_core(
                lambda admitted: core(admitted, **parameters),
                rows,
                n_byzantine=n_byzantine,
                condition=condition,
                needs=needs,
                columns={name: given.get(name) for name in COLUMNS},
                root=given.get("root"),
                nodes=given.get("nodes"),
                memory=given.get("memory"),
            )

        own = [p for p in inspect.signature(core).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        made = with_signature(rule, core, own)
        made.needs, made.refuses = needs, refuses
        return made

    return decorate


def with_signature(rule: Callable[..., Aggregate], like: Any, own: list[inspect.Parameter]) -> AdjustableRule:
    """Name `rule` after `like` and give it the signature of a rule with `own` further parameters.

    Not functools.wraps: a caller that binds parameters by signature must see the rule's, not the core's.
    """
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(rule, attribute, getattr(like, attribute))
    shared = [p for p in inspect.signature(Rule.__call__).parameters.values() if p.name != "self"]
    setattr(rule, "__signature__", inspect.Signature([*shared, *own]))  # noqa: B010  (mypy knows no such attribute)
    return cast(AdjustableRule, rule)


def own_parameters(rule: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the `given` keywords that are the rule's own; refuse those that it does not know at all.

    Raises:
        TypeError: As for any call with a keyword that is not in the signature.
    """
    known = inspect.signature(rule).parameters
    for name in given:
        if name not in known:
            raise TypeError(f"{rule.__name__}() got an unexpected keyword argument '{name}'")
    return {name: value for name, value in given.items() if name not in _SHARED}


_SHARED = frozenset(inspect.signature(Rule.__call__).parameters)


def draws_of(admitted: Admitted, seed: int) -> tuple[np.random.Generator, dict[str, NDArray[Any]]]:
    """Return the generator of this call to a rule that draws, and the memory by which the next call draws anew.

    Raises:
        DomainError: The memory holds something else.
    """
    n_before = np.asarray(admitted.memory.get("n_draws", 0))
    if n_before.shape != () or not np.issubdtype(n_before.dtype, np.integer) or n_before < 0:
        raise DomainError(f"Argument `memory` must hold a whole number `n_draws`, but holds {n_before}.")
    return np.random.default_rng([seed, int(n_before)]), {"n_draws": np.asarray(n_before + 1)}


def needs_of(rule: Rule) -> tuple[str, ...]:
    """Return the columns, and "root", that a rule cannot do without; none for a rule that does not say."""
    needs: tuple[str, ...] = getattr(rule.func if isinstance(rule, partial) else rule, "needs", ())
    return needs


def reason_to_refuse(rule: Rule, *, n_nodes: int, n_byzantine: int, **parameters: Any) -> str:
    """Say why a rule refuses n nodes with f declared attackers, before there are any updates; "" when it does not."""
    if not 0 <= 2 * n_byzantine < n_nodes:
        return f"Cannot tolerate 2f >= n: f={n_byzantine}, n={n_nodes}."
    bound = rule.keywords if isinstance(rule, partial) else {}
    refuses = getattr(rule.func if isinstance(rule, partial) else rule, "refuses", None)
    own = {name: value for name, value in (bound | parameters).items() if name not in _SHARED}
    return str(refuses(n_nodes, n_byzantine, **own)) if refuses is not None else ""


def debiased(rule: Rule, *, contraction_floor: float = CONTRACTION_FLOOR) -> Rule:
    """Return `rule` run on updates divided by their certified contraction; those below the floor are left out.

    Raises:
        DomainError: The floor is not in (0, 1].
    """
    _check_floor(contraction_floor)
    taken = inspect.signature(rule).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())

    def rule_on_debiased(
        updates: ArrayLike,
        *,
        n_byzantine: int,
        information: ArrayLike | None = None,
        contraction: ArrayLike | None = None,
        shots: ArrayLike | None = None,
        quantum_fisher: ArrayLike | None = None,
        samples: ArrayLike | None = None,
        root: ArrayLike | None = None,
        nodes: ArrayLike | None = None,
        memory: Mapping[str, NDArray[Any]] | None = None,
    ) -> Aggregate:
        rows = _checked_updates(updates, n_byzantine)
        if reason := reason_to_refuse(rule, n_nodes=len(rows), n_byzantine=n_byzantine):
            raise DomainError(reason)
        survival = _checked_column(contraction, "contraction", len(rows))
        usable = survival >= contraction_floor
        kept = np.flatnonzero(usable)
        weights, rejected = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
        value, tolerated, remembered = np.zeros(rows.shape[1]), 0, memory or {}
        if len(kept):
            columns = (information, "information"), (shots, "shots"), (quantum_fisher, "quantum_fisher")
            shares = {
                name: None if column is None else _checked_column(column, name, len(rows))[kept]
                for column, name in (*columns, (samples, "samples"))
            }
            # Only to a rule that weighs by it: any other would divide by it once more.
            if "contraction" in needs_of(rule):
                shares["contraction"] = survival[kept]
            told: dict[str, Any] = shares | {
                "root": root,
                "nodes": _checked_nodes(nodes, len(rows))[kept],
                "memory": memory,
            }
            inner = rule(
                _debias(rows[kept], survival[kept]),
                n_byzantine=_most_tolerated(rule, len(kept), n_byzantine),
                # A user's own rule may take less than the protocol has.
                **{name: column for name, column in told.items() if takes_all or name in taken},
            )
            value, tolerated, remembered = inner.value, inner.n_byzantine, inner.memory
            weights[kept], rejected[kept], usable[kept] = inner.weights, inner.rejected, ~inner.left_out
        return Aggregate(
            value=value,
            weights=weights,
            rejected=rejected,
            left_out=~usable,
            n_byzantine=tolerated,
            memory=remembered,
        )

    # What the rule says beforehand of itself holds for it here too.
    setattr(rule_on_debiased, "needs", needs_of(rule))  # noqa: B010  (mypy knows no such attribute)
    setattr(  # noqa: B010
        rule_on_debiased, "refuses", lambda n, f: reason_to_refuse(rule, n_nodes=n, n_byzantine=f)
    )
    return rule_on_debiased


def _most_tolerated(rule: Rule, n_nodes: int, n_byzantine: int) -> int:
    """Largest f, no more than declared, that the rule withstands with the nodes that are left."""
    accepted = (f for f in range(n_byzantine, 0, -1) if not reason_to_refuse(rule, n_nodes=n_nodes, n_byzantine=f))
    return next(accepted, 0)


def run_core(
    core: Core,
    updates: ArrayLike,
    *,
    n_byzantine: int,
    information: ArrayLike | None = None,
    contraction: ArrayLike | None = None,
    contraction_floor: float = CONTRACTION_FLOOR,
    condition: Condition = Condition(),
    needs: tuple[str, ...] = (),
    columns: Mapping[str, ArrayLike | None] | None = None,
    root: ArrayLike | None = None,
    nodes: ArrayLike | None = None,
    memory: Mapping[str, NDArray[Any]] | None = None,
) -> Aggregate:
    """Check the call, admit the usable rows, run the bare rule on them and give each node its weight.

    Rejected rows lower the number of attackers still to withstand. Rows that are left out (a needed column is not
    usable, or the contraction is below the floor) do not, unless the rows that remain could not withstand that many.
    `information` and `contraction` weigh the rows and are divided out of them; in `columns` they are claims like all
    others.

    Raises:
        DomainError: A shape is wrong, there is no row, 2 n_byzantine >= n, or a needed column is missing.
    """
    rows = _checked_updates(updates, n_byzantine)
    n_nodes, n_parameters = rows.shape
    certified = _checked_column(information, "information", n_nodes)
    survival = _checked_column(contraction, "contraction", n_nodes)
    claims = _checked_claims(columns or {}, needs, n_nodes)
    trusted = _checked_root(root, "root" in needs, n_parameters)
    senders = _checked_nodes(nodes, n_nodes)
    _check_floor(contraction_floor)
    rejected = ~np.all(np.abs(rows) <= MAXIMUM_MAGNITUDE, axis=1)
    usable = (certified > 0) & np.isfinite(certified) & (survival >= contraction_floor)
    for claim in claims.values():
        usable &= (claim > 0) & np.isfinite(claim)
    left_out = ~rejected & ~usable
    members = np.flatnonzero(~rejected & ~left_out)
    tolerated = max(0, min(n_byzantine - int(rejected.sum()), condition.tolerated(len(members))))
    value, weights, remembered = np.zeros(n_parameters), np.zeros(n_nodes), memory or {}
    if len(members):
        debiased_rows = _debias(rows[members], survival[members])
        keys = np.column_stack([debiased_rows, certified[members], *(claim[members] for claim in claims.values())])
        # Equal rows are told apart by sender only where a rule draws by it, or trusts one.
        order = _canonical_order(np.column_stack([keys, senders[members]]))
        admitted = Admitted(
            updates=debiased_rows[order],
            information=certified[members][order],
            n_byzantine=tolerated,
            claims={name: claim[members][order] for name, claim in claims.items()},
            nodes=senders[members][order],
            root=trusted,
            memory=memory or {},
        )
        estimate = core(admitted)
        value, remembered = estimate.value, estimate.memory
        weights[members[order]] = _equal_rows_equal_weights(keys[order], _normalised(estimate.weights))
    return Aggregate(
        value=value,
        weights=weights,
        rejected=rejected,
        left_out=left_out,
        n_byzantine=tolerated,
        memory=remembered,
    )


def _debias(updates: FloatArray, contraction: FloatArray) -> FloatArray:
    return updates / np.minimum(contraction, 1.0)[:, None]


def _normalised(shares: FloatArray) -> FloatArray:
    total = shares.sum()
    return shares / total if total > 0 else np.zeros(len(shares))


def _canonical_order(keys: FloatArray) -> NDArray[np.intp]:
    order = np.argsort(keys[:, 0], kind="stable")
    # Nearly always the first parameter tells all rows apart; comparing whole rows takes fifty times as long.
    if np.all(np.diff(keys[order, 0]) > 0):
        return order
    rows = keys.tolist()
    return np.array(sorted(range(len(rows)), key=rows.__getitem__), dtype=np.intp)


def _equal_rows_equal_weights(keys: FloatArray, weights: FloatArray) -> FloatArray:
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


def _checked_claims(
    columns: Mapping[str, ArrayLike | None], needs: tuple[str, ...], n_nodes: int
) -> dict[str, FloatArray]:
    """Check the shapes of all columns, so that a wrong call is refused by all rules alike; return the needed ones."""
    checked = {name: _checked_column(column, name, n_nodes) for name, column in columns.items()}
    needed = [name for name in needs if name != "root"]
    for name in needed:
        if columns.get(name) is None:
            raise DomainError(f"Argument `{name}` must be given to this rule, but is None.")
    return {name: checked[name] for name in needed}


def _checked_column(column: ArrayLike | None, name: str, n_nodes: int) -> FloatArray:
    if column is None:
        return np.ones(n_nodes)
    values = np.asarray(column, dtype=np.float64)
    if values.shape != (n_nodes,):
        raise DomainError(f"Argument `{name}` must have shape ({n_nodes},), but has shape {values.shape}.")
    return values


def _checked_root(root: ArrayLike | None, is_needed: bool, n_parameters: int) -> FloatArray | None:
    if root is None:
        if is_needed:
            raise DomainError("Argument `root` must be given to this rule, but is None.")
        return None
    trusted = np.asarray(root, dtype=np.float64)
    if trusted.shape != (n_parameters,) or not np.all(np.abs(trusted) <= MAXIMUM_MAGNITUDE):
        found = f"has shape {trusted.shape}" if trusted.shape != (n_parameters,) else "is not"
        raise DomainError(f"Argument `root` must be finite with shape ({n_parameters},), but {found}.")
    return trusted


def _checked_nodes(nodes: ArrayLike | None, n_nodes: int) -> NDArray[np.int64]:
    if nodes is None:
        return np.arange(n_nodes, dtype=np.int64)
    senders = np.asarray(nodes)
    if senders.shape != (n_nodes,) or not np.issubdtype(senders.dtype, np.integer):
        found = f"shape {senders.shape} and type {senders.dtype}"
        raise DomainError(f"Argument `nodes` must be integers of shape ({n_nodes},), but has {found}.")
    if len(np.unique(senders)) < n_nodes:
        raise DomainError("Argument `nodes` must name every node once, but repeats one.")
    return senders.astype(np.int64)


def _check_floor(contraction_floor: float) -> None:
    if not 0 < contraction_floor <= 1:
        raise DomainError(f"Argument `contraction_floor` must be in (0, 1], but is {contraction_floor}.")
