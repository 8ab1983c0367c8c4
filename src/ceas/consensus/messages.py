"""Messages of the reliable broadcast and of the agreement on a set of contributors, and their canonical bytes.

Messages are valid by construction. `decode_message` is total: bytes that no valid message encodes to are `Rejected`.

Reliable broadcast:

    PROPOSE  parameter_digest 32 bytes | value
    ECHO     (instance u16 | digest 32 bytes) repeated, instances strictly increasing, at least one
    READY    as ECHO
    PULL     instance u16 | digest 32 bytes
    VALUE    instance u16 | value
    MISSING  members: instances whose value the sender waits for

Agreement; `members` is a set of nodes as a bitmap, bit i for node i: length u16 (at least 1) | big-endian bytes, the
first one not zero; `ballot` is 0 u8 for none, or 1 u8 | view u32 | members:

    SET_PROPOSAL  view u32 | members
    SET_VOTE      phase u8, 1 to 4 | view u32 | members
    SUGGEST       view u32 | ballot (vote 3) | ballot (vote 2) | ballot (previous vote 2)
    PROOF         view u32 | ballot (vote 4) | ballot (vote 1) | ballot (previous vote 1)
    VIEW_CHANGE   view u32, at least 1
    DECISION      members
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

from ceas.authentication import Rejected
from ceas.errors import DomainError

__all__ = [
    "DIGEST_BYTES",
    "LARGEST_VIEW",
    "AgreementMessage",
    "AnyMessage",
    "Ballot",
    "Decision",
    "Echo",
    "Message",
    "MessageKind",
    "Missing",
    "Proof",
    "Propose",
    "Pull",
    "Ready",
    "SetProposal",
    "SetVote",
    "Suggest",
    "Value",
    "ViewChange",
    "Vote",
    "decode_message",
    "encode_message",
    "value_digest",
]

DIGEST_BYTES: Final = 32
_INSTANCE: Final = struct.Struct(">H")
_VOTE: Final = struct.Struct(">H32s")
_DIGEST_CONTEXT: Final = struct.Struct(">IH")
_VIEW: Final = struct.Struct(">I")
LARGEST_VIEW: Final = 2**32 - 1
_LARGEST_NODE: Final = 2**16 - 1

Vote = tuple[int, bytes]
"""One instance (the node that proposes in it) and the digest voted for."""


class MessageKind(IntEnum):
    """Kind byte of a frame that carries a message."""

    PROPOSE = 1
    ECHO = 2
    READY = 3
    PULL = 4
    VALUE = 5
    SET_PROPOSAL = 6
    SET_VOTE = 7
    SUGGEST = 8
    PROOF = 9
    VIEW_CHANGE = 10
    DECISION = 11
    MISSING = 12


@dataclass(frozen=True, slots=True)
class Propose:
    """The sender's value for its own instance.

    Args:
        value: Canonical bytes of its update.
        parameter_digest: H(theta) of the parameters it computed the update at, 32 bytes.
    """

    value: bytes
    parameter_digest: bytes

    def __post_init__(self) -> None:
        _check_digest(self.parameter_digest)


@dataclass(frozen=True, slots=True)
class Echo:
    """All values that the sender accepted since its last echo; `votes` has strictly increasing instances."""

    votes: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_votes(self.votes)


@dataclass(frozen=True, slots=True)
class Ready:
    """All values that the sender knows to be the only deliverable ones; `votes` has strictly increasing instances."""

    votes: tuple[Vote, ...]

    def __post_init__(self) -> None:
        _check_votes(self.votes)


@dataclass(frozen=True, slots=True)
class Pull:
    """Request for the value of an instance that has this digest."""

    instance: int
    digest: bytes

    def __post_init__(self) -> None:
        _check_digest(self.digest)


@dataclass(frozen=True, slots=True)
class Value:
    """Answer to `Pull`."""

    instance: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Missing:
    """The sender asks for what was sent about these instances, a bitmap, to be sent to it again."""

    members: int

    def __post_init__(self) -> None:
        _check_ballot((0, self.members))


Message = Propose | Echo | Ready | Pull | Value | Missing

Ballot = tuple[int, int]
"""View, and the set of nodes voted for in it as a bitmap."""


@dataclass(frozen=True, slots=True)
class SetProposal:
    """The leader's proposal in a view: the nodes in the bitmap `members` contribute."""

    view: int
    members: int

    def __post_init__(self) -> None:
        _check_ballot((self.view, self.members))


@dataclass(frozen=True, slots=True)
class SetVote:
    """A vote of one of the four phases of a view."""

    phase: int
    view: int
    members: int

    def __post_init__(self) -> None:
        if not 1 <= self.phase <= 4:
            raise DomainError(f"Argument `phase` must be in [1, 4], but is {self.phase}.")
        _check_ballot((self.view, self.members))


