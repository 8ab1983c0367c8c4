"""The sections of a scenario: every key with its unit, default, allowed values and meaning.

The descriptions are the documentation: `ceas scenarios --keys` prints them. Medians and spreads of hardware are those
of log-normal laws, one draw per node or link.
"""

import math
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from ceas.experiments import registry
from ceas.experiments.hardware_presets import depolarising_time_s, preset_defaults, preset_memory
from ceas.limits import LARGEST_GATE_ERROR, LARGEST_READOUT_ERROR

__all__ = [
    "KEY_MISTAKE",
    "TOPOLOGY_KEYS",
    "AggregationSection",
    "AuthenticationSection",
    "ByzantineSection",
    "CertificationSection",
    "CircuitSection",
    "ClockSection",
    "ConsensusSection",
    "DataSection",
    "DriftSection",
    "HardwareSection",
    "LearningSection",
    "OutputSection",
    "ScheduleSection",
    "Section",
    "TopologySection",
    "TrafficSection",
]


# Type of a mistake that names its key itself.
KEY_MISTAKE = "key_mistake"


class Section(BaseModel):
    """Base of all sections: frozen, strict (only an integer may stand for a number), no unknown key, no infinities."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def _finite(value: Any) -> Any:
    """Refuse what neither TOML text nor the hash of a scenario can hold."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("not finite")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(item)
    return value


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _named(family: str) -> AfterValidator:
    return AfterValidator(lambda name: registry.check_name(family, name))


Parameters = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
Integers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_tuple)]

# Keys that each kind of topology takes, with their defaults; None means that there is none. `n_nodes` and `sha256` of
# a file are what the file holds.
TOPOLOGY_KEYS: MappingProxyType[str, dict[str, int | float | None]] = MappingProxyType(
    {
        "surfnet": {},
        "arnes": {},
        "chicago": {},
        "delft_eindhoven": {},
        "belnet": {},
        "cesnet": {},
        "dfn": {},
        "garr": {},
        "janet": {},
        "renater": {},
        "geant": {},
        "abilene": {},
        "nsfnet": {},
        "chain": {"n_nodes": 8, "spacing_km": 10.0},
        "ring": {"n_nodes": 8, "spacing_km": 10.0},
        "grid": {"rows": 3, "columns": 3, "spacing_km": 10.0},
        "star": {"n_nodes": 8, "spacing_km": 10.0},
        "random_geometric": {"n_nodes": 8, "side_km": 40.0, "radius_km": 20.0},
        "waxman": {"n_nodes": 8, "side_km": 40.0, "waxman_reach": 0.4, "waxman_density": 0.8},
        "random_regular": {"n_nodes": 8, "degree": 4, "spacing_km": 10.0},
        "random_recursive": {"n_nodes": 8, "n_links": 10, "spacing_km": 10.0},
        "file": {"path": None, "n_nodes": None, "sha256": None},
    }
)
_BUILT_IN_NODES = {
    "surfnet": 50,
    "arnes": 34,
    "chicago": 9,
    "delft_eindhoven": 6,
    "belnet": 16,
    "cesnet": 45,
    "dfn": 47,
    "garr": 36,
    "janet": 23,
    "renater": 37,
    "geant": 37,
    "abilene": 11,
    "nsfnet": 13,
}


