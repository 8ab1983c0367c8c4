"""One policy on one network: what it delivered, link by link, and the bound that nobody can pass there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.experiments import registry
from ceas.experiments.result_tables import Columns
from ceas.network import (
    Fate,
    NetworkModel,
    Policy,
    RouteClass,
    WindowRecord,
    advance_round,
    initial_state,
    pair_rate_hz,
)
from ceas.network.records import VALUE_CLASSES
from ceas.network.waiting import wait_edges_ns, wait_quantile_s
from ceas.physics import werner_to_fidelity
from ceas.runtime.world import World
from ceas.scheduling import fidelity_mean, fidelity_quantile, jain_index, learner_value, schedule_metrics

__all__ = ["ScheduleRun", "bound_of", "links_of", "nodes_of", "run_policy"]

_USED = (Fate.LEARNING, Fate.KEY, Fate.TEST)
_ENDED = (*_USED, Fate.EXPIRED, Fate.DISCARDED, Fate.ROUTE)
# The round in which single pairs are kept; the first one begins with empty memories.
_TRACED_ROUND = 1
# Links whose pairs are kept: a figure shows one, the others let a reader look elsewhere.
_MOST_TRACED_LINKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRun:
    """What one run found.

    Attributes:
        figures: Numbers of the whole run, by the names of the columns of the table `schedule`, without the bound.
        fates: Pairs of each link by fate, shape `(n_links, fates)`; alive are those left at the end.
        generated: Pairs of each link, shape `(n_links,)`.
        fidelity_at_use: Mean fidelity of each link's pairs at use, shape `(n_links,)`; NaN without use.
        shots: Shots of each learner, shape `(n_learners,)`.
        pairs: Traced pairs of one round, without the columns that name the run; empty unless asked for.
        waits: Waiting times of shots and keys, without the columns that name the run.
    """

    figures: Mapping[str, float]
    fates: NDArray[np.int64]
    generated: NDArray[np.int64]
    fidelity_at_use: NDArray[np.float64]
    shots: NDArray[np.int64]
    pairs: Columns
    waits: Columns


def run_policy(
    name: str,
    parameters: Mapping[str, Any],
    world: World,
    *,
    seed: int,
    rounds: int,
    bounded_rounds: int = 0,
    is_traced: bool = False,
) -> ScheduleRun:
    """Run the network under one policy.

    Args:
        name: Policy.
        parameters: Its parameters.
        world: Network and demands.
        seed: Root seed of the network's random numbers.
        rounds: Rounds to run.
        bounded_rounds: First rounds whose value is to be compared with a bound, at most `rounds`.
        is_traced: Whether to keep the pairs of some links in one round.
    """
    model = world.network
    policy: Policy = registry.bind("policy", name, parameters)(model)
    state = initial_state(model, seed=seed)
    windows = []
    for number in range(rounds):
        state.trace_every = int(is_traced and number == min(_TRACED_ROUND, rounds - 1))
        windows.append(advance_round(state, model, policy))
    fates = np.sum([window.fates for window in windows], axis=0)
    fates[:, Fate.ALIVE] = windows[-1].fates[:, Fate.ALIVE]
    return ScheduleRun(
        figures=_figures(windows, model, bounded_rounds),
        fates=fates,
        generated=np.sum([window.generated for window in windows], axis=0),
        fidelity_at_use=_fidelity_of_links(windows, model, fates),
        shots=np.bincount(np.concatenate([window.shot_learner for window in windows]), minlength=model.n_learners),
        pairs=_traced(windows, model),
        waits=_waits(windows),
    )


def _figures(windows: Sequence[WindowRecord], model: NetworkModel, bounded_rounds: int) -> dict[str, float]:
    metrics = schedule_metrics(windows)
    value = dict(zip(VALUE_CLASSES, metrics.delivered_value.tolist(), strict=True))
    uses = np.sum([window.fidelity_at_use.sum(axis=0) for window in windows], axis=0)
    waits = np.sum([window.wait_histogram for window in windows], axis=0)
    bounded = float(schedule_metrics(windows[:bounded_rounds]).delivered_value.sum()) if bounded_rounds else 0.0
    return {
        "generated": metrics.generated,
        **{fate.name.lower(): metrics.fates[fate] for fate in (*_ENDED, Fate.ALIVE)},
        "shots": metrics.n_shots,
        "utilisation": _ratio(sum(metrics.fates[fate] for fate in _USED) + metrics.route_used, metrics.generated),
        "delivered_value": sum(value.values()),
        **{f"value_{name}": part for name, part in value.items()},
        "fidelity_at_use_mean": float(fidelity_mean(uses)),
        "fidelity_at_use_p05": float(fidelity_quantile(uses, 0.05)),
        "keys_served": metrics.key_served_fraction,
        "shots_served": _ratio(metrics.n_shots, len(windows) * _most_shots(model)),
        "background_served": _ratio(
            metrics.route_served[RouteClass.BACKGROUND], metrics.route_requested[RouteClass.BACKGROUND]
        ),
        "key_wait_mean_s": metrics.key_wait_mean_s,
        "key_wait_p99_s": wait_quantile_s(waits[1], 0.99),
        "shot_wait_mean_s": metrics.shot_wait_mean_s,
        "shot_wait_p99_s": wait_quantile_s(waits[0], 0.99),
        "learner_fairness": jain_index(learner_value(windows, model)),
        "bounded_value": bounded if bounded_rounds else float("nan"),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _most_shots(model: NetworkModel) -> int:
    """Return how many shots the learners could begin in a round if they never waited for pairs."""
    durations = model.demand.shot_duration_ns[model.demand.learner_link >= 0]
    return int((model.clock.learning_ns // np.maximum(durations, 1)).sum())


def _fidelity_of_links(
    windows: Sequence[WindowRecord], model: NetworkModel, fates: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean fidelity at use of each link's pairs, NaN without use."""
    werner_sum = np.zeros(model.n_links)
    for window in windows:
        shot_werner = window.shot_werner.sum(axis=1, dtype=np.float64)
        shot_link = model.demand.learner_link[window.shot_learner]
        werner_sum += np.bincount(shot_link, weights=shot_werner, minlength=model.n_links)
        werner_sum += window.key_werner_sum + window.test_werner_sum
    used = fates[:, _USED].sum(axis=1)
    werner = np.divide(werner_sum, used, out=np.full(model.n_links, np.nan), where=used > 0)
    fidelity: NDArray[np.float64] = (1.0 + 3.0 * werner) / 4.0
    return fidelity


