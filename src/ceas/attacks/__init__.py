"""What malicious nodes do: to updates, data, circuits, claims, messages, deadlines and pairs.

Every attack has the signature `attack(honest_updates, n_byzantine, *, rng, own_updates=None, ...) -> array`, see
`send`. An attack's parameters are its threat model; `docs/attacks.md` lists them all.
"""

from ceas.attacks.adaptive import line_search, opt_alie, opt_ipm, sleeper
from ceas.attacks.claims import Claims, falsify_claims, inflate_claims
from ceas.attacks.conduct import (
    ATTACKS,
    CircuitFault,
    Conduct,
    TestLie,
    circuit_fault,
    claims_sent,
    conduct_of,
    equivocation,
    inflated_claim,
    label_flip,
    pair_griefing,
    replay,
    with_false_claims,
    with_false_tests,
    withholding,
)
from ceas.attacks.envelopes import min_max, min_sum
from ceas.attacks.history import drift, mimic, relocated_orthogonal
from ceas.attacks.situation import Sent, Situation, UpdateAttack, send, update_attack
from ceas.attacks.updates import (
    a_little_is_enough,
    free_riding,
    gaussian,
    inner_product_manipulation,
    largest_hidden_deviation,
    malformed,
    none,
    sign_flip,
)

__all__ = [
    "ATTACKS",
    "CircuitFault",
    "Claims",
    "Conduct",
    "Sent",
    "Situation",
    "TestLie",
    "UpdateAttack",
    "a_little_is_enough",
    "circuit_fault",
    "claims_sent",
    "conduct_of",
    "drift",
    "equivocation",
    "falsify_claims",
    "free_riding",
    "gaussian",
    "inflate_claims",
    "inflated_claim",
    "inner_product_manipulation",
    "label_flip",
    "largest_hidden_deviation",
    "line_search",
    "malformed",
    "mimic",
    "min_max",
    "min_sum",
    "none",
    "opt_alie",
    "opt_ipm",
    "pair_griefing",
    "relocated_orthogonal",
    "replay",
    "send",
    "sign_flip",
    "sleeper",
    "update_attack",
    "with_false_claims",
    "with_false_tests",
    "withholding",
]
