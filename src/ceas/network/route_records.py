"""What happened on the routes in one round, and the lives of the pairs on them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["NO_PARENT", "ROUTE_PAIR_DTYPE", "RouteFate", "RouteRecord"]

Float64s: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# Elementary pairs have no parents; their ids are at least 0, those of swapped pairs are negative.
NO_PARENT = -(1 << 62)

ROUTE_PAIR_DTYPE = np.dtype(
    [
        ("pair_id", np.int64),
        ("parent_left", np.int64),
        ("parent_right", np.int64),
        ("flow", np.int32),
        ("route", np.int32),
        ("request", np.int64),
        ("node_a", np.int32),
        ("node_b", np.int32),
        ("birth_ns", np.int64),
        ("end_ns", np.int64),
        ("fate", np.int8),
        ("x_at_end", np.float32),
        ("y_at_end", np.float32),
        ("z_at_end", np.float32),
    ]
)


class RouteFate(IntEnum):
    """What became of a pair that a route request held.

    All but HELD and SWAPPED also are the ends of elementary pairs: what became of the pair they were part of at last.
    """

    HELD = 0
    SWAPPED = 1
    DELIVERED = 2
    TESTED = 3
    BELOW_MINIMUM = 4
    CUT = 5
    SWAP_FAILED = 6
    DROPPED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRecord:
    """What happened on the routes in one round. Arrays per flow have shape `(n_flows,)` unless said otherwise.

    Args:
        use_class: Class of each flow, `RouteClass`.
        requested: Requests that arrived.
        served: Pairs delivered, tests of flows that want tests included.
        dropped: Requests whose deadline passed.
        waiting: Requests that wait at the end of the round.
        diverted: Pairs that a coin diverted to a test when they were delivered.
        below_minimum: Pairs given up at delivery for want of fidelity.
        swaps: Bell measurements that ended.
        failed_swaps: Of these, those that failed.
        wait_ns: Total time from arrival to delivery of the served requests (ns).
        key_bits: Secret bits of the delivered pairs of flows that want keys (asymptotic BBM92, Bell-diagonal).
        delivered_value: Weight of the delivered pairs, times their secret bits for keys.
        correlator_sum: Sum of the correlators of the delivered pairs, shape `(n_flows, 3)`.
        test_count: Tested pairs.
        test_correlator_sum: Sum of their correlators, shape `(n_flows, 3)`.
        wait_histogram: Of the served requests' waiting times by class, shape `(3, WAIT_BINS)`.
        fidelity_at_use: Histogram of the fidelity of delivered pairs by class over [0.25, 1], shape
            `(3, FIDELITY_BINS)`; lower fidelities count in the first bin.
        pair_fates: Elementary pairs of each link that a route request held by their end in this round, shape
            `(n_links, 8)`; the HELD column is what is held at the end of the round.
        pairs: Ends in this round of the pairs of traced requests, dtype `ROUTE_PAIR_DTYPE`, in order of time.
    """

    use_class: Int64s
    requested: Int64s
    served: Int64s
    dropped: Int64s
    waiting: Int64s
    diverted: Int64s
    below_minimum: Int64s
    swaps: Int64s
    failed_swaps: Int64s
    wait_ns: Int64s
    key_bits: Float64s
    delivered_value: Float64s
    correlator_sum: Float64s
    test_count: Int64s
    test_correlator_sum: Float64s
    wait_histogram: Int64s
    fidelity_at_use: Int64s
    pair_fates: Int64s
    pairs: npt.NDArray[Any]

    def by_class(self, name: str) -> Float64s:
        """Return the sums of a column over the flows of each class, in the order of `RouteClass`, `(3,)`."""
        column = np.asarray(getattr(self, name), dtype=np.float64)
        return np.asarray(np.bincount(self.use_class, weights=column, minlength=3), dtype=np.float64)
