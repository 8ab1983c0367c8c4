"""The slotted network, run with baselines, against exact figures of small models.

Sampled figures are compared within five standard errors, so each check fails by chance less than once in 10^6 runs of
another seed; seeds are fixed.
"""

import numpy as np
import pytest

from ceas.network.slot_engine import advance_slots, run_slotted, slotted_lives, start_slotted
from ceas.network.slots import Forecast, RequestTable, SlottedNetwork, ValueKind, draw_sample_path
from ceas.scheduling.slotted_baselines import freshest_first, oldest_first, on_demand_edf

WERNER = (4 * 0.95 - 1) / 3


def copies_of(
    edges: list[list[int]],
    n_copies: int,
    *,
    p: float,
    lifetime: int,
    memory: int,
    coherence: float = 1e9,
    **swaps: float,
) -> SlottedNetwork:
    """Return independent copies of a small network of equal links."""
    small, n_nodes = np.array(edges), np.max(edges) + 1
    every = (small[None] + n_nodes * np.arange(n_copies)[:, None, None]).reshape(-1, 2)
    n_links = len(every)
    return SlottedNetwork(
        edges=every,
        success_probability=np.full(n_links, p),
        initial_werner=np.full(n_links, WERNER),
        claimed_werner=np.full(n_links, WERNER),
        coherence_slots=np.full(n_links, coherence),
        lifetime_slots=np.full(n_links, lifetime),
        memory_slots=np.full(n_nodes * n_copies, memory),
        attempts_per_slot=np.full(n_nodes * n_copies, 2),
        **swaps,
    )


def requests_on(
    routes: np.ndarray,
    arrival: np.ndarray,
    *,
    patience: int,
    minimum: np.ndarray | float = 0.3,
    weight: np.ndarray | float = 1.0,
    kind: ValueKind = ValueKind.STEP,
    n_pairs: int = 1,
    ahead: int = 0,
) -> RequestTable:
    n, hops = routes.shape
    return RequestTable(
        route_first=hops * np.arange(n + 1),
        route_link=routes.ravel(),
        announced=arrival - ahead,
        arrival=arrival,
        deadline=arrival + patience,
        n_pairs=np.full(n, n_pairs),
        minimum_fidelity=np.broadcast_to(minimum, n).astype(float),
        weight=np.broadcast_to(weight, n).astype(float),
        kind=np.full(n, int(kind)),
        request_class=np.zeros(n, dtype=np.int64),
        user=np.zeros(n, dtype=np.int64),
    )


def forecast_for(network: SlottedNetwork) -> Forecast:
    return Forecast(
        rate=np.ones((network.n_links, 1)),
        minimum_fidelity=np.array([0.3]),
        weight=np.ones(1),
        kind=np.zeros(1, dtype=np.int64),
        patience_slots=np.zeros(1, dtype=np.int64),
        n_pairs=np.ones(1, dtype=np.int64),
    )


def lost_sales(
    *, memory: int, high: float, low: float, kind: ValueKind, seed: int, n_slots: int
) -> tuple[SlottedNetwork, RequestTable, np.random.Generator]:
    """One link, at most one request a slot, which does not wait: F >= 0.9 and weight 3, or F >= 0.75 and weight 1."""
    network = copies_of([[0, 1]], 1, p=0.3, lifetime=13, memory=memory, coherence=40.0)
    rng = np.random.default_rng(seed)
    draw = rng.random(n_slots)
    arrival = np.flatnonzero(draw < high + low)
    is_high = draw[arrival] < high
    requests = requests_on(
        np.zeros((len(arrival), 1), dtype=np.int64),
        arrival,
        patience=0,
        minimum=np.where(is_high, 0.9, 0.75),
        weight=np.where(is_high, 3.0, 1.0),
        kind=kind,
    )
    return network, requests, rng


