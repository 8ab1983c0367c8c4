"""Repeater chains against a simulator that knows no shortcuts: every attempt is made and every message is delivered.

It shares neither code nor random numbers with the kernel. Its nodes know only what messages told them: every swap and
every loss is told to all nodes of the route, with its pairs' names, and each node keeps its own graph of joined pairs.
Correlators come from how long each qubit was stored, not from segments.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import ceas.scheduling as policies
from ceas.network.policy import attempt_on_request, swap_asap, swap_nested, swap_when_complete
from ceas.network.records import NetworkModel
from ceas.network.route_records import RouteFate
from ceas.network.simulation import advance_round, initial_state


@dataclass
class Pair:
    link: int
    birth_ns: int
    measured_ns: dict[int, int] = field(default_factory=dict)


@dataclass
class Node:
    """What a node holds and has heard. A pair's name is its index."""

    left: int | None = None
    right: int | None = None
    busy: tuple[int, int] | None = None
    joined: dict[int, set[int]] = field(default_factory=dict)
    swapped: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    made: dict[int, int] = field(default_factory=dict)

    def group(self, pair: int) -> set[int]:
        """Return the pairs that this node knows to be joined with one."""
        found, todo = {pair}, [pair]
        while todo:
            for other in self.joined.get(todo.pop(), ()):
                if other not in found:
                    found.add(other)
                    todo.append(other)
        return found

    def is_lost(self, pair: int) -> bool:
        return bool(self.group(pair) & self.lost)


