"""Values that the network, the schedulers and the training loop share: demands, the round clock, fates, records."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.physics.memory import correlator_cutoff_s

if TYPE_CHECKING:
    from ceas.network.hardware import LinkTable, NodeTable
    from ceas.network.route_records import RouteRecord
    from ceas.network.routes import DriftSchedule, RepeaterTable, RouteDemand, RouteTable

__all__ = [
    "FIDELITY_BINS",
    "MAX_LEARNERS_PER_LINK",
    "PAIR_DTYPE",
    "VALUE_CLASSES",
    "DemandTable",
    "Fate",
    "NetworkModel",
    "RoundClock",
    "WindowRecord",
    "correlator_lifetime_ns",
    "learners_of_link",
    "lifetime_ns",
    "no_link_demand",
    "used_by_routes",
    "value_by_class",
]

Float64s: TypeAlias = npt.NDArray[np.float64]
Float32s: TypeAlias = npt.NDArray[np.float32]
Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]

# The histogram of fidelities at use covers [0.25, 1], from the fully mixed state to the perfect pair.
FIDELITY_BINS = 100
# Whom value is delivered to, in the order of `value_by_class`.
VALUE_CLASSES = ("learning", "key", "test", "background")
# One learner at either end of a link.
MAX_LEARNERS_PER_LINK = 2
# Sixty days: far beyond a training, and sums of such times stay far from the end of an int64.
_LONGEST_NS = 60 * 86_400 * 10**9

PAIR_DTYPE = np.dtype(
    [
        ("pair_id", np.int64),
        ("link", np.int32),
        ("birth_ns", np.int64),
        ("end_ns", np.int64),
        ("fate", np.int8),
        ("user", np.int32),
        ("shot", np.int64),
        ("werner_at_end", np.float32),
    ]
)


class Fate(IntEnum):
    """What became of a pair. The used fates 1, 2, 3 are also the three classes of use, in this order.

    A pair of fate ROUTE was handed to a request for an end-to-end pair; `RouteFate` says what became of it there.
    """

    ALIVE = 0
    LEARNING = 1
    KEY = 2
    TEST = 3
    EXPIRED = 4
    DISCARDED = 5
    ROUTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundClock:
    """A training round: a learning window in which QPUs run shots, then an exchange phase without shots.

    Args:
        round_ns: Length of a round (ns).
        learning_ns: Length of the learning window at its start (ns), in (0, round_ns].
    """

    round_ns: int
    learning_ns: int

    def __post_init__(self) -> None:
        if not 0 < self.round_ns <= _LONGEST_NS:
            raise DomainError(f"Argument `round_ns` must be in (0, {_LONGEST_NS}], but is {self.round_ns}.")
        if not 0 < self.learning_ns <= self.round_ns:
            raise DomainError(f"Argument `learning_ns` must be in (0, {self.round_ns}], but is {self.learning_ns}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandTable:
    """Who needs pairs, when, and what a pair is worth to each use.

    A shot with pairs of Werner parameters w_1..w_m delivers `learning_value * prod w_i^2`, a key pair
    `key_value * secret_key_fraction(w)`, a tested pair `test_value`. Of Bell-diagonal pairs, a weighted mean of the
    three squared correlators takes the place of w^2, and the BBM92 key of the X and Z bases that of the Werner pair's.

    Args:
        learner_link: Link whose pairs a learner's cut circuit uses, shape `(n_learners,)`, -1 for none. At most two
            learners share a link.
        pairs_per_shot: Pairs that one shot takes, all at once; 0 when the circuit is not cut.
        shot_duration_ns: Time from the start of a shot until the learner's QPU is ready again (ns), `(n_learners,)`.
        key_pairs_per_round: Key requests per link and round, evenly spread over the round, shape `(n_links,)`.
        key_deadline_ns: A key request not served this long after its arrival is dropped (ns).
        test_share: Probability that a use is diverted to a joint test of its pairs, in [0, 1).
        learning_value: Value of one shot through perfect pairs.
        key_value: Value of one secret bit.
        test_value: Value of one tested pair.
        correlator_weights: Weights of c_x^2, c_y^2 and c_z^2 in that mean, at least 0, with the sum 1.
    """

    learner_link: Int32s
    pairs_per_shot: int
    shot_duration_ns: Int64s
    key_pairs_per_round: Float64s
    key_deadline_ns: int
    test_share: float
    learning_value: float
    key_value: float
    test_value: float
    correlator_weights: tuple[float, float, float] = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0)

    def __post_init__(self) -> None:
        weights = np.array(self.correlator_weights, dtype=np.float64)
        if weights.shape != (3,) or not bool((weights >= 0.0).all()) or not np.isclose(weights.sum(), 1.0):
            raise DomainError(
                f"Argument `correlator_weights` must be three numbers of at least 0 with the sum 1, but is "
                f"{self.correlator_weights}."
            )
        if self.learner_link.shape != self.shot_duration_ns.shape or self.learner_link.ndim != 1:
            raise DomainError(
                f"Argument `shot_duration_ns` must have the shape of `learner_link`, {self.learner_link.shape}, "
                f"but has {self.shot_duration_ns.shape}."
            )
        if self.pairs_per_shot < 0:
            raise DomainError(f"Argument `pairs_per_shot` must be at least 0, but is {self.pairs_per_shot}.")
        if self.pairs_per_shot == 0 and bool((self.learner_link >= 0).any()):
            raise DomainError("Argument `learner_link` must be -1 for every learner when `pairs_per_shot` is 0.")
        if bool((self.shot_duration_ns <= 0).any()) or bool((self.shot_duration_ns > _LONGEST_NS).any()):
            raise DomainError(f"Argument `shot_duration_ns` must be in (0, {_LONGEST_NS}], but is not everywhere.")
        rates = self.key_pairs_per_round
        if rates.ndim != 1 or not bool(np.isfinite(rates).all()) or bool((rates < 0).any()):
            raise DomainError(
                "Argument `key_pairs_per_round` must be finite and at least 0 for every link, but is not."
            )
        if not 0 < self.key_deadline_ns <= _LONGEST_NS:
            raise DomainError(
                f"Argument `key_deadline_ns` must be in (0, {_LONGEST_NS}], but is {self.key_deadline_ns}."
            )
        if not 0.0 <= self.test_share < 1.0:
            raise DomainError(f"Argument `test_share` must be in [0, 1), but is {self.test_share}.")
        for name in ("learning_value", "key_value", "test_value"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise DomainError(f"Argument `{name}` must be finite and at least 0, but is {value}.")


def no_link_demand(n_links: int) -> DemandTable:
    """Return a demand in which nobody asks for pairs of single links, as where routes alone do."""
    return DemandTable(
        learner_link=np.zeros(0, dtype=np.int32),
        pairs_per_shot=0,
        shot_duration_ns=np.zeros(0, dtype=np.int64),
        key_pairs_per_round=np.zeros(n_links),
        key_deadline_ns=1,
        test_share=0.0,
        learning_value=0.0,
        key_value=0.0,
        test_value=0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkModel:
    """All that stays fixed while the network runs; a `NetworkState` belongs to exactly one model.

    Args:
        nodes: Nodes, of which the kernel uses `memory_slots`.
        links: Elementary links.
        demand: Who needs pairs.
        clock: Length of a round and of its learning window.
        minimum_fidelity: A stored pair is expired when its fidelity falls to this, in (0.25, 1). A link whose new pairs
            are no better never attempts.
        routes: Routes over several links, if there are any.
        route_demand: Who asks for pairs over them; needs `routes` and `repeaters`.
        repeaters: What nodes do besides storing pairs; None for no attempt limits and instant, perfect transfers.
        drift: Steps at which links change; None if they never do.
    """

    nodes: "NodeTable"
    links: "LinkTable"
    demand: DemandTable
    clock: RoundClock
    minimum_fidelity: float
    routes: "RouteTable | None" = None
    route_demand: "RouteDemand | None" = None
    repeaters: "RepeaterTable | None" = None
    drift: "DriftSchedule | None" = None

    def __post_init__(self) -> None:
        if not 0.25 < self.minimum_fidelity < 1.0:
            raise DomainError(f"Argument `minimum_fidelity` must be in (0.25, 1), but is {self.minimum_fidelity}.")
        n_links = len(self.links.node_a)
        if len(self.demand.key_pairs_per_round) != n_links:
            raise DomainError(
                f"Argument `key_pairs_per_round` must have one entry for each of the {n_links} links, "
                f"but has {len(self.demand.key_pairs_per_round)}."
            )
        learner_link = self.demand.learner_link
        if bool((learner_link < -1).any()) or bool((learner_link >= n_links).any()):
            raise DomainError(f"Argument `learner_link` must hold -1 or a link below {n_links}, but does not.")
        counts = np.bincount(learner_link[learner_link >= 0], minlength=n_links)
        if counts.size and counts.max() > MAX_LEARNERS_PER_LINK:
            raise DomainError(
                f"Argument `learner_link` must give a link to at most {MAX_LEARNERS_PER_LINK} learners, "
                f"but gives link {int(counts.argmax())} to {int(counts.max())}."
            )
        duration = self.demand.shot_duration_ns[learner_link >= 0]
        if bool((duration > self.clock.learning_ns).any()):
            raise DomainError(
                f"Argument `shot_duration_ns` must be at most the learning window, {self.clock.learning_ns}, "
                f"but is {int(duration.max())}."
            )
        slots = self.nodes.memory_slots
        need = self.demand.pairs_per_shot
        used = np.flatnonzero(counts)
        capacity = np.minimum(slots[self.links.node_a[used]], slots[self.links.node_b[used]])
        if bool((capacity < need).any()):
            raise DomainError(
                f"Argument `memory_slots` must be at least `pairs_per_shot`, {need}, at both ends of a learner's link, "
                f"but link {int(used[int(capacity.argmin())])} has room for {int(capacity.min())}."
            )
        self._check_routes()

    def _check_routes(self) -> None:
        """Raise DomainError unless routes, repeaters and drift fit the network."""
        n_nodes, n_links = len(self.nodes.memory_slots), self.n_links
        if self.repeaters is not None:
            found = (len(self.repeaters.swap_success_probability), len(self.repeaters.cutoff_ns))
            if found != (n_nodes, n_links):
                raise DomainError(
                    f"Argument `repeaters` must have {n_nodes} nodes and {n_links} links, but has {found[0]} and "
                    f"{found[1]}."
                )
            if self.links.is_bell_diagonal and not self._has_repeaters_of_links():
                raise DomainError(
                    "Argument `repeaters` must have correlators and memories of Bell-diagonal `links`, but does not."
                )
        if self.route_demand is not None:
            if self.routes is None or self.repeaters is None:
                raise DomainError("Argument `route_demand` must come with `routes` and `repeaters`, but does not.")
            self.routes.nodes(self.links)
            route = self.route_demand.route
            if bool((route < 0).any()) or bool((route >= self.routes.n_routes).any()):
                raise DomainError(
                    f"Argument `route_demand` must use routes below {self.routes.n_routes}, but uses {route.max()}."
                )
        if self.drift is not None:
            link = self.drift.link
            if bool((link < 0).any()) or bool((link >= n_links).any()):
                raise DomainError(f"Argument `drift` must change links below {n_links}, but does not.")

    def _has_repeaters_of_links(self) -> bool:
        """Tell whether pairs on routes begin and decay as those in the links' stocks."""
        links, repeaters = self.links, self.repeaters
        if repeaters is None:
            return True
        rates_hz = repeaters.memory_rate_hz[links.node_a] + repeaters.memory_rate_hz[links.node_b]
        same = np.allclose(repeaters.initial_correlators, links.correlators, rtol=0.0, atol=1e-9)
        return same and np.allclose(rates_hz, links.correlator_rates_hz, rtol=1e-9, atol=0.0)

    @property
    def n_links(self) -> int:
        """Number of links."""
        return len(self.links.node_a)

    @property
    def n_learners(self) -> int:
        """Number of learners."""
        return len(self.demand.learner_link)

    @property
    def lifetime_ns(self) -> Int64s:
        """Age at which a pair of each link is expired (ns), shape `(n_links,)`; 0 for a link that never attempts."""
        if self.links.is_bell_diagonal:
            return correlator_lifetime_ns(self.links.correlators, self.links.correlator_rates_hz, self.minimum_fidelity)
        return lifetime_ns(self.links.initial_werner, self.links.decay_rate_hz, self.minimum_fidelity)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRecord:
    """What happened to the pairs in one round. Arrays per link have shape `(n_links,)` unless said otherwise.

    Args:
        window: Number of the round, from 0.
        start_ns: Network time at its start (ns).
        end_ns: Network time at its end (ns).
        shot_learner: Learner of every shot, shape `(S,)`; shots are sorted by (learner, time).
        shot_time_ns: Time at which the shot began and its pairs were used (ns), shape `(S,)`.
        shot_werner: Werner parameters of its pairs at that time, shape `(S, pairs_per_shot)`; here and below that of
            equal fidelity, the mean of the three correlators, where pairs are Bell-diagonal.
        generated: Pairs born.
        fates: Pairs closed in this round by fate, shape `(n_links, 6)`; the ALIVE column is the stock at the end.
        key_count: Pairs delivered to key requests.
        key_werner_sum: Sum of their Werner parameters at use.
        key_requested: Key requests that arrived.
        key_dropped: Key requests whose deadline passed.
        key_waiting: Key requests that wait at the end of the round.
        key_wait_ns: Total time that the served key requests waited (ns).
        shot_wait_ns: Total time that ready QPUs waited for the pairs of the shots they ran (ns), `(n_learners,)`.
        test_count: Pairs diverted to joint tests.
        test_werner_sum: Sum of their Werner parameters.
        test_link: Link of every tested pair, shape `(K,)`, sorted by (link, time).
        test_werner: Its Werner parameter, shape `(K,)`.
        test_is_of_shot: Whether it was chosen for a shot, and not for a key, shape `(K,)`.
        blocked_ns: Time with no free memory slot at one of the ends (ns); 0 for a link without demand. Attempts stop,
            unless the policy overwrites.
        delivered_value: Value delivered to learning, key and test, shape `(3,)`.
        fidelity_at_use: Histogram of the fidelity at use for learning, key and test over [0.25, 1],
            shape `(3, FIDELITY_BINS)`.
        wait_histogram: Histogram of how long QPUs waited for the pairs of a shot, and served key requests for theirs,
            shape `(2, WAIT_BINS)`, see `ceas.network.waiting`.
        pairs: Traced pairs closed in this round, sorted by (end, pair), dtype `PAIR_DTYPE`: `user` is the learner or
            -1, `shot` the row of the shot in this record or -1.
        routes: What happened on the routes; None if nobody asks for pairs over any.
        shot_correlators: Correlators (x, y, z) of the pairs of `shot_werner`, shape `(S, pairs_per_shot, 3)`; None, as
            the two below, for Werner pairs.
        test_correlators: Those of the pairs of `test_werner`, shape `(K, 3)`.
        key_correlator_sum: Sum of those of the pairs delivered to key requests, shape `(n_links, 3)`.
    """

    window: int
    start_ns: int
    end_ns: int
    shot_learner: Int32s
    shot_time_ns: Int64s
    shot_werner: Float32s
    generated: Int64s
    fates: Int64s
    key_count: Int64s
    key_werner_sum: Float64s
    key_requested: Int64s
    key_dropped: Int64s
    key_waiting: Int64s
    key_wait_ns: Int64s
    shot_wait_ns: Int64s
    test_count: Int64s
    test_werner_sum: Float64s
    test_link: Int32s
    test_werner: Float32s
    test_is_of_shot: npt.NDArray[np.bool_]
    blocked_ns: Int64s
    delivered_value: Float64s
    fidelity_at_use: Int64s
    wait_histogram: Int64s
    pairs: npt.NDArray[Any]
    routes: "RouteRecord | None" = None
    shot_correlators: Float32s | None = None
    test_correlators: Float32s | None = None
    key_correlator_sum: Float64s | None = None

    @property
    def shot_pairs(self) -> Float32s:
        """What is known of the pairs of every shot: Werner parameters `(S, m)`, or correlators `(S, m, 3)`."""
        return self.shot_werner if self.shot_correlators is None else self.shot_correlators


