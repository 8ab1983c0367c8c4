"""CEAS's policy for slotted networks: bid prices of pairs, from one-link problems that know of their neighbours.

**Prices.** The bias h of a link's stock s, solved for the link alone (`bid_prices.py`), says what a stock is worth.
So a pair costs h(s) - h(s without it) to give away, a new one is worth h(s with it) - h(s), and to replace the oldest
is worth h(s with the new one in its place) - h(s). That decides whether old or fresh pairs go first, and for whom
fresh ones are kept, without a rule for either.

**Serving.** A request is served with the pairs of largest value less cost, if that is more than it may expect from
waiting: v (1 - (1 - p a)^d) with d slots left, chance of success p and share of slots a. The largest gain goes first.
A route needs a pair of each link; their costs add up, and the swapped pair's value counts with the chance of the
swaps.

**Attempts.** A link scores p times the most that a new pair gains: for a waiting request, v times the chance that it
is the pair the request would lack; for stock, by h; for appointments (requests known before they arrive), by the
chance that at most so many fresher pairs come until then: pairs are begun just in time. Links that attempt together
are a matching in the nodes' attempts and memory, of a large total score.

**Memory.** Where a waiting request cannot attempt because its nodes are full, their cheapest pairs are dropped if
they cost less than the request may expect.

With `waste_price` a pair that serves nobody costs something, which moves the policy along the frontier of utilisation
and value. What it neglects: links with a common node trade memory by `memory_price` alone; what waits is not part of
the state of the one-link problems; a link's partners on routes are known by their means alone; what a purified pair
has beyond a new one is weighed outside of them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.physics.domain import require_between, require_non_negative
from ceas.scheduling.bid_prices import LinkPrices, contention_shares, fresh_values, node_loads, price_links
from ceas.scheduling.bid_rules import attempt_by_bid, serve_by_bid
from ceas.scheduling.price_tables import (
    AGE_BIN,
    APPOINTMENT_SHARE,
    AVAILABILITY,
    HAS_MATCHING,
    N_BINS,
    N_BLOCKS,
    N_COLUMNS,
    N_STATES,
    OFFSET,
    PURIFIES,
    QUORUM,
    QUORUM_VALUE,
    RECLAIM,
    TABLE_SLOTS,
    USER_SCALE,
    WASTE_PRICE,
    adjacency_table,
)

__all__ = ["QUORUM_GRID", "RETUNED", "TUNING_GRID", "ceas_slotted"]

# What is worth a try, the defaults first.
TUNING_GRID: Mapping[str, Sequence[float]] = MappingProxyType(
    {
        "waste_price": (0.0, 0.03, 0.1, 0.2, 0.4, 0.6),
        "memory_price": (0.002, 0.0, 0.004),
        "patience_share": (0.5, 0.25),
        "appointment_share": (0.8, 1.0),
    }
)

# The same where rounds of training need a quorum.
QUORUM_GRID: Mapping[str, Sequence[float]] = MappingProxyType({"quorum_price": (0.0, 0.3, 1.0, 3.0), **TUNING_GRID})

# What is tuned again when a change is seen.
RETUNED = ("memory_price", "patience_share")

# Exchanges at a node of many links cost their square; above this, attempts are granted by score alone.
_MOST_LINKS_OF_NODE = 64
# Load of a node above which its memory costs no more.
_LARGEST_LOAD = 3.0


def ceas_slotted(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    waste_price: float = 0.0,
    memory_price: float = 0.002,
    patience_share: float = 0.5,
    contention: float = 1.5,
    appointment_share: float = 0.8,
    reclaim: float = 1.25,
    route_hops: int | Sequence[int] = 1,
    announced_classes: Sequence[int] = (),
    user_scale: float = 0.0,
    quorum_price: float = 0.0,
    purifies: bool = False,
    ratio: float = 1.1,
) -> SlotPolicy:
    """Return CEAS's policy for a slotted network.

    Prices are in units of the mean value of a request through new pairs.

    Args:
        network: The network.
        forecast: Its requests.
        waste_price: Price of a pair that serves nobody, at least 0.
        memory_price: Price of a memory slot for one slot of time at a node without load; it grows with the load of both
            ends.
        patience_share: Part of the slots that contention leaves to a waiting request in which its link attempts for it,
            in [0, 1]; smaller where attempts or memory are scarcer than forecast rates say.
        contention: Factor of the attempts that more valuable requests take, at least 0.
        appointment_share: Part of the slots in which a link attempts for an appointment, in [0, 1].
        reclaim: Pairs are dropped for a waiting request if they cost less than this times what it may expect; 0 drops
            none.
        route_hops: Links of a request's route, for all classes or by class.
        announced_classes: Classes whose requests are all known before they arrive, and need no forecast.
        user_scale: Value after which a user's requests count half, for fairness between users; 0 counts all alike.
        quorum_price: Value of a round that reaches the forecast's quorum, for each worker that it takes, at least 0.
        purifies: Whether pairs may be purified for classes of requests over one link that ask for more than stock has.
        ratio: Step between link figures that are told apart, as a factor of at least 1; 1 solves every link as it is.

    Raises:
        DomainError: An argument is out of its domain, or network and forecast do not fit each other.
    """
    for name, value in (
        ("waste_price", waste_price),
        ("memory_price", memory_price),
        ("contention", contention),
        ("reclaim", reclaim),
        ("user_scale", user_scale),
        ("quorum_price", quorum_price),
    ):
        require_non_negative(name, value)
    require_between("patience_share", patience_share, 0.0, 1.0)
    require_between("appointment_share", appointment_share, 0.0, 1.0)
    if len(forecast.rate) != network.n_links:
        raise DomainError(f"Argument `forecast` must have {network.n_links} links, but has {len(forecast.rate)}.")
    if ratio < 1.0:
        raise DomainError(f"Argument `ratio` must be at least 1, but is {ratio}.")
    hops, is_announced = _class_columns(forecast.rate.shape[1], route_hops, announced_classes)
    fresh = fresh_values(network, forecast, hops)
    asked = forecast.rate * forecast.n_pairs
    scale = float((asked * fresh).sum() / asked.sum()) if asked.sum() > 0.0 else 1.0
    loads = np.minimum(node_loads(network, asked), _LARGEST_LOAD)
    share = patience_share * contention_shares(network, forecast, fresh, contention=contention)
    prices = price_links(
        network,
        forecast,
        share=share,
        fresh=fresh,
        waste_price=waste_price * scale,
        memory_price=memory_price * scale * (1.0 + loads[network.edges].sum(axis=1)),
        route_hops=hops,
        is_announced=is_announced,
        ratio=ratio,
    )
    head = adjacency_table(network.edges, network.n_nodes)
    most_links = int(np.bincount(network.edges.ravel(), minlength=1).max())
    alike = {
        WASTE_PRICE: waste_price * scale,
        RECLAIM: reclaim,
        APPOINTMENT_SHARE: appointment_share,
        HAS_MATCHING: float(most_links <= _MOST_LINKS_OF_NODE),
        USER_SCALE: user_scale,
        QUORUM: forecast.quorum,
        PURIFIES: float(purifies),
        QUORUM_VALUE: quorum_price * scale * forecast.quorum,
    }
    by_class = (
        share,
        is_announced,
        asked * ~is_announced,
        (4.0 * forecast.minimum_fidelity - 1.0) / 3.0,
        forecast.weight,
    )
    return SlotPolicy(
        name="ceas",
        attempt=attempt_by_bid,
        serve=serve_by_bid,
        parameters=_parameters(asked.shape, prices, first_block=len(head), alike=alike, by_class=by_class),
        tables=np.concatenate([head, *prices.blocks]),
    )


def _class_columns(
    n_classes: int, route_hops: int | Sequence[int], announced_classes: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return by class the links of its routes and whether its requests are announced, `(C,)` each."""
    hops = np.asarray(route_hops, dtype=np.int64)
    if hops.shape not in ((), (n_classes,)) or bool((hops < 1).any()):
        raise DomainError(f"Argument `route_hops` must be at least 1, one number or {n_classes}, but is {route_hops}.")
    if any(not 0 <= label < n_classes for label in announced_classes):
        raise DomainError(f"Argument `announced_classes` must lie below {n_classes}, but does not.")
    is_announced = np.zeros(n_classes, dtype=np.bool_)
    is_announced[list(announced_classes)] = True
    return np.broadcast_to(hops, (n_classes,)), is_announced


