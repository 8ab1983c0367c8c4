"""Runs of policies beside the online bound of their own paths.

A run's value less its own penalty is at most the bound of its path, whatever the path: no mean is involved. That
holds for runs that serve, drop and replace as `link_graphs` restricts them to, so each run is first changed into such
a one by swapping the roles of requests and pairs, as its proof does; that must not cost value. The runs are retold here
from what the engine did, slot by slot; only the worth of a state comes from the bound's own functions.
"""

import importlib.util
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ceas.network.slot_engine import advance_slots, slotted_lives, start_slotted
from ceas.network.slot_policy import SlotPolicy
from ceas.network.slot_state import ATTEMPTS, GENERATED
from ceas.network.slots import Forecast, PairFate, RequestTable, SamplePath, SlottedNetwork, draw_sample_path
from ceas.scheduling import bounds_online, link_graphs, slotted_baselines
from ceas.scheduling.bounds_online import Penalty, online_bound
from ceas.scheduling.link_graphs import GraphSpace, LinkInputs, best_value
from ceas.scheduling.slotted_ceas import ceas_slotted

_spec = importlib.util.spec_from_file_location("slotted_sketches", Path(__file__).with_name("slotted_sketches.py"))
assert _spec is not None
assert _spec.loader is not None
sketches = importlib.util.module_from_spec(_spec)
sys.modules["slotted_sketches"] = sketches
_spec.loader.exec_module(sketches)

N_LINKS, N_SLOTS = 4, 30
TIGHT = 1e-6
# More than anything is worth, to force the attempts of a run upon its link.
MUCH = 1e3
POLICIES = ("any", "ceas", "random", "freshest_first", "online_edf", "best_fit", "demand_aware", "best_cutoff")

Case = tuple[SlottedNetwork, RequestTable, SamplePath, Forecast, np.ndarray]


def _case(seed: int, n_slots: int = N_SLOTS) -> Case:
    """A small network with wrong claims and drift, requests of all kinds, and the true chances of its coins."""
    rng = np.random.default_rng(seed)
    network = sketches.sketch_network(rng, 4, N_LINKS, memory=3)
    n_classes = 4
    forecast = Forecast(
        rate=rng.uniform(0.0, 0.25, (N_LINKS, n_classes)),
        minimum_fidelity=rng.choice([0.0, 0.7, 0.85], n_classes),
        weight=rng.choice([1.0, 3.0], n_classes),
        kind=rng.integers(0, 3, n_classes) if seed % 2 else np.zeros(n_classes, dtype=np.int64),
        patience_slots=rng.integers(0, 5, n_classes),
        n_pairs=np.ones(n_classes, dtype=np.int64),
    )
    counts = rng.poisson(forecast.rate, (n_slots, *forecast.rate.shape))
    slot, link, label = (np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(3, -1))
    order = np.lexsort((rng.random(len(slot)), slot))
    slot, link, label = slot[order], link[order], label[order]
    requests = _requests(slot, link, label, forecast)
    shape = (n_slots, N_LINKS)
    success = rng.uniform(0.3, 1.1, shape) if rng.random() < 0.5 else np.ones(shape)
    decay = rng.uniform(0.3, 3.0, shape) if rng.random() < 0.5 else None
    path = draw_sample_path(network, n_slots, rng, success_factor=success, decay_factor=decay)
    return network, requests, path, forecast, np.minimum(network.success_probability * success, 1.0)


def _requests(slot: np.ndarray, link: np.ndarray, label: np.ndarray, forecast: Forecast) -> RequestTable:
    return RequestTable(
        route_first=np.arange(len(slot) + 1),
        route_link=link,
        announced=slot,
        arrival=slot,
        deadline=slot + forecast.patience_slots[label],
        n_pairs=np.ones(len(slot), dtype=np.int64),
        minimum_fidelity=forecast.minimum_fidelity[label],
        weight=forecast.weight[label],
        kind=forecast.kind[label],
        request_class=label,
        user=link,
    )


