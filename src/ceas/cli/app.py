"""The command line as a whole: its commands, its exit codes, and the one place where errors become messages.

Exit codes, never reused:
    0    done
    1    a defect of ceas, with its traceback; of `ceas fuzz`, a schedule that failed or a forged frame that passed
    2    a mistake in the command, the scenario or a directory, one message for each
    130  interrupted by Ctrl-C
    143  ended by SIGTERM
"""

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ceas import __version__
from ceas.cli.catalogue import bench, presets, report, scenarios
from ceas.cli.circuits import circuit
from ceas.cli.fuzzing import fuzz
from ceas.cli.key_server import kme
from ceas.cli.quantum_agreement import qdba
from ceas.cli.reproduction import reproduce
from ceas.cli.runs import resume, run
from ceas.cli.studies import compare, schedule
from ceas.errors import CeasError, InterruptedRunError, ScenarioError, TerminatedError

__all__ = ["app", "main"]

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class _Commands(TyperGroup):
    """Commands whose expected errors end as messages on standard error."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _terminations_raised():
                return super().invoke(ctx)
        except InterruptedRunError as error:
            _complain(f"{error}\ncontinue with: ceas resume {shlex.quote(str(error.directory))}")
            raise typer.Exit(_status(error.__cause__)) from error
        except ScenarioError as error:
            # Each line names its source already.
            _complain(str(error))
            raise typer.Exit(EXIT_MISTAKE) from error
        except CeasError as error:
            _complain(f"error: {error}")
            raise typer.Exit(EXIT_MISTAKE) from error
        except KeyboardInterrupt as error:
            _complain("terminated" if isinstance(error, TerminatedError) else "interrupted")
            raise typer.Exit(_status(error)) from error


def _status(interruption: BaseException | None) -> int:
    return EXIT_TERMINATED if isinstance(interruption, TerminatedError) else EXIT_INTERRUPTED


@contextmanager
def _terminations_raised() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that other processes are ended and displays cleared; a second one ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise TerminatedError

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _complain(message: str) -> None:
    typer.echo(message, err=True)


app = typer.Typer(
    name="ceas",
    cls=_Commands,
    help="Distributed quantum learning on a quantum internet, co-simulated end to end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ceas {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


for _command in (
    *(run, resume, compare, schedule, reproduce, circuit, qdba, fuzz),
    *(scenarios, presets, report, bench, kme),
):
    app.command()(_command)


def main() -> None:
    """Run the command line."""
    app()
