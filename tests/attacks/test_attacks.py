"""Attacks: published vectors, the definition of z_max, what each attack must not know, and claims."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from ceas import attacks
from ceas.attacks import Claims, claims_sent, inflate_claims
from ceas.errors import DomainError

FloatArray = NDArray[np.float64]

ATTACKS = attacks.ATTACKS
# These draw from the generator.
RANDOM = ("gaussian", "free_riding", "mimic")
# The input of ByzFL's own tests (LPD-EPFL/byzfl 69bd1ac, tests/); expected outputs are theirs.
BYZFL = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_byzfl_vectors() -> None:
    np.testing.assert_allclose(attacks.sign_flip(BYZFL, 1, rng=rng()), [[-4, -5, -6]], rtol=1e-14)
    sent = attacks.inner_product_manipulation(BYZFL, 2, rng=rng(), factor=2.0)
    np.testing.assert_allclose(sent, [[-8, -10, -12]] * 2, rtol=1e-14)
    sent = attacks.a_little_is_enough(BYZFL, 1, rng=rng(), z=1.5)
    np.testing.assert_allclose(sent, [[8.5, 9.5, 10.5]], rtol=1e-14)
    np.testing.assert_array_equal(attacks.mimic(BYZFL, 1, rng=rng(), target=0), [[1, 2, 3]])
    np.testing.assert_array_equal(attacks.malformed(BYZFL, 1, rng=rng(), value="infinity"), [[np.inf] * 3])


@pytest.mark.parametrize("name", list(ATTACKS))
def test_shape_independence_of_the_generator_and_untouched_input(name: str) -> None:
    honest = np.random.default_rng(1).normal(size=(35, 6))
    own = np.random.default_rng(2).normal(size=(15, 6))
    copies = honest.copy(), own.copy()
    given = {"own_updates": own, "aggregate": lambda rows: np.median(rows, axis=0), "last_aggregate": honest[0]}
    sent = ATTACKS[name](honest, 15, rng=np.random.default_rng(3), rounds=2, **given)
    assert sent.shape == (15, 6)
    np.testing.assert_array_equal(sent, ATTACKS[name](honest, 15, rng=np.random.default_rng(3), rounds=2, **given))
    if name not in RANDOM:
        np.testing.assert_array_equal(sent, ATTACKS[name](honest, 15, rng=np.random.default_rng(4), rounds=2, **given))
    sent += 1.0
    np.testing.assert_array_equal(honest, copies[0])
    np.testing.assert_array_equal(own, copies[1])
    assert ATTACKS[name](honest, 0, rng=rng(), own_updates=own[:0]).shape == (0, 6)


def test_none_sends_own_updates() -> None:
    own = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(attacks.none(BYZFL, 2, rng=rng(), own_updates=own), own)


def test_sign_flip_of_own_updates_and_factor() -> None:
    own = np.arange(6.0).reshape(2, 3)
    sent = attacks.sign_flip(BYZFL, 2, rng=rng(), own_updates=own, of="own", factor=3.0)
    np.testing.assert_array_equal(sent, -3 * own)
    np.testing.assert_allclose(attacks.sign_flip(BYZFL, 1, rng=rng(), factor=0.5), [[-2, -2.5, -3]])


@pytest.mark.parametrize(("n_nodes", "f"), [(50, 5), (50, 15), (51, 20), (50, 24), (11, 3)])
def test_largest_hidden_deviation_leaves_a_majority_beyond_it(n_nodes: int, f: int) -> None:
    """With s honest nodes farther out on average, they and the f attackers are just a majority of n."""
    honest = np.random.default_rng(5).normal(size=(n_nodes - f, 400))
    sent = attacks.a_little_is_enough(honest, f, rng=rng())[0]
    z = (sent - honest.mean(axis=0)) / honest.std(axis=0, ddof=1)
    np.testing.assert_allclose(z, z[0], rtol=1e-9)
    beyond = (n_nodes - f) * norm.sf(z[0])
    assert beyond + f == pytest.approx(n_nodes // 2 + 1, rel=1e-9)


def test_largest_hidden_deviation_needs_a_minority() -> None:
    with pytest.raises(DomainError, match="f=3, n=6"):
        attacks.a_little_is_enough(BYZFL, 3, rng=rng())
    assert attacks.a_little_is_enough(BYZFL, 3, rng=rng(), z=1.0).shape == (3, 3)
    np.testing.assert_array_equal(attacks.a_little_is_enough(BYZFL[:1], 1, rng=rng(), z=9.0), BYZFL[:1])


def test_inflated_claim_reverses_the_direction_of_a_rule_that_believes_it() -> None:
    honest = np.random.default_rng(6).normal(size=(45, 8)) + 0.5
    claims = Claims(shots=np.full(5, 100.0), contraction=np.full(5, 0.5), quantum_fisher=np.full(5, 0.4))
    attack = partial(attacks.inflated_claim, claim_factor=1000.0)
    updates = np.concatenate([attack(honest, 5, rng=rng()), honest])
    information = np.concatenate([claims_sent(attack, claims).information, np.full(45, 100.0 * 0.25 * 0.4)])
    believed = information @ updates / information.sum()
    assert believed @ honest.mean(axis=0) < 0
    truthful = updates.mean(axis=0)
    assert truthful @ honest.mean(axis=0) > 0


def test_claims_sent_are_inflated_for_that_attack_only() -> None:
    claims = Claims(shots=np.array([10.0]), contraction=np.array([0.4]), quantum_fisher=np.array([0.2]))
    for name, attack in ATTACKS.items():
        sent = claims_sent(attack, claims)
        assert (sent is claims) == (name not in ("inflated_claim", "with_false_claims"))
    twice = claims_sent(partial(attacks.inflated_claim, claim_factor=2.0), claims)
    np.testing.assert_allclose(twice, Claims(np.array([20.0]), np.array([0.8]), np.array([0.4])))
    assert claims_sent(partial(attacks.sign_flip, factor=2.0), claims) is claims


@given(
    factor=st.floats(1.0, 1e6),
    shots=st.floats(0, 1e6),
    contraction=st.floats(0, 1),
    quantum_fisher=st.floats(0, 1),
)
def test_inflated_claims_never_claim_less_nor_an_impossible_contraction(
    factor: float, shots: float, contraction: float, quantum_fisher: float
) -> None:
    claims = Claims(np.array([shots]), np.array([contraction]), np.array([quantum_fisher]))
    sent = inflate_claims(claims, factor=factor)
    assert sent.shots[0] == shots * factor
    assert sent.quantum_fisher[0] == quantum_fisher * factor
    assert contraction <= sent.contraction[0] <= 1
    assert sent.information[0] >= claims.information[0]


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(DomainError, match="own_updates"):
        attacks.none(BYZFL, 1, rng=rng())
    with pytest.raises(DomainError, match="own_updates"):
        attacks.sign_flip(BYZFL, 2, rng=rng(), own_updates=BYZFL, of="own")
    with pytest.raises(DomainError, match="`of`"):
        attacks.sign_flip(BYZFL, 2, rng=rng(), of="median")  # type: ignore[arg-type]
    for factor in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(DomainError, match="factor"):
            inflate_claims(Claims(np.ones(1), np.ones(1), np.ones(1)), factor=factor)
        with pytest.raises(DomainError, match="claim_factor"):
            attacks.inflated_claim(BYZFL, 1, rng=rng(), claim_factor=factor)
    for attack in ATTACKS.values():
        with pytest.raises(DomainError, match="knowledge"):
            attack(BYZFL, 1, rng=rng(), knowledge="none")
        with pytest.raises(DomainError, match="last_aggregate"):
            attack(BYZFL, 1, rng=rng(), last_aggregate=np.zeros(2))
        with pytest.raises(DomainError, match="honest_updates"):
            attack(np.zeros((0, 3)), 1, rng=rng(), own_updates=np.zeros((1, 3)))
        with pytest.raises(DomainError, match="n_byzantine"):
            attack(BYZFL, -1, rng=rng(), own_updates=np.zeros((1, 3)))
