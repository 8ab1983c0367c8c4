"""All that one link can do on a known sample path, as a graph whose longest path is its best run under prices.

A state is the set of stored pairs, a bit for each age, with the set of requests that arrived and were not served, a bit
for each by its number on the link, modulo 64. A slot has two layers of states. From the first, at its begin, lead the
attempts: none, one into free memory, or one in the place of the oldest pair; each ends in a state of the second layer,
with the coin and the arrivals of the slot known. There one request after the other may be served, or the oldest pair
dropped; and an edge leads on to the next slot. An edge's reward is the value it serves less the penalty for what the
path gives away, see `bounds_online`; an attempt has its use of attempts and memory beside it.

Services are restricted to what some best policy does. Of requests of one type (alike in all but their deadlines) the
one that is due first is served; of pairs the oldest that is good enough, if values are steps, and else any; and only
the oldest is dropped or replaced. A policy that does otherwise can be changed, without knowing more and without losing
value or using more memory, by swapping the roles of two requests or two pairs.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import compiled, inlined

__all__ = ["FULL", "GraphSpace", "LinkInputs", "best_value", "follow", "grow_graph"]

Bools: TypeAlias = npt.NDArray[np.bool_]
Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]

# What `grow_graph` returns when its space is too small.
FULL = -1
_LEAST = -1e300


class LinkInputs(NamedTuple):
    """A link on a sample path: T slots, R requests by arrival, Y types by falling weight, C classes, B age bins.

    Attributes:
        success: Its coins, `(T,)`.
        chance: Their chances, `(T,)`.
        lifetime: Largest age of a pair.
        slots: Pairs that it can store.
        worth: Value of a pair to a type by its birth and slot of use: `worth[y, use, age]`, 0 where it does not serve.
        is_step: Whether all values are steps.
        arrival: Slots, `(R,)`.
        deadline: Slots, `(R,)`.
        kind: Types, `(R,)`.
        label: Classes, `(R,)`.
        rate: Mean requests a slot of each class, 0 where their number is known ahead, `(C,)`.
        type_of_class: Types, `(C,)`.
        patience: Slots that a request waits, `(C,)`.
        fresh: Worth of a new pair to each type as prices have it, `(Y,)`.
        oldest: Largest age at which prices take a pair to serve a type, `(Y,)`.
        waiting: What a waiting request of a type is worth by the attempts left for it, `(Y, D)`.
        binomial: As in `AgeStates`.
        age_bin: Slots to an age bin of the bias.
        bias: Bias of the stock at the end of a slot, `(S,)`.
        bias_at_request: Bias between attempt and requests, `(S,)`.
        coin_share: Factor of the penalty for coins.
        arrival_share: Factor of the penalty for arrivals.
    """

    success: Bools
    chance: Float64s
    lifetime: int
    slots: int
    worth: Float64s
    is_step: bool
    arrival: Int64s
    deadline: Int64s
    kind: Int64s
    label: Int64s
    rate: Float64s
    type_of_class: Int64s
    patience: Int64s
    fresh: Float64s
    oldest: Int64s
    waiting: Float64s
    binomial: Int64s
    age_bin: int
    bias: Float64s
    bias_at_request: Float64s
    coin_share: float
    arrival_share: float


class GraphSpace(NamedTuple):
    """Where graphs grow: edges in the order of their making, and workspace of one slot.

    Attributes:
        source: State that an edge leaves, `(M,)`.
        target: State that it enters, `(M,)`.
        reward: Reward, `(M,)`.
        slot: Slot of an attempt edge, -1 for others, `(M,)`.
        attempts: Attempts of the edge, `(M,)`.
        memory: Memory slots of the edge, `(M,)`.
        stock: Stored pairs of the states of the layers at work, `(3, L)`: begin of the slot, second layer, next slot.
        waits: Waiting requests of these states, `(3, L)`.
        number: Numbers of these states, `(3, L)`.
        table: Hash tables of the layers, `(3, 4 L)`.
    """

    source: Int32s
    target: Int32s
    reward: Float64s
    slot: Int32s
    attempts: npt.NDArray[np.int8]
    memory: npt.NDArray[np.int8]
    stock: Int64s
    waits: Int64s
    number: Int64s
    table: Int64s


@inlined
def _oldest(mask: int) -> int:
    """Return the highest bit of a mask, -1 for none."""
    found = -1
    while mask:
        found += 1
        mask >>= 1
    return found


@inlined
def _count(mask: int) -> int:
    found = 0
    while mask:
        mask &= mask - 1
        found += 1
    return found


@inlined
def _below(mask: int, age: int) -> int:
    """Return the pairs of a mask of at most an age."""
    return mask & ((1 << (age + 1)) - 1) if age >= 0 else 0


@compiled
def _stock_bias(link: LinkInputs, stock: int, table: Float64s) -> float:
    """Return the bias of a set of pairs; those beyond the slots of the table, the oldest, count as nothing."""
    places, empty = link.binomial.shape[0], link.binomial.shape[1] - 1
    rank, place, age = 0, 0, 0
    while stock and place < places:
        if stock & 1:
            rank += link.binomial[place, min(age // link.age_bin, empty - 1)]
            place += 1
        stock >>= 1
        age += 1
    for rest in range(place, places):
        rank += link.binomial[rest, empty]
    return float(table[rank])


@compiled
def _placed(link: LinkInputs, stock: int, kind: int, left: int, table: Float64s) -> tuple[int, float]:
    """Return the stock and the worth when a request gets the oldest pair that serves it, or waits if that is better."""
    wait = link.waiting[kind, min(left, link.waiting.shape[1] - 1)]
    usable = _below(stock, link.oldest[kind])
    if usable == 0:
        return stock, wait
    rest = stock & ~(1 << _oldest(usable))
    cost = _stock_bias(link, stock, table) - _stock_bias(link, rest, table)
    if link.fresh[kind] - cost > wait:
        return rest, link.fresh[kind]
    return stock, wait


@compiled
def _potential(  # noqa: PLR0917 - a state and who else may wait
    link: LinkInputs,
    stock: int,
    waits: int,
    slot: int,
    first: int,
    end: int,
    extra_kind: int,
    extra_left: int,
    table: Float64s,
) -> float:
    """Return what a state is taken to be worth; requests `first` to `end` may be waiting, and one more of `extra_kind`.

    Requests get pairs by falling weight, and then by deadline as far as they come in its order.
    """
    total = 0.0
    for kind in range(len(link.fresh)):
        if waits:
            for request in range(first, end):
                if link.kind[request] == kind and (waits >> (request & 63)) & 1:
                    stock, worth = _placed(
                        link, stock, kind, min(link.deadline[request], len(link.success) - 1) - slot, table
                    )
                    total += worth
        if kind == extra_kind:
            stock, worth = _placed(link, stock, kind, min(extra_left, len(link.success) - 1 - slot), table)
            total += worth
    return total + _stock_bias(link, stock, table)


@compiled
def _found(space: GraphSpace, layer: int, stock: int, waits: int, n_states: int) -> int:
    """Return the place of a state in a layer, `n_states` if it is new (and is now entered), `FULL` without space."""
    table = space.table[layer]
    size = len(table)
    at = (stock * 1000003 + waits * 7919 + (waits >> 17)) % size
    while table[at] >= 0:
        place = table[at]
        if space.stock[layer, place] == stock and space.waits[layer, place] == waits:
            return int(place)
        at = (at + 1) % size
    if n_states >= space.stock.shape[1]:
        return FULL
    table[at] = n_states
    space.stock[layer, n_states] = stock
    space.waits[layer, n_states] = waits
    return n_states


@inlined
def _clear(space: GraphSpace, layer: int) -> None:
    for at in range(space.table.shape[1]):
        space.table[layer, at] = -1


@compiled
def _arrival_penalty(  # noqa: PLR0917 - a state and who waits or comes
    link: LinkInputs, stock: int, waits: int, slot: int, first: int, end: int, last: int
) -> float:
    """Return the penalty for knowing who comes: what one of a class adds, times arrivals less their mean.

    Requests `first` to `end` were there before, those up to `last` come now.
    """
    if link.arrival_share == 0.0:
        return 0.0
    base = _potential(link, stock, waits, slot, first, end, -1, 0, link.bias)
    total = 0.0
    for label in range(len(link.rate)):
        if link.rate[label] == 0.0:
            continue
        kind = link.type_of_class[label]
        worth = _potential(link, stock, waits, slot, first, end, kind, link.patience[label], link.bias) - base
        came = 0
        for request in range(end, last):
            if link.label[request] == label:
                came += 1
        total += worth * (came - link.rate[label])
    return link.arrival_share * total


@compiled
def _attempts(  # noqa: PLR0917 - one layer of a slot
    link: LinkInputs, space: GraphSpace, slot: int, first: int, end: int, last: int, n_begin: int, state: int, edge: int
) -> tuple[int, int, int]:
    """Add the edges of the attempts of a slot; return states of the second layer, states in all and edges."""
    n_second = 0
    success = link.success[slot]
    came = 0
    for request in range(end, last):
        came |= 1 << (request & 63)
    for place in range(n_begin):
        stock, waits = space.stock[0, place], space.waits[0, place]
        stored = _count(stock)
        for choice in range(3):
            if (choice == 1 and stored >= link.slots) or (choice == 2 and stored == 0):
                continue
            with_new = (stock | 1) if choice == 1 else ((stock & ~(1 << _oldest(stock))) | 1)
            after = with_new if choice > 0 and success else stock
            reward = 0.0
            if choice > 0 and link.coin_share != 0.0:
                gain = _potential(link, with_new, waits, slot, first, end, -1, 0, link.bias_at_request)
                gain -= _potential(link, stock, waits, slot, first, end, -1, 0, link.bias_at_request)
                reward -= link.coin_share * gain * ((1.0 if success else 0.0) - link.chance[slot])
            reward -= _arrival_penalty(link, after, waits, slot, first, end, last)
            found = _found(space, 1, after, waits | came, n_second)
            if found == FULL or edge >= len(space.source):
                return FULL, state, edge
            if found == n_second:
                space.number[1, found] = state
                state += 1
                n_second += 1
            space.source[edge], space.target[edge] = space.number[0, place], space.number[1, found]
            space.reward[edge], space.slot[edge] = reward, slot
            space.attempts[edge] = 1 if choice > 0 else 0
            space.memory[edge] = stored + (1 if choice == 1 else 0)
            edge += 1
    return n_second, state, edge


@compiled
def _serve_edge(  # noqa: PLR0917 - an edge
    space: GraphSpace, place: int, stock: int, waits: int, reward: float, n_second: int, state: int, edge: int
) -> tuple[int, int, int]:
    """Add an edge within the second layer; return states of the layer, states in all and edges."""
    found = _found(space, 1, stock, waits, n_second)
    if found == FULL or edge >= len(space.source):
        return FULL, state, edge
    if found == n_second:
        space.number[1, found] = state
        state += 1
        n_second += 1
    space.source[edge], space.target[edge] = space.number[1, place], space.number[1, found]
    space.reward[edge], space.slot[edge], space.attempts[edge], space.memory[edge] = reward, -1, 0, 0
    return n_second, state, edge + 1


@compiled
def _services(  # noqa: PLR0912, PLR0917 - one layer of a slot
    link: LinkInputs, space: GraphSpace, slot: int, first: int, last: int, n_second: int, state: int, edge: int
) -> tuple[int, int, int, int]:
    """Add the edges of the services of a slot and those to the next; return states of both layers, states and edges."""
    n_next = 0
    keep = (1 << link.lifetime) - 1
    for stored in range(link.slots, -1, -1):
        place = -1
        # Services lead to states of fewer pairs, which come later; the layer grows meanwhile.
        while place + 1 < n_second:
            place += 1
            stock, waits = space.stock[1, place], space.waits[1, place]
            if _count(stock) != stored:
                continue
            if stored > 0:
                rest = stock & ~(1 << _oldest(stock))
                n_second, state, edge = _serve_edge(space, place, rest, waits, 0.0, n_second, state, edge)
                if n_second == FULL:
                    return FULL, 0, state, edge
            for kind in range(len(link.fresh)):
                due = -1
                for request in range(first, last):
                    is_waiting = link.kind[request] == kind and (waits >> (request & 63)) & 1
                    if is_waiting and (due < 0 or link.deadline[request] < link.deadline[due]):
                        due = request
                if due < 0:
                    continue
                for age in range(link.lifetime, -1, -1):
                    worth = link.worth[kind, slot, age]
                    if not (stock >> age) & 1 or worth <= 0.0:
                        continue
                    rest, left = stock & ~(1 << age), waits & ~(1 << (due & 63))
                    n_second, state, edge = _serve_edge(space, place, rest, left, worth, n_second, state, edge)
                    if n_second == FULL:
                        return FULL, 0, state, edge
                    if link.is_step:
                        break
            left = waits
            for request in range(first, last):
                if link.deadline[request] <= slot:
                    left &= ~(1 << (request & 63))
            found = _found(space, 2, (stock & keep) << 1, left, n_next)
            if found == FULL or edge >= len(space.source):
                return FULL, 0, state, edge
            if found == n_next:
                space.number[2, found] = state
                state += 1
                n_next += 1
            space.source[edge], space.target[edge] = space.number[1, place], space.number[2, found]
            space.reward[edge], space.slot[edge], space.attempts[edge], space.memory[edge] = 0.0, -1, 0, 0
            edge += 1
    return n_second, n_next, state, edge


@compiled
def grow_graph(link: LinkInputs, space: GraphSpace) -> tuple[int, int]:
    """Make a link's graph; return its number of states, or `FULL` without space for it, and of edges.

    States are numbered from 0, the one it starts from.
    """
    n_requests = len(link.arrival)
    first, end, last = 0, 0, 0
    for layer in range(3):
        _clear(space, layer)
    _found(space, 0, 0, 0, 0)
    space.number[0, 0] = 0
    n_begin, state, edge = 1, 1, 0
    for slot in range(len(link.success)):
        end = last
        while last < n_requests and link.arrival[last] <= slot:
            last += 1
        while first < end and link.deadline[first] < slot:
            first += 1
        n_second, state, edge = _attempts(link, space, slot, first, end, last, n_begin, state, edge)
        if n_second == FULL:
            return FULL, edge
        n_second, n_next, state, edge = _services(link, space, slot, first, last, n_second, state, edge)
        if n_second == FULL:
            return FULL, edge
        for place in range(n_next):
            space.stock[0, place], space.waits[0, place] = space.stock[2, place], space.waits[2, place]
            space.number[0, place] = space.number[2, place]
        n_begin = n_next
        _clear(space, 1)
        _clear(space, 2)
    return state, edge


@compiled
def best_value(  # noqa: PLR0917 - a graph, its prices and workspace
    space: GraphSpace,
    n_states: int,
    attempt_price: Float64s,
    memory_price: Float64s,
    value: Float64s,
    choice: Int32s,
) -> float:
    """Return the longest path of a graph, whose edges fill its arrays, at prices by slot, `(T,)`.

    `value` and `choice`, `(n_states,)`, are filled with the best from each state on and its edge, -1 at the end.
    """
    for state in range(n_states):
        value[state], choice[state] = _LEAST, -1
    # Whatever an edge leads to has its own edges made later.
    for edge in range(len(space.source) - 1, -1, -1):
        target = space.target[edge]
        after = value[target] if choice[target] >= 0 else 0.0
        reward = space.reward[edge] + after
        slot = space.slot[edge]
        if slot >= 0:
            reward -= attempt_price[slot] * space.attempts[edge] + memory_price[slot] * space.memory[edge]
        source = space.source[edge]
        if choice[source] < 0 or reward > value[source]:
            value[source], choice[source] = reward, edge
    return float(value[0])


@compiled
def follow(space: GraphSpace, choice: Int32s, attempts: Int64s, memory: Int64s) -> float:
    """Fill the attempts and memory that the best path takes by slot, `(T,)`; return its reward before prices."""
    state, total = 0, 0.0
    while choice[state] >= 0:
        edge = choice[state]
        total += space.reward[edge]
        slot = space.slot[edge]
        if slot >= 0:
            attempts[slot], memory[slot] = space.attempts[edge], space.memory[edge]
        state = space.target[edge]
    return total
