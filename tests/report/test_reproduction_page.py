"""The page of a reproduction."""

import json
from dataclasses import replace

import pytest

from ceas.errors import RunDirectoryError
from ceas.experiments.reproduce_tables import Claim, Interval
from ceas.report import write_report
from ceas.report.reproduction_page import reproduction_page

NONE = {"mean": 0.5, "low": None, "high": None}


def found(mean: float) -> dict[str, float]:
    return Interval(mean, mean - 0.02, mean + 0.02)._asdict()


def document() -> dict[str, object]:
    rules = (("mean", "mean", 0.4), ("trimmed mean", "robust", 0.6), ("ceas", "ours", 0.85))
    worst = [
        {
            "data": "digits",
            "attackers": f"{count} of 50",
            "scheduler": "ceas" if kind == "ours" else "oblivious",
            "rule": rule,
            "kind": kind,
            "worst case": found(level + 0.1 * (count == 0)),
        }
        for rule, kind, level in rules
        for count in (0, 15)
    ]
    by_attack = [
        {
            **{key: row[key] for key in ("data", "scheduler", "rule", "kind")},
            "attackers": 15,
            "attack": attack,
            "accuracy": found(0.5),
        }
        for row in worst[1::2]
        for attack in ("ALIE", "<MinMax>")
    ]
    claim = Claim(table="differences", text="at least 15 points", measured="+25.0", is_met=True)
    claims = [claim, replace(claim, is_met=False), replace(claim, is_met=None)]
    return {
        "kind": "reproduction",
        "plan": "quick",
        "scenario": "headline",
        "rounds": 3,
        "seeds": [0, 1],
        "ceas_version": "1",
        "command": "ceas reproduce --quick",
        "claims": [{name: getattr(one, name) for name in ("table", "text", "measured", "is_met")} for one in claims],
        "tables": [
            {"name": "accuracy", "title": "Worst case", "note": "A note.", "rows": worst},
            {"name": "by-attack", "title": "By attack", "note": "", "rows": by_attack},
            {"name": "empty", "title": "Empty", "note": "", "rows": []},
        ],
    }


def test_page_says_how_many_goals_are_reached_and_escapes_what_it_shows():
    page = reproduction_page(document())
    assert "Of 3 goals 1 are reached and 1 are missed; 1 cannot be told from so few seeds." in page
    assert "proves nothing" not in page
    assert "too few rounds, seeds and rivals to prove anything" in page
    assert "&lt;MinMax&gt;" in page
    assert "<MinMax>" not in page
    assert "ceas reproduce --quick" in page


def test_page_draws_one_seed_without_intervals():
    one = document()
    for table in one["tables"]:
        for row in table["rows"]:
            for key in ("worst case", "accuracy"):
                if key in row:
                    row[key] = NONE
    assert "0.5000" in reproduction_page(one)


def test_report_finds_a_reproduction_by_its_file(tmp_path):
    (tmp_path / "reproduction.json").write_text(json.dumps(document()))
    assert write_report([tmp_path]).read_text().count("<section") >= 4
    (tmp_path / "reproduction.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match="not a reproduction"):
        write_report([tmp_path])
    (tmp_path / "reproduction.json").write_text("{")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        write_report([tmp_path])
