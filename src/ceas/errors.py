"""The tree of errors that ceas raises.

CeasError
├── DomainError (ValueError)        an argument is outside the domain of a formula
├── ScenarioError (ValueError)      a scenario has mistakes, one message each
├── UnknownNameError (ValueError)   a name is not in its table; the nearest known one is given
├── RunDirectoryError               a run directory is missing, unreadable or of another version
├── CapacityError                   a request cannot fit the machine; refused before it starts
├── KeyDeliveryError                a key server refused, or could not be reached or understood
└── InterruptedRunError             a run was interrupted after a checkpoint was written

Ctrl-C stays Python's `KeyboardInterrupt`; `TerminatedError` is the same for SIGTERM.
Wrong input from a peer is never raised: it is data (see `ceas.consensus`).
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = [
    "CapacityError",
    "CeasError",
    "DomainError",
    "InterruptedRunError",
    "KeyDeliveryError",
    "RunDirectoryError",
    "ScenarioError",
    "TerminatedError",
    "UnknownNameError",
    "nearest_name",
]


class CeasError(Exception):
    """Base of every error that ceas raises on purpose."""


class DomainError(CeasError, ValueError):
    """An argument lies outside the domain on which a function is defined."""


class CapacityError(CeasError):
    """A request would need more memory or time than allowed; nothing was started."""


class KeyDeliveryError(CeasError):
    """A key server refused a request, or could not be reached or understood.

    Attributes:
        status: HTTP status of the refusal, 200 for a reply that is not what the standard says, None without a reply.
        details: Further error objects of the reply.
    """

    def __init__(self, message: str, *, status: int | None = None, details: Sequence[object] = ()) -> None:
        self.status = status
        self.details = tuple(details)
        super().__init__(message)


class RunDirectoryError(CeasError):
    """A run directory cannot be read or continued."""


class UnknownNameError(CeasError, ValueError):
    """A name is not in the table of its family."""

    def __init__(self, family: str, name: str, known: Iterable[str]) -> None:
        self.family = family
        self.name = name
        self.known = tuple(known)
        nearest = nearest_name(name, self.known)
        hint = f" Did you mean `{nearest}`?" if nearest else ""
        super().__init__(f"unknown {family} `{name}`.{hint} Known: {', '.join(self.known)}.")


class ScenarioError(CeasError, ValueError):
    """A scenario has mistakes; `mistakes` holds one message for each."""

    def __init__(self, source: str, mistakes: Sequence[str]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in mistakes))


class InterruptedRunError(CeasError):
    """A run was interrupted; `directory` holds the checkpoint to resume from."""

    def __init__(self, directory: Path, completed_rounds: int) -> None:
        self.directory = directory
        self.completed_rounds = completed_rounds
        super().__init__(f"interrupted after {completed_rounds} training rounds; checkpoint in {directory}")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came. Whoever handles an interruption handles this as well; the exit status tells them apart."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is closest to `name`, or None when none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None
