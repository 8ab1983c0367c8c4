"""`ceas fuzz`: drawn schedules that try to break a protocol."""

import re
from typing import Annotated

import typer

from ceas.cli.arguments import LARGEST_SEED, JsonOption
from ceas.cli.printing import print_json, print_pairs, print_rows
from ceas.cli.progress import progress_display
from ceas.errors import DomainError, UnknownNameError

__all__ = ["fuzz"]

_PROTOCOLS = ("consensus",)
# A failing schedule is a defect of ceas.
_EXIT_DEFECT = 1


def fuzz(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="What to try to break: consensus.")],
    *,
    schedules: Annotated[int, typer.Option("--schedules", help="Number of schedules.")] = 1000,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=LARGEST_SEED // 2, help="Seed of the first schedule; the others follow.")
    ] = 0,
    n_nodes: Annotated[
        str, typer.Option("--n-nodes", metavar="A-B", help="Range of the numbers of nodes, within 4-64.")
    ] = "4-16",
    workers: Annotated[int, typer.Option("--workers", help="Processes; the counts do not depend on it.")] = 1,
    consensus_protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="tetrabft, or simplex, the comparison protocol.")
    ] = "tetrabft",
    as_json: JsonOption = False,
) -> None:
    """Run drawn schedules of lost, late and repeated messages, partitions, restarts and Byzantine nodes.

    A schedule depends on its seed and the range of nodes alone: repeat a failed one with --schedules 1 --seed SEED.
    Exit status 1 when a schedule fails.
    """
    if protocol not in _PROTOCOLS:
        raise UnknownNameError("protocol", protocol, _PROTOCOLS)
    smallest, largest = _parsed_range(n_nodes)
    from ceas.experiments.fuzz import PROTOCOLS, fuzz_consensus

    chosen = next((one for one in PROTOCOLS if one == consensus_protocol), None)
    if chosen is None:
        raise UnknownNameError("protocol", consensus_protocol, PROTOCOLS)

    with progress_display() as progress:
        document = fuzz_consensus(
            schedules=schedules,
            seed=seed,
            smallest=smallest,
            largest=largest,
            workers=workers,
            protocol=chosen,
            progress=progress,
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
            which = "" if chosen == "tetrabft" else f" --protocol {chosen}"
            typer.echo(f"replay: ceas fuzz consensus --schedules 1 --seed {first} --n-nodes {n_nodes}{which}")
    if document["failed_seeds"]:
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
