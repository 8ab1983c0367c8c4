"""CEAS's own scheduler: what a pair is worth now against what it is expected to be worth later.

Everything is weighed in the value of the demand table. Per link, with pairs arriving at rate λ while it attempts, a
Werner parameter that decays at rate δ, and m pairs a shot:

**The price of a stored pair for learning.** Take the stored pairs in the order of their use. Shot j from now wants to
begin at time t_j: the first when a QPU is ready (now, if one waits), further ones a shot duration later each (for two
learners: 1 / (1/D_1 + 1/D_2)), those after the end of the learning window at the start of the next. Then the QPUs have
asked for m·j pairs. Pair n of the stock is missed at that time only if the stock before it, n - 1 pairs, and the A
pairs that arrive until then do not suffice. By renewal the number of arrivals is Poisson, so

    price(n, age) = max_j  v · exp(-2 δ (age + t_j)) · P[A(λ t_j) < m j - (n - 1)],      v = V_learning w0^(2m) / m,

with 0 for a t_j at which the pair has expired. (v is the pair's part of a shot through fresh pairs; a shot's value is a
product of w^2, and so each pair's part decays at twice the rate of its Werner parameter; of Bell-diagonal pairs w^2 is
a weighted mean of the three squared correlators at that age.) Where pairs are scarce the
probability is near 1 and a pair costs its full value; where they abound, it falls to 0 with n, for a fresher pair will
be there in time. This is a newsvendor's marginal value, with the lost sale as an idle QPU.

**The price of a stored pair for keys.** The same with the coming key requests, the i-th of which arrives about
(i - 1/2) request periods from now and can wait for a deadline d more: P[A(λ (arrival + d)) < 1], for n = i.

**A waiting key request** gains V_key r(w) - price when it is served now. It may wait instead, for a pair that arrives
before its deadline (probability P[A(λ slack) >= n waiting]), which is fresh, or for the exchange phase, when no shot
can miss the pair, if its deadline is later than that. It is served when the gain now is the best of the three.
A key needs fresh pairs more than a shot does: r falls to 0 at F = 0.835. So keys take pairs when they are born, and
shots the rest; a pair too old for a key is worth nothing to it.

**A shot** takes the freshest pairs, or the oldest if that leaves stock of a higher price (that is, when old pairs would
expire). It is always worth more than waiting, unless keys would miss its pairs.

**An attempt** is made if the new pair would have a price, or serve a key request at once, above `waste_share` of a
fresh pair's value: that much a pair costs that may never be used. So pairs are made just in time, and memory is left to
the other links of a node. A learner's link may hold an equal share of the memory at its ends, less one slot at a node
that has other links with key requests. Out of memory, the new pair replaces the oldest of its link if that raises the
price of the stock by more than `waste_share` of a fresh pair's value.

What it neglects: links that share a node do not trade memory slots but keep their shares; a shot's pairs are priced one
by one; a test is worth the same whatever it takes the place of, and so plays no part.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import compiled, constant
from ceas.network.policy import (
    KEY_REQUEST,
    NEVER,
    WAIT,
    LinkView,
    Policy,
    attempt_rule,
    key_fraction_at,
    priority_rule,
    route_rule,
    serve_rule,
    shot_factor_at,
)
from ceas.network.records import NetworkModel, learners_of_link
from ceas.network.routes import RouteClass
from ceas.scheduling.baselines import can_start_shot, choose_from, memory_share
from ceas.scheduling.pair_values import fresh_key_fraction, fresh_shot_value

__all__ = ["attempt_by_price", "ceas", "serve_by_price"]

# Shots looked at from the first that would miss the pair.
_SHOTS_AHEAD = 4
_MANY = 100.0
_FRESH, _OLDEST = constant(0), constant(0)
_KEY_CLASS = constant(RouteClass.KEY)
# Columns of the parameters.
_WASTE, _MEMORY_SHARE, _SLOWDOWN = 0, 1, 2


@compiled
def fewer_arrivals_probability(mean: float, count: int) -> float:
    """Return P[A < count] for A Poisson with the given mean; above `_MANY`, by the normal law to better than 0.01."""
    if mean > _MANY:
        return 0.5 * math.erfc((mean + 0.5 - count) / math.sqrt(2.0 * mean))
    term = math.exp(-mean)
    total = 0.0
    for arrivals in range(count):
        total += term
        term *= mean / (arrivals + 1)
    return min(total, 1.0)


@compiled
def pair_period_ns(view: LinkView) -> float:
    """Return the mean time between new pairs of the link, with its pauses where nodes limit who attempts."""
    period: float = view.pair_period_ns * view.parameters[_SLOWDOWN]
    return period


@compiled
def shot_period_ns(view: LinkView) -> float:
    """Return the mean time between shots of the link's learners when they never wait for pairs; inf without any."""
    rate = 0.0
    for side in range(2):
        if view.shot_duration_ns[side] > 0:
            rate += 1.0 / view.shot_duration_ns[side]
    return 1.0 / rate if rate > 0.0 else math.inf


