"""Run directories: what is written reads back, atomically, and what does not fit is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceas.errors import DomainError, RunDirectoryError
from ceas.experiments.result_tables import TABLE_COLUMNS, read_table, write_table
from ceas.experiments.results import (
    CERTIFICATE_FILE,
    RESULT_KEYS,
    RUN_TABLES,
    RunResult,
    claim_run_directory,
    has_checkpoint,
    is_finished,
    plain_json,
    read_run,
    write_json,
    write_run,
)
from ceas.experiments.scenario import load_scenario

MakeResult = Callable[..., RunResult]


def assert_same_columns(one: Any, other: Any) -> None:
    assert list(one) == list(other)
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name], err_msg=name, strict=column.dtype != object)


def test_a_run_reads_back_as_written(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(seed=3)
    write_run(tmp_path / "run", result)
    again = read_run(tmp_path / "run")
    assert again.scenario == result.scenario
    assert again.summary == plain_json(result.summary)
    assert again.pair_sampling == result.pair_sampling
    assert again.certificate == plain_json(result.certificate)
    for name in RUN_TABLES:
        assert_same_columns(getattr(again, name), getattr(result, name))


def test_a_run_of_an_earlier_version_has_no_certificate(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, replace(make_result(), certificate=None))
    assert not (tmp_path / CERTIFICATE_FILE).exists()
    assert read_run(tmp_path).certificate is None


def test_what_was_not_measured_is_null_in_files(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(accuracies=[np.nan, 0.5, np.nan])
    write_run(tmp_path, result)
    column = pq.read_table(tmp_path / "rounds.parquet")["test_accuracy"].to_pylist()
    assert column == [None, 0.5, None]
    np.testing.assert_array_equal(read_run(tmp_path).rounds["test_accuracy"], [np.nan, 0.5, np.nan])


def test_counts_may_come_as_whole_floats(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    columns = dict(result.rounds) | {"generated": result.rounds["generated"].astype(np.float64)}
    write_table(tmp_path / "rounds.parquet", "rounds", columns)
    np.testing.assert_array_equal(read_table(tmp_path / "rounds.parquet", "rounds")["generated"], columns["generated"])
    with pytest.raises(DomainError, match="`generated`"):
        write_table(tmp_path / "x.parquet", "rounds", columns | {"generated": columns["generated"] + 0.5})


def test_the_sampling_of_pairs_is_beside_them(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, make_result(pair_sampling=7))
    assert pq.read_schema(tmp_path / "pairs.parquet").metadata == {b"sampling": b"7"}
    assert read_run(tmp_path).pair_sampling == 7


def test_json_is_sorted_and_holds_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": np.float64("nan"), "a": [np.int64(1), np.inf], "c": np.array([1.5, np.nan])})
    assert (tmp_path / "x.json").read_text() == json.dumps(
        {"a": [1, None], "b": None, "c": [1.5, None]}, indent=2
    ) + "\n"


@pytest.mark.parametrize("name", RUN_TABLES)
def test_a_missing_column_is_named(name: str, make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, make_result())
    path = tmp_path / f"{name}.parquet"
    column = list(TABLE_COLUMNS[name])[-1]
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(RunDirectoryError, match=f"{name}.parquet: column `{column}` is missing"):
        read_run(tmp_path)


def test_a_column_of_another_type_is_named(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, make_result())
    path = tmp_path / "rounds.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "round", table["round"].cast(pa.string())), path)
    with pytest.raises(RunDirectoryError, match="column `round` must be int64, but is string"):
        read_run(tmp_path)


def test_missing_counts_are_refused(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, make_result())
    path = tmp_path / "rounds.parquet"
    table = pq.read_table(path)
    nulls = pa.nulls(table.num_rows, pa.int64())
    pq.write_table(table.set_column(0, "round", nulls), path)
    with pytest.raises(RunDirectoryError, match="column `round` must have no missing values"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "rounds.parquet", "scenario.toml", CERTIFICATE_FILE])
def test_a_damaged_file_is_named(name: str, make_result: MakeResult, tmp_path: Path) -> None:
    write_run(tmp_path, make_result())
    (tmp_path / name).write_bytes(b"\x00 not what it was")
    with pytest.raises(RunDirectoryError, match=name):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "key", [f"{group}.{key}" if group else key for group, keys in RESULT_KEYS.items() for key in keys]
)
def test_a_missing_key_of_the_summary_is_named(key: str, make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    write_run(tmp_path, result)
    summary = json.loads((tmp_path / "result.json").read_text())
    group, _, last = key.rpartition(".")
    del (summary[group] if group else summary)[last]
    (tmp_path / "result.json").write_text(json.dumps(summary))
    with pytest.raises(RunDirectoryError, match=f"must have the key `{key}`"):
        read_run(tmp_path)


def test_writing_refuses_what_reading_would(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    without = {name: column for name, column in result.rounds.items() if name != "alive"}
    with pytest.raises(DomainError, match=r"lacks \['alive'\]"):
        write_table(tmp_path / "x.parquet", "rounds", without)
    with pytest.raises(DomainError, match=r"has \['extra'\] too many"):
        write_table(tmp_path / "x.parquet", "rounds", {**result.rounds, "extra": result.rounds["round"]})
    with pytest.raises(DomainError, match="columns of one length"):
        write_table(tmp_path / "x.parquet", "rounds", {**result.rounds, "alive": result.rounds["round"][:1]})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"version": 1})

    def fail(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"version": 2})
    assert json.loads(path.read_text()) == {"version": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_result_json_is_written_last(make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    move = os.replace

    def record(source: Any, target: Any) -> None:
        order.append(Path(target).name)
        move(source, target)

    monkeypatch.setattr("os.replace", record)
    write_run(tmp_path, make_result())
    assert order[-2:] == [CERTIFICATE_FILE, "result.json"]
    assert set(order) == {"scenario.toml", CERTIFICATE_FILE, "result.json", *(f"{name}.parquet" for name in RUN_TABLES)}


def test_unfinished_and_foreign_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no such folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        read_run(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / ".state.npz.tmp").touch()
    assert not has_checkpoint(tmp_path)
    (tmp_path / "checkpoint" / "state.npz").touch()
    assert has_checkpoint(tmp_path)
    with pytest.raises(RunDirectoryError, match="ceas resume"):
        read_run(tmp_path)


def test_claiming_a_folder_keeps_runs_and_replaces_them_when_told(make_result: MakeResult, tmp_path: Path) -> None:
    claim_run_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    write_run(tmp_path, make_result())
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="holds a finished run"):
        claim_run_directory(tmp_path)
    assert is_finished(tmp_path)
    claim_run_directory(tmp_path, overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "notes.txt"]


def test_claiming_an_unfinished_run_points_at_resume(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.npz").touch()
    with pytest.raises(RunDirectoryError, match=f"continue it with `ceas resume {tmp_path}`"):
        claim_run_directory(tmp_path)
    claim_run_directory(tmp_path, overwrite=True)
    assert not has_checkpoint(tmp_path)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        claim_run_directory(tmp_path / "run")


def test_the_scenario_in_the_folder_is_the_one_that_ran(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    write_run(tmp_path, result)
    assert load_scenario(tmp_path / "scenario.toml").scenario_id == result.scenario.scenario_id
