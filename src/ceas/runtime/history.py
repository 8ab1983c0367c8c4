"""What a run records round by round, as columns, and how it survives a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceas.network.records import PAIR_DTYPE
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.outcome import RoundOutcome
from ceas.runtime.rows import learner_rows, round_row
from ceas.runtime.world import World

__all__ = ["History", "Table"]

Table = dict[str, NDArray[np.generic]]


@dataclass(slots=True)
class History:
    """Tables that grow by one round at a time.

    Attributes:
        rounds: One mapping of scalars per training round; a value that was not measured is NaN.
        learners: One mapping of arrays of shape `(learners,)` per training round.
        pairs: Traced pairs closed in each round.
    """

    rounds: list[Mapping[str, float]] = field(default_factory=list)
    learners: list[Mapping[str, NDArray[np.generic]]] = field(default_factory=list)
    pairs: list[NDArray[np.void]] = field(default_factory=list)

    def add(self, world: World, outcome: RoundOutcome) -> None:
        """Append one training round."""
        self.rounds.append(round_row(world, outcome))
        self.learners.append(learner_rows(world, outcome))
        self.pairs.append(outcome.window.pairs)

    def rounds_table(self) -> Table:
        """Return the rounds as columns of shape `(rounds,)`."""
        names = self.rounds[0] if self.rounds else ()
        return {name: np.array([row[name] for row in self.rounds], np.float64) for name in names}

    def learners_table(self) -> Table:
        """Return one row per training round and learner, rounds outermost."""
        if not self.learners:
            return {}
        n_learners = len(next(iter(self.learners[0].values())))
        keys: Table = {
            "round": np.repeat(np.arange(len(self.learners)), n_learners),
            "learner": np.tile(np.arange(n_learners), len(self.learners)),
        }
        return keys | {name: np.concatenate([row[name] for row in self.learners]) for name in self.learners[0]}

    def pairs_table(self) -> NDArray[np.void]:
        """Return the traced pairs of all rounds."""
        return np.concatenate(self.pairs) if self.pairs else np.zeros(0, PAIR_DTYPE)

    def to_arrays(self) -> Arrays:
        """Return all tables as arrays for a checkpoint."""
        sizes = np.array([len(pairs) for pairs in self.pairs], np.int64)
        arrays: Arrays = {"pairs": self.pairs_table(), "pairs_sizes": sizes}
        arrays |= {f"rounds/{name}": column for name, column in self.rounds_table().items()}
        if self.learners:
            arrays |= {f"learners/{name}": np.stack([row[name] for row in self.learners]) for name in self.learners[0]}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "History":
        """Rebuild what `to_arrays` stored."""
        sizes = arrays["pairs_sizes"]
        pairs = np.split(arrays["pairs"], np.cumsum(sizes)[:-1]) if len(sizes) else []
        rounds = {name.removeprefix("rounds/"): arrays[name] for name in arrays if name.startswith("rounds/")}
        learners = {name.removeprefix("learners/"): arrays[name] for name in arrays if name.startswith("learners/")}
        return cls(
            rounds=[{name: float(column[row]) for name, column in rounds.items()} for row in range(len(sizes))],
            learners=[{name: column[row] for name, column in learners.items()} for row in range(len(sizes))],
            pairs=[np.asarray(part) for part in pairs],
        )
