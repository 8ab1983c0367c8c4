"""Bid prices of a slotted network: each link as a one-link problem under what the rest of the network leaves to it.

**Contention.** A waiting request gets the attempts that more valuable ones leave. With the chance of success p, a
class of value v has priority p v. At a node with c attempts a slot, let B be the attempts per slot that serve the
classes of higher priority on all its links, and A those of its own: then the share of slots open to it is 1 - (B + A
/ 2) / c, and on a link the product of the shares of its ends (a mean field: ends are taken as independent). What the
classes get follows from their shares, and the shares from that; the fixed point is found by damped iteration.

**Waiting.** A request that waits D slots is served from them with chance 1 - (1 - p a)^D, where a is its share. So a
pair in stock is worth to it only what it adds: the one-link problem is given `v - v (1 - (1 - p a)^D)` for its class.

**Waste.** With a price on pairs that serve nobody, each pair costs it when it is made and has it refunded when it
serves. By Lagrangian duality the policies of best value at a given utilisation are those of some waste price.

**Routes.** A pair serves a route with pairs of other links. Its class is given the route's value through partners as
they are found in stock, less what these cost, at the rate at which partners are there; all three follow from the
partners' own solutions, in a few rounds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.network.slots import Forecast, SlottedNetwork, ValueKind
from ceas.physics import secret_key_fraction
from ceas.scheduling.age_states import n_age_states
from ceas.scheduling.one_link import OneLinkProblem, OneLinkSolution, solve_bias, solve_one_link
from ceas.scheduling.price_tables import link_block

__all__ = ["LinkPrices", "contention_shares", "fresh_values", "node_loads", "price_links"]

Float64s = npt.NDArray[np.float64]

_MEAN_FIELD_ROUNDS = 30
_LEAST_SHARE = 0.02
# Steps of priorities, as a factor: classes within a step share alike.
_PRIORITY_STEP = 1.25
_PARTNER_ROUNDS = 3
_MOST_STATES = 3500
# A link that is asked more often than this in a slot is asked in every slot; more requests than one find no pair.
_MOST_REQUESTS = 0.98
_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPrices:
    """Solved links: blocks of tables, and how each link reads its own.

    Attributes:
        blocks: Blocks for `SlotPolicy.tables`.
        block_of_link: Block of each link, `(E,)`.
        table_slots: Memory slots of each block.
        n_bins: Age bins of each block.
        age_bin: Slots to a bin of each block.
        n_states: States of each block.
    """

    blocks: list[Float64s]
    block_of_link: npt.NDArray[np.int64]
    table_slots: list[int]
    n_bins: list[int]
    age_bin: list[int]
    n_states: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partners:
    """What a link finds at the other links of its requests' routes, `(E,)`: Werner parameter, chance, cost."""

    werner: Float64s
    chance: Float64s
    cost: Float64s


def value_at(kind: int, werner: Float64s, minimum_fidelity: float) -> Float64s:
    """Return the value of a request of weight 1 by Werner parameter, 0 below its minimum fidelity."""
    if kind == ValueKind.STEP:
        value = np.ones_like(werner)
    elif kind == ValueKind.INFORMATION:
        value = werner**2
    else:
        value = secret_key_fraction(werner)
    return np.where(0.25 + 0.75 * werner >= minimum_fidelity - 1e-12, value, 0.0)


def fresh_values(network: SlottedNetwork, forecast: Forecast, route_hops: npt.NDArray[np.int64]) -> Float64s:
    """Return what a request of each class is worth on each link if all its pairs are new, `(E, C)`."""
    claimed = network.claimed_werner
    columns = []
    for label, hops in enumerate(route_hops):
        # Partners like the link itself: the forecast does not say which they are.
        werner = claimed**hops * network.swap_werner ** (hops - 1)
        value = value_at(int(forecast.kind[label]), werner, float(forecast.minimum_fidelity[label]))
        chance = network.swap_success_probability ** (hops - 1)
        columns.append(forecast.weight[label] * chance * value ** forecast.n_pairs[label])
    return np.stack(columns, axis=1) if columns else np.zeros((network.n_links, 0))


