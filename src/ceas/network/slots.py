"""The slotted network: time in slots, one attempt at most a link and slot, and nodes that limit attempts and memory.

It is the model in which the scheduling literature states its results, and in which optima and bounds can be computed on
the very sample path that the policies met. One slot runs in this order:

1. Pairs age by one slot; those older than their link's lifetime expire. Requests whose deadline has passed are dropped.
2. Requests announced ahead, for this slot or before, become visible.
3. The policy scores links; attempts are granted in the order of the scores while both ends have an attempt left and a
   free memory slot. An attempt may instead be bound to replace a stored pair of its own link: it needs no free slot
   then, and the old pair is given up only if it succeeds.
4. Attempts succeed by the sample path's coins, which are fixed for every link and slot, whether attempted or not.
5. Requests that arrive in this slot unannounced become visible; all that have arrived may be served from now on.
6. The policy serves requests, and may purify or discard stored pairs. A pair born in this slot has age 0.

So a request that arrives with a deadline of its own slot can only be served from stock or by an attempt made without
knowing of it, and a pair occupies memory at its two ends in the attempts of every slot from its birth to its use.

The coins of swaps belong to a request, the number of its try and the place in its route; those of purification to a
link and the number of its purification. So they too are the same for all policies, whatever a policy did elsewhere.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.physics.domain import require_between, require_non_negative, require_positive

__all__ = [
    "Forecast",
    "PairFate",
    "PairLives",
    "RequestTable",
    "SamplePath",
    "SlottedNetwork",
    "SlottedRecord",
    "ValueKind",
    "draw_sample_path",
]

Bools: TypeAlias = npt.NDArray[np.bool_]
Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# A slot that no simulation reaches.
NEVER_SLOT = 1 << 40


class ValueKind(IntEnum):
    """How the value of a served request depends on the Werner parameter w of the pair it gets.

    All are 0 when the fidelity is below the request's minimum.
    """

    STEP = 0
    """The weight, whatever the fidelity."""
    INFORMATION = 1
    """The weight times w^2, and for several pairs times the product of theirs: shots through a Pauli channel."""
    KEY = 2
    """The weight times the asymptotic BBM92 secret fraction, and for several pairs times the product of theirs."""


class PairFate(IntEnum):
    """What became of a pair."""

    STORED = 0
    """It is still there."""
    USED = 1
    """A served request took it."""
    LOST = 2
    """It went into a swap that failed."""
    PURIFIED = 3
    """It was given up in a purification, or both pairs were when that failed."""
    EXPIRED = 4
    """It grew too old."""
    DISCARDED = 5
    """The policy dropped it, or a new pair took its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlottedNetwork:
    """Nodes and links of a slotted network. Arrays per link have shape `(E,)`, per node `(n,)`.

    Attributes:
        edges: Ends of each link, `(E, 2)`.
        success_probability: Chance that an attempt succeeds, as policies know it at the start, in [0, 1].
        initial_werner: Werner parameter of a new pair, in [0, 1].
        claimed_werner: What the link's ends say it is; policies see this.
        coherence_slots: Time in which a stored pair's Werner parameter falls to 1/e (slots), both memories together.
        lifetime_slots: Largest age of a pair (slots); at the next it expires.
        memory_slots: Pairs that a node can hold.
        attempts_per_slot: Links of a node that may attempt in one slot.
        swap_success_probability: Chance that the Bell measurement at an intermediate node of a route succeeds.
        swap_werner: Factor of the Werner parameter that each Bell measurement costs.
    """

    edges: Int64s
    success_probability: Float64s
    initial_werner: Float64s
    claimed_werner: Float64s
    coherence_slots: Float64s
    lifetime_slots: Int64s
    memory_slots: Int64s
    attempts_per_slot: Int64s
    swap_success_probability: float = 1.0
    swap_werner: float = 1.0

    def __post_init__(self) -> None:
        if self.edges.ndim != 2 or self.edges.shape[1] != 2:
            raise DomainError(f"Argument `edges` must have shape (E, 2), but has {self.edges.shape}.")
        for name in ("success_probability", "initial_werner", "claimed_werner", "coherence_slots", "lifetime_slots"):
            if getattr(self, name).shape != (self.n_links,):
                found = getattr(self, name).shape
                raise DomainError(f"Argument `{name}` must have shape ({self.n_links},), but has {found}.")
        if self.memory_slots.shape != self.attempts_per_slot.shape or self.memory_slots.ndim != 1:
            raise DomainError(
                f"Argument `attempts_per_slot` must have the shape of `memory_slots`, {self.memory_slots.shape}, "
                f"but has {self.attempts_per_slot.shape}."
            )
        if bool((self.edges < 0).any()) or bool((self.edges >= self.n_nodes).any()):
            raise DomainError(f"Argument `edges` must hold nodes below {self.n_nodes}, but does not.")
        if bool((self.edges[:, 0] == self.edges[:, 1]).any()):
            raise DomainError("Argument `edges` must join different nodes, but does not.")
        require_between("success_probability", self.success_probability, 0.0, 1.0)
        for name in ("initial_werner", "claimed_werner"):
            require_between(name, getattr(self, name), 0.0, 1.0)
        require_positive("coherence_slots", self.coherence_slots, finite=False)
        for name in ("lifetime_slots", "memory_slots", "attempts_per_slot"):
            if bool((getattr(self, name) < 0).any()):
                raise DomainError(f"Argument `{name}` must be at least 0, but is not everywhere.")
        require_between("swap_success_probability", self.swap_success_probability, 0.0, 1.0)
        require_between("swap_werner", self.swap_werner, 0.0, 1.0)

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.edges)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.memory_slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTable:
    """Requests for pairs, sorted by arrival. Arrays have shape `(R,)` unless said otherwise.

    A request over one link takes `n_pairs` of its pairs at once. A request over a route of several links takes one pair
    of each, which are swapped when it is served; if a swap fails all of them are lost and the request goes on waiting.

    Attributes:
        route_first: Where each request's links begin in `route_link`, `(R + 1,)`.
        route_link: Links of the routes, one after the other.
        announced: Slot from which the policy knows of the request, at most `arrival`. If it is less, the policy knows
            before the attempts of that slot; if it is `arrival`, only when it serves.
        arrival: First slot in which it can be served, at least 0.
        deadline: Last slot in which it can be served.
        n_pairs: Pairs that it takes of its link; 1 for a route of several links.
        minimum_fidelity: Lowest fidelity of use, of each pair of a tuple or of the swapped pair.
        weight: Its value through perfect pairs.
        kind: `ValueKind` of its value.
        request_class: A number for its class, from 0; policies may forecast by link and class.
        user: Who asked, from 0, for fairness.
    """

    route_first: Int64s
    route_link: Int64s
    announced: Int64s
    arrival: Int64s
    deadline: Int64s
    n_pairs: Int64s
    minimum_fidelity: Float64s
    weight: Float64s
    kind: Int64s
    request_class: Int64s
    user: Int64s

    def __post_init__(self) -> None:
        if self.arrival.ndim != 1:
            raise DomainError(f"Argument `arrival` must have shape (R,), but has {self.arrival.shape}.")
        names = ("announced", "deadline", "n_pairs", "minimum_fidelity", "weight", "kind", "request_class", "user")
        for name in names:
            if getattr(self, name).shape != self.arrival.shape:
                found = getattr(self, name).shape
                raise DomainError(f"Argument `{name}` must have shape {self.arrival.shape}, but has {found}.")
        if self.route_first.shape != (len(self) + 1,) or bool((np.diff(self.route_first) < 1).any()):
            raise DomainError("Argument `route_first` must give every request at least one link, but does not.")
        if self.route_first[0] != 0 or self.route_first[-1] != len(self.route_link):
            raise DomainError("Argument `route_first` must span `route_link`, but does not.")
        if bool((np.diff(self.arrival, prepend=0) < 0).any()):
            raise DomainError("Argument `arrival` must start at 0 or later and not decrease, but does not.")
        if bool((self.announced > self.arrival).any()) or bool((self.deadline < self.arrival).any()):
            raise DomainError(
                "Argument `arrival` must lie between `announced` and `deadline`, but does not everywhere."
            )
        if bool((self.n_pairs < 1).any()) or bool((self.n_pairs[np.diff(self.route_first) > 1] != 1).any()):
            raise DomainError("Argument `n_pairs` must be at least 1, and 1 on a route of several links, but is not.")
        require_between("minimum_fidelity", self.minimum_fidelity, 0.0, 1.0)
        if bool((self.weight < 0).any()) or not bool(np.isfinite(self.weight).all()):
            raise DomainError("Argument `weight` must be finite and at least 0, but is not everywhere.")
        if bool((~np.isin(self.kind, list(ValueKind))).any()):
            raise DomainError("Argument `kind` must hold values of `ValueKind`, but does not.")
        for name in ("request_class", "user"):
            if bool((getattr(self, name) < 0).any()):
                raise DomainError(f"Argument `{name}` must be at least 0, but is not everywhere.")

    def __len__(self) -> int:
        return len(self.arrival)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What all policies know of the requests to come: classes and mean rates, C classes.

    Attributes:
        rate: Mean requests per slot by link and class, `(E, C)`; a route counts on each of its links.
        minimum_fidelity: Lowest fidelity of use of each class, `(C,)`.
        weight: Value through perfect pairs, `(C,)`.
        kind: `ValueKind` of each class, `(C,)`.
        patience_slots: Slots that a request of each class waits after its arrival, `(C,)`.
        n_pairs: Pairs that a request of each class takes of a link, `(C,)`.
        quorum: Links with requests announced for one slot that must be served in it for any of them to count, as in a
            round of training; 0 where each counts for itself.
    """

    rate: Float64s
    minimum_fidelity: Float64s
    weight: Float64s
    kind: Int64s
    patience_slots: Int64s
    n_pairs: Int64s
    quorum: int = 0

    def __post_init__(self) -> None:
        if self.quorum < 0:
            raise DomainError(f"Argument `quorum` must be at least 0, but is {self.quorum}.")
        if self.rate.ndim != 2:
            raise DomainError(f"Argument `rate` must have shape (E, C), but has {self.rate.shape}.")
        for name in ("minimum_fidelity", "weight", "kind", "patience_slots", "n_pairs"):
            if getattr(self, name).shape != self.rate.shape[1:]:
                found = getattr(self, name).shape
                raise DomainError(f"Argument `{name}` must have shape {self.rate.shape[1:]}, but has {found}.")
        if bool((self.rate < 0).any()) or not bool(np.isfinite(self.rate).all()):
            raise DomainError("Argument `rate` must be finite and at least 0, but is not everywhere.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePath:
    """The coins that all policies and bounds meet.

    Attributes:
        success: Whether an attempt of each link would succeed in each slot, `(n_slots, E)`.
        decay: Sum, over the slots before each, of the rate at which a link's stored pairs decay, `(n_slots + 1, E)`;
            shape `(0, E)` when the network's coherence times hold all the time.
        swap_seed: Seed of the coins of swaps and purifications.
    """

    success: Bools
    decay: Float64s
    swap_seed: int

    def __post_init__(self) -> None:
        if self.success.ndim != 2 or len(self.success) == 0:
            raise DomainError(f"Argument `success` must have shape (n_slots, E), but has {self.success.shape}.")
        n_slots, n_links = self.success.shape
        if self.decay.shape not in ((0, n_links), (n_slots + 1, n_links)):
            raise DomainError(
                f"Argument `decay` must have shape (0, {n_links}) or ({n_slots + 1}, {n_links}), "
                f"but has {self.decay.shape}."
            )
        if bool((np.diff(self.decay, axis=0) < 0).any()):
            raise DomainError("Argument `decay` must not decrease from slot to slot, but does.")

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return len(self.success)


def draw_sample_path(
    network: SlottedNetwork,
    n_slots: int,
    rng: np.random.Generator,
    *,
    success_factor: Float64s | None = None,
    decay_factor: Float64s | None = None,
) -> SamplePath:
    """Draw the coins of a run.

    Args:
        network: The network.
        n_slots: Number of slots, at least 1.
        rng: Generator.
        success_factor: Factor of the links' success probabilities, `(n_slots, E)`, for parameters that drift.
        decay_factor: Factor of the rates at which pairs decay in each slot, `(n_slots, E)`.

    Returns:
        The sample path. The same generator state gives the same uniform numbers, whatever the probabilities.

    Raises:
        DomainError: `n_slots` is below 1, or a factor has another shape or is negative or not finite.
    """
    if n_slots < 1:
        raise DomainError(f"Argument `n_slots` must be at least 1, but is {n_slots}.")
    for name, factor in (("success_factor", success_factor), ("decay_factor", decay_factor)):
        if factor is not None:
            require_non_negative(name, factor)
            if factor.shape != (n_slots, network.n_links):
                raise DomainError(
                    f"Argument `{name}` must have shape ({n_slots}, {network.n_links}), but has {factor.shape}."
                )
    probability = network.success_probability * (1.0 if success_factor is None else success_factor)
    success = rng.random((n_slots, network.n_links)) < probability
    decay = np.zeros((0, network.n_links))
    if decay_factor is not None:
        decay = np.zeros((n_slots + 1, network.n_links))
        np.cumsum(decay_factor / network.coherence_slots, axis=0, out=decay[1:])
    return SamplePath(success=success, decay=decay, swap_seed=int(rng.integers(1 << 63)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlottedRecord:
    """What happened in a slotted network. Arrays over served requests have shape `(M,)`, in the order of service.

    Attributes:
        n_slots: Slots that were run.
        served_request: Request that was served.
        served_slot: Slot of its service.
        served_fidelity: Fidelity of the pair it got, after swapping; for a tuple the mean.
        served_value: Value it was worth.
        served_pairs: Elementary pairs that it took.
        used_fidelity: Fidelity of the elementary pairs used by requests, in the order of use.
        generated: Pairs born, per link.
        used: Pairs used by served requests, per link.
        lost: Pairs lost in failed swaps, per link.
        purified: Pairs given up in purification, per link: one in a success, two in a failure.
        expired: Pairs that grew too old, per link.
        discarded: Pairs that were replaced or dropped by the policy, per link.
        stored: Pairs stored at the end, per link.
        attempts: Attempts made, per link.
        occupancy: Sum over slots of the pairs stored after service, per link.
    """

    n_slots: int
    served_request: Int64s
    served_slot: Int64s
    served_fidelity: Float64s
    served_value: Float64s
    served_pairs: Int64s
    used_fidelity: Float64s
    generated: Int64s
    used: Int64s
    lost: Int64s
    purified: Int64s
    expired: Int64s
    discarded: Int64s
    stored: Int64s
    attempts: Int64s
    occupancy: Int64s

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays by name."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLives:
    """The life of every pair of a run, by its id: its place in these arrays, `(M,)`. Ids follow the order of birth.

    A pair that is purified with success lives on under its id; its fidelity then steps up.

    Attributes:
        link: Its link.
        birth_slot: Slot in which it was made.
        end_slot: Slot in which its life ended; the number of slots run if it is still stored.
        fate: `PairFate`.
        request: Request that took it, or in whose swap it was lost; -1 for none.
        end_fidelity: Fidelity at its end.
    """

    link: Int64s
    birth_slot: Int64s
    end_slot: Int64s
    fate: Int64s
    request: Int64s
    end_fidelity: Float64s

    def __len__(self) -> int:
        return len(self.link)
