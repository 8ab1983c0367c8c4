"""Which links attempt together: a matching of large total score in the nodes' attempts and memory; compiled.

Attempts granted from the highest score down are worth at least half of the best set. `improve_matching` does better by
exchanges: a link takes the place of those that block it at its two ends if its score is larger than theirs together, or
is so with those of the links that can then be chosen at the far ends of the blockers; and two links take the place of
one that blocks both. So up to three links replace two. It ends when no such exchange is found among the links that are
looked at again; a few are left where what has changed lies two nodes away (`_has_news`).
"""

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, compiled
from ceas.network.slot_policy import SlotSnapshot
from ceas.scheduling.price_tables import node_link, node_links_end, node_links_first

__all__ = ["improve_matching"]

_MOST_PASSES = 30
# An exchange must gain more than this share, lest rounding makes it go round in circles.
_LEAST_GAIN = 1e-9
# A link of a smaller share of what it would displace is not worth the search for links that make up for it.
_LEAST_SHARE = 0.6
_FREE, _HOPELESS = -1, -2


@compiled
def _lacks_memory(snapshot: SlotSnapshot, replace: npt.NDArray[np.int64], link: int, node: int) -> bool:
    """Tell whether the chosen links leave no memory at a node to one that needs some."""
    place = len(snapshot.edges) + len(snapshot.free_slots) + node
    return bool(replace[link] < 0 and snapshot.work_int[place] >= snapshot.free_slots[node])


@compiled
def _has_room(snapshot: SlotSnapshot, replace: npt.NDArray[np.int64], link: int, side: int) -> bool:
    """Tell whether nothing that is chosen blocks a link at one end."""
    node = as_index(snapshot.edges[link, side])
    is_busy = snapshot.work_int[len(snapshot.edges) + node] >= snapshot.attempts_per_slot[node]
    return not is_busy and not _lacks_memory(snapshot, replace, link, node)


@compiled
def _blocker(
    snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64], link: int, side: int
) -> int:
    """Return which chosen link would have to go at one end for this one: `_FREE` for none, `_HOPELESS` if none can."""
    node = as_index(snapshot.edges[link, side])
    if _has_room(snapshot, replace, link, side):
        return _FREE
    lacks_memory = _lacks_memory(snapshot, replace, link, node)
    least, blocker = np.inf, _HOPELESS
    for place in range(node_links_first(snapshot, node), node_links_end(snapshot, node)):
        other = node_link(snapshot, place)
        is_chosen = snapshot.work_int[other] == 1
        if is_chosen and score[other] < least and not (lacks_memory and replace[other] >= 0):
            least, blocker = score[other], other
    return blocker


@compiled
def _set_chosen(snapshot: SlotSnapshot, replace: npt.NDArray[np.int64], link: int, is_chosen: int) -> None:
    """Choose a link or give it up, and keep count of the attempts and memory of its ends."""
    n_links, n_nodes = len(snapshot.edges), len(snapshot.free_slots)
    snapshot.work_int[link] = is_chosen
    change = 1 if is_chosen == 1 else -1
    for side in range(2):
        node = as_index(snapshot.edges[link, side])
        snapshot.work_int[n_links + node] += change
        if replace[link] < 0:
            snapshot.work_int[n_links + n_nodes + node] += change


@compiled
def _mark_near(snapshot: SlotSnapshot, link: int, now: int) -> None:
    """Note that something has changed at both ends of a link, and near both ends of the links there.

    `work_float` holds when something changed at each node, and then when it did near each node.
    """
    near = len(snapshot.free_slots)
    for side in range(2):
        node = as_index(snapshot.edges[link, side])
        snapshot.work_float[node] = now
        for place in range(node_links_first(snapshot, node), node_links_end(snapshot, node)):
            other = node_link(snapshot, place)
            for end in range(2):
                snapshot.work_float[near + as_index(snapshot.edges[other, end])] = now


@compiled
def _has_news(snapshot: SlotSnapshot, link: int, last: int) -> bool:
    """Tell whether what decides about a link has changed since the last look at it, or by that look itself.

    For one that is not chosen that is what its ends have left and who is chosen there. A chosen one may give way to its
    neighbours, so the other ends of those count as well. What the far ends of those that block a link would let in is
    not followed, which would take 1.4 times as long for 0.0001 of the score: among 50 nodes of four links each, one
    exchange is left in 3 of 100 slots.
    """
    at = 0 if snapshot.work_int[link] == 0 else len(snapshot.free_slots)
    a, b = as_index(snapshot.edges[link, 0]), as_index(snapshot.edges[link, 1])
    return bool(snapshot.work_float[at + a] >= last or snapshot.work_float[at + b] >= last)


