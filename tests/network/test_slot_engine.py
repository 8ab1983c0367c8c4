"""The slotted engine against a slow simulator in plain Python, written from the rules of the slot alone."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import CeasError, DomainError
from ceas.network.draws import hash_counter, unit_interval
from ceas.network.slot_engine import advance_slots, run_slotted, slotted_lives, slotted_record, start_slotted
from ceas.network.slot_invariants import InvariantError, audit_lives
from ceas.network.slot_policy import (
    DISCARD,
    PURIFY,
    SlotPolicy,
    SlotSnapshot,
    request_value,
    route_value,
    slot_attempt_rule,
    slot_serve_rule,
    stored_werner,
)
from ceas.network.slots import PairFate, RequestTable, SamplePath, SlottedNetwork, SlottedRecord, draw_sample_path
from ceas.physics import secret_key_fraction

NEVER = 1 << 40


# ---- a policy that does everything that is allowed, at random --------------------------------------------------------


@slot_attempt_rule
def chaos_attempt(snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64]) -> None:
    for link in range(len(score)):
        seen = int(snapshot.free_slots[snapshot.edges[link, 0]] + 100 * snapshot.n_births[link])
        for at in range(snapshot.queue_first[link], snapshot.queue_first[link + 1]):
            seen = (31 * seen + snapshot.queue_request[at]) % 1000003
        for count in snapshot.n_requested[link]:
            seen = (31 * seen + count) % 1000003
        score[link] = unit_interval(np.uint64(snapshot.draw), seen) - 0.2
        at = int(unit_interval(np.uint64(snapshot.draw), 2 * link + 1) * 2.0 * (snapshot.n_stored[link] + 1))
        replace[link] = at if at < snapshot.n_stored[link] else -1
        if snapshot.parameters[link, 0] < score[link]:
            score[link] = 0.5


@slot_serve_rule
def chaos_serve(snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> int:
    n_actions = 0
    seed = np.uint64(snapshot.draw)
    counter = 1 << 20
    for request in snapshot.waiting:
        counter += 1
        if snapshot.arrival[request] > snapshot.slot or unit_interval(seed, counter) < 0.2:
            continue
        first, end = snapshot.route_first[request], snapshot.route_first[request + 1]
        needed = snapshot.n_pairs[request] if end - first == 1 else end - first
        n_found = 0
        for at in range(needed):
            link = snapshot.route_link[first + at] if end - first > 1 else snapshot.route_link[first]
            for offset in range(snapshot.n_stored[link]):
                counter += 1
                start = int(unit_interval(seed, counter) * snapshot.n_stored[link])
                position = (start + offset) % snapshot.n_stored[link]
                if snapshot.used[link, position] == 0:
                    snapshot.used[link, position] = 7
                    pairs[n_actions, at] = position
                    n_found += 1
                    break
        if n_found == needed:
            action[n_actions] = request
            n_actions += 1
    for link in range(len(snapshot.edges)):
        chosen = -1
        for position in range(snapshot.n_stored[link]):
            counter += 1
            coin = unit_interval(seed, counter)
            if snapshot.used[link, position] != 0 or coin > 0.4:
                continue
            if coin < 0.08:
                action[n_actions], pairs[n_actions, 0], pairs[n_actions, 1] = DISCARD, link, position
                n_actions += 1
            elif chosen >= 0:
                action[n_actions], pairs[n_actions, 0] = PURIFY, link
                pairs[n_actions, 1], pairs[n_actions, 2] = chosen, position
                chosen = -1
                n_actions += 1
            else:
                chosen = position
    return n_actions


def chaos(network: SlottedNetwork, tie_above: float = 1.0) -> SlotPolicy:
    return SlotPolicy(
        name="chaos",
        attempt=chaos_attempt,
        serve=chaos_serve,
        parameters=np.full((network.n_links, 1), tie_above),
        tables=np.zeros(1),
    )


# ---- the slow simulator ----------------------------------------------------------------------------------------------


@dataclass
class Pair:
    id: int
    birth: int
    werner: float
    claimed: float
    expiry: int


@dataclass
class Slow:
    """Objects and lists, one obvious step after the other; shares no code with the engine but the hash of coins."""

    network: SlottedNetwork
    requests: RequestTable
    path: SamplePath
    slot: int = 0
    stock: list[list[Pair]] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    purifications: dict[int, int] = field(default_factory=dict)
    served: list[tuple[int, int, float, float, int]] = field(default_factory=list)
    used_fidelity: list[float] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    ends: dict[int, tuple[int, PairFate, int]] = field(default_factory=dict)
    births: list[tuple[int, int]] = field(default_factory=list)
    user_value: dict[int, float] = field(default_factory=dict)
    requested: dict[tuple[int, int], int] = field(default_factory=dict)

    def run(self, policy: SlotPolicy) -> None:
        self.stock = [[] for _ in range(self.network.n_links)]
        names = ("generated", "used", "lost", "purified", "expired", "discarded", "attempts", "occupancy")
        self.counts = {name: [0] * self.network.n_links for name in names}
        for slot in range(self.path.n_slots):
            self.slot = slot
            self.one_slot(policy)
        self.slot += 1

    def one_slot(self, policy: SlotPolicy) -> None:
        for link, stock in enumerate(self.stock):
            for pair in [p for p in stock if p.expiry < self.slot]:
                self.end(link, pair, "expired", PairFate.EXPIRED)
        r = self.requests
        is_early = [r.announced[j] < r.arrival[j] for j in range(len(r))]
        alive = [j for j in range(len(r)) if r.announced[j] <= self.slot <= r.deadline[j] and j not in self.done]
        self.waiting = {j for j in alive if is_early[j] or r.arrival[j] < self.slot}
        score, replaces = np.zeros(self.network.n_links), np.zeros(self.network.n_links, dtype=np.int64)
        policy.attempt(self.snapshot(policy), score, replaces)
        self.attempts(score, replaces)
        for j in range(len(r)):
            if r.arrival[j] == self.slot:
                key = int(r.route_link[r.route_first[j]]), int(r.request_class[j])
                self.requested[key] = self.requested.get(key, 0) + 1
        self.waiting = set(alive)
        self.act(policy)
        for link in range(self.network.n_links):
            self.counts["occupancy"][link] += len(self.stock[link])

    def act(self, policy: SlotPolicy) -> None:
        r, snapshot = self.requests, self.snapshot(policy)
        room = len(r) + self.network.n_links * 20
        action, pairs = np.zeros(room, dtype=np.int64), np.zeros((room, 20), dtype=np.int64)
        n_actions = policy.serve(snapshot, action, pairs)
        stock = [list(pairs_of_link) for pairs_of_link in self.stock]
        made: list[tuple[int, Pair]] = []
        for row in range(n_actions):
            if action[row] == DISCARD:
                self.end(pairs[row, 0], stock[pairs[row, 0]][pairs[row, 1]], "discarded", PairFate.DISCARDED)
            elif action[row] == PURIFY:
                link = int(pairs[row, 0])
                self.purify(link, stock[link][pairs[row, 1]], stock[link][pairs[row, 2]], made)
            else:
                self.serve(int(action[row]), [int(at) for at in pairs[row]], stock)
        for link, pair in sorted(made, key=lambda item: stock[item[0]].index(item[1])):
            self.stock[link].remove(pair)
            self.stock[link].append(pair)

    def end(self, link: int, pair: Pair, count: str, fate: PairFate, request: int = -1) -> None:
        self.stock[link].remove(pair)
        self.counts[count][link] += 1
        assert pair.id not in self.ends
        self.ends[pair.id] = (self.slot, fate, request)

    def free(self, node: int) -> int:
        links = [e for e in range(self.network.n_links) if node in self.network.edges[e]]
        return int(self.network.memory_slots[node]) - sum(len(self.stock[e]) for e in links)

    def attempts(self, score: npt.NDArray[np.float64], replaces: npt.NDArray[np.int64]) -> None:
        left = [int(x) for x in self.network.attempts_per_slot]
        memory = [self.free(node) for node in range(self.network.n_nodes)]
        for link in sorted(range(len(score)), key=lambda e: (-score[e], e)):
            ends = [int(x) for x in self.network.edges[link]]
            if score[link] <= 0 or min(left[v] for v in ends) == 0:
                continue
            if replaces[link] < 0 and min(memory[v] for v in ends) == 0:
                continue
            for v in ends:
                left[v] -= 1
                memory[v] -= int(replaces[link] < 0)
            self.counts["attempts"][link] += 1
            if self.path.success[self.slot, link]:
                if replaces[link] >= 0:
                    self.end(link, self.stock[link][replaces[link]], "discarded", PairFate.DISCARDED)
                born = Pair(
                    len(self.births),
                    self.slot,
                    float(self.network.initial_werner[link]),
                    float(self.network.claimed_werner[link]),
                    self.slot + int(self.network.lifetime_slots[link]),
                )
                self.births.append((link, self.slot))
                self.stock[link].append(born)
                self.counts["generated"][link] += 1

    def now(self, link: int, pair: Pair) -> float:
        """Multiply the decay of the slots between, one by one."""
        werner = pair.werner
        for slot in range(pair.birth, self.slot):
            rate = 1.0 / self.network.coherence_slots[link]
            if len(self.path.decay):
                rate = self.path.decay[slot + 1, link] - self.path.decay[slot, link]
            werner *= np.exp(-rate)
        return float(werner)

    def serve(self, j: int, positions: list[int], stock: list[list[Pair]]) -> None:
        r = self.requests
        route = [int(e) for e in r.route_link[r.route_first[j] : r.route_first[j + 1]]]
        links = route if len(route) > 1 else route * int(r.n_pairs[j])
        taken = [(link, stock[link][at]) for link, at in zip(links, positions, strict=False)]
        n_swaps = len(route) - 1
        first_coin = self.tries.get(j, 0) * n_swaps
        self.tries[j] = self.tries.get(j, 0) + 1
        seed = np.uint64(hash_counter(np.uint64(self.path.swap_seed), j))
        coins = [unit_interval(seed, first_coin + k) for k in range(n_swaps)]
        if any(coin > self.network.swap_success_probability for coin in coins):
            for link, pair in taken:
                self.end(link, pair, "lost", PairFate.LOST, j)
            return
        werners = [self.now(link, pair) for link, pair in taken]
        for link, pair in taken:
            self.end(link, pair, "used", PairFate.USED, j)
        self.used_fidelity += [(1 + 3 * w) / 4 for w in werners]
        if n_swaps:
            werners = [float(np.prod(werners)) * self.network.swap_werner**n_swaps]
        worth = float(r.weight[j])
        for w in werners:
            worth *= (1 + 3 * w) / 4 >= r.minimum_fidelity[j] - 1e-12
            worth *= [1.0, w * w, float(secret_key_fraction(w))][r.kind[j]]
        self.waiting.remove(j)
        self.done.add(j)
        user = int(r.user[j])
        self.user_value[user] = self.user_value.get(user, 0.0) + worth
        self.served.append((j, self.slot, float(np.mean([(1 + 3 * w) / 4 for w in werners])), worth, len(taken)))

    def purify(self, link: int, kept: Pair, given: Pair, made: list[tuple[int, Pair]]) -> None:
        """Two pairs |F1>, |F2> agree with F1 F2 + F1 (1-F2)/3 + ... (the populations of Bennett et al. 1996)."""
        count = self.purifications.get(link, 0)
        self.purifications[link] = count + 1
        coin = unit_interval(np.uint64(hash_counter(~np.uint64(self.path.swap_seed), link)), count)
        a, b = ((1 + 3 * self.now(link, p)) / 4 for p in (kept, given))
        good, bad = a * b, (1 - a) * (1 - b)
        chance = good + a * (1 - b) / 3 + b * (1 - a) / 3 + 5 * bad / 9
        self.end(link, given, "purified", PairFate.PURIFIED)
        if coin > chance:
            self.end(link, kept, "purified", PairFate.PURIFIED)
            return
        age = np.array([self.slot - p.birth for p in (kept, given)])
        c, d = (1 + 3 * np.array([kept.claimed, given.claimed]) * np.exp(-age / self.network.coherence_slots[link])) / 4
        claimed = (c * d + (1 - c) * (1 - d) / 9) / (
            c * d + c * (1 - d) / 3 + d * (1 - c) / 3 + 5 * (1 - c) * (1 - d) / 9
        )
        kept.birth, kept.werner = self.slot, (4 * (good + bad / 9) / chance - 1) / 3
        kept.claimed = (4 * claimed - 1) / 3
        # A new pair of the link decays to that claim within this many slots.
        gone = -np.log(kept.claimed / self.network.claimed_werner[link]) * self.network.coherence_slots[link]
        kept.expiry = self.slot + max(0, int(np.floor(self.network.lifetime_slots[link] - gone)))
        made.append((link, kept))

    def snapshot(self, policy: SlotPolicy) -> SlotSnapshot:
        net, r = self.network, self.requests
        room = 20
        births, claims = np.zeros((net.n_links, room), dtype=np.int64), np.zeros((net.n_links, room))
        expiries = np.zeros((net.n_links, room), dtype=np.int64)
        for link, stock in enumerate(self.stock):
            for at, pair in enumerate(stock):
                births[link, at], claims[link, at], expiries[link, at] = pair.birth, pair.claimed, pair.expiry
        queues = [
            [j for j in sorted(self.waiting) if e in r.route_link[r.route_first[j] : r.route_first[j + 1]]]
            for e in range(net.n_links)
        ]
        requested = np.zeros((net.n_links, int(r.request_class.max(initial=0)) + 1), dtype=np.int64)
        for key, count in self.requested.items():
            requested[key] = count
        n_users = int(r.user.max(initial=0)) + 1
        draw = int(hash_counter(np.uint64(self.path.swap_seed) ^ np.uint64(0x5DEECE66D), self.slot)) >> 1
        return SlotSnapshot(
            slot=self.slot,
            edges=net.edges,
            success_probability=net.success_probability,
            initial_werner=net.claimed_werner,
            decay_per_slot=1.0 / net.coherence_slots,
            lifetime_slots=net.lifetime_slots,
            memory_slots=net.memory_slots,
            attempts_per_slot=net.attempts_per_slot,
            free_slots=np.array([self.free(v) for v in range(net.n_nodes)]),
            swap_success_probability=net.swap_success_probability,
            swap_werner=net.swap_werner,
            stock_birth=births,
            stock_werner=claims,
            stock_expiry=expiries,
            n_stored=np.array([len(stock) for stock in self.stock]),
            queue_first=np.cumsum([0, *(len(queue) for queue in queues)]),
            queue_request=np.array([j for queue in queues for j in queue], dtype=np.int64),
            waiting=np.array(sorted(self.waiting), dtype=np.int64),
            route_first=r.route_first,
            route_link=r.route_link,
            arrival=r.arrival,
            deadline=r.deadline,
            n_pairs=r.n_pairs,
            minimum_fidelity=r.minimum_fidelity,
            weight=r.weight,
            kind=r.kind,
            request_class=r.request_class,
            user=r.user,
            user_value=np.array([self.user_value.get(user, 0.0) for user in range(n_users)]),
            user_mark=np.zeros(n_users),
            n_attempts=np.array(self.counts["attempts"]),
            n_births=np.array(self.counts["generated"]),
            n_requested=requested,
            draw=np.int64(draw),
            parameters=policy.parameters,
            tables=policy.tables,
            used=np.zeros((net.n_links, room), dtype=np.int64),
            work_int=np.zeros(4 * max(net.n_links, net.n_nodes, len(r)), dtype=np.int64),
            work_float=np.zeros(4 * max(net.n_links, net.n_nodes, len(r))),
        )


def random_case(seed: int) -> tuple[SlottedNetwork, RequestTable, SamplePath]:
    """Draw a small network with parallel links, routes, tuples, announcements, drift, every kind of value."""
    rng = np.random.default_rng(seed)
    n_nodes = int(rng.integers(2, 6))
    n_links, n_requests, n_slots = int(rng.integers(1, 8)), int(rng.integers(0, 40)), int(rng.integers(1, 25))
    edges = np.array([rng.choice(n_nodes, 2, replace=False) for _ in range(n_links)])
    if seed % 3 == 0:  # a chain, so that routes are long, with a link beside its first
        edges = np.array([[0, 1], *([node, node + 1] for node in range(n_nodes - 1))])
        n_links = len(edges)
    network = SlottedNetwork(
        edges=edges,
        success_probability=rng.uniform(0.4, 1.0, n_links),
        initial_werner=rng.uniform(0.7, 1.0, n_links),
        claimed_werner=rng.uniform(0.7, 1.0, n_links),
        coherence_slots=rng.uniform(3.0, 30.0, n_links),
        lifetime_slots=rng.integers(0, 9, n_links),
        memory_slots=rng.integers(0, 9, n_nodes),
        attempts_per_slot=rng.integers(0, 5, n_nodes),
        swap_success_probability=float(rng.uniform(0.3, 1.0)),
        swap_werner=float(rng.uniform(0.8, 1.0)),
    )
    arrival = np.sort(rng.integers(0, n_slots + 2, n_requests))
    routes = [random_route(network, rng) for _ in range(n_requests)]
    n_pairs = [int(rng.integers(1, 4)) if len(route) == 1 else 1 for route in routes]
    requests = RequestTable(
        route_first=np.cumsum([0, *(len(route) for route in routes)]),
        route_link=np.array([link for route in routes for link in route], dtype=np.int64),
        announced=arrival - rng.integers(0, 6, n_requests) * rng.integers(0, 2, n_requests),
        arrival=arrival,
        deadline=arrival + rng.integers(0, 9, n_requests),
        n_pairs=np.array(n_pairs, dtype=np.int64),
        minimum_fidelity=rng.uniform(0.3, 0.9, n_requests),
        weight=rng.uniform(0.0, 3.0, n_requests),
        kind=rng.integers(0, 3, n_requests),
        request_class=rng.integers(0, 3, n_requests),
        user=rng.integers(0, 4, n_requests),
    )
    drift = rng.uniform(0.5, 2.0, (n_slots, n_links)) if seed % 2 else None
    return network, requests, draw_sample_path(network, n_slots, rng, decay_factor=drift)


def random_route(network: SlottedNetwork, rng: np.random.Generator) -> list[int]:
    route = [int(rng.integers(network.n_links))]
    nodes = [int(x) for x in rng.permutation(network.edges[route[0]])]
    while len(route) < 4 and rng.random() < 0.8:
        ways = [e for e in range(network.n_links) if nodes[-1] in network.edges[e]]
        link = int(rng.choice(ways))
        after = int(network.edges[link].sum()) - nodes[-1]
        if after in nodes:
            break
        route.append(link)
        nodes.append(after)
    return route


def assert_same(record: SlottedRecord, slow: Slow) -> None:
    assert [(int(a), int(b)) for a, b in zip(record.served_request, record.served_slot, strict=True)] == [
        served[:2] for served in slow.served
    ]
    for at, name in ((2, "served_fidelity"), (3, "served_value"), (4, "served_pairs")):
        np.testing.assert_allclose(
            getattr(record, name), [served[at] for served in slow.served], rtol=1e-11, atol=1e-13
        )
    np.testing.assert_allclose(record.used_fidelity, slow.used_fidelity, rtol=1e-11)
    for name, counts in slow.counts.items():
        assert getattr(record, name).tolist() == counts, name
    assert record.stored.tolist() == [len(stock) for stock in slow.stock]


@pytest.mark.parametrize("block", range(3))
def test_engine_agrees_with_the_slow_simulator(block: int) -> None:
    """120 random networks: the same records, pair lives included; in every 40 of them every fate occurs."""
    fates: set[int] = set()
    for seed in range(40 * block, 40 * block + 40):
        network, requests, path = random_case(seed)
        policy = chaos(network, tie_above=0.6 if seed % 3 else 1.0)
        slow = Slow(network, requests, path)
        slow.run(policy)
        state = start_slotted(network, requests, path, debug=True)
        advance_slots(state, policy)
        record, lives = slotted_record(state), slotted_lives(state)
        audit_lives(network, requests, path, record, lives)
        assert_same(record, slow)
        assert list(zip(lives.link.tolist(), lives.birth_slot.tolist(), strict=True)) == slow.births
        for pair, (end, fate, request) in slow.ends.items():
            assert (lives.end_slot[pair], lives.fate[pair], lives.request[pair]) == (end, fate, request)
        assert int((lives.fate == PairFate.STORED).sum()) == sum(len(stock) for stock in slow.stock)
        np.testing.assert_allclose(sorted(lives.end_fidelity[lives.fate == PairFate.USED]), sorted(slow.used_fidelity))
        fates |= set(lives.fate.tolist())
    assert fates == set(PairFate)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(1000, 1 << 30), cut=st.integers(0, 30))
def test_invariants_hold_and_a_run_can_be_cut(seed: int, cut: int) -> None:
    network, requests, path = random_case(seed)
    policy = chaos(network)
    whole = run_slotted(network, requests, path, policy, debug=True)
    state = start_slotted(network, requests, path)
    advance_slots(state, policy, cut)
    advance_slots(state, policy)
    for name, array in slotted_record(state).to_arrays().items():
        np.testing.assert_array_equal(array, getattr(whole, name))


# ---- mistakes --------------------------------------------------------------------------------------------------------


@slot_attempt_rule
def scripted_attempt(snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64]) -> None:
    for link in range(len(score)):
        score[link] = 1.0
        replace[link] = int(snapshot.tables[0])


@slot_serve_rule
def scripted_serve(snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> int:
    """Do in slot 1 the actions in the tables: their number, then an action and three pairs for each."""
    if snapshot.slot != 1:
        return 0
    for row in range(min(2, int(snapshot.tables[1]))):
        action[row] = int(snapshot.tables[2 + 4 * row])
        for at in range(3):
            pairs[row, at] = int(snapshot.tables[3 + 4 * row + at])
    return int(snapshot.tables[1])


def two_links() -> tuple[SlottedNetwork, RequestTable, SamplePath]:
    """Two links in a row that succeed in slots 0 and 1; a request over link 0, one over both, one in the future."""
    network = SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.array([0.5, 0.5]),
        initial_werner=np.array([0.9, 0.8]),
        claimed_werner=np.array([0.9, 0.8]),
        coherence_slots=np.array([10.0, 20.0]),
        lifetime_slots=np.array([3, 3]),
        memory_slots=np.array([3, 6, 3]),
        attempts_per_slot=np.array([1, 2, 1]),
        swap_werner=0.95,
    )
    requests = RequestTable(
        route_first=np.array([0, 1, 3, 4]),
        route_link=np.array([0, 0, 1, 1]),
        announced=np.array([0, 0, 0]),
        arrival=np.array([0, 1, 3]),
        deadline=np.array([3, 3, 3]),
        n_pairs=np.array([2, 1, 1]),
        minimum_fidelity=np.full(3, 0.3),
        weight=np.array([2.0, 3.0, 1.0]),
        kind=np.array([0, 1, 2]),
        request_class=np.array([0, 1, 2]),
        user=np.array([0, 1, 0]),
    )
    success = np.array([[True, True], [True, True], [False, False], [False, False], [False, False]])
    return network, requests, SamplePath(success=success, decay=np.zeros((0, 2)), swap_seed=1)


def scripted(*script: int, replaces: int = -1) -> SlotPolicy:
    tables = np.array([replaces, *script, *([0] * 12)], dtype=np.float64)
    name = "scripted"
    return SlotPolicy(
        name=name, attempt=scripted_attempt, serve=scripted_serve, parameters=np.zeros((2, 1)), tables=tables
    )


def test_services_by_hand() -> None:
    """A tuple of link 0 is served with pairs of ages 1 and 0, then the route with those left; all figures by hand."""
    record = run_slotted(*two_links(), scripted(1, 0, 1, 0, 0), debug=True)
    first, second = 0.9 * np.exp(-0.1), 0.9
    np.testing.assert_allclose(record.used_fidelity, [0.25 + 0.75 * second, 0.25 + 0.75 * first])
    np.testing.assert_allclose(record.served_fidelity, [0.25 + 0.75 * (first + second) / 2])
    assert (record.served_value[0], record.served_pairs[0], record.served_slot[0]) == (2.0, 2, 1)
    assert (record.used.tolist(), record.expired.tolist(), record.stored.tolist()) == ([2, 0], [0, 1], [0, 1])
    record = run_slotted(*two_links(), scripted(1, 1, 0, 1, 0), debug=True)
    werner = 0.95 * 0.9 * np.exp(-0.1) * 0.8
    np.testing.assert_allclose(record.served_value, [3.0 * werner**2])
    np.testing.assert_allclose(record.served_fidelity, [0.25 + 0.75 * werner])
    assert record.used.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("script", "replaces", "message"),
    [
        ((-1,), -1, "must take between 0 and"),
        ((10**6,), -1, "but takes 1000000 in slot 1"),
        ((0,), 0, "must replace a stored pair, but wants that at position 0 of link 0, which holds 0, in slot 0"),
        ((1, 3, 0, 0, 0), -1, "the service of request 3 in slot 1, action 0, but there is no such request"),
        ((1, -7, 0, 0, 0), -1, "there is no such request"),
        ((1, 2, 0, 0, 0), -1, "request 2 in slot 1, action 0, but it arrives in slot 3"),
        ((1, 0, 0, 2, 0), -1, "link 0 has no pair at position 2"),
        ((1, 0, 1, 1, 0), -1, "the pair at position 1 of link 0 is chosen twice"),
        ((2, 0, 0, 1, 0, 1, 0, 0, 0), -1, "request 1 in slot 1, action 1, but the pair at position 0 of link 0"),
        ((2, 0, 0, 1, 0, 0, 0, 0, 0), -1, "action 1, but it does not wait, or is served twice"),
        (
            (1, PURIFY, 0, 1, 1),
            -1,
            "a purification in slot 1, action 0, but the pair at position 1 of link 0 is chosen",
        ),
        ((1, PURIFY, 2, 0, 1), -1, "there is no link 2"),
        ((1, DISCARD, 1, -1, 0), -1, "a discard in slot 1, action 0, but link 1 has no pair at position -1"),
    ],
)
def test_a_mistake_is_told(script: tuple[int, ...], replaces: int, message: str) -> None:
    network, requests, path = two_links()
    # Request 2 must be known before its arrival to be named too early.
    requests = replace(requests, announced=np.array([0, 0, 1]))
    state = start_slotted(network, requests, path)
    with pytest.raises(DomainError, match=message):
        advance_slots(state, scripted(*script, replaces=replaces))
    with pytest.raises(DomainError, match="without mistakes"):
        advance_slots(state, scripted(0))


def test_a_broken_state_is_told() -> None:
    """Debug mode finds what no policy can cause: memory, stock and counts that were tampered with."""
    cases = [
        ("free_slots", 1, "free memory slots of node 1"),
        ("stock_expiry", -9, "used twice or after its end"),
        ("stock_birth", 9, "stock of link"),
        ("counts", 1, "pairs of link"),
    ]
    for name, change, message in cases:
        state = start_slotted(*two_links(), debug=True)
        advance_slots(state, scripted(0), 1)
        array: Any = getattr(state, name)
        array[1 if array.ndim == 1 else (slice(None), 0)] += change
        with pytest.raises(CeasError, match=message):
            advance_slots(state, scripted(0), 2)


def test_the_audit_finds_tampered_lives() -> None:
    network, requests, path = two_links()
    state = start_slotted(network, requests, path, trace=True)
    advance_slots(state, scripted(1, 0, 1, 0, 0))
    record, lives = slotted_record(state), slotted_lives(state)
    audit_lives(network, requests, path, record, lives)
    for changed in (
        replace(lives, end_slot=lives.end_slot + (lives.fate == PairFate.USED)),
        replace(lives, request=np.where(lives.request == 0, 1, lives.request)),
        replace(lives, birth_slot=lives.birth_slot + 2),
        replace(lives, fate=np.where(lives.fate == PairFate.USED, PairFate.LOST, lives.fate)),
    ):
        with pytest.raises(InvariantError):
            audit_lives(network, requests, path, record, changed)
    with pytest.raises(InvariantError, match="more pairs than its memory"):
        audit_lives(replace(network, memory_slots=np.ones(3, dtype=np.int64)), requests, path, record, lives)


def test_lives_need_a_trace() -> None:
    state = start_slotted(*two_links())
    advance_slots(state, scripted(0))
    with pytest.raises(DomainError, match="started with `trace`"):
        slotted_lives(state)


def test_swap_coins_do_not_depend_on_what_else_is_done() -> None:
    """A route's swap has the same outcome whether or not other requests were served before it."""
    network, requests, path = two_links()
    network = replace(network, swap_success_probability=0.5)
    outcomes = []
    for seed in range(40):
        for script in ((1, 1, 0, 0, 0), (1, 1, 1, 1, 0)):
            record = run_slotted(network, requests, replace(path, swap_seed=seed), scripted(*script))
            outcomes.append(len(record.served_request))
    assert outcomes[::2] == outcomes[1::2]
    assert 8 <= sum(outcomes[::2]) <= 32


