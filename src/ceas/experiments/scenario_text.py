"""Canonical text of a scenario: TOML for people, JSON for the hash."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["canonical_toml", "content_hash", "describe_value", "toml_value"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str:
    """Write one value as inline TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON escapes are TOML escapes; only DEL must be escaped in TOML and is not in JSON.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {toml_value(item)}" for key, item in sorted(value.items()))
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else toml_value(key)


def canonical_toml(document: Mapping[str, Any]) -> str:
    """Write a document as TOML with sorted keys: plain keys first, then its tables; None is left out."""
    return "\n".join(_table_lines(document, "")).lstrip("\n") + "\n"


def _table_lines(table: Mapping[str, Any], path: str) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and value is not None}
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {toml_value(value)}" for key, value in sorted(plain.items())]
    for key, value in sorted(tables.items()):
        inner = f"{path}.{_key(key)}" if path else _key(key)
        lines += ["", f"[{inner}]", *_table_lines(value, inner)]
    return lines


def content_hash(document: Mapping[str, Any]) -> str:
    """Hash a document: first 16 hexadecimal digits of the SHA-256 of its canonical JSON.

    Order of keys does not matter, and neither does it whether a whole number is written 1 or 1.0.
    """
    text = json.dumps(_canonical(document), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    # Beyond 2^53 not every integer is a float, so that there the two stay apart.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", tuple: "list"}


def describe_value(value: Any) -> str:
    """Say what was found, as TOML with its type: `"abc" (string)`."""
    if isinstance(value, Mapping):
        return "a table"
    if type(value) not in _TYPE_NAMES:
        return f"{value} ({type(value).__name__})"
    type_name, text = _TYPE_NAMES[type(value)], toml_value(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type_name})"
