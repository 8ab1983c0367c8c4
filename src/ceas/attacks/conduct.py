"""Attacks that do more than choose an update: on data, circuits, claims, messages, deadlines and pairs.

Such an attack says what the attackers do with their own hands (`conduct_of`) and what they claim (`claims_sent`); the
runtime carries it out. Called as an attack on updates, it returns what they then send.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ceas.attacks.adaptive import opt_alie, opt_ipm, sleeper
from ceas.attacks.claims import CLAIM_FACTOR, Claims, Lie, falsify_claims
from ceas.attacks.envelopes import min_max, min_sum
from ceas.attacks.history import drift, mimic, relocated_orthogonal
from ceas.attacks.situation import Sent, Situation, UpdateAttack, own_parameters, send, unbound, update_attack
from ceas.attacks.updates import (
    a_little_is_enough,
    free_riding,
    gaussian,
    inner_product_manipulation,
    malformed,
    none,
    sign_flip,
)
from ceas.errors import DomainError, UnknownNameError

__all__ = [
    "ATTACKS",
    "CircuitFault",
    "Conduct",
    "Operation",
    "Place",
    "TestLie",
    "circuit_fault",
    "claims_sent",
    "conduct_of",
    "equivocation",
    "inflated_claim",
    "label_flip",
    "pair_griefing",
    "replay",
    "with_false_claims",
    "with_false_tests",
    "withholding",
]

FloatArray = NDArray[np.float64]

Operation = Literal["bit_flip", "sign_flip", "pauli", "grover_diffusion"]
"""X on every qubit, Z on every qubit, a random Pauli operator X, Y or Z on each, or the reflection about uniformity."""

Place = Literal["input", "output"]
"""Right after the data were encoded, or right before the measurement."""


TestLie = Literal["vouch", "guess", "refuse", "deny", "mix", "ruin"]
"""What a lying end of a link with an honest one does to joint tests; between themselves, liars always vouch.

