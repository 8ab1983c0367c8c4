"""Links and nodes with liars, certified many times, and how often more was certified than is true.

Trial i of an attack depends on the seed, the attack's name, the plan and i alone. Two rows are about scores of nodes:

- `colluding_peers`: nine in ten pairs of a lying node's links with five honest peers are bad, and two lying peers
  vouch for fidelity 1; its score must not exceed what is true of the best of the honest links.
- `slandered_node`: an honest node with five honest peers of two of whose links nothing is certified; its score must not
  fall below what is true of the worst of the honest links.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from ceas.consensus import TestPlan, node_score
from ceas.errors import DomainError
from ceas.physics import untested_fidelity_radius
from ceas.runtime.certification_trials import (
    LINK_ATTACKS,
    LinkAttack,
    Trials,
    Verdicts,
    certify_trials,
    honest_fidelity,
    play,
    trial_chunks,
)
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["NODE_ATTACKS", "fuzz_certification"]

FloatArray = NDArray[np.float64]

NODE_ATTACKS: Final = ("colluding_peers", "slandered_node")
_HONEST_PEERS: Final = 5
_LYING_PEERS: Final = 2
# Level of the upper confidence limit on a rate, and chance at most that a true rate of delta is called a failure.
_CONFIDENCE: Final = 0.95
_FALSE_FAILURE: Final = 1e-6
_FALSE_ALARM: Final = 1e-3

Score = Callable[[list[float], int], float]


@dataclass(slots=True)
class _Tally:
    """Sums over the trials of one row."""

    trials: int = 0
    certified: int = 0
    flagged: int = 0
    above: int = 0
    bound_above: int = 0
    estimate_sum: float = 0.0
    truth_sum: float = 0.0
    played: int = 0
    differing: int = 0


def fuzz_certification(
    *,
    trials: int = 10_000,
    seed: int = 0,
    n_pairs: int = 4096,
    n_tests: int = 1024,
    failure_probability: float = 0.01,
    played: int = 20,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Certify blocks under every attack and count how often the certificate says more than is true.

    Args:
        trials: Trials of each attack, at least 1.
        seed: Root seed.
        n_pairs: Pairs of a block.
        n_tests: Of these, tested ones; at most a third, since some attackers deny more than half of the pairs.
        failure_probability: delta of a certificate, in (0, 1/4].
        played: Trials of each attack on links that the state machines play too, to compare their verdicts.
        progress: Told after every attack.

    Returns:
        One row for each attack, as `ceas fuzz certification --json` prints them.

    Raises:
        DomainError: An argument is outside its range.
    """
    for name, value, least in (("--trials", trials, 1), ("--tests", n_tests, 8), ("--played", played, 0)):
        if value < least:
            raise DomainError(f"Option `{name}` must be at least {least}, but is {value}.")
    if not 3 * n_tests <= n_pairs <= 2**20:
        raise DomainError(
            f"Option `--pairs` must be in [3 x `--tests`, 2**20] = [{3 * n_tests}, {2**20}], but is {n_pairs}."
        )
    if not 0 < failure_probability <= 0.25:
        raise DomainError(f"Option `--delta` must be in (0, 0.25], but is {failure_probability}.")
    started_s = time.monotonic()
    plan = TestPlan(
        link=(0, 1),
        block=0,
        n_pairs=n_pairs,
        n_tests=n_tests,
        quota=n_pairs // 2,
        promised_fidelity=honest_fidelity(),
        failure_probability=failure_probability,
        false_alarm=_FALSE_ALARM,
    )
    rows: list[dict[str, Any]] = []
    for name in (*LINK_ATTACKS, *NODE_ATTACKS):
        if name in NODE_ATTACKS:
            rows.append(_node_row(name, plan, trials=trials, seed=seed))
        else:
            rows.append(_link_row(name, plan, trials=trials, seed=seed, played=played))
        if progress is not None:
            total = len(LINK_ATTACKS) + len(NODE_ATTACKS)
            progress(ProgressEvent(phase="attacks", training_round=len(rows), rounds=total))
    judged = [row for row in rows if row["is_guaranteed"]]
    return {
        "trials": trials,
        "seed": seed,
        "pairs": n_pairs,
        "tests": n_tests,
        "delta": failure_probability,
        "false_alarm": _FALSE_ALARM,
        "attacks": rows,
        "failures": [row["attack"] for row in judged if not row["holds"]],
        "wall_s": time.monotonic() - started_s,
    }


def _link_row(name: str, plan: TestPlan, *, trials: int, seed: int, played: int) -> dict[str, Any]:
    attack, tally, epsilon = LINK_ATTACKS[name], _Tally(), 0.0
    for chunk in trial_chunks(name, plan, trials=trials, seed=seed):
        verdicts = certify_trials(chunk)
        epsilon = untested_fidelity_radius(verdicts.n_held, plan.n_tests, plan.failure_probability)
        # An end that makes the pairs itself is judged by the bound that allows for it: an estimate says nothing then.
        bound = verdicts.one_sided if attack.is_one_sided else verdicts.lower
        estimate = verdicts.one_sided if attack.is_one_sided else verdicts.estimate
        _add(tally, verdicts, estimate > verdicts.truth + epsilon, bound > verdicts.truth, estimate)
        for row in range(min(played - tally.played, len(chunk.secrets))):
            tally.played += 1
            tally.differing += not _is_played_alike(chunk, row, verdicts)
    return _row(name, attack, tally, plan, 0.0 if attack.is_one_sided else epsilon)


