"""What no policy can pass that does not see the future: the clairvoyant, charged for what it should not know.

A clairvoyant knows coins and arrivals. It is allowed that, but has to pay a penalty that is zero on average for all who
do not know them, and about the worth of that knowledge for itself. Then the mean over sample paths of

    max over all runs x on the path of  (value of x) - (penalty of x)

is at least the mean value of every policy. For the run of a policy is one of these, so the maximum is at least its
value less its penalty, whose mean is zero. Source: Brown, Smith and Sun, Operations Research 58:785, 2010.

*The penalty* comes from a guess W of what a link's stored pairs and waiting requests are worth. An attempt in slot t on
a link with success probability p pays (W with the new pair - W without) (xi - p), where xi is its coin: the factor
before is known before the coin, so the mean is zero. Every slot pays, for each class of requests, (W with one more - W)
(A - lambda), where A requests of the class come and lambda are expected, with W as after the coins of the slot. Both
are paid by all attempts and all slots, also by those of no use. W may be any function of what a policy knows; the
better it guesses, the lower the bound. Here, requests get the oldest pairs that serve them, by falling weight, while
that is worth more than to wait; the rest of the stock is worth its bias in the one-link problem; and a request that
waits is worth what attempts for it bring that are made while they pay. Attempts and memory have constant prices in
both, in proportion to how much of its node's attempts all requests would take.

*The maximum* is bounded from above by prices of each node's attempts and memory in each slot, as in `bounds_dual`, but
for the path that is seen: with prices, links are on their own, and the best run of each is the longest path of a graph
(`link_graphs`). What is reported holds for all prices that are not negative, so it does not rest on the minimum over
them having been found. They are sought by subgradient steps.

So the figure is a random variable, whose *mean* bounds the mean value of every policy; on a single path a policy may
pass it. With both shares of the penalty at 0 it is a bound on the clairvoyant, for every path.

Requests must each take one pair of one link, and come unannounced. Their counts by link, class and slot must have the
mean of the forecast whatever happened before, as independent Poisson counts do, and coins the chances of the network or
those given. Purification is not bounded. All else that policies may do is: serve late, leave unserved, hold, drop and
replace pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.errors import CapacityError, DomainError
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork, ValueKind
from ceas.physics.domain import require_between, require_non_negative
from ceas.scheduling.age_states import age_states, n_age_states
from ceas.scheduling.bounds_columns import used_value
from ceas.scheduling.bounds_hindsight import freshest_value
from ceas.scheduling.link_graphs import FULL, GraphSpace, LinkInputs, best_value, follow, grow_graph
from ceas.scheduling.one_link import OneLinkProblem, solve_bias

__all__ = ["OnlineBound", "Penalty", "best_penalty", "online_bound"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# Requests of one link that may wait together, and the largest age, for states are sets of bits.
_MOST_WAITING, _MOST_AGE = 63, 60
_FIRST_EDGES, _FIRST_STATES = 20_000, 1_000
# Of the guess: states of a one-link problem, requests a slot, load of a node, step of rates and prices as a factor.
_MOST_BIAS_STATES, _MOST_REQUESTS, _LARGEST_LOAD, _STEP = 3500, 0.98, 3.0, 1.1
_BIAS_TOLERANCE = 1e-6
# Steps of the prices, in units of the mean value of a request: first one, and that of memory over that of attempts.
_PRICE_STEP, _MEMORY_STEP, _MOMENTUM = 0.006, 0.1, 0.7
_FIDELITY_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """How the guess behind the penalty is made; any is valid.

    Attributes:
        attempt_price: Price of an attempt at a node whose attempts the requests would just use up, over the mean value
            of a request.
        memory_price: Price of a memory slot for a time slot at such a node, likewise.
        coin_share: Share of the penalty for coins that is charged.
        arrival_share: Share of the penalty for arrivals that is charged.
    """

    attempt_price: float = 0.06
    memory_price: float = 0.0015
    coin_share: float = 1.0
    arrival_share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("attempt_price", "memory_price"):
            require_non_negative(name, getattr(self, name))


# What is worth a try, the defaults first.
_ATTEMPT_PRICES, _MEMORY_PRICES = (0.06, 0.03, 0.015, 0.007), (0.0015, 0.003, 0.0005)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineBound:
    """A draw of a random variable whose mean bounds the mean value of every policy that does not see the future.

    Attributes:
        value: The draw.
        normalised: The draw over the value of serving all requests of the path through pairs just born.
        attempt_price: Price of an attempt by slot and node, `(n_slots, n)`.
        memory_price: Price of a memory slot by slot and node, `(n_slots, n)`.
        n_edges: Edges of the graphs of all links.
    """

    value: float
    normalised: float
    attempt_price: Float64s
    memory_price: Float64s
    n_edges: int


def online_bound(
    network: SlottedNetwork,
    requests: RequestTable,
    path: SamplePath,
    forecast: Forecast,
    *,
    penalty: Penalty | None = None,
    success_chance: Float64s | None = None,
    steps: int = 100,
    most_edges: int = 20_000_000,
) -> OnlineBound:
    """Return the clairvoyant's bound on a sample path with a penalty for what it should not know.

    Args:
        network: The network.
        requests: The requests, each for one pair of one link and unannounced.
        path: The sample path.
        forecast: The true mean rates of the requests, by link and class; values and patience as the requests have them.
        penalty: How the guess behind the penalty is made. It must not depend on the path.
        success_chance: True chances of the coins, `(n_slots, E)`, where they are not the network's all the time.
        steps: Steps in which prices are sought, at least 1.
        most_edges: Edges of the graphs of all links, above which the bound is refused.

    Raises:
        DomainError: An argument does not fit, or the requests are not of the kind that is bounded.
        CapacityError: The graphs have more edges, or more than 63 requests wait for one link.
    """
    _check(network, requests, path, forecast)
    if steps < 1:
        raise DomainError(f"Argument `steps` must be at least 1, but is {steps}.")
    chance = np.broadcast_to(network.success_probability, path.success.shape)
    if success_chance is not None:
        require_between("success_chance", success_chance, 0.0, 1.0)
        if success_chance.shape != path.success.shape:
            raise DomainError(
                f"Argument `success_chance` must have shape {path.success.shape}, but has {success_chance.shape}."
            )
        chance = success_chance
    guess = _Guess(network, forecast, penalty or Penalty())
    graphs = _graphs(guess, requests, path, chance, most_edges)
    unit = guess.unit * _PRICE_STEP
    value, attempt_price, memory_price = _minimised(network, path.n_slots, guess, graphs, unit, steps)
    whole = freshest_value(network, requests, path.n_slots)
    return OnlineBound(
        value=value,
        normalised=value / whole if whole > 0 else float("nan"),
        attempt_price=attempt_price.T,
        memory_price=memory_price.T,
        n_edges=sum(len(graph.source) for graph, _ in graphs),
    )


def best_penalty(
    cases: Sequence[tuple[SlottedNetwork, RequestTable, SamplePath, Forecast]],
    *,
    attempt_prices: Sequence[float] = _ATTEMPT_PRICES,
    memory_prices: Sequence[float] = _MEMORY_PRICES,
    steps: int = 60,
) -> Penalty:
    """Return the penalty with the lowest mean bound on some cases, which must not be those that it is used for.

    The price of attempts is chosen at the first price of memory, and then the price of memory.

    Raises:
        DomainError: There is no case or no price; or as in `online_bound`.
        CapacityError: As in `online_bound`.
    """
    if not cases or not attempt_prices or not memory_prices:
        raise DomainError("Arguments `cases` and prices must not be empty, but are.")

    @cache
    def mean_bound(attempt: float, memory: float) -> float:
        penalty = Penalty(attempt_price=attempt, memory_price=memory)
        return float(np.mean([online_bound(*case, penalty=penalty, steps=steps).normalised for case in cases]))

    attempt = min(attempt_prices, key=lambda price: mean_bound(price, memory_prices[0]))
    memory = min(memory_prices, key=lambda price: mean_bound(attempt, price))
    return Penalty(attempt_price=attempt, memory_price=memory)


def _check(network: SlottedNetwork, requests: RequestTable, path: SamplePath, forecast: Forecast) -> None:
    """Refuse what the bound does not hold for.

    Raises:
        DomainError: There is such a thing.
    """
    if path.success.shape[1] != network.n_links or forecast.rate.shape[0] != network.n_links:
        raise DomainError(
            f"Arguments `path` and `forecast` must have {network.n_links} links, "
            f"but have {path.success.shape[1]} and {forecast.rate.shape[0]}."
        )
    if bool((np.diff(requests.route_first) > 1).any()) or bool((requests.n_pairs > 1).any()):
        raise DomainError("Argument `requests` must take one pair of one link each, but does not.")
    # Also where none came: a class that is charged for in the slots without it must be bounded in those with it.
    if bool((forecast.n_pairs[forecast.rate.any(axis=0)] > 1).any()):
        raise DomainError("Argument `forecast` must have classes of one pair each, but has not.")
    if bool((requests.announced < requests.arrival).any()) or forecast.quorum > 0:
        raise DomainError("Argument `requests` must come unannounced and count alone, but does not.")
    if len(requests) and (
        bool((requests.request_class >= forecast.rate.shape[1]).any())
        or int(requests.route_link.max()) >= network.n_links
    ):
        raise DomainError("Argument `requests` must have links and classes of the forecast, but has not.")
    label = requests.request_class
    for name in ("weight", "kind", "minimum_fidelity"):
        if bool((getattr(requests, name) != getattr(forecast, name)[label]).any()):
            raise DomainError(f"Argument `requests` must have the forecast's `{name}` by class, but has not.")
    if bool((requests.deadline - requests.arrival != forecast.patience_slots[label]).any()):
        raise DomainError("Argument `requests` must wait as long as the forecast says, but does not.")
    if bool((network.lifetime_slots > _MOST_AGE).any()):
        raise CapacityError(f"pairs that live longer than {_MOST_AGE} slots are not bounded")


# ---- the guess -------------------------------------------------------------------------------------------------------


class _Guess:
    """What stored pairs and waiting requests are taken to be worth, by link.

    Attributes:
        types: Weight, kind and minimum fidelity of each type of requests, by falling weight.
        type_of_class: Type of each class, `(C,)`.
        unit: Mean value of a request through a new pair.
        attempt_price: Constant price of an attempt, `(n,)`.
        memory_price: Constant price of a memory slot, `(n,)`.
    """

    def __init__(self, network: SlottedNetwork, forecast: Forecast, penalty: Penalty) -> None:
        classes = list(
            zip(forecast.weight.tolist(), forecast.kind.tolist(), forecast.minimum_fidelity.tolist(), strict=True)
        )
        self.network, self.forecast, self.penalty = network, forecast, penalty
        self.types = sorted(set(classes), reverse=True)
        self.type_of_class = np.array([self.types.index(one) for one in classes], dtype=np.int64)
        asked = forecast.rate.sum()
        self.unit = float((forecast.rate @ forecast.weight).sum() / asked) if asked > 0.0 else 1.0
        load = np.zeros(network.n_nodes)
        taken = forecast.rate.sum(axis=1) / np.maximum(network.success_probability, 1e-9)
        np.add.at(load, network.edges, taken[:, None])
        load = np.minimum(load / np.maximum(network.attempts_per_slot, 1e-9), _LARGEST_LOAD)
        self.attempt_price = penalty.attempt_price * self.unit * load
        self.memory_price = penalty.memory_price * self.unit * load

    def worth(self, link: int, decayed: Float64s) -> Float64s:
        """Return what a pair that decayed so far is worth to each type, `(Y, ...)`."""
        werner = self.network.initial_werner[link] * np.exp(-decayed)
        fidelity = 0.25 + 0.75 * werner
        rows = [
            weight
            * np.where(fidelity >= least - _FIDELITY_ROUNDING, used_value(np.full(werner.shape, kind), werner), 0.0)
            for weight, kind, least in self.types
        ]
        return np.ascontiguousarray(rows).reshape(len(self.types), *decayed.shape)

    def inputs(
        self, link: int, requests: RequestTable, numbers: Int64s, path: SamplePath, chance: Float64s
    ) -> LinkInputs:
        """Return a link on a sample path with its requests `numbers`."""
        network, forecast = self.network, self.forecast
        lifetime = int(network.lifetime_slots[link])
        ages, slots = np.arange(lifetime + 1), np.arange(path.n_slots)
        if len(path.decay):
            birth = np.maximum(slots[:, None] - ages, 0)
            decayed = path.decay[slots, link][:, None] - path.decay[birth, link]
        else:
            decayed = np.broadcast_to(ages / network.coherence_slots[link], (path.n_slots, lifetime + 1))
        own = self.worth(link, ages / network.coherence_slots[link])
        room = int(network.memory_slots[network.edges[link]].min())
        prices = [float(one[network.edges[link]].sum()) for one in (self.attempt_price, self.memory_price)]
        success = float(network.success_probability[link])
        waiting = _waiting_worth(own[:, 0], success, prices[0], int(forecast.patience_slots.max(initial=0)) + 1)
        table_slots, age_bin = _table_shape(max(room, 1), lifetime)
        binned = np.arange(0, lifetime + 1, age_bin)
        gain = own[self.type_of_class][:, binned] - waiting[self.type_of_class, forecast.patience_slots][:, None]
        bias = _bias(
            success,
            table_slots,
            age_bin,
            _rates_on_grid(forecast.rate[link]),
            tuple(tuple(row) for row in np.round(np.maximum(gain, 0.0), 6).tolist()),
            (_on_grid(prices[0]), _on_grid(prices[1])),
        )
        return LinkInputs(
            success=np.ascontiguousarray(path.success[:, link]),
            chance=np.ascontiguousarray(chance[:, link]),
            lifetime=lifetime,
            slots=room,
            worth=self.worth(link, decayed),
            is_step=all(kind == ValueKind.STEP for _, kind, _ in self.types),
            arrival=requests.arrival[numbers],
            deadline=requests.deadline[numbers],
            kind=self.type_of_class[requests.request_class[numbers]],
            label=requests.request_class[numbers],
            rate=np.ascontiguousarray(forecast.rate[link]),
            type_of_class=self.type_of_class,
            patience=forecast.patience_slots,
            fresh=np.ascontiguousarray(own[:, 0]),
            oldest=np.array([np.flatnonzero(row > 0.0).max(initial=-1) for row in own], dtype=np.int64),
            waiting=waiting,
            binomial=age_states(table_slots, len(binned)).binomial.copy(),
            age_bin=age_bin,
            bias=bias[0],
            bias_at_request=bias[1],
            coin_share=float(self.penalty.coin_share),
            arrival_share=float(self.penalty.arrival_share),
        )


def _waiting_worth(fresh: Float64s, success: float, price: float, most: int) -> Float64s:
    """Return the worth of a waiting request of each type by attempts left, made while they pay, `(Y, most + 1)`."""
    waiting = np.zeros((len(fresh), most + 1))
    for left in range(1, most + 1):
        before = waiting[:, left - 1]
        waiting[:, left] = before + np.maximum(success * (fresh - before) - price, 0.0)
    return waiting


def _table_shape(slots: int, lifetime: int) -> tuple[int, int]:
    """Return slots and age bin of a bias: all slots, in the narrowest bins that keep it small."""
    n_bins = lifetime + 1
    while slots > 1 and n_age_states(slots, min(n_bins, 4)) > _MOST_BIAS_STATES:
        slots -= 1
    while n_bins > 1 and n_age_states(slots, n_bins) > _MOST_BIAS_STATES:
        n_bins -= 1
    return slots, -(-(lifetime + 1) // n_bins)


def _on_grid(value: float) -> float:
    """Return the nearest power of the step, 0 for 0."""
    return float(_STEP ** round(np.log(value) / np.log(_STEP))) if value > 0.0 else 0.0


def _rates_on_grid(rate: Float64s) -> tuple[float, ...]:
    rates = np.array([_on_grid(float(one)) for one in rate])
    return tuple((rates * min(1.0, _MOST_REQUESTS / max(rates.sum(), 1e-300))).tolist())


@lru_cache(maxsize=4096)
def _bias(  # noqa: PLR0917 - all that the problem depends on
    success: float,
    slots: int,
    age_bin: int,
    rate: tuple[float, ...],
    value: tuple[tuple[float, ...], ...],
    prices: tuple[float, float],
) -> tuple[Float64s, Float64s]:
    """Return the bias of a link's stock at the end of a slot, and between attempt and request."""
    problem = OneLinkProblem(
        success_probability=success,
        memory_slots=slots,
        request_probability=rate,
        value=np.array(value),
        age_bin=age_bin,
        attempt_price=prices[0],
        memory_price=prices[1],
        may_replace=True,
    )
    return solve_bias(problem, tolerance=_BIAS_TOLERANCE)


