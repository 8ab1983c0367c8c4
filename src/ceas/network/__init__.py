"""Who can share pairs with whom, and pairs over time.

Topologies and hardware are plain arrays; the event kernel is compiled when the simulation is first imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ceas.network.records import DemandTable, Fate, NetworkModel, RoundClock, WindowRecord
from ceas.network.route_records import RouteFate, RouteRecord
from ceas.network.routes import (
    Arrivals,
    DriftSchedule,
    RepeaterTable,
    RouteClass,
    RouteDemand,
    RouteTable,
    fastest_routes,
    ideal_repeaters,
    repeaters_of,
    swap_contraction,
)

if TYPE_CHECKING:
    from ceas.network.hardware import HardwareParameters, LinkTable, NodeTable, draw_hardware, pair_rate_hz
    from ceas.network.policy import (
        LinkView,
        Policy,
        SwapView,
        attempt_rule,
        priority_rule,
        route_rule,
        serve_rule,
        swap_rule,
    )
    from ceas.network.simulation import NetworkState, advance_round, initial_state
    from ceas.network.topology import (
        Topology,
        abilene,
        arnes,
        belnet,
        build_topology,
        cesnet,
        chain,
        chicago,
        delft_eindhoven,
        dfn,
        garr,
        geant,
        grid,
        janet,
        load_topology,
        nsfnet,
        path_latency_s,
        random_geometric,
        random_recursive,
        random_regular,
        renater,
        ring,
        star,
        surfnet,
        waxman,
    )
    from ceas.network.waiting import wait_quantile_s

__all__ = [
    "Arrivals",
    "DemandTable",
    "DriftSchedule",
    "Fate",
    "HardwareParameters",
    "LinkTable",
    "LinkView",
    "NetworkModel",
    "NetworkState",
    "NodeTable",
    "Policy",
    "RepeaterTable",
    "RoundClock",
    "RouteClass",
    "RouteDemand",
    "RouteFate",
    "RouteRecord",
    "RouteTable",
    "SwapView",
    "Topology",
    "WindowRecord",
    "abilene",
    "advance_round",
    "arnes",
    "attempt_rule",
    "belnet",
    "build_topology",
    "cesnet",
    "chain",
    "chicago",
    "delft_eindhoven",
    "dfn",
    "draw_hardware",
    "fastest_routes",
    "garr",
    "geant",
    "grid",
    "ideal_repeaters",
    "initial_state",
    "janet",
    "load_topology",
    "nsfnet",
    "pair_rate_hz",
    "path_latency_s",
    "priority_rule",
    "random_geometric",
    "random_recursive",
    "random_regular",
    "renater",
    "repeaters_of",
    "ring",
    "route_rule",
    "serve_rule",
    "star",
    "surfnet",
    "swap_contraction",
    "swap_rule",
    "wait_quantile_s",
    "waxman",
]

# Imported when first asked for, because they bring Numba or read data files.
_MODULE_OF = {
    "hardware": ("HardwareParameters", "LinkTable", "NodeTable", "draw_hardware", "pair_rate_hz"),
    "policy": (
        "LinkView",
        "Policy",
        "SwapView",
        "attempt_rule",
        "priority_rule",
        "route_rule",
        "serve_rule",
        "swap_rule",
    ),
    "simulation": ("NetworkState", "advance_round", "initial_state"),
    "topology": (
        "Topology",
        "abilene",
        "arnes",
        "belnet",
        "build_topology",
        "cesnet",
        "chain",
        "chicago",
        "delft_eindhoven",
        "dfn",
        "garr",
        "geant",
        "grid",
        "janet",
        "load_topology",
        "nsfnet",
        "path_latency_s",
        "random_geometric",
        "random_recursive",
        "random_regular",
        "renater",
        "ring",
        "star",
        "surfnet",
        "waxman",
    ),
    "waiting": ("wait_quantile_s",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULE_OF.items():
        if name in names:
            return getattr(import_module(f"ceas.network.{module}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
