"""Random topologies: points in a square, regular graphs, trees with further links."""

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.network.topology_value import Topology, canonical_topology, circle, component_of_node, require_at_least
from ceas.physics.domain import require_between, require_positive

__all__ = ["random_geometric", "random_recursive", "random_regular", "waxman"]

# A random 3-regular graph of a few nodes is the least often connected; this many failures in a row never happen.
_MOST_DRAWS = 1000


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

    require_at_least("n_nodes", n_nodes, 2)
    require_positive("radius_km", radius_km)
    position = float(require_positive("side_km", side_km)) * rng.random((n_nodes, 2))
    near = cKDTree(position).query_pairs(radius_km, output_type="ndarray").reshape(-1, 2)
    return _in_plane(
        f"random geometric graph of {n_nodes}",
        position,
        near,
        f"{n_nodes} random points, links up to {radius_km:g} km",
    )


def waxman(
    n_nodes: int, side_km: float, waxman_reach: float, waxman_density: float, rng: np.random.Generator
) -> Topology:
    """Return nodes placed at random in a square, with links that grow rarer with distance.

    Two nodes at distance d are linked with probability `waxman_density * exp(-d / (waxman_reach * L))`, where L is the
    square's diagonal, the largest distance possible. Parts are joined as in `random_geometric`.

    Args:
        n_nodes: Number of nodes, at least 2.
        side_km: Side of the square (km).
        waxman_reach: How long links may be, relative to the diagonal; positive.
        waxman_density: Probability of a link at no distance, in (0, 1].
        rng: Generator; with one more node the others keep their places and links, unless parts must be joined.

    Returns:
        Connected topology with straight lengths.

    Source:
        Waxman, IEEE Journal on Selected Areas in Communications 6(9), 1988 (the random graph RG1, with the largest
        distance possible for L).
    """
    require_at_least("n_nodes", n_nodes, 2)
    require_positive("waxman_reach", waxman_reach)
    require_positive("waxman_density", require_between("waxman_density", waxman_density, 0.0, 1.0))
    place_rng, link_rng = rng.spawn(2)
    side = float(require_positive("side_km", side_km))
    position = side * place_rng.random((n_nodes, 2))
    # Pairs in the order of the later node, so that another node's draws come after all others'.
    later, earlier = np.tril_indices(n_nodes, -1)
    distance = np.linalg.norm(position[later] - position[earlier], axis=1)
    probability = waxman_density * np.exp(-distance / (waxman_reach * side * np.sqrt(2.0)))
    is_linked = link_rng.random(len(later)) < probability
    return _in_plane(
        f"Waxman graph of {n_nodes}",
        position,
        np.column_stack([earlier, later])[is_linked],
        f"{n_nodes} random points, Waxman links of reach {waxman_reach:g} and density {waxman_density:g}",
    )


def random_regular(n_nodes: int, degree: int, spacing_km: float, rng: np.random.Generator) -> Topology:
    """Return a random connected graph in which every node has `degree` links of `spacing_km`.

    Args:
        n_nodes: Number of nodes, above `degree`; the product of both must be even.
        degree: Links of a node, at least 2.
        spacing_km: Length of every link (km).
        rng: Generator.

    Source:
        Steger and Wormald, Combinatorics, Probability and Computing 8(4), 1999, as NetworkX implements it; graphs that
        are not connected are drawn again.
    """
    import networkx as nx  # noqa: PLC0415 - slow to import, rarely needed

    require_at_least("degree", degree, 2)
    require_at_least("n_nodes", n_nodes, degree + 1)
    require_positive("spacing_km", spacing_km)
    if n_nodes * degree % 2:
        raise DomainError(f"Argument `n_nodes` must be even for an odd degree, but is {n_nodes} for degree {degree}.")
    for _ in range(_MOST_DRAWS):
        graph = nx.random_regular_graph(degree, n_nodes, seed=int(rng.integers(2**31)))
        edges = np.array(sorted(graph.edges), dtype=np.int64)
        if not np.any(component_of_node(n_nodes, edges)):
            return _evenly_spaced(
                f"random {degree}-regular graph of {n_nodes}", n_nodes, edges, spacing_km, "random regular graph"
            )
    raise DomainError(f"Argument `degree` must give a connected graph, but {_MOST_DRAWS} draws of {degree} gave none.")


def random_recursive(n_nodes: int, n_links: int, spacing_km: float, rng: np.random.Generator) -> Topology:
    """Return a random recursive tree with further links between random pairs, all of `spacing_km`.

    Each node after the first is linked to one of those before it, all equally likely. Then links are added between two
    nodes that have none yet, all such pairs equally likely, until there are `n_links`. This is the law of the random
    topologies of SimQN and MQNS, which the latter measures at 16 to 512 nodes with 1.25 links a node of 30 km.

    Args:
        n_nodes: Number of nodes, at least 2.
        n_links: Number of links, from that of a tree, `n_nodes - 1`, to that of all pairs.
        spacing_km: Length of every link (km).
        rng: Generator.

    Source:
        Class RandomTopology and example scalability_randomtopo of MQNS (arXiv:2512.22937), for the law alone.
    """
    require_at_least("n_nodes", n_nodes, 2)
    require_at_least("n_links", n_links, n_nodes - 1)
    require_positive("spacing_km", spacing_km)
    n_pairs = n_nodes * (n_nodes - 1) // 2
    if n_links > n_pairs:
        raise DomainError(f"Argument `n_links` must be at most {n_pairs} for {n_nodes} nodes, but is {n_links}.")
    later = np.arange(1, n_nodes)
    tree = np.column_stack([rng.integers(0, later), later])
    b, a = np.tril_indices(n_nodes, -1)
    is_free = np.ones(n_pairs, np.bool_)
    # The pair a < b is number b (b - 1) / 2 + a in the order of `tril_indices`.
    is_free[tree[:, 1] * (tree[:, 1] - 1) // 2 + tree[:, 0]] = False
    added = rng.choice(np.flatnonzero(is_free), size=n_links - len(tree), replace=False)
    edges = np.concatenate([tree, np.column_stack([a[added], b[added]])])
    return _evenly_spaced(
        f"random recursive graph of {n_nodes}",
        n_nodes,
        edges,
        spacing_km,
        f"random recursive tree with {len(added)} further links",
    )


def _evenly_spaced(name: str, n_nodes: int, edges: NDArray[np.int64], spacing_km: float, provenance: str) -> Topology:
    """Return a topology with equal lengths, drawn on a circle."""
    return canonical_topology(
        name=name,
        labels=[str(node) for node in range(n_nodes)],
        edges=edges,
        length_km=np.full(len(edges), float(spacing_km)),
        position=circle(n_nodes),
        provenance=provenance,
    )


def _in_plane(name: str, position: NDArray[np.float64], edges: NDArray[np.int64], provenance: str) -> Topology:
    """Return a topology with straight lengths, its parts joined."""
    joined = _joining_edges(position, edges)
    edges = np.concatenate([edges, joined])
    return canonical_topology(
        name=name,
        labels=[str(node) for node in range(len(position))],
        edges=edges,
        length_km=np.linalg.norm(position[edges[:, 0]] - position[edges[:, 1]], axis=1),
        position=position,
        provenance=f"{provenance}, {len(joined)} links added to join parts",
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
