"""The value that all of the network shares: nodes, links, lengths and places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_non_negative, require_positive

__all__ = ["Topology", "canonical_topology", "circle", "component_of_node", "path_latency_s", "require_at_least"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A connected network without loops or parallel links.

    Attributes:
        name: Name for tables and plots.
        n_nodes: Number of nodes.
        edges: Ends of each link, `(E, 2)` int32, smaller index first, rows in lexicographic order.
        length_km: Fibre length of each link (km), `(E,)`.
        latitude_deg: Latitude of each node (degrees), `(n,)`, NaN where unknown.
        longitude_deg: Longitude of each node (degrees), `(n,)`, NaN where unknown.
        position: Plot coordinates `(n, 2)`, in km (east, north) where the places are known, else on a unit circle. Only
            `length_km` counts for physics.
        labels: Name of each node.
        provenance: Where the data come from.
        loss_db: Measured loss of each link's whole fibre (dB), `(E,)`, NaN where none is known; it then follows from
            the attenuation and the length. None where no link's is known.
    """

    name: str
    n_nodes: int
    edges: NDArray[np.int32]
    length_km: NDArray[np.float64]
    latitude_deg: NDArray[np.float64]
    longitude_deg: NDArray[np.float64]
    position: NDArray[np.float64]
    labels: tuple[str, ...]
    provenance: str
    loss_db: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _require_shapes(self)
        a, b = self.edges[:, 0], self.edges[:, 1]
        if np.any((a < 0) | (a >= b) | (b >= self.n_nodes)):
            raise DomainError("Argument `edges` must hold pairs a < b of node indices.")
        if np.any(np.diff(a.astype(np.int64) * self.n_nodes + b) <= 0):
            raise DomainError("Argument `edges` must be in lexicographic order without duplicates.")
        require_positive("length_km", self.length_km)
        if self.loss_db is not None:
            require_non_negative("loss_db", self.loss_db[~np.isnan(self.loss_db)])
        n_components = len(set(component_of_node(self.n_nodes, self.edges)))
        if n_components != 1:
            raise DomainError(f"Argument `edges` must connect all nodes, but leaves {n_components} parts.")

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.edges)

    def attenuation_db_per_km(self, unmeasured_db_per_km: float) -> NDArray[np.float64]:
        """Return each link's loss by length (dB/km), `(E,)`: the measured one, else `unmeasured_db_per_km`."""
        attenuation = np.full(self.n_links, float(unmeasured_db_per_km))
        if self.loss_db is None:
            return attenuation
        return np.where(np.isnan(self.loss_db), attenuation, self.loss_db / self.length_km)


def canonical_topology(
    *,
    name: str,
    labels: Sequence[str],
    edges: NDArray[np.int64],
    length_km: NDArray[np.float64],
    position: NDArray[np.float64],
    provenance: str,
    latitude_deg: NDArray[np.float64] | None = None,
    longitude_deg: NDArray[np.float64] | None = None,
    loss_db: NDArray[np.float64] | None = None,
) -> Topology:
    """Return a topology with each edge's smaller index first and the edges in lexicographic order."""
    ends = np.sort(edges, axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    unknown = np.full(len(labels), np.nan)
    return Topology(
        name=name,
        n_nodes=len(labels),
        edges=ends[order].astype(np.int32),
        length_km=np.asarray(length_km, dtype=np.float64)[order],
        latitude_deg=unknown if latitude_deg is None else latitude_deg,
        longitude_deg=unknown if longitude_deg is None else longitude_deg,
        position=position,
        labels=tuple(labels),
        provenance=provenance,
        loss_db=None if loss_db is None or np.all(np.isnan(loss_db)) else np.asarray(loss_db, dtype=np.float64)[order],
    )


def path_latency_s(topology: Topology, link_latency_s: ArrayLike) -> NDArray[np.float64]:
    """Return the latency of the fastest path between any two nodes.

    Args:
        topology: Who is linked to whom.
        link_latency_s: One-way latency of each link (s), positive, shape `(E,)`.

    Returns:
        Symmetric matrix `(n, n)` of one-way latencies (s) with zeros on the diagonal.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.csgraph import shortest_path  # noqa: PLC0415 - slow to import

    latency = require_positive("link_latency_s", link_latency_s)
    if latency.shape != (topology.n_links,):
        raise DomainError(f"Argument `link_latency_s` must have shape ({topology.n_links},), but has {latency.shape}.")
    a, b = topology.edges.T
    matrix = csr_array((latency, (a, b)), shape=(topology.n_nodes, topology.n_nodes))
    paths = shortest_path(matrix, method="D", directed=False)
    # The two directions add the same latencies in opposite order, so they may differ by rounding.
    return np.asarray(np.minimum(paths, paths.T))


def circle(n_points: int) -> NDArray[np.float64]:
    """Return `(n, 2)` points spread evenly over the unit circle, the first in the east."""
    angle = 2.0 * np.pi * np.arange(n_points) / n_points
    return np.column_stack([np.cos(angle), np.sin(angle)])


def require_at_least(name: str, value: int, least: int) -> None:
    """Raise DomainError unless `value` is at least `least`."""
    if value < least:
        raise DomainError(f"Argument `{name}` must be at least {least}, but is {value}.")


def component_of_node(n_nodes: int, edges: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return for each node the number of its connected part."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - slow to import

    a, b = edges.T
    matrix = csr_array((np.ones(len(edges)), (a, b)), shape=(n_nodes, n_nodes))
    return np.asarray(connected_components(matrix, directed=False)[1])


def _require_shapes(topology: Topology) -> None:
    """Raise DomainError unless the columns of a topology fit its numbers of nodes and links."""
    n, e = topology.n_nodes, len(topology.edges)
    expected = {
        "edges": (e, 2),
        "length_km": (e,),
        "latitude_deg": (n,),
        "longitude_deg": (n,),
        "position": (n, 2),
        "labels": (n,),
    }
    if topology.loss_db is not None:
        expected["loss_db"] = (e,)
    for name, shape in expected.items():
        found = np.shape(getattr(topology, name))
        if found != shape:
            raise DomainError(f"Argument `{name}` must have shape {shape}, but has shape {found}.")
    if len(set(topology.labels)) != n:
        raise DomainError("Argument `labels` must differ from node to node.")