@compiled
def next_shot_ns(view: LinkView) -> int:
    """Return the time until a learner's QPU is ready in this round (ns), 0 if one waits, `NEVER` if none will be."""
    first_ns = NEVER
    for side in range(2):
        if view.qpu_ready_ns[side] < view.qpu_close_ns[side]:
            first_ns = min(first_ns, max(view.qpu_ready_ns[side] - view.now_ns, 0))
    return first_ns


@compiled
def learning_left_ns(view: LinkView) -> int:
    """Return the time for which a learner may still begin shots in this round (ns), 0 if none will."""
    left_ns = 0
    for side in range(2):
        if view.qpu_ready_ns[side] < view.qpu_close_ns[side]:
            left_ns = max(left_ns, view.qpu_close_ns[side] - view.now_ns)
    return left_ns


@compiled
def learning_price(view: LinkView, first_ns: int, place: int, age_ns: int) -> float:
    """Return what learning would miss without the pair of the given age in place `place` (from 1) of the stock.

    `first_ns` is the time until the next shot (ns), `NEVER` if there is none in this round; see the top of this file.
    """
    period_ns = shot_period_ns(view)
    if period_ns == math.inf:
        return 0.0
    left_ns = learning_left_ns(view)
    next_round_ns = view.round_end_ns - view.now_ns
    n_in_round = int((left_ns - 1 - first_ns) / period_ns) + 1 if first_ns < left_ns else 0
    best = 0.0
    fresh_factor = shot_factor_at(view, _FRESH) if view.is_bell_diagonal else 1.0
    shot = (place - 1) // view.pairs_per_shot + 1
    for number in range(shot, shot + _SHOTS_AHEAD):
        if number <= n_in_round:
            until_ns = first_ns + (number - 1) * period_ns
        else:
            until_ns = next_round_ns + (number - n_in_round - 1) * period_ns
        if age_ns + until_ns >= view.lifetime_ns:
            break
        if view.is_bell_diagonal:
            kept = shot_factor_at(view, age_ns + until_ns) / fresh_factor
        else:
            kept = math.exp(-2.0 * view.decay_per_ns * (age_ns + until_ns))
        if kept <= best:
            break
        missing = view.pairs_per_shot * number - (place - 1)
        best = max(best, kept * fewer_arrivals_probability(until_ns / pair_period_ns(view), missing))
    return best * fresh_learning_value(view)


@compiled
def fresh_learning_value(view: LinkView) -> float:
    """Return a fresh pair's part of a shot through fresh pairs."""
    if view.pairs_per_shot == 0:
        return 0.0
    if view.is_bell_diagonal:
        factor: float = shot_factor_at(view, _FRESH) ** view.pairs_per_shot
    else:
        factor = view.initial_werner ** (2 * view.pairs_per_shot)
    fresh: float = view.learning_value * factor / view.pairs_per_shot
    return fresh


@compiled
def key_worth(view: LinkView, age_ns: int) -> float:
    """Return the value of a pair of the given age to a key request."""
    return view.key_value * key_fraction_at(view, age_ns)


@compiled
def key_price(view: LinkView, place: int, age_ns: int) -> float:
    """Return what the coming key requests would miss without the pair in place `place` (from 1) of the stock."""
    if view.key_period_ns == math.inf:
        return 0.0
    arrival_ns = (place - 0.5) * view.key_period_ns
    if age_ns + arrival_ns >= view.lifetime_ns:
        return 0.0
    missed = math.exp(-(arrival_ns + view.key_deadline_ns) / pair_period_ns(view))
    price: float = missed * key_worth(view, int(age_ns + arrival_ns))
    return price


@compiled
def key_gain(view: LinkView, n_stored: int, age_ns: int) -> float:
    """Return what the first waiting key request gains by the pair of the given age now, less the pair's price."""
    return key_worth(view, age_ns) - learning_price(view, next_shot_ns(view), n_stored, age_ns)


@compiled
def key_prospect(view: LinkView, n_stored: int) -> float:
    """Return what the first waiting key request can expect if it waits with `n_stored` pairs left in the stock."""
    n_waiting = len(view.key_arrival_ns)
    slack_ns = view.key_arrival_ns[0] + view.key_deadline_ns - view.now_ns
    last_slack_ns = view.key_arrival_ns[n_waiting - 1] + view.key_deadline_ns - view.now_ns
    fresh = key_worth(view, _FRESH)
    served = 1.0 - fewer_arrivals_probability(slack_ns / pair_period_ns(view), n_waiting)
    prospect = served * (fresh - learning_price(view, next_shot_ns(view), n_stored + 1, _FRESH))
    left_ns = learning_left_ns(view)
    if 0 < left_ns < slack_ns:
        # In the exchange phase the requests that wait now, and those that come meanwhile, share the pairs.
        exchange_ns = last_slack_ns - left_ns
        n_rivals = n_waiting + int(exchange_ns / view.key_period_ns)
        served = 1.0 - fewer_arrivals_probability(exchange_ns / pair_period_ns(view), n_rivals)
        prospect = max(prospect, served * fresh)
    return prospect


