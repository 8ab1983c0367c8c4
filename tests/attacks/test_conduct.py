"""Claims, conduct, users' own attacks, and what a run hands to an attack."""

import inspect
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas import attacks
from ceas.attacks import ATTACKS, CircuitFault, Claims, Conduct, Sent, claims_sent, conduct_of, falsify_claims, send
from ceas.attacks.situation import SUPPLIED
from ceas.errors import DomainError, UnknownNameError
from ceas.experiments import registry

FloatArray = NDArray[np.float64]

CLAIMS = Claims(shots=np.array([10.0]), contraction=np.array([0.4]), quantum_fisher=np.array([0.2]))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_table_of_scenarios_names_every_attack() -> None:
    assert registry.names("attack") == tuple(ATTACKS)
    assert registry.FAMILIES["attack"].supplied == set(SUPPLIED)
    for name, attack in ATTACKS.items():
        assert registry.resolve("attack", name) is attack
        assert attack.__doc__
        assert attack.__name__ == name
        assert list(inspect.signature(attack).parameters)[: len(SUPPLIED)] == list(SUPPLIED)


def test_a_scenario_cannot_set_what_the_run_supplies_nor_what_is_unknown() -> None:
    mistakes = registry.parameter_mistakes("attack", "mimic", {"rng": 1, "tarrget": 2, "warmup_rounds": 3})
    assert set(mistakes) == {"rng", "tarrget"}
    assert "`target`" in mistakes["tarrget"]


def test_lies() -> None:
    np.testing.assert_allclose(falsify_claims(CLAIMS, lie="inflated", factor=10.0), ([100.0], [1.0], [2.0]))
    np.testing.assert_allclose(falsify_claims(CLAIMS, lie="negative", factor=2.0), ([-20.0], [-0.8], [-0.4]))
    assert np.isnan(falsify_claims(CLAIMS, lie="not_a_number")).all()
    with pytest.raises(DomainError, match="lie"):
        falsify_claims(CLAIMS, lie="white")  # type: ignore[arg-type]


def test_any_attack_goes_with_false_claims() -> None:
    honest, own = np.random.default_rng(1).normal(size=(8, 4)), np.ones((3, 4))
    given: dict[str, Any] = {
        "own_updates": own,
        "aggregate": lambda rows: np.median(rows, axis=0),
        "last_aggregate": honest[1],
        "training_round": 3,
        "rounds": 4,
    }
    for name, attack in ATTACKS.items():
        if name == "with_false_claims":
            continue
        for knowledge in ("all", "own"):
            lying = partial(attacks.with_false_claims, attack=name, lie="negative", claim_factor=2.0)
            both = [send(partial(one, knowledge=knowledge), honest, 3, rng=rng(), **given) for one in (attack, lying)]
            np.testing.assert_array_equal(both[0].updates, both[1].updates)
            assert both[0].memory.keys() == both[1].memory.keys()
        np.testing.assert_allclose(claims_sent(lying, CLAIMS), falsify_claims(CLAIMS, lie="negative", factor=2.0))
        assert conduct_of(lying) == conduct_of(attack)


def test_conduct() -> None:
    honest = {name for name, attack in ATTACKS.items() if conduct_of(attack) == Conduct()}
    on_messages = {"equivocation", "replay"}
    others = {"label_flip", "circuit_fault", "withholding", "pair_griefing", "with_false_tests"}
    assert set(ATTACKS) - honest == others | on_messages
    assert {name for name, attack in ATTACKS.items() if conduct_of(attack).tampers_with_messages} == on_messages
    assert conduct_of(attacks.label_flip).flips_labels
    assert conduct_of(attacks.withholding).withholds
    assert conduct_of(attacks.pair_griefing).wastes_pairs
    fault = partial(attacks.circuit_fault, operation="bit_flip", place="output")
    assert conduct_of(fault).circuit_fault == CircuitFault("bit_flip", "output")
    nested = partial(attacks.with_false_claims, attack="circuit_fault", attack_parameters={"operation": "sign_flip"})
    assert conduct_of(nested).circuit_fault == CircuitFault("sign_flip", "input")
    assert conduct_of(own_attack) == Conduct()
    with pytest.raises(UnknownNameError):
        conduct_of(partial(attacks.with_false_claims, attack="nothing"))
    with pytest.raises(DomainError, match="no parameter `w`"):
        conduct_of(partial(attacks.with_false_claims, attack="drift", attack_parameters={"w": 1}))


