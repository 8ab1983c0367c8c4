"""What attackers know when they strike, and the one wrapper that every attack runs in.

An attack is written as bare mathematics: a `Situation` and its own parameters in, what the attackers send out. The
decorator `update_attack` makes a public attack of it: it checks the call, chooses what the attackers know, and gives
every attack the same keywords. An attack that remembers returns `Sent`; its public form returns the updates alone, and
`send` returns both.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import DomainError

__all__ = [
    "Knowledge",
    "Memory",
    "Pipeline",
    "Sent",
    "Situation",
    "UpdateAttack",
    "own_parameters",
    "send",
    "unbound",
    "update_attack",
]

FloatArray = NDArray[np.float64]
Memory = Mapping[str, NDArray[Any]]

Knowledge = Literal["all", "own"]
"""Whether attackers know every honest update, or estimate means and deviations from their own honest ones alone."""

Pipeline = Callable[[FloatArray], FloatArray]
"""The rule under attack with all else bound: honest rows, then the attackers', (n, P), to the aggregate (P,)."""


SUPPLIED = (
    "honest_updates",
    "n_byzantine",
    "rng",
    "own_updates",
    "aggregate",
    "last_aggregate",
    "memory",
    "training_round",
    "rounds",
)
"""Arguments of attacks that the run supplies."""


class UpdateAttack(Protocol):
    """An attack on the updates of one training round; its own parameters are bound before.

    It may take more of the keywords of `send`, which passes those that the attack has.
    """

    def __call__(
        self,
        honest_updates: ArrayLike,
        n_byzantine: int,
        *,
        rng: np.random.Generator,
        own_updates: ArrayLike | None = None,
    ) -> FloatArray:
        """Return what the attackers send, shape (n_byzantine, P), given the honest updates (h, P)."""
        ...


class Sent(NamedTuple):
    """What attackers send, and what they remember.

    Attributes:
        updates: Shape (n_byzantine, P).
        memory: Arrays by name, handed to the same attack in the next training round.
    """

    updates: FloatArray
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What attackers have before them in one training round.

    Attributes:
        honest: Honest updates, shape (h, P).
        knowledge: Whether the attackers know these; attacks look at `known`.
        n_byzantine: Number of attackers, at least 1.
        rng: Generator for what they draw.
        own: Their own honestly computed updates, shape (n_byzantine, P); None when nobody computed them.
        aggregate: The rule under attack; None when they cannot evaluate it.
        last_aggregate: Last agreed aggregate, shape (P,); None before the first.
        memory: What the attack returned in the round before.
        training_round: This round, counted from 0.
        rounds: Rounds of the training.
    """

    honest: FloatArray
    knowledge: Knowledge
    n_byzantine: int
    rng: np.random.Generator
    own: FloatArray | None
    aggregate: Pipeline | None
    last_aggregate: FloatArray | None
    memory: Memory
    training_round: int
    rounds: int

    @property
    def known(self) -> FloatArray:
        """Updates from which the attackers take means and deviations, shape (k, P): the honest ones, or their own."""
        return self.own_updates() if self.knowledge == "own" else self.honest

    @property
    def n_honest(self) -> int:
        """Number h of honest updates."""
        return len(self.honest)

    @property
    def mean(self) -> FloatArray:
        """Mean of the known updates, shape (P,)."""
        mean: FloatArray = self.known.mean(axis=0)
        return mean

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation of each coordinate with k - 1 degrees of freedom, shape (P,); zeros for one update."""
        if len(self.known) == 1:
            return np.zeros(self.known.shape[1])
        deviation: FloatArray = self.known.std(axis=0, ddof=1)
        return deviation

    def jittered(self, update: FloatArray, jitter: float) -> FloatArray:
        """Hide copies of `update` (P,): each attacker adds `jitter` times what its own update differs from the mean by.

        At 1 the attackers scatter as honest nodes do, in one round and over many: by the noise of their own shots,
        as large as they claim it and as averaged as they average, and by their own data.

        Returns:
            Shape (P,) without jitter, else (n_byzantine, P).

        Raises:
            DomainError: The factor is negative or not finite, or there are no own updates.
        """
        if not 0 <= jitter < np.inf:
            raise DomainError(f"Argument `jitter` must be at least 0 and finite, but is {jitter}.")
        return update + jitter * (self.own_updates() - self.mean) if jitter > 0 else update

    def own_updates(self) -> FloatArray:
        """Return the attackers' own updates, shape (n_byzantine, P).

        Raises:
            DomainError: Nobody computed them.
        """
        if self.own is None:
            raise DomainError("Argument `own_updates` must be given for this attack, but is None.")
        return self.own

    def aggregated(self, update: FloatArray) -> FloatArray:
        """Return what the rule makes of the round, shape (P,), when the attackers send `update`, (P,) or (f, P).

        Attackers who do not know the honest updates put their own in the places of these, in turn.

        Raises:
            DomainError: The attackers do not have the rule.
        """
        if self.aggregate is None:
            raise DomainError("Argument `aggregate` must be given for an attack that searches, but is None.")
        honest = np.resize(self.known, (self.n_honest, self.known.shape[1]))
        sent = np.broadcast_to(update, (self.n_byzantine, honest.shape[1]))
        return np.asarray(self.aggregate(np.concatenate([honest, sent])), np.float64)


