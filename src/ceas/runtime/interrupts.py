"""Interrupts that wait until a training round is complete."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ceas.errors import TerminatedError

__all__ = ["InterruptFlag", "deferred_interrupts"]


class InterruptFlag:
    """Whether the user, or the system, has asked to stop."""

    def __init__(self) -> None:
        self.is_set = False
        self.is_termination = False

    def __bool__(self) -> bool:
        return self.is_set

    def error(self) -> KeyboardInterrupt:
        """Return what stands for the signal that came."""
        return TerminatedError() if self.is_termination else KeyboardInterrupt()


@contextmanager
def deferred_interrupts() -> Iterator[InterruptFlag]:
    """Turn Ctrl-C and SIGTERM into a flag for as long as the context lasts.

    A training round that is cut in the middle could not be resumed, so the loop asks the flag between two rounds. A
    second signal interrupts at once. Outside the main thread signals cannot be caught, and the flag stays unset.
    """
    flag = InterruptFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def remember(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        is_second = flag.is_set
        flag.is_set, flag.is_termination = True, signum == signal.SIGTERM
        if is_second:
            raise flag.error()

    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
