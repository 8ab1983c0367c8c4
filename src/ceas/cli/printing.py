"""How tables and documents reach standard output."""

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

__all__ = ["fitting_columns", "print_json", "print_pairs", "print_rows"]

# What is not a terminal has no width; long enough for every table to keep its lines.
_FILE_WIDTH = 1000
# Texts may be folded to this width; numbers never.
_FOLDED_WIDTH = 24


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    from ceas.experiments import plain_json

    typer.echo(json.dumps(plain_json(document), indent=2, allow_nan=False))


def print_rows(rows: Sequence[Mapping[str, Any]], *, title: str = "", is_dense: bool = False) -> None:
    """Print rows as a table whose columns are the keys of the first row; dense ones stand closer together.

    On a terminal too narrow for all numbers the last columns are left out and named.
    """
    if not rows:
        typer.echo(f"{title}: nothing to show" if title else "nothing to show")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    columns = fitting_columns(rows, console.width, is_dense=is_dense) if sys.stdout.isatty() else list(rows[0])
    table = Table(title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, collapse_padding=is_dense)
    for key in columns:
        is_number = isinstance(rows[0][key], int | float)
        table.add_column(escape(str(key)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(text_of(row.get(key, ""))) for key in columns))
    if sys.stdout.isatty():
        console.print(table)
        if hidden := [str(key) for key in rows[0] if key not in columns]:
            typer.echo(f"not shown for lack of width, see --json: {', '.join(hidden)}\n")
        return
    text = io.StringIO()
    Console(file=text, width=_FILE_WIDTH).print(table)
    typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def fitting_columns(rows: Sequence[Mapping[str, Any]], width: int, *, is_dense: bool = False) -> list[str]:
    """Return the first columns that a terminal of a width can show without folding a number; one at least."""
    left = width - 2
    kept: list[str] = []
    for key in rows[0]:
        texts = [text_of(row.get(key, "")) for row in rows]
        is_text = any(isinstance(row.get(key), str) for row in rows)
        needed = max(map(len, (str(key), *texts)))
        left -= (min(needed, _FOLDED_WIDTH) if is_text else needed) + (2 if is_dense else 3)
        if left < 0 and kept:
            break
        kept.append(key)
    return kept


def print_pairs(pairs: Mapping[str, Any], *, title: str = "") -> None:
    """Print names and values, one a line."""
    print_rows([{"": name, "value": text_of(value)} for name, value in pairs.items()], title=title)


def text_of(value: Any) -> str:
    """Write a value for people: four significant digits, a dash for what was not measured."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
