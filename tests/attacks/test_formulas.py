"""Each attack against its definition: brute force, closed forms, and what must not change when units or origins do."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ceas import attacks
from ceas.attacks import ATTACKS, send
from ceas.errors import CeasError, DomainError

FloatArray = NDArray[np.float64]

# Multiples of 1/16, so that neither scaling by 2 nor shifting rounds anything.
CLOUDS = arrays(np.float64, (6, 4), elements=st.integers(-64, 64).map(lambda k: k / 16))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def cloud(n: int = 12, n_parameters: int = 5, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, n_parameters)) + 0.3


def largest_distance(sent: FloatArray, honest: FloatArray) -> float:
    return max(float(np.linalg.norm(sent - update)) for update in honest)


def sum_of_squares(sent: FloatArray, honest: FloatArray) -> float:
    return sum(float(np.sum((sent - update) ** 2)) for update in honest)


def directions(honest: FloatArray) -> dict[str, FloatArray]:
    mean = honest.mean(axis=0)
    return {"unit": -mean / np.linalg.norm(mean), "deviation": -honest.std(axis=0, ddof=1), "sign": -np.sign(mean)}


@pytest.mark.parametrize("direction", ["unit", "deviation", "sign"])
@pytest.mark.parametrize(("name", "measure"), [("min_max", largest_distance), ("min_sum", sum_of_squares)])
def test_min_max_and_min_sum_go_as_far_as_allowed(name: str, measure: Any, direction: str) -> None:
    for seed in range(5):
        honest = cloud(seed=seed)
        bound = max(measure(update, honest) for update in honest)
        sent = ATTACKS[name](honest, 3, rng=rng(), direction=direction)
        assert np.ptp(sent, axis=0).max() == 0
        assert measure(sent[0], honest) <= bound * (1 + 1e-12)
        # Brute force on a grid: the last position within the bound.
        step = directions(honest)[direction]
        grid = np.linspace(0, 40, 40_001)
        allowed = [measure(honest.mean(axis=0) + gamma * step, honest) <= bound for gamma in grid[::40]]
        coarse = 40 * (allowed.index(False) - 1)
        fine = [measure(honest.mean(axis=0) + gamma * step, honest) <= bound for gamma in grid[coarse : coarse + 41]]
        gamma = (sent[0] - honest.mean(axis=0)) @ step / (step @ step)
        assert grid[coarse + fine.index(False) - 1] <= gamma + 1e-9 <= grid[coarse + fine.index(False)] + 2e-9


def test_min_max_of_equal_updates_sends_them() -> None:
    np.testing.assert_allclose(attacks.min_max(np.full((4, 3), 0.1), 2, rng=rng()), np.full((2, 3), 0.1), rtol=1e-12)
    np.testing.assert_array_equal(attacks.min_sum(np.ones((1, 3)), 2, rng=rng(), direction="unit"), np.ones((2, 3)))


def test_mimic_learns_the_direction_of_the_largest_variance() -> None:
    generator = np.random.default_rng(5)
    axis = np.array([0.0, 0.6, 0.0, 0.8, 0.0])
    memory: Mapping[str, Any] = {}
    for _ in range(30):
        honest = generator.normal(size=(20, 5)) + np.linspace(-6, 6, 20)[:, None] * axis + 1.0
        sent = send(attacks.mimic, honest, 4, rng=rng(), memory=memory)
        memory = sent.memory
    assert abs(memory["direction"] @ axis) > 0.99
    end = int(np.argmax(honest @ memory["direction"]))
    assert end in (0, 1, 18, 19)
    np.testing.assert_array_equal(sent.updates, np.tile(honest[end], (4, 1)))


def test_mimic_by_hand() -> None:
    """Two rounds of Oja's rule, written out in full."""
    first, second = cloud(seed=2), cloud(seed=3)
    start = rng().standard_normal(5)
    v = sum(((update - first.mean(axis=0)) @ start) * (update - first.mean(axis=0)) for update in first)
    z = v / np.linalg.norm(v)
    once = send(attacks.mimic, first, 1, rng=rng())
    np.testing.assert_allclose(once.memory["direction"], z, rtol=1e-12)
    centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
    v = sum(((update - centre) @ z) * (update - centre) for update in second)
    z = (z + v / np.linalg.norm(v)) / 2
    z /= np.linalg.norm(z)
    twice = send(attacks.mimic, second, 1, rng=rng(), memory=once.memory)
    np.testing.assert_allclose(twice.memory["direction"], z, rtol=1e-12)
    np.testing.assert_array_equal(twice.updates[0], second[np.argmax(second @ z)])
    kept = attacks.mimic(second, 1, rng=rng(), memory=once.memory, warmup_rounds=1)
    np.testing.assert_array_equal(kept[0], second[np.argmax(second @ once.memory["direction"])])


