"""The joint tests of a link: the machine's transitions, its commitments, and what peers make of the reports."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ceas.authentication import Rejected
from ceas.consensus import (
    CertificationRejection,
    CoinOpening,
    EndSecrets,
    Flag,
    Holding,
    LinkReport,
    LinkTest,
    Measure,
    OutcomeCommitment,
    OutcomeOpening,
    SendToPeer,
    TestPlan,
    judge_link,
    node_score,
    short_nodes,
)
from ceas.consensus.certification import drawn_tests
from ceas.errors import DomainError

PLAN = TestPlan(link=(3, 7), block=5, n_pairs=96, n_tests=32, promised_fidelity=0.9, failure_probability=0.05)

Tamper = Callable[[Any], Any]


def secrets_of(end: int) -> EndSecrets:
    return EndSecrets(*(bytes([end * 10 + part]) * 32 for part in range(3)))


class Link:
    """Two ends that hold perfect pairs, messages in order, the second end's through `tamper`."""

    def __init__(self, plan: TestPlan = PLAN, tamper: Tamper = lambda message: message, **held: Any) -> None:
        self.tamper = tamper
        self.sent: list[Any] = []
        self.rejected: list[Rejected] = []
        self.asked: list[Measure] = []
        full = np.ones(plan.n_pairs, bool)
        ends = [LinkTest(plan, node, held.get(f"end_{node}", full), secrets_of(node)) for node in plan.link]
        self.ends = dict(zip(plan.link, ends, strict=True))

    def run(self, outcomes: Callable[[int, Measure], tuple[Any, Any]] | None = None) -> dict[int, LinkReport | None]:
        measured = outcomes or perfect
        queue = [(node, output) for node, end in self.ends.items() for output in end.start()]
        while queue:
            node, output = queue.pop(0)
            end = self.ends[node]
            match output:
                case SendToPeer(message):
                    passed = self.tamper(message) if node == max(self.ends) else message
                    self.sent.append((node, passed))
                    if passed is not None:
                        peer = self.ends[end.peer]
                        queue += [(end.peer, made) for made in peer.receive(passed, node)]
                case Measure():
                    self.asked.append(output)
                    queue += [(node, made) for made in end.measured(*measured(node, output))]
                case Rejected():
                    self.rejected.append(output)
        for end in self.ends.values():
            end.expire()
        return {node: end.report for node, end in self.ends.items()}


def perfect(node: int, asked: Measure) -> tuple[Any, Any]:
    """Outcomes of Phi+: the second end's differ for Y."""
    bits = np.asarray(asked.positions) % 3 == 0
    return bits ^ ((asked.bases == 1) & (node == 7)), np.zeros(len(bits), bool)


def verdict_of(link: Link, **how: Any) -> Any:
    return judge_link(*link.run(**how).values())


def test_perfect_pairs_are_certified_in_eight_messages() -> None:
    link = Link()
    verdict = verdict_of(link)
    assert verdict.flags == frozenset()
    assert verdict.certificate.passed == verdict.certificate.n_tests == 32
    assert verdict.certificate.n_held == 96
    assert verdict.certificate.estimate == verdict.certificate.upper == 1.0
    assert verdict.certificate.one_sided < verdict.certificate.lower < 1.0
    kinds = [type(message) for _, message in link.sent]
    assert sorted(kind.__name__ for kind in kinds) == sorted(
        kind.__name__ for kind in (Holding, CoinOpening, OutcomeCommitment, OutcomeOpening) for _ in range(2)
    )
    first, second = link.asked
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.bases, second.bases)


def test_an_opening_never_leaves_before_both_commitments() -> None:
    """Whatever the order of arrival: nobody's string or outcome is out while the peer can still choose."""
    for first_to_start in (3, 7):
        link = Link()
        one, other = link.ends[first_to_start], link.ends[10 - first_to_start]
        [holding] = one.start()
        assert isinstance(holding, SendToPeer)
        assert isinstance(holding.message, Holding)
        outputs = other.receive(holding.message, first_to_start)
        assert outputs == []
        assert [type(made.message) for made in other.start()] == [Holding, CoinOpening]  # type: ignore[union-attr]


def test_one_ends_loss_is_a_failed_test() -> None:
    def lossy(node: int, asked: Measure) -> tuple[Any, Any]:
        outcomes, lost = perfect(node, asked)
        return outcomes, lost | ((np.arange(32) < 12) & (node == 7))

    verdict = verdict_of(Link(), outcomes=lossy)
    assert verdict.certificate.passed == 20
    assert verdict.flags == {Flag.DISAGREEMENT}


def changed(kind: type[Any], **fields: Any) -> Tamper:
    return lambda message: replace(message, **fields) if isinstance(message, kind) else message


