"""Workers of a benchmark end with it, whatever ends it, and what was finished is kept."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from ceas.experiments.processes import ask_kernel, run_in_own_process, spawned_pool, watch_parent

DEADLINE_S = 60.0
Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]
# Two workers that sleep for longer than any test; their ids are printed.
SLEEPERS = """
import os, time
from ceas.experiments.processes import spawned_pool
if __name__ == "__main__":
    with spawned_pool(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(5)}, flush=True)
        pool.submit(time.sleep, 1000)
        pool.submit(time.sleep, 1000).result()
"""


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie, which nobody has asked yet how it ended."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def wait_for(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def children_of(pid: int) -> list[int]:
    """Workers that a process has spawned; not the tracker of resources, which Python starts beside them."""
    listed = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return [int(one) for one, parent, words in rows if int(parent) == pid and "spawn_main" in words]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, and ends them after the test where it has not."""
    started: list[subprocess.Popen[str]] = []

    def begin(arguments: Sequence[str]) -> "subprocess.Popen[str]":
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Writes a script to start; spawned processes import it, so it has to be a file."""

    def write(text: str) -> list[str]:
        (tmp_path / "script.py").write_text(text)
        return [sys.executable, str(tmp_path / "script.py")]

    return write


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_sleeping_workers_end_with_their_parent(number: int, start: Start, script: Callable[[str], list[str]]) -> None:
    """By the parent's hand if it is interrupted, by their own if it is killed."""
    parent = start(script(SLEEPERS))
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers
    assert all(map(is_running, workers))
    parent.send_signal(number)
    parent.communicate(timeout=DEADLINE_S)
    assert parent.returncode != 0
    assert wait_for(lambda: not any(map(is_running, workers)))


def test_without_the_kernel_a_thread_watches_the_parent(start: Start, script: Callable[[str], list[str]]) -> None:
    text = SLEEPERS.replace(
        "    with", "    import ceas.experiments.processes as own\n    own.end_with_parent = watched\n    with"
    )
    text = text.replace(
        "if __name__",
        "from ceas.experiments.processes import watch_parent\ndef watched(_): watch_parent()\nif __name__",
    )
    parent = start(script(text))
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert workers
    assert all(map(is_running, workers))
    parent.kill()
    parent.communicate(timeout=DEADLINE_S)
    assert wait_for(lambda: not any(map(is_running, workers)))


def test_a_process_without_a_parent_of_its_kind_watches_nobody() -> None:
    """The test itself is no worker: nothing is started, and nothing ends it."""
    watch_parent()
    assert run_in_own_process(ask_kernel) == sys.platform.startswith("linux")


def test_an_early_end_of_the_block_waits_for_nobody() -> None:
    def leave_early() -> None:
        with spawned_pool(1) as pool:
            slow.append(pool.submit(time.sleep, 1000))
            raise RuntimeError("enough")

    slow: list[Future[None]] = []
    with pytest.raises(RuntimeError, match="enough"):
        leave_early()
    assert slow[0].done()


def test_results_and_errors_come_back() -> None:
    assert run_in_own_process(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        run_in_own_process(divmod, 1, 0)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_benchmark_takes_its_workers_with_it(number: int, status: int, start: Start, tmp_path: Path) -> None:
    ceas = str(Path(sys.executable).with_name("ceas"))
    parent = start([ceas, "bench", "scheduling", "--only", "S2", "--set", "processes=2", "--out", str(tmp_path)])
    assert wait_for(lambda: len(children_of(parent.pid)) == 2)
    workers = children_of(parent.pid)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=DEADLINE_S)
    assert parent.returncode == status
    assert errors.splitlines()[-1] == ("terminated" if status == 143 else "interrupted")
    assert "Traceback" not in errors
    assert wait_for(lambda: not any(map(is_running, workers)))


@pytest.mark.slow
def test_finished_settings_outlive_the_benchmark(start: Start, tmp_path: Path) -> None:
    ceas = str(Path(sys.executable).with_name("ceas"))
    parent = start([ceas, "bench", "scheduling", "--only", "S1,S11", "--quick", "--seeds", "2", "--out", str(tmp_path)])
    kept = tmp_path / "S1_memory_2.json"
    assert wait_for(kept.exists)
    workers = children_of(parent.pid)
    assert workers
    parent.terminate()
    parent.communicate(timeout=DEADLINE_S)
    assert parent.returncode == 143
    assert wait_for(lambda: not any(map(is_running, workers)))
    assert kept.exists()
    assert not (tmp_path / "rows.json").exists()
