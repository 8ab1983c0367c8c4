"""Certification of a link by joint tests, as a state machine without input or output, and what peers make of it.

One machine is one end of one link in one block of pairs. It neither reads a clock nor opens a connection nor draws
numbers: `start`, `receive`, `measured` and `expire` take what happened and return what to do, in order. The driver
authenticates messages; `sender` is the node that the link's key belongs to.

Message flow (both ends do the same; H: SHA-256, r: random string of 32 bytes, x: context of link, block and numbers)::

    pairs are stored ──HOLDING(held, H(x, end, nonce, held, r))──> peer: both know who holds what
    ──COIN_OPENING(r, nonce)──> peer: positions and bases = SHAKE-256(x, both HOLDINGs, both r); measure
    ──OUTCOME_COMMITMENT(H(x, coin, end, nonce, outcomes, lost))──> peer
    ──OUTCOME_OPENING(outcomes, lost, nonce)──> peer: count
    ──report(certificate or none, flags, hash of the transcript), by reliable broadcast──> all: judge both reports

Transitions of one end; a message is taken once, and one that comes before its turn waits
    T1  start                                              -> HOLDING
    T2  HOLDING of the peer, at most `n_tests` pairs held by both    -> flags TOO_FEW_PAIRS, SHORT; report
    T3  HOLDING of the peer, more                          -> COIN_OPENING; flag SHORT if fewer than the quota
    T4  COIN_OPENING that fits the peer's HOLDING          -> Measure(positions, bases)
    T5  measured                                           -> OUTCOME_COMMITMENT
    T6  measured, OUTCOME_COMMITMENT of the peer           -> OUTCOME_OPENING
    T7  OUTCOME_OPENING that fits the commitment           -> report with certificate; flag DISAGREEMENT if more tests
                                                              fail than the promised fidelity explains
    T8  opening that does not fit its commitment           -> flag BAD_OPENING; report
        second, different message of one kind              -> flag EQUIVOCATION; report
    T9  expire before the end                              -> flag MISSING; report
A report without a certificate certifies nothing. A flag is a flag of **both** ends: of a quarrel of two nobody else can
tell who lies. What an end knows better it may keep in mind, but has no way to prove.

Why it holds. Nobody knows a position before what is held is said and both strings are fixed: an honest end's string is
uniform and hidden, so positions are uniform to whoever prepared pairs, stored them or denied them. A liar may refuse
to open once it knows the coin, or once it knows the peer's outcomes, and then has no certificate. Committed outcomes
are chosen without knowing the peer's. A commitment names its end, so that it cannot be sent back to its maker. A pair
that an end says it holds and cannot measure when asked (`lost`) is a failed test. What the counts say of the untested
pairs is derived at the head of `ceas.physics.untested`.

What it cannot do: two ends that lie together write whatever certificate they like (hence `node_score`); and an end can
ruin its own halves after the coin is open, as it can do any other damage to its own work.

Node score: the (f + 1)-th largest of the values that its links' certificates carry, a link without a certificate
counting 0, and 0 for a node with at most f peers. Proof that f liars among m peers do not move it out of the range
[lo, hi] of the honest peers' values: at most f values are liars', so of the f + 1 largest at least one is an honest
peer's, and the smallest of these is at most hi (m > f). At least m - f values are honest, so if m >= 2 f + 1, at least
f + 1 values are lo or more, and the (f + 1)-th largest is lo or more. With f < m <= 2 f liars can lower it, never raise
it; with m <= f everyone who speaks for the node may lie. Values are not weighted by their numbers of tests, which a
colluding pair could choose.

Sources: commit and open, Blum, COMPCON 1982; the threat model of docs/certification.md.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from ceas.authentication import Rejected
from ceas.errors import DomainError
from ceas.physics import one_sided_fidelity, untested_fidelity_bounds, untested_pass_lower_bound

__all__ = [
    "SECRET_BYTES",
    "CertificationMessage",
    "CertificationRejection",
    "CoinOpening",
    "EndSecrets",
    "Flag",
    "Holding",
    "LinkCertificate",
    "LinkReport",
    "LinkTest",
    "LinkVerdict",
    "Measure",
    "OutcomeCommitment",
    "OutcomeOpening",
    "SendToPeer",
    "TestPlan",
    "certificate_of",
    "drawn_tests",
    "holding_of",
    "joint_coin",
    "judge_link",
    "least_passed",
    "node_score",
    "short_nodes",
]

SECRET_BYTES: Final = 32
_KEY_BYTES: Final = 8
_N_BASES: Final = 3

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Flag(StrEnum):
    """Why both ends of a link are flagged."""

    SHORT = "fewer pairs held by both than the quota"
    TOO_FEW_PAIRS = "too few pairs held by both for the tests"
    BAD_OPENING = "opening does not fit its commitment"
    EQUIVOCATION = "two different messages of one kind"
    MISSING = "a message did not come in time"
    DISAGREEMENT = "more tests failed than the promised fidelity explains"
    CONFLICTING_REPORTS = "the ends report differently"
    MISSING_REPORT = "an end did not report"


class CertificationRejection(StrEnum):
    """Why a message was not counted."""

    NOT_THE_PEER = "sender is not the other end of the link"
    OTHER_BLOCK = "message of another block"
    REPEATED = "repeated message"
    FINISHED = "message after the report"


@dataclass(frozen=True, slots=True)
class TestPlan:
    """What both ends, and all peers, know before a block is tested.

    Args:
        link: The two ends, the lower node first.
        block: Number of the block; never used twice on a link.
        n_pairs: Heralded pairs of the block, by positions 0 to n_pairs - 1.
        n_tests: Pairs to test, below `n_pairs`.
        quota: Fewest pairs that both ends must hold, so that neither is flagged.
        promised_fidelity: Mean fidelity below which the link is not what it was announced to be, in [1/4, 1).
        failure_probability: delta of every bound of the certificate, in (0, 1/4].
        false_alarm: Probability at most with which a link that keeps its promise is flagged, in (0, 1/4].

    Raises:
        DomainError: An argument is out of its range.
    """

    link: tuple[int, int]
    block: int
    n_pairs: int
    n_tests: int
    quota: int = 0
    promised_fidelity: float = 0.25
    failure_probability: float = 1e-2
    false_alarm: float = 1e-4

    # Not a test of pytest's.
    __test__ = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        first, second = self.link
        if not 0 <= first < second < 2**16:
            raise DomainError(f"Argument `link` must be two nodes in [0, 65535], the lower first, but is {self.link}.")
        if not 0 <= self.block < 2**64:
            raise DomainError(f"Argument `block` must be in [0, 2**64), but is {self.block}.")
        if not 1 <= self.n_tests < self.n_pairs < 2**32:
            raise DomainError(
                f"Argument `n_tests` must be in [1, n_pairs), n_pairs below 2**32, but they are {self.n_tests} and "
                f"{self.n_pairs}."
            )
        if not 0 <= self.quota <= self.n_pairs:
            raise DomainError(f"Argument `quota` must be in [0, n_pairs = {self.n_pairs}], but is {self.quota}.")
        if not 0.25 <= self.promised_fidelity < 1.0:
            raise DomainError(f"Argument `promised_fidelity` must be in [1/4, 1), but is {self.promised_fidelity}.")
        for name in ("failure_probability", "false_alarm"):
            if not 0.0 < getattr(self, name) <= 0.25:
                raise DomainError(f"Argument `{name}` must be in (0, 1/4], but is {getattr(self, name)}.")

    @property
    def context(self) -> bytes:
        """Bytes that every hash of the block begins with: link, block, pairs and tests."""
        numbers = ((self.link[0], 2), (self.link[1], 2), (self.block, 8), (self.n_pairs, 4), (self.n_tests, 4))
        return b"ceas certification 1" + b"".join(number.to_bytes(size, "big") for number, size in numbers)

    @property
    def least_passed(self) -> int:
        """Fewest passed tests that do not raise DISAGREEMENT."""
        return least_passed(self.n_tests, self.promised_fidelity, self.false_alarm)


@dataclass(frozen=True, slots=True)
class EndSecrets:
    """Fresh random strings of one end for one block, of 32 bytes each, from its own generator.

    Args:
        coin: Its part of the coin.
        coin_nonce: Hides the coin in its commitment.
        outcome_nonce: Hides the outcomes in theirs.
    """

    coin: bytes
    coin_nonce: bytes
    outcome_nonce: bytes

    def __post_init__(self) -> None:
        """Check the lengths."""
        for name in ("coin", "coin_nonce", "outcome_nonce"):
            if len(getattr(self, name)) != SECRET_BYTES:
                raise DomainError(f"Argument `{name}` must have 32 bytes, but has {len(getattr(self, name))}.")


@dataclass(frozen=True, slots=True)
class Holding:
    """Which pairs an end holds, packed bits in the order of positions, and its commitment to both this and its coin."""

    block: int
    held: bytes
    commitment: bytes


@dataclass(frozen=True, slots=True)
class CoinOpening:
    """The string behind the commitment of `Holding`."""

    block: int
    coin: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class OutcomeCommitment:
    """Commitment to outcomes and lost pairs."""

    block: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class OutcomeOpening:
    """Outcomes of the tests in the order of positions, and which of the pairs could not be measured, as packed bits."""

    block: int
    outcomes: bytes
    lost: bytes
    nonce: bytes


CertificationMessage = Holding | CoinOpening | OutcomeCommitment | OutcomeOpening


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Send `message` to the other end."""

    message: CertificationMessage


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """Measure pair `positions[i]` in basis `bases[i]` (0 X, 1 Y, 2 Z), shape `(n_tests,)`; then call `measured`."""

    positions: IntArray
    bases: IntArray


