"""Drawn schedules of the agreement, stops at every `Persist` of four nodes, and the invariants that judge both."""

from typing import Any

import pytest

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
    SetTimer,
    SetVote,
    Suggest,
    ViewChange,
)
from ceas.errors import DomainError
from ceas.runtime.agreement_network import AgreementOracle, run_schedule

ALL = 0b1111
X, Y = 0b0111, 0b1110


def test_drawn_schedules_are_safe_and_live() -> None:
    results = [run_schedule(seed) for seed in range(60)]
    assert [result for result in results if result.violations or not result.is_live] == []
    # What is drawn has to be adverse enough to mean something.
    assert max(result.n_views for result in results) >= 5
    assert sum(result.n_restarts for result in results) >= 10
    assert {result.n_nodes for result in results} >= {4, 5, 7, 10}


@pytest.mark.slow
@pytest.mark.parametrize("conduct", ["silent", "twins", "mutant", "echo", "liar"])
def test_schedules_with_one_conduct_are_safe_and_live(conduct: str) -> None:
    results = [run_schedule(seed, conducts=(conduct,)) for seed in range(1000)]
    assert [result for result in results if result.violations or not result.is_live] == []


@pytest.mark.parametrize("n_nodes", [31, 50])
def test_large_rosters(n_nodes: int) -> None:
    result = run_schedule(1, n_nodes=n_nodes, conducts=("silent",))
    assert result.n_nodes == n_nodes
    assert not result.violations
    assert result.is_live


def test_a_seed_replays_exactly() -> None:
    assert [run_schedule(seed) for seed in range(10)] == [run_schedule(seed) for seed in range(10)]
    assert run_schedule(3, n_nodes=7) != run_schedule(4, n_nodes=7)


def test_numbers_of_nodes_are_checked() -> None:
    for arguments in ({"smallest": 3}, {"smallest": 9, "largest": 8}, {"n_nodes": 3}):
        with pytest.raises(DomainError, match="nodes"):
            run_schedule(0, **arguments)


# Each invariant fails where it should.
def oracle() -> AgreementOracle:
    """Return the invariants for four nodes, of which node 3 is Byzantine."""
    return AgreementOracle(4, 1, (0, 1, 2))


def names(one: AgreementOracle) -> list[str]:
    return [text.split(":")[0] for text in one.violations]


def vote(one: AgreementOracle, nodes: tuple[int, ...], phase: int, view: int, members: int) -> None:
    for node in nodes:
        one.sent(node, SetVote(phase, view, members), ALL)


def test_a_good_run_violates_nothing() -> None:
    one = oracle()
    for phase in range(1, 5):
        vote(one, (0, 1, 2), phase, 0, X)
        vote(one, (0,), phase, 0, X)  # said again after a restart
    for node in range(3):
        one.decided(node, X)
        one.sent(node, Proof(1, (0, X), (0, X), None), ALL)
    vote(one, (0, 1, 2), 1, 1, X)
    assert one.violations == []
    assert one.decisions == {0: X, 1: X, 2: X}
    assert one.highest_view == 1


def test_two_votes_in_a_phase_are_found() -> None:
    one = oracle()
    vote(one, (0,), 1, 0, X)
    vote(one, (0,), 1, 0, Y)
    assert names(one) == ["OneValuePerPhasePerRound"]


def test_a_vote_without_votes_before_is_found() -> None:
    one = oracle()
    vote(one, (0,), 1, 0, X)
    vote(one, (0,), 2, 0, X)  # one honest and one Byzantine are no quorum of three
    assert names(one) == ["VoteHasQuorumInPreviousPhase"]
    one = oracle()
    vote(one, (0, 1), 1, 0, X)
    vote(one, (0,), 2, 0, X)
    assert names(one) == []


def test_an_unsafe_vote_is_found() -> None:
    one = oracle()
    for phase in range(1, 5):
        vote(one, (0, 1), phase, 0, X)  # with node 3 a quorum: X may be decided
    one.sent(2, Proof(1, None, None, None), ALL)
    vote(one, (2,), 1, 1, Y)
    assert names(one) == ["VotesSafe"]
    one = oracle()
    vote(one, (0, 1), 1, 0, X)
    for node, last in ((0, (0, X)), (1, (0, X)), (2, None)):
        one.sent(node, Proof(1, None, last, None), ALL)
    vote(one, (2,), 1, 1, Y)
    assert names(one) == [], "nobody can decide in view 0 any more"


