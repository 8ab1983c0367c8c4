"""`ceas fuzz`: what it prints, and how failures and mistakes end."""

import json
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from ceas.cli import app
from ceas.consensus import Agreement, SimplexRound
from ceas.errors import DomainError
from ceas.experiments import fuzz as fuzz_module
from ceas.experiments import fuzz_certification as certified_module
from ceas.experiments.fuzz import fuzz_consensus
from ceas.runtime.agreement_network import run_schedule
from ceas.runtime.round_network import run_round_schedule
from ceas.runtime.simplex_network import run_simplex_schedule


class Believing(Agreement):
    """Believes one decision."""

    def _n_decided(self, members: int) -> int:
        return self._quorum if super()._n_decided(members) else 0


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["fuzz", *arguments])


def test_it_prints_counts() -> None:
    done = call("consensus", "--schedules", "6", "--seed", "3", "--n-nodes", "4-7", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schedules"] == 6
    assert found["first_seed"] == 3
    assert found["n_nodes"] == "4-7"
    assert found["safety_violations"] == found["liveness_failures"] == 0
    assert found["failed_seeds"] == found["failures"] == []
    assert sum(found["schedules_of_size"].values()) == 6
    assert found["part"] == "round"
    assert found["schedules_of_part"] == {"round": 6}
    results = [run_round_schedule(seed, smallest=4, largest=7) for seed in range(3, 9)]
    assert found["decisions"] == sum(result.n_decisions for result in results)
    assert found["views"] == sum(result.n_views for result in results)
    assert found["messages"] == sum(result.n_messages for result in results)
    mixed = json.loads(
        call("consensus", "--schedules", "6", "--seed", "3", "--n-nodes", "4-7", "--part", "all", "--json").stdout
    )
    assert mixed["schedules_of_part"] == {"agreement": 2, "round": 4}
    assert mixed["messages"] == sum(
        (run_round_schedule if seed % 4 else run_schedule)(seed, smallest=4, largest=7).n_messages
        for seed in range(3, 9)
    )
    shown = call("consensus", "--schedules", "2", "--n-nodes", "5")
    assert shown.exit_code == 0
    assert "schedules_per_s" in shown.stdout


def test_failing_seeds_are_told_and_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_module, "run_schedule", partial(run_schedule, make_agreement=Believing))
    found = json.loads(
        call("consensus", "--schedules", "10", "--n-nodes", "4-7", "--part", "agreement", "--json").stdout
    )
    assert found["safety_violations"] > 0
    first = found["failures"][0]
    assert first["seed"] == found["failed_seeds"][0]
    again = call(
        "consensus", "--schedules", "1", "--seed", str(first["seed"]), "--n-nodes", "4-7", "--part", "agreement"
    )
    assert again.exit_code == 1
    assert first["failure"].split(":")[0] in again.stdout
    assert (
        f"replay: ceas fuzz consensus --schedules 1 --seed {first['seed']} --n-nodes 4-7 --part agreement"
        in again.stdout
    )


def test_the_comparison_protocol() -> None:
    done = call("consensus", "--protocol", "simplex", "--schedules", "4", "--seed", "5", "--n-nodes", "4-6", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["protocol"] == "simplex"
    assert found["messages"] == sum(run_simplex_schedule(s, smallest=4, largest=6).n_messages for s in range(5, 9))


def test_failing_seeds_of_the_comparison_protocol_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(SimplexRound):
        """Never asks to leave a view."""

        def _leave(self, now_ns: int, out: list[Any]) -> None:
            pass

    monkeypatch.setattr(fuzz_module, "run_simplex_schedule", partial(run_simplex_schedule, make_round=Silent))
    done = call("consensus", "--protocol", "simplex", "--schedules", "20", "--n-nodes", "4-7")
    assert done.exit_code == 1
    assert "replay: ceas fuzz consensus --schedules 1 --seed" in done.stdout
    assert "--protocol simplex" in done.stdout


def test_certified_blocks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("certification", "--trials", "3", "--pairs", "384", "--tests", "128")
    done = call(*options, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["trials"], found["pairs"], found["tests"], found["delta"]) == (3, 384, 128, 0.01)
    assert found["failures"] == []
    assert {row["trials"] for row in found["attacks"]} == {3}
    assert next(row for row in found["attacks"] if row["attack"] == "honest")["flagged"] == 0
    # Half of all blocks certified too high is a failure, and fails the command.
    above = next(row for row in found["attacks"] if row["attack"] == "mixed_pairs") | {"holds": False}
    monkeypatch.setattr(certified_module, "_link_row", lambda *_, **__: above)
    failed = call(*options)
    assert failed.exit_code == 1
    assert "mixed_pairs" in failed.stdout
    assert "Outside the guarantee" in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("consensu",), "unknown target `consensu`. Did you mean `consensus`?"),
        (("consensus", "--protocol", "simple"), "unknown protocol `simple`. Did you mean `simplex`?"),
        (("consensus", "--trials", "9"), "`--trials` is not one of `ceas fuzz consensus`, but is 9"),
        (("certification", "--schedules", "9"), "`--schedules` is not one of `ceas fuzz certification`, but is 9"),
        (("certification", "--trials", "0"), "`--trials` must be at least 1, but is 0"),
        (("certification", "--pairs", "3000"), "`--pairs` must be in [3 x `--tests`, 2**20] = [3072, 1048576]"),
        (("certification", "--delta", "0.5"), "`--delta` must be in (0, 0.25], but is 0.5"),
        (("consensus", "--n-nodes", "3-9"), "`--n-nodes` must be a range within 4-64, but is 3-9"),
        (("consensus", "--n-nodes", "9-4"), "`--n-nodes` must be a range within 4-64, but is 9-4"),
        (("consensus", "--n-nodes", "4-65"), "but is 4-65"),
        (("consensus", "--n-nodes", "many"), "must have the form A-B, for example 4-16, but is 'many'"),
        (("consensus", "--part", "rounds"), "unknown part `rounds`. Did you mean `round`?"),
        (("consensus", "--schedules", "0"), "`--schedules` must be at least 1, but is 0"),
        (("consensus", "--workers", "0"), "`--workers` must be at least 1, but is 0"),
    ],
)
def test_mistakes_end_with_one_message(arguments: tuple[str, ...], text: str) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_counts_do_not_depend_on_the_workers() -> None:
    found = [dict(fuzz_consensus(schedules=120, workers=workers)) for workers in (1, 2)]
    for one in found:
        del one["wall_s"], one["schedules_per_s"]
    assert found[0] == found[1]
    with pytest.raises(DomainError, match="schedules"):
        fuzz_consensus(schedules=0)
