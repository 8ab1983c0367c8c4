"""Scheduling cases: a slotted network, the requests it meets, its coins, and what policies are told of them.

Load says what it would take to serve everybody: the requests of a slot, each counted once for every pair that it needs,
over the largest mean number of pairs that the nodes' attempts can make in a slot. With n nodes of c attempts a slot and
success probability p that is `n c p / 2`, because every attempt takes one of both its ends.

Random numbers come from named streams. Coins, arrivals and the network itself have a stream each, so that two settings
of a scenario that differ in load or memory share network and coins, and `phase` keeps what policies are tuned on apart
from what is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork, ValueKind, draw_sample_path
from ceas.streams import stream

__all__ = [
    "Phase",
    "Regime",
    "RequestClass",
    "SchedulingCase",
    "case_stream",
    "check_load",
    "deadline_mix_case",
    "draw_requests",
    "drift_case",
    "forecast_of",
    "lifetime_of_fidelity",
    "lost_sales_case",
    "one_link_case",
    "pairs_per_slot",
    "pareto_demand",
    "regular_network",
    "request_table",
    "two_fidelities",
    "uniform_network",
]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

HIGH_FIDELITY, LOW_FIDELITY = 0.9, 0.75
HIGH_WEIGHT, LOW_WEIGHT = 3.0, 1.0
HIGH_SHARE = 0.3
# Shape of the Pareto law of the links' demand.
PARETO_SHAPE = 2.0
# Chances that a request of the high and of the low class comes to the one link in a slot.
ONE_LINK_CHANCES = (0.1, 0.3)
# What happens to how many links at mid-run of the drift scenario.
DRIFT_SHARE, DRIFT_SUCCESS_FACTOR, DRIFT_COHERENCE_FACTOR = 0.2, 0.3, 0.5
# Relative demand of the three kinds of links of the lost-sales scenario.
LOST_SALES_DEMAND = (10.0, 3.0, 1.0)


class Phase(StrEnum):
    """What a case is for; the random numbers of the two are independent."""

    TUNING = "tuning"
    REPORTING = "reporting"


class Regime(StrEnum):
    """Whether a setting can tell good policies from bad ones."""

    HARD = "hard"
    TRIVIAL = "trivial"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """What the requests of one class have in common.

    Attributes:
        share: Part of all requests that is of this class.
        minimum_fidelity: Lowest fidelity of use.
        weight: Value through perfect pairs.
        patience_slots: Slots that it waits after its arrival.
        kind: How its value depends on the pair.
        n_pairs: Pairs that it takes of its link.
    """

    share: float
    minimum_fidelity: float
    weight: float
    patience_slots: int
    kind: ValueKind = ValueKind.STEP
    n_pairs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingCase:
    """One instance of a scenario: everything a policy or a bound needs.

    Attributes:
        name: Scenario and setting, for example `"S2 load 0.7 memory 2"`.
        description: What the setting separates, in a sentence.
        regime: Whether the setting is hard or trivial, and so whether a good figure says anything.
        network: The network as policies are told it is at the start.
        requests: The requests.
        path: The coins; what drifts unknown to the policies is in here.
        forecast: Mean rates of the requests to come, known to all policies.
        success_chance: True chances of the coins, `(n_slots, E)`, where they drift; None where they are the network's.
    """

    name: str
    description: str
    regime: Regime
    network: SlottedNetwork
    requests: RequestTable
    path: SamplePath
    forecast: Forecast
    success_chance: Float64s | None = None

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return self.path.n_slots


def case_stream(seed: int, phase: Phase, part: str) -> np.random.Generator:
    """Return the generator of one part of a case (its network, its coins, its arrivals)."""
    return stream(seed, f"scheduling benchmark {phase} {part}")


def lifetime_of_fidelity(initial_werner: float, coherence_slots: float, minimum_fidelity: float) -> int:
    """Return the largest whole age (slots) at which a pair still has `minimum_fidelity`; -1 if it never has.

    Source:
        `W(t) = W_0 exp(-t / T)` and `F = (1 + 3 W) / 4`.
    """
    werner = (4.0 * minimum_fidelity - 1.0) / 3.0
    if werner <= 0.0:
        raise DomainError(f"Argument `minimum_fidelity` must be above 0.25, but is {minimum_fidelity}.")
    return int(np.floor(coherence_slots * np.log(initial_werner / werner) + 1e-9)) if initial_werner >= werner else -1


def regular_network(
    n_nodes: int,
    *,
    degree: int,
    success_probability: float,
    initial_fidelity: float,
    coherence_slots: float,
    lifetime_slots: int,
    memory_slots: int,
    rng: np.random.Generator,
) -> SlottedNetwork:
    """Return a random regular network of equal links, one attempt a node and slot."""
    graph = nx.random_regular_graph(degree, n_nodes, seed=int(rng.integers(1 << 31)))
    edges = np.array(sorted(tuple(sorted(edge)) for edge in graph.edges), dtype=np.int64)
    return uniform_network(
        edges,
        n_nodes,
        success_probability=success_probability,
        initial_fidelity=initial_fidelity,
        coherence_slots=coherence_slots,
        lifetime_slots=lifetime_slots,
        memory_slots=memory_slots,
    )


def uniform_network(
    edges: Int64s,
    n_nodes: int,
    *,
    success_probability: float,
    initial_fidelity: float,
    coherence_slots: float,
    lifetime_slots: int,
    memory_slots: int | Int64s,
    attempts_per_slot: int | Int64s = 1,
    swap_success_probability: float = 1.0,
    swap_werner: float = 1.0,
) -> SlottedNetwork:
    """Return a network of equal links; memory and attempts are one number for all nodes or one for each."""
    n_links = len(edges)
    werner = np.full(n_links, (4.0 * initial_fidelity - 1.0) / 3.0)
    return SlottedNetwork(
        edges=edges,
        success_probability=np.full(n_links, success_probability),
        initial_werner=werner,
        claimed_werner=werner.copy(),
        coherence_slots=np.full(n_links, coherence_slots),
        lifetime_slots=np.full(n_links, lifetime_slots, dtype=np.int64),
        memory_slots=np.broadcast_to(np.asarray(memory_slots, dtype=np.int64), n_nodes).copy(),
        attempts_per_slot=np.broadcast_to(np.asarray(attempts_per_slot, dtype=np.int64), n_nodes).copy(),
        swap_success_probability=swap_success_probability,
        swap_werner=swap_werner,
    )


def draw_requests(
    routes: Sequence[Sequence[int]],
    route_rate: Float64s,
    classes: Sequence[RequestClass],
    *,
    n_slots: int,
    n_links: int,
    rng: np.random.Generator,
    user_of_route: Int64s | None = None,
) -> tuple[RequestTable, Forecast]:
    """Draw requests that arrive unannounced as independent Poisson counts by route, class and slot.

    Args:
        routes: Links of each route.
        route_rate: Mean requests per slot of each route, `(routes,)`.
        classes: Classes, whose shares add to 1.
        n_slots: Slots.
        n_links: Links of the network.
        rng: Generator.
        user_of_route: User that asks over each route; default: every route has its own.

    Returns:
        The requests by arrival, and the forecast with their true rates.
    """
    share = np.array([one.share for one in classes])
    counts = rng.poisson(route_rate[None, :, None] * share, (n_slots, len(routes), len(classes)))
    slot, route, label = (np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(3, -1))
    # Requests of one slot come in random order, so that a policy which takes the first does not prefer a link or class.
    order = np.lexsort((rng.random(len(slot)), slot))
    slot, route, label = slot[order], route[order], label[order]
    user = route if user_of_route is None else user_of_route[route]
    requests = request_table(routes, classes, route=route, label=label, arrival=slot, user=user)
    rate = np.zeros((n_links, len(classes)))
    for links, mean in zip(routes, route_rate, strict=True):
        for link in links:
            rate[link] += mean * share
    return requests, forecast_of(rate, classes)


def request_table(
    routes: Sequence[Sequence[int]],
    classes: Sequence[RequestClass],
    *,
    route: Int64s,
    label: Int64s,
    arrival: Int64s,
    user: Int64s,
    announced: Int64s | None = None,
) -> RequestTable:
    """Return requests given by route, class, arrival and user, all `(R,)` and sorted by arrival."""
    lengths = np.array([len(links) for links in routes], dtype=np.int64)
    taken = [np.asarray(routes[index], dtype=np.int64) for index in route.tolist()]
    patience = np.array([one.patience_slots for one in classes], dtype=np.int64)
    return RequestTable(
        route_first=np.concatenate([[0], np.cumsum(lengths[route])]).astype(np.int64),
        route_link=np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64),
        announced=arrival.copy() if announced is None else announced,
        arrival=arrival,
        deadline=arrival + patience[label],
        n_pairs=np.array([one.n_pairs for one in classes], dtype=np.int64)[label],
        minimum_fidelity=np.array([one.minimum_fidelity for one in classes])[label],
        weight=np.array([one.weight for one in classes])[label],
        kind=np.array([one.kind for one in classes], dtype=np.int64)[label],
        request_class=label,
        user=user,
    )


def forecast_of(rate: Float64s, classes: Sequence[RequestClass], *, quorum: int = 0) -> Forecast:
    """Return the forecast of classes with these rates by link and class, `(E, C)`, and a quorum of their barriers."""
    return Forecast(
        rate=rate,
        minimum_fidelity=np.array([one.minimum_fidelity for one in classes]),
        weight=np.array([one.weight for one in classes]),
        kind=np.array([one.kind for one in classes], dtype=np.int64),
        patience_slots=np.array([one.patience_slots for one in classes], dtype=np.int64),
        n_pairs=np.array([one.n_pairs for one in classes], dtype=np.int64),
        quorum=quorum,
    )


def two_fidelities(*patience_slots: int, kind: ValueKind = ValueKind.STEP) -> list[RequestClass]:
    """Return the pilot's classes: 30 % of high fidelity and weight, the rest low, each deadline equally often."""
    kinds = ((HIGH_SHARE, HIGH_FIDELITY, HIGH_WEIGHT), (1.0 - HIGH_SHARE, LOW_FIDELITY, LOW_WEIGHT))
    return [
        RequestClass(
            share=share / len(patience_slots),
            minimum_fidelity=fidelity,
            weight=weight,
            patience_slots=patience,
            kind=kind,
        )
        for share, fidelity, weight in kinds
        for patience in patience_slots
    ]


