"""EPR agreement against its worked example, an independent player in plain Python, closed forms and limits."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba import (
    EPR_STRATEGIES,
    EprRules,
    Rate,
    balanced_forgery_probability,
    epr_acceptance_probability,
    epr_forgery_probability,
    flip_probability,
    published_epr_rules,
    simulate_epr,
    simulate_epr_collusion,
    size_epr,
    tolerant_epr_rules,
)
from ceas.qdba import epr_agreement as module

SHOTS = 20_000
# Every statistical test here compares a count with a binomial law at 1e-7 on either side.
FALSE_ALARM = 1e-7


def agrees(rate: Rate, probability: float) -> bool:
    low, high = binom.ppf(FALSE_ALARM, rate.shots, probability), binom.isf(FALSE_ALARM, rate.shots, probability)
    return bool(low <= rate.events <= high)


def at_most(rate: Rate, probability: float) -> bool:
    return bool(rate.events <= binom.isf(FALSE_ALARM, rate.shots, min(probability, 1.0)))


# --- an independent player: sets and loops, as the rules are written -------------------------------------------------


def bits_of(text: str) -> list[str]:
    return text.split()


def places(vector: list[str], own: int, pattern: tuple[str, str]) -> set[int]:
    return {k for k, t in enumerate(vector) if t != "**" and (t[own], t[1 - own]) == pattern}


class Player:
    """Lieutenant i of the rules; tuples are written own position i counted from the right, as the source does."""

    def __init__(self, index: int, measured: list[int], m: int, epsilon: float, allowed: int) -> None:
        self.i, self.measured, self.m, self.epsilon, self.allowed = 1 - index, measured, m, epsilon, allowed

    def in_range(self, count: int) -> bool:
        return abs(count - self.m / 4) <= self.epsilon

    def check(self, c: str, vector: list[str], reader: int) -> bool:
        """Counts of a vector that was sent to the owner of character `reader`."""
        other = "1" if c == "0" else "0"
        return self.in_range(len(places(vector, reader, (c, c)))) and self.in_range(
            len(places(vector, reader, (c, other)))
        )

    def contradicted(self, vector: list[str]) -> int:
        return sum(t != "**" and int(t[self.i]) == self.measured[k] for k, t in enumerate(vector))

    def accepts(self, c: str, vector: list[str]) -> bool:
        return self.check(c, vector, self.i) and self.contradicted(vector) <= self.allowed

    def decide(self, c: str, own: list[str], peer_c: str, peer: list[str], peer_accepts: bool) -> str:
        j = 1 - self.i
        if self.accepts(c, own):
            if not peer_accepts or peer_c == c:
                return c
            mine = "1" if peer_c == "0" else "0"
            in_own, in_peer = places(own, j, (peer_c, mine)), places(peer, j, (peer_c, mine))
            proved = self.check(peer_c, peer, j) and len(in_own ^ in_peer) <= self.epsilon
            return "abort" if proved else c
        if peer_accepts and self.check(peer_c, peer, j) and self.contradicted(peer) <= self.allowed:
            return peer_c
        return "none"


def list_for(commander: np.ndarray, index: int, c: int, other: np.ndarray, named: np.ndarray) -> list[str]:
    vector = []
    for k in range(commander.shape[1]):
        pair = {index: c, 1 - index: int(other[k])}
        vector.append(f"{pair[1]}{pair[0]}" if named[k] else "**")
    return vector


def test_the_published_example() -> None:
    alice = bits_of("10 11 00 10 01 11 00 00 11 00 10 01")
    commander = np.array([[int(t[1]) for t in alice], [int(t[0]) for t in alice]], dtype=bool)[:, None]
    # B holds the first character's pair, C the second's.
    b = np.array([int(t[0]) for t in bits_of("00 01 11 01 10 01 10 11 01 10 00 11")], dtype=bool)
    c = np.array([int(t[1]) for t in bits_of("01 00 11 11 00 10 01 11 00 11 01 10")], dtype=bool)
    assert (commander[1, 0] ^ b).all()
    assert (commander[0, 0] ^ c).all()
    rules = EprRules(tuples=12, count_tolerance=1.0, difference_tolerance=1.0)
    lists = module._lists(commander, np.array([True]), "honest", np.random.default_rng(0))
    counts = [(int((x.places & x.other).sum()), int((x.places & ~x.other).sum())) for x in lists]
    assert counts == [(3, 2), (3, 3)]
    assert module._exchange(rules, lists, np.stack([c, b])[:, None]).tolist() == [[1], [1]]


@pytest.mark.parametrize("strategy", [name for name in EPR_STRATEGIES if not name.endswith("_lieutenant")])
@pytest.mark.parametrize(("flip", "allowed"), [(0.0, 0), (0.1, 1)])
def test_decisions_are_those_of_the_rules_as_written(strategy: str, flip: float, allowed: int) -> None:
    """300 instances of 16 tuples, decision by decision: no chance is involved in the comparison."""
    rng = np.random.default_rng(5)
    rules = EprRules(tuples=16, count_tolerance=3.0, difference_tolerance=3.0, mismatches=allowed)
    commander = module._bits(rng, (2, 300, 16))
    measured = module._measured(commander, flip, rng)
    order = module._bits(rng, (300,))
    lists = module._lists(commander, order, strategy, rng)
    found = module._exchange(rules, lists, measured)
    named = {module._NONE: "none", module._ABORT: "abort", 0: "0", 1: "1"}
    seen = set()
    for shot in range(300):
        players = [Player(i, measured[i, shot].astype(int).tolist(), 16, 3.0, allowed) for i in (0, 1)]
        orders = [str(int(one.order[shot])) for one in lists]
        vectors = [
            list_for(commander[:, shot], i, int(orders[i]), lists[i].other[shot], lists[i].places[shot]) for i in (0, 1)
        ]
        accepts = [players[i].accepts(orders[i], vectors[i]) for i in (0, 1)]
        for i in (0, 1):
            j = 1 - i
            expected = players[i].decide(orders[i], vectors[i], orders[j], vectors[j], accepts[j])
            assert named[int(found[i, shot])] == expected
            seen.add(expected)
    assert len(seen) >= 2


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [0.0, 0.07, 0.5])
@pytest.mark.parametrize("allowed", [0, 1])
def test_acceptance_is_the_sum_over_all_outcomes(flip: float, allowed: int) -> None:
    """Four tuples: 4^4 commanders' bits times 2^8 flips, every one with its probability."""
    rules = EprRules(tuples=4, count_tolerance=1.0, difference_tolerance=0.0, mismatches=allowed)
    expected = {1: 0.0, 2: 0.0}
    for a in itertools.product((0, 1), repeat=8):
        first, second = a[:4], a[4:]
        for f in itertools.product((0, 1), repeat=8):
            passed = []
            for own, other, flips in ((first, second, f[:4]), (second, first, f[4:])):
                same = sum(x == 1 and y == 1 for x, y in zip(own, other, strict=True))
                different = sum(x == 1 and y == 0 for x, y in zip(own, other, strict=True))
                wrong = sum(x == 1 and z for x, z in zip(own, flips, strict=True))
                passed.append(abs(same - 1) <= 1 and abs(different - 1) <= 1 and wrong <= allowed)
            chance = 0.5**8 * math.prod(flip if z else 1 - flip for z in f)
            expected[1] += chance * passed[0]
            expected[2] += chance * all(passed)
    for lieutenants, value in expected.items():
        assert epr_acceptance_probability(rules, flip, lieutenants) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("tuples", "noiseless", "at_099", "at_095", "forced_abort"),
    [(16, 0.978, 0.875, 0.580, 0.63), (32, 0.939, 0.750, 0.311, 0.157), (64, 0.959, 0.638, 0.107, 0.0116)],
)
def test_an_earlier_evaluation_of_the_rules(
    tuples: int, noiseless: float, at_099: float, at_095: float, forced_abort: float
) -> None:
    """Monte Carlo figures of 20 000 shots from elsewhere; 5.3 standard deviations and their rounding are 0.02."""
    rules = published_epr_rules(tuples)
    for fidelity, value in ((1.0, noiseless), (0.99, at_099), (0.95, at_095)):
        assert epr_acceptance_probability(rules, flip_probability(fidelity)) == pytest.approx(value, abs=0.02)
    assert epr_forgery_probability(rules) == pytest.approx(forced_abort, abs=0.02)


