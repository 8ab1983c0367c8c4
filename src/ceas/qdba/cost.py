"""Pairs per decision: the quantum protocols beside TetraBFT over links authenticated with keys from the same pairs.

TetraBFT needs n >= 3f+1 nodes and authentic channels. A frame is sent to every other node in each of its steps
(VOTE1 to VOTE4 and DEC), and one proposal by the leader: 5 n(n-1) + (n-1) frames for a decision; with the reliable
broadcast of the data (GRAD, ECHO, READY) three more steps. A frame costs one pad of its one-time tag. It decides one
value of any length: a tag covers the whole frame.

The quantum protocols decide one bit among three players. Their classical messages need authentic channels too, and the
lists of EPR agreement and weak broadcast secret ones until all are sent; both are paid at the same price, one pad a
frame and one bit of key a bit of list.

Key is counted at the asymptotic BBM92 rate (`ceas.authentication.pairs_for_key`); short blocks cost more. Pairs for
tests of the states are not counted for anyone.
"""

import math
from dataclasses import dataclass
from typing import Final

from ceas.authentication import pairs_for_key
from ceas.errors import DomainError
from ceas.physics import fidelity_to_werner
from ceas.qdba.epr_agreement import EprRules
from ceas.qdba.ghz_coin import coin_pairs
from ceas.qdba.pairs import require_whole
from ceas.qdba.weak_broadcast import PAIRS_PER_STATE, WeakBroadcastRules

__all__ = [
    "TAG_KEY_BITS",
    "DecisionCost",
    "coin_cost",
    "epr_cost",
    "tetrabft_cost",
    "tetrabft_frames",
    "weak_broadcast_cost",
]

# Fresh key of one frame: a 128-bit tag, and a 64-bit one.
TAG_KEY_BITS: Final = {"its128": 128, "its64": 64}
_SEED_BITS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCost:
    """What one decision uses up.

    Attributes:
        protocol: Name.
        players: Players n.
        faults: Faulty players f that it is meant for.
        state_pairs: Pairs in the protocol's own states.
        key_bits: Secret bits for tags, and for lists that have to be secret.
        pairs: State pairs, and pairs for the key at the given fidelity; infinite where no key can be made.
        decides: What one decision decides.
    """

    protocol: str
    players: int
    faults: int
    state_pairs: int
    key_bits: int
    pairs: float
    decides: str


def tetrabft_frames(nodes: int, *, with_data: bool = False) -> int:
    """Return the frames of one good-case decision, each link counted once a step and direction.

    Raises:
        DomainError: There are fewer than 4 nodes.
    """
    require_whole("nodes", nodes, 4)
    steps = 8 if with_data else 5
    return steps * nodes * (nodes - 1) + nodes - 1


def tetrabft_cost(nodes: int, fidelity: float, profile: str, *, with_data: bool = False) -> DecisionCost:
    """Return the cost of one decision of TetraBFT under an authentication profile.

    Args:
        nodes: Nodes n, at least 4; f = (n-1)//3.
        fidelity: Fidelity of the pairs that keys are made of, in [1/4, 1].
        profile: `its128` or `its64` (one pad a frame), or `qkd_seeded` (256 bits a link, which last for many decisions
            and rest on a computational assumption; counted in full for one).
        with_data: Whether the reliable broadcast of every node's data is counted as well.

    Raises:
        DomainError: An argument is outside its range or there is no such profile.
    """
    frames = tetrabft_frames(nodes, with_data=with_data)
    if profile in TAG_KEY_BITS:
        bits = frames * TAG_KEY_BITS[profile]
    elif profile == "qkd_seeded":
        bits = _SEED_BITS * nodes * (nodes - 1) // 2
    else:
        raise DomainError(f"Argument `profile` must be one of its128, its64, qkd_seeded, but is {profile!r}.")
    name = f"TetraBFT{' with data' if with_data else ''}, {profile}"
    return _cost(name, nodes, (nodes - 1) // 3, 0, bits, fidelity, "a value of any length")


def epr_cost(rules: EprRules, fidelity: float, name: str = "EPR agreement") -> DecisionCost:
    """Return the cost of one bit of EPR agreement among three players.

    2m pairs; four frames; two lists of the commander, each of m places with one bit that says whether the place is in
    the list and one for the other's bit, as one-time pads do not shorten what they hide.
    """
    bits = 4 * TAG_KEY_BITS["its128"] + 2 * 2 * rules.tuples
    return _cost(name, 3, 1, 2 * rules.tuples, bits, fidelity, "one bit")


def weak_broadcast_cost(rules: WeakBroadcastRules, fidelity: float) -> DecisionCost:
    """Return the cost of one bit of weak broadcast: two pairs a state, three frames, lists of places that may be read.

    S's lists need no secrecy: they say where S has 3x, and with it the receivers' bits, to R0 and R1 alike.
    """
    bits = 3 * TAG_KEY_BITS["its128"]
    return _cost("weak broadcast", 3, 1, PAIRS_PER_STATE * rules.states, bits, fidelity, "one bit, or nothing")


def coin_cost(players: int, fidelity: float) -> DecisionCost:
    """Return the cost of one toss of the fail-stop coin; it sends no classical message."""
    return _cost("GHZ coin, fail-stop", players, (players - 1) // 3, coin_pairs(players), 0, fidelity, "one random bit")


def _cost(  # noqa: PLR0917 - the fields of one row, in their order
    protocol: str, players: int, faults: int, state_pairs: int, key_bits: int, fidelity: float, decides: str
) -> DecisionCost:
    if not 0.25 <= fidelity <= 1.0:
        raise DomainError(f"Argument `fidelity` must be in [0.25, 1], but is {fidelity:g}.")
    key_pairs = pairs_for_key(key_bits, float(fidelity_to_werner(fidelity))) if key_bits else 0.0
    return DecisionCost(
        protocol=protocol,
        players=players,
        faults=faults,
        state_pairs=state_pairs,
        key_bits=key_bits,
        pairs=state_pairs + (math.ceil(key_pairs) if math.isfinite(key_pairs) else math.inf),
        decides=decides,
    )
