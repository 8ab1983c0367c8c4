"""Attacks that use the past: one node's data made loud, a push away from the reference, a drift that never turns."""

from math import cos, radians, sin
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ceas.attacks.situation import Memory, Sent, Situation, update_attack
from ceas.attacks.updates import largest_hidden_deviation
from ceas.errors import DomainError

__all__ = ["drift", "mimic", "relocated_orthogonal"]

FloatArray = NDArray[np.float64]


@update_attack
def mimic(situation: Situation, *, target: int | None = None, warmup_rounds: int | None = None) -> FloatArray | Sent:
    """Send a copy of one honest update, that which is farthest along the direction in which honest nodes differ most.

    The direction z is learned by Oja's rule over the rounds,
    `z <- t/(1+t) z + 1/(1+t) v/|v|` with `v = sum_i <g_i - m, z> (g_i - m)`, normalised, and m the running mean.

    Args:
        situation: What the attackers know.
        target: Copy this honest update always, instead: its number among those known, the last one if they are fewer.
        warmup_rounds: Rounds in which z is learned; then it stays. Default: all.

    Raises:
        DomainError: The target is negative, or the warm-up is shorter than a round.

    Source:
        Karimireddy, He and Jaggi, ICLR 2022, arXiv 2006.09365, section 4 and appendix B. They keep the node that is
        chosen when the warm-up ends; here the choice is made in every round.
    """
    known = situation.known
    if target is not None:
        if target < 0:
            raise DomainError(f"Argument `target` must be at least 0, but is {target}.")
        copied: FloatArray = known[min(target, len(known) - 1)]
        return copied
    if warmup_rounds is not None and warmup_rounds < 1:
        raise DomainError(f"Argument `warmup_rounds` must be at least 1, but is {warmup_rounds}.")
    memory = situation.memory
    if not memory:
        start: FloatArray = situation.rng.standard_normal((known.shape[1],))
        memory = {"direction": start, "centre": np.zeros_like(start), "learned_rounds": np.array(0)}
    if warmup_rounds is None or memory["learned_rounds"] < warmup_rounds:
        memory = _learned_direction(memory, known)
    return Sent(known[int(np.argmax(known @ memory["direction"]))], memory)


@update_attack
def relocated_orthogonal(
    situation: Situation,
    *,
    z: float | None = None,
    location: float = 1.0,
    reference: float = 0.9,
    angle: float = 90.0,
    is_scaled: bool = True,
) -> FloatArray:
    """Push at right angles to the reference from which a rule clips, starting at the reference itself (ROP).

    With a the last aggregate and m the honest mean, send `location a + (1 - location) m + z q`. q has length 1 and the
    given angle to `u = reference a + (1 - reference) m`, in the plane of u and the vector of ones.

    Args:
        situation: What the attackers know; before the first aggregate, a is zero and u is m.
        z: Length of the push. Default: `largest_hidden_deviation`.
        location: Where the push starts, in [0, 1].
        reference: Part of the last aggregate in u, in [0, 1].
        angle: Angle between u and the push (degrees).
        is_scaled: Whether z is in units of the root mean square distance of an honest update from the mean. The source
            has no unit, for models whose clipping radius is 1.

    Raises:
        DomainError: A part is not in [0, 1].

    Source:
        Ozfatura, Ozfatura, Kupcu and Gunduz, IEEE TIFS 2024, arXiv 2208.09894, and their code
        CRYPTO-KU/FL-Byzantine-Library.
    """
    for name, part in (("location", location), ("reference", reference)):
        if not 0 <= part <= 1:
            raise DomainError(f"Argument `{name}` must be in [0, 1], but is {part}.")
    mean, last = situation.mean, situation.last_aggregate
    clipped_from = mean if last is None else reference * last + (1 - reference) * mean
    last = np.zeros_like(mean) if last is None else last
    strength = largest_hidden_deviation(situation.n_honest, situation.n_byzantine) if z is None else z
    if is_scaled:
        strength *= float(np.sqrt(((situation.known - mean) ** 2).sum(axis=1).mean()))
    along = _normalised(clipped_from)
    ones = np.ones_like(mean)
    across = _normalised(ones - (ones @ along) * along)
    push = sin(radians(angle)) * across + cos(radians(angle)) * along
    return location * last + (1 - location) * mean + strength * _normalised(push)


@update_attack
def drift(
    situation: Situation,
    *,
    z: float = 1.0,
    direction: Literal["opposed", "random"] = "opposed",
    jitter: float = 0.0,
) -> Sent:
    """Send the honest mean shifted by z deviations of each coordinate, with the same signs in all rounds.

    No single round shows it, and what averages over rounds does not average it out.

    Args:
        situation: What the attackers know.
        z: Shift in standard deviations, at least 0.
        direction: Signs: against the honest mean of the first round, or drawn once.
        jitter: How much each attacker adds of what its own update differs from the mean by, at least 0; 0 for copies.

    Raises:
        DomainError: z or the jitter is negative, or the direction is not known.

    Source:
        Time-coupled attacks: Karimireddy, He and Jaggi, ICML 2021, arXiv 2012.10333, section 3.
    """
    if not 0 <= z < np.inf:
        raise DomainError(f"Argument `z` must be at least 0 and finite, but is {z}.")
    if direction not in ("opposed", "random"):
        raise DomainError(f"Argument `direction` must be `opposed` or `random`, but is {direction!r}.")
    mean, signs = situation.mean, situation.memory.get("signs")
    if signs is None:
        signs = situation.rng.choice([-1.0, 1.0], len(mean)) if direction == "random" else np.where(mean > 0, -1.0, 1.0)
    return Sent(situation.jittered(mean + z * situation.deviation * signs, jitter), {"signs": signs})


def _learned_direction(memory: Memory, updates: FloatArray) -> Memory:
    """Return the memory after one round of Oja's rule; the random start itself has no part in what is learned."""
    learned, direction = int(memory["learned_rounds"]), memory["direction"]
    centre = learned / (1 + learned) * memory["centre"] + updates.mean(axis=0) / (1 + learned)
    residuals = updates - centre
    seen = _normalised((residuals @ direction) @ residuals)
    found = seen if learned == 0 else _normalised(learned / (1 + learned) * direction + seen / (1 + learned))
    # Where the honest updates do not differ there is nothing to learn.
    direction = found if found.any() else direction
    return {"direction": direction, "centre": centre, "learned_rounds": np.array(learned + 1)}


def _normalised(vector: FloatArray) -> FloatArray:
    """Return the vector at length 1, or zeros as they are."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.zeros_like(vector)
