"""Tag frames at the sender and verify them at the receiver, for every ordered pair of nodes.

Rules of a receiver, in the order in which they are applied; a frame that breaks one is returned as `Rejected`, is
counted, and leaves the state as it was, except that a bad tag is remembered:
1. The link must not be closed.
2. Version, epoch, source, destination and length must be right, and the training round must be the current one. The
   source must be the node at the other end of the link on which the frame came: keys belong to links. The epoch names
   the profile, so that a frame of another profile is one of another epoch.
3. The sequence number must be unused on this direction: each is burnt by the first frame that verifies, and one that
   lies 64 or more behind the highest burnt one is burnt too. Frames may thus overtake each other, but never repeat.
   Broadcasts under `ml_dsa`, of which all receivers get the same bytes, are numbered apart from other frames.
4. No more frames than the quota have been accepted from this peer in the training round.
5. There must be key for the frame and the tag must verify. A frame with a bad tag burns no sequence number and no pad,
   so a forger cannot suppress the real frame.
6. After 16 bad tags (4 under `its64`) the receiver closes the link: it neither accepts from that peer nor sends to it
   any more.

Rules of a sender: it sends nothing over a closed link, nothing beyond the quota, and nothing without key for it. A
frame of the class `bulk` (updates, and values that were asked for) also leaves key for `reserve_rounds` training rounds
of frames of the class `control` (votes, proposals of sets, decisions, view changes, echoes, readies) on its direction.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.authentication.codec import (
    EVERYBODY,
    HEADER_BYTES,
    PROTOCOL_VERSION,
    ROUTE,
    STAMP,
    Rejected,
    RejectionReason,
    decode_frame,
    link_epoch,
)
from ceas.authentication.keys import KeyPools
from ceas.authentication.profiles import (
    OneTimePads,
    Profile,
    RefreshedSeeds,
    Signatures,
    TagMaker,
    forgery_bound,
    require_profile,
)
from ceas.authentication.signatures import signing_keys
from ceas.errors import DomainError

__all__ = [
    "CONTROL_FRAMES_OF_ROUND",
    "Accepted",
    "AuthenticationAccount",
    "Authenticator",
    "FrameClass",
]

FrameClass = Literal["control", "bulk"]
CONTROL_FRAMES_OF_ROUND: Final = 8
"""Control frames of a training round on one direction of a link, for the reserve: those of a round that nothing
disturbs, which are echo, ready, four votes, decision, and the leader's proposal. A view change sends as many again."""
REPLAY_WINDOW: Final = 64
_WINDOW_MASK: Final = (1 << REPLAY_WINDOW) - 1
_LAST_SEQUENCE: Final = (1 << 63) - 1  # so that a checkpoint can hold it as a signed integer


