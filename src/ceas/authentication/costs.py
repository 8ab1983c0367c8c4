"""What message authentication costs: key bits and pairs per training round, before anything is run.

Frames of the two directions of a link are counted together. Reliable broadcast without a disturbance sends one PROPOSE,
ECHO and READY each way, so 6; a digest-form broadcast followed by a TetraBFT decision would send 16.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from ceas.authentication.authenticator import ALARM_BAD_TAGS, forgery_bound
from ceas.authentication.keys import FiniteKey
from ceas.errors import DomainError
from ceas.physics import secret_key_fraction

__all__ = ["BROADCAST_FRAMES", "CostedProfile", "KeyCost", "key_cost", "run_forgery_bound"]

CostedProfile = Literal["its128", "its64", "seeded"]
BROADCAST_FRAMES: Final = 6
# Bits of a fresh pad for every frame; the 64-bit tag is costed only, there is no code that makes it.
_PAD_BITS: Final = {"its128": 128, "its64": 64}
_SEED_BITS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCost:
    """Key of one profile for a network in which every two nodes talk.

    Attributes:
        profile: `its128` (the profile `one_time`), `its64` or `seeded`.
        n_links: Pairs of nodes, each with key of its own.
        bits_per_link: Bits each uses in a training round.
        bits: Bits of all together.
        pairs: Bell pairs for them at the asymptotic rate; infinite where pairs give no key.
        pairs_in_blocks: Bell pairs for them at the rate of finite blocks; infinite where blocks give no key.
    """

    profile: CostedProfile
    n_links: int
    bits_per_link: float
    bits: float
    pairs: float
    pairs_in_blocks: float


def key_cost(
    profile: CostedProfile,
    n_nodes: int,
    *,
    fidelity: float = 0.95,
    frames_per_link: int = BROADCAST_FRAMES,
    reseed_rounds: int = 10,
    finite_key: FiniteKey = FiniteKey(),  # noqa: B008 - immutable
) -> KeyCost:
    """Return what a profile uses in one training round, in the mean over rounds.

    The hash keys of `its128` and `its64` are enrolled once and recycled, and not counted. `seeded` is counted for every
    two nodes; those without a link or a route never refresh theirs and use less.

    Args:
        profile: `its128`, `its64` or `seeded`.
        n_nodes: Nodes, at least 2.
        fidelity: Fidelity of the end-to-end Werner pairs, in [1/4, 1].
        frames_per_link: Frames on both directions of a link together in a training round, at least 1.
        reseed_rounds: Training rounds between two seeds of 256 bits, at least 1.
        finite_key: Blocks of pairs.

    Raises:
        DomainError: an argument is out of range.
    """
    if profile not in ("its128", "its64", "seeded"):
        raise DomainError(f"Argument `profile` must be one of its128, its64, seeded, but is {profile}.")
    for name, value, least in (
        ("n_nodes", n_nodes, 2),
        ("frames_per_link", frames_per_link, 1),
        ("reseed_rounds", reseed_rounds, 1),
    ):
        if value < least:
            raise DomainError(f"Argument `{name}` must be at least {least}, but is {value}.")
    if not 0.25 <= fidelity <= 1.0:
        raise DomainError(f"Argument `fidelity` must be in [0.25, 1], but is {fidelity}.")
    per_link = _SEED_BITS / reseed_rounds if profile == "seeded" else float(_PAD_BITS[profile] * frames_per_link)
    werner = (4.0 * fidelity - 1.0) / 3.0
    n_links = n_nodes * (n_nodes - 1) // 2
    in_blocks = finite_key.block_bits(werner, werner) / finite_key.block_pairs
    return KeyCost(
        profile=profile,
        n_links=n_links,
        bits_per_link=per_link,
        bits=n_links * per_link,
        pairs=_pairs(n_links * per_link, float(secret_key_fraction(werner))),
        pairs_in_blocks=_pairs(n_links * per_link, in_blocks),
    )


def run_forgery_bound(n_nodes: int, frame_bytes: int) -> float:
    """Return a bound on the chance that any forged frame is accepted in a run, of frames of at most `frame_bytes`.

    A receiver closes a direction after 16 bad tags, so there are no more than 16 attempts on each of n (n - 1)
    directions, and the bounds of single attempts add. What keys themselves may fail by comes on top: the security
    parameter of each block of pairs, and for `seeded` the advantage of a distinguisher for BLAKE2b.

    Raises:
        DomainError: `n_nodes` is below 2, or `frame_bytes` negative.
    """
    if n_nodes < 2:
        raise DomainError(f"Argument `n_nodes` must be at least 2, but is {n_nodes}.")
    return min(1.0, n_nodes * (n_nodes - 1) * ALARM_BAD_TAGS * forgery_bound(frame_bytes))


def _pairs(bits: float, rate: float) -> float:
    return bits / rate if rate > 0 else math.inf
