"""The benchmark: every protocol with every strategy against pair fidelity, and the pairs of a decision, as rows.

Each row's shots have a stream of their own, named by protocol, rules and strategy and numbered by fidelity, so that
another list of fidelities gives the same rows for those in both.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from ceas.errors import DomainError, UnknownNameError
from ceas.qdba.cost import DecisionCost, coin_cost, epr_cost, tetrabft_cost, weak_broadcast_cost
from ceas.qdba.epr_agreement import (
    EPR_STRATEGIES,
    EprRules,
    EprTally,
    epr_acceptance_probability,
    epr_forgery_probability,
    published_epr_rules,
    simulate_epr,
    simulate_epr_collusion,
    size_epr,
)
from ceas.qdba.ghz_coin import GHZ_COIN_STRATEGIES, coin_agreement_bound, simulate_ghz_coin
from ceas.qdba.pairs import Rate, flip_probability, require_whole
from ceas.qdba.weak_broadcast import (
    WEAK_BROADCAST_STRATEGIES,
    WeakBroadcastRules,
    simulate_weak_broadcast,
    size_weak_broadcast,
    weak_broadcast_honest_failure,
    weak_broadcast_receiver_failure,
    weak_broadcast_sender_failure,
    weak_broadcast_sender_success,
)
from ceas.streams import stream

__all__ = ["DIGEST_BITS", "PROTOCOLS", "compare_costs", "measure_protocol"]

Row = dict[str, Any]

PROTOCOLS: Final = ("epr", "weak-broadcast", "ghz-coin")
# The published simulations' sizes.
PUBLISHED_TUPLES: Final = 64
PUBLISHED_STATES: Final = 280
COIN_PLAYERS: Final = 4
COLLUDERS: Final = 2
# What a decision about a value of some length takes when bits are decided one by one.
DIGEST_BITS: Final = 256


def measure_protocol(
    protocol: str, fidelities: Sequence[float], *, shots: int, seed: int = 0, target: float = 1e-3
) -> list[Row]:
    """Measure one protocol.

    Args:
        protocol: One of `PROTOCOLS`.
        fidelities: Fidelities of Werner pairs, each in [1/4, 1].
        shots: Instances for each row, at least 1.
        seed: Root seed.
        target: Failure probability for which the noise-tolerant rules are made, in (0, 1).

    Returns:
        One row for each fidelity, set of rules and strategy: measured failure probability with the ends of its exact
        95 % interval, and what formulas there are (None where there is none).

    Raises:
        UnknownNameError: There is no such protocol.
        DomainError: An argument is outside its range.
    """
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    _check(fidelities, target)
    require_whole("shots", shots, 1)
    rows = {"epr": _epr_rows, "weak-broadcast": _weak_broadcast_rows, "ghz-coin": _coin_rows}[protocol]
    return [row for fidelity in fidelities for row in rows(fidelity, shots, seed, target)]


def _check(fidelities: Sequence[float], target: float) -> None:
    for fidelity in fidelities:
        flip_probability(fidelity)
    if not 0.0 < target < 1.0:
        raise DomainError(f"Argument `target` must be in (0, 1), but is {target}.")


def _rng(seed: int, name: str, fidelity: float) -> np.random.Generator:
    return stream(seed, f"qdba {name}", fidelity_e9=round(fidelity * 1e9))


def _measured(rate: Rate) -> Row:
    low, high = rate.interval()
    return {"failure": rate.value, "low": low, "high": high}


def _epr_rows(fidelity: float, shots: int, seed: int, target: float) -> Iterator[Row]:
    flip = flip_probability(fidelity)
    sized = size_epr(flip, target)
    for name, rules in (("published", published_epr_rules(PUBLISHED_TUPLES)), ("tolerant", sized)):
        if rules is None:
            continue  # no number of tuples is enough
        for strategy in EPR_STRATEGIES:
            rng = _rng(seed, f"epr {name} {strategy}", fidelity)
            tally = simulate_epr(rules, flip, strategy, shots, rng)
            yield _epr_row(fidelity, name, rules, strategy, tally, _epr_bound(rules, flip, strategy))
        rng = _rng(seed, f"epr {name} colluding", fidelity)
        tally = simulate_epr_collusion(rules, flip, COLLUDERS, shots, rng)
        bound = COLLUDERS * (1.0 - epr_acceptance_probability(rules, flip, 1))
        bound = min(1.0, bound + epr_forgery_probability(rules, COLLUDERS))
        yield _epr_row(fidelity, name, rules, f"colluding_lieutenants_{COLLUDERS}", tally, bound)


def _epr_row(  # noqa: PLR0917 - the columns of one row, in their order
    fidelity: float, name: str, rules: EprRules, strategy: str, tally: EprTally, bound: float | None
) -> Row:
    return {
        "fidelity": fidelity,
        "rules": name,
        "tuples": rules.tuples,
        "mismatches": rules.mismatches,
        "strategy": strategy,
        **_measured(tally.failure),
        "at_most": bound,
        "contradiction": tally.contradiction.value,
        "aborted": tally.aborted.value,
    }


def _epr_bound(rules: EprRules, flip: float, strategy: str) -> float | None:
    """Return a proven upper bound on the failure probability, where there is one."""
    if strategy == "honest":
        return 1.0 - epr_acceptance_probability(rules, flip)
    if strategy == "lying_lieutenant":
        return min(1.0, 1.0 - epr_acceptance_probability(rules, flip, 1) + epr_forgery_probability(rules))
    return None


def _weak_broadcast_rows(fidelity: float, shots: int, seed: int, target: float) -> Iterator[Row]:  # noqa: ARG001
    flip, rules = flip_probability(fidelity), WeakBroadcastRules(states=PUBLISHED_STATES)
    published = {
        "honest": weak_broadcast_honest_failure(rules),
        "faulty_sender": weak_broadcast_sender_failure(rules),
        "faulty_receiver": weak_broadcast_receiver_failure(rules),
    }
    exact = {
        "honest": weak_broadcast_honest_failure(rules, flip),
        "faulty_sender": weak_broadcast_sender_success(rules, flip),
        "faulty_receiver": weak_broadcast_receiver_failure(rules, flip),
    }
    for strategy in WEAK_BROADCAST_STRATEGIES:
        rng = _rng(seed, f"weak broadcast {strategy}", fidelity)
        tally = simulate_weak_broadcast(rules, flip, strategy, shots, rng)
        yield {
            "fidelity": fidelity,
            "states": rules.states,
            "strategy": strategy,
            **_measured(tally.failure),
            "exact": exact[strategy],
            "published_at_fidelity_1": published[strategy],
            "unattacked": tally.unattacked.value,
        }


def _coin_rows(fidelity: float, shots: int, seed: int, target: float) -> Iterator[Row]:  # noqa: ARG001
    flip = flip_probability(fidelity)
    for strategy in GHZ_COIN_STRATEGIES:
        rng = _rng(seed, f"ghz coin {strategy}", fidelity)
        tally = simulate_ghz_coin(COIN_PLAYERS, flip, strategy, shots, rng)
        yield {
            "fidelity": fidelity,
            "players": COIN_PLAYERS,
            "strategy": strategy,
            **_measured(tally.failure),
            "at_most": 1.0 - coin_agreement_bound(COIN_PLAYERS, flip) if strategy == "honest" else None,
            "all_say_1": tally.ones.value,
            "honest_leader": tally.honest_leader.value,
        }


def compare_costs(fidelities: Sequence[float], *, target: float = 1e-3) -> list[Row]:
    """Return what a decision costs in pairs, one row for each fidelity and protocol.

    Args:
        fidelities: Fidelities of all pairs, each in [1/4, 1].
        target: Failure probability asked for, in (0, 1).

    Returns:
        Rows with `pairs` of one decision and `pairs_per_digest` of a decision about 256 bits (None where there is no
        such number), an upper bound on the failure of honest players, and whether the target is met: `yes`, `no`, or
        what has to be left out for it.

    Raises:
        DomainError: An argument is outside its range.
    """
    _check(fidelities, target)
    weak = size_weak_broadcast(target)
    return [row for fidelity in fidelities for row in _cost_rows(fidelity, target, weak)]


def _cost_rows(fidelity: float, target: float, weak: WeakBroadcastRules | None) -> Iterator[Row]:
    flip = flip_probability(fidelity)
    published = published_epr_rules(PUBLISHED_TUPLES)
    failure = 1.0 - epr_acceptance_probability(published, flip)
    is_met = max(failure, epr_forgery_probability(published)) <= target
    yield _cost_row(epr_cost(published, fidelity, "EPR agreement, published"), fidelity, failure, is_met)
    if (tolerant := size_epr(flip, target)) is not None:
        failure = 1.0 - epr_acceptance_probability(tolerant, flip)
        is_met = failure + epr_forgery_probability(tolerant) <= target
        cost = epr_cost(tolerant, fidelity, "EPR agreement, tolerant")
        yield _cost_row(cost, fidelity, failure, is_met, "but for corrupted lists")
    if weak is not None:
        failure = weak_broadcast_honest_failure(weak, flip)
        yield _cost_row(weak_broadcast_cost(weak, fidelity), fidelity, failure, failure <= target)
    failure = 1.0 - coin_agreement_bound(COIN_PLAYERS, flip)
    yield _cost_row(coin_cost(COIN_PLAYERS, fidelity), fidelity, failure, failure <= target, "without faulty states")
    for profile in ("its128", "its64", "qkd_seeded"):
        # Its honest nodes agree whenever messages arrive; whether a tag is forged is another risk, see docs/qdba.md.
        how = "computationally" if profile == "qkd_seeded" else "but for forged tags"
        yield _cost_row(tetrabft_cost(4, fidelity, profile), fidelity, 0.0, True, how)


def _cost_row(cost: DecisionCost, fidelity: float, failure: float, is_met: bool, how: str = "yes") -> Row:
    is_payable = math.isfinite(cost.pairs)
    times = {"one random bit": None, "a value of any length": 1}.get(cost.decides, DIGEST_BITS)
    return {
        "fidelity": fidelity,
        "protocol": cost.protocol,
        "players": cost.players,
        "faults": cost.faults,
        "state_pairs": cost.state_pairs,
        "key_bits": cost.key_bits,
        "pairs": int(cost.pairs) if is_payable else None,
        "pairs_per_digest": int(cost.pairs) * times if is_payable and times else None,
        "honest_failure_at_most": failure,
        "meets_target": how if is_met and is_payable else "no",
        "decides": cost.decides,
    }
