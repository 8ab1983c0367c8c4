"""What each shot of a training round measures.

A learner draws a minibatch of its own samples and spends its shots, in random order, as follows.

- Readout: about `readout_share` of them run the circuit as it is, evenly over the minibatch.
- Pairs: the rest run in pairs (one shot up, one down, same term, same sample). Pairs are dealt evenly over the terms in
  random order, and those of a term evenly over the minibatch. With less than one pair per term, a random subset of the
  terms is measured, and whoever uses the outcomes weights it by the inverse of its share: no bias arises.

A term is what the two shots of a pair differ in: for the shift rule a rotation, whose angle is moved by a quarter turn
up or down; for simultaneous perturbation one random direction of all parameters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.streams import stream

__all__ = ["MINIMUM_SHOTS", "ShotPlan", "plan_shots"]

IntArray = npt.NDArray[np.int64]

MINIMUM_SHOTS = 3
"""One readout and one pair; a learner with fewer shots sends a zero gradient and uses none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotPlan:
    """What each shot measures; entries are sorted by learner, and the shots of a pair are neighbours.

    Attributes:
        source: Which of the shots given to `plan_shots` this is, shape (used shots,).
        learner: Its learner, shape (used shots,).
        counter: Its number within the learner, shape (used shots,).
        slot: Place of its sample in the learner's minibatch, shape (used shots,).
        term: What its pair differs in, -1 for a readout shot, shape (used shots,).
        sign: Up +1 or down -1, shape (used shots,); +1 for a readout shot.
        batch: Samples of the minibatches, shape (learners, minibatch); only the first `batch_size` of a row count.
        batch_size: Shape (learners,); 0 for a learner that does not take part.
        pairs: Pairs of each learner, shape (learners,).
    """

    source: IntArray
    learner: IntArray
    counter: IntArray
    slot: IntArray
    term: IntArray
    sign: IntArray
    batch: IntArray
    batch_size: IntArray
    pairs: IntArray


def plan_shots(
    shot_learner: npt.NDArray[np.integer],
    sample_count: IntArray,
    terms: IntArray,
    *,
    minibatch: int,
    readout_share: float,
    seed: int,
) -> ShotPlan:
    """Decide what each shot measures, as the head of this module says.

    Args:
        shot_learner: Learner of each shot, shape (shots,).
        sample_count: Samples that each learner holds, shape (learners,).
        terms: Terms to measure, at least one.
        minibatch: Most samples of a round.
        readout_share: Part of the shots that run the circuit as it is, in (0, 1).
        seed: Seed of this training round; each learner has its own stream.

    Raises:
        DomainError: A shot has an unknown learner, or there is no term.
    """
    n_learners = sample_count.size
    if shot_learner.size and not (shot_learner.min() >= 0 and shot_learner.max() < n_learners):
        raise DomainError(f"Argument `shot_learner` must be in [0, {n_learners}), but is not.")
    if terms.size == 0:
        raise DomainError("Argument `terms` must name at least one term, but is empty.")
    available = np.bincount(shot_learner, minlength=n_learners)
    takes_part = available >= MINIMUM_SHOTS
    n_shots = np.where(takes_part, available, 0)
    wanted_pairs = np.floor((1 - readout_share) * n_shots / 2).astype(np.int64)
    pairs = np.where(takes_part, np.clip(wanted_pairs, 1, np.maximum(n_shots - 1, 1) // 2), 0)
    readouts = n_shots - 2 * pairs
    batch_size = np.minimum(np.minimum(minibatch, sample_count), readouts)
    order, batch, term_order = _draw(available, n_shots, sample_count, terms=terms, minibatch=minibatch, seed=seed)

    # Learners are repeated rather than looked up, and remainders by one number taken by hand: both are quicker.
    learner = np.repeat(np.arange(n_learners), n_shots)
    counter = np.arange(learner.size) - np.repeat(np.cumsum(n_shots) - n_shots, n_shots)
    paired = counter - np.repeat(readouts, n_shots)
    is_readout = paired < 0
    pair = paired >> 1
    repetition = pair // terms.size
    rank = pair - repetition * terms.size
    slot = np.where(is_readout, counter, rank + repetition) % np.repeat(batch_size, n_shots)
    return ShotPlan(
        source=np.argsort(shot_learner, kind="stable")[order],
        learner=learner,
        counter=counter,
        slot=slot,
        term=np.where(is_readout, -1, term_order.ravel()[learner * terms.size + rank]),
        sign=np.where(is_readout | (paired & 1 == 0), 1, -1),
        batch=batch,
        batch_size=batch_size,
        pairs=pairs,
    )


def _draw(
    available: IntArray, n_shots: IntArray, sample_count: IntArray, *, terms: IntArray, minibatch: int, seed: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Draw, per learner that takes part, the order of its shots, its minibatch and the order of the terms.

    The order indexes the shots sorted by learner, those of learners that do not take part included.
    """
    orders = [np.zeros(0, dtype=np.int64)]
    batch = np.zeros((n_shots.size, minibatch), dtype=np.int64)
    term_order = np.zeros((n_shots.size, terms.size), dtype=np.int64)
    # Plain integers: arithmetic with those of NumPy would take as long as the draws.
    takes_part = np.flatnonzero(n_shots)
    columns = (takes_part, n_shots[takes_part], sample_count[takes_part])
    for learner, size, count in zip(*(column.tolist() for column in columns), strict=True):
        rng = stream(seed, "shot_plan", learner=learner)
        orders.append(rng.permutation(size))
        chosen = rng.permutation(count)[:minibatch]
        batch[learner, : chosen.size] = chosen
        term_order[learner] = rng.permutation(terms)
    first_available = np.repeat(np.cumsum(available) - available, n_shots)
    return first_available + np.concatenate(orders), batch, term_order
