import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ceas.errors import CapacityError, DomainError
from ceas.experiments.scheduling_cases import Phase, deadline_mix_case
from ceas.network.slot_engine import run_slotted
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork
from ceas.scheduling.bounds_hindsight import freshest_value, hindsight_bound
from ceas.scheduling.bounds_online import Penalty, best_penalty, online_bound
from ceas.scheduling.one_link import OneLinkProblem, solve_one_link
from ceas.scheduling.slotted_ceas import ceas_slotted

_spec = importlib.util.spec_from_file_location("slotted_sketches", Path(__file__).with_name("slotted_sketches.py"))
assert _spec is not None
assert _spec.loader is not None
sketches = importlib.util.module_from_spec(_spec)
sys.modules["slotted_sketches"] = sketches
_spec.loader.exec_module(sketches)

TIGHT = 1e-6
CHANCE, RATE = 0.4, 0.35
FREE = Penalty(attempt_price=0.0, memory_price=0.0, coin_share=0.0, arrival_share=0.0)


def _star(n_links: int, *, memory: int, lifetime: int = 1, chance: float = CHANCE) -> SlottedNetwork:
    """Links around one node that attempts once a slot."""
    return SlottedNetwork(
        edges=np.array([[0, leaf + 1] for leaf in range(n_links)]),
        success_probability=np.full(n_links, chance),
        initial_werner=np.ones(n_links),
        claimed_werner=np.ones(n_links),
        coherence_slots=np.full(n_links, 20.0),
        lifetime_slots=np.full(n_links, lifetime),
        memory_slots=np.full(n_links + 1, memory),
        attempts_per_slot=np.ones(n_links + 1, dtype=np.int64),
    )


def _forecast(n_links: int, *, rate: float, patience: int, weight: float = 1.0) -> Forecast:
    return Forecast(
        rate=np.full((n_links, 1), rate),
        minimum_fidelity=np.array([0.5]),
        weight=np.array([weight]),
        kind=np.array([0]),
        patience_slots=np.array([patience]),
        n_pairs=np.array([1]),
    )


def _requests(came: np.ndarray, forecast: Forecast) -> RequestTable:
    """Requests of one class by slot and link, `(T, E)`."""
    slot, link = np.nonzero(came)
    count = len(slot)
    return RequestTable(
        route_first=np.arange(count + 1),
        route_link=link,
        announced=slot,
        arrival=slot,
        deadline=slot + int(forecast.patience_slots[0]),
        n_pairs=np.ones(count, dtype=np.int64),
        minimum_fidelity=np.full(count, forecast.minimum_fidelity[0]),
        weight=np.full(count, forecast.weight[0]),
        kind=np.zeros(count, dtype=np.int64),
        request_class=np.zeros(count, dtype=np.int64),
        user=np.zeros(count, dtype=np.int64),
    )


def _best_online(n_links: int, n_slots: int, memory: int, lifetime: int, patience: int) -> float:
    """The best mean value of all policies, by dynamic programming over stored ages and waiting requests of each link.

    Requests may be left waiting and pairs dropped; attempts into the place of a stored pair are left out (lifetime 1,
    or memory enough), so this is a lower bound on the optimum in general.
    """
    outcomes = list(product((0, 1), repeat=n_links))

    def weight(outcome: tuple[int, ...], chance: float) -> float:
        return float(np.prod([chance if one else 1.0 - chance for one in outcome]))

    @cache
    def begin(slot: int, stock: tuple[tuple[int, ...], ...], waits: tuple[tuple[int, ...], ...]) -> float:
        if slot == n_slots:
            return 0.0
        best = -1.0
        stored = sum(len(one) for one in stock)
        for link in [-1, *range(n_links)]:
            if link >= 0 and (stored >= memory or len(stock[link]) >= memory):
                continue
            total = 0.0
            for success in (False, True) if link >= 0 else (False,):
                after = tuple((*one, 0) if success and at == link else one for at, one in enumerate(stock))
                share = 1.0 if link < 0 else (CHANCE if success else 1.0 - CHANCE)
                for came in outcomes:
                    joined = tuple((*one, patience) if new else one for one, new in zip(waits, came, strict=True))
                    total += share * weight(came, RATE) * serve(slot, after, joined)
            best = max(best, total)
        return best

    @cache
    def serve(slot: int, stock: tuple[tuple[int, ...], ...], waits: tuple[tuple[int, ...], ...]) -> float:
        older = tuple(tuple(sorted(age + 1 for age in one if age < lifetime)) for one in stock)
        left = tuple(tuple(sorted(wait - 1 for wait in one if wait > 0)) for one in waits)
        best = begin(slot + 1, older, left)
        for link in range(n_links):
            for pair in set(stock[link]):
                rest = list(stock[link])
                rest.remove(pair)
                fewer = (*stock[:link], tuple(rest), *stock[link + 1 :])
                best = max(best, serve(slot, fewer, waits))
                for wait in set(waits[link]):
                    others = list(waits[link])
                    others.remove(wait)
                    best = max(best, 1.0 + serve(slot, fewer, (*waits[:link], tuple(others), *waits[link + 1 :])))
        return best

    return begin(0, ((),) * n_links, ((),) * n_links)


