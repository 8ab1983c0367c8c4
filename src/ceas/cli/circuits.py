"""`ceas circuit`: a scenario's circuit before it runs."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ceas.cli.arguments import JsonOption, ScenarioArgument, SetOption
from ceas.cli.printing import print_json, print_pairs, print_rows
from ceas.errors import DomainError

__all__ = ["circuit", "describe_gates", "describe_places"]

# Columns of a drawing in what is not a terminal.
_FILE_WIDTH = 120
_NARROWEST = 40


def circuit(
    scenario: ScenarioArgument,
    *,
    overrides: SetOption = None,
    qasm: Annotated[
        Path | None, typer.Option("--qasm", metavar="FILE", help="Write the circuit there as OpenQASM 3 too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a scenario's circuit, count its gates and pairs, and tell which engine computes it, before it runs."""
    from ceas.experiments import load_scenario

    loaded = load_scenario(scenario, overrides or ())
    # Only now, so that a mistake above is told before the simulator is loaded.
    from ceas.experiments.circuit_account import account_circuit, circuit_qasm

    account = account_circuit(loaded, width=_width())
    if qasm is not None:
        _write(qasm, circuit_qasm(loaded))
    if as_json:
        print_json({"scenario": loaded.name, "scenario_id": loaded.scenario_id, **account})
        return
    _print_account(loaded.name, account)
    if qasm is not None:
        typer.echo(f"OpenQASM 3: {qasm}")


def _width() -> int:
    return max(shutil.get_terminal_size().columns - 1, _NARROWEST) if sys.stdout.isatty() else _FILE_WIDTH


def _write(path: Path, text: str) -> None:
    from ceas.experiments.result_tables import write_atomically

    try:
        if path.exists() and not path.is_file():
            path.write_text(text, "utf-8")  # a pipe or a terminal is written to, not replaced
        else:
            write_atomically(path.resolve(), lambda temporary: temporary.write_text(text, "utf-8"))
    except OSError as error:
        raise DomainError(
            f"Option `--qasm` must name a file that can be written, but is {path}: {error.strerror}."
        ) from error


def _print_account(name: str, account: Mapping[str, Any]) -> None:
    found, cut, model = account["circuit"], account["partition"], account["model"]
    typer.echo(f"{name}: {found['ansatz']}\n")
    typer.echo("\n".join(found["drawing"]) + "\n")
    rows = {
        "qubits": found["qubits"],
        "inputs": _inputs(model, found),
        "parameters": _parameters(model, found),
        "gates": describe_gates(found),
        "two-qubit gates": found["two_qubit_gates"],
        "depth": found["depth"],
        "readout": _readout(model),
        "partition": f"{cut['kind']}: {describe_places(cut)}",
        "Bell pairs a shot": cut["pairs_per_shot"],
        "training samples, learners": f"{model['training_samples']}, {model['learners']}",
    }
    print_pairs(rows, title="Circuit")
    print_rows(account["partitions"], title="Partitions over two processors, and what they cost")
    print_rows([_engine_row(row) for row in account["engines"]], title="Engines and what one call is predicted to take")
    for row in account["engines"]:
        typer.echo(f"{row['for']}: {row['reason']}")


def _inputs(model: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if model["dressed"]:
        return f"{found['inputs']}, made from {model['data_features']} features by a trained layer"
    return str(found["inputs"]) if found["inputs"] else "none, the samples are states"


def _parameters(model: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    around = model["trained_parameters"] - found["parameters"]
    return str(found["parameters"]) + (f", and {around} of layers around the circuit" if around else "")


def _readout(model: Mapping[str, Any]) -> str:
    qubits = ", ".join(f"q{qubit}" for qubit in model["observables"])
    return f"{model['readout']}, Z of {qubits}, for {model['classes']} classes"


def _engine_row(row: Mapping[str, Any]) -> dict[str, str]:
    predicted = {name: f"{_time(row['seconds'][name])}, {_memory(row['bytes'][name])}" for name in row["seconds"]}
    return {"for": row["for"], "engine": row["engine"], **predicted}


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _memory(size: int) -> str:
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


def describe_gates(found: Mapping[str, Any]) -> str:
    """Say how many gates of which kinds a circuit has."""
    gates = found["gates"]
    return f"{sum(gates.values())}: " + ", ".join(f"{count} {kind}" for kind, count in gates.items())


def describe_places(cut: Mapping[str, Any]) -> str:
    """Say which qubits are on which processor, where they go, and what the pairs of a shot do."""
    places: dict[tuple[int, int], list[str]] = {}
    for qubit, ends in enumerate(zip(cut["first_qpus"], cut["readout_qpus"], strict=True)):
        places.setdefault(ends, []).append(f"q{qubit}")
    parts = [
        f"{', '.join(qubits)} {f'on QPU {first}' if first == last else f'from QPU {first} to QPU {last}'}"
        for (first, last), qubits in sorted(places.items())
    ]
    uses = [_counted(cut[kind], kind) for kind in ("telegates", "teledata") if cut[kind]]
    return "; ".join(parts) + (f"; {' and '.join(uses)} a shot" if uses else "; no pairs")


def _counted(count: int, kind: str) -> str:
    return f"{count} {'telegate' if kind == 'telegates' and count == 1 else kind}"
