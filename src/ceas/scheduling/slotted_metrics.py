"""By what schedulers of the slotted network are compared: what became of the pairs, what was delivered, who waited.

Where a run begins and ends would otherwise decide the figures, requests and services are counted in a window of slots:

- Requests count, in every denominator, if they arrive in the window and their deadline lies in the run. One whose
  deadline lies beyond the end could still be served; it is left out with whatever it was served.
- Pairs are counted over the whole run, since a record has only their sums. Those still stored at the end could still be
  used; they are not in the denominator of the utilisation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.network.slots import RequestTable, SlottedNetwork, SlottedRecord, ValueKind
from ceas.physics.keys import secret_key_fraction
from ceas.scheduling.metrics import jain_index

__all__ = ["SlottedMetrics", "perfect_values", "slotted_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlottedMetrics:
    """Measures of one run. A ratio of nothing to nothing is NaN.

    Attributes:
        utilisation: Pairs used by requests that got something from them, over all pairs whose life ended.
        generated: Pairs born.
        used: Part of the ended pairs that were used by served requests.
        used_by_class: The same for each class, `(C,)`, for example for requests that are tests.
        used_in_vain: Part of them used by requests that got nothing: the pair was worse than claimed.
        lost: Part of them lost in failed swaps.
        purified: Part of them given up in purification.
        expired: Part of them that grew too old.
        discarded: Part of them that were replaced or dropped.
        value: Delivered value over that of all requests, each through new pairs of its links, served at once.
        value_total: Delivered value.
        served: Part of the requests that got something.
        served_weight: The same by weight.
        served_by_class: The same for each class, `(C,)`.
        value_by_class: Value for each class, as `value`, `(C,)`.
        fidelity_mean: Mean fidelity at use of what the requests got, after swapping; of a tuple the mean.
        fidelity_p05: Fidelity at use that 5 % of them stay below.
        wait_mean_slots: Mean time from arrival to service of the served requests (slots).
        wait_p99_slots: Time that 99 % of them do not exceed (slots).
        fairness: Jain's index of the users' shares of what they asked for, by value.
        value_per_attempt: Value delivered in the whole run over the attempts made.
        attempts: Attempts made.
        occupancy: Mean number of memory slots in use after service, over all memory slots.
        n_requests: Requests that count.
        n_dropped: Those of them that were not served.
        n_unsettled: Requests that arrive in the window and do not count, for their deadline lies beyond the run.
    """

    utilisation: float
    generated: int
    used: float
    used_by_class: npt.NDArray[np.float64]
    used_in_vain: float
    lost: float
    purified: float
    expired: float
    discarded: float
    value: float
    value_total: float
    served: float
    served_weight: float
    served_by_class: npt.NDArray[np.float64]
    value_by_class: npt.NDArray[np.float64]
    fidelity_mean: float
    fidelity_p05: float
    wait_mean_slots: float
    wait_p99_slots: float
    fairness: float
    value_per_attempt: float
    attempts: int
    occupancy: float
    n_requests: int
    n_dropped: int
    n_unsettled: int


def perfect_values(network: SlottedNetwork, requests: RequestTable) -> npt.NDArray[np.float64]:
    """Return the value of each request through new pairs of its links, served at once and with success, `(R,)`.

    It is 0 for a request whose minimum fidelity is out of reach of new pairs.
    """
    n_hops = np.diff(requests.route_first)
    hops = np.log(np.maximum(network.initial_werner[requests.route_link], 1e-300))
    werner = np.exp(np.add.reduceat(hops, requests.route_first[:-1])) if len(requests) else np.zeros(0)
    werner = werner * network.swap_werner ** (n_hops - 1)
    worth = np.select(
        [requests.kind == ValueKind.STEP, requests.kind == ValueKind.INFORMATION],
        [np.ones(len(requests)), werner**2],
        default=secret_key_fraction(werner),
    )
    qualifies = 0.25 + 0.75 * werner >= requests.minimum_fidelity - 1e-12
    value: npt.NDArray[np.float64] = requests.weight * qualifies * worth**requests.n_pairs
    return value


def slotted_metrics(
    network: SlottedNetwork, requests: RequestTable, record: SlottedRecord, *, warm_up_slots: int = 0
) -> SlottedMetrics:
    """Return the measures of a run.

    Args:
        network: The network as it is; the fidelity of its new pairs is the true one.
        requests: The requests of the run.
        record: What happened.
        warm_up_slots: Requests that arrive earlier do not count.

    Raises:
        DomainError: `warm_up_slots` is negative or not less than the slots of the run.
    """
    if not 0 <= warm_up_slots < max(record.n_slots, 1):
        raise DomainError(f"Argument `warm_up_slots` must be in [0, {record.n_slots}), but is {warm_up_slots}.")
    in_window = (requests.arrival >= warm_up_slots) & (requests.arrival < record.n_slots)
    counts = in_window & (requests.deadline < record.n_slots)
    perfect = perfect_values(network, requests)
    value = np.zeros(len(requests))
    value[record.served_request] = record.served_value
    # A request of no weight has no value to tell by.
    gets = np.zeros(len(requests), dtype=np.bool_)
    gets[record.served_request] = (record.served_value > 0) | (requests.weight[record.served_request] == 0)
    counts_served = counts[record.served_request] & gets[record.served_request]
    fidelity = record.served_fidelity[counts_served]
    wait = (record.served_slot - requests.arrival[record.served_request])[counts_served]
    n_classes = int(requests.request_class.max(initial=-1)) + 1
    by_class = [counts & (requests.request_class == label) for label in range(n_classes)]
    ended = int(record.generated.sum() - record.stored.sum())
    in_vain = int(record.served_pairs[~gets[record.served_request]].sum())
    used = int(record.used.sum())
    served_class = requests.request_class[record.served_request]
    pairs_by_class = np.bincount(served_class, record.served_pairs, minlength=n_classes)
    return SlottedMetrics(
        utilisation=_ratio(used - in_vain, ended),
        generated=int(record.generated.sum()),
        used=_ratio(used, ended),
        used_by_class=np.array([_ratio(float(pairs), ended) for pairs in pairs_by_class]),
        used_in_vain=_ratio(in_vain, ended),
        lost=_ratio(int(record.lost.sum()), ended),
        purified=_ratio(int(record.purified.sum()), ended),
        expired=_ratio(int(record.expired.sum()), ended),
        discarded=_ratio(int(record.discarded.sum()), ended),
        value=_ratio(float(value[counts].sum()), float(perfect[counts].sum())),
        value_total=float(value[counts].sum()),
        served=_ratio(int(gets[counts].sum()), int(counts.sum())),
        served_weight=_ratio(float(requests.weight[counts & gets].sum()), float(requests.weight[counts].sum())),
        served_by_class=np.array([_ratio(int(gets[one].sum()), int(one.sum())) for one in by_class]),
        value_by_class=np.array([_ratio(float(value[one].sum()), float(perfect[one].sum())) for one in by_class]),
        fidelity_mean=float(fidelity.mean()) if len(fidelity) else float("nan"),
        fidelity_p05=float(np.quantile(fidelity, 0.05)) if len(fidelity) else float("nan"),
        wait_mean_slots=float(wait.mean()) if len(wait) else float("nan"),
        wait_p99_slots=float(np.quantile(wait, 0.99, method="higher")) if len(wait) else float("nan"),
        fairness=_fairness(requests.user[counts], value[counts], perfect[counts]),
        value_per_attempt=_ratio(float(record.served_value.sum()), int(record.attempts.sum())),
        attempts=int(record.attempts.sum()),
        # A stored pair takes a memory slot at each of its ends.
        occupancy=_ratio(2.0 * int(record.occupancy.sum()), record.n_slots * int(network.memory_slots.sum())),
        n_requests=int(counts.sum()),
        n_dropped=int((counts & ~gets).sum()),
        n_unsettled=int((in_window & ~counts).sum()),
    )


def _fairness(user: npt.NDArray[np.int64], value: npt.NDArray[np.float64], perfect: npt.NDArray[np.float64]) -> float:
    """Return Jain's index over the users who asked for something that can be had."""
    asked, got = np.bincount(user, perfect), np.bincount(user, value)
    return jain_index(got[asked > 0] / asked[asked > 0])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
