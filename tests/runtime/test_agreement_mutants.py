"""Bugs put into the agreement on purpose: the schedules, or a directed scenario, must catch every one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ceas.consensus import (
    Agreement,
    AgreementMessage,
    AgreementOutput,
    AgreementState,
    Decision,
    Persist,
    SendAgreement,
    SetProposal,
    SetVote,
)


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
    lambda out: [one for one in out if not (isinstance(one, SendAgreement) and isinstance(one.message, Decision))],
)


class ForgetsTheView(Agreement):
    def _persist(self, state: AgreementState, out: list[AgreementOutput]) -> None:
        self.state = state
        out.append(Persist(replace(state, view=0)))


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