class TopologySection(Section):
    """Who is joined to whom by fibre. Every node is a learner."""

    kind: Literal[
        "surfnet",
        "arnes",
        "chicago",
        "delft_eindhoven",
        "belnet",
        "cesnet",
        "dfn",
        "garr",
        "janet",
        "renater",
        "geant",
        "abilene",
        "nsfnet",
        "chain",
        "ring",
        "grid",
        "star",
        "random_geometric",
        "waxman",
        "random_regular",
        "random_recursive",
        "file",
    ] = Field(default="surfnet", description="Kind of network; it decides which other keys of this section are allowed")
    fibre_length_factor: float = Field(
        default=1.0,
        ge=1,
        description="Fibre length over the straight distance; customarily 1.5 for great-circle distances",
    )
    n_nodes: int | None = Field(
        default=None, ge=2, description="Nodes of a chain, ring, star (with its hub) or random network"
    )
    rows: int | None = Field(default=None, ge=1, description="Rows of a grid")
    columns: int | None = Field(default=None, ge=1, description="Columns of a grid")
    spacing_km: float | None = Field(
        default=None,
        gt=0,
        description="Length of every link of a chain, ring, grid, star, random regular or random recursive network",
    )
    side_km: float | None = Field(
        default=None, gt=0, description="Side of the square that holds a random geometric or Waxman network"
    )
    radius_km: float | None = Field(
        default=None, gt=0, description="Nodes of a random network closer than this are linked"
    )
    waxman_reach: float | None = Field(
        default=None, gt=0, description="How long the links of a Waxman network may be, relative to its diagonal"
    )
    waxman_density: float | None = Field(
        default=None, gt=0, le=1, description="Probability of a link of a Waxman network at no distance"
    )
    degree: int | None = Field(default=None, ge=2, description="Links of every node of a random regular network")
    n_links: int | None = Field(
        default=None, ge=1, description="Links of a random recursive network; those beyond a tree join random pairs"
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="GraphML, JSON (edge attribute length_km, optional loss_db) or SeQUeNCe configuration; relative "
        "to the scenario",
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Digest of the file, so that a run repeats"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults_of_kind(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        kind = raw.get("kind", "surfnet")
        known = TOPOLOGY_KEYS.get(kind, {}) if isinstance(kind, str) else {}
        return {**{key: value for key, value in known.items() if value is not None}, **raw}

    @property
    def node_count(self) -> int:
        """Number of nodes of the network."""
        if self.kind in _BUILT_IN_NODES:
            return _BUILT_IN_NODES[self.kind]
        if self.kind == "grid":
            return (self.rows or 0) * (self.columns or 0)
        return self.n_nodes or 0

    def builder_parameters(self) -> dict[str, int | float | str]:
        """Return the arguments of the function in `ceas.network` that builds this kind of network."""
        chosen = {key: getattr(self, key) for key in TOPOLOGY_KEYS[self.kind]}
        if self.kind == "star":
            chosen["n_leaves"] = chosen.pop("n_nodes") - 1
        if self.kind == "file":
            chosen = {"path": self.path}
        return chosen


class HardwareSection(Section):
    """Nodes, memories and links; one draw per node and link from log-normal laws around these medians."""

    preset: (
        Literal["idealised", "neutral_atom", "nv_centre", "quantum_dot", "superconducting_transduced", "trapped_ion"]
        | None
    ) = Field(
        default=None, description="Platform whose published numbers are the defaults here; ceas presets lists them"
    )
    pair_states: Literal["werner", "bell_diagonal"] = Field(
        default="werner", description="werner: pairs are twirled when they are heralded. bell_diagonal: they are not"
    )
    coherence_time_s: float = Field(
        default=1.0,
        gt=0,
        description="Median depolarising time of a memory slot; 3 / (1/T1 + 2/T2) where dephasing_time_s is given",
    )
    relaxation_time_s: float | None = Field(
        default=None,
        gt=0,
        description="Median T1 of a memory slot; none: no relaxation. Needs dephasing_time_s",
        json_schema_extra={"default": "none"},
    )
    dephasing_time_s: float | None = Field(
        default=None,
        gt=0,
        description="Median T2 of a memory slot, at most 2 relaxation_time_s; none: memories depolarise",
        json_schema_extra={"default": "none"},
    )
    coherence_time_spread: float = Field(
        default=0.3, ge=0, description="Log-normal spread of the coherence time over nodes, and alike of T1 and T2"
    )
    memory_slots: int = Field(default=8, ge=1, description="Pairs that one node can store")
    multiplexing: int = Field(default=64, ge=1, description="Modes of a link that attempt independently")
    attenuation_db_per_km: float = Field(default=0.25, ge=0, description="Loss of the fibre")
    device_efficiency: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="Median chance that a photon is emitted, collected and detected over no fibre",
    )
    device_efficiency_spread: float = Field(
        default=0.1, ge=0, description="Log-normal spread of that efficiency over nodes"
    )
    dark_count_probability: float = Field(default=1e-6, ge=0, le=0.5, description="Dark counts per detector and window")
    visibility: float = Field(default=0.96, gt=0, le=1, description="Median Hong-Ou-Mandel visibility of two photons")
    visibility_spread: float = Field(
        default=0.3, ge=0, description="Log-normal spread of one minus the visibility over nodes"
    )
    preparation_time_s: float = Field(default=5e-5, gt=0, description="Time to prepare a qubit and emit a photon")
    protocol: Literal["double_click", "single_click"] = Field(
        default="double_click", description="How pairs are heralded"
    )
    bright_state_probability: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Bright-state probability of single_click; 0: each link takes what its use gains most from",
    )
    one_qubit_error: float = Field(
        default=1e-3, ge=0, le=LARGEST_GATE_ERROR, description="Median Pauli error probability of a one-qubit gate"
    )
    two_qubit_error: float = Field(
        default=5e-3,
        ge=0,
        le=LARGEST_GATE_ERROR,
        description="Median Pauli error probability of each qubit of a two-qubit gate",
    )
    readout_error: float = Field(
        default=5e-3, ge=0, le=LARGEST_READOUT_ERROR, description="Median probability that a measured bit is flipped"
    )
    gate_error_spread: float = Field(default=0.5, ge=0, description="Log-normal spread of the three errors over nodes")
    minimum_fidelity: float = Field(
        default=0.55, ge=0.25, lt=1, description="A stored pair below this fidelity is expired"
    )
    communication_qubits: int = Field(
        default=0, ge=0, description="Links of a node that can attempt at once; 0: all of them"
    )
    swap_success_probability: float = Field(
        default=1.0, gt=0, le=1, description="Chance that the Bell measurement of a swap succeeds"
    )
    bell_measurement_s: float = Field(default=0.0, ge=0, le=1, description="Time that it takes")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults_of_preset(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        return _with_equivalent_coherence(cls._with_preset(raw))

    @classmethod
    def _with_preset(cls, raw: dict[str, Any]) -> dict[str, Any]:
        name = raw.get("preset")
        known, lacking = preset_defaults(name) if isinstance(name, str) else ({}, ())
        coherence_time_s = raw.get("coherence_time_s", known.get("coherence_time_s"))
        has_times = raw.get("relaxation_time_s") is not None or raw.get("dephasing_time_s") is not None
        # A coherence time of one's own is a depolarising memory in the place of the preset's.
        if isinstance(name, str) and coherence_time_s == known.get("coherence_time_s"):
            known |= preset_memory(name) if has_times or raw.get("pair_states") == "bell_diagonal" else {}
        if has_times or "dephasing_time_s" in known:
            known.pop("coherence_time_s", None)
            lacking = tuple(key for key in lacking if key != "coherence_time_s")
        lacking = tuple(key for key in lacking if key not in raw)
        if lacking:
            message = f"no source states {', '.join(lacking)} of {name}; give a value for each"
            raise PydanticCustomError(KEY_MISTAKE, "{key}: {message}", {"key": "preset", "message": message})
        return {**known, **raw} if known else raw


def _with_equivalent_coherence(raw: dict[str, Any]) -> dict[str, Any]:
    """Fill the coherence time that follows from T1 and T2 into a copy, or refuse times that do not fit each other."""
    t1_s, t2_s = raw.get("relaxation_time_s"), raw.get("dephasing_time_s")
    if not all(time_s is None or (_is_number(time_s) and time_s > 0) for time_s in (t1_s, t2_s)):
        return raw
    if t2_s is None:
        if t1_s is not None:
            _refuse("dephasing_time_s", "missing, must be a number > 0 and <= 2 relaxation_time_s (seconds)")
        return raw
    if t1_s is not None and t2_s > 2.0 * t1_s:
        _refuse("dephasing_time_s", f"found {t2_s!r}, must be at most 2 relaxation_time_s = {2.0 * t1_s!r}")
    equivalent_s = depolarising_time_s(math.inf if t1_s is None else t1_s, t2_s)
    given = raw.get("coherence_time_s", equivalent_s)
    if _is_number(given) and not math.isclose(given, equivalent_s, rel_tol=1e-9):
        follows = f"it follows from relaxation_time_s and dephasing_time_s as {equivalent_s!r}; leave it out"
        _refuse("coherence_time_s", f"found {given!r}, but {follows}")
    return {**raw, "coherence_time_s": given}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(key: str, message: str) -> None:
    raise PydanticCustomError(KEY_MISTAKE, "{key}: {message}", {"key": key, "message": message})


class ClockSection(Section):
    """A training round: a learning window, then an exchange phase. Pairs are generated all the time."""

    rounds: int = Field(default=20, ge=1, description="Training rounds")
    learning_window_s: float = Field(default=1.0, gt=0, description="Part of a round in which processors run shots")
    exchange_window_s: float = Field(default=0.2, gt=0, description="Part of a round in which updates are agreed")


class ScheduleSection(Section):
    """Which pair serves which demand, and what each service is worth."""

    policy: Annotated[str, _named("policy")] = Field(
        default="ceas", description="Scheduling policy", json_schema_extra={"family": "policy"}
    )
    parameters: Parameters = Field(default_factory=dict, description="Parameters of the policy")
    learning_value: float = Field(default=1.0, ge=0, description="Value of one shot with perfect pairs")
    key_value: float = Field(default=0.05, ge=0, description="Value of one secret key bit")
    test_value: float = Field(default=0.1, ge=0, description="Value of one tested pair")
    key_pairs_per_round: float = Field(default=20.0, ge=0, description="Pairs that each link asks for keys in a round")
    key_deadline_s: float = Field(default=2.4, gt=0, description="Time after which an unserved request for keys lapses")
    route_key_pairs_per_round: float = Field(
        default=0.0,
        ge=0,
        description="End-to-end pairs that two nodes without a common fibre ask for keys in a round; 0: no swapping",
    )
    route_hops: int = Field(default=2, ge=2, description="Most links of such a pair's route; others get no pairs")
    test_share: float = Field(default=0.1, ge=0, lt=1, description="Share of the pairs about to be used that is tested")
    shot_duration_s: float = Field(default=1e-3, gt=0, description="Time that one shot takes on a processor")


class TrafficSection(Section):
    """Background traffic: end-to-end pairs for others, which share links and memories with the training."""

    connections: int = Field(default=0, ge=0, description="Random pairs of nodes that ask for pairs; 0: none")
    most_hops: int = Field(default=3, ge=1, description="Most links between the two nodes of a connection")
    requests_per_round: float = Field(
        default=20.0, gt=0, description="Mean number of requests of a connection in a round, at random times"
    )
    deadline_s: float = Field(default=0.5, gt=0, le=86_400, description="Time after which an unserved request lapses")
    minimum_fidelity: float = Field(
        default=0.7, ge=0.25, lt=1, description="Fidelity that an end-to-end pair must have at delivery"
    )
    value: float = Field(default=0.05, ge=0, description="Value of one delivered end-to-end pair")


class DriftSection(Section):
    """Links that change while the training runs."""

    link_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of the links, drawn at random, that change; in whole links"
    )
    start_s: float = Field(default=0.0, ge=0, description="When they change")
    success_factor: float = Field(default=1.0, ge=0, description="Factor on their chance that an attempt succeeds")
    coherence_factor: float = Field(default=1.0, gt=0, description="Factor on the time in which their pairs decay")
    werner_factor: float = Field(
        default=1.0, gt=0, le=1, description="Factor on the Werner parameter of their new pairs"
    )
    is_announced: bool = Field(default=False, description="Whether scheduling policies are told")


