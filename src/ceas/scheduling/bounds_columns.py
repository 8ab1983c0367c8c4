"""Every way to serve the requests of a sample path, as columns of a linear programme.

A column is a request together with the successes ("coins") whose pairs it takes. Its service slot is the first in which
the request has arrived and all its pairs are born. To serve later never pays: pairs only lose, and only hold memory
longer. So every service that any policy can perform has a column worth at least as much and taking no more.

A request for one pair has a column a coin. For tuples and routes the combinations are listed while they are few. When
they are many, the request is split: a column without value says "served in slot s", and columns for the single pairs
carry shares of the value. The shares overestimate: every value is a convex increasing function g of a sum of
logarithms, so `g(sum_i x_i) <= mean_i g(n x_i)` (Jensen; for a tuple that is the inequality of the means), also after
shifts of the `x_i` that sum to 0. When even these shares are many, all slots are pooled: one column says "served", and
each pair counts as used when the request and it are there, whatever the others wait for.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.network.slots import RequestTable, SamplePath, SlottedNetwork, ValueKind
from ceas.physics.keys import secret_key_fraction

__all__ = ["Coins", "Columns", "expanded", "path_coins", "serving_columns", "used_value"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# The engine's own tolerance at a request's minimum fidelity.
_FIDELITY_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Coins:
    """The successes of a sample path, by link and then by slot, N coins.

    Attributes:
        link: Link of each, `(N,)`.
        slot: Slot in which its pair would be born, `(N,)`.
        n_slots: Slots of the path.
    """

    link: Int64s
    slot: Int64s
    n_slots: int

    def first_from(self, link: Int64s, slot: Int64s) -> Int64s:
        """Return, for each link and slot, the first coin of the link not before the slot, or the end of the link's."""
        key = self.link * (self.n_slots + 1) + self.slot
        return np.searchsorted(key, link * (self.n_slots + 1) + np.clip(slot, 0, self.n_slots)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns, C of them, with M memberships of coins in all.

    Attributes:
        value: Value of each, `(C,)`.
        request: Request that it serves, -1 for a share of a split request, `(C,)`.
        chance: Probability that the service succeeds, 1 but for routes whose swaps may fail, `(C,)`.
        service: Slot of the service, `(C,)`.
        member_first: Where the coins of each begin in `member_coin`, `(C + 1,)`.
        member_coin: Coins, `(M,)`.
        group: Group of a share, -1 for others, `(C,)`.
        group_owner: Column of the split request that a group belongs to, `(G,)`.
        group_need: Pairs that the owner takes of a group, `(G,)`.
    """

    value: Float64s
    request: Int64s
    chance: Float64s
    service: Int64s
    member_first: Int64s
    member_coin: Int64s
    group: Int64s
    group_owner: Int64s
    group_need: Int64s

    def __len__(self) -> int:
        return len(self.value)


def path_coins(path: SamplePath) -> Coins:
    """Return the successes of a sample path."""
    link, slot = np.nonzero(path.success.T)
    return Coins(link=link.astype(np.int64), slot=slot.astype(np.int64), n_slots=path.n_slots)


def used_value(kind: Int64s, werner: Float64s) -> Float64s:
    """Return what a pair of a Werner parameter is worth to a request of weight 1 and no minimum fidelity."""
    value = np.ones(np.broadcast_shapes(np.shape(kind), np.shape(werner)))
    value = np.where(kind == ValueKind.INFORMATION, werner**2, value)
    is_key = np.broadcast_to(kind == ValueKind.KEY, value.shape)
    if is_key.any():
        value[is_key] = secret_key_fraction(np.broadcast_to(werner, value.shape)[is_key])
    return value


def serving_columns(
    network: SlottedNetwork,
    requests: RequestTable,
    path: SamplePath,
    coins: Coins,
    *,
    most_combinations: int,
    swap_chance: float,
    chosen: Int64s | None = None,
) -> tuple[Columns, int]:
    """Return the columns of the chosen requests (by default of all), and how many requests were split.

    Args:
        network: The network, with the true Werner parameters of its new pairs.
        requests: The requests.
        path: The sample path.
        coins: Its successes.
        most_combinations: Combinations of pairs up to which a tuple or route is listed; above, it is split.
        swap_chance: Probability that a swap succeeds.
        chosen: Numbers of requests.
    """
    builder = _Builder(network, requests, path, coins, swap_chance)
    numbers = np.arange(len(requests), dtype=np.int64) if chosen is None else chosen
    numbers = numbers[requests.arrival[numbers] < path.n_slots]
    n_hops = np.diff(requests.route_first)[numbers]
    n_pairs = requests.n_pairs[numbers]
    shapes = np.unique(np.stack([n_hops, n_pairs], axis=1), axis=0)
    pieces, n_split = [], 0
    for hops, pairs in shapes.tolist():
        group = numbers[(n_hops == hops) & (n_pairs == pairs)]
        if hops == 1 and pairs == 1:
            pieces.append(builder.single(group))
            continue
        found, split = builder.several(group, hops, pairs, most_combinations)
        pieces += found
        n_split += split
    return _joined(pieces), n_split


def expanded(low: Int64s, high: Int64s) -> tuple[Int64s, Int64s]:
    """Return the row and the element of every element of the ranges `low[i], ..., high[i] - 1`."""
    counts = np.maximum(high - low, 0)
    row = np.repeat(np.arange(len(low)), counts)
    begin = np.cumsum(counts) - counts
    return row, np.arange(len(row)) - begin[row] + low[row]


@dataclass(frozen=True, slots=True)
class _Builder:
    network: SlottedNetwork
    requests: RequestTable
    path: SamplePath
    coins: Coins
    swap_chance: float

    def werner(self, coin: Int64s, slot: Int64s) -> Float64s:
        """Return the true Werner parameters of coins' pairs in later slots."""
        link, birth = self.coins.link[coin], self.coins.slot[coin]
        if len(self.path.decay):
            decay = self.path.decay[slot, link] - self.path.decay[birth, link]
        else:
            decay = (slot - birth) / self.network.coherence_slots[link]
        return np.asarray(self.network.initial_werner[link] * np.exp(-decay))

    def pair_value(self, request: Int64s, werner: Float64s) -> Float64s:
        """Return what pairs are worth to requests of weight 1."""
        is_enough = 0.25 + 0.75 * werner >= self.requests.minimum_fidelity[request] - _FIDELITY_ROUNDING
        return np.where(is_enough, used_value(self.requests.kind[request], werner), 0.0)

    def single(self, numbers: Int64s) -> Columns:
        """Return the columns of requests for one pair of one link."""
        requests, coins = self.requests, self.coins
        link = requests.route_link[requests.route_first[numbers]]
        low = coins.first_from(link, requests.arrival[numbers] - self.network.lifetime_slots[link])
        high = coins.first_from(link, np.minimum(requests.deadline[numbers], coins.n_slots - 1) + 1)
        row, coin = expanded(low, high)
        request = numbers[row]
        service = np.maximum(requests.arrival[request], coins.slot[coin])
        value = requests.weight[request] * self.pair_value(request, self.werner(coin, service))
        kept = value > 0.0
        return _plain(request[kept], service[kept], value[kept], coin[kept, None], 1.0)

    def several(self, numbers: Int64s, hops: int, pairs: int, most_combinations: int) -> tuple[list[Columns], int]:
        """Return the columns of tuples or routes of one shape, and how many requests were split."""
        requests = self.requests
        number, service = self._services(numbers, hops)
        links = requests.route_link[requests.route_first[number][:, None] + np.arange(hops)]
        low = self.coins.first_from(links, service[:, None] - self.network.lifetime_slots[links])
        high = self.coins.first_from(links, service[:, None] + 1)
        count = (high - low).astype(np.float64)
        if hops == 1:
            combinations = np.prod([(count[:, 0] - at) / (at + 1) for at in range(pairs)], axis=0)
            combinations[count[:, 0] < pairs] = 0.0
        else:
            combinations = count.prod(axis=1)
        total = np.bincount(number, weights=combinations, minlength=len(requests))
        shares = np.bincount(number, weights=count.sum(axis=1) * (combinations > 0), minlength=len(requests))
        is_listed = (combinations > 0) & (total[number] <= most_combinations)
        is_split = (combinations > 0) & ~is_listed & (shares[number] <= most_combinations)
        pieces = [self._listed(number[is_listed], service[is_listed], low[is_listed], high[is_listed], pairs)]
        if is_split.any():
            pieces.append(self._split(number[is_split], service[is_split], low[is_split], high[is_split], pairs))
        is_pooled = (total > most_combinations) & (shares > most_combinations)
        if is_pooled.any():
            pieces.append(self._pooled(np.flatnonzero(is_pooled), hops, pairs))
        return pieces, int((total > most_combinations).sum())

    def _services(self, numbers: Int64s, hops: int) -> tuple[Int64s, Int64s]:
        """Return the requests with every slot in which a service can first be possible: arrival and later births."""
        requests, coins = self.requests, self.coins
        arrival = requests.arrival[numbers]
        last = np.minimum(requests.deadline[numbers], coins.n_slots - 1)
        found = [np.stack([numbers, arrival], axis=1)]
        for hop in range(hops):
            link = requests.route_link[requests.route_first[numbers] + hop]
            row, coin = expanded(coins.first_from(link, arrival + 1), coins.first_from(link, last + 1))
            found.append(np.stack([numbers[row], coins.slot[coin]], axis=1))
        both = np.unique(np.concatenate(found), axis=0)
        return both[:, 0], both[:, 1]

    def _listed(self, number: Int64s, service: Int64s, low: Int64s, high: Int64s, pairs: int) -> Columns:
        """Return a column for every combination of pairs."""
        hops = low.shape[1]
        row = np.arange(len(number))
        chosen: list[Int64s] = []
        for member in range(max(hops, pairs)):
            hop = member if hops > 1 else 0
            begin = chosen[-1] + 1 if hops == 1 and chosen else low[row, hop]
            source, coin = expanded(begin, high[row, hop])
            row = row[source]
            chosen = [earlier[source] for earlier in chosen] + [coin]
        coin = np.stack(chosen, axis=1)
        request, slot = number[row], service[row]
        werner = self.werner(coin, slot[:, None])
        if hops > 1:
            value = self.pair_value(request, self.network.swap_werner ** (hops - 1) * werner.prod(axis=1))
        else:
            value = self.pair_value(request[:, None], werner).prod(axis=1)
        value = value * self.requests.weight[request]
        # With all pairs born earlier, an earlier service slot has the same column.
        is_first = (slot == self.requests.arrival[request]) | (self.coins.slot[coin].max(axis=1) == slot)
        kept = is_first & (value > 0.0)
        chance = self.swap_chance ** (hops - 1)
        return _plain(request[kept], slot[kept], chance * value[kept], coin[kept], chance)

    def _split(self, number: Int64s, service: Int64s, low: Int64s, high: Int64s, pairs: int) -> Columns:
        """Return one column without value for every request and slot, and columns of single pairs with shares."""
        hops, n_owners = low.shape[1], len(number)
        chance = self.swap_chance ** (hops - 1)
        row, coin = expanded(low.ravel(), high.ravel())
        owner, hop = row // hops, row % hops
        werner = self.werner(coin, service[owner])
        if hops > 1:
            # The freshest pair of each hop; shares are centred on these.
            best = self.werner(high - 1, service[:, None])
            together = self.network.swap_werner ** (hops - 1) * best.prod(axis=1)[owner]
            relative = werner / best[owner, hop]
            is_enough = self.pair_value(number[owner], together * relative) > 0.0
            value = used_value(self.requests.kind[number[owner]], together * relative**hops) / hops
        else:
            single = self.pair_value(number[owner], werner)
            is_enough = single > 0.0
            value = single**pairs / pairs
        value = np.where(is_enough, chance * value * self.requests.weight[number[owner]], 0.0)
        owners = _plain(number, service, np.zeros(n_owners), np.zeros((n_owners, 0), dtype=np.int64), chance)
        return _shared(owners, row, service[owner], value, coin, is_enough, hops, pairs)

    def _pooled(self, number: Int64s, hops: int, pairs: int) -> Columns:
        """Return one column without value for every request, and columns of single pairs with shares.

        Each pair is used when the request and it are there, and the others of its route are taken to be new.
        """
        requests, network = self.requests, self.network
        links = requests.route_link[requests.route_first[number][:, None] + np.arange(hops)]
        arrival = requests.arrival[number]
        last = np.minimum(requests.deadline[number], self.coins.n_slots - 1)
        low = self.coins.first_from(links, arrival[:, None] - network.lifetime_slots[links])
        high = self.coins.first_from(links, last[:, None] + 1)
        row, coin = expanded(low.ravel(), high.ravel())
        owner = row // hops
        service = np.maximum(arrival[owner], self.coins.slot[coin])
        werner = self.werner(coin, service)
        chance = self.swap_chance ** (hops - 1)
        if hops > 1:
            fresh = network.initial_werner[links]
            together = network.swap_werner ** (hops - 1) * fresh.prod(axis=1)[owner]
            relative = werner / fresh[owner, row % hops]
            is_enough = self.pair_value(number[owner], together * relative) > 0.0
            value = used_value(requests.kind[number[owner]], together * relative**hops) / hops
        else:
            single = self.pair_value(number[owner], werner)
            is_enough = single > 0.0
            value = single**pairs / pairs
        value = np.where(is_enough, chance * value * requests.weight[number[owner]], 0.0)
        none = np.zeros((len(number), 0), dtype=np.int64)
        owners = _plain(number, arrival, np.zeros(len(number)), none, chance)
        return _shared(owners, row, service, value, coin, is_enough, hops, pairs)


def _shared(  # noqa: PLR0917 - all describe the same shares
    owners: Columns,
    row: Int64s,
    service: Int64s,
    value: Float64s,
    coin: Int64s,
    kept: npt.NDArray[np.bool_],
    hops: int,
    pairs: int,
) -> Columns:
    """Return owners and the shares that are kept; `row` is a share's group, `hops` of them an owner."""
    shares = _plain(np.full(int(kept.sum()), -1), service[kept], value[kept], coin[kept, None], 1.0)
    joined = _joined([owners, shares])
    joined.group[len(owners) :] = row[kept]
    return replace(
        joined,
        group_owner=np.repeat(np.arange(len(owners)), hops),
        group_need=np.full(len(owners) * hops, pairs, dtype=np.int64),
    )


def _plain(request: Int64s, service: Int64s, value: Float64s, coin: Int64s, chance: float) -> Columns:
    """Return columns that all take the same number of coins, `(C, k)`."""
    none = np.zeros(0, dtype=np.int64)
    return Columns(
        value=value,
        request=request,
        chance=np.full(len(request), chance),
        service=service,
        member_first=np.arange(len(request) + 1) * coin.shape[1],
        member_coin=coin.ravel(),
        group=np.full(len(request), -1, dtype=np.int64),
        group_owner=none,
        group_need=none,
    )


def _joined(pieces: list[Columns]) -> Columns:
    """Return all columns of the pieces; columns and groups are numbered on."""
    if not pieces:
        none = np.zeros(0, dtype=np.int64)
        return _plain(none, none, np.zeros(0), np.zeros((0, 0), dtype=np.int64), 1.0)
    column = np.cumsum([0] + [len(piece) for piece in pieces])
    member = np.cumsum([0] + [len(piece.member_coin) for piece in pieces])
    group = np.cumsum([0] + [len(piece.group_owner) for piece in pieces])
    return Columns(
        value=np.concatenate([piece.value for piece in pieces]),
        request=np.concatenate([piece.request for piece in pieces]),
        chance=np.concatenate([piece.chance for piece in pieces]),
        service=np.concatenate([piece.service for piece in pieces]),
        member_first=np.concatenate(
            [piece.member_first[:-1] + at for piece, at in zip(pieces, member[:-1], strict=True)] + [member[-1:]]
        ),
        member_coin=np.concatenate([piece.member_coin for piece in pieces]),
        group=np.concatenate(
            [np.where(piece.group >= 0, piece.group + at, -1) for piece, at in zip(pieces, group[:-1], strict=True)]
        ),
        group_owner=np.concatenate([piece.group_owner + at for piece, at in zip(pieces, column[:-1], strict=True)]),
        group_need=np.concatenate([piece.group_need for piece in pieces]),
    )
