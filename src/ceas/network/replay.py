"""What a network's random streams fix, whatever the policy does: births that are possible, requests that arrive."""

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.compilation import compiled
from ceas.network.draws import geometric_gap, unit_interval
from ceas.network.policy import NEVER, WAIT, LinkView, Policy, attempt_on_request, serve_no_ask, serve_rule
from ceas.network.records import NetworkModel
from ceas.network.routes import Arrivals
from ceas.network.simulation import advance_round, initial_state
from ceas.streams import stream_seed

__all__ = ["possible_births", "route_requests"]


def possible_births(
    model: NetworkModel, *, seed: int, n_rounds: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return when each link's attempts would succeed if it made all of them, in the first `n_rounds` rounds.

    Attempt j of a link lasts from j to j + 1 attempt periods, and the gaps between those that succeed come from the
    link's own stream. Under every policy the pairs that are born are among these.

    Args:
        model: The fixed part of the network.
        seed: Root seed of the run.
        n_rounds: Rounds, at least 1.

    Returns:
        Where each link's births begin, `(n_links + 1,)`, and their times (ns), in order. Links without demand, or whose
        new pairs are too bad to store, have none.

    Raises:
        DomainError: `n_rounds` is below 1.
    """
    if n_rounds < 1:
        raise DomainError(f"Argument `n_rounds` must be at least 1, but is {n_rounds}.")
    end_ns = n_rounds * model.clock.round_ns
    learner_link = model.demand.learner_link
    is_used = model.demand.key_pairs_per_round > 0
    is_used[learner_link[learner_link >= 0]] = True
    with np.errstate(divide="ignore"):
        log_failure = np.log1p(-np.where(is_used & (model.lifetime_ns > 0), model.links.success_probability, 0.0))
    seeds = np.array([stream_seed(seed, "link_generation", link=link) for link in range(model.n_links)], np.uint64)
    period_ns = model.links.attempt_period_ns.astype(np.int64)
    counts = np.zeros(model.n_links, dtype=np.int64)
    first = np.zeros(model.n_links + 1, dtype=np.int64)
    # Once to count, once to write.
    _replay(seeds, log_failure, period_ns, end_ns, first, np.zeros(0, dtype=np.int64), counts)
    np.cumsum(counts, out=first[1:])
    births = np.zeros(first[-1], dtype=np.int64)
    _replay(seeds, log_failure, period_ns, end_ns, first, births, counts)
    return first, births


def route_requests(model: NetworkModel, *, seed: int, n_rounds: int) -> npt.NDArray[np.int64]:
    """Return how many requests for end-to-end pairs of each flow arrive in the first `n_rounds` rounds, `(n_flows,)`.

    Raises:
        DomainError: A flow is saturated: how often it asks depends on the policy.
    """
    demand = model.route_demand
    if demand is None:
        return np.zeros(0, dtype=np.int64)
    if bool((demand.arrivals == Arrivals.SATURATED).any()):
        raise DomainError("Argument `model` must have no saturated flow, but has one.")
    # Nobody is served, so that nothing happens on the routes but arrivals and deadlines.
    idle = Policy(
        name="idle",
        serve=serve_nobody,
        attempt=attempt_on_request,
        parameters=np.zeros((model.n_links, 1)),
        route=serve_no_ask,
    )
    state = initial_state(model, seed=seed)
    requested = np.zeros(demand.n_flows, dtype=np.int64)
    for _ in range(n_rounds):
        window = advance_round(state, model, idle)
        if window.routes is not None:
            requested += window.routes.requested
    return requested


@serve_rule
def serve_nobody(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:  # noqa: ARG001
    """Wait for ever."""
    return WAIT, NEVER


@compiled
def _replay(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    seeds: npt.NDArray[np.uint64],
    log_failure: npt.NDArray[np.float64],
    period_ns: npt.NDArray[np.int64],
    end_ns: int,
    first: npt.NDArray[np.int64],
    births: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> None:
    """Count the births of every link before `end_ns`, and write them down if there is room for any."""
    for link in range(len(seeds)):
        longest = NEVER // period_ns[link] - 2
        attempt = -1
        counts[link] = 0
        while True:
            gap = geometric_gap(unit_interval(seeds[link], counts[link]), log_failure[link], longest)
            attempt = min(attempt, longest - gap) + gap
            time_ns = (attempt + 1) * period_ns[link]
            if attempt >= longest or time_ns >= end_ns:
                break
            if len(births) > 0:
                births[first[link] + counts[link]] = time_ns
            counts[link] += 1