class DataSection(Section):
    """Samples, their features and how they are split over the learners."""

    dataset: Annotated[str, _named("dataset")] = Field(
        default="digits", description="Data set", json_schema_extra={"family": "dataset"}
    )
    parameters: Parameters = Field(
        default_factory=dict, description="Parameters of the data set, for example the path of a file"
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Digest of the file that data set file names, so that a run repeats",
        json_schema_extra={"default": "of the file", "allowed": "64 hexadecimal digits"},
    )
    classes: Integers = Field(
        min_length=2,
        description="Labels to tell apart, by number",
        json_schema_extra={"default": "0 to 3 of digits and mnist, all of the other built-in sets; none of files"},
    )
    features: Literal["raw", "pca", "standardised_pca"] | None = Field(
        default=None,
        description="raw: columns as they are. pca: principal components. Without it, what is usual for the data set",
    )
    n_features: int = Field(
        ge=0,
        description="Features of a sample, which a dressed circuit may take more of than it has inputs",
        json_schema_extra={"default": "the circuit's inputs"},
    )
    encoding: Literal["angles", "amplitudes"] = Field(
        default="angles", description="angles: one for each feature. amplitudes: features become a state's amplitudes"
    )
    scaling: Literal["quantile", "min_max", "standard"] = Field(
        default="quantile",
        description="What of a feature's training values becomes the range of angles: 1 % and 99 % quantiles, or the "
        "least and the greatest; or angles of mean 0 and deviation 1",
    )
    lowest_angle: float = Field(default=-math.pi / 2, description="Least angle (rad)")
    highest_angle: float = Field(default=math.pi / 2, description="Greatest angle (rad)")
    test_fraction: float = Field(default=0.3, gt=0, lt=1, description="Share of the samples kept for testing")
    validation_fraction: float = Field(default=0.1, gt=0, lt=1, description="Share of the samples kept for validation")
    split: Literal["iid", "dirichlet", "gamma_similarity", "by_class"] = Field(
        default="iid", description="How training samples are dealt to learners"
    )
    concentration: float = Field(
        default=0.5,
        gt=0,
        description="Concentration of the Dirichlet split; smaller is more unequal. Unused by other splits",
    )
    similarity: float = Field(
        default=0.5, ge=0, le=1, description="Share dealt without regard to labels, by the split gamma_similarity"
    )
    classes_per_learner: int = Field(default=2, ge=1, description="Classes of a learner, in the split by_class")


