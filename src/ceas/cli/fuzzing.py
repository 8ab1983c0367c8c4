"""`ceas fuzz`: drawn schedules that try to break the agreement, and forged frames that try to pass for true ones."""

import re
from typing import Annotated

import typer

from ceas.cli.arguments import LARGEST_SEED, JsonOption, split_names
from ceas.cli.printing import print_json, print_pairs, print_rows
from ceas.cli.progress import progress_display
from ceas.errors import DomainError, UnknownNameError

__all__ = ["fuzz"]

_PROTOCOLS = ("consensus", "frames")
# A failing schedule or an accepted forgery is a defect of ceas.
_EXIT_DEFECT = 1


def fuzz(
    protocol: Annotated[str, typer.Argument(metavar="PROTOCOL", help="What to try to break: consensus or frames.")],
    *,
    schedules: Annotated[
        int | None, typer.Option("--schedules", help="consensus: number of schedules.", show_default="1000")
    ] = None,
    batches: Annotated[
        int | None,
        typer.Option(
            "--batches",
            help="frames: batches for each profile, each of 2000 drawn and 200 changed frames.",
            show_default="50",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, max=LARGEST_SEED // 2, help="Seed of the first schedule or batch; the others follow."
        ),
    ] = 0,
    n_nodes: Annotated[
        str | None,
        typer.Option(
            "--n-nodes",
            metavar="A-B",
            help="consensus: range of the numbers of nodes, within 4-64.",
            show_default="4-16",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="A,B", help="frames: authentication profiles.", show_default="all four"),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes; the counts do not depend on it.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Try to break the agreement (consensus) or the authentication of messages (frames) with what is drawn.

    consensus: schedules of lost, late and repeated messages, partitions, restarts and Byzantine nodes. A schedule
    depends on its seed and the range of nodes alone: repeat a failed one with --schedules 1 --seed SEED.

    frames: frames of drawn bytes, and correct ones that were changed, swapped or repeated, under every profile. A batch
    depends on its seed and profile alone: repeat a failed one with --batches 1 --seed SEED --profile PROFILE.

    Exit status 1 when a schedule fails, a forgery is accepted or a correct frame is refused.
    """
    if protocol not in _PROTOCOLS:
        raise UnknownNameError("protocol", protocol, _PROTOCOLS)
    others = {"--batches": batches, "--profile": profile}
    if protocol == "frames":
        others = {"--schedules": schedules, "--n-nodes": n_nodes}
    for option, value in others.items():
        if value is not None:
            raise DomainError(f"Option `{option}` is not one of `ceas fuzz {protocol}`.")
    if protocol == "frames":
        _fuzz_frames(50 if batches is None else batches, seed, profile, workers, as_json)
    else:
        _fuzz_consensus(1000 if schedules is None else schedules, seed, n_nodes or "4-16", workers, as_json)


def _fuzz_consensus(schedules: int, seed: int, n_nodes: str, workers: int, as_json: bool) -> None:
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


def _fuzz_frames(batches: int, seed: int, profiles: str | None, workers: int, as_json: bool) -> None:
    from ceas.experiments.fuzz_frames import fuzz_frames

    chosen = None if profiles is None else split_names("--profile", profiles)
    with progress_display() as progress:
        document = fuzz_frames(
            batches=batches,
            seed=seed,
            profiles=chosen,
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json(document)
    else:
        shown = {key: value for key, value in document.items() if key not in ("failures", "profiles")}
        failed = document["failed_seeds"]
        print_pairs(shown | {"failed_seeds": ", ".join(map(str, failed)) or "none"}, title="Forged frames")
        print_rows([{k: v for k, v in row.items() if k != "rejected"} for row in document["profiles"]])
        if document["failures"]:
            print_rows(document["failures"], title="Failures, the first of them")
            first = document["failures"][0]
            typer.echo(f"replay: ceas fuzz frames --batches 1 --seed {first['seed']} --profile {first['profile']}")
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
