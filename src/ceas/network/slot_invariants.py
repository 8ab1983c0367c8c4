"""What must hold in every slot of a slotted network, and what a policy may do wrong: checks and messages."""

import numpy as np
import numpy.typing as npt

from ceas.errors import CeasError, DomainError
from ceas.network.compilation import inlined
from ceas.network.slot_policy import DISCARD, PURIFY
from ceas.network.slot_state import (
    DISCARDED,
    EXPIRED,
    GENERATED,
    LOST,
    MISTAKE,
    MISTAKE_LINK,
    MISTAKE_PAIR,
    MISTAKE_ROW,
    PURIFIED,
    SLOT,
    USED,
    SlottedState,
)
from ceas.network.slots import PairFate, PairLives, RequestTable, SamplePath, SlottedNetwork, SlottedRecord

__all__ = ["audit_lives"]

(
    NO_PAIR_TO_REPLACE,
    NO_SUCH_LINK,
    NO_SUCH_PAIR,
    PAIR_CHOSEN_TWICE,
    NO_SUCH_REQUEST,
    REQUEST_NOT_WAITING,
    REQUEST_NOT_ARRIVED,
    BAD_NUMBER_OF_ACTIONS,
) = range(1, 9)
BROKEN_LIFE, BROKEN_MEMORY, BROKEN_ATTEMPTS, BROKEN_STOCK, BROKEN_COUNT = range(20, 25)

_BROKEN = {
    BROKEN_LIFE: "pair {pair} is used twice or after its end",
    BROKEN_MEMORY: "the free memory slots of node {link} are not those that its pairs leave",
    BROKEN_ATTEMPTS: "node {link} makes more attempts than it can",
    BROKEN_STOCK: "the stock of link {link} is out of order or holds a pair after its end",
    BROKEN_COUNT: "the pairs of link {link} that were born are not those stored and ended",
}


class InvariantError(CeasError):
    """The engine itself broke one of its invariants, in debug mode."""


def mistake_error(state: SlottedState, policy: str) -> CeasError:
    """Return the error for what a policy, or the engine, did wrong."""
    mistake, row = int(state.numbers[MISTAKE]), int(state.numbers[MISTAKE_ROW])
    link, pair, slot = (int(state.numbers[at]) for at in (MISTAKE_LINK, MISTAKE_PAIR, SLOT))
    if mistake in _BROKEN:
        return InvariantError(f"In slot {slot} {_BROKEN[mistake].format(link=link, pair=pair)}.")
    if mistake == BAD_NUMBER_OF_ACTIONS:
        return DomainError(
            f"Policy `{policy}` must take between 0 and {len(state.action)} actions, but takes {row} in slot {slot}."
        )
    if mistake == NO_PAIR_TO_REPLACE:
        return DomainError(
            f"Policy `{policy}` must replace a stored pair, but wants that at position {pair} of link {link}, which "
            f"holds {int(state.n_stored[link])}, in slot {slot}."
        )
    action = int(state.action[row])
    what = {PURIFY: "a purification", DISCARD: "a discard"}.get(action, f"the service of request {action}")
    wrong = {
        NO_SUCH_LINK: f"there is no link {link}",
        NO_SUCH_PAIR: f"link {link} has no pair at position {pair}",
        PAIR_CHOSEN_TWICE: f"the pair at position {pair} of link {link} is chosen twice",
        NO_SUCH_REQUEST: "there is no such request",
        REQUEST_NOT_WAITING: "it does not wait, or is served twice",
        REQUEST_NOT_ARRIVED: f"it arrives in slot {int(state.arrival[action]) if action >= 0 else -1}"
        if mistake == REQUEST_NOT_ARRIVED
        else "",
    }[mistake]
    return DomainError(f"Policy `{policy}` chose {what} in slot {slot}, action {row}, but {wrong}.")


@inlined
def check_invariants(state: SlottedState) -> None:
    """Note the first invariant that does not hold at the end of a slot."""
    recount = state.memory_left
    for node in range(len(recount)):
        recount[node] = state.memory_slots[node]
    for link in range(len(state.edges)):
        n_stored = state.n_stored[link]
        recount[state.edges[link, 0]] -= n_stored
        recount[state.edges[link, 1]] -= n_stored
        ended = 0
        for row in (USED, LOST, PURIFIED, EXPIRED, DISCARDED):
            ended += state.counts[row, link]
        if state.counts[GENERATED, link] != ended + n_stored:
            state.numbers[MISTAKE], state.numbers[MISTAKE_LINK] = BROKEN_COUNT, link
        for position in range(n_stored):
            is_late = state.stock_expiry[link, position] < state.numbers[SLOT]
            is_early = position > 0 and state.stock_birth[link, position] < state.stock_birth[link, position - 1]
            if is_late or is_early or state.used[link, position] != 0:
                state.numbers[MISTAKE], state.numbers[MISTAKE_LINK] = BROKEN_STOCK, link
    for node in range(len(recount)):
        if recount[node] < 0 or recount[node] != state.free_slots[node]:
            state.numbers[MISTAKE], state.numbers[MISTAKE_LINK] = BROKEN_MEMORY, node
        if state.attempts_left[node] < 0:
            state.numbers[MISTAKE], state.numbers[MISTAKE_LINK] = BROKEN_ATTEMPTS, node