@pytest.mark.parametrize("fidelity", [1.0, 0.97])
def test_honest_play_against_the_closed_form(fidelity: float) -> None:
    """Who both accept decide the order; who does not may still be convinced by the other."""
    flip = flip_probability(fidelity)
    for rules in (published_epr_rules(32), tolerant_epr_rules(64, flip, 0.2)):
        tally = simulate_epr(rules, flip, "honest", SHOTS, np.random.default_rng(1))
        assert at_most(tally.failure, 1 - epr_acceptance_probability(rules, flip))
        assert tally.failure.events > 0
        assert tally.contradiction.events == 0


def test_with_counts_in_range_honest_failure_is_a_formula() -> None:
    """One tuple of margin everywhere: counts never fail, so both decide unless a flip hits; false alarm 2e-7."""
    m, flip = 8, 0.05
    rules = EprRules(tuples=m, count_tolerance=m, difference_tolerance=m)
    # L_i decides if its own list is clean, or else if the peer's is and shows L_i no dirty bit of its own.
    # Own list of L_0: cells (c,c), (c,-); the list of L_1 shows L_0 its bits in the cells (c,c), (-,c).
    clean = 1 - flip
    cells = {"both": (1, 1), "first": (1, 0), "second": (0, 1), "neither": (0, 0)}
    total = 0.0
    # Per lieutenant a set of dirty cells; sum over the 2^6 patterns of (lieutenant, cell) being clean in all tuples.
    # P(a set of (lieutenant, cell) entries is clean) = (mean over cells of clean^entries)^m; inclusion-exclusion gives
    # the probability of each pattern.
    entries = [(i, name) for i in (0, 1) for name in ("both", "first", "second")]

    def chance_clean(subset: tuple[tuple[int, str], ...]) -> float:
        return (sum(clean ** sum(cell == name for _, cell in subset) for name in cells) / 4) ** m

    for pattern in itertools.product((True, False), repeat=6):
        is_clean = dict(zip(entries, pattern, strict=True))
        fixed = tuple(e for e in entries if is_clean[e])
        dirty = [e for e in entries if not is_clean[e]]
        probability = sum(
            (-1) ** r * chance_clean(fixed + extra)
            for r in range(len(dirty) + 1)
            for extra in itertools.combinations(dirty, r)
        )
        own = [is_clean[0, "both"] and is_clean[0, "first"], is_clean[1, "both"] and is_clean[1, "second"]]
        shown = [is_clean[0, "both"] and is_clean[0, "second"], is_clean[1, "both"] and is_clean[1, "first"]]
        if all(own[i] or (own[1 - i] and shown[i]) for i in (0, 1)):
            total += probability
    tally = simulate_epr(rules, flip, "honest", SHOTS, np.random.default_rng(8))
    assert agrees(tally.failure, 1 - total)


