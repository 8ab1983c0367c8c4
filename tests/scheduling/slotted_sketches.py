"""Small random slotted networks, a policy that does anything that is allowed, and a clairvoyant by exhaustion."""

import math
from itertools import combinations, product

import numpy as np

from ceas.network.draws import unit_interval
from ceas.network.slot_policy import DISCARD, PURIFY, SlotPolicy, SlotSnapshot, slot_attempt_rule, slot_serve_rule
from ceas.network.slots import RequestTable, SamplePath, SlottedNetwork, ValueKind, draw_sample_path
from ceas.physics.keys import secret_key_fraction


def sketch_network(rng: np.random.Generator, n_nodes: int, n_links: int, *, memory: int = 2) -> SlottedNetwork:
    """Return a random network without parallel links, with claims that are wrong."""
    every = np.array(list(combinations(range(n_nodes), 2)))
    edges = every[np.sort(rng.permutation(len(every))[:n_links])]
    n_links = len(edges)
    return SlottedNetwork(
        edges=edges,
        success_probability=rng.uniform(0.3, 0.9, n_links),
        initial_werner=rng.uniform(0.8, 1.0, n_links),
        claimed_werner=rng.uniform(0.8, 1.0, n_links),
        coherence_slots=rng.uniform(4.0, 30.0, n_links),
        lifetime_slots=rng.integers(1, 6, n_links),
        memory_slots=rng.integers(1, memory + 1, n_nodes),
        attempts_per_slot=rng.integers(1, 3, n_nodes),
        swap_werner=0.98,
    )


def sketch_requests(
    rng: np.random.Generator,
    network: SlottedNetwork,
    n_slots: int,
    n_requests: int,
    *,
    most_pairs: int = 1,
    most_hops: int = 1,
) -> RequestTable:
    """Return random requests of all kinds; routes are simple paths of at most so many links."""
    routes, pairs = [], []
    for _ in range(n_requests):
        routes.append(_random_path(rng, network, int(rng.integers(1, most_hops + 1))))
        pairs.append(int(rng.integers(1, most_pairs + 1)) if len(routes[-1]) == 1 else 1)
    arrival = np.sort(rng.integers(0, n_slots, n_requests))
    return RequestTable(
        route_first=np.concatenate([[0], np.cumsum([len(route) for route in routes])]).astype(np.int64),
        route_link=np.concatenate(routes or [np.zeros(0)]).astype(np.int64),
        announced=np.maximum(0, arrival - rng.integers(0, 3, n_requests)),
        arrival=arrival,
        deadline=arrival + rng.integers(0, 5, n_requests),
        n_pairs=np.array(pairs, dtype=np.int64),
        minimum_fidelity=rng.choice([0.0, 0.7, 0.85], n_requests),
        weight=rng.choice([1.0, 3.0], n_requests),
        kind=rng.choice([int(kind) for kind in ValueKind], n_requests),
        request_class=np.zeros(n_requests, dtype=np.int64),
        user=np.zeros(n_requests, dtype=np.int64),
    )


def _random_path(rng: np.random.Generator, network: SlottedNetwork, most_hops: int) -> list[int]:
    """Return the links of a random simple path, at least one."""
    links = [int(rng.integers(network.n_links))]
    visited = network.edges[links[0]].tolist()
    while len(links) < most_hops:
        here = network.edges == visited[-1]
        onward = [
            (link, int(network.edges[link, 1 - side]))
            for link, side in np.argwhere(here)
            if network.edges[link, 1 - side] not in visited
        ]
        if not onward:
            break
        link, node = onward[int(rng.integers(len(onward)))]
        links.append(int(link))
        visited.append(node)
    return links


def sketch_path(rng: np.random.Generator, network: SlottedNetwork, n_slots: int) -> SamplePath:
    """Return coins, with success probabilities and decay rates that drift half of the time."""
    if rng.random() < 0.5:
        return draw_sample_path(network, n_slots, rng)
    shape = (n_slots, network.n_links)
    success, decay = rng.uniform(0.3, 1.1, shape), rng.uniform(0.3, 3.0, shape)
    return draw_sample_path(network, n_slots, rng, success_factor=success, decay_factor=decay)