class CircuitSection(Section):
    """The quantum neural network and how it is cut over processors."""

    ansatz: Annotated[str, _named("ansatz")] = Field(
        default="hardware_efficient", description="Circuit family", json_schema_extra={"family": "ansatz"}
    )
    parameters: Parameters = Field(default_factory=dict, description="Parameters of the family, beyond the next keys")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="Digest of the file that ansatz qasm names, so that a run repeats",
        json_schema_extra={"default": "of the file", "allowed": "64 hexadecimal digits"},
    )
    n_qubits: int = Field(default=4, ge=1, description="Qubits")
    n_layers: int = Field(default=3, ge=1, description="Layers of rotations and entangling gates")
    entangler: Literal["chain", "ring", "brickwork", "all_to_all"] = Field(
        default="chain", description="Which qubits a layer entangles, for families that leave it open"
    )
    partition: Literal["qubit", "layer", "auto", "data"] = Field(
        default="qubit",
        description="qubit: some of the qubits on a neighbour, joined by Bell pairs. layer: the later layers there. "
        "auto: qubits may move between the two. data: no cut",
    )
    is_sharing: bool = Field(default=True, description="Whether remote gates share a pair where the algebra allows it")
    readout: Literal["qubits", "sign", "linear"] = Field(
        default="qubits",
        description="qubits: a class's score is read from its own qubit. sign: two classes from the sign of qubit 0. "
        "linear: a trained layer on all qubits",
    )
    is_dressed: bool = Field(
        default=False, description="Whether a trained layer maps the data's features to the circuit's inputs"
    )


