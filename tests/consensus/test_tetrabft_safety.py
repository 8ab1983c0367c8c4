"""The safety rule of a view change against a literal reading of its specification: all quorums, all blocking sets."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.consensus import amplification_quorum, is_safe, max_tolerated, quorum
from ceas.consensus.tetrabft import Report

SETS = (1, 2, 3)


def groups(reports: Sequence[Report], size: int) -> Iterator[Sequence[Report]]:
    return (group for n in range(size, len(reports) + 1) for group in combinations(reports, n))


def claims(report: Report, u: int, members: int) -> bool:
    _, highest, previous = report
    return (
        u == 0
        or (highest is not None and u <= highest[0] and highest[1] == members)
        or (previous is not None and u <= previous[0])
    )


def is_safe_by_the_specification(
    view: int, members: int, reports: Sequence[Report], n_quorum: int, n_blocking: int, *, is_ordered: bool
) -> bool:
    """ShowsSafeAt of the TLA+ specification; `is_ordered` asks for r3 < r4 as there, else for r3 and r4 from r2 up."""

    def blocking_set_claims(u: int, x: int) -> bool:
        return any(all(claims(one, u, x) for one in group) for group in groups(reports, n_blocking))

    def two_sets_are_claimed(u: int) -> bool:
        views = range(u, view)
        return any(
            blocking_set_claims(r3, x) and blocking_set_claims(r4, y)
            for x in SETS
            for y in SETS
            for r3 in views
            for r4 in views
            if x != y and (r3 < r4 or not is_ordered)
        )

    if view == 0:
        return True
    for members_of_quorum in groups(reports, n_quorum):
        lasts = [last for last, _, _ in members_of_quorum if last is not None]
        if not lasts:
            return True
        for u in range(view):
            if all(last[0] < u or last == (u, members) for last in lasts) and (
                blocking_set_claims(u, members) or two_sets_are_claimed(u)
            ):
                return True
    return False


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, list[Report]]:
    n_nodes = draw(st.sampled_from((4, 5)))
    view = draw(st.integers(1, 4))
    ballot = st.none() | st.tuples(st.integers(0, view - 1), st.sampled_from(SETS))
    reports = draw(st.lists(st.tuples(ballot, ballot, ballot), min_size=0, max_size=n_nodes))
    return n_nodes, view, draw(st.sampled_from(SETS)), reports


@given(cases())
@settings(max_examples=400, deadline=None)
def test_the_rule_is_that_of_the_specification(case: tuple[int, int, int, list[Report]]) -> None:
    n_nodes, view, members, reports = case
    f = max_tolerated(n_nodes)
    sizes = quorum(n_nodes, f), amplification_quorum(f)
    found = is_safe(view, members, reports, quorum_size=sizes[0], blocking_size=sizes[1])
    assert found == is_safe_by_the_specification(view, members, reports, *sizes, is_ordered=False)
    if is_safe_by_the_specification(view, members, reports, *sizes, is_ordered=True):
        assert found


X, Y, Z = 0b0111, 0b1011, 0b1101


@pytest.mark.parametrize(
    ("reports", "members", "expected", "why"),
    [
        ([(None, None, None)] * 2, X, False, "no quorum has reported"),
        ([(None, (2, Y), None)] * 3, X, True, "S1: nobody voted in the deciding phase"),
        ([((1, X), (1, X), None)] * 3, X, True, "S2 a: all vouch for it"),
        ([((1, X), (1, X), None)] * 3, Y, False, "another set may have been decided"),
        ([((1, X), (2, Y), (1, X))] * 3, X, True, "S2 a: earlier votes for two sets vouch for any"),
        ([((1, X), (2, Y), None)] * 3, X, False, "the votes since then are for another set only"),
        ([((1, X), (0, X), None)] * 3, X, False, "the votes are from before"),
        ([((0, X), None, None)] * 3, X, True, "S2 a: everything is safe at view 0"),
        ([((0, X), None, None)] * 3, Y, False, "at view 0 it was another set"),
        ([((1, X), (2, X), None), ((2, Y), (2, Y), None), ((1, X), (2, X), None)], X, False, "one voted later"),
        ([((1, X), (2, X), None), ((2, Y), (2, Y), None)] + [((1, X), (2, X), None)] * 2, X, True, "it is not needed"),
        ([((1, X), (2, Y), None)] * 2 + [((1, X), (3, Z), None)] * 2, X, True, "S2 b"),
        ([((1, X), (2, Y), None)] * 2 + [((1, X), (3, Z), None)] * 2, 0b1110, True, "S2 b at view 2: any set"),
        ([((1, X), (2, Y), None)] * 2 + [((1, X), (3, Z), None)], 0b1110, False, "Z has one vote, which may lie"),
    ],
)
def test_cases_of_the_rule(reports: list[Report], members: int, expected: bool, why: str) -> None:
    assert is_safe(4, members, reports, quorum_size=3, blocking_size=2) is expected, why
