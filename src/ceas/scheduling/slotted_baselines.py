"""The baseline schedulers of the slotted network: no prices and no look ahead beyond the forecast rates.

Each is an order of requests, pairs and attempts for the rules that all of them share. All take the same options. A link
makes pairs ahead of demand while it holds fewer than `pairs_per_link`, and only if requests are forecast for it. With
`overwrites`, a link whose nodes' memory is full attempts in place of its oldest pair that is not needed, and a link at
its limit does so when nothing else is wanted. With `drops`, the oldest pair of any link that no request needs gives way
where a node's memory is full and a link of that node is missed.

`TUNING_GRIDS` holds for each baseline the values of its parameters that are worth a try, the default first.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.physics.domain import require_between, require_non_negative
from ceas.scheduling.slotted_rules import (
    ATTEMPT_ORDER,
    COLOUR,
    CUTOFF,
    DEMAND,
    DROPS,
    FILLS,
    LEAST_CHANCE,
    LIMIT,
    N_COLOURS,
    N_TABLES,
    OVERWRITES,
    PAIR_ORDER,
    PENDING_SHARE,
    PURE_WERNER,
    PURIFIES,
    REQUEST_ORDER,
    URGENCY,
    VALUE_SHARE,
    AttemptOrder,
    PairOrder,
    RequestOrder,
    attempt_in_order,
    serve_in_order,
)
from ceas.scheduling.slotted_tdma import colour_links

__all__ = [
    "BASELINES",
    "TUNING_GRIDS",
    "UNLIMITED",
    "best_cutoff",
    "best_fit",
    "demand_aware",
    "edf",
    "freshest_first",
    "greedy_fidelity",
    "max_weight",
    "oldest_first",
    "on_demand_best_fit",
    "on_demand_edf",
    "online_edf",
    "purifying",
    "random",
    "static_tdma",
]

PairsPerLink: TypeAlias = int | npt.NDArray[np.int64]
# A limit or an age that no link or pair reaches.
UNLIMITED = 1 << 30
# A Werner parameter that no pair has.
_NOBODY = 2.0

_PAIR_ORDERS = {"oldest": PairOrder.OLDEST, "freshest": PairOrder.FRESHEST, "random": PairOrder.RANDOM}


def random(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return the policy that attempts at random and serves random requests with random pairs that qualify.

    Raises:
        DomainError: `pairs_per_link` is negative or of a wrong shape, or `forecast` of another network.
    """
    orders = (RequestOrder.RANDOM, PairOrder.RANDOM, AttemptOrder.RANDOM)
    return _policy(
        "random", orders, network, forecast, pairs_per_link=pairs_per_link, overwrites=overwrites, drops=drops
    )