@pytest.mark.parametrize("colluders", [1, 2, 3])
def test_forced_aborts_follow_the_forgery_formula(colluders: int) -> None:
    """With counts that are never out of range, at exact chances for one and two colluders; false alarm 2e-7 a case.

    Two guess opposite bits at U ~ Bin(m, 1/4) places, so one list is wrong at w ~ Bin(U, 1/2) of them and the other at
    U - w. Three have a third list of its own coins.
    """
    tolerance, m = 6, 40
    rules = EprRules(tuples=m, count_tolerance=float(m), difference_tolerance=float(tolerance))
    tally = simulate_epr_collusion(rules, 0.0, colluders, SHOTS, np.random.default_rng(2))
    bound = epr_forgery_probability(rules, colluders)
    unknown = np.arange(m + 1)
    exact = 0.0
    for count, chance in zip(unknown, binom.pmf(unknown, m, 0.5**colluders), strict=True):
        passes = float(binom.cdf(tolerance, count, 0.5))
        wrong = np.arange(count + 1)
        of_two = float(binom.pmf(wrong, count, 0.5)[(wrong <= tolerance) | (count - wrong <= tolerance)].sum())
        exact += chance * {1: passes, 2: of_two, 3: 1 - (1 - of_two) * (1 - passes)}[colluders]
    assert agrees(tally.aborted, exact)
    assert exact <= bound
    assert (exact == pytest.approx(bound)) == (colluders == 1)
    assert tally.failure.events == tally.aborted.events == tally.undecided.events


def test_balanced_forgery() -> None:
    assert balanced_forgery_probability(64, 0) == pytest.approx(1 / math.comb(32, 16), rel=1e-12)
    assert balanced_forgery_probability(256, 16) == pytest.approx(8.3e-19, rel=0.01)
    # Real counts are not balanced, and a forger profits from that.
    assert epr_forgery_probability(published_epr_rules(256)) > 1e-15
    assert epr_forgery_probability(published_epr_rules(256)) / balanced_forgery_probability(256, 16) > 1e3


# --- attacks ----------------------------------------------------------------------------------------------------------


