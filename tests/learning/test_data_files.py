"""A user's own files: what is read, in which order labels come, and that every mistake is named by its place."""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning.data import Dataset, Preparation
from ceas.learning.data_files import _mapped, load_file

PARTS = ("train", "validation", "test")
RAW = Preparation(n_features=2, features="raw", scaling="min_max", angle_range=(0.0, 1.0))


def loaded(path: Path, preparation: Preparation = RAW, **own: Any) -> Dataset:
    return load_file(preparation, path=path, rng=np.random.default_rng(0), **own)


def rows(n_samples: int = 20) -> list[tuple[float, float, str]]:
    """Return samples whose features run from 0 to 1, the label saying in which half the first is."""
    return [(i / (n_samples - 1), 1 - i / (n_samples - 1), "ba"[2 * i // n_samples]) for i in range(n_samples)]


def csv_file(folder: Path, *, header: str | None = None, order: str = "012", delimiter: str = ",") -> Path:
    lines = [delimiter.join(str(row[int(place)]) for place in order) for row in rows()]
    path = folder / "data.csv"
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("layout", "own"),
    [
        ({}, {}),
        ({"header": "x,y,kind"}, {}),
        ({"header": "x,y,kind"}, {"label_column": "kind"}),
        ({"header": " x , y , kind "}, {"label_column": "kind"}),
        ({"order": "201"}, {"label_column": 0}),
        ({"order": "021"}, {"label_column": -2}),
        ({"header": "x;y;kind", "delimiter": ";"}, {"label_column": "kind", "delimiter": ";"}),
        ({"header": "x,name,y,kind", "order": "0212"}, {"label_column": "kind", "drop_columns": ["name"]}),
        ({"order": "20012"}, {"drop_columns": [0, 2]}),
        ({"header": ",x,y,kind", "order": "2012"}, {"drop_columns": [0], "label_column": "kind"}),
        ({"header": "ä,x,y,kind", "order": "2012"}, {"drop_columns": [0], "label_column": "kind"}),
    ],
)
def test_samples_of_a_csv_file_are_read(tmp_path: Path, layout: dict[str, str], own: dict[str, Any]) -> None:
    path = csv_file(tmp_path, **layout)
    dataset = loaded(path, **own)
    assert dataset.class_names == ("a", "b")
    angles = np.concatenate([getattr(dataset, f"{part}_angles") for part in PARTS])
    labels = np.concatenate([getattr(dataset, f"{part}_labels") for part in PARTS])
    assert angles.shape == (20, 2)
    order = np.argsort(angles[:, 0])
    np.testing.assert_array_equal(labels[order], np.repeat([1, 0], 10))  # sorted: a is 0, b is 1
    np.testing.assert_allclose(np.diff(angles[order], axis=0) / [1, -1], np.diff(angles[order], axis=0)[0, 0])
    assert hashlib.sha256(path.read_bytes()).hexdigest() in dataset.source


def test_quotes_line_breaks_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    lines = "".join(f'{x},{y},"kind,\r\n{label}"\r\n' for x, y, label in rows())
    path = tmp_path / "data.CSV"
    path.write_bytes(b"\xef\xbb\xbf" + f"x,y,kind\r\n\r\n{lines}".encode())
    assert loaded(path, label_column="kind").class_names == ("kind,\r\na", "kind,\r\nb")


@pytest.mark.parametrize(
    ("labels", "names", "index"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        (["10", "9", "10.0"], ("9", "10"), [1, 0, 1]),
        (["1", "-1", "1"], ("-1", "1"), [1, 0, 1]),
        (["0.1", "1e-3", "2"], ("0.001", "0.1", "2"), [1, 0, 2]),
        (["10", "9", "x"], ("10", "9", "x"), [0, 1, 2]),
        (["True", "False"], ("False", "True"), [1, 0]),
        (["nan", "1"], ("1", "nan"), [1, 0]),
    ],
)
def test_labels_of_any_kind_are_numbered_in_order(labels: list[str], names: tuple[str, ...], index: list[int]) -> None:
    found, found_names = _mapped(labels)
    assert found_names == names
    np.testing.assert_array_equal(found, index)


@pytest.mark.parametrize(
    ("text", "own", "message"),
    [
        ("1,2,a\n3,,b\n", {}, "line 2, column `1`: must be a finite number, but is empty; missing"),
        ("1,,a\n3,4,b\n", {}, "line 1, column `1`: must be a finite number, but is empty; missing"),
        ("NA,2,a\n3,4,b\n", {}, "line 1, column `0`: must be a finite number, but is `NA`; missing"),
        ("?,?,a\n3,4,b\n", {}, "line 1, column `0`: must be a finite number, but is `?`; missing"),
        (",x,k\n0,1,a\n1,2,b\n", {}, "line 1: every feature must have a name, but column 0 has none"),
        ("x,y,k\n1,2,a\n\n3,NA,b\n", {}, "line 4, column `y`: must be a finite number, but is `NA`"),
        ("x,y,k\n1,2,a\nnan,2,b\n", {}, "line 3, column `x`: must be a finite number, but is `nan`"),
        ("1,2,a\n-inf,2,b\n", {}, "line 2, column `0`: must be a finite number, but is `-inf`"),
        ("1,2,a\n3,4, \n", {}, "line 2, column `2`: must be a label, but is empty"),
        ("1,2,a\n3,4\n", {}, "line 2: must have 3 cells, but has 2"),
        ("x,y,k\n", {"label_column": "k"}, "must hold samples, but has nothing but a header"),
        ("\n\n", {}, "must hold samples, but is empty"),
        ("1,2,a\n3,4,a\n", {}, "the labels must be two or more different ones, but all are `a`"),
        ("x,y,kind\n1,2,a\n", {"label_column": "kin"}, "one column `kin`, but there are 0. Did you mean `kind`"),
        ("x,x,k\n1,2,a\n", {"label_column": "x"}, "one column `x`, but there are 2. Columns: x, x, k"),
        ("1,2,a\n", {"label_column": 3}, "column 3 must be one of the 3 columns"),
        ("1,2,a\n", {"label_column": 0, "drop_columns": [-3]}, "there must be a label and a feature"),
        ("1,a\n", {"drop_columns": [0]}, "there must be a label and a feature"),
        ("1,2,a\n", {"drop_columns": [1.5]}, "`drop_columns` must tell columns by name or whole number, but has 1.5"),
        ("1,2,a\n", {"label_column": True}, "`label_column` must tell columns by name or whole number, but has True"),
        ('1,2,"a\n3,4,b\n', {}, "must be CSV, but"),
        ("1,2,a\n", {"delimiter": ", "}, "`delimiter` must be one character"),
    ],
)
def test_mistakes_are_named_by_line_and_column(tmp_path: Path, text: str, own: dict[str, Any], message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DomainError) as caught:
        loaded(path, **own)
    assert message in str(caught.value)
    is_of_file = not any(name in message for name in ("`delimiter`", "`drop_columns`", "`label_column`"))
    assert not is_of_file or str(path) in str(caught.value)


def test_what_is_no_text_and_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"1,2,a\n\xff,2,b\n")
    with pytest.raises(DomainError, match="must be text in UTF-8, but byte 6 is not"):
        loaded(path)
    for wrong in (tmp_path / "none.csv", tmp_path / "data.txt"):
        with pytest.raises(DomainError, match="`path` must name a file"):
            loaded(wrong)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DomainError, match="does not exist or is not one"):
        loaded(tmp_path / "folder.csv")


