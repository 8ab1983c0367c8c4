"""Benchmarks by name."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ceas.errors import ScenarioError
from ceas.experiments.registry import parameter_mistakes, resolve
from ceas.runtime.progress import Progress

__all__ = ["printed_rows", "run_benchmark"]


def run_benchmark(
    name: str, parameters: Mapping[str, Any] | None = None, *, progress: Progress | None = None
) -> Sequence[Mapping[str, Any]]:
    """Run one benchmark and return the rows of its tables, measured in this process and others that it starts.

    Rows with the same value of `table`, where a benchmark gives one, belong to one table.

    Args:
        name: Its name.
        parameters: Its own parameters.
        progress: Told how far it is, if the benchmark says so.

    Raises:
        UnknownNameError: There is no such benchmark.
        ScenarioError: It has no such parameter, or not of this type.
    """
    target = resolve("benchmark", name)
    given = dict(parameters or {})
    mistakes = parameter_mistakes("benchmark", name, given)
    if mistakes:
        raise ScenarioError(f"benchmark {name}", [f"{key}: {text}" for key, text in mistakes.items()])
    if progress is not None and "progress" in inspect.signature(target).parameters:
        given["progress"] = progress
    rows: Sequence[Mapping[str, Any]] = target(**given)
    return rows


def printed_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return what of a benchmark's rows is printed: where many are alike, what they come to."""
    if name == "network":
        from ceas.experiments.benchmark_network import printed_rows as of_network  # noqa: PLC0415

        return of_network(rows)
    return rows
