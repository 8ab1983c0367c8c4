"""The tournament of event times against a plain search."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.network.policy import NEVER
from ceas.network.tournament import play_again, play_all, room_for_tournament

# Few different times, so that many sources are due at one time; and the largest that there is.
TIMES = st.one_of(st.integers(0, 3), st.just(NEVER))


@given(
    st.lists(TIMES, min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 1 << 16), TIMES), max_size=40),
)
@settings(deadline=None)
def test_the_winner_is_the_first_source_of_the_least_time(times: list[int], changes: list[tuple[int, int]]) -> None:
    time_ns = np.array(times, dtype=np.int64)
    winner = room_for_tournament(len(time_ns))
    play_all(time_ns, winner)
    assert winner[1] == np.argmin(time_ns)
    for pick, time in changes:
        source = pick % len(time_ns)
        time_ns[source] = time
        play_again(time_ns, winner, source)
        assert winner[1] == np.argmin(time_ns)
    anew = room_for_tournament(len(time_ns))
    play_all(time_ns, anew)
    np.testing.assert_array_equal(winner, anew)


def test_a_tournament_of_nobody_reads_no_time() -> None:
    winner = room_for_tournament(0)
    play_all(np.zeros(0, dtype=np.int64), winner)
    assert not winner.any()
