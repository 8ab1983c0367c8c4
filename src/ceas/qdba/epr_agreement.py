"""Detectable Byzantine agreement from EPR pairs, as published and with thresholds for noisy pairs.

A commander C and lieutenants L_0, L_1, ... share m pairs each. Of pair k with L_i, C's bit is a_i[k] and L_i's is
1 - a_i[k], flipped with the pairs' flip probability Q. The tuple (a_i[k])_i is uniform.

    1. C sends L_i an order c and a list v_i: for every k with a_i[k] = c the whole tuple, for the others nothing.
    2. CheckAlice: L_i accepts (y = c) when in its list the tuples (own, other) = (c, c) and (c, 1-c) each number
       m/4 +- count_tolerance and at most `mismatches` own bits contradict what it measured; else y = none.
    3. The lieutenants exchange (y, list). Then L_i with its peer's answer (y', v'):
           the same order, or the peer has none            -> keep
           both have an order, and they differ             -> WCV: v' has its counts in range, and the places where
               (peer, own) = (y', 1-y') in v_i and in v' differ at no more than `difference_tolerance` places
               -> abort, for C must have sent both; else keep
           L_i has none, the peer has one                  -> WBV: v' has its counts in range and contradicts at most
               `mismatches` bits that L_i measured -> take y'; else none
Published: count_tolerance = difference_tolerance = sqrt(m), mismatches = 0.

A list is held here as its places and the bits claimed for the other lieutenant, because the bits claimed for its
receiver are all c. Having no order and aborting are both no decision.

Channels: WCV rests on a lieutenant's not knowing the other's list when it sends its own. So the commander's lists have
to be secret, not only authentic, and the exchange simultaneous; `rushing_lieutenant` is what happens otherwise.

Source:
    Andronikos and Sirokofskich, Appl. Sci. 13, 8405 (2023), by the rules of the public simulation of arXiv 2509.02629.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba.pairs import Rate, chunks, require_flip, require_whole

__all__ = [
    "EPR_STRATEGIES",
    "EprRules",
    "EprTally",
    "balanced_forgery_probability",
    "epr_acceptance_probability",
    "epr_forgery_probability",
    "published_epr_rules",
    "simulate_epr",
    "simulate_epr_collusion",
    "size_epr",
    "tolerant_epr_rules",
]

BoolArray = NDArray[np.bool_]

EPR_STRATEGIES: Final = {
    "honest": "everyone follows the rules",
    "equivocating_commander": "different orders to the two lieutenants, each with its true list",
    "half_silent_commander": "a true order to one, a list at random places to the other",
    "list_corruption": "different orders; each list is true where its receiver can check it and random elsewhere",
    "half_list_corruption": "such a corrupted list to one, a list at random places to the other",
    "lying_lieutenant": "claims the other order with a forged list",
    "rushing_lieutenant": "the same, but having read the honest lieutenant's list before it sends its own",
}
_FAULTY_COMMANDER: Final = (
    "equivocating_commander",
    "half_silent_commander",
    "list_corruption",
    "half_list_corruption",
)
_LIARS: Final = ("lying_lieutenant", "rushing_lieutenant")
_NONE: Final = -1
_ABORT: Final = -2
LARGEST_TUPLES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EprRules:
    """Thresholds of one instance.

    Attributes:
        tuples: Tuples m, at least 4.
        count_tolerance: How far a count may be from m/4.
        difference_tolerance: Places at which two lists may differ in WCV.
        mismatches: Contradicted bits allowed in a list.
    """

    tuples: int
    count_tolerance: float
    difference_tolerance: float
    mismatches: int = 0

    def __post_init__(self) -> None:
        """Refuse thresholds that are no thresholds."""
        require_whole("tuples", self.tuples, 4)
        require_whole("mismatches", self.mismatches, 0)
        for name in ("count_tolerance", "difference_tolerance"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise DomainError(f"Argument `{name}` must be finite and at least 0, but is {value}.")

    def in_range(self, counts: NDArray[np.int64]) -> BoolArray:
        """Say which counts are within the tolerance of m/4."""
        return np.asarray(np.abs(counts - self.tuples / 4) <= self.count_tolerance)


def published_epr_rules(tuples: int) -> EprRules:
    """Return the published thresholds: tolerance sqrt(m) = 2 sqrt(m/4), no mismatch."""
    require_whole("tuples", tuples, 4)
    return EprRules(tuples=tuples, count_tolerance=math.sqrt(tuples), difference_tolerance=math.sqrt(tuples))


def tolerant_epr_rules(tuples: int, flip: float, failure: float = 1e-3) -> EprRules:
    """Return our thresholds, under which honest players fail with a probability of at most `failure`.

    Half of `failure` goes to the three counts, half to the two lists' mismatches, each by the union bound and the exact
    binomial tails: a count is Bin(m, 1/4), the mismatches of a list are Bin(m, Q/2). The difference that WCV tolerates
    stays sqrt(m): lists of one commander carry no noise, because they hold its bits and nobody's measurements.

    Raises:
        DomainError: An argument is outside its range.
    """
    require_whole("tuples", tuples, 4)
    require_flip(flip)
    if not 0.0 < failure < 1.0:
        raise DomainError(f"Argument `failure` must be in (0, 1), but is {failure}.")
    below, above = binom.ppf(failure / 12, tuples, 0.25), binom.isf(failure / 12, tuples, 0.25)
    return EprRules(
        tuples=tuples,
        count_tolerance=float(max(tuples / 4 - below, above - tuples / 4)),
        difference_tolerance=math.sqrt(tuples),
        mismatches=int(binom.isf(failure / 4, tuples, flip / 2)),
    )


def epr_acceptance_probability(rules: EprRules, flip: float, lieutenants: int = 2) -> float:
    """Return the exact chance that all of one or two lieutenants accept an honest commander's list.

    Counts of (c, c), (c, 1-c), (1-c, c) are multinomial with 1/4 each; given them, each list's mismatches are binomial
    and independent of the other's. With no mismatch allowed it is E[(1-Q)^(2 N_cc + N_c- + N_-c); counts in range].

    Args:
        rules: Thresholds.
        flip: Flip probability Q in [0, 1/2].
        lieutenants: 1 for one of them whatever the other does, or 2.

    Raises:
        DomainError: An argument is outside its range.
    """
    require_flip(flip)
    if lieutenants not in (1, 2):
        raise DomainError(f"Argument `lieutenants` must be 1 or 2, but is {lieutenants}.")
    m = rules.tuples
    inside = np.arange(m + 1)[rules.in_range(np.arange(m + 1))]
    passes = binom.cdf(rules.mismatches, np.arange(2 * m + 1), flip)
    total = 0.0
    for both in inside:
        # Given N_cc, N_c- is binomial, and given both, N_-c is.
        weight = binom.pmf(both, m, 0.25) * binom.pmf(inside, m - both, 1 / 3) * passes[both + inside]
        if lieutenants == 2:
            rest = np.maximum(m - both - inside, 0)[:, None]
            weight = weight * (binom.pmf(inside, rest, 0.5) * passes[both + inside]).sum(axis=1)
        total += float(weight.sum())
    return total


def epr_forgery_probability(rules: EprRules, colluders: int = 1) -> float:
    """Return a bound on the chance that colluding lieutenants make an honest one abort under an honest commander.

    It bounds every strategy; for one it is the chance itself when the counts are in range. To pass WCV a colluder j has
    to name, among the places where a_j = 1-c, those where the victim's bit is c. Its fellows' lists reveal the victim's
    bits wherever any of their own bits is c, so what is left to guess are the places where all colluders hold 1-c; each
    guess is wrong with probability 1/2 whatever it is. The number of differing places of each list is
    Bin(m, 2^-(colluders+1)). One list that passes is enough and colluders may guess differently, so the chances of all
    lists add up: two that guess the opposite of each other come close to that.

    Source:
        Ours; the published rules were evaluated elsewhere by simulation only.
    """
    require_whole("colluders", colluders, 1)
    chance = 0.5 ** (colluders + 1)
    return min(1.0, colluders * float(binom.cdf(math.floor(rules.difference_tolerance), rules.tuples, chance)))


def balanced_forgery_probability(tuples: int, difference: int) -> float:
    """Return the forgery chance of one lieutenant if all counts were exactly m/4: a hypergeometric tail.

    With no difference allowed it is 1/C(m/2, m/4). Real counts are binomial, which makes forging likelier or less
    likely by orders of magnitude: see `epr_forgery_probability`.

    Raises:
        DomainError: `tuples` is not a multiple of 4.
    """
    if require_whole("tuples", tuples, 4) % 4:
        raise DomainError(f"Argument `tuples` must be a multiple of 4, but is {tuples}.")
    quarter = tuples // 4
    # The sets have m/4 places each; with h in common they differ at 2 (m/4 - h).
    needed = quarter - difference // 2
    return float(hypergeom.sf(needed - 1, tuples // 2, quarter, quarter))


def size_epr(flip: float, target: float) -> EprRules | None:
    """Return the smallest tolerant instance with all failures that more tuples can cure below a target.

    Half of `target` goes to honest failure, by construction of the thresholds. The number of tuples (a multiple of 4)
    makes the forgery of one lieutenant, and the chance that a random list passes WBV, at most the other half.
    Corrupted lists of a commander are not cured by any number of tuples and are not counted.

    Returns:
        The rules, or None when 2^20 tuples are not enough, as at fidelity 1/4.
    """

    def suffices(tuples: int) -> EprRules | None:
        rules = tolerant_epr_rules(tuples, flip, target / 2)
        random_list = float(binom.cdf(rules.mismatches, tuples, 0.25))
        return rules if max(random_list, epr_forgery_probability(rules)) <= target / 2 else None

    low, high = 1, 2
    while suffices(4 * high) is None:
        low, high = high, 2 * high
        if 4 * high > LARGEST_TUPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(4 * middle) else (middle, high)
    return suffices(4 * high)


@dataclass(frozen=True, slots=True, kw_only=True)
class EprTally:
    """How the honest players fared.

    Attributes:
        failure: Under an honest commander: an honest lieutenant does not decide its order. Under a faulty one: the
            lieutenants do not both decide the same or both decide nothing.
        contradiction: A lieutenant decides against an honest commander's order, or the lieutenants decide 0 and 1.
        undecided: Some honest lieutenant decides nothing.
        aborted: Some honest lieutenant decides nothing because WCV told it that the commander sent both orders.
    """

    failure: Rate
    contradiction: Rate
    undecided: Rate
    aborted: Rate


class _List(NamedTuple):
    """A list: its order `(shots,)`, its places `(shots, m)`, and the bits claimed there for the other lieutenant."""

    order: BoolArray
    places: BoolArray
    other: BoolArray


def simulate_epr(rules: EprRules, flip: float, strategy: str, shots: int, rng: np.random.Generator) -> EprTally:
    """Play instances of three players bit by bit.

    Args:
        rules: Thresholds.
        flip: Flip probability of every pair, in [0, 1/2].
        strategy: A name of `EPR_STRATEGIES`. The faulty lieutenant is L_1.
        shots: Instances, at least 1.
        rng: Source of all draws.

    Raises:
        UnknownNameError: There is no such strategy.
        DomainError: An argument is outside its range.
    """
    require_flip(flip)
    if strategy not in EPR_STRATEGIES:
        raise UnknownNameError("strategy", strategy, EPR_STRATEGIES)
    if strategy in _LIARS:
        return simulate_epr_collusion(rules, flip, 1, shots, rng, is_rushing=strategy == "rushing_lieutenant")
    counts = np.zeros(4, dtype=np.int64)
    for size in chunks(shots, rules.tuples):
        commander = _bits(rng, (2, size, rules.tuples))
        measured = _measured(commander, flip, rng)
        order = _bits(rng, (size,))
        lists = _lists(commander, order, strategy, rng)
        decided = _exchange(rules, lists, measured)
        counts += _judge(decided, None if strategy in _FAULTY_COMMANDER else order)
    return _tally(counts, shots)


def simulate_epr_collusion(
    rules: EprRules, flip: float, colluders: int, shots: int, rng: np.random.Generator, *, is_rushing: bool = False
) -> EprTally:
    """Play instances in which all lieutenants but one collude to make the last one abort under an honest commander.

    There are `colluders` + 2 players. The colluders pool their lists, complete what they know of the victim's bits by
    guessing, and all claim the other order. Two of them guess opposite bits, since one list that passes is enough; more
    toss coins of their own.

    Args:
        rules: Thresholds.
        flip: Flip probability of every pair, in [0, 1/2].
        colluders: Colluding lieutenants, at least 1.
        shots: Instances, at least 1.
        rng: Source of all draws.
        is_rushing: Whether they have read the victim's list before they send theirs, so that nothing is left to guess.
    """
    require_flip(flip)
    require_whole("colluders", colluders, 1)
    counts = np.zeros(4, dtype=np.int64)
    for size in chunks(shots, rules.tuples * (colluders + 1)):
        commander = _bits(rng, (colluders + 1, size, rules.tuples))
        measured = _measured(commander[0], flip, rng)
        order = _bits(rng, (size,))
        against = commander[1:] != order[:, None]  # (colluder, shot, place): the places that a forged list names
        is_unknown = against.all(axis=0) & (not is_rushing)
        guesses = _bits(rng, (colluders, size, rules.tuples))
        if colluders > 1:
            guesses[1] = ~guesses[0]
        claimed = np.where(is_unknown, guesses, commander[0])
        forged = [_List(~order, places, claims) for places, claims in zip(against, claimed, strict=True)]
        decided = _victim(rules, commander, order, measured, forged)
        counts += _judge(decided[None], order)
    return _tally(counts, shots)


def _judge(decided: NDArray[np.int8], order: BoolArray | None) -> list[int]:
    """Count failures, contradictions, undecided and aborted shots; without an order the commander was faulty."""
    is_open = decided < 0
    if order is None:
        failed = np.maximum(decided[0], _NONE) != np.maximum(decided[1], _NONE)
        contradicted = failed & ~is_open.any(axis=0)
    else:
        failed = (decided != order).any(axis=0)
        contradicted = (~is_open & (decided != order)).any(axis=0)
    return [int(x.sum()) for x in (failed, contradicted, is_open.any(axis=0), (decided == _ABORT).any(axis=0))]


def _victim(
    rules: EprRules, commander: BoolArray, order: BoolArray, measured: BoolArray, forged: list[_List]
) -> NDArray[np.int8]:
    """Return what L_0 decides with an honest list and each colluder's forged one."""
    places = commander[0] == order[:, None]
    accepts = np.ones(order.shape, dtype=np.bool_)
    aborts = np.zeros(order.shape, dtype=np.bool_)
    adopts = np.zeros(order.shape, dtype=np.bool_)
    for peer_bits, answer in zip(commander[1:], forged, strict=True):
        own = _List(order, places, peer_bits)
        accepts &= _accepts(rules, own, measured)
        aborts |= _proves_two_orders(rules, own, answer)
        adopts |= _convinces(rules, answer, measured)
    kept = np.where(aborts, _ABORT, order)
    return np.where(accepts, kept, np.where(adopts, ~order, _NONE)).astype(np.int8)