def _policy(name: str, network: SlottedNetwork, forecast: Forecast, rng: np.random.Generator) -> SlotPolicy:
    if name == "any":
        policy: SlotPolicy = sketches.any_policy(network, *rng.uniform([0.3, 0.0, 0.3, 0.0], [1.0, 0.7, 1.0, 0.3]))
        return policy
    return ceas_slotted(network, forecast) if name == "ceas" else getattr(slotted_baselines, name)(network, forecast)


# ---- what a run did --------------------------------------------------------------------------------------------------


@dataclass
class _Deeds:
    """What one link did in one slot; pairs are places in its stock, oldest first."""

    attempts: bool = False
    replaces: int = -1
    succeeds: bool = False
    served: list[tuple[int, int]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)


def _run(case: Case, policy: SlotPolicy) -> tuple[float, list[list[_Deeds]]]:
    """Return the value of a run, and its deeds by link and slot."""
    network, requests, path, _, _ = case
    state = start_slotted(network, requests, path, trace=True)
    counts, stocks, deeds = [], [], []
    for slot in range(path.n_slots):
        stocks.append([state.stock_id[link, : state.n_stored[link]].tolist() for link in range(network.n_links)])
        advance_slots(state, policy, slot + 1)
        counts.append((state.counts.copy(), state.replace.copy()))
    lives = slotted_lives(state)
    for link in range(network.n_links):
        deeds.append([])
        for slot in range(path.n_slots):
            before = counts[slot - 1][0] if slot else np.zeros_like(counts[0][0])
            now, replaces = counts[slot]
            made, born = (int((now - before)[row, link]) for row in (ATTEMPTS, GENERATED))
            done = _Deeds(attempts=made > 0, succeeds=born > 0)
            stock = [
                pair for pair in stocks[slot][link] if slot - lives.birth_slot[pair] <= network.lifetime_slots[link]
            ]
            if done.attempts:
                done.replaces = int(replaces[link])
            if done.succeeds:
                if done.replaces >= 0:
                    stock.pop(done.replaces)
                stock += np.flatnonzero((lives.link == link) & (lives.birth_slot == slot)).tolist()
            for place, pair in enumerate(stock):
                if lives.fate[pair] != PairFate.STORED and lives.end_slot[pair] == slot:
                    if lives.fate[pair] == PairFate.USED:
                        done.served.append((int(lives.request[pair]), place))
                    else:
                        assert lives.fate[pair] == PairFate.DISCARDED
                        done.dropped.append(place)
            deeds[-1].append(done)
    return float(state.user_value.sum()), deeds


# ---- the same with other roles, and its penalty ----------------------------------------------------------------------


@dataclass
class _Retold:
    """A link's run with the roles of pairs and requests swapped: value, penalty, and attempts and memory by slot."""

    value: float = 0.0
    penalty: float = 0.0
    attempts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    memory: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def _mask(births: list[int], slot: int) -> int:
    return sum(1 << (slot - birth) for birth in births)


