"""The reference benchmark: parts that are kept, models that are the published ones, and its page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments import benchmark_reference
from ceas.experiments.benchmark_reference import PARTS, benchmark
from ceas.experiments.benchmark_reference_fidelity import TABLES, _theory
from ceas.experiments.benchmark_reference_intervals import variance_ratio
from ceas.experiments.benchmark_reference_partitions import partitions_part
from ceas.experiments.benchmark_reference_published import ENTRANTS, PUBLISHED
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.classifier import scores, split_parameters
from ceas.learning.pure_runs import angles_of, evolve
from ceas.report import write_report
from ceas.runtime.progress import ProgressEvent


def test_parts_are_kept_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*, seeds: int, is_quick: bool) -> list[dict[str, Any]]:
        calls.append(seeds)
        return [{"table": "counted", "value": np.float64(0.5), "is_quick": is_quick}]

    monkeypatch.setattr(benchmark_reference, "PARTS", {"partitions": counted})
    events: list[ProgressEvent] = []
    first = benchmark(out=str(tmp_path), seeds=3, progress=events.append)
    again = benchmark(out=str(tmp_path), seeds=3)
    other = benchmark(out=str(tmp_path), seeds=3, quick=True)
    assert first == again == [{"table": "counted", "value": 0.5, "is_quick": False}]
    assert other[0]["is_quick"] is True
    # Two seeds are all that a short benchmark has.
    assert calls == [3, 2]
    assert [event.phase for event in events] == ["partitions", "done"]
    kept = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert kept == {"benchmark": "reference", "rows": other, "is_quick": True}


def test_half_a_file_is_measured_again(tmp_path: Path) -> None:
    rows = benchmark(only="partitions", quick=True, out=str(tmp_path))
    (tmp_path / "partitions.json").write_text('{"rows": [')
    assert benchmark(only="partitions", quick=True, out=str(tmp_path)) == rows


def test_arguments_that_are_wrong() -> None:
    with pytest.raises(UnknownNameError, match="part"):
        benchmark(only="partition")
    with pytest.raises(DomainError, match="only"):
        benchmark(only=" , ")
    with pytest.raises(DomainError, match="seeds"):
        benchmark(only="partitions", seeds=1)
    assert list(PARTS) == ["published", "partitions", "fidelity", "shots", "fisher"]


def test_pairs_of_known_circuits() -> None:
    """A chain of 4 crosses once a layer; a separable circuit never; layers move all qubits once."""
    rows = {row["circuit"]: row for row in partitions_part(is_quick=True)}
    assert rows["hardware_efficient chain"]["qubit"] == 3
    assert rows["hardware_efficient ring"]["qubit"] == 6
    assert rows["separable"]["auto"] == rows["separable"]["qubit unshared"] == 0
    assert {row["layer"] for row in rows.values()} == {4}
    assert all(row["auto"] <= row["qubit"] <= row["qubit unshared"] for row in rows.values())


def test_variance_ratio_is_the_chi_square_interval() -> None:
    """Of 10 values with 9 degrees of freedom; quantiles 1.735 and 23.589 from tables."""
    values = np.arange(10.0)
    found = variance_ratio(values, values.var(ddof=1))
    assert found.ratio == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((9 / 23.589, 9 / 1.735), rel=1e-3)
    assert found.holds_one
    assert variance_ratio(values, 1.0, mean=0.0).ratio == pytest.approx((values**2).mean())
    assert not variance_ratio(values, 100.0).holds_one


def test_the_separable_model_reads_the_mean() -> None:
    entrant, rng = ENTRANTS["SeparableVariational"], np.random.default_rng(0)
    model = entrant.build(3, 2)
    theta, samples = entrant.start(model, rng), rng.uniform(-1.5, 1.5, (5, 3))
    values = evolve(
        model.circuit, (0, 1, 2), angles_of(model.circuit, split_parameters(model, theta).circuit, samples)
    ).values
    found = scores(model, theta, values)
    np.testing.assert_allclose(found[:, 0] - found[:, 1], 6 * values.mean(axis=1), atol=1e-12)
    assert entrant.is_trained(model).sum() == model.circuit.n_parameters == 27


def test_the_iqp_model_reads_the_parity() -> None:
    """A CNOT at the end: <Z_0> is then <Z_0 Z_1>, here of two qubits that the encoding alone prepares, by hand."""
    model = ENTRANTS["IQPVariational"].build(2, 1)
    x, theta = np.array([[0.4, -1.1]]), np.zeros(6)
    value = evolve(model.circuit, (0,), angles_of(model.circuit, theta, x)).values[0, 0]
    # RZ and RZZ between |++> and the measurement only turn phases: all four outcomes are equally likely.
    assert value == pytest.approx(0.0, abs=1e-6)
    turned = theta.copy()
    turned[1] = np.pi / 2
    angles = angles_of(model.circuit, turned, x)
    # RY(pi/2) turns <X_0> into -<Z_0>... and Z_0 Z_1 then reads -X_0 Z_1 of the encoded state: sin(x_0) sin(x_0 x_1).
    expected = np.sin(x[0, 0]) * np.sin(x[0, 0] * x[0, 1])
    assert abs(evolve(model.circuit, (0,), angles).values[0, 0]) == pytest.approx(abs(expected), abs=1e-6)


def test_all_published_models_can_be_built() -> None:
    for name, accuracies in PUBLISHED.items():
        entrant = ENTRANTS[name]
        for n_features in accuracies:
            model = entrant.build(n_features, 1)
            start = entrant.start(model, np.random.default_rng(1))
            assert start.shape == entrant.is_trained(model).shape == (model.n_parameters,)
            assert model.n_inputs == n_features


def test_random_angles_contract_as_quarter_turns_say() -> None:
    """The engine at random angles is within 5 standard errors of the theory; at quarter turns it is W^m."""
    found = _theory(hardware_efficient(4, 1, "chain"), "qubit", n_draws=1000)
    assert found.pairs == 1
    assert found.largest_error < 1e-5
    for werner, (engine, error) in found.random.items():
        assert abs(engine - found.contraction(werner)) < 5 * error + 0.01


def page_rows() -> list[dict[str, Any]]:
    fidelity = [
        {
            "table": TABLES[1],
            "circuit": "four",
            "partition": kind,
            "fidelity": (1 + 3 * werner) / 4,
            "accuracy": 0.3 + 0.6 * werner,
            "±": 0.02,
            "contraction": werner,
            "contraction ±": None if werner == 1 else 0.01,
        }
        for kind in ("layer", "qubit")
        for werner in (0.0, 0.5, 1.0)
    ]
    published = [
        {"table": "published accuracies, x", "model": m, "features": 4, "published": 0.8, "within 0.02": verdict}
        for m, verdict in (("A", "yes"), ("B<i>", "no"))
    ]
    curve = [
        {
            "table": "accuracy by training samples",
            "model": "A",
            "features": 4,
            "samples": size,
            "accuracy": 0.7 + size / 1000,
            "±": 0.01,
            "RBF-SVC": 0.8,
            "RBF-SVC ±": 0.01,
        }
        for size in (50, 100)
    ]
    return [*published, *fidelity, *curve]


def test_the_page_draws_curves_and_lists_all_rows(tmp_path: Path) -> None:
    document = {"benchmark": "reference", "rows": page_rows(), "is_quick": True}
    (tmp_path / "rows.json").write_text(json.dumps(document), "utf-8")
    text = write_report([tmp_path]).read_text("utf-8")
    assert "Of 2 published accuracies 1 are met within 0.02." in text
    assert "This was a short run" in text
    for title in ("Accuracy, four", "Contraction, four", "Accuracy, 4 features"):
        assert f'aria-label="{title}.' in text
    assert text.count("<tr><td") == len(page_rows())
    assert "B<i>" not in text
