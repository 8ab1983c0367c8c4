"""Lying ends against the certification: machines and arrays agree, and each defence that is taken away is missed."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.consensus import (
    Echo,
    Flag,
    LinkReport,
    LinkTest,
    LinkVerdict,
    Propose,
    Ready,
    ReliableBroadcast,
    TestPlan,
    certification,
    judge_link,
    value_digest,
)
from ceas.consensus.broadcast import Broadcast, Deliver, Send, SetTimer
from ceas.experiments import fuzz_certification as fuzzing
from ceas.physics import untested_fidelity_radius
from ceas.runtime import certification_trials
from ceas.runtime.certification_trials import (
    LINK_ATTACKS,
    LinkAttack,
    Trials,
    certify_trials,
    honest_fidelity,
    play,
    trial_chunks,
)

SMALL = TestPlan(
    link=(0, 1), block=0, n_pairs=240, n_tests=64, quota=120, promised_fidelity=honest_fidelity(), false_alarm=1e-3
)
LARGE = replace(SMALL, n_pairs=4096, n_tests=1024, quota=2048)
EPSILON = untested_fidelity_radius(4096, 1024, 0.01)


def trials_of(name: str, plan: TestPlan, count: int, attack: LinkAttack | None = None) -> Trials:
    [trials] = trial_chunks(name, plan, trials=count, seed=5, attack=attack)
    return trials


@pytest.mark.parametrize("name", LINK_ATTACKS)
def test_arrays_say_what_the_machines_say(name: str) -> None:
    trials = trials_of(name, SMALL, 24)
    verdicts = certify_trials(trials)
    for row in range(24):
        verdict, truth = play(trials, row)
        assert (verdict.certificate is not None) == verdicts.is_certified[row]
        assert bool(verdict.flags) == verdicts.is_flagged[row]
        assert truth == pytest.approx(verdicts.truth[row], abs=1e-12)
        if verdict.certificate is not None:
            assert verdict.certificate.n_held == verdicts.n_held
            for field in ("passed", "estimate", "lower", "one_sided"):
                assert getattr(verdict.certificate, field) == getattr(verdicts, field)[row], field


def test_trials_depend_on_seed_name_and_number_alone() -> None:
    short, long = trials_of("mixed_pairs", SMALL, 250), list(trial_chunks("mixed_pairs", SMALL, trials=260, seed=5))
    assert [len(chunk.secrets) for chunk in long] == [250, 10]
    np.testing.assert_array_equal(short.is_bad, long[0].is_bad)
    assert short.secrets == long[0].secrets
    assert trials_of("honest", SMALL, 2).secrets[0] != short.secrets[0]


def test_truth_is_the_fidelity_of_what_is_neither_tested_nor_denied() -> None:
    for name in ("mixed_pairs", "denied_pairs"):
        trials = trials_of(name, SMALL, 3)
        expected = certify_trials(trials).truth
        for row in range(3):
            asked: list[Any] = []
            machine = LinkTest(trials.plan, 0, np.ones(240, bool), trials.secrets[row][0])
            other = LinkTest(trials.plan, 1, trials.held[row], trials.secrets[row][1])
            [mine], [theirs] = machine.start(), other.start()
            [mine_open], [theirs_open] = machine.receive(theirs.message, 1), other.receive(mine.message, 0)  # type: ignore[union-attr]
            asked += machine.receive(theirs_open.message, 1) + other.receive(mine_open.message, 0)  # type: ignore[union-attr]
            left = set(np.flatnonzero(trials.held[row])) - set(asked[0].positions.tolist())
            fidelities = [0.5 if trials.is_bad[row, pair] else 0.95 for pair in left]
            assert expected[row] == pytest.approx(np.mean(fidelities))


def above(attack: LinkAttack, *, rows: int = 8) -> int:
    """How often the machines certify more than the truth and epsilon."""
    trials = trials_of("mutants", LARGE, rows, attack)
    found = [play(trials, row) for row in range(rows)]
    return sum(verdict.certificate is not None and verdict.certificate.estimate > truth + EPSILON
               for verdict, truth in found)  # fmt: skip


ABSENT = LINK_ATTACKS["false_heralds"].bad
CLASSICAL = certification_trials._Kind((0.0, 0.0, 1.0), 0.5)


def no_check_of_openings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ceas.consensus.certification.hmac.compare_digest", lambda *_: True)


def commitments_without_names(patch: pytest.MonkeyPatch) -> None:
    true = certification._commitment
    patch.setattr(certification, "_commitment", lambda context, _, kind, *parts: true(context, 0, kind, *parts))


def lost_pairs_counted_as_passed(patch: pytest.MonkeyPatch) -> None:
    class Lenient(LinkTest):
        def _after_outcomes(self, own: Any, peer: Any) -> Any:
            lost = np.unpackbits(np.frombuffer(peer.lost, np.uint8), count=self.plan.n_tests)
            report = super()._after_outcomes(own, peer)[0]
            assert isinstance(report, LinkReport)
            assert report.certificate is not None
            passed = report.certificate.passed + int(lost.sum())
            lenient = certification.certificate_of(self.plan, n_held=report.certificate.n_held, passed=passed)
            self.report = replace(report, certificate=lenient)
            return [self.report]

    patch.setattr(certification_trials, "LinkTest", Lenient)


def claims_believed(patch: pytest.MonkeyPatch) -> None:
    def believing(first: LinkReport | None, second: LinkReport | None) -> LinkVerdict:
        found = [report.certificate for report in (first, second) if report and report.certificate]
        return LinkVerdict(max(found, key=lambda one: one.passed, default=None), frozenset())

    patch.setattr(certification_trials, "judge_link", believing)


def one_basis(patch: pytest.MonkeyPatch) -> None:
    true = certification.drawn_tests

    def always_z(*arguments: Any) -> Any:
        positions, bases = true(*arguments)
        return positions, np.full_like(bases, 2)

    patch.setattr(certification, "drawn_tests", always_z)


def coin_of_the_liar_alone(patch: pytest.MonkeyPatch) -> None:
    """Positions that the liar knows beforehand: good pairs are put there."""
    constant = hashlib.sha256(b"known").digest()
    for module in (certification, certification_trials):
        patch.setattr(module, "joint_coin", lambda *_: constant)


Break = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    ("broken", "attack"),
    [
        (coin_of_the_liar_alone, LinkAttack(text="", knows_positions=True)),
        (no_check_of_openings, LINK_ATTACKS["changed_outcomes"]),
        (commitments_without_names, replace(LINK_ATTACKS["echoed_outcomes"], bad_share=1.0, bad=ABSENT)),
        (lost_pairs_counted_as_passed, LINK_ATTACKS["lost_pairs"]),
        (claims_believed, LINK_ATTACKS["inflated_report"]),
        (one_basis, LinkAttack(text="", bad_share=1.0, bad=CLASSICAL)),
    ],
)
def test_each_defence_is_needed(broken: Break, attack: LinkAttack, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = replace(attack, knows_positions=False, bad_share=attack.bad_share or 0.5)
    assert above(sound) == 0
    broken(monkeypatch)
    assert above(attack) == 8


def test_a_mean_would_let_two_vouchers_raise_a_score_and_two_slanderers_lower_it() -> None:
    def mean(values: list[float], tolerated: int) -> float:
        return float(np.mean(values))

    for name in fuzzing.NODE_ATTACKS:
        found = [fuzzing._node_row(name, LARGE, trials=12, seed=3, **how) for how in ({}, {"score": mean})]
        assert [row["above"] for row in found] == [0, 12]


def test_what_is_outside_the_guarantee_is_shown_as_such() -> None:
    found = fuzzing.fuzz_certification(trials=6, seed=1, n_pairs=768, n_tests=256, played=2)
    rows = {row["attack"]: row for row in found["attacks"]}
    assert set(rows) == {*LINK_ATTACKS, *fuzzing.NODE_ATTACKS}
    assert found["failures"] == []
    assert not rows["ruined_after_draw"]["is_guaranteed"]
    assert rows["ruined_after_draw"]["above"] == 6
    assert all(row["differing"] == 0 for row in rows.values())
    never = [name for name, row in rows.items() if row["certified"] == 0]
    assert never == ["inflated_report", "changed_outcomes", "echoed_outcomes", "selective_report", "split_report"]


def test_a_difference_between_machines_and_arrays_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    claims_believed(monkeypatch)
    found = fuzzing.fuzz_certification(trials=4, seed=1, n_pairs=768, n_tests=256, played=4)
    assert "inflated_report" in found["failures"]


def test_every_honest_node_judges_alike_whatever_a_liar_tells_them() -> None:
    """Reports through the reliable broadcast of four nodes; node 3 sends one report to two nodes, another to one.

    To each it echoes and readies what it told it.
    """
    honest, better = b"report of 3: 900 of 1024", b"report of 3: 1024 of 1024"
    for told in ((honest, honest, better), (honest, better, better), (honest, None, None), (honest, honest, honest)):
        delivered = broadcast_reports(told)
        assert len({delivered[node] for node in range(3)}) == 1
        verdicts = {judged(delivered[node], honest) for node in range(3)}
        assert len(verdicts) == 1
        certified = [is_certified for is_certified, _ in verdicts]
        assert certified == [told.count(honest) == 3 or delivered[0] == honest]


def judged(delivered: bytes | None, honest: bytes) -> tuple[bool, frozenset[Flag]]:
    [trials] = trial_chunks("honest", SMALL, trials=1, seed=0)
    verdict, _ = play(trials, 0)
    report = LinkReport((0, 3), 0, b"", verdict.certificate, frozenset())
    lie = replace(report, transcript=b"another")
    found = judge_link(report, None if delivered is None else report if delivered == honest else lie)
    return found.certificate is not None, found.flags


def broadcast_reports(told: tuple[bytes | None, ...]) -> dict[int, bytes | None]:
    digest = bytes(32)
    nodes = [
        ReliableBroadcast(
            node=node,
            n_nodes=4,
            tolerated_byzantine=1,
            training_round=0,
            parameter_digest=digest,
            tick_ns=10,
            validate=lambda *_: None,
        )
        for node in range(3)
    ]
    queue: list[tuple[int, int, Any]] = []
    delivered: dict[int, bytes | None] = dict.fromkeys(range(3))
    timers: list[tuple[int, int]] = []

    def take(node: int, outputs: Any) -> None:
        for output in outputs:
            match output:
                case Broadcast(message):
                    queue.extend((node, other, message) for other in range(3) if other != node)
                case Send(destination, message):
                    if destination < 3:
                        queue.append((node, destination, message))
                case SetTimer(at_ns):
                    timers.append((node, at_ns))
                case Deliver(instance, value):
                    if instance == 3:
                        delivered[node] = value

    for one in nodes:
        take(one.node, one.start(b"own", now_ns=0))
    for other, value in enumerate(told):
        if value is not None:
            vote = (3, value_digest(0, 3, value))
            queue.extend((3, other, message) for message in (Propose(value, digest), Echo((vote,)), Ready((vote,))))
    now_ns = 0
    for _ in range(40):
        while queue:
            sender, node, message = queue.pop(0)
            take(node, nodes[node].receive(message, sender, now_ns=now_ns))
        now_ns += 10
        due, timers = timers, []
        for node, at_ns in due:
            take(node, nodes[node].tick(now_ns=max(now_ns, at_ns)))
    return delivered
