"""Benchmarks by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from ceas.experiments.registry import resolve

__all__ = ["run_benchmark"]


def run_benchmark(name: str) -> Sequence[Mapping[str, Any]]:
    """Run one benchmark and return the rows of its table, measured in this process.

    Raises:
        UnknownNameError: There is no such benchmark.
    """
    rows: Sequence[Mapping[str, Any]] = resolve("benchmark", name)()
    return rows
