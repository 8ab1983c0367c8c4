"""Benchmarks by name."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ceas.errors import ScenarioError
from ceas.experiments.registry import parameter_mistakes, resolve
from ceas.runtime.progress import Progress

__all__ = ["run_benchmark"]


def run_benchmark(name: str, *, progress: Progress | None = None, **parameters: Any) -> Sequence[Mapping[str, Any]]:
    """Run one benchmark and return the rows of its tables, measured in this process and others that it starts.

    Rows with the same value of `table`, where a benchmark gives one, belong to one table.

    Args:
        name: Its name.
        progress: Told how far it is, if the benchmark says so.
        **parameters: Its own parameters.

    Raises:
        UnknownNameError: There is no such benchmark.
        ScenarioError: It has no such parameter, or not of this type.
    """
    target = resolve("benchmark", name)
    mistakes = parameter_mistakes("benchmark", name, parameters)
    if mistakes:
        raise ScenarioError(f"benchmark {name}", [f"{key}: {text}" for key, text in mistakes.items()])
    if progress is not None and "progress" in inspect.signature(target).parameters:
        parameters["progress"] = progress
    rows: Sequence[Mapping[str, Any]] = target(**parameters)
    return rows
