"""The network over time, one training round after the other."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import CeasError, DomainError
from ceas.network.arena import ARRIVAL, CONSTANT_DTYPE, N_EVENT_KINDS, QPU, STATE_DTYPE, TALLY_DTYPE, Arena
from ceas.network.drift import apply_drift, drift_times
from ceas.network.invariants import VIOLATIONS
from ceas.network.kernel import (
    ALL_DONE,
    BAD_CHOICE,
    NO_ROUTE_ROOM,
    VIOLATION,
    rows_of_event,
    run_links_until,
    run_until,
    schedule_success,
)
from ceas.network.policy import NEVER, Policy
from ceas.network.records import (
    FIDELITY_BINS,
    MAX_LEARNERS_PER_LINK,
    PAIR_DTYPE,
    Fate,
    NetworkModel,
    WindowRecord,
    correlator_lifetime_ns,
    learners_of_link,
    lifetime_ns,
)
from ceas.network.route_state import (
    LinkValues,
    empty_route_trace,
    grow_requests,
    held_pairs,
    initial_extra,
    link_values,
    route_arena,
    route_links,
    route_record,
    start_correlators,
    transfer_ns,
)
from ceas.network.tournament import room_for_tournament
from ceas.network.waiting import WAIT_BINS
from ceas.streams import stream_seed

__all__ = ["NetworkState", "advance_round", "initial_state"]

# Rows of the buffers that the kernel fills between two visits to Python.
_BUFFER_ROWS = 1 << 16
# Prefix of the optional part of the state among its arrays.
_EXTRA = "extra_"
_STREAMS = ("link_generation", "link_test", "link_policy")


@dataclass(slots=True, kw_only=True)
class NetworkState:
    """All that changes while the network runs, as plain arrays; `advance_round` changes it in place.

    Args:
        window: Number of the next round.
        trace_every: 0 for no trace, else every `trace_every`-th pair of a link is traced.
        seeds: Seeds of each link's streams for generation, tests and the policy, `(n_links, 3)`.
        links: State of the links, `kernel.STATE_DTYPE`.
        next_ns: Time of the next event of each link and kind (ns).
        stock_birth_ns: Birth times of the stored pairs (ns), oldest first, `(n_links, capacity)`.
        stock_number: Their numbers on their link.
        key_arrival_ns: Arrival times of the key requests (ns), `(n_links, room)`.
        free_slots: Free memory slots of the nodes.
        extra: What routes, attempt limits, modes and drift need besides, by name.
    """

    window: int
    trace_every: int
    seeds: npt.NDArray[np.uint64]
    links: npt.NDArray[Any]
    next_ns: npt.NDArray[np.int64]
    stock_birth_ns: npt.NDArray[np.int64]
    stock_number: npt.NDArray[np.int64]
    key_arrival_ns: npt.NDArray[np.int64]
    free_slots: npt.NDArray[np.int64]
    extra: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the whole state as named arrays, copies, which `numpy.savez` stores without pickling."""
        named = {column.name: np.array(getattr(self, column.name)) for column in fields(self) if column.name != "extra"}
        return named | {f"{_EXTRA}{name}": array.copy() for name, array in self.extra.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> "NetworkState":
        """Return the state that `to_arrays` described."""
        names = [column.name for column in fields(cls) if column.name != "extra"]
        values: dict[str, Any] = {name: np.array(arrays[name]) for name in names}
        values["extra"] = {
            name.removeprefix(_EXTRA): np.array(array) for name, array in arrays.items() if name.startswith(_EXTRA)
        }
        for name in ("window", "trace_every"):
            values[name] = int(values[name])
        return cls(**values)


def initial_state(
    model: NetworkModel, *, seed: int, trace_every: int = 0, checks_invariants: bool = False
) -> NetworkState:
    """Return the network at time 0: memories empty, no requests waiting.

    Args:
        model: The fixed part of the network.
        seed: Root seed; every link has streams of its own, whatever the policy and the other links do.
        trace_every: 0 traces no pairs, 1 all, k every k-th of each link, and all pairs of every k-th request of a flow.
        checks_invariants: Whether to check `ceas.network.invariants` between any two events, which is slow.

    Raises:
        DomainError: `trace_every` is negative.
    """
    if trace_every < 0:
        raise DomainError(f"Argument `trace_every` must be at least 0, but is {trace_every}.")
    stock_shape = (model.n_links, int(_capacity(model).max(initial=0)) + 1)
    seeds = [[stream_seed(seed, name, link=link) for name in _STREAMS] for link in range(model.n_links)]
    state = NetworkState(
        window=0,
        trace_every=int(trace_every),
        seeds=np.array(seeds, dtype=np.uint64).reshape(-1, len(_STREAMS)),
        links=np.zeros(model.n_links, dtype=STATE_DTYPE),
        next_ns=np.full((model.n_links, N_EVENT_KINDS), NEVER, dtype=np.int64),
        stock_birth_ns=np.zeros(stock_shape, dtype=np.int64),
        stock_number=np.zeros(stock_shape, dtype=np.int64),
        key_arrival_ns=np.zeros((model.n_links, _request_room(model)), dtype=np.int64),
        free_slots=model.nodes.memory_slots.astype(np.int64),
        extra=initial_extra(model, stock_shape, seed=seed, checks=checks_invariants),
    )
    constants = _link_constants(model, state.seeds, link_values(model, -1))
    state.links["attempt"] = -1
    state.links["number"] = -1
    state.links["blocked_since_ns"] = np.where(_capacity(model) > 0, NEVER, 0)
    schedule_success(constants, state.links, state.next_ns, np.flatnonzero(_is_attempting(model)))
    has_keys = model.demand.key_pairs_per_round > 0
    state.next_ns[has_keys, ARRIVAL] = (0.5 * constants["key_period_ns"][has_keys]).astype(np.int64)
    return state


def advance_round(state: NetworkState, model: NetworkModel, policy: Policy) -> WindowRecord:
    """Let the network run through its next round and return what happened; `state` is changed.

    Raises:
        DomainError: The policy's parameters do not fit the model, or it chose a request or a pair that is not there.
            In the second case `state` stands in the middle of the round and is of no further use.
    """
    if policy.parameters.shape[:1] != (model.n_links,) or policy.parameters.ndim != 2:
        raise DomainError(
            f"Argument `policy` must have parameters of shape ({model.n_links}, n), but has {policy.parameters.shape}."
        )
    arena = _round_arena(state, model, policy)
    _open_round(arena)
    pieces: list[tuple[npt.NDArray[Any], ...]] = []
    times_ns = drift_times(model, arena.round_start_ns, arena.round_end_ns)
    for from_ns, until_ns in zip([arena.round_start_ns, *times_ns], [*times_ns, arena.round_end_ns], strict=True):
        if from_ns in times_ns:
            values = link_values(model, from_ns)
            apply_drift(arena, model, values, _link_constants(model, state.seeds, values), from_ns)
        arena = _run_part(arena, state, policy, from_ns, until_ns, pieces)
    _close_round(arena)
    state.window += 1
    columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    return _window_record(state.window - 1, arena, state, columns)


def _run_part(  # noqa: PLR0917 - private
    arena: Arena,
    state: NetworkState,
    policy: Policy,
    from_ns: int,
    until_ns: int,
    pieces: list[tuple[npt.NDArray[Any], ...]],
) -> Arena:
    """Let the kernel run from one time to another and collect what it writes; return the arena, which may grow."""
    link_ns, winner = np.empty(len(arena.constants), dtype=np.int64), room_for_tournament(len(arena.constants))
    routes = arena.routes
    has_extensions = routes.has_routes or routes.has_attempt_limit or routes.has_modes or routes.has_drift
    has_extensions |= len(arena.axes) > 0
    rules = [policy.serve, policy.attempt]
    if has_extensions or routes.is_checked:
        rules += [policy.route, policy.swap, policy.priority]
    pointers = [rule.pointer for rule in rules]
    status = -1
    while status != ALL_DONE:
        if len(rules) > 2:
            status = run_until(arena, link_ns, winner, from_ns, until_ns, *pointers)
        else:
            status = run_links_until(arena, link_ns, winner, until_ns, *pointers)
        if status == BAD_CHOICE:
            raise DomainError(f"Policy `{policy.name}` chose a request or a pair that is not there.")
        if status > VIOLATION:
            raise CeasError(f"The network's invariants do not hold: {VIOLATIONS[status - VIOLATION]}.")
        pieces.append(_empty_buffers(arena))
        if status == NO_ROUTE_ROOM:
            arena = arena._replace(routes=grow_requests(state.extra, arena.routes))
    return arena


def _capacity(model: NetworkModel) -> npt.NDArray[np.int64]:
    """Return how many pairs of each link fit into the memories of its ends."""
    slots = model.nodes.memory_slots
    return np.minimum(slots[model.links.node_a], slots[model.links.node_b]).astype(np.int64)


def _is_attempting(model: NetworkModel) -> npt.NDArray[np.bool_]:
    """Tell which links have demand and make pairs that are good enough to store."""
    has_learner = learners_of_link(model.demand.learner_link, model.n_links)[:, 0] >= 0
    has_demand = has_learner | (model.demand.key_pairs_per_round > 0) | route_links(model)
    return has_demand & (model.lifetime_ns > 0)


def _request_room(model: NetworkModel) -> int:
    """Return the room for key requests, twice what can wait, so that moving them to the front is rare."""
    most = model.demand.key_pairs_per_round.max(initial=0.0) * model.demand.key_deadline_ns / model.clock.round_ns
    return 2 * (int(most) + 2)


def _link_constants(model: NetworkModel, seeds: npt.NDArray[np.uint64], values: LinkValues) -> npt.NDArray[Any]:
    links = model.links
    moving_ns = transfer_ns(model)
    initial_werner, lifetime = values.initial_werner, model.lifetime_ns
    if model.repeaters is not None or model.drift is not None:
        if model.repeaters is not None:
            factor = model.repeaters.transfer_contraction
            moved = factor[links.node_a] * factor[links.node_b] * np.exp(-values.decay_rate_hz * moving_ns * 1e-9)
            initial_werner = initial_werner * moved
        lifetime = lifetime_ns(initial_werner, values.decay_rate_hz, model.minimum_fidelity)
    correlators = np.repeat(initial_werner[:, np.newaxis], 3, axis=1)
    rates_hz = np.repeat(values.decay_rate_hz[:, np.newaxis], 3, axis=1)
    if links.is_bell_diagonal:
        correlators = values.correlators if model.repeaters is None else start_correlators(model, values)
        rates_hz = links.correlator_rates_hz * values.decay_factor[:, np.newaxis]
        initial_werner = correlators.mean(axis=1)
        lifetime = correlator_lifetime_ns(correlators, rates_hz, model.minimum_fidelity)
    success = np.where(_is_attempting(model) & (lifetime > 0), values.success_probability, 0.0)
    constants = np.zeros(model.n_links, dtype=CONSTANT_DTYPE)
    constants["node_a"] = links.node_a
    constants["node_b"] = links.node_b
    constants["capacity"] = _capacity(model)
    constants["attempt_period_ns"] = links.attempt_period_ns
    constants["transfer_ns"] = moving_ns
    constants["initial_werner"] = initial_werner
    constants["decay_per_ns"] = values.decay_rate_hz * 1e-9
    constants["lifetime_ns"] = lifetime
    for column, axis in enumerate("xyz"):
        constants[f"initial_{axis}"] = correlators[:, column]
        constants[f"decay_{axis}_per_ns"] = rates_hz[:, column] * 1e-9
    with np.errstate(divide="ignore", over="ignore"):
        constants["log_failure"] = np.log1p(-success)
        constants["pair_period_ns"] = links.attempt_period_ns / success
        constants["key_period_ns"] = model.clock.round_ns / model.demand.key_pairs_per_round
    for column, name in enumerate(("generation_seed", "test_seed", "policy_seed")):
        constants[name] = seeds[:, column]
    return constants


def _neighbour_links(model: NetworkModel) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return, as rows of one array and where each node's begins, the attempting links at every node."""
    links = np.flatnonzero(_is_attempting(model))
    ends = np.concatenate([model.links.node_a[links], model.links.node_b[links]])
    order = np.argsort(ends, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=len(model.nodes.memory_slots)))])
    return first.astype(np.int64), np.concatenate([links, links])[order].astype(np.int64)


