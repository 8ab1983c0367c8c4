"""The good case of both protocols, held against closed forms of delays, frames, bytes and signatures."""

import pytest

from ceas.authentication import HEADER_BYTES, ML_DSA_SIGNATURE_BYTES
from ceas.consensus import max_tolerated
from ceas.errors import DomainError
from ceas.experiments.benchmark_consensus import benchmark, run_good_case


@pytest.mark.parametrize("n", [4, 10])
def test_simplex_costs_what_its_closed_forms_say(n: int) -> None:
    found = run_good_case("simplex", n, value_bytes=100)
    f = max_tolerated(n)
    assert found.delays == 4
    assert found.frames == 3 * n * (n - 1) + n - 1
    signed = 2 + ML_DSA_SIGNATURE_BYTES
    value, vote = 32 + signed + 100, 4 + 32 + signed
    proposal = 4 + 2 + 34 * n + 2 + n * signed + 2 + signed
    everybody = n * (n - 1) * (3 * HEADER_BYTES + value + 2 * vote)
    assert sum(found.bytes_of) == everybody + (n - 1) * (HEADER_BYTES + proposal)
    # Everyone signs its value, vote and finalisation, the leader its proposal.
    assert found.n_made == 3 * n + 1
    # Everyone checks all other values, the proposal, and votes and finalisations up to a quorum with its own.
    assert found.n_checked == n * ((n - 1) + 2 * (n - f - 1)) + n - 1


@pytest.mark.parametrize("n", [4, 10])
def test_tetrabft_costs_what_its_closed_forms_say(n: int) -> None:
    found = run_good_case("tetrabft", n)
    assert found.delays == 8
    assert found.frames == found.n_made == found.n_checked == 8 * n * (n - 1) + n - 1


def test_rows_and_mistakes() -> None:
    rows = benchmark(nodes=(4, 50), quick=True)
    assert [(row["protocol"], row["nodes"]) for row in rows] == [("tetrabft", 4), ("simplex", 4)]
    for arguments in ({"nodes": (3,)}, {"nodes": ()}, {"parameters": 0}):
        with pytest.raises(DomainError, match="Argument"):
            benchmark(**arguments)  # type: ignore[arg-type]
