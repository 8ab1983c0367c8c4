"""What nobody can pass on a given sample path: the clairvoyant's linear programme.

All coins of the path and all requests are known in advance; choose services (columns, see `bounds_columns`) so that

1. no request is served twice;
2. no success is used twice;
3. in no slot more successes are used at a node than it can attempt: a pair that serves was born from an attempt;
4. in no slot more pairs that serve are in a node's memory during the attempts than it has slots. A pair born in slot b
   and used in slot s is there in the attempts of the slots b, ..., s: its memory is reserved when it is attempted, and
   free again after the service of slot s.

Every run of every policy gives a feasible point worth at least as much as what it delivered: take a column for each
service. Requests that are announced, wrong claims about fidelities and drifting parameters change what policies know,
not what is possible; values here are those of the true Werner parameters. Attempts that fail, pairs that expire, are
discarded or replaced are in no column, and only take attempts and memory in addition. (After an attempt that replaces a
pair, the pair that is gone serves nobody.) So the integer optimum is what a clairvoyant could deliver, and the linear
programme's is at least that. Announcements change nothing for either.

Two things need a word. *Swaps that may fail:* with `swaps="seen"` the clairvoyant sees their coins too and only makes
those that succeed, which bounds every single run. With `swaps="expected"` a column stands for the expected number of
tries of a service, which costs its pairs each time, delivers its value with the chance that all swaps succeed, and
counts as a service with that chance. Coins of swaps are independent of all that decided to try, so this bounds the mean
over the swap coins of any policy, but not each single run. *Purification* makes pairs better than they were born. With
`purification=True` every pair is taken to be perfect and without need of memory. It still takes a success of its own.
As a tree of purifications needs one memory slot more for each level, at least one success of it lies at most K levels,
so at most K of the longest lifetimes, back. Without, the bound holds for policies that do not purify.

The reported value is certified by the prices: for any prices y >= 0 of the constraints A x <= b and columns in [0, u],
`v x <= b y + sum_c u_c max(0, v_c - (A^T y)_c)`. It does not rest on the solver having found the optimum. For the same
reason long horizons may be solved in overlapping windows of time: the prices of their middles, put together, are
evaluated on the whole programme.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import LinearConstraint, linprog, milp

from ceas.errors import CapacityError, CeasError, DomainError
from ceas.network.slots import RequestTable, SamplePath, SlottedNetwork
from ceas.scheduling.bounds_columns import Coins, Columns, expanded, path_coins, serving_columns, used_value

__all__ = ["HindsightBound", "freshest_value", "hindsight_bound"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# Part of a column below or above which it counts as not, or wholly, taken.
_WHOLE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightBound:
    """A bound on the value that any policy delivers on one sample path.

    Attributes:
        value: The bound.
        normalised: The bound over the value of serving all requests of the path through pairs just born; policies'
            values are made comparable by the same divisor.
        attempt_price: What one more attempt would be worth, by slot and node, `(n_slots, n)`.
        memory_price: What one more memory slot would be worth, by slot and node, `(n_slots, n)`.
        solver_value: Value of the solver's own optimum, over all windows with their overlaps; the bound when there is
            one.
        n_columns: Columns.
        n_rows: Constraints that could bind.
        fractional_share: Part of the columns that the optimum takes in part; NaN with several windows.
        n_split: Requests whose combinations were too many to list and are overestimated.
        n_windows: Windows of time.
        is_integer: Whether columns were taken whole: the true clairvoyant, if no request was split.
    """

    value: float
    normalised: float
    attempt_price: Float64s
    memory_price: Float64s
    solver_value: float
    n_columns: int
    n_rows: int
    fractional_share: float
    n_split: int
    n_windows: int
    is_integer: bool


def freshest_value(network: SlottedNetwork, requests: RequestTable, n_slots: int) -> float:
    """Return the value of serving every request that arrives in the first `n_slots` slots through pairs just born."""
    hops = np.diff(requests.route_first)
    log_werner = np.log(np.maximum(network.initial_werner, 1e-300))[requests.route_link]
    route = np.add.reduceat(log_werner, requests.route_first[:-1]) if len(requests) else np.zeros(0)
    werner = np.exp(route) * network.swap_werner ** (hops - 1)
    is_enough = 0.25 + 0.75 * werner >= requests.minimum_fidelity - 1e-12
    value = np.where(is_enough, used_value(requests.kind, werner), 0.0) ** requests.n_pairs * requests.weight
    return float(value[requests.arrival < n_slots].sum())


def hindsight_bound(
    network: SlottedNetwork,
    requests: RequestTable,
    path: SamplePath,
    *,
    integer: bool = False,
    swaps: Literal["seen", "expected"] = "seen",
    purification: bool = False,
    most_combinations: int = 500,
    most_columns: int = 60_000,
) -> HindsightBound:
    """Return the clairvoyant's bound on a sample path.

    Args:
        network: The network; its success probabilities and claims do not matter.
        requests: The requests.
        path: The sample path.
        integer: Take columns whole: the true clairvoyant, for small cases.
        swaps: Whether the clairvoyant sees the coins of the swaps, a bound on every run, or only their chance, a
            tighter bound on the mean over them.
        purification: Also bound policies that purify; much looser.
        most_combinations: Combinations of pairs up to which a tuple or route is listed; above, it is overestimated.
        most_columns: Columns up to which the programme is solved at once; above, in windows of time.

    Raises:
        DomainError: Requests or path do not fit the network, or `integer` is asked for together with expected swaps.
        CapacityError: An integer programme has more than `most_columns` columns.
        CeasError: The solver found no optimum.
    """
    if path.success.shape[1] != network.n_links:
        raise DomainError(
            f"Argument `path` must have coins for {network.n_links} links, but has {path.success.shape[1]}."
        )
    if len(requests) and bool(((requests.route_link < 0) | (requests.route_link >= network.n_links)).any()):
        raise DomainError(f"Argument `requests` must name links below {network.n_links}, but does not.")
    if integer and swaps == "expected" and network.swap_success_probability < 1.0:
        raise DomainError("Argument `integer` must be False with expected swaps, but is True.")
    if purification:
        network, path = _purified(network, path)
    chance = network.swap_success_probability if swaps == "expected" else 1.0
    coins = path_coins(path)
    columns, n_split = serving_columns(
        network, requests, path, coins, most_combinations=most_combinations, swap_chance=chance
    )
    program = _program(network, requests, coins, columns, with_memory=not purification)
    whole = freshest_value(network, requests, path.n_slots)
    shape = (path.n_slots, network.n_nodes)
    if integer:
        if len(columns) > most_columns:
            raise CapacityError(f"an integer bound with {len(columns)} columns exceeds the {most_columns} allowed")
        value, taken = _solve_integer(program)
        price, solver_value, n_windows = np.zeros(program.n_rows), value, 1
    else:
        price, taken, solver_value, n_windows = _windowed_prices(program, columns, requests, path.n_slots, most_columns)
        value = _certified(program, price)
    used = taken > _WHOLE
    fractional = float((used & (taken < 1.0 - _WHOLE)).mean()) if len(taken) else (0.0 if n_windows == 1 else np.nan)
    return HindsightBound(
        value=value,
        normalised=value / whole if whole > 0 else float("nan"),
        attempt_price=program.prices(price, _ATTEMPT, shape),
        memory_price=program.prices(price, _MEMORY, shape),
        solver_value=solver_value,
        n_columns=len(columns),
        n_rows=program.n_rows,
        fractional_share=fractional,
        n_split=n_split,
        n_windows=n_windows,
        is_integer=integer,
    )


def _purified(network: SlottedNetwork, path: SamplePath) -> tuple[SlottedNetwork, SamplePath]:
    """Return the network and path with perfect pairs that live as long as a tree of purifications can reach back."""
    if not bool((network.claimed_werner > 0).all()):
        raise DomainError("Argument `network` must claim positive Werner parameters to bound purification.")
    gained = np.log(1.0 / network.claimed_werner) * network.coherence_slots
    room = np.minimum(network.memory_slots[network.edges[:, 0]], network.memory_slots[network.edges[:, 1]])
    reach = (network.lifetime_slots + np.floor(gained) + 1.0) * np.maximum(room, 1)
    perfect = replace(
        network,
        initial_werner=np.ones(network.n_links),
        coherence_slots=np.full(network.n_links, np.inf),
        lifetime_slots=np.minimum(reach, path.n_slots).astype(np.int64),
    )
    return perfect, replace(path, decay=np.zeros((0, network.n_links)))


# ---- the programme ---------------------------------------------------------------------------------------------------

_REQUEST, _COIN, _ATTEMPT, _MEMORY, _GROUP = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """Maximise `value x` subject to `matrix x <= limit` and x in [0, most].

    Each row has a kind, a slot in which it lies and, for attempts and memory, a node.
    """

    value: Float64s
    most: Float64s
    matrix: Any
    limit: Float64s
    kind: Int64s
    slot: Int64s
    node: Int64s

    @property
    def n_rows(self) -> int:
        return len(self.limit)

    def prices(self, price: Float64s, kind: int, shape: tuple[int, int]) -> Float64s:
        """Return the prices of one kind of row by slot and node."""
        table = np.zeros(shape)
        rows = self.kind == kind
        table[self.slot[rows], self.node[rows]] = price[rows]
        return table


class _Rows:
    """Rows under construction: entries of a sparse matrix and what is known of each row."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._entries: list[tuple[Int64s, Int64s, Float64s]] = []
        self._about: list[tuple[Float64s, Int64s, Int64s, Int64s]] = []

    def add(  # noqa: PLR0917 - a row is all of these
        self,
        kind: int,
        key: Int64s,
        column: Int64s,
        factor: Float64s | float,
        limit: Float64s | float,
        slot: Int64s,
        node: Int64s | int = -1,
    ) -> None:
        """Add the rows of one kind; entries with the same key share a row, about which each of them says the same."""
        found, first, row = np.unique(key, return_index=True, return_inverse=True)
        self._entries.append((row + self.n_rows, column, np.broadcast_to(np.float64(factor), column.shape)))
        limits = np.broadcast_to(np.float64(limit), key.shape)[first]
        nodes = np.broadcast_to(np.int64(node), key.shape)[first]
        self._about.append((limits, np.full(len(found), kind), slot[first], nodes))
        self.n_rows += len(found)

    def program(self, value: Float64s, most: Float64s) -> "_Program":
        """Return the programme with these rows."""
        row, column, factor = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        limit, kind, slot, node = (np.concatenate(part) for part in zip(*self._about, strict=True))
        matrix = sparse.csr_matrix((factor, (row, column)), shape=(self.n_rows, len(value)))
        return _Program(value=value, most=most, matrix=matrix, limit=limit, kind=kind, slot=slot, node=node)


