"""Scenarios: what a user asks for, read strictly, written back canonically and hashed.

A scenario plus a seed names one run. `scenario_id` hashes everything that decides its numbers; `network_id` only what
decides the Bell pairs, so that runs which differ in learning, attack or rule can share one simulated network.
"""

import importlib.resources
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from ceas.errors import ScenarioError, nearest_name
from ceas.experiments.files import FILE_CHOICES, file_of
from ceas.experiments.registry import ATTACKS_ON_MESSAGES, ATTACKS_ON_TESTS
from ceas.experiments.scenario_checks import attacks_named, complete, cross_mistakes
from ceas.experiments.scenario_keys import KeyDocumentation, document_key, section_mistakes
from ceas.experiments.scenario_overrides import apply_overrides, located, set_key
from ceas.experiments.scenario_text import canonical_toml, content_hash, describe_value
from ceas.experiments.sections import (
    AggregationSection,
    AuthenticationSection,
    ByzantineSection,
    CertificationSection,
    CircuitSection,
    ClockSection,
    ConsensusSection,
    DataSection,
    DriftSection,
    HardwareSection,
    LearningSection,
    OutputSection,
    ProcessorSection,
    ScheduleSection,
    Section,
    TopologySection,
    TrafficSection,
)

__all__ = [
    "Scenario",
    "built_in_scenarios",
    "document_scenario_keys",
    "load_scenario",
    "scenario_from_mapping",
    "scenario_from_toml",
]

_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# What profiles of authentication were called when identities were first given.
_FORMER_PROFILES = {"qkd_seeded": "seeded"}
# What changes no frame: how signatures are computed, and digits after the point.
_NO_EXCHANGE = frozenset({"remember_signatures", "fixed_point_bits"})
_OF_PACKAGE = re.compile(r"^ceas\.attacks(\.\w+)*:")