@compiled
def rest_price(view: LinkView, first: int, count: int) -> float:
    """Return the price of the stock that remains after a shot with the pairs `first`, ..., `first + count - 1`."""
    first_ns = int(shot_period_ns(view))
    total = 0.0
    place = 0
    for position in range(len(view.stock_birth_ns) - 1, -1, -1):
        if position < first or position >= first + count:
            place += 1
            age_ns = view.now_ns - view.stock_birth_ns[position]
            total += max(learning_price(view, first_ns, place, age_ns), key_price(view, place, age_ns))
    return total


@compiled
def shot_value(view: LinkView, first: int) -> float:
    """Return the value of a shot with the pairs `first`, ..., `first + pairs_per_shot - 1`."""
    value = view.learning_value
    for position in range(first, first + view.pairs_per_shot):
        age_ns = view.now_ns - view.stock_birth_ns[position]
        value *= shot_factor_at(view, age_ns)
    return value


@compiled
def choose_shot_pairs(view: LinkView) -> int:
    """Return the position of the oldest pair for a shot: of the freshest pairs, or of the oldest before they expire."""
    freshest = len(view.stock_birth_ns) - view.pairs_per_shot
    if freshest == 0:
        return 0
    with_oldest = shot_value(view, _OLDEST) + rest_price(view, _OLDEST, view.pairs_per_shot)
    with_freshest = shot_value(view, freshest) + rest_price(view, freshest, view.pairs_per_shot)
    return 0 if with_oldest > with_freshest else freshest


@compiled
def shot_gain(view: LinkView, first: int) -> float:
    """Return the value of a shot, less what the coming key requests would miss of its pairs."""
    gain = shot_value(view, first)
    n_stored = len(view.stock_birth_ns)
    for used in range(view.pairs_per_shot):
        age_ns = view.now_ns - view.stock_birth_ns[first + used]
        gain -= key_price(view, n_stored - used, age_ns)
    return gain