def test_relocated_orthogonal_is_orthogonal_to_the_reference_and_of_the_given_length() -> None:
    honest, last = cloud(), np.array([0.5, -0.2, 0.1, 0.4, 0.3])
    mean = honest.mean(axis=0)
    sent = attacks.relocated_orthogonal(honest, 1, rng=rng(), last_aggregate=last, z=0.7, is_scaled=False)[0]
    push = sent - last
    assert push @ (0.9 * last + 0.1 * mean) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(push) == pytest.approx(0.7, rel=1e-12)
    angled = attacks.relocated_orthogonal(
        honest, 1, rng=rng(), last_aggregate=last, z=0.7, is_scaled=False, angle=120.0, location=0.25, reference=1.0
    )[0]
    push = angled - (0.25 * last + 0.75 * mean)
    assert push @ last / np.linalg.norm(last) == pytest.approx(0.7 * np.cos(np.radians(120)), rel=1e-12)
    spread = np.sqrt(((honest - mean) ** 2).sum(axis=1).mean())
    first = attacks.relocated_orthogonal(honest, 1, rng=rng(), z=2.0, location=0.0)[0]
    assert np.linalg.norm(first - mean) == pytest.approx(2 * spread, rel=1e-12)
    assert (first - mean) @ mean == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("direction", ["opposed", "random"])
def test_drift_keeps_its_direction_and_its_bound(direction: str) -> None:
    memory: Mapping[str, Any] = {}
    total = np.zeros(5)
    attack = partial(attacks.drift, z=0.8, direction=direction)
    for seed in range(10):
        honest = cloud(seed=seed) - (seed % 3)
        updates, memory = send(attack, honest, 2, rng=np.random.default_rng(seed), memory=memory)
        shift = (updates[0] - honest.mean(axis=0)) / honest.std(axis=0, ddof=1)
        np.testing.assert_allclose(np.abs(shift), 0.8, rtol=1e-9)
        total += shift
    # Ten shifts that never turn add up.
    np.testing.assert_allclose(np.abs(total), 8.0, rtol=1e-9)
    if direction == "opposed":
        assert (np.sign(total) == -np.sign(cloud(seed=0).mean(axis=0))).all()


def test_gaussian_has_its_moments() -> None:
    """Mean and variance of 60,000 draws; each bound is passed by chance with probability below 1e-6."""
    drawn = attacks.gaussian(np.zeros((1, 6000)), 10, rng=rng(), centre=0.5, deviation=2.0)
    assert abs(drawn.mean() - 0.5) < 5 * 2 / np.sqrt(60_000)
    assert abs(drawn.var() / 4 - 1) < 5 * np.sqrt(2 / 60_000)
    assert len(np.unique(drawn, axis=0)) == 10


def test_free_riders_send_the_last_aggregate_under_noise_of_their_own() -> None:
    """The noise's root mean square over 80,000 draws, with a false alarm below 1e-6."""
    last = np.random.default_rng(1).normal(size=20_000)
    sent = attacks.free_riding(np.zeros((3, last.size)), 4, rng=rng(), last_aggregate=last, noise=0.2)
    noise = (sent - last) / np.sqrt(np.mean(last**2))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(0.2, rel=5 / np.sqrt(2 * 80_000))
    assert len(np.unique(sent, axis=0)) == 4
    np.testing.assert_array_equal(attacks.free_riding(np.ones((3, 2)), 2, rng=rng()), np.zeros((2, 2)))


@pytest.mark.parametrize("value", ["not_a_number", "infinity", "negative_infinity", "huge", "denormal"])
def test_malformed_values(value: str) -> None:
    special = {"not_a_number": np.nan, "infinity": np.inf, "negative_infinity": -np.inf}
    wanted = special.get(value, 1e200 if value == "huge" else 5e-324)
    np.testing.assert_array_equal(attacks.malformed(cloud(), 2, rng=rng(), value=value), np.full((2, 5), wanted))
    one = attacks.malformed(cloud(), 2, rng=rng(), value=value, where="first")
    np.testing.assert_array_equal(one, [[wanted, *cloud().mean(axis=0)[1:]]] * 2)


