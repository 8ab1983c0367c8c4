"""Forged frames of every profile, counted: what `ceas fuzz frames` prints.

A batch is a network of six nodes and 2,200 forgeries: 2,000 drawn frames and 200 correct ones that were changed. Batch
i of a run has the seed S + i and depends on nothing else but the profile, so that one that failed is replayed alone (in
`ml_dsa`, whose signatures are drawn by the library, with other signatures).

Drawn frames, in four equal parts: bytes; the right version, epoch, source and destination before bytes; a right header
(fresh number, current round, right length) before a drawn body and tag; and a whole correct frame with another tag.

Changed frames, one kind after the other: see `_CHANGES`. Each starts from a frame that its receiver would accept, and
the batch ends with that proof: every correct frame is accepted once, and not a second time.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, get_args

import numpy as np

from ceas.authentication import (
    EVERYBODY,
    HEADER_BYTES,
    PROFILES,
    Accepted,
    Authenticator,
    KeyPools,
    Profile,
    Rejected,
    RejectionReason,
    epoch_hash,
)
from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.processes import spawned_pool
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.streams import stream

__all__ = ["CHANGED_FRAMES", "DRAWN_FRAMES", "FrameBatch", "fuzz_frames", "run_frame_batch"]

DRAWN_FRAMES: Final = 2000
"""Drawn frames of a batch."""
CHANGED_FRAMES: Final = 200
"""Changed frames of a batch."""
_NODES: Final = 6
_ROUND: Final = 7
_KEY_BITS: Final = 16_384
_LONGEST_BODY: Final = 120
_SHOWN: Final = 20
# Header fields by their first byte and size: version, epoch, source, destination, sequence, round, kind, body length.
_FIELDS: Final = ((0, 1), (1, 32), (33, 2), (35, 2), (37, 8), (45, 4), (49, 1), (50, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """What came of one batch.

    Attributes:
        profile: Authentication profile.
        seed: Seed of the batch.
        n_drawn: Drawn frames that were tried.
        n_changed: Changed frames that were tried.
        n_correct: Correct frames that were accepted, once each.
        accepted: What was accepted and should not have been, and what was refused and should not have been, in words.
        rejected: Rejections by reason.
    """

    profile: Profile
    seed: int
    n_drawn: int
    n_changed: int
    n_correct: int
    accepted: tuple[str, ...]
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A correct frame, and where it belongs."""

    source: int
    destination: int
    wire: bytes


@dataclass(slots=True)
class _Bench:
    """The network under attack, which forgets bad tags before they close a link."""

    profile: Profile
    authenticator: Authenticator
    before: Mapping[str, Any] = field(default_factory=dict)
    bad: Counter[tuple[int, int]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)

    def attack(self, receiver: int, sender: int, data: bytes, what: str) -> None:
        """Hand in a frame that must be rejected."""
        answer = self.authenticator.verify(receiver, sender, data)
        if isinstance(answer, Accepted):
            self.accepted.append(f"{what}, from {sender} at {receiver}: {data[:80].hex()}")
            self.reset()
            return
        self.rejected[answer.reason] += 1
        if answer.reason == RejectionReason.BAD_TAG:
            self.bad[receiver, sender] += 1
            if self.bad[receiver, sender] >= PROFILES[self.profile].alarm_bad_tags - 1:
                self.reset()

    def reset(self) -> None:
        """Open the links again; nothing else has changed, which is checked."""
        now = self.authenticator.to_arrays()
        for name, array in self.before.items():
            if name not in ("bad_tags", "rejections", "tag_checks") and not np.array_equal(array, now[name]):
                self.accepted.append(f"a rejected frame changed `{name}`")
        self.authenticator.load(self.before)
        self.bad.clear()


