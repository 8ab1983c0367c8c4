"""Weak broadcast against the published figures, exhaustive sums, and an independent player."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba import (
    Rate,
    WeakBroadcastRules,
    simulate_weak_broadcast,
    size_weak_broadcast,
    weak_broadcast_honest_failure,
    weak_broadcast_receiver_failure,
    weak_broadcast_sender_failure,
    weak_broadcast_sender_success,
)

SHOTS = 20_000
FALSE_ALARM = 1e-7

# (m, none faulty, S faulty, R0 faulty): public data files of Guba et al., to all their digits.
PUBLISHED = [
    (20, 2.972138936100513495e-01, 7.177936523067520724e-01, 5.532709836696483308e-01),
    (60, 1.691966677757714421e-01, 4.231214085799306912e-01, 4.227014874990945303e-01),
    (100, 1.066060931045731686e-01, 3.640673040457957366e-01, 2.083815872530198343e-01),
    (400, 3.745559875731115963e-03, 1.180726864655043916e-02, 2.271490238653845611e-02),
]


def agrees(rate: Rate, probability: float) -> bool:
    low, high = binom.ppf(FALSE_ALARM, rate.shots, probability), binom.isf(FALSE_ALARM, rate.shots, probability)
    return bool(low <= rate.events <= high)


@pytest.mark.parametrize(("states", "none", "sender", "receiver"), PUBLISHED)
def test_published_failure_probabilities(states: int, none: float, sender: float, receiver: float) -> None:
    rules = WeakBroadcastRules(states=states)
    assert weak_broadcast_honest_failure(rules) == pytest.approx(none, abs=1e-9)
    assert weak_broadcast_receiver_failure(rules) == pytest.approx(receiver, abs=1e-9)
    assert weak_broadcast_sender_failure(rules) == pytest.approx(sender, abs=1e-9)


def test_the_published_instance_for_five_percent() -> None:
    assert size_weak_broadcast(0.05) == WeakBroadcastRules(states=280)
    rules = WeakBroadcastRules(states=280)
    found = [f(rules) for f in (weak_broadcast_honest_failure, weak_broadcast_sender_failure)]
    assert found == pytest.approx([0.0153, 0.0484], abs=5e-5)
    assert (rules.shortest, rules.confirmed, rules.unconfirmed) == (77, 73, 5)


def outcomes(m: int) -> list[tuple[list[tuple[int, int, int]], float]]:
    single = {(0, 1, 1): 4, (3, 0, 0): 4, (1, 0, 1): 1, (1, 1, 0): 1, (2, 0, 1): 1, (2, 1, 0): 1}
    return [(list(row), math.prod(single[x] for x in row) / 12**m) for row in itertools.product(single, repeat=m)]


def receiver_output(rules: WeakBroadcastRules, x: int, sigma: list[int], bits: list[int]) -> int | None:
    return x if len(sigma) >= rules.shortest and all(bits[k] == 1 - x for k in sigma) else None


def final_output(
    rules: WeakBroadcastRules, y0: int | None, y1: int | None, rho: list[int], bits: list[int]
) -> int | None:
    if y0 is None or y1 is None or y0 == y1 or len(rho) < rules.shortest:
        return y1
    agreed = sum(bits[k] == 1 - y0 for k in rho)
    return y0 if agreed >= rules.lam * rules.shortest + len(rho) - rules.shortest - 1e-9 else y1


@pytest.mark.parametrize(("m", "mu", "lam"), [(5, 0.35, 0.9), (5, 0.2, 0.5), (4, 0.49, 0.5)])
def test_formulas_and_play_against_all_outcomes(m: int, mu: float, lam: float) -> None:
    """All 6^m outcomes, played in plain Python by the numbered rules; then the simulator, false alarm 2e-7 a case."""
    rules = WeakBroadcastRules(states=m, mu=mu, lam=lam)
    t, q = rules.shortest, rules.unconfirmed
    fails = {"honest": 0.0, "faulty_sender": 0.0, "faulty_receiver": 0.0}
    unattacked = {"faulty_sender": 0.0, "faulty_receiver": 0.0}
    for row, chance in outcomes(m):
        s, b0, b1 = ([x[i] for x in row] for i in range(3))
        sigma = [k for k in range(m) if s[k] == 0]
        y0, y1 = receiver_output(rules, 0, sigma, b0), receiver_output(rules, 0, sigma, b1)
        y1 = final_output(rules, y0, y1, [k for k in sigma if b0[k] == 1], b1)
        fails["honest"] += chance * (not y0 == y1 == 0)
        # S sends 0 to R0 and 1 to R1.
        other, mixed = [k for k in range(m) if s[k] == 3], [k for k in range(m) if s[k] in (1, 2)]
        if len(sigma) >= t - q and len(mixed) >= q and len(other) >= t:
            made = sigma[: t - q] + mixed[:q]
            y0, y1 = receiver_output(rules, 0, made, b0), receiver_output(rules, 1, other, b1)
            y1 = final_output(rules, y0, y1, made, b1)
            fails["faulty_sender"] += chance * (y0 is not None and y1 is not None and y0 != y1)
        else:
            unattacked["faulty_sender"] += chance
        # S is honest with 0; R0 claims 1 and needs places where R1 has 0.
        outside = [k for k in range(m) if k not in sigma]
        rho = [k for k in outside if b0[k] == 1]
        rho += [k for k in outside if b0[k] == 0][: max(t - len(rho), 0)]
        unattacked["faulty_receiver"] += chance * (len(rho) < t)
        y1 = final_output(rules, 1, receiver_output(rules, 0, sigma, b1), rho, b1)
        fails["faulty_receiver"] += chance * (y1 != 0)
    assert weak_broadcast_honest_failure(rules) == pytest.approx(fails["honest"], abs=1e-12)
    assert weak_broadcast_sender_success(rules) == pytest.approx(fails["faulty_sender"], abs=1e-12)
    published = fails["faulty_sender"] + unattacked["faulty_sender"]
    assert weak_broadcast_sender_failure(rules) == pytest.approx(published, abs=1e-12)
    for number, (strategy, probability) in enumerate(fails.items()):
        tally = simulate_weak_broadcast(rules, 0.0, strategy, SHOTS, np.random.default_rng(number))
        assert agrees(tally.failure, probability), strategy
        if strategy in unattacked:
            assert agrees(tally.unattacked, unattacked[strategy]), strategy


def test_a_faulty_receiver_fails_as_published() -> None:
    """False alarm 2e-7; at m = 60 there are always places enough, so the published bound is exact to 1e-9."""
    rules = WeakBroadcastRules(states=60)
    tally = simulate_weak_broadcast(rules, 0.0, "faulty_receiver", SHOTS, np.random.default_rng(5))
    assert agrees(tally.failure, weak_broadcast_receiver_failure(rules))


@pytest.mark.parametrize("flip", [0.002, 0.02, 0.5])
def test_noise_of_honest_play_is_a_formula(flip: float) -> None:
    rules = WeakBroadcastRules(states=60)
    tally = simulate_weak_broadcast(rules, flip, "honest", SHOTS, np.random.default_rng(6))
    assert agrees(tally.failure, weak_broadcast_honest_failure(rules, flip))


@pytest.mark.parametrize("flip", [0.01, 0.1, 0.3])
def test_noise_of_faulty_play_is_a_formula(flip: float) -> None:
    """False alarm 2e-7 each. Small T, so that noise leaves something to count."""
    rules = WeakBroadcastRules(states=40, mu=0.12, lam=0.75)
    assert (rules.shortest, rules.confirmed, rules.unconfirmed) == (5, 4, 2)
    short = WeakBroadcastRules(states=9, mu=0.2, lam=0.5)
    for case in (rules, short):
        tally = simulate_weak_broadcast(case, flip, "faulty_sender", 10 * SHOTS, np.random.default_rng(7))
        assert agrees(tally.failure, weak_broadcast_sender_success(case, flip))
    assert tally.failure.events > 200


@pytest.mark.parametrize("flip", [0.02, 0.06, 0.15])
def test_noise_of_a_faulty_receiver_is_a_formula(flip: float) -> None:
    """False alarm 2e-7 each. T is near the mean number of known places, so that some have to be guessed."""
    rules = WeakBroadcastRules(states=30, mu=0.2, lam=0.7)
    assert (rules.shortest, rules.confirmed) == (6, 5)
    tally = simulate_weak_broadcast(rules, flip, "faulty_receiver", 10 * SHOTS, np.random.default_rng(9))
    # l1 > m-T, which the formula counts as a failure and the simulator does not, has a chance below 1e-6.
    assert agrees(tally.failure, weak_broadcast_receiver_failure(rules, flip))


def test_decimal_parameters_are_taken_as_written() -> None:
    """28 % of 100 are 28 and 55 % of 20 are 11; the nearest floating-point numbers are above 0.28 and 0.55."""
    assert WeakBroadcastRules(states=100, mu=0.28).shortest == 28
    assert WeakBroadcastRules(states=100, mu=0.2, lam=0.55).confirmed == 11


def test_bad_arguments_are_named() -> None:
    with pytest.raises(DomainError, match=r"`mu` must be in \(0, 0.5\), but is 0.5"):
        WeakBroadcastRules(states=10, mu=0.5)
    with pytest.raises(DomainError, match=r"`lam` must be in \(0, 1\], but is 0"):
        WeakBroadcastRules(states=10, lam=0.0)
    with pytest.raises(DomainError, match="`states` must be a whole number of at least 2, but is 1"):
        WeakBroadcastRules(states=1)
    with pytest.raises(UnknownNameError, match="unknown strategy `sender`"):
        simulate_weak_broadcast(WeakBroadcastRules(states=10), 0.0, "sender", 5, np.random.default_rng(0))
    with pytest.raises(DomainError, match="`target` must be in"):
        size_weak_broadcast(1.0)
