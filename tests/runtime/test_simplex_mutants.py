"""Bugs put into Simplex on purpose: the schedules, or a directed scenario, must catch every one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ceas.consensus import (
    Broadcast,
    Certificate,
    Certificates,
    Finalize,
    LeaveView,
    Persist,
    Phase,
    Send,
    SignedValue,
    SimplexRound,
    SimplexState,
)
from ceas.runtime.agreement_network import ScheduleResult
from ceas.runtime.simplex_network import run_simplex_schedule


class SmallQuorum(SimplexRound):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._quorum -= 1


class SmallQuorumOfVotes(SimplexRound):
    def _count(self, signed: Any, sender: int, now_ns: int, out: list[Any]) -> None:
        self._quorum -= 1
        super()._count(signed, sender, now_ns, out)
        self._quorum += 1


class SmallCertificates(SimplexRound):
    def _is_certificate(self, certificate: Certificate) -> bool:
        self._quorum -= 1
        is_good = super()._is_certificate(certificate)
        self._quorum += 1
        return is_good


class ChecksNoCertificate(SimplexRound):
    def _is_certificate(self, certificate: Certificate) -> bool:  # noqa: ARG002
        return True


class ChecksNoSignature(SimplexRound):
    def _is_signed(self, *_: Any) -> bool:
        return True


class ForgetsTheViewInWhatIsSigned(SimplexRound):
    """Signs votes, finalisations and departures without their view: those of one view count in every one."""

    def _sign(self, phase: Phase, number: int, digest: bytes) -> bytes:
        return super()._sign(phase, number if phase == Phase.VALUE else 0, digest)

    def _is_signed(self, phase: Phase, number: int, digest: bytes, node: int, signature: bytes) -> bool:
        return super()._is_signed(phase, number if phase == Phase.VALUE else 0, digest, node, signature)


class FinalizesWhatItLeft(SimplexRound):
    def _may_finalize(self, view: int) -> bool:  # noqa: ARG002
        return True


class LeavesWhatItFinalized(SimplexRound):
    """Goes on asking to leave the view that it has finalised."""

    def _leave(self, now_ns: int, out: list[Any]) -> None:
        super()._leave(now_ns, out)
        if self.state.finalized is not None:
            view = self.state.finalized[0]
            out.append(Broadcast(LeaveView(view, self._sign(Phase.LEAVE, view, bytes(32)))))


class NeedsNoLeaves(SimplexRound):
    """Votes for whatever is certified or new, without certificates of the views between."""

    def _justification(self, message: Any, digest: bytes) -> Any:
        found = super()._justification(message, digest)
        return (message.view and ()) if found is None else found


class ProposesAnew(SimplexRound):
    """Proposes its own values where it holds a certificate."""

    def _propose(self, now_ns: int, out: list[Any]) -> None:
        state = self.state
        self.state = replace(state, certificate=None, leaves=())
        super()._propose(now_ns, out)
        self.state = replace(self.state, certificate=state.certificate, leaves=state.leaves)


class VotesForEveryProposal(SimplexRound):
    def _on_proposal(self, message: Any, sender: int, now_ns: int, out: list[Any]) -> Any:
        self._proposals.pop(message.view, None)
        return super()._on_proposal(message, sender, now_ns, out)

    def _vote(self, now_ns: int, out: list[Any]) -> None:
        state, proposal = self.state, self._proposals.get(self.view)
        if proposal is not None and state.voted is not None and state.voted[1] != proposal.digest:
            self.state = replace(state, voted=None)
        super()._vote(now_ns, out)
        if self.state.voted is None:
            self.state = replace(self.state, voted=state.voted)


class VotesWithoutValues(SimplexRound):
    def _holds(self, entries: Any) -> bool:  # noqa: ARG002
        return True

    def _keeping(self, state: SimplexState, entries: Any) -> SimplexState:
        return replace(state, blocks=(*state.blocks, entries))


class ProposesSmallBlocks(SimplexRound):
    def _propose(self, now_ns: int, out: list[Any]) -> None:
        self._quorum -= 2
        super()._propose(now_ns, out)
        self._quorum += 2

    def _on_proposal(self, message: Any, sender: int, now_ns: int, out: list[Any]) -> Any:
        quorum = self._quorum
        self._quorum = min(quorum, len(message.entries))
        reason = super()._on_proposal(message, sender, now_ns, out)
        self._quorum = quorum
        return reason


class TakesAnyValue(SimplexRound):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments | {"validate": lambda *_: None})


class IgnoresEntrySignatures(SimplexRound):
    def _is_signed(self, phase: Phase, number: int, digest: bytes, node: int, signature: bytes) -> bool:
        return phase == Phase.VALUE or super()._is_signed(phase, number, digest, node, signature)


class CountsAnyDigest(SimplexRound):
    """Counts votes for any block of a view together."""

    def _count(self, signed: Any, sender: int, now_ns: int, out: list[Any]) -> None:
        slot = self._slots.setdefault((signed.phase, signed.view), {})
        for node, one in slot.items():
            slot[node] = (signed.digest, one[1])
        super()._count(signed, sender, now_ns, out)


class EntersAlone(SimplexRound):
    def _leave(self, now_ns: int, out: list[Any]) -> None:
        super()._leave(now_ns, out)
        self._enter(self.view + 1, now_ns, out)


class NeverLeaves(SimplexRound):
    def _leave(self, now_ns: int, out: list[Any]) -> None:
        pass


class LeavesOnce(SimplexRound):
    def _leave(self, now_ns: int, out: list[Any]) -> None:
        if self.state.left != self.view:
            super()._leave(now_ns, out)


class NeverPulls(SimplexRound):
    def _ask(self, *_: Any) -> None:
        pass


class NeverAsksForLostValues(SimplexRound):
    def _ask_for_values(self, out: list[Any]) -> None:
        pass


def _changed(change: Callable[[list[Any]], list[Any]]) -> type[SimplexRound]:
    class Changed(SimplexRound):
        def start(self, value: bytes, now_ns: int) -> list[Any]:
            return change(super().start(value, now_ns))

        def receive(self, message: Any, sender: int, now_ns: int) -> list[Any]:
            return change(super().receive(message, sender, now_ns))

        def tick(self, now_ns: int) -> list[Any]:
            return change(super().tick(now_ns))

    return Changed


PersistsAfterSending = _changed(lambda out: sorted(out, key=lambda one: isinstance(one, Persist)))
NeverRestores = _changed(lambda out: [Persist(SimplexState()) if isinstance(one, Persist) else one for one in out])
NeverAnswersLaggards = _changed(
    lambda out: [one for one in out if not (isinstance(one, Send) and isinstance(one.message, Certificates))]
)
NeverFinalizes = _changed(
    lambda out: [one for one in out if not (isinstance(one, Broadcast) and isinstance(one.message, Finalize))]
)
NeverSendsItsValueAgain = _changed(
    lambda out: [one for one in out if not (isinstance(one, Send) and isinstance(one.message, SignedValue))]
)


def forgetting(**left_out: Any) -> type[SimplexRound]:
    """Return a machine that writes its state without some of it."""

    class Forgets(SimplexRound):
        def _persist(self, state: SimplexState, out: list[Any]) -> None:
            self.state = state
            out.append(Persist(replace(state, **left_out)))

    return Forgets


# Bug: what shows it, and how many schedules are enough for that (the first one that fails comes well before).
BUGS: dict[str, tuple[type[SimplexRound], str, int]] = {
    "quorum one too small": (SmallQuorum, "VoteHolds", 20),
    "quorum of votes one too small": (SmallQuorumOfVotes, "Backed", 20),
    "certificates one signature short": (SmallCertificates, "Backed", 50),
    "checks no certificate": (ChecksNoCertificate, "Backed", 20),
    "checks no signature": (ChecksNoSignature, "Backed", 20),
    "signs no view": (ForgetsTheViewInWhatIsSigned, "Backed", 30),
    "finalises what it left": (FinalizesWhatItLeft, "NoFinalizeAfterLeave", 20),
    "leaves what it finalised": (LeavesWhatItFinalized, "NoFinalizeAfterLeave", 20),
    "needs no certificates between": (NeedsNoLeaves, "JustifiedVote", 40),
    "proposes anew": (ProposesAnew, "live", 20),
    "votes for every proposal": (VotesForEveryProposal, "OneVote", 30),
    "votes without values": (VotesWithoutValues, "VoteHolds", 20),
    "proposes small blocks": (ProposesSmallBlocks, "VoteHolds", 20),
    "takes any value": (TakesAnyValue, "Validity", 20),
    "ignores signatures of entries": (IgnoresEntrySignatures, "Validity", 50),
    "counts votes for any block": (CountsAnyDigest, "Backed", 30),
    "enters views alone": (EntersAlone, "JustifiedVote", 20),
    "never leaves a view": (NeverLeaves, "live", 20),
    "says once that it leaves": (LeavesOnce, "live", 40),
    "never pulls": (NeverPulls, "live", 20),
    "never asks for lost values": (NeverAsksForLostValues, "live", 20),
    "persists after sending": (PersistsAfterSending, "Persisted", 20),
    "never restores": (NeverRestores, "Persisted", 20),
    "does not answer those who are late": (NeverAnswersLaggards, "live", 20),
    "never finalises": (NeverFinalizes, "live", 20),
    "never sends its value again": (NeverSendsItsValueAgain, "live", 20),
    "forgets its value over a restart": (forgetting(value=None, signature=b""), "Persisted", 20),
    "forgets its proposal over a restart": (forgetting(proposed=None), "Persisted", 20),
    "forgets its vote over a restart": (forgetting(voted=None), "Persisted", 20),
    "forgets what it finalised over a restart": (forgetting(finalized=None), "Persisted", 20),
    "forgets what it left over a restart": (forgetting(left=None), "Persisted", 20),
    "forgets certificates over a restart": (forgetting(certificate=None, leaves=()), "NoFinalizeAfterLeave", 20),
    "forgets blocks over a restart": (forgetting(blocks=(), values=()), "VoteHolds", 20),
}


def test_the_documentation_counts_the_bugs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simplex.md").read_text("utf-8")
    assert f"{len(BUGS)} deliberate bugs" in page


def first_failure(machine: type[SimplexRound], n_schedules: int) -> ScheduleResult | None:
    for seed in range(n_schedules):
        result = run_simplex_schedule(seed, largest=7, make_round=machine)
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


def test_the_schedules_that_catch_bugs_find_none_in_simplex() -> None:
    assert first_failure(SimplexRound, max(n for _, _, n in BUGS.values())) is None
