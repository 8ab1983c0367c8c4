"""`ceas fuzz`: drawn schedules and attacks that try to break a protocol."""

import re
from typing import Annotated

import typer

from ceas.cli.arguments import LARGEST_SEED, JsonOption
from ceas.cli.printing import print_json, print_pairs, print_rows
from ceas.cli.progress import progress_display
from ceas.errors import DomainError, UnknownNameError

__all__ = ["fuzz"]

_PROTOCOLS = ("consensus", "certification")
# A failing schedule is a defect of ceas.
_EXIT_DEFECT = 1
_SCHEDULES, _TRIALS = 1000, 10_000
_PAIRS, _TESTS, _DELTA = 4096, 1024, 0.01


def fuzz(
    protocol: Annotated[
        str, typer.Argument(metavar="PROTOCOL", help="What to try to break: consensus or certification.")
    ],
    *,
    schedules: Annotated[
        int | None, typer.Option("--schedules", help=f"consensus: number of schedules. [default: {_SCHEDULES}]")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, max=LARGEST_SEED // 2, help="Seed of the first schedule, the others follow; of all trials."
        ),
    ] = 0,
    n_nodes: Annotated[
        str | None,
        typer.Option("--n-nodes", metavar="A-B", help="consensus: range of nodes, within 4-64. [default: 4-16]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="consensus: processes; the counts do not depend on it. [default: 1]")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help=f"certification: number of blocks under each attack. [default: {_TRIALS}]"),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option("--pairs", help=f"certification: pairs of a block. [default: {_PAIRS}]")
    ] = None,
    tests: Annotated[
        int | None, typer.Option("--tests", help=f"certification: tested pairs of a block. [default: {_TESTS}]")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option("--delta", help=f"certification: failure probability of a certificate. [default: {_DELTA}]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try to break the agreement by drawn schedules, or the certification of links by lying ends.

    consensus: lost, late and repeated messages, partitions, restarts and Byzantine nodes. A schedule depends on its
    seed and the range of nodes alone: repeat a failed one with --schedules 1 --seed SEED. certification: how often more
    is certified than is true, under every attack. Exit status 1 when a schedule fails or a guarantee does not hold.
    """
    if protocol not in _PROTOCOLS:
        raise UnknownNameError("protocol", protocol, _PROTOCOLS)
    of_schedules = {"--schedules": schedules, "--n-nodes": n_nodes, "--workers": workers}
    of_trials = {"--trials": trials, "--pairs": pairs, "--tests": tests, "--delta": delta}
    for option, value in (of_trials if protocol == "consensus" else of_schedules).items():
        if value is not None:
            raise DomainError(f"Option `{option}` does not belong to `{protocol}`, but is {value}.")
    if protocol == "certification":
        _fuzz_certification(
            trials=_TRIALS if trials is None else trials,
            seed=seed,
            n_pairs=_PAIRS if pairs is None else pairs,
            n_tests=_TESTS if tests is None else tests,
            delta=_DELTA if delta is None else delta,
            as_json=as_json,
        )
    else:
        _fuzz_consensus(
            schedules=_SCHEDULES if schedules is None else schedules,
            seed=seed,
            n_nodes="4-16" if n_nodes is None else n_nodes,
            workers=1 if workers is None else workers,
            as_json=as_json,
        )


def _fuzz_consensus(*, schedules: int, seed: int, n_nodes: str, workers: int, as_json: bool) -> None:
    smallest, largest = _parsed_range(n_nodes)
    from ceas.experiments.fuzz import fuzz_consensus

    with progress_display() as progress:
        document = fuzz_consensus(
            schedules=schedules, seed=seed, smallest=smallest, largest=largest, workers=workers, progress=progress
        )
    if as_json:
        print_json(document)
    else:
        shown = {key: value for key, value in document.items() if key not in ("failures", "schedules_of_size")}
        failed = document["failed_seeds"]
        print_pairs(shown | {"failed_seeds": ", ".join(map(str, failed)) or "none"}, title="Schedules of the agreement")
        if document["failures"]:
            print_rows(document["failures"], title="Failures, the first of them")
            first = document["failures"][0]["seed"]
            typer.echo(f"replay: ceas fuzz consensus --schedules 1 --seed {first} --n-nodes {n_nodes}")
    if document["failed_seeds"]:
        raise typer.Exit(_EXIT_DEFECT)


def _fuzz_certification(*, trials: int, seed: int, n_pairs: int, n_tests: int, delta: float, as_json: bool) -> None:
    from ceas.experiments.fuzz_certification import fuzz_certification

    with progress_display() as progress:
        document = fuzz_certification(
            trials=trials, seed=seed, n_pairs=n_pairs, n_tests=n_tests, failure_probability=delta, progress=progress
        )
    if as_json:
        print_json(document)
    else:
        shown = {key: value for key, value in document.items() if key not in ("attacks", "failures")}
        print_pairs(shown | {"failures": ", ".join(document["failures"]) or "none"}, title="Certified blocks")
        columns = ("attack", "certified", "flagged", "mean_certified", "mean_truth", "epsilon", "above", "above_limit")
        kept = (*columns, "bound_above", "bound_above_limit", "differing", "holds")
        for is_guaranteed, title in ((True, "Attacks"), (False, "Outside the guarantee")):
            rows = [row for row in document["attacks"] if row["is_guaranteed"] == is_guaranteed]
            print_rows([{key: row[key] for key in kept} for row in rows], title=title)
    if document["failures"]:
        raise typer.Exit(_EXIT_DEFECT)


def _parsed_range(text: str) -> tuple[int, int]:
    """Read `A-B` or `A`.

    Raises:
        DomainError: The text has another form.
    """
    found = re.fullmatch(r"\s*([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?\s*", text)
    if found is None:
        raise DomainError(f"Option `--n-nodes` must have the form A-B, for example 4-16, but is {text!r}.")
    return int(found[1]), int(found[2] or found[1])