def test_perfect_pairs_and_a_plain_equivocator_end_in_abort() -> None:
    rules = tolerant_epr_rules(80, 0.0, 1e-6)
    tally = simulate_epr(rules, 0.0, "equivocating_commander", 2000, np.random.default_rng(3))
    assert (tally.failure.events, tally.aborted.events) == (0, 2000)


def test_corrupted_lists_split_the_lieutenants() -> None:
    """Acceptance is at least 1 - 1e-6 and the lists differ at Bin(160, 3/8) places: WCV fails but for 1e-12."""
    rules = tolerant_epr_rules(160, 0.0, 1e-6)
    chance = float(binom.cdf(rules.difference_tolerance, 160, 3 / 8))
    assert chance < 1e-12
    tally = simulate_epr(rules, 0.0, "list_corruption", 2000, np.random.default_rng(3))
    assert tally.contradiction.events == tally.failure.events == 2000
    tally = simulate_epr(rules, 0.0, "half_list_corruption", 2000, np.random.default_rng(3))
    assert (tally.failure.events, tally.contradiction.events) == (2000, 0)


def test_a_lieutenant_that_reads_first_forges_at_will() -> None:
    rules = tolerant_epr_rules(80, 0.0, 1e-6)
    tally = simulate_epr(rules, 0.0, "rushing_lieutenant", 2000, np.random.default_rng(3))
    assert tally.aborted.events == 2000


# --- limits and sizes -------------------------------------------------------------------------------------------------


def test_pairs_without_correlation() -> None:
    flip = flip_probability(0.25)
    assert flip == 0.5
    assert size_epr(flip, 1e-2) is None
    rules = published_epr_rules(64)
    tally = simulate_epr(rules, flip, "honest", 2000, np.random.default_rng(4))
    assert tally.undecided.events == tally.failure.events == 2000
    assert epr_acceptance_probability(rules, flip) < 1e-10


@given(fidelity=st.floats(0.5, 1.0), target=st.sampled_from([1e-1, 1e-3, 1e-6]))
@settings(max_examples=15, deadline=None)
def test_a_sized_instance_keeps_its_promise(fidelity: float, target: float) -> None:
    flip = flip_probability(fidelity)
    rules = size_epr(flip, target)
    assert rules is not None
    assert epr_forgery_probability(rules) <= target / 2
    counts = 3 * (
        binom.cdf(math.ceil(rules.tuples / 4 - rules.count_tolerance) - 1, rules.tuples, 0.25)
        + binom.sf(math.floor(rules.tuples / 4 + rules.count_tolerance), rules.tuples, 0.25)
    )
    assert counts + 2 * binom.sf(rules.mismatches, rules.tuples, flip / 2) <= target / 2 + 1e-12


def test_published_rules_fail_more_often_in_noise_the_longer_the_lists() -> None:
    flip = flip_probability(0.95)
    accepted = [epr_acceptance_probability(published_epr_rules(m), flip) for m in (16, 32, 64, 128, 256)]
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[-1] < 1e-3


def test_the_same_seed_gives_the_same_tally() -> None:
    rules = published_epr_rules(16)
    one, two = (simulate_epr(rules, 0.1, "honest", 500, np.random.default_rng(6)) for _ in range(2))
    assert one == two


def test_bad_arguments_are_named() -> None:
    rules = published_epr_rules(16)
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownNameError, match=r"unknown strategy `honst`\. Did you mean `honest`"):
        simulate_epr(rules, 0.0, "honst", 10, rng)
    with pytest.raises(DomainError, match=r"`flip` must be in \[0, 0.5\], but is 0.7"):
        simulate_epr(rules, 0.7, "honest", 10, rng)
    with pytest.raises(DomainError, match="`shots` must be a whole number of at least 1, but is 0"):
        simulate_epr(rules, 0.0, "honest", 0, rng)
    with pytest.raises(DomainError, match="`tuples` must be a whole number of at least 4, but is 3"):
        published_epr_rules(3)
    with pytest.raises(DomainError, match="`count_tolerance` must be finite"):
        EprRules(tuples=8, count_tolerance=math.nan, difference_tolerance=1.0)
    with pytest.raises(DomainError, match="`failure` must be in"):
        tolerant_epr_rules(16, 0.0, 0.0)
    with pytest.raises(DomainError, match="`lieutenants` must be 1 or 2, but is 3"):
        epr_acceptance_probability(rules, 0.0, 3)
    with pytest.raises(DomainError, match="multiple of 4"):
        balanced_forgery_probability(10, 0)