@dataclass(frozen=True, slots=True)
class LinkCertificate:
    """What the tests of a block say of its untested pairs.

    Attributes:
        n_held: Pairs that both ends held before the draw.
        n_tests: Tested pairs.
        passed: Tests that passed; lost pairs did not.
        estimate: (3 passed / n_tests - 1) / 2, in [0, 1].
        lower: Lower confidence bound on the mean fidelity of the untested pairs; holds against one lying end.
        upper: Upper confidence bound; holds for two honest ends, and is no promise of a liar's bad pairs.
        one_sided: Lower confidence bound even where the lying end made the pairs; see `one_sided_fidelity`.
    """

    n_held: int
    n_tests: int
    passed: int
    estimate: float
    lower: float
    upper: float
    one_sided: float


@dataclass(frozen=True, slots=True)
class LinkReport:
    """What one end tells everybody of a block.

    Attributes:
        link: The ends.
        block: Number of the block.
        transcript: SHA-256 of all messages of both ends in the order of the flow, those that were seen.
        certificate: The certificate, None where the block is void.
        flags: Why both ends are flagged.
    """

    link: tuple[int, int]
    block: int
    transcript: bytes
    certificate: LinkCertificate | None
    flags: frozenset[Flag]


Output = SendToPeer | Measure | LinkReport | Rejected


