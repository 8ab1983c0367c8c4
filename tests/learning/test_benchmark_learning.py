import pytest

from ceas.errors import DomainError
from ceas.experiments import benchmark_learning
from ceas.experiments.benchmark_learning import benchmark


def test_a_missing_peer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_learning, "PEERS", {"tensorcircuit-ng DMCircuit": "no_such_module"})
    ours, theirs = benchmark((2,), n_runs=1)
    assert (ours["program"], ours["status"], ours["times_ceas"]) == ("ceas", "ok", 1.0)
    assert ours["run_ms"] > 0
    assert theirs["status"] == "not installed (pip install -e '.[bench]')"
    assert theirs.keys() == ours.keys()
    assert theirs["run_ms"] is None


@pytest.mark.slow
def test_all_programs_agree_on_losses_and_gradients() -> None:
    rows = benchmark((3,), n_runs=1)
    assert [row["status"] for row in rows] == ["ok"] * len(benchmark_learning.PROGRAMS)
    assert max(row["maximum_difference"] for row in rows) <= 1e-5


@pytest.mark.parametrize(("qubits", "n_runs"), [((1,), 1), ((), 1), ((4,), 0)])
def test_sizes_without_meaning_are_refused(qubits: tuple[int, ...], n_runs: int) -> None:
    with pytest.raises(DomainError):
        benchmark(qubits, n_runs=n_runs)
