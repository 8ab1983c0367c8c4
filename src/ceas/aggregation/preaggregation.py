"""Pre-aggregations, and their composition with rules.

Each is linear once its choices are made: new rows = matrix @ rows. The matrix tells whose update is in which new row,
so that a composed rule still reports the share of every node. Unlike some implementations, none changes its argument.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.aggregation.admission import (
    COLUMNS,
    AdjustableRule,
    Admitted,
    Estimate,
    Rule,
    draws_of,
    needs_of,
    reason_to_refuse,
    robust_rule,
)
from ceas.aggregation.distances import squared_distances
from ceas.errors import DomainError

__all__ = [
    "Preaggregation",
    "adaptive_robust_clipping",
    "bucketing",
    "clipping",
    "nearest_neighbor_mixing",
    "preceded_by",
]

FloatArray = NDArray[np.float64]


class Preaggregation(Protocol):
    """Replaces the updates by others before a rule sees them; parameters of its own as in `inspect.signature`.

    Attributes:
        matrix: Maps the admitted rows (m, P) to the matrix (m', m) of the new rows in terms of them.
        refusal: Maps (n, f) and the parameters to the reason why it refuses, "" if it does not.
        n_rows: Maps n and the parameters to the number of new rows.
    """

    __name__: str
    matrix: Callable[..., FloatArray]
    refusal: Callable[..., str]
    n_rows: Callable[..., int]

    def __call__(self, updates: ArrayLike, *, n_byzantine: int, **parameters: Any) -> FloatArray:
        """Return the new rows, shape (m', P), for finite updates (m, P).

        Raises:
            DomainError: An entry is not finite, the shape is wrong, 2f >= n, or a parameter is outside its range.
        """
        ...


def _never(_n_nodes: int, _n_byzantine: int, **_parameters: Any) -> str:
    return ""


def _as_many(n_nodes: int, **_parameters: Any) -> int:
    return n_nodes


def _preaggregation(
    refusal: Callable[..., str] = _never, n_rows: Callable[..., int] = _as_many
) -> Callable[[Callable[..., FloatArray]], Preaggregation]:
    def decorate(matrix: Callable[..., FloatArray]) -> Preaggregation:
        def preaggregation(updates: ArrayLike, *, n_byzantine: int, **parameters: Any) -> FloatArray:
            rows = np.asarray(updates, dtype=np.float64)
            if rows.ndim != 2 or not np.all(np.isfinite(rows)):
                raise DomainError(f"Argument `updates` must be finite with shape (n, P), but has shape {rows.shape}.")
            if not 0 <= 2 * n_byzantine < len(rows):
                raise DomainError(f"Cannot tolerate 2f >= n: f={n_byzantine}, n={len(rows)}.")
            if reason := refusal(len(rows), n_byzantine, **parameters):
                raise DomainError(reason)
            admitted = Admitted(
                updates=rows,
                information=np.ones(len(rows)),
                n_byzantine=n_byzantine,
                nodes=np.arange(len(rows), dtype=np.int64),
            )
            return matrix(admitted, **parameters) @ rows

        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(preaggregation, attribute, getattr(matrix, attribute))
        shared = list(inspect.signature(preaggregation).parameters.values())[:2]
        signature = inspect.Signature([*shared, *_own(matrix)])
        attributes = {"matrix": matrix, "refusal": refusal, "n_rows": n_rows, "__signature__": signature}
        for attribute, value in attributes.items():
            setattr(preaggregation, attribute, value)
        return cast(Preaggregation, preaggregation)

    return decorate


def _own(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """List the keyword-only parameters that are not those of every rule or pre-aggregation."""
    shared = inspect.signature(Rule.__call__).parameters
    return [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in shared
    ]


@_preaggregation()
def nearest_neighbor_mixing(admitted: Admitted) -> FloatArray:
    """Replace every update by the mean of its n - f nearest ones, itself included; ties go to the earlier row.

    Source:
        Allouah et al., AISTATS 2023, arXiv 2302.01772.
    """
    n_nodes, n_kept = len(admitted.updates), len(admitted.updates) - admitted.n_byzantine
    nearest = np.argsort(squared_distances(admitted.updates), axis=1, kind="stable")[:, :n_kept]
    mixing = np.zeros((n_nodes, n_nodes))
    np.put_along_axis(mixing, nearest, 1 / n_kept, axis=1)
    return mixing


def _n_buckets(n_nodes: int, *, size: int = 2, **_parameters: Any) -> int:
    return -(-n_nodes // size)


def _bucketing_mistake(n_nodes: int, n_byzantine: int, *, size: int = 2, seed: int = 0) -> str:
    if size < 1 or seed < 0:
        return f"Argument `size` must be at least 1 and `seed` at least 0, but are {size} and {seed}."
    n_buckets = _n_buckets(n_nodes, size=size)
    if 2 * n_byzantine >= n_buckets:
        return (
            f"Bucketing needs more than 2f buckets, but f={n_byzantine} and n={n_nodes} in buckets of {size} make "
            f"{n_buckets}."
        )
    return ""


@_preaggregation(_bucketing_mistake, _n_buckets)
def bucketing(admitted: Admitted, *, size: int = 2, seed: int = 0) -> FloatArray:
    """Replace the updates by the means of random buckets of `size`; the last may be smaller.

    Every attacker spoils one bucket, so that more than 2f of them are needed: f < n/(2 size). Who shares a bucket
    depends on the seed, on the number of calls before (`memory`) and on who the nodes are, never on what they send.

    Source:
        Karimireddy, He and Jaggi, ICLR 2022, arXiv 2006.09365, Algorithm 1.
    """
    n_nodes = len(admitted.updates)
    drawn = draws_of(admitted, seed)[0].permutation(n_nodes)
    bucket = np.empty(n_nodes, dtype=np.intp)
    bucket[np.argsort(admitted.nodes, kind="stable")[drawn]] = np.arange(n_nodes) // size
    members = (bucket[None, :] == np.arange(bucket.max() + 1)[:, None]).astype(np.float64)
    shares: FloatArray = members / members.sum(axis=1, keepdims=True)
    return shares


def _clipping_mistake(_n_nodes: int, _n_byzantine: int, *, norm: float = 2.0) -> str:
    return "" if norm > 0 else f"Argument `norm` must be above 0, but is {norm}."


@_preaggregation(_clipping_mistake)
def clipping(admitted: Admitted, *, norm: float = 2.0) -> FloatArray:
    """Shorten every update that is longer than `norm` (in units of the updates) to that length."""
    return _shortened(np.linalg.norm(admitted.updates, axis=1), norm)


@_preaggregation()
def adaptive_robust_clipping(admitted: Admitted) -> FloatArray:
    """Shorten the floor(2f/n (n - f)) longest updates to the length of the next one (ARC).

    Source:
        Allouah et al., ICLR 2025, arXiv 2405.14432, Algorithm 2.
    """
    n_nodes, f = len(admitted.updates), admitted.n_byzantine
    lengths = np.linalg.norm(admitted.updates, axis=1)
    n_clipped = 2 * f * (n_nodes - f) // n_nodes
    return _shortened(lengths, float(np.sort(lengths)[n_nodes - n_clipped - 1]))


def _shortened(lengths: FloatArray, longest: float) -> FloatArray:
    # Where all lengths are 0, there is nothing to shorten.
    return np.diag(longest / np.maximum(lengths, longest) if longest > 0 else (lengths <= 0).astype(np.float64))


def _shares(matrix: FloatArray) -> FloatArray:
    """Return the share of each old row in each new one; a row shortened to nothing is still its sender's."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares: FloatArray = np.where(totals > 0, matrix / np.where(totals > 0, totals, 1.0), np.eye(*matrix.shape))
    return shares


def preceded_by(preaggregation: Preaggregation, rule: Rule, *, name: str = "", module: str = "") -> AdjustableRule:
    """Return `rule` run on what `preaggregation` makes of the updates.

    The result has the parameters of both. It reports the share of each *node*: that of every new row in the value,
    times that of the node in the row. Memory and root pass through; so do the nodes if the new rows are still one each.
    Claims do not, as those of a mixture are not known: a rule that needs them cannot be preceded, and one that can use
    them, such as `ceas`, takes all new rows as equally informative.

    Args:
        preaggregation: One out of this module.
        rule: Any rule, also one that is preceded by something.
        name: Name of the result, default "preaggregation_rule".
        module: Where the result is kept under that name, for pickling.

    Raises:
        DomainError: The rule needs claims.
    """
    needs = needs_of(rule)
    if claimed := [column for column in needs if column in COLUMNS]:
        raise DomainError(f"Argument `rule` must not weigh by claims, but needs {', '.join(claimed)}.")
    own = {parameter.name: parameter for parameter in (*_own(rule), *_own(preaggregation))}
    before, after = ({p.name for p in _own(function)} for function in (preaggregation, rule))

    def refusal(n_nodes: int, n_byzantine: int, **parameters: Any) -> str:
        mixing, inner = _among(before, parameters), _among(after, parameters)
        if reason := preaggregation.refusal(n_nodes, n_byzantine, **mixing):
            return reason
        n_rows = preaggregation.n_rows(n_nodes, **mixing)
        return reason_to_refuse(rule, n_nodes=n_rows, n_byzantine=n_byzantine, **inner)

    def core(admitted: Admitted, **parameters: Any) -> Estimate:
        matrix = preaggregation.matrix(admitted, **_among(before, parameters))
        inner = cast(AdjustableRule, rule)(
            matrix @ admitted.updates,
            n_byzantine=admitted.n_byzantine,
            root=admitted.root,
            nodes=admitted.nodes if len(matrix) == len(admitted.nodes) else None,
            memory=admitted.memory,
            **_among(after, parameters),
        )
        memory = {**inner.memory, **(draws_of(admitted, 0)[1] if "seed" in before else {})}
        return Estimate(value=inner.value, weights=inner.weights @ _shares(matrix), memory=memory)

    label = getattr(rule, "__name__", "rule")
    core.__name__ = core.__qualname__ = name or f"{preaggregation.__name__}_{label}"
    core.__module__ = module or core.__module__
    core.__doc__ = f"Apply `{label}` to what `{preaggregation.__name__}` makes of the updates; see both."
    signature = [inspect.Parameter("admitted", inspect.Parameter.POSITIONAL_OR_KEYWORD), *own.values()]
    setattr(core, "__signature__", inspect.Signature(signature))  # noqa: B010  (mypy knows no such attribute)
    return robust_rule(needs=needs, refusal=refusal)(core)


def _among(names: set[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in names}