@serve_rule
def serve_by_price(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Serve the request with the highest gain, if it gains more than by waiting."""
    n_stored = len(view.stock_birth_ns)
    request, best, wake_ns = WAIT, 0.0, NEVER
    side = -1
    for candidate in range(2):
        if can_start_shot(view, candidate) and (side < 0 or view.qpu_ready_ns[candidate] < view.qpu_ready_ns[side]):
            side = candidate
    if side >= 0:
        first = choose_shot_pairs(view)
        gain = shot_gain(view, first) / view.pairs_per_shot
        if gain > best:
            request, best = side, gain
            choose_from(choice, first, view.pairs_per_shot)
    if len(view.key_arrival_ns) > 0:
        age_ns = view.now_ns - view.stock_birth_ns[n_stored - 1]
        gain = key_gain(view, n_stored, age_ns)
        if gain > best and gain >= key_prospect(view, n_stored) - view.parameters[_WASTE]:
            request = KEY_REQUEST
            choice[0] = n_stored - 1
        elif gain > best:
            # Time alone can turn the decision, as the slack shrinks.
            slack_ns = view.key_arrival_ns[0] + view.key_deadline_ns - view.now_ns
            wake_ns = view.now_ns + max(slack_ns // 4, view.key_deadline_ns // 64 + 1)
    return request, wake_ns


@route_rule
def route_by_price(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:
    """Give the freshest pair to the route request that is worth most a pair, if that exceeds the pair's price.

    Each of a route's links gets an equal part of the request's value. A key is worth its weight times the secret
    fraction of this pair alone, which the others of the route can only lower. Of equal requests the oldest is first.
    """
    n_stored = len(view.stock_birth_ns)
    age_ns = view.now_ns - view.stock_birth_ns[n_stored - 1]
    secret = key_fraction_at(view, age_ns)
    best, worth = 0, -1.0
    for k in range(len(asks)):
        own = asks[k]["weight"] / asks[k]["n_hops"]
        if asks[k]["use_class"] == _KEY_CLASS:
            own *= secret
        if own > worth:
            best, worth = k, own
    price = max(learning_price(view, next_shot_ns(view), n_stored, age_ns), key_price(view, n_stored, age_ns))
    if worth > price:
        return best, n_stored - 1
    slack_ns = asks[best]["deadline_ns"] - view.now_ns
    return WAIT, view.now_ns + max(slack_ns // 4, 1_000)


@priority_rule
def priority_by_price(view: LinkView, since_ns: int) -> float:
    """Prefer the link whose next pair is worth most for the time that it takes; among links that want none, the first.

    A waiting key counts in full. What routes ask for is not in the view; their links go by the time they have waited.
    """
    n_stored = len(view.stock_birth_ns)
    worth = max(learning_price(view, next_shot_ns(view), n_stored + 1, _FRESH), key_price(view, n_stored + 1, _FRESH))
    if len(view.key_arrival_ns) > 0:
        worth = max(worth, key_worth(view, _FRESH))
    waited = (view.now_ns - since_ns) / view.pair_period_ns
    return worth / view.pair_period_ns * (1.0 + waited) + 1e-12 * waited


@attempt_rule
def attempt_by_price(view: LinkView) -> int:
    """Attempt if a new pair would be worth more than `waste_share`; out of memory, in the place of the oldest."""
    n_stored = len(view.stock_birth_ns)
    first_ns = next_shot_ns(view)
    least = view.parameters[_WASTE]
    if len(view.key_arrival_ns) > 0 and view.free_slots > 0:
        gain = key_gain(view, n_stored + 1, _FRESH)
        if gain > least and gain >= key_prospect(view, n_stored) - least:
            return n_stored
    has_share = n_stored < view.parameters[_MEMORY_SHARE]
    if has_share and view.free_slots >= max(1, view.pairs_per_shot - n_stored):
        worth = max(learning_price(view, first_ns, n_stored + 1, _FRESH), key_price(view, n_stored + 1, _FRESH))
        return n_stored if worth > least else -1
    if n_stored == 0:
        return -1
    age_ns = view.now_ns - view.stock_birth_ns[0]
    worth = max(learning_price(view, first_ns, n_stored, _FRESH), key_price(view, n_stored, _FRESH))
    worth_old = max(learning_price(view, first_ns, n_stored, age_ns), key_price(view, n_stored, age_ns))
    return 0 if worth - worth_old > least else -1


def fresh_value(model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return what a fresh pair of each link is worth to the best use that the link has, shape `(n_links,)`."""
    demand = model.demand
    has_learner = learners_of_link(demand.learner_link, model.n_links)[:, 0] >= 0
    pairs_per_shot = max(demand.pairs_per_shot, 1)
    shot = np.where(has_learner, demand.learning_value * fresh_shot_value(model) / pairs_per_shot, 0.0)
    key = np.where(demand.key_pairs_per_round > 0, demand.key_value * fresh_key_fraction(model), 0.0)
    return np.maximum(shot, key)


def attempt_slowdown(model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return how many times longer each link takes for a pair because its nodes limit who attempts, `(n_links,)`.

    At a node with q communication qubits links take turns, each until its next pair. So when all of them want pairs,
    each has one after the sum of their mean times over q, and no sooner than on its own.
    """
    links, repeaters = model.links, model.repeaters
    if repeaters is None or not (repeaters.communication_qubits > 0).any():
        return np.ones(model.n_links)
    with np.errstate(divide="ignore", invalid="ignore"):
        period = np.where(links.success_probability > 0, links.attempt_period_ns / links.success_probability, 0.0)
        ends = np.stack([links.node_a, links.node_b])
        turn = np.bincount(ends.ravel(), np.tile(period, 2), minlength=len(repeaters.communication_qubits))
        turn = np.where(repeaters.communication_qubits > 0, turn / repeaters.communication_qubits, 0.0)
        slowdown = np.where(period > 0.0, turn[ends].max(axis=0) / period, 1.0)
    return np.maximum(slowdown, 1.0)


def ceas(model: NetworkModel, *, waste_share: float = 0.02) -> Policy:
    """Return the policy that serves, keeps, makes and replaces pairs by their prices; see the top of `index.py`.

    Args:
        model: The network.
        waste_share: Part of a fresh pair's value that a pair costs which may never be used, in [0, 1]. With 0 the
            policy makes and replaces pairs for the smallest gain; a larger part uses more of the pairs it makes.
            Between 0.01 and 0.05 the value delivered hardly changes.

    Raises:
        DomainError: `waste_share` is outside [0, 1].
    """
    if not 0.0 <= waste_share <= 1.0:
        raise DomainError(f"Argument `waste_share` must be in [0, 1], but is {waste_share}.")
    parameters = np.column_stack([waste_share * fresh_value(model), memory_share(model), attempt_slowdown(model)])
    return Policy(
        name="ceas",
        serve=serve_by_price,
        attempt=attempt_by_price,
        parameters=parameters,
        route=route_by_price,
        priority=priority_by_price,
    )