class ProcessorSection(Section):
    """What quantum processors do beyond the errors of hardware; alike at all nodes."""

    relaxation_time_s: float | None = Field(
        default=None, gt=0, description="T1 of qubits during gates; without it and T2 they do not relax"
    )
    dephasing_time_s: float | None = Field(
        default=None, gt=0, description="T2 of qubits during gates, at most 2 T1, which is also the default"
    )
    one_qubit_gate_s: float = Field(default=0.0, ge=0, le=1, description="Duration of a run of one-qubit gates")
    two_qubit_gate_s: float = Field(default=0.0, ge=0, le=1, description="Duration of a two-qubit gate")
    excited_population: float = Field(default=0.0, ge=0, le=0.5, description="Probability of |1> in equilibrium")
    readout_asymmetry: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="a: outcomes 0 and 1 are misread with 1 - a and 1 + a times hardware.readout_error",
    )
    device: str = Field(
        default="", description="PennyLane device, for example default.qubit, that runs the shots of device_nodes"
    )
    device_nodes: Integers = Field(default=(), description="Nodes whose processor is that device")
    device_options: Parameters = Field(default_factory=dict, description="Further arguments of that device")


class LearningSection(Section):
    """Local training."""

    minibatch: int = Field(default=4, ge=1, description="Samples that a learner uses in a round")
    readout_share: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the shots spent on the unshifted circuit"
    )
    temperature: float = Field(default=4.0, gt=0, description="Factor on expectation values before the softmax")
    gradient_method: Literal["parameter_shift", "spsa"] = Field(
        default="parameter_shift",
        description="parameter_shift: exact in the mean, one rotation at a time. spsa: random directions of all",
    )
    spsa_step: float = Field(default=0.3, gt=0, le=3.2, description="Move of every parameter (rad), for spsa")
    spsa_directions: int = Field(default=1, ge=1, description="Random directions of a learner in a round, for spsa")
    natural_damping: float | None = Field(
        default=None,
        gt=0,
        description="Damping of the natural gradient, which then takes the place of the plain one at the agreed step",
    )
    engine: Literal["auto", "heisenberg", "trajectories"] = Field(
        default="auto",
        description="What computes expectation values beside the shots. heisenberg: exact, memory grows like 4 to the "
        "qubits. trajectories: pure states, exact without noise. auto: the quicker one that fits",
    )
    n_trajectories: int = Field(
        default=100, ge=2, description="Pure states that stand for the noise of a learner, for trajectories"
    )
    optimizer: Literal["adam", "sgd"] = Field(default="adam", description="Optimiser of the agreed parameters")
    learning_rate: float = Field(default=0.06, gt=0, description="Step size of the optimiser in the first round")
    final_learning_rate_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Step size at the end over that at the start; it falls like half a cosine. 1 keeps it constant",
    )
    optimizer_momentum: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Momentum of the optimiser itself, on top of the learners' own: b1 of adam, momentum of sgd",
    )
    worker_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Momentum that each learner applies to its gradients"
    )
    initial_angle_spread: float = Field(default=0.3, ge=0, description="Standard deviation of the initial angles")
    max_shots_per_round: int = Field(
        default=1000,
        ge=1,
        description="Shots in a round of a learner whose circuit is not cut, where no pairs limit them",
    )


