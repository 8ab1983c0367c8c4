"""Checks that involve more than one key of a scenario, and the defaults that follow from other keys."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ceas.errors import CeasError, DomainError, ScenarioError
from ceas.experiments import registry
from ceas.experiments.files import FILE_CHOICES, digest_of, file_of, path_mistake
from ceas.experiments.scenario_text import describe_value
from ceas.experiments.sections import (
    TOPOLOGY_KEYS,
    AggregationSection,
    ByzantineSection,
    CircuitSection,
    ClockSection,
    ConsensusSection,
    DataSection,
    DriftSection,
    HardwareSection,
    ProcessorSection,
    ScheduleSection,
    TopologySection,
)

__all__ = ["attacks_named", "complete", "cross_mistakes", "derived_defaults"]

# Up to so many qubits the exact gradients of all learners take little beside a round's shots.
_MOST_MEASURED_QUBITS = 6

Mistakes = Iterator[tuple[str, str]]


def derived_defaults(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the defaults that follow from other keys, `(section, key)` to value; None where they cannot be told."""
    topology, byzantine = document.get("topology", {}), document.get("byzantine", {})
    n_byzantine = byzantine.get("n_byzantine", 0) if isinstance(byzantine, Mapping) else 0
    from_file = _file_facts(topology) if isinstance(topology, Mapping) else {}
    n_nodes = _node_count({**topology, **from_file}) if isinstance(topology, Mapping) else None
    return {
        **_data_defaults(document),
        **{("topology", key): value for key, value in from_file.items()},
        **_digests(document),
        ("aggregation", "tolerated_byzantine"): n_byzantine if _is_count(n_byzantine) else None,
        ("consensus", "tolerated_byzantine"): None if n_nodes is None else (n_nodes - 1) // 3,
        ("output", "gradient_rounds"): _gradient_rounds(document),
    }


def _gradient_rounds(document: Mapping[str, Any]) -> int:
    circuit = document.get("circuit", {})
    n_qubits = circuit.get("n_qubits", 4) if isinstance(circuit, Mapping) else 0
    return int(_is_count(n_qubits) and n_qubits <= _MOST_MEASURED_QUBITS)