@compiled
def _best_free(
    snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64], link: int, side: int
) -> int:
    """Return the link of highest score, other than `link`, that can be chosen now at one end of `link`; -1 if none."""
    node = as_index(snapshot.edges[link, side])
    best, found = 0.0, -1
    for place in range(node_links_first(snapshot, node), node_links_end(snapshot, node)):
        other = node_link(snapshot, place)
        if other == link or snapshot.work_int[other] == 1 or score[other] <= best:
            continue
        if _has_room(snapshot, replace, other, 0) and _has_room(snapshot, replace, other, 1):
            best, found = score[other], other
    return found


@compiled
def _undo(
    snapshot: SlotSnapshot,
    replace: npt.NDArray[np.int64],
    link: int,
    refills: tuple[int, int],
    blockers: tuple[int, int],
) -> None:
    """Give up a link with those chosen after it, and choose those again that it had displaced."""
    _set_chosen(snapshot, replace, link, 0)
    for found in refills:
        if found >= 0:
            _set_chosen(snapshot, replace, found, 0)
    for blocker in blockers:
        # One link may have blocked both ends.
        if blocker >= 0 and snapshot.work_int[blocker] == 0:
            _set_chosen(snapshot, replace, blocker, 1)


@compiled
def _force_in(  # noqa: PLR0912 - both ends, looked at, given up and filled again
    snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64], link: int, now: int
) -> bool:
    """Choose a link in the place of those that block it, if that gains, also with links for what these leave free."""
    first, second = _FREE, _FREE
    cost = 0.0
    for side in range(2):
        blocker = _blocker(snapshot, score, replace, link, side)
        if blocker == _HOPELESS:
            return False
        if blocker >= 0 and blocker != first:
            cost += score[blocker]
        if score[link] <= _LEAST_SHARE * cost:
            return False
        if side == 0:
            first = blocker
        else:
            second = blocker
    needed = cost * (1.0 + _LEAST_GAIN)
    for side in range(2):
        blocker = first if side == 0 else second
        if blocker >= 0 and snapshot.work_int[blocker] == 1:
            _set_chosen(snapshot, replace, blocker, 0)
    _set_chosen(snapshot, replace, link, 1)
    got = score[link]
    third, fourth = -1, -1
    for side in range(2):
        blocker = first if side == 0 else second
        if got > needed or blocker < 0:
            continue
        node = as_index(snapshot.edges[link, side])
        found = _best_free(snapshot, score, replace, blocker, 1 if snapshot.edges[blocker, 0] == node else 0)
        if found >= 0:
            _set_chosen(snapshot, replace, found, 1)
            got += score[found]
        if side == 0:
            third = found
        else:
            fourth = found
    if got <= needed:
        _undo(snapshot, replace, link, (third, fourth), (first, second))
        return False
    _mark_near(snapshot, link, now)
    for changed in (first, second, third, fourth):
        if changed >= 0:
            _mark_near(snapshot, changed, now)
    return True


@compiled
def _split(
    snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64], link: int, now: int
) -> bool:
    """Put up to two links in the place of a chosen one, if that gains."""
    _set_chosen(snapshot, replace, link, 0)
    first, second = -1, -1
    got = 0.0
    for side in range(2):
        found = _best_free(snapshot, score, replace, link, side)
        if found >= 0:
            _set_chosen(snapshot, replace, found, 1)
            got += score[found]
        if side == 0:
            first = found
        else:
            second = found
    if got > score[link] * (1.0 + _LEAST_GAIN):
        _mark_near(snapshot, link, now)
        for side in range(2):
            found = first if side == 0 else second
            if found >= 0:
                _mark_near(snapshot, found, now)
        return True
    for side in range(2):
        found = first if side == 0 else second
        if found >= 0:
            _set_chosen(snapshot, replace, found, 0)
    _set_chosen(snapshot, replace, link, 1)
    return False


@compiled
def improve_matching(snapshot: SlotSnapshot, score: npt.NDArray[np.float64], replace: npt.NDArray[np.int64]) -> None:
    """Set the score of all links to 0 but those of a set that can attempt together, found by small exchanges.

    A link is looked at again only if something has changed at its ends or, if it is chosen, near them. Uses
    `work_int` and `work_float`.
    """
    n_links, n_nodes = len(snapshot.edges), len(snapshot.free_slots)
    looked_at = n_links + 2 * n_nodes
    for at in range(n_links + 2 * n_nodes):
        snapshot.work_int[at] = 0
    for link in range(n_links):
        snapshot.work_int[looked_at + link] = -1
    for at in range(2 * n_nodes):
        snapshot.work_float[at] = 0.0
    now = 0
    for _ in range(_MOST_PASSES):
        is_changed = False
        for link in range(n_links):
            if score[link] <= 0.0:
                continue
            if not _has_news(snapshot, link, snapshot.work_int[looked_at + link]):
                continue
            now += 1
            snapshot.work_int[looked_at + link] = now
            if snapshot.work_int[link] == 0:
                is_changed = _force_in(snapshot, score, replace, link, now) or is_changed
            else:
                is_changed = _split(snapshot, score, replace, link, now) or is_changed
        if not is_changed:
            break
    for link in range(n_links):
        if snapshot.work_int[link] == 0:
            score[link] = 0.0
