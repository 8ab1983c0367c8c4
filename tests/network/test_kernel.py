"""The compiled kernel against a slow simulator in plain Python that shares none of its code, event by event."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import stats

import ceas.scheduling as policies
from ceas.network.draws import geometric_gap, hash_counter, unit_interval
from ceas.network.policy import KEY_REQUEST, NEVER, WAIT, LinkView, Policy, key_fraction, key_fraction_of_bases
from ceas.network.records import Fate, NetworkModel
from ceas.network.simulation import advance_round, initial_state
from ceas.physics import bbm92_key_fraction, bell_diagonal_to_correlators, secret_key_fraction
from ceas.streams import stream_seed

MASK = (1 << 64) - 1
POLICIES = ("oldest_first", "freshest_first", "random", "static_tdma", "ceas")


def split_mix(seed: int, counter: int) -> int:
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unit(seed: int, counter: int) -> float:
    return ((split_mix(seed, counter) >> 11) + 1) / 2**53


@dataclass
class OracleLink:
    """One link of the slow simulator: pairs are (birth, number), requests are times."""

    successes: Iterator[tuple[int, int]]
    success: tuple[int, int]
    stock: list[tuple[int, int]] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    n_arrived: int = 0
    wake_ns: int | None = None
    ready_ns: list[int | None] = field(default_factory=lambda: [None, None])
    is_announced: list[bool] = field(default_factory=lambda: [True, True])
    resume_ns: int = 0
    blocked_since_ns: int | None = None
    n_calls: int = 0
    blocked_ns: int = 0
    dropped: int = 0
    generated: int = 0


class Oracle:
    """The rules of the simulation, written down as plainly as possible: look at everything after every event."""

    def __init__(self, model: NetworkModel, policy: Policy, seed: int) -> None:
        self.model, self.policy, self.seed = model, policy, seed
        self.now_ns = 0
        self.closed: list[tuple[int, int, int, int, int, int]] = []
        self.shots: list[tuple[int, int, tuple[float, ...]]] = []
        demand = model.demand
        self.learners: list[list[int]] = [
            [int(learner) for learner in np.flatnonzero(demand.learner_link == link)] for link in range(model.n_links)
        ]
        self.has_demand = [
            bool(self.learners[link]) or demand.key_pairs_per_round[link] > 0 for link in range(model.n_links)
        ]
        self.links = []
        for link in range(model.n_links):
            successes = self.successes(link)
            self.links.append(OracleLink(successes, next(successes)))

    def successes(self, link: int) -> Iterator[tuple[int, int]]:
        p = float(self.model.links.success_probability[link])
        seed = stream_seed(self.seed, "link_generation", link=link)
        attempt, number = -1, 0
        while True:
            u = unit(seed, number)
            attempt += 1 if p == 1.0 else 1 + math.floor(math.log(u) / math.log1p(-p))
            yield attempt, number
            number += 1

    def ends(self, link: int) -> tuple[int, int]:
        return int(self.model.links.node_a[link]), int(self.model.links.node_b[link])

    def free(self, node: int) -> int:
        used = sum(len(state.stock) for link, state in enumerate(self.links) if node in self.ends(link))
        return int(self.model.nodes.memory_slots[node]) - used

    def is_blocked(self, link: int) -> bool:
        return min(self.free(node) for node in self.ends(link)) == 0

    def werner(self, link: int, age_ns: int) -> float:
        rate = float(self.model.links.decay_rate_hz[link])
        return float(self.model.links.initial_werner[link]) * math.exp(-rate * 1e-9 * age_ns)

    def is_usable(self, link: int) -> bool:
        return self.has_demand[link] and int(self.model.lifetime_ns[link]) > 0

    def window(self) -> tuple[int, int, int]:
        clock = self.model.clock
        start = self.now_ns // clock.round_ns * clock.round_ns
        return start, start + clock.learning_ns, start + clock.round_ns

    def close_ns(self, link: int, side: int) -> int:
        duration = int(self.model.demand.shot_duration_ns[self.learners[link][side]])
        return self.window()[1] - duration + 1

    def events(self) -> Iterator[tuple[int, int, int]]:
        demand, clock = self.model.demand, self.model.clock
        for link, state in enumerate(self.links):
            if state.stock:
                yield state.stock[0][0] + int(self.model.lifetime_ns[link]), link, 0
            if state.keys:
                yield state.keys[0] + demand.key_deadline_ns, link, 1
            if self.is_usable(link):
                yield (state.success[0] + 1) * int(self.model.links.attempt_period_ns[link]), link, 2
            rate = demand.key_pairs_per_round[link]
            if rate > 0:
                yield int((state.n_arrived + 0.5) * (clock.round_ns / rate)), link, 3
            for side in range(len(self.learners[link])):
                ready = state.ready_ns[side]
                if ready is not None:
                    close = self.close_ns(link, side)
                    yield (close if state.is_announced[side] else min(ready, close)), link, 4 + side
            if state.wake_ns is not None:
                yield state.wake_ns, link, 6

    def view(self, link: int) -> LinkView:
        state, model, demand = self.links[link], self.model, self.model.demand
        state.n_calls += 1
        start, learning_end, end = self.window()
        n_sides = len(self.learners[link])
        rate = demand.key_pairs_per_round[link]
        p = float(model.links.success_probability[link]) if self.is_usable(link) else 0.0
        ready = [NEVER if state.ready_ns[side] is None else state.ready_ns[side] for side in range(2)]
        durations = [int(demand.shot_duration_ns[learner]) for learner in self.learners[link]] + [0, 0]
        return LinkView(
            link=link,
            now_ns=self.now_ns,
            round_start_ns=start,
            round_end_ns=end,
            learning_end_ns=learning_end,
            qpu_ready_ns=np.array(ready, dtype=np.int64),
            qpu_close_ns=np.array(
                [self.close_ns(link, side) if side < n_sides else learning_end + 1 for side in range(2)]
            ),
            shot_duration_ns=np.array(durations[:2]),
            stock_birth_ns=np.array([birth for birth, _ in state.stock], dtype=np.int64),
            key_arrival_ns=np.array(state.keys, dtype=np.int64),
            free_slots=min(self.free(node) for node in self.ends(link)),
            capacity=min(int(model.nodes.memory_slots[node]) for node in self.ends(link)),
            initial_werner=float(model.links.initial_werner[link]),
            decay_per_ns=float(model.links.decay_rate_hz[link]) * 1e-9,
            lifetime_ns=int(model.lifetime_ns[link]),
            pair_period_ns=int(model.links.attempt_period_ns[link]) / p if p else math.inf,
            key_period_ns=model.clock.round_ns / float(rate) if rate else math.inf,
            key_deadline_ns=demand.key_deadline_ns,
            pairs_per_shot=demand.pairs_per_shot,
            learning_value=demand.learning_value,
            key_value=demand.key_value,
            test_value=demand.test_value,
            test_share=demand.test_share,
            draw=np.int64(split_mix(stream_seed(self.seed, "link_policy", link=link), state.n_calls) >> 1),
            parameters=self.policy.parameters[link],
        )

    def end_pairs(self, link: int, positions: list[int], fate: Fate, user: int = -1) -> list[float]:
        state = self.links[link]
        werners: list[float] = []
        for position in sorted(positions, reverse=True):
            birth, number = state.stock.pop(position)
            self.closed.append((number * len(self.links) + link, link, birth, self.now_ns, int(fate), user))
            werners.insert(0, self.werner(link, self.now_ns - birth))
        return werners

    def dispatch(self, link: int) -> None:
        state, demand = self.links[link], self.model.demand
        state.wake_ns = None
        while True:
            waits = [ready is not None and ready <= self.now_ns for ready in state.ready_ns]
            if not state.stock or not (state.keys or (any(waits) and len(state.stock) >= demand.pairs_per_shot)):
                return
            choice = np.zeros(max(1, demand.pairs_per_shot), dtype=np.int64)
            request, wake = self.policy.serve(self.view(link), choice)
            if request == WAIT:
                state.wake_ns = int(wake) if self.now_ns < wake < NEVER else None
                return
            positions = [int(at) for at in choice[: demand.pairs_per_shot if request < KEY_REQUEST else 1]]
            assert len(set(positions)) == len(positions)
            coin = unit(stream_seed(self.seed, "link_test", link=link), state.stock[min(positions)][1])
            if coin <= demand.test_share:
                self.end_pairs(link, positions, Fate.TEST)
            elif request < KEY_REQUEST:
                assert waits[request]
                learner = self.learners[link][request]
                werners = self.end_pairs(link, positions, Fate.LEARNING, learner)
                self.shots.append((learner, self.now_ns, tuple(werners)))
                state.ready_ns[request] = self.now_ns + int(demand.shot_duration_ns[learner])
                state.is_announced[request] = False
            else:
                state.keys.pop(request - KEY_REQUEST)
                self.end_pairs(link, positions, Fate.KEY)

    def succeed(self, link: int) -> bool:
        state = self.links[link]
        attempt, number = state.success
        is_free = not self.is_blocked(link)
        position = self.policy.attempt(self.view(link)) if is_free or state.stock else -1
        began_ns = attempt * int(self.model.links.attempt_period_ns[link])
        is_stored = False
        if position == len(state.stock):
            is_stored = is_free and began_ns >= state.resume_ns
        elif position >= 0:
            self.end_pairs(link, [position], Fate.DISCARDED)
            is_stored = True
        if is_stored:
            state.stock.append((self.now_ns, number))
            state.generated += 1
        state.success = next(state.successes)
        return is_stored

    def handle(self, link: int, kind: int) -> None:
        state = self.links[link]
        if kind == 0:
            self.end_pairs(link, [0], Fate.EXPIRED)
        elif kind == 1:
            state.keys.pop(0)
            state.dropped += 1
        elif kind == 2:
            if self.succeed(link):
                self.dispatch(link)
        else:
            if kind == 3:
                state.keys.append(self.now_ns)
                state.n_arrived += 1
            elif kind < 6:
                if self.now_ns >= self.close_ns(link, kind - 4):
                    state.ready_ns[kind - 4] = None
                else:
                    state.is_announced[kind - 4] = True
            self.dispatch(link)

    def run_round(self) -> None:
        start = self.now_ns
        end = start + self.model.clock.round_ns
        for link, learners in enumerate(self.learners):
            for side in range(len(learners)):
                self.links[link].ready_ns[side] = start
                self.links[link].is_announced[side] = False
        while True:
            events = [event for event in self.events() if event[0] < end]
            if not events:
                break
            before_ns = self.now_ns
            self.now_ns, link, kind = min(events)
            self.count_blocked(before_ns)
            self.handle(link, kind)
            self.look_for_room()
        before_ns, self.now_ns = self.now_ns, end
        self.count_blocked(before_ns)

    def look_for_room(self) -> None:
        for link, state in enumerate(self.links):
            if not self.is_blocked(link):
                if state.blocked_since_ns is not None and state.blocked_since_ns < self.now_ns:
                    state.resume_ns = self.now_ns
                state.blocked_since_ns = None
            elif state.blocked_since_ns is None:
                state.blocked_since_ns = self.now_ns

    def count_blocked(self, before_ns: int) -> None:
        for link, state in enumerate(self.links):
            if state.blocked_since_ns is not None and self.is_usable(link):
                state.blocked_ns += self.now_ns - before_ns


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("seed", range(24))
def test_equals_plain_simulator_event_by_event(
    name: str, seed: int, random_sketch: Callable[[int], NetworkModel]
) -> None:
    model = random_sketch(seed)
    policy = getattr(policies, name)(model)
    oracle = Oracle(model, policy, seed)
    state = initial_state(model, seed=seed, trace_every=1)
    for _ in range(2):
        oracle.closed.clear()
        oracle.shots.clear()
        for link in oracle.links:
            link.blocked_ns = link.dropped = link.generated = 0
        oracle.run_round()
        record = advance_round(state, model, policy)
        columns = ("pair_id", "link", "birth_ns", "end_ns", "fate", "user")
        rows = [tuple(int(row[column]) for column in columns) for row in record.pairs]
        assert sorted(rows) == sorted(oracle.closed)
        shots = sorted(oracle.shots, key=lambda shot: shot[:2])
        assert list(zip(record.shot_learner, record.shot_time_ns, strict=True)) == [shot[:2] for shot in shots]
        expected = np.array([shot[2] for shot in shots]).reshape(record.shot_werner.shape)
        np.testing.assert_allclose(record.shot_werner, expected, rtol=1e-6)
        assert record.generated.tolist() == [link.generated for link in oracle.links]
        assert record.key_dropped.tolist() == [link.dropped for link in oracle.links]
        assert record.key_waiting.tolist() == [len(link.keys) for link in oracle.links]
        assert record.blocked_ns.tolist() == [link.blocked_ns for link in oracle.links]
        assert record.fates[:, Fate.ALIVE].tolist() == [len(link.stock) for link in oracle.links]


def test_stream_is_split_mix() -> None:
    # Seed 0 gives the published first numbers of SplitMix64.
    assert [int(hash_counter(np.uint64(0), n)) for n in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [float(unit_interval(np.uint64(5), n)) for n in range(5)] == [unit(5, n) for n in range(5)]


def test_geometric_gap_extremes() -> None:
    longest = 1 << 40
    assert geometric_gap(1.0, math.log1p(-0.3), longest) == 1
    assert geometric_gap(2.0**-53, -math.inf, longest) == 1
    assert geometric_gap(0.5, 0.0, longest) == longest
    assert geometric_gap(2.0**-53, math.log1p(-1e-30), longest) == longest
    # The median of the law at p = 1e-9 is ln 2 / p to within one attempt.
    assert abs(geometric_gap(0.5, math.log1p(-1e-9), longest) - math.log(2) / 1e-9) < 2


def test_key_fraction_equals_physics() -> None:
    werner = np.linspace(0.0, 1.0, 401)
    compiled = [key_fraction(float(w)) for w in werner]
    np.testing.assert_allclose(compiled, secret_key_fraction(werner), atol=1e-14)


def test_the_key_of_a_route_equals_physics() -> None:
    rng = np.random.default_rng(5)
    good, any_at_all = rng.dirichlet([20.0, 1.0, 1.0, 1.0], size=400), rng.dirichlet(np.ones(4), size=100)
    weights = np.concatenate([good, any_at_all, np.eye(4)])
    x, _, z = np.moveaxis(bell_diagonal_to_correlators(weights), -1, 0)
    found = [key_fraction_of_bases(*pair) for pair in zip(x.tolist(), z.tolist(), strict=True)]
    expected = bbm92_key_fraction(weights)
    assert (expected > 0.0).sum() > 100
    np.testing.assert_allclose(found, expected, atol=1e-14)


def births(model: NetworkModel, seed: int, n_rounds: int) -> np.ndarray[Any, Any]:
    policy = policies.oldest_first(model)
    state = initial_state(model, seed=seed, trace_every=1)
    pairs = np.concatenate([advance_round(state, model, policy).pairs for _ in range(n_rounds)])
    return np.sort(pairs["birth_ns"])


@pytest.mark.parametrize("probability", [0.03, 0.4])
def test_gaps_between_unblocked_births_are_geometric(probability: float, sketch: Callable[..., NetworkModel]) -> None:
    """Chi-square of about 30 000 gaps over 12 classes of equal probability; false-alarm rate 1e-6."""
    period_ns = 10
    n_rounds = int(30_000 / probability) * period_ns // 1_000_000 + 1
    # Pairs live for one attempt only, so memory never fills.
    model = sketch(
        slots=(60, 60),
        success=(probability,),
        decay_hz=(1e8,),
        minimum_fidelity=0.6,
        keys=(1.0,),
        round_ns=1_000_000,
        learning_ns=1_000_000,
    )
    gaps = np.diff(births(model, 3, n_rounds)) // period_ns
    assert len(gaps) > 20_000
    law = stats.geom(probability)
    edges = np.unique(law.ppf(np.linspace(0, 1, 13)[1:-1]))
    observed = np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1)
    expected = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]])) * len(gaps)
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def attempt_by_attempt_births(
    rng: np.random.Generator, *, probability: float, n_pairs: int, hold: int, gap: int
) -> list[int]:
    """Return birth times in attempts of a link with one slot that tries attempt by attempt.

    Requests come at (i + 1/2) * gap attempts and take the stored pair; a pair expires after `hold` attempts.
    """
    births_at: list[int] = []
    stored_until, now, request, waiting = -1.0, 0, 0.5 * gap, 0
    while len(births_at) < n_pairs:
        if stored_until > now:
            # Occupied: the slot frees when the pair expires or the next request takes it.
            free_at = stored_until
            while request < now:
                request += gap
                waiting += 1
            if request < stored_until:
                free_at, request = request, request + gap
            stored_until = -1.0
            now = math.ceil(free_at)
            continue
        if rng.random() < probability:
            births_at.append(now + 1)
            while request <= now + 1:
                request += gap
                waiting += 1
            if waiting:
                waiting -= 1
            else:
                stored_until = now + 1 + hold
        now += 1
    return births_at


def test_births_with_stop_and_resume_follow_attempt_by_attempt_law(sketch: Callable[..., NetworkModel]) -> None:
    """One slot, stored pairs block until they expire or are used: gaps against 20 000 gaps of brute force.

    Two-sample chi-square on 12 classes, false-alarm rate 1e-6.
    """
    probability, period_ns, hold, gap = 0.2, 10, 7, 13
    decay_hz = math.log(0.95 / 0.6) / (hold * period_ns * 1e-9 + 0.5e-9)
    model = sketch(
        slots=(1, 1),
        success=(probability,),
        decay_hz=(decay_hz,),
        minimum_fidelity=0.7,
        keys=(100_000 / (gap * period_ns),),
        deadline_ns=10**9,
        round_ns=100_000,
        learning_ns=100_000,
    )
    assert int(model.lifetime_ns[0]) == hold * period_ns
    simulated = np.diff(births(model, 5, 30))[:20_000] // period_ns
    brute = np.diff(
        attempt_by_attempt_births(np.random.default_rng(8), probability=probability, n_pairs=20_001, hold=hold, gap=gap)
    )
    edges = np.unique(np.quantile(brute, np.linspace(0, 1, 13)[1:-1]))
    table = np.array(
        [np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1) for gaps in (simulated, brute)]
    )
    table = table[:, table.sum(axis=0) > 0]
    assert len(simulated) > 15_000
    assert stats.chi2_contingency(table).pvalue > 1e-6


def test_poisson_like_single_learner_fraction_of_busy_time(sketch: Callable[..., NetworkModel]) -> None:
    """A QPU that waits for each pair, one slot: shots are a renewal process of period max(pair, shot duration).

    With attempts of 10 ns at p and shots of d attempts that begin when the pair comes, and no pair made while one is
    stored (one slot): the shot period is max(G, d) with G the time from the last shot until the next pair, geometric.
    Mean E[max(G, d)] = d + (1 - p)^d / p. About 20 000 shots; 5 standard errors, false-alarm rate 6e-7.
    """
    p, d, period_ns = 0.08, 10, 10
    model = sketch(
        slots=(1, 1),
        success=(p,),
        decay_hz=(0.0,),
        learner_link=(0,),
        shot_ns=d * period_ns,
        round_ns=4_000_000,
        learning_ns=4_000_000,
    )
    record = advance_round(initial_state(model, seed=4), model, policies.oldest_first(model))
    periods = np.diff(record.shot_time_ns) / period_ns
    exact = d + (1 - p) ** d / p
    assert len(periods) > 10_000
    assert abs(periods.mean() - exact) < 5 * periods.std() / math.sqrt(len(periods))
