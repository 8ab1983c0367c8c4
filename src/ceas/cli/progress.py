"""The display of a running co-simulation on standard error: a bar on a terminal, sparse lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ceas.experiments import Progress, ProgressEvent

__all__ = ["progress_display"]

# Lines in a log file for a whole run.
_LINES_PER_RUN = 10


@contextmanager
def progress_display() -> "Iterator[Progress]":
    """Show progress while the block runs; yields what to call with each event."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _line_printer()


@contextmanager
def _bar() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, figures="")

        def show(event: "ProgressEvent") -> None:
            if event.note:
                bar.console.print(escape(event.note), highlight=False)
            bar.update(
                task,
                description=escape(event.phase),
                completed=event.training_round,
                total=event.rounds,
                figures=_figures(event),
            )

        yield show


def _line_printer() -> "Progress":
    """Print a line when the phase changes, at every tenth of the rounds and at the end."""
    printed: tuple[str, int] | None = None

    def show(event: "ProgressEvent") -> None:
        nonlocal printed
        if event.note:
            typer.echo(event.note, err=True)
        step = (event.phase, _LINES_PER_RUN * event.training_round // max(event.rounds, 1))
        if step != printed:
            printed = step
            figures = _figures(event)
            count = f"{event.training_round}/{event.rounds}"
            typer.echo(f"{event.phase} {count}{f'  {figures}' if figures else ''}", err=True)

    return show


def _figures(event: "ProgressEvent") -> str:
    parts = []
    if event.test_accuracy is not None:
        parts.append(f"test accuracy {event.test_accuracy:.3f}")
    if event.utilisation is not None:
        parts.append(f"pairs used {100 * event.utilisation:.1f} %")
    return "  ".join(parts)
