"""A user's own data from a CSV or NPZ file, checked cell by cell; what is wrong is named by line and column."""

import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, nearest_name
from ceas.learning.data import Dataset, Preparation, Samples, prepare

__all__ = ["load_file"]

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IntArray = npt.NDArray[np.int64]

# What stands in a cell for a missing value: such a cell does not make its line a header.
MISSING = frozenset(("", "-", "?", ".", "na", "n/a", "nan", "none", "null"))
# Squared norms of states are allowed to be off by as much as single precision rounds them.
NORM_TOLERANCE = 1e-5


class _Table(NamedTuple):
    """Rows of a CSV file with the line that each ends in, and its columns' names."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def load_file(
    preparation: Preparation,
    *,
    path: str | Path,
    label_column: str | int = -1,
    drop_columns: Sequence[str | int] = (),
    delimiter: str = ",",
    rng: np.random.Generator,
) -> Dataset:
    """Load a CSV or NPZ file of numeric features, or of states, and labels of any kind.

    A CSV file has one sample a line, in UTF-8; its first line is a header if a column is chosen by name or if one of
    its features is neither a number nor a missing value. An NPZ file holds the arrays `labels`, shape (samples,), and
    either `features`, shape (samples, columns), or `states`, shape (samples, 2^qubits), normalised, qubit 0 being the
    most significant bit of an amplitude's index. Labels become 0, 1, ... in their sorted order: as numbers if all are,
    else as text.

    Features are usually made into standardised principal components.

    Args:
        preparation: What to make of the samples; `classes` counts the sorted labels.
        path: File, whose name ends in `.csv` or `.npz`.
        label_column: Column of a CSV file that holds the label, by name, by number from 0, or from the end if negative.
        drop_columns: Columns of a CSV file to leave out, named alike.
        delimiter: Character between the cells of a CSV file.
        rng: Generator that draws the three parts.

    Raises:
        DomainError: The file does not exist, is not of such a form, or holds a missing or non-finite value.
    """
    file = Path(path)
    kind = file.suffix.lower()
    if kind not in (".csv", ".npz"):
        raise DomainError(f"Argument `path` must name a file that ends in .csv or .npz, but is `{file}`.")
    if not file.is_file():
        raise DomainError(f"Argument `path` must name a file, but `{file}` does not exist or is not one.")
    content = file.read_bytes()
    features: FloatArray | None
    states: ComplexArray | None = None
    if kind == ".csv":
        features, raw_labels = _read_csv(file, content, label_column, drop_columns, delimiter)
    else:
        features, states, raw_labels = _read_npz(file, content)
    labels, class_names = _mapped(raw_labels)
    if len(class_names) < 2:
        raise DomainError(f"{file}: the labels must be two or more different ones, but all are `{class_names[0]}`.")
    samples = Samples(
        name="file",
        features=features,
        states=states,
        labels=labels,
        class_names=class_names,
        usual_features="standardised_pca",
        source=f"file {file.name}, SHA-256 {hashlib.sha256(content).hexdigest()}",
        description=f"{labels.size} samples of {len(class_names)} classes, from a file.",
    )
    return prepare(samples, preparation, rng=rng)


def _read_csv(
    file: Path, content: bytes, label_column: str | int, drop_columns: Sequence[str | int], delimiter: str
) -> tuple[FloatArray, list[str]]:
    if len(delimiter) != 1:
        raise DomainError(f"Argument `delimiter` must be one character, but is `{delimiter}`.")
    rows, lines = _cells(file, content, delimiter)
    chosen = (label_column, *drop_columns)
    for name, column in (("label_column", label_column), *(("drop_columns", one) for one in drop_columns)):
        if isinstance(column, bool) or not isinstance(column, str | int):
            raise DomainError(f"Argument `{name}` must tell columns by name or whole number, but has {column!r}.")
    is_named = any(isinstance(column, str) for column in chosen)
    columns = tuple(cell.strip() for cell in rows[0]) if is_named else tuple(map(str, range(len(rows[0]))))
    label, *dropped = (_position(file, columns, column) for column in chosen)
    used = [place for place in range(len(columns)) if place != label and place not in dropped]
    if label in dropped or not used:
        raise DomainError(f"{file}: there must be a label and a feature besides the dropped columns, but is not.")
    if is_named or not all(_is_value(rows[0][place]) for place in used):
        columns = tuple(cell.strip() for cell in rows[0])
        _check_names(file, columns, used)
        rows, lines = rows[1:], lines[1:]
    table = _Table(columns=columns, rows=rows, lines=lines)
    _check_shape(file, table)
    labels = [row[label].strip() for row in rows]
    if "" in labels:
        raise _mistake(file, table, labels.index(""), label, "must be a label, but is empty")
    return _numbers(file, table, used), labels


def _cells(file: Path, content: bytes, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Return the rows that are not blank, and the line in which each ends."""
    rows, lines = [], []
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise DomainError(f"{file}: must be text in UTF-8, but byte {error.start} is not.") from None
    except csv.Error as error:
        raise DomainError(f"{file}, line {reader.line_num}: must be CSV, but {error}.") from None
    if not rows:
        raise DomainError(f"{file}: must hold samples, but is empty.")
    return rows, lines


