"""CEAS's policy for slotted networks."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ceas.errors import DomainError
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.physics.domain import require_between, require_non_negative
from ceas.scheduling.bid_prices import contention_shares, fresh_values, node_loads, price_links
from ceas.scheduling.price_tables import (
    AGE_BIN,
    APPOINTMENT_SHARE,
    AVAILABILITY,
    HAS_MATCHING,
    N_BINS,
    N_COLUMNS,
    N_STATES,
    OFFSET,
    RECLAIM,
    TABLE_SLOTS,
    USER_SCALE,
    WASTE_PRICE,
    adjacency_table,
)
from ceas.scheduling.bid_rules import attempt_by_bid, serve_by_bid

__all__ = ["TUNING_GRID", "ceas_slotted"]

# What is worth a try, the defaults first.
TUNING_GRID: Mapping[str, Sequence[float]] = MappingProxyType(
    {"waste_price": (0.0, 0.03, 0.1, 0.2, 0.4, 0.6), "memory_price": (0.002, 0.0, 0.004), "patience_share": (0.5, 0.25)}
)

# Exchanges at a node of many links cost their square.
_MOST_LINKS_OF_NODE = 64


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
    has_matching: bool = True,
    ratio: float = 1.1,
) -> SlotPolicy:
    n_classes = forecast.rate.shape[1]
    hops = np.broadcast_to(np.asarray(route_hops, dtype=np.int64), (n_classes,))
    is_announced = np.zeros(n_classes, dtype=np.bool_)
    is_announced[list(announced_classes)] = True
    fresh = fresh_values(network, forecast, hops)
    asked = forecast.rate * forecast.n_pairs
    scale = float((asked * fresh).sum() / asked.sum()) if asked.sum() > 0.0 else 1.0
    loads = np.minimum(node_loads(network, asked), 3.0)
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
    offset = len(head) + np.cumsum([0, *(len(block) for block in prices.blocks)])
    block = prices.block_of_link
    parameters = np.zeros((network.n_links, N_COLUMNS + n_classes))
    parameters[:, OFFSET] = offset[block]
    for column, values in (
        (TABLE_SLOTS, prices.table_slots),
        (N_BINS, prices.n_bins),
        (AGE_BIN, prices.age_bin),
        (N_STATES, prices.n_states),
    ):
        parameters[:, column] = np.asarray(values, dtype=np.float64)[block]
    parameters[:, WASTE_PRICE] = waste_price * scale
    parameters[:, RECLAIM] = reclaim
    parameters[:, APPOINTMENT_SHARE] = appointment_share
    most = int(np.bincount(network.edges.ravel(), minlength=1).max())
    parameters[:, HAS_MATCHING] = has_matching and most <= _MOST_LINKS_OF_NODE
    parameters[:, USER_SCALE] = user_scale
    parameters[:, AVAILABILITY:] = share
    return SlotPolicy(
        name="ceas",
        attempt=attempt_by_bid,
        serve=serve_by_bid,
        parameters=parameters,
        tables=np.concatenate([head, *prices.blocks]),
    )