def _program(
    network: SlottedNetwork, requests: RequestTable, coins: Coins, columns: Columns, *, with_memory: bool
) -> _Program:
    """Return the linear programme of the columns, without the rows that cannot bind."""
    rows = _Rows()
    serves = np.flatnonzero(columns.request >= 0)
    request = columns.request[serves]
    several = np.bincount(request, minlength=1)[request] > 1
    serves, request = serves[several], request[several]
    rows.add(_REQUEST, request, serves, columns.chance[serves], 1.0, requests.arrival[request])
    owner = np.repeat(np.arange(len(columns)), np.diff(columns.member_first))
    coin = columns.member_coin
    shared = np.bincount(coin, minlength=1)[coin] > 1
    rows.add(_COIN, coin[shared], owner[shared], 1.0, 1.0, coins.slot[coin[shared]])
    _add_attempts(rows, network, coins, owner, coin)
    if with_memory:
        _add_memory(rows, network, coins, columns, owner, coin)
    shares, owners = np.flatnonzero(columns.group >= 0), columns.group_owner
    rows.add(
        _GROUP,
        np.concatenate([columns.group[shares], np.arange(len(owners))]),
        np.concatenate([shares, owners]),
        np.concatenate([np.ones(len(shares)), -columns.group_need]),
        0.0,
        columns.service[np.concatenate([shares, owners])],
    )
    # A split request may be tried until it succeeds; whatever takes a coin happens once.
    most = np.where(np.diff(columns.member_first) == 0, 1.0 / np.maximum(columns.chance, 1e-9), 1.0)
    return rows.program(columns.value, most)