def _tally(counts: NDArray[np.int64], shots: int) -> EprTally:
    failure, contradiction, undecided, aborted = (Rate(events=int(count), shots=shots) for count in counts)
    return EprTally(failure=failure, contradiction=contradiction, undecided=undecided, aborted=aborted)


def _bits(rng: np.random.Generator, shape: tuple[int, ...]) -> BoolArray:
    """Return fair bits; eight are drawn at once."""
    count = math.prod(shape)
    packed = np.frombuffer(rng.bytes((count + 7) // 8), dtype=np.uint8)
    return np.unpackbits(packed, count=count).astype(np.bool_).reshape(shape)


def _measured(commander: BoolArray, flip: float, rng: np.random.Generator) -> BoolArray:
    """Return the far ends' bits: opposite to the commander's, but for flips."""
    if flip == 0.0:
        return ~commander
    return np.asarray(~commander ^ (rng.random(commander.shape, dtype=np.float32) < flip))


def _lists(commander: BoolArray, order: BoolArray, strategy: str, rng: np.random.Generator) -> tuple[_List, _List]:
    """Return what the commander sends to each of two lieutenants."""
    is_two_faced = strategy in ("equivocating_commander", "list_corruption")
    orders = (order, ~order if is_two_faced else order)
    lists = [_List(orders[i], commander[i] == orders[i][:, None], commander[1 - i]) for i in (0, 1)]
    if strategy in ("list_corruption", "half_list_corruption"):
        # Fresh coins look to the receiver exactly like the other's bits, which it has never seen.
        lists = [one._replace(other=_bits(rng, one.other.shape)) for one in lists]
    if strategy in ("half_silent_commander", "half_list_corruption"):
        lists[1] = lists[1]._replace(places=_bits(rng, lists[1].places.shape))
    return lists[0], lists[1]


def _exchange(rules: EprRules, lists: tuple[_List, _List], measured: BoolArray) -> NDArray[np.int8]:
    """Return what two honest lieutenants decide, shape (2, shots)."""
    accepts = [_accepts(rules, lists[i], measured[i]) for i in (0, 1)]
    decided = []
    for i in (0, 1):
        own, peer = lists[i], lists[1 - i]
        is_disputed = accepts[1 - i] & (own.order != peer.order)
        kept = np.where(is_disputed & _proves_two_orders(rules, own, peer), _ABORT, own.order)
        convinced = accepts[1 - i] & _convinces(rules, peer, measured[i])
        decided.append(np.where(accepts[i], kept, np.where(convinced, peer.order, _NONE)))
    return np.stack(decided).astype(np.int8)


def _are_counts_in_range(rules: EprRules, one: _List) -> BoolArray:
    is_same = one.other == one.order[:, None]
    same = (one.places & is_same).sum(axis=1)
    different = (one.places & ~is_same).sum(axis=1)
    return rules.in_range(same) & rules.in_range(different)


def _accepts(rules: EprRules, own: _List, measured: BoolArray) -> BoolArray:
    """CheckAlice: a list says that the commander holds c there, so a measured c contradicts it."""
    contradicted = (own.places & (measured == own.order[:, None])).sum(axis=1)
    return np.asarray(_are_counts_in_range(rules, own) & (contradicted <= rules.mismatches))


def _proves_two_orders(rules: EprRules, own: _List, peer: _List) -> BoolArray:
    """WCV: the places with (peer, own) = (y', 1-y') are those in both lists; y' is the peer's order."""
    in_own = own.places & (own.other == peer.order[:, None])
    in_peer = peer.places & (peer.other != peer.order[:, None])
    is_close = (in_own ^ in_peer).sum(axis=1) <= rules.difference_tolerance
    return np.asarray(_are_counts_in_range(rules, peer) & is_close)


def _convinces(rules: EprRules, peer: _List, measured: BoolArray) -> BoolArray:
    """WBV: the peer's list is plausible and does not contradict the bits that the undecided one measured."""
    contradicted = (peer.places & (peer.other == measured)).sum(axis=1)
    return np.asarray(_are_counts_in_range(rules, peer) & (contradicted <= rules.mismatches))
