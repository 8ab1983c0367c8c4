"""Processes of their own for parts of a benchmark, which end with the process that started them.

A worker that outlived its parent would compute for minutes what nobody waits for. Whatever ends the block of a pool
early, an exception as well as Ctrl-C or SIGTERM, kills its workers; and workers whose parent is gone without a word end
themselves.
"""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["run_in_own_process", "spawned_pool"]

T = TypeVar("T")

# Of prctl(2): the signal that a process gets when the thread that started it ends.
_PR_SET_PDEATHSIG = 1


@contextmanager
def spawned_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of spawned processes; when the block ends early they are killed and not waited for.

    Spawned, not forked: a fork would inherit the threads, locks and memory of this process.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        max_workers=processes, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def run_in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Return what the function returns in a process of its own; all have to be such as can be sent to one."""
    with spawned_pool(1) as pool:
        return pool.submit(function, *arguments).result()


def end_with_parent(parent_pid: int) -> None:
    """Make this process end when its parent does; to be called by a worker before its first task.

    A Ctrl-C reaches all processes of a terminal, but what becomes of workers is for their parent to decide.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not ask_kernel():
        watch_parent()
    elif os.getppid() != parent_pid:
        # It ended before the kernel was asked.
        os._exit(1)


def ask_kernel() -> bool:
    """Ask Linux to kill this process when its parent ends, even amid compiled code; tell whether it will."""
    if not sys.platform.startswith("linux"):
        return False
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return prctl is not None and prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0


def watch_parent() -> None:
    """End this process when its parent does, by a thread that waits for it; compiled code is let finish its call."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="parent watch").start()
