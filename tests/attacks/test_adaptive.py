"""The searching attacks: ByzFL's vectors, budgets, both signs, and the rules that they are aimed at."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import attacks
from ceas.attacks import ATTACKS, line_search, send
from ceas.errors import DomainError
from ceas.experiments import registry

FloatArray = NDArray[np.float64]

# The input of ByzFL's own tests (LPD-EPFL/byzfl 69bd1ac, tests/); expected outputs are theirs.
BYZFL = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
RULES = registry.names("aggregation")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def mixed_clipped_trimmed(rows: FloatArray) -> FloatArray:
    """ByzFL's TrMean(1) after NNM(1) and Clipping(2)."""
    distances = ((rows[:, None] - rows) ** 2).sum(axis=2)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : len(rows) - 1]
    mixed = rows[nearest].mean(axis=1)
    clipped = mixed * np.minimum(1, 2 / np.linalg.norm(mixed, axis=1))[:, None]
    return np.sort(clipped, axis=0)[1:-1].mean(axis=0)


def test_byzfl_vectors() -> None:
    given: dict[str, Any] = {"rng": rng(), "aggregate": mixed_clipped_trimmed, "is_signed": False}
    expected = [-2.74877907, -3.43597384, -4.1231686]
    np.testing.assert_allclose(attacks.opt_ipm(BYZFL, 1, **given), [expected], rtol=1e-8)
    expected = [12.91985116, 13.91985116, 14.91985116]
    np.testing.assert_allclose(attacks.opt_alie(BYZFL, 1, **given), [expected], rtol=1e-9)


@given(peak=st.floats(0, 200), evaluations=st.integers(1, 30))
def test_a_search_keeps_its_budget_and_its_best(peak: float, evaluations: int) -> None:
    tried: list[float] = []

    def score(position: float) -> float:
        tried.append(position)
        return -abs(position - peak)

    found = line_search(score, evaluations=evaluations)
    assert len(tried) == evaluations == found.evaluations
    assert found.score == max(-abs(position - peak) for position in tried)
    assert found.position in tried
    assert min(tried) >= 0


def test_a_score_that_is_no_number_is_never_better() -> None:
    found = line_search(lambda position: position if position < 15 else np.nan)
    assert 10 <= found.position < 15
    assert line_search(lambda _: np.nan).position == 0.0


@pytest.mark.parametrize("wrong", [{"evaluations": 0}, {"start": -1.0}, {"step": 0.0}, {"ratio": 1.0}])
def test_a_search_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match="search needs"):
        line_search(abs, **wrong)


@pytest.mark.parametrize("name", ["opt_alie", "opt_ipm"])
def test_the_budget_is_recorded_and_both_signs_are_searched(name: str) -> None:
    honest, calls = np.random.default_rng(1).normal(size=(9, 4)) + 1.0, []
    mean = honest.mean(axis=0)
    direction = honest.std(axis=0, ddof=1) if name == "opt_alie" else -mean
    origin = mean if name == "opt_alie" else 0 * mean

    def only_hurt_by(sign: int, rows: FloatArray) -> FloatArray:
        calls.append(rows)
        strength = (rows[-1] - origin) @ direction / (direction @ direction)
        return mean + max(0.0, sign * min(abs(strength), 3.0) * np.sign(strength)) * direction

    for sign in (1, -1):
        calls.clear()
        sent = send(partial(ATTACKS[name], evaluations=12), honest, 3, rng=rng(), aggregate=partial(only_hurt_by, sign))
        assert len(calls) == 24 == sent.memory["evaluations"]
        assert all(rows.shape == (12, 4) for rows in calls)
        assert sign * sent.memory["strength"] >= 3.0
        np.testing.assert_allclose(sent.updates, np.tile(origin + sent.memory["strength"] * direction, (3, 1)))
    calls.clear()
    one_sided = partial(ATTACKS[name], evaluations=12, is_signed=False)
    assert send(one_sided, honest, 3, rng=rng(), aggregate=partial(only_hurt_by, -1)).memory["strength"] == 0.0
    assert len(calls) == 12


