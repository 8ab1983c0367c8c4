"""Drawn schedules of the whole consensus of a training round, and the invariants that it must not break.

Network, stops and restarts are those of `ceas.runtime.agreement_network`; the machines are `ConsensusRound`s that propose
values. A node that starts again is given another value than before, as a node that computes its update anew would
have it; what counts is the one that was written. Byzantine nodes conduct themselves as there, with the messages of the
broadcast as well, or as one of these:

    equivocator  proposes one value to half of the nodes and another to the rest; all equivocators vote along, and tell
                 every node that they are ready for the value that it got
    disperser    proposes to few, and hands its value to nobody who asks
    leader       proposes another set to every node, and votes for what it told it
    late         follows all rules, but much of what it says comes up to thirteen delays later, at any time

In three of ten schedules all Byzantine nodes conduct themselves alike.

How long it may take, in units of the delay bound D after stability, f Byzantine nodes: nodes ask for what is missing 13
after they started and every 4 from then; an answer that was lost just before may put off one ask; question and answer
take 2, echoes wait 1 and take 1, readies as well: by 13 + 4 + 2 + 4 = 23 what honest nodes proposed, and what one of
them delivered before, is delivered by all. A view ends 13 after it began: 9 for its timer, 2 until the wish is said
again and 2 until all have entered. Lost are at most the views of f Byzantine leaders, one for each Byzantine sender whose
value arrives at others as late as 5 after it did at an honest leader, the view that went on, and one that lacks reports
that were lost; the next one decides. Then who is late learns the decision, asks, is answered and pulls, which takes
12. In all 23 + 13 (2 f + 3) + 12.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ceas.authentication import Rejected
from ceas.consensus import (
    AgreementMessage,
    AnyMessage,
    Conclude,
    ConsensusRound,
    Deliver,
    Echo,
    Missing,
    Propose,
    Pull,
    Ready,
    RoundState,
    SetProposal,
    SetVote,
    Value,
    decode_round_state,
    encode_round_state,
    value_digest,
)
from ceas.consensus.messages import Vote
from ceas.runtime.agreement_network import DELAY, AgreementOracle, Place, ScheduleResult, ScheduleRun, draw_size
from ceas.streams import stream_seed

__all__ = ["ROUND_CONDUCTS", "RoundOracle", "is_acceptable", "run_round_schedule"]

ROUND_CONDUCTS: Final = (
    *("silent", "twins", "mutant", "mutant", "echo", "liar"),
    *("equivocator", "equivocator", "disperser", "leader", "late"),
)
_ALIKE: Final = 0.3
_PARAMETERS: Final = b"\7" * 32
_LATEST: Final = 13 * DELAY
_PREFIX: Final = b"value"


def is_acceptable(value: bytes, proposer: int) -> Rejected | None:
    """Check a value as machines under test do: it must begin with `value`."""
    return None if value.startswith(_PREFIX) else Rejected(proposer, "unacceptable value")


def longest_round(tolerated_byzantine: int) -> int:
    """Return how long after stability all must have concluded and halted, in units of D; derived at the head."""
    return 23 + 13 * (2 * tolerated_byzantine + 3) + 12


@dataclass(slots=True)
class RoundOracle(AgreementOracle):
    """The invariants of a whole round: those of the agreement, and these over what honest nodes sent, heard and did.

    OneProposal     no honest node proposes two values, not even over restarts
    OneVote         nor echoes or readies two digests in an instance
    ReadyHasQuorum  it heard n - f echoes, or f + 1 readies, of what it is ready for
    EchoIsProposed  what it echoes in an honest node's instance is what that node proposed
    Delivered       it heard n - f readies of what it delivers
    SameValues      what honest nodes deliver in an instance are the same bytes
    Validity        what is delivered in an honest node's instance is what that node proposed
    Concluded       it concludes with the values of the set that it decided for, n - f at least, each delivered before;
                    the bytes are the same at all honest nodes
    Persisted       as in the agreement, of proposals, echoes and readies too

    Args:
        training_round: Training round, part of every digest.
    """

    training_round: int = 0
    have: dict[int, int] = field(default_factory=dict)  # node -> bitmap of what it delivered, in any life
    concluded_nodes: set[int] = field(default_factory=set)
    _proposed: dict[int, bytes] = field(default_factory=dict)  # node -> value
    _said: dict[tuple[type, int, int], bytes] = field(default_factory=dict)  # (kind, node, instance) -> digest
    _behind: dict[tuple[type, int, Vote], int] = field(default_factory=dict)  # (kind, hearer, vote) -> bitmap of voters
    _values: dict[int, bytes] = field(default_factory=dict)  # instance -> value that honest nodes delivered
    _concluded: list[Mapping[int, bytes]] = field(default_factory=list)

    def said(self, node: int, message: AnyMessage, written: RoundState | None) -> None:
        """Take a message of an honest node, and the state that it had written last when it sent it."""
        state = RoundState() if written is None else written
        match message:
            case Propose():
                if self._proposed.setdefault(node, message.value) != message.value:
                    self._fail("OneProposal", f"node {node} proposed {self._proposed[node]!r}, then {message.value!r}")
                if (node, message.value) not in state.broadcast.accepted:
                    self._fail("Persisted", f"node {node} proposed {message.value!r}, but it was not written")
            case Echo():
                kept = {(one, value_digest(self.training_round, one, value)) for one, value in state.broadcast.accepted}
                for vote in message.votes:
                    self._on_vote(Echo, node, vote, kept)
            case Ready():
                for vote in message.votes:
                    self._on_vote(Ready, node, vote, set(state.broadcast.readied))
            case Pull() | Value() | Missing():
                pass
            case _:
                self.wrote_before(node, message, None if written is None else written.agreement)
                self.sent(node, message, self.have.get(node, 0))

    def heard(self, node: int, message: AnyMessage, sender: int) -> None:
        """Take a message that came to a running honest node."""
        if isinstance(message, Echo | Ready):
            for vote in message.votes:
                self._count_vote(type(message), node, vote, sender)

    def delivered(self, node: int, instance: int, value: bytes) -> None:
        """Take what an honest node delivered."""
        vote = (instance, value_digest(self.training_round, instance, value))
        if not self._is_size_of_quorum(self._n_behind(Ready, node, vote)):
            self._fail("Delivered", f"node {node} delivered in instance {instance} without a quorum of readies")
        if self._values.setdefault(instance, value) != value:
            self._fail("SameValues", f"node {node} delivered {value!r}, another one {self._values[instance]!r}")
        if instance in self.honest and self._proposed.get(instance) != value:
            self._fail("Validity", f"node {node} delivered {value!r} as the value of honest node {instance}")
        self.have[node] = self.have.get(node, 0) | 1 << instance

    def concluded(self, node: int, values: Mapping[int, bytes]) -> None:
        """Take the conclusion of an honest node."""
        members = sum(1 << one for one in values)
        if self.decisions.get(node) != members:
            self._fail("Concluded", f"node {node} concluded with {members:#x}, but decided {self.decisions.get(node)}")
        if not self._is_size_of_quorum(len(values)):
            self._fail("Concluded", f"node {node} concluded with {len(values)} values")
        if members & ~self.have.get(node, 0) or any(self._values.get(one) != value for one, value in values.items()):
            self._fail("Concluded", f"node {node} concluded with values that it did not deliver")
        if self._concluded and self._concluded[0] != values:
            self._fail("Concluded", f"node {node} concluded with other values than another node")
        self._concluded.append(values)
        self.concluded_nodes.add(node)

    def _on_vote(self, kind: type, node: int, vote: Vote, written: set[Vote]) -> None:
        instance, digest = vote
        if vote not in written:
            self._fail("Persisted", f"node {node} sent {kind.__name__} in instance {instance}, but it was not written")
        said = self._said.setdefault((kind, node, instance), digest)
        if said != digest:
            self._fail("OneVote", f"node {node} sent {kind.__name__} for two digests in instance {instance}")
        if kind is Ready:
            if not (
                self._is_size_of_quorum(self._n_behind(Echo, node, vote))
                or self._n_behind(Ready, node, vote) > self.tolerated_byzantine
            ):
                self._fail("ReadyHasQuorum", f"node {node} is ready in instance {instance} without enough votes")
        elif instance in self.honest:
            proposed = self._proposed.get(instance)
            if proposed is None or value_digest(self.training_round, instance, proposed) != digest:
                self._fail("EchoIsProposed", f"node {node} echoed what honest node {instance} did not propose")
        self._count_vote(kind, node, vote, node)

    def _count_vote(self, kind: type, node: int, vote: Vote, sender: int) -> None:
        key = (kind, node, vote)
        self._behind[key] = self._behind.get(key, 0) | 1 << sender

    def _n_behind(self, kind: type, node: int, vote: Vote) -> int:
        return self._behind.get((kind, node, vote), 0).bit_count()


def run_round_schedule(
    seed: int,
    *,
    n_nodes: int | None = None,
    smallest: int = 4,
    largest: int = 16,
    make_round: type[ConsensusRound] = ConsensusRound,
    conducts: tuple[str, ...] = ROUND_CONDUCTS,
) -> ScheduleResult:
    """Run one schedule of the whole round, drawn from its seed.

    Args:
        seed: Seed of the schedule.
        n_nodes: Nodes; drawn when None.
        smallest: Fewest nodes drawn, at least 4.
        largest: Most nodes drawn; n nodes are as likely as 1 / n^2.
        make_round: The machine under test.
        conducts: What Byzantine nodes may do; each draws one.

    Raises:
        DomainError: `smallest`, `largest` or `n_nodes` is outside its range.
    """
    rng = random.Random(stream_seed(seed, "round schedule"))
    return _RoundRun(seed, draw_size(rng, n_nodes, smallest, largest), rng, make_round, conducts).finish()


class _RoundRun(ScheduleRun):
    part = "round"
    oracle: RoundOracle

    def _longest(self) -> int:
        return longest_round(self.tolerated) * DELAY

    # What is drawn before it starts.
    def _make_oracle(self, honest: tuple[int, ...]) -> RoundOracle:
        # What Byzantine nodes share: who got which of two values, and the votes and values in use.
        self.half = self.rng.getrandbits(self.n_nodes)
        self.equivocators: list[int] = []
        self.votes: list[Vote] = []
        self.values: dict[Vote, bytes] = {}
        self.common_conduct: str | None = None
        return RoundOracle(self.n_nodes, self.tolerated, honest, training_round=self.training_round)

    def _draw_conduct(self, conducts: tuple[str, ...]) -> str:
        if self.common_conduct is None:
            self.common_conduct = self.rng.choice(conducts) if self.rng.random() < _ALIKE else ""
        return self.common_conduct or self.rng.choice(conducts)

    def _has_machine(self, conduct: str) -> bool:
        return conduct not in ("silent", "echo", "liar")

    def _make_places(self, node: int, conduct: str) -> list[Place]:
        places = super()._make_places(node, conduct)
        if conduct == "equivocator":
            self.equivocators.append(node)
        if conduct == "disperser":
            for place in places:
                place.few = sum(1 << one for one in self.rng.sample(range(self.n_nodes), self._n_favoured()))
        return places

    def _n_favoured(self) -> int:
        """Draw to how many a selective disperser proposes: about as many as it takes for their echoes to do."""
        needed = self.n_nodes - 2 * self.tolerated
        return min(self.n_nodes, max(1, needed + self.rng.choice((-1, 0, 0, 1))))

    def _machine(self, node: int, restored: Any = None) -> Any:
        return self.make_machine(
            node=node,
            n_nodes=self.n_nodes,
            tolerated_byzantine=self.tolerated,
            training_round=self.training_round,
            parameter_digest=_PARAMETERS,
            delay_bound_ns=DELAY,
            validate=is_acceptable,
            restored=restored,
        )

    def _plan(self, byzantine: set[int]) -> None:
        """Plan nothing: the broadcast delivers."""

    # What happens.
    def _begin(self, place: Place) -> list[Any]:
        which = 0 if place.is_honest else self.places_of[place.node].index(place)
        out: list[Any] = place.machine.start(_PREFIX + b" %d %d %d" % (place.node, which, place.life), self.now)
        return out

    def _start(self, place: Place) -> None:
        if place.machine is None and place.conduct in ("echo", "liar"):
            for destination in range(self.n_nodes):
                if destination != place.node:
                    self._transmit(place.node, destination, Propose(self._any_value(place.node)[1], _PARAMETERS))
        super()._start(place)

    def _arrive(self, place: Place, message: AnyMessage, sender: int) -> None:
        if place.is_honest and place.life and not place.is_down:
            self.oracle.heard(place.node, message, sender)
        super()._arrive(place, message, sender)

    def _said(self, place: Place, message: Any) -> None:
        self.oracle.said(place.node, message, place.stored)

    def _note(self, place: Place, output: Any) -> None:
        if isinstance(output, Deliver):
            self.oracle.delivered(place.node, output.instance, output.value)
        elif isinstance(output, Conclude):
            self.oracle.concluded(place.node, output.values)
            self.decided_at = max(self.decided_at, self.now)
        else:
            super()._note(place, output)

    def _reread(self, stored: Any) -> Any:
        return decode_round_state(encode_round_state(stored))

    # Byzantine conduct.
    def _hear(self, message: AnyMessage) -> None:
        super()._hear(message)
        if isinstance(message, Echo | Ready):
            self.votes += [vote for vote in message.votes if vote not in self.votes]

    def _say_as(self, place: Place, destination: int, message: Any) -> None:
        match place.conduct:
            case "equivocator":
                self._equivocate(place, destination, message)
            case "disperser":
                is_told = place.few >> destination & 1 or not isinstance(message, Propose)
                if is_told and not isinstance(message, Value):
                    self._transmit(place.node, destination, message)
            case "leader":
                self._lead_astray(place, destination, message)
            case "late":
                later = self.rng.choice((0, 0, self.rng.randrange(3 * DELAY), self.rng.randrange(_LATEST)))
                self._transmit(place.node, destination, message, later)
            case _:
                super()._say_as(place, destination, message)

    def _value_for(self, equivocator: int, destination: int) -> bytes:
        return _PREFIX + b" %d to half %d" % (equivocator, self.half >> destination & 1)

    def _equivocate(self, place: Place, destination: int, message: Any) -> None:
        if isinstance(message, Propose):
            message = replace(message, value=self._value_for(place.node, destination))
        elif isinstance(message, Echo | Ready):
            votes = dict(message.votes)
            for one in self.equivocators:
                votes[one] = value_digest(self.training_round, one, self._value_for(one, destination))
            message = replace(message, votes=tuple(sorted(votes.items())))
            if isinstance(message, Echo):
                self._transmit(place.node, destination, Ready(message.votes))
        self._transmit(place.node, destination, message)

    def _lead_astray(self, place: Place, destination: int, message: Any) -> None:
        if isinstance(message, SetProposal) or (
            isinstance(message, SetVote) and (self.training_round + message.view) % self.n_nodes == place.node
        ):
            members = self._set_for(message.members, destination)
            if isinstance(message, SetProposal):
                self._transmit(place.node, destination, SetProposal(message.view, members))
            for phase in range(1, 5):
                self._transmit(place.node, destination, SetVote(phase, message.view, members))
        else:
            self._transmit(place.node, destination, message)

    def _set_for(self, members: int, destination: int) -> int:
        """Return the set itself for one half, and another one for the rest, which they can use as well if possible."""
        if self.half >> destination & 1:
            return members
        if members.bit_count() > self.n_nodes - self.tolerated:
            return members & (members - 1)
        return self._any_set()

    def _mutated(self, message: Any) -> AnyMessage | None:
        if isinstance(message, AgreementMessage):
            return super()._mutated(message)
        draw = self.rng.random()
        if draw < 0.25:
            return None if draw < 0.1 else self.rng.choice(self.heard[: max(1, self.n_heard)])
        match message:
            case Propose():
                if draw < 0.35:
                    return replace(message, parameter_digest=b"\6" * 32)
                return replace(message, value=message.value + b"%d" % self.rng.randrange(2))
            case Echo() | Ready():
                kind: Any = type(message) if draw < 0.7 else self.rng.choice((Echo, Ready))
                changed = [self._changed_vote(vote) if self.rng.random() < 0.5 else vote for vote in message.votes]
                if len(changed) > 1 and self.rng.random() < 0.3:
                    changed.pop(self.rng.randrange(len(changed)))
                voted: AnyMessage = kind(tuple(changed))
                return voted
            case Pull():
                return Pull(*self._changed_vote((message.instance, message.digest)))
            case Value():
                return replace(message, value=message.value + b"!")
            case _:
                return Missing(self._any_set())

    def _changed_vote(self, vote: Vote) -> Vote:
        known = [one for one in self.votes if one[0] == vote[0]]
        if known and self.rng.random() < 0.7:
            return self.rng.choice(known)
        return vote[0], self._any_value(vote[0])[0]

    def _any_value(self, instance: int) -> tuple[bytes, bytes]:
        """Draw one of two values of an instance, with its digest."""
        value = _PREFIX + b" %d choice %d" % (instance, self.rng.randrange(2))
        digest = value_digest(self.training_round, instance, value)
        self.values[instance, digest] = value
        return digest, value

    def _echo(self, place: Place, message: Any, sender: int) -> None:
        answers: list[AnyMessage] = []
        match message:
            case Propose():
                vote = (sender, value_digest(self.training_round, sender, message.value))
                answers = [Echo((vote,)), Ready((vote,))]
            case Echo() | Ready():
                answers = [Echo(message.votes), Ready(message.votes)]
            case Pull():
                value = self.values.get((message.instance, message.digest), b"another one")
                answers = [Value(message.instance, value)]
            case Missing():
                known = [vote for vote in self.votes if message.members >> vote[0] & 1]
                answers += [Ready((vote,)) for vote in known[:4]]
            case Value():
                pass
            case _:
                super()._echo(place, message, sender)
        for answer in answers:
            if self.rng.random() < 0.8:
                self._transmit(place.node, sender, answer)

    def _any_message(self, place: Place, view: int) -> AnyMessage:
        draw = self.rng.random()
        if draw < 0.5:
            return super()._any_message(place, view)
        if draw < 0.6:
            return Propose(self._any_value(place.node)[1], _PARAMETERS)
        if draw < 0.9:
            instances = sorted(self.rng.sample(range(self.n_nodes), self.rng.randint(1, self.n_nodes)))
            kind: Any = self.rng.choice((Echo, Ready))
            votes: AnyMessage = kind(tuple(self._changed_vote((one, _PARAMETERS)) for one in instances))
            return votes
        vote = self._changed_vote((self.rng.randrange(self.n_nodes), _PARAMETERS))
        return self.rng.choice((Pull(*vote), Value(vote[0], self.values.get(vote, b"none")), Missing(self._any_set())))