def _data_defaults(document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the classes of the data set, and a feature a qubit; samples that are states have none.

    Classes of a user's own data are the user's to name. A data set that is not known is itself a mistake, of which the
    classes need not remind.
    """
    sections = (document.get("data", {}), document.get("circuit", {}))
    data, circuit = (section if isinstance(section, Mapping) else {} for section in sections)
    dataset, n_qubits = data.get("dataset", "digits"), circuit.get("n_qubits", 4)
    is_states = dataset in registry.QUANTUM_DATASETS or data.get("encoding") == "amplitudes"
    name = dataset if isinstance(dataset, str) else ""
    is_own = name == "file" or registry.is_user_object(name)
    n_features = 0 if is_states else n_qubits if _is_count(n_qubits) else None
    classes = {} if is_own else {("data", "classes"): list(registry.DEFAULT_CLASSES.get(name, (0, 1)))}
    return {**classes, ("data", "n_features"): n_features}


def _digests(document: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the digests of data and circuit files that are not recorded yet; what is unreadable is told later."""
    found = {}
    for name in FILE_CHOICES:
        path = file_of(document, name)
        if path is not None and "sha256" not in document[name]:
            with suppress(OSError):
                found[name, "sha256"] = digest_of(path)
    return found


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the defaults that follow from other keys into a copy of the document.

    Where one cannot be told, the key it follows from is itself a mistake; 0 then keeps that from being reported twice.
    """
    filled = {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}
    filled.setdefault("topology", {})
    for (section, key), value in derived_defaults(document).items():
        table = filled.setdefault(section, {})
        if isinstance(table, dict):
            table.setdefault(key, 0 if value is None else value)
    return filled


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _node_count(topology: Mapping[str, Any]) -> int | None:
    try:
        return TopologySection.model_validate(dict(topology)).node_count or None
    except ValueError:
        return None


def _read_topology_file(path: Path) -> dict[str, Any]:
    """Read the number of nodes and the digest of a topology file, and refuse one with a node that has no link."""
    digest = digest_of(str(path))
    from ceas.network import load_topology  # noqa: PLC0415  only a file needs the reader

    topology = load_topology(path)
    linked = {int(node) for edge in topology.edges for node in edge}
    isolated = sorted(set(range(topology.n_nodes)) - linked)
    if isolated:
        raise DomainError(f"node {isolated[0]} has no link, every node needs one")
    return {"n_nodes": topology.n_nodes, "sha256": digest}


def _file_facts(topology: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the file of a topology holds; nothing where it cannot be read, which is checked later."""
    path = topology.get("path")
    if topology.get("kind") != "file" or not isinstance(path, str):
        return {}
    try:
        return _read_topology_file(Path(path))
    except (OSError, CeasError):
        return {}


def cross_mistakes(sections: Mapping[str, Any]) -> dict[str, str]:
    """Check the sections against each other; a check whose sections are not all there is left out.

    Returns:
        Dotted path of a key to its message.
    """
    found: dict[str, str] = {}
    sound = dict(sections)
    for needed, check in _CHECKS:
        if all(name in sound for name in needed):
            for key, message in check(*(sound[name] for name in needed)):
                found.setdefault(key, message)
        if any(key.startswith("topology.") for key in found):
            # Without a sound network nothing can be said about numbers of nodes.
            sound.pop("topology", None)
    return found


def attacks_named(name: object, parameters: Mapping[str, Any]) -> list[object]:
    """Return the names of an attack and of those that it carries, one inside the other."""
    carried, own = parameters.get("attack"), parameters.get("attack_parameters")
    if carried is None:
        return [name]
    return [name, *attacks_named(carried, own if isinstance(own, Mapping) else {})]


def _attacks_on_messages(byzantine: ByzantineSection, consensus: ConsensusSection) -> Mistakes:
    named = attacks_named(byzantine.attack, byzantine.parameters)
    if consensus.protocol == "simplex" and any(str(name).endswith("equivocation") for name in named):
        yield "byzantine.attack", "equivocation is on messages of consensus.protocol = tetrabft, but that is simplex"


def _topology_keys(topology: TopologySection) -> Mistakes:
    known = TOPOLOGY_KEYS[topology.kind]
    takes = f"which takes {', '.join(known)}" if known else "which takes none"
    for key in ("n_nodes", "rows", "columns", "spacing_km", "side_km", "radius_km", "path", "sha256"):
        given = getattr(topology, key) is not None
        if given and key not in known:
            yield f"topology.{key}", f"not used by topology kind {topology.kind}, {takes}"
    if topology.kind == "file":
        yield from _topology_file(topology)


def _topology_file(topology: TopologySection) -> Mistakes:
    if topology.path is None:
        yield "topology.path", "missing, topology kind file needs a GraphML or JSON file"
        return
    if mistake := path_mistake(topology.path):
        yield "topology.path", mistake
        return
    if topology.n_nodes is not None and topology.sha256 is not None and not Path(topology.path).exists():
        # A recorded scenario stays readable where its file is gone; only building its network needs the file.
        return
    try:
        facts = _read_topology_file(Path(topology.path))
    except OSError as error:
        yield "topology.path", f"cannot read {topology.path}: {error.strerror}"
        return
    except CeasError as error:
        told = "; ".join(error.mistakes) if isinstance(error, ScenarioError) else str(error)
        yield "topology.path", f"cannot use {topology.path}: {told}"
        return
    if topology.sha256 not in (None, facts["sha256"]):
        yield "topology.sha256", f"{topology.path} is another file now; remove this key to accept it"
    elif topology.n_nodes not in (None, facts["n_nodes"]):
        yield "topology.n_nodes", f"found {topology.n_nodes}, but {topology.path} has {facts['n_nodes']} nodes"


def _smallest_network(topology: TopologySection) -> Mistakes:
    least = 3 if topology.kind == "ring" else 2
    if topology.kind != "file" and topology.node_count < least:
        key = "topology.rows" if topology.kind == "grid" else "topology.n_nodes"
        yield key, f"a {topology.kind} must have at least {least} nodes, but has {topology.node_count}"


def _random_network(topology: TopologySection) -> Mistakes:
    n, degree, links = topology.n_nodes or 0, topology.degree or 0, topology.n_links or 0
    if topology.kind == "random_regular" and n <= degree:
        yield "topology.degree", f"found {degree}, must be below topology.n_nodes = {n}"
    elif topology.kind == "random_regular" and n * degree % 2:
        yield "topology.degree", f"found {degree}, must be even for an odd topology.n_nodes = {n}"
    if topology.kind == "random_recursive" and not n - 1 <= links <= n * (n - 1) // 2:
        yield "topology.n_links", f"found {links}, must be from {n - 1} to {n * (n - 1) // 2} for {n} nodes"


def _shots_fit_window(clock: ClockSection, schedule: ScheduleSection) -> Mistakes:
    if schedule.shot_duration_s > clock.learning_window_s:
        limit = f"clock.learning_window_s = {clock.learning_window_s!r}"
        yield "schedule.shot_duration_s", f"found {schedule.shot_duration_s!r}, must be at most {limit}"


def _drift_happens(clock: ClockSection, drift: DriftSection) -> Mistakes:
    end_s = clock.rounds * (clock.learning_window_s + clock.exchange_window_s)
    if drift.link_share > 0 and drift.start_s >= end_s:
        yield "drift.start_s", f"found {drift.start_s!r}, must be below {end_s:g}, the end of the last round"
    if drift.link_share > 0 and drift.success_factor == drift.coherence_factor == drift.werner_factor == 1.0:
        yield "drift.link_share", f"found {drift.link_share!r}, but all factors of drift are 1, so nothing changes"


def _data_file(data: DataSection) -> Mistakes:
    return _file("data", data)


def _circuit_file(circuit: CircuitSection) -> Mistakes:
    return _file("circuit", circuit)


def _file(name: str, section: DataSection | CircuitSection) -> Mistakes:
    """Check the file of a section; one that was there before may be gone, and is missed when it is used."""
    key, value = FILE_CHOICES[name]
    chosen, path = getattr(section, key), section.parameters.get("path")
    if chosen != value:
        if section.sha256 is not None:
            yield f"{name}.sha256", f"not used by {key} {chosen}, only by {value}"
    elif "path" not in section.parameters:
        wanted = {"data": "a CSV or NPZ file", "circuit": "an OpenQASM file"}[name]
        yield f"{name}.parameters.path", f"missing, {key} {value} needs {wanted}"
    elif not isinstance(path, str):
        yield f"{name}.parameters.path", f"found {describe_value(path)}, must be a string"
    elif mistake := path_mistake(path):
        yield f"{name}.parameters.path", mistake
    elif section.sha256 is None:
        try:
            digest_of(path)
        except OSError as error:
            yield f"{name}.parameters.path", f"cannot read {path}: {error.strerror}"


def _data_shares(data: DataSection) -> Mistakes:
    total = data.test_fraction + data.validation_fraction
    if total >= 1:
        yield "data.validation_fraction", f"with data.test_fraction it must be below 1, but the sum is {total:g}"
    if data.lowest_angle >= data.highest_angle:
        yield "data.lowest_angle", f"found {data.lowest_angle:g}, must be below data.highest_angle"


def _data_classes(data: DataSection) -> Mistakes:
    known = {"digits": 10, "mnist": 10, "file": None}.get(
        data.dataset, len(registry.DEFAULT_CLASSES.get(data.dataset, ())) or None
    )
    if not data.classes:
        yield "data.classes", f"missing, {data.dataset} needs two labels or more, by number"
    elif len(set(data.classes)) < len(data.classes):
        yield "data.classes", f"found {list(data.classes)}, must not repeat a label"
    elif known is not None and max(data.classes) >= known:
        yield "data.classes", f"found {list(data.classes)}, {data.dataset} has the labels 0 to {known - 1}"
    elif data.split == "by_class" and data.classes_per_learner > len(data.classes):
        yield "data.classes_per_learner", f"found {data.classes_per_learner}, there are {len(data.classes)} classes"


def _data_states(data: DataSection, circuit: CircuitSection) -> Mistakes:
    is_states = data.dataset in registry.QUANTUM_DATASETS or data.encoding == "amplitudes"
    if is_states and data.n_features:
        yield "data.n_features", f"found {data.n_features}, samples that are states have no features; must be 0"
    if is_states and circuit.is_dressed:
        yield "circuit.is_dressed", "found true, but samples that are states have no features to map"
    pixels = {"digits": 64, "mnist": 784}.get(data.dataset)
    if pixels is not None and data.n_features > pixels:
        yield "data.n_features", f"found {data.n_features}, must be at most {pixels}, the pixels of {data.dataset}"
    if not is_states and not data.n_features:
        yield "data.n_features", "found 0, must be at least 1"


def _data_parameters(data: DataSection) -> Mistakes:
    yield from _parameters("data", "dataset", data.dataset, data.parameters)


def _readout(data: DataSection, circuit: CircuitSection) -> Mistakes:
    n_classes = len(data.classes)
    if circuit.readout == "qubits" and n_classes > circuit.n_qubits:
        needed = f"one qubit for each of the {n_classes} labels of data.classes, or circuit.readout = linear"
        yield "circuit.n_qubits", f"found {circuit.n_qubits}, must be at least {n_classes}: {needed}"
    if circuit.readout == "sign" and n_classes != 2:
        yield "circuit.readout", f"found sign, which tells two classes apart, but data.classes has {n_classes}"


def _partition(circuit: CircuitSection) -> Mistakes:
    if circuit.partition in ("qubit", "auto") and circuit.n_qubits < 2:
        yield "circuit.partition", f"found {circuit.partition}, but one qubit cannot be cut; must be data or layer"
    if circuit.partition == "layer" and circuit.n_layers < 2:
        yield "circuit.partition", "found layer, but a single layer cannot be cut; must be data or qubit"
    yield from _parameters("circuit", "ansatz", circuit.ansatz, circuit.parameters)


def _processor(topology: TopologySection, processor: ProcessorSection) -> Mistakes:
    t1_s, t2_s = processor.relaxation_time_s, processor.dephasing_time_s
    if t1_s is not None and t2_s is not None and t2_s > 2 * t1_s:
        limit = f"must be at most 2 processor.relaxation_time_s = {2 * t1_s!r}"
        yield "processor.dephasing_time_s", f"found {t2_s!r}, {limit}"
    if (t1_s is not None or t2_s is not None) and processor.one_qubit_gate_s == processor.two_qubit_gate_s == 0:
        yield "processor.two_qubit_gate_s", "found 0, but qubits relax during gates only, so nothing happens"
    if bool(processor.device) != bool(processor.device_nodes):
        yield "processor.device", "must be given together with processor.device_nodes"
    elif processor.device_nodes and max(processor.device_nodes) >= topology.node_count:
        limit = f"must be nodes from 0 to {topology.node_count - 1}"
        yield "processor.device_nodes", f"found {list(processor.device_nodes)}, {limit}"


def _asymmetry(hardware: HardwareSection, processor: ProcessorSection) -> Mistakes:
    if hardware.readout_error * (1 + abs(processor.readout_asymmetry)) > 0.5:
        yield "processor.readout_asymmetry", "makes an outcome more often wrong than right with hardware.readout_error"


def _tolerance(topology: TopologySection, consensus: ConsensusSection, byzantine: ByzantineSection) -> Mistakes:
    n, f = topology.node_count, consensus.tolerated_byzantine
    if 3 * f >= n:
        bound = f"must be below a third of the {n} nodes, at most {(n - 1) // 3}"
        yield "consensus.tolerated_byzantine", f"found {f}, {bound}"
    elif byzantine.n_byzantine > f:
        bound = f"must be at most consensus.tolerated_byzantine = {f}, itself below a third of the {n} nodes"
        yield "byzantine.n_byzantine", f"found {byzantine.n_byzantine}, {bound}"


def _breakdown(topology: TopologySection, aggregation: AggregationSection) -> Mistakes:
    n, f = topology.node_count, aggregation.tolerated_byzantine
    if 2 * f >= n:
        yield "aggregation.tolerated_byzantine", f"found {f}, must be below half of the {n} learners"
        return
    if aggregation.is_debiased and aggregation.rule in registry.DEBIASING_RULES:
        yield "aggregation.is_debiased", f"found true, but {aggregation.rule} divides by the contraction itself"
    if aggregation.rule in registry.UNCONDITIONAL_RULES or aggregation.rule not in registry.names("aggregation"):
        return
    if any(_rule_parameters(aggregation)):
        return
    from ceas.aggregation import needs_of, reason_to_refuse  # noqa: PLC0415 - loads NumPy

    rule = registry.bind("aggregation", aggregation.rule, aggregation.parameters)
    if "root" in needs_of(rule) and aggregation.root_samples is None:
        yield (
            "aggregation.rule",
            f"found {aggregation.rule}, which needs an update to trust; give it aggregation.root_samples",
        )
    elif reason := reason_to_refuse(rule, n_nodes=n, n_byzantine=f):
        yield "aggregation.tolerated_byzantine", f"found {f}. {reason}"


def _malicious_nodes(topology: TopologySection, byzantine: ByzantineSection) -> Mistakes:
    nodes, count = byzantine.nodes, byzantine.n_byzantine
    if nodes and (len(set(nodes)) < len(nodes) or max(nodes) >= topology.node_count):
        limit = f"must be different nodes from 0 to {topology.node_count - 1}"
        yield "byzantine.nodes", f"found {list(nodes)}, {limit}"
    elif nodes and len(nodes) != count:
        yield "byzantine.n_byzantine", f"found {count}, but byzantine.nodes lists {len(nodes)}"
    if byzantine.attack != "none" and count == 0:
        yield "byzantine.attack", f"found {byzantine.attack}, but byzantine.n_byzantine is 0, so nobody attacks"


def _parameters(section: str, family: str, name: str, parameters: Mapping[str, Any]) -> Mistakes:
    # A user's own object is imported when it runs, not when its scenario is read.
    if name in registry.names(family):
        for key, message in registry.parameter_mistakes(family, name, parameters).items():
            yield f"{section}.parameters.{key}", message


def _policy_parameters(schedule: ScheduleSection) -> Mistakes:
    return _parameters("schedule", "policy", schedule.policy, schedule.parameters)


def _rule_parameters(aggregation: AggregationSection) -> Mistakes:
    return _parameters("aggregation", "aggregation", aggregation.rule, aggregation.parameters)


def _attack_parameters(byzantine: ByzantineSection) -> Mistakes:
    return _parameters("byzantine", "attack", byzantine.attack, byzantine.parameters)


# The sections that a check takes, in the order of its arguments.
_CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Mistakes]], ...] = (
    (("topology",), _topology_keys),
    (("byzantine", "consensus"), _attacks_on_messages),
    (("topology",), _smallest_network),
    (("topology",), _random_network),
    (("clock", "schedule"), _shots_fit_window),
    (("clock", "drift"), _drift_happens),
    (("data",), _data_shares),
    (("data",), _data_file),
    (("circuit",), _circuit_file),
    (("data",), _data_classes),
    (("data", "circuit"), _data_states),
    (("data",), _data_parameters),
    (("data", "circuit"), _readout),
    (("circuit",), _partition),
    (("topology", "processor"), _processor),
    (("hardware", "processor"), _asymmetry),
    (("topology", "consensus", "byzantine"), _tolerance),
    (("topology", "aggregation"), _breakdown),
    (("topology", "byzantine"), _malicious_nodes),
    (("schedule",), _policy_parameters),
    (("aggregation",), _rule_parameters),
    (("byzantine",), _attack_parameters),
)