@dataclass(slots=True)
class _Side:
    """The messages of one end, in the order of the flow."""

    holding: Holding | None = None
    coin: CoinOpening | None = None
    commitment: OutcomeCommitment | None = None
    outcomes: OutcomeOpening | None = None


_SLOTS: Final = {Holding: "holding", CoinOpening: "coin", OutcomeCommitment: "commitment", OutcomeOpening: "outcomes"}


@dataclass(slots=True)
class LinkTest:
    """One end of a link while one block is certified.

    Args:
        plan: What is known beforehand.
        node: This end.
        held: Whether it holds each pair, shape `(n_pairs,)`.
        secrets: Fresh random strings.

    Raises:
        DomainError: The node is no end of the link, or `held` has another shape.
    """

    plan: TestPlan
    node: int
    held: BoolArray
    secrets: EndSecrets
    report: LinkReport | None = None
    _own: _Side = field(default_factory=_Side)
    _peer: _Side = field(default_factory=_Side)
    _tests: Measure | None = None
    _measured: OutcomeOpening | None = None
    _both: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    _coin: bytes = b""
    _flags: frozenset[Flag] = frozenset()

    # Not a test of pytest's.
    __test__ = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.node not in self.plan.link:
            raise DomainError(f"Argument `node` must be an end of link {self.plan.link}, but is {self.node}.")
        if np.shape(self.held) != (self.plan.n_pairs,):
            raise DomainError(f"Argument `held` must have shape ({self.plan.n_pairs},), but has {np.shape(self.held)}.")

    @property
    def peer(self) -> int:
        """The other end."""
        first, second = self.plan.link
        return first + second - self.node

    def start(self) -> list[Output]:
        """T1: say what is held, and commit to it and to the coin."""
        self._own.holding = holding_of(self.plan, self.node, self.held, self.secrets)
        return [SendToPeer(self._own.holding), *self._proceed()]

    def receive(self, message: CertificationMessage, sender: int) -> list[Output]:
        """Take a message of the other end."""
        if sender != self.peer:
            return [Rejected(sender, CertificationRejection.NOT_THE_PEER)]
        if message.block != self.plan.block:
            return [Rejected(sender, CertificationRejection.OTHER_BLOCK)]
        if self.report is not None:
            return [Rejected(sender, CertificationRejection.FINISHED)]
        slot = _SLOTS[type(message)]
        known = getattr(self._peer, slot)
        if known == message:
            return [Rejected(sender, CertificationRejection.REPEATED)]
        if known is not None:
            return self._void(Flag.EQUIVOCATION)
        setattr(self._peer, slot, message)
        return self._proceed()

    def measured(self, outcomes: ArrayLike, lost: ArrayLike) -> list[Output]:
        """T5: commit to what `Measure` gave.

        Args:
            outcomes: Whether each outcome is the eigenvalue -1, shape `(n_tests,)`; of lost pairs anything.
            lost: Which pairs could not be measured, shape `(n_tests,)`.

        Raises:
            DomainError: Nothing was to be measured, or a shape is another.
        """
        if self._tests is None or self._own.commitment is not None:
            raise DomainError("Method `measured` must be called once after `Measure`, but was not.")
        packed = []
        for name, values in (("outcomes", outcomes), ("lost", lost)):
            array = np.asarray(values, np.bool_)
            if array.shape != (self.plan.n_tests,):
                raise DomainError(f"Argument `{name}` must have shape ({self.plan.n_tests},), but has {array.shape}.")
            packed.append(_packed(array))
        if self.report is not None:
            return []
        opening = OutcomeOpening(self.plan.block, packed[0], packed[1], self.secrets.outcome_nonce)
        self._own.commitment = OutcomeCommitment(self.plan.block, self._outcome_commitment(self.node, opening))
        self._measured = opening
        return [SendToPeer(self._own.commitment), *self._proceed()]

    def expire(self) -> list[Output]:
        """T9: the block's time is over."""
        return [] if self.report is not None else self._void(Flag.MISSING)

    def _proceed(self) -> list[Output]:
        """Do whatever the messages at hand allow, in the order of the flow."""
        done: list[Output] = []
        own, peer = self._own, self._peer
        if own.holding is not None and peer.holding is not None and own.coin is None:
            done += self._after_holdings(peer.holding)
        if self.report is None and own.coin is not None and peer.coin is not None and self._tests is None:
            done += self._after_coins(own.coin, peer.coin)
        if self.report is None and self._measured is not None and peer.commitment is not None and own.outcomes is None:
            own.outcomes = self._measured
            done.append(SendToPeer(own.outcomes))
        if self.report is None and own.outcomes is not None and peer.outcomes is not None:
            done += self._after_outcomes(own.outcomes, peer.outcomes)
        return done

    def _after_holdings(self, holding: Holding) -> list[Output]:
        """T2, T3: with fewer pairs than are to be tested there is nothing left to speak of."""
        if len(holding.held) != (self.plan.n_pairs + 7) // 8:
            return self._void(Flag.BAD_OPENING)
        self._both = np.flatnonzero(self.held & _unpacked(holding.held, self.plan.n_pairs))
        if self._both.size < self.plan.quota:
            self._flags |= {Flag.SHORT}
        if self._both.size <= self.plan.n_tests:
            return self._void(Flag.TOO_FEW_PAIRS)
        self._own.coin = CoinOpening(self.plan.block, self.secrets.coin, self.secrets.coin_nonce)
        return [SendToPeer(self._own.coin)]

    def _after_coins(self, own: CoinOpening, peer: CoinOpening) -> list[Output]:
        """T4: draw the tests from both strings."""
        holding = self._peer.holding
        assert holding is not None
        due = _commitment(self.plan.context, self.peer, b"coin", peer.nonce, holding.held, peer.coin)
        if len(peer.coin) != SECRET_BYTES or not hmac.compare_digest(due, holding.commitment):
            return self._void(Flag.BAD_OPENING)
        assert self._own.holding is not None
        both = ((self._own.holding, own.coin), (holding, peer.coin))
        self._coin = joint_coin(self.plan, *(both if self.node < self.peer else both[::-1]))
        positions, bases = drawn_tests(self._coin, self._both, self.plan.n_tests)
        self._tests = Measure(positions, bases)
        return [self._tests]

    def _after_outcomes(self, own: OutcomeOpening, peer: OutcomeOpening) -> list[Output]:
        """T7: count the tests that passed."""
        committed = self._peer.commitment
        assert committed is not None
        assert self._tests is not None
        size = (self.plan.n_tests + 7) // 8
        is_whole = len(peer.outcomes) == len(peer.lost) == size
        due = self._outcome_commitment(self.peer, peer)
        if not is_whole or not hmac.compare_digest(due, committed.commitment):
            return self._void(Flag.BAD_OPENING)
        outcomes, lost = (
            [_unpacked(getattr(opening, name), self.plan.n_tests) for opening in (own, peer)]
            for name in ("outcomes", "lost")
        )
        # In Phi+ outcomes agree for X and Z and differ for Y.
        is_passed = (outcomes[0] ^ outcomes[1]) == (self._tests.bases == 1)
        passed = int(np.count_nonzero(is_passed & ~lost[0] & ~lost[1]))
        if passed < self.plan.least_passed:
            self._flags |= {Flag.DISAGREEMENT}
        return self._reported(certificate_of(self.plan, n_held=int(self._both.size), passed=passed))

    def _void(self, flag: Flag) -> list[Output]:
        """T2, T8, T9: nothing is certified."""
        self._flags |= {flag}
        return self._reported(None)

    def _reported(self, certificate: LinkCertificate | None) -> list[Output]:
        self.report = LinkReport(self.plan.link, self.plan.block, self._transcript(), certificate, self._flags)
        return [self.report]

    def _outcome_commitment(self, end: int, opening: OutcomeOpening) -> bytes:
        return _commitment(
            self.plan.context + self._coin, end, b"outcomes", opening.nonce, opening.outcomes, opening.lost
        )

    def _transcript(self) -> bytes:
        """Return the hash of all messages so far."""
        first, second = (self._own, self._peer) if self.node < self.peer else (self._peer, self._own)
        total = hashlib.sha256(self.plan.context)
        for slot in _SLOTS.values():
            for side in (first, second):
                message = getattr(side, slot)
                parts = () if message is None else tuple(getattr(message, name) for name in _BYTES[type(message)])
                total.update(_framed(*parts))
        return total.digest()