def test_reports_that_leave_out_a_vote_are_found() -> None:
    def reported(*reports: Proof | Suggest) -> list[str]:
        one = oracle()
        for view, members in ((0, X), (1, Y), (2, Y)):
            for phase in (1, 2, 3, 4):
                # Votes that no honest node would give, but all that matters here is what is said of them.
                one._votes[0, view, phase] = members
        for report in reports:
            one.sent(0, report, ALL)
        return names(one)

    last, before = (2, Y), (0, X)
    assert reported(Proof(3, last, last, before), Suggest(3, last, last, before)) == []
    # Written, but not sent before the node stopped.
    assert reported(Proof(4, (3, X), (3, X), last)) == []
    assert reported(Proof(1, before, before, None)) == [], "later votes are no part of it"
    for wrong in (
        Proof(3, None, last, before),
        Proof(3, last, (1, Y), before),
        Proof(3, last, last, None),
        Suggest(3, (2, X), last, before),
        Suggest(3, last, None, None),
        Suggest(3, last, last, None),
    ):
        assert reported(wrong) == ["Reports"], wrong


def test_what_was_not_written_before_it_was_sent_is_found() -> None:
    written = AgreementState(view=1, vote_1=(1, X), vote_2=(0, X), proposal=(1, X))
    for message in (SetVote(1, 1, X), SetVote(1, 0, Y), SetProposal(1, X), Proof(1, None, None, None), ViewChange(2)):
        one = oracle()
        one.wrote_before(0, message, written)
        assert one.violations == [], message
    for message in (
        *(SetVote(1, 1, Y), SetVote(2, 1, X), SetVote(3, 0, X), SetProposal(1, Y), Decision(X)),
        *(Proof(2, None, None, None), Suggest(2, None, None, None)),
    ):
        one = oracle()
        one.wrote_before(0, message, written)
        assert names(one) == ["Persisted"], message
    one = oracle()
    one.wrote_before(0, SetVote(1, 0, X), None)
    assert names(one) == ["Persisted"]


def test_going_back_is_found() -> None:
    one = oracle()
    one.sent(0, Proof(2, None, None, None), ALL)
    one.sent(0, SetProposal(1, X), ALL)
    assert names(one) == ["NoFutureVote"]


def test_votes_for_what_is_not_delivered_are_found() -> None:
    one = oracle()
    one.sent(0, SetVote(1, 0, X), 0b0011)
    one.sent(1, SetVote(1, 0, 0b0011), ALL)
    assert names(one) == ["validity", "validity"]


def test_two_decisions_and_one_without_votes_are_found() -> None:
    one = oracle()
    one.decided(0, X)
    assert names(one) == ["decided"]
    one = oracle()
    for phase in range(1, 5):
        vote(one, (0, 1, 2), phase, 0, X)
    one.decided(0, X)
    one.decided(1, Y)
    assert names(one) == ["Safety", "decided"]


# Twins: node `twin` of four is two honest machines with one identity. The five machines are parted in two for a view,
# then in another way for the next, and so on; in the end all hear each other.
D = 1000
PERIOD = 14 * D


class Twins:
    def __init__(self, twin: int, partitions: tuple[int, ...], make_agreement: type[Agreement] = Agreement) -> None:
        self.make_agreement = make_agreement
        self.identity = [0, 1, 2, 3, twin]
        self.twin = twin
        self.partitions = partitions
        self.now = 0
        self.flying: list[tuple[int, int, AgreementMessage]] = []  # source machine, destination machine, message
        self.timers: list[set[int]] = [set() for _ in range(5)]
        self.delivered = [0] * 5
        self.oracle = AgreementOracle(4, 1, tuple(node for node in range(4) if node != twin))
        self.machines = [
            make_agreement(node=node, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D)
            for node in self.identity
        ]

    def run(self) -> "Twins":
        for index, machine in enumerate(self.machines):
            self.carry_out(index, machine.start(0))
            # The twins propose different sets, and so do different leaders.
            missing = (self.identity[index] + (index == 4)) % 4
            for instance in range(4):
                if instance != missing:
                    self.carry_out(index, machine.deliver(instance, 0))
        end = (len(self.partitions) + 6) * PERIOD
        while self.now < end and not self.is_over():
            self.now += D
            arriving, self.flying = self.flying, []
            for source, destination, message in arriving:
                machine = self.machines[destination]
                self.carry_out(destination, machine.receive(message, self.identity[source], self.now))
            if self.now == len(self.partitions) * PERIOD:
                for index, machine in enumerate(self.machines):
                    for instance in range(4):
                        self.carry_out(index, machine.deliver(instance, self.now))
            for index, machine in enumerate(self.machines):
                if self.now in self.timers[index]:
                    self.carry_out(index, machine.tick(self.now))
        return self

    def is_over(self) -> bool:
        return all(one.is_halted for one, node in zip(self.machines, self.identity, strict=True) if node != self.twin)

    def carry_out(self, index: int, out: list[AgreementOutput]) -> None:
        node = self.identity[index]
        for output in out:
            match output:
                case Broadcast():
                    self.send(index, {0, 1, 2, 3} - {node}, output.message)
                case Send():
                    self.send(index, {output.destination}, output.message)
                case SetTimer():
                    self.timers[index].add(output.at_ns)
                case Decide() if node != self.twin:
                    self.oracle.decided(node, output.members)
                case _:
                    pass

    def send(self, index: int, destinations: set[int], message: AgreementMessage) -> None:
        if self.identity[index] != self.twin:
            self.delivered[index] |= self.machines[index]._delivered
            self.oracle.sent(self.identity[index], message, self.delivered[index])
        period = self.now // PERIOD
        group = self.partitions[period] if period < len(self.partitions) else 0b11111
        for other, node in enumerate(self.identity):
            if node in destinations and (group >> other & 1) == (group >> index & 1):
                self.flying.append((index, other, message))