class Accepted(NamedTuple):
    """Content of a frame whose tag verified (a named tuple: thousands are made in a training round)."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationAccount:
    """What authentication promised, cost and refused since the start of the epoch.

    Args:
        profile: Profile in force for every frame; it never changes within an epoch.
        security: What the forgery bound rests on.
        forgery_bound: Probability bound for one forgery attempt on the longest frame sent; None where there is only an
            assumption (`ml_dsa`).
        attempts: Forgery attempts that closing links leaves, over all n (n - 1) directions.
        forgery_bound_of_all: `attempts` times `forgery_bound`, at most 1; or None.
        enrolled_key_bits: Bits shared before training, all pairs of nodes together.
        generated_key_bits: Bits made of Bell pairs.
        consumed_key_bits: Bits used, enrolled ones included.
        starved_frames: Frames that were not sent for want of key.
        reserved_frames: Those of them that were bulk frames held back in favour of control frames to come.
        over_quota_frames: Frames that were not sent because the quota of their direction was used up.
        starved_links: Times a link could not pay for refreshing its seed.
        rejected_frames: Frames rejected, by reason.
        closed_links: Ordered pairs (receiver, sender) closed after too many bad tags.
        tag_checks: Tags that receivers looked at, as many as a network of real nodes would compute.
        computed_tag_checks: Those that were computed here; fewer if good signatures are remembered.
    """

    profile: str
    security: str
    forgery_bound: float | None
    attempts: int
    forgery_bound_of_all: float | None
    enrolled_key_bits: int
    generated_key_bits: float
    consumed_key_bits: int
    starved_frames: int
    reserved_frames: int
    over_quota_frames: int
    starved_links: int
    rejected_frames: dict[str, int]
    closed_links: tuple[tuple[int, int], ...]
    tag_checks: int
    computed_tag_checks: int


class Authenticator:
    """Authenticated links between all pairs of nodes, both ends in one process.

    Call `begin_round` once for every training round, then `authenticate` at senders and `verify` at receivers.

    Args:
        pools: Key pools, owned by this authenticator from here on.
        profile: Authentication profile, see `ceas.authentication.profiles`.
        links: Pairs of nodes joined by a link, whose seeds the profile `qkd_seeded` refreshes.
        reseed_rounds: Training rounds between two refreshments; used by `qkd_seeded`.
        reserve_rounds: Training rounds of control frames, `CONTROL_FRAMES_OF_ROUND` each, whose pads bulk frames leave
            on their direction, at least 0; used by profiles with pads.
        frame_quota: Frames on one direction in a training round, at least 1; the receiver holds it too. Without a
            disturbance 9 are sent, each view change adds at most 8, and values that are asked for at most 2 n: 1024
            leave room for f failed leaders in a row of up to 200 nodes.
        remember_signatures: Whether the bytes of a signed broadcast are verified once in the process and not once for
            each receiver; used by `ml_dsa`. The account says how many checks real nodes would compute.
        epoch: 32 bytes from `epoch_hash`.

    Attributes:
        epoch: 32 bytes that frames carry: the argument, the profile and for `ml_dsa` the public keys of the roster.

    Raises:
        DomainError: unknown profile, wrong length of `epoch`, more nodes than a frame can name, or a negative number.
    """

    def __init__(
        self,
        pools: KeyPools,
        *,
        profile: Profile = "qkd_seeded",
        links: Iterable[tuple[int, int]] = (),
        reseed_rounds: int = 10,
        reserve_rounds: int = 3,
        frame_quota: int = 1024,
        remember_signatures: bool = False,
        epoch: bytes,
    ) -> None:
        facts = require_profile(profile)
        if len(epoch) != 32:
            raise DomainError(f"Argument `epoch` must have 32 bytes, but has {len(epoch)}.")
        if pools.n_nodes > EVERYBODY:
            raise DomainError(f"Argument `pools` must have at most {EVERYBODY} nodes, but has {pools.n_nodes}.")
        for name, value, least in (("reserve_rounds", reserve_rounds, 0), ("frame_quota", frame_quota, 1)):
            if value < least:
                raise DomainError(f"Argument `{name}` must be at least {least}, but is {value}.")
        n = pools.n_nodes
        self.n_nodes = n
        self.pools = pools
        self.profile: Profile = profile
        self.frame_quota = frame_quota
        self.reserve_frames = reserve_rounds * CONTROL_FRAMES_OF_ROUND if facts.pad_bits else 0
        self.training_round = -1
        self.starved_reseeds: NDArray[np.int64] = np.zeros(n * n, dtype=np.int64)
        self._facts = facts
        self._tag_bytes = facts.tag_bytes
        self._alarm = facts.alarm_bad_tags
        keys = signing_keys(pools.seed, n) if profile == "ml_dsa" else ()
        self.epoch = link_epoch(epoch, profile, [key.public_key().public_bytes_raw() for key in keys])
        self._signatures = Signatures(keys, self.epoch, remembers=remember_signatures) if keys else None
        self._tags = self._signatures or _shared_key_tags(pools, profile, links, reseed_rounds)
        # Lists are indexed by source * n_nodes + destination. Where broadcasts are signed once, they have numbers of
        # their own: n_nodes more counters of sources, and n_nodes**2 more windows of receivers.
        n_lanes = n * n if self._signatures is None else 2 * n * n
        self._routes = [ROUTE.pack(PROTOCOL_VERSION, self.epoch, s, d) for s in range(n) for d in range(n)]
        self._broadcast_routes = [ROUTE.pack(PROTOCOL_VERSION, self.epoch, s, EVERYBODY) for s in range(n)]
        self._next_sequence = [0] * (n * n if self._signatures is None else n * n + n)
        self._highest_sequence = [-1] * n_lanes
        self._window = [0] * n_lanes  # bit k: sequence number `highest - k` is burnt
        self._bad_tags = [0] * (n * n)
        self._sent = [0] * (n * n)  # in this training round
        self._accepted = [0] * (n * n)  # in this training round
        self._starved_frames = 0
        self._reserved_frames = 0
        self._over_quota_frames = 0
        self._tag_checks = 0
        self._longest_frame = 0
        self._rejections: Counter[str] = Counter()

    @property
    def starved_frames(self) -> int:
        """Frames that were not sent for want of key since the start of the epoch."""
        return self._starved_frames

    @property
    def over_quota_frames(self) -> int:
        """Frames that were not sent because of the quota since the start of the epoch."""
        return self._over_quota_frames

    @property
    def longest_frame_bytes(self) -> int:
        """Bytes of the longest frame sent since the start of the epoch, without its tag."""
        return self._longest_frame

    @property
    def overhead_bytes(self) -> int:
        """Bytes that header and tag add to a body."""
        return HEADER_BYTES + self._tag_bytes

    def begin_round(self, training_round: int) -> tuple[int, ...]:
        """Move both ends of every link on to a training round.

        Args:
            training_round: Larger than that of the call before, in [0, 2**32).

        Returns:
            Indices (see `KeyPools`) of the linked pairs of nodes that could not pay for a fresh seed.

        Raises:
            DomainError: the training round does not move on.
        """
        if not self.training_round < training_round < 1 << 32:
            raise DomainError(
                f"Argument `training_round` must be in ({self.training_round}, 2**32), but is {training_round}."
            )
        self.training_round = training_round
        self._sent = [0] * len(self._sent)
        self._accepted = [0] * len(self._accepted)
        starved = self._tags.begin_round(training_round)
        for pair in starved:
            self.starved_reseeds[pair] += 1
        return starved

    def authenticate(
        self, source: int, destination: int, kind: int, body: bytes, *, frame_class: FrameClass = "control"
    ) -> bytes | None:
        """Return one frame with its tag, or None when it cannot be sent: closed link, quota or key.

        Args:
            source: Sending node.
            destination: Receiving node, another one.
            kind: Message kind, in [0, 255].
            body: Message bytes.
            frame_class: `bulk` for updates and values that were asked for, `control` for all else.
        """
        frames = self._tagged(source, (destination,), kind, body, frame_class)
        return frames[0][1] if frames else None

    def authenticate_broadcast(
        self, source: int, kind: int, body: bytes, *, frame_class: FrameClass = "control"
    ) -> list[tuple[int, bytes]]:
        """Return (destination, frame with tag) for every other node that can be reached, in order of the nodes.

        Under `ml_dsa` all get the same bytes, signed once.
        """
        others = [node for node in range(self.n_nodes) if node != source]
        if self._signatures is None:
            return self._tagged(source, others, kind, body, frame_class)
        reached = [destination for destination in others if self._may_send(source, destination)]
        if not reached:
            return []
        counter = self.n_nodes**2 + source
        sequence = self._next_sequence[counter]
        self._next_sequence[counter] = sequence + 1
        frame = self._broadcast_routes[source] + STAMP.pack(sequence, self.training_round, kind, len(body)) + body
        frame += self._signatures.make(source, EVERYBODY, sequence, frame)
        for destination in reached:
            self._sent[source * self.n_nodes + destination] += 1
        self._longest_frame = max(self._longest_frame, HEADER_BYTES + len(body))
        return [(destination, frame) for destination in reached]

    def able_links(self, n_frames: int) -> NDArray[np.bool_]:
        """Say which directions can carry a training round of so many control frames each, in whatever profile.

        A direction can if neither end has closed the link and there is key for all of the frames. The quota is no
        matter of key and does not count here.

        Args:
            n_frames: Control frames on each direction, not negative.

        Returns:
            Shape (n, n), indexed by source and destination; true on the diagonal.

        Raises:
            DomainError: `n_frames` is negative.
        """
        if n_frames < 0:
            raise DomainError(f"Argument `n_frames` must not be negative, but is {n_frames}.")
        n = self.n_nodes
        left = self._tags.frames_left(self._own_sequences())
        able = self._are_open() & (left >= n_frames)
        return np.asarray(able | np.eye(n, dtype=bool))

    def pass_frames(self, control: ArrayLike, longest_body: int, *, bulk: ArrayLike = 0) -> bool:
        """Move on as if frames had been sent and verified, bulk frames first, then control frames.

        Under `ml_dsa` they are broadcasts, so that a source's numbers are the same for all destinations.

        Args:
            control: Control frames on each direction, one number or shape (n, n) by source and destination.
            longest_body: Bytes of the longest message.
            bulk: Bulk frames likewise; both together in [0, 64]. Diagonals are not used.

        Returns:
            Whether all of them could have been sent: there is key for each, within reserve and quota, and no link that
            is to be used is closed. If not, nothing changes.

        Raises:
            DomainError: a number of frames is out of range.
        """
        n = self.n_nodes
        off_diagonal = ~np.eye(n, dtype=bool)
        n_control, n_bulk = (np.where(off_diagonal, np.asarray(c, dtype=np.int64), 0) for c in (control, bulk))
        counts = n_control + n_bulk
        if min(n_control.min(), n_bulk.min()) < 0 or counts.max() > REPLAY_WINDOW:
            raise DomainError(f"Arguments `control` and `bulk` must be in [0, {REPLAY_WINDOW}] together.")
        needed = np.maximum(counts, np.where(n_bulk > 0, n_bulk + self.reserve_frames, 0))
        sequences = self._own_sequences()
        is_used = counts > 0
        used_quota = np.maximum(*(np.array(c, dtype=np.int64).reshape(n, n) for c in (self._sent, self._accepted)))
        can = self._are_open() & (self._tags.frames_left(sequences) >= needed)
        can &= used_quota + counts <= self.frame_quota
        if not can[is_used].all():
            return False
        if self._signatures is None:
            base, own = 0, sequences + counts
            self._next_sequence = own.ravel().tolist()
        else:
            base = n * n
            sent = counts.max(axis=1)
            if not np.array_equal(counts, np.where(off_diagonal, sent[:, None], 0)):
                return False  # some of them would not be broadcasts
            sources = np.array(self._next_sequence[base:], dtype=np.int64)
            sequences = np.broadcast_to(sources[:, None], (n, n))
            self._next_sequence[base:] = (sources + sent).tolist()
        self._tags.pay(counts)
        self._burn_many(base, sequences.ravel(), counts.ravel())
        self._sent = (np.array(self._sent) + counts.ravel()).tolist()
        self._accepted = (np.array(self._accepted) + counts.ravel()).tolist()
        self._tag_checks += int(counts.sum())
        if self._signatures is not None:
            self._signatures.n_checks += int(counts.sum())  # none of them is computed here
        if is_used.any():
            self._longest_frame = max(self._longest_frame, HEADER_BYTES + longest_body)
        return True

    def verify(self, receiver: int, sender: int, data: bytes) -> Accepted | Rejected:  # noqa: PLR0911 - one per rule
        """Verify bytes that arrived at `receiver` on its link with `sender`; total on any bytes.

        Returns:
            The frame's content, or `Rejected` with the reason, which is also counted.
        """
        direction = lane = sender * self.n_nodes + receiver
        if self._bad_tags[direction] >= self._alarm:
            return self._reject(sender, RejectionReason.LINK_CLOSED)
        if len(data) < HEADER_BYTES + self._tag_bytes:
            return self._reject(sender, self._route_fault(data, sender, receiver))
        if not data.startswith(self._routes[direction]):
            if self._signatures is None or receiver == sender or not data.startswith(self._broadcast_routes[sender]):
                return self._reject(sender, self._route_fault(data, sender, receiver))
            lane += self.n_nodes**2
        sequence, training_round, kind, body_length = STAMP.unpack_from(data, ROUTE.size)
        if body_length != len(data) - HEADER_BYTES - self._tag_bytes or sequence > _LAST_SEQUENCE:
            return self._reject(sender, RejectionReason.MALFORMED)
        if training_round != self.training_round:
            return self._reject(sender, RejectionReason.WRONG_TRAINING_ROUND)
        if sequence <= self._highest_sequence[lane] and self._is_burnt(lane, sequence):
            return self._reject(sender, RejectionReason.REPLAYED_SEQUENCE)
        if self._accepted[direction] >= self.frame_quota:
            return self._reject(sender, RejectionReason.OVER_QUOTA)
        if not self._tags.holds(sender, receiver, sequence):
            return self._reject(sender, RejectionReason.NO_KEY)
        self._tag_checks += 1
        if not self._tags.check(sender, receiver, sequence, data):
            self._bad_tags[direction] += 1
            return self._reject(sender, RejectionReason.BAD_TAG)
        self._burn(lane, sequence)
        self._accepted[direction] += 1
        return Accepted(kind, data[HEADER_BYTES : -self._tag_bytes])

    def account(self) -> AuthenticationAccount:
        """Return what authentication promised, cost and refused so far."""
        n = self.n_nodes
        bound = forgery_bound(self._longest_frame, self.profile)
        attempts = n * (n - 1) * self._alarm
        remembered = 0 if self._signatures is None else self._signatures.n_checks - self._signatures.n_verified
        return AuthenticationAccount(
            profile=self.profile,
            security=self._facts.security,
            forgery_bound=bound,
            attempts=attempts,
            forgery_bound_of_all=None if bound is None else min(1.0, attempts * bound),
            enrolled_key_bits=self.pools.enrolled_key_bits * self.pools.n_node_pairs(),
            generated_key_bits=float(self.pools.generated_bits.sum()),
            consumed_key_bits=int(self.pools.consumed_bits.sum()),
            starved_frames=self._starved_frames,
            reserved_frames=self._reserved_frames,
            over_quota_frames=self._over_quota_frames,
            starved_links=int(self.starved_reseeds.sum()),
            rejected_frames=dict(sorted(self._rejections.items())),
            closed_links=tuple((d % n, d // n) for d, bad in enumerate(self._bad_tags) if bad >= self._alarm),
            tag_checks=self._tag_checks,
            computed_tag_checks=self._tag_checks - remembered,
        )

    def _may_send(self, source: int, destination: int) -> bool:
        """Say whether the link is open and the quota is not used up; count the frame if it is."""
        n = self.n_nodes
        if self._bad_tags[destination * n + source] >= self._alarm:
            return False
        if self._sent[source * n + destination] >= self.frame_quota:
            self._over_quota_frames += 1
            return False
        return True

    def _tagged(
        self, source: int, destinations: Iterable[int], kind: int, body: bytes, frame_class: FrameClass
    ) -> list[tuple[int, bytes]]:
        n, tags, pack = self.n_nodes, self._tags, STAMP.pack
        training_round, body_length = self.training_round, len(body)
        reserved = self.reserve_frames if frame_class == "bulk" else 0
        frames = []
        for destination in destinations:
            if not self._may_send(source, destination):
                continue
            direction = source * n + destination
            sequence = self._next_sequence[direction]
            if not tags.holds(source, destination, sequence + reserved):
                self._starved_frames += 1
                self._reserved_frames += bool(reserved) and tags.holds(source, destination, sequence)
                continue
            tags.pay_one(source, destination)
            self._next_sequence[direction] = sequence + 1
            self._sent[direction] += 1
            frame = self._routes[direction] + pack(sequence, training_round, kind, body_length) + body
            frames.append((destination, frame + tags.make(source, destination, sequence, frame)))
        if frames:
            self._longest_frame = max(self._longest_frame, HEADER_BYTES + body_length)
        return frames

    def _own_sequences(self) -> NDArray[np.int64]:
        """Return the next numbers of frames to single destinations, shape (n, n)."""
        n = self.n_nodes
        return np.array(self._next_sequence[: n * n], dtype=np.int64).reshape(n, n)

    def _are_open(self) -> NDArray[np.bool_]:
        """Return the directions of links that neither end has closed, shape (n, n)."""
        is_closed = np.array(self._bad_tags).reshape(self.n_nodes, -1) >= self._alarm
        return np.asarray(~(is_closed | is_closed.T))

    def _reject(self, sender: int, reason: RejectionReason) -> Rejected:
        self._rejections[reason.value] += 1
        return Rejected(sender, reason.value)

    def _route_fault(self, data: bytes, sender: int, receiver: int) -> RejectionReason:
        frame = decode_frame(data[: -self._tag_bytes], sender)
        if isinstance(frame, Rejected):
            return RejectionReason(frame.reason)
        if frame.epoch_hash != self.epoch:
            return RejectionReason.WRONG_EPOCH
        if frame.source != sender:
            return RejectionReason.WRONG_SOURCE
        if frame.destination != receiver:
            return RejectionReason.WRONG_DESTINATION
        return RejectionReason.MALFORMED

    def _is_burnt(self, lane: int, sequence: int) -> bool:
        behind = self._highest_sequence[lane] - sequence
        return behind >= REPLAY_WINDOW or bool(self._window[lane] >> behind & 1)

    def _burn(self, lane: int, sequence: int) -> None:
        ahead = sequence - self._highest_sequence[lane]
        if ahead > 0:
            self._highest_sequence[lane] = sequence
            # A jump past the window empties it; shifting by an unchecked 64-bit number would exhaust memory.
            self._window[lane] = (self._window[lane] << min(ahead, REPLAY_WINDOW) | 1) & _WINDOW_MASK
        else:
            self._window[lane] |= 1 << -ahead

    def _burn_many(self, base: int, sequences: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Burn `counts` numbers from the given ones on, all of them new, in the lanes from `base` on."""
        lanes = slice(base, base + len(counts))
        highest = np.array(self._highest_sequence[lanes], dtype=np.int64)
        window = np.array(self._window[lanes], dtype=np.uint64)
        moved = np.where(counts > 0, sequences + counts - 1 - highest, 0)
        # Shifts of 64 and more are not defined for 64-bit numbers.
        kept = np.where(moved < REPLAY_WINDOW, window << np.minimum(moved, REPLAY_WINDOW - 1).astype(np.uint64), 0)
        ones = np.uint64(_WINDOW_MASK) >> (REPLAY_WINDOW - np.maximum(counts, 1)).astype(np.uint64)
        self._highest_sequence[lanes] = (highest + moved).tolist()
        self._window[lanes] = np.where(counts > 0, kept.astype(np.uint64) | ones, window).tolist()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the complete state as arrays, for a checkpoint between two training rounds.

        To go on from a checkpoint that is older than frames which were sent is to send other frames under their pads,
        unless they are the same bytes, as they are in a run that repeats itself.
        """
        signed = [0, 0] if self._signatures is None else [self._signatures.n_checks, self._signatures.n_verified]
        counts = [self._starved_frames, self._longest_frame, self._reserved_frames, self._over_quota_frames]
        return {
            "training_round": np.array(self.training_round),
            "generated_bits": self.pools.generated_bits.copy(),
            "consumed_bits": self.pools.consumed_bits.copy(),
            "keys": self._tags.to_array(),
            **self.pools.open_blocks(),
            "starved_reseeds": self.starved_reseeds.copy(),
            "next_sequence": np.array(self._next_sequence, dtype=np.int64),
            "highest_sequence": np.array(self._highest_sequence, dtype=np.int64),
            "window": np.array(self._window, dtype=np.uint64),
            "bad_tags": np.array(self._bad_tags, dtype=np.int64),
            "sent": np.array(self._sent, dtype=np.int64),
            "accepted": np.array(self._accepted, dtype=np.int64),
            "counts": np.array(counts, dtype=np.int64),
            "tag_checks": np.array([self._tag_checks, *signed], dtype=np.int64),
            "rejections": np.array([self._rejections[reason.value] for reason in RejectionReason], dtype=np.int64),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `to_arrays` returned; the constructor's arguments must be those of the saved run."""
        self.pools.load(arrays["generated_bits"], arrays["consumed_bits"])
        self.pools.load_open_blocks(arrays)
        self._tags.load(arrays["keys"])
        self.training_round = int(arrays["training_round"])
        self.starved_reseeds = np.array(arrays["starved_reseeds"], dtype=np.int64)
        self._next_sequence = arrays["next_sequence"].tolist()
        self._highest_sequence = arrays["highest_sequence"].tolist()
        self._window = arrays["window"].tolist()
        self._bad_tags = arrays["bad_tags"].tolist()
        self._sent = arrays["sent"].tolist()
        self._accepted = arrays["accepted"].tolist()
        counts = arrays["counts"].tolist()
        self._starved_frames, self._longest_frame, self._reserved_frames, self._over_quota_frames = counts
        self._tag_checks, n_checks, n_verified = arrays["tag_checks"].tolist()
        if self._signatures is not None:
            self._signatures.n_checks, self._signatures.n_verified = n_checks, n_verified
        rejections = zip(RejectionReason, arrays["rejections"].tolist(), strict=True)
        self._rejections = Counter({reason.value: count for reason, count in rejections if count})


def _shared_key_tags(
    pools: KeyPools, profile: Profile, links: Iterable[tuple[int, int]], reseed_rounds: int
) -> TagMaker:
    """Return the maker of tags under keys that two nodes share."""
    if profile == "its128" or profile == "its64":  # noqa: PLR1714 - a membership test does not narrow the type
        return OneTimePads(pools, profile)
    return RefreshedSeeds(pools, links, reseed_rounds)
