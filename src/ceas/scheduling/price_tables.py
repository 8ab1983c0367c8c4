"""What compiled rules look up: the bias of a link's stock in its table, and what follows from it.

The tables of `SlotPolicy.tables` are, one after the other: the links of each node (`adjacency_table`), and one block
for each kind of link (`link_block`) that many links share. The columns of `SlotPolicy.parameters` say where a link's
block is and how to read it; see `bid_prices.py`, which fills both.
"""

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, compiled
from ceas.network.slot_policy import SlotSnapshot, request_value

__all__ = [
    "AGE_BIN",
    "AT_END",
    "AT_REQUEST",
    "AVAILABILITY",
    "N_BINS",
    "N_BLOCKS",
    "N_COLUMNS",
    "N_STATES",
    "OFFSET",
    "PURIFIES",
    "QUORUM",
    "QUORUM_VALUE",
    "TABLE_SLOTS",
    "adjacency_table",
    "attempt_chance",
    "binomial_chance",
    "fresh_worth",
    "link_block",
    "node_link",
    "node_links_end",
    "node_links_first",
    "pair_cost",
    "pair_worth",
    "state_bias",
    "wait_worth",
]

# Columns of the parameters; those from `AVAILABILITY` on are `N_BLOCKS` for each class of requests: share of
# slots, whether they are known ahead, rate, least Werner parameter, weight.
(
    OFFSET,
    TABLE_SLOTS,
    N_BINS,
    AGE_BIN,
    N_STATES,
    WASTE_PRICE,
    RECLAIM,
    APPOINTMENT_SHARE,
    HAS_MATCHING,
    USER_SCALE,
    QUORUM,
    QUORUM_VALUE,
    PURIFIES,
    AVAILABILITY,
) = range(14)
N_BLOCKS = 5
N_COLUMNS = AVAILABILITY
# Which of the two tables of a block: the bias at the end of a slot, or between attempt and request.
AT_END, AT_REQUEST = 0, 1


