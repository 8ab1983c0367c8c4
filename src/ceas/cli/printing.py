"""How tables and documents reach standard output."""

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

__all__ = ["print_json", "print_pairs", "print_rows"]

# What is not a terminal has no width; long enough for every table to keep its lines.
_FILE_WIDTH = 1000


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    from ceas.experiments import plain_json

    typer.echo(json.dumps(plain_json(document), indent=2, allow_nan=False))


def print_rows(rows: Sequence[Mapping[str, Any]], *, title: str = "", is_dense: bool = False) -> None:
    """Print rows as a table whose columns are the keys of the first row; dense ones stand closer together."""
    if not rows:
        typer.echo(f"{title}: nothing to show" if title else "nothing to show")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, collapse_padding=is_dense)
    for key in rows[0]:
        is_number = isinstance(rows[0][key], int | float)
        table.add_column(escape(str(key)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(text_of(value)) for value in row.values()))
    if sys.stdout.isatty():
        Console().print(table)
        return
    text = io.StringIO()
    Console(file=text, width=_FILE_WIDTH).print(table)
    typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


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
