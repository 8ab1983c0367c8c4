"""A seeded network that tries to break the agreement, and the invariants that it must not break.

One schedule is one run of the agreement among n nodes, f = (n - 1) // 3 of them Byzantine, drawn from one seed: the
same seed gives the same run, message for message. Time is counted in thousandths of the delay bound D.

Until the network becomes stable: messages are lost, repeated, overtaken and held back, groups are cut off from each
other, and honest nodes stop at any `Persist` (before it, after it, or between the messages that follow it) and start
again from the last state that was written. From then on every message arrives within D and nobody stops. Byzantine
nodes stay Byzantine throughout:

    silent   says nothing
    twins    two honest machines under one identity, each with other peers and deliveries (Twins, arXiv 2004.10617)
    mutant   an honest machine whose messages are changed a little, differently for each receiver: view, phase, set or
             report, an old message in place of a new one (after ByzzFuzz, OOPSLA 2023)
    echo     tells every node that it agrees with it, in this phase and the next ones, and vouches for every set
    liar     says anything that is well formed, about sets and views that are in use

After every message and timer the invariants of the public TLA+ specification (nano-o/tetrabft-tla) are checked, in its
names, over what honest nodes sent, and five of our own: views do not go back, nobody votes for a set that it cannot
use, nobody decides twice, nothing is sent that the state written last does not hold, and reports own up to every vote
that was sent. Each invariant is stable, so checking it where something was sent covers every step.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

from ceas.authentication import Rejected
from ceas.consensus import (
    Agreement,
    AgreementMessage,
    AgreementState,
    AnyMessage,
    Ballot,
    Broadcast,
    Decide,
    Decision,
    Persist,
    Proof,
    Send,
    SetProposal,
    SetVote,
    Suggest,
    ViewChange,
    decode_message,
    decode_state,
    encode_message,
    encode_state,
    max_tolerated,
)
from ceas.consensus.outputs import SetTimer
from ceas.errors import DomainError
from ceas.streams import stream_seed

__all__ = [
    "DELAY",
    "AgreementOracle",
    "MakeAgreement",
    "Place",
    "ScheduleResult",
    "ScheduleRun",
    "draw_size",
    "run_schedule",
]

DELAY: Final = 1000
_CONDUCTS: Final = ("silent", "twins", "mutant", "mutant", "echo", "echo", "liar")
# Stable networks decide within f + 1 views once all are in the same one. Before that, the view that was going on ends,
# one view may be lost to reports that were lost, and messages are said again every two delays.
_VIEWS_TO_SPARE: Final = 3
_VIEW: Final = 13 * DELAY
# A liar draws every now and then, and no more often, or its messages would be most of the work.
_LIES: Final = 40
_MEMORY: Final = 100

MakeAgreement = Callable[..., Agreement]
"""Makes one node's machine from the keyword arguments of `Agreement`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """What one schedule came to.

    Args:
        seed: Seed that replays it.
        n_nodes: Nodes.
        violations: Invariants that did not hold, one text each; empty when it was safe.
        is_live: Whether all honest nodes decided and halted in time.
        n_decisions: Honest nodes that decided.
        n_views: Views that an honest node was in.
        n_messages: Messages that honest nodes sent, one for each destination.
        n_restarts: Restarts of honest nodes.
        delays_to_decide: From stability to the last honest decision (in a whole round: conclusion), in units of D; 0
            when it came before.
        part: What was run, `agreement` or `round`.
    """

    seed: int
    n_nodes: int
    violations: tuple[str, ...]
    is_live: bool
    n_decisions: int
    n_views: int
    n_messages: int
    n_restarts: int
    delays_to_decide: float
    part: str = "agreement"


@dataclass(slots=True)
class AgreementOracle:
    """The invariants, over what honest nodes sent.

    Args:
        n_nodes: Nodes.
        tolerated_byzantine: f.
        honest: Honest nodes.
    """

    n_nodes: int
    tolerated_byzantine: int
    honest: tuple[int, ...]
    violations: list[str] = field(default_factory=list)
    _votes: dict[tuple[int, int, int], int] = field(default_factory=dict)  # (node, view, phase) -> set
    _voters: dict[tuple[int, int, int], int] = field(default_factory=dict)  # (view, phase, set) -> honest voters
    _views: dict[int, int] = field(default_factory=dict)
    _decided: dict[int, int] = field(default_factory=dict)
    _safe: set[tuple[int, int]] = field(default_factory=set)

    def sent(self, node: int, message: AgreementMessage, delivered: int) -> None:
        """Take a message of an honest node, and the bitmap of the instances delivered at it."""
        match message:
            case SetVote():
                self._voted(node, message, delivered)
            case Proof():
                self._reached(node, message.view)
                self._reported(node, message.view, 4, message.vote_4)
                self._reported(node, message.view, 1, message.vote_1, message.previous_1)
            case Suggest():
                self._reached(node, message.view)
                self._reported(node, message.view, 3, message.vote_3)
                self._reported(node, message.view, 2, message.vote_2, message.previous_2)
            case SetProposal():
                self._reached(node, message.view)
            case _:
                pass

    def wrote_before(self, node: int, message: AgreementMessage, state: AgreementState | None) -> None:
        """Take a message of an honest node, and the state that it had written last when it sent it."""
        written = AgreementState() if state is None else state
        match message:
            case SetVote():
                last = written.vote(message.phase)
                holds = last is not None and (last == (message.view, message.members) or last[0] > message.view)
            case SetProposal():
                holds = written.proposal == (message.view, message.members)
            case Decision():
                holds = written.decided == message.members
            case Proof() | Suggest():
                holds = written.view >= message.view
            case _:
                holds = True
        if not holds:
            self._fail("Persisted", f"node {node} sent {message} with {state} written")

    def decided(self, node: int, members: int) -> None:
        """Take a decision of an honest node."""
        # Safety (agreement), also of a node with itself over restarts.
        others = set(self._decided.values()) - {members}
        if others:
            self._fail("Safety", f"node {node} decided {members:#x}, another one {others.pop():#x}")
        self._decided[node] = members
        if not any(
            self._is_quorum(count)
            for (_, phase, chosen), count in self._voters.items()
            if (phase, chosen) == (4, members)
        ):
            self._fail("decided", f"node {node} decided {members:#x} without a quorum of votes of phase 4")

    @property
    def decisions(self) -> dict[int, int]:
        """Set decided by each honest node that decided."""
        return self._decided

    @property
    def highest_view(self) -> int:
        """Highest view that an honest node spoke in."""
        return max(self._views.values(), default=0)

    def _voted(self, node: int, vote: SetVote, delivered: int) -> None:
        key = (node, vote.view, vote.phase)
        if key in self._votes:
            if self._votes[key] != vote.members:
                self._fail("OneValuePerPhasePerRound", f"node {node} voted twice: {vote}")
            return
        self._reached(node, vote.view)
        if vote.members & ~delivered or not self._is_size_of_quorum(vote.members.bit_count()):
            self._fail("validity", f"node {node} voted for a set that it cannot use: {vote}")
        if vote.phase > 1 and not self._is_quorum(self._voters.get((vote.view, vote.phase - 1, vote.members), 0)):
            self._fail("VoteHasQuorumInPreviousPhase", f"node {node}: {vote}")
        if not self._is_safe_at(vote.view, vote.members):
            self._fail("VotesSafe", f"node {node}: {vote}")
        self._votes[key] = vote.members
        group = (vote.view, vote.phase, vote.members)
        self._voters[group] = self._voters.get(group, 0) + 1

    def _reported(self, node: int, view: int, phase: int, vote: Ballot | None, *previous: Ballot | None) -> None:
        """Hold a report against the votes that were sent; a vote that was written and not sent may be in it too."""
        sent = [(v, chosen) for (who, v, p), chosen in self._votes.items() if (who, p) == (node, phase) and v < view]
        if sent and (vote is None or max(sent)[0] > vote[0] or (max(sent)[0] == vote[0] and max(sent) != vote)):
            self._fail("Reports", f"node {node} voted {max(sent)} in phase {phase} and reports {vote} in view {view}")
        for other in previous:
            others = [one for one in sent if vote is not None and one[1] != vote[1]]
            if others and (other is None or other[0] < max(others)[0]):
                self._fail("Reports", f"node {node} voted {max(others)} in phase {phase}, but {other} is its previous")

    def _reached(self, node: int, view: int) -> None:
        # NoFutureVote, read the other way: what is sent belongs to the node's round, and rounds never go back.
        if view < self._views.get(node, 0):
            self._fail("NoFutureVote", f"node {node} went back from view {self._views[node]} to {view}")
        self._views[node] = max(view, self._views.get(node, 0))

    def _is_safe_at(self, view: int, members: int) -> bool:
        if (view, members) not in self._safe and all(self._none_other_choosable(u, members) for u in range(view)):
            self._safe.add((view, members))
        return (view, members) in self._safe

    def _none_other_choosable(self, view: int, members: int) -> bool:
        n_bound = 0
        for node in self.honest:
            vote = self._votes.get((node, view, 4))
            # VotedFor, or CannotVoteAt
            n_bound += vote == members or (vote is None and self._views.get(node, 0) > view)
        return self._is_quorum(n_bound)

    def _is_quorum(self, n_honest: int) -> bool:
        """Tell whether so many honest nodes are all the honest ones of a quorum; Byzantine ones join any."""
        return self._is_size_of_quorum(n_honest + self.n_nodes - len(self.honest))

    def _is_size_of_quorum(self, n_nodes: int) -> bool:
        return n_nodes >= self.n_nodes - self.tolerated_byzantine

    def _fail(self, invariant: str, text: str) -> None:
        self.violations.append(f"{invariant}: {text}")


def run_schedule(
    seed: int,
    *,
    n_nodes: int | None = None,
    smallest: int = 4,
    largest: int = 16,
    make_agreement: MakeAgreement = Agreement,
    conducts: tuple[str, ...] = _CONDUCTS,
) -> ScheduleResult:
    """Run one schedule, drawn from its seed.

    Args:
        seed: Seed of the schedule.
        n_nodes: Nodes; drawn when None.
        smallest: Fewest nodes drawn, at least 4.
        largest: Most nodes drawn; n nodes are as likely as 1 / n^2, so every size gets the same work.
        make_agreement: Maker of the machine under test.
        conducts: What Byzantine nodes may do; each draws one.

    Raises:
        DomainError: `smallest`, `largest` or `n_nodes` is outside its range.
    """
    # One private generator per schedule, of the standard library because it draws single numbers, hundreds a schedule,
    # an order of magnitude faster than NumPy's.
    rng = random.Random(stream_seed(seed, "agreement schedule"))
    n_nodes = draw_size(rng, n_nodes, smallest, largest)
    return ScheduleRun(seed, n_nodes, rng, make_agreement, conducts).finish()


def draw_size(rng: random.Random, n_nodes: int | None, smallest: int, largest: int) -> int:
    """Draw the number of nodes of a schedule, where it is not given.

    Raises:
        DomainError: as `run_schedule`.
    """
    if not 4 <= smallest <= largest:
        raise DomainError(f"Numbers of nodes must be a range from at least 4 up, but are {smallest} to {largest}.")
    if n_nodes is None:
        sizes = range(smallest, largest + 1)
        n_nodes = rng.choices(sizes, [1 / size**2 for size in sizes])[0]
    if n_nodes < 4:
        raise DomainError(f"Argument `n_nodes` must be at least 4, but is {n_nodes}.")
    return n_nodes


class _Machine(Protocol):
    """What a schedule needs of the machine under test, the agreement or the whole round."""

    @property
    def is_halted(self) -> bool: ...

    def receive(self, message: Any, sender: int, now_ns: int) -> list[Any]: ...

    def tick(self, now_ns: int) -> list[Any]: ...


@dataclass(slots=True)
class Place:
    """One machine: an honest node's, or one of those under a Byzantine identity."""

    node: int
    is_honest: bool
    conduct: str
    peers: int  # bit mask of the nodes that it talks with
    machine: Any  # a `_Machine`, or None
    stored: Any = None  # what the last `Persist` wrote
    delivered: int = 0
    life: int = 0  # timers of an earlier life are void
    is_down: bool = False
    is_halted: bool = False
    lies: int = 0
    few: int = 0  # bit mask of the nodes that a selective disperser favours


