"""Bugs put into the agreement on purpose: the schedules, or a directed scenario, must catch every one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ceas.consensus import (
    Agreement,
    AgreementMessage,
    AgreementOutput,
    AgreementState,
    Ballot,
    Decision,
    Persist,
    Send,
    SetProposal,
    SetVote,
    tetrabft,
)
from ceas.consensus.tetrabft import Report
from ceas.runtime.agreement_network import ScheduleResult, run_schedule


class SmallQuorum(Agreement):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._quorum -= 1


class SmallQuorumOfVotes(Agreement):
    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        self._quorum -= 1
        reason = super()._count(slot, message, sender)
        self._quorum += 1
        return reason


class SmallBlocking(Agreement):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._blocking -= 1


class VotesForEveryProposal(Agreement):
    def _on_proposal(self, slot: Any, message: SetProposal, sender: int) -> Any:
        slot.proposal = None
        return super()._on_proposal(slot, message, sender)

    def _has_voted(self, phase: int) -> bool:
        slot = self._slots[self.state.view]
        return super()._has_voted(phase) and not (
            phase == 1 and slot.proposal is not None and self.state.vote_1 != (self.state.view, slot.proposal)
        )


class CountsRepeatedVotes(Agreement):
    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:  # noqa: ARG002
        votes = slot.votes[message.phase - 1]
        votes[len(votes)] = message.members
        if sum(members == message.members for members in votes.values()) >= self._quorum:
            slot.accepted[message.phase - 1] = message.members


class VotesForUnsafeSets(Agreement):
    def _is_safe_to_vote(self, view: int, members: int, slot: Any) -> bool:  # noqa: ARG002
        return True


class SkipsAllSafety(Agreement):
    def _is_safe_to_vote(self, view: int, members: int, slot: Any) -> bool:  # noqa: ARG002
        return True

    def _is_safe_to_propose(self, view: int, members: int, slot: Any) -> bool:  # noqa: ARG002
        return True


class ProposesUnsafeSets(Agreement):
    def _is_safe_to_propose(self, view: int, members: int, slot: Any) -> bool:  # noqa: ARG002
        return True


class VotesForUndelivered(Agreement):
    def _is_valid(self, members: int) -> bool:
        return self._is_quorum_of_roster(members)


class VotesForSmallSets(Agreement):
    def _is_quorum_of_roster(self, members: int) -> bool:
        return members > 0 and not members >> self._n_nodes


def _reordered(machine: type[Agreement], change: Callable[[list[Any]], list[Any]]) -> type[Agreement]:
    class Reordered(machine):  # type: ignore[valid-type, misc]
        def start(self, now_ns: int) -> list[Any]:
            return change(super().start(now_ns))

        def receive(self, message: AgreementMessage, sender: int, now_ns: int) -> list[Any]:
            return change(super().receive(message, sender, now_ns))

        def deliver(self, instance: int, now_ns: int) -> list[Any]:
            return change(super().deliver(instance, now_ns))

        def tick(self, now_ns: int) -> list[Any]:
            return change(super().tick(now_ns))

    return Reordered


PersistsAfterSending = _reordered(Agreement, lambda out: sorted(out, key=lambda one: isinstance(one, Persist)))
NeverRestores = _reordered(
    Agreement, lambda out: [Persist(AgreementState()) if isinstance(one, Persist) else one for one in out]
)
NeverAnswersLaggards = _reordered(
    Agreement,
    lambda out: [one for one in out if not (isinstance(one, Send) and isinstance(one.message, Decision))],
)


class ForgetsTheView(Agreement):
    def _persist(self, state: AgreementState, out: list[AgreementOutput]) -> None:
        self.state = state
        out.append(Persist(replace(state, view=0)))


def forgetting(**left_out: Any) -> type[Agreement]:
    """Return an agreement that writes its state without some of it."""

    class Forgets(Agreement):
        def _persist(self, state: AgreementState, out: list[AgreementOutput]) -> None:
            self.state = state
            out.append(Persist(replace(state, **left_out)))

    return Forgets


class ReportsNoPrevious(Agreement):
    def _report(self, out: list[AgreementOutput]) -> None:
        state = self.state
        self.state = replace(state, previous_1=None, previous_2=None)
        super()._report(out)
        self.state = state


class ReportsAnotherPhase(Agreement):
    def _report(self, out: list[AgreementOutput]) -> None:
        state = self.state
        self.state = replace(state, vote_1=state.vote_2, previous_1=state.previous_2)
        super()._report(out)
        self.state = state


class StopsOnceDecided(Agreement):
    def receive(self, message: AgreementMessage, sender: int, now_ns: int) -> list[AgreementOutput]:
        is_over = self.state.decided is not None and not isinstance(message, Decision)
        return [] if is_over else super().receive(message, sender, now_ns)


class BelievesOneDecision(Agreement):
    def _n_decided(self, members: int) -> int:
        return self._quorum if super()._n_decided(members) else 0


class NeverChangesView(Agreement):
    def _change_view(self, now_ns: int, out: list[AgreementOutput]) -> None:
        pass


class NeverSaysItAgain(Agreement):
    def _want(self, view: int, out: list[AgreementOutput]) -> None:
        if view > self._view_changes[self.node]:
            super()._want(view, out)


class EntersViewsAlone(Agreement):
    def _change_view(self, now_ns: int, out: list[AgreementOutput]) -> None:
        if self._view_changes[self.node] > self.state.view:
            self._enter(self._view_changes[self.node], now_ns, out)


class VotesInLeftViews(Agreement):
    """Goes on with the votes of the view before."""

    def _enter(self, view: int, now_ns: int, out: list[AgreementOutput]) -> None:
        super()._enter(view, now_ns, out)
        self._slots[view].accepted = [self._last, None, None, None] if self._last else [None] * 4

    _last: int | None = None

    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        reason = super()._count(slot, message, sender)
        self._last = slot.accepted[0] or self._last
        return reason


class SkipsAPhase(Agreement):
    """Counts votes of phase 3 as those of phase 4."""

    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        reason = super()._count(slot, message, sender)
        slot.accepted[3] = slot.accepted[3] or slot.accepted[2]
        return reason


class CountsVotesOfPhaseTwoTwice(Agreement):
    """Votes in phase 3 upon a blocking set of votes of phase 2."""

    def _count(self, slot: Any, message: SetVote, sender: int) -> Any:
        reason = super()._count(slot, message, sender)
        votes = list(slot.votes[1].values())
        for members in votes:
            if votes.count(members) >= self._blocking:
                slot.accepted[1] = slot.accepted[1] or members
        return reason


# Bug: what shows it, and how many schedules are enough for that (the first one that fails comes well before).
BUGS: dict[str, tuple[type[Agreement], str, int]] = {
    "quorum one too small": (SmallQuorum, "validity", 20),
    "quorum of votes one too small": (SmallQuorumOfVotes, "VoteHasQuorumInPreviousPhase", 30),
    "blocking set one too small": (SmallBlocking, "decided", 30),
    "votes for every proposal": (VotesForEveryProposal, "OneValuePerPhasePerRound", 30),
    "counts repeated votes": (CountsRepeatedVotes, "decided", 30),
    "counts too few votes of phase 2": (CountsVotesOfPhaseTwoTwice, "VoteHasQuorumInPreviousPhase", 30),
    "votes for unsafe sets": (VotesForUnsafeSets, "VotesSafe", 60),
    "no safety check at all": (SkipsAllSafety, "VotesSafe", 60),
    "proposes unsafe sets": (ProposesUnsafeSets, "live", 400),
    "votes for undelivered sets": (VotesForUndelivered, "validity", 30),
    "votes for small sets": (VotesForSmallSets, "validity", 30),
    "persists after sending": (PersistsAfterSending, "Persisted", 80),
    "never restores": (NeverRestores, "Persisted", 60),
    "forgets its view over a restart": (ForgetsTheView, "Persisted", 60),
    "does not answer those who are late": (NeverAnswersLaggards, "live", 250),
    "stops once it has decided": (StopsOnceDecided, "live", 250),
    "believes one decision": (BelievesOneDecision, "decided", 30),
    "never changes the view": (NeverChangesView, "live", 30),
    "never says a view change again": (NeverSaysItAgain, "live", 30),
    "enters views alone": (EntersViewsAlone, "live", 60),
    "takes votes of the last view along": (VotesInLeftViews, "VoteHasQuorumInPreviousPhase", 60),
    "decides by votes of phase 3": (SkipsAPhase, "decided", 20),
    "forgets its vote 1 over a restart": (forgetting(vote_1=None), "Persisted", 20),
    "forgets its vote 2 over a restart": (forgetting(vote_2=None), "Persisted", 20),
    "forgets its vote 3 over a restart": (forgetting(vote_3=None), "Persisted", 20),
    "forgets its vote 4 over a restart": (forgetting(vote_4=None), "Persisted", 20),
    "forgets its proposal over a restart": (forgetting(proposal=None), "Persisted", 20),
    "forgets its decision over a restart": (forgetting(decided=None), "Persisted", 20),
    "does not report its previous votes": (ReportsNoPrevious, "Reports", 400),
    "reports votes of phase 2 to the voters": (ReportsAnotherPhase, "Reports", 100),
}


def test_the_documentation_counts_the_bugs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "consensus.md").read_text("utf-8")
    assert f"{len(BUGS)} deliberate bugs" in page


def first_failure(machine: type[Agreement], n_schedules: int) -> ScheduleResult | None:
    for seed in range(n_schedules):
        result = run_schedule(seed, largest=7, make_agreement=machine)
        if result.violations or not result.is_live:
            return result
    return None


@pytest.mark.parametrize("name", BUGS)
def test_schedules_catch_the_bug(name: str) -> None:
    machine, invariant, n_schedules = BUGS[name]
    result = first_failure(machine, n_schedules)
    assert result is not None, f"{n_schedules} schedules did not notice: {name}"
    shown = result.violations[0] if result.violations else "live"
    assert shown.startswith(invariant), (result.seed, shown)


@pytest.mark.slow  # the same seeds as for the bugs: what they catch is the bug and not the schedule
def test_the_schedules_that_catch_bugs_find_none_in_the_agreement() -> None:
    assert first_failure(Agreement, max(n for _, _, n in BUGS.values())) is None


# Two bugs that no schedule is likely to meet, each with the scenario that shows it.
def ballots_after(votes: list[Ballot], phase: int) -> tuple[Ballot | None, Ballot | None]:
    state = AgreementState()
    for ballot in votes:
        state = state.voted(phase, ballot)
    return (state.vote_1, state.previous_1) if phase == 1 else (state.vote_2, state.previous_2)


@pytest.mark.parametrize("phase", [1, 2])
def test_a_node_whose_highest_vote_moved_on_still_vouches_for_an_earlier_one(phase: int) -> None:
    votes = [(1, 0b0111), (2, 0b1110), (3, 0b1110)]
    assert ballots_after(votes, phase) == ((3, 0b1110), (1, 0b0111))


def test_only_the_previous_vote_keeps_what_may_have_been_decided() -> None:
    """All highest votes have moved on; the set that may be decided is vouched for by previous votes alone."""
    x, y = 0b0111, 0b1011
    with_previous: list[Report] = [((1, x), (2, y), (1, x)), (None, (2, y), (1, x)), (None, None, None)]
    without: list[Report] = [(last, highest, None) for last, highest, _ in with_previous]

    def is_safe(reports: list[Report]) -> bool:
        return tetrabft.is_safe(3, x, reports, quorum_size=3, blocking_size=2)

    assert is_safe(with_previous)
    assert not is_safe(without)


def test_two_sets_that_were_each_vouched_for_free_a_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule S2 b: without it no voter could follow a leader that proposes by an honest report of two votes."""
    x, y, z = 0b0111, 0b1011, 0b1101
    reports = [((1, x), (2, y), None), ((1, x), (2, y), None), (None, (3, z), None), (None, (3, z), None)]

    def is_safe(members: int) -> bool:
        return tetrabft.is_safe(4, members, reports, quorum_size=3, blocking_size=2)

    assert is_safe(x)
    assert is_safe(0b1110)
    monkeypatch.setattr(tetrabft, "_is_claimed", without_two_sets)
    assert not is_safe(0b1110)


def without_two_sets(u: int, members: int, reports: Any, blocking_size: int) -> bool:
    claims = [
        u == 0 or (h is not None and h[0] >= u and h[1] == members) or (p is not None and p[0] >= u)
        for _, h, p in reports
    ]
    return sum(claims) >= blocking_size