class AggregationSection(Section):
    """How the agreed updates become one."""

    rule: Annotated[str, _named("aggregation")] = Field(
        default="ceas", description="Aggregation rule", json_schema_extra={"family": "aggregation"}
    )
    parameters: Parameters = Field(default_factory=dict, description="Parameters of the rule")
    tolerated_byzantine: int = Field(
        ge=0,
        description="Malicious learners that the rule is told to withstand",
        json_schema_extra={"default": "byzantine.n_byzantine"},
    )
    is_debiased: bool = Field(
        default=False,
        description="Divide updates by their certified contraction before the rule, as the rule ceas does by itself",
    )
    certification: Literal["joint_tests", "none"] = Field(
        default="joint_tests",
        description="joint_tests: claims are cut to what tested pairs and delivered shots allow. none: taken as made",
    )
    root_samples: int | None = Field(
        default=None,
        ge=1,
        description="Training samples that all nodes trust, drawn at random; their exact gradient is what fltrust "
        "compares updates with. Unused by rules that trust nothing; none: there are no such samples",
        json_schema_extra={"default": "none"},
    )


class ByzantineSection(Section):
    """Who is malicious and what they do."""

    n_byzantine: int = Field(default=0, ge=0, description="True number of malicious nodes")
    attack: Annotated[str, _named("attack")] = Field(
        default="none", description="What they do", json_schema_extra={"family": "attack"}
    )
    parameters: Parameters = Field(default_factory=dict, description="Parameters of the attack")
    placement: Literal["random", "best"] = Field(
        default="random",
        description="Which nodes are malicious: drawn at random, or the best, whose updates are expected to carry most "
        "certified information",
    )
    nodes: Integers = Field(default=(), description="Malicious nodes by number, instead of a placement")