class Scenario(Section):
    """One complete experiment, without its seed."""

    name: str = Field(
        default="unnamed",
        pattern=_NAME_PATTERN,
        description="Name, used in file names; not part of the identity",
        json_schema_extra={"allowed": "1 to 64 letters, digits, dots, dashes or underscores"},
    )
    description: str = Field(default="", description="One line on what it is for; not part of the identity")
    topology: TopologySection
    hardware: HardwareSection = Field(default_factory=HardwareSection)
    clock: ClockSection = Field(default_factory=ClockSection)
    schedule: ScheduleSection = Field(default_factory=ScheduleSection)
    traffic: TrafficSection = Field(default_factory=TrafficSection)
    drift: DriftSection = Field(default_factory=DriftSection)
    data: DataSection
    circuit: CircuitSection = Field(default_factory=CircuitSection)
    processor: ProcessorSection = Field(default_factory=ProcessorSection)
    learning: LearningSection = Field(default_factory=LearningSection)
    aggregation: AggregationSection
    byzantine: ByzantineSection = Field(default_factory=ByzantineSection)
    authentication: AuthenticationSection = Field(default_factory=AuthenticationSection)
    consensus: ConsensusSection
    certification: CertificationSection = Field(default_factory=CertificationSection)
    output: OutputSection

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, raw: Any) -> Any:
        return complete(raw) if isinstance(raw, dict) and not _sections_of(raw) else raw

    @model_validator(mode="after")
    def _check_across_sections(self) -> Self:
        mistakes = cross_mistakes({name: getattr(self, name) for name in SECTIONS})
        if mistakes:
            raise ValueError("\n".join(f"{key}: {message}" for key, message in mistakes.items()))
        return self

    @property
    def n_nodes(self) -> int:
        """Number of nodes, each of which is a learner."""
        return self.topology.node_count

    @property
    def scenario_id(self) -> str:
        """Identity of what decides the numbers: 16 hexadecimal digits over all but name, description and output."""
        document = self.to_mapping()
        for key in ("name", "description", "output"):
            del document[key]
        if self.aggregation.certification == "joint_tests":
            # Scenarios older than this key keep their identity.
            del document["aggregation"]["certification"]
        if self.authentication.key_rate == "asymptotic":
            # The same holds for these, of which the last two then decide nothing.
            for key in ("key_rate", "block_pairs", "security_parameter"):
                del document["authentication"][key]
        if self.consensus.protocol == "tetrabft":
            del document["consensus"]["protocol"]
        self._name_as_before(document["authentication"])
        return content_hash(_without_file_location(document))

    def _name_as_before(self, section: dict[str, Any]) -> None:
        """Write the section on authentication as before it had some keys and names, where they change nothing."""
        section["profile"] = _FORMER_PROFILES.get(section["profile"], section["profile"])
        for key in ("reserve_rounds", "frame_quota", "remember_signatures"):
            if section[key] == AuthenticationSection.model_fields[key].default:
                del section[key]

    @property
    def network_id(self) -> str:
        """Identity of the network, its schedule and exchange: which pairs exist, when, and what they are used for.

        Attackers do not count, but for those who tamper with the exchange or with joint tests.
        """
        document = self.to_mapping()
        decisive = {name: document[name] for name in ("topology", "hardware", "clock", "schedule", "traffic", "drift")}
        # These keys decide how many pairs a shot needs, and the cap on shots ends the demand for pairs.
        decisive["circuit"] = document["circuit"]
        decisive["learning"] = {"max_shots_per_round": self.learning.max_shots_per_round}
        if self.hardware.pair_states == "bell_diagonal":
            # The measured qubits, one a class, decide what each correlator of a pair is worth to a shot.
            decisive["data"] = {"n_classes": len(self.data.classes)}
        exchange = self._chosen_exchange(document)
        if exchange:
            decisive["exchange"] = exchange
        named = attacks_named(self.byzantine.attack, self.byzantine.parameters)
        # A built-in attack may also be named as a user's own is, by its module.
        attacks = {_OF_PACKAGE.sub("", name) for name in named if isinstance(name, str)}
        if attacks & (ATTACKS_ON_MESSAGES | ATTACKS_ON_TESTS):
            decisive["byzantine"] = document["byzantine"]
        return content_hash(_without_file_location(decisive))

    def _chosen_exchange(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of authentication and consensus is not as by default, where it decides what is exchanged."""
        defaults = {
            **{key: field.default for key, field in AuthenticationSection.model_fields.items()},
            **{key: field.default for key, field in ConsensusSection.model_fields.items()},
            "tolerated_byzantine": (self.n_nodes - 1) // 3,
        }
        chosen = document["authentication"] | document["consensus"]
        for key in _NO_EXCHANGE | (set() if chosen["key_rate"] == "finite" else {"block_pairs", "security_parameter"}):
            del chosen[key]
        return {key: value for key, value in chosen.items() if value != defaults[key]}

    def to_mapping(self) -> dict[str, Any]:
        """Return all keys as plain values, without the topology keys that this kind does not use."""
        return self.model_dump(exclude_none=True)

    def to_toml(self) -> str:
        """Write the canonical text: all keys, sorted, defaults explicit."""
        return canonical_toml(self.to_mapping())

    def with_overrides(self, overrides: Iterable[str]) -> "Scenario":
        """Return a new scenario with `section.key=value` texts applied; a value is TOML or else a bare string.

        A default that follows from another key follows it further. Choosing another topology kind, policy, rule or
        attack drops the keys of the previous one.

        Raises:
            ScenarioError: An override or the resulting scenario has mistakes.
        """
        return _build(apply_overrides(self.to_mapping(), overrides, self.name), self.name)

    def with_method(self, rule: str) -> "Scenario":
        """Return a new scenario with another aggregation rule at its default parameters."""
        return self._with_choice("aggregation", "rule", rule)

    def with_attack(self, attack: str) -> "Scenario":
        """Return a new scenario with another attack at its default parameters."""
        return self._with_choice("byzantine", "attack", attack)

    def with_policy(self, policy: str) -> "Scenario":
        """Return a new scenario with another scheduling policy at its default parameters."""
        return self._with_choice("schedule", "policy", policy)

    def _with_choice(self, section: str, key: str, name: str) -> "Scenario":
        document = self.to_mapping()
        set_key(document, (section, key), name)
        return _build(document, self.name)


SECTIONS = tuple(name for name, field in Scenario.model_fields.items() if name not in ("name", "description"))
_MODELS: dict[str, type[Section]] = {
    "topology": TopologySection,
    "hardware": HardwareSection,
    "clock": ClockSection,
    "schedule": ScheduleSection,
    "traffic": TrafficSection,
    "drift": DriftSection,
    "data": DataSection,
    "circuit": CircuitSection,
    "processor": ProcessorSection,
    "learning": LearningSection,
    "aggregation": AggregationSection,
    "byzantine": ByzantineSection,
    "authentication": AuthenticationSection,
    "consensus": ConsensusSection,
    "certification": CertificationSection,
    "output": OutputSection,
}


def _sections_of(raw: Mapping[str, Any]) -> bool:
    """Tell whether the sections are models already, so that their defaults have been filled."""
    return isinstance(raw.get("topology"), TopologySection)


def _without_file_location(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out where files lie whose digests say what they are."""
    topology = {key: value for key, value in document["topology"].items() if key != "path"}
    placeless = {**document, "topology": topology}
    for name in FILE_CHOICES:
        if file_of(document, name) is not None and "sha256" in document[name]:
            parameters = {key: value for key, value in document[name]["parameters"].items() if key != "path"}
            placeless[name] = {**document[name], "parameters": parameters}
    return placeless


def built_in_scenarios() -> dict[str, str]:
    """Return the TOML text of every built-in scenario by name, sorted."""
    folder = importlib.resources.files("ceas.experiments").joinpath("scenarios")
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {entry.name.removesuffix(".toml"): entry.read_text("utf-8") for entry in sorted(files, key=lambda e: e.name)}


def load_scenario(source: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """Load a built-in scenario by name or a TOML file by path.

    Args:
        source: Name of a built-in scenario, or path of a file; a text with a slash or `.toml` is a path.
        overrides: `section.key=value` texts.

    Raises:
        ScenarioError: There is no such scenario, or it has mistakes; one message for each.
    """
    text = str(source)
    is_path = isinstance(source, Path) or "/" in text or text.endswith(".toml")
    built_in = {} if is_path else built_in_scenarios()
    if text in built_in:
        return scenario_from_toml(built_in[text], source=text, overrides=overrides)
    path = Path(source)
    if not path.is_file():
        raise ScenarioError(text, [_not_found(path)])
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(text, [f"cannot be read: {error}"]) from error
    scenario = scenario_from_toml(content, source=text, overrides=overrides, directory=path.parent)
    return scenario if scenario.name != "unnamed" else scenario.model_copy(update={"name": _file_name(path)})


def _file_name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)[:64]
    return name if re.match(_NAME_PATTERN, name) else "unnamed"


def _not_found(path: Path) -> str:
    known = built_in_scenarios()
    nearest = nearest_name(path.name.removesuffix(".toml"), known)
    hint = f" Did you mean `{nearest}`?" if nearest else ""
    if path.is_dir():
        inside = path / "scenario.toml"
        return f"is a folder{f', did you mean {inside}?' if inside.is_file() else ', not a scenario'}"
    return f"no such file, and no built-in scenario of that name.{hint} Built-in: {', '.join(known)}"


def scenario_from_toml(
    text: str, *, source: str = "scenario", overrides: Iterable[str] = (), directory: Path | None = None
) -> Scenario:
    """Read a scenario from TOML text; `directory` is where the relative paths of files start.

    Raises:
        ScenarioError: The text is not TOML or has mistakes; one message for each.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(source, [f"not valid TOML: {error}"]) from error
    return scenario_from_mapping(document, source=source, overrides=overrides, directory=directory)


def scenario_from_mapping(
    document: Mapping[str, Any],
    *,
    source: str = "scenario",
    overrides: Iterable[str] = (),
    directory: Path | None = None,
) -> Scenario:
    """Build a scenario from nested mappings, as `scenario_from_toml` does from text."""
    return _build(apply_overrides(located(document, directory or Path()), overrides, source), source)


def _build(document: Mapping[str, Any], source: str) -> Scenario:
    completed = complete(document)
    homes: dict[str, list[str]] = {}
    for name, model in _MODELS.items():
        for key in model.model_fields:
            homes.setdefault(key, []).append(name)
    mistakes: dict[str, str] = {}
    sections: dict[str, Any] = {}
    for name, model in _MODELS.items():
        raw = completed.get(name, {})
        if not isinstance(raw, Mapping):
            mistakes[name] = f"found {describe_value(raw)}, must be a table [{name}]"
            continue
        try:
            sections[name] = model.model_validate(dict(raw))
        except ValidationError as error:
            mistakes |= section_mistakes(name, model, raw, error.errors(), homes)
    top = {key: value for key, value in completed.items() if key not in _MODELS}
    mistakes |= _top_level_mistakes(top, homes) | cross_mistakes(sections)
    if mistakes:
        raise ScenarioError(source, [f"{key}: {message}" for key, message in mistakes.items()])
    return Scenario(**top, **sections)


def _top_level_mistakes(top: Mapping[str, Any], homes: Mapping[str, list[str]]) -> dict[str, str]:
    try:
        _TopLevel.model_validate(dict(top))
    except ValidationError as error:
        return section_mistakes("", Scenario, top, error.errors(), homes)
    return {}


class _TopLevel(Section):
    """The keys of a scenario outside its sections, to check them alone."""

    name: str = Field(default="unnamed", pattern=_NAME_PATTERN)
    description: str = ""


def document_scenario_keys() -> list[KeyDocumentation]:
    """Describe every key of a scenario, in the order of its sections."""
    top = [document_key("", key, Scenario.model_fields[key]) for key in ("name", "description")]
    inner = [
        document_key(name, key, field) for name, model in _MODELS.items() for key, field in model.model_fields.items()
    ]
    return top + inner
