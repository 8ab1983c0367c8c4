"""Write byzfl_vectors.json: what ByzFL's rules and pre-aggregations make of random inputs without ties.

Run with ByzFL 0.0.11 installed: `python tests/aggregation/make_byzfl_vectors.py`. The rows of the inputs are sorted:
where ByzFL takes the first of several subsets of the same diameter, that is then also the first for `ceas`.

Left out, as ByzFL's own output depends on a random start or draw: CAF and SMEA (one power iteration from a random
vector) and Bucketing. Their definitions are tested by brute force in test_selection.py.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).parent / "byzfl_vectors.json"
SHAPES = ((9, 5, 2), (13, 4, 4), (11, 7, 1), (12, 3, 5))
"""Nodes, parameters, declared attackers."""

AGGREGATORS = ("Average", "Median", "TrMean", "GeometricMedian", "Krum", "MultiKrum", "CenteredClipping", "MDA")
AGGREGATORS += ("MoNNA", "Meamed")
PREAGGREGATORS = ("NNM", "Clipping", "ARC")


def parameters(name: str, f: int) -> list[dict[str, Any]]:
    """List what each of ByzFL's classes is called with."""
    if name in ("Average", "Median"):
        return [{}]
    if name == "GeometricMedian":
        # Its default of three steps from the origin is not converged, which `ceas` does not reproduce.
        return [{"nu": 1e-9, "T": 5000}]
    if name == "CenteredClipping":
        return [{}, {"L": 3, "tau": 1.5}, {"L": 1, "tau": 0.7}]
    if name == "MoNNA":
        return [{"f": f, "idx": 0}, {"f": f, "idx": 4}]
    if name == "Clipping":
        return [{"c": 2.0}, {"c": 0.8}]
    return [{"f": f}]


def inputs() -> list[NDArray[np.float64]]:
    """Draw one cloud per shape, with its attackers to one side."""
    clouds = []
    for seed, (n_nodes, n_parameters, f) in enumerate(SHAPES):
        rows = np.random.default_rng(seed).normal(size=(n_nodes, n_parameters))
        rows[:f] += 3.0
        clouds.append(rows[np.lexsort(rows.T[::-1])])
    return clouds


def vectors(byzfl: Any) -> list[dict[str, Any]]:
    """Run all of ByzFL's deterministic classes on all inputs."""
    cases = []
    for place, (rows, (_, _, f)) in enumerate(zip(inputs(), SHAPES, strict=True)):
        for name in (*AGGREGATORS, *PREAGGREGATORS):
            for given in parameters(name, f):
                # A copy, as some of these classes change their argument.
                output = getattr(byzfl, name)(**given)(rows.copy())
                cases.append({"name": name, "given": given, "input": place, "output": np.asarray(output).tolist()})
    return cases


def main() -> None:
    """Write the file beside this one."""
    byzfl = importlib.import_module("byzfl")
    content = {"peer": "byzfl 0.0.11", "inputs": [rows.tolist() for rows in inputs()], "cases": vectors(byzfl)}
    PATH.write_text(json.dumps(content, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
