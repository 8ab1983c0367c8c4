"""Tag frames at the sender and verify them at the receiver, for every ordered pair of nodes.

Rules of a receiver, in the order in which they are applied; a frame that breaks one is returned as `Rejected`, is
counted, and leaves the state as it was, except that a bad tag is remembered:
1. The link must not be closed.
2. Version, epoch, source, destination and length must be right, and the training round must be the current one. The
   source must be the node at the other end of the link on which the frame came: keys belong to links.
3. The sequence number must be unused on this direction: each is burnt by the first frame that verifies, and one that
   lies 64 or more behind the highest burnt one is burnt too. Frames may thus overtake each other, but never repeat.
4. The one-time key must be there and the tag must verify. A frame with a bad tag burns no sequence number, so a forger
   cannot suppress the real frame.
5. After 16 bad tags the receiver closes the link: it neither accepts from that peer nor sends to it any more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305
from numpy.typing import NDArray

from ceas.authentication.codec import (
    HEADER_BYTES,
    PROTOCOL_VERSION,
    ROUTE,
    STAMP,
    TAG_BYTES,
    Rejected,
    RejectionReason,
    decode_frame,
)
from ceas.authentication.keys import KeyPools
from ceas.authentication.profiles import FrameKeys, OneTimeKeys, SeededKeys
from ceas.errors import DomainError

__all__ = ["ALARM_BAD_TAGS", "Accepted", "AuthenticationAccount", "Authenticator", "Profile", "forgery_bound"]

Profile = Literal["seeded", "one_time"]
ALARM_BAD_TAGS: Final = 16
REPLAY_WINDOW: Final = 64
_WINDOW_MASK: Final = (1 << REPLAY_WINDOW) - 1
_LAST_SEQUENCE: Final = (1 << 63) - 1  # so that a checkpoint can hold it as a signed integer
_SECURITY: Final = {"seeded": "computational (BLAKE2b)", "one_time": "information-theoretic"}


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
        forgery_bound: Probability bound for one forgery attempt on the longest frame sent.
        enrolled_key_bits: Bits shared before training, all pairs of nodes together.
        generated_key_bits: Bits made of Bell pairs.
        consumed_key_bits: Bits used, enrolled ones included.
        starved_frames: Frames that were not sent for want of key.
        starved_links: Times a link could not pay for refreshing its seed.
        rejected_frames: Frames rejected, by reason.
        closed_links: Ordered pairs (receiver, sender) closed after too many bad tags.
    """

    profile: str
    security: str
    forgery_bound: float
    enrolled_key_bits: int
    generated_key_bits: float
    consumed_key_bits: int
    starved_frames: int
    starved_links: int
    rejected_frames: dict[str, int]
    closed_links: tuple[tuple[int, int], ...]