@slot_attempt_rule
def _any_attempt(snapshot: SlotSnapshot, score, replace) -> None:  # type: ignore[no-untyped-def]
    for link in range(len(score)):
        score[link] = unit_interval(snapshot.draw, 2 * link) - (1.0 - snapshot.parameters[link, 0])
        replace[link] = -1
        stored = snapshot.n_stored[link]
        if stored > 0 and unit_interval(snapshot.draw, 2 * link + 1) < snapshot.parameters[link, 1]:
            replace[link] = snapshot.slot % stored


@slot_serve_rule
def _any_service(snapshot: SlotSnapshot, action, pairs) -> int:  # type: ignore[no-untyped-def]
    rows, coin = 0, 1000
    n_waiting = len(snapshot.waiting)
    begin = snapshot.draw % max(n_waiting, 1)
    for step in range(n_waiting):
        request = snapshot.waiting[(begin + step) % n_waiting]
        coin += 1
        if snapshot.arrival[request] > snapshot.slot or unit_interval(snapshot.draw, coin) > snapshot.parameters[0, 2]:
            continue
        first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
        n_members = end - first if end - first > 1 else snapshot.n_pairs[request]
        found = 0
        for member in range(n_members):
            link = snapshot.route_link[first + member] if end - first > 1 else snapshot.route_link[first]
            coin += 1
            is_freshest = unit_interval(snapshot.draw, coin) < 0.5
            for at in range(snapshot.n_stored[link]):
                position = snapshot.n_stored[link] - 1 - at if is_freshest else at
                if snapshot.used[link, position] == 0:
                    snapshot.used[link, position] = 1
                    pairs[rows, member] = position
                    found += 1
                    break
        if found == n_members:
            action[rows] = request
            rows += 1
    for link in range(len(snapshot.edges)):
        for position in range(snapshot.n_stored[link]):
            coin += 1
            if snapshot.used[link, position] == 0 and unit_interval(snapshot.draw, coin) < snapshot.parameters[link, 3]:
                action[rows] = DISCARD
                pairs[rows, 0], pairs[rows, 1] = link, position
                rows += 1
    return rows


def any_policy(network: SlottedNetwork, attempt: float, replace: float, serve: float, discard: float) -> SlotPolicy:
    """Return a policy that attempts, replaces, serves and discards at random with these probabilities."""
    parameters = np.tile([attempt, replace, serve, discard], (network.n_links, 1))
    return SlotPolicy(name="any", attempt=_any_attempt, serve=_any_service, parameters=parameters, tables=np.zeros(1))


@slot_serve_rule
def _purifying_service(snapshot: SlotSnapshot, action, pairs) -> int:  # type: ignore[no-untyped-def]
    rows = 0
    for at in range(len(snapshot.waiting)):
        request = snapshot.waiting[at]
        first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
        if snapshot.arrival[request] > snapshot.slot or end - first > 1 or snapshot.n_pairs[request] > 1:
            continue
        link = snapshot.route_link[first]
        for position in range(snapshot.n_stored[link]):
            age = snapshot.slot - snapshot.stock_birth[link, position]
            decay = math.exp(-snapshot.decay_per_slot[link] * age)
            fidelity = 0.25 + 0.75 * snapshot.stock_werner[link, position] * decay
            if snapshot.used[link, position] == 0 and fidelity >= snapshot.minimum_fidelity[request]:
                snapshot.used[link, position] = 1
                action[rows], pairs[rows, 0] = request, position
                rows += 1
                break
    for link in range(len(snapshot.edges)):
        kept = -1
        for position in range(snapshot.n_stored[link]):
            if snapshot.used[link, position] != 0:
                continue
            if kept >= 0:
                action[rows], pairs[rows, 0], pairs[rows, 1], pairs[rows, 2] = PURIFY, link, kept, position
                rows += 1
                kept = -1
            else:
                kept = position
    return rows


