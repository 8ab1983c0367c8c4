"""Drawn schedules of Simplex, and rounds under real signatures."""

from typing import Any

import pytest

from ceas.authentication import ml_dsa_signers
from ceas.consensus import (
    NO_DIGEST,
    BlockProposal,
    BlockVote,
    Certificate,
    Certificates,
    Finalize,
    LeaveView,
    Phase,
    SignedValue,
    SimplexState,
    block_digest,
    value_digest,
)
from ceas.errors import DomainError
from ceas.runtime.simplex_network import SimplexOracle, run_simplex_schedule

CONDUCTS = ("silent", "twins", "mutant", "splitter", "echo", "liar")


def test_two_thousand_drawn_schedules_are_safe_and_live() -> None:
    results = [run_simplex_schedule(seed, largest=7) for seed in range(2000)]
    assert [result for result in results if result.violations or not result.is_live] == []
    # What is drawn has to be adverse enough to mean something.
    assert max(result.n_views for result in results) >= 6
    assert sum(result.n_restarts for result in results) >= 300
    assert {result.n_nodes for result in results} == {4, 5, 6, 7}


@pytest.mark.slow
@pytest.mark.parametrize("conduct", CONDUCTS)
def test_schedules_with_one_conduct_are_safe_and_live(conduct: str) -> None:
    results = [run_simplex_schedule(seed, conducts=(conduct,)) for seed in range(1000)]
    assert [result for result in results if result.violations or not result.is_live] == []


@pytest.mark.parametrize("n_nodes", [16, 31, 50])
def test_large_rosters(n_nodes: int) -> None:
    result = run_simplex_schedule(1, n_nodes=n_nodes, conducts=("silent", "splitter"))
    assert not result.violations
    assert result.is_live


@pytest.mark.parametrize("n_nodes", [4, 10])
def test_real_signatures(n_nodes: int) -> None:
    signers = ml_dsa_signers(n_nodes, seed=1, epoch=bytes(32))
    results = [run_simplex_schedule(seed, n_nodes=n_nodes, make_signer=lambda node: signers[node]) for seed in range(2)]
    assert all(result.is_live and not result.violations for result in results)


@pytest.mark.slow  # half a minute of signatures
def test_real_signatures_of_fifty_nodes() -> None:
    signers = ml_dsa_signers(50, seed=1, epoch=bytes(32))
    result = run_simplex_schedule(2, n_nodes=50, conducts=("silent",), make_signer=lambda node: signers[node])
    assert result.is_live
    assert not result.violations


def test_a_seed_replays_exactly() -> None:
    assert [run_simplex_schedule(seed) for seed in range(10)] == [run_simplex_schedule(seed) for seed in range(10)]
    assert run_simplex_schedule(3, n_nodes=7) != run_simplex_schedule(4, n_nodes=7)


def test_numbers_of_nodes_are_checked() -> None:
    for arguments in ({"smallest": 3}, {"smallest": 9, "largest": 8}, {"n_nodes": 3}):
        with pytest.raises(DomainError, match="nodes"):
            run_simplex_schedule(0, **arguments)  # type: ignore[arg-type]


# Every invariant fails where it should. Four nodes, node 3 Byzantine.
VALUES = {node: b"value %d" % node for node in range(4)}
ENTRIES = tuple((node, value_digest(0, node, VALUES[node])) for node in range(3))
X = block_digest(0, ENTRIES)
Y = b"y" * 32


def oracle() -> SimplexOracle:
    made = SimplexOracle(4, 1, 0, (0, 1, 2))
    for node in range(3):
        made.sent(node, SignedValue(VALUES[node], bytes(32), b""), SimplexState(value=VALUES[node]))
    assert made.violations == []
    return made


def voting(view: int = 0, digest: bytes = X) -> SimplexState:
    values = tuple((node, VALUES[node]) for node in range(3))
    return SimplexState(voted=(view, digest), blocks=(ENTRIES,), values=values)


def voted_by_two(view: int = 0) -> SimplexOracle:
    made = oracle()
    for node in (0, 1):
        made.sent(node, BlockVote(view, X, b""), voting(view))
    assert made.violations == []
    return made