# ---- the graphs ------------------------------------------------------------------------------------------------------


def _space(n_edges: int, n_states: int) -> GraphSpace:
    return GraphSpace(
        source=np.zeros(n_edges, dtype=np.int32),
        target=np.zeros(n_edges, dtype=np.int32),
        reward=np.zeros(n_edges),
        slot=np.zeros(n_edges, dtype=np.int32),
        attempts=np.zeros(n_edges, dtype=np.int8),
        memory=np.zeros(n_edges, dtype=np.int8),
        stock=np.zeros((3, n_states), dtype=np.int64),
        waits=np.zeros((3, n_states), dtype=np.int64),
        number=np.zeros((3, n_states), dtype=np.int64),
        table=np.full((3, 4 * n_states), -1, dtype=np.int64),
    )


def _graphs(
    guess: _Guess, requests: RequestTable, path: SamplePath, chance: Float64s, most_edges: int
) -> list[tuple[GraphSpace, int]]:
    """Return each link's graph with its number of states."""
    link_of = requests.route_link[requests.route_first[:-1]]
    first, last = requests.arrival, requests.deadline
    n_edges, n_states, total = _FIRST_EDGES, _FIRST_STATES, 0
    space = _space(n_edges, n_states)
    graphs = []
    for link in range(guess.network.n_links):
        numbers = np.flatnonzero((link_of == link) & (first < path.n_slots))
        _check_waiting(first[numbers], last[numbers])
        inputs = guess.inputs(link, requests, numbers, path, chance)
        while True:
            states, end = grow_graph(inputs, space)
            if states != FULL:
                break
            if total + n_edges > most_edges:
                raise CapacityError(f"the graphs of the links have more than {most_edges} edges")
            n_edges, n_states = 4 * n_edges, 4 * n_states
            space = _space(n_edges, n_states)
        total += end
        if total > most_edges:
            raise CapacityError(f"the graphs of the links have more than {most_edges} edges")
        kept = {name: getattr(space, name)[:end].copy() for name in GraphSpace._fields[:6]}
        graphs.append((space._replace(**kept), int(states)))
    return graphs


