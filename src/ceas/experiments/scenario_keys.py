"""What each key of a scenario may hold, in words: for error messages and for the table of keys."""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from ceas.errors import nearest_name
from ceas.experiments import registry
from ceas.experiments.scenario_text import describe_value, toml_value
from ceas.experiments.sections import KEY_MISTAKE, TOPOLOGY_KEYS, Section

__all__ = ["KeyDocumentation", "allowed_text", "section_mistakes", "unit_of"]

# Longest suffix first: `_db_per_km` also ends in `_km`.
_UNITS = (
    ("_db_per_km", "dB/km", "decibels per kilometre"),
    ("_km", "km", "kilometres"),
    ("_hz", "Hz", "hertz"),
    ("_ns", "ns", "nanoseconds"),
    ("_s", "s", "seconds"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDocumentation:
    """One row of the table of keys; `default` is TOML text or, for a derived default, its formula."""

    key: str
    type: str
    unit: str
    default: str
    allowed: str
    meaning: str


def unit_of(key: str) -> tuple[str, str]:
    """Return the symbol and the word of a key's unit, both empty when it has none."""
    return next(((symbol, word) for suffix, symbol, word in _UNITS if key.endswith(suffix)), ("", ""))


def allowed_text(key: str, field: FieldInfo) -> str:
    """Say what a key may hold: `a number > 0 (seconds)`."""
    word = unit_of(key)[1]
    return _requirement(field) + (f" ({word})" if word else "")


def _requirement(field: FieldInfo) -> str:
    extra = _extra(field)
    if "allowed" in extra:
        return str(extra["allowed"])
    if "family" in extra:
        return f"one of {', '.join(registry.names(str(extra['family'])))}, or module:name of your own"
    annotation = _plain(field.annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return f"one of {', '.join(get_args(annotation))}"
    if annotation is str:
        return _text_requirement(field)
    words = {tuple: "a list of integers >= 0", dict: "a table of strings, booleans, finite numbers, lists and tables"}
    if origin in words:
        return words[origin] + _least_length(field)
    kinds: dict[Any, str] = {int: "an integer", bool: "true or false"}
    return f"{kinds.get(annotation, 'a number')}{_bounds(field)}"


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _text_requirement(field: FieldInfo) -> str:
    patterns = _having(field, "pattern")
    return f"a string that matches {patterns[0].pattern}" if patterns else "a string" + _least_length(field)


def _plain(annotation: Any) -> Any:
    """Strip `Annotated` and `| None` from an annotation."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _least_length(field: FieldInfo) -> str:
    least = _having(field, "min_length")
    return f", at least {least[0].min_length} long" if least else ""


def _bounds(field: FieldInfo) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = [f" {sign} {getattr(item, name):g}" for name, sign in signs.items() for item in _having(field, name)]
    return " and".join(found)


def _having(field: FieldInfo, attribute: str) -> list[Any]:
    """List the constraints of a field that have an attribute, such as a bound or a pattern."""
    return [item for item in field.metadata if getattr(item, attribute, None) is not None]


def document_key(path: str, key: str, field: FieldInfo) -> KeyDocumentation:
    """Describe one key of a section."""
    return KeyDocumentation(
        key=f"{path}.{key}" if path else key,
        type=_type_name(_plain(field.annotation)),
        unit=unit_of(key)[0],
        default=_default_text(path, key, field),
        allowed=_requirement(field),
        meaning=field.description or "",
    )


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal or annotation is str:
        return "string"
    words: dict[Any, str] = {tuple: "list", dict: "table", int: "integer", bool: "boolean"}
    return words.get(origin or annotation, "number")


def _default_text(path: str, key: str, field: FieldInfo) -> str:
    extra = _extra(field)
    if "default" in extra:
        return str(extra["default"])
    if path == "topology" and field.default is None:
        return _default_of_kinds(key)
    default = field.get_default(call_default_factory=True)
    return "none" if default is None else toml_value(default)


def _default_of_kinds(key: str) -> str:
    values = {toml_value(keys[key]) for keys in TOPOLOGY_KEYS.values() if keys.get(key) is not None}
    if values:
        return " or ".join(sorted(values))
    return "none" if key == "path" else "of the file"


def section_mistakes(
    path: str, section: type[Section], raw: Mapping[str, Any], errors: list[Any], homes: Mapping[str, list[str]]
) -> dict[str, str]:
    """Turn pydantic's errors about one section into one message per key.

    Args:
        path: Name of the section, empty for the top level.
        section: Its model.
        raw: What the scenario holds there.
        errors: `ValidationError.errors()`.
        homes: Key to the sections that have it, to point at the right one.

    Returns:
        Dotted path of the key to its message.
    """
    found = {}
    for error in errors:
        if error["type"] == KEY_MISTAKE:
            found[f"{path}.{error['ctx']['key']}"] = error["ctx"]["message"]
            continue
        key = str(error["loc"][0])
        dotted = f"{path}.{key}" if path else key
        if error["type"] == "extra_forbidden":
            found[dotted] = _unknown_key(key, section, homes)
        else:
            found[dotted] = _wrong_value(key, section.model_fields[key], raw)
    return found


def _unknown_key(key: str, section: type[Section], homes: Mapping[str, list[str]]) -> str:
    # A misspelt key is more likely than one that strayed from another section, unless it is spelt right there.
    if key in homes:
        return f"unknown key, did you mean {' or '.join(f'{home}.{key}' for home in homes[key])}?"
    nearest = nearest_name(key, section.model_fields)
    if nearest:
        return f"unknown key, did you mean {nearest}?"
    return f"unknown key. Known: {', '.join(section.model_fields)}"


def _wrong_value(key: str, field: FieldInfo, raw: Mapping[str, Any]) -> str:
    requirement = allowed_text(key, field)
    if key not in raw:
        return f"missing, must be {requirement}"
    value = raw[key]
    extra = _extra(field)
    choices = registry.names(str(extra["family"])) if "family" in extra else get_args(_plain(field.annotation))
    nearest = nearest_name(value, map(str, choices)) if isinstance(value, str) else None
    hint = f"; did you mean {nearest}?" if nearest else ""
    return f"found {describe_value(value)}, must be {requirement}{hint}"
