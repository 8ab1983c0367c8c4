"""The attackers of one run: what they claim, what they send, and what they remember from round to round."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Claims, UpdateAttack, claims_sent, conduct_of, send
from ceas.runtime.checkpoint import Arrays, prefixed, unprefixed
from ceas.streams import stream

__all__ = ["LEAST_CONTRACTION", "Adversary"]

FloatArray = NDArray[np.float64]

# A contraction at which an update carries no signal that float64 could tell from its noise.
LEAST_CONTRACTION = 1e-6


class Adversary:
    """All malicious learners, who collude.

    Args:
        attack: What they do.
        is_byzantine: Who they are, shape `(learners,)`.
        rounds: Rounds of the training.
        seed: Root seed.
    """

    def __init__(self, attack: UpdateAttack, is_byzantine: NDArray[np.bool_], *, rounds: int, seed: int) -> None:
        self._attack = attack
        self._liars = np.flatnonzero(is_byzantine)
        self._is_honest = ~is_byzantine
        self._rounds = rounds
        self._seed = seed
        self._memory: dict[str, NDArray[Any]] = {}
        self._last_aggregate: FloatArray | None = None
        self.conduct = conduct_of(attack)

    @property
    def is_present(self) -> bool:
        """Whether there is any attacker."""
        return self._liars.size > 0

    @property
    def has_false_claims(self) -> bool:
        """Whether any attacker claims something else than what is true."""
        probe = Claims(*(np.full(1, value) for value in (2.0, 0.5, 0.25)))
        return self.is_present and any(
            np.any(a != b) for a, b in zip(probe, claims_sent(self._attack, probe), strict=True)
        )

    @property
    def withheld(self) -> NDArray[np.bool_]:
        """Whose updates never arrive because their senders hold them back, shape `(learners,)`."""
        return ~self._is_honest if self.conduct.withholds else np.zeros_like(self._is_honest)

    def claims(self, true_claims: Claims) -> Claims:
        """Return everybody's claims, the attackers' false ones among them."""
        claims = Claims(*(column.copy() for column in true_claims))
        own = Claims(*(column[self._liars] for column in true_claims))
        for column, lie in zip(claims, claims_sent(self._attack, own), strict=True):
            column[self._liars] = lie
        return claims

    def updates(
        self,
        true_updates: FloatArray,
        *,
        training_round: int,
        scale: FloatArray,
        pipeline: Callable[[FloatArray], FloatArray],
    ) -> FloatArray:
        """Return everybody's updates, what the attackers send among them, and remember what they remember.

        Args:
            true_updates: What was computed, shape `(learners, parameters)`.
            training_round: Training round.
            scale: What the rule will divide each update by before it averages, shape `(learners,)`: attackers aim in
                that space.
            pipeline: What the rule under attack makes of everybody's updates, `(learners, parameters)` to
                `(parameters,)`.
        """
        scale = np.maximum(scale, LEAST_CONTRACTION)[:, None]
        aimed = true_updates / scale
        # An update without signal weighs nothing; divided, it would only blur what attackers know of the others.
        has_signal = scale[:, 0] > LEAST_CONTRACTION
        is_clear = self._is_honest & has_signal
        # Attacks need a majority of honest updates to hide among; where few have signal, all are taken.
        seen = np.flatnonzero(is_clear if is_clear.sum() > self._liars.size else self._is_honest)

        def aggregate(rows: FloatArray) -> FloatArray:
            everybody = true_updates.copy()
            everybody[seen], everybody[self._liars] = np.split(rows * scale[[*seen, *self._liars]], [seen.size])
            return pipeline(everybody)

        sent = send(
            self._attack,
            aimed[seen],
            int(self._liars.size),
            rng=stream(self._seed, "attack", training_round=training_round),
            own_updates=aimed[self._liars],
            aggregate=aggregate,
            last_aggregate=self._last_aggregate,
            memory=self._memory,
            training_round=training_round,
            rounds=self._rounds,
        )
        self._memory = {name: np.array(value) for name, value in sent.memory.items()}
        updates = true_updates.copy()
        updates[self._liars] = sent.updates * scale[self._liars]
        return updates

    def observe(self, aggregate: FloatArray) -> None:
        """Learn what everybody agreed on."""
        self._last_aggregate = aggregate.copy()

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        last = {} if self._last_aggregate is None else {"last_aggregate": self._last_aggregate.copy()}
        return last | prefixed("memory", {name: value.copy() for name, value in self._memory.items()})

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        last = arrays.get("last_aggregate")
        self._last_aggregate = None if last is None else np.array(last, np.float64)
        self._memory = {name: np.array(value) for name, value in unprefixed("memory", arrays).items()}