def _check_waiting(arrival: Int64s, deadline: Int64s) -> None:
    """Refuse more requests between the first that still waits and the last that came than a state has bits.

    Raises:
        CapacityError: There are more.
    """
    # Requests come by arrival; the first that waits in a slot is the first whose deadline has not passed.
    still = np.maximum.accumulate(deadline)
    if len(arrival) and int((np.arange(len(arrival)) - np.searchsorted(still, arrival)).max()) >= _MOST_WAITING:
        raise CapacityError(f"more than {_MOST_WAITING} requests wait for one link")


# ---- the prices ------------------------------------------------------------------------------------------------------


def _minimised(  # noqa: PLR0917 - all describe one case
    network: SlottedNetwork,
    n_slots: int,
    guess: _Guess,
    graphs: list[tuple[GraphSpace, int]],
    unit: float,
    steps: int,
) -> tuple[float, Float64s, Float64s]:
    """Return the lowest bound that is found, and its prices by node and slot, `(n, n_slots)`."""
    most = max(n_states for _, n_states in graphs)
    value, choice = np.zeros(most), np.zeros(most, dtype=np.int32)
    attempts, memory = np.zeros(n_slots, dtype=np.int64), np.zeros(n_slots, dtype=np.int64)
    limits = [np.repeat(one[:, None], n_slots, axis=1) for one in (network.attempts_per_slot, network.memory_slots)]
    price = [np.repeat(one[:, None], n_slots, axis=1) for one in (guess.attempt_price, guess.memory_price)]
    heading = [np.zeros(price[0].shape), np.zeros(price[1].shape)]
    best, kept = np.inf, (price[0], price[1])
    for step in range(steps):
        bound = float((limits[0] * price[0]).sum() + (limits[1] * price[1]).sum())
        spare = [limits[0].astype(np.float64), limits[1].astype(np.float64)]
        for link, (graph, n_states) in enumerate(graphs):
            a, b = network.edges[link]
            own = (price[0][a] + price[0][b], price[1][a] + price[1][b])
            bound += best_value(graph, n_states, own[0], own[1], value, choice)
            follow(graph, choice, attempts, memory)
            for node in (a, b):
                spare[0][node] -= attempts
                spare[1][node] -= memory
        if bound < best:
            best, kept = bound, (price[0], price[1])
        # Steps fall to nearly nothing along a half wave.
        length = unit * (0.5 * (1.0 + np.cos(np.pi * step / steps)) + 1e-3)
        heading = [_MOMENTUM * old + new for old, new in zip(heading, spare, strict=True)]
        price = [
            np.maximum(0.0, price[0] - length * heading[0]),
            np.maximum(0.0, price[1] - length * _MEMORY_STEP * heading[1]),
        ]
    return best, kept[0], kept[1]
