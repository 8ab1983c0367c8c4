"""How many pairs must be measured to know how good the others are.

A joint test draws one of X, Y, Z at random, both ends measure it and compare with Phi+. Any Bell-diagonal pair passes
with probability P = (1 + 2F)/3, so F = (3P - 1)/2. The choice of tested pairs must be secret until both halves are
stored; these sizes are for pairs that are independent, unless said otherwise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError
from ceas.physics.domain import require_between, unit_interval
from ceas.physics.keys import joint_test_pass_probability
from ceas.physics.states import bell_diagonal_to_correlators, fidelity_to_werner

__all__ = [
    "CHSH_WERNER_FIDELITY",
    "SequentialTest",
    "certification_sample_size",
    "chsh_value",
    "estimation_sample_size",
    "fidelity_from_pass_rate",
    "sequential_test",
]

# A Werner pair breaks the CHSH inequality, 2 sqrt(2) w > 2, above this fidelity.
CHSH_WERNER_FIDELITY = (1.0 + 3.0 * 0.5**0.5) / 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialTest:
    """Wald's sequential test between a good and a bad pass rate.

    After every test the log-likelihood ratio of bad against good moves by `pass_step` or `fail_step`; at `reject_above`
    the node is found bad, at `accept_below` good. Overshoot is ignored: true errors are at most about the stated ones
    (their sum never is above), true mean numbers of tests slightly larger.

    Attributes:
        pass_step: log(P_bad/P_good), negative.
        fail_step: log((1 - P_bad)/(1 - P_good)), positive.
        accept_below: log(beta/(1 - alpha)).
        reject_above: log((1 - beta)/alpha).
        mean_tests_if_good: Mean number of tests on a good node.
        mean_tests_if_bad: Mean number of tests on a bad node.
        divergence_good_nats: Information per test on a good node, KL(P_good || P_bad).
        divergence_bad_nats: Information per test on a bad node, KL(P_bad || P_good).
    """

    pass_step: NDArray[np.float64]
    fail_step: NDArray[np.float64]
    accept_below: NDArray[np.float64]
    reject_above: NDArray[np.float64]
    mean_tests_if_good: NDArray[np.float64]
    mean_tests_if_bad: NDArray[np.float64]
    divergence_good_nats: NDArray[np.float64]
    divergence_bad_nats: NDArray[np.float64]


def fidelity_from_pass_rate(pass_rate: ArrayLike) -> NDArray[np.float64]:
    """Return the unbiased estimate F = (3P - 1)/2 from a share of passed tests, which may leave [0, 1] by chance."""
    return (3.0 * unit_interval("pass_rate", pass_rate) - 1.0) / 2.0


def estimation_sample_size(accuracy: ArrayLike, failure_probability: ArrayLike) -> NDArray[np.int64]:
    """Return how many joint tests tell F to within `accuracy`, both ways, but for `failure_probability`.

    Hoeffding's inequality for P, with F = (3P - 1)/2: n = ceil(9 ln(2/delta)/(8 accuracy^2)).
    """
    epsilon, delta = _open_unit("accuracy", accuracy), _open_unit("failure_probability", failure_probability)
    return np.asarray(np.ceil(9.0 * np.log(2.0 / delta) / (8.0 * epsilon**2)), dtype=np.int64)


def certification_sample_size(infidelity: ArrayLike, failure_probability: ArrayLike) -> NDArray[np.int64]:
    """Return how many joint tests must all pass so that F >= 1 - infidelity but for `failure_probability`.

    A pair at the limit passes with probability 1 - 2 epsilon/3, and no local measurement of one pair tells more:
    n = ceil(ln delta/ln(1 - 2 epsilon/3)).

    Source:
        Pallister, Linden and Montanaro, PRL 120, 170502, 2018.
    """
    epsilon, delta = _open_unit("infidelity", infidelity), _open_unit("failure_probability", failure_probability)
    return np.asarray(np.ceil(np.log(delta) / np.log1p(-2.0 * epsilon / 3.0)), dtype=np.int64)


def sequential_test(
    good_fidelity: ArrayLike, bad_fidelity: ArrayLike, false_alarm: ArrayLike, missed: ArrayLike
) -> SequentialTest:
    """Return the sequential test that tells a node with good pairs from one with bad pairs.

    Args:
        good_fidelity: Fidelity of pairs to be accepted, in (0, 1).
        bad_fidelity: Fidelity of pairs to be rejected, below that, in (0, 1).
        false_alarm: alpha, the chance to reject a good node.
        missed: beta, the chance to accept a bad node; alpha + beta must be below 1.

    Raises:
        DomainError: An argument is outside its domain.

    Source:
        Wald, Annals of Mathematical Statistics 16, 117, 1945.
    """
    good, bad = _open_unit("good_fidelity", good_fidelity), _open_unit("bad_fidelity", bad_fidelity)
    if np.any(bad >= good):
        raise DomainError("Argument `bad_fidelity` must be below `good_fidelity`, but is not.")
    alpha, beta = _open_unit("false_alarm", false_alarm), _open_unit("missed", missed)
    if np.any(alpha + beta >= 1.0):
        # Then a guess without tests keeps both promises, and the two limits would change places.
        raise DomainError("Argument `missed` must be below 1 - `false_alarm`, but is not.")
    p_good, p_bad = (joint_test_pass_probability(fidelity_to_werner(one)) for one in (good, bad))
    pass_step, fail_step = np.log(p_bad / p_good), np.log((1.0 - p_bad) / (1.0 - p_good))
    accept, reject = np.log(beta / (1.0 - alpha)), np.log((1.0 - beta) / alpha)
    drift_good = p_good * pass_step + (1.0 - p_good) * fail_step
    drift_bad = p_bad * pass_step + (1.0 - p_bad) * fail_step
    return SequentialTest(
        pass_step=np.asarray(pass_step),
        fail_step=np.asarray(fail_step),
        accept_below=np.asarray(accept),
        reject_above=np.asarray(reject),
        mean_tests_if_good=np.asarray(((1.0 - alpha) * accept + alpha * reject) / drift_good),
        mean_tests_if_bad=np.asarray((beta * accept + (1.0 - beta) * reject) / drift_bad),
        divergence_good_nats=np.asarray(-drift_good),
        divergence_bad_nats=np.asarray(drift_bad),
    )


def chsh_value(bell_diagonal: ArrayLike) -> NDArray[np.float64]:
    """Return the largest CHSH value over all settings, 2 sqrt(sum of the two largest squared correlators).

    Above 2 no local model explains the outcomes; a Werner pair needs F > 0.780330.

    Source:
        Horodecki, Horodecki and Horodecki, Physics Letters A 200, 340, 1995.
    """
    squares = np.sort(bell_diagonal_to_correlators(bell_diagonal) ** 2, axis=-1)
    return np.asarray(2.0 * np.sqrt(squares[..., 1] + squares[..., 2]))


def _open_unit(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return `value` as float64, or raise DomainError unless all are strictly between 0 and 1."""
    array = require_between(name, value, 0.0, 1.0)
    if np.any((array <= 0.0) | (array >= 1.0)):
        raise DomainError(f"Argument `{name}` must be in (0, 1), but reaches an end of it.")
    return array
