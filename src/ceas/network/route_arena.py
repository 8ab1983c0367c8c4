"""All that the kernel works on for routes: flows, their requests, and the pairs that requests hold."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ASKING",
    "BROKEN",
    "FLOW_DTYPE",
    "FLOW_STATE_DTYPE",
    "FLOW_TALLY_DTYPE",
    "HOP_DTYPE",
    "NODE_DTYPE",
    "N_FREE",
    "N_PENDING",
    "N_REVIEW",
    "N_SWAPPED",
    "N_TRACED",
    "PRESENT",
    "REQUEST_DTYPE",
    "RouteArena",
]

# State of one link's pair for a request: asked for, there, or lost while not all who must know do.
ASKING, PRESENT, BROKEN = 0, 1, 2

# Entries of `RouteArena.counts`: free requests, links to look at, nodes to review, pairs made by swaps so far, and rows
# of the trace.
N_FREE, N_PENDING, N_REVIEW, N_SWAPPED, N_TRACED = 0, 1, 2, 3, 4

# What is fixed about a flow.
FLOW_DTYPE = np.dtype(
    [
        ("route", np.int64),
        ("first_hop", np.int64),
        ("first_node", np.int64),
        ("n_hops", np.int64),
        ("use_class", np.int64),
        ("arrivals", np.int64),
        ("period_ns", np.float64),
        ("backlog", np.int64),
        ("deadline_ns", np.int64),
        ("minimum_fidelity", np.float64),
        ("weight", np.float64),
        ("arrival_seed", np.uint64),
        ("swap_seed", np.uint64),
        ("test_seed", np.uint64),
    ],
    align=True,
)
# What changes about a flow.
FLOW_STATE_DTYPE = np.dtype(
    [
        ("number", np.int64),  # of its next request
        ("clock_ns", np.float64),  # exact time of its last Poisson arrival
        ("n_open", np.int64),  # requests that lack a pair on some link
        ("n_live", np.int64),
    ],
    align=True,
)
# What is counted about a flow in a round.
FLOW_TALLY_DTYPE = np.dtype(
    [
        ("requested", np.int64),
        ("served", np.int64),
        ("dropped", np.int64),
        ("diverted", np.int64),
        ("below_minimum", np.int64),
        ("swaps", np.int64),
        ("failed_swaps", np.int64),
        ("wait_ns", np.int64),
        ("test_count", np.int64),
        ("key_bits", np.float64),
        ("delivered_value", np.float64),
        ("sum_x", np.float64),
        ("sum_y", np.float64),
        ("sum_z", np.float64),
        ("test_x", np.float64),
        ("test_y", np.float64),
        ("test_z", np.float64),
    ],
    align=True,
)
# What is fixed about a node.
NODE_DTYPE = np.dtype(
    [
        ("swap_success", np.float64),
        ("swap_ns", np.int64),
        ("factor_x", np.float64),
        ("factor_y", np.float64),
        ("factor_z", np.float64),
        ("rate_x", np.float64),
        ("rate_y", np.float64),
        ("rate_z", np.float64),
    ],
    align=True,
)
# A request that waits.
REQUEST_DTYPE = np.dtype(
    [
        ("is_live", np.int64),
        ("flow", np.int64),
        ("number", np.int64),
        ("arrival_ns", np.int64),
        ("deadline_ns", np.int64),
        ("wake_ns", np.int64),
        ("deliver_ns", np.int64),  # when both ends know of the whole pair, or never
        ("n_present", np.int64),
        ("tries", np.int64),  # deliveries so far
        ("n_losses", np.int64),
    ],
    align=True,
)
# One link's pair of a request, and the node at its right end. What a segment of several links is, stands at its first
# hop; `first` and `last` are right at the two hops at a segment's ends.
HOP_DTYPE = np.dtype(
    [
        ("link", np.int64),
        ("state", np.int64),
        ("number", np.int64),
        ("mode", np.int64),
        ("birth_ns", np.int64),
        ("commit_ns", np.int64),
        ("expiry_ns", np.int64),
        ("is_held_left", np.int64),
        ("is_held_right", np.int64),
        ("learn_left_ns", np.int64),  # when the node there hears that the pair is lost
        ("learn_right_ns", np.int64),
        ("reset_ns", np.int64),  # when the link may be asked again
        ("broken_ns", np.int64),
        ("broken_at", np.int64),  # position of the node where it was lost
        ("lost_id", np.int64),  # of the lost pairs that were joined to this one, and the hops that they span
        ("lost_first", np.int64),
        ("lost_last", np.int64),
        ("give_up_left_ns", np.int64),  # when the node there gives up its half for its age if it has heard nothing
        ("give_up_right_ns", np.int64),
        ("old_commit_ns", np.int64),  # the same of the pair before this
        ("old_broken_ns", np.int64),
        ("old_broken_at", np.int64),
        ("old_lost_id", np.int64),
        ("old_learn_left_ns", np.int64),
        ("old_learn_right_ns", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("pair_id", np.int64),
        ("parent_left", np.int64),
        ("parent_right", np.int64),
        ("segment_birth_ns", np.int64),
        ("reference_ns", np.int64),  # when the correlators were these
        ("x", np.float64),
        ("y", np.float64),
        ("z", np.float64),
        ("measuring_until_ns", np.int64),  # of the node at the right end
        ("swap_ns", np.int64),
        ("tries", np.int64),
    ],
    align=True,
)


class RouteArena(NamedTuple):
    """All arrays of the routes; empty if there are none.

    An event source is a flow, `source < n_flows`, or a request in slot `source - n_flows`. `winner` is
    the tournament of `source_ns`. `heard_ns[slot, hop, side, position]` is when the node that holds that side of a
    hop's pair hears that the node at `position` has joined it to others; kept if the swap rule asks.
    """

    flows: npt.NDArray[Any]
    flow_states: npt.NDArray[Any]
    tallies: npt.NDArray[Any]
    nodes: npt.NDArray[Any]
    route_link: npt.NDArray[np.int64]
    route_node: npt.NDArray[np.int64]
    offset_ns: npt.NDArray[np.int64]
    start: npt.NDArray[np.float64]
    decay_factor: npt.NDArray[np.float64]
    cutoff_ns: npt.NDArray[np.int64]
    modes: npt.NDArray[np.int64]
    mode_free_ns: npt.NDArray[np.int64]
    requests: npt.NDArray[Any]
    hops: npt.NDArray[Any]
    heard_ns: npt.NDArray[np.int64]
    free_request: npt.NDArray[np.int64]
    asks: npt.NDArray[Any]
    n_asks: npt.NDArray[np.int64]
    n_live_on_link: npt.NDArray[np.int64]
    source_ns: npt.NDArray[np.int64]
    winner: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    pending_link: npt.NDArray[np.int64]
    is_pending: npt.NDArray[np.bool_]
    pair_fates: npt.NDArray[np.int64]
    wait_histogram: npt.NDArray[np.int64]
    fidelity_at_use: npt.NDArray[np.int64]
    trace: npt.NDArray[Any]
    communication_qubits: npt.NDArray[np.int64]
    free_communication: npt.NDArray[np.int64]
    is_active: npt.NDArray[np.bool_]
    is_renewed: npt.NDArray[np.bool_]
    wanted_since_ns: npt.NDArray[np.int64]
    review_node: npt.NDArray[np.int64]
    is_review: npt.NDArray[np.bool_]
    n_flows: int
    is_isotropic: bool
    swaps_at_once: bool
    routes_first: bool
    trace_every: int
    test_share: float
    is_checked: bool
    has_routes: bool
    has_attempt_limit: bool
    has_modes: bool
    has_drift: bool
