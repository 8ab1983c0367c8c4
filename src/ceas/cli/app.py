"""The command line as a whole: its commands, its exit codes, and the one place where errors become messages.

Exit codes, never reused:
    0    done
    1    a defect of ceas, with its traceback
    2    a mistake in the command, the scenario or a directory, one message for each
    130  interrupted
"""

import shlex
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ceas import __version__
from ceas.cli.catalogue import bench, presets, report, scenarios
from ceas.cli.runs import resume, run
from ceas.cli.studies import compare, schedule
from ceas.errors import CeasError, InterruptedRunError, ScenarioError

__all__ = ["app", "main"]

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class _Commands(TyperGroup):
    """Commands whose expected errors end as messages on standard error."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InterruptedRunError as error:
            _complain(f"{error}\ncontinue with: ceas resume {shlex.quote(str(error.directory))}")
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except ScenarioError as error:
            # Each line names its source already.
            _complain(str(error))
            raise typer.Exit(EXIT_MISTAKE) from error
        except CeasError as error:
            _complain(f"error: {error}")
            raise typer.Exit(EXIT_MISTAKE) from error
        except KeyboardInterrupt as error:
            _complain("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from error


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


for _command in (run, resume, compare, schedule, scenarios, presets, report, bench):
    app.command()(_command)


def main() -> None:
    """Run the command line."""
    app()