def holding_of(plan: TestPlan, node: int, held: BoolArray, secrets: EndSecrets) -> Holding:
    """Return what an end says it holds, and its commitment to that and to its string."""
    packed = _packed(held)
    return Holding(
        plan.block, packed, _commitment(plan.context, node, b"coin", secrets.coin_nonce, packed, secrets.coin)
    )


def joint_coin(plan: TestPlan, first: tuple[Holding, bytes], second: tuple[Holding, bytes]) -> bytes:
    """Return what the strings of both ends make together: 32 bytes, uniform if either string is.

    Args:
        plan: The block.
        first: Holding and string of the lower node.
        second: Those of the other.
    """
    parts = [part for holding, coin in (first, second) for part in (holding.held, holding.commitment, coin)]
    return hashlib.sha256(_framed(plan.context, *parts)).digest()


def drawn_tests(coin: bytes, candidates: IntArray, n_tests: int) -> tuple[IntArray, IntArray]:
    """Return the positions to test, in ascending order, and their bases, both of shape `(n_tests,)`.

    SHAKE-256 of the coin gives 8 bytes for each candidate, and 8 more for each test. The candidates of the smallest
    numbers are tested, each in the basis that is its second number modulo 3.

    Args:
        coin: What both ends drew.
        candidates: Positions that both hold, ascending, shape `(candidates,)`.
        n_tests: Number of tests, below that of candidates.
    """
    count = len(candidates)
    drawn = hashlib.shake_256(coin).digest((count + n_tests) * _KEY_BYTES)
    numbers = np.frombuffer(drawn, dtype="<u8")
    chosen = np.sort(np.argpartition(numbers[:count], n_tests - 1)[:n_tests])
    return candidates[chosen], (numbers[count:] % _N_BASES).astype(np.int64)