class Chain:
    """One request on a chain, from its arrival until it is served."""

    def __init__(self, case: dict[str, Any], order: str, rng: np.random.Generator, arrival_ns: int) -> None:
        self.case, self.order, self.rng = case, order, rng
        self.n = len(case["period_ns"])
        self.nodes = [Node() for _ in range(self.n + 1)]
        self.pairs: list[Pair] = []
        self.asked: list[int | None] = [arrival_ns] * self.n
        self.current: list[int | None] = [None] * self.n
        self.events: list[tuple[int, int, int, tuple[Any, ...]]] = []
        self.sequence = itertools.count()
        self.result: tuple[int, float] | None = None
        for link in range(self.n):
            period = case["period_ns"][link]
            self.push(arrival_ns // period * period + period, 0, ("attempt", link))

    def push(self, time_ns: int, rank: int, what: tuple[Any, ...]) -> None:
        heapq.heappush(self.events, (time_ns, rank, next(self.sequence), what))

    def latency(self, a: int, b: int) -> int:
        return int(sum(self.case["latency_ns"][min(a, b) : max(a, b)]))

    def tell(self, now: int, origin: int, message: tuple[Any, ...]) -> None:
        for node in range(self.n + 1):
            self.push(now + self.latency(origin, node), 2, ("hear", node, message))

    def run(self) -> tuple[int, float]:
        while self.result is None:
            now, _, _, what = heapq.heappop(self.events)
            getattr(self, what[0])(now, *what[1:])
        return self.result

    def attempt(self, now: int, link: int) -> None:
        self.push(now + self.case["period_ns"][link], 0, ("attempt", link))
        asked = self.asked[link]
        if asked is None or asked >= now or self.rng.random() >= self.case["success"]:
            return
        pair = len(self.pairs)
        self.pairs.append(Pair(link, now))
        self.asked[link], self.current[link] = None, pair
        self.nodes[link].right = self.nodes[link + 1].left = pair
        for node in range(self.n + 1):
            self.push(now + self.case["cutoff_ns"] + 1, 1, ("grow_old", node))
            near = link if node <= link else link + 1
            self.push(now + self.latency(near, node), 2, ("hear", node, ("made", pair, link)))

    def decide(self, now: int, at: int) -> None:
        """Begin a measurement if the order and what the node knows allow it."""
        node = self.nodes[at]
        if not 0 < at < self.n or node.busy or node.left is None or node.right is None:
            return
        left, right = (len(node.group(pair)) for pair in (node.left, node.right))
        span = at & -at
        known = {link for pair, link in node.made.items() if not node.is_lost(pair)}
        if {
            "asap": True,
            "nested": left == span and right >= min(span, self.n - at),
            "complete": len(known) == self.n,
        }[self.order]:
            node.busy = (node.left, node.right)
            self.push(now + self.case["measure_ns"], 1, ("measured", at))

    def measured(self, now: int, at: int) -> None:
        node = self.nodes[at]
        assert node.busy is not None
        left, right = node.busy
        self.pairs[left].measured_ns[at] = self.pairs[right].measured_ns[at] = now
        node.busy = node.left = node.right = None
        is_success = self.rng.random() < self.case["swap_success"]
        self.tell(now, at, ("swap", left, right, is_success))

    def grow_old(self, now: int, at: int) -> None:
        """Give up the halves whose known group has a pair that is too old."""
        node = self.nodes[at]
        for side in ("left", "right"):
            pair = getattr(node, side)
            if pair is None or (node.busy and pair in node.busy) or node.is_lost(pair):
                continue
            oldest = min(self.pairs[other].birth_ns for other in node.group(pair))
            if now > oldest + self.case["cutoff_ns"]:
                setattr(node, side, None)
                self.tell(now, at, ("cut", pair))

    def hear(self, now: int, at: int, message: tuple[Any, ...]) -> None:
        node = self.nodes[at]
        kind = message[0]
        if kind == "made":
            node.made[message[1]] = message[2]
        elif kind == "cut":
            node.lost.add(message[1])
        else:
            _, left, right, is_success = message
            node.joined.setdefault(left, set()).add(right)
            node.joined.setdefault(right, set()).add(left)
            if not is_success:
                node.lost |= {left, right}
        for side in ("left", "right"):
            pair = getattr(node, side)
            if pair is not None and not (node.busy and pair in node.busy) and node.is_lost(pair):
                setattr(node, side, None)
        self.push(now, 3, ("settle", at))

    def settle(self, now: int, at: int) -> None:
        """After all that is heard at one time: give up, deliver, ask again, decide."""
        self.grow_old(now, at)
        self.push(now, 4, ("finish", at))

    def finish(self, now: int, at: int) -> None:
        self.deliver(now)
        if self.result is not None:
            return
        for link in range(self.n):
            pair = self.current[link]
            if pair is None:
                continue
            ends = (self.nodes[link], self.nodes[link + 1])
            is_free = ends[0].right != pair and ends[1].left != pair
            if is_free and all(end.is_lost(pair) for end in ends):
                self.current[link] = None
                self.asked[link] = now
        self.decide(now, at)

    def deliver(self, now: int) -> None:
        first, last = self.nodes[0].right, self.nodes[self.n].left
        if first is None or last is None:
            return
        for node in (self.nodes[0], self.nodes[self.n]):
            group = node.group(first)
            if last not in group or group & node.lost:
                return
        exponent = 0.0
        for pair in self.nodes[0].group(first):
            for end in (self.pairs[pair].link, self.pairs[pair].link + 1):
                until = self.pairs[pair].measured_ns.get(end, now)
                exponent += self.case["rate_hz"][end] * 1e-9 * (until - self.pairs[pair].birth_ns)
        self.result = (now, 0.95**self.n * math.exp(-exponent))


CASES: dict[str, dict[str, Any]] = {
    "fails": {
        "period_ns": (10, 14),
        "latency_ns": (12, 31),
        "success": 0.3,
        "swap_success": 0.5,
        "measure_ns": 6,
        "cutoff_ns": 10**9,
        "rate_hz": (1e6, 2e6, 5e5),
    },
    "cuts": {
        "period_ns": (10, 10, 15),
        "latency_ns": (9, 23, 14),
        "success": 0.25,
        "swap_success": 0.75,
        "measure_ns": 3,
        "cutoff_ns": 70,
        "rate_hz": (1e6, 2e6, 5e5, 1e6),
    },
    "long": {
        "period_ns": (10, 11, 10, 13),
        "latency_ns": (5, 8, 6, 7),
        "success": 0.35,
        "swap_success": 0.8,
        "measure_ns": 0,
        "cutoff_ns": 90,
        "rate_hz": (1e6, 1e6, 3e6, 1e6, 1e6),
    },
}
ORDERS = {"asap": swap_asap, "nested": swap_nested, "complete": swap_when_complete}
N = 1_200
# All periods divide it, so every request meets its links in the same phase.
SPACING_NS = 10 * 11 * 13 * 14 * 15


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CASES)
def test_equals_attempt_by_attempt_simulator(name: str, order: str, make_chain: Callable[..., NetworkModel]) -> None:
    """Two-sample Kolmogorov-Smirnov of delivery times and of correlators, 1,200 requests each; false alarms 1e-6 each."""
    case = CASES[name]
    n_hops = len(case["period_ns"])
    model = make_chain(
        n_hops,
        {"per_round": N},
        period_ns=case["period_ns"],
        latency_ns=case["latency_ns"],
        success=case["success"],
        node_rate_hz=case["rate_hz"],
        round_ns=N * SPACING_NS,
        learning_ns=10_000,
        repeaters={
            "swap_success_probability": case["swap_success"],
            "bell_measurement_ns": case["measure_ns"],
            "cutoff_ns": min(case["cutoff_ns"], 10**12),
        },
    )
    policy = replace(policies.oldest_first(model), attempt=attempt_on_request, swap=ORDERS[order])
    record = advance_round(initial_state(model, seed=11, trace_every=1), model, policy)
    assert record.routes is not None
    pairs = record.routes.pairs[record.routes.pairs["fate"] == RouteFate.DELIVERED]
    times = pairs["end_ns"] - (pairs["request"] + 0.5) * SPACING_NS
    rng = np.random.default_rng(5)
    oracle = np.array([Chain(case, order, rng, SPACING_NS // 2).run() for _ in range(N)])
    assert len(pairs) == N
    assert stats.ks_2samp(times, oracle[:, 0] - SPACING_NS // 2).pvalue > 1e-6
    assert stats.ks_2samp(pairs["x_at_end"].astype(float), oracle[:, 1]).pvalue > 1e-6
