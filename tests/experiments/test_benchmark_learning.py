"""The learning benchmark: how contests are judged, on made-up times, and small real ones."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments import benchmark_learning, benchmark_learning_contest
from ceas.experiments.benchmark_learning import PARTS, benchmark
from ceas.experiments.benchmark_learning_ceas import NOISY_OURS, run_heisenberg
from ceas.experiments.benchmark_learning_contest import Conduct, agreement_rows, contest_rows, hold_contest
from ceas.experiments.benchmark_learning_work import Effort, Measured, Program, Work, make_work, measure
from ceas.experiments.limited_process import Limits, Outcome

Run = Callable[[Work, Effort], Any]


def program(name: str, module: str = "ceas", **options: Run) -> Program:
    return Program(name=name, module=module, options=options)


def script(*times_s: float | str, error: float = 0.0, has_cpu: bool = True) -> Run:
    """Return a program that takes these times for all learners, one a process, or fails with these words."""
    left = list(times_s)

    def run(work: Work, effort: Effort) -> Any:
        time = left.pop(0)
        if isinstance(time, str):
            return time
        losses = np.arange(work.n_learners, dtype=np.float64)
        return Measured(
            compile_s=1.0,
            runs_s=(time * work.n_learners / 50,),
            cpu_s=(2 * time * work.n_learners / 50,) if has_cpu else None,
            losses=losses + error,
            gradients=np.outer(losses, [1.0, 2.0]),
            platform="cpu",
        )

    return run


@pytest.fixture
def conduct(monkeypatch: pytest.MonkeyPatch) -> Conduct:
    def run_within(limits: Limits, function: Run, *arguments: Any) -> Outcome:
        result = function(*arguments)
        failure = result if isinstance(result, str) else ""
        wall_s = 999.0 if failure else 1.0 + result.run_s
        return Outcome(result=None if failure else result, failure=failure, wall_s=wall_s, peak_memory_mb=100.0)

    monkeypatch.setattr(benchmark_learning_contest, "run_within", run_within)
    limits = Limits(time_s=200.0, memory_mb=1e4)
    return Conduct(limits=limits, effort=Effort(), repetitions=3, repeated_below_s=50.0, report=[].append)


@pytest.fixture
def work() -> Work:
    return make_work(2, is_noisy=True)


def by_option(rows: list[dict[str, Any]]) -> Mapping[str, dict[str, Any]]:
    return {f"{row['program']} {row['option']}".strip(): row for row in rows}


def test_the_fastest_option_counts_and_ratios_are_taken_within_a_repetition(conduct: Conduct, work: Work) -> None:
    programs = [
        program("ceas", only=script(1.0, 2.0, 1.0)),
        program("peer", slow=script(9.0, has_cpu=False), fast=script(4, 10, 6)),
    ]
    rows = by_option(contest_rows("noisy", hold_contest(programs, work, conduct), work))
    assert rows["ceas only"] | {"times_ceas": 1.0, "run_ms": 1000.0, "processes": 3} == rows["ceas only"]
    # Ratios are 4, 5 and 6 although the medians are 6 and 1.
    expected = {"times_ceas": 5.0, "run_ms": 6000.0, "processes": 3, "fastest": "yes", "status": "ok", "peak_mb": 100.0}
    assert rows["peer fast"] | expected == rows["peer fast"]
    assert rows["peer fast"] | {"cpu_times_ceas": 5.0, "cpu_ms": 12000.0} == rows["peer fast"]
    assert rows["peer slow"]["cpu_ms"] is rows["peer slow"]["cpu_times_ceas"] is None
    assert rows["peer slow"] | {"times_ceas": 9.0, "processes": 1, "fastest": ""} == rows["peer slow"]


def test_who_is_too_slow_gets_fewer_learners_and_is_marked(conduct: Conduct, work: Work) -> None:
    programs = [
        program("ceas", only=script(*[1.0] * 3)),
        program("peer", only=script("too slow (more than 200 s)", 300.0)),
    ]
    rows = by_option(contest_rows("noisy", hold_contest(programs, work, conduct), work))
    peer = rows["peer only"]
    assert peer["learners"] == 5
    assert peer["run_ms"] == pytest.approx(300e3)
    assert peer["times_ceas"] == pytest.approx(300.0)
    assert peer["status"] == "ok, times extrapolated from 5 of 50 learners: too slow (more than 200 s)"
    assert peer["difference"] == 0.0
    assert peer["processes"] == 1


def test_slow_programs_run_once(conduct: Conduct, work: Work) -> None:
    programs = [program("ceas", only=script(*[1.0] * 3)), program("peer", only=script(49.5))]
    assert by_option(contest_rows("noisy", hold_contest(programs, work, conduct), work))["peer only"]["processes"] == 1


def test_what_cannot_run_has_a_status_and_no_numbers(conduct: Conduct, work: Work) -> None:
    programs = [
        program("ceas", only=script(*[1.0] * 3)),
        program("full", only=script("out of memory (more than 1 GB)")),
        program("late", only=script("too slow (more than 200 s)", "too slow (more than 200 s)")),
        program("gone", "no_such_module", only=script()),
        program("wrong", only=script(*[1.0] * 3, error=1e-3)),
        Program(name="small", module="ceas", options={"only": script()}, most_qubits=1),
    ]
    entries = hold_contest(programs, work, conduct)
    rows = by_option(contest_rows("noisy", entries, work))
    assert {name: row["status"] for name, row in rows.items()} == {
        "ceas only": "ok",
        "full only": "out of memory (more than 1 GB)",
        "late only": "too slow (more than 200 s)",
        "gone": "not installed (pip install -e '.[bench]')",
        "wrong only": "disagrees",
    }
    for name in ("full only", "late only", "gone"):
        assert rows[name]["run_ms"] is rows[name]["times_ceas"] is rows[name]["difference"] is None
        assert rows[name].keys() == rows["ceas only"].keys()
    verdicts = {row["program"]: row["verdict"] for row in agreement_rows("noisy", entries, work)}
    assert verdicts == {"full": "not compared", "late": "not compared", "gone": "not compared", "wrong": "DISAGREES"}


def test_runs_go_on_until_there_are_enough() -> None:
    calls = []
    found = measure(lambda: calls.append(0) or ([1.0], [[2.0]]), Effort(least=4, enough_s=0.0))  # type: ignore[func-returns-value]
    assert len(found.runs_s) == 4
    assert found.run_cpu_s >= 0
    assert len(calls) == 5
    assert found.gradients.tolist() == [[2.0]]
    assert len(measure(lambda: ([1.0], [[2.0]]), Effort(least=4, enough_s=0.0, most_s=0.0)).runs_s) == 1


def test_pure_work_is_noisy_work_without_errors() -> None:
    noisy, pure = (make_work(3, is_noisy=is_noisy, n_learners=4, n_samples=2, seed=7) for is_noisy in (True, False))
    np.testing.assert_array_equal(noisy.angles, pure.angles)
    np.testing.assert_array_equal(noisy.theta, pure.theta)
    assert (noisy.two_qubit_error > 0).all()
    assert not pure.two_qubit_error.any()
    part = noisy.first(2)
    assert (part.n_learners, part.n_qubits, part.n_layers) == (2, 3, 3)
    np.testing.assert_array_equal(part.labels, noisy.labels[:2])


def test_targets_are_read_from_the_fastest_rows() -> None:
    columns = {"times_ceas": 60.0, "run_ms": 10.0, "peak_mb": 5000.0, "fastest": "yes"}
    rows = [
        {"qubits": 4, "program": "tensorcircuit-ng DMCircuit", **columns, "fastest": "", "times_ceas": 1.0},
        {"qubits": 4, "program": "tensorcircuit-ng DMCircuit", **columns},
        {"qubits": 8, "program": "ceas", **columns},
    ]
    found = {
        (row["qubits"], row["program"], row["bound"]): row["verdict"]
        for row in benchmark_learning._target_rows("noisy", rows)
    }
    assert found == {
        (4, "tensorcircuit-ng DMCircuit", 50.0): "reached",
        (4, "pennylane default.mixed", 200.0): "not measured",
        (8, "ceas", 250.0): "reached",
        (8, "ceas", 2048.0): "MISSED",
    }
    pure = [
        {"qubits": 10, "program": "ceas pure", **columns, "times_ceas": 1.0},
        {"qubits": 10, "program": "tensorcircuit-ng Circuit", **columns, "times_ceas": 0.9},
        {"qubits": 10, "program": "pennylane lightning.qubit", **columns, "times_ceas": 1.1},
    ]
    verdicts = {row["program"]: row["verdict"] for row in benchmark_learning._target_rows("pure", pure)}
    assert verdicts == {"tensorcircuit-ng Circuit": "MISSED", "pennylane lightning.qubit": "reached"}


def test_ours_alone_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peer = program("peer", "no_such_module", only=run_heisenberg)
    monkeypatch.setattr(benchmark_learning, "_PROGRAMS", {"noisy": (*NOISY_OURS, peer)})
    words: list[str] = []
    rows = benchmark(only="noisy", quick=True, out=str(tmp_path), progress=lambda event: words.append(event.phase))
    ours, theirs = (row for row in rows if row["table"] == "noisy")
    assert (ours["program"], ours["status"], ours["times_ceas"]) == ("ceas", "ok", 1.0)
    assert ours["run_ms"] > 0
    assert ours["peak_mb"] > 50
    assert ours["encode_ms"] > 0
    assert theirs["encode_ms"] is None
    assert theirs["status"] == "not installed (pip install -e '.[bench]')"
    assert words == ["2 qubits, ceas"]
    document = json.loads((tmp_path / "rows.json").read_text("utf-8"))
    assert document["benchmark"] == "learning"
    assert document["is_quick"] is True
    assert document["rows"] == rows
    facts = {row["fact"]: row["value"] for row in rows if row["table"] == "machine"}
    assert facts["limits of a process"].startswith("300 s, ")


@pytest.mark.slow
def test_all_programs_agree_on_losses_and_gradients() -> None:
    verdicts = {
        (row["work"], row["program"], row["option"]): row["verdict"]
        for row in benchmark(only="agreement", quick=True)
        if row["table"] == "agreement"
    }
    programs = benchmark_learning._PROGRAMS
    assert len(verdicts) == sum(len(one.options) for kind in programs for one in programs[kind][1:])
    assert set(verdicts.values()) == {"agrees"}


@pytest.mark.slow
def test_scaling_and_roofline_have_their_rows() -> None:
    rows = benchmark(only="roofline,scaling", quick=True)
    scaling = [row for row in rows if row["table"] == "scaling"]
    assert [(row["layers"], row["learners"]) for row in scaling] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(row["status"] == "ok" and row["run_ms"] > 0 for row in scaling)
    (row,) = (row for row in rows if row["table"] == "roofline")
    assert row["share"] == pytest.approx(row["bound_ms"] / row["run_ms"])
    assert row["gflops"] == pytest.approx(row["mflop"] / row["run_ms"])
    assert [row["table"] for row in rows if row["table"] == "rates"] == ["rates"] * 2


def test_unknown_parts_and_limits_without_meaning_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="noisy"):
        benchmark(only="nosy")
    with pytest.raises(DomainError, match="must list parts"):
        benchmark(only=",")
    for wrong in ({"repetitions": 0}, {"time_limit_s": 0.0}, {"memory_limit_gb": -1.0}):
        with pytest.raises(DomainError, match="must be positive"):
            benchmark(**wrong)  # type: ignore[arg-type]
    for wrong in ({"noisy_qubits": ()}, {"pure_qubits": (10, 1)}):
        with pytest.raises(DomainError, match="at least 2"):
            benchmark(**wrong)  # type: ignore[arg-type]
    assert PARTS == ("noisy", "pure", "scaling", "roofline", "agreement")