@pytest.mark.parametrize(
    ("tamper", "flag"),
    [
        (changed(CoinOpening, coin=bytes(32)), Flag.BAD_OPENING),
        (changed(CoinOpening, nonce=bytes(32)), Flag.BAD_OPENING),
        (changed(Holding, held=bytes(12)), Flag.TOO_FEW_PAIRS),
        (changed(Holding, held=bytes(11)), Flag.BAD_OPENING),
        (changed(Holding, held=bytes([255] * 6 + [0] * 6)), Flag.BAD_OPENING),
        (changed(Holding, commitment=bytes(32)), Flag.BAD_OPENING),
        (changed(OutcomeCommitment, commitment=bytes(32)), Flag.BAD_OPENING),
        (changed(OutcomeOpening, outcomes=bytes(4)), Flag.BAD_OPENING),
        (changed(OutcomeOpening, lost=bytes([128, 0, 0, 0])), Flag.BAD_OPENING),
        (changed(OutcomeOpening, nonce=bytes(32)), Flag.BAD_OPENING),
        (changed(OutcomeOpening, outcomes=b""), Flag.BAD_OPENING),
        *((lambda message, kind=kind: None if isinstance(message, kind) else message, Flag.MISSING)
          for kind in (Holding, CoinOpening, OutcomeCommitment, OutcomeOpening)),
    ],
)  # fmt: skip
def test_what_does_not_fit_or_come_voids_the_block_and_flags_both(tamper: Tamper, flag: Flag) -> None:
    link = Link(tamper=tamper)
    verdict = verdict_of(link)
    assert verdict.certificate is None
    assert flag in verdict.flags
    reports = [end.report for end in link.ends.values()]
    assert all(report is not None for report in reports)


def test_sent_back_commitments_and_openings_are_worth_nothing() -> None:
    """The second end repeats the first one's messages: its coin would cancel, its outcomes would all agree."""
    for echoed in ((Holding, CoinOpening), (OutcomeCommitment, OutcomeOpening)):
        link = Link()

        def mirror(message: Any, echoed: Any = echoed, link: Link = link) -> Any:
            seen = [sent for node, sent in link.sent if node == 3 and type(sent) is type(message)]
            return seen[-1] if isinstance(message, echoed) and seen else message

        link.tamper = mirror
        verdict = verdict_of(link)
        assert verdict.certificate is None
        assert Flag.BAD_OPENING in verdict.flags


def test_repeated_and_foreign_messages_are_rejected_and_different_ones_void_the_block() -> None:
    link = Link()
    one, other = link.ends[3], link.ends[7]
    [start] = one.start()
    assert isinstance(start, SendToPeer)
    assert isinstance(start.message, Holding)
    other.receive(start.message, 3)
    assert other.receive(start.message, 3) == [Rejected(3, CertificationRejection.REPEATED)]
    assert other.receive(start.message, 4) == [Rejected(4, CertificationRejection.NOT_THE_PEER)]
    foreign = replace(start.message, block=6)
    assert other.receive(foreign, 3) == [Rejected(3, CertificationRejection.OTHER_BLOCK)]
    [report] = other.receive(replace(start.message, commitment=bytes(32)), 3)
    assert isinstance(report, LinkReport)
    assert report.flags == {Flag.EQUIVOCATION}
    assert other.receive(start.message, 3) == [Rejected(3, CertificationRejection.FINISHED)]
    assert other.expire() == []


def test_only_pairs_that_both_hold_are_tested_and_too_few_are_flagged() -> None:
    held = np.arange(96) % 2 == 0
    link = Link(replace(PLAN, quota=60), end_7=held)
    verdict = verdict_of(link)
    assert verdict.flags == {Flag.SHORT}
    assert verdict.certificate.n_held == 48
    assert held[link.asked[0].positions].all()
    none = verdict_of(Link(end_7=np.arange(96) < 32))
    assert none.certificate is None
    assert Flag.TOO_FEW_PAIRS in none.flags


def test_reports_must_agree_word_for_word() -> None:
    first, second = Link().run().values()
    assert first is not None
    assert second is not None
    assert first.certificate is not None
    assert judge_link(first, second).certificate == first.certificate
    assert judge_link(first, None).flags == judge_link(None, second).flags == {Flag.MISSING_REPORT}
    better = replace(second, certificate=replace(first.certificate, lower=1.0))
    for other in (better, replace(second, transcript=bytes(32)), replace(second, certificate=None)):
        verdict = judge_link(first, other)
        assert verdict.certificate is None
        assert verdict.flags == {Flag.CONFLICTING_REPORTS}


