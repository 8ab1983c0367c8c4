"""Certification: what a learner may claim, given the joint tests on its link.

A pair is drawn for a test only after both ends hold it, both measure in a random common Pauli basis, commit, and open.
A Werner pair passes with probability `(1 + w) / 2`, so the pass fraction estimates `w` without trusting either end: a
liar that does not hold its half cannot raise the correlation.

What the tests bound is the *link*. A learner's own gates are its own claim; the certified contraction is therefore at
most the contraction of a learner with perfect gates on the tested link.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Claims
from ceas.physics import joint_test_pass_probability

__all__ = ["JointTests", "certify_claims"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(slots=True)
class JointTests:
    """Running counts per link of joint tests on pairs that were chosen for a shot.

    Attributes:
        tested: Pairs tested so far, shape `(links,)`.
        passed: Pairs that passed, shape `(links,)`.
    """

    tested: IntArray
    passed: IntArray

    @classmethod
    def none_yet(cls, n_links: int) -> "JointTests":
        """Return empty counts for `n_links` links."""
        return cls(np.zeros(n_links, np.int64), np.zeros(n_links, np.int64))

    def observe(self, link: NDArray[np.int32], werner: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Draw the outcome of each test pair from its Werner parameter when it was measured.

        Args:
            link: Link of each tested pair, shape `(tests,)`.
            werner: Werner parameter at the test, shape `(tests,)`.
            rng: Generator of the measurement outcomes.
        """
        passes = rng.random(werner.shape) < joint_test_pass_probability(werner)
        self.tested += np.bincount(link, minlength=self.tested.size)
        self.passed += np.bincount(link[passes], minlength=self.tested.size)

    def estimate(self) -> FloatArray:
        """Return the estimated Werner parameter of each link at use, in [0, 1]; 1 where nothing was tested yet."""
        fraction = np.divide(self.passed, self.tested, out=np.ones(self.tested.shape), where=self.tested > 0)
        return np.clip(2.0 * fraction - 1.0, 0.0, 1.0)

    def upper_bound(self, error_probability: float) -> FloatArray:
        """Return an upper confidence bound on each link's Werner parameter at use.

        Hoeffding: the pass fraction of `k` tests exceeds its mean by `sqrt(ln(1/delta) / 2k)` with probability at most
        `delta`, and `w = 2 P - 1`. A link without tests is bounded by 1.

        Args:
            error_probability: `delta` of each bound, in (0, 1).
        """
        slack = np.sqrt(np.log(1.0 / error_probability) / (2.0 * np.maximum(self.tested, 1)))
        return np.where(self.tested > 0, np.clip(self.estimate() + 2.0 * slack, 0.0, 1.0), 1.0)


def certify_claims(claims: Claims, *, delivered_shots: IntArray, contraction_bound: FloatArray) -> Claims:
    """Cut every claim to what others can verify.

    Shots are bounded by the tuples that both ends of the link accounted for, contraction by `contraction_bound`, and
    the mean quantum Fisher information per parameter by 1, the most that one Pauli rotation can carry. Claims that are
    not numbers or are negative count as zero.

    Args:
        claims: What each learner says, arrays of shape `(learners,)`.
        delivered_shots: Shots that each learner's deliveries allow, shape `(learners,)`.
        contraction_bound: Largest contraction that the joint tests leave possible, shape `(learners,)`.
    """

    def cut(values: FloatArray, bound: FloatArray) -> FloatArray:
        return np.clip(np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=0.0), 0.0, bound)

    return Claims(
        shots=cut(claims.shots, delivered_shots.astype(np.float64)),
        contraction=cut(claims.contraction, contraction_bound),
        quantum_fisher=cut(claims.quantum_fisher, np.ones_like(claims.quantum_fisher)),
    )
