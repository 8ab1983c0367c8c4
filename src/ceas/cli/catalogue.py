"""`ceas scenarios`, `ceas presets`, `ceas report` and `ceas bench`: what there is to read."""

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ceas.cli.arguments import JsonOption
from ceas.cli.printing import print_json, print_rows
from ceas.errors import DomainError

__all__ = ["bench", "presets", "report", "scenarios", "tables_of"]

# Characters of what a key allows, beyond which names are cut.
_LONGEST_LIST = 200


def scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="Print this one in full, with every default.")
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every key with unit, default, allowed values.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the built-in scenarios, print one in full, or list all keys."""
    if keys:
        _print_keys(as_json)
    elif name is not None:
        _print_scenario(name, as_json)
    else:
        _print_built_in(as_json)


def _print_keys(as_json: bool) -> None:
    from ceas.experiments import document_scenario_keys

    rows = [asdict(row) for row in document_scenario_keys()]
    if as_json:
        print_json({"keys": rows})
    else:
        shown = [row | {"allowed": _shortened(row["allowed"])} for row in rows]
        print_rows(shown, title="Keys of a scenario")


def _shortened(allowed: str) -> str:
    """Cut a long list of names, which would make the whole table as wide."""
    own = ", or module:name of your own"
    if len(allowed) <= _LONGEST_LIST or not allowed.endswith(own):
        return allowed
    names = allowed.removeprefix("one of ").removesuffix(own).split(", ")
    return f"one of {', '.join(names[:3])}, ... ({len(names)} names, all with --json){own}"


def _print_scenario(name: str, as_json: bool) -> None:
    from ceas.experiments import load_scenario

    loaded = load_scenario(name)
    if as_json:
        ids = {"scenario_id": loaded.scenario_id, "network_id": loaded.network_id}
        print_json({**ids, "scenario": loaded.to_mapping()})
    else:
        typer.echo(loaded.to_toml(), nl=False)


def _print_built_in(as_json: bool) -> None:
    from ceas.experiments import built_in_scenarios, load_scenario

    loaded = [load_scenario(name) for name in built_in_scenarios()]
    rows = [
        {"name": one.name, "nodes": one.n_nodes, "rounds": one.clock.rounds, "description": one.description}
        for one in loaded
    ]
    if as_json:
        ids = [one.scenario_id for one in loaded]
        print_json({"scenarios": [{**row, "scenario_id": key} for row, key in zip(rows, ids, strict=True)]})
    else:
        print_rows(rows, title="Built-in scenarios")


def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="[PRESET]", help="Print every number of this one with its source.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the hardware presets, or print where each number of one stands."""
    from ceas.experiments import document_preset, document_presets

    rows = document_presets() if name is None else document_preset(name)
    if as_json:
        print_json({"presets" if name is None else name: rows})
    else:
        print_rows(rows, title="Hardware presets" if name is None else f"{name}: every number and its source")


def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, or one of a study or benchmark.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Page to write; default: report.html in the folder.")
    ] = None,
) -> None:
    """Write one self-contained web page from results."""
    from ceas.report import write_report

    page = out or (directories[0] / "report.html" if len(directories) == 1 else Path("report.html"))
    write_report(directories, page)
    typer.echo(f"wrote {page}")


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One benchmark; default: all.")] = None,
    *,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="S2,S5", help="Scenarios or parts of a benchmark that has some; default: all."),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Number of seeds.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short run that shows that everything works.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep results here as they come; repeat the command to go on."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set another parameter of the benchmark; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure speed beside installed peers, and scheduling beside its bounds."""
    from ceas.cli.progress import progress_display
    from ceas.experiments import names, run_benchmark
    from ceas.experiments.bench import printed_rows
    from ceas.report.source import BENCHMARK_FILE, is_benchmark

    given = {"only": only, "seeds": seeds, "quick": quick or None, "out": None if out is None else str(out)}
    parameters = _parsed_settings(settings or ()) | {key: value for key, value in given.items() if value is not None}
    if name is None and parameters:
        raise DomainError(f"Options for parameters ({', '.join(parameters)}) need the name of a benchmark.")
    results = {}
    with progress_display() as progress:
        for one in [name] if name is not None else names("benchmark"):
            results[one] = run_benchmark(one, parameters, progress=progress)
    if as_json:
        print_json({"benchmarks": results, "is_quick": quick})
        return
    for one, rows in results.items():
        for table, part in tables_of(printed_rows(one, rows)).items():
            print_rows(part, title=table or one, is_dense=True)
    if quick:
        typer.echo("a short run: its figures show that everything works, they are no measurement")
    if out is not None and is_benchmark(out):
        typer.echo(f"rows: {out / BENCHMARK_FILE}\nreport: ceas report {shlex.quote(str(out))}")


def _parsed_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` texts, values as in TOML, everything else as a string.

    Raises:
        DomainError: A text has another form.
    """
    parsed: dict[str, Any] = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key.isidentifier():
            raise DomainError(f"Option `--set` must have the form KEY=VALUE, but is {text!r}.")
        try:
            parsed[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key] = value
    return parsed


def tables_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Sort rows by their `table`, in the order in which tables first appear; rows without one are one table.

    A table with several rows for each `setting` becomes one table a setting, which leaves more room for the others.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(str(row.get("table", "")), []).append({k: v for k, v in row.items() if k != "table"})
    parts: dict[str, list[dict[str, Any]]] = {}
    for table, members in tables.items():
        settings = [row["setting"] for row in members if "setting" in row]
        if len(settings) < len(members) or len(set(settings)) == len(settings):
            parts[table] = members
            continue
        for row in members:
            rest = {key: value for key, value in row.items() if key != "setting"}
            parts.setdefault(f"{table}: {row['setting']}", []).append(rest)
    return parts