def run_frame_batch(seed: int, profile: Profile) -> FrameBatch:
    """Try the forgeries of one batch on a fresh network.

    Args:
        seed: Seed of the batch.
        profile: Authentication profile.
    """
    rng = stream(seed, "fuzz_frames", profile=tuple(PROFILES).index(profile))
    authenticator = _network(seed, profile)
    sent = _correct_frames(authenticator, rng, -(-CHANGED_FRAMES // len(_CHANGES)))
    bench = _Bench(profile, authenticator, authenticator.to_arrays())
    _attack_with_drawn(bench, sent, rng)
    foreign = _foreign_frames(seed, profile, sent)
    for index in range(CHANGED_FRAMES):
        name, change = _CHANGES[index % len(_CHANGES)]
        frame = sent[index // len(_CHANGES)]
        receiver, sender, data = change(_Case(frame, sent, foreign, rng))
        bench.attack(receiver, sender, data, name)
    bench.reset()
    n_correct = 0
    for frame in sent:
        answer = authenticator.verify(frame.destination, frame.source, frame.wire)
        if isinstance(answer, Rejected):
            bench.accepted.append(f"refused a correct frame: {answer.reason}")
        else:
            n_correct += 1
        if isinstance(authenticator.verify(frame.destination, frame.source, frame.wire), Accepted):
            bench.accepted.append("accepted a correct frame twice")
    return FrameBatch(
        profile=profile,
        seed=seed,
        n_drawn=DRAWN_FRAMES,
        n_changed=CHANGED_FRAMES,
        n_correct=n_correct,
        accepted=tuple(bench.accepted),
        rejected=dict(bench.rejected),
    )


def _network(
    seed: int, profile: Profile, *, start_digest: bytes = bytes(32), training_round: int = _ROUND
) -> Authenticator:
    """Return a network; equal seeds give equal keys, whatever the profile and the epoch."""
    authenticator = Authenticator(
        KeyPools(_NODES, enrolled_key_bits=_KEY_BITS, seed=seed),
        profile=profile,
        reserve_rounds=0,
        epoch=epoch_hash(n_nodes=_NODES, tolerated_byzantine=1, profile=profile, start_digest=start_digest),
    )
    authenticator.begin_round(training_round)
    return authenticator


def _correct_frames(authenticator: Authenticator, rng: np.random.Generator, count: int) -> list[_Sent]:
    """Send frames over drawn links: every other one a broadcast, of which one receiver counts."""
    sent = []
    for index in range(count):
        source, destination = (int(node) for node in rng.choice(_NODES, 2, replace=False))
        body = rng.bytes(int(rng.integers(0, _LONGEST_BODY)))
        kind = int(rng.integers(256))
        if index % 2:
            wire = dict(authenticator.authenticate_broadcast(source, kind, body))[destination]
        else:
            single = authenticator.authenticate(source, destination, kind, body)
            assert single is not None  # the pools are filled for it
            wire = single
        sent.append(_Sent(source, destination, wire))
    return sent


def _attack_with_drawn(bench: _Bench, sent: Sequence[_Sent], rng: np.random.Generator) -> None:
    """Try the drawn frames. Numbers on a link start beyond those in use, so that the tag alone can refuse them."""
    tag_bytes = PROFILES[bench.profile].tag_bytes
    quarter = DRAWN_FRAMES // 4
    links = rng.integers(_NODES, size=(DRAWN_FRAMES, 2))
    sizes = rng.integers(0, _LONGEST_BODY, size=DRAWN_FRAMES)
    noise = rng.bytes(DRAWN_FRAMES * (_LONGEST_BODY + HEADER_BYTES + tag_bytes))
    at = 0

    def drawn(size: int) -> bytes:
        nonlocal at
        at += size
        return noise[at - size : at]

    for index in range(2 * quarter):
        sender, receiver, size = int(links[index, 0]), int(links[index, 1]), int(sizes[index])
        # A right length, or any; in the second quarter after a right route.
        length = size + (HEADER_BYTES + tag_bytes if index % 2 else 0)
        route = sent[index % len(sent)]
        if index < quarter:
            bench.attack(receiver, sender, drawn(length), "drawn bytes")
        else:
            bench.attack(route.destination, route.source, route.wire[:37] + drawn(length), "drawn bytes after a route")
    for index in range(2 * quarter, 3 * quarter):
        frame, size = sent[index % len(sent)], int(sizes[index])
        number = int(rng.integers(20, 40)).to_bytes(8, "big")
        header = frame.wire[:37] + number + frame.wire[45:49] + drawn(1) + size.to_bytes(4, "big")
        bench.attack(frame.destination, frame.source, header + drawn(size) + drawn(tag_bytes), "drawn body and tag")
    for index in range(3 * quarter, DRAWN_FRAMES):
        frame = sent[index % len(sent)]
        bench.attack(frame.destination, frame.source, frame.wire[:-tag_bytes] + drawn(tag_bytes), "drawn tag")


@dataclass(frozen=True, slots=True)
class _Foreign:
    """Frames with the contents of the correct ones that networks with equal keys made under other circumstances.

    Attributes:
        of_epoch: Made in another epoch.
        of_round: Made in the training round before.
        of_profiles: Made under each other profile.
        tag_bytes: Bytes of a tag under the profile that is attacked.
    """

    of_epoch: Sequence[bytes]
    of_round: Sequence[bytes]
    of_profiles: Sequence[Sequence[bytes]]
    tag_bytes: int


def _foreign_frames(seed: int, profile: Profile, sent: Sequence[_Sent]) -> _Foreign:
    def remade(authenticator: Authenticator) -> list[bytes]:
        size = PROFILES[profile].tag_bytes
        wires = [
            authenticator.authenticate(one.source, one.destination, one.wire[49], one.wire[HEADER_BYTES:-size])
            for one in sent
        ]
        return [wire for wire in wires if wire is not None]

    others = [other for other in get_args(Profile) if other != profile]
    return _Foreign(
        of_epoch=remade(_network(seed, profile, start_digest=b"\1" * 32)),
        of_round=remade(_network(seed, profile, training_round=_ROUND - 1)),
        of_profiles=[remade(_network(seed, other)) for other in others],
        tag_bytes=PROFILES[profile].tag_bytes,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A correct frame to change, the other ones of the batch, those of elsewhere, and the generator to draw from."""

    frame: _Sent
    sent: Sequence[_Sent]
    foreign: _Foreign
    rng: np.random.Generator


_Delivery = tuple[int, int, bytes]
"""Receiver, sender and bytes."""


def _flip(case: _Case, *, part: str) -> _Delivery:
    data = bytearray(case.frame.wire)
    tag = len(data) - case.foreign.tag_bytes
    low, high = {"header": (0, HEADER_BYTES), "body": (HEADER_BYTES, tag), "tag": (tag, len(data))}[part]
    bit = int(case.rng.integers(8 * low, 8 * high)) if high > low else int(case.rng.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    return case.frame.destination, case.frame.source, bytes(data)


def _replace(case: _Case, *, field_index: int) -> _Delivery:
    """Put another value into one field of the header: a near one, or any."""
    first, size = _FIELDS[field_index]
    old = int.from_bytes(case.frame.wire[first : first + size], "big")
    near = (old + int(case.rng.choice((-1, 1)))) % (1 << 8 * size)
    drawn = int.from_bytes(case.rng.bytes(size), "big")
    new = near if drawn == old or case.rng.random() < 0.5 else drawn
    return (
        case.frame.destination,
        case.frame.source,
        case.frame.wire[:first] + new.to_bytes(size, "big") + case.frame.wire[first + size :],
    )


def _shorten(case: _Case) -> _Delivery:
    return case.frame.destination, case.frame.source, case.frame.wire[: int(case.rng.integers(len(case.frame.wire)))]


def _extend(case: _Case) -> _Delivery:
    return case.frame.destination, case.frame.source, case.frame.wire + case.rng.bytes(int(case.rng.integers(1, 20)))


def _shift_body(case: _Case) -> _Delivery:
    """Add a byte, usually 0, to the body and to its length: what a hash that fills up with zeros must tell apart."""
    body = case.frame.wire[HEADER_BYTES : -case.foreign.tag_bytes] + (
        b"\0" if case.rng.random() < 0.8 else case.rng.bytes(1)
    )
    header = case.frame.wire[:50] + len(body).to_bytes(4, "big")
    return case.frame.destination, case.frame.source, header + body + case.frame.wire[-case.foreign.tag_bytes :]


def _reflect(case: _Case) -> _Delivery:
    return case.frame.source, case.frame.destination, case.frame.wire


def _turn(case: _Case) -> _Delivery:
    """Send it back with its ends exchanged in the header too."""
    ends = case.frame.destination.to_bytes(2, "big") + case.frame.source.to_bytes(2, "big")
    return case.frame.source, case.frame.destination, case.frame.wire[:33] + ends + case.frame.wire[37:]


def _another_link(case: _Case) -> _Delivery:
    """Hand it in on the link of another sender, as it is or with that sender's name."""
    thief = next(
        node
        for node in case.rng.permutation(_NODES).tolist()
        if node not in (case.frame.source, case.frame.destination)
    )
    data = case.frame.wire
    if case.rng.random() < 0.5:
        data = data[:33] + thief.to_bytes(2, "big") + data[35:]
    return case.frame.destination, thief, data


def _another_receiver(case: _Case) -> _Delivery:
    """Hand it to another receiver, with its name; a broadcast to its own receiver, as if for that one alone."""
    named = int.from_bytes(case.frame.wire[35:37], "big")
    other = next(
        node
        for node in case.rng.permutation(_NODES).tolist()
        if node not in (case.frame.source, case.frame.destination)
    )
    receiver = case.frame.destination if named == EVERYBODY else other
    return receiver, case.frame.source, case.frame.wire[:35] + receiver.to_bytes(2, "big") + case.frame.wire[37:]


def _as_broadcast(case: _Case) -> _Delivery:
    """Address it to everybody; a broadcast gets another kind instead."""
    if int.from_bytes(case.frame.wire[35:37], "big") == EVERYBODY:
        return _replace(case, field_index=6)
    return (
        case.frame.destination,
        case.frame.source,
        case.frame.wire[:35] + EVERYBODY.to_bytes(2, "big") + case.frame.wire[37:],
    )


def _tag_of_another(case: _Case) -> _Delivery:
    others = [one for one in case.sent if one.wire is not case.frame.wire]
    tag = others[int(case.rng.integers(len(others)))].wire[-case.foreign.tag_bytes :]
    return case.frame.destination, case.frame.source, case.frame.wire[: -case.foreign.tag_bytes] + tag


def _foreign_as_it_is(case: _Case, *, which: str) -> _Delivery:
    made: Sequence[bytes]
    if which == "profile":
        made = case.foreign.of_profiles[int(case.rng.integers(len(case.foreign.of_profiles)))]
    else:
        made = case.foreign.of_epoch if which == "epoch" else case.foreign.of_round
    return case.frame.destination, case.frame.source, made[case.sent.index(case.frame)]


def _foreign_renamed(case: _Case, *, which: str) -> _Delivery:
    """Put this frame's header before what was made elsewhere, so that only the tag tells them apart."""
    receiver, sender, data = _foreign_as_it_is(case, which=which)
    tag = data[len(case.frame.wire) - case.foreign.tag_bytes :]
    # Of another profile the tag has another length: cut it, or fill it up.
    tag = tag[: case.foreign.tag_bytes].ljust(case.foreign.tag_bytes, b"\0")
    return receiver, sender, case.frame.wire[: -case.foreign.tag_bytes] + tag


_CHANGES: Final[tuple[tuple[str, Callable[[_Case], _Delivery]], ...]] = (
    *((f"bit of the {part}", partial(_flip, part=part)) for part in ("header", "body", "tag")),
    *((f"header field {index}", partial(_replace, field_index=index)) for index in range(len(_FIELDS))),
    ("shortened", _shorten),
    ("extended", _extend),
    ("zero after the body", _shift_body),
    ("reflected", _reflect),
    ("ends exchanged", _turn),
    ("another link", _another_link),
    ("another receiver", _another_receiver),
    ("as a broadcast", _as_broadcast),
    ("tag of another frame", _tag_of_another),
    *((f"of another {which}", partial(_foreign_as_it_is, which=which)) for which in ("epoch", "round", "profile")),
    *((f"tag of another {which}", partial(_foreign_renamed, which=which)) for which in ("epoch", "round", "profile")),
)


def fuzz_frames(
    *,
    batches: int,
    seed: int = 0,
    profiles: Sequence[str] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Try batches of forgeries under each profile and count what was accepted.

    Args:
        batches: Batches for each profile, at least 1; 500 are 10^6 drawn and 10^5 changed frames.
        seed: Seed of the first one; the others follow it.
        profiles: Authentication profiles; all of them when left out.
        workers: Processes, at least 1; the counts do not depend on it.
        progress: Told after every batch.

    Returns:
        Counts, a row for each profile, and failures, as `ceas fuzz frames --json` prints them.

    Raises:
        DomainError: an argument is outside its range.
        UnknownNameError: there is no such profile.
    """
    chosen: list[Profile] = list(get_args(Profile))
    for name in profiles or ():
        if name not in PROFILES:
            raise UnknownNameError("profile", name, list(PROFILES))
    if profiles is not None:
        chosen = [profile for profile in chosen if profile in profiles]
    for name, value in (("--batches", batches), ("--workers", workers)):
        if value < 1:
            raise DomainError(f"Option `{name}` must be at least 1, but is {value}.")
    started_s = time.monotonic()
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    failed_seeds: list[int] = []
    done = 0
    for profile in chosen:
        began_s = time.monotonic()
        totals: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        for batch in _batches(range(seed, seed + batches), profile, workers):
            totals.update(drawn=batch.n_drawn, changed=batch.n_changed, correct=batch.n_correct)
            totals.update(accepted=len(batch.accepted))
            rejected.update(batch.rejected)
            failures += [{"profile": profile, "seed": batch.seed, "failure": text} for text in batch.accepted[:1]]
            failed_seeds += [batch.seed] if batch.accepted else []
            done += 1
            if progress is not None:
                progress(ProgressEvent(phase="batches", training_round=done, rounds=batches * len(chosen)))
        rows.append(
            {
                "profile": profile,
                "drawn_frames": totals["drawn"],
                "changed_frames": totals["changed"],
                "wrongly_handled": totals["accepted"],
                "correct_frames_accepted": totals["correct"],
                "bad_tags": rejected[RejectionReason.BAD_TAG],
                "wall_s": time.monotonic() - began_s,
                "rejected": dict(sorted(rejected.items())),
            }
        )
    return {
        "batches": batches,
        "first_seed": seed,
        "drawn_frames": sum(row["drawn_frames"] for row in rows),
        "changed_frames": sum(row["changed_frames"] for row in rows),
        "wrongly_handled": sum(row["wrongly_handled"] for row in rows),
        "failed_seeds": sorted(set(failed_seeds)),
        "wall_s": time.monotonic() - started_s,
        "profiles": rows,
        "failures": failures[:_SHOWN],
    }


def _batches(seeds: range, profile: Profile, workers: int) -> Iterator[FrameBatch]:
    run = partial(run_frame_batch, profile=profile)
    if workers == 1:
        yield from map(run, seeds)
        return
    with spawned_pool(workers) as pool:
        yield from pool.map(run, seeds, chunksize=10)