@dataclass(frozen=True, slots=True)
class Suggest:
    """What the sender voted before `view`, for the view's leader.

    Args:
        view: View that the sender entered.
        vote_3: Its highest vote of phase 3.
        vote_2: Its highest vote of phase 2.
        previous_2: Its highest vote of phase 2 for another set than `vote_2`.
    """

    view: int
    vote_3: Ballot | None
    vote_2: Ballot | None
    previous_2: Ballot | None

    def __post_init__(self) -> None:
        _check_report(self.view, (self.vote_3, self.vote_2, self.previous_2))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the sender voted before `view`, for all voters; fields as in `Suggest`, of phases 4 and 1."""

    view: int
    vote_4: Ballot | None
    vote_1: Ballot | None
    previous_1: Ballot | None

    def __post_init__(self) -> None:
        _check_report(self.view, (self.vote_4, self.vote_1, self.previous_1))


@dataclass(frozen=True, slots=True)
class ViewChange:
    """The sender wants to be in `view` or a later one."""

    view: int

    def __post_init__(self) -> None:
        if not 1 <= self.view <= LARGEST_VIEW:
            raise DomainError(f"Argument `view` must be in [1, {LARGEST_VIEW}], but is {self.view}.")


@dataclass(frozen=True, slots=True)
class Decision:
    """The sender decided for this set."""

    members: int

    def __post_init__(self) -> None:
        _check_ballot((0, self.members))


AgreementMessage = SetProposal | SetVote | Suggest | Proof | ViewChange | Decision
AnyMessage = Message | AgreementMessage


def value_digest(training_round: int, instance: int, value: bytes) -> bytes:
    """Return SHA-256 over training round, instance and value; agreement rests on its collision resistance."""
    return hashlib.sha256(_DIGEST_CONTEXT.pack(training_round, instance) + value).digest()


def encode_message(message: AnyMessage) -> tuple[MessageKind, bytes]:  # noqa: PLR0911 - one per kind
    """Return the kind and the canonical bytes of a message."""
    if isinstance(message, AgreementMessage):
        return _encode_agreement(message)
    match message:
        case Propose():
            return MessageKind.PROPOSE, message.parameter_digest + message.value
        case Echo():
            return MessageKind.ECHO, _encode_votes(message.votes)
        case Ready():
            return MessageKind.READY, _encode_votes(message.votes)
        case Pull():
            return MessageKind.PULL, _VOTE.pack(message.instance, message.digest)
        case Value():
            return MessageKind.VALUE, _INSTANCE.pack(message.instance) + message.value
        case Missing():
            return MessageKind.MISSING, _encode_members(message.members)


def decode_message(kind: int, body: bytes, sender: int) -> AnyMessage | Rejected:
    """Read a message; total on any kind and bytes.

    Args:
        kind: Kind byte of the frame.
        body: Message bytes.
        sender: Node to name in a rejection.

    Returns:
        The message, or `Rejected` when the kind is unknown or the bytes are not canonical.
    """
    message = _decode(kind, body)
    return Rejected(sender, "malformed message") if message is None else message


# A broadcast reaches every node with the same bytes: decoding is a pure function, so one result serves all of them.
@lru_cache(maxsize=512)
def _decode(kind: int, body: bytes) -> AnyMessage | None:
    if kind == MessageKind.PROPOSE and len(body) >= DIGEST_BYTES:
        return Propose(body[DIGEST_BYTES:], body[:DIGEST_BYTES])
    if kind in (MessageKind.ECHO, MessageKind.READY):
        votes = _decode_votes(body)
        return None if votes is None else (Echo(votes) if kind == MessageKind.ECHO else Ready(votes))
    if kind == MessageKind.PULL and len(body) == _VOTE.size:
        return Pull(*_VOTE.unpack(body))
    if kind == MessageKind.VALUE and len(body) >= _INSTANCE.size:
        return Value(_INSTANCE.unpack_from(body)[0], body[_INSTANCE.size :])
    return _decode_with_members(kind, body)


def _encode_agreement(message: AgreementMessage) -> tuple[MessageKind, bytes]:
    match message:
        case SetProposal():
            return MessageKind.SET_PROPOSAL, _VIEW.pack(message.view) + _encode_members(message.members)
        case SetVote():
            head = bytes((message.phase,)) + _VIEW.pack(message.view)
            return MessageKind.SET_VOTE, head + _encode_members(message.members)
        case Suggest():
            return MessageKind.SUGGEST, encode_report(
                message.view, (message.vote_3, message.vote_2, message.previous_2)
            )
        case Proof():
            return MessageKind.PROOF, encode_report(message.view, (message.vote_4, message.vote_1, message.previous_1))
        case ViewChange():
            return MessageKind.VIEW_CHANGE, _VIEW.pack(message.view)
        case Decision():
            return MessageKind.DECISION, _encode_members(message.members)


def _decode_with_members(kind: int, body: bytes) -> AgreementMessage | Missing | None:
    try:
        message, end = _parse_with_members(kind, body)
    except (DomainError, struct.error):
        # A truncated field or a value that no valid message has.
        return None
    # What has two spellings, such as a bitmap with leading zeros, has one canonical one.
    return message if end == len(body) and encode_message(message)[1] == body else None


def _parse_with_members(kind: int, body: bytes) -> tuple[AgreementMessage | Missing, int]:
    if kind == MessageKind.SET_PROPOSAL:
        members, end = _parse_members(body, _VIEW.size)
        return SetProposal(_VIEW.unpack_from(body)[0], members), end
    if kind == MessageKind.SET_VOTE:
        members, end = _parse_members(body, 1 + _VIEW.size)
        return SetVote(body[0], _VIEW.unpack_from(body, 1)[0], members), end
    if kind in (MessageKind.SUGGEST, MessageKind.PROOF):
        ballots: list[Ballot | None] = []
        end = _VIEW.size
        for _ in range(3):
            ballot, end = parse_ballot(body, end)
            ballots.append(ballot)
        report = Suggest if kind == MessageKind.SUGGEST else Proof
        return report(_VIEW.unpack_from(body)[0], *ballots), end
    if kind == MessageKind.VIEW_CHANGE:
        return ViewChange(_VIEW.unpack_from(body)[0]), _VIEW.size
    if kind == MessageKind.DECISION:
        members, end = _parse_members(body, 0)
        return Decision(members), end
    if kind == MessageKind.MISSING:
        members, end = _parse_members(body, 0)
        return Missing(members), end
    raise DomainError(f"Argument `kind` must be that of a message, but is {kind}.")


def _parse_members(body: bytes, start: int) -> tuple[int, int]:
    (length,) = _INSTANCE.unpack_from(body, start)
    start += _INSTANCE.size
    return int.from_bytes(body[start : start + length], "big"), start + length


def parse_ballot(body: bytes, start: int) -> tuple[Ballot | None, int]:
    """Read a ballot from a place on and return it with the place after it; for other files of this room.

    Raises:
        struct.error: The bytes end before it does.
    """
    if body[start : start + 1] != b"\1":
        return None, start + 1  # any other byte than 0 is not canonical, which the caller finds out
    (view,) = _VIEW.unpack_from(body, start + 1)
    members, end = _parse_members(body, start + 1 + _VIEW.size)
    return (view, members), end


def _encode_members(members: int) -> bytes:
    length = (members.bit_length() + 7) // 8
    return _INSTANCE.pack(length) + members.to_bytes(length, "big")


def encode_report(view: int, ballots: tuple[Ballot | None, ...]) -> bytes:
    """Write a view and ballots; for other files of this room."""
    parts = [b"\0" if one is None else b"\1" + _VIEW.pack(one[0]) + _encode_members(one[1]) for one in ballots]
    return _VIEW.pack(view) + b"".join(parts)


def _check_report(view: int, ballots: tuple[Ballot | None, ...]) -> None:
    if not 1 <= view <= LARGEST_VIEW:
        raise DomainError(f"Argument `view` must be in [1, {LARGEST_VIEW}], but is {view}.")
    for ballot in ballots:
        if ballot is not None:
            _check_ballot(ballot)
            if ballot[0] >= view:
                raise DomainError(f"A vote reported to view {view} must be of an earlier one, but is of {ballot[0]}.")


def _check_ballot(ballot: Ballot) -> None:
    view, members = ballot
    if not 0 <= view <= LARGEST_VIEW:
        raise DomainError(f"Argument `view` must be in [0, {LARGEST_VIEW}], but is {view}.")
    if members <= 0 or members.bit_length() > _LARGEST_NODE + 1:
        raise DomainError(f"Argument `members` must hold nodes in [0, {_LARGEST_NODE}], at least one.")


def _encode_votes(votes: tuple[Vote, ...]) -> bytes:
    return b"".join([_VOTE.pack(instance, digest) for instance, digest in votes])


def _decode_votes(body: bytes) -> tuple[Vote, ...] | None:
    if not body or len(body) % _VOTE.size:
        return None
    votes: tuple[Vote, ...] = tuple(_VOTE.iter_unpack(body))
    return votes if _is_increasing(votes) else None


def _is_increasing(votes: tuple[Vote, ...]) -> bool:
    return all(left[0] < right[0] for left, right in pairwise(votes))


def _check_votes(votes: tuple[Vote, ...]) -> None:
    if not votes or votes[0][0] < 0 or not _is_increasing(votes):
        raise DomainError("Argument `votes` must hold strictly increasing instances, at least one.")
    for _, digest in votes:
        _check_digest(digest)


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise DomainError(f"Argument `digest` must have {DIGEST_BYTES} bytes, but has {len(digest)}.")