def test_values_and_routes_seen_by_policies() -> None:
    network, requests, path = two_links()
    slow = Slow(network, requests, path)
    slow.run(scripted(0))
    slow.slot = 2
    snapshot = slow.snapshot(scripted(0))
    assert stored_werner(snapshot, 0, 0) == pytest.approx(0.9 * np.exp(-0.1))
    werner = 0.95 * stored_werner(snapshot, 0, 0) * stored_werner(snapshot, 1, 0)
    assert route_value(snapshot, 1, np.array([0, 0])) == pytest.approx(3.0 * werner**2)
    assert route_value(snapshot, 2, np.array([0])) == pytest.approx(secret_key_fraction(stored_werner(snapshot, 1, 0)))
    assert request_value(0, 2.0, 0.7, 0.6) == 2.0
    assert request_value(0, 2.0, 0.7, 0.599) == 0.0


@pytest.mark.parametrize(
    ("route", "is_path"),
    [([0, 1, 2], True), ([2, 1, 0], True), ([0, 2], False), ([0, 0], False), ([0, 1, 3], False), ([0, 4], False)],
)
def test_routes_must_be_paths(route: list[int], is_path: bool) -> None:
    """Links 0 to 3 are a square, link 4 lies beside link 0: no jumps, no way back, no ring of three (0, 1, 3)."""
    network, requests, path = two_links()
    network = replace(
        network,
        edges=np.array([[0, 1], [2, 1], [2, 3], [0, 2], [1, 0]]),
        **{
            name: np.full(5, getattr(network, name)[0])
            for name in ("success_probability", "initial_werner", "claimed_werner", "coherence_slots", "lifetime_slots")
        },
        memory_slots=np.ones(4, dtype=np.int64),
        attempts_per_slot=np.ones(4, dtype=np.int64),
    )
    path = SamplePath(success=np.ones((2, 5), dtype=bool), decay=np.zeros((0, 5)), swap_seed=0)
    one = {name: getattr(requests, name)[2:] for name in requests.__dataclass_fields__ if "route" not in name}
    requests = RequestTable(route_first=np.array([0, len(route)]), route_link=np.array(route), **one)
    if is_path:
        start_slotted(network, requests, path)
    else:
        with pytest.raises(DomainError, match="routes that are paths"):
            start_slotted(network, requests, path)
