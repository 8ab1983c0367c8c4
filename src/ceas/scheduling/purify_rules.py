"""When to purify: one pair of two, if what it may serve is worth more than both were; compiled.

A class of requests may ask for more fidelity than pairs still have a slot after their birth. Then stock is of no use to
it, but a purified pair may be. Of a link's two freshest pairs that nobody takes, let the result qualify for class c for
m_c slots more than the fresher of them would, which does so for n_c. With rates r_c and their sum r over the classes
with m_c > 0 it is worth

    G = sum_c v_c (r_c / r) exp(-r n_c) (1 - exp(-r m_c))

beyond what a stored pair is worth to the others. With chance P of success, h the bias of the stock s, and s'' the stock
without both pairs, they are purified if P (G + h(s'' with the result)) + (1 - P) h(s'') > h(s).

Source:
    Chance and result: Bennett et al., Physical Review Letters 76:722, 1996, for Werner pairs and perfect gates.
"""

import math

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import compiled
from ceas.network.slot_policy import PURIFY, SlotSnapshot, stored_werner
from ceas.scheduling.price_tables import AT_END, AVAILABILITY, N_BLOCKS, PURIFIES, state_bias

__all__ = ["KEPT_PAIR", "freshest_two", "gain_of_next", "purified_werner", "purify_by_gain"]

# Mark of a pair that is purified and stays where it is.
KEPT_PAIR = 3


@compiled
def purified_werner(werner_a: float, werner_b: float) -> tuple[float, float]:
    """Return the chance that purification succeeds, and the Werner parameter of the pair that it leaves then."""
    a, b = 0.25 + 0.75 * werner_a, 0.25 + 0.75 * werner_b
    chance = 8.0 / 9.0 * a * b - 2.0 / 9.0 * (a + b) + 5.0 / 9.0
    fidelity = (a * b + (1.0 - a) * (1.0 - b) / 9.0) / chance
    return chance, (4.0 * fidelity - 1.0) / 3.0


@compiled
def freshest_two(snapshot: SlotSnapshot, link: int) -> tuple[int, int]:
    """Return the positions of a link's two freshest pairs that are not marked, -1 for none."""
    first, second = -1, -1
    for position in range(snapshot.n_stored[link] - 1, -1, -1):
        if snapshot.used[link, position] == 0:
            if first < 0:
                first = position
            elif second < 0:
                second = position
    return first, second


@compiled
def _slots_left(snapshot: SlotSnapshot, link: int, werner: float, least: float) -> float:
    """Return for how many slots after this one a pair qualifies."""
    decay = snapshot.decay_per_slot[link]
    if werner < least or decay <= 0.0:
        return 0.0
    slots: float = math.floor(math.log(werner / max(least, 1e-3)) / decay + 1e-9)
    return slots


@compiled
def _worth_ahead(snapshot: SlotSnapshot, link: int, werner: float, stored: float) -> float:
    """Return what a pair of one Werner parameter may serve that one of another could not."""
    parameters = snapshot.parameters
    n_classes = (parameters.shape[1] - AVAILABILITY) // N_BLOCKS
    rates = AVAILABILITY + 2 * n_classes
    leasts, weights = rates + n_classes, rates + 2 * n_classes
    total = 0.0
    for label in range(n_classes):
        least = parameters[link, leasts + label]
        if _slots_left(snapshot, link, werner, least) > _slots_left(snapshot, link, stored, least):
            total += parameters[link, rates + label]
    worth = 0.0
    for label in range(n_classes):
        least = parameters[link, leasts + label]
        more = _slots_left(snapshot, link, werner, least) - _slots_left(snapshot, link, stored, least)
        if more > 0.0 and total > 0.0:
            asked = parameters[link, rates + label] / total
            # Until then the stored pair would have done as well.
            late = math.exp(-total * _slots_left(snapshot, link, stored, least))
            worth += parameters[link, weights + label] * asked * late * (1.0 - math.exp(-total * more))
    return worth


@compiled
def gain_of_next(snapshot: SlotSnapshot, link: int) -> float:
    """Return what a new pair adds to what purification may bring; half of it for the first pair of two."""
    if snapshot.parameters[0, PURIFIES] <= 0.0:
        return 0.0
    new = snapshot.initial_werner[link]
    n_stored = snapshot.n_stored[link]
    other, factor = new, 0.5
    if n_stored > 0:
        other, factor = stored_werner(snapshot, link, n_stored - 1), 1.0
        if other > new:
            return 0.0
    chance, werner = purified_werner(new, other)
    return factor * chance * _worth_ahead(snapshot, link, werner, new)


@compiled
def purify_by_gain(
    snapshot: SlotSnapshot, action: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], n_rows: int
) -> int:
    """Purify the two freshest pairs of every link where it gains; return the number of rows."""
    row = n_rows
    for link in range(len(snapshot.edges)):
        kept, given = freshest_two(snapshot, link)
        if given < 0:
            continue
        stored = stored_werner(snapshot, link, kept)
        chance, werner = purified_werner(stored, stored_werner(snapshot, link, given))
        ahead = _worth_ahead(snapshot, link, werner, stored)
        if ahead <= 0.0:
            continue
        before = state_bias(snapshot, link, -1, AT_END)
        snapshot.used[link, kept] = KEPT_PAIR
        snapshot.used[link, given] = 1
        failed = state_bias(snapshot, link, -1, AT_END)
        # The table knows no pair better than a new one.
        done = state_bias(snapshot, link, 0, AT_END)
        if chance * (ahead + done) + (1.0 - chance) * failed > before:
            action[row] = PURIFY
            pairs[row, 0], pairs[row, 1], pairs[row, 2] = link, kept, given
            row += 1
        else:
            snapshot.used[link, kept] = 0
            snapshot.used[link, given] = 0
    return row
