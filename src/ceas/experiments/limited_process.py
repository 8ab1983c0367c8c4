"""A function in a process of its own that may take only so long and so much memory.

A program that would take hours, or all memory of the machine, is ended by its parent, which then says so. Memory is
what the process has resident: compilers of accelerator code reserve far more addresses than they use. Where the system
does not tell another process's memory (it does on Linux), only the time is limited.
"""

import multiprocessing
import multiprocessing.connection
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ceas.experiments.processes import end_with_parent

__all__ = ["Limits", "Outcome", "free_memory_mb", "memory_size_mb", "n_cores", "own_peak_memory_mb", "run_within"]

_MEBI = 1 << 20
_POLL_S = 0.05
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a process may take.

    Attributes:
        time_s: Wall time from its start, imports and compilation included (s).
        memory_mb: Resident memory (MiB).
    """

    time_s: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a process ended.

    Attributes:
        result: What the function returned; None where it did not.
        failure: Empty, or in a few words why there is no result.
        wall_s: Time from its start (s).
        peak_memory_mb: Largest resident memory that was seen (MiB).
    """

    result: Any
    failure: str
    wall_s: float
    peak_memory_mb: float

    @property
    def is_too_slow(self) -> bool:
        """Whether the time was up."""
        return self.failure.startswith("too slow")


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_size_mb() -> float:
    """Return the memory of this machine (MiB)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MEBI


def free_memory_mb() -> float:
    """Return the memory that processes can still have (MiB); all of the machine's where the system does not tell."""
    return _memory_mb("meminfo", "MemAvailable:") or memory_size_mb()


def run_within(limits: Limits, function: Callable[..., Any], *arguments: object) -> Outcome:
    """Call a function in a process of its own, on all cores, and end it where it exceeds a limit.

    Args:
        limits: Time and memory.
        function: What to call; like the arguments and the result, such as can be sent to another process.
        arguments: Its arguments.

    Returns:
        Its result, or why there is none: an exception in it does not reach the caller.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(os.getpid(), sender, function, arguments))
    start = time.monotonic()
    with _threads(n_cores()):
        process.start()
    sender.close()
    peak, failure = 0.0, ""
    try:
        while not failure and not multiprocessing.connection.wait([receiver], timeout=_POLL_S):
            peak = max(peak, _peak_memory_mb(process.pid), _family_memory_mb(process.pid))
            if peak > limits.memory_mb:
                failure = f"out of memory (more than {limits.memory_mb / 1024:.3g} GB)"
            elif time.monotonic() - start > limits.time_s:
                failure = f"too slow (more than {limits.time_s:.4g} s)"
        answer = {} if failure else _receive(receiver)
    finally:
        _end(process)
        receiver.close()
    if not failure and not answer:
        failure = _cause_of_death(process.exitcode)
    return Outcome(
        result=answer.get("result"),
        failure=failure or answer.get("failure", ""),
        wall_s=time.monotonic() - start,
        peak_memory_mb=max(peak, answer.get("peak_memory_mb", 0.0)),
    )


def own_peak_memory_mb() -> float:
    """Return the largest resident memory that this process has had (MiB).

    Linux hands the figure of `getrusage` down to a process from the one that started it, so its own is asked first.
    """
    own = _peak_memory_mb(os.getpid())
    if own:
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MEBI if sys.platform == "darwin" else 1024)


def _call(parent_pid: int, sender: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    end_with_parent(parent_pid)
    # A group of its own, so that it can be ended together with the processes that it starts.
    os.setpgid(0, 0)
    try:
        answer: dict[str, Any] = {"result": function(*arguments)}
    except Exception as error:
        # A program under test may fail in any way; its parent tells which.
        answer = {"result": None, "failure": _words_of(error)}
    sender.send(answer | {"peak_memory_mb": own_peak_memory_mb()})
    # The parent ends this process once it has the answer; libraries' own endings are not waited for.
    sender.close()
    signal.pause()


def _end(process: BaseProcess) -> None:
    """End a process and those that it started."""
    if process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _words_of(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        asked = re.search(r"allocating (\d+) bytes", text)
        return f"out of memory (asked for {int(asked[1]) / 1024**3:.3g} GB)" if asked else "out of memory"
    return f"failed ({text[:160]})"


def _receive(receiver: Connection) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = receiver.recv()
    except EOFError:
        return {}
    return answer


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        # Nobody but the system's guard of memory does so to a process that has not answered yet.
        return "out of memory (ended by the system)"
    if exit_code is not None and exit_code < 0:
        return f"failed (ended by {signal.Signals(-exit_code).name})"
    return f"failed (exit status {exit_code})"


def _peak_memory_mb(pid: int | None) -> float:
    """Return the largest resident memory that a process has had (MiB), 0 where the system does not tell."""
    return _memory_mb(f"{pid}/status", "VmHWM:")


def _family_memory_mb(pid: int | None) -> float:
    """Return the memory that a process and those that it started have resident now (MiB)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        children = []
    return _memory_mb(f"{pid}/status", "VmRSS:") + sum(_family_memory_mb(int(child)) for child in children)


def _memory_mb(file: str, key: str) -> float:
    """Return an entry of a file of Linux's about memory (MiB), 0 where there is none."""
    try:
        lines = Path("/proc", file).read_text("ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let processes that are started in the block use that many threads, whichever library they load."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(n_threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
