"""What the learning benchmark keeps of its processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.experiments import benchmark_learning
from ceas.experiments.benchmark_learning import benchmark
from ceas.experiments.benchmark_learning_ceas import NOISY_OURS
from ceas.experiments.benchmark_learning_record import ProcessRecord
from ceas.experiments.benchmark_learning_work import Measured, make_work
from ceas.experiments.limited_process import Outcome
from ceas.experiments.roofline import Rates


def outcome(result: Any, failure: str = "") -> Outcome:
    return Outcome(result=result, failure=failure, wall_s=1.5, peak_memory_mb=0.1)


MEASURED = Measured(
    compile_s=1 / 3,
    runs_s=(0.1, 0.2),
    cpu_s=None,
    losses=np.array([1 / 7, 2.0]),
    gradients=np.array([[0.1, np.pi], [3.0, 4.0]]),
    platform="cpu",
)
RATES = Rates(flops_per_s=1e9, product_program="numpy", bytes_per_s=(1.0, 2.0), platform="cpu")


def no_run() -> Outcome:
    raise AssertionError("what is kept was measured again")


def returning(result: Any, failure: str = "") -> Callable[[], Outcome]:
    return lambda: outcome(result, failure)


def test_what_is_kept_comes_back_exactly_and_in_order(tmp_path: Path) -> None:
    work = (make_work(2, is_noisy=True, n_learners=2), 1)
    first = ProcessRecord(tmp_path / "processes", "machine")
    given = [MEASURED, (MEASURED, 2.5), RATES, (MEASURED, None)]
    for result in given:
        assert first.outcome(work, returning(result)).result is result
    again = ProcessRecord(tmp_path / "processes", "machine")
    kept = [again.outcome(work, no_run) for _ in given]
    assert [repr(one) for one in kept] == [repr(outcome(result)) for result in given]
    np.testing.assert_array_equal(kept[0].result.gradients, MEASURED.gradients, strict=True)
    # The next process of the same work has not run.
    assert again.outcome(work, returning(RATES)).result is RATES


def test_other_work_and_other_machines_are_measured(tmp_path: Path) -> None:
    ProcessRecord(tmp_path, "machine").outcome(("work", 1), returning(RATES))
    for identity, work in (("machine", ("work", 2)), ("other", ("work", 1))):
        with pytest.raises(AssertionError, match="measured again"):
            ProcessRecord(tmp_path, identity).outcome(work, no_run)
    assert ProcessRecord(tmp_path, "machine").outcome(("work", 1), no_run) == outcome(RATES)


@pytest.mark.parametrize(("failure", "is_kept"), [("too slow (more than 3 s)", True), ("failed (OSError: no)", False)])
def test_who_was_too_slow_is_not_given_its_time_again(tmp_path: Path, failure: str, is_kept: bool) -> None:
    ProcessRecord(tmp_path, "").outcome("work", returning(None, failure))
    found = ProcessRecord(tmp_path, "").outcome("work", returning(RATES))
    assert found == (outcome(None, failure) if is_kept else outcome(RATES))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"class": "Path", "members": {}}', '{"class": "Rates", "members": {}}']
)
def test_half_a_file_is_measured_again(tmp_path: Path, text: str) -> None:
    ProcessRecord(tmp_path, "").outcome("work", returning(RATES))
    (path,) = tmp_path.iterdir()
    path.write_text(text, "utf-8")
    assert ProcessRecord(tmp_path, "").outcome("work", returning(MEASURED)).result is MEASURED


def test_a_repeated_benchmark_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_learning, "_PROGRAMS", {"noisy": NOISY_OURS})
    options: dict[str, Any] = {"only": "noisy", "quick": True, "out": str(tmp_path)}
    rows = benchmark(**options)
    (tmp_path / "rows.json").unlink()
    words: list[str] = []
    again = benchmark(**options, progress=lambda event: words.append(event.phase))
    assert not words
    assert [row for row in again if row["table"] != "machine"] == [row for row in rows if row["table"] != "machine"]
    assert json.loads((tmp_path / "rows.json").read_text("utf-8"))["rows"] == again
