"""Who can share pairs with whom, and pairs over time.

Topologies and hardware are plain arrays; the event kernel is compiled when the simulation is first imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ceas.network.records import DemandTable, Fate, NetworkModel, RoundClock, WindowRecord

if TYPE_CHECKING:
    from ceas.network.hardware import HardwareParameters, LinkTable, NodeTable, draw_hardware, pair_rate_hz
    from ceas.network.policy import LinkView, Policy, attempt_rule, serve_rule
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

__all__ = [
    "DemandTable",
    "Fate",
    "HardwareParameters",
    "LinkTable",
    "LinkView",
    "NetworkModel",
    "NetworkState",
    "NodeTable",
    "Policy",
    "RoundClock",
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
    "garr",
    "geant",
    "grid",
    "initial_state",
    "janet",
    "load_topology",
    "nsfnet",
    "pair_rate_hz",
    "path_latency_s",
    "random_geometric",
    "random_recursive",
    "random_regular",
    "renater",
    "ring",
    "serve_rule",
    "star",
    "surfnet",
    "waxman",
]

# Imported when first asked for, because they bring Numba or read data files.
_MODULE_OF = {
    "hardware": ("HardwareParameters", "LinkTable", "NodeTable", "draw_hardware", "pair_rate_hz"),
    "policy": ("LinkView", "Policy", "attempt_rule", "serve_rule"),
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
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULE_OF.items():
        if name in names:
            return getattr(import_module(f"ceas.network.{module}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