def audit_lives(
    network: SlottedNetwork, requests: RequestTable, path: SamplePath, record: SlottedRecord, lives: PairLives
) -> None:
    """Check a finished run by the lives of its pairs, independently of the engine's own counting.

    Raises:
        InvariantError: Pairs are born without a success or two a slot on a link, a node holds or makes more than it
            can, a pair outlives its link's lifetime though never purified, pairs and requests do not match, or the sums
            of the record are not those of the lives.
    """
    n_slots, n_links = record.n_slots, network.n_links
    born = np.zeros((n_slots, n_links), dtype=np.int64)
    np.add.at(born, (lives.birth_slot, lives.link), 1)
    _require(bool((born <= path.success[:n_slots]).all()), "a pair is born without a success of its link")
    births = _by_node(network, born)
    _require(bool((births <= network.attempts_per_slot).all()), "a node makes more pairs in a slot than attempts")
    # A pair is held after the service of every slot from its birth to the one before its end.
    ends = np.zeros((n_slots + 1, n_links), dtype=np.int64)
    np.add.at(ends, (np.maximum(lives.end_slot, 0), lives.link), 1)
    held = np.cumsum(born - ends[:n_slots], axis=0)
    _require(bool((_by_node(network, held) <= network.memory_slots).all()), "a node holds more pairs than its memory")
    _require(bool((held.sum(axis=0) == record.occupancy).all()), "the occupancy is not that of the lives")
    age = lives.end_slot - lives.birth_slot
    limit = network.lifetime_slots[lives.link] + (lives.fate == PairFate.EXPIRED)
    limit += lives.fate == PairFate.STORED
    is_old = (age > limit) & (record.purified[lives.link] == 0)
    _require(not bool(is_old.any()), "a pair is used after its lifetime")
    for fate, counted in (
        (PairFate.STORED, record.stored),
        (PairFate.USED, record.used),
        (PairFate.LOST, record.lost),
        (PairFate.PURIFIED, record.purified),
        (PairFate.EXPIRED, record.expired),
        (PairFate.DISCARDED, record.discarded),
    ):
        found = np.bincount(lives.link[lives.fate == fate], minlength=n_links)
        _require(bool((found == counted).all()), f"the pairs of fate {fate.name} are not those of the record")
    _audit_service(requests, record, lives)


def _audit_service(requests: RequestTable, record: SlottedRecord, lives: PairLives) -> None:
    served, slot = record.served_request, record.served_slot
    _require(len(np.unique(served)) == len(served), "a request is served twice")
    in_time = (requests.arrival[served] <= slot) & (slot <= requests.deadline[served])
    _require(bool(in_time.all()), "a request is served before its arrival or after its deadline")
    used = lives.fate == PairFate.USED
    taken = np.bincount(lives.request[used], minlength=len(requests))
    wanted = np.zeros(len(requests), dtype=np.int64)
    wanted[served] = (np.diff(requests.route_first) * requests.n_pairs)[served]
    _require(bool((taken == wanted).all()), "a request does not take the pairs that it needs")
    slot_of = np.full(len(requests), -1)
    slot_of[served] = slot
    _require(bool((lives.end_slot[used] == slot_of[lives.request[used]]).all()), "a pair is used in another slot")
    on_route = np.isin(
        lives.request[used] * (1 << 32) + lives.link[used],
        np.repeat(np.arange(len(requests)), np.diff(requests.route_first)) * (1 << 32) + requests.route_link,
    )
    _require(bool(on_route.all()), "a request takes a pair of a link that is not on its route")


def _by_node(network: SlottedNetwork, by_link: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sum `(slots, links)` over the links of each node."""
    by_node = np.zeros((network.n_nodes, len(by_link)), dtype=np.int64)
    for end in range(2):
        np.add.at(by_node, network.edges[:, end], by_link.T)
    return by_node.T


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise InvariantError(f"In a finished run {broken}.")
