"""Result tables on disk: Parquet files with a fixed list of columns each, written atomically.

A table is a mapping from column names to arrays; a number that was not measured is NaN in memory, null in a file.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ceas.errors import DomainError, RunDirectoryError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TABLE_COLUMNS", "Columns", "read_metadata", "read_table", "write_atomically", "write_table"]

Columns = Mapping[str, np.ndarray[Any, Any]]


def _columns(**types_and_names: str) -> Mapping[str, str]:
    """Turn `float64="a b"` into `{"a": "float64", "b": "float64"}`."""
    return MappingProxyType({name: kind for kind, names in types_and_names.items() for name in names.split()})


TABLE_COLUMNS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "rounds": _columns(
            int64="round generated learning key test expired discarded route alive shots key_bits_generated "
            "key_bits_consumed frames starved_frames rejected_frames delivered_updates consensus_views flagged_links",
            float64="time_s utilisation delivered_value_learning delivered_value_key delivered_value_test "
            "delivered_value_background fidelity_at_use_mean fidelity_at_use_p05 test_accuracy test_loss train_loss "
            "gradient_squared_error gradient_alignment byzantine_weight information_total quantum_fisher_mean "
            "consensus_s",
        ),
        "learners": _columns(
            int64="round learner shots flags",
            float64="contraction claimed_contraction certified_contraction claimed_information information "
            "quantum_fisher noisy_quantum_fisher weight update_norm certified_fidelity",
            bool="is_byzantine",
        ),
        "links": _columns(
            int64="link node_a node_b generated learning key test expired discarded route alive key_bits_generated "
            "key_bits_consumed starved flagged_rounds",
            float64="length_km attempt_rate_hz success_probability pair_rate_hz initial_fidelity fidelity_at_use_mean "
            "certified_werner",
        ),
        "nodes": _columns(
            int64="node memory_slots learner_link lender shots",
            string="label",
            float64="latitude_deg longitude_deg x y coherence_time_s one_qubit_error two_qubit_error readout_error "
            "mean_weight mean_contraction",
            bool="is_byzantine",
        ),
        "pairs": _columns(
            int64="pair_id birth_ns end_ns shot",
            int32="link node_a node_b user",
            string="fate",
            float32="fidelity_at_end",
        ),
        "compare": _columns(
            string="scenario_id method attack ceas_version",
            int64="seed",
            float64="test_accuracy test_accuracy_last5 test_accuracy_logistic test_accuracy_separable train_loss "
            "gradient_variance gradient_alignment bell_pair_utilisation delivered_value value_learning "
            "byzantine_weight wall_s learners n_byzantine tolerated_byzantine",
        ),
        # The weight is a mean over the rounds since the evaluation before.
        "compare_curves": _columns(
            string="scenario_id method attack", int64="seed round", float64="test_accuracy byzantine_weight"
        ),
        "reproduce": _columns(
            string="scenario_id dataset policy arm attack variant overrides ceas_version code",
            int64="n_byzantine declared seed rounds",
            float64="test_accuracy validation_accuracy train_loss byzantine_weight core_s",
        ),
        "reproduce_curves": _columns(
            string="scenario_id", int64="seed round", float64="test_accuracy byzantine_weight"
        ),
        "schedule": _columns(
            string="study_id policy parameters ceas_version",
            int64="seed generated learning key test expired discarded route alive shots",
            float64="utilisation delivered_value value_learning value_key value_test value_background "
            "fidelity_at_use_mean fidelity_at_use_p05 keys_served shots_served background_served key_wait_mean_s "
            "key_wait_p99_s shot_wait_mean_s shot_wait_p99_s learner_fairness bounded_value bound",
        ),
        "schedule_trials": _columns(
            string="study_id policy parameters",
            int64="trial seed",
            float64="utilisation delivered_value bounded_value bound",
        ),
        "schedule_links": _columns(
            string="study_id policy parameters",
            int64="seed link node_a node_b generated learning key test expired discarded route alive",
            float64="length_km pair_rate_hz initial_fidelity fidelity_at_use_mean",
        ),
        "schedule_nodes": _columns(
            string="study_id policy parameters label",
            int64="seed node memory_slots learner_link shots",
            float64="x y coherence_time_s",
        ),
        "schedule_waits": _columns(string="study_id policy parameters use", int64="seed count", float64="wait_s"),
        "schedule_pairs": _columns(
            string="study_id policy parameters fate",
            int64="seed pair_id birth_ns end_ns",
            int32="link user",
            float32="fidelity_at_end",
        ),
    }
)


# Columns that earlier files lack; there they are not measured.
_LATER_COLUMNS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "compare": frozenset({"learners", "n_byzantine", "tolerated_byzantine"}),
        "compare_curves": frozenset({"byzantine_weight"}),
    }
)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write through a temporary file that replaces `path` once it is on disk."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp keeps others out, results are to be shared
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_table(path: Path, name: str, columns: Columns, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table as Parquet with the columns and types of `TABLE_COLUMNS[name]`.

    Raises:
        DomainError: A column is missing, is not in the table, or has another length.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  heavy, and not needed to read a scenario

    table = _arrow_table(name, columns, metadata or {})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _arrow_table(name: str, columns: Columns, metadata: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415  heavy, and not needed to read a scenario

    expected = TABLE_COLUMNS[name]
    if set(columns) != set(expected):
        missing, extra = sorted(set(expected) - set(columns)), sorted(set(columns) - set(expected))
        raise DomainError(f"Table `{name}` must have its own columns, but lacks {missing} and has {extra} too many.")
    arrays = [_arrow_column(column, kind, columns[column]) for column, kind in expected.items()]
    if len({len(array) for array in arrays}) > 1:
        lengths = {column: len(columns[column]) for column in expected}
        raise DomainError(f"Table `{name}` must have columns of one length, but has {lengths}.")
    table = pa.Table.from_arrays(arrays, names=list(expected))
    return table.replace_schema_metadata(dict(metadata)) if metadata else table


def _arrow_column(name: str, kind: str, values: np.ndarray[Any, Any]) -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415  heavy, and not needed to read a scenario

    try:
        # Floats are nullable: NaN says "not measured" in memory and null says it in the file.
        return pa.array(values, pa.type_for_alias(kind), from_pandas=kind.startswith("float"))
    except pa.ArrowException as error:
        raise DomainError(f"Column `{name}` must be {kind}, but: {error}.") from error


def read_table(path: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Read a table; null numbers become NaN, strings an array of objects.

    What a file of an earlier version has not measured, of a comparison's numbers of attackers and their weights over
    rounds, is NaN.

    Raises:
        RunDirectoryError: The file cannot be read, or a column is missing or of another type.
    """
    import pyarrow as pa  # noqa: PLC0415  heavy, and not needed to read a scenario
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    found = {}
    for column, kind in TABLE_COLUMNS[name].items():
        if column not in table.column_names and column in _LATER_COLUMNS.get(name, ()):
            found[column] = np.full(table.num_rows, np.nan)
            continue
        if column not in table.column_names:
            raise RunDirectoryError(f"{path}: column `{column}` is missing; it was written by another version")
        values = table.column(column)
        if values.type != pa.type_for_alias(kind):
            raise RunDirectoryError(f"{path}: column `{column}` must be {kind}, but is {values.type}")
        if values.null_count and not kind.startswith("float"):
            raise RunDirectoryError(f"{path}: column `{column}` must have no missing values")
        found[column] = values.to_numpy()
    return found


def read_metadata(path: Path) -> dict[str, str]:
    """Read what a table says about itself beside its columns."""
    import pyarrow.parquet as pq  # noqa: PLC0415  heavy, and not needed to read a scenario

    return {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
