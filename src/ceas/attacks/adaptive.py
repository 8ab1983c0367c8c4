"""Attacks that try out what the rule under attack makes of them, and attackers that sleep until they do."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ceas.attacks.situation import Sent, Situation, update_attack
from ceas.errors import DomainError

__all__ = ["Found", "line_search", "opt_alie", "opt_ipm", "sleeper"]

FloatArray = NDArray[np.float64]

EVALUATIONS = 20
"""Evaluations of the rule on each side of zero, ByzFL's default."""

STEP = 10.0
"""First stride of a search, ByzFL's default. Where the far end is worse than a place before it, but better than zero, a
shorter one finds more."""

Goal = Literal["distance", "alignment"]
"""What a search raises: the distance of the aggregate from the honest mean, or minus their inner product."""


class Search(NamedTuple):
    """How an attack searches.

    Attributes:
        evaluations: Evaluations of the rule for each sign.
        is_signed: Whether both signs are searched.
        step: First stride.
        goal: What is raised.
        jitter: How much of its own noise each attacker adds.
    """

    evaluations: int
    is_signed: bool
    step: float
    goal: Goal
    jitter: float


class Found(NamedTuple):
    """Where a search ended.

    Attributes:
        position: Best position that was tried.
        score: Score there.
        evaluations: Positions tried.
    """

    position: float
    score: float
    evaluations: int


def line_search(
    score: Callable[[float], float],
    *,
    evaluations: int = EVALUATIONS,
    start: float = 0.0,
    step: float = STEP,
    ratio: float = 0.8,
) -> Found:
    """Search a high score at positions of at least 0: stride out while it rises, then with ever shorter strides.

    A score that is not a number is never better.

    Args:
        score: Score of a position.
        evaluations: Positions to try, at least 1.
        start: First position.
        step: First stride, which doubles while the score rises.
        ratio: Factor by which strides shrink afterwards, in (0, 1).

    Raises:
        DomainError: An argument is out of range.

    Source:
        The procedure of ByzFL's optimised attacks, arXiv 2505.24802 (expansion, then contraction).
    """
    if evaluations < 1 or start < 0 or not 0 < step < np.inf or not 0 < ratio < 1:
        found = f"evaluations={evaluations}, start={start}, step={step}, ratio={ratio}"
        raise DomainError(
            f"A search needs evaluations >= 1, start >= 0, step > 0 and ratio in (0, 1), but has {found}."
        )

    def known(position: float) -> float:
        value = score(position)
        return -np.inf if np.isnan(value) else value

    best, best_score, is_expanding = start, known(start), True
    for _ in range(evaluations - 1):
        value = known(best + step)
        is_better = value > best_score
        if is_better:
            best, best_score = best + step, value
        is_expanding = is_expanding and is_better
        step *= 2 if is_expanding else ratio
    return Found(best, best_score, evaluations)


@update_attack
def opt_alie(
    situation: Situation,
    *,
    evaluations: int = EVALUATIONS,
    is_signed: bool = True,
    step: float = STEP,
    goal: Goal = "distance",
    jitter: float = 0.0,
) -> Sent:
    """Send the honest mean plus z honest deviations, with the z that a search finds to move the aggregate farthest.

    Args:
        situation: What the attackers know, among it the rule.
        evaluations: Evaluations of the rule for each sign of z.
        is_signed: Whether both signs are searched; ByzFL searches the positive one alone.
        step: First stride of the search.
        goal: `distance` from the honest mean, as in ByzFL, or `alignment`: the smallest inner product with it.
        jitter: How much each attacker adds of what its own update differs from the mean by, at least 0; 0 for copies.

    Returns:
        What is sent. The memory holds `strength`, z, and `evaluations`, those of this round, for the record.

    Raises:
        DomainError: The rule is not given, there are no evaluations, or the stride or the goal makes no sense.

    Source:
        ByzFL, arXiv 2505.24802 (optimal ALIE); Shejwalkar and Houmansadr, NDSS 2021 (search against the known rule).
    """
    search = Search(evaluations, is_signed, step, goal, jitter)
    return _searched(situation, situation.mean, situation.deviation, search)


@update_attack
def opt_ipm(
    situation: Situation,
    *,
    evaluations: int = EVALUATIONS,
    is_signed: bool = True,
    step: float = STEP,
    goal: Goal = "distance",
    jitter: float = 0.0,
) -> Sent:
    """Send `-factor` times the honest mean, with the factor that a search finds to move the aggregate farthest.

    Args:
        situation: What the attackers know, among it the rule.
        evaluations: Evaluations of the rule for each sign of the factor.
        is_signed: As for `opt_alie`; a negative factor exaggerates the honest mean.
        step: As for `opt_alie`.
        goal: As for `opt_alie`.
        jitter: As for `opt_alie`.

    Returns:
        As for `opt_alie`; the strength is the factor.

    Raises:
        DomainError: The rule is not given, there are no evaluations, or the stride or the goal makes no sense.

    Source:
        As for `opt_alie`.
    """
    mean = situation.mean
    return _searched(situation, np.zeros_like(mean), -mean, Search(evaluations, is_signed, step, goal, jitter))


@update_attack
def sleeper(
    situation: Situation,
    *,
    wake_round: int | None = None,
    evaluations: int = EVALUATIONS,
    is_signed: bool = True,
    step: float = STEP,
    goal: Goal = "distance",
    jitter: float = 0.0,
) -> FloatArray | Sent:
    """Send honest updates until a given round, when a reputation has been earned, and then those of `opt_alie`.

    Args:
        situation: What the attackers know.
        wake_round: First round of the attack, counted from 0. Default: half of the training.
        evaluations: As for `opt_alie`.
        is_signed: As for `opt_alie`.
        step: As for `opt_alie`.
        goal: As for `opt_alie`.
        jitter: As for `opt_alie`.

    Raises:
        DomainError: The round is negative, or as for `opt_alie`.

    Source:
        On-off attacks on reputations; the search as for `opt_alie`.
    """
    if wake_round is not None and wake_round < 0:
        raise DomainError(f"Argument `wake_round` must be at least 0, but is {wake_round}.")
    if situation.training_round < (situation.rounds // 2 if wake_round is None else wake_round):
        return situation.own_updates()
    search = Search(evaluations, is_signed, step, goal, jitter)
    return _searched(situation, situation.mean, situation.deviation, search)


def _searched(situation: Situation, origin: FloatArray, direction: FloatArray, search: Search) -> Sent:
    """Return `origin + strength * direction`, with jitter, of the strength that serves the goal best."""
    if search.goal not in get_args(Goal):
        raise DomainError(f"Argument `goal` must be `distance` or `alignment`, but is {search.goal!r}.")
    mean, hidden = situation.mean, situation.jittered(origin, search.jitter)

    def damage(strength: float) -> float:
        aggregate = situation.aggregated(hidden + strength * direction)
        return float(np.linalg.norm(aggregate - mean) if search.goal == "distance" else -(aggregate @ mean))

    found = [line_search(damage, evaluations=search.evaluations, step=search.step)]
    if search.is_signed:
        found.append(line_search(lambda strength: damage(-strength), evaluations=search.evaluations, step=search.step))
    # A tie goes to the positive sign.
    side = int(len(found) == 2 and found[1].score > found[0].score)
    strength = (1 - 2 * side) * found[side].position
    memory = {"strength": np.array(strength), "evaluations": np.array(sum(one.evaluations for one in found))}
    return Sent(hidden + strength * direction, memory)