def _position(file: Path, columns: tuple[str, ...], column: str | int) -> int:
    if isinstance(column, int):
        if not -len(columns) <= column < len(columns):
            raise DomainError(f"{file}: column {column} must be one of the {len(columns)} columns, but is not.")
        return column % len(columns)
    if columns.count(column) != 1:
        nearest = nearest_name(column, columns)
        hint = f" Did you mean `{nearest}`?" if nearest and column not in columns else ""
        raise DomainError(
            f"{file}, line 1: there must be one column `{column}`, but there are {columns.count(column)}.{hint} "
            f"Columns: {', '.join(columns)}."
        )
    return columns.index(column)


def _check_names(file: Path, columns: tuple[str, ...], used: list[int]) -> None:
    """Refuse features without a name: mostly the number of the row, which tells the label where rows are sorted."""
    unnamed = [place for place in used if not columns[place]]
    if unnamed:
        raise DomainError(
            f"{file}, line 1: every feature must have a name, but column {unnamed[0]} has none. Name it, or leave it "
            f"out by `drop_columns` = [{unnamed[0]}] if it numbers the rows."
        )


def _check_shape(file: Path, table: _Table) -> None:
    if not table.rows:
        raise DomainError(f"{file}: must hold samples, but has nothing but a header.")
    for row, line in zip(table.rows, table.lines, strict=True):
        if len(row) != len(table.columns):
            raise DomainError(f"{file}, line {line}: must have {len(table.columns)} cells, but has {len(row)}.")


def _numbers(file: Path, table: _Table, used: list[int]) -> FloatArray:
    cells = [[row[place] for place in used] for row in table.rows]
    try:
        features: FloatArray = np.array(cells, dtype=np.float64)
        if np.all(np.isfinite(features)):
            return features
    except ValueError:
        pass
    # Only now is it worth looking at every cell.
    index, place = next((i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if not _is_finite(cell))
    cell = cells[index][place].strip()
    found = f"is `{cell}`" if cell else "is empty"
    raise _mistake(
        file, table, index, used[place], f"must be a finite number, but {found}; missing values are not filled in"
    )


def _mistake(file: Path, table: _Table, index: int, place: int, what: str) -> DomainError:
    return DomainError(f"{file}, line {table.lines[index]}, column `{table.columns[place]}`: {what}.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_value(cell: str) -> bool:
    return _is_number(cell) or cell.strip().lower() in MISSING


def _is_finite(cell: str) -> bool:
    return _is_number(cell) and bool(np.isfinite(float(cell)))


def _read_npz(file: Path, content: bytes) -> tuple[FloatArray | None, ComplexArray | None, list[str]]:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise DomainError(f"{file}: must be an NPZ archive, but is not one.")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DomainError(f"{file}: must be an NPZ archive of arrays without Python objects, but {error}.") from None
    inputs = [name for name in ("features", "states") if name in arrays]
    if "labels" not in arrays or len(inputs) != 1:
        found = ", ".join(arrays) or "nothing"
        raise DomainError(f"{file}: must hold `labels` and either `features` or `states`, but holds {found}.")
    labels, values = arrays["labels"], arrays[inputs[0]]
    if labels.ndim != 1 or values.ndim != 2 or len(labels) != len(values) or values.size == 0:
        raise DomainError(
            f"{file}: `labels` must have shape (samples,) and `{inputs[0]}` (samples, columns), but they have "
            f"{labels.shape} and {values.shape}."
        )
    if labels.dtype.kind not in "biufUS" or (labels.dtype.kind == "f" and not np.all(np.isfinite(labels))):
        raise DomainError(f"{file}: `labels` must be finite numbers or text, but are {labels.dtype} or not finite.")
    _check_finite(file, inputs[0], values)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    text = [str(label) for label in labels.tolist()]
    if inputs == ["features"]:
        return values.astype(np.float64), None, text
    return None, _normalised(file, values.astype(np.complex128)), text


def _check_finite(file: Path, name: str, values: npt.NDArray[np.generic]) -> None:
    kinds = "biuf" if name == "features" else "biufc"
    if values.dtype.kind not in kinds:
        raise DomainError(f"{file}: `{name}` must be numbers, but are {values.dtype}.")
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        row, column = wrong[0]
        raise DomainError(
            f"{file}, row {row}, column {column} of `{name}`: must be a finite number, but is {values[row, column]}; "
            "missing values are not filled in."
        )


def _normalised(file: Path, states: ComplexArray) -> ComplexArray:
    size = states.shape[1]
    if size < 2 or size & (size - 1):
        raise DomainError(f"{file}: `states` must have 2^qubits columns, but have {size}.")
    squares = np.sum(np.abs(states) ** 2, axis=1)
    worst = int(np.argmax(np.abs(squares - 1)))
    if abs(squares[worst] - 1) > NORM_TOLERANCE:
        raise DomainError(f"{file}, row {worst} of `states`: must have norm 1, but its square is {squares[worst]:.6g}.")
    normalised: ComplexArray = states / np.sqrt(squares)[:, None]
    return normalised


def _mapped(labels: Iterable[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Number the labels in sorted order, as numbers if all of them are finite ones."""
    texts = np.array(list(labels))
    names = np.unique(texts)
    if not all(map(_is_finite, names)):
        return np.searchsorted(names, texts).astype(np.int64), tuple(names.tolist())
    values, index = np.unique(texts.astype(np.float64), return_inverse=True)
    return index.astype(np.int64), tuple(str(value).removesuffix(".0") for value in values.tolist())