def one_link_case(*, memory_slots: int, seed: int, phase: Phase, n_slots: int = 4000) -> SchedulingCase:
    """Return S1: one link and lost sales, at most one request a slot, small enough to be solved exactly.

    Raises:
        DomainError: `n_slots` is below 1.
    """
    check_load(0.0, n_slots)
    fidelity, coherence = 0.95, 40.0
    werner = (4.0 * fidelity - 1.0) / 3.0
    network = uniform_network(
        np.array([[0, 1]], dtype=np.int64),
        2,
        success_probability=0.3,
        initial_fidelity=fidelity,
        coherence_slots=coherence,
        lifetime_slots=lifetime_of_fidelity(werner, coherence, LOW_FIDELITY),
        memory_slots=memory_slots,
    )
    classes = [replace(one, share=1.0) for one in two_fidelities(0)]
    # One uniform number a slot says whether a request of the high class, of the low class or none comes.
    draw = case_stream(seed, phase, "requests").random(n_slots)
    label = np.searchsorted(np.cumsum(ONE_LINK_CHANCES), draw, side="right")
    slot = np.flatnonzero(label < len(classes))
    none = np.zeros(len(slot), dtype=np.int64)
    return SchedulingCase(
        name=f"S1 memory {memory_slots}",
        description="One link, two classes: the exact optimum is known.",
        regime=Regime.HARD,
        network=network,
        requests=request_table([[0]], classes, route=none, label=label[slot], arrival=slot, user=label[slot]),
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast_of(np.array([ONE_LINK_CHANCES]), classes),
    )


