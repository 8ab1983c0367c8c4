"""`ceas fuzz`: drawn schedules, forged frames and lying ends that try to break a protocol."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ceas.cli.arguments import LARGEST_SEED, JsonOption, split_names
from ceas.cli.printing import print_json, print_pairs, print_rows
from ceas.cli.progress import progress_display
from ceas.errors import DomainError, UnknownNameError

__all__ = ["fuzz"]

# A failing schedule, an accepted forgery or a broken guarantee is a defect of ceas.
_EXIT_DEFECT = 1
# Options of each target with their defaults; an option of another target is a mistake.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "consensus": {"schedules": 1000, "n_nodes": "4-16", "part": None, "protocol": "tetrabft", "workers": 1},
    "frames": {"batches": 50, "profile": None, "workers": 1},
    "certification": {"trials": 10_000, "pairs": 4096, "tests": 1024, "delta": 0.01},
}


def fuzz(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="What to try to break: consensus, frames or certification.")
    ],
    *,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            max=LARGEST_SEED // 2,
            help="Seed of the first schedule or batch, the others follow; of all trials.",
        ),
    ] = 0,
    schedules: Annotated[
        int | None, typer.Option("--schedules", help="consensus: number of schedules.", show_default="1000")
    ] = None,
    n_nodes: Annotated[
        str | None,
        typer.Option("--n-nodes", metavar="A-B", help="consensus: range of nodes, within 4-64.", show_default="4-16"),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="NAME",
            help="consensus: round (broadcast and agreement together), agreement (alone), or all (of four seeds one of "
            "the agreement, the others of the round).",
            show_default="round",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="consensus: tetrabft, or simplex, the comparison protocol.",
            show_default="tetrabft",
        ),
    ] = None,
    batches: Annotated[
        int | None,
        typer.Option(
            "--batches",
            help="frames: batches for each profile, each of 2000 drawn and 200 changed frames.",
            show_default="50",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="A,B", help="frames: authentication profiles.", show_default="all four"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="certification: number of blocks under each attack.", show_default="10000"),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option("--pairs", help="certification: pairs of a block.", show_default="4096")
    ] = None,
    tests: Annotated[
        int | None, typer.Option("--tests", help="certification: tested pairs of a block.", show_default="1024")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option("--delta", help="certification: failure probability of a certificate.", show_default="0.01"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", help="consensus, frames: processes; the counts do not depend on it.", show_default="1"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try to break the agreement, the authentication of messages or the certification of links with what is drawn.

    consensus: schedules of lost, late and repeated messages, partitions, restarts and Byzantine nodes. A schedule
    depends on its seed, the range of nodes, part and protocol alone: repeat a failed one with --schedules 1 --seed
    SEED.

    frames: frames of drawn bytes, and correct ones that were changed, swapped or repeated, under every profile. A batch
    depends on its seed and profile alone: repeat a failed one with --batches 1 --seed SEED --profile PROFILE.

    certification: how often more is certified than is true, under every attack.

    Exit status 1 when a schedule fails, a forgery is accepted, a correct frame is refused or a guarantee does not hold.
    """
    given = {
        **{"schedules": schedules, "n_nodes": n_nodes, "part": part, "protocol": protocol, "workers": workers},
        **{"batches": batches, "profile": profile, "trials": trials, "pairs": pairs, "tests": tests, "delta": delta},
    }
    options = _options(target, given)
    if target == "frames":
        _fuzz_frames(seed=seed, as_json=as_json, **options)
    elif target == "certification":
        _fuzz_certification(seed=seed, as_json=as_json, **options)
    else:
        _fuzz_consensus(seed=seed, as_json=as_json, **options)


