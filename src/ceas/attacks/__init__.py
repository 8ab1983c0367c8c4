"""What malicious nodes do to updates and claims. An attack's parameters are its threat model."""

from ceas.attacks.claims import Claims, inflate_claims
from ceas.attacks.updates import (
    UpdateAttack,
    a_little_is_enough,
    claims_sent,
    inflated_claim,
    inner_product_manipulation,
    none,
    sign_flip,
)

__all__ = [
    "Claims",
    "UpdateAttack",
    "a_little_is_enough",
    "claims_sent",
    "inflate_claims",
    "inflated_claim",
    "inner_product_manipulation",
    "none",
    "sign_flip",
]