def _pilot_network(
    n_nodes: int, memory_slots: int, seed: int, phase: Phase, *, fidelity: float = 0.95, coherence: float = 40.0
) -> SlottedNetwork:
    werner = (4.0 * fidelity - 1.0) / 3.0
    return regular_network(
        n_nodes,
        degree=4,
        success_probability=0.3,
        initial_fidelity=fidelity,
        coherence_slots=coherence,
        lifetime_slots=lifetime_of_fidelity(werner, coherence, LOW_FIDELITY),
        memory_slots=memory_slots,
        rng=case_stream(seed, phase, "network"),
    )


def pareto_demand(n_links: int, rng: np.random.Generator) -> Float64s:
    """Return Pareto-skewed demands in random order, `(n_links,)`.

    They are the law's quantiles at the middles of equal parts and not draws, so that all instances are equally skewed:
    with draws the one hottest link would decide what an instance can deliver.
    """
    middle = (np.arange(n_links) + 0.5) / n_links
    return rng.permutation((1.0 - middle) ** (-1.0 / PARETO_SHAPE))


def pairs_per_slot(network: SlottedNetwork) -> float:
    """Return the largest mean number of pairs that the nodes' attempts can make in a slot, for equal links."""
    return float(network.attempts_per_slot.sum() / 2 * network.success_probability.mean())


def _link_requests(  # noqa: PLR0917 - private, called twice
    network: SlottedNetwork,
    demand: Float64s,
    load: float,
    classes: Sequence[RequestClass],
    n_slots: int,
    rng: np.random.Generator,
) -> tuple[RequestTable, Forecast]:
    """Return requests for pairs of single links in proportion to a demand `(n_links,)`."""
    return draw_requests(
        [[link] for link in range(network.n_links)],
        load * pairs_per_slot(network) * demand / demand.sum(),
        classes,
        n_slots=n_slots,
        n_links=network.n_links,
        rng=rng,
    )