def _round_arena(state: NetworkState, model: NetworkModel, policy: Policy) -> Arena:
    """Return the state, the model, the policy's parameters and empty records, as the kernel wants them."""
    demand, clock, n_links = model.demand, model.clock, model.n_links
    learner = learners_of_link(demand.learner_link, n_links).astype(np.int64)
    # A missing learner reads any learner's duration, which `_open_round` never uses.
    durations = np.append(demand.shot_duration_ns, 0).astype(np.int64)
    first_neighbour, neighbour_link = _neighbour_links(model)
    longest_route = state.extra["hops"].shape[1]
    rows = max(_BUFFER_ROWS, 4 * rows_of_event(state.stock_birth_ns.shape[1], longest_route))
    recorded = rows if model.links.is_bell_diagonal else 0
    start_ns = state.window * clock.round_ns
    per_learner = (n_links, MAX_LEARNERS_PER_LINK)
    constants = _link_constants(model, state.seeds, link_values(model, start_ns - 1))
    announced = constants
    if model.drift is not None and not model.drift.is_announced:
        announced = _link_constants(model, state.seeds, link_values(model, -1))
    routes = route_arena(model, state.extra, policy, start_ns=start_ns, trace_every=state.trace_every)
    return Arena(
        constants=constants,
        announced=announced,
        states=state.links,
        tallies=np.zeros(n_links, dtype=TALLY_DTYPE),
        fates=np.zeros((n_links, len(Fate)), dtype=np.int64),
        next_ns=state.next_ns,
        stock_birth_ns=state.stock_birth_ns,
        stock_number=state.stock_number,
        stock_shift=state.extra["stock_shift"],
        stock_expiry_ns=state.extra["stock_expiry_ns"],
        stock_mode=state.extra["stock_mode"],
        key_arrival_ns=state.key_arrival_ns,
        learner=learner,
        shot_duration_ns=durations[learner],
        qpu_ready_ns=np.full(per_learner, NEVER, dtype=np.int64),
        qpu_close_ns=start_ns + clock.learning_ns - durations[learner] + 1,
        shot_wait_ns=np.zeros(per_learner, dtype=np.int64),
        free_slots=state.free_slots,
        first_neighbour=first_neighbour,
        neighbour_link=neighbour_link,
        delivered_value=np.zeros(3),
        fidelity_at_use=np.zeros((3, FIDELITY_BINS), dtype=np.int64),
        wait_histogram=np.zeros((2, WAIT_BINS), dtype=np.int64),
        n_written=np.zeros(4, dtype=np.int64),
        shot_learner=np.empty(rows, dtype=np.int32),
        shot_time_ns=np.empty(rows, dtype=np.int64),
        shot_werner=np.empty((rows, demand.pairs_per_shot), dtype=np.float32),
        test_link=np.empty(rows, dtype=np.int32),
        test_werner=np.empty(rows, dtype=np.float32),
        test_is_of_shot=np.empty(rows, dtype=np.bool_),
        trace=np.empty(rows, dtype=PAIR_DTYPE),
        choice=np.zeros(max(1, demand.pairs_per_shot), dtype=np.int64),
        parameters=np.ascontiguousarray(policy.parameters, dtype=np.float64),
        round_start_ns=start_ns,
        round_end_ns=start_ns + clock.round_ns,
        learning_end_ns=start_ns + clock.learning_ns,
        key_deadline_ns=int(demand.key_deadline_ns),
        pairs_per_shot=int(demand.pairs_per_shot),
        learning_value=float(demand.learning_value),
        key_value=float(demand.key_value),
        test_value=float(demand.test_value),
        test_share=float(demand.test_share),
        trace_every=state.trace_every,
        memory_slots=model.nodes.memory_slots.astype(np.int64),
        stored_before=state.links["n_stored"].copy(),
        held_before=held_pairs(state.extra, routes.flows, n_links),
        stock_axis_logarithm=state.extra["stock_axis_logarithm"],
        shot_correlators=np.empty((recorded, demand.pairs_per_shot, 3), dtype=np.float32),
        test_correlators=np.empty((recorded, 3), dtype=np.float32),
        key_correlator_sum=np.zeros((n_links, 3)),
        pair_state=np.zeros(3),
        correlator_weights=np.array(demand.correlator_weights, dtype=np.float64),
        axes=(0, 1, 2) if model.links.is_bell_diagonal else (),
        routes=routes,
    )


