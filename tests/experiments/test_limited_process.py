"""Processes with limits: what they return, and what is said of those that do not."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ceas.experiments.limited_process import (
    Limits,
    free_memory_mb,
    memory_size_mb,
    n_cores,
    own_peak_memory_mb,
    run_within,
)


def read(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


WIDE = Limits(time_s=60.0, memory_mb=4096.0)


def test_a_result_comes_back_with_time_and_memory() -> None:
    outcome = run_within(WIDE, pow, 3, 4)
    assert (outcome.result, outcome.failure) == (81, "")
    assert 0 < outcome.wall_s < 60
    assert 5 < outcome.peak_memory_mb < 4096


def test_all_cores_are_offered_and_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert run_within(WIDE, os.getenv, "OMP_NUM_THREADS").result == str(n_cores())
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("1 / 0", "failed (ZeroDivisionError: division by zero)"),
        ("raise MemoryError", "out of memory"),
        ("raise RuntimeError('RESOURCE_EXHAUSTED: too much')", "out of memory"),
        (
            "raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 53687091200 bytes.')",
            "out of memory (asked for 50 GB)",
        ),
        ("import os; os._exit(3)", "failed (exit status 3)"),
        ("import os; os.kill(os.getpid(), 9)", "out of memory (ended by the system)"),
        ("import os; os.abort()", "failed (ended by SIGABRT)"),
    ],
)
def test_what_fails_is_told_and_not_raised(code: str, failure: str) -> None:
    outcome = run_within(WIDE, exec, code)
    assert (outcome.result, outcome.failure) == (None, failure)
    assert not outcome.is_too_slow


def test_who_takes_too_long_is_ended() -> None:
    start = time.monotonic()
    outcome = run_within(Limits(time_s=1.0, memory_mb=4096.0), time.sleep, 1000)
    assert outcome.failure == "too slow (more than 1 s)"
    assert outcome.is_too_slow
    assert time.monotonic() - start < 30


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a system that tells another process's memory")
@pytest.mark.parametrize("is_child", [False, True])
def test_who_takes_too_much_memory_is_ended(is_child: bool) -> None:
    """The memory of a process that the process starts counts too, and it ends as well."""
    code = "taken = b'x' * (600 << 20); import time; time.sleep(1000)"
    if is_child:
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    outcome = run_within(Limits(time_s=60.0, memory_mb=512.0), exec, code)
    assert outcome.failure == "out of memory (more than 0.5 GB)"
    assert 512 < outcome.peak_memory_mb < 1024
    deadline = time.monotonic() + 30
    # A process that was killed is not gone at once.
    while [one for one in Path("/proc").glob("[0-9]*/cmdline") if b"taken = b'x' * (600 <<" in read(one)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_machine_is_larger_than_this_process() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
    assert 5 < own_peak_memory_mb() < memory_size_mb()
    assert 5 < free_memory_mb() <= memory_size_mb()