def _traced(windows: Sequence[WindowRecord], model: NetworkModel) -> Columns:
    """Return the traced pairs of the busiest links that learners use, or of any if there are none."""
    pairs = np.concatenate([window.pairs for window in windows])
    rate = pair_rate_hz(model.links)
    is_of_learner = np.isin(np.arange(model.n_links), model.demand.learner_link)
    busiest = np.lexsort((-rate, ~is_of_learner))[:_MOST_TRACED_LINKS]
    pairs = pairs[np.isin(pairs["link"], busiest)]
    names = np.array([fate.name.lower() for fate in Fate], dtype=object)
    return {
        "fate": names[pairs["fate"]],
        "fidelity_at_end": ((1.0 + 3.0 * pairs["werner_at_end"]) / 4.0).astype(np.float32),
        **{name: pairs[name] for name in ("pair_id", "birth_ns", "end_ns", "link", "user")},
    }


def _waits(windows: Sequence[WindowRecord]) -> Columns:
    """Return how many shots and served keys waited up to each time, and longer than the time before, without zeros."""
    counts = np.sum([window.wait_histogram for window in windows], axis=0)
    use, place = np.nonzero(counts)
    return {
        "use": np.array(["shot", "key"], dtype=object)[use],
        "count": counts[use, place],
        "wait_s": wait_edges_ns()[place + 1] * 1e-9,
    }


def links_of(world: World, run: ScheduleRun) -> Columns:
    """Return the columns of the table of links, without those that name the run."""
    links = world.network.links
    return {
        "link": np.arange(links.n_links),
        "node_a": links.node_a.astype(np.int64),
        "node_b": links.node_b.astype(np.int64),
        "length_km": links.length_km,
        "pair_rate_hz": pair_rate_hz(links),
        "initial_fidelity": np.asarray(werner_to_fidelity(links.initial_werner)),
        "generated": run.generated,
        **{fate.name.lower(): run.fates[:, fate] for fate in (*_ENDED, Fate.ALIVE)},
        "fidelity_at_use_mean": run.fidelity_at_use,
    }


def nodes_of(world: World, run: ScheduleRun) -> Columns:
    """Return the columns of the table of nodes, without those that name the run."""
    topology, nodes = world.topology, world.network.nodes
    return {
        "label": np.array(topology.labels, dtype=object),
        "node": np.arange(topology.n_nodes),
        "memory_slots": nodes.memory_slots.astype(np.int64),
        "learner_link": world.network.demand.learner_link.astype(np.int64),
        "shots": run.shots,
        "x": topology.position[:, 0],
        "y": topology.position[:, 1],
        "coherence_time_s": nodes.coherence_time_s,
    }


def bound_of(world: World, *, seed: int, rounds: int) -> float:
    """Return what no policy can deliver more of in the first rounds, given the births that the seed allows.

    It holds for the mean over the coins that divert pairs to tests; single runs scatter around it by those coins. NaN
    where links drift, which it does not know.
    """
    model = world.network
    if model.drift is not None:
        return float("nan")
    # Loaded here because they compile what they use, and a study may do without.
    from ceas.network.replay import possible_births, route_requests  # noqa: PLC0415
    from ceas.scheduling.bounds_rounds import end_to_end_bound, rounds_bound  # noqa: PLC0415

    first, births = possible_births(model, seed=seed, n_rounds=rounds)
    ends = end_to_end_bound(model, route_requests(model, seed=seed, n_rounds=rounds))
    return rounds_bound(model, first, births, n_rounds=rounds).value + ends
