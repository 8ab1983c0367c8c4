"""What one training round produced, stage by stage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation import Aggregate
from ceas.attacks import Claims
from ceas.network import WindowRecord
from ceas.runtime.certification import RoundTests
from ceas.runtime.sources import ExchangeRecord

__all__ = ["AgreedUpdates", "Contraction", "Evaluation", "LocalUpdates", "RoundOutcome"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUpdates:
    """What the learners computed before anybody lied.

    Attributes:
        updates: Each learner's momentum of gradients, shape `(learners, parameters)`.
        shots: Shots that each learner used in this round, shape `(learners,)`.
        quantum_fisher: Mean quantum Fisher information per parameter of each learner's noiseless states, in [0, 1].
        noisy_quantum_fisher: The same of one of its noisy states, by the symmetric logarithmic derivative.
    """

    updates: FloatArray
    shots: NDArray[np.int64]
    quantum_fisher: FloatArray
    noisy_quantum_fisher: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Contraction:
    """How much of a learner's expectation values noise leaves, from three sides; each of shape `(learners,)`.

    Attributes:
        true: From its own gates and the pairs that its shots really used; NaN without shots.
        believed: What an honest learner knows: its own gates, and what the joint tests say of its link.
        bound: The most that the joint tests leave possible: perfect gates on the link's upper confidence bound.
    """

    true: FloatArray
    believed: FloatArray
    bound: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedUpdates:
    """What all honest nodes hold after the exchange.

    Attributes:
        is_delivered: Whose update was delivered, shape `(learners,)`.
        updates: Updates in fixed point, zero where none was delivered, shape `(learners, parameters)`.
        claims: Claims as sent, zero where none were delivered.
    """

    is_delivered: NDArray[np.bool_]
    updates: FloatArray
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Exact, noise-free figures of the agreed parameters on the test part."""

    test_accuracy: float
    test_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """One training round.

    Attributes:
        window: What happened to the pairs, whatever malicious ends of links did to them afterwards.
        tests: The round's joint tests.
        local: What the learners computed.
        contraction: What noise left of it.
        exchange: What the broadcast did.
        agreed: What all honest nodes hold.
        certified: Claims after certification.
        aggregate: The rule's result; None when too few updates arrived for it, so that no step was made.
        exact_momentum: What the honest updates' mean would be without noise and shots, shape `(parameters,)`.
        train_loss: Exact loss of the parameters that the round started from.
        evaluation: Figures of the parameters that the round ended with; None when not evaluated.
    """

    window: WindowRecord
    tests: RoundTests
    local: LocalUpdates
    contraction: Contraction
    exchange: ExchangeRecord
    agreed: AgreedUpdates
    certified: Claims
    aggregate: Aggregate | None
    exact_momentum: FloatArray
    train_loss: float
    evaluation: Evaluation | None

    @property
    def weights(self) -> FloatArray:
        """Share of each learner in the aggregate, shape `(learners,)`; zero where no update was delivered."""
        weights = np.zeros(self.agreed.is_delivered.shape)
        if self.aggregate is not None:
            weights[self.agreed.is_delivered] = self.aggregate.weights
        return weights