@lru_cache(maxsize=4096)
def least_passed(n_tests: int, promised_fidelity: float, false_alarm: float) -> int:
    """Return the fewest passed tests that a link of the promised mean fidelity stays below with `false_alarm` at most.

    The number of passes of a random sample is a Poisson-binomial variable (its generating function is an elementary
    symmetric polynomial of stable factors, so all of its roots are real); with a mean of k P or more its lower tail is
    below that of k tests that pass with P each (Hoeffding 1956), up to one below the mean.
    """
    chance = (1.0 + 2.0 * promised_fidelity) / 3.0
    tail = bdtr(np.arange(n_tests + 1, dtype=np.float64), n_tests, chance)
    return min(int(np.searchsorted(tail, false_alarm, side="right")), int(n_tests * chance))


def certificate_of(plan: TestPlan, *, n_held: int, passed: int) -> LinkCertificate:
    """Return what `passed` of the plan's tests certify, where both ends held `n_held` pairs."""
    delta = plan.failure_probability
    lower, upper = untested_fidelity_bounds(passed, plan.n_tests, n_held, delta)
    one_sided = one_sided_fidelity(untested_pass_lower_bound(passed, plan.n_tests, n_held, delta))
    estimate = min(max((3.0 * passed / plan.n_tests - 1.0) / 2.0, 0.0), 1.0)
    return LinkCertificate(n_held, plan.n_tests, passed, estimate, float(lower), float(upper), float(one_sided))


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """What everybody makes of a block: the certificate that both ends reported, or none, and the flags of both."""

    certificate: LinkCertificate | None
    flags: frozenset[Flag]


