"""A tournament: which of many event sources is due first, kept while the times of single sources change.

`winner` is a binary tree in an array. Node k has the children 2 k and 2 k + 1, node 1 is the root, and the second half
of the array are the leaves, one a source in the order of the sources; spare leaves repeat the last source. Every node
names the source among its leaves that is due first. At one time that is the source of the lowest number, which stands
further left. So `winner[1]` is the first of all, and the tree depends on the times alone, not on their history.

A change plays again the matches from the source's leaf to the root. Their number is always the same, and their outcomes
are selected, not branched upon, which costs less than the fewer steps of a heap, which cannot be predicted.
"""

import numpy as np
import numpy.typing as npt

from ceas.network.compilation import as_index, compiled

__all__ = ["play_again", "play_all", "room_for_tournament"]


def room_for_tournament(n_sources: int) -> npt.NDArray[np.int64]:
    """Return an array for the tournament of a number of sources, to be filled by `play_all`."""
    n_leaves = 1 << max(n_sources - 1, 0).bit_length()
    return np.zeros(2 * n_leaves, dtype=np.int64)


@compiled
def play_again(time_ns: npt.NDArray[np.int64], winner: npt.NDArray[np.int64], source: int) -> None:
    """Find the winners anew after the time of one source has changed."""
    at = (len(winner) >> 1) + source
    first, first_ns = source, time_ns[source]
    while at > 1:
        other = as_index(winner[at ^ 1])
        other_ns = time_ns[other]
        # From the left the other wins at the same time, too.
        is_other_first = other_ns < first_ns + (at & 1)
        first = other if is_other_first else first
        first_ns = other_ns if is_other_first else first_ns
        at >>= 1
        winner[at] = first


@compiled
def play_all(time_ns: npt.NDArray[np.int64], winner: npt.NDArray[np.int64]) -> None:
    """Find all winners."""
    n_leaves = len(winner) >> 1
    for leaf in range(n_leaves):
        winner[n_leaves + leaf] = max(min(leaf, len(time_ns) - 1), 0)
    if len(time_ns) == 0:
        return
    for at in range(n_leaves - 1, 0, -1):
        left, right = winner[2 * at], winner[2 * at + 1]
        winner[at] = right if time_ns[right] < time_ns[left] else left
