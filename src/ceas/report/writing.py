"""Which page some directories get, and where it is written."""

from collections.abc import Sequence
from pathlib import Path

from ceas.errors import DomainError, RunDirectoryError
from ceas.experiments.result_tables import write_atomically
from ceas.report.benchmark_page import benchmark_page
from ceas.report.comparison_page import comparison_page
from ceas.report.learning_benchmark_page import learning_benchmark_page
from ceas.report.reference_page import reference_page
from ceas.report.reproduction_page import reproduction_page
from ceas.report.run_page import run_page
from ceas.report.schedule_page import schedule_page
from ceas.report.side_by_side_page import side_by_side_page
from ceas.report.source import (
    is_benchmark,
    is_comparison,
    is_reproduction,
    is_schedule,
    load_benchmark,
    load_comparison,
    load_reproduction,
    load_run,
    read_schedule,
)

__all__ = ["write_page"]

_BENCHMARK_PAGES = {
    "scheduling": benchmark_page,
    "learning": learning_benchmark_page,
    "reference": reference_page,
}


def _page(directories: Sequence[Path]) -> str:
    if len(directories) == 1:
        only = directories[0]
        if is_benchmark(only):
            found = load_benchmark(only)
            return _BENCHMARK_PAGES[found.name](found.rows, is_quick=found.is_quick)
        if is_schedule(only):
            return schedule_page(read_schedule(only))
        if is_reproduction(only):
            return reproduction_page(load_reproduction(only))
        return comparison_page(load_comparison(only)) if is_comparison(only) else run_page(load_run(only))
    for directory in directories:
        if is_comparison(directory):
            raise RunDirectoryError(f"{directory} holds a comparison; only runs can be shown side by side.")
        if is_benchmark(directory):
            raise RunDirectoryError(f"{directory} holds a benchmark; only runs can be shown side by side.")
        if is_schedule(directory):
            raise RunDirectoryError(f"{directory} holds a schedule study; only runs can be shown side by side.")
        if is_reproduction(directory):
            raise RunDirectoryError(f"{directory} holds a reproduction; only runs can be shown side by side.")
    return side_by_side_page([load_run(directory) for directory in directories])


def write_page(directories: Sequence[Path], out: Path | None) -> Path:
    """Write the page of the directories; arguments and errors are those of `ceas.report.write_report`."""
    if not directories:
        raise DomainError("Argument `directories` must hold at least one run directory, but is empty.")
    text = _page(directories)
    path = out or directories[0] / ("report.html" if len(directories) == 1 else "side_by_side.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise RunDirectoryError(f"{path}: the page cannot be written: {error}") from error
    return path