class ScheduleRun:
    """One schedule of the agreement under way; `ceas.runtime.round_network` overrides what differs in a round."""

    part = "agreement"

    def __init__(
        self,
        seed: int,
        n_nodes: int,
        rng: random.Random,
        make_machine: Callable[..., _Machine],
        conducts: tuple[str, ...],
    ) -> None:
        self.seed = seed
        self.n_nodes = n_nodes
        self.rng = rng
        self.tolerated = max_tolerated(n_nodes)
        self.make_machine = make_machine
        self.training_round = rng.randrange(n_nodes)
        self.stable_at = rng.choice((0, rng.randrange(10 * DELAY), rng.randrange(80 * DELAY)))
        self.loss = rng.choice((0.0, 0.05, 0.2, 0.4))
        self.repeats = rng.choice((0.0, 0.0, 0.1))
        self.longest_delay = DELAY * rng.choice((1, 3, 20))
        self.crash = rng.choice((0.0, 0.05, 0.3))
        self.groups = self._draw_partitions()
        self.now = 0
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.n_queued = 0
        self.n_messages = 0
        self.n_restarts = 0
        self.decided_at = 0
        self.n_halted = 0
        self.last_sent: AnyMessage | None = None
        self.last_decoded: AnyMessage = ViewChange(1)
        # What Byzantine nodes draw from: the last messages that they got, and the sets in use.
        self.heard: list[AnyMessage] = [ViewChange(1)] * _MEMORY
        self.n_heard = 0
        self.sets: list[int] = []
        byzantine = set(rng.sample(range(n_nodes), self.tolerated))
        self.oracle = self._make_oracle(tuple(node for node in range(n_nodes) if node not in byzantine))
        self.places: list[Place] = []
        self.places_of: list[list[Place]] = []
        for node in range(n_nodes):
            own = self._make_places(node, self._draw_conduct(conducts) if node in byzantine else "honest")
            self.places += own
            self.places_of.append(own)
        self.honest = [place for place in self.places if place.is_honest]
        self._plan(byzantine)

    def finish(self) -> ScheduleResult:
        """Run it to its end and tell what it came to."""
        for place in self.places:
            start = 0 if self.stable_at == 0 else self.rng.randrange(min(3 * DELAY, self.stable_at) + 1)
            self._at(start, lambda place=place: self._start(place))  # type: ignore[misc]
        deadline = self.stable_at + self._longest()
        while self.queue and not self.oracle.violations:
            self.now, _, act = heapq.heappop(self.queue)
            if self.now > deadline or self.n_halted == len(self.honest):
                break
            act()
        is_live = self.n_halted == len(self.honest)
        return ScheduleResult(
            seed=self.seed,
            n_nodes=self.n_nodes,
            violations=tuple(self.oracle.violations),
            is_live=is_live,
            n_decisions=len(self.oracle.decisions),
            n_views=self.oracle.highest_view + 1,
            n_messages=self.n_messages,
            n_restarts=self.n_restarts,
            delays_to_decide=max(0, self.decided_at - self.stable_at) / DELAY,
            part=self.part,
        )

    def _longest(self) -> int:
        """Return how long after stability all must have halted."""
        return (self.tolerated + 1 + _VIEWS_TO_SPARE) * _VIEW

    # What is drawn before it starts.
    def _make_oracle(self, honest: tuple[int, ...]) -> AgreementOracle:
        return AgreementOracle(self.n_nodes, self.tolerated, honest)

    def _draw_conduct(self, conducts: tuple[str, ...]) -> str:
        return self.rng.choice(conducts)

    def _has_machine(self, conduct: str) -> bool:
        return conduct in ("honest", "twins", "mutant")

    def _draw_partitions(self) -> list[int]:
        """Draw, for every four delays until stability, one of two groups that do not hear each other, as a bit mask."""
        is_cut = self.rng.random() < 0.5
        everybody = (1 << self.n_nodes) - 1
        n_periods = self.stable_at // (4 * DELAY) + 1
        return [
            self.rng.getrandbits(self.n_nodes) if is_cut and self.rng.random() < 0.6 else everybody
            for _ in range(n_periods)
        ]

    def _make_places(self, node: int, conduct: str) -> list[Place]:
        everybody = (1 << self.n_nodes) - 1
        if conduct == "twins":
            first = self.rng.getrandbits(self.n_nodes)
            both = self.rng.getrandbits(self.n_nodes) & self.rng.getrandbits(self.n_nodes)
            peers = [first | both, (everybody & ~first) | both]
        else:
            peers = [everybody]
        return [
            Place(node, conduct == "honest", conduct, mask, self._machine(node) if self._has_machine(conduct) else None)
            for mask in peers
        ]

    def _machine(self, node: int, restored: Any = None) -> _Machine:
        return self.make_machine(
            node=node,
            n_nodes=self.n_nodes,
            tolerated_byzantine=self.tolerated,
            training_round=self.training_round,
            delay_bound_ns=DELAY,
            restored=restored,
        )

    def _plan(self, byzantine: set[int]) -> None:
        """Plan when the broadcast delivers: to all or to none, within two delays of the first once stable."""
        span = self.rng.choice((DELAY, 4 * DELAY, max(4 * DELAY, self.stable_at)))
        for instance in range(self.n_nodes):
            if instance in byzantine and self.rng.random() < 0.3:
                continue
            first = self.rng.randrange(span)
            last = max(first, self.stable_at) + 2 * DELAY
            for place in self.places:
                when = first if self.rng.random() < 0.3 else self.rng.randint(first, last)
                if self.rng.random() < 0.5:
                    when = min(when, first + 2 * DELAY)
                self._at(when, lambda place=place, instance=instance: self._deliver(place, instance))  # type: ignore[misc]

    # What happens.
    def _at(self, when: int, act: Callable[[], None]) -> None:
        self.n_queued += 1
        heapq.heappush(self.queue, (when, self.n_queued, act))

    def _start(self, place: Place) -> None:
        place.is_down = False
        if place.machine is None:
            if place.conduct in ("echo", "liar"):
                self._lie(place)
            return
        place.life += 1
        self._carry_out(place, self._begin(place))

    def _begin(self, place: Place) -> list[Any]:
        """Start a machine that was made now."""
        out: list[Any] = place.machine.start(self.now)
        for instance in range(self.n_nodes):
            if place.delivered >> instance & 1:
                out += place.machine.deliver(instance, self.now)
        return out

    def _deliver(self, place: Place, instance: int) -> None:
        place.delivered |= 1 << instance
        if place.machine is not None and place.life and not place.is_down:
            self._carry_out(place, place.machine.deliver(instance, self.now))

    def _tick(self, place: Place, life: int) -> None:
        if place.machine is not None and life == place.life and not place.is_down:
            self._carry_out(place, place.machine.tick(self.now))

    def _arrive(self, place: Place, message: AnyMessage, sender: int) -> None:
        if not place.is_honest:
            self._hear(message)
        if place.machine is None:
            if place.conduct == "echo" and self.places_of[sender][0].is_honest:
                self._echo(place, message, sender)
        elif place.life and not place.is_down and sender != place.node:
            self._carry_out(place, place.machine.receive(message, sender, self.now))

    def _carry_out(self, place: Place, out: list[Any]) -> None:
        """Do what a machine wants, in order; at a `Persist` an honest node may stop."""
        if place.is_honest and self.crash and self.now < self.stable_at:
            for index, output in enumerate(out):
                if isinstance(output, Persist) and self.rng.random() < self.crash:
                    steps = [*out[:index], *self._single_steps(place, out[index:])]
                    # As often before the state is written as somewhere after it.
                    n_done = index + self.rng.choice((0, 1, self.rng.randrange(1, 2 * self.n_nodes)))
                    for step in steps[:n_done]:
                        self._do(place, step)
                    self._stop(place)
                    return
        for output in out:
            self._do(place, output)
        self._note_halting(place)

    def _note_halting(self, place: Place) -> None:
        is_halted = place.machine is not None and place.machine.is_halted
        if place.is_honest and is_halted != place.is_halted:
            place.is_halted = is_halted
            self.n_halted += 1 if is_halted else -1

    def _single_steps(self, place: Place, out: list[Any]) -> list[Any]:
        """Take a broadcast apart, so that a node can stop in its midst."""
        steps: list[Any] = []
        for output in out:
            if isinstance(output, Broadcast):
                peers = [node for node in range(self.n_nodes) if node != place.node]
                self.rng.shuffle(peers)
                steps += [Send(peer, output.message) for peer in peers]
            else:
                steps.append(output)
        return steps

    def _do(self, place: Place, output: Any) -> None:
        match output:
            case Persist():
                place.stored = output.state
            case Broadcast():
                self._send(place, range(self.n_nodes), output.message)
            case Send():
                self._send(place, (output.destination,), output.message)
            case SetTimer():
                self._at(output.at_ns, lambda life=place.life: self._tick(place, life))  # type: ignore[misc]
            case _ if place.is_honest:
                self._note(place, output)
            case _:
                pass

    def _note(self, place: Place, output: Any) -> None:
        """Take any other output of an honest node."""
        if isinstance(output, Decide):
            self.oracle.decided(place.node, output.members)
            self.decided_at = max(self.decided_at, self.now)

    def _stop(self, place: Place) -> None:
        """Stop a node; it starts again from what it has written, no later than the network becomes stable."""
        place.is_down = True
        place.machine = self._machine(place.node, None if place.stored is None else self._reread(place.stored))
        self._note_halting(place)
        self.n_restarts += 1
        back = min(self.stable_at, self.now + self.rng.randrange(1, 10 * DELAY))
        self._at(max(back, self.now), lambda: self._start(place))

    def _reread(self, stored: Any) -> Any:
        return decode_state(encode_state(stored))

    # The network.
    def _said(self, place: Place, message: Any) -> None:
        """Hold a message of an honest node against the invariants."""
        self.oracle.wrote_before(place.node, message, place.stored)
        self.oracle.sent(place.node, message, place.delivered)

    def _send(self, place: Place, destinations: Sequence[int], message: AnyMessage) -> None:
        node = place.node
        if place.is_honest:
            self._said(place, message)
            self.n_messages += len(destinations) - (len(destinations) > 1)
        for destination in destinations:
            if destination == node or not place.peers >> destination & 1:
                continue
            if place.is_honest or place.conduct == "twins":
                self._transmit(node, destination, message)
            else:
                self._say_as(place, destination, message)

    def _say_as(self, place: Place, destination: int, message: Any) -> None:
        """Send what a Byzantine node makes of a message of its honest machine."""
        changed = self._mutated(message) if self.rng.random() < 0.4 else message
        if changed is not None:
            self._transmit(place.node, destination, changed)

    def _transmit(self, source: int, destination: int, message: AnyMessage, later: int = 0) -> None:
        # Every message goes through its bytes; equal ones, as those of a broadcast, once in a row.
        if message is not self.last_sent:
            self.last_sent = message
            decoded = decode_message(*encode_message(message), source)
            if isinstance(decoded, Rejected):
                raise AssertionError(f"canonical bytes of {message} were rejected: {decoded}")
            self.last_decoded = decoded
        message = self.last_decoded
        for delay in self._delays(source, destination):
            for place in self.places_of[destination]:
                if place.peers >> source & 1:
                    self._at(self.now + later + delay, partial(self._arrive, place, message, source))

    def _delays(self, source: int, destination: int) -> tuple[int, ...]:
        draw = self.rng.random
        if self.now >= self.stable_at:
            return (1 + int(draw() * (DELAY - 1)),)
        group = self.groups[self.now // (4 * DELAY)]
        if draw() < self.loss or (group >> source & 1) != (group >> destination & 1):
            return ()
        # What was sent before stability arrives within a delay of it, or never; a repetition may come at any time.
        latest = self.stable_at + DELAY - self.now
        delay = min(1 + int(draw() * self.longest_delay), latest)
        if draw() < self.repeats:
            return delay, 1 + int(draw() * 10 * DELAY)
        return (delay,)

    # Byzantine conduct.
    def _hear(self, message: AnyMessage) -> None:
        self.heard[self.n_heard % len(self.heard)] = message
        self.n_heard += 1
        if isinstance(message, SetProposal | SetVote) and message.members not in self.sets:
            self.sets.append(message.members)

    def _mutated(self, message: Any) -> AnyMessage | None:
        """Change a correct message a little; None loses it."""
        draw = self.rng.random()
        if draw < 0.25:
            return None if draw < 0.1 else self.rng.choice(self.heard[: max(1, self.n_heard)])
        if isinstance(message, SetVote) and draw < 0.45:
            return replace(message, phase=self.rng.randint(1, 4))
        if isinstance(message, Decision) or (isinstance(message, SetProposal | SetVote) and draw < 0.75):
            return replace(message, members=self._any_set())
        if isinstance(message, Suggest | Proof) and draw < 0.75:
            return type(message)(message.view, *(self._any_ballot(message.view) for _ in range(3)))
        try:
            changed: AnyMessage = replace(message, view=message.view + self.rng.choice((-1, 1)))
        except DomainError:
            return message  # type: ignore[no-any-return]  # there is no such message
        return changed

    def _echo(self, place: Place, message: Any, sender: int) -> None:
        """Agree with whoever speaks, and with nobody else."""
        answers: list[AgreementMessage] = []
        match message:
            case SetVote():
                answers = [SetVote(phase, message.view, message.members) for phase in range(message.phase, 5)]
            case SetProposal():
                answers = [SetVote(phase, message.view, message.members) for phase in range(1, 5)]
            case Proof() | Suggest():
                view = message.view
                if (self.training_round + view) % self.n_nodes == place.node:
                    answers.append(SetProposal(view, self._any_set()))
                answers.append(Proof(view, None, (view - 1, self._any_set()), self._any_ballot(view)))
                answers.append(Suggest(view, None, (view - 1, self._any_set()), self._any_ballot(view)))
            case ViewChange():
                answers.append(message)
            case Decision():
                answers.append(message)
        for answer in answers:
            if self.rng.random() < 0.8:
                self._transmit(place.node, sender, answer)

    def _lie(self, place: Place) -> None:
        """Say something well formed to everybody, to each something else."""
        place.lies += 1
        view = self.oracle.highest_view + self.rng.choice((0, 0, 0, 1))
        for destination in range(self.n_nodes):
            if destination != place.node:
                self._transmit(place.node, destination, self._any_message(place, view))
        if place.lies < _LIES:
            self._at(self.now + self.rng.randrange(1, 2 * DELAY), lambda: self._lie(place))

    def _any_message(self, place: Place, view: int) -> AnyMessage:  # noqa: ARG002 - of use in a whole round
        draw = self.rng.random()
        if draw < 0.5:
            return SetVote(self.rng.randint(1, 4), view, self._any_set())
        if draw < 0.65 or view == 0:
            return SetProposal(view, self._any_set())
        if draw < 0.85:
            report = self.rng.choice((Suggest, Proof))
            return report(view, *(self._any_ballot(view) for _ in range(3)))
        return ViewChange(view + 1) if draw < 0.95 else Decision(self._any_set())

    def _any_set(self) -> int:
        if self.sets and self.rng.random() < 0.9:
            return self.rng.choice(self.sets)
        return sum(1 << node for node in self.rng.sample(range(self.n_nodes), self.n_nodes - self.tolerated))

    def _any_ballot(self, view: int) -> tuple[int, int] | None:
        return None if self.rng.random() < 0.3 else (self.rng.randrange(view), self._any_set())
