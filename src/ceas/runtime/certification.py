"""Certification: what a learner may claim, given the joint tests on its link.

A pair is drawn for a test only after both ends hold it, both measure in a random common Pauli basis, commit, and open
(`ceas.consensus.certification` is that protocol, message by message; here its outcomes are drawn from the pairs).
A Werner pair passes with probability `(1 + w) / 2`, so the pass fraction estimates `w` without trusting either end: a
liar that does not hold its half cannot raise the correlation. A Bell-diagonal pair passes in the basis i with
probability `(1 + c_i) / 2`, so the tests are counted by basis, and the bounds of a link share its error probability, so
that all hold together but for that much.

A contraction may rise a little where a single correlator falls: of 300 random draws of the angles of a circuit of four
qubits, 9 did with c_x and 30 with c_y, none with c_z or a Werner parameter. So for three correlators both ends of what
the tests leave possible count, and the bound is the largest contraction at the eight corners.

What the tests bound is the *link*. A learner's own gates are its own claim; the certified contraction is therefore at
most the contraction of a learner with perfect gates on the tested link.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Claims
from ceas.consensus import least_passed, node_score
from ceas.network import LinkTable
from ceas.physics import untested_fidelity_bounds

__all__ = [
    "CERTIFICATIONS",
    "FALSE_ALARM",
    "QUOTA",
    "Certification",
    "JointTests",
    "RoundTests",
    "certify_claims",
    "finite_claims",
]

Certification = Literal["joint_tests", "none"]
CERTIFICATIONS: tuple[Certification, ...] = ("joint_tests", "none")
# Chance at most that honest ends of a link are flagged in a round because tests failed.
FALSE_ALARM = 1e-6
# Share of the pairs about to be used that both ends must hold, lest both be flagged.
QUOTA = 0.9

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(slots=True)
class JointTests:
    """Running counts per link of joint tests on pairs that were chosen for a shot.

    Attributes:
        tested: Pairs tested so far, shape `(links,)`, or `(links, 3)` by basis X, Y, Z for Bell-diagonal pairs.
        passed: Pairs that passed, of the same shape.
    """

    tested: IntArray
    passed: IntArray

    @classmethod
    def none_yet(cls, n_links: int, *, by_basis: bool = False) -> "JointTests":
        """Return empty counts for `n_links` links."""
        shape = (n_links, 3) if by_basis else (n_links,)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    @property
    def is_by_basis(self) -> bool:
        """Whether tests are counted by basis, for pairs of three correlators."""
        return self.tested.ndim == 2

    def observe(
        self, link: NDArray[np.int32], pair: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draw the basis and the outcome of each test from its pair's state when it was measured.

        Args:
            link: Link of each tested pair, shape `(tests,)`.
            pair: Werner parameter at the test, shape `(tests,)`, or correlators, shape `(tests, 3)`.
            rng: Generator of the bases and of the measurement outcomes.

        Returns:
            Whether each test passed, shape `(tests,)`.
        """
        cell, correlation = link, pair
        if self.is_by_basis:
            basis = rng.integers(3, size=len(link))
            cell, correlation = 3 * link + basis, pair[np.arange(len(link)), basis]
        passes = rng.random(correlation.shape) < (1.0 + correlation) / 2.0
        self.tested += np.bincount(cell, minlength=self.tested.size).reshape(self.tested.shape)
        self.passed += np.bincount(cell[passes], minlength=self.tested.size).reshape(self.tested.shape)
        return passes

    def estimate(self) -> FloatArray:
        """Return the estimated Werner parameter of each link at use, in [0, 1]; 1 where nothing was tested yet.

        By basis it is each correlator, in [-1, 1].
        """
        fraction = np.divide(self.passed, self.tested, out=np.ones(self.tested.shape), where=self.tested > 0)
        return np.clip(2.0 * fraction - 1.0, self._lowest, 1.0)

    def upper_bound(self, error_probability: float) -> FloatArray:
        """Return an upper confidence bound on each link's Werner parameter, or on its correlators, at use.

        Hoeffding: the pass fraction of `k` tests exceeds its mean by `sqrt(ln(1/delta) / 2k)` with probability at most
        `delta`, and `w = 2 P - 1`. A link without tests is bounded by 1.

        Args:
            error_probability: `delta` of each link, in (0, 1).
        """
        each = error_probability / 3.0 if self.is_by_basis else error_probability
        slack = np.sqrt(np.log(1.0 / each) / (2.0 * np.maximum(self.tested, 1)))
        return np.where(self.tested > 0, np.clip(self.estimate() + 2.0 * slack, self._lowest, 1.0), 1.0)

    def corners(self, error_probability: float) -> FloatArray:
        """Return the corners of what the tests leave possible, `(1, links)`, or `(8, links, 3)` by basis.

        A link's true state is between them with probability `1 - error_probability`. For Werner parameters the upper
        end is the only corner.

        Args:
            error_probability: `delta` of each link, in (0, 1).
        """
        if not self.is_by_basis:
            return self.upper_bound(error_probability)[None]
        # Half of the error probability for either end; `upper_bound` divides it among the bases.
        high = self.upper_bound(error_probability / 2.0)
        # The lower end is the upper one of the correlators with the other sign, for which tests pass that failed.
        mirrored = JointTests(self.tested, self.tested - self.passed)
        low = -mirrored.upper_bound(error_probability / 2.0)
        picks = np.array(list(product((False, True), repeat=3)))
        return np.where(picks[:, None, :], high, low)

    def werner_upper_bound(self, error_probability: float) -> FloatArray:
        """Return an upper confidence bound on each link's Werner parameter of equal fidelity at use, shape `(links,)`.

        In a basis chosen at random any Bell-diagonal pair passes with probability `(1 + 2 F) / 3 = (1 + w) / 2`.
        """
        if not self.is_by_basis:
            return self.upper_bound(error_probability)
        return JointTests(self.tested.sum(axis=1), self.passed.sum(axis=1)).upper_bound(error_probability)

    @property
    def _lowest(self) -> float:
        return -1.0 if self.is_by_basis else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTests:
    """The block of each link that a training round is, and what its certificates say; arrays of shape `(links,)`.

    Attributes:
        tested: Pairs tested in the round.
        passed: Of these, those that passed.
        used: Pairs used for shots, not tested.
        is_refused: Links of which an end did not open what it had committed to.
        held_share: Share of the pairs about to be used that both ends say they hold.
        promised_fidelity: Fidelity of the worst pair that is used.
        error_probability: Probability that the bound of one link is wrong.
    """

    tested: IntArray
    passed: IntArray
    used: IntArray
    is_refused: NDArray[np.bool_]
    held_share: FloatArray
    promised_fidelity: float
    error_probability: float

    def is_flagged(self) -> NDArray[np.bool_]:
        """Return whether both ends of each link are flagged, shape `(links,)`.

        They are if one did not open, if they hold fewer pairs together than the quota, or if more tests failed than
        pairs of the promised fidelity explain, which happens to honest ends with `FALSE_ALARM` at most.
        """
        counts = zip(self.tested.tolist(), self.passed.tolist(), strict=True)
        is_below = [passed < least_passed(tested, self.promised_fidelity, FALSE_ALARM) for tested, passed in counts]
        return self.is_refused | (self.held_share < QUOTA) | np.array(is_below, np.bool_)

    def certified_fidelity(self) -> FloatArray:
        """Return the lower confidence bound on the mean fidelity of each link's used pairs, shape `(links,)`.

        It is 0 where there is no certificate: no test, nothing used, or an end that did not open.
        """
        certified, found = (self.tested > 0) & (self.used > 0) & ~self.is_refused, np.zeros(len(self.tested))
        tested = self.tested[certified]
        found[certified] = untested_fidelity_bounds(
            self.passed[certified], tested, tested + self.used[certified], min(self.error_probability, 0.25)
        )[0]
        return found

    def node_scores(self, links: LinkTable, n_nodes: int) -> FloatArray:
        """Return the certified score of each node by its links, robust to lies of less than half of its peers.

        It is `ceas.consensus.node_score` with f = (peers - 1) // 2. With one or two peers f is 0: the score is that of
        the better link, and a single peer that lies along with the node can vouch for anything.
        """
        fidelity = self.certified_fidelity()
        by_node: list[list[float]] = [[] for _ in range(n_nodes)]
        for first, second, value in zip(links.node_a.tolist(), links.node_b.tolist(), fidelity.tolist(), strict=True):
            by_node[first].append(value)
            by_node[second].append(value)
        return np.array([node_score(values, max(len(values) - 1, 0) // 2) for values in by_node])


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


def finite_claims(claims: Claims) -> Claims:
    """Return claims as they are made, not certified at all; those that are no numbers or negative count as zero."""
    return Claims(*(np.maximum(np.nan_to_num(column, nan=0.0, posinf=0.0, neginf=0.0), 0.0) for column in claims))
