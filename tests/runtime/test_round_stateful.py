"""Any order of arrivals, losses, repetitions, timers, restarts and lies in a whole round, looked for by Hypothesis.

Four nodes, of which node 3 is Byzantine: two honest machines under its identity, one talking with nodes 0 and 1, the
other with 1 and 2, each with a value of its own; what they say may be changed, and it may say what it likes besides.
At the end of every example the network becomes stable, and all honest nodes have to conclude in time.
"""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ceas.consensus import (
    AnyMessage,
    Broadcast,
    Conclude,
    ConsensusRound,
    Decide,
    Decision,
    Deliver,
    Echo,
    Persist,
    Proof,
    Propose,
    Pull,
    Ready,
    RoundState,
    Send,
    SetProposal,
    SetVote,
    Suggest,
    Value,
    ViewChange,
    decode_message,
    decode_round_state,
    encode_message,
    encode_round_state,
    value_digest,
)
from ceas.runtime.round_network import RoundOracle, is_acceptable, longest_round

N, D = 4, 1000
HONEST = (0, 1, 2)
LIAR = 3
PARAMETERS = b"\7" * 32
TWINS = (0b0011, 0b0110)  # whom each talks with
NODES = st.sampled_from(HONEST)
SETS = st.sampled_from((0b0111, 0b1110, 0b1011, 0b1111))
LATER = st.integers(1, 3)
BALLOTS = st.none() | st.tuples(st.just(0), SETS)
REPORTS = st.builds(Suggest, LATER, BALLOTS, BALLOTS, BALLOTS) | st.builds(Proof, LATER, BALLOTS, BALLOTS, BALLOTS)
LIES = REPORTS | st.builds(ViewChange, LATER) | st.builds(Decision, SETS)