# A partition and its complement are the same: machine 0 is always in the group.
PARTITIONS = tuple(range(1, 32, 2))


class SmallQuorumOfVotes(Agreement):
    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        self._quorum -= 1
        reason = super()._count(slot, message, sender)
        self._quorum += 1
        return reason


def test_twins_break_an_agreement_with_small_quorums() -> None:
    broken = [
        (twin, group)
        for twin in range(4)
        for group in PARTITIONS
        if any(text.startswith("Safety") for text in Twins(twin, (group,), SmallQuorumOfVotes).run().oracle.violations)
    ]
    assert broken


class Stopping(Twins):
    """One stop: at the `n_before`-th `Persist` of honest nodes, before it is carried out or right after."""

    def __init__(
        self,
        partitions: tuple[int, ...],
        n_before: int,
        is_written: bool,
        make_agreement: type[Agreement] = Agreement,
    ) -> None:
        super().__init__(3, partitions, make_agreement)
        self.left = n_before
        self.is_written = is_written
        self.stored: list[AgreementState | None] = [None] * 5

    def carry_out(self, index: int, out: list[AgreementOutput]) -> None:
        for place, output in enumerate(out):
            if not isinstance(output, Persist):
                continue
            stops = self.left == 0 and self.identity[index] != self.twin
            self.left -= self.identity[index] != self.twin
            if not stops or self.is_written:
                self.stored[index] = output.state
            if stops:
                super().carry_out(index, out[:place])
                self.restart(index)
                return
        super().carry_out(index, out)

    def restart(self, index: int) -> None:
        self.delivered[index] |= self.machines[index]._delivered
        self.machines[index] = self.make_agreement(
            node=self.identity[index],
            n_nodes=4,
            tolerated_byzantine=1,
            training_round=0,
            delay_bound_ns=D,
            restored=self.stored[index],
        )
        self.carry_out(index, self.machines[index].start(self.now))
        for instance in range(4):
            if self.delivered[index] >> instance & 1:
                self.carry_out(index, self.machines[index].deliver(instance, self.now))


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("partitions", [(0b11111,), (0b00011,), (0b00111, 0b01101)])
def test_a_stop_at_any_persist_is_safe_and_live(partitions: tuple[int, ...], is_written: bool) -> None:
    n_before = 0
    while True:
        done = Stopping(partitions, n_before, is_written).run()
        assert done.oracle.violations == [], n_before
        assert done.is_over(), n_before
        if done.left >= 0:
            break  # there was no such `Persist`
        n_before += 1
    assert n_before >= 3 * 5  # three honest nodes with four votes and a decision each


class PersistsLast(Agreement):
    def receive(self, message: AgreementMessage, sender: int, now_ns: int) -> list[AgreementOutput]:
        return sorted(super().receive(message, sender, now_ns), key=lambda one: isinstance(one, Persist))


def test_stops_notice_what_is_sent_before_it_is_persisted() -> None:
    runs = [Stopping((0b00011,), n_before, False, PersistsLast).run() for n_before in range(30)]
    assert any(run.oracle.violations for run in runs)
