"""`ceas reproduce`: the published claims as tables."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ceas.cli.arguments import JsonOption, OutOption, split_names
from ceas.cli.printing import print_json, print_rows, text_of
from ceas.cli.progress import progress_display
from ceas.cli.studies import kept_if_interrupted

if TYPE_CHECKING:
    from ceas.experiments.reproduce import Reproduction
    from ceas.experiments.reproduce_plan import Plan

__all__ = ["reproduce"]

_TUNING = "tuning"


def reproduce(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]...",
            help="accuracy, entanglement, variance, falsifiers, convergence; default: all. tuning: choose every "
            "rule's parameters anew, with as many trials for each, on seeds that no table reports; --seeds and "
            "--choices do not count there.",
        ),
    ] = None,
    *,
    is_quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds, seeds and rivals: shows how it works, proves nothing.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Number of seeds; default: 10, quick: 2. convergence has twice as many."),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(
            "--datasets",
            metavar="A,B",
            help="For accuracy, falsifiers, tuning: of digits and mnist (needs ceas[mnist]); default: both.",
        ),
    ] = None,
    choices: Annotated[
        Path | None,
        typer.Option("--choices", metavar="FILE", help="Tuned parameters; default: those that come with ceas."),
    ] = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reproduce the published claims as tables, ours beside the best rival, with 95 % confidence intervals.

    Everything that is finished is kept: repeat the command to go on after an interruption, or with more seeds to add
    them. On two cores the whole takes about two hours, and --quick under three minutes.
    """
    from ceas.experiments.reproduce_plan import plan_of

    plan = plan_of(
        is_quick=is_quick,
        seeds=seeds,
        datasets=split_names("--datasets", datasets) if datasets is not None else None,
    )
    directory = out or Path("runs") / f"reproduction-{plan.name}"
    command = ["ceas", "reproduce", *(tables or ()), *(("--quick",) if is_quick else ())]
    command += ["--seeds", str(len(plan.seeds)), "--datasets", ",".join(plan.datasets)]
    command += ["--choices", str(choices)] if choices is not None else []
    command += ["--out", str(out)] if out is not None else []
    if tables and _TUNING in tables:
        _tune(plan, tables, directory, shlex.join(command), as_json=as_json)
        return
    from ceas.experiments.reproduce import reproduce as make

    with kept_if_interrupted(directory), progress_display() as progress:
        found = make(plan, tables or (), out=directory, choices=choices, progress=progress, command=shlex.join(command))
    from ceas.report import write_report

    page = write_report([directory])
    if as_json:
        print_json({**found.to_document(), "directory": str(directory)})
        return
    _print(found)
    typer.echo(f"tables: {directory / 'reproduction.json'}\nreport: {page}")


def _print(found: "Reproduction") -> None:
    for table in found.tables:
        if table.is_detail:
            continue
        print_rows([_texts(row) for row in table.rows], title=table.title, is_dense=True)
        if table.note:
            typer.echo(f"{table.note}\n")
    claims = [{"goal": one.text, "measured": one.measured, "reached": _verdict(one.is_met)} for one in found.claims]
    print_rows(claims, title="Goals")
    if found.plan.name == "quick":
        typer.echo("A quick run has too few rounds, seeds and rivals to prove anything.")


def _tune(plan: "Plan", tables: list[str], directory: Path, command: str, *, as_json: bool) -> None:
    from ceas.errors import DomainError
    from ceas.experiments.reproduce import tune

    if len(tables) > 1:
        raise DomainError(f"`{_TUNING}` must be the only table, but there are {', '.join(tables)}.")
    with kept_if_interrupted(directory), progress_display() as progress:
        tuned = tune(plan, out=directory, progress=progress, command=command)
    rows = [
        {
            "data": one.dataset,
            "rule": one.arm,
            "chosen": " ".join(one.overrides),
            "validation accuracy": one.score,
            "worst attack": one.worst_attack,
            "trials": len(one.scores),
        }
        for one in tuned
    ]
    if as_json:
        print_json({"kind": _TUNING, "command": command, "rows": rows, "directory": str(directory)})
        return
    print_rows(rows, title="Tuned by max-min over the tuning attacks, on validation data and seeds of its own")
    typer.echo(f"choices: {directory / 'choices.json'}")


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    from ceas.experiments.reproduce_tables import Interval

    return {
        key: f"{text_of(value.mean)} [{text_of(value.low)}, {text_of(value.high)}]"
        if isinstance(value, Interval)
        else value
        for key, value in row.items()
    }


def _verdict(is_met: bool | None) -> str:
    return "-" if is_met is None else "yes" if is_met else "NO"