def node_loads(network: SlottedNetwork, rate: Float64s) -> Float64s:
    """Return the attempts a slot that the requests of all links of a node would take, over those it has, `(n,)`."""
    chance = np.maximum(network.success_probability, 1e-9)
    asked = np.zeros(network.n_nodes)
    np.add.at(asked, network.edges, (rate.sum(axis=1) / chance)[:, None])
    return np.asarray(asked / np.maximum(network.attempts_per_slot, 1e-9))


def contention_shares(
    network: SlottedNetwork, forecast: Forecast, fresh: Float64s, *, contention: float = 1.0
) -> Float64s:
    """Return the share of slots in which a class may attempt on a link, `(E, C)`; see the top of this file.

    Args:
        network: The network.
        forecast: Its requests.
        fresh: Values as of `fresh_values`.
        contention: Factor of the attempts taken by others; 0 for none.
    """
    chance = network.success_probability[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.round(np.log(chance * fresh) / math.log(_PRIORITY_STEP))
    levels = np.unique(level[np.isfinite(level)])[::-1]
    a, b = network.edges.T
    limit = np.maximum(network.attempts_per_slot, 1e-9)
    share = np.ones_like(fresh)
    pairs = forecast.rate * forecast.n_pairs
    for _ in range(_MEAN_FIELD_ROUNDS):
        served = 1.0 - (1.0 - chance * share) ** np.maximum(forecast.patience_slots, 0)
        taken = np.where(chance > 0.0, pairs * served / np.maximum(chance, 1e-9), 0.0)
        above = np.zeros(network.n_nodes)
        new = np.ones_like(fresh)
        for one in levels:
            is_level = level == one
            own = np.zeros(network.n_nodes)
            np.add.at(own, network.edges, np.where(is_level, taken, 0.0).sum(axis=1)[:, None])
            open_share = np.clip(1.0 - contention * (above + 0.5 * own) / limit, _LEAST_SHARE, 1.0)
            new = np.where(is_level, (open_share[a] * open_share[b])[:, None], new)
            above += own
        share = 0.5 * (share + new)
    return share


class _Key(NamedTuple):
    """All that a link's problem depends on."""

    success: float
    slots: int
    age_bin: int
    probability: tuple[float, ...]
    value: tuple[tuple[float, ...], ...]
    attempt_price: float
    memory_price: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """A link's problem with its bias at the end of a slot, and between attempt and request."""

    problem: OneLinkProblem
    bias: Float64s
    bias_at_request: Float64s


def _problem(key: _Key) -> OneLinkProblem:
    return OneLinkProblem(
        success_probability=key.success,
        memory_slots=key.slots,
        request_probability=key.probability,
        value=np.array(key.value),
        age_bin=key.age_bin,
        attempt_price=key.attempt_price,
        memory_price=key.memory_price,
        may_replace=True,
    )


@lru_cache(maxsize=8192)
def _priced(key: _Key) -> _Priced:
    problem = _problem(key)
    bias, bias_at_request = solve_bias(problem, tolerance=_TOLERANCE)
    return _Priced(problem=problem, bias=bias, bias_at_request=bias_at_request)


@lru_cache(maxsize=8192)
def _solved(key: _Key) -> OneLinkSolution:
    return solve_one_link(_problem(key), tolerance=_TOLERANCE)


def _on_grid(value: float, ratio: float) -> float:
    """Return the nearest power of `ratio`; 0 stays 0, and a ratio of 1 rounds nothing."""
    if value <= 0.0 or ratio <= 1.0:
        return max(value, 0.0)
    return float(ratio ** round(math.log(value) / math.log(ratio)))


def _table_shape(memory_slots: int, lifetime: int) -> tuple[int, int]:
    """Return slots and age bin of a table: all slots, with the narrowest bins that keep within `_MOST_STATES`."""
    slots, n_bins = memory_slots, lifetime + 1
    while n_age_states(slots, min(n_bins, 4)) > _MOST_STATES:
        slots -= 1
    while n_age_states(slots, n_bins) > _MOST_STATES:
        n_bins -= 1
    return slots, -(-(lifetime + 1) // n_bins)


def _link_values(  # noqa: PLR0917 - all describe one link
    network: SlottedNetwork,
    forecast: Forecast,
    link: int,
    ages: npt.NDArray[np.int64],
    waiting: Float64s,
    route_hops: npt.NDArray[np.int64],
    partners: _Partners,
    ratio: float,
) -> Float64s:
    """Return what a pair of each age adds to each class, `(C, bins)`: its value less what it is worth to wait."""
    coherence = _on_grid(float(network.coherence_slots[link]), ratio if ratio <= 1.0 else 1.0 + 0.2 * (ratio - 1.0))
    werner = network.claimed_werner[link] * np.exp(-ages / coherence)
    rows = np.zeros((len(route_hops), len(ages)))
    for label, hops in enumerate(route_hops):
        n_pairs = int(forecast.n_pairs[label])
        through = werner
        if hops > 1:
            through = werner * (partners.werner[link] * network.swap_werner) ** (hops - 1)
        value = value_at(int(forecast.kind[label]), through, float(forecast.minimum_fidelity[label]))
        chance = network.swap_success_probability ** (hops - 1)
        worth = chance * forecast.weight[label] * value**n_pairs - (hops - 1) * partners.cost[link]
        rows[label] = np.where(value > 0.0, np.maximum(worth - waiting[label], 0.0) / n_pairs, 0.0)
    return rows


def _partners_of(network: SlottedNetwork, forecast: Forecast, solutions: list[OneLinkSolution]) -> _Partners:
    """Return what each link finds at the links that it meets at its nodes, weighted by their requests."""
    found = []
    for link, solution in enumerate(solutions):
        states, stationary = solution.problem.states, solution.stationary
        has_pair = states.n_stored > 0
        chance = float(stationary[has_pair].sum())
        weight = stationary[has_pair] / max(chance, 1e-12)
        freshest = states.ages[has_pair, 0] * solution.problem.age_bin
        decay = np.exp(-freshest / network.coherence_slots[link])
        cost = solution.bias[has_pair] - solution.bias[states.removed[has_pair, 0]]
        found.append((network.claimed_werner[link] * float(weight @ decay), chance, max(float(weight @ cost), 0.0)))
    own = np.array(found)
    rate = forecast.rate.sum(axis=1) + 1e-12
    total, weighted = np.zeros(network.n_nodes), np.zeros((network.n_nodes, 3))
    np.add.at(total, network.edges, rate[:, None])
    np.add.at(weighted, network.edges, (rate[:, None] * own)[:, None, :])
    # Sums over the links at both ends, each without the link itself.
    others = total[network.edges].sum(axis=1) - 2.0 * rate
    mean = weighted[network.edges].sum(axis=1) - 2.0 * rate[:, None] * own
    mean = np.where(others[:, None] > 1e-9, mean / np.maximum(others, 1e-9)[:, None], own)
    return _Partners(werner=mean[:, 0], chance=mean[:, 1], cost=mean[:, 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What the one-link problems are made of besides network, forecast and partners; see `price_links`.

    Attributes:
        waiting: What a request is worth that waits for a pair made for it, `(E, C)`.
        memory: Pairs for which both ends have room, `(E,)`.
    """

    waiting: Float64s
    memory: npt.NDArray[np.int64]
    waste_price: float
    memory_price: Float64s
    route_hops: npt.NDArray[np.int64]
    is_announced: npt.NDArray[np.bool_]
    ratio: float


def _keys_of(network: SlottedNetwork, forecast: Forecast, terms: _Terms, partners: _Partners) -> list[_Key]:
    """Return the problem of each link, in figures that are alike where links nearly are."""
    ratio, route_hops = terms.ratio, terms.route_hops
    figures = (network.claimed_werner, network.coherence_slots, network.lifetime_slots)
    # Links that are alike, but for their rates, have the same values.
    known: dict[tuple[Any, ...], tuple[tuple[float, ...], ...]] = {}
    keys = []
    for link in range(network.n_links):
        slots, age_bin = _table_shape(max(int(terms.memory[link]), 1), int(network.lifetime_slots[link]))
        ages = np.arange(0, network.lifetime_slots[link] + 1, age_bin)
        alike = (*(float(one[link]) for one in (*figures, partners.werner, partners.cost)), age_bin)
        alike = (*alike, terms.waiting[link].tobytes())
        if alike not in known:
            value = _link_values(network, forecast, link, ages, terms.waiting[link], route_hops, partners, ratio)
            value = np.where(value > 0.0, value + terms.waste_price, 0.0)
            known[alike] = tuple(tuple(row) for row in np.round(value, 6).tolist())
        met = np.where(route_hops > 1, _on_grid(float(partners.chance[link]), ratio) ** (route_hops - 1), 1.0)
        rate = np.where(terms.is_announced, 0.0, forecast.rate[link] * forecast.n_pairs * met)
        rate = np.array([_on_grid(float(one), ratio) for one in rate])
        if rate.sum() > _MOST_REQUESTS:
            rate *= _MOST_REQUESTS / rate.sum()
        success = min(_on_grid(float(network.success_probability[link]), ratio), 1.0)
        keys.append(
            _Key(
                success,
                slots,
                age_bin,
                tuple(rate.tolist()),
                known[alike],
                success * terms.waste_price,
                _on_grid(float(terms.memory_price[link]), ratio**2),
            )
        )
    return keys


def _enough_chance(chance: Float64s, forecast: Forecast) -> Float64s:
    """Return the chance that as many pairs come as a request of each class takes before its patience ends, `(E, C)`."""
    patience = np.maximum(forecast.patience_slots, 0)
    missed = np.zeros_like(chance)
    term = (1.0 - chance) ** patience
    for count in range(int(forecast.n_pairs.max(initial=1))):
        missed += np.where(count < forecast.n_pairs, term, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(chance < 1.0, chance / (1.0 - chance), 0.0) * (patience - count) / (count + 1)
        term = term * np.maximum(step, 0.0)
    return np.where(patience < forecast.n_pairs, 0.0, 1.0 - missed)


def price_links(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    share: Float64s,
    fresh: Float64s,
    waste_price: float,
    memory_price: Float64s,
    route_hops: npt.NDArray[np.int64],
    is_announced: npt.NDArray[np.bool_],
    ratio: float,
) -> LinkPrices:
    """Solve every kind of link once.

    Args:
        network: The network.
        forecast: Its requests.
        share: Shares of slots as of `contention_shares`, `(E, C)`.
        fresh: Values as of `fresh_values`, `(E, C)`.
        waste_price: Price of a pair that serves nobody.
        memory_price: Price of a memory slot for one slot of time, by link, `(E,)`.
        route_hops: Links of the routes of each class, `(C,)`.
        is_announced: Classes whose requests are known ahead, and so need no forecast, `(C,)`.
        ratio: Step between rates, chances and prices that are told apart, as a factor; 1 for none.
    """
    a, b = network.edges.T
    n_links = network.n_links
    partners = _Partners(werner=network.claimed_werner, chance=np.ones(n_links), cost=np.zeros(n_links))
    shares = np.round(share, 2) if ratio > 1.0 else share
    chance = network.success_probability[:, None]
    waiting = fresh * _enough_chance(chance * shares, forecast)
    waiting *= np.where(route_hops > 1, (waiting / np.maximum(fresh, 1e-300)) ** (route_hops - 1), 1.0)
    n_rounds = _PARTNER_ROUNDS if bool((route_hops > 1).any()) else 1
    terms = _Terms(
        waiting=waiting,
        memory=np.minimum(network.memory_slots[a], network.memory_slots[b]),
        waste_price=waste_price,
        memory_price=memory_price,
        route_hops=route_hops,
        is_announced=is_announced,
        ratio=ratio,
    )
    keys = _keys_of(network, forecast, terms, partners)
    for _ in range(n_rounds - 1):
        partners = _partners_of(network, forecast, [_solved(key) for key in keys])
        keys = _keys_of(network, forecast, terms, partners)
    solutions = [_priced(key) for key in keys]
    kinds: dict[int, int] = {}
    block_of_link = np.array([kinds.setdefault(id(one), len(kinds)) for one in solutions], dtype=np.int64)
    distinct = list({id(one): one for one in solutions}.values())
    states = [one.problem.states for one in distinct]
    return LinkPrices(
        blocks=[
            link_block(one.binomial, solution.bias, solution.bias_at_request)
            for one, solution in zip(states, distinct, strict=True)
        ],
        block_of_link=block_of_link,
        table_slots=[one.memory_slots for one in states],
        n_bins=[one.n_bins for one in states],
        age_bin=[solution.problem.age_bin for solution in distinct],
        n_states=[one.n_states for one in states],
    )
