"""A bound on the value that any policy delivers to learners, keys and tests on a network in continuous time.

It takes the births that the links' random streams allow (`ceas.network.replay.possible_births`) and gives up what links
share: each has the memories of its ends for itself. What remains, for each link alone:

- A shot through m pairs, the newest born at b, begins at the first time t >= b at which the link's learners run shots,
  or later. Its value is at most `learning_value * prod_j w(t - b_j)^2`. Later is never better. Of Bell-diagonal pairs
  a weighted mean of the squared correlators takes the place of w^2; it falls with age as well.
- Of the pairs born before a learning window, at most as many as fit the memory can be stored when it begins. Because
  only ages count, that may as well be the newest of them.
- A pair serves once; a learner begins at most floor(window / shot duration) shots a round.
- A choice of pairs becomes a test with the probability s, independently of all that is known when it is made. So a
  choice is worth `(1 - s) value + s m test_value` in the mean, and counts as 1 - s of a shot or of a key.
- Keys are served by pairs just born, as many as are asked for up to the end; no older pair gives more.

The optimum over shots, sets of m pairs of which each is in at most one, is bounded by its Lagrangian dual: with prices
mu_i >= 0 of pairs and nu_r >= 0 of shots in round r,

    sum_i mu_i + sum_r nu_r limit_r + sum_k max(0, max_S worth(S) - (1 - s) nu - sum_(i in S) mu_i),

where S runs over the sets whose newest pair is k. Any prices give a bound; they are improved by subgradients. Sets are
listed from the pairs up to `depth` before the newest; all older pairs are taken to be as young as the first beyond, at
the lowest price of any that still lives.

End-to-end pairs over routes are given up too: every request that arrives is taken to be served at once, through fresh
pairs that no link has to make (`end_to_end_bound`). That is loose where they are many.

The bound holds for the mean over the coins of the tests, given the births; single runs scatter around it by those
coins.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d

from ceas.errors import DomainError
from ceas.network.records import NetworkModel
from ceas.network.routes import RouteClass
from ceas.physics.keys import binary_entropy
from ceas.scheduling.pair_values import fresh_key_fraction, fresh_shot_value

__all__ = ["RoundsBound", "end_to_end_bound", "rounds_bound"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# Pairs for each that all shots can take, above which pairs are not priced: shots are then what is scarce.
_PLENTY = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsBound:
    """A bound on the mean delivered value, all rounds together.

    Attributes:
        value: The bound on the sum of the values delivered to learning, keys and tests.
        learning: Its part from shots, with their tests, by link, `(n_links,)`.
        keys: Its part from keys, with their tests, by link, `(n_links,)`.
        shots: Most shots that learners can begin, by link, `(n_links,)`.
    """

    value: float
    learning: Float64s
    keys: Float64s
    shots: Float64s


def rounds_bound(
    model: NetworkModel,
    birth_first: Int64s,
    birth_ns: Int64s,
    *,
    n_rounds: int,
    depth: int | None = None,
    n_steps: int = 60,
) -> RoundsBound:
    """Return a bound on the value that any policy delivers in the first `n_rounds` rounds.

    Args:
        model: The fixed part of the network.
        birth_first: Where each link's births begin in `birth_ns`, `(n_links + 1,)`.
        birth_ns: Times at which pairs would be born if all attempts were made (ns), in order on each link.
        n_rounds: Rounds.
        depth: Pairs before the newest from which sets are listed; by default 3 more than needed for one.
        n_steps: Subgradient steps.

    Raises:
        DomainError: The births do not fit the model, or there are no rounds.
    """
    if birth_first.shape != (model.n_links + 1,) or birth_first[-1] != len(birth_ns):
        raise DomainError(f"Argument `birth_first` must span the births of {model.n_links} links, but does not.")
    if n_rounds < 1:
        raise DomainError(f"Argument `n_rounds` must be at least 1, but is {n_rounds}.")
    demand, n_links = model.demand, model.n_links
    learning, shots = np.zeros(n_links), np.zeros(n_links)
    for link in np.unique(demand.learner_link[demand.learner_link >= 0]).tolist():
        births = birth_ns[birth_first[link] : birth_first[link + 1]]
        durations = demand.shot_duration_ns[demand.learner_link == link].astype(np.int64)
        shots[link] = n_rounds * float((model.clock.learning_ns // durations).sum())
        eligible = _eligible(model, link, births, int(durations.min()), n_rounds)
        learning[link] = _link_learning(
            model, link, *eligible, per_round=shots[link] / n_rounds, depth=depth, n_steps=n_steps
        )
    keys = _key_values(model, np.diff(birth_first), n_rounds)
    return RoundsBound(value=float(learning.sum() + keys.sum()), learning=learning, keys=keys, shots=shots)


def end_to_end_bound(model: NetworkModel, requested: Int64s) -> float:
    """Return a bound on the value that requests for end-to-end pairs deliver.

    Args:
        model: The fixed part of the network; without routes the bound is 0.
        requested: Requests of each flow, which no policy can change, `(n_flows,)`.

    Raises:
        DomainError: `requested` does not fit the flows.
    """
    routes, demand, repeaters = model.routes, model.route_demand, model.repeaters
    if routes is None or demand is None or repeaters is None:
        return 0.0
    if requested.shape != (demand.n_flows,):
        raise DomainError(f"Argument `requested` must have one entry for each of {demand.n_flows} flows, but has not.")
    nodes = routes.nodes(model.links)
    worth = np.zeros(demand.n_flows)
    for flow, route in enumerate(demand.route.tolist()):
        first, last = int(routes.first_hop[route]), int(routes.first_hop[route + 1])
        # Route r has one node more than links, so its nodes begin r places later.
        inner = nodes[first + route + 1 : last + route]
        fresh = np.abs(repeaters.initial_correlators[routes.link[first:last]]).prod(axis=0)
        correlators = fresh * repeaters.swap_contraction[inner].prod(axis=0)
        if 0.25 * (1.0 + correlators.sum()) >= demand.minimum_fidelity[flow]:
            is_key = demand.use_class[flow] == RouteClass.KEY
            worth[flow] = demand.weight[flow] * (_key_bits(correlators) if is_key else 1.0)
    return float(worth @ requested)


def _key_bits(correlators: Float64s) -> float:
    """Return the asymptotic BBM92 secret bits of a Bell-diagonal pair of these correlators."""
    errors = (1.0 - correlators[[0, 2]]) / 2.0
    return float(np.maximum(0.0, 1.0 - binary_entropy(errors).sum()))


def _key_values(model: NetworkModel, n_births: Int64s, n_rounds: int) -> Float64s:
    """Return what keys can deliver on each link, with the tests on the way, through pairs just born."""
    demand, share = model.demand, model.demand.test_share
    # Arrivals lie at the middles of equal parts of each round.
    requests = np.floor(demand.key_pairs_per_round * n_rounds + 0.5)
    worth = (1.0 - share) * demand.key_value * fresh_key_fraction(model)
    choices = np.minimum(requests / (1.0 - share), n_births)
    return np.asarray(choices * (worth + share * demand.test_value))


def _eligible(
    model: NetworkModel, link: int, births: Int64s, shortest_ns: int, n_rounds: int
) -> tuple[Int64s, Int64s, Int64s]:
    """Return the births that shots can use, the earliest time of a shot of which each is the newest, and its round."""
    clock = model.clock
    ends = [model.links.node_a[link], model.links.node_b[link]]
    room = int(model.nodes.memory_slots[ends].min())
    last_ns = clock.learning_ns - shortest_ns
    shot_round = births // clock.round_ns
    is_late = births - shot_round * clock.round_ns > last_ns
    shot_round = shot_round + is_late
    shot_ns = np.where(is_late, shot_round * clock.round_ns, births)
    # Of those born before a window, the newest that fit.
    younger = np.searchsorted(births, shot_round * clock.round_ns) - np.arange(len(births))
    kept = (shot_round < n_rounds) & (~is_late | (younger <= room))
    return births[kept], shot_ns[kept], shot_round[kept]


def _link_learning(
    model: NetworkModel,
    link: int,
    births: Int64s,
    shot_ns: Int64s,
    shot_round: Int64s,
    *,
    per_round: float,
    depth: int | None,
    n_steps: int,
) -> float:
    """Return the bound on what one link delivers to its learners, with their tests."""
    pairs = model.demand.pairs_per_shot
    if len(births) < pairs:
        return 0.0
    share = model.demand.test_share
    n_rounds = int(shot_round.max()) + 1
    choices = per_round / (1.0 - share)
    supply = np.bincount(shot_round, minlength=n_rounds)
    is_plenty = bool((supply > _PLENTY * pairs * choices).all())
    reach = pairs - 1 if is_plenty else (pairs + 2 if depth is None else max(depth, pairs - 1))
    sets = _Sets(model, link, births, shot_ns, pairs, reach)
    worth = np.where(sets.value > 0.0, (1.0 - share) * sets.value + share * pairs * model.demand.test_value, 0.0)
    # To begin with, all pairs of a round have the same price, or if shots are scarcer, all shots.
    best = worth.max(axis=1)
    limit = np.minimum(choices, supply / pairs)
    cut = np.array([_at_rank(best[shot_round == window], limit[window]) for window in range(n_rounds)])
    is_scarce = supply < pairs * choices
    prices = _Prices(pair=np.where(is_scarce, cut / pairs, 0.0)[shot_round], choice=np.where(is_scarce, 0.0, cut))
    return _improved(sets, worth, prices, shot_round, choices, 0 if is_plenty else n_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prices:
    """Prices of pairs, `(N,)`, and of choices in each round, `(rounds,)`."""

    pair: Float64s
    choice: Float64s


def _improved(  # noqa: PLR0917 - the problem, where to begin and how long
    sets: "_Sets", worth: Float64s, prices: _Prices, shot_round: Int64s, choices: float, n_steps: int
) -> float:
    """Return the least bound found on the way of a subgradient method from the given prices."""
    best = np.inf
    pace, since = 1.0, 0
    for step in range(n_steps + 1):
        gain = worth - sets.cost(prices.pair) - prices.choice[shot_round, None]
        chosen = gain.argmax(axis=1)
        most = gain[np.arange(len(gain)), chosen]
        bound = float(prices.pair.sum() + choices * prices.choice.sum() + np.maximum(most, 0.0).sum())
        since = 0 if bound < best * (1.0 - 1e-4) else since + 1
        best = min(best, bound)
        if since == 4:
            pace, since = 0.5 * pace, 0
        if step == n_steps or pace < 0.1:
            break
        taken = most > 0.0
        pair_slope = 1.0 - sets.uses(chosen, taken)
        choice_slope = choices - np.bincount(shot_round[taken], minlength=len(prices.choice))
        # Prices that are 0 and would fall do not count for the length of the step.
        pair_slope = np.where((prices.pair <= 0.0) & (pair_slope > 0.0), 0.0, pair_slope)
        choice_slope = np.where((prices.choice <= 0.0) & (choice_slope > 0.0), 0.0, choice_slope)
        square = float((pair_slope**2).sum() + (choice_slope**2).sum())
        if square == 0.0:
            break
        # Polyak's step towards an optimum that is taken to lie 5 % below.
        length = pace * (bound - 0.95 * best) / square
        prices = _Prices(
            pair=np.maximum(0.0, prices.pair - length * pair_slope),
            choice=np.maximum(0.0, prices.choice - length * choice_slope),
        )
    return best


def _at_rank(values: Float64s, rank: float) -> float:
    """Return the value that about `rank` of the values exceed, 0 if there are fewer."""
    place = int(np.floor(rank))
    return (
        0.0 if place >= len(values) else float(np.partition(values, len(values) - 1 - place)[len(values) - 1 - place])
    )


def _log_factor(model: NetworkModel, link: int, age_ns: Int64s) -> Float64s:
    """Return the logarithm of what remains of a fresh pair's factor on a shot's value at the given ages."""
    links = model.links
    if not links.is_bell_diagonal:
        return np.asarray(-2.0 * (float(links.decay_rate_hz[link]) * 1e-9) * age_ns)
    squares = links.correlators[link] ** 2 * np.array(model.demand.correlator_weights)
    decay_per_ns = 2e-9 * links.correlator_rates_hz[link]
    kept = (squares * np.exp(-np.multiply.outer(age_ns, decay_per_ns))).sum(axis=-1) / squares.sum()
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(kept))


class _Sets:
    """All sets of pairs of a shot by their newest, N births and C sets each.

    Attributes:
        value: Most that a shot through a set is worth, 0 if pairs are missing or too old, `(N, C)`.
        back: How many births before the newest each further member lies, `(C, m - 1)`; `reach + 1` is any older.
        alive: Births that live together, at most.
    """

    def __init__(  # noqa: PLR0917 - a set is all of these
        self, model: NetworkModel, link: int, births: Int64s, shot_ns: Int64s, pairs: int, reach: int
    ) -> None:
        n_births, far = len(births), reach + 1
        listed = [
            (*near, *[far] * (pairs - 1 - size))
            for size in range(pairs)
            for near in combinations(range(1, reach + 1), size)
        ]
        self.back = np.array(listed, dtype=np.int64).reshape(len(listed), pairs - 1)
        self.far = far
        lifetime_ns = int(model.lifetime_ns[link])
        log_value = np.zeros((n_births, len(listed)))
        place = np.arange(n_births)
        log_pair = np.full((n_births, far + 1), -np.inf)
        for back in range(far + 1):
            held = place >= back
            age_ns = shot_ns[held] - births[place[held] - back]
            is_alive = age_ns <= lifetime_ns
            log_pair[held, back] = np.where(is_alive, _log_factor(model, link, age_ns), -np.inf)
        log_value += log_pair[:, :1]
        for member in range(pairs - 1):
            log_value += log_pair[:, self.back[:, member]]
        fresh = model.demand.learning_value * float(fresh_shot_value(model)[link])
        self.value = fresh * np.exp(log_value)
        oldest = np.searchsorted(births, shot_ns - lifetime_ns)
        self.alive = int((place - oldest + 1).max(initial=1))

    def cost(self, pair_price: Float64s) -> Float64s:
        """Return what the pairs of each set cost, `(N, C)`; infinite if there are not as many."""
        n_births = len(pair_price)
        padded = np.concatenate([np.full(self.far, np.inf), pair_price])
        by_back = [padded[self.far - back : self.far - back + n_births] for back in range(self.far)]
        # The cheapest of the births that live, from `far` before the newest on.
        older = minimum_filter1d(padded, self.alive, mode="constant", cval=np.inf, origin=(self.alive - 1) // 2)
        table = np.stack([*by_back, older[:n_births]], axis=1)
        total = np.repeat(pair_price[:, None], len(self.back), axis=1)
        for member in range(self.back.shape[1]):
            total += table[:, self.back[:, member]]
        return total

    def uses(self, chosen: Int64s, taken: npt.NDArray[np.bool_]) -> Float64s:
        """Return how often each pair is in the chosen sets that are taken; those far back are not counted."""
        newest = np.flatnonzero(taken)
        count = np.zeros(len(chosen))
        count[newest] = 1.0
        for member in range(self.back.shape[1]):
            back = self.back[chosen[newest], member]
            near = back < self.far
            np.add.at(count, newest[near] - back[near], 1.0)
        return count
