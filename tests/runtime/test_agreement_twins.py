"""Twins, exhaustively: one of four nodes is two honest machines under one identity, in every partition of four views.

The five machines are parted in two groups for a view, in another way for the next, and so on; wishes to change the
view pass, so that all machines go through the views together and every sequence of partitions is one of views. After
the last of them all hear each other, and the honest nodes have to halt. Every leader proposes another set, twins of the
same identity too, and all of these can be voted for everywhere.

There are 16 ways to part five machines in two, one of them not at all: 65,536 sequences of four views for each of four
twins. They share their beginnings: all that goes on is kept at the end of a view, and goes on from there in 16 ways.
Where two sequences led to the same state of everything, machines, messages, timers and invariants, it goes on once for
both; and what is over needs no more views. Some 4,700 ends for each twin are left to run, in about two seconds.
Renaming nodes would save nothing: each node leads one of the views.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ceas.consensus import Agreement, AgreementMessage, Broadcast, Decide, Send, SetTimer, SetVote, ViewChange
from ceas.runtime.agreement_network import AgreementOracle

D = 1000
EVERYBODY = 0b1111
# A partition and its complement are the same: machine 0 is always in the group.
PARTITIONS = tuple(range(1, 32, 2))
TOGETHER = 0b11111
# View 0 ends after 13 D, the others after 9 D; the wish to go on takes one more.
ENDS = tuple(D * (14 + 10 * view) for view in range(6))
LONGEST = ENDS[-1] + 5 * 13 * D


class LeavesOneOut(Agreement):
    """Proposes all but one node, where it may choose; in view 0 after the time that a leader waits for the rest."""

    left_out = 0

    def _propose(self, slot: Any, now_ns: int, out: list[Any]) -> None:
        kept = self._delivered
        self._delivered &= ~(1 << self.left_out)
        super()._propose(slot, now_ns, out)
        self._delivered = kept
        if self.state.view > 0:
            super()._propose(slot, now_ns, out)


class SmallQuorumOfVotes(LeavesOneOut):
    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        self._quorum -= 1
        reason = super()._count(slot, message, sender)
        self._quorum += 1
        return reason


@dataclass(slots=True)
class World:
    """Five machines under way, machine 4 with the identity of the twin."""

    identity: tuple[int, ...]
    machines: list[LeavesOneOut]
    oracle: AgreementOracle
    timers: list[set[int]] = field(default_factory=lambda: [set() for _ in range(5)])
    flying: list[tuple[int, int, AgreementMessage]] = field(default_factory=list)
    now: int = 0
    group: int = TOGETHER
    is_wish_cut: bool = False

    def copied(self) -> "World":
        oracle = self.oracle
        return World(
            self.identity,
            [copied(machine) for machine in self.machines],
            replace(
                oracle,
                violations=list(oracle.violations),
                _votes=dict(oracle._votes),
                _voters=dict(oracle._voters),
                _views=dict(oracle._views),
                _decided=dict(oracle._decided),
                _safe=set(oracle._safe),
            ),
            [set(times) for times in self.timers],
            list(self.flying),
            self.now,
            is_wish_cut=self.is_wish_cut,
        )

    def key(self) -> Any:
        """Return all that what follows depends on; equal keys, equal future."""
        oracle = self.oracle
        return (
            tuple(key_of(machine) for machine in self.machines),
            tuple(frozenset(time for time in times if time > self.now) for times in self.timers),
            tuple(self.flying),
            frozenset(oracle._votes.items()),
            frozenset(oracle._views.items()),
            frozenset(oracle._decided.items()),
        )

    def is_over(self) -> bool:
        return all(self.machines[node].is_halted for node in self.oracle.honest)

    def run(self, end: int, group: int) -> None:
        self.group = group
        while self.now + D < end and not self.is_over():
            self.now += D
            arriving, self.flying = self.flying, []
            for source, destination, message in arriving:
                machine = self.machines[destination]
                self.carry_out(destination, machine.receive(message, self.identity[source], self.now))
            for index, machine in enumerate(self.machines):
                if self.now in self.timers[index]:
                    self.carry_out(index, machine.tick(self.now))

    def carry_out(self, index: int, out: list[Any]) -> None:
        node = self.identity[index]
        is_honest = node in self.oracle.honest
        for output in out:
            match output:
                case Broadcast() | Send():
                    if is_honest:
                        self.oracle.sent(node, output.message, EVERYBODY)
                    to = EVERYBODY & ~(1 << node) if isinstance(output, Broadcast) else 1 << output.destination
                    passes = isinstance(output.message, ViewChange) and not self.is_wish_cut
                    group = TOGETHER if passes else self.group
                    self.flying += [
                        (index, other, output.message)
                        for other, one in enumerate(self.identity)
                        if to >> one & 1 and (group >> other & 1) == (group >> index & 1)
                    ]
                case SetTimer():
                    self.timers[index].add(output.at_ns)
                case Decide() if is_honest:
                    self.oracle.decided(node, output.members)
                case _:
                    pass


def copied(machine: LeavesOneOut) -> LeavesOneOut:
    other = copy.copy(machine)
    other._slots = {
        view: replace(
            slot,
            votes=tuple(dict(votes) for votes in slot.votes),
            accepted=list(slot.accepted),
            suggests=dict(slot.suggests),
            proofs=dict(slot.proofs),
        )
        for view, slot in machine._slots.items()
    }
    other._view_changes = list(machine._view_changes)
    other._decisions = dict(machine._decisions)
    return other


def key_of(machine: LeavesOneOut) -> Any:
    # A machine that has halted answers with its decision, whatever else it knows.
    if machine.is_halted:
        return machine.state.decided
    slots = tuple(
        (
            view,
            slot.proposal,
            tuple(frozenset(votes.items()) for votes in slot.votes),
            tuple(slot.accepted),
            frozenset(slot.suggests.items()),
            frozenset(slot.proofs.items()),
        )
        for view, slot in sorted(machine._slots.items())
    )
    return (
        machine.state,
        slots,
        tuple(machine._view_changes),
        frozenset(machine._decisions.items()),
        machine._deadline_ns,
    )


def world(twin: int, make: type[LeavesOneOut], *, is_wish_cut: bool = False) -> World:
    identity = (0, 1, 2, 3, twin)
    one = World(
        identity,
        [make(node=node, n_nodes=4, tolerated_byzantine=1, training_round=0, delay_bound_ns=D) for node in identity],
        AgreementOracle(4, 1, tuple(node for node in range(4) if node != twin)),
        is_wish_cut=is_wish_cut,
    )
    for index, machine in enumerate(one.machines):
        machine.left_out = (identity[index] + (index == 4)) % 4
        one.carry_out(index, machine.start(0))
        for instance in range(4):
            one.carry_out(index, machine.deliver(instance, 0))
    return one


@dataclass(slots=True)
class Tally:
    """What came of all sequences of partitions: sequences, states that were run to the end, and failures."""

    n_sequences: int = 0
    n_ends: int = 0
    views: Counter[int] = field(default_factory=Counter)  # highest view of an honest node -> sequences
    decisions: set[int] = field(default_factory=set)
    failures: list[tuple[tuple[int, ...], str]] = field(default_factory=list)


def explore(twin: int, n_views: int, make: type[LeavesOneOut] = LeavesOneOut, *, is_wish_cut: bool = False) -> Tally:
    tally = Tally()
    # What is under way, with one sequence of partitions that leads there and how many do.
    level: dict[Any, tuple[World, tuple[int, ...], int]] = {None: (world(twin, make, is_wish_cut=is_wish_cut), (), 1)}
    for view in range(n_views):
        following: dict[Any, tuple[World, tuple[int, ...], int]] = {}
        for before, path, count in level.values():
            for group in PARTITIONS:
                one = before.copied()
                one.run(ENDS[view], group)
                if one.oracle.violations or one.is_over():
                    _end(tally, one, (*path, group), count * len(PARTITIONS) ** (n_views - 1 - view))
                    continue
                key = one.key()
                kept, first, n_before = following.get(key, (one, (*path, group), 0))
                following[key] = (kept, first, n_before + count)
        level = following
    for one, path, count in level.values():
        one.run(LONGEST, TOGETHER)
        _end(tally, one, path, count)
    return tally


def _end(tally: Tally, one: World, path: tuple[int, ...], count: int) -> None:
    tally.n_sequences += count
    tally.n_ends += 1
    tally.views[one.oracle.highest_view] += count
    tally.decisions |= set(one.oracle.decisions.values())
    if one.oracle.violations:
        tally.failures.append((path, one.oracle.violations[0]))
    elif not one.is_over():
        tally.failures.append((path, "live"))


@pytest.mark.parametrize("twin", range(4))
def test_twins_of_every_node_in_all_partitions_of_four_views(twin: int) -> None:
    tally = explore(twin, 4)
    assert tally.failures == []
    assert tally.n_sequences == 16**4
    assert max(tally.views) >= 4
    assert len(tally.decisions) == 4


@pytest.mark.parametrize("twin", range(4))
def test_twins_with_wishes_to_change_the_view_cut_off_too(twin: int) -> None:
    """Views then last longer in one group than in the other, and a group without a quorum stays where it is."""
    tally = explore(twin, 2, is_wish_cut=True)
    assert tally.failures == []
    assert tally.n_sequences == 16**2


def test_what_is_run_once_for_several_sequences_goes_as_each_of_them_does() -> None:
    """A sample of sequences without any sharing comes to the same decisions as with it."""
    for path in ((1, 7), (3, 19), (31, 5), (21, 27)):
        one = world(1, LeavesOneOut)
        for end, group in zip(ENDS, path, strict=False):
            one.run(end, group)
        again = one.copied()
        assert again.key() == one.key()
        one.run(LONGEST, TOGETHER)
        again.run(LONGEST, TOGETHER)
        assert one.is_over()
        assert one.oracle.decisions == again.oracle.decisions


@pytest.mark.parametrize("twin", range(4))
def test_twins_break_an_agreement_with_small_quorums(twin: int) -> None:
    assert explore(twin, 2, SmallQuorumOfVotes).failures