def judge_link(first: LinkReport | None, second: LinkReport | None) -> LinkVerdict:
    """Judge what the two ends of a link reported by reliable broadcast; None for a report that was not delivered.

    All honest nodes deliver the same reports, hence judge alike. A certificate that only one end confirms, or of which
    the ends saw another transcript, is none.
    """
    reports = [report for report in (first, second) if report is not None]
    flags = frozenset[Flag]().union(*(report.flags for report in reports))
    if len(reports) < 2:
        return LinkVerdict(None, flags | {Flag.MISSING_REPORT})
    if reports[0] != reports[1]:
        return LinkVerdict(None, flags | {Flag.CONFLICTING_REPORTS})
    return LinkVerdict(reports[0].certificate, flags)


def node_score(values: Sequence[float], tolerated: int) -> float:
    """Return the score of a node by its links' certificates: the (tolerated + 1)-th largest value, see the head.

    Args:
        values: One value per peer, 0 for a link without certificate.
        tolerated: Liars among the peers, f >= 0.

    Raises:
        DomainError: `tolerated` is negative.
    """
    if tolerated < 0:
        raise DomainError(f"Argument `tolerated` must be at least 0, but is {tolerated}.")
    if len(values) <= tolerated:
        return 0.0
    # What is no number speaks for nobody.
    return float(np.sort(np.nan_to_num(np.asarray(values, np.float64), nan=0.0))[::-1][tolerated])


def short_nodes(short_links: Sequence[tuple[int, int]], tolerated: int) -> frozenset[int]:
    """Return the nodes that withhold pairs: those whose links to more than `tolerated` different peers fell short.

    One of these peers is honest, so either the node held back or the fibre is broken. An honest node has at most
    `tolerated` lying peers, so these cannot bring it onto the list.
    """
    peers: dict[int, set[int]] = {}
    for first, second in short_links:
        peers.setdefault(first, set()).add(second)
        peers.setdefault(second, set()).add(first)
    return frozenset(node for node, others in peers.items() if len(others) > tolerated)


_BYTES: Final = {
    Holding: ("held", "commitment"),
    CoinOpening: ("coin", "nonce"),
    OutcomeCommitment: ("commitment",),
    OutcomeOpening: ("outcomes", "lost", "nonce"),
}


def _framed(*parts: bytes) -> bytes:
    """Return parts with their number and lengths, so that no two lists of parts look alike."""
    return bytes((len(parts),)) + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _commitment(context: bytes, end: int, kind: bytes, *parts: bytes) -> bytes:
    # The end is part of it: a commitment sent back to its maker opens to nothing.
    return hashlib.sha256(_framed(context, end.to_bytes(2, "big"), kind, *parts)).digest()


def _packed(values: BoolArray) -> bytes:
    return np.packbits(values).tobytes()


def _unpacked(data: bytes, count: int) -> BoolArray:
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(np.bool_)