def oldest_first(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return first in, first out: random attempts; requests as they arrived, with the oldest pairs that qualify.

    Raises:
        DomainError: `pairs_per_link` is negative or of a wrong shape, or `forecast` of another network.
    """
    orders = (RequestOrder.ARRIVAL, PairOrder.OLDEST, AttemptOrder.RANDOM)
    return _policy(
        "oldest_first", orders, network, forecast, pairs_per_link=pairs_per_link, overwrites=overwrites, drops=drops
    )


def freshest_first(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return last in, first out: the link with the stalest stock attempts; the freshest pairs are used.

    Raises:
        DomainError: `pairs_per_link` is negative or of a wrong shape, or `forecast` of another network.
    """
    orders = (RequestOrder.ARRIVAL, PairOrder.FRESHEST, AttemptOrder.STALE)
    return _policy(
        "freshest_first", orders, network, forecast, pairs_per_link=pairs_per_link, overwrites=overwrites, drops=drops
    )


def static_tdma(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    fills: bool = False,
    pair_order: str = "oldest",
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return time division: links are coloured, and each colour attempts in its turn; earliest deadlines are served.

    Args:
        network: The network.
        forecast: Its forecast.
        fills: Whether attempts that the colour of a slot leaves unused go to other links, at random.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        pairs_per_link: Pairs that a link holds at most when it makes them ahead.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: `pair_order` or `pairs_per_link` is out of its domain, or `forecast` of another network.
    """
    colour, n_colours = colour_links(network.edges, network.attempts_per_slot)
    return _policy(
        "static_tdma",
        (RequestOrder.DEADLINE, _pair_order(pair_order), AttemptOrder.TIME_SLOT),
        network,
        forecast,
        pairs_per_link=pairs_per_link,
        overwrites=overwrites,
        drops=drops,
        colour=colour,
        more={N_COLOURS: n_colours, FILLS: float(fills)},
    )


def edf(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pair_order: str = "oldest",
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return earliest deadline first, in attempts and service; pairs are made ahead where nothing is missed.

    Args:
        network: The network.
        forecast: Its forecast.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        pairs_per_link: Pairs that a link holds at most when it makes them ahead.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: `pair_order` or `pairs_per_link` is out of its domain, or `forecast` of another network.
    """
    orders = (RequestOrder.DEADLINE, _pair_order(pair_order), AttemptOrder.FIRST_REQUEST)
    return _policy("edf", orders, network, forecast, pairs_per_link=pairs_per_link, overwrites=overwrites, drops=drops)


def on_demand_edf(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pair_order: str = "oldest",
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return earliest deadline first that only attempts for requests it knows of.

    Raises:
        DomainError: `pair_order` is unknown, or `forecast` of another network.
    """
    orders = (RequestOrder.DEADLINE, _pair_order(pair_order), AttemptOrder.FIRST_REQUEST)
    return _policy("on_demand_edf", orders, network, forecast, pairs_per_link=0, overwrites=overwrites, drops=drops)


def online_edf(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    least_chance: float = 0.0,
    pair_order: str = "oldest",
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return online earliest deadline first that defers, retries and drops, and only attempts for requests it knows of.

    In every slot the missed requests are taken by deadline. One whose nodes are busy is deferred to a later slot, one
    whose attempt failed is tried again, and one whose pairs cannot all be made by its deadline any more is dropped: no
    attempt is made for it. What else makes a pair that it can use may still serve it.

    Args:
        network: The network.
        forecast: Its forecast.
        least_chance: A request is dropped when the chance to make its missing pairs of a link in time, with an attempt
            in every slot, is below this; 0 drops nothing that can still be served.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: `least_chance` or `pair_order` is out of its domain, or `forecast` of another network.

    Source:
        Tran, Cicconetti, Conti, Passarella, arXiv 2605.28795, whose reservations are whole packets over whole routes;
        the rule here decides link by link and slot by slot, as the slotted network lets pairs wait for each other.
    """
    require_between("least_chance", least_chance, 0.0, 1.0)
    orders = (RequestOrder.DEADLINE, _pair_order(pair_order), AttemptOrder.FIRST_REQUEST)
    # What cannot be finished has no chance at all; any positive number drops it.
    more = {LEAST_CHANCE: max(least_chance, 1e-12)}
    return _policy(
        "online_edf", orders, network, forecast, pairs_per_link=0, overwrites=overwrites, drops=drops, more=more
    )


def on_demand_best_fit(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    urgency: float = 1.0,
    pair_order: str = "oldest",
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return the weight-aware policy that only attempts for requests it knows of.

    It serves the largest weight first, with the oldest pair that qualifies; links attempt for the most missed weight.

    Args:
        network: The network.
        forecast: Its forecast.
        urgency: A missed request counts with its weight over this power of the slots that it has left.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: An argument is out of its domain, or `forecast` of another network.
    """
    policy = best_fit(
        network, forecast, urgency=urgency, pair_order=pair_order, pairs_per_link=0, overwrites=overwrites, drops=drops
    )
    return replace(policy, name="on_demand_best_fit")


def best_fit(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    urgency: float = 1.0,
    pair_order: str = "oldest",
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return `on_demand_best_fit` that also makes pairs ahead where nothing is missed.

    Args:
        network: The network.
        forecast: Its forecast.
        urgency: A missed request counts with its weight over this power of the slots that it has left.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        pairs_per_link: Pairs that a link holds at most when it makes them ahead.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: An argument is out of its domain, or `forecast` of another network.
    """
    require_non_negative("urgency", urgency)
    orders = (RequestOrder.WEIGHT, _pair_order(pair_order), AttemptOrder.PENDING)
    return _policy(
        "best_fit",
        orders,
        network,
        forecast,
        pairs_per_link=pairs_per_link,
        overwrites=overwrites,
        drops=drops,
        more={URGENCY: urgency},
    )


def max_weight(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    value_share: float = 0.0,
    pair_order: str = "oldest",
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return MaxWeight: the largest missed backlog times chance of success attempts, the longest queue is served.

    A route has one queue, whose backlog counts with the chance that its swaps succeed.

    Args:
        network: The network.
        forecast: Its forecast.
        value_share: 0 counts requests, 1 adds up their weights; between them a mixture.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        pairs_per_link: Pairs that a link holds at most when it makes them ahead.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: An argument is out of its domain, or `forecast` of another network.

    Source:
        Tassiulas and Ephremides, IEEE Transactions on Automatic Control 37:1936, 1992, with the greedy maximal matching
        in place of the maximum one.
    """
    require_between("value_share", value_share, 0.0, 1.0)
    orders = (RequestOrder.BACKLOG, _pair_order(pair_order), AttemptOrder.BACKLOG)
    more = {VALUE_SHARE: value_share}
    return _policy(
        "max_weight",
        orders,
        network,
        forecast,
        pairs_per_link=pairs_per_link,
        overwrites=overwrites,
        drops=drops,
        more=more,
    )


def greedy_fidelity(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return the policy that seeks fidelity: the best links attempt first, the best pairs serve who gets most of them.

    Raises:
        DomainError: `pairs_per_link` is negative or of a wrong shape, or `forecast` of another network.
    """
    orders = (RequestOrder.FIDELITY, PairOrder.FRESHEST, AttemptOrder.FIDELITY)
    return _policy(
        "greedy_fidelity", orders, network, forecast, pairs_per_link=pairs_per_link, overwrites=overwrites, drops=drops
    )


def demand_aware(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pending_share: float = 0.0,
    pair_order: str = "oldest",
    pairs_per_link: PairsPerLink = UNLIMITED,
    overwrites: bool = False,
    drops: bool = False,
) -> SlotPolicy:
    """Return the policy that attempts by forecast demand, sum of w_c lambda_c, over one more than the stock.

    Requests are served by weight.

    Args:
        network: The network.
        forecast: Its forecast.
        pending_share: Adds this times the missed weight of known requests to the demand.
        pair_order: Which pair that qualifies is taken: `"oldest"` or `"freshest"`.
        pairs_per_link: Pairs that a link holds at most when it makes them ahead.
        overwrites: Whether old pairs give way where memory is full.
        drops: Whether pairs that no request needs give way to a link that is missed.

    Raises:
        DomainError: An argument is out of its domain, or `forecast` of another network.
    """
    require_non_negative("pending_share", pending_share)
    orders = (RequestOrder.WEIGHT, _pair_order(pair_order), AttemptOrder.DEMAND)
    more = {PENDING_SHARE: pending_share}
    return _policy(
        "demand_aware",
        orders,
        network,
        forecast,
        pairs_per_link=pairs_per_link,
        overwrites=overwrites,
        drops=drops,
        more=more,
    )


def best_cutoff(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    cutoff_share: float = 1.0,
    base: str = "edf",
    **parameters: Any,
) -> SlotPolicy:
    """Return another baseline that discards pairs at an age below their lifetime.

    Args:
        network: The network.
        forecast: Its forecast.
        cutoff_share: Part of its link's lifetime after which an unused pair is discarded, in (0, 1].
        base: Name of the other baseline.
        **parameters: Its parameters.

    Raises:
        DomainError: `cutoff_share` or a parameter is out of its domain, or the base has no such parameter.
        UnknownNameError: There is no baseline `base`.
    """
    require_between("cutoff_share", cutoff_share, 0.0, 1.0)
    if base not in BASELINES or base == "best_cutoff":
        raise UnknownNameError("base of the cutoff policy", base, [name for name in BASELINES if name != "best_cutoff"])
    known = inspect.signature(BASELINES[base]).parameters
    for name in parameters:
        if name not in known:
            raise DomainError(f"Argument `{name}` must be a parameter of `{base}`, but is not.")
    policy = BASELINES[base](network, forecast, **parameters)
    by_link = policy.parameters.copy()
    by_link[:, CUTOFF] = np.ceil(cutoff_share * network.lifetime_slots)
    return replace(policy, name="best_cutoff", parameters=by_link)


def _pair_order(name: str) -> PairOrder:
    if name not in _PAIR_ORDERS:
        raise DomainError(f"Argument `pair_order` must be one of {', '.join(_PAIR_ORDERS)}, but is `{name}`.")
    return _PAIR_ORDERS[name]


def _policy(
    name: str,
    orders: tuple[RequestOrder, PairOrder, AttemptOrder],
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    pairs_per_link: PairsPerLink,
    overwrites: bool,
    drops: bool,
    colour: npt.NDArray[np.int64] | None = None,
    more: Mapping[int, float] = MappingProxyType({}),
) -> SlotPolicy:
    n_links = network.n_links
    if forecast.rate.shape[0] != n_links:
        raise DomainError(f"Argument `forecast` must have rates for {n_links} links, but has {len(forecast.rate)}.")
    limit = np.asarray(pairs_per_link)
    if limit.shape not in ((), (n_links,)) or bool((limit < 0).any()):
        raise DomainError(
            f"Argument `pairs_per_link` must be at least 0, one number or of shape ({n_links},), but is not."
        )
    parameters = np.zeros((n_links, 5))
    parameters[:, PURE_WERNER] = _NOBODY
    parameters[:, LIMIT] = limit
    parameters[:, CUTOFF] = UNLIMITED
    parameters[:, DEMAND] = forecast.rate @ forecast.weight
    parameters[:, COLOUR] = -1 if colour is None else colour
    tables = np.zeros(N_TABLES)
    tables[N_COLOURS] = 1
    for place, value in (
        (REQUEST_ORDER, orders[0]),
        (PAIR_ORDER, orders[1]),
        (ATTEMPT_ORDER, orders[2]),
        (OVERWRITES, overwrites),
        (DROPS, drops),
        *more.items(),
    ):
        tables[place] = value
    return SlotPolicy(name=name, attempt=attempt_in_order, serve=serve_in_order, parameters=parameters, tables=tables)


def purifying(policy: SlotPolicy, network: SlottedNetwork, forecast: Forecast) -> SlotPolicy:
    """Return a baseline that purifies: two pairs of a link, where stock is of no use to a class it is asked for.

    Of the classes that want pairs of a link, but for which a new pair is too bad a slot after its birth, the one with
    the least demand on fidelity counts. The two freshest pairs that nobody took are purified if only then one of them
    will do for it in the next slot.
    """
    least = (4.0 * forecast.minimum_fidelity - 1.0) / 3.0
    next_slot = network.claimed_werner * np.exp(-1.0 / network.coherence_slots)
    is_short = (forecast.rate > 0.0) & (next_slot[:, None] < least)
    parameters, tables = policy.parameters.copy(), policy.tables.copy()
    parameters[:, PURE_WERNER] = np.where(is_short, least, _NOBODY).min(axis=1)
    tables[PURIFIES] = 1.0
    return replace(policy, parameters=parameters, tables=tables)


BASELINES: Mapping[str, Callable[..., SlotPolicy]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            random,
            oldest_first,
            freshest_first,
            static_tdma,
            edf,
            on_demand_edf,
            online_edf,
            on_demand_best_fit,
            best_fit,
            max_weight,
            greedy_fidelity,
            best_cutoff,
            demand_aware,
        )
    }
)

_LIMITS: Sequence[int] = (UNLIMITED, 1, 2, 3)
# The search takes parameter after parameter, so what helps most stands first, in reach of a small budget.
_DROPS: Mapping[str, Sequence[Any]] = MappingProxyType({"drops": (False, True)})
_STOCK: Mapping[str, Sequence[Any]] = MappingProxyType(
    {**_DROPS, "pairs_per_link": (*_LIMITS, 0), "overwrites": (False, True)}
)
_PAIRS: Mapping[str, Sequence[Any]] = MappingProxyType({"pair_order": ("oldest", "freshest")})

TUNING_GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = MappingProxyType(
    {
        "random": _STOCK,
        "oldest_first": _STOCK,
        "freshest_first": _STOCK,
        "static_tdma": {**_STOCK, "fills": (False, True), **_PAIRS},
        "edf": {**_STOCK, **_PAIRS},
        "on_demand_edf": {**_DROPS, **_PAIRS, "overwrites": (False, True)},
        "online_edf": {**_DROPS, **_PAIRS, "overwrites": (False, True), "least_chance": (0.0, 0.1, 0.2, 0.3, 0.5)},
        "on_demand_best_fit": {
            **_DROPS,
            "urgency": (1.0, 0.5, 0.0, 2.0),
            **_PAIRS,
            "overwrites": (False, True),
        },
        "best_fit": {**_STOCK, "urgency": (1.0, 0.0), **_PAIRS},
        "max_weight": {**_STOCK, "value_share": (0.0, 0.5, 1.0), **_PAIRS},
        "greedy_fidelity": _STOCK,
        "best_cutoff": {
            **_DROPS,
            "cutoff_share": (1.0, 0.75, 0.5, 0.25),
            "base": ("edf", "max_weight", "best_fit"),
            "pairs_per_link": (UNLIMITED, 1),
        },
        "demand_aware": {**_STOCK, "pending_share": (0.0, 0.1, 1.0), **_PAIRS},
    }
)
"""Values of the parameters that are tried for each baseline, the default first."""