def _add_attempts(rows: _Rows, network: SlottedNetwork, coins: Coins, owner: Int64s, coin: Int64s) -> None:
    """Add a row for each node and slot with more usable successes than attempts."""
    ends = network.edges[coins.link]
    used = np.unique(coin)
    key = ends * coins.n_slots + coins.slot[:, None]
    crowd = np.bincount(key[used].ravel(), minlength=network.n_nodes * coins.n_slots)
    is_tight = crowd > np.repeat(network.attempts_per_slot, coins.n_slots)
    member, side = np.nonzero(is_tight[key[coin]])
    node = ends[coin[member], side]
    rows.add(
        _ATTEMPT,
        key[coin[member], side],
        owner[member],
        1.0,
        network.attempts_per_slot[node].astype(np.float64),
        coins.slot[coin[member]],
        node,
    )


def _add_memory(  # noqa: PLR0917 - all describe the same memberships
    rows: _Rows, network: SlottedNetwork, coins: Coins, columns: Columns, owner: Int64s, coin: Int64s
) -> None:
    """Add a row for each node and slot that more pairs than fit could want to be stored in."""
    ends = network.edges[coins.link]
    n_slots = coins.n_slots
    # The last slot up to which any column keeps a coin's pair, -1 for none.
    reach = np.full(len(coins.slot), -1, dtype=np.int64)
    np.maximum.at(reach, coin, columns.service[owner])
    used = np.flatnonzero(reach >= 0)
    change = np.zeros((network.n_nodes, n_slots + 1), dtype=np.int64)
    for side in (0, 1):
        np.add.at(change, (ends[used, side], coins.slot[used]), 1)
        np.add.at(change, (ends[used, side], reach[used] + 1), -1)
    is_tight = np.cumsum(change, axis=1) > network.memory_slots[:, None]
    member, slot = expanded(coins.slot[coin], columns.service[owner] + 1)
    found = []
    for side in (0, 1):
        kept = is_tight[ends[coin[member], side], slot]
        found.append((ends[coin[member[kept]], side], slot[kept], owner[member[kept]]))
    node, at, column = (np.concatenate(part) for part in zip(*found, strict=True))
    limit = network.memory_slots[node].astype(np.float64)
    rows.add(_MEMORY, node * n_slots + at, column, 1.0, limit, at, node)


