"""All that the kernel works on: the arrays of the links, nodes, QPUs and records, as one named tuple."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, inlined
from ceas.network.draws import hash_counter
from ceas.network.policy import LinkView
from ceas.network.route_arena import RouteArena

__all__ = [
    "ARRIVAL",
    "CONSTANT_DTYPE",
    "DEADLINE",
    "EXPIRY",
    "GENERATION",
    "N_EVENT_KINDS",
    "QPU",
    "STATE_DTYPE",
    "TALLY_DTYPE",
    "WAKE",
    "Arena",
    "link_view",
]

# The kinds of event of a link, in the order in which those at the same time run; there is a QPU for either learner.
EXPIRY, DEADLINE, GENERATION, ARRIVAL, QPU, WAKE = 0, 1, 2, 3, 4, 6
N_EVENT_KINDS = 7

# What is fixed about a link.
CONSTANT_DTYPE = np.dtype(
    [
        ("node_a", np.int64),
        ("node_b", np.int64),
        ("capacity", np.int64),
        ("attempt_period_ns", np.int64),
        ("transfer_ns", np.int64),
        ("log_failure", np.float64),
        ("initial_werner", np.float64),
        ("decay_per_ns", np.float64),
        ("lifetime_ns", np.int64),
        ("pair_period_ns", np.float64),
        ("key_period_ns", np.float64),
        ("generation_seed", np.uint64),
        ("test_seed", np.uint64),
        ("policy_seed", np.uint64),
        # Of each correlator: those of the Werner parameter where pairs are Werner.
        ("initial_x", np.float64),
        ("initial_y", np.float64),
        ("initial_z", np.float64),
        ("decay_x_per_ns", np.float64),
        ("decay_y_per_ns", np.float64),
        ("decay_z_per_ns", np.float64),
    ],
    align=True,
)
# What changes about a link.
STATE_DTYPE = np.dtype(
    [
        ("attempt", np.int64),  # the next attempt that would succeed
        ("number", np.int64),  # the number of that success
        ("resume_ns", np.int64),  # attempts that begin earlier were not made
        ("blocked_since_ns", np.int64),
        ("n_stored", np.int64),
        ("key_head", np.int64),
        ("key_tail", np.int64),
        ("key_number", np.int64),
        ("policy_calls", np.int64),
    ],
    align=True,
)
# What is counted about a link in a round.
TALLY_DTYPE = np.dtype(
    [
        ("generated", np.int64),
        ("key_requested", np.int64),
        ("key_dropped", np.int64),
        ("key_wait_ns", np.int64),
        ("blocked_ns", np.int64),
        ("key_werner_sum", np.float64),
        ("test_werner_sum", np.float64),
    ],
    align=True,
)


class Arena(NamedTuple):
    """All arrays and numbers that the kernel works on.

    `n_written` holds the fill of the shot, test and trace buffers, then the number of shots in the round so far. The
    kernel stops and asks for room before a buffer could overflow. `announced` is what policies see of the constants; it
    differs from them only after a drift that is not announced. `stock_shift` and `stock_expiry_ns` are kept under drift
    alone, `stock_mode` where modes are bound to memory slots.
    Where pairs are Bell-diagonal, `stock_axis_logarithm` takes the place of `stock_shift`, the logarithm of what each
    correlator would have been at birth had it always decayed as now, records have correlators, and `pair_state` holds
    those of the pair that was closed last. `axes` is then (0, 1, 2), else empty: the compiler knows which, and makes a
    kernel for either.
    `stored_before` and `held_before` are what links and route requests held when the round began, for the debug checks.
    """

    constants: npt.NDArray[Any]
    announced: npt.NDArray[Any]
    states: npt.NDArray[Any]
    tallies: npt.NDArray[Any]
    fates: npt.NDArray[np.int64]
    next_ns: npt.NDArray[np.int64]
    stock_birth_ns: npt.NDArray[np.int64]
    stock_number: npt.NDArray[np.int64]
    stock_shift: npt.NDArray[np.float64]
    stock_expiry_ns: npt.NDArray[np.int64]
    stock_mode: npt.NDArray[np.int64]
    key_arrival_ns: npt.NDArray[np.int64]
    learner: npt.NDArray[np.int64]
    shot_duration_ns: npt.NDArray[np.int64]
    qpu_ready_ns: npt.NDArray[np.int64]
    qpu_close_ns: npt.NDArray[np.int64]
    shot_wait_ns: npt.NDArray[np.int64]
    free_slots: npt.NDArray[np.int64]
    first_neighbour: npt.NDArray[np.int64]
    neighbour_link: npt.NDArray[np.int64]
    delivered_value: npt.NDArray[np.float64]
    fidelity_at_use: npt.NDArray[np.int64]
    wait_histogram: npt.NDArray[np.int64]
    n_written: npt.NDArray[np.int64]
    shot_learner: npt.NDArray[np.int32]
    shot_time_ns: npt.NDArray[np.int64]
    shot_werner: npt.NDArray[np.float32]
    test_link: npt.NDArray[np.int32]
    test_werner: npt.NDArray[np.float32]
    test_is_of_shot: npt.NDArray[np.bool_]
    trace: npt.NDArray[Any]
    choice: npt.NDArray[np.int64]
    parameters: npt.NDArray[np.float64]
    round_start_ns: int
    round_end_ns: int
    learning_end_ns: int
    key_deadline_ns: int
    pairs_per_shot: int
    learning_value: float
    key_value: float
    test_value: float
    test_share: float
    trace_every: int
    memory_slots: npt.NDArray[np.int64]
    stored_before: npt.NDArray[np.int64]
    held_before: npt.NDArray[np.int64]
    stock_axis_logarithm: npt.NDArray[np.float64]
    shot_correlators: npt.NDArray[np.float32]
    test_correlators: npt.NDArray[np.float32]
    key_correlator_sum: npt.NDArray[np.float64]
    pair_state: npt.NDArray[np.float64]
    correlator_weights: npt.NDArray[np.float64]
    axes: tuple[int, ...]
    routes: RouteArena


@inlined
def link_view(arena: Arena, link: int, now_ns: int) -> LinkView:
    """Return what a policy sees of a link, with a new random number."""
    constant = arena.announced[link]
    state = arena.states[link]
    state.policy_calls += 1
    return LinkView(
        link,
        now_ns,
        arena.round_start_ns,
        arena.round_end_ns,
        arena.learning_end_ns,
        (arena.qpu_ready_ns[link, 0], arena.qpu_ready_ns[link, 1]),
        (arena.qpu_close_ns[link, 0], arena.qpu_close_ns[link, 1]),
        (arena.shot_duration_ns[link, 0], arena.shot_duration_ns[link, 1]),
        arena.stock_birth_ns[link, : state.n_stored],
        arena.key_arrival_ns[link, state.key_head : state.key_tail],
        min(arena.free_slots[as_index(constant.node_a)], arena.free_slots[as_index(constant.node_b)]),
        constant.capacity,
        constant.initial_werner,
        constant.decay_per_ns,
        constant.lifetime_ns,
        constant.pair_period_ns,
        constant.key_period_ns,
        arena.key_deadline_ns,
        arena.pairs_per_shot,
        arena.learning_value,
        arena.key_value,
        arena.test_value,
        arena.test_share,
        np.int64(hash_counter(constant.policy_seed, state.policy_calls) >> np.uint64(1)),
        arena.parameters[link],
        len(arena.axes) > 0,
        constant.initial_x,
        constant.initial_y,
        constant.initial_z,
        constant.decay_x_per_ns,
        constant.decay_y_per_ns,
        constant.decay_z_per_ns,
        arena.correlator_weights[0],
        arena.correlator_weights[1],
        arena.correlator_weights[2],
    )
