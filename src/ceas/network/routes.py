"""Routes over several links, who asks for end-to-end pairs over them, and what repeaters do to pairs.

All of it is optional: a network without routes, attempt limits and drift is the network of elementary links alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.physics.operations import LocalOperations
from ceas.physics.swapping import bell_measurement_correlators

if TYPE_CHECKING:
    from ceas.network.hardware import LinkTable, NodeTable

__all__ = [
    "Arrivals",
    "DriftSchedule",
    "RepeaterTable",
    "RouteClass",
    "RouteDemand",
    "RouteTable",
    "fastest_routes",
    "ideal_repeaters",
    "repeaters_of",
    "swap_contraction",
]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]
RouteCost = Literal["hops", "latency", "pair_time"]

_LONGEST_S = 60 * 86_400.0
_MOST_MODES = 1 << 20


class RouteClass(IntEnum):
    """What an end-to-end pair is for: secret key, a joint test of its fidelity, or traffic that CEAS only carries."""

    KEY = 0
    TEST = 1
    BACKGROUND = 2


class Arrivals(IntEnum):
    """How requests of a flow arrive.

    PERIODIC spreads them evenly over the round, POISSON draws their gaps from a stream of the flow's own, SATURATED
    always keeps `backlog` requests that still ask for a pair.
    """

    PERIODIC = 0
    POISSON = 1
    SATURATED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Routes: simple paths, as lists of links from the source to the target.

    Args:
        first_hop: Where each route's links begin in `link`, shape `(n_routes + 1,)`.
        link: Links of all routes one after the other, shape `(n_hops,)`.
        source: First node of each route, shape `(n_routes,)`.
        target: Last node of each route, shape `(n_routes,)`.
    """

    first_hop: Int64s
    link: Int64s
    source: Int64s
    target: Int64s

    def __post_init__(self) -> None:
        n_routes = len(self.source)
        if self.source.shape != (n_routes,) or self.target.shape != (n_routes,):
            raise DomainError(f"Argument `target` must have shape ({n_routes},), but has {self.target.shape}.")
        if self.first_hop.shape != (n_routes + 1,) or self.first_hop[0] != 0 or self.first_hop[-1] != len(self.link):
            raise DomainError(
                f"Argument `first_hop` must have {n_routes + 1} entries, from 0 to {len(self.link)}, but does not."
            )
        if bool((np.diff(self.first_hop) < 1).any()):
            raise DomainError("Argument `first_hop` must give every route at least one link, but does not.")

    @property
    def n_routes(self) -> int:
        """Number of routes."""
        return len(self.source)

    @property
    def n_hops(self) -> Int64s:
        """Number of links of each route, shape `(n_routes,)`."""
        return np.diff(self.first_hop)

    def nodes(self, links: "LinkTable") -> Int64s:
        """Return the nodes of all routes one after the other; route r has one more node than links.

        Raises:
            DomainError: A route is no simple path of these links from its source to its target.
        """
        node_a, node_b = links.node_a.astype(np.int64), links.node_b.astype(np.int64)
        nodes: list[int] = []
        for route in range(self.n_routes):
            path = [int(self.source[route])]
            for link in self.link[self.first_hop[route] : self.first_hop[route + 1]]:
                if not 0 <= link < len(node_a) or path[-1] not in {int(node_a[link]), int(node_b[link])}:
                    raise DomainError(
                        f"Argument `link` must hold links in a row, but link {int(link)} of route {route} does not "
                        f"begin at node {path[-1]}."
                    )
                path.append(int(node_a[link] + node_b[link]) - path[-1])
            if path[-1] != self.target[route] or len(set(path)) < len(path):
                raise DomainError(
                    f"Argument `link` must give simple paths to each `target`, but route {route} visits {path}."
                )
            nodes.extend(path)
        return np.array(nodes, dtype=np.int64)

    @staticmethod
    def from_paths(paths: Iterable[Iterable[int]], links: "LinkTable") -> "RouteTable":
        """Return the routes along paths of node indices.

        Raises:
            DomainError: Two nodes in a row have no link.
        """
        index = {
            frozenset(ends): link
            for link, ends in enumerate(zip(links.node_a.tolist(), links.node_b.tolist(), strict=True))
        }
        hops: list[int] = []
        first, source, target = [0], [], []
        for path in paths:
            nodes = [int(node) for node in path]
            for a, b in pairwise(nodes):
                if frozenset((a, b)) not in index:
                    raise DomainError(f"Argument `paths` must follow links, but nodes {a} and {b} have none.")
                hops.append(index[frozenset((a, b))])
            first.append(len(hops))
            source.append(nodes[0])
            target.append(nodes[-1])
        first_hop, link, sources, targets = (np.array(x, dtype=np.int64) for x in (first, hops, source, target))
        return RouteTable(first_hop=first_hop, link=link, source=sources, target=targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDemand:
    """Flows of requests for end-to-end pairs; every array has one entry a flow, shape `(n_flows,)`.

    Args:
        route: Route of the flow.
        use_class: What the pairs are for, `RouteClass`.
        arrivals: How requests arrive, `Arrivals`.
        requests_per_round: Mean number of requests in a round; not used by saturated flows.
        backlog: Requests that a saturated flow keeps asking for pairs, at least 1.
        deadline_ns: A request not served this long after its arrival is dropped (ns).
        minimum_fidelity: Fidelity that a pair must have when it is delivered, in [0, 1).
        weight: Weight of a delivered pair; times the secret bits of the pair for keys.
    """

    route: Int64s
    use_class: Int64s
    arrivals: Int64s
    requests_per_round: Float64s
    backlog: Int64s
    deadline_ns: Int64s
    minimum_fidelity: Float64s
    weight: Float64s

    def __post_init__(self) -> None:
        _require_columns(self, len(self.route))
        for name, kind in (("use_class", RouteClass), ("arrivals", Arrivals)):
            if not set(getattr(self, name).tolist()) <= {int(member) for member in kind}:
                raise DomainError(f"Argument `{name}` must hold members of {kind.__name__}, but does not.")
        _require_all("requests_per_round", self.requests_per_round, self.requests_per_round >= 0.0, "at least 0")
        _require_all("backlog", self.backlog, self.backlog >= 1, "at least 1")
        longest = int(_LONGEST_S * 1e9)
        is_sound = (self.deadline_ns > 0) & (self.deadline_ns <= longest)
        _require_all("deadline_ns", self.deadline_ns, is_sound, f"in (0, {longest}]")
        is_sound = (self.minimum_fidelity >= 0.0) & (self.minimum_fidelity < 1.0)
        _require_all("minimum_fidelity", self.minimum_fidelity, is_sound, "in [0, 1)")
        _require_all("weight", self.weight, np.isfinite(self.weight) & (self.weight >= 0.0), "finite and at least 0")

    @property
    def n_flows(self) -> int:
        """Number of flows."""
        return len(self.route)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeaterTable:
    """What nodes do besides storing pairs, and what pairs are before twirling.

    The three columns of correlators and their factors are those of X, Y and Z: the expectation values of XX, -YY and ZZ
    in a pair, 1 for a perfect Phi+. They multiply when pairs are swapped.

    Args:
        swap_success_probability: Chance that a Bell measurement succeeds, shape `(n_nodes,)`.
        bell_measurement_ns: Its duration (ns), shape `(n_nodes,)`.
        swap_contraction: Factor of every correlator by the measurement's errors, shape `(n_nodes, 3)`.
        memory_rate_hz: Decay rate of every correlator by the storage of one qubit (1/s), shape `(n_nodes, 3)`.
        communication_qubits: Links of the node that can attempt at once, shape `(n_nodes,)`; 0 for no limit.
        transfer_ns: Time to move a new qubit into memory (ns), shape `(n_nodes,)`.
        transfer_contraction: Factor of all correlators by this move, in (0, 1], shape `(n_nodes,)`.
        initial_correlators: Of a new pair, shape `(n_links, 3)`.
        cutoff_ns: Age after which a pair that a route request holds is given up (ns), shape `(n_links,)`.
        modes: Pairs of memory slots that a link's modes are bound to, shape `(n_links,)`: attempt j is made by mode
            j mod `modes`, lasts `modes` attempt periods and is made only if that mode holds no pair from its start to
            its end. 0: modes are not bound to slots, and a link attempts while both ends have any free slot.
    """

    swap_success_probability: Float64s
    bell_measurement_ns: Int64s
    swap_contraction: Float64s
    memory_rate_hz: Float64s
    communication_qubits: Int64s
    transfer_ns: Int64s
    transfer_contraction: Float64s
    initial_correlators: Float64s
    cutoff_ns: Int64s
    modes: Int64s

    def __post_init__(self) -> None:
        n_nodes, n_links = len(self.swap_success_probability), len(self.cutoff_ns)
        of_links = {"initial_correlators", "cutoff_ns", "modes"}
        triples = {"swap_contraction", "memory_rate_hz", "initial_correlators"}
        for field in fields(self):
            rows = n_links if field.name in of_links else n_nodes
            expected = (rows, 3) if field.name in triples else (rows,)
            found = getattr(self, field.name).shape
            if found != expected:
                raise DomainError(f"Argument `{field.name}` must have shape {expected}, but has {found}.")
        for name in ("swap_success_probability", "swap_contraction"):
            column = getattr(self, name)
            _require_all(name, column, (column >= 0.0) & (column <= 1.0), "in [0, 1]")
        longest = int(_LONGEST_S * 1e9)
        for name in ("bell_measurement_ns", "transfer_ns", "cutoff_ns"):
            column = getattr(self, name)
            _require_all(name, column, (column >= 0) & (column <= longest), f"in [0, {longest}]")
        rate, transfer, start = self.memory_rate_hz, self.transfer_contraction, self.initial_correlators
        _require_all("memory_rate_hz", rate, np.isfinite(rate) & (rate >= 0.0), "finite and at least 0")
        _require_all("transfer_contraction", transfer, (transfer > 0.0) & (transfer <= 1.0), "in (0, 1]")
        _require_all("communication_qubits", self.communication_qubits, self.communication_qubits >= 0, "at least 0")
        _require_all("initial_correlators", start, np.abs(start) <= 1.0, "in [-1, 1]")
        _require_all("modes", self.modes, (self.modes >= 0) & (self.modes <= _MOST_MODES), f"in [0, {_MOST_MODES}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSchedule:
    """Steps at which links change: from each time on, the named links have these factors on their first values.

    Attempts that began before a step keep their chance of success. A stored pair keeps its state and decays at the new
    rate. Elementary pairs that wait for a route's swap do as well; swapped pairs keep the rates of their memories.

    Args:
        time_ns: Time of each step (ns), not falling, shape `(n_steps,)`.
        link: Which link it changes, shape `(n_steps,)`.
        success_factor: Factor on the success probability, at least 0; the product is cut at 1.
        decay_factor: Factor on the decay rate, at least 0.
        fidelity_factor: Factor on the Werner parameter of new pairs, above 0; the product is cut at 1.
        is_announced: Whether policies see the new values. Otherwise they see the first ones, and must notice.
    """

    time_ns: Int64s
    link: Int64s
    success_factor: Float64s
    decay_factor: Float64s
    fidelity_factor: Float64s
    is_announced: bool = True

    def __post_init__(self) -> None:
        _require_columns(self, len(self.time_ns), besides=("is_announced",))
        if bool((np.diff(self.time_ns) < 0).any()) or bool((self.time_ns < 0).any()):
            raise DomainError("Argument `time_ns` must be at least 0 and not fall, but does.")
        for name in ("success_factor", "decay_factor", "fidelity_factor"):
            column = getattr(self, name)
            _require_all(name, column, np.isfinite(column) & (column >= 0.0), "finite and at least 0")
        # Stored pairs keep their state as a shift of the logarithm of a new one's.
        _require_all("fidelity_factor", self.fidelity_factor, self.fidelity_factor > 0.0, "above 0")


def swap_contraction(
    *, two_qubit_error: npt.ArrayLike, readout_error: npt.ArrayLike, one_qubit_error: npt.ArrayLike = 0.0
) -> Float64s:
    """Return the factors of the correlators by an imperfect Bell measurement, shape `(..., 3)`.

    CNOT, Hadamard on the control, both qubits read. A Pauli error of probability e (X, Y and Z with e/3 each) strikes
    each of the CNOT's qubits on its own, as in the learners' circuits, and the Hadamard's: it depolarises with 4e/3.
    See `ceas.physics.swapping`. On Werner pairs, readout of fidelity m alone gives the fidelity of
    w' = (4 m^2 - 1)/3 w1 w2.

    Args:
        two_qubit_error: Pauli error probability on each qubit of a two-qubit gate.
        readout_error: Probability that a measured bit is flipped.
        one_qubit_error: Pauli error probability of a one-qubit gate.

    Source:
        Briegel, Duer, Cirac, Zoller, PRL 81, 5932 (1998), eq. (2), for the readout; tests derive both numerically.
    """
    operations = LocalOperations(
        one_qubit_depolarising=4.0 * np.asarray(one_qubit_error, dtype=np.float64) / 3.0,
        two_qubit_depolarising=4.0 * np.asarray(two_qubit_error, dtype=np.float64) / 3.0,
        readout_error=np.asarray(readout_error, dtype=np.float64),
    )
    return bell_measurement_correlators(operations, two_qubit_noise="independent")


def ideal_repeaters(nodes: "NodeTable", links: "LinkTable", **columns: npt.ArrayLike) -> RepeaterTable:
    """Return repeaters with perfect, instant Bell measurements, no limits, and the links' own pairs and memories.

    Args:
        nodes: Nodes; memories decay at their `correlator_rates_hz`.
        links: Links; new pairs have their `correlators`.
        **columns: Columns of `RepeaterTable` in the place of these, broadcast to their shape.
    """
    n_nodes, n_links = nodes.n_nodes, links.n_links
    never = int(_LONGEST_S * 1e9)
    defaults: dict[str, Any] = {
        "swap_success_probability": np.ones(n_nodes),
        "bell_measurement_ns": np.zeros(n_nodes, dtype=np.int64),
        "swap_contraction": np.ones((n_nodes, 3)),
        "memory_rate_hz": nodes.correlator_rates_hz,
        "communication_qubits": np.zeros(n_nodes, dtype=np.int64),
        "transfer_ns": np.zeros(n_nodes, dtype=np.int64),
        "transfer_contraction": np.ones(n_nodes),
        "initial_correlators": links.correlators,
        "cutoff_ns": np.full(n_links, never, dtype=np.int64),
        "modes": np.zeros(n_links, dtype=np.int64),
    }
    for name, column in columns.items():
        if name not in defaults:
            raise DomainError(f"Argument `columns` must name columns of RepeaterTable, but has `{name}`.")
        default = defaults[name]
        defaults[name] = np.broadcast_to(np.asarray(column, dtype=default.dtype), default.shape).copy()
    return RepeaterTable(**defaults)


def repeaters_of(nodes: "NodeTable", links: "LinkTable", **columns: npt.ArrayLike) -> RepeaterTable:
    """Return repeaters whose Bell measurements have the gate and readout errors of their nodes.

    The arguments are those of `ideal_repeaters`.
    """
    contraction = swap_contraction(
        two_qubit_error=nodes.two_qubit_error,
        readout_error=nodes.readout_error,
        one_qubit_error=nodes.one_qubit_error,
    )
    return ideal_repeaters(nodes, links, **({"swap_contraction": contraction} | columns))


def fastest_routes(
    links: "LinkTable", pairs: Iterable[tuple[int, int]], *, n_routes: int = 1, cost: RouteCost = "pair_time"
) -> RouteTable:
    """Return the cheapest simple paths between pairs of nodes, each pair's cheapest first.

    Args:
        links: Links.
        pairs: Source and target of each connection.
        n_routes: Routes for each pair, as far as there are so many.
        cost: What a path's cost adds up: links, latency, or the mean time to make a pair on each link.

    Raises:
        DomainError: Two nodes are not connected, or are the same.
    """
    import networkx as nx  # noqa: PLC0415 - slow to import

    graph = nx.Graph()
    with np.errstate(divide="ignore"):
        weights = {
            "hops": np.ones(links.n_links),
            "latency": links.latency_s,
            "pair_time": links.attempt_period_ns * 1e-9 / links.success_probability,
        }[cost]
    for a, b, weight in zip(links.node_a.tolist(), links.node_b.tolist(), weights.tolist(), strict=True):
        if np.isfinite(weight):
            graph.add_edge(a, b, weight=weight)
    paths: list[list[int]] = []
    for source, target in pairs:
        if source == target or not (source in graph and target in graph and nx.has_path(graph, source, target)):
            raise DomainError(f"Argument `pairs` must join different, connected nodes, but has {(source, target)}.")
        if n_routes == 1:
            paths.append(nx.dijkstra_path(graph, source, target))
        else:
            paths.extend(islice(nx.shortest_simple_paths(graph, source, target, weight="weight"), n_routes))
    return RouteTable.from_paths(paths, links)


def _require_columns(table: RouteDemand | DriftSchedule, rows: int, besides: tuple[str, ...] = ()) -> None:
    for field in fields(table):
        if field.name not in besides and getattr(table, field.name).shape != (rows,):
            found = getattr(table, field.name).shape
            raise DomainError(f"Argument `{field.name}` must have shape ({rows},), but has {found}.")


def _require_all(name: str, column: npt.NDArray[Any], is_sound: npt.NDArray[np.bool_], requirement: str) -> None:
    if not bool(is_sound.all()):
        worst = column[~is_sound].reshape(-1)[0]
        raise DomainError(f"Argument `{name}` must be {requirement}, but is {worst}.")
