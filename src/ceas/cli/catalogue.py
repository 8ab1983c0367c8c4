"""`ceas scenarios`, `ceas report` and `ceas bench`: what there is to read."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ceas.cli.arguments import JsonOption
from ceas.cli.printing import print_json, print_rows

__all__ = ["bench", "report", "scenarios"]


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
        print_rows(rows, title="Keys of a scenario")


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
    as_json: JsonOption = False,
) -> None:
    """Measure speed beside installed peers, as ratios within one run."""
    from ceas.experiments import names, run_benchmark

    results = {one: run_benchmark(one) for one in ([name] if name is not None else names("benchmark"))}
    if as_json:
        print_json({"benchmarks": results})
        return
    for one, rows in results.items():
        print_rows(rows, title=one)
