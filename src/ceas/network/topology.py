"""Topologies by name: the shipped networks, regular and random ones, and files."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError, UnknownNameError, nearest_name
from ceas.network.topology_files import load_topology
from ceas.network.topology_random import random_geometric, random_recursive, random_regular, waxman
from ceas.network.topology_shipped import (
    abilene,
    arnes,
    belnet,
    cesnet,
    chicago,
    delft_eindhoven,
    dfn,
    garr,
    geant,
    janet,
    nsfnet,
    renater,
    surfnet,
)
from ceas.network.topology_value import Topology, canonical_topology, circle, path_latency_s, require_at_least
from ceas.physics.domain import require_positive

__all__ = [
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
]


def chain(n_nodes: int, spacing_km: float) -> Topology:
    """Return a chain of at least 2 nodes with links of `spacing_km`."""
    require_at_least("n_nodes", n_nodes, 2)
    require_positive("spacing_km", spacing_km)
    nodes = np.arange(n_nodes)
    position = spacing_km * np.column_stack([nodes, np.zeros(n_nodes)]).astype(np.float64)
    return _regular(f"chain of {n_nodes}", np.column_stack([nodes[:-1], nodes[1:]]), spacing_km, position)


def ring(n_nodes: int, spacing_km: float) -> Topology:
    """Return a ring of at least 3 nodes with links of `spacing_km`."""
    require_at_least("n_nodes", n_nodes, 3)
    require_positive("spacing_km", spacing_km)
    nodes = np.arange(n_nodes)
    edges = np.column_stack([nodes, (nodes + 1) % n_nodes])
    radius_km = spacing_km / (2.0 * np.sin(np.pi / n_nodes))
    return _regular(f"ring of {n_nodes}", edges, spacing_km, radius_km * circle(n_nodes))


def grid(rows: int, columns: int, spacing_km: float) -> Topology:
    """Return a square grid with links of `spacing_km`; node r * columns + c is in row r, column c."""
    require_at_least("rows", rows, 1)
    require_at_least("columns", columns, 1)
    require_at_least("rows * columns", rows * columns, 2)
    require_positive("spacing_km", spacing_km)
    node = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([node[:, :-1].ravel(), node[:, 1:].ravel()])
    down = np.column_stack([node[:-1].ravel(), node[1:].ravel()])
    row, column = np.divmod(node.ravel(), columns)
    position = spacing_km * np.column_stack([column, -row]).astype(np.float64)
    return _regular(f"grid of {rows} x {columns}", np.concatenate([across, down]), spacing_km, position)


def star(n_leaves: int, spacing_km: float) -> Topology:
    """Return a star: node 0 in the middle, joined to each of `n_leaves` others by a link of `spacing_km`."""
    require_at_least("n_leaves", n_leaves, 1)
    require_positive("spacing_km", spacing_km)
    edges = np.column_stack([np.zeros(n_leaves, dtype=np.int64), np.arange(1, n_leaves + 1)])
    position = np.concatenate([np.zeros((1, 2)), spacing_km * circle(n_leaves)])
    return _regular(f"star of {n_leaves}", edges, spacing_km, position)


def build_topology(
    kind: str, *, rng: np.random.Generator, fibre_length_factor: float = 1.0, **parameters: Any
) -> Topology:
    """Build a topology by the name of its kind.

    Args:
        kind: The name of a network of `topology_shipped` (such as surfnet), of a regular or random one (such as chain
            or waxman), or file.
        rng: Generator for kinds that are random.
        fibre_length_factor: Factor on every length, and on measured losses with it; about 1.5 turns great-circle
            distances into short fibre routes.
        **parameters: Arguments of the kind's own function (`path` for a file); none may be missing or unknown.

    Returns:
        Topology with scaled lengths.

    Raises:
        UnknownNameError: `kind` is not in the list.
        DomainError: A parameter is missing, unknown or out of its range.
        ScenarioError: The file has mistakes.
    """
    if kind not in _BUILDERS:
        raise UnknownNameError("topology", kind, _BUILDERS)
    builder = _BUILDERS[kind]
    expected = [name for name in inspect.signature(builder).parameters if name != "rng"]
    _require_parameters(kind, expected, parameters)
    if "rng" in inspect.signature(builder).parameters:
        parameters["rng"] = rng
    topology = builder(**parameters)
    factor = float(require_positive("fibre_length_factor", fibre_length_factor))
    loss_db = None if topology.loss_db is None else topology.loss_db * factor
    return replace(topology, length_km=topology.length_km * factor, loss_db=loss_db)


_BUILDERS: dict[str, Callable[..., Topology]] = {
    "surfnet": surfnet,
    "arnes": arnes,
    "chicago": chicago,
    "delft_eindhoven": delft_eindhoven,
    "belnet": belnet,
    "cesnet": cesnet,
    "dfn": dfn,
    "garr": garr,
    "janet": janet,
    "renater": renater,
    "geant": geant,
    "abilene": abilene,
    "nsfnet": nsfnet,
    "chain": chain,
    "ring": ring,
    "grid": grid,
    "star": star,
    "random_geometric": random_geometric,
    "waxman": waxman,
    "random_regular": random_regular,
    "random_recursive": random_recursive,
    "file": load_topology,
}


def _regular(name: str, edges: NDArray[np.int64], spacing_km: float, position: NDArray[np.float64]) -> Topology:
    """Return a topology with equal lengths and numbers as labels."""
    labels = [str(node) for node in range(len(position))]
    lengths = np.full(len(edges), float(spacing_km))
    return canonical_topology(
        name=name, labels=labels, edges=edges, length_km=lengths, position=position, provenance="regular topology"
    )


def _require_parameters(kind: str, expected: Sequence[str], given: Mapping[str, object]) -> None:
    """Raise DomainError unless exactly the expected parameters are given."""
    for name in given:
        if name not in expected:
            hint = nearest_name(name, expected)
            known = f"Known: {', '.join(expected) or 'none'}." + (f" Did you mean `{hint}`?" if hint else "")
            raise DomainError(f"Argument `{name}` must be one that topology `{kind}` takes, but is not. {known}")
    missing = [name for name in expected if name not in given]
    if missing:
        raise DomainError(f"Argument `{missing[0]}` must be given for topology `{kind}`, but is missing.")
