"""`ceas qdba`: tables, one document, and one message for each mistake."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from ceas.cli import app


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["qdba", *arguments])


def test_a_table_a_protocol_and_the_comparison() -> None:
    result = call("--shots", "50", "--fidelity", "0.95,1")
    assert result.exit_code == 0, result.output
    for title in ("Detectable agreement", "Weak broadcast", "Common coin", "Pairs of one decision"):
        assert result.stdout.count(title) == 1
    assert "list_corruption" in result.stdout
    assert "TetraBFT, its128" in result.stdout


def test_one_protocol_as_one_document() -> None:
    arguments = ("--protocol", "ghz-coin", "--shots", "50", "--fidelity", "1", "--json", "--seed", "2")
    document = json.loads(call(*arguments).stdout)
    assert list(document["protocols"]) == ["ghz-coin"]
    assert (document["shots"], document["seed"], document["fidelities"]) == (50, 2, [1.0])
    assert document["protocols"]["ghz-coin"][0]["failure"] == 0.0
    assert {row["fidelity"] for row in document["pairs_per_decision"]} == {1.0}
    assert call(*arguments).stdout == call(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "eper"), "unknown protocol `eper`. Did you mean `epr`? Known: epr, weak-broadcast, ghz-coin."),
        (("--fidelity", "0.9,high"), "Option `--fidelity` must list numbers from 0.25 to 1, but has 'high'."),
        (("--fidelity", "0.1"), "Argument `fidelity` must be in [0.25, 1], but is 0.1."),
        (("--fidelity", "nan"), "Argument `fidelity` must be in [0.25, 1], but is nan."),
        (("--fidelity", ","), "Option `--fidelity` must list at least one name"),
        (("--target", "0"), "Argument `target` must be in (0, 1), but is 0.0."),
        (("--shots", "0"), "--shots"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_each_mistake_ends_with_one_message_and_status_2(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