def test_lies_in_tests_go_with_any_attack_and_know_their_share() -> None:
    assert conduct_of(attacks.with_false_tests) == Conduct(test_lie="vouch")
    denying = partial(attacks.with_false_tests, attack="label_flip", lie="deny", share=0.25)
    assert conduct_of(denying) == Conduct(test_lie="deny", ruined_share=0.25, flips_labels=True)
    nested = partial(attacks.with_false_claims, attack="with_false_tests", attack_parameters={"lie": "refuse"})
    assert conduct_of(nested) == Conduct(test_lie="refuse")
    for parameters, name in (({"lie": "white"}, "lie"), ({"share": 1.5}, "share")):
        with pytest.raises(DomainError, match=name):
            conduct_of(partial(attacks.with_false_tests, **parameters))
        with pytest.raises(DomainError, match=name):
            attacks.with_false_tests(np.ones((4, 2)), 1, rng=rng(), **parameters)


@pytest.mark.parametrize("carrier", [attacks.equivocation, attacks.replay, attacks.with_false_tests])
def test_attacks_on_messages_carry_any_other_and_its_lies(carrier: Any) -> None:
    honest = np.random.default_rng(1).normal(size=(8, 4))
    flipping = send(partial(carrier, attack="sign_flip"), honest, 2, rng=rng())
    np.testing.assert_array_equal(flipping.updates, send(attacks.sign_flip, honest, 2, rng=rng()).updates)
    lying = partial(carrier, attack="inflated_claim", attack_parameters={"claim_factor": 2.0})
    np.testing.assert_allclose(claims_sent(lying, CLAIMS), falsify_claims(CLAIMS, lie="inflated", factor=2.0))
    assert conduct_of(partial(carrier, attack="label_flip")).flips_labels


def test_attacks_that_carry_others_make_one_chain_that_holds_them_all_and_no_circle() -> None:
    names = ["with_false_claims", "with_false_tests", "replay", "equivocation"]
    for outer, inner in product(names, repeat=2):
        carrying = partial(attacks.ATTACKS[outer], attack=inner)
        if names.index(inner) > names.index(outer):
            conduct_of(carrying)
        else:
            with pytest.raises(UnknownNameError):
                conduct_of(carrying)
    chain: dict[str, Any] = {"attack": "label_flip"}
    for name, own in (("equivocation", {"share": 0.6}), ("replay", {}), ("with_false_tests", {"lie": "deny"})):
        chain = {"attack": name, "attack_parameters": own | chain}
    conduct = conduct_of(partial(attacks.with_false_claims, **chain))
    assert (conduct.equivocation_share, conduct.replays, conduct.test_lie) == (0.6, True, "deny")
    assert conduct.flips_labels


def test_equivocators_tell_one_version_to_half_or_more() -> None:
    assert conduct_of(attacks.equivocation).equivocation_share == 0.5
    assert conduct_of(partial(attacks.equivocation, share=0.8)).equivocation_share == 0.8
    for share in (0.4, 1.1, float("nan")):
        with pytest.raises(DomainError, match="share"):
            conduct_of(partial(attacks.equivocation, share=share))
        with pytest.raises(DomainError, match="share"):
            attacks.equivocation(np.ones((4, 2)), 1, rng=rng(), share=share)


def own_attack(
    honest_updates: Any, n_byzantine: int, *, rng: np.random.Generator, own_updates: Any = None
) -> FloatArray:
    return np.full((n_byzantine, honest_updates.shape[1]), 7.0)


def remembering_attack(honest_updates: Any, n_byzantine: int, *, memory: Any, **others: Any) -> Sent:
    count = memory.get("count", np.array(0)) + 1
    assert {"rng", "aggregate", "training_round", "rounds", "last_aggregate"} <= set(others)
    return Sent(np.full((n_byzantine, 2), float(count)), {"count": count})


def test_users_attacks_get_what_they_take_and_may_remember() -> None:
    offered: dict[str, Any] = dict.fromkeys(SUPPLIED[3:]) | {"rng": rng(), "memory": {}}
    sent = send(own_attack, np.zeros((4, 2)), 3, **offered)
    np.testing.assert_array_equal(sent.updates, np.full((3, 2), 7.0))
    assert sent.memory == {}
    for count in (1, 2):
        sent = send(remembering_attack, np.zeros((4, 2)), 3, **offered)  # type: ignore[arg-type]
        offered["memory"] = sent.memory
        np.testing.assert_array_equal(sent.updates, np.full((3, 2), count))
    with pytest.raises(DomainError, match="shape"):
        send(lambda *_, **__: np.zeros((1, 1)), np.zeros((4, 2)), 3, **offered)