def _retell(link: LinkInputs, numbers: np.ndarray, deeds: list[_Deeds], lifetime: int) -> _Retold:
    """Let the oldest pairs that do and the requests due first take the place of those of a run.

    `theirs` and `ours` are the births of the stored pairs of the run and of this one, oldest first; pair by pair, ours
    is never older.
    """
    told = _Retold(attempts=np.zeros(len(deeds), dtype=np.int64), memory=np.zeros(len(deeds), dtype=np.int64))
    local = {int(number): at for at, number in enumerate(numbers)}
    theirs: list[int] = []
    ours: list[int] = []
    waiting: set[int] = set()
    for slot, done in enumerate(deeds):
        assert all(slot - birth <= lifetime for birth in ours)
        assert len(theirs) == len(ours)
        came = [at for at in range(len(numbers)) if link.arrival[at] == slot]
        told.attempts[slot] = int(done.attempts)
        told.memory[slot] = len(ours) + int(done.attempts and done.replaces < 0)
        made = [*ours[1:], slot] if done.replaces >= 0 else [*ours, slot]
        if done.attempts:
            gain = _worth(link, made, waiting, slot, table=link.bias_at_request)
            gain -= _worth(link, ours, waiting, slot, table=link.bias_at_request)
            told.penalty += link.coin_share * gain * (int(done.succeeds) - link.chance[slot])
        if done.succeeds:
            ours = made
            theirs = [*(birth for at, birth in enumerate(theirs) if at != done.replaces), slot]
        base = _worth(link, ours, waiting, slot, table=link.bias)
        for label, rate in enumerate(link.rate):
            more = _worth(link, ours, waiting, slot, table=link.bias, extra=label) - base
            count = sum(link.label[at] == label for at in came)
            told.penalty += link.arrival_share * more * (count - rate)
        waiting |= set(came)
        for request, place in done.served:
            # Places are those before any service.
            kind = link.kind[local[request]]
            due = min((at for at in waiting if link.kind[at] == kind), key=lambda at: (link.deadline[at], at))
            rank = sum(1 for birth in theirs[:place] if birth >= 0)
            able = [at for at, birth in enumerate(ours) if link.worth[kind, slot, slot - birth] > 0.0]
            if link.worth[kind, slot, slot - theirs[place]] > 0.0:
                taken = able[0] if link.is_step else rank
                told.value += link.worth[kind, slot, slot - ours[taken]]
                waiting.remove(due)
                ours.pop(taken)
            else:
                ours.pop(0)
            theirs[place] = -1
        for place in done.dropped:
            theirs[place] = -1
            ours.pop(0)
        theirs = [birth for birth in theirs if birth >= 0]
        n_expiring = sum(slot + 1 - birth > lifetime for birth in theirs)
        ours, theirs = ours[n_expiring:], theirs[n_expiring:]
        assert all(a >= b for a, b in zip(ours, theirs, strict=True))
        waiting = {at for at in waiting if link.deadline[at] > slot}
    return told


def _worth(
    link: LinkInputs, births: list[int], waiting: set[int], slot: int, *, table: np.ndarray, extra: int = -1
) -> float:
    """What a state is taken to be worth, with one more request of a class."""
    waits = 0
    for at in waiting:
        waits |= 1 << (at & 63)
    if waits >> 63:
        waits -= 1 << 64
    kind, left = (int(link.type_of_class[extra]), int(link.patience[extra])) if extra >= 0 else (-1, 0)
    first = min(waiting, default=0)
    end = max(waiting, default=-1) + 1
    return float(link_graphs._potential(link, _mask(births, slot), waits, slot, first, end, kind, left, table))


def _retold(case: Case, penalty: Penalty, deeds: list[list[_Deeds]]) -> list[_Retold]:
    network, requests, path, forecast, chance = case
    guess = bounds_online._Guess(network, forecast, penalty)
    link_of = requests.route_link[requests.route_first[:-1]]
    told = []
    for link in range(network.n_links):
        numbers = np.flatnonzero(link_of == link)
        inputs = guess.inputs(link, requests, numbers, path, chance)
        told.append(_retell(inputs, numbers, deeds[link], int(network.lifetime_slots[link])))
    return told


# ---- tests -----------------------------------------------------------------------------------------------------------


def _penalty(seed: int) -> Penalty:
    if seed % 3 == 0:
        return Penalty()
    rng = np.random.default_rng([seed, 7])
    attempt, memory, coins, arrivals = rng.uniform([0.0, 0.0, 0.5, 0.5], [0.2, 0.02, 1.5, 1.5])
    return Penalty(attempt_price=attempt, memory_price=memory, coin_share=coins, arrival_share=arrivals)