def certificate(phase: Phase, view: int, digest: bytes) -> Certificate:
    return Certificate(phase, view, digest, ((0, b""), (1, b""), (3, b"")))


@pytest.mark.parametrize(
    ("invariant", "node", "message", "state"),
    [
        ("Persisted", 0, BlockVote(1, X, b""), voting()),
        ("Persisted", 0, SignedValue(VALUES[0], bytes(32), b""), None),
        ("Persisted", 0, Finalize(0, X, b""), SimplexState()),
        ("Persisted", 0, LeaveView(0, b""), None),
        ("Persisted", 0, BlockProposal(1, ENTRIES, (), (), b""), SimplexState(proposed=0)),
        ("OneValue", 0, SignedValue(b"other", bytes(32), b""), SimplexState(value=b"other")),
        ("OneVote", 0, BlockVote(0, Y, b""), voting(0, Y)),
        ("VoteHolds", 2, BlockVote(0, X, b""), SimplexState(voted=(0, X), blocks=(ENTRIES,))),
        ("VoteHolds", 2, BlockVote(0, X, b""), SimplexState(voted=(0, X))),
        ("JustifiedVote", 2, BlockVote(2, X, b""), voting(2)),
        ("Backed", 2, Finalize(0, Y, b""), SimplexState(finalized=(0, Y))),
        ("Backed", 2, Certificates((certificate(Phase.LEAVE, 0, NO_DIGEST),)), None),
        ("Backed", 2, Certificates((certificate(Phase.FINALIZE, 0, X),)), None),
    ],
)
def test_invariants_fail_where_they_should(invariant: str, node: int, message: Any, state: Any) -> None:
    made = voted_by_two()
    made.sent(node, message, state)
    assert made.violations
    assert made.violations[0].startswith(invariant)


def test_finalising_and_leaving_exclude_each_other() -> None:
    for order in (0, 1):
        made = voted_by_two()
        said = [
            (Finalize(0, X, b""), SimplexState(finalized=(0, X), left=0)),
            (LeaveView(0, b""), SimplexState(finalized=(0, X), left=0)),
        ]
        for message, state in said if order else reversed(said):
            made.sent(2, message, state)
        assert [text.split(":")[0] for text in made.violations] == ["NoFinalizeAfterLeave"]


def test_two_certificates_in_a_view_are_noticed() -> None:
    made = voted_by_two()
    made.wrote(0, SimplexState(certificate=certificate(Phase.VOTE, 0, X)))
    assert made.violations == []
    made._signers[Phase.VOTE, 0, Y] = {1, 2}
    made.wrote(2, SimplexState(certificate=certificate(Phase.VOTE, 0, Y)))
    assert made.violations[0].startswith("UniqueCertificate")


def test_a_later_vote_needs_a_certificate_or_views_left() -> None:
    made = voted_by_two()
    made.sent(2, BlockVote(1, X, b""), voting(1))
    assert made.violations == []  # X may be certified in view 0
    made = oracle()
    for node in (0, 1):
        made.sent(node, LeaveView(0, b""), SimplexState(left=0))
    made.sent(2, BlockVote(1, X, b""), voting(1))
    assert made.violations == []


def test_conclusions_are_compared() -> None:
    good = {node: VALUES[node] for node in range(3)}
    made = oracle()
    made.concluded(0, good)
    made.concluded(1, good)
    assert made.violations == []
    for values, invariant in (
        (good | {3: b"any"}, "Agreement"),
        ({0: VALUES[0], 1: VALUES[1]}, "Agreement"),
        (good | {2: b"not its own"}, "Agreement"),
    ):
        made = oracle()
        made.concluded(0, good)
        made.concluded(1, values)
        assert made.violations[0].startswith(invariant)
    for values in ({0: VALUES[0], 1: VALUES[1]}, good | {2: b"not its own"}, good | {3: b"bad"}):
        made = oracle()
        made.concluded(0, values)
        assert made.violations[0].startswith("Validity")
