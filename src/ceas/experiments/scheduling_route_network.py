"""S7 on the event kernel: routes whose repeaters swap at times of their own choice, and hear of each other late.

The slotted network swaps a route when it serves it and knows all at once. Here the same grid and the same demand run
on the kernel of `ceas.network.routes`: a slot is `SLOT_NS`, links attempt once a slot, nodes attempt on two links at a
time, and a message takes one slot a hop, or no time at all, which is what nodes with global information would have.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceas.experiments.scheduling_cases import Phase, Regime, case_stream, check_load
from ceas.experiments.scheduling_route_cases import (
    GRID_MINIMUM_FIDELITY,
    GRID_PATIENCE_SLOTS,
    GravityDemand,
    gravity_demand,
    grid_network,
)
from ceas.network.hardware import LinkTable, NodeTable
from ceas.network.records import NetworkModel, RoundClock, no_link_demand
from ceas.network.routes import Arrivals, RouteClass, RouteDemand, RouteTable, ideal_repeaters
from ceas.network.slots import SlottedNetwork

__all__ = ["GLOBAL", "LOCAL", "ROUND_SLOTS", "SLOT_NS", "RouteNetworkCase", "route_network_case"]

SLOT_NS = 1_000_000
# At 200,000 km/s a message over this length takes one slot.
SLOT_KM = 200.0
# Every request is settled a round after the one in which it came.
ROUND_SLOTS = max(GRID_PATIENCE_SLOTS)
# How the two settings of a swap chance are told apart.
LOCAL, GLOBAL = "messages 1 slot a hop", "messages at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNetworkCase:
    """One instance on the event kernel.

    Attributes:
        name: Setting.
        description: What it separates.
        regime: Whether it can tell good policies from bad ones.
        model: Network and demand; policies that are tuned change the cutoffs.
        source: Who asks over each route, `(n_routes,)`.
        seed: Seed of the network's streams: arrivals, births and swaps.
        n_rounds: Rounds of `ROUND_SLOTS` slots; the requests of all but the last are counted.
    """

    name: str
    description: str
    regime: Regime
    model: NetworkModel
    source: npt.NDArray[np.int64]
    seed: int
    n_rounds: int

    @property
    def n_slots(self) -> int:
        """Number of slots that are simulated."""
        return self.n_rounds * ROUND_SLOTS


def route_network_case(
    *,
    swap_success_probability: float,
    hears_at_once: bool,
    seed: int,
    phase: Phase,
    load: float = 0.7,
    n_slots: int = 400,
) -> RouteNetworkCase:
    """Return S7 on the event kernel, with the grid, the demand and the coherence of the slotted one.

    Requests come at any time and not at the starts of slots, and have `GRID_PATIENCE_SLOTS` slots. Swaps are perfect
    where they succeed: pairs age while messages travel, which the slotted network only reckons with.

    Raises:
        DomainError: `load` is negative, or `n_slots` below 1.
    """
    check_load(load, n_slots)
    grid = grid_network(swap_success_probability)
    demand = gravity_demand(grid, seed=seed, phase=phase, load=load)
    return RouteNetworkCase(
        name=f"S7 events swap {swap_success_probability:g} {GLOBAL if hears_at_once else LOCAL}",
        description="Which request gets which pair of its route, when repeaters swap, and what hearing late costs.",
        regime=Regime.HARD,
        model=_model(grid, demand, hears_at_once=hears_at_once),
        source=demand.ends[:, 0],
        seed=int(case_stream(seed, phase, "events").integers(1 << 62)),
        n_rounds=-(-n_slots // ROUND_SLOTS) + 1,
    )


def _model(grid: SlottedNetwork, demand: GravityDemand, *, hears_at_once: bool) -> NetworkModel:
    n_nodes, n_links = len(grid.memory_slots), grid.n_links
    coherence_s = float(grid.coherence_slots[0]) * SLOT_NS * 1e-9
    nothing = np.zeros(n_nodes)
    nodes = NodeTable(
        # A pair decays with the rates of both its memories; together they are those of the slotted pair.
        coherence_time_s=np.full(n_nodes, 2.0 * coherence_s),
        memory_slots=grid.memory_slots.astype(np.int32),
        one_qubit_error=nothing,
        two_qubit_error=nothing,
        readout_error=nothing,
    )
    length_km = np.full(n_links, 0.0 if hears_at_once else SLOT_KM)
    links = LinkTable(
        node_a=grid.edges[:, 0].astype(np.int32),
        node_b=grid.edges[:, 1].astype(np.int32),
        length_km=length_km,
        attempt_period_ns=np.full(n_links, SLOT_NS, dtype=np.int64),
        success_probability=grid.success_probability,
        initial_werner=grid.initial_werner,
        decay_rate_hz=np.full(n_links, 1.0 / coherence_s),
        latency_s=length_km / SLOT_KM * SLOT_NS * 1e-9,
    )
    # The oldest pair that can still serve is one whose only partner is new.
    least_werner = (4.0 * GRID_MINIMUM_FIDELITY - 1.0) / 3.0 / float(grid.initial_werner.max())
    return NetworkModel(
        nodes=nodes,
        links=links,
        demand=no_link_demand(n_links),
        clock=RoundClock(round_ns=ROUND_SLOTS * SLOT_NS, learning_ns=ROUND_SLOTS * SLOT_NS),
        minimum_fidelity=0.25 + 0.75 * least_werner,
        routes=RouteTable(
            first_hop=np.concatenate([[0], np.cumsum([len(route) for route in demand.routes])]).astype(np.int64),
            link=np.array([link for route in demand.routes for link in route], dtype=np.int64),
            source=demand.ends[:, 0].copy(),
            target=demand.ends[:, 1].copy(),
        ),
        route_demand=_requests(demand),
        repeaters=ideal_repeaters(
            nodes,
            links,
            swap_success_probability=grid.swap_success_probability,
            communication_qubits=grid.attempts_per_slot,
        ),
    )


def _requests(demand: GravityDemand) -> RouteDemand:
    """Return Poisson flows, one for each route and patience."""
    n_routes, n_classes = len(demand.rate), len(GRID_PATIENCE_SLOTS)
    n_flows = n_routes * n_classes
    return RouteDemand(
        route=np.repeat(np.arange(n_routes), n_classes),
        use_class=np.full(n_flows, int(RouteClass.BACKGROUND), dtype=np.int64),
        arrivals=np.full(n_flows, int(Arrivals.POISSON), dtype=np.int64),
        requests_per_round=np.repeat(demand.rate, n_classes) * ROUND_SLOTS / n_classes,
        backlog=np.ones(n_flows, dtype=np.int64),
        deadline_ns=np.tile(np.array(GRID_PATIENCE_SLOTS, dtype=np.int64) * SLOT_NS, n_routes),
        minimum_fidelity=np.full(n_flows, GRID_MINIMUM_FIDELITY),
        weight=np.ones(n_flows),
    )