def forgery_bound(frame_bytes: int) -> float:
    """Return the Poly1305 forgery bound 8 ceil(L/16) / 2^106 of one attempt on a frame of L bytes.

    Raises:
        DomainError: `frame_bytes` is negative.

    Source:
        Bernstein, "The Poly1305-AES message-authentication code", FSE 2005, Theorem 3.3.
    """
    if frame_bytes < 0:
        raise DomainError(f"Argument `frame_bytes` must not be negative, but is {frame_bytes}.")
    return 8.0 * -(-frame_bytes // 16) / 2.0**106


class Authenticator:
    """Authenticated links between all pairs of nodes, both ends in one process.

    Call `begin_round` once for every training round, then `authenticate` at senders and `verify` at receivers.

    Args:
        pools: Key pools, owned by this authenticator from here on.
        profile: `seeded` or `one_time`, see `ceas.authentication.profiles`.
        links: Pairs of nodes joined by a link, whose seeds the profile `seeded` refreshes.
        reseed_rounds: Training rounds between two refreshments; used by `seeded`.
        epoch: 32 bytes from `epoch_hash`.

    Raises:
        DomainError: unknown profile, wrong length of `epoch`, or more nodes than a frame can name.
    """

    def __init__(
        self,
        pools: KeyPools,
        *,
        profile: Profile = "seeded",
        links: Iterable[tuple[int, int]] = (),
        reseed_rounds: int = 10,
        epoch: bytes,
    ) -> None:
        if profile not in _SECURITY:
            raise DomainError(f"Argument `profile` must be one of {', '.join(_SECURITY)}, but is {profile}.")
        if len(epoch) != 32:
            raise DomainError(f"Argument `epoch` must have 32 bytes, but has {len(epoch)}.")
        if pools.n_nodes > 0xFFFF:
            raise DomainError(f"Argument `pools` must have at most 65535 nodes, but has {pools.n_nodes}.")
        n = pools.n_nodes
        self.n_nodes = n
        self.pools = pools
        self.profile: Profile = profile
        self.training_round = -1
        self.starved_reseeds: NDArray[np.int64] = np.zeros(n * n, dtype=np.int64)
        self._epoch = epoch
        self._keys: FrameKeys
        self._keys = OneTimeKeys(pools) if profile == "one_time" else SeededKeys(pools, links, reseed_rounds)
        self._routes = [ROUTE.pack(PROTOCOL_VERSION, epoch, s, d) for s in range(n) for d in range(n)]
        # All lists below are indexed by source * n_nodes + destination.
        self._next_sequence = [0] * (n * n)
        self._highest_sequence = [-1] * (n * n)
        self._window = [0] * (n * n)  # bit k: sequence number `highest - k` is burnt
        self._bad_tags = [0] * (n * n)
        self._starved_frames = 0
        self._longest_frame = 0
        self._rejections: Counter[str] = Counter()

    @property
    def starved_frames(self) -> int:
        """Frames that were not sent for want of key since the start of the epoch."""
        return self._starved_frames

    @property
    def longest_frame_bytes(self) -> int:
        """Bytes of the longest frame sent since the start of the epoch, without its tag."""
        return self._longest_frame

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
        starved = self._keys.begin_round(training_round)
        for pair in starved:
            self.starved_reseeds[pair] += 1
        return starved

    def authenticate(self, source: int, destination: int, kind: int, body: bytes) -> bytes | None:
        """Return one frame with its tag, or None when there is no key for it or the link is closed.

        Args:
            source: Sending node.
            destination: Receiving node, another one.
            kind: Message kind, in [0, 255].
            body: Message bytes.
        """
        frames = self._tagged(source, (destination,), kind, body)
        return frames[0][1] if frames else None

    def authenticate_broadcast(self, source: int, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """Return (destination, frame with tag) for every other node that can be reached, in order of the nodes."""
        return self._tagged(source, [node for node in range(self.n_nodes) if node != source], kind, body)

    def pass_frames(self, counts: Sequence[int], longest_body: int) -> bool:
        """Move on as if each node had sent some frames to each other, and all had been verified.

        Args:
            counts: Frames from each node to each other one, each in [1, 64].
            longest_body: Bytes of the longest message.

        Returns:
            Whether all of them could have been sent: there is key for each, and no link is closed. If not, nothing
            changes.
        """
        n = self.n_nodes
        directions = [(s, d, s * n + d) for s in range(n) for d in range(n) if s != d]
        sequences = self._next_sequence
        if max(self._bad_tags) >= ALARM_BAD_TAGS or not all(
            self._keys.holds_frames(source, destination, sequences[direction], counts[source])
            for source, destination, direction in directions
        ):
            return False
        for source, destination, direction in directions:
            count = counts[source]
            burnt = (1 << count) - 1
            self._keys.pay(source, destination, count)
            ahead = sequences[direction] + count - 1 - self._highest_sequence[direction]
            self._highest_sequence[direction] += ahead
            self._window[direction] = (self._window[direction] << min(ahead, REPLAY_WINDOW) | burnt) & _WINDOW_MASK
            sequences[direction] += count
        self._longest_frame = max(self._longest_frame, HEADER_BYTES + longest_body)
        return True

    def verify(self, receiver: int, sender: int, data: bytes) -> Accepted | Rejected:  # noqa: PLR0911 - one per rule
        """Verify bytes that arrived at `receiver` on its link with `sender`; total on any bytes.

        Returns:
            The frame's content, or `Rejected` with the reason, which is also counted.
        """
        direction = sender * self.n_nodes + receiver
        if self._bad_tags[direction] >= ALARM_BAD_TAGS:
            return self._reject(sender, RejectionReason.LINK_CLOSED)
        if len(data) < HEADER_BYTES + TAG_BYTES or not data.startswith(self._routes[direction]):
            return self._reject(sender, self._route_fault(data, sender, receiver))
        sequence, training_round, kind, body_length = STAMP.unpack_from(data, ROUTE.size)
        if body_length != len(data) - HEADER_BYTES - TAG_BYTES or sequence > _LAST_SEQUENCE:
            return self._reject(sender, RejectionReason.MALFORMED)
        if training_round != self.training_round:
            return self._reject(sender, RejectionReason.WRONG_TRAINING_ROUND)
        if sequence <= self._highest_sequence[direction] and self._is_burnt(direction, sequence):
            return self._reject(sender, RejectionReason.REPLAYED_SEQUENCE)
        key = self._keys.frame_key(sender, receiver, sequence)
        if key is None:
            return self._reject(sender, RejectionReason.NO_KEY)
        try:
            Poly1305.verify_tag(key, data[:-TAG_BYTES], data[-TAG_BYTES:])
        except InvalidSignature:
            self._bad_tags[direction] += 1
            return self._reject(sender, RejectionReason.BAD_TAG)
        self._burn(direction, sequence)
        return Accepted(kind, data[HEADER_BYTES:-TAG_BYTES])

    def account(self) -> AuthenticationAccount:
        """Return what authentication promised, cost and refused so far."""
        n = self.n_nodes
        return AuthenticationAccount(
            profile=self.profile,
            security=_SECURITY[self.profile],
            forgery_bound=forgery_bound(self._longest_frame),
            enrolled_key_bits=self.pools.enrolled_key_bits * self.pools.n_node_pairs(),
            generated_key_bits=float(self.pools.generated_bits.sum()),
            consumed_key_bits=int(self.pools.consumed_bits.sum()),
            starved_frames=self._starved_frames,
            starved_links=int(self.starved_reseeds.sum()),
            rejected_frames=dict(sorted(self._rejections.items())),
            closed_links=tuple((d % n, d // n) for d, bad in enumerate(self._bad_tags) if bad >= ALARM_BAD_TAGS),
        )

    def _tagged(self, source: int, destinations: Iterable[int], kind: int, body: bytes) -> list[tuple[int, bytes]]:
        n, frame_key, pay, pack = self.n_nodes, self._keys.frame_key, self._keys.pay, STAMP.pack
        training_round, body_length = self.training_round, len(body)
        frames = []
        for destination in destinations:
            if self._bad_tags[destination * n + source] >= ALARM_BAD_TAGS:
                continue
            direction = source * n + destination
            sequence = self._next_sequence[direction]
            key = frame_key(source, destination, sequence)
            if key is None:
                self._starved_frames += 1
                continue
            pay(source, destination)
            self._next_sequence[direction] = sequence + 1
            frame = self._routes[direction] + pack(sequence, training_round, kind, body_length) + body
            frames.append((destination, frame + Poly1305.generate_tag(key, frame)))
        if frames:
            self._longest_frame = max(self._longest_frame, HEADER_BYTES + body_length)
        return frames

    def _reject(self, sender: int, reason: RejectionReason) -> Rejected:
        self._rejections[reason.value] += 1
        return Rejected(sender, reason.value)

    def _route_fault(self, data: bytes, sender: int, receiver: int) -> RejectionReason:
        frame = decode_frame(data[:-TAG_BYTES], sender)
        if isinstance(frame, Rejected):
            return RejectionReason(frame.reason)
        if frame.epoch_hash != self._epoch:
            return RejectionReason.WRONG_EPOCH
        if frame.source != sender:
            return RejectionReason.WRONG_SOURCE
        if frame.destination != receiver:
            return RejectionReason.WRONG_DESTINATION
        return RejectionReason.MALFORMED

    def _is_burnt(self, direction: int, sequence: int) -> bool:
        behind = self._highest_sequence[direction] - sequence
        return behind >= REPLAY_WINDOW or bool(self._window[direction] >> behind & 1)

    def _burn(self, direction: int, sequence: int) -> None:
        ahead = sequence - self._highest_sequence[direction]
        if ahead > 0:
            self._highest_sequence[direction] = sequence
            # A jump past the window empties it; shifting by an unchecked 64-bit number would exhaust memory.
            self._window[direction] = (self._window[direction] << min(ahead, REPLAY_WINDOW) | 1) & _WINDOW_MASK
        else:
            self._window[direction] |= 1 << -ahead

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the complete state as arrays, for a checkpoint between two training rounds."""
        return {
            "training_round": np.array(self.training_round),
            "generated_bits": self.pools.generated_bits.copy(),
            "consumed_bits": self.pools.consumed_bits.copy(),
            "keys": self._keys.to_array(),
            **self.pools.open_blocks(),
            "starved_reseeds": self.starved_reseeds.copy(),
            "next_sequence": np.array(self._next_sequence, dtype=np.int64),
            "highest_sequence": np.array(self._highest_sequence, dtype=np.int64),
            "window": np.array(self._window, dtype=np.uint64),
            "bad_tags": np.array(self._bad_tags, dtype=np.int64),
            "counts": np.array([self._starved_frames, self._longest_frame], dtype=np.int64),
            "rejections": np.array([self._rejections[reason.value] for reason in RejectionReason], dtype=np.int64),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what `to_arrays` returned; the constructor's arguments must be those of the saved run."""
        self.pools.load(arrays["generated_bits"], arrays["consumed_bits"])
        self.pools.load_open_blocks(arrays)
        self._keys.load(arrays["keys"])
        self.training_round = int(arrays["training_round"])
        self.starved_reseeds = np.array(arrays["starved_reseeds"], dtype=np.int64)
        self._next_sequence = arrays["next_sequence"].tolist()
        self._highest_sequence = arrays["highest_sequence"].tolist()
        self._window = arrays["window"].tolist()
        self._bad_tags = arrays["bad_tags"].tolist()
        self._starved_frames, self._longest_frame = arrays["counts"].tolist()
        counts = zip(RejectionReason, arrays["rejections"].tolist(), strict=True)
        self._rejections = Counter({reason.value: count for reason, count in counts if count})
