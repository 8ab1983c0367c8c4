"""What a running co-simulation tells whoever watches it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "ProgressEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """State of a run after one step.

    Attributes:
        phase: What the run does now, in a few words, for example `"training"` or `"compiling"`.
        training_round: Training rounds completed so far.
        rounds: Training rounds in all.
        test_accuracy: Latest test accuracy in [0, 1]; None before the first evaluation.
        utilisation: Share of the closed Bell pairs that were used, in [0, 1]; None before the first pair closed.
        note: Something to say once, in one or more lines; empty for nothing.
    """

    phase: str
    training_round: int
    rounds: int
    test_accuracy: float | None = None
    utilisation: float | None = None
    note: str = ""


Progress = Callable[[ProgressEvent], None]