def update_attack(core: Callable[..., FloatArray | Sent]) -> Callable[..., FloatArray]:
    """Make an attack out of its bare mathematics; a decorator.

    Args:
        core: Takes a `Situation` and, by keyword, its own parameters. Returns one update for all attackers, shape
            (P,), or one each, shape (n_byzantine, P), or `Sent` with either.

    Returns:
        An `UpdateAttack` with the keywords of `send`, `knowledge`, and the parameters of `core`.
    """

    def with_memory(
        honest_updates: ArrayLike,
        n_byzantine: int,
        *,
        rng: np.random.Generator,
        own_updates: ArrayLike | None = None,
        aggregate: Pipeline | None = None,
        last_aggregate: ArrayLike | None = None,
        memory: Memory | None = None,
        training_round: int = 0,
        rounds: int = 1,
        knowledge: Knowledge = "all",
        **parameters: Any,
    ) -> Sent:
        honest = _checked_honest(honest_updates, n_byzantine)
        n_parameters = honest.shape[1]
        own = None if own_updates is None else _checked_own(own_updates, n_byzantine, n_parameters)
        if knowledge not in get_args(Knowledge):
            raise DomainError(f"Argument `knowledge` must be `all` or `own`, but is {knowledge!r}.")
        if n_byzantine == 0:
            return Sent(np.zeros((0, n_parameters)), memory or {})
        situation = Situation(
            honest=honest,
            knowledge=knowledge,
            n_byzantine=n_byzantine,
            rng=rng,
            own=own,
            aggregate=aggregate,
            last_aggregate=None if last_aggregate is None else _checked_last(last_aggregate, n_parameters),
            memory=memory or {},
            training_round=training_round,
            rounds=rounds,
        )
        returned = core(situation, **parameters)
        sent = returned if isinstance(returned, Sent) else Sent(returned, {})
        # A copy, so that nobody's array is written to.
        return sent._replace(updates=np.array(np.broadcast_to(sent.updates, (n_byzantine, n_parameters)), np.float64))

    def attack(honest_updates: ArrayLike, n_byzantine: int, **others: Any) -> FloatArray:
        return with_memory(honest_updates, n_byzantine, **others).updates

    # Not functools.wraps: whoever binds parameters by signature must see the attack's and not the core's.
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(attack, attribute, getattr(core, attribute))
    vars(attack)["with_memory"] = with_memory
    vars(attack)["__signature__"] = _public_signature(with_memory, core)
    return attack


def send(
    attack: UpdateAttack,
    honest_updates: ArrayLike,
    n_byzantine: int,
    **offered: Any,
) -> Sent:
    """Run an attack and return what it sends together with what it remembers.

    Args:
        attack: An attack of this package with or without parameters bound by `functools.partial`, or a user's own,
            which may return `Sent` too.
        honest_updates: Shape (h, P).
        n_byzantine: Number f of attackers.
        **offered: `rng`; `own_updates` (f, P); `aggregate`, a `Pipeline`; `last_aggregate` (P,); `memory`;
            `training_round`; `rounds`. An attack gets those that it has.

    Returns:
        The updates, shape (f, P), and the memory; empty for an attack without one.

    Raises:
        DomainError: A user's attack returns another shape.
    """
    target, bound = unbound(attack)
    with_memory = getattr(target, "with_memory", None)
    if with_memory is not None:
        remembered: Sent = with_memory(honest_updates, n_byzantine, **(offered | bound))
        return remembered
    known = inspect.signature(attack).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    taken = {key: value for key, value in offered.items() if takes_any or key in known}
    returned: FloatArray | Sent = attack(honest_updates, n_byzantine, **taken)
    sent = returned if isinstance(returned, Sent) else Sent(np.asarray(returned, np.float64), {})
    expected = (n_byzantine, np.shape(honest_updates)[1])
    if sent.updates.shape != expected:
        raise DomainError(f"Argument `attack` must return shape {expected}, but returned {sent.updates.shape}.")
    return sent


def unbound(attack: UpdateAttack) -> tuple[Any, dict[str, Any]]:
    """Return the function behind an attack and the parameters that `functools.partial` has bound to it."""
    if isinstance(attack, partial):
        return attack.func, dict(attack.keywords)
    return attack, {}


def own_parameters(attack: UpdateAttack) -> tuple[str, ...]:
    """Return the names of an attack's parameters that no situation supplies, `knowledge` among them."""
    known = inspect.signature(attack).parameters
    return tuple(name for name in known if name not in SUPPLIED)


def _public_signature(with_memory: Callable[..., Sent], core: Callable[..., Any]) -> inspect.Signature:
    common = [
        parameter
        for parameter in inspect.signature(with_memory).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    own = list(inspect.signature(core).parameters.values())[1:]
    return inspect.Signature([*common, *own])


def _checked_honest(honest_updates: ArrayLike, n_byzantine: int) -> FloatArray:
    rows = np.asarray(honest_updates, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] == 0:
        raise DomainError(f"Argument `honest_updates` must have shape (h, P) with h >= 1, but has shape {rows.shape}.")
    if n_byzantine < 0:
        raise DomainError(f"Argument `n_byzantine` must be at least 0, but is {n_byzantine}.")
    return rows


def _checked_own(own_updates: ArrayLike, n_byzantine: int, n_parameters: int) -> FloatArray:
    rows = np.asarray(own_updates, dtype=np.float64)
    if rows.shape != (n_byzantine, n_parameters):
        wanted = (n_byzantine, n_parameters)
        raise DomainError(f"Argument `own_updates` must have shape {wanted}, but has shape {rows.shape}.")
    return rows


def _checked_last(last_aggregate: ArrayLike, n_parameters: int) -> FloatArray:
    row = np.asarray(last_aggregate, dtype=np.float64)
    if row.shape != (n_parameters,):
        raise DomainError(f"Argument `last_aggregate` must have shape ({n_parameters},), but has shape {row.shape}.")
    return row
