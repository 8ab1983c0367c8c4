"""What message authentication costs: key bits, pairs and bytes per training round, before anything is run.

Frames of the two directions of a link are counted together. Reliable broadcast without a disturbance sends one PROPOSE,
ECHO and READY each way, so 6; a digest-form broadcast followed by a TetraBFT decision sends 16, and the leader's
proposal on its own links.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ceas.authentication.keys import FiniteKey
from ceas.authentication.profiles import PROFILES, Profile, forgery_bound, require_profile
from ceas.errors import DomainError
from ceas.physics import secret_key_fraction

__all__ = ["LAYOUTS", "ROUND_FRAMES", "KeyCost", "key_cost", "layout_frames", "run_forgery_bound"]

ROUND_FRAMES: Final = 16
"""Frames on both directions of a link in an undisturbed training round, the leader's proposal left out."""
_SEED_BITS: Final = 256

LAYOUTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "message": "a tag for every protocol message",
        "step": "a tag for every step, with all messages of the step in one frame: what the protocol sends",
        "joined": "the same, with a round's decision in the frame of the next update",
        "short": "as joined, with five steps: update, echo, three votes, as fast paths might; there is no code for it",
        "round": "one tag a direction for all of a round, checked when it is over: too late to agree within it",
    }
)
"""Ways to put the messages of a training round into frames, from the most tags to the fewest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCost:
    """Key and tags of one profile for a network in which every two nodes talk, in a training round.

    Attributes:
        profile: Authentication profile.
        n_links: Pairs of nodes, each with key of its own.
        bits_per_link: Bits each uses.
        bits: Bits of all together.
        pairs: Bell pairs for them at the asymptotic rate; infinite where pairs give no key.
        pairs_in_blocks: Bell pairs for them at the rate of finite blocks; infinite where blocks give no key.
        tag_bytes_per_link: Bytes of tags or signatures that each carries.
        tag_bytes: Bytes of all together.
    """

    profile: Profile
    n_links: int
    bits_per_link: float
    bits: float
    pairs: float
    pairs_in_blocks: float
    tag_bytes_per_link: float
    tag_bytes: float


def key_cost(
    profile: Profile,
    n_nodes: int,
    *,
    fidelity: float = 0.95,
    frames_per_link: float = ROUND_FRAMES,
    reseed_rounds: int = 10,
    finite_key: FiniteKey = FiniteKey(),  # noqa: B008 - immutable
) -> KeyCost:
    """Return what a profile uses in one training round, in the mean over rounds.

    The hash keys of `its128` and `its64` are enrolled once and recycled, and not counted. `qkd_seeded` is counted for
    every two nodes; those without a link or a route never refresh theirs and use less. `ml_dsa` uses no key bits.

    Args:
        profile: Authentication profile.
        n_nodes: Nodes, at least 2.
        fidelity: Fidelity of the end-to-end Werner pairs, in [1/4, 1].
        frames_per_link: Frames on both directions of a link together in a training round, at least 1; a mean over
            links (`layout_frames`) need not be whole.
        reseed_rounds: Training rounds between two seeds of 256 bits, at least 1.
        finite_key: Blocks of pairs.

    Raises:
        DomainError: an argument is out of range.
    """
    facts = require_profile(profile)
    for name, value, least in (
        ("n_nodes", n_nodes, 2),
        ("frames_per_link", frames_per_link, 1),
        ("reseed_rounds", reseed_rounds, 1),
    ):
        if value < least:
            raise DomainError(f"Argument `{name}` must be at least {least}, but is {value}.")
    if not 0.25 <= fidelity <= 1.0:
        raise DomainError(f"Argument `fidelity` must be in [0.25, 1], but is {fidelity}.")
    per_link = _SEED_BITS / reseed_rounds if profile == "qkd_seeded" else float(facts.pad_bits * frames_per_link)
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
        tag_bytes_per_link=facts.tag_bytes * frames_per_link,
        tag_bytes=n_links * facts.tag_bytes * frames_per_link,
    )


def layout_frames(layout: str, n_nodes: int) -> float:
    """Return the frames on both directions of a link in an undisturbed training round, in the mean over links.

    The protocol is reliable broadcast by digest (update, echo, ready) and a TetraBFT decision (the leader's proposal,
    four votes, decision). Every node echoes and is ready for every node's update, so without batching

        n (n - 1) (1 + 2 n + 4 + 1) + n - 1 messages

    are sent in all, and with one frame for each step n (n - 1) 8 + n - 1.

    Args:
        layout: Key of `LAYOUTS`.
        n_nodes: Nodes, at least 4.

    Raises:
        DomainError: there is no such layout, or `n_nodes` is below 4.
    """
    if layout not in LAYOUTS:
        raise DomainError(f"Argument `layout` must be one of {', '.join(LAYOUTS)}, but is {layout}.")
    if n_nodes < 4:
        raise DomainError(f"Argument `n_nodes` must be at least 4, but is {n_nodes}.")
    steps = {"message": 2 * n_nodes + 6, "step": 8, "joined": 7, "short": 5, "round": 1}[layout]
    # The proposal goes from one node to all others: n - 1 frames on n (n - 1) / 2 links.
    return 2.0 * steps + (0.0 if layout == "round" else 2.0 / n_nodes)


def run_forgery_bound(n_nodes: int, frame_bytes: int, profile: Profile) -> float | None:
    """Return a bound on the chance that any forged frame is accepted in a run, of frames of at most `frame_bytes`.

    A receiver closes a direction after A bad tags (16, or 4 under `its64`), so there are no more than A attempts on
    each of n (n - 1) directions, and the bounds of single attempts add. What keys themselves may fail by comes on top:
    the security parameter of each block of pairs, and for `qkd_seeded` the advantage of a distinguisher for BLAKE2b.
    Under `ml_dsa` there is nothing but the assumption, and the answer is None.

    Raises:
        DomainError: `n_nodes` is below 2, `frame_bytes` negative, or there is no such profile.
    """
    if n_nodes < 2:
        raise DomainError(f"Argument `n_nodes` must be at least 2, but is {n_nodes}.")
    bound = forgery_bound(frame_bytes, profile)
    attempts = n_nodes * (n_nodes - 1) * PROFILES[profile].alarm_bad_tags
    return None if bound is None else min(1.0, attempts * bound)


def _pairs(bits: float, rate: float) -> float:
    if bits == 0:
        return 0.0
    return bits / rate if rate > 0 else math.inf
