"""Many trainings on one recorded network, in lockstep.

Trainings that share network, circuit, data, learners and seed differ in their rule, attack, number of attackers and
optimiser. What depends on the network alone is then the same in all, and what is computed for all learners of one
training is computed for those of all in one call. Each training gets the numbers that it gets alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceas.errors import DomainError
from ceas.runtime.cosimulation import CoSimulation, advance_together, figures_of
from ceas.runtime.evaluation import Figures
from ceas.runtime.outcome import RoundOutcome

__all__ = ["Ensemble", "TrainingOutcome"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What one training came to.

    Attributes:
        completed_rounds: Training rounds done.
        evaluated_rounds: After how many training rounds there was an evaluation, shape `(evaluations,)`; the last five
            rounds are always evaluated.
        test_accuracy: Accuracy on the test part then, in [0, 1], shape `(evaluations,)`.
        validation_accuracy: Accuracy on the validation part then; NaN where the data have none.
        train_loss: Exact mean loss of the honest learners then.
        byzantine_weight: Share of the attackers in what was agreed on in each round, shape `(completed_rounds,)`; 0
            where too few updates arrived for the rule.
        theta: Agreed parameters, shape `(parameters,)`.
        update_errors: Columns of `ceas.runtime.update_errors.MEASURED`, one entry a measured round.
    """

    completed_rounds: int
    evaluated_rounds: NDArray[np.int64]
    test_accuracy: FloatArray
    validation_accuracy: FloatArray
    train_loss: FloatArray
    byzantine_weight: FloatArray
    theta: FloatArray
    update_errors: Mapping[str, FloatArray] = field(default_factory=dict)


class _Record:
    """What is kept of one training, round by round."""

    def __init__(self, is_byzantine: NDArray[np.bool_]) -> None:
        self._is_byzantine = is_byzantine
        self._weights: list[float] = []
        self._evaluations: list[tuple[int, float, float, float]] = []

    def add(self, outcome: RoundOutcome) -> None:
        self._weights.append(float(outcome.weights[self._is_byzantine].sum()))

    def add_figures(self, completed_rounds: int, figures: Figures) -> None:
        self._evaluations.append((completed_rounds, *figures))

    def outcome(self, simulation: CoSimulation) -> TrainingOutcome:
        table = np.array(self._evaluations, np.float64).reshape(-1, 4)
        return TrainingOutcome(
            completed_rounds=simulation.completed_rounds,
            evaluated_rounds=table[:, 0].astype(np.int64),
            test_accuracy=table[:, 1],
            validation_accuracy=table[:, 2],
            train_loss=table[:, 3],
            byzantine_weight=np.array(self._weights),
            theta=simulation.theta.copy(),
            update_errors=simulation.update_errors.table(),
        )


class Ensemble:
    """Co-simulations that advance together, one training round at a time.

    Args:
        simulations: At least one, new, of the same number of training rounds; see `advance_together` for what else they
            share.

    Raises:
        DomainError: There are no simulations, or they have no common round.
    """

    def __init__(self, simulations: Sequence[CoSimulation]) -> None:
        if not simulations:
            raise DomainError("Argument `simulations` must hold at least one, but is empty.")
        if len({(each.rounds, each.completed_rounds) for each in simulations}) > 1:
            raise DomainError("Argument `simulations` must have one number of training rounds, but has several.")
        self._simulations = list(simulations)
        self._records = [_Record(each.is_byzantine) for each in simulations]

    @property
    def completed_rounds(self) -> int:
        """Training rounds done."""
        return self._simulations[0].completed_rounds

    @property
    def rounds(self) -> int:
        """Training rounds in all."""
        return self._simulations[0].rounds

    @property
    def is_finished(self) -> bool:
        """Whether all training rounds are done."""
        return self._simulations[0].is_finished

    def advance(self) -> None:
        """Run one training round of all."""
        outcomes = advance_together(self._simulations)
        for record, outcome in zip(self._records, outcomes, strict=True):
            record.add(outcome)
        evaluated = [index for index, each in enumerate(self._simulations) if each.is_evaluated]
        if evaluated:
            found = figures_of([self._simulations[index] for index in evaluated])
            for index, figures in zip(evaluated, found, strict=True):
                self._records[index].add_figures(self.completed_rounds, figures)

    def run(self, after_round: Callable[[int], None] | None = None) -> list[TrainingOutcome]:
        """Run the remaining training rounds.

        Args:
            after_round: Told how many training rounds are done, after each; what it raises ends the run, which can be
                continued.
        """
        while not self.is_finished:
            self.advance()
            if after_round is not None:
                after_round(self.completed_rounds)
        return self.outcomes()

    def outcomes(self) -> list[TrainingOutcome]:
        """Return what the trainings came to so far."""
        pairs = zip(self._records, self._simulations, strict=True)
        return [record.outcome(simulation) for record, simulation in pairs]
