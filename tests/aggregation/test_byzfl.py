"""Rules and pre-aggregations against ByzFL 0.0.11: recorded outputs always, ByzFL itself where it is installed."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas import aggregation

FloatArray = NDArray[np.float64]

_SCRIPT = Path(__file__).with_name("make_byzfl_vectors.py")
RECORDED = json.loads(_SCRIPT.with_name("byzfl_vectors.json").read_text("utf-8"))

OURS: dict[str, Callable[..., FloatArray]] = {
    "Average": lambda rows: aggregation.mean(rows, n_byzantine=0).value,
    "Median": lambda rows: aggregation.coordinate_median(rows, n_byzantine=0).value,
    "TrMean": lambda rows, f: aggregation.trimmed_mean(rows, n_byzantine=f).value,
    "GeometricMedian": lambda rows, **_smoothing: aggregation.geometric_median(rows, n_byzantine=0).value,
    "Krum": lambda rows, f: aggregation.krum(rows, n_byzantine=f).value,
    "MultiKrum": lambda rows, f: aggregation.multi_krum(rows, n_byzantine=f).value,
    "CenteredClipping": lambda rows, L=1, tau=100.0: (
        aggregation.centered_clipping(rows, n_byzantine=0, radius=tau, n_steps=L).value
    ),
    "MDA": lambda rows, f: aggregation.mda(rows, n_byzantine=f).value,
    "MoNNA": lambda rows, f, idx: aggregation.monna(rows, n_byzantine=f, node=idx).value,
    "Meamed": lambda rows, f: aggregation.meamed(rows, n_byzantine=f).value,
    "NNM": lambda rows, f: aggregation.nearest_neighbor_mixing(rows, n_byzantine=f),
    "Clipping": lambda rows, c: aggregation.clipping(rows, n_byzantine=0, norm=c),
    "ARC": lambda rows, f: aggregation.adaptive_robust_clipping(rows, n_byzantine=f),
}
TOLERANCE = {"GeometricMedian": 1e-6}


def _assert_as_theirs(rows: list[list[float]], case: dict[str, Any]) -> None:
    ours = OURS[case["name"]](np.array(rows), **case["given"])
    np.testing.assert_allclose(ours, case["output"], rtol=1e-10, atol=TOLERANCE.get(case["name"], 1e-10))


@pytest.mark.parametrize("name", list(OURS))
def test_recorded_outputs(name: str) -> None:
    cases = [case for case in RECORDED["cases"] if case["name"] == name]
    assert len(cases) >= len(RECORDED["inputs"]) == 4
    for case in cases:
        _assert_as_theirs(RECORDED["inputs"][case["input"]], case)


def test_byzfl_itself() -> None:
    byzfl = pytest.importorskip("byzfl")
    spec = importlib.util.spec_from_file_location("make_byzfl_vectors", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for case in script.vectors(byzfl):
        _assert_as_theirs(script.inputs()[case["input"]].tolist(), case)
