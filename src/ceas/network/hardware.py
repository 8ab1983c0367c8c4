"""What each node and link can do, drawn around a scenario's medians.

A node has its own memories, gates, optics and readout. A link has the heralding that follows from its fibre and from
the optics of its two nodes. Everything is derived once, before the clock starts.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.limits import LARGEST_GATE_ERROR, LARGEST_READOUT_ERROR
from ceas.network.topology import Topology
from ceas.physics.domain import require_between, require_correlators, require_non_negative, require_positive
from ceas.physics.heralding import HeraldedLink, herald_double_click
from ceas.physics.memory import decay_werner
from ceas.physics.relaxation import RelaxingMemory
from ceas.physics.single_click import herald_single_click, optimal_bright_state
from ceas.physics.states import bell_diagonal_to_correlators, bell_diagonal_to_werner
from ceas.streams import stream

__all__ = ["HardwareParameters", "LinkTable", "NodeTable", "draw_hardware", "pair_rate_hz"]

# Columns with an entry for each of c_x, c_y and c_z.
_OF_CORRELATORS = {"memory_rate_hz", "initial_correlators", "correlator_decay_hz"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareParameters:
    """Medians of the hardware and how far single nodes stray from them.

    A spread is the standard deviation of the natural logarithm of a log-normal factor with median 1; 0 makes all
    nodes equal.

    Attributes:
        pair_states: What a pair is: `werner`, twirled when it is heralded, or `bell_diagonal`, as it is heralded.
        coherence_time_s: Depolarising time of a memory slot (s); `inf` for perfect memories. With `dephasing_time_s` it
            is 3 / (1/T1 + 2/T2), whatever is given here.
        relaxation_time_s: T1 of a memory slot (s); None for no relaxation.
        dephasing_time_s: T2 of a memory slot (s), at most 2 T1; None for memories that depolarise. Pairs that are
            `bell_diagonal` are stored in Pauli-twirled memories of this T1 and T2, `werner` pairs in depolarising ones
            of equal initial loss of fidelity.
        coherence_time_spread: Spread of the coherence time over nodes, and of T1 and T2 by the same factor.
        memory_slots: Memory slots of a node, at least 1.
        multiplexing: Modes of a link that attempt independently, at least 1.
        attenuation_db_per_km: Fibre attenuation (dB/km).
        device_efficiency: Chance that a photon is emitted, collected and detected over fibre of no length, in (0, 1].
        device_efficiency_spread: Spread of the efficiency over nodes; an efficiency never exceeds 1.
        dark_count_probability: Chance of a dark count in one detector and detection window, in [0, 0.5].
        visibility: Hong-Ou-Mandel visibility V of two photons, in [0, 1].
        visibility_spread: Spread of 1 - V over nodes.
        preparation_time_s: Time to prepare a qubit and emit a photon (s).
        protocol: How pairs are heralded: by `double_click` or by `single_click`.
        bright_state_probability: Of the single click, in [0, 1]; 0 lets every link choose what its use gains most from.
        one_qubit_error: Pauli error probability of a one-qubit gate: X, Y and Z with a third of it each, in
            [0, 0.74].
        two_qubit_error: The same on each of the two qubits of a two-qubit gate, in [0, 0.74].
        readout_error: Probability that a measured bit is flipped, in [0, 0.49].
        gate_error_spread: Spread of the three errors over nodes, drawn independently.
    """

    pair_states: Literal["werner", "bell_diagonal"] = "werner"
    coherence_time_s: float = 1.0
    relaxation_time_s: float | None = None
    dephasing_time_s: float | None = None
    coherence_time_spread: float = 0.3
    memory_slots: int = 8
    multiplexing: int = 64
    attenuation_db_per_km: float = 0.25
    device_efficiency: float = 0.3
    device_efficiency_spread: float = 0.1
    dark_count_probability: float = 1e-6
    visibility: float = 0.96
    visibility_spread: float = 0.3
    preparation_time_s: float = 50e-6
    protocol: Literal["double_click", "single_click"] = "double_click"
    bright_state_probability: float = 0.0
    one_qubit_error: float = 1e-3
    two_qubit_error: float = 5e-3
    readout_error: float = 5e-3
    gate_error_spread: float = 0.5

    def __post_init__(self) -> None:
        require_positive("coherence_time_s", self.coherence_time_s, finite=False)
        if self.pair_states not in ("werner", "bell_diagonal"):
            raise DomainError(f"Argument `pair_states` must be werner or bell_diagonal, but is {self.pair_states!r}.")
        if self.relaxation_time_s is not None and self.dephasing_time_s is None:
            raise DomainError("Argument `dephasing_time_s` must be given with `relaxation_time_s`, but is None.")
        self.memory()
        for name in ("memory_slots", "multiplexing"):
            if getattr(self, name) < 1:
                raise DomainError(f"Argument `{name}` must be at least 1, but is {getattr(self, name)}.")
        for field in fields(self):
            if field.name.endswith("_spread"):
                require_non_negative(field.name, getattr(self, field.name))
        require_non_negative("attenuation_db_per_km", self.attenuation_db_per_km)
        require_non_negative("preparation_time_s", self.preparation_time_s)
        require_between("device_efficiency", self.device_efficiency, 0.0, 1.0)
        require_positive("device_efficiency", self.device_efficiency)
        require_between("dark_count_probability", self.dark_count_probability, 0.0, 0.5)
        require_between("bright_state_probability", self.bright_state_probability, 0.0, 1.0)
        if self.protocol not in ("double_click", "single_click"):
            raise DomainError(f"Argument `protocol` must be double_click or single_click, but is {self.protocol!r}.")
        require_between("visibility", self.visibility, 0.0, 1.0)
        require_between("one_qubit_error", self.one_qubit_error, 0.0, LARGEST_GATE_ERROR)
        require_between("two_qubit_error", self.two_qubit_error, 0.0, LARGEST_GATE_ERROR)
        require_between("readout_error", self.readout_error, 0.0, LARGEST_READOUT_ERROR)

    def memory(self) -> RelaxingMemory | None:
        """Return the median memory slot where it has T1 and T2, None where it depolarises."""
        if self.dephasing_time_s is None:
            return None
        relaxation_time_s = np.inf if self.relaxation_time_s is None else self.relaxation_time_s
        return RelaxingMemory(relaxation_time_s=relaxation_time_s, dephasing_time_s=self.dephasing_time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTable:
    """Hardware of the nodes, one entry a node; error parameters as in `HardwareParameters`.

    `memory_rate_hz` holds the decay rates of c_x, c_y and c_z by the storage of one half (1/s), `(n, 3)`; None for
    memories that depolarise with the coherence time.
    """

    coherence_time_s: NDArray[np.float64]
    memory_slots: NDArray[np.int32]
    one_qubit_error: NDArray[np.float64]
    two_qubit_error: NDArray[np.float64]
    readout_error: NDArray[np.float64]
    memory_rate_hz: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _require_equal_lengths(self)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.coherence_time_s)

    @property
    def correlator_rates_hz(self) -> NDArray[np.float64]:
        """Decay rates of the correlators by the storage of one half (1/s), `(n, 3)`."""
        if self.memory_rate_hz is not None:
            return self.memory_rate_hz
        return np.repeat(1.0 / self.coherence_time_s[:, np.newaxis], 3, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTable:
    """Hardware of the links, one entry a link.

    Attributes:
        node_a: First end, the smaller node index.
        node_b: Second end.
        length_km: Fibre length (km).
        attempt_period_ns: Time between two attempts of the link (ns).
        success_probability: Chance that one attempt is heralded.
        initial_werner: Werner parameter of a pair at the moment both ends know of its herald; of equal fidelity where
            pairs are Bell-diagonal.
        decay_rate_hz: Decay rate 1/T_a + 1/T_b of a stored pair's Werner parameter (1/s); the mean of the three
            correlators' rates where pairs are Bell-diagonal.
        latency_s: One-way classical latency (s).
        initial_correlators: Correlators (x, y, z) of a pair at that moment, `(n, 3)`; None for Werner pairs.
        correlator_decay_hz: Their decay rates in storage (1/s), `(n, 3)`; None for Werner pairs.
    """

    node_a: NDArray[np.int32]
    node_b: NDArray[np.int32]
    length_km: NDArray[np.float64]
    attempt_period_ns: NDArray[np.int64]
    success_probability: NDArray[np.float64]
    initial_werner: NDArray[np.float64]
    decay_rate_hz: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    initial_correlators: NDArray[np.float64] | None = None
    correlator_decay_hz: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        _require_equal_lengths(self)
        if (self.initial_correlators is None) != (self.correlator_decay_hz is None):
            raise DomainError("Argument `correlator_decay_hz` must come with `initial_correlators`, but does not.")
        if self.initial_correlators is not None:
            require_correlators("initial_correlators", self.initial_correlators)
            require_non_negative("correlator_decay_hz", self.correlator_rates_hz)
            if not np.allclose(self.initial_correlators.mean(axis=1), self.initial_werner, rtol=0.0, atol=1e-9):
                raise DomainError("Argument `initial_werner` must be the mean of `initial_correlators`, but is not.")

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.node_a)

    @property
    def is_bell_diagonal(self) -> bool:
        """Whether pairs have three correlators, and not one Werner parameter."""
        return self.initial_correlators is not None

    @property
    def correlators(self) -> NDArray[np.float64]:
        """Correlators (x, y, z) of a new pair, `(n, 3)`."""
        if self.initial_correlators is not None:
            return self.initial_correlators
        return np.repeat(self.initial_werner[:, np.newaxis], 3, axis=1)

    @property
    def correlator_rates_hz(self) -> NDArray[np.float64]:
        """Decay rates of the correlators in storage (1/s), `(n, 3)`."""
        if self.correlator_decay_hz is not None:
            return self.correlator_decay_hz
        return np.repeat(self.decay_rate_hz[:, np.newaxis], 3, axis=1)


def pair_rate_hz(links: LinkTable) -> NDArray[np.float64]:
    """Return each link's rate of heralded pairs while it attempts without pause (1/s)."""
    return links.success_probability * 1e9 / links.attempt_period_ns


