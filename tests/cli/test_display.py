"""What people see: the progress display, numbers and tables."""

import math
from typing import Any

import pytest

from ceas.cli import printing
from ceas.cli.catalogue import tables_of
from ceas.cli.progress import progress_display
from ceas.experiments import ProgressEvent


def event(training_round: int, rounds: int = 100, phase: str = "training", **figures: float) -> ProgressEvent:
    return ProgressEvent(phase=phase, training_round=training_round, rounds=rounds, **figures)


def test_a_log_gets_a_line_for_every_tenth_and_every_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display() as show:
        show(event(0, phase="compiling"))
        for training_round in range(101):
            show(event(training_round))
    captured = capsys.readouterr()
    wanted = ["compiling 0/100", *(f"training {tenth}/100" for tenth in range(0, 101, 10))]
    assert captured.err.splitlines() == wanted
    assert captured.out == ""


def test_few_rounds_get_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display() as show:
        for training_round in range(4):
            show(event(training_round, rounds=3, test_accuracy=training_round / 4))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "training 3/3  test accuracy 0.750"
    assert len(lines) == 4


def test_a_terminal_gets_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_display() as show:
        show(event(50, phase="odd [phase]", test_accuracy=0.5, utilisation=0.875))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "50/100" in captured.err
    assert "odd [phase]" in captured.err
    assert "pairs used 87.5 %" in captured.err


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.81254, "0.8125"),
        (1e-7, "1e-07"),
        (12345678, "12345678"),
        (math.nan, "-"),
        (None, "-"),
        ("a", "a"),
        (True, "True"),
    ],
)
def test_numbers_for_people(value: Any, text: str) -> None:
    assert printing.text_of(value) == text


def test_tables_in_files_keep_long_lines_and_have_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 50 + "end"
    printing.print_rows([{"key": "[a]", "meaning": long}, {"key": "b", "meaning": "short"}], title="[title]")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[title]"
    assert any(long in line and "[a]" in line for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_rows([], title="[policies]")
    assert capsys.readouterr().out == "[policies]: nothing to show\n"


WIDE = [{"policy": "a" * 40, "value": 1.0 / 3, "none": None, "words": "b" * 90, "last": 12345678} for _ in range(2)]


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (200, ["policy", "value", "none", "words", "last"]),
        # 27 for each of the texts, which fold; 9, 7 and 11 for numbers; 2 for the edges.
        (83, ["policy", "value", "none", "words", "last"]),
        (82, ["policy", "value", "none", "words"]),
        (40, ["policy", "value"]),
        (5, ["policy"]),
    ],
)
def test_no_number_is_folded_on_a_narrow_terminal(width: int, kept: list[str]) -> None:
    assert printing.fitting_columns(WIDE, width) == kept


def test_columns_left_out_of_a_terminal_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "82")
    printing.print_rows(WIDE)
    shown = capsys.readouterr().out
    assert "12345678" not in shown
    assert "not shown for lack of width, see --json: last" in shown
    assert "0.3333" in shown


def test_a_table_of_several_settings_is_one_table_for_each() -> None:
    rows = [{"table": "t", "setting": setting, "policy": policy} for setting in ("x", "y") for policy in ("a", "b")]
    verdicts = [{"table": "v", "setting": setting, "verdict": "ahead"} for setting in ("x", "y")]
    others = [{"case": "z"}]
    assert tables_of([*rows, *verdicts, *others]) == {
        "t: x": [{"policy": "a"}, {"policy": "b"}],
        "t: y": [{"policy": "a"}, {"policy": "b"}],
        "v": [{"setting": "x", "verdict": "ahead"}, {"setting": "y", "verdict": "ahead"}],
        "": others,
    }