class AuthenticationSection(Section):
    """Message authentication with keys from Bell pairs."""

    profile: Literal["its128", "its64", "qkd_seeded", "ml_dsa"] = Field(
        default="qkd_seeded",
        description="its128, its64: fresh key bits for each message, tags of 128 or 64 bits. qkd_seeded: a key seeds "
        "many messages. ml_dsa: signatures, no key bits",
    )
    enrolled_key_bits: int = Field(
        default=8192, ge=0, description="Key bits that every pair of nodes shares before the first round"
    )
    reseed_rounds: int = Field(
        default=10, ge=1, description="Rounds between two fresh seeds of a link, for the profile qkd_seeded"
    )
    reserve_rounds: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="Rounds of votes and other control messages, 8 each way, whose key updates leave on a link, for "
        "its128 and its64",
    )
    frame_quota: int = Field(
        default=1024,
        ge=9,
        le=10**6,
        description="Messages that a node may send to another in a round. Undisturbed rounds need 9, a change of the "
        "leader 8 more, values asked for up to 2 a node",
    )
    remember_signatures: bool = Field(
        default=False,
        description="true: a signed broadcast is verified once in the simulation instead of once for each receiver, "
        "for ml_dsa",
    )
    key_rate: Literal["asymptotic", "finite"] = Field(
        default="asymptotic",
        description="asymptotic: every pair gives key at once, at the rate of endless keys. finite: pairs of a link "
        "are collected, and full blocks give key by the finite-key formula",
    )
    block_pairs: int = Field(default=100_000, ge=2, le=10**12, description="Pairs of a block, for the finite key rate")
    security_parameter: float = Field(
        default=1e-10,
        ge=1e-100,
        lt=1,
        description="Distance of a block's key from a perfect one, secrecy and correctness together, for finite keys",
    )


class ConsensusSection(Section):
    """Byzantine agreement on who contributed what."""

    protocol: Literal["tetrabft", "simplex"] = Field(
        default="tetrabft",
        description="tetrabft: authenticated links are enough. simplex: every update and vote is signed (ML-DSA-44)",
    )
    tolerated_byzantine: int = Field(
        ge=0,
        description="Malicious nodes that agreement withstands",
        json_schema_extra={"default": "(nodes - 1) // 3"},
    )
    processing_delay_s: float = Field(default=1e-3, ge=0, description="Time that a node takes to handle a message")
    fixed_point_bits: int = Field(default=24, ge=4, le=48, description="Bits after the point of an update on the wire")


class CertificationSection(Section):
    """What tested pairs prove about a link."""

    bound_error_probability: float = Field(
        default=0.001, gt=0, lt=1, description="Probability that the certified upper bound of one link is wrong"
    )


class OutputSection(Section):
    """What is written; nothing here enters the identity of a scenario."""

    checkpoint_rounds: int = Field(default=10, ge=1, description="Rounds between checkpoints")
    pair_trace: Literal["sampled", "full", "none"] = Field(
        default="sampled", description="Which pairs are written one by one"
    )
    trace_every: int = Field(default=50, ge=1, description="A sampled trace keeps every k-th pair")
    evaluate_rounds: int = Field(default=5, ge=1, description="Rounds between evaluations on the test set")
    gradient_rounds: int = Field(
        ge=0,
        description="Rounds between measurements of the honest learners' exact gradients, which the certificate of a "
        "run's convergence needs in every round; 0 for none",
        json_schema_extra={"default": "1 up to 6 qubits, else 0"},
    )