@pytest.mark.parametrize(
    ("memory", "chances", "overwrites", "exact_rewards"),
    [
        (1, (0.1, 0.3), False, (0.277596, 0.277596)),
        (2, (0.1, 0.3), False, (0.344316, 0.329509)),
        (3, (0.1, 0.3), False, (0.372301, 0.346900)),
        (3, (0.0, 0.4), False, (0.206129, 0.208639)),
        (3, (0.0, 0.4), True, (0.210210, 0.212763)),
    ],
)
def test_one_link_with_lost_sales(
    memory: int, chances: tuple[float, float], overwrites: bool, exact_rewards: tuple[float, float]
) -> None:
    """Mean rewards of the one-link decision process, by value iteration; 1.5 million slots.

    With chances for both classes of request values are steps; with one for the low alone they are w^2.
    Batches of 10,000 slots, far longer than the 14 slots of a pair's life, give the standard error.
    """
    n_slots, batch = 1_500_000, 10_000
    high, low = chances
    kind = ValueKind.STEP if high else ValueKind.INFORMATION
    network, requests, rng = lost_sales(memory=memory, high=high, low=low, kind=kind, seed=memory, n_slots=n_slots)
    path = draw_sample_path(network, n_slots, rng)
    for policy, exact in zip((oldest_first, freshest_first), exact_rewards, strict=True):
        record = run_slotted(network, requests, path, policy(network, forecast_for(network), overwrites=overwrites))
        means = np.bincount(record.served_slot // batch, record.served_value, n_slots // batch) / batch
        error = means.std(ddof=1) / np.sqrt(len(means))
        assert error < 0.003 * exact
        assert abs(means.mean() - exact) < 5 * error


@pytest.mark.parametrize(("supply", "demand", "lifetime"), [(1.0, 1.0, 3.0), (1.0, 1.5, 2.0)])
def test_perishable_stock_in_continuous_time(supply: float, demand: float, lifetime: float) -> None:
    """Poisson supply and demand, lost if the stock is empty, fixed lifetime, in the limit of short slots.

    Oldest first: U = 1 - P0 exp((supply - demand) lifetime) (Parlar, Perry, Stadje 2011); freshest first: the age at
    use is the busy period of an M/M/1 queue. Slots of 1/50 of a pair's mean time, 2 million of them; slots of this
    length shift the figures by about one part in 100, which the tolerance of 0.012 includes.
    """
    per_slot, n_slots = 1 / 50, 2_000_000
    network = copies_of([[0, 1]], 1, p=supply * per_slot, lifetime=round(lifetime / per_slot), memory=60)
    rng = np.random.default_rng(3)
    arrival = np.flatnonzero(rng.random(n_slots) < demand * per_slot)
    requests = requests_on(np.zeros((len(arrival), 1), dtype=np.int64), arrival, patience=0)
    path = draw_sample_path(network, n_slots, rng)
    growth = supply - demand
    full = np.exp(growth * lifetime)
    empty = 1 / (1 + supply * ((full - 1) / growth if growth else lifetime))
    times = np.linspace(1e-9, lifetime, 4001)
    density = busy_period_density(times, supply, demand)
    exact = {oldest_first: 1 - empty * full, freshest_first: float(np.trapezoid(density, times))}
    for policy, utilisation in exact.items():
        record = run_slotted(network, requests, path, policy(network, forecast_for(network)))
        assert record.used.sum() / record.generated.sum() == pytest.approx(utilisation, abs=0.012)


def busy_period_density(time: np.ndarray, arrivals: float, service: float) -> np.ndarray:
    """Return sqrt(service / arrivals) I1(2 t sqrt(arrivals service)) exp(-(arrivals + service) t) / t."""
    x = 2 * time * np.sqrt(arrivals * service)
    series = np.zeros_like(time)
    term = x / 2
    for k in range(1, 60):
        series += term
        term = term * (x / 2) ** 2 / (k * (k + 1))
    return np.sqrt(service / arrivals) * series * np.exp(-(arrivals + service) * time) / time


def test_time_until_all_links_hold_a_pair() -> None:
    """1,000 groups of 50 links, p = 0.3: E max = sum over t of 1 - (1 - (1 - p)^t)^50 = 13.114 slots."""
    network = copies_of([[0, 1]], 50_000, p=0.3, lifetime=1000, memory=1)
    path = draw_sample_path(network, 60, np.random.default_rng(4))
    none = requests_on(np.zeros((0, 1), dtype=np.int64), np.zeros(0, dtype=np.int64), patience=0)
    state = start_slotted(network, none, path, trace=True)
    advance_slots(state, oldest_first(network, forecast_for(network)))
    lives = slotted_lives(state)
    assert len(lives) == 50_000
    first = np.zeros(50_000)
    first[lives.link] = lives.birth_slot + 1
    last = first.reshape(1000, 50).max(axis=1)
    exact = np.sum(1 - (1 - 0.7 ** np.arange(400)) ** 50)
    assert exact == pytest.approx(13.114, abs=5e-4)
    assert abs(last.mean() - exact) < 5 * last.std(ddof=1) / np.sqrt(1000)


@pytest.mark.parametrize(("p", "window"), [(0.3, 3), (0.5, 2)])
def test_two_pairs_within_a_window(p: float, window: int) -> None:
    """20,000 links: E = 1 / p + 1 / (p (1 - (1 - p)^(w - 1))) attempts until two pairs live within w attempts."""
    network = copies_of([[0, 1]], 20_000, p=p, lifetime=window - 1, memory=2)
    n = network.n_links
    requests = requests_on(np.arange(n)[:, None], np.zeros(n, dtype=np.int64), patience=149, n_pairs=2, ahead=1)
    record = run_on_demand(network, requests, 150)
    exact = 1 / p + 1 / (p * (1 - (1 - p) ** (window - 1)))
    assert_mean(record, n, exact)


@pytest.mark.parametrize(("p", "cutoff", "swap"), [(0.5, 2, 1.0), (0.5, 2, 0.5), (0.2, 2, 1.0), (0.9, 0, 0.5)])
def test_chain_of_two_links(p: float, cutoff: int, swap: float) -> None:
    """10,000 chains: T = [1 + 2 q (1 - q^c)] / (p_s [p^2 + 2 p q (1 - q^c)]) slots, q = 1 - p, until the pair is there.

    Each side holds one pair of age 0 to c; the request waits from the start.
    """
    network = copies_of(
        [[0, 1], [1, 2]], 10_000, p=p, lifetime=cutoff, memory=2, swap_success_probability=swap, swap_werner=0.9
    )
    n = 10_000
    requests = requests_on(np.arange(2 * n).reshape(n, 2), np.zeros(n, dtype=np.int64), patience=199, ahead=1)
    q, stale = 1 - p, (1 - p) ** cutoff
    exact = (1 + 2 * q * (1 - stale)) / (p**2 + 2 * p * q * (1 - stale)) / swap
    assert_mean(run_on_demand(network, requests, 200), n, exact)


def run_on_demand(network: SlottedNetwork, requests: RequestTable, n_slots: int) -> np.ndarray:
    """Return the slots, counted from 1, in which the requests are served."""
    path = draw_sample_path(network, n_slots, np.random.default_rng(5))
    record = run_slotted(network, requests, path, on_demand_edf(network, forecast_for(network)))
    return record.served_slot + 1


def assert_mean(slots: np.ndarray, n: int, exact: float) -> None:
    assert len(slots) == n
    assert abs(slots.mean() - exact) < 5 * slots.std(ddof=1) / np.sqrt(n)
