"""Quantum protocols of agreement, off the training path: what they need, when they fail, and what they cost.

Detectable agreement from EPR pairs, weak broadcast from four-qubit states and the GHZ coin, each played bit by bit with
noisy pairs and with faulty players, beside their closed forms; and the pairs of a decision beside TetraBFT's.
docs/qdba.md has the rules, the assumptions and what was measured.
"""

from ceas.qdba.cost import DecisionCost as DecisionCost
from ceas.qdba.cost import coin_cost as coin_cost
from ceas.qdba.cost import epr_cost as epr_cost
from ceas.qdba.cost import tetrabft_cost as tetrabft_cost
from ceas.qdba.cost import tetrabft_frames as tetrabft_frames
from ceas.qdba.cost import weak_broadcast_cost as weak_broadcast_cost
from ceas.qdba.epr_agreement import EPR_STRATEGIES as EPR_STRATEGIES
from ceas.qdba.epr_agreement import EprRules as EprRules
from ceas.qdba.epr_agreement import EprTally as EprTally
from ceas.qdba.epr_agreement import balanced_forgery_probability as balanced_forgery_probability
from ceas.qdba.epr_agreement import epr_acceptance_probability as epr_acceptance_probability
from ceas.qdba.epr_agreement import epr_forgery_probability as epr_forgery_probability
from ceas.qdba.epr_agreement import published_epr_rules as published_epr_rules
from ceas.qdba.epr_agreement import simulate_epr as simulate_epr
from ceas.qdba.epr_agreement import simulate_epr_collusion as simulate_epr_collusion
from ceas.qdba.epr_agreement import size_epr as size_epr
from ceas.qdba.epr_agreement import tolerant_epr_rules as tolerant_epr_rules
from ceas.qdba.ghz_coin import GHZ_COIN_STRATEGIES as GHZ_COIN_STRATEGIES
from ceas.qdba.ghz_coin import CoinTally as CoinTally
from ceas.qdba.ghz_coin import coin_agreement_bound as coin_agreement_bound
from ceas.qdba.ghz_coin import coin_number_bits as coin_number_bits
from ceas.qdba.ghz_coin import coin_pairs as coin_pairs
from ceas.qdba.ghz_coin import coin_unique_leader_bound as coin_unique_leader_bound
from ceas.qdba.ghz_coin import coin_unique_leader_probability as coin_unique_leader_probability
from ceas.qdba.ghz_coin import simulate_ghz_coin as simulate_ghz_coin
from ceas.qdba.pairs import Rate as Rate
from ceas.qdba.pairs import flip_probability as flip_probability
from ceas.qdba.study import PROTOCOLS as PROTOCOLS
from ceas.qdba.study import compare_costs as compare_costs
from ceas.qdba.study import measure_protocol as measure_protocol
from ceas.qdba.weak_broadcast import WEAK_BROADCAST_STRATEGIES as WEAK_BROADCAST_STRATEGIES
from ceas.qdba.weak_broadcast import WeakBroadcastRules as WeakBroadcastRules
from ceas.qdba.weak_broadcast import WeakBroadcastTally as WeakBroadcastTally
from ceas.qdba.weak_broadcast import simulate_weak_broadcast as simulate_weak_broadcast
from ceas.qdba.weak_broadcast import size_weak_broadcast as size_weak_broadcast
from ceas.qdba.weak_broadcast import weak_broadcast_honest_failure as weak_broadcast_honest_failure
from ceas.qdba.weak_broadcast import weak_broadcast_receiver_failure as weak_broadcast_receiver_failure
from ceas.qdba.weak_broadcast import weak_broadcast_sender_failure as weak_broadcast_sender_failure
from ceas.qdba.weak_broadcast import weak_broadcast_sender_success as weak_broadcast_sender_success

__all__ = [
    "EPR_STRATEGIES",
    "GHZ_COIN_STRATEGIES",
    "PROTOCOLS",
    "WEAK_BROADCAST_STRATEGIES",
    "CoinTally",
    "DecisionCost",
    "EprRules",
    "EprTally",
    "Rate",
    "WeakBroadcastRules",
    "WeakBroadcastTally",
    "balanced_forgery_probability",
    "coin_agreement_bound",
    "coin_cost",
    "coin_number_bits",
    "coin_pairs",
    "coin_unique_leader_bound",
    "coin_unique_leader_probability",
    "compare_costs",
    "epr_acceptance_probability",
    "epr_cost",
    "epr_forgery_probability",
    "flip_probability",
    "measure_protocol",
    "published_epr_rules",
    "simulate_epr",
    "simulate_epr_collusion",
    "simulate_ghz_coin",
    "simulate_weak_broadcast",
    "size_epr",
    "size_weak_broadcast",
    "tetrabft_cost",
    "tetrabft_frames",
    "tolerant_epr_rules",
    "weak_broadcast_cost",
    "weak_broadcast_honest_failure",
    "weak_broadcast_receiver_failure",
    "weak_broadcast_sender_failure",
    "weak_broadcast_sender_success",
]