def _open_round(arena: Arena) -> None:
    """Make every learner's QPU ready at the start of the learning window."""
    has_learner = arena.learner >= 0
    arena.qpu_ready_ns[has_learner] = arena.round_start_ns
    arena.next_ns[:, QPU : QPU + MAX_LEARNERS_PER_LINK][has_learner] = arena.round_start_ns


def _close_round(arena: Arena) -> None:
    """Count the blocked time up to the end of the round and the pairs that are still there."""
    since_ns = arena.states["blocked_since_ns"]
    is_blocked = since_ns < NEVER
    since_ns = np.maximum(since_ns, arena.round_start_ns)
    arena.tallies["blocked_ns"][is_blocked] += arena.round_end_ns - since_ns[is_blocked]
    arena.fates[:, Fate.ALIVE] = arena.states["n_stored"]


def _empty_buffers(arena: Arena) -> tuple[npt.NDArray[Any], ...]:
    """Return copies of what the kernel wrote since the last call and make room for more."""
    n_shots, n_tests, n_traced = (int(count) for count in arena.n_written[:3])
    arena.n_written[:3] = 0
    return (
        arena.shot_learner[:n_shots].copy(),
        arena.shot_time_ns[:n_shots].copy(),
        arena.shot_werner[:n_shots].copy(),
        arena.test_link[:n_tests].copy(),
        arena.test_werner[:n_tests].copy(),
        arena.test_is_of_shot[:n_tests].copy(),
        arena.trace[:n_traced].copy(),
        empty_route_trace(arena.routes),
        arena.shot_correlators[:n_shots].copy(),
        arena.test_correlators[:n_tests].copy(),
    )


