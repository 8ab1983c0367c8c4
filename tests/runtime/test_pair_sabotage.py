"""What liars do to the pairs and tests of their links: who is touched, and what certificates and flags come of it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ceas.attacks import Conduct
from ceas.consensus import node_score
from ceas.network import LinkTable, WindowRecord
from ceas.physics import untested_fidelity_bounds
from ceas.runtime.certification import QUOTA, JointTests, RoundTests
from ceas.runtime.pair_sabotage import TestedPairs, sabotaged_tests
from ceas.runtime.world import World

# Links: two liars (0, 1), a liar and an honest node (1, 2), two honest ones (2, 3).
LINKS = cast(LinkTable, SimpleNamespace(node_a=np.array([0, 1, 2]), node_b=np.array([1, 2, 3]), n_links=3))
N_SHOTS, N_TESTS = 900, 600


def world() -> World:
    demand = SimpleNamespace(learner_link=np.array([0, 1, 1, 2]))
    network = SimpleNamespace(links=LINKS, demand=demand, n_links=3)
    is_byzantine = np.array([True, True, False, False])
    return cast(World, SimpleNamespace(network=network, is_byzantine=is_byzantine, pairs_per_shot=2, n_learners=4))


def window(*, by_basis: bool = False) -> WindowRecord:
    fields: dict[str, Any] = dict.fromkeys(WindowRecord.__dataclass_fields__)
    test_link = np.sort(np.arange(N_TESTS) % 3).astype(np.int32)
    shot = (N_SHOTS, 2)
    return WindowRecord(
        **fields
        | {
            "window": 4,
            "shot_learner": np.sort(np.arange(N_SHOTS) % 4).astype(np.int32),
            "shot_time_ns": np.arange(N_SHOTS),
            "shot_werner": np.full(shot, 0.9, np.float32),
            "shot_correlators": np.full((*shot, 3), 0.9, np.float32) if by_basis else None,
            "test_link": test_link,
            "test_werner": np.full(N_TESTS, 0.9, np.float32),
            "test_correlators": np.full((N_TESTS, 3), 0.9, np.float32) if by_basis else None,
            "test_is_of_shot": np.ones(N_TESTS, np.bool_),
        }
    )


def lied(lie: Any, share: float = 0.0, *, by_basis: bool = False) -> TestedPairs:
    return sabotaged_tests(window(by_basis=by_basis), world(), Conduct(test_lie=lie, ruined_share=share), seed=3)


def werner_of_tests(pairs: TestedPairs, link: int) -> set[float]:
    return {round(float(value), 6) for value in pairs.window.test_werner[pairs.window.test_link == link]}


def test_honest_conduct_leaves_the_very_same_record() -> None:
    record = window()
    for conduct, nodes in ((Conduct(), world()), (Conduct(test_lie="mix", ruined_share=1.0), honest_world())):
        found = sabotaged_tests(record, nodes, conduct, seed=3)
        assert found.window is record
        assert not found.is_refused.any()
        assert (found.held_share == 1).all()


def honest_world() -> World:
    return cast(World, SimpleNamespace(**vars(world()) | {"is_byzantine": np.zeros(4, np.bool_)}))


@pytest.mark.parametrize(
    ("lie", "on_lying_link"),
    [("vouch", {0.9}), ("guess", {0.0}), ("refuse", {-1.0}), ("mix", {0.0, 0.9}), ("ruin", {0.9}), ("deny", {0.9})],
)
@pytest.mark.parametrize("by_basis", [False, True])
def test_every_lie_touches_the_tests_of_its_links_alone(lie: str, on_lying_link: set[float], by_basis: bool) -> None:
    found = lied(lie, 0.5, by_basis=by_basis)
    assert werner_of_tests(found, 0) == {1.0}
    assert werner_of_tests(found, 1) == on_lying_link
    assert werner_of_tests(found, 2) == {0.9}
    assert found.is_refused.tolist() == [False, lie == "refuse", False]
    assert found.held_share.tolist() == [1.0, 0.5 if lie == "deny" else 1.0, 1.0]
    if by_basis:
        assert found.window.test_correlators is not None
        np.testing.assert_array_equal(found.window.test_correlators, found.window.test_werner[:, None].repeat(3, 1))


def test_ruined_and_denied_pairs_are_those_of_shots_over_links_with_one_liar() -> None:
    """675 pairs of shots of learners 1 and 2 and 200 tests at share 0.3, within 5 standard deviations."""
    for lie in ("mix", "ruin"):
        found = lied(lie, 0.3, by_basis=True).window
        is_ruined = found.shot_werner == 0.0
        over = np.isin(found.shot_learner, (1, 2))
        assert not is_ruined[~over].any()
        assert is_ruined[over].mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 900))
        assert found.shot_correlators is not None
        np.testing.assert_array_equal(found.shot_correlators[..., 0] == 0, is_ruined)
        ruined_tests = (found.test_werner[found.test_link == 1] == 0).mean()
        assert ruined_tests == pytest.approx(0.3 if lie == "mix" else 0.0, abs=5 * np.sqrt(0.21 / 200))
    denied = lied("deny", 0.3, by_basis=True).window
    counts = np.bincount(denied.shot_learner, minlength=4)
    assert counts[[0, 3]].tolist() == [225, 225]
    assert counts[1:3].sum() == pytest.approx(450 * 0.49, abs=5 * np.sqrt(450 * 0.25))
    assert len(denied.shot_time_ns) == len(denied.shot_werner) == counts.sum()
    assert (denied.test_link == 1).sum() == pytest.approx(140, abs=5 * np.sqrt(200 * 0.21))


def round_tests(pairs: TestedPairs) -> RoundTests:
    record = pairs.window
    passes = JointTests.none_yet(3).observe(record.test_link, record.test_werner, np.random.default_rng(1))
    learner_link = world().network.demand.learner_link
    return RoundTests(
        tested=np.bincount(record.test_link, minlength=3),
        passed=np.bincount(record.test_link[passes], minlength=3),
        used=2 * np.bincount(learner_link[record.shot_learner], minlength=3),
        is_refused=pairs.is_refused,
        held_share=pairs.held_share,
        promised_fidelity=0.8,
        error_probability=1e-3,
    )


@pytest.mark.parametrize(
    ("lie", "is_flagged"),
    [("vouch", False), ("guess", True), ("refuse", True), ("mix", True), ("deny", True), ("ruin", False)],
)
def test_flags_and_certified_fidelity(lie: str, is_flagged: bool) -> None:
    tests = round_tests(lied(lie, 0.8))
    assert tests.is_flagged().tolist() == [False, is_flagged, False]
    certified = tests.certified_fidelity()
    # Two liars are believed whatever they like: all of their tests pass.
    assert tests.passed[0] == tests.tested[0]
    assert certified[0] > certified[2] > 0.5
    if lie == "refuse":
        assert certified[1] == 0
    if lie in ("guess", "mix"):
        assert certified[1] < 0.5
    if lie == "ruin":
        assert certified[1] > 0.5  # while half of the used pairs have 1/4: outside the guarantee
    for link in (1, 2):
        if not tests.is_refused[link]:
            block = tests.tested[link] + tests.used[link]
            expected, _ = untested_fidelity_bounds(tests.passed[link], tests.tested[link], block, 1e-3)
            assert certified[link] == pytest.approx(float(expected), abs=1e-12)


def test_node_scores_are_those_of_the_protocol() -> None:
    tests = round_tests(lied("vouch"))
    fidelity = tests.certified_fidelity()
    expected = [
        fidelity[0],
        node_score([fidelity[0], fidelity[1]], 0),
        node_score([fidelity[1], fidelity[2]], 0),
        fidelity[2],
    ]
    np.testing.assert_array_equal(tests.node_scores(LINKS, 4), expected)


def test_without_tests_or_use_nothing_is_certified_and_nobody_is_flagged() -> None:
    zero = np.zeros(3, np.int64)
    tests = round_tests(lied("vouch"))
    for idle in (replace(tests, tested=zero, passed=zero), replace(tests, used=zero)):
        assert idle.certified_fidelity().tolist() == [0, 0, 0]
    assert not replace(tests, tested=zero, passed=zero).is_flagged().any()
    assert replace(tests, held_share=np.array([1.0, QUOTA - 1e-9, QUOTA])).is_flagged().tolist() == [False, True, False]
