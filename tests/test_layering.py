"""Imports point up the list of rooms and never down: the table, held as data, against every import statement."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ceas"

# Room: what it may import besides `errors` and itself. Imports inside functions and for type checking count as well.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "limits": frozenset(),
    "streams": frozenset(),
    "physics": frozenset(),
    "network": frozenset({"limits", "physics", "streams"}),
    "scheduling": frozenset({"physics", "network"}),
    "learning": frozenset({"physics", "streams"}),
    "aggregation": frozenset(),
    "attacks": frozenset({"streams"}),
    "authentication": frozenset({"physics", "streams"}),
    "consensus": frozenset({"authentication", "physics"}),
}
MAY_IMPORT["runtime"] = frozenset(MAY_IMPORT)
# Below the runtime, which therefore cannot use it: these protocols are no part of training.
MAY_IMPORT["qdba"] = frozenset({"authentication", "physics", "streams"})
MAY_IMPORT["experiments"] = frozenset(MAY_IMPORT)
MAY_IMPORT["report"] = frozenset({"experiments"})
MAY_IMPORT["cli"] = frozenset({"experiments", "qdba", "report"})
MAY_IMPORT["__main__"] = frozenset({"cli"})

# Scheduling sees what the network is and what happened in it, not the machine that makes it happen.
CLOSED_MODULES = {"scheduling": ("ceas.network.kernel", "ceas.network.simulation")}
# Code that decides reads no clock, opens no socket and draws from no global generator.
DECIDING = ("physics", "network", "scheduling", "learning", "aggregation", "attacks", "consensus", "qdba")
CLOSED_LIBRARIES = dict.fromkeys(DECIDING, ("asyncio", "random", "secrets", "socket", "time"))


def room_of(path: Path, source: Path = SOURCE) -> str:
    return path.relative_to(source).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yield the line and full name of every imported module, and of every name imported from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import_call(node):
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield node.lineno, target.value


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__") and bool(node.args)


def violations(source: Path) -> list[str]:
    found = []
    for path in sorted(source.rglob("*.py")):
        room = room_of(path, source)
        if room == "__init__":
            continue  # the front door re-exports from every room
        package = ".".join(["ceas", *path.relative_to(source).parts[:-1]])
        for line, module in imported_modules(ast.parse(path.read_text("utf-8")), package):
            if not _is_allowed(room, module):
                found.append(f"{path.relative_to(source.parent)}:{line}: {room} must not import {module}")
    return found


def _is_allowed(room: str, module: str) -> bool:
    top, *rest = module.split(".")
    if top in CLOSED_LIBRARIES.get(room, ()):
        return False
    if top != "ceas":
        return True
    other = rest[0] if rest else ""
    if any(module == closed or module.startswith(f"{closed}.") for closed in CLOSED_MODULES.get(room, ())):
        return False
    # `from ceas import __version__` takes a fact, not a room.
    return other in MAY_IMPORT[room] | {room, "errors", "__version__"}


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(MAY_IMPORT)


def test_imports_point_up() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("physics", "from ceas.network import ring"),
        ("physics", "import ceas.streams"),
        ("aggregation", "from ceas.streams import stream"),
        ("aggregation", "from ..attacks import none"),
        ("network", "def f():\n    import ceas.runtime.progress"),
        ("scheduling", "from ceas.network.kernel import advance"),
        ("scheduling", "from ceas.network import kernel"),
        ("scheduling", "import ceas.network.simulation as s"),
        ("runtime", "from ceas.qdba import simulate_epr"),
        ("consensus", "import time"),
        ("consensus", "from random import choice"),
        ("report", "from ceas.runtime import world"),
        ("cli", "import importlib\nimportlib.import_module('ceas.learning')"),
        ("experiments", "from ceas.cli import app"),
        ("runtime", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ceas import experiments"),
        ("learning", "from ceas import run"),
        ("errors", "from ceas import streams"),
    ],
)
def test_the_check_finds_what_it_should(room: str, line: str, tmp_path: Path) -> None:
    folder = tmp_path / "ceas" / room
    folder.mkdir(parents=True)
    (folder / "module.py").write_text(f"import numpy as np\n{line}\n")
    [message] = violations(tmp_path / "ceas")
    assert message.startswith(f"ceas/{room}/module.py:{line.count(chr(10)) + 2}: {room} must not import ")


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("physics", "from ceas.errors import DomainError"),
        ("scheduling", "from ceas.network.records import DemandTable"),
        ("scheduling", "from .policies import ceas"),
        ("runtime", "from ceas.streams import stream"),
        ("cli", "from ceas import __version__"),
        ("cli", "from ceas.report import write_report"),
        ("experiments", "import time"),
    ],
)
def test_the_check_lets_pass_what_it_should(room: str, line: str, tmp_path: Path) -> None:
    folder = tmp_path / "ceas" / room
    folder.mkdir(parents=True)
    (folder / "module.py").write_text(f"{line}\n")
    assert violations(tmp_path / "ceas") == []