@pytest.mark.parametrize("labels", [["b", "a"], [b"b", b"a"], [7, -7], [0.5, 0.25], [True, False]])
def test_arrays_are_read(tmp_path: Path, labels: list[Any]) -> None:
    path = tmp_path / "data.npz"
    features = np.array([row[:2] for row in rows()], dtype=np.float32)
    np.savez(path, features=features, labels=np.repeat(labels, 10))
    dataset = loaded(path)
    assert dataset.train_angles.shape == (12, 2)
    assert dataset.train_angles.dtype == np.float64
    first = dataset.train_angles[:, 0]
    assert first[dataset.train_labels == 1].max() < first[dataset.train_labels == 0].min()
    assert set(dataset.class_names) in ({"a", "b"}, {"7", "-7"}, {"0.5", "0.25"}, {"True", "False"})


def random_states(n_samples: int, size: int) -> Any:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(n_samples, size)) + 1j * rng.normal(size=(n_samples, size))
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def test_states_are_read_and_normalised(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    states = random_states(20, 8)
    np.savez(path, states=states.astype(np.complex64), labels=np.arange(20) % 2)
    dataset = loaded(path, Preparation(n_qubits=3))
    assert dataset.train_states is not None
    assert dataset.n_features == 0
    np.testing.assert_allclose(np.linalg.norm(dataset.train_states, axis=1), 1, rtol=1e-14)
    distance = np.abs(dataset.train_states[:, None] - states).max(axis=2).min(axis=1)
    assert distance.max() < 1e-6
    with pytest.raises(DomainError, match="`n_qubits` must be 3, the qubits of the states, but is 4"):
        loaded(path, Preparation(n_qubits=4))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.eye(2)}, "must hold `labels` and either"),
        ({"labels": np.arange(2)}, "must hold `labels` and either `features` or `states`, but holds labels"),
        ({"labels": np.arange(2), "features": np.eye(2), "states": np.eye(2)}, "must hold `labels` and either"),
        ({"labels": np.arange(3), "features": np.eye(2)}, "but they have (3,) and (2, 2)"),
        ({"labels": np.arange(2), "features": np.ones(2)}, "but they have (2,) and (2,)"),
        ({"labels": np.arange(2), "features": np.array([["1"], ["2"]])}, "`features` must be numbers, but are <U1"),
        ({"labels": np.arange(2), "features": 1j * np.eye(2)}, "`features` must be numbers, but are complex128"),
        ({"labels": np.arange(2), "features": np.array([[1, 2], [3, np.nan]])}, "row 1, column 1 of `features`"),
        ({"labels": np.array([0.0, np.nan]), "features": np.eye(2)}, "`labels` must be finite numbers or text"),
        ({"labels": np.array([0j, 1j]), "features": np.eye(2)}, "`labels` must be finite numbers or text"),
        ({"labels": np.array([{}, 1], dtype=object), "features": np.eye(2)}, "without Python objects"),
        ({"labels": np.arange(2), "states": np.eye(2, 3)}, "`states` must have 2^qubits columns, but have 3"),
        ({"labels": np.arange(2), "states": np.diag([1, 1.1])}, "row 1 of `states`: must have norm 1, but its square"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DomainError) as caught:
        loaded(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DomainError, match="must be an NPZ archive"):
        loaded(path)


@given(place=st.integers(0, 2**16), byte=st.integers(0, 255), end=st.integers(0, 2**16))
@settings(deadline=None, max_examples=200)
def test_a_damaged_archive_is_read_or_refused(tmp_path_factory: Any, place: int, byte: int, end: int) -> None:
    content = bytearray(archive(features=np.array([row[:2] for row in rows()]), labels=np.arange(20) % 2))
    content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("archive") / "data.npz"
    path.write_bytes(content[: end % len(content)] if end % 4 == 0 else content)
    with contextlib.suppress(DomainError):
        assert loaded(path).train_labels.size > 0
