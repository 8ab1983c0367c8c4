"""What the state machines of this room ask of their driver, which carries it out in order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ceas.consensus.messages import AnyMessage
from ceas.consensus.simplex_messages import SimplexMessage

__all__ = ["Broadcast", "Conclude", "Decide", "Deliver", "Persist", "Send", "SetTimer"]

AMessage_co = TypeVar("AMessage_co", bound=AnyMessage | SimplexMessage, covariant=True)


@dataclass(frozen=True, slots=True)
class Broadcast(Generic[AMessage_co]):
    """Send `message` to all other nodes."""

    message: AMessage_co


@dataclass(frozen=True, slots=True)
class Send(Generic[AMessage_co]):
    """Send `message` to one node."""

    destination: int
    message: AMessage_co


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call `tick` at `at_ns`."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `state` to stable storage before doing anything that comes after this."""

    state: Any


@dataclass(frozen=True, slots=True)
class Deliver:
    """`value` is the value of node `instance`, for every honest node."""

    instance: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Decide:
    """The nodes of the bitmap `members` contribute, for every honest node."""

    members: int


@dataclass(frozen=True, slots=True)
class Conclude:
    """The round is over here: `values` holds the value of each contributor by node, for every honest node the same."""

    values: Mapping[int, bytes]
