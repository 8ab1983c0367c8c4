"""The run directory: what a run leaves behind, written atomically and checked when it is read.

`scenario.toml`, `rounds.parquet`, `learners.parquet`, `links.parquet`, `nodes.parquet`, `pairs.parquet`,
`bound_certificate.json` (not in directories of early versions) and, written last so that its presence means a finished
run, `result.json`. A table is a mapping from column names to arrays; a number that was not measured is NaN in memory,
null in a file.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ceas.errors import DomainError, RunDirectoryError, ScenarioError
from ceas.experiments.result_tables import Columns, read_metadata, read_table, write_atomically, write_table
from ceas.experiments.scenario import Scenario, load_scenario

__all__ = [
    "CERTIFICATE_FILE",
    "RESULT_KEYS",
    "RunResult",
    "claim_run_directory",
    "has_checkpoint",
    "is_finished",
    "output_folder",
    "plain_json",
    "read_run",
    "write_json",
    "write_run",
]

CERTIFICATE_FILE = "bound_certificate.json"
RUN_TABLES = ("rounds", "learners", "links", "nodes", "pairs")

# Keys of result.json; a nested mapping lists the keys of a nested table.
RESULT_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (
            *("scenario_id", "scenario_name", "seed", "method", "attack", "policy", "ceas_version", "command"),
            *("test_accuracy", "test_accuracy_last5", "test_accuracy_logistic", "test_accuracy_separable"),
            "train_loss",
            *("gradient_variance", "gradient_alignment", "bell_pair_utilisation", "generated_pairs"),
            *("delivered_value", "rounds", "learners", "shots", "simulated_s", "wall_s", "compile_s"),
        ),
        "circuit": ("ansatz", "qubits", "parameters", "inputs", "gates", "two_qubit_gates", "depth", "drawing"),
        "partition": ("kind", "qpus", "first_qpus", "readout_qpus", "telegates", "teledata", "pairs_per_shot"),
        "engines": ("ideal", "noisy"),
        "data": ("dataset", "source", "classes", "features", "training_samples", "test_samples"),
        "delivered_value_by_class": ("learning", "key", "test", "background"),
        "fates": ("learning", "key", "test", "expired", "discarded", "route", "alive"),
        "routes": ("requested", "served", "pairs", "pairs_used"),
        "background": ("requested", "served"),
        "fidelity_at_use": ("mean", "p05"),
        "key_bits": ("generated", "over_routes", "consumed", "enrolled"),
        "authentication": ("profile", "starved_frames", "starved_links", "rejected_frames"),
        "consensus": ("protocol", "timing", "tolerated", "frames", "message_delays", "most_views"),
        "byzantine": ("n", "attack", "tolerated", "nodes"),
        "rooms_s": ("network", "learning", "consensus", "aggregation", "evaluation", "other"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """All that one run found.

    Attributes:
        scenario: Scenario as run.
        summary: What `result.json` holds, by the keys of `RESULT_KEYS`.
        rounds: One row per training round.
        learners: One row per training round and learner.
        links: One row per link.
        nodes: One row per node.
        pairs: One row per traced Bell pair.
        pair_sampling: Every k-th pair was traced: 1 for all of them, 0 for none.
        certificate: What bounds the run's squared gradient, see `ceas.experiments.certificate`; None in the directories
            of earlier versions.
    """

    scenario: Scenario
    summary: Mapping[str, Any]
    rounds: Columns
    learners: Columns
    links: Columns
    nodes: Columns
    pairs: Columns
    pair_sampling: int = 1
    certificate: Mapping[str, Any] | None = None


def is_finished(directory: Path) -> bool:
    """Tell whether a directory holds a finished run."""
    return (directory / "result.json").is_file()


def has_checkpoint(directory: Path) -> bool:
    """Tell whether a directory holds a checkpoint to resume from."""
    checkpoint = directory / "checkpoint"
    # A hidden file there is an unfinished write.
    return checkpoint.is_dir() and any(not entry.name.startswith(".") for entry in checkpoint.iterdir())


def claim_run_directory(directory: Path, *, overwrite: bool = False) -> None:
    """Make a directory ready for a new run.

    Args:
        directory: Where the run will be written; made if it is not there.
        overwrite: Remove the run, finished or not, that is there; other files stay.

    Raises:
        RunDirectoryError: It holds a run and `overwrite` is false, or it cannot be made.
    """
    if is_finished(directory) and not overwrite:
        raise RunDirectoryError(f"{directory}: holds a finished run; choose another folder with --out, or use --force")
    if has_checkpoint(directory) and not overwrite:
        remedy = f"continue it with `ceas resume {directory}`, or start again with --force"
        raise RunDirectoryError(f"{directory}: holds an unfinished run; {remedy}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The mark of a finished run goes first: what is left of an interrupted removal is not taken for a run.
        texts = ("result.json", "scenario.toml", CERTIFICATE_FILE, "report.html")
        for name in (*texts, *(f"{table}.parquet" for table in RUN_TABLES)):
            (directory / name).unlink(missing_ok=True)
        if (directory / "checkpoint").is_dir():
            shutil.rmtree(directory / "checkpoint")
    except OSError as error:
        raise RunDirectoryError(f"{directory}: cannot be written: {error.strerror}") from error


def write_run(directory: Path, result: RunResult) -> None:
    """Write a finished run.

    Raises:
        DomainError: A table or the summary lacks a column or key, or has one too many.
    """
    _check_summary(result.summary, lambda message: DomainError(f"Argument `result` {message}"))
    directory.mkdir(parents=True, exist_ok=True)
    scenario = result.scenario.to_toml()
    write_atomically(directory / "scenario.toml", lambda temporary: temporary.write_text(scenario, "utf-8"))
    for name in RUN_TABLES:
        metadata = {"sampling": str(result.pair_sampling)} if name == "pairs" else {}
        write_table(directory / f"{name}.parquet", name, getattr(result, name), metadata)
    if result.certificate is not None:
        write_json(directory / CERTIFICATE_FILE, result.certificate)
    write_json(directory / "result.json", result.summary)


def read_run(directory: Path) -> RunResult:
    """Read a finished run.

    Raises:
        RunDirectoryError: The directory is not one, its run is not finished, or a file does not fit this version.
    """
    if not is_finished(directory):
        raise RunDirectoryError(_why_unfinished(directory))
    summary = _read_json(directory / "result.json")
    _check_summary(summary, lambda message: RunDirectoryError(f"{directory / 'result.json'}: {message}"))
    try:
        scenario = load_scenario(directory / "scenario.toml")
    except ScenarioError as error:
        raise RunDirectoryError(f"{directory / 'scenario.toml'} does not fit this version of ceas:\n{error}") from error
    tables = {name: read_table(directory / f"{name}.parquet", name) for name in RUN_TABLES}
    sampling = read_metadata(directory / "pairs.parquet").get("sampling", "1")
    path = directory / CERTIFICATE_FILE
    certificate = _read_json(path) if path.is_file() else None
    return RunResult(scenario=scenario, summary=summary, pair_sampling=int(sampling), certificate=certificate, **tables)


def _why_unfinished(directory: Path) -> str:
    if not directory.is_dir():
        return f"{directory}: no such folder"
    if has_checkpoint(directory):
        return f"{directory}: the run is not finished; continue it with `ceas resume {directory}`"
    return f"{directory}: not a run directory, it has no result.json"


def _check_summary(summary: Mapping[str, Any], error: Callable[[str], Exception]) -> None:
    for group, keys in RESULT_KEYS.items():
        table = summary.get(group) if group else summary
        if not isinstance(table, Mapping):
            raise error(f"must have the table `{group}`, but has none")
        missing = [key for key in keys if key not in table]
        if missing:
            raise error(f"must have the key `{f'{group}.' if group else ''}{missing[0]}`, but has none")


def output_folder(out: str) -> Path | None:
    """Return the folder of that name, made if need be; None for an empty name, which stands for none.

    Raises:
        DomainError: It cannot be made.
    """
    if not out:
        return None
    directory = Path(out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DomainError(f"Argument `out` must be a folder that can be written, but is {out!r}: {error}.") from error
    return directory


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; a number that is not finite becomes null."""
    text = json.dumps(plain_json(document), indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8"))


def plain_json(value: Any) -> Any:
    """Turn NumPy values into plain ones, and numbers that are not finite into None."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise RunDirectoryError(f"{path}: must hold a JSON object")
    return document
