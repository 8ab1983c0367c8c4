"""A user's data and circuit files: a scenario's identity covers what they hold, not where they lie.

Their digests are keys of the scenario, filled when it is read first and kept from then on, so that a recorded run
names the very files it had. Another file in their place is refused where it would be used.
"""

import errno
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ceas.errors import ScenarioError
from ceas.experiments.scenario_text import describe_value

if TYPE_CHECKING:
    from ceas.experiments.scenario import Scenario

__all__ = [
    "FILE_CHOICES",
    "absolute_path",
    "changed_files",
    "digest_of",
    "file_of",
    "file_path",
    "path_mistake",
    "refuse_changed_files",
]

FILE_CHOICES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"data": ("dataset", "file"), "circuit": ("ansatz", "qasm")}
)
"""The sections whose `parameters.path` can name a file, and the key and value that say so."""


def file_path(name: str, section: Any) -> str | None:
    """Return the path that a section names, None where it uses no file; `section` is its raw table."""
    key, value = FILE_CHOICES[name]
    if not isinstance(section, Mapping) or section.get(key) != value:
        return None
    parameters = section.get("parameters")
    path = parameters.get("path") if isinstance(parameters, Mapping) else None
    return path if isinstance(path, str) else None


def file_of(document: Mapping[str, Any], name: str) -> str | None:
    """Return the path that a section of a document names, None where it uses no file."""
    return file_path(name, document.get(name))


def path_mistake(path: str) -> str:
    """Say why no file can have a path, or a recorded scenario not name it; empty where neither is so."""
    if "\0" not in path and not any("\ud800" <= character <= "\udfff" for character in path):
        return ""
    shown = describe_value(path).encode("utf-8", "backslashreplace").decode()
    return f"found {shown}, must be a path in UTF-8 without the NUL character"


def absolute_path(directory: Path, path: str) -> str:
    """Return a path that starts at a folder as an absolute one; one that no file can have stays as it is."""
    if path_mistake(path):
        return path
    try:
        return str(directory.joinpath(path).resolve())
    except RuntimeError:  # symbolic links in a circle, which reading it tells
        return str(directory.joinpath(path).absolute())


def digest_of(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: It cannot be read, or is a device or a pipe, which may never end.
    """
    if path_mistake(path):
        raise OSError(errno.EINVAL, "no file can have this path", path)
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def changed_files(scenario: "Scenario") -> list[str]:
    """Return a message for each file that is gone, or another one than the scenario was read with."""
    document = scenario.to_mapping()
    found = []
    for name in FILE_CHOICES:
        path, recorded = file_of(document, name), document[name].get("sha256")
        if path is None:
            continue
        try:
            digest = digest_of(path)
        except OSError as error:
            found.append(f"{name}.parameters.path: cannot read {path}: {error.strerror}")
            continue
        if recorded not in (None, digest):
            found.append(
                f"{name}.sha256: found {recorded[:12]}..., but {path} is another file now, {digest[:12]}...; "
                "remove this key to accept it"
            )
    return found


def refuse_changed_files(scenario: "Scenario") -> None:
    """Refuse a scenario whose files are not those that it was read with.

    Raises:
        ScenarioError: A file is gone or was changed.
    """
    if found := changed_files(scenario):
        raise ScenarioError(scenario.name, found)