PairValue = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def squared_werner(bell_diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return w^2 of weights `(..., 4)`, 0 for w below 0: what a pair is worth to a shot that takes one."""
    return np.maximum(bell_diagonal_to_werner(bell_diagonal), 0.0) ** 2


def mean_squared_correlator(
    bell_diagonal: NDArray[np.float64], correlator_weights: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
) -> NDArray[np.float64]:
    """Return the weighted mean of c_x^2, c_y^2 and c_z^2: `squared_werner` for a pair that is not twirled.

    Args:
        bell_diagonal: Weights `(..., 4)` of the Bell states.
        correlator_weights: Those of `DemandTable`.
    """
    return np.asarray(bell_diagonal_to_correlators(bell_diagonal) ** 2 @ np.array(correlator_weights))


def draw_hardware(
    topology: Topology, parameters: HardwareParameters, *, seed: int, pair_value: PairValue = squared_werner
) -> tuple[NodeTable, LinkTable]:
    """Draw every node's hardware and derive every link's heralding.

    Node i draws from its own stream, so another node more or less never changes it. A link's device efficiency and
    visibility are the geometric means over its two nodes. A pair's qubits wait from the first photon's emission until
    the herald is known at both ends and decay meanwhile; `initial_werner` includes it.

    Args:
        topology: Who has fibre to whom, and how long.
        parameters: Medians and spreads.
        seed: Root seed of the run.
        pair_value: Value `(...)` of a new pair by its weights `(..., 4)`, for links that choose their bright state.

    Returns:
        The nodes and the links, in the topology's order.

    Raises:
        DomainError: A link would attempt more often than once a nanosecond, the resolution of the network's clock.
    """
    normals = np.array([stream(seed, "hardware", node=node).standard_normal(6) for node in range(topology.n_nodes)])
    nodes, efficiency, visibility = _draw_nodes(parameters, normals)
    return nodes, _derive_links(topology, parameters, nodes, efficiency, visibility, pair_value)


def _draw_nodes(
    parameters: HardwareParameters, normals: NDArray[np.float64]
) -> tuple[NodeTable, NDArray[np.float64], NDArray[np.float64]]:
    """Return the nodes, their device efficiencies and visibilities from `(n, 6)` standard normal numbers.

    The columns are fixed for ever: coherence time, efficiency, visibility, one-qubit, two-qubit and readout error.
    """

    def draw(median: float, spread: float, column: int, largest: float = np.inf) -> NDArray[np.float64]:
        return np.minimum(median * np.exp(spread * normals[:, column]), largest)

    memory, coherence_time_s, memory_rate_hz = parameters.memory(), parameters.coherence_time_s, None
    if memory is not None:
        coherence_time_s = float(memory.depolarising_time_s)
        if parameters.pair_states == "bell_diagonal":
            # One factor for both times of a node, so that T2 stays at most 2 T1.
            memory_rate_hz = memory.correlator_rates_hz / draw(1.0, parameters.coherence_time_spread, 0)[:, np.newaxis]
    nodes = NodeTable(
        coherence_time_s=draw(coherence_time_s, parameters.coherence_time_spread, 0),
        memory_slots=np.full(len(normals), parameters.memory_slots, dtype=np.int32),
        one_qubit_error=draw(parameters.one_qubit_error, parameters.gate_error_spread, 3, LARGEST_GATE_ERROR),
        two_qubit_error=draw(parameters.two_qubit_error, parameters.gate_error_spread, 4, LARGEST_GATE_ERROR),
        readout_error=draw(parameters.readout_error, parameters.gate_error_spread, 5, LARGEST_READOUT_ERROR),
        memory_rate_hz=memory_rate_hz,
    )
    efficiency = draw(parameters.device_efficiency, parameters.device_efficiency_spread, 1, 1.0)
    visibility = 1.0 - draw(1.0 - parameters.visibility, parameters.visibility_spread, 2, 1.0)
    return nodes, efficiency, visibility


def _herald(
    topology: Topology,
    parameters: HardwareParameters,
    efficiency: NDArray[np.float64],
    visibility: NDArray[np.float64],
    pair_value: PairValue,
) -> HeraldedLink:
    """Return every link's heralding by the parameters' protocol."""
    node_a, node_b = topology.edges[:, 0], topology.edges[:, 1]
    fibre: dict[str, Any] = {
        "attenuation_db_per_km": topology.attenuation_db_per_km(parameters.attenuation_db_per_km),
        "dark_count_probability": parameters.dark_count_probability,
        "visibility": np.sqrt(visibility[node_a] * visibility[node_b]),
        "preparation_time_s": parameters.preparation_time_s,
    }
    if parameters.protocol == "double_click":
        both = np.sqrt(efficiency[node_a] * efficiency[node_b])
        return herald_double_click(
            topology.length_km, device_efficiency=both, multiplexing=parameters.multiplexing, **fibre
        )

    def herald(bright_state_probability: NDArray[np.float64]) -> HeraldedLink:
        return herald_single_click(
            topology.length_km,
            bright_state_probability=bright_state_probability,
            device_efficiency=efficiency[node_a],
            device_efficiency_b=efficiency[node_b],
            multiplexing=parameters.multiplexing,
            **fibre,
        )

    if parameters.bright_state_probability > 0.0:
        return herald(np.full(topology.n_links, parameters.bright_state_probability))
    return optimal_bright_state(pair_value, herald).link


def _derive_links(  # noqa: PLR0917 - private, called once
    topology: Topology,
    parameters: HardwareParameters,
    nodes: NodeTable,
    efficiency: NDArray[np.float64],
    visibility: NDArray[np.float64],
    pair_value: PairValue,
) -> LinkTable:
    """Return the links that follow from the fibre and from the two nodes' memories and optics."""
    node_a, node_b = topology.edges[:, 0], topology.edges[:, 1]
    heralded = _herald(topology, parameters, efficiency, visibility, pair_value)
    time_a, time_b = nodes.coherence_time_s[node_a], nodes.coherence_time_s[node_b]
    initial_werner = decay_werner(heralded.initial_werner, heralded.herald_delay_s, time_a, time_b)
    initial_correlators, correlator_decay_hz = None, None
    if parameters.pair_states == "bell_diagonal":
        correlator_decay_hz = nodes.correlator_rates_hz[node_a] + nodes.correlator_rates_hz[node_b]
        kept = np.exp(-heralded.herald_delay_s[:, np.newaxis] * correlator_decay_hz)
        initial_correlators = bell_diagonal_to_correlators(heralded.bell_diagonal) * kept
        initial_werner = initial_correlators.mean(axis=1)
    return LinkTable(
        node_a=node_a.copy(),
        node_b=node_b.copy(),
        length_km=topology.length_km.copy(),
        attempt_period_ns=_nanoseconds(heralded.attempt_period_s),
        success_probability=heralded.success_probability,
        initial_werner=initial_werner,
        decay_rate_hz=1.0 / time_a + 1.0 / time_b,
        latency_s=heralded.latency_s,
        initial_correlators=initial_correlators,
        correlator_decay_hz=correlator_decay_hz,
    )


def _nanoseconds(period_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return attempt periods rounded to whole nanoseconds, each at least 1."""
    if np.any(period_s < 1e-9):
        shortest = f"{period_s.min():g} s"
        raise DomainError(f"Argument `multiplexing` must leave at least 1 ns an attempt, but leaves {shortest}.")
    return np.rint(period_s * 1e9).astype(np.int64)


def _require_equal_lengths(table: NodeTable | LinkTable) -> None:
    """Raise DomainError unless every column of a table has the same shape `(n,)`; columns of correlators `(n, 3)`."""
    columns = {field.name: np.shape(getattr(table, field.name)) for field in fields(table)}
    first, expected = next(iter(columns.items()))
    for name in _OF_CORRELATORS & columns.keys():
        shape = columns.pop(name)
        if getattr(table, name) is not None and shape != (*expected, 3):
            raise DomainError(f"Argument `{name}` must have shape {(*expected, 3)}, but has {shape}.")
    for name, shape in columns.items():
        if len(shape) != 1 or shape != expected:
            raise DomainError(
                f"Argument `{name}` must have one entry for each of `{first}` {expected}, but has shape {shape}."
            )
