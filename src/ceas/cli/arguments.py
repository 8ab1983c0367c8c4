"""Arguments and options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ceas.errors import DomainError

__all__ = [
    "FirstSeedOption",
    "JsonOption",
    "OutOption",
    "ScenarioArgument",
    "SeedsOption",
    "SetOption",
    "split_names",
]

# Seeds are stored in 64-bit columns.
LARGEST_SEED = 2**63 - 1

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Name of a built-in scenario, or path of a TOML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. clock.rounds=50; may be repeated."),
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds.")]
FirstSeedOption = Annotated[
    int, typer.Option("--first-seed", min=0, max=LARGEST_SEED // 2, help="First seed; the others follow it.")
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default: below runs/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def split_names(option: str, text: str) -> Sequence[str]:
    """Split `a,b` into names, each once.

    Raises:
        DomainError: There is no name.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise DomainError(f"Option `{option}` must list at least one name, but is {text!r}.")
    return names
