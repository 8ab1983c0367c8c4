"""Any order of arrivals, losses, repetitions, timers, restarts and lies: Hypothesis looks for one that is unsafe."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ceas.consensus import (
    Agreement,
    AgreementMessage,
    AgreementOutput,
    AgreementState,
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
    encode_message,
)
from ceas.runtime.agreement_network import AgreementOracle

N, D = 4, 1000
HONEST = (0, 1, 2)
LIAR = 3
SETS = st.sampled_from((0b0111, 0b1110, 0b1011, 0b1111))
VIEWS = st.integers(0, 4)
LATER = st.integers(1, 4)
BALLOTS = st.none() | st.tuples(st.just(0), SETS)
LIES = st.one_of(
    st.builds(SetVote, st.integers(1, 4), VIEWS, SETS),
    st.builds(SetProposal, VIEWS, SETS),
    st.builds(Suggest, LATER, BALLOTS, BALLOTS, BALLOTS),
    st.builds(Proof, LATER, BALLOTS, BALLOTS, BALLOTS),
    st.builds(ViewChange, LATER),
    st.builds(Decision, SETS),
)


class Nodes(RuleBasedStateMachine):
    """Three honest nodes and a liar; what an honest node sends stays in the air and may arrive at any time or never."""

    @initialize(training_round=st.integers(0, 3), delivered=st.lists(st.integers(0, 3), max_size=8))
    def start(self, training_round: int, delivered: list[int]) -> None:
        self.training_round = training_round
        self.now = 0
        self.oracle = AgreementOracle(N, 1, HONEST)
        self.delivered = dict.fromkeys(HONEST, 0)
        self.stored: dict[int, AgreementState | None] = dict.fromkeys(HONEST)
        self.air: list[tuple[int, int, AgreementMessage]] = []
        self.nodes = {node: self.machine(node, None) for node in HONEST}
        for node in HONEST:
            self.carry_out(node, self.nodes[node].start(0))
            for instance in range(N):
                # Few are missing, so that something happens.
                if delivered.count(instance) == 0 or (instance + node) % 3:
                    self.deliver(node, instance)

    def machine(self, node: int, restored: AgreementState | None) -> Agreement:
        return Agreement(
            node=node,
            n_nodes=N,
            tolerated_byzantine=1,
            training_round=self.training_round,
            delay_bound_ns=D,
            restored=restored,
        )

    def carry_out(self, node: int, out: list[AgreementOutput], steps: int | None = None) -> None:
        for output in out[:steps]:
            match output:
                case Persist():
                    self.stored[node] = output.state
                case Broadcast():
                    self.send(node, [one for one in range(N) if one != node], output.message)
                case Send():
                    self.send(node, [output.destination], output.message)
                case Decide():
                    self.oracle.decided(node, output.members)
                case _:
                    pass

    def send(self, node: int, destinations: list[int], message: AgreementMessage) -> None:
        self.oracle.sent(node, message, self.delivered[node])
        decoded = decode_message(*encode_message(message), node)
        assert decoded == message
        self.air += [(node, destination, message) for destination in destinations if destination != LIAR]

    def deliver(self, node: int, instance: int) -> None:
        self.delivered[node] |= 1 << instance
        self.carry_out(node, self.nodes[node].deliver(instance, self.now))

    @rule(node=st.sampled_from(HONEST), instance=st.integers(0, N - 1))
    def broadcast_delivers(self, node: int, instance: int) -> None:
        self.deliver(node, instance)

    @rule(data=st.data(), is_kept=st.booleans())
    def one_arrives(self, data: Any, is_kept: bool) -> None:
        if self.air:
            index = data.draw(st.integers(0, len(self.air) - 1))
            sender, destination, message = self.air[index] if is_kept else self.air.pop(index)
            self.carry_out(destination, self.nodes[destination].receive(message, sender, self.now))

    @rule(without=st.sampled_from((None, *HONEST)))
    def all_arrive(self, without: int | None) -> None:
        arriving = [one for one in self.air if one[1] != without]
        self.air = [one for one in self.air if one[1] == without]
        for sender, destination, message in arriving:
            self.carry_out(destination, self.nodes[destination].receive(message, sender, self.now))

    @rule()
    def all_are_lost(self) -> None:
        self.air.clear()

    @rule(nodes=st.sets(st.sampled_from(HONEST), min_size=1))
    def time_passes(self, nodes: set[int]) -> None:
        self.now += 13 * D
        for node in sorted(nodes):
            self.carry_out(node, self.nodes[node].tick(self.now))

    @rule(message=LIES, to=st.sampled_from(HONEST))
    def liar_says(self, message: AgreementMessage, to: int) -> None:
        self.carry_out(to, self.nodes[to].receive(message, LIAR, self.now))

    @rule(to=st.sampled_from(HONEST), members=SETS, view=VIEWS)
    def liar_votes_in_all_phases(self, to: int, members: int, view: int) -> None:
        for phase in range(1, 5):
            self.carry_out(to, self.nodes[to].receive(SetVote(phase, view, members), LIAR, self.now))

    @rule(data=st.data(), node=st.sampled_from(HONEST), steps=st.integers(0, 6))
    def node_stops_in_the_midst_of_what_it_does(self, data: Any, node: int, steps: int) -> None:
        arriving = [index for index, one in enumerate(self.air) if one[1] == node]
        if arriving:
            sender, _, message = self.air.pop(data.draw(st.sampled_from(arriving)))
            self.carry_out(node, self.nodes[node].receive(message, sender, self.now), steps)
        self.nodes[node] = self.machine(node, self.stored[node])
        self.carry_out(node, self.nodes[node].start(self.now))
        for instance in range(N):
            if self.delivered[node] >> instance & 1:
                self.carry_out(node, self.nodes[node].deliver(instance, self.now))

    @invariant()
    def nothing_is_violated(self) -> None:
        assert self.oracle.violations == []


TestNodes = Nodes.TestCase
TestNodes.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