class Nodes(RuleBasedStateMachine):
    """What is sent stays in the air, and may arrive at any time, several times or never."""

    make_round = ConsensusRound

    @initialize(training_round=st.integers(0, 3))
    def start(self, training_round: int) -> None:
        self.training_round = training_round
        self.now = 0
        self.oracle = RoundOracle(N, 1, HONEST, training_round=training_round, parameter_digest=PARAMETERS)
        self.stored: dict[int, RoundState | None] = dict.fromkeys(HONEST)
        self.life = dict.fromkeys(HONEST, 0)
        self.air: list[tuple[int, int, AnyMessage]] = []
        self.nodes = {node: self.machine(node, None) for node in HONEST}
        self.twins = [self.machine(LIAR, None) for _ in TWINS]
        for node in HONEST:
            self.carry_out(node, self.nodes[node].start(self.value(node), 0))
        for which, twin in enumerate(self.twins):
            self.say(which, twin.start(b"value of twin %d" % which, 0))

    def machine(self, node: int, restored: RoundState | None) -> ConsensusRound:
        return self.make_round(
            node=node,
            n_nodes=N,
            tolerated_byzantine=1,
            training_round=self.training_round,
            parameter_digest=PARAMETERS,
            delay_bound_ns=D,
            validate=is_acceptable,
            restored=restored,
        )

    def value(self, node: int) -> bytes:
        return b"value %d of life %d" % (node, self.life[node])

    # What machines ask for.
    def carry_out(self, node: int, out: list[Any], steps: int | None = None) -> None:
        for output in out[:steps]:
            match output:
                case Persist():
                    self.stored[node] = output.state
                case Broadcast() | Send():
                    self.oracle.said(node, output.message, self.stored[node])
                    self.send(node, output, 0b1111)
                case Deliver():
                    self.oracle.delivered(node, output.instance, output.value)
                case Decide():
                    self.oracle.decided(node, output.members)
                case Conclude():
                    self.oracle.concluded(node, output.values)
                case _:
                    pass

    def say(self, which: int, out: list[Any]) -> None:
        for output in out:
            if isinstance(output, Broadcast | Send):
                self.send(LIAR, output, TWINS[which])

    def send(self, node: int, output: Any, peers: int) -> None:
        assert decode_message(*encode_message(output.message), node) == output.message
        to = range(N) if isinstance(output, Broadcast) else (output.destination,)
        self.air += [(node, one, output.message) for one in to if one != node and peers >> one & 1]

    def arrive(self, sender: int, destination: int, message: AnyMessage, steps: int | None = None) -> None:
        if destination == LIAR:
            if isinstance(message, Pull):
                self.air.append((LIAR, sender, Value(message.instance, b"value that nobody proposed")))
            for which, twin in enumerate(self.twins):
                if TWINS[which] >> sender & 1:
                    self.say(which, twin.receive(message, sender, self.now))
        else:
            self.oracle.heard(destination, message, sender)
            self.carry_out(destination, self.nodes[destination].receive(message, sender, self.now), steps)

    def all_arrive(self, arriving: list[tuple[int, int, AnyMessage]]) -> None:
        for sender, destination, message in arriving:
            self.arrive(sender, destination, message)

    def taken(self, destinations: set[int]) -> list[tuple[int, int, AnyMessage]]:
        found = [one for one in self.air if one[1] in destinations]
        self.air = [one for one in self.air if one[1] not in destinations]
        return found

    # What happens to messages.
    @rule(index=st.integers(0, 63), is_kept=st.booleans())
    def one_arrives(self, index: int, is_kept: bool) -> None:
        if self.air:
            index %= len(self.air)
            self.arrive(*(self.air[index] if is_kept else self.air.pop(index)))

    @rule(without=st.sampled_from((None, None, *HONEST)))
    def most_arrive(self, without: int | None) -> None:
        self.all_arrive(self.taken({0, 1, 2, 3} - {without}))

    @rule(node=NODES, is_first=st.booleans())
    def a_half_arrives_backwards(self, node: int, is_first: bool) -> None:
        mine = self.taken({node})
        half = len(mine) // 2
        early, late = (mine[:half], mine[half:]) if is_first else (mine[half:], mine[:half])
        self.air += late
        self.all_arrive(early[::-1])

    @rule(node=NODES)
    def all_are_lost_on_the_way_to(self, node: int) -> None:
        self.taken({node})

    @rule(delays=st.sampled_from((1, 2, 4, 13)), nodes=st.sets(NODES, min_size=1))
    def time_passes(self, delays: int, nodes: set[int]) -> None:
        self.now += delays * D
        for node in sorted(nodes):
            self.carry_out(node, self.nodes[node].tick(self.now))
        for which, twin in enumerate(self.twins):
            self.say(which, twin.tick(self.now))

    @rule(node=NODES, index=st.integers(0, 63), steps=st.integers(0, 6))
    def node_stops_in_the_midst_of_what_it_does(self, node: int, index: int, steps: int) -> None:
        mine = self.taken({node})
        if mine:
            sender, _, message = mine.pop(index % len(mine))
            self.arrive(sender, node, message, steps)
        else:
            self.now += D
            self.carry_out(node, self.nodes[node].tick(self.now), steps)
        self.air += mine
        stored = self.stored[node]
        self.nodes[node] = self.machine(
            node, None if stored is None else decode_round_state(encode_round_state(stored))
        )
        self.life[node] += 1
        self.carry_out(node, self.nodes[node].start(self.value(node), self.now))

    # What node 3 says.
    @rule(index=st.integers(0, 63), members=SETS, phase=st.integers(1, 4), which=st.integers(0, 1))
    def word_of_a_twin_is_changed(self, index: int, members: int, phase: int, which: int) -> None:
        places = [place for place, one in enumerate(self.air) if one[0] == LIAR]
        if places:
            place = places[index % len(places)]
            _, destination, message = self.air[place]
            self.air[place] = (LIAR, destination, self.changed(message, members, phase, which))

    def changed(self, message: Any, members: int, phase: int, which: int) -> AnyMessage:
        match message:
            case Propose() if phase == 1:
                kept: AnyMessage = replace(message, value=b"not a value")
            case Propose() if phase == 2:
                kept = replace(message, parameter_digest=b"\6" * 32)
            case Propose():
                kept = replace(message, value=b"value of twin %d" % which)
            case Value():
                kept = replace(message, value=b"value that nobody proposed")
            case Echo() | Ready():
                kept = (Ready, Echo)[which](message.votes)
            case SetVote():
                kept = replace(message, members=members, phase=phase)
            case SetProposal() | Decision():
                kept = replace(message, members=members)
            case _:
                kept = message
        return kept

    @rule(to=NODES, which=st.integers(0, 1), is_own=st.booleans())
    def liar_is_for_a_value(self, to: int, which: int, is_own: bool) -> None:
        """Echo and ready for one of its own two values, or for that of the node itself."""
        instance, value = (LIAR, b"value of twin %d" % which) if is_own else (to, self.value(to))
        votes = ((instance, value_digest(self.training_round, instance, value)),)
        self.all_arrive([(LIAR, to, Propose(b"value of twin %d" % which, PARAMETERS))])
        self.all_arrive([(LIAR, to, Echo(votes)), (LIAR, to, Ready(votes))])

    @rule(to=NODES, members=SETS, view=st.integers(0, 2))
    def liar_is_for_a_set(self, to: int, members: int, view: int) -> None:
        self.all_arrive([(LIAR, to, SetProposal(view, members))])
        self.all_arrive([(LIAR, to, SetVote(phase, view, members)) for phase in range(1, 5)])

    @rule(to=NODES, message=LIES)
    def liar_says(self, to: int, message: AnyMessage) -> None:
        self.arrive(LIAR, to, message)

    @invariant()
    def nothing_is_violated(self) -> None:
        assert self.oracle.violations == []

    def teardown(self) -> None:
        """Every message arrives within a delay from now on: all honest nodes conclude and halt."""
        if not hasattr(self, "nodes") or self.oracle.violations:
            return
        end = self.now + longest_round(1) * D
        while self.now < end and not all(one.is_halted for one in self.nodes.values()):
            self.now += D
            self.all_arrive(self.taken({0, 1, 2, 3}))
            self.time_passes(0, set(HONEST))
        assert self.oracle.violations == []
        assert all(one.is_halted for one in self.nodes.values()), "not all honest nodes concluded and halted in time"


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