def _options(target: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return a target's options with its defaults where none is given.

    Raises:
        UnknownNameError: There is no such target.
        DomainError: An option belongs to another target.
    """
    if target not in _DEFAULTS:
        raise UnknownNameError("target", target, _DEFAULTS)
    defaults = _DEFAULTS[target]
    for name, value in given.items():
        if value is not None and name not in defaults:
            option = name.replace("_", "-")
            raise DomainError(f"Option `--{option}` is not one of `ceas fuzz {target}`, but is {value}.")
    return {name: default if given[name] is None else given[name] for name, default in defaults.items()}


def _fuzz_consensus(
    *, schedules: int, seed: int, n_nodes: str, part: str | None, protocol: str, workers: int, as_json: bool
) -> None:
    smallest, largest = _parsed_range(n_nodes)
    from ceas.experiments.fuzz import PROTOCOLS, fuzz_consensus

    chosen = next((one for one in PROTOCOLS if one == protocol), None)
    if chosen is None:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    if chosen != "tetrabft" and part is not None:
        raise DomainError(f"Option `--part` is not one of `--protocol {chosen}`, but is {part}.")
    with progress_display() as progress:
        document = fuzz_consensus(
            schedules=schedules,
            seed=seed,
            smallest=smallest,
            largest=largest,
            part=part or "round",
            protocol=chosen,
            workers=workers,
            progress=progress,
        )
    if as_json:
        print_json(document)
    else:
        hidden = ("failures", "schedules_of_size", "schedules_of_part")
        _print_counts(document, hidden, "failed_seeds", title="Schedules of the consensus")
        if document["failures"]:
            print_rows(document["failures"], title="Failures, the first of them")
            first = document["failures"][0]
            which = f"--part {first['part']}" if chosen == "tetrabft" else f"--protocol {chosen}"
            typer.echo(f"replay: ceas fuzz consensus --schedules 1 --seed {first['seed']} --n-nodes {n_nodes} {which}")
    if document["failed_seeds"]:
        raise typer.Exit(_EXIT_DEFECT)


def _fuzz_frames(*, batches: int, seed: int, profile: str | None, workers: int, as_json: bool) -> None:
    from ceas.experiments.fuzz_frames import fuzz_frames

    chosen = None if profile is None else split_names("--profile", profile)
    with progress_display() as progress:
        document = fuzz_frames(batches=batches, seed=seed, profiles=chosen, workers=workers, progress=progress)
    if as_json:
        print_json(document)
    else:
        _print_counts(document, ("failures", "profiles"), "failed_seeds", title="Forged frames")
        print_rows([{k: v for k, v in row.items() if k != "rejected"} for row in document["profiles"]])
        if document["failures"]:
            print_rows(document["failures"], title="Failures, the first of them")
            first = document["failures"][0]
            typer.echo(f"replay: ceas fuzz frames --batches 1 --seed {first['seed']} --profile {first['profile']}")
    if document["failed_seeds"]:
        raise typer.Exit(_EXIT_DEFECT)


def _fuzz_certification(*, trials: int, seed: int, pairs: int, tests: int, delta: float, as_json: bool) -> None:
    from ceas.experiments.fuzz_certification import fuzz_certification

    with progress_display() as progress:
        document = fuzz_certification(
            trials=trials, seed=seed, n_pairs=pairs, n_tests=tests, failure_probability=delta, progress=progress
        )
    if as_json:
        print_json(document)
    else:
        _print_counts(document, ("attacks",), "failures", title="Certified blocks")
        columns = ("attack", "certified", "flagged", "mean_certified", "mean_truth", "epsilon", "above", "above_limit")
        kept = (*columns, "bound_above", "bound_above_limit", "differing", "holds")
        for is_guaranteed, title in ((True, "Attacks"), (False, "Outside the guarantee")):
            rows = [row for row in document["attacks"] if row["is_guaranteed"] == is_guaranteed]
            print_rows([{key: row[key] for key in kept} for row in rows], title=title)
    if document["failures"]:
        raise typer.Exit(_EXIT_DEFECT)


def _print_counts(document: Mapping[str, Any], hidden: tuple[str, ...], failed: str, *, title: str) -> None:
    shown = {key: value for key, value in document.items() if key not in hidden}
    print_pairs(shown | {failed: ", ".join(map(str, document[failed])) or "none"}, title=title)


def _parsed_range(text: str) -> tuple[int, int]:
    """Read `A-B` or `A`.

    Raises:
        DomainError: The text has another form.
    """
    found = re.fullmatch(r"\s*([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?\s*", text)
    if found is None:
        raise DomainError(f"Option `--n-nodes` must have the form A-B, for example 4-16, but is {text!r}.")
    return int(found[1]), int(found[2] or found[1])
