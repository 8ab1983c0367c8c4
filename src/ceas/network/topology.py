"""Topologies by name: the shipped networks, regular and random ones, and files."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError, UnknownNameError, nearest_name
from ceas.network.topology_files import arnes, load_topology, surfnet
from ceas.network.topology_value import Topology, canonical_topology, circle, component_of_node, path_latency_s
from ceas.physics.domain import require_positive

__all__ = [
    "Topology",
    "arnes",
    "build_topology",
    "grid",
    "load_topology",
    "path_latency_s",
    "random_geometric",
    "ring",
    "star",
    "surfnet",
]


def ring(n_nodes: int, spacing_km: float) -> Topology:
    """Return a ring of at least 3 nodes with links of `spacing_km`."""
    _require_at_least("n_nodes", n_nodes, 3)
    require_positive("spacing_km", spacing_km)
    nodes = np.arange(n_nodes)
    edges = np.column_stack([nodes, (nodes + 1) % n_nodes])
    radius_km = spacing_km / (2.0 * np.sin(np.pi / n_nodes))
    return _regular(f"ring of {n_nodes}", edges, spacing_km, radius_km * circle(n_nodes))


def grid(rows: int, columns: int, spacing_km: float) -> Topology:
    """Return a square grid with links of `spacing_km`; node r * columns + c is in row r, column c."""
    _require_at_least("rows", rows, 1)
    _require_at_least("columns", columns, 1)
    _require_at_least("rows * columns", rows * columns, 2)
    require_positive("spacing_km", spacing_km)
    node = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([node[:, :-1].ravel(), node[:, 1:].ravel()])
    down = np.column_stack([node[:-1].ravel(), node[1:].ravel()])
    row, column = np.divmod(node.ravel(), columns)
    position = spacing_km * np.column_stack([column, -row]).astype(np.float64)
    return _regular(f"grid of {rows} x {columns}", np.concatenate([across, down]), spacing_km, position)


def star(n_leaves: int, spacing_km: float) -> Topology:
    """Return a star: node 0 in the middle, joined to each of `n_leaves` others by a link of `spacing_km`."""
    _require_at_least("n_leaves", n_leaves, 1)
    require_positive("spacing_km", spacing_km)
    edges = np.column_stack([np.zeros(n_leaves, dtype=np.int64), np.arange(1, n_leaves + 1)])
    position = np.concatenate([np.zeros((1, 2)), spacing_km * circle(n_leaves)])
    return _regular(f"star of {n_leaves}", edges, spacing_km, position)


def random_geometric(n_nodes: int, side_km: float, radius_km: float, rng: np.random.Generator) -> Topology:
    """Return nodes placed at random in a square, with a link between any two within `radius_km`.

    Where that leaves several parts, they are joined: as long as there are any, the part of node 0 is linked to the
    rest by the shortest link possible. `provenance` says how many links were added so.

    Args:
        n_nodes: Number of nodes, at least 2.
        side_km: Side of the square (km).
        radius_km: Longest link before joining (km).
        rng: Generator of the positions; with one more node the others stay where they were.

    Returns:
        Connected topology with straight lengths.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - slow to import, rarely needed

    _require_at_least("n_nodes", n_nodes, 2)
    require_positive("radius_km", radius_km)
    position = float(require_positive("side_km", side_km)) * rng.random((n_nodes, 2))
    near = cKDTree(position).query_pairs(radius_km, output_type="ndarray").reshape(-1, 2)
    joined = _joining_edges(position, near)
    edges = np.concatenate([near, joined])
    return canonical_topology(
        name=f"random geometric graph of {n_nodes}",
        labels=[str(node) for node in range(n_nodes)],
        edges=edges,
        length_km=np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1),
        position=position,
        provenance=f"{n_nodes} random points, links up to {radius_km:g} km, {len(joined)} links added to join parts",
    )


def build_topology(
    kind: str, *, rng: np.random.Generator, fibre_length_factor: float = 1.0, **parameters: Any
) -> Topology:
    """Build a topology by the name of its kind.

    Args:
        kind: One of surfnet, arnes, ring, grid, star, random_geometric, file.
        rng: Generator for kinds that are random.
        fibre_length_factor: Factor on every length; about 1.5 turns great-circle distances into short fibre routes.
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
    if builder is random_geometric:
        parameters["rng"] = rng
    topology = builder(**parameters)
    factor = float(require_positive("fibre_length_factor", fibre_length_factor))
    return replace(topology, length_km=topology.length_km * factor)


_BUILDERS: dict[str, Callable[..., Topology]] = {
    "surfnet": surfnet,
    "arnes": arnes,
    "ring": ring,
    "grid": grid,
    "star": star,
    "random_geometric": random_geometric,
    "file": load_topology,
}


def _regular(name: str, edges: NDArray[np.int64], spacing_km: float, position: NDArray[np.float64]) -> Topology:
    """Return a topology with equal lengths and numbers as labels."""
    labels = [str(node) for node in range(len(position))]
    lengths = np.full(len(edges), float(spacing_km))
    return canonical_topology(
        name=name, labels=labels, edges=edges, length_km=lengths, position=position, provenance="regular topology"
    )


def _joining_edges(position: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the links `(k, 2)` that join all parts, each the shortest from the part of node 0 to the rest."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - slow to import, rarely needed

    part = component_of_node(len(position), edges)
    joined: list[tuple[int, int]] = []
    while np.any(outsider := part != part[0]):
        inside, outside = np.flatnonzero(~outsider), np.flatnonzero(outsider)
        distance, nearest = cKDTree(position[inside]).query(position[outside])
        closest = int(np.argmin(distance))
        joined.append((int(inside[nearest[closest]]), int(outside[closest])))
        part[part == part[outside[closest]]] = part[0]
    return np.array(joined, dtype=np.int64).reshape(-1, 2)


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


def _require_at_least(name: str, value: int, least: int) -> None:
    """Raise DomainError unless `value` is at least `least`."""
    if value < least:
        raise DomainError(f"Argument `{name}` must be at least {least}, but is {value}.")