def lifetime_ns(initial_werner: Float64s, decay_rate_hz: Float64s, minimum_fidelity: float) -> Int64s:
    """Return the age at which pairs fall to the minimum fidelity (ns), 0 where new pairs are no better than it."""
    excess = np.maximum(initial_werner * 3.0 / (4.0 * minimum_fidelity - 1.0), 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lifetime = np.where(excess > 1.0, np.log(excess) / decay_rate_hz * 1e9, 0.0)
    return np.minimum(lifetime, float(_LONGEST_NS)).astype(np.int64)


def correlator_lifetime_ns(correlators: Float64s, rates_hz: Float64s, minimum_fidelity: float) -> Int64s:
    """Return the same as `lifetime_ns` for pairs of correlators `(n_links, 3)` that decay at rates `(n_links, 3)`."""
    lifetime = lifetime_ns(correlators[:, 0], rates_hz[:, 0], minimum_fidelity)
    is_uneven = (correlators != correlators[:, :1]).any(axis=1) | (rates_hz != rates_hz[:, :1]).any(axis=1)
    if is_uneven.any():
        cutoff_s = correlator_cutoff_s(correlators[is_uneven], minimum_fidelity, rates_hz[is_uneven])
        lifetime[is_uneven] = np.minimum(cutoff_s * 1e9, float(_LONGEST_NS)).astype(np.int64)
    return lifetime


def used_by_routes(record: WindowRecord) -> Int64s:
    """Return how many pairs of each link ended in a delivered or tested end-to-end pair, shape `(n_links,)`."""
    if record.routes is None:
        return np.zeros(len(record.generated), dtype=np.int64)
    from ceas.network.route_records import RouteFate  # noqa: PLC0415 - only where there are routes

    ends = record.routes.pair_fates[:, [RouteFate.DELIVERED, RouteFate.TESTED]]
    return np.asarray(ends.sum(axis=1), dtype=np.int64)


def learners_of_link(learner_link: Int32s, n_links: int) -> Int32s:
    """Return the learners that use each link, shape `(n_links, 2)`, lowest first, -1 for none."""
    learners = np.full((n_links, MAX_LEARNERS_PER_LINK), -1, dtype=np.int32)
    for learner in np.flatnonzero(learner_link >= 0):
        link = learner_link[learner]
        learners[link, int(learners[link, 0] >= 0)] = learner
    return learners


def value_by_class(record: WindowRecord) -> Float64s:
    """Return the value delivered to learning, key, test and background traffic, that of end-to-end pairs included."""
    value = np.append(record.delivered_value, 0.0)
    if record.routes is not None:
        # The classes of routes are keys, tests and background traffic, in this order.
        value[1:] += record.routes.by_class("delivered_value")
    return value