def deadline_mix_case(
    *,
    load: float,
    memory_slots: int,
    seed: int,
    phase: Phase,
    n_nodes: int = 50,
    n_slots: int = 400,
    patience_slots: tuple[int, ...] = (3, 12),
) -> SchedulingCase:
    """Return S2: two fidelity classes and two deadlines on a random 4-regular network with Pareto-skewed demand.

    Raises:
        DomainError: `load` is negative, or `n_slots` below 1.
    """
    check_load(load, n_slots)
    network = _pilot_network(n_nodes, memory_slots, seed, phase)
    demand = pareto_demand(network.n_links, case_stream(seed, phase, "demand"))
    rng = case_stream(seed, phase, "requests")
    requests, forecast = _link_requests(network, demand, load, two_fidelities(*patience_slots), n_slots, rng)
    return SchedulingCase(
        name=f"S2 load {load:g} memory {memory_slots}",
        description="Two fidelities and two deadlines on shared memory: what to make ahead, and for whom to keep it.",
        regime=Regime.HARD,
        network=network,
        requests=requests,
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast,
    )


def lost_sales_case(
    *,
    memory_slots: int,
    seed: int,
    phase: Phase,
    load: float = 0.7,
    n_nodes: int = 50,
    n_slots: int = 400,
    initial_fidelity: float = 0.95,
    coherence_slots: float = 40.0,
) -> SchedulingCase:
    """Return S3: nobody waits, so only pairs made ahead serve; links of three demands, 10 : 3 : 1, in equal numbers.

    With an initial fidelity of 0.905 a new pair serves the high class in the slot of its birth alone.

    Raises:
        DomainError: `load` is negative, or `n_slots` below 1.
    """
    check_load(load, n_slots)
    network = _pilot_network(n_nodes, memory_slots, seed, phase, fidelity=initial_fidelity, coherence=coherence_slots)
    demand = np.resize(LOST_SALES_DEMAND, network.n_links)
    case_stream(seed, phase, "demand").shuffle(demand)
    rng = case_stream(seed, phase, "requests")
    requests, forecast = _link_requests(network, demand, load, two_fidelities(0), n_slots, rng)
    return SchedulingCase(
        name=f"S3 load {load:g} memory {memory_slots}",
        description="Lost sales: pairs must be there before the request, so that prediction decides.",
        regime=Regime.HARD,
        network=network,
        requests=requests,
        path=draw_sample_path(network, n_slots, case_stream(seed, phase, "coins")),
        forecast=forecast,
    )


def drift_case(
    *,
    load: float,
    memory_slots: int,
    seed: int,
    phase: Phase,
    n_nodes: int = 50,
    n_slots: int = 400,
    drifts: bool = True,
) -> SchedulingCase:
    """Return S9: S2, in which a fifth of the links degrade at mid-run and nobody says so.

    Their success probability falls to 0.3 of what it was, and their coherence time to a half. Without `drifts` nothing
    happens, as far as policies can know when they are tuned.

    Raises:
        DomainError: `load` is negative, or `n_slots` below 1.
    """
    base = deadline_mix_case(
        load=load, memory_slots=memory_slots, seed=seed, phase=phase, n_nodes=n_nodes, n_slots=n_slots
    )
    n_links = base.network.n_links
    if not drifts:
        return base
    degraded = case_stream(seed, phase, "drift").permutation(n_links) < round(DRIFT_SHARE * n_links)
    is_late = np.arange(n_slots)[:, None] >= n_slots // 2
    success_factor = np.where(is_late & degraded, DRIFT_SUCCESS_FACTOR, 1.0)
    path = draw_sample_path(
        base.network,
        n_slots,
        case_stream(seed, phase, "coins"),
        success_factor=success_factor,
        decay_factor=np.where(is_late & degraded, 1.0 / DRIFT_COHERENCE_FACTOR, 1.0),
    )
    return replace(
        base,
        name=f"S9 load {load:g} memory {memory_slots}",
        description="A fifth of the links degrade at mid-run: whether the scheduler notices.",
        path=path,
        success_chance=base.network.success_probability * success_factor,
    )


def check_load(load: float, n_slots: int) -> None:
    """Refuse a load or a number of slots that no case can have.

    Raises:
        DomainError: It cannot.
    """
    if not load >= 0.0 or not np.isfinite(load):
        raise DomainError(f"Argument `load` must be finite and at least 0, but is {load}.")
    if n_slots < 1:
        raise DomainError(f"Argument `n_slots` must be at least 1, but is {n_slots}.")