def _add(tally: _Tally, verdicts: Verdicts, above: Any, bound_above: Any, estimate: FloatArray) -> None:
    is_certified = verdicts.is_certified
    tally.trials += len(is_certified)
    tally.certified += int(is_certified.sum())
    tally.flagged += int(verdicts.is_flagged.sum())
    tally.above += int((is_certified & above).sum())
    tally.bound_above += int((is_certified & bound_above).sum())
    tally.estimate_sum += float(estimate[is_certified].sum())
    tally.truth_sum += float(verdicts.truth.sum())


def _is_played_alike(chunk: Trials, row: int, verdicts: Verdicts) -> bool:
    verdict, truth = play(chunk, row)
    certificate = verdict.certificate
    if (certificate is not None) != verdicts.is_certified[row] or bool(verdict.flags) != verdicts.is_flagged[row]:
        return False
    if certificate is None:
        return True
    numbers = (certificate.passed, certificate.estimate, certificate.lower, certificate.one_sided)
    columns = (verdicts.passed, verdicts.estimate, verdicts.lower, verdicts.one_sided)
    is_same = all(number == column[row] for number, column in zip(numbers, columns, strict=True))
    return is_same and abs(truth - float(verdicts.truth[row])) < 1e-9


def _node_row(name: str, plan: TestPlan, *, trials: int, seed: int, score: Score = node_score) -> dict[str, Any]:
    # All honest links hold together but for delta.
    shared = replace(plan, failure_probability=plan.failure_probability / _HONEST_PEERS)
    is_raising = name == "colluding_peers"
    epsilon = untested_fidelity_radius(plan.n_pairs, plan.n_tests, shared.failure_probability, two_sided=not is_raising)
    lies = [1.0 if is_raising else 0.0] * _LYING_PEERS
    tally = _Tally()
    for estimate, lower, truth in _honest_links(name, shared, trials=trials, seed=seed, is_lying=is_raising):
        scores = [score([*estimate.tolist(), *lies], _LYING_PEERS), score([*lower.tolist(), *lies], _LYING_PEERS)]
        limit = float(truth.max() if is_raising else truth.min())
        tally.trials += 1
        tally.certified += 1
        tally.above += scores[0] > limit + epsilon if is_raising else scores[0] < limit - epsilon
        # A lower bound cannot be too low.
        tally.bound_above += is_raising and scores[1] > limit
        tally.estimate_sum += scores[0]
        tally.truth_sum += limit
    texts = {
        "colluding_peers": "bad links with five peers, two others vouch for 1",
        "slandered_node": "two of seven peers let nothing be certified",
    }
    return _row(name, LinkAttack(text=texts[name]), tally, plan, epsilon)


def _honest_links(
    name: str, plan: TestPlan, *, trials: int, seed: int, is_lying: bool
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Yield estimates, lower bounds and truths of a node's links with its honest peers, shape `(5,)` each."""
    attack = replace(LINK_ATTACKS["mixed_pairs"], bad_share=0.9) if is_lying else LINK_ATTACKS["honest"]
    streams = [
        trial_chunks(f"{name}/{peer}", plan, trials=trials, seed=seed, attack=attack) for peer in range(_HONEST_PEERS)
    ]
    for chunks in zip(*streams, strict=True):
        verdicts = [certify_trials(chunk) for chunk in chunks]
        columns = [np.stack([getattr(one, field) for one in verdicts]) for field in ("estimate", "lower", "truth")]
        yield from zip(*(column.T for column in columns), strict=True)


def _row(name: str, attack: LinkAttack, tally: _Tally, plan: TestPlan, epsilon: float) -> dict[str, Any]:
    delta, counts = plan.failure_probability, (tally.above, tally.bound_above)
    # The most that a rate of delta gives, but for one in a million.
    allowed = int(binom.isf(_FALSE_FAILURE, tally.trials, delta))
    return {
        "attack": name,
        "what": attack.text,
        "is_guaranteed": not attack.ruins_after,
        "trials": tally.trials,
        "certified": tally.certified,
        "flagged": tally.flagged,
        "mean_certified": tally.estimate_sum / tally.certified if tally.certified else 0.0,
        "mean_truth": tally.truth_sum / tally.trials,
        "epsilon": epsilon,
        "above": tally.above,
        "above_limit": _upper_limit(tally.above, tally.trials),
        "bound_above": tally.bound_above,
        "bound_above_limit": _upper_limit(tally.bound_above, tally.trials),
        "played": tally.played,
        "differing": tally.differing,
        "holds": max(counts) <= allowed and tally.differing == 0,
    }


def _upper_limit(count: int, trials: int) -> float:
    """Return the exact upper confidence limit of a rate (Clopper and Pearson 1934)."""
    return 1.0 if count == trials else float(beta.ppf(_CONFIDENCE, count + 1, trials - count))