def purifying_policy(network: SlottedNetwork) -> SlotPolicy:
    """Return a policy that serves single pairs with the first that is good enough and purifies all others."""
    parameters = np.tile([1.0, 0.0, 1.0, 0.0], (network.n_links, 1))
    return SlotPolicy(
        name="purifying", attempt=_any_attempt, serve=_purifying_service, parameters=parameters, tables=np.zeros(1)
    )


def clairvoyant_by_exhaustion(network: SlottedNetwork, requests: RequestTable, path: SamplePath) -> float:
    """Return the most that can be delivered on a path, by trying everything slot by slot.

    Follows the slots' own order: pairs expire, successes are taken while attempts and memory allow, requests are
    served, pairs are thrown away. It knows nothing of columns.
    """
    memo: dict[tuple[object, ...], float] = {}

    def werner(link: int, birth: int, slot: int) -> float:
        if len(path.decay):
            decay = path.decay[slot, link] - path.decay[birth, link]
        else:
            decay = (slot - birth) / network.coherence_slots[link]
        return float(network.initial_werner[link] * np.exp(-decay))

    def worth(request: int, w: float) -> float:
        if 0.25 + 0.75 * w < requests.minimum_fidelity[request] - 1e-12:
            return 0.0
        kind = requests.kind[request]
        if kind == ValueKind.STEP:
            return 1.0
        return w * w if kind == ValueKind.INFORMATION else float(secret_key_fraction(w))

    def service_value(request: int, pairs: tuple[tuple[int, int], ...], slot: int) -> float:
        links = requests.route_link[requests.route_first[request] : requests.route_first[request + 1]]
        each = [werner(link, birth, slot) for link, birth in pairs]
        if len(links) > 1:
            return requests.weight[request] * worth(request, network.swap_werner ** (len(links) - 1) * np.prod(each))
        return requests.weight[request] * float(np.prod([worth(request, w) for w in each]))

    def from_slot(slot: int, stock: frozenset[tuple[int, int]], served: frozenset[int]) -> float:
        if slot == path.n_slots:
            return 0.0
        stock = frozenset((link, b) for link, b in stock if slot - b <= network.lifetime_slots[link])
        open_requests = frozenset(r for r in served if requests.deadline[r] >= slot)
        key = (slot, stock, open_requests)
        if key not in memo:
            winners = np.flatnonzero(path.success[slot])
            best = 0.0
            for size in range(len(winners) + 1):
                for taken in combinations(winners.tolist(), size):
                    ends = network.edges[list(taken)].ravel()
                    stored = stock | {(link, slot) for link in taken}
                    occupied = network.edges[[link for link, _ in stored]].ravel().astype(int)
                    attempts = np.bincount(ends.astype(int), minlength=network.n_nodes)
                    memory = np.bincount(occupied, minlength=network.n_nodes)
                    if (attempts <= network.attempts_per_slot).all() and (memory <= network.memory_slots).all():
                        waiting = [
                            r
                            for r in range(len(requests))
                            if requests.arrival[r] <= slot <= requests.deadline[r] and r not in served
                        ]
                        best = max(best, serve(slot, frozenset(stored), served, tuple(waiting)))
            memo[key] = best
        return memo[key]

    def serve(slot: int, stock: frozenset[tuple[int, int]], served: frozenset[int], waiting: tuple[int, ...]) -> float:
        if not waiting:
            return max(
                from_slot(slot + 1, frozenset(kept), served)
                for size in range(len(stock) + 1)
                for kept in combinations(sorted(stock), size)
            )
        request, rest = waiting[0], waiting[1:]
        best = serve(slot, stock, served, rest)
        links = requests.route_link[requests.route_first[request] : requests.route_first[request + 1]].tolist()
        if len(links) > 1:
            choices = list(product(*[[pair for pair in stock if pair[0] == link] for link in links]))
        else:
            choices = list(combinations([p for p in stock if p[0] == links[0]], int(requests.n_pairs[request])))
        for pairs in choices:
            gain = service_value(request, pairs, slot)
            best = max(best, gain + serve(slot, stock - set(pairs), served | {request}, rest))
        return best

    return from_slot(0, frozenset(), frozenset())