@pytest.mark.parametrize("seed", range(8))
def test_no_run_less_its_own_penalty_passes_the_bound_of_its_path(seed: int) -> None:
    """Path by path: in the whole network, and on each link alone among all runs that attempt in the same slots."""
    case = _case(seed)
    network, requests, path, forecast, chance = case
    penalty = _penalty(seed)
    graphs = bounds_online._graphs(
        bounds_online._Guess(network, forecast, penalty), requests, path, chance, most_edges=10_000_000
    )
    bounds = [
        online_bound(network, requests, path, forecast, penalty=penalty, success_chance=chance, steps=steps).value
        for steps in (1, 120)
    ]
    is_exact = False
    for name in POLICIES:
        value, deeds = _run(case, _policy(name, network, forecast, np.random.default_rng([seed, 1])))
        told = _retold(case, penalty, deeds)
        assert sum(one.value for one in told) >= value - TIGHT
        assert any(one.attempts.any() for one in told)
        for one, (graph, n_states) in zip(told, graphs, strict=True):
            room = _best_with(graph, n_states, one.attempts) - (one.value - one.penalty)
            assert room >= -TIGHT
            is_exact = is_exact or (room < TIGHT and one.attempts.any() and one.value > 0.0)
        assert sum(one.value - one.penalty for one in told) <= min(bounds) + TIGHT
    # Some run is the best of its attempts, so what is subtracted here is no less than what the bound subtracts.
    assert is_exact


def _best_with(graph: GraphSpace, n_states: int, attempts: np.ndarray) -> float:
    """The longest path of a link's graph with attempts in just these slots."""
    price = np.where(attempts > 0, -MUCH, MUCH)
    best = best_value(graph, n_states, price, np.zeros(len(attempts)), np.zeros(n_states), np.zeros(n_states, np.int32))
    return float(best) - MUCH * float(attempts.sum())


@pytest.mark.parametrize(("n_links", "n_slots"), [(1, 4), (2, 2)])
@pytest.mark.parametrize("name", ["any", "ceas", "freshest_first"])
def test_the_penalty_of_a_policy_is_zero_on_average(name: str, n_links: int, n_slots: int) -> None:
    """Over all coins and arrivals, so exactly; pairs are replaced and dropped, and two links share a node."""
    chance, rate = 0.4, 0.35
    network = SlottedNetwork(
        edges=np.array([[0, leaf + 1] for leaf in range(n_links)]),
        success_probability=np.full(n_links, chance),
        initial_werner=np.ones(n_links),
        claimed_werner=np.ones(n_links),
        coherence_slots=np.full(n_links, 20.0),
        lifetime_slots=np.full(n_links, 2),
        memory_slots=np.full(n_links + 1, 2),
        attempts_per_slot=np.ones(n_links + 1, dtype=np.int64),
    )
    forecast = Forecast(
        rate=np.full((n_links, 1), rate),
        minimum_fidelity=np.array([0.5]),
        weight=np.array([1.0]),
        kind=np.array([0]),
        patience_slots=np.array([1]),
        n_pairs=np.array([1]),
    )
    policy = _policy(name, network, forecast, np.random.default_rng(3))
    mean, size, total = 0.0, 0.0, 0.0
    for coins in product((False, True), repeat=n_slots * n_links):
        path = SamplePath(success=np.reshape(coins, (n_slots, n_links)), decay=np.zeros((0, n_links)), swap_seed=11)
        for came in product((False, True), repeat=n_slots * n_links):
            share = float(np.prod(np.where(coins, chance, 1.0 - chance)) * np.prod(np.where(came, rate, 1.0 - rate)))
            slot, link = np.nonzero(np.reshape(came, (n_slots, n_links)))
            requests = _requests(slot, link, np.zeros(len(slot), dtype=np.int64), forecast)
            case = (network, requests, path, forecast, np.full(path.success.shape, chance))
            _, deeds = _run(case, policy)
            penalty = sum(one.penalty for one in _retold(case, Penalty(), deeds))
            mean, size, total = mean + share * penalty, size + share * abs(penalty), total + share
    assert total == pytest.approx(1.0)
    assert size > 0.1
    assert mean == pytest.approx(0.0, abs=1e-9)