@given(st.integers(1, 40), st.data())
def test_drawn_positions_are_sorted_different_and_of_those_held(n_tests: int, data: st.DataObject) -> None:
    held = np.array(sorted(data.draw(st.sets(st.integers(0, 500), min_size=n_tests + 1, max_size=90))))
    positions, bases = drawn_tests(data.draw(st.binary(min_size=32, max_size=32)), held, n_tests)
    assert np.all(np.diff(positions) > 0)
    assert len(positions) == n_tests
    assert np.isin(positions, held).all()
    assert np.isin(bases, (0, 1, 2)).all()
    assert len(bases) == n_tests


def test_every_set_of_positions_and_every_basis_is_as_likely() -> None:
    """6,000 coins, 2 of 4 positions, chi-square of the 6 sets and 3 bases below the quantile of 1e-6."""
    sets: dict[tuple[int, ...], int] = {}
    bases = np.zeros(3)
    for coin in range(6000):
        positions, drawn = drawn_tests(coin.to_bytes(32, "big"), np.arange(4), 2)
        sets[tuple(positions.tolist())] = sets.get(tuple(positions.tolist()), 0) + 1
        bases += np.bincount(drawn, minlength=3)
    assert len(sets) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in sets.values()) < 36.9
    assert ((bases - 4000) ** 2 / 4000).sum() < 27.7


def test_an_honest_link_raises_an_alarm_as_rarely_as_it_says() -> None:
    """The exact binomial tail, and the next number of passes would alarm too often; the mean is the cap."""
    for n_tests, fidelity, alarm in ((32, 0.9, 1e-3), (500, 0.95, 1e-4), (1521, 0.6, 0.2), (10, 0.99, 0.2)):
        plan = replace(PLAN, n_pairs=4000, n_tests=n_tests, promised_fidelity=fidelity, false_alarm=alarm)
        chance = (1 + 2 * fidelity) / 3
        assert binom.cdf(plan.least_passed - 1, n_tests, chance) <= alarm
        is_capped = plan.least_passed == math.floor(n_tests * chance)
        assert is_capped or binom.cdf(plan.least_passed, n_tests, chance) > alarm


values = st.lists(st.floats(0.25, 1), min_size=1, max_size=12)


@given(values, st.integers(0, 4), st.data())
def test_liars_cannot_move_a_score_out_of_the_honest_range(
    honest: list[float], tolerated: int, data: st.DataObject
) -> None:
    said = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=tolerated)
    liars = data.draw(said)
    score = node_score(honest + liars, tolerated)
    assert score <= max(honest)
    if len(honest) > tolerated:
        assert score >= min(honest)


def test_scores_by_hand() -> None:
    assert node_score([0.9, 0.7, 0.8], 0) == 0.9
    assert node_score([0.9, 0.7, 1.0, 0.8], 1) == 0.9
    assert node_score([1.0, 1.0], 2) == node_score([], 0) == 0.0
    with pytest.raises(DomainError, match="tolerated"):
        node_score([1.0], -1)


def test_a_node_is_short_only_by_more_peers_than_may_lie() -> None:
    links = [(0, 1), (0, 2), (0, 3), (4, 5), (4, 5)]
    assert short_nodes(links, 2) == {0}
    assert short_nodes(links, 1) == {0}
    assert short_nodes(links, 3) == frozenset()
    # Two liars, 1 and 2, bring no honest node onto the list, however many of its blocks they spoil.
    spoiled = [pair for pair in itertools.combinations(range(6), 2) if set(pair) & {1, 2}]
    assert short_nodes(spoiled * 3, 2) == {1, 2}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"link": (7, 3)}, "link"),
        ({"block": -1}, "block"),
        ({"n_tests": 96}, "n_tests"),
        ({"quota": 97}, "quota"),
        ({"promised_fidelity": 1.0}, "promised_fidelity"),
        ({"failure_probability": 0.3}, "failure_probability"),
        ({"false_alarm": 0.0}, "false_alarm"),
    ],
)
def test_plans_outside_their_range_are_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(DomainError, match=name):
        replace(PLAN, **fields)


def test_misuse_is_refused() -> None:
    full = np.ones(96, bool)
    with pytest.raises(DomainError, match="node"):
        LinkTest(PLAN, 4, full, secrets_of(3))
    with pytest.raises(DomainError, match="held"):
        LinkTest(PLAN, 3, full[1:], secrets_of(3))
    with pytest.raises(DomainError, match="measured"):
        LinkTest(PLAN, 3, full, secrets_of(3)).measured(np.zeros(32), np.zeros(32))
    with pytest.raises(DomainError, match="coin"):
        EndSecrets(bytes(31), bytes(32), bytes(32))