def _window_record(window: int, arena: Arena, state: NetworkState, columns: list[npt.NDArray[Any]]) -> WindowRecord:
    """Return the record of a round from its tallies and from what the kernel wrote, which is in order of time."""
    shot_learner, shot_time_ns, shot_werner, test_link, test_werner, test_is_of_shot, pairs, route_pairs = columns[:8]
    shot_correlators, test_correlators = columns[8:]
    has_correlators = len(arena.axes) > 0
    by_learner = np.argsort(shot_learner, kind="stable")
    by_link = np.argsort(test_link, kind="stable")
    row_of_shot = np.empty_like(by_learner)
    row_of_shot[by_learner] = np.arange(len(by_learner))
    is_shot = pairs["shot"] >= 0
    pairs["shot"][is_shot] = row_of_shot[pairs["shot"][is_shot]]
    has_learner = arena.learner >= 0
    shot_wait_ns = np.zeros(int(arena.learner.max(initial=-1)) + 1, dtype=np.int64)
    shot_wait_ns[arena.learner[has_learner]] = arena.shot_wait_ns[has_learner]
    tallies = {name: arena.tallies[name].copy() for name in TALLY_DTYPE.names or ()}
    return WindowRecord(
        window=window,
        start_ns=arena.round_start_ns,
        end_ns=arena.round_end_ns,
        shot_learner=shot_learner[by_learner],
        shot_time_ns=shot_time_ns[by_learner],
        shot_werner=shot_werner[by_learner],
        shot_wait_ns=shot_wait_ns,
        fates=arena.fates,
        key_count=arena.fates[:, Fate.KEY].copy(),
        key_waiting=arena.states["key_tail"] - arena.states["key_head"],
        test_count=arena.fates[:, Fate.TEST].copy(),
        test_link=test_link[by_link],
        test_werner=test_werner[by_link],
        test_is_of_shot=test_is_of_shot[by_link],
        delivered_value=arena.delivered_value,
        fidelity_at_use=arena.fidelity_at_use,
        wait_histogram=arena.wait_histogram,
        routes=route_record(arena.routes, state.extra, [route_pairs]),
        pairs=pairs[np.lexsort((pairs["pair_id"], pairs["end_ns"]))],
        shot_correlators=shot_correlators[by_learner] if has_correlators else None,
        test_correlators=test_correlators[by_link] if has_correlators else None,
        key_correlator_sum=arena.key_correlator_sum if has_correlators else None,
        **tallies,
    )