# ---- solving ---------------------------------------------------------------------------------------------------------


def _certified(program: _Program, price: Float64s) -> float:
    """Return the bound that prices prove, whatever they are."""
    left = program.value - program.matrix.T @ price
    return float(program.limit @ price + np.maximum(left, 0.0) @ program.most)


def _solve_integer(program: _Program) -> tuple[float, Float64s]:
    """Return the proven bound on the integer optimum, and the columns it takes."""
    n_columns = len(program.value)
    if n_columns == 0:
        return 0.0, np.zeros(0)
    constraints = [LinearConstraint(program.matrix, -np.inf, program.limit)] if program.n_rows else []
    found = milp(
        -program.value,
        integrality=np.ones(n_columns),
        bounds=(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise CeasError(f"the solver found no clairvoyant: {found.message}")
    return -float(found.mip_dual_bound), found.x


def _solve(program: _Program, rows: Int64s, columns: Int64s) -> tuple[Float64s, Float64s, float]:
    """Return the prices of the rows, the columns that are taken and the value, of a part of the programme."""
    if len(columns) == 0 or len(rows) == 0:
        value = program.value[columns]
        return np.zeros(len(rows)), np.ones(len(columns)), float(value @ program.most[columns])
    matrix = program.matrix[rows][:, columns].tocsc()
    bounds = np.stack([np.zeros(len(columns)), program.most[columns]], axis=1)
    found = linprog(-program.value[columns], A_ub=matrix, b_ub=program.limit[rows], bounds=bounds, method="highs")
    if found.x is None or found.status != 0:
        raise CeasError(f"the solver found no hindsight bound: {found.message}")
    return np.maximum(0.0, -found.ineqlin.marginals), found.x, -float(found.fun)


def _windowed_prices(
    program: _Program, columns: Columns, requests: RequestTable, n_slots: int, most_columns: int
) -> tuple[Float64s, Float64s, float, int]:
    """Return prices of all rows, the columns taken (none with several windows), the solver's value, the windows.

    Each window is solved with a margin on both sides, as long as columns reach; the prices of its middle count.
    """
    n_columns = len(columns)
    if n_columns <= most_columns:
        price, taken, value = _solve(program, np.arange(program.n_rows), np.arange(n_columns))
        return price, taken, value, 1
    arrival = _column_arrivals(columns, requests)
    margin = int((columns.service - arrival).max()) + 1
    # Middles so long that window and margins together stay within the limit, but no shorter than a margin.
    length = max(int(most_columns / n_columns * n_slots) - 2 * margin, margin, 1)
    price = np.zeros(program.n_rows)
    total, n_windows = 0.0, 0
    for begin in range(0, n_slots, length):
        inside = (arrival >= begin - margin) & (arrival < begin + length + margin)
        chosen = np.flatnonzero(inside)
        wanted = np.flatnonzero(np.diff(program.matrix[:, chosen].indptr))
        found, _, value = _solve(program, wanted, chosen)
        middle = (program.slot[wanted] >= begin) & (program.slot[wanted] < begin + length)
        price[wanted[middle]] = found[middle]
        total += value
        n_windows += 1
    return price, np.zeros(0), total, n_windows


def _column_arrivals(columns: Columns, requests: RequestTable) -> Int64s:
    """Return the arrival of the request that each column is about."""
    request = columns.request.copy()
    shares = np.flatnonzero(columns.group >= 0)
    request[shares] = columns.request[columns.group_owner[columns.group[shares]]]
    return np.asarray(requests.arrival[request])