# Whether what an attack sends moves along when all updates are shifted; when they are scaled, all of these scale.
EQUIVARIANT: list[tuple[str, dict[str, Any], bool]] = [
    ("none", {}, True),
    ("sign_flip", {}, False),
    ("inner_product_manipulation", {}, False),
    ("a_little_is_enough", {}, True),
    ("a_little_is_enough", {"z": -1.25}, True),
    ("min_max", {"direction": "deviation"}, True),
    ("min_max", {"direction": "unit"}, False),
    ("min_sum", {"direction": "deviation"}, True),
    ("min_sum", {"direction": "sign"}, False),
    ("mimic", {}, False),
    ("relocated_orthogonal", {}, False),
    ("drift", {"direction": "random"}, True),
    ("free_riding", {}, False),
    ("label_flip", {"of": "mean"}, True),
    ("opt_alie", {"evaluations": 5}, False),
    ("opt_ipm", {"evaluations": 5}, False),
]


@pytest.mark.parametrize(("name", "parameters", "is_translated"), EQUIVARIANT)
@settings(max_examples=25, deadline=None)
@given(honest=CLOUDS, knowledge=st.sampled_from(["all", "own"]))
def test_units_and_origin_do_not_matter(
    name: str, parameters: dict[str, Any], is_translated: bool, honest: FloatArray, knowledge: str
) -> None:
    def sent(factor: float, shift: float) -> FloatArray:
        rows = factor * honest + shift
        return ATTACKS[name](
            rows[:4],
            2,
            rng=rng(),
            own_updates=rows[4:],
            last_aggregate=rows[0],
            aggregate=lambda all_rows: np.sort(all_rows, axis=0)[2:4].mean(axis=0),
            knowledge=knowledge,
            **parameters,
        )

    np.testing.assert_allclose(sent(4.0, 0.0), 4.0 * sent(1.0, 0.0), atol=1e-9)
    if is_translated and honest[:4].std(axis=0).min() > 0:
        np.testing.assert_allclose(sent(1.0, 8.0), sent(1.0, 0.0) + 8.0, atol=1e-9)


def test_attackers_who_know_only_their_own_do_not_look_at_the_others() -> None:
    own = cloud(3, seed=9)
    for name, attack in ATTACKS.items():
        if name in ("opt_alie", "opt_ipm", "sleeper"):
            continue
        given: dict[str, Any] = {"rng": rng(), "own_updates": own, "knowledge": "own", "last_aggregate": own[0]}
        first = attack(cloud(8), 3, **given)
        np.testing.assert_array_equal(first, attack(cloud(8, seed=4), 3, **given | {"rng": rng()}))
    np.testing.assert_allclose(
        attacks.a_little_is_enough(cloud(8), 3, rng=rng(), own_updates=own, z=2.0, knowledge="own")[0],
        own.mean(axis=0) + 2 * own.std(axis=0, ddof=1),
    )
    with pytest.raises(DomainError, match="own_updates"):
        attacks.sign_flip(cloud(), 2, rng=rng(), knowledge="own")


@pytest.mark.parametrize(
    ("name", "parameters", "match"),
    [
        ("min_max", {"direction": "up"}, "direction"),
        ("mimic", {"target": -1}, "target"),
        ("mimic", {"warmup_rounds": 0}, "warmup_rounds"),
        ("relocated_orthogonal", {"location": 1.5}, "location"),
        ("relocated_orthogonal", {"reference": -0.1}, "reference"),
        ("drift", {"z": -1.0}, "`z`"),
        ("drift", {"direction": "up"}, "direction"),
        ("gaussian", {"deviation": np.inf}, "deviation"),
        ("malformed", {"value": "zero"}, "value"),
        ("malformed", {"where": "last"}, "where"),
        ("free_riding", {"noise": -1.0}, "noise"),
        ("sleeper", {"wake_round": -1}, "wake_round"),
        ("opt_alie", {}, "aggregate"),
        ("opt_alie", {"evaluations": 0}, "evaluations"),
        ("opt_ipm", {"step": 0.0}, "step"),
        ("opt_ipm", {"goal": "win"}, "goal"),
        ("label_flip", {"of": "all"}, "`of`"),
        ("circuit_fault", {"operation": "swap"}, "operation"),
        ("circuit_fault", {"place": "middle"}, "place"),
        ("circuit_fault", {"operation": "grover_diffusion"}, "place"),
        ("with_false_claims", {"lie": "white"}, "lie"),
        ("with_false_claims", {"claim_factor": 0.0}, "factor"),
        ("with_false_claims", {"attack": "min_max", "attack_parameters": {"z": 1.0}}, "has no parameter `z`"),
        ("with_false_claims", {"attack_parameters": {"knowledge": "own"}}, "has no parameter `knowledge`"),
        ("with_false_claims", {"attack": "with_false_claims"}, "unknown attack"),
    ],
)
def test_wrong_parameters_are_refused(name: str, parameters: dict[str, Any], match: str) -> None:
    with pytest.raises(CeasError, match=match):
        ATTACKS[name](cloud(), 3, rng=rng(), own_updates=cloud(3), **parameters)