def test_the_goal_and_the_stride_are_the_attackers_choice() -> None:
    """The mean of 4 honest and 1 attacking row: alignment falls without end for one sign, distance grows for both."""
    honest = np.random.default_rng(5).normal(size=(4, 3)) + 1.0
    given: dict[str, Any] = {"rng": rng(), "aggregate": lambda rows: rows.mean(axis=0)}
    mean = honest.mean(axis=0)
    for goal in ("distance", "alignment"):
        sent = attacks.opt_ipm(honest, 1, goal=goal, step=0.5, evaluations=6, **given)[0]
        # From 0, strides of 0.5 that double: 0.5, 1.5, 3.5, 7.5, 15.5.
        np.testing.assert_allclose(sent, -15.5 * mean)
    away = attacks.opt_alie(honest, 1, goal="alignment", evaluations=2, **given)[0]
    sign = -np.sign(honest.std(axis=0) @ mean)
    np.testing.assert_allclose(away, mean + sign * 10 * honest.std(axis=0, ddof=1))


def bound_rule(name: str, n_byzantine: int) -> Any:
    """Return a rule with all that any rule may need: equal columns, and the first row for a root."""
    rule = registry.resolve("aggregation", name)
    columns = ("information", "contraction", "shots", "quantum_fisher", "samples")
    return lambda rows: (
        rule(rows, n_byzantine=n_byzantine, root=rows[0], **dict.fromkeys(columns, np.ones(len(rows)))).value
    )


@pytest.mark.parametrize("name", RULES)
def test_the_search_hurts_at_least_as_much_as_the_fixed_attack_it_contains(name: str) -> None:
    """Zero is always tried: all attackers sending the mean. Against the mean itself, the push has no end."""
    honest = np.random.default_rng(2).normal(size=(12, 6)) * np.linspace(0.5, 2, 12)[:, None]
    mean, pipeline = honest.mean(axis=0), bound_rule(name, 3)
    for attack in ("opt_alie", "opt_ipm"):
        sent = ATTACKS[attack](honest, 3, rng=rng(), aggregate=pipeline)
        base = np.tile(mean if attack == "opt_alie" else 0 * mean, (3, 1))
        damage, least = (np.linalg.norm(pipeline(np.concatenate([honest, rows])) - mean) for rows in (sent, base))
        assert damage >= least
        if name == "mean":
            assert damage > 1000


@pytest.mark.parametrize("rule", RULES)
def test_every_attack_leaves_every_rule_finite(rule: str) -> None:
    generator = np.random.default_rng(RULES.index(rule))
    honest, own = generator.normal(size=(12, 5)), generator.normal(size=(3, 5))
    for attack in ATTACKS.values():
        sent = send(
            attack,
            honest,
            3,
            rng=generator,
            own_updates=own,
            aggregate=bound_rule(rule, 3),
            last_aggregate=honest[0],
            training_round=1,
            rounds=2,
        )
        assert sent.updates.shape == (3, 5)
        assert np.isfinite(bound_rule(rule, 3)(np.concatenate([honest, sent.updates]))).all()


def test_a_sleeper_is_honest_until_it_wakes() -> None:
    honest = np.random.default_rng(3).normal(size=(9, 4))
    own = np.ones((2, 4))
    given: dict[str, Any] = {"own_updates": own, "aggregate": bound_rule("geometric_median", 2), "rounds": 10}
    awake = attacks.opt_alie(honest, 2, rng=rng(), **given)
    for attack, wake in ((attacks.sleeper, 5), (partial(attacks.sleeper, wake_round=3), 3)):
        for training_round in range(10):
            sent = attack(honest, 2, rng=rng(), training_round=training_round, **given)
            np.testing.assert_array_equal(sent, own if training_round < wake else awake)


def test_attackers_who_know_only_their_own_put_them_in_the_others_places() -> None:
    own, seen = np.random.default_rng(4).normal(size=(2, 3)), []

    def aggregate(rows: FloatArray) -> FloatArray:
        seen.append(rows)
        return rows.mean(axis=0)

    attacks.opt_alie(np.full((5, 3), 99.0), 2, rng=rng(), own_updates=own, aggregate=aggregate, knowledge="own")
    for rows in seen:
        np.testing.assert_array_equal(rows[:5], own[[0, 1, 0, 1, 0]])
        assert rows.shape == (7, 3)


def test_scores_that_are_not_numbers_are_never_the_best() -> None:
    found = line_search(lambda x: float("nan") if x == 0 else x, evaluations=5)
    assert found.position > 0
    assert found.score == found.position
    assert line_search(lambda _: float("nan"), evaluations=3).score == -np.inf


def test_a_target_beyond_the_known_is_the_last() -> None:
    honest = np.arange(6.0).reshape(3, 2)
    sent = attacks.mimic(honest, 1, rng=np.random.default_rng(0), target=7)
    np.testing.assert_array_equal(sent, honest[2:])