def adjacency_table(edges: npt.NDArray[np.int64], n_nodes: int) -> npt.NDArray[np.float64]:
    """Return where each node's links begin, `(n_nodes + 1,)`, followed by the links of all nodes, `(2 E,)`."""
    ends = edges.ravel()
    order = np.argsort(ends, kind="stable")
    first = np.searchsorted(ends[order], np.arange(n_nodes + 1))
    return np.concatenate([first, order // 2]).astype(np.float64)


def link_block(
    binomial: npt.NDArray[np.int64], bias: npt.NDArray[np.float64], bias_at_request: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the block of a kind of link; arguments as in `AgeStates` and `OneLinkSolution`."""
    return np.concatenate([binomial.ravel().astype(np.float64), bias, bias_at_request])


@compiled
def node_links_first(snapshot: SlotSnapshot, node: int) -> int:
    """Return where a node's links begin; `node_link` takes the places up to `node_links_end`."""
    return as_index(int(snapshot.tables[node]))


@compiled
def node_links_end(snapshot: SlotSnapshot, node: int) -> int:
    """Return where a node's links end."""
    return as_index(int(snapshot.tables[node + 1]))


@compiled
def node_link(snapshot: SlotSnapshot, place: int) -> int:
    """Return the link at a place of the adjacency table."""
    return as_index(int(snapshot.tables[len(snapshot.free_slots) + 1 + place]))


@compiled
def state_bias(snapshot: SlotSnapshot, link: int, inserted_bin: int, table: int) -> float:
    """Return the bias of the link's stock without the pairs marked in `used`, and with one of `inserted_bin` if >= 0.

    A pair's age is reckoned from its end, so that a purified pair counts as one that has decayed as far. Pairs beyond
    the slots of the table, the oldest, count as nothing.
    """
    parameters, tables = snapshot.parameters, snapshot.tables
    offset, slots = as_index(int(parameters[link, OFFSET])), as_index(int(parameters[link, TABLE_SLOTS]))
    bins, width = as_index(int(parameters[link, N_BINS])), as_index(int(parameters[link, AGE_BIN]))
    row = bins + 1
    place, rank = 0, 0
    inserted = inserted_bin
    for position in range(snapshot.n_stored[link] - 1, -1, -1):
        if snapshot.used[link, position] != 0:
            continue
        age = snapshot.lifetime_slots[link] - (snapshot.stock_expiry[link, position] - snapshot.slot)
        age_bin = min(max(age, 0) // width, bins - 1)
        if 0 <= inserted <= age_bin and place < slots:
            rank += int(tables[as_index(offset + place * row + inserted)])
            place += 1
            inserted = -1
        if place < slots:
            rank += int(tables[as_index(offset + place * row + age_bin)])
            place += 1
    if inserted >= 0 and place < slots:
        rank += int(tables[offset + place * row + inserted])
        place += 1
    for empty in range(place, slots):
        rank += int(tables[as_index(offset + empty * row + bins)])
    bias: float = tables[as_index(offset + slots * row + table * int(parameters[link, N_STATES]) + rank)]
    return bias


@compiled
def pair_cost(snapshot: SlotSnapshot, link: int, position: int, table: int) -> float:
    """Return what the link loses with a stored pair, by the change of its bias."""
    with_pair = state_bias(snapshot, link, -1, table)
    snapshot.used[link, position] = 1
    without: float = state_bias(snapshot, link, -1, table)
    snapshot.used[link, position] = 0
    return with_pair - without


@compiled
def user_factor(snapshot: SlotSnapshot, request: int) -> float:
    """Return the factor by which a request counts less for what its user has got; 1 if all count alike."""
    scale = snapshot.parameters[0, USER_SCALE]
    if scale <= 0.0:
        return 1.0
    factor: float = scale / (scale + snapshot.user_value[snapshot.user[request]])
    return factor


@compiled
def pair_worth(snapshot: SlotSnapshot, request: int, werner: float) -> float:
    """Return what a pair is worth to a request for one pair, or a swapped pair to one over a route."""
    worth: float = user_factor(snapshot, request) * request_value(
        snapshot.kind[request], snapshot.weight[request], snapshot.minimum_fidelity[request], werner
    )
    return worth


@compiled
def fresh_worth(snapshot: SlotSnapshot, request: int) -> float:
    """Return what a request is worth if all its pairs are new."""
    first, end = as_index(snapshot.route_first[request]), as_index(snapshot.route_first[request + 1])
    if end - first == 1:
        werner = snapshot.initial_werner[as_index(snapshot.route_link[first])]
        worth = pair_worth(snapshot, request, werner)
        for _ in range(snapshot.n_pairs[request] - 1):
            worth *= request_value(snapshot.kind[request], 1.0, snapshot.minimum_fidelity[request], werner)
        return worth
    werner = snapshot.swap_werner ** (end - first - 1)
    for hop in range(first, end):
        werner *= snapshot.initial_werner[as_index(snapshot.route_link[hop])]
    chance = snapshot.swap_success_probability ** (end - first - 1)
    swapped: float = chance * pair_worth(snapshot, request, werner)
    return swapped


@compiled
def attempt_chance(snapshot: SlotSnapshot, link: int, request: int) -> float:
    """Return the chance that a slot to come brings a pair of the link for a request that waits for it."""
    share = snapshot.parameters[link, AVAILABILITY + as_index(snapshot.request_class[request])]
    chance: float = snapshot.success_probability[link] * share
    return chance


@compiled
def binomial_chance(n: int, chance: float, k: int) -> float:
    """Return P[Bin(n, chance) = k]."""
    if k < 0 or k > n:
        return 0.0
    probability = (1.0 - chance) ** (n - k)
    for at in range(k):
        probability *= chance * (n - at) / (at + 1)
    return probability


@compiled
def wait_worth(snapshot: SlotSnapshot, request: int, slots_left: int) -> float:
    """Return what a request may expect if it waits for new pairs, with attempts in `slots_left` more slots."""
    if slots_left <= 0:
        return 0.0
    first, end = as_index(snapshot.route_first[request]), as_index(snapshot.route_first[request + 1])
    served = 1.0
    for hop in range(first, end):
        chance = attempt_chance(snapshot, as_index(snapshot.route_link[hop]), request)
        missed = 0.0
        for count in range(snapshot.n_pairs[request]):
            missed += binomial_chance(slots_left, chance, count)
        served *= 1.0 - missed
    return served * fresh_worth(snapshot, request)
