"""Bugs put on purpose into the broadcast and into what joins it with the agreement: few schedules must catch each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ceas.consensus import Broadcast, Conclude, ConsensusRound, Persist, Propose, RoundState
from ceas.consensus import round as round_module
from ceas.consensus.broadcast import BroadcastState, ReliableBroadcast
from ceas.runtime.agreement_network import ScheduleResult
from ceas.runtime.round_network import run_round_schedule


class SmallEchoQuorum(ReliableBroadcast):
    def _on_echoes_counted(self, counted: Any, out: list[Any]) -> None:
        self._quorum -= 1
        super()._on_echoes_counted(counted, out)
        self._quorum += 1


class SmallReadyQuorum(ReliableBroadcast):
    def _on_readies_counted(self, counted: Any, out: list[Any]) -> None:
        self._quorum -= 1
        super()._on_readies_counted(counted, out)
        self._quorum += 1


class SmallAmplification(ReliableBroadcast):
    def _on_readies_counted(self, counted: Any, out: list[Any]) -> None:
        self._amplification -= 1
        super()._on_readies_counted(counted, out)
        self._amplification += 1


class NeverAmplifies(ReliableBroadcast):
    def _on_readies_counted(self, counted: Any, out: list[Any]) -> None:
        kept, self._amplification = self._amplification, 0
        super()._on_readies_counted(counted, out)
        self._amplification = kept


class EchoesASecondProposal(ReliableBroadcast):
    def _on_propose(self, message: Any, sender: int, out: list[Any]) -> None:
        self._proposed.pop(sender, None)
        super()._on_propose(message, sender, out)


class ReadyOnceProposed(ReliableBroadcast):
    def _on_propose(self, message: Any, sender: int, out: list[Any]) -> None:
        super()._on_propose(message, sender, out)
        if sender in self._proposed:
            self._ready(((sender, self._proposed[sender]),))


class DeliversUponEchoes(ReliableBroadcast):
    def _on_echoes_counted(self, counted: Any, out: list[Any]) -> None:
        super()._on_echoes_counted(counted, out)
        for n_voters, votes in counted.groups:
            if n_voters == self._quorum:
                for instance, digest in votes:
                    self._decide(instance, digest, out)


class DeliversWhatWasProposed(ReliableBroadcast):
    """Takes the value that it holds for the one that was decided."""

    def _decide(self, instance: int, digest: bytes, out: list[Any]) -> None:
        own = self._proposed.get(instance)
        super()._decide(instance, digest if own is None else own, out)


class BelievesAnswers(ReliableBroadcast):
    def _on_value(self, message: Any, sender: int, out: list[Any]) -> None:
        if message.instance in self._missing and self._asked.get(message.instance, 0) >> sender & 1:
            self._hold(message.instance, self._decided[message.instance], message.value, out)


class NeverPulls(ReliableBroadcast):
    def _pull(self, vote: Any, out: list[Any]) -> None:
        pass


class PullsFromTooFew(ReliableBroadcast):
    """Asks one echoer, who may be Byzantine."""

    def _pull(self, vote: Any, out: list[Any]) -> None:
        kept, self._amplification = self._amplification, 1
        super()._pull(vote, out)
        self._amplification = kept


class NeverAnswersPulls(ReliableBroadcast):
    def _on_pull(self, message: Any, sender: int, out: list[Any]) -> None:
        pass


class NeverAnswersMissing(ReliableBroadcast):
    def _on_missing(self, message: Any, sender: int, now_ns: int, out: list[Any]) -> None:
        pass


class AnswersMissingOnce(ReliableBroadcast):
    def _on_missing(self, message: Any, sender: int, now_ns: int, out: list[Any]) -> None:
        if sender not in self._answered_ns:
            super()._on_missing(message, sender, now_ns, out)


class HandsOutValuesOnce(ReliableBroadcast):
    def _on_missing(self, message: Any, sender: int, now_ns: int, out: list[Any]) -> None:
        served = self._served
        super()._on_missing(message, sender, now_ns, out)
        self._served = served


class RepeatsItsProposalOnly(ReliableBroadcast):
    def _say_again(self, members: int, destination: int | None, out: list[Any]) -> None:
        again: list[Any] = []
        super()._say_again(members, destination, again)
        out += [one for one in again if destination is None or isinstance(one.message, Propose)]


class WaitsForAll(ReliableBroadcast):
    def _flush(self, now_ns: int, out: list[Any], *, is_tick: bool) -> None:  # noqa: ARG002
        super()._flush(now_ns, out, is_tick=False)


class NeverChecksValues(ReliableBroadcast):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**(arguments | {"validate": lambda value, proposer: None}))  # noqa: ARG005


class NeverChecksParameters(ReliableBroadcast):
    def _on_propose(self, message: Any, sender: int, out: list[Any]) -> None:
        super()._on_propose(replace(message, parameter_digest=self._parameter_digest), sender, out)


class ReplacesTheRestoredValue(ReliableBroadcast):
    def start(self, value: bytes, now_ns: int) -> list[Any]:
        if self.node in self._sent_echoes:
            del self._sent_echoes[self.node], self._proposed[self.node]
        return super().start(value, now_ns)


class ForgetsEchoes(ReliableBroadcast):
    def _persist(self, out: list[Any]) -> None:
        super()._persist(out)
        own = tuple(one for one in out[-1].state.accepted if one[0] == self.node)
        out[-1] = Persist(replace(out[-1].state, accepted=own))


class ForgetsReadies(ReliableBroadcast):
    def _persist(self, out: list[Any]) -> None:
        super()._persist(out)
        out[-1] = Persist(replace(out[-1].state, readied=()))


class WritesWhatItHolds(ReliableBroadcast):
    """Writes echoes once the readies are sent."""

    def _persist(self, out: list[Any]) -> None:
        super()._persist(out)
        if self._pending_readies:
            out.pop()


class ForgetsTheBroadcast(ConsensusRound):
    """Every state of the agreement is written with an empty one of the broadcast."""

    def _add_agreement(self, outputs: list[Any], out: list[Any]) -> None:
        kept = self.state
        self.state = RoundState(broadcast=BroadcastState(), agreement=kept.agreement)
        super()._add_agreement(outputs, out)
        self.state = RoundState(broadcast=kept.broadcast, agreement=self.state.agreement)


class ForgetsTheAgreement(ConsensusRound):
    def _add_broadcast(self, outputs: list[Any], now_ns: int, out: list[Any]) -> None:
        changed: list[Any] = []
        super()._add_broadcast(outputs, now_ns, changed)
        states = [id(one.state) for one in outputs if isinstance(one, Persist)]
        out += [
            Persist(RoundState(broadcast=one.state.broadcast))
            if isinstance(one, Persist) and id(one.state.broadcast) in states
            else one
            for one in changed
        ]


def _changing(change: Callable[[list[Any]], list[Any]]) -> type[ConsensusRound]:
    class Changed(ConsensusRound):
        def start(self, value: bytes, now_ns: int) -> list[Any]:
            return change(super().start(value, now_ns))

        def receive(self, message: Any, sender: int, now_ns: int) -> list[Any]:
            return change(super().receive(message, sender, now_ns))

        def tick(self, now_ns: int) -> list[Any]:
            return change(super().tick(now_ns))

    return Changed


PersistsAfterSending = _changing(lambda out: sorted(out, key=lambda one: isinstance(one, Persist)))
NeverPersists = _changing(lambda out: [one for one in out if not isinstance(one, Persist)])


class ConcludesEarly(ConsensusRound):
    def _conclude(self, out: list[Any]) -> None:
        if self.decided is not None and not self.is_concluded:
            self.is_concluded = True
            values = self.delivered
            out.append(Conclude({node: values[node] for node in sorted(values) if self.decided >> node & 1}))


class ConcludesWithAllItHas(ConsensusRound):
    def _conclude(self, out: list[Any]) -> None:
        super()._conclude(out)
        if out and isinstance(out[-1], Conclude):
            out[-1] = Conclude(dict(sorted(self.delivered.items())))


class NeverConcludesLate(ConsensusRound):
    """Concludes upon its decision, and not upon a delivery after it."""

    def _conclude(self, out: list[Any]) -> None:
        decided_now = any(getattr(one, "members", None) == self.decided for one in out)
        if decided_now:
            super()._conclude(out)


class VotesForUndelivered(ConsensusRound):
    def start(self, value: bytes, now_ns: int) -> list[Any]:
        out = super().start(value, now_ns)
        for node in range(self._everybody.bit_length()):
            self._add_agreement(self._agreement.deliver(node, now_ns), out)
        return out


class NeverAsks(ConsensusRound):
    def _ask(self, now_ns: int, out: list[Any]) -> None:
        pass


class AsksOnceOnly(ConsensusRound):
    def _ask(self, now_ns: int, out: list[Any]) -> None:
        super()._ask(now_ns, out)
        if any(isinstance(one, Broadcast) and hasattr(one.message, "members") for one in out):
            self._ask_at_ns = 10**12


class AsksOnceItHasDecided(ConsensusRound):
    def _ask(self, now_ns: int, out: list[Any]) -> None:
        if self.decided is not None:
            super()._ask(now_ns, out)


class LosesTheTick(ConsensusRound):
    """Forgets that echoes or readies wait when messages of the agreement come."""

    def _add_agreement(self, outputs: list[Any], out: list[Any]) -> None:
        self._flush_at_ns = None
        super()._add_agreement(outputs, out)


# Bug: what shows it, and how many schedules are enough for that.
BUGS: dict[str, tuple[type[Any], str, int]] = {
    "ready upon one echo too few": (SmallEchoQuorum, "ReadyHasQuorum", 20),
    "delivers upon one ready too few": (SmallReadyQuorum, "Delivered", 20),
    "amplifies upon one ready too few": (SmallAmplification, "ReadyHasQuorum", 20),
    "never amplifies": (NeverAmplifies, "live", 400),
    "echoes a second proposal": (EchoesASecondProposal, "OneVote", 60),
    "ready once proposed": (ReadyOnceProposed, "ReadyHasQuorum", 20),
    "delivers upon echoes": (DeliversUponEchoes, "Delivered", 20),
    "delivers what was proposed to it": (DeliversWhatWasProposed, "Delivered", 100),
    "believes answers to PULL": (BelievesAnswers, "Delivered", 100),
    "never pulls": (NeverPulls, "live", 100),
    "pulls from one node only": (PullsFromTooFew, "live", 400),
    "never answers PULL": (NeverAnswersPulls, "live", 100),
    "never answers MISSING": (NeverAnswersMissing, "live", 100),
    "answers MISSING once": (AnswersMissingOnce, "live", 100),
    "hands out values once": (HandsOutValuesOnce, "live", 400),
    "answers MISSING with its proposal only": (RepeatsItsProposalOnly, "live", 100),
    "waits for all instances": (WaitsForAll, "live", 20),
    "never checks values": (NeverChecksValues, "EchoIsProposed", 100),
    "never checks parameters": (NeverChecksParameters, "EchoIsProposed", 100),
    "replaces the restored value": (ReplacesTheRestoredValue, "OneProposal", 60),
    "forgets its echoes over a restart": (ForgetsEchoes, "Persisted", 20),
    "forgets its readies over a restart": (ForgetsReadies, "Persisted", 20),
    "writes echoes too late": (WritesWhatItHolds, "Persisted", 100),
    "writes the agreement without the broadcast": (ForgetsTheBroadcast, "Persisted", 60),
    "writes the broadcast without the agreement": (ForgetsTheAgreement, "Persisted", 60),
    "persists after sending": (PersistsAfterSending, "Persisted", 20),
    "never persists": (NeverPersists, "Persisted", 20),
    "concludes before all is delivered": (ConcludesEarly, "Concluded", 100),
    "concludes with all that it has": (ConcludesWithAllItHas, "Concluded", 100),
    "never concludes upon a delivery": (NeverConcludesLate, "live", 100),
    "votes for undelivered sets": (VotesForUndelivered, "validity", 60),
    "never asks for what is missing": (NeverAsks, "live", 100),
    "asks once only": (AsksOnceOnly, "live", 400),
    "asks only once it has decided": (AsksOnceItHasDecided, "live", 100),
    "loses its tick": (LosesTheTick, "live", 100),
}


def test_the_documentation_counts_the_bugs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "consensus.md").read_text("utf-8")
    assert f"{len(BUGS)} deliberate bugs of the broadcast and of the round" in page


def first_failure(bug: type[Any], n_schedules: int, monkeypatch: pytest.MonkeyPatch) -> ScheduleResult | None:
    machine = bug
    if issubclass(bug, ReliableBroadcast):
        monkeypatch.setattr(round_module, "ReliableBroadcast", bug)
        machine = ConsensusRound
    for seed in range(n_schedules):
        result = run_round_schedule(seed, largest=7, make_round=machine)
        if result.violations or not result.is_live:
            return result
    return None


@pytest.mark.parametrize("name", BUGS)
def test_schedules_catch_the_bug(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug, invariant, n_schedules = BUGS[name]
    result = first_failure(bug, n_schedules, monkeypatch)
    assert result is not None, f"{n_schedules} schedules did not notice: {name}"
    shown = result.violations[0] if result.violations else "live"
    assert shown.startswith(invariant), (result.seed, shown)


@pytest.mark.slow  # the same seeds as for the bugs: what they catch is the bug and not the schedule
def test_the_schedules_that_catch_bugs_find_none_in_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_failure(ConsensusRound, max(n for _, _, n in BUGS.values()), monkeypatch) is None