`vouch`: nothing else. `guess`: it announces outcomes that it did not measure. `refuse`: it does not open its part of
the coin or its outcomes, so that every test fails. `deny`: it says of a share of the pairs that it does not hold them.
`mix`: it ruins a share of the pairs before the tests are drawn. `ruin`: it ruins a share of those that are left when
the tests are drawn, which no test can see.
"""


class CircuitFault(NamedTuple):
    """Operations that attackers add to their own circuits.

    Attributes:
        operation: What is added.
        place: Where.
    """

    operation: Operation
    place: Place


class Conduct(NamedTuple):
    """What attackers do besides choosing updates and claims; by default what honest nodes do.

    Attributes:
        flips_labels: Whether they train on the labels C - 1 - y.
        circuit_fault: What they add to their circuits.
        wastes_pairs: Whether they take their Bell pairs and run no shots with them.
        withholds: Whether their updates never arrive.
        equivocation_share: Share of the honest nodes that get one version of their messages, while the others get
            another; None if all get the same.
        replays: Whether they send frames again: their own, those of the last round, and those of others.
        test_lie: What they do to joint tests and to the pairs of their links with honest nodes; None for nothing.
        ruined_share: Share of the pairs that they deny, or ruin.
    """

    flips_labels: bool = False
    circuit_fault: CircuitFault | None = None
    wastes_pairs: bool = False
    withholds: bool = False
    equivocation_share: float | None = None
    replays: bool = False
    test_lie: TestLie | None = None
    ruined_share: float = 0.0

    @property
    def tampers_with_messages(self) -> bool:
        """Whether the exchange itself differs from that of honest nodes."""
        return self.replays or self.equivocation_share is not None


@update_attack
def label_flip(situation: Situation, *, of: Literal["own", "mean"] = "own") -> FloatArray:
    """Train honestly on wrong labels, C - 1 - y for y, and send each attacker's own update or their mean.

    Source:
        Own updates: Karimireddy, He and Jaggi, ICLR 2022, arXiv 2006.09365. All send the mean: ByzFL, arXiv 2505.24802,
        there of the honest nodes' samples; attackers here have only their own.
    """
    if of not in ("own", "mean"):
        raise DomainError(f"Argument `of` must be `own` or `mean`, but is {of!r}.")
    own = situation.own_updates()
    return own if of == "own" else own.mean(axis=0)


@update_attack
def circuit_fault(situation: Situation, *, operation: Operation = "pauli", place: Place = "input") -> FloatArray:
    """Train honestly with operations added to the attackers' own circuits, and send what that gives.

    Args:
        situation: What the attackers know.
        operation: `bit_flip`, `sign_flip`, `pauli` or `grover_diffusion`, see `Operation`.
        place: `input` or `output`. A sign flip at the output changes no outcome. The diffusion is at the output only.

    Raises:
        DomainError: The operation, the place, or the two together are not known.

    Source:
        Kinds of operations: CULT, arXiv 2605.27416, of which the abstract was read; where they insert them is not known
        to us.
    """
    _checked_fault(operation, place)
    return situation.own_updates()


@update_attack
def withholding(situation: Situation) -> FloatArray:
    """Do all work and let the update arrive after the deadline, so that it counts as missing."""
    return situation.own_updates()


@update_attack
def pair_griefing(situation: Situation) -> FloatArray:
    """Accept Bell pairs and never use them: no shots, no information, and the empty momentum as update."""
    return situation.own_updates()


@update_attack
def inflated_claim(situation: Situation, *, factor: float = 1.0, claim_factor: float = CLAIM_FACTOR) -> FloatArray:
    """Send inner product manipulation together with claims `claim_factor` times too high; see `claims_sent`.

    A rule that believes the claims takes the attackers' word for the whole direction, so that the inner product turns
    negative whatever the factor. A factor of 1 keeps the length of an honest update, which no gate on norms sees.

    Raises:
        DomainError: The claim factor is not positive and finite.
    """
    if not 0 < claim_factor < float("inf"):
        raise DomainError(f"Argument `claim_factor` must be positive and finite, but is {claim_factor}.")
    return -factor * situation.mean


@update_attack
def with_false_claims(
    situation: Situation,
    *,
    attack: str = "a_little_is_enough",
    lie: Lie = "inflated",
    claim_factor: float = CLAIM_FACTOR,
    attack_parameters: Mapping[str, Any] | None = None,
) -> Sent:
    """Send any other attack of this package together with false claims; see `claims_sent`.

    Args:
        situation: What the attackers know.
        attack: Name of the attack, with its own claims replaced.
        lie: `inflated`, `negative` or `not_a_number`. Who sends one of the last two is not heard: honest nodes do not
            pass it on.
        claim_factor: Inflation.
        attack_parameters: Parameters of the attack.

    Raises:
        UnknownNameError: There is no such attack.
        DomainError: The lie is not known, the factor is not positive and finite, or a parameter is not the attack's.
    """
    falsify_claims(Claims(*(np.zeros(1) for _ in Claims._fields)), lie=lie, factor=claim_factor)
    return _sent_by(_inner_attack("with_false_claims", attack, attack_parameters), situation)


@update_attack
def equivocation(
    situation: Situation,
    *,
    attack: str = "a_little_is_enough",
    share: float = 0.5,
    attack_parameters: Mapping[str, Any] | None = None,
) -> Sent:
    """Send another version of the update to some nodes, and vote for each version where it was sent.

    The second version differs in the last digit of one parameter: what it says does not matter, since no version that
    less than a quorum was told can be delivered.

    Args:
        situation: What the attackers know.
        attack: Name of the attack that makes the first version.
        share: Share of the honest nodes that get the first version, rounded up, in [0.5, 1].
        attack_parameters: Parameters of the attack.

    Raises:
        UnknownNameError: There is no such attack.
        DomainError: The share is out of range, or a parameter is not the attack's.
    """
    _checked_share(share)
    return _sent_by(_inner_attack("equivocation", attack, attack_parameters), situation)


@update_attack
def replay(
    situation: Situation, *, attack: str = "a_little_is_enough", attack_parameters: Mapping[str, Any] | None = None
) -> Sent:
    """Send every frame twice, and with it a proposal of the last round and a frame of an honest node.

    Args:
        situation: What the attackers know.
        attack: Name of the attack that makes the update.
        attack_parameters: Parameters of the attack.

    Raises:
        UnknownNameError: There is no such attack.
        DomainError: A parameter is not the attack's.
    """
    return _sent_by(_inner_attack("replay", attack, attack_parameters), situation)


@update_attack
def with_false_tests(
    situation: Situation,
    *,
    attack: str = "a_little_is_enough",
    lie: TestLie = "vouch",
    share: float = 0.5,
    attack_parameters: Mapping[str, Any] | None = None,
) -> Sent:
    """Send any other attack's updates, and lie in the joint tests of the attackers' links.

    Args:
        situation: What the attackers know.
        attack: Name of the attack that makes the update.
        lie: What they do, see `TestLie`.
        share: Share of the pairs that are denied, or ruined, in [0, 1]; of no meaning to the other lies.
        attack_parameters: Parameters of the attack.

    Raises:
        UnknownNameError: There is no such attack.
        DomainError: The lie is not known, the share is out of range, or a parameter is not the attack's.
    """
    _checked_lie(lie, share)
    return _sent_by(_inner_attack("with_false_tests", attack, attack_parameters), situation)


ATTACKS: dict[str, Callable[..., FloatArray]] = {
    "none": none,
    "sign_flip": sign_flip,
    "inner_product_manipulation": inner_product_manipulation,
    "a_little_is_enough": a_little_is_enough,
    "min_max": min_max,
    "min_sum": min_sum,
    "mimic": mimic,
    "gaussian": gaussian,
    "relocated_orthogonal": relocated_orthogonal,
    "drift": drift,
    "sleeper": sleeper,
    "malformed": malformed,
    "opt_alie": opt_alie,
    "opt_ipm": opt_ipm,
    "free_riding": free_riding,
    "label_flip": label_flip,
    "circuit_fault": circuit_fault,
    "inflated_claim": inflated_claim,
    "with_false_claims": with_false_claims,
    "withholding": withholding,
    "pair_griefing": pair_griefing,
    "equivocation": equivocation,
    "replay": replay,
    "with_false_tests": with_false_tests,
}
"""Every attack by its name."""

# Attacks that carry another one: any, and of these those that come later, so that one chain may hold them all.
_CARRIERS = {
    "with_false_claims": with_false_claims,
    "with_false_tests": with_false_tests,
    "replay": replay,
    "equivocation": equivocation,
}


def claims_sent(attack: UpdateAttack, own_claims: Claims) -> Claims:
    """Return the claims that go with an attack: false for those that lie about them, the true ones for all others.

    Args:
        attack: An attack of this package, or a `functools.partial` of it that binds its parameters.
        own_claims: The attackers' true claims, arrays of shape (n_byzantine,).
    """
    target, bound = unbound(attack)
    factor = bound.get("claim_factor", CLAIM_FACTOR)
    if target is inflated_claim:
        return falsify_claims(own_claims, lie="inflated", factor=factor)
    if target is with_false_claims:
        return falsify_claims(own_claims, lie=bound.get("lie", "inflated"), factor=factor)
    carried = _carried(target, bound)
    return own_claims if carried is None else claims_sent(carried, own_claims)


def conduct_of(attack: UpdateAttack) -> Conduct:
    """Return what the attackers do besides choosing updates and claims.

    Args:
        attack: An attack of this package, or a `functools.partial` of it that binds its parameters; a user's own
            attack does nothing else.

    Raises:
        DomainError: A bound parameter is not known.
        UnknownNameError: The attack that another one carries is not known.
    """
    target, bound = unbound(attack)
    carried = _carried(target, bound)
    if carried is not None:
        conduct = conduct_of(carried)
        if target is equivocation:
            return conduct._replace(equivocation_share=_checked_share(bound.get("share", 0.5)))
        if target is with_false_tests:
            lie, share = _checked_lie(bound.get("lie", "vouch"), bound.get("share", 0.5))
            return conduct._replace(test_lie=lie, ruined_share=share)
        return conduct._replace(replays=True) if target is replay else conduct
    if target is circuit_fault:
        fault = _checked_fault(bound.get("operation", "pauli"), bound.get("place", "input"))
        return Conduct(circuit_fault=fault)
    return Conduct(
        flips_labels=target is label_flip, wastes_pairs=target is pair_griefing, withholds=target is withholding
    )


def _carried(target: Any, bound: Mapping[str, Any]) -> UpdateAttack | None:
    """Return the attack that an attack carries, None if it carries none."""
    carrier = next((name for name, known in _CARRIERS.items() if target is known), None)
    if carrier is None:
        return None
    return _inner_attack(carrier, bound.get("attack", "a_little_is_enough"), bound.get("attack_parameters"))


def _inner_attack(carrier: str, name: str, parameters: Mapping[str, Any] | None) -> Callable[..., FloatArray]:
    carriers = list(_CARRIERS)
    excluded = carriers[: carriers.index(carrier) + 1]
    allowed = [known for known in ATTACKS if known not in excluded]
    if name not in allowed:
        raise UnknownNameError("attack", name, allowed)
    parameters = parameters or {}
    unknown = set(parameters) - set(own_parameters(ATTACKS[name])) | ({"knowledge"} & set(parameters))
    if unknown:
        raise DomainError(f"Attack `{name}` has no parameter `{sorted(unknown)[0]}`.")
    return partial(ATTACKS[name], **parameters)


def _sent_by(attack: Callable[..., FloatArray], situation: Situation) -> Sent:
    """Return what an attack sends in the situation of the one that carries it."""
    return send(
        partial(attack, knowledge=situation.knowledge),
        situation.honest,
        situation.n_byzantine,
        rng=situation.rng,
        own_updates=situation.own,
        aggregate=situation.aggregate,
        last_aggregate=situation.last_aggregate,
        memory=situation.memory,
        training_round=situation.training_round,
        rounds=situation.rounds,
    )


def _checked_share(share: float) -> float:
    if not 0.5 <= share <= 1:
        raise DomainError(f"Argument `share` must be in [0.5, 1], but is {share}.")
    return share


def _checked_lie(lie: TestLie, share: float) -> tuple[TestLie, float]:
    """Return the lie, and the share of pairs where it is one about pairs, else 0."""
    if lie not in get_args(TestLie):
        raise DomainError(f"Argument `lie` must be one of {', '.join(get_args(TestLie))}, but is {lie!r}.")
    if not 0 <= share <= 1:
        raise DomainError(f"Argument `share` must be in [0, 1], but is {share}.")
    return lie, share if lie in ("deny", "mix", "ruin") else 0.0


def _checked_fault(operation: Operation, place: Place) -> CircuitFault:
    if operation not in get_args(Operation):
        raise DomainError(
            f"Argument `operation` must be one of {', '.join(get_args(Operation))}, but is {operation!r}."
        )
    if place not in get_args(Place):
        raise DomainError(f"Argument `place` must be `input` or `output`, but is {place!r}.")
    if operation == "grover_diffusion" and place != "output":
        raise DomainError("Argument `place` must be `output` for `grover_diffusion`, but is `input`.")
    return CircuitFault(operation, place)