def _parameters(
    shape: tuple[int, ...],
    prices: LinkPrices,
    *,
    first_block: int,
    alike: Mapping[int, float],
    by_class: Sequence[npt.NDArray[Any]],
) -> npt.NDArray[np.float64]:
    """Return what the rules see of each link, a row a link.

    Args:
        shape: Links and classes.
        prices: Blocks of tables and which link has which.
        first_block: Where the first block stands in the tables.
        alike: Columns that are the same for all links.
        by_class: Blocks of columns with one a class, `(E, C)` or `(C,)` each.
    """
    n_links, n_classes = shape
    offset = first_block + np.cumsum([0, *(len(block) for block in prices.blocks)])
    parameters = np.zeros((n_links, N_COLUMNS + N_BLOCKS * n_classes))
    by_block = {
        OFFSET: offset[:-1],
        TABLE_SLOTS: prices.table_slots,
        N_BINS: prices.n_bins,
        AGE_BIN: prices.age_bin,
        N_STATES: prices.n_states,
    }
    for column, values in by_block.items():
        parameters[:, column] = np.asarray(values, dtype=np.float64)[prices.block_of_link]
    for column, one in alike.items():
        parameters[:, column] = one
    for block, columns in enumerate(by_class):
        parameters[:, AVAILABILITY + block * n_classes : AVAILABILITY + (block + 1) * n_classes] = columns
    return parameters
