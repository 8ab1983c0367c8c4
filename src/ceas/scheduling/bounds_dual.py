"""Bounds on the mean delivered value of every policy that cannot see the future.

*Weakly coupled dual.* Links share only the attempts and the memory of nodes. Charge a link for both at prices pi_v >= 0
an attempt and kappa_v >= 0 a memory slot and time slot, at both its ends, and refund what the nodes have. With V_e the
highest mean reward of link e alone at the prices of its ends,

    L = sum_e V_e(pi_u + pi_v, kappa_u + kappa_v) + sum_v (c_v pi_v + K_v kappa_v)

is at least the mean value a slot of every policy for the network, for all prices (weak duality): a policy for the
network is a policy for each link that knows more, what it knows more is independent of the link's own coins and
requests, and its refunds are no less than its charges. L is convex in the prices; it is minimised by cutting planes,
one a link. Source: Hawkins, PhD thesis, MIT 2003; Adelman and Mersereau, Operations Research 56:712, 2008.

In its link, a policy may do all that the engine allows: attempt into free memory, attempt in the place of a stored
pair, serve any number of requests of a slot with any pairs, throw pairs away. (Of the pairs to replace the oldest is
never worse: a younger one can do whatever an older one can.) V_e is bounded from above by value iteration, so L is a
bound at any accuracy.

*Requests that wait.* Where requests have patience, their queue would be part of the state. Instead only their mean
number is kept: a pair may be sold to such a class at any time, at a price sigma >= 0 for its request, and the class's
rate times sigma is refunded. That relaxes patience to any length; when all classes wait it is the fluid bound of each
link.

*Routes and tuples.* A route's value is shared among its links: with h links in all, each gets 1/h of the value of a
route all whose pairs are like its own, which overestimates (see `bounds_columns`). If swaps fail, the value counts with
their chance, and for requests that wait so does the request: a failed try leaves it waiting. A tuple is served at once
by one link.

*Utilisation.* With at least a share u of the new pairs used by requests, value can only be lower: each used pair earns,
and each new pair costs u times, another price eta >= 0. Pairs may then be used by requests for which they are worth
nothing. Lost pairs of failed swaps count as used here, so this too is a relaxation.

Requests of classes that do not wait must come unannounced, and pairs must not be purified: policies that know more, or
make better pairs than new ones, are not bounded.

*Runs of N slots* from empty memories deliver on average at most N L + `transient`: value iteration started from the
bias bounds them, and so does it for every N.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from ceas.errors import CapacityError, CeasError, DomainError
from ceas.network.slots import Forecast, SlottedNetwork
from ceas.physics.domain import require_between
from ceas.scheduling.age_states import AgeStates, age_states, n_age_states
from ceas.scheduling.bounds_columns import used_value
from ceas.scheduling.bounds_sweeps import (
    ATTEMPTS,
    GENERATED,
    N_FIXED,
    OCCUPIED,
    USED,
    LinkModel,
    iterate_link,
    measure_link,
)

__all__ = ["DualBound", "dual_bound", "fluid_bound", "utilisation_frontier"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]
Arrivals: TypeAlias = Literal["poisson", "bernoulli", "one"]

# A link's gain is found to this part of the most that its new pairs can be worth.
_WIDTH = 1e-5
_MOST_SWEEPS = 2000
_MEASURED_SWEEPS = 200
# Requests beyond the counted ones are worth less than this part of all, and are added to the bound.
_UNCOUNTED = 1e-4
# Largest price of utilisation, in units of the most that a request is worth.
_LARGEST_ETA = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DualBound:
    """A bound on the mean value a slot.

    Attributes:
        value: The bound, per slot.
        normalised: The bound over the value a slot of serving all requests through pairs just born.
        transient: What a run from empty memories can deliver beyond `value` a slot, in all.
        attempt_price: Price of an attempt, `(n,)`.
        memory_price: Price of a memory slot for a time slot, `(n,)`.
        request_price: Price of a request of a class that waits, 0 for others, `(E, C)`.
        pair_price: Price of utilisation (eta).
        link_value: Bound on each link's mean reward at these prices, `(E,)`.
        evaluations: Points at which the dual was evaluated.
        lower_value: Lower bound on the dual's minimum over the prices, up to the accuracy of the rates: what further
            evaluations could reach.
    """

    value: float
    normalised: float
    transient: float
    attempt_price: Float64s
    memory_price: Float64s
    request_price: Float64s
    pair_price: float
    link_value: Float64s
    evaluations: int
    lower_value: float


def dual_bound(
    network: SlottedNetwork,
    forecast: Forecast,
    *,
    hops: Int64s | None = None,
    utilisation: float = 0.0,
    arrivals: Arrivals = "poisson",
    groups: Int64s | None = None,
    most_evaluations: int = 25,
    accuracy: float = 1e-3,
    most_states: int = 20_000,
) -> DualBound:
    """Return the weakly coupled dual bound.

    Args:
        network: The network, with the true probabilities and Werner parameters.
        forecast: True mean rates of the requests.
        hops: Links of the routes of each class, `(C,)`, 1 for all if None; of routes of different lengths the fewest,
            for with more the bound would not hold. `forecast.rate` counts a route on each of its links.
        utilisation: Bound policies that use at least this share of the new pairs, in [0, 1].
        arrivals: Whether the requests of a link and class in a slot are Poisson, or at most one, independent of those
            of other classes ("bernoulli"), or at most one of all classes ("one").
        groups: Group of each node, from 0; nodes of a group have the same prices. Each node has its own if None; fewer
            make the bound faster and looser, for links that are alike and have ends in the same groups are solved once.
        most_evaluations: Points at which the dual is evaluated.
        accuracy: Part of the bound to which the minimum over the prices is sought.
        most_states: States of a link's memory above which the bound is refused.

    Raises:
        DomainError: An argument is outside its domain.
        CapacityError: A link's memory has more states.
    """
    require_between("utilisation", utilisation, 0.0, 1.0)
    n_classes = forecast.rate.shape[1]
    if forecast.rate.shape[0] != network.n_links:
        raise DomainError(
            f"Argument `forecast` must have rates for {network.n_links} links, but has {forecast.rate.shape[0]}."
        )
    lengths = np.ones(n_classes, dtype=np.int64) if hops is None else np.asarray(hops, dtype=np.int64)
    if lengths.shape != (n_classes,) or bool((lengths < 1).any()):
        raise DomainError(f"Argument `hops` must have {n_classes} numbers from 1, but is {lengths}.")
    labels = np.arange(network.n_nodes) if groups is None else np.asarray(groups, dtype=np.int64)
    if labels.shape != (network.n_nodes,) or bool((labels < 0).any()):
        raise DomainError(f"Argument `groups` must have {network.n_nodes} numbers from 0, but is not so.")
    master = _Master(network, forecast, lengths, labels, utilisation, arrivals, most_states)
    return master.minimise(most_evaluations, accuracy)


def utilisation_frontier(
    network: SlottedNetwork, forecast: Forecast, utilisations: Float64s, **options: Any
) -> list[DualBound]:
    """Return the bound on value for each utilisation that must be reached; no policy lies above and right of them.

    `options` are those of `dual_bound`.
    """
    return [
        dual_bound(network, forecast, utilisation=float(utilisation), **options)
        for utilisation in np.asarray(utilisations, dtype=np.float64)
    ]


def fluid_bound(
    network: SlottedNetwork,
    *,
    route_first: Int64s,
    route_link: Int64s,
    rate: Float64s,
    n_pairs: Int64s,
    value: Float64s,
) -> float:
    """Return the bound of stationary rates: routes tried no oftener than their links make pairs.

    Maximise `sum_r p_s^(h_r - 1) value_r z_r` over tries z and attempts x >= 0 with `p_s^(h_r - 1) z_r <= rate_r`,
    `sum_(r on e) n_r z_r <= p_e x_e`, `x_e <= 1`, and `sum_(e at v) x_e` at most the attempts and the memory slots of
    node v. The mean rates of any policy satisfy these, as a used pair was born from an attempt, which reserves memory;
    and pairs are never better than new ones.

    Args:
        network: The network.
        route_first: Where each route's links begin in `route_link`, `(R + 1,)`.
        route_link: Links of the routes.
        rate: Mean requests a slot of each route, `(R,)`.
        n_pairs: Pairs that each takes of its links, `(R,)`.
        value: Value of each through new pairs, `(R,)`.

    Returns:
        Bound on the mean value a slot.
    """
    n_routes, n_links = len(rate), network.n_links
    hops = np.diff(route_first)
    chance = network.swap_success_probability ** (hops - 1)
    route = np.repeat(np.arange(n_routes), hops)
    use = sparse.csr_matrix((n_pairs[route].astype(np.float64), (route_link, route)), shape=(n_links, n_routes))
    supply = sparse.diags_array(network.success_probability)
    ends = sparse.csr_matrix(
        (np.ones(2 * n_links), (network.edges.T.ravel(), np.tile(np.arange(n_links), 2))),
        shape=(network.n_nodes, n_links),
    )
    # Replacing attempts need no memory of their own, but the pair that they replace has some.
    room = np.minimum(network.attempts_per_slot, network.memory_slots).astype(np.float64)
    matrix = sparse.block_array([[sparse.diags_array(chance), None], [use, -supply], [None, ends]], format="csr")
    limit = np.concatenate([rate, np.zeros(n_links), room])
    found = linprog(
        -np.concatenate([chance * value, np.zeros(n_links)]),
        A_ub=matrix,
        b_ub=limit,
        bounds=[(0, None)] * n_routes + [(0, 1)] * n_links,
        method="highs",
    )
    if found.status != 0:
        raise CeasError(f"the solver found no fluid bound: {found.message}")
    price = np.maximum(0.0, -found.ineqlin.marginals)
    left = np.concatenate([chance * value, np.zeros(n_links)]) - matrix.T @ price
    # Tries are at most the rate over the chance.
    most = np.concatenate([rate / np.maximum(chance, 1e-300), np.ones(n_links)])
    return float(limit @ price + (np.maximum(left, 0.0) * most).sum())


# ---- one link --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prices:
    """Prices at a link: both ends' together, of each outlet's requests, of utilisation."""

    attempt: float
    memory: float
    request: Float64s
    pair: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """Links that are alike: their tables, and the bias of the last solution, which is changed.

    Users of pairs are first the classes that do not wait, then the outlets of those that do.

    Args:
        states: Age vectors.
        success: Probability that an attempt succeeds.
        value: Value of a pair by user and age; of a tuple it is the product, `(users, n_bins)`.
        n_pairs: Pairs that a user takes at once.
        classes: Class of each user.
        n_immediate: Number of users that do not wait.
        try_chance: Chance that the request of an outlet's sale is served by it, `(outlets,)`.
        rate: Mean requests a slot of each outlet, `(outlets,)`.
        count, chance, stride: As in `LinkModel`.
        uncounted: Mean number of requests a slot beyond the counted ones, by user.
        most_value: Most that a request of each user is worth.
        bias: Relative value of the states.
    """

    states: AgeStates
    success: float
    value: Float64s
    n_pairs: Int64s
    classes: Int64s
    n_immediate: int
    try_chance: Float64s
    rate: Float64s
    count: Int64s
    chance: Float64s
    stride: Int64s
    uncounted: Float64s
    most_value: Float64s
    bias: Float64s

    def solve(self, prices: _Prices, utilisation: float) -> tuple[float, float, Float64s]:
        """Return the bound on the gain, the transient and the rates (attempts, slots, new, used pairs, sales)."""
        n_outlets = len(self.classes) - self.n_immediate
        n_states, n_vectors, n_parts = self.states.n_states, len(self.chance), N_FIXED + n_outlets
        bonus = prices.pair * self.n_pairs.astype(np.float64)
        bonus[self.n_immediate :] -= self.try_chance * prices.request
        model = LinkModel(
            success=self.success,
            attempt_price=prices.attempt,
            memory_price=prices.memory,
            pair_price=prices.pair * utilisation,
            value=self.value,
            n_pairs=self.n_pairs,
            bonus=bonus,
            stride=self.stride,
            counts=self.count,
            chance=self.chance,
            ages=self.states.ages,
            n_stored=self.states.n_stored,
            aged=self.states.aged,
            added=self.states.added,
            replaced=self.states.replaced,
            removed=self.states.removed,
            best=np.zeros((n_vectors, n_states)),
            before=np.zeros(n_states),
            expected=np.zeros(n_states),
            done=np.zeros((n_vectors, n_states, n_parts)),
            done_before=np.zeros((n_states, n_parts)),
            done_expected=np.zeros((n_states, n_parts)),
        )
        scale = float(self.most_value.max() + prices.pair) * self.success
        gain, _ = iterate_link(model, self.bias, _WIDTH * scale, _MOST_SWEEPS)
        rates = np.zeros(n_parts)
        measure_link(model, self.bias, np.zeros((n_states, n_parts)), rates, _MEASURED_SWEEPS)
        beyond = float(self.uncounted @ (self.most_value + prices.pair * self.n_pairs))
        return gain + beyond, float(self.bias[-1] - self.bias.min()), rates


def _count_chances(rate: float, fitting: int, arrivals: Arrivals) -> tuple[Float64s, float]:
    """Return the chances of 0, 1, ... requests, the last number standing for more, and the mean number beyond it.

    Requests beyond the `fitting` ones cannot be served, and need no count.
    """
    if fitting == 0:
        return np.ones(1), 0.0
    if arrivals != "poisson":
        require_between("rate", rate, 0.0, 1.0)
        return np.array([1.0 - rate, rate]), 0.0
    terms = [math.exp(-rate)]
    mean = 0.0
    for number in range(1, fitting + 1):
        rest = max(0.0, 1.0 - sum(terms))
        beyond = max(0.0, rate - mean - number * rest)
        if number == fitting or beyond <= _UNCOUNTED * rate:
            return np.array([*terms, rest]), 0.0 if number == fitting else beyond
        terms.append(terms[-1] * rate / number)
        mean += number * terms[-1]
    raise AssertionError("unreachable")


def _count_vectors(rates: Float64s, fitting: Int64s, arrivals: Arrivals) -> tuple[Int64s, Float64s, Int64s, Float64s]:
    """Return the vectors of request counts, their chances, strides, and the uncounted requests of each class."""
    found = [_count_chances(rate, most, arrivals) for rate, most in zip(rates.tolist(), fitting.tolist(), strict=True)]
    sizes = [len(chances) for chances, _ in found]
    count = np.indices(sizes).reshape(len(sizes), -1).T if sizes else np.zeros((1, 0))
    count = np.ascontiguousarray(count, dtype=np.int64)
    stride = np.array([math.prod(sizes[at + 1 :]) for at in range(len(sizes))], dtype=np.int64)
    chance = np.ones(len(count))
    if arrivals == "one":
        require_between("sum of rates", rates.sum(), 0.0, 1.0)
        total = count.sum(axis=1)
        chance = np.where(total == 1, count @ rates if len(rates) else 0.0, 0.0)
        # A class whose requests do not fit has no counts; its requests are as good as none.
        chance[0] = 1.0 - chance.sum()
    else:
        for at, (chances, _) in enumerate(found):
            chance = chance * chances[count[:, at]]
    return count, chance, stride, np.array([beyond for _, beyond in found])


def _link_values(network: SlottedNetwork, forecast: Forecast, hops: Int64s, link: int, last_age: int) -> Float64s:
    """Return the value of a link's pair to each class by age, `(C, last_age + 1)`; a tuple's is the product."""
    werner = network.initial_werner[link] * np.exp(-np.arange(last_age + 1) / network.coherence_slots[link])
    kind, weight, minimum = (column[:, None] for column in (forecast.kind, forecast.weight, forecast.minimum_fidelity))
    length = hops[:, None]
    loss = network.swap_werner ** (length - 1)
    is_enough = 0.25 + 0.75 * loss * werner >= minimum - 1e-12
    chance = network.swap_success_probability ** (length - 1)
    value = used_value(np.asarray(kind, dtype=np.int64), loss * werner**length) * (chance * weight / length) ** (
        1.0 / forecast.n_pairs[:, None]
    )
    return np.where(is_enough, value, 0.0)


def _make_link(
    network: SlottedNetwork,
    forecast: Forecast,
    hops: Int64s,
    link: int,
    arrivals: Arrivals,
    *,
    with_all_ages: bool,
    most_states: int,
) -> _Link | None:
    """Return a link's problem, None if it can deliver nothing."""
    room = int(min(network.memory_slots[network.edges[link]]))
    rate = forecast.rate[link]
    values = _link_values(network, forecast, hops, link, int(network.lifetime_slots[link]))
    asks = np.flatnonzero((rate > 0) & (forecast.n_pairs <= room) & ((values > 0).any(axis=1) | with_all_ages))
    if len(asks) == 0 or network.success_probability[link] == 0.0:
        return None
    if not with_all_ages:
        values = values[:, : 1 + int(np.flatnonzero((values[asks] > 0).any(axis=0)).max())]
    n_states = n_age_states(room, values.shape[1])
    if n_states > most_states:
        raise CapacityError(
            f"link {link} with {room} memory slots and {values.shape[1]} ages has {n_states} states, "
            f"more than {most_states}"
        )
    states = age_states(room, values.shape[1])
    waits = forecast.patience_slots[asks] > 0
    classes = np.concatenate([asks[~waits], asks[waits]])
    now, outlets = asks[~waits], asks[waits]
    n_pairs = forecast.n_pairs[classes].astype(np.int64)
    count, chance, stride, beyond = _count_vectors(rate[now], room // forecast.n_pairs[now], arrivals)
    return _Link(
        states=states,
        success=float(network.success_probability[link]),
        value=np.ascontiguousarray(values[classes]),
        n_pairs=n_pairs,
        classes=classes,
        n_immediate=len(now),
        try_chance=np.asarray(network.swap_success_probability ** (hops[outlets] - 1.0)),
        rate=rate[outlets],
        count=count,
        chance=chance,
        stride=stride,
        uncounted=np.concatenate([beyond, np.zeros(len(outlets))]),
        most_value=values[classes].max(axis=1) ** n_pairs,
        bias=np.zeros(states.n_states),
    )


# ---- prices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Links that are alike and have ends in the same groups.

    Args:
        link: Their problem.
        members: Which they are.
        columns: Variables of the dual that matter to them: attempts of the two groups, memory of the two groups,
            requests of the outlets, utilisation.
    """

    link: _Link
    members: Int64s
    columns: Int64s


class _Master:
    """The dual as a function of its prices, and the cutting planes that minimise it."""

    def __init__(  # noqa: PLR0917 - the dual is about all of these
        self,
        network: SlottedNetwork,
        forecast: Forecast,
        hops: Int64s,
        groups: Int64s,
        utilisation: float,
        arrivals: Arrivals,
        most_states: int,
    ) -> None:
        self._network, self._forecast, self._groups, self._utilisation = network, forecast, groups, utilisation
        self._whole = float((forecast.rate * _fresh_shares(network, forecast, hops)).sum())
        n_groups = int(groups.max(initial=0)) + 1
        self._n_groups = n_groups
        self._eta = 2 * n_groups
        limits = [np.zeros(n_groups), np.zeros(n_groups)]
        np.add.at(limits[0], groups, network.attempts_per_slot)
        np.add.at(limits[1], groups, network.memory_slots)
        cost, self._kinds = [*limits, np.zeros(1)], []
        n_variables = 2 * n_groups + 1
        for members in _alike(network, forecast, groups):
            link = _make_link(
                network,
                forecast,
                hops,
                int(members[0]),
                arrivals,
                with_all_ages=utilisation > 0.0,
                most_states=most_states,
            )
            if link is None:
                continue
            a, b = groups[network.edges[members[0]]]
            outlets = np.arange(n_variables, n_variables + len(link.rate))
            n_variables += len(link.rate)
            cost.append(len(members) * link.rate)
            columns = np.concatenate([[a, b, n_groups + a, n_groups + b], outlets, [self._eta]])
            self._kinds.append(_Kind(link=link, members=members, columns=columns.astype(np.int64)))
        self._cost = np.concatenate(cost)
        worth = max([float(kind.link.most_value.max()) for kind in self._kinds], default=0.0)
        self._largest = np.full(n_variables, worth)
        self._largest[self._eta] = _LARGEST_ETA * worth if utilisation > 0.0 else 0.0
        self._largest[2 * n_groups + 1 :] *= 1.0 + (_LARGEST_ETA if utilisation > 0.0 else 0.0)
        self._cuts: list[tuple[int, float, Float64s]] = []

    def evaluate(self, x: Float64s) -> tuple[float, float, Float64s]:
        """Return the dual, the transient and the links' values at prices x, and remember a cut for each kind."""
        total, transient = float(self._cost @ x), 0.0
        values = np.zeros(self._network.n_links)
        for at, kind in enumerate(self._kinds):
            local = x[kind.columns]
            prices = _Prices(local[0] + local[1], local[2] + local[3], local[4:-1], float(local[-1]))
            gain, start, rates = kind.link.solve(prices, self._utilisation)
            slope = np.concatenate(
                [
                    -rates[[ATTEMPTS, ATTEMPTS, OCCUPIED, OCCUPIED]],
                    -kind.link.try_chance * rates[N_FIXED:],
                    [rates[USED] - self._utilisation * rates[GENERATED]],
                ]
            )
            self._cuts.append((at, gain - float(slope @ local), slope))
            values[kind.members] = gain
            total += len(kind.members) * gain
            transient += len(kind.members) * start
        return total, transient, values

    def lowest(self, low: Float64s, high: Float64s) -> tuple[float, Float64s]:
        """Return the least value of the cuts over a box of prices, and where it is."""
        n_kinds, n_variables = len(self._kinds), len(self._cost)
        rows, columns, factors = [], [], []
        for row, (at, _, slope) in enumerate(self._cuts):
            rows.append(np.full(len(slope) + 1, row))
            columns.append(np.concatenate([self._kinds[at].columns, [n_variables + at]]))
            factors.append(np.concatenate([slope, [-1.0]]))
        matrix = sparse.csr_matrix(
            (np.concatenate(factors), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(self._cuts), n_variables + n_kinds),
        )
        cost = np.concatenate([self._cost, [float(len(kind.members)) for kind in self._kinds]])
        bounds = np.concatenate([np.stack([low, high], axis=1), np.tile([-np.inf, np.inf], (n_kinds, 1))])
        found = linprog(
            cost, A_ub=matrix, b_ub=-np.array([cut for _, cut, _ in self._cuts]), bounds=bounds, method="highs"
        )
        if found.status != 0:
            raise CeasError(f"the solver found no prices: {found.message}")
        return float(found.fun), found.x[:n_variables]

    def minimise(self, most_evaluations: int, accuracy: float) -> DualBound:
        """Minimise by cutting planes in a region around the best prices, which grows and shrinks with success."""
        centre = 0.02 * self._largest
        if not self._kinds:
            return self._bound(np.zeros(len(self._cost)), (0.0, 0.0, np.zeros(self._network.n_links)), 0, 0.0)
        best = self.evaluate(centre)
        radius, n_evaluations, lower = 0.2, 1, 0.0
        while n_evaluations < most_evaluations:
            lower, _ = self.lowest(np.zeros(len(self._cost)), self._largest)
            if best[0] - lower <= accuracy * best[0]:
                break
            reach = radius * self._largest
            _, x = self.lowest(np.maximum(0.0, centre - reach), np.minimum(self._largest, centre + reach))
            found = self.evaluate(x)
            n_evaluations += 1
            if found[0] < best[0]:
                best, centre, radius = found, x, min(1.0, 2.0 * radius)
            else:
                radius *= 0.4
        return self._bound(centre, best, n_evaluations, lower)

    def _bound(self, x: Float64s, found: tuple[float, float, Float64s], n_evaluations: int, lower: float) -> DualBound:
        request_price = np.zeros(self._forecast.rate.shape)
        for kind in self._kinds:
            outlets = kind.link.classes[kind.link.n_immediate :]
            request_price[kind.members[:, None], outlets] = x[kind.columns[4:-1]]
        return DualBound(
            value=found[0],
            normalised=found[0] / self._whole if self._whole > 0.0 else math.nan,
            transient=found[1],
            attempt_price=x[: self._n_groups][self._groups],
            memory_price=x[self._n_groups : 2 * self._n_groups][self._groups],
            request_price=request_price,
            pair_price=float(x[self._eta]),
            link_value=found[2],
            evaluations=n_evaluations,
            lower_value=lower,
        )


def _fresh_shares(network: SlottedNetwork, forecast: Forecast, hops: Int64s) -> Float64s:
    """Return each link's share of the value of a request served through new pairs, swaps all successful, `(E, C)`."""
    werner = network.initial_werner[:, None] ** hops * network.swap_werner ** (hops - 1.0)
    is_enough = 0.25 + 0.75 * werner >= forecast.minimum_fidelity - 1e-12
    value = used_value(np.broadcast_to(forecast.kind, werner.shape), werner) ** forecast.n_pairs
    return np.where(is_enough, value, 0.0) * forecast.weight / hops


def _alike(network: SlottedNetwork, forecast: Forecast, groups: Int64s) -> list[Int64s]:
    """Return sets of links whose problems and groups are the same."""
    ends = network.edges
    columns = [
        network.success_probability,
        network.initial_werner,
        network.coherence_slots,
        network.lifetime_slots,
        network.memory_slots[ends].min(axis=1),
        np.sort(groups[ends], axis=1).T,
        forecast.rate.T,
    ]
    table = np.concatenate([np.atleast_2d(column) for column in columns]).T
    _, kind = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(kind[order])) + 1)