def _mean(n_links: int, n_slots: int, figure: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """The mean of a figure over all coins and arrivals."""
    total, shape = 0.0, (n_slots, n_links)
    for coins in product((False, True), repeat=n_slots * n_links):
        share = np.prod([CHANCE if one else 1.0 - CHANCE for one in coins])
        for came in product((False, True), repeat=n_slots * n_links):
            chance = share * np.prod([RATE if one else 1.0 - RATE for one in came])
            total += chance * figure(np.reshape(coins, shape), np.reshape(came, shape))
    return float(total)


@pytest.mark.parametrize(
    ("n_links", "n_slots", "memory", "lifetime", "patience"),
    [(1, 3, 1, 1, 0), (1, 3, 2, 2, 1), (1, 4, 1, 1, 2), (2, 2, 1, 1, 1)],
)
@pytest.mark.parametrize("penalty", [Penalty(), Penalty(attempt_price=0.2, memory_price=0.02, coin_share=0.6)])
def test_the_mean_is_no_less_than_the_best_policys(  # noqa: PLR0917
    n_links: int, n_slots: int, memory: int, lifetime: int, patience: int, penalty: Penalty
) -> None:
    """All coins and arrivals are enumerated, so nothing is left to chance.

    The runs are so short that their ends, of which the guess knows nothing, loosen the bound.
    """
    network = _star(n_links, memory=memory, lifetime=lifetime)
    forecast = _forecast(n_links, rate=RATE, patience=patience)

    def bound(coins: np.ndarray, came: np.ndarray) -> float:
        path = SamplePath(success=coins, decay=np.zeros((0, n_links)), swap_seed=0)
        return online_bound(network, _requests(came, forecast), path, forecast, penalty=penalty, steps=15).value

    best = _best_online(n_links, n_slots, memory, lifetime, patience)
    mean = _mean(n_links, n_slots, bound)
    assert best - TIGHT <= mean < (1.5 if penalty == Penalty() else 2.0) * best


@pytest.mark.parametrize("memory", [1, 2])
def test_the_exact_guess_leaves_nothing_to_chance(memory: int) -> None:
    """One link and nobody waits: the bias is exact, so every path gives the optimum, but for the end of the run."""
    n_slots, rate = 1000, 1.1**-12
    network = _star(1, memory=memory, lifetime=6, chance=0.3)
    forecast = _forecast(1, rate=rate, patience=0)
    problem = OneLinkProblem(
        success_probability=0.3,
        memory_slots=memory,
        request_probability=[rate],
        value=np.ones((1, 7)),
        may_replace=True,
    )
    exact = solve_one_link(problem)
    spread = float(np.ptp(exact.bias_at_request)) + float(np.ptp(exact.bias))
    bounds, clairvoyants = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        path = SamplePath(success=rng.random((n_slots, 1)) < 0.3, decay=np.zeros((0, 1)), swap_seed=0)
        requests = _requests(rng.random((n_slots, 1)) < rate, forecast)
        exact_guess = Penalty(attempt_price=0.0, memory_price=0.0)
        bounds.append(online_bound(network, requests, path, forecast, penalty=exact_guess, steps=1).value)
        clairvoyants.append(hindsight_bound(network, requests, path).value)
    assert np.array(bounds) == pytest.approx(exact.gain * n_slots, abs=spread + 1e-3)
    assert np.ptp(bounds) < 0.1 * np.ptp(clairvoyants)


@pytest.mark.parametrize("seed", range(8))
def test_without_penalty_it_bounds_the_clairvoyant(seed: int) -> None:
    """Between the true clairvoyant and, once prices are found, its linear programme; types, decay and drift as drawn.

    With attempts and memory for all it is the clairvoyant itself.
    """
    network, requests, path, forecast = _drawn(seed, n_slots=25)
    exact = hindsight_bound(network, requests, path, integer=True).value
    relaxed = hindsight_bound(network, requests, path).value
    bound = online_bound(network, requests, path, forecast, penalty=FREE, steps=1500)
    assert exact - TIGHT <= bound.value <= 1.03 * relaxed + TIGHT
    assert bound.normalised == pytest.approx(bound.value / freshest_value(network, requests, 25), nan_ok=True)
    roomy = replace(
        network,
        memory_slots=np.full(network.n_nodes, 6),
        attempts_per_slot=np.full(network.n_nodes, network.n_links),
    )
    free = online_bound(roomy, requests, path, forecast, penalty=FREE, steps=1)
    limited = hindsight_bound(roomy, requests, path, integer=True)
    assert free.value == pytest.approx(limited.value, abs=1e-4)


def _drawn(seed: int, n_slots: int) -> tuple[SlottedNetwork, RequestTable, SamplePath, Forecast]:
    rng = np.random.default_rng(seed)
    network = sketches.sketch_network(rng, 4, 4, memory=3)
    n_classes = 3
    forecast = Forecast(
        rate=rng.uniform(0.0, 0.2, (4, n_classes)),
        minimum_fidelity=rng.choice([0.0, 0.7, 0.85], n_classes),
        weight=rng.choice([1.0, 3.0], n_classes),
        kind=rng.integers(0, 3, n_classes) if seed % 2 else np.zeros(n_classes, dtype=np.int64),
        patience_slots=rng.integers(0, 4, n_classes),
        n_pairs=np.ones(n_classes, dtype=np.int64),
    )
    counts = rng.poisson(forecast.rate, (n_slots, 4, n_classes))
    slot, link, label = (np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(3, -1))
    requests = RequestTable(
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
    return network, requests, sketches.sketch_path(rng, network, n_slots), forecast


@pytest.mark.slow
def test_no_policy_passes_it_on_average() -> None:
    """A policy may pass the figure of a path, so means are compared: over 16 paths each of two small cases.

    A policy that is as good as the bound passes it by 5 standard errors with a chance below 1e-4 (Student's t).
    """
    for memory in (2, 3):
        gaps = []
        for seed in range(16):
            case = deadline_mix_case(
                load=0.7, memory_slots=memory, seed=seed, phase=Phase.TUNING, n_nodes=6, n_slots=60
            )
            bound = online_bound(case.network, case.requests, case.path, case.forecast, steps=50).value
            policy = ceas_slotted(case.network, case.forecast)
            gaps.append(bound - run_slotted(case.network, case.requests, case.path, policy).served_value.sum())
        assert np.mean(gaps) > -5.0 * np.std(gaps) / 4.0


def test_the_penalty_is_chosen_by_its_mean_bound() -> None:
    case = deadline_mix_case(load=0.7, memory_slots=2, seed=0, phase=Phase.TUNING, n_nodes=6, n_slots=60)
    parts = (case.network, case.requests, case.path, case.forecast)
    found = best_penalty([parts], attempt_prices=(0.5, 0.06, 0.01), memory_prices=(0.0015,), steps=30)
    tried = [Penalty(attempt_price=price) for price in (0.5, 0.06, 0.01)]
    assert found == min(tried, key=lambda penalty: online_bound(*parts, penalty=penalty, steps=30).value)
    with pytest.raises(DomainError, match="empty"):
        best_penalty([])


def test_what_is_not_bounded_is_refused() -> None:
    network, forecast = _star(2, memory=1), _forecast(2, rate=0.3, patience=1)
    requests = _requests(np.ones((3, 2), dtype=bool), forecast)
    path = SamplePath(success=np.ones((3, 2), dtype=bool), decay=np.zeros((0, 2)), swap_seed=0)
    for wrong, match in (
        (replace(requests, n_pairs=requests.n_pairs + 1), "one pair"),
        (replace(requests, announced=np.maximum(requests.arrival - 1, 0)), "unannounced"),
        (replace(requests, weight=2.0 * requests.weight), "weight"),
        (replace(requests, deadline=requests.deadline + 1), "wait as long"),
        (replace(requests, route_link=requests.route_link + 1), "links and classes"),
    ):
        with pytest.raises(DomainError, match=match):
            online_bound(network, wrong, path, forecast)
    nobody = _requests(np.zeros((3, 2), dtype=bool), forecast)
    with pytest.raises(DomainError, match="classes of one pair"):
        online_bound(network, nobody, path, replace(forecast, n_pairs=forecast.n_pairs + 1))
    with pytest.raises(DomainError, match="steps"):
        online_bound(network, requests, path, forecast, steps=0)
    with pytest.raises(DomainError, match="success_chance"):
        online_bound(network, requests, path, forecast, success_chance=np.ones((1, 2)))
    with pytest.raises(DomainError, match="attempt_price"):
        Penalty(attempt_price=-1.0)
    with pytest.raises(CapacityError, match="edges"):
        online_bound(network, requests, path, forecast, most_edges=1)
    with pytest.raises(CapacityError, match="live longer"):
        online_bound(replace(network, lifetime_slots=np.full(2, 61)), requests, path, forecast)
