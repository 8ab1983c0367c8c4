"""Overrides: single keys of a scenario set by `section.key=value` texts."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ceas.errors import ScenarioError
from ceas.experiments.files import FILE_CHOICES, absolute_path, file_of
from ceas.experiments.hardware_presets import preset_defaults
from ceas.experiments.scenario_checks import derived_defaults
from ceas.experiments.sections import TOPOLOGY_KEYS, HardwareSection

__all__ = ["apply_overrides", "located", "set_key"]


def located(document: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Make the paths of topology, data and circuit files absolute, so that a run repeats from another folder."""
    placed = dict(document)
    topology = document.get("topology")
    if isinstance(topology, Mapping) and isinstance(topology.get("path"), str):
        placed["topology"] = {**topology, "path": absolute_path(directory, topology["path"])}
    for name in FILE_CHOICES:
        if (path := file_of(document, name)) is not None:
            section = document[name]
            parameters = {**section["parameters"], "path": absolute_path(directory, path)}
            placed[name] = {**section, "parameters": parameters}
    return placed


def apply_overrides(document: Mapping[str, Any], overrides: Iterable[str], source: str) -> dict[str, Any]:
    """Apply overrides to a copy of a document.

    Raises:
        ScenarioError: An override does not have the form `section.key=value`.
    """
    parsed, mistakes = [], []
    for text in overrides:
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            mistakes.append(f"override {text!r}: must have the form section.key=value")
        else:
            parsed.append((path, _override_value(value.strip())))
    if mistakes:
        raise ScenarioError(source, mistakes)
    copied = {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}
    followers = _followers(copied)
    # Choices come first, because they drop keys that another override may set again.
    for path, value in sorted(parsed, key=lambda item: (item[0] != _PRESET, item[0] not in _DROPPED_BY_CHOICE)):
        set_key(copied, path, value)
    for section, key in followers - {path for path, _ in parsed}:
        if isinstance(copied[section], dict):
            copied[section].pop(key, None)
    return located(copied, Path())


def _followers(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Find the keys that hold the very default that follows from other keys."""
    derived = derived_defaults(document)
    present = {path for path in derived if isinstance(document.get(path[0]), dict)}
    return {
        (section, key)
        for section, key in present
        if key in document[section] and document[section][key] == derived[section, key]
    }


def _override_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


_PRESET = ("hardware", "preset")
# A choice and the keys of its section that belong to the previous one; for a topology kind, those of other kinds.
_DROPPED_BY_CHOICE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("topology", "kind"): tuple({key: None for keys in TOPOLOGY_KEYS.values() for key in keys}),
    ("topology", "path"): ("n_nodes", "sha256"),
    _PRESET: (),
    ("hardware", "relaxation_time_s"): ("coherence_time_s",),
    ("hardware", "dephasing_time_s"): ("coherence_time_s",),
    ("schedule", "policy"): ("parameters",),
    ("data", "dataset"): ("parameters", "sha256"),
    ("circuit", "ansatz"): ("parameters", "sha256"),
    ("aggregation", "rule"): ("parameters",),
    ("byzantine", "attack"): ("parameters",),
}


def _is_file(path: tuple[str, ...]) -> bool:
    """Tell whether a key names the file of its section, whose digest belonged to the previous one."""
    return path[0] in FILE_CHOICES and path[1:] in (("parameters",), ("parameters", "path"))


def _drop_defaults_of_preset(hardware: dict[str, Any]) -> None:
    """Drop the keys that hold the very default of the present platform, so that those of another take their place."""
    name = hardware.get("preset")
    known, _ = preset_defaults(name) if isinstance(name, str) else ({}, ())
    for key, field in HardwareSection.model_fields.items():
        if key in hardware and hardware[key] == known.get(key, field.get_default()):
            del hardware[key]


def set_key(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set one key in nested tables, in place, replacing tables by copies on the way."""
    table = document
    for part in path[:-1]:
        inner = table.get(part)
        table[part] = dict(inner) if isinstance(inner, Mapping) else {}
        table = table[part]
    if table.get(path[-1]) == value:
        return
    if path == _PRESET:
        _drop_defaults_of_preset(table)
    table[path[-1]] = value
    if _is_file(path):
        document[path[0]].pop("sha256", None)
    kept = TOPOLOGY_KEYS.get(str(value), {}) if path == ("topology", "kind") else {}
    for key in _DROPPED_BY_CHOICE.get(path, ()):
        if key not in kept:
            table.pop(key, None)
