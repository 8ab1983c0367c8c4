"""`ceas compare` and `ceas schedule`: many runs, one table."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ceas.cli.arguments import (
    FirstSeedOption,
    JsonOption,
    OutOption,
    ScenarioArgument,
    SeedsOption,
    SetOption,
    split_names,
)
from ceas.cli.printing import print_json, print_rows, text_of
from ceas.cli.progress import progress_display
from ceas.cli.schedule_tables import print_study
from ceas.errors import DomainError

if TYPE_CHECKING:
    from ceas.experiments import Comparison, ComparisonCell

__all__ = ["compare", "kept_if_interrupted", "schedule"]

_Parsed = TypeVar("_Parsed")

_REFERENCES = {
    "test_accuracy_logistic": "test accuracy of logistic regression",
    "test_accuracy_separable": "test accuracy of the separable circuit",
}


@contextmanager
def kept_if_interrupted(directory: Path) -> Iterator[None]:
    """Say where finished runs are when the block is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"finished runs are kept in {directory}; repeat the command to go on", err=True)
        raise


def compare(
    scenario: ScenarioArgument,
    *,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="A,B",
            help="Aggregation rules: RULE, RULE(KEY=VALUE,...), RULE+debiased, RULE@POLICY(KEY=VALUE,...).",
        ),
    ],
    attacks: Annotated[
        str | None,
        typer.Option(
            "--attacks",
            metavar="X,Y",
            help="Attacks: ATTACK, ATTACK(KEY=VALUE,...), ATTACK#NUMBER of attackers; default: the scenario's own.",
        ),
    ] = None,
    n_byzantine: Annotated[
        str | None,
        typer.Option(
            "--n-byzantine",
            metavar="F,G/D",
            help="Numbers of attackers, each for every attack, perhaps with the number D that the rule is told of; "
            "default: the scenario's.",
        ),
    ] = None,
    seeds: SeedsOption = 3,
    first_seed: FirstSeedOption = 0,
    out: OutOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods under attacks, on the same networks, with 95 % confidence intervals.

    Finished runs are kept: repeat the command to go on after an interruption, or with more seeds, methods or attacks to
    add them. The page of a folder shows the scenario compared last; runs under other settings stay apart.
    """
    from ceas.experiments import load_scenario

    loaded = load_scenario(scenario, overrides or ())
    method_names = _methods(methods)
    attack_names = _attacks(loaded.byzantine.attack if attacks is None else attacks, n_byzantine)
    directory = out or Path("runs") / f"{loaded.name}-comparison"
    settings = [part for text in overrides or () for part in ("--set", text)]
    choices = ["--methods", ",".join(method_names), "--attacks", ",".join(attack_names), "--seeds", str(seeds)]
    command = ["ceas", "compare", scenario, *choices, "--first-seed", str(first_seed), *settings]
    # Only now, so that a mistake above is told before the simulator is loaded.
    from ceas.experiments import compare as compare_methods

    with kept_if_interrupted(directory), progress_display() as progress:
        comparison = compare_methods(
            loaded,
            methods=method_names,
            attacks=attack_names,
            seeds=range(first_seed, first_seed + seeds),
            out=directory,
            progress=progress,
            command=shlex.join(command),
        )
    if as_json:
        head = {"scenario": loaded.name, "seeds": seeds, "directory": str(directory)}
        cells = [asdict(cell) for cell in comparison.cells]
        references = {name: asdict(interval) for name, interval in comparison.references.items()}
        print_json({**head, "cells": cells, "references": references})
        return
    title = f"{loaded.name}: mean over {seeds} seeds [95 % confidence interval]"
    print_rows([_comparison_row(cell) for cell in comparison.cells], title=title)
    _print_references(comparison)
    typer.echo(f"rows: {directory / 'compare.parquet'}")


def _methods(text: str) -> list[str]:
    from ceas.experiments.comparison_names import parse_method

    return [str(method) for method in _parsed("--methods", text, parse_method)]


def _attacks(text: str, n_byzantine: str | None) -> list[str]:
    from ceas.experiments.comparison_names import attack_names, parse_attack, parse_attackers

    counts = [] if n_byzantine is None else _parsed("--n-byzantine", n_byzantine, parse_attackers)
    return attack_names(list(map(str, _parsed("--attacks", text, parse_attack))), list(map(str, counts)))


def _parsed(option: str, text: str, parse: Callable[[str], _Parsed]) -> list[_Parsed]:
    """Read a list of names, each once, and say which option it is that cannot be read."""
    from ceas.experiments.comparison_names import split_names as split_outside_brackets

    try:
        found = [parse(part) for part in split_outside_brackets(text)]
    except DomainError as error:
        raise DomainError(f"Option `{option}`: {error}") from error
    if not found:
        raise DomainError(f"Option `{option}` must list at least one name, but is {text!r}.")
    return list({str(one): one for one in found}.values())


def _comparison_row(cell: "ComparisonCell") -> dict[str, str]:
    return {
        "attack": cell.attack,
        "method": cell.method,
        "test accuracy": _with_interval(cell, "test_accuracy"),
        "last five": _with_interval(cell, "test_accuracy_last5"),
        "pairs used": _with_interval(cell, "bell_pair_utilisation"),
        "delivered value": _with_interval(cell, "delivered_value"),
        "to learning": _with_interval(cell, "value_learning"),
        "gradient variance": _with_interval(cell, "gradient_variance"),
    }


def _with_interval(cell: "ComparisonCell", metric: str) -> str:
    return _interval_text(cell.means[metric], *cell.intervals[metric])


def _interval_text(mean: float, low: float, high: float) -> str:
    return f"{text_of(mean)} [{text_of(low)}, {text_of(high)}]"


def _print_references(comparison: "Comparison") -> None:
    """Print once what does not depend on method and attack."""
    for name, label in _REFERENCES.items():
        if (found := comparison.references.get(name)) is not None:
            typer.echo(f"{label} on the same features: {_interval_text(found.mean, found.low, found.high)}")


def schedule(
    scenario: ScenarioArgument,
    *,
    policies: Annotated[
        str | None, typer.Option("--policies", metavar="A,B", help="Scheduling policies; default: all.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds; default: the scenario's.")] = None,
    seeds: SeedsOption = 3,
    first_seed: FirstSeedOption = 0,
    tuning_rounds: Annotated[
        int,
        typer.Option(
            "--tuning-rounds", min=0, help="Rounds on seeds of their own in which every policy is tuned; 0 for none."
        ),
    ] = 4,
    bound_rounds: Annotated[
        int, typer.Option("--bound-rounds", min=0, help="First rounds to compare with a bound on value; 0 for none.")
    ] = 20,
    out: OutOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare scheduling policies on the network alone, without learning, each tuned with the same effort.

    Finished runs are kept: repeat the command to go on after an interruption, or with more seeds to add them.
    """
    from ceas.experiments import load_scenario, names

    loaded = load_scenario(scenario, overrides or ())
    chosen = split_names("--policies", policies) if policies is not None else names("policy")
    directory = out or Path("runs") / f"{loaded.name}-schedule"
    command = ["ceas", "schedule", scenario, *(("--policies", ",".join(chosen)) if policies is not None else ())]
    command += ["--rounds", str(rounds)] if rounds is not None else []
    command += ["--seeds", str(seeds), "--first-seed", str(first_seed), "--tuning-rounds", str(tuning_rounds)]
    command += ["--bound-rounds", str(bound_rounds), *(part for text in overrides or () for part in ("--set", text))]
    from ceas.experiments import schedule_policies

    with kept_if_interrupted(directory), progress_display() as progress:
        study = schedule_policies(
            loaded,
            policies=chosen,
            seeds=range(first_seed, first_seed + seeds),
            rounds=rounds,
            tuning_rounds=tuning_rounds,
            bound_rounds=bound_rounds,
            out=directory,
            progress=progress,
            command=shlex.join(command),
        )
    from ceas.report import write_report

    page = write_report([directory])
    if as_json:
        from ceas.experiments import study_document

        print_json({**study_document(study), "directory": str(directory)})
        return
    print_study(study)
    typer.echo(f"rows: {directory / 'schedule.parquet'}\nreport: {page}")
